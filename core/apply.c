/* apply.c - what each op does to bytes and attributes in memory. The live path and replay
 * both come through op_apply(); neither logs nor syncs here. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/err.h"
#include "core/queue.h"
#include "core/store_priv.h"
#include "core/stored.h"

/* A record holds at most WAL_RECORD_MAX bytes, a hole may come before them. */
#define EXTENTS_MAX (WAL_RECORD_MAX / HOT_BLOCK_MAX + 4)

static int file_get(struct ropefs *fs, uint64_t ino, struct inode **ret)
{
	struct inode *in;
	int r = inode_get(fs, ino, &in);

	if (r < 0)
		return r;
	if (S_ISDIR(le32_get(in->row.mode)))
		return -EISDIR;
	if (!S_ISREG(le32_get(in->row.mode)))
		return -EINVAL;
	*ret = in;
	return 0;
}

/* A file whose bytes may be changed anywhere. */
static int rope_get(struct ropefs *fs, uint64_t ino, struct inode **ret)
{
	struct inode *in;
	int r = file_get(fs, ino, &in);

	if (r < 0)
		return r;
	if (inode_is_queue(in))
		return err_set(EPERM, "a queue only takes appends, and cuts at its head");
	*ret = in;
	return 0;
}

static int count_extent(void *arg, const struct extent *e, uint64_t at)
{
	if (extent_kind(e) != EXTENT_HOLE)
		*(uint64_t *)arg += extent_bytes(e);
	return 0;
}

/* Bytes in [at, at+n) that are not holes. */
static int count_data(struct ropefs *fs, struct inode *in, uint64_t at, uint64_t n,
		      uint64_t *ret)
{
	uint64_t data = 0;
	int r;

	if (!(le32_get(in->row.flags) & INODE_SPARSE)) {
		*ret = n;
		return 0;
	}
	if (n) {
		r = rope_each(&fs->env, &in->row.rope, at, n, count_extent, &data);
		if (r < 0)
			return r;
	}
	*ret = data;
	return 0;
}

void inode_touch(struct ropefs *fs, struct inode *in, int64_t time, uint64_t came,
		 uint64_t went)
{
	uint64_t data = le64_get(in->row.data_bytes) + came;

	if (went)
		stored_went(in, went, fs->told_hot_bytes);
	in->row.data_bytes =
		le64_put(data - MIN(went, data)); /* a row may say anything */
	in->changed = ++fs->changes;
	fs->data_bytes += came;
	fs->data_bytes -= MIN(went, fs->data_bytes);
	/* What went with whole nodes nobody looked at: it counts as cold. */
	fs->dead_bytes += went - MIN(went, fs->told_bytes);
	fs->told_bytes = fs->told_hot_bytes = 0;
	in->row.mtime = in->row.ctime = le64_put((uint64_t)time);
	in->row.entries = le64_put(inode_next_version(in, time));
	inode_mark_dirty(fs, in);
}

static void mark_sparse(struct inode *in)
{
	in->row.flags = le32_put(le32_get(in->row.flags) | INODE_SPARSE);
}

static int apply_write(struct ropefs *fs, const struct op *op)
{
	struct extent e[EXTENTS_MAX];
	uint64_t size, at = op->at, went = 0;
	struct inode *in;
	unsigned n = 0;
	int r;

	r = rope_get(fs, op->ino, &in);
	if (r < 0)
		return r;
	size = rope_bytes(&in->row.rope);
	if (op->data.n > EXTENT_BYTES_MAX || at > EXTENT_BYTES_MAX - op->data.n)
		return -EFBIG;
	if (!op->data.n)
		return 0;
	if (at > size) {
		e[n++] = extent_hole(at - size);
		at = size;
	} else {
		r = count_data(fs, in, at, MIN(op->data.n, size - at), &went);
		if (r < 0)
			return r;
	}
	in->tail.lane = (uint8_t)inode_lane(fs, in);
	r = hot_put(fs->hot, &in->tail, op->data.p, op->data.n, e + n, EXTENTS_MAX - n);
	if (r < 0)
		return r;
	r = rope_replace(&fs->env, &in->row.rope, at, e, n + (unsigned)r);
	if (r < 0)
		return r;
	if (n)
		mark_sparse(in);
	inode_touch(fs, in, op->time, op->data.n, went);
	stored_came(in, op->data.n);
	return 0;
}

static int apply_insert(struct ropefs *fs, const struct op *op)
{
	struct extent e[EXTENTS_MAX];
	struct inode *in;
	uint64_t size;
	int r;

	r = rope_get(fs, op->ino, &in);
	if (r < 0)
		return r;
	size = rope_bytes(&in->row.rope);
	if (op->at > size)
		return err_set(ERANGE, "byte %llu is beyond the file's end (%llu bytes)",
			       (unsigned long long)op->at, (unsigned long long)size);
	if (op->data.n > EXTENT_BYTES_MAX - size)
		return -EFBIG;
	if (!op->data.n)
		return 0;
	in->tail.lane = (uint8_t)inode_lane(fs, in);
	r = hot_put(fs->hot, &in->tail, op->data.p, op->data.n, e, EXTENTS_MAX);
	if (r < 0)
		return r;
	r = rope_insert(&fs->env, &in->row.rope, op->at, e, (unsigned)r);
	if (r < 0)
		return r;
	inode_touch(fs, in, op->time, op->data.n, 0);
	stored_came(in, op->data.n);
	return 0;
}

static int range_check(const struct inode *in, uint64_t at, uint64_t n)
{
	uint64_t size = rope_bytes(&in->row.rope);

	if (at > size || n > size - at)
		return err_set(ERANGE,
			       "bytes %llu..%llu are not within the file (%llu bytes)",
			       (unsigned long long)at, (unsigned long long)(at + n),
			       (unsigned long long)size);
	return 0;
}

int inode_cut(struct ropefs *fs, struct inode *in, uint64_t at, uint64_t n, int64_t time)
{
	uint64_t went = 0;
	int r;

	if (!n)
		return 0;
	r = count_data(fs, in, at, n, &went);
	if (r < 0)
		return r;
	if (n == rope_bytes(&in->row.rope))
		r = rope_clear(&fs->env, &in->row.rope);
	else
		r = rope_remove(&fs->env, &in->row.rope, at, n);
	if (r < 0)
		return r;
	inode_touch(fs, in, time, 0, went);
	return 0;
}

static int apply_cut(struct ropefs *fs, const struct op *op)
{
	struct inode *in;
	int r;

	r = rope_get(fs, op->ino, &in);
	if (r < 0)
		return r;
	r = range_check(in, op->at, op->n);
	if (r < 0)
		return r;
	return inode_cut(fs, in, op->at, op->n, op->time);
}

static int apply_truncate(struct ropefs *fs, const struct op *op)
{
	struct inode *in;
	struct extent hole;
	uint64_t size;
	int r;

	r = file_get(fs, op->ino, &in);
	if (r < 0)
		return r;
	size = rope_bytes(&in->row.rope);
	if (inode_is_queue(in) && op->n == 0)
		return queue_reset(fs, in, op->time);
	if (inode_is_queue(in) && op->n == size)
		return 0;
	r = rope_get(fs, op->ino, &in);
	if (r < 0)
		return r;
	if (op->n > EXTENT_BYTES_MAX)
		return -EFBIG;
	if (op->n < size) {
		r = inode_cut(fs, in, op->n, size - op->n, op->time);
		if (r < 0)
			return r;
	} else if (op->n > size) {
		hole = extent_hole(op->n - size);
		r = rope_insert(&fs->env, &in->row.rope, size, &hole, 1);
		if (r < 0)
			return r;
		mark_sparse(in);
	}
	inode_touch(fs, in, op->time, 0, 0);
	return 0;
}

static int apply_punch(struct ropefs *fs, const struct op *op)
{
	uint64_t size, n = op->n, went = 0, within;
	struct inode *in;
	struct extent e[2];
	unsigned k = 0;
	uint64_t at = op->at;
	int r;

	r = rope_get(fs, op->ino, &in);
	if (r < 0)
		return r;
	size = rope_bytes(&in->row.rope);
	if (n > EXTENT_BYTES_MAX || at > EXTENT_BYTES_MAX - n)
		return -EFBIG;
	if (op->flags & OP_FLAG_KEEP_SIZE) {
		if (at >= size)
			return 0;
		n = MIN(n, size - at);
	}
	if (!n)
		return 0;
	within = at < size ? MIN(n, size - at) : 0;
	r = count_data(fs, in, at, within, &went);
	if (r < 0)
		return r;
	if (at > size) {
		n += at - size;
		at = size;
	}
	e[k++] = extent_hole(n);
	r = rope_replace(&fs->env, &in->row.rope, at, e, k);
	if (r < 0)
		return r;
	mark_sparse(in);
	inode_touch(fs, in, op->time, 0, went);
	return 0;
}

struct gathered {
	struct extent *e;
	size_t n, cap;
	uint64_t data, hot; /* bytes that are no holes, and of these */
	bool holes;
};

static int gather(void *arg, const struct extent *e, uint64_t at)
{
	struct gathered *g = arg;

	if (g->n == g->cap) {
		size_t cap = g->cap ? g->cap * 2 : 16;
		struct extent *bigger = realloc(g->e, cap * sizeof(*bigger));

		if (!bigger)
			return -ENOMEM;
		g->e = bigger;
		g->cap = cap;
	}
	g->e[g->n++] = *e;
	if (extent_kind(e) == EXTENT_HOLE)
		g->holes = true;
	else
		g->data += extent_bytes(e);
	if (extent_kind(e) == EXTENT_HOT)
		g->hot += extent_bytes(e);
	return 0;
}

static int splice(struct ropefs *fs, struct inode *in, uint64_t at, uint64_t n,
		  const struct gathered *g, const struct op *op)
{
	struct stored_share share = { 0 };
	uint64_t went = 0;
	struct inode *src;
	int r;

	r = file_get(fs, op->src, &src);
	if (r >= 0) {
		share = stored_share(src, g->data, g->hot);
		r = count_data(fs, in, at, n, &went);
	}
	if (r >= 0)
		r = rope_splice(&fs->env, &in->row.rope, at, n, g->e, g->n);
	if (r < 0)
		return r;
	if (g->holes)
		mark_sparse(in);
	inode_touch(fs, in, op->time, g->data, went);
	stored_shared(in, &share);
	return 0;
}

static int apply_replace(struct ropefs *fs, const struct op *op)
{
	struct inode *in, *src;
	struct gathered g = { 0 };
	int r;

	r = rope_get(fs, op->ino, &in);
	if (r < 0)
		return r;
	r = file_get(fs, op->src, &src);
	if (r < 0)
		return r;
	r = range_check(in, op->at, op->n);
	if (r < 0)
		return r;
	r = range_check(src, op->src_at, op->src_n);
	if (r < 0)
		return r;
	if (in == src && op->src_n && op->n && op->src_at < op->at + op->n &&
	    op->at < op->src_at + op->src_n)
		return err_set(
			EINVAL,
			"bytes %llu..%llu can't take the place of %llu..%llu, which "
			"overlap them",
			(unsigned long long)op->src_at,
			(unsigned long long)(op->src_at + op->src_n),
			(unsigned long long)op->at, (unsigned long long)(op->at + op->n));
	if (op->src_n > EXTENT_BYTES_MAX - (rope_bytes(&in->row.rope) - op->n))
		return -EFBIG;
	if (op->src_n) {
		r = rope_each(&fs->env, &src->row.rope, op->src_at, op->src_n, gather,
			      &g);
		if (r < 0)
			goto out;
	}
	r = splice(fs, in, op->at, op->n, &g, op);
out:
	free(g.e);
	return r;
}

static int apply_clone(struct ropefs *fs, const struct op *op)
{
	struct inode *in, *src;
	int r;

	r = rope_get(fs, op->ino, &in);
	if (r < 0)
		return r;
	r = file_get(fs, op->src, &src);
	if (r < 0)
		return r;
	if (rope_bytes(&in->row.rope))
		return -EINVAL;
	if (ropefs_in_snapshot(op->src)) { /* that stays as it is */
		struct rope copy = src->row.rope;

		r = snapshot_copied(fs, op->src);
		if (r < 0)
			return r;
		rope_clone(&fs->env, &copy, &in->row.rope);
	} else {
		rope_clone(&fs->env, &src->row.rope, &in->row.rope);
		inode_mark_dirty(fs, src);
	}
	in->row.flags = le32_put(le32_get(in->row.flags) |
				 (le32_get(src->row.flags) & INODE_SPARSE));
	if (!le64_get(in->row.parent)) {
		in->lane_like = ino_base(op->src);
		in->lane_turn = 0;
	}
	inode_touch(fs, in, op->time, le64_get(src->row.data_bytes), 0);
	stored_copied(in, src);
	return 0;
}

/* The new bytes are a rope of their own before the old ones go. */
static int apply_put(struct ropefs *fs, const struct op *op)
{
	struct rope rope = ROPE_EMPTY;
	struct extent e[EXTENTS_MAX];
	struct inode *in;
	int n = 0, r;

	r = rope_get(fs, op->ino, &in);
	if (r < 0)
		return r;
	in->tail.lane = (uint8_t)inode_lane(fs, in);
	if (op->data.n)
		n = hot_put(fs->hot, &in->tail, op->data.p, op->data.n, e, EXTENTS_MAX);
	if (n < 0)
		return n;
	r = n ? rope_insert(&fs->env, &rope, 0, e, (unsigned)n) : 0;
	if (r < 0)
		return r;
	r = rope_clear(&fs->env, &in->row.rope);
	if (r < 0) {
		int undo = rope_clear(&fs->env, &rope);

		if (undo < 0)
			store_fail_locked(fs, undo, "an edit could not be undone");
		return r;
	}
	in->row.rope = rope;
	in->row.flags = le32_put(le32_get(in->row.flags) & ~INODE_SPARSE);
	inode_touch(fs, in, op->time, op->data.n, le64_get(in->row.data_bytes));
	in->hot_bytes = 0; /* what went with whole nodes was told to nobody */
	stored_came(in, op->data.n);
	return 0;
}

/* What edits of a file were made on a copy takes effect: O(1), and its own undoing. */
static int apply_swap(struct ropefs *fs, const struct op *op)
{
	struct inode *in, *src;
	struct hot_tail tail;
	struct rope rope;
	uint32_t differ;
	le64 data;
	int r;

	r = rope_get(fs, op->ino, &in);
	if (r < 0)
		return r;
	r = rope_get(fs, op->src, &src);
	if (r < 0)
		return r;
	if (in == src)
		return -EINVAL;
	rope = in->row.rope;
	in->row.rope = src->row.rope;
	src->row.rope = rope;
	tail = in->tail;
	in->tail = src->tail;
	src->tail = tail;
	data = in->row.data_bytes;
	in->row.data_bytes = src->row.data_bytes;
	src->row.data_bytes = data;
	stored_swapped(in, src);
	differ = (le32_get(in->row.flags) ^ le32_get(src->row.flags)) & INODE_SPARSE;
	in->row.flags = le32_put(le32_get(in->row.flags) ^ differ);
	src->row.flags = le32_put(le32_get(src->row.flags) ^ differ);
	inode_touch(fs, in, op->time, 0, 0);
	inode_touch(fs, src, op->time, 0, 0);
	return 0;
}

static int apply_setattr(struct ropefs *fs, const struct op *op)
{
	struct inode *in;
	int r = inode_get(fs, op->ino, &in);

	if (r >= 0 && op->set & ROPEFS_SET_MODE)
		r = acl_chmod(fs, in, op->mode);
	if (r < 0)
		return r;
	if (op->set & ROPEFS_SET_MODE)
		in->row.mode =
			le32_put((le32_get(in->row.mode) & S_IFMT) | (op->mode & 07777));
	if (op->set & ROPEFS_SET_UID)
		in->row.uid = le32_put(op->uid);
	if (op->set & ROPEFS_SET_GID)
		in->row.gid = le32_put(op->gid);
	if (op->set & (ROPEFS_SET_ATIME | ROPEFS_SET_ATIME_NOW))
		in->row.atime = le64_put((uint64_t)op->atime);
	if (op->set & (ROPEFS_SET_MTIME | ROPEFS_SET_MTIME_NOW))
		in->row.mtime = le64_put((uint64_t)op->mtime);
	in->row.ctime = le64_put((uint64_t)op->time);
	inode_mark_dirty(fs, in);
	return 0;
}

/* What is read by an op may be in a snapshot, what it changes may not. */
static bool changes_snapshot(const struct op *op)
{
	return ropefs_in_snapshot(op->ino) || ropefs_in_snapshot(op->dir) ||
	       ((op->type == OP_RENAME || op->type == OP_WHITEOUT ||
		 op->type == OP_SWAP) &&
		ropefs_in_snapshot(op->src));
}

int op_apply(struct ropefs *fs, const struct op *op)
{
	static int (*const apply[OP_TYPE_MAX])(struct ropefs *, const struct op *) = {
		[OP_WRITE] = apply_write,	[OP_INSERT] = apply_insert,
		[OP_CUT] = apply_cut,		[OP_TRUNCATE] = apply_truncate,
		[OP_PUNCH] = apply_punch,	[OP_REPLACE] = apply_replace,
		[OP_CLONE] = apply_clone,	[OP_CREATE] = apply_create,
		[OP_LINK] = apply_link,		[OP_UNLINK] = apply_unlink,
		[OP_RMDIR] = apply_unlink,	[OP_RENAME] = apply_rename,
		[OP_SETATTR] = apply_setattr,	[OP_SETXATTR] = apply_xattr,
		[OP_RMXATTR] = apply_xattr,	[OP_REAP] = apply_reap,
		[OP_WHITEOUT] = apply_rename,	[OP_TXN] = apply_txn,
		[OP_SWAP] = apply_swap,		[OP_PUT] = apply_put,
		[OP_SNAPSHOT] = apply_snapshot, [OP_SNAPSHOT_DROP] = apply_snapshot_drop,
		[OP_APPEND] = apply_append,	[OP_MARK] = apply_mark,
		[OP_TRIM] = apply_trim,		[OP_CURSOR_SET] = apply_cursor,
		[OP_CURSOR_DEL] = apply_cursor,
	};

	assert(lock_held(&fs->engine));
	assert(op->type < OP_TYPE_MAX && apply[op->type]);
	if (changes_snapshot(op))
		return err_set(EROFS, "a snapshot can't be changed");
	fs->told_bytes = fs->told_hot_bytes = 0;
	return apply[op->type](fs, op);
}
