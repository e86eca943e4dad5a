/* mutant.c - a program with one mistake built in (core/base/mutant.h): the simulation must
 * find it. A child explores; that it ends by a violation, an assertion or a crash is success.
 * Some mistakes also make a nonce seal two texts, which is noticed at once, so children look
 * for that or for wrong states; each must do. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/mutant.h"
#include "tests/sim/world.h"

#define STATES_MAX 500000u
#define CPU_S_MAX  300

static void explore(void)
{
	for (uint64_t seed = 1; sim_totals.states < STATES_MAX; seed++) {
		struct budget budget = {
			.states = 1500, .cuts = 5, .steps = 120, .faults = true
		};
		struct world w = world_new(seed, &budget);

		world_explore(&w);
		world_release(&w);
		seals_forget();
	}
}

static void child_main(bool seals)
{
	struct rlimit cpu = { CPU_S_MAX, CPU_S_MAX }, core = { 0, 0 };

	setrlimit(RLIMIT_CPU, &cpu);
	setrlimit(RLIMIT_CORE, &core);
	seals_watch(seals);
	explore();
	exit(0);
}

static void mistake_is_found(bool seals)
{
	int status;
	pid_t child;

	fflush(stdout);
	child = fork();
	ck_assert_int_ge(child, 0);
	if (!child)
		child_main(seals);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	if (WIFSIGNALED(status))
		printf("# found: signal %d\n", WTERMSIG(status));
	ck_assert_msg(!WIFEXITED(status) || WEXITSTATUS(status) != 0,
		      "%u states, and nothing was found", STATES_MAX);
}

START_TEST(the_mistake_shows_in_a_state)
{
	mistake_is_found(false);
}
END_TEST

#if MUTANT(APPEND_TORN) || MUTANT(CRC_BARE)
START_TEST(the_mistake_shows_in_what_is_sealed)
{
	mistake_is_found(true);
}
END_TEST
#endif

int main(void)
{
	Suite *s = suite_create("mutant");
	TCase *tc = tcase_create("mutant");

	tcase_set_timeout(tc, 3600);
	tcase_add_test(tc, the_mistake_shows_in_a_state);
#if MUTANT(APPEND_TORN) || MUTANT(CRC_BARE)
	tcase_add_test(tc, the_mistake_shows_in_what_is_sealed);
#endif
	suite_add_tcase(s, tc);
	return suite_main(s);
}
