/* test_pagefile.c - the page file against a model: a root page that points at LEAVES pages,
 * each filled from a number. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/base/err.h"
#include "core/io/io_sim.h"
#include "core/page/page_format.h"
#include "tests/lib/suite.h"

#define LEAVES 100u

struct root {
	struct noderef leaf[LEAVES];
	uint64_t value[LEAVES];
};
static_assert(sizeof(struct root) <= PAGE_PAYLOAD, "a root fits a page");

struct fixture {
	struct rng rng;
	struct io *io;
	struct keys *keys;
	struct pagefile *pf;
	struct super super;
	struct root root; /* of the state that was committed last */
};

static const struct super first_super = { .next_ino = 2, .next_pack = 1, .lsn = 7 };

static void fill(uint8_t *payload, uint64_t value)
{
	struct rng r = rng_seeded(value);

	rng_fill(&r, payload, PAGE_PAYLOAD);
}

static bool has_cipher(enum cipher cipher)
{
	ck_ok(keys_init_library()); /* which finds out what the CPU has */
	return cipher_available(cipher);
}

static void fixture_init(struct fixture *f, enum cipher cipher)
{
	memset(f, 0, sizeof(*f));
	f->rng = rng_seeded(suite_seed());
	ck_ok(keys_init_library());
	ck_ok(keys_for_test(cipher, &f->keys));
	ck_ok(io_sim_new(suite_seed(), &f->io));
	ck_ok(pagefile_create(f->io, f->keys, &first_super));
	ck_ok(pagefile_open(f->io, f->keys, false, &f->super, &f->pf));
}

static void fixture_release(struct fixture *f)
{
	f->pf = pagefile_close(f->pf);
	f->keys = keys_free(f->keys);
	f->io = io_free(f->io);
}

/* Reads the root that super names and every leaf, and compares each with its number. */
static void fixture_load(struct fixture *f, struct root *ret)
{
	uint8_t payload[PAGE_PAYLOAD], expected[PAGE_PAYLOAD];

	memset(ret, 0, sizeof(*ret));
	if (noderef_is_none(&f->super.catalog))
		return;
	ck_ok(pagefile_read(f->pf, &f->super.catalog, payload));
	memcpy(ret, payload, sizeof(*ret));
	for (unsigned i = 0; i < LEAVES; i++) {
		if (noderef_is_none(&ret->leaf[i]))
			continue;
		ck_ok(pagefile_read(f->pf, &ret->leaf[i], payload));
		fill(expected, ret->value[i]);
		ck_assert(!memcmp(payload, expected, PAGE_PAYLOAD));
	}
}

static void fixture_reopen(struct fixture *f)
{
	f->pf = pagefile_close(f->pf);
	ck_ok(pagefile_open(f->io, f->keys, false, &f->super, &f->pf));
}

static int write_leaf(struct fixture *f, struct root *next, unsigned i)
{
	uint8_t payload[PAGE_PAYLOAD];
	uint64_t page;
	int r;

	next->value[i] = rng_next(&f->rng);
	fill(payload, next->value[i]);
	r = pagefile_alloc(f->pf, &page);
	if (r == 0)
		r = pagefile_write(f->pf, page, payload, &next->leaf[i]);
	if (r == 0 && !noderef_is_none(&f->root.leaf[i]))
		pagefile_give_back(f->pf, le64_get(f->root.leaf[i].at));
	return r;
}

/* One commit that changes n neighbouring leaves. *ret_next is what it tried. */
static int change(struct fixture *f, unsigned n, struct root *ret_next)
{
	struct super s = f->super;
	uint8_t payload[PAGE_PAYLOAD] = { 0 };
	unsigned from = (unsigned)rng_below(&f->rng, LEAVES);
	uint64_t page;
	int r = 0;

	*ret_next = f->root;
	for (unsigned k = 0; r == 0 && k < n; k++)
		r = write_leaf(f, ret_next, (from + k) % LEAVES);
	if (r == 0)
		r = pagefile_alloc(f->pf, &page);
	memcpy(payload, ret_next, sizeof(*ret_next));
	if (r == 0)
		r = pagefile_write(f->pf, page, payload, &s.catalog);
	if (r < 0) {
		pagefile_abort(f->pf);
		return r;
	}
	if (!noderef_is_none(&f->super.catalog))
		pagefile_give_back(f->pf, le64_get(f->super.catalog.at));
	s.lsn++;
	r = pagefile_commit(f->pf, &s);
	if (r == 0) {
		f->super = s;
		f->root = *ret_next;
	}
	return r;
}

static unsigned root_pages(const struct root *root)
{
	unsigned n = 0;

	for (unsigned i = 0; i < LEAVES; i++)
		n += !noderef_is_none(&root->leaf[i]);
	return n;
}

static void mark(uint8_t *marks, const struct noderef *ref)
{
	uint64_t page = le64_get(ref->at);

	if (page)
		marks[page / 8] = (uint8_t)(marks[page / 8] | 1u << page % 8);
}

#define MARK_BITS 4096u

static void mark_all(const struct fixture *f, uint8_t *marks)
{
	memset(marks, 0, MARK_BITS / 8);
	mark(marks, &f->super.catalog);
	for (unsigned i = 0; i < LEAVES; i++)
		mark(marks, &f->root.leaf[i]);
}

static uint64_t pages_used(const struct fixture *f)
{
	struct pagefile_stats s;

	pagefile_get_stats(f->pf, &s);
	return s.used;
}

START_TEST(new_file_opens_with_what_it_was_made_with)
{
	struct fixture f;

	fixture_init(&f, CIPHER_XCHACHA20);
	ck_assert_uint_eq(f.super.next_ino, 2);
	ck_assert_uint_eq(f.super.lsn, 7);
	ck_assert(noderef_is_none(&f.super.catalog));
	ck_assert(!pagefile_needs_sweep(f.pf));
	ck_assert_uint_eq(pages_used(&f), 3);
	ck_assert_int_eq(pagefile_create(f.io, f.keys, &first_super), -EEXIST);
	fixture_release(&f);
}
END_TEST

START_TEST(commits_survive_reopening_and_leak_nothing)
{
	struct fixture f;
	struct root next, loaded;
	uint8_t marks[MARK_BITS / 8];
	uint64_t leaked;

	if (!has_cipher((enum cipher)(_i + 1)))
		return;
	fixture_init(&f, (enum cipher)(_i + 1));
	for (unsigned i = 0; i < 60; i++) {
		ck_ok(change(&f, 1 + (unsigned)rng_below(&f.rng, 20), &next));
		if (rng_below(&f.rng, 4) == 0)
			fixture_reopen(&f);
		fixture_load(&f, &loaded);
		ck_assert(!memcmp(&loaded, &f.root, sizeof(loaded)));
		ck_assert_uint_eq(pages_used(&f), 2 + 1 + 1 + root_pages(&f.root));
		mark_all(&f, marks);
		ck_ok(pagefile_check_bitmap(f.pf, marks, MARK_BITS, &leaked));
		ck_assert_uint_eq(leaked, 0);
	}
	fixture_release(&f);
}
END_TEST

START_TEST(bitmap_of_many_pages_survives)
{
	struct fixture f;
	struct root next, loaded;
	uint8_t payload[PAGE_PAYLOAD] = { 0 };
	struct noderef last;
	uint64_t page = 0;
	struct super s;

	fixture_init(&f, CIPHER_NONE);
	ck_ok(change(&f, LEAVES, &next));
	/* Two bitmap pages hold 64,384 pages; the pages need not be written to be in use. */
	while (page < 70000)
		ck_ok(pagefile_alloc(f.pf, &page));
	ck_ok(pagefile_write(f.pf, page, payload, &last));
	s = f.super;
	ck_ok(pagefile_commit(f.pf, &s));
	fixture_reopen(&f);
	fixture_load(&f, &loaded);
	ck_assert(!memcmp(&loaded, &f.root, sizeof(loaded)));
	ck_assert(!pagefile_needs_sweep(f.pf));
	ck_assert_uint_gt(pages_used(&f), 70000);
	ck_ok(change(&f, 5, &next));
	ck_ok(pagefile_read(f.pf, &last, payload));
	fixture_release(&f);
}
END_TEST

/* Reopens after a power cut: the state must be one of those tried, the committed one or
 * newer. */
static void reopen_as_one_of(struct fixture *f, const struct root *tried, unsigned n)
{
	struct root loaded;
	unsigned i;

	fixture_reopen(f);
	ck_assert(!pagefile_needs_sweep(f->pf));
	fixture_load(f, &loaded);
	for (i = 0; i < n; i++)
		if (!memcmp(&loaded, &tried[i], sizeof(loaded)))
			break;
	ck_assert_msg(i < n || !memcmp(&loaded, &f->root, sizeof(loaded)),
		      "neither the old nor a new state");
	f->root = loaded;
	ck_assert_uint_eq(pages_used(f), 2 + 1 + !noderef_is_none(&f->super.catalog) +
						 root_pages(&f->root));
}

START_TEST(power_cut_at_any_call_leaves_old_or_new)
{
	struct fixture f;
	struct root next;
	unsigned n_new = 0, n_old = 0;

	fixture_init(&f, CIPHER_XCHACHA20);
	for (unsigned i = 0; i < 300; i++) {
		unsigned n = 1 + (unsigned)rng_below(&f.rng, 8);
		int r;

		io_sim_stop_at(f.io, IO_SIM_ANY, 1 + rng_below(&f.rng, n + 8));
		r = change(&f, n, &next);
		io_sim_power_cut(f.io);
		reopen_as_one_of(&f, &next, 1);
		if (r == 0)
			ck_assert(!memcmp(&next, &f.root, sizeof(next)));
		if (!memcmp(&next, &f.root, sizeof(next)))
			n_new++;
		else
			n_old++;
	}
	ck_assert_uint_gt(n_new, 10);
	ck_assert_uint_gt(n_old, 10);
	fixture_release(&f);
}
END_TEST

START_TEST(failed_calls_cost_no_state)
{
	struct fixture f;
	struct root tried[8], loaded;
	unsigned n_failed = 0;

	fixture_init(&f, CIPHER_XCHACHA20);
	for (unsigned i = 0; i < 300; i++) {
		unsigned n_tried = 0, tries = 1 + (unsigned)rng_below(&f.rng, 4);

		for (unsigned k = 0; k < tries; k++) {
			unsigned mask =
				rng_below(&f.rng, 2) ? IO_SIM_SYNC : IO_SIM_PWRITE;
			unsigned n = 1 + (unsigned)rng_below(&f.rng, 4);

			io_sim_fail_at(f.io, mask, 1 + rng_below(&f.rng, 4), EIO, false);
			if (change(&f, n, &tried[n_tried]) == 0)
				n_tried = 0;
			else
				n_tried++, n_failed++;
			io_sim_fail_at(f.io, mask, 0, EIO, false);
			/* What runs goes on with the last good state. */
			fixture_load(&f, &loaded);
			ck_assert(!memcmp(&loaded, &f.root, sizeof(loaded)));
		}
		if (rng_below(&f.rng, 2))
			io_sim_power_cut(f.io);
		else
			io_sim_kill(f.io);
		reopen_as_one_of(&f, tried, n_tried);
	}
	ck_assert_uint_gt(n_failed, 50);
	fixture_release(&f);
}
END_TEST

START_TEST(flip_in_a_page_is_noticed_by_reads_of_that_page)
{
	struct fixture f;
	struct root next;
	uint8_t payload[PAGE_PAYLOAD];

	if (!has_cipher((enum cipher)(_i + 1)))
		return;
	fixture_init(&f, (enum cipher)(_i + 1));
	ck_ok(change(&f, LEAVES, &next));
	for (unsigned i = 0; i < 400; i++) {
		unsigned leaf = (unsigned)rng_below(&f.rng, LEAVES);
		uint64_t off = le64_get(next.leaf[leaf].at) * PAGE_BYTES +
			       rng_below(&f.rng, PAGE_BYTES);
		unsigned bit = (unsigned)rng_below(&f.rng, 8);
		unsigned other = (leaf + 1) % LEAVES;

		ck_ok(io_sim_flip(f.io, PAGEFILE_NAME, off, bit));
		ck_assert_int_eq(pagefile_read(f.pf, &next.leaf[leaf], payload),
				 -E_CORRUPT);
		ck_assert(strstr(err_detail(), "does not verify"));
		ck_ok(pagefile_read(f.pf, &next.leaf[other], payload));
		ck_ok(io_sim_flip(f.io, PAGEFILE_NAME, off, bit));
		ck_ok(pagefile_read(f.pf, &next.leaf[leaf], payload));
	}
	fixture_release(&f);
}
END_TEST

static void page_copy(struct fixture *f, uint64_t from, uint64_t to, uint8_t *saved)
{
	struct io_file *file;
	uint8_t page[PAGE_BYTES];

	ck_ok(io_open(f->io, PAGEFILE_NAME, IO_WRITE, &file));
	ck_ok(io_pread_all(file, page, sizeof(page), from * PAGE_BYTES));
	if (saved)
		memcpy(saved, page, sizeof(page));
	else
		ck_ok(io_pwrite(file, page, sizeof(page), to * PAGE_BYTES));
	io_closep(&file);
}

START_TEST(misdirected_and_stale_pages_are_noticed)
{
	struct fixture f;
	struct root next;
	uint8_t payload[PAGE_PAYLOAD], old[PAGE_BYTES];
	struct noderef ref = NODEREF_NONE;
	struct io_file *file;
	uint64_t page;

	fixture_init(&f, CIPHER_XCHACHA20);
	ck_ok(change(&f, 10, &next));
	ck_ok(pagefile_alloc(f.pf, &page));
	fill(payload, 1);
	ck_ok(pagefile_write(f.pf, page, payload, &ref));
	page_copy(&f, page, page, old);
	fill(payload, 2);
	ck_ok(pagefile_write(f.pf, page, payload, &ref));
	ck_ok(pagefile_read(f.pf, &ref, payload));

	ck_ok(io_open(f.io, PAGEFILE_NAME, IO_WRITE, &file));
	ck_ok(io_pwrite(file, old, sizeof(old), page * PAGE_BYTES));
	io_closep(&file);
	ck_assert_int_eq(pagefile_read(f.pf, &ref, payload), -E_CORRUPT);
	page_copy(&f, le64_get(f.super.catalog.at), page, NULL);
	ck_assert_int_eq(pagefile_read(f.pf, &ref, payload), -E_CORRUPT);

	ref.at = le64_put((uint64_t)1 << 40);
	ck_assert_int_eq(pagefile_read(f.pf, &ref, payload), -E_CORRUPT);
	ref.at = le64_put((uint64_t)1 << 60);
	ck_assert_int_eq(pagefile_read(f.pf, &ref, payload), -E_CORRUPT);
	fixture_release(&f);
}
END_TEST

/* Flips a random bit in copy of the slot's superblock. */
static void flip_super(struct fixture *f, uint64_t slot, unsigned copy)
{
	ck_ok(io_sim_flip(f->io, PAGEFILE_NAME,
			  slot * PAGE_BYTES + copy * SUPER_COPY_BYTES +
				  rng_below(&f->rng, sizeof(struct superblock)),
			  (unsigned)rng_below(&f->rng, 8)));
}

static void lose_slot(struct fixture *f, uint64_t slot)
{
	/* Not in the version: then it might be a newer one's. */
	for (unsigned copy = 0; copy < SUPER_COPIES; copy++)
		ck_ok(io_sim_flip(f->io, PAGEFILE_NAME,
				  slot * PAGE_BYTES + copy * SUPER_COPY_BYTES +
					  sizeof(struct super_head),
				  3));
}

static void read_slot(struct fixture *f, uint64_t slot, uint8_t *p)
{
	struct io_file *file = NULL;

	ck_ok(io_open(f->io, PAGEFILE_NAME, IO_READ, &file));
	ck_ok(io_pread_all(file, p, PAGE_BYTES, slot * PAGE_BYTES));
	io_closep(&file);
}

/* Opens the file for changes, with the power going at the sync of the first or the second
 * superblock that this writes. Its slot is lost whole: not every disk keeps to sectors. */
static void cut_while_opening(struct fixture *f, bool second)
{
	uint8_t before[SUPER_SLOTS][PAGE_BYTES], now[PAGE_BYTES];
	int r = 0;

	f->pf = pagefile_close(f->pf);
	if (second)
		ck_ok(pagefile_open(f->io, f->keys, false, &f->super, &f->pf));
	for (uint64_t slot = 0; slot < SUPER_SLOTS; slot++)
		read_slot(f, slot, before[slot]);
	io_sim_stop_at(f->io, IO_SIM_SYNC, 1);
	r = second ? pagefile_mark_open(f->pf)
		   : pagefile_open(f->io, f->keys, false, &f->super, &f->pf);
	ck_assert_int_eq(r, -EIO);
	f->pf = pagefile_close(f->pf);
	io_sim_kill(f->io);
	for (uint64_t slot = 0; slot < SUPER_SLOTS; slot++) {
		read_slot(f, slot, now);
		if (memcmp(now, before[slot], PAGE_BYTES))
			lose_slot(f, slot);
	}
}

START_TEST(power_cuts_in_openings_one_after_another_lose_nothing)
{
	struct fixture f;
	struct root next, loaded;

	fixture_init(&f, CIPHER_XCHACHA20);
	for (unsigned i = 0; i < 60; i++) {
		if (rng_below(&f.rng, 2)) {
			ck_ok(pagefile_mark_open(f.pf));
			ck_ok(change(&f, 3, &next));
		}
		for (uint64_t cuts = rng_below(&f.rng, 4); cuts > 0; cuts--)
			cut_while_opening(&f, rng_below(&f.rng, 2));
		fixture_reopen(&f);
		fixture_load(&f, &loaded);
		ck_assert(!memcmp(&loaded, &f.root, sizeof(loaded)));
	}
	fixture_release(&f);
}
END_TEST

static void line_count(void *arg, const char *line)
{
	ck_assert(!strncmp(line, "superblock ", 11));
	++*(unsigned *)arg;
}

START_TEST(rotten_superblocks_fall_back_in_order)
{
	struct fixture f;
	struct root next, loaded;
	uint64_t generation;
	unsigned lines = 0;

	fixture_init(&f, CIPHER_XCHACHA20);
	for (unsigned i = 0; i < 5; i++)
		ck_ok(change(&f, 3, &next));
	generation = f.super.generation;

	/* One copy rots: nothing is lost. */
	flip_super(&f, generation % 2, (unsigned)rng_below(&f.rng, 2));
	fixture_reopen(&f);
	ck_assert_uint_eq(f.super.generation, generation);
	fixture_load(&f, &loaded);

	/* A commit writes both slots. */
	ck_ok(change(&f, 3, &next));
	fixture_reopen(&f);
	ck_assert_uint_eq(f.super.generation, generation + 2);
	ck_ok(pagefile_inspect(f.io, f.keys, line_count, &lines));
	ck_assert_uint_eq(lines, 2);

	/* A slot lost whole: the other one has the same. All lost: no store. */
	lose_slot(&f, generation % 2);
	fixture_reopen(&f);
	fixture_load(&f, &loaded);
	ck_assert(!memcmp(&loaded, &f.root, sizeof(loaded)));
	lose_slot(&f, 0);
	lose_slot(&f, 1);
	f.pf = pagefile_close(f.pf);
	ck_assert_int_eq(pagefile_open(f.io, f.keys, true, &f.super, &f.pf), -E_CORRUPT);
	ck_assert_int_eq(pagefile_inspect(f.io, f.keys, line_count, &lines), -E_CORRUPT);
	ck_assert_uint_eq(lines, 4);
	fixture_release(&f);
}
END_TEST

START_TEST(newer_version_is_refused)
{
	struct fixture f;

	fixture_init(&f, CIPHER_XCHACHA20);
	f.pf = pagefile_close(f.pf);
	for (unsigned copy = 0; copy < SUPER_COPIES; copy++)
		ck_ok(io_sim_flip(f.io, PAGEFILE_NAME,
				  copy * SUPER_COPY_BYTES +
					  offsetof(struct super_head, version),
				  4));
	ck_assert_int_eq(pagefile_open(f.io, f.keys, false, &f.super, &f.pf), -E_NEWER);
	fixture_release(&f);
}
END_TEST

/* The page that the newest superblock names as the bitmap's first is in use, and nothing
 * else of ours is. */
static uint64_t bitmap_page(const struct fixture *f)
{
	struct root root = f->root;

	for (uint64_t page = SUPER_SLOTS;; page++) {
		bool ours = le64_get(f->super.catalog.at) == page;
		uint8_t marks[MARK_BITS / 8] = { 0 };
		struct noderef ref = { .at = le64_put(page) };
		uint64_t leaked;

		for (unsigned i = 0; i < LEAVES; i++)
			ours |= le64_get(root.leaf[i].at) == page;
		mark(marks, &ref);
		if (!ours && pagefile_check_bitmap(f->pf, marks, MARK_BITS, &leaked) == 0)
			return page;
	}
}

START_TEST(lost_bitmap_reuses_nothing_until_a_sweep)
{
	struct fixture f;
	struct root next, loaded;
	uint8_t marks[MARK_BITS / 8];
	struct pagefile_stats before;
	uint64_t page;

	fixture_init(&f, CIPHER_XCHACHA20);
	ck_ok(change(&f, LEAVES / 2, &next));
	ck_ok(change(&f, LEAVES, &next));
	page = bitmap_page(&f);
	ck_ok(io_sim_flip(f.io, PAGEFILE_NAME, page * PAGE_BYTES + 1000, 1));
	fixture_reopen(&f);
	ck_assert(pagefile_needs_sweep(f.pf));
	pagefile_get_stats(f.pf, &before);
	ck_ok(pagefile_alloc(f.pf, &page));
	ck_assert_uint_ge(page, before.pages);
	pagefile_abort(f.pf);

	/* The need outlives a commit. */
	ck_ok(change(&f, 3, &next));
	fixture_reopen(&f);
	ck_assert(pagefile_needs_sweep(f.pf));

	mark_all(&f, marks);
	ck_ok(pagefile_adopt(f.pf, marks, MARK_BITS));
	ck_assert(!pagefile_needs_sweep(f.pf));
	ck_assert_uint_eq(pages_used(&f), 2 + 1 + 1 + root_pages(&f.root));
	for (unsigned i = 0; i < 20; i++)
		ck_ok(change(&f, 10, &next));
	fixture_reopen(&f);
	ck_assert(!pagefile_needs_sweep(f.pf));
	fixture_load(&f, &loaded);
	ck_assert(!memcmp(&loaded, &f.root, sizeof(loaded)));
	ck_assert_uint_eq(pages_used(&f), 2 + 1 + 1 + root_pages(&f.root));
	fixture_release(&f);
}
END_TEST

START_TEST(sweep_frees_leaks_and_finds_pages_free_in_error)
{
	struct fixture f;
	struct root next;
	uint8_t marks[MARK_BITS / 8];
	uint64_t leaked, page;
	struct super s;

	fixture_init(&f, CIPHER_XCHACHA20);
	ck_ok(change(&f, 20, &next));
	for (unsigned i = 0; i < 9; i++)
		ck_ok(pagefile_alloc(f.pf, &page));
	s = f.super;
	ck_ok(pagefile_commit(f.pf, &s));
	mark_all(&f, marks);
	ck_ok(pagefile_check_bitmap(f.pf, marks, MARK_BITS, &leaked));
	ck_assert_uint_eq(leaked, 9);
	ck_ok(pagefile_adopt(f.pf, marks, MARK_BITS));
	ck_ok(pagefile_check_bitmap(f.pf, marks, MARK_BITS, &leaked));
	ck_assert_uint_eq(leaked, 0);

	marks[page / 8] = (uint8_t)(marks[page / 8] | 1u << page % 8);
	ck_assert_int_eq(pagefile_check_bitmap(f.pf, marks, MARK_BITS, &leaked),
			 -E_CORRUPT);
	ck_assert_int_eq(pagefile_adopt(f.pf, marks, MARK_BITS), -E_CORRUPT);
	fixture_release(&f);
}
END_TEST

START_TEST(full_disk_shows_at_alloc_and_costs_nothing)
{
	struct fixture f;
	struct root next, loaded;
	uint64_t page;
	unsigned n = 0;
	int r;

	fixture_init(&f, CIPHER_XCHACHA20);
	ck_ok(change(&f, LEAVES, &next));
	io_sim_set_free(f.io, 10 * PAGE_BYTES);
	while ((r = pagefile_alloc(f.pf, &page)) == 0)
		n++;
	ck_assert_int_eq(r, -ENOSPC);
	ck_assert_uint_ge(n, 10);
	pagefile_abort(f.pf);
	for (unsigned i = 0; i < 20; i++)
		ck_ok(change(&f, 8, &next));
	fixture_reopen(&f);
	fixture_load(&f, &loaded);
	ck_assert(!memcmp(&loaded, &f.root, sizeof(loaded)));
	fixture_release(&f);
}
END_TEST

START_TEST(read_only_file_reads_and_does_not_commit)
{
	struct fixture f;
	struct root next, loaded;
	struct super s;

	fixture_init(&f, CIPHER_XCHACHA20);
	ck_ok(change(&f, 10, &next));
	f.pf = pagefile_close(f.pf);
	ck_ok(pagefile_open(f.io, f.keys, true, &f.super, &f.pf));
	fixture_load(&f, &loaded);
	ck_assert(!memcmp(&loaded, &f.root, sizeof(loaded)));
	s = f.super;
	ck_assert_int_eq(pagefile_commit(f.pf, &s), -E_READ_ONLY);
	fixture_release(&f);
}
END_TEST

static Suite *make_suite(void)
{
	Suite *s = suite_create("pagefile");
	TCase *t = tcase_create("pagefile");

	tcase_set_timeout(t, 100);
	tcase_add_test(t, new_file_opens_with_what_it_was_made_with);
	tcase_add_loop_test(t, commits_survive_reopening_and_leak_nothing, 0, 3);
	tcase_add_test(t, bitmap_of_many_pages_survives);
	tcase_add_test(t, power_cut_at_any_call_leaves_old_or_new);
	tcase_add_test(t, power_cuts_in_openings_one_after_another_lose_nothing);
	tcase_add_test(t, failed_calls_cost_no_state);
	tcase_add_loop_test(t, flip_in_a_page_is_noticed_by_reads_of_that_page, 0, 3);
	tcase_add_test(t, misdirected_and_stale_pages_are_noticed);
	tcase_add_test(t, rotten_superblocks_fall_back_in_order);
	tcase_add_test(t, newer_version_is_refused);
	tcase_add_test(t, lost_bitmap_reuses_nothing_until_a_sweep);
	tcase_add_test(t, sweep_frees_leaks_and_finds_pages_free_in_error);
	tcase_add_test(t, full_disk_shows_at_alloc_and_costs_nothing);
	tcase_add_test(t, read_only_file_reads_and_does_not_commit);
	suite_add_tcase(s, t);
	return s;
}

int main(void)
{
	return suite_main(make_suite());
}
