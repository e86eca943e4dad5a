#include "fs/view_range.h"

#include "fs/daemon.h"
#include "fs/handles.h"
#include "fs/keep.h"
#include "fs/notify.h"
#include "fs/reply.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* A file without a name that begins as a copy of the range (which shares its bytes). */
static int stage_new(struct daemon *d, struct ropefs_range range, uint64_t *ret_ino)
{
	const struct ropefs_new unnamed = { .mode = S_IFREG | 0600 };
	struct ropefs_attr a;
	ssize_t n = 0;
	int r;

	r = ropefs_create_unnamed(d->fs, &unnamed, &a);
	if (r < 0)
		return r;
	ropefs_place_like(d->fs, a.ino, range.ino);
	if (range.n)
		n = ropefs_copy(d->fs, (struct ropefs_range) { .ino = a.ino }, range);
	if (n >= 0 && (uint64_t)n != range.n)
		n = -EIO;
	if (n < 0) {
		ropefs_release(d->fs, a.ino, 1);
		return (int)n;
	}
	*ret_ino = a.ino;
	return 0;
}

int view_range_find(struct daemon *d, const struct view *v, struct view_found *ret)
{
	struct ropefs_attr a;
	uint64_t from, to;
	int r;

	r = ropefs_getattr(d->fs, v->target, &a);
	if (r < 0)
		return r;
	r = v->selector.has & ROPEFS_SEL_LINES
		    ? ropefs_view_lines(d->fs, v->target, &v->selector, &from, &to)
		    : ropefs_view_range(&v->selector, a.size, &from, &to);
	if (r < 0)
		return r;
	*ret = (struct view_found) { { v->target, from, to - from }, a.version };
	return 0;
}

/* What was found; anew, if there was an edit since. */
static int renew(struct daemon *d, const struct view *v, struct view_found *found)
{
	struct ropefs_attr a;
	int r = ropefs_getattr(d->fs, v->target, &a);

	return r >= 0 && a.version != found->version ? view_range_find(d, v, found) : r;
}

/* The file must still be the one that was asked for. */
static int open_if(struct daemon *d, const struct view *v, struct view_file *f)
{
	int r = ropefs_etag(d->fs, v->target, f->etag);

	return r >= 0 && strcmp(f->etag, v->selector.etag) != 0 ? -EBUSY : r;
}

static int open_locked(struct daemon *d, const struct view *v,
		       const struct view_found *found, int flags, struct view_file *f)
{
	struct view_found now = *found;
	struct ropefs_queue queue;
	struct ropefs_range copied;
	int r;

	r = renew(d, v, &now);
	if (r >= 0 && v->selector.has & ROPEFS_SEL_IF)
		r = open_if(d, v, f);
	if (r < 0)
		return r;
	f->target = v->target;
	f->from = now.range.at;
	f->placed = now.range.n;
	f->edits = inodes_edits(&d->inodes, v->target);
	if ((flags & O_ACCMODE) == O_RDONLY && !(flags & O_TRUNC))
		return 0;
	if (ropefs_queue_info(d->fs, v->target, &queue) >= 0)
		return -EPERM;
	if (inodes_runs(&d->inodes, v->target))
		return -ETXTBSY;
	f->cut_if_unwritten = flags & O_TRUNC;
	copied = now.range;
	if (flags & O_TRUNC)
		copied.n = 0;
	return stage_new(d, copied, &f->stage);
}

struct range_kept {
	struct view_kept view; /* first */
	uint64_t stage;
	bool cut_if_unwritten;
};
KEPT_SIZE(struct range_kept, 296);

struct range_state {
	uint64_t from, placed;
	bool wrote, dirty;
	char etag[ROPEFS_ETAG_MAX];
};
KEPT_SIZE(struct range_state, 64);

static struct range_state state_of(const struct view_file *f)
{
	struct range_state s = { .from = f->from,
				 .placed = f->placed,
				 .wrote = atomic_load(&f->wrote),
				 .dirty = atomic_load(&f->dirty) };

	memcpy(s.etag, f->etag, sizeof(s.etag));
	return s;
}

static void note_state(struct view_file *f, const struct range_state *s)
{
	kept_step(&f->kept, 0, s, s, sizeof(*s));
	atomic_store(&f->kept_dirty, s->dirty);
}

static void keep_new_file(const struct view *v, struct view_file *f)
{
	struct range_kept fixed = { .stage = f->stage,
				    .cut_if_unwritten = f->cut_if_unwritten };
	struct range_state s = state_of(f);

	view_keep(v, f->uid, 0, &fixed.view);
	kept_new(&f->kept, &fixed, sizeof(fixed));
	note_state(f, &s);
}

void view_writes(struct view_file *f)
{
	struct range_state s = state_of(f);

	if (atomic_load(&f->kept_dirty))
		return;
	s.wrote = s.dirty = true;
	note_state(f, &s);
}

static void add(struct daemon *d, struct view_file *f)
{
	pthread_mutex_init(&f->committing, NULL);
	if (f->stage)
		inodes_view_opened(&d->inodes, f->target);
	pthread_mutex_lock(&d->views.mutex);
	LIST_INSERT_HEAD(&d->views.ranges, f, link);
	pthread_mutex_unlock(&d->views.mutex);
}

static void set_state(struct view_file *f, const struct range_state *s)
{
	f->from = s->from;
	f->placed = s->placed;
	atomic_init(&f->wrote, s->wrote);
	atomic_init(&f->dirty, s->dirty);
	atomic_init(&f->kept_dirty, s->dirty);
	memcpy(f->etag, s->etag, sizeof(f->etag));
}

int view_file_restore(struct daemon *d, const struct kept_file *k)
{
	const struct range_kept *fixed = k->fixed;
	struct view_file *f = calloc(1, sizeof(*f));
	struct view v;
	int r = f ? view_restore(d, k, &view_range, &v) : -ENOMEM;

	if (r >= 0)
		r = inodes_use(&d->inodes, v.target);
	if (r < 0) {
		free(f);
		return r;
	}
	f->kept = k->k;
	f->target = v.target;
	f->uid = fixed->view.uid;
	f->cut_if_unwritten = fixed->cut_if_unwritten;
	f->stale = kept_was_moved(&f->kept);
	set_state(f, k->state);
	r = fixed->stage ? ropefs_hold(d->fs, fixed->stage) : 0;
	if (r >= 0)
		f->stage = fixed->stage;
	add(d, f);
	if (r >= 0)
		r = handle_put(k->fh, f);
	if (r < 0)
		view_file_free(d, f);
	return r;
}

bool view_has_stage(struct daemon *d, uint64_t ino)
{
	struct view_file *f;

	pthread_mutex_lock(&d->views.mutex);
	LIST_FOREACH(f, &d->views.ranges, link)
	if (f->stage == ino)
		break;
	pthread_mutex_unlock(&d->views.mutex);
	return f;
}

static void tell_views(struct daemon *d, uint64_t ino, const struct view_file *but,
		       bool begins, bool made)
{
	struct view_file *f;

	pthread_mutex_lock(&d->views.mutex);
	LIST_FOREACH(f, &d->views.ranges, link)
	{
		if (f->target != ino || f == but)
			continue;
		if (begins)
			kept_moving(&f->kept);
		else
			kept_moved(&f->kept, made);
	}
	pthread_mutex_unlock(&d->views.mutex);
}

/* Who has it may wait for the disk, or for room. */
static void edit_lock(struct daemon *d, uint64_t ino)
{
	if (inodes_edit_try(&d->inodes, ino))
		return;
	held_waits(d, ROPEFS_WAITS_MEMORY, true);
	inodes_edit_lock(&d->inodes, ino);
	held_waits(d, ROPEFS_WAITS_MEMORY, false);
}

void view_edit_lock(struct daemon *d, uint64_t ino, const struct view_file *f)
{
	edit_lock(d, ino);
	if (keep_is_open())
		tell_views(d, ino, f, true, false);
}

void view_edit_unlock(struct daemon *d, uint64_t ino, const struct view_file *f,
		      bool made)
{
	if (made)
		inodes_edited(&d->inodes, ino);
	if (keep_is_open())
		tell_views(d, ino, f, false, made);
	inodes_edit_unlock(&d->inodes, ino);
}

int view_file_open(struct daemon *d, fuse_ino_t ino, int flags, uint32_t uid,
		   struct view_file **ret)
{
	struct view_found found;
	struct view_file *f;
	struct view v;
	int r;

	r = view_target(d, ino, &v);
	if (r >= 0)
		r = view_range_find(d, &v, &found); /* lines: the bucket may have them */
	if (r < 0)
		return r;
	f = calloc(1, sizeof(*f));
	if (!f)
		return -ENOMEM;
	f->uid = uid;
	r = inodes_use(&d->inodes, v.target);
	if (r < 0) {
		free(f);
		return r;
	}
	/* Added before it is unlocked: edits from here on tell its row. */
	inodes_edit_lock(&d->inodes, v.target);
	r = open_locked(d, &v, &found, flags, f);
	if (r >= 0) {
		keep_new_file(&v, f);
		add(d, f);
	}
	inodes_edit_unlock(&d->inodes, v.target);
	if (r < 0) {
		inodes_unuse(&d->inodes, v.target);
		free(f);
		return r;
	}
	*ret = f;
	return 0;
}

void view_file_free(struct daemon *d, struct view_file *f)
{
	pthread_mutex_lock(&d->views.mutex);
	LIST_REMOVE(f, link);
	pthread_mutex_unlock(&d->views.mutex);
	if (f->stage) {
		ropefs_release(d->fs, f->stage, 1);
		inodes_view_closed(&d->inodes, f->target);
	}
	inodes_unuse(&d->inodes, f->target);
	kept_free(&f->kept);
	pthread_mutex_destroy(&f->committing);
	free(f);
}

void view_ranges_end(struct daemon *d)
{
	while (!LIST_EMPTY(&d->views.ranges))
		view_file_free(d, LIST_FIRST(&d->views.ranges));
}

bool view_is_stale(struct daemon *d, struct view_file *f)
{
	/* In this order: our own edits count here before they do there. */
	uint64_t edits = inodes_edits(&d->inodes, f->target);

	return !*f->etag && (f->stale || edits > atomic_load(&f->edits));
}

/* Puts the stage in its place, and lets the row follow. */
static int replace(struct daemon *d, struct view_file *f, uint64_t size)
{
	struct range_state before = state_of(f), after = before, *kept;
	int r;

	before.dirty = true;
	after.placed = size;
	after.dirty = false;
	after.wrote = true;
	kept = kept_change(&f->kept, &before, &after, sizeof(after));
	if (!kept)
		kept = &after;
	if (*f->etag)
		r = ropefs_replace_if(d->fs, f->target, f->etag, f->stage, kept->etag);
	else
		r = ropefs_replace(
			d->fs, (struct ropefs_range) { f->target, f->from, f->placed },
			(struct ropefs_range) { f->stage, 0, size });
	if (r >= 0)
		memcpy(f->etag, kept->etag, sizeof(f->etag));
	kept_changed(&f->kept, r >= 0);
	return r;
}

static int commit_locked(struct daemon *d, struct view_file *f)
{
	struct ropefs_attr stage;
	int r;

	if (view_is_stale(d, f))
		return -ESTALE;
	r = ropefs_getattr(d->fs, f->stage, &stage);
	if (r < 0)
		return r;
	r = replace(d, f, stage.size);
	if (r < 0)
		return r;
	f->placed = stage.size;
	/* Its own edit first, so that view_is_stale() never takes it for one of others. */
	atomic_fetch_add(&f->edits, 1);
	return 0;
}

static int commit(struct daemon *d, struct view_file *f)
{
	struct moved m = { f->target, f->from, f->placed, 0 };
	struct range_state s;
	struct ropefs_attr stage;
	int r;

	if (view_is_stale(d, f))
		return -ESTALE;
	r = ropefs_getattr(d->fs, f->stage, &stage);
	if (r < 0)
		return r;
	m.come = stage.size;
	edit_begin(d, &m);
	view_edit_lock(d, f->target, f);
	/* Cleared first: a write that comes meanwhile makes it dirty again. */
	atomic_store(&f->dirty, false);
	r = commit_locked(d, f);
	if (r < 0)
		atomic_store(&f->dirty, true);
	view_edit_unlock(d, f->target, f, r >= 0);
	s = state_of(f);
	note_state(f, &s);
	if (r >= 0)
		m.come = f->placed;
	edit_end(d, &m);
	return r;
}

int view_commit(struct daemon *d, struct view_file *f)
{
	int r;

	assert(f->stage);
	r = inodes_runs(&d->inodes, f->target) ? -ETXTBSY
					       : privs_drop(d, f->target, f->uid);
	if (r < 0)
		return r;
	pthread_mutex_lock(&f->committing);
	r = commit(d, f);
	pthread_mutex_unlock(&f->committing);
	return r;
}

/* What has to move for the view's range to have `size` bytes, at its end. */
static int resize_place(struct daemon *d, const struct view *v, struct view_found *found,
			uint64_t size, struct moved *ret_m, uint64_t *ret_edits)
{
	struct moved m = { .ino = v->target };
	const struct ropefs_range *range = &found->range;
	int r = renew(d, v, found);

	if (r < 0)
		return r;
	inodes_edit_lock(&d->inodes, v->target);
	r = renew(d, v, found);
	*ret_edits = inodes_edits(&d->inodes, v->target);
	inodes_edit_unlock(&d->inodes, v->target);
	if (r < 0)
		return r;
	m.from = range->at + (size < range->n ? size : range->n);
	m.gone = size < range->n ? range->n - size : 0;
	m.come = size < range->n ? 0 : size - range->n;
	*ret_m = m;
	return 0;
}

static int resize_locked(struct daemon *d, const struct moved *m)
{
	const struct ropefs_range none = { m->ino, m->from, 0 };
	uint64_t stage;
	int r;

	if (m->gone) {
		keep_arm();
		r = ropefs_cut(d->fs, m->ino, m->from, m->gone);
	} else {
		r = stage_new(d, none, &stage);
		if (r < 0)
			return r;
		r = ropefs_truncate(d->fs, stage, m->come);
		keep_arm();
		if (r >= 0)
			r = ropefs_replace(d->fs, none,
					   (struct ropefs_range) { stage, 0, m->come });
		ropefs_release(d->fs, stage, 1);
	}
	return r;
}

int view_resize(struct daemon *d, const struct view *v, const struct view_found *found,
		uint64_t size, uint32_t uid)
{
	struct view_found now = *found;
	uint64_t edits;
	struct moved m;
	bool stale;
	int r;

	r = inodes_runs(&d->inodes, v->target) ? -ETXTBSY : privs_drop(d, v->target, uid);
	do {
		if (r >= 0)
			r = resize_place(d, v, &now, size, &m, &edits);
		if (r < 0 || m.gone == m.come)
			return r;
		edit_begin(d, &m);
		view_edit_lock(d, v->target, NULL);
		/* A truncate may have come in between: then look again. */
		stale = inodes_edits(&d->inodes, v->target) != edits;
		if (!stale)
			r = resize_locked(d, &m);
		view_edit_unlock(d, v->target, NULL, !stale && r >= 0);
		edit_end(d, &m);
	} while (stale);
	return r;
}

int view_copy_side(uint64_t fh, bool write, struct ropefs_range *range)
{
	struct view_file *f = (struct view_file *)(uintptr_t)fh;

	if (write && !f->stage)
		return -EBADF;
	if (f->stage) {
		range->ino = f->stage;
		return 0;
	}
	range->ino = f->target;
	if (range->at >= f->placed)
		range->n = 0;
	else if (range->n > f->placed - range->at)
		range->n = f->placed - range->at;
	range->at += f->from;
	return 0;
}

void view_copied(uint64_t fh)
{
	struct view_file *f = (struct view_file *)(uintptr_t)fh;

	atomic_store(&f->wrote, true);
	atomic_store(&f->dirty, true);
}
