/* lock.h - mutexes that know their rank. docs/LOCKING.md lists the ranks; debug builds
 * assert that a thread takes them in rising order. */
#ifndef ROPEFS_BASE_LOCK_H
#define ROPEFS_BASE_LOCK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

enum lock_rank {
	RANK_CHECKPOINT = 1, /* store: one checkpoint or collection at a time */
	RANK_ENGINE, /* store: inodes, ropes, catalog, nodes, hot bytes */
	RANK_WAL, /* wal: buffers and positions */
	RANK_PACK, /* pack: open packs and the chunk cache */
	RANK_REMOTE, /* remote: what the uploader tells and is asked */
	RANK_OBJECT, /* tier: bytes fetched ahead */
	RANK_IO, /* io: inside an io */
};

struct lock {
	pthread_mutex_t mutex;
	enum lock_rank rank;
};

void lock_init(struct lock *l, enum lock_rank rank);
void lock_release(struct lock *l);
void lock_take(struct lock *l);
void lock_drop(struct lock *l);
/* True when this thread holds l; always true in builds without debug checks. */
bool lock_held(const struct lock *l);
/* Waits on c; ns is an absolute CLOCK_MONOTONIC time, or 0 for no limit.
 * Returns 0, or -ETIMEDOUT. c must come from lock_cond_init(). */
int lock_wait(struct lock *l, pthread_cond_t *c, uint64_t until_ns);
void lock_cond_init(pthread_cond_t *c);

#endif
