/* sizes.h - tells the kernel how long a file is, after an edit that it didn't make itself.
 *
 * The kernel asks for sizes, but believes an answer only if nothing of the file changed since
 * it asked; while a logger appends all the time it never does, and reads of a file that was cut
 * go on with zeros up to the old end. What it truncates itself, under the inode's lock, it
 * does believe. So a thread of ours opens `.ropefs/.sizes/INO`, a name that only it sees and
 * only while it needs it, and truncates that; the handle says that nothing is to be done but to
 * answer the size. (Where the daemon may not write the file this can't work: a user's mount
 * with default_permissions, and somebody else's file.)
 *
 * The thread has its own table of descriptors, empty, above all without /dev/fuse: when the
 * daemon is killed while it waits, the connection still closes, which ends the wait. Who has a
 * size told waits for TELL_MS at most: a directory's or a file's lock may be held by a request
 * that waits for us. Then all is as if the size had not been told, and told it is a little
 * later. */
#ifndef ROPEFS_FS_SIZES_H
#define ROPEFS_FS_SIZES_H

#include "fs/worker.h"

#include <fuse_lowlevel.h>
#include <stdatomic.h>
#include <sys/types.h>

struct daemon;

#define SIZES_NAME ".sizes"

struct sizes {
	struct pool thread; /* one */
	atomic_ullong ino; /* whose size is being told; 0: none */
	atomic_int tid; /* of the thread */
	dev_t dev; /* of the mount */
	bool works; /* guarded by being set before anything is told */
};

/* When the loops answer. That it can't work here is no error. */
void sizes_start(struct daemon *d, dev_t dev);
/* When the connection is closed. */
void sizes_stop(struct daemon *d);
/* Tells the size of the inode, less inodes_less(). */
void sizes_tell(struct daemon *d, uint64_t ino);
/* Answers LOOKUP of a name in the directory. */
void sizes_lookup(fuse_req_t req, const char *name);
/* Is the request one of the thread? */
bool sizes_asks(fuse_req_t req);
/* Is this OPEN the thread's? 0: no; 1: yes; -EPERM: it looks like it, but isn't. */
int sizes_opens(fuse_req_t req, uint64_t ino, int flags);

#endif
