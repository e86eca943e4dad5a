/* test_queue.c - queues: the codec of their table, clocks that are set, what is kept, gaps; and
 * the grammar of times. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "core/io/io_sim.h"
#include "core/queue.h"
#include "core/view.h"
#include "tests/lib/suite.h"

#define SECOND INT64_C(1000000000)

static struct io *io;
static struct io_ops ops; /* of the simulation, but for the wall clock */
static uint64_t (*sim_real_ns)(struct io *io);
static int64_t clock_set_by;
static struct key_file *kf;
static struct ropefs *fs;
static uint64_t ino;

static uint64_t real_ns(struct io *of)
{
	return sim_real_ns(of) + (uint64_t)clock_set_by;
}

static void open_store(void)
{
	struct store_opts o = { .threads = false, .segment_bytes = 10 * MIB };
	struct ropefs_attr a;

	o.pub.memory_bytes = 32 * MIB;
	ck_ok(store_open(io, kf, &o, &fs));
	if (ropefs_lookup(fs, ROPEFS_ROOT_INO, ropefs_name("q"), &a) >= 0)
		ino = a.ino;
}

static void setup(void)
{
	const uint8_t id[STORE_ID_BYTES] = { 3 };
	struct ropefs_new new = { .mode = S_IFREG | 0600 };
	struct ropefs_attr a;
	char key[4200];

	ck_ok(keys_init_library());
	snprintf(key, sizeof(key), "%s/key", suite_tmpdir());
	ck_ok(key_file_create(key, id));
	ck_ok(key_file_read(key, &kf));
	ck_ok(io_sim_new(1, &io));
	ops = *io->ops;
	sim_real_ns = ops.real_ns;
	ops.real_ns = real_ns;
	io->ops = &ops;
	clock_set_by = 0;
	ck_ok(store_init(io, kf, CIPHER_NONE, id));
	open_store();
	ck_ok(ropefs_setxattr(fs, ROPEFS_ROOT_INO, "user.ropefs.kind", "queue", 5, 0));
	ck_ok(ropefs_create(fs, ROPEFS_ROOT_INO, ropefs_name("q"), &new, &a));
	ino = a.ino;
}

static void teardown(void)
{
	io_free(store_abandon(fs, true));
	key_file_free(kf);
}

static struct ropefs_record append(const char *text)
{
	struct ropefs_record rec;
	struct ropefs_batch b = { .records = &rec, .max = 1 };

	ck_ok(ropefs_append(fs, ino, text, strlen(text), 0, &b.id));
	ck_ok(ropefs_queue_read(fs, ino, &b, 0));
	ck_assert_uint_eq(b.count, 1);
	return rec;
}

static int64_t true_time(const struct ropefs_record *rec)
{
	struct ropefs_time t;

	ck_ok(ropefs_queue_true_time(fs, ino, rec, &t));
	return t.ns;
}

/* Within the time that some calls take. */
static bool about(int64_t a, int64_t b)
{
	return a - b < SECOND && b - a < SECOND;
}

START_TEST(times_go_on_where_the_clock_is_set_back)
{
	struct ropefs_record a = append("a\n"), b, c, d;
	int64_t wall;

	io_sim_advance(io, (uint64_t)(5 * SECOND));
	clock_set_by = -3600 * SECOND;
	b = append("b\n");
	ck_assert(about(b.time.ns, a.time.ns + 5 * SECOND));
	ck_assert(about(true_time(&b), (int64_t)real_ns(io)));
	io_sim_advance(io, (uint64_t)(7 * SECOND));
	c = append("c\n");
	ck_assert(about(c.time.ns, b.time.ns + 7 * SECOND));
	ck_assert(about(true_time(&c), (int64_t)real_ns(io)));
	ck_assert(about(true_time(&a), a.time.ns));
	clock_set_by = 7200 * SECOND;
	wall = (int64_t)real_ns(io);
	d = append("d\n");
	ck_assert(about(d.time.ns, wall));
	ck_assert(about(true_time(&d), wall));
	ck_assert(about(true_time(&b), b.time.ns - 3600 * SECOND));
}
END_TEST

/* Within one tick of the kernel, in which the monotonic clock is not asked again. */
START_TEST(a_step_back_shows_at_once)
{
	struct ropefs_record a = append("a\n"), b, c, d;

	b = append("b\n");
	clock_set_by = -20000000; /* not much more than a step that counts */
	c = append("c\n");
	d = append("d\n");
	ck_assert_int_gt(b.time.ns, a.time.ns);
	ck_assert_int_gt(c.time.ns, b.time.ns);
	ck_assert_int_gt(d.time.ns, c.time.ns);
	ck_assert_int_eq(true_time(&b), b.time.ns);
	ck_assert_int_lt(true_time(&c), b.time.ns - 10000000);
	ck_assert_int_lt(true_time(&d), b.time.ns - 10000000);
}
END_TEST

START_TEST(times_never_go_back_over_lives)
{
	struct ropefs_record a = append("a\n"), b;
	struct ropefs_queue q;

	ck_ok(ropefs_sync(fs));
	clock_set_by = -86400 * SECOND;
	store_abandon(fs, true);
	io_sim_kill(io);
	open_store();
	b = append("b\n");
	ck_assert_int_ge(b.time.ns, a.time.ns);
	ck_assert(about(true_time(&b), (int64_t)real_ns(io)));
	ck_ok(ropefs_queue_info(fs, ino, &q));
	ck_assert_uint_eq(q.crashes, 1);
	ck_assert_uint_eq(q.next, 2);
}
END_TEST

/* Of the records in blocks that are full, as a slow follower reads them. */
static void check_one_by_one(unsigned from, unsigned to, unsigned base)
{
	for (unsigned id = from; id < to; id++) {
		char p[32], want[32];
		struct ropefs_record rec;
		struct ropefs_batch b = {
			.id = id, .records = &rec, .max = 1, .p = p, .n = sizeof(p)
		};

		ck_ok(ropefs_queue_read(fs, ino, &b, 0));
		ck_assert_uint_eq(b.count, 1);
		ck_assert_uint_eq(rec.id, id);
		snprintf(want, sizeof(want), "%u\n", base + id);
		ck_assert_uint_eq(b.bytes, strlen(want));
		ck_assert(!memcmp(p, want, b.bytes));
	}
}

static void append_numbers(unsigned n, unsigned base)
{
	char line[32];

	for (unsigned id = 0; id < n; id++) {
		snprintf(line, sizeof(line), "%u\n", base + id);
		append(line);
	}
}

START_TEST(a_block_is_read_once_by_who_reads_record_by_record)
{
	struct ropefs_status before, after;

	append_numbers(700, 0);
	ropefs_get_status(fs, &before);
	check_one_by_one(10, 200, 0);
	check_one_by_one(5, 300, 0);
	ropefs_get_status(fs, &after);
	ck_assert_uint_eq(after.queue_blocks_read - before.queue_blocks_read, 2);
	/* What was read of it is of the queue before it was emptied. */
	ck_ok(ropefs_truncate(fs, ino, 0));
	append_numbers(700, 1000000);
	check_one_by_one(5, 300, 1000000);
	/* What is trimmed meanwhile is gone. */
	ck_ok(ropefs_queue_trim(fs, ino, 150));
	check_one_by_one(150, 300, 1000000);
	ck_assert_int_eq(
		ropefs_queue_read(fs, ino, &(struct ropefs_batch) { .id = 149 }, 0),
		-ERANGE);
}
END_TEST

static void append_many(unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		append("0123456789abcde\n");
		io_sim_advance(io, (uint64_t)SECOND);
	}
}

static const struct {
	const char *retain;
	uint64_t least, most; /* of 2000 records of 16 bytes, one a second */
} kept[] = {
	{ "500 records", 500, 1000 },	   { "10m", 600, 1100 }, { "8K", 512, 1024 },
	{ "1h,1G,100 records", 100, 600 }, { "1w", 2000, 2000 },
};

START_TEST(retention_keeps_what_it_says_and_no_more_than_a_block_besides)
{
	struct ropefs_queue q;

	append_many(2000);
	ck_ok(checkpoint_run(fs, false));
	ck_ok(ropefs_setxattr(fs, ino, "user.ropefs.retain", kept[_i].retain,
			      strlen(kept[_i].retain), 0));
	ck_ok(ropefs_retain(fs));
	ck_ok(ropefs_queue_info(fs, ino, &q));
	ck_assert_uint_eq(q.next, 2000);
	ck_assert_uint_ge(q.next - q.first, kept[_i].least);
	ck_assert_uint_le(q.next - q.first, kept[_i].most);
	ck_assert_uint_eq(q.bytes, (q.next - q.first) * 16);
}
END_TEST

static uint64_t left_in(uint64_t queue)
{
	struct ropefs_queue q;

	ck_ok(ropefs_queue_info(fs, queue, &q));
	return q.next - q.first;
}

START_TEST(queues_of_a_folder_share_what_it_keeps)
{
	static const char *const retain[] = { "1000 records", "16K" };
	struct ropefs_new new = { .mode = S_IFREG | 0600 };
	uint64_t old = ino, own, young;
	struct ropefs_attr a;

	append_many(2000);
	ck_ok(ropefs_create(fs, ROPEFS_ROOT_INO, ropefs_name("own"), &new, &a));
	own = ino = a.ino;
	ck_ok(ropefs_setxattr(fs, own, "user.ropefs.retain", "2000 records", 12, 0));
	append_many(2000);
	ck_ok(ropefs_create(fs, ROPEFS_ROOT_INO, ropefs_name("young"), &new, &a));
	young = ino = a.ino;
	append_many(600);
	ck_ok(checkpoint_run(fs, false));
	ck_ok(ropefs_setxattr(fs, ROPEFS_ROOT_INO, "user.ropefs.retain", retain[_i],
			      strlen(retain[_i]), 0));
	ck_ok(ropefs_retain(fs));
	ck_assert_uint_eq(left_in(young), 600);
	ck_assert_uint_eq(left_in(own), 2000);
	ck_assert_uint_ge(left_in(old), 400);
	ck_assert_uint_le(left_in(old), 400 + 2 * BLOCK_RECORDS_MAX);
	ino = old;
}
END_TEST

START_TEST(refused_records_are_counted_and_become_one)
{
	struct ropefs_record rec;
	struct ropefs_batch b = { .id = 1, .records = &rec, .max = 1 };
	char bytes[256];
	struct ropefs_queue q;

	ck_ok(ropefs_setxattr(fs, ROPEFS_ROOT_INO, "user.ropefs.gap", "record", 6, 0));
	append("before\n");
	io_sim_set_free(io, 0);
	fs->space_left = 0;
	ck_assert_int_eq(ropefs_append(fs, ino, "x\ny\n", 4, 0, NULL), -ENOSPC);
	ck_assert_int_eq(ropefs_append(fs, ino, "z\n", 2, 0, NULL), -ENOSPC);
	io_sim_set_free(io, 1 * GIB);
	append("after\n");
	ck_ok(ropefs_queue_info(fs, ino, &q));
	ck_assert_uint_eq(q.refused, 3);
	ck_assert_uint_eq(q.next, 3);
	b.p = bytes;
	b.n = sizeof(bytes);
	ck_ok(ropefs_queue_read(fs, ino, &b, 0));
	ck_assert(rec.gap);
	ck_assert_ptr_nonnull(memmem(bytes, rec.n, "3 records", 9));
}
END_TEST

START_TEST(a_full_block_says_so_and_comes_back_as_it_was)
{
	static struct block b, c;
	uint8_t value[BLOCK_ROW_MAX];
	struct record rec;
	unsigned n = 0;

	block_begin(&b, 1000, 5000);
	while (block_add(&b, n * 100, n % 7 == 0, 1000 + n * n))
		n++;
	ck_assert_uint_gt(n, 50);
	ck_assert_uint_eq(b.n, n);
	ck_ok(block_get(span_of(value, block_put(&b, value)), &c));
	ck_assert_uint_eq(c.end, b.end);
	ck_assert_int_eq(c.last_time, b.last_time);
	block_find(&c, 1000 + 20, &rec);
	ck_assert_uint_eq(rec.n, 2000);
	ck_assert_int_eq(rec.time, 1400);
	ck_assert_uint_eq(rec.at, 5000 + 100 * 190);
	ck_assert(!rec.gap);
	for (size_t cut = 0; cut < sizeof(struct block_row) + b.bytes; cut++)
		ck_assert_int_lt(block_get(span_of(value, cut), &c), 0);
}
END_TEST

START_TEST(a_record_is_found_in_a_row_by_id_and_by_time)
{
	static struct block b;
	uint8_t value[BLOCK_ROW_MAX];
	struct span row;
	struct record rec, want;
	unsigned n = 0;

	block_begin(&b, 1000, 5000);
	while (block_add(&b, n % 3 ? n * 100 : 70000 * n, n % 7 == 0,
			 n < 50 ? 1000 + n / 2 : (int64_t)n * n * n * n))
		n++;
	row = span_of(value, block_put(&b, value));
	for (unsigned i = 0; i < n; i++) {
		block_find(&b, 1000 + i, &want);
		ck_assert_int_eq(block_seek(row, 1000 + i, 0, &rec), 1);
		ck_assert(rec.id == want.id && rec.at == want.at && rec.n == want.n &&
			  rec.time == want.time && rec.gap == want.gap);
		ck_assert_int_eq(block_seek(row, 0, want.time, &rec), 1);
		ck_assert_int_eq(rec.time, want.time);
		ck_assert_uint_le(rec.id, want.id);
	}
	ck_assert_int_eq(block_seek(row, 0, want.time + 1, &rec), 0);
	ck_assert_int_eq(block_seek(row, 1000 + n, 0, &rec), 0);
	for (size_t cut = 0; cut < row.n; cut++)
		ck_assert_int_lt(block_seek(span_of(value, cut), 1000 + n, 0, &rec), 0);
}
END_TEST

static const struct {
	const char *text;
	bool given, relative;
	int64_t ns;
	int r;
} times[] = {
	{ "", false, false, 0, 0 },
	{ "0", true, false, 0, 0 },
	{ "12.5", true, false, 12500000000, 0 },
	{ "1970-01-02", true, false, 86400 * SECOND, 0 },
	{ "1970-01-01T00:01", true, false, 60 * SECOND, 0 },
	{ "1970-01-01T00:00:01.000000001Z", true, false, SECOND + 1, 0 },
	{ "1970-01-01T01:00:00+01:00", true, false, 0, 0 },
	{ "2000-02-29T00:00:00Z", true, false, 951782400 * SECOND, 0 },
	{ "-10m", true, true, 600 * SECOND, 0 },
	{ "-1.5h", true, true, 5400 * SECOND, 0 },
	{ "-7d", true, true, 7 * 86400 * SECOND, 0 },
	{ "1999-02-29", false, false, 0, -EINVAL },
	{ "2000-13-01", false, false, 0, -EINVAL },
	{ "-10", false, false, 0, -EINVAL },
	{ "-10y", false, false, 0, -EINVAL },
	{ "noon", false, false, 0, -EINVAL },
	{ "12x", false, false, 0, -EINVAL },
	{ "99999999999", false, false, 0, -EINVAL },
};

START_TEST(times_are_read_as_documented)
{
	struct ropefs_when w = { 0 };
	const char *p = times[_i].text;
	size_t n = strlen(p);
	int r = view_take_when(&p, &n, &w);

	ck_assert_msg(r == times[_i].r, "%s: %d", times[_i].text, r);
	if (r < 0)
		return;
	ck_assert_uint_eq(n, 0);
	ck_assert_int_eq(w.given, times[_i].given);
	ck_assert_int_eq(w.relative, times[_i].relative);
	ck_assert_int_eq(w.ns, times[_i].ns);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("queue");
	TCase *tc = tcase_create("queue");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, times_go_on_where_the_clock_is_set_back);
	tcase_add_test(tc, a_step_back_shows_at_once);
	tcase_add_test(tc, times_never_go_back_over_lives);
	tcase_add_test(tc, a_block_is_read_once_by_who_reads_record_by_record);
	tcase_add_loop_test(tc,
			    retention_keeps_what_it_says_and_no_more_than_a_block_besides,
			    0, sizeof(kept) / sizeof(kept[0]));
	tcase_add_loop_test(tc, queues_of_a_folder_share_what_it_keeps, 0, 2);
	tcase_add_test(tc, refused_records_are_counted_and_become_one);
	suite_add_tcase(s, tc);
	tc = tcase_create("pieces");
	tcase_add_test(tc, a_full_block_says_so_and_comes_back_as_it_was);
	tcase_add_test(tc, a_record_is_found_in_a_row_by_id_and_by_time);
	tcase_add_loop_test(tc, times_are_read_as_documented, 0,
			    sizeof(times) / sizeof(times[0]));
	suite_add_tcase(s, tc);
	return suite_main(s);
}
