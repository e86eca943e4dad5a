/* view.h - the grammar of times in NAME@time=A..B. */
#ifndef ROPEFS_VIEW_H
#define ROPEFS_VIEW_H

#include "core/ropefs.h"

/* Takes a time off the beginning of a text: RFC 3339 (a date, a date and a time, with or without
 * a zone; UTC without), unix seconds with a fraction, or -NUMBER and s, m, h, d or w before
 * now. Nothing there: 0, and !given. -EINVAL with a sentence. */
int view_take_when(const char **p, size_t *n, struct ropefs_when *ret);

#endif
