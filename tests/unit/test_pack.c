/* test_pack.c - packs against a plain array: what was added must be read back exactly or
 * not at all, whatever happens to the file, the disk or the power. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "core/base/crc.h"
#include "core/base/err.h"
#include "core/io/io_sim.h"
#include "core/pack/pack_priv.h"
#include "tests/lib/suite.h"

#define PIECES_MAX 4096

/* One run of bytes given to a writer, and where it was put. */
struct piece {
	struct chunk_place at;
	size_t off; /* in model.bytes */
	uint32_t n;
};

struct model {
	struct buf bytes;
	struct piece pieces[PIECES_MAX];
	size_t n;
};

struct fixture {
	struct io *io;
	struct keys *keys;
	struct packs *ps;
	struct rng rng;
	size_t cache_bytes;
	struct model model;
};

/* --- fixture and model --- */

static int packs_try_open(struct fixture *f)
{
	struct packs_opts opts = { .io = f->io,
				   .keys = f->keys,
				   .zstd_level = 1,
				   .cache_bytes = f->cache_bytes };

	return packs_open(&opts, &f->ps);
}

static struct fixture *fixture_with(uint64_t salt, enum cipher cipher)
{
	struct fixture *f = calloc(1, sizeof(*f));

	ck_assert_ptr_nonnull(f);
	f->rng = rng_seeded(suite_seed() ^ salt * 0x9e3779b97f4a7c15u);
	f->cache_bytes = 1 << 20;
	ck_ok(keys_init_library());
	ck_ok(keys_for_test(cipher, &f->keys));
	ck_ok(io_sim_new(rng_next(&f->rng), &f->io));
	ck_ok(packs_try_open(f));
	return f;
}

static struct fixture *fixture_new(uint64_t salt)
{
	return fixture_with(salt, CIPHER_XCHACHA20);
}

static void fixture_reopen(struct fixture *f)
{
	f->ps = packs_close(f->ps);
	ck_ok(packs_try_open(f));
}

static void fixture_free(struct fixture *f)
{
	packs_close(f->ps);
	keys_free(f->keys);
	io_free(f->io);
	buf_release(&f->model.bytes);
	free(f);
}

/* Random bytes, or words that compress. */
static void bytes_make(struct rng *rng, uint8_t *p, size_t n)
{
	static const char *words[] = {
		"time=", "imu ", "accel:", "0.125", " gyro ", "\n"
	};

	if (rng_below(rng, 2)) {
		rng_fill(rng, p, n);
		return;
	}
	for (size_t i = 0; i < n;) {
		const char *word = words[rng_below(rng, ARRAY_LEN(words))];
		size_t k = MIN(strlen(word), n - i);

		memcpy(p + i, word, k);
		i += k;
	}
}

/* Adds n made-up bytes to writer and model. */
static int model_add(struct fixture *f, struct pack_writer *w, uint32_t n)
{
	struct model *m = &f->model;
	struct piece *piece = &m->pieces[m->n];
	int r;

	ck_assert_uint_lt(m->n, PIECES_MAX);
	ck_ok(buf_reserve(&m->bytes, n));
	bytes_make(&f->rng, m->bytes.p + m->bytes.n, n);
	r = pack_writer_add(w, m->bytes.p + m->bytes.n, n, &piece->at);
	if (r < 0)
		return r;
	piece->off = m->bytes.n;
	piece->n = n;
	m->bytes.n += n;
	m->n++;
	return 0;
}

/* A pack of chunks pieces, each a chunk of its own, of up to bytes_max bytes. */
static int model_pack(struct fixture *f, unsigned chunks, uint32_t bytes_max)
{
	struct pack_writer *w;
	int r;

	r = pack_writer_new(f->ps, &w);
	for (unsigned i = 0; r == 0 && i < chunks; i++) {
		r = model_add(f, w, 1 + (uint32_t)rng_below(&f->rng, bytes_max));
		if (r == 0)
			r = pack_writer_break(w, 1);
		if (r < 0)
			pack_writer_abort(w);
	}
	return r < 0 ? r : pack_writer_finish(w);
}

/* Reads a piece: 1 it is exact, 0 the pack said that it is corrupt or missing. Any other
 * answer, above all other bytes, is a failure. */
static int piece_read(struct fixture *f, const struct piece *p)
{
	static _Thread_local uint8_t out[CHUNK_BYTES_MAX];
	int r;

	r = packs_read(f->ps, p->at.pack, p->at.index, p->at.off, p->n, out);
	if (r == 0)
		ck_assert_mem_eq(out, f->model.bytes.p + p->off, p->n);
	else
		ck_assert_msg(r == -E_CORRUPT || r == -ENOENT, "%d", r);
	return r == 0;
}

static size_t pieces_readable(struct fixture *f)
{
	size_t n = 0;

	for (size_t i = 0; i < f->model.n; i++)
		n += (size_t)piece_read(f, &f->model.pieces[i]);
	return n;
}

#define ck_all_readable(f) ck_assert_uint_eq(pieces_readable(f), (f)->model.n)

static int count_line(void *arg, const char *name)
{
	++*(unsigned *)arg;
	return 0;
}

static unsigned files_count(struct fixture *f)
{
	unsigned n = 0;

	ck_ok(f->io->ops->list(f->io, "packs", count_line, &n));
	return n;
}

static void bad_count(void *arg, const char *line)
{
	ck_assert_uint_gt(strlen(line), 10);
	++*(unsigned *)arg;
}

static int verify(struct fixture *f, uint64_t pack)
{
	unsigned n = 0;
	struct pack_judge judge = { .bad = bad_count, .arg = &n };
	int r = packs_verify(f->ps, pack, &judge);

	ck_assert_int_eq(r == -E_CORRUPT, n > 0);
	return r;
}

static void file_load(struct fixture *f, uint64_t pack, struct buf *ret)
{
	struct io_file *file;
	char name[PACK_NAME_BYTES];
	uint64_t n;

	pack_name(name, pack, "pack");
	ck_ok(io_open(f->io, name, IO_READ, &file));
	ck_ok(io_size(file, &n));
	ck_ok(buf_reserve(ret, n));
	ck_ok(io_pread_all(file, ret->p, n, 0));
	ret->n = n;
	io_closep(&file);
}

static void file_store(struct fixture *f, uint64_t pack, const uint8_t *p, size_t n)
{
	char name[PACK_NAME_BYTES];

	pack_name(name, pack, "pack");
	ck_ok(io_publish(f->io, name, p, n));
}

/* --- round trips --- */

START_TEST(what_was_added_is_read_back)
{
	struct fixture *f = fixture_new(1);
	struct pack_writer *w;

	for (int round = 0; round < 4; round++) {
		ck_ok(pack_writer_new(f->ps, &w));
		for (int i = 0; i < 100; i++) {
			uint64_t max = rng_below(&f->rng, 8) ? 3000 : CHUNK_BYTES;

			ck_ok(model_add(f, w, 1 + (uint32_t)rng_below(&f->rng, max)));
			if (!rng_below(&f->rng, 5))
				ck_ok(pack_writer_break(w, rng_below(&f->rng, 4096)));
		}
		ck_ok(model_add(f, w, CHUNK_BYTES));
		ck_ok(pack_writer_finish(w));
		ck_all_readable(f);
	}
	fixture_reopen(f);
	ck_all_readable(f);
	for (uint64_t pack = 1; pack < packs_next(f->ps); pack++)
		ck_assert_int_eq(verify(f, pack), 0);
	fixture_free(f);
}
END_TEST

START_TEST(any_part_of_a_chunk_can_be_read)
{
	struct fixture *f = fixture_new(2);
	struct piece part;

	ck_ok(model_pack(f, 4, CHUNK_BYTES));
	for (int i = 0; i < 2000; i++) {
		part = f->model.pieces[rng_below(&f->rng, 4)];
		uint32_t from = (uint32_t)rng_below(&f->rng, part.n);

		part.off += from;
		part.at.off += from;
		part.n = (uint32_t)rng_below(&f->rng, part.n - from + 1);
		ck_assert(piece_read(f, &part));
	}
	fixture_free(f);
}
END_TEST

START_TEST(every_cipher_reads_back_and_notices_damage)
{
	static const enum cipher ciphers[] = { CIPHER_XCHACHA20, CIPHER_AES256GCM,
					       CIPHER_NONE };
	struct fixture *f;

	for (size_t i = 0; i < ARRAY_LEN(ciphers); i++) {
		if (!cipher_available(ciphers[i]))
			continue;
		f = fixture_with(30 + i, ciphers[i]);
		ck_ok(model_pack(f, 5, CHUNK_BYTES));
		fixture_reopen(f);
		ck_all_readable(f);
		ck_ok(io_sim_flip(f->io, "packs/0000000001.pack",
				  sizeof(struct pack_header) + sizeof(struct frame_head),
				  0));
		fixture_reopen(f);
		ck_assert_uint_eq(pieces_readable(f), 4);
		fixture_free(f);
	}
}
END_TEST

START_TEST(a_chunk_opens_only_as_what_it_was_sealed)
{
	struct fixture *f = fixture_new(34);
	struct chunk_home home = { .pack = 7 }, other;
	uint8_t plain[3000], out[4000], frame[4000], copy[4000];
	struct chunk_entry e, as;
	ZSTD_CCtx *c = ZSTD_createCCtx();
	ZSTD_DCtx *d = ZSTD_createDCtx();

	ck_ok(keys_aead(f->keys, KEY_PACK, home.salt, &home.aead));
	memset(plain, 'x', sizeof(plain));
	chunk_seal(c, &home, 3, plain, sizeof(plain), frame, &e);
	for (int change = 0; change < 7; change++) {
		uint32_t index = change == 1 ? 4 : 3;

		other = home;
		as = e;
		other.pack += change == 2;
		other.store_id[5] ^= change == 3;
		as.plain += change == 4;
		if (change == 5)
			as = (struct chunk_entry) { 0, e.sealed, e.sealed, CHUNK_STORED };
		as.sealed -= change == 6;
		memcpy(copy, frame + sizeof(struct frame_head), sizeof(copy) - 24);
		ck_assert_int_eq(chunk_open(d, &other, index, &as, copy, out),
				 change ? -EBADMSG : 0);
		if (!change)
			ck_assert_mem_eq(out, plain, sizeof(plain));
	}
	aead_free(home.aead);
	ZSTD_freeCCtx(c);
	ZSTD_freeDCtx(d);
	fixture_free(f);
}
END_TEST

START_TEST(a_piece_is_never_split_and_break_ends_only_full_enough_chunks)
{
	struct fixture *f = fixture_new(3);
	struct piece *p = f->model.pieces;
	struct pack_writer *w;

	ck_ok(pack_writer_new(f->ps, &w));
	ck_ok(model_add(f, w, 100));
	ck_ok(pack_writer_break(w, 101));
	ck_ok(model_add(f, w, 100));
	ck_ok(pack_writer_break(w, 200));
	ck_ok(model_add(f, w, 1));
	ck_ok(model_add(f, w, CHUNK_BYTES));
	ck_ok(pack_writer_finish(w));
	ck_assert_uint_eq(p[0].at.index, 0);
	ck_assert_uint_eq(p[1].at.index, 0);
	ck_assert_uint_eq(p[1].at.off, 100);
	ck_assert_uint_eq(p[2].at.index, 1);
	ck_assert_uint_eq(p[3].at.index, 2);
	ck_assert_uint_eq(p[3].at.off, 0);
	ck_all_readable(f);
	fixture_free(f);
}
END_TEST

struct seen {
	struct pack_info info[200];
	unsigned n;
};

static int seen_add(void *arg, const struct pack_info *info)
{
	struct seen *s = arg;

	ck_assert_uint_lt(s->n, ARRAY_LEN(s->info));
	if (s->n)
		ck_assert_uint_gt(info->pack, s->info[s->n - 1].pack);
	s->info[s->n++] = *info;
	return 0;
}

START_TEST(a_full_pack_is_followed_by_another)
{
	struct fixture *f = fixture_new(4);
	struct seen before = { .n = 0 }, after = { .n = 0 };
	struct packs_stats stats;
	struct pack_writer *w;

	ck_ok(pack_writer_new(f->ps, &w));
	while (f->model.bytes.n < PACK_BYTES * 5 / 2)
		ck_ok(model_add(f, w, CHUNK_BYTES));
	ck_ok(packs_each(f->ps, seen_add, &before));
	ck_assert_uint_eq(before.n, 0);
	ck_ok(pack_writer_finish(w));
	ck_ok(packs_each(f->ps, seen_add, &before));
	packs_get_stats(f->ps, &stats);
	ck_assert_uint_eq(stats.packs, before.n);
	ck_assert_uint_eq(stats.plain_bytes, f->model.bytes.n);
	fixture_reopen(f);
	ck_ok(packs_each(f->ps, seen_add, &after));
	ck_assert_uint_eq(before.n, after.n);
	for (unsigned i = 0; i < before.n; i++) {
		ck_assert_uint_eq(before.info[i].stored_bytes,
				  after.info[i].stored_bytes);
		ck_assert_uint_eq(before.info[i].chunks, after.info[i].chunks);
		ck_assert_uint_eq(before.info[i].file_bytes, after.info[i].file_bytes);
		ck_assert(!before.info[i].damaged && !after.info[i].damaged);
		ck_assert_uint_le(before.info[i].file_bytes, PACK_BYTES + 262144);
		if (i + 1 < before.n)
			ck_assert_uint_ge(before.info[i].file_bytes, PACK_BYTES);
	}
	for (size_t i = 0; i < f->model.n; i += 7)
		ck_assert(piece_read(f, &f->model.pieces[i]));
	fixture_free(f);
}
END_TEST

START_TEST(a_writer_that_got_nothing_makes_no_pack)
{
	struct fixture *f = fixture_new(5);
	struct pack_writer *w;

	ck_ok(pack_writer_new(f->ps, &w));
	ck_ok(pack_writer_finish(w));
	ck_assert_uint_eq(files_count(f), 0);
	ck_ok(pack_writer_new(f->ps, &w));
	ck_ok(model_add(f, w, 5000));
	ck_assert_ptr_null(pack_writer_abort(w));
	ck_assert_ptr_null(pack_writer_abort(NULL));
	ck_assert_uint_eq(files_count(f), 0);
	ck_assert_uint_eq(pieces_readable(f), 0);
	fixture_free(f);
}
END_TEST

START_TEST(reading_beyond_a_chunk_or_what_is_not_there_is_refused)
{
	struct fixture *f = fixture_new(6);
	uint8_t out[16];
	uint32_t n;

	ck_ok(model_pack(f, 1, 1000));
	n = f->model.pieces[0].n;
	ck_assert_int_eq(packs_read(f->ps, 1, 0, n, 0, out), 0);
	ck_assert_int_eq(packs_read(f->ps, 1, 0, n, 1, out), -E_CORRUPT);
	ck_assert_int_eq(packs_read(f->ps, 1, 0, UINT32_MAX, 2, out), -E_CORRUPT);
	ck_assert_int_eq(packs_read_cached(f->ps, 1, 0, n - 1, 2, out), -E_CORRUPT);
	ck_assert_int_eq(packs_read(f->ps, 1, 1, 0, 1, out), -E_CORRUPT);
	ck_assert_int_eq(packs_read(f->ps, 1, 1u << 24, 0, 1, out), -E_CORRUPT);
	ck_assert_int_eq(packs_read(f->ps, 1, UINT32_MAX, 0, 1, out), -E_CORRUPT);
	ck_assert_int_eq(packs_read(f->ps, 2, 0, 0, 1, out), -ENOENT);
	ck_assert_int_eq(packs_pin(f->ps, 2), -ENOENT);
	fixture_free(f);
}
END_TEST

/* --- cache and open files --- */

START_TEST(the_cache_keeps_to_its_budget_and_serves_what_it_has)
{
	struct fixture *f = fixture_new(7);
	struct piece *p = f->model.pieces;
	struct packs_stats stats;
	uint8_t *out = malloc(CHUNK_BYTES);

	ck_ok(model_pack(f, 30, CHUNK_BYTES));
	packs_set_budget(f->ps, 500000);
	ck_assert_int_eq(packs_read_cached(f->ps, 1, 0, 0, p->n, out), -EAGAIN);
	for (int i = 0; i < 300; i++) {
		ck_assert(piece_read(f, &p[rng_below(&f->rng, 30)]));
		packs_get_stats(f->ps, &stats);
		ck_assert_uint_le(stats.cache_bytes, 500000);
	}
	ck_assert(piece_read(f, &p[3]));
	ck_ok(packs_read_cached(f->ps, 1, 3, 0, p[3].n, out));
	ck_assert_mem_eq(out, f->model.bytes.p + p[3].off, p[3].n);
	ck_assert_uint_gt(stats.hits, 0);
	packs_set_budget(f->ps, 0);
	packs_get_stats(f->ps, &stats);
	ck_assert_uint_eq(stats.cache_bytes, 0);
	ck_assert_int_eq(packs_read_cached(f->ps, 1, 3, 0, 1, out), -EAGAIN);
	ck_all_readable(f);
	free(out);
	fixture_free(f);
}
END_TEST

START_TEST(the_least_recently_used_chunk_goes_first)
{
	struct fixture *f = fixture_new(8);
	struct pack_writer *w;
	uint8_t out;

	ck_ok(pack_writer_new(f->ps, &w));
	for (int i = 0; i < 3; i++) {
		ck_ok(model_add(f, w, 1000));
		ck_ok(pack_writer_break(w, 1));
	}
	ck_ok(pack_writer_finish(w));
	packs_set_budget(f->ps, 2 * (1000 + sizeof(struct cached_chunk)));
	ck_assert(piece_read(f, &f->model.pieces[0]));
	ck_assert(piece_read(f, &f->model.pieces[1]));
	ck_assert(piece_read(f, &f->model.pieces[0]));
	ck_assert(piece_read(f, &f->model.pieces[2]));
	ck_assert_int_eq(packs_read_cached(f->ps, 1, 0, 0, 1, &out), 0);
	ck_assert_int_eq(packs_read_cached(f->ps, 1, 1, 0, 1, &out), -EAGAIN);
	ck_assert_int_eq(packs_read_cached(f->ps, 1, 2, 0, 1, &out), 0);
	fixture_free(f);
}
END_TEST

START_TEST(few_packs_are_open_at_once)
{
	struct fixture *f = fixture_new(9);

	for (int i = 0; i < 100; i++)
		ck_ok(model_pack(f, 2, 300));
	packs_set_budget(f->ps, 0);
	for (uint64_t pack = 1; pack <= 10; pack++)
		ck_ok(packs_pin(f->ps, pack));
	for (int i = 0; i < 3; i++) {
		ck_all_readable(f);
		ck_assert_uint_le(f->ps->n_opened, PACKS_OPEN_MAX);
	}
	for (uint64_t pack = 1; pack <= 10; pack++)
		packs_unpin(f->ps, pack);
	fixture_free(f);
}
END_TEST

/* --- damage --- */

START_TEST(any_flipped_byte_costs_at_most_one_chunk)
{
	struct fixture *f = fixture_new(10);
	struct buf file = BUF_INIT;
	char name[PACK_NAME_BYTES];
	unsigned chunks = 5;
	size_t lost = 0;

	ck_ok(model_pack(f, chunks, 400));
	file_load(f, 1, &file);
	pack_name(name, 1, "pack");
	for (size_t i = 0; i < file.n; i++) {
		unsigned bit = (unsigned)rng_below(&f->rng, 8);
		size_t readable;

		ck_ok(io_sim_flip(f->io, name, i, bit));
		fixture_reopen(f);
		readable = pieces_readable(f);
		ck_assert_msg(readable + 1 >= chunks, "byte %zu bit %u: %zu of %u left",
			      i, bit, readable, chunks);
		lost += chunks - readable;
		ck_assert_msg(verify(f, 1) == -E_CORRUPT, "byte %zu not noticed", i);
		ck_ok(io_sim_flip(f->io, name, i, bit));
	}
	ck_assert_uint_gt(lost, 0);
	fixture_reopen(f);
	ck_all_readable(f);
	ck_assert_int_eq(verify(f, 1), 0);
	buf_release(&file);
	fixture_free(f);
}
END_TEST

START_TEST(frames_are_found_behind_a_broken_one_without_a_directory)
{
	struct fixture *f = fixture_new(35);
	char name[PACK_NAME_BYTES];
	struct chunk_entry third;

	ck_ok(model_pack(f, 6, CHUNK_BYTES));
	ck_all_readable(f);
	third = ((struct pack *)htab_get(&f->ps->table, 1))->image->chunks[2];
	pack_name(name, 1, "pack");
	ck_ok(io_sim_flip(f->io, name, third.off + 9, 3));
	ck_ok(io_sim_flip(f->io, name, f->ps->stats.file_bytes - 20, 3));
	fixture_reopen(f);
	ck_assert_uint_eq(pieces_readable(f), 5);
	ck_assert(!piece_read(f, &f->model.pieces[2]));
	fixture_free(f);
}
END_TEST

START_TEST(a_file_cut_anywhere_keeps_the_chunks_before_the_cut)
{
	struct fixture *f = fixture_new(11);
	struct chunk_entry ends[4];
	struct buf file = BUF_INIT;

	ck_ok(model_pack(f, 4, 300));
	ck_all_readable(f);
	memcpy(ends, ((struct pack *)htab_get(&f->ps->table, 1))->image->chunks,
	       sizeof(ends));
	file_load(f, 1, &file);
	for (size_t n = 0; n < file.n; n++) {
		file_store(f, 1, file.p, n);
		fixture_reopen(f);
		for (int i = 0; i < 4; i++)
			ck_assert_msg(piece_read(f, &f->model.pieces[i]) ==
					      (ends[i].off + frame_bytes(&ends[i]) <= n),
				      "chunk %d of a file cut at %zu", i, n);
		ck_assert_int_eq(verify(f, 1), -E_CORRUPT);
	}
	buf_release(&file);
	fixture_free(f);
}
END_TEST

START_TEST(random_damage_never_gives_other_bytes)
{
	struct fixture *f = fixture_new(12);
	struct buf file = BUF_INIT, hurt = BUF_INIT;

	ck_ok(model_pack(f, 12, 3000));
	file_load(f, 1, &file);
	for (int i = 0; i < 300; i++) {
		int wounds = 1 + (int)rng_below(&f->rng, 6);

		hurt.n = 0;
		ck_ok(buf_append(&hurt, file.p, file.n));
		while (wounds--) {
			size_t at = rng_below(&f->rng, hurt.n);
			size_t n = 1 + rng_below(&f->rng, MIN(hurt.n - at, (size_t)200));

			switch (rng_below(&f->rng, 3)) {
			case 0:
				memset(hurt.p + at, 0, n);
				break;
			case 1:
				rng_fill(&f->rng, hurt.p + at, n);
				break;
			default:
				memmove(hurt.p + at, hurt.p + at + n, hurt.n - at - n);
				hurt.n -= n;
			}
		}
		file_store(f, 1, hurt.p, hurt.n);
		fixture_reopen(f);
		pieces_readable(f);
		verify(f, 1);
	}
	buf_release(&file);
	buf_release(&hurt);
	fixture_free(f);
}
END_TEST

START_TEST(packs_under_each_others_names_are_not_read)
{
	struct fixture *f = fixture_new(13);
	struct buf one = BUF_INIT, two = BUF_INIT;

	ck_ok(model_pack(f, 3, 1000));
	ck_ok(model_pack(f, 3, 1000));
	file_load(f, 1, &one);
	file_load(f, 2, &two);
	file_store(f, 1, two.p, two.n);
	file_store(f, 2, one.p, one.n);
	fixture_reopen(f);
	ck_assert_uint_eq(pieces_readable(f), 0);
	ck_assert_ptr_nonnull(strstr(err_detail(), "holds another pack"));
	ck_assert_int_eq(verify(f, 1), -E_CORRUPT);
	ck_assert_int_eq(verify(f, 2), -E_CORRUPT);
	buf_release(&one);
	buf_release(&two);
	fixture_free(f);
}
END_TEST

START_TEST(a_pack_written_after_another_than_the_one_there_is_noticed)
{
	struct fixture *f = fixture_new(14);
	struct buf other = BUF_INIT;

	ck_ok(model_pack(f, 3, 1000));
	file_load(f, 1, &other);
	ck_ok(packs_remove(f->ps, 1));
	fixture_reopen(f);
	ck_ok(model_pack(f, 3, 1000)); /* pack 1 again, of other bytes */
	ck_ok(model_pack(f, 3, 1000));
	ck_assert_int_eq(verify(f, 2), 0);
	file_store(f, 1, other.p, other.n);
	fixture_reopen(f);
	ck_assert_int_eq(verify(f, 1), 0);
	ck_assert_int_eq(verify(f, 2), -E_CORRUPT);
	buf_release(&other);
	fixture_free(f);
}
END_TEST

START_TEST(another_key_reads_nothing)
{
	struct fixture *f = fixture_new(15);
	uint8_t wrapped[WRAPPED_KEY_BYTES];
	struct keys *right = f->keys, *wrong;
	struct key_file *kf;
	char path[4200];

	ck_ok(model_pack(f, 3, 1000));
	snprintf(path, sizeof(path), "%s/key", suite_tmpdir());
	ck_ok(key_file_create(path, keys_store_id(right)));
	ck_ok(key_file_read(path, &kf));
	ck_ok(keys_create(kf, CIPHER_XCHACHA20, keys_store_id(right), wrapped, &wrong));
	key_file_free(kf);
	f->keys = wrong;
	fixture_reopen(f);
	ck_assert_uint_eq(pieces_readable(f), 0);
	ck_assert_int_eq(verify(f, 1), -E_CORRUPT);
	f->keys = right;
	fixture_reopen(f);
	ck_all_readable(f);
	keys_free(wrong);
	fixture_free(f);
}
END_TEST

START_TEST(a_newer_format_is_named_as_such)
{
	struct fixture *f = fixture_new(16);
	struct buf file = BUF_INIT;
	struct pack_header h;
	uint8_t out;

	ck_ok(model_pack(f, 1, 100));
	file_load(f, 1, &file);
	memcpy(&h, file.p, sizeof(h));
	h.version = le32_put(PACK_VERSION + 1);
	h.crc = le32_put(crc32c(0, &h, offsetof(struct pack_header, crc)));
	memcpy(file.p, &h, sizeof(h));
	file_store(f, 1, file.p, file.n);
	fixture_reopen(f);
	ck_assert_int_eq(packs_read(f->ps, 1, 0, 0, 1, &out), -E_NEWER);
	buf_release(&file);
	fixture_free(f);
}
END_TEST

/* --- upkeep --- */

START_TEST(a_rewrite_keeps_the_living_and_drops_the_rest)
{
	struct fixture *f = fixture_new(17);
	struct seen before = { .n = 0 }, after = { .n = 0 };
	uint8_t live[8] = { 0 };
	uint32_t sizes[40];

	ck_ok(model_pack(f, 40, 5000));
	ck_ok(packs_each(f->ps, seen_add, &before));
	live[0] = 1;
	for (unsigned i = 1; i < 39; i++)
		live[i / 8] |= (uint8_t)(rng_below(&f->rng, 2) << i % 8);
	ck_all_readable(f);
	ck_ok(packs_rewrite(f->ps, 1, live));
	for (int again = 0; again < 2; again++) {
		ck_ok(packs_chunk_sizes(f->ps, 1, sizes));
		for (unsigned i = 0; i < 40; i++) {
			int alive = live[i / 8] >> i % 8 & 1;

			ck_assert_int_eq(piece_read(f, &f->model.pieces[i]), alive);
			ck_assert_int_eq(sizes[i] > 0, alive);
		}
		ck_assert_int_eq(verify(f, 1), 0);
		fixture_reopen(f);
	}
	ck_ok(packs_each(f->ps, seen_add, &after));
	ck_ok(packs_chunk_plain(f->ps, 1, 0, sizes));
	ck_assert_uint_eq(sizes[0], f->model.pieces[0].n);
	ck_assert_int_eq(packs_chunk_plain(f->ps, 1, 39, sizes), -E_CORRUPT);
	ck_assert_uint_eq(after.info[0].chunks, 40);
	ck_assert_uint_lt(after.info[0].file_bytes, before.info[0].file_bytes);
	ck_assert_uint_lt(after.info[0].stored_bytes, before.info[0].stored_bytes);
	ck_assert_uint_eq(files_count(f), 1);
	fixture_free(f);
}
END_TEST

START_TEST(a_rewrite_of_a_damaged_pack_is_refused)
{
	struct fixture *f = fixture_new(18);
	uint8_t all = 0x0f, some = 0x05;
	struct seen seen = { .n = 0 };
	char name[PACK_NAME_BYTES];

	ck_ok(model_pack(f, 4, 500));
	ck_ok(packs_rewrite(f->ps, 1, &some));
	ck_assert_int_eq(packs_rewrite(f->ps, 1, &all), -E_CORRUPT);
	pack_name(name, 1, "pack");
	ck_ok(io_sim_flip(f->io, name, 0, 0)); /* the header alone is no obstacle */
	fixture_reopen(f);
	ck_ok(packs_rewrite(f->ps, 1, &some));
	ck_ok(io_sim_flip(f->io, name, f->ps->stats.file_bytes - 1, 0));
	fixture_reopen(f);
	ck_assert_int_eq(packs_rewrite(f->ps, 1, &some), -E_CORRUPT);
	ck_ok(packs_each(f->ps, seen_add, &seen));
	ck_assert(seen.info[0].damaged);
	ck_assert_uint_eq(pieces_readable(f), 2);
	ck_assert_uint_eq(files_count(f), 1);
	fixture_free(f);
}
END_TEST

START_TEST(who_pinned_a_pack_reads_it_after_rewrite_and_removal)
{
	struct fixture *f = fixture_new(19);
	struct packs_stats stats;
	uint8_t live = 1;

	ck_ok(model_pack(f, 3, 500));
	packs_set_budget(f->ps, 0);
	for (int round = 0; round < 2; round++) {
		ck_ok(packs_pin(f->ps, 1));
		ck_ok(packs_pin(f->ps, 1));
		ck_ok(packs_rewrite(f->ps, 1, &live));
		ck_assert_uint_eq(pieces_readable(f), round ? 1 : 3);
		ck_ok(packs_rewrite(f->ps, 1, &live));
		packs_unpin(f->ps, 1);
		ck_assert_uint_eq(pieces_readable(f), round ? 1 : 3);
		packs_unpin(f->ps, 1);
		ck_assert_uint_eq(pieces_readable(f), 1);
	}
	fixture_reopen(f);
	ck_ok(packs_pin(f->ps, 1));
	ck_ok(packs_remove(f->ps, 1));
	ck_assert_int_eq(packs_remove(f->ps, 1), -ENOENT);
	ck_assert_int_eq(packs_pin(f->ps, 1), -ENOENT);
	ck_assert_uint_eq(files_count(f), 0);
	packs_get_stats(f->ps, &stats);
	ck_assert_uint_eq(stats.packs, 0);
	ck_assert_uint_eq(stats.file_bytes, 0);
	ck_assert_uint_eq(pieces_readable(f), 1);
	packs_unpin(f->ps, 1);
	ck_assert_uint_eq(pieces_readable(f), 0);
	fixture_free(f);
}
END_TEST

START_TEST(removed_packs_leave_the_cache)
{
	struct fixture *f = fixture_new(20);
	struct packs_stats stats;

	ck_ok(model_pack(f, 5, 5000));
	ck_all_readable(f);
	ck_ok(packs_remove(f->ps, 1));
	packs_get_stats(f->ps, &stats);
	ck_assert_uint_eq(stats.cache_bytes, 0);
	ck_assert_uint_eq(pieces_readable(f), 0);
	fixture_free(f);
}
END_TEST

START_TEST(read_only_changes_nothing)
{
	struct fixture *f = fixture_new(21);
	struct packs_opts opts = { .zstd_level = 1, .read_only = true };
	struct packs *ps;
	struct io *empty;

	ck_ok(model_pack(f, 2, 500));
	ck_ok(io_publish(f->io, "packs/0000000007.tmp", "x", 1));
	opts.io = f->io;
	opts.keys = f->keys;
	ck_ok(packs_open(&opts, &ps));
	ck_assert_uint_eq(files_count(f), 2);
	packs_close(ps);
	fixture_reopen(f);
	ck_assert_uint_eq(files_count(f), 1);
	ck_all_readable(f);

	ck_ok(io_sim_new(1, &empty));
	opts.io = empty;
	opts.next_pack = 9;
	ck_ok(packs_open(&opts, &ps));
	ck_assert_uint_eq(packs_next(ps), 9);
	packs_close(ps);
	io_free(empty);
	fixture_free(f);
}
END_TEST

static void lines_join(void *arg, const char *line)
{
	ck_ok(buf_append(arg, line, strlen(line)));
	ck_ok(buf_append(arg, "\n", 1));
}

START_TEST(inspect_puts_a_pack_into_words)
{
	struct fixture *f = fixture_new(22);
	struct buf words = BUF_INIT;
	uint8_t live = 3;

	ck_ok(model_pack(f, 3, 500));
	ck_ok(packs_rewrite(f->ps, 1, &live));
	ck_ok(pack_inspect(f->io, f->keys, "packs/0000000001.pack", lines_join, &words));
	ck_ok(buf_append(&words, "", 1));
	ck_assert_ptr_nonnull(strstr((char *)words.p, "3 chunks, rewritten 1 times"));
	ck_assert_ptr_nonnull(strstr((char *)words.p, "signature: good"));
	ck_assert_ptr_nonnull(strstr((char *)words.p, "chunk 2: removed"));
	ck_ok(pack_inspect(f->io, NULL, "packs/0000000001.pack", lines_join, &words));
	ck_ok(io_sim_flip(f->io, "packs/0000000001.pack", 9, 1));
	ck_assert_int_eq(
		pack_inspect(f->io, f->keys, "packs/0000000001.pack", lines_join, &words),
		-E_CORRUPT);
	ck_assert_int_eq(pack_inspect(f->io, NULL, "packs/none", lines_join, &words),
			 -ENOENT);
	buf_release(&words);
	fixture_free(f);
}
END_TEST

/* --- threads --- */

#define THREADS 3
#define SHOWN	8

/* What threads read: chunk i of a pack holds bytes that follow from pack and i alone. */
struct yard {
	struct fixture *f;
	atomic_ulong shown[SHOWN]; /* pack numbers */
	atomic_bool stop;
	atomic_ulong reads;
	pthread_barrier_t start;
};

static void pattern_make(uint64_t pack, uint32_t i, uint8_t *p, uint32_t n)
{
	struct rng rng = rng_seeded(pack << 16 | i);

	rng_fill(&rng, p, n);
	memset(p + n / 2, (int)i, n - n / 2);
}

static uint32_t pattern_bytes(uint64_t pack, uint32_t i)
{
	return 500 + (uint32_t)((pack * 31 + i * 977) % 4000);
}

static uint64_t pattern_pack(struct fixture *f, uint32_t chunks)
{
	uint64_t number = packs_next(f->ps);
	struct pack_writer *w;
	uint8_t bytes[5000];

	ck_ok(pack_writer_new(f->ps, &w));
	for (uint32_t i = 0; i < chunks; i++) {
		struct chunk_place at;

		pattern_make(number, i, bytes, pattern_bytes(number, i));
		ck_ok(pack_writer_add(w, bytes, pattern_bytes(number, i), &at));
		ck_ok(pack_writer_break(w, 1));
		ck_assert_uint_eq(at.pack, number);
		ck_assert_uint_eq(at.index, i);
	}
	ck_ok(pack_writer_finish(w));
	return number;
}

/* Even chunks live as long as their pack is shown or pinned. */
static void *yard_reader(void *arg)
{
	struct yard *y = arg;
	struct rng rng = rng_seeded((uint64_t)(uintptr_t)&rng);
	uint8_t got[5000], want[5000];

	while (!atomic_load(&y->stop)) {
		uint64_t pack = atomic_load(&y->shown[rng_below(&rng, SHOWN)]);
		uint32_t i = (uint32_t)rng_below(&rng, 8);
		uint32_t n = pattern_bytes(pack, i);
		int r;

		if (packs_pin(y->f->ps, pack) < 0)
			continue;
		r = packs_read(y->f->ps, pack, i, 0, n, got);
		if (r == 0) {
			pattern_make(pack, i, want, n);
			ck_assert_mem_eq(got, want, n);
			atomic_fetch_add(&y->reads, 1);
		} else {
			ck_assert_msg(i % 2 && r == -E_CORRUPT, "chunk %u: %d", i, r);
		}
		packs_unpin(y->f->ps, pack);
	}
	return NULL;
}

START_TEST(reading_goes_on_while_packs_are_rewritten_and_removed)
{
	struct fixture *f = fixture_new(23);
	struct yard y = { .f = f };
	pthread_t threads[THREADS];
	uint8_t live = 0x55;

	packs_set_budget(f->ps, 20000);
	for (int i = 0; i < SHOWN; i++)
		atomic_store(&y.shown[i], pattern_pack(f, 8));
	for (int i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, yard_reader, &y), 0);
	for (int i = 0; i < 300; i++) {
		atomic_ulong *at = &y.shown[rng_below(&f->rng, SHOWN)];
		uint64_t old = atomic_load(at);

		if (rng_below(&f->rng, 2)) {
			ck_ok(packs_rewrite(f->ps, old, &live));
		} else {
			atomic_store(at, pattern_pack(f, 8));
			ck_ok(packs_remove(f->ps, old));
		}
	}
	atomic_store(&y.stop, true);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	ck_assert_uint_gt(atomic_load(&y.reads), 0);
	ck_assert_uint_eq(files_count(f), SHOWN);
	fixture_free(f);
}
END_TEST

static void *yard_same(void *arg)
{
	struct yard *y = arg;

	pthread_barrier_wait(&y->start);
	for (uint32_t i = 0; i < 50; i++)
		ck_assert(piece_read(y->f, &y->f->model.pieces[i]));
	return NULL;
}

START_TEST(readers_of_one_chunk_decode_it_once)
{
	struct fixture *f = fixture_new(24);
	struct yard y = { .f = f };
	pthread_t threads[THREADS];
	struct packs_stats stats;

	ck_ok(model_pack(f, 50, 20000));
	packs_set_budget(f->ps, 4 << 20);
	pthread_barrier_init(&y.start, NULL, THREADS);
	for (int i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, yard_same, &y), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	pthread_barrier_destroy(&y.start);
	packs_get_stats(f->ps, &stats);
	ck_assert_uint_eq(stats.misses, 50);
	ck_assert_uint_eq(stats.hits, 50 * (THREADS - 1));
	fixture_free(f);
}
END_TEST

/* --- power and faults --- */

START_TEST(a_pack_is_whole_or_absent_after_a_power_cut)
{
	bool done = false;

	for (uint64_t n = 1; !done; n++) {
		struct fixture *f = fixture_new(1000 + n);
		size_t old, readable;
		int r;

		ck_ok(model_pack(f, 3, 3000));
		old = f->model.n;
		io_sim_stop_at(f->io, IO_SIM_ANY, n);
		r = model_pack(f, 6, CHUNK_BYTES);
		done = r == 0;
		f->ps = packs_close(f->ps);
		io_sim_power_cut(f->io);
		ck_ok(packs_try_open(f));
		readable = pieces_readable(f);
		ck_assert_uint_ge(readable, old);
		ck_assert_msg(readable == old || readable == old + 6,
			      "call %llu: %zu of %zu", (unsigned long long)n, readable,
			      f->model.n);
		if (done)
			ck_assert_uint_eq(readable, old + 6);
		ck_assert_uint_eq(files_count(f), readable == old ? 1 : 2);
		for (uint64_t pack = 1; pack <= files_count(f); pack++)
			ck_assert_int_eq(verify(f, pack), 0);
		fixture_free(f);
	}
}
END_TEST

START_TEST(a_rewrite_cut_by_power_loss_leaves_the_old_or_the_new)
{
	bool done = false;

	for (uint64_t n = 1; !done; n++) {
		struct fixture *f = fixture_new(2000 + n);
		uint8_t live = 0x15;
		size_t readable;

		ck_ok(model_pack(f, 6, 30000));
		io_sim_stop_at(f->io, IO_SIM_ANY, n);
		done = packs_rewrite(f->ps, 1, &live) == 0;
		f->ps = packs_close(f->ps);
		io_sim_power_cut(f->io);
		ck_ok(packs_try_open(f));
		readable = pieces_readable(f);
		ck_assert(readable == 3 || (readable == 6 && !done));
		ck_assert_int_eq(verify(f, 1), 0);
		ck_assert_uint_eq(files_count(f), 1);
		fixture_free(f);
	}
}
END_TEST

/* Everything once; the first error ends it. *ret_durable: pieces of finished writers. */
static int all_once(struct fixture *f, size_t *ret_durable)
{
	uint8_t out[64], live = 0x03;
	int r;

	r = model_pack(f, 4, 2000);
	if (r == 0)
		*ret_durable = f->model.n;
	for (size_t i = 0; r == 0 && i < f->model.n; i++)
		r = packs_read(f->ps, f->model.pieces[i].at.pack,
			       f->model.pieces[i].at.index, 0, 1, out);
	if (r == 0)
		r = packs_rewrite(f->ps, 1, &live);
	if (r == 0)
		r = packs_remove(f->ps, 2);
	return r;
}

START_TEST(a_failing_call_is_reported_and_leaves_a_sound_set)
{
	bool done = false;

	for (uint64_t n = 1; !done; n++) {
		struct fixture *f = fixture_new(3000 + n);
		size_t old, durable, readable;
		struct seen seen = { .n = 0 };

		ck_ok(model_pack(f, 2, 2000));
		old = durable = f->model.n;
		f->ps = packs_close(f->ps);
		io_sim_fail_at(f->io, IO_SIM_ANY, n, EIO, n % 2);
		if (packs_try_open(f) == 0)
			done = all_once(f, &durable) == 0;
		done = done && io_sim_calls(f->io, IO_SIM_ANY) > 0 && n > 60;
		io_sim_fail_at(f->io, 0, 0, 0, false);
		if (!f->ps)
			ck_ok(packs_try_open(f));
		for (int again = 0; again < 2; again++) {
			readable = pieces_readable(f);
			ck_assert_uint_ge(readable, old);
			ck_ok(packs_each(f->ps, seen_add, &seen));
			for (unsigned i = 0; i < seen.n; i++)
				ck_assert(!seen.info[i].damaged);
			seen.n = 0;
			ck_assert_int_eq(verify(f, 1), 0);
			fixture_reopen(f);
		}
		ck_assert_uint_le(files_count(f), 2);
		fixture_free(f);
	}
}
END_TEST

START_TEST(a_full_disk_fails_the_writer_and_leaves_nothing_behind)
{
	struct fixture *f = fixture_new(25);
	size_t old;

	ck_ok(model_pack(f, 2, 2000));
	old = f->model.n;
	io_sim_set_free(f->io, 100000);
	ck_assert_int_eq(model_pack(f, 40, CHUNK_BYTES), -ENOSPC);
	ck_assert_uint_eq(files_count(f), 1);
	ck_assert_uint_eq(pieces_readable(f), old);
	io_sim_set_free(f->io, 100 << 20);
	f->model.n = old;
	ck_ok(model_pack(f, 10, CHUNK_BYTES));
	ck_all_readable(f);
	fixture_free(f);
}
END_TEST

START_TEST(a_disk_error_while_reading_passes)
{
	struct fixture *f = fixture_new(26);
	uint8_t out;
	int r;

	ck_ok(model_pack(f, 3, 2000));
	for (uint64_t n = 1; n <= 8; n++) {
		fixture_reopen(f);
		io_sim_fail_at(f->io, IO_SIM_PREAD | IO_SIM_OPEN, n, EIO, true);
		r = packs_read(f->ps, 1, 1, 0, 1, &out);
		ck_assert_msg(r == 0 || r == -EIO, "%d at %llu", r,
			      (unsigned long long)n);
		io_sim_fail_at(f->io, 0, 0, 0, false);
		ck_all_readable(f);
	}
	fixture_free(f);
}
END_TEST

static Suite *make_suite(void)
{
	Suite *s = suite_create("pack");
	TCase *t = tcase_create("pack");

	tcase_set_timeout(t, 100);
	tcase_add_test(t, what_was_added_is_read_back);
	tcase_add_test(t, any_part_of_a_chunk_can_be_read);
	tcase_add_test(t, every_cipher_reads_back_and_notices_damage);
	tcase_add_test(t, a_chunk_opens_only_as_what_it_was_sealed);
	tcase_add_test(t, a_piece_is_never_split_and_break_ends_only_full_enough_chunks);
	tcase_add_test(t, a_full_pack_is_followed_by_another);
	tcase_add_test(t, a_writer_that_got_nothing_makes_no_pack);
	tcase_add_test(t, reading_beyond_a_chunk_or_what_is_not_there_is_refused);
	tcase_add_test(t, the_cache_keeps_to_its_budget_and_serves_what_it_has);
	tcase_add_test(t, the_least_recently_used_chunk_goes_first);
	tcase_add_test(t, few_packs_are_open_at_once);
	tcase_add_test(t, any_flipped_byte_costs_at_most_one_chunk);
	tcase_add_test(t, frames_are_found_behind_a_broken_one_without_a_directory);
	tcase_add_test(t, a_file_cut_anywhere_keeps_the_chunks_before_the_cut);
	tcase_add_test(t, random_damage_never_gives_other_bytes);
	tcase_add_test(t, packs_under_each_others_names_are_not_read);
	tcase_add_test(t, a_pack_written_after_another_than_the_one_there_is_noticed);
	tcase_add_test(t, another_key_reads_nothing);
	tcase_add_test(t, a_newer_format_is_named_as_such);
	tcase_add_test(t, a_rewrite_keeps_the_living_and_drops_the_rest);
	tcase_add_test(t, a_rewrite_of_a_damaged_pack_is_refused);
	tcase_add_test(t, who_pinned_a_pack_reads_it_after_rewrite_and_removal);
	tcase_add_test(t, removed_packs_leave_the_cache);
	tcase_add_test(t, read_only_changes_nothing);
	tcase_add_test(t, inspect_puts_a_pack_into_words);
	tcase_add_test(t, reading_goes_on_while_packs_are_rewritten_and_removed);
	tcase_add_test(t, readers_of_one_chunk_decode_it_once);
	tcase_add_test(t, a_pack_is_whole_or_absent_after_a_power_cut);
	tcase_add_test(t, a_rewrite_cut_by_power_loss_leaves_the_old_or_the_new);
	tcase_add_test(t, a_failing_call_is_reported_and_leaves_a_sound_set);
	tcase_add_test(t, a_full_disk_fails_the_writer_and_leaves_nothing_behind);
	tcase_add_test(t, a_disk_error_while_reading_passes);
	suite_add_tcase(s, t);
	return s;
}

int main(void)
{
	return suite_main(make_suite());
}
