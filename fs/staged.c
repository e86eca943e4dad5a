#include "fs/staged.h"

#include <stdatomic.h>
#include <stdint.h>

static size_t most = SIZE_MAX;
static atomic_size_t held;

void staged_limit(size_t bytes)
{
	most = bytes;
}

bool staged_hold(size_t bytes)
{
	if (atomic_fetch_add(&held, bytes) + bytes <= most)
		return true;
	atomic_fetch_sub(&held, bytes);
	return false;
}

void staged_inherit(size_t bytes)
{
	atomic_fetch_add(&held, bytes);
}

void staged_let(size_t bytes)
{
	atomic_fetch_sub(&held, bytes);
}
