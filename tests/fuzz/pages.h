/* pages.h - nodes put into the page file of the store of store.h, sealed as they are. */
#ifndef ROPEFS_TESTS_FUZZ_PAGES_H
#define ROPEFS_TESTS_FUZZ_PAGES_H

#include "core/page/page_format.h"
#include "tests/fuzz/store.h"

#define FUZZ_PAGES_MAX 16u
/* A child reference of an image whose page has this number and i more is of image i. */
#define FUZZ_PAGE_FIRST 1000u

struct fuzz_pages {
	uint8_t (*images)[PAGE_PAYLOAD];
	unsigned n;
	/* NULL, or SUPER_BODY_BYTES in the place of what the superblock has; PAGE_PAYLOAD bytes of
	 * a bitmap page. */
	const uint8_t *super;
	const uint8_t *bitmap;
};

/* The first image becomes the root of the catalog. References to later images get their tags. */
void fuzz_put_pages(struct io *io, const struct fuzz_pages *pages);

#endif
