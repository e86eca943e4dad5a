/* handles.h - what open files have in memory, by numbers: a number that another daemon gave out
 * (supervise.h), or that was given back, finds nothing, where a pointer would find anything. */
#ifndef ROPEFS_FS_HANDLES_H
#define ROPEFS_FS_HANDLES_H

#include <stdint.h>

#define HANDLE ((uint64_t)1 << 61) /* all numbers have this bit */

/* A number for p, never given out before, also not by another process. 0: out of memory. */
uint64_t handle_new(void *p);
/* The same under the number that a daemon before gave it. -ENOMEM. */
int handle_put(uint64_t number, void *p);
/* NULL: there is none of that number (any more). */
void *handle_get(uint64_t number);
/* Gives the number up; returns what it had. */
void *handle_del(uint64_t number);

#endif
