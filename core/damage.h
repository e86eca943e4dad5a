/* damage.h - which chunks can't be had, and which bytes of which files they held. */
#ifndef ROPEFS_DAMAGE_H
#define ROPEFS_DAMAGE_H

#include "core/base/htab.h"
#include "core/pack/pack.h"
#include "core/rope/rope.h"

/* All packs that are there, each with its bad chunks; what it doesn't know is missing. */
struct damage {
	struct htab packs;
	uint64_t newer; /* packs from this number on are not judged; 0: all are */
};

/* A pack that is there. -ENOMEM. */
int damage_add_pack(struct damage *d, const struct pack_info *info);
/* As pack_judge.bad_chunk; a pack that was added. */
void damage_add_chunk(struct damage *d, uint64_t pack, uint32_t index);
bool damage_has(const struct damage *d, const struct extent *e);
/* Something of the pack's file does not verify, be it only a copy. */
void damage_add_flaw(struct damage *d, uint64_t pack);
/* Calls fn for each pack with a flaw: live has a bit for each chunk that can be had, n of them
 * (0: none). In no order. */
int damage_each_flawed(const struct damage *d,
		       int (*fn)(void *arg, uint64_t pack, const uint8_t *live,
				 uint32_t n),
		       void *arg);
void damage_release(struct damage *d);

/* Bytes of a file that can't be read, one after another, for one reason. */
struct damaged_range {
	uint64_t at, bytes;
	enum {
		DAMAGED_TREE, /* the tree doesn't say where they are */
		DAMAGED_CHUNK, /* what held them does not verify */
		DAMAGED_BEFORE, /* given up by a repair */
	} why;
	uint64_t pack; /* of DAMAGED_CHUNK */
	uint32_t chunk;
};
/* Calls fn for each, in order; a non-zero return of fn stops and is returned. */
int damage_each_range(const struct damage *d, struct rope_env *env,
		      const struct rope *rope,
		      int (*fn)(void *arg, const struct damaged_range *range), void *arg);
void damage_to_text(const struct damaged_range *range, char *line, size_t n);

#endif
