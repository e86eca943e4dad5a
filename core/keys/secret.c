#include "core/keys/secret.h"

#include <errno.h>
#include <sodium.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "core/base/err.h"

/* What all keys of a store take at most at once: a page each. */
#define LOCKED_MAX ((size_t)1 << 20)

/* As much as the limit for good lets us. */
static void raise_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_MEMLOCK, &limit) < 0 || limit.rlim_cur == limit.rlim_max)
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_MEMLOCK, &limit);
}

static int refused(size_t n)
{
	struct rlimit limit = { 0 };

	getrlimit(RLIMIT_MEMLOCK, &limit);
	return err_set(ENOMEM,
		       "keys can't be locked in memory (%zu KiB, the limit is %llu KiB): "
		       "raise the "
		       "limit with ulimit -l, systemd's LimitMEMLOCK= or docker's "
		       "--ulimit memlock=",
		       n / 1024, (unsigned long long)limit.rlim_cur / 1024);
}

/* sodium_malloc() ignores a refused mlock (RLIMIT_MEMLOCK is 8 MiB for ordinary users, less
 * in containers); locking again tells. It also keeps the pages out of cores. */
static int lock_pages(void *p, size_t n)
{
	if (sodium_mlock(p, n) == 0)
		return 0;
	raise_limit();
	return sodium_mlock(p, n) == 0 ? 0 : refused(n);
}

int secret_probe(void)
{
	void *p = mmap(NULL, LOCKED_MAX, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int r;

	if (p == MAP_FAILED)
		return -errno;
	r = mlock(p, LOCKED_MAX);
	if (r < 0) {
		raise_limit();
		r = mlock(p, LOCKED_MAX);
	}
	munmap(p, LOCKED_MAX);
	return r < 0 ? refused(LOCKED_MAX) : 0;
}

int secret_new(size_t n, void **ret)
{
	void *p;
	int r;

	assert(n > 0);
	assert(ret);
	p = sodium_malloc(n);
	if (!p)
		return err_set(ENOMEM,
			       "no memory for a key (%zu bytes between guard pages): "
			       "raise the limits on memory or on mappings",
			       n);
	r = lock_pages(p, n);
	if (r < 0) {
		sodium_free(p);
		return r;
	}
	sodium_memzero(p, n);
	*ret = p;
	return 0;
}

void *secret_free(void *p)
{
	sodium_free(p);
	return NULL;
}

void secret_freep(void *p)
{
	sodium_free(*(void **)p);
}
