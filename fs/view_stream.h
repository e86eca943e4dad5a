/* view_stream.h - views that are read as a stream: records of a queue chosen by id, time or
 * cursor, as they are or as text; and files that are followed while they grow.
 *
 * Invariants
 * 1. A stream knows its place by record id (a rope's: by offset), so nothing that is trimmed
 *    or appended meanwhile makes it miss, repeat or reorder what is still there.
 * 2. A stream that follows holds the file it reads, and each that got the name since (names.h);
 *    it goes on there from the beginning, once it has read those before to their ends. What is
 *    appended to one of them later, by who has it open still, it reads, too, as long as the file
 *    is there.
 * 3. Its position is in its row (kept.h) before the reply that it is the position behind. */
#ifndef ROPEFS_FS_VIEW_STREAM_H
#define ROPEFS_FS_VIEW_STREAM_H

#include "fs/view.h"

extern const struct view_kind view_stream;

/* One of a daemon before. */
int view_stream_restore(struct daemon *d, const struct kept_file *k);

#endif
