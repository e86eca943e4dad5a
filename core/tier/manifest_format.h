/* manifest_format.h - what lies in a bucket, version 2. Keys begin with the store's instance id
 * (32 hex digits: BLAKE2b-256 of its public key, the first 16 bytes):
 *
 *	ID/header           the store's header (header.h), as in its folder
 *	ID/m/NUMBER         manifests: 10 decimal digits, from 1
 *	ID/p/NUMBER-HASH    packs as they are on disk; HASH: 32 hex digits, pack_info.id
 *	ID/s/NUMBER-HASH    segments of the page file; HASH: of their bytes, 32 hex digits
 *
 * A manifest is a head, a sealed body, a tag:
 *
 *	 0  head     struct manifest_head
 *	64  sealed   struct manifest_body, packs, segments, drops, pages
 *	    tag      16 B
 *
 * Key: KEY_MANIFEST with the head's salt, nonce 0, AAD: the head. Manifest n + 1 holds the
 * BLAKE2b-256 of manifest n's bytes. Few pages that are in no segment lie in the manifest itself
 * (version 2; without any it is one of version 1). A segment is a struct segment_head, `pages`
 * page numbers (le64), `pages` pages of 4096 bytes as they are in the page file. */
#ifndef ROPEFS_TIER_MANIFEST_FORMAT_H
#define ROPEFS_TIER_MANIFEST_FORMAT_H

#include <assert.h>

#include "core/base/le.h"
#include "core/keys/keys.h"

#define MANIFEST_VERSION       2u
#define MANIFEST_VERSION_PLAIN 1u /* without pages */
#define SEGMENT_VERSION	       1u
#define MANIFEST_MAGIC	       "ROPEMFST"
#define SEGMENT_MAGIC	       "ROPESEGM"

/*	 0  magic     8
 *	 8  version   le32
 *	12  zero      le32
 *	16  store_id  16
 *	32  number    le64
 *	40  salt      16
 *	56  bytes     le64	of the sealed part */
struct manifest_head {
	uint8_t magic[8];
	le32 version;
	le32 zero;
	uint8_t store_id[STORE_ID_BYTES];
	le64 number;
	uint8_t salt[KEY_SALT_BYTES];
	le64 bytes;
};
static_assert(sizeof(struct manifest_head) == 64, "manifest head is 64 bytes");

#define MANIFEST_SUPER_BYTES 256u

/*	  0  epoch      le64	of the writer: one more with each take-over
 *	  8  oldest     le64	the oldest manifest still in the bucket
 *	 16  time       le64	ns since 1970
 *	 24  writer     16	random, of the store folder that wrote it
 *	 40  prev_hash  32
 *	 72  packs      le32
 *	 76  segments   le32
 *	 80  drops      le32
 *	 84  pages      le32
 *	 88  next_segment le64	segments from it on were never used
 *	 96  state      32	which commit of the page file this is
 *	128  super      256	struct super_body (page_format.h) of that commit */
struct manifest_body {
	le64 epoch;
	le64 oldest;
	le64 time;
	uint8_t writer[16];
	uint8_t prev_hash[32];
	le32 packs;
	le32 segments;
	le32 drops;
	le32 pages;
	le64 next_segment;
	uint8_t state[32];
	uint8_t super[MANIFEST_SUPER_BYTES];
};
static_assert(sizeof(struct manifest_body) == 384, "manifest body is 384 bytes");

/*	 0  pack      le64
 *	 8  bytes     le64	of its object
 *	16  stored    le64	pack_info.stored_bytes
 *	24  chunks    le32	the lower 24 bits; then lane (3 bits), lost (2 bits)
 *	28  rewrites  le32
 *	32  id        16 */
struct manifest_pack_row {
	le64 pack;
	le64 bytes;
	le64 stored;
	le32 chunks;
	le32 rewrites;
	uint8_t id[16];
};
static_assert(sizeof(struct manifest_pack_row) == 48, "pack row is 48 bytes");

/*	 0  number    le64
 *	 8  pages     le32
 *	12  zero      le32
 *	16  hash      32	of the object */
struct manifest_segment_row {
	le64 number;
	le32 pages;
	le32 zero;
	uint8_t hash[32];
};
static_assert(sizeof(struct manifest_segment_row) == 48, "segment row is 48 bytes");

/* An object that the manifest before this one needed, and this one does not
 *	 0  number    le64
 *	 8  kind      1		'p' or 's'
 *	 9  zero      7
 *	16  id        16	as in its key */
struct manifest_drop_row {
	le64 number;
	uint8_t kind;
	uint8_t zero[7];
	uint8_t id[16];
};
static_assert(sizeof(struct manifest_drop_row) == 32, "drop row is 32 bytes");

#define MANIFEST_PAGE_BYTES 4096u

/*	 0  page      le64
 *	 8  sealed    4096	as in the page file */
struct manifest_page_row {
	le64 page;
	uint8_t sealed[MANIFEST_PAGE_BYTES];
};
static_assert(sizeof(struct manifest_page_row) == 4104, "page row is 4104 bytes");

/*	 0  magic     8
 *	 8  version   le32
 *	12  pages     le32
 *	16  store_id  16
 *	32  number    le64
 *	40  zero      8 */
struct segment_head {
	uint8_t magic[8];
	le32 version;
	le32 pages;
	uint8_t store_id[STORE_ID_BYTES];
	le64 number;
	uint8_t zero[8];
};
static_assert(sizeof(struct segment_head) == 48, "segment head is 48 bytes");

#endif
