#include "fs/events.h"

#include "fs/daemon.h"
#include "fs/handles.h"
#include "fs/reply.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TOO_LONG "{\"event\":\"missed\",\"text\":\"an event was too long to be kept\"}"

struct event_file {
	struct source source; /* first: they are one */
	LIST_ENTRY(event_file) link;
	struct kept kept;
	struct event_place {
		uint64_t next; /* line */
		uint64_t at; /* bytes of it given */
		uint32_t uid; /* who reads */
	} now, given; /* given: as of the last reply */
};
KEPT_SIZE(struct event_place, 24);

/* Those of the daemon before, or new ones. */
static void init_lines(struct events *e)
{
	const struct fuse_file_info none = { 0 };
	struct kept_file k;
	unsigned at = 0;

	while (kept_next(&at, &k)) {
		if (k.kind != KEPT_EVENTS) {
			kept_drop(&k.k);
			continue;
		}
		e->kept = k.k;
		e->lines = k.k.area;
		return;
	}
	kept_new(&e->kept, NULL, 0);
	e->lines = kept_area(&e->kept, sizeof(*e->lines));
	kept_opened(&e->kept, KEPT_EVENTS, 0, &none);
}

void events_init(struct events *e)
{
	*e = (struct events) { 0 };
	pthread_mutex_init(&e->mutex, NULL);
	LIST_INIT(&e->files);
	init_lines(e);
}

void events_release(struct events *e)
{
	while (!LIST_EMPTY(&e->files)) {
		struct event_file *f = LIST_FIRST(&e->files);

		LIST_REMOVE(f, link);
		source_put(&f->source);
	}
	kept_free(&e->kept);
	pthread_mutex_destroy(&e->mutex);
}

void events_stop(struct events *e)
{
	pthread_mutex_lock(&e->mutex);
	e->stopped = true;
	pthread_mutex_unlock(&e->mutex);
}

/* The next file after the first `skip`, with a reference; NULL: no more. */
static struct event_file *file_at(struct events *e, unsigned skip)
{
	struct event_file *f;

	pthread_mutex_lock(&e->mutex);
	LIST_FOREACH(f, &e->files, link)
	if (!skip--)
		break;
	if (f)
		source_get(&f->source);
	pthread_mutex_unlock(&e->mutex);
	return f;
}

static void wake_readers(struct task *t)
{
	struct events *e = &t->d->events;
	struct event_file *f;

	pthread_mutex_lock(&e->mutex);
	e->waking = false;
	pthread_mutex_unlock(&e->mutex);
	/* One that is closed meanwhile may hide its neighbour, until the next line. */
	for (unsigned i = 0; (f = file_at(e, i)); i++) {
		source_wake(&f->source);
		source_put(&f->source);
	}
	task_free(t);
}

static void keep(struct daemon *d, uint32_t uid, const char *text)
{
	struct events *e = &d->events;
	size_t n = strlen(text);
	struct event_line *line;
	uint64_t i;
	bool wake;

	if (!e->lines)
		return;
	pthread_mutex_lock(&e->mutex);
	i = atomic_load(&e->lines->next);
	line = &e->lines->lines[i % EVENTS_KEPT];
	line->uid = uid;
	snprintf(line->text, EVENT_BYTES, "%s\n", n < EVENT_BYTES - 1 ? text : TOO_LONG);
	atomic_store(&e->lines->next, i + 1);
	wake = !e->stopped && !e->waking && !LIST_EMPTY(&e->files);
	e->waking |= wake;
	pthread_mutex_unlock(&e->mutex);
	if (wake) {
		/* Not here: the store may hold its locks. */
		struct task *t = task_new(d, NULL, NULL, 0);

		if (t)
			task_run(t, wake_readers);
	}
}

void events_line(void *arg, const char *text)
{
	keep(arg, EVENT_ALL, text);
}

void events_named_line(void *arg, const char *text)
{
	keep(arg, 0, text);
}

void event_say(struct daemon *d, uint32_t uid, const char *kind, uint64_t ino,
	       const char *name, const char *text)
{
	struct ropefs_event ev = { .kind = kind, .ino = ino, .name = name, .text = text };
	struct timespec now;
	char *line;

	clock_gettime(CLOCK_REALTIME, &now);
	ev.time.ns = now.tv_sec * 1000000000 + now.tv_nsec;
	if (ropefs_event_line(&ev, &line) < 0)
		return;
	keep(d, uid, line);
	free(line);
}

/* The lines that were lost before this reader came to them, as one. */
static ssize_t say_missed(struct event_file *f, uint64_t oldest, char *p, size_t n)
{
	int len = snprintf(p, n,
			   "{\"event\":\"missed\",\"text\":\"%" PRIu64
			   " events came before this reader read them\"}\n",
			   oldest - f->now.next);

	if (len < 0 || (size_t)len >= n)
		return -EINVAL; /* a read too small for a line */
	f->now.next = oldest;
	f->now.at = 0;
	return len;
}

/* Stands on the next line that this reader may have; false: there is none yet. */
static bool next_line(struct event_file *f, const struct event_lines *lines)
{
	struct event_place *at = &f->now;

	for (; at->next < atomic_load(&lines->next); at->next++) {
		uint32_t uid = lines->lines[at->next % EVENTS_KEPT].uid;

		if (uid == EVENT_ALL || uid == at->uid || !at->uid ||
		    at->uid == geteuid())
			return true;
	}
	return false;
}

static ssize_t fill(struct source *s, void *to, size_t n, bool nowait)
{
	struct event_file *f = (struct event_file *)s;
	struct events *e = &s->d->events;
	ssize_t done = 0;
	uint64_t oldest, next;

	(void)nowait;
	pthread_mutex_lock(&e->mutex);
	next = atomic_load(&e->lines->next);
	oldest = next > EVENTS_KEPT ? next - EVENTS_KEPT : 0;
	if (f->now.next < oldest)
		done = say_missed(f, oldest, to, n);
	while (done >= 0 && (size_t)done < n && next_line(f, e->lines)) {
		const char *line =
			e->lines->lines[f->now.next % EVENTS_KEPT].text + f->now.at;
		size_t len = strlen(line), room = n - (size_t)done;
		size_t some = len < room ? len : room;

		memcpy((char *)to + done, line, some);
		done += (ssize_t)some;
		f->now.at += some;
		if (some == len) {
			f->now.next++;
			f->now.at = 0;
		}
	}
	pthread_mutex_unlock(&e->mutex);
	return done ? done : -EAGAIN;
}

static bool ready(struct source *s)
{
	struct event_file *f = (struct event_file *)s;
	struct events *e = &s->d->events;

	uint64_t next;
	bool more;

	pthread_mutex_lock(&e->mutex);
	/* Of lines that are lost by now, it is told how many. */
	next = atomic_load(&e->lines->next);
	more = next > EVENTS_KEPT && f->now.next < next - EVENTS_KEPT;
	more = more || next_line(f, e->lines);
	pthread_mutex_unlock(&e->mutex);
	return more;
}

static void giving(struct source *s, uint64_t unique)
{
	struct event_file *f = (struct event_file *)s;

	kept_step(&f->kept, unique, &f->given, &f->now, sizeof(f->now));
	f->given = f->now;
}

static bool again(struct source *s)
{
	struct event_file *f = (struct event_file *)s;
	bool done;

	if (!kept_resent(&f->kept, &done, &f->given, sizeof(f->given)))
		return false;
	f->now = f->given;
	return true;
}

static void event_file_free(struct source *s)
{
	kept_drop(&((struct event_file *)s)->kept);
	free(s);
}

static void event_file_end(struct event_file *f)
{
	struct events *e = &f->source.d->events;

	pthread_mutex_lock(&e->mutex);
	LIST_REMOVE(f, link);
	pthread_mutex_unlock(&e->mutex);
	pthread_mutex_lock(&f->source.mutex);
	kept_free(&f->kept);
	pthread_mutex_unlock(&f->source.mutex);
	source_put(&f->source);
}

static struct event_file *event_file_new(struct daemon *d)
{
	struct event_file *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	source_init(&f->source, d);
	f->source.fill = fill;
	f->source.ready = ready;
	f->source.free = event_file_free;
	f->source.giving = giving;
	f->source.again = again;
	return f;
}

static void event_file_begin(struct event_file *f)
{
	struct events *e = &f->source.d->events;

	pthread_mutex_lock(&e->mutex);
	LIST_INSERT_HEAD(&e->files, f, link);
	pthread_mutex_unlock(&e->mutex);
}

int events_restore(struct daemon *d, const struct kept_file *k)
{
	struct event_file *f = d->events.lines ? event_file_new(d) : NULL;
	int r;

	if (!f)
		return -ENOMEM;
	events_stop(&d->events);
	f->kept = k->k;
	memcpy(&f->now, k->state ? k->state : k->fixed, sizeof(f->now));
	f->given = f->now;
	event_file_begin(f);
	r = handle_put(k->fh, f);
	if (r < 0)
		event_file_end(f);
	return r;
}

void events_go_on(struct daemon *d)
{
	struct events *e = &d->events;
	struct task *t = task_new(d, NULL, NULL, 0);

	pthread_mutex_lock(&e->mutex);
	e->stopped = false;
	e->waking = t;
	pthread_mutex_unlock(&e->mutex);
	if (t)
		task_run(t, wake_readers);
}

static void events_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct daemon *d = daemon_of(req);
	struct event_file *f = d->events.lines ? event_file_new(d) : NULL;
	uint64_t next;

	if (!f) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	next = atomic_load(&d->events.lines->next);
	if (next > EVENTS_KEPT)
		f->now.next = next - EVENTS_KEPT;
	f->now.uid = fuse_req_ctx(req)->uid;
	f->given = f->now;
	kept_new(&f->kept, &f->now, sizeof(f->now));
	event_file_begin(f);
	fi->direct_io = 1;
	fi->nonseekable = 1;
	fi->noflush = 1;
	if (reply_open_file(req, fi,
			    &(struct opened) { f, &f->kept, KEPT_EVENT_FILE, ino }) < 0)
		event_file_end(f);
}

static void events_read(fuse_req_t req, fuse_ino_t ino, size_t n, off_t off,
			struct fuse_file_info *fi)
{
	(void)ino;
	(void)off;
	source_read((struct source *)(uintptr_t)fi->fh, req, n, fi->flags);
}

static void events_poll(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi,
			struct fuse_pollhandle *ph)
{
	(void)ino;
	source_poll((struct source *)(uintptr_t)fi->fh, req, ph);
}

static void events_release_file(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	event_file_end((struct event_file *)(uintptr_t)fi->fh);
	fuse_reply_err(req, 0);
}

const struct fuse_lowlevel_ops events_ops = {
	.open = events_open,
	.read = events_read,
	.poll = events_poll,
	.release = events_release_file,
};
