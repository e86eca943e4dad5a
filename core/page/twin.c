/* twin.c - one io_file over two. An error of the copy costs the copy: it loses its name, so that
 * nobody takes it for a whole one later, and stays open for those who read it now. */
#include "core/page/twin.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/mutant.h"

#define NAME_BYTES 64

struct twin {
	struct io_file file;
	struct io *io;
	struct io_file *first, *copy; /* copy NULL: never was */
	atomic_bool lost;
	char name[NAME_BYTES]; /* of the copy */
};

static struct twin *twin_of(struct io_file *f)
{
	return container_of(f, struct twin, file);
}

struct io_file *twin_copy(struct io_file *f)
{
	struct twin *t = twin_of(f);

	return atomic_load(&t->lost) ? NULL : t->copy;
}

struct io_file *twin_first(struct io_file *f)
{
	return twin_of(f)->first;
}

static void copy_result(struct twin *t, int r)
{
	if (r >= 0 || atomic_exchange(&t->lost, true))
		return;
	t->io->ops->unlink(t->io, t->name); /* best effort, as the next one */
	t->io->ops->sync_dir(t->io, "");
}

static ssize_t twin_pread(struct io_file *f, void *p, size_t n, uint64_t off)
{
	return io_pread(twin_of(f)->first, p, n, off);
}

static int twin_pwrite(struct io_file *f, const void *p, size_t n, uint64_t off)
{
	struct io_file *copy = twin_copy(f);
	int r = io_pwrite(twin_of(f)->first, p, n, off);

	if (r >= 0 && copy)
		copy_result(twin_of(f), io_pwrite(copy, p, n, off));
	return r;
}

static int twin_sync(struct io_file *f)
{
	struct io_file *copy = twin_copy(f);
	int r = io_sync(twin_of(f)->first);

	if (r >= 0 && copy && !MUTANT(COPY_UNSYNCED))
		copy_result(twin_of(f), io_sync(copy));
	return r;
}

static int twin_allocate(struct io_file *f, uint64_t len)
{
	struct io_file *copy = twin_copy(f);
	struct io_file *first = twin_of(f)->first;
	int r = first->ops->allocate(first, len);

	if (r >= 0 && copy)
		copy_result(twin_of(f), copy->ops->allocate(copy, len));
	return r;
}

static int twin_truncate(struct io_file *f, uint64_t len)
{
	struct io_file *copy = twin_copy(f);
	struct io_file *first = twin_of(f)->first;
	int r = first->ops->truncate(first, len);

	if (r >= 0 && copy)
		copy_result(twin_of(f), copy->ops->truncate(copy, len));
	return r;
}

static int twin_size(struct io_file *f, uint64_t *ret_bytes)
{
	return io_size(twin_of(f)->first, ret_bytes);
}

static void twin_close(struct io_file *f)
{
	struct twin *t = twin_of(f);

	io_closep(&t->first);
	io_closep(&t->copy);
	free(t);
}

static const struct io_file_ops twin_ops = {
	.pread = twin_pread,
	.pwrite = twin_pwrite,
	.sync = twin_sync,
	.allocate = twin_allocate,
	.truncate = twin_truncate,
	.size = twin_size,
	.close = twin_close,
};

int twin_open(struct io *io, struct io_file *first, const char *copy_name, unsigned flags,
	      struct io_file **ret)
{
	struct twin *t = calloc(1, sizeof(*t));

	if (!t) {
		io_closep(&first);
		return -ENOMEM;
	}
	t->file.ops = &twin_ops;
	t->io = io;
	t->first = first;
	snprintf(t->name, sizeof(t->name), "%s", copy_name);
	if (flags & IO_WRITE)
		flags |= IO_CREATE;
	if (io_open(io, copy_name, flags, &t->copy) < 0)
		atomic_store(&t->lost, true);
	*ret = &t->file;
	return 0;
}
