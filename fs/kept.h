/* kept.h - what open files need to go on in another daemon (supervise.h): rows in the
 * supervisor's memory, behind that of keep.h.
 *
 * An open file has its state in its own structure, and a copy of it here, with the request that
 * made it so. When the worker dies the next one makes the file anew from the row, under the same
 * number, and the kernel sends again what was not answered:
 *
 *	kept_step()    before the reply    ─ killed ─▶ the request comes again: back to `before`
 *	kept_change()  before a change of  ─ killed ─▶ `after` if the change is in the log, which
 *	               the store                       its LSN says, else `before`
 *
 * Invariants
 * 1. A row has two places for its last step, and one word says which counts. So a kill leaves the
 *    step before or the new one, whole.
 * 2. The next worker decides every change that was under way (kept_settle()) before it makes any of
 *    its own: LSNs that did not reach the log are given again.
 * 3. What has no row (nobody supervises, or KEPT_ROWS are in use) works; another daemon doesn't
 *    know of it. */
#ifndef ROPEFS_FS_KEPT_H
#define ROPEFS_FS_KEPT_H

#include <assert.h>
#include <fuse_lowlevel.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	KEPT_ROWS = 4096,
	KEPT_FIXED = 384, /* bytes that never change */
	KEPT_STATE = 256,
	KEPT_AREA_MAX = 64 << 20,
};

enum kept_kind {
	KEPT_NONE,
	KEPT_TAKEN, /* not yet open */
	KEPT_TEXT,
	KEPT_EVENTS, /* the lines themselves: once */
	KEPT_EVENT_FILE,
	KEPT_TXN,
	KEPT_STREAM,
	KEPT_RANGE,
	KEPT_VALUE,
	KEPT_QUEUE,
	KEPT_HELD, /* a program that runs, or a file of a snapshot */
	KEPT_NODE, /* not open: a view whose number the kernel knows */
};

/* What lies in a row, or in its area, is read by the next daemon, perhaps of another version. */
#define KEPT_SIZE(type, bytes)                                                           \
	static_assert(sizeof(void *) != 8 || sizeof(type) == (bytes),                    \
		      "a daemon leaves this to the next: raise KEEP_VERSION (keep.h)")

struct kept_row;

/* An open file's part; the file's own. All zero: it has no row. */
struct kept {
	struct kept_row *row;
	void *area;
	size_t area_n;
};

/* --- the memory --- */
size_t kept_bytes(void); /* of the rows and areas */
/* Maps the rows, which begin at the offset `at` of fd. 0 or a negative errno. */
int kept_open(int fd, size_t at);
/* The store is open, and had what is up to lsn. */
void kept_settle(uint64_t lsn);

/* --- one file --- */
/* A row; fixed: n bytes. Whoever is killed before kept_opened() leaves none. */
void kept_new(struct kept *k, const void *fixed, size_t n);
/* fi is what OPEN is about to be answered with. */
void kept_opened(struct kept *k, enum kept_kind kind, uint64_t node,
		 const struct fuse_file_info *fi);
/* A row that stands for no open file; none, where those should have what is left. */
void kept_node(struct kept *k, const void *fixed, size_t n, uint64_t node);
/* How often the kernel has looked it up and not forgotten. */
void kept_lookups(struct kept *k, uint64_t lookups);
void kept_free(struct kept *k);
/* The same, but the row stays. */
void kept_drop(struct kept *k);
/* n bytes of memory, zeros where they are new, that the next daemon finds; they may move. NULL:
 * no memory, or more than KEPT_AREA_MAX. Without a row it is plain memory. */
void *kept_area(struct kept *k, size_t n);

/* The request `unique` is about to be answered, and made `after` of `before`; n bytes each. */
void kept_step(struct kept *k, uint64_t unique, const void *before, const void *after,
	       size_t n);
/* The same of the next change that this thread makes of the store, for the request at hand; then
 * whether it was made. What is only known as it is made may be put into the row's `after`, which is
 * returned (NULL: there is no row), before it can be seen. */
void *kept_change(struct kept *k, const void *before, const void *after, size_t n);
void kept_changed(struct kept *k, bool made);

/* Was the file's last step that of the request at hand, which the kernel has sent again? *ret_done:
 * its change is made. ret_before (of n bytes, or NULL): what was before it. */
bool kept_resent(const struct kept *k, bool *ret_done, void *ret_before, size_t n);

/* --- after a takeover --- */
struct kept_file {
	struct kept k;
	enum kept_kind kind;
	uint64_t node, fh;
	uint64_t lookups; /* of KEPT_NODE */
	const void *fixed;
	const void *state; /* NULL: as it was opened */
};
/* The next row from *at on, its area mapped. */
bool kept_next(unsigned *at, struct kept_file *ret);
/* Was the OPEN or CREATE at hand done, but not answered? fi is filled in then. */
bool kept_was_opened(struct fuse_file_info *fi);

/* A number for a row that lies in no structure, and back, if it still is that of the open file fh.
 * 0: no row. */
uint64_t kept_number(const struct kept *k);
struct kept kept_numbered(uint64_t number, uint64_t fh);

/* Has the request, not answered yet, changed a row, and the store if that belongs to it? */
bool kept_has_changed(uint64_t unique);

/* What the file stands for is about to be moved by somebody else; then whether it was. One that a
 * kill cuts short comes again, so it counts as made. */
void kept_moving(struct kept *k);
void kept_moved(struct kept *k, bool made);
bool kept_was_moved(const struct kept *k);

/* Somebody polls the open file fh, and the kernel waits to be told under this number. */
void kept_polled(uint64_t fh, uint64_t kh);
/* The number of the next one from *at on whose file was not opened since; 0: no more. Beside other
 * threads. */
uint64_t kept_next_poll(unsigned *at);

#endif
