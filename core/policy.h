/* policy.h - settings of files and folders: xattrs user.ropefs.KEY, checked when they are
 * set and hidden from listxattr. A folder's holds for all below it that has none of its own;
 * a file looks in the folder where it was made or moved to last. docs/POLICIES.md lists them. */
#ifndef ROPEFS_POLICY_H
#define ROPEFS_POLICY_H

#include "core/base/buf.h"

struct ropefs;
struct inode;

#define POLICY_PREFIX "user.ropefs."

/* One key. A new one is a row of the table in policy.c. */
struct policy {
	const char *key;
	const char *values; /* what may be set, for people */
	/* 0 or -EINVAL with a sentence. */
	int (*check)(struct span value);
};

/* Is the xattr's name one of ours? */
bool policy_is_ours(struct span name);
/* NULL: there is no such policy. name: with the prefix. */
const struct policy *policy_find(struct span name);
/* 0, or -EINVAL with a sentence, for a value about to be set. */
int policy_check(struct span name, struct span value);
/* The value that holds for an inode. 0; -ENODATA; an error. *ret_from: whose it is. Engine
 * lock held. */
int policy_get(struct ropefs *fs, struct inode *in, const char *key, struct buf *ret,
	       uint64_t *ret_from);
/* All that hold for an inode, as lines "KEY VALUE INO": INO is whose it is. */
int policy_list(struct ropefs *fs, struct inode *in, struct buf *ret);

enum framing_mode { FRAMING_LINE = 1, FRAMING_WRITE = 2, FRAMING_LENGTH = 3 };
struct framing {
	enum framing_mode mode;
	uint32_t length; /* of a record; FRAMING_LENGTH only */
};
int framing_parse(struct span value, struct framing *ret);

struct retain {
	uint64_t age_ns, bytes, records; /* 0: no limit */
};
int retain_parse(struct span value, struct retain *ret);
int ttl_parse(struct span value, uint64_t *ret_ns);

#endif
