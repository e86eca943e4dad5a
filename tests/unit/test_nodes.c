/* test_nodes.c - nodes against a model, with a toy store: TREES trees of KEYS keys each, kept
 * as radix trees of three levels; their roots are rows of one catalog node and, as inodes
 * do, live outside of it between checkpoints. A value is a hot extent (a number that only
 * memory knows) until a checkpoint turns it into a chunk whose pack number is the value. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "core/base/err.h"
#include "core/io/io_sim.h"
#include "core/page/nodes.h"
#include "core/page/page_format.h"
#include "core/rope/extent.h"
#include "tests/lib/suite.h"

#define FAN 8u
#define KEYS (FAN * FAN * FAN)
#define TREES 4u
#define HOT_MAX 400000u
#define MARK_BITS 65536u

#define KIND_LEAF NODE_ROPE_LEAF
#define KIND_INNER NODE_ROPE_INNER
#define KIND_ROWS NODE_BTREE_LEAF

struct inner {
	struct node_head head;
	struct noderef child[FAN];
};
struct leaf {
	struct node_head head;
	struct extent ext[FAN];
};
struct tree {
	struct noderef root;
	le64 shared;
};
struct rows {
	struct node_head head;
	struct tree tree[TREES];
	struct extent mark;	/* a node may hold children and extents */
};

struct model {
	uint64_t value[TREES][KEYS];	/* 0: none */
	uint64_t mark;
};

struct fixture {
	struct rng rng;
	struct io *io;
	struct keys *keys;
	struct pagefile *pf;
	struct nodes *ns;
	struct super super;
	struct tree tree[TREES];
	struct noderef catalog;
	struct model live, frozen, durable;
	uint64_t hot[HOT_MAX];	/* values; 0: dropped */
	uint64_t n_hot, hot_frozen, hot_dropped;
	bool clones;
	unsigned packed;
	unsigned edits_while_packing;
};

/* --- the toy kinds --- */

static int inner_each_child(uint8_t *image, node_child_fn fn, void *arg)
{
	struct inner *in = (struct inner *)(void *)image;

	for (unsigned i = 0; i < FAN; i++) {
		int r = noderef_is_none(&in->child[i]) ? 0 : fn(arg, &in->child[i]);

		if (r)
			return r;
	}
	return 0;
}

static int leaf_each_extent(uint8_t *image, node_extent_fn fn, void *arg)
{
	struct leaf *l = (struct leaf *)(void *)image;

	for (unsigned i = 0; i < FAN; i++) {
		int r = extent_kind(&l->ext[i]) == EXTENT_HOLE ? 0 : fn(arg, &l->ext[i]);

		if (r)
			return r;
	}
	return 0;
}

/* Something that shows: the image says how many chunks it holds. */
static void leaf_compact(uint8_t *image)
{
	struct leaf *l = (struct leaf *)(void *)image;
	uint32_t n = 0;

	for (unsigned i = 0; i < FAN; i++)
		n += extent_kind(&l->ext[i]) == EXTENT_CHUNK;
	l->head.used = le32_put(n);
}

static int rows_each_child(uint8_t *image, node_child_fn fn, void *arg)
{
	struct rows *rows = (struct rows *)(void *)image;

	for (unsigned i = 0; i < TREES; i++) {
		struct noderef *slot = &rows->tree[i].root;
		int r = noderef_is_none(slot) ? 0 : fn(arg, slot);

		if (r)
			return r;
	}
	return 0;
}

static int rows_each_extent(uint8_t *image, node_extent_fn fn, void *arg)
{
	struct rows *rows = (struct rows *)(void *)image;

	return extent_kind(&rows->mark) == EXTENT_HOLE ? 0 : fn(arg, &rows->mark);
}

static int any_check(const uint8_t *image)
{
	return 0;
}

static const struct node_type leaf_type = { .each_extent = leaf_each_extent,
					    .compact = leaf_compact,
					    .check = any_check };
static const struct node_type inner_type = { .each_child = inner_each_child };
static const struct node_type rows_type = { .each_child = rows_each_child,
					    .each_extent = rows_each_extent };

/* --- opening and closing --- */

static void nodes_start(struct fixture *f)
{
	struct nodes_opts opts = { .pf = f->pf,
				   .cache_bytes = 40 * PAGE_BYTES,
				   .epoch = f->super.epoch };

	ck_ok(nodes_new_cache(&opts, &f->ns));
	nodes_set_type(f->ns, KIND_LEAF, &leaf_type);
	nodes_set_type(f->ns, KIND_INNER, &inner_type);
	nodes_set_type(f->ns, KIND_ROWS, &rows_type);
}

static void rows_load(struct fixture *f)
{
	const uint8_t *image;

	memset(f->tree, 0, sizeof(f->tree));
	if (noderef_is_none(&f->catalog))
		return;
	ck_ok(nodes_get(f->ns, &f->catalog, &image));
	memcpy(f->tree, ((const struct rows *)(const void *)image)->tree, sizeof(f->tree));
}

static void fixture_open(struct fixture *f)
{
	ck_ok(pagefile_open(f->io, f->keys, false, &f->super, &f->pf));
	nodes_start(f);
	f->catalog = f->super.catalog;
	rows_load(f);
}

static void fixture_shut(struct fixture *f)
{
	f->ns = nodes_free_cache(f->ns);
	f->pf = pagefile_close(f->pf);
	f->hot_dropped = f->n_hot;
}

static struct fixture *fixture_new(void)
{
	static const struct super first = { .next_ino = 2 };
	struct fixture *f = calloc(1, sizeof(*f));

	ck_assert(f);
	f->rng = rng_seeded(suite_seed());
	ck_ok(keys_init_library());
	ck_ok(keys_for_test(CIPHER_NONE, &f->keys));
	ck_ok(io_sim_new(suite_seed(), &f->io));
	ck_ok(pagefile_create(f->io, f->keys, &first));
	fixture_open(f);
	return f;
}

static void fixture_free(struct fixture *f)
{
	fixture_shut(f);
	keys_free(f->keys);
	io_free(f->io);
	free(f);
}

/* --- values --- */

static struct extent value_hot(struct fixture *f, uint64_t value)
{
	ck_assert_uint_lt(f->n_hot, HOT_MAX);
	f->hot[f->n_hot] = value;
	return extent_hot(f->n_hot++, 0, 1);
}

static uint64_t value_of(const struct fixture *f, const struct extent *e)
{
	switch (extent_kind(e)) {
	case EXTENT_HOT:
		ck_assert_msg(extent_hot_block(e) >= f->hot_dropped, "a hot extent was not patched");
		return f->hot[extent_hot_block(e)];
	case EXTENT_CHUNK:
		return extent_pack(e);
	default:
		return 0;
	}
}

static int patch_extent(void *arg, struct extent *e)
{
	struct fixture *f = arg;

	if (extent_kind(e) == EXTENT_HOT && extent_hot_block(e) < f->hot_frozen)
		*e = extent_chunk(value_of(f, e), 0, 0, 1);
	return 0;
}

/* --- operations --- */

/* Brings the path to key in: 1 when it is all there, 0 when it ends before. */
static int path_get(struct fixture *f, unsigned t, unsigned key, const struct leaf **ret)
{
	struct noderef slot = f->tree[t].root;
	unsigned div = FAN * FAN;
	const uint8_t *image;
	int r;

	for (unsigned level = 2; level > 0; level--, div /= FAN) {
		if (noderef_is_none(&slot))
			return 0;
		r = nodes_get(f->ns, &slot, &image);
		if (r < 0)
			return r;
		slot = ((const struct inner *)(const void *)image)->child[key / div % FAN];
	}
	if (noderef_is_none(&slot))
		return 0;
	r = nodes_get(f->ns, &slot, &image);
	if (r < 0)
		return r;
	*ret = (const struct leaf *)(const void *)image;
	return 1;
}

static int value_get(struct fixture *f, unsigned t, unsigned key, uint64_t *ret)
{
	const struct leaf *l = NULL;
	int r = path_get(f, t, key, &l);

	if (r < 0)
		return r;
	*ret = r ? value_of(f, &l->ext[key % FAN]) : 0;
	return 0;
}

static uint8_t *node_own(struct fixture *f, unsigned t, struct noderef *slot,
			 enum node_kind kind, unsigned level)
{
	uint8_t *image;

	/* Reserved and brought in: can't fail. */
	if (noderef_is_none(slot))
		ck_ok(nodes_make(f->ns, kind, (uint8_t)level, slot, &image));
	else
		ck_ok(nodes_edit(f->ns, slot, le64_get(f->tree[t].shared), &image));
	return image;
}

static int value_set(struct fixture *f, unsigned t, unsigned key, uint64_t value)
{
	struct noderef *slot = &f->tree[t].root;
	const struct leaf *seen;
	struct inner *in;
	struct leaf *l;
	int r;

	r = path_get(f, t, key, &seen);
	if (r < 0)
		return r;
	ck_ok(nodes_reserve(f->ns, 3));
	in = (struct inner *)(void *)node_own(f, t, slot, KIND_INNER, 2);
	slot = &in->child[key / (FAN * FAN)];
	in = (struct inner *)(void *)node_own(f, t, slot, KIND_INNER, 1);
	slot = &in->child[key / FAN % FAN];
	l = (struct leaf *)(void *)node_own(f, t, slot, KIND_LEAF, 0);
	l->ext[key % FAN] = value ? value_hot(f, value) : extent_hole(0);
	f->live.value[t][key] = value;
	return 0;
}

/* Discards what is below and at *slot. */
static void subtree_drop(struct fixture *f, unsigned t, struct noderef *slot, unsigned level)
{
	uint64_t shared = le64_get(f->tree[t].shared);
	const uint8_t *image;
	struct inner in;

	if (noderef_is_none(slot))
		return;
	if (level > 0) {
		ck_ok(nodes_get(f->ns, slot, &image));
		memcpy(&in, image, sizeof(in));
		for (unsigned i = 0; i < FAN; i++)
			subtree_drop(f, t, &in.child[i], level - 1);
	}
	nodes_discard(f->ns, slot, shared);
}

static void tree_drop(struct fixture *f, unsigned t)
{
	subtree_drop(f, t, &f->tree[t].root, 2);
	memset(f->live.value[t], 0, sizeof(f->live.value[t]));
}

/* Moves the subtree of key in tree t over to another place: addresses wander. */
static void subtree_move(struct fixture *f, unsigned t, unsigned from, unsigned to)
{
	struct noderef *root = &f->tree[t].root;
	struct noderef moved;
	struct inner *in;

	if (noderef_is_none(root) || from == to)
		return;
	in = (struct inner *)(void *)node_own(f, t, root, KIND_INNER, 2);
	subtree_drop(f, t, &in->child[to], 1);
	moved = in->child[from];
	in->child[from] = NODEREF_NONE;
	in->child[to] = moved;
	memcpy(&f->live.value[t][to * FAN * FAN], &f->live.value[t][from * FAN * FAN],
	       FAN * FAN * sizeof(uint64_t));
	memset(&f->live.value[t][from * FAN * FAN], 0, FAN * FAN * sizeof(uint64_t));
}

static void tree_clone(struct fixture *f, unsigned from, unsigned to)
{
	if (from == to)
		return;
	tree_drop(f, to);
	f->tree[from].shared = le64_put(nodes_share(f->ns));
	f->tree[to] = f->tree[from];
	memcpy(f->live.value[to], f->live.value[from], sizeof(f->live.value[to]));
}

static void rows_flush(struct fixture *f)
{
	uint8_t *image;
	struct rows *rows;

	if (noderef_is_none(&f->catalog))
		ck_ok(nodes_make(f->ns, KIND_ROWS, 0, &f->catalog, &image));
	else
		ck_ok(nodes_edit(f->ns, &f->catalog, 0, &image));
	rows = (struct rows *)(void *)image;
	memcpy(rows->tree, f->tree, sizeof(rows->tree));
	f->live.mark = 1 + rng_below(&f->rng, 1000);
	rows->mark = value_hot(f, f->live.mark);
}

static void op_random(struct fixture *f)
{
	unsigned t = (unsigned)rng_below(&f->rng, TREES);
	unsigned key = (unsigned)rng_below(&f->rng, KEYS);
	uint64_t value, dice = rng_below(&f->rng, 200);

	if (dice == 0) {
		tree_drop(f, t);
	} else if (dice == 1 && f->clones) {
		tree_clone(f, t, (unsigned)rng_below(&f->rng, TREES));
	} else if (dice < 8) {
		subtree_move(f, t, (unsigned)rng_below(&f->rng, FAN),
			     (unsigned)rng_below(&f->rng, FAN));
	} else if (dice < 11) {
		rows_flush(f);
	} else if (dice < 60) {
		ck_ok(value_get(f, t, key, &value));
		ck_assert_uint_eq(value, f->live.value[t][key]);
	} else {
		ck_ok(value_set(f, t, key, rng_below(&f->rng, 1u << 30)));
	}
	nodes_trim(f->ns);
}

static void ops_random(struct fixture *f, unsigned most)
{
	for (uint64_t n = rng_below(&f->rng, most + 1); n > 0; n--)
		op_random(f);
}

static void check_all(struct fixture *f, const struct model *m)
{
	const uint8_t *image;
	uint64_t value;

	for (unsigned t = 0; t < TREES; t++)
		for (unsigned key = 0; key < KEYS; key++) {
			ck_ok(value_get(f, t, key, &value));
			ck_assert_uint_eq(value, m->value[t][key]);
		}
	if (noderef_is_none(&f->catalog))
		return;
	ck_ok(nodes_get(f->ns, &f->catalog, &image));
	ck_assert_uint_eq(value_of(f, &((const struct rows *)(const void *)image)->mark),
			  m->mark);
}

/* --- the checkpoint --- */

static int pack_extent(void *arg, struct extent *e)
{
	struct fixture *f = arg;

	f->packed++;
	/* Edits that happen while the frozen tree is written. */
	for (unsigned n = f->edits_while_packing; n > 0; n--)
		op_random(f);
	if (extent_kind(e) == EXTENT_HOT) {
		ck_assert_uint_lt(extent_hot_block(e), f->hot_frozen);
		*e = extent_chunk(value_of(f, e), 0, 0, 1);
	}
	return 0;
}

static void checkpoint_freeze(struct fixture *f, struct super *ret)
{
	rows_flush(f);
	*ret = f->super;
	ret->epoch = nodes_freeze(f->ns);
	f->frozen = f->live;
	f->hot_frozen = f->n_hot;
	ret->catalog = f->catalog;
}

static void give_back(void *arg, uint64_t page)
{
	pagefile_give_back(arg, page);
}

static int checkpoint_write(struct fixture *f, struct super *s)
{
	struct nodes_sink sink = { f, pack_extent };
	int r;

	r = nodes_write_out(f->ns, &s->catalog, &sink, &s->catalog);
	if (r == 0) {
		nodes_take_freed(f->ns, give_back, f->pf);
		r = pagefile_commit(f->pf, s);
	}
	if (r < 0) {
		pagefile_abort(f->pf);
		nodes_write_abort(f->ns);
		return r;
	}
	f->super = *s;
	f->durable = f->frozen;
	return 0;
}

static void checkpoint_finish(struct fixture *f)
{
	int r;

	do {
		r = nodes_finish(f->ns, patch_extent, f,
				 1 + (unsigned)rng_below(&f->rng, 20));
		ck_ok(r);
		/* The slots outside of nodes: before the last call, or right after it. */
		for (unsigned t = 0; t < TREES; t++)
			nodes_patch(f->ns, &f->tree[t].root);
		nodes_patch(f->ns, &f->catalog);
		if (r)
			ops_random(f, 12);
	} while (r);
	f->hot_dropped = f->hot_frozen;
	nodes_trim(f->ns);
}

static int checkpoint(struct fixture *f)
{
	struct super s;
	int r;

	checkpoint_freeze(f, &s);
	ops_random(f, 40);
	r = checkpoint_write(f, &s);
	if (r < 0)
		return r;
	ops_random(f, 20);
	checkpoint_finish(f);
	return 0;
}

/* --- what a sweep would do --- */

static int mark_slot(void *arg, struct noderef *slot);

struct marks {
	struct fixture *f;
	uint8_t bits[MARK_BITS / 8];
	uint64_t page[MARK_BITS];
	unsigned n;
};

static int mark_slot(void *arg, struct noderef *slot)
{
	struct marks *m = arg;
	uint64_t page = le64_get(slot->at);
	uint8_t image[PAGE_PAYLOAD];
	struct node_head *head = (struct node_head *)(void *)image;

	ck_assert(!noderef_in_memory(slot));
	ck_assert_uint_lt(page, MARK_BITS);
	if (m->bits[page / 8] >> page % 8 & 1)
		return 0;
	m->bits[page / 8] = (uint8_t)(m->bits[page / 8] | 1u << page % 8);
	m->page[m->n++] = page;
	ck_ok(pagefile_read(m->f->pf, slot, image));
	ck_assert_uint_eq(le64_get(head->birth), le64_get(slot->birth));
	if (head->kind == KIND_INNER)
		return inner_each_child(image, mark_slot, m);
	if (head->kind == KIND_ROWS)
		return rows_each_child(image, mark_slot, m);
	return 0;
}

static struct marks *marks_new(struct fixture *f)
{
	struct marks *m = calloc(1, sizeof(*m));

	ck_assert(m);
	m->f = f;
	if (!noderef_is_none(&f->super.catalog))
		mark_slot(m, &f->super.catalog);
	return m;
}

static uint64_t leaked_pages(struct fixture *f)
{
	struct marks *m = marks_new(f);
	uint64_t leaked;

	ck_ok(pagefile_check_bitmap(f->pf, m->bits, MARK_BITS, &leaked));
	free(m);
	return leaked;
}

static void sweep(struct fixture *f)
{
	struct marks *m = marks_new(f);

	ck_ok(pagefile_adopt(f->pf, m->bits, MARK_BITS));
	free(m);
}

/* --- tests --- */

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
			       1 + rng_below(&f->rng, rng_below(&f->rng, 2) ? 3 : 60), EIO,
			       false);
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

START_TEST(snapshot_epoch_keeps_every_page_of_its_tree)
{
	struct fixture *f = fixture_new();
	struct nodes_opts opts;
	struct marks *before;
	struct noderef old;
	struct model kept;

	for (unsigned key = 0; key < KEYS; key++)
		ck_ok(value_set(f, 0, key, 1 + key));
	ck_ok(checkpoint(f));
	ck_ok(checkpoint(f));
	before = marks_new(f);
	old = f->super.catalog;
	kept = f->durable;

	nodes_free_cache(f->ns);
	opts = (struct nodes_opts){ .pf = f->pf, .cache_bytes = 64 * PAGE_BYTES,
				    .epoch = f->super.epoch, .snap_epoch = f->super.epoch };
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
	free(before);
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
		r = nodes_finish(f->ns, patch_extent, f, 3);
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
			if (!noderef_is_none(&((const struct inner *)(const void *)disk)->child[i]))
				slot = ((const struct inner *)(const void *)disk)->child[i];
	}
	nodes_get_stats(f->ns, &stats);
	ck_assert_uint_eq(stats.misses, 0);
	fixture_free(f);
}
END_TEST

START_TEST(flip_fails_exactly_the_reads_through_its_page)
{
	struct fixture *f = fixture_new();
	struct marks *m;

	for (unsigned key = 0; key < KEYS; key++)
		ck_ok(value_set(f, 0, key, 1 + key));
	ck_ok(checkpoint(f));
	ck_ok(checkpoint(f));
	f->live = f->durable;
	m = marks_new(f);
	/* 1 of rows, then of tree 0: 1 + 8 + 64. */
	for (unsigned round = 0; round < 60; round++) {
		unsigned i = (unsigned)rng_below(&f->rng, m->n);
		uint64_t off = m->page[i] * PAGE_BYTES + rng_below(&f->rng, PAGE_BYTES);
		uint64_t value;
		unsigned bad = 0;
		int r;

		fixture_shut(f);
		fixture_open(f);
		ck_ok(io_sim_flip(f->io, PAGEFILE_NAME, off, 5));
		for (unsigned key = 0; key < KEYS; key++) {
			r = value_get(f, 0, key, &value);
			if (r == 0) {
				ck_assert_uint_eq(value, f->durable.value[0][key]);
				continue;
			}
			ck_assert_int_eq(r, -E_CORRUPT);
			bad++;
		}
		/* The rows were read before. Cached pages do not rot. */
		if (m->page[i] == le64_get(f->super.catalog.at) ||
		    m->page[i] == le64_get(f->tree[0].root.at))
			ck_assert(bad == 0 || bad == KEYS);
		else
			ck_assert(bad == FAN || bad == FAN * FAN || bad == 0);
		if (f->tree[1].root.at.b[0] == 0 && m->page[i] != le64_get(f->catalog.at))
			ck_assert_uint_gt(bad, 0);
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

	for (unsigned key = 0; key < KEYS; key++)
		ck_ok(value_set(f, 0, key, 1 + key));
	ck_ok(checkpoint(f));
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

START_TEST(memory_alone_works_without_a_page_file)
{
	struct fixture *f = fixture_new();
	struct noderef root;

	nodes_free_cache(f->ns);
	f->pf = pagefile_close(f->pf);
	nodes_start(f);
	f->clones = true;
	for (unsigned round = 0; round < 20; round++) {
		struct nodes_sink sink = { f, NULL };

		ops_random(f, 200);
		nodes_freeze(f->ns);
		ops_random(f, 50);
		if (!noderef_is_none(&f->catalog))
			ck_ok(nodes_write_out(f->ns, &f->catalog, &sink, &root));
		ck_assert_int_eq(nodes_finish(f->ns, NULL, NULL, 1), 0);
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
	struct nodes_sink sink = { w->f, pack_in_thread };
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
	TCase *t = tcase_create("nodes");

	tcase_set_timeout(t, 100);
	tcase_add_loop_test(t, edits_and_checkpoints_equal_the_model, 0, 2);
	tcase_add_test(t, edits_during_write_out_do_not_reach_the_frozen_tree);
	tcase_add_loop_test(t, failed_checkpoints_lose_nothing, 0, 2);
	tcase_add_test(t, power_cut_leaves_the_old_or_the_new_tree);
	tcase_add_test(t, clone_pages_are_never_reused_by_either_side);
	tcase_add_test(t, snapshot_epoch_keeps_every_page_of_its_tree);
	tcase_add_test(t, image_in_memory_equals_the_one_on_disk);
	tcase_add_test(t, flip_fails_exactly_the_reads_through_its_page);
	tcase_add_test(t, cache_keeps_to_its_budget);
	tcase_add_test(t, memory_alone_works_without_a_page_file);
	tcase_add_test(t, edits_run_beside_a_thread_that_writes_out);
	suite_add_tcase(s, t);
	return s;
}

int main(void)
{
	return suite_main(make_suite());
}
