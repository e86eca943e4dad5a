/* le.h - little-endian integers as byte arrays, for structures that reach the disk: no
 * padding, no alignment, the same bytes on every machine. */
#ifndef ROPEFS_BASE_LE_H
#define ROPEFS_BASE_LE_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

typedef struct {
	uint8_t b[2];
} le16;
typedef struct {
	uint8_t b[4];
} le32;
typedef struct {
	uint8_t b[8];
} le64;

static inline le16 le16_put(uint16_t v)
{
	le16 r;

	v = htole16(v);
	memcpy(r.b, &v, sizeof(v));
	return r;
}

static inline uint16_t le16_get(le16 x)
{
	uint16_t v;

	memcpy(&v, x.b, sizeof(v));
	return le16toh(v);
}

static inline le32 le32_put(uint32_t v)
{
	le32 r;

	v = htole32(v);
	memcpy(r.b, &v, sizeof(v));
	return r;
}

static inline uint32_t le32_get(le32 x)
{
	uint32_t v;

	memcpy(&v, x.b, sizeof(v));
	return le32toh(v);
}

static inline le64 le64_put(uint64_t v)
{
	le64 r;

	v = htole64(v);
	memcpy(r.b, &v, sizeof(v));
	return r;
}

static inline uint64_t le64_get(le64 x)
{
	uint64_t v;

	memcpy(&v, x.b, sizeof(v));
	return le64toh(v);
}

/* Big-endian, for keys that sort as bytes. */
static inline void be64_store(uint8_t *p, uint64_t v)
{
	v = htobe64(v);
	memcpy(p, &v, sizeof(v));
}

static inline uint64_t be64_load(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return be64toh(v);
}

#endif
