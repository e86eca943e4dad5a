#include "tests/unit/wal_fixture.h"

static void body_make(const struct rec *rec, uint8_t *p)
{
	struct rng r = rng_seeded(rec->seed);

	rng_fill(&r, p, rec->bytes);
}

static int check_record(void *arg, uint64_t lsn, uint8_t type, struct span body)
{
	struct fixture *f = arg;
	struct rec *want;
	uint8_t *p;

	ck_assert_uint_eq(lsn, f->replayed + 1);
	ck_assert_uint_le(lsn, f->n);
	want = &f->recs[lsn];
	ck_assert_uint_eq(type, want->type);
	ck_assert_uint_eq(body.n, want->bytes);
	p = malloc(body.n + 8);
	body_make(want, p);
	if (body.n > 0)
		ck_assert_mem_eq(body.p, p, body.n);
	free(p);
	f->replayed = lsn;
	return 0;
}

int fixture_recover(struct fixture *f)
{
	int r;

	r = wal_open(&f->opts, &f->w);
	if (r < 0)
		return r;
	f->replayed = f->from_lsn - 1;
	r = wal_replay(f->w, f->from_lsn, check_record, f, &f->stats);
	if (r < 0)
		return r;
	ck_assert_uint_eq(f->replayed, f->stats.last_lsn);
	ck_assert_uint_eq(f->stats.records, f->stats.last_lsn + 1 - f->from_lsn);
	ck_assert(f->replayed == 0 || f->replayed < f->from_lsn ||
		  !f->recs[f->replayed].more);
	return 0;
}

int fixture_start(struct fixture *f)
{
	f->n = f->stats.last_lsn;
	return wal_start(f->w, f->n + 1);
}

void fixture_init(struct fixture *f, uint64_t seed)
{
	*f = (struct fixture) { .from_lsn = 1 };
	ck_ok(io_sim_new(seed, &f->io));
	ck_ok(keys_for_test(CIPHER_XCHACHA20, &f->keys));
	f->opts = (struct wal_opts) {
		.io = f->io, .keys = f->keys, .segment_bytes = SEGMENT, .spare_max = 2
	};
}

struct fixture fixture_new(uint64_t seed)
{
	struct fixture f;

	fixture_init(&f, seed);
	ck_ok(fixture_recover(&f));
	ck_ok(fixture_start(&f));
	return f;
}

void fixture_free(struct fixture *f)
{
	f->w = wal_close(f->w);
	keys_free(f->keys);
	io_free(f->io);
	free(f->recs);
}

void fixture_cut(struct fixture *f)
{
	io_sim_power_cut(f->io);
	f->w = wal_close(f->w);
	ck_ok(fixture_recover(f));
}

void fixture_kill(struct fixture *f)
{
	io_sim_kill(f->io);
	f->w = wal_close(f->w);
	ck_ok(fixture_recover(f));
}

int try_put(struct fixture *f, struct rec rec)
{
	uint8_t *p;
	uint64_t lsn = 0;
	size_t half = rec.bytes / 2;
	struct iovec iov[2];
	int r;

	r = wal_reserve(f->w, rec.bytes);
	if (r < 0)
		return r;
	p = malloc(rec.bytes + 8);
	body_make(&rec, p);
	iov[0] = (struct iovec) { p, half };
	iov[1] = (struct iovec) { p + half, rec.bytes - half };
	ck_ok(wal_append(f->w, rec.type, rec.more ? WAL_MORE : 0, iov, 2, &lsn));
	free(p);
	ck_assert_uint_eq(lsn, f->n + 1);
	if (lsn >= f->cap) {
		f->cap = lsn * 2 + 64;
		f->recs = realloc(f->recs, f->cap * sizeof(*f->recs));
	}
	f->recs[lsn] = rec;
	f->n = lsn;
	return 0;
}

void put(struct fixture *f, uint32_t bytes, bool more)
{
	struct rec rec = { .seed = f->n * 77 + bytes,
			   .bytes = bytes,
			   .type = f->n % 128,
			   .more = more };

	ck_ok(try_put(f, rec));
}

void put_synced(struct fixture *f, uint32_t bytes)
{
	put(f, bytes, false);
	ck_ok(wal_sync(f->w, f->n));
	ck_assert_uint_eq(wal_durable_lsn(f->w), f->n);
}
