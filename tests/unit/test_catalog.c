/* test_catalog.c - the rows of the catalog against plain arrays. */
#include "core/catalog/catalog.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/err.h"
#include "core/catalog/dirent.h"
#include "core/catalog/row.h"
#include "core/page/nodes_priv.h"
#include "tests/lib/suite.h"

/* --- memory that runs out --- */

static bool no_memory;

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define MEMORY_CAN_END 1
extern void *__libc_malloc(size_t n);

/* Nodes come from malloc(); sanitizers bring their own. */
void *malloc(size_t n)
{
	if (no_memory) {
		errno = ENOMEM;
		return NULL;
	}
	return __libc_malloc(n);
}
#else
#define MEMORY_CAN_END 0
#endif

/* --- fixture --- */

struct fixture {
	struct catalog c;
	struct keys *keys;
	struct rng rng;
};

static struct fixture fixture_new(uint64_t salt)
{
	struct nodes_opts opts = { .cache_bytes = 64 * MIB };
	struct fixture f = { .rng = rng_seeded(suite_seed() ^ salt) };

	ck_ok(keys_init_library());
	ck_ok(keys_for_test(CIPHER_XCHACHA20, &f.keys));
	ck_ok(nodes_new_cache(&opts, &f.c.bt.nodes));
	catalog_register(f.c.bt.nodes);
	f.c.keys = f.keys;
	return f;
}

static void fixture_release(struct fixture *f)
{
	ck_assert_msg(btree_check(&f->c.bt) == 0, "%s", err_detail());
	nodes_free_cache(f->c.bt.nodes);
	keys_free(f->keys);
}

static struct inode_row row_of(uint64_t n)
{
	struct inode_row row = { 0 };

	row.version = le32_put(INODE_ROW_VERSION);
	row.mode = le32_put(S_IFREG | 0644);
	row.nlink = le32_put((uint32_t)n);
	row.mtime = le64_put(n * 77);
	row.rope.bytes = le64_put(n * 1000);
	return row;
}

/* Rows of one kind and inode, whatever they hold. */
static unsigned count_rows(struct catalog *c, char kind, uint64_t ino)
{
	uint8_t from[9] = { (uint8_t)kind };
	struct btree_cursor cur;
	struct span key, value;
	unsigned n = 0;

	be64_store(from + 1, ino);
	ck_ok(btree_seek(&c->bt, span_of(from, 9), &cur));
	while (btree_next(&cur, &key, &value) > 0 && !memcmp(key.p, from, 9))
		n++;
	return n;
}

static void assert_buf_is(const struct buf *b, struct span expect)
{
	ck_assert_uint_eq(b->n, expect.n);
	ck_assert(b->n == 0 || memcmp(b->p, expect.p, b->n) == 0);
}

/* --- inodes and orphans --- */

START_TEST(inodes_come_back_in_order)
{
	struct fixture f = fixture_new(1);
	struct inode_row got, row;
	uint64_t ino = 0, expect = 1;

	for (uint64_t i = 1; i <= 5000; i++) {
		row = row_of(i);
		ck_ok(catalog_put_inode(&f.c, i * 3, &row));
	}
	for (uint64_t i = 2; i <= 5000; i += 2)
		ck_ok(catalog_del_inode(&f.c, i * 3));
	ck_assert_int_eq(catalog_del_inode(&f.c, 6), -ENOENT);
	ck_assert_int_eq(catalog_get_inode(&f.c, 6, &got), -ENOENT);
	while (catalog_next_inode(&f.c, ino, &ino, &got) > 0) {
		row = row_of(expect);
		ck_assert_uint_eq(ino, expect * 3);
		ck_assert(memcmp(&got, &row, sizeof(row)) == 0);
		ck_ok(catalog_get_inode(&f.c, ino, &got));
		ck_assert(memcmp(&got, &row, sizeof(row)) == 0);
		expect += 2;
	}
	ck_assert_uint_eq(expect, 5001);
	ck_assert_int_eq(catalog_next_inode(&f.c, UINT64_MAX, &ino, &got), 0);
	fixture_release(&f);
}
END_TEST

START_TEST(orphans_are_listed_until_removed)
{
	struct fixture f = fixture_new(2);
	struct inode_row row = row_of(1);
	uint64_t ino = 0;

	ck_assert_int_eq(catalog_next_orphan(&f.c, 0, &ino), 0);
	ck_ok(catalog_put_inode(&f.c, 7, &row));
	ck_ok(catalog_add_orphan(&f.c, 7));
	ck_ok(catalog_add_orphan(&f.c, 7));
	ck_ok(catalog_add_orphan(&f.c, UINT64_MAX));
	ck_ok(catalog_set_xattr(&f.c, 1, SPAN_STR("user.a"), SPAN_STR("1")));
	ck_assert_int_eq(catalog_next_orphan(&f.c, 0, &ino), 1);
	ck_assert_uint_eq(ino, 7);
	ck_assert_int_eq(catalog_next_orphan(&f.c, 7, &ino), 1);
	ck_assert_uint_eq(ino, UINT64_MAX);
	ck_assert_int_eq(catalog_next_orphan(&f.c, UINT64_MAX, &ino), 0);
	ck_ok(catalog_del_orphan(&f.c, 7));
	ck_ok(catalog_del_orphan(&f.c, UINT64_MAX));
	ck_assert_int_eq(catalog_del_orphan(&f.c, 7), -ENOENT);
	ck_assert_int_eq(catalog_next_orphan(&f.c, 0, &ino), 0);
	fixture_release(&f);
}
END_TEST

/* --- directories --- */

static struct span number_name(uint64_t n, char out[32])
{
	return span_of(out,
		       (size_t)snprintf(out, 32, "file-%llu", (unsigned long long)n));
}

#define MANY 100000u

START_TEST(large_directory_is_listed_whole_once)
{
	struct fixture f = fixture_new(3);
	uint8_t *seen = calloc(MANY, 1);
	struct entry e;
	uint64_t after = 0;
	unsigned n = 0;
	char name[32];

	ck_assert_ptr_nonnull(seen);
	for (uint64_t i = 0; i < MANY; i++)
		ck_ok(catalog_add_entry(&f.c, 1, number_name(i, name), i + 10, DT_REG));
	ck_ok(catalog_add_entry(&f.c, 2, SPAN_STR("other"), 5, DT_DIR));
	while (catalog_next_entry(&f.c, 1, after, &e) > 0) {
		ck_assert_uint_gt(e.cookie, after);
		ck_assert_uint_ge(e.cookie, 16);
		ck_assert_uint_le(e.cookie, INT64_MAX);
		ck_assert_uint_lt(e.ino - 10, MANY);
		ck_assert_uint_eq(seen[e.ino - 10], 0);
		seen[e.ino - 10] = 1;
		ck_assert_uint_eq(e.name_len, number_name(e.ino - 10, name).n);
		ck_assert_str_eq(e.name, name);
		after = e.cookie;
		n++;
	}
	ck_assert_uint_eq(n, MANY);
	for (uint64_t i = 0; i < MANY; i++) {
		ck_ok(catalog_lookup(&f.c, 1, number_name(i, name), &e));
		ck_assert_uint_eq(e.ino, i + 10);
		ck_ok(catalog_del_entry(&f.c, 1, number_name(i, name)));
	}
	ck_assert_int_eq(catalog_next_entry(&f.c, 1, 0, &e), 0);
	ck_assert_int_eq(catalog_next_entry(&f.c, 2, 0, &e), 1);
	ck_assert_str_eq(e.name, "other");
	ck_assert_int_eq(catalog_next_entry(&f.c, 2, UINT64_MAX, &e), 0);
	free(seen);
	fixture_release(&f);
}
END_TEST

START_TEST(names_of_all_bytes)
{
	struct fixture f = fixture_new(4);
	char name[256];
	struct entry e;

	for (unsigned b = 1; b < 256; b++) {
		if (b == '/')
			continue;
		memset(name, (int)b, sizeof(name));
		for (size_t n = 1; n <= CATALOG_NAME_MAX; n += n == 1 ? 253 : 1)
			ck_ok(catalog_add_entry(&f.c, 9, span_of(name, n), b * 1000 + n,
						DT_FIFO));
	}
	for (unsigned b = 1; b < 256; b++) {
		if (b == '/')
			continue;
		memset(name, (int)b, sizeof(name));
		for (size_t n = 1; n <= CATALOG_NAME_MAX; n += n == 1 ? 253 : 1) {
			ck_ok(catalog_lookup(&f.c, 9, span_of(name, n), &e));
			ck_assert_uint_eq(e.ino, b * 1000 + n);
			ck_assert_uint_eq(e.type, DT_FIFO);
			ck_assert_uint_eq(e.name_len, n);
			ck_assert(memcmp(e.name, name, n) == 0 && e.name[n] == '\0');
		}
	}
	fixture_release(&f);
}
END_TEST

START_TEST(bad_names_are_refused)
{
	struct fixture f = fixture_new(5);
	char name[256];
	struct entry e;

	memset(name, 'x', sizeof(name));
	ck_assert_int_eq(catalog_add_entry(&f.c, 1, span_of(name, 256), 2, DT_REG),
			 -ENAMETOOLONG);
	ck_assert_int_eq(catalog_add_entry(&f.c, 1, span_of(name, 0), 2, DT_REG),
			 -EINVAL);
	ck_assert_int_eq(catalog_add_entry(&f.c, 1, span_of("a/b", 3), 2, DT_REG),
			 -EINVAL);
	ck_assert_int_eq(catalog_add_entry(&f.c, 1, span_of("a\0b", 3), 2, DT_REG),
			 -EINVAL);
	ck_assert_int_eq(catalog_lookup(&f.c, 1, span_of("a\0b", 3), &e), -EINVAL);
	fixture_release(&f);
}
END_TEST

START_TEST(an_entry_is_added_once_and_repointed_in_place)
{
	struct fixture f = fixture_new(6);
	struct entry before, after;

	ck_assert_int_eq(catalog_set_entry(&f.c, 1, SPAN_STR("a"), 3, DT_REG), -ENOENT);
	ck_assert_int_eq(catalog_del_entry(&f.c, 1, SPAN_STR("a")), -ENOENT);
	ck_ok(catalog_add_entry(&f.c, 1, SPAN_STR("a"), 3, DT_REG));
	ck_assert_int_eq(catalog_add_entry(&f.c, 1, SPAN_STR("a"), 4, DT_REG), -EEXIST);
	ck_ok(catalog_add_entry(&f.c, 2, SPAN_STR("a"), 4, DT_REG));
	ck_ok(catalog_lookup(&f.c, 1, SPAN_STR("a"), &before));
	ck_ok(catalog_set_entry(&f.c, 1, SPAN_STR("a"), 5, DT_DIR));
	ck_ok(catalog_lookup(&f.c, 1, SPAN_STR("a"), &after));
	ck_assert_uint_eq(before.ino, 3);
	ck_assert_uint_eq(after.ino, 5);
	ck_assert_uint_eq(after.type, DT_DIR);
	ck_assert_uint_eq(after.cookie, before.cookie);
	ck_ok(catalog_lookup(&f.c, 2, SPAN_STR("a"), &after));
	ck_assert_uint_eq(after.ino, 4);
	fixture_release(&f);
}
END_TEST

enum { SAME_HASH = 128 }; /* names at most */

/* In one directory, fills a hash, and replaces an entry of it. */
static void check_full_hash(struct fixture *f, uint64_t hash)
{
	char name[32], name_more[32], name_77[32];
	struct dirent_name one_more = { 1, number_name(SAME_HASH, name_more), hash };
	struct dirent_name gone = { 1, number_name(77, name_77), hash };
	struct entry e, was;

	for (uint64_t i = 0; i < SAME_HASH; i++) {
		struct dirent_name at = { 1, number_name(i, name), hash };

		ck_ok(dirent_add(&f->c, &at, i + 1, DT_REG));
		ck_assert_int_eq(dirent_add(&f->c, &at, i + 1, DT_REG), -EEXIST);
	}
	ck_assert_int_eq(dirent_add(&f->c, &one_more, SAME_HASH + 1, DT_REG), -ENOSPC);
	ck_assert_int_eq(dirent_lookup(&f->c, &one_more, &e), -ENOENT);
	ck_ok(dirent_lookup(&f->c, &gone, &was));
	ck_ok(dirent_del(&f->c, &gone));
	ck_assert_int_eq(dirent_del(&f->c, &gone), -ENOENT);
	ck_ok(dirent_add(&f->c, &one_more, SAME_HASH + 1, DT_REG));
	ck_ok(dirent_lookup(&f->c, &one_more, &e));
	ck_assert_uint_eq(e.ino, SAME_HASH + 1);
	ck_assert_uint_eq(e.cookie, was.cookie);
}

START_TEST(names_of_one_hash_live_side_by_side)
{
	struct fixture f = fixture_new(7);
	/* The lowest, whose cookies begin with 256; two next to it; the highest. */
	static const uint64_t hashes[] = { 0, 0x400, 0x600, UINT64_MAX };
	char name[32];
	struct entry e;

	for (size_t h = 0; h < ARRAY_LEN(hashes); h++)
		check_full_hash(&f, hashes[h]);
	for (size_t h = 0; h < ARRAY_LEN(hashes); h++)
		for (uint64_t i = 0; i <= SAME_HASH; i++) {
			struct dirent_name at = { 1, number_name(i, name), hashes[h] };

			ck_assert_int_eq(dirent_lookup(&f.c, &at, &e),
					 i == 77 ? -ENOENT : 0);
			if (i == 77)
				continue;
			ck_assert_uint_eq(e.ino, i + 1);
			ck_assert_uint_eq(e.cookie >> 8, MAX(hashes[h] >> 9, 1));
		}
	ck_assert_uint_eq(count_rows(&f.c, 'D', 1), 4 * SAME_HASH);
	fixture_release(&f);
}
END_TEST

#define NAMES 600u

/* What a reader of a directory is promised: an entry that is there all the time comes
 * once. */
START_TEST(readdir_amid_adds_and_removes)
{
	struct fixture f = fixture_new(8);
	uint64_t cookies[NAMES] = { 0 }; /* 0: not there */
	char name[32];
	struct entry e;

	for (unsigned round = 0; round < 60; round++) {
		uint8_t there_always[NAMES], seen[NAMES] = { 0 };
		uint64_t after = 0;

		for (unsigned i = 0; i < NAMES; i++)
			there_always[i] = cookies[i] != 0;
		while (catalog_next_entry(&f.c, 1, after, &e) > 0) {
			ck_assert_uint_gt(e.cookie, after);
			ck_assert_uint_eq(cookies[e.ino - 1], e.cookie);
			seen[e.ino - 1]++;
			after = e.cookie;
			for (unsigned k = 0; k < 3; k++) {
				unsigned i = (unsigned)rng_below(&f.rng, NAMES);
				/* Eight names a hash; one hash in two is next to another. */
				struct dirent_name at = { 1, number_name(i, name),
							  (uint64_t)(i / 8 + i / 16)
								  << 20 };

				if (cookies[i]) {
					ck_ok(dirent_del(&f.c, &at));
					cookies[i] = 0;
					there_always[i] = 0;
				} else {
					ck_ok(dirent_add(&f.c, &at, i + 1, DT_REG));
					ck_ok(dirent_lookup(&f.c, &at, &e));
					cookies[i] = e.cookie;
				}
			}
		}
		for (unsigned i = 0; i < NAMES; i++)
			ck_assert_msg(!there_always[i] || seen[i] == 1,
				      "entry %u came %u times", i, seen[i]);
		for (unsigned k = 0; k < 40; k++) { /* so that there is a beginning */
			unsigned i = (unsigned)rng_below(&f.rng, NAMES);
			struct dirent_name at = { 1, number_name(i, name),
						  (uint64_t)(i / 8 + i / 16) << 20 };

			if (cookies[i])
				continue;
			ck_ok(dirent_add(&f.c, &at, i + 1, DT_REG));
			ck_ok(dirent_lookup(&f.c, &at, &e));
			cookies[i] = e.cookie;
		}
	}
	fixture_release(&f);
}
END_TEST

/* --- xattrs and targets --- */

static const size_t sizes[] = { 0, 1, 999, 1000, 1001, 2000, 2999, 3000, 65535, 65536 };

START_TEST(xattrs_of_any_size_replace_each_other)
{
	struct fixture f = fixture_new(9);
	static uint8_t bytes[CATALOG_XATTR_MAX + 1];
	_cleanup_(buf_release) struct buf got = BUF_INIT;
	struct span name = SPAN_STR("user.a");

	ck_ok(catalog_set_xattr(&f.c, 5, SPAN_STR("user.A"), SPAN_STR("before")));
	ck_ok(catalog_set_xattr(&f.c, 5, SPAN_STR("user.aa"), SPAN_STR("behind")));
	for (unsigned round = 0; round < 200; round++) {
		size_t n = sizes[rng_below(&f.rng, ARRAY_LEN(sizes))];

		rng_fill(&f.rng, bytes, n);
		ck_ok(catalog_set_xattr(&f.c, 5, name, span_of(bytes, n)));
		ck_ok(catalog_get_xattr(&f.c, 5, name, &got));
		assert_buf_is(&got, span_of(bytes, n));
		/* No part of a longer one stays behind. */
		ck_assert_uint_eq(count_rows(&f.c, 'X', 5), n / CATALOG_PART + 1 + 2);
		if (rng_below(&f.rng, 4) == 0) {
			ck_ok(catalog_del_xattr(&f.c, 5, name));
			ck_assert_int_eq(catalog_get_xattr(&f.c, 5, name, &got),
					 -ENODATA);
			ck_assert_int_eq(catalog_del_xattr(&f.c, 5, name), -ENODATA);
			ck_assert_uint_eq(count_rows(&f.c, 'X', 5), 2);
		}
	}
	ck_ok(catalog_get_xattr(&f.c, 5, SPAN_STR("user.A"), &got));
	assert_buf_is(&got, SPAN_STR("before"));
	ck_ok(catalog_get_xattr(&f.c, 5, SPAN_STR("user.aa"), &got));
	assert_buf_is(&got, SPAN_STR("behind"));
	ck_assert_int_eq(catalog_set_xattr(&f.c, 5, name, span_of(bytes, sizeof(bytes))),
			 -E2BIG);
	fixture_release(&f);
}
END_TEST

START_TEST(xattr_names_are_listed_once)
{
	struct fixture f = fixture_new(10);
	static uint8_t bytes[CATALOG_XATTR_MAX];
	_cleanup_(buf_release) struct buf got = BUF_INIT;
	char longest[256];

	memset(longest, 0xff, sizeof(longest));
	ck_ok(catalog_list_xattr(&f.c, 5, &got));
	ck_assert_uint_eq(got.n, 0);
	ck_ok(catalog_set_xattr(&f.c, 5, SPAN_STR("user.b"),
				span_of(bytes, sizeof(bytes))));
	ck_ok(catalog_set_xattr(&f.c, 5, SPAN_STR("user.a"), span_of(bytes, 5000)));
	ck_ok(catalog_set_xattr(&f.c, 5, span_of(longest, 255), span_of(bytes, 3)));
	ck_ok(catalog_set_xattr(&f.c, 4, SPAN_STR("user.x"), span_of(bytes, 3)));
	ck_ok(catalog_set_xattr(&f.c, 6, SPAN_STR("user.y"), span_of(bytes, 3)));
	ck_ok(catalog_list_xattr(&f.c, 5, &got));
	ck_assert_uint_eq(got.n, 7 + 7 + 256);
	ck_assert(memcmp(got.p, "user.a\0user.b", 14) == 0);
	ck_assert(memcmp(got.p + 14, longest, 255) == 0 && got.p[14 + 255] == 0);

	ck_assert_int_eq(catalog_set_xattr(&f.c, 5, span_of(longest, 256), SPAN_STR("v")),
			 -ERANGE);
	ck_assert_int_eq(catalog_set_xattr(&f.c, 5, span_of("", 0), SPAN_STR("v")),
			 -EINVAL);
	ck_assert_int_eq(catalog_set_xattr(&f.c, 5, span_of("a\0b", 3), SPAN_STR("v")),
			 -EINVAL);
	fixture_release(&f);
}
END_TEST

START_TEST(targets_of_all_lengths)
{
	struct fixture f = fixture_new(11);
	static uint8_t bytes[CATALOG_TARGET_MAX + 1];
	_cleanup_(buf_release) struct buf got = BUF_INIT;

	rng_fill(&f.rng, bytes, sizeof(bytes));
	ck_assert_int_eq(catalog_get_target(&f.c, 1, &got), -ENOENT);
	ck_assert_int_eq(catalog_set_target(&f.c, 1, span_of(bytes, 0)), -EINVAL);
	ck_assert_int_eq(catalog_set_target(&f.c, 1, span_of(bytes, sizeof(bytes))),
			 -ENAMETOOLONG);
	for (size_t n = 1; n <= CATALOG_TARGET_MAX; n++) {
		ck_ok(catalog_set_target(&f.c, n, span_of(bytes, n)));
		ck_ok(catalog_set_target(&f.c, 1, span_of(bytes, n)));
	}
	for (size_t n = 2; n <= CATALOG_TARGET_MAX; n++) {
		ck_ok(catalog_get_target(&f.c, n, &got));
		assert_buf_is(&got, span_of(bytes, n));
	}
	for (size_t n = CATALOG_TARGET_MAX; n > 0; n -= MIN(n, 500)) {
		ck_ok(catalog_set_target(&f.c, 1, span_of(bytes, n)));
		ck_ok(catalog_get_target(&f.c, 1, &got));
		assert_buf_is(&got, span_of(bytes, n));
		ck_assert_uint_eq(count_rows(&f.c, 'L', 1), n / CATALOG_PART + 1);
	}
	fixture_release(&f);
}
END_TEST

START_TEST(a_value_changes_whole_or_not_at_all_without_memory)
{
	struct fixture f = fixture_new(12);
	static uint8_t old[CATALOG_XATTR_MAX], new[CATALOG_XATTR_MAX];
	_cleanup_(buf_release) struct buf got = BUF_INIT;
	struct span name = SPAN_STR("user.a");
	size_t n_old = 0;
	unsigned failed = 0;

	ck_ok(catalog_set_xattr(&f.c, 5, name, span_of(old, 0)));
	for (unsigned round = 0; round < 200; round++) {
		size_t n = sizes[rng_below(&f.rng, ARRAY_LEN(sizes))];
		int r;

		nodes_freeze(f.c.bt.nodes);
		rng_fill(&f.rng, new, n);
		no_memory = rng_below(&f.rng, 3);
		r = catalog_set_xattr(&f.c, 5, name, span_of(new, n));
		no_memory = false;
		ck_assert(r == 0 || r == -ENOMEM);
		if (r == 0) {
			memcpy(old, new, n);
			n_old = n;
		} else {
			failed++;
		}
		ck_ok(catalog_get_xattr(&f.c, 5, name, &got));
		assert_buf_is(&got, span_of(old, n_old));
		ck_assert_uint_eq(count_rows(&f.c, 'X', 5), n_old / CATALOG_PART + 1);
		nodes_write_abort(f.c.bt.nodes);
	}
	if (MEMORY_CAN_END)
		ck_assert_uint_gt(failed, 5);
	fixture_release(&f);
}
END_TEST

START_TEST(purge_removes_one_inode_whole)
{
	struct fixture f = fixture_new(13);
	static uint8_t bytes[10000];
	char name[32];

	for (uint64_t ino = 10; ino < 13; ino++) {
		struct inode_row row = row_of(ino);

		ck_ok(catalog_put_inode(&f.c, ino, &row));
		for (unsigned i = 0; i < 50; i++)
			ck_ok(catalog_set_xattr(&f.c, ino, number_name(i, name),
						span_of(bytes, i * 190)));
		ck_ok(catalog_set_target(&f.c, ino, span_of(bytes, 4000)));
		ck_ok(catalog_add_orphan(&f.c, ino));
	}
	ck_ok(catalog_add_entry(&f.c, 11, SPAN_STR("x"), 12, DT_REG));
	ck_ok(catalog_purge(&f.c, 11, ROWS_ALL));
	for (uint64_t ino = 10; ino < 13; ino++) {
		ck_assert_uint_eq(count_rows(&f.c, 'I', ino), ino != 11);
		ck_assert_uint_eq(count_rows(&f.c, 'O', ino), ino != 11);
		ck_assert_uint_eq(count_rows(&f.c, 'L', ino), ino != 11 ? 5 : 0);
		ck_assert(ino != 11 ? count_rows(&f.c, 'X', ino) > 50
				    : count_rows(&f.c, 'X', ino) == 0);
	}
	ck_assert_uint_eq(count_rows(&f.c, 'D', 11), 1);
	ck_ok(catalog_purge(&f.c, 11, ROWS_ALL));
	fixture_release(&f);
}
END_TEST

/* --- what a checkpoint sees, and what comes from the disk --- */

struct seen {
	uint64_t children, extents, sum;
};

static int see_child(void *arg, struct noderef *slot)
{
	struct seen *seen = arg;

	seen->children++;
	seen->sum += le64_get(slot->at);
	return 0;
}

static int see_extent(void *arg, struct extent *slot)
{
	struct seen *seen = arg;

	seen->extents++;
	seen->sum += le32_get(slot->len);
	return 0;
}

START_TEST(a_leaf_shows_the_ropes_in_its_rows)
{
	struct fixture f = fixture_new(14);
	const struct node_type *type = f.c.bt.nodes->types[NODE_BTREE_LEAF];
	struct inode_row row = row_of(1);
	struct seen seen = { 0 };
	uint8_t *image;

	row.rope.bytes = le64_put(0);
	ck_ok(catalog_put_inode(&f.c, 1, &row)); /* empty: nothing to see */
	row.rope.n_inline = 3;
	row.rope.bytes = le64_put(303);
	for (unsigned i = 0; i < 3; i++)
		row.rope.u.ext[i] = extent_chunk(1, 1, 0, 100 + i);
	ck_ok(catalog_put_inode(&f.c, 2, &row));
	row.rope.n_inline = 0;
	row.rope.levels = 2;
	row.rope.u.root = (struct noderef) { .at = le64_put(4711) };
	ck_ok(catalog_put_inode(&f.c, 3, &row));
	ck_ok(catalog_set_xattr(&f.c, 3, SPAN_STR("user.a"), SPAN_STR("b")));

	ck_ok(nodes_edit(f.c.bt.nodes, &f.c.bt.root, 0, &image));
	ck_ok(type->check(image));
	ck_assert_int_eq(type->each_child(image, see_child, &seen), 0);
	ck_assert_uint_eq(seen.children, 1);
	ck_assert_uint_eq(seen.sum, 4711);
	ck_assert_int_eq(type->each_extent(image, see_extent, &seen), 0);
	ck_assert_uint_eq(seen.extents, 3);
	ck_assert_uint_eq(seen.sum, 4711 + 303);
	fixture_release(&f);
}
END_TEST

static struct span raw_key(char kind, const char *tail, size_t n, uint8_t out[64])
{
	out[0] = (uint8_t)kind;
	be64_store(out + 1, 42);
	memcpy(out + 9, tail, n);
	return span_of(out, 9 + n);
}

START_TEST(malformed_rows_are_errors_that_name_the_inode)
{
	struct fixture f = fixture_new(15);
	uint8_t key[64], value[BTREE_VALUE_MAX] = { 1 };
	_cleanup_(buf_release) struct buf got = BUF_INIT;
	struct inode_row row = row_of(1);
	uint64_t ino;

	ck_ok(btree_put(&f.c.bt, raw_key('I', "", 0, key), span_of(value, 191)));
	ck_assert_int_eq(catalog_get_inode(&f.c, 42, &row), -E_CORRUPT);
	ck_assert_ptr_nonnull(strstr(err_detail(), "42"));
	ck_assert_int_eq(catalog_next_inode(&f.c, 0, &ino, &row), -E_CORRUPT);
	row.rope.n_inline = 5;
	ck_ok(btree_put(&f.c.bt, raw_key('I', "", 0, key), span_of(&row, sizeof(row))));
	ck_assert_int_eq(catalog_get_inode(&f.c, 42, &row), -E_CORRUPT);

	ck_ok(btree_put(&f.c.bt, raw_key('O', "", 0, key), span_of(value, 1)));
	ck_assert_int_eq(catalog_next_orphan(&f.c, 0, &ino), -E_CORRUPT);

	ck_ok(btree_put(&f.c.bt, raw_key('L', "\0", 1, key), span_of(value, 1000)));
	ck_assert_int_eq(catalog_get_target(&f.c, 42, &got), -E_CORRUPT);
	ck_ok(btree_put(&f.c.bt, raw_key('L', "\2", 1, key), span_of(value, 1)));
	ck_assert_int_eq(catalog_get_target(&f.c, 42, &got), -E_CORRUPT);
	ck_ok(btree_put(&f.c.bt, raw_key('L', "\0", 1, key), span_of(value, 1001)));
	ck_assert_int_eq(catalog_get_target(&f.c, 42, &got), -E_CORRUPT);

	ck_ok(btree_put(&f.c.bt, raw_key('X', "a", 1, key), span_of(value, 1)));
	ck_assert_int_eq(catalog_list_xattr(&f.c, 42, &got), -E_CORRUPT);

	struct entry e;

	ck_ok(btree_put(&f.c.bt, raw_key('D', "\0\0\0\0\0\0\0\1", 8, key),
			span_of(value, 9)));
	ck_assert_int_eq(catalog_next_entry(&f.c, 42, 0, &e), -E_CORRUPT);
	ck_ok(btree_put(&f.c.bt, raw_key('D', "\0\0\0\0\0\0\0\1", 8, key),
			span_of(value, 9 + 256)));
	ck_assert_int_eq(catalog_next_entry(&f.c, 42, 0, &e), -E_CORRUPT);
	fixture_release(&f);
}
END_TEST

static void keep_line(void *arg, const char *line)
{
	snprintf(arg, 2000, "%s", line);
}

START_TEST(rows_read_in_words)
{
	char line[2000] = "";
	struct inode_row row = row_of(2);
	struct row_key key = row_key(ROW_INODE, 12);
	uint8_t bytes[9 + 255];

	catalog_row_to_text(row_span(&key), span_of(&row, sizeof(row)), keep_line, line);
	ck_assert_str_eq(line, "inode 12: mode 100644, uid 0, gid 0, links 2, parent 0, "
			       "entries 0, mtime 1970-01-01T00:00:00.000000154Z, "
			       "2000 bytes, 0 extents inline");
	key = row_key_entry(3, 256);
	memset(bytes, 0xff, sizeof(bytes));
	memcpy(bytes, "\7\0\0\0\0\0\0\0\10", 9);
	catalog_row_to_text(row_span(&key), span_of(bytes, 9 + 2), keep_line, line);
	ck_assert_str_eq(line,
			 "entry of 3: cookie 256, inode 7, type 8, name \"\\xff\\xff\"");
	catalog_row_to_text(row_span(&key), span_of(bytes, sizeof(bytes)), keep_line,
			    line);
	ck_assert_uint_gt(strlen(line), 255 * 4);
	key = row_key(ROW_ORPHAN, 5);
	catalog_row_to_text(row_span(&key), span_of(NULL, 0), keep_line, line);
	ck_assert_str_eq(line, "orphan 5");
	key.b[0] = '?';
	catalog_row_to_text(row_span(&key), span_of(NULL, 0), keep_line, line);
	ck_assert_ptr_nonnull(strstr(line, "no known kind"));
}
END_TEST

static Suite *make_suite(void)
{
	Suite *s = suite_create("catalog");
	TCase *tc = tcase_create("catalog");

	tcase_set_timeout(tc, 100);
	tcase_add_test(tc, inodes_come_back_in_order);
	tcase_add_test(tc, orphans_are_listed_until_removed);
	tcase_add_test(tc, large_directory_is_listed_whole_once);
	tcase_add_test(tc, names_of_all_bytes);
	tcase_add_test(tc, bad_names_are_refused);
	tcase_add_test(tc, an_entry_is_added_once_and_repointed_in_place);
	tcase_add_test(tc, names_of_one_hash_live_side_by_side);
	tcase_add_test(tc, readdir_amid_adds_and_removes);
	tcase_add_test(tc, xattrs_of_any_size_replace_each_other);
	tcase_add_test(tc, xattr_names_are_listed_once);
	tcase_add_test(tc, targets_of_all_lengths);
	tcase_add_test(tc, a_value_changes_whole_or_not_at_all_without_memory);
	tcase_add_test(tc, purge_removes_one_inode_whole);
	tcase_add_test(tc, a_leaf_shows_the_ropes_in_its_rows);
	tcase_add_test(tc, malformed_rows_are_errors_that_name_the_inode);
	tcase_add_test(tc, rows_read_in_words);
	suite_add_tcase(s, tc);
	return s;
}

int main(void)
{
	return suite_main(make_suite());
}
