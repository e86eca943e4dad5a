#include "core/queue/block_cache.h"

#include <stdlib.h>

#define BLOCKS_KEPT 64u

struct block_cache {
	struct block_owner {
		uint64_t ino; /* 0: nothing is kept here */
		uint64_t first, n; /* records */
	} owners[BLOCKS_KEPT];
	struct kept_block blocks[BLOCKS_KEPT];
	unsigned next; /* to be replaced */
};

struct block_cache *block_cache_new(void)
{
	return calloc(1, sizeof(struct block_cache));
}

struct block_cache *block_cache_free(struct block_cache *c)
{
	free(c);
	return NULL;
}

struct kept_block *block_cache_find(struct block_cache *c, uint64_t ino, uint64_t id)
{
	for (unsigned i = 0; i < BLOCKS_KEPT; i++)
		if (c->owners[i].ino == ino && id - c->owners[i].first < c->owners[i].n)
			return &c->blocks[i];
	return NULL;
}

struct kept_block *block_cache_room(struct block_cache *c)
{
	struct kept_block *kept = &c->blocks[c->next];

	c->owners[c->next].ino = 0;
	kept->seen.b = NULL;
	c->next = (c->next + 1) % BLOCKS_KEPT;
	return kept;
}

void block_cache_enter(struct block_cache *c, struct kept_block *kept, uint64_t ino)
{
	c->owners[kept - c->blocks] =
		(struct block_owner) { ino, kept->block.first, kept->block.n };
}

void block_cache_drop(struct block_cache *c, uint64_t ino)
{
	for (unsigned i = 0; i < BLOCKS_KEPT; i++)
		if (!ino || c->owners[i].ino == ino)
			c->owners[i].ino = 0;
}
