/* view_time.c - times as people write them, and lines as people count them. */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "core/base/err.h"
#include "core/view.h"

#define SECOND_NS   1000000000
#define SECONDS_MAX ((int64_t)9000000000) /* the year 2255 */
#define SCAN_BYTES  (256 * KIB)

/* What is left of a text. */
struct left {
	const char *p, *end;
};

static bool take_char(struct left *t, char c)
{
	if (t->p == t->end || *t->p != c)
		return false;
	t->p++;
	return true;
}

/* Digits: at least min, at most max of them. */
static bool digits(struct left *t, unsigned min, unsigned max, int64_t *ret)
{
	int64_t v = 0;
	unsigned n = 0;

	for (; n < max && t->p < t->end && *t->p >= '0' && *t->p <= '9'; n++)
		v = v * 10 + (*t->p++ - '0');
	*ret = v;
	return n >= min;
}

/* ".123456789"; ".." is no fraction. */
static bool fraction(struct left *t, int64_t *ret_ns)
{
	int64_t unit = SECOND_NS;

	*ret_ns = 0;
	if (t->end - t->p < 2 || t->p[0] != '.' || t->p[1] == '.')
		return true;
	t->p++;
	if (t->p == t->end || *t->p < '0' || *t->p > '9')
		return false;
	for (; t->p < t->end && *t->p >= '0' && *t->p <= '9'; t->p++) {
		unit /= 10;
		*ret_ns += unit * (*t->p - '0');
	}
	return true;
}

/* Z, +hh:mm or -hh:mm; nothing is Z. */
static bool zone(struct left *t, int64_t *ret_s)
{
	int64_t h, m;
	int sign = 1;

	*ret_s = 0;
	if (take_char(t, 'Z') || t->p == t->end || (*t->p != '+' && *t->p != '-'))
		return true;
	sign = *t->p++ == '-' ? -1 : 1;
	if (!digits(t, 2, 2, &h) || !take_char(t, ':') || !digits(t, 2, 2, &m) ||
	    h > 23 || m > 59)
		return false;
	*ret_s = sign * (h * 3600 + m * 60);
	return true;
}

/* YYYY-MM-DD[Thh:mm[:ss[.fraction]][zone]], its year taken off. */
static bool date(struct left *t, int64_t year, int64_t *ret_ns)
{
	int64_t month, day, h = 0, m = 0, s = 0, ns = 0, east = 0;
	struct tm tm = { 0 }, was;

	if (!take_char(t, '-') || !digits(t, 2, 2, &month) || !take_char(t, '-') ||
	    !digits(t, 2, 2, &day))
		return false;
	if (take_char(t, 'T')) {
		if (!digits(t, 2, 2, &h) || !take_char(t, ':') || !digits(t, 2, 2, &m))
			return false;
		if (take_char(t, ':') && (!digits(t, 2, 2, &s) || !fraction(t, &ns)))
			return false;
		if (!zone(t, &east))
			return false;
	}
	if (year < 1970 || year > 2254 || month < 1 || month > 12 || h > 23 || m > 59 ||
	    s > 60)
		return false;
	tm.tm_year = (int)year - 1900;
	tm.tm_mon = (int)month - 1;
	tm.tm_mday = (int)day;
	was = tm;
	*ret_ns = (timegm(&tm) + h * 3600 + m * 60 + s - east) * SECOND_NS + ns;
	return tm.tm_mday == was.tm_mday; /* no 31st of February */
}

static bool before_now(struct left *t, struct ropefs_when *ret)
{
	static const struct {
		char unit;
		int64_t s;
	} units[] = {
		{ 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', 86400 }, { 'w', 604800 }
	};
	int64_t n, ns;

	if (!digits(t, 1, 10, &n) || !fraction(t, &ns) || t->p == t->end)
		return false;
	for (size_t i = 0; i < ARRAY_LEN(units); i++) {
		if (*t->p != units[i].unit)
			continue;
		t->p++;
		if (n > SECONDS_MAX / units[i].s)
			return false;
		*ret = (struct ropefs_when) {
			true, true, n * units[i].s * SECOND_NS + ns * units[i].s
		};
		return true;
	}
	return false;
}

static bool a_time(struct left *t, struct ropefs_when *ret)
{
	struct left begin = *t;
	int64_t n, ns;

	if (take_char(t, '-'))
		return before_now(t, ret);
	if (!digits(t, 1, 10, &n))
		return false;
	if (t->p - begin.p == 4 && t->p < t->end && *t->p == '-') {
		if (!date(t, n, &ns))
			return false;
		*ret = (struct ropefs_when) { true, false, ns };
		return true;
	}
	if (n > SECONDS_MAX || !fraction(t, &ns))
		return false;
	*ret = (struct ropefs_when) { true, false, n * SECOND_NS + ns };
	return true;
}

int view_take_when(const char **p, size_t *n, struct ropefs_when *ret)
{
	struct left t = { *p, *p + *n };
	const char *two_dots = memmem(*p, *n, "..", 2);

	*ret = (struct ropefs_when) { 0 };
	if (!*n || **p == ',' || two_dots == *p)
		return 0;
	if (!a_time(&t, ret) || (t.p < t.end && *t.p != ',' &&
				 (t.end - t.p < 2 || t.p[0] != '.' || t.p[1] != '.')))
		return err_set(
			EINVAL,
			"\"%.*s\" is no time (2026-01-31T12:30:00Z, unix seconds, or "
			"-10m for ten minutes ago)",
			(int)MIN(*n, (size_t)64), *p);
	*n -= (size_t)(t.p - *p);
	*p = t.p;
	return 0;
}

/* --- lines --- */

struct scan {
	struct ropefs *fs;
	uint64_t ino, size;
	uint8_t *p;
};

/* Where line number `line` begins (the end when there are fewer); *ret_lines: how many there are
 * up to there. */
static int find_line(struct scan *s, uint64_t line, uint64_t *ret_at, uint64_t *ret_lines)
{
	uint64_t at = 0, lines = 0, begin = 0;

	while (at < s->size && lines < line) {
		ssize_t n = ropefs_read(s->fs, s->ino, at, s->p, SCAN_BYTES, 0);
		const uint8_t *from = s->p, *end = s->p + MAX(n, 0), *newline;

		if (n <= 0)
			return n < 0 ? (int)n : 0;
		while (lines < line &&
		       (newline = memchr(from, '\n', (size_t)(end - from)))) {
			from = newline + 1;
			begin = at + (uint64_t)(from - s->p);
			lines++;
		}
		at += (uint64_t)n;
	}
	if (lines < line && begin < s->size) { /* the last has no end */
		lines++;
		begin = s->size;
	}
	*ret_at = begin;
	*ret_lines = lines;
	return 0;
}

static uint64_t line_number(uint64_t n, bool from_end, uint64_t lines)
{
	if (!from_end)
		return n;
	return n > lines ? 0 : lines - n;
}

int ropefs_view_lines(struct ropefs *fs, uint64_t ino, const struct ropefs_view *v,
		      uint64_t *ret_from, uint64_t *ret_to)
{
	_cleanup_free_ uint8_t *p = malloc(SCAN_BYTES);
	struct scan s = { fs, ino, 0, p };
	uint64_t lines = 0, from, to, at, got;
	struct ropefs_attr a;
	int r = p ? ropefs_getattr(fs, ino, &a) : -ENOMEM;

	if (r < 0)
		return r;
	s.size = a.size;
	r = find_line(&s, UINT64_MAX, &at, &lines);
	if (r < 0)
		return r;
	from = v->range.has_from ? line_number(v->range.from, v->range.from_end, lines)
				 : 0;
	to = v->range.has_to ? line_number(v->range.to, v->range.to_end, lines) : lines;
	if (from > to || to > lines)
		return err_set(ERANGE,
			       "lines %llu..%llu are not within the file (%llu lines)",
			       (unsigned long long)from, (unsigned long long)to,
			       (unsigned long long)lines);
	r = find_line(&s, from, ret_from, &got);
	return r < 0 ? r : find_line(&s, to, ret_to, &got);
}
