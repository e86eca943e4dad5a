/* extent.h - where a run of a file's bytes is.
 *
 *	 0  ref  le64	kind in the top two bits, the rest by kind
 *	 8  off  le32	first byte within what ref names
 *	12  len  le32	bytes, at least 1
 *
 * kind 0 hole:  ref is 0; the length is off << 32 | len (up to 2^63 - 1)
 * kind 1 hot:   bits 0..61 a hot block's number (memory, backed by the log; never on disk)
 * kind 2 chunk: bits 24..61 pack number, bits 0..23 chunk index in the pack; pack 0, which is
 *	never written, chunk 0: bytes that a repair gave up, reading them is an error */
#ifndef ROPEFS_ROPE_EXTENT_H
#define ROPEFS_ROPE_EXTENT_H

#include "core/base/le.h"
#include "core/base/util.h"

enum extent_kind { EXTENT_HOLE = 0, EXTENT_HOT = 1, EXTENT_CHUNK = 2 };

struct extent {
	le64 ref;
	le32 off;
	le32 len;
};
static_assert(sizeof(struct extent) == 16, "extent is 16 bytes on disk");

#define EXTENT_PACK_MAX	 (((uint64_t)1 << 38) - 1)
#define EXTENT_CHUNK_MAX (((uint32_t)1 << 24) - 1)
#define EXTENT_BYTES_MAX ((uint64_t)INT64_MAX)

static inline enum extent_kind extent_kind(const struct extent *e)
{
	return (enum extent_kind)(le64_get(e->ref) >> 62);
}

static inline uint64_t extent_bytes(const struct extent *e)
{
	if (extent_kind(e) == EXTENT_HOLE)
		return (uint64_t)le32_get(e->off) << 32 | le32_get(e->len);
	return le32_get(e->len);
}

static inline struct extent extent_hole(uint64_t bytes)
{
	return (struct extent) { le64_put(0), le32_put((uint32_t)(bytes >> 32)),
				 le32_put((uint32_t)bytes) };
}

static inline struct extent extent_hot(uint64_t block, uint32_t off, uint32_t len)
{
	return (struct extent) { le64_put((uint64_t)EXTENT_HOT << 62 | block),
				 le32_put(off), le32_put(len) };
}

static inline struct extent extent_chunk(uint64_t pack, uint32_t index, uint32_t off,
					 uint32_t len)
{
	return (struct extent) { le64_put((uint64_t)EXTENT_CHUNK << 62 | pack << 24 |
					  index),
				 le32_put(off), le32_put(len) };
}

static inline uint64_t extent_hot_block(const struct extent *e)
{
	return le64_get(e->ref) & (((uint64_t)1 << 62) - 1);
}

static inline uint64_t extent_pack(const struct extent *e)
{
	return extent_hot_block(e) >> 24;
}

static inline uint32_t extent_chunk_index(const struct extent *e)
{
	return (uint32_t)(le64_get(e->ref) & EXTENT_CHUNK_MAX);
}

/* The longest piece of bytes given up that one extent tells of. */
#define EXTENT_LOST_MAX ((uint64_t)1 << 30)

static inline struct extent extent_lost(uint32_t len)
{
	return extent_chunk(0, 0, 0, len);
}

static inline bool extent_is_lost(const struct extent *e)
{
	return extent_kind(e) == EXTENT_CHUNK && extent_pack(e) == 0;
}

/* The part [from, from + bytes) of e; 0 < bytes, from + bytes <= extent_bytes(e). */
static inline struct extent extent_part(const struct extent *e, uint64_t from,
					uint64_t bytes)
{
	if (extent_kind(e) == EXTENT_HOLE)
		return extent_hole(bytes);
	return (struct extent) { e->ref, le32_put(le32_get(e->off) + (uint32_t)from),
				 le32_put((uint32_t)bytes) };
}

#endif
