/* noderef.h - how a tree points at a node, in memory and on disk alike.
 *
 *	 0  at     le64   page number; or, with bit 63 set, the address of a node in memory
 *			  (never on disk); 0: no node
 *	 8  tag    16 B   AEAD tag of the page (zeros while in memory)
 *	24  birth  le64   node epoch in which the node was made
 */
#ifndef ROPEFS_PAGE_NODEREF_H
#define ROPEFS_PAGE_NODEREF_H

#include "core/base/le.h"
#include "core/base/util.h"

#define NODEREF_MEMORY ((uint64_t)1 << 63)

struct noderef {
	le64 at;
	uint8_t tag[16];
	le64 birth;
};
static_assert(sizeof(struct noderef) == 32, "noderef is 32 bytes on disk");

#define NODEREF_NONE ((struct noderef) { 0 })

static inline bool noderef_is_none(const struct noderef *r)
{
	return le64_get(r->at) == 0;
}

static inline bool noderef_in_memory(const struct noderef *r)
{
	return (le64_get(r->at) & NODEREF_MEMORY) != 0;
}

#endif
