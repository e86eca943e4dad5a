/* crc.h - CRC32C (Castagnoli), as iSCSI uses it, by isa-l. */
#ifndef ROPEFS_BASE_CRC_H
#define ROPEFS_BASE_CRC_H

#include <stddef.h>
#include <stdint.h>

/* Goes on from crc (0 to begin) over n bytes. */
uint32_t crc32c(uint32_t crc, const void *p, size_t n);

#endif
