/* view.c - the grammar of NAME@SELECTOR. docs/VIEWS.md says it in words. */
#include "core/view.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/base/err.h"

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
		       "\"%.*s\" is not a number (digits, then K, M, G or "
		       "nothing; a '-' before it counts from the end)",
		       (int)MIN(t.n, (size_t)64), t.p);
}

static int bad_count(struct text t)
{
	return err_set(EINVAL, "\"%.*s\" is not a number from 1 on",
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
	struct text begin = *t;
	int r = take_number(t, &v->range.from, &v->range.from_end);

	if (r < 0)
		return r;
	v->range.has_from = r;
	if (t->n && *t->p != '.' && *t->p != ',')
		return bad_number(begin);
	if (!take(t, ".."))
		return err_set(EINVAL, "there is no \"..\" in the range FROM..TO");
	r = take_number(t, &v->range.to, &v->range.to_end);
	if (r < 0)
		return r;
	v->range.has_to = r;
	return 0;
}

/* INO-VERSION, both hexadecimal. */
static int take_etag(struct text *t, struct ropefs_view *v)
{
	static const char digits[] = "0123456789abcdef";
	size_t n = 0, left, right;

	while (n < t->n && t->p[n] != ',')
		n++;
	left = n < sizeof(v->etag) ? n : 0;
	memcpy(v->etag, t->p, left);
	v->etag[left] = '\0';
	left = strspn(v->etag, digits);
	right = v->etag[left] == '-' ? strspn(v->etag + left + 1, digits) : 0;
	if (!left || !right || left + 1 + right != n)
		return err_set(EINVAL,
			       "\"if=\" wants an etag, as the xattr user.ropefs.etag "
			       "has it");
	t->p += n;
	t->n -= n;
	return 0;
}

/* SIZE:STEP */
static int take_stride(struct text *t, struct ropefs_view *v)
{
	bool size_from_end = false, step_from_end = false;
	int size, step = 0;

	size = take_number(t, &v->stride_size, &size_from_end);
	if (size > 0 && take(t, ":"))
		step = take_number(t, &v->stride_step, &step_from_end);
	if (size <= 0 || step <= 0 || size_from_end || step_from_end || !v->stride_size ||
	    v->stride_step < v->stride_size)
		return err_set(EINVAL, "\"stride=\" wants SIZE:STEP, such as 4:16, with "
				       "SIZE at least 1 and STEP no less than SIZE");
	return 0;
}

static int take_count(struct text *t, uint64_t *ret)
{
	struct text begin = *t;
	bool from_end = false;
	int r = take_number(t, ret, &from_end);

	return r <= 0 || from_end || !*ret ? bad_count(begin) : 0;
}

static int take_last(struct text *t, struct ropefs_view *v)
{
	return take_count(t, &v->last);
}

static int take_every(struct text *t, struct ropefs_view *v)
{
	return take_count(t, &v->every);
}

static int take_as(struct text *t, struct ropefs_view *v)
{
	if (take(t, "raw"))
		v->as = ROPEFS_AS_RAW;
	else if (take(t, "json"))
		v->as = ROPEFS_AS_JSON;
	else if (take(t, "hex"))
		v->as = ROPEFS_AS_HEX;
	else
		return err_set(EINVAL, "\"as=\" wants raw, json or hex");
	return 0;
}

static int take_cursor(struct text *t, struct ropefs_view *v)
{
	size_t n = 0;

	while (n < t->n && t->p[n] != ',')
		n++;
	if (!n || n >= sizeof(v->cursor) || memchr(t->p, '=', n))
		return err_set(EINVAL, "\"cursor=\" wants a name of 1 to 128 bytes");
	memcpy(v->cursor, t->p, n);
	t->p += n;
	t->n -= n;
	return 0;
}

static int take_times(struct text *t, struct ropefs_view *v)
{
	int r = view_take_when(&t->p, &t->n, &v->from_time);

	if (r >= 0 && !take(t, ".."))
		r = err_set(EINVAL, "there is no \"..\" in the times FROM..TO");
	return r < 0 ? r : view_take_when(&t->p, &t->n, &v->to_time);
}

static int take_since(struct text *t, struct ropefs_view *v)
{
	int r = view_take_when(&t->p, &t->n, &v->from_time);

	if (r >= 0 && !v->from_time.given)
		r = err_set(EINVAL, "\"since=\" wants a time");
	return r;
}

/* A selector: WORD, or WORD=VALUE. A new one is a row here, and one of the kinds of views in
 * fs/view.c that shows it. */
struct selector {
	const char *word; /* with the '=' when it has a value */
	unsigned bit;
	unsigned with; /* what it may be combined with */
	int (*parse)(struct text *value, struct ropefs_view *v); /* NULL: no value */
};

#define NUMBERS ((unsigned)(ROPEFS_SEL_LINES | ROPEFS_SEL_RECORDS))
#define OF_QUEUES                                                                        \
	((unsigned)(ROPEFS_SEL_LINES | ROPEFS_SEL_RECORDS | ROPEFS_SEL_LAST |            \
		    ROPEFS_SEL_TIME | ROPEFS_SEL_EVERY | ROPEFS_SEL_FOLLOW |             \
		    ROPEFS_SEL_AS | ROPEFS_SEL_CURSOR))

static const struct selector selectors[] = {
	{ "bytes=", ROPEFS_SEL_BYTES, ROPEFS_SEL_STRIDE, take_range },
	{ "lines=", ROPEFS_SEL_LINES, OF_QUEUES & ~NUMBERS, take_range },
	{ "records=", ROPEFS_SEL_RECORDS, OF_QUEUES & ~NUMBERS, take_range },
	{ "last=", ROPEFS_SEL_LAST, OF_QUEUES, take_last },
	{ "time=", ROPEFS_SEL_TIME, OF_QUEUES, take_times },
	{ "since=", ROPEFS_SEL_TIME, OF_QUEUES, take_since },
	{ "every=", ROPEFS_SEL_EVERY, OF_QUEUES, take_every },
	{ "follow", ROPEFS_SEL_FOLLOW, OF_QUEUES, NULL },
	{ "as=", ROPEFS_SEL_AS, OF_QUEUES, take_as },
	{ "cursor=", ROPEFS_SEL_CURSOR, OF_QUEUES, take_cursor },
	{ "if=", ROPEFS_SEL_IF, 0, take_etag },
	{ "add", ROPEFS_SEL_ADD, 0, NULL },
	{ "patch", ROPEFS_SEL_PATCH, 0, NULL },
	{ "stride=", ROPEFS_SEL_STRIDE, ROPEFS_SEL_BYTES, take_stride },
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

static int bad_rest(const struct selector *s, struct text t)
{
	return err_set(EINVAL, "there is \"%.*s\" behind the value of \"%s\"",
		       (int)MIN(t.n, (size_t)64), t.p, s->word);
}

static const char *word_of(unsigned bits)
{
	for (size_t i = 0; i < ARRAY_LEN(selectors); i++)
		if (selectors[i].bit & bits)
			return selectors[i].word;
	return "";
}

/* Says whose value it is that is bad, unless the sentence does. */
static int bad_value(const struct selector *s)
{
	char why[200];

	snprintf(why, sizeof(why), "%s", err_detail());
	if (strstr(why, s->word))
		return -EINVAL;
	return err_set(EINVAL, "\"%s\": %s", s->word, why);
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
	return r < 0 ? bad_value(s) : 0;
}

static int take_selectors(struct text *t, const struct selector *s, struct ropefs_view *v)
{
	int r;

	for (;;) {
		r = add_selector(s, t, v);
		if (r < 0 || !t->n)
			return r;
		if (!take(t, ","))
			return bad_rest(s, *t);
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
	unsigned no_rope = OF_QUEUES & ~(unsigned)(ROPEFS_SEL_LINES | ROPEFS_SEL_FOLLOW);

	if (v->has & ROPEFS_SEL_FOLLOW && (v->range.has_to || v->to_time.given))
		return err_set(EINVAL, "\"follow\" does not go with a range's end");
	if (!target->is_queue && v->has & no_rope)
		return err_set(EINVAL,
			       "\"%s\" is for queues, and this is an ordinary file",
			       word_of(v->has & no_rope));
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

	if (from > to && v->range.has_to)
		return err_set(ERANGE, "the range %llu..%llu is reversed",
			       (unsigned long long)from, (unsigned long long)to);
	if (MAX(from, to) > size)
		return err_set(ERANGE, "byte %llu is beyond the file's end (%llu bytes)",
			       (unsigned long long)MAX(from, to),
			       (unsigned long long)size);
	*ret_from = from;
	*ret_to = to;
	return 0;
}

int ropefs_view_stride(const struct ropefs_view *v, uint64_t size,
		       struct ropefs_stride *ret)
{
	uint64_t from, to;
	int r = ropefs_view_range(v, size, &from, &to);

	if (r < 0)
		return r;
	*ret = (struct ropefs_stride) { .at = from,
					.size = v->stride_size,
					.step = v->stride_step };
	if (v->range.has_to)
		ret->end = to;
	if (from == to) /* no piece, rather than all */
		ret->at = size;
	return 0;
}
