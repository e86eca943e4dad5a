#include "fs/reply.h"

#include "fs/daemon.h"
#include "fs/handles.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

void reply_err(fuse_req_t req, int r)
{
	fuse_reply_err(req, r < 0 ? ropefs_error_errno(r) : 0);
}

int reply_open_file(fuse_req_t req, struct fuse_file_info *fi, const struct opened *what)
{
	int r;

	fi->fh = handle_new(what->file);
	if (!fi->fh) {
		fuse_reply_err(req, ENOMEM);
		return -ENOMEM;
	}
	kept_opened(what->kept, what->kind, what->node, fi);
	r = fuse_reply_open(req, fi);
	if (r < 0)
		handle_del(fi->fh);
	return r;
}

struct timespec timespec_of(struct ropefs_time t)
{
	int64_t s = t.ns / 1000000000, ns = t.ns % 1000000000;

	if (ns < 0) {
		ns += 1000000000;
		s--;
	}
	return (struct timespec) { .tv_sec = s, .tv_nsec = ns };
}

void attr_to_stat(const struct ropefs_attr *a, struct stat *ret)
{
	*ret = (struct stat) {
		.st_ino = a->ino,
		.st_mode = a->mode,
		.st_nlink = a->nlink,
		.st_uid = a->uid,
		.st_gid = a->gid,
		.st_rdev = a->rdev,
		.st_size = (off_t)a->size,
		.st_blocks = (blkcnt_t)a->blocks,
		.st_blksize = 4096,
		.st_atim = timespec_of(a->atime),
		.st_mtim = timespec_of(a->mtime),
		.st_ctim = timespec_of(a->ctime),
	};
}

int attrs_now(struct daemon *d, uint64_t ino, struct ropefs_attr *ret)
{
	/* First: if it is applied in between, the size is too small, which does no harm. */
	uint64_t less = inodes_less(&d->inodes, ino);
	struct ropefs_attr a;
	int r = ropefs_getattr(d->fs, ino, &a);

	if (r < 0)
		return r;
	if (a.size >= less)
		a.size -= less;
	*ret = a;
	return 0;
}

double attr_fill(struct daemon *d, const struct ropefs_attr *a, struct stat *ret)
{
	uint64_t aside;
	double timeout = inodes_timeout(&d->inodes, a->ino, &aside);

	attr_to_stat(a, ret);
	/* rsync -S --preallocate goes by them. */
	if ((uint64_t)ret->st_blocks < aside / 512)
		ret->st_blocks = (blkcnt_t)(aside / 512 + 1);
	/* A queue grows by less, or more, than the kernel wrote. */
	return a->is_queue ? 0 : timeout;
}

int entry_fill(struct daemon *d, const struct ropefs_attr *a, struct fuse_entry_param *e)
{
	struct ropefs_attr now = *a;
	int r = inodes_get(&d->inodes, a->ino);

	if (r >= 0 && inodes_less(&d->inodes, a->ino))
		attrs_now(d, a->ino, &now);
	if (r < 0)
		return r;
	*e = (struct fuse_entry_param) {
		.ino = a->ino,
		.entry_timeout = d->cache_s,
	};
	e->attr_timeout = attr_fill(d, &now, &e->attr);
	return 0;
}

void reply_entry(fuse_req_t req, const struct ropefs_attr *a)
{
	struct daemon *d = daemon_of(req);
	struct fuse_entry_param e;
	int r = entry_fill(d, a, &e);

	if (r < 0)
		reply_err(req, r);
	else if (fuse_reply_entry(req, &e) < 0)
		inodes_put(&d->inodes, a->ino, 1);
}

/* The set-id bits that go when uid changes the file. Set-gid without execution by the group, once
 * the mark of mandatory locks, is left to members of the group. */
static uint32_t privs_of(fuse_req_t req, uint32_t uid, const struct ropefs_attr *a)
{
	if (!uid || !S_ISREG(a->mode))
		return 0;
	if ((a->mode & (S_ISGID | S_IXGRP)) == S_ISGID && req &&
	    req_in_group(req, a->gid))
		return S_ISUID;
	return S_ISUID | S_ISGID;
}

/* Returns 1 when something was cleared; *ret_left says whether set-id bits remain. */
static int privs_clear(struct daemon *d, uint64_t ino, uint32_t uid, fuse_req_t req,
		       bool *ret_left)
{
	struct ropefs_attr a, to;
	int r, dropped = 0;

	r = ropefs_getattr(d->fs, ino, &a);
	if (r < 0)
		return r;
	if (ropefs_getxattr(d->fs, ino, "security.capability", NULL, 0) > 0) {
		r = ropefs_removexattr(d->fs, ino, "security.capability");
		if (r < 0)
			return r;
		dropped = 1;
	}
	to.mode = a.mode & ~privs_of(req, uid, &a);
	if (to.mode != a.mode) {
		r = ropefs_setattr(d->fs, ino, &to, ROPEFS_SET_MODE, &a);
		if (r < 0)
			return r;
		dropped = 1;
	}
	*ret_left = a.mode & (S_ISUID | S_ISGID);
	return dropped;
}

static int drop(struct daemon *d, uint64_t ino, uint32_t uid, fuse_req_t req)
{
	bool left = true;
	int r;

	if (!atomic_load(&d->killpriv) || inodes_plain(&d->inodes, ino))
		return 0;
	/* Before looking, so that a chmod in between wins (inodes.h, 3). */
	inodes_set_plain(&d->inodes, ino, true);
	r = privs_clear(d, ino, uid, req, &left);
	if (left)
		inodes_set_plain(&d->inodes, ino, false);
	return r;
}

int privs_drop(struct daemon *d, uint64_t ino, uint32_t uid)
{
	return drop(d, ino, uid, NULL);
}

int privs_drop_by(fuse_req_t req, uint64_t ino)
{
	return drop(daemon_of(req), ino, fuse_req_ctx(req)->uid, req);
}

bool req_in_group(fuse_req_t req, gid_t gid)
{
	gid_t groups[REQ_GROUPS_MAX];
	int n;

	if (fuse_req_ctx(req)->gid == gid)
		return true;
	n = fuse_req_getgroups(req, REQ_GROUPS_MAX, groups);
	for (int i = 0; i < n && i < REQ_GROUPS_MAX; i++)
		if (groups[i] == gid)
			return true;
	return false;
}

int caller_of(fuse_req_t req, struct caller *ret)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);
	struct caller c = { .uid = ctx->uid, .gid = ctx->gid };
	int n = 32, room;

	do {
		gid_t *more = realloc(c.groups, (size_t)n * sizeof(*more));

		room = n;
		if (!more) {
			free(c.groups);
			return -ENOMEM;
		}
		c.groups = more;
		n = fuse_req_getgroups(req, room, more);
	} while (n > room && n <= REQ_GROUPS_MAX);
	/* Of who is gone nothing is known: then only uid and gid speak. */
	c.n_groups = n > 0 && n <= room ? (size_t)n : 0;
	*ret = c;
	return 0;
}

void caller_release(struct caller *c)
{
	free(c->groups);
	*c = (struct caller) { 0 };
}

int caller_may(struct daemon *d, const struct caller *c, uint64_t ino, unsigned want)
{
	const struct ropefs_who who = {
		.uid = c->uid, .gid = c->gid, .groups = c->groups, .n_groups = c->n_groups
	};

	return c->uid == 0 ? 0 : ropefs_access(d->fs, ino, &who, want);
}

int caller_may_now(fuse_req_t req, uint64_t ino, unsigned want)
{
	struct caller who;
	int r = caller_of(req, &who);

	if (r < 0)
		return r;
	r = caller_may(daemon_of(req), &who, ino, want);
	caller_release(&who);
	return r;
}
