/* test_spin.c - a loop that looks for its next request before it sleeps. */
#include "fs/spin.h"

#include "tests/lib/suite.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#define US ((int64_t)1000)

static struct spin s;
static int from, to;

static void setup(void)
{
	int fd[2];

	ck_assert_int_eq(pipe(fd), 0);
	from = fd[0];
	to = fd[1];
}

static void teardown(void)
{
	close(from);
	close(to);
}

static bool is_nonblocking(void)
{
	return fcntl(from, F_GETFL) & O_NONBLOCK;
}

static void wait_each(unsigned requests, int64_t waited)
{
	while (requests--)
		spin_waited(&s.rule, waited);
}

/* As many requests that are there already. */
static void take(unsigned requests)
{
	char c = 'x';

	while (requests--) {
		ck_assert_int_eq(write(to, &c, 1), 1);
		ck_assert_int_eq(spin_read(&s, from, &c, 1), 1);
	}
}

/* As many as it needs to look for the next one. All are quick enough, but where the machine has
 * much else to do some are not. */
static void take_until_it_looks(void)
{
	for (unsigned i = 0; i < 100000 && !is_nonblocking(); i++)
		take(1);
	ck_assert(is_nonblocking());
}

START_TEST(it_looks_after_some_quick_requests_in_a_row)
{
	spin_start(&s, from, true);
	ck_assert(!spin_is_worth(&s.rule));
	wait_each(8, 10 * US);
	ck_assert(!spin_is_worth(&s.rule));
	wait_each(40, 10 * US);
	ck_assert(spin_is_worth(&s.rule));
}
END_TEST

START_TEST(it_sleeps_when_requests_come_seldom)
{
	spin_start(&s, from, true);
	wait_each(100, 0);
	wait_each(1, 1000000 * US);
	ck_assert(!spin_is_worth(&s.rule)); /* one long wait is enough, and */
	wait_each(8, 5 * US);
	ck_assert(spin_is_worth(&s.rule)); /* a few quick ones make up for it */
	wait_each(100, 100 * US);
	ck_assert(!spin_is_worth(&s.rule));
}
END_TEST

START_TEST(a_connection_is_nonblocking_only_while_it_is_looked_at)
{
	spin_start(&s, from, true);
	if (!s.on)
		return; /* there is one core */
	take(1);
	ck_assert(!is_nonblocking());
	take_until_it_looks();
	spin_stop(&s, from);
	ck_assert(!is_nonblocking());
}
END_TEST

START_TEST(who_must_not_look_never_does)
{
	spin_start(&s, from, false);
	take(100);
	ck_assert(!is_nonblocking());
	ck_assert(spin_seconds(&s) == 0);
}
END_TEST

START_TEST(what_a_dead_daemon_left_nonblocking_is_set_right)
{
	char c;

	fcntl(from, F_SETFL, O_NONBLOCK);
	spin_start(&s, from, false);
	ck_assert(!is_nonblocking());
	close(to);
	ck_assert_int_eq(spin_read(&s, from, &c, 1), 0);
	to = -1;
}
END_TEST

static void *write_late(void *arg)
{
	const struct timespec t = { .tv_nsec = 20000000 };

	nanosleep(&t, NULL);
	ck_assert_int_eq(write(to, "x", 1), 1);
	return arg;
}

START_TEST(a_request_that_comes_late_is_waited_for_asleep)
{
	struct timespec before, after;
	pthread_t thread;
	char c = 0;

	spin_start(&s, from, true);
	if (!s.on)
		return;
	do {
		take_until_it_looks();
		ck_assert_int_eq(pthread_create(&thread, NULL, write_late, NULL), 0);
		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &before);
		ck_assert_int_eq(spin_read(&s, from, &c, 1), 1);
		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &after);
		pthread_join(thread, NULL);
		ck_assert_int_eq(c, 'x');
	} while (spin_seconds(&s) == 0); /* the last one taken was slow */
	/* 0.05 ms of looking, not 20 */
	ck_assert_int_lt((after.tv_sec - before.tv_sec) * 1000000000 + after.tv_nsec -
				 before.tv_nsec,
			 5000000);
}
END_TEST

START_TEST(another_holder_of_the_connection_may_change_it)
{
	pthread_t thread;
	char c;

	spin_start(&s, from, true);
	if (!s.on)
		return;
	take_until_it_looks();
	fcntl(from, F_SETFL, 0); /* read() waits by itself then */
	ck_assert_int_eq(pthread_create(&thread, NULL, write_late, NULL), 0);
	ck_assert_int_eq(spin_read(&s, from, &c, 1), 1);
	pthread_join(thread, NULL);
	fcntl(from, F_SETFL, O_NONBLOCK); /* and poll() does here */
	ck_assert_int_eq(pthread_create(&thread, NULL, write_late, NULL), 0);
	ck_assert_int_eq(spin_read(&s, from, &c, 1), 1);
	pthread_join(thread, NULL);
}
END_TEST

static atomic_bool hog_ends;

static void *hog(void *arg)
{
	while (!atomic_load(&hog_ends))
		;
	return arg;
}

/* All threads of this process, from now on. */
static void use_one_core(void)
{
	cpu_set_t all, one;

	ck_assert_int_eq(sched_getaffinity(0, sizeof(all), &all), 0);
	CPU_ZERO(&one);
	for (int i = 0; i < CPU_SETSIZE && !CPU_COUNT(&one); i++)
		if (CPU_ISSET(i, &all))
			CPU_SET(i, &one);
	ck_assert_int_eq(sched_setaffinity(0, sizeof(one), &one), 0);
}

START_TEST(a_core_that_others_want_is_left_to_them)
{
	const struct timespec pause = { .tv_nsec = 150000000 };
	pthread_t thread;

	spin_start(&s, from, true);
	if (!s.on)
		return;
	use_one_core();
	take_until_it_looks();
	ck_assert_int_eq(pthread_create(&thread, NULL, hog, NULL), 0);
	for (unsigned i = 0; i < 1000 && is_nonblocking(); i++) {
		sched_yield();
		take(1);
	}
	ck_assert(!is_nonblocking());
	atomic_store(&hog_ends, true);
	pthread_join(thread, NULL);
	take(10);
	ck_assert(!is_nonblocking()); /* for a while, and */
	nanosleep(&pause, NULL);
	take_until_it_looks(); /* then it is tried again */
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("spin");
	TCase *tc = tcase_create("spin");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, it_looks_after_some_quick_requests_in_a_row);
	tcase_add_test(tc, it_sleeps_when_requests_come_seldom);
	tcase_add_test(tc, a_connection_is_nonblocking_only_while_it_is_looked_at);
	tcase_add_test(tc, who_must_not_look_never_does);
	tcase_add_test(tc, what_a_dead_daemon_left_nonblocking_is_set_right);
	tcase_add_test(tc, a_request_that_comes_late_is_waited_for_asleep);
	tcase_add_test(tc, another_holder_of_the_connection_may_change_it);
	tcase_add_test(tc, a_core_that_others_want_is_left_to_them);
	suite_add_tcase(suite, tc);
	return suite_main(suite);
}
