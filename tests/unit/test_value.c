/* test_value.c - files as values: etags, numbers, JSON patches; strides and moves; what a
 * transaction refuses and restores. On a store in a folder, with its threads. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/ropefs.h"
#include "tests/lib/suite.h"

static struct ropefs *fs;
static char store[4200], key[4200];

static void open_store(void)
{
	ck_ok(ropefs_open(store, &(struct ropefs_opts) { .key_file = key }, &fs));
}

static void setup(void)
{
	static unsigned n;

	snprintf(store, sizeof(store), "%s/store%u", suite_tmpdir(), n);
	snprintf(key, sizeof(key), "%s/key%u", suite_tmpdir(), n++);
	ck_ok(ropefs_init(store, &(struct ropefs_init_opts) { .key_file = key }, NULL));
	open_store();
}

static void teardown(void)
{
	ck_ok(ropefs_close(fs));
}

static uint64_t make(const char *name, const char *text)
{
	struct ropefs_new what = { .mode = S_IFREG | 0644 };
	struct ropefs_attr a;

	ck_ok(ropefs_create(fs, ROPEFS_ROOT_INO, ropefs_name(name), &what, &a));
	ck_ok(ropefs_write(fs, a.ino, 0, text, strlen(text), 0, NULL));
	return a.ino;
}

static const char *text_of(uint64_t ino)
{
	static char text[4096];
	ssize_t n = ropefs_read(fs, ino, 0, text, sizeof(text) - 1, 0);

	ck_ok(n);
	text[n] = '\0';
	return text;
}

#define ck_text(ino, want) ck_assert_str_eq(text_of(ino), want)

/* --- etags --- */

static char last_etag[ROPEFS_ETAG_MAX];

static void etag_changed(uint64_t ino, bool want)
{
	char etag[ROPEFS_ETAG_MAX];

	ck_ok(ropefs_etag(fs, ino, etag));
	ck_assert_int_eq(strcmp(etag, last_etag) != 0, want);
	strcpy(last_etag, etag);
}

START_TEST(an_etag_changes_with_the_bytes_and_with_nothing_else)
{
	uint64_t ino = make("f", "abcdef"), other = make("g", "xyz");
	struct ropefs_attr to = { .mode = 0600 };

	etag_changed(ino, true);
	ck_ok(ropefs_setattr(fs, ino, &to, ROPEFS_SET_MODE | ROPEFS_SET_MTIME, NULL));
	ck_ok(ropefs_setxattr(fs, ino, "user.a", "b", 1, 0));
	ck_ok(ropefs_rename(fs, ROPEFS_ROOT_INO, ropefs_name("f"), ROPEFS_ROOT_INO,
			    ropefs_name("h"), 0));
	etag_changed(ino, false);
	ck_ok(ropefs_write(fs, ino, 0, "a", 1, 0, NULL));
	etag_changed(ino, true);
	ck_ok(ropefs_insert(fs, ino, 0, "a", 1, 0));
	etag_changed(ino, true);
	ck_ok(ropefs_cut(fs, ino, 0, 1));
	etag_changed(ino, true);
	ck_ok(ropefs_truncate(fs, ino, 3));
	etag_changed(ino, true);
	ck_ok(ropefs_punch(fs, ino, 0, 1, true));
	etag_changed(ino, true);
	ck_ok(ropefs_move(fs, (struct ropefs_range) { other, 0, 0 },
			  (struct ropefs_range) { ino, 0, 1 }));
	etag_changed(ino, true);
	ck_ok(ropefs_put(fs, ino, NULL, "new", 3, NULL));
	etag_changed(ino, true);
	ck_ok(ropefs_close(fs));
	open_store();
	etag_changed(ino, false);
}
END_TEST

START_TEST(a_value_is_put_only_over_what_was_read)
{
	uint64_t ino = make("f", "one"), from = make("g", "three, by reference");
	char etag[ROPEFS_ETAG_MAX], old[ROPEFS_ETAG_MAX];
	char *p;
	size_t n;
	int r;

	ck_ok(ropefs_value(fs, ino, &p, &n, old));
	ck_assert_str_eq(p, "one");
	free(p);
	ck_ok(ropefs_put(fs, ino, old, "two", 3, etag));
	r = ropefs_put(fs, ino, old, "lost", 4, NULL);
	ck_assert_int_eq(ropefs_error_errno(r), EBUSY);
	ck_assert_ptr_nonnull(strstr(ropefs_error(), "changed meanwhile"));
	r = ropefs_replace_if(fs, ino, old, from, NULL);
	ck_assert_int_eq(ropefs_error_errno(r), EBUSY);
	ck_text(ino, "two");
	ck_ok(ropefs_replace_if(fs, ino, etag, from, NULL));
	ck_text(ino, "three, by reference");
	ck_assert_int_eq(ropefs_put(fs, ino, NULL, p, ROPEFS_WRITE_MAX + 1, NULL),
			 -EFBIG);
	ck_assert_int_eq(ropefs_put(fs, ROPEFS_ROOT_INO, NULL, "", 0, NULL), -EISDIR);
}
END_TEST

/* --- numbers --- */

START_TEST(numbers_are_added_within_64_bits)
{
	uint64_t ino = make("n", "");
	int64_t n;

	ck_ok(ropefs_number(fs, ino, &n));
	ck_assert_int_eq(n, 0);
	ck_ok(ropefs_add(fs, ino, 41, NULL));
	ck_ok(ropefs_add(fs, ino, 1, &n));
	ck_assert_int_eq(n, 42);
	ck_text(ino, "42\n");
	ck_ok(ropefs_add(fs, ino, -142, &n));
	ck_text(ino, "-100\n");
	ck_ok(ropefs_put(fs, ino, NULL, "  9223372036854775806 \n", 22, NULL));
	ck_ok(ropefs_add(fs, ino, 1, &n));
	ck_assert_int_eq(n, INT64_MAX);
	ck_assert_int_eq(ropefs_add(fs, ino, 1, NULL), -ERANGE);
	ck_text(ino, "9223372036854775807\n");
	ck_ok(ropefs_put(fs, ino, NULL, "-9223372036854775808", 20, NULL));
	ck_assert_int_eq(ropefs_add(fs, ino, -1, NULL), -ERANGE);
	ck_ok(ropefs_add(fs, ino, 0, &n));
	ck_assert_int_eq(n, INT64_MIN);
}
END_TEST

START_TEST(what_is_no_number_is_left_alone)
{
	static const char *const bad[] = { "x", "1 2", "1.5",  "--1",
					   "+", " ",   "0x10", "9223372036854775808" };
	int64_t n;

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		char name[8];
		uint64_t ino;

		snprintf(name, sizeof(name), "n%zu", i);
		ino = make(name, bad[i]);
		ck_assert_int_lt(ropefs_number_parse(bad[i], strlen(bad[i]), &n), 0);
		ck_assert_int_eq(ropefs_add(fs, ino, 1, NULL), -EINVAL);
		ck_assert_int_eq(ropefs_number(fs, ino, &n), -EINVAL);
		ck_text(ino, bad[i]);
	}
	ck_ok(ropefs_number_parse(" +7\n", 4, &n));
	ck_assert_int_eq(n, 7);
}
END_TEST

#define ADDERS 4
#define ADDS   150

static void *adder_main(void *arg)
{
	uint64_t ino = *(const uint64_t *)arg;
	intptr_t failed = 0;

	for (int i = 0; i < ADDS; i++)
		failed += ropefs_add(fs, ino, 3, NULL) < 0;
	return (void *)failed;
}

START_TEST(no_addition_is_lost_among_many)
{
	uint64_t ino = make("n", "0");
	pthread_t threads[ADDERS];
	void *failed;
	int64_t n;

	for (int i = 0; i < ADDERS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, adder_main, &ino), 0);
	for (int i = 0; i < ADDERS; i++) {
		pthread_join(threads[i], &failed);
		ck_assert_ptr_null(failed);
	}
	ck_ok(ropefs_number(fs, ino, &n));
	ck_assert_int_eq(n, 3 * ADDERS * ADDS);
}
END_TEST

/* --- JSON Patch: what it does with JSON is in test_patch.c --- */

static const struct {
	const char *doc, *patch, *want; /* want NULL: refused */
} patches[] = {
	{ "{\"a\":1}", "[{\"op\":\"add\",\"path\":\"/b\",\"value\":2}]",
	  "{\"a\":1,\"b\":2}\n" },
	{ "{\"a\":1}",
	  "[{\"op\":\"add\",\"path\":\"/b\",\"value\":2},"
	  "{\"op\":\"test\",\"path\":\"/a\",\"value\":2}]",
	  NULL },
	{ "[1]", "[{\"op\":\"add\",", NULL },
	{ "", "[]", NULL },
};

START_TEST(a_patch_is_applied_whole_or_not_at_all)
{
	uint64_t ino = make("j", "");

	for (size_t i = 0; i < sizeof(patches) / sizeof(*patches); i++) {
		const char *doc = patches[i].doc, *patch = patches[i].patch;
		const char *want = patches[i].want;
		int r;

		ck_ok(ropefs_put(fs, ino, NULL, doc, strlen(doc), NULL));
		r = ropefs_patch(fs, ino, patch, strlen(patch));
		ck_assert_msg(r == (want ? 0 : -EINVAL), "%s, patched by %s: %d %s", doc,
			      patch, r, ropefs_error());
		if (!want)
			ck_assert_str_ne(ropefs_error(), "");
		ck_text(ino, want ? want : doc);
	}
}
END_TEST

/* --- strides and moves --- */

START_TEST(strides_are_read_written_inserted_and_cut)
{
	uint64_t ino = make("s", "aa--bb--cc--d");
	struct ropefs_stride s = { 0, 2, 4, 0 }, dashes = { 2, 2, 4, 0 };
	struct ropefs_stride beyond = { 12, 2, 4, 0 };
	struct ropefs_stride bad = { 0, 5, 4, 0 }, two = { 4, 2, 4, 10 };
	struct ropefs_stride short_one = { 4, 2, 4, 9 };
	char got[32] = "";
	uint64_t n;

	ck_ok(ropefs_stride_bytes(&s, 13, &n));
	ck_assert_uint_eq(n, 7);
	ck_assert_int_eq(ropefs_stride_read(fs, ino, &s, 0, got, sizeof(got), 0), 7);
	ck_assert_str_eq(got, "aabbccd");
	ck_assert_int_eq(ropefs_stride_read(fs, ino, &s, 3, got, 2, 0), 2);
	ck_assert_mem_eq(got, "bc", 2);
	ck_assert_int_eq(ropefs_stride_read(fs, ino, &two, 0, got, sizeof(got), 0), 4);
	ck_assert_mem_eq(got, "bbcc", 4);
	ck_assert_int_eq(ropefs_stride_read(fs, ino, &short_one, 0, got, sizeof(got), 0),
			 3);
	ck_assert_mem_eq(got, "bbc", 3);
	ck_assert_int_eq(ropefs_stride_read(fs, ino, &bad, 0, got, 1, 0), -EINVAL);

	ck_ok(ropefs_stride_write(fs, ino, &s, "AABBCCD", 7));
	ck_text(ino, "AA--BB--CC--D");
	ck_assert_int_eq(ropefs_stride_write(fs, ino, &s, "AABB", 4), -EINVAL);
	ck_ok(ropefs_stride_cut(fs, ino, &dashes));
	ck_text(ino, "AABBCCD");
	ck_ok(ropefs_stride_insert(fs, ino, &dashes, "++++++", 6));
	ck_text(ino, "AA++BB++CC++D");
	ck_assert_int_eq(ropefs_stride_insert(fs, ino, &beyond, "++++", 4), -ERANGE);
	ck_text(ino, "AA++BB++CC++D");
	ck_ok(ropefs_stride_cut(fs, ino, &two));
	ck_text(ino, "AA++++++D");
	ck_ok(ropefs_stride_cut(fs, ino, &s));
	ck_text(ino, "++++");
}
END_TEST

/* A file as plain bytes, and what strides do with it. */
struct plain {
	uint8_t p[3000];
	size_t n;
};

static bool in_stride(const struct ropefs_stride *s, size_t at, size_t size)
{
	size_t end = s->end && s->end < size ? s->end : size;

	return at >= s->at && at < end && (at - s->at) % s->step < s->size;
}

/* Pieces taken out to got; the rest, when `cut`, is what is left. */
static size_t plain_take(struct plain *f, const struct ropefs_stride *s, uint8_t *got,
			 bool cut)
{
	size_t n = 0, left = 0, size = f->n;

	for (size_t i = 0; i < size; i++) {
		if (in_stride(s, i, size))
			got[n++] = f->p[i];
		else if (cut)
			f->p[left++] = f->p[i];
	}
	f->n = cut ? left : size;
	return n;
}

static void plain_put(struct plain *f, const struct ropefs_stride *s, const uint8_t *p)
{
	for (size_t i = 0; i < f->n; i++)
		if (in_stride(s, i, f->n))
			f->p[i] = *p++;
}

/* False: a place is beyond the end. */
static bool plain_insert(struct plain *f, const struct ropefs_stride *s, const uint8_t *p,
			 size_t n)
{
	for (size_t at = s->at; n; at += s->step) {
		size_t piece = n < s->size ? n : s->size;

		if (at > f->n)
			return false;
		memmove(f->p + at + piece, f->p + at, f->n - at);
		memcpy(f->p + at, p, piece);
		f->n += piece;
		p += piece;
		n -= piece;
	}
	return true;
}

static struct ropefs_stride random_stride(struct rng *r, size_t size)
{
	struct ropefs_stride s = { .at = rng_below(r, size + 3),
				   .size = 1 + rng_below(r, 9) };

	s.step = s.size + rng_below(r, rng_below(r, 4) ? 9 : 400);
	if (!rng_below(r, 3))
		s.end = rng_below(r, size + 9);
	return s;
}

START_TEST(random_strides_do_what_plain_bytes_do)
{
	struct rng r = rng_seeded(suite_seed());
	struct plain f = { .n = 500 }, next;
	uint64_t ino = make("s", "");
	uint8_t some[200], want[3000], got[3000];

	rng_fill(&r, f.p, f.n);
	ck_ok(ropefs_write(fs, ino, 0, f.p, f.n, 0, NULL));
	for (unsigned step = 0; step < 400; step++) {
		struct ropefs_stride s = random_stride(&r, f.n);
		uint64_t n, from;
		size_t all = plain_take(&f, &s, want, false), len;

		rng_fill(&r, some, sizeof(some));
		ck_ok(ropefs_stride_bytes(&s, f.n, &n));
		ck_assert_uint_eq(n, all);
		from = rng_below(&r, all + 2);
		len = rng_below(&r, 600);
		n = from >= all ? 0 : all - from < len ? all - from : len;
		ck_assert_int_eq(ropefs_stride_read(fs, ino, &s, from, got, len, 0),
				 (ssize_t)n);
		ck_assert_int_eq(memcmp(got, want + from, n), 0);
		if (all <= sizeof(some)) {
			ck_ok(ropefs_stride_write(fs, ino, &s, some, all));
			plain_put(&f, &s, some);
		}
		if (f.n > 300 && rng_below(&r, 2)) {
			ck_ok(ropefs_stride_cut(fs, ino, &s));
			plain_take(&f, &s, want, true);
		}
		s = random_stride(&r, f.n);
		n = f.n < 900 ? rng_below(&r, sizeof(some)) : 0;
		next = f;
		if (plain_insert(&next, &s, some, n)) {
			ck_ok(ropefs_stride_insert(fs, ino, &s, some, n));
			f = next;
		} else {
			ck_assert_int_eq(ropefs_stride_insert(fs, ino, &s, some, n),
					 -ERANGE);
		}
		ck_assert_int_eq(ropefs_read(fs, ino, 0, got, sizeof(got), 0),
				 (ssize_t)f.n);
		ck_assert_int_eq(memcmp(got, f.p, f.n), 0);
	}
}
END_TEST

START_TEST(a_range_moves_as_one_step)
{
	uint64_t a = make("a", "0123456789"), b = make("b", "abcdef");

	ck_ok(ropefs_move(fs, (struct ropefs_range) { b, 2, 1 },
			  (struct ropefs_range) { a, 4, 3 }));
	ck_text(a, "0123789");
	ck_text(b, "ab456def");
	ck_ok(ropefs_move(fs, (struct ropefs_range) { a, 0, 0 },
			  (struct ropefs_range) { a, 5, 2 }));
	ck_text(a, "8901237");
	ck_ok(ropefs_move(fs, (struct ropefs_range) { a, 5, 2 },
			  (struct ropefs_range) { a, 0, 3 }));
	ck_text(a, "12890");
	ck_assert_int_eq(ropefs_move(fs, (struct ropefs_range) { a, 1, 2 },
				     (struct ropefs_range) { a, 2, 2 }),
			 -EINVAL);
	ck_assert_int_eq(ropefs_move(fs, (struct ropefs_range) { a, 0, 0 },
				     (struct ropefs_range) { b, 7, 2 }),
			 -ERANGE);
	ck_text(a, "12890");
	ck_text(b, "ab456def");
}
END_TEST

/* --- transactions --- */

START_TEST(a_refused_commit_restores_everything)
{
	uint64_t a = make("a", "aaa"), b = make("b", "bbb"), root = ROPEFS_ROOT_INO;
	struct ropefs_new new = { .mode = S_IFREG | 0600 };
	struct ropefs_attr before, after, at;
	struct ropefs_status status[2];
	struct ropefs_txn *t;
	uint64_t made;

	ck_ok(ropefs_setxattr(fs, a, "user.x", "old", 3, 0));
	ck_ok(ropefs_getattr(fs, root, &before));
	ropefs_get_status(fs, &status[0]);
	ck_ok(ropefs_etag(fs, a, last_etag));

	ck_ok(ropefs_txn_begin(fs, &t));
	ck_ok(ropefs_txn_insert(t, a, 1, "XYZ", 3));
	ck_ok(ropefs_txn_create(t, root, ropefs_name("made"), &new, &made));
	ck_ok(ropefs_txn_write(t, made, 0, "m", 1, 0, NULL));
	ck_ok(ropefs_txn_setxattr(t, a, "user.x", "new", 3));
	ck_ok(ropefs_txn_setxattr(t, a, "user.y", "new", 3));
	ck_ok(ropefs_txn_rename(t, root, ropefs_name("made"), root, ropefs_name("b"), 0));
	ck_ok(ropefs_txn_unlink(t, root, ropefs_name("a")));
	ck_ok(ropefs_txn_unlink(t, root, ropefs_name("a")));
	ck_assert_int_eq(ropefs_txn_commit(t), -ENOENT);

	ck_text(a, "aaa");
	etag_changed(a, false);
	ck_ok(ropefs_lookup(fs, root, ropefs_name("b"), &at));
	ck_assert_uint_eq(at.ino, b);
	ck_assert_uint_eq(at.nlink, 1);
	ck_assert_int_eq(ropefs_lookup(fs, root, ropefs_name("made"), &at), -ENOENT);
	ck_assert_int_eq(ropefs_getxattr(fs, a, "user.y", NULL, 0), -ENODATA);
	ck_ok(ropefs_getattr(fs, root, &after));
	ck_assert_int_eq(after.mtime.ns, before.mtime.ns);
	ck_assert_uint_eq(after.size, before.size);
	ropefs_get_status(fs, &status[1]);
	ck_assert_uint_eq(status[0].inodes, status[1].inodes);
}
END_TEST

START_TEST(what_was_only_read_counts_for_a_conflict_too)
{
	uint64_t a = make("a", "1"), b = make("b", "");
	struct ropefs_txn *t;
	char byte;
	int r;

	ck_ok(ropefs_txn_begin(fs, &t));
	ck_assert_int_eq(ropefs_txn_read(t, a, 0, &byte, 1), 1);
	ck_ok(ropefs_txn_write(t, b, 0, &byte, 1, 0, NULL));
	ck_ok(ropefs_write(fs, a, 0, "2", 1, 0, NULL));
	r = ropefs_txn_commit(t);
	ck_assert_int_eq(ropefs_error_errno(r), EBUSY);
	ck_assert_ptr_nonnull(strstr(ropefs_error(), "somebody else"));
	ck_text(b, "");

	ck_ok(ropefs_txn_begin(fs, &t));
	ck_ok(ropefs_txn_write(t, b, 0, "x", 1, ROPEFS_APPEND, NULL));
	ck_ok(ropefs_unlink(fs, ROPEFS_ROOT_INO, ropefs_name("b")));
	ck_assert_int_eq(ropefs_error_errno(ropefs_txn_commit(t)), EBUSY);
	ck_assert_int_eq(ropefs_txn_begin(fs, &t), 0);
	ck_assert_int_eq(ropefs_txn_cut(t, ROPEFS_ROOT_INO, 0, 0), -EISDIR);
	ck_assert_int_eq(ropefs_txn_cut(t, a, 1, 1), -ERANGE);
	ropefs_txn_abort(t);
	ropefs_txn_abort(NULL);
}
END_TEST

/* A queue in a folder of its own, with two records. */
static uint64_t make_queue(void)
{
	struct ropefs_new dir = { .mode = S_IFDIR | 0755 },
			  file = { .mode = S_IFREG | 0644 };
	struct ropefs_attr a, q;

	ck_ok(ropefs_create(fs, ROPEFS_ROOT_INO, ropefs_name("queues"), &dir, &a));
	ck_ok(ropefs_setxattr(fs, a.ino, "user.ropefs.kind", "queue", 5, 0));
	ck_ok(ropefs_create(fs, a.ino, ropefs_name("q"), &file, &q));
	ck_ok(ropefs_append(fs, q.ino, "one\ntwo\n", 8, 0, NULL));
	return q.ino;
}

START_TEST(a_cursor_moves_with_its_transaction)
{
	uint64_t q = make_queue(), sum = make("sum", "0");
	struct ropefs_cursor c;
	struct ropefs_txn *t;

	ck_ok(ropefs_txn_begin(fs, &t));
	ck_ok(ropefs_txn_write(t, sum, 0, "1", 1, 0, NULL));
	ck_ok(ropefs_txn_cursor_commit(t, q, "worker", 1));
	ck_assert_int_eq(ropefs_cursor_get(fs, q, "worker", &c), -ENOENT);
	ck_ok(ropefs_txn_commit(t));
	ck_ok(ropefs_cursor_get(fs, q, "worker", &c));
	ck_assert_uint_eq(c.id, 1);

	ck_ok(ropefs_txn_begin(fs, &t));
	ck_ok(ropefs_txn_write(t, sum, 0, "2", 1, 0, NULL));
	ck_ok(ropefs_txn_cursor_commit(t, q, "worker", 2));
	ck_ok(ropefs_txn_cursor_commit(t, q, "other", 2));
	ck_ok(ropefs_txn_cursor_commit(t, q, "other", 99));
	ck_assert_int_eq(ropefs_txn_commit(t), -ERANGE);
	ck_text(sum, "1");
	ck_ok(ropefs_cursor_get(fs, q, "worker", &c));
	ck_assert_uint_eq(c.id, 1);
	ck_assert_int_eq(ropefs_cursor_get(fs, q, "other", &c), -ENOENT);

	ck_ok(ropefs_txn_begin(fs, &t));
	ck_assert_int_eq(ropefs_txn_cursor_commit(t, q, "a/b", 1), -EINVAL);
	ck_assert_int_eq(ropefs_txn_write(t, q, 0, "x", 1, 0, NULL), -EPERM);
	ropefs_txn_abort(t);
	ck_ok(ropefs_close(fs));
	open_store();
	ck_ok(ropefs_cursor_get(fs, q, "worker", &c));
	ck_assert_uint_eq(c.id, 1);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("value");
	TCase *tc = tcase_create("value");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, an_etag_changes_with_the_bytes_and_with_nothing_else);
	tcase_add_test(tc, a_value_is_put_only_over_what_was_read);
	tcase_add_test(tc, numbers_are_added_within_64_bits);
	tcase_add_test(tc, what_is_no_number_is_left_alone);
	tcase_add_test(tc, no_addition_is_lost_among_many);
	tcase_add_test(tc, a_patch_is_applied_whole_or_not_at_all);
	tcase_add_test(tc, strides_are_read_written_inserted_and_cut);
	tcase_add_test(tc, random_strides_do_what_plain_bytes_do);
	tcase_add_test(tc, a_range_moves_as_one_step);
	tcase_add_test(tc, a_refused_commit_restores_everything);
	tcase_add_test(tc, what_was_only_read_counts_for_a_conflict_too);
	tcase_add_test(tc, a_cursor_moves_with_its_transaction);
	suite_add_tcase(s, tc);
	return suite_main(s);
}
