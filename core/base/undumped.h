/* undumped.h - a heap that core dumps leave out, wiped as it is given back: for code that is not
 * ours and takes its memory from functions like these. Any thread. It grows to what is in use at a
 * time, and keeps small blocks for itself. */
#ifndef ROPEFS_BASE_UNDUMPED_H
#define ROPEFS_BASE_UNDUMPED_H

#include <stddef.h>

/* As the functions of those names; NULL without memory. */
void *undumped_malloc(size_t n);
void *undumped_calloc(size_t n, size_t size);
void *undumped_realloc(void *p, size_t n);
char *undumped_strdup(const char *s);
void undumped_free(void *p);
void undumped_freep(void *p); /* for _cleanup_ on a pointer variable */

#endif
