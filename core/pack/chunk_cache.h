/* chunk_cache.h - decoded chunks by (pack, index), least recently used first out. Guarded
 * by its owner's lock; the bytes of a held, ready chunk may be read without it. */
#ifndef ROPEFS_PACK_CHUNK_CACHE_H
#define ROPEFS_PACK_CHUNK_CACHE_H

#include "core/base/htab.h"
#include "core/base/util.h"

/* A place in a ring; a lone link points at itself. */
struct link {
	struct link *prev, *next;
};

static inline void link_init(struct link *l)
{
	l->prev = l->next = l;
}

static inline void link_remove(struct link *l)
{
	l->prev->next = l->next;
	l->next->prev = l->prev;
	link_init(l);
}

static inline void link_insert_after(struct link *at, struct link *l)
{
	l->prev = at;
	l->next = at->next;
	at->next->prev = l;
	at->next = l;
}

/* loading ─ chunk_cache_done(true) ─▶ ready; ─ done(false) ─▶ failed, out of the cache */
enum cached_state { CACHED_LOADING, CACHED_READY, CACHED_FAILED };

struct cached_chunk {
	uint64_t key;
	struct link lru; /* from the most to the least recently used */
	unsigned refs; /* holders; one that is held is never evicted */
	bool listed; /* in table and ring: others can find it */
	enum cached_state state;
	uint32_t n;
	uint8_t bytes[];
};

struct chunk_cache {
	struct htab table;
	struct link lru;
	size_t bytes; /* of what is listed */
	size_t bytes_max;
};

static inline uint64_t chunk_key(uint64_t pack, uint32_t index)
{
	return pack << 24 | index;
}

void chunk_cache_init(struct chunk_cache *c, size_t bytes_max);
void chunk_cache_release(struct chunk_cache *c); /* nothing is held any more */
void chunk_cache_set_max(struct chunk_cache *c, size_t bytes_max);
bool chunk_cache_has(const struct chunk_cache *c, uint64_t key); /* in whatever state */
/* Holds the chunk, in whatever state, or returns NULL. */
struct cached_chunk *chunk_cache_get(struct chunk_cache *c, uint64_t key);
/* Adds and holds a loading chunk of n bytes; the key must not be there. -ENOMEM. */
int chunk_cache_add(struct chunk_cache *c, uint64_t key, uint32_t n,
		    struct cached_chunk **ret);
/* The holder that loads it has done so, or failed. Still held. */
void chunk_cache_done(struct chunk_cache *c, struct cached_chunk *e, bool ready);
void chunk_cache_put(struct chunk_cache *c, struct cached_chunk *e);
/* Forgets a chunk; holders keep theirs until they put it. */
void chunk_cache_drop(struct chunk_cache *c, uint64_t key);
bool chunk_cache_check(const struct chunk_cache *c);

#endif
