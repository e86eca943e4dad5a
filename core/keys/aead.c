/* aead.c - the three ciphers behind one key object.
 *
 * AES-256-GCM has nonces of 12 bytes, too short to be drawn at random for ever. So the 24 are
 * split: when the first 12 are zeros (a counter) the key itself is used with the last 12;
 * otherwise the first 12 make a key of their own, by keyed BLAKE2b, for the last 12. */
#include "core/keys/aead.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "core/base/err.h"
#include "core/base/le.h"
#include "core/keys/secret.h"
#include "core/keys/xchacha.h"

#define GCM_NONCE_BYTES	 12
#define GCM_PREFIX_BYTES (AEAD_NONCE_BYTES - GCM_NONCE_BYTES)

static_assert(crypto_aead_xchacha20poly1305_ietf_KEYBYTES == AEAD_KEY_BYTES, "key");
static_assert(crypto_aead_xchacha20poly1305_ietf_NPUBBYTES == AEAD_NONCE_BYTES, "nonce");
static_assert(crypto_aead_xchacha20poly1305_ietf_ABYTES == AEAD_TAG_BYTES, "tag");
static_assert(crypto_aead_aes256gcm_KEYBYTES == AEAD_KEY_BYTES, "key");
static_assert(crypto_aead_aes256gcm_NPUBBYTES == GCM_NONCE_BYTES, "nonce");
static_assert(crypto_aead_aes256gcm_ABYTES == AEAD_TAG_BYTES, "tag");

struct aead {
	crypto_aead_aes256gcm_state gcm; /* key schedule, CIPHER_AES256GCM only */
	uint8_t key[AEAD_KEY_BYTES];
	enum cipher cipher;
};

static const struct {
	enum cipher cipher;
	const char *word;
} names[] = {
	{ CIPHER_XCHACHA20, "xchacha20-poly1305" },
	{ CIPHER_AES256GCM, "aes256-gcm" },
	{ CIPHER_NONE, "none" },
};

struct nonce nonce_counter(uint64_t n)
{
	struct nonce nonce = { 0 };

	be64_store(nonce.b + AEAD_NONCE_BYTES - 8, n);
	return nonce;
}

int cipher_parse(const char *word, enum cipher *ret)
{
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (strcmp(word, names[i].word))
			continue;
		*ret = names[i].cipher;
		return 0;
	}
	return -EINVAL;
}

const char *cipher_name(enum cipher cipher)
{
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (names[i].cipher == cipher)
			return names[i].word;
	return "unknown";
}

bool cipher_available(enum cipher cipher)
{
	if (cipher == CIPHER_AES256GCM)
		return crypto_aead_aes256gcm_is_available();
	return cipher == CIPHER_XCHACHA20 || cipher == CIPHER_NONE;
}

int cipher_need(enum cipher cipher)
{
	if (cipher_available(cipher))
		return 0;
	return err_set(E_CIPHER,
		       "cipher %s (%d) can't be used on this machine: open the store "
		       "on one that has it, or make a store with xchacha20-poly1305",
		       cipher_name(cipher), (int)cipher);
}

int aead_new(enum cipher cipher, const uint8_t key[AEAD_KEY_BYTES], struct aead **ret)
{
	struct aead *a;
	void *p;
	int r;

	assert(key);
	assert(ret);
	r = cipher_need(cipher);
	if (r < 0)
		return r;
	r = secret_new(sizeof(*a), &p);
	if (r < 0)
		return r;
	a = p;
	memcpy(a->key, key, AEAD_KEY_BYTES);
	a->cipher = cipher;
	if (cipher == CIPHER_AES256GCM)
		crypto_aead_aes256gcm_beforenm(&a->gcm, key);
	*ret = a;
	return 0;
}

struct aead *aead_free(struct aead *a)
{
	return secret_free(a);
}

/* The schedule for this nonce: the object's own, or one made into *sub. */
static const crypto_aead_aes256gcm_state *gcm_schedule(const struct aead *a,
						       const struct nonce *nonce,
						       crypto_aead_aes256gcm_state *sub)
{
	static const uint8_t personal[crypto_generichash_blake2b_PERSONALBYTES] =
		"ropefs gcm";
	uint8_t key[AEAD_KEY_BYTES];

	if (sodium_is_zero(nonce->b, GCM_PREFIX_BYTES))
		return &a->gcm;
	crypto_generichash_blake2b_salt_personal(key, sizeof(key), nonce->b,
						 GCM_PREFIX_BYTES, a->key, AEAD_KEY_BYTES,
						 NULL, personal);
	crypto_aead_aes256gcm_beforenm(sub, key);
	sodium_memzero(key, sizeof(key));
	return sub;
}

static void gcm_seal(const struct aead *a, const struct nonce *nonce, struct span aad,
		     const uint8_t *in, size_t n, uint8_t *out, uint8_t *tag)
{
	crypto_aead_aes256gcm_state sub;
	const crypto_aead_aes256gcm_state *state = gcm_schedule(a, nonce, &sub);

	crypto_aead_aes256gcm_encrypt_detached_afternm(
		out, tag, NULL, in, n, aad.p, aad.n, NULL, nonce->b + GCM_PREFIX_BYTES,
		state);
	if (state == &sub)
		sodium_memzero(&sub, sizeof(sub));
}

static int gcm_open(const struct aead *a, const struct nonce *nonce, struct span aad,
		    const uint8_t *in, size_t n, const uint8_t *tag, uint8_t *out)
{
	crypto_aead_aes256gcm_state sub;
	const crypto_aead_aes256gcm_state *state = gcm_schedule(a, nonce, &sub);
	int r;

	r = crypto_aead_aes256gcm_decrypt_detached_afternm(
		out, NULL, in, n, tag, aad.p, aad.n, nonce->b + GCM_PREFIX_BYTES, state);
	if (state == &sub)
		sodium_memzero(&sub, sizeof(sub));
	return r;
}

/* CIPHER_NONE: the length of aad keeps aad and bytes apart. */
static void plain_tag(const struct aead *a, const struct nonce *nonce, struct span aad,
		      const uint8_t *in, size_t n, uint8_t *tag)
{
	le64 aad_bytes = le64_put(aad.n);
	crypto_generichash_state state;

	crypto_generichash_init(&state, a->key, AEAD_KEY_BYTES, AEAD_TAG_BYTES);
	crypto_generichash_update(&state, nonce->b, AEAD_NONCE_BYTES);
	crypto_generichash_update(&state, aad_bytes.b, sizeof(aad_bytes));
	crypto_generichash_update(&state, aad.p, aad.n);
	crypto_generichash_update(&state, in, n);
	crypto_generichash_final(&state, tag, AEAD_TAG_BYTES);
	sodium_memzero(&state, sizeof(state));
}

static int plain_open(const struct aead *a, const struct nonce *nonce, struct span aad,
		      const uint8_t *in, size_t n, const uint8_t *tag, uint8_t *out)
{
	uint8_t want[AEAD_TAG_BYTES];

	plain_tag(a, nonce, aad, in, n, want);
	if (crypto_verify_16(want, tag) != 0)
		return -1;
	if (n > 0)
		memmove(out, in, n);
	return 0;
}

void aead_seal(const struct aead *a, const struct nonce *nonce, struct span aad,
	       const uint8_t *in, size_t n, uint8_t *out, uint8_t tag[AEAD_TAG_BYTES])
{
	uint8_t nothing[1] = { 0 }; /* libsodium's pointers are never NULL */

	assert(a && nonce && tag);
	assert(n == 0 || (in && out));
	if (n == 0)
		in = out = nothing;
	switch (a->cipher) {
	case CIPHER_XCHACHA20:
		if (!xchacha_seal(a->key, nonce, aad, in, n, out, tag))
			crypto_aead_xchacha20poly1305_ietf_encrypt_detached(
				out, tag, NULL, in, n, aad.p, aad.n, NULL, nonce->b,
				a->key);
		break;
	case CIPHER_AES256GCM:
		gcm_seal(a, nonce, aad, in, n, out, tag);
		break;
	case CIPHER_NONE:
		plain_tag(a, nonce, aad, in, n, tag);
		if (n > 0)
			memmove(out, in, n);
		break;
	}
}

int aead_open(const struct aead *a, const struct nonce *nonce, struct span aad,
	      const uint8_t *in, size_t n, const uint8_t tag[AEAD_TAG_BYTES],
	      uint8_t *out)
{
	uint8_t nothing[1] = { 0 }; /* libsodium's pointers are never NULL */
	int r = -1;

	assert(a && nonce && tag);
	assert(n == 0 || (in && out));
	if (n == 0)
		in = out = nothing;
	switch (a->cipher) {
	case CIPHER_XCHACHA20:
		if (!xchacha_open(a->key, nonce, aad, in, n, tag, out, &r))
			r = crypto_aead_xchacha20poly1305_ietf_decrypt_detached(
				out, NULL, in, n, tag, aad.p, aad.n, nonce->b, a->key);
		break;
	case CIPHER_AES256GCM:
		r = gcm_open(a, nonce, aad, in, n, tag, out);
		break;
	case CIPHER_NONE:
		r = plain_open(a, nonce, aad, in, n, tag, out);
		break;
	}
	if (r == 0)
		return 0;
	if (n > 0)
		memset(out, 0, n);
	return -EBADMSG;
}
