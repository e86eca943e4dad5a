/* test_kill.c - a process that uses a store is killed with SIGKILL while it appends, inserts
 * and syncs; after each of the rounds the store is opened again and must hold all that was
 * acknowledged by a sync, and nothing that was never written. ROUNDS says how many. */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/ropefs.h"
#include "tests/lib/suite.h"

#define RECORD	     24 /* bytes: "record ", 16 digits, newline */
#define TEXT_MAX     32
#define EDIT	     10
#define RECORD_TRIES 12000

/* Shared with the child: what a sync had acknowledged. */
struct oracle {
	_Atomic uint64_t records;
	_Atomic uint64_t edits;
};

static struct oracle *oracle;
static char store[4200], key[4200]; /* below suite_tmpdir() */

static struct ropefs *open_store(void)
{
	struct ropefs_opts opts = { .key_file = key,
				    .memory_bytes = 32u << 20,
				    .checkpoint_s = 1 };
	struct ropefs *fs;
	int r = ropefs_open(store, &opts, &fs);

	ck_assert_msg(r == 0, "open: %d %s", r, ropefs_error());
	return fs;
}

static uint64_t file_of(struct ropefs *fs, const char *name)
{
	struct ropefs_new what = { .mode = S_IFREG | 0644 };
	struct ropefs_attr attr;
	int r = ropefs_create(fs, ROPEFS_ROOT_INO, ropefs_name(name), &what, &attr);

	if (r == -EEXIST)
		r = ropefs_lookup(fs, ROPEFS_ROOT_INO, ropefs_name(name), &attr);
	ck_assert_msg(r == 0, "file: %d %s", r, ropefs_error());
	return attr.ino;
}

static uint64_t size_of(struct ropefs *fs, uint64_t ino)
{
	struct ropefs_attr attr;

	ck_ok(ropefs_getattr(fs, ino, &attr));
	return attr.size;
}

static void record_text(char *p, uint64_t i)
{
	snprintf(p, TEXT_MAX, "record %016llu\n", (unsigned long long)i);
}

/* The i-th edit puts these bytes there: a function of i alone. */
static uint64_t edit_at(uint64_t i, char *p)
{
	struct rng rng = rng_seeded(i);

	for (int k = 0; k < EDIT; k++)
		p[k] = (char)('a' + rng_below(&rng, 26));
	return i ? rng_below(&rng, i * EDIT + 1) : 0;
}

/* Runs until it is killed. */
static void child_main(void)
{
	struct ropefs *fs = open_store();
	uint64_t log = file_of(fs, "log"), text = file_of(fs, "text");
	uint64_t records = size_of(fs, log) / RECORD, edits = size_of(fs, text) / EDIT;
	struct rng rng = rng_seeded(records * 31 + edits);

	for (;;) {
		unsigned n = (unsigned)rng_below(&rng, 40) + 1;
		char p[TEXT_MAX], e[EDIT];

		for (unsigned i = 0; i < n; i++) {
			record_text(p, records++);
			if (ropefs_write(fs, log, 0, p, RECORD, ROPEFS_APPEND, NULL) !=
			    RECORD)
				abort();
			uint64_t at = edit_at(edits++, e);

			if (ropefs_insert(fs, text, at, e, EDIT, 0) != EDIT)
				abort();
		}
		if (ropefs_sync(fs) < 0)
			abort();
		atomic_store(&oracle->records, records);
		atomic_store(&oracle->edits, edits);
		if (rng_below(&rng, 200) == 0 && ropefs_checkpoint(fs) < 0)
			abort();
	}
}

static void check_log(struct ropefs *fs)
{
	uint64_t log = file_of(fs, "log"), n = size_of(fs, log);
	char *p = malloc(n + 1), want[TEXT_MAX];

	ck_assert_uint_eq(n % RECORD, 0);
	ck_assert_uint_ge(n / RECORD, oracle->records);
	ck_assert_int_eq(ropefs_read(fs, log, 0, p, n, 0), (ssize_t)n);
	for (uint64_t i = 0; i < n / RECORD; i++) {
		record_text(want, i);
		ck_assert_msg(!memcmp(p + i * RECORD, want, RECORD),
			      "record %llu differs", (unsigned long long)i);
	}
	free(p);
}

/* The text equals what the first edits make of it, on a flat array. */
static void check_text(struct ropefs *fs)
{
	static char *model;
	static uint64_t made, cap;
	uint64_t text = file_of(fs, "text"), n = size_of(fs, text);
	char *p = malloc(n + 1), e[EDIT];

	ck_assert_uint_eq(n % EDIT, 0);
	ck_assert_uint_ge(n / EDIT, oracle->edits);
	if (n > cap) {
		cap = n * 2;
		model = realloc(model, cap);
	}
	for (; made < n / EDIT; made++) {
		uint64_t at = edit_at(made, e);

		memmove(model + at + EDIT, model + at, made * EDIT - at);
		memcpy(model + at, e, EDIT);
	}
	ck_assert_uint_eq(made, n / EDIT);
	ck_assert_int_eq(ropefs_read(fs, text, 0, p, n, 0), (ssize_t)n);
	ck_assert_msg(!memcmp(p, model, n), "the text differs");
	free(p);
}

static void one_round(struct rng *rng)
{
	struct timespec nap = { .tv_nsec =
					(long)rng_below(rng, 250) * 1000000 + 5000000 };
	struct ropefs *fs;
	pid_t pid;
	int status;

	fflush(stdout);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		child_main();
		_exit(1);
	}
	nanosleep(&nap, NULL);
	/* One of the rounds at least has something to lose, however slow the disk is. */
	for (int i = 0; !oracle->records && i < RECORD_TRIES; i++)
		usleep(10000);
	kill(pid, SIGKILL);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);

	fs = open_store();
	check_log(fs);
	check_text(fs);
	ck_ok(ropefs_close(fs));
}

START_TEST(a_killed_process_loses_nothing_it_had_synced)
{
	struct ropefs_init_opts init = { .key_file = key };
	struct ropefs_check check = { .key_file = key };
	struct rng rng = rng_seeded(suite_seed());
	const char *rounds = getenv("ROUNDS");
	int n = rounds ? atoi(rounds) : 50;

	snprintf(store, sizeof(store), "%s/store", suite_tmpdir());
	snprintf(key, sizeof(key), "%s/key", suite_tmpdir());
	oracle = mmap(NULL, sizeof(*oracle), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert(oracle != MAP_FAILED);
	ck_assert_msg(ropefs_init(store, &init, NULL) == 0, "init: %s", ropefs_error());
	for (int i = 0; i < n; i++)
		one_round(&rng);
	printf("# %d kills, %llu records and %llu edits acknowledged\n", n,
	       (unsigned long long)oracle->records, (unsigned long long)oracle->edits);
	ck_assert_uint_gt(oracle->records, 0);
	ck_assert_msg(ropefs_check(store, &check) == 0, "fsck: %s", ropefs_error());
}
END_TEST

int main(void)
{
	Suite *s = suite_create("kill");
	TCase *tc = tcase_create("kill");

	tcase_set_timeout(tc, 1200);
	tcase_add_test(tc, a_killed_process_loses_nothing_it_had_synced);
	suite_add_tcase(s, tc);
	return suite_main(s);
}
