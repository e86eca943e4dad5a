/* bits.h - a bit each page: which are in use, which have a mark. Private to core/page. */
#ifndef ROPEFS_PAGE_BITS_H
#define ROPEFS_PAGE_BITS_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/page/page_list.h"

static inline size_t words_of(uint64_t pages)
{
	return (size_t)((pages + 63) / 64);
}

static inline bool bit_get(const uint64_t *words, uint64_t bit)
{
	return (words[bit / 64] >> bit % 64 & 1) != 0;
}

static inline void bit_set(uint64_t *words, uint64_t bit)
{
	words[bit / 64] |= (uint64_t)1 << bit % 64;
}

static inline void bit_clear(uint64_t *words, uint64_t bit)
{
	words[bit / 64] &= ~((uint64_t)1 << bit % 64);
}

static inline bool mark_get(const uint8_t *marks, uint64_t n_bits, uint64_t bit)
{
	return bit < n_bits && (marks[bit / 8] >> bit % 8 & 1) != 0;
}

static inline void bits_clear_list(uint64_t *words, const struct page_list *l)
{
	for (size_t i = 0; i < l->n; i++) {
		assert(bit_get(words, l->pages[i]));
		bit_clear(words, l->pages[i]);
	}
}

/* Bits of words that stand for pages, less those past the end. */
static inline uint64_t bits_count(const uint64_t *words, uint64_t pages)
{
	uint64_t n = 0;

	for (size_t i = 0; i < words_of(pages); i++)
		n += (uint64_t)__builtin_popcountll(words[i]);
	return n - (words_of(pages) * 64 - pages);
}

#endif
