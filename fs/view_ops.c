/* view_ops.c - requests on views: handed on to the view's kind; and what is the same for all. */
#include "fs/far.h"
#include "fs/notify.h"
#include "fs/ops.h"
#include "fs/reply.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Calls the kind's function; where it has none, replies else_. */
#define HAND_ON(op, else_, req, ino, ...)                                                \
	do {                                                                             \
		const struct view_kind *kind_ = view_kind_of(daemon_of(req), ino);       \
		if (kind_ && kind_->ops->op)                                             \
			kind_->ops->op(req, ino, __VA_ARGS__);                           \
		else                                                                     \
			fuse_reply_err(req, kind_ ? else_ : ESTALE);                     \
	} while (0)

static void view_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	HAND_ON(getattr, EIO, req, ino, fi);
}

/* A file in a snapshot can be looked at only. */
static bool is_fixed(fuse_req_t req, fuse_ino_t ino)
{
	struct view v;

	return view_target(daemon_of(req), ino, &v) >= 0 && ropefs_in_snapshot(v.target);
}

static void view_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int what,
			 struct fuse_file_info *fi)
{
	if (is_fixed(req, ino))
		fuse_reply_err(req, EROFS);
	else
		HAND_ON(setattr, EPERM, req, ino, st, what, fi);
}

/* The bytes that an open view shows, or begins with. */
static void write_back(struct daemon *d, const struct view *v)
{
	uint64_t from = 0, to = INT64_MAX;
	struct ropefs_attr a;

	if (v->selector.has == ROPEFS_SEL_BYTES &&
	    ropefs_getattr(d->fs, v->target, &a) >= 0)
		ropefs_view_range(&v->selector, a.size, &from, &to);
	if (from < to)
		range_drop(d, v->target, from, to - from);
}

static void open_mapped(struct task *t)
{
	struct view v;

	if (view_target(t->d, t->ino, &v) >= 0)
		write_back(t->d, &v);
	HAND_ON(open, EPERM, t->req, t->ino, &t->fi);
	task_free(t);
}

/* A map of the target may have changed bytes that only the kernel has: they are written back first,
 * or a view that is read would not show them, and one that is written put the old ones in their
 * place. One that begins empty has none of them. */
static void view_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct daemon *d = daemon_of(req);
	struct task *t;
	struct view v;

	if ((fi->flags & O_ACCMODE) != O_RDONLY && is_fixed(req, ino)) {
		fuse_reply_err(req, EROFS);
		return;
	}
	if (fi->flags & O_TRUNC || view_target(d, ino, &v) < 0 ||
	    !inodes_may_be_mapped(&d->inodes, v.target)) {
		HAND_ON(open, EPERM, req, ino, fi);
		return;
	}
	t = task_new(d, req, NULL, 0);
	if (!t)
		return;
	t->ino = ino;
	t->fi = *fi;
	task_edit(t, v.target, open_mapped);
}

static void view_read(fuse_req_t req, fuse_ino_t ino, size_t n, off_t off,
		      struct fuse_file_info *fi)
{
	HAND_ON(read, EBADF, req, ino, n, off, fi);
}

static void view_write(fuse_req_t req, fuse_ino_t ino, const char *p, size_t n, off_t off,
		       struct fuse_file_info *fi)
{
	HAND_ON(write, EBADF, req, ino, p, n, off, fi);
}

static void view_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	HAND_ON(flush, 0, req, ino, fi);
}

static void view_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	HAND_ON(release, 0, req, ino, fi);
}

static void view_fsync(fuse_req_t req, fuse_ino_t ino, int datasync,
		       struct fuse_file_info *fi)
{
	HAND_ON(fsync, 0, req, ino, datasync, fi);
}

static void view_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence,
		       struct fuse_file_info *fi)
{
	HAND_ON(lseek, ESPIPE, req, ino, off, whence, fi);
}

static void view_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned cmd, void *arg,
		       struct fuse_file_info *fi, unsigned flags, const void *in,
		       size_t n_in, size_t n_out)
{
	HAND_ON(ioctl, ENOTTY, req, ino, cmd, arg, fi, flags, in, n_in, n_out);
}

static void view_poll(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi,
		      struct fuse_pollhandle *ph)
{
	const struct view_kind *kind = view_kind_of(daemon_of(req), ino);

	if (kind && kind->ops->poll)
		kind->ops->poll(req, ino, fi, ph);
	else
		poll_always(req, ph);
}

static void view_listxattr(fuse_req_t req, fuse_ino_t ino, size_t n)
{
	(void)ino;
	if (n)
		fuse_reply_buf(req, NULL, 0);
	else
		fuse_reply_xattr(req, 0);
}

/* A view has its target's access ACL, as it has its mode. */
static void view_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t n)
{
	struct view v;
	int r = strcmp(name, ACL_ACCESS) == 0 ? 0 : -ENODATA;

	if (r >= 0)
		r = view_target(daemon_of(req), ino, &v);
	if (r < 0)
		reply_err(req, r);
	else
		reply_getxattr(req, v.target, name, n);
}

/* The kernel has checked that the caller may remove names from the directory, which says
 * nothing about the file that would be cut. */
static int may_write(fuse_req_t req, const struct ropefs_attr *a)
{
	return caller_may_now(req, a->ino, 2);
}

static void unlink_finding(struct task *t);

/* In the thread of the edits of the file t->to_ino. */
static void unlink_waiting(struct task *t)
{
	struct ropefs_attr a = { 0 };
	struct view v;

	t->r = view_find(t->d, t->ino, t->data, t->flags, &v, &a);
	if (t->r == 0)
		t->r = -ENOENT;
	else if (t->r > 0)
		t->r = may_write(t->req, &a);
	if (t->r >= 0 && t->to_ino != a.ino) { /* the name is another file's by now */
		t->is_far = false;
		task_run(t, unlink_finding);
		return;
	}
	if (t->r >= 0)
		t->r = v.kind->remove ? v.kind->remove(t->d, &v, &t->found, t->flags)
				      : -EPERM;
	task_reply_err(t);
}

/* Before that, what has to be read for it: other edits don't wait for the bucket. A signal may have
 * answered the request meanwhile, so that it is looked at before only. */
static void unlink_finding(struct task *t)
{
	struct ropefs_attr a = { 0 };
	struct view v;

	if (!far_step(t))
		return;
	t->r = view_find(t->d, t->ino, t->data, t->flags, &v, &a);
	if (t->r == 0)
		t->r = -ENOENT;
	else if (t->r > 0)
		t->r = t->is_far ? 0 : may_write(t->req, &a);
	if (t->r >= 0 && v.kind->find)
		t->r = v.kind->find(t->d, &v, &t->found);
	if (far_again(t, unlink_finding) != FAR_ANSWER)
		return;
	if (t->r < 0) {
		task_reply_err(t);
		return;
	}
	t->to_ino = a.ino;
	task_edit(t, a.ino, unlink_waiting);
}

void view_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct task *t = task_new(daemon_of(req), req, name, strlen(name) + 1);

	if (!t)
		return;
	t->ino = parent;
	t->flags = fuse_req_ctx(req)->uid;
	task_run(t, unlink_finding);
}

const struct fuse_lowlevel_ops view_ops = {
	.getattr = view_getattr,
	.setattr = view_setattr,
	.open = view_open,
	.read = view_read,
	.write = view_write,
	.flush = view_flush,
	.release = view_release,
	.fsync = view_fsync,
	.lseek = view_lseek,
	.getxattr = view_getxattr,
	.ioctl = view_ioctl,
	.poll = view_poll,
	.listxattr = view_listxattr,
};
