/* repair_trees.c - rows and ropes without what is damaged. Nothing is read that does not verify,
 * and nothing that verifies is dropped unless what it belongs to is gone. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "core/acl.h"
#include "core/base/err.h"
#include "core/catalog/queue_rows.h"
#include "core/catalog/salvage.h"
#include "core/queue.h"
#include "core/repair.h"
#include "core/stored.h"

/* More inodes than a log can make: it must find their numbers free. */
#define LOG_INODES_MAX ((uint64_t)1 << 24)

/* --- bytes of files --- */

struct giving_up {
	struct ropefs *fs;
	struct catalog *cat;
	uint64_t ino;
	struct buf ranges; /* struct damaged_range, without those given up before */
	bool tree; /* some nodes of the rope can't be read */
};

static int note_range(void *arg, const struct damaged_range *range)
{
	struct giving_up *g = arg;
	char path[INODE_PATH_MAX], words[200];
	struct repair *rp = g->fs->repair;

	if (range->why == DAMAGED_BEFORE)
		return 0;
	inode_path(g->cat, g->ino, path);
	damage_to_text(range, words, sizeof(words));
	repair_say(rp, "%s: %s; give them up", path, words);
	rp->pub->lost_bytes += range->bytes;
	g->tree |= range->why == DAMAGED_TREE;
	return buf_append(&g->ranges, range, sizeof(*range));
}

/* Puts lost bytes at `at`, in the place of as many or at the end. */
static int put_lost(struct rope_env *env, struct rope *rope, uint64_t at, uint64_t bytes)
{
	int r = 0;

	while (bytes && r >= 0) {
		uint64_t n = MIN(bytes, EXTENT_LOST_MAX);
		struct extent e = extent_lost((uint32_t)n);

		r = rope_replace(env, rope, at, &e, 1);
		at += n;
		bytes -= n;
	}
	return r;
}

struct rebuild {
	struct ropefs *fs;
	struct rope rope;
};

static int rebuild_extent(void *arg, const struct extent *e, uint64_t at, uint64_t bytes)
{
	struct rebuild *rb = arg;
	struct rope_env *env = &rb->fs->env;

	if (!e || damage_has(&rb->fs->repair->damage, e))
		return put_lost(env, &rb->rope, at, bytes);
	return rope_insert(env, &rb->rope, at, e, 1);
}

static int count_data(void *arg, const struct extent *e, uint64_t at)
{
	if (extent_kind(e) != EXTENT_HOLE)
		*(uint64_t *)arg += extent_bytes(e);
	return 0;
}

static int replace_ranges(struct giving_up *g, struct rope *rope)
{
	struct damaged_range range;
	int r = 0;

	for (size_t at = 0; at < g->ranges.n && r >= 0; at += sizeof(range)) {
		memcpy(&range, g->ranges.p + at, sizeof(range));
		r = put_lost(&g->fs->env, rope, range.at, range.bytes);
	}
	return r;
}

/* Of a rope with unreadable nodes nothing but a new one is whole; else the places that are bad
 * are replaced. */
static int mend_rope(struct giving_up *g, struct inode_row *row)
{
	struct rebuild rb = { .fs = g->fs };
	uint64_t data = 0;
	int r;

	if (g->tree) {
		r = rope_survey(&g->fs->env, &row->rope, rebuild_extent, &rb);
		rb.rope.shared = row->rope.shared;
		row->rope = rb.rope;
	} else {
		r = replace_ranges(g, &row->rope);
	}
	if (r >= 0)
		r = rope_each(&g->fs->env, &row->rope, 0, rope_bytes(&row->rope),
			      count_data, &data);
	row->data_bytes = le64_put(data);
	stored_limit(row);
	return r;
}

static int repair_bytes(struct ropefs *fs, struct catalog *cat, uint64_t ino,
			struct inode_row *row)
{
	struct giving_up g = { .fs = fs, .cat = cat, .ino = ino };
	int r = damage_each_range(&fs->repair->damage, &fs->env, &row->rope, note_range,
				  &g);

	if (r >= 0 && g.ranges.n) {
		fs->repair->pub->lost_files++;
		r = mend_rope(&g, row);
		if (r >= 0)
			r = catalog_put_inode(cat, ino, row);
	}
	buf_release(&g.ranges);
	return r;
}

/* --- what rows say of other rows --- */

static int has_xattr(struct catalog *cat, uint64_t ino, const char *name)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	int r = catalog_get_xattr(cat, ino, SPAN_STR(name), &value);

	return r >= 0 ? 1 : r == -ENODATA ? 0 : r;
}

/* Without its ACL the group's bits, which were the ACL's mask, might let others in. */
static int repair_acl(struct ropefs *fs, struct catalog *cat, uint64_t ino,
		      struct inode_row *row)
{
	uint32_t flags = le32_get(row->flags);
	char path[INODE_PATH_MAX];
	int access, def;

	if (!(flags & INODE_ACL))
		return 0;
	access = has_xattr(cat, ino, ACL_ACCESS);
	def = has_xattr(cat, ino, ACL_DEFAULT);
	if (access < 0 || def < 0)
		return MIN(access, def);
	if (access && def)
		return 0;
	if (!access && !def) {
		inode_path(cat, ino, path);
		repair_say(fs->repair, "%s: its ACL is lost, its group gets no rights",
			   path);
		row->mode = le32_put(le32_get(row->mode) & ~(uint32_t)S_IRWXG);
		row->flags = le32_put(flags & ~INODE_ACL);
	}
	return catalog_put_inode(cat, ino, row);
}

static int repair_inodes(struct ropefs *fs, struct catalog *cat, bool rows_lost)
{
	struct inode_row row;
	uint64_t ino = 0;
	int r = 0;

	while (r >= 0 && (r = catalog_next_inode(cat, ino, &ino, &row)) > 0) {
		if (rows_lost)
			r = repair_acl(fs, cat, ino, &row);
		if (r >= 0 && S_ISREG(le32_get(row.mode)))
			r = repair_bytes(fs, cat, ino, &row);
	}
	return r;
}

/* --- queues --- */

/* Without its table a queue is a file of bytes. */
static int make_plain(struct ropefs *fs, struct catalog *cat, uint64_t ino,
		      struct inode_row *row)
{
	char path[INODE_PATH_MAX];
	int r;

	inode_path(cat, ino, path);
	repair_say(
		fs->repair,
		"%s: the table of its records is damaged; it becomes a plain file with "
		"their bytes",
		path);
	fs->repair->has_plain = true;
	row->flags = le32_put(le32_get(row->flags) & ~INODE_QUEUE);
	r = catalog_del_queue(cat, ino);
	return r < 0 ? r : catalog_put_inode(cat, ino, row);
}

static int queue_is_whole(struct ropefs *fs, uint64_t ino, const struct inode_row *row)
{
	struct inode in = { .ino = ino, .row = *row };
	int r = queue_check(fs, &in);

	free(in.q);
	return r;
}

int repair_queues(struct ropefs *fs, struct catalog *cat)
{
	const struct snapshot *s = fs->repair->snapshot;
	struct inode_row row;
	uint64_t ino = 0;
	int r = 0;

	while (r >= 0 && (r = catalog_next_inode(cat, ino, &ino, &row)) > 0) {
		if (!(le32_get(row.flags) & INODE_QUEUE))
			continue;
		r = queue_is_whole(fs, s ? snapshot_ino(s->id, ino) : ino, &row);
		if (r < 0 && r != -ENOMEM)
			r = make_plain(fs, cat, ino, &row);
	}
	return r;
}

/* --- a catalog --- */

static void on_salvage(void *arg, const struct salvage_note *note)
{
	struct giving_up *g = arg;
	struct repair *rp = g->fs->repair;
	char path[INODE_PATH_MAX];

	inode_path(g->cat, note->dir ? note->dir : note->ino, path);
	switch (note->event) {
	case SALVAGE_ENTRY_GONE:
		repair_say(rp, "%s: remove the name \"%s\", its inode %llu is lost", path,
			   note->name, (unsigned long long)note->ino);
		rp->pub->lost_files++;
		break;
	case SALVAGE_NAMED:
		repair_say(rp, "inode %llu has lost its name and becomes %s/%s",
			   (unsigned long long)note->ino, path, note->name);
		break;
	case SALVAGE_DIR_MADE:
		repair_say(rp,
			   "%s: the folder's owner, mode and times are lost, it is "
			   "made anew for root alone",
			   path);
		break;
	case SALVAGE_XATTR_GONE:
		repair_say(rp, "%s: remove its xattr %s, which is damaged", path,
			   note->name);
		break;
	case SALVAGE_LINK_GONE:
		repair_say(rp, "%s: remove the symlink, its target is lost", path);
		break;
	}
}

int repair_names(struct ropefs *fs, struct catalog *cat, struct salvage *salvage)
{
	struct giving_up g = { .fs = fs, .cat = cat };

	*salvage = (struct salvage) {
		.cat = cat,
		.now_ns = (int64_t)io_real_ns(fs->io),
		.root = ROPEFS_ROOT_INO,
		.new_ino = fs->next_ino + LOG_INODES_MAX,
		.told = on_salvage,
		.arg = &g,
	};
	return catalog_salvage(salvage);
}

static int salvage_rows(struct ropefs *fs, struct catalog *cat, struct salvage *salvage)
{
	struct btree whole = { .nodes = fs->nodes };
	uint64_t broken;
	int r = btree_salvage(&cat->bt, &whole, &broken);

	if (r < 0)
		return r;
	repair_say(fs->repair,
		   "make the catalog anew from its pages that can be read; %llu can't",
		   (unsigned long long)broken);
	cat->bt = whole;
	return repair_names(fs, cat, salvage);
}

int repair_catalog(struct ropefs *fs, struct catalog *cat, struct salvage *salvage)
{
	uint64_t broken;
	int r = btree_salvage(&cat->bt, NULL, &broken);

	assert(lock_held(&fs->engine));
	if (r >= 0 && broken)
		r = salvage_rows(fs, cat, salvage);
	if (r >= 0)
		r = repair_inodes(fs, cat, broken > 0);
	if (r >= 0 && broken && !fs->repair->snapshot)
		r = repair_queues(fs, cat);
	return r;
}
