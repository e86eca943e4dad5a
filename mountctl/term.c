#include "mountctl/term.h"

#include <cjson/cJSON.h>
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/ropefs.h"

const char *term_paint(FILE *to, enum term_paint paint)
{
	static const char *const sequences[] = {
		[TERM_PLAIN] = "\033[0m",  [TERM_BOLD] = "\033[1m",
		[TERM_GOOD] = "\033[32m",  [TERM_WARN] = "\033[1;33m",
		[TERM_BAD] = "\033[1;31m",
	};
	const char *no_color = getenv("NO_COLOR");
	const char *term = getenv("TERM");

	if ((no_color && *no_color) || !isatty(fileno(to)))
		return "";
	if (!term || !strcmp(term, "dumb"))
		return "";
	return sequences[paint];
}

/* Bytes of the UTF-8 character at p, 0 when there is none: no overlong forms, no
 * surrogates, nothing past U+10FFFF. */
static size_t utf8_len(const unsigned char *p)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	uint32_t c;
	size_t n;

	if (p[0] < 0x80)
		return p[0] ? 1 : 0;
	if ((p[0] & 0xe0) == 0xc0)
		n = 2;
	else if ((p[0] & 0xf0) == 0xe0)
		n = 3;
	else if ((p[0] & 0xf8) == 0xf0)
		n = 4;
	else
		return 0;
	c = p[0] & (0x7fu >> n);
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3fu);
	}
	if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return 0;
	return n;
}

/* C1 controls (U+0080 to U+009F) move some terminals as escape sequences do. */
static bool is_control(const unsigned char *p)
{
	return p[0] < 0x20 || p[0] == 0x7f || (p[0] == 0xc2 && p[1] < 0xa0);
}

char *term_escape(const char *s)
{
	const unsigned char *p = (const unsigned char *)s;
	char *ret = malloc(4 * strlen(s) + 1);
	char *to = ret;

	if (!ret)
		abort();
	while (*p) {
		size_t n = utf8_len(p);

		if (*p == '\n' || *p == '\t' || *p == '\\') {
			*to++ = '\\';
			*to++ = *p == '\n' ? 'n' : *p == '\t' ? 't' : '\\';
			p++;
		} else if (n == 0 || is_control(p)) {
			to += sprintf(to, "\\x%02x", *p++);
		} else {
			memcpy(to, p, n);
			to += n;
			p += n;
		}
	}
	*to = '\0';
	return ret;
}

char *term_name(FILE *to, const char *s)
{
	char *copy;

	if (isatty(fileno(to)))
		return term_escape(s);
	copy = strdup(s);
	if (!copy)
		abort();
	return copy;
}

struct term_text term_bytes(double bytes)
{
	static const char *const units[] = { "KiB", "MiB", "GiB", "TiB", "PiB" };
	struct term_text ret;
	size_t unit = 0;

	if (bytes < 1024) {
		snprintf(ret.s, sizeof(ret.s), "%.0f bytes", bytes);
		return ret;
	}
	bytes /= 1024;
	while (bytes >= 1023.95 && unit + 1 < sizeof(units) / sizeof(units[0])) {
		bytes /= 1024;
		unit++;
	}
	snprintf(ret.s, sizeof(ret.s), "%.1f %s", bytes, units[unit]);
	return ret;
}

struct term_text term_count(uint64_t n)
{
	struct term_text ret;
	char digits[24];
	char *to = ret.s;
	int len = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)n);

	for (int i = 0; i < len; i++) {
		if (i && (len - i) % 3 == 0)
			*to++ = ',';
		*to++ = digits[i];
	}
	*to = '\0';
	return ret;
}

struct term_text term_seconds(double s)
{
	struct term_text ret;
	long whole = (long)s;

	if (s < 10)
		snprintf(ret.s, sizeof(ret.s), "%.2f s", s);
	else if (whole < 60)
		snprintf(ret.s, sizeof(ret.s), "%ld s", whole);
	else if (whole < 3600)
		snprintf(ret.s, sizeof(ret.s), "%ld min %ld s", whole / 60, whole % 60);
	else if (whole < 86400)
		snprintf(ret.s, sizeof(ret.s), "%ld h %ld min", whole / 3600,
			 whole / 60 % 60);
	else
		snprintf(ret.s, sizeof(ret.s), "%ld days %ld h", whole / 86400,
			 whole / 3600 % 24);
	return ret;
}

static void print_line(const char *what, const char *sentence)
{
	char *name = what ? term_name(stderr, what) : NULL;
	char *text = term_name(stderr, sentence);

	/* What was said on stdout before belongs before this line, in a log too. */
	fflush(stdout);
	fprintf(stderr, "%s%s:%s %s%s%s\n", term_paint(stderr, TERM_BAD),
		program_invocation_short_name, term_paint(stderr, TERM_PLAIN),
		name ? name : "", name ? ": " : "", text);
	free(name);
	free(text);
}

bool term_take_size(const char *word, uint64_t *ret)
{
	static const char units[] = "KMGT";
	unsigned shift = 0;
	const char *unit;
	char *end;
	double n;

	if (!word)
		return true;
	n = strtod(word, &end);
	unit = *end ? strchr(units, toupper((unsigned char)*end)) : NULL;
	if (unit) {
		shift = 10 * (unsigned)(unit - units + 1);
		end++;
	}
	if (end == word || *end || n < 0 || n > 1e18 / (double)((uint64_t)1 << shift))
		return false;
	*ret = (uint64_t)(n * (double)((uint64_t)1 << shift));
	return true;
}

/* --- the progress bar --- */

#define BAR_CELLS   24
#define BAR_AFTER_S 1.0 /* shorter work shows no bar */
#define BAR_EVERY_S 0.1

double term_seconds_since(struct timespec then)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)(now.tv_sec - then.tv_sec) +
	       (double)(now.tv_nsec - then.tv_nsec) / 1e9;
}

struct term_bar term_bar_begin(bool wanted)
{
	struct term_bar bar = { .is_on = wanted && isatty(STDERR_FILENO) };

	clock_gettime(CLOCK_MONOTONIC, &bar.start);
	return bar;
}

void term_bar_erase(struct term_bar *bar)
{
	if (bar->drawn_s > 0)
		fputs("\r\033[K", stderr);
	bar->drawn_s = 0;
}

void term_bar_show(struct term_bar *bar, uint64_t done, uint64_t total)
{
	double now = term_seconds_since(bar->start);
	double part = total ? (double)done / (double)total : 0;
	char cells[BAR_CELLS + 1];

	if (!bar->is_on || now < BAR_AFTER_S || now - bar->drawn_s < BAR_EVERY_S)
		return;
	if (part > 1)
		part = 1;
	for (int i = 0; i < BAR_CELLS; i++)
		cells[i] = i < part * BAR_CELLS ? '#' : '.';
	cells[BAR_CELLS] = '\0';
	fprintf(stderr, "\r\033[K[%s] %3.0f %%  %s of %s", cells, part * 100,
		term_bytes((double)done).s, term_bytes((double)total).s);
	if (part > 0.01)
		fprintf(stderr, ", %s left", term_seconds(now / part - now).s);
	fflush(stderr);
	bar->drawn_s = now;
}

int term_fail(int r, const char *what)
{
	const char *sentence = *ropefs_error() ? ropefs_error() : ropefs_error_text(r);
	size_t n = what ? strlen(what) : 0;

	if (n && strncmp(sentence, what, n) == 0 && sentence[n] == ' ')
		what = NULL;
	print_line(what, sentence);
	return ropefs_error_exit_status(r);
}

int term_fail_errno(int err, const char *what)
{
	print_line(what, strerror(err));
	return EXIT_FAILED;
}

int term_end(int status)
{
	const char *why =
		"not all of it could be written"; /* an earlier flush knew more */

	if (fflush(stdout) != 0)
		why = strerror(errno);
	else if (!ferror(stdout))
		return status;
	print_line("what was printed is cut short", why);
	return status ? status : EXIT_FAILED;
}

void term_json(const struct cJSON *json)
{
	char *text = cJSON_Print(json);

	if (!text)
		abort(); /* no memory */
	puts(text);
	free(text);
}

int term_say(const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		abort();
	va_end(ap);
	print_line(NULL, text);
	free(text);
	return EXIT_FAILED;
}

int term_usage(const char *verb, const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		abort();
	va_end(ap);
	print_line(NULL, text);
	fprintf(stderr, "Try '%s%s%s --help'.\n", program_invocation_short_name,
		verb ? " " : "", verb ? verb : "");
	free(text);
	return EXIT_USAGE;
}
