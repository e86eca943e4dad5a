/* test_stored.c - st_blocks: what files take after compression. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/err.h"
#include "core/store_priv.h"
#include "tests/lib/store_fixture.h"

static uint64_t blocks(uint64_t ino)
{
	struct ropefs_attr attr;

	ck_ok(ropefs_getattr(f.fs, ino, &attr));
	return attr.blocks;
}

/* Writes n bytes: of one line again and again, or random ones. */
static uint64_t file_of(const char *name, bool random, size_t n)
{
	uint64_t ino = make(name);
	uint8_t *p = malloc(n);

	for (size_t i = 0; i < n; i++)
		p[i] = random ? (uint8_t)rng_below(&f.rng, 256)
			      : (uint8_t) "a line of a log, as they come\n"[i % 30];
	for (size_t at = 0; at < n; at += 256 * KIB)
		ck_ok(ropefs_write(f.fs, ino, at, p + at, MIN(n - at, 256 * KIB), 0,
				   NULL));
	free(p);
	return ino;
}

static void print_bad(void *arg, const char *line)
{
	printf("# %s\n", line);
}

static void expect_clean(void)
{
	struct ropefs_check check = { .bad = print_bad };

	ck_ok(store_check(f.fs, &check));
	ck_assert_uint_eq(check.problems, 0);
}

START_TEST(blocks_tell_what_compression_leaves)
{
	uint64_t text, noise, small, one, empty;

	fixture_init(false);
	text = file_of("text", false, 3 * MIB);
	noise = file_of("noise", true, 3 * MIB);
	small = file_of("small", false, 20000);
	one = file_of("one", true, 1);
	empty = make("empty");
	ck_assert_uint_eq(blocks(text), 3 * MIB / 512);
	ck_assert_uint_eq(blocks(small), 40);
	ck_ok(ropefs_checkpoint(f.fs));
	for (int i = 0; i < 2; i++) {
		ck_assert_uint_lt(blocks(text), 3 * MIB / 512 / 20);
		ck_assert_uint_gt(blocks(text), 0);
		ck_assert_uint_gt(blocks(noise), 3 * MIB / 512 * 9 / 10);
		ck_assert_uint_le(blocks(noise), 3 * MIB / 512);
		ck_assert_uint_lt(blocks(small), 40);
		ck_assert_uint_eq(blocks(one), 1);
		ck_assert_uint_eq(blocks(empty), 0);
		expect_clean();
		store_abandon(f.fs, true); /* it is in the rows, too */
		fixture_open();
	}
	fixture_release();
}
END_TEST

START_TEST(blocks_follow_edits_of_packed_bytes)
{
	uint64_t ino, packed;
	uint8_t noise[64 * KIB];

	fixture_init(false);
	rng_fill(&f.rng, noise, sizeof(noise));
	ino = file_of("a", false, MIB);
	ck_ok(ropefs_checkpoint(f.fs));
	packed = blocks(ino);
	/* What came counts as it is, and again as it is once packed, for it is random. */
	ck_ok(ropefs_write(f.fs, ino, 0, noise, sizeof(noise), 0, NULL));
	ck_assert_uint_ge(blocks(ino), sizeof(noise) / 512);
	ck_assert_uint_le(blocks(ino), sizeof(noise) / 512 + packed);
	ck_ok(ropefs_checkpoint(f.fs));
	ck_assert_uint_ge(blocks(ino), sizeof(noise) / 512 * 9 / 10);
	ck_assert_uint_le(blocks(ino), sizeof(noise) / 512 + packed);
	/* Overwriting hot bytes again and again takes nothing from what the others save. */
	for (int i = 0; i < 200; i++)
		ck_ok(ropefs_write(f.fs, ino, 500000, noise, 4096, 0, NULL));
	ck_assert_uint_le(blocks(ino), (sizeof(noise) + 4096) / 512 + packed + 1);
	/* Once all of it is overwritten, nothing is saved. */
	for (size_t at = 0; at < MIB; at += sizeof(noise))
		ck_ok(ropefs_write(f.fs, ino, at, noise, sizeof(noise), 0, NULL));
	ck_assert_uint_eq(blocks(ino), MIB / 512);
	ck_ok(ropefs_checkpoint(f.fs));
	ck_assert_uint_ge(blocks(ino), MIB / 512 / 2);
	ck_ok(ropefs_cut(f.fs, ino, 100, MIB - 100));
	ck_assert_uint_eq(blocks(ino), 1);
	expect_clean();
	fixture_release();
}
END_TEST

START_TEST(copies_count_what_they_share)
{
	uint64_t ino, whole, part, packed;

	fixture_init(false);
	ino = file_of("a", false, MIB);
	whole = make("whole"); /* shared while nothing of it is packed */
	ck_ok(ropefs_copy(f.fs, (struct ropefs_range) { whole, 0, 0 },
			  (struct ropefs_range) { ino, 0, MIB }));
	ck_ok(ropefs_checkpoint(f.fs));
	packed = blocks(ino);
	ck_assert_uint_lt(packed, MIB / 512 / 20);
	ck_assert_uint_eq(blocks(whole), packed);
	part = make("part"); /* and when all is */
	ck_ok(ropefs_copy(f.fs, (struct ropefs_range) { part, 0, 0 },
			  (struct ropefs_range) { ino, 1000, MIB / 2 }));
	ck_assert_uint_le(blocks(part), packed / 2 + 1);
	ck_assert_uint_ge(blocks(part), packed / 2 - 1);
	expect_clean();
	fixture_release();
}
END_TEST

static struct {
	uint64_t ino[8];
	size_t n;
} told;

static void note_blocks(void *arg, const uint64_t *inos, size_t n)
{
	for (size_t i = 0; i < n && told.n < ARRAY_LEN(told.ino); i++)
		told.ino[told.n++] = inos[i];
}

START_TEST(who_holds_a_file_is_told_when_its_blocks_change)
{
	uint64_t held, other, tiny;

	fixture_init(false);
	f.fs->opts.blocks = note_blocks;
	held = file_of("held", false, 100000);
	other = file_of("other", false, 100000);
	tiny = file_of("tiny", false, 100);
	ck_ok(ropefs_hold(f.fs, held));
	ck_ok(ropefs_hold(f.fs, tiny));
	told.n = 0;
	ck_ok(ropefs_checkpoint(f.fs));
	ck_assert_uint_eq(told.n, 1);
	ck_assert_uint_eq(told.ino[0], held);
	ck_assert_uint_lt(blocks(other), 20);
	told.n = 0;
	ck_ok(ropefs_write(f.fs, tiny, 0, "x", 1, 0, NULL));
	ck_ok(ropefs_checkpoint(f.fs));
	ck_assert_uint_eq(told.n, 0);
	ropefs_release(f.fs, held, 1);
	ropefs_release(f.fs, tiny, 1);
	fixture_release();
}
END_TEST

START_TEST(blocks_stay_near_the_truth_through_many_edits)
{
	struct rng *r = &f.rng;
	uint64_t ino[4], size[4];
	uint8_t bytes[5000];

	fixture_init(false);
	for (int i = 0; i < 4; i++) {
		ino[i] = file_of((char[]) { (char)('a' + i), 0 }, i & 1, MIB / 4);
		size[i] = MIB / 4;
	}
	for (int n = 0; n < 3000; n++) {
		unsigned i = (unsigned)rng_below(r, 4);
		uint64_t at = rng_below(r, size[i]),
			 len = 1 + rng_below(r, sizeof(bytes));

		memset(bytes, 'x', sizeof(bytes));
		if (i & 1)
			rng_fill(r, bytes, sizeof(bytes));
		if (rng_below(r, 3) == 0 && size[i] > MIB / 8 && at + len < size[i]) {
			ck_ok(ropefs_cut(f.fs, ino[i], at, len));
			size[i] -= len;
		} else {
			ck_ok(ropefs_write(f.fs, ino[i], at, bytes, len, 0, NULL));
			size[i] = MAX(size[i], at + len);
		}
		if (rng_below(r, 100) == 0) {
			ck_ok(ropefs_checkpoint(f.fs));
			ck_assert_uint_lt(blocks(ino[i & 2]), size[i & 2] / 512 / 2);
			ck_assert_uint_gt(blocks(ino[1]), size[1] / 512 / 4);
		}
	}
	expect_clean();
	fixture_release();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("stored");
	TCase *tc = tcase_create("blocks");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, blocks_tell_what_compression_leaves);
	tcase_add_test(tc, blocks_follow_edits_of_packed_bytes);
	tcase_add_test(tc, copies_count_what_they_share);
	tcase_add_test(tc, who_holds_a_file_is_told_when_its_blocks_change);
	tcase_add_test(tc, blocks_stay_near_the_truth_through_many_edits);
	suite_add_tcase(s, tc);
	return suite_main(s);
}
