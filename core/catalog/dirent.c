/* dirent.c - directory entries.
 *
 * Entries of a directory lie in the order of their cookies. A name's cookie is its hash
 * with the low byte replaced by the first number no entry of the same hash has, so
 * finding a name looks at the up to 128 rows of that hash (nearly always one). An entry
 * keeps its cookie while it lives; a number is used again once its entry is gone. */
#include "core/catalog/dirent.h"

#include <errno.h>
#include <string.h>

#include "core/base/err.h"
#include "core/catalog/row.h"

#define SAME_HASH_MAX 128u /* bit 7 is whose who shows cookies */
#define COOKIE_FIRST  256u /* below: . and .. and what else comes */

/* 63 bits with the lowest eight 0. */
static uint64_t cookie_of_hash(uint64_t hash)
{
	return MAX(hash >> 9 << 8, COOKIE_FIRST);
}

static int name_check(struct span name)
{
	if (name.n > CATALOG_NAME_MAX)
		return -ENAMETOOLONG;
	if (name.n == 0 || memchr(name.p, '/', name.n) || memchr(name.p, '\0', name.n))
		return -EINVAL;
	return 0;
}

static void entry_from_row(struct span key, struct span value, struct entry *ret)
{
	const struct entry_row *row = (const struct entry_row *)value.p;
	size_t n = value.n - sizeof(*row);

	assert(key.n == ROW_KEY_ENTRY);
	assert(n > 0 && n <= CATALOG_NAME_MAX);
	ret->ino = le64_get(row->ino);
	ret->cookie = be64_load(key.p + ROW_KEY_INO);
	ret->type = row->type;
	ret->name_len = (uint8_t)n;
	memcpy(ret->name, row->name, n);
	ret->name[n] = '\0';
}

/* Looks through the entries of the name's hash. 0 with the entry in *ret_key and
 * *ret_value (borrowed); or -ENOENT with the cookie a new one gets in *ret_free, 0 when
 * none is left. */
static int find(struct catalog *c, const struct dirent_name *at, struct span *ret_key,
		struct span *ret_value, uint64_t *ret_free)
{
	uint64_t base = cookie_of_hash(at->hash), free_cookie = base;
	struct row_key from = row_key_entry(at->dir, base);
	struct btree_cursor cur;
	struct span key, value;
	int r;

	r = btree_seek(&c->bt, row_span(&from), &cur);
	if (r < 0)
		return r;
	while ((r = btree_next(&cur, &key, &value)) > 0) {
		const struct entry_row *row = (const struct entry_row *)value.p;

		/* All but the last byte of the key: the same hash. */
		if (!row_is_of(key, span_of(from.b, ROW_KEY_ENTRY - 1)))
			break;
		r = row_check(key, value);
		if (r < 0)
			return r;
		if (value.n == sizeof(*row) + at->name.n &&
		    !memcmp(row->name, at->name.p, at->name.n)) {
			*ret_key = key;
			*ret_value = value;
			return 0;
		}
		if (be64_load(key.p + ROW_KEY_INO) == free_cookie)
			free_cookie++;
	}
	if (r < 0)
		return r;
	*ret_free = free_cookie - base < SAME_HASH_MAX ? free_cookie : 0;
	return -ENOENT;
}

static int put_row(struct catalog *c, struct span key, const struct dirent_name *at,
		   uint64_t ino, uint8_t type)
{
	uint8_t bytes[sizeof(struct entry_row) + CATALOG_NAME_MAX];
	struct entry_row *row = (struct entry_row *)bytes;

	assert(ino > 0);
	assert(at->name.n > 0 && at->name.n <= CATALOG_NAME_MAX);
	row->ino = le64_put(ino);
	row->type = type;
	memcpy(row->name, at->name.p, at->name.n);
	return btree_put(&c->bt, key, span_of(bytes, sizeof(*row) + at->name.n));
}

int dirent_lookup(struct catalog *c, const struct dirent_name *at, struct entry *ret)
{
	struct span key, value;
	uint64_t free_cookie;
	int r;

	r = find(c, at, &key, &value, &free_cookie);
	if (r < 0)
		return r;
	entry_from_row(key, value, ret);
	return 0;
}

int dirent_add(struct catalog *c, const struct dirent_name *at, uint64_t ino,
	       uint8_t type)
{
	struct span key, value;
	struct row_key new_key;
	uint64_t cookie;
	int r;

	r = find(c, at, &key, &value, &cookie);
	if (r == 0)
		return -EEXIST;
	if (r != -ENOENT)
		return r;
	if (cookie == 0)
		return err_set(ENOSPC, "directory %llu: %u names share a hash already",
			       (unsigned long long)at->dir, SAME_HASH_MAX);
	new_key = row_key_entry(at->dir, cookie);
	return put_row(c, row_span(&new_key), at, ino, type);
}

/* The key of an entry that is there, as a copy that outlives edits. */
static int find_key(struct catalog *c, const struct dirent_name *at, struct row_key *ret)
{
	struct span key, value;
	uint64_t free_cookie;
	int r;

	r = find(c, at, &key, &value, &free_cookie);
	if (r < 0)
		return r;
	*ret = row_key_entry(at->dir, be64_load(key.p + ROW_KEY_INO));
	return 0;
}

int dirent_del(struct catalog *c, const struct dirent_name *at)
{
	struct row_key key;
	int r;

	r = find_key(c, at, &key);
	if (r < 0)
		return r;
	return btree_del(&c->bt, row_span(&key));
}

static int set_at(struct catalog *c, const struct dirent_name *at, uint64_t ino,
		  uint8_t type)
{
	struct row_key key;
	int r;

	r = find_key(c, at, &key);
	if (r < 0)
		return r;
	return put_row(c, row_span(&key), at, ino, type);
}

/* -EINVAL or -ENAMETOOLONG, or where a name of the directory belongs. */
static int name_place(const struct catalog *c, uint64_t dir, struct span name,
		      struct dirent_name *ret)
{
	int r = name_check(name);

	if (r >= 0)
		*ret = (struct dirent_name) { dir, name, keys_name_hash(c->keys, name) };
	return r;
}

int catalog_lookup(struct catalog *c, uint64_t dir, struct span name, struct entry *ret)
{
	struct dirent_name at = { 0 };
	int r = name_place(c, dir, name, &at);

	return r < 0 ? r : dirent_lookup(c, &at, ret);
}

int catalog_add_entry(struct catalog *c, uint64_t dir, struct span name, uint64_t ino,
		      uint8_t type)
{
	struct dirent_name at = { 0 };
	int r = name_place(c, dir, name, &at);

	return r < 0 ? r : dirent_add(c, &at, ino, type);
}

int catalog_del_entry(struct catalog *c, uint64_t dir, struct span name)
{
	struct dirent_name at = { 0 };
	int r = name_place(c, dir, name, &at);

	return r < 0 ? r : dirent_del(c, &at);
}

int catalog_del_found(struct catalog *c, uint64_t dir, const struct entry *e)
{
	struct row_key key = row_key_entry(dir, e->cookie);

	return btree_del(&c->bt, row_span(&key));
}

int catalog_set_entry(struct catalog *c, uint64_t dir, struct span name, uint64_t ino,
		      uint8_t type)
{
	struct dirent_name at = { 0 };
	int r = name_place(c, dir, name, &at);

	return r < 0 ? r : set_at(c, &at, ino, type);
}

int catalog_next_entry(struct catalog *c, uint64_t dir, uint64_t after, struct entry *ret)
{
	struct row_key from = row_key_entry(dir, after + 1);
	struct span key, value;
	int r;

	if (after == UINT64_MAX)
		return 0;
	r = row_next(&c->bt, row_span(&from), ROW_KEY_INO, &key, &value);
	if (r > 0)
		entry_from_row(key, value, ret);
	return r;
}
