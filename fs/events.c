#include "fs/events.h"

#include "fs/daemon.h"
#include "fs/reply.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct event_file {
	struct source source; /* first: they are one */
	LIST_ENTRY(event_file) link;
	uint64_t next; /* line */
	uint32_t uid; /* who reads */
	size_t at; /* bytes of it given */
};

void events_init(struct events *e)
{
	*e = (struct events) { 0 };
	pthread_mutex_init(&e->mutex, NULL);
	LIST_INIT(&e->files);
}

void events_release(struct events *e)
{
	while (!LIST_EMPTY(&e->files)) {
		struct event_file *f = LIST_FIRST(&e->files);

		LIST_REMOVE(f, link);
		source_put(&f->source);
	}
	for (size_t i = 0; i < EVENTS_KEPT; i++)
		free(e->lines[i].text);
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

/* Takes the line over. */
static void keep(struct daemon *d, uint32_t uid, char *line)
{
	struct events *e = &d->events;
	struct event_line *slot;
	bool wake;

	pthread_mutex_lock(&e->mutex);
	slot = &e->lines[e->next++ % EVENTS_KEPT];
	free(slot->text);
	*slot = (struct event_line) { line, uid };
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

static void keep_text(struct daemon *d, uint32_t uid, const char *text)
{
	char *line;

	if (asprintf(&line, "%s\n", text) >= 0)
		keep(d, uid, line);
}

void events_line(void *arg, const char *text)
{
	keep_text(arg, EVENT_ALL, text);
}

void events_named_line(void *arg, const char *text)
{
	keep_text(arg, 0, text);
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
	keep_text(d, uid, line);
	free(line);
}

/* The lines that were lost before this reader came to them, as one. */
static ssize_t say_missed(struct event_file *f, uint64_t oldest, char *p, size_t n)
{
	int len = snprintf(p, n,
			   "{\"event\":\"missed\",\"text\":\"%" PRIu64
			   " events came before this reader read them\"}\n",
			   oldest - f->next);

	if (len < 0 || (size_t)len >= n)
		return -EINVAL; /* a read too small for a line */
	f->next = oldest;
	f->at = 0;
	return len;
}

/* Stands on the next line that this reader may have; false: there is none yet. */
static bool next_line(struct event_file *f, const struct events *e)
{
	for (; f->next < e->next; f->next++) {
		uint32_t uid = e->lines[f->next % EVENTS_KEPT].uid;

		if (uid == EVENT_ALL || uid == f->uid || !f->uid || f->uid == geteuid())
			return true;
	}
	return false;
}

static ssize_t fill(struct source *s, void *to, size_t n, bool nowait)
{
	struct event_file *f = (struct event_file *)s;
	struct events *e = &s->d->events;
	ssize_t done = 0;
	uint64_t oldest;

	(void)nowait;
	pthread_mutex_lock(&e->mutex);
	oldest = e->next > EVENTS_KEPT ? e->next - EVENTS_KEPT : 0;
	if (f->next < oldest)
		done = say_missed(f, oldest, to, n);
	while (done >= 0 && (size_t)done < n && next_line(f, e)) {
		const char *line = e->lines[f->next % EVENTS_KEPT].text + f->at;
		size_t len = strlen(line), room = n - (size_t)done;
		size_t some = len < room ? len : room;

		memcpy((char *)to + done, line, some);
		done += (ssize_t)some;
		f->at += some;
		if (some == len) {
			f->next++;
			f->at = 0;
		}
	}
	pthread_mutex_unlock(&e->mutex);
	return done ? done : -EAGAIN;
}

static bool ready(struct source *s)
{
	struct event_file *f = (struct event_file *)s;
	struct events *e = &s->d->events;
	bool more;

	pthread_mutex_lock(&e->mutex);
	/* Of lines that are lost by now, it is told how many. */
	more = e->next > EVENTS_KEPT && f->next < e->next - EVENTS_KEPT;
	more = more || next_line(f, e);
	pthread_mutex_unlock(&e->mutex);
	return more;
}

static void event_file_free(struct source *s)
{
	free(s);
}

static void event_file_end(struct event_file *f)
{
	struct events *e = &f->source.d->events;

	pthread_mutex_lock(&e->mutex);
	LIST_REMOVE(f, link);
	pthread_mutex_unlock(&e->mutex);
	source_put(&f->source);
}

static void events_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct daemon *d = daemon_of(req);
	struct event_file *f = calloc(1, sizeof(*f));

	(void)ino;
	if (!f) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	source_init(&f->source, d);
	f->uid = fuse_req_ctx(req)->uid;
	f->source.fill = fill;
	f->source.ready = ready;
	f->source.free = event_file_free;
	pthread_mutex_lock(&d->events.mutex);
	if (d->events.next > EVENTS_KEPT)
		f->next = d->events.next - EVENTS_KEPT;
	LIST_INSERT_HEAD(&d->events.files, f, link);
	pthread_mutex_unlock(&d->events.mutex);
	fi->direct_io = 1;
	fi->nonseekable = 1;
	fi->noflush = 1;
	if (reply_open_file(req, fi, f) < 0)
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
