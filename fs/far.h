/* far.h - reads and syncs that may wait for the bucket: reads in threads of their own, and all
 * answered at once with EINTR when a signal comes for whoever waits, unless it is one after which
 * a program goes on (it was stopped, a child ended).
 *
 * Invariant: a request on the list is answered by the one who takes it off: its thread or the
 * signal. Locks: libfuse's lock of a request, then ours. */
#ifndef ROPEFS_FS_FAR_H
#define ROPEFS_FS_FAR_H

#include <stdbool.h>

struct task;

/* From now on until far_end() a signal answers the request. */
void far_wait(struct task *t);
/* step(t) will run in a thread that may wait long; it calls far_begin() first. */
void far_run(struct task *t, void (*step)(struct task *t));
/* False: a signal has come, the request was answered, and t is freed. */
bool far_begin(struct task *t);
/* The same when the result is there. True: the request is the caller's to answer. */
bool far_end(struct task *t);

/* Around what a step in a worker calls that may read bytes: by far_step() they are those that are
 * here. Where others are needed step(t) runs once more, in a thread that may wait for the bucket,
 * and a signal answers the request from then on. far_step() false: it did, and t is freed. */
bool far_step(struct task *t);
enum far_next {
	FAR_ANSWER, /* t->r is the result, the request is the caller's to answer */
	FAR_AGAIN, /* it is nothing; t is another thread's */
	FAR_ENDED, /* a signal has answered, t is freed */
};
enum far_next far_again(struct task *t, void (*step)(struct task *t));

#endif
