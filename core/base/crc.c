#include "core/base/crc.h"

#include <isa-l/crc.h>

uint32_t crc32c(uint32_t crc, const void *p, size_t n)
{
	const size_t step = 1u << 30; /* isa-l takes an int */
	unsigned char *at = (unsigned char *)(uintptr_t)p;

	crc = ~crc;
	while (n > step) {
		crc = crc32_iscsi(at, (int)step, crc);
		at += step;
		n -= step;
	}
	return ~crc32_iscsi(at, (int)n, crc);
}
