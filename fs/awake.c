#include "fs/awake.h"

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#define LATENCY_FILE "/dev/cpu_dma_latency"
#define ANY_LATENCY  2000000000 /* microseconds: what the kernel has when nobody asks */

#define QUICK_NS     20000 /* between two calls on cores that are awake: 1000 to 5000 */
#define IDLE_NS	     500000 /* the program does something else: waking is the least of it */
#define OFF_NS	     10000000 /* without a request */
#define PAUSE_NS     10000000 /* after it was no help; then twice as long each time */
#define PAUSE_NS_MAX 10000000000

enum {
	SLOW_BEFORE = 16, /* so many in a row are no chance */
	TRIAL = 64, /* requests, a quarter of which must be quick */
};

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* --- the rule --- */

static void judge(struct awake_rule *r, int64_t now)
{
	bool helps = r->quick >= TRIAL / 4;

	r->seen = r->quick = 0;
	if (helps) {
		r->pause = 0;
		return;
	}
	r->on = false;
	r->slow = 0;
	r->pause = r->pause ? r->pause * 2 : PAUSE_NS;
	if (r->pause > PAUSE_NS_MAX)
		r->pause = PAUSE_NS_MAX;
	r->next = now + r->pause;
}

void awake_waited(struct awake_rule *r, int64_t waited, int64_t now)
{
	if (r->on) {
		r->quick += waited < QUICK_NS;
		if (++r->seen == TRIAL)
			judge(r, now);
		return;
	}
	r->slow = waited >= QUICK_NS && waited < IDLE_NS ? r->slow + 1 : 0;
	if (r->slow < SLOW_BEFORE || now < r->next)
		return;
	r->on = true;
	r->seen = r->quick = 0;
}

/* --- asking the kernel --- */

static void ask_locked(struct awake *a, int64_t now)
{
	const int32_t us = a->rule.on ? 0 : ANY_LATENCY;

	if (write(a->fd, &us, sizeof(us)) != sizeof(us) && a->rule.on)
		a->rule = (struct awake_rule) { .next = INT64_MAX }; /* it won't */
	if (a->rule.on) {
		a->since = now;
		pthread_cond_signal(&a->turned_on);
	} else if (a->since) {
		a->total += now - a->since;
		a->since = 0;
	}
}

static void wait_a_while(struct awake *a)
{
	const int64_t until = now_ns() + OFF_NS;
	const struct timespec t = { until / 1000000000, until % 1000000000 };

	pthread_cond_timedwait(&a->turned_on, &a->mutex, &t);
}

static void *watch(void *arg)
{
	struct awake *a = arg;
	int64_t now;

	pthread_setname_np(pthread_self(), "ropefs-awake");
	pthread_mutex_lock(&a->mutex);
	while (!a->stopping) {
		if (!a->rule.on) {
			pthread_cond_wait(&a->turned_on, &a->mutex);
			continue;
		}
		wait_a_while(a);
		now = now_ns();
		if (!a->rule.on || now - a->asked < OFF_NS)
			continue;
		a->rule.on = false;
		a->rule.slow = 0;
		ask_locked(a, now);
	}
	pthread_mutex_unlock(&a->mutex);
	return NULL;
}

void awake_start(struct awake *a)
{
	pthread_condattr_t monotonic;

	*a = (struct awake) { .fd = open(LATENCY_FILE, O_WRONLY | O_CLOEXEC) };
	if (a->fd < 0)
		return;
	pthread_mutex_init(&a->mutex, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&a->turned_on, &monotonic);
	pthread_condattr_destroy(&monotonic);
	a->has_thread = pthread_create(&a->thread, NULL, watch, a) == 0;
	if (!a->has_thread)
		awake_stop(a);
}

void awake_request(struct awake *a)
{
	int64_t now;
	bool was;

	if (a->fd < 0)
		return;
	now = now_ns();
	pthread_mutex_lock(&a->mutex);
	was = a->rule.on;
	a->asked = now;
	awake_waited(&a->rule,
		     now - atomic_load_explicit(&a->replied, memory_order_relaxed), now);
	if (a->rule.on != was)
		ask_locked(a, now);
	pthread_mutex_unlock(&a->mutex);
}

void awake_replied(struct awake *a)
{
	if (a->fd >= 0)
		atomic_store_explicit(&a->replied, now_ns(), memory_order_relaxed);
}

double awake_seconds(struct awake *a)
{
	int64_t ns;

	if (a->fd < 0)
		return 0;
	pthread_mutex_lock(&a->mutex);
	ns = a->total + (a->since ? now_ns() - a->since : 0);
	pthread_mutex_unlock(&a->mutex);
	return (double)ns / 1e9;
}

void awake_stop(struct awake *a)
{
	if (a->fd < 0)
		return;
	pthread_mutex_lock(&a->mutex);
	a->stopping = true;
	pthread_cond_signal(&a->turned_on);
	pthread_mutex_unlock(&a->mutex);
	if (a->has_thread)
		pthread_join(a->thread, NULL);
	close(a->fd); /* which takes back what was asked */
	pthread_cond_destroy(&a->turned_on);
	pthread_mutex_destroy(&a->mutex);
	*a = AWAKE_OFF;
}
