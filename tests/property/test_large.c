/* test_large.c - very many small files in one directory: how much they take, and that a walk
 * through them is exact whatever changes meanwhile. TEST_MILLION in the environment: a million
 * of them, else a hundred thousand. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/err.h"
#include "tests/lib/store_fixture.h"

#define FILE_BYTES 200
#define BATCH	   64

static size_t n_files;
static uint64_t dir;

static struct ropefs_name name_of(size_t i)
{
	static char name[32];

	snprintf(name, sizeof(name), "file-%zu", i);
	return ropefs_name(name);
}

static void make_files(void)
{
	struct ropefs_new folder = { .mode = S_IFDIR | 0755 };
	struct ropefs_new file = { .mode = S_IFREG | 0644 };
	struct ropefs_attr attr;
	uint8_t bytes[FILE_BYTES];

	n_files = getenv("TEST_MILLION") ? 1000000 : 100000;
	ck_ok(ropefs_create(f.fs, ROPEFS_ROOT_INO, ropefs_name("d"), &folder, &attr));
	dir = attr.ino;
	for (size_t i = 0; i < n_files; i++) {
		rng_fill(&f.rng, bytes, sizeof(bytes));
		ck_ok(ropefs_create(f.fs, dir, name_of(i), &file, &attr));
		ck_assert_int_eq(
			ropefs_write(f.fs, attr.ino, 0, bytes, sizeof(bytes), 0, NULL),
			FILE_BYTES);
	}
}

static size_t index_of(const struct ropefs_entry *e)
{
	return strtoul(e->name + strlen("file-"), NULL, 10);
}

/* Walks from a cookie on; each entry is counted in seen. drop: every third index is removed when
 * it is met. Returns how many there were. */
static size_t walk(uint64_t after, uint8_t *seen, bool drop)
{
	struct ropefs_entry e[BATCH];
	size_t n = 0;
	int r;

	while ((r = ropefs_readdir(f.fs, dir, after, e, NULL, BATCH)) > 0) {
		for (int k = 0; k < r; k++) {
			size_t i = index_of(&e[k]);

			ck_assert_uint_gt(e[k].cookie, after);
			after = e[k].cookie;
			ck_assert_uint_eq(seen[i]++, 0);
			if (drop && i % 3 == 0)
				ck_ok(ropefs_unlink(f.fs, dir, name_of(i)));
			n++;
		}
	}
	ck_ok(r);
	return n;
}

static void expect_compact(void)
{
	struct pagefile_stats pages;
	struct packs_stats packs;

	ck_ok(ropefs_collect(f.fs));
	pagefile_get_stats(f.fs->pf, &pages);
	packs_get_stats(f.fs->packs, &packs);
	printf("# %zu files: %llu MB of pages, %llu MB of packs\n", n_files,
	       (unsigned long long)pages.used * PAGE_BYTES / 1000000,
	       (unsigned long long)packs.file_bytes / 1000000);
	ck_assert_uint_le(pages.used * PAGE_BYTES + packs.file_bytes,
			  (uint64_t)n_files * 600);
}

/* What they take in memory is the budget's, however many they are. */
static void expect_within_budget(void)
{
	struct nodes_stats nodes;

	nodes_get_stats(f.fs->nodes, &nodes);
	/* Their own part, and what is lent of the memory for changes. */
	ck_assert_uint_le(nodes.clean * PAGE_BYTES,
			  f.fs->opts.memory_bytes / 8 + f.fs->hot_hard + 4 * MIB);
}

START_TEST(many_small_files_are_compact_and_a_walk_is_exact)
{
	struct ropefs_entry first[BATCH];
	uint8_t *seen;

	fixture_init(true);
	make_files();
	seen = calloc(n_files, 1);
	expect_compact();
	ck_assert_uint_eq(walk(0, seen, false), n_files);
	expect_within_budget();

	/* From a place that was kept, after others went: as telldir and seekdir. */
	ck_assert_int_eq(ropefs_readdir(f.fs, dir, 0, first, NULL, BATCH), BATCH);
	memset(seen, 0, n_files);
	ck_assert_uint_eq(walk(0, seen, true), n_files);
	memset(seen, 0, n_files);
	for (int k = 0; k < BATCH; k++)
		seen[index_of(&first[k])] = 1;
	walk(first[BATCH - 1].cookie, seen, false);
	for (size_t i = 0; i < n_files; i++)
		ck_assert(seen[i] == (i % 3 != 0) || seen[i] == 1);
	memset(seen, 0, n_files);
	ck_assert_uint_eq(walk(0, seen, false), n_files - (n_files + 2) / 3);
	free(seen);
	fixture_release();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("large");
	TCase *tc = tcase_create("directory");

	tcase_set_timeout(tc, getenv("TEST_MILLION") ? 3600 : 600);
	tcase_add_test(tc, many_small_files_are_compact_and_a_walk_is_exact);
	suite_add_tcase(s, tc);
	return suite_main(s);
}
