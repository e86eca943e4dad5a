/* op.h - every change of a store is one op: what the public functions fill in, what the log
 * holds, and what replay applies again. Applying an op is deterministic: times and new inode
 * numbers are in it. */
#ifndef ROPEFS_OP_H
#define ROPEFS_OP_H

#include "core/base/buf.h"

struct iovec;

enum op_type { /* values are in the log: never renumber */
	       OP_WRITE = 1, /* overwrite or extend ino at `at` with data */
	       OP_INSERT = 2,
	       OP_CUT = 3, /* take [at, at+n) out */
	       OP_TRUNCATE = 4, /* size becomes n */
	       OP_PUNCH = 5, /* [at, at+n) becomes a hole; FLAG_KEEP_SIZE */
	       OP_REPLACE =
		       6, /* [at, at+n) of ino becomes [src_at, src_at+src_n) of src */
	       OP_CLONE = 7, /* empty ino becomes src as a whole */
	       OP_CREATE =
		       8, /* name in dir, or no name: an orphan; data: a symlink's target */
	       OP_LINK = 9,
	       OP_UNLINK = 10, /* FLAG_REAP: nobody holds it */
	       OP_RMDIR = 11,
	       OP_RENAME = 12, /* dir/name to src/name2; flags of renameat2 in `mode` */
	       OP_SETATTR = 13, /* the fields named by `set` */
	       OP_SETXATTR = 14, /* name, data */
	       OP_RMXATTR = 15,
	       OP_REAP = 16, /* an orphan nobody holds any more */
	       OP_WHITEOUT = 17, /* a rename that leaves device 0:0 as ino in its place */
	       OP_SNAPSHOT = 20, /* n: its id; dir, name */
	       OP_SNAPSHOT_DROP = 21, /* n */
	       OP_APPEND =
		       24, /* records of a queue: data, cut by flags and n; at: refused
				* before them */
	       OP_MARK = 25, /* what the clocks said; name: boot id, src: life */
	       OP_TRIM = 26, /* a queue's records before n go */
	       OP_CURSOR_SET = 27, /* name stands before record at */
	       OP_CURSOR_DEL = 28,
	       OP_TXN = 32, /* data: several ops that happen together (txn_format.h) */
	       OP_SWAP = 33, /* the bytes of ino and src change places */
	       OP_PUT = 34, /* the bytes of ino become data */
};
#define OP_TYPE_MAX 48

#define OP_FLAG_KEEP_SIZE   1u
#define OP_FLAG_REAP	    2u /* the last name goes and nobody holds the inode */
#define OP_FLAGS_FRAMING    3u /* of an append: enum framing_mode */
#define OP_FLAG_GAP	    4u /* the record says that others are missing */
#define OP_FLAG_REAP_TARGET 4u /* the same of a rename's replaced target */

/* rdev of a create of a regular file without a name: it is made for the folder dir, where a
 * transaction will give it one. */
#define CREATE_AS_NAMED 1u

struct op {
	uint8_t type;
	uint32_t flags;
	uint64_t ino;
	uint64_t at, n;
	uint64_t dir;
	uint64_t src, src_at, src_n;
	int64_t time; /* ns since 1970 */
	uint32_t mode, uid, gid, set;
	uint64_t rdev;
	int64_t atime, mtime;
	struct span name, name2, data;
	/* Not in the log: nobody is told that it is there, so durability=sync needs no wait. */
	bool unseen;
};

/* A record's body: a head of the fields its type has, then data. */
#define OP_HEAD_MAX 700
struct op_head {
	uint8_t b[OP_HEAD_MAX];
	size_t n;
};
void op_encode(const struct op *op, struct op_head *ret_head);
/* Spans in *ret borrow from body. -E_CORRUPT. */
int op_decode(uint8_t type, struct span body, struct op *ret);
/* One line in words, for ropefs-dump; shows lengths, not bytes, of data. */
void op_to_text(const struct op *op, char *line, size_t n);

#endif
