/* wrong_clock.c - a library to preload: time() is WRONG_CLOCK_S seconds later than it is. */
#include <stdlib.h>
#include <time.h>

time_t time(time_t *ret)
{
	const char *wrong = getenv("WRONG_CLOCK_S");
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	if (wrong)
		now.tv_sec += strtol(wrong, NULL, 10);
	if (ret)
		*ret = now.tv_sec;
	return now.tv_sec;
}
