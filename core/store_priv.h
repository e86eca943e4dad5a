/* store_priv.h - an open store, as the flows that cross the layers see it.
 *
 * Locks (docs/LOCKING.md): `checkpoint` is held by whoever runs a checkpoint (closing ends with
 * one) or a collection; `engine` guards everything here that has no other note. */
#ifndef ROPEFS_STORE_PRIV_H
#define ROPEFS_STORE_PRIV_H

#include <inttypes.h>
#include <pthread.h>
#include <sys/queue.h>

#include "core/base/htab.h"
#include "core/base/lock.h"
#include "core/catalog/catalog.h"
#include "core/catalog/snapshots.h"
#include "core/header.h"
#include "core/op.h"
#include "core/pack/pack.h"
#include "core/page/nodes.h"
#include "core/page/pagefile.h"
#include "core/rope/hot.h"
#include "core/ropefs.h"
#include "core/wal/wal.h"

#define INODE_SPARSE	1u /* row.flags: has had holes, so data_bytes is counted */
#define INODE_QUEUE	2u /* row.flags: its records have a table (queue.h) */
#define INODE_POLICY	128u /* row.flags: has, or had, policies of its own */
#define INODE_SNAPSHOTS 16u /* of a directory: there are snapshots of it */
#define INODE_ACL	8u /* has an ACL (apply_xattr.c) */
#define INODE_UNPACKED                                                                   \
	32u /* row.flags: has bytes that no checkpoint has packed (stored.h) */
#define INODES_KEPT 8192u /* clean inodes kept in memory */

/* An inode in memory; newer than its row in the catalog while dirty. */
struct inode {
	uint64_t ino;
	struct inode_row row;
	struct hot_tail tail;
	uint64_t hot_bytes; /* of its data, about, those no checkpoint has packed */
	uint64_t holds;
	uint64_t
		changed; /* of ropefs.changes: when its bytes did last, or it was loaded */
	bool dirty;
	bool gone; /* held, but not in the state that came from the bucket */
	struct queue *q; /* of a queue; NULL: not read yet */
	uint64_t lane_turn; /* of ropefs.lane_turn when lane was looked up */
	uint64_t lane_like; /* without a name: stands in for this one; 0: for none */
	uint8_t lane;
	TAILQ_ENTRY(inode) lru; /* clean and not held, else on no list */
	TAILQ_ENTRY(inode) dirty_link; /* on ropefs.dirty when dirty */
	bool on_lru;
};
TAILQ_HEAD(inode_list, inode);

#define ETAG_FORMAT "%" PRIx64 "-%" PRIx64 /* ino, version */

/* Of a regular file: rises with each change of its bytes, and is never given to other bytes
 * of the file, even where a crash undid changes (it is the time of the change where that is
 * greater). The same after replay. */
static inline uint64_t inode_version(const struct inode *in)
{
	return le64_get(in->row.entries);
}
/* What a change of its bytes at `time` leaves. */
static inline uint64_t inode_next_version(const struct inode *in, int64_t time)
{
	return MAX(inode_version(in) + 1, (uint64_t)MAX(time, 0));
}

struct sync_waiter {
	STAILQ_ENTRY(sync_waiter) link;
	uint64_t lsn;
	void (*done)(void *arg, int result);
	void *arg;
};

#define INODE_PATH_MAX 600 /* of what inode_path() gives */

struct block_cache;
struct remote;
struct scrub;

struct ropefs {
	/* Set when opened, never changed. */
	struct io *io;
	struct keys *keys;
	struct header header;
	struct ropefs_opts opts;
	bool threads; /* false: everything runs in the caller (simulation) */
	uint64_t hot_soft, hot_hard, log_soft;
	uint64_t segment_bytes; /* of the log */
	bool paced; /* with a bucket, checkpoints by time come with its uploads */

	struct lock checkpoint;
	struct lock engine;

	struct repair *repair; /* NULL, or this opening is for that (repair.h) */
	struct remote *_Atomic remote; /* NULL: no bucket */
	struct remote
		*_Atomic remote_gone; /* forgotten ones, until the store is closed */
	struct pagefile *pf; /* the checkpointer's, but for reads */
	struct packs *packs; /* has its own lock */
	struct wal
		*wal; /* has its own lock; NULL: opened read-only, or the log is rotten */
	struct nodes *nodes;
	struct hot *hot;
	struct catalog catalog;
	struct btree snaps; /* the tree of snapshots; newer than its row in the catalog */
	struct rope_env env;

	struct htab inodes; /* by number */
	struct inode_list lru, dirty; /* lru: least recently used first */
	size_t n_lru, n_dirty;
	uint64_t next_ino, n_inodes, data_bytes;
	uint64_t lane_turn; /* rises when a policy is set or something moves; never 0 */
	uint64_t changes; /* of bytes of files, and inodes loaded: tells states apart */

	uint64_t n_snaps, snap_copied, snap_held; /* the latter two as in struct super */
	uint32_t next_snap;
	bool snaps_lost; /* damaged: only its row in the catalog is known */
	/* Snapshots dropped: ever, in the last committed tree, and so at the last collection. */
	uint64_t drops, drops_committed, drops_collected;

	uint64_t life; /* random: tells this opening from all others */
	uint8_t boot_id[16];
	struct htab watched; /* inodes whose changes are told to opts.changed; counts */
	bool retain_wanted; /* a policy was set */
	unsigned append_waiters; /* who wait for a queue to grow */
	pthread_cond_t appended;
	struct block_cache
		*blocks; /* of queues that are read (core/queue/block_cache.h) */
	uint64_t queue_appends, queue_seeks, queue_blocks_read; /* for status */
	uint64_t queue_trimmed_records, queue_trimmed_bytes, queue_refused;

	bool replaying;
	uint64_t replayed_lsn;
	bool read_only;
	bool failed; /* read-only since something was found damaged, or could not be written */
	char read_only_why[256];
	uint64_t dead_bytes; /* of chunks, about, since the last collection */
	uint64_t
		gathered_bytes; /* out of small packs (gather.h), since it, and since the opening */
	uint64_t collected_pack; /* the next one when it was; 0: not since the opening */
	uint64_t
		left_bytes; /* of dead chunks that the last collection left where they are */
	uint64_t told_bytes; /* of data that the op under way took out, told one by one */
	uint64_t told_hot_bytes; /* of those, the hot ones */
	uint64_t
		space_left; /* bytes the disk had free when looked at, less what came since */
	unsigned space_changes; /* since then */
	uint64_t space_lack; /* what a spare segment would have taken, then */
	uint64_t space_rewrite; /* kept for rewriting a pack */
	bool full; /* a change was refused for want of space, and there is little since */
	uint64_t checkpoint_lsn; /* the log is needed after it only */
	uint64_t checkpointed_ns; /* when the last one ended */
	/* Of files that expire (ttl.c). */
	int64_t ttl_seen_real, ttl_seen_mono; /* the clocks at the last look; 0: none */
	int64_t ttl_not_before; /* ages count from here at the earliest */
	int64_t ttl_due_mono; /* the next look */
	bool ttl_changed; /* a policy ttl was set: look at once */
	uint64_t expired_files;
	uint64_t txn_commits, txn_conflicts; /* guarded by the engine lock */
	struct buf txn_gone; /* u64: inodes that lost their last name in a transaction */
	struct super super; /* the last committed one; the checkpointer's */

	struct scrub *scrub; /* NULL: never was one (scrub.h) */
	pthread_t flusher, checkpointer;
	bool threads_started, stopping;
	pthread_cond_t flusher_wake, checkpointer_wake, room;
	bool flusher_idle, checkpoint_wanted;
	bool reclaim_wanted, reclaim_failed; /* a collection, for a full disk */
	uint64_t reclaims; /* done */
	uint64_t unpushed; /* bytes of changes since the flusher was last told to push */
	STAILQ_HEAD(, sync_waiter) waiters; /* for a sync; somebody has sync_led then */
	bool sync_led,
		flusher_leads; /* a thread syncs for them until none is left; which */
	bool sync_ahead; /* who leads begins with a sync that nobody waits for yet */
	unsigned n_waiters;
	unsigned
		gather; /* so many waiters are likely soon, as there were at the last sync */
	bool gathering; /* the leader waits for them on gathered */
	pthread_cond_t gathered;
	uint64_t sync_ended_ns,
		sync_ns; /* the last sync for waiters, and how long it took */

	/* For status. */
	bool was_clean;
	uint64_t recovered_records, recovery_ns;
	uint64_t checkpoints, checkpoint_errors, checkpoint_last_ns, freeze_max_ns;
	uint64_t collections, packs_removed, packs_rewritten, leaves_defragmented;
	char last_error[256];
	/* Met by a read since the opening; "": none. */
	char damage[256], damage_path[INODE_PATH_MAX];
	uint64_t damage_ino;
	int checkpoint_result; /* of the last one: 0, or why it failed */
};

/* --- store.c --- */
struct store_opts { /* ropefs_opts and what tests want besides */
	struct ropefs_opts pub;
	bool threads;
	uint64_t segment_bytes; /* 0: 64 MiB, 12 for small budgets or disks */
	size_t frame_bytes; /* of the log, see wal_opts */
	uint64_t hot_hard; /* 0: by the memory */
	struct repair *repair; /* NULL, or what this opening is for (repair.h) */
	bool page_copy; /* the page file is kept twice */
};
/* Takes io over, but not on failure. The header must exist. */
int store_open(struct io *io, const struct key_file *kf, const struct store_opts *opts,
	       struct ropefs **ret);
int store_init(struct io *io, const struct key_file *kf, enum cipher cipher,
	       const uint8_t store_id[STORE_ID_BYTES]);
/* ropefs_open() with all there is to choose. */
int store_open_path(const char *path, const struct store_opts *opts, struct ropefs **ret);
/* The folder as an io; -E_NOT_STORE when it is not there. */
int store_open_dir(const char *path, struct io **ret);
/* Frees everything and writes nothing, as a killed process would. Returns the io when
 * keep_io, else NULL. */
struct io *store_abandon(struct ropefs *fs, bool keep_io);
/* 0, or -E_READ_ONLY with the reason. Takes the engine lock. */
int store_writable(struct ropefs *fs);
/* Turns the store read-only for good (serving what it can), keeping the first reason. */
void store_fail_locked(struct ropefs *fs, int r, const char *what);

/* --- path.c (engine lock held) --- */
/* Its path in that catalog; "inode 12" when it has none, or one too long, or damage hides it. */
void inode_path(struct catalog *cat, uint64_t ino, char ret[INODE_PATH_MAX]);
/* Its path in a mount, of an inode in a snapshot as well: /DIR/.snap/NAME/...; false: no mount
 * shows it, as its snapshot is of another folder. */
bool inode_shown_path(struct ropefs *fs, uint64_t ino, char ret[INODE_PATH_MAX]);

/* A newer state of a store that is only read. */
struct store_renewal {
	const uint8_t *super; /* SUPER_BODY_BYTES */
	/* Puts its pages where they belong in the page file. */
	int (*write_pages)(void *arg);
	void *arg;
	bool other; /* of another history: an inode of the same number is another one */
};
/* Goes on with that state, engine lock held; changed as inode_reload_all(). */
int store_renew_locked(struct ropefs *fs, const struct store_renewal *n,
		       struct buf *changed);

/* --- inode.c (engine lock held) --- */
int inode_get(struct ropefs *fs, uint64_t ino, struct inode **ret); /* -ENOENT */
int inode_add(struct ropefs *fs, uint64_t ino, const struct inode_row *row,
	      struct inode **ret);
void inode_mark_dirty(struct ropefs *fs, struct inode *in);
/* Drops its bytes, rows and memory. Not held any more. What can't be read of its tree is
 * left to a collection; after inode_reserve_destroy() only want of memory makes it fail. */
int inode_destroy(struct ropefs *fs, struct inode *in);
int inode_reserve_destroy(struct ropefs *fs, const struct inode *in);
/* Of a snapshot that was dropped: what is in memory of it. */
void inode_forget_snapshot(struct ropefs *fs, uint64_t id);
/* Of snapshots: those that may say other st_blocks now that a checkpoint has packed their bytes,
 * but for held ones; their numbers are added to ret. */
void inode_forget_unpacked(struct ropefs *fs, struct buf *ret);
bool inode_snapshot_held(struct ropefs *fs, uint64_t id);
/* Takes the engine lock and keeps it; rows are written in slices before, so that few are left.
 * Returns as inode_flush(). */
ssize_t inode_flush_most(struct ropefs *fs);
/* Writes rows of at most max dirty inodes into the catalog. Returns how many are left. */
ssize_t inode_flush(struct ropefs *fs, size_t max);
void inode_settle(struct ropefs *fs, struct inode *in); /* back to the LRU if it may be */
void inode_trim(struct ropefs *fs);
void inode_free_all(struct ropefs *fs);
/* After another state took the place of the one they were read from (a store that is only
 * read): forgets those that nobody holds, reads the others again. changed: u64 numbers of
 * those that are different (all: take them for it), as far as memory allows. */
void inode_reload_all(struct ropefs *fs, bool all, struct buf *changed);

/* --- apply.c, apply_names.c (engine lock held) --- */
/* Makes the change in memory: all of it, or none and an error. */
int op_apply(struct ropefs *fs, const struct op *op);
int apply_create(struct ropefs *fs, const struct op *op);
int apply_link(struct ropefs *fs, const struct op *op);
int apply_unlink(struct ropefs *fs, const struct op *op); /* and rmdir */
int apply_rename(struct ropefs *fs, const struct op *op);
int apply_reap(struct ropefs *fs, const struct op *op);
int apply_txn(struct ropefs *fs, const struct op *op);
/* The bytes changed: times, version, and data bytes by came - went. */
void inode_touch(struct ropefs *fs, struct inode *in, int64_t time, uint64_t came,
		 uint64_t went);
/* Takes [at, at+n), which lies within the file, out. */
int inode_cut(struct ropefs *fs, struct inode *in, uint64_t at, uint64_t n, int64_t time);
int name_check(struct span name);
int dir_get(struct ropefs *fs, uint64_t ino, struct inode **ret); /* -ENOTDIR */

/* apply_xattr.c */
int apply_xattr(struct ropefs *fs, const struct op *op);
/* The access ACL, if there is one, follows a new mode. */
int acl_chmod(struct ropefs *fs, struct inode *in, uint32_t mode);
/* What says who may do what: the access ACL, or one made of the mode. */
int acl_access_of(struct ropefs *fs, const struct inode *in, struct buf *ret);
/* -ENODATA: what is made in dir (0: nowhere) gets no ACL. */
int acl_default_of(struct ropefs *fs, uint64_t dir, struct buf *ret);
/* A new inode gets what the default ACL `given` makes of its row's mode. */
int acl_to_new(struct ropefs *fs, uint64_t ino, struct span given, struct inode_row *row);

/* --- lane.c (engine lock held) --- */
unsigned inode_lane(struct ropefs *fs, struct inode *in);

/* --- snapshot.c (engine lock held) --- */
static inline uint64_t ino_snapshot(uint64_t ino)
{
	return (ino & ~ROPEFS_SNAPSHOT_BIT) >> SNAPSHOT_INO_BITS;
}
/* As the catalog knows it. */
static inline uint64_t ino_base(uint64_t ino)
{
	return ropefs_in_snapshot(ino) ? ino & SNAPSHOT_INO_MAX : ino;
}
uint64_t snapshot_ino(uint64_t id, uint64_t ino);
/* The number of `other`, as the catalog knows it, where ino is: live, or in a snapshot.
 * -EOVERFLOW. */
int ino_beside(uint64_t ino, uint64_t other, uint64_t *ret);
/* The catalog that ino is in, for reading. -ESTALE: its snapshot was dropped. */
int catalog_of(struct ropefs *fs, uint64_t ino, struct catalog *ret);
/* Of an inode, live or in a snapshot. As catalog_get_xattr(). */
int inode_get_xattr(struct ropefs *fs, const struct inode *in, struct span name,
		    struct buf *ret);
int snapshots_open(struct ropefs *fs);
/* Before a freeze: the root of the tree of snapshots goes into the catalog. */
int snapshots_flush(struct ropefs *fs);
int apply_snapshot(struct ropefs *fs, const struct op *op);
int apply_snapshot_drop(struct ropefs *fs, const struct op *op);
/* The whole of ino, a file in a snapshot, is being copied out of it. */
int snapshot_copied(struct ropefs *fs, uint64_t ino);

/* --- api_data.c --- */
/* A read of what is decided under the engine lock. */
struct reading {
	/* Makes at and n a range that is within the file; called again, with those asked for,
	 * when the read is begun anew. */
	int (*where)(struct ropefs *fs, struct inode *in, struct reading *rd);
	void *arg;
	uint64_t at;
	size_t n;
};
/* p has room for whatever where() says. Returns n. */
ssize_t data_read(struct ropefs *fs, uint64_t ino, struct reading *rd, void *p,
		  unsigned flags);

/* --- api_queue.c --- */
/* Of a queue that is about to be removed or emptied: trims it in slices, so that what is left to
 * do at once is little. Best effort; no queue: nothing. */
void queue_shorten(struct ropefs *fs, uint64_t ino);
/* Has a queue so many records that queue_shorten() should come first? Engine lock held. */
bool queue_is_long(struct ropefs *fs, struct inode *in);

/* --- change.c: from an op to the log --- */
/* Takes the engine lock if the change may be made now: writable, within memory and disk.
 * frees: it gives space back, so a full disk does not refuse it. */
int change_begin(struct ropefs *fs, struct op *op, unsigned io_flags, bool frees);
/* Applies and logs op, gives the attributes of ino (when ret and ino), drops the lock, and waits
 * for the log where durability asks for it. */
int change_end(struct ropefs *fs, const struct op *op, uint64_t ino,
	       struct ropefs_attr *ret);
int change_abort(struct ropefs *fs, int r); /* drops the lock, returns r */
/* Where the next change was to note its LSN (ropefs_note_lsn()): it does not, until that is said
 * again. */
uint64_t *noted_lsn_take(void);
void attr_from_inode(const struct inode *in, struct ropefs_attr *ret);
/* What of the disk's free bytes is not for new changes: see admit_space(). The log is open. */
uint64_t space_reserved_locked(struct ropefs *fs);
/* Syncs the log up to lsn; a log that failed turns the store read-only. */
int log_sync(struct ropefs *fs, uint64_t lsn);

/* --- checkpoint.c --- */
int checkpoint_run(struct ropefs *fs, bool clean); /* takes both locks */
int checkpoint_run_held(struct ropefs *fs, bool clean); /* `checkpoint` already held */
/* Too much in memory; the quick part of checkpoint_due_locked(), which looks at the log too. */
bool memory_due_locked(struct ropefs *fs);
/* Changes must wait for a checkpoint. */
bool memory_full_locked(struct ropefs *fs);
/* The same for a replay, which may take what an open store has for its caches: each checkpoint
 * less is half a second or more less to wait. */
bool replay_full_locked(struct ropefs *fs);
/* What changes leave of their memory, clean nodes may have meanwhile. */
void memory_lend_locked(struct ropefs *fs);
bool checkpoint_due_locked(struct ropefs *fs);
/* The log's files take `times` as much of the disk as they should, at least. */
bool log_crowds(struct ropefs *fs, unsigned times);

/* --- collect.c --- */
int collect_run_held(struct ropefs *fs);
/* What the disk has for copies of what is to be freed: some is set aside for that. Without the
 * engine lock. */
uint64_t space_for_copies(struct ropefs *fs);
/* For a full disk: gives back what it can do quickly. -ENOSPC: that is nothing. */
int collect_for_space_held(struct ropefs *fs);
bool collect_due_locked(struct ropefs *fs);

/* --- event.c --- */
/* Tells of something in a sentence; ino 0: of no inode. With or without the engine lock. */
void event_raise(struct ropefs *fs, const char *kind, uint64_t ino, const char *fmt, ...)
	_printf_(4, 5);
/* Likewise, of a file by its path: for those who may know all names. */
void event_raise_named(struct ropefs *fs, const char *kind, uint64_t ino,
		       const char *path, const char *text);

/* --- recover.c --- */
int recover(struct ropefs *fs);

/* --- background.c --- */
int background_start(struct ropefs *fs);
void background_stop(struct ropefs *fs);
void background_kick_flusher_locked(struct ropefs *fs);
/* Much waits to be pushed: sealing it is the flusher's work, not the writer's. */
void background_kick_push_locked(struct ropefs *fs);
void background_kick_checkpoint_locked(struct ropefs *fs);
/* Syncs for all waiters until there are none. Drops the lock meanwhile. */
void sync_lead_locked(struct ropefs *fs);

/* --- api_names.c: what transactions do, too. Names stay the caller's. --- */
struct span span_name(struct ropefs_name name);
struct op rename_op(uint64_t dir, struct ropefs_name name, uint64_t to_dir,
		    struct ropefs_name to_name, unsigned flags);

/* --- check.c --- */
/* What ropefs_check() looks for in a store that is open and that nobody else uses. */
int store_check(struct ropefs *fs, struct ropefs_check *check);

/* --- walk.c: everything reachable from a committed tree --- */
struct walk {
	struct ropefs *fs;
	void *arg;
	/* Any may be NULL; a negative return stops. page: 1 skips what is below. */
	int (*page)(struct walk *w, const struct noderef *ref);
	int (*extent)(struct walk *w, const struct extent *e);
	/* A page that can't be read; 0 goes on without what is below it. */
	int (*broken)(struct walk *w, const struct noderef *ref, int r);
	/* All of a page that page() did not skip was visited. */
	void (*left)(struct walk *w, const struct noderef *ref);
	bool in_row; /* the extent that is told lies in its inode's row */
};
int walk_tree(struct walk *w, const struct noderef *root);

#endif
