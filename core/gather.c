#include "core/gather.h"

#include "core/pack/pack.h"

#define CLASSES 22u /* of 3 bits: all of 64 */

/* Runs of a file lie in one pack, so it is mostly the last one. */
static struct gather_part *find(const struct gather *g, uint64_t pack)
{
	for (unsigned i = g->n; i-- > 0;)
		if (g->parts[i].pack == pack)
			return (struct gather_part *)(uintptr_t)&g->parts[i];
	return NULL;
}

static bool is_packed(const struct extent *e)
{
	return extent_kind(e) == EXTENT_CHUNK && !extent_is_lost(e);
}

void gather_add(struct gather *g, const struct extent *e)
{
	struct gather_part *p;

	if (!is_packed(e))
		return;
	p = find(g, extent_pack(e));
	if (!p) {
		if (g->n == GATHER_EXTENTS)
			return;
		p = &g->parts[g->n++];
		*p = (struct gather_part) { .pack = extent_pack(e) };
	}
	p->bytes += extent_bytes(e);
}

static unsigned class_of(const struct gather_part *p)
{
	assert(p->bytes);
	return (63u - (unsigned)__builtin_clzll(p->bytes)) / 3;
}

void gather_choose(struct gather *g, struct packs *ps, unsigned least)
{
	unsigned of_class[CLASSES] = { 0 };

	if (g->n < least)
		return;
	for (unsigned i = 0; i < g->n; i++) {
		struct gather_part *p = &g->parts[i];

		p->chosen = packs_is_small(ps, p->pack, GATHER_SMALL);
		of_class[class_of(p)] += p->chosen;
	}
	for (unsigned i = 0; i < g->n; i++) {
		struct gather_part *p = &g->parts[i];

		p->chosen &= of_class[class_of(p)] >= least;
		g->n_chosen += p->chosen;
		g->bytes += p->chosen ? p->bytes : 0;
	}
}

bool gather_moves(const struct gather *g, const struct extent *e)
{
	const struct gather_part *p;

	if (!g->n_chosen || !is_packed(e))
		return false;
	p = find(g, extent_pack(e));
	return p && p->chosen;
}
