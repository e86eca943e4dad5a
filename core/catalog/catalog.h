/* catalog.h - what is where: inodes, directory entries, xattrs, symlink targets, orphans,
 * as rows of one B+tree.
 *
 *	key				value
 *	'I' ino(be64)			inode row (inode_format.h)
 *	'D' dir(be64) cookie(be64)	entry row: ino le64, type u8, name
 *	'X' ino(be64) name 0 part(u8)	a part of an xattr's value
 *	'L' ino(be64) part(u8)		a part of a symlink's target
 *	'O' ino(be64)			an inode without names that is still in use
 *	'E' ino(be64)			an inode that has or had a ttl of its own
 *	'S' 0(be64)			root of the tree of snapshots (snapshots.h)
 *
 * A cookie is the keyed hash of the name, cut to 55 bits and never below 1, times 256,
 * plus a number that tells equal hashes apart: it is the stable position of readdir, fits
 * a positive off_t, and its order says nothing about names. Values longer than a part are
 * split into parts; the last part is shorter than CATALOG_PART (possibly empty). */
#ifndef ROPEFS_CATALOG_CATALOG_H
#define ROPEFS_CATALOG_CATALOG_H

#include <sys/types.h>

#include "core/catalog/btree.h"
#include "core/keys/keys.h"
#include "core/rope/rope.h"

#define CATALOG_NAME_MAX   255u
#define CATALOG_PART	   1000u
#define CATALOG_XATTR_MAX  65536u
#define CATALOG_TARGET_MAX 4095u

struct catalog {
	struct btree bt;
	const struct keys *keys; /* for the name hash */
};

/* Registers the btree kinds: a leaf's children are the roots of ropes (levels > 0) in
 * inode rows and the trees that snapshot rows name, its extents those kept inline in inode
 * rows. */
void catalog_register(struct nodes *ns);

/* An inode row, in memory as on disk (all le, sizes fixed). Times are ns since 1970, as
 * le64 of an int64. */
struct inode_row {
	le32 version; /* 1 */
	le32 mode; /* S_IFMT | permissions */
	le32 uid;
	le32 gid;
	le32 nlink;
	le32 flags; /* INODE_* of store_priv.h */
	le64 rdev;
	le64 parent; /* the directory it is in; of another inode: was made in, or moved to
		      * last; 0: unknown (older stores), or it never had a name */
	le64 atime, mtime, ctime, btime;
	le64 entries; /* of a directory: entries in it; of a symlink: its length; of a
			 * regular file: the version of its bytes, see inode_version() */
	le64 data_bytes; /* of a file: bytes that are not holes */
	le64 spare;
	le64 saved_bytes; /* of data_bytes: what compression saved, about (stored.h) */
	struct rope rope; /* regular files */
};
static_assert(sizeof(struct inode_row) == 192, "inode row is 192 bytes on disk");

int catalog_get_inode(struct catalog *c, uint64_t ino,
		      struct inode_row *ret); /* -ENOENT */
int catalog_put_inode(struct catalog *c, uint64_t ino, const struct inode_row *row);
int catalog_del_inode(struct catalog *c, uint64_t ino);

struct entry {
	uint64_t ino;
	uint64_t cookie;
	uint8_t type; /* DT_REG ... */
	uint8_t name_len;
	char name[CATALOG_NAME_MAX + 1]; /* with a NUL behind it */
};
int catalog_lookup(struct catalog *c, uint64_t dir, struct span name, struct entry *ret);
/* -EEXIST, -ENOSPC when 128 names share a hash. */
int catalog_add_entry(struct catalog *c, uint64_t dir, struct span name, uint64_t ino,
		      uint8_t type);
int catalog_del_entry(struct catalog *c, uint64_t dir, struct span name); /* -ENOENT */
/* Points an existing entry at another inode, keeping its cookie. */
/* The entry that catalog_lookup() has just found. */
int catalog_del_found(struct catalog *c, uint64_t dir, const struct entry *e);
int catalog_set_entry(struct catalog *c, uint64_t dir, struct span name, uint64_t ino,
		      uint8_t type);
/* 1 with the first entry whose cookie is > after, 0 at the end. */
int catalog_next_entry(struct catalog *c, uint64_t dir, uint64_t after,
		       struct entry *ret);

/* xattrs: names up to 255 bytes without NUL. */
int catalog_get_xattr(struct catalog *c, uint64_t ino, struct span name, struct buf *ret);
int catalog_set_xattr(struct catalog *c, uint64_t ino, struct span name,
		      struct span value);
int catalog_del_xattr(struct catalog *c, uint64_t ino, struct span name); /* -ENODATA */
/* Names, each followed by a NUL. */
int catalog_list_xattr(struct catalog *c, uint64_t ino, struct buf *ret);

int catalog_set_target(struct catalog *c, uint64_t ino, struct span target);
int catalog_get_target(struct catalog *c, uint64_t ino, struct buf *ret);

int catalog_add_orphan(struct catalog *c, uint64_t ino);
int catalog_del_orphan(struct catalog *c, uint64_t ino);
/* 1 with the first orphan with number > after, 0 when none is left. */
int catalog_next_orphan(struct catalog *c, uint64_t after, uint64_t *ret_ino);

int catalog_add_ttl(struct catalog *c, uint64_t ino);
/* 1 with the first such inode with number > after, 0 when none is left. */
int catalog_next_ttl(struct catalog *c, uint64_t after, uint64_t *ret_ino);

/* Rows that an inode may have besides xattrs, its own and the orphan mark. */
enum catalog_rows {
	ROWS_TARGET = 1,
	ROWS_TTL = 2,
	ROWS_QUEUE = 4, /* its table and cursors */
	ROWS_ALL = 7,
};
/* Removes every row of an inode but its entries in directories. The rope must have been cleared.
 * rows: of enum catalog_rows; each kind that it can't have is a search less. */
int catalog_purge(struct catalog *c, uint64_t ino, unsigned rows);
/* Reads and reserves what that takes, so that (nodes_trim() apart) it can't fail. -EIO,
 * -E_CORRUPT, -ENOMEM. */
int catalog_reserve_purge(struct catalog *c, uint64_t ino, unsigned rows);
/* The same for catalog_add_orphan(). */
int catalog_reserve_orphan(struct catalog *c, uint64_t ino);
/* Only the rows that make it a queue. */
int catalog_del_queue(struct catalog *c, uint64_t ino);

/* Every inode in order of number: 1 with the first ino > after and its row; 0 at the end. */
int catalog_next_inode(struct catalog *c, uint64_t after, uint64_t *ret_ino,
		       struct inode_row *ret);
/* One row in words. */
void catalog_row_to_text(struct span key, struct span value,
			 void (*print)(void *arg, const char *line), void *arg);

#endif
