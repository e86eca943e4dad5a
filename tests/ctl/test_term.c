/* test_term.c - what the tools print, where a byte more or less would mislead. */
#include "mountctl/term.h"

#include <stdlib.h>
#include <string.h>

#include "tests/lib/suite.h"

static void escapes_to(const char *in, const char *expected)
{
	char *got = term_escape(in);

	ck_assert_str_eq(got, expected);
	free(got);
}

START_TEST(ordinary_names_stay_as_they_are)
{
	escapes_to("", "");
	escapes_to("a name/with blanks", "a name/with blanks");
	escapes_to("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80",
		   "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80");
}
END_TEST

START_TEST(controls_are_written_as_escapes)
{
	escapes_to("a\nb\tc\\d", "a\\nb\\tc\\\\d");
	escapes_to("\033[2J\x7f", "\\x1b[2J\\x7f");
	escapes_to("\xc2\x9b", "\\xc2\\x9b"); /* a one-byte CSI, as UTF-8 */
}
END_TEST

START_TEST(what_is_not_utf8_is_written_byte_by_byte)
{
	escapes_to("a\xff", "a\\xff");
	escapes_to("\xc3", "\\xc3"); /* cut short */
	escapes_to("\xc3z", "\\xc3z"); /* goes on with no tail */
	escapes_to("\xc0\xaf", "\\xc0\\xaf"); /* overlong '/' */
	escapes_to("\xed\xa0\x80", "\\xed\\xa0\\x80"); /* a surrogate */
	escapes_to("\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"); /* past U+10FFFF */
}
END_TEST

/* Any bytes come back when the escapes are read again, and what is shown is printable. */
START_TEST(escaping_loses_nothing)
{
	struct rng rng = rng_seeded(suite_seed());

	for (int i = 0; i < 20000; i++) {
		char in[24], out[sizeof(in)], *got, *p;
		size_t n = rng_below(&rng, sizeof(in) - 1), m = 0;

		rng_fill(&rng, in, n);
		for (size_t j = 0; j < n; j++)
			in[j] = in[j] ? in[j] : 'x';
		in[n] = '\0';
		got = term_escape(in);
		for (p = got; *p; m++) {
			ck_assert((unsigned char)*p >= 0x20 && *p != 0x7f);
			if (*p != '\\') {
				out[m] = *p++;
			} else if (p[1] == 'x') {
				char hex[] = { p[2], p[3], '\0' };

				out[m] = (char)strtol(hex, NULL, 16);
				p += 4;
			} else {
				out[m] = p[1] == 'n' ? '\n' : p[1] == 't' ? '\t' : '\\';
				p += 2;
			}
		}
		out[m] = '\0';
		ck_assert_str_eq(out, in);
		free(got);
	}
}
END_TEST

START_TEST(sizes_are_rounded_to_one_digit_of_the_right_unit)
{
	ck_assert_str_eq(term_bytes(0).s, "0 bytes");
	ck_assert_str_eq(term_bytes(1023).s, "1023 bytes");
	ck_assert_str_eq(term_bytes(1024).s, "1.0 KiB");
	ck_assert_str_eq(term_bytes(1536).s, "1.5 KiB");
	ck_assert_str_eq(term_bytes(1048575).s, "1.0 MiB");
	ck_assert_str_eq(term_bytes(1048576.0 * 1024 * 1024 * 5).s, "5.0 TiB");
	ck_assert_str_eq(term_count(0).s, "0");
	ck_assert_str_eq(term_count(999).s, "999");
	ck_assert_str_eq(term_count(1000).s, "1,000");
	ck_assert_str_eq(term_count(1234567).s, "1,234,567");
	ck_assert_str_eq(term_count(UINT64_MAX).s, "18,446,744,073,709,551,615");
	ck_assert_str_eq(term_seconds(0.421).s, "0.42 s");
	ck_assert_str_eq(term_seconds(59.9).s, "59 s");
	ck_assert_str_eq(term_seconds(185).s, "3 min 5 s");
	ck_assert_str_eq(term_seconds(7260).s, "2 h 1 min");
	ck_assert_str_eq(term_seconds(2 * 86400 + 3 * 3600 + 59).s, "2 days 3 h");
}
END_TEST

static Suite *make_suite(void)
{
	Suite *suite = suite_create("term");
	TCase *tc = tcase_create("text");

	tcase_add_test(tc, ordinary_names_stay_as_they_are);
	tcase_add_test(tc, controls_are_written_as_escapes);
	tcase_add_test(tc, what_is_not_utf8_is_written_byte_by_byte);
	tcase_add_test(tc, escaping_loses_nothing);
	tcase_add_test(tc, sizes_are_rounded_to_one_digit_of_the_right_unit);
	suite_add_tcase(suite, tc);
	return suite;
}

int main(void)
{
	return suite_main(make_suite());
}
