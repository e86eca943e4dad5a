/* pack_upkeep.c - what the checkpointer does with packs once they are written: lists,
 * removes and rewrites them. Readers go on meanwhile; pins (pack_priv.h) keep what they
 * planned to read. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/err.h"
#include "core/pack/pack_priv.h"

static int number_compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static int numbers_collect(struct packs *ps, struct buf *ret)
{
	struct htab_slot *slot;
	size_t at = 0;
	int r = 0;

	lock_take(&ps->lock);
	while (r == 0 && (slot = htab_next(&ps->table, &at))) {
		const struct pack *p = slot->value;

		if (!p->removed)
			r = buf_append(ret, &p->number, sizeof(p->number));
	}
	packs_lock_drop(ps);
	if (r == 0 && ret->n)
		qsort(ret->p, ret->n / sizeof(uint64_t), sizeof(uint64_t),
		      number_compare);
	return r;
}

/* -ENOENT when the pack was removed meanwhile. One that cannot be opened at all is told of
 * as damaged and empty: a listing must not end at it. */
static int info_get(struct packs *ps, uint64_t number, struct pack_info *ret)
{
	struct pack_info info = { .pack = number, .damaged = true };
	struct pack *p;
	int r = 0;

	lock_take(&ps->lock);
	p = pack_find_locked(ps, number);
	if (!p || p->removed) {
		packs_lock_drop(ps);
		return -ENOENT;
	}
	info.file_bytes = p->file_bytes;
	if (!p->info_known) {
		r = pack_hold_locked(ps, p);
		if (r == 0) {
			p->info.damaged |= p->image->io_failed;
			info = p->info;
			pack_unpin_locked(ps, p);
		}
	} else {
		info = p->info;
	}
	packs_lock_drop(ps);
	if (r == -ENOMEM)
		return r;
	*ret = info;
	return 0;
}

int packs_each(struct packs *ps, int (*fn)(void *arg, const struct pack_info *info),
	       void *arg)
{
	_cleanup_(buf_release) struct buf numbers = BUF_INIT;
	int r;

	r = numbers_collect(ps, &numbers);
	for (size_t at = 0; r == 0 && at < numbers.n; at += sizeof(uint64_t)) {
		struct pack_info info;
		uint64_t number;

		memcpy(&number, numbers.p + at, sizeof(number));
		r = info_get(ps, number, &info);
		if (r == 0)
			r = fn(arg, &info);
		else if (r == -ENOENT)
			r = 0;
	}
	return r;
}

/* Finds and holds a pack. */
static int pack_get(struct packs *ps, uint64_t number, struct pack **ret)
{
	struct pack *p;
	int r;

	lock_take(&ps->lock);
	p = pack_find_locked(ps, number);
	if (!p || p->removed)
		r = pack_missing(number);
	else
		r = pack_hold_locked(ps, p);
	packs_lock_drop(ps);
	if (r == 0)
		*ret = p;
	return r;
}

static void pack_put(struct packs *ps, struct pack *p)
{
	lock_take(&ps->lock);
	pack_unpin_locked(ps, p);
	packs_lock_drop(ps);
}

int packs_chunk_sizes(struct packs *ps, uint64_t pack, uint32_t *ret)
{
	struct pack *p = NULL;
	int r;

	r = pack_get(ps, pack, &p);
	if (r < 0)
		return r;
	/* Sizes that could not be read must not pass for zeros: what has none is removed. */
	if (p->image->io_failed)
		r = -EIO;
	else if (pack_image_damaged(p->image))
		r = err_set(E_CORRUPT, "pack %010llx is damaged; run fsck",
			    (unsigned long long)pack);
	for (uint32_t i = 0; r == 0 && i < p->image->n; i++)
		ret[i] = p->image->chunks[i].sealed;
	pack_put(ps, p);
	return r;
}

int packs_chunk_plain(struct packs *ps, uint64_t pack, uint32_t index, uint32_t *ret)
{
	struct pack *p = NULL;
	int r;

	r = pack_get(ps, pack, &p);
	if (r < 0)
		return r;
	r = pack_image_has(p->image, index);
	if (r == 0)
		*ret = p->image->chunks[index].plain;
	pack_put(ps, p);
	return r;
}

/* --- remove --- */

/* Marks the pack removed and pins it. One that is pinned already is opened first: its file
 * is about to lose its name. */
static int remove_begin(struct packs *ps, uint64_t number, struct pack **ret)
{
	struct pack *p;
	int r = 0;

	lock_take(&ps->lock);
	p = pack_find_locked(ps, number);
	if (!p || p->removed) {
		packs_lock_drop(ps);
		return pack_missing(number);
	}
	p->pins++;
	if (p->pins > 1 && !p->image && !p->remote) {
		r = pack_hold_locked(ps, p);
		if (r == 0)
			pack_unpin_locked(ps, p);
	}
	/* A pack that cannot be opened cannot be read by those that pinned it either. */
	pack_count_locked(ps, p, false);
	p->removed = true;
	packs_lock_drop(ps);
	*ret = p;
	return 0;
}

int packs_remove(struct packs *ps, uint64_t pack)
{
	char name[PACK_NAME_BYTES];
	struct pack *p = NULL;
	int r;

	assert(!ps->read_only);
	r = remove_begin(ps, pack, &p);
	if (r < 0)
		return r;
	pack_name(name, pack, "pack");
	r = ps->io->ops->unlink(ps->io, name);
	if (r == -ENOENT)
		r = 0;

	lock_take(&ps->lock);
	if (r < 0) {
		p->removed = false;
		pack_count_locked(ps, p, true);
	}
	pack_unpin_locked(ps, p);
	packs_lock_drop(ps);
	return r;
}

/* --- packs in a bucket --- */

int packs_note_remote(struct packs *ps, const struct pack_info *info)
{
	struct pack p = { .number = info->pack,
			  .file_bytes = info->file_bytes,
			  .remote = true,
			  .info_known = true,
			  .info = *info };
	int r = 0;

	p.info.remote = true;
	lock_take(&ps->lock);
	if (!pack_find_locked(ps, info->pack))
		r = pack_add_locked(ps, &p);
	if (r == 0)
		ps->next = MAX(ps->next, info->pack + 1);
	packs_lock_drop(ps);
	return r;
}

static void renew_locked(struct packs *ps, struct pack *p, const struct pack_info *info)
{
	p->pins++;
	pack_count_locked(ps, p, false);
	p->file_bytes = info->file_bytes;
	pack_count_locked(ps, p, true);
	if (p->image)
		pack_retire_image_locked(ps, p);
	p->info = *info;
	p->info.remote = true;
	p->info_known = true;
	pack_unpin_locked(ps, p);
}

int packs_renew_remote(struct packs *ps, const struct pack_info *info)
{
	struct pack *p;
	int r = 0;

	assert(ps->read_only);
	lock_take(&ps->lock);
	p = pack_find_locked(ps, info->pack);
	if (p && p->remote &&
	    (memcmp(p->info.id, info->id, sizeof(info->id)) != 0 ||
	     p->info.lost != info->lost))
		renew_locked(ps, p, info);
	packs_lock_drop(ps);
	if (!p)
		r = packs_note_remote(ps, info);
	return r;
}

void packs_forget_remote(struct packs *ps, uint64_t pack)
{
	struct pack *p;

	assert(ps->read_only);
	lock_take(&ps->lock);
	p = pack_find_locked(ps, pack);
	if (p && p->remote && !p->removed) {
		p->pins++;
		pack_count_locked(ps, p, false);
		p->removed = true;
		pack_unpin_locked(ps, p);
	}
	packs_lock_drop(ps);
}

/* What reads the file from now on finds it in the bucket. */
static void evict_swap(struct packs *ps, struct pack *p, enum pack_lost lost)
{
	struct pack_info info = p->info;

	lock_take(&ps->lock);
	pack_count_locked(ps, p, false);
	p->remote = true;
	pack_count_locked(ps, p, true);
	if (p->image)
		pack_retire_image_locked(ps, p);
	info.remote = true;
	info.lost = lost;
	p->info = info;
	p->info_known = true;
	packs_lock_drop(ps);
}

int packs_evict(struct packs *ps, uint64_t pack, const uint8_t id[PACK_ID_BYTES],
		enum pack_lost lost)
{
	char name[PACK_NAME_BYTES];
	struct pack *p = NULL;
	int r;

	assert(!ps->read_only);
	r = pack_get(ps, pack, &p);
	if (r < 0)
		return r;
	if (p->remote || memcmp(p->info.id, id, PACK_ID_BYTES) != 0)
		r = -ESTALE;
	pack_name(name, pack, "pack");
	if (r == 0)
		r = ps->io->ops->unlink(ps->io, name);
	if (r == 0)
		evict_swap(ps, p, lost);
	pack_put(ps, p);
	return r;
}

int packs_open_file(struct packs *ps, uint64_t pack, struct io_file **ret)
{
	char name[PACK_NAME_BYTES];

	pack_name(name, pack, "pack");
	return io_open(ps->io, name, IO_READ, ret);
}

bool packs_is_remote(struct packs *ps, uint64_t pack)
{
	struct pack *p;
	bool remote;

	lock_take(&ps->lock);
	p = pack_find_locked(ps, pack);
	remote = p && p->remote;
	packs_lock_drop(ps);
	return remote;
}

bool packs_is_small(struct packs *ps, uint64_t pack, uint64_t bytes)
{
	struct pack *p;
	bool small;

	lock_take(&ps->lock);
	p = pack_find_locked(ps, pack);
	small = p && !p->removed && !p->remote && p->file_bytes < bytes;
	packs_lock_drop(ps);
	return small;
}

unsigned packs_lane(struct packs *ps, uint64_t pack)
{
	struct pack *p;
	unsigned lane;

	lock_take(&ps->lock);
	p = pack_find_locked(ps, pack);
	lane = p && p->info_known ? p->info.lane : LANE_NORMAL;
	packs_lock_drop(ps);
	return lane;
}

/* --- rewrite --- */

static bool bit_get(const uint8_t *bits, uint32_t i)
{
	return bits[i / 8] >> (i % 8) & 1;
}

/* The one place that refuses to rewrite. */
static int rewrite_check(const struct pack_image *img, const uint8_t *live)
{
	bool ok = !pack_image_damaged(img) && !img->io_failed;

	for (uint32_t i = 0; ok && i < img->n; i++)
		ok = !bit_get(live, i) || img->chunks[i].sealed;
	if (ok)
		return 0;
	return err_set(E_CORRUPT,
		       "pack %010llx is damaged or lacks a chunk in use, so it is "
		       "not rewritten; run fsck",
		       (unsigned long long)img->home.pack);
}

/* What comes from the bucket is verified: here nobody could get it again. */
static int frame_copy(const struct pack_image *img, uint32_t i, uint8_t *frame)
{
	_cleanup_(chunk_scratch_freep) struct chunk_scratch *s = NULL;
	_cleanup_free_ uint8_t *plain = NULL;
	int r;

	if (!img->remote)
		return pack_image_frame(img, i, frame);
	plain = malloc(CHUNK_BYTES_MAX);
	r = plain ? chunk_scratch_new(&s) : -ENOMEM;
	if (r == 0)
		r = pack_image_chunk(img, i, s, plain);
	if (r == 0)
		memcpy(frame, s->frame, frame_bytes(&img->chunks[i]));
	return r;
}

static int live_copy(const struct pack_image *img, const uint8_t *live,
		     struct pack_file *pf)
{
	for (uint32_t i = 0; i < img->n; i++) {
		uint8_t *frame;
		int r = 0;

		if (bit_get(live, i)) {
			r = pack_file_room(pf, &frame);
			if (r == 0)
				r = frame_copy(img, i, frame);
		}
		if (r == 0)
			r = pack_file_add(pf, bit_get(live, i) ? &img->chunks[i] : NULL);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Writes packs/N.tmp, durable. */
static int rewrite_write(struct packs *ps, const struct pack_image *img,
			 const uint8_t *live, struct pack_file *pf)
{
	struct pack_footer f = { 0 }; /* of a damaged pack: it follows none */
	int r;

	if (!pack_image_damaged(img))
		f = img->footer;
	f.rewrites = le32_put(le32_get(f.rewrites) + 1);
	r = pack_file_begin(pf, ps, img->home.pack, img->home.salt);
	if (r == 0)
		r = live_copy(img, live, pf);
	if (r == 0)
		r = pack_file_end(pf, ps->keys, &f);
	return r;
}

/* The new file has the name: readers that come from now on open it. */
static void rewrite_swap(struct packs *ps, struct pack *p, const uint8_t *live,
			 uint64_t file_bytes)
{
	lock_take(&ps->lock);
	for (uint32_t i = 0; i < p->image->n; i++)
		if (!bit_get(live, i))
			chunk_cache_drop(&ps->cache, chunk_key(p->number, i));
	pack_count_locked(ps, p, false);
	p->file_bytes = file_bytes;
	p->remote = false;
	pack_count_locked(ps, p, true);
	pack_retire_image_locked(ps, p);
	packs_lock_drop(ps);
}

/* packs/N.tmp, durable, takes the pack's name. */
static int rewrite_publish(struct packs *ps, struct pack *p, const uint8_t *live,
			   uint64_t file_bytes)
{
	char from[PACK_NAME_BYTES], to[PACK_NAME_BYTES];
	int r;

	pack_name(from, p->number, "tmp");
	pack_name(to, p->number, "pack");
	r = ps->io->ops->rename(ps->io, from, to);
	if (r < 0) {
		ps->io->ops->unlink(ps->io, from);
		return r;
	}
	rewrite_swap(ps, p, live, file_bytes);
	return ps->io->ops->sync_dir(ps->io, "packs");
}

static int pack_replace(struct packs *ps, uint64_t pack, const uint8_t *live,
			int (*check)(const struct pack_image *img, const uint8_t *live))
{
	struct pack_file pf = { 0 };
	struct pack *p = NULL;
	int r;

	assert(!ps->read_only);
	r = pack_get(ps, pack, &p);
	if (r < 0)
		return r;
	r = check(p->image, live);
	if (r == 0)
		r = rewrite_write(ps, p->image, live, &pf);
	if (r == 0)
		r = rewrite_publish(ps, p, live, pf.written);
	pack_file_release(&pf);
	pack_put(ps, p);
	return r;
}

int packs_rewrite(struct packs *ps, uint64_t pack, const uint8_t *live)
{
	return pack_replace(ps, pack, live, rewrite_check);
}

/* Only what is there can be copied. */
static int salvage_check(const struct pack_image *img, const uint8_t *live)
{
	for (uint32_t i = 0; i < img->n; i++)
		if (bit_get(live, i) && !img->chunks[i].sealed)
			return chunk_unusable(img->home.pack, i,
					      "lost since it was read");
	return 0;
}

int packs_salvage(struct packs *ps, uint64_t pack, const uint8_t *live)
{
	return pack_replace(ps, pack, live, salvage_check);
}

/* --- fetching --- */

struct pack_fetch {
	struct packs *ps;
	struct pack *p; /* held */
	struct pack_file file;
	uint8_t id[PACK_ID_BYTES];
	uint8_t *live;
};

static void fetch_free(struct pack_fetch *f)
{
	pack_file_release(&f->file);
	if (f->p)
		pack_put(f->ps, f->p);
	free(f->live);
	free(f);
}

static bool fetch_is_same(struct pack_fetch *f)
{
	bool same;

	lock_take(&f->ps->lock);
	same = f->p->remote && !f->p->removed &&
	       !memcmp(f->p->info.id, f->id, sizeof(f->id));
	lock_drop(&f->ps->lock);
	return same;
}

int packs_fetch_begin(struct packs *ps, uint64_t pack, const uint8_t id[PACK_ID_BYTES],
		      const uint8_t *live, struct pack_fetch **ret)
{
	struct pack_fetch *f = calloc(1, sizeof(*f));
	int r;

	assert(!ps->read_only);
	if (!f)
		return -ENOMEM;
	f->ps = ps;
	memcpy(f->id, id, sizeof(f->id));
	r = pack_get(ps, pack, &f->p);
	if (r == 0 && !fetch_is_same(f))
		r = -ESTALE;
	if (r == 0)
		r = rewrite_check(f->p->image, live);
	if (r == 0) {
		f->live = malloc(f->p->image->n / 8 + 1);
		r = f->live ? 0 : -ENOMEM;
	}
	if (r == 0) {
		memcpy(f->live, live, f->p->image->n / 8 + 1);
		r = rewrite_write(ps, f->p->image, live, &f->file);
	}
	if (r < 0) {
		fetch_free(f);
		return r;
	}
	*ret = f;
	return 0;
}

int packs_fetch_end(struct pack_fetch *f, bool keep)
{
	char name[PACK_NAME_BYTES];
	int r = keep && fetch_is_same(f) ? 0 : -ESTALE;

	if (r == 0) {
		r = rewrite_publish(f->ps, f->p, f->live, f->file.written);
	} else {
		pack_name(name, f->p->number, "tmp");
		f->ps->io->ops->unlink(f->ps->io, name);
		r = keep ? r : 0;
	}
	fetch_free(f);
	return r;
}
