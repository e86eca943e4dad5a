#include "tests/lib/fixed_random.h"

#include <sodium.h>
#include <stdlib.h>

#include "tests/lib/suite.h"

static uint64_t fixed_state;

static const char *fixed_name(void)
{
	return "fixed";
}

static uint32_t fixed_word(void)
{
	struct rng rng = rng_seeded(fixed_state++);

	return (uint32_t)rng_next(&rng);
}

static void fixed_fill(void *const p, const size_t n)
{
	struct rng rng = rng_seeded(fixed_state++);

	rng_fill(&rng, p, n);
}

static struct randombytes_implementation fixed_source = {
	.implementation_name = fixed_name,
	.random = fixed_word,
	.buf = fixed_fill,
};

void fixed_random_use(uint64_t first)
{
	fixed_state = first;
	if (randombytes_set_implementation(&fixed_source) != 0)
		abort();
}
