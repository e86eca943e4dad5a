/* remote_watch.c - somebody looks on: whoever reads a store from its bucket says so there, and its
 * writer uploads at short intervals as long as that is true.
 *
 *	a follower that is read from ─▶ puts ID/w: a time to come, sealed. Again before it is over
 *	the writer, while something waits to go up ─▶ gets ID/w now and then ─▶ until that time its
 *	    uploads are live_s apart
 *
 * Both go by the clock of whoever keeps the objects, so that their own may be wrong. What is
 * sealed was made by a holder of the store's key, and an old one that is put back is over. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/base/err.h"
#include "core/base/le.h"
#include "core/keys/sealed_file.h"
#include "core/remote_priv.h"

#define SECOND_NS      UINT64_C(1000000000)
#define USED_S	       60u /* after a read the reader is thought to be there */
#define VALID_S	       90u /* of what a follower says */
#define RENEW_S	       40u
#define DENIED_PAUSE_S 600u /* until a bucket that refuses it is asked again */
#define BELIEVED_S     180 /* of a time to come at most */
#define WRONG_CLOCK_S  10

/* The text of the object, sealed as sealed_file.h shows. */
struct watch_text {
	le64 until_s; /* since 1970 */
};
static_assert(sizeof(struct watch_text) == 8, "a watch is 8 bytes in the bucket");

static const struct sealed_kind kind = { "w", "ROPEWTCH", KEY_WATCH,
					 sizeof(struct watch_text) };

/* Until when somebody looks on, by the bucket's clock. -ENOENT; -EBADMSG: it is none of ours. */
static int get_watch(struct remote *rm, struct object_store *os, int64_t *ret_until_s)
{
	struct object_key key = key_watch(rm->instance);
	_cleanup_(buf_release) struct buf b = BUF_INIT;
	struct watch_text text;
	int r = object_get(os, key.text, (struct object_range) { 0, 0 }, &b);

	if (r == 0)
		r = sealed_open(rm->fs->keys, &kind, &b);
	if (r == 0 && b.n != sizeof(text))
		r = -EBADMSG;
	if (r < 0)
		return r;
	memcpy(&text, b.p, sizeof(text));
	*ret_until_s = (int64_t)le64_get(text.until_s);
	return 0;
}

/* --- the writer --- */

bool remote_is_watched(const struct remote *rm)
{
	return io_mono_ns(rm->fs->io) < atomic_load(&rm->watched_ns);
}

/* Uploads are as often anyway, or it is not wanted. */
static bool is_off(const struct remote *rm)
{
	const struct remote_config *c = &rm->cfg;

	return !c->live_s || MAX(c->interval_s, c->interval_most_s) <= c->live_s;
}

static bool something_waits(struct remote *rm)
{
	struct ropefs *fs = rm->fs;
	uint64_t last;

	lock_take(&fs->engine);
	last = fs->wal ? wal_last_lsn(fs->wal) : 0;
	lock_drop(&fs->engine);
	return remote_is_behind(rm, last);
}

/* Before an upload went well it is not known whose bucket it is; in other hours nothing may go. */
static bool may_look(struct remote *rm)
{
	return rm->up.meter && rm->checked_ns && !rm->fails &&
	       remote_hours_open(rm->cfg.upload_hours, io_real_ns(rm->fs->io));
}

uint64_t remote_next_look(const struct remote *rm)
{
	return is_off(rm) ? UINT64_MAX : rm->look_ns;
}

bool remote_look_for_watch(struct remote *rm)
{
	uint64_t now = io_mono_ns(rm->fs->io);
	bool was = remote_is_watched(rm);
	int64_t until_s, left = 0;

	rm->look_ns = now + rm->cfg.look_s * SECOND_NS;
	if (!may_look(rm) || (!was && !something_waits(rm)))
		return false;
	/* One try: the next look comes soon. */
	if (get_watch(rm, rm->up.meter, &until_s) == 0)
		left = until_s - object_now_s(rm->up.meter);
	left = MIN(left, (int64_t)BELIEVED_S);
	atomic_store(&rm->watched_ns, left > 0 ? now + (uint64_t)left * SECOND_NS : 0);
	err_clear();
	return left > 0 && !was;
}

uint64_t remote_interval_ns(const struct remote *rm, uint64_t seconds)
{
	if (remote_is_watched(rm))
		seconds = MIN(seconds, rm->cfg.live_s);
	return seconds * SECOND_NS;
}

/* --- a follower --- */

bool remote_is_used(struct remote *rm)
{
	struct ropefs *fs = rm->fs;
	uint64_t used = atomic_load(&rm->used_ns);
	bool follows;

	lock_take(&fs->engine);
	follows = fs->watched.n > 0;
	lock_drop(&fs->engine);
	return follows || (used && io_mono_ns(fs->io) < used + USED_S * SECOND_NS);
}

void remote_note_use(struct ropefs *fs)
{
	struct remote *rm = fs->remote;
	uint64_t now, before;

	if (!rm || !rm->follow)
		return;
	now = io_mono_ns(fs->io);
	before = atomic_exchange(&rm->used_ns, now);
	if (before && now < before + USED_S * SECOND_NS)
		return;
	/* It looked but seldom meanwhile. */
	lock_take(&rm->lock);
	rm->kicked = true;
	pthread_cond_broadcast(&rm->wake);
	lock_drop(&rm->lock);
}

static int put_watch(struct remote *rm, struct object_store *os)
{
	struct object_key key = key_watch(rm->instance);
	_cleanup_(buf_release) struct buf b = BUF_INIT;
	struct watch_text text = {
		.until_s = le64_put((uint64_t)(object_now_s(os) + VALID_S)),
	};
	int r = sealed_make(rm->fs->io, rm->fs->keys, &kind, span_of(&text, sizeof(text)),
			    &b);

	return r < 0 ? r : remote_put_bytes(os, key.text, buf_span(&b), 0);
}

/* Says so, if no other follower just did. */
static int say_it(struct remote *rm, struct object_store *os)
{
	int64_t until_s, before;
	int r = get_watch(rm, os, &until_s);

	if (r == 0 && until_s >= object_now_s(os) + (int64_t)(VALID_S - RENEW_S) &&
	    until_s <= object_now_s(os) + (int64_t)VALID_S)
		return 0;
	before = object_now_s(os);
	r = put_watch(rm, os);
	/* The first answer of a folder may be the one that tells the time there. */
	if (r == 0 && llabs((long long)(object_now_s(os) - before)) > WRONG_CLOCK_S)
		r = put_watch(rm, os);
	return r;
}

void remote_announce(struct remote *rm)
{
	uint64_t now = io_mono_ns(rm->fs->io);
	bool says = rm->cfg.live_s && remote_is_used(rm);
	int r;

	lock_take(&rm->lock);
	rm->announced &= says;
	lock_drop(&rm->lock);
	if (!says || now < rm->look_ns)
		return;
	err_clear();
	r = say_it(rm, rm->up.meter);
	rm->look_ns =
		now + (r == -E_REMOTE_DENIED ? DENIED_PAUSE_S : RENEW_S) * SECOND_NS;
	lock_take(&rm->lock);
	rm->announced = r == 0;
	snprintf(rm->announce_error, sizeof(rm->announce_error), "%s",
		 r == 0		 ? ""
		 : *err_detail() ? err_detail()
				 : err_text(r));
	lock_drop(&rm->lock);
	err_clear();
}
