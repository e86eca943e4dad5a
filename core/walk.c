/* walk.c - visits every page and extent of a committed tree, straight from the page file, past
 * the node cache. The caller sees to it that no page of the tree is reused meanwhile: it holds
 * `checkpoint`, or nobody writes. */
#include <errno.h>

#include "core/base/err.h"
#include "core/base/mutant.h"
#include "core/store_priv.h"

#define WALK_DEPTH_MAX 64

struct step {
	struct walk *w;
	unsigned depth;
	bool of_rows; /* the node is one of inode rows */
};

static int walk_page(struct walk *w, const struct noderef *ref, unsigned depth);

static int walk_child(void *arg, struct noderef *slot)
{
	struct step *s = arg;

	if (MUTANT(GC_CLONE) && s->of_rows && !s->w->broken &&
	    le64_get(container_of(slot, struct rope, u.root)->shared))
		return 0;
	return walk_page(s->w, slot, s->depth + 1);
}

static int walk_extent(void *arg, struct extent *e)
{
	struct step *s = arg;

	s->w->in_row = s->of_rows;
	return s->w->extent ? s->w->extent(s->w, e) : 0;
}

static int walk_page(struct walk *w, const struct noderef *ref, unsigned depth)
{
	const struct node_type *type;
	struct step step = { w, depth };
	uint8_t *image;
	int r;

	if (noderef_is_none(ref))
		return 0;
	if (depth > WALK_DEPTH_MAX)
		return err_set(E_CORRUPT, "the trees are deeper than %d nodes",
			       WALK_DEPTH_MAX);
	if (w->page) {
		r = w->page(w, ref);
		if (r)
			return r < 0 ? r : 0; /* positive: seen before, go on beside it */
	}
	image = malloc(PAGE_PAYLOAD);
	if (!image)
		return -ENOMEM;
	r = pagefile_read(w->fs->pf, ref, image);
	if (r >= 0) {
		type = nodes_type(w->fs->nodes, image);
		r = type ? type->check(image)
			 : err_set(E_CORRUPT, "page %llu holds a node of unknown kind",
				   (unsigned long long)le64_get(ref->at));
	}
	if (r < 0) {
		r = w->broken ? w->broken(w, ref, r) : r;
		goto out;
	}
	step.of_rows =
		((const struct node_head *)(const void *)image)->kind == NODE_BTREE_LEAF;
	if (type->each_extent)
		r = type->each_extent(image, walk_extent, &step);
	if (r >= 0 && type->each_child)
		r = type->each_child(image, walk_child, &step);
out:
	free(image);
	if (r >= 0 && w->left)
		w->left(w, ref);
	return r;
}

int walk_tree(struct walk *w, const struct noderef *root)
{
	return walk_page(w, root, 0);
}
