/* rope_edit.c - insert, remove and replace: all three put n extents (0..) in the stead
 * of del bytes (0..) at a place.
 *
 * An edit takes the first of these ways that fits:
 *	splice_inline()	the rope is inline and n small
 *	splice_leaf()	one leaf holds the range and has room; nothing else changes but
 *			the counts above it
 *	splice_tree()	everything else: the range is cut out (rope_cut.c), then the
 *			extents go in, a batch at a time, splitting nodes as they fill
 * Each has two halves: up to and with nodes_reserve() nothing has changed and anything
 * may fail; from there on nothing fails. The second half reads no node that the first
 * did not, but those it made.
 *
 * Insertion goes to the leaf that holds the byte before the place, so that what
 * continues that byte's extent joins it, and so that a series of insertions stays in
 * one leaf. */
#include <errno.h>

#include "core/base/err.h"
#include "core/rope/rope_node.h"

struct splice {
	uint64_t at;
	uint64_t del;
	uint64_t add; /* bytes of the n extents */
	const struct extent *e;
	size_t n;
};

/* --- patches to one array of extents --- */

static void patch_push(struct patch *p, uint64_t hot_floor, struct extent e)
{
	if (p->n_add > 0 && extent_join(&p->add[p->n_add - 1], &e, hot_floor))
		return;
	assert(p->n_add < ARRAY_LEN(p->add));
	p->add[p->n_add++] = e;
}

int patch_plan(struct patch *p, uint64_t hot_floor, const struct extent *x, unsigned n,
	       struct place at, uint64_t del, const struct extent *e, size_t k)
{
	uint64_t gone = at.skip + del; /* from the start of x[at.i] */
	unsigned hi = at.i;

	assert(k <= PATCH_EXTENTS);
	assert(at.i <= n);
	p->n_add = 0;
	p->lo = at.i;
	if (at.skip > 0)
		patch_push(p, hot_floor, extent_part(&x[at.i], 0, at.skip));
	else if (at.i > 0)
		patch_push(p, hot_floor, x[--p->lo]);
	for (size_t i = 0; i < k; i++)
		patch_push(p, hot_floor, e[i]);

	while (hi < n && gone >= extent_bytes(&x[hi]))
		gone -= extent_bytes(&x[hi++]);
	if (hi == n && gone > 0)
		return err_set(E_CORRUPT, "rope: %u extents end %llu bytes early", n,
			       (unsigned long long)gone);
	if (hi < n) {
		patch_push(p, hot_floor,
			   extent_part(&x[hi], gone, extent_bytes(&x[hi]) - gone));
		hi++;
	}
	p->hi = hi;
	return 0;
}

unsigned patch_apply(const struct patch *p, struct extent *x, unsigned n)
{
	assert(p->lo <= p->hi && p->hi <= n);
	if (p->hi - p->lo != p->n_add)
		memmove(&x[p->lo + p->n_add], &x[p->hi], (n - p->hi) * sizeof(*x));
	for (unsigned i = 0; i < p->n_add; i++)
		x[p->lo + i] = p->add[i];
	return patch_count(p, n);
}

void rope_tell_dropped(struct rope_env *env, const struct extent *x, struct place at,
		       uint64_t del)
{
	if (!env->dropped)
		return;
	for (; del > 0; at = (struct place) { at.i + 1, 0 }) {
		uint64_t len = MIN(extent_bytes(&x[at.i]) - at.skip, del);
		struct extent part = extent_part(&x[at.i], at.skip, len);

		env->dropped(env->arg, &part);
		del -= len;
	}
}

/* --- one leaf --- */

/* Applies a patch to the leaf at the end of a path and the change of size to all counts
 * above it. */
static void path_apply(struct rope_env *env, struct rope *r, const struct rope_path *path,
		       const struct patch *p, uint64_t delta)
{
	uint64_t shared = le64_get(r->shared);
	struct noderef *slot = &r->u.root;
	uint8_t *image;

	for (unsigned level = r->levels - 1u; level > 0; level--) {
		struct rope_entry *e;

		image = node_edit(env->nodes, slot, shared);
		e = &edit_inner(image)->entry[path->step[level].i];
		e->bytes = le64_put(entry_bytes(e) + delta);
		slot = &e->child;
	}
	image = node_edit(env->nodes, slot, shared);
	assert(patch_count(p, node_n(image)) <= ROPE_LEAF_MAX);
	node_set_n(image, patch_apply(p, edit_leaf(image)->ext, node_n(image)));
	r->bytes = le64_put(rope_bytes(r) + delta);
}

/* The leaf that holds the byte before `at` (the first leaf when there is none), and the
 * place of `at` in it. */
static int find_place(struct rope_env *env, const struct rope *r, uint64_t at,
		      struct rope_path *path, struct place *ret)
{
	bool before = at > 0;
	int res;

	res = rope_path_find(env, r, at - before, path);
	if (res < 0)
		return res;
	path->at += before;
	return rope_place(as_leaf(path->step[0].image)->ext, node_n(path->step[0].image),
			  path->leaf_bytes, path->at, ret);
}

/* Undoes levels that a smaller rope doesn't need. A root with one child is legal and only
 * slower: a read that fails here must not fail an edit that is done. */
static void root_shrink(struct rope_env *env, struct rope *r)
{
	uint64_t shared = le64_get(r->shared);
	const uint8_t *image;

	while (r->levels > 0) {
		struct noderef old = r->u.root;
		unsigned n;

		if (rope_node_read(env->nodes, &old, r->levels - 1u, &image) < 0)
			return;
		n = node_n(image);
		if (r->levels == 1) {
			if (n > ROPE_INLINE)
				return;
			memcpy(r->u.ext, as_leaf(image)->ext, n * sizeof(r->u.ext[0]));
			r->n_inline = (uint8_t)n;
		} else {
			if (n > 1)
				return;
			r->u.root = as_inner(image)->entry[0].child;
		}
		r->levels--;
		nodes_discard(env->nodes, &old, shared);
	}
}

/* 1 when done, 0 when one leaf won't do, or an error. */
static int splice_leaf(struct rope_env *env, struct rope *r, const struct splice *s)
{
	struct rope_path path;
	struct patch p;
	struct place pl;
	unsigned n, after;
	int res;

	if (s->n > PATCH_EXTENTS)
		return 0;
	res = find_place(env, r, s->at, &path, &pl);
	if (res < 0)
		return res;
	if (s->del > path.leaf_bytes - path.at)
		return 0;
	n = node_n(path.step[0].image);
	res = patch_plan(&p, env->hot_floor, as_leaf(path.step[0].image)->ext, n, pl,
			 s->del, s->e, s->n);
	if (res < 0)
		return res;
	after = patch_count(&p, n);
	if (after == 0 || after > ROPE_LEAF_MAX ||
	    (after < n && after < node_min(0) && r->levels > 1))
		return 0;

	res = nodes_reserve(env->nodes, r->levels);
	if (res < 0)
		return res;
	rope_tell_dropped(env, as_leaf(path.step[0].image)->ext, pl, s->del);
	path_apply(env, r, &path, &p, s->add - s->del);
	if (after <= ROPE_INLINE && r->levels == 1)
		root_shrink(env, r);
	return 1;
}

/* --- inline --- */

/* Applies a patch to an inline rope; one more than it can hold moves to a leaf, for which
 * there must be a node put aside. */
static void inline_apply(struct rope_env *env, struct rope *r, const struct patch *p,
			 uint64_t delta)
{
	unsigned n = r->n_inline;

	assert(r->levels == 0);
	if (patch_count(p, n) <= ROPE_INLINE) {
		r->n_inline = (uint8_t)patch_apply(p, r->u.ext, n);
	} else {
		struct noderef root;
		uint8_t *image = NULL;
		int res = nodes_make(env->nodes, NODE_ROPE_LEAF, 0, &root, &image);

		assert(res == 0);
		(void)res;
		memcpy(edit_leaf(image)->ext, r->u.ext, n * sizeof(r->u.ext[0]));
		node_set_n(image, patch_apply(p, edit_leaf(image)->ext, n));
		r->u.root = root;
		r->levels = 1;
		r->n_inline = 0;
	}
	r->bytes = le64_put(rope_bytes(r) + delta);
}

static int inline_plan(struct rope_env *env, const struct rope *r, const struct splice *s,
		       struct place *pl, struct patch *p)
{
	int res;

	if (r->n_inline > ROPE_INLINE)
		return err_set(E_CORRUPT, "rope: root claims %u inline extents",
			       r->n_inline);
	res = rope_place(r->u.ext, r->n_inline, rope_bytes(r), s->at, pl);
	if (res < 0)
		return res;
	return patch_plan(p, env->hot_floor, r->u.ext, r->n_inline, *pl, s->del, s->e,
			  s->n);
}

/* As splice_leaf(). */
static int splice_inline(struct rope_env *env, struct rope *r, const struct splice *s)
{
	struct place pl;
	struct patch p;
	int res;

	if (s->n > PATCH_EXTENTS)
		return 0;
	res = inline_plan(env, r, s, &pl, &p);
	if (res < 0)
		return res;
	if (patch_count(&p, r->n_inline) > ROPE_INLINE) {
		res = nodes_reserve(env->nodes, 1);
		if (res < 0)
			return res;
	}
	rope_tell_dropped(env, r->u.ext, pl, s->del);
	inline_apply(env, r, &p, s->add - s->del);
	return 1;
}

/* --- the whole tree; nothing in this part fails but the last function --- */

/* Puts an inner node above the root, so that the root can be split. */
static void root_grow(struct rope_env *env, struct rope *r)
{
	struct noderef root;
	uint8_t *image = NULL;
	int res = nodes_make(env->nodes, NODE_ROPE_INNER, r->levels, &root, &image);

	assert(res == 0);
	assert(r->levels < ROPE_LEVELS_MAX);
	(void)res;
	edit_inner(image)->entry[0] = (struct rope_entry) { r->u.root, r->bytes };
	node_set_n(image, 1);
	r->u.root = root;
	r->levels++;
}

/* Moves what child k of an inner node with room holds from entry `from` on to a new child
 * behind it. */
static void split_child(struct rope_env *env, uint64_t shared, struct rope_inner *in,
			unsigned k, unsigned from)
{
	unsigned level = in->head.level - 1u;
	unsigned n = le16_get(in->head.n);
	struct rope_entry *e = &in->entry[k];
	uint8_t *left = node_edit(env->nodes, &e->child, shared);
	unsigned n_right = node_n(left) - from;
	struct rope_entry right;
	uint8_t *image = NULL;
	uint64_t moved;
	int res;

	assert(n < ROPE_INNER_MAX);
	assert(from > 0 && n_right > 0);
	res = nodes_make(env->nodes, level ? NODE_ROPE_INNER : NODE_ROPE_LEAF,
			 (uint8_t)level, &right.child, &image);
	assert(res == 0);
	(void)res;
	moved = node_sum(left, level, from, node_n(left));
	if (level)
		memcpy(edit_inner(image)->entry, &as_inner(left)->entry[from],
		       n_right * sizeof(in->entry[0]));
	else
		memcpy(edit_leaf(image)->ext, &as_leaf(left)->ext[from],
		       n_right * sizeof(struct extent));
	node_set_n(image, n_right);
	node_set_n(left, from);

	memmove(e + 2, e + 1, (n - k - 1) * sizeof(*e));
	right.bytes = le64_put(moved);
	e[0].bytes = le64_put(entry_bytes(e) - moved);
	e[1] = right;
	in->head.n = le16_put((uint16_t)(n + 1));
}

/* Splits one node on a path whose leaf is full: the highest of the full ones just
 * above it, or the leaf. At its end, where appends and series of insertions come, only
 * the last entry moves on, so that they leave full nodes behind. */
static void path_split(struct rope_env *env, struct rope *r, const struct rope_path *path,
		       unsigned leaf_i)
{
	uint64_t shared = le64_get(r->shared);
	unsigned top = 0, i, n, from;
	uint8_t *parent;

	while (top + 1u < r->levels &&
	       node_n(path->step[top + 1].image) == ROPE_INNER_MAX)
		top++;
	n = node_n(path->step[top].image);
	i = top ? path->step[top].i + 1 : leaf_i;
	from = i == n ? n - 1 : n / 2;

	if (top + 1u == r->levels) {
		root_grow(env, r);
		parent = node_edit(env->nodes, &r->u.root, shared);
		split_child(env, shared, edit_inner(parent), 0, from);
		return;
	}
	parent = node_edit(env->nodes, &r->u.root, shared);
	for (unsigned level = r->levels - 1u; level > top + 1; level--)
		parent = node_edit(env->nodes,
				   &edit_inner(parent)->entry[path->step[level].i].child,
				   shared);
	split_child(env, shared, edit_inner(parent), path->step[top + 1].i, from);
}

static void insert_batch(struct rope_env *env, struct rope *r, const struct splice *s)
{
	struct rope_path path;
	struct place pl = { 0 };
	struct patch p;
	int res;

	assert(s->n <= PATCH_EXTENTS && s->del == 0);
	for (;;) {
		const uint8_t *leaf;

		if (r->levels == 0) {
			res = inline_plan(env, r, s, &pl, &p);
			assert(res == 0);
			inline_apply(env, r, &p, s->add);
			return;
		}
		res = find_place(env, r, s->at, &path, &pl);
		assert(res == 0);
		leaf = path.step[0].image;
		res = patch_plan(&p, env->hot_floor, as_leaf(leaf)->ext, node_n(leaf), pl,
				 0, s->e, s->n);
		assert(res == 0);
		(void)res;
		if (patch_count(&p, node_n(leaf)) <= ROPE_LEAF_MAX) {
			path_apply(env, r, &path, &p, s->add);
			return;
		}
		path_split(env, r, &path, pl.i);
	}
}

static void insert_all(struct rope_env *env, struct rope *r, uint64_t at,
		       const struct extent *e, size_t n)
{
	while (n > 0) {
		struct splice s = { .at = at, .e = e, .n = MIN(n, PATCH_EXTENTS) };

		for (size_t i = 0; i < s.n; i++)
			s.add += extent_bytes(&e[i]);
		insert_batch(env, r, &s);
		at += s.add;
		e += s.n;
		n -= s.n;
	}
}

/* How splice_tree() takes the range out. */
enum cut_way { CUT_NOTHING, CUT_ALL, CUT_INLINE, CUT_WITHIN, CUT_NODES };

struct cut_plan {
	enum cut_way way;
	struct rope_path path; /* to the byte before the range, and */
	struct place pl; /* the range's start there */
	struct patch p; /* CUT_INLINE, CUT_WITHIN */
	struct extent tail; /* CUT_WITHIN: what follows the range in its extent; */
	uint64_t tail_bytes; /* it goes back in last */
};

static int plan_cut_inline(struct rope_env *env, const struct rope *r,
			   const struct splice *s, struct cut_plan *c)
{
	struct splice del_only = { .at = s->at, .del = s->del };

	c->way = CUT_INLINE;
	return inline_plan(env, r, &del_only, &c->pl, &c->p);
}

/* The range lies inside of one extent: that loses its tail first. */
static int plan_cut_within(struct rope_env *env, const struct splice *s,
			   struct cut_plan *c, const struct extent *e)
{
	const uint8_t *leaf = c->path.step[0].image;
	uint64_t from = c->pl.skip + s->del;

	c->way = CUT_WITHIN;
	c->tail_bytes = extent_bytes(e) - from;
	c->tail = extent_part(e, from, c->tail_bytes);
	return patch_plan(&c->p, env->hot_floor, as_leaf(leaf)->ext, node_n(leaf), c->pl,
			  s->del + c->tail_bytes, NULL, 0);
}

static int plan_cut(struct rope_env *env, const struct rope *r, const struct splice *s,
		    struct cut_plan *c)
{
	struct byte_range range = { s->at, s->at + s->del };
	struct rope_path behind;
	const uint8_t *leaf;
	int res;

	c->way = CUT_NOTHING;
	c->tail_bytes = 0;
	if (s->del > 0 && s->del == rope_bytes(r)) {
		c->way = CUT_ALL;
		return r->levels ? rope_discard_prepare(env, &r->u.root, r->levels - 1u)
				 : 0;
	}
	if (r->levels == 0)
		return plan_cut_inline(env, r, s, c);
	res = find_place(env, r, s->at, &c->path, &c->pl);
	if (res < 0 || s->del == 0)
		return res;
	leaf = c->path.step[0].image;
	if (c->pl.skip > 0 &&
	    c->pl.skip + s->del < extent_bytes(&as_leaf(leaf)->ext[c->pl.i]))
		return plan_cut_within(env, s, c, &as_leaf(leaf)->ext[c->pl.i]);
	c->way = CUT_NODES;
	/* with the range gone, the way to `at` may be the one to what follows it */
	if (range.to < rope_bytes(r)) {
		res = rope_path_find(env, r, range.to, &behind);
		if (res < 0)
			return res;
	}
	return rope_cut_prepare(env, r, range);
}

static void do_cut(struct rope_env *env, struct rope *r, const struct splice *s,
		   struct cut_plan *c)
{
	switch (c->way) {
	case CUT_NOTHING:
		break;
	case CUT_ALL:
		if (r->levels > 0)
			rope_discard(env, le64_get(r->shared), &r->u.root,
				     r->levels - 1u);
		else
			rope_tell_dropped(env, r->u.ext, (struct place) { 0, 0 }, s->del);
		*r = ROPE_EMPTY;
		break;
	case CUT_INLINE:
		rope_tell_dropped(env, r->u.ext, c->pl, s->del);
		inline_apply(env, r, &c->p, 0 - s->del);
		break;
	case CUT_WITHIN:
		rope_tell_dropped(env, as_leaf(c->path.step[0].image)->ext, c->pl,
				  s->del);
		path_apply(env, r, &c->path, &c->p, 0 - s->del - c->tail_bytes);
		break;
	case CUT_NODES:
		rope_cut(env, r, (struct byte_range) { s->at, s->at + s->del });
		break;
	}
}

/* Nodes that an edit makes or copies at most. A cut copies four a level, an insertion
 * its path, and it splits that path once; then a leaf takes more than 100 extents
 * before it is full again (and an inner node 50 children). */
static size_t nodes_needed(const struct rope *r, size_t n)
{
	return 6u * r->levels + 8u + n / 50;
}

static int splice_tree(struct rope_env *env, struct rope *r, const struct splice *s)
{
	struct cut_plan c;
	int res;

	/* half full nodes of ROPE_LEVELS_MAX - 3 levels hold more than can be
	 * addressed */
	if (r->levels > ROPE_LEVELS_MAX - 3)
		return err_set(EFBIG, "rope: the file is in too many pieces");
	res = plan_cut(env, r, s, &c);
	if (res < 0)
		return res;
	if (s->n > UINT32_MAX)
		return -ENOMEM;
	res = nodes_reserve(env->nodes, (unsigned)nodes_needed(r, s->n));
	if (res < 0)
		return res;

	do_cut(env, r, s, &c);
	insert_all(env, r, s->at, s->e, s->n);
	if (c.tail_bytes > 0)
		insert_all(env, r, s->at + s->add, &c.tail, 1);
	root_shrink(env, r);
	return 0;
}

static int splice(struct rope_env *env, struct rope *r, const struct splice *s)
{
	int res;

	res = r->levels ? splice_leaf(env, r, s) : splice_inline(env, r, s);
	if (res == 0)
		res = splice_tree(env, r, s);
	return res < 0 ? res : 0;
}

/* --- the four --- */

static int sum_extents(const struct extent *e, size_t n, uint64_t *ret_bytes)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++) {
		assert(extent_bytes(&e[i]) > 0);
		if (extent_bytes(&e[i]) > EXTENT_BYTES_MAX - sum)
			return -EFBIG;
		sum += extent_bytes(&e[i]);
	}
	*ret_bytes = sum;
	return 0;
}

int rope_insert(struct rope_env *env, struct rope *r, uint64_t at, const struct extent *e,
		size_t n)
{
	struct splice s = { .at = at, .e = e, .n = n };
	int res;

	assert(at <= rope_bytes(r));
	res = sum_extents(e, n, &s.add);
	if (res < 0)
		return res;
	if (s.add > EXTENT_BYTES_MAX - rope_bytes(r))
		return -EFBIG;
	return n > 0 ? splice(env, r, &s) : 0;
}

int rope_remove(struct rope_env *env, struct rope *r, uint64_t at, uint64_t bytes)
{
	struct splice s = { .at = at, .del = bytes };

	assert(at <= rope_bytes(r) && bytes <= rope_bytes(r) - at);
	return bytes > 0 ? splice(env, r, &s) : 0;
}

int rope_splice(struct rope_env *env, struct rope *r, uint64_t at, uint64_t del,
		const struct extent *e, size_t n)
{
	struct splice s = { .at = at, .del = del, .e = e, .n = n };
	int res;

	assert(at <= rope_bytes(r) && del <= rope_bytes(r) - at);
	res = sum_extents(e, n, &s.add);
	if (res < 0)
		return res;
	if (s.add > EXTENT_BYTES_MAX - (rope_bytes(r) - del))
		return -EFBIG;
	return n > 0 || del > 0 ? splice(env, r, &s) : 0;
}

int rope_replace(struct rope_env *env, struct rope *r, uint64_t at,
		 const struct extent *e, size_t n)
{
	uint64_t sum;
	int res;

	assert(at <= rope_bytes(r));
	res = sum_extents(e, n, &sum);
	if (res < 0)
		return res;
	return rope_splice(env, r, at, MIN(sum, rope_bytes(r) - at), e, n);
}
