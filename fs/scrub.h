/* scrub.h - the file .ropefs/scrub: how far a scrub is and what it found; its ioctls begin and end
 * one (ropefs_ioctl.h). */
#ifndef ROPEFS_FS_SCRUB_H
#define ROPEFS_FS_SCRUB_H

#include "fs/daemon.h"

/* "scrub" of the status alone. */
int scrub_text(struct daemon *d, bool names, char **ret_text, size_t *ret_n);
void scrub_ioctl(fuse_req_t req, unsigned cmd, const void *in, size_t n_in);

#endif
