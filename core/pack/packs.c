/* packs.c - the set of packs: the folder, the table, pins, and which files are open.
 * States and invariants are in pack_priv.h. */
#include "core/pack/pack_priv.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/base/err.h"

static size_t image_bytes(const struct pack_image *img)
{
	return sizeof(*img) + img->n * sizeof(*img->chunks);
}

int pack_missing(uint64_t number)
{
	return err_set(ENOENT,
		       "pack %010llx is not in the store's folder packs; restore it "
		       "from a copy of the store",
		       (unsigned long long)number);
}

struct pack *pack_find_locked(struct packs *ps, uint64_t number)
{
	assert(lock_held(&ps->lock));
	return htab_get(&ps->table, number);
}

void packs_lock_drop(struct packs *ps)
{
	struct pack_image *img = ps->closing;

	ps->closing = NULL;
	lock_drop(&ps->lock);
	while (img) {
		struct pack_image *next = img->next_closing;

		pack_image_close(img);
		img = next;
	}
}

static void close_later_locked(struct packs *ps, struct pack_image *img)
{
	img->next_closing = ps->closing;
	ps->closing = img;
}

static struct pack_info info_of(const struct pack_image *img)
{
	struct pack_info info = {
		.pack = img->home.pack,
		.file_bytes = img->file_bytes,
		.chunks = img->n,
		.stored_bytes = pack_image_stored_bytes(img),
		.damaged = pack_image_damaged(img),
		.remote = img->remote,
	};
	uint8_t hash[32];

	if (img->footer_ok) {
		info.rewrites = le32_get(img->footer.rewrites);
		info.lane = le32_get(img->footer.lane) % LANES;
		hash256(span_of(&img->footer, sizeof(img->footer)), hash);
		memcpy(info.id, hash, sizeof(info.id));
	}
	return info;
}

/* --- images --- */

/* Takes p's image out of the ring of open ones. */
static struct pack_image *image_take_locked(struct packs *ps, struct pack *p)
{
	struct pack_image *img = p->image;

	assert(img && ps->n_opened > 0);
	link_remove(&p->opened);
	ps->n_opened--;
	ps->opened_bytes -= image_bytes(img);
	p->image = NULL;
	return img;
}

static void close_idle_locked(struct packs *ps)
{
	struct link *at = ps->opened.prev;

	while (at != &ps->opened &&
	       (ps->n_opened > PACKS_OPEN_MAX || ps->opened_bytes > PACKS_OPEN_BYTES)) {
		struct pack *p = container_of(at, struct pack, opened);

		at = at->prev;
		if (p->pins == 0)
			close_later_locked(ps, image_take_locked(ps, p));
	}
}

static void image_set_locked(struct packs *ps, struct pack *p, struct pack_image *img)
{
	assert(!p->image && p->pins > 0);
	p->image = img;
	link_insert_after(&ps->opened, &p->opened);
	ps->n_opened++;
	ps->opened_bytes += image_bytes(img);
	p->info = info_of(img);
	p->info_known = !img->io_failed;
	close_idle_locked(ps);
}

void pack_retire_image_locked(struct packs *ps, struct pack *p)
{
	struct pack_image *img = image_take_locked(ps, p);

	p->info_known = false;
	if (p->pins > 1 && !p->old) /* the caller's pin is one of them */
		p->old = img;
	else
		close_later_locked(ps, img);
}

static int image_open_locked(struct packs *ps, struct pack *p)
{
	struct pack_image_source src = { .io = ps->io,
					 .keys = ps->keys,
					 .pack = p->number };
	struct pack_info info = p->info;
	struct io_file *remote = NULL;
	struct pack_image *img;
	int r = 0;

	assert(p->pins > 0 && !p->opening);
	if (p->remote && !ps->open_remote)
		return err_set(
			E_REMOTE_AWAY,
			"pack %010llx is in the bucket only, and this program does "
			"not reach it",
			(unsigned long long)p->number);
	p->opening = true;
	info.remote = p->remote;
	packs_lock_drop(ps);
	if (info.remote)
		r = ps->open_remote(ps->remote, &info, &remote);
	src.remote = remote;
	if (r == 0)
		r = pack_image_open(&src, &img);
	lock_take(&ps->lock);
	p->opening = false;
	pthread_cond_broadcast(&ps->cond);
	if (r == -ENOENT)
		return pack_missing(p->number);
	/* Renewed meanwhile: its object is another one. */
	if (r == 0 && info.remote && memcmp(info.id, p->info.id, sizeof(info.id)) != 0) {
		close_later_locked(ps, img);
		return image_open_locked(ps, p);
	}
	if (r == 0)
		image_set_locked(ps, p, img);
	return r;
}

int pack_hold_locked(struct packs *ps, struct pack *p)
{
	int r = 0;

	assert(lock_held(&ps->lock));
	p->pins++;
	while (p->opening)
		lock_wait(&ps->lock, &ps->cond, 0);
	if (!p->image)
		r = image_open_locked(ps, p);
	if (r < 0) {
		pack_unpin_locked(ps, p);
		return r;
	}
	link_remove(&p->opened);
	link_insert_after(&ps->opened, &p->opened);
	return 0;
}

/* --- packs --- */

void pack_unpin_locked(struct packs *ps, struct pack *p)
{
	assert(lock_held(&ps->lock));
	assert(p->pins > 0);
	if (--p->pins > 0)
		return;
	if (p->old)
		close_later_locked(ps, p->old);
	p->old = NULL;
	if (p->removed)
		pack_forget_locked(ps, p);
	else if (p->image && p->image->io_failed)
		close_later_locked(ps, image_take_locked(ps, p));
	else
		close_idle_locked(ps);
}

void pack_count_locked(struct packs *ps, const struct pack *p, bool there)
{
	uint64_t sign = there ? 1 : UINT64_MAX;

	if (p->remote) {
		ps->stats.remote_packs += sign;
		ps->stats.remote_bytes += sign * p->file_bytes;
	} else {
		ps->stats.packs += sign;
		ps->stats.file_bytes += sign * p->file_bytes;
	}
}

int pack_add_locked(struct packs *ps, const struct pack *as)
{
	struct pack *p = malloc(sizeof(*p));
	int r;

	if (!p)
		return -ENOMEM;
	*p = *as;
	assert(!p->image && !p->pins);
	link_init(&p->opened);
	r = htab_put(&ps->table, p->number, p);
	if (r < 0) {
		free(p);
		return r;
	}
	pack_count_locked(ps, p, true);
	return 0;
}

void pack_forget_locked(struct packs *ps, struct pack *p)
{
	assert(p->pins == 0 && !p->old && !p->opening);
	if (p->image)
		close_later_locked(ps, image_take_locked(ps, p));
	for (uint32_t i = 0; i < p->info.chunks; i++)
		chunk_cache_drop(&ps->cache, chunk_key(p->number, i));
	htab_del(&ps->table, p->number);
	if (!p->removed)
		pack_count_locked(ps, p, false);
	free(p);
}

int packs_pin(struct packs *ps, uint64_t pack)
{
	struct pack *p;

	lock_take(&ps->lock);
	p = pack_find_locked(ps, pack);
	if (p && !p->removed)
		p->pins++;
	else
		p = NULL;
	packs_lock_drop(ps);
	return p ? 0 : pack_missing(pack);
}

void packs_unpin(struct packs *ps, uint64_t pack)
{
	struct pack *p;

	lock_take(&ps->lock);
	p = pack_find_locked(ps, pack);
	assert(p);
	pack_unpin_locked(ps, p);
	packs_lock_drop(ps);
}

int scratch_take(struct packs *ps, struct chunk_scratch **ret)
{
	struct chunk_scratch *s;

	lock_take(&ps->lock);
	s = ps->scratch;
	if (s) {
		ps->scratch = s->next;
		ps->n_scratch--;
	}
	packs_lock_drop(ps);
	if (!s)
		return chunk_scratch_new(ret);
	*ret = s;
	return 0;
}

void scratch_give(struct packs *ps, struct chunk_scratch *s)
{
	lock_take(&ps->lock);
	if (ps->n_scratch < SCRATCH_MAX) {
		s->next = ps->scratch;
		ps->scratch = s;
		ps->n_scratch++;
		s = NULL;
	}
	packs_lock_drop(ps);
	chunk_scratch_free(s);
}

/* --- open and close --- */

struct listing {
	struct packs *ps;
	struct buf stale; /* numbers of .tmp files, u64 each */
};

/* The number when name is NUMBER.suffix as pack_name() writes it. */
static bool name_parse(const char *name, const char *suffix, uint64_t *ret)
{
	char again[PACK_NAME_BYTES];
	char *end;
	uint64_t n;

	n = strtoull(name, &end, 16);
	if (end == name || n == 0 || n >= (uint64_t)1 << 38)
		return false;
	pack_name(again, n, suffix);
	if (strcmp(strchr(again, '/') + 1, name))
		return false;
	*ret = n;
	return true;
}

static int list_one(void *arg, const char *name)
{
	struct listing *l = arg;
	struct pack p = { 0 };

	if (name_parse(name, "tmp", &p.number))
		return buf_append(&l->stale, &p.number, sizeof(p.number));
	if (name_parse(name, "pack", &p.number))
		return pack_add_locked(l->ps, &p);
	return 0;
}

static int stale_remove(struct packs *ps, const struct buf *stale)
{
	for (size_t at = 0; at < stale->n; at += sizeof(uint64_t)) {
		char name[PACK_NAME_BYTES];
		uint64_t number;
		int r;

		memcpy(&number, stale->p + at, sizeof(number));
		pack_name(name, number, "tmp");
		r = ps->io->ops->unlink(ps->io, name);
		if (r < 0 && r != -ENOENT)
			return r;
	}
	return 0;
}

/* Sizes a pack's file and, when prev is given, hashes its last bytes as a footer. A file
 * that cannot be read is found out when it is wanted, the others must not suffer. */
static void pack_measure(struct packs *ps, struct pack *p, struct pack_prev *prev)
{
	_cleanup_(io_closep) struct io_file *file = NULL;
	struct pack_footer f;
	char name[PACK_NAME_BYTES];

	pack_name(name, p->number, "pack");
	if (io_open(ps->io, name, IO_READ, &file) < 0 ||
	    io_size(file, &p->file_bytes) < 0)
		return;
	ps->stats.file_bytes += p->file_bytes;
	if (!prev || p->file_bytes < sizeof(f) ||
	    io_pread_all(file, &f, sizeof(f), p->file_bytes - sizeof(f)) < 0)
		return;
	prev->pack = p->number;
	hash256(span_of(&f, sizeof(f)), prev->hash);
}

static int folder_read(struct packs *ps)
{
	_cleanup_(buf_release) struct buf stale = BUF_INIT;
	struct listing l = { .ps = ps };
	struct htab_slot *slot;
	size_t at = 0;
	int r;

	r = ps->io->ops->list(ps->io, "packs", list_one, &l);
	buf_swap(&stale, &l.stale);
	if (r == -ENOENT && ps->read_only)
		return 0;
	if (r == 0 && !ps->read_only)
		r = stale_remove(ps, &stale);
	if (r < 0)
		return r;
	while ((slot = htab_next(&ps->table, &at)))
		ps->next = MAX(ps->next, slot->key + 1);
	at = 0;
	while ((slot = htab_next(&ps->table, &at)))
		pack_measure(ps, slot->value,
			     slot->key + 1 == ps->next ? &ps->prev : NULL);
	return 0;
}

int packs_open(const struct packs_opts *opts, struct packs **ret)
{
	struct packs *ps;
	int r = 0;

	assert(opts->io && opts->keys);
	ps = calloc(1, sizeof(*ps));
	if (!ps)
		return -ENOMEM;
	ps->io = opts->io;
	ps->keys = opts->keys;
	ps->open_remote = opts->open_remote;
	ps->remote = opts->remote;
	ps->zstd_level = opts->zstd_level;
	ps->read_only = opts->read_only;
	ps->next = MAX(opts->next_pack, (uint64_t)1); /* 0 names no pack */
	lock_init(&ps->lock, RANK_PACK);
	lock_cond_init(&ps->cond);
	link_init(&ps->opened);
	chunk_cache_init(&ps->cache, opts->cache_bytes);
	if (!ps->read_only)
		r = ps->io->ops->mkdir(ps->io, "packs");
	if (r == 0 && !ps->read_only)
		r = ps->io->ops->sync_dir(ps->io, "");
	lock_take(&ps->lock);
	if (r == 0 || r == -EEXIST)
		r = folder_read(ps);
	packs_lock_drop(ps);
	if (r < 0) {
		packs_close(ps);
		return r;
	}
	*ret = ps;
	return 0;
}

struct packs *packs_close(struct packs *ps)
{
	struct htab_slot *slot;

	if (!ps)
		return NULL;
	lock_take(&ps->lock);
	for (size_t at = 0; (slot = htab_next(&ps->table, &at)); at = 0)
		pack_forget_locked(ps, slot->value);
	packs_lock_drop(ps);
	while (ps->scratch) {
		struct chunk_scratch *s = ps->scratch;

		ps->scratch = s->next;
		chunk_scratch_free(s);
	}
	chunk_cache_release(&ps->cache);
	htab_release(&ps->table);
	pthread_cond_destroy(&ps->cond);
	lock_release(&ps->lock);
	free(ps);
	return NULL;
}

void packs_set_budget(struct packs *ps, size_t cache_bytes)
{
	lock_take(&ps->lock);
	chunk_cache_set_max(&ps->cache, cache_bytes);
	packs_lock_drop(ps);
}

uint64_t packs_next(struct packs *ps)
{
	uint64_t next;

	lock_take(&ps->lock);
	next = ps->next;
	packs_lock_drop(ps);
	return next;
}

uint64_t packs_local_bytes(struct packs *ps)
{
	uint64_t bytes;

	lock_take(&ps->lock);
	bytes = ps->stats.file_bytes;
	packs_lock_drop(ps);
	return bytes;
}

void packs_get_stats(struct packs *ps, struct packs_stats *ret)
{
	lock_take(&ps->lock);
	assert(chunk_cache_check(&ps->cache));
	*ret = ps->stats;
	ret->cache_bytes = ps->cache.bytes;
	packs_lock_drop(ps);
}
