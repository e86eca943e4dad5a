/* api_view.c - what a view shows of a queue: which records, and how they are written. */
#include <errno.h>
#include <string.h>

#include "core/base/err.h"
#include "core/base/json.h"
#include "core/base/time_text.h"
#include "core/queue.h"

/* --- which records --- */

/* Ids as if nothing had been trimmed. */
struct selection {
	struct ropefs_queue q;
	uint64_t from, to;
	bool some; /* not just all that are there */
};

static uint64_t place(uint64_t n, bool from_end, uint64_t next)
{
	if (!from_end)
		return n;
	return n > next ? 0 : next - n;
}

static int by_number(const struct ropefs_view *v, struct selection *s)
{
	uint64_t from = v->range.has_from
				? place(v->range.from, v->range.from_end, s->q.next)
				: 0;
	uint64_t to = v->range.has_to ? place(v->range.to, v->range.to_end, s->q.next)
				      : s->q.next;
	bool open = v->has & ROPEFS_SEL_FOLLOW;

	if (from > to && v->range.has_to)
		return err_set(ERANGE, "the range %llu..%llu is reversed",
			       (unsigned long long)from, (unsigned long long)to);
	if (MAX(from, to) > s->q.next && !open)
		return err_set(ERANGE, "record %llu is not there yet; the next is %llu",
			       (unsigned long long)MAX(from, to),
			       (unsigned long long)s->q.next);
	if (v->range.has_to && from < to && to <= s->q.first)
		return err_set(E_TRIMMED,
			       "records %llu..%llu were trimmed; the first left is %llu",
			       (unsigned long long)from, (unsigned long long)to,
			       (unsigned long long)s->q.first);
	s->some |= v->range.has_from || v->range.has_to;
	s->from = from;
	s->to = to;
	return 0;
}

static struct ropefs_time when(const struct ropefs_when *w, int64_t now)
{
	return (struct ropefs_time) { w->relative ? now - w->ns : w->ns };
}

static int from_time(struct ropefs *fs, uint64_t ino, struct ropefs_time from,
		     struct selection *s)
{
	bool left = s->q.first < s->q.next;
	uint64_t id;
	int r = ropefs_queue_find_time(fs, ino, from, &id);

	if (r < 0)
		return r;
	/* How many of those that were trimmed were not older, nobody knows. */
	if (id <= s->q.first && (!left || from.ns < s->q.first_time.ns))
		id = 0;
	s->from = MAX(s->from, id);
	return 0;
}

static int to_time(struct ropefs *fs, uint64_t ino, struct ropefs_time to,
		   struct selection *s)
{
	uint64_t id;
	int r = ropefs_queue_find_time(fs, ino, to, &id);

	if (r < 0)
		return r;
	if (id == s->q.first && s->q.first)
		return err_set(E_TRIMMED,
			       "what was before that time was trimmed; the first "
			       "record left is of %s",
			       time_text(s->q.first_time.ns).s);
	s->to = MIN(s->to, id);
	return 0;
}

static int by_time(struct ropefs *fs, uint64_t ino, const struct ropefs_view *v,
		   struct selection *s)
{
	int64_t now = (int64_t)io_real_ns(fs->io);
	int r = 0;

	if (v->from_time.given && v->to_time.given &&
	    when(&v->from_time, now).ns > when(&v->to_time, now).ns)
		return err_set(ERANGE, "the times are reversed");
	if (v->from_time.given)
		r = from_time(fs, ino, when(&v->from_time, now), s);
	if (r >= 0 && v->to_time.given)
		r = to_time(fs, ino, when(&v->to_time, now), s);
	s->some |= v->from_time.given || v->to_time.given;
	return r;
}

static int by_cursor(struct ropefs *fs, uint64_t ino, const struct ropefs_view *v,
		     struct selection *s)
{
	struct ropefs_cursor c = { 0 };
	int r = ropefs_cursor_get(fs, ino, v->cursor, &c);

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	s->some = true;
	s->from = MAX(s->from, c.id);
	return 0;
}

bool ropefs_was_trimmed(int r)
{
	return r == -E_TRIMMED;
}

int ropefs_view_records(struct ropefs *fs, uint64_t ino, const struct ropefs_view *v,
			struct ropefs_selected *ret)
{
	struct selection s = { 0 };
	int r = ropefs_queue_info(fs, ino, &s.q);

	if (r < 0)
		return r;
	s.to = s.q.next;
	if (v->has & (ROPEFS_SEL_RECORDS | ROPEFS_SEL_LINES))
		r = by_number(v, &s);
	if (r >= 0 && v->has & ROPEFS_SEL_TIME)
		r = by_time(fs, ino, v, &s);
	if (r >= 0 && v->has & ROPEFS_SEL_CURSOR)
		r = by_cursor(fs, ino, v, &s);
	if (r < 0)
		return r;
	if (v->has & ROPEFS_SEL_LAST) {
		s.from = MAX(s.from, s.to - MIN(s.to, v->last));
		s.some = true;
	}
	*ret = (struct ropefs_selected) {
		.from = MAX(s.from, s.q.first),
		.to = MAX(s.to, s.q.first),
		.trimmed = s.some && s.from < MIN(s.to, s.q.first),
		.queue = s.q,
	};
	if (!(v->has & ROPEFS_SEL_FOLLOW))
		ret->from = MIN(ret->from, ret->to);
	return 0;
}

/* --- how they are written --- */

static int add_hex(struct buf *b, struct span s)
{
	static const char digits[] = "0123456789abcdef";
	int r = buf_reserve(b, 2 * s.n + 1);

	if (r < 0)
		return r;
	for (size_t i = 0; i < s.n; i++) {
		b->p[b->n++] = (uint8_t)digits[s.p[i] >> 4];
		b->p[b->n++] = (uint8_t)digits[s.p[i] & 15];
	}
	b->p[b->n++] = '\n';
	return 0;
}

static int add_payload(struct buf *b, struct span s)
{
	int r;

	if (utf8_valid(s)) {
		r = buf_printf(b, ",\"payload\":");
		return r < 0 ? r : json_add_string(b, s);
	}
	r = buf_printf(b, ",\"payload_base64\":");
	return r < 0 ? r : json_add_base64(b, s);
}

static int add_json(struct ropefs *fs, uint64_t ino, const struct ropefs_record *rec,
		    struct span payload, struct buf *b)
{
	struct ropefs_time true_time;
	int r = ropefs_queue_true_time(fs, ino, rec, &true_time);

	if (r >= 0)
		r = buf_printf(b, "{\"id\":%llu,\"time\":\"%s\"",
			       (unsigned long long)rec->id, time_text(rec->time.ns).s);
	if (r >= 0 && true_time.ns != rec->time.ns)
		r = buf_printf(b, ",\"true_time\":\"%s\"", time_text(true_time.ns).s);
	if (r >= 0 && rec->gap)
		r = buf_printf(b, ",\"gap\":true");
	if (r >= 0)
		r = add_payload(b, payload);
	return r < 0 ? r : buf_append(b, "}\n", 2);
}

int ropefs_record_text(struct ropefs *fs, uint64_t ino, const struct ropefs_record *rec,
		       const void *p, enum ropefs_as as, struct ropefs_text *to)
{
	struct buf b = { .p = to->p, .n = to->n, .cap = to->cap };
	struct span payload = span_of(p, rec->n);
	int r;

	if (as == ROPEFS_AS_HEX)
		r = add_hex(&b, payload);
	else if (as == ROPEFS_AS_JSON)
		r = add_json(fs, ino, rec,
			     to->lines && payload.n && payload.p[payload.n - 1] == '\n'
				     ? span_of(p, rec->n - 1)
				     : payload,
			     &b);
	else
		r = payload.n ? buf_append(&b, payload.p, payload.n) : 0;
	to->p = b.p;
	to->cap = b.cap;
	if (r >= 0)
		to->n = b.n;
	return r;
}
