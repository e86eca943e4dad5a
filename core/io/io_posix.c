/* io_posix.c - the io of the real world: files below one directory.
 *
 * 1. Nothing outside the directory is reached and no symbolic link followed, whoever may
 *    have planted one: names are opened relative to the directory's descriptor with
 *    openat2(), or, where the kernel lacks it, a component at a time with O_NOFOLLOW.
 * 2. Only regular files are opened as files (a FIFO would block us).
 * 3. Descriptors never survive exec; an interrupted call is made again. */
#include "core/io/io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "core/base/err.h"
#include "core/base/lock.h"
#include "core/io/io_name.h"
#include "core/io/medium.h"

#define OFF_MAX ((uint64_t)INT64_MAX)

struct held_lock {
	struct held_lock *next;
	int fd;
};

struct posix_io {
	struct io io;
	int root;
	bool has_openat2;
	struct lock lock; /* guards locks */
	struct held_lock *locks;
	int adopted; /* for the next lock(); -1: none */
};

struct posix_file {
	struct io_file file;
	int fd;
};

static struct posix_io *posix_of(struct io *io)
{
	return container_of(io, struct posix_io, io);
}

static int fd_of(struct io_file *f)
{
	return container_of(f, struct posix_file, file)->fd;
}

static void closefd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

/* ---- opening below the root ---- */

static int open_beneath(int root, const char *name, int flags, mode_t mode)
{
	struct open_how how = {
		.flags = (uint64_t)(flags | O_CLOEXEC),
		.mode = mode,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS,
	};
	long fd;

	do
		fd = syscall(SYS_openat2, root, name, &how, sizeof(how));
	while (fd < 0 && (errno == EINTR || errno == EAGAIN));
	return fd < 0 ? -errno : (int)fd;
}

static int open_nofollow(int dir, const char *base, int flags, mode_t mode)
{
	int fd;

	do
		fd = openat(dir, base, flags | O_CLOEXEC | O_NOFOLLOW, mode);
	while (fd < 0 && errno == EINTR);
	return fd < 0 ? -errno : fd;
}

/* Of the store's own two folders ("" was opened by its name). */
static int folder_failed(int r, const char *dir)
{
	if ((r != -ENOTDIR && r != -ELOOP) || !*dir)
		return r;
	return err_set(
		-r,
		"\"%s\" in the store's folder is %s where a folder belongs: move it "
		"away, and put the folder back from a copy",
		dir, r == -ELOOP ? "a symbolic link" : "a file");
}

/* "" is the root, for itself: its position and its sync are the caller's alone. */
static int folder_open(const struct posix_io *px, const char *dir)
{
	const int flags = O_RDONLY | O_DIRECTORY;

	if (!*dir)
		return open_nofollow(px->root, ".", flags, 0);
	if (strchr(dir, '/') || !strcmp(dir, ".."))
		return -EINVAL;
	return folder_failed(px->has_openat2 ? open_beneath(px->root, dir, flags, 0)
					     : open_nofollow(px->root, dir, flags, 0),
			     dir);
}

static int name_open(const struct posix_io *px, const char *name, int flags)
{
	_cleanup_(closefd) int folder = -1;
	struct io_name at;
	int r;

	r = io_name_parse(name, &at);
	if (r < 0)
		return r;
	if (px->has_openat2)
		return open_beneath(px->root, name, flags, flags & O_CREAT ? 0600 : 0);
	folder = folder_open(px, at.dir);
	return folder < 0 ? folder : open_nofollow(folder, at.base, flags, 0600);
}

static int no_file(int r, const char *name, const char *what)
{
	return err_set(-r,
		       "\"%s\" in the store's folder is %s where a file belongs: move it "
		       "away, and put the file back if a copy of it is left",
		       name, what);
}

static int open_failed(int r, const char *name)
{
	if (r == -EISDIR)
		return no_file(r, name, "a folder");
	if (r == -ELOOP)
		return no_file(r, name, "a symbolic link");
	return r == -ENXIO ? no_file(r, name, "a socket or device") : r;
}

/* Opens a regular file. O_NONBLOCK lets the open of anything else return, to be refused. */
static int regular_open(const struct posix_io *px, const char *name, unsigned flags)
{
	int how = O_NOCTTY | O_NONBLOCK, fd;
	struct stat st;

	how |= flags & (IO_WRITE | IO_CREATE) ? O_RDWR : O_RDONLY;
	if (flags & IO_CREATE)
		how |= O_CREAT | (flags & IO_EXCL ? O_EXCL : 0);
	fd = name_open(px, name, how);
	if (fd < 0)
		return open_failed(fd, name);
	if (fstat(fd, &st) < 0) {
		int r = -errno;

		close(fd);
		return r;
	}
	if (!S_ISREG(st.st_mode)) {
		close(fd);
		return S_ISDIR(st.st_mode)
			       ? open_failed(-EISDIR, name)
			       : no_file(-EINVAL, name,
					 S_ISFIFO(st.st_mode) ? "a fifo" : "a device");
	}
	return fd;
}

/* ---- files ---- */

static ssize_t posix_pread(struct io_file *f, void *p, size_t n, uint64_t off)
{
	size_t done = 0;

	if (off > OFF_MAX || n > OFF_MAX - off)
		return -EINVAL;
	while (done < n) {
		ssize_t got =
			pread(fd_of(f), (char *)p + done, n - done, (off_t)(off + done));

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			break;
		done += (size_t)got;
	}
	return (ssize_t)done;
}

static int posix_pwrite(struct io_file *f, const void *p, size_t n, uint64_t off)
{
	size_t done = 0;

	if (off > OFF_MAX || n > OFF_MAX - off)
		return -EFBIG;
	while (done < n) {
		ssize_t put = pwrite(fd_of(f), (const char *)p + done, n - done,
				     (off_t)(off + done));

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return -errno;
		if (put == 0)
			return -EIO; /* no error, no progress: never again and again */
		done += (size_t)put;
	}
	return 0;
}

static int posix_sync(struct io_file *f)
{
	int r;

	do
		r = fdatasync(fd_of(f));
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : 0;
}

static int posix_truncate(struct io_file *f, uint64_t len)
{
	int r;

	if (len > OFF_MAX)
		return -EFBIG;
	do
		r = ftruncate(fd_of(f), (off_t)len);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : 0;
}

static int posix_size(struct io_file *f, uint64_t *ret_bytes)
{
	struct stat st;

	if (fstat(fd_of(f), &st) < 0)
		return -errno;
	*ret_bytes = (uint64_t)st.st_size;
	return 0;
}

static int posix_allocate(struct io_file *f, uint64_t len)
{
	uint64_t have = 0;
	int r;

	if (len > OFF_MAX)
		return -EFBIG;
	if (len == 0)
		return 0;
	do
		r = fallocate(fd_of(f), 0, 0, (off_t)len);
	while (r < 0 && errno == EINTR);
	if (r == 0)
		return 0;
	if (errno != EOPNOTSUPP && errno != ENOSYS)
		return -errno;
	r = posix_size(f, &have);
	if (r < 0)
		return r;
	return have < len ? posix_truncate(f, len) : 0;
}

static void posix_close(struct io_file *f)
{
	struct posix_file *pf = container_of(f, struct posix_file, file);

	close(pf->fd);
	free(pf);
}

static const struct io_file_ops posix_file_ops = {
	.pread = posix_pread,
	.pwrite = posix_pwrite,
	.sync = posix_sync,
	.allocate = posix_allocate,
	.truncate = posix_truncate,
	.size = posix_size,
	.close = posix_close,
};

/* ---- the io ---- */

static int posix_open(struct io *io, const char *name, unsigned flags,
		      struct io_file **ret)
{
	struct posix_file *pf = malloc(sizeof(*pf));
	int fd;

	if (!pf)
		return -ENOMEM;
	fd = regular_open(posix_of(io), name, flags);
	if (fd < 0) {
		free(pf);
		return fd;
	}
	if (flags & IO_MEDIUM) {
		free(pf);
		return medium_file_new(fd, ret);
	}
	*pf = (struct posix_file) { .file.ops = &posix_file_ops, .fd = fd };
	*ret = &pf->file;
	return 0;
}

/* Opens the folder of name and takes its last part. */
static int place_open(struct io *io, const char *name, struct io_name *ret_at,
		      int *ret_folder)
{
	struct io_name at;
	int r;

	r = io_name_parse(name, &at);
	if (r < 0)
		return r;
	r = folder_open(posix_of(io), at.dir);
	if (r < 0)
		return r;
	*ret_at = at;
	*ret_folder = r;
	return 0;
}

static int posix_rename(struct io *io, const char *from, const char *to)
{
	_cleanup_(closefd) int from_folder = -1;
	_cleanup_(closefd) int to_folder = -1;
	struct io_name from_at, to_at;
	int r;

	r = place_open(io, from, &from_at, &from_folder);
	if (r < 0)
		return r;
	r = place_open(io, to, &to_at, &to_folder);
	if (r < 0)
		return r;
	r = renameat(from_folder, from_at.base, to_folder, to_at.base);
	return r < 0 ? -errno : 0;
}

static int posix_unlink(struct io *io, const char *name)
{
	_cleanup_(closefd) int folder = -1;
	struct io_name at;
	int r;

	r = place_open(io, name, &at, &folder);
	if (r < 0)
		return r;
	return unlinkat(folder, at.base, 0) < 0 ? -errno : 0;
}

static int posix_mkdir(struct io *io, const char *name)
{
	_cleanup_(closefd) int folder = -1;
	struct io_name at;
	int r;

	r = place_open(io, name, &at, &folder);
	if (r < 0)
		return r;
	return mkdirat(folder, at.base, 0700) < 0 ? -errno : 0;
}

static int entries_walk(DIR *d, int (*each)(void *arg, const char *name), void *arg)
{
	for (;;) {
		struct dirent *e;
		int r;

		errno = 0;
		e = readdir(d);
		if (!e)
			return -errno;
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		r = each(arg, e->d_name);
		if (r != 0)
			return r;
	}
}

static int posix_list(struct io *io, const char *dir,
		      int (*each)(void *arg, const char *name), void *arg)
{
	int fd = folder_open(posix_of(io), dir);
	DIR *d;
	int r;

	if (fd < 0)
		return fd;
	d = fdopendir(fd);
	if (!d) {
		r = -errno;
		close(fd);
		return r;
	}
	r = entries_walk(d, each, arg);
	closedir(d);
	return r;
}

static int posix_sync_dir(struct io *io, const char *dir)
{
	_cleanup_(closefd) int fd = folder_open(posix_of(io), dir);
	int r;

	if (fd < 0)
		return fd;
	do
		r = fsync(fd);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : 0;
}

static int posix_space(struct io *io, struct io_space *ret)
{
	struct statvfs st;

	if (fstatvfs(posix_of(io)->root, &st) < 0)
		return -errno;
	*ret = (struct io_space) {
		.total_bytes = (uint64_t)st.f_blocks * st.f_frsize,
		.free_bytes = (uint64_t)st.f_bavail * st.f_frsize,
		.reserved_bytes = (uint64_t)(st.f_bfree - st.f_bavail) * st.f_frsize,
	};
	return 0;
}

/* The pid a lock's holder wrote, or 0. */
static pid_t pid_read(int fd)
{
	char text[32] = { 0 };
	long pid;

	if (pread(fd, text, sizeof(text) - 1, 0) <= 0)
		return 0;
	pid = strtol(text, NULL, 10);
	return pid > 0 && pid <= INT_MAX ? (pid_t)pid : 0;
}

/* A courtesy to whoever finds the lock taken: on a full disk the lock goes without. */
static void pid_write(int fd)
{
	char text[32];
	int n = snprintf(text, sizeof(text), "%d\n", (int)getpid());

	if (ftruncate(fd, 0) == 0 && pwrite(fd, text, (size_t)n, 0) != n)
		(void)!ftruncate(fd, 0);
}

/* flock() belongs to the open file, not the process: a second io of this process is refused
 * too, and the kernel drops it with the last descriptor. */
static int posix_lock(struct io *io, const char *name, pid_t *ret_pid)
{
	struct posix_io *px = posix_of(io);
	struct held_lock *held;
	int fd, r;

	fd = px->adopted;
	px->adopted = -1;
	if (fd < 0)
		fd = regular_open(px, name, IO_CREATE);
	/* Who may only read must not meet a writer either. */
	if (fd == -EACCES || fd == -EROFS)
		fd = regular_open(px, name, IO_READ);
	if (fd < 0)
		return fd;
	do
		r = flock(fd, LOCK_EX | LOCK_NB);
	while (r < 0 && errno == EINTR);
	held = r == 0 ? malloc(sizeof(*held)) : NULL;
	if (!held) {
		r = r == 0 ? -ENOMEM : -errno;
		if (r == -EWOULDBLOCK)
			*ret_pid = pid_read(fd);
		close(fd);
		return r;
	}
	pid_write(fd);
	lock_take(&px->lock);
	*held = (struct held_lock) { px->locks, fd };
	px->locks = held;
	lock_drop(&px->lock);
	return 0;
}

int io_posix_guard(struct io *io, bool close_it)
{
	int root = posix_of(io)->root;
	struct stat st;

	if (fstat(root, &st) < 0)
		return -errno;
	if (st.st_uid != geteuid() && st.st_uid != 0)
		return -EPERM;
	if (st.st_mode & (S_IWGRP | S_IWOTH))
		return -EACCES;
	/* Best effort: on a disk that is mounted read-only, or root's, it stays as it is. */
	if (close_it && st.st_mode & (S_IRWXG | S_IRWXO))
		(void)!fchmod(root, st.st_mode & S_IRWXU);
	return 0;
}

void io_posix_adopt_lock(struct io *io, int fd)
{
	posix_of(io)->adopted = fd;
}

int io_posix_dup_lock(struct io *io)
{
	struct posix_io *px = posix_of(io);
	int fd = -ENOENT;

	lock_take(&px->lock);
	if (px->locks)
		fd = fcntl(px->locks->fd, F_DUPFD_CLOEXEC, 3);
	lock_drop(&px->lock);
	return fd == -1 ? -errno : fd;
}

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec ts;
	int r = clock_gettime(clock, &ts);

	assert(r == 0);
	(void)r;
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static uint64_t posix_real_ns(struct io *io)
{
	(void)io;
	return clock_ns(CLOCK_REALTIME);
}

static uint64_t posix_mono_ns(struct io *io)
{
	(void)io;
	return clock_ns(CLOCK_MONOTONIC);
}

static uint64_t posix_tick_ns(struct io *io)
{
	(void)io;
	return clock_ns(CLOCK_MONOTONIC_COARSE);
}

/* Zeros where the system does not tell. */
static void posix_boot_id(struct io *io, uint8_t ret_id[16])
{
	static const char hex_digits[] = "0123456789abcdef";
	char text[40] = "";
	size_t digits = 0;
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);

	(void)io;
	memset(ret_id, 0, 16);
	if (fd < 0)
		return;
	if (read(fd, text, sizeof(text) - 1) < 0)
		text[0] = '\0';
	close(fd);
	for (const char *c = text; *c && digits < 32; c++) {
		const char *hex = strchr(hex_digits, *c);

		if (!hex)
			continue;
		ret_id[digits / 2] =
			(uint8_t)(ret_id[digits / 2] << 4 | (hex - hex_digits));
		digits++;
	}
}

/* Keys and nonces hang on it: a kernel that cannot give any ends the process. */
static void posix_random(struct io *io, void *p, size_t n)
{
	unsigned char *at = p;

	(void)io;
	while (n > 0) {
		ssize_t got = getrandom(at, n, 0);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			abort();
		at += got;
		n -= (size_t)got;
	}
}

static void posix_free(struct io *io)
{
	struct posix_io *px = posix_of(io);

	while (px->locks) {
		struct held_lock *held = px->locks;

		px->locks = held->next;
		close(held->fd);
		free(held);
	}
	lock_release(&px->lock);
	close(px->root);
	free(px);
}

static const struct io_ops posix_ops = {
	.open = posix_open,
	.rename = posix_rename,
	.unlink = posix_unlink,
	.mkdir = posix_mkdir,
	.list = posix_list,
	.sync_dir = posix_sync_dir,
	.space = posix_space,
	.lock = posix_lock,
	.real_ns = posix_real_ns,
	.mono_ns = posix_mono_ns,
	.tick_ns = posix_tick_ns,
	.boot_id = posix_boot_id,
	.random = posix_random,
	.free = posix_free,
};

/* Kernels before 5.6 say ENOSYS, and sandboxes that do not know the call EPERM, which the
 * directory we just opened cannot mean. */
static bool openat2_works(int root)
{
	int fd = open_beneath(root, ".", O_RDONLY | O_DIRECTORY, 0);

	if (fd >= 0)
		close(fd);
	return fd != -ENOSYS && fd != -EPERM;
}

int io_posix_new(const char *path, struct io **ret)
{
	struct posix_io *px;
	int root;

	root = open_nofollow(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0);
	if (root < 0)
		return root;
	px = calloc(1, sizeof(*px));
	if (!px) {
		close(root);
		return -ENOMEM;
	}
	px->io.ops = &posix_ops;
	px->root = root;
	px->has_openat2 = openat2_works(root);
	lock_init(&px->lock, RANK_IO);
	px->adopted = -1;
	*ret = &px->io;
	return 0;
}
