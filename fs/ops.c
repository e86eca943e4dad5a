#include "fs/ops.h"

#include "fs/again.h"
#include "fs/dotdir.h"
#include "fs/handles.h"
#include "fs/snap.h"
#include "fs/wire.h"

#include <errno.h>
#include <poll.h>

static const struct fuse_lowlevel_ops file_ops = {
	.lookup = file_lookup,
	.getattr = file_getattr,
	.setattr = file_setattr,
	.readlink = file_readlink,
	.mknod = file_mknod,
	.mkdir = file_mkdir,
	.unlink = file_unlink,
	.rmdir = file_rmdir,
	.symlink = file_symlink,
	.create = file_create,
	.open = file_open,
	.read = file_read,
	.write = file_write,
	.flush = file_flush,
	.release = file_release,
	.fsync = file_fsync,
	.readdir = file_readdir,
	.readdirplus = file_readdirplus,
	.fsyncdir = dir_fsync,
	.setxattr = file_setxattr,
	.getxattr = file_getxattr,
	.listxattr = file_listxattr,
	.removexattr = file_removexattr,
	.lseek = file_lseek,
	.fallocate = file_fallocate,
	.ioctl = file_ioctl,
};

static const struct fuse_lowlevel_ops *owner_of(fuse_ino_t ino)
{
	if (ino < DOT_FIRST)
		return snap_is_folder(ino) ? &snap_ops : &file_ops;
	return ino < VIEW_FIRST ? &dot_ops : &view_ops;
}

/* Counts the request and calls its owner's function; where that has none, replies else_. */
#define HAND_ON(op, else_, node, ...)                                                    \
	do {                                                                             \
		const struct fuse_lowlevel_ops *o_ = owner_of(node);                     \
		count(&daemon_of(req)->counters.ops[OP_##op], 1);                        \
		if (o_->op)                                                              \
			o_->op(req, node, __VA_ARGS__);                                  \
		else                                                                     \
			fuse_reply_err(req, else_);                                      \
	} while (0)

/* The kernel has numbers where ours are pointers (handles.h). False: it is a number of before,
 * and the request has been answered. */
static bool find_file(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
	void *file;

	if (!fi || node < DOT_FIRST || !(fi->fh & HANDLE))
		return true;
	file = handle_get(fi->fh);
	if (!file) {
		fuse_reply_err(req, ESTALE);
		return false;
	}
	fi->fh = (uintptr_t)file;
	return true;
}

/* The same for the last request on it. */
static bool take_file(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
	void *file;

	if (node < DOT_FIRST || !(fi->fh & HANDLE))
		return true;
	file = handle_del(fi->fh);
	if (!file) {
		fuse_reply_err(req, 0);
		return false;
	}
	fi->fh = (uintptr_t)file;
	return true;
}

#define HAND_ON_FILE(op, else_, node, ...)                                               \
	do {                                                                             \
		if (find_file(req, node, fi))                                            \
			HAND_ON(op, else_, node, __VA_ARGS__);                           \
	} while (0)

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	HAND_ON(lookup, ENOENT, parent, name);
}

static void forget(struct daemon *d, fuse_ino_t ino, uint64_t times)
{
	if (ino >= VIEW_FIRST)
		view_forget(d, ino, times);
	else if (ino < DOT_FIRST)
		inodes_put(&d->inodes, ino, times);
}

static void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t times)
{
	struct daemon *d = daemon_of(req);

	count(&d->counters.ops[OP_forget], 1);
	forget(d, ino, times);
	fuse_reply_none(req);
}

static void op_forget_multi(fuse_req_t req, size_t n, struct fuse_forget_data *forgets)
{
	struct daemon *d = daemon_of(req);

	count(&d->counters.ops[OP_forget_multi], 1);
	for (size_t i = 0; i < n; i++)
		forget(d, forgets[i].ino, forgets[i].nlookup);
	fuse_reply_none(req);
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	HAND_ON_FILE(getattr, EIO, ino, fi);
}

static void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int what,
		       struct fuse_file_info *fi)
{
	HAND_ON_FILE(setattr, EPERM, ino, st, what, fi);
}

static void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
	count(&daemon_of(req)->counters.ops[OP_readlink], 1);
	if (ino < DOT_FIRST)
		file_readlink(req, ino);
	else
		fuse_reply_err(req, EINVAL);
}

static void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
		     dev_t dev)
{
	if (!again_entry(req, parent, name))
		HAND_ON(mknod, EPERM, parent, name, mode, dev);
}

static void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	if (!again_entry(req, parent, name))
		HAND_ON(mkdir, EPERM, parent, name, mode);
}

static void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	if (!again_done(req))
		HAND_ON(unlink, EPERM, parent, name);
}

static void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	if (!again_done(req))
		HAND_ON(rmdir, EPERM, parent, name);
}

static void op_symlink(fuse_req_t req, const char *to, fuse_ino_t parent,
		       const char *name)
{
	count(&daemon_of(req)->counters.ops[OP_symlink], 1);
	if (again_entry(req, parent, name))
		return;
	if (parent < DOT_FIRST)
		file_symlink(req, to, parent, name);
	else
		fuse_reply_err(req, EPERM);
}

static void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t to,
		      const char *to_name, unsigned flags)
{
	count(&daemon_of(req)->counters.ops[OP_rename], 1);
	if (again_done(req))
		return;
	if (parent < DOT_FIRST && to < DOT_FIRST)
		file_rename(req, parent, name, to, to_name, flags);
	else
		fuse_reply_err(req, EPERM);
}

static void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
	count(&daemon_of(req)->counters.ops[OP_link], 1);
	if (again_entry(req, parent, name))
		return;
	if (ino < DOT_FIRST && parent < DOT_FIRST)
		file_link(req, ino, parent, name);
	else
		fuse_reply_err(req, EPERM);
}

static void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
		      struct fuse_file_info *fi)
{
	if (!again_create(req, parent, name, fi))
		HAND_ON(create, EPERM, parent, name, mode, fi);
}

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	if (!again_open(req, fi))
		HAND_ON(open, EPERM, ino, fi);
}

static void op_read(fuse_req_t req, fuse_ino_t ino, size_t n, off_t off,
		    struct fuse_file_info *fi)
{
	HAND_ON_FILE(read, EIO, ino, n, off, fi);
}

static void op_write(fuse_req_t req, fuse_ino_t ino, const char *p, size_t n, off_t off,
		     struct fuse_file_info *fi)
{
	if (!again_write(req, n))
		HAND_ON_FILE(write, EPERM, ino, p, n, off, fi);
}

static void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	HAND_ON_FILE(flush, 0, ino, fi);
}

static void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	if (take_file(req, ino, fi))
		HAND_ON(release, 0, ino, fi);
}

static void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync,
		     struct fuse_file_info *fi)
{
	HAND_ON_FILE(fsync, 0, ino, datasync, fi);
}

static void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	(void)fi;
	count(&daemon_of(req)->counters.ops[OP_opendir], 1);
	/* Directories need no handle. The kernel asks this once, opens and closes them by itself
	 * from then on, and keeps what it has read of one until it changes it or is told to
	 * drop it: nobody else changes them. */
	fuse_reply_err(req, ENOSYS);
}

static void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t n, off_t off,
		       struct fuse_file_info *fi)
{
	HAND_ON(readdir, ENOTDIR, ino, n, off, fi);
}

static void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t n, off_t off,
			   struct fuse_file_info *fi)
{
	HAND_ON(readdirplus, ENOTDIR, ino, n, off, fi);
}

static void op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync,
			struct fuse_file_info *fi)
{
	HAND_ON(fsyncdir, 0, ino, datasync, fi);
}

static void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	count(&daemon_of(req)->counters.ops[OP_statfs], 1);
	file_statfs(req, ino);
}

static void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name,
			const char *value, size_t n, int flags)
{
	if (!again_done(req))
		HAND_ON(setxattr, EPERM, ino, name, value, n, flags);
}

static void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t n)
{
	HAND_ON(getxattr, ENODATA, ino, name, n);
}

static void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t n)
{
	HAND_ON(listxattr, ENOTSUP, ino, n);
}

static void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	if (!again_done(req))
		HAND_ON(removexattr, EPERM, ino, name);
}

static void op_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence,
		     struct fuse_file_info *fi)
{
	HAND_ON_FILE(lseek, EINVAL, ino, off, whence, fi);
}

static void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t n,
			 struct fuse_file_info *fi)
{
	HAND_ON_FILE(fallocate, EOPNOTSUPP, ino, mode, off, n, fi);
}

static void op_copy_file_range(fuse_req_t req, fuse_ino_t ino, off_t off,
			       struct fuse_file_info *fi, fuse_ino_t to_ino, off_t to_off,
			       struct fuse_file_info *to_fi, size_t n, int flags)
{
	count(&daemon_of(req)->counters.ops[OP_copy_file_range], 1);
	if (find_file(req, ino, fi) && find_file(req, to_ino, to_fi))
		any_copy_file_range(req, ino, off, fi, to_ino, to_off, to_fi, n, flags);
}

static void op_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned cmd, void *arg,
		     struct fuse_file_info *fi, unsigned flags, const void *in,
		     size_t n_in, size_t n_out)
{
	if (!again_ioctl(req))
		HAND_ON_FILE(ioctl, ENOTTY, ino, cmd, arg, fi, flags, in, n_in, n_out);
}

void poll_always(fuse_req_t req, struct fuse_pollhandle *ph)
{
	if (ph)
		fuse_pollhandle_destroy(ph);
	fuse_reply_poll(req, POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM);
}

static void op_poll(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi,
		    struct fuse_pollhandle *ph)
{
	const struct fuse_lowlevel_ops *owner = owner_of(ino);

	count(&daemon_of(req)->counters.ops[OP_poll], 1);
	if (!find_file(req, ino, fi))
		return;
	if (owner->poll)
		owner->poll(req, ino, fi, ph);
	else
		poll_always(req, ph);
}

const struct fuse_lowlevel_ops fs_ops = { .init = wire_init,
#define X(name) .name = op_##name,
					  OPS(X)
#undef X
};
