/* notify.h - edits, and what the kernel has cached of the files they change.
 *
 * An edit moves bytes below pages and a size that the kernel holds. Around it, in this order:
 *   edit_begin()  changed pages of maps are written back, to where they still belong, and the
 *                 pages go; if the file gets shorter, the kernel takes the smaller size now
 *   the edit      applied to the store
 *   edit_end()    pages read meanwhile go, and the kernel is told the size
 *   the reply     so whoever was told that an edit is done finds it in every read
 *
 * Invariants
 * 1. The kernel's size of a file never is greater than ours: it would show zeros beyond our
 *    end. Hence the smaller size comes first, and until the edit is applied every answer
 *    that has a size has the smaller one (inodes_less()).
 * 2. Edits of one inode follow one another: one thread of `edits` has them all. These threads
 *    wait for the kernel, which waits for replies of the loops and the workers; so neither
 *    waits for them, and no lock is held in edit_begin() and edit_end(). */
#ifndef ROPEFS_FS_NOTIFY_H
#define ROPEFS_FS_NOTIFY_H

#include "fs/daemon.h"

/* Bytes from `from` on move: `gone` of them leave, `come` take their place. */
struct moved {
	uint64_t ino;
	uint64_t from, gone, come;
};

/* 0 or a negative errno; edits_stop() undoes a half start, too. */
int edits_start(struct daemon *d);
void edits_stop(struct daemon *d);
/* After a takeover, before a request is taken: the kernel drops pages that the edits of the worker
 * before had changed and it may not have been told of. Returns without that after a second: where a
 * map of the file was written meanwhile the kernel waits for us to take the page. */
void edits_resume(struct daemon *d, int connection);

/* step(t) will run in the thread that has the inode's edits. */
void task_edit(struct task *t, fuse_ino_t ino, void (*step)(struct task *t));
/* In that thread. */
void edit_begin(struct daemon *d, const struct moved *m);
void edit_end(struct daemon *d, const struct moved *m);

/* With ROPEFS_TEST_DIE_UNTOLD in the environment the first worker dies here. */
void edit_dies_for_test(void);

/* For an edit of several files, in the thread of the first of them: stops other threads of edits
 * (a bit each in mask, all above the caller's own, so that two who do this can't wait for one
 * another), until edits_unpark(). others has EDIT_THREADS places. */
struct parked {
	struct job job;
	bool there, go, gone; /* guarded by a mutex of notify.c */
};
void edits_park(struct daemon *d, unsigned mask, struct parked *others);
void edits_unpark(unsigned mask, struct parked *others);

/* Drops the attributes of an inode that the request at hand is about, before its reply. Waits for
 * nobody, so any thread may. */
void attrs_drop(struct daemon *d, fuse_ino_t ino);
/* Pages, too. Waits for the kernel. */
void inode_drop(struct daemon *d, fuse_ino_t ino);
/* Only the pages of a range, of which maps may have changed some; those are written back first. In
 * a thread of edits. */
void range_drop(struct daemon *d, fuse_ino_t ino, uint64_t from, uint64_t n);
/* For ropefs_opts.blocks; arg is the daemon: later, the attributes of these inodes go. */
void blocks_changed(void *arg, const uint64_t *inos, size_t n);
/* Does the kernel know the inode? Waits for nobody. */
bool kernel_knows(void *arg, uint64_t ino); /* arg: the daemon */
/* Later: drops the pages from the byte `from` on, and tells the size. */
void pages_drop(struct daemon *d, fuse_ino_t ino, uint64_t from);

#endif
