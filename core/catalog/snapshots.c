#include "core/catalog/snapshots.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/catalog/row.h"

/* A whole row: the part of fixed size, and the longest name. */
union row_buf {
	struct snapshot_row row;
	uint8_t b[sizeof(struct snapshot_row) + CATALOG_NAME_MAX];
};

static void from_row(struct span key, struct span value, struct snapshot *ret)
{
	const struct snapshot_row *row = (const struct snapshot_row *)value.p;
	size_t n = value.n - sizeof(*row);

	assert(n > 0 && n <= CATALOG_NAME_MAX);
	*ret = (struct snapshot) {
		.id = row_ino(key),
		.dir = le64_get(row->dir),
		.epoch = le64_get(row->epoch),
		.time = (int64_t)le64_get(row->time),
		.inodes = le64_get(row->inodes),
		.bytes = le64_get(row->bytes),
		.catalog = row->catalog,
		.name_len = (uint8_t)n,
	};
	memcpy(ret->name, row->name, n);
}

int snapshots_get(struct btree *bt, uint64_t id, struct snapshot *ret)
{
	struct row_key key = row_key(ROW_SNAPSHOT, id);
	struct span value;
	int r;

	if (!id)
		return -ENOENT;
	r = btree_get(bt, row_span(&key), &value);
	if (r >= 0)
		r = row_check(row_span(&key), value);
	if (r < 0)
		return r;
	from_row(row_span(&key), value, ret);
	return 0;
}

int snapshots_next(struct btree *bt, uint64_t after, struct snapshot *ret)
{
	struct row_key from = row_key(ROW_SNAPSHOT, after + 1);
	struct span key, value;
	int r;

	assert(after < UINT64_MAX);
	r = row_next(bt, row_span(&from), 1, &key, &value);
	if (r > 0)
		from_row(key, value, ret);
	return r;
}

int snapshots_put(struct btree *bt, const struct snapshot *s)
{
	struct row_key key = row_key(ROW_SNAPSHOT, s->id);
	union row_buf buf = { .row = {
				      .catalog = s->catalog,
				      .dir = le64_put(s->dir),
				      .epoch = le64_put(s->epoch),
				      .time = le64_put((uint64_t)s->time),
				      .inodes = le64_put(s->inodes),
				      .bytes = le64_put(s->bytes),
			      } };
	struct span value = span_of(buf.b, sizeof(buf.row) + s->name_len);

	assert(s->id > 0);
	memcpy(buf.row.name, s->name, s->name_len);
	assert(row_check(row_span(&key), value) == 0);
	return btree_put(bt, row_span(&key), value);
}

int snapshots_del(struct btree *bt, uint64_t id)
{
	struct row_key key = row_key(ROW_SNAPSHOT, id);

	assert(id > 0);
	return btree_del(bt, row_span(&key));
}

void snapshot_line(const struct snapshot *s, char *line, size_t n, const char *fmt,
		   va_list ap)
{
	size_t at = 0;

	if (s)
		at = (size_t)snprintf(line, n, "snapshot %s: ", s->name);
	assert(at < n);
	vsnprintf(line + at, n - at, fmt, ap);
}

int catalog_get_snapshots(struct catalog *c, struct noderef *ret_root)
{
	struct row_key key = row_key(ROW_SNAPSHOT, 0);
	struct span value;
	int r;

	r = btree_get(&c->bt, row_span(&key), &value);
	if (r >= 0)
		r = row_check(row_span(&key), value);
	if (r < 0)
		return r;
	memcpy(ret_root, value.p, sizeof(*ret_root));
	return 0;
}

int catalog_put_snapshots(struct catalog *c, const struct noderef *root)
{
	struct row_key key = row_key(ROW_SNAPSHOT, 0);
	int r;

	if (!noderef_is_none(root))
		return btree_put(&c->bt, row_span(&key), span_of(root, sizeof(*root)));
	r = btree_del(&c->bt, row_span(&key));
	return r == -ENOENT ? 0 : r;
}
