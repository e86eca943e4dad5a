/* segment.h - segment files and the frames in them, one at a time: names, headers, sealing,
 * reading. Who writes what when is wal.c's business. Private to core/wal. Not locked. */
#ifndef ROPEFS_WAL_SEGMENT_H
#define ROPEFS_WAL_SEGMENT_H

#include "core/base/buf.h"
#include "core/io/io.h"
#include "core/wal/wal.h"
#include "core/wal/wal_format.h"

#define WAL_DIR	       "wal"
#define WAL_NAME_BYTES 32 /* "wal/0123456789abcdef.spare" and its NUL */
/* Bodies are filled up to this, where nobody says: the largest write and its head (core/op.h) fit,
 * so that its frame is one like others, and is used again. */
#define FRAME_BODY     ((1u << 20) + 1024)
#define FRAME_BODY_MAX (WAL_RECORD_MAX + RECORD_HEAD_MAX)
/* A frame takes at most its body and this: head, alignment, the rest of a block. */
#define FRAME_EXTRA (sizeof(struct frame_head) + FRAME_ALIGN + WAL_BLOCK)

struct segment {
	struct io_file *file; /* NULL: none open */
	struct aead *aead; /* NULL when opened without keys */
	uint8_t store_id[STORE_ID_BYTES];
	uint64_t number;
	uint64_t epoch;
	uint64_t first_lsn;
	uint64_t bytes;
};

#define SEGMENT_NONE ((struct segment) { 0 })

void segment_name(uint64_t number, char ret[WAL_NAME_BYTES]);
void spare_name(uint64_t id, char ret[WAL_NAME_BYTES]);

struct wal_listing { /* rising; release with listing_release() */
	uint64_t *segments, *spares;
	size_t n_segments, n_spares;
};
/* A folder that is not there holds nothing. */
int wal_list(struct io *io, struct wal_listing *ret);
void listing_release(struct wal_listing *l);

struct segment_filler { /* writes frames before the segment has its name; NULL: none */
	int (*fill)(void *arg, const struct segment *s);
	void *arg;
};
/* Writes a header with a fresh epoch and salt into the spare file, and gives it its name:
 * durable when this returns 0. *ret_named says on failure too whether it has the name. */
int segment_create(struct io *io, const struct keys *keys, uint64_t spare,
		   const struct segment *want, const struct segment_filler *filler,
		   struct segment *ret, bool *ret_named);
/* Opens for reading, with IO_READ or IO_MEDIUM. keys may be NULL. -EBADMSG when the header does
 * not verify, -E_NEWER. */
int segment_open(struct io *io, const struct keys *keys, uint64_t number, unsigned how,
		 struct segment *ret);
/* Whether the file is shorter than it was made: a power cut doesn't do that. */
int segment_is_cut(const struct segment *s, bool *ret);
void segment_release(struct segment *s); /* closes; SEGMENT_NONE is fine */

struct frame_info {
	uint64_t first_lsn;
	uint64_t durable_lsn;
	uint32_t body_bytes;
	uint32_t records;
};
/* p holds room for a head, then the plain body; both are ready to be written after. */
void frame_seal(const struct segment *s, uint64_t at, const struct frame_info *info,
		uint8_t *p);
/* Turns what frame_seal() made back: the body is plain again. -EBADMSG. */
int frame_unseal(const struct segment *s, uint64_t at, uint8_t *p);

static inline uint64_t frame_end(uint64_t at, uint32_t body_bytes)
{
	return align_up(at + sizeof(struct frame_head) + body_bytes, FRAME_ALIGN);
}

/* Finds the frame that begins with next_lsn at *at or at the block boundary after it; moves
 * *at there and leaves its plain body in *body (as it lies there without keys).
 * -EBADMSG when there is none; then *ret_torn says that a head is there, at *at, but not its
 * body. */
int frame_find(const struct segment *s, uint64_t *at, uint64_t next_lsn, struct buf *body,
	       struct frame_info *ret, bool *ret_torn);

struct frame_scan {
	uint64_t durable_lsn; /* greatest that a head tells of */
	uint64_t frames; /* heads seen */
	uint64_t resume_at; /* first frame with first LSN in (after, upto]; 0: none */
	uint64_t resume_lsn;
};
/* Looks at all block boundaries from at on, and before end, for heads of this segment's life. */
int segment_scan(const struct segment *s, uint64_t at, uint64_t end, uint64_t after,
		 uint64_t upto, struct frame_scan *ret);

struct record {
	struct span body;
	struct span whole; /* head and body */
	uint8_t type;
	bool more;
};
/* Writes a record's head to p (RECORD_HEAD_MAX bytes); returns its length. */
size_t record_head_put(uint8_t *p, size_t body_bytes, uint8_t type, bool more);
/* Takes one record off the front of *rest: 1, 0 at the end, -EBADMSG. */
int record_take(struct span *rest, struct record *ret);

#endif
