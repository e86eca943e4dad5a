/* object_file.h - an object as an io_file that is only read: what the pack layer opens when a
 * pack is in the bucket. */
#ifndef ROPEFS_TIER_OBJECT_FILE_H
#define ROPEFS_TIER_OBJECT_FILE_H

#include "core/io/io.h"
#include "core/tier/object.h"

/* Asks for nothing yet. os outlives the file. Each pread is at most one ranged get; reads that
 * follow one another fetch ahead. */
int object_file_new(struct object_store *os, const char *key, uint64_t bytes,
		    struct io_file **ret);

#endif
