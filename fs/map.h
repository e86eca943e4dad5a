/* map.h - a hash map from u64 to pointers, open addressing. Values are borrowed; a key is
 * in it once; NULL is no value. Not locked. */
#ifndef ROPEFS_FS_MAP_H
#define ROPEFS_FS_MAP_H

#include <stddef.h>
#include <stdint.h>

struct map_slot {
	uint64_t key;
	void *value; /* NULL: empty */
};

struct map {
	struct map_slot *slots;
	size_t n; /* in use */
	size_t cap; /* 0 or a power of two */
};

/* Frees the slots, and each value through drop() unless it is NULL. */
void map_release(struct map *m, void (*drop)(void *value));
void *map_get(const struct map *m, uint64_t key);
/* The key must not be there yet. -ENOMEM leaves m as it was. */
int map_put(struct map *m, uint64_t key, void *value);
/* Returns the value that was there, or NULL. */
void *map_del(struct map *m, uint64_t key);

#endif
