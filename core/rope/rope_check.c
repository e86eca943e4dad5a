/* rope_check.c - the rules of one node's image, of a whole rope, and ropes in words. */
#include <inttypes.h>
#include <stdio.h>

#include "core/base/err.h"
#include "core/rope/hot.h"
#include "core/rope/rope_node.h"

/* NULL, or what is wrong with an extent. */
static const char *extent_wrong(const struct extent *e, bool in_memory)
{
	uint64_t bytes = extent_bytes(e);

	if (bytes == 0)
		return "is empty";
	switch (extent_kind(e)) {
	case EXTENT_HOLE:
		if (le64_get(e->ref) != 0 || bytes > EXTENT_BYTES_MAX)
			return "is no proper hole";
		return NULL;
	case EXTENT_HOT:
		if (!in_memory)
			return "points into memory";
		if (le32_get(e->off) + bytes > HOT_BLOCK_MAX)
			return "crosses the end of its block";
		break;
	case EXTENT_CHUNK:
		break;
	default:
		return "is of an unknown kind";
	}
	return le32_get(e->off) + bytes > UINT32_MAX ? "ends past what it points at"
						     : NULL;
}

static const char *entry_wrong(const struct rope_entry *e, bool in_memory)
{
	if (noderef_is_none(&e->child))
		return "points nowhere";
	if (!in_memory && noderef_in_memory(&e->child))
		return "points into memory";
	if (entry_bytes(e) == 0)
		return "is empty";
	return NULL;
}

static int check_extents(const struct extent *x, unsigned n, bool in_memory)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < n; i++) {
		const char *wrong = extent_wrong(&x[i], in_memory);

		if (!wrong && extent_bytes(&x[i]) > EXTENT_BYTES_MAX - sum)
			wrong = "makes the node too large";
		if (wrong)
			return err_set(E_CORRUPT, "rope: extent %u of %u %s", i, n,
				       wrong);
		sum += extent_bytes(&x[i]);
	}
	return 0;
}

static int check_entries(const struct rope_inner *in, bool in_memory)
{
	unsigned n = le16_get(in->head.n);
	uint64_t sum = 0;

	for (unsigned i = 0; i < n; i++) {
		const char *wrong = entry_wrong(&in->entry[i], in_memory);

		if (!wrong && entry_bytes(&in->entry[i]) > EXTENT_BYTES_MAX - sum)
			wrong = "makes the node too large";
		if (wrong)
			return err_set(E_CORRUPT, "rope: child %u of %u at level %u %s",
				       i, n, in->head.level, wrong);
		sum += entry_bytes(&in->entry[i]);
	}
	return 0;
}

int rope_image_check(const uint8_t *image, bool in_memory)
{
	const struct node_head *head = node_head(image);
	bool leaf = head->kind == NODE_ROPE_LEAF;

	if ((!leaf && head->kind != NODE_ROPE_INNER) || leaf != (head->level == 0) ||
	    head->level >= ROPE_LEVELS_MAX)
		return err_set(E_CORRUPT, "rope: node of kind %u at level %u", head->kind,
			       head->level);
	if (node_n(image) == 0 || node_n(image) > node_max(head->level))
		return err_set(E_CORRUPT, "rope: node of level %u with %u entries",
			       head->level, node_n(image));
	return leaf ? check_extents(as_leaf(image)->ext, node_n(image), in_memory)
		    : check_entries(as_inner(image), in_memory);
}

static int check_node(struct rope_env *env, const struct noderef *ref, unsigned level,
		      uint64_t at, uint64_t bytes)
{
	const uint8_t *image;
	int r;

	r = rope_node_read(env->nodes, ref, level, &image);
	if (r < 0)
		return r;
	r = rope_image_check(image, true);
	if (r < 0)
		return r;
	if (node_sum(image, level, 0, node_n(image)) != bytes)
		return err_set(E_CORRUPT,
			       "rope: node of level %u at byte %" PRIu64
			       " should hold %" PRIu64 " bytes, holds %" PRIu64,
			       level, at, bytes,
			       node_sum(image, level, 0, node_n(image)));
	for (unsigned i = 0; level > 0 && i < node_n(image); i++) {
		const struct rope_entry *e = &as_inner(image)->entry[i];

		r = check_node(env, &e->child, level - 1, at, entry_bytes(e));
		if (r < 0)
			return r;
		at += entry_bytes(e);
	}
	return 0;
}

static int check_root(const struct rope *r, bool in_memory)
{
	uint64_t sum = 0;
	int res;

	if (r->levels > ROPE_LEVELS_MAX || r->n_inline > ROPE_INLINE ||
	    (r->levels > 0 && r->n_inline > 0) || rope_bytes(r) > EXTENT_BYTES_MAX)
		return err_set(E_CORRUPT,
			       "rope: root with %u levels, %u inline extents, %" PRIu64
			       " bytes",
			       r->levels, r->n_inline, rope_bytes(r));
	if (r->levels > 0)
		return 0;
	res = check_extents(r->u.ext, r->n_inline, in_memory);
	if (res < 0)
		return res;
	for (unsigned i = 0; i < r->n_inline; i++)
		sum += extent_bytes(&r->u.ext[i]);
	if (sum != rope_bytes(r))
		return err_set(E_CORRUPT,
			       "rope: inline extents hold %" PRIu64 " bytes of %" PRIu64,
			       sum, rope_bytes(r));
	return 0;
}

int rope_check_root(const struct rope *r)
{
	return check_root(r, false);
}

int rope_check(struct rope_env *env, const struct rope *r)
{
	int res = check_root(r, true);

	if (res < 0 || r->levels == 0)
		return res;
	return check_node(env, &r->u.root, r->levels - 1u, 0, rope_bytes(r));
}

/* --- in words --- */

struct printer {
	void (*print)(void *arg, const char *line);
	void *arg;
};

static void print_extents(const struct printer *out, const struct extent *x, unsigned n,
			  uint64_t at)
{
	char line[160];

	for (unsigned i = 0; i < n; i++) {
		const struct extent *e = &x[i];
		uint64_t bytes = extent_bytes(e);

		switch (extent_kind(e)) {
		case EXTENT_HOLE:
			snprintf(line, sizeof(line), "  %" PRIu64 "+%" PRIu64 " hole", at,
				 bytes);
			break;
		case EXTENT_HOT:
			snprintf(line, sizeof(line),
				 "  %" PRIu64 "+%" PRIu64 " hot block %" PRIu64 " off %u",
				 at, bytes, extent_hot_block(e), le32_get(e->off));
			break;
		default:
			snprintf(line, sizeof(line),
				 "  %" PRIu64 "+%" PRIu64 " pack %" PRIu64
				 " chunk %u off %u",
				 at, bytes, extent_pack(e), extent_chunk_index(e),
				 le32_get(e->off));
			break;
		}
		out->print(out->arg, line);
		at += bytes;
	}
}

static int print_node(struct rope_env *env, const struct printer *out,
		      const struct noderef *ref, unsigned level, uint64_t at)
{
	const uint8_t *image;
	char line[160];
	int r;

	r = rope_node_read(env->nodes, ref, level, &image);
	if (r < 0)
		return r;
	snprintf(line, sizeof(line),
		 "node level %u at %" PRIu64 ": %u entries, %" PRIu64
		 " bytes, birth %" PRIu64 ", %s %" PRIu64,
		 level, at, node_n(image), node_sum(image, level, 0, node_n(image)),
		 le64_get(ref->birth), noderef_in_memory(ref) ? "in memory" : "page",
		 noderef_in_memory(ref) ? 0 : le64_get(ref->at));
	out->print(out->arg, line);
	if (level == 0)
		print_extents(out, as_leaf(image)->ext, node_n(image), at);
	for (unsigned i = 0; level > 0 && i < node_n(image); i++) {
		const struct rope_entry *e = &as_inner(image)->entry[i];

		r = print_node(env, out, &e->child, level - 1, at);
		if (r < 0)
			return r;
		at += entry_bytes(e);
	}
	return 0;
}

int rope_to_text(struct rope_env *env, const struct rope *r,
		 void (*print)(void *arg, const char *line), void *arg)
{
	struct printer out = { print, arg };
	char line[160];

	snprintf(line, sizeof(line),
		 "rope: %" PRIu64 " bytes, %u levels, shared up to %" PRIu64,
		 rope_bytes(r), r->levels, le64_get(r->shared));
	print(arg, line);
	if (r->levels > ROPE_LEVELS_MAX || r->n_inline > ROPE_INLINE)
		return err_set(E_CORRUPT, "rope: root with %u levels, %u inline extents",
			       r->levels, r->n_inline);
	if (r->levels > 0)
		return print_node(env, &out, &r->u.root, r->levels - 1u, 0);
	print_extents(&out, r->u.ext, r->n_inline, 0);
	return 0;
}
