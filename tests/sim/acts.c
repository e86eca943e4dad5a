/* acts.c - steps of a life that are not changes: they make durable, keep house, fail, end it. */
#include <errno.h>

#include "core/base/err.h"
#include "core/remote_priv.h"
#include "tests/sim/steps.h"
#include "tests/sim/tasks.h"

void step_faults_end(struct world *w)
{
	if (w->budget->fail_at)
		w->budget->fail_at(0, false);
	io_sim_fail_at(w->io, 0, 0, 0, false);
}

void step_expect(struct world *w, int r)
{
	int err = ropefs_error_errno(r);

	if (r < 0 && err == ENOSPC && w->fs->remote && w->fs->remote->full_for)
		return; /* the local limit */
	world_check(w, r >= 0 || w->faulty, "fails without a fault: %d", r);
	if (w->budget->fail_at)
		world_check(w, r >= 0 || err == ENOMEM || err == EROFS,
			    "gives errno %d (%d)", err, r);
	else
		world_check(w, r >= 0 || err == EIO || err == ENOSPC || err == EROFS,
			    "gives errno %d (%d)", err, r);
}

static void acknowledged(struct world *w, int r)
{
	step_expect(w, r);
	if (r >= 0)
		w->floor = w->pushed = w->past.n - 1;
}

void act_sync(struct world *w)
{
	acknowledged(w, ropefs_sync(w->fs));
}

void act_push(struct world *w)
{
	int r = wal_push(w->fs->wal);

	step_expect(w, r);
	if (r >= 0)
		w->pushed = w->past.n - 1;
}

void act_checkpoint(struct world *w)
{
	acknowledged(w, ropefs_checkpoint(w->fs));
}

void act_collect(struct world *w)
{
	acknowledged(w, ropefs_collect(w->fs));
}

void act_compare(struct world *w)
{
	if (!w->faulty)
		world_compare(w);
}

void act_kill(struct world *w)
{
	if (w->faulty)
		return;
	world_kill(w);
	io_sim_kill(w->io);
	world_recover(w, w->pushed);
}

void act_close(struct world *w)
{
	if (w->faulty)
		return;
	acknowledged(w, checkpoint_run(w->fs, true));
	world_kill(w);
	io_sim_kill(w->io);
	world_reopen(w, w->past.n - 1);
	world_check(w, w->fs->was_clean, "a store that was closed is not clean");
}

/* One call of some kinds fails, once or for ever, during a few steps. */
void act_fault(struct world *w)
{
	static const unsigned masks[] = { IO_SIM_SYNC,	   IO_SIM_SYNC,	  IO_SIM_PWRITE,
					  IO_SIM_RENAME,   IO_SIM_UNLINK, IO_SIM_TRUNCATE,
					  IO_SIM_SYNC_DIR, IO_SIM_PREAD,  IO_SIM_ANY };
	unsigned steps = 1 + (unsigned)rng_below(&w->rng, 4);

	if (w->faulty || !w->budget->faults)
		return;
	sim_totals.faults++;
	w->faulty = true;
	io_sim_fail_at(w->io, masks[rng_below(&w->rng, ARRAY_LEN(masks))],
		       1 + rng_below(&w->rng, 6), rng_below(&w->rng, 4) ? EIO : ENOSPC,
		       rng_below(&w->rng, 4) == 0);
	while (steps--)
		world_step(w);
	act_sync(w);
	step_faults_end(w);
	world_settle(w);
}

void world_settle(struct world *w)
{
	w->doing = "going on once a fault is over";
	/* A store that turned read-only may show half a change; the log has the truth. */
	for (int i = 0; i < 2 && !w->fs->read_only; i++) {
		int r = ropefs_sync(w->fs);

		if (r < 0)
			continue;
		w->floor = w->pushed = w->past.n - 1;
		w->faulty = false;
		world_compare(w);
		return;
	}
	world_check(w, w->fs->read_only, "two syncs fail without a fault");
	sim_totals.reopened++;
	w->faulty = false;
	world_kill(w);
	io_sim_kill(w->io);
	world_recover(w, w->pushed);
}

/* --- several at once --- */

static void together_change(void *arg)
{
	struct world *w = arg;

	for (unsigned n = 1 + (unsigned)rng_below(&w->rng, 8); n > 0; n--) {
		step_change(w);
		if (rng_below(&w->rng, 3) == 0)
			act_push(w); /* maybe beside a sync */
	}
}

/* Durable is what was made before the sync began. */
static void together_sync(void *arg)
{
	struct world *w = arg;

	for (unsigned n = 1 + (unsigned)rng_below(&w->rng, 3); n > 0; n--) {
		size_t made = w->past.n - 1;
		int r = ropefs_sync(w->fs);

		step_expect(w, r);
		if (r < 0)
			continue;
		w->floor = MAX(w->floor, made);
		w->pushed = MAX(w->pushed, made);
	}
}

static void together_upkeep(void *arg)
{
	struct world *w = arg;

	for (unsigned n = 1 + (unsigned)rng_below(&w->rng, 2); n > 0; n--)
		step_expect(w, rng_below(&w->rng, 3) ? ropefs_checkpoint(w->fs)
						     : ropefs_collect(w->fs));
}

/* The bucket may have what the store was when it began, or became meanwhile. */
static void together_upload(void *arg)
{
	struct world *w = arg;
	int r;

	w->uploading = true;
	bucket_expect(w->bucket, state_digest(history_last(&w->past)));
	r = remote_cycle(w->fs->remote);
	world_check(w, r == 0 || r == -EAGAIN, "an upload gives %d", r);
	w->uploading = false;
}

/* Changes, syncs, upkeep and an upload by a task each, interleaved anyhow. */
void act_together(struct world *w)
{
	const struct sim_task tasks[] = { { together_change, w },
					  { together_sync, w },
					  { together_upkeep, w },
					  { together_upload, w } };

	if (w->faulty)
		return;
	if (w->budget->faults && rng_below(&w->rng, 3) == 0) {
		sim_totals.faults++;
		w->faulty = true;
		io_sim_fail_at(w->io, IO_SIM_SYNC | IO_SIM_PWRITE,
			       1 + rng_below(&w->rng, 8), EIO, false);
	}
	tasks_run(rng_next(&w->rng), tasks, w->fs->remote && !w->faulty ? 4 : 3);
	w->doing = "together";
	if (w->faulty) {
		step_faults_end(w);
		world_settle(w);
	} else {
		world_compare(w);
	}
}

/* --- the bucket --- */

/* All that was made goes up; what the bucket has may leave. */
static void upload(struct world *w)
{
	struct state *s;
	int r;

	acknowledged(w, ropefs_checkpoint(w->fs));
	if (w->faulty)
		return;
	s = history_last(&w->past);
	bucket_expect(w->bucket, state_digest(s));
	r = remote_cycle(w->fs->remote);
	world_check(w, r == 0 || r == -E_REMOTE_AWAY, "an upload gives %d", r);
	if (r == 0) {
		bucket_committed(w->bucket, state_digest(s));
		sim_totals.uploads++;
	}
}

/* In any weather, and most often once more in good one. */
void act_upload(struct world *w)
{
	if (!w->fs->remote || w->faulty)
		return;
	io_sim_advance(w->io, rng_below(&w->rng, 2000000000)); /* old manifests go */
	if (rng_below(&w->rng, 2)) {
		bucket_weather(w->bucket, 2 + (unsigned)rng_below(&w->rng, 12));
		upload(w);
		bucket_weather(w->bucket, 0);
		if (rng_below(&w->rng, 4) == 0)
			return;
	}
	upload(w);
}

/* Reads meet a network that fails: they give what is there, or EIO. */
void act_read_badly(struct world *w)
{
	if (!w->fs->remote || w->faulty)
		return;
	bucket_weather(w->bucket, 3);
	world_read(w, &w->past);
	bucket_weather(w->bucket, 0);
}
