/* txn_kept.c - what the next daemon needs of a transaction (kept.h), to go on where this one died.
 *
 * The bytes of its edits are in the store, in copies without a name. All else is in the row's
 * memory: answers to the last requests, and records, one after another. The row's state says how
 * many of them count. A request that comes again is
 *
 *	answered       if its answer counts,
 *	gone on with   if some of its changes (`steps`) were made, as their LSNs say
 *	done anew      else; a copy that it had made, and no record knows of, is left to the sweep.
 *
 * Invariants
 * 1. What lies behind `used` means nothing, so a kill leaves the state before a record, or after.
 * 2. A record of a copy counts before the first change of the copy does.
 * 3. Without a row (nobody supervises) only names are recorded, for this process. */
#include "fs/daemon.h"
#include "fs/keep.h"
#include "fs/staged.h"
#include "fs/txn_priv.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ANSWERS 64u
#define HALF_S	2 /* one that had failed, and been told so, does not come again */
#define LOST_ENV                                                                         \
	"ROPEFS_TEST_TXN_LOST" /* for tests: there is no memory to go on with one */
#define LOST (-ESTALE) /* the result of one that could not be taken over */

/* Not written over before its reply is out; so with each daemon that dies as many may stay for
 * good as it has threads that answer. */
struct answer {
	uint64_t request;
	uint64_t at; /* it counts if the row's state has so many answers */
	uint32_t file;
	bool replied;
	uint8_t reserved[3];
};

struct record {
	uint32_t what, n;
	uint64_t arg;
	uint8_t p[]; /* n bytes, up to a multiple of 8 */
};
KEPT_SIZE(struct record, 16);

struct area {
	struct answer answers[ANSWERS];
	uint8_t records[];
};
KEPT_SIZE(struct area, 1536);

/* No two have one number, so that of a request seen before is of one that comes again. */
static uint64_t request_now(void)
{
	return keep_current() & ~UNIQUE_RESENT;
}

static struct area *area_of(const struct txn *x)
{
	return x->kept.area;
}

static size_t record_bytes(size_t n)
{
	return sizeof(struct record) + (n + 7) / 8 * 8;
}

/* --- records --- */

/* Room for n bytes of records more. */
static int make_room(struct txn *x, size_t n)
{
	size_t all = sizeof(struct area) + x->now.used + n;
	size_t more = all > x->held ? all - x->held : 0;

	if (!staged_hold(more))
		return -ENOMEM;
	if (!kept_area(&x->kept, all)) {
		staged_let(more);
		return -ENOMEM;
	}
	x->held += more;
	return 0;
}

void txn_record(struct txn *x, enum txn_record_what what, uint64_t arg, const void *p,
		size_t n)
{
	struct record *rec;

	if (x->redoing || (!x->kept.row && what != TXN_NAME))
		return;
	assert(sizeof(struct area) + x->now.used + record_bytes(n) <= x->kept.area_n);
	rec = (void *)(area_of(x)->records + x->now.used);
	*rec = (struct record) { .what = what, .n = (uint32_t)n, .arg = arg };
	if (n)
		memcpy(rec->p, p, n);
	if (what == TXN_NAME)
		x->has_names = true;
	if (what == TXN_PART && !x->part_end)
		x->part_at = x->now.used;
	x->now.used += record_bytes(n);
	if (what == TXN_PART)
		x->part_end = x->now.used;
}

static const struct record *next_record(const struct txn *x, size_t *at)
{
	const struct record *rec = (const void *)(area_of(x)->records + *at);

	if (*at >= x->now.used)
		return NULL;
	*at += record_bytes(rec->n);
	return rec;
}

const struct txn_name *txn_next_name(const struct txn *x, size_t *at)
{
	const struct record *rec;

	while (x->has_names && (rec = next_record(x, at)) != NULL)
		if (rec->what == TXN_NAME)
			return (const void *)rec->p;
	return NULL;
}

/* What the core has come to know since. */
static void record_core(struct txn *x)
{
	struct ropefs_txn_state s;

	if (!x->kept.row || !x->core)
		return;
	ropefs_txn_state(x->core, &s);
	if (s.files_n > x->files_n)
		txn_record(x, TXN_FILES, 0, (const uint8_t *)s.files + x->files_n,
			   s.files_n - x->files_n);
	if (s.staged_n > x->staged_n)
		txn_record(x, TXN_STAGED, 0, (const uint8_t *)s.staged + x->staged_n,
			   s.staged_n - x->staged_n);
	x->files_n = s.files_n;
	x->staged_n = s.staged_n;
}

/* An append that went on has been made. Its records, where no other came between, go. */
static void record_part_end(struct txn *x)
{
	if (x->part_n || !x->part_end)
		return;
	if (x->part_end == x->now.used)
		x->now.used = x->part_at;
	else
		txn_record(x, TXN_PART_END, 0, NULL, 0);
	x->part_end = 0;
}

/* --- requests --- */

static bool has_answers(const struct txn *x)
{
	return x->kept.row && sizeof(struct area) <= x->kept.area_n;
}

/* That to the request; NULL: there is none. */
static struct answer *find_answer(const struct txn *x, uint64_t request)
{
	for (unsigned i = 0; has_answers(x) && i < ANSWERS; i++) {
		struct answer *a = &area_of(x)->answers[i];

		if (a->at && a->at <= x->now.answers && a->request == request)
			return a;
	}
	return NULL;
}

bool txn_was_answered(const struct txn *x, uint32_t *ret)
{
	const struct answer *a = find_answer(x, request_now());

	if (a)
		*ret = a->file;
	return a;
}

static int64_t now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
	return t.tv_sec;
}

static void note_half(struct txn *x)
{
	if (x->now.over || !x->now.steps || find_answer(x, x->now.request))
		return;
	x->half = x->now.request;
	x->half_until_s = now_s() + HALF_S;
}

bool txn_waits_for_other(struct txn *x)
{
	if (x->half && now_s() > x->half_until_s)
		x->half = 0;
	return x->half && x->half != request_now();
}

void txn_replied(const struct txn *x)
{
	struct answer *a = find_answer(x, request_now());

	if (a)
		a->replied = true;
}

/* The oldest whose reply is out; else, after very many daemons, the oldest of all. */
static struct answer *place_for_answer(const struct txn *x)
{
	struct answer *oldest = NULL, *all = area_of(x)->answers;

	for (unsigned i = 0; i < ANSWERS; i++) {
		bool counts = all[i].at && all[i].at <= x->now.answers;

		if (!counts)
			return &all[i];
		if (!oldest || all[i].replied > oldest->replied ||
		    (all[i].replied == oldest->replied && all[i].at < oldest->at))
			oldest = &all[i];
	}
	return oldest;
}

/* Counts once the row's state does: a kill in between leaves it as it was, or nothing. */
static void put_answer(struct txn *x, uint32_t file)
{
	struct answer *a = place_for_answer(x);

	__atomic_store_n(&a->at, 0, __ATOMIC_SEQ_CST);
	a->request = request_now();
	a->file = file;
	a->replied = false;
	__atomic_store_n(&a->at, ++x->now.answers, __ATOMIC_SEQ_CST);
}

int txn_request_begin(struct txn *x, size_t n, bool names)
{
	x->skip = x->now.request == request_now() ? x->now.steps : 0;
	x->half = 0;
	x->now.request = request_now();
	x->now.steps = 0;
	return x->kept.row || names ? make_room(x, TXN_ROOM + n + x->part_n) : 0;
}

static void put_state(struct txn *x)
{
	kept_step(&x->kept, keep_current(), &x->now, &x->now, sizeof(x->now));
}

void txn_request_end(struct txn *x, int64_t r, uint32_t answer)
{
	if (!x->kept.row || !x->core || sizeof(struct area) > x->kept.area_n)
		return;
	record_part_end(x);
	record_core(x);
	if (r >= 0)
		put_answer(x, answer);
	put_state(x);
}

bool txn_change_begin(struct txn *x)
{
	struct txn_state after;

	if (x->skip) {
		x->skip--;
		x->now.steps++;
		return false;
	}
	record_core(x);
	after = x->now;
	after.steps++;
	kept_change(&x->kept, &x->now, &after, sizeof(after));
	return true;
}

void txn_change_end(struct txn *x, int64_t r)
{
	kept_changed(&x->kept, r >= 0);
	x->now.steps += r >= 0;
}

void txn_commit_begin(struct txn *x)
{
	struct txn_state after;

	x->now.request = request_now();
	after = x->now;
	after.over = true;
	kept_change(&x->kept, &x->now, &after, sizeof(after));
}

void txn_commit_end(struct txn *x, int r)
{
	kept_changed(&x->kept, r >= 0);
	x->now.over = true;
	if (r < 0)
		txn_refused(x, r);
}

void txn_refused(struct txn *x, int r)
{
	x->now.request = request_now();
	x->now.over = true;
	x->now.result = r;
	put_state(x);
}

bool txn_was_ended(const struct txn *x, int *ret)
{
	*ret = x->now.result;
	return x->now.over && x->now.request == request_now();
}

/* --- after a takeover --- */

struct resumed {
	uint8_t *files, *staged;
	struct ropefs_txn_state is;
};

static void join(void *to, size_t *n, const struct record *rec)
{
	memcpy((uint8_t *)to + *n, rec->p, rec->n);
	*n += rec->n;
}

static int redo(struct txn *x, struct resumed *all, const struct record *rec)
{
	uint32_t number;

	switch (rec->what) {
	case TXN_MEMBER:
		return txn_join(x, (const void *)rec->p, &number);
	case TXN_EDITED:
		txn_mark_edited(x, rec->arg);
		return 0;
	case TXN_FILES:
		join(all->files, &all->is.files_n, rec);
		return 0;
	case TXN_STAGED:
		join(all->staged, &all->is.staged_n, rec);
		return 0;
	case TXN_NAME:
		x->has_names = true;
		return 0;
	case TXN_PART:
		return txn_part(x, rec->arg, rec->p, rec->n);
	default:
		x->part_n = 0;
		x->part_end = 0;
		return 0;
	}
}

static int redo_all(struct txn *x, struct resumed *all)
{
	const struct record *rec;
	size_t at = 0;
	int r = 0;

	x->redoing = true;
	while (r >= 0 && (rec = next_record(x, &at)) != NULL) {
		r = redo(x, all, rec);
		if (rec->what != TXN_PART)
			continue;
		if (!x->part_end)
			x->part_at = at - record_bytes(rec->n);
		x->part_end = at;
	}
	x->redoing = false;
	return r;
}

static int resume(struct daemon *d, struct txn *x)
{
	struct ropefs_txn_state now;
	struct resumed all = { .files = malloc(x->now.used + 1),
			       .staged = malloc(x->now.used + 1) };
	bool may = all.files && all.staged && !getenv(LOST_ENV);
	int r = may ? redo_all(x, &all) : -ENOMEM;

	all.is.files = all.files;
	all.is.staged = all.staged;
	if (r >= 0 && !x->now.over)
		r = ropefs_txn_resume(d->fs, &all.is, &x->core);
	if (r >= 0 && x->core) {
		ropefs_txn_state(x->core, &now);
		x->files_n = now.files_n;
		x->staged_n = now.staged_n;
	}
	free(all.files);
	free(all.staged);
	return r;
}

void txn_restore_state(struct daemon *d, struct txn *x, const struct txn_state *is)
{
	int r = 0;

	x->now = *is;
	x->id = is->id;
	if (x->kept.area_n) {
		x->held = sizeof(struct area) + x->now.used;
		staged_inherit(x->held);
		r = resume(d, x);
		note_half(x);
	} else if (!is->over) {
		r = ropefs_txn_begin(d->fs, &x->core);
	}
	if (r < 0)
		txn_refused(x, LOST);
	x->lost = x->now.over && x->now.result == LOST;
}

void txn_kept_free(struct txn *x)
{
	staged_let(x->held);
	kept_free(&x->kept);
}
