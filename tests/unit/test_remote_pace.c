/* test_remote_pace.c - when uploads come by themselves: a little waits for more, but not for ever;
 * a bucket that is back is not left waiting. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/err.h"
#include "core/remote_priv.h"
#include "tests/lib/suite.h"
#include "tests/unit/remote_fixture.h"

#define LONG_S	 3600
#define FILE_MIB 5u
#define FILES	 5u /* more than three quarters of a pack */

static struct ropefs *open_paced(const struct place *p, uint64_t memory, unsigned most_s)
{
	const struct ropefs_opts opts = { .key_file = p->key, .memory_bytes = memory };
	struct ropefs_remote_opts remote = bucket_of(p);
	struct ropefs *fs;

	remote.interval_s = 1;
	remote.interval_most_s = most_s;
	ck_ok(ropefs_open(p->store, &opts, &fs));
	ck_ok(ropefs_remote_add(fs, &remote));
	put_file(fs, "first", 1, 1000);
	ck_ok(ropefs_remote_sync(fs));
	return fs;
}

static void wait_manifest(struct ropefs *fs, uint64_t number)
{
	for (unsigned i = 0; i < 600 && status_of(fs).manifest < number; i++)
		usleep(100000);
	ck_assert_uint_eq(status_of(fs).manifest, number);
}

START_TEST(a_little_waits_for_more_and_what_is_much_is_one_large_object)
{
	static const uint64_t memory[] = { 128 * MIB, 64 * MIB };
	/* In little memory a checkpoint may come in between. */
	static const uint64_t puts_most[] = { 2, 3 };

	for (unsigned turn = 0; turn < ARRAY_LEN(memory); turn++) {
		struct place p = place_new();
		struct ropefs *fs = open_paced(&p, memory[turn], LONG_S);
		struct ropefs_remote_status before = status_of(fs), after;
		char name[32];

		put_file(fs, "little", 2, 100000);
		usleep(1500000); /* more than an interval */
		ck_assert_uint_eq(status_of(fs).manifest, before.manifest);
		for (unsigned i = 0; i < FILES; i++) {
			snprintf(name, sizeof(name), "f%u", i);
			put_file(fs, name, i, FILE_MIB * MIB);
		}
		wait_manifest(fs, before.manifest + 1);
		after = status_of(fs);
		ck_assert_uint_le(after.puts - before.puts, puts_most[turn]);
		ck_assert_uint_gt(after.put_bytes - before.put_bytes, 16 * MIB);
		ck_ok(ropefs_remote_sync(fs));
		ck_ok(ropefs_close(fs));
		ck_ok(clone_to(&p, false));
		fs = open_at(&p, p.clone);
		ck_ok(read_file(fs, name, FILES - 1, FILE_MIB * MIB));
		ck_ok(read_file(fs, "little", 2, 100000));
		ck_ok(ropefs_close(fs));
	}
}
END_TEST

START_TEST(what_is_little_does_not_wait_for_ever)
{
	struct place p = place_new();
	struct ropefs *fs = open_paced(&p, 64 * MIB, 2);
	uint64_t manifest = status_of(fs).manifest;

	put_file(fs, "little", 2, 1000);
	wait_manifest(fs, manifest + 1);
	ck_ok(ropefs_close(fs));
	ck_clone_has(&p, "little", 2, 1000);
}
END_TEST

START_TEST(without_a_word_on_it_an_interval_is_one_to_five_minutes)
{
	struct place p = place_new();
	struct ropefs *fs = open_at(&p, p.store);
	const struct ropefs_remote_opts opts = { .url = p.url };
	char line[64] = "interval_s=7\ninterval_most_s=0\n";

	ck_ok(ropefs_remote_add(fs, &opts));
	ck_assert_uint_eq(fs->remote->cfg.interval_s, 60);
	ck_assert_uint_eq(fs->remote->cfg.interval_most_s, 300);
	ck_ok(ropefs_remote_set(fs, line));
	ck_ok(ropefs_close(fs));
	fs = open_at(&p, p.store);
	ck_assert_uint_eq(fs->remote->cfg.interval_s, 7);
	ck_assert_uint_eq(fs->remote->cfg.interval_most_s, 0);
	ck_ok(ropefs_close(fs));
}
END_TEST

static void wait_failed(struct ropefs *fs, uint64_t errors)
{
	for (unsigned i = 0; i < 600 && status_of(fs).cycle_errors < errors; i++)
		usleep(100000);
	ck_assert_uint_ge(status_of(fs).cycle_errors, errors);
}

/* As after a week: the next try comes in minutes, or as here in an hour. */
static void fail_for_long(struct ropefs *fs)
{
	struct remote *rm = fs->remote;
	uint64_t lsn, errors;

	ck_ok(ropefs_remote_kick(fs, &lsn));
	wait_failed(fs, 1);
	usleep(200000); /* for what comes after it */
	rm->fails = 9;
	errors = status_of(fs).cycle_errors;
	ck_ok(ropefs_remote_kick(fs, &lsn));
	wait_failed(fs, errors + 1);
	usleep(200000);
	rm->retry_ns = io_mono_ns(fs->io) + LONG_S * UINT64_C(1000000000);
}

START_TEST(a_folder_that_is_back_is_found_long_before_the_next_try)
{
	for (unsigned empty = 0; empty < 2; empty++) {
		struct place p = place_new();
		struct ropefs *fs = open_paced(&p, 64 * MIB, 1);
		uint64_t manifest = status_of(fs).manifest;
		char away[4300];

		snprintf(away, sizeof(away), "%s-away", p.bucket);
		ck_ok(rename(p.bucket, away));
		if (empty) /* where it was mounted */
			ck_ok(mkdir(p.bucket, 0700));
		put_file(fs, "more", 2, 1000);
		fail_for_long(fs);
		if (empty)
			ck_ok(rmdir(p.bucket));
		ck_ok(rename(away, p.bucket));
		wait_manifest(fs, manifest + 1);
		for (unsigned i = 0; i < 600 && *status_of(fs).last_error; i++)
			usleep(100000);
		ck_assert_str_eq(status_of(fs).last_error, "");
		ck_ok(ropefs_close(fs));
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("remote_pace");
	TCase *t = remote_tcase("remote_pace");

	tcase_add_test(t, a_little_waits_for_more_and_what_is_much_is_one_large_object);
	tcase_add_test(t, what_is_little_does_not_wait_for_ever);
	tcase_add_test(t, without_a_word_on_it_an_interval_is_one_to_five_minutes);
	tcase_add_test(t, a_folder_that_is_back_is_found_long_before_the_next_try);
	suite_add_tcase(s, t);
	return suite_main(s);
}
