#include "core/base/json.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Bytes of the character that s begins with; 0: it is none. */
static size_t utf8_char(struct span s)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	uint8_t c = s.p[0];
	size_t n = c < 0x80	  ? 1
		   : c >> 5 == 6  ? 2
		   : c >> 4 == 14 ? 3
		   : c >> 3 == 30 ? 4
				  : 0;
	uint32_t v = n == 1 ? c : c & (0x7fu >> n);

	if (!n || n > s.n)
		return 0;
	for (size_t i = 1; i < n; i++) {
		if (s.p[i] >> 6 != 2)
			return 0;
		v = v << 6 | (s.p[i] & 0x3f);
	}
	if (v < least[n] || v > 0x10ffff || (v >= 0xd800 && v < 0xe000))
		return 0;
	return n;
}

bool utf8_valid(struct span s)
{
	while (s.n) {
		size_t n = utf8_char(s);

		if (!n)
			return false;
		s = span_of(s.p + n, s.n - n);
	}
	return true;
}

int buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	int n, r;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	r = buf_reserve(b, (size_t)n + 1);
	if (r < 0)
		return r;
	va_start(ap, fmt);
	vsnprintf((char *)b->p + b->n, (size_t)n + 1, fmt, ap);
	va_end(ap);
	b->n += (size_t)n;
	return 0;
}

static size_t put_char(uint8_t *to, uint8_t c)
{
	static const char plain[] = "\"\\\b\f\n\r\t", letter[] = "\"\\bfnrt";
	const char *at = c ? strchr(plain, c) : NULL;

	if (at) {
		to[0] = '\\';
		to[1] = (uint8_t)letter[at - plain];
		return 2;
	}
	if (c < 0x20 || c == 0x7f)
		return (size_t)sprintf((char *)to, "\\u%04x", c);
	to[0] = c;
	return 1;
}

int json_add_string(struct buf *b, struct span s)
{
	/* A byte takes at most 6; sprintf() puts a NUL behind. */
	int r = buf_reserve(b, 6 * s.n + 3);
	uint8_t *to = b->p + b->n;

	if (r < 0)
		return r;
	*to++ = '"';
	while (s.n) {
		size_t n = utf8_char(s);

		if (n == 1)
			to += put_char(to, s.p[0]);
		else
			to = (uint8_t *)mempcpy(
				to, n ? (const void *)s.p : "\xef\xbf\xbd", n ? n : 3);
		s = span_of(s.p + (n ? n : 1), s.n - (n ? n : 1));
	}
	*to++ = '"';
	b->n = (size_t)(to - b->p);
	return 0;
}

int json_add_base64(struct buf *b, struct span s)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	int r = buf_reserve(b, (s.n + 2) / 3 * 4 + 2);
	uint8_t *to = b->p + b->n;

	if (r < 0)
		return r;
	*to++ = '"';
	for (size_t i = 0; i < s.n; i += 3) {
		size_t left = s.n - i;
		uint32_t v = (uint32_t)s.p[i] << 16;

		if (left > 1)
			v |= (uint32_t)s.p[i + 1] << 8;
		if (left > 2)
			v |= s.p[i + 2];
		*to++ = (uint8_t)digits[v >> 18];
		*to++ = (uint8_t)digits[v >> 12 & 63];
		*to++ = left > 1 ? (uint8_t)digits[v >> 6 & 63] : '=';
		*to++ = left > 2 ? (uint8_t)digits[v & 63] : '=';
	}
	*to++ = '"';
	b->n = (size_t)(to - b->p);
	return 0;
}
