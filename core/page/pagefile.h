/* pagefile.h - the copy-on-write page file: 4 KiB pages, sealed, their tags kept by whoever
 * points at them; two superblocks; free space as a bitmap in pages of the same file.
 *
 * Invariants:
 *  1. A page reachable from the newest durable superblock is never written.
 *  2. A commit writes pages and bitmap, fdatasyncs, writes the other superblock,
 *     fdatasyncs; then the same for the first one, so that both lead to the new state. A
 *     power cut at any point leaves the old or the new one.
 *  3. A page given back becomes free only when a superblock that doesn't reach it is
 *     durable.
 * One thread at a time calls alloc, write, give_back and commit (the checkpointer); read may
 * run in any thread beside it. */
#ifndef ROPEFS_PAGE_PAGEFILE_H
#define ROPEFS_PAGE_PAGEFILE_H

#include "core/io/io.h"
#include "core/keys/keys.h"
#include "core/page/noderef.h"

#define PAGE_BYTES   4096u
#define PAGE_PAYLOAD 4072u /* PAGE_BYTES less the nonce */

struct pagefile;

/* What a superblock says about the rest of the store. */
struct super {
	uint64_t generation; /* rises with each superblock written */
	uint64_t lsn; /* the log is needed after this LSN only */
	uint64_t epoch; /* last node epoch in the tree */
	uint64_t snap_epoch; /* pages with birth <= this may belong to a snapshot */
	uint64_t next_ino;
	uint64_t next_pack;
	uint64_t inodes; /* live inodes */
	uint64_t live_bytes; /* sum of file sizes less holes */
	uint64_t dead_bytes; /* of chunks, about, that a collection may free */
	uint64_t snap_copied; /* newest snapshot epoch that a file was copied out of */
	uint32_t next_snap; /* id of the next snapshot; 0: none was made yet */
	uint64_t snap_held; /* bytes that only snapshots held at the last collection */
	struct noderef catalog; /* root of the catalog B+tree */
	bool clean; /* nobody has written since a clean shutdown */
	bool replay; /* written by a recovery: the log may end before lsn */
	bool rebuild; /* a repair is about to fill an empty file from packs */
};

/* Makes the file with an empty tree and both superblocks; fsyncs. -EEXIST. */
int pagefile_create(struct io *io, const struct keys *keys, const struct super *first);
/* Opens, takes the newest superblock that verifies, loads the bitmap; unless PAGEFILE_READ_ONLY,
 * writes that superblock again and syncs, as it may not be durable. -E_CORRUPT when
 * neither verifies. A bitmap that doesn't verify is no error: nothing is reused until
 * pagefile_adopt(), and pagefile_needs_sweep() says so. */
#define PAGEFILE_READ_ONLY 1u
/* The file is kept twice (twin.h): a page that does not verify is read from its copy. One that
 * is absent, or not of the newest states, is made; for a read_only opening it may be absent. */
#define PAGEFILE_TWIN 2u
/* With both of these: where the file is not there its copy alone is opened. */
#define PAGEFILE_FROM_COPY 4u
int pagefile_open(struct io *io, const struct keys *keys, unsigned flags,
		  struct super *ret, struct pagefile **ret_pf);
struct pagefile *pagefile_close(struct pagefile *pf); /* NULL is fine; returns NULL */

/* Changes follow that only the log will hold: the superblock is not clean any more. */
int pagefile_mark_open(struct pagefile *pf);

/* Reads and opens the page ref points at into out (PAGE_PAYLOAD bytes).
 * -E_CORRUPT names the page; -EIO as the disk said. */
int pagefile_read(struct pagefile *pf, const struct noderef *ref, uint8_t *out);

/* Whether both copies of a page verify: *ret_bad has bit 0 for the first, 1 for the other (never
 * set when there is none). mend: one that doesn't is written again from one that does. -E_CORRUPT:
 * none does. Nobody commits meanwhile. */
#define PAGE_BAD_FIRST 1u
#define PAGE_BAD_COPY  2u
int pagefile_check_page(struct pagefile *pf, const struct noderef *ref, bool mend,
			unsigned *ret_bad);
bool pagefile_has_copy(struct pagefile *pf);
/* Makes the file anew, empty, when it is not there but its copy is: an opening with
 * PAGEFILE_TWIN and pagefile_check_page() fill it. -ENOENT: there is none to make it from. */
int pagefile_begin_from_copy(struct io *io);
/* Something that is no file has the copy's name; err_detail() says what. */
bool pagefile_copy_is_odd(struct io *io);

/* A free page for this commit; grows the file. -ENOSPC. */
int pagefile_alloc(struct pagefile *pf, uint64_t *ret_page);
/* Seals payload (PAGE_PAYLOAD bytes) with a random nonce into page and fills ref's at and
 * tag. aad: store id, page number. */
int pagefile_write(struct pagefile *pf, uint64_t page, const uint8_t *payload,
		   struct noderef *ref);
/* The page is not reachable from the tree being committed: free after the commit. */
void pagefile_give_back(struct pagefile *pf, uint64_t page);
/* Makes all that was written since the last commit the durable state. On failure the old
 * state stays, and what was allocated or given back since is forgotten (as abort does);
 * when the superblock was written already, what it reaches is kept until a commit
 * succeeds. Gives sb its generation. */
int pagefile_commit(struct pagefile *pf, struct super *sb);
void pagefile_abort(struct pagefile *pf);
/* After a sweep: exactly these pages are reachable from the committed tree (bit n of
 * marks is page n, n_bits of them; bitmap pages and superblocks are added by itself);
 * every other page that was in use at that commit is free. */
int pagefile_adopt(struct pagefile *pf, const uint8_t *marks, uint64_t n_bits);
bool pagefile_needs_sweep(struct pagefile *pf);

/* --- copies of a committed state, for a bucket --- */
#define SUPER_BODY_BYTES 256u

struct page_state {
	uint8_t super[SUPER_BODY_BYTES]; /* what its superblock seals */
	uint8_t id[32]; /* another one for each state */
	uint64_t lsn, pages;
	uint64_t *used; /* a bit each page; pages 0 and 1 are not meant */
	/* Bits of the pages written since the last hold; NULL: any may have been. */
	uint64_t *changed;
};
/* Gives the committed state and keeps its pages from being written over until unhold, which
 * comes before the next hold. Both, like commit, are for one thread at a time. */
int pagefile_hold(struct pagefile *pf, struct page_state *ret);
void pagefile_unhold(struct pagefile *pf);
void page_state_release(struct page_state *st);
static inline bool page_state_uses(const struct page_state *st, uint64_t page)
{
	return page >= 2 && page < st->pages &&
	       (st->used[page / 64] >> page % 64 & 1) != 0;
}
/* A page as it is on the disk (PAGE_BYTES). Any thread. */
int pagefile_read_sealed(struct pagefile *pf, uint64_t page, uint8_t *out);

/* Makes the page file anew from such a state: begin, its pages, end (clean, durable). */
int pagefile_restore_begin(struct io *io, const struct keys *keys,
			   const uint8_t super[SUPER_BODY_BYTES], struct pagefile **ret);
int pagefile_restore_page(struct pagefile *pf, uint64_t page, const uint8_t *sealed);
int pagefile_restore_end(struct pagefile *pf);

/* Of a file that is only read: somebody wrote the pages of such a state over it. Under the lock
 * that keeps readers out. */
void pagefile_restate(struct pagefile *pf, const uint8_t super[SUPER_BODY_BYTES],
		      struct super *ret);

struct pagefile_stats {
	uint64_t pages, used, written, read;
};
/* A commit failed so late that the next opening may find its state, or the one before. */
bool pagefile_in_doubt(const struct pagefile *pf);
void pagefile_get_stats(struct pagefile *pf, struct pagefile_stats *ret);

/* For dump and fsck: each superblock slot in words; fsck also compares the bitmap with
 * marks: prints pages in use but unmarked (leaked), and marked but free (-E_CORRUPT). */
int pagefile_inspect(struct io *io, const struct keys *keys,
		     void (*print)(void *arg, const char *line), void *arg);
/* Damaged copies of the superblock in use. */
int pagefile_check_super(struct pagefile *pf, unsigned *ret_copies);
int pagefile_check_bitmap(struct pagefile *pf, const uint8_t *marks, uint64_t n_bits,
			  uint64_t *ret_leaked);

#endif
