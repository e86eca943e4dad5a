/* fixed_random.h - libsodium's randomness as fixed numbers, so that what is made with it (keys,
 * nonces, salts) is the same in each run. */
#ifndef ROPEFS_TESTS_LIB_FIXED_RANDOM_H
#define ROPEFS_TESTS_LIB_FIXED_RANDOM_H

#include <stdint.h>

/* From now on, for the whole process, beginning with number `first`. Before sodium_init(). */
void fixed_random_use(uint64_t first);

#endif
