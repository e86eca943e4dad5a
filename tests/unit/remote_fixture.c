#include "tests/unit/remote_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/err.h"
#include "tests/lib/suite.h"

#define MEMORY "/dev/shm"

struct place place_new(void)
{
	static unsigned turn;
	struct place p;
	const char *base = suite_tmpdir();

	turn++;
	snprintf(p.store, sizeof(p.store), "%s/store%u", base, turn);
	snprintf(p.bucket, sizeof(p.bucket), "%s/bucket%u", base, turn);
	snprintf(p.url, sizeof(p.url), "file://%s", p.bucket);
	snprintf(p.key, sizeof(p.key), "%s/key%u", base, turn);
	snprintf(p.clone, sizeof(p.clone), "%s/clone%u", base, turn);
	ck_ok(mkdir(p.bucket, 0700));
	ck_ok(ropefs_init(p.store, &(struct ropefs_init_opts) { .key_file = p.key },
			  NULL));
	return p;
}

atomic_uint reads_failed;

static void hear_event(void *arg, const char *line)
{
	if (strstr(line, "\"remote-read\""))
		reads_failed++;
}

struct ropefs *open_at(const struct place *p, const char *store)
{
	const struct ropefs_opts opts = { .key_file = p->key,
					  .memory_bytes = 32 << 20,
					  .event = hear_event };
	struct ropefs *fs;

	ck_ok(ropefs_open(store, &opts, &fs));
	return fs;
}

struct ropefs_remote_opts bucket_of(const struct place *p)
{
	return (struct ropefs_remote_opts) { .url = p->url, .interval_s = 3600 };
}

struct ropefs *open_with_bucket(const struct place *p)
{
	struct ropefs *fs = open_at(p, p->store);
	const struct ropefs_remote_opts opts = bucket_of(p);

	ck_ok(ropefs_remote_add(fs, &opts));
	return fs;
}

uint64_t put_file(struct ropefs *fs, const char *name, uint64_t seed, size_t n)
{
	const struct ropefs_new what = { .mode = S_IFREG | 0600 };
	_cleanup_free_ uint8_t *bytes = malloc(n);
	struct rng rng = rng_seeded(seed);
	struct ropefs_attr a;

	rng_fill(&rng, bytes, n);
	ck_assert_msg(ropefs_create(fs, ROPEFS_ROOT_INO, ropefs_name(name), &what, &a) ==
			      0,
		      "%s: %s", name, ropefs_error());
	ck_assert_int_eq(ropefs_write(fs, a.ino, 0, bytes, n, 0, NULL), (ssize_t)n);
	return a.ino;
}

void put_many(struct ropefs *fs)
{
	char name[240];

	for (unsigned i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "%0200u", i);
		put_file(fs, name, i, 10);
	}
}

int read_file(struct ropefs *fs, const char *name, uint64_t seed, size_t n)
{
	_cleanup_free_ uint8_t *want = malloc(n), *got = malloc(n);
	struct rng rng = rng_seeded(seed);
	struct ropefs_attr a;
	ssize_t r;

	rng_fill(&rng, want, n);
	ck_ok(ropefs_resolve(fs, name, &a));
	ck_assert_uint_eq(a.size, n);
	r = ropefs_read(fs, a.ino, 0, got, n, 0);
	if (r < 0)
		return (int)r;
	ck_assert_int_eq(r, (ssize_t)n);
	ck_assert_msg(memcmp(got, want, n) == 0, "%s has other bytes", name);
	return 0;
}

struct ropefs_remote_status status_of(struct ropefs *fs)
{
	struct ropefs_remote_status st;

	ck_ok(ropefs_remote_status(fs, &st));
	return st;
}

unsigned problems_of(struct ropefs *fs)
{
	struct ropefs_verify v = { 0 };
	int r = ropefs_remote_verify(fs, &v);

	ck_assert_msg(r == 0 || r == -E_CORRUPT, "%d %s", r, ropefs_error());
	ck_assert_int_eq(r == 0, v.problems == 0);
	return (unsigned)v.problems;
}

int clone_to(const struct place *p, bool take_over)
{
	struct ropefs_clone c = { .key_file = p->key, .remote = bucket_of(p) };

	c.remote.take_over = take_over;
	return ropefs_clone(p->clone, &c);
}

void ck_clone_has(const struct place *p, const char *name, uint64_t seed, size_t n)
{
	struct ropefs *fs;

	ck_ok(clone_to(p, false));
	fs = open_at(p, p->clone);
	ck_ok(read_file(fs, name, seed, n));
	ck_ok(ropefs_close(fs));
}

TCase *remote_tcase(const char *name)
{
	TCase *t = tcase_create(name);

	if (access(MEMORY, W_OK) == 0)
		setenv("TMPDIR", MEMORY, 0);
	tcase_set_timeout(t, 240);
	return t;
}

static void tell_bad(void *arg, const char *line)
{
	fprintf(stderr, "# %s\n", line);
}

void ck_store_is_sound(const struct place *p, const char *store)
{
	struct ropefs_check check = { .key_file = p->key, .bad = tell_bad };
	int r = ropefs_check(store, &check);

	ck_assert_msg(r == 0, "fsck of %s: %d %s", store, r, ropefs_error());
}
