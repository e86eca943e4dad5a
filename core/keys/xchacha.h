/* xchacha.h - XChaCha20-Poly1305 of many bytes, by libcrypto.
 *
 * It gives the same bytes as libsodium, three times as fast where a CPU has wide vectors (and on
 * ARM, for which libsodium has none); setting it up takes longer, so that short ones stay with
 * libsodium. HChaCha20 turns key and nonce into those of ChaCha20-Poly1305 (RFC 8439;
 * draft-irtf-cfrg-xchacha-03, section 2.3). The key that is made so is in ordinary memory while
 * the call lasts, and wiped; it opens one sealed unit. */
#ifndef ROPEFS_KEYS_XCHACHA_H
#define ROPEFS_KEYS_XCHACHA_H

#include "core/keys/aead.h"

/* n bytes at in become n at out (which may be in) and a tag. false: not done, nothing is written;
 * libsodium has to do it (few bytes, no memory, a libcrypto without this cipher). */
bool xchacha_seal(const uint8_t key[AEAD_KEY_BYTES], const struct nonce *nonce,
		  struct span aad, const uint8_t *in, size_t n, uint8_t *out,
		  uint8_t tag[AEAD_TAG_BYTES]);
/* Likewise. *ret: 0, or -1 when it does not verify; then out is of no use. */
bool xchacha_open(const uint8_t key[AEAD_KEY_BYTES], const struct nonce *nonce,
		  struct span aad, const uint8_t *in, size_t n,
		  const uint8_t tag[AEAD_TAG_BYTES], uint8_t *out, int *ret);

#endif
