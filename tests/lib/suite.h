/* suite.h - what every test program shares: a main that speaks TAP, and seeds. */
#ifndef ROPEFS_TESTS_SUITE_H
#define ROPEFS_TESTS_SUITE_H

#include <check.h>
#include <stdint.h>

/* Runs the suite with TAP on stdout; returns main's status. The environment's SUITE_NOFORK=1
 * runs the tests in this process (for debuggers and sanitizers). */
int suite_main(Suite *suite);

/* The environment's SEED, else a fresh one; printed as "# SEED=..." so that a failure can be
 * run again. The same for the whole process. */
uint64_t suite_seed(void);
/* The environment's TEST_SECONDS, else otherwise: how long a random test goes on. */
unsigned suite_seconds(unsigned otherwise);

/* A small generator (splitmix64), the same everywhere for a seed. */
struct rng {
	uint64_t state;
};
struct rng rng_seeded(uint64_t seed);
uint64_t rng_next(struct rng *r);
uint64_t rng_below(struct rng *r, uint64_t n); /* 0..n-1; n > 0 */
void rng_fill(struct rng *r, void *p, size_t n);

/* A fresh folder below $TMPDIR; removed with all in it when the process ends well, else when its
 * suite does. */
const char *suite_tmpdir(void);

#define ck_ok(call)                                                                      \
	do {                                                                             \
		long ck_r = (long)(call);                                                \
		ck_assert_msg(ck_r >= 0, "%s: %ld", #call, ck_r);                        \
	} while (0)

#endif
