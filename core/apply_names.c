/* apply_names.c - what each op does to names: entries, link counts, orphans.
 *
 * Rows of several inodes and entries change together; each function first reads all it
 * needs and finds every reason to refuse, then changes. Only want of memory can stop it
 * halfway; that turns the store read-only, and the log still has the state before. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/err.h"
#include "core/queue.h"
#include "core/store_priv.h"

#define LINKS_MAX 65000u

int name_check(struct span name)
{
	if (name.n > ROPEFS_NAME_MAX)
		return -ENAMETOOLONG;
	if (name.n == 0 || memchr(name.p, '/', name.n) || memchr(name.p, '\0', name.n))
		return -EINVAL;
	if (name.p[0] == '.' && (name.n == 1 || (name.n == 2 && name.p[1] == '.')))
		return -EINVAL;
	return 0;
}

int dir_get(struct ropefs *fs, uint64_t ino, struct inode **ret)
{
	struct inode *in;
	int r = inode_get(fs, ino, &in);

	if (r < 0)
		return r;
	if (!S_ISDIR(le32_get(in->row.mode)))
		return -ENOTDIR;
	*ret = in;
	return 0;
}

/* A directory that may get a new name: one that was removed may not. */
static int dir_get_live(struct ropefs *fs, uint64_t ino, struct inode **ret)
{
	struct inode *in;
	int r = dir_get(fs, ino, &in);

	if (r < 0)
		return r;
	if (!le32_get(in->row.nlink))
		return -ENOENT;
	*ret = in;
	return 0;
}

/* Snapshots are reached through their directory, so it stays as long as they do. */
static bool dir_in_use(const struct inode *dir)
{
	return le64_get(dir->row.entries) || le32_get(dir->row.flags) & INODE_SNAPSHOTS;
}

static uint8_t type_of(const struct inode *in)
{
	return (uint8_t)(le32_get(in->row.mode) >> 12); /* S_IFMT to DT_ */
}

static void add_links(struct ropefs *fs, struct inode *in, int n, int64_t time)
{
	in->row.nlink = le32_put(le32_get(in->row.nlink) + (uint32_t)n);
	in->row.ctime = le64_put((uint64_t)time);
	inode_mark_dirty(fs, in);
}

/* A directory got (1), lost (-1) or swapped (0) an entry; dirs: how its subdirectories grew. */
static void touch_dir(struct ropefs *fs, struct inode *dir, int entries, int dirs,
		      int64_t time)
{
	dir->row.entries =
		le64_put(le64_get(dir->row.entries) + (uint64_t)(int64_t)entries);
	dir->row.nlink = le32_put(le32_get(dir->row.nlink) + (uint32_t)dirs);
	dir->row.mtime = dir->row.ctime = le64_put((uint64_t)time);
	inode_mark_dirty(fs, dir);
}

/* A change of several rows stopped halfway. */
static int torn(struct ropefs *fs, int r)
{
	store_fail_locked(fs, r, "a change of names could not be finished");
	return r;
}

static void fill_row(const struct op *op, struct inode_row *row)
{
	bool dir = S_ISDIR(op->mode);

	*row = (struct inode_row) {
		.version = le32_put(1),
		.mode = le32_put(op->mode),
		.uid = le32_put(op->uid),
		.gid = le32_put(op->gid),
		.nlink = le32_put(!op->name.n ? 0
				  : dir	      ? 2
					      : 1),
		.rdev = le64_put(S_ISREG(op->mode) ? 0 : op->rdev),
		.parent = le64_put(op->name.n ? op->dir : 0),
		.entries = le64_put(S_ISLNK(op->mode)	? op->data.n
				    : S_ISREG(op->mode) ? (uint64_t)MAX(op->time, 0)
							: 0),
	};
	row->atime = row->mtime = row->ctime = row->btime = le64_put((uint64_t)op->time);
}

/* What a new inode that failed with r has got so far goes again. */
static int purged(struct ropefs *fs, uint64_t ino, int r)
{
	int undo = catalog_purge(&fs->catalog, ino, ROWS_ALL);

	return undo < 0 ? torn(fs, undo) : r;
}

/* Where a new name goes (NULL: there is none), and the ACL that comes from there. */
static int create_check(struct ropefs *fs, const struct op *op, struct inode **ret_dir,
			struct buf *ret_acl)
{
	struct inode *dir = NULL;
	struct entry e;
	int r;

	if (op->name.n) {
		r = name_check(op->name);
		if (r < 0)
			return r;
		r = dir_get_live(fs, op->dir, &dir);
		if (r < 0)
			return r;
		r = catalog_lookup(&fs->catalog, op->dir, op->name, &e);
		if (r != -ENOENT)
			return r < 0 ? r : -EEXIST;
	}
	r = S_ISLNK(op->mode) ? -ENODATA : acl_default_of(fs, op->dir, ret_acl);
	if (r < 0 && r != -ENODATA)
		return r;
	*ret_dir = dir;
	return 0;
}

/* 1: the policies of the folder that a regular file is made in, or for, make it a queue. */
static int makes_queue(struct ropefs *fs, const struct op *op, struct inode *dir,
		       struct framing *ret)
{
	int r = 0;

	if (!S_ISREG(op->mode))
		return 0;
	if (!dir && op->dir && op->rdev == CREATE_AS_NAMED)
		r = dir_get(fs, op->dir, &dir);
	return r < 0 || !dir ? r : queue_wanted(fs, dir, ret);
}

/* A number for a new inode. What has it already must not be written over. */
static int number_check(struct ropefs *fs, uint64_t ino)
{
	if (!ino || ino >= ROPEFS_SNAPSHOT_BIT)
		return -EINVAL;
	if (htab_get(&fs->inodes, ino))
		return err_set(E_CORRUPT,
			       "the number of a new inode, %llu, has another one: run "
			       "ropefs-fsck",
			       (unsigned long long)ino);
	return 0;
}

int apply_create(struct ropefs *fs, const struct op *op)
{
	_cleanup_(buf_release) struct buf acl = BUF_INIT;
	struct inode *dir, *in;
	struct framing framing;
	struct inode_row row;
	int r, queue = 0;

	r = number_check(fs, op->ino);
	if (r >= 0)
		r = create_check(fs, op, &dir, &acl);
	if (r >= 0)
		r = queue = makes_queue(fs, op, dir, &framing);
	if (r < 0)
		return r;
	if (S_ISLNK(op->mode)) {
		r = catalog_set_target(&fs->catalog, op->ino, op->data);
		if (r < 0)
			return r;
	}
	fill_row(op, &row);
	if (acl.n) {
		r = acl_to_new(fs, op->ino, buf_span(&acl), &row);
		if (r < 0)
			return purged(fs, op->ino, r);
	}
	r = catalog_put_inode(&fs->catalog, op->ino, &row);
	if (r < 0)
		return purged(fs, op->ino, r);
	r = inode_add(fs, op->ino, &row, &in);
	if (r < 0)
		return torn(fs, r);
	fs->n_inodes++;
	r = queue ? queue_make(fs, in, framing) : 0;
	if (r >= 0 && dir)
		r = catalog_add_entry(&fs->catalog, op->dir, op->name, op->ino,
				      type_of(in));
	else if (r >= 0)
		r = catalog_add_orphan(&fs->catalog, op->ino);
	if (r < 0) {
		int undo = inode_destroy(fs, in);

		return undo < 0 ? torn(fs, undo) : r;
	}
	if (dir)
		touch_dir(fs, dir, 1, S_ISDIR(op->mode) ? 1 : 0, op->time);
	fs->next_ino = MAX(fs->next_ino, op->ino + 1);
	return 0;
}

int apply_link(struct ropefs *fs, const struct op *op)
{
	struct inode *dir, *in;
	struct entry e;
	bool orphan;
	int r;

	r = name_check(op->name);
	if (r < 0)
		return r;
	r = dir_get_live(fs, op->dir, &dir);
	if (r < 0)
		return r;
	r = inode_get(fs, op->ino, &in);
	if (r < 0)
		return r;
	if (S_ISDIR(le32_get(in->row.mode)))
		return -EPERM;
	if (le32_get(in->row.nlink) >= LINKS_MAX)
		return -EMLINK;
	r = catalog_lookup(&fs->catalog, op->dir, op->name, &e);
	if (r != -ENOENT)
		return r < 0 ? r : -EEXIST;
	orphan = !le32_get(in->row.nlink);
	r = catalog_add_entry(&fs->catalog, op->dir, op->name, op->ino, type_of(in));
	if (r < 0)
		return r;
	if (orphan) {
		r = catalog_del_orphan(&fs->catalog, op->ino);
		if (r < 0)
			return torn(fs, r);
	}
	if (!le64_get(in->row.parent))
		in->row.parent = le64_put(op->dir);
	fs->lane_turn++;
	add_links(fs, in, 1, op->time);
	touch_dir(fs, dir, 1, 0, op->time);
	return 0;
}

/* Before a name of the inode goes: what drop_link() needs can be read. */
static int drop_reserve(struct ropefs *fs, const struct inode *in, bool reap)
{
	if (!S_ISDIR(le32_get(in->row.mode)) && le32_get(in->row.nlink) > 1)
		return 0;
	return reap ? inode_reserve_destroy(fs, in)
		    : catalog_reserve_orphan(&fs->catalog, in->ino);
}

/* The inode has lost a name (a directory: its only one). reap: nobody holds it. */
static int drop_link(struct ropefs *fs, struct inode *in, bool reap, int64_t time)
{
	bool dir = S_ISDIR(le32_get(in->row.mode));

	add_links(fs, in, dir ? -(int)le32_get(in->row.nlink) : -1, time);
	if (le32_get(in->row.nlink))
		return 0;
	if (reap)
		return inode_destroy(fs, in);
	return catalog_add_orphan(&fs->catalog, in->ino);
}

/* Finds dir/name and its inode. */
static int find(struct ropefs *fs, uint64_t dir, struct span name, struct inode **ret_dir,
		struct entry *ret_entry, struct inode **ret)
{
	int r = name_check(name);

	if (r < 0)
		return r;
	r = dir_get(fs, dir, ret_dir);
	if (r < 0)
		return r;
	r = catalog_lookup(&fs->catalog, dir, name, ret_entry);
	if (r < 0)
		return r;
	r = inode_get(fs, ret_entry->ino, ret);
	if (r == -ENOENT)
		return err_set(E_CORRUPT,
			       "an entry of directory %llu names inode %llu, which is "
			       "not there",
			       (unsigned long long)dir,
			       (unsigned long long)ret_entry->ino);
	return r;
}

int apply_unlink(struct ropefs *fs, const struct op *op)
{
	bool want_dir = op->type == OP_RMDIR;
	struct inode *dir, *in;
	struct entry e;
	bool is_dir;
	int r;

	r = find(fs, op->dir, op->name, &dir, &e, &in);
	if (r < 0)
		return r;
	is_dir = S_ISDIR(le32_get(in->row.mode));
	if (is_dir != want_dir)
		return is_dir ? -EISDIR : -ENOTDIR;
	if (is_dir && dir_in_use(in))
		return -ENOTEMPTY;
	r = drop_reserve(fs, in, op->flags & OP_FLAG_REAP);
	if (r < 0)
		return r;
	r = catalog_del_found(&fs->catalog, op->dir, &e);
	if (r < 0)
		return r;
	touch_dir(fs, dir, -1, is_dir ? -1 : 0, op->time);
	r = drop_link(fs, in, op->flags & OP_FLAG_REAP, op->time);
	return r < 0 ? torn(fs, r) : 0;
}

/* 1 when dir is `in` or lies below it. */
static int lies_below(struct ropefs *fs, struct inode *dir, const struct inode *in)
{
	while (dir->ino != ROPEFS_ROOT_INO) {
		int r;

		if (dir == in)
			return 1;
		r = dir_get(fs, le64_get(dir->row.parent), &dir);
		if (r < 0)
			return r;
	}
	return dir == in;
}

struct renaming {
	struct inode *dir, *to_dir, *in, *target; /* target NULL: none */
	struct entry e, te;
};

/* Every reason to refuse. 1: nothing to do (two names of one inode). */
static int rename_check(struct ropefs *fs, const struct op *op, struct renaming *rn)
{
	bool dir, exchange = op->mode & RENAME_EXCHANGE;
	int r;

	if (op->mode &
		    ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT) ||
	    (exchange && op->mode != RENAME_EXCHANGE))
		return -EINVAL;
	r = find(fs, op->dir, op->name, &rn->dir, &rn->e, &rn->in);
	if (r < 0)
		return r;
	r = dir_get_live(fs, op->src, &rn->to_dir);
	if (r < 0)
		return r;
	r = find(fs, op->src, op->name2, &rn->to_dir, &rn->te, &rn->target);
	if (r == -ENOENT && !exchange)
		rn->target = NULL;
	else if (r < 0)
		return r;
	else if (op->mode & RENAME_NOREPLACE)
		return -EEXIST;
	if (rn->target == rn->in)
		return 1;

	dir = S_ISDIR(le32_get(rn->in->row.mode));
	if (dir) {
		r = lies_below(fs, rn->to_dir, rn->in);
		if (r)
			return r < 0 ? r : -EINVAL;
	}
	if (!rn->target)
		return 0;
	if (exchange) {
		if (!S_ISDIR(le32_get(rn->target->row.mode)))
			return 0;
		r = lies_below(fs, rn->dir, rn->target);
		return r > 0 ? -EINVAL : r;
	}
	if (dir && !S_ISDIR(le32_get(rn->target->row.mode)))
		return -ENOTDIR;
	if (!dir && S_ISDIR(le32_get(rn->target->row.mode)))
		return -EISDIR;
	if (dir && dir_in_use(rn->target))
		return -ENOTEMPTY;
	return 0;
}

/* The inode is in another directory now. */
static void moved(struct ropefs *fs, struct inode *in, struct inode *to, int64_t time)
{
	in->row.parent = le64_put(to->ino);
	fs->lane_turn++;
	add_links(fs, in, 0, time);
}

static int exchange(struct ropefs *fs, const struct op *op, struct renaming *rn)
{
	int dirs = S_ISDIR(le32_get(rn->target->row.mode)) -
		   S_ISDIR(le32_get(rn->in->row.mode));
	int r;

	r = catalog_set_entry(&fs->catalog, op->dir, op->name, rn->target->ino,
			      type_of(rn->target));
	if (r < 0)
		return r;
	r = catalog_set_entry(&fs->catalog, op->src, op->name2, rn->in->ino,
			      type_of(rn->in));
	if (r < 0)
		return torn(fs, r);
	touch_dir(fs, rn->dir, 0, dirs, op->time);
	touch_dir(fs, rn->to_dir, 0, -dirs, op->time);
	moved(fs, rn->in, rn->to_dir, op->time);
	moved(fs, rn->target, rn->dir, op->time);
	return 0;
}

/* The inode that takes a renamed one's place; nothing leads to it yet. */
static int whiteout_add(struct ropefs *fs, const struct op *op, struct inode **ret)
{
	struct op make = *op;
	struct inode_row row;
	int r;

	make.mode = S_IFCHR;
	fill_row(&make, &row);
	r = number_check(fs, op->ino);
	if (r >= 0)
		r = catalog_put_inode(&fs->catalog, op->ino, &row);
	if (r < 0)
		return r;
	r = inode_add(fs, op->ino, &row, ret);
	if (r < 0)
		return torn(fs, r);
	fs->n_inodes++;
	fs->next_ino = MAX(fs->next_ino, op->ino + 1);
	return 0;
}

/* The new name of what is renamed. */
static int rename_to(struct ropefs *fs, const struct op *op, const struct renaming *rn)
{
	if (rn->target)
		return catalog_set_entry(&fs->catalog, op->src, op->name2, rn->in->ino,
					 type_of(rn->in));
	return catalog_add_entry(&fs->catalog, op->src, op->name2, rn->in->ino,
				 type_of(rn->in));
}

/* What is left of its old one. */
static int rename_from(struct ropefs *fs, const struct op *op,
		       const struct inode *whiteout)
{
	if (whiteout)
		return catalog_set_entry(&fs->catalog, op->dir, op->name, whiteout->ino,
					 type_of(whiteout));
	return catalog_del_entry(&fs->catalog, op->dir, op->name);
}

int apply_rename(struct ropefs *fs, const struct op *op)
{
	struct inode *whiteout = NULL;
	struct renaming rn = { 0 };
	int r, dir;

	r = rename_check(fs, op, &rn);
	if (r)
		return r < 0 ? r : 0;
	if (op->mode & RENAME_EXCHANGE)
		return exchange(fs, op, &rn);

	dir = S_ISDIR(le32_get(rn.in->row.mode)) ? 1 : 0;
	r = rn.target ? drop_reserve(fs, rn.target, op->flags & OP_FLAG_REAP_TARGET) : 0;
	if (r < 0)
		return r;
	if (op->type == OP_WHITEOUT)
		r = whiteout_add(fs, op, &whiteout);
	if (r < 0)
		return r;
	r = rename_to(fs, op, &rn);
	if (r < 0) {
		int undo = whiteout ? inode_destroy(fs, whiteout) : 0;

		return undo < 0 ? torn(fs, undo) : r;
	}
	r = rename_from(fs, op, whiteout);
	if (r < 0)
		return torn(fs, r);
	touch_dir(fs, rn.dir, whiteout ? 0 : -1, -dir, op->time);
	touch_dir(fs, rn.to_dir, rn.target ? 0 : 1, rn.target ? 0 : dir, op->time);
	moved(fs, rn.in, rn.to_dir, op->time);
	if (rn.target) {
		r = drop_link(fs, rn.target, op->flags & OP_FLAG_REAP_TARGET, op->time);
		if (r < 0)
			return torn(fs, r);
	}
	return 0;
}

int apply_reap(struct ropefs *fs, const struct op *op)
{
	struct inode *in;
	int r = inode_get(fs, op->ino, &in);

	if (r < 0)
		return r;
	if (le32_get(in->row.nlink))
		return -EINVAL;
	r = inode_reserve_destroy(fs, in);
	return r < 0 ? r : inode_destroy(fs, in);
}
