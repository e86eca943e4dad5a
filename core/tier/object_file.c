/* object_file.c - ranged gets with a window of bytes fetched ahead.
 *
 *	the end of the object (a pack's directory and footer) comes at once
 *	reads that go on where the last window ended ─▶ the next window, twice as large
 *	any other read ─▶ a get of just its bytes; the window stays
 *
 * Readers come in any order, as the kernel reads ahead with many threads: so a read a little
 * behind the window's end counts as going on, and what was skipped is fetched along. One window
 * of a file is fetched at a time; who wants bytes of it waits, all others ask for themselves.
 * The room's lock guards the windows of all its files; no request is made under it.
 *
 * Invariants:
 *  1. What was given to forget() is asked for again: what turned out wrong gets a second chance.
 *  2. A window counts in the room from before it is fetched until it is released. */
#include "core/tier/object_file.h"

#include <errno.h>
#include <string.h>

#define TAIL_BYTES ((uint64_t)32 << 10)
#define AHEAD_MIN  ((uint64_t)512 << 10)
#define AHEAD_MAX  ((uint64_t)4 << 20)
#define SKIP_BYTES ((uint64_t)256 << 10) /* that a reader going on may leave out */

struct object_file {
	struct io_file file;
	struct object_file_opts o;
	char key[OBJECT_KEY_MAX + 1];
	/* The room's lock guards what follows. */
	pthread_cond_t cond; /* a window came, or failed */
	struct buf window;
	uint64_t window_at;
	uint64_t served; /* bytes of it */
	uint64_t next; /* where the window ended that was fetched last */
	uint64_t ahead; /* bytes of the next one */
	bool fetching; /* [fetch_at, fetch_end) */
	uint64_t fetch_at, fetch_end;
	bool wrong; /* the bytes at wrong_at are asked for anew */
	uint64_t wrong_at;
	size_t taken; /* of the room */
	TAILQ_ENTRY(object_file) link; /* while taken */
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
	TAILQ_INIT(&room->files);
}

void object_room_release(struct object_room *room)
{
	assert(!room->bytes);
	lock_release(&room->lock);
}

static void drop_window_locked(struct object_file *o)
{
	struct object_room *room = o->o.room;

	buf_release(&o->window);
	o->served = 0;
	if (!o->taken)
		return;
	assert(room->bytes >= o->taken);
	room->bytes -= o->taken;
	o->taken = 0;
	TAILQ_REMOVE(&room->files, o, link);
}

/* The file that was read longest ago, and is not fetching, gives up its window. */
static bool steal_locked(struct object_room *room)
{
	struct object_file *o;

	TAILQ_FOREACH_REVERSE(o, &room->files, object_files, link)
	if (!o->fetching) {
		drop_window_locked(o);
		return true;
	}
	return false;
}

/* Room for a window of `want` bytes, or of fewer. Returns how many. */
static size_t take_locked(struct object_file *o, size_t want)
{
	struct object_room *room = o->o.room;

	assert(!o->taken);
	while (room->bytes + want > room->bytes_max && steal_locked(room))
		;
	want = MIN(want, room->bytes_max - MIN(room->bytes, room->bytes_max));
	if (want) {
		o->taken = want;
		room->bytes += want;
		TAILQ_INSERT_HEAD(&room->files, o, link);
	}
	return want;
}

/* --- the window --- */

static bool in_window(const struct object_file *o, uint64_t off, size_t n)
{
	return off >= o->window_at && off - o->window_at <= o->window.n &&
	       n <= o->window.n - (off - o->window_at);
}

static bool is_wrong(const struct object_file *o, uint64_t off)
{
	return o->wrong && o->wrong_at == off;
}

static void serve_locked(struct object_file *o, void *p, size_t n, uint64_t off)
{
	memcpy(p, o->window.p + (off - o->window_at), n);
	o->served += n;
	TAILQ_REMOVE(&o->o.room->files, o, link);
	TAILQ_INSERT_HEAD(&o->o.room->files, o, link);
	/* But for the heads of frames all of it was read. Nobody comes back: a pack kept open
	 * takes no memory. */
	if (o->served >= o->window.n - o->window.n / 64)
		drop_window_locked(o);
}

/* The window to fetch for a read; n of 0: none, just the bytes. */
static struct object_range window_for(const struct object_file *o, uint64_t off, size_t n)
{
	uint64_t tail = o->o.bytes - MIN(o->o.bytes, TAIL_BYTES), end = off + n;

	if (o->fetching || is_wrong(o, off))
		return (struct object_range) { 0, 0 };
	if (off >= tail && o->next < tail && o->o.bytes > SKIP_BYTES)
		return (struct object_range) { tail, o->o.bytes - tail };
	if (end <= o->next || off > o->next + SKIP_BYTES)
		return (struct object_range) { 0, 0 };
	end = MIN(o->o.bytes, MAX(end, o->next + o->ahead));
	return (struct object_range) { o->next, end - o->next };
}

/* Gets range behind what b has, without the lock; then b is the window. */
static int get_window_locked(struct object_file *o, struct object_range range,
			     struct buf *b)
{
	uint64_t at = range.off - b->n;
	int r;

	o->fetching = true;
	o->fetch_at = at;
	o->fetch_end = range.off + range.n;
	lock_drop(&o->o.room->lock);
	r = object_get(o->o.os, o->key, range, b);
	lock_take(&o->o.room->lock);
	o->fetching = false;
	pthread_cond_broadcast(&o->cond);
	if (r < 0) {
		drop_window_locked(o);
		return r;
	}
	buf_swap(&o->window, b);
	o->window_at = at;
	if (range.off <= o->next) { /* not the object's end alone */
		o->next = range.off + range.n;
		o->ahead = MIN(2 * o->ahead, AHEAD_MAX);
	}
	return 0;
}

/* Fetches a window for the read; of the one before what the read begins with is taken along.
 * -ENOBUFS: there is no room. */
static int fetch_window_locked(struct object_file *o, struct object_range range,
			       uint64_t off, size_t n)
{
	_cleanup_(buf_release) struct buf b = BUF_INIT;
	size_t kept = 0, room;
	int r = 0;

	if (off < range.off && in_window(o, off, (size_t)(range.off - off))) {
		kept = (size_t)(range.off - off);
		r = buf_append(&b, o->window.p + (off - o->window_at), kept);
	} else if (off < range.off) {
		range.n += range.off - off;
		range.off = off;
	}
	drop_window_locked(o);
	if (r < 0)
		return r;
	room = take_locked(o, kept + range.n);
	if (range.off + room < off + n + kept) {
		drop_window_locked(o);
		return -ENOBUFS;
	}
	range.n = room - kept;
	return get_window_locked(o, range, &b);
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

static int read_window_locked(struct object_file *o, void *p, size_t n, uint64_t off)
{
	struct object_range range;
	int r = 0;

	while (o->fetching && off >= o->fetch_at && off + n <= o->fetch_end)
		lock_wait(&o->o.room->lock, &o->cond, 0);
	range = window_for(o, off, n);
	if (!in_window(o, off, n) && range.n)
		r = fetch_window_locked(o, range, off, n);
	if (r == 0 && in_window(o, off, n) && !is_wrong(o, off)) {
		serve_locked(o, p, n, off);
		return 0;
	}
	if (r == 0 || r == -ENOBUFS)
		r = fetch_plain_locked(o, p, n, off);
	if (r == 0 && is_wrong(o, off))
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
	r = read_window_locked(o, p, n, off);
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

	lock_take(&o->o.room->lock);
	drop_window_locked(o);
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
	lock_cond_init(&o->cond);
	*ret = &o->file;
	return 0;
}
