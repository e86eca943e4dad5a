/* object_breaker.c - a bucket that is known to be away is not waited for again and again (the
 * circuit breaker of M. Nygard, "Release It!", but asked by each request itself).
 *
 *	a get ─▶ nothing failed lately ──────────────────────────▶ all its tries ─▶ failed: noted
 *	     ─▶ its object did, or others and none was answered since ─▶ a byte, for probe_ms
 *	                                                answered ─▶ all its tries
 *	                                                not      ─▶ noted, and that is the answer
 *	     ─▶ failed although that byte had been answered ─▶ itself, for three times probe_ms
 *	                                                no answer ─▶ that is the answer
 *	     ─▶ it failed while this one waited to be asked at all ─▶ that is the answer
 *
 * One object may fail while others don't, as of a server whose disks are not all there: so a
 * failure is that of its object, and of all only until some get is answered. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "core/base/err.h"
#include "core/tier/object.h"

#define FAILURES  8u
#define WHY_BYTES 256u
#define SECOND_NS UINT64_C(1000000000)
#define FORGET_NS                                                                        \
	(60 * SECOND_NS) /* on a line so slow that no probe is answered in time */
#define MANY	     2u /* so many objects failed: it is the bucket */
#define WHOLE_PROBES 3u

enum failed {
	FAILED_ALL,
	FAILED_WHOLE, /* though a byte was answered before */
	FAILED_BRIEFLY, /* the same, but not after all tries */
};

struct failure {
	char key[OBJECT_KEY_MAX + 1]; /* "": none */
	enum failed how;
	uint64_t
		at_ns; /* for the first time so; FORGET_NS later it gets all tries again */
	uint64_t last_ns;
	char why[WHY_BYTES];
};

struct object_breaker {
	struct object_store os;
	struct object_store *hedge;
	unsigned probe_ms;
	pthread_mutex_t mutex; /* guards what follows */
	struct failure failures[FAILURES];
	uint64_t read_ns; /* the last answer to more than a probe */
};

static _Thread_local uint64_t asked_ns;

void object_asked_at(uint64_t mono_ns)
{
	asked_ns = mono_ns;
}

static struct object_breaker *breaker_of(struct object_store *os)
{
	return container_of(os, struct object_breaker, os);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * SECOND_NS + (uint64_t)t.tv_nsec;
}

static uint64_t answered_ns(struct object_breaker *b)
{
	struct object_hedge_counts c;

	object_hedge_read(b->hedge, &c);
	return c.answered_ns;
}

/* --- what failed --- */

static struct failure *failure_of_locked(struct object_breaker *b, const char *key)
{
	for (unsigned i = 0; i < FAILURES; i++)
		if (!strcmp(b->failures[i].key, key))
			return &b->failures[i];
	return NULL;
}

static void note(struct object_breaker *b, const char *key, enum failed how)
{
	struct failure *f, *oldest = &b->failures[0];

	pthread_mutex_lock(&b->mutex);
	for (unsigned i = 1; i < FAILURES; i++)
		if (b->failures[i].at_ns < oldest->at_ns)
			oldest = &b->failures[i];
	f = failure_of_locked(b, key);
	if (!f) {
		f = oldest;
		*f = (struct failure) { 0 };
	}
	strcpy(f->key, key);
	f->last_ns = now_ns();
	if (how != FAILED_BRIEFLY || f->how == FAILED_ALL) {
		f->at_ns = f->last_ns;
		f->how = how;
	}
	snprintf(f->why, sizeof(f->why), "%s",
		 *err_detail() ? err_detail() : err_text(-E_REMOTE_AWAY));
	pthread_mutex_unlock(&b->mutex);
}

static void forget(struct object_breaker *b, const char *key)
{
	struct failure *f;

	pthread_mutex_lock(&b->mutex);
	b->read_ns = now_ns();
	f = failure_of_locked(b, key);
	if (f)
		*f = (struct failure) { 0 };
	pthread_mutex_unlock(&b->mutex);
}

enum away {
	NOT_AWAY,
	PERHAPS_AWAY, /* worth a probe */
	PERHAPS_STALLED, /* a byte comes, but no more */
	AWAY_SINCE, /* found out since this was asked for; why says how */
};

static enum away is_away(struct object_breaker *b, const char *key, uint64_t asked,
			 char why[WHY_BYTES])
{
	uint64_t answered = answered_ns(b), now = now_ns();
	const struct failure *own, *last = NULL;
	unsigned many = 0;
	enum away is = NOT_AWAY;
	bool stalled = false;

	pthread_mutex_lock(&b->mutex);
	for (unsigned i = 0; i < FAILURES; i++) {
		struct failure *f = &b->failures[i];

		if (now - f->at_ns > FORGET_NS)
			*f = (struct failure) { 0 };
		/* Not for brief ones: else no get would ever have all its tries again. */
		stalled |= f->how == FAILED_WHOLE && f->at_ns > b->read_ns;
		if (f->at_ns <= answered)
			continue;
		many++;
		if (!last || f->at_ns > last->at_ns)
			last = f;
	}
	own = failure_of_locked(b, key);
	if (own || last)
		is = PERHAPS_AWAY;
	if (own ? own->how != FAILED_ALL : stalled)
		is = PERHAPS_STALLED;
	if (!own && many >= MANY)
		own = last;
	if (own && own->last_ns > asked) {
		is = AWAY_SINCE;
		memcpy(why, own->why, WHY_BYTES);
	}
	pthread_mutex_unlock(&b->mutex);
	return is;
}

/* --- a get --- */

static int probe(struct object_breaker *b, const char *key, struct object_range range)
{
	_cleanup_(buf_release) struct buf byte = BUF_INIT;

	range.n = 1;
	return object_hedge_get_within(b->hedge, key, range, b->probe_ms, &byte);
}

/* The get itself, for a while. 1: it failed sooner, which is worth other tries. */
static int get_for_a_while(struct object_breaker *b, const char *key,
			   struct object_range range, struct buf *ret)
{
	unsigned ms = WHOLE_PROBES * b->probe_ms;
	uint64_t end = now_ns() + ms * (SECOND_NS / 1000);
	int r = object_hedge_get_within(b->hedge, key, range, ms, ret);

	return r == -E_REMOTE_AWAY && now_ns() < end ? 1 : r;
}

static int breaker_get(struct object_store *os, const char *key,
		       struct object_range range, struct buf *ret)
{
	struct object_breaker *b = breaker_of(os);
	char why[WHY_BYTES];
	enum away away = is_away(b, key, asked_ns ? asked_ns : now_ns(), why);
	enum failed how = FAILED_ALL;
	int r = 1;

	if (away == AWAY_SINCE)
		return err_set(E_REMOTE_AWAY, "%s", why);
	if (away == PERHAPS_STALLED) {
		r = get_for_a_while(b, key, range, ret);
		how = FAILED_BRIEFLY;
		away = r == 1 ? PERHAPS_AWAY : away;
	}
	if (away == PERHAPS_AWAY) {
		r = probe(b, key, range);
		how = r == -E_REMOTE_AWAY ? FAILED_ALL : FAILED_WHOLE;
		r = r == -E_REMOTE_AWAY || r == -ECANCELED ? r : 1;
	}
	if (r == 1)
		r = object_get(b->os.inner, key, range, ret);
	if (r == -E_REMOTE_AWAY)
		note(b, key, how);
	else if (away != NOT_AWAY && r != -ECANCELED)
		forget(b, key);
	return r;
}

static void breaker_free(struct object_store *os)
{
	struct object_breaker *b = breaker_of(os);

	pthread_mutex_destroy(&b->mutex);
	free(b);
}

static const struct object_ops breaker_ops = {
	.get = breaker_get,
	.free = breaker_free,
};

int object_breaker_new(unsigned probe_ms, struct object_store *hedge,
		       struct object_store *inner, struct object_store **ret)
{
	struct object_breaker *b = calloc(1, sizeof(*b));

	if (!b)
		return -ENOMEM;
	b->os.ops = &breaker_ops;
	b->os.inner = inner;
	b->hedge = hedge;
	b->probe_ms = probe_ms;
	pthread_mutex_init(&b->mutex, NULL);
	*ret = &b->os;
	return 0;
}
