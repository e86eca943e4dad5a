#include "core/damage.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct pack_damage {
	bool all, any;
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
	pd->any = true;
	if (index == PACK_ALL_CHUNKS)
		pd->all = true;
	else if (index < pd->chunks)
		pd->bits[index / 8] |= (uint8_t)(1u << index % 8);
}

bool damage_has(const struct damage *d, const struct extent *e)
{
	uint32_t index = extent_chunk_index(e);
	const struct pack_damage *pd;

	if (extent_kind(e) != EXTENT_CHUNK)
		return false;
	pd = htab_get(&d->packs, extent_pack(e));
	if (!pd)
		return true;
	return !pd->remote && (pd->all || index >= pd->chunks ||
			       (pd->bits[index / 8] >> index % 8 & 1) != 0);
}

bool damage_has_pack(const struct damage *d, uint64_t pack)
{
	const struct pack_damage *pd = htab_get(&d->packs, pack);

	return pd && pd->any;
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
