#include "fs/queue_file.h"

#include "fs/daemon.h"
#include "fs/events.h"
#include "fs/follow.h"
#include "fs/keep.h"
#include "fs/reply.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct queue_file {
	pthread_mutex_t mutex;
	enum ropefs_framing framing; /* 0: not asked yet */
	uint32_t length;
	bool wrote;
	bool cut; /* the line before was cut by a sync: what comes is its rest */
	uint64_t off; /* where the kernel will go on, after the last write */
	char *part; /* the beginning of a record; ROPEFS_WRITE_MAX bytes of room, or NULL */
	size_t n;
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
	free(f->part);
	free(f);
}

void queue_files_release(struct queue_files *q)
{
	map_release(&q->open, file_free);
	pthread_mutex_destroy(&q->mutex);
}

/* The handle's file; made when it is not there (a handle of a daemon before us). */
static struct queue_file *file_of(struct daemon *d, uint64_t fh)
{
	struct queue_files *q = &d->queues;
	uint64_t number = fh >> FH_BITS;
	struct queue_file *f;

	pthread_mutex_lock(&q->mutex);
	f = map_get(&q->open, number);
	if (!f) {
		f = calloc(1, sizeof(*f));
		if (f && map_put(&q->open, number, f) < 0) {
			free(f);
			f = NULL;
		}
		if (f)
			pthread_mutex_init(&f->mutex, NULL);
	}
	pthread_mutex_unlock(&q->mutex);
	return f;
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

/* Keeps the beginning of a record. A line that is too long for one becomes a record. */
static int keep(struct daemon *d, uint64_t ino, struct queue_file *f, const char *p,
		size_t n)
{
	size_t room = ROPEFS_WRITE_MAX - f->n, some = n < room ? n : room;
	ssize_t r;

	if (!f->part)
		f->part = malloc(ROPEFS_WRITE_MAX);
	if (!f->part)
		return -ENOMEM;
	memcpy(f->part + f->n, p, some);
	f->n += some;
	if (f->n < ROPEFS_WRITE_MAX)
		return 0;
	r = ropefs_append(d->fs, ino, f->part, f->n, 0, NULL);
	if (r < 0) {
		f->n -= some;
		return (int)r;
	}
	f->n = 0;
	return n > some ? keep(d, ino, f, p + some, n - some) : 0;
}

/* What was kept and the first record's end, in p, as one. Returns how much of p that took. */
static ssize_t complete(struct daemon *d, uint64_t ino, struct queue_file *f,
			const char *p, size_t n)
{
	const char *newline = memchr(p, '\n', n);
	size_t some = newline ? (size_t)(newline - p) + 1 : n;
	ssize_t r;

	if (f->framing == ROPEFS_LENGTH)
		some = f->length - f->n < n ? f->length - f->n : n;
	if (f->n + some > ROPEFS_WRITE_MAX)
		some = ROPEFS_WRITE_MAX - f->n;
	memcpy(f->part + f->n, p, some);
	if (!whole(f, f->part, f->n + some) && f->n + some < ROPEFS_WRITE_MAX) {
		f->n += some;
		return (ssize_t)some;
	}
	r = ropefs_append(d->fs, ino, f->part, f->n + some, 0, NULL);
	if (r < 0)
		return r;
	f->n = 0;
	return (ssize_t)some;
}

static ssize_t take(struct daemon *d, uint64_t ino, struct queue_file *f, const char *p,
		    size_t n, unsigned flags)
{
	size_t done = 0, some;
	ssize_t r;

	while (f->n && done < n) {
		r = complete(d, ino, f, p + done, n - done);
		if (r < 0)
			return done ? (ssize_t)done : r;
		done += (size_t)r;
	}
	some = whole(f, p + done, n - done);
	if (some) {
		r = ropefs_append(d->fs, ino, p + done, some, flags, NULL);
		if (r < 0)
			return done ? (ssize_t)done : r;
		done += (size_t)r;
		if ((size_t)r < some)
			return (ssize_t)done;
	}
	if (done < n) {
		r = keep(d, ino, f, p + done, n - done);
		if (r < 0)
			return done ? (ssize_t)done : r;
	}
	return (ssize_t)n;
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

	if (flags & O_APPEND || (f->wrote && off == f->off))
		return 0;
	r = f->wrote ? -EPERM : ropefs_getattr(d->fs, ino, &a);
	if (r < 0)
		return r;
	return off == a.size ? 0 : -EPERM;
}

static ssize_t write_now(struct daemon *d, uint64_t ino, const struct fuse_file_info *fi,
			 const char *p, size_t n, uint64_t off, bool nowait)
{
	struct queue_file *f = file_of(d, fi->fh);
	ssize_t r;

	if (!f)
		return -ENOMEM;
	pthread_mutex_lock(&f->mutex);
	r = ask_framing(d, ino, f);
	if (r >= 0)
		r = fi->writepage ? -EPERM : may_write(d, ino, f, off, fi->flags);
	if (r >= 0 && nowait && f->n)
		r = -EAGAIN; /* what was kept goes with it, and may have to wait */
	if (r >= 0)
		r = take(d, ino, f, p, n, nowait ? ROPEFS_NOWAIT : 0);
	if (r > 0) {
		f->wrote = true;
		f->off = off + (uint64_t)r;
		f->cut = f->cut && !memchr(p, '\n', (size_t)r);
	}
	pthread_mutex_unlock(&f->mutex);
	return r;
}

/* What was kept of a line becomes a record as it is, so that a sync covers it; its rest will be
 * another one. */
static int cut_line(struct daemon *d, uint64_t ino, struct queue_file *f)
{
	ssize_t r = ask_framing(d, ino, f);

	if (r < 0 || f->framing == ROPEFS_LENGTH)
		return (int)r;
	r = ropefs_append(d->fs, ino, f->part, f->n, 0, NULL);
	if (r < 0)
		return (int)r;
	f->n = 0;
	f->cut = true;
	return 0;
}

/* Makes what the handle has taken durable, but for a part of a record of a fixed length. */
static int sync_all(struct daemon *d, uint64_t ino, uint64_t fh)
{
	struct queue_file *f = file_of(d, fh);
	int r = 0;

	if (!f)
		return -ENOMEM;
	pthread_mutex_lock(&f->mutex);
	if (f->n)
		r = cut_line(d, ino, f);
	pthread_mutex_unlock(&f->mutex);
	return r < 0 ? r : ropefs_sync(d->fs);
}

static void written(struct daemon *d, fuse_req_t req, ssize_t r)
{
	if (r < 0) {
		reply_err(req, (int)r);
	} else {
		count(&d->counters.written_bytes, (uint64_t)r);
		fuse_reply_write(req, (size_t)r);
	}
	follow_wake_later();
}

static void write_waiting(struct task *t)
{
	ssize_t r;

	follow_hold();
	keep_arm();
	r = write_now(t->d, t->ino, &t->fi, t->data, t->n, t->off, false);
	if (r >= 0 && (t->d->sync || t->fi.flags & O_DSYNC)) {
		int synced = sync_all(t->d, t->ino, t->fi.fh);

		r = synced < 0 ? synced : r;
	}
	if (t->to_off)
		r = (ssize_t)t->to_off + (r < 0 ? 0 : r);
	written(t->d, t->req, r);
	task_free(t);
}

void queue_file_write(fuse_req_t req, fuse_ino_t ino, const char *p, size_t n, off_t off,
		      struct fuse_file_info *fi)
{
	struct daemon *d = daemon_of(req);
	size_t done = 0;
	ssize_t r = -EAGAIN;
	struct task *t;

	follow_hold();
	keep_arm();
	if (!d->sync && !(fi->flags & O_DSYNC))
		r = write_now(d, ino, fi, p, n, (uint64_t)off, true);
	if ((r < 0 && r != -EAGAIN) || r == (ssize_t)n) {
		written(d, req, r);
		return;
	}
	follow_wake_later();
	if (r > 0) /* the rest would have to wait */
		done = (size_t)r;
	t = task_new(d, req, p + done, n - done);
	if (!t)
		return;
	t->ino = ino;
	t->fi = *fi;
	t->to_off = done;
	t->off = (uint64_t)off + done;
	t->n = n - done;
	task_run(t, write_waiting);
}

/* What was kept, as the record that it is now; a line that a sync has cut gets its end. */
static int finish(struct daemon *d, uint64_t ino, struct queue_file *f)
{
	ssize_t r = ask_framing(d, ino, f);

	if (r < 0)
		return (int)r;
	if (f->framing == ROPEFS_LENGTH) {
		event_say(
			d, EVENT_ALL, "queue", ino, NULL,
			"a file was closed in the middle of a record, which is dropped");
		f->n = 0;
		return -EINVAL;
	}
	if (f->n)
		f->part[f->n++] = '\n';
	r = ropefs_append(d->fs, ino, f->n ? f->part : "\n", f->n ? f->n : 1, 0, NULL);
	if (r < 0) {
		f->n -= f->n > 0;
		return (int)r;
	}
	f->n = 0;
	f->cut = false;
	return 0;
}

static bool unfinished(const struct queue_file *f)
{
	return f->n || f->cut;
}

static void flush_waiting(struct task *t)
{
	struct queue_file *f = file_of(t->d, t->fi.fh);

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

/* Has the handle something that only a worker may write? */
static bool keeps(struct daemon *d, uint64_t fh, bool (*what)(const struct queue_file *f))
{
	struct queue_file *f = file_of(d, fh);
	bool yes;

	if (!f)
		return false;
	pthread_mutex_lock(&f->mutex);
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
	task_run(t, step);
}

void queue_file_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	if (keeps(daemon_of(req), fi->fh, unfinished))
		run_on(req, ino, fi, flush_waiting);
	else
		fuse_reply_err(req, 0);
}

static bool has_part(const struct queue_file *f)
{
	return f->n;
}

static void fsync_waiting(struct task *t)
{
	follow_hold();
	t->r = sync_all(t->d, t->ino, t->fi.fh);
	if (t->r >= 0 && keeps(t->d, t->fi.fh, has_part)) {
		event_say(t->d, EVENT_ALL, "queue", t->ino, NULL,
			  "a file was synced in the middle of a record, which is not "
			  "kept before it is whole");
		t->r = -EINVAL;
	}
	task_reply_err(t);
	follow_wake_later();
}

bool queue_file_fsync(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	if (!keeps(daemon_of(req), fi->fh, has_part))
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
