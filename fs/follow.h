/* follow.h - who follows which file: sources (waits.h) that are woken by changes of it.
 *
 * The store calls follow_changed() in the thread that made a change. A request that has a reply to
 * send first holds the waking back: who writes is answered before those who follow, unless they
 * are few. */
#ifndef ROPEFS_FS_FOLLOW_H
#define ROPEFS_FS_FOLLOW_H

#include "fs/map.h"
#include "fs/waits.h"

struct follower;

struct follows {
	pthread_mutex_t mutex; /* a leaf */
	struct map by_ino; /* to the first of each list */
};

/* That a source follows an inode; its owner's. */
struct follower {
	struct source *source;
	uint64_t ino; /* 0: nothing now */
	struct follower *next, *prev;
};

void follows_init(struct follows *f);
void follows_release(struct follows *f);

/* -ENOMEM. */
int follow_add(struct daemon *d, struct follower *f, uint64_t ino);
void follow_del(struct daemon *d, struct follower *f);

/* For ropefs_opts.changed; arg is the daemon, ino 0 everything. */
void follow_changed(void *arg, uint64_t ino);
/* From here to follow_wake_later() this thread wakes nobody; then those whose time has come. */
void follow_hold(void);
/* In between, when all is done but the reply: wakes those of files that few follow. */
void follow_wake_few(void);
void follow_wake_later(void);

#endif
