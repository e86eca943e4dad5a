/* buf.h - borrowed bytes (span) and owned, growing bytes (buf). */
#ifndef ROPEFS_BASE_BUF_H
#define ROPEFS_BASE_BUF_H

#include "core/base/util.h"

struct span {
	const uint8_t *p;
	size_t n;
};

struct buf {
	uint8_t *p;
	size_t n; /* bytes in use */
	size_t cap;
};

#define BUF_INIT    ((struct buf) { 0 })
#define SPAN_STR(s) ((struct span) { (const uint8_t *)(s), strlen(s) })

static inline struct span span_of(const void *p, size_t n)
{
	return (struct span) { p, n };
}

static inline struct span buf_span(const struct buf *b)
{
	return (struct span) { b->p, b->n };
}

void buf_release(struct buf *b);
/* Makes room for n more bytes; -ENOMEM leaves b as it was. */
int buf_reserve(struct buf *b, size_t n);
int buf_append(struct buf *b, const void *p, size_t n);
void buf_swap(struct buf *a, struct buf *b);

#endif
