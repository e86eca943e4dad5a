/* txn.h - transactions of programs on the mount, by ioctl (ropefs_ioctl.h).
 *
 * Invariants
 * 1. A transaction lives while the handle of .ropefs/txn that began it is open, and is aborted
 *    with it, so a killed program leaves nothing. Its id, which nobody can guess, lets other
 *    open files join.
 * 2. Rights are those that open(2) gave: a file is edited through a descriptor that may write
 *    it; one that bytes are taken from joined by a descriptor that may read it.
 * 3. A commit has the threads of all its files' edits to itself (notify.h). */
#ifndef ROPEFS_FS_TXN_H
#define ROPEFS_FS_TXN_H

#include "fs/map.h"

#include <fuse_lowlevel.h>
#include <pthread.h>
#include <stdbool.h>

struct daemon;
struct kept_file;

struct txns {
	pthread_mutex_t mutex; /* guards the map and the counts of references */
	struct map by_id;
};

void txns_init(struct txns *t);
/* The session has ended: aborts what is left. Before the store is closed. */
void txns_release(struct txns *t);

/* One that a daemon before began. Where it can't be gone on with, whoever tries is told so by
 * EBUSY, as of any conflict. */
int txn_restore(struct daemon *d, const struct kept_file *k);
/* Is the ioctl one of a transaction's, on a file of the store? */
bool txn_takes(unsigned cmd);
void txn_file_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned cmd,
		    struct fuse_file_info *fi, bool dir, const void *in, size_t n_in);

extern const struct fuse_lowlevel_ops txn_ops; /* of .ropefs/txn */

#endif
