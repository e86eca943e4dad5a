/* object_hedge.c - a second get when the first takes long (J. Dean, L. A. Barroso, "The Tail at
 * Scale"): whichever answers first counts.
 *
 *	object_get ─▶ a race with one try ─▶ its delay is over ─▶ a second try, if allowed
 *	                   │                                        │
 *	                   └───────── the first good answer ────────┘─▶ the caller
 *
 * Tries run in threads of their own, as a get blocks. The loser ends by itself; its answer is
 * thrown away, as is that of a try that nobody waits for any more. The delay is what 19 of 20 gets
 * of about that size took lately, and at least twice what most took: each second try is paid for,
 * with all of its bytes. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/queue.h>
#include <time.h>

#include "core/base/err.h"
#include "core/base/lock.h"
#include "core/tier/object.h"

#define SECOND_NS   UINT64_C(1000000000)
#define MS_NS	    UINT64_C(1000000)
#define TRIES	    2u
#define THREADS_MAX 64u
#define SAMPLES	    64u
#define SAMPLES_MIN 16u /* fewer tell nothing */
#define SIZES	    4u /* of gets: up to 256 KiB, 1 MiB, 4 MiB, and more */
#define SMALL_BYTES ((uint64_t)256 << 10)
#define TOKENS_MAX  100u /* a second try takes 10, a get gives 1: so one in ten at most */
#define TOKENS_TRY  10u
#define WHY_BYTES   256u

struct race;

struct
try {
	struct race *race;
	STAILQ_ENTRY(try) link;
	struct buf got;
	int r;
	char why[WHY_BYTES];
	bool done;
};

/* One get. Held by the caller and by each try under way. */
struct race {
	struct object_hedge *h;
	char key[OBJECT_KEY_MAX + 1];
	struct object_range range;
	struct try tries[TRIES];
	unsigned n, refs;
};

/* How long gets of a kind took, the last ones. */
struct latency {
	uint64_t ns[SAMPLES];
	unsigned n, next;
};

struct object_hedge {
	struct object_store os;
	struct object_hedge_opts opts;
	pthread_mutex_t mutex; /* guards what follows */
	pthread_cond_t work, done;
	STAILQ_HEAD(, try) queue;
	unsigned queued;
	pthread_t threads[THREADS_MAX];
	unsigned n_threads, idle;
	bool stopping;
	struct latency by_size[SIZES];
	unsigned tokens;
	struct object_hedge_counts counts;
};

static struct object_hedge *hedge_of(struct object_store *os)
{
	return container_of(os, struct object_hedge, os);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * SECOND_NS + (uint64_t)t.tv_nsec;
}

/* --- how long a get takes --- */

static struct latency *latency_of(struct object_hedge *h, struct object_range range)
{
	uint64_t most = SMALL_BYTES;
	unsigned i = 0;

	for (; i < SIZES - 1 && (!range.n || range.n > most); i++)
		most *= 4;
	return &h->by_size[i];
}

static void latency_note(struct latency *l, uint64_t ns)
{
	l->ns[l->next++ % SAMPLES] = ns;
	l->n = MIN(l->n + 1, SAMPLES);
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Where all take about the same, 19 of 20 is no more than that: what takes twice as long as most is
 * late. */
static uint64_t delay_ns(const struct object_hedge *h, const struct latency *l)
{
	uint64_t sorted[SAMPLES];

	if (l->n < SAMPLES_MIN)
		return h->opts.first_ms * MS_NS;
	memcpy(sorted, l->ns, l->n * sizeof(*sorted));
	qsort(sorted, l->n, sizeof(*sorted), compare);
	return MAX(MAX(sorted[l->n * 19 / 20], 2 * sorted[l->n / 2]),
		   h->opts.least_ms * MS_NS);
}

static uint64_t bounded_delay_ns(const struct object_hedge *h, const struct latency *l)
{
	uint64_t ns = delay_ns(h, l), most = h->opts.delay_max_ms * MS_NS;

	return most ? MIN(ns, most) : ns;
}

/* --- the threads --- */

static void race_put_locked(struct race *race)
{
	if (--race->refs)
		return;
	for (unsigned i = 0; i < race->n; i++)
		buf_release(&race->tries[i].got);
	free(race);
}

static void run_locked(struct object_hedge *h, struct try *t)
{
	struct race *race = t->race;
	uint64_t began = now_ns();
	const char *why;
	int r;

	pthread_mutex_unlock(&h->mutex);
	err_clear();
	r = object_get(h->os.inner, race->key, race->range, &t->got);
	why = err_detail();
	pthread_mutex_lock(&h->mutex);
	t->r = r;
	snprintf(t->why, sizeof(t->why), "%s", why);
	t->done = true;
	if (r == 0) {
		h->counts.answered_ns = now_ns();
		latency_note(latency_of(h, race->range), h->counts.answered_ns - began);
	}
	pthread_cond_broadcast(&h->done);
	race_put_locked(race);
}

static void *thread_main(void *arg)
{
	struct object_hedge *h = arg;
	struct try *t;

	pthread_setname_np(pthread_self(), "ropefs-fetch");
	pthread_mutex_lock(&h->mutex);
	for (;;) {
		t = STAILQ_FIRST(&h->queue);
		if (t) {
			STAILQ_REMOVE_HEAD(&h->queue, link);
			h->queued--;
			run_locked(h, t);
		} else if (h->stopping) {
			break;
		} else {
			h->idle++;
			pthread_cond_wait(&h->work, &h->mutex);
			h->idle--;
		}
	}
	pthread_mutex_unlock(&h->mutex);
	return NULL;
}

static int thread_start_locked(struct object_hedge *h)
{
	sigset_t all, old;
	int r;

	if (h->n_threads == THREADS_MAX)
		return -EAGAIN;
	sigfillset(&all); /* signals are for the program's own threads */
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&h->threads[h->n_threads], NULL, thread_main, h);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r == 0)
		h->n_threads++;
	return -r;
}

/* Without any thread the caller is one. */
static void try_start_locked(struct race *race)
{
	struct object_hedge *h = race->h;
	struct try *t = &race->tries[race->n++];

	t->race = race;
	race->refs++;
	/* Each that is idle may have one of the queue to do already. */
	if (h->queued >= h->idle && thread_start_locked(h) < 0 && !h->n_threads) {
		run_locked(h, t);
		return;
	}
	STAILQ_INSERT_TAIL(&h->queue, t, link);
	h->queued++;
	pthread_cond_signal(&h->work);
}

/* --- a get --- */

/* Another answer may be better: of a try that failed for a passing reason while one is under
 * way. NULL: none has come yet. */
static struct try *answer(struct race *race)
{
	struct try *failed = NULL;
	unsigned done = 0;

	for (unsigned i = 0; i < race->n; i++) {
		struct try *t = &race->tries[i];

		if (t->done && t->r != -E_REMOTE_AWAY)
			return t;
		done += t->done;
		if (t->done)
			failed = t;
	}
	return done == race->n ? failed : NULL;
}

static void wait_locked(struct object_hedge *h, uint64_t until_ns)
{
	const struct timespec t = { .tv_sec = (time_t)(until_ns / SECOND_NS),
				    .tv_nsec = (long)(until_ns % SECOND_NS) };

	if (until_ns)
		pthread_cond_timedwait(&h->done, &h->mutex, &t);
	else
		pthread_cond_wait(&h->done, &h->mutex);
}

/* What is sooner; 0: never. */
static uint64_t sooner(uint64_t a, uint64_t b)
{
	return !a || !b ? MAX(a, b) : MIN(a, b);
}

/* The second try, unless too many had one. */
static void hedge_locked(struct race *race)
{
	struct object_hedge *h = race->h;

	if (h->tokens < TOKENS_TRY)
		return;
	h->tokens -= TOKENS_TRY;
	h->counts.hedged++;
	try_start_locked(race);
}

/* NULL: no answer came until end_ns (0: there is no end). */
static struct try *run_race_locked(struct race *race, uint64_t end_ns)
{
	struct object_hedge *h = race->h;
	uint64_t until = now_ns() + bounded_delay_ns(h, latency_of(h, race->range));
	struct try *t;

	h->tokens = MIN(h->tokens + 1, TOKENS_MAX);
	try_start_locked(race);
	while (!(t = answer(race))) {
		if (end_ns && now_ns() >= end_ns)
			return NULL;
		if (until && now_ns() >= until) {
			until = 0;
			hedge_locked(race);
			continue;
		}
		wait_locked(h, sooner(until, end_ns));
	}
	h->counts.won += t != &race->tries[0];
	return t;
}

static int take_answer(struct try *t, struct buf *ret)
{
	if (t->r == 0 && !ret->n)
		buf_swap(ret, &t->got);
	else if (t->r == 0)
		return buf_append(ret, t->got.p, t->got.n);
	else if (*t->why)
		return err_set(-t->r, "%s", t->why);
	return t->r;
}

int object_hedge_get_within(struct object_store *os, const char *key,
			    struct object_range range, unsigned ms, struct buf *ret)
{
	struct object_hedge *h = hedge_of(os);
	struct race *race = calloc(1, sizeof(*race));
	struct try *t;
	int r;

	if (!race)
		return -ENOMEM;
	race->h = h;
	race->range = range;
	race->refs = 1;
	strcpy(race->key, key);
	pthread_mutex_lock(&h->mutex);
	t = run_race_locked(race, ms ? now_ns() + ms * MS_NS : 0);
	r = t ? take_answer(t, ret)
	      : err_set(E_REMOTE_AWAY, "GET %s: no answer for %u s", key,
			(unsigned)((ms + 999) / 1000));
	race_put_locked(race);
	pthread_mutex_unlock(&h->mutex);
	return r;
}

static int hedge_get(struct object_store *os, const char *key, struct object_range range,
		     struct buf *ret)
{
	return object_hedge_get_within(os, key, range, hedge_of(os)->opts.most_ms, ret);
}

static void hedge_free(struct object_store *os)
{
	struct object_hedge *h = hedge_of(os);

	pthread_mutex_lock(&h->mutex);
	h->stopping = true;
	pthread_cond_broadcast(&h->work);
	pthread_mutex_unlock(&h->mutex);
	for (unsigned i = 0; i < h->n_threads; i++)
		pthread_join(h->threads[i], NULL);
	pthread_cond_destroy(&h->work);
	pthread_cond_destroy(&h->done);
	pthread_mutex_destroy(&h->mutex);
	free(h);
}

static const struct object_ops hedge_ops = {
	.get = hedge_get,
	.free = hedge_free,
};

int object_hedge_new(const struct object_hedge_opts *opts, struct object_store *inner,
		     struct object_store **ret)
{
	struct object_hedge *h = calloc(1, sizeof(*h));

	if (!h)
		return -ENOMEM;
	h->os.ops = &hedge_ops;
	h->os.inner = inner;
	h->opts = *opts;
	h->tokens = TOKENS_MAX;
	STAILQ_INIT(&h->queue);
	pthread_mutex_init(&h->mutex, NULL);
	lock_cond_init(&h->work);
	lock_cond_init(&h->done);
	*ret = &h->os;
	return 0;
}

void object_hedge_read(struct object_store *hedge, struct object_hedge_counts *ret)
{
	struct object_hedge *h = hedge_of(hedge);

	pthread_mutex_lock(&h->mutex);
	*ret = h->counts;
	pthread_mutex_unlock(&h->mutex);
}
