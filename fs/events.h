/* events.h - .ropefs/events: what happens by itself, or was refused with more to say than an
 * errno holds, as one JSON object a line. A reader gets what is kept, then each new line as it
 * comes; one that falls behind what is kept gets a line that says how much it missed. Lines with
 * names are for who caused them, root and the daemon's user: others may not know the names. */
#ifndef ROPEFS_FS_EVENTS_H
#define ROPEFS_FS_EVENTS_H

#include "fs/kept.h"

#include <fuse_lowlevel.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

enum {
	EVENTS_KEPT = 1024,
	EVENT_BYTES = 4096, /* a line at most, with a NUL */
};

struct daemon;
struct event_file;
struct kept_file;

/* What the next daemon goes on with, too. */
struct event_lines {
	atomic_ullong next; /* how many there ever were; set last */
	/* Line i is in i % EVENTS_KEPT. */
	struct event_line {
		uint32_t uid; /* who may read it besides root and the daemon's user */
		char text[EVENT_BYTES]; /* with its newline */
	} lines[EVENTS_KEPT];
};
KEPT_SIZE(struct event_lines, 4198408);

struct events {
	pthread_mutex_t mutex; /* a leaf */
	struct kept kept;
	struct event_lines *lines; /* NULL: no memory, and nothing is told */
	LIST_HEAD(, event_file) files;
	bool waking; /* a task is on its way */
	bool stopped;
};

void events_init(struct events *e);
void events_release(struct events *e);
/* From now on nobody is woken. */
void events_stop(struct events *e);

/* For ropefs_opts.event; arg is the daemon. Everybody may read it: there is no name in it. */
void events_line(void *arg, const char *line);
/* Likewise of those that name a file: for root and whoever runs the daemon. */
void events_named_line(void *arg, const char *line);
/* An event of the daemon's own, for the user uid, as names are nobody else's business; EVENT_ALL:
 * for everybody. name may be NULL. */
#define EVENT_ALL UINT32_MAX
void event_say(struct daemon *d, uint32_t uid, const char *kind, uint64_t ino,
	       const char *name, const char *text);

extern const struct fuse_lowlevel_ops events_ops;
/* A reader of a daemon before, who is not woken before events_go_on(). */
int events_restore(struct daemon *d, const struct kept_file *k);

void events_go_on(struct daemon *d);

#endif
