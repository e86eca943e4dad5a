/* object_file.c - ranged gets with windows of bytes fetched ahead.
 *
 *	the end of the object (a pack's directory and footer) comes at once
 *	reads that go on where the last window ends ─▶ the next window, twice as large
 *	any other read ─▶ a get of just its bytes; the windows stay
 *
 * Readers come in any order, as the kernel reads ahead with many threads: so one window is kept
 * while the next is on its way, and who wants bytes of one on its way waits for it. A read may get
 * its bytes of several windows. What was skipped is fetched along, and nothing twice: a window ends
 * where another begins. Who is ahead of those under way waits for a few. The room's lock guards
 * the windows of all its files; no request is made under it.
 *
 * Invariants:
 *  1. What was given to forget() is asked for again: what turned out wrong gets a second chance.
 *  2. A window counts in the room from before it is fetched until it is freed.
 *  3. The windows of a file don't overlap. */
#include "core/tier/object_file.h"

#include <errno.h>
#include <string.h>

#include "core/pack/pack_format.h"

#define TAIL_BYTES ((uint64_t)32 << 10)
#define AHEAD_MIN  ((uint64_t)512 << 10)
#define AHEAD_MAX  ((uint64_t)4 << 20)
#define SKIP_BYTES ((uint64_t)256 << 10) /* skip_most(), at least */
#define EARLY_MAX  4u /* windows that a reader ahead of them waits for */

/* Bytes [at, end) of a file's object. */
struct object_window {
	struct object_file *file;
	uint64_t at, end;
	unsigned serial; /* of the file's, from 1 on */
	bool fetching; /* else all of them are there */
	bool goes_on; /* from another one, or from the object's beginning */
	struct buf bytes;
	uint64_t
		served; /* so many of them, with the heads of frames, which nobody reads */
	TAILQ_ENTRY(object_window) in_room, in_file;
};

struct object_file {
	struct io_file file;
	struct object_file_opts o;
	char key[OBJECT_KEY_MAX + 1];
	/* The room's lock guards what follows. */
	pthread_cond_t cond; /* a window came, or failed */
	unsigned serial; /* of the last window */
	unsigned failures; /* of windows */
	TAILQ_HEAD(, object_window) windows;
	uint64_t next; /* where the last window ends that goes on from another */
	uint64_t ahead; /* bytes of the next one */
	bool wrong; /* the bytes at wrong_at are asked for anew */
	uint64_t wrong_at;
};

static struct object_file *file_of(struct io_file *f)
{
	return container_of(f, struct object_file, file);
}

/* --- the room --- */

void object_room_init(struct object_room *room, size_t bytes_max)
{
	*room = (struct object_room) { .bytes_max = bytes_max };
	lock_init(&room->lock, RANK_OBJECT);
	TAILQ_INIT(&room->windows);
}

void object_room_release(struct object_room *room)
{
	assert(!room->bytes);
	lock_release(&room->lock);
}

static uint64_t window_bytes(const struct object_window *w)
{
	return w->end - w->at;
}

static uint64_t tail_of(const struct object_file *o)
{
	return o->o.bytes - MIN(o->o.bytes, TAIL_BYTES);
}

/* One of its windows while it is read in order, or NULL: the object's end alone, which stays for a
 * while, is not that, nor what is left when the last window was fetched. */
static const struct object_window *reads_on(const struct object_file *o)
{
	const struct object_window *w;

	if (o->next >= tail_of(o))
		return NULL;
	TAILQ_FOREACH(w, &o->windows, in_file)
	if (w->goes_on)
		break;
	return w;
}

static void window_free_locked(struct object_window *w)
{
	struct object_file *o = w->file;
	struct object_room *room = o->o.room;

	assert(!w->fetching && room->bytes >= window_bytes(w));
	room->bytes -= window_bytes(w);
	TAILQ_REMOVE(&room->windows, w, in_room);
	TAILQ_REMOVE(&o->windows, w, in_file);
	buf_release(&w->bytes);
	free(w);
}

/* The window that was read longest ago, and is not on its way, goes. */
static bool steal_locked(struct object_room *room)
{
	struct object_window *w;

	TAILQ_FOREACH_REVERSE(w, &room->windows, object_windows, in_room)
	if (!w->fetching) {
		window_free_locked(w);
		return true;
	}
	return false;
}

/* Bytes that one window may have, so that each file that is read has room for two. */
static uint64_t ahead_most(const struct object_file *o)
{
	const struct object_room *room = o->o.room;
	unsigned files = !reads_on(o);
	const struct object_window *w;

	TAILQ_FOREACH(w, &room->windows, in_room)
	files += reads_on(w->file) == w;
	return MAX(AHEAD_MIN, MIN(AHEAD_MAX, room->bytes_max / (2 * files)));
}

/* --- the windows --- */

/* The one that has the byte at off, or NULL. */
static struct object_window *window_of(const struct object_file *o, uint64_t off)
{
	struct object_window *w;

	TAILQ_FOREACH(w, &o->windows, in_file)
	if (off >= w->at && off < w->end)
		break;
	return w;
}

/* Where the first window behind off begins, if that is before end. */
static uint64_t end_before_others(const struct object_file *o, uint64_t off, uint64_t end)
{
	const struct object_window *w;

	TAILQ_FOREACH(w, &o->windows, in_file)
	if (w->at > off)
		end = MIN(end, w->at);
	return end;
}

/* Of [at, end), in which no window has the byte at off, what is around that and in none. */
static struct object_range between_others(const struct object_file *o, uint64_t at,
					  uint64_t off, uint64_t end)
{
	const struct object_window *w;

	TAILQ_FOREACH(w, &o->windows, in_file)
	if (w->at < off)
		at = MAX(at, w->end);
	return (struct object_range) { at, end_before_others(o, off, end) - at };
}

/* That a reader who goes on may leave out. The further it has come in order the likelier it is one
 * of several that do so together, and the others want that. */
static uint64_t skip_most(const struct object_file *o)
{
	return MAX(SKIP_BYTES, MIN(o->ahead, ahead_most(o)) / 2);
}

/* What to fetch for a read of which nothing is there; n of 0: just the bytes. */
static struct object_range window_for(const struct object_file *o, uint64_t off, size_t n,
				      bool *ret_goes_on)
{
	uint64_t tail = tail_of(o), ahead = MIN(o->ahead, ahead_most(o));

	*ret_goes_on = false;
	if (off >= tail && o->next < tail && o->o.bytes > SKIP_BYTES)
		return between_others(o, tail, off, o->o.bytes);
	*ret_goes_on = off >= o->next && off <= o->next + skip_most(o);
	if (!*ret_goes_on)
		return (struct object_range) { 0, 0 };
	return between_others(o, o->next, off,
			      MIN(o->o.bytes, MAX(off + n, o->next + ahead)));
}

/* A window of the range, shorter where there is no room; it is not fetched yet. NULL: there is no
 * room for what it is needed for, the n bytes at off. */
static struct object_window *window_new_locked(struct object_file *o,
					       struct object_range range, uint64_t off,
					       size_t n, bool goes_on)
{
	struct object_room *room = o->o.room;
	uint64_t least = MIN(off + n, range.off + range.n) - range.off;
	struct object_window *w;

	while (room->bytes + range.n > room->bytes_max && steal_locked(room))
		;
	range.n = MIN(range.n, room->bytes_max - MIN(room->bytes, room->bytes_max));
	w = range.n >= least ? calloc(1, sizeof(*w)) : NULL;
	if (!w)
		return NULL;
	w->file = o;
	w->serial = ++o->serial;
	w->goes_on = goes_on;
	w->at = range.off;
	w->end = range.off + range.n;
	room->bytes += range.n;
	TAILQ_INSERT_HEAD(&room->windows, w, in_room);
	TAILQ_INSERT_HEAD(&o->windows, w, in_file);
	return w;
}

/* Without the lock meanwhile. When it fails the window is gone. */
static int window_fetch_locked(struct object_window *w)
{
	struct object_file *o = w->file;
	const struct object_range range = { w->at, window_bytes(w) };
	uint64_t before = o->next;
	int r;

	if (w->goes_on) {
		o->next = w->end;
		o->ahead = MIN(2 * o->ahead, AHEAD_MAX);
	}
	w->fetching = true;
	lock_drop(&o->o.room->lock);
	r = object_get(o->o.os, o->key, range, &w->bytes);
	lock_take(&o->o.room->lock);
	w->fetching = false;
	pthread_cond_broadcast(&o->cond);
	if (r < 0) {
		o->failures++;
		if (w->goes_on && o->next == w->end)
			o->next = before;
		window_free_locked(w);
	}
	return r;
}

static void serve_locked(struct object_window *w, void *p, size_t n, uint64_t off)
{
	struct object_room *room = w->file->o.room;

	memcpy(p, w->bytes.p + (off - w->at), n);
	w->served += n + sizeof(struct frame_head);
	TAILQ_REMOVE(&room->windows, w, in_room);
	TAILQ_INSERT_HEAD(&room->windows, w, in_room);
	/* All of it was read. Nobody comes back: a pack kept open takes no memory. */
	if (w->served + sizeof(struct frame_head) >= window_bytes(w))
		window_free_locked(w);
}

/* Just these bytes, without the lock. A reader may go on behind them; but not where one is only
 * a little late. */
static int fetch_plain_locked(struct object_file *o, void *p, size_t n, uint64_t off)
{
	bool late = off < o->next && o->next - off < AHEAD_MAX;
	_cleanup_(buf_release) struct buf b = BUF_INIT;
	int r;

	lock_drop(&o->o.room->lock);
	r = object_get(o->o.os, o->key, (struct object_range) { off, n }, &b);
	lock_take(&o->o.room->lock);
	if (r == 0)
		memcpy(p, b.p, n);
	if (r == 0 && !late) {
		o->next = off + n;
		o->ahead = AHEAD_MIN;
	}
	return r;
}

/* The n bytes, the first ones of which no window has: those, so many more as one get brings along.
 * Where another was waited for and did not bring them each of those who waited asks for itself:
 * nobody waits for one after the other. Returns how many were read. */
static ssize_t read_asked_locked(struct object_file *o, void *p, size_t n, uint64_t off,
				 bool waited)
{
	struct object_range range = { 0, 0 };
	struct object_window *w = NULL;
	bool goes_on = false;
	int r;

	if (!waited)
		range = window_for(o, off, n, &goes_on);
	if (range.n)
		w = window_new_locked(o, range, off, n, goes_on);
	if (w) {
		r = window_fetch_locked(w);
		return r < 0 ? r : (ssize_t)0;
	}
	n = (size_t)(end_before_others(o, off, off + n) - off);
	r = fetch_plain_locked(o, p, n, off);
	return r < 0 ? r : (ssize_t)n;
}

/* Whether the windows under way will soon come to the byte at off. Who reads there is one of
 * several that read in order together, and the others' windows bring it. */
static bool is_early(const struct object_file *o, uint64_t off)
{
	const struct object_window *w;

	if (off <= o->next + skip_most(o) || off > o->next + AHEAD_MAX)
		return false;
	TAILQ_FOREACH(w, &o->windows, in_file)
	if (w->fetching && w->goes_on)
		break;
	return w;
}

static int read_windows_locked(struct object_file *o, uint8_t *p, size_t n, uint64_t off)
{
	unsigned waited = 0; /* the window that did not bring it yet */
	unsigned early = 0, failures = o->failures;

	while (n) {
		struct object_window *w = window_of(o, off);
		ssize_t got = 0;

		if (w && w->fetching && (!waited || waited == w->serial)) {
			waited = w->serial;
			lock_wait(&o->o.room->lock, &o->cond, 0);
			continue;
		}
		if (!w && !waited && early < EARLY_MAX && failures == o->failures &&
		    is_early(o, off)) {
			early++;
			lock_wait(&o->o.room->lock, &o->cond, 0);
			continue;
		}
		if (w && !w->fetching) {
			got = (ssize_t)MIN(n, w->end - off);
			serve_locked(w, p, (size_t)got, off);
		} else {
			got = read_asked_locked(o, p, n, off, waited);
		}
		if (got < 0)
			return (int)got;
		if (got)
			waited = 0;
		p += got;
		n -= (size_t)got;
		off += (uint64_t)got;
	}
	return 0;
}

static int read_locked(struct object_file *o, void *p, size_t n, uint64_t off)
{
	int r;

	if (!o->wrong || o->wrong_at != off)
		return read_windows_locked(o, p, n, off);
	r = fetch_plain_locked(o, p, n, off);
	if (r == 0)
		o->wrong = false;
	return r;
}

/* --- the file --- */

static ssize_t file_pread(struct io_file *f, void *p, size_t n, uint64_t off)
{
	struct object_file *o = file_of(f);
	struct range_key key = { .off = off };
	int r;

	if (off >= o->o.bytes)
		return 0;
	n = (size_t)MIN(n, o->o.bytes - off);
	key.n = n;
	memcpy(key.id, o->o.id, sizeof(key.id));
	if (o->o.cache && range_cache_get(o->o.cache, &key, p))
		return (ssize_t)n;
	lock_take(&o->o.room->lock);
	r = read_locked(o, p, n, off);
	lock_drop(&o->o.room->lock);
	if (r < 0)
		return r;
	if (o->o.cache)
		range_cache_put(o->o.cache, &key, p);
	return (ssize_t)n;
}

static void file_forget(struct io_file *f, uint64_t off)
{
	struct object_file *o = file_of(f);

	if (o->o.cache)
		range_cache_forget(o->o.cache, o->o.id, off);
	lock_take(&o->o.room->lock);
	o->wrong = true;
	o->wrong_at = off;
	lock_drop(&o->o.room->lock);
}

static int file_size(struct io_file *f, uint64_t *ret_bytes)
{
	*ret_bytes = file_of(f)->o.bytes;
	return 0;
}

static void file_close(struct io_file *f)
{
	struct object_file *o = file_of(f);
	struct object_window *w;

	lock_take(&o->o.room->lock);
	while ((w = TAILQ_FIRST(&o->windows)))
		window_free_locked(w);
	lock_drop(&o->o.room->lock);
	pthread_cond_destroy(&o->cond);
	free(o);
}

static const struct io_file_ops file_ops = {
	.pread = file_pread,
	.forget = file_forget,
	.size = file_size,
	.close = file_close,
};

int object_file_new(const struct object_file_opts *opts, struct io_file **ret)
{
	struct object_file *o = calloc(1, sizeof(*o));

	if (!o)
		return -ENOMEM;
	assert(strlen(opts->key) < sizeof(o->key));
	strcpy(o->key, opts->key);
	o->file.ops = &file_ops;
	o->o = *opts;
	o->o.key = o->key;
	o->ahead = AHEAD_MIN;
	TAILQ_INIT(&o->windows);
	lock_cond_init(&o->cond);
	*ret = &o->file;
	return 0;
}
