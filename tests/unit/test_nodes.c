/* test_nodes.c - nodes against a model; the toy store they carry is in nodes_toy.h. */
#include <pthread.h>
#include <stdatomic.h>

#include "tests/unit/nodes_toy.h"

START_TEST(edits_and_checkpoints_equal_the_model)
{
	struct fixture *f = fixture_new();

	f->clones = _i & 1;
	for (unsigned round = 0; round < 120; round++) {
		ops_random(f, 300);
		ck_ok(checkpoint(f));
		if (rng_below(&f->rng, 8) == 0)
			check_all(f, &f->live);
		if (!f->clones)
			ck_assert_uint_eq(leaked_pages(f), 0);
		else if (rng_below(&f->rng, 4) == 0)
			sweep(f);
		if (rng_below(&f->rng, 6) == 0) {
			fixture_shut(f);
			fixture_open(f);
			f->live = f->durable;
			check_all(f, &f->live);
		}
	}
	check_all(f, &f->live);
	fixture_free(f);
}
END_TEST

START_TEST(edits_during_write_out_do_not_reach_the_frozen_tree)
{
	struct fixture *f = fixture_new();

	f->clones = true;
	for (unsigned round = 0; round < 40; round++) {
		ops_random(f, 200);
		f->edits_while_packing = 1;
		ck_ok(checkpoint(f));
		f->edits_while_packing = 0;
		check_all(f, &f->live);
		if (rng_below(&f->rng, 3) == 0) {
			fixture_shut(f);
			fixture_open(f);
			check_all(f, &f->durable);
			f->live = f->durable;
		}
	}
	fixture_free(f);
}
END_TEST

START_TEST(what_is_being_written_is_not_due_again)
{
	struct fixture *f = fixture_new();
	struct super s;

	ops_random(f, 200);
	ck_assert_uint_gt(nodes_live_bytes(f->ns), 0);
	checkpoint_freeze(f, &s);
	ck_assert_uint_eq(nodes_live_bytes(f->ns), 0);
	ck_assert_uint_gt(nodes_dirty_bytes(f->ns), 0);
	nodes_write_abort(f->ns);
	ck_assert_uint_eq(nodes_live_bytes(f->ns), nodes_dirty_bytes(f->ns));
	fixture_free(f);
}
END_TEST

START_TEST(failed_checkpoints_lose_nothing)
{
	struct fixture *f = fixture_new();
	unsigned n_failed = 0;

	f->clones = _i & 1;
	for (unsigned round = 0; round < 150; round++) {
		struct super s;
		int r;

		ops_random(f, 150);
		checkpoint_freeze(f, &s);
		ops_random(f, 40);
		io_sim_fail_at(f->io, rng_below(&f->rng, 2) ? IO_SIM_PWRITE : IO_SIM_SYNC,
			       1 + rng_below(&f->rng, rng_below(&f->rng, 2) ? 3 : 60),
			       EIO, false);
		r = checkpoint_write(f, &s);
		io_sim_fail_at(f->io, IO_SIM_PWRITE, 0, EIO, false);
		io_sim_fail_at(f->io, IO_SIM_SYNC, 0, EIO, false);
		if (r < 0) {
			n_failed++;
			continue;
		}
		ops_random(f, 20);
		checkpoint_finish(f);
		if (!f->clones)
			ck_assert_uint_eq(leaked_pages(f), 0);
		if (rng_below(&f->rng, 8) == 0) {
			check_all(f, &f->live);
			fixture_shut(f);
			fixture_open(f);
			check_all(f, &f->durable);
			f->live = f->durable;
		}
	}
	ck_assert_uint_gt(n_failed, 20);
	check_all(f, &f->live);
	fixture_free(f);
}
END_TEST

START_TEST(power_cut_leaves_the_old_or_the_new_tree)
{
	struct fixture *f = fixture_new();

	f->clones = true;
	for (unsigned round = 0; round < 150; round++) {
		uint64_t generation;
		struct super s;
		int r;

		ops_random(f, 100);
		if (rng_below(&f->rng, 2))
			ck_ok(checkpoint(f));
		checkpoint_freeze(f, &s);
		generation = f->super.generation;
		io_sim_stop_at(f->io, IO_SIM_PWRITE | IO_SIM_SYNC | IO_SIM_TRUNCATE,
			       1 + rng_below(&f->rng, rng_below(&f->rng, 2) ? 100 : 12));
		r = checkpoint_write(f, &s);
		io_sim_power_cut(f->io);
		fixture_shut(f);
		fixture_open(f);
		if (r == 0 || f->super.epoch == s.epoch)
			f->durable = f->frozen;
		ck_assert_uint_ge(f->super.generation, generation);
		check_all(f, &f->durable);
		f->live = f->durable;
	}
	fixture_free(f);
}
END_TEST

START_TEST(clone_pages_are_never_reused_by_either_side)
{
	struct fixture *f = fixture_new();

	for (unsigned key = 0; key < KEYS; key++)
		ck_ok(value_set(f, 0, key, 1 + key));
	ck_ok(checkpoint(f));
	tree_clone(f, 0, 1);
	for (unsigned round = 0; round < 30; round++) {
		for (unsigned i = 0; i < 50; i++)
			ck_ok(value_set(f, round % 2, (unsigned)rng_below(&f->rng, KEYS),
					1 + rng_below(&f->rng, 1000)));
		ck_ok(checkpoint(f));
		nodes_set_budget(f->ns, 0);
		nodes_trim(f->ns);
		check_all(f, &f->live);
	}
	tree_drop(f, 0);
	ck_ok(checkpoint(f));
	nodes_trim(f->ns);
	check_all(f, &f->live);
	sweep(f);
	ck_ok(checkpoint(f));
	check_all(f, &f->live);
	fixture_free(f);
}
END_TEST

START_TEST(node_with_two_parents_is_written_once)
{
	struct fixture *f = fixture_new();
	struct pagefile_stats before, after;

	f->quiet = true;
	for (unsigned key = 0; key < KEYS; key++)
		ck_ok(value_set(f, 0, key, 1 + key));
	tree_clone(f, 0, 1);
	tree_clone(f, 0, 2);
	pagefile_get_stats(f->pf, &before);
	ck_ok(checkpoint(f));
	pagefile_get_stats(f->pf, &after);
	/* The rows, the tree, the bitmap. */
	ck_assert_uint_eq(after.written - before.written, 1 + 1 + FAN + FAN * FAN + 1);
	check_all(f, &f->live);
	ck_assert_uint_eq(leaked_pages(f), 0);
	fixture_free(f);
}
END_TEST

START_TEST(stale_reference_to_an_unwritten_node_becomes_none)
{
	struct fixture *f = fixture_new();
	struct noderef stale;
	uint8_t *image;
	struct super s;

	ck_ok(value_set(f, 0, 5, 50));
	ck_ok(nodes_make(f->ns, KIND_LEAF, 0, &stale, &image));
	checkpoint_freeze(f, &s);
	ck_ok(nodes_edit(f->ns, &f->catalog, 0, &image));
	((struct rows *)(void *)image)->tree[3].root = stale;
	ck_ok(checkpoint_write(f, &s));
	f->quiet = true;
	checkpoint_finish(f);
	ck_ok(nodes_edit(f->ns, &f->catalog, 0, &image));
	ck_assert(noderef_is_none(&((struct rows *)(void *)image)->tree[3].root));
	ck_assert(!noderef_in_memory(&((struct rows *)(void *)image)->tree[0].root));
	check_all(f, &f->live);
	fixture_free(f);
}
END_TEST

START_TEST(snapshot_epoch_keeps_every_page_of_its_tree)
{
	struct fixture *f = fixture_new();
	struct nodes_opts opts;
	struct noderef old;
	struct model kept;

	for (unsigned key = 0; key < KEYS; key++)
		ck_ok(value_set(f, 0, key, 1 + key));
	ck_ok(checkpoint(f));
	ck_ok(checkpoint(f));
	old = f->super.catalog;
	kept = f->durable;

	nodes_free_cache(f->ns);
	opts = (struct nodes_opts) { .pf = f->pf,
				     .cache_bytes = 64 * PAGE_BYTES,
				     .epoch = f->super.epoch,
				     .snap_epoch = f->super.epoch };
	ck_ok(nodes_new_cache(&opts, &f->ns));
	nodes_set_type(f->ns, KIND_LEAF, &leaf_type);
	nodes_set_type(f->ns, KIND_INNER, &inner_type);
	nodes_set_type(f->ns, KIND_ROWS, &rows_type);
	f->live = f->durable;
	f->catalog = f->super.catalog;
	rows_load(f);
	for (unsigned round = 0; round < 20; round++) {
		ops_random(f, 200);
		ck_ok(checkpoint(f));
	}

	fixture_shut(f);
	fixture_open(f);
	f->catalog = f->super.catalog = old;
	rows_load(f);
	check_all(f, &kept);
	fixture_free(f);
}
END_TEST

START_TEST(image_in_memory_equals_the_one_on_disk)
{
	struct fixture *f = fixture_new();
	uint8_t disk[PAGE_PAYLOAD];
	const uint8_t *image;
	struct super s;
	int r;

	for (unsigned i = 0; i < 300; i++)
		ck_ok(value_set(f, 0, (unsigned)rng_below(&f->rng, KEYS), 1 + i));
	checkpoint_freeze(f, &s);
	ck_ok(checkpoint_write(f, &s));
	do {
		r = nodes_finish(f->ns, &(struct nodes_patcher) { f, patch_extent, NULL },
				 3);
	} while (r == 1);
	ck_ok(r);
	for (unsigned t = 0; t < TREES; t++)
		nodes_patch(f->ns, &f->tree[t].root);
	nodes_patch(f->ns, &f->catalog);
	ck_assert(!memcmp(&f->catalog, &f->super.catalog, sizeof(f->catalog)));

	struct nodes_stats stats;
	struct noderef slot = f->tree[0].root;

	nodes_get_stats(f->ns, &stats);
	ck_assert_uint_eq(stats.dirty, 0);
	ck_assert_uint_eq(stats.misses, 0);
	for (unsigned level = 3; level > 0; level--) {
		ck_ok(nodes_get(f->ns, &slot, &image));
		ck_ok(pagefile_read(f->pf, &slot, disk));
		ck_assert(!memcmp(image, disk, PAGE_PAYLOAD));
		for (unsigned i = FAN; level > 1 && i-- > 0;)
			if (!noderef_is_none(&((const struct inner *)(const void *)disk)
						      ->child[i]))
				slot = ((const struct inner *)(const void *)disk)
					       ->child[i];
	}
	nodes_get_stats(f->ns, &stats);
	ck_assert_uint_eq(stats.misses, 0);
	fixture_free(f);
}
END_TEST

START_TEST(flip_fails_exactly_the_reads_through_its_page)
{
	static const unsigned keys_below[] = { FAN, FAN * FAN, KEYS };
	struct fixture *f = fixture_new();
	struct marks *m;

	f->quiet = true;
	for (unsigned key = 0; key < KEYS; key++)
		ck_ok(value_set(f, 0, key, 1 + key));
	ck_ok(checkpoint(f));
	m = marks_new(f);
	ck_assert_uint_eq(m->n, 1 + 1 + FAN + FAN * FAN);
	for (unsigned round = 0; round < 80; round++) {
		unsigned i = (unsigned)rng_below(&f->rng, m->n);
		uint64_t off = m->page[i] * PAGE_BYTES + rng_below(&f->rng, PAGE_BYTES);
		uint64_t value;
		unsigned bad = 0;

		fixture_shut(f);
		fixture_open(f);
		ck_ok(io_sim_flip(f->io, PAGEFILE_NAME, off, 5));
		for (unsigned key = 0; key < KEYS; key++) {
			int r = value_get(f, 0, key, &value);

			if (r == 0) {
				ck_assert_uint_eq(value, f->durable.value[0][key]);
				continue;
			}
			ck_assert_int_eq(r, -E_CORRUPT);
			bad++;
		}
		/* The rows were read when the store was opened. */
		ck_assert_uint_eq(bad,
				  m->kind[i] == KIND_ROWS ? 0 : keys_below[m->level[i]]);
		ck_ok(io_sim_flip(f->io, PAGEFILE_NAME, off, 5));
	}
	free(m);
	fixture_free(f);
}
END_TEST

START_TEST(cache_keeps_to_its_budget)
{
	struct fixture *f = fixture_new();
	struct nodes_stats stats;
	uint64_t value;

	f->quiet = true;
	for (unsigned key = 0; key < KEYS; key++)
		ck_ok(value_set(f, 0, key, 1 + key));
	ck_ok(checkpoint(f));
	for (unsigned i = 0; i < 2000; i++) {
		unsigned t = (unsigned)rng_below(&f->rng, TREES);
		unsigned key = (unsigned)rng_below(&f->rng, KEYS);

		ck_ok(value_get(f, t, key, &value));
		ck_assert_uint_eq(value, f->live.value[t][key]);
		nodes_trim(f->ns);
		nodes_get_stats(f->ns, &stats);
		ck_assert_uint_le(stats.clean, 40);
	}
	ck_assert_uint_gt(stats.misses, 10);
	ck_assert_uint_gt(stats.hits, 10);
	fixture_free(f);
}
END_TEST

static void read_every_key(struct fixture *f)
{
	uint64_t value;

	for (unsigned key = 0; key < KEYS; key++) {
		ck_ok(value_get(f, 0, key, &value));
		ck_assert_uint_eq(value, f->live.value[0][key]);
		nodes_trim(f->ns);
	}
}

START_TEST(what_is_lent_to_the_cache_is_used_and_given_back)
{
	struct fixture *f = fixture_new();
	struct nodes_stats before, after;

	f->quiet = true;
	for (unsigned key = 0; key < KEYS; key++)
		ck_ok(value_set(f, 0, key, 1 + key));
	ck_ok(checkpoint(f));
	nodes_lend(f->ns, 1024 * PAGE_BYTES);
	read_every_key(f);
	nodes_get_stats(f->ns, &before);
	read_every_key(f);
	nodes_get_stats(f->ns, &after);
	ck_assert_uint_gt(before.clean, 40);
	ck_assert_uint_eq(after.misses, before.misses);
	nodes_lend(f->ns, 0);
	for (unsigned i = 0; i < 20; i++)
		nodes_trim(f->ns);
	nodes_get_stats(f->ns, &after);
	ck_assert_uint_le(after.clean, 40);
	fixture_free(f);
}
END_TEST

START_TEST(memory_alone_works_without_a_page_file)
{
	struct fixture *f = fixture_new();
	struct noderef root;

	nodes_free_cache(f->ns);
	f->pf = pagefile_close(f->pf);
	nodes_start(f);
	f->clones = true;
	for (unsigned round = 0; round < 20; round++) {
		struct nodes_sink sink = { .arg = f };

		ops_random(f, 200);
		nodes_freeze(f->ns);
		ops_random(f, 50);
		if (!noderef_is_none(&f->catalog))
			ck_ok(nodes_write_out(f->ns, &f->catalog, &sink, &root));
		ck_assert_int_eq(nodes_finish(f->ns, &(struct nodes_patcher) { 0 }, 1),
				 0);
	}
	check_all(f, &f->live);
	fixture_free(f);
}
END_TEST

/* --- with a thread --- */

struct writer {
	struct fixture *f;
	struct super *s;
	atomic_bool done;
};

/* Runs without the lock: hot values below hot_frozen do not change any more. */
static int pack_in_thread(void *arg, struct extent *e)
{
	struct fixture *f = arg;

	if (extent_kind(e) == EXTENT_HOT)
		*e = extent_chunk(f->hot[extent_hot_block(e)], 0, 0, 1);
	return 0;
}

static void *write_in_thread(void *arg)
{
	struct writer *w = arg;
	struct nodes_sink sink = { .arg = w->f, .pack_extent = pack_in_thread };
	int r;

	r = nodes_write_out(w->f->ns, &w->s->catalog, &sink, &w->s->catalog);
	assert(r == 0);
	(void)r;
	w->done = true;
	return NULL;
}

START_TEST(edits_run_beside_a_thread_that_writes_out)
{
	struct fixture *f = fixture_new();

	f->clones = true;
	for (unsigned round = 0; round < 40; round++) {
		struct writer w = { .f = f };
		struct super s;
		pthread_t thread;

		for (unsigned i = 0; i < 300; i++)
			op_random(f);
		checkpoint_freeze(f, &s);
		w.s = &s;
		ck_assert_int_eq(pthread_create(&thread, NULL, write_in_thread, &w), 0);
		for (unsigned i = 0; i < 20 || (i < 2000 && !w.done); i++)
			op_random(f);
		ck_assert_int_eq(pthread_join(thread, NULL), 0);
		nodes_take_freed(f->ns, give_back, f->pf);
		ck_ok(pagefile_commit(f->pf, &s));
		f->super = s;
		f->durable = f->frozen;
		checkpoint_finish(f);
		check_all(f, &f->live);
		if (f->n_hot > HOT_MAX / 2)
			break;
	}
	fixture_shut(f);
	fixture_open(f);
	check_all(f, &f->durable);
	fixture_free(f);
}
END_TEST

static Suite *make_suite(void)
{
	Suite *s = suite_create("nodes");
	TCase *t = tcase_create("nodes"), *threads = tcase_create("threads");

	tcase_set_timeout(t, 100);
	tcase_add_loop_test(t, edits_and_checkpoints_equal_the_model, 0, 2);
	tcase_add_test(t, edits_during_write_out_do_not_reach_the_frozen_tree);
	tcase_add_test(t, what_is_being_written_is_not_due_again);
	tcase_add_loop_test(t, failed_checkpoints_lose_nothing, 0, 2);
	tcase_add_test(t, power_cut_leaves_the_old_or_the_new_tree);
	tcase_add_test(t, clone_pages_are_never_reused_by_either_side);
	tcase_add_test(t, node_with_two_parents_is_written_once);
	tcase_add_test(t, stale_reference_to_an_unwritten_node_becomes_none);
	tcase_add_test(t, snapshot_epoch_keeps_every_page_of_its_tree);
	tcase_add_test(t, image_in_memory_equals_the_one_on_disk);
	tcase_add_test(t, flip_fails_exactly_the_reads_through_its_page);
	tcase_add_test(t, cache_keeps_to_its_budget);
	tcase_add_test(t, what_is_lent_to_the_cache_is_used_and_given_back);
	tcase_add_test(t, memory_alone_works_without_a_page_file);
	suite_add_tcase(s, t);
	tcase_set_timeout(threads, 100);
	tcase_add_test(threads, edits_run_beside_a_thread_that_writes_out);
	suite_add_tcase(s, threads);
	return s;
}

int main(void)
{
	return suite_main(make_suite());
}
