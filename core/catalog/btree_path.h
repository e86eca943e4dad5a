/* btree_path.h - the way from the root of a B+tree to a cell. Private to the B+tree. */
#ifndef ROPEFS_CATALOG_BTREE_PATH_H
#define ROPEFS_CATALOG_BTREE_PATH_H

#include <limits.h>

#include "core/catalog/btree.h"
#include "core/catalog/btree_node.h"

#define BTREE_LEVELS_MAX 16u

struct bpath {
	struct {
		const uint8_t *image;
		unsigned i; /* the child taken; in the leaf, the cell or its place */
	} step[BTREE_LEVELS_MAX]; /* by level: 0 is the leaf */
	unsigned levels;
	bool found;
};

/* The tree is not empty. Reads the nodes of the path: -EIO, -E_CORRUPT, -ENOMEM. */
int bpath_find(struct btree *bt, struct span key, struct bpath *ret);

/* Where an inner node that may be changed keeps its i-th reference. */
static inline struct noderef *bpath_slot(uint8_t *image, unsigned i)
{
	return (struct noderef *)(image + (bnode_value(image, i).p - image));
}

#endif
