#include "fs/sizes.h"

#include "fs/daemon.h"
#include "fs/dotdir.h"
#include "fs/keep.h"
#include "fs/reply.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/close_range.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
	TELL_MS = 200,
	OPEN_MARK = O_NONBLOCK | O_SYNC, /* nobody else's, at least at this very time */
};

/* One size to tell; belongs to who waits for it and to the thread, the last one frees it. */
struct telling {
	struct job job;
	struct daemon *d;
	uint64_t ino;
	sem_t done;
	atomic_uint refs;
};

static void telling_put(struct telling *w)
{
	if (atomic_fetch_sub(&w->refs, 1) > 1)
		return;
	sem_destroy(&w->done);
	free(w);
}

/* System calls as they are: the thread sanitizer keeps one table of descriptors a process, and
 * would take a number of this thread's table for the same number of the others'. */
static int raw_open(int dir, const char *path, int flags)
{
	return (int)syscall(SYS_openat, dir, path, flags | O_CLOEXEC, 0);
}

static void raw_close(int fd)
{
	syscall(SYS_close, fd);
}

/* -1 where the mount can't be reached by its path (any more). */
static int open_root(const struct daemon *d)
{
	int fd = raw_open(AT_FDCWD, d->mountpoint, O_PATH | O_DIRECTORY);
	struct stat st;

	if (fd >= 0 && (fstat(fd, &st) < 0 || st.st_dev != d->sizes.dev)) {
		raw_close(fd);
		fd = -1;
	}
	return fd;
}

static void truncate_by_name(struct daemon *d, int root, const char *path)
{
	int fd = raw_open(root, path, O_WRONLY | OPEN_MARK | O_NOFOLLOW);

	if (fd < 0)
		return;
	count(&d->counters.sizes_told, syscall(SYS_ftruncate, fd, 0) == 0);
	raw_close(fd);
}

/* While the kernel has the name the file counts as used, and keeps its bytes even when it is
 * removed. Asked for once more, the name is not there. */
static void forget_name(int root, const char *path)
{
	struct stat st;

	fstatat(root, path, &st, AT_SYMLINK_NOFOLLOW);
}

static void tell(struct job *job)
{
	struct telling *w = (struct telling *)job;
	char path[64];
	int root;

	keep_wait_begin();
	root = open_root(w->d);

	snprintf(path, sizeof(path), DOT_NAME "/" SIZES_NAME "/%" PRIu64, w->ino);
	atomic_store(&w->d->sizes.ino, w->ino);
	if (root >= 0)
		truncate_by_name(w->d, root, path);
	atomic_store(&w->d->sizes.ino, 0);
	sem_post(&w->done);
	telling_put(w);
	if (root >= 0) {
		forget_name(root, path);
		raw_close(root);
	}
	keep_wait_end();
}

/* The thread's first job: a table of descriptors of its own, and the path's names looked up, so
 * that later none of the directories' locks is needed for it. */
static void settle(struct job *job)
{
	struct telling *w = (struct telling *)job;
	struct stat st;
	int root;

	atomic_store(&w->d->sizes.tid, gettid());
	keep_wait_begin();
	if (close_range(0, ~0u, CLOSE_RANGE_UNSHARE) == 0) {
		root = open_root(w->d);
		w->d->sizes.works =
			root >= 0 && fstatat(root, DOT_NAME "/" SIZES_NAME, &st, 0) == 0;
		if (root >= 0)
			raw_close(root);
	}
	keep_wait_end();
	sem_post(&w->done);
	telling_put(w);
}

static struct telling *telling_new(struct daemon *d, uint64_t ino,
				   void (*run)(struct job *job))
{
	struct telling *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->job.run = run;
	w->d = d;
	w->ino = ino;
	atomic_init(&w->refs, 2);
	sem_init(&w->done, 0, 0);
	return w;
}

void sizes_start(struct daemon *d, dev_t dev)
{
	struct telling *w;

	d->sizes.dev = dev;
	if (pool_start(&d->sizes.thread, "ropefs-size", 1) < 0)
		return;
	w = telling_new(d, 0, settle);
	if (!w)
		return;
	pool_push(&d->sizes.thread, &w->job);
	while (sem_wait(&w->done) < 0)
		;
	telling_put(w);
}

void sizes_stop(struct daemon *d)
{
	pool_stop(&d->sizes.thread);
}

void sizes_tell(struct daemon *d, uint64_t ino)
{
	struct timespec until;
	struct telling *w = d->sizes.works ? telling_new(d, ino, tell) : NULL;

	if (!w)
		return;
	pool_push(&d->sizes.thread, &w->job);
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += TELL_MS * 1000000L;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	while (sem_timedwait(&w->done, &until) < 0 && errno == EINTR)
		;
	telling_put(w);
}

void sizes_lookup(fuse_req_t req, const char *name)
{
	struct daemon *d = daemon_of(req);
	uint64_t ino = atomic_load(&d->sizes.ino);
	struct fuse_entry_param e;
	struct ropefs_attr a;
	int r = -ENOENT;

	if (ino && strtoull(name, NULL, 10) == ino)
		r = attrs_now(d, ino, &a);
	if (r >= 0)
		r = S_ISREG(a.mode) ? entry_fill(d, &a, &e) : -ENOENT;
	if (r < 0) {
		reply_err(req, r);
		return;
	}
	e.entry_timeout = e.attr_timeout = 0;
	if (fuse_reply_entry(req, &e) < 0)
		inodes_put(&d->inodes, ino, 1);
}

bool sizes_asks(fuse_req_t req)
{
	int tid = atomic_load(&daemon_of(req)->sizes.tid);

	/* 0 is also what the kernel gives for who is outside of our pid namespace. */
	return tid && fuse_req_ctx(req)->pid == tid;
}

int sizes_opens(fuse_req_t req, uint64_t ino, int flags)
{
	struct daemon *d = daemon_of(req);

	if ((flags & (O_ACCMODE | OPEN_MARK)) != (O_WRONLY | OPEN_MARK) ||
	    atomic_load(&d->sizes.ino) != ino)
		return 0;
	return sizes_asks(req) ? 1 : -EPERM;
}
