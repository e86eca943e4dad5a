/* waits.h - reads that wait for what is yet to come. No thread waits with them: they are
 * answered by whoever brings the news, or by the signal that interrupts them.
 *
 * Invariants
 * 1. A blocked read is on its source's list and on the list of all, or it is being answered
 *    by the one who took it off both.
 * 2. What fill() has given is sent to the read it was taken for. An interrupt only finds reads that
 *    are on the lists; as one is that a worker waits for, what it was given then is taken back
 *    (undo()).
 * 3. Who brings news does not wait for a source: `woken` says so to whoever has its mutex, who
 *    looks once more when letting go (source_unlock()).
 * 4. Nobody holds the mutex while the disk or the bucket is waited for, so loops may take it. Who
 *    waits for them has said so (`filling`), and what fill() works on is his; whoever else comes
 *    leaves it alone, and is dealt with when he is done.
 * Locks: a source's mutex, then waits.mutex; libfuse's lock of a request, then waits.mutex. */
#ifndef ROPEFS_FS_WAITS_H
#define ROPEFS_FS_WAITS_H

#include "fs/signals.h"

#include <fuse_lowlevel.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/queue.h>

struct daemon;
struct blocked;

struct waits {
	pthread_mutex_t mutex;
	TAILQ_HEAD(, blocked) all; /* guarded by mutex, as are the lists of the sources */
	struct signals_watch watch;
};

/* An open file whose reads may wait; part of the file's own structure. */
struct source {
	struct daemon *d;
	/* Up to n bytes for the next read: their count, 0: it has ended, -EAGAIN: there is
	 * nothing yet, or an error. nowait: -EINPROGRESS: not without the disk, -EREMOTE: not
	 * without the bucket. */
	ssize_t (*fill)(struct source *s, void *p, size_t n, bool nowait);
	bool (*ready)(struct source *s); /* would fill() give something? */
	void (*free)(struct source *s); /* frees the whole file */
	/* What fill() gave is about to be sent to the request; and a READ has come: is it one that
	 * was about to be answered when another daemon died (kept.h)? True: it was, and what
	 * fill() gives next is what that one would have got. Either may be NULL. */
	void (*giving)(struct source *s, uint64_t unique);
	bool (*again)(struct source *s);
	/* What fill() has given since giving() goes nowhere. May be NULL where none waits. */
	void (*undo)(struct source *s);

	/* Held over all of these but free(), and fill() that waits. */
	pthread_mutex_t mutex;
	bool filling; /* a worker is in a fill() that waits */
	pthread_cond_t filled; /* with the mutex: none is any more */
	TAILQ_HEAD(, blocked) reads; /* oldest first */
	bool handed_on; /* a worker is about to ask fill() with the disk */
	struct fuse_pollhandle *poll; /* who polls wants to be told; NULL: nobody */
	atomic_bool woken; /* there was news since fill() or ready() was last asked */
	atomic_uint refs;
};

void waits_init(struct waits *w);
/* The session has ended: lets go of all that still wait. */
void waits_release(struct waits *w);

/* fill, ready and free are the caller's to set. Comes with one reference. */
void source_init(struct source *s, struct daemon *d);
void source_get(struct source *s);
void source_put(struct source *s);
/* Lets go of the mutex, and answers those for whom news came meanwhile. The caller has a
 * reference. */
void source_unlock(struct source *s);
/* Around a fill() that waits, if need be for another: lets go of the mutex, and takes it again. */
void source_fill_begin(struct source *s);
void source_fill_end(struct source *s);
/* Answers a READ of at most n bytes, now or later; flags as of open(2). */
void source_read(struct source *s, fuse_req_t req, size_t n, int flags);
void source_poll(struct source *s, fuse_req_t req, struct fuse_pollhandle *ph);
/* There may be something new: answers those who wait, and waits for nobody. Any thread that holds
 * no lock. */
void source_wake(struct source *s);

#endif
