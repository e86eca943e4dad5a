/* block_cache.h - the blocks that readers are in the midst of, so that who reads a few records at
 * a time does not have a block decoded again for each of them.
 *
 * Full blocks never change; a queue that is emptied drops its own. (What a transaction takes back
 * nobody has read.)
 * All under the engine lock. */
#ifndef ROPEFS_QUEUE_BLOCK_CACHE_H
#define ROPEFS_QUEUE_BLOCK_CACHE_H

#include "core/queue/block.h"

struct kept_block {
	struct block block;
	struct block_cursor seen; /* where the last reader began; b NULL: none yet */
};

struct block_cache;

/* Without memory: NULL. */
struct block_cache *block_cache_new(void);
struct block_cache *block_cache_free(struct block_cache *c); /* NULL is fine */
/* The block of a queue with record id, or NULL. */
struct kept_block *block_cache_find(struct block_cache *c, uint64_t ino, uint64_t id);
/* Room for another block, which the caller fills in and then enters. */
struct kept_block *block_cache_room(struct block_cache *c);
void block_cache_enter(struct block_cache *c, struct kept_block *kept, uint64_t ino);
/* Of that queue; 0: of all. */
void block_cache_drop(struct block_cache *c, uint64_t ino);

#endif
