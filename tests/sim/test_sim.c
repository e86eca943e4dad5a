/* test_sim.c - the whole engine on a simulated disk that lies, from one seed: lives of random
 * steps whose moments end in many ways, most by sampling, those of short histories in every
 * way. SIM_STATES in the environment says how many states each test tries, TEST_SECONDS how long
 * it goes on, SEED runs one history again. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/sim/world.h"

/* When a run ends: after so many states, or so many seconds, on a machine that is slow. */
struct end {
	uint64_t states;
	time_t time;
};

static struct end end_of_run(void)
{
	const char *states = getenv("SIM_STATES"), *seconds = getenv("TEST_SECONDS");
	struct end end = { .states = 500000, .time = time(NULL) + suite_seconds(150) };

	if (seconds)
		end.states = UINT64_MAX;
	if (states)
		end = (struct end) { strtoull(states, NULL, 0), time(NULL) + 1000000 };
	return end;
}

/* Seeds of a run: the one given, or numbers from 1 on, the same each time. */
static uint64_t seed_first(void)
{
	const char *word = getenv("SEED");

	return word ? strtoull(word, NULL, 0) : 1;
}

static void totals_print(double seconds)
{
	const struct sim_totals *t = &sim_totals;

	printf("# %llu states in %.1f s of CPU (%.0f a second); lives 2 to 4: %llu %llu "
	       "%llu; "
	       "%llu images, %llu fscks, %llu recovered twice; %llu harms; %llu faults, "
	       "%llu reopened; %llu switches of tasks; %llu uploads, %llu restored; %llu "
	       "copies of page files opened alone, %llu refused\n",
	       (unsigned long long)t->states, seconds, (double)t->states / seconds,
	       (unsigned long long)t->lives[2], (unsigned long long)t->lives[3],
	       (unsigned long long)t->lives[4], (unsigned long long)t->images,
	       (unsigned long long)t->fscks, (unsigned long long)t->twice,
	       (unsigned long long)t->harms, (unsigned long long)t->faults,
	       (unsigned long long)t->reopened, (unsigned long long)t->switches,
	       (unsigned long long)t->uploads, (unsigned long long)t->restored,
	       (unsigned long long)t->copies, (unsigned long long)t->copies_refused);
	fflush(stdout);
}

/* Histories of `like`, one after another. */
static void explore(struct budget like)
{
	struct end end = end_of_run();
	clock_t began = clock();

	sim_totals = (struct sim_totals) { 0 };
	for (uint64_t seed = seed_first();
	     sim_totals.states < end.states && time(NULL) < end.time; seed++) {
		struct budget budget = like;
		struct world w;

		budget.states = MIN(like.states, end.states - sim_totals.states);
		w = world_new(seed, &budget);
		world_explore(&w);
		world_release(&w);
		seals_forget();
		if (getenv("SEED"))
			break;
	}
	totals_print((double)(clock() - began) / CLOCKS_PER_SEC);
}

START_TEST(long_histories_survive_sampled_cuts)
{
	explore((struct budget) {
		.states = 4000, .cuts = 5, .steps = 120, .faults = true });
}
END_TEST

START_TEST(short_histories_survive_all_cuts)
{
	explore((struct budget) {
		.states = 6000, .cuts = 24, .steps = 8, .exhaustive = true });
}
END_TEST

static uint64_t disk_digest(struct io *io);

START_TEST(a_seed_replays_exactly)
{
	uint64_t digest[2];

	for (int i = 0; i < 2; i++) {
		struct budget budget = {
			.states = 300, .cuts = 3, .steps = 60, .faults = true
		};
		struct world w = world_new(4711, &budget);

		world_explore(&w);
		digest[i] = disk_digest(w.io) ^ io_sim_calls(w.io, IO_SIM_ANY);
		world_release(&w);
	}
	ck_assert_uint_eq(digest[0], digest[1]);
}
END_TEST

struct digesting {
	struct io *io;
	const char *folder;
	uint64_t sum;
};

static int digest_file(void *arg, const char *name)
{
	static uint8_t bytes[4 * MIB];
	struct digesting *d = arg;
	char path[600];
	struct io_file *f;
	struct blob *b;
	ssize_t n;

	snprintf(path, sizeof(path), "%s%s%s", d->folder, *d->folder ? "/" : "", name);
	if (io_open(d->io, path, IO_READ, &f) < 0)
		return 0;
	n = io_pread(f, bytes, sizeof(bytes), 0);
	io_closep(&f);
	b = blob_new(n > 0 ? (size_t)n : 0);
	memcpy(b->p, bytes, b->n);
	blob_seal(b);
	d->sum += b->digest * (strlen(name) + (unsigned char)name[0]);
	blob_put(b);
	return 0;
}

static uint64_t disk_digest(struct io *io)
{
	struct digesting d = { .io = io };

	for (int i = 0; i < 3; i++) {
		d.folder = (const char *[]) { "", "wal", "packs" }[i];
		ck_ok(io->ops->list(io, d.folder, digest_file, &d));
	}
	return d.sum;
}

int main(void)
{
	Suite *s = suite_create("sim");
	TCase *all = tcase_create("all"), *some = tcase_create("some");

	/* Apart, so that two processors can have one each (CK_RUN_CASE). */
	tcase_set_timeout(all, 3600);
	tcase_set_timeout(some, 3600);
	tcase_add_test(all, a_seed_replays_exactly);
	tcase_add_test(all, short_histories_survive_all_cuts);
	tcase_add_test(some, long_histories_survive_sampled_cuts);
	suite_add_tcase(s, all);
	suite_add_tcase(s, some);
	return suite_main(s);
}
