#include "core/base/buf.h"

#include <errno.h>
#include <string.h>

void buf_release(struct buf *b)
{
	free(b->p);
	*b = BUF_INIT;
}

int buf_reserve(struct buf *b, size_t n)
{
	size_t cap;
	uint8_t *p;

	if (n <= b->cap - b->n)
		return 0;
	if (n > SIZE_MAX / 2 - b->n)
		return -ENOMEM;
	cap = MAX(b->cap * 2, b->n + n);
	cap = MAX(cap, (size_t)64);
	p = realloc(b->p, cap);
	if (!p)
		return -ENOMEM;
	b->p = p;
	b->cap = cap;
	return 0;
}

int buf_append(struct buf *b, const void *p, size_t n)
{
	int r;

	r = buf_reserve(b, n);
	if (r < 0)
		return r;
	if (n)
		memcpy(b->p + b->n, p, n);
	b->n += n;
	return 0;
}

void buf_swap(struct buf *a, struct buf *b)
{
	struct buf t = *a;

	*a = *b;
	*b = t;
}
