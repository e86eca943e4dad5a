/* rawname.c - loaded into the daemon (LD_PRELOAD): names that no kernel sends.
 *
 * In a request of number N a name that begins with "rawN:" loses that, and its %XX become bytes.
 * So `stat raw1:a%2fb` has the daemon look up "a/b", and `mkdir raw9:` make no name at all. */
#include <linux/fuse.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int hex(char c)
{
	const char *digits = "0123456789abcdef", *at = c ? strchr(digits, c) : NULL;

	return at ? (int)(at - digits) : -1;
}

/* Decodes the string at `from` to p; where it ends is *ret_end, where the rest begins returned. */
static const char *decode(char *p, const char *from, char **ret_end)
{
	for (; *from; from++) {
		if (*from == '%' && hex(from[1]) >= 0 && hex(from[2]) >= 0) {
			*p++ = (char)(hex(from[1]) * 16 + hex(from[2]));
			from += 2;
		} else {
			*p++ = *from;
		}
	}
	*ret_end = p;
	return from;
}

static ssize_t rewrite(char *request, ssize_t n)
{
	struct fuse_in_header head;
	char mark[16], *at;
	size_t mark_bytes;

	memcpy(&head, request, sizeof(head));
	if (head.len != n || head.opcode == FUSE_WRITE)
		return n;
	mark_bytes = (size_t)snprintf(mark, sizeof(mark), "raw%u:", head.opcode);
	while ((at = memmem(request + sizeof(head), (size_t)n - sizeof(head), mark,
			    mark_bytes))) {
		char *end;
		const char *rest = decode(at, at + mark_bytes, &end);
		size_t left = (size_t)(request + n - rest);

		memmove(end, rest, left);
		n = end - request + (ssize_t)left;
	}
	head.len = (uint32_t)n;
	memcpy(request, &head, sizeof(head));
	return n;
}

ssize_t read(int fd, void *p, size_t n)
{
	ssize_t got = syscall(SYS_read, fd, p, n);

	/* Nothing else is read into so much room. */
	return got > (ssize_t)sizeof(struct fuse_in_header) && n >= FUSE_MIN_READ_BUFFER
		       ? rewrite(p, got)
		       : got;
}
