/* twin.c - the page file is kept twice: at every moment the copy alone must be as good as the file,
 * or not be taken for one at all. */
#include <stdio.h>

#include "core/base/err.h"
#include "core/page/page_format.h"
#include "tests/sim/world.h"

/* Every state of the past that is no older than the floor of the moment is as good. */
static void find_in_past(struct world *w, const struct history *past)
{
	struct state seen = world_look(w);
	uint64_t digest = state_digest(&seen);
	size_t i = past->n;

	state_release(&seen);
	while (i > 0 && state_digest(&past->at[i - 1]) != digest)
		i--;
	world_check(w, i > 0, "what it holds never was");
}

void world_check_copy(struct world *w)
{
	struct world at = { .seed = w->seed,
			    .template = w->template,
			    .rng = rng_seeded(rng_next(&w->rng)),
			    .life = w->life,
			    .budget = w->budget,
			    .doing = "opening the copy of the page file alone" };
	bool whole = image_has_super(w, w->io, PAGEFILE_COPY_NAME);
	int r;

	sim_totals.copies_refused += !whole;
	if (!whole)
		return;
	if (io_sim_branch(w->io, rng_next(&w->rng), &at.io) < 0)
		abort();
	at.io->ops->rename(at.io, PAGEFILE_COPY_NAME, PAGEFILE_NAME);
	r = world_open(&at);
	world_check(&at, r == 0, "gives %d", r);
	world_check(&at, !at.fs->read_only, "read-only: %s", at.fs->read_only_why);
	find_in_past(&at, &w->past);
	sim_totals.copies++;
	world_kill(&at);
	io_free(at.io);
}
