/* remote_fixture.h - a store, a folder as its bucket, and a place for a clone; for the tests of the
 * cloud tier. What fails fails the test. */
#ifndef ROPEFS_TESTS_REMOTE_FIXTURE_H
#define ROPEFS_TESTS_REMOTE_FIXTURE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <check.h>

#include "core/ropefs.h"

struct place {
	char store[4200], bucket[4200], url[4300], key[4200], clone[4300];
};

/* Reads that failed, told as events. */
extern atomic_uint reads_failed;

struct place place_new(void);
struct ropefs *open_at(const struct place *p, const char *store);
struct ropefs_remote_opts bucket_of(const struct place *p);
struct ropefs *open_with_bucket(const struct place *p);
uint64_t put_file(struct ropefs *fs, const char *name, uint64_t seed, size_t n);
/* So many that their pages fill a segment. */
void put_many(struct ropefs *fs);
int read_file(struct ropefs *fs, const char *name, uint64_t seed, size_t n);
struct ropefs_remote_status status_of(struct ropefs *fs);
unsigned problems_of(struct ropefs *fs);
int clone_to(const struct place *p, bool take_over);
/* A new clone has this file. */
void ck_clone_has(const struct place *p, const char *name, uint64_t seed, size_t n);
void ck_store_is_sound(const struct place *p, const char *store);

/* For main, of suites that are no test of the disk: their stores are in memory, if it can be
 * written. */
TCase *remote_tcase(const char *name);

#endif
