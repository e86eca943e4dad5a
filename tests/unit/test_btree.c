/* test_btree.c - the catalog's B+tree against a sorted array. */
#include "core/catalog/btree.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/base/err.h"
#include "core/catalog/btree_node.h"
#include "core/io/io_sim.h"
#include "tests/lib/suite.h"

/* --- memory that runs out --- */

static bool no_memory;

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define MEMORY_CAN_END 1
extern void *__libc_malloc(size_t n);

/* Nodes come from malloc(); sanitizers bring their own. */
void *malloc(size_t n)
{
	if (no_memory) {
		errno = ENOMEM;
		return NULL;
	}
	return __libc_malloc(n);
}
#else
#define MEMORY_CAN_END 0
#endif

/* --- the model --- */

struct pair {
	uint16_t key_n, value_n;
	uint8_t key[BTREE_KEY_MAX];
	uint8_t value[BTREE_VALUE_MAX];
};

struct model {
	struct pair **pairs;
	size_t n, cap;
};

static struct span pair_key(const struct pair *p)
{
	return span_of(p->key, p->key_n);
}

static struct span pair_value(const struct pair *p)
{
	return span_of(p->value, p->value_n);
}

static int compare(struct span a, struct span b)
{
	for (size_t i = 0; i < a.n && i < b.n; i++)
		if (a.p[i] != b.p[i])
			return a.p[i] < b.p[i] ? -1 : 1;
	return a.n < b.n ? -1 : a.n > b.n;
}

/* First pair with key >= key. */
static size_t model_find(const struct model *m, struct span key, bool *ret_found)
{
	size_t lo = 0, hi = m->n;

	*ret_found = false;
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		int c = compare(pair_key(m->pairs[mid]), key);

		if (c == 0)
			*ret_found = true;
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static void model_put(struct model *m, struct span key, struct span value)
{
	bool found;
	size_t i = model_find(m, key, &found);
	struct pair *p;

	if (!found) {
		if (m->n == m->cap) {
			m->cap = m->cap * 2 + 64;
			m->pairs = reallocarray(m->pairs, m->cap, sizeof(*m->pairs));
			ck_assert_ptr_nonnull(m->pairs);
		}
		memmove(m->pairs + i + 1, m->pairs + i, (m->n - i) * sizeof(*m->pairs));
		m->pairs[i] = malloc(sizeof(*p));
		ck_assert_ptr_nonnull(m->pairs[i]);
		m->n++;
	}
	p = m->pairs[i];
	p->key_n = (uint16_t)key.n;
	p->value_n = (uint16_t)value.n;
	if (key.n)
		memcpy(p->key, key.p, key.n);
	if (value.n)
		memcpy(p->value, value.p, value.n);
}

static void model_del(struct model *m, size_t i)
{
	free(m->pairs[i]);
	memmove(m->pairs + i, m->pairs + i + 1, (m->n - i - 1) * sizeof(*m->pairs));
	m->n--;
}

static void model_release(struct model *m)
{
	for (size_t i = 0; i < m->n; i++)
		free(m->pairs[i]);
	free(m->pairs);
	*m = (struct model) { 0 };
}

/* --- fixture --- */

struct fixture {
	struct btree bt;
	struct model model;
	struct rng rng;
};

static int nothing_in_values(uint8_t *image, node_child_fn fn, void *arg)
{
	(void)image, (void)fn, (void)arg;
	return 0;
}

static void types_register(struct nodes *ns)
{
	static const struct node_type leaf = {
		.each_child = nothing_in_values,
		.check = btree_check_image,
	};
	static const struct node_type inner = {
		.each_child = btree_inner_each_child,
		.check = btree_check_image,
	};

	nodes_set_type(ns, NODE_BTREE_LEAF, &leaf);
	nodes_set_type(ns, NODE_BTREE_INNER, &inner);
}

static struct fixture fixture_new(uint64_t salt)
{
	struct nodes_opts opts = { .cache_bytes = 64 * MIB };
	struct fixture f = { .rng = rng_seeded(suite_seed() ^ salt) };

	ck_ok(nodes_new_cache(&opts, &f.bt.nodes));
	types_register(f.bt.nodes);
	return f;
}

static void fixture_release(struct fixture *f)
{
	nodes_free_cache(f->bt.nodes);
	model_release(&f->model);
}

#define ck_span_eq(a, b)                                                                 \
	do {                                                                             \
		struct span ck_a = (a), ck_b = (b);                                      \
		ck_assert_uint_eq(ck_a.n, ck_b.n);                                       \
		ck_assert(ck_a.n == 0 || memcmp(ck_a.p, ck_b.p, ck_a.n) == 0);           \
	} while (0)

static void assert_is(struct btree *bt, const struct model *m)
{
	struct btree_cursor c;
	struct span key, value;

	ck_assert_msg(btree_check(bt) == 0, "%s", err_detail());
	ck_ok(btree_seek(bt, span_of(NULL, 0), &c));
	for (size_t i = 0; i < m->n; i++) {
		ck_assert_int_eq(btree_next(&c, &key, &value), 1);
		ck_span_eq(key, pair_key(m->pairs[i]));
		ck_span_eq(value, pair_value(m->pairs[i]));
	}
	ck_assert_int_eq(btree_next(&c, &key, &value), 0);
	ck_assert_int_eq(btree_next(&c, &key, &value), 0);
}

static struct span number_key(char kind, uint64_t n, uint8_t out[9])
{
	out[0] = (uint8_t)kind;
	be64_store(out + 1, n);
	return span_of(out, 9);
}

/* Keys as the catalog has them, and worse: short ones, long ones that differ late, ones
 * that begin others. A small space, so that they meet again. */
static struct span random_key(struct rng *r, uint8_t out[BTREE_KEY_MAX])
{
	size_t n;

	switch (rng_below(r, 5)) {
	case 0:
		return number_key("DIX"[rng_below(r, 3)], rng_below(r, 2000), out);
	case 1:
		n = rng_below(r, 6);
		for (size_t i = 0; i < n; i++)
			out[i] = (uint8_t)rng_below(r, 4);
		return span_of(out, n);
	case 2:
		n = BTREE_KEY_MAX - rng_below(r, 3);
		memset(out, 'I', n);
		be64_store(out + n - 8, rng_below(r, 500));
		return span_of(out, n);
	case 3:
		n = rng_below(r, BTREE_KEY_MAX + 1);
		memset(out, 'X', n);
		return span_of(out, n);
	default:
		n = rng_below(r, 12);
		rng_fill(r, out, n);
		return span_of(out, n);
	}
}

static struct span random_value(struct rng *r, uint8_t out[BTREE_VALUE_MAX])
{
	static const size_t usual[] = { 0, 9, 32, 192, 999, 1000, BTREE_VALUE_MAX };
	size_t n = rng_below(r, 3) ? usual[rng_below(r, ARRAY_LEN(usual))]
				   : rng_below(r, BTREE_VALUE_MAX + 1);

	rng_fill(r, out, n);
	return span_of(out, n);
}

static void put_random(struct fixture *f)
{
	uint8_t key_bytes[BTREE_KEY_MAX], value_bytes[BTREE_VALUE_MAX];
	struct span key = random_key(&f->rng, key_bytes);
	struct span value = random_value(&f->rng, value_bytes);

	ck_ok(btree_put(&f->bt, key, value));
	model_put(&f->model, key, value);
}

static void del_random(struct fixture *f)
{
	uint8_t bytes[BTREE_KEY_MAX];
	struct span key;
	bool found;
	size_t i;

	if (f->model.n && rng_below(&f->rng, 8)) {
		i = rng_below(&f->rng, f->model.n);
		key = pair_key(f->model.pairs[i]);
		ck_ok(btree_del(&f->bt, key));
		model_del(&f->model, i);
		return;
	}
	key = random_key(&f->rng, bytes);
	i = model_find(&f->model, key, &found);
	ck_assert_int_eq(btree_del(&f->bt, key), found ? 0 : -ENOENT);
	if (found)
		model_del(&f->model, i);
}

static void read_random(struct fixture *f)
{
	uint8_t bytes[BTREE_KEY_MAX];
	struct span key = random_key(&f->rng, bytes), got_key, got_value;
	struct btree_cursor c;
	bool found;
	size_t i = model_find(&f->model, key, &found);

	ck_assert_int_eq(btree_get(&f->bt, key, &got_value), found ? 0 : -ENOENT);
	if (found)
		ck_span_eq(got_value, pair_value(f->model.pairs[i]));
	ck_ok(btree_seek(&f->bt, key, &c));
	for (size_t k = 0; k < 3 && i < f->model.n; k++, i++) {
		ck_assert_int_eq(btree_next(&c, &got_key, &got_value), 1);
		ck_span_eq(got_key, pair_key(f->model.pairs[i]));
		ck_span_eq(got_value, pair_value(f->model.pairs[i]));
	}
	if (i == f->model.n)
		ck_assert_int_eq(btree_next(&c, &got_key, &got_value), 0);
}

static void step_random(struct fixture *f, unsigned puts_of_100)
{
	uint64_t dice = rng_below(&f->rng, 100);

	if (rng_below(&f->rng, 4) == 0)
		read_random(f);
	else if (dice < puts_of_100)
		put_random(f);
	else
		del_random(f);
}

/* --- tests --- */

START_TEST(random_edits_equal_the_model)
{
	static const unsigned puts_of_100[] = { 90, 60, 45, 10, 55, 20 };
	struct fixture f = fixture_new(1);

	for (unsigned step = 0; step < 240000; step++) {
		step_random(&f, puts_of_100[step / 8000 % ARRAY_LEN(puts_of_100)]);
		if (step % 500 == 0)
			ck_assert_msg(btree_check(&f.bt) == 0, "%s", err_detail());
		if (step % 5000 == 0) {
			nodes_trim(f.bt.nodes);
			assert_is(&f.bt, &f.model);
		}
	}
	assert_is(&f.bt, &f.model);
	fixture_release(&f);
}
END_TEST

START_TEST(removing_all_leaves_no_node)
{
	struct fixture f = fixture_new(2);

	for (unsigned round = 0; round < 3; round++) {
		while (f.model.n < 1500)
			put_random(&f);
		while (f.model.n > 0) {
			size_t i = round == 0	? 0
				   : round == 1 ? f.model.n - 1
						: rng_below(&f.rng, f.model.n);

			ck_ok(btree_del(&f.bt, pair_key(f.model.pairs[i])));
			model_del(&f.model, i);
			if (f.model.n % 50 == 0)
				assert_is(&f.bt, &f.model);
		}
		ck_assert(noderef_is_none(&f.bt.root));
	}
	fixture_release(&f);
}
END_TEST

START_TEST(frozen_tree_stays_while_the_live_one_changes)
{
	struct fixture f = fixture_new(3);

	for (unsigned round = 0; round < 8; round++) {
		struct model then = { 0 };
		struct btree frozen;

		for (unsigned i = 0; i < 1000; i++)
			step_random(&f, 70);
		for (size_t i = 0; i < f.model.n; i++)
			model_put(&then, pair_key(f.model.pairs[i]),
				  pair_value(f.model.pairs[i]));
		nodes_freeze(f.bt.nodes);
		frozen = f.bt;
		for (unsigned i = 0; i < 1500; i++)
			step_random(&f, round % 2 ? 20 : 60);
		assert_is(&f.bt, &f.model);
		assert_is(&frozen, &then);
		nodes_write_abort(f.bt.nodes);
		nodes_trim(f.bt.nodes);
		model_release(&then);
	}
	fixture_release(&f);
}
END_TEST

struct fill {
	uint64_t nodes, bytes;
};

static void add_fill(struct btree *bt, const struct noderef *ref, struct fill *fill)
{
	const uint8_t *image;

	ck_ok(nodes_get(bt->nodes, ref, &image));
	if (bnode_level(image) == 0) {
		fill->nodes++;
		fill->bytes += bnode_full(image);
	}
	for (unsigned i = 0; bnode_level(image) > 0 && i < bnode_n(image); i++)
		add_fill(bt, bnode_child(image, i), fill);
}

START_TEST(rising_inserts_leave_leaves_full)
{
	struct fixture f = fixture_new(4);
	uint8_t key[9], value[192] = { 0 };
	struct fill fill = { 0 };

	/* Rows behind them, as orphans and xattrs are behind inodes. */
	for (uint64_t i = 0; i < 100; i++)
		ck_ok(btree_put(&f.bt, number_key('X', i * 7, key), span_of(value, 100)));
	for (uint64_t i = 0; i < 20000; i++)
		ck_ok(btree_put(&f.bt, number_key('I', i, key), span_of(value, 192)));
	ck_ok(btree_check(&f.bt));
	add_fill(&f.bt, &f.bt.root, &fill);
	ck_assert_msg(fill.bytes > fill.nodes * BTREE_ROOM * 92 / 100,
		      "%u nodes hold %u bytes", (unsigned)fill.nodes,
		      (unsigned)fill.bytes);
	fixture_release(&f);
}
END_TEST

START_TEST(nodes_merge_when_rows_go)
{
	struct fixture f = fixture_new(5);
	uint8_t key[9], value[192] = { 0 };
	struct fill fill = { 0 };

	for (uint64_t i = 0; i < 20000; i++)
		ck_ok(btree_put(&f.bt, number_key('I', i, key), span_of(value, 192)));
	for (uint64_t i = 0; i < 20000; i++)
		if (i % 20)
			ck_ok(btree_del(&f.bt, number_key('I', i, key)));
	ck_ok(btree_check(&f.bt));
	add_fill(&f.bt, &f.bt.root, &fill);
	ck_assert_uint_lt(fill.nodes, 1000 * 210 / (BTREE_ROOM / 4));
	fixture_release(&f);
}
END_TEST

START_TEST(limits_are_refused)
{
	struct fixture f = fixture_new(6);
	uint8_t bytes[BTREE_VALUE_MAX + 1] = { 0 };
	struct span key = span_of(bytes, BTREE_KEY_MAX), value;

	ck_assert_int_eq(btree_get(&f.bt, key, &value), -ENOENT);
	ck_assert_int_eq(btree_del(&f.bt, key), -ENOENT);
	ck_assert_int_eq(btree_put(&f.bt, span_of(bytes, BTREE_KEY_MAX + 1), key),
			 -E2BIG);
	ck_assert_int_eq(btree_put(&f.bt, key, span_of(bytes, sizeof(bytes))), -E2BIG);
	ck_ok(btree_put(&f.bt, key, span_of(bytes, BTREE_VALUE_MAX)));
	ck_ok(btree_get(&f.bt, key, &value));
	ck_assert_uint_eq(value.n, BTREE_VALUE_MAX);
	fixture_release(&f);
}
END_TEST

START_TEST(edit_without_memory_changes_nothing)
{
	struct fixture f = fixture_new(7);
	unsigned failed = 0;

	while (f.model.n < 800)
		put_random(&f);
	for (unsigned round = 0; round < 60; round++) {
		nodes_freeze(f.bt.nodes); /* every edit copies again */
		for (unsigned i = 0; i < 40; i++) {
			uint8_t key_bytes[BTREE_KEY_MAX], value_bytes[BTREE_VALUE_MAX];
			struct span key = random_key(&f.rng, key_bytes);
			struct span value = random_value(&f.rng, value_bytes);
			bool put = rng_below(&f.rng, 2), found;
			size_t at = model_find(&f.model, key, &found);
			int r;

			no_memory = rng_below(&f.rng, 3);
			r = put ? btree_put(&f.bt, key, value) : btree_del(&f.bt, key);
			no_memory = false;
			if (r == -ENOMEM)
				failed++;
			else if (put)
				model_put(&f.model, key, value);
			else if (found)
				model_del(&f.model, at);
			ck_assert(r == -ENOMEM || r == (put || found ? 0 : -ENOENT));
		}
		assert_is(&f.bt, &f.model);
		nodes_write_abort(f.bt.nodes);
	}
	if (MEMORY_CAN_END)
		ck_assert_uint_gt(failed, 20);
	fixture_release(&f);
}
END_TEST

/* A value of 1000 bytes; what the key had before, in the model too, is replaced. */
static void put_part(struct fixture *f, struct span key)
{
	uint8_t bytes[1000];
	int r;

	rng_fill(&f->rng, bytes, sizeof(bytes));
	no_memory = true;
	r = btree_put(&f->bt, key, span_of(bytes, sizeof(bytes)));
	no_memory = false;
	ck_ok(r);
	model_put(&f->model, key, span_of(bytes, sizeof(bytes)));
}

static void cut_part(struct fixture *f, struct span key)
{
	bool found;
	size_t i = model_find(&f->model, key, &found);
	int r;

	no_memory = true;
	r = btree_del(&f->bt, key);
	no_memory = false;
	ck_assert_int_eq(r, found ? 0 : -ENOENT);
	if (found)
		model_del(&f->model, i);
}

START_TEST(reserved_edits_need_no_memory)
{
	for (unsigned round = 0; round < 100; round++) {
		/* A new one each time, so that no node is left over from before. */
		struct fixture f = fixture_new(8 + round * 256);
		unsigned n = 1 + (unsigned)rng_below(&f.rng, 66);
		unsigned puts = (unsigned)rng_below(&f.rng, n + 1);
		uint64_t base = rng_below(&f.rng, 20) * 100;
		uint8_t from[9], key[9];

		for (unsigned i = 0; i < 700; i++)
			step_random(&f, 75);
		nodes_freeze(f.bt.nodes); /* all is copied again */
		ck_ok(btree_reserve(&f.bt, number_key('X', base, from),
				    number_key('X', base + 255, key), n));
		for (unsigned i = 0; i < puts; i++)
			put_part(&f, number_key('X', base + i, key));
		for (unsigned i = puts; i < n; i++)
			cut_part(&f, number_key('X', base + i, key));
		assert_is(&f.bt, &f.model);
		fixture_release(&f);
	}
}
END_TEST

/* --- on a disk --- */

struct disk {
	struct io *io;
	struct keys *keys;
	struct pagefile *pf;
	struct super super;
};

/* A fixture whose clean nodes go with every nodes_trim(). */
static struct fixture fixture_on_disk(uint64_t salt, struct disk *disk)
{
	static const struct super first = { .next_ino = 2 };
	struct fixture f = { .rng = rng_seeded(suite_seed() ^ salt) };
	struct nodes_opts opts = { 0 };

	ck_ok(keys_init_library());
	ck_ok(keys_for_test(CIPHER_NONE, &disk->keys));
	ck_ok(io_sim_new(suite_seed(), &disk->io));
	ck_ok(pagefile_create(disk->io, disk->keys, &first));
	ck_ok(pagefile_open(disk->io, disk->keys, false, &disk->super, &disk->pf));
	opts.pf = disk->pf;
	opts.epoch = disk->super.epoch;
	ck_ok(nodes_new_cache(&opts, &f.bt.nodes));
	types_register(f.bt.nodes);
	return f;
}

static void disk_release(struct disk *disk)
{
	pagefile_close(disk->pf);
	keys_free(disk->keys);
	io_free(disk->io);
}

static int no_extent(void *arg, struct extent *slot)
{
	(void)arg, (void)slot;
	return 0;
}

static void give_back(void *arg, uint64_t page)
{
	pagefile_give_back(arg, page);
}

/* With some edits in the middle of it. */
static void checkpoint(struct fixture *f, struct disk *disk)
{
	struct nodes_sink sink = { .pack_extent = no_extent };
	struct btree frozen;
	int r;

	disk->super.epoch = nodes_freeze(f->bt.nodes);
	frozen = f->bt;
	for (unsigned i = 0; i < 50; i++)
		step_random(f, 50);
	disk->super.catalog = NODEREF_NONE;
	if (!noderef_is_none(&frozen.root))
		ck_ok(nodes_write_out(f->bt.nodes, &frozen.root, &sink,
				      &disk->super.catalog));
	nodes_take_freed(f->bt.nodes, give_back, disk->pf);
	ck_ok(pagefile_commit(disk->pf, &disk->super));
	do {
		r = nodes_finish(f->bt.nodes,
				 &(struct nodes_patcher) { .extent = no_extent }, 10);
		ck_ok(r);
		if (!noderef_is_none(&f->bt.root))
			nodes_patch(f->bt.nodes, &f->bt.root);
	} while (r);
	nodes_trim(f->bt.nodes);
}

/* An edit or a search while reads of the disk fail: done, or nothing changed. */
static unsigned step_failing(struct fixture *f, struct disk *disk)
{
	uint8_t key_bytes[BTREE_KEY_MAX], value_bytes[BTREE_VALUE_MAX];
	struct span key = random_key(&f->rng, key_bytes);
	struct span value = random_value(&f->rng, value_bytes);
	bool put = rng_below(&f->rng, 3) == 0, found;
	size_t at;
	int r;

	if (!put && f->model.n && rng_below(&f->rng, 4))
		key = pair_key(f->model.pairs[rng_below(&f->rng, f->model.n)]);
	at = model_find(&f->model, key, &found);
	io_sim_fail_at(disk->io, IO_SIM_PREAD, 1 + rng_below(&f->rng, 8), EIO,
		       rng_below(&f->rng, 2));
	r = put ? btree_put(&f->bt, key, value) : btree_del(&f->bt, key);
	io_sim_fail_at(disk->io, IO_SIM_PREAD, 0, EIO, false);
	if (r == -EIO)
		return 1;
	ck_assert_int_eq(r, put || found ? 0 : -ENOENT);
	if (put)
		model_put(&f->model, key, value);
	else if (found)
		model_del(&f->model, at);
	return 0;
}

START_TEST(edits_over_failing_reads_change_all_or_nothing)
{
	struct disk disk;
	struct fixture f = fixture_on_disk(10, &disk);
	unsigned failed = 0;

	for (unsigned round = 0; round < 40; round++) {
		for (unsigned i = 0; i < 300; i++)
			step_random(&f, round < 20 ? 70 : 30);
		checkpoint(&f, &disk);
		for (unsigned i = 0; i < 60; i++) {
			failed += step_failing(&f, &disk);
			nodes_trim(f.bt.nodes);
		}
		assert_is(&f.bt, &f.model);
	}
	ck_assert_uint_gt(failed, 50);
	fixture_release(&f);
	disk_release(&disk);
}
END_TEST

START_TEST(a_tree_opens_again_as_it_was_frozen)
{
	struct disk disk;
	struct fixture f = fixture_on_disk(11, &disk);

	for (unsigned round = 0; round < 20; round++) {
		struct nodes_opts opts = { .pf = disk.pf };
		struct model then = { 0 };
		struct btree again;

		for (unsigned i = 0; i < 500; i++)
			step_random(&f, round % 4 ? 60 : 20);
		for (size_t i = 0; i < f.model.n; i++)
			model_put(&then, pair_key(f.model.pairs[i]),
				  pair_value(f.model.pairs[i]));
		checkpoint(&f, &disk);
		opts.epoch = disk.super.epoch;
		ck_ok(nodes_new_cache(&opts, &again.nodes));
		types_register(again.nodes);
		again.root = disk.super.catalog;
		assert_is(&again, &then);
		assert_is(&f.bt, &f.model);
		nodes_free_cache(again.nodes);
		model_release(&then);
	}
	fixture_release(&f);
	disk_release(&disk);
}
END_TEST

/* What comes from the disk may be anything: the check must be safe with it, and what it
 * lets pass must be safe to walk. */
START_TEST(check_of_a_mangled_image_is_safe)
{
	struct fixture f = fixture_new(9);
	unsigned refused = 0;

	for (unsigned round = 0; round < 40; round++) {
		const uint8_t *leaf;
		struct btree_cursor c;

		put_random(&f);
		put_random(&f);
		put_random(&f);
		ck_ok(btree_seek(&f.bt, span_of(NULL, 0), &c));
		leaf = c.path[0].image;
		ck_ok(btree_check_image(leaf));
		for (unsigned i = 0; i < 500; i++) {
			uint8_t image[PAGE_PAYLOAD];
			struct bcell cells[BTREE_CELLS_MAX];
			uint64_t at = rng_below(
				&f.rng, rng_below(&f.rng, 2) ? 100 : PAGE_PAYLOAD);

			memcpy(image, leaf, sizeof(image));
			image[at] = (uint8_t)(image[at] ^ (1 + rng_below(&f.rng, 255)));
			if (btree_check_image(image) == 0)
				bnode_gather(image, cells);
			else
				refused++;
		}
	}
	ck_assert_uint_gt(refused, 1000);
	fixture_release(&f);
}
END_TEST

static Suite *make_suite(void)
{
	Suite *s = suite_create("btree");
	TCase *tc = tcase_create("btree");

	tcase_set_timeout(tc, 100);
	tcase_add_test(tc, random_edits_equal_the_model);
	tcase_add_test(tc, removing_all_leaves_no_node);
	tcase_add_test(tc, frozen_tree_stays_while_the_live_one_changes);
	tcase_add_test(tc, rising_inserts_leave_leaves_full);
	tcase_add_test(tc, nodes_merge_when_rows_go);
	tcase_add_test(tc, limits_are_refused);
	tcase_add_test(tc, edit_without_memory_changes_nothing);
	tcase_add_test(tc, reserved_edits_need_no_memory);
	tcase_add_test(tc, edits_over_failing_reads_change_all_or_nothing);
	tcase_add_test(tc, a_tree_opens_again_as_it_was_frozen);
	tcase_add_test(tc, check_of_a_mangled_image_is_safe);
	suite_add_tcase(s, tc);
	return s;
}

int main(void)
{
	return suite_main(make_suite());
}
