/* awake.h - keeps the cores from falling asleep while a program makes one call after the other.
 *
 * The program and the loop that answers it never run at the same time, so that each call wakes
 * an idle core twice: the scheduler gives whoever wakes the core that was left a moment ago. In a
 * virtual machine, or where cores sleep deeply, that takes 5 to 20 times as long as the call's
 * work. So once the loop was kept waiting a little for each of some requests, the kernel is asked
 * for a wake-up latency of zero (/dev/cpu_dma_latency: PM QoS, Documentation/power/
 * pm_qos_interface.rst): idle cores then look for work instead of sleeping. It is taken back as
 * soon as that was no help, or nothing came for some milliseconds. Only root may ask; without
 * that right nothing is done. */
#ifndef ROPEFS_FS_AWAKE_H
#define ROPEFS_FS_AWAKE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* When to ask; all zero at first. Times are of a monotonic clock, in nanoseconds. */
struct awake_rule {
	bool on; /* the cores are kept awake */
	unsigned slow; /* requests in a row that were waited for, while not on */
	unsigned seen, quick; /* requests since it is on, and those that came at once */
	int64_t next; /* not again before */
	int64_t pause; /* the last one; 0: it has helped */
};

/* A request has come at `now`, and the loop had waited for it so long. Sets on. */
void awake_waited(struct awake_rule *r, int64_t waited, int64_t now);

struct awake {
	int fd; /* where the kernel is asked; -1: it may not be */
	atomic_llong replied; /* when the last answer went out */
	pthread_mutex_t mutex; /* guards what follows */
	pthread_cond_t turned_on;
	struct awake_rule rule;
	int64_t asked; /* when the last request came */
	int64_t since, total; /* on since; on before that, in nanoseconds */
	bool stopping, has_thread;
	pthread_t thread; /* turns it off when no request comes */
};

/* Of an awake that does nothing. */
#define AWAKE_OFF ((struct awake) { .fd = -1 })

/* Asks nothing yet. Where that isn't possible at all it stays off. */
void awake_start(struct awake *a);
/* For a loop: a request has come; its answer goes out (in any thread). */
void awake_request(struct awake *a);
void awake_replied(struct awake *a);
/* For how long it was on, in seconds. */
double awake_seconds(struct awake *a);
/* After the loops. One that was not started is fine. */
void awake_stop(struct awake *a);

#endif
