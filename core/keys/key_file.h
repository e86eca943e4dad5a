/* key_file.h - a key file in memory. Private to core/keys. */
#ifndef ROPEFS_KEYS_KEY_FILE_H
#define ROPEFS_KEYS_KEY_FILE_H

#include "core/keys/keys.h"

struct key_file { /* in secret memory */
	uint8_t key[AEAD_KEY_BYTES];
	uint8_t store_id[STORE_ID_BYTES];
};

#endif
