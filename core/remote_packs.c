/* remote_packs.c - which packs the bucket has, and putting those it lacks. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/base/err.h"
#include "core/remote_priv.h"

#define REFUSALS_MAX	3u /* tries of one pack while other requests succeed */
#define REFUSED_PAUSE_S 86400u /* until it is tried again by itself */
#define SECOND_NS	1000000000u

/* put ─▶ there;  can't be read here ─▶ poisoned;  the bucket takes others, but not this one:
 * refusals grow, at REFUSALS_MAX it is refused until retry_ns or remote_retry(). */
struct remote_done {
	bool there;
	bool harmed; /* the object may be there, but is not what was put */
	bool poisoned; /* it stays out, and is not tried again */
	unsigned refusals;
	uint64_t retry_ns;
	uint8_t id[PACK_ID_BYTES];
};

int pack_list_add(void *arg, const struct pack_info *info)
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

bool remote_has_pack(const struct remote *rm, const struct pack_info *info)
{
	const struct manifest_pack *p = manifest_find_pack(&rm->man, info->pack);

	return p && !p->lost && !memcmp(p->id, info->id, sizeof(p->id));
}

/* In the bucket, or given up. */
static bool is_done(const struct remote *rm, const struct pack_info *info)
{
	const struct remote_done *d = htab_get(&rm->done, info->pack);

	return info->remote || remote_has_pack(rm, info) ||
	       (d &&
		(d->poisoned || (d->there && !memcmp(d->id, info->id, sizeof(d->id)))));
}

/* The bucket does not take it, and it is not time to try again. */
static bool is_refused(const struct remote *rm, const struct pack_info *info)
{
	const struct remote_done *d = htab_get(&rm->done, info->pack);

	return d && d->refusals >= REFUSALS_MAX && io_mono_ns(rm->fs->io) < d->retry_ns &&
	       !is_done(rm, info) && !memcmp(d->id, info->id, sizeof(d->id));
}

/* What a manifest put now says of the pack's bytes. */
enum pack_lost remote_pack_lost(const struct remote *rm, const struct pack_info *info)
{
	const struct remote_done *d = htab_get(&rm->done, info->pack);

	if (info->lost)
		return info->lost;
	return is_done(rm, info) && !(d && d->poisoned) ? PACK_THERE : PACK_NOT_UPLOADED;
}

/* The note of the pack, of these very bytes. NULL: no memory. */
static struct remote_done *note_of(struct remote *rm, const struct pack_info *info)
{
	struct remote_done *d = htab_get(&rm->done, info->pack);

	if (!d) {
		d = calloc(1, sizeof(*d));
		if (d && htab_put(&rm->done, info->pack, d) < 0) {
			free(d);
			return NULL;
		}
	}
	if (d && memcmp(d->id, info->id, sizeof(d->id)) != 0) {
		rm->orphans_wanted |= d->there; /* it was rewritten before it was named */
		*d = (struct remote_done) { 0 };
		memcpy(d->id, info->id, sizeof(d->id));
	}
	return d;
}

static int note_there(struct remote *rm, const struct pack_info *info)
{
	struct remote_done *d = note_of(rm, info);

	if (d) {
		d->there = true;
		d->harmed = false;
	}
	return d ? 0 : -ENOMEM;
}

static bool is_harmed(const struct remote *rm, const struct pack_info *info)
{
	const struct remote_done *d = htab_get(&rm->done, info->pack);

	return d && d->harmed && !memcmp(d->id, info->id, sizeof(d->id));
}

int remote_forget_put(struct remote *rm, const struct harmed *h)
{
	struct pack_info info = { .pack = h->number };
	struct remote_done *d;

	memcpy(info.id, h->id, sizeof(info.id));
	d = note_of(rm, &info);
	if (!d)
		return -ENOMEM;
	d->there = false;
	d->harmed = true;
	return 0;
}

static int give_up_pack(struct remote *rm, const struct pack_info *info)
{
	struct remote_done *d = note_of(rm, info);

	if (!d)
		return -ENOMEM;
	d->poisoned = true;
	event_raise(rm->fs, "remote-pack-unreadable", 0,
		    "pack %010" PRIx64
		    " can't be read and is not uploaded: run ropefs-fsck "
		    "on the unmounted store",
		    info->pack);
	return 0;
}

/* A put failed with r: is it the network, or that object? Returns 0 when it is set aside. */
static int put_failed(struct remote *rm, const struct pack_info *info, int r)
{
	_cleanup_free_ char *why = strdup(*err_detail() ? err_detail() : err_text(r));
	struct remote_done *d;
	uint64_t bytes;

	if (r == -ENOMEM || r == -ECANCELED || r == -E_REMOTE_FULL ||
	    object_head(rm->up.os, key_header(rm->instance).text, &bytes) < 0)
		return r;
	d = note_of(rm, info);
	if (!d || !why)
		return -ENOMEM;
	if (++d->refusals < REFUSALS_MAX)
		return err_set(-r, "%s", why);
	d->retry_ns = io_mono_ns(rm->fs->io) + REFUSED_PAUSE_S * SECOND_NS;
	lock_take(&rm->lock);
	snprintf(rm->refused_why, sizeof(rm->refused_why),
		 "the bucket refuses pack %010" PRIx64 ": %s", info->pack, why);
	lock_drop(&rm->lock);
	event_raise(rm->fs, "remote-refused", 0,
		    "%s; it is tried again in a day, or by: ropectl remote retry",
		    rm->refused_why);
	err_clear();
	return 0;
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
	struct object_body body = { .read = read_pack, .arg = &pb };
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
	r = rm->map_trusted || is_harmed(rm, info)
		    ? -ENOENT
		    : object_head(rm->up.os, key.text, &there);
	rm->unanswered |= r != 0 || there != body.bytes;
	if (r != 0 || there != body.bytes)
		r = r == 0 || r == -ENOENT ? object_put(rm->up.os, key.text, &body, 0)
					   : r;
	if (pb.failed)
		return give_up_pack(rm, info);
	return r < 0 ? put_failed(rm, info, r) : note_there(rm, info);
}

bool remote_pack_waits(const struct remote *rm, const struct pack_info *info)
{
	return lane_rank(info->lane) < LANE_RANKS && !is_done(rm, info) &&
	       !is_refused(rm, info);
}

static void tell_backlog(struct remote *rm, const struct pack_list *l)
{
	uint64_t packs = 0, bytes = 0, refused = 0;

	for (size_t i = 0; i < l->n; i++) {
		if (remote_pack_waits(rm, &l->p[i])) {
			packs++;
			bytes += l->p[i].file_bytes;
		}
		refused += is_refused(rm, &l->p[i]);
	}
	lock_take(&rm->lock);
	rm->refused = refused;
	rm->packs_left = packs;
	rm->bytes_left = bytes;
	lock_drop(&rm->lock);
}

/* Those up to the rank, one rank after the other. Returns how many. */
int remote_put_packs(struct remote *rm, const struct pack_list *l, unsigned rank)
{
	int r = 0, n = 0;

	for (unsigned k = 0; k <= rank; k++)
		for (size_t i = 0; i < l->n; i++) {
			if (lane_rank(l->p[i].lane) != k ||
			    !remote_pack_waits(rm, &l->p[i]))
				continue;
			r = remote_may_go_on(rm);
			if (r == 0)
				r = put_pack(rm, &l->p[i]);
			if (r < 0)
				return r;
			n++;
			tell_backlog(rm, l);
		}
	return n;
}

bool remote_is_whole(const struct remote *rm, const struct pack_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		if (remote_pack_waits(rm, &l->p[i]) || is_refused(rm, &l->p[i]))
			return false;
	return true;
}

void remote_retry_refused(struct remote *rm)
{
	struct htab_slot *slot;
	size_t at = 0;

	while ((slot = htab_next(&rm->done, &at)))
		((struct remote_done *)slot->value)->refusals = 0;
	rm->retry_refused = false;
}

bool remote_waits(const struct remote *rm, const struct pack_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		if (remote_pack_waits(rm, &l->p[i]))
			return true;
	return false;
}

uint64_t remote_bytes_waiting(struct remote *rm)
{
	struct pack_list l = { 0 };
	uint64_t bytes = 0;

	if (packs_each(rm->fs->packs, pack_list_add, &l) < 0)
		l.n = 0; /* then it waits for its time */
	for (size_t i = 0; i < l.n; i++)
		if (remote_pack_waits(rm, &l.p[i]))
			bytes += l.p[i].file_bytes;
	free(l.p);
	return bytes;
}

bool remote_has_strays(const struct remote *rm)
{
	struct htab_slot *slot;
	size_t at = 0;

	while ((slot = htab_next(&rm->done, &at)))
		if (((struct remote_done *)slot->value)->there)
			return true;
	return false;
}

void remote_forget_done(struct remote *rm)
{
	struct htab_slot *slot;
	size_t at = 0;

	while ((slot = htab_next(&rm->done, &at))) {
		struct remote_done *d = slot->value;
		const struct manifest_pack *p = manifest_find_pack(&rm->man, slot->key);

		/* It was put, and then rewritten or removed: nothing names what was put. */
		if (d->there && (!p || memcmp(p->id, d->id, sizeof(p->id)) != 0))
			rm->orphans_wanted = true;
		else if (d->poisoned || !p || p->lost)
			continue;
		free(d);
		htab_del(&rm->done, slot->key);
		at = 0;
	}
}
