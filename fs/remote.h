/* remote.h - the store's bucket in .ropefs/: `remote` tells its state, opening `upload` asks
 * for an upload of all that was written before. Both are JSON; wanted_lsn is in the bucket
 * once committed_lsn is not less. */
#ifndef ROPEFS_FS_REMOTE_H
#define ROPEFS_FS_REMOTE_H

#include <stddef.h>

#include "fs/daemon.h"

int remote_text(struct daemon *d, bool names, char **ret_text, size_t *ret_n);
int upload_text(struct daemon *d, bool names, char **ret_text, size_t *ret_n);
/* What was dropped, a JSON object a line. */
int dropped_text(struct daemon *d, bool names, char **ret_text, size_t *ret_n);
/* The bucket is given or taken away (ropefs_ioctl.h). */
void remote_ioctl(fuse_req_t req, unsigned cmd, const void *in, size_t n_in);

/* The mount ends: so does what it asks the bucket for somebody. */
void remote_end(struct daemon *d);

#endif
