/* sim_pages.h - the bytes of one simulated file: sparse 4 KiB pages, shared by reference
 * between copies and copied when one of them writes, so that a copy of 64 MiB costs 256
 * counts. Not locked, counts are plain: io_sim holds its lock. Aborts when memory ends.
 *
 * Invariant: bytes at or past the size, in pages that are there, are zeros. */
#ifndef ROPEFS_IO_SIM_PAGES_H
#define ROPEFS_IO_SIM_PAGES_H

#include "core/base/util.h"

struct sim_leaf;

struct sim_pages {
	struct sim_leaf **leaves; /* NULL: 64 pages of zeros */
	size_t n_leaves;
	uint64_t bytes; /* the file's size */
};

/* Like realloc() of n elements, but never NULL: a simulator without memory proves nothing. */
void *sim_realloc(void *p, size_t n, size_t each);

void sim_pages_release(struct sim_pages *m);
/* Makes to hold what from holds; what it held is let go. */
void sim_pages_copy(struct sim_pages *to, const struct sim_pages *from);
/* Returns the count: fewer than n only at the end. */
size_t sim_pages_read(const struct sim_pages *m, void *p, size_t n, uint64_t off);
/* Grows the file where needed. */
void sim_pages_write(struct sim_pages *m, const void *p, size_t n, uint64_t off);
void sim_pages_resize(struct sim_pages *m, uint64_t bytes);
/* The byte at off, which is below the size, to be changed. */
uint8_t *sim_pages_byte(struct sim_pages *m, uint64_t off);

#endif
