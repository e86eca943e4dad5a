/* wire.h - the connection to the kernel: what INIT agrees on, and the request loops.
 *
 * libfuse 3.14 knows neither FUSE_HANDLE_KILLPRIV_V2 (without which the kernel asks for
 * security.capability before each write) nor FUSE_SETXATTR_EXT (which says when an ACL takes the
 * set-gid bit away) nor FUSE_DIRECT_IO_ALLOW_MMAP. Where the kernel offers them, the reply to
 * INIT is extended on its way out; else things work without. Requests that libfuse doesn't know
 * are put in other words (adapt.h). */
#ifndef ROPEFS_FS_WIRE_H
#define ROPEFS_FS_WIRE_H

#include <fuse_lowlevel.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>

struct daemon;

enum { LOOPS_MAX = 8 };

/* Threads that take requests, at most `at_once` of them at a time; the others stand by until
 * one of those waits. With one, all requests find its core's caches warm; a second one only
 * moves them to and fro (8.0 us an append instead of 12.1). */
struct loops {
	struct daemon *d;
	sem_t turns; /* at_once, less the loops that have one */
	pthread_t threads[LOOPS_MAX];
	atomic_uint begun; /* loops that have */
	atomic_llong busy_since[LOOPS_MAX]; /* seconds; 0: waits for the kernel */
	unsigned n;
	pthread_t told; /* gets SIGTERM when the kernel ends the connection */
};

/* fd: the connection, after fuse_session_mount() or from the worker before. Before the loops. */
int wire_attach(struct daemon *d, int fd);
void wire_init(void *userdata, struct fuse_conn_info *conn);
/* All signals but SIGUSR2 must be blocked. */
int loops_start(struct loops *l, struct daemon *d, unsigned n, unsigned at_once);
/* Has one of them been at the same request for as long as no request should take? */
bool loops_stand_still(struct loops *l);
/* Ends them after the request each is at. */
void loops_stop(struct loops *l);
/* Called within a request that is going to wait: another loop takes requests meanwhile. In a
 * thread that is no loop it does nothing. */
void loop_hand_over(void);
/* The same, of a wait that may take long without anything being wrong (loops_stand_still()). */
void loop_waits(void);

#endif
