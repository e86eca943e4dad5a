/* test_rope.c - ropes against flat arrays of bytes. Each byte of an extent is a
 * function of its ref and offset, so an array of those bytes is an independent model
 * of a rope. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/base/err.h"
#include "core/page/nodes_priv.h"
#include "core/rope/hot.h"
#include "core/rope/rope.h"
#include "core/rope/rope_format.h"
#include "tests/lib/suite.h"

/* --- malloc that fails on demand (where no sanitizer has its own) --- */

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define CAN_FAIL_MALLOC 1
void *__libc_malloc(size_t n);
void *malloc(size_t n);
static bool malloc_fails;

void *malloc(size_t n)
{
	/* libcheck's own small ones go on */
	return malloc_fails && n > PAGE_PAYLOAD ? NULL : __libc_malloc(n);
}
#endif

/* As ck_assert, but free of its write(2) when all is well: for what runs a million
 * times. */
#define expect(cond)                                                                     \
	do {                                                                             \
		if (!(cond))                                                             \
			ck_abort_msg("%s is false", #cond);                              \
	} while (0)

/* --- the model --- */

#define MODEL_MAX (2u << 20)

struct model {
	uint8_t *b;
	size_t n;
};

static uint8_t byte_of(uint64_t ref, uint64_t off)
{
	uint64_t z = (ref * 0x9e3779b97f4a7c15u) ^ (off * 0xbf58476d1ce4e5b9u);

	return (uint8_t)((z >> 29) ^ (z >> 47) ^ off);
}

static void extent_fill(const struct extent *e, uint8_t *out)
{
	uint64_t n = extent_bytes(e);

	for (uint64_t i = 0; i < n; i++)
		out[i] = extent_kind(e) == EXTENT_HOLE
				 ? 0
				 : byte_of(le64_get(e->ref), le32_get(e->off) + i);
}

static void model_splice(struct model *m, size_t at, size_t del, const struct extent *e,
			 size_t n)
{
	size_t add = 0;

	for (size_t i = 0; i < n; i++)
		add += extent_bytes(&e[i]);
	expect(m->n - del + add <= MODEL_MAX);
	memmove(m->b + at + add, m->b + at + del, m->n - at - del);
	m->n = m->n - del + add;
	for (size_t i = 0; i < n; i++) {
		extent_fill(&e[i], m->b + at);
		at += extent_bytes(&e[i]);
	}
}

/* --- a rope and its model --- */

#define ROPES 4

struct fixture {
	struct nodes *ns;
	struct rope_env env;
	struct rng rng;
	struct rope rope[ROPES];
	struct model model[ROPES];
	uint64_t typing_at[ROPES]; /* where the last insertion ended */
	struct extent typing[ROPES]; /* and its last extent */
	uint64_t next_block;
	uint64_t dropped_bytes;
};

static void count_dropped(void *arg, const struct extent *e)
{
	expect(extent_bytes(e) > 0);
	((struct fixture *)arg)->dropped_bytes += extent_bytes(e);
}

static void fixture_init(struct fixture *f, uint64_t seed)
{
	*f = (struct fixture) { .rng = rng_seeded(seed), .next_block = 1 };
	ck_ok(nodes_new_cache(&(struct nodes_opts) { .cache_bytes = 1 << 20 }, &f->ns));
	rope_register(f->ns);
	f->env = (struct rope_env) { .nodes = f->ns, .dropped = count_dropped, .arg = f };
	for (int i = 0; i < ROPES; i++) {
		f->model[i].b = calloc(1, MODEL_MAX);
		ck_assert_ptr_nonnull(f->model[i].b);
	}
}

static void fixture_release(struct fixture *f)
{
	f->ns = nodes_free_cache(f->ns);
	for (int i = 0; i < ROPES; i++)
		free(f->model[i].b);
}

struct comparing {
	const struct model *m;
	uint64_t expect_at;
	uint64_t wrong;
};

static int compare_extent(void *arg, const struct extent *e, uint64_t at)
{
	struct comparing *c = arg;
	uint64_t n = extent_bytes(e);

	expect(at == c->expect_at);
	expect(at + n <= c->m->n);
	for (uint64_t i = 0; i < n; i++)
		if (c->m->b[at + i] !=
		    (extent_kind(e) == EXTENT_HOLE
			     ? 0
			     : byte_of(le64_get(e->ref), le32_get(e->off) + i)))
			c->wrong++;
	c->expect_at += n;
	return 0;
}

static void compare_range(struct fixture *f, int i, uint64_t at, uint64_t bytes)
{
	struct comparing c = { &f->model[i], at, 0 };

	expect(rope_each(&f->env, &f->rope[i], at, bytes, compare_extent, &c) == 0);
	expect(c.expect_at == at + bytes);
	expect(c.wrong == 0);
}

static void compare_all(struct fixture *f, int i)
{
	int r = rope_check(&f->env, &f->rope[i]);

	ck_assert_msg(r == 0, "rope_check: %s", err_detail());
	ck_assert_uint_eq(rope_bytes(&f->rope[i]), f->model[i].n);
	compare_range(f, i, 0, f->model[i].n);
}

/* --- random edits --- */

static struct extent random_extent(struct fixture *f)
{
	uint32_t len = 1 + (uint32_t)rng_below(&f->rng, 24);
	uint32_t off = (uint32_t)rng_below(&f->rng, 1000);

	switch (rng_below(&f->rng, 8)) {
	case 0:
		return extent_hole(1 + rng_below(&f->rng, 60));
	case 1:
	case 2:
		return extent_chunk(rng_below(&f->rng, 5),
				    (uint32_t)rng_below(&f->rng, 9), off, len);
	default:
		return extent_hot(f->next_block++, off, len);
	}
}

/* The extent that continues e in the same block or chunk. */
static struct extent extent_after(const struct extent *e, uint32_t len)
{
	return (struct extent) { e->ref, le32_put(le32_get(e->off) + le32_get(e->len)),
				 le32_put(len) };
}

static size_t random_extents(struct fixture *f, struct extent *e, size_t max)
{
	size_t n = 1;

	if (rng_below(&f->rng, 4) == 0)
		n += rng_below(&f->rng, rng_below(&f->rng, 20) ? 30 : max);
	for (size_t i = 0; i < n; i++) {
		e[i] = random_extent(f);
		if (i > 0 && extent_kind(&e[i - 1]) != EXTENT_HOLE &&
		    rng_below(&f->rng, 4) == 0)
			e[i] = extent_after(&e[i - 1],
					    1 + (uint32_t)rng_below(&f->rng, 9));
	}
	return n;
}

#define BULK_MAX 3000
static struct extent bulk[BULK_MAX];

static int do_insert(struct fixture *f, int i)
{
	struct model *m = &f->model[i];
	uint64_t at = rng_below(&f->rng, m->n + 1);
	size_t n = random_extents(f, bulk, BULK_MAX);
	int r;

	if (rng_below(&f->rng, 3) == 0 && f->typing_at[i] <= m->n) {
		at = f->typing_at[i];
		if (extent_kind(&f->typing[i]) != EXTENT_HOLE && rng_below(&f->rng, 2))
			bulk[0] = extent_after(&f->typing[i], 3);
	} else if (rng_below(&f->rng, 4) == 0) {
		at = rng_below(&f->rng, 2) ? m->n : 0;
	}
	r = rope_insert(&f->env, &f->rope[i], at, bulk, n);
	if (r < 0)
		return r;
	model_splice(m, at, 0, bulk, n);
	for (size_t k = 0; k < n; k++)
		at += extent_bytes(&bulk[k]);
	f->typing_at[i] = at;
	f->typing[i] = bulk[n - 1];
	return 0;
}

static int do_remove(struct fixture *f, int i)
{
	struct model *m = &f->model[i];
	uint64_t at = rng_below(&f->rng, m->n + 1);
	uint64_t left = m->n - at;
	uint64_t n = rng_below(&f->rng, left + 1);
	uint64_t few = rng_below(&f->rng, 200);
	int r;

	if (rng_below(&f->rng, 8))
		n = MIN(n, few);
	else if (rng_below(&f->rng, 50) == 0)
		at = 0, n = m->n;
	r = rope_remove(&f->env, &f->rope[i], at, n);
	if (r == 0)
		model_splice(m, at, n, NULL, 0);
	return r;
}

static int do_replace(struct fixture *f, int i)
{
	struct model *m = &f->model[i];
	uint64_t at = rng_below(&f->rng, m->n + 1);
	size_t n = random_extents(f, bulk, BULK_MAX);
	uint64_t bytes = 0;
	int r;

	for (size_t k = 0; k < n; k++)
		bytes += extent_bytes(&bulk[k]);
	r = rope_replace(&f->env, &f->rope[i], at, bulk, n);
	if (r == 0)
		model_splice(m, at, MIN(bytes, m->n - at), bulk, n);
	return r;
}

static int random_edit(struct fixture *f)
{
	int i = (int)rng_below(&f->rng, ROPES);

	if (f->model[i].n > (i == 0 ? 600000 : 60000) && rng_below(&f->rng, 3) == 0)
		return do_remove(f, i);
	if (f->model[i].n > MODEL_MAX - BULK_MAX * 120)
		return rope_clear(&f->env, &f->rope[i]) ?: (f->model[i].n = 0, 0);
	switch (rng_below(&f->rng, 10)) {
	case 0:
	case 1:
	case 2:
		return do_remove(f, i);
	case 3:
		return do_replace(f, i);
	default:
		return do_insert(f, i);
	}
}

static void random_clone(struct fixture *f)
{
	int from = (int)rng_below(&f->rng, ROPES);
	int to = (int)rng_below(&f->rng, ROPES);

	if (from == to)
		return;
	ck_ok(rope_clear(&f->env, &f->rope[to]));
	rope_clone(&f->env, &f->rope[from], &f->rope[to]);
	memcpy(f->model[to].b, f->model[from].b, f->model[from].n);
	f->model[to].n = f->model[from].n;
	f->typing_at[to] = f->typing_at[from];
	f->typing[to] = f->typing[from];
}

static void random_event(struct fixture *f)
{
	switch (rng_below(&f->rng, 800)) {
	case 0:
	case 1:
		random_clone(f);
		break;
	case 2:
		nodes_freeze(f->ns);
		nodes_write_abort(f->ns);
		f->env.hot_floor = f->next_block;
		break;
	case 3:
		nodes_trim(f->ns);
		break;
	}
}

static void compare_somewhere(struct fixture *f)
{
	int i = (int)rng_below(&f->rng, ROPES);
	uint64_t at = rng_below(&f->rng, f->model[i].n + 1);
	uint64_t bytes = rng_below(&f->rng, 100);

	compare_range(f, i, at, MIN(f->model[i].n - at, bytes));
}

static void start_large(struct fixture *f)
{
	static struct extent many[30000];

	for (unsigned i = 0; i < ARRAY_LEN(many); i++)
		many[i] = random_extent(f);
	ck_ok(rope_insert(&f->env, &f->rope[0], 0, many, ARRAY_LEN(many)));
	model_splice(&f->model[0], 0, 0, many, ARRAY_LEN(many));
}

START_TEST(random_edits_give_the_bytes_of_the_model)
{
	unsigned deepest = 0;

	for (unsigned round = 0; round < 100; round++) {
		struct fixture f;

		fixture_init(&f, suite_seed() + round);
		if (round % 4 == 0)
			start_large(&f);
		for (unsigned op = 0; op < 5200; op++) {
			expect(random_edit(&f) == 0);
			random_event(&f);
			compare_somewhere(&f);
			if (op % 100 == 0)
				compare_all(&f, (int)(op / 100 % ROPES));
			deepest = MAX(deepest, f.rope[0].levels);
		}
		for (int i = 0; i < ROPES; i++)
			compare_all(&f, i);
		fixture_release(&f);
	}
	ck_assert_uint_ge(deepest, 3);
}
END_TEST

#ifdef CAN_FAIL_MALLOC
START_TEST(edit_that_fails_for_memory_changes_nothing)
{
	struct fixture f;
	unsigned failed = 0;

	fixture_init(&f, suite_seed());
	for (unsigned op = 0; op < 20000; op++) {
		struct rope before[ROPES];
		bool armed = rng_below(&f.rng, 3) == 0;
		int r;

		memcpy(before, f.rope, sizeof(before));
		if (rng_below(&f.rng, 20) == 0) {
			nodes_freeze(f.ns);
			nodes_write_abort(f.ns);
		}
		f.dropped_bytes = 0;
		malloc_fails = armed;
		r = random_edit(&f);
		malloc_fails = false;
		if (r == 0)
			continue;
		ck_assert_int_eq(r, -ENOMEM);
		ck_assert(armed);
		ck_assert_uint_eq(f.dropped_bytes, 0);
		ck_assert(!memcmp(before, f.rope, sizeof(before)));
		if (failed++ % 16 == 0)
			for (int i = 0; i < ROPES; i++)
				compare_all(&f, i);
	}
	ck_assert_uint_gt(failed, 100);
	fixture_release(&f);
}
END_TEST
#endif

/* --- single behaviours --- */

static struct fixture f;

static void setup(void)
{
	fixture_init(&f, suite_seed());
}

static void teardown(void)
{
	fixture_release(&f);
}

static struct rope *rope(void)
{
	return &f.rope[0];
}

static void insert(uint64_t at, struct extent e)
{
	ck_ok(rope_insert(&f.env, rope(), at, &e, 1));
	model_splice(&f.model[0], at, 0, &e, 1);
}

static void cut(uint64_t at, uint64_t bytes)
{
	ck_ok(rope_remove(&f.env, rope(), at, bytes));
	model_splice(&f.model[0], at, bytes, NULL, 0);
}

static unsigned count_extents(void)
{
	struct rope_cursor c;
	struct extent e;
	uint64_t at;
	unsigned n = 0;
	int r;

	ck_ok(rope_seek(&f.env, rope(), 0, &c));
	while ((r = rope_next(&c, &e, &at)) > 0)
		n++;
	ck_ok(r);
	return n;
}

/* Extents of one byte that don't join. */
static void fill(unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct extent e = extent_hot(f.next_block++, 0, 1);

		expect(rope_insert(&f.env, rope(), rope_bytes(rope()), &e, 1) == 0);
		model_splice(&f.model[0], f.model[0].n, 0, &e, 1);
	}
}

START_TEST(empty_rope_has_no_extents)
{
	ck_assert_uint_eq(count_extents(), 0);
	ck_ok(rope_check(&f.env, rope()));
	ck_ok(rope_remove(&f.env, rope(), 0, 0));
	ck_ok(rope_insert(&f.env, rope(), 0, NULL, 0));
	ck_ok(rope_clear(&f.env, rope()));
}
END_TEST

START_TEST(few_extents_stay_in_the_root_record)
{
	fill(ROPE_INLINE);
	ck_assert_uint_eq(rope()->levels, 0);
	fill(1);
	ck_assert_uint_eq(rope()->levels, 1);
	compare_all(&f, 0);
	cut(2, 1);
	ck_assert_uint_eq(rope()->levels, 0);
	compare_all(&f, 0);
}
END_TEST

START_TEST(insert_that_continues_its_neighbour_joins_it)
{
	fill(300);
	insert(150, extent_hot(9999, 10, 5));
	insert(155, extent_hot(9999, 15, 7));
	ck_assert_uint_eq(count_extents(), 301);
	insert(162, extent_chunk(3, 4, 0, 5));
	insert(167, extent_chunk(3, 4, 5, 5));
	insert(172, extent_chunk(3, 5, 10, 5));
	ck_assert_uint_eq(count_extents(), 303);
	insert(177, extent_hole(4));
	insert(178, extent_hole(5000));
	ck_assert_uint_eq(count_extents(), 304);
	ck_ok(rope_check(&f.env, rope()));
}
END_TEST

/* Writes n bytes at the end of a file's hot bytes. */
static void put_hot(struct hot *h, struct hot_tail *tail, size_t n)
{
	static const uint8_t bytes[HOT_BLOCK_MAX];
	struct extent e[4];

	ck_assert_int_gt(hot_put(h, tail, bytes, n, e, ARRAY_LEN(e)), 0);
}

START_TEST(memory_for_hot_bytes_is_ready_ahead_of_who_writes_much)
{
	struct hot_tail tail = { 0 };
	size_t wanted, made = 0;
	struct hot *h;

	ck_ok(hot_new(16 * MIB, &h));
	put_hot(h, &tail, HOT_BLOCK_MAX);
	ck_assert_uint_eq(hot_wanted(h), 0);
	for (int i = 0; i < 16; i++)
		put_hot(h, &tail, HOT_BLOCK_MAX);
	wanted = hot_wanted(h);
	ck_assert_uint_gt(wanted, 0);
	ck_assert_uint_le(wanted * HOT_BLOCK_MAX, 2 * MIB);
	for (; hot_wanted(h); made++)
		hot_add_spare(h, hot_block_ready());
	ck_assert_uint_eq(made, wanted);
	ck_assert_uint_eq(hot_spare(h), wanted * HOT_BLOCK_MAX);
	for (int i = 0; i < 64; i++) /* who has filled a block gets a full one next */
		put_hot(h, &tail, 4096);
	ck_assert_uint_eq(hot_spare(h), (wanted - 2) * HOT_BLOCK_MAX);
	hot_free(h);
}
END_TEST

START_TEST(frozen_hot_neighbours_stay_apart)
{
	insert(0, extent_hot(7, 0, 5));
	f.env.hot_floor = 8;
	insert(5, extent_hot(7, 5, 5));
	ck_assert_uint_eq(count_extents(), 2);
	f.env.hot_floor = 7;
	insert(10, extent_hot(7, 10, 5));
	ck_assert_uint_eq(count_extents(), 2);
}
END_TEST

START_TEST(joined_length_fits_its_field)
{
	insert(0, extent_hole(1));
	cut(0, 1);
	struct extent big = extent_chunk(1, 1, 0, UINT32_MAX - 5);
	struct extent more = extent_chunk(1, 1, UINT32_MAX - 5, 5);
	struct extent over = extent_chunk(1, 1, UINT32_MAX, 1);

	ck_ok(rope_insert(&f.env, rope(), 0, &big, 1));
	ck_ok(rope_insert(&f.env, rope(), extent_bytes(&big), &more, 1));
	ck_assert_uint_eq(count_extents(), 1);
	ck_ok(rope_insert(&f.env, rope(), UINT32_MAX, &over, 1));
	ck_assert_uint_eq(count_extents(), 2);
	ck_assert_uint_eq(rope_bytes(rope()), 1ull << 32);
}
END_TEST

START_TEST(sizes_past_the_limit_are_refused)
{
	struct extent most = extent_hole(EXTENT_BYTES_MAX - 10);
	struct extent two[] = { extent_hole(EXTENT_BYTES_MAX),
				extent_hole(EXTENT_BYTES_MAX) };
	struct extent eleven = extent_chunk(1, 1, 0, 11);
	struct rope before;

	ck_ok(rope_insert(&f.env, rope(), 0, &most, 1));
	before = *rope();
	ck_assert_int_eq(rope_insert(&f.env, rope(), 5, &eleven, 1), -EFBIG);
	ck_assert_int_eq(rope_insert(&f.env, rope(), 5, two, 2), -EFBIG);
	ck_assert_int_eq(rope_replace(&f.env, rope(), EXTENT_BYTES_MAX - 10, &eleven, 1),
			 -EFBIG);
	ck_assert(!memcmp(&before, rope(), sizeof(before)));
	ck_ok(rope_replace(&f.env, rope(), EXTENT_BYTES_MAX - 11, &eleven, 1));
	ck_assert_uint_eq(rope_bytes(rope()), EXTENT_BYTES_MAX);
	ck_ok(rope_remove(&f.env, rope(), 1, EXTENT_BYTES_MAX - 2));
	ck_assert_uint_eq(rope_bytes(rope()), 2);
	ck_ok(rope_check(&f.env, rope()));
}
END_TEST

START_TEST(huge_holes_are_cut_and_walked)
{
	struct extent hole = extent_hole((uint64_t)1 << 62);
	struct extent run = extent_hot(1, 0, 8);
	struct rope_cursor c;
	struct extent e;
	uint64_t at;

	fill(1000);
	ck_ok(rope_insert(&f.env, rope(), 500, &hole, 1));
	ck_ok(rope_insert(&f.env, rope(), 500 + ((uint64_t)1 << 61), &run, 1));
	ck_ok(rope_check(&f.env, rope()));
	ck_ok(rope_seek(&f.env, rope(), 501, &c));
	ck_assert_int_eq(rope_next(&c, &e, &at), 1);
	ck_assert_uint_eq(at, 501);
	ck_assert_uint_eq(extent_bytes(&e), ((uint64_t)1 << 61) - 1);
	ck_assert_int_eq(rope_next(&c, &e, &at), 1);
	ck_assert_uint_eq(at, 500 + ((uint64_t)1 << 61));
	ck_assert_int_eq(extent_kind(&e), EXTENT_HOT);
	ck_ok(rope_remove(&f.env, rope(), 500, ((uint64_t)1 << 62) + 8));
	compare_all(&f, 0);
}
END_TEST

START_TEST(bulk_insert_costs_one_edit)
{
	static struct extent many[100000];
	uint64_t bytes = 0;

	fill(1000);
	for (unsigned i = 0; i < ARRAY_LEN(many); i++) {
		many[i] = extent_hot(f.next_block++, i % 100, 1 + i % 3);
		bytes += extent_bytes(&many[i]);
	}
	ck_ok(rope_insert(&f.env, rope(), 333, many, ARRAY_LEN(many)));
	model_splice(&f.model[0], 333, 0, many, ARRAY_LEN(many));
	ck_assert_uint_eq(count_extents(), 1000 + ARRAY_LEN(many));
	compare_all(&f, 0);
	cut(333, bytes);
	compare_all(&f, 0);
	ck_assert_uint_eq(count_extents(), 1000);
}
END_TEST

START_TEST(large_removal_gives_levels_back)
{
	fill(30000);
	ck_assert_uint_eq(rope()->levels, 3);
	cut(100, 29000);
	compare_all(&f, 0);
	ck_assert_uint_le(rope()->levels, 2);
	cut(2, rope_bytes(rope()) - 3);
	compare_all(&f, 0);
	ck_assert_uint_eq(rope()->levels, 0);
	ck_assert_uint_eq(rope()->n_inline, 3);
}
END_TEST

START_TEST(removals_leave_no_sparse_nodes)
{
	struct nodes_stats before, after;
	unsigned n;

	fill(60000);
	for (unsigned i = 0; i < 30; i++)
		cut(rng_below(&f.rng, rope_bytes(rope()) - 170), 170);
	while (rope_bytes(rope()) > 6000)
		cut(rng_below(&f.rng, rope_bytes(rope())), 1);
	compare_all(&f, 0);
	n = count_extents();
	ck_assert_uint_eq(n, 6000);
	/* a clone copied by touching every extent shows how many nodes there are */
	rope_clone(&f.env, rope(), &f.rope[1]);
	nodes_get_stats(f.ns, &before);
	for (unsigned i = 0; i < n; i++) {
		struct extent e = extent_hot(f.next_block++, 0, 1);

		expect(rope_replace(&f.env, rope(), i, &e, 1) == 0);
	}
	nodes_get_stats(f.ns, &after);
	ck_assert_uint_le(after.copies - before.copies, 3 * n / ROPE_LEAF_MAX + 10);
}
END_TEST

START_TEST(dropped_extents_are_told)
{
	struct extent hole;

	fill(4);
	cut(1, 2);
	ck_assert_uint_eq(f.dropped_bytes, 2);
	fill(200);
	cut(10, 100);
	ck_assert_uint_eq(f.dropped_bytes, 102);
	insert(10, extent_hot(1, 0, 100));
	cut(20, 10);
	ck_assert_uint_eq(f.dropped_bytes, 112);
	hole = extent_hole(5);
	ck_ok(rope_replace(&f.env, rope(), 12, &hole, 1));
	ck_assert_uint_eq(f.dropped_bytes, 117);
}
END_TEST

START_TEST(cut_within_an_extent_of_a_full_leaf_splits_it)
{
	struct extent many[20];

	for (unsigned i = 0; i < ROPE_LEAF_MAX; i++)
		insert(f.model[0].n, extent_hot(f.next_block++, 0, 10));
	ck_assert_uint_eq(rope()->levels, 1);
	cut(1003, 4);
	ck_assert_uint_eq(f.dropped_bytes, 4);
	ck_assert_uint_eq(rope()->levels, 2);
	ck_assert_uint_eq(count_extents(), ROPE_LEAF_MAX + 1);
	compare_all(&f, 0);
	for (unsigned i = 0; i < ARRAY_LEN(many); i++)
		many[i] = extent_chunk(i, 0, 0, 1);
	insert(1003, extent_hot(f.next_block++, 0, 100));
	ck_ok(rope_replace(&f.env, rope(), 1010, many, ARRAY_LEN(many)));
	model_splice(&f.model[0], 1010, ARRAY_LEN(many), many, ARRAY_LEN(many));
	ck_assert_uint_eq(f.dropped_bytes, 4 + ARRAY_LEN(many));
	compare_all(&f, 0);
}
END_TEST

START_TEST(clone_and_original_go_their_own_ways)
{
	struct nodes_stats stats;
	uint64_t before;

	fill(5000);
	nodes_get_stats(f.ns, &stats);
	before = stats.dirty;
	rope_clone(&f.env, rope(), &f.rope[1]);
	memcpy(f.model[1].b, f.model[0].b, f.model[0].n);
	f.model[1].n = f.model[0].n;
	nodes_get_stats(f.ns, &stats);
	ck_assert_uint_eq(stats.dirty, before);

	cut(100, 3000);
	insert(50, extent_hole(10));
	compare_all(&f, 1);
	ck_ok(rope_remove(&f.env, &f.rope[1], 2000, 1));
	model_splice(&f.model[1], 2000, 1, NULL, 0);
	compare_all(&f, 0);
	ck_ok(rope_clear(&f.env, &f.rope[1]));
	compare_all(&f, 0);
}
END_TEST

START_TEST(cleared_rope_is_empty)
{
	fill(30000);
	ck_ok(rope_clear(&f.env, rope()));
	ck_assert(!memcmp(rope(), &ROPE_EMPTY, sizeof(struct rope)));
}
END_TEST

START_TEST(seek_stands_on_the_extent_that_holds_the_byte)
{
	for (unsigned i = 0; i < 1000; i++)
		insert(f.model[0].n, extent_hot(f.next_block++, 100, 10));
	for (unsigned i = 0; i < 10000; i += 7) {
		struct rope_cursor c;
		struct extent e;
		uint64_t at;

		ck_ok(rope_seek(&f.env, rope(), i, &c));
		ck_assert_int_eq(rope_next(&c, &e, &at), 1);
		ck_assert_uint_eq(at, i);
		ck_assert_uint_eq(extent_bytes(&e), 10 - i % 10);
		ck_assert_uint_eq(le32_get(e.off), 100 + i % 10);
		ck_assert_uint_eq(extent_hot_block(&e), 1 + i / 10);
	}
	struct rope_cursor end;
	struct extent e;
	uint64_t at;

	ck_ok(rope_seek(&f.env, rope(), 10000, &end));
	ck_assert_int_eq(rope_next(&end, &e, &at), 0);
}
END_TEST

/* --- images --- */

union image {
	uint8_t b[PAGE_PAYLOAD];
	struct rope_leaf leaf;
	struct rope_inner inner;
};

static union image leaf_of(const struct extent *e, unsigned n)
{
	union image im = { 0 };

	im.leaf.head.kind = NODE_ROPE_LEAF;
	im.leaf.head.n = le16_put((uint16_t)n);
	memcpy(im.leaf.ext, e, n * sizeof(*e));
	return im;
}

START_TEST(compact_joins_chunks_and_holes_but_not_hot_runs)
{
	struct extent e[] = {
		extent_chunk(1, 2, 0, 10),
		extent_chunk(1, 2, 10, 5),
		extent_chunk(1, 3, 15, 5),
		extent_hole(1),
		extent_hole(2),
		extent_hole(3),
		extent_hot(5, 0, 1),
		extent_hot(5, 1, 1),
	};
	union image im = leaf_of(e, ARRAY_LEN(e));

	f.ns->types[NODE_ROPE_LEAF]->compact(im.b);
	ck_assert_uint_eq(le16_get(im.leaf.head.n), 5);
	ck_assert_uint_eq(extent_bytes(&im.leaf.ext[0]), 15);
	ck_assert_uint_eq(extent_bytes(&im.leaf.ext[2]), 6);
}
END_TEST

static bool leaf_verifies(const struct extent *e, unsigned n)
{
	union image im = leaf_of(e, n);

	return f.ns->types[NODE_ROPE_LEAF]->check(im.b) == 0;
}

static bool verifies(struct extent e)
{
	return leaf_verifies(&e, 1);
}

START_TEST(check_refuses_images_that_break_the_rules)
{
	struct extent good = extent_chunk(1, 2, 3, 4);
	struct extent strange = { le64_put(UINT64_MAX), le32_put(0), le32_put(1) };
	struct extent odd_hole = { le64_put(5), le32_put(0), le32_put(1) };
	struct extent two[] = { extent_hole(EXTENT_BYTES_MAX), good };
	const struct node_type *inner = f.ns->types[NODE_ROPE_INNER];
	union image im;

	ck_assert(verifies(good));
	ck_assert(!leaf_verifies(&good, 0));
	ck_assert(!verifies(strange));
	ck_assert(!verifies(odd_hole));
	ck_assert(!leaf_verifies(two, 2));
	ck_assert(!verifies(extent_hot(1, 0, 1)));
	ck_assert(!verifies(extent_chunk(1, 1, 1, 0)));
	ck_assert(!verifies(extent_chunk(1, 1, UINT32_MAX, 2)));
	im = leaf_of(&good, 1);
	im.leaf.head.n = le16_put(ROPE_LEAF_MAX + 1);
	ck_assert_int_eq(f.ns->types[NODE_ROPE_LEAF]->check(im.b), -E_CORRUPT);

	im = (union image) { 0 };
	im.inner.head.kind = NODE_ROPE_INNER;
	im.inner.head.level = 1;
	im.inner.head.n = le16_put(1);
	im.inner.entry[0].child.at = le64_put(77);
	im.inner.entry[0].bytes = le64_put(5);
	ck_assert_int_eq(inner->check(im.b), 0);
	im.inner.entry[0].child.at = le64_put(NODEREF_MEMORY | 77);
	ck_assert_int_eq(inner->check(im.b), -E_CORRUPT);
	im.inner.entry[0].child = NODEREF_NONE;
	ck_assert_int_eq(inner->check(im.b), -E_CORRUPT);
	im.inner.entry[0].child.at = le64_put(77);
	im.inner.head.level = 0;
	ck_assert_int_eq(inner->check(im.b), -E_CORRUPT);
}
END_TEST

START_TEST(wrong_counts_are_found)
{
	struct node *root;

	fill(1000);
	root = (struct node *)(uintptr_t)(le64_get(rope()->u.root.at) & ~NODEREF_MEMORY);
	((struct rope_inner *)(void *)root->image)->entry[1].bytes = le64_put(3);
	ck_assert_int_eq(rope_check(&f.env, rope()), -E_CORRUPT);
	ck_assert_int_eq(rope_remove(&f.env, rope(), 10, 900), -E_CORRUPT);
}
END_TEST

static void count_line(void *arg, const char *line)
{
	ck_assert_uint_gt(strlen(line), 0);
	++*(unsigned *)arg;
}

START_TEST(text_has_a_line_for_each_node_and_extent)
{
	unsigned lines = 0;

	fill(1000);
	ck_ok(rope_to_text(&f.env, rope(), count_line, &lines));
	ck_assert_uint_eq(lines, 1 + 1 + 4 + 1000);
}
END_TEST

static Suite *make_suite(void)
{
	Suite *s = suite_create("rope");
	TCase *one = tcase_create("behaviours");
	TCase *random = tcase_create("random");

	tcase_add_checked_fixture(one, setup, teardown);
	tcase_set_timeout(one, 60);
	tcase_add_test(one, empty_rope_has_no_extents);
	tcase_add_test(one, few_extents_stay_in_the_root_record);
	tcase_add_test(one, insert_that_continues_its_neighbour_joins_it);
	tcase_add_test(one, memory_for_hot_bytes_is_ready_ahead_of_who_writes_much);
	tcase_add_test(one, frozen_hot_neighbours_stay_apart);
	tcase_add_test(one, joined_length_fits_its_field);
	tcase_add_test(one, sizes_past_the_limit_are_refused);
	tcase_add_test(one, huge_holes_are_cut_and_walked);
	tcase_add_test(one, bulk_insert_costs_one_edit);
	tcase_add_test(one, large_removal_gives_levels_back);
	tcase_add_test(one, removals_leave_no_sparse_nodes);
	tcase_add_test(one, dropped_extents_are_told);
	tcase_add_test(one, cut_within_an_extent_of_a_full_leaf_splits_it);
	tcase_add_test(one, clone_and_original_go_their_own_ways);
	tcase_add_test(one, cleared_rope_is_empty);
	tcase_add_test(one, seek_stands_on_the_extent_that_holds_the_byte);
	tcase_add_test(one, compact_joins_chunks_and_holes_but_not_hot_runs);
	tcase_add_test(one, check_refuses_images_that_break_the_rules);
	tcase_add_test(one, wrong_counts_are_found);
	tcase_add_test(one, text_has_a_line_for_each_node_and_extent);
	suite_add_tcase(s, one);

	tcase_set_timeout(random, 110);
	tcase_add_test(random, random_edits_give_the_bytes_of_the_model);
#ifdef CAN_FAIL_MALLOC
	tcase_add_test(random, edit_that_fails_for_memory_changes_nothing);
#endif
	suite_add_tcase(s, random);
	return s;
}

int main(void)
{
	return suite_main(make_suite());
}
