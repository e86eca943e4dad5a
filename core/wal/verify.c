/* verify.c - reading the log again while it is in use.
 *
 * What was durable is not written over until its segment is trimmed, and then that is off the list
 * before its file is touched: so what does not verify, of a segment still listed, is rot. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/base/err.h"
#include "core/wal/wal_priv.h"

#define PACE_BYTES (64 * KIB)

/* A segment, as it was when the reading began. */
struct part {
	uint64_t number;
	uint64_t end_lsn; /* what counts of it, and was durable, is below */
};

struct verify {
	struct wal *w;
	const struct wal_judge *judge;
	uint64_t paced; /* bytes read and not told of */
};

static bool is_listed(struct wal *w, uint64_t number)
{
	const struct log_file *f;
	bool listed = false;

	lock_take(&w->lock);
	TAILQ_FOREACH(f, &w->segments, link)
	listed |= f->number == number;
	lock_drop(&w->lock);
	return listed;
}

static const char *words(uint64_t at, int r)
{
	if (r == -ENOENT)
		return "the file is gone";
	if (r != -EBADMSG)
		return err_text(r);
	return at >= WAL_BLOCK ? "a frame that was durable does not verify"
			       : "the header does not verify";
}

static void judge_bad(struct verify *v, const struct part *p, uint64_t at, int r)
{
	char name[WAL_NAME_BYTES], line[200];

	if (!is_listed(v->w, p->number))
		return;
	segment_name(p->number, name);
	snprintf(line, sizeof(line), "log segment %s at offset %llu: %s", name,
		 (unsigned long long)at, words(at, r));
	v->judge->bad(v->judge->arg, line);
}

static int pace(struct verify *v, uint64_t bytes)
{
	int r = 0;

	v->paced += bytes;
	if (v->paced >= PACE_BYTES) {
		r = v->judge->pace(v->judge->arg, v->paced);
		v->paced = 0;
	}
	return r;
}

static int verify_frames(struct verify *v, const struct part *p, const struct segment *s)
{
	_cleanup_(buf_release) struct buf frame = BUF_INIT;
	uint64_t next_lsn = s->first_lsn, at = WAL_BLOCK;
	int r = 0;

	while (r >= 0 && next_lsn < p->end_lsn) {
		struct frame_info info;
		bool torn;

		r = frame_find(s, &at, next_lsn, &frame, &info, &torn);
		if (r == -ENOMEM)
			return r;
		if (r <
		    0) { /* what is behind it can't be told apart from an earlier life */
			judge_bad(v, p, at, r);
			return 0;
		}
		next_lsn += info.records;
		at = frame_end(at, info.body_bytes);
		r = pace(v, info.body_bytes);
	}
	return r;
}

static int verify_part(struct verify *v, const struct part *p)
{
	_cleanup_(segment_release) struct segment s = SEGMENT_NONE;
	int r = segment_open(v->w->io, v->w->keys, p->number, IO_MEDIUM, &s);

	if (r == -ENOMEM)
		return r;
	if (r < 0) {
		judge_bad(v, p, 0, r);
		return 0;
	}
	return verify_frames(v, p, &s);
}

static int list_parts(struct wal *w, uint64_t from_lsn, struct buf *ret)
{
	const struct log_file *f;
	int r = 0;

	lock_take(&w->lock);
	TAILQ_FOREACH(f, &w->segments, link)
	{
		struct part p = { f->number, MIN(file_limit(f), w->durable_lsn + 1) };

		if (file_limit(f) > from_lsn && f->first_lsn < p.end_lsn && r >= 0)
			r = buf_append(ret, &p, sizeof(p));
	}
	lock_drop(&w->lock);
	return r;
}

int wal_verify(struct wal *w, uint64_t from_lsn, const struct wal_judge *judge)
{
	_cleanup_(buf_release) struct buf parts = BUF_INIT;
	struct verify v = { .w = w, .judge = judge };
	int r = list_parts(w, from_lsn, &parts);

	for (size_t at = 0; r >= 0 && at < parts.n; at += sizeof(struct part)) {
		struct part p;

		memcpy(&p, parts.p + at, sizeof(p));
		r = verify_part(&v, &p);
	}
	return r < 0 || !v.paced ? r : judge->pace(judge->arg, v.paced);
}
