/* range_cache.h - bytes fetched from a bucket, kept on the disk: ranges of objects, as they were
 * asked for.
 *
 * Two files, the younger of which grows. When it has half of the room the older one is emptied
 * and is the younger from then on; what is read of the older one meanwhile moves over. So the
 * room is never passed, a range that is used stays, and nothing is ever written in place.
 * The index is in memory, with a checksum of each range. range_cache_save() writes it to a third
 * file, which the next opening reads and removes: so it tells of these very files or is not there,
 * and after a crash the cache begins empty. What a power cut left of the bytes, which are never
 * synced, the checksums tell. All functions may be called by many threads; a failure of the disk is
 * no more than a range that is not there. */
#ifndef ROPEFS_TIER_RANGE_CACHE_H
#define ROPEFS_TIER_RANGE_CACHE_H

#include "core/io/io.h"

#define RANGE_ID_BYTES 16

struct range_cache;

struct range_key {
	uint8_t id[RANGE_ID_BYTES]; /* names the object's very bytes */
	uint64_t off;
	size_t n;
};

/* Makes the files `name`.0 and `name`.1, or goes on with them by `name`.index. */
int range_cache_open(struct io *io, const char *name, uint64_t bytes_max,
		     struct range_cache **ret);
/* What was there of an earlier life; false: no more than bytes that can't be used any more. */
bool range_cache_was_saved(struct io *io, const char *name);
/* For the next opening; the last call but range_cache_close(). */
int range_cache_save(struct range_cache *c);
struct range_cache *range_cache_close(struct range_cache *c); /* NULL is fine */
/* Whether p has the bytes now. */
bool range_cache_get(struct range_cache *c, const struct range_key *key, void *p);
void range_cache_put(struct range_cache *c, const struct range_key *key, const void *p);
void range_cache_forget(struct range_cache *c, const uint8_t id[RANGE_ID_BYTES],
			uint64_t off);
/* Gives up what is beyond; 0: all. */
void range_cache_limit(struct range_cache *c, uint64_t bytes_max);

struct range_cache_stats {
	uint64_t bytes, bytes_max, hits, misses;
};
void range_cache_read(struct range_cache *c, struct range_cache_stats *ret);

#endif
