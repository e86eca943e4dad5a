#include "fs/stream.h"

#include "fs/events.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
	BATCH = 64, /* records made into text at once */
	TEXT_ENOUGH = 64 << 10,
};

static struct place *reading(struct stream *s)
{
	return &s->p.places[s->p.reading];
}

void stream_say(struct stream *s, const char *text)
{
	event_say(s->source.d, s->caller.uid, "view", stream_now(s)->ino, s->view.name,
		  text);
}

/* --- what comes next, of the file that is being read --- */

static void text_begin(struct stream *s)
{
	s->p.text_from = reading(s)->next;
	s->p.text_at = 0;
	s->out.n = 0;
	s->out.lines = reading(s)->lines;
}

void stream_text_end(struct stream *s)
{
	s->p.text = false;
	s->p.text_at = 0;
	s->out.n = 0;
	if (s->p.reading == s->p.now)
		s->p.delivered = stream_now(s)->next;
}

static ssize_t give(struct stream *s, void *p, size_t n)
{
	size_t left = s->out.n - s->p.text_at;

	n = n < left ? n : left;
	memcpy(p, (char *)s->out.p + s->p.text_at, n);
	s->p.text_at += (uint32_t)n;
	if (s->p.text_at == s->out.n)
		stream_text_end(s);
	return (ssize_t)n;
}

/* It has to be asked again, by a thread that may wait (waits.h). */
static bool is_later(ssize_t r)
{
	return r == -EINPROGRESS || r == -EREMOTE;
}

/* What a batch says of the queue: 1: it is another than before, look again. */
static int moved_on(struct stream *s, const struct ropefs_batch *b, int r)
{
	struct place *at = reading(s);

	if (b->resets != at->resets) {
		at->resets = b->resets;
		at->next = s->follow ? 0 : s->p.end;
		return 1;
	}
	if (r == -ERANGE) {
		stream_say(s, "records were trimmed before this reader came to them");
		at->next = b->first;
		return 1;
	}
	return 0;
}

static int read_batch(struct stream *s, struct ropefs_batch *b, uint64_t end, bool nowait)
{
	struct place *at = reading(s);
	uint64_t left = end - at->next;
	int r;

	b->id = at->next;
	if (b->max > left)
		b->max = (unsigned)left;
	r = ropefs_queue_read(s->source.d->fs, at->ino, b,
			      nowait ? ROPEFS_NOWAIT | ROPEFS_FAR : 0);
	if ((r >= 0 || r == -ERANGE) && moved_on(s, b, r))
		return 1;
	return r == -EAGAIN ? -EINPROGRESS : r;
}

/* Raw records straight into p, as many as fit. */
static ssize_t fill_raw(struct stream *s, void *p, size_t n, bool nowait)
{
	struct place *at = reading(s);

	for (;;) {
		struct ropefs_batch b = { .max = UINT32_MAX, .p = p, .n = n };
		int r;

		if (at->next >= s->p.end)
			return 0;
		r = read_batch(s, &b, s->p.end, nowait);
		if (r < 0)
			return r;
		if (r > 0)
			continue;
		if (!b.count)
			return 0;
		at->next = b.id;
		if (s->p.reading == s->p.now)
			s->p.delivered = b.id;
		if (b.bytes)
			return (ssize_t)b.bytes;
	}
}

static int add_texts(struct stream *s, const struct ropefs_batch *b)
{
	size_t at = 0;
	int r = 0;

	for (unsigned i = 0; r >= 0 && i < b->count; i++) {
		r = ropefs_record_text(s->source.d->fs, reading(s)->ino, &b->records[i],
				       s->scratch + at, s->view.selector.as, &s->out);
		at += b->records[i].n;
	}
	return r;
}

/* Records up to the id `end` into `out`, as text or because they don't fit, until there are
 * `enough` bytes. 0: there is none. */
static int make_texts(struct stream *s, uint64_t end, size_t enough, bool nowait)
{
	struct ropefs_record recs[BATCH];
	bool one = s->step > 1 || s->view.selector.as == ROPEFS_AS_RAW;
	struct place *at = reading(s);
	int r = 0;

	if (!s->scratch)
		s->scratch = malloc(ROPEFS_WRITE_MAX);
	if (!s->scratch)
		return -ENOMEM;
	while (r >= 0 && at->next < end && s->out.n < enough) {
		struct ropefs_batch b = { .records = recs,
					  .max = one ? 1 : BATCH,
					  .p = s->scratch,
					  .n = ROPEFS_WRITE_MAX };

		r = read_batch(s, &b, end, nowait);
		if (r > 0 && s->out.n) /* a text is of records without a gap */
			break;
		if (r > 0) {
			text_begin(s);
			continue;
		}
		if (r < 0 || !b.count)
			break;
		r = add_texts(s, &b);
		if (r >= 0)
			at->next = one ? at->next + s->step : b.id;
		if (one && s->step == 1)
			break;
	}
	s->p.text = s->out.n;
	if (s->out.n)
		return 1;
	return r < 0 ? r : 0;
}

static ssize_t fill_queue(struct stream *s, void *p, size_t n, bool nowait)
{
	ssize_t r = -ENOBUFS;

	if (s->view.selector.as == ROPEFS_AS_RAW && s->step == 1)
		r = fill_raw(s, p, n, nowait);
	if (r != -ENOBUFS)
		return r;
	text_begin(s);
	r = make_texts(s, s->p.end, TEXT_ENOUGH, nowait);
	return r > 0 ? give(s, p, n) : r;
}

/* Another daemon had the text, and gave a part of it: the rest is made of the same records. */
static int remake_text(struct stream *s, bool nowait)
{
	struct position p = s->p;
	struct place *at = reading(s);
	int r;

	at->next = p.text_from;
	text_begin(s);
	do
		r = make_texts(s, p.places[p.reading].next, SIZE_MAX, nowait);
	while (r > 0 && at->next < p.places[p.reading].next);
	if (is_later(r)) {
		s->p = p;
		s->out.n = 0;
		return r;
	}
	s->remake = false;
	if (r >= 0 && s->p.text_from == p.text_from && s->out.n > p.text_at) {
		s->p.text_at = p.text_at;
		return 0;
	}
	stream_text_end(s); /* its records are gone meanwhile */
	return 0;
}

static ssize_t fill_rope(struct stream *s, void *p, size_t n, bool nowait)
{
	struct place *at = reading(s);
	struct ropefs_attr a;
	ssize_t r = ropefs_getattr(s->source.d->fs, at->ino, &a);

	if (r < 0)
		return r;
	if (a.size < at->at) /* it was truncated: what comes now is new */
		at->at = a.size;
	r = ropefs_read(s->source.d->fs, at->ino, at->at, p, n,
			nowait ? ROPEFS_NOWAIT | ROPEFS_FAR : 0);
	if (r > 0)
		at->at += (uint64_t)r;
	return r == -EAGAIN ? -EINPROGRESS : r;
}

/* --- another file under the same name --- */

void stream_say_place(struct stream *s)
{
	pthread_mutex_lock(&s->said_mutex);
	s->said = (struct said) { s->was.places[s->was.now].ino, s->was.delivered };
	pthread_mutex_unlock(&s->said_mutex);
}

void stream_giving(struct source *source, uint64_t unique)
{
	struct stream *s = (struct stream *)source;

	kept_step(&s->kept, unique, &s->was, &s->p, sizeof(s->p));
	s->was = s->p;
	stream_say_place(s);
}

/* As if the name were opened again by who opened the view. */
static int may_read(const struct stream *s, uint64_t ino)
{
	struct daemon *d = s->source.d;
	int r = caller_may(d, &s->caller, s->view.dir, 1);

	return r < 0 ? r : caller_may(d, &s->caller, ino, 4);
}

static int begin_at(struct stream *s, const struct ropefs_attr *a, struct place *ret)
{
	struct ropefs_queue q = { 0 };
	int r = a->is_queue ? ropefs_queue_info(s->source.d->fs, a->ino, &q) : 0;

	if (r < 0)
		return r;
	*ret = (struct place) { .ino = a->ino,
				.age = stream_now(s)->age + 1,
				.is_queue = a->is_queue,
				.resets = q.resets,
				.lines = q.framing == ROPEFS_LINE };
	return 0;
}

static void leave_place(struct stream *s, unsigned i)
{
	follow_del(s->source.d, &s->files[i]);
	s->p.places[i] = (struct place) { 0 };
}

/* The place behind the age `after`, oldest first; PLACES: no more. */
static unsigned place_after(const struct stream *s, uint64_t after)
{
	unsigned found = PLACES;

	for (unsigned i = 0; i < PLACES; i++)
		if (s->p.places[i].age > after &&
		    (found == PLACES || s->p.places[i].age < s->p.places[found].age))
			found = i;
	return found;
}

/* A place that is free, or that of the oldest file. */
static unsigned free_place(struct stream *s)
{
	for (unsigned i = 0; i < PLACES; i++)
		if (!s->p.places[i].age)
			return i;
	return place_after(s, 0);
}

/* The place of a file that is read already; else a free one, where it begins. */
static int place_of(struct stream *s, const struct ropefs_attr *a, unsigned *ret)
{
	struct place next;
	int r;

	for (unsigned i = 0; i < PLACES; i++) {
		if (!s->p.places[i].age || s->p.places[i].ino != a->ino)
			continue;
		s->p.places[i].age = stream_now(s)->age + 1; /* it got its name back */
		*ret = i;
		return 0;
	}
	r = begin_at(s, a, &next);
	if (r < 0)
		return r;
	*ret = free_place(s);
	leave_place(s, *ret);
	r = follow_add(s->source.d, &s->files[*ret], a->ino);
	if (r >= 0)
		s->p.places[*ret] = next;
	return r;
}

/* The file noted next is read from now on, and holds. The one before is read, too, as long as it is
 * there: who has it open still may append to it. */
static int begin_next(struct stream *s, uint64_t ino)
{
	struct daemon *d = s->source.d;
	uint64_t before = stream_now(s)->ino;
	struct ropefs_attr a;
	unsigned i;
	int r = ropefs_getattr(d->fs, ino, &a);

	if (r >= 0)
		r = may_read(s, ino);
	if (r >= 0)
		r = place_of(s, &a, &i);
	if (r < 0)
		return r;
	s->p.now = (uint8_t)i;
	s->p.delivered = s->p.places[i].next;
	stream_giving(&s->source, 0); /* before the note of it goes */
	names_taken(d, &s->name);
	names_let_go(d, before);
	return 1;
}

/* 1: there is another file to read, after the end of those before. */
static int go_over(struct stream *s)
{
	struct daemon *d = s->source.d;
	uint64_t ino;
	bool more;
	int r;

	if (names_missed(d, &s->name))
		stream_say(s,
			   "the name led to more files than this reader can be behind; "
			   "some are left out");
	while (names_next(d, &s->name, &ino, &more)) {
		r = begin_next(s, ino);
		if (r >= 0 || r == -ENOMEM || (!more && r != -ENOENT))
			return r;
		/* It is gone; or it can't be read, and has lost the name. */
		names_taken(d, &s->name);
		names_let_go(d, ino);
	}
	return 0;
}

/* What the files have, the oldest first. */
static ssize_t fill_some(struct stream *s, void *p, size_t n, bool nowait)
{
	uint64_t age = 0;
	ssize_t r = 0;
	unsigned i;

	while ((i = place_after(s, age)) < PLACES) {
		struct place *at = &s->p.places[i];

		age = at->age;
		s->p.reading = (uint8_t)i;
		r = at->is_queue ? fill_queue(s, p, n, nowait)
				 : fill_rope(s, p, n, nowait);
		if (r < 0 && !is_later(r) && i != s->p.now) {
			leave_place(s, i); /* it is gone */
			r = 0;
		}
		if (r)
			return r;
	}
	return 0;
}

ssize_t stream_fill(struct source *source, void *p, size_t n, bool nowait)
{
	struct stream *s = (struct stream *)source;
	ssize_t r;

	for (;;) {
		if (s->closed)
			return -EAGAIN;
		if (s->remake) {
			r = remake_text(s, nowait);
			if (r < 0)
				return r;
		}
		if (s->p.text)
			return give(s, p, n);
		r = fill_some(s, p, n, nowait);
		if (r || !s->follow)
			return r;
		r = go_over(s);
		if (r <= 0)
			return r < 0 ? r : -EAGAIN;
	}
}

static bool has_more(struct stream *s, const struct place *at)
{
	struct daemon *d = s->source.d;
	struct ropefs_queue q;
	struct ropefs_attr a;

	if (at->is_queue)
		return ropefs_queue_info(d->fs, at->ino, &q) >= 0 &&
		       (q.next > at->next || q.resets != at->resets);
	return ropefs_getattr(d->fs, at->ino, &a) >= 0 && a.size != at->at;
}

bool stream_ready(struct source *source)
{
	struct stream *s = (struct stream *)source;
	uint64_t ino;
	bool more;

	if (s->closed || s->p.text || !s->follow)
		return true;
	for (unsigned i = 0; i < PLACES; i++)
		if (s->p.places[i].age && has_more(s, &s->p.places[i]))
			return true;
	return names_next(s->source.d, &s->name, &ino, &more);
}
