#include "fs/queue_file.h"

#include "fs/daemon.h"
#include "fs/events.h"
#include "fs/far.h"
#include "fs/follow.h"
#include "fs/keep.h"
#include "fs/ops.h"
#include "fs/reply.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NOT_BEGUN = 1 }; /* of a task: a write whose file somebody else had */

struct queue_file {
	pthread_mutex_t mutex;
	enum ropefs_framing framing; /* 0: not asked yet */
	uint32_t length;
	struct kept kept; /* its area: the beginning of a record */
	struct queue_state {
		uint64_t off; /* where the kernel will go on, after the last write */
		uint64_t n; /* bytes of the beginning of a record */
		uint64_t done; /* bytes taken of the request that is under way */
		bool wrote;
		bool cut; /* the line before was cut by a sync: what comes is its rest */
	} now;
};
KEPT_SIZE(struct queue_state, 32);

/* A write that is under way: n bytes at p, for the offset off. */
struct queue_write {
	struct daemon *d;
	uint64_t ino;
	struct queue_file *f;
	const char *p;
	size_t n;
	uint64_t off;
	size_t at; /* what comes next in p */
	unsigned flags; /* of ropefs_append() */
};

void queue_files_init(struct queue_files *q)
{
	*q = (struct queue_files) { 0 };
	pthread_mutex_init(&q->mutex, NULL);
	/* No number that a daemon before this one gave out. */
	q->next = (uint64_t)getpid() << 32;
}

static void file_free(void *value)
{
	struct queue_file *f = value;

	if (!f)
		return;
	pthread_mutex_destroy(&f->mutex);
	kept_free(&f->kept);
	free(f);
}

void queue_files_release(struct queue_files *q)
{
	map_release(&q->open, file_free);
	pthread_mutex_destroy(&q->mutex);
}

static struct queue_file *add_locked(struct queue_files *q, uint64_t number)
{
	struct queue_file *f = calloc(1, sizeof(*f));

	if (f && map_put(&q->open, number, f) < 0) {
		free(f);
		f = NULL;
	}
	if (f)
		pthread_mutex_init(&f->mutex, NULL);
	return f;
}

/* The handle's file; made when it is not there. */
static struct queue_file *file_of(struct daemon *d, uint64_t ino,
				  const struct fuse_file_info *fi)
{
	struct queue_files *q = &d->queues;
	uint64_t number = fi->fh >> FH_BITS;
	struct queue_file *f;

	pthread_mutex_lock(&q->mutex);
	f = map_get(&q->open, number);
	if (!f) {
		f = add_locked(q, number);
		if (f) {
			kept_new(&f->kept, NULL, 0);
			kept_opened(&f->kept, KEPT_QUEUE, ino, fi);
		}
	}
	pthread_mutex_unlock(&q->mutex);
	return f;
}

int queue_file_restore(struct daemon *d, const struct kept_file *k)
{
	struct queue_files *q = &d->queues;
	struct queue_file *f;

	pthread_mutex_lock(&q->mutex);
	f = add_locked(q, k->fh >> FH_BITS);
	pthread_mutex_unlock(&q->mutex);
	if (!f)
		return -ENOMEM;
	f->kept = k->k;
	if (k->state)
		memcpy(&f->now, k->state, sizeof(f->now));
	return 0;
}

void queue_file_opened(fuse_req_t req, struct fuse_file_info *fi)
{
	struct queue_files *q = &daemon_of(req)->queues;

	fi->direct_io = 1;
	fi->keep_cache = 0;
	if (!(fi->fh & FH_WRITE)) {
		fi->noflush = 1;
		return;
	}
	pthread_mutex_lock(&q->mutex);
	fi->fh |= FH_QUEUE | ++q->next << FH_BITS;
	pthread_mutex_unlock(&q->mutex);
	fi->noflush = 0;
}

/* Whole records at the beginning of p. */
static size_t whole(const struct queue_file *f, const char *p, size_t n)
{
	const char *newline;

	switch (f->framing) {
	case ROPEFS_LINE:
		newline = memrchr(p, '\n', n);
		return newline ? (size_t)(newline - p) + 1 : 0;
	case ROPEFS_LENGTH:
		return n - n % f->length;
	default:
		return n;
	}
}

/* --- steps: each is in the file's row before it counts --- */

/* The file as it will be when `some` more bytes are taken, and n kept. */
static struct queue_state step_to(const struct queue_write *w, size_t some, uint64_t n)
{
	struct queue_state to = w->f->now;

	to.n = n;
	to.done += some;
	to.wrote = true;
	to.off = w->off + w->at + some;
	to.cut = to.cut && !memchr(w->p + w->at, '\n', some);
	return to;
}

/* Appends what n bytes at p are, and changes the file to *to. */
static int append(struct daemon *d, uint64_t ino, struct queue_file *f, const char *p,
		  size_t n, unsigned flags, const struct queue_state *to)
{
	ssize_t r;

	kept_change(&f->kept, &f->now, to, sizeof(*to));
	r = ropefs_append(d->fs, ino, p, n, flags, NULL);
	kept_changed(&f->kept, r >= 0);
	if (r < 0)
		return (int)r;
	f->now = *to;
	return 0;
}

static int append_some(struct queue_write *w, const char *p, size_t n, size_t some,
		       unsigned flags)
{
	struct queue_state to = step_to(w, some, 0);
	int r = append(w->d, w->ino, w->f, p, n, flags, &to);

	if (r >= 0)
		w->at += some;
	return r;
}

static char *part_of(struct queue_file *f)
{
	return kept_area(&f->kept, ROPEFS_WRITE_MAX);
}

/* Keeps the beginning of a record. A line that is too long for one becomes a record. */
static int keep(struct queue_write *w)
{
	struct queue_file *f = w->f;
	size_t room = ROPEFS_WRITE_MAX - f->now.n, left = w->n - w->at;
	size_t some = left < room ? left : room;
	struct queue_state to = step_to(w, some, f->now.n + some);
	char *part = part_of(f);

	if (!part)
		return -ENOMEM;
	memcpy(part + f->now.n, w->p + w->at, some);
	if (some == room)
		return append_some(w, part, ROPEFS_WRITE_MAX, some, 0);
	kept_step(&f->kept, keep_current(), &f->now, &to, sizeof(to));
	f->now = to;
	w->at += some;
	return 0;
}

/* What was kept and the first record's end as one. */
static int complete(struct queue_write *w)
{
	struct queue_file *f = w->f;
	size_t left = w->n - w->at, n = f->now.n, some;
	const char *newline = memchr(w->p + w->at, '\n', left);
	char *part = part_of(f);

	some = newline ? (size_t)(newline - (w->p + w->at)) + 1 : left;
	if (f->framing == ROPEFS_LENGTH)
		some = f->length - n < left ? f->length - n : left;
	if (n + some > ROPEFS_WRITE_MAX)
		some = ROPEFS_WRITE_MAX - n;
	if (!part)
		return -ENOMEM;
	memcpy(part + n, w->p + w->at, some);
	if (whole(f, part, n + some) || n + some == ROPEFS_WRITE_MAX)
		return append_some(w, part, n + some, some, 0);
	return keep(w);
}

/* Of n bytes of whole records at p: what the store takes in one step. */
static size_t one_step(const struct queue_file *f, const char *p, size_t n)
{
	size_t end = 0;

	if (f->framing == ROPEFS_LENGTH && n / f->length > ROPEFS_APPEND_MAX)
		return (size_t)ROPEFS_APPEND_MAX * f->length;
	if (f->framing != ROPEFS_LINE)
		return n;
	for (unsigned i = 0; end < n && i < ROPEFS_APPEND_MAX; i++)
		end += (size_t)((const char *)memchr(p + end, '\n', n - end) -
				(p + end)) +
		       1;
	return end;
}

/* An error leaves what came before it taken. */
static int take(struct queue_write *w)
{
	size_t some;
	int r = 0;

	while (r >= 0 && w->at < w->n) {
		const char *p = w->p + w->at;

		some = w->f->now.n ? 0 : whole(w->f, p, w->n - w->at);
		if (w->f->now.n) {
			r = complete(w);
		} else if (some) {
			some = one_step(w->f, p, some);
			r = append_some(w, p, some, some, w->flags);
		} else {
			r = keep(w);
		}
	}
	return r;
}

/* Who writes may wait with it, which a loop (nowait) must not. */
static bool take_mutex(struct queue_file *f, bool nowait)
{
	if (nowait)
		return !pthread_mutex_trylock(&f->mutex);
	pthread_mutex_lock(&f->mutex);
	return true;
}

/* What a record is; a file keeps it for life. */
static int ask_framing(struct daemon *d, uint64_t ino, struct queue_file *f)
{
	struct ropefs_queue q;
	int r = f->framing ? 0 : ropefs_queue_info(d->fs, ino, &q);

	if (r < 0 || f->framing)
		return r;
	f->framing = q.framing;
	f->length = q.length;
	return 0;
}

/* Only at the end: where the handle's last write ended, or else where the queue does. */
static int may_write(struct daemon *d, uint64_t ino, const struct queue_file *f,
		     uint64_t off, int flags)
{
	struct ropefs_attr a;
	int r;

	if (flags & O_APPEND || (f->now.wrote && off == f->now.off))
		return 0;
	r = f->now.wrote ? -EPERM : ropefs_getattr(d->fs, ino, &a);
	if (r < 0)
		return r;
	return off == a.size ? 0 : -EPERM;
}

static ssize_t write_now(struct daemon *d, uint64_t ino, const struct fuse_file_info *fi,
			 const char *p, size_t n, uint64_t off, bool nowait)
{
	struct queue_write w = { .d = d,
				 .ino = ino,
				 .f = file_of(d, ino, fi),
				 .p = p,
				 .n = n,
				 .off = off,
				 .flags = nowait ? ROPEFS_NOWAIT : 0 };
	int r;

	if (!w.f)
		return -ENOMEM;
	if (!take_mutex(w.f, nowait))
		return -EAGAIN;
	r = ask_framing(d, ino, w.f);
	if (r >= 0)
		r = fi->writepage ? -EPERM : may_write(d, ino, w.f, off, fi->flags);
	if (r >= 0 && nowait && w.f->now.n)
		r = -EAGAIN; /* what was kept goes with it, and may have to wait */
	if (r >= 0)
		r = take(&w);
	pthread_mutex_unlock(&w.f->mutex);
	return w.at ? (ssize_t)w.at : r;
}

/* A write begins: *ret_done: how much of it a daemon before has taken. False: not now. */
static bool begin(struct daemon *d, uint64_t ino, const struct fuse_file_info *fi,
		  bool nowait, size_t *ret_done)
{
	struct queue_file *f = file_of(d, ino, fi);
	size_t done = 0;
	bool made;

	*ret_done = 0;
	if (!f)
		return true;
	if (!take_mutex(f, nowait))
		return false;
	if (kept_resent(&f->kept, &made, NULL, 0))
		done = f->now.done;
	f->now.done = done;
	pthread_mutex_unlock(&f->mutex);
	*ret_done = done;
	return true;
}

/* What was kept of a line becomes a record as it is, so that a sync covers it; its rest will be
 * another one. */
static int cut_line(struct daemon *d, uint64_t ino, struct queue_file *f)
{
	struct queue_state to = f->now;
	int r = ask_framing(d, ino, f);

	if (r < 0 || f->framing == ROPEFS_LENGTH)
		return r;
	to.n = 0;
	to.cut = true;
	return append(d, ino, f, part_of(f), f->now.n, 0, &to);
}

/* What the handle has taken is to be durable: all of it becomes records, but for a part of one of
 * a fixed length. */
static int ready_to_sync(struct daemon *d, uint64_t ino, const struct fuse_file_info *fi)
{
	struct queue_file *f = file_of(d, ino, fi);
	int r = 0;

	if (!f)
		return -ENOMEM;
	pthread_mutex_lock(&f->mutex);
	if (f->now.n)
		r = cut_line(d, ino, f);
	pthread_mutex_unlock(&f->mutex);
	return r;
}

/* The worker does not wait for the bucket, nor does whoever gets a signal. Readers need not,
 * either: follow_hold() ends here. */
static void sync_far(struct task *t, void (*done)(void *arg, int r))
{
	follow_wake_later();
	t->is_far = true;
	far_wait(t);
	ropefs_sync_async(t->d->fs, done, t);
}

static void written(struct daemon *d, fuse_req_t req, ssize_t r)
{
	follow_wake_few();
	if (r < 0) {
		reply_err(req, (int)r);
	} else {
		count(&d->counters.written_bytes, (uint64_t)r);
		fuse_reply_write(req, (size_t)r);
	}
	follow_wake_later();
}

/* t->r bytes were taken, and are durable if r says so. */
static void write_done(void *arg, int r)
{
	struct task *t = arg;
	ssize_t n;

	if (t->is_far && !far_end(t))
		return;
	n = r < 0 ? r : t->r;
	if (t->is_far)
		follow_hold();
	if (t->to_off)
		n = (ssize_t)t->to_off + (n < 0 ? 0 : n);
	written(t->d, t->req, n);
	task_free(t);
}

static void write_waiting(struct task *t)
{
	size_t done = 0;
	int r;

	if (t->flags == NOT_BEGUN)
		begin(t->d, t->ino, &t->fi, false, &done);
	t->to_off += done;
	follow_hold();
	t->r = write_now(t->d, t->ino, &t->fi, t->data + done, t->n - done, t->off + done,
			 false);
	if (t->r < 0 || !(t->d->sync || t->fi.flags & O_DSYNC)) {
		write_done(t, t->r < 0 ? (int)t->r : 0);
		return;
	}
	r = ready_to_sync(t->d, t->ino, &t->fi);
	if (r >= 0 && t->d->syncs_far)
		sync_far(t, write_done);
	else
		write_done(t, r < 0 ? r : ropefs_sync(t->d->fs));
}

void queue_file_write(fuse_req_t req, fuse_ino_t ino, const char *p, size_t n, off_t off,
		      struct fuse_file_info *fi)
{
	struct daemon *d = daemon_of(req);
	size_t done;
	bool begun = begin(d, ino, fi, true, &done);
	bool waits = !begun || d->sync || fi->flags & O_DSYNC;
	ssize_t r = -EAGAIN;
	struct task *t;

	follow_hold();
	if (!waits)
		r = write_now(d, ino, fi, p + done, n - done, (uint64_t)off + done, true);
	if (r > 0)
		done += (size_t)r;
	if (!waits && ((r < 0 && r != -EAGAIN) || done == n)) {
		written(d, req, r < 0 && !done ? r : (ssize_t)done);
		write_answered(d, ino);
		return;
	}
	follow_wake_later(); /* the rest may have to wait */
	t = task_new(d, req, p + done, n - done);
	if (!t)
		return;
	t->ino = ino;
	t->fi = *fi;
	t->to_off = done;
	t->off = (uint64_t)off + done;
	t->n = n - done;
	t->flags = begun ? 0 : NOT_BEGUN;
	task_run_held(t, write_waiting);
}

/* What was kept, as the record that it is now; a line that a sync has cut gets its end. */
static int finish(struct daemon *d, uint64_t ino, struct queue_file *f)
{
	struct queue_state to = f->now;
	int r = ask_framing(d, ino, f);
	char *part = part_of(f);

	if (r < 0 || !part)
		return r < 0 ? r : -ENOMEM;
	to.n = 0;
	to.cut = false;
	if (f->framing == ROPEFS_LENGTH) {
		event_say(
			d, EVENT_ALL, "queue", ino, NULL,
			"a file was closed in the middle of a record, which is dropped");
		kept_step(&f->kept, keep_current(), &f->now, &to, sizeof(to));
		f->now = to;
		return -EINVAL;
	}
	part[f->now.n] = '\n';
	return append(d, ino, f, part, f->now.n + 1, 0, &to);
}

static bool unfinished(const struct queue_file *f)
{
	return f->now.n || f->now.cut;
}

static void flush_waiting(struct task *t)
{
	struct queue_file *f = file_of(t->d, t->ino, &t->fi);

	follow_hold();
	t->r = 0;
	if (f) {
		pthread_mutex_lock(&f->mutex);
		if (unfinished(f))
			t->r = finish(t->d, t->ino, f);
		pthread_mutex_unlock(&f->mutex);
	}
	task_reply_err(t);
	follow_wake_later();
}

/* Has the handle something that only a worker may write? nowait: it may have while somebody
 * writes. */
static bool keeps(struct daemon *d, const struct fuse_file_info *fi,
		  bool (*what)(const struct queue_file *f), bool nowait)
{
	struct queue_files *q = &d->queues;
	struct queue_file *f;
	bool yes;

	pthread_mutex_lock(&q->mutex);
	f = map_get(&q->open, fi->fh >> FH_BITS);
	pthread_mutex_unlock(&q->mutex);
	if (!f) /* it never wrote */
		return false;
	if (!take_mutex(f, nowait))
		return true;
	yes = what(f);
	pthread_mutex_unlock(&f->mutex);
	return yes;
}

static void run_on(fuse_req_t req, fuse_ino_t ino, const struct fuse_file_info *fi,
		   void (*step)(struct task *t))
{
	struct task *t = task_new(daemon_of(req), req, NULL, 0);

	if (!t)
		return;
	t->ino = ino;
	t->fi = *fi;
	task_run_held(t, step);
}

void queue_file_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	if (keeps(daemon_of(req), fi, unfinished, true))
		run_on(req, ino, fi, flush_waiting);
	else
		fuse_reply_err(req, 0);
}

static bool has_part(const struct queue_file *f)
{
	return f->now.n;
}

/* t->flags: a part was left out. No lock is taken here: who has that of the handle may wait for
 * what this thread does. */
static void fsync_done(void *arg, int r)
{
	struct task *t = arg;

	if (t->is_far && !far_end(t))
		return;
	t->r = r;
	if (r >= 0 && t->flags) {
		event_say(t->d, EVENT_ALL, "queue", t->ino, NULL,
			  "a file was synced in the middle of a record, which is not "
			  "kept before it is whole");
		t->r = -EINVAL;
	}
	task_reply_err(t);
}

static void fsync_waiting(struct task *t)
{
	int r;

	follow_hold();
	r = ready_to_sync(t->d, t->ino, &t->fi);
	t->flags = r >= 0 && keeps(t->d, &t->fi, has_part, false);
	if (r >= 0 && t->d->syncs_far) {
		sync_far(t, fsync_done);
		return;
	}
	fsync_done(t, r < 0 ? r : ropefs_sync(t->d->fs));
	follow_wake_later();
}

bool queue_file_fsync(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	if (!keeps(daemon_of(req), fi, has_part, true))
		return false;
	run_on(req, ino, fi, fsync_waiting);
	return true;
}

void queue_file_release(fuse_req_t req, struct fuse_file_info *fi)
{
	struct queue_files *q = &daemon_of(req)->queues;

	pthread_mutex_lock(&q->mutex);
	file_free(map_del(&q->open, fi->fh >> FH_BITS));
	pthread_mutex_unlock(&q->mutex);
	fuse_reply_err(req, 0);
}
