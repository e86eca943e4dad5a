/* again.h - requests that the worker before did, but did not answer (keep.h): the kernel sends
 * them again, and here they get the answer alone. Each returns true when it has replied. */
#ifndef ROPEFS_FS_AGAIN_H
#define ROPEFS_FS_AGAIN_H

#include <fuse_lowlevel.h>
#include <stdbool.h>

/* What is answered with success and nothing else: unlink, rename, xattrs ... */
bool again_done(fuse_req_t req);
/* What made a name: mkdir, mknod, symlink, link. */
bool again_entry(fuse_req_t req, fuse_ino_t parent, const char *name);
bool again_create(fuse_req_t req, fuse_ino_t parent, const char *name,
		  struct fuse_file_info *fi);
/* Any file that has a row (kept.h). */
bool again_open(fuse_req_t req, struct fuse_file_info *fi);
bool again_write(fuse_req_t req, size_t n);
bool again_ioctl(fuse_req_t req);

#endif
