/* row.h - keys and checks of the catalog's rows. Private to the catalog. */
#ifndef ROPEFS_CATALOG_ROW_H
#define ROPEFS_CATALOG_ROW_H

#include <string.h>

#include "core/catalog/catalog.h"
#include "core/catalog/row_format.h"

/* Keys of all but xattrs. */
struct row_key {
	uint8_t n;
	uint8_t b[ROW_KEY_ENTRY];
};

static inline struct span row_span(const struct row_key *k)
{
	return span_of(k->b, k->n);
}

static inline struct row_key row_key(enum row_kind kind, uint64_t ino)
{
	struct row_key k = { .n = ROW_KEY_INO };

	k.b[0] = (uint8_t)kind;
	be64_store(k.b + 1, ino);
	return k;
}

static inline struct row_key row_key_entry(uint64_t dir, uint64_t cookie)
{
	struct row_key k = row_key(ROW_ENTRY, dir);

	be64_store(k.b + ROW_KEY_INO, cookie);
	k.n = ROW_KEY_ENTRY;
	return k;
}

static inline bool row_is_of(struct span key, struct span prefix)
{
	return key.n >= prefix.n && !memcmp(key.p, prefix.p, prefix.n);
}

/* Of a key of at least ROW_KEY_INO bytes. */
static inline uint64_t row_ino(struct span key)
{
	return be64_load(key.p + 1);
}

/* The name in a checked xattr key. */
static inline struct span row_xattr_name(struct span key)
{
	return span_of(key.p + ROW_KEY_INO, key.n - ROW_KEY_INO - 2);
}

/* 0, or -E_CORRUPT with a sentence that names the row. */
int row_check(struct span key, struct span value);
/* 1 with the first row >= from, checked, if its key begins with the first `same` bytes of from;
 * else 0. Borrowed as from a cursor. */
int row_next(struct btree *bt, struct span from, size_t same, struct span *ret_key,
	     struct span *ret_value);

#endif
