/* retain.c - what queues keep, by the policy retain: an age, bytes, records. Bytes and records of a
 * folder's policy are those of all queues together that have it from there: of them the oldest
 * go first, whosever they are. Done in the background at whole blocks of the table, so that little
 * is left over and trimming is cheap. */
#include <errno.h>
#include <stdlib.h>
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

/* A queue that shares what it may keep with others. */
struct sharer {
	uint64_t ino;
	uint64_t from; /* the folder that has the policy */
	struct retain keep;
};

/* The policy of a queue. 1: it has one, in *ret; 0: it has none. */
static int policy_of(struct ropefs *fs, uint64_t ino, struct inode **ret_in,
		     struct sharer *ret)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct queue *q;
	int r = inode_get(fs, ino, ret_in);

	*ret = (struct sharer) { .ino = ino };
	if (r >= 0)
		r = queue_get(fs, *ret_in, &q);
	if (r >= 0)
		r = policy_get(fs, *ret_in, "retain", &value, &ret->from);
	if (r >= 0)
		r = retain_parse(buf_span(&value), &ret->keep);
	if (r < 0)
		return r == -ENODATA || r == -ENOENT ? 0 : r;
	return q->first < q->next;
}

/* 1 with what of a queue goes by itself; 0: nothing. What it shares is noted. */
static int look_at(struct ropefs *fs, uint64_t ino, struct buf *sharers, uint64_t *ret_id)
{
	struct sharer s;
	struct inode *in;
	int r = policy_of(fs, ino, &in, &s);

	if (r <= 0)
		return r;
	if (s.from != ino && (s.keep.bytes || s.keep.records)) {
		r = buf_append(sharers, &s, sizeof(s));
		s.keep.bytes = s.keep.records = 0;
	}
	if (r >= 0)
		r = limit(fs, in, &s.keep, ret_id);
	return r < 0 ? r : *ret_id > in->q->first;
}

struct amount {
	uint64_t records, bytes;
};

/* Adds what a queue has of at least that time. */
static int add_since(struct ropefs *fs, uint64_t ino, int64_t time, struct amount *to)
{
	struct record rec;
	struct inode *in;
	struct queue *q;
	uint64_t id;
	int r;

	lock_take(&fs->engine);
	nodes_trim(fs->nodes);
	r = inode_get(fs, ino, &in);
	if (r >= 0)
		r = queue_get(fs, in, &q);
	if (r >= 0)
		r = queue_find_time(fs, in, time, &id);
	if (r >= 0 && id < q->next) {
		r = queue_find(fs, in, id, &rec);
		if (r >= 0) {
			to->records += q->next - id;
			to->bytes += q->tail.end - rec.at;
		}
	}
	lock_drop(&fs->engine);
	return r == -ENOENT ? 0 : r; /* it was removed meanwhile */
}

/* 1: what they have of at least that time is within what they may keep. */
static int fits(struct ropefs *fs, const struct sharer *s, size_t n, int64_t time)
{
	struct amount sum = { 0 };
	int r = 0;

	for (size_t i = 0; r >= 0 && i < n; i++)
		r = add_since(fs, s[i].ino, time, &sum);
	if (r < 0)
		return r;
	return (!s->keep.records || sum.records <= s->keep.records) &&
	       (!s->keep.bytes || sum.bytes <= s->keep.bytes);
}

static int trim_before(struct ropefs *fs, uint64_t ino, int64_t time)
{
	struct record begin = { 0 };
	struct inode *in;
	struct queue *q;
	uint64_t id;
	int r;

	lock_take(&fs->engine);
	r = inode_get(fs, ino, &in);
	if (r >= 0)
		r = queue_get(fs, in, &q);
	if (r >= 0)
		r = queue_find_time(fs, in, time, &id);
	if (r >= 0 && id < q->next) {
		r = block_begin_of(fs, in, id, &begin);
		id = begin.id;
	}
	lock_drop(&fs->engine);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	return ropefs_queue_trim(fs, ino, id);
}

/* The oldest records of queues that share a policy go, until the rest is what they may keep. */
static int trim_shared(struct ropefs *fs, const struct sharer *s, size_t n)
{
	int64_t low = 0, high = INT64_MAX;
	int r = fits(fs, s, n, 0);

	if (r)
		return r < 0 ? r : 0;
	while (low < high) {
		int64_t middle = low + (high - low) / 2;

		r = fits(fs, s, n, middle);
		if (r < 0)
			return r;
		if (r)
			high = middle;
		else
			low = middle + 1;
	}
	/* Rather too much than too little where many records have one time. */
	for (size_t i = 0; r >= 0 && i < n; i++)
		r = trim_before(fs, s[i].ino, low - 1);
	return r;
}

static int by_folder(const void *a, const void *b)
{
	const struct sharer *x = a, *y = b;

	return (x->from > y->from) - (x->from < y->from);
}

static int trim_all_shared(struct ropefs *fs, struct buf *sharers)
{
	struct sharer *s = (struct sharer *)(void *)sharers->p;
	size_t n = sharers->n / sizeof(*s), end;
	int r = 0;

	if (n)
		qsort(s, n, sizeof(*s), by_folder);
	for (size_t at = 0; r >= 0 && at < n; at = end) {
		for (end = at + 1; end < n && s[end].from == s[at].from; end++)
			;
		r = trim_shared(fs, s + at, end - at);
		r = r == -E_CORRUPT ? 0 : r;
	}
	return r;
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
	_cleanup_(buf_release) struct buf sharers = BUF_INIT;
	uint64_t ino = 0, id = 0, before = trimmed(fs), after;
	int r = store_writable(fs);

	while (r >= 0 && (r = next_queue(fs, &ino)) > 0) {
		lock_take(&fs->engine);
		r = look_at(fs, ino, &sharers, &id);
		lock_drop(&fs->engine);
		if (r > 0)
			r = ropefs_queue_trim(fs, ino, id);
		r = r == -E_CORRUPT ? 0 : r; /* fsck tells; the others go on */
	}
	if (r >= 0)
		r = trim_all_shared(fs, &sharers);
	after = trimmed(fs);
	if (after != before)
		event_raise(fs, "retain", 0, "%llu records were trimmed",
			    (unsigned long long)(after - before));
	return r < 0 ? r : 0;
}
