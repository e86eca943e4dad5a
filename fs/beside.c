#include "fs/beside.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SLOW_NS	     20000 /* two switches on one core take 2000 to 5000 */
#define IDLE_NS	     500000 /* the program does something else: waking is the least of it */
#define PAUSE_NS     1000000 /* going over takes up to 200000 */
#define PAUSE_NS_MAX 1000000000

enum {
	SLOW_BEFORE = 16, /* so many in a row are no chance */
	QUICK_BEFORE = 64, /* then it has worked */
};

bool beside_due(struct beside *b, uint32_t tid, int64_t now)
{
	int64_t waited = now - b->replied;

	if (!tid) /* nobody's, as forgets are */
		return false;
	if (tid != b->tid || waited >= IDLE_NS) {
		b->tid = tid;
		b->slow = b->quick = 0;
		return false;
	}
	if (waited < SLOW_NS) {
		b->slow = 0;
		if (++b->quick >= QUICK_BEFORE)
			b->pause = 0;
		return false;
	}
	b->quick = 0;
	if (++b->slow < SLOW_BEFORE || now < b->next)
		return false;
	b->slow = 0;
	b->pause = b->pause ? b->pause * 2 : PAUSE_NS;
	if (b->pause > PAUSE_NS_MAX)
		b->pause = PAUSE_NS_MAX;
	b->next = now + b->pause;
	return true;
}

/* The core on which thread tid waits; negative: it runs, or can't be seen. */
static int core_of(uint32_t tid)
{
	char path[32], line[1024], state = 'R', *p;
	int fd, core = -1;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%u/stat", tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	n = read(fd, line, sizeof(line) - 1);
	close(fd);
	line[n < 0 ? 0 : n] = '\0';
	p = strrchr(line, ')'); /* what is before it may be anything */
	if (!p || sscanf(p, ") %c", &state) != 1 || state == 'R')
		return -1;
	for (int field = 2; p && field < 39; field++)
		p = strchr(p + 1, ' ');
	return p && sscanf(p, "%d", &core) == 1 ? core : -1;
}

static void go_to(int core)
{
	cpu_set_t all, one;

	if (sched_getaffinity(0, sizeof(all), &all) < 0 || core >= CPU_SETSIZE ||
	    !CPU_ISSET(core, &all))
		return;
	CPU_ZERO(&one);
	CPU_SET(core, &one);
	sched_setaffinity(0, sizeof(one), &one);
	sched_setaffinity(0, sizeof(all), &all);
}

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

void beside_request(struct beside *b, uint32_t tid)
{
	int core;

	if (!beside_due(b, tid, now_ns()))
		return;
	core = core_of(tid);
	if (core >= 0 && core != sched_getcpu())
		go_to(core);
}

void beside_replied(struct beside *b, uint32_t tid)
{
	if (tid)
		b->replied = now_ns();
}
