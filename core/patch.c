/* patch.c - JSON text changed by a JSON Patch. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/base/err.h"
#include "core/base/util.h"
#include "core/json_patch.h"
#include "core/ropefs.h"

#define DIGITS_MAX                                                                       \
	15u /* of a number that a double holds exactly, and cJSON has doubles */

static void json_freep(cJSON **j)
{
	cJSON_Delete(*j);
}

static void text_freep(char **p)
{
	cJSON_free(*p);
}

/* A number that would not be the same after reading and writing it. */
static bool has_long_number(const char *p, size_t n)
{
	unsigned digits = 0;
	bool string = false, exponent = false;

	for (size_t i = 0; i < n; i++) {
		if (string && p[i] == '\\') {
			i++;
		} else if (p[i] == '"') {
			string = !string;
			digits = 0;
		} else if (string) {
			continue;
		} else if (p[i] >= '0' && p[i] <= '9') {
			digits += !exponent && (digits || p[i] != '0');
		} else if (digits && (p[i] == 'e' || p[i] == 'E')) {
			exponent = true;
		} else if (p[i] != '.') {
			digits = 0;
			exponent = false;
		}
		if (digits > DIGITS_MAX)
			return true;
	}
	return false;
}

static int parse(const char *p, size_t n, const char *what, cJSON **ret)
{
	const char *end = p;
	cJSON *j;

	if (memmem(p, n, "\\u0000", 6))
		return err_set(EINVAL, "the %s holds a string with a NUL (\\u0000)",
			       what);
	if (has_long_number(p, n))
		return err_set(EINVAL,
			       "the %s holds a number of more than %u digits, which "
			       "patching would not keep",
			       what, DIGITS_MAX);
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
		r = json_patch(&doc, ops);
	return r < 0 ? r : print(doc, n > 1 && memchr(p, '\n', n - 1), ret, ret_n);
}
