/* catalog.c - inodes, orphans, and what belongs to an inode as a whole; dirent.c holds
 * directory entries, xattr.c xattrs and symlink targets. */
#include "core/catalog/catalog.h"

#include <errno.h>
#include <string.h>

#include "core/base/err.h"
#include "core/catalog/row.h"

/* --- node types --- */

static struct rope *rope_of(struct span key, uint8_t *value, size_t n)
{
	if (key.n != ROW_KEY_INO || key.p[0] != ROW_INODE)
		return NULL;
	assert(n == sizeof(struct inode_row));
	(void)n;
	return &((struct inode_row *)value)->rope;
}

struct each {
	node_child_fn child;
	node_extent_fn extent;
	void *arg;
};

static int row_child(void *arg, struct span key, uint8_t *value, size_t n)
{
	struct rope *rope = rope_of(key, value, n);
	const struct each *each = arg;

	/* The root of a snapshot's catalog, or of the tree of snapshots: both come first. */
	if (key.p[0] == ROW_SNAPSHOT)
		return each->child(each->arg, (struct noderef *)value);
	return rope && rope->levels > 0 ? each->child(each->arg, &rope->u.root) : 0;
}

static int row_extents(void *arg, struct span key, uint8_t *value, size_t n)
{
	struct rope *rope = rope_of(key, value, n);
	const struct each *each = arg;

	if (!rope || rope->levels > 0)
		return 0;
	assert(rope->n_inline <= ROPE_INLINE);
	for (unsigned i = 0; i < rope->n_inline; i++) {
		int r = each->extent(each->arg, &rope->u.ext[i]);

		if (r)
			return r;
	}
	return 0;
}

static int leaf_each_child(uint8_t *image, node_child_fn fn, void *arg)
{
	struct each each = { .child = fn, .arg = arg };

	return btree_each_value(image, row_child, &each);
}

static int leaf_each_extent(uint8_t *image, node_extent_fn fn, void *arg)
{
	struct each each = { .extent = fn, .arg = arg };

	return btree_each_value(image, row_extents, &each);
}

static int row_rope_check(void *arg, struct span key, uint8_t *value, size_t n)
{
	struct rope *rope = rope_of(key, value, n);

	(void)arg;
	return rope ? rope_check_root(rope) : 0;
}

/* Of one that was read from a page. */
static int leaf_check(const uint8_t *image)
{
	int r;

	r = btree_check_image(image);
	if (r >= 0)
		r = btree_check_values(image, row_check);
	return r < 0 ? r
		     : btree_each_value((uint8_t *)(uintptr_t)image, row_rope_check,
					NULL);
}

void catalog_register(struct nodes *ns)
{
	static const struct node_type leaf = {
		.each_child = leaf_each_child,
		.each_extent = leaf_each_extent,
		.check = leaf_check,
	};
	static const struct node_type inner = {
		.each_child = btree_inner_each_child,
		.check = btree_check_image,
	};

	nodes_set_type(ns, NODE_BTREE_LEAF, &leaf);
	nodes_set_type(ns, NODE_BTREE_INNER, &inner);
}

/* --- inodes --- */

int catalog_get_inode(struct catalog *c, uint64_t ino, struct inode_row *ret)
{
	struct row_key key = row_key(ROW_INODE, ino);
	struct span value;
	int r;

	r = btree_get(&c->bt, row_span(&key), &value);
	if (r < 0)
		return r;
	r = row_check(row_span(&key), value);
	if (r < 0)
		return r;
	memcpy(ret, value.p, sizeof(*ret));
	return 0;
}

int catalog_put_inode(struct catalog *c, uint64_t ino, const struct inode_row *row)
{
	struct row_key key = row_key(ROW_INODE, ino);

	assert(ino > 0);
	assert(row_check(row_span(&key), span_of(row, sizeof(*row))) == 0);
	return btree_put(&c->bt, row_span(&key), span_of(row, sizeof(*row)));
}

int catalog_del_inode(struct catalog *c, uint64_t ino)
{
	struct row_key key = row_key(ROW_INODE, ino);

	return btree_del(&c->bt, row_span(&key));
}

/* The first row of a kind with a number > after. */
static int next_of_kind(struct catalog *c, enum row_kind kind, uint64_t after,
			uint64_t *ret_ino, struct span *ret_value)
{
	struct row_key from = row_key(kind, after + 1);
	struct span key;
	int r;

	if (after == UINT64_MAX)
		return 0;
	r = row_next(&c->bt, row_span(&from), 1, &key, ret_value);
	if (r > 0)
		*ret_ino = row_ino(key);
	return r;
}

int catalog_next_inode(struct catalog *c, uint64_t after, uint64_t *ret_ino,
		       struct inode_row *ret)
{
	struct span value;
	int r;

	r = next_of_kind(c, ROW_INODE, after, ret_ino, &value);
	if (r > 0)
		memcpy(ret, value.p, sizeof(*ret));
	return r;
}

/* --- orphans --- */

int catalog_add_orphan(struct catalog *c, uint64_t ino)
{
	struct row_key key = row_key(ROW_ORPHAN, ino);

	assert(ino > 0);
	return btree_put(&c->bt, row_span(&key), span_of(NULL, 0));
}

int catalog_del_orphan(struct catalog *c, uint64_t ino)
{
	struct row_key key = row_key(ROW_ORPHAN, ino);

	return btree_del(&c->bt, row_span(&key));
}

int catalog_next_orphan(struct catalog *c, uint64_t after, uint64_t *ret_ino)
{
	struct span value;

	return next_of_kind(c, ROW_ORPHAN, after, ret_ino, &value);
}

/* --- files that expire --- */

int catalog_add_ttl(struct catalog *c, uint64_t ino)
{
	struct row_key key = row_key(ROW_TTL, ino);

	assert(ino > 0);
	return btree_put(&c->bt, row_span(&key), span_of(NULL, 0));
}

int catalog_next_ttl(struct catalog *c, uint64_t after, uint64_t *ret_ino)
{
	struct span value;

	return next_of_kind(c, ROW_TTL, after, ret_ino, &value);
}

/* --- the whole inode --- */

static int del_all(struct catalog *c, enum row_kind kind, uint64_t ino)
{
	struct row_key prefix = row_key(kind, ino);
	uint8_t copy[BTREE_KEY_MAX];
	struct btree_cursor cur;
	struct span key, value;
	int r;

	for (;;) {
		r = btree_seek(&c->bt, row_span(&prefix), &cur);
		if (r < 0)
			return r;
		r = btree_next(&cur, &key, &value);
		if (r < 0)
			return r;
		if (r == 0 || !row_is_of(key, row_span(&prefix)))
			return 0;
		assert(key.n <= sizeof(copy));
		memcpy(copy, key.p, key.n);
		r = btree_del(&c->bt, span_of(copy, key.n));
		if (r < 0)
			return r;
	}
}

static const struct {
	enum row_kind kind;
	unsigned rows;
} purged[] = {
	{ ROW_TARGET, ROWS_TARGET }, { ROW_TTL, ROWS_TTL },
	{ ROW_QUEUE, ROWS_QUEUE },   { ROW_TIME, ROWS_QUEUE },
	{ ROW_CURSOR, ROWS_QUEUE },
};

static int del_if_there(struct catalog *c, enum row_kind kind, uint64_t ino)
{
	struct row_key key = row_key(kind, ino);
	int r = btree_del(&c->bt, row_span(&key));

	return r == -ENOENT ? 0 : r;
}

int catalog_del_queue(struct catalog *c, uint64_t ino)
{
	int r = del_all(c, ROW_QUEUE, ino);

	if (r >= 0)
		r = del_all(c, ROW_TIME, ino);
	return r < 0 ? r : del_all(c, ROW_CURSOR, ino);
}

int catalog_purge(struct catalog *c, uint64_t ino, unsigned rows)
{
	int r;

	assert(ino > 0);
	r = del_all(c, ROW_XATTR, ino);
	for (size_t i = 0; r == 0 && i < ARRAY_LEN(purged); i++)
		if (rows & purged[i].rows)
			r = del_all(c, purged[i].kind, ino);
	if (r == 0)
		r = del_if_there(c, ROW_INODE, ino);
	/* The orphan mark goes last: while it is there, the purge can be done again. */
	return r < 0 ? r : del_if_there(c, ROW_ORPHAN, ino);
}

static int reserve_kind(struct catalog *c, enum row_kind kind, uint64_t ino)
{
	struct row_key from = row_key(kind, ino);
	struct row_key to = row_key(kind, ino + 1);

	return btree_reserve(&c->bt, row_span(&from), row_span(&to), 1);
}

int catalog_reserve_purge(struct catalog *c, uint64_t ino, unsigned rows)
{
	int r;

	assert(ino > 0);
	r = reserve_kind(c, ROW_XATTR, ino);
	for (size_t i = 0; r == 0 && i < ARRAY_LEN(purged); i++)
		if (rows & purged[i].rows)
			r = reserve_kind(c, purged[i].kind, ino);
	if (r == 0)
		r = reserve_kind(c, ROW_INODE, ino);
	return r < 0 ? r : reserve_kind(c, ROW_ORPHAN, ino);
}

int catalog_reserve_orphan(struct catalog *c, uint64_t ino)
{
	return reserve_kind(c, ROW_ORPHAN, ino);
}
