/* test_json.c - JSON strings, UTF-8 and base64. */
#include <string.h>

#include "core/base/json.h"
#include "tests/lib/suite.h"

static const struct {
	const char *bytes;
	size_t n;
	bool utf8;
	const char *string, *base64;
} cases[] = {
	{ "", 0, true, "\"\"", "\"\"" },
	{ "f", 1, true, "\"f\"", "\"Zg==\"" },
	{ "fo", 2, true, "\"fo\"", "\"Zm8=\"" },
	{ "foo", 3, true, "\"foo\"", "\"Zm9v\"" },
	{ "a\"\\\n\t\x01\x7f", 7, true, "\"a\\\"\\\\\\n\\t\\u0001\\u007f\"", NULL },
	{ "\0x", 2, true, "\"\\u0000x\"", "\"AHg=\"" },
	{ "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 9, true,
	  "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"", NULL },
	{ "\xff\xfe", 2, false, "\"\xef\xbf\xbd\xef\xbf\xbd\"", "\"//4=\"" },
	{ "\xc0\xaf", 2, false, NULL, NULL }, /* overlong */
	{ "\xed\xa0\x80", 3, false, NULL, NULL }, /* a surrogate */
	{ "\xf4\x90\x80\x80", 4, false, NULL, NULL }, /* beyond the last */
	{ "\xe2\x82", 2, false, NULL, NULL }, /* cut short */
};

START_TEST(strings_and_base64_are_as_written_down)
{
	struct span s = span_of(cases[_i].bytes, cases[_i].n);
	struct buf b = BUF_INIT;

	ck_assert_int_eq(utf8_valid(s), cases[_i].utf8);
	ck_ok(json_add_string(&b, s));
	if (cases[_i].string) {
		ck_assert_uint_eq(b.n, strlen(cases[_i].string));
		ck_assert_mem_eq(b.p, cases[_i].string, b.n);
	}
	b.n = 0;
	ck_ok(json_add_base64(&b, s));
	if (cases[_i].base64) {
		ck_assert_uint_eq(b.n, strlen(cases[_i].base64));
		ck_assert_mem_eq(b.p, cases[_i].base64, b.n);
	}
	buf_release(&b);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("json");
	TCase *tc = tcase_create("json");

	tcase_add_loop_test(tc, strings_and_base64_are_as_written_down, 0,
			    sizeof(cases) / sizeof(cases[0]));
	suite_add_tcase(s, tc);
	return suite_main(s);
}
