/* snapshots.h - the tree of snapshots: a B+tree beside the catalog, one row a snapshot, each
 * with the root of the catalog as it was.
 *
 * The live catalog has the root of this tree in a row ('S', 0) while a checkpoint writes both;
 * a snapshot's catalog never has that row. So all that is stored hangs below one root, and no
 * snapshot holds another. */
#ifndef ROPEFS_CATALOG_SNAPSHOTS_H
#define ROPEFS_CATALOG_SNAPSHOTS_H

#include <stdarg.h>
#include <stddef.h>

#include "core/catalog/catalog.h"
#include "core/catalog/row_format.h"

struct snapshot {
	uint64_t id; /* from 1 */
	uint64_t dir;
	uint64_t epoch;
	int64_t time; /* ns since 1970 */
	uint64_t inodes, bytes;
	struct noderef catalog;
	uint8_t name_len;
	char name[CATALOG_NAME_MAX + 1]; /* with a NUL behind it */
};

/* A line for people about s, or with NULL about what lives: "snapshot NAME: ", and the text. */
void snapshot_line(const struct snapshot *s, char *line, size_t n, const char *fmt,
		   va_list ap);

int snapshots_get(struct btree *bt, uint64_t id, struct snapshot *ret); /* -ENOENT */
/* 1 with the first snapshot whose id is > after, 0 at the end. */
int snapshots_next(struct btree *bt, uint64_t after, struct snapshot *ret);
int snapshots_put(struct btree *bt, const struct snapshot *s);
int snapshots_del(struct btree *bt, uint64_t id);

/* The row in the catalog that holds the tree's root. get: -ENOENT; put: none removes it. */
int catalog_get_snapshots(struct catalog *c, struct noderef *ret_root);
int catalog_put_snapshots(struct catalog *c, const struct noderef *root);

#endif
