/* test_remote.c - a store whose bucket is a folder: what goes up, leaves, comes back; two
 * writers; a bucket that is away. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/base/err.h"
#include "core/remote_priv.h"
#include "tests/lib/suite.h"
#include "tests/unit/remote_fixture.h"

START_TEST(the_bucket_and_the_key_bring_a_store_back)
{
	struct place p = place_new();
	struct ropefs *fs = open_with_bucket(&p);

	put_file(fs, "a", 1, 300000);
	put_file(fs, "b", 2, 5);
	ck_ok(ropefs_remote_sync(fs));
	put_file(fs, "later", 3, 100);
	ck_ok(ropefs_close(fs));

	ck_ok(clone_to(&p, false));
	fs = open_at(&p, p.clone);
	ck_ok(read_file(fs, "a", 1, 300000));
	ck_ok(read_file(fs, "b", 2, 5));
	ck_assert_int_eq(ropefs_resolve(fs, "later", &(struct ropefs_attr) { 0 }),
			 -ENOENT);
	ck_assert_int_eq(ropefs_unlink(fs, ROPEFS_ROOT_INO, ropefs_name("a")),
			 -E_READ_ONLY);
	ck_ok(ropefs_close(fs));
	ck_store_is_sound(&p, p.clone);
}
END_TEST

START_TEST(many_uploads_with_edits_between_are_restored_as_the_last_one_was)
{
	struct place p = place_new();
	struct ropefs *fs = open_with_bucket(&p);
	struct ropefs_remote_status st;
	char name[32];

	for (unsigned round = 0; round < 12; round++) {
		for (unsigned i = 0; i < 40; i++) {
			snprintf(name, sizeof(name), "f%u-%u", round, i);
			put_file(fs, name, round * 100 + i, 3000);
		}
		if (round % 3 == 2) {
			snprintf(name, sizeof(name), "f%u-7", round - 1);
			ck_ok(ropefs_unlink(fs, ROPEFS_ROOT_INO, ropefs_name(name)));
			ck_ok(ropefs_collect(fs));
		}
		ck_ok(ropefs_remote_sync(fs));
		if (round == 5) { /* another life goes on where this one ended */
			ck_ok(ropefs_close(fs));
			fs = open_at(&p, p.store);
		}
	}
	st = status_of(fs);
	ck_assert_uint_ge(st.manifest, 12);
	ck_ok(ropefs_close(fs));
	ck_ok(clone_to(&p, true));
	ck_store_is_sound(&p, p.clone);
	fs = open_at(&p, p.clone);
	for (unsigned round = 0; round < 12; round++)
		for (unsigned i = 0; i < 40; i++) {
			struct ropefs_attr a;

			snprintf(name, sizeof(name), "f%u-%u", round, i);
			if (i == 7 && round % 3 == 1)
				ck_assert_int_eq(ropefs_resolve(fs, name, &a), -ENOENT);
			else
				ck_ok(read_file(fs, name, round * 100 + i, 3000));
		}
	put_file(fs, "new", 9, 1000);
	ck_ok(ropefs_remote_sync(fs));
	ck_ok(ropefs_close(fs));
	ck_store_is_sound(&p, p.clone);
}
END_TEST

START_TEST(nothing_new_makes_no_request_that_writes)
{
	struct place p = place_new();
	struct ropefs *fs = open_with_bucket(&p);
	struct ropefs_remote_status before, after;

	put_file(fs, "a", 1, 300000);
	ck_ok(ropefs_remote_sync(fs));
	before = status_of(fs);
	ck_ok(ropefs_remote_sync(fs));
	after = status_of(fs);
	ck_assert_uint_eq(before.puts, after.puts);
	ck_assert_uint_eq(before.lists, after.lists);
	ck_assert_uint_eq(before.manifest, after.manifest);
	ck_ok(ropefs_close(fs));
}
END_TEST

START_TEST(packs_over_the_limit_leave_and_their_bytes_come_back_when_read)
{
	struct place p = place_new();
	struct ropefs *fs = open_at(&p, p.store);
	struct ropefs_remote_opts opts = bucket_of(&p);
	struct ropefs_remote_status st;
	char name[32];

	opts.local_bytes = 3 << 20;
	ck_ok(ropefs_remote_add(fs, &opts));
	for (unsigned i = 0; i < 8; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		put_file(fs, name, i, 1 << 20);
		ck_ok(ropefs_remote_sync(fs));
	}
	for (unsigned tries = 0; tries < 600; tries++) { /* it evicts after it answers */
		st = status_of(fs);
		if (st.local_bytes <= 3 << 20)
			break;
		usleep(100000);
	}
	ck_assert_uint_le(st.local_bytes, 3 << 20);
	ck_assert_uint_gt(st.remote_packs, 3);
	ck_ok(ropefs_close(fs));
	ck_store_is_sound(&p, p.store);

	fs = open_at(&p, p.store);
	st = status_of(fs);
	ck_assert_uint_gt(st.remote_packs, 3);
	for (unsigned i = 0; i < 8; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		ck_ok(read_file(fs, name, i, 1 << 20));
	}
	ck_assert_uint_gt(status_of(fs).gets, 0);
	ck_assert_int_eq(ropefs_remote_rm(fs), -EBUSY);
	ck_ok(ropefs_unlink(fs, ROPEFS_ROOT_INO, ropefs_name("f0")));
	ck_ok(ropefs_collect(fs)); /* asks nothing of the bucket's packs */
	ck_ok(read_file(fs, "f1", 1, 1 << 20));
	ck_ok(ropefs_close(fs));
	ck_store_is_sound(&p, p.store);
}
END_TEST

START_TEST(what_was_fetched_is_still_here_after_another_opening)
{
	struct place p = place_new();
	struct ropefs *fs = open_at(&p, p.store);
	struct ropefs_remote_opts opts = bucket_of(&p);
	const size_t part = 200000; /* of the limit a quarter keeps fetched bytes */
	_cleanup_free_ uint8_t *want = malloc(part), *got = malloc(part);
	struct rng rng = rng_seeded(1);
	char packs[4300], away[4320];
	uint64_t ino;

	opts.local_bytes = 3 << 20;
	ck_ok(ropefs_remote_add(fs, &opts));
	ino = put_file(fs, "first", 1, MIB);
	for (unsigned i = 0; i < 4; i++) {
		char name[32];

		snprintf(name, sizeof(name), "f%u", i);
		put_file(fs, name, i, MIB);
		ck_ok(ropefs_remote_sync(fs));
	}
	rng_fill(&rng, want, part);
	snprintf(packs, sizeof(packs), "%s/%s/p", p.bucket, status_of(fs).instance);
	snprintf(away, sizeof(away), "%s-away", packs);
	for (unsigned life = 0; life < 4; life++) {
		ck_ok(ropefs_close(fs));
		if (life == 1)
			ck_ok(rename(packs, away));
		if (life == 3) /* all of it: a disk that is not mounted */
			ck_ok(rename(p.bucket, p.clone));
		fs = open_at(&p, p.store);
		ck_assert_uint_gt(status_of(fs).remote_packs, 1);
		ck_assert_msg(ropefs_read(fs, ino, 0, got, part, 0) == (ssize_t)part,
			      "life %u: %s", life, ropefs_error());
		ck_assert_mem_eq(got, want, part);
		ck_assert_uint_eq(status_of(fs).cache_hits > 0, life > 0);
	}
	ck_ok(ropefs_close(fs)); /* what is still here went up again, perhaps */
}
END_TEST

/* A file under a policy; it is packed apart. */
static void put_under(struct ropefs *fs, const char *key, const char *value,
		      uint64_t seed)
{
	const struct ropefs_new dir = { .mode = S_IFDIR | 0700 },
				what = { .mode = S_IFREG | 0600 };
	_cleanup_free_ uint8_t *bytes = malloc(MIB);
	struct rng rng = rng_seeded(seed);
	struct ropefs_attr d, a;
	char name[64];

	rng_fill(&rng, bytes, MIB);
	ck_ok(ropefs_create(fs, ROPEFS_ROOT_INO, ropefs_name(value), &dir, &d));
	snprintf(name, sizeof(name), "user.ropefs.%s", key);
	ck_ok(ropefs_setxattr(fs, d.ino, name, value, strlen(value), 0));
	ck_ok(ropefs_create(fs, d.ino, ropefs_name("f"), &what, &a));
	ck_assert_int_eq(ropefs_write(fs, a.ino, 0, bytes, MIB, 0, NULL), (ssize_t)MIB);
}

START_TEST(policies_say_what_goes_up_and_what_leaves)
{
	struct place p = place_new();
	struct ropefs *fs = open_at(&p, p.store);
	struct ropefs_remote_opts opts = bucket_of(&p);
	struct ropefs_remote_status st;

	opts.local_bytes = 3 << 20; /* never and on fit, and one more */
	put_under(fs, "upload", "last", 1);
	put_under(fs, "upload", "never", 2);
	put_under(fs, "pin", "on", 3);
	put_under(fs, "upload", "first", 4);
	put_under(fs, "upload", "normal", 5);
	ck_ok(ropefs_checkpoint(fs));
	ck_ok(ropefs_remote_add(fs, &opts));
	ck_ok(ropefs_remote_sync(fs));
	st = status_of(fs);
	ck_assert_uint_eq(st.manifest, 3); /* one after each rank */
	for (unsigned tries = 0; tries < 600 && st.remote_packs < 3; tries++) {
		usleep(100000);
		st = status_of(fs);
	}
	ck_assert_uint_eq(st.remote_packs, 3);
	ck_assert_uint_gt(st.local_bytes, 2 << 20);
	ck_ok(read_file(fs, "never/f", 2, MIB));
	ck_ok(read_file(fs, "on/f", 3, MIB));
	ck_assert_uint_eq(status_of(fs).gets, st.gets);
	ck_ok(read_file(fs, "first/f", 4, MIB));
	ck_assert_uint_gt(status_of(fs).gets, st.gets);
	ck_assert_uint_eq(problems_of(fs), 0);
	ck_ok(ropefs_close(fs));
	ck_store_is_sound(&p, p.store);

	ck_ok(clone_to(&p, true));
	fs = open_at(&p, p.clone);
	ck_ok(read_file(fs, "last/f", 1, MIB));
	ck_assert_int_eq(ropefs_error_errno(read_file(fs, "never/f", 2, MIB)), EIO);
	ck_assert_ptr_nonnull(strstr(ropefs_error(), "was not uploaded"));
	put_file(fs, "more", 6, 1000);
	ck_ok(ropefs_remote_sync(fs));
	ck_assert_uint_eq(problems_of(fs), 0);
	ck_ok(ropefs_close(fs));
}
END_TEST

START_TEST(without_its_bucket_a_store_works_but_for_what_is_only_there)
{
	struct place p = place_new();
	struct ropefs *fs = open_at(&p, p.store);
	struct ropefs_remote_opts opts = bucket_of(&p);
	char away[4300];

	opts.local_bytes = 1;
	ck_ok(ropefs_remote_add(fs, &opts));
	put_file(fs, "gone", 1, 1 << 20);
	ck_ok(ropefs_remote_sync(fs));
	for (unsigned tries = 0; tries < 600 && !status_of(fs).remote_packs; tries++)
		usleep(100000);
	ck_ok(ropefs_close(fs));
	snprintf(away, sizeof(away), "%s-away", p.bucket);
	ck_ok(rename(p.bucket, away));

	fs = open_at(&p, p.store);
	put_file(fs, "here", 2, 100000);
	ck_ok(read_file(fs, "here", 2, 100000));
	ck_assert_int_eq(ropefs_error_errno(read_file(fs, "gone", 1, 1 << 20)), EIO);
	ck_assert_uint_gt(reads_failed, 0);
	ck_ok(rename(away, p.bucket));
	ck_ok(read_file(fs, "gone", 1, 1 << 20));
	ck_ok(ropefs_remote_sync(fs));
	ck_ok(ropefs_close(fs));
}
END_TEST

/* As when its disk is not mounted there. */
START_TEST(an_empty_folder_in_its_buckets_place_gets_nothing)
{
	struct place p = place_new();
	struct ropefs *fs = open_with_bucket(&p);
	char away[4300];
	uint64_t lsn;

	put_file(fs, "a", 1, 100000);
	ck_ok(ropefs_remote_sync(fs));
	ck_ok(ropefs_close(fs));
	snprintf(away, sizeof(away), "%s-away", p.bucket);
	ck_ok(rename(p.bucket, away));
	ck_ok(mkdir(p.bucket, 0700));

	fs = open_at(&p, p.store);
	put_file(fs, "b", 2, 100000);
	ck_ok(ropefs_remote_kick(fs, &lsn));
	for (unsigned tries = 0; tries < 600 && !*status_of(fs).last_error; tries++)
		usleep(100000);
	ck_assert_ptr_nonnull(strstr(status_of(fs).last_error, "the last that was put"));
	ck_ok(rmdir(p.bucket)); /* it is empty */
	ck_ok(rename(away, p.bucket));
	ck_ok(ropefs_remote_sync(fs));
	ck_assert_uint_eq(problems_of(fs), 0);
	ck_ok(ropefs_close(fs));
}
END_TEST

START_TEST(a_take_over_turns_the_first_writer_read_only_and_it_keeps_what_it_has)
{
	struct place p = place_new();
	struct ropefs *fs = open_with_bucket(&p), *other;

	put_file(fs, "a", 1, 1000);
	ck_ok(ropefs_remote_sync(fs));
	ck_ok(clone_to(&p, true));
	other = open_at(&p, p.clone);
	put_file(other, "b", 2, 1000);
	ck_ok(ropefs_remote_sync(other));

	put_file(fs, "mine", 3, 1000);
	ck_assert_int_eq(ropefs_remote_sync(fs), -E_FENCED);
	ck_assert_int_eq(ropefs_remote_sync(fs), -E_FENCED); /* and again */
	ck_assert(status_of(fs).fenced);
	ck_assert_int_eq(ropefs_unlink(fs, ROPEFS_ROOT_INO, ropefs_name("a")),
			 -E_READ_ONLY);
	ck_ok(read_file(fs, "mine", 3, 1000));
	ropefs_close(fs);
	fs = open_at(&p, p.store);
	ck_ok(read_file(fs, "mine", 3, 1000));
	ropefs_close(fs);
	put_file(other, "c", 4, 1000);
	ck_ok(ropefs_remote_sync(other));
	ck_ok(ropefs_close(other));
}
END_TEST

START_TEST(of_two_that_take_over_at_once_one_wins)
{
	struct place p = place_new();
	struct ropefs *fs = open_with_bucket(&p);
	unsigned rounds = 20;

	put_file(fs, "a", 1, 1000);
	ck_ok(ropefs_remote_sync(fs));
	ck_ok(ropefs_close(fs));
	for (unsigned i = 0; i < rounds; i++) {
		pid_t pids[2];
		int status[2], won = 0;

		for (unsigned k = 0; k < 2; k++) {
			snprintf(p.clone, sizeof(p.clone), "%s-%u-%u", p.store, i, k);
			pids[k] = fork();
			if (pids[k] == 0)
				_exit(clone_to(&p, true) == 0 ? 0 : 1);
		}
		for (unsigned k = 0; k < 2; k++) {
			ck_assert_int_eq(waitpid(pids[k], &status[k], 0), pids[k]);
			ck_assert(WIFEXITED(status[k]));
			won += WEXITSTATUS(status[k]) == 0;
		}
		/* Both when one came after the other. */
		ck_assert_int_ge(won, 1);
	}
}
END_TEST

static void note_line(void *arg, const char *line)
{
	char *all = arg;

	strncat(all, line, 4000 - strlen(all));
	strncat(all, "\n", 4000 - strlen(all));
}

START_TEST(a_manifest_can_be_printed_with_the_key_only)
{
	struct place p = place_new();
	struct ropefs *fs = open_with_bucket(&p);
	char sealed[4001] = "", text[4001] = "";

	put_file(fs, "a", 1, 1000);
	ck_ok(ropefs_remote_sync(fs));
	ck_ok(ropefs_close(fs));
	ck_ok(ropefs_dump(p.store, "remote/manifest", NULL, note_line, sealed));
	ck_assert_ptr_nonnull(strstr(sealed, "sealed"));
	ck_assert_ptr_null(strstr(sealed, "segments"));
	ck_ok(ropefs_dump(p.store, "remote/manifest", p.key, note_line, text));
	ck_assert_ptr_nonnull(strstr(text, "of writer epoch 1"));
	ck_assert_ptr_nonnull(strstr(text, "  ID/p/0000000001-"));
	ck_assert_ptr_nonnull(strstr(text, " 0 segments")); /* so few pages go with it */

	fs = open_at(&p, p.store);
	put_many(fs);
	ck_ok(ropefs_remote_sync(fs));
	ck_ok(ropefs_close(fs));
	*text = '\0';
	ck_ok(ropefs_dump(p.store, "remote/manifest", p.key, note_line, text));
	ck_assert_ptr_nonnull(strstr(text, " 0 pages"));
	ck_assert_ptr_nonnull(strstr(text, "  ID/s/"));
}
END_TEST

START_TEST(a_bucket_with_the_store_of_another_writer_is_not_added_by_accident)
{
	struct place p = place_new();
	struct ropefs *fs = open_with_bucket(&p);
	struct ropefs_remote_opts opts = bucket_of(&p);

	put_file(fs, "a", 1, 1000);
	ck_ok(ropefs_remote_sync(fs));
	ck_ok(ropefs_remote_rm(fs));
	ck_assert_int_eq(ropefs_remote_add(fs, &opts), -E_FENCED);
	opts.take_over = true;
	ck_ok(ropefs_remote_add(fs, &opts));
	put_file(fs, "b", 2, 1000);
	ck_ok(ropefs_remote_sync(fs));
	ck_ok(ropefs_close(fs));
	ck_clone_has(&p, "b", 2, 1000);
}
END_TEST

/* --- when the bucket is away --- */

START_TEST(without_room_and_bucket_new_bytes_are_refused_or_old_ones_dropped)
{
	struct place p = place_new();
	struct ropefs *fs = open_at(&p, p.store);
	struct ropefs_remote_opts opts = bucket_of(&p);
	char away[4300], name[32], line[64];
	_cleanup_free_ char *dropped = NULL;
	struct ropefs_remote_status st;
	struct ropefs_attr a;
	unsigned i;
	int r = 0;

	opts.local_bytes = 16 << 20;
	ck_ok(ropefs_remote_add(fs, &opts));
	snprintf(away, sizeof(away), "%s-away", p.bucket);
	ck_ok(ropefs_close(fs));
	ck_ok(rename(p.bucket, away));
	fs = open_at(&p, p.store);
	put_under(fs, "upload", "first", 4);
	put_under(fs, "upload", "last", 5);
	put_under(fs, "pin", "on", 6);
	ck_ok(ropefs_checkpoint(fs));
	for (i = 0; i < 40 && r == 0; i++) {
		const struct ropefs_new what = { .mode = S_IFREG | 0600 };
		uint8_t bytes[65536];

		snprintf(name, sizeof(name), "f%u", i);
		r = ropefs_create(fs, ROPEFS_ROOT_INO, ropefs_name(name), &what, &a);
		for (unsigned k = 0; r == 0 && k < 16; k++) {
			io_random(fs->io, bytes, sizeof(bytes));
			r = (int)MIN(ropefs_write(fs, a.ino, 0, bytes, sizeof(bytes),
						  ROPEFS_APPEND, NULL),
				     0);
		}
		if (r == 0)
			ck_ok(ropefs_checkpoint(fs));
	}
	ck_assert_int_eq(r, -ENOSPC);
	ck_assert(status_of(fs).full);
	ck_assert_uint_le(status_of(fs).local_bytes, 16 << 20);
	ck_assert_uint_eq(status_of(fs).dropped, 0);
	ck_ok(ropefs_unlink(fs, ROPEFS_ROOT_INO, ropefs_name("f0"))); /* that works */

	snprintf(line, sizeof(line), "drop_oldest=1\n");
	ck_ok(ropefs_remote_set(fs, line));
	put_file(fs, "newer", 8, 2 * MIB); /* which waits until others went */
	st = status_of(fs);
	ck_assert_uint_gt(st.dropped, 0);
	ck_assert(!st.full);
	ck_assert_uint_le(st.local_bytes, 16 << 20);
	put_file(fs, "new", 7, 1000);
	ck_assert_int_eq(ropefs_error_errno(read_file(fs, "last/f", 5, MIB)), EIO);
	ck_assert_msg(strstr(ropefs_error(), "was dropped"), "%s", ropefs_error());
	ck_ok(read_file(fs, "first/f", 4, MIB));
	ck_ok(read_file(fs, "on/f", 6, MIB));
	ck_ok(ropefs_remote_dropped(fs, true, &dropped));
	ck_assert_ptr_nonnull(strstr(dropped, "\"upload\": \"last\""));
	ck_assert_ptr_nonnull(strstr(dropped, "\"names\": [\"/last/f\"]"));
	ck_assert_ptr_null(strstr(dropped, "/first/f"));
	free(dropped);
	ck_ok(ropefs_remote_dropped(fs, false, &dropped));
	ck_assert_ptr_null(strstr(dropped, "/last/f"));
	ck_ok(ropefs_close(fs));

	fs = open_at(&p, p.store); /* it is known after another opening */
	ck_assert_int_eq(ropefs_error_errno(read_file(fs, "last/f", 5, MIB)), EIO);
	ck_ok(rename(away, p.bucket));
	ck_ok(ropefs_remote_sync(fs));
	ck_assert_uint_eq(problems_of(fs), 0);
	ck_ok(read_file(fs, "new", 7, 1000));
	ck_ok(ropefs_close(fs));
	ck_store_is_sound(&p, p.store);
}
END_TEST

static int take_info(void *arg, const struct pack_info *info)
{
	*(struct pack_info *)arg = *info;
	return 0;
}

START_TEST(a_pack_that_the_bucket_refuses_is_set_aside_until_somebody_asks)
{
	struct place p = place_new();
	struct ropefs *fs = open_at(&p, p.store);
	struct ropefs_remote_opts opts = bucket_of(&p);
	struct pack_info info = { 0 };
	char instance[INSTANCE_BYTES], command[10000], path[9000];

	put_file(fs, "a", 1, 100000);
	ck_ok(ropefs_checkpoint(fs));
	ck_ok(packs_each(fs->packs, take_info, &info));
	instance_id(fs->header.public_key, instance);
	/* A folder stands where the object should. */
	snprintf(path, sizeof(path), "%s/%s", p.bucket,
		 key_of(instance, 'p', info.pack, info.id).text);
	snprintf(command, sizeof(command), "mkdir -p '%s/x'", path);
	ck_assert_int_eq(system(command), 0);
	ck_ok(ropefs_remote_add(fs, &opts));
	ck_assert_int_eq(ropefs_remote_sync(fs), -E_REMOTE);
	ck_assert_msg(strstr(ropefs_error(), "refuses pack"), "%s", ropefs_error());
	ck_assert_uint_eq(status_of(fs).refused, 1);
	put_file(fs, "b", 2, 1000); /* the rest goes up */
	ck_assert_int_eq(ropefs_remote_sync(fs), -E_REMOTE);
	ck_assert_uint_ge(status_of(fs).manifest, 1);
	snprintf(command, sizeof(command), "rm -r '%s'", path);
	ck_assert_int_eq(system(command), 0);
	ck_ok(ropefs_remote_retry(fs));
	ck_ok(ropefs_remote_sync(fs));
	ck_assert_uint_eq(status_of(fs).refused, 0);
	ck_assert_uint_eq(problems_of(fs), 0);
	ck_ok(ropefs_close(fs));
}
END_TEST

START_TEST(uploads_keep_to_their_hours_but_for_who_waits)
{
	struct place p = place_new();
	struct ropefs *fs = open_at(&p, p.store);
	struct ropefs_remote_opts opts = bucket_of(&p);
	time_t now = time(NULL);
	char hours[64], line[80];
	struct tm tm;

	/* From two hours ahead to three. */
	localtime_r(&now, &tm);
	snprintf(hours, sizeof(hours), "%02d:00-%02d:00", (tm.tm_hour + 2) % 24,
		 (tm.tm_hour + 3) % 24);
	opts.interval_s = 1;
	opts.upload_hours = "25:00-26:00";
	ck_assert_int_eq(ropefs_remote_add(fs, &opts), -EINVAL);
	opts.upload_hours = hours;
	ck_ok(ropefs_remote_add(fs, &opts));
	put_file(fs, "a", 1, 1000);
	ck_ok(ropefs_checkpoint(fs));
	for (unsigned tries = 0; tries < 600 && !status_of(fs).resting; tries++)
		usleep(100000);
	ck_assert(status_of(fs).resting);
	ck_assert_uint_eq(status_of(fs).manifest, 0);
	ck_ok(ropefs_remote_sync(fs));
	ck_assert_uint_eq(status_of(fs).manifest, 1);
	put_file(fs, "b", 2, 1000);
	ck_ok(ropefs_checkpoint(fs));
	snprintf(line, sizeof(line), "upload_hours=\ninterval_s=1\n");
	ck_ok(ropefs_remote_set(fs, line));
	for (unsigned tries = 0; tries < 600 && status_of(fs).manifest < 2; tries++)
		usleep(100000);
	ck_assert_uint_eq(status_of(fs).manifest, 2);
	ck_ok(ropefs_close(fs));
}
END_TEST

/* --- kills --- */

/* Tells of each upload by a byte to `tell`. */
static void live_until_killed(const struct place *p, unsigned life, int tell)
{
	struct ropefs *fs = open_at(p, p->store);
	char name[32];

	for (unsigned i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "l%u-%u", life, i);
		put_file(fs, name, life * 1000 + i, 20000);
		ck_ok(ropefs_remote_sync(fs));
		if (write(tell, "", 1) != 1)
			return;
	}
}

START_TEST(a_kill_at_any_moment_of_an_upload_loses_and_doubles_nothing)
{
	struct rng rng = rng_seeded(suite_seed());
	struct place p = place_new();
	struct ropefs *fs = open_at(&p, p.store);
	struct ropefs_remote_opts opts = bucket_of(&p);
	struct ropefs_entry entries[64];
	uint64_t after = 0;
	unsigned files = 0;
	int n;

	opts.local_bytes = 200000;
	ck_ok(ropefs_remote_add(fs, &opts));
	ck_ok(ropefs_close(fs));
	for (unsigned life = 0; life < 12; life++) {
		int tell[2];
		char byte;
		pid_t pid;

		ck_ok(pipe(tell));
		pid = fork();
		if (pid == 0) {
			live_until_killed(&p, life, tell[1]);
			_exit(0);
		}
		close(tell[1]);
		ck_assert_int_eq(read(tell[0], &byte, 1), 1);
		usleep((useconds_t)rng_below(&rng, 300000));
		kill(pid, SIGKILL);
		close(tell[0]);
		ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	}
	fs = open_at(&p, p.store);
	put_file(fs, "last", 77, 100);
	ck_ok(ropefs_remote_sync(fs));
	ck_assert_uint_eq(problems_of(fs), 0);
	ck_ok(ropefs_close(fs));
	ck_store_is_sound(&p, p.store);
	ck_ok(clone_to(&p, false));
	fs = open_at(&p, p.clone);
	while ((n = ropefs_readdir(fs, ROPEFS_ROOT_INO, after, entries, NULL, 64)) > 0) {
		for (int i = 0; i < n; i++) {
			unsigned life, k;
			struct ropefs_attr a;

			after = entries[i].cookie;
			if (sscanf(entries[i].name, "l%u-%u", &life, &k) != 2)
				continue;
			ck_ok(ropefs_getattr(fs, entries[i].ino, &a));
			if (a.size ==
			    20000) /* the kill came before its write otherwise */
				ck_ok(read_file(fs, entries[i].name, life * 1000 + k,
						20000));
			files++;
		}
	}
	ck_assert_uint_gt(files, 0);
	ck_ok(ropefs_close(fs));
}
END_TEST

START_TEST(a_sync_with_durability_remote_waits_for_the_bucket)
{
	struct place p = place_new();
	struct ropefs *fs = open_with_bucket(&p);
	const struct ropefs_opts opts = { .key_file = p.key,
					  .durability = ROPEFS_REMOTE };

	ck_ok(ropefs_close(fs));
	ck_ok(ropefs_open(p.store, &opts, &fs));
	put_file(fs, "a", 1, 1000);
	ck_ok(ropefs_sync(fs));
	ck_ok(clone_to(&p, false));
	ck_ok(ropefs_close(fs));
	fs = open_at(&p, p.clone);
	ck_ok(read_file(fs, "a", 1, 1000));
	ck_ok(ropefs_close(fs));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("remote");
	TCase *t = tcase_create("remote");

	tcase_set_timeout(t, 120);
	tcase_add_test(t, the_bucket_and_the_key_bring_a_store_back);
	tcase_add_test(t,
		       many_uploads_with_edits_between_are_restored_as_the_last_one_was);
	tcase_add_test(t, nothing_new_makes_no_request_that_writes);
	tcase_add_test(t, packs_over_the_limit_leave_and_their_bytes_come_back_when_read);
	tcase_add_test(t, what_was_fetched_is_still_here_after_another_opening);
	tcase_add_test(t, policies_say_what_goes_up_and_what_leaves);
	tcase_add_test(t, without_its_bucket_a_store_works_but_for_what_is_only_there);
	tcase_add_test(t, an_empty_folder_in_its_buckets_place_gets_nothing);
	tcase_add_test(
		t, a_take_over_turns_the_first_writer_read_only_and_it_keeps_what_it_has);
	tcase_add_test(t, of_two_that_take_over_at_once_one_wins);
	tcase_add_test(t, a_manifest_can_be_printed_with_the_key_only);
	tcase_add_test(
		t, a_bucket_with_the_store_of_another_writer_is_not_added_by_accident);
	tcase_add_test(t,
		       without_room_and_bucket_new_bytes_are_refused_or_old_ones_dropped);
	tcase_add_test(t,
		       a_pack_that_the_bucket_refuses_is_set_aside_until_somebody_asks);
	tcase_add_test(t, uploads_keep_to_their_hours_but_for_who_waits);
	tcase_add_test(t, a_kill_at_any_moment_of_an_upload_loses_and_doubles_nothing);
	tcase_add_test(t, a_sync_with_durability_remote_waits_for_the_bucket);
	suite_add_tcase(s, t);
	return suite_main(s);
}
