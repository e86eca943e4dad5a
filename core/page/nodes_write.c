/* nodes_write.c - the nodes' side of a checkpoint: freeze, write out, finish. See
 * nodes_priv.h for states and invariants.
 *
 * Finishing replaces references by address with references by page, a slice at a time, so
 * both must work meanwhile. First the written nodes are settled, children before parents:
 * entered in the cache under their page, and their own images patched. From then on copies
 * of settled nodes hold no address of a frozen one. Then the live nodes are walked; one that
 * is edited after its walk is walked again, as the edit may have moved such an address into
 * it. When none is left, only the caller's own slots can hold one. */
#include "core/page/nodes.h"

#include <string.h>

#include "core/base/crc.h"
#include "core/page/nodes_priv.h"

uint64_t nodes_freeze(struct nodes *ns)
{
	assert(ns->phase == PHASE_IDLE);
	assert(!ns->walked.first && !ns->settled.first);
	ns->phase = PHASE_FROZEN;
	ns->writing++;
	ns->written = ns->written_last = NULL;
	ns->frozen_epoch = ns->epoch++;
	ns->floor = MAX(ns->frozen_epoch, ns->snap_epoch);
	list_splice(&ns->frozen, &ns->live);
	ns->n_frozen += ns->n_live;
	ns->n_live = 0;
	if (!ns->freed_frozen.n) {
		struct page_list empty = ns->freed_frozen;

		ns->freed_frozen = ns->freed;
		ns->freed = empty;
	} else {
		/* After a failed checkpoint. Without memory they wait for the next one. */
		(void)page_list_move(&ns->freed_frozen, &ns->freed);
	}
	return ns->frozen_epoch;
}

void nodes_take_freed(struct nodes *ns, void (*fn)(void *arg, uint64_t page), void *arg)
{
	assert(ns->phase == PHASE_FROZEN);
	for (size_t i = 0; i < ns->freed_frozen.n; i++)
		fn(arg, ns->freed_frozen.pages[i]);
}

void nodes_write_abort(struct nodes *ns)
{
	assert(ns->phase == PHASE_FROZEN);
	ns->phase = PHASE_IDLE;
	ns->written = ns->written_last = NULL;
}

/* --- writing out: without the engine lock --- */

struct write_ctx {
	struct nodes *ns;
	const struct nodes_sink *sink;
};

static const struct node_type *node_type(const struct nodes *ns, const uint8_t *image)
{
	const struct node_head *head = (const struct node_head *)(const void *)image;

	assert(head->kind < NODE_KIND_MAX && ns->types[head->kind]);
	return ns->types[head->kind];
}

static int write_slot(void *arg, struct noderef *slot);

/* Replaces children and extents of the private image by their places on disk. */
static int write_parts(struct write_ctx *ctx, uint8_t *image)
{
	const struct node_type *type = node_type(ctx->ns, image);
	int r = 0;

	if (type->each_child)
		r = type->each_child(image, write_slot, ctx);
	if (r == 0 && type->each_extent && ctx->sink->pack_extent)
		r = type->each_extent(image, ctx->sink->pack_extent, ctx->sink->arg);
	if (r == 0 && type->compact)
		type->compact(image);
	return r;
}

static int write_node(struct write_ctx *ctx, struct node *n)
{
	uint8_t image[PAGE_PAYLOAD] __attribute__((aligned(8)));
	struct nodes *ns = ctx->ns;
	struct noderef place;
	uint64_t page;
	int r;

	memcpy(image, n->image, sizeof(image));
	if (ctx->sink->begin)
		ctx->sink->begin(ctx->sink->arg, image);
	r = write_parts(ctx, image);
	if (r == 0)
		r = pagefile_alloc(ns->pf, &page);
	if (r < 0)
		return r;
	if (ctx->sink->end)
		ctx->sink->end(ctx->sink->arg, image, page);
	place = (struct noderef) { .birth = node_head(n)->birth };
	r = pagefile_write(ns->pf, page, image, &place);
	if (r < 0)
		return r;

	n->place = place;
	n->written_crc = crc32c(0, image, sizeof(image));
	n->writing = ns->writing;
	n->next_written = NULL;
	if (ns->written_last)
		ns->written_last->next_written = n;
	else
		ns->written = n;
	ns->written_last = n;
	return 0;
}

static int write_slot(void *arg, struct noderef *slot)
{
	struct write_ctx *ctx = arg;
	struct node *n;
	int r;

	if (noderef_is_none(slot) || !noderef_in_memory(slot))
		return 0;
	n = node_at(slot);
	assert(le64_get(slot->birth) <= ctx->ns->frozen_epoch);
	assert(node_birth(n) == le64_get(slot->birth));
	if (n->writing != ctx->ns->writing) {
		r = write_node(ctx, n);
		if (r < 0)
			return r;
	}
	*slot = n->place;
	return 0;
}

int nodes_write_out(struct nodes *ns, const struct noderef *root,
		    const struct nodes_sink *sink, struct noderef *ret_root)
{
	struct write_ctx ctx = { ns, sink };
	struct noderef place = *root;
	int r;

	assert(ns->phase == PHASE_FROZEN);
	if (ns->pf) {
		r = write_slot(&ctx, &place);
		if (r < 0)
			return r;
	}
	*ret_root = place;
	return 0;
}

static int list_each_extent(struct nodes *ns, const struct node_list *l,
			    node_extent_fn fn, void *arg)
{
	int r = 0;

	for (struct node *n = l->first; n && r == 0; n = n->next) {
		const struct node_type *type = node_type(ns, n->image);

		if (type->each_extent)
			r = type->each_extent(n->image, fn, arg);
	}
	return r;
}

int nodes_each_dirty_extent(struct nodes *ns, node_extent_fn fn, void *arg)
{
	int r = list_each_extent(ns, &ns->live, fn, arg);

	if (r == 0)
		r = list_each_extent(ns, &ns->walked, fn, arg);
	return r == 0 ? list_each_extent(ns, &ns->frozen, fn, arg) : r;
}

/* --- finishing --- */

struct finish_ctx {
	struct nodes *ns;
	const struct nodes_patcher *patcher;
};

/* True when slot refers by address to a node that the last checkpoint wrote or settled. */
static bool slot_written(const struct nodes *ns, const struct noderef *slot)
{
	return noderef_in_memory(slot) && le64_get(slot->birth) <= ns->frozen_epoch &&
	       node_at(slot)->writing == ns->writing;
}

void nodes_patch(struct nodes *ns, struct noderef *slot)
{
	if (slot_written(ns, slot))
		*slot = node_at(slot)->place;
}

static int patch_slot(void *arg, struct noderef *slot)
{
	struct nodes *ns = ((struct finish_ctx *)arg)->ns;

	if (!noderef_in_memory(slot) || le64_get(slot->birth) > ns->frozen_epoch)
		return 0;
	/* One that was not written was not reachable when the tree was frozen: the slot lies
	 * in a row that nobody uses. Its node is about to go. */
	if (slot_written(ns, slot))
		*slot = node_at(slot)->place;
	else
		*slot = NODEREF_NONE;
	return 0;
}

static int patch_image(struct finish_ctx *ctx, uint8_t *image)
{
	const struct node_type *type = node_type(ctx->ns, image);
	int r = 0;

	if (type->each_child)
		r = type->each_child(image, patch_slot, ctx);
	if (r == 0 && type->each_extent && ctx->patcher->extent)
		r = type->each_extent(image, ctx->patcher->extent, ctx->patcher->arg);
	if (r == 0 && ctx->patcher->image)
		ctx->patcher->image(ctx->patcher->arg, image);
	return r;
}

/* The next written node becomes a clean one, known by its page too. */
static int settle(struct finish_ctx *ctx)
{
	struct nodes *ns = ctx->ns;
	struct node *n = ns->written;
	int r;

	assert(n->dirty && node_birth(n) <= ns->frozen_epoch);
	r = patch_image(ctx, n->image);
	if (r < 0)
		return r;
	if (node_type(ns, n->image)->compact)
		node_type(ns, n->image)->compact(n->image);
	ns->written = n->next_written;
	n->dirty = false;
	if (n->superseded) {
		nodes_free_page(ns, le64_get(n->place.at));
		return 0;
	}
	/* One that differs from its page, or finds no memory, stays with the frozen ones and
	 * goes with them; its page is read when it is needed. Extents that are cold were moved
	 * by defragmentation, or hot ones were packed twice, for another file as well. */
	if (crc32c(0, n->image, sizeof(n->image)) != n->written_crc ||
	    nodes_cache_put(ns, n) < 0)
		return 0;
	list_remove(&ns->frozen, n);
	list_append(&ns->settled, n);
	ns->n_settled++;
	return 0;
}

static int walk(struct finish_ctx *ctx)
{
	struct nodes *ns = ctx->ns;
	struct node *n = ns->live.first;
	int r;

	assert(n->dirty && node_birth(n) > ns->frozen_epoch);
	r = patch_image(ctx, n->image);
	if (r < 0)
		return r;
	n->walked = ns->writing;
	list_remove(&ns->live, n);
	list_append(&ns->walked, n);
	return 0;
}

static void finish_end(struct nodes *ns)
{
	assert(!ns->written && !ns->live.first && !ns->doomed.first);
	ns->phase = PHASE_IDLE;
	ns->written_last = NULL;
	list_splice(&ns->live, &ns->walked);
	list_splice(&ns->clean, &ns->settled);
	ns->n_clean += ns->n_settled;
	ns->n_settled = 0;
	list_splice(&ns->doomed, &ns->frozen);
	ns->n_frozen = 0;
}

int nodes_finish(struct nodes *ns, const struct nodes_patcher *patcher,
		 unsigned nodes_max)
{
	struct finish_ctx ctx = { ns, patcher };
	uint64_t budget;
	int r = 0;

	assert(nodes_max > 0);
	if (!ns->pf) {
		/* Nothing was written: frozen nodes stay what they are. */
		assert(ns->phase == PHASE_FROZEN);
		ns->phase = PHASE_IDLE;
		return 0;
	}
	if (ns->phase == PHASE_FROZEN) {
		ns->phase = PHASE_FINISHING;
		ns->freed_frozen.n = 0;
		ns->n_walked = 0;
	}
	assert(ns->phase == PHASE_FINISHING);
	/* Slices grow, so that writers who touch many nodes between them can't outrun us. */
	budget = nodes_max + ns->n_walked / 8;
	/* Those of the checkpoint before, when too few calls of nodes_trim() came since. */
	nodes_free_doomed(ns, nodes_max);
	for (; budget && ns->written && r == 0; budget--)
		r = settle(&ctx);
	for (; budget && ns->live.first && r == 0; budget--, ns->n_walked++)
		r = walk(&ctx);
	if (r < 0)
		return r;
	if (ns->written || ns->live.first || ns->doomed.first)
		return 1;
	finish_end(ns);
	return 0;
}
