#include "fs/far.h"

#include "fs/daemon.h"
#include "fs/notify.h"
#include "fs/signals.h"

#include <errno.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static TAILQ_HEAD(, task) waiting = TAILQ_HEAD_INITIALIZER(waiting);

static bool take_off_locked(struct task *t)
{
	bool listed = t->far_listed;

	if (listed)
		TAILQ_REMOVE(&waiting, t, far);
	t->far_listed = false;
	return listed;
}

static struct task *find_locked(fuse_req_t req)
{
	struct task *t;

	TAILQ_FOREACH(t, &waiting, far)
	if (t->req == req)
		break;
	return t;
}

/* The request is off the list, its task may go any moment. Lets go of the mutex. */
static void end_locked(struct task *t)
{
	struct daemon *d = t->d;
	fuse_req_t req = t->req;
	uint64_t from = 0;
	fuse_ino_t ino = 0;

	take_off_locked(t);
	if (t->gone)
		t->gone(t);
	if (t->landed) {
		ino = t->ino;
		from = t->off < t->to_off ? t->off : t->to_off;
	}
	pthread_mutex_unlock(&mutex);
	fuse_reply_err(req, EINTR);
	if (ino)
		pages_drop(d, ino, from);
}

/* One that does not go on after all. *ret_left: others might. */
static struct task *find_ended_locked(bool *ret_left)
{
	struct task *t;

	*ret_left = false;
	TAILQ_FOREACH(t, &waiting, far)
	{
		if (t->passed && !signals_pass(fuse_req_ctx(t->req)->pid, SIGNALS_ANSWER))
			break;
		*ret_left |= t->passed;
	}
	return t;
}

static bool look(struct signals_watch *w)
{
	struct task *t;
	bool left;

	pthread_mutex_lock(&mutex);
	t = find_ended_locked(&left);
	left |= t != NULL;
	w->on = left;
	if (t)
		end_locked(t);
	else
		pthread_mutex_unlock(&mutex);
	return left;
}

static struct signals_watch watch = { .look = look };

static void interrupted(fuse_req_t req, void *arg)
{
	bool passes = signals_pass(fuse_req_ctx(req)->pid, SIGNALS_ANSWER);
	struct task *t;

	(void)arg;
	pthread_mutex_lock(&mutex);
	t = find_locked(req);
	if (t)
		t->passed = passes && signals_watch_locked(&watch);
	if (t && !t->passed)
		end_locked(t);
	else
		pthread_mutex_unlock(&mutex);
}

void far_wait(struct task *t)
{
	pthread_mutex_lock(&mutex);
	TAILQ_INSERT_TAIL(&waiting, t, far);
	t->far_listed = true;
	pthread_mutex_unlock(&mutex);
	/* It is called right here when the signal has come already. */
	fuse_req_interrupt_func(t->req, interrupted, NULL);
}

static uint64_t mono_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void far_run(struct task *t, void (*step)(struct task *t))
{
	t->asked_ns = mono_ns();
	far_wait(t);
	task_run_far(t, step);
}

bool far_begin(struct task *t)
{
	bool listed;

	pthread_mutex_lock(&mutex);
	listed = t->far_listed;
	pthread_mutex_unlock(&mutex);
	if (!listed)
		task_free(t);
	return listed;
}

bool far_end(struct task *t)
{
	bool listed;

	pthread_mutex_lock(&mutex);
	listed = take_off_locked(t);
	pthread_mutex_unlock(&mutex);
	if (!listed)
		task_free(t);
	return listed;
}

bool far_step(struct task *t)
{
	if (t->is_far && !far_begin(t))
		return false;
	ropefs_stay_near(!t->is_far);
	ropefs_asked_at(t->is_far ? t->asked_ns : 0);
	return true;
}

enum far_next far_again(struct task *t, void (*step)(struct task *t))
{
	ropefs_stay_near(false);
	ropefs_asked_at(0);
	if (t->is_far)
		return far_end(t) ? FAR_ANSWER : FAR_ENDED;
	if (t->r != -EREMOTE)
		return FAR_ANSWER;
	t->is_far = true;
	far_run(t, step);
	return FAR_AGAIN;
}
