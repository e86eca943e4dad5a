/* btree_format.h - a node of the catalog's B+tree, in memory as on disk: PAGE_PAYLOAD
 * bytes in a slotted layout, of format version 1.
 *
 *	   0  head    16 B	struct node_head; used: bytes of all cells together
 *	  16  low     le16	where the lowest cell begins (4072: there is none)
 *	  18  prefix  le16	leading bytes that all keys share, or fewer
 *	  20  last    le16	the slot behind the one inserted last; a hint, any value is fine
 *	  22  pad     2 B
 *	  24  slots   6 B each	in the order of keys
 *	      ...     free
 *	 low  cells		in any order, with gaps where cells were removed
 *	4072
 *
 * slot
 *	   0  off     le16	of the cell, from the beginning of the image
 *	   2  hint    le32	the four bytes of the key behind the shared ones, as a
 *				big-endian number (zeros where the key ends before)
 *
 * cell
 *	   0  key_n   le16	at most BTREE_KEY_MAX
 *	   2  value_n le16	at most BTREE_VALUE_MAX
 *	   4  key
 *	      value		in inner nodes a struct noderef
 *
 * Invariants (btree_check_image):
 *  1. Keys rise strictly; cells lie in [low, 4072), don't overlap, and add up to
 *     head.used.
 *  2. The first key of an inner node is empty and stands for all below the second;
 *     `prefix` and the hints leave that key out.
 *  3. Hints fit the keys, so that nearly every search reads one key.
 * A node has at least one cell while it is in a tree. */
#ifndef ROPEFS_CATALOG_BTREE_FORMAT_H
#define ROPEFS_CATALOG_BTREE_FORMAT_H

#include "core/page/nodes.h"

struct btree_slot {
	le16 off;
	le32 hint;
};
static_assert(sizeof(struct btree_slot) == 6, "a slot is 6 bytes on disk");

struct btree_cell {
	le16 key_n;
	le16 value_n;
	uint8_t bytes[];
};
static_assert(sizeof(struct btree_cell) == 4, "a cell begins with 4 bytes on disk");

struct btree_node {
	struct node_head head;
	le16 low;
	le16 prefix;
	le16 last;
	uint8_t pad[2];
	struct btree_slot slots[];
};
static_assert(sizeof(struct btree_node) == 24, "a node begins with 24 bytes on disk");

/* What slots and cells share. */
#define BTREE_ROOM ((unsigned)(PAGE_PAYLOAD - sizeof(struct btree_node)))
#define BTREE_CELLS_MAX                                                                  \
	(BTREE_ROOM / (unsigned)(sizeof(struct btree_slot) + sizeof(struct btree_cell)))

#endif
