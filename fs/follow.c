#include "fs/follow.h"

#include "fs/daemon.h"
#include "fs/wire.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

enum {
	HELD_MAX = 8,
	FEW = 4, /* are woken before who wrote is answered: it costs that one less than it
		  * gives them, as their cores may have to wake, too */
	MANY = 512, /* more take a while: another loop takes requests meanwhile. For fewer that
		    * only takes a core from those who are woken. */
};

/* What happened while this thread held its waking back. */
static _Thread_local struct {
	unsigned depth;
	struct daemon *d; /* NULL: nothing */
	uint64_t inos[HELD_MAX];
	unsigned n;
	bool all; /* more than inos has room for */
} held;

void follows_init(struct follows *f)
{
	*f = (struct follows) { 0 };
	pthread_mutex_init(&f->mutex, NULL);
}

void follows_release(struct follows *f)
{
	map_release(&f->by_ino, NULL);
	pthread_mutex_destroy(&f->mutex);
}

static int link_locked(struct follows *t, struct follower *f)
{
	struct follower *first = map_get(&t->by_ino, f->ino);

	if (!first) {
		f->next = f->prev = NULL;
		return map_put(&t->by_ino, f->ino, f);
	}
	f->prev = first;
	f->next = first->next;
	first->next = f;
	if (f->next)
		f->next->prev = f;
	return 0;
}

int follow_add(struct daemon *d, struct follower *f, uint64_t ino)
{
	int r;

	assert(ino);
	f->ino = ino;
	pthread_mutex_lock(&d->follows.mutex);
	r = link_locked(&d->follows, f);
	pthread_mutex_unlock(&d->follows.mutex);
	if (r >= 0) {
		r = ropefs_watch(d->fs, ino);
		if (r >= 0)
			return 0;
		follow_del(d, f);
	}
	f->ino = 0;
	return r;
}

static void unlink_locked(struct follows *t, struct follower *f)
{
	if (f->next)
		f->next->prev = f->prev;
	if (f->prev) {
		f->prev->next = f->next;
		return;
	}
	map_del(&t->by_ino, f->ino);
	if (f->next) /* there is room where the other was */
		map_put(&t->by_ino, f->ino, f->next);
}

void follow_del(struct daemon *d, struct follower *f)
{
	if (!f->ino)
		return;
	pthread_mutex_lock(&d->follows.mutex);
	unlink_locked(&d->follows, f);
	pthread_mutex_unlock(&d->follows.mutex);
	ropefs_unwatch(d->fs, f->ino);
	f->ino = 0;
}

struct sources {
	struct source **p;
	size_t n, cap;
};

static void gather(struct sources *s, struct follower *f)
{
	for (; f; f = f->next) {
		if (s->n == s->cap) {
			size_t cap = s->cap ? 2 * s->cap : 64;
			struct source **p = realloc(s->p, cap * sizeof(*p));

			if (!p)
				return; /* they hear of the next change */
			s->p = p;
			s->cap = cap;
		}
		source_get(f->source);
		s->p[s->n++] = f->source;
	}
}

static void wake(struct daemon *d, uint64_t ino)
{
	struct follows *t = &d->follows;
	struct sources s = { 0 };

	pthread_mutex_lock(&t->mutex);
	if (ino)
		gather(&s, map_get(&t->by_ino, ino));
	for (size_t i = 0; !ino && i < t->by_ino.cap; i++)
		gather(&s, t->by_ino.slots[i].value);
	pthread_mutex_unlock(&t->mutex);
	if (s.n > MANY)
		loop_hand_over();
	for (size_t i = 0; i < s.n; i++) {
		source_wake(s.p[i]);
		source_put(s.p[i]);
	}
	free(s.p);
}

void follow_changed(void *arg, uint64_t ino)
{
	if (!held.depth) {
		wake(arg, ino);
		return;
	}
	held.d = arg;
	for (unsigned i = 0; i < held.n; i++)
		if (held.inos[i] == ino)
			return;
	if (!ino || held.n == HELD_MAX)
		held.all = true;
	else
		held.inos[held.n++] = ino;
}

void follow_hold(void)
{
	held.depth++;
}

static bool are_few(struct daemon *d, uint64_t ino)
{
	struct follows *t = &d->follows;
	struct follower *f;
	unsigned n = 0;

	pthread_mutex_lock(&t->mutex);
	for (f = map_get(&t->by_ino, ino); f && n <= FEW; f = f->next)
		n++;
	pthread_mutex_unlock(&t->mutex);
	return n <= FEW;
}

void follow_wake_few(void)
{
	unsigned kept = 0;

	if (held.depth != 1 || held.all)
		return;
	for (unsigned i = 0; i < held.n; i++) {
		if (are_few(held.d, held.inos[i]))
			wake(held.d, held.inos[i]);
		else
			held.inos[kept++] = held.inos[i];
	}
	held.n = kept;
}

void follow_wake_later(void)
{
	struct daemon *d = held.d;
	uint64_t inos[HELD_MAX];
	unsigned n = held.n;
	bool all = held.all;

	assert(held.depth > 0);
	if (--held.depth || !d)
		return;
	for (unsigned i = 0; i < n; i++)
		inos[i] = held.inos[i];
	held.d = NULL;
	held.n = 0;
	held.all = false;
	if (all)
		wake(d, 0);
	for (unsigned i = 0; i < n && !all; i++)
		wake(d, inos[i]);
}
