#include "tests/lib/suite.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

static char all_tmpdirs[4096]; /* of a suite; empty: the process is none */
static char tmpdir[4200];
static pid_t tmpdir_owner;

/* Check's own limit is 4 s, which a disk that stalls takes for one sync. Suites with more to do say
 * how long they take (tcase_set_timeout()). */
__attribute__((constructor)) static void limit_tests(void)
{
	setenv("CK_DEFAULT_TIMEOUT", "60", 0);
}

/* What TAP on stdout says of them; of a test that failed meson shows stderr only. */
static void tell_failures(SRunner *runner)
{
	int n = srunner_ntests_failed(runner);
	TestResult **failures = srunner_failures(runner);

	for (int i = 0; i < n; i++)
		fprintf(stderr, "%s: %s:%d: %s\n", tr_tcname(failures[i]),
			tr_lfile(failures[i]), tr_lno(failures[i]), tr_msg(failures[i]));
	free(failures);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	return remove(path);
}

static void remove_tree(const char *path)
{
	nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void remove_tmpdir(void)
{
	if (getpid() == tmpdir_owner)
		remove_tree(tmpdir);
}

/* below: a folder; empty: where programs make theirs. */
static void make_folder(char path[], size_t n, const char *below)
{
	const char *base = getenv("TMPDIR");

	if (!*below)
		below = base ? base : "/tmp";
	if ((size_t)snprintf(path, n, "%s/ropefs-test-XXXXXX", below) >= n ||
	    !mkdtemp(path)) {
		perror(below);
		abort();
	}
}

int suite_main(Suite *suite)
{
	SRunner *runner = srunner_create(suite);
	const char *no_fork = getenv("SUITE_NOFORK");
	int failed;

	suite_seed();
	make_folder(all_tmpdirs, sizeof(all_tmpdirs), "");
	if (no_fork && !strcmp(no_fork, "1"))
		srunner_set_fork_status(runner, CK_NOFORK);
	srunner_set_tap(runner, "-");
	srunner_run_all(runner, CK_SILENT);
	failed = srunner_ntests_failed(runner);
	tell_failures(runner);
	srunner_free(runner);
	remove_tree(all_tmpdirs); /* with what is left of tests that were killed */
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

uint64_t suite_seed(void)
{
	static uint64_t seed;
	static int known;
	const char *word = getenv("SEED");

	if (known)
		return seed;
	if (word)
		seed = strtoull(word, NULL, 0);
	else if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
		seed = (uint64_t)getpid();
	known = 1;
	printf("# SEED=0x%llx\n", (unsigned long long)seed);
	fflush(stdout);
	return seed;
}

unsigned suite_seconds(unsigned otherwise)
{
	const char *word = getenv("TEST_SECONDS");

	return word ? (unsigned)strtoul(word, NULL, 10) : otherwise;
}

struct rng rng_seeded(uint64_t seed)
{
	return (struct rng) { seed };
}

uint64_t rng_next(struct rng *r)
{
	uint64_t z = r->state += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

uint64_t rng_below(struct rng *r, uint64_t n)
{
	return rng_next(r) % n;
}

void rng_fill(struct rng *r, void *p, size_t n)
{
	unsigned char *at = p;

	for (; n >= 8; n -= 8, at += 8) {
		uint64_t v = rng_next(r);

		memcpy(at, &v, 8);
	}
	if (n) {
		uint64_t v = rng_next(r);

		memcpy(at, &v, n);
	}
}

const char *suite_tmpdir(void)
{
	if (tmpdir_owner == getpid())
		return tmpdir;
	make_folder(tmpdir, sizeof(tmpdir), all_tmpdirs);
	tmpdir_owner = getpid();
	atexit(remove_tmpdir);
	return tmpdir;
}
