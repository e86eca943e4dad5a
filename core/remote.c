/* remote.c - a store's bucket: opening it, the uploader thread, who waits for it. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "core/base/err.h"
#include "core/remote_priv.h"

#define SECOND_NS     1000000000u
#define MANIFEST_NAME REMOTE_FOLDER "/manifest"
/* A read has its last try that much later, and that takes 20 s where nothing answers
 * (object_s3_wire.c), 10 s more where it is asked for a second time. */
#define BUDGET_MS  25000u
#define PROBE_MS   3000u
#define PACE_MAX_S 600u /* between checkpoints, however long that between uploads is */

/* --- ways to the bucket --- */

/* The uploader has time. */
int remote_way_open(struct remote *rm, enum way_for what, struct remote_way *way)
{
	bool patient = what == WAY_UP;
	const atomic_bool *ends = what == WAY_VERIFY ? &rm->verify_cancel : &rm->cancel;
	const struct remote_config *c = &rm->cfg;
	const struct object_opts opts = {
		.url = c->url,
		.endpoint = c->endpoint,
		.region = c->region,
		.access_key = c->access_key,
		.secret_key = c->secret_key,
		.session_token = c->session_token,
		.ca_file = c->ca_file,
		.virtual_host = c->virtual_host,
		.signature_v2 = c->signature_v2,
		.skew_s = &rm->skew_s,
		.cancel = ends,
		.lazy = !patient,
	};
	const atomic_bool *cancel = patient ? &rm->up_cancel : ends;
	const struct object_meter_opts mo = { .bytes_per_s = patient ? c->bytes_per_s : 0,
					      .cancel = cancel };
	struct object_retry_opts ro = { .tries = patient ? 3 : 5,
					.base_ms = patient ? 500 : 100,
					.pause_max_ms = 4000,
					.budget_ms = what == WAY_DOWN ? BUDGET_MS : 0,
					.cancel = ends };
	/* A folder's requests may wait for ever; a bucket's end by themselves. */
	const struct object_hedge_opts ho = { .first_ms = 1000,
					      .least_ms = 50,
					      .delay_max_ms = 10000,
					      .most_ms =
						      remote_is_folder(rm) ? 20000 : 0 };
	struct remote_way w = { 0 };
	struct object_store *os;
	int r;

	io_random(rm->fs->io, &ro.seed, sizeof(ro.seed));
	r = object_open(&opts, &os);
	if (r < 0)
		return r;
	w.os = os;
	r = object_meter_new(&mo, w.os, &w.meter);
	if (r == 0)
		w.os = w.meter;
	/* Readers wait for one get each. */
	if (r == 0 && !patient && rm->fs->threads)
		r = object_hedge_new(&ho, w.os, &w.hedge);
	if (r == 0 && w.hedge)
		w.os = w.hedge;
	if (r == 0)
		r = object_retry_new(&ro, w.os, &os);
	if (r == 0)
		w.os = os;
	if (r == 0 && w.hedge && what == WAY_DOWN)
		r = object_breaker_new(PROBE_MS, w.hedge, w.os, &os);
	if (r < 0) {
		object_free(w.os);
		return r;
	}
	w.os = os;
	*way = w;
	return 0;
}

void remote_way_close(struct remote_way *way)
{
	struct remote_way *before = way->before;

	if (before)
		remote_way_close(before);
	free(before);
	object_free(way->os);
	*way = (struct remote_way) { 0 };
}

/* The store for readers, opened by the first of them. */
static int reading_way(struct remote *rm, struct object_store **ret)
{
	struct remote_way way;
	int r = 0;

	remote_cache_open(rm);
	lock_take(&rm->lock);
	if (!rm->down.os) {
		r = remote_way_open(rm, WAY_DOWN, &way);
		if (r == 0) {
			way.before = rm->down.before;
			rm->down = way;
		}
	}
	*ret = rm->down.os;
	lock_drop(&rm->lock);
	return r;
}

int remote_open_pack(void *arg, const struct pack_info *info, struct io_file **ret)
{
	struct ropefs *fs = arg;
	struct remote *rm = fs->remote;
	struct object_file_opts fo;
	struct object_store *os;
	struct object_key key;
	int r;

	if (info->lost)
		return err_set(E_LOST,
			       info->lost == PACK_DROPPED
				       ? "pack %010" PRIx64
					 " was dropped when the disk was "
					 "full and the bucket away: its bytes are lost"
				       : "pack %010" PRIx64 " was not uploaded by the "
					 "device that wrote it: its bytes are not here",
			       info->pack);
	if (!rm)
		return err_set(E_REMOTE_AWAY,
			       "pack %010" PRIx64
			       " is not in the store's folder packs, and the "
			       "store knows no bucket",
			       info->pack);
	r = reading_way(rm, &os);
	if (r < 0)
		return r;
	key = key_of(rm->instance, 'p', info->pack, info->id);
	fo = (struct object_file_opts) { .os = os,
					 .key = key.text,
					 .bytes = info->file_bytes,
					 .room = &rm->room,
					 .cache = rm->cache };
	memcpy(fo.id, info->id, sizeof(fo.id));
	return object_file_new(&fo, ret);
}

/* --- open, close --- */

static int load_manifest(struct remote *rm)
{
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	int r = remote_file_read(rm->fs->io, MANIFEST_NAME, &bytes);

	if (r == -ENOENT)
		return 0;
	if (r == 0)
		r = manifest_decode(buf_span(&bytes), rm->fs->keys, &rm->man);
	if (r == 0)
		hash256(buf_span(&bytes), rm->man_hash);
	return r;
}

int remote_new(struct ropefs *fs, struct remote **ret)
{
	struct remote *rm = calloc(1, sizeof(*rm));

	if (!rm)
		return -ENOMEM;
	rm->fs = fs;
	instance_id(fs->header.public_key, rm->instance);
	lock_init(&rm->lock, RANK_REMOTE);
	lock_cond_init(&rm->wake);
	lock_cond_init(&rm->done_cond);
	STAILQ_INIT(&rm->waiters);
	STAILQ_INIT(&rm->thin);
	remote_room_open(rm);
	rm->man.next_segment = 1;
	rm->tail_pages = TAIL_PAGES;
	rm->attempted = rm->orphans_wanted = true;
	*ret = rm;
	return 0;
}

int remote_load(struct ropefs *fs)
{
	struct remote *rm;
	int r;

	r = remote_new(fs, &rm);
	if (r < 0)
		return r;
	r = remote_config_read(fs->io, fs->keys, &rm->cfg);
	if (r == 0)
		r = load_manifest(rm);
	if (r < 0) {
		remote_free(rm);
		return r == -ENOENT || r == -ENOTDIR ? 0 : r;
	}
	remote_map_load(rm);
	rm->oldest = MAX(rm->man.oldest, 1u);
	rm->number = rm->man.number;
	fs->remote = rm;
	return 0;
}

struct pack_info remote_pack_info(const struct manifest_pack *p)
{
	struct pack_info info = { .pack = p->pack,
				  .file_bytes = p->bytes,
				  .chunks = p->chunks,
				  .stored_bytes = p->stored,
				  .rewrites = p->rewrites,
				  .lane = p->lane,
				  .lost = p->lost };

	memcpy(info.id, p->id, sizeof(info.id));
	return info;
}

int remote_note_packs(struct ropefs *fs)
{
	const struct manifest *m = fs->remote ? &fs->remote->man : NULL;
	int r = remote_dropped_note(fs);

	for (size_t i = 0; m && r == 0 && i < m->n_packs; i++) {
		struct pack_info info = remote_pack_info(&m->packs[i]);

		r = packs_note_remote(fs->packs, &info);
	}
	return r;
}

struct remote *remote_free(struct remote *rm)
{
	struct htab_slot *slot;
	size_t at = 0;

	if (!rm)
		return NULL;
	remote_free(rm->gone);
	remote_thin_forget(rm);
	remote_way_close(&rm->up);
	remote_way_close(&rm->down);
	range_cache_close(rm->cache);
	object_room_release(&rm->room);
	while ((slot = htab_next(&rm->done, &at)))
		free(slot->value);
	htab_release(&rm->done);
	buf_release(&rm->harmed);
	manifest_release(&rm->man);
	remote_map_release(&rm->map);
	rm->follow = follow_free(rm->follow);
	remote_config_release(&rm->cfg);
	pthread_cond_destroy(&rm->wake);
	pthread_cond_destroy(&rm->done_cond);
	lock_release(&rm->lock);
	free(rm);
	return NULL;
}

/* --- the uploader --- */

static void answer_waiters(struct remote *rm, int r)
{
	STAILQ_HEAD(, sync_waiter) mine = STAILQ_HEAD_INITIALIZER(mine);
	STAILQ_HEAD(, sync_waiter) rest = STAILQ_HEAD_INITIALIZER(rest);
	struct sync_waiter *w;

	lock_take(&rm->lock);
	/* Without a failure what is not there yet is refused. */
	if (r == 0 && rm->refused && !rm->fails)
		r = -E_REMOTE;
	while ((w = STAILQ_FIRST(&rm->waiters))) {
		STAILQ_REMOVE_HEAD(&rm->waiters, link);
		if (r < 0 || w->lsn <= rm->committed_lsn)
			STAILQ_INSERT_TAIL(&mine, w, link);
		else
			STAILQ_INSERT_TAIL(&rest, w, link);
	}
	STAILQ_CONCAT(&rm->waiters, &rest);
	pthread_cond_broadcast(&rm->done_cond);
	lock_drop(&rm->lock);
	while ((w = STAILQ_FIRST(&mine))) {
		STAILQ_REMOVE_HEAD(&mine, link);
		w->done(w->arg, w->lsn <= rm->committed_lsn ? 0 : r);
		free(w);
	}
}

/* Why the uploader has a turn: a pack may have to leave the disk; somebody, or the limit, wants an
 * upload; the time between two is over. */
enum turn {
	TURN_LIMITS,
	TURN_ASKED,
	TURN_TIMED,
};

/* What is to go up, as somebody waits or as it is time, must be in packs and pages first; and bytes
 * in memory must be packs to leave. */
static int checkpoint_for(struct remote *rm, enum turn why)
{
	bool is_short = remote_short_of(rm) > 0, due,
	     timed = why == TURN_TIMED && !rm->fails && !remote_is_worth_one(rm);
	struct ropefs *fs = rm->fs;
	uint64_t lsn;

	lock_take(&rm->lock);
	lsn = rm->wanted_lsn;
	lock_drop(&rm->lock);
	lock_take(&fs->engine);
	if (timed && fs->wal)
		lsn = MAX(lsn, wal_last_lsn(fs->wal));
	due = lsn > fs->checkpoint_lsn || (is_short && hot_total(fs->hot));
	lock_drop(&fs->engine);
	return due ? checkpoint_run(fs, false) : 0;
}

void remote_note_cycle(struct remote *rm, int r)
{
	bool news;

	lock_take(&rm->lock);
	rm->cycles++;
	news = r < 0 && (rm->fails == 0 || !*rm->last_error);
	if (r < 0) {
		rm->fails++;
		rm->cycle_errors++;
		snprintf(rm->last_error, sizeof(rm->last_error), "%s",
			 *err_detail() ? err_detail() : err_text(r));
	} else {
		news = rm->fails > 0;
		rm->fails = 0;
		rm->last_error[0] = '\0';
	}
	lock_drop(&rm->lock);
	if (news && r < 0 && r != -E_FENCED)
		event_raise(rm->fs, "remote-away", 0, "%s", rm->last_error);
	else if (news && r == 0)
		event_raise(rm->fs, "remote-back", 0, "the bucket %s again",
			    rm->follow ? "answers" : "takes uploads");
}

bool remote_is_stuck(struct remote *rm)
{
	bool stuck;

	lock_take(&rm->lock);
	stuck = rm->fails > 0 || rm->refused > 0;
	lock_drop(&rm->lock);
	return stuck;
}

static bool sync_wanted_locked(const struct remote *rm)
{
	return rm->wanted_lsn > rm->committed_lsn;
}

/* It is the hour, or there is a reason not to wait for it. */
static bool may_upload(struct remote *rm)
{
	bool wanted;

	if (remote_hours_open(rm->cfg.upload_hours, io_real_ns(rm->fs->io)))
		return true;
	lock_take(&rm->lock);
	wanted = sync_wanted_locked(rm) || rm->mend_waits;
	lock_drop(&rm->lock);
	return wanted || remote_over_limit(rm) > 0 || remote_short_of(rm) > 0;
}

int remote_may_go_on(struct remote *rm)
{
	return atomic_load(&rm->up_cancel) || !may_upload(rm) ? -ECANCELED : 0;
}

/* Who waits for room looks again. */
static void tell_room(struct remote *rm)
{
	lock_take(&rm->fs->engine);
	pthread_cond_broadcast(&rm->fs->room);
	lock_drop(&rm->fs->engine);
}

/* Packs leave for those who wait for room; what is in memory becomes packs, if it must leave,
 * too. */
static int make_room(struct remote *rm, enum turn why)
{
	if (remote_short_of(rm)) {
		remote_evict(rm);
		remote_answer_short(rm, false);
		tell_room(rm);
	}
	return checkpoint_for(rm, why);
}

/* One turn of the uploader: an upload where one may be, and the disk's limits held. */
static int turn(struct remote *rm, enum turn why)
{
	bool may = why != TURN_LIMITS && may_upload(rm);
	int r;

	lock_take(&rm->lock);
	rm->resting = why != TURN_LIMITS && !may;
	rm->retry_refused |= rm->retry_wanted;
	rm->retry_wanted = false;
	lock_drop(&rm->lock);
	r = make_room(rm, may ? why : TURN_LIMITS);
	if (!may)
		return r < 0 ? r : remote_evict(rm);
	if (r == 0)
		r = remote_cycle(rm);
	if (r != -ECANCELED)
		remote_note_cycle(rm, r);
	if (r < 0) {
		remote_note_failure(rm, r);
		remote_evict(rm); /* again: now it is known that nothing goes up */
	}
	return r;
}

/* Who waits for room, and what has left the disk. */
struct shortage {
	bool waits;
	uint64_t evicted;
};

static struct shortage shortage_now(struct remote *rm)
{
	struct shortage s;

	lock_take(&rm->lock);
	s = (struct shortage) { rm->short_of > 0, rm->evicted };
	lock_drop(&rm->lock);
	return s;
}

/* A turn, with what comes of it. Returns true when an upload is to come at once.
 *
 * Who waits for room is refused when the bucket takes nothing, or when an upload that began after
 * him has let nothing leave. Others may have taken what did: then he waits on. */
static bool take_turn(struct remote *rm, enum turn why, uint64_t *next)
{
	struct shortage before = shortage_now(rm);
	bool due = why != TURN_LIMITS, tried, more;
	int r = turn(rm, why);

	tried = due && before.waits && shortage_now(rm).evicted == before.evicted;
	remote_answer_short(rm, tried || remote_is_stuck(rm));
	tell_room(rm);
	if (due) {
		answer_waiters(rm, 0);
		*next = remote_next_turn(rm);
	}
	more = (!due && remote_wants_upload(rm)) || shortage_now(rm).waits;
	lock_take(&rm->lock);
	rm->ended = r == -E_FENCED || r == -E_READ_ONLY ? r : 0;
	/* More was written while the cycle ran. */
	more = (r == 0 && sync_wanted_locked(rm)) || (more && remote_works_locked(rm));
	lock_drop(&rm->lock);
	return more;
}

/* Somebody begins to look on: an upload is to come at once. */
static bool begins_watch(struct remote *rm)
{
	bool begins;

	if (io_mono_ns(rm->fs->io) < remote_next_look(rm))
		return false;
	lock_drop(&rm->lock);
	begins = remote_look_for_watch(rm);
	lock_take(&rm->lock);
	return begins;
}

static void *uploader_main(void *arg)
{
	struct remote *rm = arg;
	uint64_t next = io_mono_ns(rm->fs->io);

	pthread_setname_np(pthread_self(), "ropefs-upload");
	remote_orphans_begin(rm);
	lock_take(&rm->lock);
	while (!rm->stopping && !rm->ended) {
		bool now = begins_watch(rm) || io_mono_ns(rm->fs->io) >= next;
		bool asked = rm->kicked, evicts = rm->evict_wanted, more = false;
		enum turn why = now ? TURN_TIMED : asked ? TURN_ASKED : TURN_LIMITS;

		if (rm->stopping)
			break;
		if (why == TURN_LIMITS && !evicts) {
			lock_wait(&rm->lock, &rm->wake, MIN(next, remote_next_look(rm)));
			continue;
		}
		rm->kicked = rm->evict_wanted = false;
		lock_drop(&rm->lock);
		if (why == TURN_TIMED && !asked && remote_puts_off(rm, &next))
			why = TURN_LIMITS;
		if (why != TURN_LIMITS || evicts)
			more = take_turn(rm, why, &next);
		lock_take(&rm->lock);
		rm->kicked |= more;
	}
	lock_drop(&rm->lock);
	tell_room(rm);
	answer_waiters(rm, rm->ended ? rm->ended : -ESHUTDOWN);
	remote_orphans_end(rm);
	return NULL;
}

int remote_start(struct ropefs *fs)
{
	struct remote *rm = fs->remote;
	sigset_t all, old;
	int r;

	if (!rm || rm->cfg.reader || rm->started || !fs->threads ||
	    store_writable(fs) < 0)
		return 0;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	lock_take(&rm->lock);
	r = pthread_create(&rm->thread, NULL, uploader_main, rm);
	rm->started = r == 0;
	rm->stopping = false;
	lock_drop(&rm->lock);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return -r;
}

void remote_stop(struct ropefs *fs)
{
	struct remote *rm = fs->remote;

	if (!rm)
		return;
	atomic_store(&rm->cancel, true);
	atomic_store(&rm->verify_cancel, true);
	remote_stop_uploader(rm);
}

void remote_stop_uploader(struct remote *rm)
{
	atomic_store(&rm->up_cancel, true);
	if (!rm->started)
		return;
	lock_take(&rm->lock);
	rm->stopping = true;
	pthread_cond_broadcast(&rm->wake);
	lock_drop(&rm->lock);
	pthread_join(rm->thread, NULL);
	lock_take(&rm->lock);
	rm->started = false;
	lock_drop(&rm->lock);
}

void remote_kick(struct ropefs *fs)
{
	struct remote *rm = fs->remote;

	if (!rm || (!rm->cfg.local_bytes && !rm->cfg.min_free_bytes))
		return;
	/* A limit may be passed long before the interval is over. */
	lock_take(&rm->lock);
	rm->evict_wanted = true;
	pthread_cond_broadcast(&rm->wake);
	lock_drop(&rm->lock);
}

unsigned remote_pace_s(struct remote *rm)
{
	unsigned s = 0;

	lock_take(&rm->lock);
	if (rm->started && !rm->follow && !rm->ended)
		s = (unsigned)MIN(rm->cfg.interval_s + rm->cfg.interval_most_s,
				  (uint64_t)PACE_MAX_S);
	lock_drop(&rm->lock);
	return s;
}

static void want_locked(struct remote *rm, uint64_t lsn)
{
	rm->wanted_lsn = MAX(rm->wanted_lsn, lsn);
	rm->kicked = true;
	pthread_cond_broadcast(&rm->wake);
}

void remote_await(struct remote *rm, struct sync_waiter *w)
{
	bool takes;

	lock_take(&rm->lock);
	takes = rm->started && !rm->follow && !rm->stopping && !rm->ended;
	if (takes) {
		STAILQ_INSERT_TAIL(&rm->waiters, w, link);
		want_locked(rm, w->lsn);
	}
	lock_drop(&rm->lock);
	if (takes)
		return;
	w->done(w->arg, rm->ended ? rm->ended : -E_REMOTE_AWAY);
	free(w);
}

/* --- for callers --- */

int remote_none(void)
{
	return err_set(E_REMOTE,
		       "the store has no bucket; give it one with: ropectl remote add");
}

void remote_note_read(struct remote *rm, const char *why)
{
	if (!why && !atomic_load(&rm->reads_fail))
		return;
	lock_take(&rm->lock);
	snprintf(rm->read_error, sizeof(rm->read_error), "%s", why ? why : "");
	atomic_store(&rm->reads_fail, why != NULL);
	lock_drop(&rm->lock);
}

bool remote_uploads(struct remote *rm)
{
	bool uploads;

	lock_take(&rm->lock);
	uploads = rm->started && !rm->cfg.reader;
	lock_drop(&rm->lock);
	return uploads;
}

bool remote_is_behind(struct remote *rm, uint64_t lsn)
{
	bool behind;

	lock_take(&rm->lock);
	behind = rm->committed_lsn < lsn;
	lock_drop(&rm->lock);
	return behind;
}

int ropefs_remote_kick(struct ropefs *fs, uint64_t *ret_lsn)
{
	struct remote *rm = fs->remote;
	uint64_t lsn;

	err_clear();
	if (!rm)
		return remote_none();
	if (!rm->started || rm->cfg.reader)
		return err_set(E_REMOTE, "nothing goes up from here: %s",
			       rm->cfg.reader ? "this is a copy that another store writes"
					      : fs->read_only_why);
	lock_take(&fs->engine);
	lsn = fs->wal ? wal_last_lsn(fs->wal) : 0;
	lock_drop(&fs->engine);
	lock_take(&rm->lock);
	want_locked(rm, lsn);
	lock_drop(&rm->lock);
	*ret_lsn = lsn;
	return 0;
}

int remote_wait(struct remote *rm, uint64_t lsn)
{
	uint64_t began;
	int r;

	lock_take(&rm->lock);
	want_locked(rm, lsn);
	began = rm->cycles;
	while (rm->committed_lsn < lsn && !rm->ended && !rm->stopping &&
	       !(rm->refused && rm->cycles > began + 1))
		lock_wait(&rm->lock, &rm->done_cond, 0);
	/* A fenced store's own last word may be in the bucket, but it is no longer the last. */
	r = rm->fenced		       ? -E_FENCED
	    : rm->committed_lsn >= lsn ? 0
	    : rm->ended		       ? rm->ended
	    : rm->refused	       ? -E_REMOTE
				       : -ESHUTDOWN;
	if (r < 0 && *rm->last_error)
		err_set(-r, "%s", rm->last_error);
	else if (r == -E_REMOTE)
		err_set(-r, "%s", rm->refused_why);
	lock_drop(&rm->lock);
	return r;
}

int ropefs_remote_retry(struct ropefs *fs)
{
	struct remote *rm = fs->remote;

	err_clear();
	if (!rm)
		return remote_none();
	lock_take(&rm->lock);
	rm->retry_wanted = rm->kicked = true;
	pthread_cond_broadcast(&rm->wake);
	lock_drop(&rm->lock);
	return 0;
}

int ropefs_remote_sync(struct ropefs *fs)
{
	struct remote *rm = fs->remote;
	uint64_t lsn = 0;
	int r = ropefs_remote_kick(fs, &lsn);

	return r < 0 ? r : remote_wait(rm, lsn);
}
