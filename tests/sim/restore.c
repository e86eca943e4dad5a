/* restore.c - a store is made anew from the bucket alone: it is a state that was committed. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/base/err.h"
#include "tests/sim/world.h"

static struct {
	bool on;
	uint64_t seed;
	struct io *io; /* as the new store's folder was when its header was written */
} restoring;

int __real_store_open_dir(const char *path, struct io **ret);
int __wrap_store_open_dir(const char *path, struct io **ret);
int __real_io_publish(struct io *io, const char *name, const void *p, size_t n);
int __wrap_io_publish(struct io *io, const char *name, const void *p, size_t n);

int __wrap_store_open_dir(const char *path, struct io **ret)
{
	return restoring.on ? io_sim_new(restoring.seed, ret)
			    : __real_store_open_dir(path, ret);
}

int __wrap_io_publish(struct io *io, const char *name, const void *p, size_t n)
{
	int r = __real_io_publish(io, name, p, n);

	if (r < 0 || !restoring.on || strcmp(name, "ropefs") != 0)
		return r;
	if (restoring.io)
		io_free(restoring.io);
	return io_sim_branch(io, restoring.seed, &restoring.io);
}

static int restore(struct world *w)
{
	struct ropefs_clone c = { .key_file = sim_key_path(),
				  .remote = { .url = SIM_BUCKET_URL } };
	char folder[4200];
	int r;

	snprintf(folder, sizeof(folder), "%s/restored", suite_tmpdir());
	restoring.on = true;
	restoring.seed = rng_next(&w->rng);
	restoring.io = NULL;
	r = ropefs_clone(folder, &c);
	restoring.on = false;
	return r;
}

void world_restore(struct world *w)
{
	struct world at = { .seed = w->seed,
			    .rng = rng_seeded(rng_next(&w->rng)),
			    .life = w->life,
			    .budget = w->budget,
			    .bucket = w->bucket,
			    .doing = "making the store anew from the bucket" };
	struct state seen;
	int r = restore(w);

	world_check(&at, r == 0 || !bucket_has_state(w->bucket), "gives %d", r);
	if (r < 0)
		return;
	at.io = restoring.io;
	r = world_open(&at);
	world_check(&at, r == 0, "opening it gives %d", r);
	seen = world_look(&at);
	world_check(&at, bucket_expects(w->bucket, state_digest(&seen)),
		    "it is in no state that was committed");
	state_release(&seen);
	sim_totals.restored++;
	world_kill(&at);
	io_free(at.io);
}
