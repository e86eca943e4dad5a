/* htab.h - a hash table from u64 to pointers, open addressing, for the engine's caches.
 * Values are borrowed; a key is in the table once; NULL is no value. Not locked. */
#ifndef ROPEFS_BASE_HTAB_H
#define ROPEFS_BASE_HTAB_H

#include "core/base/util.h"

struct htab_slot {
	uint64_t key;
	void *value; /* NULL: empty */
};

struct htab {
	struct htab_slot *slots;
	size_t n; /* in use */
	size_t cap; /* 0 or a power of two */
};

#define HTAB_INIT ((struct htab) { 0 })

void htab_release(struct htab *t);
/* A key made of a text: FNV-1a (Fowler, Noll, Vo). Not for texts that an enemy chooses. */
uint64_t htab_hash_text(const char *text);
void *htab_get(const struct htab *t, uint64_t key);
/* The key must not be there yet. -ENOMEM leaves t as it was. */
int htab_put(struct htab *t, uint64_t key, void *value);
/* Returns the value that was there, or NULL. */
void *htab_del(struct htab *t, uint64_t key);
/* Next filled slot at or after *at (begin with 0), NULL at the end. Deleting while
 * walking moves entries: collect first, then delete. */
struct htab_slot *htab_next(const struct htab *t, size_t *at);

#endif
