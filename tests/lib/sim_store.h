/* sim_store.h - a new store on a simulated disk, which nobody has opened yet. */
#ifndef ROPEFS_TESTS_LIB_SIM_STORE_H
#define ROPEFS_TESTS_LIB_SIM_STORE_H

#include "core/io/io_sim.h"
#include "core/store_priv.h"

/* The path of this process's key file, which is made at the first call. */
const char *sim_key_path(void);
/* Both are the caller's: the disk, until store_open() has it, and the key file read. */
void sim_store_new(uint64_t seed, struct io **ret_io, struct key_file **ret_kf);
/* The same on any disk. */
void sim_store_init(struct io *io, struct key_file **ret_kf);

#endif
