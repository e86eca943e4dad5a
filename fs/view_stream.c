#include "fs/view_stream.h"

#include "fs/daemon.h"
#include "fs/events.h"
#include "fs/ops.h"
#include "fs/queue_ioctl.h"
#include "fs/reply.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
	BATCH = 64, /* records made into text at once */
	TEXT_ENOUGH = 64 << 10,
	OLD_MAX = 4, /* files that were followed before, not yet let go */
};

struct stream {
	struct source source; /* first: they are one */
	struct follower file, dir_entry;
	struct view view;
	struct caller caller; /* who opened it */
	bool closed, is_queue, follow, lines;
	/* All below: under the source's mutex. */
	uint64_t ino; /* what is read; held while following */
	uint64_t old[OLD_MAX];
	unsigned n_old;
	uint64_t from, next, end; /* ids */
	uint64_t step;
	uint32_t resets;
	uint64_t at; /* in a rope */
	uint64_t given; /* bytes, of a stream that ends */
	uint64_t delivered; /* id: all records before it were given out whole */
	struct ropefs_text out;
	size_t out_at;
	uint8_t *scratch; /* ROPEFS_WRITE_MAX bytes, or NULL */
};

static struct stream *stream_of(const struct fuse_file_info *fi)
{
	return (struct stream *)(uintptr_t)fi->fh;
}

static void say(struct stream *s, const char *text)
{
	event_say(s->source.d, s->caller.uid, "view", s->ino, s->view.name, text);
}

/* --- what comes next --- */

static ssize_t give(struct stream *s, void *p, size_t n)
{
	size_t left = s->out.n - s->out_at;

	n = n < left ? n : left;
	memcpy(p, (char *)s->out.p + s->out_at, n);
	s->out_at += n;
	if (s->out_at == s->out.n) {
		s->out.n = s->out_at = 0;
		s->delivered = s->next;
	}
	return (ssize_t)n;
}

/* What a batch says of the queue: 1: it is another than before, look again. */
static int moved_on(struct stream *s, const struct ropefs_batch *b, int r)
{
	if (b->resets != s->resets) {
		s->resets = b->resets;
		s->next = s->follow ? 0 : s->end;
		return 1;
	}
	if (r == -ERANGE) {
		say(s, "records were trimmed before this reader came to them");
		s->next = b->first;
		return 1;
	}
	return 0;
}

static int read_batch(struct stream *s, struct ropefs_batch *b, bool nowait)
{
	uint64_t left = s->end - s->next;
	int r;

	b->id = s->next;
	if (b->max > left)
		b->max = (unsigned)left;
	r = ropefs_queue_read(s->source.d->fs, s->ino, b, nowait ? ROPEFS_NOWAIT : 0);
	if ((r >= 0 || r == -ERANGE) && moved_on(s, b, r))
		return 1;
	return r == -EAGAIN ? -EINPROGRESS : r;
}

/* Raw records straight into p, as many as fit. */
static ssize_t fill_raw(struct stream *s, void *p, size_t n, bool nowait)
{
	for (;;) {
		struct ropefs_batch b = { .max = UINT32_MAX, .p = p, .n = n };
		int r;

		if (s->next >= s->end)
			return 0;
		r = read_batch(s, &b, nowait);
		if (r < 0)
			return r;
		if (r > 0)
			continue;
		if (!b.count)
			return 0;
		s->next = s->delivered = b.id;
		if (b.bytes)
			return (ssize_t)b.bytes;
	}
}

static int add_texts(struct stream *s, const struct ropefs_batch *b)
{
	size_t at = 0;
	int r = 0;

	for (unsigned i = 0; r >= 0 && i < b->count; i++) {
		r = ropefs_record_text(s->source.d->fs, s->ino, &b->records[i],
				       s->scratch + at, s->view.selector.as, &s->out);
		at += b->records[i].n;
	}
	return r;
}

/* Records into `out`, as text or because they don't fit. 0: there is none. */
static int make_texts(struct stream *s, bool nowait)
{
	struct ropefs_record recs[BATCH];
	bool one = s->step > 1 || s->view.selector.as == ROPEFS_AS_RAW;
	int r = 0;

	if (!s->scratch)
		s->scratch = malloc(ROPEFS_WRITE_MAX);
	if (!s->scratch)
		return -ENOMEM;
	while (r >= 0 && s->next < s->end && s->out.n < TEXT_ENOUGH) {
		struct ropefs_batch b = { .records = recs,
					  .max = one ? 1 : BATCH,
					  .p = s->scratch,
					  .n = ROPEFS_WRITE_MAX };

		r = read_batch(s, &b, nowait);
		if (r > 0)
			continue;
		if (r < 0 || !b.count)
			break;
		r = add_texts(s, &b);
		if (r >= 0)
			s->next = one ? s->next + s->step : b.id;
		if (one && s->step == 1)
			break;
	}
	if (s->out.n)
		return 1;
	return r < 0 ? r : 0;
}

static ssize_t fill_queue(struct stream *s, void *p, size_t n, bool nowait)
{
	ssize_t r = -ENOBUFS;

	if (s->view.selector.as == ROPEFS_AS_RAW && s->step == 1)
		r = fill_raw(s, p, n, nowait);
	if (r == -ENOBUFS)
		r = make_texts(s, nowait);
	else
		return r;
	return r > 0 ? give(s, p, n) : r;
}

static ssize_t fill_rope(struct stream *s, void *p, size_t n, bool nowait)
{
	struct ropefs_attr a;
	ssize_t r = ropefs_getattr(s->source.d->fs, s->ino, &a);

	if (r < 0)
		return r;
	if (a.size < s->at) /* it was truncated: what comes now is new */
		s->at = a.size;
	r = ropefs_read(s->source.d->fs, s->ino, s->at, p, n, nowait ? ROPEFS_NOWAIT : 0);
	if (r > 0)
		s->at += (uint64_t)r;
	return r == -EAGAIN ? -EINPROGRESS : r;
}

/* --- another file under the same name --- */

static struct ropefs_name base_name(const struct view *v)
{
	return (struct ropefs_name) { v->name, v->selector.name_len };
}

/* As if the name were opened again by who opened the view. */
static int may_read(const struct stream *s, uint64_t ino)
{
	struct daemon *d = s->source.d;
	int r = caller_may(d, &s->caller, s->view.dir, 1);

	return r < 0 ? r : caller_may(d, &s->caller, ino, 4);
}

static int begin_at(struct stream *s, const struct ropefs_attr *a)
{
	struct ropefs_queue q = { 0 };
	int r = a->is_queue ? ropefs_queue_info(s->source.d->fs, a->ino, &q) : 0;

	if (r < 0)
		return r;
	s->is_queue = a->is_queue;
	s->resets = q.resets;
	s->lines = s->out.lines = q.framing == ROPEFS_LINE;
	s->next = s->delivered = s->at = 0;
	return 0;
}

/* 1: the name leads to another file, which is read from now on. */
static int go_over(struct stream *s)
{
	struct daemon *d = s->source.d;
	struct ropefs_attr a;
	int r = ropefs_lookup(d->fs, s->view.dir, base_name(&s->view), &a);

	if (r == -ENOENT || (r >= 0 && (a.ino == s->ino || !S_ISREG(a.mode))))
		return 0;
	if (r < 0 || s->n_old == OLD_MAX)
		return r < 0 ? r : 0;
	r = may_read(s, a.ino);
	if (r < 0)
		return r;
	r = ropefs_hold(d->fs, a.ino);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	s->old[s->n_old++] = s->ino;
	follow_del(d, &s->file);
	s->ino = a.ino;
	r = begin_at(s, &a);
	if (r >= 0)
		r = follow_add(d, &s->file, a.ino);
	return r < 0 ? r : 1;
}

static ssize_t fill(struct source *source, void *p, size_t n, bool nowait)
{
	struct stream *s = (struct stream *)source;
	ssize_t r;

	for (;;) {
		if (s->closed)
			return -EAGAIN;
		if (s->out.n)
			return give(s, p, n);
		r = s->is_queue ? fill_queue(s, p, n, nowait)
				: fill_rope(s, p, n, nowait);
		if (r || !s->follow)
			return r;
		r = go_over(s);
		if (r <= 0)
			return r < 0 ? r : -EAGAIN;
	}
}

static bool ready(struct source *source)
{
	struct stream *s = (struct stream *)source;
	struct daemon *d = s->source.d;
	struct ropefs_queue q;
	struct ropefs_attr a;

	if (s->out.n || !s->follow)
		return true;
	if (s->is_queue && ropefs_queue_info(d->fs, s->ino, &q) >= 0 &&
	    (q.next > s->next || q.resets != s->resets))
		return true;
	if (!s->is_queue && ropefs_getattr(d->fs, s->ino, &a) >= 0 && a.size != s->at)
		return true;
	return ropefs_lookup(d->fs, s->view.dir, base_name(&s->view), &a) >= 0 &&
	       a.ino != s->ino;
}

static void let_go(struct stream *s)
{
	uint64_t old[OLD_MAX];
	unsigned n;

	pthread_mutex_lock(&s->source.mutex);
	n = s->n_old;
	memcpy(old, s->old, sizeof(old));
	s->n_old = 0;
	pthread_mutex_unlock(&s->source.mutex);
	while (n)
		ropefs_release(s->source.d->fs, old[--n], 1);
}

static void stream_free(struct source *source)
{
	struct stream *s = (struct stream *)source;

	if (s->follow) {
		for (unsigned i = 0; i < s->n_old; i++)
			ropefs_release(s->source.d->fs, s->old[i], 1);
		ropefs_release(s->source.d->fs, s->ino, 1);
	}
	caller_release(&s->caller);
	free(s->out.p);
	free(s->scratch);
	free(s);
}

/* --- opening --- */

static int select_records(struct stream *s)
{
	struct ropefs_selected sel;
	int r = ropefs_view_records(s->source.d->fs, s->ino, &s->view.selector, &sel);

	if (r < 0)
		return r;
	if (sel.trimmed)
		say(s,
		    "some of what was asked for has been trimmed; this is what is left");
	s->from = s->next = s->delivered = sel.from;
	s->end = s->follow ? UINT64_MAX : sel.to;
	s->resets = sel.queue.resets;
	s->lines = s->out.lines = sel.queue.framing == ROPEFS_LINE;
	return 0;
}

static int select_bytes(struct stream *s)
{
	uint64_t to;

	if (!(s->view.selector.has & ROPEFS_SEL_LINES))
		return 0;
	return ropefs_view_lines(s->source.d->fs, s->ino, &s->view.selector, &s->at, &to);
}

static int start_following(struct stream *s)
{
	struct daemon *d = s->source.d;
	int r = ropefs_hold(d->fs, s->ino);

	if (r < 0) {
		s->follow = false;
		return r;
	}
	/* Before the place is looked up: nothing can come in between unseen. */
	r = follow_add(d, &s->file, s->ino);
	return r < 0 ? r : follow_add(d, &s->dir_entry, s->view.dir);
}

static void stop_following(struct stream *s)
{
	pthread_mutex_lock(&s->source.mutex);
	s->closed = true;
	follow_del(s->source.d, &s->file);
	follow_del(s->source.d, &s->dir_entry);
	pthread_mutex_unlock(&s->source.mutex);
}

static int stream_start(struct stream *s)
{
	struct ropefs_attr a;
	int r;

	if (s->follow) {
		r = start_following(s);
		if (r < 0)
			return r;
	}
	r = ropefs_getattr(s->source.d->fs, s->ino, &a);
	if (r < 0)
		return r;
	s->is_queue = a.is_queue;
	return a.is_queue ? select_records(s) : select_bytes(s);
}

static void open_waiting(struct task *t)
{
	struct daemon *d = t->d;
	struct stream *s = calloc(1, sizeof(*s));
	int r = s ? view_target(d, t->ino, &s->view) : -ENOMEM;

	if (r >= 0)
		r = caller_of(t->req, &s->caller);
	if (r < 0) {
		free(s);
		t->r = r;
		task_reply_err(t);
		return;
	}
	source_init(&s->source, d);
	s->source.fill = fill;
	s->source.ready = ready;
	s->source.free = stream_free;
	s->file.source = s->dir_entry.source = &s->source;
	s->ino = s->view.target;
	s->follow = s->view.selector.has & ROPEFS_SEL_FOLLOW;
	s->step = s->view.selector.has & ROPEFS_SEL_EVERY ? s->view.selector.every : 1;
	r = stream_start(s);
	if (r < 0)
		say(s, *ropefs_error() ? ropefs_error() : ropefs_error_text(r));
	t->fi.direct_io = 1;
	t->fi.nonseekable = s->follow;
	t->fi.noflush = 1;
	if (r < 0)
		reply_err(t->req, r);
	else
		r = reply_open_file(t->req, &t->fi, s);
	if (r < 0) {
		stop_following(s);
		source_put(&s->source);
	}
	task_free(t);
}

static void stream_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct task *t;

	if ((fi->flags & O_ACCMODE) != O_RDONLY) {
		fuse_reply_err(req, EPERM);
		return;
	}
	t = task_new(daemon_of(req), req, NULL, 0);
	if (!t)
		return;
	t->ino = ino;
	t->fi = *fi;
	task_run(t, open_waiting);
}

/* --- reading what ends --- */

/* A read elsewhere than where the last one ended begins anew, and skips. */
static ssize_t go_to(struct stream *s, uint64_t off, void *p, size_t n)
{
	ssize_t r = 0;

	if (off < s->given) {
		s->next = s->from;
		s->out.n = s->out_at = 0;
		s->given = 0;
	}
	while (s->given < off) {
		uint64_t skip = off - s->given;

		r = fill(&s->source, p, skip < n ? (size_t)skip : n, false);
		if (r <= 0)
			return r;
		s->given += (uint64_t)r;
	}
	return 1;
}

static void read_waiting(struct task *t)
{
	struct stream *s = stream_of(&t->fi);
	size_t n = t->n < ROPEFS_WRITE_MAX ? t->n : ROPEFS_WRITE_MAX;
	void *p = loop_buffer();
	ssize_t r = p ? 1 : -ENOMEM;

	pthread_mutex_lock(&s->source.mutex);
	if (r > 0)
		r = go_to(s, t->off, p, n);
	if (r > 0)
		r = fill(&s->source, p, n, false);
	if (r > 0)
		s->given += (uint64_t)r;
	pthread_mutex_unlock(&s->source.mutex);
	reply_read(t->req, p, r);
	task_free(t);
}

static void stream_read(fuse_req_t req, fuse_ino_t ino, size_t n, off_t off,
			struct fuse_file_info *fi)
{
	struct stream *s = stream_of(fi);
	struct task *t;

	if (s->follow) {
		let_go(s);
		source_read(&s->source, req, n, fi->flags);
		return;
	}
	t = task_new(daemon_of(req), req, NULL, 0);
	if (!t)
		return;
	t->ino = ino;
	t->fi = *fi;
	t->off = (uint64_t)off;
	t->n = n;
	task_run(t, read_waiting);
}

static void stream_poll(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi,
			struct fuse_pollhandle *ph)
{
	struct stream *s = stream_of(fi);

	(void)ino;
	if (s->follow)
		source_poll(&s->source, req, ph);
	else
		poll_always(req, ph);
}

static void stream_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stream *s = stream_of(fi);

	(void)ino;
	stop_following(s);
	source_put(&s->source);
	fuse_reply_err(req, 0);
}

static void stream_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat st;
	int r = view_stat(daemon_of(req), ino, &st);

	(void)fi;
	if (r < 0)
		reply_err(req, r);
	else
		fuse_reply_attr(req, &st, 0);
}

static void stream_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned cmd, void *arg,
			 struct fuse_file_info *fi, unsigned flags, const void *in,
			 size_t n_in, size_t n_out)
{
	struct stream *s = stream_of(fi);
	struct queue_ioctl q = { .cmd = cmd, .in = in, .n_in = n_in, .n_out = n_out };

	(void)ino;
	(void)arg;
	(void)flags;
	pthread_mutex_lock(&s->source.mutex);
	q.ino = s->ino;
	q.read_to = s->delivered;
	pthread_mutex_unlock(&s->source.mutex);
	if (!queue_ioctl(req, &q))
		fuse_reply_err(req, ENOTTY);
}

static const struct fuse_lowlevel_ops stream_ops = {
	.getattr = stream_getattr,
	.open = stream_open,
	.read = stream_read,
	.poll = stream_poll,
	.release = stream_release,
	.ioctl = stream_ioctl,
};

/* --- the kind --- */

#define OF_ROPES ((unsigned)(ROPEFS_SEL_LINES | ROPEFS_SEL_FOLLOW))
#define OF_QUEUES                                                                        \
	(OF_ROPES | (unsigned)(ROPEFS_SEL_RECORDS | ROPEFS_SEL_LAST | ROPEFS_SEL_TIME |  \
			       ROPEFS_SEL_EVERY | ROPEFS_SEL_AS | ROPEFS_SEL_CURSOR))

static bool takes(const struct ropefs_view *v, const struct ropefs_attr *target)
{
	if (v->has & ROPEFS_SEL_FOLLOW && (v->range.has_to || v->to_time.given))
		return false;
	if (target->is_queue)
		return v->has && !(v->has & ~OF_QUEUES);
	return v->has & ROPEFS_SEL_FOLLOW && !(v->has & ~OF_ROPES);
}

static int size_now(struct daemon *d, const struct view *v,
		    const struct ropefs_attr *target, uint64_t *ret)
{
	struct ropefs_selected sel;
	uint64_t from, to;
	int r;

	*ret = 0; /* as in /proc: it is known when it has been read */
	if (!target->is_queue || v->selector.has & ROPEFS_SEL_FOLLOW)
		return 0;
	r = ropefs_view_records(d->fs, target->ino, &v->selector, &sel);
	if (r < 0 || v->selector.as != ROPEFS_AS_RAW || v->selector.every > 1)
		return r;
	r = ropefs_queue_offset(d->fs, target->ino, sel.from, &from);
	if (r >= 0)
		r = ropefs_queue_offset(d->fs, target->ino, sel.to, &to);
	if (r >= 0)
		*ret = to - from;
	return r == -ERANGE ? 0 : r; /* trimmed in between */
}

/* rm: a queue is cut at its head only. */
static int trim(struct daemon *d, const struct view *v, uint32_t uid)
{
	const unsigned whole = ROPEFS_SEL_RECORDS | ROPEFS_SEL_LINES | ROPEFS_SEL_TIME;
	struct ropefs_selected sel;
	struct ropefs_attr a;
	int r = ropefs_getattr(d->fs, v->target, &a);

	if (r >= 0 && (!a.is_queue || v->selector.has & ~whole))
		return -EPERM;
	if (r >= 0)
		r = ropefs_view_records(d->fs, v->target, &v->selector, &sel);
	if (r < 0)
		return r;
	if (sel.from > sel.queue.first) {
		event_say(d, uid, "view", v->target, v->name,
			  "a queue is cut at its head only");
		return -EPERM;
	}
	return ropefs_queue_trim(d->fs, v->target, sel.to);
}

const struct view_kind view_stream = {
	.takes = takes,
	.size = size_now,
	.ops = &stream_ops,
	.remove = trim,
};
