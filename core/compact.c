#include "core/compact.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/err.h"
#include "core/queue.h"
#include "core/remote_priv.h"
#include "core/stored.h"

#define SLICE	  64 /* inodes looked at under the engine lock at a time */
#define UNIT	  4u /* bytes that living ones are counted in */
#define LIVE_MAX  60000u
#define STAYS	  UINT16_MAX /* a larger file has bytes of it */
#define EMPTIED	  (UINT16_MAX - 1) /* chosen */
#define THIN_PART 4u /* of a thin chunk at least this part is dead */
#define GAIN_PART 8u /* of a pack that is worth it, this */

struct living {
	uint32_t n, cap;
	uint16_t *chunks; /* units that live, STAYS or EMPTIED */
};

/* A pack whose thin chunks may be emptied. */
struct candidate {
	uint64_t pack, stored;
	uint64_t plain; /* bytes to be moved */
	uint64_t
		cost; /* what they, and what else lives, take once more until it is done */
};

struct compaction *compaction_new(struct ropefs *fs)
{
	struct compaction *c = calloc(1, sizeof(*c));

	if (c)
		c->fs = fs;
	return c;
}

struct compaction *compaction_free(struct compaction *c)
{
	struct htab_slot *slot;
	size_t at = 0;

	if (!c)
		return NULL;
	while ((slot = htab_next(&c->packs, &at))) {
		free(((struct living *)slot->value)->chunks);
		free(slot->value);
	}
	htab_release(&c->packs);
	free(c->candidates);
	free(c);
	return NULL;
}

static int living_of(struct compaction *c, uint64_t pack, struct living **ret)
{
	struct living *l = htab_get(&c->packs, pack);
	int r;

	if (!l) {
		l = calloc(1, sizeof(*l));
		r = l ? htab_put(&c->packs, pack, l) : -ENOMEM;
		if (r < 0) {
			free(l);
			return r;
		}
	}
	*ret = l;
	return 0;
}

static int living_reach(struct living *l, uint32_t index)
{
	uint32_t cap = MAX(64u, l->cap);
	uint16_t *more;

	while (cap <= index)
		cap *= 2;
	if (cap > l->cap) {
		more = realloc(l->chunks, cap * sizeof(*more));
		if (!more)
			return -ENOMEM;
		l->chunks = more;
		l->cap = cap;
	}
	if (index >= l->n) {
		memset(l->chunks + l->n, 0, (index + 1 - l->n) * sizeof(*l->chunks));
		l->n = index + 1;
	}
	return 0;
}

int compaction_count(struct compaction *c, const struct extent *e, bool in_row)
{
	uint32_t index = extent_chunk_index(e), units;
	struct living *l;
	int r;

	if (extent_kind(e) != EXTENT_CHUNK || extent_is_lost(e))
		return 0;
	r = living_of(c, extent_pack(e), &l);
	if (r >= 0)
		r = living_reach(l, index);
	if (r < 0)
		return r;
	units = l->chunks[index] + (le32_get(e->len) + UNIT - 1) / UNIT;
	if (!in_row)
		l->chunks[index] = STAYS;
	else if (l->chunks[index] != STAYS)
		l->chunks[index] =
			(uint16_t)MIN(units, LIVE_MAX); /* shared: counted twice */
	return 0;
}

static bool is_thin(uint16_t units, uint32_t plain)
{
	return units && units <= LIVE_MAX &&
	       (uint64_t)units * UNIT <= plain - plain / THIN_PART;
}

/* What emptying its thin chunks would take. 0 with no bytes to be moved: not worth it. */
static int weigh(struct compaction *c, const struct pack_info *info,
		 const struct living *l, struct candidate *ret)
{
	_cleanup_free_ uint32_t *sealed = calloc(info->chunks + 1u, sizeof(*sealed));
	uint64_t left = 0;
	int r;

	if (!sealed)
		return -ENOMEM;
	*ret = (struct candidate) { .pack = info->pack, .stored = info->stored_bytes };
	r = packs_chunk_sizes(c->fs->packs, info->pack, sealed);
	for (uint32_t i = 0; r >= 0 && i < MIN(l->n, info->chunks); i++) {
		uint32_t plain = 0;

		if (!l->chunks[i])
			continue;
		r = packs_chunk_plain(c->fs->packs, info->pack, i, &plain);
		if (r >= 0 && is_thin(l->chunks[i], plain))
			ret->plain += (uint64_t)l->chunks[i] * UNIT;
		else
			left += sealed[i];
	}
	ret->cost = ret->plain + left;
	if (r < 0 || ret->cost + ret->stored / GAIN_PART > ret->stored)
		ret->plain = 0;
	return r == -E_CORRUPT ? 0 : r;
}

static int weigh_pack(void *arg, const struct pack_info *info)
{
	struct compaction *c = arg;
	const struct living *l = htab_get(&c->packs, info->pack);
	struct candidate *at = &c->candidates[c->n_candidates];
	int r;

	if (!l || info->damaged || info->remote || info->lost != PACK_THERE)
		return 0;
	r = weigh(c, info, l, at);
	c->n_candidates += r >= 0 && at->plain;
	return r;
}

static int by_cost(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;
	double cx = (double)x->cost / (double)x->stored;
	double cy = (double)y->cost / (double)y->stored;

	return (cx > cy) - (cx < cy);
}

static int choose_chunks(struct compaction *c, const struct candidate *p)
{
	struct living *l = htab_get(&c->packs, p->pack);
	int r = 0;

	for (uint32_t i = 0; r >= 0 && i < l->n; i++) {
		uint32_t plain = 0;

		if (!l->chunks[i])
			continue;
		r = packs_chunk_plain(c->fs->packs, p->pack, i, &plain);
		if (r >= 0 && is_thin(l->chunks[i], plain))
			l->chunks[i] = EMPTIED;
	}
	return r;
}

/* Returns how many packs were chosen. */
static int choose(struct compaction *c, uint64_t room)
{
	uint64_t memory = c->fs->hot_soft, taken = 0;
	int r, n = 0;

	c->candidates = calloc(c->packs.n + 1, sizeof(*c->candidates));
	r = c->candidates ? packs_each(c->fs->packs, weigh_pack, c) : -ENOMEM;
	if (r < 0)
		return r;
	qsort(c->candidates, c->n_candidates, sizeof(*c->candidates), by_cost);
	for (size_t i = 0; r >= 0 && i < c->n_candidates; i++) {
		const struct candidate *p = &c->candidates[i];

		if (p->cost > room || p->plain > memory ||
		    !remote_may_write(c->fs, taken + p->cost)) {
			c->left += p->stored - p->cost;
			continue;
		}
		room -= p->cost;
		taken += p->cost;
		memory -= p->plain;
		r = choose_chunks(c, p);
		n++;
	}
	return r < 0 ? r : n;
}

static bool is_emptied(const struct compaction *c, const struct extent *e)
{
	const struct living *l;

	if (extent_kind(e) != EXTENT_CHUNK || extent_is_lost(e))
		return false;
	l = htab_get(&c->packs, extent_pack(e));
	return l && extent_chunk_index(e) < l->n &&
	       l->chunks[extent_chunk_index(e)] == EMPTIED;
}

/* The next extent, from *at on, of a rope that lies in its row. */
static const struct extent *next_emptied(const struct compaction *c,
					 const struct rope *rope, unsigned *at)
{
	for (; !rope->levels && *at < rope->n_inline; ++*at)
		if (is_emptied(c, &rope->u.ext[*at]))
			return &rope->u.ext[*at];
	return NULL;
}

/* Puts c->bytes, which e names, in its place as hot ones. The engine lock is held. */
static int put_hot_locked(struct compaction *c, struct inode *in, unsigned at)
{
	struct ropefs *fs = c->fs;
	struct rope *rope = &in->row.rope;
	struct hot_tail tail = { .lane = (uint8_t)inode_lane(fs, in) };
	uint32_t len = le32_get(rope->u.ext[at].len);
	struct extent hot[2];
	uint64_t off = 0;
	int r;

	for (unsigned i = 0; i < at; i++)
		off += extent_bytes(&rope->u.ext[i]);
	r = hot_put(fs->hot, &tail, c->bytes, len, hot, ARRAY_LEN(hot));
	if (r < 0)
		return r;
	fs->told_bytes = fs->told_hot_bytes = 0;
	r = rope_replace(&fs->env, rope, off, hot, (size_t)r);
	if (r < 0)
		return r;
	stored_went(in, len, 0);
	stored_came(in, len);
	inode_mark_dirty(fs, in);
	c->moved += len;
	return 0;
}

/* Moves the next extent of the file, at or behind *at. 0: there is none. */
static int move_one(struct compaction *c, uint64_t ino, unsigned *at)
{
	struct ropefs *fs = c->fs;
	const struct extent *found = NULL;
	struct extent e;
	struct inode *in;
	int r;

	lock_take(&fs->engine);
	nodes_trim(fs->nodes);
	r = inode_get(fs, ino, &in);
	if (r >= 0 && S_ISREG(le32_get(in->row.mode)) && !inode_is_queue(in))
		found = next_emptied(c, &in->row.rope, at);
	if (found)
		e = *found;
	lock_drop(&fs->engine);
	if (!found)
		return r == -ENOENT ? 0 : r;

	r = packs_read(fs->packs, extent_pack(&e), extent_chunk_index(&e),
		       le32_get(e.off), le32_get(e.len), c->bytes);
	if (r < 0) /* what can't be read stays where it is */
		return r == -E_CORRUPT || r == -ENOENT ? (int)++*at : r;

	lock_take(&fs->engine);
	nodes_trim(fs->nodes);
	r = inode_get(fs, ino, &in);
	if (r >= 0) { /* the same one, if nobody changed it meanwhile */
		found = next_emptied(c, &in->row.rope, at);
		if (found && !memcmp(found, &e, sizeof(e)))
			r = put_hot_locked(c, in, *at);
		++*at;
	}
	lock_drop(&fs->engine);
	return r < 0 && r != -ENOENT ? r : 1;
}

static int move_file(struct compaction *c, uint64_t ino)
{
	unsigned at = 0;
	int r;

	do
		r = move_one(c, ino, &at);
	while (r > 0);
	return r;
}

/* Of up to SLICE inodes behind *ino, those with something to be moved; *ino is 0 at the end. */
static int find_some(struct compaction *c, uint64_t *ino, uint64_t *ret, unsigned *ret_n)
{
	struct ropefs *fs = c->fs;
	struct inode_row row;
	unsigned n = 0;
	int r = 1;

	lock_take(&fs->engine);
	nodes_trim(fs->nodes);
	for (unsigned i = 0; i < SLICE && r > 0; i++) {
		r = catalog_next_inode(&fs->catalog, *ino, ino, &row);
		if (r > 0 && S_ISREG(le32_get(row.mode)) &&
		    next_emptied(c, &row.rope, &(unsigned) { 0 }))
			ret[n++] = *ino;
	}
	lock_drop(&fs->engine);
	if (r == 0)
		*ino = 0;
	*ret_n = n;
	return r < 0 ? r : 0;
}

int compaction_run(struct compaction *c, uint64_t room)
{
	uint64_t ino = 0, found[SLICE];
	unsigned n;
	int r = choose(c, room);

	if (r <= 0)
		return r;
	do {
		r = find_some(c, &ino, found, &n);
		for (unsigned i = 0; i < n && r >= 0; i++)
			r = move_file(c, found[i]);
	} while (r >= 0 && ino);
	return r;
}
