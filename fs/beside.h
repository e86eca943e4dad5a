/* beside.h - keeps a request loop on the core of the program it serves.
 *
 * A program that makes one call after the other and the loop that answers never run at the
 * same time. On one core that is two switches a call. On two, each wakes the other's idle core,
 * which takes 5 to 20 times as long where cores sleep deeply or are virtual, and the scheduler
 * keeps it so: at each wake the core that was left a moment ago looks idle. So a loop that is
 * kept waiting a little for each next request of one thread looks where that thread is, and goes
 * there once. Nothing is pinned: the scheduler may part them again, and then this is tried less
 * and less often, until requests come quickly. */
#ifndef ROPEFS_FS_BESIDE_H
#define ROPEFS_FS_BESIDE_H

#include <stdbool.h>
#include <stdint.h>

/* Of one loop; all zero at first. Times are of a monotonic clock, in nanoseconds. */
struct beside {
	uint32_t tid; /* whose request was the last */
	unsigned slow, quick; /* requests in a row that were, or were not, waited for */
	int64_t replied; /* to the last one */
	int64_t next; /* no look before */
	int64_t pause; /* after the next one */
};

/* A request of thread tid has come at `now`: is it time to look where the thread is? */
bool beside_due(struct beside *b, uint32_t tid, int64_t now);
/* To be called with each request before it is carried out, and after it was. What is nobody's
 * (tid 0: forgets) comes between two requests of a thread, and says nothing of its wait. */
void beside_request(struct beside *b, uint32_t tid);
void beside_replied(struct beside *b, uint32_t tid);

#endif
