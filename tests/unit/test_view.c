#include <errno.h>
#include <string.h>

#include "core/ropefs.h"
#include "tests/lib/suite.h"

static const struct {
	const char *name;
	uint64_t size;
	int r; /* of parse, or else of range */
	uint64_t from, to;
} cases[] = {
	{ "f@bytes=0..0", 0, 0, 0, 0 },
	{ "f@bytes=..", 10, 0, 0, 10 },
	{ "f@bytes=3..7", 10, 0, 3, 7 },
	{ "f@bytes=3..", 10, 0, 3, 10 },
	{ "f@bytes=..7", 10, 0, 0, 7 },
	{ "f@bytes=-4..", 10, 0, 6, 10 },
	{ "f@bytes=..-4", 10, 0, 0, 6 },
	{ "f@bytes=-4..-1", 10, 0, 6, 9 },
	{ "f@bytes=-99..", 10, 0, 0, 10 },
	{ "f@bytes=10..10", 10, 0, 10, 10 },
	{ "f@bytes=1K..2K", 4096, 0, 1024, 2048 },
	{ "f@bytes=1M..1M", 1u << 20, 0, 1u << 20, 1u << 20 },
	{ "f@bytes=1G..", (uint64_t)1 << 31, 0, 1u << 30, (uint64_t)1 << 31 },
	{ "a@b@bytes=1..2", 10, 0, 1, 2 },
	{ "f@bytes=11..11", 10, -ERANGE, 0, 0 },
	{ "f@bytes=0..11", 10, -ERANGE, 0, 0 },
	{ "f@bytes=7..3", 10, -ERANGE, 0, 0 },
	{ "f@bytes=-1..-4", 10, -ERANGE, 0, 0 },
	{ "f@bytes=", 10, -EINVAL, 0, 0 },
	{ "f@bytes=5", 10, -EINVAL, 0, 0 },
	{ "f@bytes=a..b", 10, -EINVAL, 0, 0 },
	{ "f@bytes=1..2x", 10, -EINVAL, 0, 0 },
	{ "f@bytes=1..2..3", 10, -EINVAL, 0, 0 },
	{ "f@bytes=1k..2", 10, -EINVAL, 0, 0 },
	{ "f@bytes=--1..", 10, -EINVAL, 0, 0 },
	{ "f@bytes=99999999999999999999..", 10, -EINVAL, 0, 0 },
	{ "f@bytes=9999999999G..", 10, -EINVAL, 0, 0 },
	{ "f@bytes=1..2,bytes=1..2", 10, -EINVAL, 0, 0 },
	{ "f@stride=2:4", 10, 0, 0, 10 },
	{ "f@bytes=2..8,stride=2:4", 10, 0, 2, 8 },
	{ "f@stride=1K:1K", 10, 0, 0, 10 },
	{ "f@stride=4:2", 10, -EINVAL, 0, 0 },
	{ "f@stride=0:2", 10, -EINVAL, 0, 0 },
	{ "f@stride=-1:2", 10, -EINVAL, 0, 0 },
	{ "f@stride=2", 10, -EINVAL, 0, 0 },
	{ "f@stride=2:4,add", 10, -EINVAL, 0, 0 },
	{ "f@if=1f-0", 10, 0, 0, 10 },
	{ "f@if=", 10, -EINVAL, 0, 0 },
	{ "f@if=1", 10, -EINVAL, 0, 0 },
	{ "f@if=1-", 10, -EINVAL, 0, 0 },
	{ "f@if=1-2-3", 10, -EINVAL, 0, 0 },
	{ "f@if=1-G", 10, -EINVAL, 0, 0 },
	{ "f@if=1-2222222222222222222222222222222222222222", 10, -EINVAL, 0, 0 },
	{ "f@add", 10, 0, 0, 10 },
	{ "f@patch", 10, 0, 0, 10 },
	{ "f@addx", 10, -ENOENT, 0, 0 },
	{ "f@add=1", 10, -ENOENT, 0, 0 },
	{ "f", 10, -ENOENT, 0, 0 },
	{ "f@", 10, -ENOENT, 0, 0 },
	{ "f@home", 10, -ENOENT, 0, 0 },
	{ "@bytes=1..2", 10, -ENOENT, 0, 0 },
	{ "f@bytes", 10, -ENOENT, 0, 0 },
};

START_TEST(selectors_are_read_as_documented)
{
	struct ropefs_view v;
	uint64_t from = 0, to = 0;
	int r = ropefs_view_parse(cases[_i].name, strlen(cases[_i].name), &v);

	if (r == 0)
		r = ropefs_view_range(&v, cases[_i].size, &from, &to);
	ck_assert_msg(r == cases[_i].r, "%s: %d", cases[_i].name, r);
	ck_assert_uint_eq(from, cases[_i].from);
	ck_assert_uint_eq(to, cases[_i].to);
	if (r == 0)
		ck_assert(cases[_i].name[v.name_len] == '@');
	if (r == -EINVAL || r == -ERANGE)
		ck_assert(*ropefs_error());
}
END_TEST

static const struct {
	const char *name, *part, *why;
} bad[] = {
	{ "q@bytes=x..2", "\"bytes=\"", "\"x..2\" is not a number" },
	{ "q@bytes=5", "\"bytes=\"", "no \"..\"" },
	{ "q@bytes=8E..", "\"bytes=\"", "\"8E..\" is not a number" },
	{ "q@lines=..y", "\"lines=\"", "\"y\" is not a number" },
	{ "q@records=1", "\"records=\"", "no \"..\"" },
	{ "q@last=0", "\"last=\"", "\"0\" is not a number from 1 on" },
	{ "q@last=-1", "\"last=\"", "from 1 on" },
	{ "q@last=", "\"last=\"", "from 1 on" },
	{ "q@last=2x", "\"last=\"", "there is \"x\" behind" },
	{ "q@time=1", "\"time=\"", "no \"..\"" },
	{ "q@time=..x", "\"time=\"", "\"x\" is no time" },
	{ "q@time=2026-02-30..", "\"time=\"", "is no time" },
	{ "q@since=", "\"since=\"", "wants a time" },
	{ "q@since=soon", "\"since=\"", "\"soon\" is no time" },
	{ "q@every=0", "\"every=\"", "\"0\" is not a number from 1 on" },
	{ "q@follow,every=x", "\"every=\"", "\"x\" is not" },
	{ "q@as=xml", "\"as=\"", "wants raw, json or hex" },
	{ "q@cursor=", "\"cursor=\"", "wants a name" },
	{ "q@if=zz", "\"if=\"", "wants an etag" },
	{ "q@stride=4", "\"stride=\"", "wants SIZE:STEP" },
	{ "q@last=2,last=3", "\"last=\"", "twice" },
	{ "q@last=2,frob=1", "\"frob=1\"", "there is no selector" },
	{ "q@lines=1..2,records=1..2", "\"records=\"", "does not go with \"lines=\"" },
	{ "q@add,as=json", "\"as=\"", "does not go with \"add\"" },
	{ "q@patch,last=1", "\"last=\"", "does not go with \"patch\"" },
};

START_TEST(a_bad_selector_is_named)
{
	struct ropefs_view v;

	ck_assert_int_eq(ropefs_view_parse(bad[_i].name, strlen(bad[_i].name), &v),
			 -EINVAL);
	ck_assert_msg(strstr(ropefs_error(), bad[_i].part) &&
			      strstr(ropefs_error(), bad[_i].why),
		      "%s: %s", bad[_i].name, ropefs_error());
}
END_TEST

START_TEST(a_range_without_an_end_is_beyond_the_file_and_not_reversed)
{
	static const char name[] = "f@bytes=99..";
	struct ropefs_view v;
	uint64_t from, to;

	ck_assert_int_eq(ropefs_view_parse(name, strlen(name), &v), 0);
	ck_assert_int_eq(ropefs_view_range(&v, 10, &from, &to), -ERANGE);
	ck_assert_str_eq(ropefs_error(), "byte 99 is beyond the file's end (10 bytes)");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("view");
	TCase *tc = tcase_create("view");

	tcase_add_loop_test(tc, selectors_are_read_as_documented, 0,
			    sizeof(cases) / sizeof(cases[0]));
	tcase_add_loop_test(tc, a_bad_selector_is_named, 0, sizeof(bad) / sizeof(bad[0]));
	tcase_add_test(tc, a_range_without_an_end_is_beyond_the_file_and_not_reversed);
	suite_add_tcase(s, tc);
	return suite_main(s);
}
