/* remote.h - the store's bucket in .ropefs/: `remote` tells its state, opening `upload` asks
 * for an upload of all that was written before. Both are JSON; wanted_lsn is in the bucket
 * once committed_lsn is not less. */
#ifndef ROPEFS_FS_REMOTE_H
#define ROPEFS_FS_REMOTE_H

#include <stddef.h>

struct daemon;

int remote_text(struct daemon *d, char **ret_text, size_t *ret_n);
int upload_text(struct daemon *d, char **ret_text, size_t *ret_n);

#endif
