/* path.c - what people call an inode. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/store_priv.h"

#define PATH_DEPTH_MAX 64
#define PATH_LOOK_MAX  100000u /* names of one directory that are looked through */

/* The name that dir has for ino. -ENOENT. */
static int name_in(struct catalog *cat, uint64_t dir, uint64_t ino, struct entry *ret)
{
	uint64_t after = 0;
	int r;

	for (unsigned i = 0; i < PATH_LOOK_MAX; i++) {
		r = catalog_next_entry(cat, dir, after, ret);
		if (r <= 0)
			return r < 0 ? r : -ENOENT;
		if (ret->ino == ino)
			return 0;
		after = ret->cookie;
	}
	return -ENOENT;
}

/* Puts "/name" before what is at *at; false: no room. */
static bool put_before(char *path, size_t *at, const struct entry *e)
{
	if (*at < e->name_len + 1u)
		return false;
	*at -= e->name_len;
	memcpy(path + *at, e->name, e->name_len);
	path[--*at] = '/';
	return true;
}

static bool find_path(struct catalog *cat, uint64_t ino, char *path, size_t *at)
{
	struct inode_row row;
	struct entry e;

	for (int depth = 0; depth < PATH_DEPTH_MAX; depth++) {
		if (ino == ROPEFS_ROOT_INO)
			return true;
		if (catalog_get_inode(cat, ino, &row) < 0 ||
		    name_in(cat, le64_get(row.parent), ino, &e) < 0 ||
		    !put_before(path, at, &e))
			return false;
		ino = le64_get(row.parent);
	}
	return false;
}

void inode_path(struct catalog *cat, uint64_t ino, char ret[INODE_PATH_MAX])
{
	char path[INODE_PATH_MAX];
	size_t at = sizeof(path) - 1;

	path[at] = '\0';
	if (!find_path(cat, ino, path, &at))
		snprintf(ret, INODE_PATH_MAX, "inode %llu", (unsigned long long)ino);
	else
		snprintf(ret, INODE_PATH_MAX, "%s", path[at] ? path + at : "/");
}

/* Of a file in a snapshot: what follows the path of its folder. NULL: it is not below that. */
static const char *below(const char *path, const char *dir)
{
	size_t n = strcmp(dir, "/") ? strlen(dir) : 0;

	return !strncmp(path, dir, n) && (path[n] == '/' || path[n] == '\0') ? path + n
									     : NULL;
}

bool inode_shown_path(struct ropefs *fs, uint64_t ino, char ret[INODE_PATH_MAX])
{
	char path[INODE_PATH_MAX], then[INODE_PATH_MAX], now[INODE_PATH_MAX];
	struct catalog cat = fs->catalog;
	const char *rest;
	struct snapshot s;
	int n;

	assert(lock_held(&fs->engine));
	if (!ropefs_in_snapshot(ino)) {
		inode_path(&cat, ino, ret);
		return true;
	}
	if (snapshots_get(&fs->snaps, ino_snapshot(ino), &s) < 0) {
		snprintf(ret, INODE_PATH_MAX, "inode %llu", (unsigned long long)ino);
		return true;
	}
	cat.bt.root = s.catalog;
	inode_path(&cat, ino_base(ino), path);
	inode_path(&cat, s.dir, then);
	inode_path(&fs->catalog, s.dir, now);
	rest = below(path, then);
	n = rest ? snprintf(ret, INODE_PATH_MAX, "%s/.snap/%s%s",
			    strcmp(now, "/") ? now : "", s.name, rest)
		 : INODE_PATH_MAX;
	if (n >= INODE_PATH_MAX)
		snprintf(ret, INODE_PATH_MAX, "snapshot %.255s: %.300s", s.name, path);
	return rest || path[0] != '/';
}
