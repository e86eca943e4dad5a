/* share.c - a write of bytes that another file has already: cp, which reads and writes where the
 * kernel lets it do nothing else, still shares what it copies. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/err.h"
#include "core/queue.h"

struct like {
	uint64_t ino, at; /* of the source */
	uint64_t changed; /* when it was looked at; 0: it has other bytes, or too few */
};

/* Notes the source's state, so that a change of it in between is seen. */
static int look(struct ropefs *fs, struct like *like, size_t n)
{
	struct inode *in;
	uint64_t size;
	int r;

	lock_take(&fs->engine);
	nodes_trim(fs->nodes);
	r = inode_get(fs, like->ino, &in);
	if (r >= 0 && S_ISREG(le32_get(in->row.mode))) {
		size = rope_bytes(&in->row.rope);
		if (like->at <= size && n <= size - like->at)
			like->changed = in->changed;
	}
	lock_drop(&fs->engine);
	return r;
}

/* 1: the source has these bytes; 0: it has not, or they are only in the bucket: a write does not
 * wait for that; -EAGAIN. */
static int is_like(struct ropefs *fs, struct like *like, const void *p, size_t n,
		   unsigned flags)
{
	_cleanup_free_ uint8_t *bytes = malloc(n);
	ssize_t got;
	int r;

	if (!bytes)
		return 0;
	r = look(fs, like, n);
	if (r < 0 || !like->changed)
		return 0;
	ropefs_stay_near(true);
	got = ropefs_read(fs, like->ino, like->at, bytes, n, flags & ROPEFS_NOWAIT);
	ropefs_stay_near(false);
	if (got == -EAGAIN)
		return -EAGAIN;
	return got == (ssize_t)n && !memcmp(bytes, p, n);
}

/* The write becomes an op that shares, if nothing has changed meanwhile. 1: it did. */
static int plan_share(struct ropefs *fs, struct op *op, const struct like *like)
{
	struct inode *to, *from;
	uint64_t size, n = op->data.n;
	int r;

	r = inode_get(fs, op->ino, &to);
	if (r >= 0)
		r = inode_get(fs, like->ino, &from);
	if (r < 0 || to == from || from->changed != like->changed ||
	    !S_ISREG(le32_get(to->row.mode)) || inode_is_queue(to))
		return 0;
	size = rope_bytes(&to->row.rope);
	if (op->at > size) /* with the hole before it, this would be two changes */
		return 0;
	op->type = OP_REPLACE;
	op->n = MIN(n, size - op->at);
	op->src = like->ino;
	op->src_at = like->at;
	op->src_n = n;
	op->data = span_of(NULL, 0);
	return 1;
}

ssize_t ropefs_write_like(struct ropefs *fs, struct ropefs_range dst, const void *p,
			  unsigned flags, struct ropefs_range src, bool *ret_shared)
{
	struct op op = {
		.type = OP_WRITE, .ino = dst.ino, .at = dst.at, .data = span_of(p, dst.n)
	};
	struct like like = { .ino = src.ino, .at = src.at };
	int r;

	assert(!(flags & ROPEFS_APPEND) && dst.n && dst.n <= ROPEFS_WRITE_MAX);
	r = is_like(fs, &like, p, dst.n, flags);
	if (r == -EAGAIN)
		return r;
	*ret_shared = false;
	if (!r)
		return ropefs_write(fs, dst.ino, dst.at, p, dst.n, flags, NULL);
	r = change_begin(fs, &op, flags, false);
	if (r < 0)
		return r;
	*ret_shared = plan_share(fs, &op, &like);
	r = change_end(fs, &op, 0, NULL);
	return r < 0 ? r : (ssize_t)dst.n;
}
