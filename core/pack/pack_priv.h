/* pack_priv.h - the set of packs, shared by the .c files of this folder.
 *
 * Whoever uses a pack pins it; the pins decide how long a struct pack and its images live:
 *
 *	known ─ packs_remove ─▶ removed (file gone, readable by those that pinned it)
 *	                        └─ last unpin ─▶ freed
 *	image ─ packs_rewrite ─▶ old (while pinned; it has all the new one has, and more)
 *	                        └─ last unpin ─▶ closed
 *
 * Invariants:
 *  1. A pack with pins keeps its images open. Without pins it is not `removed`, has no
 *     `old`, and its image may be closed at any time to keep files and memory few.
 *  2. Files are opened, read and closed without the lock; at most one thread at a time
 *     opens a pack (`opening`). */
#ifndef ROPEFS_PACK_PACK_PRIV_H
#define ROPEFS_PACK_PACK_PRIV_H

#include "core/base/lock.h"
#include "core/pack/chunk_cache.h"
#include "core/pack/pack.h"
#include "core/pack/pack_image.h"

#define PACKS_OPEN_MAX	 64 /* images open at once, pinned ones apart */
#define PACKS_OPEN_BYTES ((size_t)8 << 20) /* their directories, likewise */
#define SCRATCH_MAX	 4 /* idle ones kept */

struct pack {
	uint64_t number;
	uint64_t file_bytes;
	struct pack_image *image; /* open, or NULL */
	struct pack_image *old; /* from before a rewrite, for those that pinned it */
	struct link opened; /* in packs.opened while image is there */
	unsigned pins;
	bool opening;
	bool removed;
	bool remote; /* no file here */
	bool info_known;
	struct pack_info info;
};

/* What the next pack's footer says of the one before; pack 0 for none. */
struct pack_prev {
	uint64_t pack;
	uint8_t hash[32];
};

struct packs {
	struct io *io;
	const struct keys *keys;
	int (*open_remote)(void *arg, const struct pack_info *info, struct io_file **ret);
	void *remote;
	int zstd_level;
	bool read_only;

	struct lock lock; /* RANK_PACK; guards all below */
	pthread_cond_t cond; /* a pack was opened, a chunk was loaded */
	struct htab table; /* struct pack by number */
	struct link opened; /* from the most to the least recently used */
	unsigned n_opened;
	size_t opened_bytes;
	struct pack_image *closing; /* to be closed once the lock is dropped */
	struct chunk_scratch *scratch;
	unsigned n_scratch;
	struct chunk_cache cache;
	struct pack_prev prev;
	uint64_t next;
	struct packs_stats stats;
};

/* Drops the lock, then closes the images that became useless under it. */
void packs_lock_drop(struct packs *ps);
/* The pack, one that is being removed too, or NULL. */
struct pack *pack_find_locked(struct packs *ps, uint64_t number);
int pack_missing(uint64_t number); /* -ENOENT with a sentence */
/* Pins p and opens its image when it is not open; the lock is dropped meanwhile. On failure
 * p is unpinned again and may be freed. */
int pack_hold_locked(struct packs *ps, struct pack *p);
void pack_unpin_locked(struct packs *ps, struct pack *p);
/* Of a held pack, the image that has every chunk anybody who pinned it may ask for. */
static inline const struct pack_image *pack_widest(const struct pack *p)
{
	return p->old ? p->old : p->image;
}
/* Adds a pack just published or found. -ENOMEM. */
int pack_add_locked(struct packs *ps, const struct pack *as);
/* Counts a pack in or out of the stats. */
void pack_count_locked(struct packs *ps, const struct pack *p, bool there);
/* Takes a pack out of table and stats and frees it; it has no pins. */
void pack_forget_locked(struct packs *ps, struct pack *p);
/* p's image was replaced on disk: keeps it for those that have p pinned, else closes it. */
void pack_retire_image_locked(struct packs *ps, struct pack *p);

int scratch_take(struct packs *ps, struct chunk_scratch **ret);
void scratch_give(struct packs *ps, struct chunk_scratch *s);

/* --- writing, shared by writer and rewrite --- */
#define PIECE_BYTES ((size_t)1 << 20)

/* A pack file under way: packs/NUMBER.tmp. */
struct pack_file {
	struct io *io;
	struct io_file *file; /* NULL: none under way */
	struct chunk_home home;
	uint64_t written; /* bytes in the file already */
	struct buf piece; /* bytes on their way to it */
	struct buf directory;
	uint32_t chunks;
	uint64_t stored_bytes;
};

/* Creates the file with its header; salt NULL makes a fresh one. */
int pack_file_begin(struct pack_file *pf, struct packs *ps, uint64_t number,
		    const uint8_t *salt);
/* Room for one frame at the end of the file (valid until the next call). */
int pack_file_room(struct pack_file *pf, uint8_t **ret_frame);
/* Takes the frame of chunk pf->chunks, put there, into file and directory; e NULL: the
 * chunk is left out. */
int pack_file_add(struct pack_file *pf, const struct chunk_entry *e);
/* Writes directory and footer, syncs and closes. f says prev, prev_hash and rewrites; the
 * rest of it is filled in. */
int pack_file_end(struct pack_file *pf, const struct keys *keys, struct pack_footer *f);
/* Removes the file if one is under way; frees everything. */
void pack_file_release(struct pack_file *pf);

#endif
