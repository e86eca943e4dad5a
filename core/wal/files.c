/* files.c - the files of the log over time.
 *
 *	(nothing) ──spare_make──▶ spare ──segment_begin──▶ segment ──wal_trim──▶ spare or gone
 *
 * Invariants:
 *  1. A file is written as a spare only when no segment name can lead to it after a power
 *     cut: wal_trim() and files_adopt() sync the folder first.
 *  2. Segments go in rising order, so what is left never has a hole. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/base/err.h"
#include "core/base/mutant.h"
#include "core/wal/wal_priv.h"

void files_free(struct log_files *files)
{
	struct log_file *f;

	while ((f = TAILQ_FIRST(files))) {
		TAILQ_REMOVE(files, f, link);
		free(f);
	}
}

uint64_t file_limit(const struct log_file *f)
{
	uint64_t limit = UINT64_MAX;

	while ((f = TAILQ_NEXT(f, link)))
		if (f->good)
			limit = MIN(limit, f->first_lsn);
	return limit;
}

static int file_add(struct log_files *files, uint64_t number, struct log_file **ret)
{
	struct log_file *f = calloc(1, sizeof(*f));

	if (!f)
		return -ENOMEM;
	f->number = number;
	f->filled_bytes = UINT64_MAX;
	TAILQ_INSERT_TAIL(files, f, link);
	*ret = f;
	return 0;
}

static int segment_load(struct wal *w, uint64_t number)
{
	_cleanup_(segment_release) struct segment s = SEGMENT_NONE;
	struct log_file *f;
	int r;

	r = segment_open(w->io, w->keys, number, IO_READ, &s);
	if (r < 0 && r != -EBADMSG)
		return r;
	r = file_add(&w->segments, number, &f);
	if (r < 0)
		return r;
	f->good = s.file != NULL;
	f->first_lsn = s.first_lsn;
	f->file_bytes = s.bytes;
	f->used_bytes = s.bytes;
	return 0;
}

int files_load(struct wal *w)
{
	_cleanup_(listing_release) struct wal_listing l = { 0 };
	struct log_file *f;
	int r;

	r = wal_list(w->io, &l);
	for (size_t i = 0; r == 0 && i < l.n_segments; i++)
		r = segment_load(w, l.segments[i]);
	for (size_t i = 0; r == 0 && i < l.n_spares; i++)
		r = file_add(&w->spares, l.spares[i], &f);
	w->next_number = l.n_segments ? l.segments[l.n_segments - 1] + 1 : 1;
	w->next_spare = l.n_spares ? l.spares[l.n_spares - 1] + 1 : 1;
	return r;
}

static int segment_sync(struct wal *w, const struct log_file *f)
{
	char name[WAL_NAME_BYTES];
	struct io_file *file;
	int r;

	segment_name(f->number, name);
	r = io_open(w->io, name, IO_WRITE, &file);
	if (r < 0)
		return r;
	r = io_sync(file);
	io_closep(&file);
	return r;
}

/* True when the file may become a segment as it is. */
static bool spare_fits(struct wal *w, const struct log_file *f)
{
	char name[WAL_NAME_BYTES];
	struct io_file *file;
	uint64_t bytes = 0;

	spare_name(f->number, name);
	if (io_open(w->io, name, IO_READ, &file) < 0)
		return false;
	if (io_size(file, &bytes) < 0)
		bytes = 0;
	io_closep(&file);
	return bytes == w->segment_bytes;
}

static void spare_drop(struct wal *w, uint64_t id)
{
	char name[WAL_NAME_BYTES];

	spare_name(id, name);
	w->io->ops->unlink(w->io, name);
}

void wal_drop_spares(struct wal *w, unsigned keep)
{
	struct log_file *f;

	do {
		lock_take(&w->lock);
		f = w->n_spares > keep && w->unwritten_bytes + w->frame_most <= w->room
			    ? TAILQ_LAST(&w->spares, log_files)
			    : NULL;
		if (f) {
			TAILQ_REMOVE(&w->spares, f, link);
			w->n_spares--;
		}
		lock_drop(&w->lock);
		if (f)
			spare_drop(w, f->number);
		free(f);
	} while (f);
}

int wal_sync_recovered(struct wal *w)
{
	struct log_file *f;
	int r;

	assert(!w->started);
	if (MUTANT(RECOVERED_UNSYNCED))
		return 0;
	f = TAILQ_LAST(&w->segments, log_files);
	r = f && f->good ? segment_sync(w, f)
			 : 0; /* the others were, before it was begun */
	return r < 0 ? r : w->io->ops->sync_dir(w->io, WAL_DIR);
}

int files_adopt(struct wal *w)
{
	struct log_file *f, *next;
	int r;

	r = wal_sync_recovered(w);
	if (r < 0)
		return r;
	for (f = TAILQ_FIRST(&w->spares); f; f = next) {
		next = TAILQ_NEXT(f, link);
		if (w->n_spares < w->spare_max && spare_fits(w, f)) {
			w->n_spares++;
			continue;
		}
		spare_drop(w, f->number);
		TAILQ_REMOVE(&w->spares, f, link);
		free(f);
	}
	return w->io->ops->sync_dir(w->io, WAL_DIR);
}

static int spare_allocate(struct wal *w, uint64_t id)
{
	char name[WAL_NAME_BYTES];
	struct io_file *file;
	int r;

	spare_name(id, name);
	r = io_open(w->io, name, IO_CREATE | IO_EXCL, &file);
	if (r < 0)
		return r;
	r = file->ops->allocate(file, w->segment_bytes);
	io_closep(&file);
	if (r < 0)
		spare_drop(w, id);
	return r;
}

uint64_t wal_spare_lack(struct wal *w)
{
	return atomic_load_explicit(&w->n_spares, memory_order_relaxed)
		       ? 0
		       : w->segment_bytes;
}

static uint64_t spare_id(struct wal *w)
{
	uint64_t id;

	lock_take(&w->lock);
	id = w->next_spare++;
	lock_drop(&w->lock);
	return id;
}

static void spare_add(struct wal *w, struct log_file *f)
{
	lock_take(&w->lock);
	TAILQ_INSERT_TAIL(&w->spares, f, link);
	w->n_spares++;
	lock_drop(&w->lock);
}

static struct log_file *spare_pop(struct wal *w)
{
	struct log_file *f;

	lock_take(&w->lock);
	f = TAILQ_FIRST(&w->spares);
	if (f) {
		TAILQ_REMOVE(&w->spares, f, link);
		w->n_spares--;
		w->room = w->segment_bytes - WAL_BLOCK; /* it is as good as begun */
		w->spare_refused = false;
	}
	lock_drop(&w->lock);
	return f;
}

int spare_make(struct wal *w)
{
	_cleanup_free_ struct log_file *f = NULL;
	int r;

	f = calloc(1, sizeof(*f));
	if (!f)
		return -ENOMEM;
	f->number = spare_id(w);
	r = spare_allocate(w, f->number);
	if (r < 0)
		return r;
	spare_add(w, f);
	f = NULL;
	return 0;
}

/* The spare f is a segment now, even if not all of it worked: so that a trim finds it. */
static void segment_add(struct wal *w, struct log_file *f, const struct segment *s)
{
	f->number = s->number;
	f->first_lsn = s->first_lsn;
	f->file_bytes = s->bytes;
	f->used_bytes = WAL_BLOCK;
	f->good = true;
	lock_take(&w->lock);
	TAILQ_INSERT_TAIL(&w->segments, f, link);
	w->stats.segments++;
	lock_drop(&w->lock);
}

/* The mistake of MUTANT_APPEND_TORN: goes on behind what a torn frame left. */
static int segment_resume(struct wal *w)
{
	const struct log_file *f = TAILQ_LAST(&w->segments, log_files);
	char name[WAL_NAME_BYTES];
	le32 magic = { 0 };
	int r = f && f->good && f->used_bytes < f->file_bytes ? 0 : -ENOENT;

	if (r == 0)
		r = segment_open(w->io, w->keys, f->number, IO_READ, &w->seg);
	if (r < 0)
		return r;
	segment_name(f->number, name);
	w->pos = align_up(f->used_bytes, WAL_BLOCK);
	while (io_pread(w->seg.file, &magic, sizeof(magic), w->pos) == sizeof(magic) &&
	       le32_get(magic) == FRAME_MAGIC)
		w->pos += WAL_BLOCK;
	io_closep(&w->seg.file);
	w->room = w->segment_bytes - w->pos;
	return io_open(w->io, name, IO_WRITE, &w->seg.file);
}

static int fill_tail(void *arg, const struct segment *s)
{
	return tail_copy(arg, s);
}

uint64_t wal_first_lsn(struct wal *w)
{
	struct log_file *f;

	TAILQ_FOREACH(f, &w->segments, link)
	if (f->good)
		return f->first_lsn;
	return 0;
}

void segment_mark(struct wal *w, uint64_t end)
{
	if (!w->mark)
		return;
	if (atomic_load(&w->mark->segment) != w->next_number - 1) {
		atomic_store(&w->mark->end, UINT64_MAX);
		atomic_store(&w->mark->segment, w->next_number - 1);
	}
	atomic_store(&w->mark->end, end);
}

int segment_begin(struct wal *w, uint64_t first_lsn)
{
	struct segment_filler filler = { w->tail.end_lsn ? fill_tail : NULL, w };
	struct segment want = { .first_lsn = first_lsn, .bytes = w->segment_bytes };
	struct log_file *f;
	bool named = false;
	int r;

	assert(!w->seg.file);
	assert(STAILQ_EMPTY(&w->unsynced));
	if (MUTANT(APPEND_TORN) && !w->started && segment_resume(w) == 0)
		return 0;
	f = spare_pop(w);
	while (!f) {
		r = spare_make(w);
		if (r < 0)
			return r;
		f = spare_pop(w);
	}
	want.number = w->next_number++;
	w->filled = f->filled_bytes;
	w->pos = WAL_BLOCK;
	r = segment_create(w->io, w->keys, f->number, &want, &filler, &w->seg, &named);
	if (named) {
		segment_add(w, f, &want);
		segment_mark(w, w->pos);
	} else {
		spare_drop(w, f->number);
		free(f);
	}
	return r;
}

/* Renames or removes the file of a segment nobody needs. Does not sync the folder. */
static int segment_retire(struct wal *w, struct log_file *f, bool keep)
{
	char from[WAL_NAME_BYTES], to[WAL_NAME_BYTES];
	uint64_t id;
	int r;

	segment_name(f->number, from);
	if (!keep)
		return w->io->ops->unlink(w->io, from);
	id = spare_id(w);
	spare_name(id, to);
	r = w->io->ops->rename(w->io, from, to);
	if (r < 0)
		return r;
	f->number = id;
	return 0;
}

/* The oldest segment if all it holds is below lsn; taken off the list. */
static struct log_file *segment_pop_below(struct wal *w, uint64_t lsn)
{
	struct log_file *f;

	lock_take(&w->lock);
	f = TAILQ_FIRST(&w->segments);
	if (f && file_limit(f) <= lsn)
		TAILQ_REMOVE(&w->segments, f, link);
	else
		f = NULL;
	lock_drop(&w->lock);
	return f;
}

static void segment_put_back(struct wal *w, struct log_file *f)
{
	lock_take(&w->lock);
	TAILQ_INSERT_HEAD(&w->segments, f, link);
	lock_drop(&w->lock);
}

static bool spare_wanted(struct wal *w, unsigned kept)
{
	bool wanted;

	lock_take(&w->lock);
	wanted = w->n_spares + kept < w->spare_max;
	lock_drop(&w->lock);
	return wanted;
}

/* Retires what is below lsn; those kept for reuse go to *kept. 1: there was some; or an error. */
static int retire_below(struct wal *w, uint64_t lsn, struct log_files *kept)
{
	struct log_file *f;
	unsigned n = 0;
	int r = 0;

	while ((f = segment_pop_below(w, lsn))) {
		bool keep = f->good && f->file_bytes == w->segment_bytes &&
			    spare_wanted(w, n);

		r = segment_retire(w, f, keep);
		if (r < 0) {
			segment_put_back(w, f);
			return r;
		}
		r = 1;
		if (keep) {
			TAILQ_INSERT_TAIL(kept, f, link);
			n++;
		} else {
			free(f);
		}
	}
	return r;
}

static void trim_done(struct wal *w, struct log_files *kept, bool usable)
{
	struct log_file *f;

	while (usable && (f = TAILQ_FIRST(kept))) {
		TAILQ_REMOVE(kept, f, link);
		spare_add(w, f);
		lock_take(&w->lock);
		w->stats.recycled++;
		lock_drop(&w->lock);
	}
	files_free(kept); /* files that a later start finds */
	lock_take(&w->lock);
	w->trimming = false;
	pool_shrink_locked(w);
	lock_drop(&w->lock);
}

int wal_trim(struct wal *w, uint64_t lsn)
{
	struct log_files kept = TAILQ_HEAD_INITIALIZER(kept);
	bool mine;
	int r, synced;

	lock_take(&w->lock);
	assert(w->started);
	mine = !w->trimming;
	w->trimming = true;
	lock_drop(&w->lock);
	if (!mine)
		return 0;
	r = retire_below(w, lsn, &kept);
	synced = r ? w->io->ops->sync_dir(w->io, WAL_DIR) : 0;
	trim_done(w, &kept, synced == 0);
	return r < 0 ? r : synced;
}
