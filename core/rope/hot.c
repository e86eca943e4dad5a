#include "core/rope/hot.h"

#include <errno.h>
#include <string.h>

#define BLOCK_FIRST_CAP 1024u
#define READY_MAX	32u /* blocks made ready ahead; less of little memory */
#define READY_PART	8u
#define READY_FROM	MIB /* of live bytes: who writes less feels no difference */
#define PAGE		4096u

struct place {
	uint32_t off, len;
	struct extent chunk;
};

struct block {
	uint8_t *bytes;
	uint32_t len, cap;
	struct place *places;
	uint32_t n_places, places_cap;
	uint32_t places_end; /* of all places */
	uint8_t lane;
	bool mixed; /* places were not noted in the order of their offsets */
};

/* Blocks first .. first + n - 1. */
struct generation {
	uint64_t first;
	size_t n, cap;
	struct block *blocks;
	uint64_t bytes; /* allocated in them */
};

struct hot {
	struct generation live, frozen;
	uint64_t shared_block[LANES]; /* open to every file of the lane; 0 when none */
	uint8_t **spare; /* full-size blocks for reuse: fresh memory costs page faults */
	size_t n_spare, spare_max;
};

int hot_new(size_t spare_bytes, struct hot **ret)
{
	struct hot *h = calloc(1, sizeof(*h));

	if (!h)
		return -ENOMEM;
	h->spare_max = spare_bytes / HOT_BLOCK_MAX;
	h->spare = calloc(h->spare_max + 1, sizeof(*h->spare));
	if (!h->spare) {
		free(h);
		return -ENOMEM;
	}
	h->live.first = 1;
	h->frozen.first = 1;
	*ret = h;
	return 0;
}

static void bytes_free(struct hot *h, uint8_t *p, uint32_t cap)
{
	if (cap == HOT_BLOCK_MAX && h->n_spare < h->spare_max)
		h->spare[h->n_spare++] = p;
	else
		free(p);
}

static uint8_t *bytes_new(struct hot *h, uint32_t cap)
{
	if (cap == HOT_BLOCK_MAX && h->n_spare)
		return h->spare[--h->n_spare];
	return malloc(cap);
}

static void generation_release(struct hot *h, struct generation *g)
{
	for (size_t i = 0; i < g->n; i++) {
		bytes_free(h, g->blocks[i].bytes, g->blocks[i].cap);
		free(g->blocks[i].places);
	}
	free(g->blocks);
	*g = (struct generation) { .first = g->first + g->n };
}

struct hot *hot_free(struct hot *h)
{
	if (!h)
		return NULL;
	generation_release(h, &h->frozen);
	generation_release(h, &h->live);
	while (h->n_spare)
		free(h->spare[--h->n_spare]);
	free(h->spare);
	free(h);
	return NULL;
}

static struct block *find(const struct hot *h, uint64_t number)
{
	const struct generation *g = number >= h->live.first ? &h->live : &h->frozen;

	assert(number >= g->first && number - g->first < g->n);
	return &g->blocks[number - g->first];
}

/* A new open block; returns its number, or 0 without memory. */
static uint64_t block_new(struct hot *h, unsigned lane, uint32_t cap)
{
	struct generation *g = &h->live;
	uint8_t *bytes;

	if (g->n == g->cap) {
		size_t bigger_cap = MAX(g->cap * 2, (size_t)64);
		struct block *bigger = realloc(g->blocks, bigger_cap * sizeof(*bigger));

		if (!bigger)
			return 0;
		g->blocks = bigger;
		g->cap = bigger_cap;
	}
	bytes = bytes_new(h, cap);
	if (!bytes)
		return 0;
	g->blocks[g->n] =
		(struct block) { .bytes = bytes, .cap = cap, .lane = (uint8_t)lane };
	g->bytes += cap;
	return g->first + g->n++;
}

/* Grows a block's room towards n more bytes; it may get less. A full one comes from those kept. */
static void block_widen(struct hot *h, struct block *b, size_t n)
{
	uint64_t want = MAX((uint64_t)b->cap * 4, (uint64_t)b->len + n);
	uint32_t cap = (uint32_t)MIN(want, (uint64_t)HOT_BLOCK_MAX);
	bool kept = cap == HOT_BLOCK_MAX && h->n_spare;
	uint8_t *p;

	if (b->cap - b->len >= n || b->cap == HOT_BLOCK_MAX)
		return;
	p = kept ? bytes_new(h, cap) : realloc(b->bytes, cap);
	if (!p)
		return;
	if (kept) {
		memcpy(p, b->bytes, b->len);
		free(b->bytes);
	}
	h->live.bytes += cap - b->cap;
	b->bytes = p;
	b->cap = cap;
}

/* The block that the next n bytes of a file go to: where its last bytes ended, or the shared
 * one for a newcomer, or one of its own: a full one for who has filled one. */
static uint64_t block_for(struct hot *h, const struct hot_tail *tail, size_t n)
{
	bool knows =
		tail->block >= h->live.first && find(h, tail->block)->lane == tail->lane;
	uint64_t *shared = &h->shared_block[tail->lane];
	bool fills = n >= HOT_BLOCK_MAX / 2;
	struct block *b;

	if (knows) {
		b = find(h, tail->block);
		if (b->len == tail->end && b->len < HOT_BLOCK_MAX) {
			block_widen(h, b, n);
			if (b->len < b->cap)
				return tail->block;
		}
		fills |= b->len == HOT_BLOCK_MAX;
	} else if (n < BLOCK_FIRST_CAP) {
		if (*shared >= h->live.first) {
			b = find(h, *shared);
			if (b->cap - b->len >= n)
				return *shared;
		}
		*shared = block_new(h, tail->lane, HOT_BLOCK_MAX / 2);
		return *shared;
	}
	return block_new(h, tail->lane,
			 fills ? HOT_BLOCK_MAX
			       : MAX(BLOCK_FIRST_CAP, (uint32_t)align_up(n, 1024)));
}

int hot_put(struct hot *h, struct hot_tail *tail, const uint8_t *p, size_t n,
	    struct extent *ret, unsigned max)
{
	unsigned used = 0;

	assert(n > 0 && max >= n / HOT_BLOCK_MAX + 2);
	assert(tail->lane < LANES);
	while (n) {
		uint64_t number = block_for(h, tail, n);
		struct block *b;
		uint32_t take;

		if (!number)
			return -ENOMEM;
		b = find(h, number);
		take = (uint32_t)MIN(n, (size_t)(b->cap - b->len));
		memcpy(b->bytes + b->len, p, take);
		assert(used < max);
		ret[used++] = extent_hot(number, b->len, take);
		b->len += take;
		*tail = (struct hot_tail) { number, b->len, tail->lane };
		p += take;
		n -= take;
	}
	return (int)used;
}

const uint8_t *hot_bytes(const struct hot *h, const struct extent *e)
{
	const struct block *b = find(h, extent_hot_block(e));

	assert(extent_kind(e) == EXTENT_HOT);
	assert((uint64_t)le32_get(e->off) + le32_get(e->len) <= b->len);
	return b->bytes + le32_get(e->off);
}

uint64_t hot_floor(const struct hot *h)
{
	return h->live.first;
}

uint64_t hot_total(const struct hot *h)
{
	return h->live.bytes + h->frozen.bytes;
}

uint64_t hot_live(const struct hot *h)
{
	return h->live.bytes;
}

uint64_t hot_spare(const struct hot *h)
{
	return (uint64_t)h->n_spare * HOT_BLOCK_MAX;
}

size_t hot_wanted(const struct hot *h)
{
	size_t ready = MIN((size_t)READY_MAX, h->spare_max / READY_PART);

	return h->live.bytes < READY_FROM || h->n_spare >= ready ? 0 : ready - h->n_spare;
}

uint8_t *hot_block_ready(void)
{
	uint8_t *p = malloc(HOT_BLOCK_MAX);

	if (!p)
		return NULL;
	for (size_t i = 0; i < HOT_BLOCK_MAX; i += PAGE)
		((volatile uint8_t *)p)[i] = 0;
	return p;
}

void hot_add_spare(struct hot *h, uint8_t *p)
{
	bytes_free(h, p, HOT_BLOCK_MAX);
}

int hot_freeze(struct hot *h)
{
	uint64_t next = h->live.first + h->live.n;

	if (!h->frozen.n) {
		free(h->frozen.blocks);
		h->frozen = h->live;
	} else { /* what a failed checkpoint left joins what came since */
		struct generation *f = &h->frozen;
		size_t n = f->n + h->live.n;
		struct block *all = realloc(f->blocks, MAX(n, (size_t)1) * sizeof(*all));

		if (!all)
			return -ENOMEM;
		if (h->live.n)
			memcpy(all + f->n, h->live.blocks, h->live.n * sizeof(*all));
		free(h->live.blocks);
		f->blocks = all;
		f->n = f->cap = n;
		f->bytes += h->live.bytes;
	}
	h->live = (struct generation) { .first = next };
	memset(h->shared_block, 0, sizeof(h->shared_block));
	return 0;
}

unsigned hot_lane(const struct hot *h, const struct extent *e)
{
	return h->frozen.blocks[extent_hot_block(e) - h->frozen.first].lane;
}

const uint8_t *hot_frozen_bytes(const struct hot *h, const struct extent *e)
{
	uint64_t number = extent_hot_block(e);

	assert(number >= h->frozen.first && number - h->frozen.first < h->frozen.n);
	return h->frozen.blocks[number - h->frozen.first].bytes + le32_get(e->off);
}

int hot_note_place(struct hot *h, const struct extent *e, const struct extent *chunk)
{
	struct block *b = &h->frozen.blocks[extent_hot_block(e) - h->frozen.first];

	assert(le32_get(e->len) == le32_get(chunk->len));
	if (b->n_places == b->places_cap) {
		uint32_t cap = b->places_cap ? b->places_cap * 2 : 1;
		struct place *bigger = realloc(b->places, cap * sizeof(*bigger));

		if (!bigger)
			return -ENOMEM;
		b->places = bigger;
		b->places_cap = cap;
	}
	if (b->n_places && le32_get(e->off) < b->places[b->n_places - 1].off)
		b->mixed = true;
	b->places_end = MAX(b->places_end, le32_get(e->off) + le32_get(e->len));
	b->places[b->n_places++] =
		(struct place) { le32_get(e->off), le32_get(e->len), *chunk };
	return 0;
}

/* By offset; of two slices that begin together the longer one comes last. */
static int place_cmp(const void *pa, const void *pb)
{
	const struct place *a = pa, *b = pb;

	if (a->off != b->off)
		return a->off < b->off ? -1 : 1;
	return a->len < b->len ? -1 : a->len > b->len;
}

void hot_places_done(struct hot *h)
{
	for (size_t i = 0; i < h->frozen.n; i++) {
		struct block *b = &h->frozen.blocks[i];

		if (b->n_places > 1)
			qsort(b->places, b->n_places, sizeof(*b->places), place_cmp);
		b->mixed = false;
	}
}

/* How many places begin at off or before it. Slices tend to be of one length, so a guess by
 * proportion is close, and spares most steps of a search by halves; each of them costs a miss
 * of the cache. */
static size_t places_upto(const struct block *b, uint32_t off)
{
	size_t lo = 0, hi = b->n_places, step = 1;
	size_t mid = b->places_end ? (size_t)((uint64_t)off * hi / b->places_end) : 0;

	while (lo < hi) {
		mid = MIN(MAX(mid, lo), hi - 1);
		if (b->places[mid].off <= off) {
			lo = mid + 1;
			mid += step;
		} else {
			hi = mid;
			mid -= MIN(mid, step);
		}
		step *= 2;
		if (step > hi - lo)
			mid = lo + (hi - lo) / 2;
	}
	return lo;
}

/* The place that covers [off, off + len) of a block whose places are in order. */
static const struct place *place_find(const struct block *b, uint32_t off, uint32_t len)
{
	size_t lo = places_upto(b, off);

	/* Copies of ranges may have packed overlapping slices: look back for one that covers
	 * ours. */
	while (lo-- > 0) {
		const struct place *p = &b->places[lo];

		if (p->off <= off && (uint64_t)off + len <= (uint64_t)p->off + p->len)
			return p;
	}
	return NULL;
}

/* *e, a slice of block b, becomes its chunk extent; false: it has no place. */
static bool patch(const struct block *b, struct extent *e)
{
	uint32_t off = le32_get(e->off), len = le32_get(e->len);
	const struct place *p = place_find(b, off, len);

	if (!p)
		return false;
	*e = extent_part(&p->chunk, off - p->off, len);
	return true;
}

bool hot_placed(const struct hot *h, struct extent *e)
{
	const struct block *b = &h->frozen.blocks[extent_hot_block(e) - h->frozen.first];

	/* Bytes behind all places are the usual case. */
	return !b->mixed && le32_get(e->off) < b->places_end && patch(b, e);
}

int hot_patch(const struct hot *h, struct extent *e)
{
	uint64_t number = extent_hot_block(e);

	if (extent_kind(e) != EXTENT_HOT || number >= h->live.first)
		return 0;
	return patch(&h->frozen.blocks[number - h->frozen.first], e) ? 0 : -ENOENT;
}

void hot_drop_frozen(struct hot *h)
{
	generation_release(h, &h->frozen);
}

void hot_forget_places(struct hot *h)
{
	for (size_t i = 0; i < h->frozen.n; i++) {
		free(h->frozen.blocks[i].places);
		h->frozen.blocks[i].places = NULL;
		h->frozen.blocks[i].n_places = h->frozen.blocks[i].places_cap = 0;
		h->frozen.blocks[i].places_end = 0;
		h->frozen.blocks[i].mixed = false;
	}
}
