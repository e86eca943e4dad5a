/* test_txn_kill.c - one transaction of everything there is (bytes of several files, names, an
 * xattr, records of a queue, a cursor), whose process is killed, or whose power goes, at each call
 * that changes the disk, one after another: what opens afterwards has all of it or nothing. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "core/queue.h"
#include "tests/lib/store_fixture.h"

#define RECORDS 600 /* more than two blocks of the table */

static uint64_t a, b, gone, q;

static void set(const char *key, const char *value)
{
	ck_ok(ropefs_setxattr(f.fs, ROPEFS_ROOT_INO, key, value, strlen(value), 0));
}

static void begin_world(void)
{
	static const char old[] = "0123456789abcdef";

	fixture_init(false);
	a = make("a");
	b = make("b");
	gone = make("gone");
	make("before");
	for (int i = 0; i < 3; i++)
		ck_assert_int_gt(ropefs_write(f.fs, (uint64_t[]) { a, b, gone }[i], 0,
					      old, 16, 0, NULL),
				 0);
	set("user.ropefs.kind", "queue");
	q = make("q");
	set("user.ropefs.kind", "rope");
	ck_assert_int_gt(ropefs_append(f.fs, q, "one\ntwo\n", 8, 0, NULL), 0);
	ck_ok(ropefs_cursor_commit(f.fs, q, "work", 1));
	ck_ok(ropefs_sync(f.fs));
	f.fs->opts.push = true; /* each change is a write of the log */
}

static int stage_records(struct ropefs_txn *t)
{
	static char lines[RECORDS * 16];
	size_t n = 0;
	ssize_t r;

	for (int i = 0; i < RECORDS; i++)
		n += (size_t)snprintf(lines + n, sizeof(lines) - n, "more %d\n", i);
	r = ropefs_txn_append(t, q, lines, n);
	return r < 0 ? (int)r : 0;
}

static int stage_bytes(struct ropefs_txn *t)
{
	const struct ropefs_range dst = { b, 2, 3 }, src = { a, 0, 5 };
	ssize_t r = ropefs_txn_insert(t, a, 8, "INSERTED", 8);

	if (r >= 0)
		r = ropefs_txn_cut(t, b, 10, 6);
	if (r >= 0)
		r = ropefs_txn_move(t, dst, src);
	if (r >= 0)
		r = ropefs_txn_write(t, b, 0, "w", 1, ROPEFS_APPEND, NULL);
	return r < 0 ? (int)r : 0;
}

static int stage_names(struct ropefs_txn *t)
{
	const struct ropefs_new what = { .mode = S_IFREG | 0644 };
	const uint64_t root = ROPEFS_ROOT_INO;
	uint64_t new;
	ssize_t r = ropefs_txn_create(t, root, ropefs_name("new"), &what, &new);

	if (r >= 0)
		r = ropefs_txn_write(t, new, 0, "made", 4, 0, NULL);
	if (r >= 0)
		r = ropefs_txn_unlink(t, root, ropefs_name("gone"));
	if (r >= 0)
		r = ropefs_txn_rename(t, root, ropefs_name("before"), root,
				      ropefs_name("after"), 0);
	if (r >= 0)
		r = ropefs_txn_setxattr(t, a, "user.mark", "x", 1);
	if (r >= 0)
		r = ropefs_txn_cursor_commit(t, q, "work", 2);
	return r < 0 ? (int)r : 0;
}

/* The whole of it; bad: with a step at its end that is refused. 0 when it is durable. */
static int run(bool bad)
{
	struct ropefs_txn *t;
	int r = ropefs_txn_begin(f.fs, &t);

	if (r < 0)
		return r;
	r = stage_records(t);
	if (r >= 0)
		r = stage_bytes(t);
	if (r >= 0)
		r = stage_names(t);
	if (r >= 0 && bad)
		r = ropefs_txn_unlink(t, ROPEFS_ROOT_INO, ropefs_name("never there"));
	if (r < 0) {
		ropefs_txn_abort(t);
		return r;
	}
	r = ropefs_txn_commit(t);
	return r < 0 ? r : ropefs_sync(f.fs);
}

static bool has(const char *name)
{
	struct ropefs_attr attr;

	return ropefs_lookup(f.fs, ROPEFS_ROOT_INO, ropefs_name(name), &attr) >= 0;
}

static void expect_text(uint64_t ino, const char *text)
{
	expect_bytes(ino, (const uint8_t *)text, strlen(text));
}

/* Is all of it there? Else nothing may be. */
static bool is_done(void)
{
	struct ropefs_cursor c;
	struct ropefs_queue info;
	bool done = has("new");
	struct inode *in;
	char mark;

	expect_text(a, done ? "567INSERTED89abcdef" : "0123456789abcdef");
	expect_text(b, done ? "010123456789w" : "0123456789abcdef");
	ck_assert(has("after") == done && has("before") != done && has("gone") != done);
	ck_assert((ropefs_getxattr(f.fs, a, "user.mark", &mark, 1) == 1) == done);
	ck_ok(ropefs_cursor_get(f.fs, q, "work", &c));
	ck_assert_uint_eq(c.id, done ? 2 : 1);
	ck_ok(ropefs_queue_info(f.fs, q, &info));
	ck_assert_uint_eq(info.next, done ? 2 + RECORDS : 2);
	ck_assert_uint_eq(f.fs->n_inodes, 6);
	lock_take(&f.fs->engine);
	ck_ok(inode_get(f.fs, q, &in));
	ck_ok(queue_check(f.fs, in));
	lock_drop(&f.fs->engine);
	return done;
}

START_TEST(a_kill_at_any_write_leaves_all_or_nothing)
{
	bool power = _i, ended = false;
	unsigned done = 0, nothing = 0;

	for (uint64_t n = 1; !ended; n++) {
		uint64_t before;
		int r;

		begin_world();
		before = io_sim_calls(f.io, IO_SIM_ANY & ~IO_SIM_PREAD);
		io_sim_stop_at(f.io, IO_SIM_ANY & ~IO_SIM_PREAD, n);
		r = run(false);
		ended = io_sim_calls(f.io, IO_SIM_ANY & ~IO_SIM_PREAD) - before < n;
		fixture_crash(power);
		fixture_open();
		if (is_done())
			done++;
		else
			nothing++;
		ck_assert(r < 0 || has("new"));
		fixture_release();
	}
	ck_assert_uint_gt(done, 0);
	ck_assert_uint_gt(nothing, 10);
	printf("# %u times all, %u times nothing\n", done, nothing);
}
END_TEST

START_TEST(a_refused_step_takes_everything_back)
{
	begin_world();
	ck_assert_int_eq(run(true), -ENOENT);
	ck_assert(!is_done());
	ck_assert_int_gt(ropefs_append(f.fs, q, "three\n", 6, 0, NULL), 0);
	expect_text(q, "one\ntwo\nthree\n");
	ck_ok(ropefs_sync(f.fs));
	fixture_crash(true);
	fixture_open();
	expect_text(q, "one\ntwo\nthree\n");
	ck_assert(!has("new"));
	fixture_release();
}
END_TEST

/* What the process before noted as its change is in the log exactly if the change is made: another
 * one, asked again, goes by that (fs/keep.h). */
static const struct ropefs_stride stride = { .at = 0, .size = 1, .step = 4 };

static int stride_write(void)
{
	return ropefs_stride_write(f.fs, a, &stride, "wxyz", 4);
}

static int stride_insert(void)
{
	return ropefs_stride_insert(f.fs, a, &stride, "wxyz", 4);
}

static int stride_cut(void)
{
	return ropefs_stride_cut(f.fs, a, &stride);
}

static int move(void)
{
	return ropefs_move(f.fs, (struct ropefs_range) { a, 0, 0 },
			   (struct ropefs_range) { b, 0, 4 });
}

static const struct short_txn {
	int (*run)(void);
	const char *a, *b;
} short_txns[] = {
	{ stride_write, "w123x567y9abzdef", "0123456789abcdef" },
	{ stride_insert, "w012x345y678z9abcdef", "0123456789abcdef" },
	{ stride_cut, "1235679abdef", "0123456789abcdef" },
	{ move, "01230123456789abcdef", "456789abcdef" },
};

/* As the daemon that goes on: what it reads of the log is all that is in it. */
static uint64_t open_as_next(void)
{
	struct store_opts o = { .segment_bytes = 10 * MIB };
	struct ropefs_status is;

	o.pub.memory_bytes = 32 * MIB;
	o.pub.keep_orphans = true;
	ck_ok(store_open(f.io, f.kf, &o, &f.fs));
	ropefs_get_status(f.fs, &is);
	return is.lsn;
}

START_TEST(what_was_noted_of_a_short_transaction_is_its_commit)
{
	const struct short_txn *s = &short_txns[_i];
	unsigned done = 0, nothing = 0;
	bool ended = false;

	for (uint64_t n = 1; !ended; n++) {
		uint64_t before, there, noted = 0;
		bool counts;

		begin_world();
		before = io_sim_calls(f.io, IO_SIM_ANY & ~IO_SIM_PREAD);
		io_sim_stop_at(f.io, IO_SIM_ANY & ~IO_SIM_PREAD, n);
		ropefs_note_lsn(&noted);
		s->run();
		ropefs_note_lsn(NULL);
		ended = io_sim_calls(f.io, IO_SIM_ANY & ~IO_SIM_PREAD) - before < n;
		fixture_crash(false);
		there = open_as_next();
		counts = noted && noted <= there;
		expect_text(a, counts ? s->a : "0123456789abcdef");
		expect_text(b, counts ? s->b : "0123456789abcdef");
		done += counts;
		nothing += !counts;
		fixture_release();
	}
	ck_assert_uint_gt(done, 0);
	ck_assert_uint_gt(nothing, 2);
}
END_TEST

static char told[ROPEFS_ETAG_MAX];
static unsigned seen;

/* Others can see it, and act, before who made it is answered. */
static void is_seen(void *arg, uint64_t ino)
{
	char is[ROPEFS_ETAG_MAX];

	(void)arg;
	ck_ok(ropefs_etag(f.fs, ino, is));
	ck_assert_str_eq(told, is);
	seen++;
}

START_TEST(the_etag_of_a_write_is_told_before_others_can_see_it)
{
	char old[ROPEFS_ETAG_MAX];

	begin_world();
	f.fs->opts.changed = is_seen;
	ck_ok(ropefs_watch(f.fs, a));
	ck_ok(ropefs_etag(f.fs, a, old));
	ck_ok(ropefs_replace_if(f.fs, a, old, b, told));
	ck_assert_str_ne(told, old);
	snprintf(old, sizeof(old), "%s", told);
	ck_ok(ropefs_put(f.fs, a, old, "put", 3, told));
	ck_assert_uint_eq(seen, 2);
	ropefs_unwatch(f.fs, a);
	fixture_release();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("txn_kill");
	TCase *tc = tcase_create("txn_kill");

	tcase_set_timeout(tc, 600);
	tcase_add_loop_test(tc, a_kill_at_any_write_leaves_all_or_nothing, 0, 2);
	tcase_add_loop_test(tc, what_was_noted_of_a_short_transaction_is_its_commit, 0,
			    sizeof(short_txns) / sizeof(short_txns[0]));
	tcase_add_test(tc, the_etag_of_a_write_is_told_before_others_can_see_it);
	tcase_add_test(tc, a_refused_step_takes_everything_back);
	suite_add_tcase(s, tc);
	return suite_main(s);
}
