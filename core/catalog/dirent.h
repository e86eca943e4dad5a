/* dirent.h - directory entries by the hash of their name. catalog.h's functions hash the
 * name and call these; tests call them with hashes that collide. Private to the catalog.
 * Contracts are those of the functions in catalog.h. */
#ifndef ROPEFS_CATALOG_DIRENT_H
#define ROPEFS_CATALOG_DIRENT_H

#include "core/catalog/catalog.h"

struct dirent_name {
	uint64_t dir;
	struct span name;
	uint64_t hash;
};

int dirent_lookup(struct catalog *c, const struct dirent_name *at, struct entry *ret);
int dirent_add(struct catalog *c, const struct dirent_name *at, uint64_t ino,
	       uint8_t type);
int dirent_del(struct catalog *c, const struct dirent_name *at);

#endif
