/* signals.h - which signals end a request whose program waits for the answer.
 *
 * A program is not ready for EINTR of a file: who is stopped and let go on again did not mean the
 * read. The kernel tells of the first signal only, and then waits for the answer whatever else
 * comes. So a thread looks after those whose signal passed, for one that comes later. */
#ifndef ROPEFS_FS_SIGNALS_H
#define ROPEFS_FS_SIGNALS_H

#include <pthread.h>
#include <stdbool.h>

enum signals_wait {
	SIGNALS_ANSWER, /* for the bucket: handlers of what is no end can wait, too */
	SIGNALS_NEWS, /* for as long as it takes: who has a handler is let run it, and who is
			 stopped at its terminal is let stop */
};
/* Does the thread go on as if nothing had been, after all signals that it has not taken yet? */
bool signals_pass(pid_t thread, enum signals_wait wait);

/* Looks after the requests of one list, whose mutex guards it. */
struct signals_watch {
	/* Ends one request whose program does not go on after all, if there is one. Takes the
	 * mutex, and sets `on` under it: may there be more? Returns that. */
	bool (*look)(struct signals_watch *w);
	bool on;
	bool has_thread;
	pthread_t thread;
};
/* With the mutex: a signal has passed. False: there is no thread to look after the request. */
bool signals_watch_locked(struct signals_watch *w);
/* Nothing is on the list any more. */
void signals_watch_stop(struct signals_watch *w);

#endif
