/* ops_ioctl.c - insert, cut and replace on an open file (ropefs_ioctl.h). */
#include "fs/ropefs_ioctl.h"

#include "fs/keep.h"
#include "fs/notify.h"
#include "fs/ops.h"
#include "fs/queue_ioctl.h"
#include "fs/reply.h"
#include "fs/txn.h"
#include "fs/view_range.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

static int replace(struct daemon *d, fuse_ino_t ino, const struct ropefs_ioc_edit *e)
{
	const struct ropefs_new unnamed = { .mode = S_IFREG | 0600 };
	struct ropefs_attr stage;
	ssize_t n;
	int r;

	r = ropefs_create_unnamed(d->fs, &unnamed, &stage);
	if (r < 0)
		return r;
	ropefs_place_like(d->fs, stage.ino, ino);
	n = ropefs_write(d->fs, stage.ino, 0, e->data, e->n, 0, NULL);
	r = n < 0 ? (int)n : 0;
	keep_arm();
	if (r >= 0)
		r = ropefs_replace(d->fs, (struct ropefs_range) { ino, e->at, e->cut },
				   (struct ropefs_range) { stage.ino, 0, e->n });
	ropefs_release(d->fs, stage.ino, 1);
	return r;
}

static int edit(struct daemon *d, fuse_ino_t ino, const struct ropefs_ioc_edit *e)
{
	ssize_t n;
	int r;

	view_edit_lock(d, ino, NULL);
	if (e->n && e->cut) {
		r = replace(d, ino, e);
	} else if (e->n) {
		keep_arm();
		n = ropefs_insert(d->fs, ino, e->at, e->data, e->n, 0);
		r = n < 0 ? (int)n : 0;
	} else {
		keep_arm();
		r = ropefs_cut(d->fs, ino, e->at, e->cut);
	}
	view_edit_unlock(d, ino, NULL, r >= 0);
	return r;
}

static void edit_waiting(struct task *t)
{
	const struct ropefs_ioc_edit *e = (const void *)t->data;
	const struct moved m = { t->ino, e->at, e->cut, e->n };
	struct ropefs_attr a;

	t->r = ropefs_getattr(t->d->fs, t->ino, &a);
	if (t->r >= 0 && (e->at > a.size || e->cut > a.size - e->at))
		t->r = -ERANGE;
	if (t->r >= 0)
		t->r = privs_drop(t->d, t->ino, t->flags);
	if (t->r >= 0) {
		edit_begin(t->d, &m);
		t->r = edit(t->d, t->ino, e);
		edit_end(t->d, &m);
	}
	if (t->r < 0) {
		task_reply_err(t);
		return;
	}
	count(&t->d->counters.written_bytes, e->n);
	fuse_reply_ioctl(t->req, 0, NULL, 0);
	task_free(t);
}

/* 0 when cmd is one of ours and the n bytes at in are what it takes. */
static int edit_check(unsigned cmd, const struct ropefs_ioc_edit *e, size_t n)
{
	unsigned nr = _IOC_NR(cmd);

	if (_IOC_TYPE(cmd) != ROPEFS_IOC_TYPE || _IOC_DIR(cmd) != _IOC_WRITE ||
	    nr < ROPEFS_IOC_NR_INSERT || nr > ROPEFS_IOC_NR_REPLACE)
		return -ENOTTY;
	if (n < sizeof(*e) || e->n != n - sizeof(*e) || e->n > ROPEFS_IOC_DATA_MAX ||
	    e->reserved)
		return -EINVAL;
	if ((nr == ROPEFS_IOC_NR_INSERT && e->cut) || (nr == ROPEFS_IOC_NR_CUT && e->n))
		return -EINVAL;
	return 0;
}

void file_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned cmd, void *arg,
		struct fuse_file_info *fi, unsigned flags, const void *in, size_t n_in,
		size_t n_out)
{
	bool dir = flags & FUSE_IOCTL_DIR;
	struct task *t;
	int r;

	if (dir && cmd != ROPEFS_IOC_TXN_USE) {
		fuse_reply_err(req, ENOTTY);
		return;
	}
	if (queue_ioctl(req,
			&(struct queue_ioctl) { cmd, in, n_in, n_out, ino, UINT64_MAX }))
		return;
	(void)arg;
	(void)n_out;
	if (txn_takes(cmd)) {
		txn_file_ioctl(req, ino, cmd, fi, dir, in, n_in);
		return;
	}
	r = edit_check(cmd, in, n_in);
	if (r >= 0 && !(fi->fh & FH_WRITE))
		r = -EBADF;
	if (r < 0) {
		reply_err(req, r);
		return;
	}
	t = task_new(daemon_of(req), req, in, n_in);
	if (!t)
		return;
	t->ino = ino;
	t->flags = fuse_req_ctx(req)->uid;
	task_edit(t, ino, edit_waiting);
}
