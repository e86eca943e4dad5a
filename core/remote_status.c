/* remote_status.c - what is told of a store's bucket. */
#include <stdio.h>
#include <stdlib.h>

#include "core/base/err.h"
#include "core/remote_priv.h"

#define SKEW_TOLD_S 60 /* less is no fault of a clock */

static void name_it_locked(const struct remote *rm, struct ropefs_remote_status *st)
{
	snprintf(st->url, sizeof(st->url), "%s", rm->cfg.url);
	snprintf(st->instance, sizeof(st->instance), "%s", rm->instance);
	st->reader = rm->cfg.reader;
	st->follows = rm->follow != NULL;
	st->creates = rm->cfg.creates;
	st->versions = rm->started && rm->up.meter && rm->up.os
			       ? object_capabilities(rm->up.os) & OBJECT_KEEPS_VERSIONS
			       : rm->cfg.versions;
	st->epoch = rm->cfg.epoch;
}

/* How live it is. */
static void tell_watch_locked(const struct remote *rm, struct ropefs_remote_status *st)
{
	st->watched = !rm->cfg.reader && rm->started && remote_is_watched(rm);
	st->announced = rm->announced;
	snprintf(st->announce_error, sizeof(st->announce_error), "%s",
		 rm->announce_error);
	st->live_s = (unsigned)rm->cfg.live_s;
	st->interval_s = (unsigned)rm->cfg.interval_s;
	st->interval_most_s = (unsigned)MAX(rm->cfg.interval_s, rm->cfg.interval_most_s);
}

/* What somebody may have to look at. */
static void tell_troubles_locked(struct remote *rm, struct ropefs_remote_status *st)
{
	int64_t skew = atomic_load(&rm->skew_s);

	snprintf(st->last_error, sizeof(st->last_error), "%s", rm->last_error);
	snprintf(st->read_error, sizeof(st->read_error), "%s", rm->read_error);
	snprintf(st->refused_why, sizeof(st->refused_why), "%s", rm->refused_why);
	st->fenced = rm->fenced;
	st->full = rm->full_for > 0;
	st->resting = rm->resting;
	st->refused = rm->refused;
	st->dropped = rm->dropped;
	st->dropped_bytes = rm->dropped_bytes;
	st->ended = rm->ended != 0;
	st->skew_s = llabs((long long)skew) < SKEW_TOLD_S ? 0 : skew;
}

static void tell_progress_locked(const struct remote *rm, struct ropefs_remote_status *st)
{
	st->wanted_lsn = rm->wanted_lsn;
	st->manifest = rm->number;
	st->committed_lsn = rm->committed_lsn;
	st->committed_ns = (int64_t)rm->committed_ns;
	st->packs_left = rm->packs_left;
	st->bytes_left = rm->bytes_left;
	st->evicted = rm->evicted;
	st->cycles = rm->cycles;
	st->cycle_errors = rm->cycle_errors;
	st->verify_done = rm->verify_done;
	st->verify_total = rm->verify_total;
}

static void count_requests_locked(struct remote *rm, struct ropefs_remote_status *st)
{
	struct object_counts up = { 0 }, down = { 0 };
	struct object_hedge_counts hedge = { 0 };

	if (rm->down.meter)
		object_meter_read(rm->down.meter, &down);
	if (rm->down.hedge)
		object_hedge_read(rm->down.hedge, &hedge);
	if (rm->started && rm->up.meter)
		object_meter_read(rm->up.meter, &up);
	object_counts_add(&up, &rm->up_before);
	st->puts = up.puts;
	st->gets = up.gets + down.gets;
	st->heads = up.heads + down.heads;
	st->lists = up.lists + down.lists;
	st->dels = up.dels;
	st->failed = up.failed + down.failed;
	st->put_bytes = up.put_bytes;
	st->got_bytes = up.got_bytes + down.got_bytes;
	st->hedged = hedge.hedged;
}

/* What lies where. */
static void count_bytes(struct remote *rm, struct ropefs_remote_status *st)
{
	struct range_cache_stats cache = remote_cache_stats(rm);
	struct packs_stats ps;

	packs_get_stats(rm->fs->packs, &ps);
	st->local_bytes = ps.file_bytes;
	st->remote_packs = ps.remote_packs;
	st->remote_bytes = ps.remote_bytes;
	st->cache_bytes = cache.bytes;
	st->cache_hits = cache.hits;
}

int ropefs_remote_status(struct ropefs *fs, struct ropefs_remote_status *ret)
{
	struct ropefs_remote_status st = { 0 };
	struct remote *rm = fs->remote;

	if (!rm)
		return remote_none();
	count_bytes(rm, &st);
	lock_take(&rm->lock);
	name_it_locked(rm, &st);
	tell_troubles_locked(rm, &st);
	tell_watch_locked(rm, &st);
	tell_progress_locked(rm, &st);
	count_requests_locked(rm, &st);
	lock_drop(&rm->lock);
	*ret = st;
	return 0;
}
