/* test_sim_cut.c - cuts of the simulated disk whose fates are given, what it may do beyond,
 * and copies of it. */
#include <errno.h>
#include <string.h>

#include "core/io/io_sim.h"
#include "tests/lib/io_fixture.h"
#include "tests/lib/suite.h"

START_TEST(given_fates_are_obeyed)
{
	for (unsigned bits = 0; bits < 16; bits++) {
		struct io *io = sim_new(bits);
		uint8_t fates[4];
		struct io_file *f;

		file_put(io, "f", "....");
		ck_ok(io->ops->sync_dir(io, ""));
		f = file_new(io, "f", IO_WRITE);
		for (unsigned i = 0; i < 3; i++)
			ck_ok(io_pwrite(f, "x", 1, i));
		ck_ok(io->ops->rename(io, "f", "g"));
		ck_assert_uint_eq(io_sim_units(io), 4);
		for (unsigned i = 0; i < 4; i++)
			fates[i] = bits >> i & 1 ? IO_SIM_KEPT : IO_SIM_LOST;
		io_sim_power_cut_as(io, fates, 4);
		ck_assert_int_eq(exists(io, "g"), bits >> 3 & 1);
		for (unsigned i = 0; i < 3; i++)
			ck_assert_int_eq(file_text(io, bits >> 3 & 1 ? "g" : "f")[i],
					 bits >> i & 1 ? 'x' : '.');
		ck_assert_uint_eq(io_sim_units(io), 0);
		io_closep(&f);
		io_free(io);
	}
}
END_TEST

START_TEST(names_survive_as_any_subset_where_allowed)
{
	unsigned found[8] = { 0 };

	for (uint64_t seed = 0; seed < 400; seed++) {
		struct io *io = sim_new(suite_seed() + seed);

		io_sim_allow(io, IO_SIM_NAMES_ANY);
		file_put(io, "a", "1");
		file_put(io, "b", "2");
		file_put(io, "c", "3");
		io_sim_power_cut(io);
		found[exists(io, "a") + 2 * exists(io, "b") + 4 * exists(io, "c")]++;
		io_free(io);
	}
	for (unsigned i = 0; i < 8; i++)
		ck_assert_msg(found[i] >= 4, "subset %u: %u of 400", i, found[i]);
}
END_TEST

START_TEST(garbage_stays_within_a_sector_of_a_torn_write)
{
	unsigned strange = 0;

	for (uint64_t seed = 0; seed < 200; seed++) {
		struct io *io = sim_new(suite_seed() + seed);
		uint8_t old[4096], new[4096], got[4096], torn = IO_SIM_TORN;
		struct io_file *f = file_new(io, "f", IO_CREATE);
		unsigned odd = 0;

		io_sim_allow(io, IO_SIM_GARBAGE);
		memset(old, 1, sizeof(old));
		memset(new, 2, sizeof(new));
		ck_ok(io_pwrite(f, old, sizeof(old), 0));
		ck_ok(io_sync(f));
		ck_ok(io->ops->sync_dir(io, ""));
		ck_ok(io_pwrite(f, new, 1024, 1024));
		io_sim_power_cut_as(io, &torn, 1);
		io_closep(&f);
		f = file_new(io, "f", IO_READ);
		ck_assert_int_eq(io_pread(f, got, sizeof(got), 0), sizeof(got));
		for (unsigned at = 0; at < sizeof(got); at += 512) {
			bool was = !memcmp(got + at, old, 512);

			if (at < 1024 || at >= 2048)
				ck_assert(was);
			else
				odd += !was && memcmp(got + at, new, 512);
		}
		ck_assert_uint_le(odd, 1);
		strange += odd;
		io_closep(&f);
		io_free(io);
	}
	ck_assert_uint_ge(strange, 20);
}
END_TEST

START_TEST(failed_sync_may_lose_some_only)
{
	unsigned found[4] = { 0 };

	for (uint64_t seed = 0; seed < 200; seed++) {
		struct io *io = sim_new(suite_seed() + seed);
		struct io_file *f;

		io_sim_allow(io, IO_SIM_SPOIL_SOME);
		file_put(io, "f", "..");
		ck_ok(io->ops->sync_dir(io, ""));
		f = file_new(io, "f", IO_WRITE);
		ck_ok(io_pwrite(f, "x", 1, 0));
		ck_ok(io_pwrite(f, "x", 1, 1));
		io_sim_fail_at(io, IO_SIM_SYNC, 1, EIO, false);
		ck_assert_int_eq(io_sync(f), -EIO);
		ck_ok(io_sync(f)); /* says all is well */
		ck_text(io, "f", "xx");
		io_closep(&f);
		io_sim_power_cut(io);
		found[(file_text(io, "f")[0] == 'x') +
		      2 * (file_text(io, "f")[1] == 'x')]++;
		io_free(io);
	}
	for (unsigned i = 0; i < 4; i++)
		ck_assert_msg(found[i] >= 10, "%u: %u of 200", i, found[i]);
}
END_TEST

START_TEST(branch_is_a_disk_of_its_own)
{
	struct io *io = sim_new(suite_seed()), *branch;
	uint8_t kept[8] = { IO_SIM_KEPT };
	struct io_file *f;

	ck_ok(io->ops->mkdir(io, "d"));
	file_put(io, "d/f", "old");
	f = file_new(io, "d/f", IO_WRITE);
	ck_ok(io_pwrite(f, "new", 3, 0));
	ck_ok(io->ops->unlink(io,
			      "d/f")); /* kept by its handle and by its durable name */
	file_put(io, "d/g", "1");
	ck_ok(io_sim_branch(io, 1, &branch));
	ck_assert_uint_eq(io_sim_units(branch), io_sim_units(io));
	ck_assert_uint_le(io_sim_units(branch), ARRAY_LEN(kept));

	file_put(branch, "d/g", "2");
	ck_text(io, "d/g", "1");
	ck_ok(io_pwrite(f, "mine", 4, 0));
	io_sim_power_cut_as(branch, kept, io_sim_units(branch));
	ck_text(branch, "d/g", "2");
	ck_assert(!exists(branch, "d/f"));
	io_closep(&f);
	io_free(io);
	ck_text(branch, "d/g", "2");
	io_free(branch);
}
END_TEST

static void count_call(void *arg, unsigned call)
{
	*(unsigned *)arg |= call;
}

START_TEST(watch_sees_calls_before_they_are_made)
{
	struct io *io = sim_new(suite_seed());
	unsigned seen = 0;

	io_sim_watch(io, count_call, &seen);
	file_put(io, "f", "1");
	ck_assert_uint_eq(seen,
			  IO_SIM_OPEN | IO_SIM_TRUNCATE | IO_SIM_PWRITE | IO_SIM_SYNC);
	io_sim_watch(io, NULL, NULL);
	seen = 0;
	ck_ok(io->ops->unlink(io, "f"));
	ck_assert_uint_eq(seen, 0);
	io_free(io);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("sim_cut");
	TCase *tc = tcase_create("cuts");

	tcase_add_test(tc, given_fates_are_obeyed);
	tcase_add_test(tc, names_survive_as_any_subset_where_allowed);
	tcase_add_test(tc, garbage_stays_within_a_sector_of_a_torn_write);
	tcase_add_test(tc, failed_sync_may_lose_some_only);
	tcase_add_test(tc, branch_is_a_disk_of_its_own);
	tcase_add_test(tc, watch_sees_calls_before_they_are_made);
	suite_add_tcase(s, tc);
	return suite_main(s);
}
