#include "fs/snap.h"

#include "fs/keep.h"
#include "fs/ops.h"
#include "fs/reply.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	COOKIE_SHIFT = 8, /* a snapshot's cookie is its id with eight zeros behind it */
	CLOSE_TRIES = 30,
	CLOSE_TRY_US = 10000,
};

/* As its directory now: who may enter and change that may enter and change this. */
static void folder_stat(const struct ropefs_attr *dir, struct stat *ret)
{
	attr_to_stat(dir, ret);
	ret->st_ino = dir->ino | ROPEFS_SNAPSHOT_BIT;
	ret->st_mode &= ~(mode_t)(S_ISUID | S_ISGID);
	ret->st_nlink = 2;
	ret->st_size = 0;
	ret->st_blocks = 0;
}

int snap_entry(struct daemon *d, fuse_ino_t dir, struct fuse_entry_param *ret)
{
	struct ropefs_attr a;
	int r = ropefs_getattr(d->fs, dir, &a);

	if (r < 0)
		return r;
	if (ropefs_in_snapshot(dir))
		return -EROFS;
	if (!S_ISDIR(a.mode) || !a.nlink || snap_is_folder(dir) ||
	    !snap_is_folder(dir | ROPEFS_SNAPSHOT_BIT))
		return -ENOENT;
	*ret = (struct fuse_entry_param) { .ino = dir | ROPEFS_SNAPSHOT_BIT,
					   .entry_timeout = d->cache_s };
	folder_stat(&a, &ret->attr);
	return 0;
}

int snap_opened(struct daemon *d, fuse_ino_t ino, struct fuse_file_info *fi)
{
	int r;

	if (!ropefs_in_snapshot(ino))
		return 0;
	if ((fi->flags & O_ACCMODE) != O_RDONLY || fi->flags & O_TRUNC)
		return -EROFS;
	r = ropefs_hold(d->fs, ino);
	if (r >= 0)
		fi->fh |= FH_HELD;
	return r;
}

void snap_released(struct daemon *d, fuse_ino_t ino, const struct fuse_file_info *fi)
{
	if (fi->fh & FH_HELD)
		ropefs_release(d->fs, ino, 1);
}

static void snap_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct ropefs_attr a;
	struct stat st;
	int r = ropefs_getattr(daemon_of(req)->fs, snap_dir_of(ino), &a);

	(void)fi;
	if (r < 0) {
		reply_err(req, r);
		return;
	}
	folder_stat(&a, &st);
	fuse_reply_attr(req, &st, 0);
}

static void snap_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param absent = { .entry_timeout = daemon_of(req)->cache_s };
	struct ropefs_attr a;
	int r = ropefs_snapshot_lookup(daemon_of(req)->fs, snap_dir_of(parent),
				       ropefs_name(name), &a);

	if (r == -ENOENT)
		fuse_reply_entry(req, &absent);
	else if (r < 0)
		reply_err(req, r);
	else
		reply_entry(req, &a);
}

/* The kernel has checked that the caller may write to the directory; a snapshot keeps what
 * others may want gone, so that is not enough. */
static int may_change(fuse_req_t req, fuse_ino_t folder)
{
	uid_t uid = fuse_req_ctx(req)->uid;
	struct ropefs_attr a;
	int r = ropefs_getattr(daemon_of(req)->fs, snap_dir_of(folder), &a);

	if (r < 0)
		return r;
	return uid == 0 || uid == a.uid ? 0 : -EPERM;
}

static void mkdir_waiting(struct task *t)
{
	struct ropefs_attr a;

	t->r = may_change(t->req, t->ino);
	keep_arm();
	if (t->r >= 0)
		t->r = ropefs_snapshot_create(t->d->fs, snap_dir_of(t->ino),
					      ropefs_name(t->data), &a);
	if (t->r < 0) {
		task_reply_err(t);
		return;
	}
	reply_entry(t->req, &a);
	task_free(t);
}

/* The kernel tells of a close only after close(2) has returned: who closes a file and drops the
 * snapshot then is not to find it busy. */
static int drop_closed(struct task *t)
{
	struct ropefs_name name = ropefs_name(t->data);
	uint64_t folder = snap_dir_of(t->ino);
	int r;

	for (unsigned tries = CLOSE_TRIES; tries > 0; tries--) {
		r = ropefs_snapshot_drop(t->d->fs, folder, name);
		if (r >= 0 || ropefs_error_errno(r) != EBUSY)
			break;
		usleep(CLOSE_TRY_US);
	}
	return r;
}

static void rmdir_waiting(struct task *t)
{
	t->r = may_change(t->req, t->ino);
	keep_arm();
	if (t->r >= 0)
		t->r = drop_closed(t);
	task_reply_err(t);
}

static void in_worker(fuse_req_t req, fuse_ino_t parent, const char *name,
		      void (*step)(struct task *t))
{
	struct task *t = task_new(daemon_of(req), req, name, strlen(name) + 1);

	if (!t)
		return;
	t->ino = parent;
	task_run_held(t, step);
}

static void snap_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	(void)mode;
	in_worker(req, parent, name, mkdir_waiting);
}

static void snap_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	in_worker(req, parent, name, rmdir_waiting);
}

uint64_t snap_dir_of(fuse_ino_t folder)
{
	return folder & ~ROPEFS_SNAPSHOT_BIT;
}

int snap_entries(struct daemon *d, fuse_ino_t folder, uint64_t after,
		 struct ropefs_entry *ret, struct ropefs_attr *attrs, unsigned max)
{
	struct ropefs_snapshot s;
	unsigned n = 0;
	int r = 0;

	after >>= COOKIE_SHIFT;
	while (n < max) {
		r = ropefs_snapshot_list(d->fs, snap_dir_of(folder), after, &s, 1);
		if (r <= 0)
			break;
		after = s.id;
		if (attrs && ropefs_getattr(d->fs, s.root, &attrs[n]) < 0)
			continue; /* dropped meanwhile */
		ret[n] = (struct ropefs_entry) {
			.ino = s.root,
			.cookie = (uint64_t)s.id << COOKIE_SHIFT,
			.type = DT_DIR,
			.name_len = s.name_len,
		};
		memcpy(ret[n].name, s.name, s.name_len + 1);
		n++;
	}
	return r < 0 ? r : (int)n;
}

const struct fuse_lowlevel_ops snap_ops = {
	.lookup = snap_lookup,
	.getattr = snap_getattr,
	.mkdir = snap_mkdir,
	.rmdir = snap_rmdir,
	.readdir = file_readdir,
	.readdirplus = file_readdirplus,
	.fsyncdir = dir_fsync,
};
