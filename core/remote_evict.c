/* remote_evict.c - packs leave the disk: the local limit, the free bytes to leave, and what goes
 * when the bucket is away. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "core/base/err.h"
#include "core/remote_priv.h"

uint64_t remote_over_limit(struct remote *rm)
{
	uint64_t here = packs_local_bytes(rm->fs->packs), over = 0;
	struct io_space space = { 0 };

	if (rm->cfg.local_bytes && here > rm->cfg.local_bytes)
		over = here - rm->cfg.local_bytes;
	if (rm->cfg.min_free_bytes && rm->fs->io->ops->space(rm->fs->io, &space) >= 0 &&
	    space.free_bytes < rm->cfg.min_free_bytes)
		over = MAX(over, rm->cfg.min_free_bytes - space.free_bytes);
	return over;
}

/* What goes up last leaves first; then the oldest. */
static int leaves_before(const void *a, const void *b)
{
	const struct pack_info *x = a, *y = b;
	unsigned xr = lane_rank(x->lane), yr = lane_rank(y->lane);

	if (xr != yr)
		return xr > yr ? -1 : 1;
	return x->pack < y->pack ? -1 : x->pack > y->pack;
}

/* Takes the pack off the disk. Returns the bytes that went, or an error. */
static ssize_t leave(struct remote *rm, const struct pack_info *info, enum pack_lost lost)
{
	int r;

	/* A collection may rewrite it: not at the same time. */
	lock_take(&rm->fs->checkpoint);
	r = packs_evict(rm->fs->packs, info->pack, info->id, lost);
	lock_drop(&rm->fs->checkpoint);
	if (r == -ESTALE || r == -ENOENT)
		return 0;
	return r < 0 ? r : (ssize_t)info->file_bytes;
}

static ssize_t drop(struct remote *rm, const struct pack_info *info)
{
	ssize_t went;
	int r = remote_dropped_add(rm->fs, info);

	if (r < 0)
		return r;
	went = leave(rm, info, PACK_DROPPED);
	if (went <= 0)
		return went;
	lock_take(&rm->lock);
	rm->dropped++;
	rm->dropped_bytes += info->file_bytes;
	lock_drop(&rm->lock);
	event_raise(rm->fs, "remote-dropped", 0,
		    "pack %010" PRIx64 " of upload=%s, %" PRIu64
		    " bytes, was dropped: the disk is full and the bucket away",
		    info->pack, lane_upload(info->lane), info->file_bytes);
	return went;
}

/* What may leave so: safely there, or given up because nothing goes up. */
static bool may_leave(struct remote *rm, const struct pack_info *info, bool give_up)
{
	if (info->remote || info->damaged || lane_pinned(info->lane))
		return false;
	return remote_has_pack(rm, info) != give_up;
}

static int leave_in_order(struct remote *rm, const struct pack_list *l, bool give_up)
{
	uint64_t over = remote_over_limit(rm);

	for (size_t i = 0; over && i < l->n; i++) {
		ssize_t went = 0;

		if (!may_leave(rm, &l->p[i], give_up))
			continue;
		went = give_up ? drop(rm, &l->p[i]) : leave(rm, &l->p[i], PACK_THERE);
		if (went < 0)
			return (int)went;
		over -= MIN(over, (uint64_t)went);
		lock_take(&rm->lock);
		rm->evicted += went > 0 && !give_up;
		lock_drop(&rm->lock);
	}
	return 0;
}

int remote_evict(struct remote *rm)
{
	struct pack_list l = { 0 };
	uint64_t over = remote_over_limit(rm);
	int r = over ? packs_each(rm->fs->packs, pack_list_add, &l) : 0;

	if (l.n)
		qsort(l.p, l.n, sizeof(*l.p), leaves_before);
	if (r == 0)
		r = leave_in_order(rm, &l, false);
	if (r == 0 && rm->cfg.drop_oldest && remote_is_stuck(rm))
		r = leave_in_order(rm, &l, true);
	free(l.p);
	over = remote_over_limit(rm);
	lock_take(&rm->lock);
	rm->crowded = over > rm->fs->hot_soft;
	/* With what came meanwhile the next turn deals. */
	rm->full = rm->crowded && !(rm->kicked && !rm->fails);
	lock_drop(&rm->lock);
	return r;
}
