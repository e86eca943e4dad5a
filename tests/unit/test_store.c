/* test_store.c - what crosses the layers of a store and took a bug to be thought of: each test
 * is one, made small. On the simulated disk, mostly without threads. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/err.h"
#include "core/io/io_sim.h"
#include "core/page/nodes_priv.h"
#include "core/page/page_format.h"
#include "core/store_priv.h"
#include "tests/lib/store_fixture.h"

enum { HUGE_FILES = 3 };

/* Two files name one slice of hot bytes, a checkpoint packs it once for each: either file alone
 * must be enough to keep what its nodes in memory point at. */
START_TEST(a_copy_can_be_removed_and_collected_without_harm)
{
	size_t n = MIB;
	uint8_t *model = malloc(n);
	uint64_t ino, copy;

	fixture_init(false);
	fill(make("more"), model, n, 4096);
	ino = make("a");
	fill(ino, model, n, 4096);
	copy = make("b");
	for (size_t at = 0; at < n; at += n / 2) /* in halves: all at once is a clone */
		ck_ok(ropefs_copy(f.fs, (struct ropefs_range) { copy, at, 0 },
				  (struct ropefs_range) { ino, at, n / 2 }));
	ck_ok(ropefs_checkpoint(f.fs));
	expect_bytes(ino, model, n);
	expect_bytes(copy, model, n);
	drop(_i ? "a" : "b");
	drop("more"); /* so that little is left of the pack */
	packs_set_budget(f.fs->packs, 0);
	ck_ok(ropefs_collect(f.fs));
	ck_assert_uint_eq(f.fs->packs_rewritten, 1);
	expect_bytes(_i ? copy : ino, model, n);

	/* And what is written anew from those nodes. */
	ck_ok(ropefs_insert(f.fs, _i ? copy : ino, n / 2, "x", 1, 0));
	ck_ok(ropefs_cut(f.fs, _i ? copy : ino, n / 2, 1));
	ck_ok(ropefs_checkpoint(f.fs));
	store_abandon(f.fs, true);
	fixture_open();
	expect_bytes(_i ? copy : ino, model, n);
	free(model);
	fixture_release();
}
END_TEST

START_TEST(what_a_checkpoint_wrote_stays_in_memory)
{
	size_t n = MIB;
	uint8_t *model = malloc(n);
	struct nodes_stats before, after;
	uint64_t ino;

	fixture_init(false);
	ino = make("a");
	fill(ino, model, n, 512);
	for (int i = 0; i < 300; i++) {
		char name[16];

		snprintf(name, sizeof(name), "f%d", i);
		ck_ok(ropefs_write(f.fs, make(name), 0, model, 100, 0, NULL));
	}
	ck_ok(ropefs_checkpoint(f.fs));
	nodes_get_stats(f.fs->nodes, &before);
	expect_bytes(ino, model, n);
	for (int i = 0; i < 300; i++) {
		struct ropefs_attr attr;
		char name[16];

		snprintf(name, sizeof(name), "f%d", i);
		ck_ok(ropefs_lookup(f.fs, ROPEFS_ROOT_INO, ropefs_name(name), &attr));
	}
	nodes_get_stats(f.fs->nodes, &after);
	ck_assert_uint_gt(after.clean, 10);
	ck_assert_uint_eq(after.misses, before.misses);
	free(model);
	fixture_release();
}
END_TEST

/* Each call reads a whole tree, none drops as much at once. */
START_TEST(reading_trees_keeps_within_the_budget_of_nodes)
{
	size_t n = 64 * KIB;
	uint8_t *model = malloc(n);
	uint64_t ino[40], at;
	struct nodes_stats st;

	fixture_init(false);
	for (int i = 0; i < 40; i++) {
		char name[16];

		snprintf(name, sizeof(name), "f%d", i);
		ino[i] = make(name);
		fill(ino[i], model, n, 4);
		ck_ok(ropefs_checkpoint(f.fs));
	}
	nodes_set_budget(f.fs->nodes, MIB);
	for (int i = 0; i < 400; i++)
		ck_ok(ropefs_seek(f.fs, ino[rng_below(&f.rng, 40)], 0, SEEK_HOLE, &at));
	nodes_get_stats(f.fs->nodes, &st);
	ck_assert_uint_lt(st.clean * PAGE_BYTES, 3 * MIB);
	free(model);
	fixture_release();
}
END_TEST

/* Nodes that a checkpoint did not have to write, and those put aside for an edit. */
START_TEST(large_edits_leave_no_nodes_behind_for_good)
{
	size_t n = 200 * KIB;
	uint8_t *model = malloc(n);
	uint64_t ino, copy, nodes = 0;

	fixture_init(false);
	ino = make("a");
	copy = make("b");
	fill(ino, model, n, 4);
	for (int i = 0; i < 30; i++) {
		ck_ok(ropefs_replace(f.fs, (struct ropefs_range) { copy, 0, 0 },
				     (struct ropefs_range) { ino, 0, n }));
		ck_ok(ropefs_truncate(f.fs, copy, 0));
		ck_ok(ropefs_checkpoint(f.fs));
	}
	ck_ok(ropefs_truncate(f.fs, copy, 0));
	for (const struct node *d = f.fs->nodes->doomed.first; d; d = d->next)
		nodes++;
	ck_assert_uint_lt(nodes, 1000);
	ck_assert_uint_lt(f.fs->nodes->n_blank, 200);
	free(model);
	fixture_release();
}
END_TEST

/* dead_bytes is what starts a collection. */
START_TEST(bytes_that_go_with_whole_nodes_are_counted_dead)
{
	size_t n = 2 * MIB;
	uint8_t *model = malloc(n);
	uint64_t ino;

	fixture_init(false);
	ino = make("a");
	fill(ino, model, n, 1024);
	ck_ok(ropefs_checkpoint(f.fs));
	ck_assert_uint_eq(f.fs->dead_bytes, 0);
	ck_ok(ropefs_cut(f.fs, ino, 1000, n / 2));
	ck_assert_uint_eq(f.fs->dead_bytes, n / 2);
	ck_ok(ropefs_truncate(f.fs, ino, 0));
	ck_assert_uint_eq(f.fs->dead_bytes, n);

	fill(ino, model, n, 1024);
	ck_ok(ropefs_checkpoint(f.fs));
	drop("a");
	ck_assert_uint_eq(f.fs->dead_bytes, 2 * n);

	ck_ok(ropefs_write(f.fs, make("b"), 0, model, 100, 0, NULL));
	ck_ok(ropefs_checkpoint(f.fs));
	drop("b");
	ck_assert_uint_eq(f.fs->dead_bytes, 2 * n + 100);
	free(model);
	fixture_release();
}
END_TEST

/* Small inserts here and there let a checkpoint pack whole leaves anew. */
START_TEST(bytes_that_defragmentation_leaves_behind_are_counted_dead)
{
	size_t n = 64 * KIB;
	uint8_t *model = malloc(n);
	uint64_t ino, dead;

	fixture_init(false);
	ino = make("a");
	fill(ino, model, n, 16);
	ck_ok(ropefs_checkpoint(f.fs));
	dead = f.fs->dead_bytes;
	for (int i = 0; i < 2000; i++)
		ck_ok(ropefs_insert(f.fs, ino, rng_below(&f.rng, n), "x", 1, 0));
	ck_ok(ropefs_checkpoint(f.fs));
	ck_assert_uint_gt(f.fs->leaves_defragmented, 0);
	ck_assert_uint_gt(f.fs->dead_bytes, dead + n / 2);
	free(model);
	fixture_release();
}
END_TEST

/* The disk is full of what was removed; the collection that would help fails once. */
START_TEST(a_collection_for_a_full_disk_is_tried_again_after_it_failed)
{
	uint8_t *bytes = malloc(MIB);
	uint64_t ino;

	fixture_init(false);
	rng_fill(&f.rng, bytes, MIB);
	ino = make("goes");
	for (int i = 0; i < 32; i++)
		ck_ok(ropefs_write(f.fs, ino, 0, bytes, MIB, ROPEFS_APPEND, NULL));
	ino = make("stays");
	ck_ok(ropefs_checkpoint(f.fs));
	drop("goes");
	ck_ok(ropefs_checkpoint(f.fs));
	wal_drop_spares(f.fs->wal, 1); /* which would be enough */
	io_sim_set_free(f.io, MIB);
	f.fs->space_left = 0; /* to be looked at */
	io_sim_fail_at(f.io, IO_SIM_PREAD, 1, EIO, true);
	ck_assert_int_eq(ropefs_write(f.fs, ino, 0, bytes, 100, 0, NULL), -ENOSPC);
	io_sim_fail_at(f.io, 0, 0, 0, false);
	ck_ok(ropefs_checkpoint(f.fs));
	ck_ok(ropefs_write(f.fs, ino, 0, bytes, 100, 0, NULL));
	free(bytes);
	fixture_release();
}
END_TEST

/* Others took the last byte. The first opening has a spare segment, the next ones begin none;
 * what is not known to be durable has no other place then than its own. */
START_TEST(a_store_opens_on_a_full_disk_as_often_as_it_is_killed)
{
	enum { BYTES = 100000 };
	uint8_t *model = malloc(BYTES), byte = 1;
	uint64_t ino, more;

	fixture_init(false);
	make("before");
	ck_ok(ropefs_sync(f.fs)); /* so that the first segment holds more than a tail */
	ino = make("file");
	fill(ino, model, BYTES, 1000);
	ck_ok(ropefs_sync(f.fs));
	wal_drop_spares(f.fs->wal, 1);
	io_sim_set_free(f.io, 0);
	for (unsigned life = 0; life < 6; life++) {
		fixture_crash(life % 2);
		fixture_open();
		expect_bytes(ino, model, BYTES);
		ck_assert_int_eq(ropefs_write(f.fs, ino, 0, &byte, 1, 0, NULL), -ENOSPC);
		ck_ok(ropefs_sync(f.fs));
	}
	ck_assert_uint_gt(wal_spare_lack(f.fs->wal), 0);
	io_sim_set_free(f.io, 200 * MIB);
	f.fs->space_left = 0; /* to be looked at */
	more = make("more");
	fill(more, model, BYTES, 1000);
	ck_ok(ropefs_sync(f.fs));
	fixture_crash(true);
	fixture_open();
	expect_bytes(more, model, BYTES);
	free(model);
	fixture_release();
}
END_TEST

/* Each opening begins a segment. 0: in each life there are changes; 1: there never was one; 2: the
 * first life's are still only in the log. */
START_TEST(the_log_of_a_store_that_is_killed_again_and_again_stays_small)
{
	uint64_t most = 0, segment, soft;
	unsigned made = 0;

	fixture_init(false);
	segment = f.fs->segment_bytes;
	soft = f.fs->log_soft + 2 * segment;
	for (unsigned life = 0; life < 100; life++) {
		for (unsigned i = 0; i < 2 && (_i == 0 || (_i == 2 && life == 0)); i++) {
			char name[16];

			snprintf(name, sizeof(name), "%u", made++);
			make(name);
			ck_ok(ropefs_sync(f.fs));
		}
		fixture_crash(true);
		fixture_open();
		most = MAX(most, wal_disk_bytes(f.fs->wal));
	}
	ck_assert_uint_le(most, _i == 0	  ? soft + 2 * segment
				: _i == 1 ? 2 * segment
					  : 2 * soft + 2 * segment);
	while (made-- > 0) {
		struct ropefs_attr a;
		char name[16];

		snprintf(name, sizeof(name), "%u", made);
		ck_ok(ropefs_lookup(f.fs, ROPEFS_ROOT_INO, ropefs_name(name), &a));
	}
	fixture_release();
}
END_TEST

START_TEST(a_new_inode_does_not_take_the_number_of_another)
{
	struct ropefs_new what = { .mode = S_IFREG | 0600 };
	uint8_t model[1000];
	uint64_t ino;

	fixture_init(false);
	ino = make("there");
	fill(ino, model, sizeof(model), 100);
	f.fs->next_ino = ino; /* as a superblock that was tampered with says */
	ck_assert_int_eq(
		ropefs_create(f.fs, ROPEFS_ROOT_INO, ropefs_name("new"), &what, NULL),
		-E_CORRUPT);
	ck_ok(ropefs_checkpoint(f.fs));
	fixture_crash(false);
	fixture_open();
	ck_assert(f.fs->read_only);
	expect_bytes(ino, model, sizeof(model));
	fixture_release();
}
END_TEST

/* The gap is made first, and is not part of what there was to copy. */
START_TEST(a_copy_behind_the_end_copies_what_there_was)
{
	uint8_t bytes[100], model[600] = { 0 };
	uint64_t ino;

	fixture_init(false);
	rng_fill(&f.rng, bytes, sizeof(bytes));
	ino = make("a");
	ck_ok(ropefs_write(f.fs, ino, 0, bytes, 100, 0, NULL));
	ck_assert_int_eq(ropefs_copy(f.fs, (struct ropefs_range) { ino, 500, 0 },
				     (struct ropefs_range) { ino, 0, 1000 }),
			 100);
	memcpy(model, bytes, 100);
	memcpy(model + 500, bytes, 100);
	expect_bytes(ino, model, 600);
	fixture_release();
}
END_TEST

START_TEST(an_orphan_among_damage_does_not_keep_the_store_shut)
{
	struct ropefs_new what = { .mode = S_IFREG | 0600 };
	struct ropefs_attr attr;

	fixture_init(false);
	ck_ok(ropefs_create_unnamed(f.fs, &what, &attr));
	ck_ok(ropefs_checkpoint(f.fs));
	ck_ok(io_sim_flip(f.io, PAGEFILE_NAME,
			  le64_get(f.fs->super.catalog.at) * PAGE_BYTES + 1000, 3));
	store_abandon(f.fs, true);
	fixture_open();
	ck_assert_int_eq(ropefs_getattr(f.fs, ROPEFS_ROOT_INO, &attr), -E_CORRUPT);
	fixture_release();
}
END_TEST

/* --- with threads --- */

/* Damages the top node of a file, and sees to it that it must be read. */
static void damage_root(uint64_t ino)
{
	char path[4300], junk[64] = "junk";
	struct inode *in;
	off_t at;
	int fd;

	lock_take(&f.fs->engine);
	ck_ok(inode_get(f.fs, ino, &in));
	ck_assert(in->row.rope.levels && !noderef_in_memory(&in->row.rope.u.root));
	at = (off_t)(le64_get(in->row.rope.u.root.at) * PAGE_BYTES);
	nodes_set_budget(f.fs->nodes, 0);
	nodes_trim(f.fs->nodes);
	lock_drop(&f.fs->engine);
	snprintf(path, sizeof(path), "%s/" PAGEFILE_NAME, f.dir);
	fd = open(path, O_WRONLY);
	ck_assert_int_eq(pwrite(fd, junk, sizeof(junk), at + 2000), sizeof(junk));
	close(fd);
}

static void note_sync(void *arg, int r)
{
	ck_ok(r);
	++*(unsigned *)arg;
}

START_TEST(a_sync_begun_ahead_is_for_those_who_ask_meanwhile)
{
	unsigned done = 0;
	uint64_t ino;

	fixture_init(true);
	ino = make("a");
	do /* unless the flusher came first */
		ck_ok(ropefs_write(f.fs, ino, 0, "x", 1, 0, NULL));
	while (!ropefs_sync_ahead(f.fs));
	ck_assert(!ropefs_sync_ahead(f.fs));
	ck_assert(!ropefs_sync_join(f.fs, note_sync, &done));
	ck_assert_uint_eq(done, 0);
	ropefs_sync_lead(f.fs);
	ck_assert_uint_eq(done, 1);
	ck_assert_uint_eq(wal_durable_lsn(f.fs->wal), wal_last_lsn(f.fs->wal));
	ck_assert(!ropefs_sync_ahead(f.fs));
	fixture_release();
}
END_TEST

/* A write that fails after its bytes were taken in leaves them to a checkpoint, though the log
 * has nothing new. */
START_TEST(what_is_dead_is_known_after_reopening)
{
	static uint8_t bytes[MIB];
	struct packs_stats packs;
	uint64_t ino;

	fixture_init(false);
	ino = make("big");
	for (int i = 0; i < 40; i++) {
		rng_fill(&f.rng, bytes, sizeof(bytes));
		ck_assert_int_eq(ropefs_write(f.fs, ino, 0, bytes, sizeof(bytes),
					      ROPEFS_APPEND, NULL),
				 (ssize_t)sizeof(bytes));
	}
	ck_ok(ropefs_checkpoint(f.fs));
	drop("big");
	ck_ok(checkpoint_run(f.fs, true));
	store_abandon(f.fs, true);
	io_sim_kill(f.io);

	fixture_open();
	lock_take(&f.fs->engine);
	ck_assert(collect_due_locked(f.fs));
	lock_drop(&f.fs->engine);
	ck_ok(ropefs_collect(f.fs));
	packs_get_stats(f.fs->packs, &packs);
	ck_assert_uint_lt(packs.file_bytes, 1 * MIB);
	fixture_release();
}
END_TEST

static int remove_file(void *arg, const char *name)
{
	char path[300];

	snprintf(path, sizeof(path), "wal/%s", name);
	return f.io->ops->unlink(f.io, path);
}

START_TEST(log_files_that_are_gone_are_noticed)
{
	fixture_init(false);
	make("file");
	ck_ok(ropefs_sync(f.fs));
	store_abandon(f.fs, true);
	io_sim_kill(f.io);
	ck_ok(f.io->ops->list(f.io, "wal", remove_file, NULL));
	fixture_open();
	ck_assert(f.fs->read_only);
	ck_assert_msg(strstr(f.fs->read_only_why, "gone"), "%s", f.fs->read_only_why);
	fixture_release();
}
END_TEST

START_TEST(a_disk_full_of_what_was_removed_takes_writes_again)
{
	static uint8_t bytes[MIB];
	uint64_t ino;
	ssize_t n = 0;

	fixture_init(false);
	ino = make("big");
	io_sim_set_free(f.io, 80 * MIB);
	for (int i = 0; i < 200 && n >= 0; i++) {
		rng_fill(&f.rng, bytes, sizeof(bytes));
		n = ropefs_write(f.fs, ino, 0, bytes, sizeof(bytes), ROPEFS_APPEND, NULL);
	}
	ck_assert_int_eq(n, -ENOSPC);
	ck_assert(!f.fs->reclaim_wanted);
	drop("big");
	ck_assert(f.fs->reclaim_wanted); /* though nobody asks for room */
	ino = make("next");
	for (int i = 0; i < 20; i++)
		ck_assert_int_eq(ropefs_write(f.fs, ino, 0, bytes, sizeof(bytes),
					      ROPEFS_APPEND, NULL),
				 (ssize_t)sizeof(bytes));
	ck_ok(ropefs_checkpoint(f.fs));
	fixture_release();
}
END_TEST

START_TEST(writes_that_fail_do_not_fill_the_memory_for_good)
{
	size_t n = 256 * KIB;
	uint8_t *model = malloc(n), *big = calloc(1, ROPEFS_WRITE_MAX);
	uint64_t ino;

	fixture_init(true);
	ino = make("a");
	fill(ino, model, n, 256);
	ck_ok(ropefs_checkpoint(f.fs));
	damage_root(ino);
	for (int i = 0; i < 40; i++)
		ck_assert_int_eq(
			ropefs_write(f.fs, ino, 1000, big, ROPEFS_WRITE_MAX, 0, NULL),
			-E_CORRUPT);
	ck_ok(ropefs_write(f.fs, make("b"), 0, big, 100, 0, NULL));
	free(big);
	free(model);
	fixture_release();
}
END_TEST

/* The power goes at the first, second, ... call of the opening that upgrades. */
START_TEST(an_upgrade_cut_by_power_loss_is_done_by_the_next_opening)
{
	struct store_opts o = { .threads = false, .segment_bytes = 10 * MIB };
	bool opened = false;

	o.pub.memory_bytes = 32 * MIB;
	for (uint64_t stop = 1; !opened; stop++) {
		struct header h;
		uint64_t ino;

		fixture_init(false);
		ino = make("file");
		ck_ok(ropefs_write(f.fs, ino, 0, "kept", 4, 0, NULL));
		ck_ok(ropefs_sync(f.fs));
		store_abandon(f.fs, true);
		ck_ok(header_read(f.io, &h, NULL));
		h.version = 1;
		ck_ok(header_write(f.io, &h));
		io_sim_stop_at(f.io, IO_SIM_ANY, stop);
		opened = store_open(f.io, f.kf, &o, &f.fs) >= 0;
		if (opened)
			store_abandon(f.fs, true);
		io_sim_stop_at(f.io, 0, 0);
		io_sim_power_cut(f.io);
		ck_ok(header_read(f.io, &h, NULL));
		ck_assert(h.version == 1 || h.version == HEADER_VERSION);
		fixture_open();
		ck_assert_uint_eq(f.fs->header.version, HEADER_VERSION);
		expect_bytes(ino, (const uint8_t *)"kept", 4);
		ck_ok(header_read(f.io, &h, NULL));
		ck_assert_uint_eq(h.version, HEADER_VERSION);
		fixture_release();
	}
}
END_TEST

START_TEST(a_full_disk_gives_back_what_was_removed_here_and_there)
{
	enum { FILES = 400, BYTES = 512 * 1024 };
	static uint8_t bytes[BYTES];
	char name[16];
	ssize_t n = 0;
	int full, fit;

	fixture_init(false);
	io_sim_set_free(f.io, 150 * MIB);
	for (full = 0; full < FILES && n >= 0; full++) {
		snprintf(name, sizeof(name), "%d", full);
		rng_fill(&f.rng, bytes, BYTES);
		n = ropefs_write(f.fs, make(name), 0, bytes, BYTES, 0, NULL);
	}
	ck_assert_int_eq(n, -ENOSPC);
	ck_assert_int_gt(full, 100);
	for (int i = 0; i < full - 1; i += 2) {
		snprintf(name, sizeof(name), "%d", i);
		drop(name);
	}
	for (n = 0, fit = -1; fit < FILES && n >= 0; fit++) {
		uint64_t ino;

		snprintf(name, sizeof(name), "again%d", fit);
		ino = make(name);
		n = ropefs_write(f.fs, ino, 0, bytes, BYTES, 0, NULL);
	}
	ck_assert_int_eq(n, -ENOSPC);
	/* Half of the files are gone; of their room most can be used. */
	ck_assert_int_gt(fit, full * 3 / 8);
	ck_ok(ropefs_checkpoint(f.fs));
	fixture_release();
}
END_TEST

/* Fills the disk with files of n bytes; how many fitted. A pack for every few MiB of them. */
static int fill_with_small(const char *prefix, uint8_t *bytes, size_t n)
{
	const struct ropefs_new what = { .mode = S_IFREG | 0644 };
	struct ropefs_attr a;
	char name[32];

	for (int i = 0;; i++) {
		ssize_t r;

		snprintf(name, sizeof(name), "%s%d", prefix, i);
		rng_fill(&f.rng, bytes, n);
		memcpy(bytes, &i, sizeof(i));
		r = ropefs_create(f.fs, ROPEFS_ROOT_INO, ropefs_name(name), &what, &a);
		if (r == 0)
			r = ropefs_write(f.fs, a.ino, 0, bytes, n, 0, NULL);
		if (r == -ENOSPC)
			return i;
		ck_assert_int_eq(r, (ssize_t)n);
		if (i % (4 * (int)MIB / (int)n) == 0)
			ck_ok(ropefs_checkpoint(f.fs));
	}
}

static void expect_small(int i, uint8_t *bytes, size_t n)
{
	struct ropefs_attr a;
	char name[32];
	int got;

	snprintf(name, sizeof(name), "/%d", i);
	ck_ok(ropefs_resolve(f.fs, name, &a));
	ck_assert_uint_eq(a.size, n);
	ck_assert_int_eq(ropefs_read(f.fs, a.ino, 0, bytes, n, 0), (ssize_t)n);
	memcpy(&got, bytes, sizeof(got));
	ck_assert_int_eq(got, i);
}

/* Sixteen to a chunk, of which every second one goes: no chunk is dead. */
START_TEST(a_full_disk_gives_back_small_files_removed_here_and_there)
{
	enum { BYTES = 8192 };
	static uint8_t bytes[BYTES];
	int full, again;
	char name[32];

	fixture_init(false);
	io_sim_set_free(f.io, 90 * MIB);
	full = fill_with_small("", bytes, BYTES);
	ck_assert_int_gt(full, 3000);
	for (int i = 0; i < full; i += 2) {
		snprintf(name, sizeof(name), "%d", i);
		drop(name);
	}
	again = fill_with_small("again", bytes, BYTES);
	ck_assert_int_gt(again, full / 4); /* most of that half can be used */
	for (int i = 1; i < full; i += 2)
		expect_small(i, bytes, BYTES);
	ck_ok(ropefs_checkpoint(f.fs));
	store_abandon(f.fs, true);
	io_sim_kill(f.io);
	fixture_open();
	for (int i = 1; i < full; i += 2)
		expect_small(i, bytes, BYTES);
	fixture_release();
}
END_TEST

START_TEST(a_log_larger_than_memory_is_replayed_with_checkpoints)
{
	enum { WRITES = 40 };
	struct store_opts o = { .segment_bytes = 10 * MIB };
	static uint8_t bytes[WRITES * MIB];
	uint64_t ino;

	fixture_init(false);
	store_abandon(f.fs, true);
	io_sim_kill(f.io);
	o.pub.memory_bytes = 512 * MIB;
	o.pub.checkpoint_s = 3600;
	ck_ok(store_open(f.io, f.kf, &o, &f.fs));
	ino = make("file");
	rng_fill(&f.rng, bytes, sizeof(bytes));
	/* From the end on, so that a checkpoint in between finds neither all nor nothing. */
	for (int i = WRITES; i-- > 0;)
		ck_assert_int_eq(ropefs_insert(f.fs, ino, 0, bytes + i * MIB, MIB, 0),
				 MIB);
	ck_ok(ropefs_sync(f.fs));
	store_abandon(f.fs, true);
	io_sim_kill(f.io);
	fixture_open();
	ck_assert_uint_ge(f.fs->recovered_records, WRITES);
	ck_assert_uint_ge(f.fs->checkpoints, 1);
	expect_bytes(ino, bytes, sizeof(bytes));
	fixture_release();
}
END_TEST

/* Replay may fill memory beyond what admits a change; then the reaping of orphans waited for a
 * checkpointer that opening had not started yet. */
START_TEST(an_opening_that_filled_memory_makes_room_itself)
{
	enum { WRITES = 40 };
	struct store_opts o = { .segment_bytes = 10 * MIB };
	struct ropefs_new unnamed = { .mode = S_IFREG | 0600 };
	struct ropefs_attr attr;
	static uint8_t bytes[MIB];
	uint64_t ino;

	fixture_init(false);
	store_abandon(f.fs, true);
	io_sim_kill(f.io);
	o.pub.memory_bytes = 512 * MIB;
	o.pub.checkpoint_s = 3600;
	ck_ok(store_open(f.io, f.kf, &o, &f.fs));
	ino = make("file");
	ck_ok(ropefs_create_unnamed(f.fs, &unnamed, &attr));
	for (int i = 0; i < WRITES; i++)
		ck_assert_int_eq(ropefs_insert(f.fs, ino, 0, bytes, MIB, 0), MIB);
	ck_ok(ropefs_sync(f.fs));
	store_abandon(f.fs, true);
	io_sim_kill(f.io);
	o.pub.memory_bytes = 64 * MIB;
	o.threads = true;
	ck_ok(store_open(f.io, f.kf, &o, &f.fs));
	ck_assert_uint_ge(f.fs->recovered_records, WRITES);
	ck_assert_int_eq(ropefs_getattr(f.fs, attr.ino, &attr), -ENOENT);
	fixture_release();
}
END_TEST

/* Sizes and places near the greatest there are, and sums of them beyond it: each edit is made or
 * refused by its result's size alone, whatever the way there. */
static uint64_t huge(void)
{
	static const uint64_t far[] = { 0, (uint64_t)1 << 32, (uint64_t)1 << 62,
					INT64_MAX, UINT64_MAX };
	uint64_t x = far[rng_below(&f.rng, ARRAY_LEN(far))];

	return x ? x - rng_below(&f.rng, 3) : rng_below(&f.rng, 5000);
}

static uint64_t place(uint64_t size)
{
	return rng_below(&f.rng, 2) ? huge() : rng_below(&f.rng, size + 1);
}

/* One edit of the file ino[a] by another, and what it makes of its size. */
static void huge_edit(const uint64_t *ino, uint64_t *size)
{
	size_t a = rng_below(&f.rng, HUGE_FILES);
	size_t b = (a + 1 + rng_below(&f.rng, HUGE_FILES - 1)) % HUGE_FILES;
	uint64_t at = place(size[a]), n = place(size[a]),
		 m = rng_below(&f.rng, size[b] + 1);
	bool within = at <= size[a] && n <= size[a] - at;
	const struct ropefs_range to = { ino[a], at, n };
	const struct ropefs_range from = { ino[b], size[b] - m, m };
	ssize_t want = 0, r = 0;
	uint64_t will = size[a];

	switch (rng_below(&f.rng, 5)) {
	case 0:
		want = n > INT64_MAX ? -EFBIG : 0;
		will = n;
		r = ropefs_truncate(f.fs, ino[a], n);
		break;
	case 1:
		want = within ? 0 : -ERANGE;
		will = size[a] - n;
		r = ropefs_cut(f.fs, ino[a], at, n);
		break;
	case 2:
		want = !within ? -ERANGE : m > INT64_MAX - (size[a] - n) ? -EFBIG : 0;
		will = size[a] - n + m;
		r = ropefs_replace(f.fs, to, from);
		break;
	case 3:
		want = n > INT64_MAX || at > INT64_MAX - n ? -EFBIG : 0;
		will = n ? MAX(size[a], at + n) : size[a];
		r = ropefs_punch(f.fs, ino[a], at, n, false);
		break;
	case 4:
		want = at > INT64_MAX - 4 ? -EFBIG : 4;
		will = MAX(size[a], at + 4);
		r = ropefs_write(f.fs, ino[a], at, "data", 4, 0, NULL);
		break;
	}
	ck_assert_int_eq(r, want);
	if (r >= 0)
		size[a] = will;
}

static void expect_sizes(const uint64_t *ino, const uint64_t *size)
{
	struct ropefs_attr a;

	for (unsigned i = 0; i < HUGE_FILES; i++) {
		ck_ok(ropefs_getattr(f.fs, ino[i], &a));
		ck_assert_uint_eq(a.size, size[i]);
	}
}

START_TEST(edits_of_the_largest_files_are_made_or_refused)
{
	uint64_t ino[HUGE_FILES], size[HUGE_FILES] = { 0 };

	fixture_init(false);
	for (unsigned i = 0; i < HUGE_FILES; i++)
		ino[i] = make((char[]) { (char)('a' + i), 0 });
	for (unsigned n = 0; n < 3000; n++) {
		huge_edit(ino, size);
		expect_sizes(ino, size);
		if (rng_below(&f.rng, 200) == 0)
			ck_ok(ropefs_checkpoint(f.fs));
	}
	ck_ok(ropefs_sync(f.fs));
	store_abandon(f.fs, true);
	io_sim_kill(f.io);
	fixture_open();
	expect_sizes(ino, size);
	fixture_release();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("store");
	TCase *tc = tcase_create("alone");

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, a_copy_can_be_removed_and_collected_without_harm, 0, 2);
	tcase_add_test(tc, what_a_checkpoint_wrote_stays_in_memory);
	tcase_add_test(tc, reading_trees_keeps_within_the_budget_of_nodes);
	tcase_add_test(tc, large_edits_leave_no_nodes_behind_for_good);
	tcase_add_test(tc, bytes_that_go_with_whole_nodes_are_counted_dead);
	tcase_add_test(tc, bytes_that_defragmentation_leaves_behind_are_counted_dead);
	tcase_add_test(tc, a_collection_for_a_full_disk_is_tried_again_after_it_failed);
	tcase_add_test(tc, a_store_opens_on_a_full_disk_as_often_as_it_is_killed);
	tcase_add_loop_test(
		tc, the_log_of_a_store_that_is_killed_again_and_again_stays_small, 0, 3);
	tcase_add_test(tc, a_new_inode_does_not_take_the_number_of_another);
	tcase_add_test(tc, a_copy_behind_the_end_copies_what_there_was);
	tcase_add_test(tc, an_orphan_among_damage_does_not_keep_the_store_shut);
	tcase_add_test(tc, what_is_dead_is_known_after_reopening);
	tcase_add_test(tc, log_files_that_are_gone_are_noticed);
	tcase_add_test(tc, an_upgrade_cut_by_power_loss_is_done_by_the_next_opening);
	tcase_add_test(tc, a_full_disk_gives_back_what_was_removed_here_and_there);
	tcase_add_test(tc, a_full_disk_gives_back_small_files_removed_here_and_there);
	tcase_add_test(tc, a_log_larger_than_memory_is_replayed_with_checkpoints);
	tcase_add_test(tc, edits_of_the_largest_files_are_made_or_refused);
	tcase_add_test(tc, a_disk_full_of_what_was_removed_takes_writes_again);
	suite_add_tcase(s, tc);
	tc = tcase_create("threads");
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, writes_that_fail_do_not_fill_the_memory_for_good);
	tcase_add_test(tc, a_sync_begun_ahead_is_for_those_who_ask_meanwhile);
	tcase_add_test(tc, an_opening_that_filled_memory_makes_room_itself);
	suite_add_tcase(s, tc);
	return suite_main(s);
}
