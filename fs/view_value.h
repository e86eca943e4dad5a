/* view_value.h - views that work what is written to them into the file: @add, @patch, and
 * @stride=, which can be read and removed as well. */
#ifndef ROPEFS_FS_VIEW_VALUE_H
#define ROPEFS_FS_VIEW_VALUE_H

#include "fs/view.h"

extern const struct view_kind view_value, view_stride;

/* One of a daemon before. */
int view_value_restore(struct daemon *d, const struct kept_file *k);
/* Frees those whose RELEASE did not come before the end. */
void view_values_end(struct daemon *d);

#endif
