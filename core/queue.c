#include "core/queue.h"

#include <errno.h>
#include <string.h>

#include "core/base/err.h"
#include "core/stored.h"
#include "core/catalog/queue_rows.h"
#include "core/queue/block_cache.h"

/* One hot_put() of a record, as apply_write(). */
#define EXTENTS_MAX (WAL_RECORD_MAX / HOT_BLOCK_MAX + 4)

/* --- in memory and on disk --- */

int queue_wanted(struct ropefs *fs, struct inode *dir, struct framing *ret)
{
	_cleanup_(buf_release) struct buf kind = BUF_INIT;
	_cleanup_(buf_release) struct buf framing = BUF_INIT;
	uint64_t from;
	int r = policy_get(fs, dir, "kind", &kind, &from);

	if (r == -ENODATA || (r >= 0 && (kind.n != 5 || memcmp(kind.p, "queue", 5))))
		return 0;
	if (r >= 0)
		r = policy_get(fs, dir, "framing", &framing, &from);
	if (r == -ENODATA) {
		*ret = (struct framing) { .mode = FRAMING_LINE };
		return 1;
	}
	if (r >= 0)
		r = framing_parse(buf_span(&framing), ret);
	return r < 0 ? r : 1;
}

int queue_make(struct ropefs *fs, struct inode *in, struct framing framing)
{
	struct queue *q = calloc(1, sizeof(*q));

	if (!q)
		return -ENOMEM;
	q->framing = framing;
	in->q = q;
	in->row.flags = le32_put(le32_get(in->row.flags) | INODE_QUEUE);
	inode_mark_dirty(fs, in);
	return 0;
}

static int from_row(struct span value, struct queue *q)
{
	const struct queue_row *row = (const void *)value.p;
	uint32_t framing;

	if (value.n != sizeof(*row) || le32_get(row->version) != QUEUE_ROW_VERSION)
		return err_set(E_CORRUPT, "a queue's row is of an unknown version");
	framing = le32_get(row->framing);
	if (framing < FRAMING_LINE || framing > FRAMING_LENGTH)
		return err_set(E_CORRUPT, "a queue's row has an unknown framing");
	*q = (struct queue) {
		.next = le64_get(row->next),
		.first = le64_get(row->first),
		.base = le64_get(row->base),
		.time = (int64_t)le64_get(row->time),
		.framing = { (enum framing_mode)framing, le32_get(row->length) },
		.resets = le32_get(row->resets),
		.refused = le64_get(row->refused),
		.crashes = le64_get(row->crashes),
		.life = le64_get(row->life),
		.offset = le64_get(row->offset),
	};
	memcpy(q->boot, row->boot, sizeof(q->boot));
	return 0;
}

static int load(struct ropefs *fs, struct inode *in, struct queue *q)
{
	struct catalog cat;
	struct span value;
	int r = catalog_of(fs, in->ino, &cat);

	if (r >= 0)
		r = catalog_get_queue(&cat, ino_base(in->ino), &value);
	if (r >= 0)
		r = from_row(value, q);
	if (r >= 0)
		r = catalog_get_tail(&cat, ino_base(in->ino), &value);
	if (r >= 0)
		return block_get(value, &q->tail);
	if (r != -ENOENT || q->next)
		return r == -ENOENT ? err_set(E_CORRUPT,
					      "queue %llu has lost rows of its table",
					      (unsigned long long)in->ino)
				    : r;
	block_begin(&q->tail, 0, 0);
	return 0;
}

int queue_get(struct ropefs *fs, struct inode *in, struct queue **ret)
{
	struct queue *q;
	int r;

	if (!inode_is_queue(in))
		return err_set(EINVAL, "the file (inode %llu) is not a queue",
			       (unsigned long long)in->ino);
	if (!in->q) {
		q = malloc(sizeof(*q));
		if (!q)
			return -ENOMEM;
		r = load(fs, in, q);
		if (r < 0) {
			free(q);
			return r;
		}
		in->q = q;
	}
	*ret = in->q;
	return 0;
}

int queue_flush(struct ropefs *fs, struct inode *in)
{
	const struct queue *q = in->q;
	uint8_t value[BLOCK_ROW_MAX];
	struct queue_row row;
	int r;

	if (!q)
		return 0;
	row = (struct queue_row) {
		.version = le32_put(QUEUE_ROW_VERSION),
		.framing = le32_put(q->framing.mode),
		.length = le32_put(q->framing.length),
		.resets = le32_put(q->resets),
		.next = le64_put(q->next),
		.first = le64_put(q->first),
		.base = le64_put(q->base),
		.time = le64_put((uint64_t)q->time),
		.refused = le64_put(q->refused),
		.crashes = le64_put(q->crashes),
		.life = le64_put(q->life),
		.offset = le64_put(q->offset),
	};
	memcpy(row.boot, q->boot, sizeof(row.boot));
	r = catalog_put_queue(&fs->catalog, in->ino, span_of(&row, sizeof(row)));
	if (r < 0 || !q->tail.n)
		return r;
	return catalog_put_tail(&fs->catalog, in->ino,
				span_of(value, block_put(&q->tail, value)));
}

/* --- finding --- */

static int no_entry(struct inode *in, uint64_t id)
{
	return err_set(E_CORRUPT, "queue %llu: the table has no entry for record %llu",
		       (unsigned long long)in->ino, (unsigned long long)id);
}

/* The row of the full block with record id. */
static int find_row(struct ropefs *fs, struct inode *in, uint64_t id, struct span *ret)
{
	struct catalog cat;
	int r = catalog_of(fs, in->ino, &cat);

	assert(id >= in->q->first && id < in->q->tail.first);
	fs->queue_blocks_read++;
	if (r >= 0)
		r = catalog_find_block(&cat, ino_base(in->ino), id, ret);
	return r ? r : no_entry(in, id);
}

int queue_block(struct ropefs *fs, struct inode *in, uint64_t id, struct block *ret)
{
	const struct queue *q = in->q;
	struct span value;
	int r;

	if (id >= q->tail.first) {
		*ret = q->tail;
		return 0;
	}
	r = find_row(fs, in, id, &value);
	if (r >= 0)
		r = block_get(value, ret);
	if (r >= 0 && (id < ret->first || id - ret->first >= ret->n))
		r = no_entry(in, id);
	return r;
}

void queue_skip(struct block_cursor *c, uint64_t id)
{
	struct record rec;

	while (c->b->first + c->i < id && block_next(c, &rec))
		;
}

int queue_find(struct ropefs *fs, struct inode *in, uint64_t id, struct record *ret)
{
	struct span value;
	int r;

	if (id >= in->q->tail.first) {
		block_find(&in->q->tail, id, ret);
		return 0;
	}
	r = find_row(fs, in, id, &value);
	if (r >= 0)
		r = block_seek(value, id, 0, ret);
	if (r == 0 || (r > 0 && ret->id != id))
		r = no_entry(in, id);
	return MIN(r, 0);
}

/* The first record of the tail with at least that time; without one, nothing. */
static void find_in_tail(const struct block *b, int64_t time, uint64_t *ret_id)
{
	struct block_cursor c = block_walk(b);
	struct record rec;

	while (block_next(&c, &rec)) {
		if (rec.time < time)
			continue;
		*ret_id = rec.id;
		return;
	}
}

int queue_find_time(struct ropefs *fs, struct inode *in, int64_t time, uint64_t *ret_id)
{
	const struct queue *q = in->q;
	struct record rec = { .id = q->next };
	struct span value;
	uint64_t last;
	struct catalog cat;
	int r = catalog_of(fs, in->ino, &cat);

	fs->queue_seeks++;
	if (r >= 0)
		r = catalog_find_time(&cat, ino_base(in->ino), time, &last);
	if (r > 0 && last >= q->first && last < q->tail.first) {
		r = find_row(fs, in, last, &value);
		if (r >= 0)
			r = block_seek(value, 0, time, &rec);
		if (r == 0)
			rec.id = last + 1;
	} else if (r >= 0) {
		find_in_tail(&q->tail, time, &rec.id);
	}
	if (r < 0)
		return r;
	*ret_id = MAX(rec.id, q->first);
	return 0;
}

/* --- appending --- */

static int file_queue(struct ropefs *fs, uint64_t ino, struct inode **ret_in,
		      struct queue **ret)
{
	int r = inode_get(fs, ino, ret_in);

	return r < 0 ? r : queue_get(fs, *ret_in, ret);
}

/* The tail becomes a full block, if it is one; a new one begins. Changes no contents. */
static int seal(struct ropefs *fs, struct inode *in, struct queue *q)
{
	struct block_key key = { in->ino, q->tail.first + q->tail.n - 1,
				 q->tail.last_time };
	uint8_t value[BLOCK_ROW_MAX];
	int r;

	r = catalog_add_block(&fs->catalog, &key,
			      span_of(value, block_put(&q->tail, value)));
	if (r >= 0) {
		block_begin(&q->tail, q->next, q->tail.end);
		q->seen.b = NULL;
	}
	return r;
}

static int add_record(struct ropefs *fs, struct inode *in, size_t n, bool gap,
		      int64_t time)
{
	struct queue *q = in->q;
	int r;

	if (!block_add(&q->tail, (uint32_t)n, gap, time)) {
		r = seal(fs, in, q);
		if (r < 0)
			return r;
		block_add(&q->tail, (uint32_t)n, gap, time);
	}
	q->next++;
	return 0;
}

/* Bytes of the next record of data: by framing, as the op says it. */
static size_t record_bytes(const struct op *op, struct span data)
{
	const uint8_t *newline;

	switch (op->flags & OP_FLAGS_FRAMING) {
	case FRAMING_LINE:
		newline = data.n ? memchr(data.p, '\n', data.n) : NULL;
		return newline ? (size_t)(newline - data.p) + 1 : data.n;
	case FRAMING_LENGTH:
		return MIN(op->n, data.n);
	default:
		return data.n;
	}
}

static int add_records(struct ropefs *fs, struct inode *in, const struct op *op)
{
	int64_t time = MAX(op->time, in->q->time);
	struct span rest = op->data;
	int r;

	do {
		size_t n = record_bytes(op, rest);

		r = add_record(fs, in, n, op->flags & OP_FLAG_GAP, time);
		rest = span_of(rest.p + n, rest.n - n);
	} while (r >= 0 && rest.n);
	in->q->time = time;
	return r;
}

static int put_bytes(struct ropefs *fs, struct inode *in, struct span data)
{
	struct extent e[EXTENTS_MAX];
	int r;

	if (!data.n)
		return 0;
	r = hot_put(fs->hot, &in->tail, data.p, data.n, e, EXTENTS_MAX);
	if (r < 0)
		return r;
	return rope_insert(&fs->env, &in->row.rope, rope_bytes(&in->row.rope), e,
			   (unsigned)r);
}

int apply_append(struct ropefs *fs, const struct op *op)
{
	struct inode *in;
	struct queue *q;
	int r = file_queue(fs, op->ino, &in, &q);

	if (r < 0)
		return r;
	if (op->data.n > EXTENT_BYTES_MAX - q->tail.end)
		return -EFBIG;
	/* What can be refused comes first: a block that is about to be full. */
	if (block_is_full(&q->tail))
		r = seal(fs, in, q);
	if (r >= 0)
		r = put_bytes(fs, in, op->data);
	if (r < 0)
		return r;
	r = add_records(fs, in, op);
	if (r < 0) {
		store_fail_locked(fs, r, "an append could not be finished");
		return r;
	}
	q->refused += op->at;
	q->lost -= MIN(q->lost, op->at);
	inode_touch(fs, in, op->time, op->data.n, 0);
	stored_came(in, op->data.n);
	return 0;
}

/* A full block of the queue's table, and the key of its row. */
static int block_get_key(uint64_t ino, struct span value, struct block *ret,
			 struct block_key *ret_key)
{
	int r = block_get(value, ret);

	if (r < 0)
		return r;
	*ret_key = (struct block_key) { .ino = ino,
					.last_id = ret->first + ret->n - 1,
					.last_time = ret->last_time };
	return 0;
}

/* Blocks that were full only after it go; the tail is the one that grew then. */
static int drop_new_blocks(struct ropefs *fs, uint64_t ino, uint64_t from)
{
	struct span value;
	struct block b;
	int r;

	while ((r = catalog_find_block(&fs->catalog, ino, from, &value)) > 0) {
		struct block_key key;

		r = block_get_key(ino, value, &b, &key);
		if (r < 0)
			return r;
		r = catalog_del_block(&fs->catalog, &key);
		if (r < 0)
			return r;
	}
	return r;
}

int queue_take_back(struct ropefs *fs, struct inode *in, const struct queue *was,
		    int64_t time)
{
	uint64_t size = was->tail.end - was->base, now = rope_bytes(&in->row.rope);
	int r = now > size ? inode_cut(fs, in, size, now - size, time) : 0;

	if (r >= 0)
		r = drop_new_blocks(fs, in->ino, was->tail.first);
	if (r < 0)
		return r;
	*in->q = *was;
	in->q->seen.b = NULL;
	return 0;
}

int apply_mark(struct ropefs *fs, const struct op *op)
{
	struct mark_row mark = {
		.time = le64_put((uint64_t)op->time),
		.wall = le64_put((uint64_t)op->atime),
		.mono = le64_put((uint64_t)op->mtime),
		.flags = le32_put(op->flags),
	};
	struct inode *in;
	struct queue *q;
	int r = file_queue(fs, op->ino, &in, &q);

	if (r < 0)
		return r;
	if (op->name.n != BOOT_ID_BYTES)
		return err_set(E_CORRUPT, "a mark record of the log is malformed");
	memcpy(mark.boot, op->name.p, BOOT_ID_BYTES);
	r = catalog_put_mark(&fs->catalog, op->ino, q->next,
			     span_of(&mark, sizeof(mark)));
	if (r < 0)
		return r;
	memcpy(q->boot, op->name.p, BOOT_ID_BYTES);
	q->life = op->src;
	q->offset = (uint64_t)op->atime - (uint64_t)op->mtime;
	q->crashes += !!(op->flags & MARK_UNCLEAN);
	inode_mark_dirty(fs, in);
	return 0;
}

/* --- trimming --- */

/* Marks before the last one that speaks of record id. */
static int drop_marks(struct ropefs *fs, uint64_t ino, uint64_t id)
{
	uint64_t last, mark;
	struct span value;
	int r = catalog_find_mark(&fs->catalog, ino, id, &last, &value);

	while (r > 0 && last > 0) {
		r = catalog_find_mark(&fs->catalog, ino, last - 1, &mark, &value);
		if (r <= 0)
			break;
		r = catalog_del_mark(&fs->catalog, ino, mark);
		r = r < 0 ? r : 1;
	}
	return r;
}

/* Full blocks that only have records below id. */
static int drop_blocks(struct ropefs *fs, uint64_t ino, uint64_t id)
{
	struct span value;
	struct block b;
	int r;

	while ((r = catalog_find_block(&fs->catalog, ino, 0, &value)) > 0) {
		struct block_key key;

		r = block_get_key(ino, value, &b, &key);
		if (r < 0)
			return r;
		if (key.last_id >= id)
			return 0;
		r = catalog_del_block(&fs->catalog, &key);
		if (r < 0)
			return r;
	}
	return r;
}

int apply_trim(struct ropefs *fs, const struct op *op)
{
	struct record rec = { 0 };
	struct inode *in;
	struct queue *q;
	int r = file_queue(fs, op->ino, &in, &q);

	if (r < 0)
		return r;
	if (op->n < q->first || op->n > q->next)
		return -EINVAL;
	rec.at = q->tail.end;
	if (op->n < q->next)
		r = queue_find(fs, in, op->n, &rec);
	if (r >= 0)
		r = inode_cut(fs, in, 0, rec.at - q->base, op->time);
	if (r < 0)
		return r;
	fs->queue_trimmed_records += op->n - q->first;
	fs->queue_trimmed_bytes += rec.at - q->base;
	q->first = op->n;
	q->base = rec.at;
	inode_touch(fs, in, op->time, 0, 0);
	r = drop_blocks(fs, op->ino, op->n);
	if (r >= 0)
		r = drop_marks(fs, op->ino, op->n);
	if (r < 0)
		store_fail_locked(fs, r, "a queue could not be trimmed");
	return r < 0 ? r : 0;
}

int queue_reset(struct ropefs *fs, struct inode *in, int64_t time)
{
	struct queue *q;
	int r = queue_get(fs, in, &q);

	if (r >= 0)
		r = inode_cut(fs, in, 0, rope_bytes(&in->row.rope), time);
	if (r < 0)
		return r;
	q->next = q->first = q->base = 0;
	q->resets++;
	block_begin(&q->tail, 0, 0);
	q->seen.b = NULL;
	block_cache_drop(fs->blocks, in->ino);
	inode_touch(fs, in, time, 0, 0);
	r = catalog_del_table(&fs->catalog, in->ino);
	if (r < 0)
		store_fail_locked(fs, r, "a queue could not be emptied");
	q->life = 0; /* the next record is marked */
	return r;
}

/* --- cursors --- */

int apply_cursor(struct ropefs *fs, const struct op *op)
{
	struct cursor_row row = {
		.id = le64_put(op->at),
		.time = le64_put((uint64_t)op->time),
	};
	struct inode *in;
	struct queue *q;
	int r = file_queue(fs, op->ino, &in, &q);

	if (r < 0)
		return r;
	if (!op->name.n || op->name.n > CURSOR_NAME_MAX)
		return -EINVAL;
	if (op->type == OP_CURSOR_DEL)
		return catalog_del_cursor(&fs->catalog, op->ino, op->name);
	if (op->at > q->next)
		return err_set(ERANGE, "record %llu is not there yet; the next is %llu",
			       (unsigned long long)op->at, (unsigned long long)q->next);
	row.resets = le32_put(q->resets);
	return catalog_put_cursor(&fs->catalog, op->ino, op->name,
				  span_of(&row, sizeof(row)));
}
