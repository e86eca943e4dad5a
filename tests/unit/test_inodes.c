/* test_inodes.c - what the daemon keeps of an inode that the kernel found before a takeover. */
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
	tcase_add_test(c, what_an_edit_takes_is_kept_of_what_was_found_before_a_takeover);
	suite_add_tcase(s, c);
	return suite_main(s);
}
