/* frame.c - frames and records: sealing, finding, taking apart. Nothing in a head is used
 * before its CRC and epoch fit, nothing in a body before its tag does. */
#include <errno.h>
#include <string.h>

#include "core/base/crc.h"
#include "core/base/mutant.h"
#include "core/wal/segment.h"

#define SCAN_BYTES 1048576u

static uint32_t frame_crc(const struct segment *s, uint64_t at,
			  const struct frame_head *h)
{
	struct {
		uint8_t store_id[STORE_ID_BYTES];
		le64 number;
		le64 at;
	} context;
	uint32_t crc;

	memcpy(context.store_id, s->store_id, STORE_ID_BYTES);
	context.number = le64_put(MUTANT(CRC_BARE) ? 0 : s->number);
	context.at = le64_put(at);
	crc = crc32c(0, &context, sizeof(context));
	return crc32c(crc, h->epoch.b, sizeof(*h) - offsetof(struct frame_head, epoch));
}

static struct span frame_aad(const struct frame_head *h)
{
	return span_of((const uint8_t *)h + FRAME_AAD_OFF, FRAME_AAD_BYTES);
}

void frame_seal(const struct segment *s, uint64_t at, const struct frame_info *info,
		uint8_t *p)
{
	struct nonce nonce = nonce_counter(at);
	struct frame_head h = {
		.magic = le32_put(FRAME_MAGIC),
		.epoch = le64_put(s->epoch),
		.first_lsn = le64_put(info->first_lsn),
		.durable_lsn = le64_put(info->durable_lsn),
		.body_bytes = le32_put(info->body_bytes),
		.records = le32_put(info->records),
	};

	assert(at >= WAL_BLOCK && at % FRAME_ALIGN == 0);
	assert(info->records > 0 && info->durable_lsn < info->first_lsn);
	aead_seal(s->aead, &nonce, frame_aad(&h), p + sizeof(h), info->body_bytes,
		  p + sizeof(h), h.tag);
	h.crc = le32_put(frame_crc(s, at, &h));
	memcpy(p, &h, sizeof(h));
}

int frame_unseal(const struct segment *s, uint64_t at, uint8_t *p)
{
	struct nonce nonce = nonce_counter(at);
	struct frame_head h;

	memcpy(&h, p, sizeof(h));
	return aead_open(s->aead, &nonce, frame_aad(&h), p + sizeof(h),
			 le32_get(h.body_bytes), h.tag, p + sizeof(h));
}

/* 0 or -EBADMSG. Fits: the frame lies within the segment. */
static int head_parse(const struct segment *s, uint64_t at, const uint8_t *p,
		      struct frame_info *ret)
{
	struct frame_info info;
	struct frame_head h;

	memcpy(&h, p, sizeof(h));
	if (le32_get(h.magic) != FRAME_MAGIC || le64_get(h.epoch) != s->epoch ||
	    le32_get(h.crc) != frame_crc(s, at, &h))
		return -EBADMSG;
	info = (struct frame_info) {
		.first_lsn = le64_get(h.first_lsn),
		.durable_lsn = le64_get(h.durable_lsn),
		.body_bytes = le32_get(h.body_bytes),
		.records = le32_get(h.records),
	};
	if (info.body_bytes == 0 || info.body_bytes > FRAME_BODY_MAX ||
	    info.records == 0 || info.durable_lsn >= info.first_lsn ||
	    s->bytes - at < sizeof(h) + info.body_bytes)
		return -EBADMSG;
	*ret = info;
	return 0;
}

/* Leaves head and body of the frame at `at` in b, as they lie there; the first read
 * brings a block, which is all of it for a small one. */
static int frame_read(const struct segment *s, uint64_t at, struct buf *b,
		      struct frame_info *ret, bool *ret_torn)
{
	struct frame_info info;
	size_t whole, got;
	ssize_t n;
	int r;

	b->n = 0;
	if (at >= s->bytes || s->bytes - at < sizeof(struct frame_head))
		return -EBADMSG;
	r = buf_reserve(b, WAL_BLOCK);
	if (r < 0)
		return r;
	n = io_pread(s->file, b->p, MIN((uint64_t)WAL_BLOCK, s->bytes - at), at);
	if (n < 0)
		return (int)n;
	got = (size_t)n;
	if (got < sizeof(struct frame_head) || head_parse(s, at, b->p, &info) < 0)
		return -EBADMSG;
	*ret_torn = true; /* until its body is there */
	whole = sizeof(struct frame_head) + info.body_bytes;
	b->n = got;
	r = whole > got ? buf_reserve(b, whole - got) : 0;
	if (r < 0)
		return r;
	if (whole > got)
		r = io_pread_all(s->file, b->p + got, whole - got, at + got);
	if (r < 0)
		return r == -ENODATA ? -EBADMSG : r;
	b->n = whole;
	*ret = info;
	return 0;
}

static int frame_at(const struct segment *s, uint64_t at, uint64_t next_lsn,
		    struct buf *b, struct frame_info *ret, bool *ret_torn)
{
	struct frame_info info;
	bool torn = false;
	int r;

	r = frame_read(s, at, b, &info, &torn);
	if (r == 0 && info.first_lsn != next_lsn && !MUTANT(CRC_BARE))
		return -EBADMSG;
	if (r == 0 && s->aead)
		r = frame_unseal(s, at, b->p);
	if (r < 0) {
		*ret_torn = *ret_torn || torn;
		return r;
	}
	*ret = info;
	return 0;
}

int frame_find(const struct segment *s, uint64_t *at, uint64_t next_lsn, struct buf *body,
	       struct frame_info *ret, bool *ret_torn)
{
	uint64_t block = align_up(*at, WAL_BLOCK);
	int r;

	assert(*at >= WAL_BLOCK && *at % FRAME_ALIGN == 0);
	assert(next_lsn > 0);
	*ret_torn = false;
	r = frame_at(s, *at, next_lsn, body, ret, ret_torn);
	if (r != -EBADMSG || *ret_torn || block == *at)
		return r;
	r = frame_at(s, block, next_lsn, body, ret, ret_torn);
	if (r == 0 || *ret_torn)
		*at = block;
	return r;
}

static void scan_note(const struct segment *s, uint64_t at, const uint8_t *p,
		      uint64_t after, uint64_t upto, struct frame_scan *scan)
{
	struct frame_info info;

	if (head_parse(s, at, p, &info) < 0)
		return;
	scan->frames++;
	scan->durable_lsn = MAX(scan->durable_lsn, info.durable_lsn);
	if (scan->resume_at || info.first_lsn <= after || info.first_lsn > upto)
		return;
	scan->resume_at = at;
	scan->resume_lsn = info.first_lsn;
}

int segment_scan(const struct segment *s, uint64_t at, uint64_t end, uint64_t after,
		 uint64_t upto, struct frame_scan *ret)
{
	_cleanup_free_ uint8_t *p = NULL;
	struct frame_scan scan = { 0 };

	assert(at >= WAL_BLOCK && at % WAL_BLOCK == 0);
	p = malloc(SCAN_BYTES);
	if (!p)
		return -ENOMEM;
	end = MIN(end, s->bytes);
	while (at < end) {
		ssize_t n = io_pread(s->file, p, MIN((uint64_t)SCAN_BYTES, end - at), at);

		if (n < 0)
			return (int)n;
		if (n == 0)
			break;
		for (size_t i = 0; i + sizeof(struct frame_head) <= (size_t)n;
		     i += MUTANT(SKIP_HOLE) ? FRAME_ALIGN : WAL_BLOCK)
			scan_note(s, at + i, p + i, after, upto, &scan);
		at += align_up((uint64_t)n, WAL_BLOCK);
	}
	*ret = scan;
	return 0;
}

size_t record_head_put(uint8_t *p, size_t body_bytes, uint8_t type, bool more)
{
	size_t n = 0;

	while (body_bytes >= 0x80) {
		p[n++] = (uint8_t)(body_bytes | 0x80);
		body_bytes >>= 7;
	}
	p[n++] = (uint8_t)body_bytes;
	p[n++] = (uint8_t)(type | (more ? RECORD_MORE : 0));
	return n;
}

int record_take(struct span *rest, struct record *ret)
{
	size_t bytes = 0, n = 0;

	if (rest->n == 0)
		return 0;
	for (unsigned shift = 0;; shift += 7) {
		if (n == rest->n || n == RECORD_HEAD_MAX - 1)
			return -EBADMSG;
		bytes |= (size_t)(rest->p[n] & 0x7f) << shift;
		if (!(rest->p[n++] & 0x80))
			break;
	}
	if (n == rest->n || bytes > rest->n - n - 1)
		return -EBADMSG;
	ret->type = rest->p[n] & (uint8_t)~RECORD_MORE;
	ret->more = rest->p[n++] & RECORD_MORE;
	ret->body = span_of(rest->p + n, bytes);
	ret->whole = span_of(rest->p, n + bytes);
	*rest = span_of(rest->p + n + bytes, rest->n - n - bytes);
	return 1;
}
