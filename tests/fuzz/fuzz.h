/* fuzz.h - a fuzz target: one file that defines the functions below. With clang's libFuzzer it is
 * searched without end (tools/fuzz); with driver.c, under any compiler, it runs its corpus and
 * mutations that a seed decides. Both mutate through fuzz_mutate_mended() of mend.c, because plain
 * mutations never get past a checksum. */
#ifndef ROPEFS_TESTS_FUZZ_H
#define ROPEFS_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/buf.h"

/* Runs one input; whatever it is, nothing crashes and no assertion fails. Returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);
/* Makes the n bytes at p pass checksums, tags and sequence numbers, and leaves all else. */
void fuzz_mend(uint8_t *p, size_t n);
/* Gives the inputs that a corpus begins with. */
typedef void (*fuzz_give_fn)(void *arg, const char *name, const void *p, size_t n);
void fuzz_seeds(fuzz_give_fn give, void *arg);

/* For what only the machine can refuse: memory, a temporary file. */
#define FUZZ_MUST(call)                                                                  \
	do {                                                                             \
		if ((call) < 0) {                                                        \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #call);       \
			abort();                                                         \
		}                                                                        \
	} while (0)

/* An input read from its front; past its end there are zeros. */
struct fuzz_in {
	const uint8_t *p;
	size_t n;
};

static inline struct span fuzz_take(struct fuzz_in *in, size_t n)
{
	struct span s = { in->p, MIN(n, in->n) };

	in->p += s.n;
	in->n -= s.n;
	return s;
}

static inline uint64_t fuzz_number(struct fuzz_in *in, size_t bytes)
{
	struct span s = fuzz_take(in, bytes);
	uint64_t v = 0;

	for (size_t i = 0; i < s.n; i++)
		v |= (uint64_t)s.p[i] << 8 * i;
	return v;
}

#endif
