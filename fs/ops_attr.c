/* ops_attr.c - attributes, extended attributes, and the figures of the whole mount. */
#include "fs/adapt.h"
#include "fs/keep.h"
#include "fs/ops.h"
#include "fs/reply.h"
#include "fs/view_range.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

static void reply_attr(fuse_req_t req, struct daemon *d, int r,
		       const struct ropefs_attr *a)
{
	struct stat st;
	double timeout;

	if (r < 0) {
		reply_err(req, r);
		return;
	}
	timeout = attr_fill(d, a, &st);
	fuse_reply_attr(req, &st, timeout);
}

static void getattr_settled(struct task *t)
{
	struct ropefs_attr a;
	int r;

	if (!inodes_wait_settled(&t->d->inodes, t->ino)) {
		task_run(t, getattr_settled);
		return;
	}
	r = attrs_now(t->d, t->ino, &a);
	reply_attr(t->req, t->d, r, &a);
	task_free(t);
}

void file_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct daemon *d = daemon_of(req);
	struct ropefs_attr a;

	(void)fi;
	if (inodes_is_pending(&d->inodes, ino) && !sizes_asks(req)) {
		struct task *t = task_new(d, req, NULL, 0);

		if (t) {
			t->ino = ino;
			task_run(t, getattr_settled);
		}
		return;
	}
	reply_attr(req, d, attrs_now(d, ino, &a), &a);
}

/* The store counts ns in 64 bits: 1677 to 2262. What is beyond becomes the last second within,
 * as on ext4, whose end is another. */
static int64_t ns_of(struct timespec ts)
{
	const int64_t last = INT64_MAX / 1000000000;

	if (ts.tv_sec >= last || ts.tv_sec <= -last)
		return (ts.tv_sec < 0 ? -last : last) * 1000000000;
	return ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static unsigned set_of(const struct stat *st, int what, struct ropefs_attr *ret_to)
{
	static const struct {
		int from;
		unsigned to;
	} flags[] = {
		{ FUSE_SET_ATTR_MODE, ROPEFS_SET_MODE },
		{ FUSE_SET_ATTR_UID, ROPEFS_SET_UID },
		{ FUSE_SET_ATTR_GID, ROPEFS_SET_GID },
		{ FUSE_SET_ATTR_SIZE, ROPEFS_SET_SIZE },
		{ FUSE_SET_ATTR_ATIME, ROPEFS_SET_ATIME },
		{ FUSE_SET_ATTR_MTIME, ROPEFS_SET_MTIME },
		{ FUSE_SET_ATTR_ATIME_NOW, ROPEFS_SET_ATIME_NOW },
		{ FUSE_SET_ATTR_MTIME_NOW, ROPEFS_SET_MTIME_NOW },
		{ FUSE_SET_ATTR_CTIME, ROPEFS_SET_CTIME },
	};
	unsigned set = 0;

	*ret_to = (struct ropefs_attr) {
		.mode = st->st_mode,
		.uid = st->st_uid,
		.gid = st->st_gid,
		.size = (uint64_t)st->st_size,
		.atime.ns = ns_of(st->st_atim),
		.mtime.ns = ns_of(st->st_mtim),
		.ctime.ns = ns_of(st->st_ctim),
	};
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
		if (what & flags[i].from)
			set |= flags[i].to;
	/* NOW wins: the kernel sends both bits, and its own idea of the time. */
	if (set & ROPEFS_SET_ATIME_NOW)
		set &= ~(unsigned)ROPEFS_SET_ATIME;
	if (set & ROPEFS_SET_MTIME_NOW)
		set &= ~(unsigned)ROPEFS_SET_MTIME;
	return set;
}

/* Would a chown to -1, -1 clear set-id bits of a file that is somebody else's? The kernel lets it
 * come to us, as nothing of it is to be set. It asks the same before a write, but then somebody
 * has the file open. */
static bool clears_others(fuse_req_t req, const struct ropefs_attr *a)
{
	const struct fuse_ctx *by = fuse_req_ctx(req);

	if (!by->uid || by->uid == a->uid ||
	    inodes_may_be_written(&daemon_of(req)->inodes, a->ino))
		return false;
	return a->mode & S_ISUID ||
	       (a->mode & S_ISGID && (a->mode & S_IXGRP || !req_in_group(req, a->gid)));
}

/* What the kernel leaves to us with killpriv: chown clears set-id bits, for root as well. */
static int chown_privs(fuse_req_t req, uint64_t ino, struct ropefs_attr *to,
		       unsigned *set)
{
	struct daemon *d = daemon_of(req);
	struct ropefs_attr a;
	uint32_t mode;
	int r;

	/* Nothing to set at all is a chown, too: to -1, -1. */
	if (!atomic_load(&d->killpriv) ||
	    (*set && !(*set & (ROPEFS_SET_UID | ROPEFS_SET_GID))))
		return 0;
	r = ropefs_getattr(d->fs, ino, &a);
	if (r < 0 || S_ISDIR(a.mode))
		return r;
	if (!*set && clears_others(req, &a))
		return -EPERM;
	r = privs_drop(d, ino, 0);
	if (r < 0 || *set & ROPEFS_SET_MODE)
		return r;
	mode = a.mode & ~(uint32_t)S_ISUID;
	if (mode & S_IXGRP)
		mode &= ~(uint32_t)S_ISGID;
	if (mode != a.mode) {
		to->mode = mode;
		*set |= ROPEFS_SET_MODE;
	}
	return 0;
}

static int set_size(struct daemon *d, uint64_t ino, const struct ropefs_attr *to,
		    unsigned set, struct ropefs_attr *ret)
{
	int r;

	view_edit_lock(d, ino, NULL);
	r = ropefs_setattr(d->fs, ino, to, set, ret);
	view_edit_unlock(d, ino, NULL, r >= 0);
	return r;
}

void file_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int what,
		  struct fuse_file_info *fi)
{
	struct daemon *d = daemon_of(req);
	struct ropefs_attr to, a;
	unsigned set = set_of(st, what, &to);
	int r;

	/* Whatever handle the thread of sizes.h came by: what it truncates stays as it is. */
	if ((fi && fi->fh & FH_SIZE) || sizes_asks(req)) {
		reply_attr(req, d, attrs_now(d, ino, &a), &a);
		return;
	}
	r = chown_privs(req, ino, &to, &set);
	if (r >= 0 && set & ROPEFS_SET_SIZE) {
		r = privs_drop_by(req, ino);
		inodes_set_aside(&d->inodes, ino, 0);
		if (r >= 0)
			r = set_size(d, ino, &to, set, &a);
	} else if (r >= 0) {
		r = ropefs_setattr(d->fs, ino, &to, set, &a);
	}
	if (set & ROPEFS_SET_MODE)
		inodes_set_plain(&d->inodes, ino, false);
	reply_attr(req, d, r, &a);
}

static bool has_prefix(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

static bool is_acl(const char *name)
{
	return strcmp(name, ACL_ACCESS) == 0 || strcmp(name, ACL_DEFAULT) == 0;
}

/* An ACL that nobody obeys is better refused than stored. */
static bool xattr_known(const struct daemon *d, const char *name)
{
	return has_prefix(name, "user.") || has_prefix(name, "trusted.") ||
	       has_prefix(name, "security.") || (d->acl && is_acl(name));
}

/* 0, -EOPNOTSUPP, or -EINVAL for a prefix with nothing behind it. */
static int xattr_check(const struct daemon *d, const char *name)
{
	if (!xattr_known(d, name))
		return -EOPNOTSUPP;
	return strchr(name, '.')[1] ? 0 : -EINVAL;
}

static void reply_xattr(fuse_req_t req, const char *p, ssize_t got, size_t n)
{
	if (got < 0)
		reply_err(req, (int)got);
	else if (n == 0)
		fuse_reply_xattr(req, (size_t)got);
	else
		fuse_reply_buf(req, p, (size_t)got);
}

void reply_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t n)
{
	char *p = n ? malloc(n) : NULL;
	ssize_t got = -ENOMEM;

	if (p || !n)
		got = ropefs_getxattr(daemon_of(req)->fs, ino, name, p, n);
	/* ls -l asks this of every file, until told that here is no such thing. */
	if (got == -ENODATA && strcmp(name, "security.selinux") == 0)
		got = -EOPNOTSUPP;
	reply_xattr(req, p, got, n);
	free(p);
}

void file_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t n)
{
	int r = xattr_check(daemon_of(req), name);

	if (r < 0)
		reply_err(req, r);
	else
		reply_getxattr(req, ino, name, n);
}

/* Takes trusted.* out of n bytes of names, as Linux does for who isn't root; what is left. */
static size_t without_trusted(char *list, size_t n)
{
	size_t kept = 0, len;

	for (size_t at = 0; at < n; at += len) {
		len = strlen(list + at) + 1;
		if (strncmp(list + at, "trusted.", 8) == 0)
			continue;
		memmove(list + kept, list + at, len);
		kept += len;
	}
	return kept;
}

void file_listxattr(fuse_req_t req, fuse_ino_t ino, size_t n)
{
	struct daemon *d = daemon_of(req);
	ssize_t got = ropefs_listxattr(d->fs, ino, NULL, 0);
	char *p = got > 0 ? malloc((size_t)got) : NULL;

	if (got > 0)
		got = p ? ropefs_listxattr(d->fs, ino, p, (size_t)got) : -ENOMEM;
	if (got > 0 && fuse_req_ctx(req)->uid)
		got = (ssize_t)without_trusted(p, (size_t)got);
	if (n && got > (ssize_t)n)
		got = -ERANGE;
	reply_xattr(req, p, got, n);
	free(p);
}

/* Who sets an ACL and is not in the file's group loses the set-gid bit. */
static int acl_kill_sgid(struct daemon *d, fuse_ino_t ino)
{
	struct ropefs_attr a;
	int r = ropefs_getattr(d->fs, ino, &a);

	if (r < 0 || !(a.mode & S_ISGID))
		return r;
	a.mode &= ~(uint32_t)S_ISGID;
	return ropefs_setattr(d->fs, ino, &a, ROPEFS_SET_MODE, NULL);
}

void file_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value,
		   size_t n, int flags)
{
	struct daemon *d = daemon_of(req);
	int r = xattr_check(d, name);

	if (r >= 0 && flags & ADAPT_KILL_SGID)
		r = acl_kill_sgid(d, ino);
	keep_arm();
	if (r >= 0)
		r = ropefs_setxattr(d->fs, ino, name, value, n, flags & ~ADAPT_KILL_SGID);
	if (strcmp(name, "security.capability") == 0)
		inodes_set_plain(&d->inodes, ino, false);
	reply_err(req, r);
}

void file_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	struct daemon *d = daemon_of(req);
	int r = xattr_check(d, name);

	keep_arm();
	if (r >= 0)
		r = ropefs_removexattr(d->fs, ino, name);
	/* Not to have an ACL is as good as to have removed it. */
	reply_err(req, r == -ENODATA && is_acl(name) ? 0 : r);
}

void file_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct daemon *d = daemon_of(req);
	struct ropefs_statfs s;
	struct statvfs v;
	int r;

	(void)ino;
	r = ropefs_statfs(d->fs, &s);
	if (r < 0) {
		reply_err(req, r);
		return;
	}
	v = (struct statvfs) {
		.f_bsize = 4096,
		.f_frsize = 4096,
		.f_blocks = s.total_bytes / 4096,
		.f_bfree = (s.free_bytes + s.reserved_bytes) / 4096,
		.f_bavail = s.free_bytes / 4096,
		/* Inodes are made as needed: what is free is a guess by the free bytes. */
		.f_files = s.inodes + s.free_bytes / 4096,
		.f_ffree = s.free_bytes / 4096,
		.f_namemax = ROPEFS_NAME_MAX,
	};
	fuse_reply_statfs(req, &v);
}
