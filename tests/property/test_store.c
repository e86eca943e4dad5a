/* test_store.c - random operations on a whole store (on the simulated disk) against flat
 * arrays: every kind of edit, several files, clones, snapshots, checkpoints, collections, clean
 * reopening, kill -9 and power cuts. After a crash the store must equal the model at some
 * point of its history that is no older than the last sync. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/base/err.h"
#include "core/io/io_sim.h"
#include "core/store_priv.h"
#include "tests/lib/sim_store.h"
#include "tests/lib/suite.h"

#define FILES	  6
#define SNAPS	  4
#define FILE_MAX  (96 * 1024)
#define WRITE_MAX (24 * 1024)
#define STEPS_MIN 1000

struct file {
	uint64_t ino; /* 0: not there */
	uint8_t *p;
	size_t n;
};

/* All that a store holds. */
struct state {
	struct file files[FILES];
	struct {
		bool there;
		struct file files[FILES];
	} snaps[SNAPS];
};

enum kind {
	WRITE,
	APPEND,
	INSERT,
	CUT,
	TRUNCATE,
	PUNCH,
	REPLACE,
	COPY,
	CREATE,
	REMOVE,
	SWAP,
	SNAPSHOT,
	SNAPSHOT_DROP,
	COPY_OUT, /* of a snapshot */
	KINDS
};

struct step {
	enum kind kind;
	unsigned i, j, k; /* files; snapshot */
	size_t at, n, at2, n2;
	uint64_t seed; /* of the bytes */
	uint64_t ino;
	uint64_t lsn; /* of the last record it made */
};

struct world {
	struct io *io;
	struct key_file *kf;
	struct ropefs *fs;
	struct rng rng;
	struct state now, synced;
	uint64_t synced_lsn;
	struct step *steps; /* since synced */
	size_t n_steps, cap;
	uint64_t done[KINDS], crashes, reopens, checkpoints, collections;
};

static void files_copy(struct file *to, const struct file *from)
{
	for (int i = 0; i < FILES; i++) {
		to[i].ino = from[i].ino;
		to[i].n = from[i].n;
		memcpy(to[i].p, from[i].p, from[i].n);
	}
}

static void state_copy(struct state *to, const struct state *from)
{
	files_copy(to->files, from->files);
	for (int k = 0; k < SNAPS; k++) {
		to->snaps[k].there = from->snaps[k].there;
		if (from->snaps[k].there)
			files_copy(to->snaps[k].files, from->snaps[k].files);
	}
}

static void files_init(struct file *f)
{
	for (int i = 0; i < FILES; i++) {
		f[i].p = malloc(FILE_MAX * 2);
		ck_assert(f[i].p);
	}
}

static void state_init(struct state *st)
{
	files_init(st->files);
	for (int k = 0; k < SNAPS; k++)
		files_init(st->snaps[k].files);
}

static void files_release(struct file *f)
{
	for (int i = 0; i < FILES; i++)
		free(f[i].p);
}

static void state_release(struct state *st)
{
	files_release(st->files);
	for (int k = 0; k < SNAPS; k++)
		files_release(st->snaps[k].files);
}

/* --- the model: flat arrays --- */

static void model_splice(struct file *f, size_t at, size_t del, const uint8_t *p,
			 size_t n)
{
	memmove(f->p + at + n, f->p + at + del, f->n - at - del);
	if (n)
		memcpy(f->p + at, p, n);
	f->n = f->n - del + n;
}

static void model_apply(struct state *st, const struct step *s)
{
	static uint8_t bytes[FILE_MAX * 2];
	struct file *f = &st->files[s->i], *g = &st->files[s->j], t;
	struct rng rng = rng_seeded(s->seed);

	switch (s->kind) {
	case WRITE:
	case APPEND:
		rng_fill(&rng, bytes, s->n);
		if (s->at > f->n)
			memset(f->p + f->n, 0, s->at - f->n);
		memcpy(f->p + s->at, bytes, s->n);
		if (s->at + s->n > f->n)
			f->n = s->at + s->n;
		break;
	case INSERT:
		rng_fill(&rng, bytes, s->n);
		model_splice(f, s->at, 0, bytes, s->n);
		break;
	case CUT:
		model_splice(f, s->at, s->n, NULL, 0);
		break;
	case TRUNCATE:
		if (s->n > f->n)
			memset(f->p + f->n, 0, s->n - f->n);
		f->n = s->n;
		break;
	case PUNCH:
		memset(f->p + s->at, 0, s->n);
		break;
	case REPLACE:
		memcpy(bytes, g->p + s->at2, s->n2);
		model_splice(f, s->at, s->n, bytes, s->n2);
		break;
	case COPY_OUT:
		g = &st->snaps[s->k].files[s->j];
		/* fall through */
	case COPY:
		memcpy(bytes, g->p + s->at2, s->n2);
		memcpy(f->p + s->at, bytes, s->n2);
		if (s->at + s->n2 > f->n)
			f->n = s->at + s->n2;
		break;
	case CREATE:
		f->ino = s->ino;
		f->n = 0;
		break;
	case REMOVE:
		f->ino = 0;
		f->n = 0;
		break;
	case SWAP:
		t = *f;
		*f = *g;
		*g = t;
		break;
	case SNAPSHOT:
		st->snaps[s->k].there = true;
		files_copy(st->snaps[s->k].files, st->files);
		break;
	case SNAPSHOT_DROP:
		st->snaps[s->k].there = false;
		break;
	case KINDS:
		break;
	}
}

/* --- the store --- */

static struct ropefs_name name_of(unsigned i)
{
	static char names[FILES][8];

	snprintf(names[i], sizeof(names[i]), "f%u", i);
	return ropefs_name(names[i]);
}

static uint64_t lsn_now(struct world *w)
{
	return wal_last_lsn(w->fs->wal);
}

static void world_open(struct world *w)
{
	struct store_opts o = { .threads = false, .segment_bytes = 10 * MIB };
	int r;

	/* A small budget, so that checkpoints come by themselves and caches are too small. */
	o.pub.memory_bytes = 32 * MIB;
	r = store_open(w->io, w->kf, &o, &w->fs);
	ck_assert_msg(r == 0, "open: %d %s", r, err_detail());
	w->fs->hot_soft = 256 * KIB;
	w->fs->hot_hard = 2 * MIB;
	nodes_set_budget(w->fs->nodes, 64 * KIB);
	packs_set_budget(w->fs->packs, 512 * KIB);
}

static struct ropefs_name snap_name(unsigned k)
{
	static char names[SNAPS][8];

	snprintf(names[k], sizeof(names[k]), "s%u", k);
	return ropefs_name(names[k]);
}

static void compare_files(struct world *w, const struct file *files, uint64_t root)
{
	static uint8_t bytes[FILE_MAX * 2];

	for (unsigned i = 0; i < FILES; i++) {
		const struct file *f = &files[i];
		struct ropefs_attr attr;
		int r = ropefs_lookup(w->fs, root, name_of(i), &attr);

		if (!f->ino) {
			ck_assert_int_eq(r, -ENOENT);
			continue;
		}
		ck_assert_msg(r == 0, "lookup: %d %s", r, err_detail());
		ck_assert_uint_eq(ino_base(attr.ino), f->ino);
		ck_assert_uint_eq(attr.size, f->n);
		ck_assert_int_eq(ropefs_read(w->fs, attr.ino, 0, bytes, sizeof(bytes), 0),
				 (ssize_t)f->n);
		ck_assert_msg(!memcmp(bytes, f->p, f->n), "file %u of %llx differs", i,
			      (unsigned long long)root);
	}
}

static void world_compare(struct world *w)
{
	struct ropefs_attr root;

	compare_files(w, w->now.files, ROPEFS_ROOT_INO);
	for (unsigned k = 0; k < SNAPS; k++) {
		int r = ropefs_snapshot_lookup(w->fs, ROPEFS_ROOT_INO, snap_name(k),
					       &root);

		ck_assert_msg(r == (w->now.snaps[k].there ? 0 : -ENOENT), "%d %s", r,
			      err_detail());
		if (r == 0)
			compare_files(w, w->now.snaps[k].files, root.ino);
	}
}

/* Reads a random part of a random file. */
static void world_look(struct world *w)
{
	static uint8_t bytes[WRITE_MAX];
	struct file *f = &w->now.files[rng_below(&w->rng, FILES)];
	size_t at, n;

	if (!f->ino)
		return;
	at = rng_below(&w->rng, f->n + 1);
	n = rng_below(&w->rng, sizeof(bytes)) + 1;
	n = MIN(n, f->n - at);
	ck_assert_int_eq(ropefs_read(w->fs, f->ino, at, bytes, n, 0), (ssize_t)n);
	ck_assert_msg(!memcmp(bytes, f->p + at, n), "bytes %zu..%zu differ", at, at + n);
}

static void world_check_trees(struct world *w)
{
	lock_take(&w->fs->engine);
	for (int i = 0; i < FILES; i++) {
		struct inode *in;

		if (!w->now.files[i].ino)
			continue;
		ck_ok(inode_get(w->fs, w->now.files[i].ino, &in));
		ck_assert_msg(rope_check(&w->fs->env, &in->row.rope) == 0, "%s",
			      err_detail());
		nodes_trim(w->fs->nodes);
	}
	ck_assert_msg(btree_check(&w->fs->catalog.bt) == 0, "%s", err_detail());
	ck_assert_msg(btree_check(&w->fs->snaps) == 0, "%s", err_detail());
	lock_drop(&w->fs->engine);
}

/* Chooses a step that the model allows; false: none of this kind now. */
static bool choose(struct world *w, struct step *s)
{
	static const struct step none;
	struct file *f, *g;
	bool small = rng_below(&w->rng, 12) != 0;
	size_t max = small ? 200 : WRITE_MAX;

	*s = none;
	s->kind = (enum kind)rng_below(&w->rng, KINDS);
	if (s->kind >= REPLACE && rng_below(&w->rng, 4))
		s->kind = (enum kind)rng_below(&w->rng, CUT + 1);
	s->i = (unsigned)rng_below(&w->rng, FILES);
	s->j = (unsigned)rng_below(&w->rng, FILES);
	s->seed = rng_next(&w->rng);
	s->k = (unsigned)rng_below(&w->rng, SNAPS);
	f = &w->now.files[s->i];
	g = &w->now.files[s->j];
	if (s->kind == SNAPSHOT)
		return !w->now.snaps[s->k].there;
	if (s->kind == SNAPSHOT_DROP)
		return w->now.snaps[s->k].there;
	if (!f->ino)
		s->kind = CREATE;
	s->n = rng_below(&w->rng, max) + 1;
	s->at = rng_below(&w->rng, f->n + 1);
	switch (s->kind) {
	case WRITE:
		if (rng_below(&w->rng, 50) == 0) /* past the end */
			s->at = f->n + rng_below(&w->rng, 10000);
		return s->at + s->n <= FILE_MAX;
	case APPEND:
		s->at = f->n;
		return s->at + s->n <= FILE_MAX;
	case INSERT:
		return f->n + s->n <= FILE_MAX;
	case CUT:
		if (rng_below(&w->rng, 3) == 0)
			s->n = rng_below(&w->rng, f->n + 1);
		s->n = MIN(s->n, f->n - s->at);
		return s->n > 0;
	case TRUNCATE:
		s->n = rng_below(&w->rng, 8) ? rng_below(&w->rng, f->n + 1)
					     : rng_below(&w->rng, FILE_MAX);
		return true;
	case PUNCH:
		s->n = MIN(s->n, f->n - s->at);
		return s->n > 0;
	case REPLACE:
		if (!g->ino || s->i == s->j)
			return false;
		s->n = rng_below(&w->rng, f->n - s->at + 1);
		s->at2 = rng_below(&w->rng, g->n + 1);
		s->n2 = rng_below(&w->rng, g->n - s->at2 + 1);
		return f->n - s->n + s->n2 <= FILE_MAX;
	case COPY_OUT:
		g = &w->now.snaps[s->k].files[s->j];
		if (!w->now.snaps[s->k].there || !g->ino || !g->n)
			return false;
		if (rng_below(&w->rng, 2) && !f->n) { /* as a whole */
			s->at = 0;
			s->n2 = g->n;
			return s->n2 <= FILE_MAX;
		}
		s->at2 = rng_below(&w->rng, g->n);
		s->n2 = rng_below(&w->rng, g->n - s->at2) + 1;
		return s->at + s->n2 <= FILE_MAX;
	case COPY:
		if (!g->ino || s->i == s->j || !g->n)
			return false;
		s->at2 = rng_below(&w->rng, 3) ? 0 : rng_below(&w->rng, g->n);
		s->n2 = rng_below(&w->rng, 3) ? g->n - s->at2
					      : rng_below(&w->rng, g->n - s->at2) + 1;
		return s->at + s->n2 <= FILE_MAX;
	case CREATE:
		return !f->ino;
	case REMOVE:
		return rng_below(&w->rng, 4) == 0;
	case SWAP:
		return g->ino && s->i != s->j;
	case SNAPSHOT:
	case SNAPSHOT_DROP:
	case KINDS:
		break;
	}
	return false;
}

static int copy_out(struct world *w, const struct step *s)
{
	struct ropefs_attr root, from;
	ssize_t n;
	int r = ropefs_snapshot_lookup(w->fs, ROPEFS_ROOT_INO, snap_name(s->k), &root);

	if (r >= 0)
		r = ropefs_lookup(w->fs, root.ino, name_of(s->j), &from);
	if (r < 0)
		return r;
	n = ropefs_copy(w->fs, (struct ropefs_range) { w->now.files[s->i].ino, s->at, 0 },
			(struct ropefs_range) { from.ino, s->at2, s->n2 });
	ck_assert(n < 0 || (size_t)n == s->n2);
	return n < 0 ? (int)n : 0;
}

static int write_like(struct world *w, const struct step *s)
{
	static uint8_t bytes[WRITE_MAX];
	const struct file *g = &w->now.files[s->j];
	ssize_t n;
	bool shared;

	memcpy(bytes, g->p + s->at2, s->n2);
	n = ropefs_write_like(
		w->fs, (struct ropefs_range) { w->now.files[s->i].ino, s->at, s->n2 },
		bytes, 0, (struct ropefs_range) { g->ino, s->at2, s->n2 }, &shared);
	ck_assert(n < 0 || (shared && (size_t)n == s->n2));
	return n < 0 ? (int)n : 0;
}

/* The same step on the store. */
static int store_apply(struct world *w, struct step *s)
{
	static uint8_t bytes[WRITE_MAX + 1];
	struct file *f = &w->now.files[s->i], *g = &w->now.files[s->j];
	struct rng rng = rng_seeded(s->seed);
	struct ropefs_new what = { .mode = S_IFREG | 0644 };
	struct ropefs_attr attr;
	uint64_t at;
	ssize_t n;
	int r;

	switch (s->kind) {
	case WRITE:
		rng_fill(&rng, bytes, s->n);
		n = ropefs_write(w->fs, f->ino, s->at, bytes, s->n, 0, NULL);
		return n < 0 ? (int)n : 0;
	case APPEND:
		rng_fill(&rng, bytes, s->n);
		n = ropefs_write(w->fs, f->ino, 0, bytes, s->n, ROPEFS_APPEND, &at);
		ck_assert(n < 0 || at == s->at);
		return n < 0 ? (int)n : 0;
	case INSERT:
		rng_fill(&rng, bytes, s->n);
		n = ropefs_insert(w->fs, f->ino, s->at, bytes, s->n, 0);
		return n < 0 ? (int)n : 0;
	case CUT:
		return ropefs_cut(w->fs, f->ino, s->at, s->n);
	case TRUNCATE:
		return ropefs_truncate(w->fs, f->ino, s->n);
	case PUNCH:
		return ropefs_punch(w->fs, f->ino, s->at, s->n, true);
	case REPLACE:
		return ropefs_replace(w->fs,
				      (struct ropefs_range) { f->ino, s->at, s->n },
				      (struct ropefs_range) { g->ino, s->at2, s->n2 });
	case COPY:
		if (s->seed % 2 && s->n2 <= WRITE_MAX) /* as who reads and writes does */
			return write_like(w, s);
		n = ropefs_copy(w->fs, (struct ropefs_range) { f->ino, s->at, 0 },
				(struct ropefs_range) { g->ino, s->at2, s->n2 });
		ck_assert(n < 0 || (size_t)n == s->n2);
		return n < 0 ? (int)n : 0;
	case CREATE:
		r = ropefs_create(w->fs, ROPEFS_ROOT_INO, name_of(s->i), &what, &attr);
		s->ino = r < 0 ? 0 : attr.ino;
		return r;
	case REMOVE:
		return ropefs_unlink(w->fs, ROPEFS_ROOT_INO, name_of(s->i));
	case SWAP:
		return ropefs_rename(w->fs, ROPEFS_ROOT_INO, name_of(s->i),
				     ROPEFS_ROOT_INO, name_of(s->j), RENAME_EXCHANGE);
	case SNAPSHOT:
		r = ropefs_snapshot_create(w->fs, ROPEFS_ROOT_INO, snap_name(s->k),
					   &attr);
		ck_assert(r < 0 || wal_durable_lsn(w->fs->wal) >= lsn_now(w));
		return r;
	case SNAPSHOT_DROP:
		return ropefs_snapshot_drop(w->fs, ROPEFS_ROOT_INO, snap_name(s->k));
	case COPY_OUT:
		return copy_out(w, s);
	case KINDS:
		break;
	}
	return -EINVAL;
}

static void world_remember_sync(struct world *w)
{
	w->synced_lsn = lsn_now(w);
	state_copy(&w->synced, &w->now);
	w->n_steps = 0;
}

/* A step that is in the log; perhaps not for good. */
static void world_note(struct world *w, struct step s)
{
	s.lsn = lsn_now(w);
	model_apply(&w->now, &s);
	w->done[s.kind]++;
	if (w->n_steps == w->cap) {
		w->cap = w->cap ? w->cap * 2 : 256;
		w->steps = realloc(w->steps, w->cap * sizeof(*w->steps));
		ck_assert(w->steps);
	}
	w->steps[w->n_steps++] = s;
}

static void world_step(struct world *w)
{
	struct step s;
	int r;

	if (!choose(w, &s))
		return;
	r = store_apply(w, &s);
	ck_assert_msg(r == 0, "step of kind %d: %d %s", s.kind, r, err_detail());
	world_note(w, s);
}

/* After a crash: which prefix of the history is it? Then the store must equal it. */
static void world_after_crash(struct world *w)
{
	uint64_t lsn;

	world_open(w);
	lsn = w->fs->replayed_lsn;
	ck_assert_msg(!w->fs->read_only, "read-only: %s", w->fs->read_only_why);
	ck_assert_msg(lsn >= w->synced_lsn, "lost what was synced: %llu < %llu",
		      (unsigned long long)lsn, (unsigned long long)w->synced_lsn);
	state_copy(&w->now, &w->synced);
	for (size_t i = 0; i < w->n_steps && w->steps[i].lsn <= lsn; i++)
		model_apply(&w->now, &w->steps[i]);
	world_compare(w);
	world_check_trees(w);
	ck_ok(ropefs_sync(w->fs));
	world_remember_sync(w);
}

/* The power goes at some call of the opening itself. */
static void world_crash_opening(struct world *w)
{
	struct store_opts o = { .threads = false, .segment_bytes = 10 * MIB };

	o.pub.memory_bytes = 32 * MIB;
	o.hot_hard = rng_below(&w->rng, 2) ? 64 * KIB : 0; /* checkpoints during replay */
	io_sim_stop_at(w->io, IO_SIM_ANY, rng_below(&w->rng, 80) + 1);
	if (store_open(w->io, w->kf, &o, &w->fs) >= 0)
		store_abandon(w->fs, true);
	io_sim_stop_at(w->io, 0, 0);
	io_sim_power_cut(w->io);
}

static void world_crash(struct world *w)
{
	w->crashes++;
	/* Written, not synced: a killed process leaves it. */
	if (!wal_failed(w->fs->wal) && rng_below(&w->rng, 2))
		ck_ok(wal_push(w->fs->wal));
	store_abandon(w->fs, true);
	if (rng_below(&w->rng, 3))
		io_sim_power_cut(w->io);
	else
		io_sim_kill(w->io);
	while (rng_below(&w->rng, 3) == 0)
		world_crash_opening(w);
	world_after_crash(w);
}

/* The power goes at some call within what comes next, a checkpoint or a sync too. */
static void world_crash_within(struct world *w)
{
	uint64_t stop = rng_below(&w->rng, 60) + 1, before = lsn_now(w);
	struct step snap = { .kind = SNAPSHOT };
	int r = 0;

	while (snap.k < SNAPS && w->now.snaps[snap.k].there)
		snap.k++;

	io_sim_stop_at(w->io,
		       IO_SIM_PWRITE | IO_SIM_SYNC | IO_SIM_RENAME | IO_SIM_SYNC_DIR |
			       IO_SIM_UNLINK | IO_SIM_TRUNCATE | IO_SIM_OPEN,
		       stop);
	if (snap.k < SNAPS && rng_below(&w->rng, 2)) {
		r = ropefs_snapshot_create(w->fs, ROPEFS_ROOT_INO, snap_name(snap.k),
					   NULL);
		if (lsn_now(w) > before)
			world_note(w, snap);
	}
	if (r >= 0 && rng_below(&w->rng, 2))
		r = ropefs_checkpoint(w->fs);
	else if (r >= 0)
		r = ropefs_collect(w->fs);
	if (r >= 0)
		r = ropefs_sync(w->fs);
	io_sim_stop_at(w->io, 0, 0);
	if (r >= 0)
		world_remember_sync(w);
	world_crash(w);
}

static void world_reopen(struct world *w)
{
	struct io *io = w->io;
	int r;

	w->reopens++;
	r = checkpoint_run(w->fs, true);
	ck_assert_msg(r == 0, "checkpoint: %s", err_detail());
	store_abandon(w->fs, true);
	w->io = io;
	io_sim_kill(io);
	world_open(w);
	ck_assert(w->fs->was_clean);
	ck_assert_uint_eq(w->fs->recovered_records, 0);
	world_remember_sync(w);
	world_compare(w);
}

static void world_event(struct world *w)
{
	switch (rng_below(&w->rng, 12)) {
	case 0:
		world_crash(w);
		break;
	case 1:
		world_crash_within(w);
		break;
	case 2:
		world_reopen(w);
		break;
	case 3:
	case 4:
	case 5:
		ck_assert_msg(ropefs_checkpoint(w->fs) == 0, "%s", err_detail());
		world_remember_sync(w);
		w->checkpoints++;
		break;
	case 6:
		ck_assert_msg(ropefs_collect(w->fs) == 0, "%s", err_detail());
		world_remember_sync(w);
		w->collections++;
		break;
	default:
		ck_assert_msg(ropefs_sync(w->fs) == 0, "%s", err_detail());
		world_remember_sync(w);
		world_check_trees(w);
		world_compare(w);
	}
}

static void world_init(struct world *w, uint64_t seed)
{
	*w = (struct world) { .rng = rng_seeded(seed) };
	state_init(&w->now);
	state_init(&w->synced);
	sim_store_new(seed, &w->io, &w->kf);
	world_open(w);
	ck_ok(ropefs_sync(w->fs));
	world_remember_sync(w);
}

static void world_release(struct world *w)
{
	store_abandon(w->fs, false);
	key_file_free(w->kf);
	state_release(&w->now);
	state_release(&w->synced);
	free(w->steps);
}

START_TEST(a_store_equals_flat_arrays_through_edits_and_crashes)
{
	time_t until = time(NULL) + suite_seconds(60);
	uint64_t steps = 0, lives = 0;

	while (time(NULL) < until || steps <= STEPS_MIN) {
		struct world w;
		uint64_t seed = suite_seed() + lives++;

		printf("# world %#llx\n", (unsigned long long)seed);
		fflush(stdout);
		world_init(&w, seed);
		for (int i = 0; i < 60000 && (time(NULL) < until || i < 2 * STEPS_MIN);
		     i++) {
			world_step(&w);
			if (rng_below(&w.rng, 4) == 0)
				world_look(&w);
			if (rng_below(&w.rng, 400) == 0)
				world_event(&w);
		}
		world_compare(&w);
		for (int k = 0; k < KINDS; k++)
			steps += w.done[k];
		printf("# %llu steps in all; this world: %llu crashes, %llu reopenings, "
		       "%llu "
		       "checkpoints, %llu collections\n",
		       (unsigned long long)steps, (unsigned long long)w.crashes,
		       (unsigned long long)w.reopens, (unsigned long long)w.checkpoints,
		       (unsigned long long)w.collections);
		fflush(stdout);
		world_release(&w);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("store");
	TCase *tc = tcase_create("model");

	tcase_set_timeout(tc, 3600);
	tcase_add_test(tc, a_store_equals_flat_arrays_through_edits_and_crashes);
	suite_add_tcase(s, tc);
	return suite_main(s);
}
