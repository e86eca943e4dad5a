#include "fs/names.h"

#include "fs/daemon.h"

#include <string.h>
#include <sys/stat.h>

void names_init(struct names *n)
{
	pthread_mutex_init(&n->mutex, NULL);
	LIST_INIT(&n->all);
	n->dirs = (struct map) { 0 };
}

void names_release(struct names *n)
{
	map_release(&n->dirs, NULL);
	pthread_mutex_destroy(&n->mutex);
}

static void release_waiting(struct task *t)
{
	ropefs_release(t->d->fs, t->ino, 1);
	task_free(t);
}

void names_let_go(struct daemon *d, uint64_t ino)
{
	struct task *t = task_new(d, NULL, NULL, 0);

	if (!t)
		return; /* it stays until the mount ends */
	t->ino = ino;
	task_run(t, release_waiting);
}

static uint64_t *place(struct noted *n, uint64_t at)
{
	return &n->inos[at % NOTED_MAX];
}

/* With room for none the youngest goes: the name led to it for a while only. */
static void note_locked(struct daemon *d, struct name_watch *w, uint64_t ino)
{
	struct noted *n = w->noted;

	if (ropefs_hold(d->fs, ino) < 0)
		return; /* it is gone again */
	w->latest = ino;
	if (n->to - n->from == NOTED_MAX) {
		names_let_go(d, *place(n, n->to - 1));
		*place(n, n->to - 1) = ino;
		n->missed++;
		return;
	}
	*place(n, n->to) = ino;
	/* A daemon that is killed in between leaves what was there. */
	__atomic_store_n(&n->to, n->to + 1, __ATOMIC_RELEASE);
}

/* What the name leads to; 0: nothing that can be followed. */
static uint64_t look(struct daemon *d, const struct name_watch *w)
{
	struct ropefs_attr a;

	return ropefs_lookup(d->fs, w->dir, w->name, &a) >= 0 && S_ISREG(a.mode) ? a.ino
										 : 0;
}

static void look_locked(struct daemon *d, struct name_watch *w, uint64_t ino)
{
	if (ino && ino != w->latest)
		note_locked(d, w, ino);
}

/* After a takeover: what is noted was held by the daemon before. */
static void hold_again(struct daemon *d, struct noted *n)
{
	uint64_t to = n->from;

	for (uint64_t i = n->from; i != n->to; i++)
		if (ropefs_hold(d->fs, *place(n, i)) >= 0)
			*place(n, to++) = *place(n, i);
	n->to = to;
}

/* Of a folder's watches there are `more` more. */
static int count_locked(struct map *dirs, uint64_t dir, intptr_t more)
{
	intptr_t n = (intptr_t)map_del(dirs, dir) + more;

	return n ? map_put(dirs, dir, (void *)n) : 0;
}

int names_watch(struct daemon *d, struct name_watch *w)
{
	int r;

	pthread_mutex_lock(&d->names.mutex);
	r = count_locked(&d->names.dirs, w->dir, 1);
	if (r >= 0) {
		hold_again(d, w->noted);
		if (w->noted->from != w->noted->to)
			w->latest = *place(w->noted, w->noted->to - 1);
		LIST_INSERT_HEAD(&d->names.all, w, link);
		look_locked(d, w, look(d, w));
	}
	pthread_mutex_unlock(&d->names.mutex);
	return r;
}

void names_unwatch(struct daemon *d, struct name_watch *w)
{
	pthread_mutex_lock(&d->names.mutex);
	LIST_REMOVE(w, link);
	count_locked(&d->names.dirs, w->dir, -1); /* there is room where it was */
	pthread_mutex_unlock(&d->names.mutex);
}

bool names_next(struct daemon *d, struct name_watch *w, uint64_t *ret_ino, bool *ret_more)
{
	uint64_t n;

	pthread_mutex_lock(&d->names.mutex);
	n = w->noted->to - w->noted->from;
	if (n)
		*ret_ino = *place(w->noted, w->noted->from);
	*ret_more = n > 1;
	pthread_mutex_unlock(&d->names.mutex);
	return n;
}

void names_taken(struct daemon *d, struct name_watch *w)
{
	pthread_mutex_lock(&d->names.mutex);
	w->noted->from++;
	pthread_mutex_unlock(&d->names.mutex);
}

uint64_t names_missed(struct daemon *d, struct name_watch *w)
{
	uint64_t n;

	pthread_mutex_lock(&d->names.mutex);
	n = w->noted->missed;
	w->noted->missed = 0;
	pthread_mutex_unlock(&d->names.mutex);
	return n;
}

static bool same_name(const struct name_watch *a, const struct name_watch *b)
{
	return a->dir == b->dir && a->name.n == b->name.n &&
	       !memcmp(a->name.p, b->name.p, a->name.n);
}

static void changed(struct daemon *d, uint64_t dir)
{
	const struct name_watch *before = NULL;
	struct name_watch *w;
	uint64_t ino = 0;

	pthread_mutex_lock(&d->names.mutex);
	for (w = dir && !map_get(&d->names.dirs, dir) ? NULL : LIST_FIRST(&d->names.all);
	     w; w = LIST_NEXT(w, link)) {
		if (dir && dir != w->dir)
			continue;
		if (!before || !same_name(before, w)) /* many follow one file */
			ino = look(d, w);
		before = w;
		look_locked(d, w, ino);
	}
	pthread_mutex_unlock(&d->names.mutex);
}

void names_changed(void *arg, uint64_t ino)
{
	changed(arg, ino);
	follow_changed(arg, ino);
}
