/* test_base.c - the small things all else stands on: buffers, integers on disk, CRC32C,
 * hash table, lock ranks, error codes. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/base/buf.h"
#include "core/base/crc.h"
#include "core/base/err.h"
#include "core/base/htab.h"
#include "core/base/le.h"
#include "core/base/lock.h"
#include "core/base/time_text.h"
#include "tests/lib/suite.h"

/* ---- buf ---- */

START_TEST(buf_holds_what_was_appended)
{
	struct rng rng = rng_seeded(suite_seed());
	struct buf b = BUF_INIT;
	uint8_t want[20000], piece[700];
	size_t n = 0;

	ck_ok(buf_append(&b, NULL, 0));
	while (n + sizeof(piece) <= sizeof(want)) {
		size_t len = (size_t)rng_below(&rng, sizeof(piece) + 1);

		rng_fill(&rng, piece, len);
		memcpy(want + n, piece, len);
		n += len;
		ck_ok(buf_append(&b, piece, len));
		ck_assert_uint_eq(b.n, n);
		ck_assert_uint_le(b.n, b.cap);
	}
	ck_assert(memcmp(b.p, want, n) == 0);
	buf_release(&b);
	ck_assert_ptr_null(b.p);
	ck_assert_uint_eq(b.n, 0);
	ck_assert_uint_eq(b.cap, 0);
}
END_TEST

START_TEST(buf_reserve_makes_room_and_refuses_the_impossible)
{
	struct buf b = BUF_INIT;

	ck_ok(buf_append(&b, "abc", 3));
	ck_ok(buf_reserve(&b, 100000));
	ck_assert_uint_ge(b.cap, 100003);
	ck_assert_uint_eq(b.n, 3);
	ck_assert_int_eq(buf_reserve(&b, SIZE_MAX), -ENOMEM);
	ck_assert_int_eq(buf_reserve(&b, SIZE_MAX - 2), -ENOMEM);
	ck_assert_uint_eq(b.n, 3);
	ck_assert(memcmp(b.p, "abc", 3) == 0);
	buf_release(&b);
}
END_TEST

START_TEST(buf_swap_exchanges_both)
{
	struct buf a = BUF_INIT, b = BUF_INIT;

	ck_ok(buf_append(&a, "one", 3));
	ck_ok(buf_append(&b, "three", 5));
	buf_swap(&a, &b);
	ck_assert_uint_eq(a.n, 5);
	ck_assert(memcmp(a.p, "three", 5) == 0);
	ck_assert_uint_eq(b.n, 3);
	ck_assert(memcmp(b.p, "one", 3) == 0);
	buf_release(&a);
	buf_release(&b);
}
END_TEST

/* ---- le ---- */

START_TEST(integers_lie_in_their_byte_order)
{
	const uint8_t want16[] = { 0x34, 0x12 };
	const uint8_t want32[] = { 0x78, 0x56, 0x34, 0x12 };
	const uint8_t want64[] = { 0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 0x01 };
	uint8_t big[8];
	le16 a = le16_put(0x1234);
	le32 b = le32_put(0x12345678);
	le64 c = le64_put(0x0123456789abcdef);

	ck_assert(memcmp(&a, want16, sizeof(a)) == 0 && sizeof(a) == 2);
	ck_assert(memcmp(&b, want32, sizeof(b)) == 0 && sizeof(b) == 4);
	ck_assert(memcmp(&c, want64, sizeof(c)) == 0 && sizeof(c) == 8);
	be64_store(big, 0x0123456789abcdef);
	for (int i = 0; i < 8; i++)
		ck_assert_uint_eq(big[i], want64[7 - i]);
}
END_TEST

START_TEST(integers_come_back)
{
	struct rng rng = rng_seeded(suite_seed());
	uint8_t big[2][8];

	for (int i = 0; i < 1000; i++) {
		uint64_t v = rng_next(&rng), w = rng_next(&rng);

		ck_assert_uint_eq(le16_get(le16_put((uint16_t)v)), (uint16_t)v);
		ck_assert_uint_eq(le32_get(le32_put((uint32_t)v)), (uint32_t)v);
		ck_assert_uint_eq(le64_get(le64_put(v)), v);
		be64_store(big[0], v);
		be64_store(big[1], w);
		ck_assert_uint_eq(be64_load(big[0]), v);
		ck_assert_int_eq(memcmp(big[0], big[1], 8) < 0, v < w);
	}
}
END_TEST

/* ---- crc ---- */

static uint32_t crc32c_by_bits(const uint8_t *p, size_t n)
{
	uint32_t crc = 0xffffffff;

	while (n--) {
		crc ^= *p++;
		for (int k = 0; k < 8; k++)
			crc = crc & 1 ? (crc >> 1) ^ 0x82f63b78 : crc >> 1;
	}
	return ~crc;
}

START_TEST(crc32c_gives_the_known_values)
{
	uint8_t bytes[32] = { 0 };

	/* The check value, and those of RFC 3720, B.4. */
	ck_assert_uint_eq(crc32c(0, "123456789", 9), 0xe3069283);
	ck_assert_uint_eq(crc32c(0, "", 0), 0);
	ck_assert_uint_eq(crc32c(0, bytes, 32), 0x8a9136aa);
	memset(bytes, 0xff, sizeof(bytes));
	ck_assert_uint_eq(crc32c(0, bytes, 32), 0x62a8ab43);
	for (uint8_t i = 0; i < 32; i++)
		bytes[i] = i;
	ck_assert_uint_eq(crc32c(0, bytes, 32), 0x46dd794e);
}
END_TEST

START_TEST(crc32c_goes_on_where_it_was_split)
{
	struct rng rng = rng_seeded(suite_seed());
	uint8_t bytes[777];

	for (int i = 0; i < 200; i++) {
		size_t n = (size_t)rng_below(&rng, sizeof(bytes) + 1);
		size_t cut = (size_t)rng_below(&rng, n + 1);

		rng_fill(&rng, bytes, n);
		ck_assert_uint_eq(crc32c(0, bytes, n), crc32c_by_bits(bytes, n));
		ck_assert_uint_eq(crc32c(crc32c(0, bytes, cut), bytes + cut, n - cut),
				  crc32c_by_bits(bytes, n));
	}
}
END_TEST

/* ---- htab ---- */

#define MODEL_KEYS 4096

/* Distinct keys that differ in few bits, low or high, as page numbers and hashes do. */
static uint64_t model_key(uint64_t i)
{
	static const unsigned shifts[] = { 0, 16, 32, 48 };

	return (i / 4 + 1) << shifts[i % 4];
}

static void htab_check(const struct htab *t, const uint64_t *keys, char *const *values,
		       size_t n_live)
{
	size_t seen = 0, at = 0;
	struct htab_slot *s;

	ck_assert_uint_eq(t->n, n_live);
	for (size_t i = 0; i < MODEL_KEYS; i++)
		ck_assert_ptr_eq(htab_get(t, keys[i]), values[i]);
	while ((s = htab_next(t, &at))) {
		ck_assert_ptr_nonnull(s->value);
		seen++;
	}
	ck_assert_uint_eq(seen, n_live);
	ck_assert_ptr_null(htab_get(t, UINT64_MAX));
	ck_assert_ptr_null(htab_get(t, 0));
}

START_TEST(htab_agrees_with_a_model)
{
	static uint64_t keys[MODEL_KEYS];
	static char *values[MODEL_KEYS], things[MODEL_KEYS];
	struct rng rng = rng_seeded(suite_seed());
	struct htab t = HTAB_INIT;
	size_t n_live = 0;

	memset(values, 0, sizeof(values));
	for (uint64_t i = 0; i < MODEL_KEYS; i++)
		keys[i] = model_key(i);
	ck_assert_ptr_null(htab_get(&t, 1));
	ck_assert_ptr_null(htab_del(&t, 1));
	for (unsigned step = 0; step < 60000; step++) {
		size_t i = (size_t)rng_below(&rng, MODEL_KEYS);
		bool filling = step / 8192 % 2 == 0;

		if (!values[i] && (filling || rng_below(&rng, 4) == 0)) {
			values[i] = &things[i];
			ck_ok(htab_put(&t, keys[i], values[i]));
			n_live++;
		} else if (values[i]) {
			ck_assert_ptr_eq(htab_del(&t, keys[i]), values[i]);
			ck_assert_ptr_null(htab_del(&t, keys[i]));
			values[i] = NULL;
			n_live--;
		}
		if (step % 997 == 0)
			htab_check(&t, keys, values, n_live);
	}
	htab_check(&t, keys, values, n_live);
	htab_release(&t);
	ck_assert_uint_eq(t.n, 0);
}
END_TEST

/* ---- lock ---- */

static struct lock low, high;

static void rising(void)
{
	lock_take(&low);
	lock_take(&high);
	lock_drop(&low); /* in any order */
	lock_drop(&high);
}

#ifndef NDEBUG
static void falling(void)
{
	lock_take(&high);
	lock_take(&low);
}

static void same_rank(void)
{
	struct lock other;

	lock_init(&other, RANK_WAL);
	lock_take(&high);
	lock_take(&other);
}

static void not_ours(void)
{
	lock_drop(&low);
}
#endif

/* Runs body in a child and returns its wait status. */
static int in_child(void (*body)(void))
{
	int status = 0;
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		signal(SIGABRT, SIG_DFL);
		if (!freopen("/dev/null", "w", stderr))
			_exit(2);
		body();
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return status;
}

START_TEST(locks_must_be_taken_in_rising_rank)
{
	lock_init(&low, RANK_ENGINE);
	lock_init(&high, RANK_WAL);
	ck_assert_int_eq(in_child(rising), 0);
#ifndef NDEBUG
	ck_assert(WIFSIGNALED(in_child(falling)));
	ck_assert(WIFSIGNALED(in_child(same_rank)));
	ck_assert(WIFSIGNALED(in_child(not_ours)));

	ck_assert(!lock_held(&low));
	lock_take(&low);
	ck_assert(lock_held(&low));
	ck_assert(!lock_held(&high));
	lock_drop(&low);
	ck_assert(!lock_held(&low));
#endif
	lock_release(&low);
	lock_release(&high);
}
END_TEST

static uint64_t mono_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

START_TEST(waiting_ends_at_its_time)
{
	uint64_t until = mono_ns() + 20000000;
	pthread_cond_t cond;
	struct lock l;

	lock_init(&l, RANK_ENGINE);
	lock_cond_init(&cond);
	lock_take(&l);
	while (lock_wait(&l, &cond, until) == 0)
		ck_assert_uint_lt(mono_ns(), until + 60000000000u);
	ck_assert_uint_ge(mono_ns(), until);
	ck_assert(lock_held(&l));
	lock_drop(&l);
	pthread_cond_destroy(&cond);
	lock_release(&l);
}
END_TEST

/* ---- err ---- */

START_TEST(times_are_written_as_rfc_3339)
{
	ck_assert_str_eq(time_text(0).s, "1970-01-01T00:00:00.000000000Z");
	ck_assert_str_eq(time_text(1709251199123456789).s,
			 "2024-02-29T23:59:59.123456789Z");
	ck_assert_str_eq(time_text(-1).s, "1969-12-31T23:59:59.999999999Z");
	ck_assert_str_eq(time_text(-1000000000).s, "1969-12-31T23:59:59.000000000Z");
	ck_assert_str_eq(time_text(INT64_MAX).s, "2262-04-11T23:47:16.854775807Z");
	ck_assert_str_eq(time_text(INT64_MIN).s, "1677-09-21T00:12:43.145224192Z");
}
END_TEST

START_TEST(errors_keep_their_sentence_and_map_to_errno)
{
	err_clear();
	ck_assert_str_eq(err_detail(), "");
	ck_assert_int_eq(err_set(E_CORRUPT, "page %d", 7), -E_CORRUPT);
	ck_assert_str_eq(err_detail(), "page 7");
	ck_assert_int_eq(err_errno(-E_CORRUPT), EIO);
	ck_assert_int_eq(err_errno(-E_WRONG_KEY), EACCES);
	ck_assert_int_eq(err_errno(-ENOSPC), ENOSPC);
	ck_assert_int_eq(err_errno(0), 0);
	ck_assert_int_eq(err_exit_status(-E_IN_USE), 4);
	ck_assert_int_eq(err_exit_status(-ENOSPC), 1);
	ck_assert_int_eq(err_exit_status(0), 0);
	ck_assert_str_eq(err_text(-E_READ_ONLY), "the store is read-only");
	ck_assert_str_eq(err_text(-ENOENT), strerror(ENOENT));
}
END_TEST

static Suite *make_suite(void)
{
	Suite *suite = suite_create("base");
	TCase *t = tcase_create("base");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, buf_holds_what_was_appended);
	tcase_add_test(t, buf_reserve_makes_room_and_refuses_the_impossible);
	tcase_add_test(t, buf_swap_exchanges_both);
	tcase_add_test(t, integers_lie_in_their_byte_order);
	tcase_add_test(t, integers_come_back);
	tcase_add_test(t, crc32c_gives_the_known_values);
	tcase_add_test(t, crc32c_goes_on_where_it_was_split);
	tcase_add_test(t, htab_agrees_with_a_model);
	tcase_add_test(t, locks_must_be_taken_in_rising_rank);
	tcase_add_test(t, waiting_ends_at_its_time);
	tcase_add_test(t, errors_keep_their_sentence_and_map_to_errno);
	tcase_add_test(t, times_are_written_as_rfc_3339);
	suite_add_tcase(suite, t);
	return suite;
}

int main(void)
{
	return suite_main(make_suite());
}
