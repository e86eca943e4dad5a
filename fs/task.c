#include "fs/daemon.h"
#include "fs/keep.h"
#include "fs/reply.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct task *task_new(struct daemon *d, fuse_req_t req, const void *data, size_t n)
{
	struct task *t = malloc(sizeof(*t) + n);

	if (!t) {
		if (req)
			fuse_reply_err(req, ENOMEM);
		return NULL;
	}
	memset(t, 0, sizeof(*t));
	t->d = d;
	t->req = req;
	t->unique = req ? keep_current() : 0;
	if (data)
		memcpy(t->data, data, n);
	pthread_mutex_lock(&d->idle_mutex);
	d->tasks++;
	pthread_mutex_unlock(&d->idle_mutex);
	return t;
}

void task_free(struct task *t)
{
	struct daemon *d = t->d;

	free(t);
	pthread_mutex_lock(&d->idle_mutex);
	if (!--d->tasks)
		pthread_cond_broadcast(&d->idle);
	pthread_mutex_unlock(&d->idle_mutex);
}

static void run(struct job *job)
{
	struct task *t = (struct task *)job;

	keep_request(t->unique);
	t->step(t);
}

void task_run_in(struct task *t, struct pool *p, void (*step)(struct task *t))
{
	t->step = step;
	t->job.run = run;
	count(&t->d->counters.deferred, 1);
	pool_push(p, &t->job);
}

void task_run(struct task *t, void (*step)(struct task *t))
{
	task_run_in(t, &t->d->workers, step);
}

void task_run_far(struct task *t, void (*step)(struct task *t))
{
	task_run_in(t, &t->d->far, step);
}

void task_reply_err(struct task *t)
{
	reply_err(t->req, (int)t->r);
	task_free(t);
}

bool tasks_wait(struct daemon *d, unsigned until_s)
{
	struct timespec end;
	bool idle;
	int e = 0;

	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += until_s;
	pthread_mutex_lock(&d->idle_mutex);
	while (d->tasks && !e)
		e = pthread_cond_timedwait(&d->idle, &d->idle_mutex, &end);
	idle = !d->tasks;
	pthread_mutex_unlock(&d->idle_mutex);
	return idle;
}
