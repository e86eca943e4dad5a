/* ops.c - what a life consists of. A change has a plan (is it possible now, and with what?), a
 * way to make it, and the same on the model; all other kinds of step act by themselves.
 *
 * A new kind of change joins by a row in kinds[]; what it changes that blobs don't show has to
 * be added to world_look() and state_digest(). */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/err.h"
#include "tests/sim/steps.h"

struct kind;

struct plan {
	const struct kind *kind;
	unsigned i, j; /* files */
	size_t at, n, at2, n2;
	uint64_t ino; /* made by it */
	uint8_t bytes[6 * KIB];
};

struct kind {
	const char *name;
	unsigned weight;
	/* False: not now. May choose another kind instead. s is how it is now. */
	bool (*plan)(struct world *w, struct plan *p, const struct state *s);
	int (*make)(struct world *w, struct plan *p);
	void (*model)(const struct plan *p, struct state *s);
	void (*act)(struct world *w); /* instead of the three */
	bool durable; /* once made it is, with all before */
	/* After an error: whether it was made all the same. NULL: never. */
	bool (*made)(struct world *w, struct plan *p);
};

static const struct kind *kind_named(const char *name);

static uint64_t ino_of(const struct world *w, unsigned i)
{
	return history_last(&w->past)->file[i]->attr.ino;
}

static struct ropefs_name name_of(unsigned i)
{
	static char names[SIM_FILES][8];

	snprintf(names[i], sizeof(names[i]), "f%u", i);
	return ropefs_name(names[i]);
}

/* The folder that file i belongs in. */
static uint64_t parent_of(const struct world *w, unsigned i)
{
	return i < SIM_FOLDER ? ROPEFS_ROOT_INO : history_last(&w->past)->folder.ino;
}

static bool plan_create(struct world *w, struct plan *p, const struct state *s);

/* --- bytes --- */

/* A piece to be written, and a place in file i. */
static bool plan_piece(struct world *w, struct plan *p, const struct state *s)
{
	if (!s->file[p->i]) {
		p->kind = kind_named("create");
		return plan_create(w, p, s);
	}
	p->n = 1 +
	       rng_below(&w->rng, rng_below(&w->rng, 10) ? 250 : sizeof(p->bytes) - 1);
	p->at = rng_below(&w->rng, s->file[p->i]->n + 1);
	rng_fill(&w->rng, p->bytes, p->n);
	return s->file[p->i]->n + p->n <= SIM_FILE_MAX;
}

/* A range of file i that is not empty. */
static bool plan_range(struct world *w, struct plan *p, const struct state *s)
{
	const struct blob *b = s->file[p->i];

	if (!b || !b->n)
		return false;
	p->at = rng_below(&w->rng, b->n);
	p->n = 1 + rng_below(&w->rng, rng_below(&w->rng, 3) ? MIN(b->n - p->at, 300u)
							    : b->n - p->at);
	return true;
}

static int make_write(struct world *w, struct plan *p)
{
	return (int)ropefs_write(w->fs, ino_of(w, p->i), p->at, p->bytes, p->n, 0, NULL);
}

static void model_write(const struct plan *p, struct state *s)
{
	const struct blob *b = s->file[p->i];

	state_set(s, p->i,
		  blob_splice(b, p->at, MIN(p->n, b->n - p->at), p->bytes, p->n));
}

static int make_append(struct world *w, struct plan *p)
{
	return (int)ropefs_write(w->fs, ino_of(w, p->i), 0, p->bytes, p->n, ROPEFS_APPEND,
				 NULL);
}

static void model_append(const struct plan *p, struct state *s)
{
	state_set(s, p->i,
		  blob_splice(s->file[p->i], s->file[p->i]->n, 0, p->bytes, p->n));
}

static int make_insert(struct world *w, struct plan *p)
{
	return (int)ropefs_insert(w->fs, ino_of(w, p->i), p->at, p->bytes, p->n, 0);
}

static void model_insert(const struct plan *p, struct state *s)
{
	state_set(s, p->i, blob_splice(s->file[p->i], p->at, 0, p->bytes, p->n));
}

static int make_cut(struct world *w, struct plan *p)
{
	return ropefs_cut(w->fs, ino_of(w, p->i), p->at, p->n);
}

static void model_cut(const struct plan *p, struct state *s)
{
	state_set(s, p->i, blob_splice(s->file[p->i], p->at, p->n, NULL, 0));
}

static int make_punch(struct world *w, struct plan *p)
{
	return ropefs_punch(w->fs, ino_of(w, p->i), p->at, p->n, true);
}

static void model_punch(const struct plan *p, struct state *s)
{
	struct blob *b = blob_splice(s->file[p->i], p->at, p->n, NULL, p->n);

	state_set(s, p->i, b);
}

static bool plan_truncate(struct world *w, struct plan *p, const struct state *s)
{
	const struct blob *b = s->file[p->i];

	if (!b)
		return false;
	p->n = rng_below(&w->rng, rng_below(&w->rng, 4) ? b->n + 1 : SIM_FILE_MAX);
	return true;
}

static int make_truncate(struct world *w, struct plan *p)
{
	return ropefs_truncate(w->fs, ino_of(w, p->i), p->n);
}

static void model_truncate(const struct plan *p, struct state *s)
{
	const struct blob *b = s->file[p->i];

	if (p->n > b->n)
		state_set(s, p->i, blob_splice(b, b->n, 0, NULL, p->n - b->n));
	else
		state_set(s, p->i, blob_splice(b, p->n, b->n - p->n, NULL, 0));
}

/* A part of j in the place of a part of i, sharing bytes. */
static bool plan_replace(struct world *w, struct plan *p, const struct state *s)
{
	const struct blob *b = s->file[p->i], *from = s->file[p->j];

	if (!b || !from || p->i == p->j || !from->n)
		return false;
	p->at = rng_below(&w->rng, b->n + 1);
	p->n = rng_below(&w->rng, MIN(b->n - p->at, 400u) + 1);
	p->at2 = rng_below(&w->rng, from->n);
	p->n2 = rng_below(&w->rng, MIN(from->n - p->at2, 2000u) + 1);
	return b->n - p->n + p->n2 <= SIM_FILE_MAX;
}

static int make_replace(struct world *w, struct plan *p)
{
	return ropefs_replace(w->fs,
			      (struct ropefs_range) { ino_of(w, p->i), p->at, p->n },
			      (struct ropefs_range) { ino_of(w, p->j), p->at2, p->n2 });
}

static void model_replace(const struct plan *p, struct state *s)
{
	state_set(s, p->i,
		  blob_splice(s->file[p->i], p->at, p->n, s->file[p->j]->p + p->at2,
			      p->n2));
}

/* --- whole files --- */

static bool plan_create(struct world *w, struct plan *p, const struct state *s)
{
	if (p->i >= SIM_FOLDER && !s->folder.ino)
		p->kind = kind_named("mkdir");
	return !s->file[p->i];
}

static int make_create(struct world *w, struct plan *p)
{
	struct ropefs_new what = { .mode = S_IFREG | 0644 };
	struct ropefs_attr attr;
	int r = ropefs_create(w->fs, parent_of(w, p->i), name_of(p->i), &what, &attr);

	p->ino = r < 0 ? 0 : attr.ino;
	return r;
}

static void model_create(const struct plan *p, struct state *s)
{
	state_set(s, p->i, blob_new(0));
	s->file[p->i]->attr.ino = p->ino;
}

static int make_mkdir(struct world *w, struct plan *p)
{
	struct ropefs_new what = { .mode = S_IFDIR | 0755 };
	struct ropefs_attr attr;
	int r = ropefs_create(w->fs, ROPEFS_ROOT_INO, ropefs_name("d"), &what, &attr);

	p->ino = r < 0 ? 0 : attr.ino;
	return r;
}

static bool plan_mkdir(struct world *w, struct plan *p, const struct state *s)
{
	return !s->folder.ino;
}

static void model_mkdir(const struct plan *p, struct state *s)
{
	s->folder.ino = p->ino;
}

static bool plan_rmdir(struct world *w, struct plan *p, const struct state *s)
{
	for (unsigned i = SIM_FOLDER; i < SIM_FILES; i++)
		if (s->file[i])
			return false;
	return s->folder.ino;
}

static int make_rmdir(struct world *w, struct plan *p)
{
	return ropefs_rmdir(w->fs, ROPEFS_ROOT_INO, ropefs_name("d"));
}

static void model_rmdir(const struct plan *p, struct state *s)
{
	s->folder = (struct ropefs_attr) { 0 };
}

/* A file onto an empty one; makes that first where there is none. */
static bool plan_clone(struct world *w, struct plan *p, const struct state *s)
{
	if (!s->file[p->j] || !s->file[p->j]->n || p->i == p->j)
		return false;
	p->n = 0;
	if (!s->file[p->i]) {
		p->kind = kind_named("create");
		return plan_create(w, p, s);
	}
	if (s->file[p->i]->n)
		p->kind = kind_named("truncate");
	return true;
}

static int make_clone(struct world *w, struct plan *p)
{
	return (int)ropefs_copy(
		w->fs, (struct ropefs_range) { ino_of(w, p->i), 0, 0 },
		(struct ropefs_range) { ino_of(w, p->j), 0, SIM_FILE_MAX });
}

static void model_clone(const struct plan *p, struct state *s)
{
	const struct blob *from = s->file[p->j];

	state_set(s, p->i, blob_splice(s->file[p->i], 0, 0, from->p, from->n));
}

static bool plan_there(struct world *w, struct plan *p, const struct state *s)
{
	p->n = 1 + rng_below(&w->rng, SIM_XATTR_MAX);
	rng_fill(&w->rng, p->bytes, p->n);
	return s->file[p->i];
}

static int make_remove(struct world *w, struct plan *p)
{
	return ropefs_unlink(w->fs, parent_of(w, p->i), name_of(p->i));
}

static void model_remove(const struct plan *p, struct state *s)
{
	state_set(s, p->i, NULL);
}

static int make_xattr(struct world *w, struct plan *p)
{
	return ropefs_setxattr(w->fs, ino_of(w, p->i), SIM_XATTR_NAME, p->bytes, p->n, 0);
}

static void model_xattr(const struct plan *p, struct state *s)
{
	struct blob *b = blob_splice(s->file[p->i], 0, 0, NULL, 0);

	b->n_xattr = p->n;
	memset(b->xattr, 0, sizeof(b->xattr));
	memcpy(b->xattr, p->bytes, p->n);
	state_set(s, p->i, b);
}

static bool plan_two(struct world *w, struct plan *p, const struct state *s)
{
	return s->file[p->i] && s->file[p->j] && p->i != p->j;
}

static int make_swap(struct world *w, struct plan *p)
{
	return ropefs_rename(w->fs, parent_of(w, p->i), name_of(p->i), parent_of(w, p->j),
			     name_of(p->j), RENAME_EXCHANGE);
}

static void model_swap(const struct plan *p, struct state *s)
{
	struct blob *b = s->file[p->i];

	s->file[p->i] = s->file[p->j];
	s->file[p->j] = b;
}

static int make_rename(struct world *w, struct plan *p)
{
	return ropefs_rename(w->fs, parent_of(w, p->i), name_of(p->i), parent_of(w, p->j),
			     name_of(p->j), 0);
}

static void model_rename(const struct plan *p, struct state *s)
{
	state_set(s, p->j, s->file[p->i]);
	s->file[p->i] = NULL;
}

/* --- more than one file --- */

/* Two files in one step: the piece goes into one and to the end of the other. */
static bool plan_transaction(struct world *w, struct plan *p, const struct state *s)
{
	return plan_two(w, p, s) && plan_piece(w, p, s) &&
	       s->file[p->j]->n + p->n <= SIM_FILE_MAX;
}

static int make_transaction(struct world *w, struct plan *p)
{
	struct ropefs_txn *t = NULL;
	int r = ropefs_txn_begin(w->fs, &t);

	if (r < 0)
		return r;
	r = (int)ropefs_txn_insert(t, ino_of(w, p->i), p->at, p->bytes, p->n);
	if (r >= 0)
		r = (int)ropefs_txn_write(t, ino_of(w, p->j), 0, p->bytes, p->n,
					  ROPEFS_APPEND, NULL);
	if (r >= 0)
		return ropefs_txn_commit(t);
	ropefs_txn_abort(t);
	return r;
}

static void model_transaction(const struct plan *p, struct state *s)
{
	model_insert(p, s);
	state_set(s, p->j,
		  blob_splice(s->file[p->j], s->file[p->j]->n, 0, p->bytes, p->n));
}

static struct ropefs_name snapshot_name(const struct plan *p)
{
	return ropefs_name(p->i % SIM_SNAPS ? "s1" : "s0");
}

static bool plan_snapshot(struct world *w, struct plan *p, const struct state *s)
{
	if (s->snap[p->i % SIM_SNAPS].there)
		p->kind = kind_named("drop");
	return true;
}

static int make_snapshot(struct world *w, struct plan *p)
{
	return ropefs_snapshot_create(w->fs, ROPEFS_ROOT_INO, snapshot_name(p), NULL);
}

static void model_snapshot(const struct plan *p, struct state *s)
{
	snap_set(s, p->i % SIM_SNAPS, true);
}

/* It waits for the log: one that could not be made durable may be there. */
static bool snapshot_made(struct world *w, struct plan *p)
{
	struct ropefs_attr attr;

	step_faults_end(w);
	return ropefs_snapshot_lookup(w->fs, ROPEFS_ROOT_INO, snapshot_name(p), &attr) ==
	       0;
}

static bool plan_drop(struct world *w, struct plan *p, const struct state *s)
{
	return s->snap[p->i % SIM_SNAPS].there;
}

static int make_drop(struct world *w, struct plan *p)
{
	return ropefs_snapshot_drop(w->fs, ROPEFS_ROOT_INO, snapshot_name(p));
}

static void model_drop(const struct plan *p, struct state *s)
{
	snap_set(s, p->i % SIM_SNAPS, false);
}

/* --- the queue --- */

static bool plan_append_record(struct world *w, struct plan *p, const struct state *s)
{
	const struct blob *b = s->queue.records;

	p->n = 1 + rng_below(&w->rng, rng_below(&w->rng, 6) ? 150 : SIM_RECORD_MAX);
	rng_fill(&w->rng, p->bytes, p->n);
	if (b && b->n + p->n > SIM_QUEUE_MAX) {
		p->kind = kind_named("trim");
		p->at = s->queue.next;
	}
	return true;
}

static int make_append_record(struct world *w, struct plan *p)
{
	uint64_t id = 0;
	ssize_t n = ropefs_append(w->fs, sim_queue_ino, p->bytes, p->n, 0, &id);

	world_check(
		w,
		n < 0 || ((size_t)n == p->n && id == history_last(&w->past)->queue.next),
		"a record got the id %llu", (unsigned long long)id);
	return (int)n;
}

static void model_append_record(const struct plan *p, struct state *s)
{
	static const struct blob none;
	const struct blob *old = s->queue.records ? s->queue.records : &none;
	uint32_t n = (uint32_t)p->n;
	struct blob *b = blob_splice(old, old->n, 0, NULL, sizeof(n) + p->n);

	memcpy(b->p + old->n, &n, sizeof(n));
	memcpy(b->p + old->n + sizeof(n), p->bytes, p->n);
	queue_set(&s->queue, b);
	s->queue.next++;
}

static bool plan_trim(struct world *w, struct plan *p, const struct state *s)
{
	const struct queue_state *q = &s->queue;

	p->at = q->first + rng_below(&w->rng, q->next - q->first + 1);
	return p->at > q->first;
}

static int make_trim(struct world *w, struct plan *p)
{
	return ropefs_queue_trim(w->fs, sim_queue_ino, p->at);
}

static void model_trim(const struct plan *p, struct state *s)
{
	struct queue_state *q = &s->queue;
	const uint8_t *from;
	size_t n, cut;

	from = queue_record(q, p->at, &n);
	cut = from ? (size_t)(from - sizeof(uint32_t) - q->records->p) : q->records->n;
	queue_set(q,
		  cut < q->records->n ? blob_splice(q->records, 0, cut, NULL, 0) : NULL);
	q->first = p->at;
}

static bool plan_reset(struct world *w, struct plan *p, const struct state *s)
{
	return s->queue.records;
}

static int make_reset(struct world *w, struct plan *p)
{
	return ropefs_truncate(w->fs, sim_queue_ino, 0);
}

static void model_reset(const struct plan *p, struct state *s)
{
	queue_set(&s->queue, NULL);
	s->queue.first = s->queue.next = s->queue.cursor = 0;
	s->queue.resets++;
}

static bool plan_cursor(struct world *w, struct plan *p, const struct state *s)
{
	p->at = s->queue.first + rng_below(&w->rng, s->queue.next - s->queue.first + 1);
	return true;
}

static int make_cursor(struct world *w, struct plan *p)
{
	return ropefs_cursor_commit(w->fs, sim_queue_ino, SIM_CURSOR, p->at);
}

static void model_cursor(const struct plan *p, struct state *s)
{
	s->queue.cursor = p->at;
}

/* --- the table --- */

static const struct kind kinds[] = {
	{ "write", 12, plan_piece, make_write, model_write },
	{ "append", 12, plan_piece, make_append, model_append, NULL },
	{ "insert", 10, plan_piece, make_insert, model_insert, NULL },
	{ "cut", 6, plan_range, make_cut, model_cut, NULL },
	{ "punch", 4, plan_range, make_punch, model_punch, NULL },
	{ "truncate", 3, plan_truncate, make_truncate, model_truncate, NULL },
	{ "replace", 5, plan_replace, make_replace, model_replace, NULL },
	{ "create", 3, plan_create, make_create, model_create, NULL },
	{ "mkdir", 1, plan_mkdir, make_mkdir, model_mkdir },
	{ "rmdir", 2, plan_rmdir, make_rmdir, model_rmdir },
	{ "clone", 6, plan_clone, make_clone, model_clone, NULL },
	{ "remove", 2, plan_there, make_remove, model_remove, NULL },
	{ "xattr", 2, plan_there, make_xattr, model_xattr, NULL },
	{ "swap", 2, plan_two, make_swap, model_swap, NULL },
	{ "rename", 2, plan_two, make_rename, model_rename, NULL },
	{ "transaction", 5, plan_transaction, make_transaction, model_transaction },
	{ "snapshot", 2, plan_snapshot, make_snapshot, model_snapshot, .durable = true,
	  .made = snapshot_made },
	{ "drop", 1, plan_drop, make_drop, model_drop },
	{ "record", 10, plan_append_record, make_append_record, model_append_record },
	{ "trim", 3, plan_trim, make_trim, model_trim },
	{ "reset", 1, plan_reset, make_reset, model_reset },
	{ "cursor", 3, plan_cursor, make_cursor, model_cursor },
	{ "sync", 14, NULL, NULL, NULL, act_sync },
	{ "push", 6, NULL, NULL, NULL, act_push },
	{ "checkpoint", 7, NULL, NULL, NULL, act_checkpoint },
	{ "collect", 3, NULL, NULL, NULL, act_collect },
	{ "compare", 3, NULL, NULL, NULL, act_compare },
	{ "kill", 1, NULL, NULL, NULL, act_kill },
	{ "close", 1, NULL, NULL, NULL, act_close },
	{ "fault", 4, NULL, NULL, NULL, act_fault },
	{ "together", 6, NULL, NULL, NULL, act_together },
	{ "upload", 10, NULL, NULL, NULL, act_upload },
	{ "bad reads", 2, NULL, NULL, NULL, act_read_badly },
};
static_assert(ARRAY_LEN(kinds) <= ARRAY_LEN(sim_totals.steps), "a count a kind");

static const struct kind *kind_named(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (!strcmp(kinds[i].name, name))
			return &kinds[i];
	return NULL;
}

static const struct kind *kind_draw(struct world *w)
{
	unsigned sum = 0, at;

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		sum += kinds[i].weight;
	at = (unsigned)rng_below(&w->rng, sum);
	for (const struct kind *k = kinds;; k++) {
		if (at < k->weight)
			return k;
		at -= k->weight;
	}
}

static int attributes(struct world *w, uint64_t ino, struct ropefs_attr *ret)
{
	int r = ropefs_getattr(w->fs, ino, ret);

	if (r >= 0 || !w->faulty)
		return r;
	step_faults_end(w);
	return ropefs_getattr(w->fs, ino, ret);
}

/* Times, counts and sizes are what the store says of itself at that moment. False: the machine
 * is off, so it says nothing (and the change is on no disk). */
static bool take_attributes(struct world *w, struct state *s)
{
	for (unsigned i = 0; i < SIM_FILES; i++) {
		struct blob *b = s->file[i];
		struct ropefs_attr attr;

		if (!b)
			continue;
		if (attributes(w, b->attr.ino, &attr) < 0)
			return false;
		world_check(w, attr.size == b->n, "f%u has %llu bytes, not %zu", i,
			    (unsigned long long)attr.size, b->n);
		if (b->digest && attr_equal(&attr, &b->attr))
			continue;
		b = blob_splice(b, 0, 0, NULL, 0);
		b->attr = attr;
		blob_seal(b);
		state_set(s, i, b);
	}
	if (s->folder.ino && attributes(w, s->folder.ino, &s->folder) < 0)
		return false;
	return attributes(w, ROPEFS_ROOT_INO, &s->root) >= 0;
}

static void change(struct world *w, struct plan *p)
{
	struct state s;
	int r;

	w->changing = true;
	r = p->kind->make(w, p);
	step_expect(w, r);
	if (r < 0 && (!p->kind->made || !p->kind->made(w, p))) {
		w->changing = false;
		return;
	}
	s = state_copy(history_last(&w->past));
	p->kind->model(p, &s);
	w->dead = !take_attributes(w, &s);
	world_check(w, !w->dead || w->faulty, "attributes can't be had");
	w->changing = false;
	if (w->dead) {
		state_release(&s);
		return;
	}
	history_add(&w->past, s);
	if (w->uploading)
		bucket_expect(w->bucket, state_digest(&s));
	if (r >= 0 && p->kind->durable)
		w->floor = w->pushed = w->past.n - 1;
}

/* A change of the kind, or of one that has to come first, where one is possible now. */
static void change_drawn(struct world *w, const struct kind *kind)
{
	static struct plan p;

	p.kind = kind;
	p.i = (unsigned)rng_below(&w->rng, SIM_FILES);
	p.j = (unsigned)rng_below(&w->rng, SIM_FILES);
	if (!p.kind->plan(w, &p, history_last(&w->past)))
		return;
	w->doing = p.kind->name;
	sim_totals.steps[p.kind - kinds]++;
	change(w, &p);
}

void step_change(struct world *w)
{
	const struct kind *kind;

	do
		kind = kind_draw(w);
	while (kind->act);
	change_drawn(w, kind);
}

void world_step(struct world *w)
{
	const struct kind *kind = kind_draw(w);

	if (!kind->act) {
		change_drawn(w, kind);
		return;
	}
	w->doing = kind->name;
	sim_totals.steps[kind - kinds]++;
	kind->act(w);
}
