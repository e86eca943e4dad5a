#include "core/base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local char detail[512];
static _Thread_local int detail_of; /* the code it was kept for */

int err_keep(int code, const char *fmt, ...)
{
	char longer[sizeof(detail)]; /* the sentence before may be an argument */
	va_list ap;

	assert(code > 0);
	va_start(ap, fmt);
	vsnprintf(longer, sizeof(longer), fmt, ap);
	va_end(ap);
	memcpy(detail, longer, sizeof(detail));
	detail_of = code;
	return -code;
}

const char *err_detail(void)
{
	return detail;
}

void err_clear(void)
{
	detail[0] = '\0';
}

bool err_has_words(int r)
{
	return detail[0] && detail_of == -r;
}

const char *err_words(int r)
{
	return err_has_words(r) ? detail : err_text(r);
}

void err_settle(int r)
{
	if (r < 0 && !err_has_words(r))
		err_clear();
}

int err_errno(int r)
{
	switch (-r) {
#define X(name, code, os, status, text)                                                  \
	case name:                                                                       \
		return os;
		ERR_LIST(X)
#undef X
	default:
		return r < 0 ? -r : 0;
	}
}

int err_exit_status(int r)
{
	switch (-r) {
#define X(name, code, os, status, text)                                                  \
	case name:                                                                       \
		return status;
		ERR_LIST(X)
#undef X
	default:
		return r < 0 ? 1 : 0;
	}
}

const char *err_text(int r)
{
	switch (-r) {
#define X(name, code, os, status, text)                                                  \
	case name:                                                                       \
		return text;
		ERR_LIST(X)
#undef X
	default:
		return r < 0 ? strerror(-r) : "done";
	}
}
