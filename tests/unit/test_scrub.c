/* test_scrub.c - what a pass has found is counted once, also where another process goes on. */
#include "core/scrub.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/lib/store_fixture.h"

enum { FOUND = 3 * FINDINGS_MAX };

static void find_all(struct scrub *s)
{
	char what[64];

	for (unsigned i = 0; i < FOUND; i++) {
		snprintf(what, sizeof(what), "pack 1, chunk %u: it does not verify", i);
		scrub_found(s, NULL, what);
		snprintf(what, sizeof(what), "/file %u", i);
		scrub_found(s, what, "bytes 1..2 can't be read");
	}
}

static void release(struct scrub *s)
{
	scrub_report_release(&s->now);
	scrub_report_release(&s->last);
	buf_release(&s->bad);
}

START_TEST(a_pass_that_goes_on_counts_nothing_twice)
{
	struct scrub first = { .fs = f.fs }, next = first, *s = &first;

	s->under_way = true;
	find_all(s);
	find_all(s);
	ck_assert_uint_eq(s->now.problems, FOUND);
	ck_assert_uint_eq(s->now.files, FOUND);
	ck_assert_uint_eq(s->now.n_found, FINDINGS_MAX);
	scrub_save(s);
	ck_ok(scrub_load(&next));
	ck_assert(next.under_way);
	find_all(&next);
	ck_assert_uint_eq(next.now.problems, FOUND);
	ck_assert_uint_eq(next.now.files, FOUND);
	release(&first);
	release(&next);
}
END_TEST

static void setup(void)
{
	fixture_init(false);
}

int main(void)
{
	Suite *s = suite_create("scrub");
	TCase *tc = tcase_create("scrub");

	tcase_add_checked_fixture(tc, setup, fixture_release);
	tcase_set_timeout(tc, 100);
	tcase_add_test(tc, a_pass_that_goes_on_counts_nothing_twice);
	suite_add_tcase(s, tc);
	return suite_main(s);
}
