/* libfuzzer.c - what a fuzz target needs beside it to be searched by clang's libFuzzer. */
#include "tests/fuzz/fuzz.h"

size_t LLVMFuzzerMutate(uint8_t *p, size_t n, size_t max);
size_t LLVMFuzzerCustomMutator(uint8_t *p, size_t n, size_t max, unsigned seed);

/* libFuzzer's mutation, mended but for some: what does not verify is hostile, too. */
size_t LLVMFuzzerCustomMutator(uint8_t *p, size_t n, size_t max, unsigned seed)
{
	n = LLVMFuzzerMutate(p, n, max);
	if (seed % 8)
		fuzz_mend(p, n);
	return n;
}
