/* remote_hours.c - when uploads may run: HH:MM-HH:MM of each day, local time; the end may be the
 * next day's. */
#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "core/base/err.h"
#include "core/remote_priv.h"

#define DAY_MIN 1440u

static bool parse(const char *text, unsigned *ret_from, unsigned *ret_to)
{
	unsigned h1, m1, h2, m2;
	int n = 0;

	if (sscanf(text, "%2u:%2u-%2u:%2u%n", &h1, &m1, &h2, &m2, &n) != 4 || text[n] ||
	    h1 > 23 || h2 > 24 || m1 > 59 || m2 > 59 || 60 * h2 + m2 > DAY_MIN)
		return false;
	*ret_from = 60 * h1 + m1;
	*ret_to = (60 * h2 + m2) % DAY_MIN;
	return true;
}

int remote_hours_check(const char *text)
{
	unsigned from, to;

	if (parse(text, &from, &to))
		return 0;
	return err_set(EINVAL, "'%.40s' are no hours such as 22:00-06:00", text);
}

bool remote_hours_open(const char *text, uint64_t real_ns)
{
	time_t now = (time_t)(real_ns / 1000000000u);
	unsigned from, to, at;
	struct tm tm;

	if (!text || !*text || !parse(text, &from, &to) || !localtime_r(&now, &tm))
		return true;
	at = 60 * (unsigned)tm.tm_hour + (unsigned)tm.tm_min;
	return from < to ? at >= from && at < to : at >= from || at < to;
}
