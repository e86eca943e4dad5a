/* listings.h - keeps apart the listings that the kernel would put together to a wrong one.
 *
 * The kernel keeps one listing of each directory: what it was told since the last one was found
 * to be old, whoever asked. It looks whether a listing is old only where a reader begins, and
 * goes on in it from wherever a reader stands. So who began after a name was removed could be
 * given that name by the rest of a listing that another reader began before, and ended a moment
 * ago. Readers and a listing are put together by the offsets of entries alone. Hence the low
 * byte of an offset is a tag of the directory's state when its reader began: other offsets,
 * which the old listing does not have.
 *
 *   ".": the tag; "..": 128 + tag; an entry: its cookie, whose low byte is nearly always 0, with
 *   128 + tag in it (or the cookie as it is, if that has a number there)
 *
 * The kernel begins anew only once a listing is whole, so one that its readers left would stand
 * in the way of every later one: after a while a new reader gets the old tag and makes it whole. */
#ifndef ROPEFS_FS_LISTINGS_H
#define ROPEFS_FS_LISTINGS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

enum {
	LISTINGS = 64, /* remembered at a time; the oldest go */
	LISTING_QUIET_S = 30, /* without a request: its readers have left it */
};

struct listings {
	pthread_mutex_t mutex; /* a leaf */
	struct unfinished {
		uint64_t dir; /* 0: free */
		int64_t version; /* of the directory when it began */
		int64_t seen; /* the last request of its readers, in seconds */
		unsigned tag;
	} all[LISTINGS];
};

void listings_init(struct listings *l);
void listings_release(struct listings *l);
/* A reader begins, at now: the tag, 1..127, of its offsets. version is another number after each
 * change of the directory. */
unsigned listings_begin(struct listings *l, uint64_t dir, int64_t version, int64_t now);
/* A reader of this tag goes on. */
void listings_go_on(struct listings *l, uint64_t dir, unsigned tag, int64_t now);
/* One was told that there is no more. */
void listings_end(struct listings *l, uint64_t dir, unsigned tag);

/* Offset behind ".", behind "..", and behind an entry. */
uint64_t listing_after_dot(unsigned tag);
uint64_t listing_after_dots(unsigned tag);
uint64_t listing_after(uint64_t cookie, unsigned tag);
enum listing_place { LISTING_START, LISTING_DOT, LISTING_DOTS, LISTING_ENTRY };
/* The cookie of the entry that off is behind, and the tag; 0 where there is none. */
enum listing_place listing_place(uint64_t off, uint64_t *ret_cookie, unsigned *ret_tag);

#endif
