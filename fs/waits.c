#include "fs/waits.h"

#include "fs/daemon.h"
#include "fs/keep.h"
#include "fs/ops.h"
#include "fs/reply.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>

struct blocked {
	TAILQ_ENTRY(blocked) all, mine;
	struct source *source;
	fuse_req_t req;
	uint64_t unique; /* keep.h */
	size_t n;
};

void waits_init(struct waits *w)
{
	pthread_mutex_init(&w->mutex, NULL);
	TAILQ_INIT(&w->all);
}

static void take_off_locked(struct waits *w, struct blocked *b)
{
	TAILQ_REMOVE(&w->all, b, all);
	TAILQ_REMOVE(&b->source->reads, b, mine);
}

void waits_release(struct waits *w)
{
	struct blocked *b;

	while ((b = TAILQ_FIRST(&w->all))) {
		take_off_locked(w, b);
		fuse_reply_err(b->req, ENOTCONN);
		free(b);
	}
	pthread_mutex_destroy(&w->mutex);
}

void source_init(struct source *s, struct daemon *d)
{
	s->d = d;
	pthread_mutex_init(&s->mutex, NULL);
	TAILQ_INIT(&s->reads);
	s->giving = NULL;
	s->again = NULL;
	s->poll = NULL;
	s->handed_on = false;
	atomic_init(&s->woken, false);
	atomic_init(&s->refs, 1);
}

void source_get(struct source *s)
{
	atomic_fetch_add(&s->refs, 1);
}

void source_put(struct source *s)
{
	if (atomic_fetch_sub(&s->refs, 1) > 1)
		return;
	if (s->poll)
		fuse_pollhandle_destroy(s->poll);
	pthread_mutex_destroy(&s->mutex);
	s->free(s);
}

/* Called by libfuse with its lock of the request held; the request may be answered already. */
static void interrupted(fuse_req_t req, void *arg)
{
	struct waits *w = arg;
	struct blocked *b;

	pthread_mutex_lock(&w->mutex);
	TAILQ_FOREACH(b, &w->all, all)
	if (b->req == req)
		break;
	if (b)
		take_off_locked(w, b);
	pthread_mutex_unlock(&w->mutex);
	if (!b)
		return;
	fuse_reply_err(req, EINTR);
	free(b);
}

/* Puts a read on the lists, unless a signal has come for it: then it is answered. */
static void block(struct blocked *b, bool first)
{
	struct waits *w = &b->source->d->waits;
	bool signal;

	pthread_mutex_lock(&w->mutex);
	signal = fuse_req_interrupted(b->req);
	if (!signal) {
		TAILQ_INSERT_TAIL(&w->all, b, all);
		if (first)
			TAILQ_INSERT_HEAD(&b->source->reads, b, mine);
		else
			TAILQ_INSERT_TAIL(&b->source->reads, b, mine);
	}
	pthread_mutex_unlock(&w->mutex);
	if (!signal)
		return;
	fuse_reply_err(b->req, EINTR);
	free(b);
}

static struct blocked *unblock_first(struct source *s)
{
	struct waits *w = &s->d->waits;
	struct blocked *b;

	pthread_mutex_lock(&w->mutex);
	b = TAILQ_FIRST(&s->reads);
	if (b)
		take_off_locked(w, b);
	pthread_mutex_unlock(&w->mutex);
	return b;
}

static size_t fill_max(size_t n)
{
	return n < ROPEFS_WRITE_MAX ? n : ROPEFS_WRITE_MAX;
}

static void run_waiting(struct task *t);

/* With the source's mutex held. Whatever needs the disk goes on in a worker. */
static void answer_locked(struct source *s, bool nowait)
{
	void *p = loop_buffer();
	struct blocked *b;
	struct task *t;
	ssize_t r;

	while ((b = unblock_first(s))) {
		r = p ? s->fill(s, p, fill_max(b->n), nowait) : -ENOMEM;
		if (r == -EAGAIN || r == -EINPROGRESS) {
			block(b, true);
			if (r == -EAGAIN || s->handed_on)
				break;
			t = task_new(s->d, NULL, NULL, 0);
			if (!t)
				break;
			s->handed_on = true;
			source_get(s);
			t->to_fh = (uintptr_t)s;
			task_run(t, run_waiting);
			break;
		}
		if (r > 0 && s->giving)
			s->giving(s, b->unique);
		reply_read(b->req, p, r);
		free(b);
	}
}

/* Called with the mutex, which it lets go of: answers who waits, as long as there is news. */
static void serve(struct source *s, bool nowait)
{
	do {
		struct fuse_pollhandle *told = NULL;

		atomic_store(&s->woken, false);
		answer_locked(s, nowait);
		if (s->poll && s->ready(s)) {
			told = s->poll;
			s->poll = NULL;
		}
		pthread_mutex_unlock(&s->mutex);
		if (told) {
			fuse_lowlevel_notify_poll(told);
			fuse_pollhandle_destroy(told);
		}
		nowait = true;
	} while (atomic_load(&s->woken) && !pthread_mutex_trylock(&s->mutex));
}

void source_unlock(struct source *s)
{
	pthread_mutex_unlock(&s->mutex);
	if (atomic_load(&s->woken) && !pthread_mutex_trylock(&s->mutex))
		serve(s, true);
}

static void run_waiting(struct task *t)
{
	struct source *s = (struct source *)(uintptr_t)t->to_fh;

	pthread_mutex_lock(&s->mutex);
	s->handed_on = false;
	serve(s, false);
	source_put(s);
	task_free(t);
}

void source_wake(struct source *s)
{
	atomic_store(&s->woken, true);
	if (!pthread_mutex_trylock(&s->mutex))
		serve(s, true);
}

/* A read that takes what there is. False: not without the disk (nowait only). */
static bool read_some(struct source *s, fuse_req_t req, size_t n, bool nowait)
{
	void *p = loop_buffer();
	ssize_t r;

	pthread_mutex_lock(&s->mutex);
	r = p ? s->fill(s, p, fill_max(n), nowait) : -ENOMEM;
	if (r > 0 && s->giving)
		s->giving(s, keep_current());
	if (r != -EINPROGRESS)
		reply_read(req, p, r);
	source_unlock(s);
	return r != -EINPROGRESS;
}

static void read_some_waiting(struct task *t)
{
	struct source *s = (struct source *)(uintptr_t)t->to_fh;

	read_some(s, t->req, t->n, false);
	source_put(s);
	task_free(t);
}

/* The reply may let the file be closed by another loop: with a reference. */
static void read_now(struct source *s, fuse_req_t req, size_t n)
{
	struct task *t;

	source_get(s);
	if (!read_some(s, req, n, true) && (t = task_new(s->d, req, NULL, 0))) {
		t->to_fh = (uintptr_t)s;
		t->n = n;
		task_run(t, read_some_waiting);
		return;
	}
	source_put(s);
}

void source_read(struct source *s, fuse_req_t req, size_t n, int flags)
{
	struct blocked *b;

	if (s->again) {
		pthread_mutex_lock(&s->mutex);
		s->again(s);
		source_unlock(s);
	}
	if (flags & O_NONBLOCK) {
		read_now(s, req, n);
		return;
	}
	b = malloc(sizeof(*b));
	if (!b) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	*b = (struct blocked) {
		.source = s, .req = req, .unique = keep_current(), .n = n
	};
	/* The reply may let the file be closed by another loop. */
	source_get(s);
	fuse_req_interrupt_func(req, interrupted, &s->d->waits);
	block(b, false);
	source_wake(s);
	source_put(s);
}

void source_poll(struct source *s, fuse_req_t req, struct fuse_pollhandle *ph)
{
	bool ready;

	pthread_mutex_lock(&s->mutex);
	ready = s->ready(s);
	if (ph) { /* though it is ready: who waits for edges is told of each news */
		struct fuse_pollhandle *old = s->poll;

		s->poll = ph;
		ph = old;
	}
	source_unlock(s);
	if (ph)
		fuse_pollhandle_destroy(ph);
	fuse_reply_poll(req, ready ? POLLIN | POLLRDNORM : 0);
}
