/* view.h - NAME@SELECTOR as a file (docs/VIEWS.md): which file a name shows, and what kind of
 * view it is. Each kind has a file of its own and is a row of the table in view.c.
 *
 * Invariants
 * 1. A view's node id is made from its target and its name, so that stat and open agree on
 *    it; the table has it while the kernel knows it.
 * 2. Only a kind's open files keep the target known (inodes_get()), not the view itself: the
 *    kernel remembers names for long, and a removed file would keep its bytes. */
#ifndef ROPEFS_FS_VIEW_H
#define ROPEFS_FS_VIEW_H

#include "core/ropefs.h"
#include "fs/kept.h"
#include "fs/map.h"

#include <fuse_lowlevel.h>
#include <pthread.h>
#include <sys/queue.h>

struct daemon;
struct view;
struct view_file;

/* Where a view's range was in one state of its file. */
struct view_found {
	struct ropefs_range range;
	uint64_t version;
};

/* A kind of view: what it does with the requests on it. */
struct view_kind {
	/* Does it show these selectors of this file? */
	bool (*takes)(const struct ropefs_view *selector,
		      const struct ropefs_attr *target);
	/* Its size, as stat tells it. A negative error refuses the name: -ERANGE. */
	int (*size)(struct daemon *d, const struct view *v,
		    const struct ropefs_attr *target, uint64_t *ret);
	const struct fuse_lowlevel_ops *ops; /* fi->fh is theirs */
	/* For remove: what the view shows, which may have to be read (far.h). NULL: nothing. */
	int (*find)(struct daemon *d, const struct view *v, struct view_found *ret);
	/* What rm does, in the thread that has the target's edits; uid: who asks. NULL: EPERM. */
	int (*remove)(struct daemon *d, const struct view *v,
		      const struct view_found *found, uint32_t uid);
	/* One side of copy_file_range; NULL: the kernel copies by reading and writing. */
	int (*copy_side)(uint64_t fh, bool write, struct ropefs_range *range);
	void (*copied)(uint64_t fh);
};

struct view {
	uint64_t ino;
	uint64_t lookups;
	struct kept kept; /* of the table's own */
	uint64_t target;
	uint64_t dir;
	const struct view_kind *kind;
	struct ropefs_view selector;
	char name[ROPEFS_NAME_MAX + 1]; /* in dir, with the selectors */
};

struct views {
	pthread_mutex_t mutex; /* taken before the inode table's */
	struct map by_ino;
	LIST_HEAD(, value_file) values; /* open, of view_value.c */
	LIST_HEAD(, view_file) ranges; /* open ones (view_range.h) */
};

/* What the next daemon makes an open view of; the fixed part of its row (kept.h) begins so. */
struct view_kept {
	uint64_t target, dir;
	uint32_t uid, gid; /* who opened it */
	char name[ROPEFS_NAME_MAX + 1];
};
KEPT_SIZE(struct view_kept, 280);

void views_init(struct views *v);
void views_release(struct views *v);

/* Could the name be a view of something? */
bool view_like(struct daemon *d, const char *name);
/* Is it one now (or a bad selector on a file that is there)? Here and below, uid is who asks. */
bool view_shows(struct daemon *d, fuse_ino_t parent, const char *name, uint32_t uid);
/* 1: it is, *ret filled and a lookup counted; 0: it is an ordinary name; -EINVAL: bad
 * selector; -ERANGE: outside of the file. Errors are told in .ropefs/events. */
int view_lookup(struct daemon *d, fuse_ino_t parent, const char *name, uint32_t uid,
		struct fuse_entry_param *ret);
void view_forget(struct daemon *d, fuse_ino_t ino, uint64_t times);
/* Attributes of a live view as of now. */
int view_stat(struct daemon *d, fuse_ino_t ino, struct stat *ret);
/* What a live view is. -ESTALE. */
int view_target(struct daemon *d, fuse_ino_t ino, struct view *ret);
/* NULL: the view is not known any more. */
const struct view_kind *view_kind_of(struct daemon *d, fuse_ino_t ino);
/* Which file, and what of it a name shows (neither ino nor lookups); as view_lookup(). */
int view_find(struct daemon *d, fuse_ino_t parent, const char *name, uint32_t uid,
	      struct view *ret, struct ropefs_attr *ret_target);
void view_keep(const struct view *v, uint32_t uid, uint32_t gid, struct view_kept *ret);
/* The view that a file of a daemon before was open on; the kernel knows it under k->node. */
int view_restore(struct daemon *d, const struct kept_file *k,
		 const struct view_kind *kind, struct view *ret);
/* A view that the kernel knew from the daemon before. */
int view_node_restore(struct daemon *d, const struct kept_file *k);
/* Answers an unlink of a view's name. */
void view_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);

#endif
