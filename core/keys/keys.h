/* keys.h - one random master key a store, and every other key derived from it
 * (crypto_kdf, one sub-key id a purpose). Keys live in sodium_malloc memory, locked (secret.h);
 * they never reach argv, logs or cores.
 *
 * The master key is kept in the store's header, wrapped by the key of the key file, which
 * lies outside the store; so a key file can be replaced without rewriting the store. */
#ifndef ROPEFS_KEYS_KEYS_H
#define ROPEFS_KEYS_KEYS_H

#include "core/io/io.h"
#include "core/keys/aead.h"

#define STORE_ID_BYTES	  16
#define KEY_SALT_BYTES	  16
#define SIGN_PUBLIC_BYTES 32
#define SIGN_BYTES	  64
#define WRAPPED_KEY_BYTES (AEAD_NONCE_BYTES + AEAD_KEY_BYTES + AEAD_TAG_BYTES)

enum key_purpose { /* sub-key ids: never renumber */
		   KEY_PAGE = 1, /* pages and superblocks, random nonces */
		   KEY_WAL = 2, /* with a segment's salt: one segment incarnation */
		   KEY_PACK = 3, /* with a pack's salt: one pack */
		   KEY_NAME = 4, /* keyed hash of directory names */
		   KEY_SIGN = 5, /* Ed25519 seed */
		   KEY_MANIFEST =
			   6, /* with a manifest's salt: one manifest in a bucket */
		   KEY_REMOTE =
			   7, /* with its salt: where the bucket is, and its credentials */
		   KEY_SCRUB = 8, /* with its salt: how far a scrub is */
		   KEY_WATCH = 71, /* with its salt: until when a bucket is looked at */
};

struct keys;

/* Must be called once before anything else here; 0 or -EIO (libsodium cannot start). */
int keys_init_library(void);

/* Key files: three lines of text, "ropefs-key 1", "store HEX", "key BASE64".
 * create: random key, mode 0600, directories made 0700, fsynced; -EEXIST if it is there.
 * read: -E_KEY_FILE (with a sentence that names the file and the remedy) when missing,
 * not ours, not a regular file, readable or writable by group or others, or malformed. */
int key_file_create(const char *path, const uint8_t store_id[STORE_ID_BYTES]);
struct key_file;
int key_file_read(const char *path, struct key_file **ret);
struct key_file *key_file_free(struct key_file *kf);
/* Where it is when nobody says: $XDG_CONFIG_HOME/ropefs or ~/.config/ropefs for users,
 * /etc/ropefs for root; then "/HEX-OF-STORE-ID.key". Caller frees *ret_path. */
int key_file_default_path(const uint8_t store_id[STORE_ID_BYTES], char **ret_path);

/* Makes a new random master and gives it wrapped by kf, for the header. */
int keys_create(const struct key_file *kf, enum cipher cipher,
		const uint8_t store_id[STORE_ID_BYTES],
		uint8_t ret_wrapped[WRAPPED_KEY_BYTES], struct keys **ret);
/* -E_WRONG_KEY when kf does not open it; -E_CIPHER. */
int keys_open(const struct key_file *kf, enum cipher cipher,
	      const uint8_t store_id[STORE_ID_BYTES],
	      const uint8_t wrapped[WRAPPED_KEY_BYTES], struct keys **ret);
/* Fixed keys for tests that run below the store layer. */
int keys_for_test(enum cipher cipher, struct keys **ret);
struct keys *keys_free(struct keys *k);

/* The sealing key of a purpose; salt is NULL for KEY_PAGE. Caller frees. */
int keys_aead(const struct keys *k, enum key_purpose purpose,
	      const uint8_t salt[KEY_SALT_BYTES], struct aead **ret);
/* SipHash-2-4 of a directory name, keyed, so that collisions can't be prepared. */
uint64_t keys_name_hash(const struct keys *k, struct span name);
const uint8_t *keys_store_id(const struct keys *k); /* STORE_ID_BYTES */

void keys_sign(const struct keys *k, struct span message, uint8_t sig[SIGN_BYTES]);
void keys_public(const struct keys *k, uint8_t ret_public[SIGN_PUBLIC_BYTES]);
/* 0 or -EBADMSG. */
int sign_verify(const uint8_t public_key[SIGN_PUBLIC_BYTES], struct span message,
		const uint8_t sig[SIGN_BYTES]);
/* BLAKE2b-256 of a message. */
void hash256(struct span message, uint8_t ret_hash[32]);

#endif
