/* twin.h - a file that is kept twice: what is written goes to both, reads come from the first. The
 * second may be lost or older, and costs nothing then; whoever can tell right bytes from wrong
 * reads it where the first is damaged. */
#ifndef ROPEFS_PAGE_TWIN_H
#define ROPEFS_PAGE_TWIN_H

#include "core/io/io.h"

/* Takes `first`, an open file, over, and opens its copy beside it. With IO_WRITE the copy is made
 * when it is not there; where that fails, and with IO_READ, there may be none. -ENOMEM. */
int twin_open(struct io *io, struct io_file *first, const char *copy_name, unsigned flags,
	      struct io_file **ret);
/* The copy alone, the twin's to close; NULL: there is none (any more). f is a twin. */
struct io_file *twin_copy(struct io_file *f);
struct io_file *twin_first(struct io_file *f);

#endif
