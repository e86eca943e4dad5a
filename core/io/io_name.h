/* io_name.h - the names of io.h taken apart, the same way by every io. */
#ifndef ROPEFS_IO_IO_NAME_H
#define ROPEFS_IO_IO_NAME_H

#include <limits.h>

struct io_name {
	char dir[NAME_MAX + 1]; /* "" is the root */
	char base[NAME_MAX + 1];
};

/* "base" or "dir/base"; -EINVAL for anything else (absolute, deeper, empty, "." or ".."),
 * -ENAMETOOLONG. */
int io_name_parse(const char *name, struct io_name *ret);

#endif
