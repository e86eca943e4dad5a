/* api_queue.c - the public functions on queues: records, times, cursors, and waiting. */
#include <errno.h>
#include <string.h>

#include "core/base/err.h"
#include "core/catalog/queue_rows.h"
#include "core/queue.h"
#include "core/queue/block_cache.h"

#define MS_NS	     1000000
#define TRIM_RECORDS 32768u /* a slice: some hundred blocks */

/* --- looking --- */

int queue_look(struct ropefs *fs, uint64_t ino, struct inode **ret_in, struct queue **ret)
{
	int r;

	err_clear();
	lock_take(&fs->engine);
	nodes_trim(fs->nodes);
	inode_trim(fs);
	r = inode_get(fs, ino, ret_in);
	return r < 0 ? r : queue_get(fs, *ret_in, ret);
}

int queue_look_end(struct ropefs *fs, int r)
{
	lock_drop(&fs->engine);
	return r;
}

int ropefs_queue_info(struct ropefs *fs, uint64_t ino, struct ropefs_queue *ret)
{
	struct record first = { 0 };
	struct inode *in;
	struct queue *q;
	int r = queue_look(fs, ino, &in, &q);

	if (r >= 0 && q->first < q->next)
		r = queue_find(fs, in, q->first, &first);
	if (r >= 0)
		*ret = (struct ropefs_queue) {
			.framing = (enum ropefs_framing)q->framing.mode,
			.length = q->framing.length,
			.first = q->first,
			.next = q->next,
			.bytes = rope_bytes(&in->row.rope),
			.trimmed = q->base,
			.resets = q->resets,
			.first_time.ns = first.time,
			.last_time.ns = q->time,
			.refused = q->refused + q->lost,
			.crashes = q->crashes,
		};
	return queue_look_end(fs, r);
}

int ropefs_queue_find_time(struct ropefs *fs, uint64_t ino, struct ropefs_time time,
			   uint64_t *ret_id)
{
	struct inode *in;
	struct queue *q;
	int r = queue_look(fs, ino, &in, &q);

	if (r >= 0)
		r = queue_find_time(fs, in, time.ns, ret_id);
	return queue_look_end(fs, r);
}

int ropefs_queue_offset(struct ropefs *fs, uint64_t ino, uint64_t id, uint64_t *ret_at)
{
	struct record rec = { 0 };
	struct inode *in;
	struct queue *q;
	int r = queue_look(fs, ino, &in, &q);

	if (r >= 0 && (id < q->first || id > q->next))
		r = -ERANGE;
	if (r >= 0) {
		fs->queue_seeks++;
		rec.at = q->tail.end;
		if (id < q->next)
			r = queue_find(fs, in, id, &rec);
	}
	if (r >= 0)
		*ret_at = rec.at - q->base;
	return queue_look_end(fs, r);
}

int ropefs_queue_true_time(struct ropefs *fs, uint64_t ino,
			   const struct ropefs_record *rec, struct ropefs_time *ret)
{
	const struct mark_row *mark;
	struct catalog cat;
	struct inode *in;
	struct queue *q;
	struct span value;
	uint64_t id;
	int r = queue_look(fs, ino, &in, &q);

	if (r >= 0)
		r = catalog_of(fs, ino, &cat);
	if (r >= 0)
		r = catalog_find_mark(&cat, ino_base(ino), rec->id, &id, &value);
	if (r > 0 && value.n != sizeof(*mark))
		r = err_set(E_CORRUPT, "a mark of queue %llu has a wrong size",
			    (unsigned long long)ino);
	if (r > 0) {
		mark = (const void *)value.p;
		ret->ns = rec->time.ns - (int64_t)le64_get(mark->time) +
			  (int64_t)le64_get(mark->wall);
		/* What the clocks differ by without having been set. */
		if (ret->ns - rec->time.ns < QUEUE_STEP_NS &&
		    rec->time.ns - ret->ns < QUEUE_STEP_NS)
			*ret = rec->time;
	} else if (r == 0) {
		*ret = rec->time;
	}
	return queue_look_end(fs, MIN(r, 0));
}

/* --- reading --- */

static void give_record(struct ropefs_batch *b, const struct record *rec)
{
	if (b->records)
		b->records[b->count] = (struct ropefs_record) {
			.id = rec->id,
			.time.ns = rec->time,
			.n = rec->n,
			.gap = rec->gap,
		};
	b->count++;
	b->bytes += rec->n;
	b->id = rec->id + 1;
}

/* Where the walk to record id begins: where the last reader of the block began, if that was not
 * behind it. Those who follow all read the same few records. */
static struct block_cursor walk_to(struct block_cursor *seen, const struct block *block,
				   uint64_t id)
{
	struct block_cursor c = block_walk(block);

	if (seen->b && block->first + seen->i <= id)
		c = *seen;
	queue_skip(&c, id);
	*seen = c;
	return c;
}

/* A full block, and where its last reader began. */
static int full_block(struct ropefs *fs, struct inode *in, uint64_t id,
		      struct kept_block **ret)
{
	struct kept_block *kept = block_cache_find(fs->blocks, in->ino, id);
	int r;

	if (!kept) {
		kept = block_cache_room(fs->blocks);
		r = queue_block(fs, in, id, &kept->block);
		if (r < 0)
			return r;
		block_cache_enter(fs->blocks, kept, in->ino);
	}
	*ret = kept;
	return 0;
}

/* Takes all that is left of a block at once, if it fits and nobody asks for its records. */
static bool take_rest(struct ropefs_batch *b, const struct block_cursor *c, uint64_t *at)
{
	unsigned left = c->b->n - c->i;
	uint64_t bytes = c->b->end - c->at;

	if (b->records || left > b->max - b->count || (b->p && bytes > b->n - b->bytes))
		return false;
	if (!b->count)
		*at = c->at;
	b->count += left;
	b->bytes += bytes;
	b->id += left;
	return true;
}

/* Records of one block, as far as they fit. 1: the next block may have more. */
static int take_block(struct ropefs *fs, struct inode *in, struct ropefs_batch *b,
		      uint64_t *at)
{
	struct block_cursor c, *seen = &in->q->seen;
	struct block *block = &in->q->tail;
	struct kept_block *kept;
	struct record rec;
	int r;

	if (b->id < block->first) {
		r = full_block(fs, in, b->id, &kept);
		if (r < 0)
			return r;
		block = &kept->block;
		seen = &kept->seen;
	}
	c = walk_to(seen, block, b->id);
	if (take_rest(b, &c, at))
		return b->count < b->max;
	while (b->count < b->max && block_next(&c, &rec)) {
		if (b->p && rec.n > b->n - b->bytes)
			return 0;
		if (!b->count)
			*at = rec.at;
		give_record(b, &rec);
	}
	return b->count < b->max;
}

/* rd->at comes as the record to begin with. */
static int which_records(struct ropefs *fs, struct inode *in, struct reading *rd)
{
	struct ropefs_batch *b = rd->arg;
	uint64_t at = 0, id = rd->at;
	struct queue *q;
	int r = queue_get(fs, in, &q);

	if (r < 0)
		return r;
	b->id = id;
	b->resets = q->resets;
	b->first = q->first;
	b->next = q->next;
	b->count = 0;
	b->bytes = 0;
	if (id < q->first)
		return -ERANGE;
	fs->queue_seeks++;
	while (r >= 0 && b->id < q->next) {
		r = take_block(fs, in, b, &at);
		if (r <= 0)
			break;
	}
	if (r < 0) {
		b->id = id;
		return r;
	}
	if (!b->count && id < q->next && b->max)
		return -ENOBUFS;
	rd->at = at - (b->count ? q->base : 0);
	rd->n = b->p ? b->bytes : 0;
	return 0;
}

int ropefs_queue_read(struct ropefs *fs, uint64_t ino, struct ropefs_batch *b,
		      unsigned flags)
{
	struct reading rd = { .where = which_records, .arg = b, .at = b->id };
	uint64_t id = b->id;
	ssize_t r;

	err_clear();
	r = data_read(fs, ino, &rd, b->p, flags);
	if (r < 0)
		b->id = id;
	return r < 0 ? (int)r : 0;
}

int ropefs_queue_wait(struct ropefs *fs, uint64_t ino, uint64_t id, int timeout_ms)
{
	uint64_t until = timeout_ms < 0
				 ? 0
				 : io_mono_ns(fs->io) + (uint64_t)timeout_ms * MS_NS + 1;
	struct inode *in;
	struct queue *q;
	int r = queue_look(fs, ino, &in, &q);

	while (r >= 0 && q->next <= id) {
		fs->append_waiters++;
		r = lock_wait(&fs->engine, &fs->appended, until);
		fs->append_waiters--;
		if (r >= 0)
			r = inode_get(fs, ino, &in);
		if (r >= 0)
			r = queue_get(fs, in, &q);
	}
	return queue_look_end(fs, r);
}

/* --- trimming --- */

static int trim_slice(struct ropefs *fs, uint64_t ino, uint64_t id)
{
	struct op op = { .type = OP_TRIM, .ino = ino };
	struct inode *in;
	struct queue *q;
	int r = change_begin(fs, &op, 0, true);

	if (r < 0)
		return r;
	r = inode_get(fs, ino, &in);
	if (r >= 0)
		r = queue_get(fs, in, &q);
	if (r < 0)
		return change_abort(fs, r);
	id = MIN(id, q->next);
	if (id <= q->first)
		return change_abort(fs, 0);
	op.n = MIN(id, q->first + TRIM_RECORDS);
	r = change_end(fs, &op, 0, NULL);
	return r < 0 ? r : op.n < id;
}

int ropefs_queue_trim(struct ropefs *fs, uint64_t ino, uint64_t id)
{
	int r;

	do {
		r = trim_slice(fs, ino, id);
	} while (r > 0);
	return r;
}

bool queue_is_long(struct ropefs *fs, struct inode *in)
{
	struct queue *q;

	return inode_is_queue(in) && queue_get(fs, in, &q) >= 0 &&
	       q->next - q->first > 2 * TRIM_RECORDS;
}

void queue_shorten(struct ropefs *fs, uint64_t ino)
{
	struct inode *in;
	bool is_long;

	lock_take(&fs->engine);
	is_long = inode_get(fs, ino, &in) >= 0 && queue_is_long(fs, in);
	lock_drop(&fs->engine);
	if (is_long)
		ropefs_queue_trim(fs, ino, UINT64_MAX);
}

/* --- cursors --- */

int cursor_name_check(const char *name)
{
	size_t n = strlen(name);

	if (n && n <= CURSOR_NAME_MAX && !strpbrk(name, "/,@="))
		return 0;
	return err_set(EINVAL, "a cursor's name has 1 to %u bytes, none of / , @ =",
		       CURSOR_NAME_MAX);
}

static int change_cursor(struct ropefs *fs, struct op *op, const char *name, bool frees)
{
	int r;

	err_clear();
	op->name = SPAN_STR(name);
	r = cursor_name_check(name);
	if (r < 0)
		return r;
	r = change_begin(fs, op, 0, frees);
	return r < 0 ? r : change_end(fs, op, 0, NULL);
}

int ropefs_cursor_commit(struct ropefs *fs, uint64_t ino, const char *name, uint64_t id)
{
	struct op op = { .type = OP_CURSOR_SET, .ino = ino, .at = id };

	return change_cursor(fs, &op, name, false);
}

int ropefs_cursor_remove(struct ropefs *fs, uint64_t ino, const char *name)
{
	struct op op = { .type = OP_CURSOR_DEL, .ino = ino };

	return change_cursor(fs, &op, name, true);
}

static void cursor_of(const struct queue *q, struct span name, struct span value,
		      struct ropefs_cursor *ret)
{
	const struct cursor_row *row = (const void *)value.p;
	size_t n = MIN(name.n, sizeof(ret->name) - 1);

	memset(ret, 0, sizeof(*ret));
	memcpy(ret->name, name.p, n);
	ret->time.ns = (int64_t)le64_get(row->time);
	if (le32_get(row->resets) == q->resets)
		ret->id = le64_get(row->id);
	ret->lag = q->next - MAX(ret->id, q->first);
}

int ropefs_cursor_get(struct ropefs *fs, uint64_t ino, const char *name,
		      struct ropefs_cursor *ret)
{
	struct catalog cat;
	struct inode *in;
	struct queue *q;
	struct span value;
	int r = queue_look(fs, ino, &in, &q);

	if (r >= 0 && (!*name || strlen(name) > CURSOR_NAME_MAX))
		r = -ENOENT;
	if (r >= 0)
		r = catalog_of(fs, ino, &cat);
	if (r >= 0)
		r = catalog_get_cursor(&cat, ino_base(ino), SPAN_STR(name), &value);
	if (r >= 0)
		cursor_of(q, SPAN_STR(name), value, ret);
	return queue_look_end(fs, r);
}

int ropefs_cursor_next(struct ropefs *fs, uint64_t ino, const char *after,
		       struct ropefs_cursor *ret)
{
	struct catalog cat;
	struct inode *in;
	struct queue *q;
	struct span name, value;
	int r = queue_look(fs, ino, &in, &q);

	if (r >= 0 && strlen(after) > CURSOR_NAME_MAX)
		r = -EINVAL;
	if (r >= 0)
		r = catalog_of(fs, ino, &cat);
	if (r >= 0)
		r = catalog_next_cursor(&cat, ino_base(ino), SPAN_STR(after), &name,
					&value);
	if (r > 0)
		cursor_of(q, name, value, ret);
	return queue_look_end(fs, r);
}

/* --- being told --- */

int ropefs_watch(struct ropefs *fs, uint64_t ino)
{
	uintptr_t count;
	int r;

	lock_take(&fs->engine);
	count = (uintptr_t)htab_del(&fs->watched, ino);
	/* With what was just taken out there is room. */
	r = htab_put(&fs->watched, ino, (void *)(count + 1));
	lock_drop(&fs->engine);
	return r;
}

void ropefs_unwatch(struct ropefs *fs, uint64_t ino)
{
	uintptr_t count;

	lock_take(&fs->engine);
	count = (uintptr_t)htab_del(&fs->watched, ino);
	assert(count > 0);
	if (count > 1)
		htab_put(&fs->watched, ino, (void *)(count - 1));
	lock_drop(&fs->engine);
}
