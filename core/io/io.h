/* io.h - everything the engine asks of the world outside: files below one directory, time
 * and randomness, behind one table, so that a simulated disk can stand in (io_sim.h).
 *
 * Names are relative to the root the io was opened on, with at most one '/' ("pages",
 * "packs/0000000001.pack"). Nothing follows symbolic links. All functions return 0 (or a
 * count) or a negative error; ret_ outputs are untouched on failure. Calls on different
 * files may run in parallel; calls on one file too, except close.
 *
 * Durability contract (what a power cut may undo):
 *  1. pwrite, allocate and truncate are durable once sync() of that file returned 0.
 *  2. open(create), rename, unlink and mkdir are durable once sync_dir() of the folder did.
 *  3. A failed sync means: assume nothing written since the last good one is durable, ever. */
#ifndef ROPEFS_IO_IO_H
#define ROPEFS_IO_IO_H

#include <errno.h>
#include <sys/types.h>

#include "core/base/buf.h"

struct io;
struct io_file;

enum io_open_flags {
	IO_READ = 0,
	IO_WRITE = 1, /* read and write */
	IO_CREATE = 2, /* implies IO_WRITE; an existing file is opened as it is */
	IO_EXCL = 4, /* with IO_CREATE: -EEXIST when it is there */
	/* Only to read, by one thread at a time: what the medium gives, not what the system
	 * has kept of it, as far as that can be had. What is behind the place that is read
	 * must not change, but for reads of whole blocks of 4 KiB. */
	IO_MEDIUM = 8,
};

struct io_file_ops {
	/* Reads up to n bytes; fewer only at the end of the file. Returns the count. */
	ssize_t (*pread)(struct io_file *f, void *p, size_t n, uint64_t off);
	/* Writes all n bytes or returns an error (some may have been written). */
	int (*pwrite)(struct io_file *f, const void *p, size_t n, uint64_t off);
	int (*sync)(struct io_file *f); /* fdatasync */
	/* Reserves space for [0, len) and makes the file at least that long; new bytes
	 * read as zeros. -EOPNOTSUPP never reaches the caller: it falls back to truncate. */
	int (*allocate)(struct io_file *f, uint64_t len);
	int (*truncate)(struct io_file *f, uint64_t len);
	int (*size)(struct io_file *f, uint64_t *ret_bytes);
	/* The bytes that a pread at off gave were wrong: the next one there gets them anew, past
	 * what is kept nearer. NULL: nothing is kept. */
	void (*forget)(struct io_file *f, uint64_t off);
	void (*close)(struct io_file *f);
};

struct io_file {
	const struct io_file_ops *ops;
};

struct io_space {
	uint64_t total_bytes;
	uint64_t free_bytes; /* what an ordinary user may still write */
	uint64_t reserved_bytes; /* free as well, but not for one */
};

struct io_ops {
	int (*open)(struct io *io, const char *name, unsigned flags,
		    struct io_file **ret);
	int (*rename)(struct io *io, const char *from, const char *to); /* replaces to */
	int (*unlink)(struct io *io, const char *name);
	int (*mkdir)(struct io *io, const char *name); /* mode 0700; -EEXIST */
	/* Calls each for every entry of folder dir ("" is the root), in no order, without
	 * "." and ".."; a non-zero return stops and is returned. */
	int (*list)(struct io *io, const char *dir,
		    int (*each)(void *arg, const char *name), void *arg);
	int (*sync_dir)(struct io *io, const char *dir);
	int (*space)(struct io *io, struct io_space *ret);
	/* Takes the exclusive lock file name and writes our pid into it. Held until the io
	 * is freed. When another process has it: -EWOULDBLOCK with *ret_pid its pid (0 when
	 * unknown). A process that died holds nothing. */
	int (*lock)(struct io *io, const char *name, pid_t *ret_pid);
	uint64_t (*real_ns)(struct io *io); /* CLOCK_REALTIME, since 1970 */
	uint64_t (*mono_ns)(struct io *io); /* CLOCK_MONOTONIC */
	/* What it was at the kernel's last tick: some milliseconds late, for a fifth of the
	 * price. */
	uint64_t (*tick_ns)(struct io *io);
	void (*boot_id)(struct io *io, uint8_t ret_id[16]); /* of the running system */
	void (*random)(struct io *io, void *p, size_t n); /* for ids, salts and nonces */
	void (*free)(struct io *io); /* all its files are closed */
};

struct io {
	const struct io_ops *ops;
};

static inline ssize_t io_pread(struct io_file *f, void *p, size_t n, uint64_t off)
{
	return f->ops->pread(f, p, n, off);
}

static inline int io_pwrite(struct io_file *f, const void *p, size_t n, uint64_t off)
{
	return f->ops->pwrite(f, p, n, off);
}

static inline int io_sync(struct io_file *f)
{
	return f->ops->sync(f);
}

static inline int io_size(struct io_file *f, uint64_t *ret_bytes)
{
	return f->ops->size(f, ret_bytes);
}

static inline void io_closep(struct io_file **f)
{
	if (*f)
		(*f)->ops->close(*f);
	*f = NULL;
}

static inline int io_open(struct io *io, const char *name, unsigned flags,
			  struct io_file **ret)
{
	return io->ops->open(io, name, flags, ret);
}

static inline uint64_t io_real_ns(struct io *io)
{
	return io->ops->real_ns(io);
}

static inline uint64_t io_mono_ns(struct io *io)
{
	return io->ops->mono_ns(io);
}

static inline uint64_t io_tick_ns(struct io *io)
{
	return io->ops->tick_ns(io);
}

static inline void io_random(struct io *io, void *p, size_t n)
{
	io->ops->random(io, p, n);
}

static inline struct io *io_free(struct io *io)
{
	if (io)
		io->ops->free(io);
	return NULL;
}

/* What was opened by its name is there, and no regular file: err_detail() says what it is. */
static inline bool io_is_no_file(int r)
{
	return r == -EISDIR || r == -ELOOP || r == -EINVAL || r == -ENXIO;
}

/* Reads exactly n bytes: -ENODATA when the file ends before. */
int io_pread_all(struct io_file *f, void *p, size_t n, uint64_t off);
/* Appends a whole small file to ret, with room for a NUL behind it. -EFBIG: more than max. */
int io_read_file(struct io *io, const char *name, size_t max, struct buf *ret);
/* Writes a whole small file so that a power cut leaves the old one or the new one:
 * temporary name, sync, rename, sync of the folder. */
int io_publish(struct io *io, const char *name, const void *p, size_t n);

/* io_posix.c. The directory must exist; it is opened without following a final symlink and
 * every name below it with openat2(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS). */
int io_posix_new(const char *path, struct io **ret);
/* Whether nobody else can change what is in the folder: its owner is who we are, or root (-EPERM),
 * and only he may write there (-EACCES). close_it: others may not look into it from now on. */
int io_posix_guard(struct io *io, bool close_it);
/* The next lock() of this io takes fd, an open file that may hold the flock already (from a
 * process that ended, through one that kept it), instead of opening the file by its name. The
 * io owns fd. */
void io_posix_adopt_lock(struct io *io, int fd);
/* A copy of the descriptor of a held lock, the caller's to close; -ENOENT: none is held. */
int io_posix_dup_lock(struct io *io);

#endif
