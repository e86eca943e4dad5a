/* test_object_hedge.c - a second get when the first takes long: against a store whose gets hang
 * until the test lets them go. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

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
	while (mine < s->hang && !s->let_go)
		pthread_cond_wait(&s->cond, &s->mutex);
	if (mine < s->hang)
		r = s->late;
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

static int get(struct object_store *os, char ret[5])
{
	struct buf b = BUF_INIT;
	int r = object_get(os, "key", (struct object_range) { 0, 4 }, &b);

	ck_assert(r < 0 || b.n == 4);
	if (r == 0)
		memcpy(ret, b.p, 4);
	ret[4] = '\0';
	buf_release(&b);
	return r;
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

int main(void)
{
	Suite *s = suite_create("object_hedge");
	TCase *t = tcase_create("object_hedge");

	tcase_set_timeout(t, 60);
	tcase_add_test(t,
		       a_get_that_hangs_is_asked_for_again_and_the_first_answer_counts);
	tcase_add_test(t, what_both_say_is_said_when_both_fail);
	tcase_add_test(t, a_bucket_that_hangs_whole_is_not_asked_twice_for_all);
	suite_add_tcase(s, t);
	return suite_main(s);
}
