/* remote_upload.c - one cycle of the uploader (remote_priv.h), and who may write. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/base/err.h"
#include "core/base/mutant.h"
#include "core/remote_priv.h"

#define SECOND_NS     1000000000u
#define NEXT_NAME     REMOTE_FOLDER "/next"
#define MANIFEST_NAME REMOTE_FOLDER "/manifest"
#define HOLD_TRIES    5
#define REMOVE_STEPS  8

struct remote_done {
	bool poisoned; /* can't be read here: it stays out, and is not tried again */
	uint8_t id[PACK_ID_BYTES];
};

/* --- small requests --- */

int remote_put_bytes(struct object_store *os, const char *key, struct span bytes,
		     unsigned flags)
{
	struct object_body body = object_body_of(&bytes);

	return object_put(os, key, &body, flags);
}

struct last_seen {
	uint64_t number;
	bool found;
};

static int note_number(void *arg, const char *key, uint64_t bytes)
{
	struct last_seen *l = arg;
	const char *slash = strrchr(key, '/');

	l->number = strtoull(slash ? slash + 1 : key, NULL, 10);
	l->found = true;
	return 0;
}

int remote_find_last(struct object_store *os, const char *instance, uint64_t after,
		     uint64_t *ret_number)
{
	struct object_key from = key_manifest(instance, after);
	struct last_seen l = { 0 };
	struct object_listing what = { .each = note_number, .arg = &l };
	char prefix[INSTANCE_BYTES + 4];
	int r;

	snprintf(prefix, sizeof(prefix), "%s/m/", instance);
	what.prefix = prefix;
	what.after = after ? from.text : "";
	r = object_list(os, &what);
	if (r < 0)
		return r;
	if (!l.found)
		return -ENOENT;
	*ret_number = l.number;
	return 0;
}

int remote_get_manifest(struct object_store *os, const char *instance, uint64_t number,
			const struct keys *keys, struct buf *ret_bytes,
			struct manifest *ret)
{
	struct object_key key = key_manifest(instance, number);
	struct manifest m = { 0 };
	int r;

	ret_bytes->n = 0;
	r = object_get(os, key.text, (struct object_range) { 0, 0 }, ret_bytes);
	if (r == 0)
		r = manifest_decode(buf_span(ret_bytes), keys, &m);
	if (r < 0)
		return r;
	if (m.number != number) {
		manifest_release(&m);
		return err_set(E_CORRUPT,
			       "manifest %" PRIu64 " of the bucket says to be "
			       "another one",
			       number);
	}
	*ret = m;
	return 0;
}

/* --- who writes --- */

static int fence(struct remote *rm, uint64_t number)
{
	struct ropefs *fs = rm->fs;
	int r;

	lock_take(&rm->lock);
	rm->fenced = true;
	lock_drop(&rm->lock);
	lock_take(&fs->engine);
	store_fail_locked(
		fs, -E_FENCED,
		"another writer has taken over its bucket; all that was written "
		"here is still in this folder");
	lock_drop(&fs->engine);
	r = err_set(E_FENCED,
		    "manifest %" PRIu64 " in %s was written by somebody else: another "
		    "writer has taken the bucket over",
		    number, rm->cfg.url);
	event_raise(fs, "remote-fenced", 0, "%s", err_detail());
	return r;
}

/* Creates the manifest's object. -EEXIST: somebody else has. */
static int create(struct remote *rm, const struct manifest *next, struct span bytes)
{
	struct object_key key = key_manifest(rm->instance, next->number);
	_cleanup_(buf_release) struct buf there = BUF_INIT;
	uint64_t size;
	int r;

	if (!rm->cfg.creates) { /* one writer only: a look before is all there is */
		r = object_head(rm->up.os, key.text, &size);
		if (r == -ENOENT)
			return remote_put_bytes(rm->up.os, key.text, bytes, 0);
		if (r == 0)
			r = -EEXIST;
	} else {
		r = remote_put_bytes(rm->up.os, key.text, bytes, OBJECT_IF_ABSENT);
	}
	if (r != -EEXIST)
		return r;
	/* An answer that was lost: then what is there is ours. */
	r = object_get(rm->up.os, key.text, (struct object_range) { 0, 0 }, &there);
	if (r < 0)
		return r;
	return there.n == bytes.n && !memcmp(there.p, bytes.p, bytes.n) ? 0 : -EEXIST;
}

/* Manifest man + 1 was committed: it is the state to go on from. */
static int adopt(struct remote *rm, struct manifest *m, struct span bytes)
{
	struct io *io = rm->fs->io;
	int r = io_publish(io, MANIFEST_NAME, bytes.p, bytes.n);

	hash256(bytes, rm->man_hash);
	manifest_release(&rm->man);
	rm->man = *m;
	*m = (struct manifest) { 0 };
	rm->attempted = false;
	rm->checked_ns = io_mono_ns(io);
	lock_take(&rm->lock);
	rm->number = rm->man.number;
	lock_drop(&rm->lock);
	return r;
}

/* A manifest came after ours. One that we were about to put when we were killed is ours. */
static int settle_newer(struct remote *rm, uint64_t last)
{
	_cleanup_(buf_release) struct buf there = BUF_INIT, ours = BUF_INIT;
	struct manifest m = { 0 };
	int r;

	if (last != rm->man.number + 1)
		return fence(rm, last);
	r = remote_get_manifest(rm->up.os, rm->instance, last, rm->fs->keys, &there, &m);
	if (r < 0)
		return r;
	r = remote_file_read(rm->fs->io, NEXT_NAME, &ours);
	if (r < 0 || ours.n != there.n || memcmp(ours.p, there.p, ours.n) != 0) {
		manifest_release(&m);
		return r < 0 && r != -ENOENT ? r : fence(rm, last);
	}
	return adopt(rm, &m, buf_span(&there));
}

/* A manifest whose creation had no answer, or was cut off, may still come to be there: another
 * one of that number would then find a stranger in its place. So the same bytes are put again
 * until the bucket says that they are there. */
static int finish_attempt(struct remote *rm)
{
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	struct manifest m = { 0 };
	int r = remote_file_read(rm->fs->io, NEXT_NAME, &bytes);

	if (r == 0)
		r = manifest_decode(buf_span(&bytes), rm->fs->keys, &m);
	if (r < 0 && r != -ENOENT)
		return r;
	if (r == -ENOENT || m.number <= rm->man.number) {
		manifest_release(&m);
		rm->attempted = false;
		return 0;
	}
	r = create(rm, &m, buf_span(&bytes));
	if (r == -EEXIST)
		r = fence(rm, m.number);
	if (r == 0)
		r = adopt(rm, &m, buf_span(&bytes));
	manifest_release(&m);
	return r;
}

/* Manifests stay in the bucket for keep_s after a newer one came. Whoever has not looked for
 * that long could create a number again that was removed: so it looks first. */
static int check_writer(struct remote *rm)
{
	uint64_t now = io_mono_ns(rm->fs->io), last;
	int r;

	if (MUTANT(NEXT_REPLACED))
		rm->attempted = false;
	if (rm->checked_ns && !rm->attempted &&
	    now - rm->checked_ns < rm->cfg.keep_s * SECOND_NS / 2)
		return 0;
	r = remote_find_last(rm->up.os, rm->instance, rm->man.number, &last);
	if (r == 0 && last > rm->man.number)
		return settle_newer(rm, last);
	if (r < 0 && r != -ENOENT)
		return r;
	rm->checked_ns = now;
	return rm->attempted ? finish_attempt(rm) : 0;
}

/* --- packs --- */

struct pack_list {
	struct pack_info *p;
	size_t n, cap;
};

static int list_pack(void *arg, const struct pack_info *info)
{
	struct pack_list *l = arg;

	if (l->n == l->cap) {
		size_t cap = l->cap ? 2 * l->cap : 64;
		struct pack_info *more = reallocarray(l->p, cap, sizeof(*more));

		if (!more)
			return -ENOMEM;
		l->p = more;
		l->cap = cap;
	}
	l->p[l->n++] = *info;
	return 0;
}

static bool in_manifest(const struct remote *rm, const struct pack_info *info)
{
	const struct manifest_pack *p = manifest_find_pack(&rm->man, info->pack);

	return p && !p->lost && !memcmp(p->id, info->id, sizeof(p->id));
}

/* In the bucket, or given up. */
static bool is_done(const struct remote *rm, const struct pack_info *info)
{
	const struct remote_done *d = htab_get(&rm->done, info->pack);

	return info->remote || in_manifest(rm, info) ||
	       (d && (d->poisoned || !memcmp(d->id, info->id, sizeof(d->id))));
}

/* What a manifest put now says of the pack's bytes. */
static enum pack_lost lost_now(const struct remote *rm, const struct pack_info *info)
{
	const struct remote_done *d = htab_get(&rm->done, info->pack);

	if (info->lost)
		return info->lost;
	return is_done(rm, info) && !(d && d->poisoned) ? PACK_THERE : PACK_NOT_UPLOADED;
}

static int note_done(struct remote *rm, const struct pack_info *info, bool poisoned)
{
	struct remote_done *d = htab_get(&rm->done, info->pack);
	int r;

	if (!d) {
		d = calloc(1, sizeof(*d));
		if (!d)
			return -ENOMEM;
		r = htab_put(&rm->done, info->pack, d);
		if (r < 0) {
			free(d);
			return r;
		}
	}
	d->poisoned = poisoned;
	memcpy(d->id, info->id, sizeof(d->id));
	return 0;
}

static int give_up_pack(struct remote *rm, const struct pack_info *info)
{
	event_raise(rm->fs, "remote-pack-unreadable", 0,
		    "pack %010" PRIx64
		    " can't be read and is not uploaded: run ropefs-fsck "
		    "on the unmounted store",
		    info->pack);
	return note_done(rm, info, true);
}

struct pack_body {
	struct io_file *file;
	int failed; /* what the disk said */
};

static int read_pack(void *arg, void *p, size_t n, uint64_t off)
{
	struct pack_body *b = arg;
	int r = io_pread_all(b->file, p, n, off);

	if (r < 0)
		b->failed = r;
	return r;
}

/* The hash of the file's footer: it may be another pack than the one listed by now. */
static int file_id(struct io_file *file, uint64_t bytes, uint8_t ret[PACK_ID_BYTES])
{
	uint8_t footer[216], hash[32];
	int r;

	if (bytes < sizeof(footer))
		return -E_CORRUPT;
	r = io_pread_all(file, footer, sizeof(footer), bytes - sizeof(footer));
	hash256(span_of(footer, sizeof(footer)), hash);
	memcpy(ret, hash, PACK_ID_BYTES);
	return r;
}

/* -ESTALE: the pack is another one by now, or gone. */
static int put_pack(struct remote *rm, const struct pack_info *info)
{
	struct object_key key = key_of(rm->instance, 'p', info->pack, info->id);
	_cleanup_(io_closep) struct io_file *file = NULL;
	uint8_t id[PACK_ID_BYTES];
	struct pack_body pb = { 0 };
	struct object_body body = { 0, read_pack, &pb };
	uint64_t there;
	int r;

	if (info->damaged)
		return give_up_pack(rm, info);
	r = packs_open_file(rm->fs->packs, info->pack, &file);
	if (r == 0)
		r = io_size(file, &body.bytes);
	if (r == 0)
		r = file_id(file, body.bytes, id);
	if (r == -ENOENT || (r == 0 && memcmp(id, info->id, sizeof(id))))
		return -ESTALE;
	if (r < 0)
		return give_up_pack(rm, info);
	pb.file = file;
	/* Before a crash it may have gone up whole. */
	r = rm->map_trusted ? -ENOENT : object_head(rm->up.os, key.text, &there);
	if (r != 0 || there != body.bytes)
		r = r == 0 || r == -ENOENT ? object_put(rm->up.os, key.text, &body, 0)
					   : r;
	if (pb.failed)
		return give_up_pack(rm, info);
	return r < 0 ? r : note_done(rm, info, false);
}

/* It is still to go up. */
static bool waits(const struct remote *rm, const struct pack_info *info)
{
	return lane_rank(info->lane) < LANE_RANKS && !is_done(rm, info);
}

static void tell_backlog(struct remote *rm, const struct pack_list *l)
{
	uint64_t packs = 0, bytes = 0;

	for (size_t i = 0; i < l->n; i++)
		if (waits(rm, &l->p[i])) {
			packs++;
			bytes += l->p[i].file_bytes;
		}
	lock_take(&rm->lock);
	rm->packs_left = packs;
	rm->bytes_left = bytes;
	lock_drop(&rm->lock);
}

/* Those up to the rank, one rank after the other. Returns how many. */
static int put_packs(struct remote *rm, const struct pack_list *l, unsigned rank)
{
	int r = 0, n = 0;

	for (unsigned k = 0; k <= rank; k++)
		for (size_t i = 0; i < l->n; i++) {
			if (atomic_load(&rm->cancel))
				return -ECANCELED;
			if (lane_rank(l->p[i].lane) != k || !waits(rm, &l->p[i]))
				continue;
			r = put_pack(rm, &l->p[i]);
			if (r < 0)
				return r;
			n++;
			tell_backlog(rm, l);
		}
	return n;
}

static bool any_waits(const struct remote *rm, const struct pack_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		if (waits(rm, &l->p[i]))
			return true;
	return false;
}

/* --- the state to commit --- */

struct held {
	struct page_state pages;
	struct pack_list packs;
};

static int hold(struct remote *rm, struct held *h)
{
	struct ropefs *fs = rm->fs;
	int r;

	lock_take(&fs->checkpoint);
	r = pagefile_hold(fs->pf, &h->pages);
	if (r == 0) {
		remote_note_changed(rm, &h->pages);
		r = packs_each(fs->packs, list_pack, &h->packs);
		if (r < 0)
			pagefile_unhold(fs->pf);
	}
	lock_drop(&fs->checkpoint);
	if (r < 0)
		page_state_release(&h->pages);
	return r;
}

static void unhold(struct remote *rm, struct held *h)
{
	lock_take(&rm->fs->checkpoint);
	pagefile_unhold(rm->fs->pf);
	lock_drop(&rm->fs->checkpoint);
	page_state_release(&h->pages);
	free(h->packs.p);
	h->packs = (struct pack_list) { 0 };
}

/* The packs of the next manifest, and those of the last one that it leaves out. */
static int next_packs(struct remote *rm, const struct pack_list *l, struct manifest *next)
{
	next->packs = calloc(l->n + 1, sizeof(*next->packs));
	next->drops =
		calloc(rm->man.n_packs + rm->man.n_segments + 1, sizeof(*next->drops));
	if (!next->packs || !next->drops)
		return -ENOMEM;
	for (size_t i = 0; i < l->n; i++) {
		const struct pack_info *info = &l->p[i];
		struct manifest_pack *p = &next->packs[next->n_packs];

		*p = (struct manifest_pack) { .pack = info->pack,
					      .bytes = info->file_bytes,
					      .stored = info->stored_bytes,
					      .chunks = info->chunks,
					      .rewrites = info->rewrites,
					      .lane = info->lane,
					      .lost = (uint8_t)lost_now(rm, info) };
		memcpy(p->id, info->id, sizeof(p->id));
		next->n_packs++;
	}
	for (size_t i = 0; i < rm->man.n_packs; i++) {
		const struct manifest_pack *old = &rm->man.packs[i];
		const struct manifest_pack *now = manifest_find_pack(next, old->pack);
		struct manifest_drop *d = &next->drops[next->n_drops];

		if (old->lost || (now && !memcmp(now->id, old->id, sizeof(now->id))))
			continue;
		*d = (struct manifest_drop) { 'p', old->pack, { 0 } };
		memcpy(d->id, old->id, sizeof(d->id));
		next->n_drops++;
	}
	return 0;
}

static int next_manifest(struct remote *rm, struct held *h, struct manifest *next)
{
	int r;

	*next = (struct manifest) {
		.number = rm->man.number + 1,
		.epoch = rm->cfg.epoch,
		.oldest = rm->oldest,
		.time_ns = io_real_ns(rm->fs->io),
		.next_segment = rm->man.next_segment,
	};
	memcpy(next->writer, rm->cfg.writer, sizeof(next->writer));
	memcpy(next->prev_hash, rm->man_hash, sizeof(next->prev_hash));
	memcpy(next->state, h->pages.id, sizeof(next->state));
	memcpy(next->super, h->pages.super, sizeof(next->super));
	r = next_packs(rm, &h->packs, next);
	return r < 0 ? r : remote_put_pages(rm, &h->pages, next);
}

static void committed(struct remote *rm, uint64_t lsn)
{
	lock_take(&rm->lock);
	rm->committed_lsn = MAX(rm->committed_lsn, lsn);
	rm->committed_ns = io_real_ns(rm->fs->io);
	rm->packs_left = rm->bytes_left = 0;
	lock_drop(&rm->lock);
}

static void forget_done(struct remote *rm)
{
	struct htab_slot *slot;
	size_t at = 0;

	while ((slot = htab_next(&rm->done, &at))) {
		struct remote_done *d = slot->value;
		const struct manifest_pack *p = manifest_find_pack(&rm->man, slot->key);

		if (d->poisoned || !p)
			continue;
		free(d);
		htab_del(&rm->done, slot->key);
		at = 0;
	}
}

static bool still_needed(const struct manifest *m, const struct manifest_drop *d)
{
	const struct manifest_pack *p;

	if (d->kind == 'p') {
		p = manifest_find_pack(m, d->number);
		return p && !memcmp(p->id, d->id, sizeof(p->id));
	}
	for (size_t i = 0; i < m->n_segments; i++)
		if (m->segments[i].number == d->number &&
		    !memcmp(m->segments[i].hash, d->id, sizeof(d->id)))
			return true;
	return false;
}

/* Removes what m no longer needs, and the last manifest neither. */
static int remove_dropped(struct remote *rm, const struct manifest *m)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < m->n_drops; i++) {
		const struct manifest_drop *d = &m->drops[i];

		if (MUTANT(DROPPED_EARLY) || !still_needed(&rm->man, d))
			r = object_del(
				rm->up.os,
				key_of(rm->instance, d->kind, d->number, d->id).text);
	}
	return r;
}

static int commit(struct remote *rm, struct held *h)
{
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	struct ropefs *fs = rm->fs;
	struct manifest next;
	int r;

	r = next_manifest(rm, h, &next);
	if (r == 0)
		r = manifest_encode(&next, fs->io, fs->keys, &bytes);
	/* So that a later try, or the next life, knows its own manifest. */
	if (r == 0) {
		rm->attempted = true;
		r = io_publish(fs->io, NEXT_NAME, bytes.p, bytes.n);
	}
	if (r == 0 && MUTANT(DROPPED_EARLY))
		r = remove_dropped(rm, &next);
	if (r == 0)
		r = create(rm, &next, buf_span(&bytes));
	if (r == -EEXIST)
		r = fence(rm, next.number);
	if (r == 0)
		r = adopt(rm, &next, buf_span(&bytes));
	manifest_release(&next);
	if (r < 0)
		return r;
	remote_map_save(rm);
	forget_done(rm);
	return 0;
}

/* The last manifest says all that one put now would. */
static bool nothing_new(const struct remote *rm, const struct held *h)
{
	if (!rm->man.number || memcmp(h->pages.id, rm->man.state, sizeof(h->pages.id)))
		return false;
	for (size_t i = 0; i < h->packs.n; i++) {
		const struct pack_info *info = &h->packs.p[i];
		const struct manifest_pack *p = manifest_find_pack(&rm->man, info->pack);

		if (!p || memcmp(p->id, info->id, sizeof(p->id)) ||
		    p->lost != lost_now(rm, info))
			return false;
	}
	return true;
}

/* One try: -ESTALE when packs were removed or rewritten meanwhile. A manifest that comes
 * before the last rank says of later packs that they are not there yet. */
static int put_state(struct remote *rm, unsigned rank)
{
	struct held h = { 0 };
	int r = hold(rm, &h);

	if (r < 0)
		return r;
	r = put_packs(rm, &h.packs, rank);
	if (r >= 0)
		r = nothing_new(rm, &h) ? 0 : commit(rm, &h);
	if (r == 0 && !any_waits(rm, &h.packs))
		committed(rm, h.pages.lsn);
	unhold(rm, &h);
	return r;
}

/* --- what nobody needs any more --- */

/* Removes the oldest manifest with what only it and those before it needed, once the one after
 * it is keep_s old. Returns 1 when it did, 0 when it is not time. */
static int remove_oldest(struct remote *rm)
{
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	uint64_t now = io_real_ns(rm->fs->io);
	struct manifest after = { 0 };
	int r;

	if (rm->oldest >= rm->man.number || now < rm->oldest_due_ns)
		return 0;
	r = remote_get_manifest(rm->up.os, rm->instance, rm->oldest + 1, rm->fs->keys,
				&bytes, &after);
	if (r < 0 && r != -ENOENT)
		return r;
	rm->oldest_due_ns = after.time_ns + rm->cfg.keep_s * SECOND_NS;
	if (r == 0 && now < rm->oldest_due_ns) {
		manifest_release(&after);
		return 0;
	}
	r = remove_dropped(rm, &after);
	if (r == 0)
		r = object_del(rm->up.os, key_manifest(rm->instance, rm->oldest).text);
	manifest_release(&after);
	if (r < 0)
		return r;
	rm->oldest++;
	rm->oldest_due_ns = 0;
	return 1;
}

/* --- eviction --- */

static uint64_t over_limit(struct remote *rm)
{
	struct packs_stats ps;
	struct io_space space = { 0 };
	uint64_t over = 0;

	packs_get_stats(rm->fs->packs, &ps);
	if (rm->cfg.local_bytes && ps.file_bytes > rm->cfg.local_bytes)
		over = ps.file_bytes - rm->cfg.local_bytes;
	if (rm->cfg.min_free_bytes && rm->fs->io->ops->space(rm->fs->io, &space) >= 0 &&
	    space.free_bytes < rm->cfg.min_free_bytes)
		over = MAX(over, rm->cfg.min_free_bytes - space.free_bytes);
	return over;
}

/* What goes up last leaves first; then the oldest. */
static int leaves_before(const void *a, const void *b)
{
	const struct pack_info *x = a, *y = b;
	unsigned xr = lane_rank(x->lane), yr = lane_rank(y->lane);

	if (xr != yr)
		return xr > yr ? -1 : 1;
	return x->pack < y->pack ? -1 : x->pack > y->pack;
}

/* Packs that the committed manifest names leave. */
static int evict(struct remote *rm)
{
	struct pack_list l = { 0 };
	uint64_t over = over_limit(rm);
	int r = over ? packs_each(rm->fs->packs, list_pack, &l) : 0;

	if (l.n)
		qsort(l.p, l.n, sizeof(*l.p), leaves_before);

	for (size_t i = 0; r == 0 && over && i < l.n; i++) {
		if (l.p[i].remote || lane_pinned(l.p[i].lane) ||
		    !in_manifest(rm, &l.p[i]))
			continue;
		/* A collection may rewrite it: not at the same time. */
		lock_take(&rm->fs->checkpoint);
		r = packs_evict(rm->fs->packs, l.p[i].pack, l.p[i].id);
		lock_drop(&rm->fs->checkpoint);
		if (r == -ESTALE || r == -ENOENT) {
			r = 0;
			continue;
		}
		if (r < 0)
			break;
		over -= MIN(over, l.p[i].file_bytes);
		lock_take(&rm->lock);
		rm->evicted++;
		lock_drop(&rm->lock);
	}
	free(l.p);
	over = over_limit(rm);
	lock_take(&rm->lock);
	rm->full = r == 0 && over > rm->fs->hot_soft;
	lock_drop(&rm->lock);
	return r;
}

/* --- a cycle --- */

static int first_look(struct remote *rm)
{
	_cleanup_(buf_release) struct buf header = BUF_INIT;
	struct remote_way way;
	int r;

	if (!rm->up.os) {
		r = remote_way_open(rm, true, &way);
		if (r < 0)
			return r;
		lock_take(&rm->lock); /* status looks at its meter */
		rm->up = way;
		lock_drop(&rm->lock);
	}
	if (rm->checked_ns)
		return 0;
	r = remote_file_read(rm->fs->io, "ropefs", &header);
	return r < 0 ? r
		     : remote_put_bytes(rm->up.os, key_header(rm->instance).text,
					buf_span(&header), 0);
}

/* What of the rank waits, and then a manifest, if it is the last or others wait longer. */
static int upload_rank(struct remote *rm, unsigned rank)
{
	struct pack_list l = { 0 };
	bool more = true;
	int r = -ESTALE;

	/* Most packs go up while nothing is held. */
	for (unsigned i = 0; i < HOLD_TRIES && r == -ESTALE; i++) {
		l.n = 0;
		r = packs_each(rm->fs->packs, list_pack, &l);
		if (r == 0)
			r = put_packs(rm, &l, rank);
		more = any_waits(rm, &l);
	}
	free(l.p);
	if (r == -ESTALE)
		r = 1;
	if (rank == LANE_RANKS - 1 || (r > 0 && more))
		r = put_state(rm, rank);
	return r == -ESTALE ? -EAGAIN : MIN(r, 0);
}

static int upload(struct remote *rm)
{
	int r = 0;

	for (unsigned rank = 0; r == 0 && rank < LANE_RANKS; rank++)
		r = upload_rank(rm, rank);
	return r;
}

int remote_cycle(struct remote *rm)
{
	int r, left;

	err_clear();
	r = first_look(rm);
	if (r == 0)
		r = check_writer(rm);
	if (r == 0)
		r = upload(rm);
	for (unsigned i = 0; r == 0 && i < REMOVE_STEPS; i++) {
		r = remove_oldest(rm);
		if (r <= 0)
			break;
		r = 0;
	}
	/* What the bucket has may leave even when it does not answer now. */
	left = evict(rm);
	return r < 0 ? r : left;
}
