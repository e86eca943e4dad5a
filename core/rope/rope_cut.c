/* rope_cut.c - taking a range that spans leaves out of a rope.
 *
 * Preparation reads all that the cut will touch: the inner nodes above the range, its
 * two boundary leaves, and at each level the neighbours of the cut nodes. Then, with
 * copies put aside, the cut can't fail: whole subtrees are given up, the boundary
 * leaves trimmed, and on the way back up a node left less than a third full is merged
 * with its neighbour, or levelled with it when both don't fit in one.
 *
 * At one inner node at most two children are cut but not gone, and they end up side by
 * side, so the neighbours read ahead are all that mending needs. */
#include "core/base/err.h"
#include "core/rope/rope_node.h"

/* --- preparing --- */

/* The children [first, last] of an inner node that a range touches, and the first's
 * start. */
struct touched {
	unsigned first;
	unsigned last;
	uint64_t start;
};

static struct touched inner_touched(const struct rope_inner *in, struct byte_range cut)
{
	unsigned n = le16_get(in->head.n);
	struct touched t = { 0 };
	uint64_t end;

	while (t.first + 1 < n && t.start + entry_bytes(&in->entry[t.first]) <= cut.from)
		t.start += entry_bytes(&in->entry[t.first++]);
	t.last = t.first;
	end = t.start + entry_bytes(&in->entry[t.first]);
	while (t.last + 1 < n && end < cut.to)
		end += entry_bytes(&in->entry[++t.last]);
	assert(t.first < n && t.start <= cut.from);
	assert(cut.to <= end);
	return t;
}

/* The part of cut within a child at start, relative to it. */
static struct byte_range range_within(struct byte_range cut, uint64_t start,
				      uint64_t bytes)
{
	return (struct byte_range) { MAX(cut.from, start) - start,
				     MIN(cut.to, start + bytes) - start };
}

static int prepare_node(struct rope_env *env, const struct noderef *ref, unsigned level,
			uint64_t bytes, struct byte_range cut);

static int prepare_child(struct rope_env *env, const struct rope_entry *e, unsigned level,
			 uint64_t start, struct byte_range cut)
{
	struct byte_range within = range_within(cut, start, entry_bytes(e));

	if (within.from == 0 && within.to == entry_bytes(e))
		return rope_discard_prepare(env, &e->child, level);
	return prepare_node(env, &e->child, level, entry_bytes(e), within);
}

static int prepare_inner(struct rope_env *env, const struct rope_inner *in,
			 unsigned level, struct byte_range cut)
{
	struct touched t = inner_touched(in, cut);
	const uint8_t *image;
	int r;

	for (unsigned i = t.first; i <= t.last; i++) {
		r = prepare_child(env, &in->entry[i], level - 1, t.start, cut);
		if (r < 0)
			return r;
		t.start += entry_bytes(&in->entry[i]);
	}
	if (t.first > 0) {
		r = rope_node_read(env->nodes, &in->entry[t.first - 1].child, level - 1,
				   &image);
		if (r < 0)
			return r;
	}
	if (t.last + 1 < le16_get(in->head.n)) {
		r = rope_node_read(env->nodes, &in->entry[t.last + 1].child, level - 1,
				   &image);
		if (r < 0)
			return r;
	}
	return 0;
}

static int prepare_node(struct rope_env *env, const struct noderef *ref, unsigned level,
			uint64_t bytes, struct byte_range cut)
{
	const uint8_t *image;
	int r;

	r = rope_node_read(env->nodes, ref, level, &image);
	if (r < 0)
		return r;
	if (node_sum(image, level, 0, node_n(image)) != bytes)
		return err_set(E_CORRUPT,
			       "rope: a node of level %u does not hold the %llu bytes "
			       "counted",
			       level, (unsigned long long)bytes);
	return level ? prepare_inner(env, as_inner(image), level, cut) : 0;
}

int rope_cut_prepare(struct rope_env *env, const struct rope *r, struct byte_range cut)
{
	assert(r->levels > 0 && r->levels <= ROPE_LEVELS_MAX);
	assert(cut.from < cut.to && cut.to <= rope_bytes(r));
	return prepare_node(env, &r->u.root, r->levels - 1u, rope_bytes(r), cut);
}

/* --- mending --- */

static uint8_t *node_slot(uint8_t *image, unsigned level, unsigned i)
{
	return level ? (uint8_t *)&edit_inner(image)->entry[i]
		     : (uint8_t *)&edit_leaf(image)->ext[i];
}

static size_t slot_bytes(unsigned level)
{
	return level ? sizeof(struct rope_entry) : sizeof(struct extent);
}

static void entry_add(struct rope_entry *e, uint64_t bytes)
{
	e->bytes = le64_put(entry_bytes(e) + bytes);
}

static void entry_sub(struct rope_entry *e, uint64_t bytes)
{
	assert(entry_bytes(e) > bytes);
	e->bytes = le64_put(entry_bytes(e) - bytes);
}

struct cutting {
	struct rope_env *env;
	uint64_t shared;
};

/* Moves all of child k + 1 behind child k, which has room for it. */
static void merge_children(struct cutting *c, struct rope_inner *in, unsigned k,
			   unsigned level)
{
	const uint8_t *right = node_have(c->env->nodes, &in->entry[k + 1].child);
	uint8_t *left = node_edit(c->env->nodes, &in->entry[k].child, c->shared);
	unsigned n = le16_get(in->head.n);
	unsigned n_left = node_n(left), n_right = node_n(right), joined = 0;

	assert(n_left + n_right <= node_max(level));
	if (level == 0 && extent_join(&edit_leaf(left)->ext[n_left - 1],
				      &as_leaf(right)->ext[0], c->env->hot_floor))
		joined = 1;
	memcpy(node_slot(left, level, n_left),
	       level ? (const void *)as_inner(right)->entry
		     : (const void *)&as_leaf(right)->ext[joined],
	       (n_right - joined) * slot_bytes(level));
	node_set_n(left, n_left + n_right - joined);
	entry_add(&in->entry[k], entry_bytes(&in->entry[k + 1]));

	nodes_discard(c->env->nodes, &in->entry[k + 1].child, c->shared);
	memmove(&in->entry[k + 1], &in->entry[k + 2], (n - k - 2) * sizeof(in->entry[0]));
	in->head.n = le16_put((uint16_t)(n - 1));
}

/* Moves entries between child k and k + 1 until they hold equally many. */
static void level_children(struct cutting *c, struct rope_inner *in, unsigned k,
			   unsigned level)
{
	uint8_t *left = node_edit(c->env->nodes, &in->entry[k].child, c->shared);
	uint8_t *right = node_edit(c->env->nodes, &in->entry[k + 1].child, c->shared);
	unsigned n_left = node_n(left), n_right = node_n(right);
	unsigned goal = (n_left + n_right) / 2;
	size_t slot = slot_bytes(level);
	uint64_t bytes;

	if (n_left < goal) {
		unsigned m = goal - n_left;

		bytes = node_sum(right, level, 0, m);
		memcpy(node_slot(left, level, n_left), node_slot(right, level, 0),
		       m * slot);
		memmove(node_slot(right, level, 0), node_slot(right, level, m),
			(n_right - m) * slot);
		entry_add(&in->entry[k], bytes);
		entry_sub(&in->entry[k + 1], bytes);
	} else {
		unsigned m = n_left - goal;

		bytes = node_sum(left, level, goal, n_left);
		memmove(node_slot(right, level, m), node_slot(right, level, 0),
			n_right * slot);
		memcpy(node_slot(right, level, 0), node_slot(left, level, goal),
		       m * slot);
		entry_sub(&in->entry[k], bytes);
		entry_add(&in->entry[k + 1], bytes);
	}
	node_set_n(left, goal);
	node_set_n(right, n_left + n_right - goal);
	assert(node_sum(left, level, 0, goal) == entry_bytes(&in->entry[k]));
}

/* Child k was cut: sees that it isn't left nearly empty beside a neighbour. */
static void mend_child(struct cutting *c, struct rope_inner *in, unsigned k,
		       unsigned level)
{
	unsigned left = k > 0 ? k - 1 : 0;
	unsigned n_pair;

	if (node_n(node_have(c->env->nodes, &in->entry[k].child)) >= node_min(level) ||
	    le16_get(in->head.n) == 1)
		return;
	n_pair = node_n(node_have(c->env->nodes, &in->entry[left].child)) +
		 node_n(node_have(c->env->nodes, &in->entry[left + 1].child));
	if (n_pair <= node_max(level))
		merge_children(c, in, left, level);
	else
		level_children(c, in, left, level);
}

/* --- cutting --- */

static void cut_leaf(struct cutting *c, uint8_t *image, uint64_t bytes,
		     struct byte_range cut)
{
	struct rope_leaf *leaf = edit_leaf(image);
	unsigned n = node_n(image);
	struct place at = { 0 };
	struct patch p;
	int r;

	r = rope_place(leaf->ext, n, bytes, cut.from, &at);
	assert(r == 0);
	rope_tell_dropped(c->env, leaf->ext, at, cut.to - cut.from);
	r = patch_plan(&p, c->env->hot_floor, leaf->ext, n, at, cut.to - cut.from, NULL,
		       0);
	assert(r == 0);
	(void)r;
	assert(patch_count(&p, n) > 0 && patch_count(&p, n) <= n);
	node_set_n(image, patch_apply(&p, leaf->ext, n));
}

static void cut_node(struct cutting *c, struct noderef *slot, unsigned level,
		     uint64_t bytes, struct byte_range cut);

static void cut_inner(struct cutting *c, struct rope_inner *in, unsigned level,
		      struct byte_range cut)
{
	struct touched t = inner_touched(in, cut);
	unsigned n = le16_get(in->head.n);
	unsigned kept = t.first;

	for (unsigned i = t.first; i <= t.last; i++) {
		struct rope_entry *e = &in->entry[i];
		uint64_t bytes = entry_bytes(e);
		struct byte_range within = range_within(cut, t.start, bytes);

		t.start += bytes;
		if (within.from == 0 && within.to == bytes) {
			rope_discard(c->env, c->shared, &e->child, level - 1);
			continue;
		}
		cut_node(c, &e->child, level - 1, bytes, within);
		entry_sub(e, within.to - within.from);
		in->entry[kept++] = *e;
	}
	memmove(&in->entry[kept], &in->entry[t.last + 1],
		(n - t.last - 1) * sizeof(in->entry[0]));
	in->head.n = le16_put((uint16_t)(n - (t.last + 1 - kept)));

	assert(kept - t.first <= 2);
	while (kept-- > t.first)
		mend_child(c, in, kept, level - 1);
}

static void cut_node(struct cutting *c, struct noderef *slot, unsigned level,
		     uint64_t bytes, struct byte_range cut)
{
	uint8_t *image = node_edit(c->env->nodes, slot, c->shared);

	assert(cut.from < cut.to && cut.to - cut.from < bytes);
	if (level == 0)
		cut_leaf(c, image, bytes, cut);
	else
		cut_inner(c, edit_inner(image), level, cut);
	assert(node_n(image) > 0);
}

void rope_cut(struct rope_env *env, struct rope *r, struct byte_range cut)
{
	struct cutting c = { env, le64_get(r->shared) };

	cut_node(&c, &r->u.root, r->levels - 1u, rope_bytes(r), cut);
	r->bytes = le64_put(rope_bytes(r) - (cut.to - cut.from));
}
