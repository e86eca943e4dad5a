/* txn.c - transactions: edits made on private copies, put in place by one record.
 *
 * Invariants
 * 1. A file's bytes are edited in its private copy, an inode without a name that only the
 *    transaction knows; those edits are logged as any others, and mean nothing to anybody until the
 *    commit. The next opening reaps the copy when there is none.
 * 2. The commit is one op: the copies and the files swap their bytes, then the staged ops
 *    follow (apply_txn.c).
 * 3. It happens only if the version of each file the transaction read or edited is still what it
 *    was at the first use. */
#include "core/txn.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "core/acl.h"
#include "core/base/err.h"
#include "core/policy.h"
#include "core/queue.h"
#include "core/store_priv.h"
#include "core/txn_format.h"

#define DATA_MAX (WAL_RECORD_MAX - 4096u)
#define TRIES	 1000u /* of a step that others keep from happening */

struct txn_file {
	uint64_t ino;
	uint64_t version;
	uint64_t copy; /* the inode that is edited; 0: only read so far */
	bool created; /* by the transaction: copy is ino */
};

struct ropefs_txn {
	struct ropefs *fs;
	struct htab files; /* by ino */
	struct buf staged; /* of struct txn_item */
	struct buf places; /* size_t: where each begins */
	size_t n_swaps;
};

int ropefs_txn_begin(struct ropefs *fs, struct ropefs_txn **ret)
{
	struct ropefs_txn *t;
	int r;

	err_clear();
	r = store_writable(fs);
	if (r < 0)
		return r;
	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->fs = fs;
	*ret = t;
	return 0;
}

struct ropefs *txn_store(struct ropefs_txn *t)
{
	return t->fs;
}

/* Reaps what lost its last name in transactions, and is in nobody's hands. */
static void reap_gone(struct ropefs *fs)
{
	_cleanup_(buf_release) struct buf gone = BUF_INIT;

	lock_take(&fs->engine);
	buf_swap(&gone, &fs->txn_gone);
	lock_drop(&fs->engine);
	for (size_t at = 0; at < gone.n; at += sizeof(uint64_t)) {
		uint64_t ino;

		memcpy(&ino, gone.p + at, sizeof(ino));
		if (ropefs_hold(fs, ino) >= 0)
			ropefs_release(fs, ino, 1);
	}
}

static void txn_free(struct ropefs_txn *t)
{
	struct htab_slot *slot;
	size_t at = 0;

	while ((slot = htab_next(&t->files, &at))) {
		struct txn_file *f = slot->value;

		if (f->copy)
			ropefs_release(t->fs, f->copy, 1);
		free(f);
	}
	htab_release(&t->files);
	buf_release(&t->staged);
	buf_release(&t->places);
	free(t);
}

void ropefs_txn_abort(struct ropefs_txn *t)
{
	if (t)
		txn_free(t);
}

void ropefs_txn_each(struct ropefs_txn *t, void (*fn)(void *arg, uint64_t ino), void *arg)
{
	struct htab_slot *slot;
	size_t at = 0;

	while ((slot = htab_next(&t->files, &at))) {
		const struct txn_file *f = slot->value;

		if (f->copy && !f->created)
			fn(arg, f->ino);
	}
}

/* --- files --- */

static int conflict(uint64_t ino)
{
	return err_set(E_CONFLICT,
		       "the file (inode %llu) was changed by somebody else since the "
		       "transaction first used it; begin again",
		       (unsigned long long)ino);
}

/* A regular file, whose version is returned. */
static int look_at(struct ropefs *fs, uint64_t ino, uint64_t *ret_version)
{
	struct ropefs_attr a;
	int r = ropefs_getattr(fs, ino, &a);

	if (r < 0)
		return r;
	if (!S_ISREG(a.mode))
		return S_ISDIR(a.mode) ? -EISDIR : -EINVAL;
	*ret_version = a.version;
	return 0;
}

static int add_file(struct ropefs_txn *t, const struct txn_file *what,
		    struct txn_file **ret)
{
	struct txn_file *f = malloc(sizeof(*f));
	int r;

	if (!f)
		return -ENOMEM;
	*f = *what;
	r = htab_put(&t->files, f->ino, f);
	if (r < 0) {
		free(f);
		return r;
	}
	*ret = f;
	return 0;
}

static int use(struct ropefs_txn *t, uint64_t ino, struct txn_file **ret)
{
	struct txn_file *f = htab_get(&t->files, ino);
	struct txn_file new = { .ino = ino };
	int r;

	if (f) {
		*ret = f;
		return 0;
	}
	r = look_at(t->fs, ino, &new.version);
	return r < 0 ? r : add_file(t, &new, ret);
}

/* A change of what nobody sees. */
static int unseen(struct ropefs *fs, struct op *op, bool frees)
{
	int r;

	op->unseen = true;
	r = change_begin(fs, op, 0, frees);
	return r < 0 ? r : change_end(fs, op, 0, NULL);
}

/* An inode without a name, held once. */
static int new_unnamed(struct ropefs *fs, const struct ropefs_new *what, uint64_t *ret)
{
	struct op op = { .type = OP_CREATE,
			 .dir = what->near,
			 .rdev = what->near ? CREATE_AS_NAMED : 0,
			 .mode = what->mode,
			 .uid = what->uid,
			 .gid = what->gid,
			 .unseen = true };
	int r = change_begin(fs, &op, 0, false);

	if (r < 0)
		return r;
	op.ino = fs->next_ino;
	r = change_end(fs, &op, 0, NULL);
	if (r >= 0)
		r = ropefs_hold(fs, op.ino);
	if (r >= 0)
		*ret = op.ino;
	return r;
}

static int version_check_locked(struct ropefs *fs, const struct txn_file *f)
{
	struct inode *in;
	int r = inode_get(fs, f->ino, &in);

	if (r == -ENOENT || (r >= 0 && inode_version(in) != f->version))
		return conflict(f->ino);
	return r;
}

static int clone_into(struct ropefs *fs, const struct txn_file *f, uint64_t copy)
{
	struct op op = { .type = OP_CLONE, .ino = copy, .src = f->ino, .unseen = true };
	int r = change_begin(fs, &op, 0, false);

	if (r < 0)
		return r;
	r = version_check_locked(fs, f);
	return r < 0 ? change_abort(fs, r) : change_end(fs, &op, 0, NULL);
}

static int may_edit(struct ropefs *fs, uint64_t ino)
{
	struct ropefs_attr a;
	int r = ropefs_getattr(fs, ino, &a);

	if (r >= 0 && a.is_queue)
		r = err_set(EPERM, "a queue only takes appends, and cuts at its head");
	return r;
}

/* The inode to edit in the place of ino. */
static int edit(struct ropefs_txn *t, uint64_t ino, uint64_t *ret_copy)
{
	const struct ropefs_new private = { .mode = S_IFREG | 0600 };
	struct txn_file *f;
	uint64_t copy;
	int r;

	err_clear();
	r = use(t, ino, &f);
	if (r < 0)
		return r;
	if (!f->copy || f->created) {
		r = may_edit(t->fs, ino);
		if (r < 0)
			return r;
	}
	if (!f->copy) {
		r = new_unnamed(t->fs, &private, &copy);
		if (r < 0)
			return r;
		r = clone_into(t->fs, f, copy);
		if (r < 0) {
			ropefs_release(t->fs, copy, 1);
			return r;
		}
		f->copy = copy;
		t->n_swaps++;
	}
	*ret_copy = f->copy;
	return 0;
}

/* The inode to read in the place of ino. */
static int look(struct ropefs_txn *t, uint64_t ino, uint64_t *ret)
{
	struct txn_file *f;
	int r = use(t, ino, &f);

	if (r >= 0)
		*ret = f->copy ? f->copy : ino;
	return r;
}

int ropefs_txn_getattr(struct ropefs_txn *t, uint64_t ino, struct ropefs_attr *ret)
{
	struct ropefs_attr copy, a;
	uint64_t at;
	int r;

	err_clear();
	r = look(t, ino, &at);
	if (r >= 0)
		r = ropefs_getattr(t->fs, ino, &a);
	if (r >= 0)
		r = ropefs_getattr(t->fs, at, &copy);
	if (r < 0)
		return r;
	a.size = copy.size;
	a.blocks = copy.blocks;
	*ret = a;
	return 0;
}

ssize_t ropefs_txn_read(struct ropefs_txn *t, uint64_t ino, uint64_t at, void *p,
			size_t n)
{
	uint64_t from;
	int r;

	err_clear();
	r = look(t, ino, &from);
	return r < 0 ? r : ropefs_read(t->fs, from, at, p, n, 0);
}

static int append_place(struct ropefs *fs, struct op *op)
{
	struct inode *in;
	int r = inode_get(fs, op->ino, &in);

	if (r >= 0)
		op->at = rope_bytes(&in->row.rope);
	return r;
}

ssize_t ropefs_txn_write(struct ropefs_txn *t, uint64_t ino, uint64_t at, const void *p,
			 size_t n, unsigned flags, uint64_t *ret_at)
{
	const uint8_t *from = p;
	size_t done = 0;
	uint64_t copy;
	int r = edit(t, ino, &copy);

	while (r >= 0 && done < n) {
		struct op op = { .type = OP_WRITE, .ino = copy, .at = at + done };

		op.unseen = true;
		op.data = span_of(from + done, MIN(n - done, (size_t)ROPEFS_WRITE_MAX));
		r = change_begin(t->fs, &op, 0, false);
		if (r < 0)
			break;
		if (flags & ROPEFS_APPEND)
			r = append_place(t->fs, &op);
		if (!done && ret_at)
			*ret_at = op.at;
		r = r < 0 ? change_abort(t->fs, r) : change_end(t->fs, &op, 0, NULL);
		if (r >= 0)
			done += op.data.n;
	}
	return r < 0 && !done ? r : (ssize_t)done;
}

ssize_t ropefs_txn_insert(struct ropefs_txn *t, uint64_t ino, uint64_t at, const void *p,
			  size_t n)
{
	struct op op = { .type = OP_INSERT, .at = at, .data = span_of(p, n) };
	int r = edit(t, ino, &op.ino);

	if (r >= 0 && n > ROPEFS_WRITE_MAX)
		r = err_set(EFBIG, "an insert takes at most %u bytes at once",
			    ROPEFS_WRITE_MAX);
	if (r >= 0)
		r = unseen(t->fs, &op, false);
	return r < 0 ? r : (ssize_t)n;
}

int ropefs_txn_cut(struct ropefs_txn *t, uint64_t ino, uint64_t at, uint64_t n)
{
	struct op op = { .type = OP_CUT, .at = at, .n = n };
	int r = edit(t, ino, &op.ino);

	return r < 0 ? r : unseen(t->fs, &op, true);
}

int ropefs_txn_truncate(struct ropefs_txn *t, uint64_t ino, uint64_t size)
{
	struct op op = { .type = OP_TRUNCATE, .n = size };
	int r = edit(t, ino, &op.ino);

	return r < 0 ? r : unseen(t->fs, &op, true);
}

/* An untouched file that bytes are taken from is read at this moment: had it changed since it
 * was first used, the commit will say so. */
int ropefs_txn_replace(struct ropefs_txn *t, struct ropefs_range dst,
		       struct ropefs_range src)
{
	struct op op = {
		.type = OP_REPLACE,
		.at = dst.at,
		.n = dst.n,
		.src_at = src.at,
		.src_n = src.n,
	};
	int r = edit(t, dst.ino, &op.ino);

	if (r >= 0)
		r = look(t, src.ino, &op.src);
	return r < 0 ? r : unseen(t->fs, &op, false);
}

ssize_t ropefs_txn_copy(struct ropefs_txn *t, struct ropefs_range dst,
			struct ropefs_range src)
{
	struct ropefs_attr to, from;
	uint64_t copy;
	int r = edit(t, dst.ino, &copy);

	if (r >= 0)
		r = ropefs_txn_getattr(t, dst.ino, &to);
	if (r >= 0)
		r = ropefs_txn_getattr(t, src.ino, &from);
	if (r < 0)
		return r;
	if (src.at >= from.size || !src.n)
		return 0;
	src.n = MIN(src.n, from.size - src.at);
	if (dst.at > to.size) {
		r = ropefs_txn_truncate(t, dst.ino, dst.at);
		to.size = dst.at;
	}
	if (r < 0)
		return r;
	dst.n = MIN(src.n, to.size - dst.at);
	r = ropefs_txn_replace(t, dst, src);
	return r < 0 ? r : (ssize_t)src.n;
}

int ropefs_txn_move(struct ropefs_txn *t, struct ropefs_range dst,
		    struct ropefs_range src)
{
	struct ropefs_attr a;
	uint64_t copy;
	int r;

	/* What overlaps otherwise is for apply_replace() to say. */
	if (src.ino == dst.ino && dst.at < src.at + src.n && dst.at > src.at)
		return err_set(
			EINVAL,
			"bytes %llu..%llu can't be moved to byte %llu, which is among "
			"them",
			(unsigned long long)src.at, (unsigned long long)(src.at + src.n),
			(unsigned long long)dst.at);
	r = ropefs_txn_getattr(t, src.ino, &a);
	if (r >= 0 && a.is_queue)
		return err_set(EPERM,
			       "bytes of a queue can be copied, but not moved away");
	if (r >= 0)
		r = edit(t, src.ino, &copy);
	if (r >= 0)
		r = ropefs_txn_replace(t, dst, src);
	if (r < 0)
		return r;
	if (src.ino == dst.ino && src.at >= dst.at + dst.n)
		src.at += src.n - dst.n;
	return ropefs_txn_cut(t, src.ino, src.at, src.n);
}

/* --- names and xattrs --- */

static int put_item(struct buf *b, const struct op *op)
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

	if (op->data.n > DATA_MAX || at > DATA_MAX - op->data.n)
		return err_set(EFBIG, "the names and xattrs of a transaction take more "
				      "than 4 MiB");
	r = buf_reserve(&t->places, sizeof(at));
	if (r >= 0)
		r = put_item(&t->staged, op);
	return r < 0 ? r : buf_append(&t->places, &at, sizeof(at));
}

static struct span span_name(struct ropefs_name name)
{
	return span_of(name.p, name.n);
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
	r = new_unnamed(t->fs, &unnamed, &new.ino);
	if (r < 0)
		return r;
	new.copy = new.ino;
	r = add_file(t, &new, &f);
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
	struct op op = {
		.type = OP_RENAME,
		.dir = dir,
		.name = span_name(name),
		.src = to_dir,
		.name2 = span_name(to_name),
		.mode = flags,
	};
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

/* --- the end --- */

static int put_swaps(struct ropefs_txn *t, struct buf *b)
{
	struct htab_slot *slot;
	size_t at = 0;
	int r = 0;

	while (r >= 0 && (slot = htab_next(&t->files, &at))) {
		const struct txn_file *f = slot->value;
		const struct op op = { .type = OP_SWAP, .ino = f->ino, .src = f->copy };

		if (f->copy && !f->created)
			r = put_item(b, &op);
	}
	return r;
}

/* What was staged; appends with the time they get. */
static int put_staged(struct ropefs_txn *t, struct buf *b)
{
	struct span rest = buf_span(&t->staged);
	struct op op;
	int r;

	while ((r = txn_next_op(&rest, &op)) > 0) {
		if (op.type == OP_APPEND)
			r = queue_time(t->fs, op.ino, &op.time);
		if (r >= 0)
			r = put_item(b, &op);
		if (r < 0)
			break;
	}
	return r;
}

static int versions_check_locked(struct ropefs_txn *t)
{
	struct htab_slot *slot;
	size_t at = 0;
	int r = 0;

	while (r >= 0 && (slot = htab_next(&t->files, &at))) {
		const struct txn_file *f = slot->value;

		if (!f->created)
			r = version_check_locked(t->fs, f);
	}
	return r;
}

static int commit(struct ropefs_txn *t)
{
	_cleanup_(buf_release) struct buf data = BUF_INIT;
	struct op op = { .type = OP_TXN };
	int r;

	err_clear();
	r = put_swaps(t, &data);
	if (r >= 0)
		r = put_staged(t, &data);
	if (r < 0)
		return r;
	if (data.n > DATA_MAX)
		return err_set(EFBIG,
			       "the transaction changes too many files and names: "
			       "its record takes %zu bytes, at most %u fit",
			       data.n, DATA_MAX);
	op.data = buf_span(&data);
	r = change_begin(t->fs, &op, 0, false);
	if (r < 0)
		return r;
	r = versions_check_locked(t);
	t->fs->txn_conflicts += r == -E_CONFLICT;
	if (r < 0 || !data.n)
		return change_abort(t->fs, r);
	return change_end(t->fs, &op, 0, NULL);
}

int ropefs_txn_commit(struct ropefs_txn *t)
{
	struct ropefs *fs = t->fs;
	int r = commit(t);
	char why[256];

	snprintf(why, sizeof(why), "%s", err_detail());
	txn_free(t);
	reap_gone(fs);
	if (r < 0 && *why)
		return err_set(-r, "%s", why);
	return r;
}

/* --- steps that are short transactions --- */

static int move_once(struct ropefs *fs, struct ropefs_range dst, struct ropefs_range src)
{
	struct ropefs_txn *t;
	int r = ropefs_txn_begin(fs, &t);

	if (r < 0)
		return r;
	r = ropefs_txn_move(t, dst, src);
	if (r >= 0)
		return ropefs_txn_commit(t);
	ropefs_txn_abort(t);
	return r;
}

int ropefs_move(struct ropefs *fs, struct ropefs_range dst, struct ropefs_range src)
{
	int r = -E_CONFLICT;

	for (unsigned i = 0; r == -E_CONFLICT && i < TRIES; i++)
		r = move_once(fs, dst, src);
	return r;
}
