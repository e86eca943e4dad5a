#include "core/base/time_text.h"

#include <stdio.h>
#include <time.h>

#define SECOND_NS 1000000000

struct time_text time_text(int64_t ns_since_1970)
{
	int64_t ns = ns_since_1970 % SECOND_NS;
	time_t s = ns_since_1970 / SECOND_NS;
	struct time_text ret;
	struct tm tm;
	size_t n;

	if (ns < 0) { /* before 1970: counted from the second before it */
		ns += SECOND_NS;
		s--;
	}
	gmtime_r(&s, &tm); /* 64 bits of ns are the years 1677 to 2262 */
	n = strftime(ret.s, sizeof(ret.s), "%Y-%m-%dT%H:%M:%S", &tm);
	assert(n == 19);
	snprintf(ret.s + n, sizeof(ret.s) - n, ".%09dZ", (int)ns);
	return ret;
}
