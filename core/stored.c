#include "core/stored.h"

#include <string.h>

#include "core/catalog/row.h"

#define FINISH_SLICE 512u

/* --- by edits --- */

static uint64_t part_of(uint64_t whole, uint64_t part, uint64_t of)
{
	return of ? (uint64_t)((unsigned __int128)whole * MIN(part, of) / of) : 0;
}

static uint64_t packed_bytes(const struct inode *in)
{
	uint64_t data = le64_get(in->row.data_bytes);

	return data - MIN(data, in->hot_bytes);
}

/* Most that compression can have saved: something is left of what there is. */
static uint64_t saved_max(const struct inode_row *row)
{
	uint64_t data = le64_get(row->data_bytes);

	return data ? data - 1 : 0;
}

static void set_saved(struct inode_row *row, uint64_t saved)
{
	row->saved_bytes = le64_put(MIN(saved, saved_max(row)));
}

void stored_limit(struct inode_row *row)
{
	set_saved(row, le64_get(row->saved_bytes));
}

static void set_unpacked(struct inode_row *row, bool unpacked)
{
	uint32_t flags = le32_get(row->flags) & ~INODE_UNPACKED;

	row->flags = le32_put(flags | (unpacked ? INODE_UNPACKED : 0));
}

static bool is_unpacked(const struct inode_row *row)
{
	return le32_get(row->flags) & INODE_UNPACKED;
}

void stored_came(struct inode *in, uint64_t n)
{
	in->hot_bytes = MIN(in->hot_bytes + n, le64_get(in->row.data_bytes));
	if (n)
		set_unpacked(&in->row, true);
}

void stored_went(struct inode *in, uint64_t went, uint64_t hot)
{
	uint64_t data = le64_get(in->row.data_bytes),
		 saved = le64_get(in->row.saved_bytes);

	went = MIN(went, data); /* a row may say anything */
	hot = MIN(hot, went);
	saved -= part_of(saved, went - hot, packed_bytes(in));
	in->hot_bytes -= MIN(hot, in->hot_bytes);
	in->hot_bytes = MIN(in->hot_bytes, data - went);
	/* The caller is about to take went off. */
	in->row.saved_bytes = le64_put(data == went ? 0 : MIN(saved, data - went - 1));
}

struct stored_share stored_share(const struct inode *src, uint64_t data, uint64_t hot)
{
	return (struct stored_share) {
		.hot = hot,
		.saved = part_of(le64_get(src->row.saved_bytes), data - hot,
				 packed_bytes(src)),
	};
}

void stored_shared(struct inode *in, const struct stored_share *share)
{
	stored_came(in, share->hot);
	set_saved(&in->row, le64_get(in->row.saved_bytes) + share->saved);
}

void stored_copied(struct inode *in, const struct inode *src)
{
	in->hot_bytes = src->hot_bytes;
	set_unpacked(&in->row, is_unpacked(&src->row));
	set_saved(&in->row, le64_get(src->row.saved_bytes));
}

void stored_swapped(struct inode *in, struct inode *src)
{
	uint64_t hot = in->hot_bytes;
	le64 saved = in->row.saved_bytes;
	bool unpacked = is_unpacked(&in->row);

	in->hot_bytes = src->hot_bytes;
	in->row.saved_bytes = src->row.saved_bytes;
	set_unpacked(&in->row, is_unpacked(&src->row));
	src->hot_bytes = hot;
	src->row.saved_bytes = saved;
	set_unpacked(&src->row, unpacked);
}

/* --- by a checkpoint --- */

/* Of bytes that this checkpoint packed. */
struct sum {
	uint64_t packed, saved;
};

void stored_release(struct stored *s)
{
	htab_release(&s->ropes);
	htab_release(&s->inodes);
	buf_release(&s->sums);
}

static void remember(struct stored *s, struct htab *in, uint64_t key,
		     const struct sum *sum)
{
	size_t place = s->sums.n / sizeof(*sum) + 1;

	htab_del(in, key);
	if (sum->packed && buf_append(&s->sums, sum, sizeof(*sum)) == 0)
		htab_put(in, key, (void *)place);
}

/* Adds what is known of key. */
static bool recall(const struct stored *s, const struct htab *in, uint64_t key,
		   struct sum *to)
{
	size_t place = (size_t)htab_get(in, key);
	struct sum sum;

	if (!place)
		return false;
	memcpy(&sum, s->sums.p + (place - 1) * sizeof(sum), sizeof(sum));
	to->packed += sum.packed;
	to->saved += sum.saved;
	return true;
}

struct summing {
	struct stored *s;
	struct sum sum;
};

static int sum_extent(void *arg, struct extent *e)
{
	struct chunk_place at = { extent_pack(e), extent_chunk_index(e),
				  le32_get(e->off) };
	struct summing *to = arg;
	uint32_t len = le32_get(e->len);

	if (extent_kind(e) != EXTENT_CHUNK || at.pack < to->s->first_pack)
		return 0;
	to->sum.packed += len;
	to->sum.saved += len - pack_writer_stored(to->s->writer, &at, len);
	return 0;
}

static int sum_child(void *arg, struct noderef *slot)
{
	struct summing *to = arg;

	if (!noderef_is_none(slot))
		recall(to->s, &to->s->ropes, le64_get(slot->at), &to->sum);
	return 0;
}

static enum node_kind kind_of(const uint8_t *image)
{
	return ((const struct node_head *)(const void *)image)->kind;
}

void stored_begin(struct stored *s, const uint8_t *image)
{
	s->leaves += kind_of(image) == NODE_BTREE_LEAF;
}

static void rope_end(struct stored *s, uint8_t *image, uint64_t page)
{
	const struct node_type *type = nodes_type(s->nodes, image);
	struct summing to = { .s = s };
	struct sum *sum = &to.sum;

	if (type->each_child)
		type->each_child(image, sum_child, &to);
	if (type->each_extent)
		type->each_extent(image, sum_extent, &to);
	if (s->moved) { /* that part had saved something before */
		sum->saved = part_of(sum->saved, sum->packed - MIN(s->moved, sum->packed),
				     sum->packed);
		sum->packed -= MIN(s->moved, sum->packed);
		s->moved = 0;
	}
	remember(s, &s->ropes, page, sum);
}

/* The row of an inode that has bytes this checkpoint packed. */
static struct inode_row *unpacked_row(struct span key, uint8_t *value)
{
	struct inode_row *row = (struct inode_row *)value;

	return key.n == ROW_KEY_INO && key.p[0] == ROW_INODE && is_unpacked(row) ? row
										 : NULL;
}

static void enter(struct inode_row *row, const struct sum *sum)
{
	set_saved(row, le64_get(row->saved_bytes) + sum->saved);
	set_unpacked(row, false);
}

static int row_end(void *arg, struct span key, uint8_t *value, size_t n)
{
	struct inode_row *row = unpacked_row(key, value);
	struct stored *s = arg;
	struct summing to = { .s = s };

	(void)n;
	if (!row)
		return 0;
	if (row->rope.levels)
		sum_child(&to, &row->rope.u.root);
	for (unsigned i = 0; !row->rope.levels && i < row->rope.n_inline; i++)
		sum_extent(&to, &row->rope.u.ext[i]);
	enter(row, &to.sum);
	if (s->leaves == 1)
		remember(s, &s->inodes, be64_load(key.p + 1), &to.sum);
	return 0;
}

void stored_end(struct stored *s, uint8_t *image, uint64_t page)
{
	switch (kind_of(image)) {
	case NODE_ROPE_LEAF:
	case NODE_ROPE_INNER:
		rope_end(s, image, page);
		break;
	case NODE_BTREE_LEAF:
		btree_each_value(image, row_end, s);
		s->leaves--;
		break;
	default:
		break;
	}
}

static int row_patch(void *arg, struct span key, uint8_t *value, size_t n)
{
	struct inode_row *row = unpacked_row(key, value);
	const struct stored *s = arg;
	struct sum sum = { 0 };

	(void)n;
	if (row && recall(s, &s->inodes, be64_load(key.p + 1), &sum))
		enter(row, &sum);
	return 0;
}

void stored_patch(const struct stored *s, uint8_t *image)
{
	if (kind_of(image) == NODE_BTREE_LEAF && s->inodes.n)
		btree_each_value(image, row_patch, (void *)(uintptr_t)s);
}

/* One that is dirty has changed since the freeze, or was loaded since: then little of it is
 * hot, and its row had been given the sum. */
static bool inode_enter(struct inode *in, const struct sum *sum)
{
	uint64_t before = stored_bytes(&in->row);
	struct sum now = *sum;

	if (!in->dirty && !is_unpacked(&in->row))
		return false;
	if (in->dirty)
		now.saved = part_of(sum->saved, in->hot_bytes, sum->packed);
	enter(&in->row, &now);
	set_unpacked(&in->row, in->dirty);
	in->hot_bytes -= MIN(sum->packed, in->hot_bytes);
	return in->holds && (before + 511) / 512 != (stored_bytes(&in->row) + 511) / 512;
}

static void tell(struct ropefs *fs, const struct buf *inos)
{
	if (inos->n && fs->opts.blocks)
		fs->opts.blocks(fs->opts.event_arg,
				(const uint64_t *)(const void *)inos->p,
				inos->n / sizeof(uint64_t));
}

void stored_finish(struct ropefs *fs, const struct stored *s)
{
	_cleanup_(buf_release) struct buf changed = BUF_INIT;
	struct htab_slot *slot = NULL;
	size_t at = 0;

	do {
		changed.n = 0;
		lock_take(&fs->engine);
		for (unsigned i = 0;
		     i < FINISH_SLICE && (slot = htab_next(&s->inodes, &at)); i++) {
			struct inode *in = htab_get(&fs->inodes, slot->key);
			struct sum sum = { 0 };

			recall(s, &s->inodes, slot->key, &sum);
			if (in && inode_enter(in, &sum))
				buf_append(&changed, &in->ino, sizeof(in->ino));
		}
		if (!slot && fs->n_snaps)
			inode_forget_unpacked(fs, &changed);
		lock_drop(&fs->engine);
		tell(fs, &changed);
	} while (slot);
}
