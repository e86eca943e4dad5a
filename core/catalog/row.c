/* row.c - what rows of the catalog must look like, and how they read in words. */
#include "core/catalog/row.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/base/err.h"
#include "core/base/time_text.h"
#include "core/catalog/queue_rows.h"

static int bad_row(struct span key, struct span value, const char *why)
{
	return err_set(E_CORRUPT,
		       "catalog: row of kind 0x%02x of inode %llu (%zu bytes of key, "
		       "%zu of value) %s; the store needs ropectl fsck",
		       key.n ? key.p[0] : 0u,
		       (unsigned long long)(key.n >= ROW_KEY_INO ? row_ino(key) : 0),
		       key.n, value.n, why);
}

static const char *inode_wrong(const struct inode_row *row)
{
	const struct rope *rope = &row->rope;

	if (le32_get(row->version) != INODE_ROW_VERSION)
		return "has a version unknown here";
	if (rope->levels > ROPE_LEVELS_MAX)
		return "has a rope of too many levels";
	if (rope->levels > 0 && noderef_is_none(&rope->u.root))
		return "has a rope without a root";
	if (rope->levels == 0 && rope->n_inline > ROPE_INLINE)
		return "has a rope of too many extents";
	return NULL;
}

static const char *entry_wrong(struct span value)
{
	const struct entry_row *row = (const struct entry_row *)value.p;
	size_t n;

	if (value.n <= sizeof(*row) || value.n > sizeof(*row) + CATALOG_NAME_MAX)
		return "has a name of a wrong length";
	n = value.n - sizeof(*row);
	if (memchr(row->name, '\0', n) || memchr(row->name, '/', n))
		return "has a name with a byte no name may have";
	return NULL;
}

static bool xattr_key_ok(struct span key)
{
	size_t n;

	if (key.n < ROW_KEY_INO + 3 || key.n > ROW_KEY_INO + CATALOG_NAME_MAX + 2)
		return false;
	n = key.n - ROW_KEY_INO - 2;
	return memchr(key.p + ROW_KEY_INO, '\0', n + 1) == key.p + ROW_KEY_INO + n;
}

static const char *snapshot_wrong(struct span key, struct span value)
{
	const struct snapshot_row *row = (const struct snapshot_row *)value.p;
	size_t n;

	if (row_ino(key) == 0)
		return value.n == sizeof(struct noderef)
			       ? NULL
			       : "has a value of a wrong length";
	if (value.n <= sizeof(*row) || value.n > sizeof(*row) + CATALOG_NAME_MAX)
		return "has a name of a wrong length";
	n = value.n - sizeof(*row);
	if (memchr(row->name, '\0', n) || memchr(row->name, '/', n))
		return "has a name with a byte no name may have";
	if (row_ino(key) > SNAPSHOT_ID_MAX || le64_get(row->dir) > SNAPSHOT_INO_MAX)
		return "has a number that no snapshot has";
	return noderef_is_none(&row->catalog) ? "has no tree" : NULL;
}

static bool queue_key_ok(struct span key)
{
	if (key.n == ROW_KEY_INO)
		return true;
	if (key.p[ROW_KEY_INO] == ROW_PART_TAIL)
		return key.n == ROW_KEY_INO + 1;
	return key.p[ROW_KEY_INO] <= ROW_PART_MARK && key.n == ROW_KEY_INO + 9;
}

static const char *row_wrong(struct span key, struct span value)
{
	static const char wrong_key[] = "has a key of a wrong form";
	static const char wrong_value[] = "has a value of a wrong length";

	switch (key.p[0]) {
	case ROW_INODE:
		if (key.n != ROW_KEY_INO)
			return wrong_key;
		if (value.n != sizeof(struct inode_row))
			return wrong_value;
		return inode_wrong((const struct inode_row *)value.p);
	case ROW_ENTRY:
		return key.n == ROW_KEY_ENTRY ? entry_wrong(value) : wrong_key;
	case ROW_XATTR:
		if (!xattr_key_ok(key))
			return wrong_key;
		return value.n <= CATALOG_PART ? NULL : wrong_value;
	case ROW_TARGET:
		if (key.n != ROW_KEY_INO + 1)
			return wrong_key;
		return value.n <= CATALOG_PART ? NULL : wrong_value;
	case ROW_ORPHAN:
	case ROW_TTL:
		if (key.n != ROW_KEY_INO)
			return wrong_key;
		return value.n == 0 ? NULL : wrong_value;
	case ROW_SNAPSHOT:
		return key.n == ROW_KEY_INO ? snapshot_wrong(key, value) : wrong_key;
	case ROW_QUEUE:
		return queue_key_ok(key) ? NULL : wrong_key;
	case ROW_TIME:
		if (key.n != ROW_KEY_INO + 16)
			return wrong_key;
		return value.n == 0 ? NULL : wrong_value;
	case ROW_CURSOR:
		if (key.n == ROW_KEY_INO || key.n > ROW_KEY_INO + CURSOR_NAME_MAX)
			return wrong_key;
		return value.n == 24 ? NULL : wrong_value;
	default:
		return "is of no known kind";
	}
}

int row_check(struct span key, struct span value)
{
	const char *why = key.n >= ROW_KEY_INO ? row_wrong(key, value)
					       : "has a key that is too short";

	return why ? bad_row(key, value, why) : 0;
}

/* --- words --- */

struct text {
	char line[1400]; /* a name of 255 bytes, each as \xNN, and numbers */
	size_t n;
};

_printf_(2, 3) static void text_add(struct text *t, const char *fmt, ...)
{
	va_list ap;
	int r;

	assert(t->n < sizeof(t->line));
	va_start(ap, fmt);
	r = vsnprintf(t->line + t->n, sizeof(t->line) - t->n, fmt, ap);
	va_end(ap);
	if (r > 0)
		t->n = MIN(t->n + (size_t)r, sizeof(t->line) - 1);
}

static void text_add_name(struct text *t, struct span name)
{
	text_add(t, "\"");
	for (size_t i = 0; i < name.n; i++) {
		uint8_t c = name.p[i];

		if (c < ' ' || c > '~' || c == '"' || c == '\\')
			text_add(t, "\\x%02x", c);
		else
			text_add(t, "%c", c);
	}
	text_add(t, "\"");
}

static void inode_to_text(struct text *t, const struct inode_row *row)
{
	const struct rope *rope = &row->rope;

	text_add(t, ": mode %o, uid %u, gid %u, links %u, parent %llu, entries %llu",
		 le32_get(row->mode), le32_get(row->uid), le32_get(row->gid),
		 le32_get(row->nlink), (unsigned long long)le64_get(row->parent),
		 (unsigned long long)le64_get(row->entries));
	text_add(t, ", mtime %s, %llu bytes, ",
		 time_text((int64_t)le64_get(row->mtime)).s,
		 (unsigned long long)le64_get(rope->bytes));
	if (rope->levels)
		text_add(t, "rope of %u levels", rope->levels);
	else
		text_add(t, "%u extents inline", rope->n_inline);
	if (le64_get(row->saved_bytes))
		text_add(t, ", %llu bytes saved by compression",
			 (unsigned long long)le64_get(row->saved_bytes));
}

static void entry_to_text(struct text *t, struct span key, struct span value)
{
	const struct entry_row *row = (const struct entry_row *)value.p;

	text_add(t, ": cookie %llu, inode %llu, type %u, name ",
		 (unsigned long long)be64_load(key.p + ROW_KEY_INO),
		 (unsigned long long)le64_get(row->ino), row->type);
	text_add_name(t, span_of(row->name, value.n - sizeof(*row)));
}

static void snapshot_to_text(struct text *t, struct span key, struct span value)
{
	const struct snapshot_row *row = (const struct snapshot_row *)value.p;

	if (!row_ino(key)) {
		text_add(t, "tree of snapshots");
		return;
	}
	text_add(t,
		 "snapshot %llu of %llu, epoch %llu, %s, inodes %llu, bytes %llu, name ",
		 (unsigned long long)row_ino(key), (unsigned long long)le64_get(row->dir),
		 (unsigned long long)le64_get(row->epoch),
		 time_text((int64_t)le64_get(row->time)).s,
		 (unsigned long long)le64_get(row->inodes),
		 (unsigned long long)le64_get(row->bytes));
	text_add_name(t, span_of(row->name, value.n - sizeof(*row)));
}

static void queue_to_text(struct text *t, struct span key, struct span value)
{
	static const char *const parts[] = { "block", "last block", "mark" };

	text_add(t, "queue %llu", (unsigned long long)row_ino(key));
	if (key.n > ROW_KEY_INO)
		text_add(t, ": %s", parts[key.p[ROW_KEY_INO]]);
	if (key.n > ROW_KEY_INO + 1)
		text_add(t, " of record %llu",
			 (unsigned long long)be64_load(key.p + ROW_KEY_INO + 1));
	text_add(t, ", %zu bytes", value.n);
}

void catalog_row_to_text(struct span key, struct span value,
			 void (*print)(void *arg, const char *line), void *arg)
{
	struct text t = { .n = 0 };

	if (row_check(key, value) < 0) {
		print(arg, err_detail());
		return;
	}
	switch (key.p[0]) {
	case ROW_INODE:
		text_add(&t, "inode %llu", (unsigned long long)row_ino(key));
		inode_to_text(&t, (const struct inode_row *)value.p);
		break;
	case ROW_ENTRY:
		text_add(&t, "entry of %llu", (unsigned long long)row_ino(key));
		entry_to_text(&t, key, value);
		break;
	case ROW_XATTR:
		text_add(&t, "xattr of %llu: part %u, %zu bytes, name ",
			 (unsigned long long)row_ino(key), key.p[key.n - 1], value.n);
		text_add_name(&t, row_xattr_name(key));
		break;
	case ROW_TARGET:
		text_add(&t, "target of %llu: part %u, %zu bytes",
			 (unsigned long long)row_ino(key), key.p[key.n - 1], value.n);
		break;
	case ROW_SNAPSHOT:
		snapshot_to_text(&t, key, value);
		break;
	case ROW_TTL:
		text_add(&t, "ttl of %llu", (unsigned long long)row_ino(key));
		break;
	case ROW_QUEUE:
		queue_to_text(&t, key, value);
		break;
	case ROW_TIME:
		text_add(&t, "block by time of %llu: until %s, record %llu",
			 (unsigned long long)row_ino(key),
			 time_text((int64_t)be64_load(key.p + ROW_KEY_INO)).s,
			 (unsigned long long)be64_load(key.p + ROW_KEY_INO + 8));
		break;
	case ROW_CURSOR:
		text_add(&t, "cursor of %llu: name ", (unsigned long long)row_ino(key));
		text_add_name(&t, span_of(key.p + ROW_KEY_INO, key.n - ROW_KEY_INO));
		break;
	default:
		text_add(&t, "orphan %llu", (unsigned long long)row_ino(key));
	}
	print(arg, t.line);
}

int row_next(struct btree *bt, struct span from, size_t same, struct span *ret_key,
	     struct span *ret_value)
{
	struct btree_cursor cur;
	struct span key, value;
	int r;

	assert(same <= from.n);
	r = btree_seek(bt, from, &cur);
	if (r < 0)
		return r;
	r = btree_next(&cur, &key, &value);
	if (r <= 0)
		return r;
	if (!row_is_of(key, span_of(from.p, same)))
		return 0;
	r = row_check(key, value);
	if (r < 0)
		return r;
	*ret_key = key;
	*ret_value = value;
	return 1;
}
