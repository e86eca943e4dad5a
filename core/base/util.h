/* util.h - the handful of macros every file uses. */
#ifndef ROPEFS_BASE_UTIL_H
#define ROPEFS_BASE_UTIL_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#define _cleanup_(f)   __attribute__((cleanup(f)))
#define _printf_(a, b) __attribute__((format(printf, a, b)))
#define _unused_       __attribute__((unused))
#define _must_check_   __attribute__((warn_unused_result))

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b)    ((a) < (b) ? (a) : (b))
#define MAX(a, b)    ((a) > (b) ? (a) : (b))
#define KIB	     ((uint64_t)1 << 10)
#define MIB	     ((uint64_t)1 << 20)
#define GIB	     ((uint64_t)1 << 30)

#define container_of(p, type, member)                                                    \
	((type *)(void *)((char *)(p)-offsetof(type, member)))

/* Rounds up to a multiple of the power of two a. */
static inline uint64_t align_up(uint64_t n, uint64_t a)
{
	return (n + a - 1) & ~(a - 1);
}

static inline void freep(void *p)
{
	free(*(void **)p);
}

#define _cleanup_free_ _cleanup_(freep)

#endif
