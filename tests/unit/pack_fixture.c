#include "tests/unit/pack_fixture.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/err.h"

int packs_try_open(struct fixture *f)
{
	struct packs_opts opts = { .io = f->io,
				   .keys = f->keys,
				   .zstd_level = 1,
				   .cache_bytes = f->cache_bytes };

	return packs_open(&opts, &f->ps);
}

struct fixture *fixture_with(uint64_t salt, enum cipher cipher)
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

struct fixture *fixture_new(uint64_t salt)
{
	return fixture_with(salt, CIPHER_XCHACHA20);
}

void fixture_reopen(struct fixture *f)
{
	f->ps = packs_close(f->ps);
	ck_ok(packs_try_open(f));
}

void fixture_free(struct fixture *f)
{
	packs_close(f->ps);
	keys_free(f->keys);
	io_free(f->io);
	buf_release(&f->model.bytes);
	free(f);
}

void bytes_make(struct rng *rng, uint8_t *p, size_t n)
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

int model_add(struct fixture *f, struct pack_writer *w, uint32_t n)
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

int model_pack(struct fixture *f, unsigned chunks, uint32_t bytes_max)
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

int piece_read(struct fixture *f, const struct piece *p)
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

size_t pieces_readable(struct fixture *f)
{
	size_t n = 0;

	for (size_t i = 0; i < f->model.n; i++)
		n += (size_t)piece_read(f, &f->model.pieces[i]);
	return n;
}

static int count_line(void *arg, const char *name)
{
	++*(unsigned *)arg;
	return 0;
}

unsigned files_count(struct fixture *f)
{
	unsigned n = 0;

	ck_ok(f->io->ops->list(f->io, "packs", count_line, &n));
	return n;
}

void bad_count(void *arg, const char *line)
{
	ck_assert_uint_gt(strlen(line), 10);
	++*(unsigned *)arg;
}

int verify(struct fixture *f, uint64_t pack)
{
	unsigned n = 0;
	struct pack_judge judge = { .bad = bad_count, .arg = &n };
	int r = packs_verify(f->ps, pack, &judge);

	ck_assert_int_eq(r == -E_CORRUPT, n > 0);
	return r;
}

void file_load(struct fixture *f, uint64_t pack, struct buf *ret)
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

void file_store(struct fixture *f, uint64_t pack, const uint8_t *p, size_t n)
{
	char name[PACK_NAME_BYTES];

	pack_name(name, pack, "pack");
	ck_ok(io_publish(f->io, name, p, n));
}

int seen_add(void *arg, const struct pack_info *info)
{
	struct seen *s = arg;

	ck_assert_uint_lt(s->n, ARRAY_LEN(s->info));
	if (s->n)
		ck_assert_uint_gt(info->pack, s->info[s->n - 1].pack);
	s->info[s->n++] = *info;
	return 0;
}
