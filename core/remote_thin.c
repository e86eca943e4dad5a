/* remote_thin.c - packs that are only in the bucket and of which less than half lives. A collection
 * asks nothing of the bucket: it notes them with what lives of each. Then the uploader, a few in
 * a cycle:
 *
 *	noted ─▶ what lives is fetched, and the pack is rewritten here ─▶ the next manifest has it
 *	under its new name, and drops the old object, which goes when no manifest needs it
 *
 * What is dead when it was noted stays dead, so a note never names too little. */
#include <errno.h>
#include <string.h>

#include "core/base/err.h"
#include "core/remote_priv.h"

#define THIN_DEAD_MIN MIB /* dead bytes that are worth the requests */
#define THIN_CYCLE    8u /* packs */

struct thin {
	STAILQ_ENTRY(thin) link;
	struct pack_info info;
	uint8_t live[]; /* a bit a chunk */
};

void remote_thin_forget(struct remote *rm)
{
	STAILQ_HEAD(, thin) mine = STAILQ_HEAD_INITIALIZER(mine);
	struct thin *t;

	lock_take(&rm->lock);
	STAILQ_CONCAT(&mine, &rm->thin);
	lock_drop(&rm->lock);
	while ((t = STAILQ_FIRST(&mine))) {
		STAILQ_REMOVE_HEAD(&mine, link);
		free(t);
	}
}

static uint32_t count_live(const uint8_t *live, uint32_t chunks)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < chunks; i++)
		n += live[i / 8] >> i % 8 & 1;
	return n;
}

int remote_thin_note(struct remote *rm, const struct pack_info *info, const uint8_t *live)
{
	size_t n = info->chunks / 8 + 1;
	struct thin *t;

	if (info->lost || info->damaged ||
	    2 * count_live(live, info->chunks) >= info->chunks)
		return 0;
	t = malloc(sizeof(*t) + n);
	if (!t)
		return -ENOMEM;
	t->info = *info;
	memcpy(t->live, live, n);
	lock_take(&rm->lock);
	STAILQ_INSERT_TAIL(&rm->thin, t, link);
	lock_drop(&rm->lock);
	return 0;
}

static struct thin *take_first(struct remote *rm)
{
	struct thin *t;

	lock_take(&rm->lock);
	t = STAILQ_FIRST(&rm->thin);
	if (t)
		STAILQ_REMOVE_HEAD(&rm->thin, link);
	lock_drop(&rm->lock);
	return t;
}

/* Live bytes, as they are stored; 0: it is not worth it after all. */
static int weigh(struct remote *rm, const struct thin *t, uint64_t *ret)
{
	_cleanup_free_ uint32_t *sizes = calloc(t->info.chunks + 1u, sizeof(*sizes));
	uint64_t live = 0, all = 0;
	int r = sizes ? packs_chunk_sizes(rm->fs->packs, t->info.pack, sizes) : -ENOMEM;

	for (uint32_t i = 0; r == 0 && i < t->info.chunks; i++) {
		all += sizes[i];
		live += t->live[i / 8] >> i % 8 & 1 ? sizes[i] : 0;
	}
	*ret = 2 * live < all && all - live >= (rm->fs->threads ? THIN_DEAD_MIN : 1)
		       ? live
		       : 0;
	return r;
}

static int fetch(struct remote *rm, const struct thin *t)
{
	struct ropefs *fs = rm->fs;
	struct pack_fetch *f;
	int r = packs_fetch_begin(fs->packs, t->info.pack, t->info.id, t->live, &f);

	if (r < 0)
		return r;
	lock_take(&fs->checkpoint);
	r = packs_fetch_end(f, true);
	lock_drop(&fs->checkpoint);
	return r;
}

/* 1: it is a pack of the store's folder now. 0: left as it is, for good. -EAGAIN: no room. */
static int rewrite(struct remote *rm, const struct thin *t)
{
	uint64_t live;
	int r = weigh(rm, t, &live);

	if (r < 0 || !live)
		return r;
	if (!remote_take_room(rm, live))
		return -EAGAIN;
	r = fetch(rm, t);
	remote_give_room(rm, live);
	return r < 0 ? r : 1;
}

int remote_thin(struct remote *rm)
{
	int r = 0;

	for (unsigned n = 0; r >= 0 && n < THIN_CYCLE;) {
		struct thin *t = take_first(rm);

		if (!t)
			break;
		r = remote_may_go_on(rm);
		if (r == 0)
			r = rewrite(rm, t);
		n += r > 0;
		if (r == -ESTALE || r == -ENOENT || r == -E_CORRUPT)
			r = 0; /* another one by now; or its readers will tell */
		if (r >= 0) {
			free(t);
			continue;
		}
		lock_take(&rm->lock);
		STAILQ_INSERT_HEAD(&rm->thin, t, link);
		lock_drop(&rm->lock);
	}
	return r == -EAGAIN ? 0 : MIN(r, 0);
}
