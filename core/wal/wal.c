/* wal.c - appending and group commit.
 *
 *	append ──▶ cur ──full──▶ full ──▶ batch ──write──▶ unsynced ──▶ in_sync ──▶ pool
 *	                          whoever set busy, without the lock   sync
 *
 * One thread at a time has `busy` and with it the right to write; the others append
 * meanwhile. Who syncs gives `busy` back before, and has `syncing`: a push goes on beside a
 * sync, however long the disk takes for that, as long as it needs no other segment. Who wants
 * to sync himself waits: so all that came in during a sync shares the next one, and nobody
 * hands work to another thread.
 *
 * Invariants, besides those of wal.h:
 *  1. A frame stays in memory until it is durable.
 *  2. Frames that are not durable are all in the current segment: a segment is synced before
 *     the next one is begun, so that a segment's first LSN says what was durable.
 *  3. A place in a segment is sealed once: after a failed write the segment is left.
 *  4. After a failed sync (`poisoned`) nothing is synced in that segment again: whoever sets
 *     busy next leaves it, with all that is not durable. */
#include "core/wal/wal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/base/err.h"
#include "core/base/mutant.h"
#include "core/wal/wal_priv.h"

#define POOL_MIN	  4u
#define UNSYNCED_MAX	  (16 * MIB) /* written frames kept in memory until a push syncs too */
#define ROOM_SLACK	  (64 * KIB) /* for appends that were promised room at the same time */
#define SEGMENT_BYTES_MIN (9 * MIB)
#define FILL_BYTES	  ((size_t)MIB)
#define FILL_FOR_MAX	  (64 * KIB) /* greater syncs don't feel the difference */

static void frames_free(struct frame_list *l)
{
	struct frame *f;

	while ((f = STAILQ_FIRST(l))) {
		STAILQ_REMOVE_HEAD(l, link);
		free(f);
	}
}

int wal_open(const struct wal_opts *opts, struct wal **ret)
{
	struct wal *w;
	int r;

	assert(opts->io && opts->keys);
	assert(opts->segment_bytes >= SEGMENT_BYTES_MIN || opts->frame_bytes);
	w = calloc(1, sizeof(*w));
	if (!w)
		return -ENOMEM;
	w->io = opts->io;
	w->keys = opts->keys;
	w->segment_bytes = opts->segment_bytes & ~(uint64_t)(WAL_BLOCK - 1);
	w->spare_max = opts->spare_max;
	w->short_end = opts->short_end;
	w->mark = opts->mark;
	w->frame_bytes = opts->frame_bytes ? opts->frame_bytes : FRAME_BODY;
	w->frame_most = w->frame_bytes + FRAME_EXTRA;
	w->pool_max = MAX((unsigned)(opts->pool_bytes / (w->frame_bytes + FRAME_EXTRA)),
			  POOL_MIN);
	STAILQ_INIT(&w->full);
	STAILQ_INIT(&w->pool);
	STAILQ_INIT(&w->unsynced);
	STAILQ_INIT(&w->in_sync);
	TAILQ_INIT(&w->segments);
	TAILQ_INIT(&w->spares);
	lock_init(&w->lock, RANK_WAL);
	lock_cond_init(&w->done);
	r = files_load(w);
	if (r < 0) {
		wal_close(w);
		return r;
	}
	*ret = w;
	return 0;
}

struct wal *wal_close(struct wal *w)
{
	if (!w)
		return NULL;
	assert(!w->busy && !w->syncing);
	free(w->cur);
	frames_free(&w->full);
	frames_free(&w->pool);
	frames_free(&w->unsynced);
	frames_free(&w->in_sync);
	segment_release(&w->seg);
	files_free(&w->segments);
	files_free(&w->spares);
	pthread_cond_destroy(&w->done);
	lock_release(&w->lock);
	free(w);
	return NULL;
}

static int folder_make(struct io *io)
{
	int r;

	r = io->ops->mkdir(io, WAL_DIR);
	if (r < 0 && r != -EEXIST)
		return r;
	return io->ops->sync_dir(io, "");
}

/* The disk is full: the first append that finds room for a segment begins one. Until then what
 * was found stays where it is, and nothing new comes. */
static int start_without_segment(struct wal *w, bool moves)
{
	int r;

	if (TAILQ_EMPTY(&w->segments)) /* a log without files counts as lost */
		return -ENOSPC;
	r = moves ? tail_write_in_place(w) : 0;
	if (r == 0)
		r = wal_sync_recovered(w);
	w->pos = w->segment_bytes; /* no frame fits: so a push begins one */
	return r;
}

/* One segment's worth of disk ahead of need: no append has to wait for it, and a store that
 * is killed when the disk is full can be opened. That it can't be had is told by the
 * wal_reserve() that needs it. */
static void spare_ahead_locked(struct wal *w)
{
	bool soon = w->room <= w->segment_bytes / 4;
	int r;

	if (w->sparing || w->n_spares > 0 || (w->spare_refused && !soon) || w->failed)
		return;
	w->sparing = true;
	lock_drop(&w->lock);
	r = spare_make(w);
	lock_take(&w->lock);
	w->spare_refused = r < 0;
	w->sparing = false;
}

int wal_start(struct wal *w, uint64_t next_lsn)
{
	bool moves;
	int r;

	assert(next_lsn > 0);
	assert(!w->started);
	r = TAILQ_EMPTY(&w->segments) ? folder_make(w->io) : 0;
	if (r < 0)
		return r;
	moves = tail_counts(w, next_lsn) && tail_fits(w);
	if (tail_counts(w, next_lsn) && !moves)
		r = tail_write_in_place(w);
	if (r == 0)
		r = files_adopt(w);
	if (r < 0)
		return r;
	w->tail.end_lsn = moves ? next_lsn : 0;
	if (!w->n_spares)
		r = spare_make(w);
	if (r == 0)
		r = segment_begin(w, moves ? w->tail.first_lsn : next_lsn);
	else if (r == -ENOSPC)
		r = start_without_segment(w, moves);
	w->tail = (struct log_tail) { 0 };
	if (r < 0)
		return r;
	lock_take(&w->lock);
	w->room = w->segment_bytes - w->pos;
	w->last_lsn = w->pushed_lsn = w->durable_lsn = w->written_lsn = next_lsn - 1;
	w->started = true;
	spare_ahead_locked(w);
	lock_drop(&w->lock);
	return 0;
}

/* --- appending --- */

/* What a record takes in the body of a frame, at most. */
static size_t record_most(size_t n)
{
	return n + RECORD_HEAD_MAX;
}

static struct frame *frame_new_locked(struct wal *w, size_t need)
{
	size_t cap = MAX(need, w->frame_bytes);
	struct frame *f = malloc(sizeof(*f) + cap + FRAME_EXTRA);

	if (!f)
		return NULL;
	f->cap = cap;
	w->stats.frames++;
	return f;
}

/* Keeps an empty frame for reuse. */
static void pool_put_locked(struct wal *w, struct frame *f)
{
	assert(lock_held(&w->lock));
	f->first_lsn = f->at = 0;
	f->records = 0;
	f->body_bytes = 0;
	STAILQ_INSERT_HEAD(&w->pool, f, link);
	w->n_pool++;
}

static void frame_done_locked(struct wal *w, struct frame *f)
{
	if (w->n_pool >= w->pool_max || f->cap > w->frame_bytes)
		free(f);
	else
		pool_put_locked(w, f);
}

static void pool_take_locked(struct wal *w, struct frame *f)
{
	STAILQ_REMOVE(&w->pool, f, frame, link);
	w->n_pool--;
	w->pool_least = MIN(w->pool_least, w->n_pool);
}

void pool_shrink_locked(struct wal *w)
{
	struct frame *f;

	for (; w->pool_least > POOL_MIN; w->pool_least--) {
		f = STAILQ_FIRST(&w->pool);
		pool_take_locked(w, f);
		free(f);
	}
	w->pool_least = w->n_pool;
}

static struct frame *pool_find_locked(struct wal *w, size_t need)
{
	struct frame *f;

	STAILQ_FOREACH(f, &w->pool, link)
	if (f->cap >= need)
		return f;
	return NULL;
}

static bool cur_fits(const struct wal *w, size_t need)
{
	return w->cur && w->cur->body_bytes + need <= w->cur->cap;
}

static int reserve_memory_locked(struct wal *w, size_t need)
{
	struct frame *f;

	if (cur_fits(w, need) || pool_find_locked(w, need))
		return 0;
	f = frame_new_locked(w, need);
	if (!f)
		return -ENOMEM;
	pool_put_locked(w, f);
	return 0;
}

/* True when all frames not yet written and `need` bytes more have a place on the disk.
 * Each segment but the last may lose a frame's length at its end. */
static bool room_fits_locked(const struct wal *w, uint64_t need)
{
	uint64_t each = w->segment_bytes - WAL_BLOCK - w->frame_most;
	uint64_t here = w->room > w->frame_most ? w->room - w->frame_most : 0;

	assert(lock_held(&w->lock));
	need += w->unwritten_bytes;
	return need <= w->room || need <= here + w->n_spares * each;
}

static int reserve_room_locked(struct wal *w, size_t need)
{
	uint64_t bytes = need + FRAME_EXTRA + MIN(ROOM_SLACK, w->frame_bytes);
	int r = 0;

	w->frame_most = MAX(w->frame_most, need + FRAME_EXTRA);
	while (r == 0 && !room_fits_locked(w, bytes)) {
		lock_drop(&w->lock);
		r = spare_make(w);
		lock_take(&w->lock);
	}
	return r;
}

static int log_failed_locked(const struct wal *w)
{
	return err_set(E_LOG_FAILED, "%s", w->why);
}

int wal_reserve(struct wal *w, size_t n)
{
	size_t need = record_most(n);
	int r;

	assert(n <= WAL_RECORD_MAX);
	lock_take(&w->lock);
	assert(w->started);
	r = w->failed ? log_failed_locked(w) : reserve_room_locked(w, need);
	if (r == 0)
		r = reserve_memory_locked(w, need);
	lock_drop(&w->lock);
	return r;
}

/* Ends cur and puts another in its place, with room for need bytes. */
static int cur_next_locked(struct wal *w, size_t need)
{
	struct frame *f = pool_find_locked(w, need);

	if (f) {
		pool_take_locked(w, f);
	} else {
		f = frame_new_locked(w, need); /* another thread took what was reserved */
		if (!f)
			return -ENOMEM;
		f->at = 0;
		f->records = 0;
		f->body_bytes = 0;
	}
	if (w->cur)
		STAILQ_INSERT_TAIL(&w->full, w->cur, link);
	f->first_lsn = w->last_lsn + 1;
	w->cur = f;
	w->unwritten_bytes += FRAME_EXTRA;
	return 0;
}

static size_t iov_bytes(const struct iovec *iov, int n_iov)
{
	size_t n = 0;

	for (int i = 0; i < n_iov; i++)
		n += iov[i].iov_len;
	return n;
}

/* Copies one record behind the others of f; returns the bytes it took there. */
static size_t frame_add(struct frame *f, uint8_t type, bool more, size_t n,
			const struct iovec *iov, int n_iov)
{
	uint8_t *start = f->p + sizeof(struct frame_head) + f->body_bytes;
	uint8_t *p = start + record_head_put(start, n, type, more);

	for (int i = 0; i < n_iov; i++) {
		if (iov[i].iov_len > 0)
			memcpy(p, iov[i].iov_base, iov[i].iov_len);
		p += iov[i].iov_len;
	}
	f->body_bytes += (size_t)(p - start);
	f->records++;
	return (size_t)(p - start);
}

int wal_append(struct wal *w, uint8_t type, unsigned flags, const struct iovec *iov,
	       int n_iov, uint64_t *ret_lsn)
{
	size_t n = iov_bytes(iov, n_iov);
	int r = 0;

	assert(n <= WAL_RECORD_MAX);
	assert(type < RECORD_MORE);
	lock_take(&w->lock);
	assert(w->started);
	if (w->failed)
		r = log_failed_locked(w);
	else if (!cur_fits(w, record_most(n)))
		r = cur_next_locked(w, record_most(n));
	if (r == 0) {
		w->unwritten_bytes +=
			frame_add(w->cur, type, flags & WAL_MORE, n, iov, n_iov);
		w->pending_bytes += n;
		w->stats.records++;
		w->stats.body_bytes += n;
		*ret_lsn = ++w->last_lsn;
		assert(w->cur->first_lsn + w->cur->records - 1 == w->last_lsn);
	}
	lock_drop(&w->lock);
	return r;
}

/* --- writing, by the thread that set busy, and syncing --- */

/* What has been written is to be synced; frames that come go to other blocks. */
static void sync_begin_locked(struct wal *w)
{
	assert(lock_held(&w->lock));
	assert(STAILQ_EMPTY(&w->in_sync) && !STAILQ_EMPTY(&w->unsynced));
	assert(w->durable_lsn < w->written_lsn);
	STAILQ_CONCAT(&w->in_sync, &w->unsynced);
	w->in_sync_lsn = w->written_lsn;
	w->unsynced_bytes = 0;
	if (!MUTANT(SHARED_BLOCK))
		w->pos = align_up(w->pos, WAL_BLOCK);
}

static int sync_file(struct io_file *file)
{
	int r = MUTANT(ACK_EARLY) ? 0 : io_sync(file);

	return MUTANT(SYNC_RETRIED) && r < 0 ? io_sync(file) : r;
}

static void sync_end_locked(struct wal *w, int r)
{
	struct frame *f;

	assert(lock_held(&w->lock));
	if (r < 0)
		return; /* rescue() finds them */
	w->durable_lsn = MUTANT(ACK_BESIDE) ? w->written_lsn : w->in_sync_lsn;
	w->stats.syncs++;
	while ((f = STAILQ_FIRST(&w->in_sync))) {
		STAILQ_REMOVE_HEAD(&w->in_sync, link);
		frame_done_locked(w, f);
	}
}

/* By the thread that set busy, and keeps it. */
static int sync_segment(struct wal *w)
{
	int r;

	assert(!w->syncing);
	if (STAILQ_EMPTY(&w->unsynced))
		return 0;
	lock_take(&w->lock);
	sync_begin_locked(w);
	lock_drop(&w->lock);
	r = sync_file(w->seg.file);
	lock_take(&w->lock);
	sync_end_locked(w, r);
	lock_drop(&w->lock);
	return r;
}

static void note_pos_locked(struct wal *w)
{
	struct log_file *f = TAILQ_LAST(&w->segments, log_files);

	assert(lock_held(&w->lock));
	assert(f->number == w->seg.number && w->pos >= f->used_bytes);
	f->filled_bytes = MAX(w->filled, align_up(w->pos, WAL_BLOCK));
	w->stats.file_bytes += w->pos - f->used_bytes;
	f->used_bytes = w->pos;
}

static int next_segment(struct wal *w, uint64_t first_lsn)
{
	int r;

	r = sync_segment(w);
	if (r < 0)
		return r;
	assert(w->durable_lsn + 1 == first_lsn);
	if (w->seg.file) {
		lock_take(&w->lock);
		note_pos_locked(w);
		lock_drop(&w->lock);
		segment_release(&w->seg);
	}
	return segment_begin(w, first_lsn);
}

/* Seals f at the end of the segment and writes whole blocks: a block half known would
 * have to be read first. */
static int write_frame(struct wal *w, struct frame *f)
{
	struct frame_info info = {
		.first_lsn = f->first_lsn,
		.durable_lsn = wal_durable_lsn(w),
		.body_bytes = (uint32_t)f->body_bytes,
		.records = f->records,
	};
	uint64_t end = w->pos + sizeof(struct frame_head) + f->body_bytes;
	uint64_t to = align_up(end, WAL_BLOCK);
	int r;

	assert(f->records > 0 && f->at == 0);
	assert(to <= w->segment_bytes);
	f->at = w->pos;
	frame_seal(&w->seg, f->at, &info, f->p);
	memset(f->p + (end - w->pos), 0, to - end);
	segment_mark(w, to);
	r = io_pwrite(w->seg.file, f->p, to - w->pos, w->pos);
	if (r < 0)
		return r;
	w->pos = align_up(end, FRAME_ALIGN);
	w->unsynced_bytes += f->body_bytes;
	w->written_lsn = f->first_lsn + f->records - 1;
	return 0;
}

/* Zeros ahead of small syncs. Blocks that were allocated but never written cost the sync a
 * transaction of the filesystem, too (a third more time); a recycled file has none, so each
 * byte of it is filled at most once. */
static int fill_ahead(struct wal *w)
{
	static uint8_t zeros[FILL_BYTES];
	uint64_t from = align_up(w->pos, WAL_BLOCK), to;
	int r;

	if (from < w->filled || from == w->segment_bytes ||
	    w->unsynced_bytes > FILL_FOR_MAX)
		return 0;
	to = MIN(from + MIN(FILL_BYTES, w->segment_bytes / 8), w->segment_bytes);
	to &= ~(uint64_t)(WAL_BLOCK - 1);
	r = io_pwrite(w->seg.file, zeros, to - from, from);
	if (r < 0)
		return r;
	w->filled = to;
	return 0;
}

static bool segment_fits(const struct wal *w, const struct frame *f)
{
	uint64_t end = w->pos + sizeof(struct frame_head) + f->body_bytes;

	return align_up(end, WAL_BLOCK) <= w->segment_bytes;
}

/* Moves frames from batch to unsynced one by one; those left were not written. */
static int write_batch(struct wal *w, struct frame_list *batch)
{
	struct frame *f;
	int r;

	if (w->leave) {
		w->leave = false;
		r = next_segment(w, w->written_lsn + 1);
		if (r < 0)
			return r;
	}
	while ((f = STAILQ_FIRST(batch))) {
		r = segment_fits(w, f) ? 0 : next_segment(w, f->first_lsn);
		if (r < 0)
			return r;
		r = write_frame(w, f);
		if (r < 0)
			return r;
		STAILQ_REMOVE_HEAD(batch, link);
		STAILQ_INSERT_TAIL(&w->unsynced, f, link);
	}
	return 0;
}

/* Everything that is not durable, plain again and with no place. */
static int collect_unsynced(struct wal *w, struct frame_list *batch)
{
	struct frame_list all = STAILQ_HEAD_INITIALIZER(all);
	struct frame *f;
	int r;

	STAILQ_CONCAT(&all, &w->in_sync);
	STAILQ_CONCAT(&all, &w->unsynced);
	STAILQ_CONCAT(&all, batch);
	STAILQ_CONCAT(batch, &all);
	w->unsynced_bytes = 0;
	STAILQ_FOREACH(f, batch, link)
	{
		r = f->at ? frame_unseal(&w->seg, f->at, f->p) : 0;
		if (r < 0)
			return r;
		f->at = 0;
	}
	return 0;
}

static int rewrite(struct wal *w, struct frame_list *batch)
{
	int r;

	r = collect_unsynced(w, batch);
	segment_release(&w->seg);
	if (r < 0)
		return r;
	assert(STAILQ_EMPTY(batch) ||
	       STAILQ_FIRST(batch)->first_lsn == w->durable_lsn + 1);
	r = segment_begin(w, w->durable_lsn + 1);
	if (r == 0)
		r = write_batch(w, batch);
	return r < 0 ? r : sync_segment(w);
}

static void failure_note_locked(struct wal *w, uint64_t number, int why, int rescue)
{
	char name[WAL_NAME_BYTES];

	segment_name(number, name);
	w->failures++;
	if (rescue < 0)
		w->failed = -E_LOG_FAILED;
	snprintf(w->why, sizeof(w->why),
		 "log segment %s: %s; %s: %s; all up to LSN %llu is durable", name,
		 err_text(why),
		 rescue < 0 ? "a new segment failed too, so nothing more is accepted"
			    : "a new segment took its records over",
		 rescue < 0 ? err_text(rescue) : "look after this disk",
		 (unsigned long long)w->durable_lsn);
}

/* The segment can't be trusted any more, whatever failed: once more, in a new one. */
static int rescue(struct wal *w, struct frame_list *batch, int why)
{
	uint64_t number = w->next_number - 1;
	int r;

	lock_take(&w->lock);
	while (w->syncing)
		lock_wait(&w->lock, &w->done, 0);
	w->poisoned = 0;
	lock_drop(&w->lock);
	r = rewrite(w, batch);
	if (r < 0)
		STAILQ_CONCAT(&w->unsynced, batch); /* kept until the log is closed */
	lock_take(&w->lock);
	failure_note_locked(w, number, why, r);
	lock_drop(&w->lock);
	return r;
}

/* The lock is dropped meanwhile; so others may write. */
static void sync_beside_locked(struct wal *w)
{
	struct io_file *file = w->seg.file;
	int r;

	assert(w->syncing && !w->busy);
	lock_drop(&w->lock);
	r = sync_file(file);
	lock_take(&w->lock);
	sync_end_locked(w, r);
	w->syncing = false;
	w->poisoned = r;
	pthread_cond_broadcast(&w->done);
}

/* Writes all that was appended so far and syncs it when asked to, or leaves a segment that is
 * poisoned. Sets and clears busy; the lock is dropped meanwhile. A failure is told by failures
 * and failed; but a sync that fails poisons the segment. */
static void flush_once_locked(struct wal *w, bool sync)
{
	struct frame_list batch = STAILQ_HEAD_INITIALIZER(batch);
	uint64_t body = w->pending_bytes, bytes = w->unwritten_bytes, last = w->last_lsn;
	int r = w->poisoned;

	assert(lock_held(&w->lock));
	assert(!w->busy && !w->failed);
	w->busy = true;
	if (w->cur)
		STAILQ_INSERT_TAIL(&w->full, w->cur, link);
	w->cur = NULL;
	STAILQ_CONCAT(&batch, &w->full);
	lock_drop(&w->lock);

	if (r == 0)
		r = write_batch(w, &batch);
	sync |= w->unsynced_bytes > UNSYNCED_MAX;
	if (r == 0 && sync)
		r = fill_ahead(w);
	if (r < 0)
		r = rescue(w, &batch, r);

	lock_take(&w->lock);
	sync = sync && r == 0 && !STAILQ_EMPTY(&w->unsynced);
	if (sync) {
		assert(!w->syncing);
		w->syncing = true;
		sync_begin_locked(w);
	}
	w->busy = false;
	if (r == 0) {
		w->pending_bytes -= body;
		w->unwritten_bytes -= bytes;
		w->pushed_lsn = last;
		w->room = w->segment_bytes - w->pos;
		note_pos_locked(w);
		w->stats.pushes++;
	}
	pthread_cond_broadcast(&w->done);
	if (sync)
		sync_beside_locked(w);
}

static void flush_locked(struct wal *w, bool sync)
{
	flush_once_locked(w, sync);
	while (w->poisoned && !w->failed) {
		if (w->busy)
			lock_wait(&w->lock, &w->done, 0);
		else
			flush_once_locked(w, false);
	}
}

/* Neither a sync nor another segment is due: so it goes beside a sync that is under way. While
 * nobody is busy. */
static bool push_is_short_locked(const struct wal *w)
{
	assert(!w->busy);
	return !w->leave && !w->poisoned && w->unwritten_bytes <= w->room &&
	       w->unsynced_bytes + w->pending_bytes <= UNSYNCED_MAX;
}

static int push_locked(struct wal *w, bool quick)
{
	uint64_t lsn = w->last_lsn;
	int r = w->failed ? log_failed_locked(w) : 0;

	assert(w->started);
	while (r == 0 && w->pushed_lsn < lsn) {
		if (w->failed)
			r = log_failed_locked(w);
		else if (quick && (w->busy || !push_is_short_locked(w)))
			r = -EAGAIN;
		else if (w->busy || (w->syncing && !push_is_short_locked(w)))
			lock_wait(&w->lock, &w->done, 0);
		else
			flush_locked(w, false);
	}
	return r;
}

int wal_push_now(struct wal *w)
{
	int r;

	lock_take(&w->lock);
	r = push_locked(w, true);
	lock_drop(&w->lock);
	return r;
}

int wal_push(struct wal *w)
{
	int r;

	lock_take(&w->lock);
	r = push_locked(w, false);
	spare_ahead_locked(w);
	lock_drop(&w->lock);
	return r;
}

int wal_sync(struct wal *w, uint64_t lsn)
{
	uint64_t failures;
	int r = 0;

	lock_take(&w->lock);
	assert(w->started);
	lsn = MIN(lsn, w->last_lsn);
	failures = w->failures;
	while (r == 0 && w->durable_lsn < lsn) {
		if (w->failed)
			r = log_failed_locked(w);
		else if (w->busy || w->syncing)
			lock_wait(&w->lock, &w->done, 0);
		else
			flush_locked(w, true);
		/* Durable or not by now: a sync that failed was waited for. */
		if (w->failures != failures)
			r = log_failed_locked(w);
	}
	spare_ahead_locked(w);
	lock_drop(&w->lock);
	return r;
}

/* What was promised room in this segment must have it in spare ones, and so must what another
 * thread has reserved by now. Leaves the lock taken, and nobody busy or syncing. */
static int give_up_room_locked(struct wal *w)
{
	int r = 0;

	for (;;) {
		uint64_t room = w->room;

		if (w->failed)
			return log_failed_locked(w);
		if (w->busy || w->syncing) {
			lock_wait(&w->lock, &w->done, 0);
			continue;
		}
		w->room = 0;
		if (room_fits_locked(w, w->frame_most + ROOM_SLACK))
			return 0;
		w->room = room;
		lock_drop(&w->lock);
		r = spare_make(w);
		lock_take(&w->lock);
		if (r < 0)
			return r;
	}
}

int wal_renew(struct wal *w)
{
	uint64_t failures;
	int r;

	lock_take(&w->lock);
	assert(w->started);
	failures = w->failures;
	r = give_up_room_locked(w);
	if (r == 0) {
		w->leave = true;
		flush_locked(w, true);
		if (w->failures != failures)
			r = log_failed_locked(w);
	}
	lock_drop(&w->lock);
	return r;
}

/* --- what it says of itself --- */

static uint64_t read_locked(struct wal *w, const uint64_t *value)
{
	uint64_t v;

	lock_take(&w->lock);
	v = *value;
	lock_drop(&w->lock);
	return v;
}

uint64_t wal_last_lsn(struct wal *w)
{
	return read_locked(w, &w->last_lsn);
}

uint64_t wal_durable_lsn(struct wal *w)
{
	return read_locked(w, &w->durable_lsn);
}

uint64_t wal_pending_bytes(struct wal *w)
{
	return read_locked(w, &w->pending_bytes);
}

/* The part of a segment after lsn, as if its records were of one length. */
static uint64_t file_bytes_since(const struct log_file *f, uint64_t last_lsn,
				 uint64_t lsn)
{
	uint64_t from = MAX(lsn, f->first_lsn - 1);

	if (!f->good || from >= last_lsn)
		return 0;
	return (uint64_t)((double)f->used_bytes * (double)(last_lsn - from) /
			  (double)(last_lsn - f->first_lsn + 1));
}

uint64_t wal_bytes_since(struct wal *w, uint64_t lsn)
{
	const struct log_file *f;
	uint64_t bytes = 0;

	lock_take(&w->lock);
	TAILQ_FOREACH(f, &w->segments, link)
	{
		uint64_t limit = file_limit(f);

		bytes += file_bytes_since(f, MIN(limit - 1, w->pushed_lsn), lsn);
	}
	lock_drop(&w->lock);
	return bytes;
}

uint64_t wal_disk_bytes(struct wal *w)
{
	const struct log_file *f;
	uint64_t bytes = 0;

	lock_take(&w->lock);
	TAILQ_FOREACH(f, &w->segments, link)
	bytes += f->file_bytes;
	lock_drop(&w->lock);
	return bytes;
}

int wal_failed(struct wal *w)
{
	int r;

	lock_take(&w->lock);
	r = w->failed ? log_failed_locked(w) : 0;
	lock_drop(&w->lock);
	return r;
}

void wal_get_stats(struct wal *w, struct wal_stats *ret)
{
	lock_take(&w->lock);
	*ret = w->stats;
	lock_drop(&w->lock);
}
