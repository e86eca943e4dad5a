/* flip.c - one bit of a disk flips: what is read then is a byte that was there, or an error. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/err.h"
#include "tests/sim/world.h"

struct listing {
	struct world *w;
	const char *folder;
	unsigned n;
	char path[300]; /* one of those seen, each as likely */
};

static int list_file(void *arg, const char *name)
{
	struct listing *l = arg;

	if (!strchr(name, '.') && strcmp(name, "pages") != 0 &&
	    strcmp(name, "ropefs") != 0)
		return 0; /* folders, and the lock */
	if (rng_below(&l->w->rng, ++l->n) == 0)
		snprintf(l->path, sizeof(l->path), "%s%s%s", l->folder,
			 *l->folder ? "/" : "", name);
	return 0;
}

static void flip_somewhere(struct world *w)
{
	static const char *const folders[] = { "", "wal", "packs" };
	struct listing l = { .w = w };
	struct io_file *f;
	uint64_t bytes = 0;

	for (size_t i = 0; i < ARRAY_LEN(folders); i++) {
		l.folder = folders[i];
		w->io->ops->list(w->io, l.folder, list_file, &l);
	}
	if (!l.n || io_open(w->io, l.path, IO_READ, &f) < 0)
		return;
	if (io_size(f, &bytes) == 0 && bytes) {
		/* Most of a file of the log is not in use. */
		bytes = rng_below(&w->rng, 4) ? MIN(bytes, 20 * KIB) : bytes;
		io_sim_flip(w->io, l.path, rng_below(&w->rng, bytes),
			    (unsigned)rng_below(&w->rng, 8));
	}
	io_closep(&f);
}

/* True when file i had these bytes at some time. */
static bool bytes_were(const struct history *past, unsigned i, const uint8_t *p, size_t n)
{
	for (size_t k = past->n; k-- > 0;) {
		const struct blob *b = past->at[k].file[i];

		if (b && b->n == n && !memcmp(b->p, p, n))
			return true;
	}
	return false;
}

static void look_at_file(struct world *w, const struct history *past, unsigned i)
{
	static uint8_t bytes[SIM_FILE_MAX + 1];
	struct ropefs_attr attr;
	char name[8];
	ssize_t n;

	snprintf(name, sizeof(name), "f%u", i);
	n = ropefs_lookup(w->fs, ROPEFS_ROOT_INO, ropefs_name(name), &attr);
	if (n == 0)
		n = ropefs_read(w->fs, attr.ino, 0, bytes, sizeof(bytes), 0);
	if (n == -ENOENT)
		return;
	world_check(w, n >= 0 || ropefs_error_errno((int)n) == EIO, "reading %s gives %d",
		    name, (int)n);
	world_check(w, n < 0 || bytes_were(past, i, bytes, (size_t)n),
		    "%s has bytes that it never had", name);
}

void world_flip(struct world *w, const struct history *past)
{
	w->doing = "reading with a bit flipped";
	sim_totals.flips++;
	flip_somewhere(w);
	if (world_open(w) < 0)
		return;
	for (unsigned i = 0; i < SIM_FILES; i++)
		look_at_file(w, past, i);
}
