/* nodes_priv.h - what nodes.c (cache, copy-on-write) and nodes_write.c (checkpoint) share.
 *
 * States of a node, and the function on each edge:
 *
 *	           nodes_make()              nodes_get() miss
 *	               |                           |
 *	               v    nodes_edit() owned     v
 *	             live <-------------------- clean --nodes_trim()--> freed
 *	               |                           ^
 *	 nodes_freeze()|                           | nodes_finish(): written
 *	               v                           |
 *	            frozen ------------------------+----> doomed --nodes_trim()--> freed
 *	                       nodes_finish(): not written
 *
 * Invariants:
 *  1. Live and frozen nodes are dirty and referred to by address, clean ones by page. Only
 *     between two slices of nodes_finish() a settled node (clean, on list `settled`) is
 *     reached both ways.
 *  2. A dirty node is frozen exactly when its birth <= frozen_epoch.
 *  3. Nobody writes to the image of a frozen node before nodes_finish().
 *  4. Each node is on exactly one list; memory is freed only by nodes_trim(),
 *     and of doomed ones by the next nodes_finish() too.
 *  5. The image of a clean node is the image of its page: a collection looks at pages. */
#ifndef ROPEFS_PAGE_NODES_PRIV_H
#define ROPEFS_PAGE_NODES_PRIV_H

#include "core/base/htab.h"
#include "core/page/nodes.h"
#include "core/page/page_list.h"

struct node {
	struct node *prev, *next; /* the list it is on */
	/* Written by nodes_write_out() alone while the node is frozen. */
	struct noderef place; /* on disk: if clean, or if writing is the current */
	uint64_t writing; /* number of the checkpoint that wrote place */
	struct node *next_written;
	uint32_t written_crc; /* of the image on disk */
	/* Under the engine lock. */
	uint64_t walked; /* number of the checkpoint whose finish saw it */
	bool dirty;
	bool used; /* since the clock's hand passed (clean) */
	bool superseded; /* frozen, and its page has no user once written */
	uint8_t image[PAGE_PAYLOAD] __attribute__((aligned(8)));
};

struct node_list {
	struct node *first, *last;
};

enum nodes_phase {
	PHASE_IDLE,
	PHASE_FROZEN, /* from nodes_freeze() on */
	PHASE_FINISHING, /* from the first to the last call of nodes_finish() */
};

struct nodes {
	struct pagefile *pf;
	const struct node_type *types[NODE_KIND_MAX];
	size_t cache_bytes;
	uint64_t lent_bytes; /* besides, for a while */
	bool fixed; /* nothing is lent */

	uint64_t epoch; /* of nodes made now */
	uint64_t frozen_epoch;
	uint64_t snap_epoch;
	uint64_t floor; /* the greater of the last two */

	enum nodes_phase phase;
	uint64_t writing; /* number of this checkpoint, from 1; rises with each try */
	struct node *written, *written_last; /* children before parents */
	uint64_t n_walked;

	struct node_list live, walked, frozen, settled, clean, doomed, blank;
	uint64_t n_live, n_frozen, n_settled, n_clean, n_blank;
	struct htab cache; /* page number to clean node */
	struct page_list freed, freed_frozen;

	uint64_t loaded; /* clean ones, since the last trim */
	bool snapshots;
	uint64_t hits, misses, copies, leaked_pages, kept_pages;
};

static inline void list_append(struct node_list *l, struct node *n)
{
	n->next = NULL;
	n->prev = l->last;
	if (l->last)
		l->last->next = n;
	else
		l->first = n;
	l->last = n;
}

static inline void list_remove(struct node_list *l, struct node *n)
{
	assert(n->prev || l->first == n);
	assert(n->next || l->last == n);
	if (n->prev)
		n->prev->next = n->next;
	else
		l->first = n->next;
	if (n->next)
		n->next->prev = n->prev;
	else
		l->last = n->prev;
}

/* Moves all of from behind the end of to. */
static inline void list_splice(struct node_list *to, struct node_list *from)
{
	if (!from->first)
		return;
	from->first->prev = to->last;
	if (to->last)
		to->last->next = from->first;
	else
		to->first = from->first;
	to->last = from->last;
	*from = (struct node_list) { 0 };
}

static inline struct node_head *node_head(struct node *n)
{
	return (struct node_head *)(void *)n->image;
}

static inline uint64_t node_birth(struct node *n)
{
	return le64_get(node_head(n)->birth);
}

static inline struct node *node_at(const struct noderef *ref)
{
	assert(noderef_in_memory(ref));
	return (struct node *)(uintptr_t)(le64_get(ref->at) & ~NODEREF_MEMORY);
}

/* Puts a clean node (place is known) into the cache; a stale one under the same page is
 * forgotten. -ENOMEM: it is not in the cache. The caller keeps its list. */
int nodes_cache_put(struct nodes *ns, struct node *n);
/* The page has no user in the tree any more: it goes to the next checkpoint's freed pages. */
void nodes_free_page(struct nodes *ns, uint64_t page);
/* Frees up to max doomed nodes. */
void nodes_free_doomed(struct nodes *ns, unsigned max);

#endif
