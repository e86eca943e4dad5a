/* api_append.c - records are appended to a queue: the times they get, how much of what is given
 * one operation takes, and the gaps that a full disk leaves. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/base/err.h"
#include "core/queue.h"
#include "core/txn.h"

#define GAP_RECORD_TEXT 128u
#define TICK_NS		4000000u

/* --- time --- */

struct clocks {
	uint64_t wall, mono;
	int64_t time; /* of the queue */
	unsigned mark; /* MARK_*, 0: goes on as the last mark says */
};

static bool is_step(const struct queue *q, const struct clocks *c)
{
	int64_t moved = (int64_t)(c->wall - c->mono - q->offset);

	return moved > QUEUE_STEP_NS || moved < -QUEUE_STEP_NS;
}

/* In the tick of the last reading the wall clock alone tells what the others say: had it been set
 * by a step that matters, it would not be as little ahead. */
static bool same_tick(struct ropefs *fs, const struct queue *q, int64_t wall)
{
	return q->life == fs->life && q->clock.mono &&
	       (uint64_t)wall - q->clock.wall < TICK_NS &&
	       io_tick_ns(fs->io) == q->clock.tick;
}

/* All clocks anew, and whether they go on as the last mark says. */
static void read_all_clocks(struct ropefs *fs, struct queue *q, struct clocks *c)
{
	uint64_t tick = io_tick_ns(fs->io);

	/* A thread that is stopped between the two readings sees a step: so three times. */
	for (int i = 0; i < 3; i++) {
		if (i)
			c->wall = io_real_ns(fs->io);
		c->mono = io_mono_ns(fs->io);
		if (q->life != fs->life || !is_step(q, c))
			break;
		c->mark = i == 2 ? MARK_STEP : 0;
	}
	if (q->life != fs->life) {
		c->mark = MARK_BOOT;
		if (q->life && !fs->was_clean)
			c->mark |= MARK_UNCLEAN;
	}
	c->time = q->clock.mono ? q->clock.time + (int64_t)(c->mono - q->clock.mono)
				: q->time;
	c->time = MAX(c->time, (int64_t)c->wall);
	/* A mark that is due is found again by whoever writes it. */
	q->clock = (struct queue_clock) { c->time, c->wall, c->mono, c->mark ? 0 : tick };
}

/* The queue's time is the wall clock's as long as that does not go back; then it goes on with the
 * monotonic one. `wall` is what the wall clock has just said. */
static void read_clocks(struct ropefs *fs, struct queue *q, int64_t wall,
			struct clocks *c)
{
	uint64_t since = (uint64_t)wall - q->clock.wall;

	*c = (struct clocks) { .wall = (uint64_t)wall };
	if (!same_tick(fs, q, wall)) {
		read_all_clocks(fs, q, c);
		return;
	}
	c->mono = q->clock.mono + since;
	c->time = MAX(q->clock.time + (int64_t)since, wall);
}

static int write_mark(struct ropefs *fs, uint64_t ino)
{
	struct op op = { .type = OP_MARK,
			 .ino = ino,
			 .name = span_of(fs->boot_id, sizeof(fs->boot_id)),
			 .src = fs->life };
	struct clocks c = { 0 };
	struct inode *in;
	struct queue *q;
	int r = change_begin(fs, &op, 0, false);

	if (r < 0)
		return r;
	r = inode_get(fs, ino, &in);
	if (r >= 0)
		r = queue_get(fs, in, &q);
	if (r >= 0)
		read_clocks(fs, q, op.time, &c);
	if (r < 0 || !c.mark)
		return change_abort(fs, r);
	op.flags = c.mark;
	op.time = c.time;
	op.atime = (int64_t)c.wall;
	op.mtime = (int64_t)c.mono;
	if (c.mark & MARK_STEP)
		event_raise(fs, "clock", ino,
			    "the wall clock was set by %+.3f s; records of this queue "
			    "keep their order",
			    (double)(int64_t)(c.wall - c.mono - q->offset) / 1e9);
	if (c.mark & MARK_UNCLEAN)
		event_raise(fs, "gap", ino,
			    "the store was not closed: records before %llu that were "
			    "not synced may be missing",
			    (unsigned long long)q->next);
	return change_end(fs, &op, 0, NULL);
}

/* --- appending --- */

/* Bytes to be appended, as far as they are not yet. */
struct appending {
	uint64_t ino;
	struct span rest;
	unsigned flags;
	bool told_gap; /* what was refused before is in the queue, or need not be */
	uint64_t id; /* of the first record of the last operation */
};

static size_t count_records(const struct framing *framing, struct span data)
{
	size_t n = 0;

	if (framing->mode == FRAMING_LENGTH)
		return data.n / framing->length;
	if (framing->mode == FRAMING_WRITE)
		return 1;
	for (; data.n; n++) {
		const uint8_t *newline = memchr(data.p, '\n', data.n);
		size_t len = newline ? (size_t)(newline - data.p) + 1 : data.n;

		data = span_of(data.p + len, data.n - len);
	}
	return n;
}

/* How much of data one op takes: whole records, unless one is too long. */
static size_t op_bytes(const struct framing *framing, struct span data)
{
	size_t n = 0, max = MIN(data.n, (size_t)ROPEFS_WRITE_MAX);

	if (framing->mode == FRAMING_LENGTH) {
		n = MIN(max / framing->length, (size_t)APPEND_RECORDS_MAX);
		return n * framing->length;
	}
	if (framing->mode == FRAMING_WRITE)
		return max;
	for (unsigned i = 0; n < max && i < APPEND_RECORDS_MAX; i++) {
		const uint8_t *newline = memchr(data.p + n, '\n', data.n - n);
		size_t end = newline ? (size_t)(newline - data.p) + 1 : data.n;

		if (end > max)
			return n ? n : max;
		n = end;
	}
	return n;
}

static int check_length(const struct framing *framing, size_t n)
{
	if (framing->mode == FRAMING_LENGTH && n % framing->length)
		return err_set(EINVAL,
			       "records of this queue have %u bytes, so %zu bytes are no "
			       "whole records",
			       framing->length, n);
	if (framing->mode == FRAMING_WRITE && n > ROPEFS_WRITE_MAX)
		return err_set(EMSGSIZE, "a record has at most %u bytes",
			       ROPEFS_WRITE_MAX);
	return 0;
}

/* The operation that appends the first records of `rest`. False: nothing is left to append. */
static bool append_next(const struct framing *framing, uint64_t ino, struct span rest,
			struct op *ret)
{
	if (!rest.n && framing->mode != FRAMING_WRITE)
		return false;
	ret->type = OP_APPEND;
	ret->ino = ino;
	ret->flags = framing->mode;
	ret->n = framing->length;
	ret->data = span_of(rest.p, op_bytes(framing, rest));
	return true;
}

enum { NOTHING_LEFT = 1, MARK_FIRST, GAP_FIRST };

/* What depends on the clocks and on what was lost. */
static int stamp(struct ropefs *fs, struct queue *q, struct op *op)
{
	struct clocks c;

	read_clocks(fs, q, op->time, &c);
	if (c.mark)
		return MARK_FIRST;
	op->time = c.time;
	op->at = q->lost;
	fs->queue_appends++;
	return 0;
}

/* Fills in what depends on the queue; op has its time. */
static int prepare(struct ropefs *fs, struct appending *a, struct op *op)
{
	struct inode *in;
	struct queue *q;
	int r = inode_get(fs, a->ino, &in);

	if (r >= 0)
		r = queue_get(fs, in, &q);
	if (r >= 0)
		r = check_length(&q->framing, a->rest.n);
	if (r < 0)
		return r;
	if (q->lost && !a->told_gap)
		return GAP_FIRST;
	if (!append_next(&q->framing, a->ino, a->rest, op))
		return NOTHING_LEFT;
	a->id = q->next;
	return stamp(fs, q, op);
}

/* One op, of at most APPEND_RECORDS_MAX records. 0, and a->rest is what comes behind it. */
static int append_op(struct ropefs *fs, struct appending *a)
{
	struct op op = { .type = OP_APPEND,
			 .ino = a->ino,
			 .data = span_of(a->rest.p,
					 MIN(a->rest.n, (size_t)ROPEFS_WRITE_MAX)) };
	int r = change_begin(fs, &op, a->flags, false);

	if (r < 0)
		return r;
	r = prepare(fs, a, &op);
	if (r)
		return change_abort(fs, r);
	r = change_end(fs, &op, 0, NULL);
	if (r >= 0)
		a->rest = span_of(a->rest.p + op.data.n, a->rest.n - op.data.n);
	return r;
}

/* What was refused for want of space is counted with the next record that is taken. */
static void note_refused(struct ropefs *fs, const struct appending *a)
{
	struct inode *in;
	struct queue *q;
	int r = queue_look(fs, a->ino, &in, &q);

	if (r >= 0) {
		size_t n = count_records(&q->framing, a->rest);

		if (!q->lost)
			event_raise(fs, "gap", a->ino,
				    "records are refused for want of space, from %llu on",
				    (unsigned long long)q->next);
		q->lost += n;
		fs->queue_refused += n;
	}
	queue_look_end(fs, r);
}

static int policy_wants_gaps(struct ropefs *fs, uint64_t ino, uint64_t *ret_lost)
{
	_cleanup_(buf_release) struct buf gap = BUF_INIT;
	struct inode *in;
	struct queue *q;
	uint64_t from;
	int r = queue_look(fs, ino, &in, &q);

	*ret_lost = 0;
	if (r >= 0 && q->lost && q->framing.mode != FRAMING_LENGTH) {
		r = policy_get(fs, in, "gap", &gap, &from);
		if (r >= 0 && gap.n == 6)
			*ret_lost = q->lost;
		r = r == -ENODATA ? 0 : r;
	}
	return queue_look_end(fs, r);
}

/* One record that says how many others were lost. */
static int append_gap_record(struct ropefs *fs, const struct appending *a, uint64_t lost)
{
	char text[GAP_RECORD_TEXT];
	struct op op = { .type = OP_APPEND,
			 .ino = a->ino,
			 .flags = FRAMING_WRITE | OP_FLAG_GAP };
	struct inode *in;
	struct queue *q;
	int r;

	op.data = span_of(text, (size_t)snprintf(text, sizeof(text),
						 "gap: %llu records were refused for "
						 "want of space\n",
						 (unsigned long long)lost));
	r = change_begin(fs, &op, a->flags, false);
	if (r < 0)
		return r;
	r = inode_get(fs, a->ino, &in);
	if (r >= 0)
		r = queue_get(fs, in, &q);
	if (r >= 0)
		r = stamp(fs, q, &op);
	return r ? change_abort(fs, r) : change_end(fs, &op, 0, NULL);
}

/* If the policy asks for it, a gap becomes a record of its own. */
static int append_gap(struct ropefs *fs, struct appending *a)
{
	uint64_t lost;
	int r = policy_wants_gaps(fs, a->ino, &lost);

	while (r >= 0 && lost) {
		r = append_gap_record(fs, a, lost);
		if (r != MARK_FIRST)
			break;
		r = write_mark(fs, a->ino);
	}
	a->told_gap = r >= 0;
	return r;
}

/* One op, and what has to come before it. NOTHING_LEFT. */
static int append_some(struct ropefs *fs, struct appending *a)
{
	int r;

	for (;;) {
		r = append_op(fs, a);
		if (r == MARK_FIRST)
			r = write_mark(fs, a->ino);
		else if (r == GAP_FIRST)
			r = append_gap(fs, a);
		else
			return r;
		if (r < 0)
			return r;
	}
}

ssize_t ropefs_append(struct ropefs *fs, uint64_t ino, const void *p, size_t n,
		      unsigned flags, uint64_t *ret_id)
{
	struct appending a = { .ino = ino, .rest = span_of(p, n), .flags = flags };
	bool first = true;
	int r;

	do {
		r = append_some(fs, &a);
		if (r == -ENOSPC)
			note_refused(fs, &a);
		if (r < 0)
			return a.rest.n < n ? (ssize_t)(n - a.rest.n) : r;
		if (r == NOTHING_LEFT)
			break;
		if (first && ret_id)
			*ret_id = a.id;
		first = false;
	} while (a.rest.n);
	return (ssize_t)n;
}

int queue_time(struct ropefs *fs, uint64_t ino, int64_t *ret_ns)
{
	struct clocks c = { 0 };
	struct inode *in;
	struct queue *q;
	int r = write_mark(fs, ino);

	if (r >= 0) {
		r = queue_look(fs, ino, &in, &q);
		if (r >= 0)
			read_clocks(fs, q, (int64_t)io_real_ns(fs->io), &c);
		queue_look_end(fs, r);
	}
	if (r >= 0)
		*ret_ns = c.time;
	return r;
}

static int framing_for(struct ropefs *fs, uint64_t ino, size_t n, struct framing *ret)
{
	struct inode *in;
	struct queue *q;
	int r = queue_look(fs, ino, &in, &q);

	if (r >= 0) {
		*ret = q->framing;
		r = check_length(ret, n);
	}
	return queue_look_end(fs, r);
}

ssize_t ropefs_txn_append(struct ropefs_txn *t, uint64_t ino, const void *p, size_t n)
{
	struct span rest = span_of(p, n);
	struct framing framing = { 0 };
	int r = framing_for(txn_store(t), ino, n, &framing);

	if (r < 0)
		return r;
	do {
		struct op op = { 0 };

		if (!append_next(&framing, ino, rest, &op))
			break;
		r = txn_stage(t, &op);
		rest = span_of(rest.p + op.data.n, rest.n - op.data.n);
	} while (r >= 0 && rest.n);
	return r < 0 ? r : (ssize_t)n;
}
