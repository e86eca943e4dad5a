/* test_ahead.c - which writes a sync is going to follow. */
#include "fs/ahead.h"

#include "tests/lib/suite.h"

#include <stdlib.h>

static struct ahead a;

/* Turns of writing and syncing file 7, as long as nothing is guessed. */
static unsigned take_turns(void)
{
	unsigned n = 0;

	while (!ahead_wrote(&a, 7)) {
		ahead_synced(&a, 7);
		ck_assert_uint_lt(++n, 1000);
	}
	ahead_synced(&a, 7);
	return n;
}

START_TEST(who_writes_and_syncs_in_turns_is_known_after_a_while)
{
	a = (struct ahead) { 0 };
	ck_assert_uint_gt(take_turns(), 4);
	ck_assert_uint_eq(take_turns(), 0);
}
END_TEST

START_TEST(two_writes_for_one_sync_are_no_turns)
{
	a = (struct ahead) { 0 };
	take_turns();
	ck_assert(ahead_wrote(&a, 7));
	ck_assert(!ahead_wrote(&a, 7));
	ahead_synced(&a, 7);
	ck_assert_uint_gt(take_turns(), 4);
}
END_TEST

START_TEST(others_who_write_or_sync_end_it)
{
	a = (struct ahead) { 0 };
	take_turns();
	ck_assert(ahead_wrote(&a, 7));
	ck_assert(!ahead_wrote(&a, 8));
	ahead_synced(&a, 7);
	ahead_synced(&a, 8);
	ck_assert_uint_gt(take_turns(), 4);
	ahead_synced(&a, 7);
	ck_assert_uint_gt(take_turns(), 4);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("ahead");
	TCase *tc = tcase_create("ahead");

	tcase_add_test(tc, who_writes_and_syncs_in_turns_is_known_after_a_while);
	tcase_add_test(tc, two_writes_for_one_sync_are_no_turns);
	tcase_add_test(tc, others_who_write_or_sync_end_it);
	suite_add_tcase(s, tc);
	return suite_main(s);
}
