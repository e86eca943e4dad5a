#include "fs/adapt.h"

#include "fs/daemon.h"
#include "fs/reply.h"

#include <assert.h>
#include <errno.h>
#include <linux/fuse.h>
#include <linux/stat.h>
#include <string.h>
#include <unistd.h>

enum { PUT_TRIES = 100, PUT_WAIT_US = 10000 };

#define TAG	       ((uint64_t)1 << 62)
#define REQUEST_STATX  52 /* newer than this machine's header may be */
#define SETXATTR_SHORT 8 /* of struct fuse_setxattr_in, in the form libfuse reads */

struct statx_time {
	int64_t s;
	uint32_t ns;
	int32_t reserved;
};

/* The body of the reply to FUSE_STATX. */
struct statx_out {
	uint64_t valid_s;
	uint32_t valid_ns, flags;
	uint64_t spare[2];
	uint32_t mask, blksize;
	uint64_t attributes;
	uint32_t nlink, uid, gid;
	uint16_t mode, spare0;
	uint64_t ino, size, blocks, attributes_mask;
	struct statx_time atime, btime, ctime, mtime;
	uint32_t rdev_major, rdev_minor, dev_major, dev_minor;
	uint64_t spare2[14];
};
static_assert(sizeof(struct statx_out) == 288, "as in the kernel");

/* The flags that libfuse doesn't look at become a bit of those it hands on. */
static size_t shorten_setxattr(const struct daemon *d, char *p, size_t n)
{
	struct fuse_setxattr_in in;
	struct fuse_in_header head;

	if (!d->setxattr_ext || n < sizeof(head) + sizeof(in))
		return n;
	memcpy(&head, p, sizeof(head));
	memcpy(&in, p + sizeof(head), sizeof(in));
	if (in.setxattr_flags & FUSE_SETXATTR_ACL_KILL_SGID)
		in.flags |= ADAPT_KILL_SGID;
	n -= sizeof(in) - SETXATTR_SHORT;
	head.len = (uint32_t)n;
	memcpy(p, &head, sizeof(head));
	p += sizeof(head);
	memcpy(p, &in, SETXATTR_SHORT);
	memmove(p + SETXATTR_SHORT, p + sizeof(in), n - sizeof(head) - SETXATTR_SHORT);
	return n;
}

size_t adapt_request(const struct daemon *d, void *p, size_t n)
{
	struct fuse_in_header head;

	if (n < sizeof(head))
		return n;
	memcpy(&head, p, sizeof(head));
	switch (head.opcode) {
	case FUSE_TMPFILE:
		head.opcode = FUSE_CREATE;
		break;
	case REQUEST_STATX: /* its body begins as GETATTR's */
		head.opcode = FUSE_GETATTR;
		head.unique |= TAG;
		break;
	case FUSE_SETXATTR:
		return shorten_setxattr(d, p, n);
	default:
		return n;
	}
	memcpy(p, &head, sizeof(head));
	return n;
}

static struct statx_time time_of(uint64_t s, uint32_t ns)
{
	return (struct statx_time) { .s = (int64_t)s, .ns = ns };
}

static void fill(const struct daemon *d, const struct fuse_attr_out *from,
		 struct statx_out *to)
{
	const struct fuse_attr *a = &from->attr;
	struct ropefs_attr own;
	struct timespec born;

	*to = (struct statx_out) {
		.valid_s = from->attr_valid,
		.valid_ns = from->attr_valid_nsec,
		.mask = STATX_BASIC_STATS,
		.blksize = a->blksize,
		.nlink = a->nlink,
		.uid = a->uid,
		.gid = a->gid,
		.mode = (uint16_t)a->mode,
		.ino = a->ino,
		.size = a->size,
		.blocks = a->blocks,
		.atime = time_of(a->atime, a->atimensec),
		.ctime = time_of(a->ctime, a->ctimensec),
		.mtime = time_of(a->mtime, a->mtimensec),
		.rdev_major = (a->rdev & 0xfff00) >> 8,
		.rdev_minor = (a->rdev & 0xff) | ((a->rdev >> 12) & 0xfff00),
	};
	if (a->ino >= DOT_FIRST || ropefs_getattr(d->fs, a->ino, &own) < 0)
		return;
	to->mask |= STATX_BTIME;
	born = timespec_of(own.btime);
	to->btime = time_of((uint64_t)born.tv_sec, (uint32_t)born.tv_nsec);
}

/* A reply that the kernel has no memory to take in would be lost, and who waits for it would wait
 * for ever. */
static ssize_t put(int fd, const struct iovec *iov, int count)
{
	ssize_t n = writev(fd, iov, count);

	for (unsigned i = 0; n < 0 && errno == ENOMEM && i < PUT_TRIES; i++) {
		usleep(PUT_WAIT_US);
		n = writev(fd, iov, count);
	}
	return n;
}

ssize_t adapt_reply(const struct daemon *d, int fd, const struct iovec *iov, int count)
{
	struct fuse_out_header *head = iov[0].iov_base;
	struct fuse_attr_out from;
	struct statx_out to;
	struct iovec longer[2] = { iov[0], { &to, sizeof(to) } };

	if (!(head->unique & TAG))
		return put(fd, iov, count);
	head->unique &= ~TAG;
	if (head->error || count != 2 || iov[1].iov_len != sizeof(from))
		return put(fd, iov, count);
	memcpy(&from, iov[1].iov_base, sizeof(from));
	fill(d, &from, &to);
	head->len = (uint32_t)(sizeof(*head) + sizeof(to));
	return put(fd, longer, 2);
}
