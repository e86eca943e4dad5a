/* test_restore.c - names brought back from a bucket (a folder): how long a clone takes until all
 * are there, and that they are. FILES says how many; 1,000,000 with TEST_SECONDS. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/base/util.h"
#include "core/ropefs.h"
#include "tests/lib/suite.h"

#define FILES	    20000u
#define FILES_LONG  1000000u
#define FILES_A_DIR 1000u

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void name_of(unsigned i, char ret[64])
{
	snprintf(ret, 64, "recording-%06u.mcap", i);
}

static void make_files(struct ropefs *fs, unsigned n)
{
	const struct ropefs_new dir = { .mode = S_IFDIR | 0700 };
	const struct ropefs_new file = { .mode = S_IFREG | 0600 };
	uint64_t in = 0;
	char name[64];

	for (unsigned i = 0; i < n; i++) {
		struct ropefs_attr a;

		if (i % FILES_A_DIR == 0) {
			snprintf(name, sizeof(name), "d%u", i / FILES_A_DIR);
			ck_ok(ropefs_create(fs, ROPEFS_ROOT_INO, ropefs_name(name), &dir,
					    &a));
			in = a.ino;
		}
		name_of(i, name);
		ck_ok(ropefs_create(fs, in, ropefs_name(name), &file, &a));
		ck_ok(ropefs_write(fs, a.ino, 0, name, strlen(name), 0, NULL));
	}
}

static void ck_has(struct ropefs *fs, unsigned i)
{
	char name[64], path[96], got[64] = "";
	struct ropefs_attr a;

	name_of(i, name);
	snprintf(path, sizeof(path), "d%u/%s", i / FILES_A_DIR, name);
	ck_ok(ropefs_resolve(fs, path, &a));
	ck_assert_uint_eq(a.size, strlen(name));
	ck_assert_int_eq(ropefs_read(fs, a.ino, 0, got, sizeof(got), 0),
			 (ssize_t)strlen(name));
	ck_assert_str_eq(got, name);
}

START_TEST(all_names_and_sizes_are_there_at_once)
{
	const char *base = suite_tmpdir(), *words = getenv("FILES");
	unsigned n = words		? (unsigned)atoi(words)
		     : suite_seconds(0) ? FILES_LONG
					: FILES;
	char store[4200], copy[4200], bucket[4200], url[4300], key[4200];
	struct ropefs_opts opts = { .key_file = key };
	struct ropefs_remote_opts remote = { .url = url, .interval_s = 3600 };
	struct ropefs_clone c = { .key_file = key };
	struct rng rng = rng_seeded(suite_seed());
	struct ropefs *fs;
	double began, cloned, cpu;

	snprintf(store, sizeof(store), "%s/store", base);
	snprintf(copy, sizeof(copy), "%s/copy", base);
	snprintf(bucket, sizeof(bucket), "%s/bucket", base);
	snprintf(url, sizeof(url), "file://%s", bucket);
	snprintf(key, sizeof(key), "%s/key", base);
	ck_ok(mkdir(bucket, 0700));
	ck_ok(ropefs_init(store, &(struct ropefs_init_opts) { .key_file = key }, NULL));
	ck_ok(ropefs_open(store, &opts, &fs));
	make_files(fs, n);
	ck_ok(ropefs_remote_add(fs, &remote));
	ck_ok(ropefs_remote_sync(fs));
	ck_ok(ropefs_close(fs));

	began = seconds();
	cpu = (double)clock() / CLOCKS_PER_SEC;
	c.remote = remote;
	ck_ok(ropefs_clone(copy, &c));
	cloned = seconds();
	cpu = (double)clock() / CLOCKS_PER_SEC - cpu;
	ck_assert_uint_ge(c.files, n);
	ck_ok(ropefs_open(copy, &opts, &fs));
	ck_has(fs, n / 2);
	printf("# %u files: cloned in %.2f s (%.2f s of a CPU), open and read in "
	       "%.2f s more\n",
	       n, cloned - began, cpu, seconds() - cloned);
	for (unsigned i = 0; i < 1000; i++)
		ck_has(fs, (unsigned)rng_below(&rng, n));
	ck_ok(ropefs_close(fs));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("restore");
	TCase *t = tcase_create("restore");

	tcase_set_timeout(t, 1800);
	tcase_add_test(t, all_names_and_sizes_are_there_at_once);
	suite_add_tcase(s, t);
	return suite_main(s);
}
