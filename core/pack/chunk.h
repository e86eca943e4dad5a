/* chunk.h - one chunk: compressed, sealed, framed; and back. Works on memory alone. */
#ifndef ROPEFS_PACK_CHUNK_H
#define ROPEFS_PACK_CHUNK_H

#include <zstd.h>

#include "core/pack/pack.h"
#include "core/pack/pack_format.h"

#define FRAME_BYTES_MAX (sizeof(struct frame_head) + CHUNK_BYTES_MAX + AEAD_TAG_BYTES)
#define FRAME_BYTES_MIN (sizeof(struct frame_head) + 1 + AEAD_TAG_BYTES)
/* No pack holds more chunks: it is ended when it has reached PACK_BYTES. */
#define PACK_CHUNKS_MAX (PACK_BYTES / (uint32_t)FRAME_BYTES_MIN + 1)

/* Which pack: what a chunk is bound to, besides its index. */
struct chunk_home {
	uint8_t store_id[STORE_ID_BYTES];
	uint8_t salt[KEY_SALT_BYTES];
	uint64_t pack;
	struct aead *aead; /* of the salt; owned by whoever owns the home */
};

/* Where a chunk is, in memory; sealed is 0 for one that is not there. */
struct chunk_entry {
	uint64_t off; /* of its frame head */
	uint32_t sealed;
	uint32_t plain;
	uint8_t algorithm; /* enum chunk_algorithm */
};

static inline size_t frame_bytes(const struct chunk_entry *e)
{
	return sizeof(struct frame_head) + e->sealed + AEAD_TAG_BYTES;
}

/* Compresses and seals n (1..CHUNK_BYTES_MAX) bytes into the frame (FRAME_BYTES_MAX of
 * room) of chunk index. Gives its entry with off 0. Cannot fail: what zstd does not
 * shrink, for whatever reason, is stored. */
void chunk_seal(ZSTD_CCtx *z, const struct chunk_home *home, uint32_t index,
		const uint8_t *plain, size_t n, uint8_t *frame, struct chunk_entry *ret);
/* Opens the bytes after a frame's head (e->sealed and the tag), which are spoiled, into
 * e->plain bytes of out. Authenticates first. -EBADMSG, -ENOMEM. */
int chunk_open(ZSTD_DCtx *z, const struct chunk_home *home, uint32_t index,
	       const struct chunk_entry *e, uint8_t *sealed, uint8_t *out);

/* True when an entry's sizes and algorithm can be. */
bool chunk_entry_sane(const struct chunk_entry *e);
void frame_head_put(const struct chunk_home *home, uint32_t index,
		    const struct chunk_entry *e, uint8_t *p);
/* Reads the head at p: false when it is not one of this pack. Leaves ret_entry->off 0. */
bool frame_head_get(const struct chunk_home *home, const uint8_t *p, uint32_t *ret_index,
		    struct chunk_entry *ret_entry);

#endif
