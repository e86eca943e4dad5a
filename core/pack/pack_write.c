/* pack_write.c - writing packs.
 *
 *	add ──▶ chunk (plain) ──▶ seal ──▶ piece ──▶ packs/N.tmp ── full ──▶ end: directory,
 *	                                                              footer, fdatasync
 *	finish: rename all to packs/N.pack, sync the folder, add to the table
 *	any failure, abort: remove what was made
 *
 * Invariants:
 *  1. A name ending in .pack is only ever given to a file whose fdatasync succeeded.
 *  2. A pack's number is taken from packs.next and never given again by this process. */
#include <errno.h>
#include <string.h>

#include "core/base/crc.h"
#include "core/base/mutant.h"
#include "core/pack/pack_priv.h"

/* --- one file --- */

static int piece_flush(struct pack_file *pf)
{
	int r = io_pwrite(pf->file, pf->piece.p, pf->piece.n, pf->written);

	if (r < 0)
		return r;
	pf->written += pf->piece.n;
	pf->piece.n = 0;
	return 0;
}

static uint64_t pack_file_bytes(const struct pack_file *pf)
{
	return pf->written + pf->piece.n;
}

static struct pack_header header_of(const struct chunk_home *home)
{
	struct pack_header h = {
		.version = le32_put(PACK_VERSION),
		.pack = le64_put(home->pack),
	};

	memcpy(h.magic, PACK_HEADER_MAGIC, sizeof(h.magic));
	memcpy(h.store_id, home->store_id, sizeof(h.store_id));
	memcpy(h.salt, home->salt, sizeof(h.salt));
	h.crc = le32_put(crc32c(0, &h, offsetof(struct pack_header, crc)));
	return h;
}

int pack_file_begin(struct pack_file *pf, struct packs *ps, uint64_t number,
		    const uint8_t *salt)
{
	char name[PACK_NAME_BYTES];
	struct pack_header h;
	int r;

	assert(!pf->file && !pf->home.aead);
	assert(!ps->read_only);
	pf->io = ps->io;
	pf->home.pack = number;
	memcpy(pf->home.store_id, keys_store_id(ps->keys), STORE_ID_BYTES);
	if (salt)
		memcpy(pf->home.salt, salt, KEY_SALT_BYTES);
	else
		io_random(ps->io, pf->home.salt, KEY_SALT_BYTES);
	r = keys_aead(ps->keys, KEY_PACK, pf->home.salt, &pf->home.aead);
	if (r < 0)
		return r;
	pack_name(name, number, "tmp");
	r = io_open(ps->io, name, IO_CREATE, &pf->file);
	if (r == 0)
		r = pf->file->ops->truncate(pf->file, 0);
	if (r < 0)
		return r;
	pf->written = 0;
	pf->piece.n = 0;
	pf->directory.n = 0;
	pf->chunks = 0;
	pf->stored_bytes = 0;
	h = header_of(&pf->home);
	return buf_append(&pf->piece, &h, sizeof(h));
}

int pack_file_room(struct pack_file *pf, uint8_t **ret_frame)
{
	int r = 0;

	assert(pf->file);
	if (pf->piece.n >= PIECE_BYTES)
		r = piece_flush(pf);
	if (r < 0)
		return r;
	r = buf_reserve(&pf->piece, FRAME_BYTES_MAX);
	if (r < 0)
		return r;
	*ret_frame = pf->piece.p + pf->piece.n;
	return 0;
}

int pack_file_add(struct pack_file *pf, const struct chunk_entry *e)
{
	struct chunk_entry at = { 0 };
	struct pack_entry entry;
	int r;

	assert(pf->chunks < PACK_CHUNKS_MAX);
	if (e) {
		at = *e;
		at.off = pack_file_bytes(pf);
	}
	entry = pack_entry_put(&at);
	r = buf_append(&pf->directory, &entry, sizeof(entry));
	if (r < 0)
		return r;
	if (e) {
		assert(pf->piece.cap - pf->piece.n >= frame_bytes(e));
		pf->piece.n += frame_bytes(e);
		pf->stored_bytes += e->sealed;
	}
	pf->chunks++;
	return 0;
}

static void footer_fill(const struct pack_file *pf, const struct keys *keys,
			struct pack_footer *f)
{
	uint64_t directory = pack_file_bytes(pf);

	assert(pf->directory.n == pf->chunks * sizeof(struct pack_entry));
	memcpy(f->magic, PACK_FOOTER_MAGIC, sizeof(f->magic));
	f->version = le32_put(PACK_VERSION);
	f->chunks = le32_put(pf->chunks);
	memcpy(f->store_id, pf->home.store_id, sizeof(f->store_id));
	f->pack = le64_put(pf->home.pack);
	memcpy(f->salt, pf->home.salt, sizeof(f->salt));
	f->directory = le64_put(directory);
	f->file_bytes = le64_put(directory + pf->directory.n + sizeof(*f));
	hash256(buf_span(&pf->directory), f->hash);
	keys_sign(keys, span_of(f, PACK_SIGNED_BYTES), f->signature);
}

int pack_file_end(struct pack_file *pf, const struct keys *keys, struct pack_footer *f)
{
	int r;

	assert(pf->file && pf->chunks > 0);
	footer_fill(pf, keys, f);
	r = buf_append(&pf->piece, pf->directory.p, pf->directory.n);
	if (r == 0)
		r = buf_append(&pf->piece, f, sizeof(*f));
	if (r == 0)
		r = piece_flush(pf);
	if (r == 0 && !MUTANT(PACK_EARLY))
		r = io_sync(pf->file);
	if (r < 0)
		return r;
	assert(pf->written == le64_get(f->file_bytes));
	io_closep(&pf->file);
	pf->home.aead = aead_free(pf->home.aead);
	return 0;
}

void pack_file_release(struct pack_file *pf)
{
	char name[PACK_NAME_BYTES];

	if (pf->file) {
		io_closep(&pf->file);
		pack_name(name, pf->home.pack, "tmp");
		pf->io->ops->unlink(pf->io, name);
	}
	pf->home.aead = aead_free(pf->home.aead);
	buf_release(&pf->piece);
	buf_release(&pf->directory);
}

/* --- the writer --- */

#define SAMPLE_BYTES 16384u

/* Of a chunk under way: how small its first bytes (plain) will be, and of these the part that
 * was looked at last, which begins at `from`. */
struct estimate {
	uint32_t plain, stored;
	uint32_t from, from_stored;
};

/* What is under way of one lane. */
struct lane_writer {
	struct pack_file file; /* the pack, if one is */
	struct estimate guess;
	size_t n; /* bytes in chunk */
	uint8_t chunk[CHUNK_BYTES];
};

struct pack_writer {
	struct packs *ps;
	ZSTD_CCtx *zstd;
	struct lane_writer *lanes[LANES]; /* NULL: nothing came yet */
	unsigned lane;
	struct buf done; /* struct pack_info of each pack that is durable */
	struct pack_prev prev;
	uint64_t chunks, plain_bytes, sealed_bytes;
	int failed; /* only abort is left */
	struct htab written; /* chunk_key() to chunk_shrunk() of chunks that were ended */
	uint8_t sample[ZSTD_COMPRESSBOUND(SAMPLE_BYTES)]; /* compressed */
};

#define SHRUNK_UNIT 32768u

/* How small a chunk became, in parts of SHRUNK_UNIT, plus one: a value of the table. */
static void *chunk_shrunk(size_t plain, size_t stored)
{
	return (void *)(uintptr_t)(1 + stored * SHRUNK_UNIT / plain);
}

static struct lane_writer *lane_new(void)
{
	struct lane_writer *l = malloc(sizeof(*l));

	if (!l)
		return NULL;
	memset(l, 0, offsetof(struct lane_writer, chunk));
	if (buf_reserve(&l->file.piece, PIECE_BYTES + FRAME_BYTES_MAX) < 0) {
		free(l);
		return NULL;
	}
	return l;
}

int pack_writer_new(struct packs *ps, struct pack_writer **ret)
{
	struct pack_writer *w;

	assert(!ps->read_only);
	w = calloc(1, sizeof(*w));
	if (!w)
		return -ENOMEM;
	w->ps = ps;
	w->zstd = ZSTD_createCCtx();
	w->lanes[0] = lane_new();
	if (!w->zstd || !w->lanes[0]) {
		pack_writer_abort(w);
		return -ENOMEM;
	}
	ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_compressionLevel, ps->zstd_level);
	lock_take(&ps->lock);
	w->prev = ps->prev;
	packs_lock_drop(ps);
	*ret = w;
	return 0;
}

void pack_writer_lane(struct pack_writer *w, unsigned lane)
{
	assert(lane < LANES);
	w->lane = lane;
}

static int pack_begin(struct pack_writer *w, struct lane_writer *l)
{
	uint64_t number;

	lock_take(&w->ps->lock);
	number = w->ps->next++;
	packs_lock_drop(w->ps);
	return pack_file_begin(&l->file, w->ps, number, NULL);
}

static int pack_end(struct pack_writer *w, unsigned lane)
{
	struct lane_writer *l = w->lanes[lane];
	struct pack_footer f = { .prev = le64_put(w->prev.pack), .lane = le32_put(lane) };
	struct pack_info info;
	int r;

	memcpy(f.prev_hash, w->prev.hash, sizeof(f.prev_hash));
	r = buf_reserve(&w->done, sizeof(info));
	if (r == 0)
		r = pack_file_end(&l->file, w->ps->keys, &f);
	if (r < 0)
		return r;
	info = (struct pack_info) {
		.pack = l->file.home.pack,
		.file_bytes = l->file.written,
		.chunks = l->file.chunks,
		.stored_bytes = l->file.stored_bytes,
		.lane = (uint8_t)lane,
	};
	w->prev.pack = info.pack;
	hash256(span_of(&f, sizeof(f)), w->prev.hash);
	memcpy(info.id, w->prev.hash, sizeof(info.id));
	buf_append(&w->done, &info, sizeof(info)); /* reserved: cannot fail */
	return 0;
}

static int chunk_end(struct pack_writer *w, unsigned lane)
{
	struct lane_writer *l = w->lanes[lane];
	struct chunk_entry e;
	uint8_t *frame;
	int r;

	assert(l->n > 0 && l->file.file);
	r = pack_file_room(&l->file, &frame);
	if (r < 0)
		return r;
	chunk_seal(w->zstd, &l->file.home, l->file.chunks, l->chunk, l->n, frame, &e);
	r = pack_file_add(&l->file, &e);
	if (r < 0)
		return r;
	/* Without memory its size stays unknown. */
	htab_put(&w->written, chunk_key(l->file.home.pack, l->file.chunks - 1),
		 chunk_shrunk(l->n, frame_bytes(&e)));
	l->guess = (struct estimate) { 0 };
	w->chunks++;
	w->plain_bytes += l->n;
	w->sealed_bytes += e.sealed;
	l->n = 0;
	return pack_file_bytes(&l->file) >= PACK_BYTES ? pack_end(w, lane) : 0;
}

int pack_writer_add(struct pack_writer *w, const uint8_t *p, size_t n,
		    struct chunk_place *ret)
{
	struct lane_writer *l = w->lanes[w->lane];
	int r = w->failed;

	assert(n > 0 && n <= CHUNK_BYTES);
	if (r == 0 && !l) {
		l = w->lanes[w->lane] = lane_new();
		r = l ? 0 : -ENOMEM;
	}
	if (r == 0 && l->n + n > CHUNK_BYTES)
		r = chunk_end(w, w->lane);
	if (r == 0 && !l->file.file)
		r = pack_begin(w, l);
	w->failed = r;
	if (r < 0)
		return r;
	*ret = (struct chunk_place) { l->file.home.pack, l->file.chunks, (uint32_t)l->n };
	memcpy(l->chunk + l->n, p, n);
	l->n += n;
	return 0;
}

int pack_writer_break(struct pack_writer *w, size_t min)
{
	const struct lane_writer *l = w->lanes[w->lane];

	if (w->failed == 0 && l && l->n > 0 && l->n >= min)
		w->failed = chunk_end(w, w->lane);
	return w->failed;
}

/* Looks at what came to the chunk under way since the last time. */
static void estimate(struct pack_writer *w, struct lane_writer *l)
{
	struct estimate *g = &l->guess;
	uint32_t more = (uint32_t)l->n - g->plain, n = MIN(more, SAMPLE_BYTES);
	size_t small;

	if (!more)
		return;
	small = ZSTD_compress2(w->zstd, w->sample, sizeof(w->sample), l->chunk + g->plain,
			       n);
	if (ZSTD_isError(small) || small > n)
		small = n;
	g->from = g->plain;
	g->from_stored = (uint32_t)((uint64_t)small * more / n);
	g->plain += more;
	g->stored += g->from_stored;
}

static uint64_t part_stored(uint32_t len, uint64_t stored, uint64_t plain)
{
	return MIN(len, stored * len / plain);
}

uint64_t pack_writer_stored(struct pack_writer *w, const struct chunk_place *at,
			    uint32_t len)
{
	uint64_t shrunk =
		(uintptr_t)htab_get(&w->written, chunk_key(at->pack, at->index));

	if (shrunk)
		return part_stored(len, shrunk - 1, SHRUNK_UNIT);
	for (unsigned i = 0; i < LANES; i++) {
		struct lane_writer *l = w->lanes[i];

		if (!l || !l->n || l->file.home.pack != at->pack ||
		    l->file.chunks != at->index)
			continue;
		estimate(w, l);
		if (at->off >= l->guess.from)
			return part_stored(len, l->guess.from_stored,
					   l->guess.plain - l->guess.from);
		return part_stored(len, l->guess.stored, l->guess.plain);
	}
	return len;
}

static size_t done_count(const struct pack_writer *w)
{
	return w->done.n / sizeof(struct pack_info);
}

static struct pack_info done_get(const struct pack_writer *w, size_t i)
{
	struct pack_info info;

	assert(i < done_count(w));
	memcpy(&info, w->done.p + i * sizeof(info), sizeof(info));
	return info;
}

static int files_publish(struct pack_writer *w)
{
	struct io *io = w->ps->io;

	for (size_t i = 0; i < done_count(w); i++) {
		uint64_t number = done_get(w, i).pack;
		char from[PACK_NAME_BYTES], to[PACK_NAME_BYTES];
		int r;

		pack_name(from, number, "tmp");
		pack_name(to, number, "pack");
		r = io->ops->rename(io, from, to);
		if (r < 0)
			return r;
	}
	return io->ops->sync_dir(io, "packs");
}

/* All of the writer's packs become known, or none. */
static int packs_make_known(struct pack_writer *w)
{
	struct packs *ps = w->ps;
	size_t i, n = done_count(w);
	int r = 0;

	lock_take(&ps->lock);
	for (i = 0; i < n && r == 0; i++) {
		struct pack_info info = done_get(w, i);
		struct pack p = { .number = info.pack,
				  .file_bytes = info.file_bytes,
				  .info_known = true,
				  .info = info };

		r = pack_add_locked(ps, &p);
	}
	if (r == 0) {
		ps->prev = w->prev;
		ps->stats.chunks_written += w->chunks;
		ps->stats.plain_bytes += w->plain_bytes;
		ps->stats.sealed_bytes += w->sealed_bytes;
	} else {
		for (size_t k = 0; k + 1 < i; k++)
			pack_forget_locked(ps, pack_find_locked(ps, done_get(w, k).pack));
	}
	packs_lock_drop(ps);
	return r;
}

static void writer_free(struct pack_writer *w)
{
	for (unsigned i = 0; i < LANES; i++) {
		if (w->lanes[i])
			pack_file_release(&w->lanes[i]->file);
		free(w->lanes[i]);
	}
	ZSTD_freeCCtx(w->zstd);
	buf_release(&w->done);
	htab_release(&w->written);
	free(w);
}

int pack_writer_finish(struct pack_writer *w)
{
	int r = w->failed;

	for (w->lane = 0; r == 0 && w->lane < LANES; w->lane++) {
		r = pack_writer_break(w, 1);
		if (r == 0 && w->lanes[w->lane] && w->lanes[w->lane]->file.file)
			r = pack_end(w, w->lane);
	}
	if (r == 0 && w->done.n)
		r = files_publish(w);
	if (r == 0 && w->done.n)
		r = packs_make_known(w);
	if (r < 0)
		pack_writer_abort(w);
	else
		writer_free(w);
	return r;
}

struct pack_writer *pack_writer_abort(struct pack_writer *w)
{
	if (!w)
		return NULL;
	for (size_t i = 0; i < done_count(w); i++) {
		uint64_t number = done_get(w, i).pack;
		struct io *io = w->ps->io;
		char name[PACK_NAME_BYTES];

		pack_name(name, number, "tmp");
		io->ops->unlink(io, name);
		pack_name(name, number, "pack");
		io->ops->unlink(io, name);
	}
	writer_free(w);
	return NULL;
}
