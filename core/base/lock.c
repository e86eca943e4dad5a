#include "core/base/lock.h"

#include <errno.h>
#include <time.h>

#include "core/base/util.h"

#ifndef NDEBUG
#define HELD_MAX 8
static _Thread_local const struct lock *held[HELD_MAX];
static _Thread_local unsigned n_held;

static void note_taken(const struct lock *l)
{
	assert(n_held < HELD_MAX);
	assert(n_held == 0 || held[n_held - 1]->rank < l->rank);
	held[n_held++] = l;
}

static void note_dropped(const struct lock *l)
{
	unsigned i = n_held;

	while (i > 0 && held[i - 1] != l)
		i--;
	assert(i > 0);
	for (; i < n_held; i++)
		held[i - 1] = held[i];
	n_held--;
}

bool lock_held(const struct lock *l)
{
	for (unsigned i = 0; i < n_held; i++)
		if (held[i] == l)
			return true;
	return false;
}
#else
static void note_taken(const struct lock *l)
{
	(void)l;
}

static void note_dropped(const struct lock *l)
{
	(void)l;
}

bool lock_held(const struct lock *l)
{
	(void)l;
	return true;
}
#endif

void lock_init(struct lock *l, enum lock_rank rank)
{
	int r = pthread_mutex_init(&l->mutex, NULL);

	assert(r == 0);
	(void)r;
	l->rank = rank;
}

void lock_release(struct lock *l)
{
	pthread_mutex_destroy(&l->mutex);
}

void lock_take(struct lock *l)
{
	int r = pthread_mutex_lock(&l->mutex);

	assert(r == 0);
	(void)r;
	note_taken(l);
}

void lock_drop(struct lock *l)
{
	note_dropped(l);
	pthread_mutex_unlock(&l->mutex);
}

void lock_cond_init(pthread_cond_t *c)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(c, &attr);
	pthread_condattr_destroy(&attr);
}

int lock_wait(struct lock *l, pthread_cond_t *c, uint64_t until_ns)
{
	struct timespec ts = {
		.tv_sec = (time_t)(until_ns / 1000000000u),
		.tv_nsec = (long)(until_ns % 1000000000u),
	};
	int r;

	note_dropped(l);
	r = until_ns ? pthread_cond_timedwait(c, &l->mutex, &ts)
		     : pthread_cond_wait(c, &l->mutex);
	note_taken(l);
	return -r;
}
