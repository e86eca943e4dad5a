/* queue.h - queues in memory: a file whose bytes are records one after another, and the table
 * of where each begins and when it came (core/queue/queue_format.h).
 *
 * Invariants
 * 1. next = tail.first + tail.n; full blocks and the tail follow one another without a gap,
 *    in ids and in offsets; the tail ends where the file does: base + its size.
 * 2. first is in the first block that is left (or is next); base is the offset of its bytes.
 * 3. Times never go back.
 * All under the engine lock. */
#ifndef ROPEFS_QUEUE_H
#define ROPEFS_QUEUE_H

#include "core/policy.h"
#include "core/queue/block.h"
#include "core/store_priv.h"

#define APPEND_RECORDS_MAX                                                               \
	((unsigned)ROPEFS_APPEND_MAX) /* one op brings at most so many */
#define QUEUE_STEP_NS 10000000 /* a wall clock that moved by so much was set */

/* What the queue's clock said when all clocks were read, and what they said. */
struct queue_clock {
	int64_t time;
	uint64_t wall, mono, tick; /* mono 0: not yet */
};

struct queue {
	uint64_t next, first, base;
	int64_t time;
	struct framing framing;
	uint32_t resets;
	uint64_t refused, crashes, life, offset;
	uint8_t boot[BOOT_ID_BYTES];
	struct block tail;
	/* Not on disk. */
	struct queue_clock clock;
	uint64_t lost; /* records refused since the last one that was taken */
	struct block_cursor
		seen; /* in the tail, where the last reader began; b NULL: none */
};

static inline bool inode_is_queue(const struct inode *in)
{
	return le32_get(in->row.flags) & INODE_QUEUE;
}

/* What a new file in dir is by its policies: 1 a queue, with *ret how; 0 a rope. */
int queue_wanted(struct ropefs *fs, struct inode *dir, struct framing *ret);
int queue_make(struct ropefs *fs, struct inode *in, struct framing framing);
/* The queue of a file that is one. -EINVAL: it is none. */
int queue_get(struct ropefs *fs, struct inode *in, struct queue **ret);
/* The queue of a file, with the engine lock held from then on; queue_look_end() drops it,
 * and returns r. Also after an error. */
int queue_look(struct ropefs *fs, uint64_t ino, struct inode **ret_in,
	       struct queue **ret);
int queue_look_end(struct ropefs *fs, int r);
/* Rows of what changed since the last time; with the inode's own row. */
int queue_flush(struct ropefs *fs, struct inode *in);

/* Record id, which must be in [first, next). */
int queue_find(struct ropefs *fs, struct inode *in, uint64_t id, struct record *ret);
/* The first record of at least that time: its id, or next. */
int queue_find_time(struct ropefs *fs, struct inode *in, int64_t time, uint64_t *ret_id);
/* The block with record id, which must be in [first, next). */
int queue_block(struct ropefs *fs, struct inode *in, uint64_t id, struct block *ret);
/* A block's first record that is left, and the rest of it; call before block_next(). */
void queue_skip(struct block_cursor *c, uint64_t id);

/* -E_CORRUPT with a sentence: an invariant does not hold. Reads the whole table. */
int queue_check(struct ropefs *fs, struct inode *in);

int apply_append(struct ropefs *fs, const struct op *op);
/* Takes back the records added since the queue was `was`. */
int queue_take_back(struct ropefs *fs, struct inode *in, const struct queue *was,
		    int64_t time);
int apply_mark(struct ropefs *fs, const struct op *op);
int apply_trim(struct ropefs *fs, const struct op *op);
int apply_cursor(struct ropefs *fs, const struct op *op);
int cursor_name_check(const char *name); /* -EINVAL */
/* Of OP_TRUNCATE to 0 on a queue. */
int queue_reset(struct ropefs *fs, struct inode *in, int64_t time);

#endif
