/* test_object.c - what every object store promises (core/tier/object.h), held against a folder,
 * or against the bucket that the environment names: OBJECT_URL, OBJECT_ENDPOINT and the AWS
 * variables. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/base/err.h"
#include "core/keys/keys.h"
#include "tests/lib/object_fault.h"
#include "tests/lib/suite.h"

#define RACES 200

static struct object_store *store_open_again(void)
{
	static char dir[4200];
	struct object_opts opts = {
		.url = getenv("OBJECT_URL"),
		.endpoint = getenv("OBJECT_ENDPOINT"),
		.access_key = getenv("AWS_ACCESS_KEY_ID"),
		.secret_key = getenv("AWS_SECRET_ACCESS_KEY"),
		.session_token = getenv("AWS_SESSION_TOKEN"),
		.ca_file = getenv("OBJECT_CA_FILE"),
		.virtual_host = getenv("OBJECT_VIRTUAL_HOST") != NULL,
		.signature_v2 = getenv("OBJECT_SIGNATURE_V2") != NULL,
	};
	struct object_store *os;

	if (!opts.url) {
		if (!*dir)
			snprintf(dir, sizeof(dir), "file://%s", suite_tmpdir());
		opts.url = dir;
	}
	ck_ok(keys_init_library());
	ck_ok(object_open(&opts, &os));
	return os;
}

/* Keys of one test begin with its own word, since a bucket outlives a test. */
static const char *key(const char *name)
{
	static _Thread_local char text[8][128];
	static _Thread_local unsigned turn;
	char *at = text[turn++ % 8];

	snprintf(at, sizeof(text[0]), "t%llx-%d/%s", (unsigned long long)suite_seed(),
		 (int)getpid(), name);
	return at;
}

static int put_text(struct object_store *os, const char *name, const char *text,
		    unsigned flags)
{
	struct span bytes = SPAN_STR(text);
	struct object_body body = object_body_of(&bytes);

	return object_put(os, key(name), &body, flags);
}

static void ck_holds(struct object_store *os, const char *name, struct object_range range,
		     const char *want)
{
	struct buf got = BUF_INIT;

	ck_ok(object_get(os, key(name), range, &got));
	ck_assert_uint_eq(got.n, strlen(want));
	ck_assert(got.n == 0 || memcmp(got.p, want, got.n) == 0);
	buf_release(&got);
}

#define ALL ((struct object_range) { 0, 0 })

START_TEST(an_object_is_got_back_whole_and_in_ranges)
{
	struct object_store *os = store_open_again();
	struct buf none = BUF_INIT;
	uint64_t bytes;

	ck_ok(put_text(os, "a/b", "0123456789", 0));
	ck_holds(os, "a/b", ALL, "0123456789");
	ck_holds(os, "a/b", (struct object_range) { 3, 4 }, "3456");
	ck_holds(os, "a/b", (struct object_range) { 9, 1 }, "9");
	ck_holds(os, "a/b", (struct object_range) { 7, 0 }, "789");
	ck_ok(object_head(os, key("a/b"), &bytes));
	ck_assert_uint_eq(bytes, 10);
	ck_assert_int_eq(
		object_get(os, key("a/b"), (struct object_range) { 8, 4 }, &none),
		-ENODATA);
	ck_assert_uint_eq(none.n, 0);
	object_free(os);
}
END_TEST

/* OBJECT_UNCONDITIONAL: the server is known to have no conditional put. */
static bool creates(struct object_store *os)
{
	return (object_capabilities(os) & OBJECT_CREATES) &&
	       !getenv("OBJECT_UNCONDITIONAL");
}

START_TEST(a_put_replaces_and_if_absent_does_not)
{
	struct object_store *os = store_open_again();

	ck_ok(put_text(os, "x", "one", 0));
	ck_ok(put_text(os, "x", "two", 0));
	ck_holds(os, "x", ALL, "two");
	if (creates(os)) {
		ck_assert_int_eq(put_text(os, "x", "three", OBJECT_IF_ABSENT), -EEXIST);
		ck_holds(os, "x", ALL, "two");
		ck_ok(put_text(os, "y", "new", OBJECT_IF_ABSENT));
		ck_holds(os, "y", ALL, "new");
	} else {
		ck_assert_int_eq(put_text(os, "y", "new", OBJECT_IF_ABSENT), -E_REMOTE);
	}
	object_free(os);
}
END_TEST

START_TEST(what_is_not_there_is_no_entry_and_removing_it_is_fine)
{
	struct object_store *os = store_open_again();
	struct buf got = BUF_INIT;
	uint64_t bytes;

	ck_assert_int_eq(object_get(os, key("none"), ALL, &got), -ENOENT);
	ck_assert_int_eq(object_get(os, key("a/none"), ALL, &got), -ENOENT);
	ck_assert_int_eq(object_head(os, key("none"), &bytes), -ENOENT);
	ck_ok(object_del(os, key("none")));
	ck_ok(put_text(os, "gone", "x", 0));
	ck_ok(object_del(os, key("gone")));
	ck_assert_int_eq(object_head(os, key("gone"), &bytes), -ENOENT);
	object_free(os);
}
END_TEST

START_TEST(an_empty_and_a_large_object_are_kept_as_they_are)
{
	struct object_store *os = store_open_again();
	struct rng rng = rng_seeded(suite_seed());
	struct buf big = BUF_INIT, got = BUF_INIT;
	struct object_body body;
	struct span bytes;

	ck_ok(put_text(os, "empty", "", 0));
	ck_holds(os, "empty", ALL, "");
	ck_ok(buf_reserve(&big, 9000001));
	big.n = 9000001;
	rng_fill(&rng, big.p, big.n);
	bytes = buf_span(&big);
	body = object_body_of(&bytes);
	ck_ok(object_put(os, key("big"), &body, 0));
	ck_ok(object_get(os, key("big"), ALL, &got));
	ck_assert_uint_eq(got.n, big.n);
	ck_assert(memcmp(got.p, big.p, big.n) == 0);
	buf_release(&big);
	buf_release(&got);
	object_free(os);
}
END_TEST

struct heard {
	char names[4096];
	unsigned n;
};

static int hear(void *arg, const char *name, uint64_t bytes)
{
	struct heard *h = arg;

	h->n++;
	if (strlen(h->names) < 3000) {
		strcat(h->names, strchr(name, '/') + 1);
		strcat(h->names, " ");
	}
	return 0;
}

START_TEST(a_listing_is_sorted_begins_behind_a_key_and_knows_only_its_prefix)
{
	struct object_store *os = store_open_again();
	char prefix[128], after[128];
	struct heard h = { 0 };
	struct object_listing what = { prefix, after, hear, &h };

	ck_ok(put_text(os, "l/2", "x", 0));
	ck_ok(put_text(os, "l/10", "x", 0));
	ck_ok(put_text(os, "l/1/x", "x", 0));
	ck_ok(put_text(os, "l-other", "x", 0));
	ck_ok(put_text(os, "m", "x", 0));
	snprintf(prefix, sizeof(prefix), "%s", key("l/"));
	*after = '\0';
	ck_ok(object_list(os, &what));
	ck_assert_str_eq(h.names, "l/1/x l/10 l/2 ");
	h = (struct heard) { 0 };
	snprintf(after, sizeof(after), "%s", key("l/10"));
	ck_ok(object_list(os, &what));
	ck_assert_str_eq(h.names, "l/2 ");
	object_free(os);
}
END_TEST

static int hear_whole(void *arg, const char *name, uint64_t bytes)
{
	struct heard *h = arg;

	h->n++;
	snprintf(h->names + strlen(h->names), 200, "%s ", strrchr(name, '/') + 1);
	return 0;
}

START_TEST(a_listing_of_folders_has_each_once_and_no_object)
{
	struct object_store *os = store_open_again();
	char prefix[128], after[128] = "";
	struct heard h = { 0 };
	struct object_listing what = { prefix, after, hear_whole, &h, true };

	ck_ok(put_text(os, "f/b/1/x", "x", 0));
	ck_ok(put_text(os, "f/b/2", "x", 0));
	ck_ok(put_text(os, "f/a/3", "x", 0));
	ck_ok(put_text(os, "f/c/4", "x", 0));
	ck_ok(put_text(os, "f/plain", "x", 0));
	snprintf(prefix, sizeof(prefix), "%s", key("f/"));
	ck_ok(object_list(os, &what));
	ck_assert_str_eq(h.names, "a b c ");
	h = (struct heard) { 0 };
	snprintf(after, sizeof(after), "%s", key("f/a"));
	ck_ok(object_list(os, &what));
	ck_assert_str_eq(h.names, "b c ");
	object_free(os);
}
END_TEST

START_TEST(a_listing_of_more_than_a_page_is_complete)
{
	struct object_store *os = store_open_again();
	char prefix[128], name[32];
	struct heard h = { 0 };
	struct object_listing what = { prefix, "", hear, &h };

	for (unsigned i = 0; i < 1003; i++) {
		snprintf(name, sizeof(name), "many/%04u", i);
		ck_ok(put_text(os, name, "", 0));
	}
	snprintf(prefix, sizeof(prefix), "%s", key("many/"));
	ck_ok(object_list(os, &what));
	ck_assert_uint_eq(h.n, 1003);
	object_free(os);
}
END_TEST

struct racer {
	struct object_store *os;
	pthread_barrier_t *start;
	const char *text, *key;
	int r;
};

static void *race(void *arg)
{
	struct racer *me = arg;
	struct span bytes = SPAN_STR(me->text);
	struct object_body body = object_body_of(&bytes);

	pthread_barrier_wait(me->start);
	me->r = object_put(me->os, me->key, &body, OBJECT_IF_ABSENT);
	return NULL;
}

START_TEST(of_two_that_create_the_same_object_exactly_one_wins)
{
	struct object_store *os = store_open_again();
	pthread_barrier_t start;

	if (!(creates(os))) {
		object_free(os);
		return;
	}
	pthread_barrier_init(&start, NULL, 2);
	for (unsigned i = 0; i < RACES; i++) {
		struct racer two[2];
		pthread_t threads[2];
		char name[32], at[128];

		snprintf(name, sizeof(name), "race/%u", i);
		snprintf(at, sizeof(at), "%s", key(name));
		for (unsigned k = 0; k < 2; k++) {
			two[k] = (struct racer) { os, &start, k ? "right" : "left", at,
						  0 };
			pthread_create(&threads[k], NULL, race, &two[k]);
		}
		for (unsigned k = 0; k < 2; k++)
			pthread_join(threads[k], NULL);
		ck_assert_int_eq(MIN(two[0].r, two[1].r), -EEXIST);
		ck_assert_int_eq(MAX(two[0].r, two[1].r), 0);
		ck_holds(os, name, ALL, two[0].r == 0 ? "left" : "right");
	}
	pthread_barrier_destroy(&start);
	object_free(os);
}
END_TEST

/* --- wrappers --- */

/* --- many threads at once --- */

#define THREADS 16u
#define ROUNDS	5u

struct user {
	struct object_store *os;
	char text[16];
	pthread_t thread;
	bool ok;
};

static bool put_and_get(struct user *u, const char *name)
{
	struct span bytes = SPAN_STR(u->text);
	struct object_body body = object_body_of(&bytes);
	struct buf got = BUF_INIT;
	uint64_t n = 0;
	bool ok;

	ok = object_put(u->os, name, &body, 0) == 0 &&
	     object_get(u->os, name, (struct object_range) { 1, 3 }, &got) == 0 &&
	     got.n == 3 && !memcmp(got.p, u->text + 1, 3) &&
	     object_head(u->os, name, &n) == 0 && n == bytes.n &&
	     object_del(u->os, name) == 0;
	buf_release(&got);
	return ok;
}

static void *user_main(void *arg)
{
	struct user *u = arg;
	char name[128];

	u->ok = true;
	for (unsigned i = 0; i < ROUNDS && u->ok; i++) {
		snprintf(name, sizeof(name), "%s%s-%u", key("threads/"), u->text, i);
		u->ok = put_and_get(u, name);
	}
	return NULL;
}

START_TEST(sixteen_threads_get_what_is_theirs)
{
	const struct object_retry_opts opts = { .tries = 5, .base_ms = 10, .seed = 7 };
	struct object_store *os;
	struct user users[THREADS];

	ck_ok(object_retry_new(&opts, store_open_again(), &os));
	for (unsigned i = 0; i < THREADS; i++) {
		users[i].os = os;
		snprintf(users[i].text, sizeof(users[i].text), "user-%04u", i);
		ck_assert_int_eq(
			pthread_create(&users[i].thread, NULL, user_main, &users[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(users[i].thread, NULL);
		ck_assert(users[i].ok);
	}
	object_free(os);
}
END_TEST

struct plan {
	unsigned failures; /* of the next requests */
	bool after; /* they were done all the same */
	unsigned asked;
};

static int fails(void *arg, const char *what, const char *at, bool done)
{
	struct plan *p = arg;

	p->asked += !done;
	if (done != p->after || !p->failures)
		return 0;
	p->failures--;
	return -E_REMOTE_AWAY;
}

static struct object_store *retrying(struct plan *plan, const atomic_bool *cancel)
{
	const struct object_fault fault = { fails, plan };
	const struct object_retry_opts opts = {
		.tries = 5, .base_ms = 1, .pause_max_ms = 4, .seed = 7, .cancel = cancel
	};
	struct object_store *os;

	ck_ok(object_retry_new(&opts, object_fault_new(&fault, store_open_again()), &os));
	return os;
}

START_TEST(a_failed_request_is_tried_again_but_not_for_ever)
{
	struct plan plan = { .failures = 4 };
	struct object_store *os = retrying(&plan, NULL);

	ck_ok(put_text(os, "r", "text", 0));
	ck_assert_uint_eq(plan.asked, 5);
	plan = (struct plan) { .failures = 5 };
	ck_assert_int_eq(put_text(os, "r", "other", 0), -E_REMOTE_AWAY);
	ck_assert_uint_eq(plan.asked, 5);
	ck_holds(os, "r", ALL, "text");
	plan = (struct plan) { .failures = 2, .after = true };
	ck_holds(os, "r", ALL, "text");
	object_free(os);
}
END_TEST

START_TEST(no_try_begins_when_the_time_for_all_is_over)
{
	const atomic_bool never = false;
	struct plan plan = { .failures = 1000000 };
	const struct object_fault fault = { fails, &plan };
	/* Each pause is random below a day: that of the second is longer than that. */
	const struct object_retry_opts opts = { .tries = 1000000,
						.base_ms = 86400000,
						.pause_max_ms = 86400000,
						.budget_ms = 1,
						.seed = 7,
						.cancel = &never };
	struct object_store *os;

	ck_ok(object_retry_new(&opts, object_fault_new(&fault, store_open_again()), &os));
	ck_assert_int_eq(put_text(os, "b", "text", 0), -E_REMOTE_AWAY);
	ck_assert_uint_eq(plan.asked, 1);
	object_free(os);
}
END_TEST

START_TEST(a_put_whose_answer_was_lost_tells_that_the_object_is_there)
{
	struct plan plan = { .failures = 1, .after = true };
	struct object_store *os = retrying(&plan, NULL);

	if (creates(os))
		ck_assert_int_eq(put_text(os, "lost", "text", OBJECT_IF_ABSENT), -EEXIST);
	object_free(os);
}
END_TEST

START_TEST(a_pause_ends_when_it_is_cancelled)
{
	atomic_bool cancel = true;
	struct plan plan = { .failures = 1000000 };
	struct object_store *os = retrying(&plan, &cancel);

	ck_assert_int_eq(put_text(os, "c", "text", 0), -ECANCELED);
	ck_assert_uint_eq(plan.asked, 1);
	object_free(os);
}
END_TEST

START_TEST(requests_and_bytes_are_counted)
{
	const struct object_meter_opts opts = { 0 };
	struct object_counts c;
	struct object_store *os;
	uint64_t bytes;

	ck_ok(object_meter_new(&opts, store_open_again(), &os));
	ck_ok(put_text(os, "m", "12345", 0));
	ck_holds(os, "m", (struct object_range) { 1, 2 }, "23");
	ck_assert_int_eq(object_head(os, key("m-none"), &bytes), -ENOENT);
	ck_ok(object_del(os, key("m")));
	object_meter_read(os, &c);
	ck_assert_uint_eq(c.puts, 1);
	ck_assert_uint_eq(c.gets, 1);
	ck_assert_uint_eq(c.heads, 1);
	ck_assert_uint_eq(c.dels, 1);
	ck_assert_uint_eq(c.failed, 0);
	ck_assert_uint_eq(c.put_bytes, 5);
	ck_assert_uint_eq(c.got_bytes, 2);
	object_free(os);
}
END_TEST

/* A store that takes the body as a bucket does, and notes when how much came. */
struct line {
	struct object_store os;
	struct {
		uint64_t ns;
		size_t n;
	} at[4096];
	size_t n;
};

static int line_put(struct object_store *os, const char *name,
		    const struct object_body *body, unsigned flags)
{
	struct line *l = container_of(os, struct line, os);
	uint8_t piece[65536];

	for (uint64_t off = 0; off < body->bytes;) {
		ssize_t n = object_body_pace(body, MIN(sizeof(piece), body->bytes - off));
		struct timespec t;

		ck_ok(n);
		ck_assert_uint_lt(l->n, ARRAY_LEN(l->at));
		ck_ok(body->read(body->arg, piece, (size_t)n, off));
		clock_gettime(CLOCK_MONOTONIC, &t);
		l->at[l->n].ns = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
		l->at[l->n++].n = (size_t)n;
		off += (uint64_t)n;
	}
	return 0;
}

static void line_free(struct object_store *os)
{
}

START_TEST(a_rate_holds_within_a_second_too)
{
	const uint64_t rate = 1 << 20;
	const struct object_meter_opts opts = { .bytes_per_s = rate };
	const struct object_ops ops = { .put = line_put, .free = line_free };
	static struct line l;
	static uint8_t bytes[1 << 19];
	struct span body_bytes = { bytes, sizeof(bytes) };
	struct object_body body = object_body_of(&body_bytes);
	struct object_store *os;

	l.os.ops = &ops;
	ck_ok(object_meter_new(&opts, &l.os, &os));
	ck_ok(object_put(os, "k", &body, 0));
	ck_ok(object_put(os, "k", &body, 0));
	/* In any stretch of time no more than the rate, what a late pause is made up for
	 * (0.1 s), and a piece at either end. */
	for (size_t i = 0; i < l.n; i++) {
		uint64_t sum = 0;

		for (size_t k = i; k < l.n; k++) {
			uint64_t ms = (l.at[k].ns - l.at[i].ns) / 1000000 + 1;

			sum += l.at[k].n;
			ck_assert_uint_le(sum, rate * (ms + 100) / 1000 + 3 * 65536);
		}
	}
	object_free(os);
}
END_TEST

static int line_get(struct object_store *os, const char *key, struct object_range range,
		    struct buf *ret)
{
	static const uint8_t bytes[65536];

	return buf_append(ret, bytes, sizeof(bytes));
}

START_TEST(a_rate_holds_for_what_is_got)
{
	const struct object_meter_opts opts = { .got_per_s = 1 << 19 };
	const struct object_ops ops = { .get = line_get, .free = line_free };
	_cleanup_(buf_release) struct buf b = BUF_INIT;
	struct timespec began, ended;
	static struct line l;
	struct object_store *os;
	int64_t ms;

	l.os.ops = &ops;
	ck_ok(object_meter_new(&opts, &l.os, &os));
	clock_gettime(CLOCK_MONOTONIC, &began);
	for (unsigned i = 0; i < 4; i++)
		ck_ok(object_get(os, "k", (struct object_range) { 0, 0 }, &b));
	clock_gettime(CLOCK_MONOTONIC, &ended);
	ms = (ended.tv_sec - began.tv_sec) * 1000 +
	     (ended.tv_nsec - began.tv_nsec) / 1000000;
	/* Each waits until those before it have passed: three times 125 ms, less what a late
	 * pause is made up for. */
	ck_assert_int_ge(ms, 3 * 125 - 100 - 4);
	object_free(os);
}
END_TEST

START_TEST(keys_and_places_that_cannot_be_meant_are_refused)
{
	static const char *const bad[] = { "",	 "/a",	 "a/",	"a//b",
					   ".a", "a/.b", "a b", "a+b" };
	static const char *const urls[] = { "http://x", "file://relative", "s3://",
					    "s3://b/a b", "s3://b//" };
	struct object_store *os;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		ck_assert_msg(!object_key_ok(bad[i]), "%s", bad[i]);
	ck_assert(object_key_ok("A0/b_c-d.e"));
	for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
		const struct object_opts opts = { .url = urls[i] };

		ck_assert_msg(object_open(&opts, &os) < 0, "%s", urls[i]);
		ck_assert_str_ne(err_detail(), "");
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("object");
	TCase *t = tcase_create("first"), *more = tcase_create("more");

	tcase_set_timeout(t, 60);
	tcase_set_timeout(more, 300);
	tcase_add_test(t, an_object_is_got_back_whole_and_in_ranges);
	tcase_add_test(t, a_put_replaces_and_if_absent_does_not);
	tcase_add_test(t, what_is_not_there_is_no_entry_and_removing_it_is_fine);
	tcase_add_test(t, an_empty_and_a_large_object_are_kept_as_they_are);
	tcase_add_test(t,
		       a_listing_is_sorted_begins_behind_a_key_and_knows_only_its_prefix);
	tcase_add_test(more, a_listing_of_folders_has_each_once_and_no_object);
	tcase_add_test(more, a_listing_of_more_than_a_page_is_complete);
	tcase_add_test(more, of_two_that_create_the_same_object_exactly_one_wins);
	tcase_add_test(t, sixteen_threads_get_what_is_theirs);
	tcase_add_test(t, a_failed_request_is_tried_again_but_not_for_ever);
	tcase_add_test(t, no_try_begins_when_the_time_for_all_is_over);
	tcase_add_test(t, a_put_whose_answer_was_lost_tells_that_the_object_is_there);
	tcase_add_test(t, a_pause_ends_when_it_is_cancelled);
	tcase_add_test(t, requests_and_bytes_are_counted);
	tcase_add_test(t, a_rate_holds_within_a_second_too);
	tcase_add_test(t, a_rate_holds_for_what_is_got);
	tcase_add_test(t, keys_and_places_that_cannot_be_meant_are_refused);
	suite_add_tcase(s, t);
	suite_add_tcase(s, more);
	return suite_main(s);
}
