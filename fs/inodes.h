/* inodes.h - what the daemon keeps of each inode the kernel knows.
 *
 * Invariants
 * 1. An inode is in the table while the kernel knows it (lookups > 0, or inherited) or a view of it
 *    is open, and the store holds it exactly as long: an unlinked file stays until then.
 * 2. `edits` rises with each change that moves bytes (insert, cut, replace, truncate), under
 *    the inode's edit lock. A view commits only if nobody else moved them since its open.
 * 3. `plain` is only set when the inode has no set-id bits and no file capabilities; it is
 *    cleared after every change that could give it some.
 *
 * The table's mutex is a leaf but for ropefs_hold(). An edit lock is
 * taken before it, never in it, and is held across calls of the store. */
#ifndef ROPEFS_FS_INODES_H
#define ROPEFS_FS_INODES_H

#include "core/ropefs.h"
#include "fs/map.h"

#include <pthread.h>

enum { EDIT_LOCKS = 64 };

struct inodes {
	struct ropefs *fs;
	double cache_s; /* that the kernel may keep attributes, if nothing forbids it */
	bool took_over; /* the kernel knows inodes, and has counted lookups, that we don't */
	pthread_mutex_t mutex;
	pthread_cond_t settled; /* some inode's `pending` became 0 */
	struct map known;
	pthread_mutex_t edit[EDIT_LOCKS]; /* by ino */
};

void inodes_init(struct inodes *t, struct ropefs *fs);
/* Gives up all holds. */
void inodes_release(struct inodes *t);

/* One lookup more. -ENOENT: it was removed meanwhile. The root, and what is in snapshots, is not
 * counted and always succeeds. */
int inodes_get(struct inodes *t, uint64_t ino);
void inodes_put(struct inodes *t, uint64_t ino, uint64_t times);
/* For as long as a view of it is open: it stays although the kernel forgets it. */
int inodes_use(struct inodes *t, uint64_t ino);
void inodes_unuse(struct inodes *t, uint64_t ino);
/* After a takeover: the kernel knows it from before, so it stays until the kernel forgets it,
 * which it does with all its lookups at once. */
int inodes_inherit(struct inodes *t, uint64_t ino);

/* Lets go of what was inherited and the kernel does not know: it never did, or its telling that it
 * forgot went to a worker that died. knows() may take its time; no lock is held. */
void inodes_sweep(struct inodes *t, bool (*knows)(void *arg, uint64_t ino), void *arg);

void inodes_edit_lock(struct inodes *t, uint64_t ino);
bool inodes_edit_try(struct inodes *t, uint64_t ino); /* the same, if nobody has it */
void inodes_edit_unlock(struct inodes *t, uint64_t ino);
uint64_t inodes_edits(struct inodes *t, uint64_t ino);
void inodes_edited(struct inodes *t, uint64_t ino);

/* Opened to be executed, as long as the program or a map of it is there: then its bytes must not
 * change, whatever the way. The kernel refuses what it sees. */
int inodes_run(struct inodes *t, uint64_t ino);
void inodes_ran(struct inodes *t, uint64_t ino);
bool inodes_runs(struct inodes *t, uint64_t ino);

/* Bytes that fallocate set aside, as it seems, until the last writer closes. 0: no more. */
void inodes_set_aside(struct inodes *t, uint64_t ino, uint64_t n);
/* One open for writing more (1) or less (-1); reads: for reading as well, without which no map can
 * change pages. Returns whether that ends what was set aside. */
bool inodes_writers(struct inodes *t, uint64_t ino, int change, bool reads);
/* Is there one now? After a takeover nobody knows, so: perhaps. */
bool inodes_may_be_written(struct inodes *t, uint64_t ino);
/* One that reads, so that a map may have changed pages which are not written back? */
bool inodes_may_be_mapped(struct inodes *t, uint64_t ino);

bool inodes_plain(struct inodes *t, uint64_t ino);
void inodes_set_plain(struct inodes *t, uint64_t ino, bool plain);

/* Views open for writing: while there are any, attributes of their target are not cached,
 * since RELEASE may still change it after close(2) has returned. */
void inodes_view_opened(struct inodes *t, uint64_t ino);
void inodes_view_closed(struct inodes *t, uint64_t ino);
/* By how much an edit is about to make the file shorter: 0 again once it has. */
void inodes_set_less(struct inodes *t, uint64_t ino, uint64_t less);
uint64_t inodes_less(struct inodes *t, uint64_t ino);
/* Seconds the kernel may keep attributes; and inodes_set_aside(). */
double inodes_timeout(struct inodes *t, uint64_t ino, uint64_t *ret_aside);
/* An edit that a RELEASE has begun: who asks for the file now waits for its end. */
void inodes_pending(struct inodes *t, uint64_t ino, int change);
bool inodes_is_pending(struct inodes *t, uint64_t ino);
/* Waits a little; false: not yet. The caller then goes to the end of the queue of workers, so
 * that those who wait never keep the edit itself from its turn. */
bool inodes_wait_settled(struct inodes *t, uint64_t ino);

#endif
