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
	int r = take_number(t, &v->range.from, &v->range.from_end);

	if (r < 0)
		return r;
	v->range.has_from = r;
	if (!take(t, ".."))
		return err_set(EINVAL, "\"bytes=\" wants a range FROM..TO");
	r = take_number(t, &v->range.to, &v->range.to_end);
	if (r < 0)
		return r;
	v->range.has_to = r;
	return 0;
}

/* A selector: WORD, or WORD=VALUE. A new one is a row here, and one of the kinds of views in
 * fs/view.c that shows it. */
struct selector {
	const char *word; /* with the '=' when it has a value */
	unsigned bit;
	unsigned with; /* what it may be combined with */
	int (*parse)(struct text *value, struct ropefs_view *v); /* NULL: no value */
};

static const struct selector selectors[] = {
	{ "bytes=", ROPEFS_SEL_BYTES, 0, take_range },
};

/* The row a text begins with, its word taken off; NULL: none. */
static const struct selector *take_word(struct text *t)
{
	for (size_t i = 0; i < ARRAY_LEN(selectors); i++) {
		const struct selector *s = &selectors[i];
		struct text rest = *t;

		if (!take(&rest, s->word) || (!s->parse && rest.n && *rest.p != ','))
			continue;
		*t = rest;
		return s;
	}
	return NULL;
}

static int bad_rest(struct text t)
{
	return err_set(EINVAL, "there is \"%.*s\" behind the selector",
		       (int)MIN(t.n, (size_t)64), t.p);
}

static const char *word_of(unsigned bits)
{
	for (size_t i = 0; i < ARRAY_LEN(selectors); i++)
		if (selectors[i].bit & bits)
			return selectors[i].word;
	return "";
}

static int add_selector(const struct selector *s, struct text *t, struct ropefs_view *v)
{
	int r;

	if (v->has & s->bit)
		return err_set(EINVAL, "\"%s\" is there twice", s->word);
	if (v->has & ~s->with)
		return err_set(EINVAL, "\"%s\" does not go with \"%s\"", s->word,
			       word_of(v->has & ~s->with));
	r = s->parse ? s->parse(t, v) : 0;
	v->has |= s->bit;
	return r;
}

static int take_selectors(struct text *t, const struct selector *s, struct ropefs_view *v)
{
	int r;

	for (;;) {
		r = add_selector(s, t, v);
		if (r < 0 || !t->n)
			return r;
		if (!take(t, ","))
			return bad_rest(*t);
		s = take_word(t);
		if (!s)
			return err_set(EINVAL, "there is no selector \"%.*s\"",
				       (int)MIN(t->n, (size_t)64), t->p);
	}
}

int ropefs_view_parse(const char *name, size_t n, struct ropefs_view *ret)
{
	const char *at = memrchr(name, '@', n);
	struct ropefs_view v = { 0 };
	const struct selector *s;
	struct text t;
	int r;

	if (!at || at == name)
		return -ENOENT;
	v.name_len = (size_t)(at - name);
	t = (struct text) { at + 1, n - v.name_len - 1 };
	s = take_word(&t);
	if (!s)
		return -ENOENT;
	r = take_selectors(&t, s, &v);
	if (r < 0)
		return r;
	*ret = v;
	return 0;
}

int ropefs_view_refused(const struct ropefs_view *v, const struct ropefs_attr *target)
{
	(void)target;
	return err_set(EINVAL, "\"%s\" is no view of such a file", word_of(v->has));
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
	uint64_t from =
		v->range.has_from ? place(v->range.from, v->range.from_end, size) : 0;
	uint64_t to = v->range.has_to ? place(v->range.to, v->range.to_end, size) : size;

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
