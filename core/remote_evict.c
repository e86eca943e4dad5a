/* remote_evict.c - packs leave the disk: the local limit, the free bytes to leave, and what goes
 * when the bucket is away.
 *
 * Bytes in memory become packs at a checkpoint. So a change is admitted only while all of them
 * fit beside the packs that are here, and the limit is never passed:
 *
 *	packs + hot bytes + slack + fetched bytes (a quarter, once there are any) <= local limit
 *
 * A change that does not fit waits (short_of) while the uploader evicts, checkpoints and uploads;
 * when it has done what it can and the change still does not fit, the store is full. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "core/base/err.h"
#include "core/remote_priv.h"

#define LOCAL_SLACK_PART                                                                 \
	16u /* of the limit: for what a checkpoint or collection writes */
#define LOCAL_SLACK_MAX	   (16 * MIB) /* besides what was admitted */
#define LOCAL_RESERVE_PART 4u

static uint64_t slack(const struct remote *rm)
{
	return MIN(rm->cfg.local_bytes / LOCAL_SLACK_PART, LOCAL_SLACK_MAX);
}

/* Bytes that packs may take here, so that with what else there is the limit holds. */
static uint64_t packs_most(const struct remote *rm)
{
	uint64_t local = rm->cfg.local_bytes;

	return local - slack(rm) - (rm->cache ? local / LOCAL_CACHE_PART : 0);
}

bool remote_may_write(struct ropefs *fs, uint64_t bytes)
{
	const struct remote *rm = fs->remote;

	return !rm || !rm->cfg.local_bytes ||
	       packs_local_bytes(fs->packs) + bytes <= packs_most(rm) + slack(rm);
}

uint64_t remote_may_move(struct ropefs *fs)
{
	const struct remote *rm = fs->remote;

	return rm && rm->cfg.local_bytes ? slack(rm) : UINT64_MAX;
}

/* What is kept free of packs, so that writers need not wait for one to leave. */
static uint64_t reserve(struct remote *rm)
{
	return MIN(rm->fs->hot_soft, rm->cfg.local_bytes / LOCAL_RESERVE_PART);
}

static void look_at_disk(struct remote *rm)
{
	uint64_t here = packs_local_bytes(rm->fs->packs);
	struct io_space space = { 0 };

	if (!rm->cfg.min_free_bytes || rm->fs->io->ops->space(rm->fs->io, &space) < 0)
		return;
	lock_take(&rm->lock);
	rm->disk_room = (int64_t)(space.free_bytes + here - rm->cfg.min_free_bytes);
	lock_drop(&rm->lock);
}

/* Bytes that may become packs; below 0: so many are there too many. */
static int64_t room(struct remote *rm)
{
	int64_t here = (int64_t)packs_local_bytes(rm->fs->packs), left = INT64_MAX;

	lock_take(&rm->lock);
	if (rm->cfg.local_bytes)
		left = (int64_t)packs_most(rm) - here;
	if (rm->cfg.min_free_bytes)
		left = MIN(left, rm->disk_room - here);
	left -= (int64_t)rm->room_taken;
	lock_drop(&rm->lock);
	return left;
}

bool remote_take_room(struct remote *rm, uint64_t bytes)
{
	bool fits;

	lock_take(&rm->fs->engine);
	fits = (int64_t)(hot_total(rm->fs->hot) + bytes) <= room(rm);
	lock_take(&rm->lock);
	if (fits)
		rm->room_taken += bytes;
	lock_drop(&rm->lock);
	lock_drop(&rm->fs->engine);
	return fits;
}

void remote_give_room(struct remote *rm, uint64_t bytes)
{
	lock_take(&rm->lock);
	rm->room_taken -= bytes;
	lock_drop(&rm->lock);
}

/* What somebody waits to write, with what is in memory before it; 0: nobody waits. */
static uint64_t waited_for(struct remote *rm)
{
	uint64_t n, hot;

	lock_take(&rm->fs->engine);
	hot = hot_total(rm->fs->hot);
	lock_drop(&rm->fs->engine);
	lock_take(&rm->lock);
	n = rm->short_of;
	lock_drop(&rm->lock);
	return n ? n + hot : 0;
}

/* Bytes to go, so that there is room for want. */
static uint64_t over_for(struct remote *rm, uint64_t want)
{
	int64_t left = room(rm);

	return left < (int64_t)want ? (uint64_t)((int64_t)want - left) : 0;
}

uint64_t remote_over_limit(struct remote *rm)
{
	look_at_disk(rm);
	return over_for(rm, MAX(reserve(rm), waited_for(rm)));
}

/* --- who writes --- */

/* What is in memory will be packs: with n more bytes there is room for all. */
static bool fits_locked(struct ropefs *fs, uint64_t n)
{
	struct remote *rm = fs->remote;
	uint64_t hot = hot_total(fs->hot);
	int64_t left = room(rm);

	/* However small the limit is, one change at a time goes through. */
	return (int64_t)(hot + n) <= left ||
	       (left > 0 && !hot && !packs_local_bytes(fs->packs));
}

/* With checkpoint held: while one runs its bytes count twice. */
static bool still_short(struct remote *rm, uint64_t n)
{
	struct ropefs *fs = rm->fs;
	bool is_short;

	lock_take(&fs->checkpoint);
	lock_take(&fs->engine);
	is_short = !fits_locked(fs, n);
	lock_drop(&fs->engine);
	lock_drop(&fs->checkpoint);
	return is_short;
}

uint64_t remote_short_of(struct remote *rm)
{
	uint64_t n;

	lock_take(&rm->lock);
	n = rm->short_of;
	lock_drop(&rm->lock);
	return n && still_short(rm, n) ? n : 0;
}

void remote_answer_short(struct remote *rm, bool tried_all)
{
	uint64_t waits, n;
	bool is_short;

	lock_take(&rm->lock);
	waits = rm->short_of;
	n = waits ? waits : rm->full_for;
	lock_drop(&rm->lock);
	is_short = n && still_short(rm, n);
	lock_take(&rm->lock);
	if (!is_short || tried_all) {
		rm->full_for = is_short ? n : 0;
		/* One that came meanwhile is dealt with in the next turn. */
		if (rm->short_of == waits)
			rm->short_of = 0;
	}
	lock_drop(&rm->lock);
}

bool remote_works_locked(const struct remote *rm)
{
	return !rm->stopping && !rm->ended && !rm->fails && !rm->refused;
}

int remote_admit(struct ropefs *fs, uint64_t n)
{
	struct remote *rm = fs->remote;
	bool fits, full;

	assert(lock_held(&fs->engine));
	if (!rm || !fs->threads)
		return 0;
	fits = fits_locked(fs, n);
	lock_take(&rm->lock);
	if (fits)
		rm->full_for = 0;
	full = rm->full_for || rm->ended || (!rm->started && !rm->stopping);
	if (!fits && !full) {
		rm->short_of = MAX(rm->short_of, MAX(n, (uint64_t)1));
		rm->evict_wanted = true;
		pthread_cond_broadcast(&rm->wake);
	}
	lock_drop(&rm->lock);
	if (fits)
		return 0;
	if (!full)
		return -EAGAIN;
	return err_set(ENOSPC,
		       "the store is at its local limit or the disk too full, and "
		       "the bucket does not take what would leave: ropectl remote "
		       "show says why");
}

/* --- what leaves --- */

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

/* Whether the object is where the manifest says; if not, it is put again instead. A bucket that
 * does not answer is trusted: what may leave must, when nobody can write for want of room. */
static bool is_there(struct remote *rm, const struct pack_info *info, bool *asks)
{
	struct object_key key = key_of(rm->instance, 'p', info->pack, info->id);
	struct harmed h = { .kind = 'p', .number = info->pack };
	int r;

	if (!*asks)
		return true;
	r = remote_is_gone(rm, key.text, info->file_bytes);
	*asks = r >= 0;
	if (r <= 0)
		return true;
	memcpy(h.id, info->id, sizeof(h.id));
	event_raise(rm->fs, "remote-harmed", 0,
		    "pack %010" PRIx64 " is gone from the bucket, or has another length: "
		    "it stays here, and is put again",
		    info->pack);
	remote_note_harmed(rm, span_of(&h, sizeof(h)));
	return false;
}

static int leave_in_order(struct remote *rm, const struct pack_list *l, uint64_t over,
			  bool give_up)
{
	bool asks = rm->up.os && !remote_is_stuck(rm);

	for (size_t i = 0; over && i < l->n; i++) {
		ssize_t went = 0;

		if (!may_leave(rm, &l->p[i], give_up) ||
		    (!give_up && !is_there(rm, &l->p[i], &asks)))
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

bool remote_wants_upload(struct remote *rm)
{
	struct pack_list l = { 0 };
	uint64_t waiting = 0;
	int64_t left;

	if (!rm->cfg.local_bytes && !rm->cfg.min_free_bytes)
		return false;
	if (remote_over_limit(rm) || remote_short_of(rm))
		return true;
	left = room(rm) - (int64_t)reserve(rm);
	if (packs_each(rm->fs->packs, pack_list_add, &l) < 0)
		l.n = 0; /* then it waits for its time */
	for (size_t i = 0; i < l.n; i++) {
		if (remote_pack_waits(rm, &l.p[i]))
			waiting += l.p[i].file_bytes;
		else if (may_leave(rm, &l.p[i], false))
			left += (int64_t)l.p[i].file_bytes;
	}
	free(l.p);
	return waiting && (int64_t)waiting >= left;
}

int remote_evict(struct remote *rm)
{
	struct pack_list l = { 0 };
	uint64_t over = remote_over_limit(rm);
	int r = over ? packs_each(rm->fs->packs, pack_list_add, &l) : 0;

	if (l.n)
		qsort(l.p, l.n, sizeof(*l.p), leaves_before);
	if (r == 0)
		r = leave_in_order(rm, &l, over, false);
	remote_cache_fit(rm);
	if (r == 0 && rm->cfg.drop_oldest && remote_is_stuck(rm))
		r = leave_in_order(rm, &l, over_for(rm, waited_for(rm)), true);
	free(l.p);
	return r;
}
