/* salvage.h - what is left of a catalog with damaged nodes, made a whole one again.
 *
 * Rows that can be read stay as they are; what belongs to something that is gone goes too.
 * What has lost its name gets one in the folder lost+found; a folder that has lost its row but
 * not its names is made anew, for root alone. */
#ifndef ROPEFS_CATALOG_SALVAGE_H
#define ROPEFS_CATALOG_SALVAGE_H

#include "core/base/htab.h"
#include "core/catalog/catalog.h"

/* Puts the rows of all nodes of `from` that can be read into `to` (NULL: only looks), and
 * counts those that can't. -ENOMEM. */
int btree_salvage(const struct btree *from, struct btree *to, uint64_t *ret_broken);

enum salvage_event {
	SALVAGE_ENTRY_GONE, /* name in dir: its inode is lost */
	SALVAGE_NAMED, /* ino lost its names and is called name in dir now */
	SALVAGE_DIR_MADE, /* ino is a folder whose row was lost */
	SALVAGE_XATTR_GONE, /* name of ino: a part of its value is lost */
	SALVAGE_LINK_GONE, /* ino, a symlink whose target is lost */
};
struct salvage_note {
	enum salvage_event event;
	uint64_t ino, dir;
	const char *name;
};

struct salvage {
	struct catalog *cat;
	int64_t now_ns;
	uint64_t root; /* number of the root directory */
	uint64_t new_ino; /* number of lost+found, should it be made */
	/* May look into the catalog, and not change it. */
	void (*told)(void *arg, const struct salvage_note *note);
	void *arg;
	/* Results */
	uint64_t inodes, last_ino;
	/* Its own */
	struct htab known;
	struct buf gone; /* keys of rows, each behind its length (u16) */
	uint64_t lost_found;
};
int catalog_salvage(struct salvage *s);

#endif
