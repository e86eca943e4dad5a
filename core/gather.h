/* gather.h - what of a file lies in many small packs is packed together.
 *
 * Each upload that somebody waits for leaves a small pack, and an object in the bucket. So when a
 * checkpoint writes a leaf of a rope whose bytes lie in many of them, it packs these anew beside
 * what is new, as it does with a leaf that it defragments (checkpoint.c). A pack out of which all
 * is moved goes with the next collection; nothing of a file changes, and a power cut leaves all
 * where it was.
 *
 * What one pack has of the leaf is of a class by its bytes (powers of 8). A class is moved when it
 * has GATHER_PACKS packs or more, and what comes of that is of a higher class. So a byte is moved
 * at most once a class, log16 of the packs in most cases, and at most GATHER_PACKS - 1 of a class
 * stay in a leaf. */
#ifndef ROPEFS_GATHER_H
#define ROPEFS_GATHER_H

#include "core/rope/extent.h"

#define GATHER_PACKS   16u
#define GATHER_SMALL   (4u << 20) /* a pack's file of fewer bytes is small */
#define GATHER_EXTENTS 256u /* of a leaf, at most */

struct packs;

struct gather_part {
	uint64_t pack, bytes; /* in the leaf at hand */
	bool chosen;
};

/* Zeros: nothing is moved. */
struct gather {
	unsigned n, n_chosen;
	uint64_t bytes; /* that are to be moved */
	struct gather_part parts[GATHER_EXTENTS];
};

/* For each extent of a leaf, in order; then which are to be moved: classes of `least` packs. */
void gather_add(struct gather *g, const struct extent *e);
void gather_choose(struct gather *g, struct packs *ps, unsigned least);
bool gather_moves(const struct gather *g, const struct extent *e);

#endif
