/* test_rope_model.c - ropes on a page file on a simulated disk, through checkpoints,
 * trims, clones, reopening and failing reads, against a list of extents edited the
 * naive way. Holes are up to 2^61 bytes, so sizes reach the limit.
 *
 * A checkpoint "packs" hot block b into chunk b of pack 1 at the same offset, so that
 * both sides can be compared whatever was packed. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "core/base/err.h"
#include "core/io/io_sim.h"
#include "core/page/nodes.h"
#include "core/rope/rope.h"
#include "tests/lib/suite.h"

/* As ck_assert, but free of its write(2) when all is well. */
#define expect(cond)                                                                     \
	do {                                                                             \
		if (!(cond))                                                             \
			ck_abort_msg("%s is false; last error: %s", #cond,               \
				     err_detail());                                      \
	} while (0)

#define ROPES	   3
#define PIECES_MAX 60000
#define BULK_MAX   2000

/* --- the model --- */

struct model {
	struct extent *x;
	size_t n;
	uint64_t bytes;
};

static struct extent packed(struct extent e)
{
	if (extent_kind(&e) != EXTENT_HOT)
		return e;
	return extent_chunk(1, (uint32_t)extent_hot_block(&e), le32_get(e.off),
			    le32_get(e.len));
}

/* Sees to it that a piece begins at byte at; returns its index. */
static size_t model_cut(struct model *m, uint64_t at)
{
	size_t i = 0;

	while (i < m->n && at >= extent_bytes(&m->x[i]))
		at -= extent_bytes(&m->x[i++]);
	if (at == 0)
		return i;
	expect(i < m->n && m->n < PIECES_MAX);
	memmove(&m->x[i + 1], &m->x[i], (m->n - i) * sizeof(m->x[0]));
	m->n++;
	m->x[i + 1] = extent_part(&m->x[i], at, extent_bytes(&m->x[i]) - at);
	m->x[i] = extent_part(&m->x[i], 0, at);
	return i + 1;
}

static void model_splice(struct model *m, uint64_t at, uint64_t del,
			 const struct extent *e, size_t n)
{
	size_t from = model_cut(m, at);
	size_t to = model_cut(m, at + del);

	expect(m->n + n <= PIECES_MAX);
	memmove(&m->x[from + n], &m->x[to], (m->n - to) * sizeof(m->x[0]));
	m->n = m->n - (to - from) + n;
	m->bytes -= del;
	for (size_t i = 0; i < n; i++) {
		m->x[from + i] = packed(e[i]);
		m->bytes += extent_bytes(&e[i]);
	}
}

/* --- the store under test --- */

struct fixture {
	struct rng rng;
	struct io *io;
	struct keys *keys;
	struct pagefile *pf;
	struct nodes *ns;
	struct rope_env env;
	struct super super;
	struct rope rope[ROPES];
	struct model model[ROPES];
	uint64_t next_block;
	uint64_t typing_at;
	struct extent typing;
	unsigned checkpoints, reopened, failed_reads, too_big, deepest;
};

static void fixture_open(struct fixture *f)
{
	ck_ok(pagefile_open(f->io, f->keys, false, &f->super, &f->pf));
	ck_ok(nodes_new_cache(&(struct nodes_opts) { .pf = f->pf,
						     .cache_bytes = 64 << 10,
						     .epoch = f->super.epoch },
			      &f->ns));
	rope_register(f->ns);
	f->env = (struct rope_env) { .nodes = f->ns, .hot_floor = f->next_block };
}

static void fixture_init(struct fixture *f, uint64_t seed)
{
	*f = (struct fixture) { .rng = rng_seeded(seed), .next_block = 1 };
	ck_ok(io_sim_new(seed, &f->io));
	ck_ok(keys_for_test(CIPHER_NONE, &f->keys));
	f->super.epoch = 1;
	ck_ok(pagefile_create(f->io, f->keys, &f->super));
	fixture_open(f);
	for (int i = 0; i < ROPES; i++) {
		f->model[i].x = calloc(PIECES_MAX, sizeof(struct extent));
		ck_assert_ptr_nonnull(f->model[i].x);
	}
}

static void fixture_close(struct fixture *f)
{
	f->ns = nodes_free_cache(f->ns);
	f->pf = pagefile_close(f->pf);
}

static void fixture_release(struct fixture *f)
{
	fixture_close(f);
	f->keys = keys_free(f->keys);
	f->io = io_free(f->io);
	for (int i = 0; i < ROPES; i++)
		free(f->model[i].x);
}

/* --- comparing --- */

static bool same_run(const struct extent *a, const struct extent *b)
{
	return le64_get(a->ref) == le64_get(b->ref) &&
	       (extent_kind(a) == EXTENT_HOLE || le32_get(a->off) == le32_get(b->off));
}

static struct extent without(const struct extent *e, uint64_t bytes)
{
	return extent_part(e, bytes, extent_bytes(e) - bytes);
}

/* The rope from byte at on, `most` bytes or to its end, is that of the model. */
static void compare_from(struct fixture *f, int i, uint64_t at, uint64_t most)
{
	const struct model *m = &f->model[i];
	struct rope_cursor c;
	struct extent want, have = { 0 };
	uint64_t end = at + MIN(most, m->bytes - at), have_at = 0, left = at;
	size_t k = 0;

	expect(rope_bytes(&f->rope[i]) == m->bytes);
	expect(rope_seek(&f->env, &f->rope[i], at, &c) == 0);
	while (k < m->n && left >= extent_bytes(&m->x[k]))
		left -= extent_bytes(&m->x[k++]);
	if (k < m->n)
		want = without(&m->x[k], left);
	for (bool fresh = true; at < end;) {
		uint64_t run;

		if (fresh) {
			expect(rope_next(&c, &have, &have_at) == 1);
			expect(have_at == at);
			have = packed(have);
		}
		expect(same_run(&have, &want));
		run = MIN(extent_bytes(&have), extent_bytes(&want));
		at += run;
		fresh = run == extent_bytes(&have);
		if (!fresh)
			have = without(&have, run);
		if (run < extent_bytes(&want))
			want = without(&want, run);
		else if (++k < m->n)
			want = m->x[k];
	}
	if (end == m->bytes && most)
		expect(k == m->n);
}

static void compare_all(struct fixture *f)
{
	for (int i = 0; i < ROPES; i++) {
		expect(rope_check(&f->env, &f->rope[i]) == 0);
		compare_from(f, i, 0, UINT64_MAX);
		f->deepest = MAX(f->deepest, f->rope[i].levels);
	}
}

/* --- edits --- */

static struct extent random_extent(struct fixture *f)
{
	uint32_t off = (uint32_t)rng_below(&f->rng, 1000);
	uint32_t len = 1 + (uint32_t)rng_below(&f->rng, 5000);

	switch (rng_below(&f->rng, 12)) {
	case 0:
		return extent_hole(1 +
				   (rng_next(&f->rng) >> (3 + rng_below(&f->rng, 61))));
	case 1:
	case 2:
	case 3:
		return extent_chunk(2 + rng_below(&f->rng, 3),
				    (uint32_t)rng_below(&f->rng, 9), off, len);
	default:
		return extent_hot(f->next_block++, off, len);
	}
}

static size_t random_extents(struct fixture *f, struct extent *e)
{
	size_t n = rng_below(&f->rng, 4) ? 1 : 1 + rng_below(&f->rng, 40);

	if (rng_below(&f->rng, 60) == 0)
		n = 1 + rng_below(&f->rng, BULK_MAX);
	for (size_t i = 0; i < n; i++)
		e[i] = random_extent(f);
	return n;
}

static uint64_t random_at(struct fixture *f, const struct model *m)
{
	uint64_t at = 0;

	/* by piece half of the time: by byte, a huge hole gets nearly all hits */
	if (m->n == 0 || rng_below(&f->rng, 10) == 0)
		return rng_below(&f->rng, 2) ? m->bytes : 0;
	if (rng_below(&f->rng, 2))
		return rng_below(&f->rng, m->bytes + 1);
	for (size_t k = rng_below(&f->rng, m->n); k-- > 0;)
		at += extent_bytes(&m->x[k]);
	return at + rng_below(&f->rng, MIN(m->bytes - at, 4000));
}

static int do_put(struct fixture *f, int i, bool replacing)
{
	static struct extent e[BULK_MAX];
	struct model *m = &f->model[i];
	uint64_t at = random_at(f, m), bytes = 0, del;
	size_t n = random_extents(f, e);
	int r;

	if (rng_below(&f->rng, 3) == 0 && f->typing_at <= m->bytes) {
		at = f->typing_at;
		if (extent_kind(&f->typing) == EXTENT_HOT &&
		    le32_get(f->typing.off) < 90000)
			e[0] = extent_hot(
				extent_hot_block(&f->typing),
				le32_get(f->typing.off) + le32_get(f->typing.len), 9);
	}
	for (size_t k = 0; k < n; k++)
		bytes += extent_bytes(&e[k]);
	del = replacing ? MIN(bytes, m->bytes - at) : 0;
	if (rng_below(&f->rng, 3) == 0) { /* of another length */
		del = rng_below(&f->rng, 6000);
		del = MIN(del, m->bytes - at);
		r = rope_splice(&f->env, &f->rope[i], at, del, e, n);
	} else {
		r = replacing ? rope_replace(&f->env, &f->rope[i], at, e, n)
			      : rope_insert(&f->env, &f->rope[i], at, e, n);
	}
	if (r < 0)
		return r;
	model_splice(m, at, del, e, n);
	f->typing_at = at + bytes;
	f->typing = e[n - 1];
	return 0;
}

static int do_remove(struct fixture *f, int i, bool large)
{
	struct model *m = &f->model[i];
	uint64_t from = random_at(f, m), to = random_at(f, m), few;
	int r;

	if (from > to) {
		uint64_t swap = from;

		from = to;
		to = swap;
	}
	few = rng_below(&f->rng, 20000);
	if (!large)
		to = MIN(to, from + few);
	r = rope_remove(&f->env, &f->rope[i], from, to - from);
	if (r == 0)
		model_splice(m, from, to - from, NULL, 0);
	return r;
}

static int do_clear(struct fixture *f, int i)
{
	int r = rope_clear(&f->env, &f->rope[i]);

	if (r < 0)
		return r;
	f->model[i].n = 0;
	f->model[i].bytes = 0;
	return 0;
}

static int do_clone(struct fixture *f, int from, int to)
{
	int r;

	if (from == to)
		return 0;
	r = do_clear(f, to);
	if (r < 0)
		return r;
	rope_clone(&f->env, &f->rope[from], &f->rope[to]);
	memcpy(f->model[to].x, f->model[from].x,
	       f->model[from].n * sizeof(struct extent));
	f->model[to].n = f->model[from].n;
	f->model[to].bytes = f->model[from].bytes;
	return 0;
}

static int random_edit(struct fixture *f)
{
	int i = (int)rng_below(&f->rng, ROPES);

	if (f->model[i].n > PIECES_MAX - 2 * BULK_MAX)
		return do_remove(f, i, true);
	switch (rng_below(&f->rng, 400)) {
	case 0:
		return do_clear(f, i);
	case 1:
	case 2:
		return do_remove(f, i, true);
	case 3:
	case 4:
		return do_clone(f, i, (int)rng_below(&f->rng, ROPES));
	default:
		return rng_below(&f->rng, 3) == 0
			       ? do_remove(f, i, false)
			       : do_put(f, i, rng_below(&f->rng, 4) == 0);
	}
}

static void good_edit(struct fixture *f)
{
	int r = random_edit(f);

	expect(r == 0 || r == -EFBIG);
	f->too_big += r == -EFBIG;
}

/* --- checkpoints --- */

static int pack_extent(void *arg, struct extent *e)
{
	expect(extent_kind(e) != EXTENT_HOT ||
	       extent_hot_block(e) < ((struct fixture *)arg)->env.hot_floor);
	*e = packed(*e);
	return 0;
}

static int patch_extent(void *arg, struct extent *e)
{
	if (extent_kind(e) == EXTENT_HOT &&
	    extent_hot_block(e) < ((struct fixture *)arg)->env.hot_floor)
		*e = packed(*e);
	return 0;
}

static void give_back(void *arg, uint64_t page)
{
	pagefile_give_back(arg, page);
}

static void patch_roots(struct fixture *f)
{
	for (int i = 0; i < ROPES; i++) {
		struct rope *r = &f->rope[i];

		if (r->levels > 0)
			nodes_patch(f->ns, &r->u.root);
		for (unsigned k = 0; k < r->n_inline; k++)
			patch_extent(f, &r->u.ext[k]);
	}
}

static void checkpoint(struct fixture *f, bool quiet)
{
	struct rope frozen[ROPES];
	struct nodes_sink sink = { .arg = f, .pack_extent = pack_extent };
	int r;

	f->super.epoch = nodes_freeze(f->ns);
	f->env.hot_floor = f->next_block;
	memcpy(frozen, f->rope, sizeof(frozen));
	for (unsigned n = (unsigned)rng_below(&f->rng, 30); n-- > 0 && !quiet;)
		good_edit(f);
	for (int i = 0; i < ROPES; i++) {
		struct noderef place;

		if (frozen[i].levels > 0)
			ck_ok(nodes_write_out(f->ns, &frozen[i].u.root, &sink, &place));
	}
	nodes_take_freed(f->ns, give_back, f->pf);
	ck_ok(pagefile_commit(f->pf, &f->super));
	do {
		for (unsigned n = (unsigned)rng_below(&f->rng, 3); n-- > 0 && !quiet;)
			good_edit(f);
		patch_roots(f);
		r = nodes_finish(f->ns, &(struct nodes_patcher) { f, patch_extent, NULL },
				 20);
		expect(r >= 0);
	} while (r > 0);
	f->checkpoints++;
}

static void reopen(struct fixture *f)
{
	checkpoint(f, true);
	checkpoint(f, true);
	fixture_close(f);
	fixture_open(f);
	f->reopened++;
}

static void failing_read(struct fixture *f)
{
	struct rope before[ROPES];
	int r;

	checkpoint(f, true);
	nodes_set_budget(f->ns, 0);
	nodes_trim(f->ns);
	nodes_trim(f->ns);
	nodes_set_budget(f->ns, 64 << 10);
	for (unsigned n = 0; n < 8; n++) {
		memcpy(before, f->rope, sizeof(before));
		io_sim_fail_at(f->io, IO_SIM_PREAD, 1 + rng_below(&f->rng, 6), EIO,
			       false);
		r = random_edit(f);
		io_sim_fail_at(f->io, IO_SIM_PREAD, 0, EIO, false);
		if (r >= 0)
			continue;
		expect(r == -EIO || r == -EFBIG);
		expect(!memcmp(before, f->rope, sizeof(before)));
		f->failed_reads += r == -EIO;
	}
	compare_all(f);
}

static void random_event(struct fixture *f)
{
	switch (rng_below(&f->rng, 500)) {
	case 0:
	case 1:
		checkpoint(f, false);
		break;
	case 2:
		reopen(f);
		compare_all(f);
		break;
	case 3:
		failing_read(f);
		break;
	case 4:
	case 5:
		nodes_trim(f->ns);
		break;
	case 6:
		nodes_freeze(f->ns);
		nodes_write_abort(f->ns);
		f->env.hot_floor = f->next_block;
		break;
	}
}

/* Enough for three levels; on disk from the beginning. */
static void start_large(struct fixture *f)
{
	static struct extent many[30000];

	for (unsigned i = 0; i < ARRAY_LEN(many); i++)
		many[i] = extent_hot(f->next_block++, i % 7, 1 + i % 5000);
	ck_ok(rope_insert(&f->env, &f->rope[0], 0, many, ARRAY_LEN(many)));
	model_splice(&f->model[0], 0, 0, many, ARRAY_LEN(many));
	reopen(f);
}

START_TEST(ropes_on_disk_follow_the_model)
{
	time_t end = time(NULL) + (time_t)suite_seconds(5);
	unsigned checkpoints = 0, reopened = 0, failed_reads = 0, too_big = 0,
		 deepest = 0;

	for (uint64_t round = 0; round == 0 || time(NULL) < end; round++) {
		struct fixture f;

		fixture_init(&f, suite_seed() + round);
		if (round % 2 == 0)
			start_large(&f);
		for (unsigned op = 0; op < 6000; op++) {
			int i = (int)rng_below(&f.rng, ROPES);

			good_edit(&f);
			random_event(&f);
			compare_from(&f, i, random_at(&f, &f.model[i]), 20000);
			if (op % 100 == 0)
				compare_all(&f);
		}
		compare_all(&f);
		checkpoints += f.checkpoints;
		reopened += f.reopened;
		failed_reads += f.failed_reads;
		too_big += f.too_big;
		deepest = MAX(deepest, f.deepest);
		fixture_release(&f);
	}
	printf("# %u checkpoints, %u reopenings, %u failed reads, %u too big, %u "
	       "levels\n",
	       checkpoints, reopened, failed_reads, too_big, deepest);
	ck_assert_uint_gt(checkpoints, 0);
	ck_assert_uint_gt(reopened, 0);
	ck_assert_uint_gt(failed_reads, 0);
	ck_assert_uint_gt(too_big, 0);
	ck_assert_uint_ge(deepest, 3);
}
END_TEST

static Suite *make_suite(void)
{
	Suite *s = suite_create("rope model");
	TCase *t = tcase_create("random");

	tcase_set_timeout(t, 600);
	tcase_add_test(t, ropes_on_disk_follow_the_model);
	suite_add_tcase(s, t);
	return s;
}

int main(void)
{
	return suite_main(make_suite());
}
