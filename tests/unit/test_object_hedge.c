/* test_object_hedge.c - a second get when the first takes long, and what is remembered of a bucket
 * that is away: against a store whose gets hang until the test lets them go, or fail. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/base/err.h"
#include "core/tier/object.h"
#include "tests/lib/suite.h"

/* The gets whose number, from 0, is below `hang` wait until they are let go. */
struct slow {
	struct object_store os;
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	unsigned asked, hang, ended;
	int late; /* what they give then */
	bool let_go;
	const char *fails; /* the key of which all gets fail; "": of all keys */
	bool large_fail, large_hang; /* those of more than a byte */
};

static int slow_get(struct object_store *os, const char *key, struct object_range range,
		    struct buf *ret)
{
	struct slow *s = container_of(os, struct slow, os);
	unsigned mine;
	int r = 0;

	pthread_mutex_lock(&s->mutex);
	mine = s->asked++;
	pthread_cond_broadcast(&s->cond);
	while ((mine < s->hang || (s->large_hang && range.n > 1)) && !s->let_go)
		pthread_cond_wait(&s->cond, &s->mutex);
	if (mine < s->hang)
		r = s->late;
	if (s->fails && (!*s->fails || !strcmp(s->fails, key)))
		r = -E_REMOTE_AWAY;
	if (s->large_fail && range.n > 1)
		r = -E_REMOTE_AWAY;
	s->ended++;
	pthread_mutex_unlock(&s->mutex);
	return r < 0 ? err_set(-r, "get %u failed", mine)
		     : buf_append(ret, mine < s->hang ? "late" : "soon", 4);
}

static void slow_free(struct object_store *os)
{
	struct slow *s = container_of(os, struct slow, os);

	pthread_mutex_destroy(&s->mutex);
	pthread_cond_destroy(&s->cond);
}

static const struct object_ops slow_ops = { .get = slow_get, .free = slow_free };

static struct object_store *hedged(struct slow *s, unsigned first_ms)
{
	const struct object_hedge_opts opts = { .first_ms = first_ms, .least_ms = 1 };
	struct object_store *os;

	s->os.ops = &slow_ops;
	pthread_mutex_init(&s->mutex, NULL);
	pthread_cond_init(&s->cond, NULL);
	ck_ok(object_hedge_new(&opts, &s->os, &os));
	return os;
}

static void let_go(struct slow *s)
{
	pthread_mutex_lock(&s->mutex);
	s->let_go = true;
	pthread_cond_broadcast(&s->cond);
	pthread_mutex_unlock(&s->mutex);
}

static int get_key(struct object_store *os, const char *key, char ret[5])
{
	struct buf b = BUF_INIT;
	int r = object_get(os, key, (struct object_range) { 0, 4 }, &b);

	ck_assert(r < 0 || b.n == 4);
	if (r == 0)
		memcpy(ret, b.p, 4);
	ret[4] = '\0';
	buf_release(&b);
	return r;
}

static int get(struct object_store *os, char ret[5])
{
	return get_key(os, "key", ret);
}

START_TEST(a_get_that_hangs_is_asked_for_again_and_the_first_answer_counts)
{
	struct slow s = { .hang = 1 };
	struct object_store *os = hedged(&s, 20);
	struct object_hedge_counts c;
	char text[5];

	ck_ok(get(os, text));
	ck_assert_str_eq(text, "soon");
	object_hedge_read(os, &c);
	ck_assert_uint_eq(c.hedged, 1);
	ck_assert_uint_eq(c.won, 1);
	let_go(&s);
	object_free(os); /* waits for the one that hung */
	ck_assert_uint_eq(s.asked, 2);
	ck_assert_uint_eq(s.ended, 2);
}
END_TEST

/* Large gets take longer. */
struct sized {
	struct object_store os;
	atomic_uint large;
};

static int sized_get(struct object_store *os, const char *key, struct object_range range,
		     struct buf *ret)
{
	struct sized *s = container_of(os, struct sized, os);
	bool large = range.n > MIB;

	s->large += large;
	usleep(large ? 40000 : 1000);
	return buf_append(ret, "some", 4);
}

static void sized_free(struct object_store *os)
{
}

START_TEST(a_large_get_is_not_late_because_smaller_ones_are_quick)
{
	static const struct object_ops ops = { .get = sized_get, .free = sized_free };
	const struct object_hedge_opts opts = { .first_ms = 60000, .least_ms = 1 };
	struct sized s = { .os = { .ops = &ops } };
	struct object_store *os;
	unsigned large = 0;

	ck_ok(object_hedge_new(&opts, &s.os, &os));
	for (unsigned i = 0; i < 100; i++) {
		_cleanup_(buf_release) struct buf b = BUF_INIT;
		bool is_large = i % 25 == 24;

		large += is_large;
		ck_ok(object_get(
			os, "k",
			(struct object_range) { 0, is_large ? 4 * MIB : MIB / 2 }, &b));
	}
	ck_assert_uint_eq(s.large, large);
	object_free(os);
}
END_TEST

static void *let_go_of_two(void *arg)
{
	struct slow *s = arg;

	pthread_mutex_lock(&s->mutex);
	while (s->asked < 2)
		pthread_cond_wait(&s->cond, &s->mutex);
	pthread_mutex_unlock(&s->mutex);
	let_go(s);
	return NULL;
}

START_TEST(what_both_say_is_said_when_both_fail)
{
	struct slow s = { .hang = 2, .late = -E_REMOTE_AWAY };
	struct object_store *os = hedged(&s, 20);
	pthread_t thread;
	char text[5];

	ck_assert_int_eq(pthread_create(&thread, NULL, let_go_of_two, &s), 0);
	ck_assert_int_eq(get(os, text), -E_REMOTE_AWAY);
	ck_assert_ptr_nonnull(strstr(err_detail(), "failed")); /* in this thread, too */
	pthread_join(thread, NULL);
	object_free(os);
}
END_TEST

struct getter {
	pthread_t thread;
	struct object_store *os;
	int r;
};

static void *getter_main(void *arg)
{
	struct getter *g = arg;
	char text[5];

	g->r = get(g->os, text);
	return NULL;
}

START_TEST(a_bucket_that_hangs_whole_is_not_asked_twice_for_all)
{
	struct slow s = { .hang = UINT32_MAX };
	struct object_store *os = hedged(&s, 1);
	struct getter g[30];
	struct object_hedge_counts c;

	for (unsigned i = 0; i < ARRAY_LEN(g); i++) {
		g[i] = (struct getter) { .os = os };
		ck_assert_int_eq(pthread_create(&g[i].thread, NULL, getter_main, &g[i]),
				 0);
	}
	pthread_mutex_lock(&s.mutex);
	while (s.asked < ARRAY_LEN(g))
		pthread_cond_wait(&s.cond, &s.mutex);
	pthread_mutex_unlock(&s.mutex);
	let_go(&s);
	for (unsigned i = 0; i < ARRAY_LEN(g); i++) {
		pthread_join(g[i].thread, NULL);
		ck_assert_int_eq(g[i].r, 0);
	}
	object_hedge_read(os, &c);
	ck_assert_uint_le(c.hedged, 13); /* ten to begin with, and one of ten */
	object_free(os);
}
END_TEST

START_TEST(who_does_not_wait_any_longer_is_told_so)
{
	struct slow s = { .hang = UINT32_MAX };
	struct object_store *os = hedged(&s, 1000000);
	struct object_range range = { 0, 4 };
	struct buf b = BUF_INIT;

	ck_assert_int_eq(object_hedge_get_within(os, "key", range, 20, &b),
			 -E_REMOTE_AWAY);
	ck_assert_ptr_nonnull(strstr(err_detail(), "no answer"));
	let_go(&s);
	ck_ok(object_hedge_get_within(os, "key", range, 1000000, &b));
	object_free(os);
	ck_assert_uint_eq(s.ended, 2); /* the one that was left, too */
	buf_release(&b);
}
END_TEST

/* --- a bucket that is known to be away --- */

#define TRIES_OF_ONE 3u

static struct object_store *broken(struct slow *s, unsigned probe_ms)
{
	const struct object_retry_opts ro = { .tries = TRIES_OF_ONE, .seed = 7 };
	struct object_store *hedge = hedged(s, 1000000), *retry, *os;

	ck_ok(object_retry_new(&ro, hedge, &retry));
	ck_ok(object_breaker_new(probe_ms, hedge, retry, &os));
	return os;
}

static uint64_t mono_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

START_TEST(what_is_known_to_be_away_is_asked_once_and_comes_as_soon_as_it_is_back)
{
	struct slow s = { .fails = "" };
	struct object_store *os = broken(&s, 1000000);
	char text[5];

	ck_assert_int_eq(get(os, text), -E_REMOTE_AWAY);
	ck_assert_uint_eq(s.asked, TRIES_OF_ONE);
	ck_assert_int_eq(get(os, text), -E_REMOTE_AWAY);
	ck_assert_uint_eq(s.asked, TRIES_OF_ONE + 1);
	ck_assert_ptr_nonnull(strstr(err_detail(), "failed"));
	s.fails = NULL;
	ck_ok(get(os, text));
	ck_assert_str_eq(text, "soon");
	ck_assert_uint_eq(s.asked, TRIES_OF_ONE + 3); /* a small one first */
	ck_ok(get(os, text));
	ck_assert_uint_eq(s.asked, TRIES_OF_ONE + 4);
	object_free(os);
}
END_TEST

START_TEST(a_probe_that_hangs_is_not_waited_for_long)
{
	struct slow s = { .fails = "" };
	struct object_store *os = broken(&s, 20);
	char text[5];

	ck_assert_int_eq(get(os, text), -E_REMOTE_AWAY);
	s.hang = UINT32_MAX;
	ck_assert_int_eq(get(os, text), -E_REMOTE_AWAY); /* or it would hang for ever */
	s.fails = NULL;
	let_go(&s);
	object_free(os);
}
END_TEST

START_TEST(who_waited_while_it_failed_is_not_made_to_wait_again)
{
	struct slow s = { .fails = "" };
	struct object_store *os = broken(&s, 1000000);
	uint64_t before = mono_ns();
	char text[5];

	ck_assert_int_eq(get(os, text), -E_REMOTE_AWAY);
	object_asked_at(before);
	ck_assert_int_eq(get(os, text), -E_REMOTE_AWAY);
	ck_assert_uint_eq(s.asked, TRIES_OF_ONE);
	ck_assert_ptr_nonnull(strstr(err_detail(), "failed"));
	/* Of another object that says nothing yet; of any, once it is two. */
	ck_assert_int_eq(get_key(os, "other", text), -E_REMOTE_AWAY);
	ck_assert_uint_eq(s.asked, TRIES_OF_ONE + 1);
	ck_assert_int_eq(get_key(os, "third", text), -E_REMOTE_AWAY);
	ck_assert_uint_eq(s.asked, TRIES_OF_ONE + 1);
	object_asked_at(0);
	s.fails = NULL;
	ck_ok(get_key(os, "third", text));
	object_free(os);
}
END_TEST

START_TEST(an_object_that_fails_does_not_keep_others_away)
{
	struct slow s = { .fails = "bad" };
	struct object_store *os = broken(&s, 1000000);
	unsigned was;
	char text[5];

	ck_assert_int_eq(get_key(os, "bad", text), -E_REMOTE_AWAY);
	ck_ok(get_key(os, "good", text));
	was = s.asked;
	ck_ok(get_key(os, "fine",
		      text)); /* the answer before said that the bucket is there */
	ck_assert_uint_eq(s.asked, was + 1);
	ck_assert_int_eq(get_key(os, "bad", text), -E_REMOTE_AWAY);
	ck_assert_uint_eq(s.asked, was + 2);
	object_free(os);
}
END_TEST

/* Its small gets are answered, so that a probe of a byte says nothing. */
START_TEST(a_bucket_that_answers_a_byte_and_no_more_is_not_waited_for_with_all_tries)
{
	struct slow s = { .large_fail = true };
	struct object_store *os = broken(&s, 20);
	uint64_t before;
	unsigned was;
	char text[5];

	ck_assert_int_eq(get(os, text), -E_REMOTE_AWAY);
	do { /* until the byte was answered in time */
		was = s.asked;
		ck_assert_int_eq(get(os, text), -E_REMOTE_AWAY);
	} while (s.asked - was < 1 + TRIES_OF_ONE);
	pthread_mutex_lock(&s.mutex);
	s.large_hang = true;
	was = s.asked;
	pthread_mutex_unlock(&s.mutex);
	before = mono_ns();
	ck_assert_int_eq(get(os, text), -E_REMOTE_AWAY);
	ck_assert_ptr_nonnull(strstr(err_detail(), "no answer"));
	ck_assert_int_eq(get_key(os, "other", text), -E_REMOTE_AWAY);
	pthread_mutex_lock(&s.mutex);
	ck_assert_uint_eq(s.asked, was + 2); /* once each */
	pthread_mutex_unlock(&s.mutex);
	object_asked_at(before); /* who waited meanwhile is told at once */
	ck_assert_int_eq(get(os, text), -E_REMOTE_AWAY);
	object_asked_at(0);
	pthread_mutex_lock(&s.mutex);
	ck_assert_uint_eq(s.asked, was + 2);
	s.large_fail = s.large_hang = false;
	pthread_mutex_unlock(&s.mutex);
	let_go(&s);
	while (get(os, text) < 0)
		;
	ck_assert_str_eq(text, "soon");
	object_free(os);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("object_hedge");
	TCase *t = tcase_create("object_hedge");

	tcase_set_timeout(t, 60);
	tcase_add_test(t,
		       a_get_that_hangs_is_asked_for_again_and_the_first_answer_counts);
	tcase_add_test(t, a_large_get_is_not_late_because_smaller_ones_are_quick);
	tcase_add_test(t, what_both_say_is_said_when_both_fail);
	tcase_add_test(t, a_bucket_that_hangs_whole_is_not_asked_twice_for_all);
	tcase_add_test(t, who_does_not_wait_any_longer_is_told_so);
	tcase_add_test(
		t,
		what_is_known_to_be_away_is_asked_once_and_comes_as_soon_as_it_is_back);
	tcase_add_test(t, a_probe_that_hangs_is_not_waited_for_long);
	tcase_add_test(t, who_waited_while_it_failed_is_not_made_to_wait_again);
	tcase_add_test(t, an_object_that_fails_does_not_keep_others_away);
	tcase_add_test(
		t,
		a_bucket_that_answers_a_byte_and_no_more_is_not_waited_for_with_all_tries);
	suite_add_tcase(s, t);
	return suite_main(s);
}
