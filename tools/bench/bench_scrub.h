/* bench_scrub.h - the part of bench_mount about scrubs: what a program that appends has of one. */
#ifndef ROPEFS_BENCH_SCRUB_H
#define ROPEFS_BENCH_SCRUB_H

#include <stdbool.h>

struct scrub_bench {
	const char *mount; /* the root of one of ropefs; NULL: there is none */
	bool quick, smoke;
};

/* Prints its rows if their name has `only` in it. */
void scrub_bench_run(const struct scrub_bench *b, const char *only);

#endif
