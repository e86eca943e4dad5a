/* btree_node.h - one node of the catalog's B+tree: finding, putting and removing cells in
 * an image. Private to the B+tree. Images come from this program or were checked by
 * btree_check_image(), so what is wrong with one here is a bug. */
#ifndef ROPEFS_CATALOG_BTREE_NODE_H
#define ROPEFS_CATALOG_BTREE_NODE_H

#include "core/base/buf.h"
#include "core/catalog/btree_format.h"

/* A cell that lies anywhere but in the image it is put into. */
struct bcell {
	struct span key;
	struct span value;
};

static inline const struct btree_node *bnode_of(const uint8_t *image)
{
	return (const struct btree_node *)image;
}

static inline unsigned bnode_n(const uint8_t *image)
{
	return le16_get(bnode_of(image)->head.n);
}

static inline unsigned bnode_level(const uint8_t *image)
{
	return bnode_of(image)->head.level;
}

static inline const struct btree_cell *bnode_cell(const uint8_t *image, unsigned i)
{
	return (const struct btree_cell *)(image +
					   le16_get(bnode_of(image)->slots[i].off));
}

static inline struct span bnode_key(const uint8_t *image, unsigned i)
{
	const struct btree_cell *c = bnode_cell(image, i);

	return span_of(c->bytes, le16_get(c->key_n));
}

static inline struct span bnode_value(const uint8_t *image, unsigned i)
{
	const struct btree_cell *c = bnode_cell(image, i);

	return span_of(c->bytes + le16_get(c->key_n), le16_get(c->value_n));
}

/* Of an inner node. */
static inline const struct noderef *bnode_child(const uint8_t *image, unsigned i)
{
	return (const struct noderef *)bnode_value(image, i).p;
}

static inline unsigned bcell_bytes(size_t key_n, size_t value_n)
{
	return (unsigned)(sizeof(struct btree_cell) + key_n + value_n);
}

/* What a cell takes of BTREE_ROOM. */
static inline unsigned bcell_room(size_t key_n, size_t value_n)
{
	return bcell_bytes(key_n, value_n) + (unsigned)sizeof(struct btree_slot);
}

static inline unsigned bnode_cell_room(const uint8_t *image, unsigned i)
{
	const struct btree_cell *c = bnode_cell(image, i);

	return bcell_room(le16_get(c->key_n), le16_get(c->value_n));
}

/* What all cells take of BTREE_ROOM, slots included. */
static inline unsigned bnode_full(const uint8_t *image)
{
	return le32_get(bnode_of(image)->head.used) +
	       bnode_n(image) * (unsigned)sizeof(struct btree_slot);
}

int span_cmp(struct span a, struct span b);

/* Index of the first cell with key >= key, its equality in *ret_found. In inner nodes the
 * empty first key is never found: the index is at least 1. */
unsigned bnode_find(const uint8_t *image, struct span key, bool *ret_found);
/* Index of the child of an inner node under which key belongs. */
unsigned bnode_find_child(const uint8_t *image, struct span key);

/* A node fresh from nodes_make() gets ready for cells. */
void bnode_init(uint8_t *image);
/* The cell fits (bnode_full() plus its room is at most BTREE_ROOM) and belongs at i. */
void bnode_insert(uint8_t *image, unsigned i, struct span key, struct span value);
/* Removes a cell; when it was the first of an inner node the next one's key gets
 * empty. */
void bnode_remove(uint8_t *image, unsigned i);
/* Of the same length as the old one. */
void bnode_set_value(uint8_t *image, unsigned i, struct span value);
/* Notes that the cell before slot `last` was inserted last. */
void bnode_set_last(uint8_t *image, unsigned last);
/* Replaces all that is in the node; the first key of an inner node is made empty. */
void bnode_fill(uint8_t *image, const struct bcell *cells, unsigned n);
/* The cells of an image, borrowed; returns how many. */
unsigned bnode_gather(const uint8_t *image, struct bcell *ret_cells);

#endif
