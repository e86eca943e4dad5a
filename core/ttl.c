/* ttl.c - files that expire: those under a policy ttl=AGE that were not changed for so long.
 *
 * The catalog has a row 'E' for each inode with a ttl of its own, mostly a few folders. A look
 * walks what lies below them, removes what has expired, and notes when the next file will; so
 * nothing is written when files are made or changed, and there is nothing to look at between
 * two looks. They are at least a twentieth of the shortest ttl apart.
 *
 * A file's age counts from its last change (mtime). When the clock is seen to jump forward by
 * more than JUMP_NS, ages of files from before count from the jump: they live a whole ttl more,
 * rather than all at once expire on a machine that has just learnt the time. After a jump back
 * they live until the clock comes there. */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/err.h"
#include "core/policy.h"
#include "core/queue.h"
#include "core/store_priv.h"

#define SECOND_NS   1000000000
#define MS_NS	    1000000
#define JUMP_NS	    (60 * (int64_t)SECOND_NS)
#define LOOK_NS_MIN SECOND_NS
#define IDLE_NS	    (3 * (int64_t)SECOND_NS) /* a new policy is noticed so soon */
#define ENTRIES	    128u
#define LOOKS_APART 20 /* of the shortest ttl: the part that a file may outlive it by */

struct looking {
	struct ropefs *fs;
	const struct ropefs_expire *how;
	int64_t now, next, shortest; /* ns; next: when the next file expires */
	struct buf dirs; /* u64: still to be walked */
	uint64_t removed;
};

/* --- the clock --- */

/* Engine lock held. */
static void note_clock(struct ropefs *fs, int64_t now)
{
	int64_t mono = (int64_t)io_mono_ns(fs->io);

	if (fs->ttl_seen_mono) {
		int64_t passed = mono - fs->ttl_seen_mono;

		if (now - fs->ttl_seen_real > passed + JUMP_NS)
			fs->ttl_not_before = now;
	}
	fs->ttl_seen_real = now;
	fs->ttl_seen_mono = mono;
}

static int64_t expires_at(const struct ropefs *fs, int64_t mtime, uint64_t ttl)
{
	int64_t base = MAX(mtime, fs->ttl_not_before), at;

	return __builtin_add_overflow(base, (int64_t)ttl, &at) ? INT64_MAX : at;
}

/* --- one file --- */

static bool inode_may_expire(const struct inode *in)
{
	return S_ISREG(le32_get(in->row.mode)) && le32_get(in->row.nlink) &&
	       !inode_is_queue(in);
}

/* 1: it expired; 0: it did not, or not yet. Engine lock held. */
static int look_at_locked(struct looking *l, uint64_t ino)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct inode *in;
	uint64_t ttl, from;
	int64_t at;
	int r = inode_get(l->fs, ino, &in);

	if (r >= 0 && !inode_may_expire(in))
		return 0;
	if (r >= 0)
		r = policy_get(l->fs, in, "ttl", &value, &from);
	if (r >= 0)
		r = ttl_parse(buf_span(&value), &ttl);
	if (r < 0)
		return r == -ENODATA || r == -ENOENT ? 0 : r;
	at = expires_at(l->fs, (int64_t)le64_get(in->row.mtime), ttl);
	if (at <= l->now)
		return 1;
	l->next = MIN(l->next, at);
	return 0;
}

/* Looks again where nobody can come in between, and removes the name. */
static int remove_if_expired(struct looking *l, uint64_t dir,
			     const struct ropefs_entry *e)
{
	struct op op = { .type = OP_UNLINK,
			 .dir = dir,
			 .name = span_of(e->name, e->name_len) };
	struct inode *in;
	struct entry now;
	int r = change_begin(l->fs, &op, 0, true);

	if (r < 0)
		return r;
	r = catalog_lookup(&l->fs->catalog, dir, op.name, &now);
	if (r >= 0)
		r = now.ino == e->ino ? look_at_locked(l, e->ino) : 0;
	if (r <= 0)
		return change_abort(l->fs, r == -ENOENT ? 0 : r);
	r = inode_get(l->fs, e->ino, &in);
	if (r < 0)
		return change_abort(l->fs, r);
	if (!in->holds && le32_get(in->row.nlink) == 1)
		op.flags = OP_FLAG_REAP;
	l->fs->expired_files++;
	l->removed++;
	r = change_end(l->fs, &op, 0, NULL);
	if (r >= 0 && l->how->removed)
		l->how->removed(l->how->arg, dir, e->ino,
				(struct ropefs_name) { e->name, e->name_len });
	return r;
}

static int look_at(struct looking *l, uint64_t dir, const struct ropefs_entry *e)
{
	int r;

	lock_take(&l->fs->engine);
	nodes_trim(l->fs->nodes);
	inode_trim(l->fs);
	r = look_at_locked(l, e->ino);
	lock_drop(&l->fs->engine);
	return r > 0 ? remove_if_expired(l, dir, e) : r;
}

/* --- what lies below --- */

/* only: 0, or the one inode to look at. */
static int walk_dir(struct looking *l, uint64_t dir, uint64_t only)
{
	_cleanup_free_ struct ropefs_entry *e = calloc(ENTRIES, sizeof(*e));
	uint64_t after = 0;
	int n, r = 0;

	if (!e)
		return -ENOMEM;
	while (r >= 0 && (n = ropefs_readdir(l->fs, dir, after, e, NULL, ENTRIES)) > 0) {
		for (int i = 0; r >= 0 && i < n; i++) {
			after = e[i].cookie;
			if (only && e[i].ino != only)
				continue;
			if (e[i].type == DT_REG)
				r = look_at(l, dir, &e[i]);
			else if (e[i].type == DT_DIR && !only)
				r = buf_append(&l->dirs, &e[i].ino, sizeof(e[i].ino));
		}
		if (l->how->stop && l->how->stop(l->how->arg))
			r = -EINTR;
	}
	return r;
}

static int walk_below(struct looking *l, uint64_t dir)
{
	int r = buf_append(&l->dirs, &dir, sizeof(dir));

	while (r >= 0 && l->dirs.n) {
		l->dirs.n -= sizeof(dir);
		memcpy(&dir, l->dirs.p + l->dirs.n, sizeof(dir));
		r = walk_dir(l, dir, 0);
		if (r == -ENOENT || r == -ENOTDIR) /* removed meanwhile */
			r = 0;
	}
	return r;
}

struct root {
	uint64_t ino;
	uint64_t dir; /* the folder to walk; 0: there is nothing to do */
	bool is_dir; /* else only ino in it is looked at */
};

/* What a root says of itself. Engine lock held. */
static int read_root(struct looking *l, struct root *root)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct inode *in;
	uint64_t ttl, from;
	int r = inode_get(l->fs, root->ino, &in);

	if (r >= 0)
		r = policy_get(l->fs, in, "ttl", &value, &from);
	if (r >= 0 && from == root->ino)
		r = ttl_parse(buf_span(&value), &ttl);
	if (r < 0)
		return r == -ENOENT || r == -ENODATA ? 0 : r;
	if (from != root->ino) /* its own was taken away */
		return 0;
	l->shortest = MIN(l->shortest, (int64_t)ttl);
	root->is_dir = S_ISDIR(le32_get(in->row.mode));
	root->dir = root->is_dir ? root->ino : le64_get(in->row.parent);
	return 0;
}

static int next_root(struct looking *l, uint64_t after, struct root *ret)
{
	int r;

	*ret = (struct root) { 0 };
	lock_take(&l->fs->engine);
	nodes_trim(l->fs->nodes);
	inode_trim(l->fs);
	r = catalog_next_ttl(&l->fs->catalog, after, &ret->ino);
	if (r > 0 && read_root(l, ret) < 0)
		r = -EIO;
	lock_drop(&l->fs->engine);
	return r;
}

static int look(struct looking *l)
{
	struct root root = { 0 };
	int r;

	while ((r = next_root(l, root.ino, &root)) > 0) {
		if (root.dir && root.is_dir)
			r = walk_below(l, root.dir);
		else if (root.dir)
			r = walk_dir(l, root.dir, root.ino);
		if (r < 0)
			break;
	}
	return r;
}

/* --- when --- */

/* Whether it is time to look; else *ret_wait_ms says when. */
static bool is_due(struct ropefs *fs, uint64_t *ret_wait_ms)
{
	int64_t mono = (int64_t)io_mono_ns(fs->io), left;
	bool due;

	lock_take(&fs->engine);
	note_clock(fs, (int64_t)io_real_ns(fs->io));
	left = fs->ttl_due_mono - mono;
	due = fs->ttl_changed || left <= 0;
	fs->ttl_changed &= !due;
	lock_drop(&fs->engine);
	*ret_wait_ms = (uint64_t)(MIN(MAX(left, 0), IDLE_NS) / MS_NS + 1);
	return due;
}

static void set_due(struct looking *l)
{
	int64_t left = IDLE_NS;

	if (l->shortest < INT64_MAX) {
		/* What is made from now on lives so long. */
		left = MIN(l->next - l->now, l->shortest);
		left = MAX(left, MAX(LOOK_NS_MIN, l->shortest / LOOKS_APART));
	}
	lock_take(&l->fs->engine);
	l->fs->ttl_due_mono = (int64_t)io_mono_ns(l->fs->io) + left;
	lock_drop(&l->fs->engine);
}

int ropefs_expire(struct ropefs *fs, const struct ropefs_expire *how,
		  uint64_t *ret_wait_ms)
{
	struct looking l = {
		.fs = fs, .how = how, .next = INT64_MAX, .shortest = INT64_MAX
	};
	int r;

	err_clear();
	r = store_writable(fs);
	if (r < 0)
		return r;
	if (!is_due(fs, ret_wait_ms))
		return 0;
	l.now = (int64_t)io_real_ns(fs->io);
	r = look(&l);
	buf_release(&l.dirs);
	set_due(&l);
	is_due(fs, ret_wait_ms);
	if (l.removed)
		event_raise(fs, "ttl", 0, "%llu files had expired and were removed",
			    (unsigned long long)l.removed);
	return r < 0 ? r : (int)MIN(l.removed, (uint64_t)INT_MAX);
}
