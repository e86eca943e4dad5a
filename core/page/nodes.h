/* nodes.h - the nodes of all trees in memory: a cache of clean ones, by page number, and
 * the dirty ones, by address; copy-on-write between them; and the writing-out of a frozen
 * tree by a checkpoint while edits go on.
 *
 * A node's image is PAGE_PAYLOAD bytes that begin with a struct node_head; the image in
 * memory is the image on disk, except that children and extents may point into memory.
 *
 * Epochs. The node epoch rises with each freeze and each clone. A node may be changed in
 * place only when it is dirty and younger than everything that may share it:
 *	birth > frozen epoch (a checkpoint holds older ones),
 *	birth > shared (the tree's own clone epoch, given by the caller),
 *	birth > snapshot epoch.
 * Otherwise an edit makes a copy. The page of a clean node that was copied or freed is given
 * back only when birth > shared and > snapshot epoch; else it is leaked, and a sweep finds it
 * once nobody holds it.
 *
 * Lifetimes. Pointers to images are borrowed and stay valid until nodes_trim(). A dirty node
 * lives until the checkpoint that freezes it is finished, even when nobody uses it any more:
 * stale references to it are therefore harmless until then.
 *
 * Locking: everything here runs under the engine lock, except what the checkpointer calls
 * without it between freeze and finish: nodes_write_out(), which reads frozen (immutable)
 * nodes only, and nodes_take_freed(), whose list only it touches then. */
#ifndef ROPEFS_PAGE_NODES_H
#define ROPEFS_PAGE_NODES_H

#include "core/page/noderef.h"
#include "core/page/pagefile.h"

enum node_kind { /* values are on disk */
		 NODE_ROPE_LEAF = 1,
		 NODE_ROPE_INNER = 2,
		 NODE_BTREE_LEAF = 3,
		 NODE_BTREE_INNER = 4,
};
#define NODE_KIND_MAX 5

/*	 0  birth  le64
 *	 8  kind   u8	enum node_kind
 *	 9  level  u8	0 is a leaf
 *	10  n      le16	entries
 *	12  used   le32	for kinds with entries of varying length: their own business
 */
struct node_head {
	le64 birth;
	uint8_t kind;
	uint8_t level;
	le16 n;
	le32 used;
};
static_assert(sizeof(struct node_head) == 16, "node_head is 16 bytes on disk");

struct extent; /* core/rope/extent.h */

typedef int (*node_child_fn)(void *arg, struct noderef *slot);
typedef int (*node_extent_fn)(void *arg, struct extent *slot);

/* What the layer needs to know of a kind. Functions take a whole image. */
struct node_type {
	/* Calls fn for each child slot in key order, stops at and returns non-zero. */
	int (*each_child)(uint8_t *image, node_child_fn fn, void *arg);
	/* Calls fn for each extent kept in the image, in order. NULL: keeps none. */
	int (*each_extent)(uint8_t *image, node_extent_fn fn, void *arg);
	/* Joins neighbouring extents that became one place after packing. NULL: nothing. */
	void (*compact)(uint8_t *image);
	/* 0, or -E_CORRUPT when a verified image breaks the kind's own rules. */
	int (*check)(const uint8_t *image);
};

struct nodes;

struct nodes_opts {
	struct pagefile *pf; /* NULL: in memory only, for tests of the trees */
	size_t cache_bytes; /* budget for clean nodes */
	uint64_t epoch; /* super.epoch */
	uint64_t snap_epoch; /* super.snap_epoch */
};

int nodes_new_cache(const struct nodes_opts *opts, struct nodes **ret);
struct nodes *nodes_free_cache(struct nodes *ns); /* dirty nodes are lost */
void nodes_set_type(struct nodes *ns, enum node_kind kind, const struct node_type *type);
/* The type of an image's kind, NULL when unknown. Types never change once set: no lock. */
const struct node_type *nodes_type(const struct nodes *ns, const uint8_t *image);

/* The image of a node; reads the page when needed (then -EIO, -E_CORRUPT, -ENOMEM). */
int nodes_get(struct nodes *ns, const struct noderef *ref, const uint8_t **ret_image);
/* Makes sure the next n calls of nodes_make() and nodes_edit() (of nodes that a nodes_get()
 * brought in since the last trim) can't fail. -ENOMEM. */
int nodes_reserve(struct nodes *ns, unsigned n);
/* A new dirty node, its image zeroed but for the head; fills *slot. */
int nodes_make(struct nodes *ns, enum node_kind kind, uint8_t level, struct noderef *slot,
	       uint8_t **ret_image);
/* An image that may be changed for the node *slot points at; copies when it must, and then
 * *slot points at the copy. */
int nodes_edit(struct nodes *ns, struct noderef *slot, uint64_t shared,
	       uint8_t **ret_image);
/* The caller's tree does not use this node any more (its children are the caller's
 * business). Works from the reference alone: reads nothing. Sets *slot to none. */
void nodes_discard(struct nodes *ns, struct noderef *slot, uint64_t shared);

/* For a clone: everything made so far may be shared from now on. Returns the epoch to
 * remember as shared in both trees. */
uint64_t nodes_share(struct nodes *ns);
/* For a snapshot: whatever is made so far never changes any more. Returns the snapshot
 * epoch, which is that of the newest such node. */
uint64_t nodes_take_snapshot(struct nodes *ns);
/* After a snapshot went: nodes born until epoch may still be shared by the snapshots that are
 * left (or by what was copied out of one); any: there are snapshots left. Pages that were kept
 * for snapshots count as leaked from now on. */
void nodes_set_snapshots(struct nodes *ns, uint64_t epoch, bool any);
uint64_t nodes_snapshot_epoch(const struct nodes *ns);
/* Drops some of the clean nodes beyond the budget; the only call that ends borrowed pointers. */
void nodes_trim(struct nodes *ns);
/* A budget for clean nodes that nothing is added to from now on. */
void nodes_set_budget(struct nodes *ns, size_t cache_bytes);
/* So many bytes besides the budget, until the next call: memory that nobody needs for now. */
void nodes_lend(struct nodes *ns, uint64_t bytes);

/* --- checkpoint: freeze (under the lock), write out (without), finish (under) --- */

/* All nodes made so far become immutable; returns the frozen epoch. O(1). */
uint64_t nodes_freeze(struct nodes *ns);

struct nodes_sink {
	void *arg;
	/* Told of each dirty image before its extents. May be NULL. */
	void (*begin)(void *arg, const uint8_t *image);
	/* Gets the private copy of each dirty leaf image, children already written, before it
	 * is sealed; replaces extents that point into memory, and others as it likes: a node
	 * whose image then differs from the patched one in memory is read anew. */
	node_extent_fn pack_extent;
	/* Told of the private copy once all of it has its place, and of the page it goes to; may
	 * change what is no place. May be NULL. */
	void (*end)(void *arg, uint8_t *image, uint64_t page);
};
/* Writes all dirty nodes reachable from *root, children first and in key order, through
 * pagefile_alloc and pagefile_write; leaves the root's place on disk in *ret_root. A leaf
 * that holds both has its children written first, then its extents packed. On failure
 * nothing in memory has changed; call nodes_write_abort() under the lock. */
int nodes_write_out(struct nodes *ns, const struct noderef *root,
		    const struct nodes_sink *sink, struct noderef *ret_root);
/* The checkpoint is durable. Patches every live reference to a frozen node (in dirty nodes
 * made since, through each_child and each_extent with patcher->extent) and turns the frozen
 * nodes that were written into clean cached ones; the others are freed. Works at most
 * `nodes_max` nodes a call and returns 1 while there is more, so that the lock can be
 * dropped between calls; 0 when done. The caller patches the slots it holds outside of nodes
 * itself, with nodes_patch(), under the same hold of the lock as the last call and before it.
 * Pages that edits before the freeze gave up are handed to the pagefile by
 * nodes_take_freed() before commit. */
struct nodes_patcher {
	void *arg;
	node_extent_fn extent;
	/* Does to a written image what nodes_sink.end did to the copy; and told of live ones, of
	 * some more than once. May be NULL. */
	void (*image)(void *arg, uint8_t *image);
};
int nodes_finish(struct nodes *ns, const struct nodes_patcher *patcher,
		 unsigned nodes_max);
/* If *slot points at a frozen node that was written, makes it point at the page. */
void nodes_patch(struct nodes *ns, struct noderef *slot);
/* Calls fn for each page given up before the last freeze (for pagefile_give_back). */
void nodes_take_freed(struct nodes *ns, void (*fn)(void *arg, uint64_t page), void *arg);
/* After a failed checkpoint: frozen nodes are as before (still immutable), and the pages
 * given up wait for the next one. */
void nodes_write_abort(struct nodes *ns);

struct nodes_stats {
	uint64_t clean, dirty, hits, misses, copies, leaked_pages;
	uint64_t kept_pages; /* the live tree left them, a snapshot may hold them */
};
void nodes_get_stats(const struct nodes *ns, struct nodes_stats *ret);
/* Calls fn for each extent in dirty nodes: what lives in memory beside the committed tree. */
int nodes_each_dirty_extent(struct nodes *ns, node_extent_fn fn, void *arg);
void nodes_reset_leaked(struct nodes *ns); /* a sweep has found them */
uint64_t nodes_dirty_bytes(const struct nodes *ns); /* of the live epoch and frozen */
/* The same without what a checkpoint under way is writing. */
uint64_t nodes_live_bytes(const struct nodes *ns);

#endif
