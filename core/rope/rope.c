/* rope.c - ropes as they are read: the node types, finding a byte, cursors; and what
 * takes a whole rope at once: clone and clear. rope_edit.c changes parts of one. */
#include "core/rope/rope.h"

#include "core/base/err.h"
#include "core/rope/rope_node.h"

/* --- node types --- */

static int inner_each_child(uint8_t *image, node_child_fn fn, void *arg)
{
	struct rope_inner *in = edit_inner(image);
	unsigned n = node_n(image);

	assert(n <= ROPE_INNER_MAX);
	for (unsigned i = 0; i < n; i++) {
		int r = fn(arg, &in->entry[i].child);

		if (r)
			return r;
	}
	return 0;
}

static int leaf_each_extent(uint8_t *image, node_extent_fn fn, void *arg)
{
	struct rope_leaf *leaf = edit_leaf(image);
	unsigned n = node_n(image);

	assert(n <= ROPE_LEAF_MAX);
	for (unsigned i = 0; i < n; i++) {
		int r = fn(arg, &leaf->ext[i]);

		if (r)
			return r;
	}
	return 0;
}

static void leaf_compact(uint8_t *image)
{
	struct rope_leaf *leaf = edit_leaf(image);
	unsigned n = node_n(image);
	unsigned kept = 0;

	assert(n > 0 && n <= ROPE_LEAF_MAX);
	for (unsigned i = 1; i < n; i++)
		if (!extent_join(&leaf->ext[kept], &leaf->ext[i], UINT64_MAX))
			leaf->ext[++kept] = leaf->ext[i];
	node_set_n(image, kept + 1);
}

static int check_from_disk(const uint8_t *image)
{
	return rope_image_check(image, false);
}

void rope_register(struct nodes *ns)
{
	static const struct node_type leaf = {
		.each_extent = leaf_each_extent,
		.compact = leaf_compact,
		.check = check_from_disk,
	};
	static const struct node_type inner = {
		.each_child = inner_each_child,
		.check = check_from_disk,
	};

	nodes_set_type(ns, NODE_ROPE_LEAF, &leaf);
	nodes_set_type(ns, NODE_ROPE_INNER, &inner);
}

/* --- finding --- */

int rope_node_read(struct nodes *ns, const struct noderef *ref, unsigned level,
		   const uint8_t **ret_image)
{
	const uint8_t *image;
	int r;

	r = nodes_get(ns, ref, &image);
	if (r < 0)
		return r;
	if (node_head(image)->level != level ||
	    node_head(image)->kind != (level ? NODE_ROPE_INNER : NODE_ROPE_LEAF))
		return err_set(E_CORRUPT,
			       "rope: node of kind %u, level %u where level %u belongs",
			       node_head(image)->kind, node_head(image)->level, level);
	*ret_image = image;
	return 0;
}

/* Both searches below start at the nearer end: half the work, and next to none for
 * appends. */

int rope_place(const struct extent *x, unsigned n, uint64_t bytes, uint64_t at,
	       struct place *ret)
{
	uint64_t len;

	assert(at <= bytes);
	if (at < bytes / 2) {
		for (unsigned i = 0; i < n; i++) {
			len = extent_bytes(&x[i]);
			if (at < len) {
				*ret = (struct place) { i, at };
				return 0;
			}
			at -= len;
		}
	} else {
		uint64_t rest = bytes - at;

		if (rest == 0) {
			*ret = (struct place) { n, 0 };
			return 0;
		}
		for (unsigned i = n; i-- > 0;) {
			len = extent_bytes(&x[i]);
			if (rest <= len) {
				*ret = (struct place) { i, len - rest };
				return 0;
			}
			rest -= len;
		}
	}
	return err_set(E_CORRUPT,
		       "rope: %u extents hold less than the %llu bytes counted", n,
		       (unsigned long long)bytes);
}

/* Index of the child that holds byte *at of the node, with *at made relative to it; n
 * when the counts don't add up. */
static unsigned inner_find(const struct rope_inner *in, uint64_t bytes, uint64_t *at)
{
	unsigned n = le16_get(in->head.n);
	uint64_t below;

	if (*at < bytes / 2) {
		for (unsigned i = 0; i < n; i++) {
			below = entry_bytes(&in->entry[i]);
			if (*at < below)
				return i;
			*at -= below;
		}
	} else {
		uint64_t rest = bytes - *at;

		for (unsigned i = n; i-- > 0;) {
			below = entry_bytes(&in->entry[i]);
			if (rest <= below) {
				*at = below - rest;
				return i;
			}
			rest -= below;
		}
	}
	return n;
}

int rope_path_find(struct rope_env *env, const struct rope *r, uint64_t byte,
		   struct rope_path *ret)
{
	const struct noderef *ref = &r->u.root;
	uint64_t bytes = rope_bytes(r);

	assert(byte < bytes);
	assert(r->levels > 0);
	if (r->levels > ROPE_LEVELS_MAX)
		return err_set(E_CORRUPT, "rope: root claims %u levels", r->levels);
	for (unsigned level = r->levels; level-- > 0;) {
		const uint8_t *image;
		unsigned i;
		int res;

		res = rope_node_read(env->nodes, ref, level, &image);
		if (res < 0)
			return res;
		ret->step[level].image = image;
		if (level == 0)
			break;
		i = inner_find(as_inner(image), bytes, &byte);
		if (i == node_n(image))
			return err_set(
				E_CORRUPT,
				"rope: a node of level %u holds less than the %llu "
				"bytes counted",
				level, (unsigned long long)bytes);
		ret->step[level].i = i;
		ref = &as_inner(image)->entry[i].child;
		bytes = entry_bytes(&as_inner(image)->entry[i]);
	}
	ret->at = byte;
	ret->leaf_bytes = bytes;
	return 0;
}

/* --- walking --- */

static int seek_inline(const struct rope *r, uint64_t at, struct rope_cursor *c)
{
	struct place pl;
	int res;

	if (r->n_inline > ROPE_INLINE)
		return err_set(E_CORRUPT, "rope: root claims %u inline extents",
			       r->n_inline);
	res = rope_place(r->u.ext, r->n_inline, rope_bytes(r), at, &pl);
	if (res < 0)
		return res;
	c->i_inline = pl.i;
	c->skip = pl.skip;
	c->at = at - pl.skip;
	return 0;
}

int rope_seek(struct rope_env *env, const struct rope *r, uint64_t at,
	      struct rope_cursor *ret)
{
	struct rope_path path;
	struct place pl;
	bool at_end;
	int res;

	assert(at <= rope_bytes(r));
	ret->env = env;
	ret->rope = r;
	if (r->levels == 0)
		return seek_inline(r, at, ret);

	at_end = at == rope_bytes(r);
	if (at_end && at == 0)
		return err_set(E_CORRUPT, "rope: root has nodes but no bytes");
	res = rope_path_find(env, r, at - at_end, &path);
	if (res < 0)
		return res;
	res = rope_place(as_leaf(path.step[0].image)->ext, node_n(path.step[0].image),
			 path.leaf_bytes, path.at + at_end, &pl);
	if (res < 0)
		return res;
	for (unsigned level = 0; level < r->levels; level++) {
		ret->path[level].image = path.step[level].image;
		ret->path[level].i = level ? path.step[level].i : pl.i;
	}
	ret->skip = pl.skip;
	ret->at = at - pl.skip;
	return 0;
}

/* Moves from the end of a leaf to the start of the next: 1, or 0 when it was the last. */
static int cursor_next_leaf(struct rope_cursor *c)
{
	unsigned levels = c->rope->levels;
	unsigned level = 1;

	while (level < levels && c->path[level].i + 1 >= node_n(c->path[level].image))
		level++;
	if (level >= levels)
		return 0;
	c->path[level].i++;
	while (level > 0) {
		const struct rope_inner *in = as_inner(c->path[level].image);
		int r;

		r = rope_node_read(c->env->nodes, &in->entry[c->path[level].i].child,
				   level - 1, &c->path[level - 1].image);
		if (r < 0)
			return r;
		level--;
		c->path[level].i = 0;
	}
	return 1;
}

int rope_next(struct rope_cursor *c, struct extent *ret, uint64_t *ret_at)
{
	const struct extent *e;
	uint64_t len;

	if (c->rope->levels == 0) {
		if (c->i_inline == c->rope->n_inline)
			return 0;
		e = &c->rope->u.ext[c->i_inline++];
	} else {
		if (c->path[0].i == node_n(c->path[0].image)) {
			int r = cursor_next_leaf(c);

			if (r <= 0)
				return r;
		}
		e = &as_leaf(c->path[0].image)->ext[c->path[0].i++];
	}

	len = extent_bytes(e);
	assert(c->skip < len);
	*ret = extent_part(e, c->skip, len - c->skip);
	*ret_at = c->at + c->skip;
	c->at += len;
	c->skip = 0;
	return 1;
}

int rope_each(struct rope_env *env, const struct rope *r, uint64_t at, uint64_t bytes,
	      int (*fn)(void *arg, const struct extent *e, uint64_t at), void *arg)
{
	struct rope_cursor c;
	uint64_t end = at + bytes;
	int res;

	assert(at <= rope_bytes(r) && bytes <= rope_bytes(r) - at);
	if (bytes == 0)
		return 0;
	res = rope_seek(env, r, at, &c);
	if (res < 0)
		return res;
	while (at < end) {
		struct extent e;

		res = rope_next(&c, &e, &at);
		if (res < 0)
			return res;
		if (res == 0)
			return err_set(E_CORRUPT, "rope: extents end before byte %llu",
				       (unsigned long long)end);
		if (extent_bytes(&e) > end - at)
			e = extent_part(&e, 0, end - at);
		res = fn(arg, &e, at);
		if (res)
			return res;
		at += extent_bytes(&e);
	}
	return 0;
}

/* --- whole ropes --- */

int rope_discard_prepare(struct rope_env *env, const struct noderef *ref, unsigned level)
{
	const uint8_t *image;
	int r;

	if (level == 0)
		return 0;
	r = rope_node_read(env->nodes, ref, level, &image);
	if (r < 0)
		return r;
	for (unsigned i = 0; level > 1 && i < node_n(image); i++) {
		r = rope_discard_prepare(env, &as_inner(image)->entry[i].child,
					 level - 1);
		if (r < 0)
			return r;
	}
	return 0;
}

void rope_discard(struct rope_env *env, uint64_t shared, struct noderef *slot,
		  unsigned level)
{
	if (level > 0) {
		const uint8_t *image = node_have(env->nodes, slot);
		unsigned n = node_n(image);

		for (unsigned i = 0; i < n; i++) {
			/* the image may be shared: discard through a copy of the slot */
			struct noderef child = as_inner(image)->entry[i].child;

			rope_discard(env, shared, &child, level - 1);
		}
	}
	nodes_discard(env->nodes, slot, shared);
}

int rope_clear(struct rope_env *env, struct rope *r)
{
	int res;

	if (r->levels > ROPE_LEVELS_MAX)
		return err_set(E_CORRUPT, "rope: root claims %u levels", r->levels);
	if (r->levels > 0) {
		res = rope_discard_prepare(env, &r->u.root, r->levels - 1u);
		if (res < 0)
			return res;
		rope_discard(env, le64_get(r->shared), &r->u.root, r->levels - 1u);
	} else {
		rope_tell_dropped(env, r->u.ext, (struct place) { 0, 0 }, rope_bytes(r));
	}
	*r = ROPE_EMPTY;
	return 0;
}

void rope_clone(struct rope_env *env, struct rope *src, struct rope *dst)
{
	assert(rope_bytes(dst) == 0 && dst->levels == 0);
	assert(src != dst);
	if (src->levels > 0)
		src->shared = le64_put(nodes_share(env->nodes));
	*dst = *src;
}
