/* queue_check.c - a queue's table against its file and itself (the invariants of queue.h). */
#include <errno.h>

#include "core/base/err.h"
#include "core/catalog/queue_rows.h"
#include "core/queue.h"

struct table_check {
	uint64_t ino;
	bool any; /* a block was seen */
	uint64_t next, end; /* id and offset behind the last block */
	int64_t time;
	uint64_t blocks;
};

static int wrong(const struct table_check *k, const char *what)
{
	return err_set(E_CORRUPT, "queue %llu: %s, at record %llu",
		       (unsigned long long)k->ino, what, (unsigned long long)k->next);
}

static int check_block(struct table_check *k, const struct block *b)
{
	if (k->any && (b->first != k->next || b->at != k->end))
		return wrong(k, "blocks of the table do not follow one another");
	if (k->any && b->n && b->time < k->time)
		return wrong(k, "times go back");
	k->any = true;
	k->next = b->first + b->n;
	k->end = b->end;
	if (b->n)
		k->time = b->last_time;
	return 0;
}

static int check_full(struct ropefs *fs, struct table_check *k)
{
	uint64_t last, id = 0, ino = ino_base(k->ino);
	struct catalog cat;
	struct span value;
	struct block b;
	int r = catalog_of(fs, k->ino, &cat);

	while (r >= 0 && (r = catalog_find_block(&cat, ino, id, &value)) > 0) {
		r = block_get(value, &b);
		if (r >= 0)
			r = check_block(k, &b);
		if (r < 0)
			return r;
		if (!b.n)
			return wrong(k, "a block has no records");
		r = catalog_find_time(&cat, ino, b.last_time, &last);
		if (r < 0)
			return r;
		if (!r || last > k->next - 1)
			return wrong(k, "a block can't be found by its time");
		k->blocks++;
		id = k->next;
		nodes_trim(fs->nodes);
	}
	return r;
}

int queue_check(struct ropefs *fs, struct inode *in)
{
	struct table_check k = { .ino = in->ino };
	struct record first = { 0 };
	struct queue *q;
	int r = queue_get(fs, in, &q);

	if (r >= 0)
		r = check_full(fs, &k);
	if (r >= 0)
		r = check_block(&k, &q->tail);
	if (r < 0)
		return r;
	if (k.next != q->next)
		return wrong(&k, "the table ends before the next record");
	if (k.end != q->base + rope_bytes(&in->row.rope))
		return wrong(&k, "the table ends elsewhere than the file");
	if (q->first > q->next || q->time < k.time)
		return wrong(&k, "the first record or the last time make no sense");
	first.at = k.end;
	r = q->first < q->next ? queue_find(fs, in, q->first, &first) : 0;
	if (r >= 0 && first.at != q->base)
		return wrong(&k, "the file does not begin with the first record");
	return r;
}
