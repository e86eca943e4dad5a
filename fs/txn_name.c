/* txn_name.c - names and cursors in a transaction of a program on the mount.
 *
 * The kernel checks rights where a name is looked up by a path. Here it has only seen that the
 * folder could be opened, so whether it may be written is asked of the store. */
#include "fs/keep.h"
#include "fs/notify.h"
#include "fs/ops.h"
#include "fs/reply.h"
#include "fs/staged.h"
#include "fs/txn_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static int may_write_dir(fuse_req_t req, const struct ropefs_attr *dir)
{
	return caller_may_now(req, dir->ino, 2 | 1);
}

/* Who may take a name away from a sticky folder. */
static int may_take(fuse_req_t req, const struct ropefs_attr *dir, uint64_t ino)
{
	uint32_t uid = fuse_req_ctx(req)->uid;
	struct ropefs_attr a;
	int r = ropefs_getattr(daemon_of(req)->fs, ino, &a);

	if (r < 0)
		return r;
	if (S_ISDIR(a.mode))
		return -EISDIR;
	if (uid && dir->mode & S_ISVTX && uid != dir->uid && uid != a.uid)
		return -EPERM;
	return 0;
}

/* A folder that joined, which the caller may write. */
static int folder(struct task *t, const struct txn *x, uint32_t number,
		  struct ropefs_attr *ret)
{
	int r;

	if (!number || number > x->n || !x->members[number - 1].is_dir)
		return -ENOTDIR;
	r = ropefs_getattr(t->d->fs, x->members[number - 1].ino, ret);
	return r < 0 ? r : may_write_dir(t->req, ret);
}

static void note_name(struct txn *x, uint64_t dir, uint64_t ino, const char *name)
{
	struct txn_name n = { .dir = dir, .ino = ino };

	memcpy(n.name, name, strlen(name) + 1);
	txn_record(x, TXN_NAME, 0, &n, sizeof(n));
}

static int create(struct task *t, struct txn *x, struct ropefs_ioc_txn_name *n,
		  const struct ropefs_attr *dir)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(t->req);
	struct ropefs_new what = { .mode = S_IFREG | (n->mode & 07777),
				   .uid = ctx->uid,
				   .gid = dir->mode & S_ISGID ? dir->gid : ctx->gid };
	struct member m = { .uid = ctx->uid, .rights = FH_READ | FH_WRITE };
	int r = name_is_free(t->req, dir->ino, n->name);

	/* As Linux does: nobody makes programs that run for a group that is not his. */
	if (ctx->uid && what.mode & S_ISGID && !req_in_group(t->req, what.gid))
		what.mode &= ~(uint32_t)S_ISGID;
	if (r >= 0)
		r = ropefs_txn_create(x->core, dir->ino, ropefs_name(n->name), &what,
				      &m.ino);
	if (r < 0)
		return r;
	note_name(x, dir->ino, m.ino, n->name);
	return txn_join(x, &m, &n->file);
}

static int unlink_name(struct task *t, struct txn *x, const struct ropefs_ioc_txn_name *n,
		       const struct ropefs_attr *dir)
{
	uint64_t ino = 0;
	int r = name_is_theirs(t->req, dir->ino, n->name);

	if (r >= 0)
		r = ropefs_txn_lookup(x->core, dir->ino, ropefs_name(n->name), &ino);
	if (r >= 0)
		r = may_take(t->req, dir, ino);
	if (r < 0)
		return r;
	note_name(x, dir->ino, ino, n->name);
	return ropefs_txn_unlink(x->core, dir->ino, ropefs_name(n->name));
}

static int rename_name(struct task *t, struct txn *x, const struct ropefs_ioc_txn_name *n,
		       const struct ropefs_attr *dir)
{
	struct ropefs_attr to;
	uint64_t ino = 0, there = 0;
	int r = folder(t, x, n->to_dir, &to);

	if (r >= 0)
		r = name_is_theirs(t->req, dir->ino, n->name);
	if (r >= 0)
		r = name_is_free(t->req, to.ino, n->to_name);
	if (r >= 0)
		r = ropefs_txn_lookup(x->core, dir->ino, ropefs_name(n->name), &ino);
	if (r >= 0)
		r = may_take(t->req, dir, ino);
	if (r < 0)
		return r;
	r = ropefs_txn_lookup(x->core, to.ino, ropefs_name(n->to_name), &there);
	if (r >= 0)
		r = may_take(t->req, &to, there);
	if (r < 0 && r != -ENOENT)
		return r;
	note_name(x, dir->ino, ino, n->name);
	note_name(x, to.ino, there, n->to_name);
	return ropefs_txn_rename(x->core, dir->ino, ropefs_name(n->name), to.ino,
				 ropefs_name(n->to_name), n->mode);
}

static int set_cursor(struct task *t, struct txn *x, const struct ropefs_ioc_txn_name *n)
{
	struct ropefs_attr a;
	int r;

	if (!n->dir || n->dir > x->n || x->members[n->dir - 1].is_dir)
		return -EINVAL;
	r = ropefs_txn_getattr(x->core, x->members[n->dir - 1].ino, &a);
	if (r >= 0)
		r = caller_may_now(t->req, a.ino, 2);
	return r < 0 ? r : ropefs_txn_cursor_commit(x->core, a.ino, n->name, n->id);
}

int txn_name_change(struct task *t, struct txn *x, struct ropefs_ioc_txn_name *n)
{
	struct ropefs_attr dir;
	int r;

	n->name[sizeof(n->name) - 1] = n->to_name[sizeof(n->to_name) - 1] = '\0';
	if (n->reserved || n->what < ROPEFS_IOC_TXN_CREATE ||
	    n->what > ROPEFS_IOC_TXN_CURSOR)
		return -EINVAL;
	if (n->what == ROPEFS_IOC_TXN_CURSOR)
		return set_cursor(t, x, n);
	if (n->what == ROPEFS_IOC_TXN_RENAME &&
	    n->mode & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE))
		return -EINVAL;
	r = folder(t, x, n->dir, &dir);
	if (r < 0)
		return r;
	if (n->what == ROPEFS_IOC_TXN_CREATE)
		return create(t, x, n, &dir);
	return n->what == ROPEFS_IOC_TXN_UNLINK ? unlink_name(t, x, n, &dir)
						: rename_name(t, x, n, &dir);
}

void txn_names_forget(struct daemon *d, const struct txn *x)
{
	const struct txn_name *n;
	size_t at = 0;

	edit_dies_for_test();
	while ((n = txn_next_name(x, &at)) != NULL) {
		keep_wait_begin();
		fuse_lowlevel_notify_inval_entry(d->session, n->dir, n->name,
						 strlen(n->name));
		keep_wait_end();
		attrs_drop(d, n->dir);
		if (n->ino)
			attrs_drop(d, n->ino);
	}
}
