/* worker.h - threads for what must not run in a request loop: what may wait for the disk,
 * for memory or for the kernel. Jobs start in the order they were pushed. */
#ifndef ROPEFS_FS_WORKER_H
#define ROPEFS_FS_WORKER_H

#include <pthread.h>
#include <stdbool.h>

struct job {
	struct job *next;
	void (*run)(struct job *job); /* owns the job */
};

enum { POOL_THREADS_MAX = 8 };

struct pool {
	const char *name;
	pthread_mutex_t mutex;
	pthread_cond_t more;
	struct job *head, **tail; /* guarded by mutex, as is stopping */
	bool stopping, started;
	pthread_t threads[POOL_THREADS_MAX];
	unsigned n_threads;
};

/* name: what the system calls the threads, at most 15 bytes; stays the caller's. */
int pool_start(struct pool *p, const char *name, unsigned threads);
/* Any thread, at any time until pool_stop() is called. */
void pool_push(struct pool *p, struct job *job);
/* Runs what is queued, then ends the threads. A pool that never started is fine. */
void pool_stop(struct pool *p);

#endif
