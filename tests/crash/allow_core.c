/* allow_core.c - a library to preload: the daemon may leave a core after all, so that a test can
 * look into a real one. */
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

int prctl(int what, ...)
{
	unsigned long a[4];
	va_list ap;

	va_start(ap, what);
	for (int i = 0; i < 4; i++)
		a[i] = va_arg(ap, unsigned long);
	va_end(ap);
	if (what == PR_SET_DUMPABLE)
		a[0] = 1;
	return (int)syscall(SYS_prctl, what, a[0], a[1], a[2], a[3]);
}

static int set(int what, const void *limit)
{
	const unsigned long all[2] = { ~0ul, ~0ul };

	return (int)syscall(SYS_setrlimit, what, what == RLIMIT_CORE ? all : limit);
}

/* Under both names, whatever the size of offsets is that it is built with. */
int allowed_setrlimit(int what, const void *limit) __asm__("setrlimit");
int allowed_setrlimit64(int what, const void *limit) __asm__("setrlimit64");

int allowed_setrlimit(int what, const void *limit)
{
	return set(what, limit);
}

int allowed_setrlimit64(int what, const void *limit)
{
	return set(what, limit);
}
