/* btree_edit.c - the B+tree as it is changed.
 *
 * An edit has two halves. The first finds the path, decides what will happen, reads the
 * neighbours that takes and reserves nodes: it may fail, and has changed nothing. The
 * second makes the path's nodes editable from the root down (each copy changes the
 * reference in its parent), changes the leaf, and goes up as far as splits or merges
 * reach: it can't fail. */
#include <errno.h>
#include <string.h>

#include "core/base/err.h"
#include "core/catalog/btree.h"
#include "core/catalog/btree_node.h"
#include "core/catalog/btree_path.h"

/* The catalog is never cloned as a tree. */
#define NOT_SHARED 0

/* The images of a path, ready to be changed, by level. */
struct edit {
	struct btree *bt;
	const struct bpath *path;
	uint8_t *image[BTREE_LEVELS_MAX];
};

static uint8_t *edit_slot(struct btree *bt, struct noderef *slot)
{
	uint8_t *image = NULL;
	int r = nodes_edit(bt->nodes, slot, NOT_SHARED, &image);

	assert(r == 0);
	assert(image);
	(void)r;
	return image;
}

static uint8_t *make_node(struct btree *bt, unsigned level, struct noderef *slot)
{
	uint8_t *image = NULL;
	int r = nodes_make(bt->nodes, level ? NODE_BTREE_INNER : NODE_BTREE_LEAF,
			   (uint8_t)level, slot, &image);

	assert(r == 0);
	assert(image);
	(void)r;
	bnode_init(image);
	return image;
}

static struct edit edit_begin(struct btree *bt, const struct bpath *path)
{
	struct edit ed = { .bt = bt, .path = path };
	struct noderef *slot = &bt->root;

	assert(path->levels > 0 && path->levels <= BTREE_LEVELS_MAX);
	for (unsigned level = path->levels; level-- > 0;) {
		ed.image[level] = edit_slot(bt, slot);
		assert(bnode_level(ed.image[level]) == level);
		if (level)
			slot = bpath_slot(ed.image[level], path->step[level].i);
	}
	return ed;
}

/* Nodes that a put may copy or make. */
static unsigned put_nodes(unsigned levels)
{
	return 2 * levels + 1;
}

/* --- put --- */

/* A cell on its way into a node; replaces the one at i, or goes before it. */
struct incoming {
	struct bcell cell;
	unsigned i;
	bool replace;
};

static unsigned cell_room(const struct bcell *c)
{
	return bcell_room(c->key.n, c->value.n);
}

/* The cells of image with the incoming one among them. */
static unsigned gather_with(const uint8_t *image, const struct incoming *in,
			    struct bcell *ret_cells)
{
	unsigned n = bnode_gather(image, ret_cells);

	assert(in->i + in->replace <= n);
	if (!in->replace) {
		memmove(&ret_cells[in->i + 1], &ret_cells[in->i],
			(n - in->i) * sizeof(*ret_cells));
		n++;
	}
	ret_cells[in->i] = in->cell;
	return n;
}

/* How many cells stay in the left node. Where cells arrive in rising order, the split is
 * there: what lies behind them goes to the right, or the next of them when nothing does,
 * so that they leave full nodes behind. Else it is in the middle of the bytes. Both
 * halves fit: all cells are at most one cell more than a node takes, and no cell is much
 * larger than a third of a node. */
static unsigned split_place(const struct bcell *cells, unsigned n,
			    const struct incoming *in, bool rising)
{
	unsigned total = 0, left = 0, before = 0, k;

	assert(n >= 2);
	for (unsigned i = 0; i < n; i++) {
		if (i == in->i)
			before = total;
		total += cell_room(&cells[i]);
	}
	if (rising && !in->replace && before >= BTREE_ROOM / 2) {
		if (in->i < n - 1 && before + cell_room(&in->cell) <= BTREE_ROOM)
			return in->i + 1;
		if (total - before <= BTREE_ROOM)
			return in->i;
	}
	for (k = 0; k < n - 1 && left < total / 2; k++)
		left += cell_room(&cells[k]);
	assert(left >= total / 2);
	/* The cell that crossed the middle goes where it makes the halves more alike. */
	if (k > 1 && left - total / 2 > cell_room(&cells[k - 1]) / 2)
		left -= cell_room(&cells[--k]);
	assert(left <= BTREE_ROOM && total - left <= BTREE_ROOM);
	return k;
}

/* The shortest separator between two cells, into sep. */
static struct span separator(const struct bcell *left, const struct bcell *right,
			     unsigned level, uint8_t sep[BTREE_KEY_MAX])
{
	size_t n = right->key.n;

	assert(span_cmp(left->key, right->key) < 0);
	if (level == 0) {
		n = 0;
		while (n < left->key.n && left->key.p[n] == right->key.p[n])
			n++;
		n++;
	}
	assert(n <= right->key.n && n <= BTREE_KEY_MAX);
	memmove(sep, right->key.p, n);
	return span_of(sep, n);
}

/* Splits image, taking the incoming cell in; returns what the parent must take in: the
 * key (in sep) and the reference (in right) of the new node. sep may hold the incoming
 * key. */
static struct bcell split_node(struct btree *bt, uint8_t *image,
			       const struct incoming *in, uint8_t sep[BTREE_KEY_MAX],
			       struct noderef *right)
{
	struct bcell cells[BTREE_CELLS_MAX + 1];
	uint8_t old[PAGE_PAYLOAD];
	unsigned level = bnode_level(image);
	bool rising = in->i == le16_get(bnode_of(image)->last);
	unsigned n, k;
	uint8_t *image_right = make_node(bt, level, right);
	struct span key;

	memcpy(old, image, sizeof(old));
	n = gather_with(old, in, cells);
	k = split_place(cells, n, in, rising);
	bnode_fill(image, cells, k);
	bnode_fill(image_right, cells + k, n - k);
	if (in->i >= k)
		bnode_set_last(image_right, in->i - k + 1);
	else
		bnode_set_last(image, in->i + 1);
	key = separator(&cells[k - 1], &cells[k], level, sep);
	return (struct bcell) { key, span_of(right, sizeof(*right)) };
}

static void new_root(struct btree *bt, unsigned level, const struct bcell *right)
{
	struct noderef old = bt->root;
	struct bcell cells[2] = { { span_of(NULL, 0), span_of(&old, sizeof(old)) },
				  *right };
	uint8_t *image = make_node(bt, level, &bt->root);

	assert(level < BTREE_LEVELS_MAX);
	bnode_fill(image, cells, 2);
	bnode_set_last(image, 2);
}

/* Puts the cell into the leaf, splitting as far up as it takes. */
static void put_cell(struct edit *ed, struct bcell cell)
{
	struct incoming in = { cell, ed->path->step[0].i, ed->path->found };
	uint8_t sep[BTREE_KEY_MAX];
	struct noderef right[2];

	for (unsigned level = 0; level < ed->path->levels; level++) {
		uint8_t *image = ed->image[level];
		unsigned full = bnode_full(image);

		if (in.replace)
			full -= bnode_cell_room(image, in.i);
		if (full + cell_room(&in.cell) <= BTREE_ROOM) {
			if (in.replace)
				bnode_remove(image, in.i);
			bnode_insert(image, in.i, in.cell.key, in.cell.value);
			return;
		}
		in.cell = split_node(ed->bt, image, &in, sep, &right[level & 1]);
		in.replace = false;
		if (level + 1 < ed->path->levels)
			in.i = ed->path->step[level + 1].i + 1;
	}
	new_root(ed->bt, ed->path->levels, &in.cell);
}

static int put_first(struct btree *bt, struct span key, struct span value)
{
	int r;

	r = nodes_reserve(bt->nodes, 1);
	if (r < 0)
		return r;
	bnode_insert(make_node(bt, 0, &bt->root), 0, key, value);
	return 0;
}

int btree_put(struct btree *bt, struct span key, struct span value)
{
	struct bpath p;
	struct edit ed;
	int r;

	if (key.n > BTREE_KEY_MAX || value.n > BTREE_VALUE_MAX)
		return -E2BIG;
	if (noderef_is_none(&bt->root))
		return put_first(bt, key, value);
	r = bpath_find(bt, key, &p);
	if (r < 0)
		return r;
	if (p.levels == BTREE_LEVELS_MAX)
		return err_set(E_CORRUPT, "catalog: the tree claims %u levels", p.levels);
	r = nodes_reserve(bt->nodes, put_nodes(p.levels));
	if (r < 0)
		return r;

	ed = edit_begin(bt, &p);
	if (p.found && bnode_value(ed.image[0], p.step[0].i).n == value.n)
		bnode_set_value(ed.image[0], p.step[0].i, value);
	else
		put_cell(&ed, (struct bcell) { key, value });
	return 0;
}

/* --- del --- */

enum fate {
	FATE_STAYS,
	FATE_DROPPED, /* it becomes empty */
	FATE_MERGED_RIGHT, /* takes its right neighbour in */
	FATE_MERGED_LEFT, /* goes into its left neighbour */
};

struct del_plan {
	struct {
		enum fate fate;
		const uint8_t *neighbour;
	} step[BTREE_LEVELS_MAX];
};

/* What a node will hold once it has lost a cell. */
struct rest {
	unsigned n;
	unsigned full;
};

static struct rest rest_without(const uint8_t *image, unsigned i)
{
	struct rest rest = { bnode_n(image) - 1,
			     bnode_full(image) - bnode_cell_room(image, i) };

	if (bnode_level(image) > 0 && i == 0 && rest.n > 0)
		rest.full -= (unsigned)bnode_key(image, 1).n; /* gets empty */
	return rest;
}

/* Tries to have the child i of parent, of which rest will be left, merged. A neighbour
 * that can't be read is no reason to refuse a removal: the node stays small. */
static enum fate plan_merge(struct btree *bt, const uint8_t *parent, unsigned i,
			    const struct rest *rest, const uint8_t **ret_neighbour)
{
	for (unsigned left = 0; left < 2; left++) {
		unsigned at = left ? i - 1 : i + 1;
		unsigned sep = (unsigned)bnode_level(parent) > 1;
		const uint8_t *image;

		if (left ? i == 0 : i + 1 == bnode_n(parent))
			continue;
		if (nodes_get(bt->nodes, bnode_child(parent, at), &image) < 0)
			continue;
		if (bnode_level(image) + 1 != bnode_level(parent))
			continue;
		/* An inner node's empty first key becomes the separator. */
		sep *= (unsigned)bnode_key(parent, left ? i : at).n;
		if (rest->full + bnode_full(image) + sep <= BTREE_ROOM) {
			*ret_neighbour = image;
			return left ? FATE_MERGED_LEFT : FATE_MERGED_RIGHT;
		}
	}
	return FATE_STAYS;
}

/* Decides from the leaf up what becomes of each node; every fate but staying takes a cell
 * from the parent. */
static void plan_del(struct btree *bt, const struct bpath *p, struct del_plan *ret)
{
	unsigned gone = p->step[0].i;

	for (unsigned level = 0; level < p->levels; level++) {
		struct rest rest = rest_without(p->step[level].image, gone);
		bool top = level + 1 == p->levels;
		enum fate fate = FATE_STAYS;

		if (rest.n == 0)
			fate = FATE_DROPPED;
		else if (!top && rest.full < BTREE_ROOM / 4)
			fate = plan_merge(bt, p->step[level + 1].image,
					  p->step[level + 1].i, &rest,
					  &ret->step[level].neighbour);
		ret->step[level].fate = fate;
		if (top || fate == FATE_STAYS)
			break;
		gone = p->step[level + 1].i + (fate == FATE_MERGED_RIGHT);
	}
}

/* Adds the cells of right behind those of left; sep is right's key in the parent. */
static void merge_nodes(uint8_t *left, const uint8_t *right, struct span sep)
{
	struct bcell cells[BTREE_CELLS_MAX];
	uint8_t old[PAGE_PAYLOAD];
	unsigned n, n_right = bnode_n(right);

	assert(bnode_level(left) == bnode_level(right));
	assert(bnode_n(left) + n_right <= BTREE_CELLS_MAX);
	memcpy(old, left, sizeof(old));
	n = bnode_gather(old, cells);
	bnode_gather(right, cells + n);
	if (bnode_level(left) > 0)
		cells[n].key = sep;
	bnode_fill(left, cells, n + n_right);
}

/* Carries out the fate of the path's node at level; returns the index of the parent's
 * cell that goes with it. */
static unsigned settle(struct edit *ed, const struct del_plan *plan, unsigned level)
{
	uint8_t *parent = ed->image[level + 1], *image = ed->image[level];
	const uint8_t *neighbour = plan->step[level].neighbour;
	unsigned i = ed->path->step[level + 1].i;

	switch (plan->step[level].fate) {
	case FATE_MERGED_RIGHT:
		i++;
		merge_nodes(image, neighbour, bnode_key(parent, i));
		break;
	case FATE_MERGED_LEFT:
		merge_nodes(edit_slot(ed->bt, bpath_slot(parent, i - 1)), image,
			    bnode_key(parent, i));
		break;
	case FATE_DROPPED:
		assert(bnode_n(image) == 0);
		break;
	case FATE_STAYS:
		assert(!"a node that stays is not settled");
	}
	nodes_discard(ed->bt->nodes, bpath_slot(parent, i), NOT_SHARED);
	return i;
}

/* An empty root goes; one with a single child makes place for it. */
static void shrink_root(struct edit *ed)
{
	struct btree *bt = ed->bt;
	uint8_t *image = ed->image[ed->path->levels - 1];
	struct noderef child = NODEREF_NONE;

	if (bnode_n(image) > (bnode_level(image) ? 1 : 0))
		return;
	if (bnode_n(image) == 1)
		child = *bnode_child(image, 0);
	nodes_discard(bt->nodes, &bt->root, NOT_SHARED);
	bt->root = child;
}

int btree_del(struct btree *bt, struct span key)
{
	struct del_plan plan;
	struct bpath p;
	struct edit ed;
	unsigned gone;
	int r;

	if (noderef_is_none(&bt->root))
		return -ENOENT;
	r = bpath_find(bt, key, &p);
	if (r < 0)
		return r;
	if (!p.found)
		return -ENOENT;
	plan_del(bt, &p, &plan);
	r = nodes_reserve(bt->nodes, 2 * p.levels);
	if (r < 0)
		return r;

	ed = edit_begin(bt, &p);
	gone = p.step[0].i;
	for (unsigned level = 0; level < p.levels; level++) {
		bnode_remove(ed.image[level], gone);
		if (plan.step[level].fate == FATE_STAYS || level + 1 == p.levels)
			break;
		gone = settle(&ed, &plan, level);
	}
	shrink_root(&ed);
	return 0;
}

/* --- several edits --- */

int btree_reserve(struct btree *bt, struct span from, struct span to, unsigned edits)
{
	struct btree_cursor c;
	struct span key, value;
	const uint8_t *leaf = NULL;
	unsigned levels, nodes = 0;
	int r;

	assert(span_cmp(from, to) <= 0);
	r = btree_seek(bt, from, &c);
	if (r < 0)
		return r;
	levels = c.levels;
	/* Reads every leaf that covers a part of the range. */
	while ((r = btree_next(&c, &key, &value)) > 0) {
		if (c.path[0].image != leaf) {
			leaf = c.path[0].image;
			nodes += levels;
		}
		if (span_cmp(key, to) > 0)
			break;
	}
	if (r < 0)
		return r;
	/* Copies: the nodes seen, and neighbours, at most one a removal. New nodes: a leaf an
	 * edit; above it less than half as many, because a half of a split inner node takes
	 * four more before it splits again, or the rising keys don't come back to it. And
	 * what the last edit reserves for itself. */
	return nodes_reserve(bt->nodes, nodes + 2 * edits + 3 * put_nodes(levels + 1));
}
