#include "fs/worker.h"

#include <assert.h>

static void *work(void *arg)
{
	struct pool *p = arg;

	pthread_setname_np(pthread_self(), p->name);
	pthread_mutex_lock(&p->mutex);
	for (;;) {
		struct job *job = p->head;

		if (!job && p->stopping)
			break;
		if (!job) {
			pthread_cond_wait(&p->more, &p->mutex);
			continue;
		}
		p->head = job->next;
		if (!p->head)
			p->tail = &p->head;
		pthread_mutex_unlock(&p->mutex);
		job->run(job);
		pthread_mutex_lock(&p->mutex);
	}
	pthread_mutex_unlock(&p->mutex);
	return NULL;
}

int pool_start(struct pool *p, const char *name, unsigned threads)
{
	assert(threads > 0 && threads <= POOL_THREADS_MAX);
	*p = (struct pool) { .name = name };
	p->started = true;
	p->tail = &p->head;
	pthread_mutex_init(&p->mutex, NULL);
	pthread_cond_init(&p->more, NULL);
	while (p->n_threads < threads) {
		int e = pthread_create(&p->threads[p->n_threads], NULL, work, p);

		if (e) {
			pool_stop(p);
			return -e;
		}
		p->n_threads++;
	}
	return 0;
}

void pool_push(struct pool *p, struct job *job)
{
	job->next = NULL;
	pthread_mutex_lock(&p->mutex);
	*p->tail = job;
	p->tail = &job->next;
	pthread_cond_signal(&p->more);
	pthread_mutex_unlock(&p->mutex);
}

void pool_stop(struct pool *p)
{
	if (!p->started)
		return;
	pthread_mutex_lock(&p->mutex);
	p->stopping = true;
	pthread_cond_broadcast(&p->more);
	pthread_mutex_unlock(&p->mutex);
	for (unsigned i = 0; i < p->n_threads; i++)
		pthread_join(p->threads[i], NULL);
	pthread_cond_destroy(&p->more);
	pthread_mutex_destroy(&p->mutex);
	*p = (struct pool) { 0 };
}
