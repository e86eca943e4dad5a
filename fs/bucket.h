/* bucket.h - a mount of what a bucket has of a store that another machine writes: read only, and
 * changing below the kernel, so it keeps names and attributes for a moment only. */
#ifndef ROPEFS_FS_BUCKET_H
#define ROPEFS_FS_BUCKET_H

#include "fs/options.h"

#define BUCKET_CACHE_S 1.0

/* How the options say a bucket is reached; keys of *c, which the caller releases. */
int bucket_opts(const struct options *o, struct ropefs_credentials *c,
		struct ropefs_remote_opts *ret);
/* Is the word a bucket's URL, and no path? */
bool bucket_is(const char *store);
/* Opens what o->store names; as ropefs_open(). */
int bucket_open(const struct options *o, const struct ropefs_opts *opts,
		struct ropefs **ret);
/* For ropefs_opts: the kernel drops what it has of the inode. */
void bucket_refreshed(void *d, uint64_t ino);

#endif
