/* test_snapshot.c - snapshots from the inside: what they cost, what keeps them, what comes back
 * when they go. The random store (tests/property) has them among all else. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "core/base/err.h"
#include "tests/lib/store_fixture.h"

static uint64_t take(const char *name)
{
	struct ropefs_attr root;
	int r = ropefs_snapshot_create(f.fs, ROPEFS_ROOT_INO, ropefs_name(name), &root);

	ck_assert_msg(r == 0, "%d %s", r, err_detail());
	ck_assert(ropefs_in_snapshot(root.ino));
	return root.ino;
}

static void drop_snapshot(const char *name)
{
	int r = ropefs_snapshot_drop(f.fs, ROPEFS_ROOT_INO, ropefs_name(name));

	ck_assert_msg(r == 0, "%d %s", r, err_detail());
}

static uint64_t within(uint64_t dir, const char *name)
{
	struct ropefs_attr attr;

	ck_ok(ropefs_lookup(f.fs, dir, ropefs_name(name), &attr));
	return attr.ino;
}

static void overwrite(uint64_t ino, size_t n, size_t step)
{
	for (size_t at = 0; at < n; at += step)
		ck_assert_int_eq(ropefs_write(f.fs, ino, at, "!", 1, 0, NULL), 1);
}

/* n random bytes in 64s, each before the last: as many extents, in many leaves. */
static void pieces(uint64_t ino, size_t n)
{
	uint8_t bytes[64];

	for (size_t have = 0; have < n; have += sizeof(bytes)) {
		rng_fill(&f.rng, bytes, sizeof(bytes));
		ck_assert_int_eq(ropefs_insert(f.fs, ino, 0, bytes, sizeof(bytes), 0),
				 sizeof(bytes));
	}
}

/* Pages that a later edit frees must not be those that the copy has got from the snapshot. */
START_TEST(what_was_copied_out_of_a_dropped_snapshot_stays)
{
	size_t n = 256 * KIB;
	uint8_t *model = malloc(n), *other = malloc(n);
	uint64_t ino, copy;
	struct ropefs_range from = { .n = UINT64_MAX }, to = { 0 };

	fixture_init(false);
	ino = make("a");
	fill(ino, model, n, 128);
	ck_ok(ropefs_checkpoint(f.fs));
	from.ino = within(take("s"), "a");
	to.ino = copy = make("b");
	ck_assert_int_eq(ropefs_copy(f.fs, to, from), (ssize_t)n);
	drop_snapshot("s");
	if (_i) { /* what is to be remembered is in the superblock */
		ck_ok(ropefs_collect(f.fs));
		fixture_crash(false);
		fixture_open();
	}
	for (int i = 0; i < 4; i++) {
		overwrite(ino, n, 97);
		ck_ok(ropefs_checkpoint(f.fs));
		fill(make((const char *[]) { "c", "d", "e", "f" }[i]), other, n / 4, 64);
		ck_ok(ropefs_checkpoint(f.fs));
		fixture_crash(false); /* nothing stays in memory */
		fixture_open();
		expect_bytes(copy, model, n);
	}
	fixture_release();
	free(model);
	free(other);
}
END_TEST

/* However much there is, a snapshot writes no bytes of files and a few pages. */
START_TEST(a_snapshot_copies_nothing)
{
	struct packs_stats packs, packs_after;
	struct pagefile_stats pages, pages_after;
	uint8_t bytes[200];

	fixture_init(false);
	memset(bytes, 'x', sizeof(bytes));
	for (int i = 0; i < 5000; i++) {
		char name[16];

		snprintf(name, sizeof(name), "f%d", i);
		ck_assert_int_eq(
			ropefs_write(f.fs, make(name), 0, bytes, sizeof(bytes), 0, NULL),
			200);
	}
	ck_ok(ropefs_checkpoint(f.fs));
	packs_get_stats(f.fs->packs, &packs);
	pagefile_get_stats(f.fs->pf, &pages);
	take("s");
	ck_ok(ropefs_checkpoint(f.fs));
	packs_get_stats(f.fs->packs, &packs_after);
	pagefile_get_stats(f.fs->pf, &pages_after);
	ck_assert_uint_eq(packs_after.plain_bytes, packs.plain_bytes);
	ck_assert_uint_lt(pages_after.written - pages.written, 20);
	fixture_release();
}
END_TEST

/* Hot bytes that are in a snapshot and in an edited file go into a pack once. */
START_TEST(bytes_that_two_trees_have_are_packed_once)
{
	size_t n = 512 * KIB;
	uint8_t *bytes = malloc(n);
	struct packs_stats packs;
	uint64_t ino, root;

	fixture_init(false);
	rng_fill(&f.rng, bytes, n);
	ino = make("a");
	for (size_t at = 0; at < n; at += 8192)
		ck_assert_int_eq(ropefs_write(f.fs, ino, at, bytes + at, 8192, 0, NULL),
				 8192);
	root = take("s");
	ck_assert_int_eq(ropefs_write(f.fs, ino, n, "end", 3, 0, NULL), 3);
	ck_ok(ropefs_checkpoint(f.fs));
	packs_get_stats(f.fs->packs, &packs);
	ck_assert_uint_lt(packs.plain_bytes, n + n / 4);
	expect_bytes(within(root, "a"), bytes, n);
	fixture_crash(false);
	fixture_open();
	expect_bytes(within(root, "a"), bytes, n);
	fixture_release();
	free(bytes);
}
END_TEST

static uint64_t store_bytes(uint64_t *ret_pages)
{
	struct packs_stats packs;
	struct pagefile_stats pages;

	packs_get_stats(f.fs->packs, &packs);
	pagefile_get_stats(f.fs->pf, &pages);
	*ret_pages = pages.used;
	return packs.file_bytes;
}

START_TEST(a_dropped_snapshot_gives_its_space_back)
{
	uint64_t bytes, pages, bytes_after, pages_after;
	size_t n = 512 * KIB;
	struct ropefs_status status;

	fixture_init(false);
	pieces(make("kept"), 64 * KIB);
	ck_ok(ropefs_collect(f.fs));
	bytes = store_bytes(&pages);
	pieces(make("a"), n);
	take("s");
	drop("a");
	ck_ok(ropefs_collect(f.fs));
	ck_assert_uint_gt(store_bytes(&pages_after), bytes + n);
	ropefs_get_status(f.fs, &status);
	ck_assert_uint_eq(status.snapshots, 1);
	ck_assert_uint_gt(status.snapshot_bytes, n);
	drop_snapshot("s");
	ck_assert(collect_due_locked(f.fs));
	ck_ok(ropefs_collect(f.fs));
	bytes_after = store_bytes(&pages_after);
	ck_assert_uint_lt(bytes_after, bytes + 64 * KIB);
	ck_assert_uint_lt(pages_after, pages + 16);
	ropefs_get_status(f.fs, &status);
	ck_assert_uint_eq(status.snapshots, 0);
	ck_assert_uint_eq(status.snapshot_bytes, 0);
	ck_assert(!collect_due_locked(f.fs));
	fixture_release();
}
END_TEST

/* A snapshot's pages are kept, not leaked: collections don't come again and again for them. */
START_TEST(what_a_snapshot_keeps_is_not_garbage)
{
	size_t n = 512 * KIB;
	struct nodes_stats nodes;
	uint64_t ino;

	fixture_init(false);
	ino = make("a");
	pieces(ino, n);
	ck_ok(ropefs_checkpoint(f.fs));
	take("s");
	overwrite(ino, n, 4096);
	ck_ok(ropefs_checkpoint(f.fs));
	nodes_get_stats(f.fs->nodes, &nodes);
	ck_assert_uint_lt(nodes.leaked_pages, 8);
	ck_assert_uint_gt(nodes.kept_pages, 20);
	drop_snapshot("s");
	nodes_get_stats(f.fs->nodes, &nodes);
	ck_assert_uint_gt(nodes.leaked_pages, 20);
	fixture_release();
}
END_TEST

START_TEST(a_power_cut_while_one_is_taken_leaves_it_whole_or_not_at_all)
{
	bool taken = false;

	for (uint64_t stop = 1; !taken; stop++) {
		uint8_t model[8192];
		struct ropefs_attr root;
		uint64_t ino;
		int r;

		fixture_init(false);
		ino = make("a");
		fill(ino, model, sizeof(model), 64);
		if (stop % 2)
			ck_ok(ropefs_checkpoint(f.fs));
		ck_assert_int_eq(ropefs_write(f.fs, ino, 0, "new", 3, 0, NULL), 3);
		memcpy(model, "new", 3);
		io_sim_stop_at(f.io, IO_SIM_ANY & ~IO_SIM_PREAD, stop);
		taken = ropefs_snapshot_create(f.fs, ROPEFS_ROOT_INO, ropefs_name("s"),
					       NULL) >= 0;
		ropefs_write(f.fs, ino, 10, "later", 5, 0, NULL);
		fixture_crash(true);
		io_sim_stop_at(f.io, 0, 0);
		fixture_open();
		r = ropefs_snapshot_lookup(f.fs, ROPEFS_ROOT_INO, ropefs_name("s"),
					   &root);
		ck_assert_msg(r == 0 || (r == -ENOENT && !taken), "%d", r);
		if (r == 0)
			expect_bytes(within(root.ino, "a"), model, sizeof(model));
		fixture_release();
	}
}
END_TEST

START_TEST(nothing_in_a_snapshot_can_be_changed)
{
	struct ropefs_new what = { .mode = S_IFREG | 0644 };
	struct ropefs_name a = ropefs_name("a"), z = ropefs_name("z");
	struct ropefs_range range = { .n = 1 };
	struct ropefs_attr attr = { 0 };
	uint64_t root, ino, live;

	fixture_init(false);
	live = make("a");
	ck_assert_int_eq(ropefs_write(f.fs, live, 0, "live", 4, 0, NULL), 4);
	root = take("s");
	ino = within(root, "a");
	range.ino = ino;
	ck_assert_int_eq(ropefs_write(f.fs, ino, 0, "x", 1, 0, NULL), -EROFS);
	ck_assert_int_eq(ropefs_insert(f.fs, ino, 0, "x", 1, 0), -EROFS);
	ck_assert_int_eq(ropefs_cut(f.fs, ino, 0, 1), -EROFS);
	ck_assert_int_eq(ropefs_truncate(f.fs, ino, 0), -EROFS);
	ck_assert_int_eq(ropefs_punch(f.fs, ino, 0, 1, true), -EROFS);
	ck_assert_int_eq(ropefs_copy(f.fs, range, (struct ropefs_range) { live, 0, 4 }),
			 -EROFS);
	ck_assert_int_eq(
		ropefs_replace(f.fs, range, (struct ropefs_range) { live, 0, 4 }),
		-EROFS);
	ck_assert_int_eq(ropefs_setattr(f.fs, ino, &attr, ROPEFS_SET_MODE, NULL), -EROFS);
	ck_assert_int_eq(ropefs_setxattr(f.fs, ino, "user.x", "y", 1, 0), -EROFS);
	ck_assert_int_eq(ropefs_removexattr(f.fs, ino, "user.x"), -EROFS);
	ck_assert_int_eq(ropefs_create(f.fs, root, z, &what, &attr), -EROFS);
	ck_assert_int_eq(ropefs_symlink(f.fs, root, z, a, &what, &attr), -EROFS);
	ck_assert_int_eq(ropefs_link(f.fs, live, root, z, &attr), -EROFS);
	ck_assert_int_eq(ropefs_link(f.fs, ino, ROPEFS_ROOT_INO, z, &attr), -EROFS);
	ck_assert_int_eq(ropefs_unlink(f.fs, root, a), -EROFS);
	ck_assert_int_eq(ropefs_rmdir(f.fs, root, a), -EROFS);
	ck_assert_int_eq(ropefs_rename(f.fs, root, a, ROPEFS_ROOT_INO, z, 0), -EROFS);
	ck_assert_int_eq(ropefs_rename(f.fs, ROPEFS_ROOT_INO, a, root, z, 0), -EROFS);
	ck_assert_int_eq(ropefs_snapshot_create(f.fs, root, z, NULL), -EROFS);
	expect_bytes(ino, (const uint8_t *)"live", 4);
	fixture_release();
}
END_TEST

START_TEST(a_snapshot_is_found_listed_held_and_gone)
{
	struct ropefs_name s = ropefs_name("s");
	struct ropefs_snapshot list[4];
	struct ropefs_attr attr;
	uint64_t root, ino;

	fixture_init(false);
	ino = make("a");
	root = take("s");
	take("t");
	ck_assert_int_eq(ropefs_snapshot_create(f.fs, ROPEFS_ROOT_INO, s, NULL), -EEXIST);
	ck_assert_int_eq(ropefs_snapshot_create(f.fs, ino, s, NULL), -ENOTDIR);
	ck_assert_int_eq(ropefs_snapshot_list(f.fs, ROPEFS_ROOT_INO, 0, list, 4), 2);
	ck_assert_str_eq(list[0].name, "s");
	ck_assert_uint_eq(list[0].root, root);
	ck_assert_int_eq(ropefs_snapshot_list(f.fs, 0, list[0].id, list, 4), 1);
	ck_assert_str_eq(list[0].name, "t");
	ck_assert_int_eq(ropefs_snapshot_list(f.fs, 77, 0, list, 4), 0);
	ck_ok(ropefs_hold(f.fs, within(root, "a")));
	ck_assert_int_eq(ropefs_snapshot_drop(f.fs, ROPEFS_ROOT_INO, s), -EBUSY);
	ropefs_release(f.fs, within(root, "a"), 1);
	drop_snapshot("s");
	ck_assert_int_eq(ropefs_snapshot_drop(f.fs, ROPEFS_ROOT_INO, s), -ENOENT);
	ck_assert_int_eq(ropefs_getattr(f.fs, root, &attr), -ESTALE);
	ck_assert_int_eq(ropefs_lookup(f.fs, root, ropefs_name("a"), &attr), -ESTALE);
	take("s");
	ck_assert_int_eq(ropefs_getattr(f.fs, root, &attr), -ESTALE); /* a new number */
	fixture_release();
}
END_TEST

START_TEST(a_write_of_other_bytes_is_not_shared)
{
	struct ropefs_range to = { .n = 4096 }, from = { .n = 4096 };
	uint8_t bytes[8192], other[4096];
	bool shared = true;

	fixture_init(false);
	rng_fill(&f.rng, bytes, sizeof(bytes));
	memcpy(other, bytes, sizeof(other));
	other[4095] ^= 1;
	from.ino = make("a");
	to.ino = make("b");
	ck_ok(ropefs_write(f.fs, from.ino, 0, bytes, 4096, 0, NULL));
	ck_assert_int_eq(ropefs_write_like(f.fs, to, other, 0, from, &shared), 4096);
	ck_assert(!shared);
	expect_bytes(to.ino, other, 4096);
	ck_assert_int_eq(ropefs_write_like(f.fs, to, bytes, 0, from, &shared), 4096);
	ck_assert(shared);
	expect_bytes(to.ino, bytes, 4096);
	from.at = to.at = 1; /* the source has too few */
	ck_assert_int_eq(ropefs_write_like(f.fs, to, bytes + 1, 0, from, &shared), 4096);
	ck_assert(!shared);
	expect_bytes(to.ino, bytes, 4097);
	from.ino = to.ino;
	ck_assert_int_eq(ropefs_write_like(f.fs, to, bytes + 1, 0, from, &shared), 4096);
	ck_assert(!shared); /* with itself */
	fixture_release();
}
END_TEST

/* Of a store in a folder, with threads and collections of their own. */
START_TEST(fsck_knows_snapshots)
{
	struct ropefs_check check = { 0 };
	uint8_t *model = malloc(256 * KIB);
	struct ropefs_new folder = { .mode = S_IFDIR | 0755 };
	struct ropefs_attr dir;
	uint64_t ino;

	fixture_init(true);
	check.key_file = f.key;
	ino = make("a");
	fill(ino, model, 256 * KIB, 256);
	ck_ok(ropefs_create(f.fs, ROPEFS_ROOT_INO, ropefs_name("d"), &folder, &dir));
	take("s");
	ck_ok(ropefs_snapshot_create(f.fs, dir.ino, ropefs_name("inner"), NULL));
	overwrite(ino, 256 * KIB, 1000);
	take("t");
	ck_assert_int_eq(ropefs_rmdir(f.fs, ROPEFS_ROOT_INO, ropefs_name("d")),
			 -ENOTEMPTY);
	drop("a");
	drop_snapshot("s");
	ck_ok(_i ? ropefs_sync(f.fs) : ropefs_collect(f.fs));
	fixture_crash(false);
	ck_assert_msg(ropefs_check(f.dir, &check) == 0, "%s", ropefs_error());
	ck_assert_uint_eq(check.problems, 0);
	fixture_open();
	drop_snapshot("t");
	ck_ok(ropefs_snapshot_drop(f.fs, dir.ino, ropefs_name("inner")));
	ck_ok(ropefs_rmdir(f.fs, ROPEFS_ROOT_INO, ropefs_name("d")));
	ck_ok(ropefs_collect(f.fs));
	fixture_crash(false);
	check = (struct ropefs_check) { .key_file = f.key };
	ck_assert_msg(ropefs_check(f.dir, &check) == 0, "%s", ropefs_error());
	ck_assert_uint_eq(check.leaked_pages, 0);
	fixture_open();
	fixture_release();
	free(model);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("snapshot");
	TCase *tc = tcase_create("alone");

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, what_was_copied_out_of_a_dropped_snapshot_stays, 0, 2);
	tcase_add_test(tc, a_snapshot_copies_nothing);
	tcase_add_test(tc, bytes_that_two_trees_have_are_packed_once);
	tcase_add_test(tc, a_dropped_snapshot_gives_its_space_back);
	tcase_add_test(tc, what_a_snapshot_keeps_is_not_garbage);
	tcase_add_test(tc, a_power_cut_while_one_is_taken_leaves_it_whole_or_not_at_all);
	tcase_add_test(tc, nothing_in_a_snapshot_can_be_changed);
	tcase_add_test(tc, a_write_of_other_bytes_is_not_shared);
	tcase_add_test(tc, a_snapshot_is_found_listed_held_and_gone);
	suite_add_tcase(s, tc);
	tc = tcase_create("threads");
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, fsck_knows_snapshots, 0, 2);
	suite_add_tcase(s, tc);
	return suite_main(s);
}
