/* names.h - which files came to have a name, for those who follow it. Each is noted, and held, by
 * the thread that gave it the name, before who asked for that is answered: so a reader that comes
 * later reads all of them, one after another, also those that have lost the name or were removed
 * meanwhile.
 *
 * Locks: a source's mutex (waits.h), then names.mutex, then those of the store. */
#ifndef ROPEFS_FS_NAMES_H
#define ROPEFS_FS_NAMES_H

#include "core/ropefs.h"
#include "fs/map.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct daemon;

enum { NOTED_MAX = 32 };

/* Files not yet gone over to, oldest first. It is in memory that the next daemon finds (kept.h). */
struct noted {
	uint64_t from, to; /* in inos, modulo NOTED_MAX */
	uint64_t missed; /* files that there was no room for */
	uint64_t inos[NOTED_MAX];
};

struct name_watch {
	LIST_ENTRY(name_watch) link;
	/* The owner's to set. */
	uint64_t dir;
	struct ropefs_name name; /* stays as long as it is watched */
	uint64_t latest; /* the file that has the name, as far as is known */
	struct noted *noted; /* NULL: nobody watches */
};

struct names {
	pthread_mutex_t mutex;
	/* Guarded by mutex, with what their `noted` hold: */
	LIST_HEAD(, name_watch) all;
	struct map
		dirs; /* how many of them each folder has: most changes are none of a folder */
};

void names_init(struct names *n);
void names_release(struct names *n);

/* Notes whatever gets the name from now on, and what got it since `latest` was asked for. What a
 * daemon before has noted is held once more; what is gone is left out. -ENOMEM. */
int names_watch(struct daemon *d, struct name_watch *w);
/* What is noted from then on stays; nothing is added. */
void names_unwatch(struct daemon *d, struct name_watch *w);
/* The oldest file noted; false: none. *ret_more: there are others behind it. */
bool names_next(struct daemon *d, struct name_watch *w, uint64_t *ret_ino,
		bool *ret_more);
/* Drops the oldest; its hold is the caller's. */
void names_taken(struct daemon *d, struct name_watch *w);
/* How many had to be left out since the last question. */
uint64_t names_missed(struct daemon *d, struct name_watch *w);

/* Lets a held file go, in another thread: it may be removed then, which wakes others. */
void names_let_go(struct daemon *d, uint64_t ino);

/* For ropefs_opts.changed, in place of follow_changed(), which it calls. */
void names_changed(void *arg, uint64_t ino);

#endif
