#include "fs/far.h"

#include "fs/daemon.h"
#include "fs/notify.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

enum { LOOK_US = 200000 };

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

/* What a program goes on after as if nothing had been. */
static const int passing[] = { SIGCHLD, SIGCONT, SIGIO,	 SIGPROF,   SIGSTOP, SIGTSTP,
			       SIGTTIN, SIGTTOU, SIGURG, SIGVTALRM, SIGWINCH };

/* Do only such signals wait for the thread? One that dies has SIGKILL, whatever it dies of. */
static bool goes_on(pid_t thread)
{
	uint64_t set, pending = 0;
	char path[64], line[256];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)thread);
	f = thread > 0 ? fopen(path, "re") : NULL;
	if (!f)
		return false;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "SigPnd: %" SCNx64, &set) == 1 ||
		    sscanf(line, "ShdPnd: %" SCNx64, &set) == 1)
			pending |= set;
	fclose(f);
	for (size_t i = 0; i < sizeof(passing) / sizeof(passing[0]); i++)
		pending &= ~(UINT64_C(1) << (passing[i] - 1));
	return !pending;
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

static bool watched; /* there is a thread that looks after those with `passed` */

/* One that does not go on after all. *ret_left: others might. */
static struct task *find_ended_locked(bool *ret_left)
{
	struct task *t;

	*ret_left = false;
	TAILQ_FOREACH(t, &waiting, far)
	{
		if (t->passed && !goes_on(fuse_req_ctx(t->req)->pid))
			break;
		*ret_left |= t->passed;
	}
	return t;
}

static void *watch(void *arg)
{
	bool left = true;

	(void)arg;
	pthread_setname_np(pthread_self(), "ropefs-signals");
	while (left) {
		struct task *t;

		usleep(LOOK_US);
		pthread_mutex_lock(&mutex);
		t = find_ended_locked(&left);
		watched = left || t;
		left = watched;
		if (t)
			end_locked(t);
		else
			pthread_mutex_unlock(&mutex);
	}
	return NULL;
}

/* False: there is no thread to look after it. */
static bool pass_locked(struct task *t)
{
	pthread_t thread;

	if (!watched && pthread_create(&thread, NULL, watch, NULL) == 0) {
		pthread_detach(thread);
		watched = true;
	}
	t->passed = watched;
	return watched;
}

/* A program is not ready for EINTR of a file: who stops one and lets it go on, or who has timers
 * and children, does not mean the read. The kernel tells of the first signal only, so that we look
 * for those that come after one that passes. */
static void interrupted(fuse_req_t req, void *arg)
{
	bool passes = goes_on(fuse_req_ctx(req)->pid);
	struct task *t;

	(void)arg;
	pthread_mutex_lock(&mutex);
	t = find_locked(req);
	if (t && !(passes && pass_locked(t)))
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
