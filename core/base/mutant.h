/* mutant.h - mistakes that are known, to be built in one at a time: tests/sim compiles the file
 * that has one again with -DROPEFS_MUTANT=MUTANT_..., and fails if the simulation does not find
 * it. Everywhere else MUTANT() is 0 and the compiler forgets it. */
#ifndef ROPEFS_BASE_MUTANT_H
#define ROPEFS_BASE_MUTANT_H

#define MUTANT_NO_DIR_SYNC     1 /* a new segment's name is not made durable */
#define MUTANT_CRC_BARE	       2 /* frames are told by neither epoch, salt nor LSN */
#define MUTANT_SYNC_RETRIED    3 /* a failed fdatasync is just repeated */
#define MUTANT_ACK_EARLY       4 /* a sync returns before it is one */
#define MUTANT_SUPER_EARLY     5 /* the superblock, before its pages are durable */
#define MUTANT_LOG_FREED_EARLY 6 /* the log is trimmed before the checkpoint is durable */
#define MUTANT_SHARED_BLOCK    7 /* the next frame begins in a block with durable ones */
#define MUTANT_APPEND_TORN     8 /* recovery goes on in the segment it found */
#define MUTANT_SKIP_HOLE       9 /* recovery goes on behind a frame that is missing */
#define MUTANT_RECOVERED_UNSYNCED                                                        \
	10 /* what was recovered is served, and is not durable */
#define MUTANT_HOT_REF		11 /* a page that is written points into memory */
#define MUTANT_CLONE_PAGE_FREED 12 /* a page that a clone has, too, is used again */
#define MUTANT_GC_CLONE		13 /* collection does not look at clones */
#define MUTANT_SNAP_PAGE_FREED	15 /* a page that a snapshot holds is used again */
#define MUTANT_GC_SNAPSHOT	16 /* collection does not look at snapshots */
#define MUTANT_PACK_EARLY	14 /* a pack gets its name before it is durable */
#define MUTANT_LATE_LSN		17 /* a checkpoint claims what came after it froze */
#define MUTANT_NEXT_REPLACED	18 /* a manifest without an answer is followed by another */
#define MUTANT_DROPPED_EARLY	19 /* objects go before the manifest without them is there */
#define MUTANT_COPY_UNSYNCED	20 /* the copy of the page file is not synced in a commit */
#define MUTANT_COPY_SUPER_EARLY 21 /* it gets superblocks before it has its pages */
#define MUTANT_ACK_BESIDE	22 /* a sync is for what was written beside it, too */

#ifdef ROPEFS_MUTANT
#define MUTANT(name) (ROPEFS_MUTANT == MUTANT_##name)
#else
#define MUTANT(name) 0
#endif

#endif
