/* queue_format.h - the table of a queue's records, as rows of the catalog; the bytes of the
 * records are those of the file.
 *
 *	key						value
 *	'Q' ino be64					struct queue_row
 *	'Q' ino be64, 0, last id be64		18 B	a full block: struct block_row, entries
 *	'Q' ino be64, 1			10 B	the last block, which still grows
 *	'Q' ino be64, 2, ~id be64		18 B	struct mark_row: what is known of time
 *							from record id on; the last one first
 *	'T' ino be64, last time be64, last id be64	25 B	empty; one for each full block
 *	'C' ino be64, name				struct cursor_row
 *
 * A full block is keyed by its last record, so that the first key not below an id is that of
 * the block with it; by time likewise. Entries of a block, one a record, in the order of ids:
 *	varint	bytes << 1 | 1 when the record is a gap's
 *	varint	time since the record before (of the first: since the block's time; so 0)
 *
 * Offsets are of the stream: of all bytes since the queue was reset, those trimmed included;
 * byte 0 of the file is queue_row.base. */
#ifndef ROPEFS_QUEUE_QUEUE_FORMAT_H
#define ROPEFS_QUEUE_QUEUE_FORMAT_H

#include "core/base/le.h"
#include "core/base/util.h"

#define QUEUE_ROW_VERSION   1u
#define BLOCK_ENTRIES_BYTES 992u
#define BLOCK_RECORDS_MAX   256u
#define BOOT_ID_BYTES	    16u

/*	 0  version le32
 *	 4  framing le32	1 line, 2 write, 3 length
 *	 8  length  le32	bytes of a record, framing 3
 *	12  resets  le32	times it was emptied
 *	16  next    le64	id of the next record
 *	24  first   le64	id of the first that is left
 *	32  base    le64	bytes trimmed
 *	40  time    le64	of the last record, or 0
 *	48  refused le64	records refused for want of space, and counted so far
 *	56  crashes le64	times that records may have been lost by a crash
 *	64  life    le64	random: of the opening that appended last
 *	72  offset  le64	wall clock less monotonic clock, in the last mark
 *	80  boot    16 B	boot id in the last mark
 */
struct queue_row {
	le32 version, framing, length, resets;
	le64 next, first, base, time;
	le64 refused, crashes, life, offset;
	uint8_t boot[BOOT_ID_BYTES];
};
static_assert(sizeof(struct queue_row) == 96, "a queue row is 96 bytes on disk");

/*	 0  first le64	id of the first record
 *	 8  at    le64	offset of its bytes
 *	16  time  le64	its time
 *	24  n     le16	records
 *	26  pad   2 B
 *	28  entries
 */
struct block_row {
	le64 first, at, time;
	le16 n;
	uint8_t pad[2];
	uint8_t entries[];
};
static_assert(sizeof(struct block_row) == 28, "a block begins with 28 bytes on disk");

#define MARK_BOOT 1u /* another boot, or another life of the program, than before */
#define MARK_STEP 2u /* the wall clock was set */
#define MARK_UNCLEAN                                                                     \
	4u /* records before it may be missing: the store had not been closed */

/* Record times go on evenly from the mark: the true time of a record is its time less (time
 * less wall) of the mark before it.
 *
 *	 0  time  le64	of the record
 *	 8  wall  le64	what the wall clock said
 *	16  mono  le64	what the monotonic clock said
 *	24  boot  16 B	boot id
 *	40  flags le32	MARK_*
 */
struct mark_row {
	le64 time, wall, mono;
	uint8_t boot[BOOT_ID_BYTES];
	le32 flags;
};
static_assert(sizeof(struct mark_row) == 44, "a mark is 44 bytes on disk");

/*	 0  id     le64	the next record to read
 *	 8  time   le64	of the commit
 *	16  resets le32	queue_row.resets then: of an emptied queue, a cursor begins again
 *	20  pad    4 B
 */
struct cursor_row {
	le64 id, time;
	le32 resets;
	uint8_t pad[4];
};
static_assert(sizeof(struct cursor_row) == 24, "a cursor is 24 bytes on disk");

#endif
