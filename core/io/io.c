/* io.c - what is the same on every io: names, whole reads, files published at once. */
#include "core/io/io.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/io/io_name.h"

static int component_copy(char to[NAME_MAX + 1], const char *p, size_t n)
{
	if (n == 0 || (n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.'))
		return -EINVAL;
	if (n > NAME_MAX)
		return -ENAMETOOLONG;
	memcpy(to, p, n);
	to[n] = '\0';
	return 0;
}

int io_name_parse(const char *name, struct io_name *ret)
{
	const char *slash = strchr(name, '/');
	const char *base = slash ? slash + 1 : name;
	struct io_name parsed = { 0 };
	int r;

	if (strchr(base, '/'))
		return -EINVAL;
	if (slash) {
		r = component_copy(parsed.dir, name, (size_t)(slash - name));
		if (r < 0)
			return r;
	}
	r = component_copy(parsed.base, base, strlen(base));
	if (r < 0)
		return r;
	*ret = parsed;
	return 0;
}

int io_pread_all(struct io_file *f, void *p, size_t n, uint64_t off)
{
	ssize_t got = io_pread(f, p, n, off);

	if (got < 0)
		return (int)got;
	assert((size_t)got <= n);
	return (size_t)got == n ? 0 : -ENODATA;
}

int io_read_file(struct io *io, const char *name, size_t max, struct buf *ret)
{
	_cleanup_(io_closep) struct io_file *f = NULL;
	uint64_t bytes;
	int r;

	r = io_open(io, name, IO_READ, &f);
	if (r == 0)
		r = io_size(f, &bytes);
	if (r == 0 && bytes > max)
		r = -EFBIG;
	if (r == 0)
		r = buf_reserve(ret, bytes + 1);
	if (r == 0)
		r = io_pread_all(f, ret->p + ret->n, bytes, 0);
	if (r == 0)
		ret->n += bytes;
	return r;
}

/* A leftover of an earlier try is thrown away, not reused: what a failed sync has spoilt
 * stays behind with it. */
static int create_afresh(struct io *io, const char *name, struct io_file **ret)
{
	int r = io_open(io, name, IO_CREATE | IO_EXCL, ret);

	if (r != -EEXIST)
		return r;
	r = io->ops->unlink(io, name);
	if (r < 0)
		return r;
	return io_open(io, name, IO_CREATE | IO_EXCL, ret);
}

static int write_new(struct io *io, const char *name, const void *p, size_t n)
{
	_cleanup_(io_closep) struct io_file *f = NULL;
	int r;

	r = create_afresh(io, name, &f);
	if (r < 0)
		return r;
	r = io_pwrite(f, p, n, 0);
	if (r < 0)
		return r;
	return io_sync(f);
}

int io_publish(struct io *io, const char *name, const void *p, size_t n)
{
	char temp[2 * NAME_MAX + 16];
	struct io_name at;
	int r;

	r = io_name_parse(name, &at);
	if (r < 0)
		return r;
	snprintf(temp, sizeof(temp), "%s.tmp", name);
	r = write_new(io, temp, p, n);
	if (r >= 0)
		r = io->ops->rename(io, temp, name);
	if (r < 0) {
		io->ops->unlink(io, temp); /* best effort: the first error counts */
		return r;
	}
	return io->ops->sync_dir(io, at.dir);
}
