/* pack_format.h - the bytes of a pack file, version 1.
 *
 *	header, frames of chunks one after another, directory, footer
 *
 * Everything needed to read a chunk is there twice: the salt in header and footer, places
 * and sizes in the directory and in the frames. So one damaged byte costs one chunk at most.
 * The footer is the truth once its signature verifies; the rest is for the day it doesn't. */
#ifndef ROPEFS_PACK_PACK_FORMAT_H
#define ROPEFS_PACK_PACK_FORMAT_H

#include <assert.h>

#include "core/base/le.h"
#include "core/keys/keys.h"

#define PACK_VERSION	  1
#define PACK_HEADER_MAGIC "ROPEPACK"
#define PACK_FOOTER_MAGIC "ROPEFOOT"
#define FRAME_MAGIC	  0xc41ef7a3u

/* Header, at byte 0
 *
 *	 0  magic     8	"ROPEPACK"
 *	 8  version   le32
 *	12  zero      le32
 *	16  store_id  16
 *	32  pack      le64	this pack's number
 *	40  salt      16	makes this pack's key
 *	56  zero2     le32
 *	60  crc       le32	CRC32C of bytes 0..59 */
struct pack_header {
	uint8_t magic[8];
	le32 version;
	le32 zero;
	uint8_t store_id[STORE_ID_BYTES];
	le64 pack;
	uint8_t salt[KEY_SALT_BYTES];
	le32 zero2;
	le32 crc;
};
static_assert(sizeof(struct pack_header) == 64, "pack header is 64 bytes on disk");

/* Values are on disk. */
enum chunk_algorithm {
	CHUNK_STORED = 1, /* sealed bytes are the plaintext, encrypted */
	CHUNK_ZSTD = 2, /* one zstd frame, encrypted */
};

/* Head of a frame; `sealed` bytes and AEAD_TAG_BYTES of tag follow it
 *
 *	 0  magic      le32
 *	 4  index      le32	within the pack; the nonce
 *	 8  sealed     le32	1..CHUNK_BYTES_MAX
 *	12  plain      le32	1..CHUNK_BYTES_MAX, at least sealed
 *	16  algorithm  1
 *	17  zero       3
 *	20  crc        le32	CRC32C of the pack's salt, then bytes 0..19; the salt keeps
 *				a pack stored inside a pack from being taken for frames */
struct frame_head {
	le32 magic;
	le32 index;
	le32 sealed;
	le32 plain;
	uint8_t algorithm;
	uint8_t zero[3];
	le32 crc;
};
static_assert(sizeof(struct frame_head) == 24, "frame head is 24 bytes on disk");

/* What a chunk's tag covers besides its bytes; never written
 *
 *	 0  store_id   16
 *	16  pack       le64
 *	24  index      le32
 *	28  plain      le32
 *	32  sealed     le32
 *	36  algorithm  le32 */
struct chunk_aad {
	uint8_t store_id[STORE_ID_BYTES];
	le64 pack;
	le32 index;
	le32 plain;
	le32 sealed;
	le32 algorithm;
};
static_assert(sizeof(struct chunk_aad) == 40, "chunk aad is 40 bytes");

/* Directory: one entry a chunk, in order of index; all zeros for a chunk that a rewrite
 * left out
 *
 *	 0  off        le64	of the frame head in the file
 *	 8  sealed     le32
 *	12  plain      le32
 *	16  algorithm  1
 *	17  zero       3 */
struct pack_entry {
	le64 off;
	le32 sealed;
	le32 plain;
	uint8_t algorithm;
	uint8_t zero[3];
};
static_assert(sizeof(struct pack_entry) == 20, "pack entry is 20 bytes on disk");

/* Footer, the last bytes of the file
 *
 *	  0  magic      8	"ROPEFOOT"
 *	  8  version    le32
 *	 12  chunks     le32	entries in the directory
 *	 16  store_id   16
 *	 32  pack       le64
 *	 40  salt       16	as in the header
 *	 56  file_bytes le64	with this footer
 *	 64  directory  le64	its offset; it ends where the footer begins
 *	 72  hash       32	BLAKE2b-256 of the directory
 *	104  prev_hash  32	BLAKE2b-256 of footer prev, zeros for none
 *	136  prev       le64	the pack that was ended before this one, 0 for none
 *	144  rewrites   le32	how often this pack was written anew; prev_hash speaks of
 *				rewrite 0 of prev
 *	148  lane       le32	enum lane; the same for all chunks
 *	152  signature  64	Ed25519 over bytes 0..151 */
struct pack_footer {
	uint8_t magic[8];
	le32 version;
	le32 chunks;
	uint8_t store_id[STORE_ID_BYTES];
	le64 pack;
	uint8_t salt[KEY_SALT_BYTES];
	le64 file_bytes;
	le64 directory;
	uint8_t hash[32];
	uint8_t prev_hash[32];
	le64 prev;
	le32 rewrites;
	le32 lane;
	uint8_t signature[SIGN_BYTES];
};
static_assert(sizeof(struct pack_footer) == 216, "pack footer is 216 bytes on disk");
#define PACK_SIGNED_BYTES (sizeof(struct pack_footer) - SIGN_BYTES)

#endif
