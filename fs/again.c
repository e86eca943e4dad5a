#include "fs/again.h"

#include "fs/daemon.h"
#include "fs/keep.h"
#include "fs/kept.h"
#include "fs/ops.h"
#include "fs/reply.h"
#include "fs/snap.h"

bool again_done(fuse_req_t req)
{
	if (!keep_was_done())
		return false;
	fuse_reply_err(req, 0);
	return true;
}

bool again_entry(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct ropefs_attr a;
	int r;

	if (!keep_was_done())
		return false;
	if (snap_is_folder(parent))
		r = ropefs_snapshot_lookup(daemon_of(req)->fs, snap_dir_of(parent),
					   ropefs_name(name), &a);
	else
		r = ropefs_lookup(daemon_of(req)->fs, parent, ropefs_name(name), &a);
	if (r < 0)
		reply_err(req, r);
	else
		reply_entry(req, &a);
	return true;
}

bool again_create(fuse_req_t req, fuse_ino_t parent, const char *name,
		  struct fuse_file_info *fi)
{
	struct daemon *d = daemon_of(req);
	struct fuse_entry_param e;
	struct ropefs_attr a;
	int r;

	if (!keep_was_done())
		return false;
	r = ropefs_lookup(d->fs, parent, ropefs_name(name), &a);
	if (r >= 0)
		r = entry_fill(d, &a, &e);
	if (r < 0) {
		reply_err(req, r);
		return true;
	}
	if (!kept_was_opened(fi))
		file_opened(req, fi, a.is_queue);
	if (fuse_reply_create(req, &e, fi) < 0)
		inodes_put(&d->inodes, a.ino, 1);
	return true;
}

bool again_write(fuse_req_t req, size_t n)
{
	if (!keep_was_done())
		return false;
	fuse_reply_write(req, n);
	return true;
}

bool again_ioctl(fuse_req_t req)
{
	if (!keep_was_done())
		return false;
	fuse_reply_ioctl(req, 0, NULL, 0);
	return true;
}

bool again_open(fuse_req_t req, struct fuse_file_info *fi)
{
	if (!kept_was_opened(fi))
		return false;
	fuse_reply_open(req, fi);
	return true;
}
