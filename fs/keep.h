/* keep.h - what outlives a worker of a supervised mount: memory that the supervisor made and
 * each worker maps (supervise.h). What open files need lies behind it (kept.h).
 *
 * A request that changes something must be done once, although the kernel sends it again when
 * its worker died before it replied. So it has a slot here from before the change until its
 * reply is out: its number, and the LSN of its change (ropefs_note_lsn()). The next worker
 * finds the slot; if that LSN came back from the log, the change is made and only the answer is
 * missing.
 *
 * Invariants
 * 1. A request has its slot from keep_arm() to its reply. (With very many under way one
 *    has none, and might be done twice.)
 * 2. A slot outlives any number of workers, until its request is answered. Each worker decides
 *    which changes are made before it makes any of its own: an LSN that did not reach the log is
 *    given again (keep_settle()). */
#ifndef ROPEFS_FS_KEEP_H
#define ROPEFS_FS_KEEP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct ropefs_log_mark;

/* Daemons of one mount may be of different versions of this program. Raise this with each change of
 * what one finds of the one before: a structure here or in a row (kept.h), or what the bits of
 * fuse_file_info.fh mean (daemon.h). */
#define KEEP_VERSION 4

enum {
	KEEP_SLOTS = 1024,
	KEEP_PROBE = 32, /* places a request may have */
	KEEP_WAITS = 8,
	KEEP_EDITS = 1024, /* a transaction edits many files at a time */
};
#define UNIQUE_RESENT ((uint64_t)1 << 63) /* the kernel's mark on a request sent again */

/* What this program takes over: KEEP_VERSION, and sizes. */
uint64_t keep_stamp(void);
/* A memfd; the caller's. Negative errno. */
int keep_new(void);
/* Maps it into this process, as the one that takes requests from now on. took_over: another
 * worker did before. 0 or a negative errno; -EPROTO: of a program with another stamp. Without it
 * all below does nothing. */
int keep_open(int fd, bool took_over);
/* The same for the rows of kept.h, by workers. */
int keep_open_files(int fd);
/* The store is open, and had what is up to lsn: which requests of the worker before are done?
 * Before this one changes anything. */
void keep_settle(uint64_t lsn);

/* --- the mount --- */
/* The kernel's INIT, n bytes, which each worker is given again; and the device. */
void keep_save_init(const void *init, size_t n);
/* Copies it to p; 0: there is none. */
size_t keep_init(void *p, size_t n);
void keep_save_dev(dev_t dev);
dev_t keep_dev(void);
/* Is this process a worker of a supervised mount? How often was one replaced? */
bool keep_is_open(void);
uint64_t keep_takeovers(void);

/* For ropefs_opts. */
struct ropefs_log_mark *keep_log_mark(void);

/* --- which request --- */
/* The request this thread is at (0: none) and that of a task, carried from thread to thread. */
void keep_request(uint64_t unique);
uint64_t keep_current(void);
/* The change that this thread makes next belongs to its request. */
void keep_arm(void);
/* A reply has been written: its slot is free. */
void keep_replied(uint64_t unique);
/* Has the request, not answered yet, made its change? */
bool keep_has_changed(uint64_t unique);
/* Was the request at hand already done by a worker before? */
bool keep_was_done(void);

/* --- threads that wait for the kernel --- */
/* Around a call in which a thread may have to wait for replies to requests of this mount, and
 * touches nothing of the store: killed in it, it ends only when the next worker replies. */
void keep_wait_begin(void);
void keep_wait_end(void);
/* Is tid of the last worker in such a call? For the supervisor, which maps it as well. */
bool keep_waits(pid_t tid);

/* --- what the kernel has cached --- */
/* Around an edit (notify.h), until the kernel has been told: pages of the inode from `from` on may
 * be what they were before. (With more than KEEP_EDITS at a time the rest is not noted.) */
void keep_edit_begin(uint64_t ino, uint64_t from);
void keep_edit_end(uint64_t ino, uint64_t from);
/* The next one from *at on that a worker before has begun, and not ended; false: no more. */
bool keep_next_edit(unsigned *at, uint64_t *ret_ino, uint64_t *ret_from);

/* --- restarts --- */
/* How many the supervisor refused: the program as it is installed now can't take over. */
void keep_refuse_restart(void);
uint64_t keep_restarts_refused(void);

/* --- life --- */
void keep_beat(void);
uint64_t keep_beats(void);

#endif
