/* ops_dir.c - listing directories. Offsets: 0 the start, then those of listings.h. */
#include "fs/listings.h"
#include "fs/ops.h"
#include "fs/reply.h"
#include "fs/snap.h"

#include <errno.h>
#include <dirent.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

enum { BATCH = 64 };

static int64_t now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
	return t.tv_sec;
}

struct listing {
	fuse_req_t req;
	struct daemon *d;
	fuse_ino_t dir;
	unsigned tag; /* of the offsets */
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

/* The two that the store doesn't list. 0: no more has room, or there is no more. */
static int add_dots(struct listing *l, enum listing_place at)
{
	uint64_t parent;
	int r = 0;

	if (at == LISTING_START && !add_dot(l, ".", l->dir, listing_after_dot(l->tag)))
		return 0;
	if (at == LISTING_START || at == LISTING_DOT) {
		if (snap_is_folder(l->dir))
			parent = snap_dir_of(l->dir);
		else
			r = ropefs_parent(l->d->fs, l->dir, &parent);
		if (r < 0)
			return r == -ENOENT ? 0 : r; /* the directory was removed */
		if (!add_dot(l, "..", parent, listing_after_dots(l->tag)))
			return 0;
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
	if (add(l, entry->name, &e, listing_after(entry->cookie, l->tag)))
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

static int fill(struct listing *l, enum listing_place place, uint64_t at)
{
	struct ropefs_entry entries[BATCH];
	struct ropefs_attr attrs[BATCH];
	int r = add_dots(l, place);

	if (r <= 0)
		return r;
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

/* The tag of a reader that has none yet. */
static unsigned begin(struct listing *l)
{
	uint64_t dir = snap_is_folder(l->dir) ? snap_dir_of(l->dir) : l->dir;
	struct ropefs_attr a = { 0 };

	ropefs_getattr(l->d->fs, dir, &a); /* one that is gone has no entries */
	return listings_begin(&l->d->listings, l->dir, a.ctime.ns, now_s());
}

static int list_from(struct listing *l, uint64_t off)
{
	uint64_t at;
	enum listing_place place = listing_place(off, &at, &l->tag);
	int r;

	if (l->tag)
		listings_go_on(&l->d->listings, l->dir, l->tag, now_s());
	else
		l->tag = begin(l);
	r = fill(l, place, at);
	if (r >= 0 && !l->n)
		listings_end(&l->d->listings, l->dir, l->tag);
	return r;
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
	r = list_from(&l, (uint64_t)off);
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
