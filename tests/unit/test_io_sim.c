/* test_io_sim.c - the simulated disk against models of what a power cut may leave, and its
 * faults, stops and limits. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "core/io/io_sim.h"
#include "tests/lib/io_fixture.h"
#include "tests/lib/suite.h"

static int list_stop(void *arg, const char *name)
{
	return 42;
}

/* ---- what a cut leaves of a file ---- */

#define PEN_BYTES   24576u
#define PEN_CHANGES 4

struct change {
	enum { WRITE, TRUNCATE, ALLOCATE } kind;
	size_t off, n; /* truncate, allocate: off is the size */
	uint8_t fill;
};

struct image {
	size_t n;
	uint8_t bytes[PEN_BYTES]; /* zeros from n on */
};

static void image_change(struct image *im, const struct change *c)
{
	switch (c->kind) {
	case WRITE:
		memset(im->bytes + c->off, c->fill, c->n);
		im->n = MAX(im->n, c->off + c->n);
		break;
	case TRUNCATE:
		if (c->off < im->n)
			memset(im->bytes + c->off, 0, im->n - c->off);
		im->n = c->off;
		break;
	case ALLOCATE:
		im->n = MAX(im->n, c->off);
	}
}

static void file_change(struct io_file *f, const struct change *c)
{
	static uint8_t piece[PEN_BYTES];

	switch (c->kind) {
	case WRITE:
		memset(piece, c->fill, c->n);
		ck_ok(io_pwrite(f, piece, c->n, c->off));
		break;
	case TRUNCATE:
		ck_ok(f->ops->truncate(f, c->off));
		break;
	case ALLOCATE:
		ck_ok(f->ops->allocate(f, c->off));
	}
}

static void image_read(struct io *io, const char *name, struct image *ret)
{
	struct io_file *f = file_new(io, name, IO_READ);
	ssize_t n;

	memset(ret, 0, sizeof(*ret));
	n = io_pread(f, ret->bytes, sizeof(ret->bytes), 0);
	ck_ok(n);
	ret->n = (size_t)n;
	io_closep(&f);
}

/* Each sector must be as some subset of the changes makes it, each its own subset; the size
 * as some subset's, or a sector's end between the least and the greatest. */
static void image_allowed(const struct image *got, const struct image *base,
			  const struct change *changes, unsigned n_changes)
{
	static struct image each[1 << PEN_CHANGES];
	size_t least = SIZE_MAX, most = 0;
	bool size_found = got->n % 512 == 0;

	for (unsigned subset = 0; subset < 1u << n_changes; subset++) {
		struct image *im = &each[subset];

		*im = *base;
		for (unsigned i = 0; i < n_changes; i++)
			if (subset & (1u << i))
				image_change(im, &changes[i]);
		least = MIN(least, im->n);
		most = MAX(most, im->n);
		size_found |= im->n == got->n;
	}
	ck_assert_msg(size_found && got->n >= least && got->n <= most,
		      "size %zu, not in %zu..%zu", got->n, least, most);
	for (size_t at = 0; at < got->n; at += 512) {
		size_t n = MIN((size_t)512, got->n - at);
		unsigned subset = 0;

		while (subset < 1u << n_changes &&
		       memcmp(got->bytes + at, each[subset].bytes + at, n))
			subset++;
		ck_assert_msg(subset < 1u << n_changes, "sector at %zu", at);
	}
}

static struct change change_draw(struct rng *rng, uint8_t fill)
{
	struct change c = { .fill = fill };
	uint64_t kind = rng_below(rng, 8);

	c.kind = kind == 0 ? TRUNCATE : kind == 1 ? ALLOCATE : WRITE;
	c.off = (size_t)rng_below(rng, PEN_BYTES / 2);
	if (rng_below(rng, 2))
		c.off &= ~(size_t)511;
	c.n = 1 + (size_t)rng_below(rng, rng_below(rng, 2) ? 1500 : PEN_BYTES / 2);
	return c;
}

/* One life of a file up to a cut: synced changes, perhaps a failed sync, unsynced ones. */
static void live_and_cut(struct rng *rng)
{
	struct io *io = sim_new(rng_next(rng));
	struct io_file *f = file_new(io, "f", IO_CREATE);
	struct image base = { 0 }, got;
	struct change changes[PEN_CHANGES];
	unsigned n = (unsigned)rng_below(rng, PEN_CHANGES + 1);
	uint8_t fill = 1;

	ck_ok(io->ops->sync_dir(io, ""));
	for (int round = (int)rng_below(rng, 3); round >= 0; round--) {
		for (uint64_t k = rng_below(rng, 3); k > 0; k--) {
			struct change c = change_draw(rng, fill++);

			file_change(f, &c);
			image_change(&base, &c);
		}
		ck_ok(io_sync(f));
	}
	if (rng_below(rng, 4) == 0) {
		struct change c = change_draw(rng, fill++);

		file_change(f, &c);
		io_sim_fail_at(io, IO_SIM_SYNC, 1, EIO, false);
		ck_assert_int_eq(io_sync(f), -EIO);
		if (rng_below(rng, 2)) { /* a later good sync does not save it */
			c = change_draw(rng, fill++);
			file_change(f, &c);
			image_change(&base, &c);
			ck_ok(io_sync(f));
		}
	}
	for (unsigned i = 0; i < n; i++) {
		changes[i] = change_draw(rng, fill++);
		file_change(f, &changes[i]);
	}
	io_closep(&f);
	for (int cuts = 0; cuts < 2; cuts++) {
		io_sim_power_cut(io);
		image_read(io, "f", &got);
		if (cuts == 0)
			image_allowed(&got, &base, changes, n);
		else
			ck_assert(memcmp(&got, &base, sizeof(got)) == 0);
		base = got; /* a second cut changes nothing */
	}
	io_free(io);
}

START_TEST(cut_leaves_of_a_file_what_the_contract_allows)
{
	struct rng rng = rng_seeded(suite_seed());

	for (int i = 0; i < 5000; i++)
		live_and_cut(&rng);
}
END_TEST

enum { KEPT, LOST, TORN_512, TORN_4K, ZEROS, N_CLASSES };

/* What became of a write of 2s, at 0, over 1s (or over nothing). */
static unsigned class_of(const struct image *got, size_t written)
{
	size_t twos = 0;
	bool by_4k = true;

	for (size_t at = 0; at < written; at += 512) {
		twos += got->bytes[at] == 2;
		by_4k &= got->bytes[at] == got->bytes[at & ~(size_t)4095];
	}
	if (twos == written / 512)
		return KEPT;
	if (twos == 0)
		return got->n && got->bytes[0] == 0 ? ZEROS : LOST;
	return by_4k ? TORN_4K : TORN_512;
}

static void classes_occur(bool over_old, unsigned found[N_CLASSES])
{
	const struct change old = { WRITE, 0, 12288, 1 }, new = { WRITE, 0, 12288, 2 };
	struct image got;

	for (uint64_t seed = 0; seed < 3000; seed++) {
		struct io *io = sim_new(suite_seed() + seed);
		struct io_file *f = file_new(io, "f", IO_CREATE);

		if (over_old)
			file_change(f, &old);
		ck_ok(io_sync(f));
		ck_ok(io->ops->sync_dir(io, ""));
		file_change(f, &new);
		io_closep(&f);
		io_sim_power_cut(io);
		image_read(io, "f", &got);
		found[class_of(&got, 12288)]++;
		io_free(io);
	}
}

START_TEST(each_fate_of_a_write_occurs)
{
	unsigned over[N_CLASSES] = { 0 }, append[N_CLASSES] = { 0 };

	classes_occur(true, over);
	for (int i = 0; i < ZEROS; i++)
		ck_assert_msg(over[i] >= 10, "class %d: %u of 3000", i, over[i]);
	ck_assert_uint_eq(over[ZEROS], 0);
	classes_occur(false, append);
	for (int i = 0; i < N_CLASSES; i++)
		ck_assert_msg(append[i] >= 5, "class %d: %u of 3000", i, append[i]);
}
END_TEST

/* ---- what a cut leaves of folders ---- */

START_TEST(folder_changes_survive_as_a_prefix)
{
	unsigned found[4] = { 0 };

	for (uint64_t seed = 0; seed < 300; seed++) {
		struct io *io = sim_new(suite_seed() + seed);
		unsigned a, b, c, prefix;

		file_put(io, "a", "1");
		ck_ok(io->ops->sync_dir(io, ""));
		ck_ok(io->ops->rename(io, "a", "b"));
		file_put(io, "c", "2");
		ck_ok(io->ops->unlink(io, "b"));
		io_sim_power_cut(io);
		a = exists(io, "a");
		b = exists(io, "b");
		c = exists(io, "c");
		prefix = a ? 0 : b && !c ? 1 : b ? 2 : 3;
		ck_assert_uint_eq(a, prefix == 0);
		ck_assert_uint_eq(b, prefix == 1 || prefix == 2);
		ck_assert_uint_eq(c, prefix >= 2);
		if (c)
			ck_text(io, "c", "2");
		if (a || b)
			ck_text(io, a ? "a" : "b", "1");
		found[prefix]++;
		io_free(io);
	}
	for (int i = 0; i < 4; i++)
		ck_assert_msg(found[i] >= 20, "prefix %d: %u of 300", i, found[i]);
}
END_TEST

START_TEST(rename_across_folders_is_never_in_neither)
{
	unsigned found[3][4] = { 0 };

	for (uint64_t seed = 0; seed < 600; seed++) {
		struct io *io = sim_new(suite_seed() + seed);
		unsigned synced = (unsigned)(seed % 3);

		ck_ok(io->ops->mkdir(io, "x"));
		ck_ok(io->ops->mkdir(io, "y"));
		ck_ok(io->ops->sync_dir(io, ""));
		file_put(io, "x/f", "1");
		ck_ok(io->ops->sync_dir(io, "x"));
		ck_ok(io->ops->rename(io, "x/f", "y/f"));
		ck_assert(!exists(io, "x/f"));
		if (synced)
			ck_ok(io->ops->sync_dir(io, synced == 1 ? "y" : "x"));
		io_sim_power_cut(io);
		found[synced][exists(io, "x/f") + 2 * exists(io, "y/f")]++;
		io_free(io);
	}
	ck_assert_uint_eq(found[0][0], 0);
	for (int i = 1; i < 4; i++)
		ck_assert_uint_ge(found[0][i], 10);
	/* The new name is synced: the old one may linger. */
	ck_assert_uint_eq(found[1][2] + found[1][3], 200);
	ck_assert_uint_ge(found[1][2], 10);
	ck_assert_uint_ge(found[1][3], 10);
	/* The old name's going is synced: the new one is there. */
	ck_assert_uint_eq(found[2][2], 200);
}
END_TEST

/* Files wander through three folders and are never removed: after any cut each is under one
 * name at least, and under the names of its past only. */
START_TEST(wandering_files_are_never_lost)
{
	static const char *const folders[] = { "x", "y", "z" };
	struct rng rng = rng_seeded(suite_seed());

	for (int life = 0; life < 400; life++) {
		struct io *io = sim_new(rng_next(&rng));
		unsigned home[3] = { 0 }, been[3] = { 1, 1, 1 };
		char from[16], to[16];

		for (int i = 0; i < 3; i++)
			ck_ok(io->ops->mkdir(io, folders[i]));
		ck_ok(io->ops->sync_dir(io, ""));
		for (int i = 0; i < 3; i++) {
			snprintf(to, sizeof(to), "x/%d", i);
			file_put(io, to, to + 2);
		}
		ck_ok(io->ops->sync_dir(io, "x"));
		for (int step = (int)rng_below(&rng, 12); step > 0; step--) {
			unsigned i = (unsigned)rng_below(&rng, 3);
			unsigned where = (unsigned)rng_below(&rng, 3);

			snprintf(from, sizeof(from), "%s/%u", folders[home[i]], i);
			snprintf(to, sizeof(to), "%s/%u", folders[where], i);
			ck_ok(io->ops->rename(io, from, to));
			home[i] = where;
			been[i] |= 1u << where;
			where = (unsigned)rng_below(&rng, 9);
			if (where < 3 && rng_below(&rng, 6) == 0) {
				io_sim_fail_at(io, IO_SIM_SYNC_DIR, 1, EIO, false);
				ck_assert_int_eq(io->ops->sync_dir(io, folders[where]),
						 -EIO);
			} else if (where < 3) {
				ck_ok(io->ops->sync_dir(io, folders[where]));
			}
		}
		io_sim_power_cut(io);
		for (unsigned i = 0; i < 3; i++) {
			unsigned there = 0;

			for (unsigned k = 0; k < 3; k++) {
				snprintf(from, sizeof(from), "%s/%u", folders[k], i);
				if (!exists(io, from))
					continue;
				ck_text(io, from, from + 2);
				there |= 1u << k;
			}
			ck_assert_msg(there && !(there & ~been[i]),
				      "life %d file %u: %x of %x", life, i, there,
				      been[i]);
		}
		io_free(io);
	}
}
END_TEST

START_TEST(file_of_an_unsynced_folder_may_vanish_though_synced)
{
	unsigned there = 0;

	for (uint64_t seed = 0; seed < 100; seed++) {
		struct io *io = sim_new(suite_seed() + seed);

		file_put(io, "f", "1");
		io_sim_power_cut(io);
		if (exists(io, "f")) {
			ck_text(io, "f", "1");
			there++;
		}
		io_free(io);
	}
	ck_assert_uint_ge(there, 10);
	ck_assert_uint_le(there, 90);
}
END_TEST

START_TEST(folder_sync_that_failed_saves_nothing)
{
	for (uint64_t seed = 0; seed < 50; seed++) {
		struct io *io = sim_new(seed);

		file_put(io, "f", "1");
		io_sim_fail_at(io, IO_SIM_SYNC_DIR, 1, EIO, false);
		ck_assert_int_eq(io->ops->sync_dir(io, ""), -EIO);
		ck_text(io, "f", "1");
		file_put(io, "g", "2");
		ck_ok(io->ops->sync_dir(io, ""));
		io_sim_power_cut(io);
		ck_assert(!exists(io, "f"));
		ck_text(io, "g", "2");
		io_free(io);
	}
}
END_TEST

START_TEST(published_file_is_the_old_or_the_new_one)
{
	unsigned old = 0, fresh = 0;

	for (uint64_t seed = 0; seed < 2000; seed++) {
		struct io *io = sim_new(suite_seed() + seed);
		const char *text;
		int r;

		ck_ok(io_publish(io, "f", "the old", 7));
		io_sim_stop_at(io, IO_SIM_ANY, 1 + seed % 8);
		r = io_publish(io, "f", "the new one", 11);
		io_sim_power_cut(io);
		text = file_text(io, "f");
		ck_assert_ptr_nonnull(text);
		if (!strcmp(text, "the new one"))
			fresh++;
		else
			old++;
		if (r < 0 && strcmp(text, "the new one"))
			ck_assert_str_eq(text, "the old");
		if (r == 0)
			ck_assert_str_eq(text, "the new one");
		ck_ok(io_publish(io, "f", "again", 5));
		ck_text(io, "f", "again");
		io_free(io);
	}
	ck_assert_uint_ge(old, 100);
	ck_assert_uint_ge(fresh, 100);
}
END_TEST

/* ---- faults, stops, space ---- */

START_TEST(failed_sync_is_for_ever_though_it_still_reads)
{
	for (uint64_t seed = 0; seed < 50; seed++) {
		struct io *io = sim_new(seed);
		struct io_file *f;

		file_put(io, "f", "old old old");
		ck_ok(io->ops->sync_dir(io, ""));
		f = file_new(io, "f", IO_WRITE);
		ck_ok(io_pwrite(f, "NEW", 3, 0));
		io_sim_fail_at(io, IO_SIM_SYNC, 1, ENOSPC, false);
		ck_assert_int_eq(io_sync(f), -ENOSPC);
		ck_text(io, "f", "NEW old old");
		ck_ok(io_pwrite(f, "NEW", 3, 8));
		ck_ok(io_sync(f));
		ck_text(io, "f", "NEW old NEW");
		io_closep(&f);
		io_sim_power_cut(io);
		ck_text(io, "f", "old old NEW");
		io_free(io);
	}
}
END_TEST

START_TEST(faults_strike_when_they_should)
{
	struct io *io = sim_new(1);
	struct io_file *f = file_new(io, "f", IO_CREATE);
	uint64_t before = io_sim_calls(io, IO_SIM_PWRITE);
	char c;

	io_sim_fail_at(io, IO_SIM_PWRITE | IO_SIM_PREAD, 3, EIO, false);
	ck_ok(io_pwrite(f, "a", 1, 0));
	ck_ok(io_sync(f));
	ck_ok(io_pread(f, &c, 1, 0));
	ck_assert_int_eq(io_pwrite(f, "b", 1, 1), -EIO);
	ck_ok(io_pwrite(f, "b", 1, 1));
	ck_assert_uint_eq(io_sim_calls(io, IO_SIM_PWRITE), before + 3);

	io_sim_fail_at(io, IO_SIM_OPEN | IO_SIM_UNLINK, 1, EACCES, true);
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(io->ops->unlink(io, "f"), -EACCES);
		ck_assert_int_eq(io->ops->mkdir(io, "d"), -EACCES);
		ck_ok(io->ops->rename(io, "f", "f"));
	}
	io_sim_fail_at(io, IO_SIM_TRUNCATE | IO_SIM_RENAME, 1, EIO, true);
	ck_ok(io->ops->mkdir(io, "d"));
	ck_assert_int_eq(f->ops->truncate(f, 0), -EIO);
	ck_assert_int_eq(f->ops->allocate(f, 100), -EIO);
	ck_assert_int_eq(io->ops->rename(io, "f", "g"), -EIO);
	ck_text(io, "f", "ab");
	io_sim_fail_at(io, 0, 0, 0, false);
	ck_ok(io->ops->rename(io, "f", "g"));
	io_closep(&f);
	io_free(io);
}
END_TEST

START_TEST(stopped_machine_does_nothing_until_it_restarts)
{
	unsigned effect = 0, none = 0;

	for (uint64_t seed = 0; seed < 200; seed++) {
		struct io *io = sim_new(suite_seed() + seed);
		struct io_file *f, *g = NULL;
		struct io_space space;
		pid_t pid = 0;
		uint64_t n;
		char c;

		file_put(io, "f", "1");
		ck_ok(io->ops->sync_dir(io, ""));
		f = file_new(io, "f", IO_WRITE);
		ck_ok(io->ops->lock(io, "lock", &pid));
		ck_assert_int_eq(io->ops->lock(io, "lock", &pid), -EWOULDBLOCK);
		io_sim_stop_at(io, IO_SIM_RENAME, 2);
		ck_ok(io->ops->rename(io, "f", "g"));
		ck_assert_int_eq(io->ops->rename(io, "g", "h"), -EIO);
		ck_assert_int_eq(io->ops->rename(io, "g", "h"), -EIO);
		ck_assert_int_eq(io->ops->mkdir(io, "d"), -EIO);
		ck_assert_int_eq(io_open(io, "g", IO_READ, &g), -EIO);
		ck_assert_int_eq(io_pread(f, &c, 1, 0), -EIO);
		ck_assert_int_eq(io_pwrite(f, "2", 1, 0), -EIO);
		ck_assert_int_eq(io_sync(f), -EIO);
		ck_assert_int_eq(io_size(f, &n), -EIO);
		ck_assert_int_eq(io->ops->space(io, &space), -EIO);
		ck_assert_int_eq(io->ops->list(io, "", list_stop, NULL), -EIO);
		ck_assert_int_eq(io->ops->sync_dir(io, ""), -EIO);
		if (seed % 2)
			io_sim_kill(io);
		else
			io_sim_power_cut(io);
		ck_assert_int_eq(io_pread(f, &c, 1, 0), -EIO); /* of the former boot */
		ck_assert_int_eq(io_pwrite(f, "2", 1, 0), -EIO);
		io_closep(&f);
		if (seed % 2) {
			effect += exists(io, "h");
			none += exists(io, "g");
			ck_text(io, exists(io, "h") ? "h" : "g", "1");
		}
		ck_ok(io->ops->lock(io, "lock", &pid));
		io_free(io);
	}
	ck_assert_uint_eq(effect + none, 100);
	ck_assert_uint_ge(effect, 10);
	ck_assert_uint_ge(none, 10);
}
END_TEST

START_TEST(kill_keeps_all_that_was_written)
{
	struct io *io = sim_new(suite_seed());
	struct io_file *f;

	ck_ok(io->ops->mkdir(io, "d"));
	f = file_new(io, "d/f", IO_CREATE);
	ck_ok(io_pwrite(f, "abc", 3, 0));
	io_sim_kill(io);
	ck_assert_int_eq(io_sync(f), -EIO);
	ck_text(io, "d/f", "abc");
	io_sim_kill(io);
	ck_text(io, "d/f", "abc");
	io_closep(&f);
	io_free(io);
}
END_TEST

START_TEST(full_disk_refuses_new_bytes_only)
{
	struct io *io = sim_new(1);
	struct io_file *f = file_new(io, "f", IO_CREATE);
	struct io_space space;
	uint64_t n;
	char bytes[1000] = { 0 };

	ck_ok(io_pwrite(f, bytes, 1000, 0));
	io_sim_set_free(io, 1500);
	ck_ok(io->ops->space(io, &space));
	ck_assert_uint_eq(space.free_bytes, 1500);
	ck_assert_uint_eq(space.total_bytes, 2500);
	ck_assert_int_eq(f->ops->allocate(f, 2501), -ENOSPC);
	ck_assert_int_eq(f->ops->truncate(f, 2501), -ENOSPC);
	ck_ok(io_pwrite(f, bytes, 1000, 1000));
	ck_assert_int_eq(io_pwrite(f, bytes, 1000, 2000), -ENOSPC);
	ck_ok(io_size(f, &n));
	ck_assert_uint_eq(n, 2500); /* what fitted is there */
	ck_ok(io_pwrite(f, bytes, 1000, 1500)); /* no growth */
	ck_ok(f->ops->truncate(f, 100));
	ck_ok(io->ops->space(io, &space));
	ck_assert_uint_eq(space.free_bytes, 2400);
	ck_ok(io->ops->unlink(io, "f"));
	ck_ok(io_pwrite(f, bytes, 1000, 0)); /* unlinked, but open: still takes space */
	ck_ok(io->ops->space(io, &space));
	ck_assert_uint_eq(space.free_bytes, 1500);
	io_closep(&f);
	ck_ok(io->ops->space(io, &space));
	ck_assert_uint_eq(space.free_bytes, 2500);
	file_put(io, "g", "1234567890");
	file_put(io, "h", "12345");
	ck_ok(io->ops->rename(io, "h", "g"));
	ck_ok(io->ops->space(io, &space));
	ck_assert_uint_eq(space.free_bytes, 2495);
	ck_ok(io->ops->unlink(io, "g"));
	ck_ok(io->ops->space(io, &space));
	ck_assert_uint_eq(space.free_bytes, 2500);
	io_free(io);
}
END_TEST

START_TEST(flipped_bit_is_in_both_copies)
{
	for (uint64_t seed = 0; seed < 40; seed++) {
		struct io *io = sim_new(seed);
		struct io_file *f;

		file_put(io, "f", "aaaa");
		ck_ok(io->ops->sync_dir(io, ""));
		f = file_new(io, "f", IO_WRITE);
		ck_ok(io_pwrite(f, "aaaa", 4, 0)); /* kept or not, the flip stays */
		ck_ok(io_sim_flip(io, "f", 2, 1));
		ck_text(io, "f", "aaca");
		io_closep(&f);
		io_sim_power_cut(io);
		ck_text(io, "f", "aaca");
		ck_ok(io_sim_flip(io, "f", 2, 1));
		ck_text(io, "f", "aaaa");
		ck_assert_int_eq(io_sim_flip(io, "f", 4, 1), -EINVAL);
		ck_assert_int_eq(io_sim_flip(io, "f", 0, 8), -EINVAL);
		ck_assert_int_eq(io_sim_flip(io, "g", 0, 1), -ENOENT);
		io_free(io);
	}
}
END_TEST

/* ---- one seed decides, quickly, and from any thread ---- */

static uint64_t run_to_hash(uint64_t seed)
{
	struct io *io = sim_new(seed);
	struct rng rng = rng_seeded(7);
	static struct image got;
	struct io_file *f[3];
	uint64_t hash = 0;
	char name[16];

	for (int round = 0; round < 5; round++) {
		for (int i = 0; i < 3; i++) {
			snprintf(name, sizeof(name), "%d", i);
			f[i] = file_new(io, name, IO_CREATE);
		}
		for (int step = 0; step < 20; step++) {
			struct change c = change_draw(&rng, (uint8_t)step);

			file_change(f[step % 3], &c);
			if (step % 7 == 6)
				ck_ok(io_sync(f[step % 3]));
		}
		ck_ok(io->ops->rename(io, "0", "1"));
		for (int i = 0; i < 3; i++)
			io_closep(&f[i]);
		io_sim_power_cut(io);
		for (int i = 0; i < 3; i++) {
			snprintf(name, sizeof(name), "%d", i);
			if (!exists(io, name))
				continue;
			image_read(io, name, &got);
			for (size_t k = 0; k < got.n; k++)
				hash = (hash ^ got.bytes[k] ^ (uint64_t)i) *
				       1099511628211u;
		}
	}
	io_random(io, &seed, sizeof(seed));
	hash ^= seed + io_mono_ns(io);
	io_free(io);
	return hash;
}

START_TEST(same_seed_same_outcome)
{
	unsigned different = 0;

	for (uint64_t i = 0; i < 20; i++) {
		uint64_t seed = suite_seed() + i;

		ck_assert_uint_eq(run_to_hash(seed), run_to_hash(seed));
		different += run_to_hash(seed) != run_to_hash(seed + 1);
	}
	ck_assert_uint_ge(different, 18);
}
END_TEST

START_TEST(time_is_virtual)
{
	struct io *io = sim_new(1);
	uint64_t real = io_real_ns(io), mono = io_mono_ns(io);

	ck_assert_uint_eq(io_mono_ns(io), mono + 1000);
	io_sim_advance(io, 5000000000u);
	ck_assert_uint_eq(io_mono_ns(io), mono + 5000002000u);
	ck_assert_uint_eq(io_real_ns(io), real + 5000004000u);
	mono = io_tick_ns(io);
	ck_assert_uint_eq(io_tick_ns(io), mono);
	io_sim_advance(io, 5000000u);
	ck_assert_uint_gt(io_tick_ns(io), mono);
	io_free(io);
}
END_TEST

/* 64 MiB that are written, synced, patched and cut cost little. */
START_TEST(large_files_are_shared_not_copied)
{
	struct io *io = sim_new(suite_seed());
	struct io_file *f = file_new(io, "f", IO_CREATE);
	static uint8_t mib[1 << 20];
	uint8_t c;

	ck_ok(io->ops->sync_dir(io, ""));
	memset(mib, 7, sizeof(mib));
	ck_ok(f->ops->allocate(f, 1024 * GIB / 2));
	for (uint64_t i = 0; i < 64; i++)
		ck_ok(io_pwrite(f, mib, sizeof(mib), i * sizeof(mib)));
	ck_ok(io_sync(f));
	for (uint64_t i = 0; i < 2000; i++) {
		io_closep(&f);
		f = file_new(io, "f", IO_WRITE);
		ck_ok(io_pwrite(f, "x", 1, i * 33331));
		if (i % 2)
			ck_ok(io_sync(f));
		io_sim_power_cut(io);
	}
	io_closep(&f);
	f = file_new(io, "f", IO_WRITE);
	for (uint64_t i = 1; i < 2000; i += 2) {
		ck_ok(io_pread_all(f, &c, 1, i * 33331));
		ck_assert_uint_eq(c, 'x');
		ck_ok(io_pread_all(f, &c, 1, i * 33331 + 1));
		ck_assert_uint_eq(c, 7);
	}
	io_closep(&f);
	io_free(io);
}
END_TEST

struct worker {
	struct io *io;
	unsigned id;
	int failures;
};

static void *work(void *arg)
{
	struct worker *w = arg;
	struct io_file *f = NULL;
	char name[16], c;

	for (unsigned i = 0; i < 300; i++) {
		snprintf(name, sizeof(name), "%u-%u", w->id, i % 5);
		w->failures += io_open(w->io, name, IO_CREATE, &f) < 0;
		w->failures += io_pwrite(f, name, strlen(name), i * 100) < 0;
		w->failures += io_sync(f) < 0;
		w->failures += io_pread(f, &c, 1, i * 100) != 1 || c != name[0];
		io_closep(&f);
		w->failures += io_publish(w->io, name, name, strlen(name)) < 0;
		io_mono_ns(w->io);
	}
	return NULL;
}

START_TEST(threads_may_share_it)
{
	struct io *io = sim_new(suite_seed());
	struct worker workers[4];
	pthread_t threads[4];

	for (unsigned i = 0; i < 4; i++) {
		workers[i] = (struct worker) { io, i, 0 };
		ck_assert_int_eq(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
	}
	for (unsigned i = 0; i < 4; i++) {
		pthread_join(threads[i], NULL);
		ck_assert_int_eq(workers[i].failures, 0);
	}
	io_sim_power_cut(io);
	ck_text(io, "3-4", "3-4");
	io_free(io);
}
END_TEST

static Suite *make_suite(void)
{
	Suite *suite = suite_create("io_sim");
	TCase *t = tcase_create("io_sim"), *threads = tcase_create("threads");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, cut_leaves_of_a_file_what_the_contract_allows);
	tcase_add_test(t, each_fate_of_a_write_occurs);
	tcase_add_test(t, folder_changes_survive_as_a_prefix);
	tcase_add_test(t, rename_across_folders_is_never_in_neither);
	tcase_add_test(t, wandering_files_are_never_lost);
	tcase_add_test(t, file_of_an_unsynced_folder_may_vanish_though_synced);
	tcase_add_test(t, folder_sync_that_failed_saves_nothing);
	tcase_add_test(t, published_file_is_the_old_or_the_new_one);
	tcase_add_test(t, failed_sync_is_for_ever_though_it_still_reads);
	tcase_add_test(t, faults_strike_when_they_should);
	tcase_add_test(t, stopped_machine_does_nothing_until_it_restarts);
	tcase_add_test(t, kill_keeps_all_that_was_written);
	tcase_add_test(t, full_disk_refuses_new_bytes_only);
	tcase_add_test(t, flipped_bit_is_in_both_copies);
	tcase_add_test(t, same_seed_same_outcome);
	tcase_add_test(t, time_is_virtual);
	tcase_add_test(t, large_files_are_shared_not_copied);
	suite_add_tcase(suite, t);
	tcase_set_timeout(threads, 60);
	tcase_add_test(threads, threads_may_share_it);
	suite_add_tcase(suite, threads);
	return suite;
}

int main(void)
{
	return suite_main(make_suite());
}
