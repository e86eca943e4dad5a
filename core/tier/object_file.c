/* object_file.c - ranged gets with a window: the end of the object (a pack's directory and footer)
 * comes at once, and reads that follow one another fetch ahead.
 *
 * Invariant: a range that is asked for again right after is fetched again. So what turned out
 * wrong gets a second chance. */
#include "core/tier/object_file.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#define TAIL_BYTES  ((uint64_t)32 << 10)
#define AHEAD_BYTES ((uint64_t)512 << 10)

struct object_file {
	struct io_file file;
	struct object_store *os;
	char key[OBJECT_KEY_MAX + 1];
	uint64_t bytes;
	pthread_mutex_t mutex; /* guards what follows */
	struct buf window;
	uint64_t window_at;
	uint64_t last_off, last_end; /* of the last read */
};

static struct object_file *file_of(struct io_file *f)
{
	return container_of(f, struct object_file, file);
}

static bool in_window(const struct object_file *o, uint64_t off, size_t n)
{
	return off >= o->window_at && off - o->window_at <= o->window.n &&
	       n <= o->window.n - (off - o->window_at);
}

/* What to fetch for n bytes at off. */
static struct object_range range_for(const struct object_file *o, uint64_t off, size_t n)
{
	uint64_t tail = o->bytes - MIN(o->bytes, TAIL_BYTES);

	if (off >= tail)
		return (struct object_range) { tail, o->bytes - tail };
	if (off == o->last_end)
		n = (size_t)MIN(o->bytes - off, MAX(n, AHEAD_BYTES));
	return (struct object_range) { off, n };
}

static int fill(struct object_file *o, uint64_t off, size_t n)
{
	struct object_range range = range_for(o, off, n);
	int r;

	o->window.n = 0;
	o->window_at = range.off;
	r = object_get(o->os, o->key, range, &o->window);
	if (r < 0)
		o->window.n = 0;
	return r;
}

static ssize_t file_pread(struct io_file *f, void *p, size_t n, uint64_t off)
{
	struct object_file *o = file_of(f);
	int r = 0;

	if (off >= o->bytes)
		return 0;
	n = (size_t)MIN(n, o->bytes - off);
	pthread_mutex_lock(&o->mutex);
	if (!in_window(o, off, n) || off == o->last_off)
		r = fill(o, off, n);
	if (r == 0) {
		memcpy(p, o->window.p + (off - o->window_at), n);
		o->last_off = off;
		o->last_end = off + n;
		/* Nobody comes back for it: a pack kept open takes no memory. */
		if (o->last_end == o->window_at + o->window.n && o->last_end < o->bytes)
			buf_release(&o->window);
	}
	pthread_mutex_unlock(&o->mutex);
	return r < 0 ? r : (ssize_t)n;
}

static int file_size(struct io_file *f, uint64_t *ret_bytes)
{
	*ret_bytes = file_of(f)->bytes;
	return 0;
}

static void file_close(struct io_file *f)
{
	struct object_file *o = file_of(f);

	buf_release(&o->window);
	pthread_mutex_destroy(&o->mutex);
	free(o);
}

static const struct io_file_ops file_ops = {
	.pread = file_pread,
	.size = file_size,
	.close = file_close,
};

int object_file_new(struct object_store *os, const char *key, uint64_t bytes,
		    struct io_file **ret)
{
	struct object_file *o = calloc(1, sizeof(*o));

	if (!o)
		return -ENOMEM;
	assert(strlen(key) < sizeof(o->key));
	strcpy(o->key, key);
	o->file.ops = &file_ops;
	o->os = os;
	o->bytes = bytes;
	o->last_off = o->last_end = UINT64_MAX;
	pthread_mutex_init(&o->mutex, NULL);
	*ret = &o->file;
	return 0;
}
