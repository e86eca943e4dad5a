/* daemon.h - one mount: the store, the session, and what its requests share.
 *
 * Threads: request loops, one at a time, take requests from the kernel; they never wait for a
 * reply of the kernel, so it can always reach the store. `workers` run what may wait for the
 * disk or for memory; `edits` run what changes files below the kernel's cache, and wait for it
 * to drop what it has (notify.h), `sizes` tells it their new size. A reply may thus come from
 * any thread. */
#ifndef ROPEFS_FS_DAEMON_H
#define ROPEFS_FS_DAEMON_H

#include "core/ropefs.h"
#include "fs/ahead.h"
#include "fs/awake.h"
#include "fs/events.h"
#include "fs/expire.h"
#include "fs/copies.h"
#include "fs/follow.h"
#include "fs/held.h"
#include "fs/inodes.h"
#include "fs/listings.h"
#include "fs/names.h"
#include "fs/queue_file.h"
#include "fs/sizes.h"
#include "fs/spin.h"
#include "fs/txn.h"
#include "fs/view.h"
#include "fs/waits.h"
#include "fs/worker.h"

#include <fuse_lowlevel.h>
#include <stdatomic.h>
#include <sys/queue.h>
#include <time.h>

#define CACHE_S 86400.0 /* only this daemon changes the tree */

/* X(request): what status and metrics count */
/* clang-format off */
#define OPS(X)                                                                           \
	X(lookup) X(forget) X(forget_multi) X(getattr) X(setattr) X(readlink) X(mknod)     \
	X(mkdir) X(unlink) X(rmdir) X(symlink) X(rename) X(link) X(open) X(read) X(write)  \
	X(flush) X(release) X(fsync) X(opendir) X(readdir) X(readdirplus)                  \
	X(fsyncdir) X(statfs) X(setxattr) X(getxattr) X(listxattr) X(removexattr)          \
	X(create) X(fallocate) X(lseek) X(copy_file_range) X(ioctl) X(poll)
/* clang-format on */

enum op {
#define X(name) OP_##name,
	OPS(X)
#undef X
		OP_COUNT
};

/* Node ids by owner. Files of the store have the numbers below; those in snapshots, and the
 * folders .snap (snap.h), from ROPEFS_SNAPSHOT_BIT on. */
#define DOT_FIRST  ((uint64_t)1 << 61) /* .ropefs/ */
#define VIEW_FIRST ((uint64_t)1 << 62)

/* fuse_file_info.fh of a file of the store: bits, so that nothing has to be rebuilt. The next
 * daemon is given them back: KEEP_VERSION (keep.h) rises when one gets another meaning. */
enum {
	FH_WRITE = 1, /* open for writing */
	FH_SIZE = 2, /* of sizes.h: truncation only tells the size */
	FH_SYNC = 4, /* O_SYNC: what changes the file's bytes waits for the log */
	FH_RUN = 8, /* counted by inodes_run() */
	FH_READ = 16, /* open for reading */
	FH_HELD = 32, /* in a snapshot, held by snap_opened() */
	FH_COPY = 64, /* perhaps a copy of another file (copies.h) */
	FH_QUEUE = 128, /* of a queue, open for writing; above: a number (queue_file.h) */
	FH_BITS = 8, /* above, of FH_RUN and FH_HELD: its row (kept_number()) */
};

enum { EDIT_THREADS = 4 };

struct counters {
	atomic_ullong ops[OP_COUNT];
	atomic_ullong read_bytes, written_bytes;
	atomic_ullong deferred; /* requests handed to the workers */
	atomic_ullong invalidations;
	atomic_ullong sizes_told;
	atomic_ullong shared_bytes; /* of written_bytes: found in another file */
};

struct daemon {
	struct ropefs *fs;
	struct fuse_session *session;
	const char *mountpoint;
	struct inodes inodes;
	struct views views;
	struct pool workers;
	struct pool
		far; /* reads that ask the bucket: what is local doesn't wait for them */
	struct held held; /* changes that wait */
	struct pool edits[EDIT_THREADS]; /* one thread each; by inode */
	struct sizes sizes;
	struct waits waits;
	struct copies copies;
	struct listings listings;
	struct events events;
	struct txns txns;
	struct expirer expirer;
	struct follows follows;
	struct names names;
	struct queue_files queues;
	struct counters counters;
	struct awake awake;
	struct spin spin;
	struct ahead ahead;
	bool asleep; /* no core's time for quick answers (awake=off) */

	bool views_on;
	double cache_s; /* that the kernel keeps names and attributes */
	bool of_bucket; /* files change below the kernel (bucket.h) */
	atomic_bool attached; /* the session answers, and may be told things */
	bool sync; /* each change waits for the log */
	bool syncs_far; /* fsync waits for the bucket (durability=remote) */
	time_t started;
	/* Written while INIT is answered, before any other request. */
	uint64_t init_offered; /* flags of the kernel */
	atomic_ullong init_unique; /* of the INIT to be answered; 0: none */
	atomic_bool killpriv; /* clearing set-id bits on writes is ours to do */
	bool acl; /* the kernel obeys ACLs */
	bool setxattr_ext; /* SETXATTR has its longer form (adapt.h) */
	/* Of a supervised mount (supervise.h). */
	bool took_over; /* from a worker that ended: the kernel knows what we don't */
	atomic_bool init_read; /* then */
	int queue; /* our own queue of requests; -1: the connection's */

	pthread_mutex_t idle_mutex;
	pthread_cond_t idle;
	uint64_t tasks; /* replies that will come later; guarded by idle_mutex */
};

static inline struct daemon *daemon_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

static inline void count(atomic_ullong *c, uint64_t n)
{
	atomic_fetch_add_explicit(c, n, memory_order_relaxed);
}

static inline uint64_t counted(const atomic_ullong *c)
{
	return atomic_load_explicit(c, memory_order_relaxed);
}

/* A request that is answered later. Steps hand it from thread to thread by task_run() and
 * task_edit(); the last one replies and frees it. */
struct task {
	struct job job;
	struct daemon *d;
	fuse_req_t req;
	void (*step)(struct task *t);
	int64_t r; /* result so far */
	uint64_t unique; /* of the request (keep.h) */
	TAILQ_ENTRY(task) far; /* far.c's, while far_listed */
	void (*gone)(struct task *t); /* or NULL: who waited for it does not any more */
	uint64_t asked_ns; /* far_run() */
	bool far_listed;
	bool passed; /* a signal came that ends nothing (far.c) */
	bool is_far; /* a sync that waits for the bucket, or a step that may (far_step()) */
	bool landed; /* a write that is done but for its sync, elsewhere than the kernel thinks */

	fuse_ino_t ino;
	uint64_t off, n;
	unsigned flags;
	struct fuse_file_info fi;
	bool has_fi;
	bool written_back; /* what maps had changed (txn.c) */
	bool privs; /* privs_drop() cleared some: attributes are dropped too */
	struct view_found found; /* of a view, before its edit */
	/* a second file, of copy_file_range */
	fuse_ino_t to_ino;
	uint64_t to_off, to_fh;
	char data[];
};

/* NULL: out of memory, and the request (if any) has been answered. */
struct task *task_new(struct daemon *d, fuse_req_t req, const void *data, size_t n);
void task_free(struct task *t);
/* step(t) will run in a thread of the pool. */
void task_run_in(struct task *t, struct pool *p, void (*step)(struct task *t));
/* step(t) will run in a worker. It may wait for what is local, but not long. */
void task_run(struct task *t, void (*step)(struct task *t));
/* The same in threads that may wait for the bucket. */
void task_run_far(struct task *t, void (*step)(struct task *t));
void task_reply_err(struct task *t); /* replies t->r and frees t */
/* Waits until no task is left, at most until_s seconds. */
bool tasks_wait(struct daemon *d, unsigned until_s);

#endif
