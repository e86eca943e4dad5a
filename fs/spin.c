#include "fs/spin.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define LOOK_NS	 50000 /* at most, for one request */
#define WORTH_NS 30000 /* 5 to 20 to wake a core, and the program's own work */
/* All that is longer counts as much: a few quick ones make up for it. */
#define LONG_NS	 (16 * WORTH_NS)
#define PAUSE_NS 100000000 /* while others want the core */

enum {
	WEIGHT = 8, /* of so many waits is the mean made */
	CHECK_EACH = 64, /* requests that were looked for */
	/* Of those; on free cores it is none to 6, beside a program that computes all of them. */
	PREEMPTED_MAX = 8,
};

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

void spin_waited(struct spin_rule *r, int64_t waited)
{
	if (waited > LONG_NS)
		waited = LONG_NS;
	r->gap += (waited - r->gap) / WEIGHT;
}

bool spin_is_worth(const struct spin_rule *r)
{
	return r->gap < WORTH_NS;
}

static void set_nonblocking(struct spin *s, int fd, bool on)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags >= 0 &&
	    fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK) == 0)
		s->nonblocking = on;
}

void spin_start(struct spin *s, int fd, bool on)
{
	cpu_set_t cores;

	*s = (struct spin) { .rule.gap = LONG_NS };
	s->on = on && sched_getaffinity(0, sizeof(cores), &cores) == 0 &&
		CPU_COUNT(&cores) > 1;
	set_nonblocking(s, fd, false); /* as a daemon that died may have left it */
}

static int sleep_until_there(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, -1);
}

/* Others want this thread's core. The scheduler counts what is spent on looking against the answers
 * to come, which would then wait for the others: on two busy cores programs took twice as long. */
static bool core_is_wanted(void)
{
	static _Thread_local long before;
	struct rusage u;
	bool wanted;

	if (getrusage(RUSAGE_THREAD, &u) < 0)
		return false;
	wanted = u.ru_nivcsw - before > PREEMPTED_MAX;
	before = u.ru_nivcsw;
	return wanted;
}

static bool should_look(struct spin *s, int64_t now)
{
	if (!spin_is_worth(&s->rule) || now < s->not_before)
		return false;
	if (++s->looks < CHECK_EACH)
		return true;
	s->looks = 0;
	if (!core_is_wanted())
		return true;
	s->not_before = now + PAUSE_NS;
	return false;
}

ssize_t spin_read(struct spin *s, int fd, void *p, size_t n)
{
	int64_t since, looked = 0;
	bool looks;
	ssize_t got;

	if (!s->on)
		return read(fd, p, n);
	since = now_ns();
	looks = should_look(s, since);
	if (looks != s->nonblocking)
		set_nonblocking(s, fd, looks);
	while ((got = read(fd, p, n)) < 0 && errno == EAGAIN) {
		if (looks && (looked = now_ns() - since) < LOOK_NS)
			continue;
		atomic_fetch_add_explicit(&s->looked, looked, memory_order_relaxed);
		looks = false;
		looked = 0;
		if (sleep_until_there(fd) < 0)
			return -1;
	}
	if (got >= 0)
		spin_waited(&s->rule, now_ns() - since);
	return got;
}

double spin_seconds(const struct spin *s)
{
	return (double)atomic_load_explicit(&s->looked, memory_order_relaxed) / 1e9;
}

void spin_stop(struct spin *s, int fd)
{
	set_nonblocking(s, fd, false);
}
