/* replay.c - reading the log back.
 *
 * A segment counts from its own first LSN up to the least first LSN of all later ones: a
 * later one was begun only when all before its first LSN was durable, or by a recovery
 * that ended there. So each segment but the last must reach that limit, and the last one
 * whatever is known to have been durable; what falls short is rot. Beyond, the first
 * frame that does not verify ends the log.
 *
 * What is damaged below from_lsn, which a checkpoint holds, is stepped over if it can be. */
#include <errno.h>
#include <stdio.h>

#include "core/base/err.h"
#include "core/base/mutant.h"
#include "core/wal/wal_priv.h"

struct replay {
	struct wal *w;
	uint64_t from_lsn;
	wal_record_fn fn;
	void *arg;
	uint64_t next_lsn; /* of the record to come */
	uint64_t durable_lsn; /* known to have been */
	uint64_t
		limit_lsn; /* of the segment: what it holds from here on does not count */
	struct buf frame;
	struct buf txn; /* records of a transaction that is not whole yet */
	struct wal_replay_stats stats;
};

static int give(struct replay *rp, uint64_t lsn, const struct record *rec)
{
	rp->stats.records++;
	rp->stats.bytes += rec->body.n;
	return rp->fn(rp->arg, lsn, rec->type, rec->body);
}

/* rec ends the transaction whose other records wait in txn. */
static int give_transaction(struct replay *rp, const struct record *rec)
{
	struct span rest = buf_span(&rp->txn);
	uint64_t lsn = rp->stats.last_lsn;
	struct record held;
	int r;

	while (record_take(&rest, &held) > 0) {
		r = give(rp, ++lsn, &held);
		if (r != 0)
			return r;
	}
	rp->txn.n = 0;
	assert(lsn + 1 == rp->next_lsn);
	rp->stats.last_lsn = rp->next_lsn;
	return give(rp, rp->next_lsn, rec);
}

static int replay_record(struct replay *rp, const struct record *rec)
{
	if (rp->next_lsn < rp->from_lsn)
		return 0;
	if (rec->more)
		return buf_append(&rp->txn, rec->whole.p, rec->whole.n);
	return give_transaction(rp, rec);
}

/* 0 when the records are what the head says. They are authentic: the fault is ours. */
static int body_check(struct span rest, uint32_t records)
{
	struct record rec;
	uint32_t n = 0;
	int r;

	while ((r = record_take(&rest, &rec)) > 0)
		n++;
	return r < 0 || n != records ? -EBADMSG : 0;
}

static int replay_frame(struct replay *rp, const struct frame_info *info)
{
	struct span rest =
		span_of(rp->frame.p + sizeof(struct frame_head), info->body_bytes);
	struct record rec;
	int r;

	rp->durable_lsn = MAX(rp->durable_lsn, info->durable_lsn);
	if (rp->next_lsn + info->records <= rp->from_lsn) {
		rp->next_lsn += info->records;
		return 0;
	}
	while (rp->next_lsn < rp->limit_lsn && record_take(&rest, &rec) > 0) {
		r = replay_record(rp, &rec);
		if (r != 0)
			return r;
		rp->next_lsn++;
	}
	return 0;
}

static int read_frame(struct replay *rp, const struct segment *s, uint64_t *at,
		      struct frame_info *ret, bool *ret_torn)
{
	struct span body;
	int r;

	r = frame_find(s, at, rp->next_lsn, &rp->frame, ret, ret_torn);
	if (r < 0)
		return r;
	body = span_of(rp->frame.p + sizeof(struct frame_head), ret->body_bytes);
	return body_check(body, ret->records);
}

/* The last LSN that must be there, for what was found to be all that was acknowledged. */
static uint64_t needed_lsn(const struct replay *rp)
{
	if (rp->limit_lsn != UINT64_MAX)
		return rp->limit_lsn - 1;
	return rp->w->short_end ? rp->durable_lsn
				: MAX(rp->durable_lsn, rp->from_lsn - 1);
}

static void note_rot(struct replay *rp, uint64_t number, uint64_t at, const char *what)
{
	char name[WAL_NAME_BYTES];

	segment_name(number, name);
	rp->stats.rot = true;
	err_set(E_CORRUPT,
		"log segment %s %s at offset %llu: records from LSN %llu on were "
		"durable and can't be read; bring the file back from a copy",
		name, what, (unsigned long long)at, (unsigned long long)rp->next_lsn);
}

/* Where frames of the segment may begin, at most. */
static uint64_t written_end(const struct wal *w, const struct segment *s)
{
	if (!w->mark || atomic_load(&w->mark->segment) != s->number)
		return s->bytes;
	return atomic_load(&w->mark->end);
}

/* No frame at `at`: 1 when it goes on at another place, 0 when the segment has ended. */
static int past_the_end(struct replay *rp, const struct segment *s, uint64_t *at,
			bool torn)
{
	uint64_t end = written_end(rp->w, s);
	struct frame_scan scan;
	bool cut = false;
	int r;

	if (MUTANT(SKIP_HOLE))
		r = segment_scan(s, *at & ~(uint64_t)(WAL_BLOCK - 1), end, rp->next_lsn,
				 UINT64_MAX, &scan);
	else
		r = segment_scan(s, align_up(*at + 1, WAL_BLOCK), end, rp->next_lsn,
				 rp->from_lsn, &scan);
	if (r == 0)
		r = segment_is_cut(s, &cut);
	if (r < 0)
		return r;
	rp->durable_lsn = MAX(rp->durable_lsn, scan.durable_lsn);
	if (MUTANT(SKIP_HOLE) && scan.resume_at)
		rp->stats.last_lsn = scan.resume_lsn - 1;
	if (scan.resume_at && (MUTANT(SKIP_HOLE) || rp->next_lsn < rp->from_lsn)) {
		*at = scan.resume_at;
		rp->w->tail = (struct log_tail) { .number = s->number };
		rp->next_lsn = scan.resume_lsn;
		return 1;
	}
	if (rp->next_lsn <= needed_lsn(rp))
		note_rot(rp, s->number, *at, "does not verify");
	else if (cut)
		note_rot(rp, s->number, *at, "is shorter than it was made and ends");
	else
		rp->stats.torn_tail = torn || scan.frames > 0;
	return 0;
}

/* A frame that knows all before it to be durable begins the tail anew. */
static void note_tail(struct wal *w, uint64_t at, const struct frame_info *info)
{
	if (w->tail.from == w->tail.to || info->durable_lsn + 1 >= info->first_lsn) {
		w->tail.from = at;
		w->tail.first_lsn = info->first_lsn;
	}
	w->tail.to = frame_end(at, info->body_bytes);
	w->tail.last_lsn = info->first_lsn + info->records - 1;
}

static int replay_frames(struct replay *rp, const struct segment *s, uint64_t *at)
{
	while (rp->next_lsn < rp->limit_lsn) {
		struct frame_info info;
		bool torn = false;
		int r;

		r = read_frame(rp, s, at, &info, &torn);
		if (r == -EBADMSG) {
			r = past_the_end(rp, s, at, torn);
			if (r <= 0)
				return r;
			continue;
		}
		if (r < 0)
			return r;
		note_tail(rp->w, *at, &info);
		r = replay_frame(rp, &info);
		if (r != 0)
			return r;
		*at = frame_end(*at, info.body_bytes);
	}
	return 0;
}

static int replay_segment(struct replay *rp, struct log_file *f)
{
	_cleanup_(segment_release) struct segment s = SEGMENT_NONE;
	uint64_t at = WAL_BLOCK;
	int r;

	r = segment_open(rp->w->io, rp->w->keys, f->number, IO_READ, &s);
	if (r < 0)
		return r;
	rp->stats.segments++;
	rp->w->tail = (struct log_tail) { .number = f->number };
	r = replay_frames(rp, &s, &at);
	f->used_bytes = at;
	return r;
}

/* True when f holds nothing that counts: all is below from_lsn or done again later. */
static bool segment_unneeded(const struct log_file *f, uint64_t from_lsn)
{
	uint64_t limit = file_limit(f);

	return limit <= from_lsn || (f->good && limit <= f->first_lsn);
}

/* A bad one in the middle shows as a hole in the LSNs; the last one has no limit. */
static int replay_file(struct replay *rp, struct log_file *f, bool *first)
{
	if (segment_unneeded(f, rp->from_lsn))
		return 0;
	rp->limit_lsn = file_limit(f);
	if (!f->good && rp->limit_lsn == UINT64_MAX)
		note_rot(rp, f->number, 0, "has a header that does not verify");
	if (!f->good)
		return 0;
	if (*first)
		rp->next_lsn = MIN(f->first_lsn, rp->from_lsn);
	*first = false;
	if (f->first_lsn > rp->next_lsn) {
		note_rot(rp, f->number, 0,
			 "begins after a gap, its forerunner is missing");
		return 0;
	}
	return replay_segment(rp, f);
}

static void note_missing(struct replay *rp)
{
	rp->stats.rot = true;
	err_set(E_CORRUPT,
		"the folder " WAL_DIR " has no segments, but the log was in use up "
		"to LSN %llu: bring the folder back from a copy",
		(unsigned long long)rp->from_lsn - 1);
}

static int replay_all(struct replay *rp)
{
	struct log_file *f;
	bool first = true;
	int r;

	if (TAILQ_EMPTY(&rp->w->segments) && rp->from_lsn > 1)
		note_missing(rp);
	TAILQ_FOREACH(f, &rp->w->segments, link)
	{
		r = replay_file(rp, f, &first);
		if (r != 0)
			return r;
		if (rp->stats.rot)
			break;
	}
	if (!rp->stats.rot && rp->txn.n > 0)
		rp->stats.torn_tail = true;
	return 0;
}

int wal_replay(struct wal *w, uint64_t from_lsn, wal_record_fn fn, void *arg,
	       struct wal_replay_stats *ret)
{
	struct replay rp = {
		.w = w,
		.from_lsn = from_lsn,
		.fn = fn,
		.arg = arg,
		.next_lsn = from_lsn,
		.stats.last_lsn = from_lsn - 1,
	};
	int r;

	assert(from_lsn > 0);
	assert(!w->replayed && !w->started);
	w->replayed = true;
	r = replay_all(&rp);
	buf_release(&rp.frame);
	buf_release(&rp.txn);
	if (r == 0)
		*ret = rp.stats;
	return r;
}
