/* test_pack_upkeep.c - packs that are rewritten and removed, by several threads, on a disk that
 * fails, fills up or loses power: what is read is exact, or not there. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "core/base/err.h"
#include "tests/unit/pack_fixture.h"

/* --- upkeep --- */

START_TEST(a_rewrite_keeps_the_living_and_drops_the_rest)
{
	struct fixture *f = fixture_new(17);
	struct seen before = { .n = 0 }, after = { .n = 0 };
	uint8_t live[8] = { 0 };
	uint32_t sizes[40];

	ck_ok(model_pack(f, 40, 5000));
	ck_ok(packs_each(f->ps, seen_add, &before));
	live[0] = 1;
	for (unsigned i = 1; i < 39; i++)
		live[i / 8] |= (uint8_t)(rng_below(&f->rng, 2) << i % 8);
	ck_all_readable(f);
	ck_ok(packs_rewrite(f->ps, 1, live));
	for (int again = 0; again < 2; again++) {
		ck_ok(packs_chunk_sizes(f->ps, 1, sizes));
		for (unsigned i = 0; i < 40; i++) {
			int alive = live[i / 8] >> i % 8 & 1;

			ck_assert_int_eq(piece_read(f, &f->model.pieces[i]), alive);
			ck_assert_int_eq(sizes[i] > 0, alive);
		}
		ck_assert_int_eq(verify(f, 1), 0);
		fixture_reopen(f);
	}
	ck_ok(packs_each(f->ps, seen_add, &after));
	ck_ok(packs_chunk_plain(f->ps, 1, 0, sizes));
	ck_assert_uint_eq(sizes[0], f->model.pieces[0].n);
	ck_assert_int_eq(packs_chunk_plain(f->ps, 1, 39, sizes), -E_CORRUPT);
	ck_assert_uint_eq(after.info[0].chunks, 40);
	ck_assert_uint_lt(after.info[0].file_bytes, before.info[0].file_bytes);
	ck_assert_uint_lt(after.info[0].stored_bytes, before.info[0].stored_bytes);
	ck_assert_uint_eq(files_count(f), 1);
	fixture_free(f);
}
END_TEST

START_TEST(a_rewrite_of_a_damaged_pack_is_refused)
{
	struct fixture *f = fixture_new(18);
	uint8_t all = 0x0f, some = 0x05;
	struct seen seen = { .n = 0 };
	char name[PACK_NAME_BYTES];

	ck_ok(model_pack(f, 4, 500));
	ck_ok(packs_rewrite(f->ps, 1, &some));
	ck_assert_int_eq(packs_rewrite(f->ps, 1, &all), -E_CORRUPT);
	pack_name(name, 1, "pack");
	ck_ok(io_sim_flip(f->io, name, 0, 0)); /* the header alone is no obstacle */
	fixture_reopen(f);
	ck_ok(packs_rewrite(f->ps, 1, &some));
	ck_ok(io_sim_flip(f->io, name, f->ps->stats.file_bytes - 1, 0));
	fixture_reopen(f);
	ck_assert_int_eq(packs_rewrite(f->ps, 1, &some), -E_CORRUPT);
	ck_ok(packs_each(f->ps, seen_add, &seen));
	ck_assert(seen.info[0].damaged);
	ck_assert_uint_eq(pieces_readable(f), 2);
	ck_assert_uint_eq(files_count(f), 1);
	fixture_free(f);
}
END_TEST

START_TEST(who_pinned_a_pack_reads_it_after_rewrite_and_removal)
{
	struct fixture *f = fixture_new(19);
	struct packs_stats stats;
	uint8_t live = 1;

	ck_ok(model_pack(f, 3, 500));
	packs_set_budget(f->ps, 0);
	for (int round = 0; round < 2; round++) {
		ck_ok(packs_pin(f->ps, 1));
		ck_ok(packs_pin(f->ps, 1));
		ck_ok(packs_rewrite(f->ps, 1, &live));
		ck_assert_uint_eq(pieces_readable(f), round ? 1 : 3);
		ck_ok(packs_rewrite(f->ps, 1, &live));
		packs_unpin(f->ps, 1);
		ck_assert_uint_eq(pieces_readable(f), round ? 1 : 3);
		packs_unpin(f->ps, 1);
		ck_assert_uint_eq(pieces_readable(f), 1);
	}
	fixture_reopen(f);
	ck_ok(packs_pin(f->ps, 1));
	ck_ok(packs_remove(f->ps, 1));
	ck_assert_int_eq(packs_remove(f->ps, 1), -ENOENT);
	ck_assert_int_eq(packs_pin(f->ps, 1), -ENOENT);
	ck_assert_uint_eq(files_count(f), 0);
	packs_get_stats(f->ps, &stats);
	ck_assert_uint_eq(stats.packs, 0);
	ck_assert_uint_eq(stats.file_bytes, 0);
	ck_assert_uint_eq(pieces_readable(f), 1);
	packs_unpin(f->ps, 1);
	ck_assert_uint_eq(pieces_readable(f), 0);
	fixture_free(f);
}
END_TEST

START_TEST(removed_packs_leave_the_cache)
{
	struct fixture *f = fixture_new(20);
	struct packs_stats stats;

	ck_ok(model_pack(f, 5, 5000));
	ck_all_readable(f);
	ck_ok(packs_remove(f->ps, 1));
	packs_get_stats(f->ps, &stats);
	ck_assert_uint_eq(stats.cache_bytes, 0);
	ck_assert_uint_eq(pieces_readable(f), 0);
	fixture_free(f);
}
END_TEST

START_TEST(read_only_changes_nothing)
{
	struct fixture *f = fixture_new(21);
	struct packs_opts opts = { .zstd_level = 1, .read_only = true };
	struct packs *ps;
	struct io *empty;

	ck_ok(model_pack(f, 2, 500));
	ck_ok(io_publish(f->io, "packs/0000000007.tmp", "x", 1));
	opts.io = f->io;
	opts.keys = f->keys;
	ck_ok(packs_open(&opts, &ps));
	ck_assert_uint_eq(files_count(f), 2);
	packs_close(ps);
	fixture_reopen(f);
	ck_assert_uint_eq(files_count(f), 1);
	ck_all_readable(f);

	ck_ok(io_sim_new(1, &empty));
	opts.io = empty;
	opts.next_pack = 9;
	ck_ok(packs_open(&opts, &ps));
	ck_assert_uint_eq(packs_next(ps), 9);
	packs_close(ps);
	io_free(empty);
	fixture_free(f);
}
END_TEST

static void lines_join(void *arg, const char *line)
{
	ck_ok(buf_append(arg, line, strlen(line)));
	ck_ok(buf_append(arg, "\n", 1));
}

START_TEST(inspect_puts_a_pack_into_words)
{
	struct fixture *f = fixture_new(22);
	struct buf words = BUF_INIT;
	uint8_t live = 3;

	ck_ok(model_pack(f, 3, 500));
	ck_ok(packs_rewrite(f->ps, 1, &live));
	ck_ok(pack_inspect(f->io, f->keys, "packs/0000000001.pack", lines_join, &words));
	ck_ok(buf_append(&words, "", 1));
	ck_assert_ptr_nonnull(strstr((char *)words.p, "3 chunks, rewritten 1 times"));
	ck_assert_ptr_nonnull(strstr((char *)words.p, "signature: good"));
	ck_assert_ptr_nonnull(strstr((char *)words.p, "chunk 2: removed"));
	ck_ok(pack_inspect(f->io, NULL, "packs/0000000001.pack", lines_join, &words));
	ck_ok(io_sim_flip(f->io, "packs/0000000001.pack", 9, 1));
	ck_assert_int_eq(
		pack_inspect(f->io, f->keys, "packs/0000000001.pack", lines_join, &words),
		-E_CORRUPT);
	ck_assert_int_eq(pack_inspect(f->io, NULL, "packs/none", lines_join, &words),
			 -ENOENT);
	buf_release(&words);
	fixture_free(f);
}
END_TEST

/* --- threads --- */

#define THREADS 3
#define SHOWN	8

/* What threads read: chunk i of a pack holds bytes that follow from pack and i alone. */
struct yard {
	struct fixture *f;
	atomic_ulong shown[SHOWN]; /* pack numbers */
	atomic_bool stop;
	atomic_ulong reads;
	pthread_barrier_t start;
};

static void pattern_make(uint64_t pack, uint32_t i, uint8_t *p, uint32_t n)
{
	struct rng rng = rng_seeded(pack << 16 | i);

	rng_fill(&rng, p, n);
	memset(p + n / 2, (int)i, n - n / 2);
}

static uint32_t pattern_bytes(uint64_t pack, uint32_t i)
{
	return 500 + (uint32_t)((pack * 31 + i * 977) % 4000);
}

static uint64_t pattern_pack(struct fixture *f, uint32_t chunks)
{
	uint64_t number = packs_next(f->ps);
	struct pack_writer *w;
	uint8_t bytes[5000];

	ck_ok(pack_writer_new(f->ps, &w));
	for (uint32_t i = 0; i < chunks; i++) {
		struct chunk_place at;

		pattern_make(number, i, bytes, pattern_bytes(number, i));
		ck_ok(pack_writer_add(w, bytes, pattern_bytes(number, i), &at));
		ck_ok(pack_writer_break(w, 1));
		ck_assert_uint_eq(at.pack, number);
		ck_assert_uint_eq(at.index, i);
	}
	ck_ok(pack_writer_finish(w));
	return number;
}

/* Even chunks live as long as their pack is shown or pinned. */
static void *yard_reader(void *arg)
{
	struct yard *y = arg;
	struct rng rng = rng_seeded((uint64_t)(uintptr_t)&rng);
	uint8_t got[5000], want[5000];

	while (!atomic_load(&y->stop)) {
		uint64_t pack = atomic_load(&y->shown[rng_below(&rng, SHOWN)]);
		uint32_t i = (uint32_t)rng_below(&rng, 8);
		uint32_t n = pattern_bytes(pack, i);
		int r;

		if (packs_pin(y->f->ps, pack) < 0)
			continue;
		r = packs_read(y->f->ps, pack, i, 0, n, got);
		if (r == 0) {
			pattern_make(pack, i, want, n);
			ck_assert_mem_eq(got, want, n);
			atomic_fetch_add(&y->reads, 1);
		} else {
			ck_assert_msg(i % 2 && r == -E_CORRUPT, "chunk %u: %d", i, r);
		}
		packs_unpin(y->f->ps, pack);
	}
	return NULL;
}

START_TEST(reading_goes_on_while_packs_are_rewritten_and_removed)
{
	struct fixture *f = fixture_new(23);
	struct yard y = { .f = f };
	pthread_t threads[THREADS];
	uint8_t live = 0x55;

	packs_set_budget(f->ps, 20000);
	for (int i = 0; i < SHOWN; i++)
		atomic_store(&y.shown[i], pattern_pack(f, 8));
	for (int i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, yard_reader, &y), 0);
	for (int i = 0; i < 300; i++) {
		atomic_ulong *at = &y.shown[rng_below(&f->rng, SHOWN)];
		uint64_t old = atomic_load(at);

		if (rng_below(&f->rng, 2)) {
			ck_ok(packs_rewrite(f->ps, old, &live));
		} else {
			atomic_store(at, pattern_pack(f, 8));
			ck_ok(packs_remove(f->ps, old));
		}
	}
	atomic_store(&y.stop, true);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	ck_assert_uint_gt(atomic_load(&y.reads), 0);
	ck_assert_uint_eq(files_count(f), SHOWN);
	fixture_free(f);
}
END_TEST

static void *yard_same(void *arg)
{
	struct yard *y = arg;

	pthread_barrier_wait(&y->start);
	for (uint32_t i = 0; i < 50; i++)
		ck_assert(piece_read(y->f, &y->f->model.pieces[i]));
	return NULL;
}

START_TEST(readers_of_one_chunk_decode_it_once)
{
	struct fixture *f = fixture_new(24);
	struct yard y = { .f = f };
	pthread_t threads[THREADS];
	struct packs_stats stats;

	ck_ok(model_pack(f, 50, 20000));
	packs_set_budget(f->ps, 4 << 20);
	pthread_barrier_init(&y.start, NULL, THREADS);
	for (int i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, yard_same, &y), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	pthread_barrier_destroy(&y.start);
	packs_get_stats(f->ps, &stats);
	ck_assert_uint_eq(stats.misses, 50);
	ck_assert_uint_eq(stats.hits, 50 * (THREADS - 1));
	fixture_free(f);
}
END_TEST

/* --- power and faults --- */

START_TEST(a_pack_is_whole_or_absent_after_a_power_cut)
{
	bool done = false;

	for (uint64_t n = 1; !done; n++) {
		struct fixture *f = fixture_new(1000 + n);
		size_t old, readable;
		int r;

		ck_ok(model_pack(f, 3, 3000));
		old = f->model.n;
		io_sim_stop_at(f->io, IO_SIM_ANY, n);
		r = model_pack(f, 6, CHUNK_BYTES);
		done = r == 0;
		f->ps = packs_close(f->ps);
		io_sim_power_cut(f->io);
		ck_ok(packs_try_open(f));
		readable = pieces_readable(f);
		ck_assert_uint_ge(readable, old);
		ck_assert_msg(readable == old || readable == old + 6,
			      "call %llu: %zu of %zu", (unsigned long long)n, readable,
			      f->model.n);
		if (done)
			ck_assert_uint_eq(readable, old + 6);
		ck_assert_uint_eq(files_count(f), readable == old ? 1 : 2);
		for (uint64_t pack = 1; pack <= files_count(f); pack++)
			ck_assert_int_eq(verify(f, pack), 0);
		fixture_free(f);
	}
}
END_TEST

START_TEST(a_rewrite_cut_by_power_loss_leaves_the_old_or_the_new)
{
	bool done = false;

	for (uint64_t n = 1; !done; n++) {
		struct fixture *f = fixture_new(2000 + n);
		uint8_t live = 0x15;
		size_t readable;

		ck_ok(model_pack(f, 6, 30000));
		io_sim_stop_at(f->io, IO_SIM_ANY, n);
		done = packs_rewrite(f->ps, 1, &live) == 0;
		f->ps = packs_close(f->ps);
		io_sim_power_cut(f->io);
		ck_ok(packs_try_open(f));
		readable = pieces_readable(f);
		ck_assert(readable == 3 || (readable == 6 && !done));
		ck_assert_int_eq(verify(f, 1), 0);
		ck_assert_uint_eq(files_count(f), 1);
		fixture_free(f);
	}
}
END_TEST

/* Everything once; the first error ends it. *ret_durable: pieces of finished writers. */
static int all_once(struct fixture *f, size_t *ret_durable)
{
	uint8_t out[64], live = 0x03;
	int r;

	r = model_pack(f, 4, 2000);
	if (r == 0)
		*ret_durable = f->model.n;
	for (size_t i = 0; r == 0 && i < f->model.n; i++)
		r = packs_read(f->ps, f->model.pieces[i].at.pack,
			       f->model.pieces[i].at.index, 0, 1, out);
	if (r == 0)
		r = packs_rewrite(f->ps, 1, &live);
	if (r == 0)
		r = packs_remove(f->ps, 2);
	return r;
}

START_TEST(a_failing_call_is_reported_and_leaves_a_sound_set)
{
	bool done = false;

	for (uint64_t n = 1; !done; n++) {
		struct fixture *f = fixture_new(3000 + n);
		size_t old, durable, readable;
		struct seen seen = { .n = 0 };

		ck_ok(model_pack(f, 2, 2000));
		old = durable = f->model.n;
		f->ps = packs_close(f->ps);
		io_sim_fail_at(f->io, IO_SIM_ANY, n, EIO, n % 2);
		if (packs_try_open(f) == 0)
			done = all_once(f, &durable) == 0;
		done = done && io_sim_calls(f->io, IO_SIM_ANY) > 0 && n > 60;
		io_sim_fail_at(f->io, 0, 0, 0, false);
		if (!f->ps)
			ck_ok(packs_try_open(f));
		for (int again = 0; again < 2; again++) {
			readable = pieces_readable(f);
			ck_assert_uint_ge(readable, old);
			ck_ok(packs_each(f->ps, seen_add, &seen));
			for (unsigned i = 0; i < seen.n; i++)
				ck_assert(!seen.info[i].damaged);
			seen.n = 0;
			ck_assert_int_eq(verify(f, 1), 0);
			fixture_reopen(f);
		}
		ck_assert_uint_le(files_count(f), 2);
		fixture_free(f);
	}
}
END_TEST

START_TEST(a_full_disk_fails_the_writer_and_leaves_nothing_behind)
{
	struct fixture *f = fixture_new(25);
	size_t old;

	ck_ok(model_pack(f, 2, 2000));
	old = f->model.n;
	io_sim_set_free(f->io, 100000);
	ck_assert_int_eq(model_pack(f, 40, CHUNK_BYTES), -ENOSPC);
	ck_assert_uint_eq(files_count(f), 1);
	ck_assert_uint_eq(pieces_readable(f), old);
	io_sim_set_free(f->io, 100 << 20);
	f->model.n = old;
	ck_ok(model_pack(f, 10, CHUNK_BYTES));
	ck_all_readable(f);
	fixture_free(f);
}
END_TEST

START_TEST(a_disk_error_while_reading_passes)
{
	struct fixture *f = fixture_new(26);
	uint8_t out;
	int r;

	ck_ok(model_pack(f, 3, 2000));
	for (uint64_t n = 1; n <= 8; n++) {
		fixture_reopen(f);
		io_sim_fail_at(f->io, IO_SIM_PREAD | IO_SIM_OPEN, n, EIO, true);
		r = packs_read(f->ps, 1, 1, 0, 1, &out);
		ck_assert_msg(r == 0 || r == -EIO, "%d at %llu", r,
			      (unsigned long long)n);
		io_sim_fail_at(f->io, 0, 0, 0, false);
		ck_all_readable(f);
	}
	fixture_free(f);
}
END_TEST

static Suite *make_suite(void)
{
	Suite *s = suite_create("pack_upkeep");
	TCase *t = tcase_create("pack_upkeep");

	tcase_set_timeout(t, 100);
	tcase_add_test(t, a_rewrite_keeps_the_living_and_drops_the_rest);
	tcase_add_test(t, a_rewrite_of_a_damaged_pack_is_refused);
	tcase_add_test(t, who_pinned_a_pack_reads_it_after_rewrite_and_removal);
	tcase_add_test(t, removed_packs_leave_the_cache);
	tcase_add_test(t, read_only_changes_nothing);
	tcase_add_test(t, inspect_puts_a_pack_into_words);
	tcase_add_test(t, reading_goes_on_while_packs_are_rewritten_and_removed);
	tcase_add_test(t, readers_of_one_chunk_decode_it_once);
	tcase_add_test(t, a_pack_is_whole_or_absent_after_a_power_cut);
	tcase_add_test(t, a_rewrite_cut_by_power_loss_leaves_the_old_or_the_new);
	tcase_add_test(t, a_failing_call_is_reported_and_leaves_a_sound_set);
	tcase_add_test(t, a_full_disk_fails_the_writer_and_leaves_nothing_behind);
	tcase_add_test(t, a_disk_error_while_reading_passes);
	suite_add_tcase(s, t);
	return s;
}

int main(void)
{
	return suite_main(make_suite());
}
