/* reply.h - answers in the kernel's words. */
#ifndef ROPEFS_FS_REPLY_H
#define ROPEFS_FS_REPLY_H

#include "core/ropefs.h"
#include "fs/kept.h"

#include <fuse_lowlevel.h>

struct daemon;

/* The xattrs that hold ACLs. */
#define ACL_ACCESS  "system.posix_acl_access"
#define ACL_DEFAULT "system.posix_acl_default"

struct opened {
	void *file;
	struct kept *kept; /* part of it: what the next daemon makes it of */
	enum kept_kind kind;
	fuse_ino_t node;
};
/* Answers OPEN of something that file is the memory of: fi->fh becomes its number (handles.h),
 * and later requests find file in it again. Negative: nobody heard, and file is the caller's
 * still. */
int reply_open_file(fuse_req_t req, struct fuse_file_info *fi, const struct opened *what);
/* r: 0 or a negative error of the store. */
void reply_err(fuse_req_t req, int r);
struct timespec timespec_of(struct ropefs_time t);
void attr_to_stat(const struct ropefs_attr *a, struct stat *ret);
/* As the kernel is to see them: while an edit is about to make the file shorter, with the
 * size that it will have (notify.h). */
int attrs_now(struct daemon *d, uint64_t ino, struct ropefs_attr *ret);
/* What a user is told of a file of the store. Returns the seconds the kernel may keep it. */
double attr_fill(struct daemon *d, const struct ropefs_attr *a, struct stat *ret);
/* Fills e with a file of the store and counts one lookup. -ENOENT: it is gone again. */
int entry_fill(struct daemon *d, const struct ropefs_attr *a, struct fuse_entry_param *e);
/* Counts the lookup and replies; takes it back when nobody heard. */
void reply_entry(fuse_req_t req, const struct ropefs_attr *a);

/* Clears set-id bits and file capabilities of a file that the user uid is about to change, as
 * Linux does (root keeps set-id bits). Returns 1 when some were cleared, 0, or an error.
 * After a 1 the kernel's idea of the mode is wrong until its attributes are dropped. */
int privs_drop(struct daemon *d, uint64_t ino, uint32_t uid);
/* The same for who made the request, whose groups count. */
int privs_drop_by(fuse_req_t req, uint64_t ino);

enum { REQ_GROUPS_MAX = 1 << 16 };
bool req_in_group(fuse_req_t req, gid_t gid);

/* Who made a request, as of then; release with caller_release(). */
struct caller {
	uint32_t uid, gid;
	gid_t *groups;
	size_t n_groups;
};
int caller_of(fuse_req_t req, struct caller *ret);
void caller_release(struct caller *c);
/* Where the kernel has not asked: 0 when c may do want (as ropefs_access()), -EACCES. */
int caller_may(struct daemon *d, const struct caller *c, uint64_t ino, unsigned want);
/* The same for who makes this request. */
int caller_may_now(fuse_req_t req, uint64_t ino, unsigned want);

#endif
