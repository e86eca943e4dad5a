/* medium.c - reading past the system's cache: what that kept of a file says nothing about the disk,
 * and what is read once for all to be verified should not push out what programs use.
 *
 * O_DIRECT, where the filesystem has it: whole blocks, of which the last ones are kept, for a
 * reader who goes on behind them. Where it has not, the cache is told to drop what is about to be
 * read, and again what was (it keeps what is dirty, or mapped by somebody).
 *
 * Reads of whole blocks are never answered from what is kept. */
#include "core/io/medium.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ALIGN	     ((size_t)4096) /* at least the sector of every disk there is */
#define WINDOW_BYTES ((size_t)131072)
#define OFF_MAX	     ((uint64_t)INT64_MAX)

struct medium_file {
	struct io_file file;
	int fd;
	bool direct;
	uint8_t *window; /* WINDOW_BYTES, aligned */
	uint64_t at; /* window[0] is this byte of the file */
	size_t n; /* bytes in it */
};

static struct medium_file *medium_of(struct io_file *f)
{
	return container_of(f, struct medium_file, file);
}

static void forget_range(const struct medium_file *mf, uint64_t at, size_t n)
{
	if (!mf->direct)
		posix_fadvise(mf->fd, (off_t)at, (off_t)n, POSIX_FADV_DONTNEED);
}

static ssize_t read_blocks(struct medium_file *mf, size_t n)
{
	ssize_t got;

	forget_range(mf, mf->at, n);
	do
		got = pread(mf->fd, mf->window, n, (off_t)mf->at);
	while (got < 0 && errno == EINTR);
	forget_range(mf, mf->at, n);
	return got < 0 ? -errno : got;
}

/* Fills the window from the block of off on, with n bytes at most; to the end of the file. */
static int fill(struct medium_file *mf, uint64_t off, size_t n)
{
	ssize_t got;

	assert(n % ALIGN == 0 && n <= WINDOW_BYTES);
	mf->at = off & ~(uint64_t)(ALIGN - 1);
	mf->n = 0;
	got = read_blocks(mf, n);
	if (got == -EINVAL &&
	    mf->direct) { /* a disk of larger sectors, or a layer that lied */
		mf->direct = false;
		fcntl(mf->fd, F_SETFL, 0);
		got = read_blocks(mf, n);
	}
	if (got < 0)
		return (int)got;
	mf->n = (size_t)got;
	return 0;
}

static ssize_t medium_pread(struct io_file *f, void *p, size_t n, uint64_t off)
{
	struct medium_file *mf = medium_of(f);
	bool blocks = off % ALIGN == 0 && n % ALIGN == 0;
	size_t done = 0;

	if (off > OFF_MAX - WINDOW_BYTES || n > OFF_MAX - WINDOW_BYTES - off)
		return -EINVAL;
	if (blocks)
		mf->n = 0;
	while (done < n) {
		uint64_t at = off + done;
		size_t part;

		if (at < mf->at || at - mf->at >= mf->n) {
			size_t want = align_up(n - done, ALIGN);
			int r = fill(mf, at,
				     blocks ? MIN(want, WINDOW_BYTES) : WINDOW_BYTES);

			if (r < 0)
				return r;
			if (at - mf->at >= mf->n) /* the end of the file */
				break;
		}
		part = MIN(n - done, mf->n - (size_t)(at - mf->at));
		memcpy((uint8_t *)p + done, mf->window + (at - mf->at), part);
		done += part;
	}
	if (blocks)
		mf->n = 0;
	return (ssize_t)done;
}

static int medium_size(struct io_file *f, uint64_t *ret_bytes)
{
	struct stat st;

	if (fstat(medium_of(f)->fd, &st) < 0)
		return -errno;
	*ret_bytes = (uint64_t)st.st_size;
	return 0;
}

static int not_to_write(struct io_file *f, const void *p, size_t n, uint64_t off)
{
	(void)f, (void)p, (void)n, (void)off;
	return -EBADF;
}

static int not_to_resize(struct io_file *f, uint64_t len)
{
	(void)f, (void)len;
	return -EBADF;
}

static int nothing_to_sync(struct io_file *f)
{
	(void)f;
	return 0;
}

static void medium_close(struct io_file *f)
{
	struct medium_file *mf = medium_of(f);

	close(mf->fd);
	free(mf->window);
	free(mf);
}

static const struct io_file_ops medium_ops = {
	.pread = medium_pread,
	.pwrite = not_to_write,
	.sync = nothing_to_sync,
	.allocate = not_to_resize,
	.truncate = not_to_resize,
	.size = medium_size,
	.close = medium_close,
};

int medium_file_new(int fd, struct io_file **ret)
{
	struct medium_file *mf = calloc(1, sizeof(*mf));

	if (mf)
		mf->window = aligned_alloc(ALIGN, WINDOW_BYTES);
	if (!mf || !mf->window) {
		free(mf);
		close(fd);
		return -ENOMEM;
	}
	mf->file.ops = &medium_ops;
	mf->fd = fd;
	mf->direct = fcntl(fd, F_SETFL, O_DIRECT) == 0;
	*ret = &mf->file;
	return 0;
}
