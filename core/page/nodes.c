/* nodes.c - the node cache and copy-on-write; see nodes_priv.h for states and invariants. */
#include "core/page/nodes.h"

#include <errno.h>
#include <string.h>

#include "core/base/err.h"
#include "core/base/mutant.h"
#include "core/page/nodes_priv.h"

int nodes_new_cache(const struct nodes_opts *opts, struct nodes **ret)
{
	struct nodes *ns = calloc(1, sizeof(*ns));

	if (!ns)
		return -ENOMEM;
	ns->pf = opts->pf;
	ns->cache_bytes = opts->cache_bytes;
	ns->epoch = opts->epoch + 1;
	ns->frozen_epoch = opts->epoch;
	ns->snap_epoch = opts->snap_epoch;
	ns->floor = MAX(ns->frozen_epoch, ns->snap_epoch);
	assert(ns->epoch > ns->floor);
	*ret = ns;
	return 0;
}

static void list_free(struct node_list *l)
{
	for (struct node *n = l->first, *next; n; n = next) {
		next = n->next;
		free(n);
	}
	*l = (struct node_list) { 0 };
}

struct nodes *nodes_free_cache(struct nodes *ns)
{
	if (!ns)
		return NULL;
	list_free(&ns->live);
	list_free(&ns->walked);
	list_free(&ns->frozen);
	list_free(&ns->settled);
	list_free(&ns->clean);
	list_free(&ns->doomed);
	list_free(&ns->blank);
	htab_release(&ns->cache);
	page_list_release(&ns->freed);
	page_list_release(&ns->freed_frozen);
	free(ns);
	return NULL;
}

void nodes_set_type(struct nodes *ns, enum node_kind kind, const struct node_type *type)
{
	assert(kind > 0 && kind < NODE_KIND_MAX);
	assert(type);
	ns->types[kind] = type;
}

/* All fields but the list and the image. */
static void node_reset(struct node *n, bool dirty, struct noderef place)
{
	n->place = place;
	n->writing = 0;
	n->next_written = NULL;
	n->walked = 0;
	n->dirty = dirty;
	n->used = false;
	n->superseded = false;
}

/* --- the cache of clean nodes --- */

/* Takes n out of the cache. It stays on its list, where the clock finds it first, because
 * its image may be borrowed, and a settled one may be referred to by address. */
static void cache_forget(struct nodes *ns, struct node *n)
{
	uint64_t page = le64_get(n->place.at);

	assert(!n->dirty);
	if (htab_get(&ns->cache, page) == n)
		htab_del(&ns->cache, page);
	n->used = false;
}

int nodes_cache_put(struct nodes *ns, struct node *n)
{
	uint64_t page = le64_get(n->place.at);
	struct node *stale = htab_get(&ns->cache, page);

	assert(!n->dirty && !noderef_in_memory(&n->place));
	if (stale)
		cache_forget(ns, stale);
	return htab_put(&ns->cache, page, n);
}

const struct node_type *nodes_type(const struct nodes *ns, const uint8_t *image)
{
	const struct node_head *head = (const void *)image;

	return head->kind < NODE_KIND_MAX ? ns->types[head->kind] : NULL;
}

void nodes_reset_leaked(struct nodes *ns)
{
	ns->leaked_pages = ns->kept_pages = 0;
}

static int child_in_memory(void *arg, struct noderef *slot)
{
	(void)arg;
	return noderef_in_memory(slot);
}

/* What was read is what ref's tag was made for; is it a node as well? */
static int node_check(const struct nodes *ns, const struct noderef *ref, struct node *n)
{
	const struct node_type *type = nodes_type(ns, n->image);
	unsigned long long page = le64_get(ref->at);
	int r;

	if (!type)
		return err_set(E_CORRUPT,
			       "page %llu of the page file holds a node of unknown "
			       "kind %u: run ropefs-fsck",
			       page, node_head(n)->kind);
	if (node_birth(n) != le64_get(ref->birth))
		return err_set(E_CORRUPT,
			       "page %llu of the page file holds a node of another "
			       "epoch than its parent says: run ropefs-fsck",
			       page);
	r = type->check ? type->check(n->image) : 0;
	if (r == 0 && type->each_child &&
	    type->each_child(n->image, child_in_memory, NULL))
		r = err_set(E_CORRUPT,
			    "page %llu of the page file holds a node that points into "
			    "memory: run ropefs-fsck",
			    page);
	return r;
}

static int node_load(struct nodes *ns, const struct noderef *ref, struct node **ret)
{
	struct node *n = malloc(sizeof(*n));
	int r;

	assert(ns->pf);
	if (!n)
		return -ENOMEM;
	r = pagefile_read(ns->pf, ref, n->image);
	if (r == 0)
		r = node_check(ns, ref, n);
	if (r == 0) {
		node_reset(n, false, *ref);
		r = nodes_cache_put(ns, n);
	}
	if (r < 0) {
		free(n);
		return r;
	}
	list_append(&ns->clean, n);
	ns->n_clean++;
	ns->misses++;
	ns->loaded++;
	*ret = n;
	return 0;
}

static int node_find(struct nodes *ns, const struct noderef *ref, struct node **ret)
{
	struct node *n;

	assert(!noderef_is_none(ref));
	if (noderef_in_memory(ref)) {
		*ret = node_at(ref);
		return 0;
	}
	n = htab_get(&ns->cache, le64_get(ref->at));
	/* Another tag: ref is older or newer than what the page held when it was read. */
	if (!n || memcmp(n->place.tag, ref->tag, sizeof(ref->tag)))
		return node_load(ns, ref, ret);
	n->used = true;
	ns->hits++;
	*ret = n;
	return 0;
}

/* --- copy-on-write --- */

static struct node *node_blank(struct nodes *ns)
{
	struct node *n = ns->blank.first;

	if (!n)
		return malloc(sizeof(*n));
	list_remove(&ns->blank, n);
	ns->n_blank--;
	return n;
}

/* n, whose image is whole, becomes a node of this epoch, and *slot points at it. */
static void node_start(struct nodes *ns, struct node *n, struct noderef *slot)
{
	assert(!((uintptr_t)n & NODEREF_MEMORY));
	node_head(n)->birth = le64_put(ns->epoch);
	node_reset(n, true, NODEREF_NONE);
	list_append(&ns->live, n);
	ns->n_live++;
	*slot = (struct noderef) { .at = le64_put((uintptr_t)n | NODEREF_MEMORY),
				   .birth = le64_put(ns->epoch) };
}

void nodes_free_page(struct nodes *ns, uint64_t page)
{
	assert(page && !(page & NODEREF_MEMORY));
	if (page_list_add(&ns->freed, page) < 0)
		ns->leaked_pages++;
}

/* The tree uses the node that ref points at no more; n is that node, if it is known. */
static void node_supersede(struct nodes *ns, const struct noderef *ref, struct node *n,
			   bool owned)
{
	if (n && n->dirty) {
		/* A live one has no page. A frozen one will get one, unless its checkpoint
		 * fails: nodes_finish() frees it. */
		if (owned)
			n->superseded = true;
		return;
	}
	if (!owned) {
		if (ns->snapshots && le64_get(ref->birth) <= ns->snap_epoch)
			ns->kept_pages++;
		else
			ns->leaked_pages++;
		return;
	}
	if (n)
		cache_forget(ns, n);
	nodes_free_page(ns, n ? le64_get(n->place.at) : le64_get(ref->at));
}

static bool node_owned(const struct nodes *ns, const struct noderef *ref, uint64_t shared)
{
	uint64_t birth = le64_get(ref->birth);

	return (birth > shared || MUTANT(CLONE_PAGE_FREED)) &&
	       (birth > ns->snap_epoch || MUTANT(SNAP_PAGE_FREED));
}

int nodes_make(struct nodes *ns, enum node_kind kind, uint8_t level, struct noderef *slot,
	       uint8_t **ret_image)
{
	struct node *n = node_blank(ns);

	assert(kind > 0 && kind < NODE_KIND_MAX);
	if (!n)
		return -ENOMEM;
	memset(n->image, 0, sizeof(n->image));
	node_head(n)->kind = (uint8_t)kind;
	node_head(n)->level = level;
	node_start(ns, n, slot);
	*ret_image = n->image;
	return 0;
}

int nodes_get(struct nodes *ns, const struct noderef *ref, const uint8_t **ret_image)
{
	struct node *n;
	int r;

	if (noderef_in_memory(ref)) {
		*ret_image = node_at(ref)->image;
		return 0;
	}
	r = node_find(ns, ref, &n);
	if (r < 0)
		return r;
	*ret_image = n->image;
	return 0;
}

/* The clean node n, which nobody shares, itself becomes the dirty one. */
static void node_take_over(struct nodes *ns, struct node *n, struct noderef *slot)
{
	cache_forget(ns, n);
	list_remove(&ns->clean, n);
	ns->n_clean--;
	nodes_free_page(ns, le64_get(n->place.at));
	node_start(ns, n, slot);
}

static int node_copy(struct nodes *ns, struct noderef *slot, uint64_t shared,
		     uint8_t **ret_image)
{
	bool owned = node_owned(ns, slot, shared);
	struct node *from, *n;
	int r;

	r = node_find(ns, slot, &from);
	if (r < 0)
		return r;
	if (owned && !from->dirty && ns->phase != PHASE_FINISHING) {
		node_take_over(ns, from, slot);
		*ret_image = from->image;
		return 0;
	}
	n = node_blank(ns);
	if (!n)
		return -ENOMEM;
	memcpy(n->image, from->image, sizeof(n->image));
	node_supersede(ns, slot, from, owned);
	node_start(ns, n, slot);
	ns->copies++;
	*ret_image = n->image;
	return 0;
}

int nodes_edit(struct nodes *ns, struct noderef *slot, uint64_t shared,
	       uint8_t **ret_image)
{
	uint64_t birth = le64_get(slot->birth);
	struct node *n;

	if (!noderef_in_memory(slot) || birth <= ns->floor || birth <= shared)
		return node_copy(ns, slot, shared, ret_image);

	n = node_at(slot);
	assert(n->dirty && node_birth(n) == birth);
	if (ns->phase == PHASE_FINISHING && n->walked == ns->writing) {
		/* It may be given references to frozen nodes now: look at it again. */
		n->walked = 0;
		list_remove(&ns->walked, n);
		list_append(&ns->live, n);
	}
	*ret_image = n->image;
	return 0;
}

void nodes_discard(struct nodes *ns, struct noderef *slot, uint64_t shared)
{
	bool owned = node_owned(ns, slot, shared);
	struct node *n;

	assert(!noderef_is_none(slot));
	if (noderef_in_memory(slot))
		n = node_at(slot);
	else
		n = htab_get(&ns->cache, le64_get(slot->at));
	node_supersede(ns, slot, n, owned);
	*slot = NODEREF_NONE;
}

int nodes_reserve(struct nodes *ns, unsigned n)
{
	int r = page_list_reserve(&ns->freed, n);

	if (r < 0)
		return r;
	while (ns->n_blank < n) {
		struct node *blank = malloc(sizeof(*blank));

		if (!blank)
			return -ENOMEM;
		list_append(&ns->blank, blank);
		ns->n_blank++;
	}
	return 0;
}

uint64_t nodes_share(struct nodes *ns)
{
	return ns->epoch++;
}

uint64_t nodes_take_snapshot(struct nodes *ns)
{
	ns->snap_epoch = ns->epoch++;
	ns->floor = MAX(ns->frozen_epoch, ns->snap_epoch);
	ns->snapshots = true;
	return ns->snap_epoch;
}

void nodes_set_snapshots(struct nodes *ns, uint64_t epoch, bool any)
{
	assert(epoch < ns->epoch);
	ns->snap_epoch = epoch;
	ns->floor = MAX(ns->frozen_epoch, ns->snap_epoch);
	ns->snapshots = any;
	ns->leaked_pages += ns->kept_pages;
	ns->kept_pages = 0;
}

uint64_t nodes_snapshot_epoch(const struct nodes *ns)
{
	return ns->snap_epoch;
}

void nodes_free_doomed(struct nodes *ns, unsigned max)
{
	struct node *n;

	for (; max && (n = ns->doomed.first); max--) {
		list_remove(&ns->doomed, n);
		free(n);
	}
}

#define TRIM_NODES 64u
#define TRIM_PART  16u
#define BLANK_KEPT 64u

/* Clean nodes beyond the budget. */
static uint64_t nodes_excess(const struct nodes *ns)
{
	uint64_t most = (ns->cache_bytes + ns->lent_bytes) / sizeof(struct node);

	return ns->n_clean > most ? ns->n_clean - most : 0;
}

/* A finished checkpoint leaves thousands of nodes to free: a few at each call, so that no
 * single change has to wait for all of them; more the more they are, as what was lent to them may
 * be wanted back soon. What was read since the last call goes besides, so that reading alone never
 * takes more memory (each may have a second chance before). */
void nodes_trim(struct nodes *ns)
{
	uint64_t most = TRIM_NODES + 2 * ns->loaded + nodes_excess(ns) / TRIM_PART;
	struct node *n;

	ns->loaded = 0;
	nodes_free_doomed(ns, TRIM_NODES);
	while (ns->n_blank > BLANK_KEPT) {
		n = ns->blank.first;
		list_remove(&ns->blank, n);
		ns->n_blank--;
		free(n);
	}
	for (uint64_t i = 0; i < most; i++) {
		n = ns->clean.first;
		if (!n || !nodes_excess(ns))
			return;
		list_remove(&ns->clean, n);
		if (n->used) {
			n->used = false;
			list_append(&ns->clean, n);
			continue;
		}
		cache_forget(ns, n);
		ns->n_clean--;
		free(n);
	}
}

void nodes_set_budget(struct nodes *ns, size_t cache_bytes)
{
	ns->cache_bytes = cache_bytes;
	ns->lent_bytes = 0;
	ns->fixed = true;
}

void nodes_lend(struct nodes *ns, uint64_t bytes)
{
	ns->lent_bytes = ns->fixed ? 0 : bytes;
}

void nodes_get_stats(const struct nodes *ns, struct nodes_stats *ret)
{
	*ret = (struct nodes_stats) {
		.clean = ns->n_clean,
		.dirty = ns->n_live + ns->n_frozen,
		.hits = ns->hits,
		.misses = ns->misses,
		.copies = ns->copies,
		.leaked_pages = ns->leaked_pages,
		.kept_pages = ns->kept_pages,
	};
}

uint64_t nodes_dirty_bytes(const struct nodes *ns)
{
	return (ns->n_live + ns->n_frozen) * sizeof(struct node);
}

uint64_t nodes_live_bytes(const struct nodes *ns)
{
	uint64_t frozen = ns->phase == PHASE_IDLE ? ns->n_frozen : 0;

	return (ns->n_live + frozen) * sizeof(struct node);
}
