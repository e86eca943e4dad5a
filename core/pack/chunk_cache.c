/* chunk_cache.c - the cache of decoded chunks.
 *
 * Invariants (chunk_cache_check):
 *  1. Each chunk in the table is in the ring and the other way round.
 *  2. bytes is the sum over them; it exceeds bytes_max only by what is held.
 *  3. A chunk that is not listed is held, and freed by its last put. */
#include "core/pack/chunk_cache.h"

#include <errno.h>

static size_t cost(const struct cached_chunk *e)
{
	return sizeof(*e) + e->n;
}

static void unlist(struct chunk_cache *c, struct cached_chunk *e)
{
	void *was = htab_del(&c->table, e->key);

	assert(e->listed && was == e);
	(void)was;
	assert(c->bytes >= cost(e));
	link_remove(&e->lru);
	c->bytes -= cost(e);
	e->listed = false;
	if (e->refs == 0)
		free(e);
}

static void evict(struct chunk_cache *c)
{
	struct link *at = c->lru.prev;

	while (c->bytes > c->bytes_max && at != &c->lru) {
		struct cached_chunk *e = container_of(at, struct cached_chunk, lru);

		at = at->prev;
		if (e->refs == 0)
			unlist(c, e);
	}
}

void chunk_cache_init(struct chunk_cache *c, size_t bytes_max)
{
	*c = (struct chunk_cache) { .table = HTAB_INIT, .bytes_max = bytes_max };
	link_init(&c->lru);
}

void chunk_cache_release(struct chunk_cache *c)
{
	chunk_cache_set_max(c, 0);
	assert(c->bytes == 0 && c->table.n == 0);
	htab_release(&c->table);
}

void chunk_cache_set_max(struct chunk_cache *c, size_t bytes_max)
{
	c->bytes_max = bytes_max;
	evict(c);
}

bool chunk_cache_has(const struct chunk_cache *c, uint64_t key)
{
	return htab_get(&c->table, key);
}

struct cached_chunk *chunk_cache_get(struct chunk_cache *c, uint64_t key)
{
	struct cached_chunk *e = htab_get(&c->table, key);

	if (!e)
		return NULL;
	assert(e->key == key && e->listed);
	e->refs++;
	link_remove(&e->lru);
	link_insert_after(&c->lru, &e->lru);
	return e;
}

int chunk_cache_add(struct chunk_cache *c, uint64_t key, uint32_t n,
		    struct cached_chunk **ret)
{
	struct cached_chunk *e = malloc(sizeof(*e) + n);
	int r;

	if (!e)
		return -ENOMEM;
	*e = (struct cached_chunk) {
		.key = key, .refs = 1, .listed = true, .state = CACHED_LOADING, .n = n
	};
	r = htab_put(&c->table, key, e);
	if (r < 0) {
		free(e);
		return r;
	}
	link_insert_after(&c->lru, &e->lru);
	c->bytes += cost(e);
	evict(c);
	*ret = e;
	return 0;
}

void chunk_cache_done(struct chunk_cache *c, struct cached_chunk *e, bool ready)
{
	assert(e->state == CACHED_LOADING);
	assert(e->refs > 0);
	e->state = ready ? CACHED_READY : CACHED_FAILED;
	if (!ready && e->listed)
		unlist(c, e);
}

void chunk_cache_put(struct chunk_cache *c, struct cached_chunk *e)
{
	assert(e->refs > 0);
	if (--e->refs > 0)
		return;
	if (!e->listed)
		free(e);
	else
		evict(c);
}

void chunk_cache_drop(struct chunk_cache *c, uint64_t key)
{
	struct cached_chunk *e = htab_get(&c->table, key);

	if (e)
		unlist(c, e);
}

bool chunk_cache_check(const struct chunk_cache *c)
{
	size_t n = 0, bytes = 0, held = 0;

	for (struct link *at = c->lru.next; at != &c->lru; at = at->next, n++) {
		struct cached_chunk *e = container_of(at, struct cached_chunk, lru);

		if (!e->listed || htab_get(&c->table, e->key) != e)
			return false;
		bytes += cost(e);
		held += e->refs ? cost(e) : 0;
	}
	return n == c->table.n && bytes == c->bytes && bytes <= MAX(c->bytes_max, held);
}
