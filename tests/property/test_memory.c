/* test_memory.c - a store of 20 GiB, sparsely loaded, within memory=64M: the process stays
 * below 128 MiB of resident memory while it loads, reads at random, and edits. Not for
 * sanitizer builds, whose shadow is memory too. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "core/ropefs.h"
#include "tests/lib/suite.h"

#define GIB		 ((uint64_t)1 << 30)
#define STEP		 ((uint64_t)128 << 10)
#define BLOCK		 4096
#define RESIDENT_MAX_KIB (128 * 1024)

static long resident_peak_kib(void)
{
	FILE *f = fopen("/proc/self/status", "re");
	char line[200];
	long kib = -1;

	ck_assert(f);
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "VmHWM: %ld kB", &kib) == 1)
			break;
	fclose(f);
	return kib;
}

/* What block i holds: noise, so that packs are as large as it gets. */
static void block_fill(uint64_t i, uint8_t *p)
{
	struct rng rng = rng_seeded(i);

	rng_fill(&rng, p, BLOCK);
}

static void load(struct ropefs *fs, uint64_t ino)
{
	uint8_t block[BLOCK];

	for (uint64_t i = 0; i < 20 * GIB / STEP; i++) {
		block_fill(i, block);
		ck_assert_int_eq(ropefs_write(fs, ino, i * STEP, block, BLOCK, 0, NULL),
				 BLOCK);
	}
	ck_ok(ropefs_truncate(fs, ino, 20 * GIB));
}

static void look_and_edit(struct ropefs *fs, uint64_t ino)
{
	struct rng rng = rng_seeded(suite_seed());
	uint8_t block[BLOCK], got[STEP];

	for (int k = 0; k < 20000; k++) {
		uint64_t i = rng_below(&rng, 20 * GIB / STEP);

		block_fill(i, block);
		ck_assert_int_eq(ropefs_read(fs, ino, i * STEP, got, STEP, 0),
				 (ssize_t)STEP);
		ck_assert(!memcmp(got, block, BLOCK));
		for (size_t z = BLOCK; z < STEP; z += BLOCK / 2)
			ck_assert_uint_eq(got[z], 0);
		/* In and out again, so that what is where stays known. */
		ck_assert_int_eq(ropefs_insert(fs, ino, i * STEP + 7, block, 100, 0),
				 100);
		ck_ok(ropefs_cut(fs, ino, i * STEP + 7, 100));
	}
}

START_TEST(twenty_gib_in_sixty_four_mib_of_memory)
{
	char store[4200], key[4200];
	struct ropefs_init_opts init = { .key_file = key };
	struct ropefs_opts opts = { .key_file = key, .memory_bytes = 64u << 20 };
	struct ropefs_new what = { .mode = S_IFREG | 0644 };
	struct ropefs_attr attr;
	struct ropefs *fs;
	long peak;

	snprintf(store, sizeof(store), "%s/store", suite_tmpdir());
	snprintf(key, sizeof(key), "%s/key", suite_tmpdir());
	ck_assert_msg(ropefs_init(store, &init, NULL) == 0, "init: %s", ropefs_error());
	ck_assert_msg(ropefs_open(store, &opts, &fs) == 0, "open: %s", ropefs_error());
	ck_ok(ropefs_create(fs, ROPEFS_ROOT_INO, ropefs_name("big"), &what, &attr));
	load(fs, attr.ino);
	look_and_edit(fs, attr.ino);
	ck_assert_msg(ropefs_close(fs) == 0, "close: %s", ropefs_error());

	ck_assert_msg(ropefs_open(store, &opts, &fs) == 0, "open: %s", ropefs_error());
	look_and_edit(fs, attr.ino);
	ck_assert_msg(ropefs_close(fs) == 0, "close: %s", ropefs_error());
	peak = resident_peak_kib();
	printf("# peak of resident memory: %ld KiB\n", peak);
	ck_assert_int_gt(peak, 0);
	ck_assert_int_lt(peak, RESIDENT_MAX_KIB);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("memory");
	TCase *tc = tcase_create("memory");

	tcase_set_timeout(tc, 600);
	tcase_add_test(tc, twenty_gib_in_sixty_four_mib_of_memory);
	suite_add_tcase(s, tc);
	return suite_main(s);
}
