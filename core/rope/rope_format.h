/* rope_format.h - the images of a rope's nodes, in memory and on disk alike; the root
 * record is struct rope in rope.h. Version 1: another layout takes another node kind. */
#ifndef ROPEFS_ROPE_ROPE_FORMAT_H
#define ROPEFS_ROPE_ROPE_FORMAT_H

#include "core/page/nodes.h"
#include "core/rope/extent.h"

#define ROPE_LEAF_MAX  253u
#define ROPE_INNER_MAX 101u

/* NODE_ROPE_LEAF
 *	   0  head  16 B	struct node_head: level 0, n extents
 *	  16  ext   253 * 16 B	one after another in file order
 *	4064  pad   8 B
 */
struct rope_leaf {
	struct node_head head;
	struct extent ext[ROPE_LEAF_MAX];
	uint8_t pad[8];
};
static_assert(sizeof(struct rope_leaf) == PAGE_PAYLOAD, "a leaf fills its page");

/*	 0  child  32 B		struct noderef, one level below
 *	32  bytes  le64		of all extents under it
 */
struct rope_entry {
	struct noderef child;
	le64 bytes;
};
static_assert(sizeof(struct rope_entry) == 40, "an inner entry is 40 bytes on disk");

/* NODE_ROPE_INNER
 *	   0  head   16 B	struct node_head: level 1 and up, n entries
 *	  16  entry  101 * 40 B	in file order
 *	4056  pad    16 B
 */
struct rope_inner {
	struct node_head head;
	struct rope_entry entry[ROPE_INNER_MAX];
	uint8_t pad[16];
};
static_assert(sizeof(struct rope_inner) == PAGE_PAYLOAD, "an inner node fills its page");

#endif
