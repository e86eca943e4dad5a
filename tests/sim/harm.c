/* harm.c - something on a disk is not as it was written: a bit, or a sector that is zeros, that of
 * another place, or an older one. What is read then are bytes that were there, or an error. */
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

static void choose_file(struct world *w, struct listing *l)
{
	static const char *const folders[] = { "", "wal", "packs" };

	*l = (struct listing) { .w = w };
	for (size_t i = 0; i < ARRAY_LEN(folders); i++) {
		l->folder = folders[i];
		w->io->ops->list(w->io, l->folder, list_file, l);
	}
}

struct sectors {
	struct io_file *file;
	uint64_t n;
	size_t bytes; /* of one */
	uint8_t a[4096], b[4096];
};

/* Most of a file of the log is not in use. */
static uint64_t draw_below(struct world *w, uint64_t n, uint64_t used)
{
	return rng_below(&w->rng, rng_below(&w->rng, 4) ? MIN(n, used) : n);
}

/* Reads the sector as it is in an older copy of the file, where there is one. */
static bool read_older(struct world *w, const char *path, uint64_t at, struct sectors *s)
{
	struct io *older = world_beginning(w);
	struct io_file *f;
	ssize_t n = -1;

	if (io_open(older, path, IO_READ, &f) == 0) {
		n = io_pread(f, s->b, s->bytes, at);
		io_closep(&f);
	}
	io_free(older);
	return n == (ssize_t)s->bytes;
}

static void harm_sector(struct world *w, const char *path, struct sectors *s)
{
	uint64_t at = draw_below(w, s->n, 20 * KIB / s->bytes) * s->bytes;
	uint64_t other = draw_below(w, s->n, 20 * KIB / s->bytes) * s->bytes;

	if (io_pread_all(s->file, s->a, s->bytes, at) < 0 ||
	    io_pread_all(s->file, s->b, s->bytes, other) < 0)
		return;
	switch (rng_below(&w->rng, 4)) {
	case 0:
		memset(s->b, 0, s->bytes);
		break;
	case 1: /* the two change places */
		io_pwrite(s->file, s->a, s->bytes, other);
		break;
	case 2:
		if (!read_older(w, path, at, s))
			return;
		break;
	default: /* the other is there twice */
		break;
	}
	io_pwrite(s->file, s->b, s->bytes, at);
	io_sync(s->file);
}

static void harm(struct world *w)
{
	struct sectors s = { .bytes = rng_below(&w->rng, 2) ? 512 : 4096 };
	struct listing l;
	uint64_t bytes = 0;

	choose_file(w, &l);
	if (!l.n || io_open(w->io, l.path, IO_WRITE, &s.file) < 0)
		return;
	if (io_size(s.file, &bytes) == 0 && bytes) {
		s.n = bytes / s.bytes;
		if (s.n && rng_below(&w->rng, 2))
			harm_sector(w, l.path, &s);
		else
			io_sim_flip(w->io, l.path, draw_below(w, bytes, 20 * KIB),
				    (unsigned)rng_below(&w->rng, 8));
	}
	io_closep(&s.file);
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
	n = i < SIM_FOLDER
		    ? ropefs_getattr(w->fs, ROPEFS_ROOT_INO, &attr)
		    : ropefs_lookup(w->fs, ROPEFS_ROOT_INO, ropefs_name("d"), &attr);
	if (n == 0)
		n = ropefs_lookup(w->fs, attr.ino, ropefs_name(name), &attr);
	if (n == 0)
		n = ropefs_read(w->fs, attr.ino, 0, bytes, sizeof(bytes), 0);
	if (n == -ENOENT)
		return;
	world_check(w, n >= 0 || ropefs_error_errno((int)n) == EIO, "reading %s gives %d",
		    name, (int)n);
	world_check(w, n < 0 || bytes_were(past, i, bytes, (size_t)n),
		    "%s has bytes that it never had", name);
}

/* True when record id had these bytes at some time. */
static bool record_was(const struct history *past, uint64_t id, const uint8_t *p,
		       size_t n)
{
	for (size_t k = past->n; k-- > 0;) {
		size_t was_n;
		const uint8_t *was = queue_record(&past->at[k].queue, id, &was_n);

		if (was && was_n == n && !memcmp(was, p, n))
			return true;
	}
	return false;
}

static void look_at_queue(struct world *w, const struct history *past)
{
	static uint8_t bytes[SIM_RECORD_MAX];
	struct ropefs_record rec;
	struct ropefs_batch b = {
		.records = &rec, .max = 1, .p = bytes, .n = sizeof(bytes)
	};
	struct ropefs_queue q;
	int r = ropefs_queue_info(w->fs, sim_queue_ino, &q);

	world_check(w, r >= 0 || ropefs_error_errno(r) == EIO, "the queue gives %d", r);
	for (uint64_t id = q.first; r == 0 && id < q.next; id++) {
		b.id = id;
		b.count = 0;
		r = ropefs_queue_read(w->fs, sim_queue_ino, &b, 0);
		world_check(w, r >= 0 || ropefs_error_errno(r) == EIO,
			    "record %llu gives %d", (unsigned long long)id, r);
		world_check(w, r < 0 || record_was(past, id, bytes, rec.n),
			    "record %llu has bytes that it never had",
			    (unsigned long long)id);
		r = 0;
	}
}

void world_read(struct world *w, const struct history *past)
{
	for (unsigned i = 0; i < SIM_FILES; i++)
		look_at_file(w, past, i);
	look_at_queue(w, past);
}

void world_harm(struct world *w, const struct history *past)
{
	w->doing = "reading what was harmed";
	sim_totals.harms++;
	harm(w);
	if (world_open(w) == 0)
		world_read(w, past);
}
