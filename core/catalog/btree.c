/* btree.c - the B+tree as it is read: finding, cursors, checking. btree_edit.c changes
 * it. */
#include "core/catalog/btree.h"

#include <errno.h>

#include "core/base/err.h"
#include "core/catalog/btree_node.h"
#include "core/catalog/btree_path.h"

int btree_each_value(uint8_t *leaf_image, btree_value_fn fn, void *arg)
{
	unsigned n = bnode_n(leaf_image);

	assert(bnode_level(leaf_image) == 0);
	for (unsigned i = 0; i < n; i++) {
		struct span value = bnode_value(leaf_image, i);
		int r = fn(arg, bnode_key(leaf_image, i),
			   leaf_image + (value.p - leaf_image), value.n);

		if (r)
			return r;
	}
	return 0;
}

int btree_check_values(const uint8_t *leaf_image,
		       int (*fn)(struct span key, struct span value))
{
	unsigned n = bnode_n(leaf_image);

	assert(bnode_level(leaf_image) == 0);
	for (unsigned i = 0; i < n; i++) {
		int r = fn(bnode_key(leaf_image, i), bnode_value(leaf_image, i));

		if (r < 0)
			return r;
	}
	return 0;
}

int btree_inner_each_child(uint8_t *image, node_child_fn fn, void *arg)
{
	unsigned n = bnode_n(image);

	assert(bnode_level(image) > 0);
	for (unsigned i = 0; i < n; i++) {
		int r = fn(arg, bpath_slot(image, i));

		if (r)
			return r;
	}
	return 0;
}

/* --- finding --- */

/* The image of a node; level is the one it must have, or LEVEL_ANY for the root. */
#define LEVEL_ANY UINT_MAX

static int read_node(struct btree *bt, const struct noderef *ref, unsigned level,
		     const uint8_t **ret_image)
{
	const struct node_head *h;
	const uint8_t *image = NULL;
	int r;

	r = nodes_get(bt->nodes, ref, &image);
	if (r < 0)
		return r;
	h = &bnode_of(image)->head;
	if (h->kind != (h->level ? NODE_BTREE_INNER : NODE_BTREE_LEAF) ||
	    h->level >= BTREE_LEVELS_MAX || (level != LEVEL_ANY && h->level != level))
		return err_set(E_CORRUPT,
			       "catalog: node of kind %u, level %u under level %u",
			       h->kind, h->level, level + 1);
	*ret_image = image;
	return 0;
}

int bpath_find(struct btree *bt, struct span key, struct bpath *ret)
{
	const struct noderef *ref = &bt->root;
	unsigned level = LEVEL_ANY;
	const uint8_t *image = NULL;
	int r;

	assert(!noderef_is_none(&bt->root));
	for (;;) {
		r = read_node(bt, ref, level, &image);
		if (r < 0)
			return r;
		if (level == LEVEL_ANY)
			ret->levels = bnode_level(image) + 1;
		level = bnode_level(image);
		ret->step[level].image = image;
		if (level == 0)
			break;
		ret->step[level].i = bnode_find_child(image, key);
		ref = bnode_child(image, ret->step[level].i);
		level--;
	}
	ret->step[0].i = bnode_find(image, key, &ret->found);
	return 0;
}

int btree_get(struct btree *bt, struct span key, struct span *ret_value)
{
	struct bpath p;
	int r;

	if (noderef_is_none(&bt->root))
		return -ENOENT;
	r = bpath_find(bt, key, &p);
	if (r < 0)
		return r;
	if (!p.found)
		return -ENOENT;
	*ret_value = bnode_value(p.step[0].image, p.step[0].i);
	return 0;
}

/* --- walking --- */

int btree_seek(struct btree *bt, struct span from, struct btree_cursor *ret)
{
	struct bpath p;
	int r;

	ret->bt = bt;
	ret->levels = 0;
	if (noderef_is_none(&bt->root))
		return 0;
	r = bpath_find(bt, from, &p);
	if (r < 0)
		return r;
	ret->levels = p.levels;
	for (unsigned level = 0; level < p.levels; level++) {
		ret->path[level].image = p.step[level].image;
		ret->path[level].i = p.step[level].i;
	}
	return 0;
}

/* To the first cell of the next leaf: 1, or 0 when this was the last. */
static int next_leaf(struct btree_cursor *c)
{
	unsigned level = 1;
	const uint8_t *image = NULL;
	int r;

	while (level < c->levels && c->path[level].i + 1 >= bnode_n(c->path[level].image))
		level++;
	if (level >= c->levels)
		return 0;
	c->path[level].i++;
	for (; level > 0; level--) {
		r = read_node(c->bt, bnode_child(c->path[level].image, c->path[level].i),
			      level - 1, &image);
		if (r < 0)
			return r;
		c->path[level - 1].image = image;
		c->path[level - 1].i = 0;
	}
	return 1;
}

int btree_next(struct btree_cursor *c, struct span *ret_key, struct span *ret_value)
{
	if (c->levels == 0)
		return 0;
	if (c->path[0].i >= bnode_n(c->path[0].image)) {
		int r = next_leaf(c);

		if (r <= 0) {
			c->levels = 0;
			return r;
		}
	}
	assert(c->path[0].i < bnode_n(c->path[0].image));
	*ret_key = bnode_key(c->path[0].image, c->path[0].i);
	*ret_value = bnode_value(c->path[0].image, c->path[0].i);
	c->path[0].i++;
	return 1;
}

/* --- checking --- */

/* Keys of a subtree lie in [from, to); to.p NULL: no bound. */
struct bounds {
	struct span from;
	struct span to;
};

static int check_bounds(const uint8_t *image, const struct bounds *b)
{
	unsigned n = bnode_n(image), first = bnode_level(image) ? 1 : 0;

	if (first < n && span_cmp(bnode_key(image, first), b->from) < 0)
		return err_set(E_CORRUPT,
			       "catalog: a node of level %u has a key below its parent's",
			       bnode_level(image));
	if (first < n && b->to.p && span_cmp(bnode_key(image, n - 1), b->to) >= 0)
		return err_set(E_CORRUPT,
			       "catalog: a node of level %u has a key past its parent's",
			       bnode_level(image));
	return 0;
}

/* As deep as the tree has levels. */
static int check_subtree(struct btree *bt, const struct noderef *ref, unsigned level,
			 const struct bounds *b)
{
	const uint8_t *image = NULL;
	unsigned n;
	int r;

	r = read_node(bt, ref, level, &image);
	if (r < 0)
		return r;
	r = btree_check_image(image);
	if (r < 0)
		return r;
	r = check_bounds(image, b);
	if (r < 0 || bnode_level(image) == 0)
		return r;
	n = bnode_n(image);
	for (unsigned i = 0; i < n; i++) {
		struct bounds in = {
			i ? bnode_key(image, i) : b->from,
			i + 1 < n ? bnode_key(image, i + 1) : b->to,
		};

		r = check_subtree(bt, bnode_child(image, i), bnode_level(image) - 1, &in);
		if (r < 0)
			return r;
	}
	return 0;
}

int btree_check(struct btree *bt)
{
	struct bounds all = { { NULL, 0 }, { NULL, 0 } };

	if (noderef_is_none(&bt->root))
		return 0;
	return check_subtree(bt, &bt->root, LEVEL_ANY, &all);
}
