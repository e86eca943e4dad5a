/* test_remote_objects.c - what lies in a bucket: it is sealed, verify notices what is gone,
 * and what nobody needs goes. */
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/err.h"
#include "core/remote_priv.h"
#include "tests/lib/suite.h"
#include "tests/unit/remote_fixture.h"

#define SECRET_NAME "the-name-nobody-may-read"
#define SECRET_TEXT "the words nobody may read"

static unsigned files_seen;
static char wanted_kind;
static char last_seen[4300];

static int look(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	static const char *const secrets[] = { SECRET_NAME, SECRET_TEXT };
	static uint8_t bytes[8 << 20];
	FILE *f;
	size_t n;

	if (kind != FTW_F)
		return 0;
	files_seen++;
	f = fopen(path, "r");
	ck_assert_ptr_nonnull(f);
	n = fread(bytes, 1, sizeof(bytes), f);
	fclose(f);
	for (size_t i = 0; i < ARRAY_LEN(secrets); i++) {
		ck_assert_msg(!memmem(bytes, n, secrets[i], strlen(secrets[i])), "%s",
			      path);
		ck_assert_ptr_null(strstr(path, secrets[i]));
	}
	return 0;
}

START_TEST(nothing_in_the_bucket_can_be_read_without_the_key)
{
	struct place p = place_new();
	struct ropefs *fs = open_with_bucket(&p);
	const struct ropefs_new what = { .mode = S_IFREG | 0600 };
	struct ropefs_attr a;

	ck_ok(ropefs_create(fs, ROPEFS_ROOT_INO, ropefs_name(SECRET_NAME), &what, &a));
	for (unsigned i = 0; i < 100; i++)
		ck_ok(ropefs_write(fs, a.ino, 0, SECRET_TEXT, strlen(SECRET_TEXT),
				   ROPEFS_APPEND, NULL));
	ck_ok(ropefs_setxattr(fs, a.ino, "user.x", SECRET_TEXT, strlen(SECRET_TEXT), 0));
	ck_ok(ropefs_remote_sync(fs));
	put_many(fs);
	ck_ok(ropefs_remote_sync(fs));
	ck_ok(ropefs_close(fs));
	ck_assert_int_eq(nftw(p.bucket, look, 16, FTW_PHYS), 0);
	/* header, packs, manifests: one with pages, one with a segment */
	ck_assert_uint_ge(files_seen, 6);
}
END_TEST

static int find_kind(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	char part[4] = { '/', wanted_kind, '/', 0 };

	if (kind == FTW_F && strstr(path, part) && strcmp(path, last_seen) > 0)
		snprintf(last_seen, sizeof(last_seen), "%s", path);
	return 0;
}

/* The object of that kind whose name comes last. */
static const char *newest(const struct place *p, char kind)
{
	wanted_kind = kind;
	last_seen[0] = '\0';
	nftw(p->bucket, find_kind, 16, FTW_PHYS);
	ck_assert_str_ne(last_seen, "");
	return last_seen;
}

START_TEST(verify_notices_objects_removed_and_a_bucket_put_back)
{
	struct place p = place_new();
	struct ropefs *fs = open_with_bucket(&p);
	char command[13000];

	put_file(fs, "a", 1, 100000);
	ck_ok(ropefs_remote_sync(fs));
	ck_assert_uint_eq(problems_of(fs), 0);
	snprintf(command, sizeof(command), "cp -r '%s' '%s-old'", p.bucket, p.bucket);
	ck_assert_int_eq(system(command), 0);
	put_file(fs, "b", 2, 100000);
	ck_ok(ropefs_remote_sync(fs));
	ck_assert_uint_eq(problems_of(fs), 0);
	ck_ok(unlink(newest(&p, 'p')));
	ck_assert_uint_eq(problems_of(fs), 1);
	snprintf(command, sizeof(command), "rm -r '%s' && mv '%s-old' '%s'", p.bucket,
		 p.bucket, p.bucket);
	ck_assert_int_eq(system(command), 0);
	ck_assert_uint_ge(problems_of(fs), 2);
	ropefs_close(fs);
}
END_TEST

/* The file of manifest number n. */
static void manifest_path(const struct place *p, struct ropefs *fs, uint64_t n,
			  char ret[4400])
{
	snprintf(ret, 4400, "%s/%s", p->bucket,
		 key_manifest(status_of(fs).instance, n).text);
}

static void flip_last_byte(const char *path)
{
	FILE *f = fopen(path, "r+");
	int c;

	ck_assert_ptr_nonnull(f);
	ck_ok(fseek(f, -1, SEEK_END));
	c = fgetc(f);
	ck_ok(fseek(f, -1, SEEK_END));
	ck_assert_int_ne(fputc(c ^ 1, f), EOF);
	ck_ok(fclose(f));
}

START_TEST(verify_notices_a_manifest_that_is_gone_or_another_one)
{
	struct place p = place_new();
	struct ropefs *fs = open_with_bucket(&p);
	char path[4400], aside[4500];
	uint64_t last;

	for (unsigned i = 0; i < 3; i++) {
		snprintf(aside, sizeof(aside), "f%u", i);
		put_file(fs, aside, i, 1000);
		ck_ok(ropefs_remote_sync(fs));
	}
	last = status_of(fs).manifest;
	ck_assert_uint_ge(last, 3);
	for (uint64_t n = last - 2; n <= last; n++) {
		manifest_path(&p, fs, n, path);
		snprintf(aside, sizeof(aside), "%s-aside", path);
		ck_ok(rename(path, aside));
		ck_assert_uint_eq(problems_of(fs), 1);
		ck_ok(rename(aside, path));
		flip_last_byte(path);
		ck_assert_uint_eq(problems_of(fs), 1);
		flip_last_byte(path);
		ck_assert_uint_eq(problems_of(fs), 0);
	}
	/* One that was put there, under the number of another. */
	manifest_path(&p, fs, last, path);
	manifest_path(&p, fs, last - 1, aside);
	ck_ok(unlink(path));
	ck_ok(link(aside, path));
	ck_assert_uint_ge(problems_of(fs), 1);
	ropefs_close(fs);
}
END_TEST

START_TEST(what_nobody_needs_any_more_is_removed_and_the_rest_stays)
{
	struct place p = place_new();
	struct ropefs *fs = open_at(&p, p.store);
	struct ropefs_remote_opts opts = bucket_of(&p);
	char first[4300];

	opts.keep_s = 1;
	ck_ok(ropefs_remote_add(fs, &opts));
	put_file(fs, "a", 1, 100000);
	ck_ok(ropefs_remote_sync(fs));
	snprintf(first, sizeof(first), "%s", newest(&p, 'm'));
	for (unsigned i = 0; i < 60 && access(first, F_OK) == 0; i++) {
		char name[16];

		snprintf(name, sizeof(name), "b%u", i);
		put_file(fs, name, i, 1000);
		ck_ok(ropefs_remote_sync(fs));
		usleep(300000);
	}
	ck_assert_int_ne(access(first, F_OK), 0);
	ck_assert_uint_eq(problems_of(fs), 0);
	ck_ok(ropefs_close(fs));
	ck_ok(clone_to(&p, false));
	fs = open_at(&p, p.clone);
	ck_ok(read_file(fs, "a", 1, 100000));
	ck_ok(read_file(fs, "b0", 0, 1000));
	ck_ok(ropefs_close(fs));
}
END_TEST

static uint64_t bytes_found;

static int add_pack_bytes(const char *path, const struct stat *st, int type,
			  struct FTW *at)
{
	if (type == FTW_F && strstr(path, "/p/"))
		bytes_found += (uint64_t)st->st_size;
	return 0;
}

/* Of packs in the bucket. */
static uint64_t pack_bytes_there(const struct place *p)
{
	bytes_found = 0;
	ck_ok(nftw(p->bucket, add_pack_bytes, 8, FTW_PHYS));
	return bytes_found;
}

/* Uploads until done says so; each time there is something new. */
static void upload_until(struct ropefs *fs, const struct place *p,
			 bool (*done)(const struct place *p))
{
	static unsigned turn;
	char name[32];

	for (unsigned tries = 0; tries < 600 && !done(p); tries++) {
		snprintf(name, sizeof(name), "turn%u", turn++);
		put_file(fs, name, turn, 100);
		ck_ok(ropefs_remote_sync(fs));
		usleep(100000);
	}
	ck_assert(done(p));
}

static bool is_thin(const struct place *p)
{
	return pack_bytes_there(p) < 3 * MIB;
}

START_TEST(space_in_the_bucket_comes_back_when_most_of_a_pack_is_removed)
{
	struct place p = place_new();
	struct ropefs *fs = open_at(&p, p.store);
	struct ropefs_remote_opts opts = bucket_of(&p);
	char name[32], line[64] = "local_bytes=2097152\n";

	opts.keep_s = 1;
	ck_ok(ropefs_remote_add(fs, &opts));
	for (unsigned i = 0; i < 6; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		put_file(fs, name, i, MIB);
	}
	ck_ok(ropefs_remote_sync(fs));
	ck_assert_uint_gt(pack_bytes_there(&p), 6 * MIB);
	ck_ok(ropefs_remote_set(fs, line));
	for (unsigned i = 0; i < 600 && status_of(fs).remote_packs == 0; i++) {
		ck_ok(ropefs_remote_retry(fs));
		usleep(100000);
	}
	ck_assert_uint_gt(status_of(fs).remote_packs, 0);
	for (unsigned i = 1; i < 6; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		ck_ok(ropefs_unlink(fs, ROPEFS_ROOT_INO, ropefs_name(name)));
	}
	ck_ok(ropefs_collect(fs));
	upload_until(fs, &p, is_thin);
	ck_ok(read_file(fs, "f0", 0, MIB));
	ck_assert_uint_eq(problems_of(fs), 0);
	ck_ok(ropefs_close(fs));
	ck_store_is_sound(&p, p.store);
	ck_clone_has(&p, "f0", 0, MIB);
}
END_TEST

/* An object as an upload leaves it that was broken off. */
static void put_stray(const struct place *p, const char *instance, const char *name)
{
	char path[4600];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s/%s", p->bucket, instance, name);
	*strrchr(path, '/') = '\0';
	ck_assert(mkdir(path, 0700) == 0 || errno == EEXIST);
	path[strlen(path)] = '/';
	f = fopen(path, "w");
	ck_assert_msg(f != NULL, "%s", path);
	fputs("stray", f);
	fclose(f);
}

static const char *const strays[] = { "p/00000000ff-0123456789abcdef0123456789abcdef",
				      "s/00000000ff-0123456789abcdef0123456789abcdef",
				      "probe-0123456789abcdef" };
static char stray_instance[64];

static unsigned strays_left(const struct place *p)
{
	char path[4600];
	unsigned n = 0;

	for (size_t i = 0; i < ARRAY_LEN(strays); i++) {
		snprintf(path, sizeof(path), "%s/%s/%s", p->bucket, stray_instance,
			 strays[i]);
		n += access(path, F_OK) == 0;
	}
	return n;
}

static bool no_stray_left(const struct place *p)
{
	return strays_left(p) == 0;
}

START_TEST(what_an_upload_left_that_was_broken_off_is_removed_later)
{
	struct place p = place_new();
	struct ropefs *fs = open_at(&p, p.store);
	struct ropefs_remote_opts opts = bucket_of(&p);
	char line[64], clean[4300];

	ck_ok(ropefs_remote_add(fs, &opts));
	put_file(fs, "a", 1, 300000);
	ck_ok(ropefs_remote_sync(fs));
	snprintf(stray_instance, sizeof(stray_instance), "%s", status_of(fs).instance);
	ck_ok(ropefs_close(fs));
	for (size_t i = 0; i < ARRAY_LEN(strays); i++)
		put_stray(&p, stray_instance, strays[i]);
	snprintf(clean, sizeof(clean), "%s/remote/clean", p.store);
	ck_ok(unlink(clean)); /* as if it had been killed */
	put_stray(&p, stray_instance, "readme"); /* not of a kind that uploads leave */

	fs = open_at(&p, p.store); /* keeps for a day */
	for (unsigned i = 0; i < 3; i++) {
		char name[32];

		snprintf(name, sizeof(name), "b%u", i);
		put_file(fs, name, i, 1000);
		ck_ok(ropefs_remote_sync(fs));
	}
	ck_assert_uint_eq(strays_left(&p), ARRAY_LEN(strays));
	snprintf(line, sizeof(line), "keep_s=1\n");
	ck_ok(ropefs_close(fs));
	fs = open_at(&p, p.store);
	ck_ok(ropefs_remote_set(fs, line));
	upload_until(fs, &p, no_stray_left);
	ck_assert_uint_eq(problems_of(fs), 0);
	ck_ok(read_file(fs, "a", 1, 300000));
	ck_ok(ropefs_close(fs));
	put_stray(&p, stray_instance, "readme"); /* it is still there, or its place is */
	ck_ok(clone_to(&p, false));
}
END_TEST

static unsigned packs_found;

static int add_pack(const char *path, const struct stat *st, int type, struct FTW *at)
{
	packs_found += type == FTW_F && strstr(path, "/p/");
	return 0;
}

static unsigned packs_there(const struct place *p)
{
	packs_found = 0;
	ck_ok(nftw(p->bucket, add_pack, 8, FTW_PHYS));
	return packs_found;
}

static bool has_few_packs(const struct place *p)
{
	return packs_there(p) <= 64;
}

#define LOGS  3u
#define LINES 200u
#define LINE  500u

static void append_lines(struct ropefs *fs, const uint64_t inos[LOGS], struct rng *rng,
			 uint8_t *model[LOGS], unsigned i)
{
	for (unsigned k = 0; k < LOGS; k++) {
		uint8_t *line = model[k] + i * LINE;

		rng_fill(rng, line, LINE);
		ck_assert_int_eq(
			ropefs_write(fs, inos[k], 0, line, LINE, ROPEFS_APPEND, NULL),
			LINE);
	}
	ck_ok(ropefs_remote_sync(fs));
}

static void ck_logs_are(struct ropefs *fs, uint8_t *model[LOGS])
{
	_cleanup_free_ uint8_t *got = malloc(LINES * LINE);

	for (unsigned k = 0; k < LOGS; k++) {
		char name[8] = { (char)('a' + k) };
		struct ropefs_attr a;

		ck_ok(ropefs_resolve(fs, name, &a));
		ck_assert_uint_eq(a.size, LINES * LINE);
		ck_assert_int_eq(ropefs_read(fs, a.ino, 0, got, LINES * LINE, 0),
				 LINES * LINE);
		ck_assert(!memcmp(got, model[k], LINES * LINE));
	}
}

/* Each sync that somebody waits for leaves a pack; of many few are left in the end, here and
 * there, and each byte has gone up a few times only. */
START_TEST(many_small_uploads_leave_few_packs)
{
	struct place p = place_new();
	struct ropefs *fs = open_at(&p, p.store);
	struct ropefs_remote_opts opts = bucket_of(&p);
	uint8_t *model[LOGS];
	uint64_t inos[LOGS];
	struct ropefs_status st;
	struct rng rng = rng_seeded(7);
	bool due = false;

	opts.keep_s = 1;
	ck_ok(ropefs_remote_add(fs, &opts));
	for (unsigned k = 0; k < LOGS; k++) {
		char name[8] = { (char)('a' + k) };

		inos[k] = put_file(fs, name, k, 0);
		model[k] = malloc(LINES * LINE);
	}
	for (unsigned i = 0; i < LINES; i++) {
		append_lines(fs, inos, &rng, model, i);
		lock_take(&fs->engine);
		due |= collect_due_locked(fs);
		lock_drop(&fs->engine);
	}
	ck_assert(due || fs->collections);
	ck_ok(ropefs_collect(fs));
	ck_logs_are(fs, model);
	ropefs_get_status(fs, &st);
	ck_assert_uint_le(st.packs, 48);
	ck_assert_uint_le(st.plain_bytes, 5 * LOGS * LINES * LINE);
	upload_until(fs, &p, has_few_packs);
	ck_assert_uint_eq(problems_of(fs), 0);
	ck_ok(ropefs_close(fs));
	ck_store_is_sound(&p, p.store);
	ck_ok(clone_to(&p, false));
	fs = open_at(&p, p.clone);
	ck_logs_are(fs, model);
	ck_ok(ropefs_close(fs));
	for (unsigned k = 0; k < LOGS; k++)
		free(model[k]);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("remote_objects");
	TCase *t = tcase_create("remote_objects");

	tcase_set_timeout(t, 120);
	tcase_add_test(t, nothing_in_the_bucket_can_be_read_without_the_key);
	tcase_add_test(t, verify_notices_objects_removed_and_a_bucket_put_back);
	tcase_add_test(t, verify_notices_a_manifest_that_is_gone_or_another_one);
	tcase_add_test(t, what_nobody_needs_any_more_is_removed_and_the_rest_stays);
	tcase_add_test(t, space_in_the_bucket_comes_back_when_most_of_a_pack_is_removed);
	tcase_add_test(t, what_an_upload_left_that_was_broken_off_is_removed_later);
	tcase_add_test(t, many_small_uploads_leave_few_packs);
	suite_add_tcase(s, t);
	return suite_main(s);
}
