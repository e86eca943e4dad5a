/* view_value.c - views that take what is written to them as a whole and work it into the file:
 * NAME@add (a number is added), NAME@patch (a JSON Patch), NAME@stride=SIZE:STEP (bytes out of
 * every STEP).
 *
 * What is written waits in memory, and takes effect when a descriptor is closed or synced
 * after something was written. A number with its newline, and a patch that is whole, take
 * effect at once, so that write(2) says what is wrong: shells lose errors of close(2). */
#include "fs/view_value.h"

#include "fs/daemon.h"
#include "fs/events.h"
#include "fs/far.h"
#include "fs/handles.h"
#include "fs/keep.h"
#include "fs/notify.h"
#include "fs/ops.h"
#include "fs/reply.h"
#include "fs/staged.h"
#include "fs/view_range.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
	ADD_MAX = 4096, /* bytes written to one */
	PATCH_MAX = ROPEFS_WRITE_MAX,
	STRIDE_MAX = 64 << 20,
};

struct value_file {
	LIST_ENTRY(value_file) link; /* guarded by views.mutex */
	atomic_uint
		refs; /* the open file, and reads: a signal ends one before its thread */
	struct view view;
	uint32_t uid;
	bool writes;
	pthread_mutex_t mutex; /* of what follows */
	struct kept kept; /* its area: the bytes */
	struct value_state {
		uint64_t n; /* bytes */
		bool dirty; /* written, and not yet taken effect */
	} now, before; /* before: as of the request that is under way */
};
KEPT_SIZE(struct value_state, 16);

static uint8_t *bytes_of(const struct value_file *f)
{
	return f->kept.area;
}

static struct value_file *file_of(const struct fuse_file_info *fi)
{
	return (struct value_file *)(uintptr_t)fi->fh;
}

static struct task *task_on(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct task *t = task_new(daemon_of(req), req, NULL, 0);

	if (!t)
		return NULL;
	t->ino = ino;
	t->fi = *fi;
	return t;
}

static bool is_stride(const struct value_file *f)
{
	return f->view.selector.has & ROPEFS_SEL_STRIDE;
}

/* --- taking effect, in the thread of the target's edits --- */

/* Works what was written into the bytes p of the target; the caller frees *ret. */
static int work_in(struct value_file *f, const char *p, size_t n, char **ret,
		   size_t *ret_n)
{
	int64_t number;
	int r;

	if (f->view.selector.has == ROPEFS_SEL_PATCH)
		return ropefs_value_patch(p, n, (const char *)bytes_of(f), f->now.n, ret,
					  ret_n);
	r = ropefs_number_parse((const char *)bytes_of(f), f->now.n, &number);
	return r < 0 ? r : ropefs_value_add(p, n, number, ret, ret_n);
}

/* What is left when it has taken effect; what is written from then on is another one. */
static struct value_state effected(const struct value_file *f)
{
	return (struct value_state) { .n = is_stride(f) ? f->now.n : 0 };
}

static void change_begins(struct value_file *f)
{
	struct value_state after = effected(f);

	kept_change(&f->kept, &f->before, &after, sizeof(after));
}

static int put(struct daemon *d, struct value_file *f, const char *etag, size_t old_n,
	       const char *p, size_t n)
{
	uint64_t ino = f->view.target;
	const struct moved m = { ino, 0, old_n, n };
	int r;

	edit_begin(d, &m);
	view_edit_lock(d, ino, NULL);
	change_begins(f);
	r = ropefs_put(d->fs, ino, etag, p, n, NULL);
	kept_changed(&f->kept, r >= 0);
	view_edit_unlock(d, ino, NULL, r >= 0);
	edit_end(d, &m);
	return r;
}

/* Again while somebody comes in between: he has made progress then. */
static int update(struct daemon *d, struct value_file *f)
{
	uint64_t ino = f->view.target;
	int r;

	do {
		char etag[ROPEFS_ETAG_MAX], *old = NULL, *new = NULL;
		size_t n, new_n;

		r = ropefs_value(d->fs, ino, &old, &n, etag);
		if (r >= 0)
			r = work_in(f, old, n, &new, &new_n);
		if (r >= 0)
			r = put(d, f, etag, n, new, new_n);
		free(old);
		free(new);
	} while (r < 0 && ropefs_error_errno(r) == EBUSY);
	return r;
}

static int stride_write(struct daemon *d, struct value_file *f)
{
	const struct moved m = { .ino = f->view.target };
	struct ropefs_stride s;
	struct ropefs_attr a;
	int r = ropefs_getattr(d->fs, f->view.target, &a);

	if (r >= 0)
		r = ropefs_view_stride(&f->view.selector, a.size, &s);
	if (r < 0)
		return r;
	edit_begin(d, &m);
	change_begins(f);
	r = ropefs_stride_write(d->fs, f->view.target, &s, bytes_of(f), f->now.n);
	kept_changed(&f->kept, r >= 0);
	edit_end(d, &m);
	return r;
}

static int commit(struct daemon *d, struct value_file *f)
{
	int r = privs_drop(d, f->view.target, f->uid);

	if (r >= 0)
		r = is_stride(f) ? stride_write(d, f) : update(d, f);
	if (r < 0)
		event_say(d, f->uid, "view", f->view.target, f->view.name,
			  *ropefs_error() ? ropefs_error() : ropefs_error_text(r));
	if (r < 0)
		return r;
	f->now = effected(f);
	return 0;
}

static void commit_then(struct task *t, void (*step)(struct task *t))
{
	struct value_file *f = file_of(&t->fi);

	pthread_mutex_lock(&f->mutex);
	f->before = f->now;
	t->r = f->now.dirty ? commit(t->d, f) : 0;
	pthread_mutex_unlock(&f->mutex);
	if (t->r < 0)
		task_reply_err(t);
	else
		step(t);
}

static void flush_waiting(struct task *t)
{
	commit_then(t, task_reply_err);
}

static void value_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct task *t;

	if (!file_of(fi)->writes) {
		fuse_reply_err(req, 0);
		return;
	}
	t = task_on(req, ino, fi);
	if (t)
		task_edit(t, file_of(fi)->view.target, flush_waiting);
}

static void fsync_waiting(struct task *t)
{
	commit_then(t, task_sync);
}

static void value_fsync(fuse_req_t req, fuse_ino_t ino, int datasync,
			struct fuse_file_info *fi)
{
	struct task *t = task_on(req, ino, fi);

	(void)datasync;
	if (t)
		task_edit(t, file_of(fi)->view.target, fsync_waiting);
}

/* --- opening and closing --- */

static void file_put(struct value_file *f)
{
	if (atomic_fetch_sub(&f->refs, 1) > 1)
		return;
	pthread_mutex_destroy(&f->mutex);
	free(f);
}

static void file_free(struct daemon *d, struct value_file *f)
{
	pthread_mutex_lock(&d->views.mutex);
	LIST_REMOVE(f, link);
	pthread_mutex_unlock(&d->views.mutex);
	inodes_unuse(&d->inodes, f->view.target);
	staged_let(f->kept.area_n);
	kept_free(&f->kept);
	file_put(f);
}

static int reserve(struct value_file *f, size_t n)
{
	size_t had = f->kept.area_n, more = n > had ? n - had : 0;

	if (!staged_hold(more))
		return -ENOMEM;
	if (!kept_area(&f->kept, n)) {
		staged_let(more);
		return -ENOMEM;
	}
	staged_inherit(f->kept.area_n - had - more); /* it grows by more than it must */
	return 0;
}

void view_values_end(struct daemon *d)
{
	while (!LIST_EMPTY(&d->views.values))
		file_free(d, LIST_FIRST(&d->views.values));
}

/* What a stride that is written without O_TRUNC begins with. */
static int stride_load(struct daemon *d, struct value_file *f)
{
	struct ropefs_stride s;
	struct ropefs_attr a;
	uint64_t n;
	ssize_t got;
	int r = ropefs_getattr(d->fs, f->view.target, &a);

	if (r >= 0)
		r = ropefs_view_stride(&f->view.selector, a.size, &s);
	if (r >= 0)
		r = ropefs_stride_bytes(&s, a.size, &n);
	if (r >= 0 && n > STRIDE_MAX)
		r = -EFBIG;
	if (r >= 0)
		r = reserve(f, n);
	if (r < 0)
		return r;
	got = ropefs_stride_read(d->fs, f->view.target, &s, 0, bytes_of(f), n, 0);
	if (got < 0)
		return (int)got;
	f->now.n = (uint64_t)got;
	return 0;
}

/* A queue only takes appends, and none by these. */
static int may_write(struct daemon *d, const struct view *v, uint32_t uid)
{
	struct ropefs_attr a;
	int r = ropefs_getattr(d->fs, v->target, &a);

	if (r < 0 || !a.is_queue)
		return r;
	event_say(d, uid, "view", v->target, v->name,
		  "a queue only takes appends, and cuts at its head");
	return -EPERM;
}

struct value_kept {
	struct view_kept view; /* first */
	bool writes, stride;
};
KEPT_SIZE(struct value_kept, 288);

static void keep_row(struct value_file *f)
{
	struct value_kept fixed = { .writes = f->writes, .stride = is_stride(f) };

	view_keep(&f->view, f->uid, 0, &fixed.view);
	kept_new(&f->kept, &fixed, sizeof(fixed));
}

static void add(struct daemon *d, struct value_file *f)
{
	pthread_mutex_init(&f->mutex, NULL);
	f->refs = 1;
	pthread_mutex_lock(&d->views.mutex);
	LIST_INSERT_HEAD(&d->views.values, f, link);
	pthread_mutex_unlock(&d->views.mutex);
}

static int file_open_value(struct task *t, struct value_file **ret)
{
	int mode = t->fi.flags & O_ACCMODE;
	struct value_file *f = calloc(1, sizeof(*f));
	int r = f ? view_target(t->d, t->ino, &f->view) : -ENOMEM;

	if (r >= 0 && mode != O_RDONLY)
		r = may_write(t->d, &f->view, t->flags);

	if (r >= 0 && mode != O_WRONLY && f->view.selector.has == ROPEFS_SEL_PATCH)
		r = -EACCES; /* there is nothing to read */
	if (r >= 0 && mode != O_RDONLY && inodes_runs(&t->d->inodes, f->view.target))
		r = -ETXTBSY;
	if (r >= 0)
		r = inodes_use(&t->d->inodes, f->view.target);
	if (r < 0) {
		free(f);
		return r;
	}
	f->uid = t->flags;
	f->writes = mode != O_RDONLY;
	add(t->d, f);
	keep_row(f);
	if (f->writes && is_stride(f) && !(t->fi.flags & O_TRUNC))
		r = stride_load(t->d, f);
	if (r < 0)
		file_free(t->d, f);
	else
		*ret = f;
	if (r >= 0)
		kept_step(&f->kept, 0, &f->now, &f->now, sizeof(f->now));
	return r;
}

int view_value_restore(struct daemon *d, const struct kept_file *k)
{
	const struct value_kept *fixed = k->fixed;
	struct value_file *f = calloc(1, sizeof(*f));
	int r = f ? view_restore(d, k, fixed->stride ? &view_stride : &view_value,
				 &f->view)
		  : -ENOMEM;

	if (r >= 0)
		r = inodes_use(&d->inodes, f->view.target);
	if (r < 0) {
		free(f);
		return r;
	}
	f->uid = fixed->view.uid;
	f->writes = fixed->writes;
	f->kept = k->k;
	staged_inherit(f->kept.area_n);
	memcpy(&f->now, k->state, sizeof(f->now));
	add(d, f);
	r = handle_put(k->fh, f);
	if (r < 0)
		file_free(d, f);
	return r;
}

static void open_waiting(struct task *t)
{
	struct daemon *d = t->d;
	struct value_file *f = NULL;

	if (!far_step(t))
		return;
	t->r = file_open_value(t, &f);
	if (far_again(t, open_waiting) != FAR_ANSWER) {
		if (f)
			file_free(d, f);
		return;
	}
	if (t->r < 0) {
		task_reply_err(t);
		return;
	}
	t->fi.direct_io = 1;
	if (reply_open_file(t->req, &t->fi,
			    &(struct opened) { f, &f->kept, KEPT_VALUE, t->ino }) < 0)
		file_free(d, f);
	task_free(t);
}

static void value_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct task *t = task_on(req, ino, fi);

	if (!t)
		return;
	t->flags = fuse_req_ctx(req)->uid;
	task_run(t, open_waiting);
}

static void value_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	file_free(daemon_of(req), file_of(fi));
	fuse_reply_err(req, 0);
}

/* --- reading and writing --- */

static ssize_t read_number(struct daemon *d, const struct value_file *f, uint64_t off,
			   char *p, size_t n)
{
	char text[32];
	int64_t number;
	size_t len;
	int r = ropefs_number(d->fs, f->view.target, &number);

	if (r < 0)
		return r;
	len = (size_t)snprintf(text, sizeof(text), "%" PRId64 "\n", number);
	if (off >= len)
		return 0;
	n = n < len - off ? n : len - off;
	memcpy(p, text + off, n);
	return (ssize_t)n;
}

static ssize_t read_stride(struct daemon *d, struct value_file *f, uint64_t off, char *p,
			   size_t n)
{
	struct ropefs_stride s;
	struct ropefs_attr a;
	int r;

	if (f->writes) {
		pthread_mutex_lock(&f->mutex);
		n = off >= f->now.n ? 0 : n < f->now.n - off ? n : f->now.n - off;
		if (n)
			memcpy(p, bytes_of(f) + off, n);
		pthread_mutex_unlock(&f->mutex);
		return (ssize_t)n;
	}
	r = ropefs_getattr(d->fs, f->view.target, &a);
	if (r >= 0)
		r = ropefs_view_stride(&f->view.selector, a.size, &s);
	return r < 0 ? r : ropefs_stride_read(d->fs, f->view.target, &s, off, p, n, 0);
}

static void read_waiting(struct task *t)
{
	struct value_file *f = file_of(&t->fi);
	enum far_next next;
	char *p;

	if (!far_step(t)) {
		file_put(f);
		return;
	}
	p = malloc(t->n);
	if (!p)
		t->r = -ENOMEM;
	else if (is_stride(f))
		t->r = read_stride(t->d, f, t->off, p, t->n);
	else
		t->r = read_number(t->d, f, t->off, p, t->n);
	next = far_again(t, read_waiting);
	if (next == FAR_ANSWER) {
		reply_read(t->req, p, t->r);
		task_free(t);
	}
	if (next != FAR_AGAIN)
		file_put(f);
	free(p);
}

static void value_read(fuse_req_t req, fuse_ino_t ino, size_t n, off_t off,
		       struct fuse_file_info *fi)
{
	struct task *t = task_on(req, ino, fi);

	if (!t)
		return;
	t->off = (uint64_t)off;
	t->n = n;
	file_of(fi)->refs++;
	task_run(t, read_waiting);
}

static int write_locked(struct value_file *f, const char *p, size_t n, uint64_t off)
{
	size_t max = is_stride(f)				? STRIDE_MAX
		     : f->view.selector.has == ROPEFS_SEL_PATCH ? PATCH_MAX
								: ADD_MAX;
	int r;

	/* One number or patch after another: where the descriptor stands says nothing. */
	if (!is_stride(f))
		off = f->now.n;
	if (n > max || off > max - n)
		return -EFBIG;
	r = reserve(f, off + n);
	if (r < 0)
		return r;
	if (off > f->now.n)
		memset(bytes_of(f) + f->now.n, 0, off - f->now.n);
	memcpy(bytes_of(f) + off, p, n);
	f->now.n = off + n > f->now.n ? off + n : f->now.n;
	f->now.dirty = true;
	kept_step(&f->kept, keep_current(), &f->before, &f->now, sizeof(f->now));
	return 0;
}

/* Has a number its newline, or something that is of no number? */
static bool number_ends(const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (!strchr("0123456789+- \t", p[i]) || !p[i])
			return true;
	}
	return false;
}

/* Is a patch's array closed, or is it none, so that it is none whatever comes behind? Whether what
 * is in it makes sense is for those to say who apply it. */
static bool patch_ends(const uint8_t *p, size_t n)
{
	size_t depth = 0;
	bool string = false;

	for (size_t i = 0; i < n; i++) {
		if (string && p[i] == '\\')
			i++;
		else if (p[i] == '"')
			string = !string;
		else if (!string && (p[i] == '[' || p[i] == '{'))
			depth++;
		else if (!string && depth && (p[i] == ']' || p[i] == '}'))
			depth--;
		else if (!string && p[i] && strchr(" \t\r\n", p[i]))
			continue;
		if (!depth && !string)
			return true;
	}
	return false;
}

/* Will more bytes change nothing about what was written so far? It then takes effect, or fails, as
 * a part of the write: shells and others don't look at what close says. */
static bool is_whole(const struct value_file *f)
{
	if (is_stride(f))
		return false;
	return f->view.selector.has == ROPEFS_SEL_ADD ? number_ends(bytes_of(f), f->now.n)
						      : patch_ends(bytes_of(f), f->now.n);
}

static void write_waiting(struct task *t)
{
	struct value_file *f = file_of(&t->fi);

	pthread_mutex_lock(&f->mutex);
	t->r = f->now.dirty ? commit(t->d, f) : 0;
	if (t->r < 0) {
		f->now = (struct value_state) { 0 };
		kept_step(&f->kept, t->unique, &f->before, &f->now, sizeof(f->now));
	}
	pthread_mutex_unlock(&f->mutex);
	if (t->r < 0) {
		task_reply_err(t);
		return;
	}
	fuse_reply_write(t->req, t->n);
	task_free(t);
}

static void value_write(fuse_req_t req, fuse_ino_t ino, const char *p, size_t n,
			off_t off, struct fuse_file_info *fi)
{
	struct value_file *f = file_of(fi);
	struct task *t;
	bool whole, done = false;
	int r = 0;

	pthread_mutex_lock(&f->mutex);
	if (kept_resent(&f->kept, &done, &f->before, sizeof(f->before)) && !done)
		f->now = f->before;
	f->before = f->now;
	if (!done)
		r = write_locked(f, p, n,
				 fi->flags & O_APPEND ? f->now.n : (uint64_t)off);
	whole = r >= 0 && !done && is_whole(f);
	pthread_mutex_unlock(&f->mutex);
	if (r < 0)
		reply_err(req, r);
	else if (!whole)
		fuse_reply_write(req, n);
	if (!whole)
		return;
	t = task_on(req, ino, fi);
	if (!t)
		return;
	t->n = n;
	task_edit(t, f->view.target, write_waiting);
}

static void value_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat st;
	int r = view_stat(daemon_of(req), ino, &st);

	(void)fi;
	if (r < 0)
		reply_err(req, r);
	else
		fuse_reply_attr(req, &st, 0);
}

static const struct fuse_lowlevel_ops value_ops = {
	.getattr = value_getattr,
	.open = value_open,
	.read = value_read,
	.write = value_write,
	.flush = value_flush,
	.fsync = value_fsync,
	.release = value_release,
};

/* --- the kinds --- */

static bool takes_value(const struct ropefs_view *selector,
			const struct ropefs_attr *target)
{
	(void)target;
	return selector->has == ROPEFS_SEL_ADD || selector->has == ROPEFS_SEL_PATCH;
}

/* What is read of it is as long or shorter; a number is not read just to be counted. */
static int value_size(struct daemon *d, const struct view *v,
		      const struct ropefs_attr *target, uint64_t *ret)
{
	(void)d;
	(void)v;
	*ret = target->size;
	return 0;
}

const struct view_kind view_value = {
	.takes = takes_value,
	.size = value_size,
	.ops = &value_ops,
};

static bool takes_stride(const struct ropefs_view *selector,
			 const struct ropefs_attr *target)
{
	(void)target;
	return selector->has & ROPEFS_SEL_STRIDE &&
	       !(selector->has & ~(unsigned)(ROPEFS_SEL_STRIDE | ROPEFS_SEL_BYTES));
}

static int stride_size(struct daemon *d, const struct view *v,
		       const struct ropefs_attr *target, uint64_t *ret)
{
	struct ropefs_stride s;
	int r = ropefs_view_stride(&v->selector, target->size, &s);

	(void)d;
	return r < 0 ? r : ropefs_stride_bytes(&s, target->size, ret);
}

static int stride_cut(struct daemon *d, const struct view *v,
		      const struct view_found *found, uint32_t uid)
{
	struct moved m = { .ino = v->target };
	struct ropefs_stride s;
	struct ropefs_attr a;
	uint64_t n;
	int r = privs_drop(d, v->target, uid);

	if (r >= 0)
		r = ropefs_getattr(d->fs, v->target, &a);
	if (r >= 0)
		r = ropefs_view_stride(&v->selector, a.size, &s);
	if (r >= 0)
		r = ropefs_stride_bytes(&s, a.size, &n);
	if (r < 0)
		return r;
	m.gone = a.size;
	m.come = a.size - n;
	edit_begin(d, &m);
	view_edit_lock(d, v->target, NULL);
	keep_arm();
	r = ropefs_stride_cut(d->fs, v->target, &s);
	view_edit_unlock(d, v->target, NULL, r >= 0);
	edit_end(d, &m);
	return r;
}

const struct view_kind view_stride = {
	.takes = takes_stride,
	.size = stride_size,
	.ops = &value_ops,
	.remove = stride_cut,
};
