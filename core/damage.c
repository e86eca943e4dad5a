#include "core/damage.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct pack_damage {
	bool all, flawed;
	bool remote; /* ropectl verify asks the bucket */
	uint32_t chunks;
	uint8_t bits[];
};

int damage_add_pack(struct damage *d, const struct pack_info *info)
{
	struct pack_damage *pd = calloc(1, sizeof(*pd) + info->chunks / 8 + 1);
	int r;

	if (!pd)
		return -ENOMEM;
	pd->chunks = info->chunks;
	pd->remote = info->remote;
	r = htab_put(&d->packs, info->pack, pd);
	if (r < 0)
		free(pd);
	return r;
}

void damage_add_chunk(struct damage *d, uint64_t pack, uint32_t index)
{
	struct pack_damage *pd = htab_get(&d->packs, pack);

	assert(pd);
	if (index == PACK_ALL_CHUNKS)
		pd->all = true;
	else if (index < pd->chunks)
		pd->bits[index / 8] |= (uint8_t)(1u << index % 8);
}

bool damage_has(const struct damage *d, const struct extent *e)
{
	uint32_t index = extent_chunk_index(e);
	const struct pack_damage *pd;

	if (extent_kind(e) != EXTENT_CHUNK || (d->newer && extent_pack(e) >= d->newer))
		return false;
	pd = htab_get(&d->packs, extent_pack(e));
	if (!pd)
		return true;
	return !pd->remote && (pd->all || index >= pd->chunks ||
			       (pd->bits[index / 8] >> index % 8 & 1) != 0);
}

void damage_add_flaw(struct damage *d, uint64_t pack)
{
	struct pack_damage *pd = htab_get(&d->packs, pack);

	assert(pd);
	pd->flawed = true;
}

static int each_flawed(const struct pack_damage *pd, uint64_t pack,
		       int (*fn)(void *arg, uint64_t pack, const uint8_t *live,
				 uint32_t n),
		       void *arg)
{
	_cleanup_free_ uint8_t *live = calloc(1, pd->chunks / 8 + 1);
	uint32_t n = 0;

	if (!live)
		return -ENOMEM;
	for (uint32_t i = 0; !pd->all && i < pd->chunks; i++) {
		if (pd->bits[i / 8] >> i % 8 & 1)
			continue;
		live[i / 8] |= (uint8_t)(1u << i % 8);
		n++;
	}
	return fn(arg, pack, live, n);
}

int damage_each_flawed(const struct damage *d,
		       int (*fn)(void *arg, uint64_t pack, const uint8_t *live,
				 uint32_t n),
		       void *arg)
{
	struct htab_slot *slot;
	size_t at = 0;
	int r = 0;

	while (r >= 0 && (slot = htab_next(&d->packs, &at))) {
		const struct pack_damage *pd = slot->value;

		if (pd->flawed)
			r = each_flawed(pd, slot->key, fn, arg);
	}
	return r;
}

void damage_release(struct damage *d)
{
	struct htab_slot *slot;
	size_t at = 0;

	while ((slot = htab_next(&d->packs, &at)))
		free(slot->value);
	htab_release(&d->packs);
}

/* --- ranges --- */

struct ranging {
	const struct damage *d;
	int (*fn)(void *arg, const struct damaged_range *range);
	void *arg;
	struct damaged_range open; /* bytes 0: none */
};

static int range_end(struct ranging *rg)
{
	int r = rg->open.bytes ? rg->fn(rg->arg, &rg->open) : 0;

	rg->open.bytes = 0;
	return r;
}

static int range_extent(void *arg, const struct extent *e, uint64_t at, uint64_t bytes)
{
	struct ranging *rg = arg;
	struct damaged_range *open = &rg->open, now = { at, bytes, DAMAGED_TREE, 0, 0 };
	int r;

	if (e && !damage_has(rg->d, e))
		return range_end(rg);
	if (e && extent_is_lost(e)) {
		now.why = DAMAGED_BEFORE;
	} else if (e) {
		now.why = DAMAGED_CHUNK;
		now.pack = extent_pack(e);
		now.chunk = extent_chunk_index(e);
	}
	if (open->bytes && open->why == now.why && open->pack == now.pack &&
	    open->chunk == now.chunk) {
		open->bytes += bytes;
		return 0;
	}
	r = range_end(rg);
	*open = now;
	return r;
}

int damage_each_range(const struct damage *d, struct rope_env *env,
		      const struct rope *rope,
		      int (*fn)(void *arg, const struct damaged_range *range), void *arg)
{
	struct ranging rg = { .d = d, .fn = fn, .arg = arg };
	int r = rope_survey(env, rope, range_extent, &rg);

	return r ? r : range_end(&rg);
}

void damage_to_text(const struct damaged_range *range, char *line, size_t n)
{
	int len = snprintf(line, n, "bytes %" PRIu64 "..%" PRIu64 " ", range->at,
			   range->at + range->bytes);

	line += len;
	n -= (size_t)len;
	switch (range->why) {
	case DAMAGED_TREE:
		snprintf(line, n,
			 "can't be read: the page that tells of them is damaged");
		break;
	case DAMAGED_CHUNK:
		snprintf(line, n, "can't be read: chunk %u of pack %010" PRIx64,
			 range->chunk, range->pack);
		break;
	case DAMAGED_BEFORE:
		snprintf(line, n, "were given up by a repair");
		break;
	}
}
