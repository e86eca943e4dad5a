/* retain.c - what queues keep, by the policy retain: an age, bytes, records. Done in the
 * background at whole blocks of the table, so that little is left over and trimming is
 * cheap. */
#include <errno.h>
#include <string.h>

#include "core/base/err.h"
#include "core/catalog/queue_rows.h"
#include "core/policy.h"
#include "core/queue.h"

/* The first record of the block that has record id: what is before that may go. */
static int block_begin_of(struct ropefs *fs, struct inode *in, uint64_t id,
			  struct record *ret)
{
	const struct queue *q = in->q;
	struct block b;
	int r;

	*ret = (struct record) { .id = q->first, .at = q->base };
	if (id <= q->first)
		return 0;
	if (id >= q->next) /* the block that grows stays, unless all of it has to go */
		id = q->next - 1;
	r = queue_block(fs, in, id, &b);
	if (r >= 0 && b.first > q->first) {
		ret->id = b.first;
		ret->at = b.at;
	}
	return r;
}

/* The first id that `bytes` at the end begin with, about: found by halving. */
static int by_bytes(struct ropefs *fs, struct inode *in, uint64_t bytes, uint64_t *ret_id)
{
	const struct queue *q = in->q;
	uint64_t low = q->first, high = q->next;
	struct record rec;
	int r = 0;

	while (low < high && r >= 0) {
		uint64_t middle = low + (high - low) / 2;

		r = queue_find(fs, in, middle, &rec);
		if (r >= 0 && q->tail.end - rec.at > bytes)
			low = middle + 1;
		else
			high = middle;
	}
	*ret_id = low;
	return r;
}

/* Before which record everything goes. */
static int limit(struct ropefs *fs, struct inode *in, const struct retain *keep,
		 uint64_t *ret_id)
{
	const struct queue *q = in->q;
	uint64_t go = q->first, id;
	struct record begin;
	int r = 0;

	if (keep->records && q->next - q->first > keep->records)
		go = q->next - keep->records;
	if (keep->bytes && q->tail.end - q->base > keep->bytes) {
		r = by_bytes(fs, in, keep->bytes, &id);
		if (r >= 0)
			go = MAX(go, id);
	}
	if (r >= 0 && keep->age_ns) {
		int64_t now = (int64_t)io_real_ns(fs->io);

		r = queue_find_time(fs, in, now - (int64_t)keep->age_ns, &id);
		if (r >= 0)
			go = MAX(go, id);
	}
	if (r >= 0 && go == q->next) {
		*ret_id = go;
		return 0;
	}
	if (r >= 0)
		r = block_begin_of(fs, in, go, &begin);
	if (r >= 0)
		*ret_id = begin.id;
	return r;
}

/* 1 with what of a queue goes; 0: nothing. */
static int look_at(struct ropefs *fs, uint64_t ino, uint64_t *ret_id)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct retain keep;
	struct inode *in;
	struct queue *q;
	uint64_t from;
	int r = inode_get(fs, ino, &in);

	if (r >= 0)
		r = queue_get(fs, in, &q);
	if (r >= 0)
		r = policy_get(fs, in, "retain", &value, &from);
	if (r >= 0)
		r = retain_parse(buf_span(&value), &keep);
	if (r < 0)
		return r == -ENODATA || r == -ENOENT ? 0 : r;
	if (q->first == q->next)
		return 0;
	r = limit(fs, in, &keep, ret_id);
	return r < 0 ? r : *ret_id > q->first;
}

/* The next queue whose row is in the catalog (a younger one has nothing to give yet). */
static int next_queue(struct ropefs *fs, uint64_t *ino)
{
	int r;

	lock_take(&fs->engine);
	nodes_trim(fs->nodes);
	r = catalog_next_queue(&fs->catalog, *ino, ino);
	lock_drop(&fs->engine);
	return r;
}

static uint64_t trimmed(struct ropefs *fs)
{
	uint64_t n;

	lock_take(&fs->engine);
	n = fs->queue_trimmed_records;
	lock_drop(&fs->engine);
	return n;
}

int ropefs_retain(struct ropefs *fs)
{
	uint64_t ino = 0, id = 0, before = trimmed(fs), after;
	int r = store_writable(fs);

	while (r >= 0 && (r = next_queue(fs, &ino)) > 0) {
		lock_take(&fs->engine);
		r = look_at(fs, ino, &id);
		lock_drop(&fs->engine);
		if (r > 0)
			r = ropefs_queue_trim(fs, ino, id);
		r = r == -E_CORRUPT ? 0 : r; /* fsck tells; the others go on */
	}
	after = trimmed(fs);
	if (after != before)
		event_raise(fs, "retain", 0, "%llu records were trimmed",
			    (unsigned long long)(after - before));
	return r < 0 ? r : 0;
}
