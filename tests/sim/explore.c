/* explore.c - lives, their moments, and the many ways a moment can end. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/err.h"
#include "core/page/page_format.h"
#include "tests/sim/tasks.h"
#include "tests/sim/world.h"

#define LIVES_MAX      4
#define CALL_BUCKET    (IO_SIM_ANY + 1u) /* a request, not a call of the disk */
#define CALLS_CHANGING (IO_SIM_ANY & ~(unsigned)IO_SIM_PREAD)

/* --- moments --- */

/* Edges of syncing and publishing are where order matters. */
static bool worth_a_moment(struct world *w, unsigned call)
{
	const unsigned edges =
		IO_SIM_SYNC | IO_SIM_SYNC_DIR | IO_SIM_RENAME | IO_SIM_UNLINK;

	if (call & IO_SIM_PREAD)
		return false;
	if (call == CALL_BUCKET)
		return w->budget->exhaustive || rng_below(&w->rng, 2);
	return w->budget->exhaustive || (call & edges) || rng_below(&w->rng, 4) == 0;
}

static void moment_note(void *arg, unsigned call)
{
	struct world *w = arg;
	struct moment m;

	tasks_point();
	m = (struct moment) { .floor = w->floor,
			      .top = w->past.n - 1 + w->changing,
			      .call = call };
	if (w->n_moments == ARRAY_LEN(w->moments) || !worth_a_moment(w, call))
		return;
	tasks_pin(true);
	if (io_sim_branch(w->io, rng_next(&w->rng), &m.io) < 0)
		abort();
	tasks_pin(false);
	m.bucket = bucket_copy(w->bucket, rng_next(&w->rng));
	if (w->uploading && w->changing)
		bucket_expect_any(m.bucket);
	w->moments[w->n_moments++] = m;
}

static void moment_of_bucket(void *arg)
{
	moment_note(arg, CALL_BUCKET);
}

void moments_watch(struct world *w, bool on)
{
	io_sim_watch(w->io, on ? moment_note : NULL, w);
	if (w->bucket)
		bucket_watch(w->bucket, on ? moment_of_bucket : NULL, w);
}

void moments_drop(struct world *w)
{
	while (w->n_moments) {
		struct moment *m = &w->moments[--w->n_moments];

		io_free(m->io);
		bucket_free(m->bucket);
	}
}

static void explore_moments(struct world *w);

/* --- after a cut --- */

static void state_done(struct world *w)
{
	sim_totals.states++;
	sim_totals.lives[MIN(w->life, ARRAY_LEN(sim_totals.lives) - 1)]++;
	if (w->budget->states)
		w->budget->states--;
	world_check(w, !seals_repeated(), "a key and nonce sealed two texts");
}

/* The store that was opened holds a state of the past no older than floor; what comes after
 * that state never was. */
static void find_state(struct world *w, size_t floor)
{
	struct state seen = world_look(w);
	uint64_t digest = state_digest(&seen);
	size_t i = w->past.n;

	state_release(&seen);
	while (i > 0 && state_digest(&w->past.at[i - 1]) != digest)
		i--;
	if (!i) /* says what differs from the newest */
		world_compare(w);
	world_check(w, i > 0, "what was recovered never was");
	explore_moments(w); /* they speak of the past as it still is */
	world_check(w, i > floor,
		    "state %zu was recovered, %zu was acknowledged, %zu made", i - 1,
		    floor, w->past.n - 1);
	history_cut(&w->past, i);
	w->floor = w->pushed = i - 1; /* it was served: it must stay */
}

/* The machine may stop at some call of the opening, and the power goes. */
static void stop_in_recovery(struct world *w, size_t floor)
{
	bool makes_copy = w->twin && rng_below(&w->rng, 2);

	w->doing = "recovering while the power goes";
	if (makes_copy)
		w->io->ops->unlink(w->io, PAGEFILE_COPY_NAME);
	io_sim_stop_at(w->io, CALLS_CHANGING,
		       1 + rng_below(&w->rng, makes_copy ? 64 : 24));
	if (world_open(w) == 0 && w->io->ops->sync_dir(w->io, "") == 0)
		find_state(w, floor);
	world_kill(w);
	io_sim_power_cut(w->io);
	if (w->twin)
		world_check_copy(w);
}

void world_reopen(struct world *w, size_t floor)
{
	int r;

	w->doing = "recovering";
	r = world_open(w);
	world_check(w, r == 0, "opening gives %d", r);
	world_check(w, !w->fs->read_only, "read-only: %s", w->fs->read_only_why);
	find_state(w, floor);
	state_done(w);
}

void world_recover(struct world *w, size_t floor)
{
	if (rng_below(&w->rng, 4) == 0) {
		stop_in_recovery(w, floor);
		floor = w->floor; /* what was only pushed may be gone now */
	}
	world_reopen(w, floor);
}

static void bad_line(void *arg, const char *line)
{
	printf("# %s\n", line);
}

/* All that the engine itself can check of a store that is open. */
static void fsck(struct world *w)
{
	struct ropefs_check check = { .bad = bad_line };
	int r = store_check(w->fs, &check);

	sim_totals.fscks++;
	world_check(w, r >= 0 && !check.problems, "fsck finds %llu problems (%d)",
		    (unsigned long long)check.problems, r);
}

/* --- further lives --- */

/* A few steps, and the end of this life: by the machine, in the middle of a call, or not. */
static void live_on(struct world *w)
{
	unsigned steps = (unsigned)rng_below(&w->rng, 4);
	bool stops = rng_below(&w->rng, 2);

	if (stops) {
		io_sim_stop_at(w->io, CALLS_CHANGING, 1 + rng_below(&w->rng, 12));
		w->faulty = true;
	}
	while (steps-- && !w->dead)
		world_step(w);
	if (stops)
		w->faulty = w->dead = false;
}

void world_end_life(struct world *w)
{
	size_t floor = w->floor;

	world_kill(w);
	if (rng_below(&w->rng, 4) == 0) {
		io_sim_kill(w->io);
		floor = w->pushed;
	} else if (rng_below(&w->rng, 3) == 0) {
		size_t n = io_sim_units(w->io);
		uint8_t *lost = calloc(n + 1, 1);

		memset(lost, IO_SIM_LOST, n);
		io_sim_power_cut_as(w->io, lost, n);
		free(lost);
	} else {
		io_sim_power_cut(w->io);
	}
	w->life++;
	world_recover(w, floor);
}

static void live_and_die(struct world *w)
{
	while (w->life < LIVES_MAX && rng_below(&w->rng, 2)) {
		if (rng_below(&w->rng, 2))
			live_on(w);
		else
			sim_totals.twice++;
		world_end_life(w);
	}
}

/* --- ways a moment ends --- */

/* w's past from the floor to the top of the moment, on a disk of its own. */
static struct world world_at(struct world *w, const struct moment *m)
{
	size_t top = MIN(m->top, w->past.n - 1);
	struct world at = { .seed = w->seed,
			    .template = w->template,
			    .twin = w->twin,
			    .rng = rng_seeded(rng_next(&w->rng)),
			    .life = w->life + 1,
			    .budget = w->budget,
			    .doing = "cut" };

	if (io_sim_branch(m->io, rng_next(&w->rng), &at.io) < 0)
		abort();
	at.bucket = bucket_copy(m->bucket, rng_next(&w->rng));
	bucket_use(at.bucket);
	for (size_t i = m->floor; i <= top; i++)
		history_add(&at.past, state_copy(&w->past.at[i]));
	return at;
}

static void try_way(struct world *w, const struct moment *m, const uint8_t *fates,
		    size_t n)
{
	struct world at = world_at(w, m);

	if (fates)
		io_sim_power_cut_as(at.io, fates, n);
	else
		io_sim_power_cut(at.io);
	if (rng_below(&w->rng, 4) == 0)
		image_check(&at, at.io);
	if (at.twin && rng_below(&w->rng, 2))
		world_check_copy(&at);
	world_recover(&at, 0);
	if (rng_below(&w->rng, 16) == 0)
		fsck(&at);
	if (at.bucket && rng_below(&w->rng, 4) == 0)
		world_restore(&at);
	live_and_die(&at);
	world_release(&at);
	bucket_use(w->bucket);
}

static void try_harm(struct world *w, const struct moment *m)
{
	struct world at = world_at(w, m);

	io_sim_power_cut(at.io);
	world_harm(&at, &w->past);
	world_release(&at);
	bucket_use(w->bucket);
}

static void fill(uint8_t *fates, size_t n, enum io_sim_fate fate)
{
	memset(fates, (int)fate, n);
}

static void try_all(struct world *w, const struct moment *m, size_t n)
{
	uint8_t fates[SIM_UNITS_MAX];

	for (uint32_t bits = 0; bits < 1u << n && w->budget->states; bits++) {
		for (size_t i = 0; i < n; i++)
			fates[i] = bits >> i & 1 ? IO_SIM_KEPT : IO_SIM_LOST;
		try_way(w, m, fates, n);
	}
	for (size_t torn = 0; torn < n && w->budget->states; torn++) {
		for (size_t i = 0; i < n; i++)
			fates[i] = rng_below(&w->rng, 2) ? IO_SIM_KEPT : IO_SIM_LOST;
		fates[torn] = IO_SIM_TORN;
		try_way(w, m, fates, n);
	}
}

/* One odd among many of a kind is what finds most. */
static void try_some(struct world *w, const struct moment *m, size_t n)
{
	uint8_t *fates = calloc(n + 1, 1);

	for (unsigned i = 0; i < w->budget->cuts && w->budget->states; i++) {
		unsigned way = n ? (unsigned)rng_below(&w->rng, 8) : 7;

		fill(fates, n, way & 1 ? IO_SIM_KEPT : IO_SIM_LOST);
		if (way >= 6) {
			try_way(w, m, NULL, 0);
			continue;
		}
		if (way >= 2)
			fates[rng_below(&w->rng, n)] = way >= 4	 ? IO_SIM_TORN
						       : way & 1 ? IO_SIM_LOST
								 : IO_SIM_KEPT;
		try_way(w, m, fates, n);
	}
	free(fates);
}

static void explore_moments(struct world *w)
{
	for (unsigned i = 0; i < w->n_moments && w->budget->states; i++) {
		const struct moment *m = &w->moments[i];
		size_t n = io_sim_units(m->io);

		if (w->budget->exhaustive && n <= SIM_UNITS_MAX)
			try_all(w, m, n);
		else
			try_some(w, m, n);
		if (rng_below(&w->rng, 4) == 0)
			try_harm(w, m);
	}
	moments_drop(w);
}

void world_explore(struct world *w)
{
	moments_watch(w, true);
	for (unsigned i = 0; i < w->budget->steps && w->budget->states; i++) {
		world_step(w);
		explore_moments(w);
	}
	moments_watch(w, false);
}
