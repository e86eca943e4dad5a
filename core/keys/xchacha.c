#include "core/keys/xchacha.h"

#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

enum {
	FEWEST = 2048, /* below, setting up takes longer than is won */
	NONCE_BYTES = 12, /* of ChaCha20-Poly1305 */
	SUBKEY_NONCE_BYTES =
		crypto_core_hchacha20_INPUTBYTES, /* the nonce's first ones */
};

static_assert(AEAD_NONCE_BYTES - SUBKEY_NONCE_BYTES == NONCE_BYTES - 4, "XChaCha20");

static EVP_CIPHER *cipher; /* NULL: there is none */

/* A context of our own: neither the machine's configuration of OpenSSL nor what else in this
 * program uses it changes what the store does. */
static void find_cipher(void)
{
	OSSL_LIB_CTX *context;

	OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT | OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
	ERR_set_mark();
	context = OSSL_LIB_CTX_new();
	if (context)
		cipher = EVP_CIPHER_fetch(context, "ChaCha20-Poly1305", NULL);
	ERR_pop_to_mark();
}

static bool is_for_us(struct span aad, size_t n)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	if (n < FEWEST || n > INT_MAX || aad.n > INT_MAX)
		return false;
	pthread_once(&once, find_cipher);
	return cipher;
}

/* With what the nonce makes of the key. NULL: no memory. */
static EVP_CIPHER_CTX *begin(const uint8_t *key, const struct nonce *nonce, bool seal)
{
	EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	uint8_t subkey[AEAD_KEY_BYTES], rest[NONCE_BYTES] = { 0 };
	int ok;

	if (!c)
		return NULL;
	crypto_core_hchacha20(subkey, nonce->b, key, NULL);
	memcpy(rest + 4, nonce->b + SUBKEY_NONCE_BYTES, NONCE_BYTES - 4);
	ok = EVP_CipherInit_ex2(c, cipher, subkey, rest, seal, NULL);
	sodium_memzero(subkey, sizeof(subkey));
	if (ok == 1)
		return c;
	EVP_CIPHER_CTX_free(c);
	return NULL;
}

/* All but the last step. It allocates nothing, so that it can't fail. */
static void update(EVP_CIPHER_CTX *c, struct span aad, const uint8_t *in, size_t n,
		   uint8_t *out)
{
	int made, ok = 1;

	if (aad.n > 0)
		ok = EVP_CipherUpdate(c, NULL, &made, aad.p, (int)aad.n);
	if (ok == 1)
		ok = EVP_CipherUpdate(c, out, &made, in, (int)n);
	if (ok != 1 || (size_t)made != n)
		abort(); /* rather than half of it sealed in place */
}

bool xchacha_seal(const uint8_t key[AEAD_KEY_BYTES], const struct nonce *nonce,
		  struct span aad, const uint8_t *in, size_t n, uint8_t *out,
		  uint8_t tag[AEAD_TAG_BYTES])
{
	EVP_CIPHER_CTX *c;
	uint8_t none[1];
	int made;

	if (!is_for_us(aad, n))
		return false;
	ERR_set_mark();
	c = begin(key, nonce, true);
	ERR_pop_to_mark();
	if (!c)
		return false;
	update(c, aad, in, n, out);
	if (EVP_CipherFinal_ex(c, none, &made) != 1 ||
	    EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, AEAD_TAG_BYTES, tag) != 1)
		abort();
	EVP_CIPHER_CTX_free(c); /* which wipes it */
	return true;
}

bool xchacha_open(const uint8_t key[AEAD_KEY_BYTES], const struct nonce *nonce,
		  struct span aad, const uint8_t *in, size_t n,
		  const uint8_t tag[AEAD_TAG_BYTES], uint8_t *out, int *ret)
{
	EVP_CIPHER_CTX *c;
	uint8_t none[1], wanted[AEAD_TAG_BYTES];
	int made;

	if (!is_for_us(aad, n))
		return false;
	memcpy(wanted, tag, sizeof(wanted));
	ERR_set_mark();
	c = begin(key, nonce, false);
	if (c &&
	    EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_TAG, AEAD_TAG_BYTES, wanted) != 1) {
		EVP_CIPHER_CTX_free(c);
		c = NULL;
	}
	if (c) {
		update(c, aad, in, n, out);
		*ret = EVP_CipherFinal_ex(c, none, &made) == 1 ? 0 : -1;
		EVP_CIPHER_CTX_free(c);
	}
	ERR_pop_to_mark();
	return c;
}
