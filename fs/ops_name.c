/* ops_name.c - requests that find, make, move and remove names. */
#include "fs/adapt.h"
#include "fs/dotdir.h"
#include "fs/keep.h"
#include "fs/ops.h"
#include "fs/reply.h"
#include "fs/snap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static bool is_dot(fuse_ino_t parent, const char *name)
{
	return parent == ROPEFS_ROOT_INO && strcmp(name, DOT_NAME) == 0;
}

int name_is_theirs(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	uint32_t uid = fuse_req_ctx(req)->uid;

	if (is_dot(parent, name))
		return -EPERM;
	return view_shows(daemon_of(req), parent, name, uid) ? -EPERM : 0;
}

int name_is_free(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	if (strcmp(name, SNAP_NAME) == 0)
		return -EPERM;
	return name_is_theirs(req, parent, name);
}

/* "." and ".." come for file handles (open_by_handle_at, NFS): what has that number, and what
 * folder it is in. 0: any other name. */
static int lookup_by_number(struct daemon *d, fuse_ino_t ino, const char *name,
			    struct ropefs_attr *ret)
{
	uint64_t up = ino;
	int r = 0;

	if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0)
		return 0;
	if (name[1])
		r = ropefs_parent(d->fs, ino, &up);
	if (r >= 0)
		r = ropefs_getattr(d->fs, up, ret);
	return r < 0 ? r : 1;
}

void file_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct daemon *d = daemon_of(req);
	struct fuse_entry_param e = { .entry_timeout = d->cache_s };
	struct ropefs_attr a;
	int r;

	if (is_dot(parent, name)) {
		dot_entry(d, &e);
		fuse_reply_entry(req, &e);
		return;
	}
	r = lookup_by_number(d, parent, name, &a);
	if (r == 0)
		r = ropefs_lookup(d->fs, parent, ropefs_name(name), &a);
	else if (r < 0) {
		reply_err(req, r);
		return;
	}
	if (r >= 0) {
		reply_entry(req, &a);
		return;
	}
	if (r == -ENOENT && strcmp(name, SNAP_NAME) == 0) {
		r = snap_entry(d, parent, &e);
		if (r >= 0) {
			fuse_reply_entry(req, &e);
			return;
		}
	}
	if (r == -ENOENT || r == -ENAMETOOLONG) {
		int found = view_lookup(d, parent, name, fuse_req_ctx(req)->uid, &e);

		if (found == 1) {
			if (fuse_reply_entry(req, &e) < 0)
				view_forget(d, e.ino, 1);
			return;
		}
		r = found < 0 ? found : r;
	}
	/* The kernel may remember that a name is absent, too, unless it could be a view. */
	if (r == -ENOENT && !view_like(d, name))
		fuse_reply_entry(req, &e);
	else
		reply_err(req, r);
}

/* Owner of a new file: the caller; in a set-gid directory the group is the directory's. */
static int new_owned(fuse_req_t req, fuse_ino_t parent, uint32_t mode,
		     struct ropefs_new *ret_what)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);
	struct ropefs_attr dir;
	int r;

	r = ropefs_getattr(daemon_of(req)->fs, parent, &dir);
	if (r < 0)
		return r;
	*ret_what = (struct ropefs_new) {
		.mode = mode, .uid = ctx->uid, .gid = ctx->gid, .umask = ctx->umask
	};
	if (dir.mode & S_ISGID) {
		ret_what->gid = dir.gid;
		if (S_ISDIR(mode))
			ret_what->mode |= S_ISGID;
	}
	return 0;
}

static int make(fuse_req_t req, fuse_ino_t parent, const char *name, uint32_t mode,
		uint64_t rdev, struct ropefs_attr *ret)
{
	struct daemon *d = daemon_of(req);
	struct ropefs_new what;
	int r;

	r = name_is_free(req, parent, name);
	if (r < 0)
		return r;
	r = new_owned(req, parent, mode, &what);
	if (r < 0)
		return r;
	what.rdev = rdev;
	keep_arm();
	return ropefs_create(d->fs, parent, ropefs_name(name), &what, ret);
}

static void reply_made(fuse_req_t req, int r, const struct ropefs_attr *a)
{
	if (r < 0)
		reply_err(req, r);
	else
		reply_entry(req, a);
}

void file_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
		dev_t dev)
{
	struct ropefs_attr a;
	int r;

	if (!(mode & S_IFMT))
		mode |= S_IFREG;
	r = make(req, parent, name, mode, dev, &a);
	reply_made(req, r, &a);
}

void file_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct ropefs_attr a;
	int r = make(req, parent, name, (mode & ~(mode_t)S_IFMT) | S_IFDIR, 0, &a);

	reply_made(req, r, &a);
}

void file_symlink(fuse_req_t req, const char *to, fuse_ino_t parent, const char *name)
{
	struct daemon *d = daemon_of(req);
	struct ropefs_new what;
	struct ropefs_attr a;
	int r;

	r = name_is_free(req, parent, name);
	if (r >= 0)
		r = new_owned(req, parent, S_IFLNK | 0777, &what);
	keep_arm();
	if (r >= 0)
		r = ropefs_symlink(d->fs, parent, ropefs_name(name), ropefs_name(to),
				   &what, &a);
	reply_made(req, r, &a);
}

void file_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
	struct daemon *d = daemon_of(req);
	struct ropefs_attr a;
	int r;

	r = name_is_free(req, parent, name);
	keep_arm();
	if (r >= 0)
		r = ropefs_link(d->fs, ino, parent, ropefs_name(name), &a);
	reply_made(req, r, &a);
}

/* After a takeover the kernel may know, and somebody have open, a file that loses a name now. */
static void inherit(struct daemon *d, fuse_ino_t parent, const char *name)
{
	struct ropefs_attr a;

	if (d->took_over && ropefs_lookup(d->fs, parent, ropefs_name(name), &a) >= 0)
		inodes_inherit(&d->inodes, a.ino);
}

void file_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct daemon *d = daemon_of(req);
	int r;

	inherit(d, parent, name);
	keep_arm();
	r = ropefs_unlink(d->fs, parent, ropefs_name(name));
	if ((r == -ENOENT || r == -ENAMETOOLONG) &&
	    view_shows(d, parent, name, fuse_req_ctx(req)->uid))
		view_unlink(req, parent, name);
	else
		reply_err(req, r);
}

void file_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct daemon *d = daemon_of(req);

	if (is_dot(parent, name)) {
		fuse_reply_err(req, EPERM);
		return;
	}
	inherit(d, parent, name);
	keep_arm();
	reply_err(req, ropefs_rmdir(d->fs, parent, ropefs_name(name)));
}

void file_rename(fuse_req_t req, fuse_ino_t from, const char *name, fuse_ino_t to,
		 const char *to_name, unsigned flags)
{
	struct daemon *d = daemon_of(req);

	if (name_is_theirs(req, from, name) < 0 || name_is_free(req, to, to_name) < 0) {
		fuse_reply_err(req, EPERM);
		return;
	}
	inherit(d, to, to_name);
	keep_arm();
	reply_err(req, ropefs_rename(d->fs, from, ropefs_name(name), to,
				     ropefs_name(to_name), flags));
}

static void reply_created(fuse_req_t req, const struct ropefs_attr *a,
			  struct fuse_file_info *fi)
{
	struct daemon *d = daemon_of(req);
	struct fuse_entry_param e;
	int r = entry_fill(d, a, &e);

	if (r < 0) {
		reply_err(req, r);
		return;
	}
	file_opened(req, fi, a->is_queue);
	copies_note(d, fuse_req_ctx(req)->pid, a->ino, fi);
	file_counted(d, a->ino, fi, 1);
	if (fuse_reply_create(req, &e, fi) < 0) {
		file_counted(d, a->ino, fi, -1);
		inodes_put(&d->inodes, a->ino, 1);
	}
}

/* O_TMPFILE: the kernel's lookup holds the file, and a link may name it later. */
static void create_unnamed(fuse_req_t req, fuse_ino_t parent, mode_t mode,
			   struct fuse_file_info *fi)
{
	struct daemon *d = daemon_of(req);
	struct ropefs_new what = { 0 };
	struct ropefs_attr a;
	int r;

	r = new_owned(req, parent, mode, &what);
	what.near = parent;
	if (r >= 0)
		r = ropefs_create_unnamed(d->fs, &what, &a);
	if (r < 0) {
		reply_err(req, r);
		return;
	}
	reply_created(req, &a, fi);
	ropefs_release(d->fs, a.ino, 1);
}

void file_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
		 struct fuse_file_info *fi)
{
	struct ropefs_attr a;
	int r;

	mode = (mode & ~(mode_t)S_IFMT) | S_IFREG;
	if (strcmp(name, ADAPT_UNNAMED) == 0) {
		create_unnamed(req, parent, mode, fi);
		return;
	}
	r = make(req, parent, name, mode, 0, &a);
	/* The name became a file or a view since the kernel looked: it looks again. */
	if ((r == -EEXIST && !(fi->flags & O_EXCL)) || r == -EPERM)
		r = -ESTALE;
	if (r < 0)
		reply_err(req, r);
	else
		reply_created(req, &a, fi);
}

void file_readlink(fuse_req_t req, fuse_ino_t ino)
{
	struct daemon *d = daemon_of(req);
	char *target;
	int r = ropefs_readlink(d->fs, ino, &target);

	if (r < 0) {
		reply_err(req, r);
		return;
	}
	fuse_reply_readlink(req, target);
	free(target);
}
