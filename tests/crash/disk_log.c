/* disk_log.c - a disk that remembers in which order it was written and flushed.
 *
 * disk_log IMAGE LOG MOUNTPOINT, in the foreground: a filesystem with two files. `disk` begins as
 * IMAGE is, which never changes; a loop device goes onto it. What is written to `mark` is a note of
 * the test. LOG gets all of it in the order of arrival, each before it is answered:
 *
 *	 0  kind  u32		KIND_*
 *	 4  n     u32		bytes that follow
 *	 8  at    u64		where they go on the disk
 *
 * One thread, so a flush comes behind all writes that were answered before it began. */
#define FUSE_USE_VERSION 314
#include <errno.h>
#include <fcntl.h>
#include <fuse.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { KIND_WRITE = 1, KIND_FLUSH = 2, KIND_MARK = 3 };

struct head {
	uint32_t kind, n;
	uint64_t at;
};

static uint8_t *disk;
static size_t disk_n;
static FILE *record;

static int put(uint32_t kind, uint64_t at, const void *p, size_t n)
{
	const struct head head = { kind, (uint32_t)n, at };

	if (fwrite(&head, sizeof(head), 1, record) != 1 ||
	    (n && fwrite(p, n, 1, record) != 1) || fflush(record))
		return -EIO;
	return 0;
}

static bool is_disk(const char *path)
{
	return !strcmp(path, "/disk");
}

static int disk_getattr(const char *path, struct stat *st, struct fuse_file_info *fi)
{
	*st = (struct stat) { .st_mode = S_IFDIR | 0700, .st_nlink = 2 };
	if (!strcmp(path, "/"))
		return 0;
	if (!is_disk(path) && strcmp(path, "/mark"))
		return -ENOENT;
	st->st_mode = S_IFREG | 0600;
	st->st_nlink = 1;
	st->st_size = is_disk(path) ? (off_t)disk_n : 0;
	return 0;
}

static int disk_read(const char *path, char *p, size_t n, off_t at,
		     struct fuse_file_info *fi)
{
	if (!is_disk(path) || (size_t)at >= disk_n)
		return 0;
	if (n > disk_n - (size_t)at)
		n = disk_n - (size_t)at;
	memcpy(p, disk + at, n);
	return (int)n;
}

static int disk_write(const char *path, const char *p, size_t n, off_t at,
		      struct fuse_file_info *fi)
{
	int r;

	if (is_disk(path) && ((size_t)at > disk_n || n > disk_n - (size_t)at))
		return -ENOSPC;
	r = put(is_disk(path) ? KIND_WRITE : KIND_MARK, (uint64_t)at, p, n);
	if (r < 0)
		return r;
	if (is_disk(path))
		memcpy(disk + at, p, n);
	return (int)n;
}

static int disk_fsync(const char *path, int data, struct fuse_file_info *fi)
{
	return is_disk(path) ? put(KIND_FLUSH, 0, NULL, 0) : 0;
}

static int disk_open(const char *path, struct fuse_file_info *fi)
{
	fi->direct_io = !is_disk(path);
	return 0;
}

static int disk_truncate(const char *path, off_t size, struct fuse_file_info *fi)
{
	return is_disk(path) ? -EPERM : 0;
}

static const struct fuse_operations ops = {
	.getattr = disk_getattr,
	.read = disk_read,
	.write = disk_write,
	.fsync = disk_fsync,
	.open = disk_open,
	.truncate = disk_truncate,
};

int main(int argc, char **argv)
{
	char *args[] = { argv[0], "-f", "-s", argc == 4 ? argv[3] : NULL, NULL };
	struct stat st;
	int fd;

	if (argc != 4) {
		fprintf(stderr, "usage: disk_log IMAGE LOG MOUNTPOINT\n");
		return 2;
	}
	fd = open(argv[1], O_RDONLY | O_CLOEXEC);
	record = fopen(argv[2], "we");
	if (fd < 0 || !record || fstat(fd, &st) < 0) {
		perror("disk_log");
		return 1;
	}
	disk_n = (size_t)st.st_size;
	disk = mmap(NULL, disk_n, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	if (disk == MAP_FAILED) {
		perror("disk_log");
		return 1;
	}
	return fuse_main(4, args, &ops, NULL);
}
