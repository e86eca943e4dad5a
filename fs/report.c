#include "fs/report.h"

#include <fuse_log.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>

static atomic_bool syslogging, live;
static char last[512]; /* written before `live` only, by the one thread of then */

static void vreport(const char *fmt, va_list ap)
{
	char line[1024];

	vsnprintf(line, sizeof(line), fmt, ap);
	if (atomic_load(&syslogging))
		syslog(LOG_ERR, "%s", line);
	else
		fprintf(stderr, "ropefs: %s\n", line);
}

void report(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vreport(fmt, ap);
	va_end(ap);
}

void report_about(const char *what, const char *sentence)
{
	size_t n = strlen(what);
	bool begins = strncmp(sentence, what, n) == 0 && strchr(" :", sentence[n]);

	if (begins)
		report("%s", sentence);
	else
		report("%s: %s", what, sentence);
}

void report_dead_mount(const char *path)
{
	report("%s: a daemon died here; run `ropectl umount --lazy %s` first", path,
	       path);
}

void report_to_syslog(void)
{
	openlog("ropefs", LOG_PID, LOG_DAEMON);
	atomic_store(&syslogging, true);
}

void report_fuse_keep(const char *text)
{
	size_t n = strcspn(text, "\n");

	n = n < sizeof(last) ? n : sizeof(last) - 1;
	memcpy(last, text, n);
	last[n] = '\0';
}

static void from_fuse(enum fuse_log_level level, const char *fmt, va_list ap)
{
	char line[sizeof(last)];

	if (level > FUSE_LOG_WARNING)
		return;
	vsnprintf(line, sizeof(line), fmt, ap);
	line[strcspn(line, "\n")] = '\0';
	if (atomic_load(&live))
		report("%s", line);
	else
		report_fuse_keep(line);
}

void report_fuse(void)
{
	fuse_set_log_func(from_fuse);
}

void report_fuse_live(void)
{
	atomic_store(&live, true);
}

const char *report_fuse_last(void)
{
	return last;
}
