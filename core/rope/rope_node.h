/* rope_node.h - what the files of the rope share: nodes by their images, paths from the
 * root to a leaf, and the taking out of ranges. Private to core/rope. */
#ifndef ROPEFS_ROPE_ROPE_NODE_H
#define ROPEFS_ROPE_ROPE_NODE_H

#include "core/rope/rope.h"
#include "core/rope/rope_format.h"

static inline const struct node_head *node_head(const uint8_t *image)
{
	return (const struct node_head *)image;
}

static inline const struct rope_leaf *as_leaf(const uint8_t *image)
{
	return (const struct rope_leaf *)image;
}

static inline const struct rope_inner *as_inner(const uint8_t *image)
{
	return (const struct rope_inner *)image;
}

static inline struct rope_leaf *edit_leaf(uint8_t *image)
{
	return (struct rope_leaf *)image;
}

static inline struct rope_inner *edit_inner(uint8_t *image)
{
	return (struct rope_inner *)image;
}

static inline unsigned node_n(const uint8_t *image)
{
	return le16_get(node_head(image)->n);
}

static inline void node_set_n(uint8_t *image, unsigned n)
{
	((struct node_head *)image)->n = le16_put((uint16_t)n);
}

static inline unsigned node_max(unsigned level)
{
	return level ? ROPE_INNER_MAX : ROPE_LEAF_MAX;
}

/* An edit that leaves a node with less than this merges it with a neighbour. */
static inline unsigned node_min(unsigned level)
{
	return node_max(level) / 3;
}

static inline uint64_t entry_bytes(const struct rope_entry *e)
{
	return le64_get(e->bytes);
}

/* Bytes of the extents or subtrees [from, to) of a node. */
static inline uint64_t node_sum(const uint8_t *image, unsigned level, unsigned from,
				unsigned to)
{
	uint64_t sum = 0;

	for (unsigned i = from; i < to; i++)
		sum += level ? entry_bytes(&as_inner(image)->entry[i])
			     : extent_bytes(&as_leaf(image)->ext[i]);
	return sum;
}

/* The image of the node ref points at, which must be of that level. -EIO, -E_CORRUPT,
 * -ENOMEM. */
int rope_node_read(struct nodes *ns, const struct noderef *ref, unsigned level,
		   const uint8_t **ret_image);

/* The two below are for the part of an edit that can't fail any more: the node was read
 * before, and nodes_reserve() has put aside what copies take. */
static inline const uint8_t *node_have(struct nodes *ns, const struct noderef *ref)
{
	const uint8_t *image = NULL;
	int r = nodes_get(ns, ref, &image);

	assert(r == 0);
	(void)r;
	return image;
}

static inline uint8_t *node_edit(struct nodes *ns, struct noderef *slot, uint64_t shared)
{
	uint8_t *image = NULL;
	int r = nodes_edit(ns, slot, shared, &image);

	assert(r == 0);
	(void)r;
	return image;
}

/* Grows *a by *b when b continues it and the sum may be one extent. Hot blocks below
 * hot_floor stay apart. */
static inline bool extent_join(struct extent *a, const struct extent *b,
			       uint64_t hot_floor)
{
	uint64_t len = extent_bytes(a) + extent_bytes(b);

	if (le64_get(a->ref) != le64_get(b->ref))
		return false;
	if (extent_kind(a) == EXTENT_HOLE) {
		if (len > EXTENT_BYTES_MAX)
			return false;
		*a = extent_hole(len);
		return true;
	}
	if ((uint64_t)le32_get(a->off) + le32_get(a->len) != le32_get(b->off) ||
	    len > UINT32_MAX)
		return false;
	if (extent_kind(a) == EXTENT_HOT && extent_hot_block(a) < hot_floor)
		return false;
	a->len = le32_put((uint32_t)len);
	return true;
}

/* A place in an array of extents: skip bytes into extent i; (n, 0) is its end. */
struct place {
	unsigned i;
	uint64_t skip;
};

/* Where byte at (<= bytes, the sum of all n) is. -E_CORRUPT when the lengths don't add up
 * to reach it. */
int rope_place(const struct extent *x, unsigned n, uint64_t bytes, uint64_t at,
	       struct place *ret);

/* The way from the root to a leaf; step[0] is the leaf. */
struct rope_path {
	uint64_t at; /* of the byte sought, within the leaf */
	uint64_t leaf_bytes;
	struct {
		const uint8_t *image;
		unsigned i; /* the child taken; unused in the leaf */
	} step[ROPE_LEVELS_MAX];
};

/* The path to the leaf that holds byte (< bytes) of a rope with nodes. */
int rope_path_find(struct rope_env *env, const struct rope *r, uint64_t byte,
		   struct rope_path *ret);

/* Entries [lo, hi) of an array of extents become add[0..n_add). */
#define PATCH_EXTENTS 16u
struct patch {
	unsigned lo;
	unsigned hi;
	unsigned n_add;
	struct extent add[PATCH_EXTENTS + 2];
};

/* Plans to put k (<= PATCH_EXTENTS) extents in the stead of del bytes at a place, joining
 * what continues each other. -E_CORRUPT when x holds fewer than del bytes there. */
int patch_plan(struct patch *p, uint64_t hot_floor, const struct extent *x, unsigned n,
	       struct place at, uint64_t del, const struct extent *e, size_t k);

static inline unsigned patch_count(const struct patch *p, unsigned n)
{
	return n - (p->hi - p->lo) + p->n_add;
}

/* x has room for patch_count() extents. Returns how many it holds then. */
unsigned patch_apply(const struct patch *p, struct extent *x, unsigned n);

/* Tells env->dropped of each part of the del bytes at a place. */
void rope_tell_dropped(struct rope_env *env, const struct extent *x, struct place at,
		       uint64_t del);

/* Brings in the nodes that rope_discard() of the whole subtree needs. */
int rope_discard_prepare(struct rope_env *env, const struct noderef *ref, unsigned level);
/* Gives up all nodes of a subtree; can't fail. */
void rope_discard(struct rope_env *env, uint64_t shared, struct noderef *slot,
		  unsigned level);

struct byte_range {
	uint64_t from;
	uint64_t to;
};
/* Brings in the nodes that rope_cut() of the same range needs; it edits at most four
 * nodes a level. */
int rope_cut_prepare(struct rope_env *env, const struct rope *r, struct byte_range cut);
/* Takes a range (neither empty nor everything, not inside of one extent) out of a rope
 * with nodes; can't fail. The root may be left with one child. */
void rope_cut(struct rope_env *env, struct rope *r, struct byte_range cut);

/* 0, or -E_CORRUPT when a node of a rope breaks its own rules. Only in memory may a node
 * point at hot bytes and at nodes in memory. */
int rope_image_check(const uint8_t *image, bool in_memory);

#endif
