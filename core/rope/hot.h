/* hot.h - hot bytes: what was written since the last checkpoint, in memory, backed by the
 * log. Bytes lie in blocks that only grow; an extent names a slice of one block.
 *
 * A block belongs to a file (so that its successive appends are neighbours) or, for a file's
 * first bytes since the last checkpoint, to all of one lane. hot_freeze() closes all blocks; a
 * checkpoint then notes the place each slice got in a pack (hot_note_place), and patches
 * extents to it (hot_patch) before hot_drop_frozen() frees the bytes.
 *
 * Invariants:
 *  1. Block numbers rise for ever; blocks below hot_floor() never change.
 *  2. A slice that is in a tree at the freeze gets one place as a whole; a later slice of a
 *     frozen block lies within such a slice, because frozen neighbours are never joined.
 * Locking: the engine lock; hot_frozen_bytes(), hot_lane(), hot_note_place(), hot_placed() and
 * hot_places_done() are the checkpointer's alone and touch frozen blocks only, without it. */
#ifndef ROPEFS_ROPE_HOT_H
#define ROPEFS_ROPE_HOT_H

#include "core/base/lane.h"
#include "core/rope/extent.h"

#define HOT_BLOCK_MAX 131072u /* as large as a chunk: a slice must fit one */

struct hot;

/* Where a file's last bytes went; zeros at the beginning. */
struct hot_tail {
	uint64_t block;
	uint32_t end;
	uint8_t lane; /* the caller's: where the next bytes belong (lane.h) */
};

/* spare_bytes: how much freed memory is kept for reuse. */
int hot_new(size_t spare_bytes, struct hot **ret);
struct hot *hot_free(struct hot *h);

/* Copies n bytes in and gives their extents in order, at most `max` of them (enough:
 * n / HOT_BLOCK_MAX + 2). Returns how many, or -ENOMEM. */
int hot_put(struct hot *h, struct hot_tail *tail, const uint8_t *p, size_t n,
	    struct extent *ret, unsigned max);
/* The bytes of a hot extent; borrowed until hot_put() or hot_drop_frozen(). */
const uint8_t *hot_bytes(const struct hot *h, const struct extent *e);
uint64_t hot_floor(const struct hot *h);
/* The lane of a frozen extent. */
unsigned hot_lane(const struct hot *h, const struct extent *e);
/* Memory in blocks: all of it, and the part no checkpoint has taken yet. */
uint64_t hot_total(const struct hot *h);
uint64_t hot_live(const struct hot *h);
/* And of blocks that are kept for reuse. */
uint64_t hot_spare(const struct hot *h);

/* How many blocks more should be ready for what is written next, so that writers need not wait for
 * fresh memory: whoever has time makes them with hot_block_ready(), without the lock, and gives
 * them to hot_add_spare(). */
size_t hot_wanted(const struct hot *h);
/* Memory that the kernel has given already; NULL: there is none. */
uint8_t *hot_block_ready(void);
void hot_add_spare(struct hot *h, uint8_t *p);

/* -ENOMEM: nothing is frozen. */
int hot_freeze(struct hot *h);
const uint8_t *hot_frozen_bytes(const struct hot *h, const struct extent *e);
/* -ENOMEM. e is a hot extent of a frozen block, to the chunk extent of the same length. */
int hot_note_place(struct hot *h, const struct extent *e, const struct extent *chunk);
/* True, and e becomes its chunk extent: another node that holds these bytes has been written by
 * this checkpoint. False: e has no place yet, or it takes too long to know. */
bool hot_placed(const struct hot *h, struct extent *e);
/* Makes hot_patch() ready; the checkpointer, once all places are noted. */
void hot_places_done(struct hot *h);
/* If *e is a slice of a frozen block, becomes its chunk extent. -ENOENT: it has no place. */
int hot_patch(const struct hot *h, struct extent *e);
void hot_drop_frozen(struct hot *h);
/* The checkpoint failed: places are forgotten, bytes stay, and the next freeze adds to them. */
void hot_forget_places(struct hot *h);

#endif
