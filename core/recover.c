/* recover.c - replay is the write path with the log left out: each record since the last
 * checkpoint is decoded and applied. Needs no command and is not special code. */
#include <errno.h>

#include "core/base/err.h"
#include "core/repair.h"
#include "core/store_priv.h"

#define FULL_BYTES (64 * MIB) /* a disk with less is about to be full */

static int replay_record(void *arg, uint64_t lsn, uint8_t type, struct span body)
{
	struct ropefs *fs = arg;
	struct op op;
	bool full;
	int r;

	r = op_decode(type, body, &op);
	if (r < 0)
		return r;
	lock_take(&fs->engine);
	nodes_trim(fs->nodes);
	inode_trim(fs);
	r = op_apply(fs, &op);
	if (r < 0 && r != -ENOMEM && fs->repair)
		r = repair_record(fs, lsn, &op);
	full = replay_full_locked(fs);
	lock_drop(&fs->engine);
	if (r < 0)
		return err_set(r == -ENOMEM ? ENOMEM : E_CORRUPT,
			       "record %llu of the log can't be applied: %s",
			       (unsigned long long)lsn, err_words(r));
	fs->replayed_lsn = lsn;
	fs->recovered_records++;
	if (full && !fs->opts.read_only)
		return fs->repair ? repair_commit(fs) : checkpoint_run(fs, false);
	return 0;
}

static bool is_damage(int r)
{
	return r == -E_CORRUPT || r == -EIO;
}

/* Inodes that lost their last name while in use, and whose user is gone. One that can't be
 * read stays: it must not keep the others from being served. On a disk too full even for a
 * segment of the log all stay, until the next opening. */
static int reap_orphans(struct ropefs *fs)
{
	uint64_t after = 0;
	int r;

	for (;;) {
		struct op op = { .type = OP_REAP };

		r = change_begin(fs, &op, 0, true);
		if (r < 0)
			return r == -ENOSPC ? 0 : r;
		r = catalog_next_orphan(&fs->catalog, after, &op.ino);
		if (r <= 0)
			return change_abort(fs, is_damage(r) ? 0 : r);
		after = op.ino;
		r = change_end(fs, &op, 0, NULL);
		if (r < 0 && !is_damage(r))
			return r;
	}
}

static void serve_only(struct ropefs *fs, const char *why)
{
	lock_take(&fs->engine);
	fs->read_only = false; /* a better reason than having been opened so */
	store_fail_locked(fs, -E_CORRUPT, why);
	lock_drop(&fs->engine);
}

/* New inodes get numbers above all there are: else they would take the place of others. */
static void check_numbers(struct ropefs *fs)
{
	struct inode_row row;
	uint64_t ino;
	int r;

	lock_take(&fs->engine);
	nodes_trim(fs->nodes);
	r = catalog_next_inode(&fs->catalog, fs->next_ino - 1, &ino, &row);
	lock_drop(&fs->engine);
	if (r > 0)
		serve_only(fs, "there are inodes beyond the next free number: run "
			       "ropefs-fsck");
}

/* What openings leave that are killed soon: segments that no record needs; many with little in
 * them, where none lived as long as its checkpoint takes.
 *
 * This opening may have taken the last spare segment of a full disk; a checkpoint makes one of
 * those before it, for the next opening. Best effort: without it nothing is changed until there
 * is room. */
static void keep_small(struct ropefs *fs)
{
	uint64_t lack = wal_spare_lack(fs->wal);
	struct io_space space;

	wal_trim(fs->wal, fs->checkpoint_lsn + 1);
	if (log_crowds(fs, 2))
		checkpoint_run(fs, false);
	else if (lack && fs->io->ops->space(fs->io, &space) >= 0 &&
		 space.free_bytes < lack + FULL_BYTES)
		checkpoint_run(fs, false);
}

int recover(struct ropefs *fs)
{
	struct wal_replay_stats stats = { 0 };
	uint64_t began = io_mono_ns(fs->io);
	int r;

	fs->replaying = true;
	fs->replayed_lsn = fs->checkpoint_lsn;
	r = wal_replay(fs->wal, fs->checkpoint_lsn + 1, replay_record, fs, &stats);
	fs->replaying = false;
	/* What the log changes is damaged: the store as it was before that record is worth
	 * reading, and the log is kept for a repaired copy. */
	if (fs->repair && (r == -E_CORRUPT || (r == 0 && stats.rot)))
		r = repair_log(fs);
	else if (r == -E_CORRUPT || (r == 0 && stats.rot))
		serve_only(fs, err_detail());
	else if (r == 0 && !fs->repair && !fs->super.clean && !stats.segments)
		serve_only(fs, "the log's files (folder wal) are gone: what was written "
			       "since the "
			       "store was opened last is lost");
	else if (r < 0)
		return r;
	if (r >= 0 && fs->repair)
		r = repair_old_log(fs);
	if (r < 0 && fs->repair)
		return r;
	if (!fs->repair && !fs->read_only)
		check_numbers(fs);
	fs->was_clean = fs->super.clean && stats.records == 0;
	fs->recovery_ns = io_mono_ns(fs->io) - began;
	if (fs->read_only) {
		fs->wal = wal_close(fs->wal);
		return 0;
	}
	r = fs->repair ? repair_commit(fs) : 0;
	if (r < 0)
		return r;
	r = wal_start(fs->wal, fs->replayed_lsn + 1);
	if (r == -ENOSPC)
		return err_set(
			ENOSPC,
			"the disk below the store is full: opening it takes %llu "
			"MiB for the log; free some, or mount it read-only (-o ro)",
			(unsigned long long)(wal_spare_lack(fs->wal) / MIB + 1));
	if (r >= 0)
		r = pagefile_mark_open(fs->pf);
	if (r < 0)
		return r;
	fs->super.clean = false;
	r = fs->opts.keep_orphans ? 0 : reap_orphans(fs);
	if (r >= 0)
		keep_small(fs);
	return r;
}
