/* test_ttl.c - files that expire, on the simulated disk with its clock. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/err.h"
#include "core/io/io_sim.h"
#include "core/store_priv.h"
#include "tests/lib/sim_store.h"
#include "tests/lib/suite.h"

#define SECOND ((uint64_t)1000000000)

static struct io *io;
static struct key_file *kf;
static struct ropefs *fs;
static char removed_names[256];

static void open_store(void)
{
	struct store_opts o = { .threads = false, .segment_bytes = 10 * MIB };
	int r = store_open(io, kf, &o, &fs);

	ck_assert_msg(r == 0, "open: %d %s", r, err_detail());
}

static void setup(void)
{
	sim_store_new(1, &io, &kf);
	open_store();
}

static void teardown(void)
{
	store_abandon(fs, false);
	key_file_free(kf);
}

static uint64_t make(uint64_t dir, const char *name, uint32_t mode)
{
	struct ropefs_new what = { .mode = mode };
	struct ropefs_attr a;

	ck_ok(ropefs_create(fs, dir, ropefs_name(name), &what, &a));
	return a.ino;
}

static void ttl(uint64_t ino, const char *value)
{
	ck_ok(ropefs_setxattr(fs, ino, "user.ropefs.ttl", value, strlen(value), 0));
}

static bool there(uint64_t dir, const char *name)
{
	struct ropefs_attr a;

	return ropefs_lookup(fs, dir, ropefs_name(name), &a) >= 0;
}

static void note_removed(void *arg, uint64_t dir, uint64_t ino, struct ropefs_name name)
{
	(void)arg;
	ck_assert(dir && ino);
	strncat(removed_names, name.p, name.n);
	strcat(removed_names, " ");
}

/* After so many seconds: which files go. */
static const char *expired_after(uint64_t seconds)
{
	const struct ropefs_expire how = { .removed = note_removed };
	uint64_t wait_ms = 0;

	*removed_names = '\0';
	io_sim_advance(io, seconds * SECOND);
	ck_ok(ropefs_expire(fs, &how, &wait_ms));
	ck_assert_uint_gt(wait_ms, 0);
	return removed_names;
}

#define DIR_MODE  (S_IFDIR | 0755)
#define FILE_MODE (S_IFREG | 0644)

START_TEST(a_file_goes_when_nobody_changed_it_for_its_ttl)
{
	uint64_t dir = make(1, "dir", DIR_MODE), sub = make(dir, "sub", DIR_MODE);
	uint64_t longer = make(dir, "longer", DIR_MODE), b;

	ttl(dir, "10s");
	ttl(longer, "1h");
	make(dir, "a", FILE_MODE);
	b = make(sub, "b", FILE_MODE);
	make(longer, "c", FILE_MODE);
	make(1, "d", FILE_MODE);
	make(dir, "fifo", S_IFIFO | 0644);
	ck_assert_str_eq(expired_after(0), "");
	ck_assert_str_eq(expired_after(6), "");
	ck_ok(ropefs_write(fs, b, 0, "x", 1, 0, NULL));
	ck_assert_str_eq(expired_after(6), "a ");
	ck_assert(!there(dir, "a") && there(sub, "b") && there(1, "d"));
	ck_assert_str_eq(expired_after(11), "b ");
	ck_assert_str_eq(expired_after(100), "");
	ck_assert(there(longer, "c") && there(dir, "sub") && there(dir, "fifo"));
	ck_assert_str_eq(expired_after(3600), "c ");
	ck_assert_uint_eq(fs->expired_files, 3);
}
END_TEST

START_TEST(a_file_of_its_own_ttl_goes_alone)
{
	uint64_t f = make(1, "f", FILE_MODE), g = make(1, "g", FILE_MODE);

	ttl(f, "5s");
	ttl(g, "5s");
	ck_ok(ropefs_removexattr(fs, g, "user.ropefs.ttl"));
	make(1, "h", FILE_MODE);
	ck_assert_str_eq(expired_after(20), "f ");
	ck_assert_str_eq(expired_after(20), "");
}
END_TEST

START_TEST(one_in_use_goes_as_by_unlink)
{
	uint64_t dir = make(1, "dir", DIR_MODE), f;
	char byte;

	ttl(dir, "5s");
	f = make(dir, "f", FILE_MODE);
	ck_ok(ropefs_write(fs, f, 0, "x", 1, 0, NULL));
	ck_ok(ropefs_hold(fs, f));
	ck_assert_str_eq(expired_after(9), "f ");
	ck_assert_int_eq(ropefs_read(fs, f, 0, &byte, 1, 0), 1);
	ropefs_release(fs, f, 1);
	ck_assert_int_eq(ropefs_read(fs, f, 0, &byte, 1, 0), -ENOENT);
}
END_TEST

START_TEST(ttls_survive_a_crash_and_a_restart)
{
	uint64_t dir = make(1, "dir", DIR_MODE);

	ttl(dir, "5s");
	make(dir, "f", FILE_MODE);
	ck_ok(ropefs_sync(fs));
	store_abandon(fs, true);
	io_sim_power_cut(io);
	open_store();
	ck_assert(there(dir, "f"));
	ck_ok(checkpoint_run(fs, true));
	store_abandon(fs, true);
	io_sim_kill(io);
	open_store();
	ck_assert_str_eq(expired_after(9), "f ");
	ck_ok(ropefs_rmdir(fs, 1, ropefs_name("dir")));
	ck_assert_str_eq(expired_after(9), "");
}
END_TEST

/* A machine without a clock of its own learns the time. */
START_TEST(a_clock_that_jumps_forward_removes_nothing_at_once)
{
	uint64_t dir = make(1, "dir", DIR_MODE);

	ttl(dir, "10s");
	make(dir, "f", FILE_MODE);
	ck_assert_str_eq(expired_after(1), "");
	/* As if the clock had been an hour back until now. */
	fs->ttl_seen_real -= 3600 * (int64_t)SECOND;
	ck_assert_str_eq(expired_after(9), "");
	ck_assert_str_eq(expired_after(9), "");
	ck_assert_str_eq(expired_after(9), "f ");
}
END_TEST

START_TEST(a_ttl_is_an_age)
{
	static const char *const bad[] = {
		"", "5", "s", "7y", "1G", "1d,2d", "-1s", "0s"
	};
	uint64_t dir = make(1, "dir", DIR_MODE);

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		ck_assert_int_eq(ropefs_setxattr(fs, dir, "user.ropefs.ttl", bad[i],
						 strlen(bad[i]), 0),
				 -EINVAL);
	ck_ok(ropefs_policy_check("ttl", "4w"));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("ttl");
	TCase *tc = tcase_create("ttl");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, a_file_goes_when_nobody_changed_it_for_its_ttl);
	tcase_add_test(tc, a_file_of_its_own_ttl_goes_alone);
	tcase_add_test(tc, one_in_use_goes_as_by_unlink);
	tcase_add_test(tc, ttls_survive_a_crash_and_a_restart);
	tcase_add_test(tc, a_clock_that_jumps_forward_removes_nothing_at_once);
	tcase_add_test(tc, a_ttl_is_an_age);
	suite_add_tcase(s, tc);
	return suite_main(s);
}
