/* pieces.h - inputs of several parts: each a length (le16, cut to what is there), a kind, bytes. */
#ifndef ROPEFS_TESTS_FUZZ_PIECES_H
#define ROPEFS_TESTS_FUZZ_PIECES_H

#include "core/base/buf.h"
#include "core/base/le.h"
#include "tests/fuzz/fuzz.h"

struct fuzz_piece {
	uint8_t kind;
	uint8_t *p; /* within the input */
	size_t n;
};

/* Takes the piece at *at, which moves behind it; false: no more. */
static inline bool fuzz_next_piece(uint8_t *p, size_t n, size_t *at,
				   struct fuzz_piece *ret)
{
	size_t bytes;

	if (n - *at < 3)
		return false;
	bytes = (size_t)p[*at] | (size_t)p[*at + 1] << 8;
	bytes = MIN(bytes, n - *at - 3);
	*ret = (struct fuzz_piece) { p[*at + 2], p + *at + 3, bytes };
	*at += 3 + bytes;
	return true;
}

static inline void fuzz_put_piece(struct buf *b, uint8_t kind, const void *p, size_t n)
{
	const uint8_t head[3] = { (uint8_t)n, (uint8_t)(n >> 8), kind };

	FUZZ_MUST(n > UINT16_MAX ? -1 : 0);
	FUZZ_MUST(buf_append(b, head, sizeof(head)));
	FUZZ_MUST(buf_append(b, p, n));
}

#endif
