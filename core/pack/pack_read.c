/* pack_read.c - reading chunks through the cache.
 *
 * Who misses first loads: it lists the chunk as loading, decodes without the lock, and wakes
 * those that found it so meanwhile. When loading fails each of them tries for itself, so
 * that everybody's error is its own. */
#include "core/pack/pack_priv.h"

#include <errno.h>
#include <string.h>

struct chunk_at {
	uint64_t pack;
	uint32_t index;
};

/* Finds a ready chunk, waiting for one that is being loaded. Held, or NULL when it is not
 * listed (and was not since the lock was last taken). */
static struct cached_chunk *cached_wait_locked(struct packs *ps, struct chunk_at at)
{
	struct cached_chunk *e;

	assert(lock_held(&ps->lock));
	while ((e = chunk_cache_get(&ps->cache, chunk_key(at.pack, at.index)))) {
		while (e->state == CACHED_LOADING)
			lock_wait(&ps->lock, &ps->cond, 0);
		if (e->state == CACHED_READY) {
			ps->stats.hits++;
			return e;
		}
		chunk_cache_put(&ps->cache, e);
	}
	return NULL;
}

static int chunk_decode(struct packs *ps, const struct pack_image *img, uint32_t index,
			uint8_t *out)
{
	struct chunk_scratch *s;
	int r;

	r = scratch_take(ps, &s);
	if (r < 0)
		return r;
	r = pack_image_chunk(img, index, s, out);
	scratch_give(ps, s);
	return r;
}

/* Loads a chunk of a pack that is held. Drops the lock meanwhile. */
static int chunk_load_locked(struct packs *ps, const struct pack_image *img,
			     struct chunk_at at, struct cached_chunk **ret)
{
	struct cached_chunk *e;
	int r;

	r = pack_image_has(img, at.index);
	if (r < 0)
		return r;
	r = chunk_cache_add(&ps->cache, chunk_key(at.pack, at.index),
			    img->chunks[at.index].plain, &e);
	if (r < 0)
		return r;
	ps->stats.misses++;
	packs_lock_drop(ps);
	r = chunk_decode(ps, img, at.index, e->bytes);
	lock_take(&ps->lock);
	chunk_cache_done(&ps->cache, e, r == 0);
	pthread_cond_broadcast(&ps->cond);
	if (r < 0)
		chunk_cache_put(&ps->cache, e);
	else
		*ret = e;
	return r;
}

static int chunk_get_locked(struct packs *ps, struct chunk_at at,
			    struct cached_chunk **ret)
{
	struct cached_chunk *e = cached_wait_locked(ps, at);
	struct pack *p;
	int r = 0;

	if (e) {
		*ret = e;
		return 0;
	}
	p = pack_find_locked(ps, at.pack);
	if (!p)
		return pack_missing(at.pack);
	r = pack_hold_locked(ps, p);
	if (r < 0)
		return r;
	/* Opening let others in: one may have loaded, or be loading, the same chunk. */
	e = cached_wait_locked(ps, at);
	if (!e)
		r = chunk_load_locked(ps, pack_widest(p), at, &e);
	pack_unpin_locked(ps, p);
	if (r == 0)
		*ret = e;
	return r;
}

/* A ready chunk of the cache, held; -EAGAIN. */
static int chunk_cached_locked(struct packs *ps, struct chunk_at at,
			       struct cached_chunk **ret)
{
	struct cached_chunk *e =
		chunk_cache_get(&ps->cache, chunk_key(at.pack, at.index));

	if (!e)
		return -EAGAIN;
	if (e->state != CACHED_READY) {
		chunk_cache_put(&ps->cache, e);
		return -EAGAIN;
	}
	ps->stats.hits++;
	*ret = e;
	return 0;
}

/* As packs_read_whole(), of a pack that is held. Drops the lock meanwhile. */
static int chunk_past_locked(struct packs *ps, const struct pack_image *img,
			     uint32_t index, uint32_t len, uint8_t *out)
{
	int r = pack_image_has(img, index);

	if (r < 0 || img->chunks[index].plain != len)
		return MIN(r, 0);
	ps->stats.misses++;
	packs_lock_drop(ps);
	r = chunk_decode(ps, img, index, out);
	lock_take(&ps->lock);
	return r < 0 ? r : 1;
}

int packs_read_whole(struct packs *ps, uint64_t pack, uint32_t index, uint32_t len,
		     uint8_t *out)
{
	struct pack *p;
	int r = 0;

	if (index >= PACK_CHUNKS_MAX)
		return chunk_unusable(pack, index, "no pack has so many chunks");
	lock_take(&ps->lock);
	if (!chunk_cache_has(&ps->cache, chunk_key(pack, index))) {
		p = pack_find_locked(ps, pack);
		r = p ? pack_hold_locked(ps, p) : pack_missing(pack);
		if (r >= 0) {
			r = chunk_past_locked(ps, pack_widest(p), index, len, out);
			pack_unpin_locked(ps, p);
		}
	}
	packs_lock_drop(ps);
	return r;
}

int packs_hold(struct packs *ps, uint64_t pack, uint32_t index, bool nowait,
	       struct chunk_hold *ret)
{
	struct chunk_at at = { pack, index };
	struct cached_chunk *e = NULL;
	int r;

	if (index >= PACK_CHUNKS_MAX)
		return chunk_unusable(pack, index, "no pack has so many chunks");
	lock_take(&ps->lock);
	r = nowait ? chunk_cached_locked(ps, at, &e) : chunk_get_locked(ps, at, &e);
	assert(r < 0 || (e->state == CACHED_READY && e->refs > 0));
	packs_lock_drop(ps);
	if (r < 0)
		return r;
	*ret = (struct chunk_hold) { e->bytes, e->n, pack, index, e };
	return 0;
}

void packs_unhold(struct packs *ps, struct chunk_hold *h)
{
	if (!h->chunk)
		return;
	lock_take(&ps->lock);
	chunk_cache_put(&ps->cache, h->chunk);
	packs_lock_drop(ps);
	h->chunk = NULL;
}

int chunk_hold_copy(const struct chunk_hold *h, uint32_t off, uint32_t len, uint8_t *out)
{
	if (off > h->n || len > h->n - off)
		return chunk_unusable(h->pack, h->index,
				      "an extent reaches beyond its end");
	memcpy(out, h->bytes + off, len);
	return 0;
}

static int read_held(struct packs *ps, struct chunk_at at, bool nowait, uint32_t off,
		     uint32_t len, uint8_t *out)
{
	struct chunk_hold h;
	int r;

	r = packs_hold(ps, at.pack, at.index, nowait, &h);
	if (r < 0)
		return r;
	r = chunk_hold_copy(&h, off, len, out);
	packs_unhold(ps, &h);
	return r;
}

int packs_read(struct packs *ps, uint64_t pack, uint32_t index, uint32_t off,
	       uint32_t len, uint8_t *out)
{
	return read_held(ps, (struct chunk_at) { pack, index }, false, off, len, out);
}

int packs_read_cached(struct packs *ps, uint64_t pack, uint32_t index, uint32_t off,
		      uint32_t len, uint8_t *out)
{
	return read_held(ps, (struct chunk_at) { pack, index }, true, off, len, out);
}
