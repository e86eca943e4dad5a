/* wal.h - the write-ahead log: the sole source of durability between checkpoints.
 *
 * Records carry dense LSNs from 1. Appended records wait in memory; a push writes them to
 * the segment file as one sealed frame (they then survive a killed process), a sync also
 * makes them durable (they survive a power cut). A frame is whole or absent after recovery.
 * Many threads may call everything but replay at once.
 *
 * Invariants:
 *  1. A frame's CRC32C covers its header, length, first LSN, segment number, the segment's
 *     random epoch and the store id; its body is sealed with the key of the segment's salt.
 *  2. Recovery never appends to a segment it found: it opens a new one, with a fresh salt
 *     and epoch; a recycled file gets new ones too, so old bytes can never validate.
 *  3. After a sync the next frame starts on a fresh 4 KiB block: no block that holds
 *     acknowledged bytes is written again.
 *  4. Each frame header carries the durable LSN at the time it was written: a frame that
 *     does not validate below a later known durable LSN is rot, not a torn tail.
 *  5. A failed fdatasync is never retried: all waiters get -E_LOG_FAILED, the segment is
 *     poisoned, and its unsynced records go to a new segment; if that fails the log is
 *     failed for good (wal_failed()).
 *  6. Records appended with WAL_MORE belong to one transaction with the next record;
 *     replay gives a transaction whole or not at all. */
#ifndef ROPEFS_WAL_WAL_H
#define ROPEFS_WAL_WAL_H

#include <sys/uio.h>

#include "core/base/buf.h"
#include "core/io/io.h"
#include "core/keys/keys.h"

#define WAL_RECORD_MAX (4u << 20) /* body bytes of one record */

struct wal;

/* How far a segment has been written. Whoever opens the log next, while the machine still runs,
 * need not look for frames beyond. All zero: nothing is known. */
struct wal_mark {
	_Atomic uint64_t segment; /* its number */
	_Atomic uint64_t
		end; /* no frame of its life begins at this offset or behind it */
};

struct wal_opts {
	struct io *io;
	const struct keys *keys; /* must outlive the log */
	uint64_t segment_bytes; /* e.g. 64 MiB; at least 8 MiB + 1 MiB */
	size_t frame_bytes; /* 0: 1 MiB. Less for tests with small records and segments */
	size_t pool_bytes; /* of frames that are kept for reuse; some are kept in any case */
	unsigned spare_max; /* retired segments kept for reuse */
	bool short_end; /* the log may end before the LSN replayed from: that is no rot */
	struct wal_mark *mark; /* NULL, or memory that outlives this process */
};

struct wal_replay_stats {
	uint64_t records, bytes, segments;
	uint64_t last_lsn; /* of the last whole transaction; from_lsn - 1 if none */
	bool torn_tail; /* a cut or torn frame ended the log: normal after a crash */
	bool rot; /* bytes that were durable do not verify: see err_detail() */
};

typedef int (*wal_record_fn)(void *arg, uint64_t lsn, uint8_t type, struct span body);

/* Reads what the folder "wal" holds (wal_start() makes it when absent); writes nothing.
 * -E_NEWER. */
int wal_open(const struct wal_opts *opts, struct wal **ret);
/* Gives each record with LSN >= from_lsn of whole transactions, in order; once, before
 * wal_start(). A non-zero return of fn stops and is returned. Rot is not an error here:
 * records before it are given, ret->rot says it, and the caller mounts read-only. A read
 * that the disk refuses (-EIO) is an error. */
int wal_replay(struct wal *w, uint64_t from_lsn, wal_record_fn fn, void *arg,
	       struct wal_replay_stats *ret);
/* fdatasyncs what was found: the last segment, each other one was before the next was begun.
 * Before wal_start(): a checkpoint of what was replayed so far need not rely on it (the end of
 * the log may be lost yet: short_end), but should. */
int wal_sync_recovered(struct wal *w);
/* Opens a fresh segment and accepts appends; the next record gets next_lsn. All before is durable
 * then: the segments read are fdatasynced, and the new one holds what no frame tells to be so.
 * Where a full disk has no room for one, not even in a spare, the first append that finds room
 * begins it: wal_reserve() is -ENOSPC until then. A log without any segment is -ENOSPC here. */
int wal_start(struct wal *w, uint64_t next_lsn);

#define WAL_MORE 1u /* the next record belongs to the same transaction */
/* Makes the next append of up to n body bytes unable to fail. 0, -ENOMEM, -ENOSPC,
 * -E_LOG_FAILED. */
int wal_reserve(struct wal *w, size_t n);
/* Copies the pieces of one record (their sum at most WAL_RECORD_MAX) into memory; never
 * blocks on the disk. Needs wal_reserve(). type is below 128. */
int wal_append(struct wal *w, uint8_t type, unsigned flags, const struct iovec *iov,
	       int n_iov, uint64_t *ret_lsn);
/* Writes what waits to the segment file, without sync (but syncs too where much waits for
 * one). 0 also when that took a new segment; else -E_LOG_FAILED, for good. */
int wal_push(struct wal *w);
/* The same, without waiting for a sync: -EAGAIN where it would have to. */
int wal_push_now(struct wal *w);
/* Group commit: returns once all up to lsn is durable. One caller syncs for all. After
 * -E_LOG_FAILED, wal_failed() tells whether it is for good; if not, a new segment holds all
 * and another call gives 0. */
int wal_sync(struct wal *w, uint64_t lsn);

/* Of the first record that the log still has, needed or not; 0: it has none. Before wal_start(). */
uint64_t wal_first_lsn(struct wal *w);
uint64_t wal_last_lsn(struct wal *w); /* last appended, 0 when none */
uint64_t wal_durable_lsn(struct wal *w);
uint64_t wal_pending_bytes(struct wal *w); /* appended, not yet pushed */
uint64_t wal_bytes_since(struct wal *w, uint64_t lsn); /* about, in segments after lsn */
uint64_t wal_disk_bytes(
	struct wal *w); /* that its segments take, however little is in them */
/* Bytes that the next segment will take from the disk: 0 when there is a spare one. */
uint64_t wal_spare_lack(struct wal *w);
/* Gives the disk back what spare segments beyond so many take, where no record needs them. */
void wal_drop_spares(struct wal *w, unsigned keep);
int wal_failed(struct wal *w); /* 0, or the error it failed for good with */
/* Everything below lsn is in a durable checkpoint: segments wholly below are recycled. */
int wal_trim(struct wal *w, uint64_t lsn);

struct wal_judge {
	void (*bad)(void *arg, const char *line); /* a place that does not verify */
	int (*pace)(void *arg,
		    uint64_t bytes); /* so many were read; less than 0 ends it */
	void *arg;
};
/* Reads again, from the medium, all that was durable when it was called of the segments that
 * someone who replays from from_lsn on needs. 0 whatever was found; what pace() gave; -ENOMEM.
 * Without locks, while others append, sync and trim. */
int wal_verify(struct wal *w, uint64_t from_lsn, const struct wal_judge *judge);
/* Goes on in a new segment, so that the next checkpoint needs nothing of the ones before. All that
 * was appended is durable then. As wal_sync(); -ENOSPC: there is no room for one, nothing is
 * changed. */
int wal_renew(struct wal *w);

struct wal_stats {
	uint64_t records, body_bytes, file_bytes, syncs, pushes, segments, recycled;
	uint64_t frames; /* that memory was taken for */
};
void wal_get_stats(struct wal *w, struct wal_stats *ret);
/* Frees without writing or syncing anything more; NULL is fine; returns NULL. */
struct wal *wal_close(struct wal *w);

/* For ropefs-dump and fsck: prints every segment and frame in words through print(arg,
 * line); with keys also each record through fn. Returns 0, or -E_CORRUPT with the place
 * of the first thing that is neither valid nor an ordinary torn tail. */
int wal_inspect(struct io *io, const struct keys *keys,
		void (*print)(void *arg, const char *line), wal_record_fn fn, void *arg);

#endif
