/* term.h - how the command line tools speak: names made safe to show, sizes in words, colour
 * only where it is wanted, and one way to report an error of libropefs. */
#ifndef ROPEFS_MOUNTCTL_TERM_H
#define ROPEFS_MOUNTCTL_TERM_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

/* Exit statuses that are not an error of the store (those: ropefs_error_exit_status()). */
enum exit_status {
	EXIT_DONE = 0,
	EXIT_FAILED = 1,
	EXIT_USAGE = 2,
	EXIT_CONFLICT = 8, /* E_CONFLICT's */
};

/* The line every --help ends with. */
#define TERM_STATUS_HELP                                                                 \
	"Exit status: 0 done, 1 failed, 2 wrong usage, 3 wrong key, 4 store in use,\n"   \
	"5 corrupt, 6 not a store, 7 written by a newer version, 8 somebody else "       \
	"changed\n"                                                                      \
	"it meanwhile.\n"

enum term_paint {
	TERM_PLAIN,
	TERM_BOLD,
	TERM_GOOD,
	TERM_WARN,
	TERM_BAD,
};
/* The escape sequence on a terminal without NO_COLOR, else "". */
const char *term_paint(FILE *to, enum term_paint paint);

/* s with control bytes, backslashes and whatever is not UTF-8 written as \n, \t, \\ or
 * \xNN; the caller frees it. */
char *term_escape(const char *s);
/* s as it should be printed on `to`: escaped on a terminal, as it is elsewhere, so that
 * scripts get the true bytes. The caller frees it. */
char *term_name(FILE *to, const char *s);

struct term_text {
	char s[48];
};
struct term_text term_bytes(double bytes); /* "0 bytes", "4.0 KiB", "1.2 GiB" */
struct term_text term_count(uint64_t n); /* "1,234,567" */
struct term_text term_seconds(double s); /* "0.42 s", "3 min 5 s", "2 days 3 h" */

/* 20G, 500M, 4096; false when it is none. NULL: *ret stays. */
bool term_take_size(const char *word, uint64_t *ret);

struct cJSON;
void term_json(const struct cJSON *json); /* prints it, and a newline */

/* A bar on stderr, with what is left of the time, for work that takes longer than a second. */
struct term_bar {
	struct timespec start;
	double drawn_s; /* when it was drawn last; 0: it is not there */
	bool is_on;
};
struct term_bar term_bar_begin(bool wanted); /* off where stderr is no terminal */
void term_bar_show(struct term_bar *bar, uint64_t done, uint64_t total);
void term_bar_erase(struct term_bar *bar); /* before anything else is printed */
double term_seconds_since(struct timespec then); /* CLOCK_MONOTONIC */

/* Prints "PROGRAM: what: sentence" for a negative result of libropefs and returns its exit
 * status. what may be NULL, and is left out where the sentence begins with it. */
int term_fail(int r, const char *what);
/* The same for an errno or for a sentence of the caller's; both return EXIT_FAILED. */
int term_fail_errno(int err, const char *what);
int term_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* The last call of a program: what was printed must have arrived, or its exit status is not
 * EXIT_DONE. Returns the exit status. */
int term_end(int status);
/* Prints the sentence and where to find help; returns EXIT_USAGE. */
int term_usage(const char *verb, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#endif
