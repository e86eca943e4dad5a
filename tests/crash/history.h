/* history.h - random histories of a small folder of files.
 *
 * A step is one change of the folder: drawn at random from what is possible, done by system
 * calls, and applied to a model in memory. Equal generators and equal folders give equal
 * steps, so whoever knows a folder's state and a seed knows all the states that follow. */
#ifndef ROPEFS_TESTS_HISTORY_H
#define ROPEFS_TESTS_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/lib/suite.h"

enum { HISTORY_SLOTS = 24 }; /* file names a folder can have, in two directories */

enum history_role {
	HISTORY_LOG, /* appends, and now and then a rotation */
	HISTORY_TEXT, /* inserts, cuts and replaces through views and ioctl */
	HISTORY_NAMES, /* creates, renames, exchanges, links, unlinks */
	HISTORY_MIXED,
	HISTORY_ROLES,
};

struct body;

/* What each name has; hard links share a body. NULL: no such name. */
struct folder {
	struct body *slot[HISTORY_SLOTS];
};

enum step_kind {
	STEP_CREATE,
	STEP_APPEND,
	STEP_OVERWRITE,
	STEP_SPLICE,
	STEP_TRUNCATE,
	STEP_RENAME,
	STEP_EXCHANGE,
	STEP_LINK,
	STEP_UNLINK,
	STEP_KINDS,
};

struct step {
	enum step_kind kind;
	unsigned from, to; /* slots */
	uint64_t at, cut, n;
	uint64_t seed; /* of the n bytes */
	bool by_view;
};

/* Makes the two directories a folder has. 0 or a negative errno, as all below. */
int folder_make(int dir);
/* Reads a folder; fails with -EUCLEAN when it holds what no folder has. */
int folder_read(int dir, struct folder *ret);
void folder_release(struct folder *f);
/* Where they differ is told in why. */
bool folder_equal(const struct folder *a, const struct folder *b, char *why, size_t n);

struct step step_next(struct rng *rng, enum history_role role, const struct folder *f);
/* Does the step. With sync all is durable when it has returned 0: what it changed is
 * fsynced. */
int step_do(int dir, const struct step *s, bool sync);
/* A crash may cut a write at page boundaries of the file. Applying a step's parts, in order,
 * goes through all the states that may be found. */
unsigned step_parts(const struct step *s);
void step_apply(const struct step *s, unsigned part, struct folder *f);

/* Which steps a folder has. When several states look the same the bounds are those that
 * accuse least. A step of which a part is there counts as there and as lost. */
struct found {
	bool any;
	uint64_t there; /* steps that are there, at least */
	uint64_t first_lost; /* no earlier step is lost */
};
/* Is `now` what a number of steps from `durable` to `begun` make of f, by this generator? f becomes
 * what all of them make. Where not that is printed. */
struct found history_find(struct rng rng, enum history_role role, struct folder *f,
			  uint64_t durable, uint64_t begun, const struct folder *now);
/* In words, for messages; in a buffer of its own. */
const char *step_text(const struct step *s);

#endif
