/* test_remote_follow.c - a store that is read from a bucket while its writer rewrites what is
 * there: live data is always read; gaps, damage and a bucket put back are told, and passed. */
#include <errno.h>
#include <ftw.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/err.h"
#include "core/remote_priv.h"
#include "tests/lib/suite.h"
#include "tests/unit/remote_fixture.h"

#define FILES	   12u
#define FILE_BYTES ((size_t)MIB)
#define ROUNDS	   3u
#define LARGE	   100000

static atomic_uint told_away, told_back, told_history;

static void hear(void *arg, const char *line)
{
	told_away += strstr(line, "\"remote-away\"") != NULL;
	told_back += strstr(line, "\"remote-back\"") != NULL;
	told_history += strstr(line, "\"remote-history\"") != NULL;
}

/* It looks when somebody misses something, hardly otherwise. */
static struct ropefs *follow(const struct place *p, unsigned interval_s)
{
	const struct ropefs_opts opts = { .key_file = p->key,
					  .memory_bytes = 32 << 20,
					  .event = hear };
	struct ropefs_bucket b = { .remote = bucket_of(p) };
	struct ropefs *far;

	b.remote.interval_s = interval_s;
	ck_ok(ropefs_open_bucket(&b, &opts, &far));
	return far;
}

static void end(struct ropefs *far)
{
	ropefs_follow_stop(far);
	ck_ok(ropefs_close(far));
}

static void name_of(unsigned i, char ret[16])
{
	snprintf(ret, 16, "f%u", i);
}

/* The bytes of a file are always the same; where they lie is another place each time. */
static void write_again(struct ropefs *fs, const uint64_t *inos)
{
	_cleanup_free_ uint8_t *bytes = malloc(FILE_BYTES);

	for (unsigned i = 0; i < FILES; i++) {
		struct rng rng = rng_seeded(i);

		rng_fill(&rng, bytes, FILE_BYTES);
		ck_assert_int_eq(ropefs_write(fs, inos[i], 0, bytes, FILE_BYTES, 0, NULL),
				 (ssize_t)FILE_BYTES);
	}
}

/* 0, or what failed. */
static int read_whole(struct ropefs *far, unsigned i, uint8_t *want, uint8_t *got)
{
	struct rng rng = rng_seeded(i);
	struct ropefs_attr a;
	char name[16];
	ssize_t n;
	int r;

	name_of(i, name);
	rng_fill(&rng, want, FILE_BYTES);
	r = ropefs_resolve(far, name, &a);
	if (r < 0)
		return r;
	n = ropefs_read(far, a.ino, 0, got, FILE_BYTES, 0);
	if (n < 0)
		return (int)n;
	return (size_t)n == FILE_BYTES && !memcmp(got, want, FILE_BYTES) ? 0 : -EBADMSG;
}

static int read_all(struct ropefs *far)
{
	_cleanup_free_ uint8_t *want = malloc(FILE_BYTES), *got = malloc(FILE_BYTES);
	int r = 0;

	for (unsigned i = 0; r == 0 && i < FILES; i++)
		r = read_whole(far, i, want, got);
	return r;
}

/* --- objects --- */

static char found[4400];
static unsigned n_found;

static int find_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	if (kind == FTW_F && strstr(path, "/p/") && st->st_size > LARGE) {
		n_found++;
		snprintf(found, sizeof(found), "%s", path);
	}
	return 0;
}

/* One of the packs that are large is in found. */
static unsigned large_packs(const struct place *p)
{
	n_found = 0;
	ck_ok(nftw(p->bucket, find_one, 16, FTW_PHYS));
	return n_found;
}

/* Uploads until the object is gone. */
static void upload_until_gone(struct ropefs *fs, const char *path)
{
	for (unsigned i = 0; i < 600 && access(path, F_OK) == 0; i++) {
		char name[32];
		static unsigned turn;

		snprintf(name, sizeof(name), "turn%u", turn++);
		put_file(fs, name, turn, 10);
		ck_ok(ropefs_remote_sync(fs));
		usleep(100000);
	}
	ck_assert_int_ne(access(path, F_OK), 0);
}

struct reader {
	struct ropefs *far;
	atomic_bool stop;
	unsigned passes;
	int r;
	char why[300];
};

static void *reader_main(void *arg)
{
	struct reader *rd = arg;

	while (!rd->stop && rd->r == 0) {
		rd->r = read_all(rd->far);
		rd->passes++;
	}
	snprintf(rd->why, sizeof(rd->why), "%s", ropefs_error());
	return NULL;
}

START_TEST(live_data_is_read_while_the_writer_rewrites_all_of_it)
{
	struct place p = place_new();
	struct ropefs *fs = open_at(&p, p.store);
	struct ropefs_remote_opts opts = bucket_of(&p);
	uint64_t inos[FILES], first;
	struct reader rd = { 0 };
	struct ropefs *late;
	pthread_t thread;
	char name[16];

	opts.keep_s = 1;
	ck_ok(ropefs_remote_add(fs, &opts));
	for (unsigned i = 0; i < FILES; i++) {
		name_of(i, name);
		inos[i] = put_file(fs, name, i, FILE_BYTES);
	}
	ck_ok(ropefs_remote_sync(fs));
	rd.far = follow(&p, 3600);
	late = follow(&p, 3600);
	first = status_of(rd.far).manifest;
	ck_ok(-pthread_create(&thread, NULL, reader_main, &rd));
	for (unsigned round = 0; round < ROUNDS; round++) {
		char old[4400];

		ck_assert_uint_gt(large_packs(&p), 0);
		snprintf(old, sizeof(old), "%s", found);
		write_again(fs, inos);
		ck_ok(ropefs_checkpoint(fs));
		ck_ok(ropefs_collect(fs));
		ck_ok(ropefs_remote_sync(fs));
		upload_until_gone(fs, old);
	}
	rd.stop = true;
	pthread_join(thread, NULL);
	ck_assert_msg(rd.r == 0, "pass %u: %d %s", rd.passes, rd.r, rd.why);
	ck_assert_uint_gt(rd.passes, 0);
	/* One that slept through all of it knows none of the objects that are there now. */
	ck_assert_uint_eq(status_of(late).manifest, first);
	ck_assert_msg(read_all(late) == 0, "%s", ropefs_error());
	ck_assert_uint_gt(status_of(late).manifest, first + ROUNDS);
	end(rd.far);
	end(late);
	ck_ok(ropefs_close(fs));
}
END_TEST

/* A look; whether it found something newer. */
static bool look(struct ropefs *far)
{
	return remote_renewed(far, remote_shown(far));
}

static void put_and_sync(struct ropefs *fs, const char *name, uint64_t seed)
{
	put_file(fs, name, seed, 1000);
	ck_ok(ropefs_remote_sync(fs));
}

static void manifest_path(const struct place *p, struct ropefs *fs, uint64_t n,
			  char ret[4400])
{
	snprintf(ret, 4400, "%s/%s", p->bucket,
		 key_manifest(status_of(fs).instance, n).text);
}

static void flip(const char *path)
{
	FILE *f = fopen(path, "r+");
	int c;

	ck_assert_ptr_nonnull(f);
	ck_ok(fseek(f, 70, SEEK_SET));
	c = fgetc(f);
	ck_ok(fseek(f, 70, SEEK_SET));
	ck_assert_int_ne(fputc(c ^ 1, f), EOF);
	ck_ok(fclose(f));
}

START_TEST(gaps_and_damage_in_the_chain_are_passed_once_something_newer_is_there)
{
	struct place p = place_new();
	struct ropefs *fs = open_with_bucket(&p), *far;
	struct ropefs_attr a;
	uint64_t shown;
	char path[4400];

	put_and_sync(fs, "a", 1);
	far = follow(&p, 3600);
	shown = status_of(far).manifest;
	ck_assert(!look(far));
	ck_assert_str_eq(status_of(far).last_error, "");

	/* The newest is damaged: what is shown stays, and it is told. */
	put_and_sync(fs, "b", 2);
	manifest_path(&p, fs, shown + 1, path);
	flip(path);
	ck_assert(!look(far));
	ck_assert_msg(strstr(status_of(far).last_error, "is damaged"), "%s",
		      status_of(far).last_error);
	ck_ok(read_file(far, "a", 1, 1000));
	ck_assert_uint_eq(told_away, 1);
	/* Something newer comes: that is shown. */
	put_and_sync(fs, "c", 3);
	ck_assert(look(far));
	ck_assert_str_eq(status_of(far).last_error, "");
	ck_assert_uint_eq(told_back, 1);
	ck_ok(read_file(far, "b", 2, 1000));
	ck_ok(read_file(far, "c", 3, 1000));

	/* One in the midst is gone, and the one that is shown. */
	shown = status_of(far).manifest;
	put_and_sync(fs, "d", 4);
	put_and_sync(fs, "e", 5);
	manifest_path(&p, fs, shown + 1, path);
	ck_ok(unlink(path));
	manifest_path(&p, fs, shown, path);
	ck_ok(unlink(path));
	ck_assert(look(far));
	ck_assert_uint_eq(status_of(far).manifest, shown + 2);
	ck_ok(read_file(far, "e", 5, 1000));
	ck_ok(ropefs_resolve(far, "d", &a));
	end(far);
	ck_ok(ropefs_close(fs));
}
END_TEST

static void run(const char *fmt, const char *a)
{
	char command[20000];

	snprintf(command, sizeof(command), fmt, a, a, a);
	ck_assert_int_eq(system(command), 0);
}

START_TEST(a_bucket_put_back_is_told_and_when_it_is_right_again_it_goes_on)
{
	struct place p = place_new();
	struct ropefs *fs = open_with_bucket(&p), *far;
	struct ropefs_attr a;
	uint64_t shown;

	put_and_sync(fs, "a", 1);
	run("cp -r '%s' '%s-old'", p.bucket);
	put_and_sync(fs, "b", 2);
	far = follow(&p, 3600);
	shown = status_of(far).manifest;
	ck_ok(read_file(far, "b", 2, 1000));

	/* The folder's contents, not the folder. */
	run("mkdir '%s-new' && mv '%s'/* '%s-new'", p.bucket);
	run("cp -r '%s-old'/* '%s'", p.bucket);
	ck_assert(!look(far));
	ck_assert_msg(strstr(status_of(far).last_error, "put back to an older state"),
		      "%s", status_of(far).last_error);
	ck_assert_uint_eq(told_away, 1);
	ck_assert_uint_eq(status_of(far).manifest, shown);
	ck_ok(ropefs_resolve(far, "b", &a));
	ck_assert(!look(far));
	ck_assert_uint_eq(told_away, 1); /* once is enough */

	run("rm -r '%s'/* && mv '%s-new'/* '%s'", p.bucket);
	ck_assert(!look(far));
	ck_assert_str_eq(status_of(far).last_error, "");
	ck_assert_uint_eq(told_back, 1);
	put_and_sync(fs, "c", 3);
	ck_assert(look(far));
	ck_ok(read_file(far, "a", 1, 1000));
	ck_ok(read_file(far, "b", 2, 1000));
	ck_ok(read_file(far, "c", 3, 1000));
	end(far);
	ck_ok(ropefs_close(fs));
}
END_TEST

/* More states of the first history than of the second; then fewer. */
START_TEST(another_history_that_is_newer_is_gone_over_to)
{
	for (unsigned longer = 0; longer < 2; longer++) {
		struct place p = place_new();
		struct ropefs *fs = open_with_bucket(&p), *far, *heir;
		struct ropefs_attr a;
		struct reader rd = { 0 };
		uint64_t shown;
		pthread_t thread;
		char name[16];

		told_history = 0;
		for (unsigned i = 0; i < FILES; i++) {
			name_of(i, name);
			put_file(fs, name, i, FILE_BYTES);
		}
		put_and_sync(fs, "a", 1);
		run("cp -r '%s' '%s-old'", p.bucket);
		for (unsigned i = 0; i < (longer ? 1u : 6u); i++) {
			snprintf(name, sizeof(name), "b%u", i);
			put_and_sync(fs, name, 2 + i);
		}
		far = rd.far = follow(&p, 3600);
		shown = status_of(far).manifest;
		ck_ok(read_file(far, "b0", 2,
				1000)); /* of a pack whose number comes again */
		ck_ok(ropefs_close(fs));
		run("rm -r '%s'/* && mv '%s-old'/* '%s'", p.bucket);
		/* Nothing newer is there yet: what is shown stays. */
		ck_assert(!look(far));
		ck_assert_msg(strstr(status_of(far).last_error, "put back to an older"),
			      "%s", status_of(far).last_error);
		ck_ok(read_file(far, "b0", 2, 1000));

		ck_ok(clone_to(&p, true)); /* goes on from the older state */
		heir = open_at(&p, p.clone);
		put_and_sync(heir, "c", 30);
		put_and_sync(heir, "d", 31);
		ck_ok(-pthread_create(&thread, NULL, reader_main, &rd));
		ck_assert(look(far));
		rd.stop = true;
		pthread_join(thread, NULL);
		ck_assert_msg(rd.r == 0, "%d %s", rd.r, rd.why);
		ck_assert_uint_eq(told_history, 1);
		ck_assert_str_eq(status_of(far).last_error, "");
		ck_assert_int_eq(status_of(far).manifest < shown, !longer);
		ck_assert_uint_eq(status_of(far).epoch, 2);
		ck_assert_int_eq(ropefs_resolve(far, "b0", &a), -ENOENT);
		ck_ok(read_file(far, "a", 1, 1000));
		ck_ok(read_file(far, "c", 30, 1000));
		ck_ok(read_file(far, "d", 31, 1000));
		put_and_sync(heir, "e", 32);
		ck_assert(look(far));
		ck_ok(read_file(far, "e", 32, 1000));
		ck_assert_uint_eq(told_history, 1);
		end(far);
		ck_ok(ropefs_close(heir));
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("remote_follow");
	TCase *t = remote_tcase("remote_follow");

	tcase_add_test(t, live_data_is_read_while_the_writer_rewrites_all_of_it);
	tcase_add_test(
		t, gaps_and_damage_in_the_chain_are_passed_once_something_newer_is_there);
	tcase_add_test(t,
		       a_bucket_put_back_is_told_and_when_it_is_right_again_it_goes_on);
	tcase_add_test(t, another_history_that_is_newer_is_gone_over_to);
	suite_add_tcase(s, t);
	return suite_main(s);
}
