/* remote_pace.c - when the uploader has its turns.
 *
 *	a good one   ─▶ interval_s later. While less than a pack waits it is put off: until enough
 *			waits, or what the bucket lacks is interval_most_s old. So that objects are
 *			large, and a slow writer's are few
 *	while somebody looks on (remote_watch.c) ─▶ live_s later, however little waits
 *	a failed one ─▶ after a random time below a bound that doubles (full jitter). While the
 *			bucket can't be reached at all, a request looks now and then: a network,
 *			or a disk, that is back is not left waiting for that time
 *	asked for    ─▶ at once */
#include <errno.h>

#include "core/base/err.h"
#include "core/remote_priv.h"

#define SECOND_NS    UINT64_C(1000000000)
#define ENOUGH_BYTES (PACK_BYTES / 4 * 3u)
#define PART_OF_BYTES                                                                    \
	(ENOUGH_BYTES / 4 * 3u) /* of them in packs: the rest need not be packed */
#define LOOKS_BETWEEN	 4u /* while it is put off */
#define BACKOFF_MAX_S	 300u
#define REACH_S		 15u /* looks at a bucket that can't be reached, to twice that */
#define LEAST_BACKOFF_NS (SECOND_NS / 10)

static uint64_t random_below(struct remote *rm, uint64_t bound)
{
	uint64_t random;

	io_random(rm->fs->io, &random, sizeof(random));
	return random % bound;
}

static uint64_t next_reach(struct remote *rm, uint64_t now)
{
	uint64_t pause = MIN(rm->cfg.interval_s, (uint64_t)REACH_S) * SECOND_NS;

	return MIN(rm->retry_ns, now + pause + random_below(rm, pause));
}

uint64_t remote_next_turn(struct remote *rm)
{
	uint64_t now = io_mono_ns(rm->fs->io), bound;

	if (!rm->fails)
		return now + remote_interval_ns(rm, rm->cfg.interval_s);
	bound = MIN(SECOND_NS << MIN(rm->fails, 9u), BACKOFF_MAX_S * SECOND_NS);
	rm->retry_ns = now + LEAST_BACKOFF_NS + random_below(rm, bound);
	return rm->unreachable ? next_reach(rm, now) : rm->retry_ns;
}

/* --- a bucket that can't be reached --- */

/* One request, once. An empty folder where the bucket's disk was is no answer. */
static bool answers(struct remote *rm)
{
	struct object_key key = rm->man.number
					? key_manifest(rm->instance, rm->man.number)
					: key_header(rm->instance);
	uint64_t bytes;
	int r = remote_open_up(rm);

	if (r == 0)
		r = object_head(rm->up.meter, key.text, &bytes);
	if (r == -ENOENT && remote_is_folder(rm) && rm->man.number)
		r = -E_REMOTE_AWAY;
	if (r == -E_REMOTE_AWAY && remote_is_folder(rm))
		remote_close_up(rm); /* what is mounted there later is another one */
	return r != -E_REMOTE_AWAY && r != -ECANCELED;
}

void remote_note_failure(struct remote *rm, int r)
{
	rm->unreachable = r != -ECANCELED && r != -E_FENCED && !answers(rm);
}

/* --- a turn by time --- */

static uint64_t most_ns(const struct remote *rm)
{
	return remote_interval_ns(rm, MAX(rm->cfg.interval_s, rm->cfg.interval_most_s));
}

static bool is_late(const struct remote *rm, uint64_t now)
{
	return now >= rm->covered_ns + most_ns(rm);
}

/* Whether the bucket lacks something, but not much, and not for long. */
static bool little_waits(struct remote *rm, uint64_t now)
{
	struct ropefs *fs = rm->fs;
	uint64_t last, hot, packs;

	lock_take(&fs->checkpoint); /* while one runs its bytes count twice */
	packs = remote_bytes_waiting(rm);
	lock_take(&fs->engine);
	last = fs->wal ? wal_last_lsn(fs->wal) : 0;
	hot = hot_total(fs->hot);
	lock_drop(&fs->engine);
	lock_drop(&fs->checkpoint);
	if (!packs && !remote_is_behind(rm, last)) {
		rm->covered_ns = now;
		return false;
	}
	return !is_late(rm, now) && packs + hot < ENOUGH_BYTES;
}

bool remote_puts_off(struct remote *rm, uint64_t *ret_next)
{
	uint64_t now = io_mono_ns(rm->fs->io);

	if (rm->fails) {
		if (!rm->unreachable || now >= rm->retry_ns || answers(rm))
			return false;
		*ret_next = next_reach(rm, io_mono_ns(rm->fs->io));
		return true;
	}
	if (most_ns(rm) <= rm->cfg.interval_s * SECOND_NS || !rm->covered_ns ||
	    !little_waits(rm, now))
		return false;
	*ret_next = now + rm->cfg.interval_s * SECOND_NS / LOOKS_BETWEEN;
	return true;
}

bool remote_is_worth_one(struct remote *rm)
{
	uint64_t packs;

	if (is_late(rm, io_mono_ns(rm->fs->io)))
		return false;
	lock_take(&rm->fs->checkpoint); /* one that runs makes some more of them */
	packs = remote_bytes_waiting(rm);
	lock_drop(&rm->fs->checkpoint);
	return packs >= PART_OF_BYTES;
}
