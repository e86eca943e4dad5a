#include "fs/handles.h"

#include "fs/map.h"

#include <pthread.h>
#include <sys/random.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct map handles; /* guarded by mutex, as is next */
static uint64_t next;

/* Numbers of another process are as good as never met again: it begins elsewhere in 2^61. */
static uint64_t next_locked(void)
{
	if (!next && getrandom(&next, sizeof(next), 0) != sizeof(next))
		next = 1;
	next = (next + 1) & (HANDLE - 1);
	return next | HANDLE;
}

uint64_t handle_new(void *p)
{
	uint64_t number;

	pthread_mutex_lock(&mutex);
	number = next_locked();
	if (map_put(&handles, number, p) < 0)
		number = 0;
	pthread_mutex_unlock(&mutex);
	return number;
}

int handle_put(uint64_t number, void *p)
{
	int r;

	pthread_mutex_lock(&mutex);
	r = map_put(&handles, number, p);
	pthread_mutex_unlock(&mutex);
	return r;
}

void *handle_get(uint64_t number)
{
	void *p;

	pthread_mutex_lock(&mutex);
	p = map_get(&handles, number);
	pthread_mutex_unlock(&mutex);
	return p;
}

void *handle_del(uint64_t number)
{
	void *p;

	pthread_mutex_lock(&mutex);
	p = map_del(&handles, number);
	pthread_mutex_unlock(&mutex);
	return p;
}
