/* staged.h - memory that the daemon holds for what programs have written and not yet closed or
 * committed: all of it together is bounded, so that nobody who may open files fills the machine. */
#ifndef ROPEFS_FS_STAGED_H
#define ROPEFS_FS_STAGED_H

#include <stdbool.h>
#include <stddef.h>

/* Once, before all else. */
void staged_limit(size_t bytes);
/* false: that would be too much, and nothing is counted. */
bool staged_hold(size_t bytes);
/* Counts what is there already, whatever the limit. */
void staged_inherit(size_t bytes);
void staged_let(size_t bytes);

#endif
