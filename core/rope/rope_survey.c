/* rope_survey.c - walks a rope that may be damaged: what is below a node that can't be read is
 * told by its place and length, which the node above has, and the walk goes on behind it. */
#include <errno.h>

#include "core/base/err.h"
#include "core/rope/rope_node.h"

struct survey {
	struct rope_env *env;
	rope_survey_fn fn;
	void *arg;
};

/* Errors that say something of the bytes on disk. */
static bool is_damage(int r)
{
	return r == -E_CORRUPT || r == -EIO;
}

static int read_whole(struct survey *s, const struct noderef *ref, unsigned level,
		      uint64_t bytes, const uint8_t **ret)
{
	int r = rope_node_read(s->env->nodes, ref, level, ret);

	if (r >= 0)
		r = rope_image_check(*ret, true);
	if (r >= 0 && node_sum(*ret, level, 0, node_n(*ret)) != bytes)
		r = err_set(E_CORRUPT, "rope: a node holds other bytes than it should");
	return r;
}

static int survey_extents(struct survey *s, const struct extent *x, unsigned n,
			  uint64_t at)
{
	for (unsigned i = 0; i < n; i++) {
		int r = s->fn(s->arg, &x[i], at, extent_bytes(&x[i]));

		if (r)
			return r;
		at += extent_bytes(&x[i]);
	}
	return 0;
}

static int survey_node(struct survey *s, const struct noderef *ref, unsigned level,
		       uint64_t at, uint64_t bytes)
{
	const uint8_t *image;
	int r = read_whole(s, ref, level, bytes, &image);

	if (is_damage(r))
		return s->fn(s->arg, NULL, at, bytes);
	if (r < 0)
		return r;
	if (level == 0)
		return survey_extents(s, as_leaf(image)->ext, node_n(image), at);
	for (unsigned i = 0; i < node_n(image) && r == 0; i++) {
		const struct rope_entry *e = &as_inner(image)->entry[i];

		r = survey_node(s, &e->child, level - 1, at, entry_bytes(e));
		at += entry_bytes(e);
	}
	return r;
}

int rope_survey(struct rope_env *env, const struct rope *rope, rope_survey_fn fn,
		void *arg)
{
	struct survey s = { env, fn, arg };
	struct rope top = { .levels = 0 };

	if (rope->levels > ROPE_LEVELS_MAX)
		return fn(arg, NULL, 0, rope_bytes(rope));
	if (rope->levels)
		return survey_node(&s, &rope->u.root, rope->levels - 1u, 0,
				   rope_bytes(rope));
	top = *rope;
	if (rope_bytes(rope) == 0)
		return 0;
	if (rope_check(env, &top) < 0)
		return fn(arg, NULL, 0, rope_bytes(rope));
	return survey_extents(&s, rope->u.ext, rope->n_inline, 0);
}
