/* test_beside.c - when a request loop looks for the core of the program it serves. */
#include "fs/beside.h"

#include "tests/lib/suite.h"

#define US ((int64_t)1000)

static struct beside b;
static int64_t now;

static void setup(void)
{
	b = (struct beside) { 0 };
	now = 1000000000;
	b.replied = now;
}

/* Requests of tid that come after `gap` each; how often it is time to look. */
static unsigned looks(unsigned requests, uint32_t tid, int64_t gap)
{
	unsigned n = 0;

	while (requests--) {
		now += gap;
		n += beside_due(&b, tid, now);
		b.replied = now;
	}
	return n;
}

START_TEST(a_program_that_is_waited_for_is_looked_for)
{
	ck_assert_uint_eq(looks(16, 7, 70 * US), 0);
	ck_assert_uint_eq(looks(1, 7, 70 * US), 1);
}
END_TEST

START_TEST(quick_requests_are_left_alone)
{
	ck_assert_uint_eq(looks(100000, 7, 4 * US), 0);
}
END_TEST

START_TEST(who_comes_seldom_is_left_alone)
{
	ck_assert_uint_eq(looks(1000, 7, 5000 * US), 0);
}
END_TEST

START_TEST(programs_that_take_turns_are_left_alone)
{
	for (unsigned i = 0; i < 1000; i++)
		ck_assert_uint_eq(looks(1, 7 + i % 2, 70 * US), 0);
}
END_TEST

START_TEST(requests_of_nobody_change_nothing)
{
	looks(10, 7, 70 * US);
	ck_assert_uint_eq(looks(100, 0, 70 * US), 0);
	ck_assert_uint_eq(looks(7, 7, 70 * US), 1);
}
END_TEST

START_TEST(what_does_not_help_is_tried_less_and_less)
{
	/* 100 s: pauses of 1, 2, 4 ... 512 ms, then of a second */
	unsigned n = looks(1000000, 7, 100 * US);

	ck_assert_uint_ge(n, 100);
	ck_assert_uint_le(n, 112);
}
END_TEST

START_TEST(what_has_helped_is_tried_again_at_once)
{
	looks(1000000, 7, 100 * US);
	looks(100, 7, 4 * US);
	now += 1000000 * US; /* the last pause is over */
	b.replied = now;
	ck_assert_uint_eq(looks(16, 7, 70 * US), 1);
	looks(1000, 7, 4 * US);
	ck_assert_uint_eq(looks(16, 7, 70 * US), 1);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("beside");
	TCase *tc = tcase_create("beside");

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, a_program_that_is_waited_for_is_looked_for);
	tcase_add_test(tc, quick_requests_are_left_alone);
	tcase_add_test(tc, who_comes_seldom_is_left_alone);
	tcase_add_test(tc, programs_that_take_turns_are_left_alone);
	tcase_add_test(tc, requests_of_nobody_change_nothing);
	tcase_add_test(tc, what_does_not_help_is_tried_less_and_less);
	tcase_add_test(tc, what_has_helped_is_tried_again_at_once);
	suite_add_tcase(s, tc);
	return suite_main(s);
}
