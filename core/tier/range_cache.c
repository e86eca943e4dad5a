#include "core/tier/range_cache.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "core/base/crc.h"
#include "core/base/htab.h"

struct range {
	struct range_key key;
	uint64_t at; /* in the file */
	uint32_t crc;
};

struct generation {
	struct io_file *file;
	struct htab ranges; /* struct range by range_hash() */
	uint64_t end;
	uint64_t emptied; /* how often */
};

struct range_cache {
	pthread_mutex_t mutex; /* guards all below but the files' bytes */
	struct generation gen[2];
	unsigned young;
	struct range_cache_stats stats; /* without bytes */
};

static uint64_t range_hash(const uint8_t id[RANGE_ID_BYTES], uint64_t off)
{
	uint64_t h;

	memcpy(&h, id, sizeof(h)); /* of a hash: random already */
	return h ^ off * 0x9e3779b97f4a7c15u;
}

static struct range *find(const struct generation *g, const uint8_t id[RANGE_ID_BYTES],
			  uint64_t off)
{
	struct range *e = htab_get(&g->ranges, range_hash(id, off));

	return e && e->key.off == off && !memcmp(e->key.id, id, RANGE_ID_BYTES) ? e
										: NULL;
}

static void empty_locked(struct generation *g)
{
	struct htab_slot *slot;
	size_t at = 0;

	while ((slot = htab_next(&g->ranges, &at)))
		free(slot->value);
	htab_release(&g->ranges);
	g->ranges = HTAB_INIT;
	g->end = 0;
	g->emptied++;
	g->file->ops->truncate(g->file, 0);
}

static void remove_locked(struct generation *g, const uint8_t id[RANGE_ID_BYTES],
			  uint64_t off)
{
	if (find(g, id, off))
		free(htab_del(&g->ranges, range_hash(id, off)));
}

int range_cache_open(struct io *io, const char *name, uint64_t bytes_max,
		     struct range_cache **ret)
{
	struct range_cache *c = calloc(1, sizeof(*c));
	int r = 0;

	if (!c)
		return -ENOMEM;
	pthread_mutex_init(&c->mutex, NULL);
	for (unsigned i = 0; r == 0 && i < 2; i++) {
		char path[64];

		snprintf(path, sizeof(path), "%s.%u", name, i);
		r = io_open(io, path, IO_CREATE, &c->gen[i].file);
		if (r == 0)
			r = c->gen[i].file->ops->truncate(c->gen[i].file, 0);
	}
	if (r < 0) {
		range_cache_close(c);
		return r;
	}
	c->stats.bytes_max = bytes_max;
	*ret = c;
	return 0;
}

struct range_cache *range_cache_close(struct range_cache *c)
{
	if (!c)
		return NULL;
	for (unsigned i = 0; i < 2; i++)
		if (c->gen[i].file) {
			empty_locked(&c->gen[i]);
			io_closep(&c->gen[i].file);
		}
	pthread_mutex_destroy(&c->mutex);
	free(c);
	return NULL;
}

static int read_range(struct generation *g, const struct range *e, void *p)
{
	int r = io_pread_all(g->file, p, e->key.n, e->at);

	/* Emptied and written anew meanwhile, perhaps. */
	return r == 0 && crc32c(0, p, e->key.n) != e->crc ? -EBADMSG : r;
}

bool range_cache_get(struct range_cache *c, const struct range_key *key, void *p)
{
	struct generation *g = NULL;
	bool old, hit;
	struct range e;

	pthread_mutex_lock(&c->mutex);
	for (unsigned i = 0; i < 2 && !g; i++) {
		struct generation *one = &c->gen[(c->young + i) % 2];
		const struct range *found = find(one, key->id, key->off);

		if (!found || found->key.n != key->n)
			continue;
		g = one;
		e = *found;
		old = i > 0;
	}
	pthread_mutex_unlock(&c->mutex);
	hit = g && read_range(g, &e, p) == 0;
	pthread_mutex_lock(&c->mutex);
	*(hit ? &c->stats.hits : &c->stats.misses) += 1;
	pthread_mutex_unlock(&c->mutex);
	if (hit && old)
		range_cache_put(c, key, p);
	return hit;
}

/* A place for n bytes in the younger file, or NULL. */
static struct generation *place_locked(struct range_cache *c, size_t n, uint64_t *ret_at)
{
	struct generation *g = &c->gen[c->young];
	uint64_t half = c->stats.bytes_max / 2;

	if (n > half)
		return NULL;
	if (g->end + n > half) {
		c->young ^= 1;
		g = &c->gen[c->young];
		empty_locked(g);
	}
	*ret_at = g->end;
	g->end += n;
	return g;
}

void range_cache_put(struct range_cache *c, const struct range_key *key, const void *p)
{
	struct range *e = malloc(sizeof(*e));
	struct generation *g;
	uint64_t emptied = 0;
	int r = -EEXIST;

	if (!e)
		return;
	*e = (struct range) { .key = *key, .crc = crc32c(0, p, key->n) };
	pthread_mutex_lock(&c->mutex);
	g = find(&c->gen[c->young], key->id, key->off) ? NULL
						       : place_locked(c, key->n, &e->at);
	if (g)
		emptied = g->emptied;
	pthread_mutex_unlock(&c->mutex);
	if (g)
		r = io_pwrite(g->file, p, key->n, e->at);
	pthread_mutex_lock(&c->mutex);
	if (r == 0 && g->emptied == emptied)
		r = htab_get(&g->ranges, range_hash(key->id, key->off))
			    ? -EEXIST
			    : htab_put(&g->ranges, range_hash(key->id, key->off), e);
	else if (r == 0)
		r = -ESTALE;
	pthread_mutex_unlock(&c->mutex);
	if (r < 0)
		free(e);
}

void range_cache_forget(struct range_cache *c, const uint8_t id[RANGE_ID_BYTES],
			uint64_t off)
{
	pthread_mutex_lock(&c->mutex);
	for (unsigned i = 0; i < 2; i++)
		remove_locked(&c->gen[i], id, off);
	pthread_mutex_unlock(&c->mutex);
}

void range_cache_limit(struct range_cache *c, uint64_t bytes_max)
{
	pthread_mutex_lock(&c->mutex);
	c->stats.bytes_max = bytes_max;
	for (unsigned i = 0; i < 2; i++)
		if (c->gen[i].end > bytes_max / 2)
			empty_locked(&c->gen[i]);
	pthread_mutex_unlock(&c->mutex);
}

void range_cache_read(struct range_cache *c, struct range_cache_stats *ret)
{
	pthread_mutex_lock(&c->mutex);
	*ret = c->stats;
	ret->bytes = c->gen[0].end + c->gen[1].end;
	pthread_mutex_unlock(&c->mutex);
}
