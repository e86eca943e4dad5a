/* block.h - some hundred records of a queue: how long each is, and when it came.
 *
 * Invariants (block_check): n entries take `bytes` bytes exactly; times never go back; n is
 * at most BLOCK_RECORDS_MAX. */
#ifndef ROPEFS_QUEUE_BLOCK_H
#define ROPEFS_QUEUE_BLOCK_H

#include "core/base/buf.h"
#include "core/queue/queue_format.h"

struct block {
	uint64_t first; /* id */
	uint64_t at; /* stream offset of its first byte */
	int64_t time;
	uint64_t end; /* stream offset behind its last byte */
	int64_t last_time;
	unsigned n;
	unsigned bytes; /* of entries */
	uint8_t entries[BLOCK_ENTRIES_BYTES];
};

struct record {
	uint64_t id;
	uint64_t at; /* stream offset */
	int64_t time;
	uint32_t n; /* bytes */
	bool gap;
};

/* Without records; the first one brings its time. */
void block_begin(struct block *b, uint64_t first, uint64_t at);
/* False: it is full, and as it was. time is not before the last one's. */
bool block_add(struct block *b, uint32_t n, bool gap, int64_t time);

/* Might the next record not fit? */
bool block_is_full(const struct block *b);

struct block_cursor {
	const struct block *b;
	unsigned i, off;
	uint64_t at;
	int64_t time;
};
struct block_cursor block_walk(const struct block *b);
bool block_next(struct block_cursor *c, struct record *ret);
/* The record with an id that the block has. */
void block_find(const struct block *b, uint64_t id, struct record *ret);

#define BLOCK_ROW_MAX (sizeof(struct block_row) + BLOCK_ENTRIES_BYTES)
/* Returns the bytes of the row's value. */
size_t block_put(const struct block *b, uint8_t to[BLOCK_ROW_MAX]);
/* -E_CORRUPT when the value is no block. */
int block_get(struct span value, struct block *ret);
/* In a row's value, without taking all of it over: the first record with at least that id and at
 * least that time. 1; 0: there is none; -E_CORRUPT. */
int block_seek(struct span value, uint64_t id, int64_t time, struct record *ret);

#endif
