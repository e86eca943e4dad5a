/* nodes_toy.h - a toy store on nodes and its model, for test_nodes.c: TREES trees of KEYS keys
 * each, kept as radix trees of three levels; their roots are rows of one catalog node and, as
 * inodes do, live outside of it between checkpoints. A value is a hot extent (a number that
 * only memory knows) until a checkpoint turns it into a chunk whose pack number is the
 * value. */
#ifndef ROPEFS_TESTS_NODES_TOY_H
#define ROPEFS_TESTS_NODES_TOY_H

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/base/err.h"
#include "core/io/io_sim.h"
#include "core/page/nodes.h"
#include "core/page/page_format.h"
#include "core/rope/extent.h"
#include "tests/lib/suite.h"

#define FAN	  8u
#define KEYS	  (FAN * FAN * FAN)
#define TREES	  4u
#define HOT_MAX	  400000u
#define MARK_BITS 65536u

#define KIND_LEAF  NODE_ROPE_LEAF
#define KIND_INNER NODE_ROPE_INNER
#define KIND_ROWS  NODE_BTREE_LEAF

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
	struct extent mark; /* a node may hold children and extents */
};

struct model {
	uint64_t value[TREES][KEYS]; /* 0: none */
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
	uint64_t hot[HOT_MAX]; /* values; 0: dropped */
	uint64_t n_hot, hot_frozen, hot_dropped;
	bool clones; /* random operations clone trees, too */
	bool quiet; /* no random operations */
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
	memcpy(f->tree, ((const struct rows *)(const void *)image)->tree,
	       sizeof(f->tree));
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
		ck_assert_msg(extent_hot_block(e) >= f->hot_dropped,
			      "a hot extent was not patched");
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
		slot = ((const struct inner *)(const void *)image)
			       ->child[key / div % FAN];
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
static void subtree_drop(struct fixture *f, unsigned t, struct noderef *slot,
			 unsigned level)
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

/* Moves a leaf from one inner node to another: addresses wander. */
static void leaf_move(struct fixture *f, unsigned t, unsigned from, unsigned to)
{
	struct noderef *root = &f->tree[t].root;
	unsigned a = from / FAN, b = to / FAN;
	struct inner *in, *in_a, *in_b;

	if (noderef_is_none(root) || a == b)
		return;
	in = (struct inner *)(void *)node_own(f, t, root, KIND_INNER, 2);
	if (noderef_is_none(&in->child[a]) || noderef_is_none(&in->child[b]))
		return;
	in_a = (struct inner *)(void *)node_own(f, t, &in->child[a], KIND_INNER, 1);
	in_b = (struct inner *)(void *)node_own(f, t, &in->child[b], KIND_INNER, 1);
	subtree_drop(f, t, &in_b->child[to % FAN], 0);
	in_b->child[to % FAN] = in_a->child[from % FAN];
	in_a->child[from % FAN] = NODEREF_NONE;
	memcpy(&f->live.value[t][to * FAN], &f->live.value[t][from * FAN],
	       FAN * sizeof(uint64_t));
	memset(&f->live.value[t][from * FAN], 0, FAN * sizeof(uint64_t));
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
	} else if (dice < 18) {
		leaf_move(f, t, (unsigned)rng_below(&f->rng, FAN * FAN),
			  (unsigned)rng_below(&f->rng, FAN * FAN));
	} else if (dice < 21) {
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
	for (uint64_t n = f->quiet ? 0 : rng_below(&f->rng, most + 1); n > 0; n--)
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
	struct nodes_sink sink = { .arg = f, .pack_extent = pack_extent };
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
		r = nodes_finish(f->ns, &(struct nodes_patcher) { f, patch_extent, NULL },
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

struct marks {
	struct fixture *f;
	uint8_t bits[MARK_BITS / 8];
	uint64_t page[MARK_BITS];
	uint8_t kind[MARK_BITS];
	uint8_t level[MARK_BITS];
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
	ck_ok(pagefile_read(m->f->pf, slot, image));
	m->kind[m->n] = head->kind;
	m->level[m->n] = head->level;
	m->page[m->n++] = page;
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

#endif
