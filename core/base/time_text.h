/* time_text.h - a time for people: RFC 3339, UTC, with all its nanoseconds. */
#ifndef ROPEFS_BASE_TIME_TEXT_H
#define ROPEFS_BASE_TIME_TEXT_H

#include "core/base/util.h"

struct time_text {
	char s[sizeof("1970-01-01T00:00:00.000000000Z")];
};
struct time_text time_text(int64_t ns_since_1970);

#endif
