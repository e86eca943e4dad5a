#include "fs/view_stream.h"

#include "fs/daemon.h"
#include "fs/events.h"
#include "fs/far.h"
#include "fs/handles.h"
#include "fs/ops.h"
#include "fs/queue_ioctl.h"
#include "fs/reply.h"
#include "fs/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct stream_kept {
	struct view_kept view; /* first */
	uint64_t from;
	uint64_t n_groups; /* of who opened it; in the row's area */
};
KEPT_SIZE(struct stream_kept, 296);
KEPT_SIZE(struct noted, 280);

static struct stream *stream_of(const struct fuse_file_info *fi)
{
	return (struct stream *)(uintptr_t)fi->fh;
}

/* How far a file had been read then; from its beginning, if it was met since. */
static void back_to(struct place *at, const struct position *before)
{
	uint64_t age = at->age;

	for (unsigned i = 0; i < PLACES; i++) {
		if (!before->places[i].age || before->places[i].ino != at->ino)
			continue;
		*at = before->places[i];
		at->age = age;
		return;
	}
	at->next = at->at = 0;
}

static void go_back(struct stream *s, const struct position *before)
{
	for (unsigned i = 0; i < PLACES; i++)
		back_to(&s->p.places[i], before);
	s->p.given = before->given;
	s->p.delivered = before->delivered;
	s->p.text_from = before->text_from;
	s->p.text_at = before->text_at;
	s->p.reading = before->reading;
	s->p.text = s->remake = before->text;
	s->was = s->p;
	s->out.n = 0;
	stream_say_place(s);
}

static bool again(struct source *source)
{
	struct stream *s = (struct stream *)source;
	struct position before;
	bool done;

	if (!kept_resent(&s->kept, &done, &before, sizeof(before)))
		return false;
	go_back(s, &before);
	return true;
}

static void undo(struct source *source)
{
	struct stream *s = (struct stream *)source;
	struct position before = s->was;

	go_back(s, &before);
}

static void stream_free(struct source *source)
{
	struct stream *s = (struct stream *)source;

	if (s->follow)
		ropefs_release(s->source.d->fs, stream_now(s)->ino, 1);
	kept_drop(&s->kept);
	caller_release(&s->caller);
	free(s->out.p);
	free(s->scratch);
	pthread_mutex_destroy(&s->said_mutex);
	free(s);
}

/* --- opening --- */

static int select_records(struct stream *s)
{
	struct ropefs_selected sel;
	struct place *at = stream_now(s);
	int r = ropefs_view_records(s->source.d->fs, at->ino, &s->view.selector, &sel);

	if (r < 0)
		return r;
	if (sel.trimmed)
		stream_say(s, "some of what was asked for has been trimmed; this is what "
			      "is left");
	s->from = at->next = s->p.delivered = sel.from;
	s->p.end = s->follow ? UINT64_MAX : sel.to;
	at->resets = sel.queue.resets;
	at->lines = sel.queue.framing == ROPEFS_LINE;
	return 0;
}

static int select_bytes(struct stream *s)
{
	uint64_t to;

	s->p.end = UINT64_MAX; /* the name may lead to a queue one day */
	if (!(s->view.selector.has & ROPEFS_SEL_LINES))
		return 0;
	return ropefs_view_lines(s->source.d->fs, stream_now(s)->ino, &s->view.selector,
				 &stream_now(s)->at, &to);
}

static int start_following(struct stream *s)
{
	struct daemon *d = s->source.d;
	int r = ropefs_hold(d->fs, stream_now(s)->ino);

	if (r < 0) {
		s->follow = false;
		return r;
	}
	/* Before the place is looked up: nothing can come in between unseen. */
	for (unsigned i = 0; r >= 0 && i < PLACES; i++)
		if (s->p.places[i].age)
			r = follow_add(d, &s->files[i], s->p.places[i].ino);
	return r < 0 ? r : follow_add(d, &s->dir_entry, s->view.dir);
}

/* What has the name from now on is noted, where the next daemon finds it. */
static int watch_name(struct stream *s)
{
	int r;

	s->name = (struct name_watch) {
		.dir = s->view.dir,
		.name = { s->view.name, s->view.selector.name_len },
		.latest = stream_now(s)->ino,
		.noted = s->kept.row ? s->kept.area : &s->noted,
	};
	r = names_watch(s->source.d, &s->name);
	if (r < 0)
		s->name.noted = NULL;
	return r;
}

static void stop_following(struct stream *s)
{
	uint64_t ino;
	bool more;

	if (s->name.noted)
		names_unwatch(s->source.d, &s->name);
	pthread_mutex_lock(&s->source.mutex);
	s->closed = true;
	while (s->name.noted && names_next(s->source.d, &s->name, &ino, &more)) {
		names_let_go(s->source.d, ino);
		names_taken(s->source.d, &s->name);
	}
	for (unsigned i = 0; i < PLACES; i++)
		follow_del(s->source.d, &s->files[i]);
	follow_del(s->source.d, &s->dir_entry);
	kept_free(&s->kept);
	pthread_mutex_unlock(&s->source.mutex);
}

static int stream_start(struct stream *s)
{
	struct ropefs_attr a;
	int r;

	*stream_now(s) = (struct place) { .ino = s->view.target, .age = 1 };
	if (s->follow) {
		r = start_following(s);
		if (r < 0)
			return r;
	}
	r = ropefs_getattr(s->source.d->fs, stream_now(s)->ino, &a);
	if (r < 0)
		return r;
	stream_now(s)->is_queue = a.is_queue;
	return a.is_queue ? select_records(s) : select_bytes(s);
}

/* Takes the caller over, if there is memory. */
static struct stream *stream_new(struct daemon *d, const struct view *v,
				 const struct caller *caller)
{
	struct stream *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	source_init(&s->source, d);
	pthread_mutex_init(&s->said_mutex, NULL);
	s->source.fill = stream_fill;
	s->source.ready = stream_ready;
	s->source.free = stream_free;
	s->source.giving = stream_giving;
	s->source.again = again;
	s->source.undo = undo;
	for (unsigned i = 0; i < PLACES; i++)
		s->files[i].source = &s->source;
	s->dir_entry.source = &s->source;
	s->view = *v;
	s->caller = *caller;
	s->follow = v->selector.has & ROPEFS_SEL_FOLLOW;
	s->step = v->selector.has & ROPEFS_SEL_EVERY ? v->selector.every : 1;
	return s;
}

/* Of the row's area; groups are behind. */
static size_t noted_bytes(bool follow)
{
	return follow ? sizeof(struct noted) : 0;
}

static void stream_keep(struct stream *s)
{
	struct stream_kept fixed = { .from = s->from, .n_groups = s->caller.n_groups };
	size_t n = s->caller.n_groups * sizeof(gid_t), at = noted_bytes(s->follow);

	view_keep(&s->view, s->caller.uid, s->caller.gid, &fixed.view);
	kept_new(&s->kept, &fixed, sizeof(fixed));
	s->was = s->p;
	stream_say_place(s);
	if (s->kept.row && at + n && !kept_area(&s->kept, at + n))
		kept_free(&s->kept);
	if (s->kept.row && n)
		memcpy((char *)s->kept.area + at, s->caller.groups, n);
	kept_step(&s->kept, 0, &s->p, &s->p, sizeof(s->p));
}

static int caller_restore(const struct kept_file *k, const struct view *v,
			  struct caller *ret)
{
	size_t at = noted_bytes(v->selector.has & ROPEFS_SEL_FOLLOW);
	const struct stream_kept *fixed = k->fixed;
	size_t n = fixed->n_groups * sizeof(gid_t);

	*ret = (struct caller) { .uid = fixed->view.uid,
				 .gid = fixed->view.gid,
				 .n_groups = fixed->n_groups };
	if (!n)
		return 0;
	ret->groups = malloc(n);
	if (!ret->groups)
		return -ENOMEM;
	memcpy(ret->groups, (const char *)k->k.area + at, n);
	return 0;
}

int view_stream_restore(struct daemon *d, const struct kept_file *k)
{
	const struct stream_kept *fixed = k->fixed;
	struct caller caller;
	struct stream *s;
	struct view v;
	int r = view_restore(d, k, &view_stream, &v);

	if (r >= 0)
		r = caller_restore(k, &v, &caller);
	if (r < 0)
		return r;
	s = stream_new(d, &v, &caller);
	if (!s) {
		caller_release(&caller);
		return -ENOMEM;
	}
	s->kept = k->k;
	s->from = fixed->from;
	memcpy(&s->p, k->state, sizeof(s->p));
	s->was = s->p;
	stream_say_place(s);
	s->remake = s->p.text;
	r = s->follow ? start_following(s) : 0;
	if (r >= 0 && s->follow)
		r = watch_name(s);
	if (r >= 0)
		r = handle_put(k->fh, s);
	if (r < 0) {
		stop_following(s);
		source_put(&s->source);
	}
	return r;
}

static void stream_let_go(struct stream *s)
{
	stop_following(s);
	source_put(&s->source);
}

/* The stream that the task is about; of its first run where this is the second. */
static int stream_of_task(struct task *t, struct stream **ret)
{
	struct stream *first = stream_of(&t->fi);
	struct caller caller;
	struct view v;
	int r = view_target(t->d, t->ino, &v);

	if (r >= 0 &&
	    first) { /* a signal may have ended the request: it can't be asked */
		caller = first->caller;
		first->caller = (struct caller) { 0 };
	} else if (r >= 0) {
		r = caller_of(t->req, &caller);
	}
	if (first)
		stream_let_go(first);
	t->fi.fh = 0;
	if (r < 0)
		return r;
	*ret = stream_new(t->d, &v, &caller);
	if (*ret)
		return 0;
	caller_release(&caller);
	return -ENOMEM;
}

static void open_waiting(struct task *t)
{
	struct stream *s = stream_of(&t->fi);
	int r;

	if (!far_step(t)) {
		stream_let_go(s);
		return;
	}
	s = NULL;
	t->r = r = stream_of_task(t, &s);
	if (r >= 0)
		t->r = r = stream_start(s);
	t->fi.fh = (uintptr_t)s;
	switch (far_again(t, open_waiting)) {
	case FAR_AGAIN:
		return;
	case FAR_ENDED:
		if (s)
			stream_let_go(s);
		return;
	case FAR_ANSWER:
		break;
	}
	if (!s) {
		task_reply_err(t);
		return;
	}
	if (r < 0)
		stream_say(s, *ropefs_error() ? ropefs_error() : ropefs_error_text(r));
	if (r >= 0)
		stream_keep(s);
	if (r >= 0 && s->follow)
		r = watch_name(s);
	t->fi.direct_io = 1;
	t->fi.nonseekable = s->follow;
	t->fi.noflush = 1;
	if (r < 0) {
		reply_err(t->req, r);
	} else {
		r = reply_open_file(
			t->req, &t->fi,
			&(struct opened) { s, &s->kept, KEPT_STREAM, t->ino });
	}
	if (r < 0)
		stream_let_go(s);
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

	if (off < s->p.given) {
		stream_now(s)->next = s->from;
		s->remake = false;
		stream_text_end(s);
		s->p.given = 0;
	}
	while (s->p.given < off) {
		uint64_t skip = off - s->p.given;

		r = stream_fill(&s->source, p, skip < n ? (size_t)skip : n, false);
		if (r <= 0)
			return r;
		s->p.given += (uint64_t)r;
	}
	return 1;
}

/* -EREMOTE: the bucket has it, which is waited for elsewhere (`far`). */
static ssize_t fill_at(struct stream *s, uint64_t off, void *p, size_t n, bool far)
{
	ssize_t r = -EINPROGRESS;

	if (off == s->p.given && !far)
		r = stream_fill(&s->source, p, n, true);
	if (r != -EINPROGRESS)
		return r;
	r = go_to(s, off, p, n);
	return r > 0 ? stream_fill(&s->source, p, n, false) : r;
}

static ssize_t fill_task(struct stream *s, struct task *t, void *p, bool far)
{
	size_t n = t->n < ROPEFS_WRITE_MAX ? t->n : ROPEFS_WRITE_MAX;
	ssize_t r;

	ropefs_stay_near(!far);
	r = p ? fill_at(s, t->off, p, n, far) : -ENOMEM;
	ropefs_stay_near(false);
	return r;
}

/* With the source's mutex. */
static void send_locked(struct stream *s, struct task *t, const void *p, ssize_t r)
{
	if (r > 0) {
		s->p.given += (uint64_t)r;
		stream_giving(&s->source, t->unique);
	}
	reply_read(t->req, p, r);
	task_free(t);
}

/* Without the mutex, as who waits for the bucket waits for long. */
static void fill_far(struct stream *s, struct task *t)
{
	void *p = loop_buffer();
	ssize_t r;

	pthread_mutex_lock(&s->source.mutex);
	source_fill_begin(&s->source);
	again(&s->source);
	ropefs_asked_at(t->asked_ns);
	r = fill_task(s, t, p, true);
	ropefs_asked_at(0);
	source_fill_end(&s->source);
	if (far_end(t))
		send_locked(s, t, p, r);
	else
		undo(&s->source);
	pthread_mutex_unlock(&s->source.mutex);
}

/* Once a signal has ended the read, the file may be closed. */
static void read_far(struct task *t)
{
	struct stream *s = stream_of(&t->fi);

	if (far_begin(t))
		fill_far(s, t);
	source_put(&s->source);
}

static void read_waiting(struct task *t)
{
	struct stream *s = stream_of(&t->fi);
	void *p = loop_buffer();
	ssize_t r = -EREMOTE;

	pthread_mutex_lock(&s->source.mutex);
	if (!s->source.filling) {
		again(&s->source);
		r = fill_task(s, t, p, false);
	}
	if (r != -EREMOTE)
		send_locked(s, t, p, r);
	pthread_mutex_unlock(&s->source.mutex);
	if (r != -EREMOTE)
		return;
	source_get(&s->source);
	far_run(t, read_far);
}

static void stream_read(fuse_req_t req, fuse_ino_t ino, size_t n, off_t off,
			struct fuse_file_info *fi)
{
	struct stream *s = stream_of(fi);
	struct task *t;

	if (s->follow) {
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

static void release(struct stream *s)
{
	stop_following(s);
	source_put(&s->source);
}

/* A read that a signal has ended still waits for the bucket. */
static void release_waiting(struct task *t)
{
	struct stream *s = stream_of(&t->fi);

	pthread_mutex_lock(&s->source.mutex);
	source_fill_begin(&s->source);
	source_fill_end(&s->source);
	pthread_mutex_unlock(&s->source.mutex);
	release(s);
	task_free(t);
}

static void stream_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stream *s = stream_of(fi);
	struct task *t = NULL;
	bool filling;

	(void)ino;
	pthread_mutex_lock(&s->source.mutex);
	s->closed = true;
	filling = s->source.filling;
	pthread_mutex_unlock(&s->source.mutex);
	if (filling)
		t = task_new(s->source.d, NULL, NULL, 0);
	if (t) {
		t->fi = *fi;
		task_run_far(t, release_waiting);
	} else if (!filling) { /* without memory it stays */
		release(s);
	}
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
	pthread_mutex_lock(&s->said_mutex);
	q.ino = s->said.ino;
	q.read_to = s->said.read_to;
	pthread_mutex_unlock(&s->said_mutex);
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
	if (ropefs_was_trimmed(r)) /* who opens it is told; who removes it need not be */
		return 0;
	if (r < 0 || v->selector.as != ROPEFS_AS_RAW || v->selector.every > 1)
		return r;
	r = ropefs_queue_offset(d->fs, target->ino, sel.from, &from);
	if (r >= 0)
		r = ropefs_queue_offset(d->fs, target->ino, sel.to, &to);
	if (r >= 0)
		*ret = to - from;
	return r == -ERANGE ? 0 : r; /* trimmed in between */
}

/* rm: a queue is cut at its head only. What is gone already is as it is wanted. */
static int trim(struct daemon *d, const struct view *v, const struct view_found *found,
		uint32_t uid)
{
	const unsigned whole = ROPEFS_SEL_RECORDS | ROPEFS_SEL_LINES | ROPEFS_SEL_TIME;
	struct ropefs_selected sel;
	struct ropefs_attr a;
	int r = ropefs_getattr(d->fs, v->target, &a);

	if (r >= 0 && (!a.is_queue || v->selector.has & ~whole))
		return -EPERM;
	if (r >= 0)
		r = ropefs_view_records(d->fs, v->target, &v->selector, &sel);
	if (ropefs_was_trimmed(r))
		return 0;
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
