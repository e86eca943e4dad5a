/* view_range.h - views of a range of a file's bytes (bytes=), which can be written, and of all
 * of them while they are unchanged (if=).
 *
 * Invariants
 * 1. A handle open for writing has a stage, a file without a name. The target changes only
 *    in view_commit(): bytes [from, from + placed) give way to the whole stage, in one step,
 *    and `placed` becomes the stage's size.
 * 2. A commit needs the target's `edits` to be what the handle saw last; else the place may
 *    have moved, and it fails with ESTALE. That of an if= needs the target's etag to be the
 *    one it opened, or left, instead; else it fails with EBUSY.
 * 3. A running program's file is not written, as by write(2): ETXTBSY. */
#ifndef ROPEFS_FS_VIEW_RANGE_H
#define ROPEFS_FS_VIEW_RANGE_H

#include "fs/kept.h"
#include "fs/view.h"

#include <stdatomic.h>

extern const struct view_kind view_range;

struct view_file {
	LIST_ENTRY(view_file) link;
	uint64_t target; /* known as long as this is open */
	uint64_t from, placed; /* the range, as resolved at open and moved by commits */
	uint64_t stage; /* ino; 0: open for reading only */
	atomic_ullong edits; /* of the target, as it saw them last */
	char etag[ROPEFS_ETAG_MAX]; /* of if=; else "" */
	uint32_t uid;
	bool cut_if_unwritten; /* opened with O_TRUNC; then even for reading there is a stage */
	atomic_bool wrote; /* ever */
	atomic_bool dirty; /* since the last commit */
	bool stale; /* it was, in a daemon before */
	struct kept kept;
	atomic_bool kept_dirty; /* its row says so */
	pthread_mutex_t
		committing; /* guards placed; its edits change under the edit lock */
};

/* May wait. flags as of open(2). */
int view_file_open(struct daemon *d, fuse_ino_t ino, int flags, uint32_t uid,
		   struct view_file **ret);
void view_file_free(struct daemon *d, struct view_file *f);
/* Frees those whose RELEASE did not come before the end. */
void view_ranges_end(struct daemon *d);
/* Has somebody else moved bytes of the target? Then there is no place for the stage any more. */
bool view_is_stale(struct daemon *d, struct view_file *f);
/* A write to the stage is about to be made: the next daemon must know that there was one. */
void view_writes(struct view_file *f);
/* One of a daemon before. */
int view_file_restore(struct daemon *d, const struct kept_file *k);
/* Is it the stage of an open view? */
bool view_has_stage(struct daemon *d, uint64_t ino);
/* For an edit of the file ino that moves bytes: takes its edit lock, and says so to the rows of its
 * views, but that of f (which may be NULL). Then, whether it was made. */
void view_edit_lock(struct daemon *d, uint64_t ino, const struct view_file *f);
void view_edit_unlock(struct daemon *d, uint64_t ino, const struct view_file *f,
		      bool made);
/* Edits: in the thread that has those of the target (notify.h), the kernel's cache included.
 * Puts the stage in its place. */
int view_commit(struct daemon *d, struct view_file *f);
/* Where the view's range is now. Of lines: the bucket may have to be asked (far_step()). */
int view_range_find(struct daemon *d, const struct view *v, struct view_found *ret);
/* Makes the range of a view `size` bytes long: its end is cut, or zeros are put there. It is found
 * anew if the file is another one since. */
int view_resize(struct daemon *d, const struct view *v, const struct view_found *found,
		uint64_t size, uint32_t uid);
/* One side of a copy: fh is a view's handle; range->at is within the view and becomes the
 * place in range->ino, range->n is cut to what is there. */
int view_copy_side(uint64_t fh, bool write, struct ropefs_range *range);
void view_copied(uint64_t fh);

#endif
