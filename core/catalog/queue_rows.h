/* queue_rows.h - rows of queues: the queue itself, the blocks of its table by id and by time,
 * marks of time, cursors. What is in them: core/queue/queue_format.h. Values given out are
 * borrowed until the next edit of the catalog or nodes_trim(). */
#ifndef ROPEFS_CATALOG_QUEUE_ROWS_H
#define ROPEFS_CATALOG_QUEUE_ROWS_H

#include "core/catalog/catalog.h"

#define CURSOR_NAME_MAX 128u

int catalog_get_queue(struct catalog *c, uint64_t ino, struct span *ret); /* -ENOENT */
int catalog_put_queue(struct catalog *c, uint64_t ino, struct span value);

/* 1 with the first queue whose number is > after; 0: none. */
int catalog_next_queue(struct catalog *c, uint64_t after, uint64_t *ret_ino);

/* The block that still grows. */
int catalog_get_tail(struct catalog *c, uint64_t ino, struct span *ret); /* -ENOENT */
int catalog_put_tail(struct catalog *c, uint64_t ino, struct span value);

struct block_key {
	uint64_t ino;
	uint64_t last_id; /* of its last record */
	int64_t last_time;
};
/* A full block and its row by time: both, or an error and neither. */
int catalog_add_block(struct catalog *c, const struct block_key *key, struct span value);
int catalog_del_block(struct catalog *c, const struct block_key *key);
/* 1 with the first full block whose last id is >= id; 0: there is none. */
int catalog_find_block(struct catalog *c, uint64_t ino, uint64_t id, struct span *ret);
/* 1 with the last id of the first full block whose last time is >= time; 0: none. */
int catalog_find_time(struct catalog *c, uint64_t ino, int64_t time,
		      uint64_t *ret_last_id);

int catalog_put_mark(struct catalog *c, uint64_t ino, uint64_t id, struct span value);
int catalog_del_mark(struct catalog *c, uint64_t ino, uint64_t id);
/* 1 with the last mark of an id <= id; 0: none. */
int catalog_find_mark(struct catalog *c, uint64_t ino, uint64_t id, uint64_t *ret_id,
		      struct span *ret);

int catalog_get_cursor(struct catalog *c, uint64_t ino, struct span name,
		       struct span *ret); /* -ENOENT */
int catalog_put_cursor(struct catalog *c, uint64_t ino, struct span name,
		       struct span value);
int catalog_del_cursor(struct catalog *c, uint64_t ino, struct span name); /* -ENOENT */
/* 1 with the first cursor whose name is above `after` (n 0: the first); 0: none. */
int catalog_next_cursor(struct catalog *c, uint64_t ino, struct span after,
			struct span *ret_name, struct span *ret);

/* Drops the table of an emptied queue: blocks, tail, marks; not the queue's row. */
int catalog_del_table(struct catalog *c, uint64_t ino);

#endif
