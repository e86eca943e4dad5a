/* test_errors.c - every call that a store makes of the disk fails once, or from some call on
 * for ever, in the middle of a fixed scenario of edits, syncs, checkpoints, collections and
 * reopenings; and the disk is full, at every size.
 *
 * What must hold: an error is one a program can be told (EIO, ENOSPC, EROFS), and the step that
 * gave it is not there; nothing read is ever wrong; once the fault is over and the store was
 * opened anew, after kill -9 or a power cut, it equals a prefix of the history no shorter than
 * what was synced. */
#include <errno.h>
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

#define FILES	  5
#define FILE_MAX  (64 * 1024)
#define WRITE_MAX (16 * 1024)
#define STEPS	  260
#define STEPS_MAX (4 * STEPS)

/* --- the model: flat arrays, and the steps since the last sync --- */

struct file {
	uint64_t ino; /* 0: not there */
	size_t n;
	uint8_t p[2 * FILE_MAX];
};

enum kind { WRITE, APPEND, INSERT, CUT, TRUNCATE, COPY, CREATE, REMOVE, SWAP, KINDS };

struct step {
	enum kind kind;
	unsigned i, j;
	size_t at, n;
	uint64_t seed; /* of the bytes */
	uint64_t ino; /* made by it */
	uint64_t lsn;
};

struct world {
	struct io *io;
	const struct io_ops *sim_ops;
	struct io_ops kept_ops;
	struct key_file *kf;
	struct ropefs *fs; /* NULL: an opening failed */
	struct rng rng;
	struct file now[FILES], synced[FILES];
	struct step steps[STEPS_MAX]; /* since synced */
	size_t n_steps;
	uint64_t synced_lsn;
	const char *what; /* the fault, for messages */
	bool faulty; /* one may strike */
	uint64_t refused; /* steps */
};

static struct world w;

static void splice(struct file *f, size_t at, size_t del, const uint8_t *p, size_t n)
{
	memmove(f->p + at + n, f->p + at + del, f->n - at - del);
	memcpy(f->p + at, p, n);
	f->n = f->n - del + n;
}

static const uint8_t *bytes_of(const struct step *s)
{
	static uint8_t bytes[WRITE_MAX];
	struct rng rng = rng_seeded(s->seed);

	rng_fill(&rng, bytes, MIN(s->n, sizeof(bytes)));
	return bytes;
}

static void model_apply(struct file *files, const struct step *s)
{
	static struct file t;
	struct file *f = &files[s->i], *g = &files[s->j];

	switch (s->kind) {
	case WRITE:
		splice(f, s->at, MIN(s->n, f->n - s->at), bytes_of(s), s->n);
		break;
	case APPEND:
		splice(f, f->n, 0, bytes_of(s), s->n);
		break;
	case INSERT:
		splice(f, s->at, 0, bytes_of(s), s->n);
		break;
	case CUT:
		splice(f, s->at, s->n, f->p, 0);
		break;
	case TRUNCATE:
		if (s->n > f->n)
			memset(f->p + f->n, 0, s->n - f->n);
		f->n = s->n;
		break;
	case COPY:
		t = *g;
		splice(f, s->at, MIN(t.n, f->n - s->at), t.p, t.n);
		break;
	case CREATE:
	case REMOVE:
		f->ino = s->ino;
		f->n = 0;
		break;
	case SWAP:
		t = *f;
		*f = *g;
		*g = t;
		break;
	case KINDS:
		break;
	}
}

/* A step that the model allows. */
static bool choose(struct step *s)
{
	const struct file *f, *g;

	*s = (struct step) { .kind = (enum kind)rng_below(&w.rng, KINDS) };
	if (s->kind >= COPY && rng_below(&w.rng, 3))
		s->kind = (enum kind)rng_below(&w.rng, COPY);
	s->i = (unsigned)rng_below(&w.rng, FILES);
	s->j = (unsigned)rng_below(&w.rng, FILES);
	s->seed = rng_next(&w.rng);
	s->n = 1 + rng_below(&w.rng, rng_below(&w.rng, 3) ? 300 : WRITE_MAX);
	f = &w.now[s->i];
	g = &w.now[s->j];
	if (!f->ino)
		s->kind = CREATE;
	s->at = rng_below(&w.rng, f->n + 1);
	switch (s->kind) {
	case WRITE:
	case APPEND:
	case INSERT:
		return f->n + s->n <= FILE_MAX;
	case CUT:
		s->n = MIN(s->n, f->n - s->at);
		return s->n > 0;
	case TRUNCATE:
		s->n = rng_below(&w.rng, FILE_MAX);
		return true;
	case COPY:
		return g->ino && s->i != s->j && g->n && s->at + g->n <= FILE_MAX;
	case CREATE:
		return !f->ino;
	case REMOVE:
		return rng_below(&w.rng, 3) == 0;
	case SWAP:
		return g->ino && s->i != s->j;
	case KINDS:
		break;
	}
	return false;
}

/* --- the store --- */

static struct ropefs_name name_of(unsigned i)
{
	static char names[FILES][8];

	snprintf(names[i], sizeof(names[i]), "f%u", i);
	return ropefs_name(names[i]);
}

static int store_apply(struct step *s)
{
	struct ropefs_new what = { .mode = S_IFREG | 0644 };
	uint64_t ino = w.now[s->i].ino, from = w.now[s->j].ino;
	struct ropefs_attr attr;
	int r;

	switch (s->kind) {
	case WRITE:
		return (int)ropefs_write(w.fs, ino, s->at, bytes_of(s), s->n, 0, NULL);
	case APPEND:
		return (int)ropefs_write(w.fs, ino, 0, bytes_of(s), s->n, ROPEFS_APPEND,
					 NULL);
	case INSERT:
		return (int)ropefs_insert(w.fs, ino, s->at, bytes_of(s), s->n, 0);
	case CUT:
		return ropefs_cut(w.fs, ino, s->at, s->n);
	case TRUNCATE:
		return ropefs_truncate(w.fs, ino, s->n);
	case COPY:
		return (int)ropefs_copy(w.fs, (struct ropefs_range) { ino, s->at, 0 },
					(struct ropefs_range) { from, 0, w.now[s->j].n });
	case CREATE:
		r = ropefs_create(w.fs, ROPEFS_ROOT_INO, name_of(s->i), &what, &attr);
		s->ino = r < 0 ? 0 : attr.ino;
		return r;
	case REMOVE:
		return ropefs_unlink(w.fs, ROPEFS_ROOT_INO, name_of(s->i));
	case SWAP:
		return ropefs_rename(w.fs, ROPEFS_ROOT_INO, name_of(s->i),
				     ROPEFS_ROOT_INO, name_of(s->j), RENAME_EXCHANGE);
	case KINDS:
		break;
	}
	return -EINVAL;
}

/* An error must come of a fault, and be one that programs understand. */
static void expect_proper(int r, const char *where)
{
	int err = ropefs_error_errno(r);

	ck_assert_msg(w.faulty, "%s: %s fails without a fault: %d %s", w.what, where, r,
		      err_detail());
	ck_assert_msg(err == EIO || err == ENOSPC || err == EROFS,
		      "%s: %s gives errno %d (%d %s)", w.what, where, err, r,
		      err_detail());
}

static int world_try_open(void)
{
	struct store_opts o = { .segment_bytes = 10 * MIB };
	int r;

	o.pub.memory_bytes = 32 * MIB;
	w.fs = NULL;
	r = store_open(w.io, w.kf, &o, &w.fs);
	if (r < 0) {
		expect_proper(r, "opening");
		return r;
	}
	w.fs->hot_soft = 128 * KIB;
	w.fs->hot_hard = 1 * MIB;
	nodes_set_budget(w.fs->nodes, 32 * KIB);
	packs_set_budget(w.fs->packs, 256 * KIB);
	return 0;
}

static void world_remember_sync(void)
{
	memcpy(w.synced, w.now, sizeof(w.now));
	w.synced_lsn = w.fs->wal ? wal_last_lsn(w.fs->wal) : w.fs->replayed_lsn;
	w.n_steps = 0;
}

/* What is read is right, or, while there are faults, an error. */
static void world_compare(void)
{
	static uint8_t bytes[2 * FILE_MAX];

	for (unsigned i = 0; i < FILES; i++) {
		const struct file *f = &w.now[i];
		struct ropefs_attr attr;
		ssize_t n;
		int r = ropefs_lookup(w.fs, ROPEFS_ROOT_INO, name_of(i), &attr);

		if (!f->ino && r == -ENOENT)
			continue;
		if (r < 0) {
			expect_proper(r, "a lookup");
			continue;
		}
		ck_assert_msg(attr.ino == f->ino && attr.size == f->n,
			      "%s: file %u is %llu of %llu bytes, not %llu of %zu",
			      w.what, i, (unsigned long long)attr.ino,
			      (unsigned long long)attr.size, (unsigned long long)f->ino,
			      f->n);
		n = ropefs_read(w.fs, f->ino, 0, bytes, sizeof(bytes), 0);
		if (n < 0)
			expect_proper((int)n, "a read");
		else
			ck_assert_msg(n == (ssize_t)f->n && !memcmp(bytes, f->p, f->n),
				      "%s: file %u has wrong bytes", w.what, i);
	}
}

/* Damage is never forgiven, an error of the disk while there are faults. */
static void expect_whole(int r, const char *where)
{
	ck_assert_msg(r != -E_CORRUPT, "%s: %s: %s", w.what, where, err_detail());
	if (r < 0)
		expect_proper(r, where);
}

static void world_check_trees(void)
{
	lock_take(&w.fs->engine);
	for (int i = 0; i < FILES; i++) {
		struct inode *in;
		int r;

		if (!w.now[i].ino)
			continue;
		r = inode_get(w.fs, w.now[i].ino, &in);
		if (r >= 0)
			r = rope_check(&w.fs->env, &in->row.rope);
		expect_whole(r, "the tree of a file");
		nodes_trim(w.fs->nodes);
	}
	expect_whole(btree_check(&w.fs->catalog.bt), "the catalog");
	lock_drop(&w.fs->engine);
}

static void world_step(void)
{
	struct step s;
	int r;

	if (!choose(&s))
		return;
	r = store_apply(&s);
	if (r < 0) {
		expect_proper(r, "a step");
		w.refused++;
		return;
	}
	ck_assert(w.fs->wal);
	s.lsn = wal_last_lsn(w.fs->wal);
	model_apply(w.now, &s);
	ck_assert_uint_lt(w.n_steps, STEPS_MAX);
	w.steps[w.n_steps++] = s;
}

static void world_sync(int (*sync)(struct ropefs *fs))
{
	int r = sync(w.fs);

	if (r < 0)
		expect_proper(r, "a sync");
	else
		world_remember_sync();
}

static void world_close(void)
{
	if (w.fs)
		store_abandon(w.fs, true);
	w.fs = NULL;
}

/* The store must equal the history up to the LSN it says it has. */
static void world_is_prefix(void)
{
	uint64_t lsn = w.fs->replayed_lsn;

	ck_assert_msg(!w.fs->read_only, "%s: read-only: %s", w.what, w.fs->read_only_why);
	ck_assert_msg(lsn >= w.synced_lsn, "%s: lost what was synced: %llu < %llu",
		      w.what, (unsigned long long)lsn, (unsigned long long)w.synced_lsn);
	memcpy(w.now, w.synced, sizeof(w.now));
	for (size_t i = 0; i < w.n_steps && w.steps[i].lsn <= lsn; i++)
		model_apply(w.now, &w.steps[i]);
	world_compare();
	world_check_trees();
	world_sync(ropefs_sync);
}

static void world_reopen(bool power_cut)
{
	world_close();
	if (power_cut)
		io_sim_power_cut(w.io);
	else
		io_sim_kill(w.io);
	if (world_try_open() < 0)
		return;
	/* A replay that can't read stops, and the store is read-only: as good as not opened. */
	if (w.fs->read_only && w.faulty)
		world_close();
	else
		world_is_prefix();
}

static void keep_io(struct io *io)
{
}

static void world_init(uint64_t seed)
{
	memset(&w, 0, sizeof(w));
	w.what = "before any fault";
	w.rng = rng_seeded(seed);
	sim_store_new(seed, &w.io, &w.kf);
	/* An opening that fails frees its io; the disk must outlive that. */
	w.sim_ops = w.io->ops;
	w.kept_ops = *w.sim_ops;
	w.kept_ops.free = keep_io;
	w.io->ops = &w.kept_ops;
	ck_ok(world_try_open());
	ck_ok(ropefs_sync(w.fs));
	world_remember_sync();
}

static void world_release(void)
{
	world_close();
	key_file_free(w.kf);
	w.io->ops = w.sim_ops;
	io_sim_kill(w.io);
	io_free(w.io);
}

/* --- the scenario --- */

/* Ends early when an opening fails. */
static void scenario(void)
{
	for (int i = 1; i <= STEPS && w.fs; i++) {
		world_step();
		if (i % 16 == 0)
			world_sync(ropefs_sync);
		if (i % 60 == 0)
			world_sync(ropefs_checkpoint);
		if (i % 110 == 0)
			world_sync(ropefs_collect);
		if (i % 40 == 0)
			world_compare();
		if (i == 90 && !w.fs->read_only)
			world_reopen(false);
		if (i == 190) { /* clean */
			world_sync(ropefs_checkpoint);
			if (!w.fs->read_only && !w.n_steps)
				world_reopen(true);
		}
	}
}

struct fault {
	const char *name;
	unsigned mask;
};

static const struct fault faults[] = {
	{ "pread", IO_SIM_PREAD },	 { "pwrite", IO_SIM_PWRITE },
	{ "sync", IO_SIM_SYNC },	 { "open", IO_SIM_OPEN },
	{ "rename", IO_SIM_RENAME },	 { "unlink", IO_SIM_UNLINK },
	{ "truncate", IO_SIM_TRUNCATE }, { "sync_dir", IO_SIM_SYNC_DIR },
};

struct shot {
	const struct fault *fault;
	uint64_t n;
	int err;
	bool forever, power_cut;
};

/* After it: in this process as far as that can go on, then in the next two. */
static void aftermath(const struct shot *shot)
{
	w.faulty = false;
	io_sim_fail_at(w.io, 0, 0, 0, false);
	if (w.fs) {
		world_compare();
		world_check_trees();
		/* The disk that was full must not be the end of it. */
		if (shot->err == ENOSPC && shot->fault->mask == IO_SIM_TRUNCATE)
			ck_assert_msg(!w.fs->read_only, "%s: read-only: %s", w.what,
				      w.fs->read_only_why);
	}
	world_reopen(shot->power_cut);
	ck_assert(w.fs);
	for (int i = 0; i < 20; i++)
		world_step();
	ck_ok(ropefs_checkpoint(w.fs));
	world_remember_sync();
	world_reopen(!shot->power_cut);
	world_reopen(true);
	ck_ok(ropefs_collect(w.fs));
	world_compare();
}

static void shoot(uint64_t seed, const struct shot *shot)
{
	char what[128];

	snprintf(what, sizeof(what), "seed %#llx, %s %llu fails %s with %s, then %s",
		 (unsigned long long)seed, shot->fault->name, (unsigned long long)shot->n,
		 shot->forever ? "for ever" : "once", strerror(shot->err),
		 shot->power_cut ? "a power cut" : "a kill");
	world_init(seed);
	w.what = what;
	w.faulty = true;
	io_sim_fail_at(w.io, shot->fault->mask, shot->n, shot->err, shot->forever);
	scenario();
	aftermath(shot);
	world_release();
}

/* How many calls of each kind the scenario makes when nothing fails. */
static void count_calls(uint64_t seed, uint64_t *ret)
{
	size_t n = sizeof(faults) / sizeof(faults[0]);
	uint64_t before[sizeof(faults) / sizeof(faults[0])];

	world_init(seed);
	for (size_t i = 0; i < n; i++)
		before[i] = io_sim_calls(w.io, faults[i].mask);
	scenario();
	ck_assert_uint_eq(w.refused, 0);
	for (size_t i = 0; i < n; i++)
		ret[i] = io_sim_calls(w.io, faults[i].mask) - before[i];
	world_release();
}

/* Of each kind the first calls, one after another, then ever further apart; as many rounds
 * as there is time for, each with another place between. */
START_TEST(an_error_at_any_call_costs_nothing_that_was_acknowledged)
{
	const struct fault *f = &faults[_i];
	time_t until = time(NULL) + (suite_seconds(32) + 7) / 8;
	uint64_t calls[sizeof(faults) / sizeof(faults[0])];
	uint64_t seed = suite_seed(), shots = 0, first = 1;
	struct rng rng = rng_seeded(seed + (uint64_t)_i);

	count_calls(seed, calls);
	ck_assert(calls[_i] > 0 || f->mask == IO_SIM_UNLINK);
	do {
		for (uint64_t n = first; n <= calls[_i]; n += 1 + rng_below(&rng, n)) {
			struct shot shot = {
				.fault = f,
				.n = n,
				.err = rng_below(&rng, 3) ? EIO : ENOSPC,
				.forever = rng_below(&rng, 2),
				.power_cut = rng_below(&rng, 2),
			};

			shoot(seed, &shot);
			shots++;
		}
		first++;
	} while (time(NULL) < until);
	printf("# %s: %llu runs, each with a fault at one of %llu calls\n", f->name,
	       (unsigned long long)shots, (unsigned long long)calls[_i]);
	fflush(stdout);
}
END_TEST

/* A pack whose directory can't be read has no live bytes that one could count. New packs are
 * not open yet when the collection comes to them. */
START_TEST(a_collection_that_can_not_read_removes_nothing)
{
	world_init(suite_seed());
	for (uint64_t n = 1; n <= 60; n++) {
		for (int i = 0; i < 25; i++)
			world_step();
		world_sync(ropefs_checkpoint);
		w.what = "a collection without reads";
		w.faulty = true;
		io_sim_fail_at(w.io, IO_SIM_PREAD, 1 + n % 20, EIO, true);
		world_sync(ropefs_collect);
		io_sim_fail_at(w.io, 0, 0, 0, false);
		w.faulty = false;
		world_compare();
	}
	world_release();
}
END_TEST

/* --- a full disk --- */

/* False when an opening was refused. */
static bool full_round(uint64_t seed, uint64_t free_bytes)
{
	char what[96];
	bool refused;

	snprintf(what, sizeof(what), "seed %#llx, %llu bytes free",
		 (unsigned long long)seed, (unsigned long long)free_bytes);
	world_init(seed);
	w.what = what;
	for (int i = 0; i < 40; i++)
		world_step();
	ck_ok(ropefs_checkpoint(w.fs));
	world_remember_sync();
	w.faulty = true;
	io_sim_set_free(w.io, free_bytes);
	scenario();
	if (!w.fs) { /* no room even for an empty log: nothing is lost by it */
		io_sim_set_free(w.io, 64 * MIB);
		w.faulty = false;
		world_reopen(true);
		world_release();
		return false;
	}
	ck_assert_msg(!w.fs->read_only, "%s: read-only: %s", what, w.fs->read_only_why);
	world_compare();
	refused = w.refused > 0;

	/* Taking away always works. */
	for (unsigned i = 0; refused && i < FILES; i++) {
		struct step s = { .kind = i % 2 ? REMOVE : TRUNCATE, .i = i };

		if (!w.now[i].ino)
			continue;
		ck_assert_msg(store_apply(&s) == 0, "%s: removing fails: %s", what,
			      err_detail());
		s.lsn = wal_last_lsn(w.fs->wal);
		model_apply(w.now, &s);
		w.steps[w.n_steps++] = s;
	}
	world_compare();

	/* Room again: no reopening is needed. */
	io_sim_set_free(w.io, 256 * MIB);
	w.faulty = false;
	for (int i = 0; i < 100; i++)
		world_step();
	world_sync(ropefs_sync);
	world_sync(ropefs_checkpoint);
	world_reopen(rng_below(&w.rng, 2));
	world_release();
	return true;
}

START_TEST(a_full_disk_refuses_and_recovers)
{
	time_t until = time(NULL) + (suite_seconds(32) + 7) / 8;
	struct rng rng = rng_seeded(suite_seed());
	uint64_t rounds = 0, opened = 0;

	for (uint64_t kib = 0; kib <= 40 * KIB; kib += 2 * KIB, rounds++)
		opened += full_round(suite_seed(), kib * KIB);
	for (; time(NULL) < until; rounds++)
		opened += full_round(rng_next(&rng), rng_below(&rng, 36 * MIB));
	printf("# %llu sizes of a full disk, in %llu of them it could be opened\n",
	       (unsigned long long)rounds, (unsigned long long)opened);
	ck_assert_uint_gt(opened, rounds / 2);
	fflush(stdout);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("errors");
	TCase *tc = tcase_create("io");

	tcase_set_timeout(tc, 3600);
	tcase_add_loop_test(tc, an_error_at_any_call_costs_nothing_that_was_acknowledged,
			    0, (int)(sizeof(faults) / sizeof(faults[0])));
	tcase_add_test(tc, a_collection_that_can_not_read_removes_nothing);
	tcase_add_test(tc, a_full_disk_refuses_and_recovers);
	suite_add_tcase(s, tc);
	return suite_main(s);
}
