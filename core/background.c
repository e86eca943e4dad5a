/* background.c - two threads: the flusher brings the log to disk for those who wait and within
 * the window for those who don't; the checkpointer empties the log and collects garbage. */
#include <errno.h>
#include <signal.h>

#include "core/base/err.h"
#include "core/remote_priv.h"
#include "core/store_priv.h"

#define MS_NS	      1000000u
#define PUSH_NS	      (2 * MS_NS) /* what a killed daemon may lose of changes nobody synced */
#define GATHER_NS_MAX MS_NS
#define RETRY_NS      (1000 * (uint64_t)MS_NS)

void background_kick_flusher_locked(struct ropefs *fs)
{
	if (fs->threads_started && (fs->flusher_idle || fs->flusher_leads)) {
		fs->flusher_idle = false;
		pthread_cond_signal(&fs->flusher_wake);
	}
}

void background_kick_push_locked(struct ropefs *fs)
{
	if (fs->threads_started)
		pthread_cond_signal(&fs->flusher_wake);
}

void background_kick_checkpoint_locked(struct ropefs *fs)
{
	if (fs->threads_started && !fs->checkpoint_wanted) {
		fs->checkpoint_wanted = true;
		pthread_cond_signal(&fs->checkpointer_wake);
	}
}

/* Writers that sync again and again are let go together and are back together, a little after
 * the last of them: a sync that begins at once is for half of them, and the others wait for it
 * and the next. So the sync waits a little for as many as there were at the last one (group
 * commit: Gray & Reuter, Transaction Processing, 1993, 9.4). Who is alone never waits. */
static void gather_locked(struct ropefs *fs)
{
	uint64_t now = io_mono_ns(fs->io);
	uint64_t until = now + MIN(fs->sync_ns / 2, GATHER_NS_MAX);

	if (now - fs->sync_ended_ns > fs->sync_ns)
		return;
	fs->gathering = true;
	while (fs->n_waiters < fs->gather &&
	       lock_wait(&fs->engine, &fs->gathered, until) == 0)
		;
	fs->gathering = false;
}

static void sync_waiters_locked(struct ropefs *fs)
{
	STAILQ_HEAD(, sync_waiter) mine = STAILQ_HEAD_INITIALIZER(mine);
	struct remote *rm = fs->remote;
	uint64_t lsn = 0, began = io_mono_ns(fs->io);
	unsigned n = fs->n_waiters;
	struct sync_waiter *w;
	int r;

	STAILQ_CONCAT(&mine, &fs->waiters);
	fs->n_waiters = 0;
	STAILQ_FOREACH(w, &mine, link)
	lsn = MAX(lsn, w->lsn);
	lock_drop(&fs->engine);
	r = log_sync(fs, lsn);
	lock_take(&fs->engine);
	fs->sync_ended_ns = io_mono_ns(fs->io);
	fs->sync_ns = fs->sync_ended_ns - began;
	fs->gather = n + fs->n_waiters;
	lock_drop(&fs->engine);
	while ((w = STAILQ_FIRST(&mine))) {
		STAILQ_REMOVE_HEAD(&mine, link);
		if (r >= 0 && fs->opts.durability == ROPEFS_REMOTE && rm) {
			remote_await(rm, w);
			continue;
		}
		w->done(w->arg, r);
		free(w);
	}
	lock_take(&fs->engine);
}

void sync_lead_locked(struct ropefs *fs)
{
	assert(lock_held(&fs->engine));
	assert(fs->sync_led);
	if (fs->sync_ahead) {
		fs->sync_ahead = false;
		lock_drop(&fs->engine);
		log_sync(fs, wal_last_lsn(fs->wal)); /* who joins asks, and is told */
		lock_take(&fs->engine);
	}
	while (!STAILQ_EMPTY(&fs->waiters)) {
		gather_locked(fs);
		sync_waiters_locked(fs);
	}
	fs->sync_led = fs->flusher_leads = false;
	if (checkpoint_due_locked(fs))
		background_kick_checkpoint_locked(fs);
}

/* Writers that go on find memory that is there: a fault of a page takes as long as to copy some
 * of them. */
static void make_memory_ready_locked(struct ropefs *fs)
{
	for (size_t n = hot_wanted(fs->hot); n; n--) {
		uint8_t *p;

		lock_drop(&fs->engine);
		p = hot_block_ready();
		lock_take(&fs->engine);
		if (!p)
			break;
		hot_add_spare(fs->hot, p);
	}
}

static void *flusher_main(void *arg)
{
	struct ropefs *fs = arg;
	uint64_t dirty_since = 0, window = (uint64_t)fs->opts.window_ms * MS_NS;

	pthread_setname_np(pthread_self(), "ropefs-flush");
	lock_take(&fs->engine);
	while (!fs->stopping || fs->flusher_leads) {
		uint64_t now = io_mono_ns(fs->io), last = wal_last_lsn(fs->wal);

		if (fs->flusher_leads) {
			sync_lead_locked(fs);
			dirty_since = 0;
		} else if (last <= wal_durable_lsn(fs->wal) || fs->read_only) {
			dirty_since = 0;
			fs->flusher_idle = true;
			lock_wait(&fs->engine, &fs->flusher_wake, 0);
			fs->flusher_idle = false;
		} else if (!dirty_since) {
			dirty_since = now;
			lock_wait(&fs->engine, &fs->flusher_wake, now + PUSH_NS);
		} else {
			bool late = now - dirty_since >= window;

			lock_drop(&fs->engine);
			/* A failure shows at the next sync, and in wal_failed(). */
			if (late)
				log_sync(fs, last);
			else
				wal_push(fs->wal);
			lock_take(&fs->engine);
			make_memory_ready_locked(fs);
			if (checkpoint_due_locked(fs))
				background_kick_checkpoint_locked(fs);
			if (late)
				dirty_since = 0;
			else if (!fs->stopping && !fs->flusher_leads)
				lock_wait(&fs->engine, &fs->flusher_wake, now + PUSH_NS);
		}
	}
	lock_drop(&fs->engine);
	return NULL;
}

/* Those who found the disk full are waiting for space. */
static void reclaim_held(struct ropefs *fs)
{
	int r = collect_for_space_held(fs); /* its failure is in last_error */

	lock_take(&fs->engine);
	fs->reclaim_failed = r < 0;
	lock_drop(&fs->engine);
}

static void work(struct ropefs *fs)
{
	bool due, wanted;
	int r;

	lock_take(&fs->engine);
	wanted = fs->reclaim_wanted;
	lock_drop(&fs->engine);

	lock_take(&fs->checkpoint);
	r = checkpoint_run_held(fs, false);
	lock_take(&fs->engine);
	due = r >= 0 && collect_due_locked(fs);
	lock_drop(&fs->engine);
	if (r >= 0 && wanted)
		reclaim_held(fs);
	else if (due)
		collect_run_held(fs);
	lock_drop(&fs->checkpoint);

	lock_take(&fs->engine);
	if (wanted) {
		fs->reclaim_wanted = false;
		fs->reclaim_failed |= r < 0;
		fs->reclaims++;
		pthread_cond_broadcast(&fs->room);
	}
	lock_drop(&fs->engine);
}

/* After a checkpoint that failed: not at once again, however many changes ask for it; but also
 * when none does, as they may be refused until one succeeds. */
static void wait_to_retry(struct ropefs *fs)
{
	uint64_t until = io_mono_ns(fs->io) + RETRY_NS;

	while (!fs->stopping && io_mono_ns(fs->io) < until)
		lock_wait(&fs->engine, &fs->checkpointer_wake, until);
	fs->checkpoint_wanted = true;
}

/* A small checkpoint is a small pack, and each costs a request: so what changes slowly is packed
 * for an upload, by the uploader, which here only has its time. */
static bool time_is_up_locked(struct ropefs *fs)
{
	struct remote *rm = fs->remote;
	uint64_t pause = fs->opts.checkpoint_s;

	if (fs->paced && rm)
		pause = MAX(pause, remote_pace_s(rm));
	return io_mono_ns(fs->io) >= fs->checkpointed_ns + pause * 1000 * MS_NS;
}

static bool work_due_locked(struct ropefs *fs, bool asked)
{
	/* Edits that failed leave bytes in memory, and nothing in the log. */
	return (wal_last_lsn(fs->wal) > fs->checkpoint_lsn &&
		(asked || time_is_up_locked(fs))) ||
	       memory_due_locked(fs) || memory_full_locked(fs) || fs->reclaim_wanted ||
	       collect_due_locked(fs);
}

static void *checkpointer_main(void *arg)
{
	struct ropefs *fs = arg;
	uint64_t period = (uint64_t)fs->opts.checkpoint_s * 1000 * MS_NS;
	uint64_t next = io_mono_ns(fs->io) + period;
	bool retain, asked;

	pthread_setname_np(pthread_self(), "ropefs-checkpt");
	lock_take(&fs->engine);
	fs->checkpoint_wanted |= checkpoint_due_locked(fs); /* what was replayed */
	while (!fs->stopping) {
		uint64_t now = io_mono_ns(fs->io);

		if (!fs->checkpoint_wanted && now < next) {
			lock_wait(&fs->engine, &fs->checkpointer_wake, next);
			continue;
		}
		retain = fs->retain_wanted || now >= next;
		fs->retain_wanted = false;
		asked = fs->checkpoint_wanted;
		fs->checkpoint_wanted = false;
		next = now + period;
		if (retain && !fs->read_only) {
			lock_drop(&fs->engine);
			ropefs_retain(fs); /* what fails is tried again the next time */
			lock_take(&fs->engine);
		}
		if (fs->read_only || !work_due_locked(fs, asked))
			continue;
		lock_drop(&fs->engine);
		work(fs);
		lock_take(&fs->engine);
		if (fs->checkpoint_result < 0)
			wait_to_retry(fs);
	}
	lock_drop(&fs->engine);
	return NULL;
}

int background_start(struct ropefs *fs)
{
	sigset_t all, old;
	int r;

	/* Signals are for the program's own threads. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	fs->threads_started = true;
	r = pthread_create(&fs->flusher, NULL, flusher_main, fs);
	if (r == 0) {
		r = pthread_create(&fs->checkpointer, NULL, checkpointer_main, fs);
		if (r != 0) {
			lock_take(&fs->engine);
			fs->stopping = true;
			pthread_cond_broadcast(&fs->flusher_wake);
			lock_drop(&fs->engine);
			pthread_join(fs->flusher, NULL);
		}
	}
	if (r != 0)
		fs->threads_started = false;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return -r;
}

void background_stop(struct ropefs *fs)
{
	if (!fs->threads_started)
		return;
	lock_take(&fs->engine);
	fs->stopping = true;
	pthread_cond_broadcast(&fs->flusher_wake);
	pthread_cond_broadcast(&fs->checkpointer_wake);
	lock_drop(&fs->engine);
	pthread_join(fs->flusher, NULL);
	pthread_join(fs->checkpointer, NULL);
	fs->threads_started = false;
}
