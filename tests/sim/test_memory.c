/* test_memory.c - every allocation that the engine makes fails, once or from some on for ever,
 * in the middle of a fixed life: an error says so, nothing read is wrong, and all that was
 * acknowledged is there after the next opening.
 *
 * The linker's --wrap sends the engine's calls here; the simulation's own are compiled to the
 * real ones (meson.build). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/err.h"
#include "tests/sim/world.h"

#define STEPS 60

static struct {
	uint64_t calls;
	uint64_t at; /* the call that fails; 0: none */
	bool forever;
} memory;

static bool fails(void)
{
	memory.calls++;
	return memory.at && (memory.calls == memory.at ||
			     (memory.forever && memory.calls > memory.at));
}

/* Names that the linker makes; here malloc is the real one already. */
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t each);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_reallocarray(void *p, size_t n, size_t each);

void *__wrap_malloc(size_t n)
{
	return fails() ? NULL : malloc(n);
}

void *__wrap_calloc(size_t n, size_t each)
{
	return fails() ? NULL : calloc(n, each);
}

void *__wrap_realloc(void *p, size_t n)
{
	return fails() ? NULL : realloc(p, n);
}

void *__wrap_reallocarray(void *p, size_t n, size_t each)
{
	return fails() ? NULL : reallocarray(p, n, each);
}

static void memory_fail(uint64_t n, bool forever)
{
	memory.at = n ? memory.calls + n : 0;
	memory.forever = forever;
}

/* A life in which the n-th allocation fails, and the next ones. False: it has fewer. */
static bool life_with_failure(uint64_t seed, uint64_t n, bool forever)
{
	struct budget budget = { .states = UINT64_MAX, .fail_at = memory_fail };
	struct world w = world_new(seed, &budget);
	uint64_t before = memory.calls;
	bool struck;

	w.faulty = true;
	memory_fail(n, forever);
	for (int i = 0; i < STEPS; i++)
		world_step(&w);
	struck = memory.calls - before >= n;
	memory_fail(0, false);
	world_settle(&w);
	world_compare(&w);
	world_end_life(&w);
	world_end_life(&w);
	world_release(&w);
	seals_forget();
	return struck;
}

/* How far apart the calls lie that fail: all of them, with time. */
static uint64_t stride(void)
{
	return suite_seconds(0) ? 1 : 7;
}

START_TEST(an_allocation_that_fails_costs_nothing_that_was_acknowledged)
{
	uint64_t lives = 0;

	for (uint64_t seed = 1; seed <= 4; seed++)
		for (uint64_t n = seed; life_with_failure(seed, n, lives % 2); lives++)
			n += n < 100 ? 1 : stride();
	printf("# %llu lives, each with an allocation that fails\n",
	       (unsigned long long)lives);
	ck_assert_uint_gt(lives, 100);
}
END_TEST

/* The opening of a store that has something to recover. */
static bool open_with_failure(uint64_t n, bool forever)
{
	struct budget budget = { .states = UINT64_MAX };
	struct world w = world_new(2, &budget);
	bool struck;
	uint64_t before;
	int r;

	for (int i = 0; i < STEPS; i++)
		world_step(&w);
	world_kill(&w);
	io_sim_kill(w.io);
	before = memory.calls;
	memory_fail(n, forever);
	r = world_open(&w);
	struck = memory.calls - before >= n;
	memory_fail(0, false);
	world_check(&w, r >= 0 || ropefs_error_errno(r) == ENOMEM, "opening gives %d", r);
	world_kill(&w);
	io_sim_kill(w.io);
	world_reopen(&w, w.floor);
	world_release(&w);
	seals_forget();
	return struck;
}

START_TEST(an_opening_without_memory_says_so_and_the_next_one_works)
{
	uint64_t n = 1;

	for (bool forever = false;; forever = !forever) {
		if (!open_with_failure(n, forever))
			break;
		n += forever;
	}
	printf("# each of %llu allocations of an opening failed\n",
	       (unsigned long long)n);
	ck_assert_uint_gt(n, 30);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("memory");
	TCase *tc = tcase_create("memory");

	tcase_set_timeout(tc, 3600);
	tcase_add_test(tc, an_opening_without_memory_says_so_and_the_next_one_works);
	tcase_add_test(tc, an_allocation_that_fails_costs_nothing_that_was_acknowledged);
	suite_add_tcase(s, tc);
	return suite_main(s);
}
