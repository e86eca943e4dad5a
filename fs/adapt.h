/* adapt.h - requests that libfuse 3.14 doesn't know, in words that it does.
 *
 *	kernel			libfuse, and so fs_ops		reply
 *	FUSE_TMPFILE		CREATE of the name "/"		as it is
 *	FUSE_STATX		GETATTR, unique | TAG		made longer, by the birth time
 *	SETXATTR, longer form	SETXATTR, a bit in flags	as it is
 *
 * Nothing else has a name with a slash, and the kernel's uniques never have the tag's bit. */
#ifndef ROPEFS_FS_ADAPT_H
#define ROPEFS_FS_ADAPT_H

#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

struct daemon;

#define ADAPT_UNNAMED	"/" /* name of a CREATE that makes a file without one */
#define ADAPT_KILL_SGID (1 << 30) /* flag of a SETXATTR of an access ACL */

/* The n bytes at p are a request just read. Returns their new number. */
size_t adapt_request(const struct daemon *d, void *p, size_t n);
/* Writes a reply; as writev(). May change what iov[0] points at. */
ssize_t adapt_reply(const struct daemon *d, int fd, const struct iovec *iov, int count);

#endif
