/* spin.h - a loop that looks for the next request for a moment before it sleeps.
 *
 * A program that makes one call after the other asks again some microseconds after it has its
 * answer. A loop that went to sleep meanwhile has to be woken for it, on another core, which takes
 * about as long as all else of the call. So while requests come that fast the loop goes on asking
 * the kernel for them, and sleeps only when none has come for a while, or others want its core:
 * what is known of locks that spin before they sleep, and of hosts that poll before they halt a
 * virtual core. */
#ifndef ROPEFS_FS_SPIN_H
#define ROPEFS_FS_SPIN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* When to look instead of sleeping; all zero at first but gap. Nanoseconds. */
struct spin_rule {
	int64_t gap; /* a moving mean of how long a request was waited for */
};

/* A request was waited for so long. */
void spin_waited(struct spin_rule *r, int64_t waited);
/* Is the next one worth looking for? */
bool spin_is_worth(const struct spin_rule *r);

struct spin {
	bool on; /* one loop at a time, and another core for the program */
	bool nonblocking; /* the connection is, for everybody who has it */
	struct spin_rule rule;
	unsigned looks; /* requests that were looked for since the core was found free */
	int64_t not_before; /* it is wanted by others until then, at least */
	atomic_llong looked; /* nanoseconds, for nothing */
};

/* fd: the connection. on: only one thread at a time is going to call spin_read(), and it may take
 * a core's time; else that is read(2) and no more. */
void spin_start(struct spin *s, int fd, bool on);
/* The next request. Errors as of a blocking read(2). */
ssize_t spin_read(struct spin *s, int fd, void *p, size_t n);
/* For how long loops have looked for requests that did not come, in seconds. */
double spin_seconds(const struct spin *s);
/* Leaves the connection to whoever comes next: blocking. After the loops. */
void spin_stop(struct spin *s, int fd);

#endif
