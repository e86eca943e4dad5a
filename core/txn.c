/* txn.c - transactions: edits made on private copies, put in place by one record.
 *
 * Invariants
 * 1. A file's bytes are edited in its private copy, an inode without a name that only the
 *    transaction knows; those edits are logged as any others, and mean nothing to anybody until the
 *    commit. The next opening reaps the copy when there is none, or goes on with it
 *    (ropefs_txn_resume()).
 * 2. The commit is one op: the copies and the files swap their bytes, then the staged ops
 *    follow (apply_txn.c).
 * 3. It happens only if the version of each file the transaction read or edited is still what it
 *    was at the first use. */
#include "core/txn.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/err.h"
#include "core/store_priv.h"
#include "core/txn_priv.h"

#define TRIES 1000u /* of a step that others keep from happening */

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
	buf_release(&t->log);
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

static int note_file(struct ropefs_txn *t, const struct txn_file *f)
{
	return t->fs->opts.push ? buf_append(&t->log, f, sizeof(*f)) : 0;
}

int txn_add_file(struct ropefs_txn *t, const struct txn_file *what, struct txn_file **ret)
{
	struct txn_file *f = malloc(sizeof(*f));
	int r;

	if (!f)
		return -ENOMEM;
	*f = *what;
	r = note_file(t, f);
	if (r >= 0)
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
	return r < 0 ? r : txn_add_file(t, &new, ret);
}

/* A change of what nobody sees. */
static int unseen(struct ropefs *fs, struct op *op, bool frees)
{
	int r;

	op->unseen = true;
	r = change_begin(fs, op, 0, frees);
	return r < 0 ? r : change_end(fs, op, 0, NULL);
}

int txn_new_unnamed(struct ropefs *fs, const struct ropefs_new *what, uint64_t *ret)
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

static int make_copy(struct ropefs_txn *t, struct txn_file *f)
{
	const struct ropefs_new private = { .mode = S_IFREG | 0600 };
	struct txn_file with = *f;
	int r = txn_new_unnamed(t->fs, &private, &with.copy);

	if (r < 0)
		return r;
	r = clone_into(t->fs, f, with.copy);
	if (r >= 0)
		r = note_file(t, &with);
	if (r < 0) {
		ropefs_release(t->fs, with.copy, 1);
		return r;
	}
	*f = with;
	t->n_swaps++;
	return 0;
}

/* The inode to edit in the place of ino. */
static int edit(struct ropefs_txn *t, uint64_t ino, uint64_t *ret_copy)
{
	struct txn_file *f;
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
	if (!f->copy)
		r = make_copy(t, f);
	if (r >= 0)
		*ret_copy = f->copy;
	return r;
}

int ropefs_txn_touch(struct ropefs_txn *t, uint64_t ino)
{
	uint64_t copy;

	return edit(t, ino, &copy);
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

int ropefs_txn_move_begin(struct ropefs_txn *t, struct ropefs_range dst,
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
	return r < 0 ? r : edit(t, dst.ino, &copy);
}

int ropefs_txn_move_step(struct ropefs_txn *t, struct ropefs_range dst,
			 struct ropefs_range src, unsigned step)
{
	if (!step)
		return ropefs_txn_replace(t, dst, src);
	if (src.ino == dst.ino && src.at >= dst.at + dst.n)
		src.at += src.n - dst.n;
	return ropefs_txn_cut(t, src.ino, src.at, src.n);
}

int ropefs_txn_move(struct ropefs_txn *t, struct ropefs_range dst,
		    struct ropefs_range src)
{
	int r = ropefs_txn_move_begin(t, dst, src);

	if (r >= 0)
		r = ropefs_txn_move_step(t, dst, src, 0);
	return r < 0 ? r : ropefs_txn_move_step(t, dst, src, 1);
}

/* --- another process goes on --- */

void ropefs_txn_state(const struct ropefs_txn *t, struct ropefs_txn_state *ret)
{
	*ret = (struct ropefs_txn_state) { t->log.p, t->staged.p, t->log.n, t->staged.n };
}

static int resume_file(struct ropefs_txn *t, const struct txn_file *is)
{
	struct txn_file *f = htab_get(&t->files, is->ino), bare = *is;
	int r;

	bare.copy = 0; /* it is not held yet */
	r = f ? 0 : txn_add_file(t, &bare, &f);
	if (r < 0 || !is->copy)
		return r;
	r = f->copy ? -EINVAL : ropefs_hold(t->fs, is->copy);
	if (r < 0)
		return r;
	*f = *is;
	t->n_swaps += !f->created;
	return note_file(t, f);
}

static int resume_staged(struct ropefs_txn *t, const void *p, size_t n)
{
	struct span rest;
	struct op op;
	size_t at = 0;
	int r = n ? buf_append(&t->staged, p, n) : 0;

	rest = buf_span(&t->staged);
	while (r >= 0 && (r = txn_next_op(&rest, &op)) > 0) {
		r = buf_append(&t->places, &at, sizeof(at));
		at = t->staged.n - rest.n;
	}
	return r;
}

int ropefs_txn_resume(struct ropefs *fs, const struct ropefs_txn_state *is,
		      struct ropefs_txn **ret)
{
	struct txn_file f;
	struct ropefs_txn *t;
	int r = ropefs_txn_begin(fs, &t);

	if (r < 0)
		return r;
	for (size_t at = 0; r >= 0 && at + sizeof(f) <= is->files_n; at += sizeof(f)) {
		memcpy(&f, (const uint8_t *)is->files + at, sizeof(f));
		r = resume_file(t, &f);
	}
	if (r >= 0)
		r = resume_staged(t, is->staged, is->staged_n);
	if (r < 0)
		ropefs_txn_abort(t);
	else
		*ret = t;
	return r;
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
			r = txn_put_item(b, &op);
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
			r = txn_put_item(b, &op);
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
	if (data.n > TXN_DATA_MAX)
		return err_set(EFBIG,
			       "the transaction changes too many files and names: "
			       "its record takes %zu bytes, at most %u fit",
			       data.n, TXN_DATA_MAX);
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

static int do_once(struct ropefs *fs, txn_steps_fn steps, const void *arg)
{
	struct ropefs_txn *t;
	uint64_t *noted;
	int r = ropefs_txn_begin(fs, &t);

	if (r < 0)
		return r;
	/* Before the commit nothing is done that who is asked again may take for done. */
	noted = noted_lsn_take();
	r = steps(t, arg);
	ropefs_note_lsn(noted);
	if (r >= 0)
		return ropefs_txn_commit(t);
	noted = noted_lsn_take();
	ropefs_txn_abort(t);
	ropefs_note_lsn(noted);
	return r;
}

int txn_do(struct ropefs *fs, txn_steps_fn steps, const void *arg)
{
	int r = -E_CONFLICT;

	for (unsigned i = 0; r == -E_CONFLICT && i < TRIES; i++)
		r = do_once(fs, steps, arg);
	return r;
}

struct moving {
	struct ropefs_range dst, src;
};

static int move_steps(struct ropefs_txn *t, const void *arg)
{
	const struct moving *m = arg;

	return ropefs_txn_move(t, m->dst, m->src);
}

int ropefs_move(struct ropefs *fs, struct ropefs_range dst, struct ropefs_range src)
{
	const struct moving m = { dst, src };

	return txn_do(fs, move_steps, &m);
}
