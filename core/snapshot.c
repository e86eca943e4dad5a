/* snapshot.c - read-only images of a directory as it was at one instant.
 *
 * All that is stored hangs below the root of one copy-on-write tree. A snapshot keeps that root
 * as it is at its place in the log, and from then on nobody changes a node made until then
 * (nodes_take_snapshot()): nothing is copied, however large the store. Taking and dropping are
 * ops of the log as any other, so replay makes the same snapshots of the same states.
 *
 * Inodes of a snapshot have numbers of their own: ROPEFS_SNAPSHOT_BIT, 20 bits for the
 * snapshot, 40 for the inode. inode_get() reads them from the snapshot's catalog; op_apply()
 * refuses to change them. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/err.h"
#include "core/store_priv.h"

#define SNAPSHOTS_MAX 4096u

/* --- numbers --- */

uint64_t snapshot_ino(uint64_t id, uint64_t ino)
{
	assert(id > 0 && id <= SNAPSHOT_ID_MAX);
	assert(ino <= SNAPSHOT_INO_MAX);
	return ROPEFS_SNAPSHOT_BIT | id << SNAPSHOT_INO_BITS | ino;
}

int ino_beside(uint64_t ino, uint64_t other, uint64_t *ret)
{
	if (!ropefs_in_snapshot(ino)) {
		*ret = other;
		return 0;
	}
	if (other > SNAPSHOT_INO_MAX)
		return err_set(EOVERFLOW, "inode %llu can't be shown in a snapshot",
			       (unsigned long long)other);
	*ret = (ino & ~SNAPSHOT_INO_MAX) | other;
	return 0;
}

int catalog_of(struct ropefs *fs, uint64_t ino, struct catalog *ret)
{
	struct snapshot s;
	int r;

	assert(lock_held(&fs->engine));
	*ret = fs->catalog;
	if (!ropefs_in_snapshot(ino))
		return 0;
	r = snapshots_get(&fs->snaps, ino_snapshot(ino), &s);
	if (r == -ENOENT)
		return err_set(ESTALE, "the snapshot is not there any more");
	if (r < 0)
		return r;
	ret->bt.root = s.catalog;
	return 0;
}

int inode_get_xattr(struct ropefs *fs, const struct inode *in, struct span name,
		    struct buf *ret)
{
	struct catalog cat;
	int r = catalog_of(fs, in->ino, &cat);

	return r < 0 ? r : catalog_get_xattr(&cat, ino_base(in->ino), name, ret);
}

/* --- the tree of snapshots --- */

static int snapshots_lost(struct ropefs *fs)
{
	if (!fs->snaps_lost)
		return 0;
	return err_set(E_CORRUPT, "the list of snapshots can't be read: run ropefs-fsck");
}

/* What is there besides one of them. */
struct others {
	uint64_t n, epoch; /* of the newest */
	bool of_dir; /* there are more of its directory */
};

static int look_at_others(struct ropefs *fs, const struct snapshot *besides,
			  struct others *ret)
{
	struct others o = { 0 };
	struct snapshot s;
	uint64_t id = 0;
	int r;

	while ((r = snapshots_next(&fs->snaps, id, &s)) > 0) {
		id = s.id;
		if (besides && id == besides->id)
			continue;
		o.n++;
		o.epoch = MAX(o.epoch, s.epoch);
		o.of_dir |= besides && s.dir == besides->dir;
	}
	if (r >= 0)
		*ret = o;
	return r;
}

/* Damage must not keep the rest from being served, and must not be made worse: the row in
 * the catalog stays as it is, and a collection fails at the same page. */
int snapshots_open(struct ropefs *fs)
{
	struct others all = { 0 };
	int r = -ENOENT;

	fs->snaps = (struct btree) { .nodes = fs->nodes };
	if (!noderef_is_none(&fs->catalog.bt.root))
		r = catalog_get_snapshots(&fs->catalog, &fs->snaps.root);
	if (r >= 0)
		r = look_at_others(fs, NULL, &all);
	if (r == -ENOMEM)
		return r;
	fs->snaps_lost = r < 0 && r != -ENOENT;
	fs->n_snaps = all.n;
	nodes_set_snapshots(fs->nodes, nodes_snapshot_epoch(fs->nodes),
			    all.n || fs->snaps_lost);
	return 0;
}

int snapshots_flush(struct ropefs *fs)
{
	return fs->snaps_lost ? 0 : catalog_put_snapshots(&fs->catalog, &fs->snaps.root);
}

static int find(struct ropefs *fs, uint64_t dir, struct span name, struct snapshot *ret)
{
	struct snapshot s;
	uint64_t id = 0;
	int r = snapshots_lost(fs);

	while (r >= 0 && (r = snapshots_next(&fs->snaps, id, &s)) > 0) {
		id = s.id;
		if (s.dir != dir || s.name_len != name.n ||
		    memcmp(s.name, name.p, name.n))
			continue;
		*ret = s;
		return 0;
	}
	return r < 0 ? r : -ENOENT;
}

/* --- ops --- */

static int take_check(struct ropefs *fs, const struct op *op, struct inode **ret_dir)
{
	struct snapshot s;
	int r = name_check(op->name);

	if (r >= 0)
		r = dir_get(fs, op->dir, ret_dir);
	if (r < 0)
		return r;
	if (!le32_get((*ret_dir)->row.nlink))
		return -ENOENT;
	if (op->dir > SNAPSHOT_INO_MAX || !op->n || op->n > SNAPSHOT_ID_MAX)
		return -EOVERFLOW;
	if (fs->n_snaps >= SNAPSHOTS_MAX)
		return err_set(EMLINK,
			       "there are %u snapshots, and no more can be; remove one",
			       SNAPSHOTS_MAX);
	r = find(fs, op->dir, op->name, &s);
	return r == -ENOENT ? 0 : r < 0 ? r : -EEXIST;
}

int apply_snapshot(struct ropefs *fs, const struct op *op)
{
	struct snapshot s = {
		.id = op->n,
		.dir = op->dir,
		.time = op->time,
		.inodes = fs->n_inodes,
		.bytes = fs->data_bytes,
		.name_len = (uint8_t)op->name.n,
	};
	uint64_t before = nodes_snapshot_epoch(fs->nodes);
	struct inode *dir;
	int r = take_check(fs, op, &dir);

	if (r >= 0)
		r = catalog_put_snapshots(&fs->catalog, &NODEREF_NONE);
	if (r >= 0)
		r = (int)MIN(inode_flush(fs, SIZE_MAX), (ssize_t)0);
	if (r < 0)
		return r;
	memcpy(s.name, op->name.p, op->name.n);
	s.catalog = fs->catalog.bt.root;
	s.epoch = nodes_take_snapshot(fs->nodes);
	r = snapshots_put(&fs->snaps, &s);
	if (r < 0) {
		nodes_set_snapshots(fs->nodes, before, fs->n_snaps > 0);
		return r;
	}
	fs->n_snaps++;
	fs->next_snap = s.id == SNAPSHOT_ID_MAX ? 1 : (uint32_t)s.id + 1;
	dir->row.flags = le32_put(le32_get(dir->row.flags) | INODE_SNAPSHOTS);
	inode_mark_dirty(fs, dir);
	return 0;
}

int apply_snapshot_drop(struct ropefs *fs, const struct op *op)
{
	struct inode *dir = NULL;
	struct others rest;
	struct snapshot s;
	int r = snapshots_lost(fs);

	if (r >= 0)
		r = snapshots_get(&fs->snaps, op->n, &s);
	if (r >= 0)
		r = look_at_others(fs, &s, &rest);
	if (r >= 0 && !rest.of_dir)
		r = inode_get(fs, s.dir, &dir);
	if (r >= 0)
		r = snapshots_del(&fs->snaps, s.id);
	if (r < 0)
		return r;
	inode_forget_snapshot(fs, s.id);
	nodes_set_snapshots(fs->nodes, MAX(rest.epoch, fs->snap_copied), rest.n > 0);
	fs->n_snaps--;
	fs->drops++;
	if (dir) {
		dir->row.flags =
			le32_put(le32_get(dir->row.flags) & ~(uint32_t)INODE_SNAPSHOTS);
		inode_mark_dirty(fs, dir);
	}
	return 0;
}

/* A file shares the nodes of a snapshot from now on, also once that was dropped: until its
 * epoch they are nobody's own. */
int snapshot_copied(struct ropefs *fs, uint64_t ino)
{
	struct snapshot s;
	int r = snapshots_get(&fs->snaps, ino_snapshot(ino), &s);

	if (r >= 0)
		fs->snap_copied = MAX(fs->snap_copied, s.epoch);
	return r;
}

/* --- public functions --- */

/* An id that no snapshot has; there are far more than SNAPSHOTS_MAX. */
static int free_id(struct ropefs *fs, uint64_t *ret)
{
	uint64_t id = MAX(fs->next_snap, 1u);
	struct snapshot s;
	int r;

	while ((r = snapshots_get(&fs->snaps, id, &s)) >= 0)
		id = id == SNAPSHOT_ID_MAX ? 1 : id + 1;
	if (r != -ENOENT)
		return r;
	*ret = id;
	return 0;
}

int ropefs_snapshot_create(struct ropefs *fs, uint64_t dir, struct ropefs_name name,
			   struct ropefs_attr *ret)
{
	struct op op = { .type = OP_SNAPSHOT,
			 .dir = dir,
			 .name = span_of(name.p, name.n) };
	struct ropefs_attr attr;
	ssize_t left;
	int r;

	left = inode_flush_most(fs); /* so that the lock is not held for all of them */
	lock_drop(&fs->engine);
	if (left < 0)
		return (int)left;
	r = change_begin(fs, &op, 0, false);
	if (r < 0)
		return r;
	if (ropefs_in_snapshot(dir))
		r = err_set(EROFS, "a snapshot can't be taken of a part of a snapshot");
	if (r >= 0)
		r = free_id(fs, &op.n);
	if (r < 0)
		return change_abort(fs, r);
	r = change_end(fs, &op, snapshot_ino(op.n, dir & SNAPSHOT_INO_MAX), &attr);
	if (r >= 0)
		r = ropefs_sync(fs);
	if (r >= 0 && ret)
		*ret = attr;
	return r;
}

int ropefs_snapshot_lookup(struct ropefs *fs, uint64_t dir, struct ropefs_name name,
			   struct ropefs_attr *ret)
{
	struct snapshot s;
	struct inode *in;
	int r;

	err_clear();
	lock_take(&fs->engine);
	nodes_trim(fs->nodes);
	inode_trim(fs);
	r = find(fs, dir, span_of(name.p, name.n), &s);
	if (r >= 0)
		r = inode_get(fs, snapshot_ino(s.id, dir), &in);
	if (r >= 0)
		attr_from_inode(in, ret);
	lock_drop(&fs->engine);
	return r;
}

int ropefs_snapshot_drop(struct ropefs *fs, uint64_t dir, struct ropefs_name name)
{
	struct op op = { .type = OP_SNAPSHOT_DROP };
	struct snapshot s;
	int r = change_begin(fs, &op, 0, true);

	if (r < 0)
		return r;
	r = find(fs, dir, span_of(name.p, name.n), &s);
	if (r >= 0 && inode_snapshot_held(fs, s.id))
		r = err_set(EBUSY, "a file of the snapshot %s is open", s.name);
	if (r < 0)
		return change_abort(fs, r);
	op.n = s.id;
	r = change_end(fs, &op, 0, NULL);
	if (r >= 0) {
		lock_take(&fs->engine);
		background_kick_checkpoint_locked(fs);
		lock_drop(&fs->engine);
	}
	return r;
}

int ropefs_snapshot_list(struct ropefs *fs, uint64_t dir, uint64_t after,
			 struct ropefs_snapshot *ret, unsigned max)
{
	struct snapshot s;
	unsigned n = 0;
	int r;

	err_clear();
	lock_take(&fs->engine);
	nodes_trim(fs->nodes);
	r = snapshots_lost(fs);
	while (r >= 0 && n < max && (r = snapshots_next(&fs->snaps, after, &s)) > 0) {
		after = s.id;
		if (dir && s.dir != dir)
			continue;
		ret[n] = (struct ropefs_snapshot) {
			.id = s.id,
			.dir = s.dir,
			.root = snapshot_ino(s.id, s.dir),
			.time.ns = s.time,
			.inodes = s.inodes,
			.bytes = s.bytes,
			.name_len = s.name_len,
		};
		memcpy(ret[n].name, s.name, s.name_len + 1u);
		n++;
	}
	lock_drop(&fs->engine);
	return r < 0 ? r : (int)n;
}
