#include "core/keys/secret.h"

#include <errno.h>
#include <sodium.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/base/err.h"
#include "core/base/util.h"

/* sodium_malloc() ignores a refused mlock (RLIMIT_MEMLOCK is 8 MiB for ordinary users, less
 * in containers). Locking again tells; the pages must then at least stay out of cores. */
static int keep_out_of_cores(void *p, size_t n)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	uintptr_t from = (uintptr_t)p & ~(page - 1);
	uintptr_t to = ((uintptr_t)p + n + page - 1) & ~(page - 1);

	if (sodium_mlock(p, n) == 0)
		return 0;
	return madvise((void *)from, to - from, MADV_DONTDUMP) < 0 ? -errno : 0;
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
	r = keep_out_of_cores(p, n);
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
