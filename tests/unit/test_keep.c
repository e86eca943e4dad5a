/* test_keep.c - what a daemon leaves to the next: requests that were under way (keep.h), and what
 * open files had in memory (kept.h). A life is a process. */
#include "fs/keep.h"

#include "core/ropefs.h"
#include "fs/kept.h"
#include "tests/lib/suite.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { REQUEST = 6, OTHER = 8, KH = 77, FH = 4711 };

static uint64_t *noted; /* where the LSN of the next change goes */

void ropefs_note_lsn(uint64_t *lsn)
{
	noted = lsn;
}

static int memory;
static pid_t before; /* the life before */

static void setup(void)
{
	memory = keep_new();
	ck_assert_int_ge(memory, 0);
}

/* Another daemon opens the store, which had what is up to lsn, and ends by a kill. */
static void life(bool took_over, uint64_t lsn, void (*does)(void))
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		ck_assert_int_eq(keep_open(memory, took_over), 0);
		ck_assert_int_eq(keep_open_files(memory), 0);
		keep_settle(lsn);
		kept_settle(lsn);
		does();
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	before = pid;
}

/* --- requests --- */

static void changes_at_7(void)
{
	keep_request(REQUEST);
	keep_arm();
	*noted = 7;
}

static void is_done(void)
{
	keep_request(REQUEST | UNIQUE_RESENT);
	ck_assert(keep_was_done());
	keep_request(OTHER | UNIQUE_RESENT);
	ck_assert(!keep_was_done());
	keep_request(REQUEST); /* of the same number, but new */
	ck_assert(!keep_was_done());
}

static void is_not_done(void)
{
	keep_request(REQUEST | UNIQUE_RESENT);
	ck_assert(!keep_was_done());
	ck_assert(!keep_has_changed(REQUEST));
}

static void answers(void)
{
	is_done();
	keep_replied(REQUEST | UNIQUE_RESENT);
}

static void nothing(void)
{
}

START_TEST(a_change_that_came_back_from_the_log_is_only_to_be_answered)
{
	life(false, 0, changes_at_7);
	life(true, 7, is_done);
	life(true, 8, is_done); /* also of who died before he answered */
	life(true, 8, answers);
	life(true, 8, is_not_done);
}
END_TEST

START_TEST(a_change_that_did_not_is_to_be_made)
{
	life(false, 0, changes_at_7);
	life(true, 6, is_not_done);
	life(true, 100, is_not_done); /* its LSN is that of another change by now */
}
END_TEST

START_TEST(what_is_never_asked_for_again_does_not_stay)
{
	life(false, 0, changes_at_7);
	for (int i = 0; i < 30; i++)
		life(true, 8, is_done);
	for (int i = 0; i < 10; i++)
		life(true, 8, nothing);
	life(true, 8, is_not_done);
}
END_TEST

static void answers_many(void)
{
	for (uint64_t i = 2; i < 20 * KEEP_SLOTS; i += 2) {
		keep_request(i);
		keep_arm();
		ck_assert_ptr_nonnull(noted);
		*noted = i;
		ck_assert(keep_has_changed(i));
		keep_replied(i);
		ck_assert_ptr_null(noted);
	}
}

START_TEST(who_is_answered_leaves_nothing)
{
	life(false, 0, answers_many);
	life(true, 7, is_not_done);
}
END_TEST

static void edits_two(void)
{
	keep_edit_begin(3, 100);
	keep_edit_begin(4, 200);
	keep_edit_end(3, 100);
}

static void has_one_edit(void)
{
	uint64_t ino, from;
	unsigned at = 0;

	ck_assert(keep_next_edit(&at, &ino, &from));
	ck_assert_uint_eq(ino, 4);
	ck_assert_uint_eq(from, 200);
	ck_assert(!keep_next_edit(&at, &ino, &from));
	keep_edit_end(4, 200);
}

static void has_no_edit(void)
{
	uint64_t ino, from;
	unsigned at = 0;

	ck_assert(!keep_next_edit(&at, &ino, &from));
}

static void waits(void)
{
	keep_wait_begin();
	ck_assert(keep_waits(gettid()));
}

static void waits_no_more(void)
{
	ck_assert(!keep_waits(before));
}

START_TEST(what_the_kernel_was_not_told_and_who_waited_is_known)
{
	life(false, 0, edits_two);
	life(true, 0, has_one_edit);
	life(true, 0, has_no_edit);
	life(true, 0, waits);
	life(true, 0, waits_no_more);
}
END_TEST

START_TEST(another_version_is_not_let_at_it)
{
	setenv("ROPEFS_TEST_KEEP_VERSION", "0", 1);
	ck_assert_int_eq(keep_open(memory, true), -EPROTO);
	unsetenv("ROPEFS_TEST_KEEP_VERSION");
	ck_assert_int_eq(keep_open(memory, true), 0);
	ck_assert_uint_eq(keep_takeovers(), 1);
}
END_TEST

/* --- open files --- */

static struct kept file;

static void opens(void)
{
	struct fuse_file_info fi = { .fh = FH, .direct_io = 1, .noflush = 1 };

	keep_request(REQUEST);
	kept_new(&file, "fixed", 6);
	kept_opened(&file, KEPT_TEXT, 12, &fi);
	kept_step(&file, 0, "0", "0", 2);
}

static void changes(void)
{
	opens();
	keep_request(OTHER);
	kept_change(&file, "0", "1", 2);
	*noted = 7;
}

static void changed(void)
{
	changes();
	kept_changed(&file, true);
}

static void failed(void)
{
	changes();
	kept_changed(&file, false);
}

static struct kept_file restored(void)
{
	struct kept_file k;
	unsigned at = 0;

	ck_assert(kept_next(&at, &k));
	ck_assert_uint_eq(k.kind, KEPT_TEXT);
	ck_assert_uint_eq(k.fh, FH);
	ck_assert_uint_eq(k.node, 12);
	ck_assert_str_eq(k.fixed, "fixed");
	return k;
}

static void is_after(void)
{
	struct kept_file k = restored();
	bool done = false;
	char was[2];

	ck_assert_str_eq(k.state, "1");
	keep_request(OTHER | UNIQUE_RESENT);
	ck_assert(kept_resent(&k.k, &done, was, 2));
	ck_assert(done);
	ck_assert_str_eq(was, "0");
	keep_request(OTHER);
	ck_assert(!kept_resent(&k.k, &done, NULL, 2));
}

static void is_before(void)
{
	struct kept_file k = restored();
	bool done = true;

	ck_assert_str_eq(k.state, "0");
	keep_request(OTHER | UNIQUE_RESENT);
	if (kept_resent(&k.k, &done, NULL, 2))
		ck_assert(!done);
}

START_TEST(a_change_of_a_file_is_there_if_the_log_has_it)
{
	life(false, 0, changes);
	life(true, 7, is_after);
	life(true, 7, is_after);
	setup();
	life(false, 0, changes);
	life(true, 6, is_before);
	life(true, 100, is_before);
	setup();
	life(false, 0, changed);
	life(true, 7, is_after);
	setup();
	life(false, 0, failed);
	life(true, 7, is_before);
}
END_TEST

static void is_opened_again(void)
{
	struct fuse_file_info fi = { 0 };

	keep_request(REQUEST | UNIQUE_RESENT);
	ck_assert(kept_was_opened(&fi));
	ck_assert_uint_eq(fi.fh, FH);
	ck_assert(fi.direct_io && fi.noflush && !fi.keep_cache && !fi.nonseekable);
	keep_request(OTHER | UNIQUE_RESENT);
	ck_assert(!kept_was_opened(&fi));
	keep_request(REQUEST);
	ck_assert(!kept_was_opened(&fi));
}

static void polls(void)
{
	opens();
	kept_polled(FH, KH);
}

static void is_polled(void)
{
	unsigned at = 0;

	ck_assert_uint_eq(kept_next_poll(&at), KH);
	ck_assert_uint_eq(kept_next_poll(&at), 0);
}

static void begins_to_open(void)
{
	kept_new(&file, "fixed", 6);
}

static void has_none(void)
{
	struct kept_file k;
	unsigned at = 0;

	ck_assert(!kept_next(&at, &k));
	kept_new(&file, NULL, 0);
	ck_assert_uint_eq(kept_number(&file), 1); /* its row is free */
}

START_TEST(an_open_is_answered_again_and_polls_are_known)
{
	life(false, 0, polls);
	life(true, 0, is_opened_again);
	life(true, 0, is_polled);
	setup();
	life(false, 0, begins_to_open);
	life(true, 0, has_none);
}
END_TEST

static void moves(void)
{
	opens();
	kept_moving(&file);
	kept_moved(&file, false);
	ck_assert(!kept_was_moved(&file));
	kept_moving(&file);
}

static void was_moved(void)
{
	struct kept_file k = restored();

	ck_assert(kept_was_moved(&k.k));
	kept_moved(&k.k, true);
	ck_assert(kept_was_moved(&k.k));
}

static void frees(void)
{
	struct kept_file k = restored();
	struct kept next;
	char *p = kept_area(&k.k, 100);

	ck_assert_ptr_nonnull(p);
	ck_assert_int_eq(p[0], 0);
	p[0] = 'x';
	kept_free(&k.k);
	kept_new(&next, NULL, 0);
	ck_assert_uint_eq(kept_number(&next), 1);
	ck_assert(!kept_was_moved(&next));
	p = kept_area(&next, 100);
	ck_assert_ptr_nonnull(p);
	ck_assert_int_eq(p[0], 0); /* nothing of who had the row before */
}

START_TEST(a_row_that_is_used_again_knows_nothing_of_the_file_before)
{
	life(false, 0, moves);
	life(true, 0, was_moved);
	life(true, 0, was_moved);
	life(true, 0, frees);
}
END_TEST

static void knows_a_view(void)
{
	kept_node(&file, "fixed", 6, 12);
	kept_lookups(&file, 3);
}

static void view_is_known(void)
{
	struct kept_file k;
	unsigned at = 0;

	ck_assert(kept_next(&at, &k));
	ck_assert_uint_eq(k.kind, KEPT_NODE);
	ck_assert_uint_eq(k.node, 12);
	ck_assert_uint_eq(k.lookups, 3);
}

START_TEST(a_view_that_the_kernel_knows_is_known_as_often)
{
	life(false, 0, knows_a_view);
	life(true, 0, view_is_known);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("keep");
	TCase *tc = tcase_create("keep");

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_set_timeout(tc, 100);
	tcase_add_test(tc, a_change_that_came_back_from_the_log_is_only_to_be_answered);
	tcase_add_test(tc, a_change_that_did_not_is_to_be_made);
	tcase_add_test(tc, what_is_never_asked_for_again_does_not_stay);
	tcase_add_test(tc, who_is_answered_leaves_nothing);
	tcase_add_test(tc, what_the_kernel_was_not_told_and_who_waited_is_known);
	tcase_add_test(tc, another_version_is_not_let_at_it);
	tcase_add_test(tc, a_change_of_a_file_is_there_if_the_log_has_it);
	tcase_add_test(tc, an_open_is_answered_again_and_polls_are_known);
	tcase_add_test(tc, a_row_that_is_used_again_knows_nothing_of_the_file_before);
	tcase_add_test(tc, a_view_that_the_kernel_knows_is_known_as_often);
	suite_add_tcase(s, tc);
	return suite_main(s);
}
