/* stride.c - SIZE bytes out of every STEP (as NumStore's strides): read at once, changed by a
 * transaction, so that the pieces change together. */
#include <errno.h>
#include <string.h>

#include "core/base/err.h"
#include "core/base/util.h"
#include "core/ropefs.h"
#include "core/txn.h"

#define SPAN_BYTES (256 * KIB) /* read in one go, to take pieces from */

static int check(const struct ropefs_stride *s)
{
	if (!s->size || s->step < s->size)
		return err_set(EINVAL, "a stride takes at least 1 byte, and no more than "
				       "its step");
	return 0;
}

/* Where the last piece ends at the latest. */
static uint64_t end_of(const struct ropefs_stride *s, uint64_t size)
{
	return s->end ? MIN(s->end, size) : size;
}

/* Pieces that begin within a file of `size` bytes. */
static uint64_t pieces(const struct ropefs_stride *s, uint64_t size)
{
	uint64_t end = end_of(s, size);

	return s->at >= end ? 0 : (end - s->at - 1) / s->step + 1;
}

static uint64_t bytes_in(const struct ropefs_stride *s, uint64_t size)
{
	uint64_t n = pieces(s, size), last;

	if (!n)
		return 0;
	last = s->at + (n - 1) * s->step;
	return (n - 1) * s->size + MIN(s->size, end_of(s, size) - last);
}

int ropefs_stride_bytes(const struct ropefs_stride *s, uint64_t size, uint64_t *ret)
{
	int r = check(s);

	if (r >= 0)
		*ret = bytes_in(s, size);
	return r;
}

/* A part of the file in memory, moved along as pieces are taken from it. */
struct window {
	struct ropefs *fs;
	uint64_t ino, at;
	uint8_t *p;
	size_t n, cap;
	unsigned flags;
};

static int window_take(struct window *w, uint64_t at, uint8_t *to, size_t n)
{
	if (at < w->at || at + n > w->at + w->n) {
		ssize_t got = ropefs_read(w->fs, w->ino, at, w->p, w->cap, w->flags);

		if (got < 0)
			return (int)got;
		w->at = at;
		w->n = (size_t)got;
	}
	n = MIN(n, w->n);
	memcpy(to, w->p + (at - w->at), n);
	return (int)n;
}

ssize_t ropefs_stride_read(struct ropefs *fs, uint64_t ino, const struct ropefs_stride *s,
			   uint64_t from, void *p, size_t n, unsigned flags)
{
	struct window w = { .fs = fs, .ino = ino, .flags = flags };
	struct ropefs_attr a;
	uint64_t total;
	size_t done = 0;
	int r = ropefs_getattr(fs, ino, &a);

	if (r >= 0)
		r = ropefs_stride_bytes(s, a.size, &total);
	if (r < 0)
		return r;
	n = from >= total ? 0 : MIN(n, total - from);
	w.cap = MIN(SPAN_BYTES, s->step * (n / s->size + 2));
	w.cap = MAX(w.cap, MIN(s->size, SPAN_BYTES));
	w.p = malloc(w.cap);
	if (!w.p)
		return -ENOMEM;
	while (done < n) {
		uint64_t i = (from + done) / s->size, within = (from + done) % s->size;
		size_t piece = (size_t)MIN(s->size - within, n - done);

		r = window_take(&w, s->at + i * s->step + within, (uint8_t *)p + done,
				MIN(piece, w.cap));
		if (r <= 0)
			break;
		done += (size_t)r;
	}
	free(w.p);
	return r < 0 ? r : (ssize_t)done;
}

struct change {
	uint64_t ino;
	const struct ropefs_stride *s;
	/* What it does with a file of `size` bytes. */
	int (*fn)(struct ropefs_txn *t, const struct change *c, uint64_t size);
	const uint8_t *p; /* n bytes that it brings */
	uint64_t n;
};

static int change_steps(struct ropefs_txn *t, const void *arg)
{
	const struct change *c = arg;
	struct ropefs_attr a;
	int r = ropefs_txn_getattr(t, c->ino, &a);

	return r < 0 ? r : c->fn(t, c, a.size);
}

static int change(struct ropefs *fs, const struct change *c)
{
	int r = check(c->s);

	return r < 0 ? r : txn_do(fs, change_steps, c);
}

static int write_pieces(struct ropefs_txn *t, const struct change *c, uint64_t size)
{
	const struct ropefs_stride *s = c->s;
	uint64_t n = c->n;
	ssize_t r = 0;

	if (n != bytes_in(s, size))
		return err_set(
			EINVAL, "the stride has %llu bytes, and %llu were given for it",
			(unsigned long long)bytes_in(s, size), (unsigned long long)n);
	for (uint64_t i = 0; r >= 0 && i * s->size < n; i++)
		r = ropefs_txn_write(t, c->ino, s->at + i * s->step, c->p + i * s->size,
				     MIN(s->size, n - i * s->size), 0, NULL);
	return r < 0 ? (int)r : 0;
}

int ropefs_stride_write(struct ropefs *fs, uint64_t ino, const struct ropefs_stride *s,
			const void *p, size_t n)
{
	return change(fs, &(struct change) { ino, s, write_pieces, p, n });
}

static int insert_pieces(struct ropefs_txn *t, const struct change *c, uint64_t size)
{
	const struct ropefs_stride *s = c->s;
	uint64_t n = c->n;
	ssize_t r = 0;

	(void)size;
	for (uint64_t i = 0; r >= 0 && i * s->size < n; i++)
		r = ropefs_txn_insert(t, c->ino, s->at + i * s->step, c->p + i * s->size,
				      MIN(s->size, n - i * s->size));
	return r < 0 ? (int)r : 0;
}

int ropefs_stride_insert(struct ropefs *fs, uint64_t ino, const struct ropefs_stride *s,
			 const void *p, size_t n)
{
	return change(fs, &(struct change) { ino, s, insert_pieces, p, n });
}

static int cut_pieces(struct ropefs_txn *t, const struct change *c, uint64_t size)
{
	const struct ropefs_stride *s = c->s;
	uint64_t end = pieces(s, size);
	int r = 0;

	/* From the last to the first, which leaves the places of those before as they are. */
	for (uint64_t i = end; r >= 0 && i-- > 0;) {
		uint64_t at = s->at + i * s->step;

		r = ropefs_txn_cut(t, c->ino, at, MIN(s->size, end_of(s, size) - at));
	}
	return r;
}

int ropefs_stride_cut(struct ropefs *fs, uint64_t ino, const struct ropefs_stride *s)
{
	return change(fs, &(struct change) { ino, s, cut_pieces, NULL, 0 });
}
