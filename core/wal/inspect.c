/* inspect.c - the log in words, for people who look at a store that is not mounted. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "core/base/err.h"
#include "core/wal/segment.h"

struct inspect {
	struct io *io;
	const struct keys *keys;
	void (*print)(void *arg, const char *line);
	wal_record_fn fn;
	void *arg;
	struct buf frame;
	uint64_t *first_lsns; /* of each segment in the listing, 0: bad header */
	uint64_t durable_lsn;
	int result; /* of the first thing wrong */
};

static _printf_(2, 3) void say(struct inspect *in, const char *fmt, ...)
{
	char line[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	in->print(in->arg, line);
}

/* Says what is wrong; the first of it is the result. */
static void wrong(struct inspect *in, uint64_t number, uint64_t at, const char *what)
{
	char name[WAL_NAME_BYTES];

	segment_name(number, name);
	say(in, "  WRONG at offset %" PRIu64 ": %s", at, what);
	if (in->result == 0)
		in->result = err_set(E_CORRUPT,
				     "log segment %s at offset %" PRIu64 ": %s; bring "
				     "the file back from a copy",
				     name, at, what);
}

static int inspect_records(struct inspect *in, const struct frame_info *info)
{
	struct span rest =
		span_of(in->frame.p + sizeof(struct frame_head), info->body_bytes);
	uint64_t lsn = info->first_lsn;
	struct record rec;

	if (!in->keys || !in->fn)
		return 0;
	while (record_take(&rest, &rec) > 0) {
		int r = in->fn(in->arg, lsn++, rec.type, rec.body);

		if (r != 0)
			return r;
	}
	return 0;
}

static int inspect_end(struct inspect *in, const struct segment *s, uint64_t at,
		       uint64_t next_lsn, uint64_t limit, bool torn)
{
	struct frame_scan scan;
	bool cut = false;
	int r;

	r = segment_scan(s, align_up(at + 1, WAL_BLOCK), s->bytes, UINT64_MAX, 0, &scan);
	if (r == 0)
		r = segment_is_cut(s, &cut);
	if (r < 0)
		return r;
	if (next_lsn <= MAX(in->durable_lsn, scan.durable_lsn) ||
	    (limit != UINT64_MAX && next_lsn < limit))
		wrong(in, s->number, at, "a frame that was durable does not verify");
	else if (cut)
		wrong(in, s->number, at, "the file is shorter than it was made");
	else if (torn || scan.frames > 0)
		say(in, "  torn tail at offset %" PRIu64, at);
	else
		say(in, "  end at offset %" PRIu64, at);
	return 0;
}

static int inspect_frames(struct inspect *in, const struct segment *s, uint64_t limit)
{
	uint64_t next_lsn = s->first_lsn, at = WAL_BLOCK;

	while (next_lsn < limit) {
		struct frame_info info;
		bool torn = false;
		int r;

		r = frame_find(s, &at, next_lsn, &in->frame, &info, &torn);
		if (r == -EBADMSG)
			return inspect_end(in, s, at, next_lsn, limit, torn);
		if (r < 0)
			return r;
		say(in,
		    "  frame at %" PRIu64 ": LSN %" PRIu64 "..%" PRIu64 ", %" PRIu32
		    " body bytes, durable LSN %" PRIu64,
		    at, info.first_lsn, info.first_lsn + info.records - 1,
		    info.body_bytes, info.durable_lsn);
		r = inspect_records(in, &info);
		if (r != 0)
			return r;
		in->durable_lsn = MAX(in->durable_lsn, info.durable_lsn);
		next_lsn += info.records;
		at = frame_end(at, info.body_bytes);
	}
	say(in, "  goes on in a later segment from LSN %" PRIu64, limit);
	return 0;
}

static int inspect_segment(struct inspect *in, uint64_t number, uint64_t limit)
{
	_cleanup_(segment_release) struct segment s = SEGMENT_NONE;
	char name[WAL_NAME_BYTES];
	int r;

	segment_name(number, name);
	r = segment_open(in->io, in->keys, number, IO_MEDIUM, &s);
	if (r == -EBADMSG) {
		say(in, "%s", name);
		wrong(in, number, 0, "the header does not verify");
		return 0;
	}
	if (r < 0)
		return r;
	say(in, "%s: epoch %016" PRIx64 ", first LSN %" PRIu64 ", %" PRIu64 " bytes",
	    name, s.epoch, s.first_lsn, s.bytes);
	if (limit <= s.first_lsn) {
		say(in, "  superseded from LSN %" PRIu64 " on", limit);
		return 0;
	}
	return inspect_frames(in, &s, limit);
}

static int first_lsn_of(struct inspect *in, uint64_t number, uint64_t *ret)
{
	_cleanup_(segment_release) struct segment s = SEGMENT_NONE;
	int r;

	r = segment_open(in->io, in->keys, number, IO_MEDIUM, &s);
	if (r < 0 && r != -EBADMSG)
		return r;
	*ret = s.first_lsn;
	return 0;
}

static uint64_t limit_of(const struct inspect *in, size_t i, size_t n)
{
	uint64_t limit = UINT64_MAX;

	for (i++; i < n; i++)
		if (in->first_lsns[i])
			limit = MIN(limit, in->first_lsns[i]);
	return limit;
}

static int inspect_all(struct inspect *in, const struct wal_listing *l)
{
	int r;

	in->first_lsns = calloc(l->n_segments + 1, sizeof(uint64_t));
	if (!in->first_lsns)
		return -ENOMEM;
	for (size_t i = 0; i < l->n_segments; i++) {
		r = first_lsn_of(in, l->segments[i], &in->first_lsns[i]);
		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < l->n_segments; i++) {
		r = inspect_segment(in, l->segments[i], limit_of(in, i, l->n_segments));
		if (r != 0)
			return r;
	}
	say(in, "%zu segments, %zu spare files", l->n_segments, l->n_spares);
	return in->result;
}

int wal_inspect(struct io *io, const struct keys *keys,
		void (*print)(void *arg, const char *line), wal_record_fn fn, void *arg)
{
	_cleanup_(listing_release) struct wal_listing l = { 0 };
	struct inspect in = {
		.io = io, .keys = keys, .print = print, .fn = fn, .arg = arg
	};
	int r;

	r = wal_list(io, &l);
	if (r < 0)
		return r;
	r = inspect_all(&in, &l);
	buf_release(&in.frame);
	free(in.first_lsns);
	return r;
}
