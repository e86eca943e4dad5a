/* held.h - changes while others wait: for memory, for room on the disk or in the bucket, or for
 * the log. A loop that waits takes no requests, and when all do the mount stands still.
 *
 * So a change that begins to wait in a loop lets another loop take requests; and as long as
 * anybody waits, requests that may have to wait for the same are processed by threads of their
 * own. What only looks is answered meanwhile.
 *
 * Invariant: one of the loops is free to take requests, whatever the disk and the bucket do. Of
 * the others one may lead a sync, one wait for an edit of the same file, one for room, and `few`
 * for memory or the log (LOOPS in mount.c). */
#ifndef ROPEFS_FS_HELD_H
#define ROPEFS_FS_HELD_H

#include "core/ropefs.h"
#include "fs/worker.h"

#include <stdatomic.h>

struct daemon;
struct task;
struct fuse_buf;

struct held {
	atomic_int waiting[ROPEFS_WAITS_KINDS];
	int few; /* so many that wait for the log may be loops */
	/* One thread for what frees room, as it must not wait for those that need some. */
	struct pool frees, needs;
};

/* few: see above. */
int held_start(struct held *h, int few);
void held_stop(struct held *h);
/* For ropefs_opts.waits; arg is the daemon. */
void held_waits(void *arg, enum ropefs_waits what, bool begins);
/* A request has come. True: one of these threads processes it (a copy of it). */
bool held_takes(struct daemon *d, const struct fuse_buf *buf);
/* step(t), a change that may have to wait long, will run in one of them. */
void task_run_held(struct task *t, void (*step)(struct task *t));

#endif
