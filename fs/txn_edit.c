/* txn_edit.c - files join a transaction of a program on the mount, and are edited in it. An edit is
 * a few changes of copies, each made once whatever happens to the daemon (txn_change_begin()). */
#include "fs/ops.h"
#include "fs/reply.h"
#include "fs/staged.h"
#include "fs/txn_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { APPEND_MAX = 4 << 20 };

static bool same_member(const struct member *a, const struct member *b)
{
	return a->ino == b->ino && a->rights == b->rights && a->uid == b->uid;
}

int txn_join(struct txn *x, const struct member *m, uint32_t *ret)
{
	size_t cap = x->cap ? 2 * x->cap : 8;
	struct member *bigger;
	size_t i = 0;

	while (i < x->n && !same_member(&x->members[i], m))
		i++;
	if (i == x->n && x->n == x->cap) {
		bigger = realloc(x->members, cap * sizeof(*bigger));
		if (!bigger)
			return -ENOMEM;
		x->members = bigger;
		x->cap = cap;
	}
	if (i == x->n) {
		x->members[x->n++] = *m;
		txn_record(x, TXN_MEMBER, 0, m, sizeof(*m));
	}
	*ret = (uint32_t)i + 1;
	return 0;
}

bool txn_has(const struct txn *x, uint64_t ino)
{
	size_t i = 0;

	while (i < x->n && x->members[i].ino != ino)
		i++;
	return i < x->n;
}

void txn_mark_edited(struct txn *x, size_t member)
{
	if (member >= x->n || x->members[member].edited)
		return;
	x->members[member].edited = true;
	txn_record(x, TXN_EDITED, member, NULL, 0);
}

static struct member member_of(const struct task *t)
{
	return (struct member) { .ino = t->ino,
				 .uid = t->flags,
				 .rights = (unsigned)t->fi.fh & (FH_READ | FH_WRITE) };
}

int txn_use(struct task *t, struct txn *x, struct ropefs_ioc_txn_use *u)
{
	struct member m = member_of(t);
	struct ropefs_attr a;
	int r = ropefs_getattr(t->d->fs, t->ino, &a);

	if (r >= 0 && S_ISDIR(a.mode)) {
		m.rights = 0;
		m.is_dir = true;
		u->size = 0;
		return txn_join(x, &m, &u->file);
	}
	r = r < 0 ? r : ropefs_txn_getattr(x->core, t->ino, &a);

	if (r < 0)
		return r;
	u->size = a.size;
	return txn_join(x, &m, &u->file);
}

/* Where the bytes come from that are no data. */
static int source_of(const struct txn *x, const struct ropefs_ioc_txn_edit *e,
		     struct ropefs_range *ret)
{
	unsigned need = FH_READ | (e->flags & ROPEFS_IOC_TXN_MOVE ? FH_WRITE : 0u);

	if (e->src > x->n)
		return -EINVAL;
	if ((x->members[e->src - 1].rights & need) != need)
		return -EBADF;
	*ret = (struct ropefs_range) { x->members[e->src - 1].ino, e->src_at, e->src_n };
	return 0;
}

static int within(struct txn *x, const struct ropefs_range *range)
{
	struct ropefs_attr a;
	int r = ropefs_txn_getattr(x->core, range->ino, &a);

	if (r >= 0 && (range->at > a.size || range->n > a.size - range->at))
		r = -ERANGE;
	return r;
}

static int put_data(struct txn *x, const struct ropefs_range *dst,
		    const struct ropefs_ioc_txn_edit *e)
{
	int64_t r = 0;

	if (dst->n && txn_change_begin(x)) {
		r = ropefs_txn_cut(x->core, dst->ino, dst->at, dst->n);
		txn_change_end(x, r);
	}
	if (r >= 0 && e->n && txn_change_begin(x)) {
		r = ropefs_txn_insert(x->core, dst->ino, dst->at, e->data, e->n);
		txn_change_end(x, r);
	}
	return r < 0 ? (int)r : 0;
}

static int move_bytes(struct txn *x, struct ropefs_range dst, struct ropefs_range src)
{
	int r = x->skip ? 0 : ropefs_txn_move_begin(x->core, dst, src);

	for (unsigned step = 0; r >= 0 && step < 2; step++) {
		if (!txn_change_begin(x))
			continue;
		r = ropefs_txn_move_step(x->core, dst, src, step);
		txn_change_end(x, r);
	}
	return r;
}

static int put_range(struct txn *x, struct ropefs_range dst, struct ropefs_range src)
{
	int r;

	if (!txn_change_begin(x))
		return 0;
	r = ropefs_txn_replace(x->core, dst, src);
	txn_change_end(x, r);
	return r;
}

int txn_part(struct txn *x, uint64_t ino, const void *p, size_t n)
{
	uint8_t *bigger;

	if (x->part_n && x->part_ino != ino)
		return -EINVAL;
	if (n > APPEND_MAX - x->part_n)
		return -EFBIG;
	if (x->part_n + n + 1 > x->part_cap) {
		size_t more = x->part_n + n + 1 - x->part_cap;

		if (!staged_hold(more))
			return -ENOMEM;
		bigger = realloc(x->part, x->part_cap + more);
		if (!bigger) {
			staged_let(more);
			return -ENOMEM;
		}
		x->part = bigger;
		x->part_cap += more;
	}
	if (n)
		memcpy(x->part + x->part_n, p, n);
	x->part_n += n;
	x->part_ino = ino;
	return 0;
}

/* In pieces that are one change each. */
static int64_t append_bytes(struct txn *x, uint64_t ino)
{
	int64_t r = ropefs_txn_touch(x->core, ino);
	size_t n;

	for (size_t at = 0; r >= 0 && at < x->part_n; at += n) {
		n = x->part_n - at < ROPEFS_WRITE_MAX ? x->part_n - at : ROPEFS_WRITE_MAX;
		if (!txn_change_begin(x))
			continue;
		r = ropefs_txn_write(x->core, ino, 0, x->part + at, n, ROPEFS_APPEND,
				     NULL);
		txn_change_end(x, r);
	}
	return r;
}

static int append(struct task *t, struct txn *x, const struct ropefs_ioc_txn_edit *e,
		  uint64_t ino)
{
	struct ropefs_attr a;
	int64_t r = txn_part(x, ino, e->data, e->n);

	if (r >= 0 && e->flags & ROPEFS_IOC_TXN_MORE)
		txn_record(x, TXN_PART, ino, e->data, e->n);
	if (r < 0 || e->flags & ROPEFS_IOC_TXN_MORE)
		return (int)r;
	r = ropefs_getattr(t->d->fs, ino, &a);
	if (r >= 0)
		r = a.is_queue ? ropefs_txn_append(x->core, ino, x->part, x->part_n)
			       : append_bytes(x, ino);
	x->part_n = 0;
	return r < 0 ? (int)r : 0;
}

/* On the transaction itself: of a file that joined with the right to be written. */
static int named(const struct txn *x, const struct ropefs_ioc_txn_edit *e,
		 struct member *ret)
{
	if (!e->dst || e->dst > x->n)
		return -EINVAL;
	*ret = x->members[e->dst - 1];
	return ret->rights & FH_WRITE ? 0 : -EBADF;
}

/* The file the edit is of, and the range it takes bytes from, are as the edit needs them: not asked
 * again once some of it is done. */
static int edit_check_ranges(struct txn *x, const struct ropefs_ioc_txn_edit *e,
			     const struct ropefs_range *dst, struct ropefs_range *ret_src)
{
	int r = x->skip ? 0 : within(x, dst);

	if (r < 0 || !e->src)
		return r;
	r = source_of(x, e, ret_src);
	return r < 0 || x->skip ? r : within(x, ret_src);
}

int txn_edit(struct task *t, struct txn *x, const struct ropefs_ioc_txn_edit *e)
{
	struct ropefs_range dst = { t->ino, e->at, e->cut }, src = { 0 };
	struct member m = member_of(t);
	uint32_t number;
	int r;

	r = t->ino ? 0 : named(x, e, &m);
	if (r < 0)
		return r;
	dst.ino = m.ino;
	if (e->flags & ROPEFS_IOC_TXN_APPEND) {
		r = txn_join(x, &m, &number);
		if (r < 0)
			return r;
		txn_mark_edited(x, number - 1);
		return append(t, x, e, m.ino);
	}
	r = edit_check_ranges(x, e, &dst, &src);
	if (r >= 0)
		r = txn_join(x, &m, &number);
	if (r < 0)
		return r;
	txn_mark_edited(x, number - 1);
	if (e->flags & ROPEFS_IOC_TXN_MOVE) {
		txn_mark_edited(x, e->src - 1);
		return move_bytes(x, dst, src);
	}
	r = ropefs_txn_touch(x->core, dst.ino);
	if (r < 0)
		return r;
	return e->src ? put_range(x, dst, src) : put_data(x, &dst, e);
}
