/* xattr.c - values cut into parts: xattrs and the targets of symlinks.
 *
 * Part n of a value is the row with the value's key and n behind it. All but the last
 * part have CATALOG_PART bytes and the last has fewer, so that a value says where it
 * ends.
 *
 * A change of several parts first has the tree reserve all it takes (btree_reserve());
 * after that it can't fail, so the old value stays whole or the new one is. */
#include <errno.h>
#include <string.h>

#include "core/base/err.h"
#include "core/catalog/row.h"

#define PARTS_MAX (CATALOG_XATTR_MAX / CATALOG_PART + 1)

/* What the keys of all parts of a value begin with, and room for the part. */
struct parts_key {
	uint8_t b[ROW_KEY_INO + CATALOG_NAME_MAX + 2];
	size_t n;
};

static struct span part_key(struct parts_key *k, unsigned part)
{
	assert(part <= UINT8_MAX);
	assert(k->n < sizeof(k->b));
	k->b[k->n] = (uint8_t)part;
	return span_of(k->b, k->n + 1);
}

static struct parts_key target_key(uint64_t ino)
{
	struct row_key key = row_key(ROW_TARGET, ino);
	struct parts_key k = { .n = key.n };

	memcpy(k.b, key.b, key.n);
	return k;
}

static int xattr_key(uint64_t ino, struct span name, struct parts_key *ret)
{
	struct row_key key = row_key(ROW_XATTR, ino);

	if (name.n > CATALOG_NAME_MAX)
		return -ERANGE;
	if (name.n == 0 || memchr(name.p, '\0', name.n))
		return -EINVAL;
	memcpy(ret->b, key.b, key.n);
	memcpy(ret->b + key.n, name.p, name.n);
	ret->b[key.n + name.n] = '\0';
	ret->n = key.n + name.n + 1;
	return 0;
}

/* Walks the rows of a value: 1 with the next part, 0 behind the last. */
static int next_part(struct btree_cursor *cur, const struct parts_key *k,
		     unsigned *ret_part, struct span *ret_value)
{
	struct span key, value;
	int r;

	r = btree_next(cur, &key, &value);
	if (r <= 0)
		return r;
	if (!row_is_of(key, span_of(k->b, k->n)))
		return 0;
	r = row_check(key, value);
	if (r < 0)
		return r;
	*ret_part = key.p[key.n - 1];
	*ret_value = value;
	return 1;
}

/* -ENOENT when there is no such value. */
static int parts_get(struct catalog *c, struct parts_key *k, struct buf *ret)
{
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	struct btree_cursor cur;
	struct span value = { NULL, CATALOG_PART };
	int r;

	r = btree_seek(&c->bt, part_key(k, 0), &cur);
	if (r < 0)
		return r;
	for (unsigned n = 0; value.n == CATALOG_PART; n++) {
		unsigned part = 0;

		r = next_part(&cur, k, &part, &value);
		if (r < 0)
			return r;
		if (r == 0 && n == 0)
			return -ENOENT;
		if (r == 0 || part != n || n >= PARTS_MAX)
			return err_set(E_CORRUPT,
				       "inode %llu: part %u of an xattr or target is "
				       "missing",
				       (unsigned long long)be64_load(k->b + 1), n);
		r = buf_append(&bytes, value.p, value.n);
		if (r < 0)
			return r;
	}
	buf_swap(ret, &bytes);
	return 0;
}

/* Which parts are there: their number, and that of the last plus one. */
struct parts_there {
	unsigned n;
	unsigned end;
};

static int parts_count(struct catalog *c, struct parts_key *k, struct parts_there *ret)
{
	struct parts_there there = { 0, 0 };
	struct btree_cursor cur;
	struct span value;
	unsigned part;
	int r;

	r = btree_seek(&c->bt, part_key(k, 0), &cur);
	if (r < 0)
		return r;
	while ((r = next_part(&cur, k, &part, &value)) > 0) {
		there.n++;
		there.end = part + 1;
	}
	if (r == 0)
		*ret = there;
	return r;
}

static int parts_reserve(struct catalog *c, struct parts_key *k, unsigned edits)
{
	struct parts_key end = *k;

	if (edits <= 1)
		return 0; /* an edit by itself is all or nothing */
	return btree_reserve(&c->bt, part_key(k, 0), part_key(&end, UINT8_MAX), edits);
}

/* Removes the parts [from, to). */
static int parts_cut(struct catalog *c, struct parts_key *k, unsigned from, unsigned to)
{
	for (unsigned part = from; part < to; part++) {
		int r = btree_del(&c->bt, part_key(k, part));

		if (r < 0 && r != -ENOENT)
			return r;
	}
	return 0;
}

static int parts_set(struct catalog *c, struct parts_key *k, struct span value)
{
	unsigned n = (unsigned)(value.n / CATALOG_PART) + 1;
	struct parts_there there;
	int r;

	assert(n <= PARTS_MAX);
	r = parts_count(c, k, &there);
	if (r < 0)
		return r;
	r = parts_reserve(c, k, n + (there.end > n ? there.end - n : 0));
	if (r < 0)
		return r;
	for (unsigned part = 0; part < n; part++) {
		size_t at = (size_t)part * CATALOG_PART;
		size_t bytes = MIN(value.n - at, CATALOG_PART);

		r = btree_put(&c->bt, part_key(k, part),
			      span_of(bytes ? value.p + at : NULL, bytes));
		if (r < 0)
			return r;
	}
	return parts_cut(c, k, n, there.end);
}

int catalog_get_xattr(struct catalog *c, uint64_t ino, struct span name, struct buf *ret)
{
	struct parts_key k;
	int r;

	r = xattr_key(ino, name, &k);
	if (r < 0)
		return r;
	r = parts_get(c, &k, ret);
	return r == -ENOENT ? -ENODATA : r;
}

int catalog_set_xattr(struct catalog *c, uint64_t ino, struct span name,
		      struct span value)
{
	struct parts_key k;
	int r;

	r = xattr_key(ino, name, &k);
	if (r < 0)
		return r;
	if (value.n > CATALOG_XATTR_MAX)
		return -E2BIG;
	return parts_set(c, &k, value);
}

int catalog_del_xattr(struct catalog *c, uint64_t ino, struct span name)
{
	struct parts_there there;
	struct parts_key k;
	int r;

	r = xattr_key(ino, name, &k);
	if (r < 0)
		return r;
	r = parts_count(c, &k, &there);
	if (r < 0)
		return r;
	if (there.n == 0)
		return -ENODATA;
	r = parts_reserve(c, &k, there.n);
	if (r < 0)
		return r;
	return parts_cut(c, &k, 0, there.end);
}

int catalog_list_xattr(struct catalog *c, uint64_t ino, struct buf *ret)
{
	_cleanup_(buf_release) struct buf names = BUF_INIT;
	struct row_key prefix = row_key(ROW_XATTR, ino);
	struct btree_cursor cur;
	struct span key, value;
	int r;

	r = btree_seek(&c->bt, row_span(&prefix), &cur);
	if (r < 0)
		return r;
	while ((r = btree_next(&cur, &key, &value)) > 0) {
		if (!row_is_of(key, row_span(&prefix)))
			break;
		r = row_check(key, value);
		if (r < 0)
			return r;
		if (key.p[key.n - 1] != 0) /* not the first part */
			continue;
		/* With the 0 that is behind the name in the key, too. */
		r = buf_append(&names, row_xattr_name(key).p, row_xattr_name(key).n + 1);
		if (r < 0)
			return r;
	}
	if (r < 0)
		return r;
	buf_swap(ret, &names);
	return 0;
}

int catalog_set_target(struct catalog *c, uint64_t ino, struct span target)
{
	struct parts_key k = target_key(ino);

	if (target.n > CATALOG_TARGET_MAX)
		return -ENAMETOOLONG;
	if (target.n == 0)
		return -EINVAL;
	return parts_set(c, &k, target);
}

int catalog_get_target(struct catalog *c, uint64_t ino, struct buf *ret)
{
	struct parts_key k = target_key(ino);

	return parts_get(c, &k, ret);
}
