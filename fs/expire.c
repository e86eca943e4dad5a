#include "fs/expire.h"

#include "fs/daemon.h"
#include "fs/notify.h"

#include <time.h>

enum { RETRY_MS = 3000 }; /* after an error */

static bool stopping(void *arg)
{
	struct expirer *e = &((struct daemon *)arg)->expirer;
	bool is;

	pthread_mutex_lock(&e->mutex);
	is = e->stopping;
	pthread_mutex_unlock(&e->mutex);
	return is;
}

static void removed(void *arg, uint64_t dir, uint64_t ino, struct ropefs_name name)
{
	struct daemon *d = arg;

	fuse_lowlevel_notify_inval_entry(d->session, dir, name.p, name.n);
	attrs_drop(d, dir);
	attrs_drop(d, ino);
}

static void sleep_ms(struct expirer *e, uint64_t ms)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += (time_t)(ms / 1000);
	until.tv_nsec += (long)(ms % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	pthread_mutex_lock(&e->mutex);
	if (!e->stopping)
		pthread_cond_timedwait(&e->wake, &e->mutex, &until);
	pthread_mutex_unlock(&e->mutex);
}

static void run(struct job *job)
{
	struct expirer *e = (struct expirer *)job;
	const struct ropefs_expire how = { removed, stopping, e->d };

	while (!stopping(e->d)) {
		uint64_t wait_ms = RETRY_MS;

		if (ropefs_expire(e->d->fs, &how, &wait_ms) < 0)
			wait_ms = RETRY_MS;
		sleep_ms(e, wait_ms);
	}
}

int expirer_start(struct daemon *d)
{
	struct expirer *e = &d->expirer;
	pthread_condattr_t attr;
	int r;

	pthread_mutex_init(&e->mutex, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&e->wake, &attr);
	pthread_condattr_destroy(&attr);
	e->stopping = false;
	e->d = d;
	e->job.run = run;
	r = pool_start(&e->thread, "ropefs-expire", 1);
	if (r >= 0)
		pool_push(&e->thread, &e->job);
	return r;
}

void expirer_stop(struct daemon *d)
{
	struct expirer *e = &d->expirer;

	if (!e->d)
		return;
	pthread_mutex_lock(&e->mutex);
	e->stopping = true;
	pthread_cond_signal(&e->wake);
	pthread_mutex_unlock(&e->mutex);
	pool_stop(&e->thread);
	pthread_mutex_destroy(&e->mutex);
	pthread_cond_destroy(&e->wake);
	e->d = NULL;
}
