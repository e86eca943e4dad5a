/* wal_priv.h - the log as its own files see it. Private to core/wal. */
#ifndef ROPEFS_WAL_WAL_PRIV_H
#define ROPEFS_WAL_WAL_PRIV_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

#include "core/base/lock.h"
#include "core/wal/segment.h"

/* A frame in memory: plain while it fills, sealed once it was given a place. */
struct frame {
	STAILQ_ENTRY(frame) link;
	uint64_t first_lsn;
	uint32_t records;
	size_t body_bytes;
	size_t cap; /* of the body */
	uint64_t at; /* offset it is sealed for, 0: plain */
	uint8_t p[]; /* head, body, room for the rest of a block */
};
STAILQ_HEAD(frame_list, frame);

/* A file of the log: a segment by its number, or a spare one by its id. */
struct log_file {
	TAILQ_ENTRY(log_file) link;
	uint64_t number;
	uint64_t first_lsn; /* segments with a good header */
	uint64_t used_bytes;
	uint64_t file_bytes;
	uint64_t
		filled_bytes; /* written before; UINT64_MAX: of an earlier run, maybe all */
	bool good; /* its header verified */
};
TAILQ_HEAD(log_files, log_file);

/* Frames that were found but are not known to be durable. */
struct log_tail {
	uint64_t number; /* of the segment; 0: none */
	uint64_t from, to;
	uint64_t first_lsn, last_lsn; /* from the frame at from on */
	uint64_t end_lsn; /* records before it move to the segment begun; 0: none move */
};

struct wal {
	/* Never changed after wal_open(). */
	struct io *io;
	const struct keys *keys;
	uint64_t segment_bytes;
	size_t frame_bytes; /* bodies are filled up to this */
	unsigned pool_max;
	unsigned spare_max;
	bool short_end;
	struct wal_mark *mark; /* may be NULL */

	struct log_tail tail; /* of replay and start */

	struct lock lock; /* guards all up to `why` */
	pthread_cond_t done; /* busy or syncing became false */
	bool replayed, started;
	bool busy; /* a thread writes, or begins a segment */
	bool syncing; /* a thread syncs seg, which stays; maybe another than the busy one */
	struct frame_list
		in_sync; /* what that is for; if it failed, until it is rescued */
	uint64_t in_sync_lsn;
	int poisoned; /* 0, or what a sync of this segment failed with */
	bool trimming, sparing; /* a thread trims; a thread makes a spare ahead of need */
	bool spare_refused; /* the last try to make one, in this segment, failed */
	struct frame *cur; /* fills; NULL, or holds a record at least */
	struct frame_list full; /* to be written, oldest first */
	struct frame_list pool; /* empty ones */
	unsigned n_pool, pool_least; /* how many; fewest since the last trim */
	uint64_t last_lsn, pushed_lsn, durable_lsn;
	uint64_t pending_bytes; /* bodies of records not yet pushed */
	uint64_t unwritten_bytes; /* the most that their frames can take in a file */
	uint64_t frame_most; /* the most that one frame can take */
	uint64_t room; /* left in the segment, at least */
	struct log_files segments; /* rising; the last is the current one */
	struct log_files spares;
	_Atomic uint64_t n_spares; /* wal_spare_lack() reads it without the lock */
	uint64_t next_spare;
	struct wal_stats stats;
	uint64_t failures; /* of writing or syncing, mended or not */
	int failed; /* 0, or the log is failed for good */
	char why[256]; /* of the last failure */

	/* Of the thread that set busy. */
	struct segment seg;
	uint64_t pos; /* next frame's place */
	uint64_t written_lsn;
	uint64_t unsynced_bytes;
	bool leave; /* the segment, before the next frame is written */
	uint64_t filled; /* up to here seg's file was written before, or holds zeros */
	struct frame_list
		unsynced; /* written to seg since the last sync began, oldest first */
	uint64_t next_number;
};

/* --- files.c --- */
/* Fills segments and spares from the folder; reads every header. */
int files_load(struct wal *w);
void files_free(struct log_files *files);
/* The least first LSN of the good segments after f, or UINT64_MAX: what f holds from there
 * on does not count. */
uint64_t file_limit(const struct log_file *f);
/* Opens the next segment, from a spare. Caller has set busy. */
int segment_begin(struct wal *w, uint64_t first_lsn);
/* Makes one spare file. -ENOSPC. */
int spare_make(struct wal *w);
/* Makes what files_load() found durable, but for the tail, and the spares usable. */
int files_adopt(struct wal *w);

/* The frames of the current segment end before `end`, from now on: before one is written there.
 * (A kill at any moment leaves the mark of this segment, or of none.) */
void segment_mark(struct wal *w, uint64_t end);

/* --- wal.c --- */
/* Frees kept frames that nobody has needed since it was called last, but for some. */
void pool_shrink_locked(struct wal *w);

/* --- tail.c --- */
/* Whether there is a tail that counts, up to next_lsn: a checkpoint may have gone past it. */
bool tail_counts(const struct wal *w, uint64_t next_lsn);
/* Whether the segment that recovery begins has room for it. */
bool tail_fits(const struct wal *w);
/* Writes the tail's records before tail.end_lsn into *to and sets pos behind them. */
int tail_copy(struct wal *w, const struct segment *to);
/* Copies the tail onto itself, so that it counts as new and the next sync is one. A power cut
 * meanwhile may cost a sector of it. */
int tail_write_in_place(struct wal *w);

#endif
