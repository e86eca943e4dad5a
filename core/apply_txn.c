/* apply_txn.c - several ops as one: all of them happen, or none.
 *
 * Ops are applied one after another; before each, what undoes it is noted. When one is refused
 * those before it are undone in reverse, and the versions and times of the inodes they touched
 * are put back, so that memory is what the log makes of it again. Only want of memory can stop
 * the undoing; that turns the store read-only, and the log has the state before.
 *
 * Names that go keep their inodes here (as orphans), for the undoing; ropefs_txn_commit() reaps
 * them afterwards. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/base/err.h"
#include "core/catalog/queue_rows.h"
#include "core/queue.h"
#include "core/queue/queue_format.h"
#include "core/store_priv.h"
#include "core/txn.h"
#include "core/txn_format.h"

#define INODES_TOUCHED 4u /* by one op: two directories, what moves, what it replaces */

struct before {
	uint64_t ino; /* 0: none */
	le64 mtime, ctime, entries;
};

struct done {
	struct op undo[2]; /* in the order they are applied; type 0: none */
	struct queue *queue; /* as it was before an append; NULL: it was none */
	uint64_t queue_ino;
	struct buf value; /* of an xattr that the undoing sets */
	struct before before[INODES_TOUCHED];
	uint64_t loses; /* an inode that loses a name, 0: none */
};

struct applying {
	struct ropefs *fs;
	struct done *done;
	size_t n, cap;
};

int txn_next_op(struct span *rest, struct op *ret)
{
	const struct txn_item *item = (const void *)rest->p;
	size_t n;

	if (!rest->n)
		return 0;
	if (rest->n < sizeof(*item))
		return err_set(E_CORRUPT, "a txn record of the log is malformed");
	n = le32_get(item->bytes);
	if (n > rest->n - sizeof(*item))
		return err_set(E_CORRUPT, "a txn record of the log is malformed");
	if (op_decode(item->type, span_of(item->body, n), ret) < 0)
		return -E_CORRUPT;
	*rest = span_of(rest->p + sizeof(*item) + n, rest->n - sizeof(*item) - n);
	return 1;
}

/* Keeps what the undoing puts back of an inode; one that is not there is left to the op. */
static void remember(struct applying *a, struct done *d, unsigned i, uint64_t ino)
{
	struct inode *in;

	if (!ino || inode_get(a->fs, ino, &in) < 0)
		return;
	d->before[i] =
		(struct before) { ino, in->row.mtime, in->row.ctime, in->row.entries };
}

/* The inode of a name, 0 when there is none. */
static uint64_t named(struct applying *a, uint64_t dir, struct span name)
{
	struct entry e;

	return catalog_lookup(&a->fs->catalog, dir, name, &e) < 0 ? 0 : e.ino;
}

static void plan_rename(struct applying *a, const struct op *op, struct done *d)
{
	uint64_t target = named(a, op->src, op->name2);

	remember(a, d, 0, op->dir);
	remember(a, d, 1, op->src);
	remember(a, d, 2, named(a, op->dir, op->name));
	remember(a, d, 3, target);
	d->undo[0] = *op;
	if (op->mode & RENAME_EXCHANGE)
		return;
	d->undo[0].mode = 0;
	d->undo[0].dir = op->src;
	d->undo[0].name = op->name2;
	d->undo[0].src = op->dir;
	d->undo[0].name2 = op->name;
	if (!target || target == d->before[2].ino)
		return;
	d->loses = target;
	d->undo[1] = (struct op) {
		.type = OP_LINK, .ino = target, .dir = op->src, .name = op->name2
	};
}

static int plan_xattr(struct applying *a, const struct op *op, struct done *d)
{
	int r = catalog_get_xattr(&a->fs->catalog, op->ino, op->name, &d->value);

	remember(a, d, 0, op->ino);
	if (r < 0 && r != -ENODATA)
		return r;
	d->undo[0] = *op;
	d->undo[0].type = r < 0 ? OP_RMXATTR : OP_SETXATTR;
	d->undo[0].data = buf_span(&d->value);
	return 0;
}

/* A cursor stands where it stood, or is gone again. */
static int plan_cursor(struct applying *a, const struct op *op, struct done *d)
{
	struct span value;
	int r = catalog_get_cursor(&a->fs->catalog, op->ino, op->name, &value);

	d->undo[0] = *op;
	d->undo[0].type = OP_CURSOR_DEL;
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	d->undo[0].type = OP_CURSOR_SET;
	d->undo[0].at = le64_get(((const struct cursor_row *)value.p)->id);
	return 0;
}

static int plan_append(struct applying *a, const struct op *op, struct done *d)
{
	struct inode *in;
	struct queue *q;
	int r = inode_get(a->fs, op->ino, &in);

	if (r >= 0)
		r = queue_get(a->fs, in, &q);
	if (r < 0)
		return r;
	d->queue = malloc(sizeof(*d->queue));
	if (!d->queue)
		return -ENOMEM;
	*d->queue = *q;
	d->queue_ino = op->ino;
	remember(a, d, 0, op->ino);
	return 0;
}

/* What undoes op, if it succeeds. */
static int plan(struct applying *a, const struct op *op, struct done *d)
{
	switch (op->type) {
	case OP_SWAP:
		remember(a, d, 0, op->ino);
		remember(a, d, 1, op->src);
		d->undo[0] = *op;
		return 0;
	case OP_LINK:
		remember(a, d, 0, op->dir);
		remember(a, d, 1, op->ino);
		d->undo[0] = (struct op) { .type = OP_UNLINK,
					   .dir = op->dir,
					   .name = op->name };
		return 0;
	case OP_UNLINK:
		d->loses = named(a, op->dir, op->name);
		remember(a, d, 0, op->dir);
		remember(a, d, 1, d->loses);
		d->undo[0] = (struct op) {
			.type = OP_LINK, .ino = d->loses, .dir = op->dir, .name = op->name
		};
		return 0;
	case OP_RENAME:
		plan_rename(a, op, d);
		return 0;
	case OP_SETXATTR:
	case OP_RMXATTR:
		return plan_xattr(a, op, d);
	case OP_CURSOR_SET:
		return plan_cursor(a, op, d);
	case OP_APPEND:
		return plan_append(a, op, d);
	default:
		return err_set(E_CORRUPT, "a txn record holds an op of type %u",
			       op->type);
	}
}

static int undo_append(struct ropefs *fs, const struct done *d, int64_t time)
{
	struct inode *in;
	int r = d->queue ? inode_get(fs, d->queue_ino, &in) : 0;

	return r < 0 || !d->queue ? r : queue_take_back(fs, in, d->queue, time);
}

static void undo_one(struct ropefs *fs, const struct done *d, int64_t time)
{
	int r = undo_append(fs, d, time);
	struct inode *in;

	for (unsigned i = 0; r >= 0 && i < ARRAY_LEN(d->undo) && d->undo[i].type; i++) {
		struct op op = d->undo[i];

		op.time = time;
		op.flags = 0;
		r = op_apply(fs, &op);
	}
	for (unsigned i = 0; r >= 0 && i < INODES_TOUCHED; i++) {
		const struct before *b = &d->before[i];

		if (!b->ino)
			continue;
		r = inode_get(fs, b->ino, &in);
		if (r < 0)
			break;
		in->row.mtime = b->mtime;
		in->row.ctime = b->ctime;
		in->row.entries = b->entries;
		inode_mark_dirty(fs, in);
	}
	if (r < 0)
		store_fail_locked(fs, r, "a transaction could not be undone");
}

static int reserve_done(struct applying *a)
{
	size_t cap = a->cap ? a->cap * 2 : 8;
	struct done *bigger;

	if (a->n < a->cap)
		return 0;
	bigger = realloc(a->done, cap * sizeof(*bigger));
	if (!bigger)
		return -ENOMEM;
	a->done = bigger;
	a->cap = cap;
	return 0;
}

static void done_release(struct done *d)
{
	buf_release(&d->value);
	free(d->queue);
}

static int apply_one(struct applying *a, struct op *op, int64_t time)
{
	struct done d = { 0 };
	int r = reserve_done(a);

	if (r >= 0)
		r = plan(a, op, &d);
	if (op->type != OP_APPEND) { /* that has its own time, and other flags */
		op->time = time;
		op->flags &= ~(OP_FLAG_REAP | OP_FLAG_REAP_TARGET);
	}
	if (r >= 0)
		r = op_apply(a->fs, op);
	if (r < 0)
		done_release(&d);
	else
		a->done[a->n++] = d;
	return r;
}

/* Who lost a name is looked at when all is done. Best effort: what is not noted stays an orphan
 * until the next opening. */
static void note_gone(struct applying *a)
{
	for (size_t i = 0; i < a->n; i++)
		if (a->done[i].loses && !a->fs->replaying)
			buf_append(&a->fs->txn_gone, &a->done[i].loses,
				   sizeof(a->done[i].loses));
}

int apply_txn(struct ropefs *fs, const struct op *txn)
{
	struct applying a = { .fs = fs };
	struct span rest = txn->data;
	struct op op;
	int r;

	while ((r = txn_next_op(&rest, &op)) > 0) {
		r = apply_one(&a, &op, txn->time);
		if (r < 0)
			break;
	}
	if (r >= 0) {
		note_gone(&a);
		fs->txn_commits += !fs->replaying;
	}
	for (size_t i = a.n; i-- > 0;) {
		if (r < 0)
			undo_one(fs, &a.done[i], txn->time);
		done_release(&a.done[i]);
	}
	free(a.done);
	return r;
}
