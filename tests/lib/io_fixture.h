/* io_fixture.h - small files for tests of an io. */
#ifndef ROPEFS_TESTS_IO_FIXTURE_H
#define ROPEFS_TESTS_IO_FIXTURE_H

#include <string.h>

#include "core/io/io_sim.h"
#include "tests/lib/suite.h"

static inline struct io *sim_new(uint64_t seed)
{
	struct io *io;

	ck_ok(io_sim_new(seed, &io));
	return io;
}

static inline struct io_file *file_new(struct io *io, const char *name, unsigned flags)
{
	struct io_file *f = NULL;

	ck_ok(io_open(io, name, flags, &f));
	return f;
}

static inline void file_put(struct io *io, const char *name, const char *text)
{
	struct io_file *f = file_new(io, name, IO_CREATE);

	ck_ok(f->ops->truncate(f, 0));
	ck_ok(io_pwrite(f, text, strlen(text), 0));
	ck_ok(io_sync(f));
	io_closep(&f);
}

/* The file's text, or NULL. */
static inline const char *file_text(struct io *io, const char *name)
{
	static char text[64];
	struct io_file *f = NULL;
	ssize_t n;

	if (io_open(io, name, IO_READ, &f) < 0)
		return NULL;
	n = io_pread(f, text, sizeof(text) - 1, 0);
	io_closep(&f);
	if (n < 0)
		return NULL;
	text[n] = '\0';
	return text;
}

static inline bool exists(struct io *io, const char *name)
{
	return file_text(io, name) != NULL;
}

#define ck_text(io, name, want) ck_assert_pstr_eq(file_text(io, name), want)

#endif
