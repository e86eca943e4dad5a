/* store_fixture.h - one store on the simulated disk (or, with threads, in a folder), for tests
 * that look at its insides. One at a time. */
#ifndef ROPEFS_TESTS_LIB_STORE_FIXTURE_H
#define ROPEFS_TESTS_LIB_STORE_FIXTURE_H

#include "core/io/io_sim.h"
#include "core/store_priv.h"
#include "tests/lib/suite.h"

struct fixture {
	struct io *io;
	struct key_file *kf;
	struct ropefs *fs;
	struct rng rng;
	bool threads; /* and real files */
	char dir[4200];
	char key[4200];
};

extern struct fixture f;

void fixture_init(bool threads);
void fixture_open(void);
/* The process ends: by SIGKILL, or with the power (on the simulated disk). */
void fixture_crash(bool power);
void fixture_release(void);

/* Files of the root folder. */
uint64_t make(const char *name);
void drop(const char *name);
/* Inserts n random bytes in pieces at random places, so that the rope has many extents. */
void fill(uint64_t ino, uint8_t *model, size_t n, size_t piece);
void expect_bytes(uint64_t ino, const uint8_t *model, size_t n);

#endif
