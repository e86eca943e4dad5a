#include "fs/waits.h"

#include "fs/daemon.h"
#include "fs/keep.h"
#include "fs/ops.h"
#include "fs/reply.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <stdlib.h>

struct blocked {
	TAILQ_ENTRY(blocked) all, mine;
	struct source *source;
	fuse_req_t req;
	uint64_t unique; /* keep.h */
	size_t n;
	bool late; /* it came while another was read: again() has not been asked yet */
	bool passed; /* a signal came that ends nothing */
	bool once; /* it takes what there is: it only waits for the disk or the bucket */
};

static void take_off_locked(struct waits *w, struct blocked *b)
{
	TAILQ_REMOVE(&w->all, b, all);
	TAILQ_REMOVE(&b->source->reads, b, mine);
}

static bool goes_on(const struct blocked *b)
{
	return signals_pass(fuse_req_ctx(b->req)->pid,
			    b->once ? SIGNALS_ANSWER : SIGNALS_NEWS);
}

/* Of struct signals_watch. */
static bool look(struct signals_watch *watch)
{
	struct waits *w = (struct waits *)((char *)watch - offsetof(struct waits, watch));
	struct blocked *b;
	bool left = false;

	pthread_mutex_lock(&w->mutex);
	TAILQ_FOREACH(b, &w->all, all)
	{
		if (b->passed && !goes_on(b))
			break;
		left |= b->passed;
	}
	if (b)
		take_off_locked(w, b);
	left |= b != NULL;
	watch->on = left;
	pthread_mutex_unlock(&w->mutex);
	if (b)
		fuse_reply_err(b->req, EINTR);
	free(b);
	return left;
}

void waits_init(struct waits *w)
{
	pthread_mutex_init(&w->mutex, NULL);
	TAILQ_INIT(&w->all);
	w->watch = (struct signals_watch) { .look = look };
}

void waits_release(struct waits *w)
{
	struct blocked *b;

	while ((b = TAILQ_FIRST(&w->all))) {
		take_off_locked(w, b);
		fuse_reply_err(b->req, ENOTCONN);
		free(b);
	}
	signals_watch_stop(&w->watch);
	pthread_mutex_destroy(&w->mutex);
}

void source_init(struct source *s, struct daemon *d)
{
	s->d = d;
	pthread_mutex_init(&s->mutex, NULL);
	pthread_cond_init(&s->filled, NULL);
	TAILQ_INIT(&s->reads);
	s->giving = NULL;
	s->again = NULL;
	s->undo = NULL;
	s->poll = NULL;
	s->handed_on = s->filling = false;
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
	pthread_cond_destroy(&s->filled);
	pthread_mutex_destroy(&s->mutex);
	s->free(s);
}

/* A signal has come: does the read wait on? */
static bool passes_locked(struct waits *w, struct blocked *b)
{
	b->passed = goes_on(b) && signals_watch_locked(&w->watch);
	return b->passed;
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
	if (b && passes_locked(w, b))
		b = NULL;
	if (b)
		take_off_locked(w, b);
	pthread_mutex_unlock(&w->mutex);
	if (!b)
		return;
	fuse_reply_err(req, EINTR);
	free(b);
}

/* Puts a read on the lists, unless a signal has come for it: then it is answered. Those that wait
 * once are first. */
static void block(struct blocked *b, bool first)
{
	struct waits *w = &b->source->d->waits;
	bool signal;

	pthread_mutex_lock(&w->mutex);
	signal = fuse_req_interrupted(b->req) && !passes_locked(w, b);
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

/* The oldest read, which stays on the lists. false: there is none. */
static bool first_waiting(struct source *s, struct blocked *ret)
{
	struct waits *w = &s->d->waits;
	struct blocked *b;

	pthread_mutex_lock(&w->mutex);
	b = TAILQ_FIRST(&s->reads);
	if (b)
		*ret = *b;
	pthread_mutex_unlock(&w->mutex);
	return b;
}

/* That read, if no signal has ended it. */
static struct blocked *unblock(struct source *s, uint64_t unique)
{
	struct waits *w = &s->d->waits;
	struct blocked *b;

	pthread_mutex_lock(&w->mutex);
	TAILQ_FOREACH(b, &s->reads, mine)
	if (b->unique == unique)
		break;
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

/* True: some of them begin before what was last given. */
static bool ask_late_again(struct source *s)
{
	struct waits *w = &s->d->waits;
	uint64_t current = keep_current();
	struct blocked *b;
	bool back = false;

	pthread_mutex_lock(&w->mutex);
	TAILQ_FOREACH(b, &s->reads, mine)
	{
		if (!b->late)
			continue;
		b->late = false;
		keep_request(b->unique);
		back |= s->again(s);
	}
	pthread_mutex_unlock(&w->mutex);
	keep_request(current);
	return back;
}

void source_fill_begin(struct source *s)
{
	while (s->filling)
		pthread_cond_wait(&s->filled, &s->mutex);
	s->filling = true;
	pthread_mutex_unlock(&s->mutex);
}

void source_fill_end(struct source *s)
{
	pthread_mutex_lock(&s->mutex);
	s->filling = false;
	pthread_cond_broadcast(&s->filled);
}

/* With the mutex, which is let go of while this waits. */
static ssize_t fill_locked(struct source *s, void *p, size_t n, bool nowait)
{
	ssize_t r;

	assert(!s->filling);
	if (!p || nowait)
		return p ? s->fill(s, p, fill_max(n), true) : -ENOMEM;
	do { /* anew, where one that came meanwhile begins before what this gave */
		source_fill_begin(s);
		r = s->fill(s, p, fill_max(n), false);
		source_fill_end(s);
	} while (ask_late_again(s));
	return r;
}

/* Can what waits be done by a worker? Local files don't wait for the bucket. */
static bool is_for_worker(ssize_t r)
{
	return r == -EINPROGRESS || r == -EREMOTE;
}

static void run_in_worker(struct task *t, ssize_t r, void (*step)(struct task *t))
{
	if (r == -EREMOTE)
		task_run_far(t, step);
	else
		task_run(t, step);
}

static void hand_on_locked(struct source *s, ssize_t r)
{
	struct task *t = s->handed_on ? NULL : task_new(s->d, NULL, NULL, 0);

	if (!t)
		return;
	s->handed_on = true;
	source_get(s);
	t->to_fh = (uintptr_t)s;
	run_in_worker(t, r, run_waiting);
}

static void send_locked(struct source *s, struct blocked *b, const void *p, ssize_t r)
{
	if (r > 0 && s->giving)
		s->giving(s, b->unique);
	reply_read(b->req, p, r);
	free(b);
}

/* With the source's mutex held. Whatever needs the disk goes on in a worker. */
static void answer_locked(struct source *s)
{
	void *p = loop_buffer();
	struct blocked *b;
	ssize_t r;

	while ((b = unblock_first(s))) {
		r = fill_locked(s, p, b->n, true);
		if ((r == -EAGAIN && !b->once) || is_for_worker(r)) {
			block(b, true);
			if (r != -EAGAIN)
				hand_on_locked(s, r);
			break;
		}
		send_locked(s, b, p, r);
	}
}

/* The same in a worker, which waits for the disk or the bucket, and a read can end meanwhile. */
static void answer_waiting_locked(struct source *s)
{
	void *p = loop_buffer();
	struct blocked copy, *b;
	ssize_t r;

	while (first_waiting(s, &copy)) {
		r = fill_locked(s, p, copy.n, false);
		if (r == -EAGAIN && !copy.once)
			break;
		assert(!is_for_worker(r));
		b = unblock(s, copy.unique);
		if (b)
			send_locked(s, b, p, r);
		else if (s->undo)
			s->undo(s);
	}
}

/* Called with the mutex, which it lets go of: answers who waits, as long as there is news. */
static void serve(struct source *s, bool nowait)
{
	do {
		struct fuse_pollhandle *told = NULL;

		if (s->filling) { /* by somebody who will look when that is done */
			atomic_store(&s->woken, true);
			pthread_mutex_unlock(&s->mutex);
			return;
		}
		atomic_store(&s->woken, false);
		if (nowait)
			answer_locked(s);
		else
			answer_waiting_locked(s);
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

/* Waits to be answered, until a signal comes. */
static void wait_for_news(struct source *s, const struct blocked *b)
{
	struct blocked *mine = malloc(sizeof(*mine));

	if (!mine) {
		fuse_reply_err(b->req, ENOMEM);
		return;
	}
	*mine = *b;
	fuse_req_interrupt_func(b->req, interrupted, &s->d->waits);
	block(mine, b->once);
}

/* Who is in a fill() that waits finds it on the list when that is over. */
static void wait_in_turn(struct source *s, struct blocked *b)
{
	if (!s->again) {
		wait_for_news(s, b);
		return;
	}
	pthread_mutex_lock(&s->mutex);
	b->late = s->filling;
	if (!b->late)
		s->again(s);
	wait_for_news(s, b);
	source_unlock(s);
}

/* A read that takes what there is. What another thread is being given is not there; but a read that
 * was about to be answered by another daemon comes before it. */
static void read_once(struct source *s, struct blocked *b)
{
	void *p = loop_buffer();
	ssize_t r;

	pthread_mutex_lock(&s->mutex);
	if (s->filling && s->again && b->unique & UNIQUE_RESENT) {
		b->once = b->late = true;
		wait_for_news(s, b);
		source_unlock(s);
		return;
	}
	if (s->again && !s->filling)
		s->again(s);
	r = s->filling ? -EAGAIN : fill_locked(s, p, b->n, true);
	if (r > 0 && s->giving)
		s->giving(s, b->unique);
	if (is_for_worker(r)) {
		b->once = true;
		wait_for_news(s, b);
		hand_on_locked(s, r);
	} else {
		reply_read(b->req, p, r);
	}
	source_unlock(s);
}

void source_read(struct source *s, fuse_req_t req, size_t n, int flags)
{
	struct blocked b = { .source = s, .req = req, .unique = keep_current(), .n = n };

	/* The reply may let the file be closed by another loop. */
	source_get(s);
	if (flags & O_NONBLOCK) {
		read_once(s, &b);
	} else {
		wait_in_turn(s, &b);
		source_wake(s);
	}
	source_put(s);
}

void source_poll(struct source *s, fuse_req_t req, struct fuse_pollhandle *ph)
{
	bool ready;

	pthread_mutex_lock(&s->mutex);
	/* What another thread is being given is not there; who asks is told when that is over. */
	ready = !s->filling && s->ready(s);
	if (s->filling)
		atomic_store(&s->woken, true);
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
