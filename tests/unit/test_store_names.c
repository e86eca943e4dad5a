/* test_store_names.c - names and what belongs to them, in a store that crashes. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "core/acl.h"
#include "tests/lib/store_fixture.h"

static struct ropefs_attr look(const char *name)
{
	struct ropefs_attr a;

	ck_ok(ropefs_lookup(f.fs, ROPEFS_ROOT_INO, ropefs_name(name), &a));
	return a;
}

START_TEST(a_file_has_65000_names_and_no_more)
{
	uint64_t ino;
	char name[16];

	fixture_init(false);
	ino = make("f");
	for (int i = 1; i < 65000; i++) {
		snprintf(name, sizeof(name), "l%d", i);
		ck_ok(ropefs_link(f.fs, ino, ROPEFS_ROOT_INO, ropefs_name(name), NULL));
	}
	ck_assert_int_eq(
		ropefs_link(f.fs, ino, ROPEFS_ROOT_INO, ropefs_name("more"), NULL),
		-EMLINK);
	ck_ok(ropefs_unlink(f.fs, ROPEFS_ROOT_INO, ropefs_name("l7")));
	ck_ok(ropefs_link(f.fs, ino, ROPEFS_ROOT_INO, ropefs_name("more"), NULL));
	ck_assert_uint_eq(look("f").nlink, 65000);
	fixture_release();
}
END_TEST

/* What a rename with RENAME_WHITEOUT leaves has a number from the log, as all inodes do. */
START_TEST(a_whiteout_comes_back_from_the_log)
{
	struct ropefs_attr a, b, c;

	fixture_init(false);
	make("b");
	b = (struct ropefs_attr) { .ino = make("a") };
	ck_ok(ropefs_rename(f.fs, ROPEFS_ROOT_INO, ropefs_name("a"), ROPEFS_ROOT_INO,
			    ropefs_name("b"), RENAME_WHITEOUT));
	a = look("a");
	c.ino = make("c");
	ck_assert_uint_eq(a.mode, S_IFCHR);
	ck_assert_uint_eq(a.rdev, 0);
	ck_assert_uint_eq(a.nlink, 1);
	ck_ok(ropefs_sync(f.fs));
	fixture_crash(_i);
	fixture_open();
	ck_assert_uint_eq(look("a").ino, a.ino);
	ck_assert_uint_eq(look("a").mode, S_IFCHR);
	ck_assert_uint_eq(look("b").ino, b.ino);
	ck_assert_uint_eq(look("c").ino, c.ino);
	ck_assert_uint_eq(f.fs->n_inodes, 4); /* with the root */
	drop("a");
	fixture_release();
}
END_TEST

static void put_acl(const char *which, uint64_t ino)
{
	static const uint8_t acl[] = { 2,    0, 0, 0, /* version */
				       1,    0, 7, 0, 255, 255, 255, 255, /* owner */
				       2,    0, 6, 0, 5,   0,	0,   0, /* user 5 */
				       4,    0, 5, 0, 255, 255, 255, 255, /* group */
				       0x10, 0, 7, 0, 255, 255, 255, 255, /* mask */
				       0x20, 0, 4, 0, 255, 255, 255, 255 };

	ck_ok(ropefs_setxattr(f.fs, ino, which, acl, sizeof(acl), 0));
}

START_TEST(inherited_acls_come_back_from_the_log)
{
	const struct ropefs_new dir = { .mode = S_IFDIR | 0777, .umask = 077 };
	const struct ropefs_who five = { .uid = 5, .gid = 9 },
				six = { .uid = 6, .gid = 9 };
	struct ropefs_attr d, sub;
	uint8_t before[256], after[256];
	ssize_t n;

	fixture_init(false);
	ck_ok(ropefs_create(f.fs, ROPEFS_ROOT_INO, ropefs_name("d"), &dir, &d));
	ck_assert_uint_eq(d.mode, S_IFDIR | 0700);
	put_acl(ACL_DEFAULT, d.ino);
	ck_ok(ropefs_create(f.fs, d.ino, ropefs_name("sub"), &dir, &sub));
	ck_assert_uint_eq(sub.mode, S_IFDIR | 0774);
	n = ropefs_getxattr(f.fs, sub.ino, ACL_ACCESS, before, sizeof(before));
	ck_assert_int_eq(n, 44);
	ck_ok(ropefs_sync(f.fs));
	fixture_crash(_i);
	fixture_open();
	ck_assert_int_eq(ropefs_getxattr(f.fs, sub.ino, ACL_ACCESS, after, sizeof(after)),
			 n);
	ck_assert_mem_eq(before, after, (size_t)n);
	ck_assert_int_eq(
		ropefs_getxattr(f.fs, sub.ino, ACL_DEFAULT, after, sizeof(after)), 44);
	ck_assert_int_eq(ropefs_access(f.fs, sub.ino, &five, 6), 0);
	ck_assert_int_eq(ropefs_access(f.fs, sub.ino, &five, 1), -EACCES);
	ck_assert_int_eq(ropefs_access(f.fs, sub.ino, &six, 4), 0);
	ck_assert_int_eq(ropefs_access(f.fs, sub.ino, &six, 2), -EACCES);
	fixture_release();
}
END_TEST

START_TEST(acls_that_have_no_place_are_refused)
{
	const struct ropefs_new link = { 0 };
	struct ropefs_attr l;
	uint64_t ino;

	fixture_init(false);
	ino = make("f");
	ck_ok(ropefs_symlink(f.fs, ROPEFS_ROOT_INO, ropefs_name("l"), ropefs_name("f"),
			     &link, &l));
	ck_assert_int_eq(ropefs_setxattr(f.fs, ino, ACL_ACCESS, "\2\0\0\0\1", 5, 0),
			 -EINVAL);
	ck_assert_int_eq(ropefs_setxattr(f.fs, ino, ACL_DEFAULT, "\2\0\0\0", 4, 0),
			 -EACCES);
	ck_assert_int_eq(ropefs_setxattr(f.fs, l.ino, ACL_ACCESS, "\2\0\0\0", 4, 0),
			 -EOPNOTSUPP);
	put_acl(ACL_ACCESS, ino);
	ck_assert_uint_eq(look("f").mode & 0777, 0774);
	ck_ok(ropefs_removexattr(f.fs, ino, ACL_ACCESS));
	ck_assert_int_eq(ropefs_removexattr(f.fs, ino, ACL_ACCESS), -ENODATA);
	fixture_release();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("store_names");
	TCase *tc = tcase_create("store_names");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, a_file_has_65000_names_and_no_more);
	tcase_add_loop_test(tc, a_whiteout_comes_back_from_the_log, 0, 2);
	tcase_add_loop_test(tc, inherited_acls_come_back_from_the_log, 0, 2);
	tcase_add_test(tc, acls_that_have_no_place_are_refused);
	suite_add_tcase(s, tc);
	return suite_main(s);
}
