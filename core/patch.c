/* patch.c - JSON text changed by a JSON Patch. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/err.h"
#include "core/base/util.h"
#include "core/json_patch.h"
#include "core/ropefs.h"

#define DIGITS_MAX                                                                       \
	15u /* of a number that a double holds exactly, and cJSON has doubles */
#define NUMBER_TEXT_MAX 400u

static void json_freep(cJSON **j)
{
	cJSON_Delete(*j);
}

static void text_freep(char **p)
{
	cJSON_free(*p);
}

static size_t digits(const char *p)
{
	return strspn(p, "0123456789");
}

/* The text of a number as RFC 8259 has it. */
static bool is_number(const char *p)
{
	p += *p == '-';
	if (!digits(p) || (*p == '0' && digits(p) > 1))
		return false;
	p += digits(p);
	if (*p == '.') {
		if (!digits(++p))
			return false;
		p += digits(p);
	}
	if (*p == 'e' || *p == 'E') {
		p++;
		p += *p == '+' || *p == '-';
		if (!digits(p))
			return false;
		p += digits(p);
	}
	return !*p;
}

/* Would a number, its text right, be the same after reading and writing it? */
static bool is_kept(const char *p)
{
	double v = strtod(p, NULL);
	unsigned n = 0;

	for (; *p && *p != 'e' && *p != 'E'; p++)
		n += *p >= '0' && *p <= '9' && (n || *p != '0');
	return n <= DIGITS_MAX && (isnormal(v) || (v == 0 && n == 0));
}

/* One number, at p; NULL: what is there is none, or not kept. Else what comes behind it. */
static const char *check_number(const char *p, const char *end, const char *what)
{
	char text[NUMBER_TEXT_MAX + 1];
	size_t n = 0;

	for (; p < end && n < NUMBER_TEXT_MAX && *p && strchr("0123456789+-.eE", *p); p++)
		text[n++] = *p;
	text[n] = '\0';
	if (n == NUMBER_TEXT_MAX || (is_number(text) && !is_kept(text)))
		err_set(EINVAL,
			"the %s holds a number of more than %u digits, or a larger or "
			"smaller one than a double holds: patching would not keep it",
			what, DIGITS_MAX);
	else if (!is_number(text))
		err_set(EINVAL, "the %s holds \"%s\", which is no number of JSON", what,
			text);
	else
		return p;
	return NULL;
}

/* cJSON takes what only looks like a number, and gives others than it was given. */
static int check_numbers(const char *p, size_t n, const char *what)
{
	const char *end = p + n;
	bool string = false;

	while (p && p < end) {
		if (string && *p == '\\')
			p++;
		else if (*p == '"')
			string = !string;
		else if (!string && *p && strchr("0123456789+-.", *p)) {
			p = check_number(p, end, what);
			continue;
		}
		p++;
	}
	return p ? 0 : -EINVAL;
}

static int parse(const char *p, size_t n, const char *what, cJSON **ret)
{
	const char *end = p;
	cJSON *j;
	int r;

	if (memmem(p, n, "\\u0000", 6))
		return err_set(EINVAL, "the %s holds a string with a NUL (\\u0000)",
			       what);
	r = check_numbers(p, n, what);
	if (r < 0)
		return r;
	j = cJSON_ParseWithLengthOpts(p, n, &end, false);
	while (j && end < p + n && strchr(" \t\r\n", *end) && *end)
		end++;
	if (!j || end != p + n) {
		cJSON_Delete(j);
		return err_set(EINVAL, "the %s is not JSON: see its byte %zu", what,
			       (size_t)(end - p));
	}
	*ret = j;
	return 0;
}

/* As text again: on one line if it was. */
static int print(const cJSON *doc, bool lines, char **ret, size_t *ret_n)
{
	_cleanup_(text_freep) char *json =
		lines ? cJSON_Print(doc) : cJSON_PrintUnformatted(doc);
	char *text;
	int n;

	if (!json)
		return -ENOMEM;
	n = asprintf(&text, "%s\n", json);
	if (n < 0)
		return -ENOMEM;
	*ret = text;
	*ret_n = (size_t)n;
	return 0;
}

int ropefs_value_patch(const char *p, size_t n, const char *patch, size_t patch_n,
		       char **ret, size_t *ret_n)
{
	_cleanup_(json_freep) cJSON *doc = NULL, *ops = NULL;
	int r;

	err_clear();
	r = parse(patch, patch_n, "patch", &ops);
	if (r >= 0)
		r = parse(p, n, "file", &doc);
	if (r >= 0)
		r = json_patch(&doc, ops, NULL);
	return r < 0 ? r : print(doc, n > 1 && memchr(p, '\n', n - 1), ret, ret_n);
}
