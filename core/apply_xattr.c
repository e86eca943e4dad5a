/* apply_xattr.c - what ops do to xattrs, and to the ACLs (acl.h) among them.
 *
 * Invariants
 * 1. row.flags has INODE_ACL exactly if the inode has one of the two ACLs.
 * 2. An access ACL says more than a mode can, and its acl_mode() is the mode's.
 * 3. Only directories have a default ACL. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "core/acl.h"
#include "core/policy.h"
#include "core/store_priv.h"

static bool has_acl(const struct inode *in)
{
	return le32_get(in->row.flags) & INODE_ACL;
}

/* -ENODATA: it has none of that name. */
static int acl_get(struct ropefs *fs, const struct inode *in, const char *name,
		   struct buf *ret)
{
	if (!has_acl(in))
		return -ENODATA;
	return inode_get_xattr(fs, in, SPAN_STR(name), ret);
}

static int acl_refuse(const struct inode *in, const struct op *op)
{
	uint32_t mode = le32_get(in->row.mode);

	if (S_ISLNK(mode))
		return -EOPNOTSUPP;
	if (acl_is_default(op->name) && !S_ISDIR(mode))
		return -EACCES;
	return acl_check(op->data);
}

/* Removes an ACL, if there is one; the flag follows. */
static int acl_remove(struct ropefs *fs, struct inode *in, struct span name)
{
	_cleanup_(buf_release) struct buf other = BUF_INIT;
	int r = catalog_del_xattr(&fs->catalog, in->ino, name);

	if (r < 0)
		return r;
	r = acl_get(fs, in, acl_is_access(name) ? ACL_DEFAULT : ACL_ACCESS, &other);
	if (r == -ENODATA)
		in->row.flags = le32_put(le32_get(in->row.flags) & ~INODE_ACL);
	return r == -ENODATA ? 0 : r;
}

static int acl_set(struct ropefs *fs, struct inode *in, const struct op *op)
{
	bool access = acl_is_access(op->name);
	uint32_t mode = le32_get(in->row.mode);
	int r = acl_refuse(in, op);

	if (r < 0)
		return r;
	if (access && acl_is_minimal(op->data)) {
		r = acl_remove(fs, in, op->name);
		if (r < 0 && r != -ENODATA)
			return r;
	} else {
		r = catalog_set_xattr(&fs->catalog, in->ino, op->name, op->data);
		if (r < 0)
			return r;
		in->row.flags = le32_put(le32_get(in->row.flags) | INODE_ACL);
	}
	if (access)
		in->row.mode = le32_put((mode & ~0777u) | acl_mode(op->data));
	return 0;
}

static int set(struct ropefs *fs, struct inode *in, const struct op *op)
{
	if (acl_is_access(op->name) || acl_is_default(op->name))
		return acl_set(fs, in, op);
	return catalog_set_xattr(&fs->catalog, op->ino, op->name, op->data);
}

static int rm(struct ropefs *fs, struct inode *in, const struct op *op)
{
	if (acl_is_access(op->name) || acl_is_default(op->name))
		return acl_remove(fs, in, op->name);
	return catalog_del_xattr(&fs->catalog, op->ino, op->name);
}

static bool is_ttl(struct span name)
{
	static const char ttl[] = POLICY_PREFIX "ttl";

	return name.n == sizeof(ttl) - 1 && !memcmp(name.p, ttl, name.n);
}

/* A row of an inode that has had a ttl stays until the inode goes: ttl.c looks for itself. */
int apply_xattr(struct ropefs *fs, const struct op *op)
{
	struct inode *in;
	int r = inode_get(fs, op->ino, &in);

	if (r < 0)
		return r;
	/* First: who removes the inode goes by it. */
	if (policy_is_ours(op->name)) {
		in->row.flags = le32_put(le32_get(in->row.flags) | INODE_POLICY);
		inode_mark_dirty(fs, in);
	}
	if (op->type == OP_SETXATTR && is_ttl(op->name)) {
		r = catalog_add_ttl(&fs->catalog, op->ino);
		if (r < 0)
			return r;
		fs->ttl_changed = true;
	}
	r = op->type == OP_SETXATTR ? set(fs, in, op) : rm(fs, in, op);
	if (r < 0)
		return r;
	if (policy_is_ours(op->name))
		fs->lane_turn++;
	in->row.ctime = le64_put((uint64_t)op->time);
	inode_mark_dirty(fs, in);
	return 0;
}

int acl_chmod(struct ropefs *fs, struct inode *in, uint32_t mode)
{
	_cleanup_(buf_release) struct buf acl = BUF_INIT;
	int r = acl_get(fs, in, ACL_ACCESS, &acl);

	if (r < 0)
		return r == -ENODATA ? 0 : r;
	acl_set_mode(&acl, mode);
	return catalog_set_xattr(&fs->catalog, in->ino, SPAN_STR(ACL_ACCESS),
				 buf_span(&acl));
}

int acl_access_of(struct ropefs *fs, const struct inode *in, struct buf *ret)
{
	int r = acl_get(fs, in, ACL_ACCESS, ret);

	return r == -ENODATA ? acl_of_mode(le32_get(in->row.mode), ret) : r;
}

int acl_default_of(struct ropefs *fs, uint64_t dir, struct buf *ret)
{
	struct inode *in;
	int r = dir ? dir_get(fs, dir, &in) : -ENODATA;

	return r < 0 ? r : acl_get(fs, in, ACL_DEFAULT, ret);
}

int acl_to_new(struct ropefs *fs, uint64_t ino, struct span given, struct inode_row *row)
{
	_cleanup_(buf_release) struct buf own = BUF_INIT;
	uint32_t mode = le32_get(row->mode), flags = le32_get(row->flags);
	int r = buf_append(&own, given.p, given.n);

	if (r < 0)
		return r;
	row->mode = le32_put(acl_inherit(&own, mode));
	if (!acl_is_minimal(given)) {
		r = catalog_set_xattr(&fs->catalog, ino, SPAN_STR(ACL_ACCESS),
				      buf_span(&own));
		flags |= INODE_ACL;
	}
	if (r >= 0 && S_ISDIR(mode)) {
		r = catalog_set_xattr(&fs->catalog, ino, SPAN_STR(ACL_DEFAULT), given);
		flags |= INODE_ACL;
	}
	row->flags = le32_put(flags);
	return r;
}
