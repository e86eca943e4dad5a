/* test_awake.c - when cores are kept awake for a program that makes one call after the other. */
#include "fs/awake.h"

#include "tests/lib/suite.h"

#define US ((int64_t)1000)

static struct awake_rule r;
static int64_t now;

static void setup(void)
{
	r = (struct awake_rule) { 0 };
	now = 1000000000;
}

/* Requests that were waited for so long each; how often it was turned on. */
static unsigned ask(unsigned requests, int64_t waited)
{
	unsigned n = 0;

	while (requests--) {
		bool was = r.on;

		now += waited;
		awake_waited(&r, waited, now);
		n += r.on && !was;
	}
	return n;
}

START_TEST(cores_are_kept_awake_for_requests_that_are_waited_for)
{
	ck_assert_uint_eq(ask(15, 70 * US), 0);
	ck_assert_uint_eq(ask(1, 70 * US), 1);
	ck_assert(r.on);
}
END_TEST

START_TEST(quick_requests_are_left_alone)
{
	ck_assert_uint_eq(ask(100000, 4 * US), 0);
}
END_TEST

START_TEST(who_comes_seldom_is_left_alone)
{
	ck_assert_uint_eq(ask(1000, 5000 * US), 0);
}
END_TEST

START_TEST(only_waits_in_a_row_count)
{
	for (unsigned i = 0; i < 100; i++) {
		ck_assert_uint_eq(ask(15, 70 * US), 0);
		ask(1, 4 * US);
	}
	ck_assert(!r.on);
}
END_TEST

START_TEST(what_helps_goes_on)
{
	ask(16, 70 * US);
	ask(100000, 4 * US);
	ck_assert(r.on);
	for (unsigned i = 0; i < 1000; i++) { /* every other one is a sync, say */
		ask(1, 4 * US);
		ask(1, 200 * US);
	}
	ck_assert(r.on);
}
END_TEST

START_TEST(what_does_not_help_is_tried_less_and_less)
{
	/* 100 s: pauses of 10, 20, 40 ... 5120 ms, then of 10 s, and 6.4 ms of each trial */
	unsigned n = ask(1000000, 100 * US);

	ck_assert_uint_ge(n, 17);
	ck_assert_uint_le(n, 20);
	ck_assert_int_eq(r.pause, 10000000 * US);
}
END_TEST

START_TEST(what_has_helped_is_tried_again_at_once)
{
	ask(1000000, 100 * US);
	now += 10000000 * US;
	ask(16, 70 * US);
	ck_assert(r.on);
	ask(64, 4 * US);
	ck_assert_int_eq(r.pause, 0);
	ask(64, 100 * US);
	ck_assert(!r.on);
	ck_assert_int_eq(r.pause, 10000 * US);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("awake");
	TCase *tc = tcase_create("awake");

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, cores_are_kept_awake_for_requests_that_are_waited_for);
	tcase_add_test(tc, quick_requests_are_left_alone);
	tcase_add_test(tc, who_comes_seldom_is_left_alone);
	tcase_add_test(tc, only_waits_in_a_row_count);
	tcase_add_test(tc, what_helps_goes_on);
	tcase_add_test(tc, what_does_not_help_is_tried_less_and_less);
	tcase_add_test(tc, what_has_helped_is_tried_again_at_once);
	suite_add_tcase(s, tc);
	return suite_main(s);
}
