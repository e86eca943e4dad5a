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

/* 0: there is none. */
static unsigned get_varint(const uint8_t *p, const uint8_t *end, uint64_t *ret)
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

/* 0 when the entries are no entries. */
static unsigned next_entry(struct block_cursor *c, struct record *ret)
{
	const uint8_t *p = c->b->entries + c->off, *end = c->b->entries + c->b->bytes;
	uint64_t n, delta;
	unsigned a, b;

	a = get_varint(p, end, &n);
	b = a ? get_varint(p + a, end, &delta) : 0;
	if (!b || n >> 1 > UINT32_MAX || delta > (uint64_t)(INT64_MAX - c->time))
		return 0;
	c->time += (int64_t)delta;
	*ret = (struct record) { c->b->first + c->i, c->at, c->time, (uint32_t)(n >> 1),
				 n & 1 };
	return a + b;
}

bool block_next(struct block_cursor *c, struct record *ret)
{
	unsigned len;

	if (c->i == c->b->n)
		return false;
	len = next_entry(c, ret);
	assert(len);
	c->off += len;
	c->at += ret->n;
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

int block_get(struct span value, struct block *ret)
{
	const struct block_row *row = (const void *)value.p;
	struct block_cursor c = { .b = ret };
	struct record rec;
	unsigned len;

	if (value.n < sizeof(*row) || value.n > BLOCK_ROW_MAX ||
	    le16_get(row->n) > BLOCK_RECORDS_MAX || (int64_t)le64_get(row->time) < 0)
		return err_set(E_CORRUPT, "a block of a queue's table has a wrong head");
	ret->first = le64_get(row->first);
	ret->at = le64_get(row->at);
	ret->time = (int64_t)le64_get(row->time);
	ret->n = le16_get(row->n);
	ret->bytes = (unsigned)(value.n - sizeof(*row));
	memcpy(ret->entries, row->entries, ret->bytes);
	c.at = ret->at;
	c.time = ret->time;
	for (; c.i < ret->n; c.i++) {
		len = next_entry(&c, &rec);
		if (!len || c.at > INT64_MAX - (uint64_t)rec.n)
			return err_set(E_CORRUPT,
				       "a block of a queue's table has a wrong entry");
		c.off += len;
		c.at += rec.n;
	}
	if (c.off != ret->bytes)
		return err_set(E_CORRUPT, "a block of a queue's table is too long");
	ret->end = c.at;
	ret->last_time = c.time;
	return 0;
}
