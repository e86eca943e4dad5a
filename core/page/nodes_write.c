/* nodes_write.c - the nodes' side of a checkpoint: freeze, write out, finish. See
 * nodes_priv.h for states and invariants. */
#include "core/page/nodes.h"

#include "core/page/nodes_priv.h"

uint64_t nodes_freeze(struct nodes *ns)
{
	assert(ns->phase == PHASE_IDLE);
	ns->phase = PHASE_FROZEN;
	ns->frozen_epoch = ns->epoch++;
	ns->floor = MAX(ns->frozen_epoch, ns->snap_epoch);
	list_splice(&ns->frozen, &ns->live);
	ns->n_frozen += ns->n_live;
	ns->n_live = 0;
	return ns->frozen_epoch;
}

int nodes_write_out(struct nodes *ns, const struct noderef *root,
		    const struct nodes_sink *sink, struct noderef *ret_root)
{
	assert(ns->phase == PHASE_FROZEN);
	*ret_root = *root;
	return 0;
}

int nodes_finish(struct nodes *ns, node_extent_fn patch_extent, void *arg,
		 unsigned nodes_max)
{
	assert(ns->phase == PHASE_FROZEN);
	ns->phase = PHASE_IDLE;
	return 0;
}

void nodes_patch(struct nodes *ns, struct noderef *slot)
{
}

void nodes_take_freed(struct nodes *ns, void (*fn)(void *arg, uint64_t page), void *arg)
{
}

void nodes_write_abort(struct nodes *ns)
{
	assert(ns->phase == PHASE_FROZEN);
	ns->phase = PHASE_IDLE;
}
