/* medium.h - a file of io_posix that is read from its medium (IO_MEDIUM). Private to core/io. */
#ifndef ROPEFS_IO_MEDIUM_H
#define ROPEFS_IO_MEDIUM_H

#include "core/io/io.h"

/* fd is open for reading, and the file's from now on; on failure it is closed. -ENOMEM. */
int medium_file_new(int fd, struct io_file **ret);

#endif
