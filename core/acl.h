/* acl.h - POSIX ACLs, in the bytes in which Linux hands them over and xattr rows keep them:
 *
 *	le32 2				version
 *	{ le16 tag, le16 rwx, le32 id }	each entry: owner, users by id, the group, groups by id,
 *					mask, others; users, groups and mask may be missing
 *
 * Pure functions; those that take an ACL but acl_check() want one that passed it. */
#ifndef ROPEFS_ACL_H
#define ROPEFS_ACL_H

#include "core/base/buf.h"
#include "core/ropefs.h"

/* The xattrs that hold them. Who may do what with an inode: kept only if it says more than the
 * mode does, which has the owner's, the mask's (or the group's) and the others' bits of it. */
#define ACL_ACCESS "system.posix_acl_access"
/* Of a directory: what is made in it gets this one, narrowed to the mode it is made with. */
#define ACL_DEFAULT "system.posix_acl_default"

bool acl_is_access(struct span name);
bool acl_is_default(struct span name);
int acl_check(struct span acl); /* 0 or -EINVAL */
/* Has it no entry but those that a mode has? */
bool acl_is_minimal(struct span acl);
/* The nine permission bits that belong to it. */
uint32_t acl_mode(struct span acl);
/* The minimal one that says what a mode does. */
int acl_of_mode(uint32_t mode, struct buf *ret);
/* As chmod: its entries follow the mode's permission bits. */
void acl_set_mode(struct buf *acl, uint32_t mode);
/* Narrows a default ACL to `mode` and returns `mode` narrowed to it; the same once more changes
 * nothing. */
uint32_t acl_inherit(struct buf *acl, uint32_t mode);
/* May `who`, neither root nor the owner's equal, have all of `want` (4 read, 2 write, 1 execute)
 * of a file that uid:gid own? */
bool acl_allows(struct span acl, const struct ropefs_who *who, uint32_t uid, uint32_t gid,
		unsigned want);

#endif
