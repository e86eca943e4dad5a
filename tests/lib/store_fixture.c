#include "tests/lib/store_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/err.h"
#include "tests/lib/sim_store.h"

struct fixture f;

void fixture_open(void)
{
	struct store_opts o = { .threads = f.threads, .segment_bytes = 10 * MIB };
	int r;

	o.pub.memory_bytes = 32 * MIB;
	o.pub.checkpoint_s = 3600;
	r = store_open(f.io, f.kf, &o, &f.fs);
	ck_assert_msg(r == 0, "open: %d %s", r, err_detail());
}

void fixture_init(bool threads)
{
	memset(&f, 0, sizeof(f));
	f.rng = rng_seeded(suite_seed());
	f.threads = threads;
	ck_ok(keys_init_library());
	if (threads) {
		static unsigned n;

		snprintf(f.dir, sizeof(f.dir), "%s/store%u", suite_tmpdir(), n++);
		ck_ok(mkdir(f.dir, 0700));
		ck_ok(io_posix_new(f.dir, &f.io));
	} else {
		ck_ok(io_sim_new(suite_seed(), &f.io));
	}
	snprintf(f.key, sizeof(f.key), "%s", sim_key_path());
	sim_store_init(f.io, &f.kf);
	fixture_open();
}

void fixture_crash(bool power)
{
	store_abandon(f.fs, true);
	if (power)
		io_sim_power_cut(f.io);
	else if (!f.threads)
		io_sim_kill(f.io);
}

void fixture_release(void)
{
	store_abandon(f.fs, true);
	key_file_free(f.kf);
	if (!f.threads)
		io_sim_kill(f.io);
	io_free(f.io);
}

uint64_t make(const char *name)
{
	struct ropefs_new what = { .mode = S_IFREG | 0644 };
	struct ropefs_attr attr;

	ck_ok(ropefs_create(f.fs, ROPEFS_ROOT_INO, ropefs_name(name), &what, &attr));
	return attr.ino;
}

void drop(const char *name)
{
	ck_ok(ropefs_unlink(f.fs, ROPEFS_ROOT_INO, ropefs_name(name)));
}

void fill(uint64_t ino, uint8_t *model, size_t n, size_t piece)
{
	uint8_t bytes[4096];

	for (size_t have = 0; have < n; have += piece) {
		size_t at = rng_below(&f.rng, have + 1);

		rng_fill(&f.rng, bytes, piece);
		ck_ok(ropefs_insert(f.fs, ino, at, bytes, piece, 0));
		memmove(model + at + piece, model + at, have - at);
		memcpy(model + at, bytes, piece);
	}
}

void expect_bytes(uint64_t ino, const uint8_t *model, size_t n)
{
	uint8_t *p = malloc(n + 1);
	ssize_t r = ropefs_read(f.fs, ino, 0, p, n + 1, 0);

	ck_assert_msg(r == (ssize_t)n, "read gives %zd: %s", r,
		      r < 0 ? err_detail() : "");
	ck_assert(!memcmp(p, model, n));
	free(p);
}
