/* page_list.h - a growing list of page numbers. Zeros are an empty one. */
#ifndef ROPEFS_PAGE_PAGE_LIST_H
#define ROPEFS_PAGE_PAGE_LIST_H

#include <errno.h>

#include "core/base/util.h"

struct page_list {
	uint64_t *pages;
	size_t n, cap;
};

static inline void page_list_release(struct page_list *l)
{
	free(l->pages);
	*l = (struct page_list) { 0 };
}

/* Room for n more; -ENOMEM. */
static inline int page_list_reserve(struct page_list *l, size_t n)
{
	size_t cap = MAX(l->cap, (size_t)64);
	uint64_t *pages;

	if (l->cap - l->n >= n)
		return 0;
	while (cap - l->n < n)
		cap *= 2;
	pages = reallocarray(l->pages, cap, sizeof(*pages));
	if (!pages)
		return -ENOMEM;
	l->pages = pages;
	l->cap = cap;
	return 0;
}

/* 0, or -ENOMEM with the page not noted. */
static inline int page_list_add(struct page_list *l, uint64_t page)
{
	int r = page_list_reserve(l, 1);

	if (r < 0)
		return r;
	l->pages[l->n++] = page;
	return 0;
}

/* Moves all of from to the end of to; -ENOMEM leaves both as they were. */
static inline int page_list_move(struct page_list *to, struct page_list *from)
{
	int r = page_list_reserve(to, from->n);

	if (r < 0)
		return r;
	for (size_t i = 0; i < from->n; i++)
		to->pages[to->n++] = from->pages[i];
	from->n = 0;
	return 0;
}

#endif
