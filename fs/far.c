#include "fs/far.h"

#include "fs/daemon.h"
#include "fs/notify.h"

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

static void interrupted(fuse_req_t req, void *arg)
{
	struct daemon *d = daemon_of(req);
	struct task *t;
	uint64_t from = 0;
	fuse_ino_t ino = 0;

	(void)arg;
	pthread_mutex_lock(&mutex);
	TAILQ_FOREACH(t, &waiting, far)
	if (t->req == req)
		break;
	if (t)
		take_off_locked(t);
	if (t && t->gone)
		t->gone(t);
	if (t && t->landed) {
		ino = t->ino;
		from = t->off < t->to_off ? t->off : t->to_off;
	}
	pthread_mutex_unlock(&mutex);
	if (t)
		fuse_reply_err(req, EINTR);
	if (ino)
		pages_drop(d, ino, from);
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

void far_run(struct task *t, void (*step)(struct task *t))
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	t->asked_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
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
