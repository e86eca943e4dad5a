/* test_compact.c - what a full disk asks for at last (core/compact.c), on the simulated disk: small
 * files share chunks, most of them go, and what is left is moved so that packs can go. Meanwhile
 * the power goes or the process is killed at any call, or a call fails; or nothing of it, and
 * others change the files again. After each round the files are what the model says. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "core/io/io_sim.h"
#include "core/store_priv.h"
#include "tests/lib/sim_store.h"
#include "tests/lib/suite.h"

#define FILES	  240u
#define BYTES_MAX 3000u

/* A file holds what a generator gives. */
struct file {
	bool there;
	uint64_t seed;
	size_t n;
};

static struct {
	struct io *io;
	struct key_file *kf;
	struct ropefs *fs;
	struct rng rng;
	struct file files[FILES];
	uint64_t gone, rounds, crashes,
		faults; /* gone: packs, or what was dead of them */
} w;

static struct ropefs_name name_of(unsigned i)
{
	static char name[8];

	snprintf(name, sizeof(name), "f%u", i);
	return ropefs_name(name);
}

static int world_open(void)
{
	struct store_opts o = { .threads = false, .segment_bytes = 10 * MIB };

	o.pub.memory_bytes = 32 * MIB;
	return store_open(w.io, w.kf, &o, &w.fs);
}

static void world_init(uint64_t seed)
{
	memset(&w, 0, sizeof(w));
	w.rng = rng_seeded(seed);
	sim_store_new(seed, &w.io, &w.kf);
	ck_ok(world_open());
}

static void world_release(void)
{
	w.io = store_abandon(w.fs, true);
	io_free(w.io);
	key_file_free(w.kf);
}

/* --- files --- */

static size_t contents(const struct file *f, uint8_t p[BYTES_MAX])
{
	struct rng rng = rng_seeded(f->seed);

	rng_fill(&rng, p, f->n);
	return f->n;
}

static void make(unsigned i)
{
	const struct ropefs_new what = { .mode = S_IFREG | 0644 };
	struct file *f = &w.files[i];
	uint8_t bytes[BYTES_MAX];
	struct ropefs_attr a;

	*f = (struct file) { true, rng_next(&w.rng), 1 + rng_below(&w.rng, BYTES_MAX) };
	ck_ok(ropefs_create(w.fs, ROPEFS_ROOT_INO, name_of(i), &what, &a));
	ck_ok(ropefs_write(w.fs, a.ino, 0, bytes, contents(f, bytes), 0, NULL));
}

static void drop(unsigned i)
{
	ck_ok(ropefs_unlink(w.fs, ROPEFS_ROOT_INO, name_of(i)));
	w.files[i].there = false;
}

static void compare(void)
{
	uint8_t want[BYTES_MAX], got[BYTES_MAX + 1];

	for (unsigned i = 0; i < FILES; i++) {
		const struct file *f = &w.files[i];
		struct ropefs_attr a;
		int r = ropefs_lookup(w.fs, ROPEFS_ROOT_INO, name_of(i), &a);

		ck_assert_int_eq(r, f->there ? 0 : -ENOENT);
		if (!f->there)
			continue;
		ck_assert_int_eq(ropefs_read(w.fs, a.ino, 0, got, sizeof(got), 0),
				 (ssize_t)contents(f, want));
		ck_assert(!memcmp(got, want, f->n));
	}
}

/* --- a round --- */

static int reclaim(void)
{
	uint64_t before = w.fs->packs_removed + w.fs->packs_rewritten;
	int r;

	lock_take(&w.fs->checkpoint);
	r = checkpoint_run_held(w.fs, false);
	if (r >= 0)
		r = collect_for_space_held(w.fs);
	lock_drop(&w.fs->checkpoint);
	w.gone += w.fs->packs_removed + w.fs->packs_rewritten - before;
	return r == -ENOSPC ? 0 : r; /* there was nothing to gain */
}

static void crash(void)
{
	w.crashes++;
	store_abandon(w.fs, true);
	io_sim_stop_at(w.io, 0, 0);
	if (rng_below(&w.rng, 2))
		io_sim_power_cut(w.io);
	else
		io_sim_kill(w.io);
	ck_ok(world_open());
}

/* Some at its beginning are more likely to be met than all of it. */
static uint64_t some_call(void)
{
	return 1 + rng_below(&w.rng, rng_below(&w.rng, 2) ? 20 : 200);
}

static void reclaim_and_crash(void)
{
	io_sim_stop_at(w.io,
		       IO_SIM_PWRITE | IO_SIM_SYNC | IO_SIM_RENAME | IO_SIM_SYNC_DIR |
			       IO_SIM_UNLINK | IO_SIM_TRUNCATE | IO_SIM_OPEN,
		       some_call());
	reclaim();
	crash();
}

/* A call that fails turns the store read-only at worst; what is there stays. */
static void reclaim_with_an_error(void)
{
	static const unsigned calls[] = { IO_SIM_PREAD, IO_SIM_PWRITE, IO_SIM_SYNC,
					  IO_SIM_UNLINK, IO_SIM_OPEN };

	w.faults++;
	io_sim_fail_at(w.io, calls[rng_below(&w.rng, ARRAY_LEN(calls))], some_call(), EIO,
		       false);
	reclaim();
	io_sim_fail_at(w.io, 0, 0, 0, false);
	crash();
}

static void round_of_all(bool calm)
{
	uint64_t before;
	/* Of a hundred go: each chunk keeps some, so that no pack can go before they are moved. */
	unsigned most = 60 + (unsigned)rng_below(&w.rng, 30);

	for (unsigned i = 0; i < FILES; i++)
		if (!w.files[i].there)
			make(i);
	ck_ok(ropefs_checkpoint(w.fs));
	for (unsigned i = 0; i < FILES; i++)
		if (rng_below(&w.rng, 100) < most)
			drop(i);
	ck_ok(ropefs_sync(w.fs));
	switch (calm ? 2 : rng_below(&w.rng, 3)) {
	case 0:
		reclaim_and_crash();
		break;
	case 1:
		reclaim_with_an_error();
		break;
	default:
		before = w.gone;
		ck_ok(reclaim());
		/* Of the first, something lives in each chunk. */
		ck_assert(w.rounds || w.gone > before);
	}
	compare();
	w.rounds++;
}

START_TEST(what_a_full_disk_moves_stays_what_it_was)
{
	time_t until = time(NULL) + suite_seconds(3);
	uint64_t lives = 0;

	do {
		world_init(suite_seed() + lives++);
		for (unsigned i = 0; i < 12; i++)
			round_of_all(!i);
		printf("# %llu rounds, %llu packs gone, %llu crashes, %llu faults\n",
		       (unsigned long long)w.rounds, (unsigned long long)w.gone,
		       (unsigned long long)w.crashes, (unsigned long long)w.faults);
		world_release();
	} while (time(NULL) < until);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("compact");
	TCase *tc = tcase_create("model");

	tcase_set_timeout(tc, 3600);
	tcase_add_test(tc, what_a_full_disk_moves_stays_what_it_was);
	suite_add_tcase(s, tc);
	return suite_main(s);
}
