/* ops_dir.c - listing directories. Offsets: 0 the start, 1 behind ".", 2 behind "..", then
 * the store's cookies, which are all above 15. */
#include "fs/ops.h"
#include "fs/reply.h"
#include "fs/snap.h"

#include <errno.h>
#include <dirent.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { BATCH = 64 };

struct listing {
	fuse_req_t req;
	struct daemon *d;
	fuse_ino_t dir;
	bool plus;
	char *p; /* of size bytes, n filled */
	size_t size, n;
};

/* False: it doesn't fit. e->ino == 0 gives the name without a lookup. */
static bool add(struct listing *l, const char *name, const struct fuse_entry_param *e,
		uint64_t next)
{
	size_t left = l->size - l->n, need;

	need = l->plus ? fuse_add_direntry_plus(l->req, l->p + l->n, left, name, e,
						(off_t)next)
		       : fuse_add_direntry(l->req, l->p + l->n, left, name, &e->attr,
					   (off_t)next);
	if (need > left)
		return false;
	l->n += need;
	return true;
}

static bool add_dot(struct listing *l, const char *name, uint64_t ino, uint64_t next)
{
	struct fuse_entry_param e = { .attr = { .st_ino = ino, .st_mode = S_IFDIR } };

	return add(l, name, &e, next);
}

/* The two that the store doesn't list. */
static int add_dots(struct listing *l, uint64_t *at)
{
	uint64_t parent;
	int r;

	if (*at == 0) {
		if (!add_dot(l, ".", l->dir, 1))
			return 0;
		*at = 1;
	}
	if (*at == 1) {
		if (snap_is_folder(l->dir)) {
			parent = snap_dir_of(l->dir);
			r = 0;
		} else {
			r = ropefs_parent(l->d->fs, l->dir, &parent);
		}
		if (r < 0)
			return r == -ENOENT ? 0 : r; /* the directory was removed */
		if (!add_dot(l, "..", parent, 2))
			return 0;
		*at = 2;
	}
	return 1;
}

static bool add_entry(struct listing *l, const struct ropefs_entry *entry,
		      const struct ropefs_attr *a)
{
	struct fuse_entry_param e = { .attr.st_ino = entry->ino,
				      .attr.st_mode = DTTOIF(entry->type) };
	bool counted_lookup = false;

	if (l->plus && entry_fill(l->d, a, &e) >= 0)
		counted_lookup = true;
	if (add(l, entry->name, &e, entry->cookie))
		return true;
	if (counted_lookup)
		inodes_put(&l->d->inodes, entry->ino, 1);
	return false;
}

/* Up to BATCH entries behind `at`. */
static int some(struct listing *l, uint64_t at, struct ropefs_entry *ret,
		struct ropefs_attr *attrs)
{
	if (snap_is_folder(l->dir))
		return snap_entries(l->d, l->dir, at, ret, attrs, BATCH);
	return ropefs_readdir(l->d->fs, l->dir, at, ret, attrs, BATCH);
}

static int fill(struct listing *l, uint64_t at)
{
	struct ropefs_entry entries[BATCH];
	struct ropefs_attr attrs[BATCH];
	int r = add_dots(l, &at);

	if (r <= 0)
		return r;
	at = at < 16 ? 0 : at;
	for (;;) {
		r = some(l, at, entries, l->plus ? attrs : NULL);
		if (r <= 0)
			return r == -ENOENT ? 0 : r;
		for (int i = 0; i < r; i++) {
			if (!add_entry(l, &entries[i], &attrs[i]))
				return 0;
			at = entries[i].cookie;
		}
	}
}

static void list(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, bool plus)
{
	struct listing l = {
		.req = req,
		.d = daemon_of(req),
		.dir = ino,
		.plus = plus,
		.size = size,
	};
	int r;

	l.p = malloc(size);
	if (!l.p) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	r = fill(&l, (uint64_t)off);
	/* What was filled before an error is given first; the next call meets it again. */
	if (r < 0 && !l.n)
		reply_err(req, r);
	else
		fuse_reply_buf(req, l.p, l.n);
	free(l.p);
}

void file_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		  struct fuse_file_info *fi)
{
	(void)fi;
	list(req, ino, size, off, false);
}

void file_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		      struct fuse_file_info *fi)
{
	(void)fi;
	list(req, ino, size, off, true);
}
