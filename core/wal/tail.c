/* tail.c - the end of a log that was found, as far as no frame tells it to be durable.
 *
 * It may be in the cache of the system only, and there count as written: the sync of a writer
 * that was killed since had failed, so that another one would do nothing and report success.
 * So recovery writes it again. Not in its place: most of the time it is durable and was
 * acknowledged, and a disk that loses power spoils the sector it is writing. The segment that
 * recovery begins holds the tail's records once more, durable before the segment has its name;
 * what the old one holds from there on then no longer counts (replay.c). */
#include <errno.h>
#include <string.h>

#include "core/base/mutant.h"
#include "core/wal/wal_priv.h"

enum { TAIL_PIECE = 1 << 20 }; /* bytes that are read and written at once */

bool tail_counts(const struct wal *w, uint64_t next_lsn)
{
	return !MUTANT(RECOVERED_UNSYNCED) && w->tail.from < w->tail.to &&
	       w->tail.first_lsn < next_lsn && w->tail.last_lsn + 1 >= next_lsn;
}

bool tail_fits(const struct wal *w)
{
	return w->tail.to - w->tail.from + 2 * WAL_BLOCK <= w->segment_bytes;
}

/* Bytes of the first n records of a body that has at least as many. */
static size_t records_bytes(struct span body, uint64_t n)
{
	struct span rest = body;
	struct record rec;

	while (n-- > 0 && record_take(&rest, &rec) > 0)
		;
	return body.n - rest.n;
}

/* Seals the plain frame in *b for its place in *to, and writes it with zeros up to a block. */
static int frame_put(const struct segment *to, uint64_t at, const struct frame_info *info,
		     struct buf *b)
{
	uint64_t end = at + sizeof(struct frame_head) + info->body_bytes;
	uint64_t stop = align_up(end, WAL_BLOCK);
	int r;

	assert(stop <= to->bytes);
	b->n = end - at;
	r = buf_reserve(b, stop - end);
	if (r < 0)
		return r;
	frame_seal(to, at, info, b->p);
	memset(b->p + b->n, 0, stop - end);
	return io_pwrite(to->file, b->p, stop - at, at);
}

static int frames_copy(struct wal *w, const struct segment *from,
		       const struct segment *to, struct buf *b)
{
	uint64_t at = w->tail.from, lsn = w->tail.first_lsn, pos = WAL_BLOCK;
	struct frame_info info;
	bool torn;
	int r;

	while (at < w->tail.to && lsn < w->tail.end_lsn) {
		r = frame_find(from, &at, lsn, b, &info, &torn);
		if (r < 0)
			return r == -EBADMSG ? -EIO : r; /* it was read a moment ago */
		at = frame_end(at, info.body_bytes);
		lsn += info.records;
		if (lsn > w->tail.end_lsn) { /* ends with half a transaction */
			info.records -= (uint32_t)(lsn - w->tail.end_lsn);
			info.body_bytes = (uint32_t)records_bytes(
				span_of(b->p + sizeof(struct frame_head),
					info.body_bytes),
				info.records);
		}
		info.durable_lsn = w->tail.first_lsn - 1;
		r = frame_put(to, pos, &info, b);
		if (r < 0)
			return r;
		pos = frame_end(pos, info.body_bytes);
	}
	w->pos = align_up(pos, WAL_BLOCK);
	return 0;
}

int tail_copy(struct wal *w, const struct segment *to)
{
	_cleanup_(segment_release) struct segment from = SEGMENT_NONE;
	_cleanup_(buf_release) struct buf b = BUF_INIT;
	int r;

	r = segment_open(w->io, w->keys, w->tail.number, IO_READ, &from);
	return r < 0 ? r : frames_copy(w, &from, to, &b);
}

static int copy_onto_itself(struct io_file *file, uint64_t from, uint64_t to)
{
	_cleanup_free_ uint8_t *p = malloc(TAIL_PIECE);
	int r = p ? 0 : -ENOMEM;

	for (uint64_t at = from; r >= 0 && at < to; at += TAIL_PIECE) {
		size_t n = (size_t)MIN(to - at, (uint64_t)TAIL_PIECE);

		r = io_pread_all(file, p, n, at);
		if (r >= 0)
			r = io_pwrite(file, p, n, at);
	}
	return r;
}

int tail_write_in_place(struct wal *w)
{
	char name[WAL_NAME_BYTES];
	struct io_file *file;
	int r;

	segment_name(w->tail.number, name);
	r = io_open(w->io, name, IO_WRITE, &file);
	if (r < 0)
		return r;
	r = copy_onto_itself(file, w->tail.from, w->tail.to);
	io_closep(&file);
	return r;
}
