/* api_names.c - the public functions on names and attributes. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "core/acl.h"
#include "core/base/err.h"
#include "core/base/json.h"
#include "core/policy.h"
#include "core/remote_priv.h"
#include "core/store_priv.h"

struct span span_name(struct ropefs_name name)
{
	return span_of(name.p, name.n);
}

struct op rename_op(uint64_t dir, struct ropefs_name name, uint64_t to_dir,
		    struct ropefs_name to_name, unsigned flags)
{
	return (struct op) {
		.type = OP_RENAME,
		.dir = dir,
		.name = span_name(name),
		.src = to_dir,
		.name2 = span_name(to_name),
		.mode = flags,
	};
}

struct ropefs_name ropefs_name(const char *s)
{
	return (struct ropefs_name) { s, strlen(s) };
}

/* For reading: the lock, and caches within their budget. */
static void look_begin(struct ropefs *fs)
{
	err_clear();
	lock_take(&fs->engine);
	nodes_trim(fs->nodes);
	inode_trim(fs);
}

static int look_end(struct ropefs *fs, int r)
{
	lock_drop(&fs->engine);
	return r;
}

static int attr_of(struct ropefs *fs, uint64_t ino, struct ropefs_attr *ret)
{
	struct inode *in;
	int r = inode_get(fs, ino, &in);

	if (r >= 0)
		attr_from_inode(in, ret);
	return r;
}

int ropefs_getattr(struct ropefs *fs, uint64_t ino, struct ropefs_attr *ret)
{
	/* Whoever asks for a text of .ropefs comes by the root. */
	if (ino != ROPEFS_ROOT_INO)
		remote_note_use(fs);
	look_begin(fs);
	return look_end(fs, attr_of(fs, ino, ret));
}

int ropefs_setattr(struct ropefs *fs, uint64_t ino, const struct ropefs_attr *to,
		   unsigned set, struct ropefs_attr *ret)
{
	struct op op = {
		.type = OP_SETATTR,
		.ino = ino,
		.set = set & ~(unsigned)ROPEFS_SET_SIZE,
		.mode = to->mode,
		.uid = to->uid,
		.gid = to->gid,
		.atime = to->atime.ns,
		.mtime = to->mtime.ns,
	};
	int r;

	if (set & ROPEFS_SET_SIZE) {
		r = ropefs_truncate(fs, ino, to->size);
		if (r < 0)
			return r;
		if (!op.set)
			return ret ? ropefs_getattr(fs, ino, ret) : 0;
	}
	r = change_begin(fs, &op, 0, true);
	if (r < 0)
		return r;
	if (set & ROPEFS_SET_ATIME_NOW)
		op.atime = op.time;
	if (set & ROPEFS_SET_MTIME_NOW)
		op.mtime = op.time;
	return change_end(fs, &op, ino, ret);
}

int ropefs_lookup(struct ropefs *fs, uint64_t dir, struct ropefs_name name,
		  struct ropefs_attr *ret)
{
	struct catalog cat;
	struct inode *in;
	struct entry e;
	uint64_t ino;
	int r;

	look_begin(fs);
	r = name_check(span_name(name));
	if (r >= 0)
		r = dir_get(fs, dir, &in);
	if (r >= 0)
		r = catalog_of(fs, dir, &cat);
	if (r >= 0)
		r = catalog_lookup(&cat, ino_base(dir), span_name(name), &e);
	if (r >= 0)
		r = ino_beside(dir, e.ino, &ino);
	if (r >= 0)
		r = attr_of(fs, ino, ret);
	return look_end(fs, r);
}

static int create(struct ropefs *fs, struct op *op, const struct ropefs_new *what,
		  struct ropefs_attr *ret)
{
	_cleanup_(buf_release) struct buf acl = BUF_INIT;
	struct ropefs_attr attr;
	int r;

	op->type = OP_CREATE;
	op->uid = what->uid;
	op->gid = what->gid;
	op->rdev = what->rdev;
	r = change_begin(fs, op, 0, false);
	if (r < 0)
		return r;
	r = what->umask ? acl_default_of(fs, op->dir, &acl) : 0;
	if (r == -ENODATA)
		op->mode &= ~(what->umask & 0777u);
	else if (r < 0)
		return change_abort(fs, r);
	op->ino = fs->next_ino;
	return change_end(fs, op, op->ino, ret ? ret : &attr);
}

int ropefs_create(struct ropefs *fs, uint64_t dir, struct ropefs_name name,
		  const struct ropefs_new *what, struct ropefs_attr *ret)
{
	struct op op = { .dir = dir, .name = span_name(name), .mode = what->mode };

	if (!name.n || S_ISLNK(what->mode) || !(what->mode & S_IFMT))
		return -EINVAL;
	return create(fs, &op, what, ret);
}

int ropefs_create_unnamed(struct ropefs *fs, const struct ropefs_new *what,
			  struct ropefs_attr *ret)
{
	struct op op = { .dir = what->near, .mode = what->mode };
	int r;

	if (!S_ISREG(what->mode))
		return -EINVAL;
	r = create(fs, &op, what, ret);
	return r < 0 ? r : ropefs_hold(fs, ret->ino);
}

int ropefs_symlink(struct ropefs *fs, uint64_t dir, struct ropefs_name name,
		   struct ropefs_name target, const struct ropefs_new *what,
		   struct ropefs_attr *ret)
{
	struct op op = {
		.dir = dir,
		.name = span_name(name),
		.mode = S_IFLNK | 0777,
		.data = span_name(target),
	};

	if (!name.n || !target.n)
		return -ENOENT;
	if (target.n > CATALOG_TARGET_MAX)
		return -ENAMETOOLONG;
	return create(fs, &op, what, ret);
}

int ropefs_readlink(struct ropefs *fs, uint64_t ino, char **ret_target)
{
	_cleanup_(buf_release) struct buf target = BUF_INIT;
	struct catalog cat;
	struct inode *in;
	int r;

	look_begin(fs);
	r = inode_get(fs, ino, &in);
	if (r >= 0 && !S_ISLNK(le32_get(in->row.mode)))
		r = -EINVAL;
	if (r >= 0)
		r = catalog_of(fs, ino, &cat);
	if (r >= 0)
		r = catalog_get_target(&cat, ino_base(ino), &target);
	if (r >= 0)
		r = buf_append(&target, "", 1);
	if (r >= 0) {
		*ret_target = (char *)target.p;
		target = BUF_INIT;
	}
	return look_end(fs, r);
}

int ropefs_link(struct ropefs *fs, uint64_t ino, uint64_t dir, struct ropefs_name name,
		struct ropefs_attr *ret)
{
	struct op op = {
		.type = OP_LINK, .ino = ino, .dir = dir, .name = span_name(name)
	};
	int r = change_begin(fs, &op, 0, false);

	return r < 0 ? r : change_end(fs, &op, ino, ret);
}

/* Before dir/name is removed: sets reap in *flags if its inode goes for good then. A long queue
 * that would is kept for now, as it goes in slices afterwards, by ropefs_release(): its number
 * is returned, else 0. */
static uint64_t look_before_removal(struct ropefs *fs, uint64_t dir, struct span name,
				    uint32_t reap, uint32_t *flags)
{
	struct inode *in;
	struct entry e;

	if (catalog_lookup(&fs->catalog, dir, name, &e) < 0 ||
	    inode_get(fs, e.ino, &in) < 0)
		return 0;
	if (queue_is_long(fs, in)) {
		in->holds++;
		inode_settle(fs, in);
		return e.ino;
	}
	if (!in->holds &&
	    (le32_get(in->row.nlink) == 1 || S_ISDIR(le32_get(in->row.mode))))
		*flags |= reap;
	return 0;
}

static int remove_name(struct ropefs *fs, enum op_type type, uint64_t dir,
		       struct ropefs_name name)
{
	struct op op = { .type = (uint8_t)type, .dir = dir, .name = span_name(name) };
	uint64_t queue;
	int r = change_begin(fs, &op, 0, true);

	if (r < 0)
		return r;
	queue = look_before_removal(fs, dir, op.name, OP_FLAG_REAP, &op.flags);
	r = change_end(fs, &op, 0, NULL);
	if (queue)
		ropefs_release(fs, queue, 1);
	return r;
}

int ropefs_unlink(struct ropefs *fs, uint64_t dir, struct ropefs_name name)
{
	return remove_name(fs, OP_UNLINK, dir, name);
}

int ropefs_rmdir(struct ropefs *fs, uint64_t dir, struct ropefs_name name)
{
	return remove_name(fs, OP_RMDIR, dir, name);
}

int ropefs_rename(struct ropefs *fs, uint64_t dir, struct ropefs_name name,
		  uint64_t to_dir, struct ropefs_name to_name, unsigned flags)
{
	struct op op = rename_op(dir, name, to_dir, to_name, flags);
	uint64_t queue;
	int r = change_begin(fs, &op, 0, true);

	if (r < 0)
		return r;
	if (flags & RENAME_WHITEOUT) {
		op.type = OP_WHITEOUT;
		op.ino = fs->next_ino;
	}
	queue = look_before_removal(fs, to_dir, op.name2, OP_FLAG_REAP_TARGET, &op.flags);
	r = change_end(fs, &op, 0, NULL);
	if (queue)
		ropefs_release(fs, queue, 1);
	return r;
}

int ropefs_resolve(struct ropefs *fs, const char *path, struct ropefs_attr *ret)
{
	struct ropefs_attr at;
	int r = ropefs_getattr(fs, ROPEFS_ROOT_INO, &at);

	while (r >= 0) {
		size_t n;

		path += strspn(path, "/");
		n = strcspn(path, "/");
		if (!n) {
			*ret = at;
			return 0;
		}
		r = ropefs_lookup(fs, at.ino, (struct ropefs_name) { path, n }, &at);
		path += n;
	}
	return r;
}

int ropefs_readdir(struct ropefs *fs, uint64_t dir, uint64_t after,
		   struct ropefs_entry *ret, struct ropefs_attr *attrs, unsigned max)
{
	struct catalog cat;
	struct inode *in;
	struct entry e;
	unsigned n = 0;
	uint64_t ino;
	int r;

	remote_note_use(fs);
	look_begin(fs);
	r = dir_get(fs, dir, &in);
	if (r >= 0)
		r = catalog_of(fs, dir, &cat);
	while (r >= 0 && n < max) {
		r = catalog_next_entry(&cat, ino_base(dir), after, &e);
		if (r <= 0)
			break;
		r = ino_beside(dir, e.ino, &ino);
		if (r < 0)
			break;
		if (attrs) {
			r = attr_of(fs, ino, &attrs[n]);
			if (r < 0) /* shown all the same; a look at it tells the error */
				attrs[n] = (struct ropefs_attr) { .ino = ino };
			r = 0;
		}
		ret[n] = (struct ropefs_entry) {
			.ino = ino,
			.cookie = e.cookie,
			.type = e.type,
			.name_len = e.name_len,
		};
		memcpy(ret[n].name, e.name, e.name_len + 1u);
		after = e.cookie;
		n++;
	}
	return look_end(fs, r < 0 ? r : (int)n);
}

int ropefs_parent(struct ropefs *fs, uint64_t dir, uint64_t *ret_ino)
{
	struct snapshot s;
	struct inode *in;
	int r;

	look_begin(fs);
	r = dir_get(fs, dir, &in);
	if (r >= 0 && ropefs_in_snapshot(dir))
		r = snapshots_get(&fs->snaps, ino_snapshot(dir), &s);
	if (r < 0)
		return look_end(fs, r);
	if (ropefs_in_snapshot(dir) && ino_base(dir) == s.dir)
		*ret_ino = s.dir;
	else if (dir == ROPEFS_ROOT_INO)
		*ret_ino = dir;
	else
		r = ino_beside(dir, le64_get(in->row.parent), ret_ino);
	return look_end(fs, r);
}

int ropefs_next_orphan(struct ropefs *fs, uint64_t after, uint64_t *ret_ino)
{
	look_begin(fs);
	return look_end(fs, catalog_next_orphan(&fs->catalog, after, ret_ino));
}

int ropefs_hold(struct ropefs *fs, uint64_t ino)
{
	struct inode *in;
	int r;

	look_begin(fs);
	r = inode_get(fs, ino, &in);
	if (r >= 0) {
		in->holds++;
		inode_settle(fs, in);
	}
	return look_end(fs, r);
}

void ropefs_release(struct ropefs *fs, uint64_t ino, uint64_t times)
{
	struct op op = { .type = OP_REAP, .ino = ino, .unseen = true };
	struct inode *in;
	bool gone;

	look_begin(fs);
	in = htab_get(&fs->inodes, ino);
	/* Of a file in a snapshot: perhaps held by a process before this one. */
	if (ropefs_in_snapshot(ino) && (!in || in->holds < times)) {
		look_end(fs, 0);
		return;
	}
	assert(in && in->holds >= times);
	in->holds -= times;
	inode_settle(fs, in);
	gone = !in->holds && !le32_get(in->row.nlink) && !ropefs_in_snapshot(ino);
	look_end(fs, 0);
	if (!gone)
		return;

	queue_shorten(fs, ino);
	/* When this fails the orphan stays, and the next mount removes it. */
	if (change_begin(fs, &op, 0, true) < 0)
		return;
	if (inode_get(fs, ino, &in) >= 0 && !in->holds && !le32_get(in->row.nlink))
		change_end(fs, &op, 0, NULL);
	else
		change_abort(fs, 0);
}

static int xattr_name_check(const char *name)
{
	size_t n = strlen(name);

	return n == 0 || n > ROPEFS_NAME_MAX ? -ERANGE : 0;
}

static ssize_t give(const struct buf *b, void *p, size_t n)
{
	if (n == 0)
		return (ssize_t)b->n;
	if (n < b->n)
		return -ERANGE;
	if (b->n)
		memcpy(p, b->p, b->n);
	return (ssize_t)b->n;
}

/* Policies are those that hold, wherever they were set; user.ropefs.policy lists them. */
static int get_policy(struct ropefs *fs, struct inode *in, const char *name,
		      struct buf *ret)
{
	const struct policy *policy = policy_find(SPAN_STR(name));
	uint64_t from;

	if (!strcmp(name, POLICY_PREFIX "policy"))
		return policy_list(fs, in, ret);
	if (!strcmp(name, POLICY_PREFIX "etag") && S_ISREG(le32_get(in->row.mode)))
		return buf_printf(ret, ETAG_FORMAT, in->ino, inode_version(in));
	return policy ? policy_get(fs, in, policy->key, ret, &from) : -ENODATA;
}

ssize_t ropefs_getxattr(struct ropefs *fs, uint64_t ino, const char *name, void *value,
			size_t n)
{
	_cleanup_(buf_release) struct buf b = BUF_INIT;
	struct inode *in;
	int r = xattr_name_check(name);

	if (r < 0)
		return r;
	look_begin(fs);
	r = inode_get(fs, ino, &in);
	if (r >= 0 && policy_is_ours(SPAN_STR(name)))
		r = get_policy(fs, in, name, &b);
	else if (r >= 0)
		r = inode_get_xattr(fs, in, SPAN_STR(name), &b);
	look_end(fs, r);
	return r < 0 ? r : give(&b, value, n);
}

/* Takes our own names out of a list: rsync -X and tar shall not copy them. */
static void hide_policies(struct buf *list)
{
	size_t kept = 0;

	for (size_t at = 0; at < list->n;) {
		struct span name = SPAN_STR((const char *)list->p + at);

		if (!policy_is_ours(name)) {
			memmove(list->p + kept, name.p, name.n + 1);
			kept += name.n + 1;
		}
		at += name.n + 1;
	}
	list->n = kept;
}

ssize_t ropefs_listxattr(struct ropefs *fs, uint64_t ino, char *list, size_t n)
{
	_cleanup_(buf_release) struct buf b = BUF_INIT;
	struct catalog cat;
	struct inode *in;
	int r;

	look_begin(fs);
	r = inode_get(fs, ino, &in);
	if (r >= 0)
		r = catalog_of(fs, ino, &cat);
	if (r >= 0)
		r = catalog_list_xattr(&cat, ino_base(ino), &b);
	if (r >= 0)
		hide_policies(&b);
	look_end(fs, r);
	return r < 0 ? r : give(&b, list, n);
}

int ropefs_setxattr(struct ropefs *fs, uint64_t ino, const char *name, const void *value,
		    size_t n, int flags)
{
	_cleanup_(buf_release) struct buf old = BUF_INIT;
	struct op op = {
		.type = OP_SETXATTR,
		.ino = ino,
		.name = SPAN_STR(name),
		.data = span_of(value, n),
	};
	int r = xattr_name_check(name);

	if (r < 0)
		return r;
	if (n > CATALOG_XATTR_MAX)
		return -E2BIG;
	err_clear();
	r = policy_is_ours(op.name) ? policy_check(op.name, op.data) : 0;
	if (r < 0)
		return r;
	r = change_begin(fs, &op, 0, false);
	if (r < 0)
		return r;
	if (flags & (XATTR_CREATE | XATTR_REPLACE)) {
		r = catalog_get_xattr(&fs->catalog, ino, op.name, &old);
		if (r < 0 && r != -ENODATA)
			return change_abort(fs, r);
		if (r >= 0 && flags & XATTR_CREATE)
			return change_abort(fs, -EEXIST);
		if (r < 0 && flags & XATTR_REPLACE)
			return change_abort(fs, -ENODATA);
	}
	if (!strcmp(name, POLICY_PREFIX "retain")) {
		fs->retain_wanted = true;
		background_kick_checkpoint_locked(fs);
	}
	return change_end(fs, &op, 0, NULL);
}

int ropefs_removexattr(struct ropefs *fs, uint64_t ino, const char *name)
{
	struct op op = { .type = OP_RMXATTR, .ino = ino, .name = SPAN_STR(name) };
	int r = xattr_name_check(name);

	if (r >= 0)
		r = change_begin(fs, &op, 0, true);
	return r < 0 ? r : change_end(fs, &op, 0, NULL);
}

int ropefs_access(struct ropefs *fs, uint64_t ino, const struct ropefs_who *who,
		  unsigned want)
{
	_cleanup_(buf_release) struct buf acl = BUF_INIT;
	bool may = false;
	struct inode *in;
	int r;

	look_begin(fs);
	r = inode_get(fs, ino, &in);
	if (r >= 0)
		r = acl_access_of(fs, in, &acl);
	if (r >= 0)
		may = acl_allows(buf_span(&acl), who, le32_get(in->row.uid),
				 le32_get(in->row.gid), want);
	look_end(fs, r);
	return r < 0 || may ? r : -EACCES;
}
