/* txn_names.c - what a transaction stages: names, xattrs, records of queues and cursors, as ops
 * that the commit applies in their order, after the edits of files. */
#include <stdio.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "core/acl.h"
#include "core/base/err.h"
#include "core/policy.h"
#include "core/queue.h"
#include "core/store_priv.h"
#include "core/txn_priv.h"

int txn_put_item(struct buf *b, const struct op *op)
{
	struct op_head head;
	struct txn_item item = { .type = op->type };
	int r;

	op_encode(op, &head);
	item.bytes = le32_put((uint32_t)(head.n + op->data.n));
	r = buf_reserve(b, sizeof(item) + head.n + op->data.n);
	if (r < 0)
		return r;
	buf_append(b, &item, sizeof(item));
	buf_append(b, head.b, head.n);
	return op->data.n ? buf_append(b, op->data.p, op->data.n) : 0;
}

int txn_stage(struct ropefs_txn *t, const struct op *op)
{
	size_t at = t->staged.n;
	int r;

	if (op->data.n > TXN_DATA_MAX || at > TXN_DATA_MAX - op->data.n)
		return err_set(EFBIG, "the names and xattrs of a transaction take more "
				      "than 4 MiB");
	r = buf_reserve(&t->places, sizeof(at));
	if (r >= 0)
		r = txn_put_item(&t->staged, op);
	return r < 0 ? r : buf_append(&t->places, &at, sizeof(at));
}

static bool same_name(uint64_t dir, struct span name, uint64_t dir2, struct span name2)
{
	return dir == dir2 && name.n == name2.n && !memcmp(name.p, name2.p, name.n);
}

static void staged_op(const struct ropefs_txn *t, size_t i, struct op *ret)
{
	struct span rest;
	size_t at;

	memcpy(&at, t->places.p + i * sizeof(at), sizeof(at));
	rest = span_of(t->staged.p + at, t->staged.n - at);
	txn_next_op(&rest, ret);
}

/* What the name means behind all staged ops: each, from the last to the first, either decides, or
 * says which name it was before. */
int ropefs_txn_lookup(struct ropefs_txn *t, uint64_t dir, struct ropefs_name name,
		      uint64_t *ret_ino)
{
	struct span want = span_name(name);
	struct ropefs_attr a;
	int r;

	err_clear();
	for (size_t i = t->places.n / sizeof(size_t); i-- > 0;) {
		struct op op;

		staged_op(t, i, &op);
		if (op.type == OP_RENAME && same_name(dir, want, op.src, op.name2)) {
			dir = op.dir;
			want = op.name;
		} else if (op.type == OP_RENAME &&
			   same_name(dir, want, op.dir, op.name)) {
			if (!(op.mode & RENAME_EXCHANGE))
				return -ENOENT;
			dir = op.src;
			want = op.name2;
		} else if (op.type == OP_LINK && same_name(dir, want, op.dir, op.name)) {
			*ret_ino = op.ino;
			return 0;
		} else if (op.type == OP_UNLINK &&
			   same_name(dir, want, op.dir, op.name)) {
			return -ENOENT;
		}
	}
	r = ropefs_lookup(t->fs, dir,
			  (struct ropefs_name) { (const char *)want.p, want.n }, &a);
	if (r >= 0)
		*ret_ino = a.ino;
	return r;
}

int ropefs_txn_link(struct ropefs_txn *t, uint64_t ino, uint64_t dir,
		    struct ropefs_name name)
{
	struct op op = {
		.type = OP_LINK, .ino = ino, .dir = dir, .name = span_name(name)
	};
	int r = name_check(op.name);

	return r < 0 ? r : txn_stage(t, &op);
}

int ropefs_txn_create(struct ropefs_txn *t, uint64_t dir, struct ropefs_name name,
		      const struct ropefs_new *what, uint64_t *ret_ino)
{
	struct txn_file new = { .created = true }, *f;
	struct ropefs_new unnamed = *what;
	int r;

	err_clear();
	if (!S_ISREG(what->mode))
		return -EINVAL;
	unnamed.near = dir;
	r = ropefs_txn_lookup(t, dir, name, &new.ino);
	if (r != -ENOENT)
		return r < 0 ? r : -EEXIST;
	r = txn_new_unnamed(t->fs, &unnamed, &new.ino);
	if (r < 0)
		return r;
	new.copy = new.ino;
	r = txn_add_file(t, &new, &f);
	if (r < 0) {
		ropefs_release(t->fs, new.ino, 1);
		return r;
	}
	r = ropefs_txn_link(t, new.ino, dir, name);
	if (r >= 0)
		*ret_ino = new.ino;
	return r;
}

int ropefs_txn_unlink(struct ropefs_txn *t, uint64_t dir, struct ropefs_name name)
{
	struct op op = { .type = OP_UNLINK, .dir = dir, .name = span_name(name) };
	int r = name_check(op.name);

	return r < 0 ? r : txn_stage(t, &op);
}

int ropefs_txn_rename(struct ropefs_txn *t, uint64_t dir, struct ropefs_name name,
		      uint64_t to_dir, struct ropefs_name to_name, unsigned flags)
{
	struct op op = rename_op(dir, name, to_dir, to_name, flags);
	int r = name_check(op.name);

	if (r >= 0)
		r = name_check(op.name2);
	return r < 0 ? r : txn_stage(t, &op);
}

static int stage_xattr(struct ropefs_txn *t, struct op *op, const char *name)
{
	op->name = SPAN_STR(name);
	if (!op->name.n || op->name.n > ROPEFS_NAME_MAX)
		return -ERANGE;
	if (acl_is_access(op->name) || acl_is_default(op->name))
		return -EOPNOTSUPP; /* they change more than themselves */
	return txn_stage(t, op);
}

int ropefs_txn_setxattr(struct ropefs_txn *t, uint64_t ino, const char *name,
			const void *value, size_t n)
{
	struct op op = { .type = OP_SETXATTR, .ino = ino, .data = span_of(value, n) };

	int r;

	err_clear();
	if (n > CATALOG_XATTR_MAX)
		return -E2BIG;
	r = policy_is_ours(SPAN_STR(name)) ? policy_check(SPAN_STR(name), op.data) : 0;
	return r < 0 ? r : stage_xattr(t, &op, name);
}

int ropefs_txn_removexattr(struct ropefs_txn *t, uint64_t ino, const char *name)
{
	struct op op = { .type = OP_RMXATTR, .ino = ino };

	err_clear();
	return stage_xattr(t, &op, name);
}

int ropefs_txn_cursor_commit(struct ropefs_txn *t, uint64_t ino, const char *name,
			     uint64_t id)
{
	struct op op = { .type = OP_CURSOR_SET, .ino = ino, .at = id };
	struct ropefs_attr a;
	int r = ropefs_txn_getattr(t, ino, &a);

	err_clear();
	if (r >= 0 && !a.is_queue)
		r = err_set(EINVAL,
			    "it is an ordinary file, and only queues have cursors");
	if (r >= 0)
		r = cursor_name_check(name);
	op.name = SPAN_STR(name);
	return r < 0 ? r : txn_stage(t, &op);
}
