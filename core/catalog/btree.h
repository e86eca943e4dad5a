/* btree.h - a B+tree from byte strings to byte strings on nodes.h, for the catalog.
 *
 * Leaves (NODE_BTREE_LEAF) hold sorted (key, value) cells, inner nodes (NODE_BTREE_INNER)
 * (separator, struct noderef). A separator is above all keys to its left and not above
 * any in its subtree; it is as short as that allows, and empty for a node's first child.
 * Cells are kept in a slotted layout, see btree_format.h. Empty leaves are removed; a
 * node that a removal leaves under a quarter full is merged with a neighbour when both
 * fit. Every edit either succeeds or leaves the tree as it was. */
#ifndef ROPEFS_CATALOG_BTREE_H
#define ROPEFS_CATALOG_BTREE_H

#include "core/base/buf.h"
#include "core/page/nodes.h"

#define BTREE_KEY_MAX	320u
#define BTREE_VALUE_MAX 1024u

struct btree {
	struct nodes *nodes;
	struct noderef root; /* none: empty */
};

/* leaf values may hold ropes (children and extents): see catalog.h, which registers the
 * leaf kind's callbacks through these. each_value must visit cells in key order. */
typedef int (*btree_value_fn)(void *arg, struct span key, uint8_t *value, size_t n);
int btree_each_value(uint8_t *leaf_image, btree_value_fn fn, void *arg);
int btree_inner_each_child(uint8_t *image, node_child_fn fn, void *arg);
int btree_check_image(const uint8_t *image);
/* The first error of fn, over the cells of a checked leaf image. */
int btree_check_values(const uint8_t *leaf_image,
		       int (*fn)(struct span key, struct span value));

/* 0 with the value borrowed until the next edit or nodes_trim(); -ENOENT. */
int btree_get(struct btree *bt, struct span key, struct span *ret_value);
/* Inserts or replaces. -E2BIG past the limits. Neither key nor value may be borrowed from
 * this tree, here and below. */
int btree_put(struct btree *bt, struct span key, struct span value);
int btree_del(struct btree *bt, struct span key); /* -ENOENT */
/* For several edits that must all happen or none: reads and reserves what the next
 * `edits` puts in rising order and removals of keys in [from, to] take, so that
 * (nodes_trim() apart) they can't fail. -EIO, -E_CORRUPT, -ENOMEM. */
int btree_reserve(struct btree *bt, struct span from, struct span to, unsigned edits);

struct btree_cursor {
	struct btree *bt;
	struct {
		const uint8_t *image;
		unsigned i;
	} path[16];
	unsigned levels;
};
/* Stands before the first cell with key >= from; ends with the next edit or trim. */
int btree_seek(struct btree *bt, struct span from, struct btree_cursor *ret);
/* 1 with the next cell (borrowed), 0 at the end, or an error. */
int btree_next(struct btree_cursor *c, struct span *ret_key, struct span *ret_value);
/* Order, bounds and separators of every node; -E_CORRUPT with what is wrong. */
int btree_check(struct btree *bt);

#endif
