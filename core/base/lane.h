/* lane.h - lanes: bytes of one lane share packs with no others, so that a pack can go up, leave
 * the disk or stay by what the policies upload and pin say of the files it holds. */
#ifndef ROPEFS_BASE_LANE_H
#define ROPEFS_BASE_LANE_H

#include <stdbool.h>

/* On disk, in the footers of packs and in manifests. */
enum lane {
	LANE_NORMAL = 0,
	LANE_FIRST = 1,
	LANE_LAST = 2,
	LANE_NEVER = 3,
	LANE_UPLOAD = 3, /* the bits of the above */
	LANE_PINNED = 4, /* besides: stays on the disk */
};
#define LANES	   8u
#define LANE_RANKS 3u /* of what goes up */

/* 0 goes up first; LANE_RANKS: never. */
static inline unsigned lane_rank(unsigned lane)
{
	static const unsigned char ranks[] = { 1, 0, 2, LANE_RANKS };

	return ranks[lane & LANE_UPLOAD];
}

/* As the policy says it. */
static inline const char *lane_upload(unsigned lane)
{
	static const char *const words[] = { "normal", "first", "last", "never" };

	return words[lane & LANE_UPLOAD];
}

static inline bool lane_pinned(unsigned lane)
{
	return lane & LANE_PINNED;
}

#endif
