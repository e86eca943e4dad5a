/* view.c - the grammar of NAME@SELECTOR. docs/VIEWS.md says it in words. */
#include <errno.h>
#include <string.h>

#include "core/base/err.h"
#include "core/ropefs.h"

#define NUMBER_MAX ((uint64_t)INT64_MAX)

/* Bytes of text not yet read. */
struct text {
	const char *p;
	size_t n;
};

static bool take(struct text *t, const char *word)
{
	size_t n = strlen(word);

	if (t->n < n || memcmp(t->p, word, n))
		return false;
	t->p += n;
	t->n -= n;
	return true;
}

static int bad_number(struct text t)
{
	return err_set(EINVAL,
		       "\"%.*s\" is not a number of bytes (digits, then K, M, G or "
		       "nothing; a '-' before it counts from the end)",
		       (int)MIN(t.n, (size_t)64), t.p);
}

/* [-]DIGITS[K|M|G]; 0: there is none, 1: there is. */
static int take_number(struct text *t, uint64_t *ret, bool *ret_from_end)
{
	struct text begin = *t;
	uint64_t v = 0, unit = 1;
	bool from_end;

	if (!t->n || *t->p == '.' || *t->p == ',')
		return 0;
	from_end = take(t, "-");
	if (!t->n || *t->p < '0' || *t->p > '9')
		return bad_number(begin);
	for (; t->n && *t->p >= '0' && *t->p <= '9'; t->p++, t->n--) {
		uint64_t digit = (uint64_t)(*t->p - '0');

		if (v > (NUMBER_MAX - digit) / 10)
			return bad_number(begin);
		v = v * 10 + digit;
	}
	if (take(t, "K"))
		unit = KIB;
	else if (take(t, "M"))
		unit = MIB;
	else if (take(t, "G"))
		unit = GIB;
	if (v > NUMBER_MAX / unit)
		return bad_number(begin);
	*ret = v * unit;
	*ret_from_end = from_end;
	return 1;
}

/* A..B with either side left out. */
static int take_range(struct text *t, struct ropefs_view *v)
{
	int r = take_number(t, &v->from, &v->from_end);

	if (r < 0)
		return r;
	v->has_from = r;
	if (!take(t, ".."))
		return err_set(EINVAL, "\"bytes=\" wants a range FROM..TO");
	r = take_number(t, &v->to, &v->to_end);
	if (r < 0)
		return r;
	v->has_to = r;
	if (t->n)
		return err_set(EINVAL, "there is \"%.*s\" behind the range",
			       (int)MIN(t->n, (size_t)64), t->p);
	return 0;
}

int ropefs_view_parse(const char *name, size_t n, struct ropefs_view *ret)
{
	const char *at = memrchr(name, '@', n);
	struct ropefs_view v = { 0 };
	struct text t;
	int r;

	if (!at || at == name)
		return -ENOENT;
	v.name_len = (size_t)(at - name);
	t = (struct text) { at + 1, n - v.name_len - 1 };
	if (!take(&t, "bytes="))
		return -ENOENT;
	r = take_range(&t, &v);
	if (r < 0)
		return r;
	*ret = v;
	return 0;
}

/* One side of a range as an offset; a count back from the end may reach before the
 * beginning, which then is the beginning. */
static uint64_t place(uint64_t n, bool from_end, uint64_t size)
{
	if (!from_end)
		return n;
	return n > size ? 0 : size - n;
}

int ropefs_view_range(const struct ropefs_view *v, uint64_t size, uint64_t *ret_from,
		      uint64_t *ret_to)
{
	uint64_t from = v->has_from ? place(v->from, v->from_end, size) : 0;
	uint64_t to = v->has_to ? place(v->to, v->to_end, size) : size;

	if (from > to)
		return err_set(ERANGE, "the range %llu..%llu is reversed",
			       (unsigned long long)from, (unsigned long long)to);
	if (to > size)
		return err_set(ERANGE, "byte %llu is beyond the file's end (%llu bytes)",
			       (unsigned long long)to, (unsigned long long)size);
	*ret_from = from;
	*ret_to = to;
	return 0;
}
