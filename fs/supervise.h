/* supervise.h - a mount whose daemon may die: `-o supervise=on`.
 *
 *	ropefs ── fork ──▶ supervisor ── fork ──▶ worker: serves, and dies of a signal
 *	                    │  has /dev/fuse, the          │
 *	                    │  lock of the store, keep.h   ▼
 *	                    ├──── fork, exec ─▶ worker: opens the store (recovery), is given the
 *	                    │                   kernel's INIT again, asks for the requests that the
 *	                    │                   one before had taken and not answered, serves on
 *	                    ▼
 *	          ends with the worker that ends by itself; when none comes up, closes the
 *	          connection, so that nobody waits for ever
 *
 * The next worker is the program as it is installed by then. It may be of a version that can't go
 * on with what this one leaves (keep_stamp()): a restart is refused before anything is ended, and
 * after a death the supervisor's own program goes on, as when the installed one does not come up.
 *
 * Programs see a pause. What they were told is done was in the log's file before they were told
 * (ropefs_opts.push), so a kill loses none of it; each request is done once (keep.h). Inodes
 * that the kernel knows stay until it forgets them (inodes_inherit(), keep_orphans).
 *
 * The supervisor serves nothing and has no file on the mount: while no worker is there, one
 * would make whoever looks at it wait. */
#ifndef ROPEFS_FS_SUPERVISE_H
#define ROPEFS_FS_SUPERVISE_H

#include "fs/options.h"

/* What a worker has from its supervisor; descriptors. */
struct seat {
	int supervisor; /* a socket */
	int connection, lock; /* -1: the first worker makes them */
	int keep;
	bool took_over;
};

/* Becomes the supervisor; returns the exit status. argv and first_word (the place of STORE in
 * it) are the command line's; ready_fd as in main.c. first() runs the first worker. */
int supervise(const struct options *o, char **argv, int first_word, int ready_fd,
	      int (*first)(const struct options *o, const struct seat *seat));
/* Is this process a worker that a supervisor started to take over? *ret is filled then. */
bool supervise_seat(struct seat *ret);

/* Is this process the question of a supervisor, whether this program can take over (the command
 * line is "ropefs --takes-over STAMP")? *ret: the exit status. */
bool supervise_asked(int argc, char **argv, int *ret);

/* For workers. The mount answers: connection and lock are -1 where the supervisor has them. */
void seat_ready(const struct seat *seat, int connection, int lock);
/* It is going to end by itself: however long it takes now, that is no hang. */
void seat_ending(const struct seat *seat);

enum { SUPERVISE_AGAIN = 75 }; /* exit status of a worker that makes place for another */

#endif
