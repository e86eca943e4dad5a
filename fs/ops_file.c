/* ops_file.c - requests on the bytes of files of the store.
 *
 * Reads and writes try without waiting in the request loop; what would wait goes to a worker
 * with a copy of the request. The kernel sends one write of an inode at a time, so order
 * needs no care. */
#include "fs/keep.h"
#include "fs/far.h"
#include "fs/notify.h"
#include "fs/ops.h"
#include "fs/reply.h"
#include "fs/snap.h"
#include "fs/wire.h"
#include "fs/view_range.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OPEN_TO_RUN = 0x20 }; /* the kernel's __FMODE_EXEC, of execve(2) */

void file_opened(fuse_req_t req, struct fuse_file_info *fi, bool is_queue)
{
	int mode = fi->flags & O_ACCMODE;

	/* There is a fourth mode, which may neither read nor write. */
	fi->fh = mode == O_WRONLY || mode == O_RDWR ? FH_WRITE : 0;
	if (mode == O_RDONLY || mode == O_RDWR)
		fi->fh |= FH_READ;
	if (fi->flags & O_DSYNC)
		fi->fh |= FH_SYNC;
	/* All go through the page cache. Direct writes of an appender would be cheaper, but the
	 * kernel grows the file only after their reply: a page that is read meanwhile ends in
	 * zeros, and those are then taken for what was appended. Dropping such pages before the
	 * reply is not enough: splice(2) and sendfile(2) use them even of a file that is open for
	 * direct reads, and look for the file's end after they have the page. */
	fi->keep_cache = 1;
	fi->noflush = 1;
	if (is_queue)
		queue_file_opened(req, fi);
}

void copies_note(struct daemon *d, pid_t pid, fuse_ino_t ino, struct fuse_file_info *fi)
{
	if (!(fi->fh & FH_WRITE))
		copies_reads(&d->copies, pid, ino);
	else if (copies_writes(&d->copies, pid, ino))
		fi->fh |= FH_COPY;
}

/* As privs_drop(). */
static int open_truncate(struct daemon *d, fuse_ino_t ino, fuse_req_t req)
{
	int privs, r;

	/* The kernel says so, too, but only after this. */
	if (inodes_runs(&d->inodes, ino))
		return -ETXTBSY;
	privs = privs_drop_by(req, ino);
	if (privs < 0)
		return privs;
	view_edit_lock(d, ino, NULL);
	r = ropefs_truncate(d->fs, ino, 0);
	view_edit_unlock(d, ino, NULL, r >= 0);
	return r < 0 ? r : privs;
}

/* What is counted while the file is open, the next daemon must count, too. */
static void note_held(fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct kept k;

	if (!(fi->fh & (FH_RUN | FH_HELD)))
		return;
	kept_new(&k, NULL, 0);
	fi->fh |= kept_number(&k) << FH_BITS;
	kept_opened(&k, KEPT_HELD, ino, fi);
}

/* false: the file's row is gone, so a RELEASE before this one had its effect already. */
static bool forget_held(const struct fuse_file_info *fi)
{
	struct kept k = kept_numbered(fi->fh >> FH_BITS, fi->fh);

	if (!k.row)
		return !(fi->fh >> FH_BITS);
	kept_free(&k);
	return true;
}

void file_counted(struct daemon *d, fuse_ino_t ino, const struct fuse_file_info *fi,
		  int change)
{
	if (fi->fh & FH_WRITE &&
	    inodes_writers(&d->inodes, ino, change, fi->fh & FH_READ))
		attrs_drop(d, ino);
}

static void opened_back(struct daemon *d, fuse_ino_t ino, const struct fuse_file_info *fi)
{
	file_counted(d, ino, fi, -1);
	if (!(fi->fh & (FH_RUN | FH_HELD)) || !forget_held(fi))
		return;
	if (fi->fh & FH_RUN)
		inodes_ran(&d->inodes, ino);
	snap_released(d, ino, fi);
}

int file_restore(struct daemon *d, const struct kept_file *k)
{
	int r = 0;

	if (k->fh & FH_HELD)
		r = ropefs_hold(d->fs, k->node);
	if (k->fh & FH_RUN && r >= 0) {
		r = inodes_inherit(&d->inodes, k->node);
		if (r >= 0)
			r = inodes_run(&d->inodes, k->node);
	}
	return r;
}

static void open_now(struct daemon *d, fuse_req_t req, fuse_ino_t ino,
		     struct fuse_file_info *fi)
{
	struct ropefs_attr a;
	int r, privs = 0;

	file_opened(req, fi, false);
	r = snap_opened(d, ino, fi);
	/* For reading only, too: the kernel has checked that the caller may. */
	if (r >= 0 && fi->flags & O_TRUNC)
		r = privs = open_truncate(d, ino, req);
	else if (r >= 0 && fi->flags & OPEN_TO_RUN) {
		r = inodes_run(&d->inodes, ino);
		fi->fh |= FH_RUN;
	}
	if (r < 0) {
		reply_err(req, r);
		return;
	}
	if (ropefs_getattr(d->fs, ino, &a) >= 0 && a.is_queue)
		queue_file_opened(req, fi);
	if (privs > 0)
		attrs_drop(d, ino);
	copies_note(d, fuse_req_ctx(req)->pid, ino, fi);
	note_held(ino, fi);
	file_counted(d, ino, fi, 1);
	if (fuse_reply_open(req, fi) < 0)
		opened_back(d, ino, fi);
}

static void open_settled(struct task *t)
{
	if (!inodes_wait_settled(&t->d->inodes, t->ino)) {
		task_run(t, open_settled);
		return;
	}
	open_now(t->d, t->req, t->ino, &t->fi);
	task_free(t);
}

void file_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct daemon *d = daemon_of(req);
	int for_size = sizes_opens(req, ino, fi->flags);
	struct task *t;

	if (for_size < 0) {
		reply_err(req, for_size);
		return;
	}
	if (for_size) {
		file_opened(req, fi, false);
		fi->fh = FH_SIZE;
		fuse_reply_open(req, fi);
		return;
	}
	if (!inodes_is_pending(&d->inodes, ino)) {
		open_now(d, req, ino, fi);
		return;
	}
	t = task_new(d, req, NULL, 0);
	if (t) {
		t->ino = ino;
		t->fi = *fi;
		task_run(t, open_settled);
	}
}

static pthread_key_t buffer_key;
static pthread_once_t buffer_once = PTHREAD_ONCE_INIT;

static void make_buffer_key(void)
{
	pthread_key_create(&buffer_key, free);
}

void *loop_buffer(void)
{
	void *p;

	pthread_once(&buffer_once, make_buffer_key);
	p = pthread_getspecific(buffer_key);
	if (!p) {
		p = malloc(ROPEFS_WRITE_MAX);
		pthread_setspecific(buffer_key, p);
	}
	return p;
}

void reply_read(fuse_req_t req, const void *p, int64_t r)
{
	if (r < 0) {
		reply_err(req, (int)r);
		return;
	}
	count(&daemon_of(req)->counters.read_bytes, (uint64_t)r);
	fuse_reply_buf(req, p, (size_t)r);
}

static void read_waiting(struct task *t)
{
	bool big = t->n > ROPEFS_WRITE_MAX;
	void *p = big ? malloc(t->n) : loop_buffer();

	t->r = p ? ropefs_read(t->d->fs, t->ino, t->off, p, t->n, 0) : -ENOMEM;
	reply_read(t->req, p, t->r);
	if (big)
		free(p);
	task_free(t);
}

void file_read_far(struct task *t)
{
	bool big = t->n > ROPEFS_WRITE_MAX;
	void *p;

	if (!far_begin(t))
		return;
	p = big ? malloc(t->n) : loop_buffer();
	ropefs_asked_at(t->asked_ns);
	t->r = p ? ropefs_read(t->d->fs, t->ino, t->off, p, t->n, 0) : -ENOMEM;
	ropefs_asked_at(0);
	if (far_end(t)) {
		reply_read(t->req, p, t->r);
		task_free(t);
	}
	if (big)
		free(p);
}

void file_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
	       struct fuse_file_info *fi)
{
	struct daemon *d = daemon_of(req);
	void *p = loop_buffer();
	ssize_t r = -EAGAIN;
	struct task *t;

	(void)fi;
	if (p && size <= ROPEFS_WRITE_MAX)
		r = ropefs_read(d->fs, ino, (uint64_t)off, p, size,
				ROPEFS_NOWAIT | ROPEFS_FAR);
	if (r != -EAGAIN && r != -EREMOTE) {
		reply_read(req, p, r);
		return;
	}
	t = task_new(d, req, NULL, 0);
	if (!t)
		return;
	t->ino = ino;
	t->off = (uint64_t)off;
	t->n = size;
	if (r == -EREMOTE)
		far_run(t, file_read_far);
	else
		task_run(t, read_waiting);
}

/* What the kernel has cached may be wrong after an append when an edit had moved the end
 * without its knowing: it put the bytes where it thought the end to be. */
static void written(struct daemon *d, fuse_req_t req, fuse_ino_t ino, ssize_t n,
		    uint64_t asked, uint64_t at, bool privs)
{
	if (n < 0) {
		reply_err(req, (int)n);
		return;
	}
	count(&d->counters.written_bytes, (uint64_t)n);
	if (privs)
		attrs_drop(d, ino);
	fuse_reply_write(req, (size_t)n);
	/* Only now: the kernel holds the pages of this write until we reply. */
	if (at != asked)
		pages_drop(d, ino, at < asked ? at : asked);
}

/* As task_sync(), by the loop that is here, which lets another one take requests. */
static void sync_here(struct task *t, void (*done)(void *arg, int r))
{
	struct ropefs *fs = t->d->fs;

	if (!ropefs_sync_join(fs, done, t))
		return;
	loop_hand_over();
	ropefs_sync_lead(fs);
}

void write_answered(struct daemon *d, fuse_ino_t ino)
{
	if (!ahead_wrote(&d->ahead, ino) || !ropefs_sync_ahead(d->fs))
		return;
	loop_hand_over();
	ropefs_sync_lead(d->fs);
}

/* Not even a kill ends what waits for an answer: so while the bucket is away a signal does. To be
 * called before done() can be. */
static void sync_far(struct task *t)
{
	t->is_far = t->d->syncs_far;
	if (t->is_far)
		far_wait(t);
}

/* t->n bytes went to t->to_off, and are durable if r says so. */
static void write_synced(void *arg, int r)
{
	struct task *t = arg;

	if (t->is_far && !far_end(t))
		return;
	written(t->d, t->req, t->ino, r < 0 ? r : (ssize_t)t->n, t->off, t->to_off,
		t->privs);
	task_free(t);
}

struct writing {
	fuse_ino_t ino;
	uint64_t off;
	const void *p;
	size_t n;
	unsigned flags; /* of ropefs_write() */
	const struct fuse_file_info *fi;
};

static ssize_t write_now(struct daemon *d, const struct writing *w, uint64_t *ret_at)
{
	bool may_share = w->fi->fh & FH_COPY && !(w->flags & ROPEFS_APPEND) &&
			 w->n >= COPY_BYTES_MIN && w->n <= ROPEFS_WRITE_MAX;
	uint64_t src = may_share ? copies_source(&d->copies, w->ino) : 0;
	bool shared = false;
	ssize_t n;

	keep_arm();
	if (!src)
		return ropefs_write(d->fs, w->ino, w->off, w->p, w->n, w->flags, ret_at);
	n = ropefs_write_like(d->fs, (struct ropefs_range) { w->ino, w->off, w->n }, w->p,
			      w->flags, (struct ropefs_range) { src, w->off, w->n },
			      &shared);
	if (n < 0)
		return n;
	copies_found(&d->copies, w->ino, shared);
	if (shared)
		count(&d->counters.shared_bytes, (uint64_t)n);
	*ret_at = w->off;
	return n;
}

/* The bytes of a write with O_DSYNC are in the file, whatever comes of the sync. */
static void write_far(struct task *t)
{
	if (t->privs && t->d->syncs_far)
		attrs_drop(t->d, t->ino);
	t->landed = t->to_off != t->off;
	sync_far(t);
}

static void write_waiting(struct task *t)
{
	const struct writing w = {
		t->ino, t->off, t->data, t->n, t->flags & ROPEFS_APPEND, &t->fi
	};
	ssize_t n = write_now(t->d, &w, &t->to_off);

	if (n > 0 && t->fi.flags & O_DSYNC) {
		write_far(t);
		ropefs_sync_async(t->d->fs, write_synced, t);
	} else {
		write_synced(t, n < 0 ? (int)n : 0);
	}
}

void file_write(fuse_req_t req, fuse_ino_t ino, const char *p, size_t n, off_t off,
		struct fuse_file_info *fi)
{
	struct daemon *d = daemon_of(req);
	/* A page written back from a map goes where it is from. */
	bool append = fi->flags & O_APPEND && !fi->writepage;
	unsigned flags = append ? ROPEFS_APPEND : 0;
	uint64_t at = (uint64_t)off;
	ssize_t done = -EAGAIN;
	struct task *t;
	int privs;

	/* By a map nothing is cleared, as anywhere. */
	privs = fi->writepage ? 0 : privs_drop_by(req, ino);
	if (privs < 0) {
		reply_err(req, privs);
		return;
	}
	if (fi->fh & FH_QUEUE) {
		queue_file_write(req, ino, p, n, off, fi);
		return;
	}
	if (!d->sync) {
		const struct writing w = { ino, (uint64_t)off,	       p,
					   n,	flags | ROPEFS_NOWAIT, fi };

		done = write_now(d, &w, &at);
	}
	if (done != -EAGAIN && (done <= 0 || !(fi->flags & O_DSYNC))) {
		written(d, req, ino, done, (uint64_t)off, at, privs);
		write_answered(d, ino);
		return;
	}
	t = task_new(d, req, done < 0 ? p : NULL, done < 0 ? n : 0);
	if (!t)
		return;
	t->ino = ino;
	t->off = (uint64_t)off;
	t->to_off = at;
	t->n = n;
	t->flags = flags;
	t->fi = *fi;
	t->privs = privs;
	if (done < 0) {
		task_run_held(t, write_waiting);
		return;
	}
	write_far(t);
	sync_here(t, write_synced);
}

void file_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	if (fi->fh & FH_QUEUE)
		queue_file_flush(req, ino, fi);
	else
		fuse_reply_err(req, 0);
}

void file_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	opened_back(daemon_of(req), ino, fi);
	if (fi->fh & FH_QUEUE)
		queue_file_release(req, fi);
	else
		fuse_reply_err(req, 0);
}

static void synced(void *arg, int r)
{
	struct task *t = arg;

	if (t->is_far && !far_end(t))
		return;
	t->r = r;
	task_reply_err(t);
}

void task_sync(struct task *t)
{
	sync_far(t);
	ropefs_sync_async(t->d->fs, synced, t);
}

static void sync_waiting(struct task *t)
{
	sync_far(t);
	sync_here(t, synced);
}

void file_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct task *t;

	(void)datasync;
	ahead_synced(&daemon_of(req)->ahead, ino);
	if (fi->fh & FH_QUEUE && queue_file_fsync(req, ino, fi))
		return;
	t = task_new(daemon_of(req), req, NULL, 0);
	if (t)
		sync_waiting(t);
}

void dir_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct task *t = task_new(daemon_of(req), req, NULL, 0);

	(void)ino;
	(void)datasync;
	(void)fi;
	if (t)
		sync_waiting(t);
}

/* Pages that a map has changed in the hole that the answer is about: the kernel has them written
 * back before other filesystems look for holes, but not for FUSE, and cp would leave them out. */
static void write_back_hole(struct task *t, int r, uint64_t at)
{
	if (t->flags == SEEK_HOLE && r >= 0)
		range_drop(t->d, t->ino, at, 1);
	else if (t->flags == SEEK_DATA && r == -ENXIO)
		range_drop(t->d, t->ino, t->off, INT64_MAX - t->off);
	else if (t->flags == SEEK_DATA && r >= 0 && at > t->off)
		range_drop(t->d, t->ino, t->off, at - t->off);
}

static void seek_mapped(struct task *t)
{
	uint64_t at = 0, before;
	int was, r = ropefs_seek(t->d->fs, t->ino, t->off, (int)t->flags, &at);

	do {
		was = r;
		before = at;
		write_back_hole(t, r, at);
		r = ropefs_seek(t->d->fs, t->ino, t->off, (int)t->flags, &at);
	} while (r != was || at != before);
	if (r < 0)
		reply_err(t->req, r);
	else
		fuse_reply_lseek(t->req, (off_t)at);
	task_free(t);
}

void file_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence,
		struct fuse_file_info *fi)
{
	struct daemon *d = daemon_of(req);
	struct task *t;
	uint64_t at;
	int r;

	(void)fi;
	if (inodes_may_be_mapped(&d->inodes, ino)) {
		t = task_new(d, req, NULL, 0);
		if (!t)
			return;
		t->ino = ino;
		t->off = (uint64_t)off;
		t->flags = (unsigned)whence;
		task_edit(t, ino, seek_mapped);
		return;
	}
	r = ropefs_seek(d->fs, ino, (uint64_t)off, whence, &at);
	if (r < 0)
		reply_err(req, r);
	else
		fuse_reply_lseek(req, (off_t)at);
}

/* Nothing can be set aside in a log, but what the disk has no room for now is refused. */
static int allocate(struct daemon *d, fuse_ino_t ino, uint64_t off, uint64_t n, bool grow)
{
	uint64_t end = off + n;
	struct ropefs_statfs space;
	struct ropefs_attr a;
	int r = ropefs_getattr(d->fs, ino, &a);

	if (r >= 0)
		r = ropefs_statfs(d->fs, &space);
	if (r < 0)
		return r;
	if (end > a.size && end - (off > a.size ? off : a.size) > space.free_bytes)
		return -ENOSPC;
	if (grow && end > a.size)
		return ropefs_truncate(d->fs, ino, end);
	return ropefs_setattr(d->fs, ino, &a, ROPEFS_SET_MTIME_NOW, NULL);
}

/* Within the file's size. Behind its end there is nothing to clear, but the time moves. */
static int clear_within(struct daemon *d, fuse_ino_t ino, uint64_t off, uint64_t n)
{
	struct ropefs_attr a;
	int r = ropefs_getattr(d->fs, ino, &a);

	if (r < 0)
		return r;
	if (off >= a.size)
		return ropefs_setattr(d->fs, ino, &a, ROPEFS_SET_MTIME_NOW, NULL);
	return ropefs_punch(d->fs, ino, off, n, true);
}

static int fallocate_now(struct daemon *d, fuse_ino_t ino, int mode, uint64_t off,
			 uint64_t n)
{
	/* The kernel drops its pages of the range by itself. */
	switch (mode) {
	case 0:
		return allocate(d, ino, off, n, true);
	case FALLOC_FL_KEEP_SIZE:
		return allocate(d, ino, off, n, false);
	case FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE:
	case FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE:
		return clear_within(d, ino, off, n);
	case FALLOC_FL_ZERO_RANGE:
		return ropefs_punch(d->fs, ino, off, n, false);
	default:
		return -EOPNOTSUPP;
	}
}

static void fallocate_waiting(struct task *t)
{
	t->r = fallocate_now(t->d, t->ino, (int)t->flags, t->off, t->n);
	if (t->r >= 0 && (t->flags & ~(unsigned)FALLOC_FL_KEEP_SIZE) == 0)
		inodes_set_aside(&t->d->inodes, t->ino, t->n);
	if (t->privs)
		attrs_drop(t->d, t->ino);
	if (t->r >= 0 && t->fi.fh & FH_SYNC)
		task_sync(t);
	else
		task_reply_err(t);
}

void file_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t n,
		    struct fuse_file_info *fi)
{
	struct daemon *d = daemon_of(req);
	struct task *t;
	int privs;

	privs = privs_drop_by(req, ino);
	if (privs < 0) {
		reply_err(req, privs);
		return;
	}
	t = task_new(d, req, NULL, 0);
	if (!t)
		return;
	t->privs = privs;
	t->ino = ino;
	t->fi = *fi;
	t->flags = (unsigned)mode;
	t->off = (uint64_t)off;
	t->n = (uint64_t)n;
	task_run_held(t, fallocate_waiting);
}

/* The file of the store behind one side of a copy, and where in it; -EOPNOTSUPP makes the
 * kernel copy by reading and writing. */
static int copy_side(struct daemon *d, fuse_ino_t ino, uint64_t fh, bool write,
		     struct ropefs_range *range)
{
	const struct view_kind *kind;

	range->ino = ino;
	if (ino < DOT_FIRST)
		return 0;
	kind = ino < VIEW_FIRST ? NULL : view_kind_of(d, ino);
	return kind && kind->copy_side ? kind->copy_side(fh, write, range) : -EOPNOTSUPP;
}

static void copy_waiting(struct task *t)
{
	struct ropefs_range src = { .at = t->off, .n = t->n };
	struct ropefs_range dst = { .at = t->to_off, .n = t->n };

	t->r = copy_side(t->d, t->ino, t->fi.fh, false, &src);
	/* Into a queue the kernel writes: then it is cut into records. */
	if (t->r >= 0)
		t->r = t->to_ino < DOT_FIRST && t->to_fh & FH_QUEUE
			       ? -EOPNOTSUPP
			       : copy_side(t->d, t->to_ino, t->to_fh, true, &dst);
	if (t->r >= 0 && src.n)
		t->r = ropefs_copy(t->d->fs, dst, src);
	if (t->r < 0) {
		task_reply_err(t);
		return;
	}
	if (t->to_ino >= VIEW_FIRST)
		view_kind_of(t->d, t->to_ino)->copied(t->to_fh);
	count(&t->d->counters.written_bytes, (uint64_t)t->r);
	/* The kernel drops its pages of the range by itself. */
	if (t->privs)
		attrs_drop(t->d, t->to_ino);
	fuse_reply_write(t->req, (size_t)t->r);
	task_free(t);
}

void any_copy_file_range(fuse_req_t req, fuse_ino_t ino, off_t off,
			 struct fuse_file_info *fi, fuse_ino_t to_ino, off_t to_off,
			 struct fuse_file_info *to_fi, size_t n, int flags)
{
	struct daemon *d = daemon_of(req);
	struct task *t;
	int privs = 0;

	if (to_ino < DOT_FIRST)
		privs = privs_drop_by(req, to_ino);
	if (privs < 0 || flags) {
		reply_err(req, privs < 0 ? privs : -EINVAL);
		return;
	}
	t = task_new(d, req, NULL, 0);
	if (!t)
		return;
	t->privs = privs;
	t->ino = ino;
	t->fi = *fi;
	t->off = (uint64_t)off;
	t->to_ino = to_ino;
	t->to_fh = to_fi->fh;
	t->to_off = (uint64_t)to_off;
	t->n = n < 0xfffff000u ? n : 0xfffff000u; /* the reply counts in 32 bits */
	task_run_held(t, copy_waiting);
}
