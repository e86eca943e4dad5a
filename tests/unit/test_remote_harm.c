/* test_remote_harm.c - objects of a bucket that are removed, cut or changed: they are named, and
 * what the store still has is put again. */
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

#define FILES 3u

/* --- objects as files of the bucket's folder --- */

#define OBJECTS_MAX 64u
static char objects[OBJECTS_MAX][4400];
static unsigned n_objects;
static const char *wanted;

static int take_object(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	if (kind == FTW_F && strstr(path, wanted) && n_objects < OBJECTS_MAX)
		snprintf(objects[n_objects++], sizeof(*objects), "%s", path);
	return 0;
}

/* Those with `part` in their path, into objects[]. */
static unsigned find_objects(const struct place *p, const char *part)
{
	n_objects = 0;
	wanted = part;
	ck_ok(nftw(p->bucket, take_object, 16, FTW_PHYS));
	return n_objects;
}

enum harm { REMOVED, CUT, FLIPPED_FIRST, FLIPPED_MIDDLE, FLIPPED_LAST, HARMS };

static void flip(const char *path, uint64_t off)
{
	FILE *f = fopen(path, "r+");
	int c;

	ck_assert_ptr_nonnull(f);
	ck_ok(fseek(f, (long)off, SEEK_SET));
	c = fgetc(f);
	ck_ok(fseek(f, (long)off, SEEK_SET));
	ck_assert_int_ne(fputc(c ^ 4, f), EOF);
	ck_ok(fclose(f));
}

static void do_harm(const char *path, enum harm harm)
{
	struct stat st;

	ck_ok(stat(path, &st));
	switch (harm) {
	case REMOVED:
		ck_ok(unlink(path));
		return;
	case CUT:
		ck_ok(truncate(path, st.st_size - 1));
		return;
	case FLIPPED_FIRST:
		return flip(path, 0);
	case FLIPPED_MIDDLE:
		return flip(path, (uint64_t)st.st_size / 2);
	default:
		return flip(path, (uint64_t)st.st_size - 1);
	}
}

/* --- verify --- */

static char told[32768];

static void note_line(void *arg, const char *line)
{
	size_t n = strlen(told);

	snprintf(told + n, sizeof(told) - n, "%s\n", line);
}

/* Returns what is left; told has the lines. */
static unsigned verify(struct ropefs *fs, bool repair)
{
	struct ropefs_verify v = { .data = true, .repair = repair, .line = note_line };
	int r;

	told[0] = '\0';
	r = ropefs_remote_verify(fs, &v);
	ck_assert_msg(r == 0 || r == -E_CORRUPT, "%d %s\n%s", r, ropefs_error(), told);
	ck_assert_int_eq(r == 0, v.problems == v.mended);
	return (unsigned)(v.problems - v.mended);
}

static void put_files(struct ropefs *fs, unsigned first, unsigned n)
{
	char name[32];

	for (unsigned i = first; i < first + n; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		put_file(fs, name, i, 200000);
		ck_ok(ropefs_remote_sync(fs));
	}
}

static void put_segments(struct ropefs *fs)
{
	put_many(fs);
	ck_ok(ropefs_remote_sync(fs));
}

static void read_files(struct ropefs *fs, unsigned n)
{
	char name[32];

	for (unsigned i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		ck_ok(read_file(fs, name, i, 200000));
	}
}

static void ck_clone_has_all(struct place *p, unsigned n)
{
	static unsigned turn;
	struct ropefs *fs;

	snprintf(p->clone, sizeof(p->clone), "%s-clone%u", p->store, turn++);
	ck_ok(clone_to(p, false));
	fs = open_at(p, p->clone);
	read_files(fs, n);
	ck_ok(ropefs_close(fs));
	ck_store_is_sound(p, p->clone);
}

START_TEST(what_is_still_here_is_put_again_whatever_happened_to_it)
{
	static const char *const kinds[] = { "/p/", "/s/", "/header" };
	struct place p = place_new();
	struct ropefs *fs = open_with_bucket(&p);

	put_segments(fs);
	put_files(fs, 0, FILES);
	ck_assert_uint_eq(verify(fs, false), 0);
	for (unsigned kind = 0; kind < ARRAY_LEN(kinds); kind++)
		for (unsigned harm = 0; harm < HARMS; harm++) {
			char path[4400];

			ck_assert_uint_gt(find_objects(&p, kinds[kind]), 0);
			/* Of segments the last is the one that is needed for sure. */
			snprintf(path, sizeof(path), "%s", objects[0]);
			for (unsigned i = 1; i < n_objects; i++)
				if (strcmp(objects[i], path) > 0)
					snprintf(path, sizeof(path), "%s", objects[i]);
			do_harm(path, harm);
			ck_assert_msg(verify(fs, false) == 1, "%s, harm %u: %s",
				      kinds[kind], harm, told);
			ck_assert_msg(strstr(told, strrchr(path, '/') + 1), "%s", told);
			ck_assert_msg(verify(fs, true) == 0, "%s, harm %u: %s",
				      kinds[kind], harm, told);
			ck_assert_ptr_nonnull(strstr(told, ": mended"));
			ck_assert_msg(verify(fs, false) == 0, "%s", told);
		}
	put_files(fs, FILES, 1);
	ck_assert_uint_eq(verify(fs, false), 0);
	ck_ok(ropefs_close(fs));
	ck_clone_has_all(&p, FILES + 1);
}
END_TEST

START_TEST(all_of_it_at_once_is_put_again)
{
	struct place p = place_new();
	struct ropefs *fs = open_with_bucket(&p);
	unsigned n;

	put_segments(fs);
	put_files(fs, 0, FILES);
	n = find_objects(&p, "/p/");
	for (unsigned i = 0; i < n; i++)
		do_harm(objects[i], i % HARMS);
	n = find_objects(&p, "/s/");
	for (unsigned i = 0; i < n; i++)
		do_harm(objects[i], i % HARMS);
	ck_assert_uint_ge(verify(fs, false), 2);
	ck_assert_msg(verify(fs, true) == 0, "%s", told);
	ck_ok(ropefs_close(fs));
	ck_clone_has_all(&p, FILES);
}
END_TEST

static void manifest_path(const struct place *p, struct ropefs *fs, uint64_t n,
			  char ret[4400])
{
	snprintf(ret, 4400, "%s/%s", p->bucket,
		 key_manifest(status_of(fs).instance, n).text);
}

START_TEST(the_last_manifest_is_put_again_and_older_ones_are_noted)
{
	struct place p = place_new();
	struct ropefs *fs = open_with_bucket(&p);
	char path[4400];

	put_files(fs, 0, FILES);
	for (unsigned harm = 0; harm < HARMS; harm++) {
		manifest_path(&p, fs, status_of(fs).manifest, path);
		do_harm(path, harm);
		ck_assert_msg(verify(fs, false) == 1, "%s", told);
		ck_assert_msg(verify(fs, true) == 0, "%s", told);
		ck_assert_ptr_nonnull(strstr(told, ": mended"));
		ck_assert_msg(verify(fs, false) == 0, "%s", told);
	}
	manifest_path(&p, fs, status_of(fs).manifest - 1, path);
	do_harm(path, FLIPPED_LAST);
	ck_assert_msg(verify(fs, false) == 1, "%s", told);
	ck_assert_msg(verify(fs, true) == 0, "%s", told);
	ck_assert_msg(strstr(told, "can't be made again"), "%s", told);
	/* From then on it is told, and no fault; but for another change. */
	ck_ok(ropefs_close(fs));
	fs = open_at(&p, p.store);
	ck_assert_msg(verify(fs, false) == 0, "%s", told);
	ck_assert_msg(strstr(told, "1 older manifests are gone or damaged"), "%s", told);
	do_harm(path, FLIPPED_MIDDLE);
	ck_assert_msg(verify(fs, false) == 1, "%s", told);
	ck_assert_msg(verify(fs, true) == 0, "%s", told);
	do_harm(path, REMOVED);
	ck_assert_msg(verify(fs, false) == 1, "%s", told);
	ck_assert_msg(verify(fs, true) == 0, "%s", told);
	ck_assert_msg(verify(fs, false) == 0, "%s", told);
	put_files(fs, FILES, 1);
	ck_ok(ropefs_close(fs));
	ck_clone_has_all(&p, FILES + 1);
}
END_TEST

/* Until the store evicted so many packs. */
static void wait_evicted(struct ropefs *fs, uint64_t packs)
{
	for (unsigned i = 0; i < 600 && status_of(fs).remote_packs < packs; i++) {
		ck_ok(ropefs_remote_retry(fs));
		usleep(100000);
	}
	ck_assert_uint_ge(status_of(fs).remote_packs, packs);
}

START_TEST(what_was_only_there_is_told_with_the_names_of_its_files)
{
	struct place p = place_new();
	struct ropefs *fs = open_with_bucket(&p);
	char limit[64] = "local_bytes=1\n";
	unsigned n;

	put_files(fs, 0, 2);
	ck_ok(ropefs_remote_set(fs, limit));
	wait_evicted(fs, 2);
	n = find_objects(&p, "/p/");
	for (unsigned i = 0; i < n; i++)
		if (strstr(objects[i], "/p/0000000001-"))
			do_harm(objects[i], REMOVED);
	ck_assert_uint_eq(verify(fs, false), 1);
	ck_assert_uint_eq(verify(fs, true), 1);
	ck_assert_msg(strstr(told, "was only there: bytes of 1 files are lost: \"/f0\""),
		      "%s", told);
	ck_assert_int_eq(ropefs_error_errno(read_file(fs, "f0", 0, 200000)), EIO);
	ck_ok(read_file(fs, "f1", 1, 200000));
	ck_ok(ropefs_close(fs));
}
END_TEST

START_TEST(a_pack_that_is_gone_from_the_bucket_does_not_leave_the_disk)
{
	struct place p = place_new();
	struct ropefs *fs = open_with_bucket(&p);
	char limit[64] = "local_bytes=1\n";
	unsigned n;

	put_files(fs, 0, FILES);
	n = find_objects(&p, "/p/");
	for (unsigned i = 0; i < n; i++)
		do_harm(objects[i], i % 2 ? REMOVED : CUT);
	ck_ok(ropefs_remote_set(fs, limit));
	wait_evicted(fs, FILES); /* once they are there again */
	read_files(fs, FILES);
	ck_assert_msg(verify(fs, false) == 0, "%s", told);
	ck_ok(ropefs_close(fs));
	ck_clone_has_all(&p, FILES);
}
END_TEST

START_TEST(the_first_upload_of_a_life_finds_what_is_missing)
{
	struct place p = place_new();
	struct ropefs *fs = open_with_bucket(&p);
	unsigned n;

	put_segments(fs);
	put_files(fs, 0, FILES);
	ck_ok(ropefs_close(fs));
	n = find_objects(&p, "/p/");
	do_harm(objects[0], REMOVED);
	n = find_objects(&p, "/s/");
	for (unsigned i = 0; i < n; i++)
		do_harm(objects[i], i % 2 ? REMOVED : CUT);
	find_objects(&p, "/header");
	do_harm(objects[0], FLIPPED_MIDDLE);
	fs = open_at(&p, p.store);
	for (unsigned i = 0; i < 600 && verify(fs, false); i++)
		usleep(100000);
	ck_assert_msg(verify(fs, false) == 0, "%s", told);
	ck_ok(ropefs_close(fs));
	ck_clone_has_all(&p, FILES);
}
END_TEST

/* A file goes up, and the upload with all that follows it is over. */
static void put_and_wait(struct ropefs *fs, unsigned i)
{
	uint64_t before = status_of(fs).cycles;

	put_files(fs, i, 1);
	for (unsigned tries = 0; tries < 1200 && status_of(fs).cycles == before; tries++)
		usleep(50000);
	ck_assert_uint_gt(status_of(fs).cycles, before);
}

START_TEST(what_goes_missing_is_found_in_its_turn_and_there_is_no_list)
{
	struct place p = place_new();
	struct ropefs *fs = open_with_bucket(&p);
	uint64_t heads;

	put_segments(fs);
	put_files(fs, 0, FILES);
	put_and_wait(fs, FILES);
	ck_ok(ropefs_close(fs));
	fs = open_at(&p, p.store);
	put_and_wait(fs, FILES + 1);
	find_objects(&p, "/p/");
	do_harm(objects[0], REMOVED);
	find_objects(&p, "/s/");
	do_harm(objects[0], CUT);
	heads = status_of(fs).heads;
	put_and_wait(fs, FILES + 2);
	ck_assert_uint_le(status_of(fs).heads, heads + 2); /* enough for that day */
	ck_assert_uint_eq(verify(fs, false), 2);
	fs->remote->looked.began_ns = 0;
	put_and_wait(fs, FILES + 3);
	for (unsigned i = 0; i < 600 && verify(fs, false); i++)
		usleep(100000);
	ck_assert_msg(verify(fs, false) == 0, "%s", told);
	ck_assert_uint_eq(status_of(fs).lists, 0);
	ck_ok(ropefs_close(fs));
	ck_clone_has_all(&p, FILES + 4);
}
END_TEST

START_TEST(a_bucket_put_back_gets_what_it_lacks_and_an_empty_folder_nothing)
{
	struct place p = place_new();
	struct ropefs *fs = open_with_bucket(&p);
	struct ropefs_verify v = { .repair = true };
	char command[14000];

	put_files(fs, 0, 1);
	snprintf(command, sizeof(command), "cp -r '%s' '%s-old'", p.bucket, p.bucket);
	ck_assert_int_eq(system(command), 0);
	put_files(fs, 1, FILES - 1);
	snprintf(command, sizeof(command), "mkdir '%s-new' && mv '%s'/* '%s-new'",
		 p.bucket, p.bucket, p.bucket);
	ck_assert_int_eq(system(command), 0);
	ck_assert_int_eq(ropefs_remote_verify(fs, &v), -E_REMOTE);
	ck_assert_msg(strstr(ropefs_error(), "nothing of this store"), "%s",
		      ropefs_error());
	ck_assert_uint_eq(find_objects(&p, "/"), 0);

	snprintf(command, sizeof(command), "mv '%s-old'/* '%s'", p.bucket, p.bucket);
	ck_assert_int_eq(system(command), 0);
	ck_assert_uint_ge(verify(fs, false), 2);
	/* The manifests between can't be made again, and are noted. */
	ck_assert_msg(verify(fs, true) == 0, "%s", told);
	ck_assert_msg(verify(fs, false) == 0, "%s", told);
	put_files(fs, FILES, 1);
	ck_ok(ropefs_close(fs));
	ck_clone_has_all(&p, FILES + 1);
}
END_TEST

START_TEST(a_damaged_manifest_goes_with_its_time_and_stops_nothing)
{
	struct place p = place_new();
	struct ropefs *fs = open_at(&p, p.store);
	struct ropefs_remote_opts opts = bucket_of(&p);
	unsigned n = FILES;
	char path[4400];

	ck_ok(ropefs_remote_add(fs, &opts));
	put_files(fs, 0, n);
	manifest_path(&p, fs, 2, path);
	do_harm(path, FLIPPED_MIDDLE);
	snprintf(path, sizeof(path), "keep_s=1\n");
	ck_ok(ropefs_remote_set(fs, path));
	manifest_path(&p, fs, 2, path);
	for (unsigned i = 0; i < 300 && access(path, F_OK) == 0; i++) {
		put_files(fs, n++, 1);
		usleep(200000);
	}
	ck_assert_int_ne(access(path, F_OK), 0);
	ck_assert_uint_eq(status_of(fs).cycle_errors, 0);
	ck_assert_msg(verify(fs, false) == 0, "%s", told);
	ck_ok(ropefs_close(fs));
	ck_clone_has_all(&p, n);
}
END_TEST

/* The disk that is the bucket is unmounted, and mounted again, while the store is open. */
START_TEST(a_folder_that_goes_and_comes_is_told_gets_nothing_and_is_read_again)
{
	struct place p = place_new();
	struct ropefs *fs = open_with_bucket(&p);
	char limit[64] = "local_bytes=1\n", away[4300], *text;
	uint64_t lsn, puts;

	put_files(fs, 0, FILES);
	ck_ok(ropefs_remote_set(fs, limit));
	wait_evicted(fs, FILES);
	snprintf(limit, sizeof(limit), "local_bytes=0\n");
	ck_ok(ropefs_remote_set(fs, limit));
	snprintf(away, sizeof(away), "%s-away", p.bucket);
	ck_ok(rename(p.bucket, away));
	ck_assert_int_eq(ropefs_error_errno(read_file(fs, "f0", 0, 200000)), EIO);
	ck_assert_msg(strstr(status_of(fs).read_error, "can't be opened"), "%s",
		      status_of(fs).read_error);
	ck_ok(ropefs_status_json(fs, true, &text));
	ck_assert_msg(strstr(text, "can't be opened"), "%s", text);
	free(text);

	ck_ok(mkdir(p.bucket, 0700)); /* where it was mounted */
	ck_assert_int_eq(ropefs_error_errno(read_file(fs, "f1", 1, 200000)), EIO);
	ck_assert_msg(strstr(status_of(fs).read_error, "mounted?"), "%s",
		      status_of(fs).read_error);
	put_file(fs, "more", 9, 1000);
	puts = status_of(fs).puts;
	ck_ok(ropefs_remote_kick(fs, &lsn));
	for (unsigned i = 0; i < 600 && !*status_of(fs).last_error; i++)
		usleep(100000);
	ck_assert_str_ne(status_of(fs).last_error, "");
	ck_assert_uint_ge(status_of(fs).puts, puts); /* they are not forgotten */
	ck_ok(rmdir(p.bucket)); /* it is empty */

	ck_ok(rename(away, p.bucket));
	read_files(fs, FILES);
	ck_assert_str_eq(status_of(fs).read_error, "");
	ck_ok(ropefs_remote_sync(fs));
	ck_assert_str_eq(status_of(fs).last_error, "");
	ck_assert_msg(verify(fs, false) == 0, "%s", told);
	ck_ok(ropefs_close(fs));
	ck_clone_has_all(&p, FILES);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("remote_harm");
	TCase *t = remote_tcase("remote_harm");

	tcase_add_test(t, what_is_still_here_is_put_again_whatever_happened_to_it);
	tcase_add_test(t, all_of_it_at_once_is_put_again);
	tcase_add_test(t, the_last_manifest_is_put_again_and_older_ones_are_noted);
	tcase_add_test(t, what_was_only_there_is_told_with_the_names_of_its_files);
	tcase_add_test(t, a_pack_that_is_gone_from_the_bucket_does_not_leave_the_disk);
	tcase_add_test(t, the_first_upload_of_a_life_finds_what_is_missing);
	tcase_add_test(t, what_goes_missing_is_found_in_its_turn_and_there_is_no_list);
	tcase_add_test(t,
		       a_bucket_put_back_gets_what_it_lacks_and_an_empty_folder_nothing);
	tcase_add_test(t, a_damaged_manifest_goes_with_its_time_and_stops_nothing);
	tcase_add_test(
		t, a_folder_that_goes_and_comes_is_told_gets_nothing_and_is_read_again);
	suite_add_tcase(s, t);
	return suite_main(s);
}
