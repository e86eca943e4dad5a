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

/* Nothing newer is there; our own last one must be. Else this is another bucket (a folder on which
 * nothing is mounted), or an older state of it: a manifest put there would name what it lacks. */
static int check_same_bucket(struct remote *rm)
{
	struct object_key key = key_manifest(rm->instance, rm->man.number);
	uint64_t size;
	int r;

	if (!rm->man.number)
		return 0;
	r = object_head(rm->up.os, key.text, &size);
	if (r != -ENOENT)
		return r;
	return err_set(
		E_CORRUPT,
		"manifest %" PRIu64 ", the last that was put, is not in %s: is what "
		"belongs there mounted? Else it was put back to an older state, or "
		"somebody removes from it: ropectl verify says what is missing, and "
		"with --repair puts it again. Nothing goes up until it is there",
		rm->man.number, rm->cfg.url);
}

bool remote_is_folder(const struct remote *rm)
{
	return !strncmp(rm->cfg.url, "file://", strlen("file://"));
}

/* Manifests are removed from the oldest on. So where our own is there, and the next is not, nobody
 * has put one; where ours is gone somebody may be far ahead. */
int remote_find_newer(struct remote *rm, uint64_t *ret_number)
{
	uint64_t mine = rm->man.number, bytes;
	int r;

	if (!mine)
		return remote_find_last(rm->up.os, rm->instance, 0, ret_number);
	r = object_head(rm->up.os, key_manifest(rm->instance, mine + 1).text, &bytes);
	if (r == 0)
		*ret_number = mine + 1;
	if (r != -ENOENT)
		return r;
	r = object_head(rm->up.os, key_manifest(rm->instance, mine).text, &bytes);
	if (r == -ENOENT)
		return remote_find_last(rm->up.os, rm->instance, mine, ret_number);
	return r < 0 ? r : -ENOENT;
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
		return remote_is_folder(rm) ? check_same_bucket(rm)
					    : 0; /* costs nothing */
	r = remote_find_newer(rm, &last);
	if (r == 0 && last > rm->man.number)
		return settle_newer(rm, last);
	if (r < 0 && r != -ENOENT)
		return r;
	r = check_same_bucket(rm);
	if (r < 0)
		return r;
	rm->checked_ns = now;
	return rm->attempted ? finish_attempt(rm) : 0;
}

/* --- the state to commit --- */

struct held {
	uint64_t frozen_ns;
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
		h->frozen_ns = fs->checkpointed_ns - fs->checkpoint_last_ns;
		remote_note_changed(rm, &h->pages);
		r = packs_each(fs->packs, pack_list_add, &h->packs);
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
					      .lost = (uint8_t)remote_pack_lost(rm,
										info) };
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

static void committed(struct remote *rm, const struct held *h)
{
	rm->covered_ns = h->frozen_ns;
	lock_take(&rm->lock);
	rm->committed_lsn = MAX(rm->committed_lsn, h->pages.lsn);
	rm->committed_ns = io_real_ns(rm->fs->io);
	/* Whoever waited for this is told before the cycle ends. */
	rm->last_error[0] = '\0';
	rm->packs_left = rm->bytes_left = 0;
	lock_drop(&rm->lock);
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
	rm->strays = rm->unanswered = false;
	remote_map_save(rm);
	remote_forget_done(rm);
	return 0;
}

/* The last manifest says all that one put now would. */
static bool nothing_new(const struct remote *rm, const struct held *h)
{
	for (size_t i = 0; i < rm->man.n_segments; i++)
		if (rm->man.segments[i].harmed)
			return false;
	if (!rm->man.number || memcmp(h->pages.id, rm->man.state, sizeof(h->pages.id)))
		return false;
	for (size_t i = 0; i < h->packs.n; i++) {
		const struct pack_info *info = &h->packs.p[i];
		const struct manifest_pack *p = manifest_find_pack(&rm->man, info->pack);

		if (!p || memcmp(p->id, info->id, sizeof(p->id)) ||
		    p->lost != remote_pack_lost(rm, info))
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
	r = remote_put_packs(rm, &h.packs, rank);
	if (r >= 0)
		r = nothing_new(rm, &h) ? 0 : commit(rm, &h);
	if (r == 0 && remote_is_whole(rm, &h.packs))
		committed(rm, &h);
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
	if (r < 0 && r != -ENOENT && r != -E_CORRUPT)
		return r;
	/* What a damaged one dropped nobody knows any more: it is found as orphans are. */
	rm->orphans_wanted |= r == -E_CORRUPT;
	if (r == -E_CORRUPT && !rm->oldest_due_ns) {
		rm->oldest_due_ns = now + rm->cfg.keep_s * SECOND_NS;
		return 0;
	}
	if (r != -E_CORRUPT)
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

/* --- a cycle --- */

int remote_open_up(struct remote *rm)
{
	struct remote_way way;
	int r;

	if (rm->up.os)
		return 0;
	r = remote_way_open(rm, WAY_UP, &way);
	if (r < 0)
		return r;
	lock_take(&rm->lock); /* status looks at its meter */
	rm->up = way;
	lock_drop(&rm->lock);
	return 0;
}

/* What is mounted there later is another folder: it is opened anew. */
void remote_close_up(struct remote *rm)
{
	struct object_counts counts;
	struct remote_way way;

	lock_take(&rm->lock);
	way = rm->up;
	rm->up = (struct remote_way) { 0 };
	if (way.meter) {
		object_meter_read(way.meter, &counts);
		object_counts_add(&rm->up_before, &counts);
	}
	lock_drop(&rm->lock);
	remote_way_close(&way);
	rm->checked_ns = 0; /* nothing is put before it is known whose it is */
}

int remote_put_header(struct remote *rm, struct object_store *os)
{
	struct object_key key = key_header(rm->instance);
	_cleanup_(buf_release) struct buf there = BUF_INIT;
	uint8_t header[HEADER_FILE_BYTES];
	bool same;
	int r;

	/* As it was when it verified, not as its file may be by now. */
	header_encode(&rm->fs->header, header);
	for (unsigned tries = 0; tries < 1 + WRONG_TRIES; tries++) {
		there.n = 0;
		r = object_get(os, key.text, (struct object_range) { 0, 0 }, &there);
		same = r == 0 && there.n == sizeof(header) &&
		       !memcmp(there.p, header, sizeof(header));
		if (same || (r < 0 && r != -ENOENT))
			return r;
		r = remote_put_bytes(os, key.text, span_of(header, sizeof(header)), 0);
		if (r < 0)
			return r;
	}
	return err_set(E_REMOTE, "%s in %s is never what was put there", key.text,
		       rm->cfg.url);
}

/* Nothing is put before it is known that this is our bucket; then, once an opening, the header. */
static int first_look(struct remote *rm)
{
	bool first = !rm->checked_ns;
	int r = check_writer(rm);

	if (r == 0 && first)
		r = remote_put_header(rm, rm->up.os);
	if (r < 0 && first)
		rm->checked_ns = 0;
	if (r == -E_CORRUPT)
		remote_close_up(rm);
	return r;
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
		r = packs_each(rm->fs->packs, pack_list_add, &l);
		if (r == 0)
			r = remote_put_packs(rm, &l, rank);
		more = remote_waits(rm, &l);
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
	int r;

	err_clear();
	if (rm->retry_refused)
		remote_retry_refused(rm);
	r = remote_open_up(rm);
	if (r == 0)
		r = first_look(rm);
	if (r == 0)
		r = remote_take_harmed(rm);
	if (r == 0)
		r = upload(rm);
	if (r == 0)
		remote_mended(rm);
	rm->orphans_wanted |= r < 0 && rm->strays;
	for (unsigned i = 0; r == 0 && i < REMOVE_STEPS; i++) {
		r = remove_oldest(rm);
		if (r <= 0)
			break;
		r = 0;
	}
	if (r == 0)
		r = remote_thin(rm);
	if (r == 0)
		r = remote_orphans(rm);
	if (r == 0)
		r = remote_look_at_objects(rm);
	/* A disk that is unmounted, and mounted again. */
	if (r == -E_REMOTE_AWAY && remote_is_folder(rm))
		remote_close_up(rm);
	return r < 0 ? r : remote_evict(rm);
}
