#include "fs/view.h"

#include "fs/daemon.h"
#include "fs/events.h"
#include "fs/kept.h"
#include "fs/ops.h"
#include "fs/reply.h"
#include "fs/view_range.h"
#include "fs/view_stream.h"
#include "fs/view_value.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* A new kind is a row here. The first that takes a view shows it. */
static const struct view_kind *const kinds[] = { &view_range, &view_value, &view_stride,
						 &view_stream };

void views_init(struct views *v)
{
	*v = (struct views) { 0 };
	pthread_mutex_init(&v->mutex, NULL);
}

void views_release(struct views *v)
{
	map_release(&v->by_ino, free);
	pthread_mutex_destroy(&v->mutex);
}

bool view_like(struct daemon *d, const char *name)
{
	struct ropefs_view selector;

	return d->views_on && strchr(name, '@') &&
	       ropefs_view_parse(name, strlen(name), &selector) != -ENOENT;
}

static const struct view_kind *kind_for(const struct ropefs_view *v,
					const struct ropefs_attr *target)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (kinds[i]->takes(v, target))
			return kinds[i];
	return NULL;
}

/* The sentence of a refusal goes to .ropefs/events: an errno has room for none. */
static int refuse(struct daemon *d, uint32_t uid, uint64_t target, const char *name,
		  int r)
{
	event_say(d, uid, "view", target, name,
		  *ropefs_error() ? ropefs_error() : ropefs_error_text(r));
	return r;
}

int view_find(struct daemon *d, fuse_ino_t parent, const char *name, uint32_t uid,
	      struct view *ret, struct ropefs_attr *ret_target)
{
	const char *at = d->views_on ? strrchr(name, '@') : NULL;
	struct view v = { .dir = parent };
	struct ropefs_attr a;
	int parsed, r;

	if (!at || at == name || strlen(name) >= sizeof(v.name))
		return 0;
	parsed = ropefs_view_parse(name, strlen(name), &v.selector);
	if (parsed == -ENOENT)
		return 0;
	r = ropefs_lookup(d->fs, parent,
			  (struct ropefs_name) { name, (size_t)(at - name) }, &a);
	if (r == -ENOENT || (r >= 0 && !S_ISREG(a.mode)))
		return 0;
	if (r < 0)
		return r;
	if (parsed < 0) { /* once more, for the sentence */
		ropefs_view_parse(name, strlen(name), &v.selector);
		return refuse(d, uid, a.ino, name, parsed);
	}
	v.kind = kind_for(&v.selector, &a);
	if (!v.kind)
		return refuse(d, uid, a.ino, name, ropefs_view_refused(&v.selector, &a));
	v.target = a.ino;
	strcpy(v.name, name);
	*ret = v;
	*ret_target = a;
	return 1;
}

bool view_shows(struct daemon *d, fuse_ino_t parent, const char *name, uint32_t uid)
{
	struct ropefs_attr a;
	struct view v;
	int r;

	if (!view_like(d, name))
		return false;
	r = ropefs_lookup(d->fs, parent, ropefs_name(name), &a);
	if (r != -ENOENT && r != -ENAMETOOLONG)
		return false;
	return view_find(d, parent, name, uid, &v, &a) != 0;
}

static bool same(const struct view *a, const struct view *b)
{
	return a->target == b->target && a->dir == b->dir && !strcmp(a->name, b->name);
}

static uint64_t mix(uint64_t h, uint64_t x)
{
	h = (h ^ x) * 0xff51afd7ed558ccdu;
	return h ^ (h >> 32);
}

static uint64_t node_id(const struct view *v)
{
	uint64_t h = mix(mix(0, v->target), v->dir);

	for (const char *c = v->name; *c; c++)
		h = mix(h, (uint8_t)*c);
	return VIEW_FIRST | (h & (VIEW_FIRST - 1));
}

/* As it is in the table from now on, which owns it. */
static int put_locked(struct daemon *d, const struct view *v, struct view **ret)
{
	struct view *known = malloc(sizeof(*known));
	int r;

	if (!known)
		return -ENOMEM;
	*known = *v;
	r = map_put(&d->views.by_ino, v->ino, known);
	if (r < 0)
		free(known);
	else
		*ret = known;
	return r;
}

static int get_locked(struct daemon *d, struct view *find, uint64_t *ret_ino)
{
	uint64_t ino = node_id(find);
	struct view_kept kept;
	struct view *v;
	int r;

	while ((v = map_get(&d->views.by_ino, ino)) && !same(v, find))
		ino = VIEW_FIRST | ((ino + 1) & (VIEW_FIRST - 1));
	if (!v) {
		find->ino = ino;
		r = put_locked(d, find, &v);
		if (r < 0)
			return r;
		view_keep(v, 0, 0, &kept);
		kept_node(&v->kept, &kept, sizeof(kept), ino);
	}
	kept_lookups(&v->kept, ++v->lookups);
	*ret_ino = ino;
	return 0;
}

static void stat_of(uint64_t ino, const struct ropefs_attr *target, uint64_t size,
		    struct stat *ret)
{
	attr_to_stat(target, ret);
	ret->st_ino = ino;
	ret->st_mode = S_IFREG | (target->mode & 0777);
	ret->st_nlink = 1;
	ret->st_size = (off_t)size;
	/* Where the file has holes the range may have some, and who copies it looks for them. */
	if (ret->st_blocks > (blkcnt_t)((size + 511) / 512))
		ret->st_blocks = (blkcnt_t)((size + 511) / 512);
}

int view_lookup(struct daemon *d, fuse_ino_t parent, const char *name, uint32_t uid,
		struct fuse_entry_param *ret)
{
	struct ropefs_attr a;
	uint64_t size, ino;
	struct view v;
	int r;

	r = view_find(d, parent, name, uid, &v, &a);
	if (r <= 0)
		return r;
	r = v.kind->size(d, &v, &a, &size);
	if (r < 0)
		return refuse(d, uid, a.ino, name, r);
	pthread_mutex_lock(&d->views.mutex);
	r = get_locked(d, &v, &ino);
	pthread_mutex_unlock(&d->views.mutex);
	if (r < 0)
		return r;
	*ret = (struct fuse_entry_param) { .ino = ino };
	stat_of(ino, &a, size, &ret->attr);
	return 1;
}

void view_forget(struct daemon *d, fuse_ino_t ino, uint64_t times)
{
	struct view *v;

	pthread_mutex_lock(&d->views.mutex);
	v = map_get(&d->views.by_ino, ino);
	if (v) {
		assert(d->took_over || v->lookups >= times);
		v->lookups -= v->lookups < times ? v->lookups : times;
		kept_lookups(&v->kept, v->lookups);
		if (!v->lookups) {
			kept_free(&v->kept);
			map_del(&d->views.by_ino, ino);
			free(v);
		}
	}
	pthread_mutex_unlock(&d->views.mutex);
}

void view_keep(const struct view *v, uint32_t uid, uint32_t gid, struct view_kept *ret)
{
	*ret = (struct view_kept) {
		.target = v->target, .dir = v->dir, .uid = uid, .gid = gid
	};
	memcpy(ret->name, v->name, sizeof(ret->name));
}

int view_restore(struct daemon *d, const struct kept_file *k,
		 const struct view_kind *kind, struct view *ret)
{
	const struct view_kept *kept = k->fixed;
	struct view v = {
		.ino = k->node, .target = kept->target, .dir = kept->dir, .kind = kind
	};
	struct view *known;
	int r;

	memcpy(v.name, kept->name, sizeof(v.name));
	r = ropefs_view_parse(v.name, strlen(v.name), &v.selector);
	if (r < 0)
		return r;
	*ret = v;
	return map_get(&d->views.by_ino, v.ino) ? 0 : put_locked(d, &v, &known);
}

int view_node_restore(struct daemon *d, const struct kept_file *k)
{
	const struct view_kept *kept = k->fixed;
	const struct view_kind *kind = NULL;
	struct kept row = k->k;
	struct ropefs_view selector;
	struct ropefs_attr a;
	struct view *known;
	struct view v;

	if (ropefs_getattr(d->fs, kept->target, &a) >= 0 &&
	    ropefs_view_parse(kept->name, strlen(kept->name), &selector) >= 0)
		kind = kind_for(&selector, &a);
	if (!kind || view_restore(d, k, kind, &v) < 0) { /* it shows nothing any more */
		kept_free(&row);
		return -ESTALE;
	}
	known = map_get(&d->views.by_ino, k->node);
	known->lookups = k->lookups;
	known->kept = row;
	return 0;
}

int view_target(struct daemon *d, fuse_ino_t ino, struct view *ret)
{
	struct view *v;

	pthread_mutex_lock(&d->views.mutex);
	v = map_get(&d->views.by_ino, ino);
	if (v)
		*ret = *v;
	pthread_mutex_unlock(&d->views.mutex);
	return v ? 0 : -ESTALE;
}

const struct view_kind *view_kind_of(struct daemon *d, fuse_ino_t ino)
{
	const struct view *v;
	const struct view_kind *kind;

	pthread_mutex_lock(&d->views.mutex);
	v = map_get(&d->views.by_ino, ino);
	kind = v ? v->kind : NULL;
	pthread_mutex_unlock(&d->views.mutex);
	return kind;
}

int view_stat(struct daemon *d, fuse_ino_t ino, struct stat *ret)
{
	struct ropefs_attr a;
	uint64_t size = 0;
	struct view v;
	int r;

	r = view_target(d, ino, &v);
	if (r < 0)
		return r;
	r = ropefs_getattr(d->fs, v.target, &a);
	if (r < 0)
		return r;
	/* A file that became too short for it leaves the view empty. */
	if (v.kind->size(d, &v, &a, &size) < 0)
		size = 0;
	stat_of(ino, &a, size, ret);
	return 0;
}
