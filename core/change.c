/* change.c - the way of every change: admitted, applied in memory, logged, and, where
 * durability asks for it, awaited. */
#include "core/op.h"

#include <errno.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "core/base/err.h"
#include "core/remote_priv.h"
#include "core/store_priv.h"
#include "core/stored.h"

#define SPACE_CHECK_BYTES   (4 * MIB)
#define SPACE_CHECK_CHANGES 4096u
#define RECLAIM_BYTES_MIN   MIB
#define SPACE_RESERVE	    (8 * MIB) /* for what a checkpoint of names and trees needs */
/* And for rewriting a pack, so that a full disk can be collected; less of small disks. */
#define SPACE_REWRITE	   (PACK_BYTES * 3 / 4)
#define SPACE_REWRITE_PART 32
#define PUSH_BYTES                                                                       \
	MIB /* of changes; then the log is pushed without waiting for its time */

void attr_from_inode(const struct inode *in, struct ropefs_attr *ret)
{
	const struct inode_row *row = &in->row;
	uint32_t mode = le32_get(row->mode);

	*ret = (struct ropefs_attr) {
		.ino = in->ino,
		.mode = mode,
		.nlink = le32_get(row->nlink),
		.uid = le32_get(row->uid),
		.gid = le32_get(row->gid),
		.rdev = le64_get(row->rdev),
		.size = S_ISREG(mode) ? rope_bytes(&row->rope) : le64_get(row->entries),
		.blocks = (stored_bytes(row) + 511) / 512,
		.atime.ns = (int64_t)le64_get(row->atime),
		.mtime.ns = (int64_t)le64_get(row->mtime),
		.ctime.ns = (int64_t)le64_get(row->ctime),
		.btime.ns = (int64_t)le64_get(row->btime),
		.is_queue = le32_get(row->flags) & INODE_QUEUE,
		.version = S_ISREG(mode) ? inode_version(in) : 0,
	};
}

static int look_at_space(struct ropefs *fs)
{
	struct io_space space;
	int r = fs->io->ops->space(fs->io, &space);

	if (r < 0)
		return r;
	fs->space_left = space.free_bytes;
	fs->space_changes = 0;
	fs->space_lack = wal_spare_lack(fs->wal);
	fs->space_rewrite =
		MIN((uint64_t)SPACE_REWRITE, space.total_bytes / SPACE_REWRITE_PART);
	return 0;
}

uint64_t space_reserved_locked(struct ropefs *fs)
{
	if (!fs->space_rewrite)
		look_at_space(fs); /* the first time; its failure shows elsewhere */
	return hot_total(fs->hot) + 2 * nodes_dirty_bytes(fs->nodes) +
	       wal_spare_lack(fs->wal) + SPACE_RESERVE + fs->space_rewrite;
}

/* Refuses what the next checkpoint could not write: the log has its room already. */
static int admit_space(struct ropefs *fs, uint64_t n)
{
	/* The next opening begins a segment: it must be able to on a disk we have filled. */
	uint64_t lack = wal_spare_lack(fs->wal);
	uint64_t need = space_reserved_locked(fs) + n;

	/* A lack that changed: the log has taken space, or given some back. */
	if (fs->space_left < need + SPACE_CHECK_BYTES || lack != fs->space_lack ||
	    ++fs->space_changes > SPACE_CHECK_CHANGES) {
		int r = look_at_space(fs);

		if (r < 0)
			return r;
	}
	if (fs->space_left >= need + 2 * fs->space_rewrite)
		fs->full = false;
	if (fs->space_left < need) {
		fs->full = true;
		return err_set(ENOSPC,
			       "the disk below the store is full: %llu MiB free, and a "
			       "checkpoint needs up to %llu MiB",
			       (unsigned long long)(fs->space_left / MIB),
			       (unsigned long long)(need / MIB + 1));
	}
	fs->space_left -= n;
	return 0;
}

static void tell_waits(struct ropefs *fs, enum ropefs_waits what, bool begins)
{
	if (fs->opts.waits)
		fs->opts.waits(fs->opts.event_arg, what, begins);
}

static void wait_room_locked(struct ropefs *fs, enum ropefs_waits what)
{
	tell_waits(fs, what, true);
	lock_wait(&fs->engine, &fs->room, 0);
	tell_waits(fs, what, false);
}

/* Waits until a checkpoint has made room in memory. */
static int admit_memory(struct ropefs *fs, unsigned io_flags)
{
	while (memory_full_locked(fs)) {
		if (fs->read_only)
			return -E_READ_ONLY;
		if (io_flags & ROPEFS_NOWAIT)
			return -EAGAIN;
		if (fs->checkpoint_result < 0)
			return fs->checkpoint_result;
		/* While the store is being opened nobody else would make room. */
		if (fs->threads_started) {
			background_kick_checkpoint_locked(fs);
			wait_room_locked(fs, ROPEFS_WAITS_MEMORY);
		} else {
			int r;

			lock_drop(&fs->engine);
			r = checkpoint_run(fs, false);
			lock_take(&fs->engine);
			if (r < 0)
				return r;
		}
	}
	return 0;
}

/* Whatever can be had: at least a checkpoint, which may need less than was set aside for it. */
static void reclaim(struct ropefs *fs)
{
	uint64_t done = fs->reclaims;
	int r;

	if (!fs->threads_started) {
		lock_drop(&fs->engine);
		lock_take(&fs->checkpoint);
		r = checkpoint_run_held(fs, false);
		if (r >= 0)
			r = collect_for_space_held(fs);
		lock_drop(&fs->checkpoint);
		lock_take(&fs->engine);
		fs->reclaim_failed = r < 0;
		fs->reclaim_wanted = false;
		return;
	}
	fs->reclaim_wanted = true;
	background_kick_checkpoint_locked(fs);
	while (fs->reclaims == done && !fs->read_only && !fs->stopping)
		wait_room_locked(fs, ROPEFS_WAITS_SPACE);
}

/* Waits while the bucket takes what must leave the disk first. */
static int admit_remote(struct ropefs *fs, uint64_t n, unsigned io_flags)
{
	int r;

	while ((r = remote_admit(fs, n)) == -EAGAIN) {
		if (io_flags & ROPEFS_NOWAIT || fs->read_only)
			break;
		wait_room_locked(fs, ROPEFS_WAITS_SPACE);
	}
	return r == -EAGAIN && fs->read_only ? -E_READ_ONLY : r;
}

static int admit(struct ropefs *fs, const struct op *op, unsigned io_flags, bool frees)
{
	int r = admit_memory(fs, io_flags);

	if (r >= 0 && !frees)
		r = admit_remote(fs, op->data.n, io_flags);
	if (r >= 0 && !frees)
		r = admit_space(fs, op->data.n);
	return r < 0 ? r : wal_reserve(fs->wal, OP_HEAD_MAX + op->data.n);
}

/* A checkpoint may need less than was set aside for it, and a collection frees what was
 * removed: both come before a refusal. */
static bool may_reclaim(struct ropefs *fs)
{
	return !fs->reclaim_failed &&
	       fs->dead_bytes + fs->left_bytes + hot_total(fs->hot) >= RECLAIM_BYTES_MIN;
}

static int admit_or_reclaim(struct ropefs *fs, const struct op *op, unsigned io_flags,
			    bool frees)
{
	int r = admit(fs, op, io_flags, frees);

	if (r != -ENOSPC || frees || !may_reclaim(fs))
		return r;
	if (io_flags & ROPEFS_NOWAIT)
		return -EAGAIN;
	reclaim(fs);
	return admit(fs, op, io_flags, frees);
}

/* On a disk that was full, what is removed is given back soon: nobody may come and ask for it by
 * writing, but df and ropectl status would go on saying that there is no room. */
static void give_back_soon_locked(struct ropefs *fs)
{
	if (!fs->full || fs->reclaim_wanted || fs->dead_bytes <= fs->space_rewrite / 2)
		return;
	fs->reclaim_wanted = true;
	background_kick_checkpoint_locked(fs);
}

/* Without threads the caller does what the checkpointer would. Its failure is remembered as
 * the checkpointer's is; the log still has everything. */
static void keep_house(struct ropefs *fs)
{
	bool due;

	lock_take(&fs->engine);
	due = !fs->read_only && checkpoint_due_locked(fs);
	lock_drop(&fs->engine);
	if (due)
		checkpoint_run(fs, false);
}

int change_begin(struct ropefs *fs, struct op *op, unsigned io_flags, bool frees)
{
	int r = 0;

	err_clear();
	if (!fs->threads)
		keep_house(fs);
	lock_take(&fs->engine);
	if (fs->read_only) {
		r = err_set(E_READ_ONLY, "the store is read-only: %s", fs->read_only_why);
		return change_abort(fs, r);
	}
	r = admit_or_reclaim(fs, op, io_flags, frees);
	if (r < 0)
		return change_abort(fs, r);
	memory_lend_locked(fs);
	nodes_trim(fs->nodes);
	inode_trim(fs);
	op->time = (int64_t)io_real_ns(fs->io);
	return 0;
}

int change_abort(struct ropefs *fs, int r)
{
	lock_drop(&fs->engine);
	return r;
}

int log_sync(struct ropefs *fs, uint64_t lsn)
{
	int r = wal_sync(fs->wal, lsn);

	if (r < 0 && wal_failed(fs->wal)) {
		lock_take(&fs->engine);
		store_fail_locked(fs, r, "the log can't be written");
		lock_drop(&fs->engine);
	}
	return r;
}

static _Thread_local uint64_t *noted_lsn;

void ropefs_note_lsn(uint64_t *where)
{
	noted_lsn = where;
}

uint64_t *noted_lsn_take(void)
{
	uint64_t *where = noted_lsn;

	noted_lsn = NULL;
	return where;
}

#define TOLD_MAX 3u

/* Which watched inodes the change is one of: their number. */
static unsigned whom_to_tell(struct ropefs *fs, const struct op *op,
			     uint64_t ret[TOLD_MAX])
{
	const uint64_t changed[TOLD_MAX] = { op->ino, op->dir, op->src };
	unsigned n = 0;

	if (!fs->watched.n)
		return 0;
	if (op->type == OP_TXN) {
		ret[0] = 0; /* any of them */
		return 1;
	}
	for (unsigned i = 0; i < TOLD_MAX; i++)
		if (changed[i] && htab_get(&fs->watched, changed[i]))
			ret[n++] = changed[i];
	return n;
}

/* As far as a change has to come before its call returns. */
static int log_change(struct ropefs *fs, uint64_t lsn, bool may_sync)
{
	bool sync = may_sync && fs->opts.durability == ROPEFS_SYNC;
	int r;

	if (!sync && !fs->opts.push)
		return 0;
	r = sync ? -EAGAIN : wal_push_now(fs->wal);
	if (r != -EAGAIN)
		return r;
	tell_waits(fs, ROPEFS_WAITS_LOG, true);
	r = sync ? log_sync(fs, lsn) : wal_push(fs->wal);
	tell_waits(fs, ROPEFS_WAITS_LOG, false);
	return r;
}

int change_end(struct ropefs *fs, const struct op *op, uint64_t ino,
	       struct ropefs_attr *ret)
{
	uint64_t told[TOLD_MAX];
	unsigned n_told;
	struct op_head head;
	struct iovec iov[2];
	struct inode *in;
	uint64_t lsn;
	int r;

	r = op_apply(fs, op);
	if (r < 0)
		return change_abort(fs, r);
	op_encode(op, &head);
	iov[0] = (struct iovec) { head.b, head.n };
	iov[1] = (struct iovec) { (void *)(uintptr_t)op->data.p, op->data.n };
	/* Some come before the change that was asked for. */
	if (op->type != OP_MARK && !(op->type == OP_APPEND && op->flags & OP_FLAG_GAP)) {
		/* Before: what is in the log but not noted would be done twice. */
		if (noted_lsn)
			__atomic_store_n(noted_lsn, wal_last_lsn(fs->wal) + 1,
					 __ATOMIC_SEQ_CST);
		noted_lsn = NULL;
	}
	r = wal_append(fs->wal, op->type, 0, iov, 2, &lsn);
	if (r < 0) { /* reserved: only a log that has just failed for good says no */
		store_fail_locked(fs, r, "the log can't be written");
		return change_abort(fs, r);
	}
	if (ret) {
		r = inode_get(fs, ino, &in);
		if (r < 0)
			return change_abort(fs, r);
		attr_from_inode(in, ret);
	}
	background_kick_flusher_locked(fs);
	if (memory_due_locked(fs))
		background_kick_checkpoint_locked(fs);
	give_back_soon_locked(fs);
	fs->unpushed += op->data.n;
	if (fs->unpushed > PUSH_BYTES) {
		fs->unpushed = 0;
		background_kick_push_locked(fs);
	}
	n_told = whom_to_tell(fs, op, told);
	if (fs->append_waiters)
		pthread_cond_broadcast(&fs->appended);
	lock_drop(&fs->engine);
	for (unsigned i = 0; i < n_told; i++)
		fs->opts.changed(fs->opts.event_arg, told[i]);
	return log_change(fs, lsn, !op->unseen);
}
