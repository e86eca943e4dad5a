#include "tests/lib/sim_store.h"

#include <stdio.h>

#include "tests/lib/suite.h"

static const uint8_t store_id[STORE_ID_BYTES] = { 7 };

const char *sim_key_path(void)
{
	static char path[4200];

	if (!*path) {
		snprintf(path, sizeof(path), "%s/key", suite_tmpdir());
		ck_ok(keys_init_library());
		ck_ok(key_file_create(path, store_id));
	}
	return path;
}

void sim_store_init(struct io *io, struct key_file **ret_kf)
{
	ck_ok(key_file_read(sim_key_path(), ret_kf));
	ck_ok(store_init(io, *ret_kf, CIPHER_XCHACHA20, store_id));
}

void sim_store_new(uint64_t seed, struct io **ret_io, struct key_file **ret_kf)
{
	ck_ok(io_sim_new(seed, ret_io));
	sim_store_init(*ret_io, ret_kf);
}
