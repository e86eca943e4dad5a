/* wal_format.h - the log on disk, version 1.
 *
 * The folder "wal" holds segments, "%016x.wal" by number, and spare files, "%016x.spare",
 * that wait to become one. A segment is a header block of 4 KiB, then frames, then bytes
 * that mean nothing (zeros, or frames of the file's earlier life, whose epoch differs).
 *
 * A frame starts on a multiple of 8, the first one after a sync on a multiple of 4 KiB. Its
 * nonce is its offset; its key comes from the salt in the segment's header. Its body, once
 * opened, is records, one after another:
 *
 *	varint  body bytes	7 bits a byte, least first, at most 4 bytes
 *	u8      type		bit 7: the next record belongs to the same transaction
 *	...     body
 */
#ifndef ROPEFS_WAL_WAL_FORMAT_H
#define ROPEFS_WAL_WAL_FORMAT_H

#include "core/base/le.h"
#include "core/base/util.h"
#include "core/keys/keys.h"

#define WAL_VERSION	1u
#define WAL_BLOCK	4096u
#define WAL_MAGIC	"ropewal" /* with its NUL */
#define FRAME_MAGIC	0x46574152u /* "RAWF" */
#define FRAME_ALIGN	8u
#define RECORD_MORE	0x80u
#define RECORD_HEAD_MAX 5u

/*	 0  magic        8 B    "ropewal\0"
 *	 8  version      le32
 *	12  crc          le32   CRC32C of all 112 bytes with this one zero
 *	16  store_id     16 B
 *	32  number       le64   as in the file's name
 *	40  epoch        le64   random, one for each life of the file
 *	48  salt         16 B   random, of the key
 *	64  first_lsn    le64   of the first record; all before were durable when this was
 *	72  bytes        le64   size of the file
 *	80  reserved     16 B   zeros
 *	96  tag          16 B   AEAD tag of nothing, nonce 0, AAD: bytes 0..96 with crc zero
 */
struct segment_head {
	uint8_t magic[8];
	le32 version;
	le32 crc;
	uint8_t store_id[STORE_ID_BYTES];
	le64 number;
	le64 epoch;
	uint8_t salt[KEY_SALT_BYTES];
	le64 first_lsn;
	le64 bytes;
	uint8_t reserved[16];
	uint8_t tag[AEAD_TAG_BYTES];
};
static_assert(sizeof(struct segment_head) == 112, "segment_head is 112 bytes on disk");

/*	 0  magic        le32
 *	 4  crc          le32   CRC32C of store id, segment number, offset of the frame (le64
 *				each), then bytes 8..56
 *	 8  epoch        le64   of the segment
 *	16  first_lsn    le64
 *	24  durable_lsn  le64   known durable when this was written
 *	32  body_bytes   le32   1 .. FRAME_BODY_MAX
 *	36  records      le32   at least 1
 *	40  tag          16 B   AEAD tag of the body, AAD: bytes 8..40
 */
struct frame_head {
	le32 magic;
	le32 crc;
	le64 epoch;
	le64 first_lsn;
	le64 durable_lsn;
	le32 body_bytes;
	le32 records;
	uint8_t tag[AEAD_TAG_BYTES];
};
static_assert(sizeof(struct frame_head) == 56, "frame_head is 56 bytes on disk");

#define FRAME_AAD_OFF	8u
#define FRAME_AAD_BYTES 32u

#endif
