/* test_wal_damage.c - a log of which bytes or files are lost, as it is opened, inspected, and read
 * again while it is in use. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/base/err.h"
#include "core/wal/wal_format.h"
#include "tests/unit/wal_fixture.h"

#define SMALL	    40u
#define SMALL_FRAME (56u + SMALL + 2)

/* Three frames synced, one each at 4096, 8192, 12288; then one pushed at 16384. */
static struct fixture small_log(void)
{
	struct fixture f = fixture_new(1);

	for (int i = 0; i < 3; i++)
		put_synced(&f, SMALL);
	put(&f, SMALL, false);
	ck_ok(wal_push(f.w));
	return f;
}

START_TEST(every_flipped_byte_is_rot_below_the_durable_lsn_and_a_torn_tail_above)
{
	for (uint64_t off = 0; off < 16384 + SMALL_FRAME; off++) {
		struct fixture f;
		uint64_t frame = off / 4096, in_frame = off % 4096;
		bool hit = in_frame < (frame == 0 ? 112 : SMALL_FRAME);

		if (!hit && in_frame % 97)
			continue;
		f = small_log();
		ck_ok(io_sim_flip(f.io, FIRST_SEGMENT, off, (unsigned)(off % 8)));
		fixture_kill(&f);
		ck_assert_uint_eq(f.stats.rot, hit && frame < 4);
		ck_assert_uint_eq(f.stats.last_lsn, !hit	 ? 4
						    : frame == 0 ? 0
								 : frame - 1);
		if (f.stats.rot)
			ck_assert_msg(strstr(err_detail(), FIRST_SEGMENT), "%s",
				      err_detail());
		fixture_free(&f);
	}
}
END_TEST

START_TEST(a_tail_cut_at_any_byte_leaves_the_frames_before_it)
{
	for (uint64_t end = 4096; end < 16384 + SMALL_FRAME + 8; end++) {
		struct fixture f;
		struct io_file *file;
		uint64_t frame = end / 4096;
		bool whole = end % 4096 >= SMALL_FRAME;

		if (whole && end % 4096 > SMALL_FRAME + 9 && end % 97)
			continue;
		f = small_log();
		ck_ok(io_open(f.io, FIRST_SEGMENT, IO_WRITE, &file));
		ck_ok(file->ops->truncate(file, end));
		if (end % 2)
			ck_ok(file->ops->allocate(file, SEGMENT));
		io_closep(&file);
		fixture_kill(&f);
		/* Zeros may be what a power cut left; a shorter file is damage. */
		ck_assert_uint_eq(f.stats.rot, end % 2 == 0);
		ck_assert_uint_eq(f.stats.last_lsn, frame - !whole);
		fixture_free(&f);
	}
}
END_TEST

static void remove_segment(struct fixture *f, unsigned number)
{
	char name[64];

	snprintf(name, sizeof(name), "wal/%016x.wal", number);
	ck_ok(f->io->ops->unlink(f->io, name));
}

START_TEST(a_missing_segment_is_rot_as_far_as_anyone_can_know)
{
	for (unsigned number = 1; number <= 3; number++) {
		struct fixture f = fixture_new(suite_seed());

		for (int i = 0; i < 26; i++)
			put_synced(&f, 1000000);
		remove_segment(&f, number);
		fixture_kill(&f);
		/* Nothing is known of the newest but what it said itself. */
		ck_assert_uint_eq(f.stats.rot, number < 3);
		ck_assert_uint_eq(f.stats.last_lsn, 9 * (number - 1));
		if (number == 3) {
			f.from_lsn = 20; /* a checkpoint knows more */
			f.w = wal_close(f.w);
			ck_ok(fixture_recover(&f));
			ck_assert(f.stats.rot);
		}
		fixture_free(&f);
	}
}
END_TEST

START_TEST(an_empty_folder_is_rot_when_a_checkpoint_was_made)
{
	struct fixture f;

	fixture_init(&f, 1);
	f.from_lsn = 5;
	ck_ok(fixture_recover(&f));
	ck_assert(f.stats.rot);
	ck_assert_uint_eq(f.stats.last_lsn, 4);
	fixture_free(&f);
}
END_TEST

START_TEST(damage_below_a_checkpoint_is_stepped_over)
{
	struct fixture f = small_log();

	ck_ok(io_sim_flip(f.io, FIRST_SEGMENT, 8192 + 70, 3));
	f.from_lsn = 3;
	fixture_kill(&f);
	ck_assert(!f.stats.rot);
	ck_assert_uint_eq(f.stats.last_lsn, 4);
	fixture_free(&f);
}
END_TEST

static void count_line(void *arg, const char *line)
{
	struct fixture *f = arg;

	ck_assert_ptr_nonnull(line);
	f->cap += strstr(line, "frame at") != NULL;
}

START_TEST(inspection_shows_every_frame_and_names_damage)
{
	struct fixture f = small_log();

	f.w = wal_close(f.w);
	free(f.recs);
	f.recs = NULL;
	f.cap = 0;
	ck_ok(wal_inspect(f.io, f.keys, count_line, NULL, &f));
	ck_assert_uint_eq(f.cap, 4);
	ck_ok(wal_inspect(f.io, NULL, count_line, NULL, &f));
	ck_assert_uint_eq(f.cap, 8);
	ck_ok(io_sim_flip(f.io, FIRST_SEGMENT, 16384 + 70, 3));
	ck_ok(wal_inspect(f.io, f.keys, count_line, NULL, &f));
	ck_ok(io_sim_flip(f.io, FIRST_SEGMENT, 8192 + 70, 3));
	ck_assert_int_eq(wal_inspect(f.io, f.keys, count_line, NULL, &f), -E_CORRUPT);
	ck_assert_msg(strstr(err_detail(), "8192"), "%s", err_detail());
	fixture_free(&f);
}
END_TEST

/* --- while it is in use --- */

static void count_bad(void *arg, const char *line)
{
	unsigned *n = arg;

	ck_assert_msg(strstr(line, FIRST_SEGMENT), "%s", line);
	n[0]++;
}

static int count_bytes(void *arg, uint64_t bytes)
{
	unsigned *n = arg;

	n[1] += (unsigned)bytes;
	return 0;
}

static unsigned verified_bad(struct fixture *f, uint64_t from_lsn)
{
	unsigned n[2] = { 0 };
	const struct wal_judge judge = { count_bad, count_bytes, n };

	ck_ok(wal_verify(f->w, from_lsn, &judge));
	ck_assert(n[0] || n[1] == 3 * (SMALL + 2));
	return n[0];
}

START_TEST(reading_it_again_finds_each_flipped_byte_that_was_durable)
{
	struct fixture f = small_log();

	ck_assert_uint_eq(verified_bad(&f, 1), 0);
	for (uint64_t off = 0; off < 16384 + SMALL_FRAME; off++) {
		uint64_t frame = off / 4096, in_frame = off % 4096;
		bool hit = in_frame < (frame == 0 ? 112 : SMALL_FRAME);

		if (!hit && in_frame % 397)
			continue;
		ck_ok(io_sim_flip(f.io, FIRST_SEGMENT, off, (unsigned)(off % 8)));
		ck_assert_uint_eq(verified_bad(&f, 1), hit && frame < 4);
		ck_ok(io_sim_flip(f.io, FIRST_SEGMENT, off, (unsigned)(off % 8)));
	}
	ck_ok(f.io->ops->unlink(f.io, FIRST_SEGMENT));
	ck_assert_uint_eq(verified_bad(&f, 1), 1);
	fixture_free(&f);
}
END_TEST

/* All is acknowledged by a checkpoint behind a renewal: then the rot has gone with its segment. */
START_TEST(a_renewed_log_needs_nothing_of_the_segments_before)
{
	struct fixture f = small_log();
	uint64_t renewed;

	ck_ok(io_sim_flip(f.io, FIRST_SEGMENT, 8192 + 70, 3));
	put(&f, SMALL, false);
	ck_ok(wal_renew(f.w));
	ck_assert_uint_eq(wal_durable_lsn(f.w), f.n);
	renewed = f.n;
	ck_ok(wal_renew(f.w)); /* also where nothing was written since */
	put_synced(&f, SMALL);
	ck_assert_uint_eq(verified_bad(&f, 1), 1);
	ck_ok(wal_trim(f.w, renewed + 1));
	f.from_lsn = renewed + 1;
	fixture_kill(&f);
	ck_assert(!f.stats.rot);
	ck_assert_uint_eq(f.stats.last_lsn, f.n);
	ck_ok(fixture_start(&f));
	put_synced(&f, SMALL);
	fixture_free(&f);
}
END_TEST

START_TEST(without_room_a_log_is_not_renewed_and_keeps_what_it_promised)
{
	struct fixture f = small_log();
	uint64_t promised;

	io_sim_set_free(f.io, 0);
	while (wal_renew(f.w) == 0) /* spare ones are used up */
		put_synced(&f, SMALL);
	ck_assert_int_eq(wal_renew(f.w), -ENOSPC);
	for (int i = 0; i < 20; i++)
		put(&f, 100000, false);
	promised = f.n;
	ck_assert_int_eq(wal_renew(f.w), -ENOSPC);
	ck_ok(wal_sync(f.w, promised));
	fixture_cut(&f);
	ck_assert(!f.stats.rot);
	ck_assert_uint_eq(f.stats.last_lsn, promised);
	fixture_free(&f);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("wal_damage");
	TCase *damage = tcase_create("damage");

	tcase_add_test(
		damage,
		every_flipped_byte_is_rot_below_the_durable_lsn_and_a_torn_tail_above);
	tcase_add_test(damage, a_tail_cut_at_any_byte_leaves_the_frames_before_it);
	tcase_add_test(damage, a_missing_segment_is_rot_as_far_as_anyone_can_know);
	tcase_add_test(damage, an_empty_folder_is_rot_when_a_checkpoint_was_made);
	tcase_add_test(damage, damage_below_a_checkpoint_is_stepped_over);
	tcase_add_test(damage, inspection_shows_every_frame_and_names_damage);
	tcase_add_test(damage, reading_it_again_finds_each_flipped_byte_that_was_durable);
	tcase_add_test(damage, a_renewed_log_needs_nothing_of_the_segments_before);
	tcase_add_test(damage,
		       without_room_a_log_is_not_renewed_and_keeps_what_it_promised);
	tcase_set_timeout(damage, 60);
	suite_add_tcase(s, damage);
	return suite_main(s);
}
