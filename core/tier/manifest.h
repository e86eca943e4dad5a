/* manifest.h - manifests: each names everything a store is made of, so that the bucket and the
 * key bring it back. Created one after another with a condition, so that of two writers one
 * wins; the hash of the one before makes them a chain. */
#ifndef ROPEFS_TIER_MANIFEST_H
#define ROPEFS_TIER_MANIFEST_H

#include "core/io/io.h"
#include "core/tier/manifest_format.h"
#include "core/tier/object.h"

#define INSTANCE_BYTES 33 /* 32 hex digits */
#define HASH_ID_BYTES  16 /* of a hash, in keys */

struct manifest_pack {
	uint64_t pack, bytes, stored;
	uint32_t chunks, rewrites;
	uint8_t lane;
	uint8_t lost; /* enum pack_lost: its bytes are not in the bucket */
	uint8_t id[HASH_ID_BYTES];
};
struct manifest_segment {
	uint64_t number;
	uint32_t pages;
	uint8_t hash[32];
	bool harmed; /* not of the manifest: the object is found to be gone or damaged */
};
struct manifest_drop {
	char kind;
	uint64_t number;
	uint8_t id[HASH_ID_BYTES];
};

struct manifest {
	uint64_t number, epoch, oldest, time_ns, next_segment;
	uint8_t writer[16];
	uint8_t prev_hash[32];
	uint8_t state[32];
	uint8_t super[MANIFEST_SUPER_BYTES];
	struct manifest_pack *packs; /* by number */
	struct manifest_segment *segments;
	struct manifest_drop *drops;
	struct manifest_page_row *pages; /* that are in no segment, or are newer */
	size_t n_packs, n_segments, n_drops, n_pages;
};

void manifest_release(struct manifest *m);
/* Appends m, sealed, to ret. */
int manifest_encode(const struct manifest *m, struct io *io, const struct keys *keys,
		    struct buf *ret);
/* *ret must be empty. -E_CORRUPT, -E_NEWER. */
int manifest_decode(struct span bytes, const struct keys *keys, struct manifest *ret);
/* In words, with ID for the instance; keys NULL: that it is one. As manifest_decode(). */
int manifest_inspect(struct span bytes, const struct keys *keys,
		     void (*print)(void *arg, const char *line), void *arg);
/* NULL when the manifest doesn't name the pack. */
const struct manifest_pack *manifest_find_pack(const struct manifest *m, uint64_t pack);

/* --- keys of objects --- */
void instance_id(const uint8_t public_key[SIGN_PUBLIC_BYTES], char ret[INSTANCE_BYTES]);
struct object_key {
	char text[128];
};
struct object_key key_header(const char *instance);
struct object_key key_watch(const char *instance);
struct object_key key_manifest(const char *instance, uint64_t number);
/* kind 'p' or 's' */
struct object_key key_of(const char *instance, char kind, uint64_t number,
			 const uint8_t id[HASH_ID_BYTES]);

#endif
