/* test_txn.c - random transactions on a store (on the simulated disk) against a model: edits,
 * names and xattrs of several files; commits, aborts, others who interfere; the power going or the
 * process being killed at any call, errors at any call. A transaction is seen whole or not at all:
 * by readers before it ends, and after any crash. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "core/base/err.h"
#include "core/io/io_sim.h"
#include "core/store_priv.h"
#include "tests/lib/sim_store.h"
#include "tests/lib/suite.h"

#define FILES	  4
#define FILE_MAX  3000
#define WRITE_MAX 300
#define STATES	  64

struct file {
	bool there;
	uint8_t mark; /* value of an xattr; 0: it has none */
	size_t n;
	uint8_t p[FILE_MAX];
};

struct state {
	struct file f[FILES];
};

struct world {
	struct io *io;
	struct key_file *kf;
	struct ropefs *fs;
	struct rng rng;
	struct state states[STATES]; /* [0]: the last one known to be durable */
	size_t n_states;
	uint64_t commits, conflicts, aborts, refusals, crashes, faults;
};

static struct world w;

static struct state *now(void)
{
	return &w.states[w.n_states - 1];
}

static struct ropefs_name name_of(unsigned i)
{
	static char names[FILES][4];

	snprintf(names[i], sizeof(names[i]), "f%u", i);
	return ropefs_name(names[i]);
}

static void splice(struct file *f, size_t at, size_t del, const uint8_t *p, size_t n)
{
	memmove(f->p + at + n, f->p + at + del, f->n - at - del);
	if (n)
		memcpy(f->p + at, p, n);
	f->n = f->n - del + n;
}

/* --- the store against a state --- */

static bool store_is(const struct state *s)
{
	static uint8_t bytes[FILE_MAX + 1];

	for (unsigned i = 0; i < FILES; i++) {
		const struct file *f = &s->f[i];
		struct ropefs_attr a;
		uint8_t mark = 0;
		int r = ropefs_lookup(w.fs, ROPEFS_ROOT_INO, name_of(i), &a);

		if (!f->there && r == -ENOENT)
			continue;
		if (r < 0 || !f->there || a.size != f->n)
			return false;
		if (ropefs_read(w.fs, a.ino, 0, bytes, sizeof(bytes), 0) !=
			    (ssize_t)f->n ||
		    memcmp(bytes, f->p, f->n))
			return false;
		ropefs_getxattr(w.fs, a.ino, "user.mark", &mark, 1);
		if (mark != f->mark)
			return false;
	}
	return true;
}

static void states_push(const struct state *s)
{
	ck_assert_uint_lt(w.n_states, STATES);
	w.states[w.n_states++] = *s;
}

static void states_durable(void)
{
	w.states[0] = *now();
	w.n_states = 1;
}

static int world_try_open(void)
{
	struct store_opts o = { .threads = false, .segment_bytes = 10 * MIB };
	int r;

	o.pub.memory_bytes = 32 * MIB;
	w.fs = NULL;
	r = store_open(w.io, w.kf, &o, &w.fs);
	if (r < 0)
		return r;
	w.fs->hot_soft = 64 * KIB;
	nodes_set_budget(w.fs->nodes, 64 * KIB);
	return 0;
}

/* One of the states since the last sync, whole. */
static void world_is_some_state(const char *what)
{
	size_t i = w.n_states;

	ck_assert_msg(!w.fs->read_only, "%s: %s", what, w.fs->read_only_why);
	while (i > 0 && !store_is(&w.states[i - 1]))
		i--;
	ck_assert_msg(i > 0, "%s: the store is none of the %zu states", what, w.n_states);
	w.states[0] = w.states[i - 1];
	w.n_states = 1;
	ck_ok(ropefs_sync(w.fs));
}

static void world_crash(const char *what)
{
	int r;

	w.crashes++;
	if (!wal_failed(w.fs->wal) && rng_below(&w.rng, 2))
		wal_push(w.fs->wal);
	store_abandon(w.fs, true);
	io_sim_stop_at(w.io, 0, 0);
	io_sim_fail_at(w.io, 0, 0, 0, false);
	if (rng_below(&w.rng, 2))
		io_sim_power_cut(w.io);
	else
		io_sim_kill(w.io);
	r = world_try_open();
	ck_assert_msg(r == 0, "%s: open: %d %s", what, r, err_detail());
	world_is_some_state(what);
	/* The copies of transactions are gone with them. */
	ck_assert_uint_eq(w.fs->n_inodes, 1u + now()->f[0].there + now()->f[1].there +
						  now()->f[2].there + now()->f[3].there);
}

/* --- one action of a transaction, on the store and on the state --- */

static int edit_bytes(struct ropefs_txn *t, struct state *s, unsigned i, uint64_t ino)
{
	static uint8_t bytes[WRITE_MAX];
	struct file *f = &s->f[i];
	size_t n = 1 + rng_below(&w.rng, WRITE_MAX - 1), at = rng_below(&w.rng, f->n + 1);
	ssize_t r = 0;

	rng_fill(&w.rng, bytes, n);
	switch (rng_below(&w.rng, 4)) {
	case 0:
		if (f->n + n > FILE_MAX)
			return 0;
		r = ropefs_txn_insert(t, ino, at, bytes, n);
		if (r >= 0)
			splice(f, at, 0, bytes, n);
		break;
	case 1:
		n = MIN(n, f->n - at);
		r = ropefs_txn_cut(t, ino, at, n);
		if (r >= 0)
			splice(f, at, n, NULL, 0);
		break;
	case 2:
		if (at + n > FILE_MAX)
			return 0;
		r = ropefs_txn_write(t, ino, at, bytes, n, 0, NULL);
		if (r >= 0)
			splice(f, at, MIN(n, f->n - at), bytes, n);
		break;
	default:
		n = rng_below(&w.rng, FILE_MAX);
		r = ropefs_txn_truncate(t, ino, n);
		if (r >= 0 && n > f->n)
			memset(f->p + f->n, 0, n - f->n);
		if (r >= 0)
			f->n = n;
	}
	return r < 0 ? (int)r : 0;
}

static int move_bytes(struct ropefs_txn *t, struct state *s, unsigned i, uint64_t ino,
		      unsigned j, uint64_t from)
{
	static uint8_t bytes[FILE_MAX];
	struct file *f = &s->f[i], *g = &s->f[j];
	struct ropefs_range dst = { ino, rng_below(&w.rng, f->n + 1), 0 };
	struct ropefs_range src = { from, rng_below(&w.rng, g->n + 1), 0 };
	bool copy = rng_below(&w.rng, 2);
	int r;

	dst.n = rng_below(&w.rng, f->n - dst.at + 1);
	src.n = rng_below(&w.rng, g->n - src.at + 1);
	if (i == j || f->n - dst.n + src.n > FILE_MAX)
		return 0;
	r = copy ? ropefs_txn_replace(t, dst, src) : ropefs_txn_move(t, dst, src);
	if (r < 0)
		return r;
	memcpy(bytes, g->p + src.at, src.n);
	splice(f, dst.at, dst.n, bytes, src.n);
	if (!copy)
		splice(g, src.at, src.n, NULL, 0);
	return 0;
}

/* Over what is there, and beyond the end. */
static int copy_over(struct ropefs_txn *t, struct state *s, unsigned i, uint64_t ino,
		     unsigned j, uint64_t from)
{
	static uint8_t bytes[FILE_MAX];
	struct file *f = &s->f[i], *g = &s->f[j];
	struct ropefs_range dst = { ino, rng_below(&w.rng, f->n + 1), 7 };
	struct ropefs_range src = { from, rng_below(&w.rng, g->n + 1), FILE_MAX };
	size_t n = g->n - src.at;
	ssize_t r;

	if (i == j || dst.at + n > FILE_MAX)
		return 0;
	r = ropefs_txn_copy(t, dst, src);
	if (r < 0)
		return (int)r;
	ck_assert_int_eq(r, (ssize_t)n);
	memcpy(bytes, g->p + src.at, n);
	splice(f, dst.at, MIN(n, f->n - dst.at), bytes, n);
	return 0;
}

static int edit_xattr(struct ropefs_txn *t, struct file *f, uint64_t ino)
{
	uint8_t mark = (uint8_t)(1 + rng_below(&w.rng, 200));
	int r;

	if (f->mark && rng_below(&w.rng, 3) == 0) {
		mark = 0;
		r = ropefs_txn_removexattr(t, ino, "user.mark");
	} else {
		r = ropefs_txn_setxattr(t, ino, "user.mark", &mark, 1);
	}
	if (r >= 0)
		f->mark = mark;
	return r;
}

static int edit_names(struct ropefs_txn *t, struct state *s, unsigned i, unsigned j)
{
	struct file *f = &s->f[i], *g = &s->f[j], tmp;
	bool exchange = g->there && rng_below(&w.rng, 2);
	int r;

	if (rng_below(&w.rng, 3) == 0) {
		r = ropefs_txn_unlink(t, ROPEFS_ROOT_INO, name_of(i));
		if (r >= 0)
			*f = (struct file) { 0 };
		return r;
	}
	if (i == j)
		return 0;
	r = ropefs_txn_rename(t, ROPEFS_ROOT_INO, name_of(i), ROPEFS_ROOT_INO, name_of(j),
			      exchange ? RENAME_EXCHANGE : 0);
	if (r < 0)
		return r;
	tmp = *g;
	*g = *f;
	*f = exchange ? tmp : (struct file) { 0 };
	return 0;
}

static int action(struct ropefs_txn *t, struct state *s)
{
	const struct ropefs_new new = { .mode = S_IFREG | 0644 };
	unsigned i = (unsigned)rng_below(&w.rng, FILES);
	unsigned j = (unsigned)rng_below(&w.rng, FILES);
	uint64_t ino, from;
	int r = ropefs_txn_lookup(t, ROPEFS_ROOT_INO, name_of(i), &ino);

	if (r < 0 && r != -ENOENT)
		return r;
	ck_assert_int_eq(r >= 0, s->f[i].there);
	if (r < 0) {
		r = ropefs_txn_create(t, ROPEFS_ROOT_INO, name_of(i), &new, &ino);
		if (r >= 0)
			s->f[i] = (struct file) { .there = true };
		return r;
	}
	switch (rng_below(&w.rng, 10)) {
	case 0:
		return edit_names(t, s, i, j);
	case 1:
		return edit_xattr(t, &s->f[i], ino);
	case 2:
	case 3:
		r = ropefs_txn_lookup(t, ROPEFS_ROOT_INO, name_of(j), &from);
		if (r < 0)
			return r == -ENOENT ? 0 : r;
		return rng_below(&w.rng, 3) ? move_bytes(t, s, i, ino, j, from)
					    : copy_over(t, s, i, ino, j, from);
	default:
		return edit_bytes(t, s, i, ino);
	}
}

/* Within the transaction its own state is read. */
static void look_inside(struct ropefs_txn *t, const struct state *s)
{
	static uint8_t bytes[FILE_MAX + 1];
	unsigned i = (unsigned)rng_below(&w.rng, FILES);
	uint64_t ino;

	if (!s->f[i].there)
		return;
	ck_ok(ropefs_txn_lookup(t, ROPEFS_ROOT_INO, name_of(i), &ino));
	ck_assert_int_eq(ropefs_txn_read(t, ino, 0, bytes, sizeof(bytes)),
			 (ssize_t)s->f[i].n);
	ck_assert(!memcmp(bytes, s->f[i].p, s->f[i].n));
}

/* --- rounds --- */

/* A commit that the model can't foresee: an op that is refused at the end. */
static void stage_refusal(struct ropefs_txn *t)
{
	ck_ok(ropefs_txn_unlink(t, ROPEFS_ROOT_INO, ropefs_name("not there")));
}

/* Somebody else changes a file; true if the transaction has used it. */
static bool interfere(struct ropefs_txn *t)
{
	unsigned i = (unsigned)rng_below(&w.rng, FILES);
	struct state other = *now();
	struct ropefs_attr a;

	if (!other.f[i].there || other.f[i].n == FILE_MAX)
		return false;
	ck_ok(ropefs_lookup(w.fs, ROPEFS_ROOT_INO, name_of(i), &a));
	/* Touched for sure, whatever it was called meanwhile. */
	ck_ok(ropefs_txn_getattr(t, a.ino, &a));
	ck_ok(ropefs_write(w.fs, a.ino, 0, "!", 1, ROPEFS_APPEND, NULL));
	splice(&other.f[i], other.f[i].n, 0, (const uint8_t *)"!", 1);
	states_push(&other);
	return true;
}

/* All bytes of a file at once, if it is still what it was. 1: done. */
static int put_value(struct state *s)
{
	static uint8_t bytes[FILE_MAX];
	unsigned i = (unsigned)rng_below(&w.rng, FILES);
	char etag[ROPEFS_ETAG_MAX], after[ROPEFS_ETAG_MAX];
	struct ropefs_attr a;
	int r;

	if (!s->f[i].there)
		return 0;
	r = ropefs_lookup(w.fs, ROPEFS_ROOT_INO, name_of(i), &a);
	if (r >= 0)
		r = ropefs_etag(w.fs, a.ino, etag);
	if (r < 0)
		return r;
	s->f[i].n = rng_below(&w.rng, 8) ? rng_below(&w.rng, FILE_MAX) : 0;
	rng_fill(&w.rng, bytes, s->f[i].n);
	memcpy(s->f[i].p, bytes, s->f[i].n);
	r = ropefs_put(w.fs, a.ino, etag, bytes, s->f[i].n, after);
	if (r < 0)
		return r;
	ck_assert_str_ne(etag, after);
	ck_assert_int_lt(ropefs_put(w.fs, a.ino, etag, "", 0, NULL), 0);
	return 1;
}

static void round_calm(void)
{
	static struct state s;
	struct ropefs_txn *t;
	unsigned what = (unsigned)rng_below(&w.rng, 10);
	bool hit = false;
	int r;

	s = *now();
	ck_ok(ropefs_txn_begin(w.fs, &t));
	for (uint64_t k = 1 + rng_below(&w.rng, 12); k > 0; k--) {
		r = action(t, &s);
		ck_assert_msg(r == 0, "action: %d %s", r, err_detail());
	}
	look_inside(t, &s);
	ck_assert_msg(store_is(now()), "a transaction shows before its commit");
	if (what == 0) {
		ropefs_txn_abort(t);
		w.aborts++;
	} else {
		if (what == 1)
			hit = interfere(t);
		else if (what == 2)
			stage_refusal(t);
		r = ropefs_txn_commit(t);
		if (hit) {
			ck_assert_int_eq(r, -E_CONFLICT);
			ck_assert_int_eq(ropefs_error_errno(r), EBUSY);
			w.conflicts++;
		} else if (what == 2) {
			ck_assert_int_eq(r, -ENOENT);
			w.refusals++;
		} else {
			ck_assert_msg(r == 0, "commit: %d %s", r, err_detail());
			states_push(&s);
			w.commits++;
		}
	}
	ck_assert_msg(store_is(now()), "not whole after the end of kind %u", what);
}

/* A transaction under a fault that is armed; the state it would make is one that may be. */
static int try_txn(struct state *s)
{
	struct ropefs_txn *t;
	int r;

	if (rng_below(&w.rng, 4) == 0)
		return put_value(s);
	r = ropefs_txn_begin(w.fs, &t);
	if (r < 0)
		return r;
	for (uint64_t k = 1 + rng_below(&w.rng, 8); k > 0 && r >= 0; k--)
		r = action(t, s);
	if (r < 0)
		ropefs_txn_abort(t);
	else
		r = ropefs_txn_commit(t);
	return r;
}

static void round_stop(void)
{
	static struct state s;
	const unsigned writes = IO_SIM_PWRITE | IO_SIM_SYNC | IO_SIM_RENAME |
				IO_SIM_SYNC_DIR | IO_SIM_TRUNCATE | IO_SIM_OPEN;
	int r;

	s = *now();
	io_sim_stop_at(w.io, writes, 1 + rng_below(&w.rng, 12));
	r = try_txn(&s);
	if (r >= 0) {
		states_push(&s);
		if (ropefs_sync(w.fs) >= 0)
			states_durable();
	}
	world_crash("a stop at a write");
}

static void round_fault(void)
{
	static struct state s;
	int r, err = rng_below(&w.rng, 2) ? EIO : ENOSPC;

	w.faults++;
	s = *now();
	io_sim_fail_at(w.io, IO_SIM_ANY, 1 + rng_below(&w.rng, 6), err,
		       rng_below(&w.rng, 2));
	r = try_txn(&s);
	if (r >= 0)
		states_push(&s);
	ropefs_sync(w.fs);
	io_sim_fail_at(w.io, 0, 0, 0, false);
	ck_assert_msg(store_is(now()), "not whole after an error (%d)", r);
	world_crash("an error");
}

static void world_init(uint64_t seed)
{
	memset(&w, 0, sizeof(w));
	w.rng = rng_seeded(seed);
	sim_store_new(seed, &w.io, &w.kf);
	ck_ok(world_try_open());
	w.n_states = 1;
}

START_TEST(transactions_are_whole_or_absent)
{
	time_t until = time(NULL) + suite_seconds(6);
	uint64_t lives = 0;

	do {
		uint64_t seed = suite_seed() + lives++;

		printf("# world %#llx\n", (unsigned long long)seed);
		fflush(stdout);
		world_init(seed);
		for (int i = 0; i < 400; i++) {
			round_calm();
			if (rng_below(&w.rng, 4) == 0) {
				struct state s = *now();

				if (put_value(&s) > 0)
					states_push(&s);
			}
			if (w.n_states > STATES - 4 || rng_below(&w.rng, 12) == 0) {
				ck_ok(ropefs_sync(w.fs));
				states_durable();
			}
			switch (rng_below(&w.rng, 16)) {
			case 0:
				round_stop();
				break;
			case 1:
				round_fault();
				break;
			case 2:
				world_crash("between transactions");
				break;
			case 3:
				ck_ok(ropefs_checkpoint(w.fs));
				break;
			}
		}
		printf("# %llu commits, %llu conflicts, %llu aborts, %llu refusals, %llu "
		       "crashes, %llu faults\n",
		       (unsigned long long)w.commits, (unsigned long long)w.conflicts,
		       (unsigned long long)w.aborts, (unsigned long long)w.refusals,
		       (unsigned long long)w.crashes, (unsigned long long)w.faults);
		fflush(stdout);
		ck_assert_uint_gt(w.commits, 100);
		store_abandon(w.fs, false);
		key_file_free(w.kf);
	} while (time(NULL) < until);
}
END_TEST

/* --- threads: what is moved between files is never lost, and nobody waits for ever --- */

#define PURSES	5
#define COINS	200
#define THREADS 4
#define MOVES	60

static uint64_t purses[PURSES];

struct mover {
	struct ropefs *fs;
	struct rng rng;
	unsigned moved, conflicts;
	char error[300];
};

static int purses_sum(struct ropefs *fs, uint64_t *ret)
{
	struct ropefs_txn *t;
	struct ropefs_attr a;
	uint64_t sum = 0;
	int r = ropefs_txn_begin(fs, &t);

	if (r < 0)
		return r;
	for (int i = 0; r >= 0 && i < PURSES; i++) {
		r = ropefs_txn_getattr(t, purses[i], &a);
		sum += a.size;
	}
	if (r < 0) {
		ropefs_txn_abort(t);
		return r;
	}
	*ret = sum;
	return ropefs_txn_commit(t);
}

static int move_coins(struct mover *m)
{
	uint64_t from = purses[rng_below(&m->rng, PURSES)];
	uint64_t to = purses[rng_below(&m->rng, PURSES)];
	struct ropefs_attr a;
	struct ropefs_txn *t;
	int r;

	if (from == to)
		return 0;
	r = ropefs_txn_begin(m->fs, &t);
	if (r < 0)
		return r;
	r = ropefs_txn_getattr(t, from, &a);
	sched_yield();
	if (r >= 0 && a.size)
		r = ropefs_txn_move(t, (struct ropefs_range) { to, 0, 0 },
				    (struct ropefs_range) {
					    from, 0, 1 + rng_below(&m->rng, a.size) });
	if (r >= 0)
		return ropefs_txn_commit(t);
	ropefs_txn_abort(t);
	return r;
}

static void *mover_main(void *arg)
{
	struct mover *m = arg;
	uint64_t sum = 0;
	int r;

	for (int i = 0; i < MOVES && !*m->error; i++) {
		r = move_coins(m);
		m->moved += r >= 0;
		m->conflicts += r == -E_CONFLICT;
		if (r < 0 && r != -E_CONFLICT)
			snprintf(m->error, sizeof(m->error), "move: %d %s", r,
				 ropefs_error());
		r = purses_sum(m->fs, &sum);
		if (r >= 0 && sum != COINS * PURSES)
			snprintf(m->error, sizeof(m->error), "the sum is %llu",
				 (unsigned long long)sum);
	}
	return NULL;
}

START_TEST(threads_conflict_or_succeed)
{
	struct ropefs_new new = { .mode = S_IFREG | 0600 };
	struct mover movers[THREADS] = { 0 };
	pthread_t threads[THREADS];
	char path[4200], key[4200];
	uint8_t coins[COINS] = { 0 };
	struct ropefs_attr a;
	unsigned moved = 0, conflicts = 0;
	struct ropefs *fs;
	uint64_t sum = 0;

	snprintf(path, sizeof(path), "%s/purses", suite_tmpdir());
	snprintf(key, sizeof(key), "%s/purses.key", suite_tmpdir());
	ck_ok(ropefs_init(path, &(struct ropefs_init_opts) { .key_file = key }, NULL));
	ck_ok(ropefs_open(path, &(struct ropefs_opts) { .key_file = key }, &fs));
	for (unsigned i = 0; i < PURSES; i++) {
		char name[16];

		snprintf(name, sizeof(name), "purse%u", i);
		ck_ok(ropefs_create(fs, ROPEFS_ROOT_INO, ropefs_name(name), &new, &a));
		ck_ok(ropefs_write(fs, a.ino, 0, coins, COINS, 0, NULL));
		purses[i] = a.ino;
	}
	for (unsigned i = 0; i < THREADS; i++) {
		movers[i].fs = fs;
		movers[i].rng = rng_seeded(suite_seed() + i);
		ck_assert_int_eq(
			pthread_create(&threads[i], NULL, mover_main, &movers[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		ck_assert_msg(!*movers[i].error, "%s", movers[i].error);
		moved += movers[i].moved;
		conflicts += movers[i].conflicts;
	}
	printf("# %u moves, %u conflicts\n", moved, conflicts);
	ck_assert_uint_gt(moved, 0);
	ck_ok(purses_sum(fs, &sum));
	ck_assert_uint_eq(sum, COINS * PURSES);
	ck_ok(ropefs_close(fs));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("txn");
	TCase *tc = tcase_create("model");

	tcase_set_timeout(tc, 3600);
	tcase_add_test(tc, transactions_are_whole_or_absent);
	tcase_add_test(tc, threads_conflict_or_succeed);
	suite_add_tcase(s, tc);
	return suite_main(s);
}
