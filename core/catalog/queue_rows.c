#include "core/catalog/queue_rows.h"

#include <errno.h>
#include <string.h>

#include "core/base/err.h"
#include "core/catalog/row.h"

struct queue_key {
	uint8_t n;
	uint8_t b[ROW_KEY_INO + CURSOR_NAME_MAX + 1];
};

static struct span key_span(const struct queue_key *k)
{
	return span_of(k->b, k->n);
}

static struct queue_key key_of(enum row_kind kind, uint64_t ino)
{
	struct queue_key k = { .n = ROW_KEY_INO };

	k.b[0] = (uint8_t)kind;
	be64_store(k.b + 1, ino);
	return k;
}

static struct queue_key part_key(uint64_t ino, uint8_t part)
{
	struct queue_key k = key_of(ROW_QUEUE, ino);

	k.b[k.n++] = part;
	return k;
}

static struct queue_key id_key(uint64_t ino, uint8_t part, uint64_t id)
{
	struct queue_key k = part_key(ino, part);

	be64_store(k.b + k.n, id);
	k.n += 8;
	return k;
}

static struct queue_key time_key(uint64_t ino, int64_t time, uint64_t id)
{
	struct queue_key k = key_of(ROW_TIME, ino);

	be64_store(k.b + k.n, (uint64_t)time);
	be64_store(k.b + k.n + 8, id);
	k.n += 16;
	return k;
}

static int get(struct catalog *c, const struct queue_key *k, struct span *ret)
{
	struct span value;
	int r = btree_get(&c->bt, key_span(k), &value);

	if (r >= 0)
		r = row_check(key_span(k), value);
	if (r >= 0)
		*ret = value;
	return r;
}

int catalog_get_queue(struct catalog *c, uint64_t ino, struct span *ret)
{
	struct queue_key k = key_of(ROW_QUEUE, ino);

	return get(c, &k, ret);
}

int catalog_next_queue(struct catalog *c, uint64_t after, uint64_t *ret_ino)
{
	struct queue_key k = key_of(ROW_QUEUE, after + 1);
	struct span key, value;
	int r = row_next(&c->bt, key_span(&k), 1, &key, &value);

	if (r > 0)
		*ret_ino = row_ino(key);
	return r;
}

int catalog_put_queue(struct catalog *c, uint64_t ino, struct span value)
{
	struct queue_key k = key_of(ROW_QUEUE, ino);

	return btree_put(&c->bt, key_span(&k), value);
}

int catalog_get_tail(struct catalog *c, uint64_t ino, struct span *ret)
{
	struct queue_key k = part_key(ino, ROW_PART_TAIL);

	return get(c, &k, ret);
}

int catalog_put_tail(struct catalog *c, uint64_t ino, struct span value)
{
	struct queue_key k = part_key(ino, ROW_PART_TAIL);

	return btree_put(&c->bt, key_span(&k), value);
}

int catalog_add_block(struct catalog *c, const struct block_key *key, struct span value)
{
	struct queue_key by_id = id_key(key->ino, ROW_PART_BLOCK, key->last_id);
	struct queue_key by_time = time_key(key->ino, key->last_time, key->last_id);
	int r = btree_put(&c->bt, key_span(&by_time), span_of(NULL, 0));

	if (r < 0)
		return r;
	r = btree_put(&c->bt, key_span(&by_id), value);
	if (r < 0) /* leaves a row by time that leads nowhere; readers step over it */
		btree_del(&c->bt, key_span(&by_time));
	return r;
}

int catalog_del_block(struct catalog *c, const struct block_key *key)
{
	struct queue_key by_id = id_key(key->ino, ROW_PART_BLOCK, key->last_id);
	struct queue_key by_time = time_key(key->ino, key->last_time, key->last_id);
	int r = btree_del(&c->bt, key_span(&by_time));

	return r < 0 ? r : btree_del(&c->bt, key_span(&by_id));
}

int catalog_find_block(struct catalog *c, uint64_t ino, uint64_t id, struct span *ret)
{
	struct queue_key k = id_key(ino, ROW_PART_BLOCK, id);
	struct span key;

	return row_next(&c->bt, key_span(&k), ROW_KEY_INO + 1, &key, ret);
}

int catalog_find_time(struct catalog *c, uint64_t ino, int64_t time,
		      uint64_t *ret_last_id)
{
	struct queue_key k = time_key(ino, MAX(time, 0), 0);
	struct span key, value;
	int r = row_next(&c->bt, key_span(&k), ROW_KEY_INO, &key, &value);

	if (r > 0)
		*ret_last_id = be64_load(key.p + ROW_KEY_INO + 8);
	return r;
}

int catalog_put_mark(struct catalog *c, uint64_t ino, uint64_t id, struct span value)
{
	struct queue_key k = id_key(ino, ROW_PART_MARK, ~id);

	return btree_put(&c->bt, key_span(&k), value);
}

int catalog_del_mark(struct catalog *c, uint64_t ino, uint64_t id)
{
	struct queue_key k = id_key(ino, ROW_PART_MARK, ~id);

	return btree_del(&c->bt, key_span(&k));
}

int catalog_find_mark(struct catalog *c, uint64_t ino, uint64_t id, uint64_t *ret_id,
		      struct span *ret)
{
	struct queue_key k = id_key(ino, ROW_PART_MARK, ~id);
	struct span key;
	int r = row_next(&c->bt, key_span(&k), ROW_KEY_INO + 1, &key, ret);

	if (r > 0)
		*ret_id = ~be64_load(key.p + ROW_KEY_INO + 1);
	return r;
}

static struct queue_key cursor_key(uint64_t ino, struct span name)
{
	struct queue_key k = key_of(ROW_CURSOR, ino);

	assert(name.n <= CURSOR_NAME_MAX);
	if (name.n)
		memcpy(k.b + k.n, name.p, name.n);
	k.n = (uint8_t)(k.n + name.n);
	return k;
}

int catalog_get_cursor(struct catalog *c, uint64_t ino, struct span name,
		       struct span *ret)
{
	struct queue_key k = cursor_key(ino, name);

	return get(c, &k, ret);
}

int catalog_put_cursor(struct catalog *c, uint64_t ino, struct span name,
		       struct span value)
{
	struct queue_key k = cursor_key(ino, name);

	return btree_put(&c->bt, key_span(&k), value);
}

int catalog_del_cursor(struct catalog *c, uint64_t ino, struct span name)
{
	struct queue_key k = cursor_key(ino, name);

	return btree_del(&c->bt, key_span(&k));
}

int catalog_next_cursor(struct catalog *c, uint64_t ino, struct span after,
			struct span *ret_name, struct span *ret)
{
	struct queue_key k = cursor_key(ino, after);
	struct span key;
	int r;

	if (after.n) /* the least name above it */
		k.b[k.n++] = 0;
	r = row_next(&c->bt, key_span(&k), ROW_KEY_INO, &key, ret);
	if (r > 0)
		*ret_name = span_of(key.p + ROW_KEY_INO, key.n - ROW_KEY_INO);
	return r;
}

static int del_below(struct catalog *c, const struct queue_key *prefix)
{
	for (;;) {
		struct span key, value;
		uint8_t copy[ROW_KEY_INO + CURSOR_NAME_MAX];
		int r = row_next(&c->bt, key_span(prefix), prefix->n, &key, &value);

		if (r <= 0)
			return r;
		memcpy(copy, key.p, key.n);
		r = btree_del(&c->bt, span_of(copy, key.n));
		if (r < 0)
			return r;
	}
}

int catalog_del_table(struct catalog *c, uint64_t ino)
{
	struct queue_key times = key_of(ROW_TIME, ino);
	int r = del_below(c, &times);

	for (uint8_t part = ROW_PART_BLOCK; r >= 0 && part <= ROW_PART_MARK; part++) {
		struct queue_key rows = part_key(ino, part);

		r = del_below(c, &rows);
	}
	return r;
}
