/* inode.c - inodes in memory: loaded from the catalog, changed here, written back to it
 * when a checkpoint begins.
 *
 * A row in the catalog may be older than the inode here, and may point at nodes the inode
 * has left; nodes.h keeps those until the next checkpoint, which rewrites the row first. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/err.h"
#include "core/queue.h"
#include "core/store_priv.h"

void inode_settle(struct ropefs *fs, struct inode *in)
{
	bool may = !in->dirty && in->holds == 0;

	if (in->on_lru) {
		TAILQ_REMOVE(&fs->lru, in, lru);
		fs->n_lru--;
	}
	in->on_lru = may;
	if (may) {
		TAILQ_INSERT_TAIL(&fs->lru, in, lru);
		fs->n_lru++;
	}
}

int inode_add(struct ropefs *fs, uint64_t ino, const struct inode_row *row,
	      struct inode **ret)
{
	struct inode *in = calloc(1, sizeof(*in));
	int r;

	if (!in)
		return -ENOMEM;
	in->ino = ino;
	in->row = *row;
	in->changed = ++fs->changes;
	r = htab_put(&fs->inodes, ino, in);
	if (r < 0) {
		free(in);
		return r;
	}
	inode_settle(fs, in);
	*ret = in;
	return 0;
}

int inode_get(struct ropefs *fs, uint64_t ino, struct inode **ret)
{
	struct inode *in = htab_get(&fs->inodes, ino);
	struct inode_row row;
	struct catalog cat;
	int r;

	assert(lock_held(&fs->engine));
	if (in && in->gone)
		return err_set(ESTALE, "the file is not in the newest state of the "
				       "bucket any more");
	if (in) {
		*ret = in;
		return 0;
	}
	r = catalog_of(fs, ino, &cat);
	if (r >= 0)
		r = catalog_get_inode(&cat, ino_base(ino), &row);
	if (r < 0)
		return r;
	return inode_add(fs, ino, &row, ret);
}

void inode_mark_dirty(struct ropefs *fs, struct inode *in)
{
	assert(!ropefs_in_snapshot(in->ino));
	if (in->dirty)
		return;
	in->dirty = true;
	TAILQ_INSERT_TAIL(&fs->dirty, in, dirty_link);
	fs->n_dirty++;
	inode_settle(fs, in);
}

static void mark_clean(struct ropefs *fs, struct inode *in)
{
	assert(in->dirty);
	in->dirty = false;
	TAILQ_REMOVE(&fs->dirty, in, dirty_link);
	fs->n_dirty--;
	inode_settle(fs, in);
}

static void forget(struct ropefs *fs, struct inode *in)
{
	if (in->dirty)
		mark_clean(fs, in);
	if (in->on_lru) {
		TAILQ_REMOVE(&fs->lru, in, lru);
		fs->n_lru--;
	}
	htab_del(&fs->inodes, in->ino);
	free(in->q);
	free(in);
}

static unsigned rows_of(const struct inode *in)
{
	uint32_t flags = le32_get(in->row.flags);

	return (S_ISLNK(le32_get(in->row.mode)) ? ROWS_TARGET : 0) |
	       (flags & INODE_POLICY ? ROWS_TTL : 0) |
	       (flags & INODE_QUEUE ? ROWS_QUEUE : 0);
}

int inode_reserve_destroy(struct ropefs *fs, const struct inode *in)
{
	return catalog_reserve_purge(&fs->catalog, in->ino, rows_of(in));
}

int inode_destroy(struct ropefs *fs, struct inode *in)
{
	uint64_t bytes = le64_get(in->row.data_bytes);
	int r;

	r = rope_clear(&fs->env, &in->row.rope);
	if (r == -E_CORRUPT || r == -EIO)
		in->row.rope = ROPE_EMPTY; /* a collection finds what it still had */
	else if (r < 0)
		return r;
	r = catalog_purge(&fs->catalog, in->ino, rows_of(in));
	if (r < 0)
		return r;
	fs->dead_bytes += bytes - MIN(bytes, fs->told_bytes);
	fs->data_bytes -= MIN(bytes, fs->data_bytes);
	fs->n_inodes--;
	forget(fs, in);
	return 0;
}

ssize_t inode_flush(struct ropefs *fs, size_t max)
{
	struct inode *in;
	int r;

	while (max-- && (in = TAILQ_FIRST(&fs->dirty))) {
		r = catalog_put_inode(&fs->catalog, in->ino, &in->row);
		if (r < 0)
			return r;
		r = queue_flush(fs, in);
		if (r < 0)
			return r;
		mark_clean(fs, in);
	}
	return (ssize_t)fs->n_dirty;
}

#define FLUSH_SLICE 256

ssize_t inode_flush_most(struct ropefs *fs)
{
	ssize_t left;

	for (;;) {
		lock_take(&fs->engine);
		left = inode_flush(fs, FLUSH_SLICE);
		if (left <= FLUSH_SLICE)
			return left;
		lock_drop(&fs->engine);
	}
}

bool inode_snapshot_held(struct ropefs *fs, uint64_t id)
{
	struct htab_slot *slot;
	size_t at = 0;

	while ((slot = htab_next(&fs->inodes, &at))) {
		const struct inode *in = slot->value;

		if (in->holds && ropefs_in_snapshot(in->ino) &&
		    ino_snapshot(in->ino) == id)
			return true;
	}
	return false;
}

/* All of them are clean and not held, so on the list of those. */
void inode_forget_snapshot(struct ropefs *fs, uint64_t id)
{
	struct inode *in, *next;

	assert(!inode_snapshot_held(fs, id));
	for (in = TAILQ_FIRST(&fs->lru); in; in = next) {
		next = TAILQ_NEXT(in, lru);
		if (ropefs_in_snapshot(in->ino) && ino_snapshot(in->ino) == id)
			forget(fs, in);
	}
}

/* What says whether an inode is another one: all but where its bytes lie. */
#define ROW_FACTS offsetof(struct inode_row, rope)

/* Whether it is not as it was; all: taken for that. */
static bool reload(struct ropefs *fs, struct inode *in, bool all)
{
	struct inode_row row;
	struct catalog cat;
	bool was_gone = in->gone, other;
	int r = catalog_of(fs, in->ino, &cat);

	if (r >= 0)
		r = catalog_get_inode(&cat, ino_base(in->ino), &row);
	free(in->q);
	in->q = NULL;
	in->gone = r < 0;
	if (r < 0)
		return !was_gone;
	other = all || was_gone || memcmp(&in->row, &row, ROW_FACTS) != 0;
	in->row = row;
	if (other)
		in->changed = ++fs->changes;
	return other;
}

void inode_reload_all(struct ropefs *fs, bool all, struct buf *changed)
{
	struct htab_slot *slot;
	struct inode *in;
	size_t at = 0;

	assert(lock_held(&fs->engine) && !fs->n_dirty);
	while ((in = TAILQ_FIRST(&fs->lru)))
		forget(fs, in);
	while ((slot = htab_next(&fs->inodes, &at))) {
		in = slot->value;
		if (reload(fs, in, all))
			(void)buf_append(changed, &in->ino, sizeof(in->ino));
	}
}

void inode_forget_unpacked(struct ropefs *fs, struct buf *ret)
{
	struct inode *in, *next;

	for (in = TAILQ_FIRST(&fs->lru); in; in = next) {
		next = TAILQ_NEXT(in, lru);
		if (!ropefs_in_snapshot(in->ino) ||
		    !(le32_get(in->row.flags) & INODE_UNPACKED))
			continue;
		buf_append(ret, &in->ino, sizeof(in->ino));
		forget(fs, in);
	}
}

void inode_trim(struct ropefs *fs)
{
	while (fs->n_lru > INODES_KEPT)
		forget(fs, TAILQ_FIRST(&fs->lru));
}

void inode_free_all(struct ropefs *fs)
{
	struct htab_slot *slot;
	size_t at = 0;

	while ((slot = htab_next(&fs->inodes, &at))) {
		struct inode *in = slot->value;

		free(in->q);
		free(in);
	}
	htab_release(&fs->inodes);
}
