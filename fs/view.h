/* view.h - NAME@SELECTOR as a file (docs/VIEWS.md): finding it, and its edits.
 *
 * Invariants
 * 1. A view's node id is made from its target and selector, so that stat and open agree on
 *    it; the table has it while the kernel knows it, and it keeps the target known as well.
 * 2. A handle open for writing has a stage, a file without a name. The target changes only
 *    in view_commit(): bytes [from, from + placed) give way to the whole stage, in one step,
 *    and `placed` becomes the stage's size.
 * 3. A commit needs the target's `edits` to be what the handle saw last; else the place may
 *    have moved, and it fails with ESTALE. */
#ifndef ROPEFS_FS_VIEW_H
#define ROPEFS_FS_VIEW_H

#include "core/ropefs.h"
#include "fs/map.h"

#include <fuse_lowlevel.h>
#include <pthread.h>
#include <stdatomic.h>

struct daemon;

struct view {
	uint64_t ino;
	uint64_t lookups;
	uint64_t target;
	struct ropefs_view selector;
};

struct views {
	pthread_mutex_t mutex; /* taken before the inode table's */
	struct map by_ino;
};

struct view_file {
	uint64_t target;
	uint64_t from, placed; /* the range, as resolved at open and moved by commits */
	uint64_t stage; /* ino; 0: open for reading only */
	atomic_ullong edits; /* of the target, as it saw them last */
	uint32_t uid;
	bool cut_if_unwritten; /* opened with O_TRUNC */
	atomic_bool wrote; /* ever */
	atomic_bool dirty; /* since the last commit */
	pthread_mutex_t
		committing; /* guards placed; its edits change under the edit lock */
};

void views_init(struct views *v);
void views_release(struct views *v);

/* Could the name be a view of something? */
bool view_like(struct daemon *d, const char *name);
/* Is it one now (or a bad selector on a file that is there)? */
bool view_shows(struct daemon *d, fuse_ino_t parent, const char *name);
/* 1: it is, *ret filled and a lookup counted; 0: it is an ordinary name; -EINVAL: bad
 * selector; -ERANGE: outside of the file. */
int view_lookup(struct daemon *d, fuse_ino_t parent, const char *name,
		struct fuse_entry_param *ret);
void view_forget(struct daemon *d, fuse_ino_t ino, uint64_t times);
/* Attributes of a live view as of now. */
int view_stat(struct daemon *d, fuse_ino_t ino, struct stat *ret);
/* The target of a live view. */
int view_target(struct daemon *d, fuse_ino_t ino, struct view *ret);
/* Which file, and what of it a name shows; as view_lookup(). */
int view_find(struct daemon *d, fuse_ino_t parent, const char *name,
	      struct ropefs_view *ret_selector, struct ropefs_attr *ret_target);

/* May wait. flags as of open(2). */
int view_file_open(struct daemon *d, fuse_ino_t ino, int flags, uint32_t uid,
		   struct view_file **ret);
void view_file_free(struct daemon *d, struct view_file *f);
/* Has somebody else moved bytes of the target? Then there is no place for the stage any more. */
bool view_is_stale(struct daemon *d, struct view_file *f);
/* Edits: in the thread that has those of the target (notify.h), the kernel's cache included.
 * Puts the stage in its place. */
int view_commit(struct daemon *d, struct view_file *f);
/* Makes the range of a view `size` bytes long: its end is cut, or zeros are put there. */
int view_resize(struct daemon *d, const struct view *v, uint64_t size, uint32_t uid);

/* Answers an unlink of a view's name: its range is cut from the target. */
void view_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
/* One side of a copy: fh is a view's handle; range->at is within the view and becomes the
 * place in range->ino, range->n is cut to what is there. */
int view_copy_side(uint64_t fh, bool write, struct ropefs_range *range);
void view_copied(uint64_t fh);

#endif
