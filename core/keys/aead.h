/* aead.h - sealing and opening of bytes at rest, by libsodium (many bytes: see xchacha.h).
 *
 * CIPHER_NONE does not hide anything but still authenticates: its tag is a keyed BLAKE2b of
 * nonce, aad and bytes, so that every other rule (a page's tag in its parent, EIO for a
 * flipped bit) holds for it too. */
#ifndef ROPEFS_KEYS_AEAD_H
#define ROPEFS_KEYS_AEAD_H

#include "core/base/buf.h"

#define AEAD_KEY_BYTES	 32
#define AEAD_TAG_BYTES	 16
#define AEAD_NONCE_BYTES 24

enum cipher { /* values are on disk */
	      CIPHER_XCHACHA20 = 1, /* XChaCha20-Poly1305 */
	      CIPHER_AES256GCM = 2, /* a key by BLAKE2b for each random nonce */
	      CIPHER_NONE = 3,
};

struct aead; /* one key and its cipher, in locked memory that is wiped when freed */

struct nonce {
	uint8_t b[AEAD_NONCE_BYTES];
};

/* A nonce that is a number: for keys that seal each number once (a pack's, a segment's). */
struct nonce nonce_counter(uint64_t n);

/* 0, -E_CIPHER (this CPU lacks it), -ENOMEM. Copies key. */
int aead_new(enum cipher cipher, const uint8_t key[AEAD_KEY_BYTES], struct aead **ret);
struct aead *aead_free(struct aead *a); /* NULL is fine; returns NULL */

/* out may be the same bytes as in. A (key, nonce) pair must never seal two plaintexts. */
void aead_seal(const struct aead *a, const struct nonce *nonce, struct span aad,
	       const uint8_t *in, size_t n, uint8_t *out, uint8_t tag[AEAD_TAG_BYTES]);
/* 0, or -EBADMSG with out zeroed when anything does not verify. out may be in. */
int aead_open(const struct aead *a, const struct nonce *nonce, struct span aad,
	      const uint8_t *in, size_t n, const uint8_t tag[AEAD_TAG_BYTES],
	      uint8_t *out);

/* "xchacha20-poly1305", "aes256-gcm", "none"; -EINVAL for another word. */
int cipher_parse(const char *word, enum cipher *ret);
const char *cipher_name(enum cipher cipher);
bool cipher_available(enum cipher cipher);
int cipher_need(enum cipher cipher); /* 0, or -E_CIPHER when not available */

#endif
