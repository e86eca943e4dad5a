#include "core/queue/block.h"

#include <string.h>

#include "core/base/err.h"

#define ENTRY_MAX 15u /* 5 bytes of a length below 2^32, 10 of a time */

void block_begin(struct block *b, uint64_t first, uint64_t at)
{
	b->first = first;
	b->at = b->end = at;
	b->time = b->last_time = 0;
	b->n = b->bytes = 0;
}

static unsigned put_varint(uint8_t *to, uint64_t v)
{
	unsigned n = 0;

	for (; v >= 0x80; v >>= 7)
		to[n++] = (uint8_t)(v | 0x80);
	to[n++] = (uint8_t)v;
	return n;
}

static unsigned get_long_varint(const uint8_t *p, const uint8_t *end, uint64_t *ret)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < 10 && p + i < end; i++) {
		v |= (uint64_t)(p[i] & 0x7f) << 7 * i;
		if (!(p[i] & 0x80)) {
			*ret = v;
			return i + 1;
		}
	}
	return 0;
}

/* 0: there is none. Most have one byte, or two. */
static inline unsigned get_varint(const uint8_t *p, const uint8_t *end, uint64_t *ret)
{
	if (end - p < 2)
		return get_long_varint(p, end, ret);
	if (!(p[0] & 0x80)) {
		*ret = p[0];
		return 1;
	}
	if (!(p[1] & 0x80)) {
		*ret = (uint64_t)(p[0] & 0x7f) | (uint64_t)p[1] << 7;
		return 2;
	}
	return get_long_varint(p, end, ret);
}

bool block_is_full(const struct block *b)
{
	return b->n == BLOCK_RECORDS_MAX || b->bytes > BLOCK_ENTRIES_BYTES - ENTRY_MAX;
}

bool block_add(struct block *b, uint32_t n, bool gap, int64_t time)
{
	uint8_t entry[ENTRY_MAX];
	unsigned len;

	if (!b->n)
		b->time = b->last_time = time;
	assert(time >= b->last_time);
	if (b->n == BLOCK_RECORDS_MAX)
		return false;
	len = put_varint(entry, (uint64_t)n << 1 | gap);
	len += put_varint(entry + len, (uint64_t)(time - b->last_time));
	if (len > BLOCK_ENTRIES_BYTES - b->bytes)
		return false;
	memcpy(b->entries + b->bytes, entry, len);
	b->bytes += len;
	b->n++;
	b->end += n;
	b->last_time = time;
	return true;
}

struct block_cursor block_walk(const struct block *b)
{
	return (struct block_cursor) { .b = b, .at = b->at, .time = b->time };
}

/* The entry at p, of the record behind the one before: *ret has that one's id, its time, and
 * where it ends. 0 when it is no entry. */
static inline unsigned next_entry(const uint8_t *p, const uint8_t *end,
				  struct record *ret)
{
	uint64_t n, delta;
	unsigned a, b;

	a = get_varint(p, end, &n);
	b = a ? get_varint(p + a, end, &delta) : 0;
	if (!b || n >> 1 > UINT32_MAX || delta > (uint64_t)(INT64_MAX - ret->time))
		return 0;
	ret->time += (int64_t)delta;
	ret->n = (uint32_t)(n >> 1);
	ret->gap = n & 1;
	return a + b;
}

bool block_next(struct block_cursor *c, struct record *ret)
{
	unsigned len;

	if (c->i == c->b->n)
		return false;
	*ret = (struct record) { .id = c->b->first + c->i, .at = c->at, .time = c->time };
	len = next_entry(c->b->entries + c->off, c->b->entries + c->b->bytes, ret);
	assert(len);
	c->off += len;
	c->at += ret->n;
	c->time = ret->time;
	c->i++;
	return true;
}

void block_find(const struct block *b, uint64_t id, struct record *ret)
{
	struct block_cursor c = block_walk(b);

	assert(id >= b->first && id - b->first < b->n);
	while (block_next(&c, ret) && ret->id < id)
		;
}

size_t block_put(const struct block *b, uint8_t to[BLOCK_ROW_MAX])
{
	struct block_row row = {
		.first = le64_put(b->first),
		.at = le64_put(b->at),
		.time = le64_put((uint64_t)b->time),
		.n = le16_put((uint16_t)b->n),
	};

	memcpy(to, &row, sizeof(row));
	memcpy(to + sizeof(row), b->entries, b->bytes);
	return sizeof(row) + b->bytes;
}

/* The head of a row, but for its entries. */
static int get_head(struct span value, struct block *ret)
{
	const struct block_row *row = (const void *)value.p;

	if (value.n < sizeof(*row) || value.n > BLOCK_ROW_MAX ||
	    le16_get(row->n) > BLOCK_RECORDS_MAX || (int64_t)le64_get(row->time) < 0)
		return err_set(E_CORRUPT, "a block of a queue's table has a wrong head");
	ret->first = le64_get(row->first);
	ret->at = le64_get(row->at);
	ret->time = (int64_t)le64_get(row->time);
	ret->n = le16_get(row->n);
	ret->bytes = (unsigned)(value.n - sizeof(*row));
	return 0;
}

static int wrong_entry(void)
{
	return err_set(E_CORRUPT, "a block of a queue's table has a wrong entry");
}

int block_get(struct span value, struct block *ret)
{
	const uint8_t *p = ret->entries, *end;
	struct record rec = { 0 };
	int r = get_head(value, ret);

	if (r < 0)
		return r;
	memcpy(ret->entries, value.p + sizeof(struct block_row), ret->bytes);
	end = p + ret->bytes;
	rec.at = ret->at;
	rec.time = ret->time;
	for (unsigned i = 0; i < ret->n; i++) {
		unsigned len = next_entry(p, end, &rec);

		if (!len || rec.at > INT64_MAX - (uint64_t)rec.n)
			return wrong_entry();
		p += len;
		rec.at += rec.n;
	}
	if (p != end)
		return err_set(E_CORRUPT, "a block of a queue's table is too long");
	ret->end = rec.at;
	ret->last_time = rec.time;
	return 0;
}

int block_seek(struct span value, uint64_t id, int64_t time, struct record *ret)
{
	const uint8_t *p, *end = value.p + value.n;
	struct block head;
	struct record rec = { 0 };
	int r = get_head(value, &head);

	if (r < 0)
		return r;
	p = value.p + sizeof(struct block_row);
	rec.id = head.first;
	rec.at = head.at;
	rec.time = head.time;
	for (unsigned i = 0; i < head.n; i++) {
		unsigned len = next_entry(p, end, &rec);

		if (!len || rec.at > INT64_MAX - (uint64_t)rec.n)
			return wrong_entry();
		if (rec.id >= id && rec.time >= time) {
			*ret = rec;
			return 1;
		}
		p += len;
		rec.at += rec.n;
		rec.id++;
	}
	return 0;
}
