/* pagefile_twin.c - the page file kept twice: the same bytes at the same places in a second file.
 *
 * A commit syncs both files before each next step, so the copy is never more than one superblock
 * behind. One that is further behind was not written for a while: it is made anew when the store
 * is opened for writing, with the newest superblock last. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/err.h"
#include "core/base/mutant.h"
#include "core/page/pagefile_priv.h"
#include "core/page/twin.h"

int pagefile_pair(struct pagefile *pf)
{
	struct io_file *first = pf->file;
	int r;

	pf->file = NULL;
	r = twin_open(pf->io, first, PAGEFILE_COPY_NAME,
		      pf->read_only ? IO_READ : IO_WRITE, &pf->file);
	pf->twin = r == 0;
	return r;
}

bool pagefile_has_copy(struct pagefile *pf)
{
	return pf->twin && twin_copy(pf->file);
}

/* 0: none verifies. */
static uint64_t generation_of(struct pagefile *pf, struct io_file *file,
			      struct super_state *ret)
{
	struct super_env env = super_env(pf);

	env.file = file;
	return superblock_newest(&env, ret) == 0 ? ret->super.generation : 0;
}

void twin_newest(struct pagefile *pf, int *r, struct super_state *ret)
{
	struct super_state s;
	uint64_t generation;

	if (*r == -E_NEWER || !pagefile_has_copy(pf))
		return;
	generation = generation_of(pf, twin_copy(pf->file), &s);
	if (generation == 0 || (*r == 0 && generation <= ret->super.generation))
		return;
	*ret = s;
	*r = 0;
}

int twin_page(struct pagefile *pf, const struct noderef *ref, uint8_t *out)
{
	uint64_t page = le64_get(ref->at);
	struct io_file *copy = twin_copy(pf->file);
	uint8_t sealed[PAGE_BYTES];

	if (!copy || page < SUPER_SLOTS ||
	    io_pread_all(copy, sealed, sizeof(sealed), page * PAGE_BYTES) < 0)
		return -ENOENT;
	return page_unseal(pf, ref, sealed, out);
}

/* --- bringing up --- */

static int copy_page(struct io_file *from, struct io_file *to, uint64_t page)
{
	uint8_t sealed[PAGE_BYTES];
	int r = io_pread_all(from, sealed, sizeof(sealed), page * PAGE_BYTES);

	if (r == -ENOMEM)
		return r;
	if (r < 0) /* it can't be read there, either */
		return 0;
	return io_pwrite(to, sealed, sizeof(sealed), page * PAGE_BYTES);
}

static int zero_supers(struct io_file *f)
{
	static const uint8_t zeros[SUPER_SLOTS * PAGE_BYTES];

	return io_pwrite(f, zeros, sizeof(zeros), 0);
}

static int make_copy(struct pagefile *pf, struct io_file *copy)
{
	struct io_file *first = twin_first(pf->file);
	int r = zero_supers(copy);

	if (r >= 0)
		r = copy->ops->allocate(copy, pf->pages * PAGE_BYTES);
	if (r >= 0)
		r = io_sync(copy);
	for (uint64_t p = SUPER_SLOTS; r >= 0 && p < pf->pages; p++)
		if (pf->used[p / 64] >> p % 64 & 1)
			r = copy_page(first, copy, p);
	if (r >= 0 && !MUTANT(COPY_SUPER_EARLY))
		r = io_sync(copy);
	/* The one before it stands for pages that are free now, and were not copied. */
	if (r >= 0)
		r = copy_page(first, copy, pf->durable.super.generation % SUPER_SLOTS);
	if (r >= 0)
		r = io_sync(copy);
	return r < 0 ? r : pf->io->ops->sync_dir(pf->io, "");
}

/* Without room for it there is none. */
static void drop_copy(struct pagefile *pf)
{
	struct io_file *again = NULL;

	if (io_open(pf->io, PAGEFILE_NAME, IO_WRITE, &again) < 0)
		return;
	pf->io->ops->unlink(pf->io, PAGEFILE_COPY_NAME);
	io_closep(&pf->file);
	pf->file = again;
	pf->twin = false;
}

void twin_bring_up(struct pagefile *pf)
{
	struct io_file *copy = twin_copy(pf->file);
	struct super_state s;
	uint64_t generation;

	if (!copy)
		return;
	generation = generation_of(pf, copy, &s);
	if (generation && generation + 1 >= pf->durable.super.generation)
		return;
	if (make_copy(pf, copy) < 0)
		drop_copy(pf);
}

/* --- checking --- */

/* Best effort: what the system has kept of the file is better than nothing. */
static struct io_file *medium_open(struct pagefile *pf, const char *name,
				   struct io_file **medium, struct io_file *f)
{
	if (!*medium)
		io_open(pf->io, name, IO_MEDIUM, medium);
	return *medium ? *medium : f;
}

struct io_file *medium_of_first(struct pagefile *pf)
{
	return medium_open(pf, PAGEFILE_NAME, &pf->medium.first,
			   pf->twin ? twin_first(pf->file) : pf->file);
}

struct io_file *medium_of_copy(struct pagefile *pf)
{
	if (!pagefile_has_copy(pf))
		return NULL;
	return medium_open(pf, PAGEFILE_COPY_NAME, &pf->medium.copy, twin_copy(pf->file));
}

static bool file_has(struct pagefile *pf, struct io_file *f, const struct noderef *ref,
		     uint8_t sealed[PAGE_BYTES])
{
	uint8_t image[PAGE_PAYLOAD];

	return io_pread_all(f, sealed, PAGE_BYTES, le64_get(ref->at) * PAGE_BYTES) == 0 &&
	       page_unseal(pf, ref, sealed, image) == 0;
}

int pagefile_check_page(struct pagefile *pf, const struct noderef *ref, bool mend,
			unsigned *ret_bad)
{
	struct io_file *first = pf->twin ? twin_first(pf->file) : pf->file;
	struct io_file *copy = pagefile_has_copy(pf) ? twin_copy(pf->file) : NULL;
	uint64_t at = le64_get(ref->at) * PAGE_BYTES;
	uint8_t one[PAGE_BYTES], other[PAGE_BYTES];
	bool good = file_has(pf, medium_of_first(pf), ref, one);
	bool copy_good = copy && file_has(pf, medium_of_copy(pf), ref, other);
	int r = 0;

	*ret_bad = (good ? 0 : PAGE_BAD_FIRST) | (copy && !copy_good ? PAGE_BAD_COPY : 0);
	if (!good && !copy_good)
		return err_set(E_CORRUPT, "page %llu of the page file does not verify",
			       (unsigned long long)le64_get(ref->at));
	if (mend && !good)
		r = io_pwrite(first, other, sizeof(other), at);
	else if (mend && copy && !copy_good)
		r = io_pwrite(copy, one, sizeof(one), at);
	return r;
}

bool pagefile_copy_is_odd(struct io *io)
{
	_cleanup_(io_closep) struct io_file *copy = NULL;
	int r = io_open(io, PAGEFILE_COPY_NAME, IO_READ, &copy);

	return r == -EISDIR || r == -EINVAL || r == -ELOOP || r == -ENXIO;
}

int pagefile_begin_from_copy(struct io *io)
{
	_cleanup_(io_closep) struct io_file *copy = NULL;
	_cleanup_(io_closep) struct io_file *first = NULL;
	uint64_t bytes = 0;
	int r = io_open(io, PAGEFILE_COPY_NAME, IO_READ, &copy);

	if (r >= 0)
		r = io_size(copy, &bytes);
	if (r >= 0)
		r = io_open(io, PAGEFILE_NAME, IO_CREATE | IO_EXCL, &first);
	if (r >= 0)
		r = first->ops->truncate(first, bytes);
	if (r >= 0)
		r = io_sync(first);
	return r < 0 ? r : io->ops->sync_dir(io, "");
}
