/* keys.c - the master key of a store and what is derived from it.
 *
 *	key file ──unwraps──▶ master ──crypto_kdf──▶ purpose key ──BLAKE2b(salt)──▶ sealing key
 *
 * Invariants:
 *  1. The wrapping is XChaCha20-Poly1305 with a random nonce whatever the store's cipher,
 *     and its AAD binds store id and cipher, so that neither can be changed below a key.
 *  2. Only KEY_PAGE is used without a salt: its nonces are random. */
#include "core/keys/keys.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "core/base/err.h"
#include "core/base/le.h"
#include "core/keys/key_file.h"
#include "core/keys/secret.h"

#define KDF_CONTEXT "ropefs01" /* crypto_kdf_CONTEXTBYTES of it */
#define WRAP_LABEL  "ropefs master key 1"

static_assert(crypto_kdf_KEYBYTES == AEAD_KEY_BYTES, "a master is a kdf key");
static_assert(sizeof(KDF_CONTEXT) - 1 == crypto_kdf_CONTEXTBYTES, "kdf context");
static_assert(crypto_sign_BYTES == SIGN_BYTES, "signature");
static_assert(crypto_sign_PUBLICKEYBYTES == SIGN_PUBLIC_BYTES, "public key");
static_assert(crypto_generichash_KEYBYTES >= KEY_SALT_BYTES, "salted keys");

struct keys { /* in secret memory */
	uint8_t master[AEAD_KEY_BYTES];
	uint8_t sign[crypto_sign_SECRETKEYBYTES];
	uint8_t name[crypto_shorthash_siphash24_KEYBYTES];
	uint8_t sign_public[SIGN_PUBLIC_BYTES];
	uint8_t store_id[STORE_ID_BYTES];
	enum cipher cipher;
};

struct wrap_aad {
	char label[sizeof(WRAP_LABEL)];
	uint8_t store_id[STORE_ID_BYTES];
	uint8_t cipher;
};

int keys_init_library(void)
{
	return sodium_init() < 0 ? -EIO : 0;
}

static void derive(const struct keys *k, enum key_purpose purpose, uint8_t *out, size_t n)
{
	crypto_kdf_derive_from_key(out, n, (uint64_t)purpose, KDF_CONTEXT, k->master);
}

/* Everything that hangs on k->master. */
static void fill_derived(struct keys *k)
{
	uint8_t seed[crypto_sign_SEEDBYTES];

	derive(k, KEY_NAME, k->name, sizeof(k->name));
	derive(k, KEY_SIGN, seed, sizeof(seed));
	crypto_sign_seed_keypair(k->sign_public, k->sign, seed);
	sodium_memzero(seed, sizeof(seed));
}

static int keys_alloc(enum cipher cipher, const uint8_t store_id[STORE_ID_BYTES],
		      struct keys **ret)
{
	void *p;
	int r;

	r = cipher_need(cipher);
	if (r < 0)
		return r;
	r = secret_new(align_up(sizeof(struct keys), 16), &p);
	if (r < 0)
		return r;
	*ret = p;
	(*ret)->cipher = cipher;
	memcpy((*ret)->store_id, store_id, STORE_ID_BYTES);
	return 0;
}

static struct wrap_aad wrap_aad(const struct keys *k)
{
	struct wrap_aad aad = { .label = WRAP_LABEL, .cipher = (uint8_t)k->cipher };

	memcpy(aad.store_id, k->store_id, STORE_ID_BYTES);
	return aad;
}

static int wrap(const struct key_file *kf, const struct keys *k, uint8_t *out)
{
	struct wrap_aad aad = wrap_aad(k);
	struct aead *a;
	struct nonce nonce;
	int r;

	r = aead_new(CIPHER_XCHACHA20, kf->key, &a);
	if (r < 0)
		return r;
	randombytes_buf(nonce.b, sizeof(nonce.b));
	memcpy(out, nonce.b, AEAD_NONCE_BYTES);
	aead_seal(a, &nonce, span_of(&aad, sizeof(aad)), k->master, AEAD_KEY_BYTES,
		  out + AEAD_NONCE_BYTES, out + AEAD_NONCE_BYTES + AEAD_KEY_BYTES);
	aead_free(a);
	return 0;
}

static int unwrap(const struct key_file *kf, struct keys *k, const uint8_t *wrapped)
{
	struct wrap_aad aad = wrap_aad(k);
	struct aead *a;
	struct nonce nonce;
	int r;

	r = aead_new(CIPHER_XCHACHA20, kf->key, &a);
	if (r < 0)
		return r;
	memcpy(nonce.b, wrapped, AEAD_NONCE_BYTES);
	r = aead_open(a, &nonce, span_of(&aad, sizeof(aad)), wrapped + AEAD_NONCE_BYTES,
		      AEAD_KEY_BYTES, wrapped + AEAD_NONCE_BYTES + AEAD_KEY_BYTES,
		      k->master);
	aead_free(a);
	return r;
}

static int wrong_key(const struct key_file *kf, const uint8_t store_id[STORE_ID_BYTES])
{
	char want[2 * STORE_ID_BYTES + 1], got[2 * STORE_ID_BYTES + 1];

	sodium_bin2hex(want, sizeof(want), store_id, STORE_ID_BYTES);
	sodium_bin2hex(got, sizeof(got), kf->store_id, STORE_ID_BYTES);
	if (!strcmp(want, got))
		return err_set(E_WRONG_KEY,
			       "the key file names store %s but its key does not "
			       "open it: find the key file made with this store",
			       want);
	return err_set(E_WRONG_KEY,
		       "the key file belongs to store %s, this is store %s: give "
		       "the key file of this store",
		       got, want);
}

static bool same_store(const struct key_file *kf, const uint8_t store_id[STORE_ID_BYTES])
{
	return memcmp(kf->store_id, store_id, STORE_ID_BYTES) == 0;
}

int keys_create(const struct key_file *kf, enum cipher cipher,
		const uint8_t store_id[STORE_ID_BYTES],
		uint8_t ret_wrapped[WRAPPED_KEY_BYTES], struct keys **ret)
{
	_cleanup_(secret_freep) struct keys *k = NULL;
	uint8_t wrapped[WRAPPED_KEY_BYTES];
	int r;

	assert(kf && store_id);
	assert(ret_wrapped && ret);
	if (!same_store(kf, store_id))
		return wrong_key(kf, store_id);
	r = keys_alloc(cipher, store_id, &k);
	if (r < 0)
		return r;
	crypto_kdf_keygen(k->master);
	fill_derived(k);
	r = wrap(kf, k, wrapped);
	if (r < 0)
		return r;
	memcpy(ret_wrapped, wrapped, sizeof(wrapped));
	*ret = k;
	k = NULL;
	return 0;
}

int keys_open(const struct key_file *kf, enum cipher cipher,
	      const uint8_t store_id[STORE_ID_BYTES],
	      const uint8_t wrapped[WRAPPED_KEY_BYTES], struct keys **ret)
{
	_cleanup_(secret_freep) struct keys *k = NULL;
	int r;

	assert(kf && store_id);
	assert(wrapped && ret);
	if (!same_store(kf, store_id))
		return wrong_key(kf, store_id);
	r = keys_alloc(cipher, store_id, &k);
	if (r < 0)
		return r;
	r = unwrap(kf, k, wrapped);
	if (r == -EBADMSG)
		return wrong_key(kf, store_id);
	if (r < 0)
		return r;
	fill_derived(k);
	*ret = k;
	k = NULL;
	return 0;
}

int keys_for_test(enum cipher cipher, struct keys **ret)
{
	static const uint8_t store_id[STORE_ID_BYTES] = "ropefs test id.";
	struct keys *k;
	int r;

	r = keys_init_library();
	if (r < 0)
		return r;
	r = keys_alloc(cipher, store_id, &k);
	if (r < 0)
		return r;
	memset(k->master, 0x5a, sizeof(k->master));
	fill_derived(k);
	*ret = k;
	return 0;
}

struct keys *keys_free(struct keys *k)
{
	return secret_free(k);
}

int keys_aead(const struct keys *k, enum key_purpose purpose,
	      const uint8_t salt[KEY_SALT_BYTES], struct aead **ret)
{
	uint8_t key[AEAD_KEY_BYTES];
	int r;

	assert(k);
	assert((salt == NULL) == (purpose == KEY_PAGE));
	derive(k, purpose, key, sizeof(key));
	if (salt) {
		uint8_t salted[AEAD_KEY_BYTES];

		crypto_generichash(salted, sizeof(salted), salt, KEY_SALT_BYTES, key,
				   sizeof(key));
		memcpy(key, salted, sizeof(key));
		sodium_memzero(salted, sizeof(salted));
	}
	r = aead_new(k->cipher, key, ret);
	sodium_memzero(key, sizeof(key));
	return r;
}

uint64_t keys_name_hash(const struct keys *k, struct span name)
{
	le64 hash;

	static_assert(sizeof(hash) == crypto_shorthash_siphash24_BYTES, "hash");
	crypto_shorthash_siphash24(hash.b, name.p, name.n, k->name);
	return le64_get(hash);
}

const uint8_t *keys_store_id(const struct keys *k)
{
	return k->store_id;
}

void keys_sign(const struct keys *k, struct span message, uint8_t sig[SIGN_BYTES])
{
	crypto_sign_detached(sig, NULL, message.p, message.n, k->sign);
}

void keys_public(const struct keys *k, uint8_t ret_public[SIGN_PUBLIC_BYTES])
{
	memcpy(ret_public, k->sign_public, SIGN_PUBLIC_BYTES);
}

int sign_verify(const uint8_t public_key[SIGN_PUBLIC_BYTES], struct span message,
		const uint8_t sig[SIGN_BYTES])
{
	return crypto_sign_verify_detached(sig, message.p, message.n, public_key)
		       ? -EBADMSG
		       : 0;
}

void hash256(struct span message, uint8_t ret_hash[32])
{
	crypto_generichash(ret_hash, 32, message.p, message.n, NULL, 0);
}
