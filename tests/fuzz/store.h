/* store.h - a small store on a simulated disk, the same in every run, and its keys. Its cipher is
 * `none`: what is sealed lies there as it is, so that mutations of it mean something. */
#ifndef ROPEFS_TESTS_FUZZ_STORE_H
#define ROPEFS_TESTS_FUZZ_STORE_H

#include "core/io/io_sim.h"
#include "core/store_priv.h"
#include "tests/fuzz/fuzz.h"

/* Its keys; all below needs them once. */
const struct keys *fuzz_keys(void);
/* A copy of the store's disk, the caller's. */
struct io *fuzz_disk(void);
/* Opens the store on it, which takes io over; NULL: it does not open, and io is the caller's. */
struct ropefs *fuzz_open(struct io *io, bool read_only);
/* Opens the store on io, which goes: checks it, reads all it shows, and changes it. */
void fuzz_use(struct io *io);
/* The LSN of its checkpoint: the log goes on behind it. */
uint64_t fuzz_lsn(void);
void fuzz_put_file(struct io *io, const char *name, const void *p, size_t n);

#endif
