/* api_data.c - the public functions on bytes and on durability. */
#include <errno.h>
#include <stdio.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/err.h"
#include "core/remote_priv.h"
#include "core/queue.h"
#include "core/store_priv.h"

/* --- reading: places are planned under the engine lock, packs are read without it --- */

struct piece {
	struct extent e; /* of a chunk; its pack is pinned */
	uint8_t *to;
};

#define PIECES_INLINE 16
#define PINS_INLINE   8
#define HELD_CHUNKS   4 /* an edited file's bytes alternate between a few chunks */
/* Who asks for so much goes through a file, and the kernel keeps what it asks for. */
#define PAST_CACHE_BYTES (512 * KIB)

struct plan {
	struct ropefs *fs;
	uint8_t *p;
	uint64_t at; /* file offset of p[0] */
	bool past_cache; /* chunks that are wanted whole are not kept */
	struct piece first[PIECES_INLINE], *pieces;
	size_t n, cap;
	uint64_t first_pins[PINS_INLINE], *pins; /* packs, each pinned once or more */
	size_t n_pins, pins_cap;
	struct chunk_hold held[HELD_CHUNKS];
	unsigned next_held;
};

static void plan_init(struct plan *plan, struct ropefs *fs, uint64_t at, uint8_t *p)
{
	memset(plan, 0, sizeof(*plan));
	plan->fs = fs;
	plan->p = p;
	plan->at = at;
	plan->pieces = plan->first;
	plan->cap = PIECES_INLINE;
	plan->pins = plan->first_pins;
	plan->pins_cap = PINS_INLINE;
}

/* An array of the plan, which began as `first` inside it, at twice the size; NULL without
 * memory. */
static void *plan_grow(void *array, const void *first, size_t *cap, size_t each)
{
	void *bigger = malloc(*cap * 2 * each);

	if (!bigger)
		return NULL;
	memcpy(bigger, array, *cap * each);
	if (array != first)
		free(array);
	*cap *= 2;
	return bigger;
}

/* For the outside a pack that is gone is damage, not a file that is not there. */
static int pack_error(int r)
{
	return r == -ENOENT ? -E_CORRUPT : r;
}

static int plan_pin(struct plan *plan, uint64_t pack)
{
	int r;

	for (size_t i = 0; i < MIN(plan->n_pins, (size_t)PINS_INLINE); i++)
		if (plan->pins[plan->n_pins - 1 - i] == pack)
			return 0;
	if (plan->n_pins == plan->pins_cap) {
		uint64_t *bigger = plan_grow(plan->pins, plan->first_pins,
					     &plan->pins_cap, sizeof(*bigger));

		if (!bigger)
			return -ENOMEM;
		plan->pins = bigger;
	}
	r = packs_pin(plan->fs->packs, pack);
	if (r < 0)
		return pack_error(r);
	plan->pins[plan->n_pins++] = pack;
	return 0;
}

static int plan_add(struct plan *plan, const struct extent *e, uint8_t *to)
{
	int r;

	if (plan->n == plan->cap) {
		struct piece *bigger =
			plan_grow(plan->pieces, plan->first, &plan->cap, sizeof(*bigger));

		if (!bigger)
			return -ENOMEM;
		plan->pieces = bigger;
	}
	r = plan_pin(plan, extent_pack(e));
	if (r < 0)
		return r;
	plan->pieces[plan->n++] = (struct piece) { *e, to };
	return 0;
}

static int plan_extent(void *arg, const struct extent *e, uint64_t at)
{
	struct plan *plan = arg;
	uint8_t *to = plan->p + (at - plan->at);

	switch (extent_kind(e)) {
	case EXTENT_HOLE:
		memset(to, 0, extent_bytes(e));
		return 0;
	case EXTENT_HOT:
		memcpy(to, hot_bytes(plan->fs->hot, e), extent_bytes(e));
		return 0;
	case EXTENT_CHUNK:
		if (extent_is_lost(e))
			return err_set(
				E_CORRUPT,
				"bytes %llu..%llu were lost to damage, and a repair "
				"gave them up; write them anew, or bring the file "
				"back from a backup",
				(unsigned long long)at,
				(unsigned long long)(at + extent_bytes(e)));
		return plan_add(plan, e, to);
	}
	return err_set(E_CORRUPT, "an extent of unknown kind at byte %llu",
		       (unsigned long long)at);
}

/* The chunk of a piece, held; of those held so far the oldest makes room. */
static int plan_hold(struct plan *plan, const struct extent *e, bool nowait,
		     const struct chunk_hold **ret)
{
	uint64_t pack = extent_pack(e);
	uint32_t index = extent_chunk_index(e);
	struct chunk_hold *h;
	int r;

	for (unsigned i = 0; i < HELD_CHUNKS; i++) {
		h = &plan->held[i];
		if (h->chunk && h->pack == pack && h->index == index) {
			*ret = h;
			return 0;
		}
	}
	h = &plan->held[plan->next_held++ % HELD_CHUNKS];
	packs_unhold(plan->fs->packs, h);
	r = packs_hold(plan->fs->packs, pack, index, nowait, h);
	if (r < 0)
		return pack_error(r);
	*ret = h;
	return 0;
}

static int plan_piece(struct plan *plan, const struct piece *pc, bool nowait)
{
	uint32_t off = le32_get(pc->e.off), len = le32_get(pc->e.len);
	const struct chunk_hold *h;
	int r = 0;

	if (plan->past_cache && !nowait && off == 0)
		r = packs_read_whole(plan->fs->packs, extent_pack(&pc->e),
				     extent_chunk_index(&pc->e), len, pc->to);
	if (r)
		return pack_error(MIN(r, 0));
	r = plan_hold(plan, &pc->e, nowait, &h);
	return r < 0 ? r : chunk_hold_copy(h, off, len, pc->to);
}

static int plan_read(struct plan *plan, bool nowait)
{
	int r = 0;

	for (size_t i = 0; i < plan->n && r >= 0; i++)
		r = plan_piece(plan, &plan->pieces[i], nowait);
	return r;
}

static void plan_release(struct plan *plan)
{
	for (unsigned i = 0; i < HELD_CHUNKS; i++)
		packs_unhold(plan->fs->packs, &plan->held[i]);
	for (size_t i = 0; i < plan->n_pins; i++)
		packs_unpin(plan->fs->packs, plan->pins[i]);
	if (plan->pieces != plan->first)
		free(plan->pieces);
	if (plan->pins != plan->first_pins)
		free(plan->pins);
}

/* Whether some of it is only in the bucket. */
static bool plan_is_far(const struct plan *plan)
{
	for (size_t i = 0; i < plan->n; i++)
		if (packs_is_remote(plan->fs->packs, extent_pack(&plan->pieces[i].e)))
			return true;
	return false;
}

/* Bytes that do not verify: whoever looks at the store's state is to know. */
static void note_damage(struct ropefs *fs, uint64_t ino)
{
	char what[256], text[300], path[INODE_PATH_MAX];

	snprintf(what, sizeof(what), "%s",
		 *err_detail() ? err_detail() : err_text(-E_CORRUPT));
	snprintf(text, sizeof(text), "it can't be read whole: %s", what);

	lock_take(&fs->engine);
	fs->damage_ino = ino;
	snprintf(fs->damage, sizeof(fs->damage), "%s", what);
	inode_shown_path(fs, ino, fs->damage_path);
	snprintf(path, sizeof(path), "%s", fs->damage_path);
	lock_drop(&fs->engine);
	event_raise_named(fs, "damage", ino, path, text);
}

static _Thread_local uint64_t asked_ns;
static _Thread_local bool stays_near;

void ropefs_asked_at(uint64_t mono_ns)
{
	asked_ns = mono_ns;
}

void ropefs_stay_near(bool near)
{
	stays_near = near;
}

static int read_once(struct ropefs *fs, uint64_t ino, struct reading *rd, void *p,
		     unsigned flags)
{
	struct remote *remote = fs->remote;
	struct plan plan;
	struct inode *in;
	bool nowait;
	int r;

	remote_note_use(fs);
	r = remote_read_begin(fs, flags & ROPEFS_NOWAIT);
	if (r < 0)
		return r;
	plan_init(&plan, fs, 0, p);
	lock_take(&fs->engine);
	nodes_trim(fs->nodes);
	inode_trim(fs);
	r = inode_get(fs, ino, &in);
	if (r >= 0 && !S_ISREG(le32_get(in->row.mode)))
		r = S_ISDIR(le32_get(in->row.mode)) ? -EISDIR : -EINVAL;
	if (r >= 0)
		r = rd->where(fs, in, rd);
	plan.at = rd->at;
	plan.past_cache = rd->n >= PAST_CACHE_BYTES;
	if (r >= 0 && rd->n)
		r = rope_each(&fs->env, &in->row.rope, rd->at, rd->n, plan_extent, &plan);
	lock_drop(&fs->engine);
	nowait = flags & ROPEFS_NOWAIT || (stays_near && plan_is_far(&plan));
	if (r >= 0)
		r = plan_read(&plan, nowait);
	if (r == -EAGAIN && (flags & ROPEFS_FAR || !(flags & ROPEFS_NOWAIT)) &&
	    plan_is_far(&plan))
		r = -EREMOTE;
	if (r >= 0 && remote && atomic_load(&remote->reads_fail) && plan_is_far(&plan))
		remote_note_read(remote, NULL);
	plan_release(&plan);
	remote_read_end(fs);
	return r;
}

static bool is_remote_error(int r)
{
	return r == -E_REMOTE_AWAY || r == -E_REMOTE_DENIED || r == -E_REMOTE ||
	       r == -E_LOST;
}

#define RENEWALS_MAX 8u

ssize_t data_read(struct ropefs *fs, uint64_t ino, struct reading *rd, void *p,
		  unsigned flags)
{
	const struct reading asked = *rd;
	struct remote *remote = fs->remote;
	int r;

	if (remote && !(flags & ROPEFS_NOWAIT))
		object_asked_at(asked_ns ? asked_ns : io_mono_ns(fs->io));
	/* Where a bucket is followed, its writer may have removed what this state needs. */
	for (unsigned i = 0;; i++) {
		uint64_t shown = remote_shown(fs);

		r = read_once(fs, ino, rd, p, flags);
		if ((r != -E_CORRUPT && !is_remote_error(r)) || i == RENEWALS_MAX ||
		    flags & ROPEFS_NOWAIT || !remote_renewed(fs, shown))
			break;
		err_clear();
		*rd = asked;
	}
	if (r == -E_CORRUPT)
		note_damage(fs, ino);
	if (is_remote_error(r)) {
		const char *why = *err_detail() ? err_detail() : err_text(r);

		event_raise(fs, "remote-read", ino, "%s", why);
		if (remote && r != -E_LOST)
			remote_note_read(remote, why);
		/* To whoever reads it is the disk that fails, not his rights. */
		r = r == -E_LOST ? r : -E_REMOTE_AWAY;
	}
	return r < 0 ? r : (ssize_t)rd->n;
}

/* Up to the end of the file. */
static int what_is_there(struct ropefs *fs, struct inode *in, struct reading *rd)
{
	uint64_t size = rope_bytes(&in->row.rope);

	rd->n = rd->at >= size ? 0 : (size_t)MIN((uint64_t)rd->n, size - rd->at);
	rd->n = MIN(rd->n, (size_t)SSIZE_MAX);
	return 0;
}

ssize_t ropefs_read(struct ropefs *fs, uint64_t ino, uint64_t at, void *p, size_t n,
		    unsigned flags)
{
	struct reading rd = { .where = what_is_there, .at = at, .n = n };

	err_clear();
	return data_read(fs, ino, &rd, p, flags);
}

/* --- writing --- */

static bool is_queue(struct ropefs *fs, uint64_t ino)
{
	struct inode *in;
	bool is;

	lock_take(&fs->engine);
	is = inode_get(fs, ino, &in) >= 0 && inode_is_queue(in);
	lock_drop(&fs->engine);
	return is;
}

/* A queue takes bytes at its end only. */
static ssize_t queue_write(struct ropefs *fs, struct ropefs_range to, const void *p,
			   unsigned flags, uint64_t *ret_at)
{
	struct ropefs_queue info;
	int r = ropefs_queue_info(fs, to.ino, &info);

	if (r >= 0 && !(flags & ROPEFS_APPEND) && to.at != info.bytes)
		r = err_set(EPERM, "a queue takes bytes at its end only");
	if (r < 0)
		return r;
	if (ret_at)
		*ret_at = info.bytes;
	return ropefs_append(fs, to.ino, p, to.n, flags, NULL);
}

ssize_t ropefs_write(struct ropefs *fs, uint64_t ino, uint64_t at, const void *p,
		     size_t n, unsigned flags, uint64_t *ret_at)
{
	const uint8_t *from = p;
	size_t done = 0;

	while (done < n) {
		struct op op = { .type = OP_WRITE, .ino = ino, .at = at + done };
		struct inode *in;
		int r;

		op.data = span_of(from + done, MIN(n - done, (size_t)ROPEFS_WRITE_MAX));
		r = change_begin(fs, &op, flags, false);
		if (r >= 0 && flags & ROPEFS_APPEND) {
			r = inode_get(fs, ino, &in);
			if (r < 0)
				change_abort(fs, r);
			else
				op.at = rope_bytes(&in->row.rope);
		}
		if (r >= 0 && !done && ret_at)
			*ret_at = op.at;
		if (r >= 0)
			r = change_end(fs, &op, 0, NULL);
		if (r == -EPERM && is_queue(fs, ino))
			return queue_write(fs, (struct ropefs_range) { ino, at, n }, p,
					   flags, ret_at);
		if (r < 0)
			return done ? (ssize_t)done : r;
		done += op.data.n;
	}
	return (ssize_t)n;
}

ssize_t ropefs_insert(struct ropefs *fs, uint64_t ino, uint64_t at, const void *p,
		      size_t n, unsigned flags)
{
	struct op op = { .type = OP_INSERT, .ino = ino, .at = at, .data = span_of(p, n) };
	int r;

	if (n > ROPEFS_WRITE_MAX)
		return err_set(EFBIG,
			       "an insert takes at most %u bytes at once; use "
			       "ropefs_replace() with a file of any size",
			       ROPEFS_WRITE_MAX);
	r = change_begin(fs, &op, flags, false);
	if (r >= 0)
		r = change_end(fs, &op, 0, NULL);
	return r < 0 ? r : (ssize_t)n;
}

/* A change of ranges that brings no new bytes. */
static int change_range(struct ropefs *fs, struct op *op, bool frees)
{
	int r = change_begin(fs, op, 0, frees);

	return r < 0 ? r : change_end(fs, op, 0, NULL);
}

int ropefs_cut(struct ropefs *fs, uint64_t ino, uint64_t at, uint64_t n)
{
	struct op op = { .type = OP_CUT, .ino = ino, .at = at, .n = n };

	return change_range(fs, &op, true);
}

int ropefs_truncate(struct ropefs *fs, uint64_t ino, uint64_t size)
{
	struct op op = { .type = OP_TRUNCATE, .ino = ino, .n = size };

	if (!size)
		queue_shorten(fs, ino);
	return change_range(fs, &op, true);
}

int ropefs_punch(struct ropefs *fs, uint64_t ino, uint64_t at, uint64_t n, bool keep_size)
{
	struct op op = { .type = OP_PUNCH,
			 .ino = ino,
			 .at = at,
			 .n = n,
			 .flags = keep_size ? OP_FLAG_KEEP_SIZE : 0 };

	return change_range(fs, &op, true);
}

int ropefs_replace(struct ropefs *fs, struct ropefs_range dst, struct ropefs_range src)
{
	struct op op = {
		.type = OP_REPLACE,
		.ino = dst.ino,
		.at = dst.at,
		.n = dst.n,
		.src = src.ino,
		.src_at = src.at,
		.src_n = src.n,
	};

	return change_range(fs, &op, false);
}

/* Turns a copy into the op that does it; src_n says how much in any case. 0: nothing to
 * copy; 1: do op. */
static int plan_copy(struct ropefs *fs, struct op *op, struct ropefs_range dst,
		     struct ropefs_range src)
{
	struct inode *to, *from;
	uint64_t size, from_size, n;
	int r;

	r = inode_get(fs, dst.ino, &to);
	if (r >= 0)
		r = inode_get(fs, src.ino, &from);
	if (r < 0)
		return r;
	if (!S_ISREG(le32_get(to->row.mode)) || !S_ISREG(le32_get(from->row.mode)))
		return -EINVAL;
	size = rope_bytes(&to->row.rope);
	from_size = rope_bytes(&from->row.rope);
	if (src.at >= from_size)
		return 0;
	n = MIN(src.n, from_size - src.at);
	if (!n)
		return 0;
	if (dst.at > EXTENT_BYTES_MAX - n)
		return -EFBIG;
	op->ino = dst.ino;
	op->src = src.ino;
	op->src_n = n;
	if (!size && !dst.at && !src.at && n == from_size) {
		op->type = OP_CLONE;
	} else if (dst.at > size) { /* the gap becomes a hole first */
		op->type = OP_TRUNCATE;
		op->n = dst.at;
	} else {
		op->type = OP_REPLACE;
		op->at = dst.at;
		op->n = MIN(n, size - dst.at);
		op->src_at = src.at;
	}
	return 1;
}

ssize_t ropefs_copy(struct ropefs *fs, struct ropefs_range dst, struct ropefs_range src)
{
	for (;;) {
		struct op op = { 0 };
		int r = change_begin(fs, &op, 0, false);

		if (r < 0)
			return r;
		r = plan_copy(fs, &op, dst, src);
		if (r <= 0)
			return change_abort(fs, r);
		r = change_end(fs, &op, 0, NULL);
		if (r < 0)
			return r;
		if (op.type != OP_TRUNCATE)
			return (ssize_t)op.src_n;
		src.n = op.src_n; /* the gap was no part of it, if both are one file */
	}
}

/* --- holes --- */

/* Holes are told in whole blocks, as other filesystems do, though they lie at any byte: programs
 * that ask take the distance for the size of a block. A block with a byte of data is data. */
#define SEEK_BLOCK 4096u

struct seeking {
	bool data; /* sought: data, else a hole */
	uint64_t from, size;
	uint64_t covered; /* all blocks from from's to here have data; a block's edge */
	uint64_t found;
};

static int seek_extent(void *arg, const struct extent *e, uint64_t at)
{
	struct seeking *s = arg;
	uint64_t end = at + extent_bytes(e), block = SEEK_BLOCK;

	if (extent_kind(e) != EXTENT_HOLE) {
		s->covered = (end + block - 1) / block * block;
		s->found = MAX(s->from, at / block * block);
		return s->data;
	}
	s->found = MAX(s->from, s->covered);
	return !s->data && end > s->covered &&
	       (end == s->size || end - s->covered >= block);
}

int ropefs_seek(struct ropefs *fs, uint64_t ino, uint64_t at, int whence,
		uint64_t *ret_at)
{
	struct seeking s = { .data = whence == SEEK_DATA, .from = at };
	struct inode *in;
	uint64_t size = 0;
	int r;

	if (whence != SEEK_DATA && whence != SEEK_HOLE)
		return -EINVAL;
	err_clear();
	lock_take(&fs->engine);
	nodes_trim(fs->nodes);
	r = inode_get(fs, ino, &in);
	if (r >= 0) {
		size = rope_bytes(&in->row.rope);
		s.size = size;
		s.covered = at / SEEK_BLOCK * SEEK_BLOCK;
		r = at >= size ? -ENXIO
			       : rope_each(&fs->env, &in->row.rope, s.covered,
					   size - s.covered, seek_extent, &s);
	}
	lock_drop(&fs->engine);
	if (r < 0)
		return r;
	if (r == 0 && s.data)
		return -ENXIO;
	*ret_at = r ? s.found : size;
	return 0;
}

/* --- durability --- */

/* A sync has to wait for the bucket, too. */
static bool remote_lacks(struct ropefs *fs, struct remote *rm, uint64_t lsn)
{
	return fs->opts.durability == ROPEFS_REMOTE && rm && remote_is_behind(rm, lsn);
}

int ropefs_sync(struct ropefs *fs)
{
	uint64_t lsn = fs->wal ? wal_last_lsn(fs->wal) : 0;
	struct remote *rm = fs->remote;
	int r;

	err_clear();
	if (!fs->wal)
		return 0;
	r = log_sync(fs, lsn);
	return r < 0 || !remote_lacks(fs, rm, lsn) ? r : remote_wait(rm, lsn);
}

/* 0: done, or nothing to do but wait; 1: the caller has got sync_led. */
static int sync_join(struct ropefs *fs, void (*done)(void *arg, int result), void *arg,
		     bool flusher)
{
	struct sync_waiter *w;
	uint64_t lsn = fs->wal ? wal_last_lsn(fs->wal) : 0;
	int lead;

	if (!fs->wal ||
	    (lsn <= wal_durable_lsn(fs->wal) && !remote_lacks(fs, fs->remote, lsn))) {
		done(arg, 0);
		return 0;
	}
	w = fs->threads ? malloc(sizeof(*w)) : NULL;
	if (!w) {
		done(arg, log_sync(fs, lsn));
		return 0;
	}
	*w = (struct sync_waiter) { .lsn = lsn, .done = done, .arg = arg };
	lock_take(&fs->engine);
	STAILQ_INSERT_TAIL(&fs->waiters, w, link);
	if (++fs->n_waiters >= fs->gather && fs->gathering)
		pthread_cond_signal(&fs->gathered);
	lead = !fs->sync_led;
	fs->sync_led = true;
	if (lead && flusher) {
		fs->flusher_leads = true;
		background_kick_flusher_locked(fs);
	}
	lock_drop(&fs->engine);
	return lead;
}

void ropefs_sync_async(struct ropefs *fs, void (*done)(void *arg, int result), void *arg)
{
	sync_join(fs, done, arg, true);
}

bool ropefs_sync_join(struct ropefs *fs, void (*done)(void *arg, int result), void *arg)
{
	return sync_join(fs, done, arg, false);
}

bool ropefs_sync_ahead(struct ropefs *fs)
{
	bool lead;

	if (!fs->wal || !fs->threads || wal_last_lsn(fs->wal) <= wal_durable_lsn(fs->wal))
		return false;
	lock_take(&fs->engine);
	lead = !fs->sync_led;
	fs->sync_led = true;
	fs->sync_ahead |= lead;
	lock_drop(&fs->engine);
	return lead;
}

void ropefs_sync_lead(struct ropefs *fs)
{
	lock_take(&fs->engine);
	sync_lead_locked(fs);
	lock_drop(&fs->engine);
}

int ropefs_checkpoint(struct ropefs *fs)
{
	err_clear();
	return checkpoint_run(fs, false);
}
