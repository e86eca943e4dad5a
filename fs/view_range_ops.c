/* view_range_ops.c - requests on views of a range. Whatever edits runs in the thread of the
 * target's edits, and is answered when the kernel's cache has followed (notify.h). */
#include "fs/far.h"
#include "fs/keep.h"
#include "fs/notify.h"
#include "fs/ops.h"
#include "fs/reply.h"
#include "fs/view_range.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static struct view_file *file_of(uint64_t fh)
{
	return (struct view_file *)(uintptr_t)fh;
}

static struct task *task_on(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct task *t = task_new(daemon_of(req), req, NULL, 0);

	if (!t)
		return NULL;
	t->ino = ino;
	if (fi) {
		t->fi = *fi;
		t->has_fi = true;
	}
	return t;
}

static void view_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct daemon *d = daemon_of(req);
	struct ropefs_attr stage;
	struct stat st;
	int r;

	r = view_stat(d, ino, &st);
	if (r >= 0 && fi && file_of(fi->fh)->stage) {
		r = ropefs_getattr(d->fs, file_of(fi->fh)->stage, &stage);
		if (r >= 0)
			st.st_size = (off_t)stage.size;
	}
	if (r < 0)
		reply_err(req, r);
	else
		fuse_reply_attr(req, &st, 0);
}

static void reply_opened(struct task *t)
{
	struct daemon *d = t->d;
	struct view_file *f = file_of(t->fi.fh);

	if (reply_open_file(t->req, &t->fi,
			    &(struct opened) { f, &f->kept, KEPT_RANGE, t->ino }) < 0)
		view_file_free(d, f);
	task_free(t);
}

/* To write it makes a stage, which may have to wait for room. */
static void run_open(struct task *t, void (*step)(struct task *t))
{
	if ((t->fi.flags & O_ACCMODE) == O_RDONLY)
		task_run(t, step);
	else
		task_run_held(t, step);
}

static void open_waiting(struct task *t)
{
	struct daemon *d = t->d;
	struct view_file *f = NULL;
	struct view v;

	t->r = view_target(t->d, t->ino, &v);
	if (t->r >= 0 && !inodes_wait_settled(&t->d->inodes, v.target)) {
		run_open(t, open_waiting);
		return;
	}
	if (!far_step(t))
		return;
	if (t->r >= 0)
		t->r = view_file_open(t->d, t->ino, t->fi.flags, t->flags, &f);
	if (far_again(t, open_waiting) != FAR_ANSWER) {
		if (f)
			view_file_free(d, f);
		return;
	}
	if (t->r < 0) {
		task_reply_err(t);
		return;
	}
	t->fi.fh = (uintptr_t)f;
	t->fi.direct_io = 1;
	/* From now on the target's attributes are asked for (inodes.h). */
	if (f->stage)
		attrs_drop(t->d, f->target);
	reply_opened(t);
}

static void view_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct task *t = task_on(req, ino, fi);

	if (!t)
		return;
	t->flags = fuse_req_ctx(req)->uid;
	run_open(t, open_waiting);
}

static ssize_t read_some(struct daemon *d, struct view_file *f, uint64_t off, void *p,
			 size_t n, unsigned flags)
{
	struct ropefs_range range = { .at = off, .n = n };

	view_copy_side((uintptr_t)f, false, &range);
	return range.n ? ropefs_read(d->fs, range.ino, range.at, p, range.n, flags) : 0;
}

static void read_waiting(struct task *t)
{
	void *p = malloc(t->n);

	t->r = p ? read_some(t->d, file_of(t->fi.fh), t->off, p, t->n, 0) : -ENOMEM;
	reply_read(t->req, p, t->r);
	free(p);
	task_free(t);
}

/* As the file itself, as the view may be closed before the answer comes. */
static void view_read_far(struct task *t, struct view_file *f)
{
	struct ropefs_range range = { .at = t->off, .n = t->n };

	view_copy_side((uintptr_t)f, false, &range);
	t->ino = range.ino;
	t->off = range.at;
	t->n = range.n;
	far_run(t, file_read_far);
}

static void view_read(fuse_req_t req, fuse_ino_t ino, size_t n, off_t off,
		      struct fuse_file_info *fi)
{
	struct view_file *f = file_of(fi->fh);
	void *p = loop_buffer();
	ssize_t r = -EAGAIN;
	struct task *t;

	if (p && n <= ROPEFS_WRITE_MAX)
		r = read_some(daemon_of(req), f, (uint64_t)off, p, n,
			      ROPEFS_NOWAIT | ROPEFS_FAR);
	if (r != -EAGAIN && r != -EREMOTE) {
		reply_read(req, p, r);
		return;
	}
	t = task_on(req, ino, fi);
	if (!t)
		return;
	t->off = (uint64_t)off;
	t->n = n;
	if (r == -EREMOTE)
		view_read_far(t, f);
	else
		task_run(t, read_waiting);
}

static void written(fuse_req_t req, struct view_file *f, ssize_t n)
{
	if (n < 0) {
		reply_err(req, (int)n);
		return;
	}
	view_copied((uintptr_t)f);
	count(&daemon_of(req)->counters.written_bytes, (uint64_t)n);
	fuse_reply_write(req, (size_t)n);
}

static void write_waiting(struct task *t)
{
	struct view_file *f = file_of(t->fi.fh);

	keep_arm();
	written(t->req, f,
		ropefs_write(t->d->fs, f->stage, t->off, t->data, t->n, t->flags, NULL));
	task_free(t);
}

static void view_write(fuse_req_t req, fuse_ino_t ino, const char *p, size_t n, off_t off,
		       struct fuse_file_info *fi)
{
	struct daemon *d = daemon_of(req);
	struct view_file *f = file_of(fi->fh);
	unsigned flags = fi->flags & O_APPEND ? ROPEFS_APPEND : 0;
	ssize_t done;
	struct task *t;

	if (view_is_stale(d, f)) {
		fuse_reply_err(req, ESTALE);
		return;
	}
	view_writes(f);
	keep_arm();
	done = ropefs_write(d->fs, f->stage, (uint64_t)off, p, n, flags | ROPEFS_NOWAIT,
			    NULL);
	if (done != -EAGAIN) {
		written(req, f, done);
		return;
	}
	t = task_new(d, req, p, n);
	if (!t)
		return;
	t->ino = ino;
	t->fi = *fi;
	t->off = (uint64_t)off;
	t->n = n;
	t->flags = flags;
	task_run_held(t, write_waiting);
}

/* Commits what was written, if any; step then finds the result in t->r. */
static void commit_then(struct task *t, void (*step)(struct task *t))
{
	struct view_file *f = file_of(t->fi.fh);

	t->r = 0;
	if (!f->stage || !atomic_load(&f->dirty)) {
		step(t);
		return;
	}
	t->r = view_commit(t->d, f);
	if (t->r < 0)
		task_reply_err(t);
	else
		step(t);
}

static void flush_waiting(struct task *t)
{
	commit_then(t, task_reply_err);
}

static void view_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct view_file *f = file_of(fi->fh);
	struct task *t;

	if (!f->stage || !atomic_load(&f->dirty)) {
		fuse_reply_err(req, 0);
		return;
	}
	t = task_on(req, ino, fi);
	if (t)
		task_edit(t, f->target, flush_waiting);
}

static void fsync_waiting(struct task *t)
{
	commit_then(t, task_sync);
}

static void view_fsync(fuse_req_t req, fuse_ino_t ino, int datasync,
		       struct fuse_file_info *fi)
{
	struct task *t = task_on(req, ino, fi);

	(void)datasync;
	if (t)
		task_edit(t, file_of(fi->fh)->target, fsync_waiting);
}

static void released(struct task *t)
{
	struct view_file *f = file_of(t->fi.fh);

	if (t->flags)
		inodes_pending(&t->d->inodes, f->target, -1);
	view_file_free(t->d, f);
	t->r = 0;
	task_reply_err(t);
}

static void release_waiting(struct task *t)
{
	struct view_file *f = file_of(t->fi.fh);

	/* Nobody is left to hear of an error; then the file stays as it was. */
	if (t->flags)
		view_commit(t->d, f);
	released(t);
}

static void view_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct daemon *d = daemon_of(req);
	struct view_file *f = file_of(fi->fh);
	struct task *t;

	if (!f->stage) {
		view_file_free(d, f);
		fuse_reply_err(req, 0);
		return;
	}
	t = task_on(req, ino, fi);
	if (!t)
		return;
	/* `: > f@bytes=A..B` cuts. Only now is it known that no write will come: shells close
	 * a duplicate before the program runs. */
	t->flags = f->cut_if_unwritten && !atomic_load(&f->wrote);
	if (t->flags)
		inodes_pending(&d->inodes, f->target, 1);
	task_edit(t, f->target, release_waiting);
}

static void setattr_done(struct task *t)
{
	view_getattr(t->req, t->ino, t->has_fi ? &t->fi : NULL);
	task_free(t);
}

static void setattr_waiting(struct task *t)
{
	struct view_file *f = t->has_fi ? file_of(t->fi.fh) : NULL;
	struct view v;

	if (keep_was_done()) {
		t->r = 0;
	} else if (f) {
		t->r = f->stage ? ropefs_truncate(t->d->fs, f->stage, t->n) : -EINVAL;
		if (t->r >= 0)
			view_copied(t->fi.fh);
	} else {
		t->r = view_target(t->d, t->ino, &v);
		if (t->r >= 0)
			t->r = view_resize(t->d, &v, &t->found, t->n, t->flags);
	}
	if (t->r < 0)
		task_reply_err(t);
	else
		setattr_done(t);
}

/* Whoever edits the file meanwhile does not wait for what is read to find lines. */
static void find_waiting(struct task *t)
{
	struct view v;

	if (!far_step(t))
		return;
	t->r = view_target(t->d, t->ino, &v);
	if (t->r >= 0 && !keep_was_done())
		t->r = view_range_find(t->d, &v, &t->found);
	if (far_again(t, find_waiting) != FAR_ANSWER)
		return;
	if (t->r < 0)
		task_reply_err(t);
	else
		task_edit(t, v.target, setattr_waiting);
}

static void view_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int what,
			 struct fuse_file_info *fi)
{
	const int mine = FUSE_SET_ATTR_SIZE;
	const int along =
		FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_MTIME_NOW | FUSE_SET_ATTR_CTIME;
	struct view v;
	struct task *t;
	int r;

	/* A change of size may bring its times along; they come by themselves. */
	if (!(what & mine) || what & ~(mine | along)) {
		fuse_reply_err(req, EPERM);
		return;
	}
	r = view_target(daemon_of(req), ino, &v);
	if (r >= 0 && !fi && v.selector.has & ROPEFS_SEL_IF)
		r = -EPERM; /* which needs an open file, to write all of it */
	if (r < 0) {
		reply_err(req, r);
		return;
	}
	t = task_on(req, ino, fi);
	if (!t)
		return;
	t->n = (uint64_t)st->st_size;
	t->flags = fuse_req_ctx(req)->uid;
	if (fi)
		task_edit(t, v.target, setattr_waiting);
	else
		task_run(t, find_waiting);
}

/* Holes are those of the file, as far as the range goes. */
static int seek_in(struct daemon *d, uint64_t fh, uint64_t off, int whence, uint64_t *ret)
{
	struct ropefs_range range = { .at = off, .n = INT64_MAX };
	struct ropefs_attr a;
	uint64_t found, end;
	int r;

	view_copy_side(fh, false, &range);
	r = ropefs_getattr(d->fs, range.ino, &a);
	if (r < 0)
		return r;
	end = range.n < INT64_MAX - range.at ? range.at + range.n : INT64_MAX;
	end = end < a.size ? end : a.size;
	if (range.at >= end)
		return -ENXIO;
	r = ropefs_seek(d->fs, range.ino, range.at, whence, &found);
	if (r < 0)
		return r;
	if (found >= end && whence == SEEK_DATA)
		return -ENXIO;
	*ret = off + ((found < end ? found : end) - range.at);
	return 0;
}

static void view_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence,
		       struct fuse_file_info *fi)
{
	uint64_t found = 0;
	int r = -ENXIO;

	(void)ino;
	if (off >= 0)
		r = seek_in(daemon_of(req), fi->fh, (uint64_t)off, whence, &found);
	if (r < 0)
		reply_err(req, r);
	else
		fuse_reply_lseek(req, (off_t)found);
}

static const struct fuse_lowlevel_ops range_ops = {
	.getattr = view_getattr,
	.setattr = view_setattr,
	.open = view_open,
	.read = view_read,
	.write = view_write,
	.flush = view_flush,
	.release = view_release,
	.fsync = view_fsync,
	.lseek = view_lseek,
};

static bool takes(const struct ropefs_view *selector, const struct ropefs_attr *target)
{
	if (selector->has == ROPEFS_SEL_LINES)
		return !target->is_queue;
	return selector->has == ROPEFS_SEL_BYTES || selector->has == ROPEFS_SEL_IF;
}

static int size_now(struct daemon *d, const struct view *v,
		    const struct ropefs_attr *target, uint64_t *ret)
{
	uint64_t from, to;
	int r;

	(void)d;
	if (v->selector.has & ROPEFS_SEL_LINES) { /* known when the file has been read */
		*ret = 0;
		return 0;
	}
	r = ropefs_view_range(&v->selector, target->size, &from, &to);
	if (r >= 0)
		*ret = to - from;
	return r;
}

static int cut(struct daemon *d, const struct view *v, const struct view_found *found,
	       uint32_t uid)
{
	return v->selector.has & ROPEFS_SEL_IF ? -EPERM
					       : view_resize(d, v, found, 0, uid);
}

const struct view_kind view_range = {
	.takes = takes,
	.size = size_now,
	.ops = &range_ops,
	.find = view_range_find,
	.remove = cut,
	.copy_side = view_copy_side,
	.copied = view_copied,
};
