/* test_inodes.c - what the daemon keeps of inodes: who may go past the page cache, and what is kept
 * of an inode that the kernel found before a takeover. */
#include "fs/daemon.h"

#include "tests/lib/suite.h"

enum { INO = 7 };

static struct inodes t;
static uint64_t held;

int ropefs_hold(struct ropefs *fs, uint64_t ino)
{
	held++;
	return 0;
}

void ropefs_release(struct ropefs *fs, uint64_t ino, uint64_t times)
{
	held -= times;
}

static void setup(void)
{
	held = 0;
	inodes_init(&t, NULL);
}

static void teardown(void)
{
	inodes_release(&t);
	ck_assert_uint_eq(held, 0);
}

static bool appender_opens(void)
{
	return inodes_opened(&t, INO, FH_WRITE, true);
}

static bool reader_opens(void)
{
	return inodes_opened(&t, INO, FH_READ, false);
}

START_TEST(an_appender_is_direct_unless_somebody_reads)
{
	ck_assert_int_eq(inodes_get(&t, INO), 0);
	ck_assert(!reader_opens());
	ck_assert(!appender_opens());
	inodes_closed(&t, INO, FH_WRITE);
	inodes_closed(&t, INO, FH_READ);
	ck_assert(appender_opens());
}
END_TEST

START_TEST(who_reads_beside_a_direct_writer_is_direct_and_writes_so)
{
	ck_assert_int_eq(inodes_get(&t, INO), 0);
	ck_assert(appender_opens());
	ck_assert(inodes_opened(&t, INO, FH_READ | FH_WRITE, false));
	inodes_closed(&t, INO, FH_WRITE | FH_DIRECT);
	ck_assert_msg(reader_opens(), "the one who reads and writes is still there");
	inodes_closed(&t, INO, FH_READ | FH_WRITE | FH_DIRECT);
	inodes_closed(&t, INO, FH_READ | FH_DIRECT);
	ck_assert(!reader_opens());
}
END_TEST

START_TEST(a_plain_writer_is_in_nobodys_way)
{
	ck_assert_int_eq(inodes_get(&t, INO), 0);
	ck_assert(!inodes_opened(&t, INO, FH_WRITE, false));
	ck_assert(appender_opens());
}
END_TEST

START_TEST(a_read_is_seen_by_one_write_and_by_all_while_it_lasts)
{
	ck_assert_int_eq(inodes_get(&t, INO), 0);
	ck_assert(!inodes_was_read(&t, INO));
	ck_assert(inodes_read_begin(&t, INO));
	ck_assert(inodes_was_read(&t, INO));
	ck_assert(inodes_was_read(&t, INO));
	inodes_read_end(&t, INO);
	ck_assert(inodes_was_read(&t, INO));
	ck_assert(!inodes_was_read(&t, INO));
}
END_TEST

START_TEST(after_a_takeover_only_what_is_new_is_direct)
{
	t.took_over = true;
	ck_assert_int_eq(inodes_get(&t, INO), 0);
	ck_assert_msg(!appender_opens(), "somebody may read it");
	ck_assert_int_eq(inodes_get(&t, INO + 1), 0);
	inodes_made(&t, INO + 1);
	ck_assert(inodes_opened(&t, INO + 1, FH_WRITE, true));
	ck_assert_int_eq(inodes_inherit_direct(&t, INO + 2), 0);
	ck_assert(inodes_opened(&t, INO + 2, FH_READ, false));
	ck_assert_msg(inodes_was_read(&t, INO + 2), "by whom a daemon before answered");
	ck_assert_msg(inodes_was_read(&t, INO + 3), "nothing is known of it");
}
END_TEST

/* An edit makes it shorter that nobody has looked up since: readers went on to the old end. */
START_TEST(what_an_edit_takes_is_kept_of_what_was_found_before_a_takeover)
{
	t.took_over = true;
	inodes_set_less(&t, INO, 100);
	ck_assert_uint_eq(inodes_less(&t, INO), 100);
	inodes_set_less(&t, INO, 0);
	ck_assert_uint_eq(inodes_less(&t, INO), 0);
	inodes_put(&t, INO, 1);
	ck_assert_msg(!held, "and goes when the kernel forgets it");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("inodes");
	TCase *c = tcase_create("inodes");

	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, an_appender_is_direct_unless_somebody_reads);
	tcase_add_test(c, who_reads_beside_a_direct_writer_is_direct_and_writes_so);
	tcase_add_test(c, a_plain_writer_is_in_nobodys_way);
	tcase_add_test(c, a_read_is_seen_by_one_write_and_by_all_while_it_lasts);
	tcase_add_test(c, after_a_takeover_only_what_is_new_is_direct);
	tcase_add_test(c, what_an_edit_takes_is_kept_of_what_was_found_before_a_takeover);
	suite_add_tcase(s, c);
	return suite_main(s);
}
