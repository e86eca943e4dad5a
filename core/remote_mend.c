/* remote_mend.c - objects that the last manifest names and that the bucket lost: removed by
 * somebody, or with other bytes by now.
 *
 *	found (verify, the listing of a first upload, before a pack leaves) ─▶ told here
 *	    ─▶ the next cycle: the pack is put again if it is still here; a segment's pages are as
 *	    good as nowhere, so that they go up in another one ─▶ the next manifest
 *
 * What is only there is not: verify names the files. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "core/base/err.h"
#include "core/remote_priv.h"

static int note_locked(struct remote *rm, struct span harmed)
{
	assert(lock_held(&rm->lock));
	rm->kicked = true;
	pthread_cond_broadcast(&rm->wake);
	return buf_append(&rm->harmed, harmed.p, harmed.n);
}

int remote_note_harmed(struct remote *rm, struct span harmed)
{
	int r;

	lock_take(&rm->lock);
	r = note_locked(rm, harmed);
	lock_drop(&rm->lock);
	return r;
}

/* --- the uploader's part --- */

static void take_segment(struct remote *rm, const struct harmed *h)
{
	for (size_t i = 0; i < rm->man.n_segments; i++) {
		struct manifest_segment *s = &rm->man.segments[i];

		s->harmed |=
			s->number == h->number && !memcmp(s->hash, h->id, sizeof(h->id));
	}
}

static int take_pack(struct remote *rm, const struct harmed *h)
{
	for (size_t i = 0; i < rm->man.n_packs; i++) {
		struct manifest_pack *p = &rm->man.packs[i];

		if (p->pack != h->number || memcmp(p->id, h->id, sizeof(p->id)) != 0)
			continue;
		/* Else nothing can be done, and it may come back. */
		if (!packs_is_remote(rm->fs->packs, p->pack))
			p->lost = PACK_NOT_UPLOADED;
	}
	return remote_forget_put(rm, h);
}

int remote_take_harmed(struct remote *rm)
{
	_cleanup_(buf_release) struct buf mine = BUF_INIT;
	int r = 0;

	lock_take(&rm->lock);
	buf_swap(&mine, &rm->harmed);
	rm->mending |= mine.n > 0;
	lock_drop(&rm->lock);
	for (size_t at = 0; r == 0 && at < mine.n; at += sizeof(struct harmed)) {
		const struct harmed *h = (const void *)(mine.p + at);

		if (h->kind == 's')
			take_segment(rm, h);
		else if (h->kind == 'p')
			r = take_pack(rm, h);
	}
	return r;
}

void remote_mended(struct remote *rm)
{
	lock_take(&rm->lock);
	rm->mending = false;
	lock_drop(&rm->lock);
}

/* --- who waits for it --- */

#define ERRORS_MAX 2u

int remote_mend(struct remote *rm, struct span harmed)
{
	uint64_t errors;
	int r;

	lock_take(&rm->lock);
	rm->mend_waits++; /* before it is told: the hour is not waited for */
	errors = rm->cycle_errors;
	r = note_locked(rm, harmed);
	while (r == 0 && (rm->harmed.n || rm->mending) && !rm->ended && !rm->stopping &&
	       !atomic_load(&rm->verify_cancel) && rm->cycle_errors < errors + ERRORS_MAX)
		lock_wait(&rm->lock, &rm->done_cond, 0);
	rm->mend_waits--;
	if (r == 0 && rm->ended)
		r = rm->ended;
	else if (r == 0 && rm->stopping)
		r = -ESHUTDOWN;
	else if (r == 0 && atomic_load(&rm->verify_cancel))
		r = -ECANCELED;
	else if (r == 0 && rm->cycle_errors >= errors + ERRORS_MAX)
		r = -E_REMOTE_AWAY;
	if (r < 0 && *rm->last_error)
		err_set(-r, "%s", rm->last_error);
	lock_drop(&rm->lock);
	return r;
}
