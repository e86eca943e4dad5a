/* row_format.h - the rows of the catalog, version 2; struct inode_row is in catalog.h.
 *
 *	key					value
 *	'I' ino be64			 9 B	struct inode_row, 192 B
 *	'D' dir be64, cookie be64	17 B	struct entry_row, then the name, 1..255 B
 *	'X' ino be64, name, 0, part u8		at most CATALOG_PART bytes
 *	'L' ino be64, part u8		10 B	at most CATALOG_PART bytes
 *	'O' ino be64			 9 B	empty
 *	'E' ino be64			 9 B	empty
 *	'S' 0 be64			 9 B	noderef: root of the tree of snapshots
 *
 * The tree of snapshots is a B+tree of the same kind:
 *	'S' id be64			 9 B	struct snapshot_row, then the name, 1..255 B
 *
 *	'Q', 'T', 'C'				queues: core/queue/queue_format.h
 *
 * Numbers in keys are big-endian, so that rows sort by them. */
#ifndef ROPEFS_CATALOG_ROW_FORMAT_H
#define ROPEFS_CATALOG_ROW_FORMAT_H

#include "core/base/le.h"
#include "core/base/util.h"
#include "core/page/noderef.h"

enum row_kind {
	ROW_CURSOR = 'C',
	ROW_ENTRY = 'D',
	ROW_TTL = 'E',
	ROW_INODE = 'I',
	ROW_TARGET = 'L',
	ROW_ORPHAN = 'O',
	ROW_QUEUE = 'Q',
	ROW_SNAPSHOT = 'S',
	ROW_TIME = 'T',
	ROW_XATTR = 'X',
};

enum row_queue_part { ROW_PART_BLOCK = 0, ROW_PART_TAIL = 1, ROW_PART_MARK = 2 };

#define ROW_KEY_INO	  9u /* kind and inode number: how every key begins */
#define ROW_KEY_ENTRY	  17u
#define INODE_ROW_VERSION 1u
/* Of snapshots, and of the inodes that they can show. */
#define SNAPSHOT_INO_BITS 40
#define SNAPSHOT_INO_MAX  (((uint64_t)1 << SNAPSHOT_INO_BITS) - 1)
#define SNAPSHOT_ID_MAX	  (((uint64_t)1 << 20) - 1)

/*	0  ino   le64
 *	8  type  u8	DT_REG ...
 *	9  name
 */
struct entry_row {
	le64 ino;
	uint8_t type;
	uint8_t name[];
};
static_assert(sizeof(struct entry_row) == 9, "an entry row begins with 9 bytes on disk");

/*	 0  catalog  noderef	root of the catalog at that instant; has no row 'S' itself
 *	32  dir      le64	directory below which it is shown
 *	40  epoch    le64	its nodes were born until then
 *	48  time     le64	ns since 1970
 *	56  inodes   le64	of the whole store, at that instant
 *	64  bytes    le64	sum of file sizes less holes, likewise
 *	72  name
 */
struct snapshot_row {
	struct noderef catalog;
	le64 dir;
	le64 epoch;
	le64 time;
	le64 inodes;
	le64 bytes;
	uint8_t name[];
};
static_assert(sizeof(struct snapshot_row) == 72, "a snapshot row begins with 72 bytes");

#endif
