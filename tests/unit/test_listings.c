/* test_listings.c - which listings of a directory are kept apart, and what becomes of those that
 * their readers left. */
#include "fs/listings.h"

#include "tests/lib/suite.h"

static struct listings l;

static void setup(void)
{
	listings_init(&l);
}

static void teardown(void)
{
	listings_release(&l);
}

START_TEST(readers_of_one_state_share_a_listing)
{
	unsigned tag = listings_begin(&l, 1, 100, 0);

	ck_assert_uint_ge(tag, 1);
	ck_assert_uint_le(tag, 127);
	ck_assert_uint_eq(listings_begin(&l, 1, 100, 0), tag);
	ck_assert_uint_eq(listings_begin(&l, 1, 100, 10000), tag);
}
END_TEST

START_TEST(who_begins_after_a_change_is_kept_apart_from_what_is_not_whole)
{
	for (int64_t version = 1; version < 1000; version++) {
		unsigned tag = listings_begin(&l, 1, -version, 0);

		for (int64_t later = 1; later < 300; later++)
			ck_assert_uint_ne(listings_begin(&l, 1, later, 0), tag);
		listings_end(&l, 1, tag);
	}
}
END_TEST

START_TEST(a_whole_listing_is_in_nobodys_way)
{
	unsigned tag = listings_begin(&l, 1, 1, 0), next;

	listings_end(&l, 1, tag);
	next = listings_begin(&l, 1, 2, 0);
	ck_assert_uint_eq(listings_begin(&l, 1, 2, 0), next);
	listings_end(&l, 1, tag == next ? 0 : tag); /* it is not this one that ended */
	ck_assert_uint_ne(listings_begin(&l, 1, 3, 0), next);
}
END_TEST

START_TEST(one_that_was_left_is_made_whole_by_a_later_reader)
{
	unsigned tag = listings_begin(&l, 1, 1, 0);

	ck_assert_uint_ne(listings_begin(&l, 1, 2, LISTING_QUIET_S), tag);
	listings_go_on(&l, 1, tag, LISTING_QUIET_S);
	ck_assert_uint_ne(listings_begin(&l, 1, 2, LISTING_QUIET_S + 1), tag);
	ck_assert_uint_eq(listings_begin(&l, 1, 2, 2 * LISTING_QUIET_S + 1), tag);
	/* One at a time. */
	ck_assert_uint_ne(listings_begin(&l, 1, 2, 2 * LISTING_QUIET_S + 1), tag);
}
END_TEST

START_TEST(what_is_forgotten_is_taken_up_while_the_directory_is_as_it_was)
{
	unsigned tag = listings_begin(&l, 1, 1, 0);

	for (uint64_t dir = 2; dir < 1000; dir++)
		listings_begin(&l, dir, 7, 1);
	ck_assert_uint_eq(listings_begin(&l, 1, 1, 2), tag);
}
END_TEST

START_TEST(offsets_say_where_and_of_whom)
{
	static const uint64_t cookies[] = { 256, 257, 256 + 127,
					    (uint64_t)INT64_MAX - 255 };
	uint64_t cookie;
	unsigned tag;

	ck_assert_int_eq(listing_place(0, &cookie, &tag), LISTING_START);
	ck_assert_uint_eq(tag, 0);
	for (unsigned t = 1; t < 128; t++) {
		ck_assert_int_eq(listing_place(listing_after_dot(t), &cookie, &tag),
				 LISTING_DOT);
		ck_assert_uint_eq(tag, t);
		ck_assert_int_eq(listing_place(listing_after_dots(t), &cookie, &tag),
				 LISTING_DOTS);
		ck_assert_uint_eq(tag, t);
		for (size_t i = 0; i < sizeof(cookies) / sizeof(cookies[0]); i++) {
			uint64_t off = listing_after(cookies[i], t);

			ck_assert_uint_le(off, INT64_MAX);
			ck_assert_int_eq(listing_place(off, &cookie, &tag),
					 LISTING_ENTRY);
			ck_assert_uint_eq(cookie, cookies[i]);
			ck_assert_uint_eq(tag, cookies[i] % 256 ? 0 : t);
		}
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("listings");
	TCase *tc = tcase_create("listings");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, readers_of_one_state_share_a_listing);
	tcase_add_test(tc,
		       who_begins_after_a_change_is_kept_apart_from_what_is_not_whole);
	tcase_add_test(tc, a_whole_listing_is_in_nobodys_way);
	tcase_add_test(tc, one_that_was_left_is_made_whole_by_a_later_reader);
	tcase_add_test(tc,
		       what_is_forgotten_is_taken_up_while_the_directory_is_as_it_was);
	tcase_add_test(tc, offsets_say_where_and_of_whom);
	suite_add_tcase(s, tc);
	return suite_main(s);
}
