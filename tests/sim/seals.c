/* seals.c - stands in for a few functions of the engine's keys (the linker's --wrap and symbol
 * order do it): sealing is watched for a key and nonce that seal two texts; keys lie in plain
 * memory, and signatures are checked once, because worlds open stores thousands of times a
 * second. */
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "core/keys/aead.h"
#include "core/keys/secret.h"
#include "tests/sim/world.h"

/* --- secret.h, without locked pages --- */

struct secret {
	size_t n;
	uint8_t p[] __attribute__((aligned(16)));
};

int secret_new(size_t n, void **ret)
{
	struct secret *s = calloc(1, sizeof(*s) + n);

	if (!s)
		return -ENOMEM;
	s->n = n;
	*ret = s->p;
	return 0;
}

int secret_probe(void)
{
	return 0;
}

void *secret_free(void *p)
{
	if (p)
		free(container_of((uint8_t(*)[])p, struct secret, p));
	return NULL;
}

void secret_freep(void *p)
{
	secret_free(*(void **)p);
}

/* Of a key object: all of its memory, whatever lies where. */
static struct span secret_span(const void *p)
{
	const struct secret *s = container_of((const uint8_t(*)[])p, struct secret, p);

	return span_of(s->p, s->n);
}

/* --- what was sealed: key and nonce, and a digest of the text --- */

#define SEALS (1u << 18) /* an old one is forgotten for a new one in its place */

static struct seal {
	uint64_t who[2], what;
} * seals;
static uint64_t repeated;

static bool unwatched;

void seals_watch(bool on)
{
	unwatched = !on;
}

void seals_forget(void)
{
	if (seals)
		memset(seals, 0, SEALS * sizeof(*seals));
}

uint64_t seals_repeated(void)
{
	return repeated;
}

static void hash128(uint64_t ret[2], struct span a, struct span b)
{
	static const uint8_t key[crypto_shorthash_siphashx24_KEYBYTES] =
		"of seals in simu";
	uint64_t both[4];

	static_assert(sizeof(both) == 2 * crypto_shorthash_siphashx24_BYTES, "digests");
	crypto_shorthash_siphashx24((uint8_t *)both, a.p, a.n, key);
	crypto_shorthash_siphashx24((uint8_t *)(both + 2), b.p, b.n, key);
	crypto_shorthash_siphashx24((uint8_t *)ret, (uint8_t *)both, sizeof(both), key);
}

static void note_seal(const struct aead *a, const struct nonce *nonce, struct span aad,
		      const uint8_t *in, size_t n)
{
	static const uint8_t key[crypto_shorthash_siphash24_KEYBYTES] =
		"of texts in simu";
	uint64_t who[2], text[2] = { 0 };
	struct seal *s;

	if (!seals)
		seals = calloc(SEALS, sizeof(*seals));
	hash128(who, secret_span(a), span_of(nonce, sizeof(*nonce)));
	crypto_shorthash_siphash24((uint8_t *)&text[0], in, n, key);
	crypto_shorthash_siphash24((uint8_t *)&text[1], aad.p, aad.n, key);
	text[0] ^= text[1] * 3;
	s = &seals[who[0] % SEALS];
	if (s->who[0] == who[0] && s->who[1] == who[1])
		repeated += s->what != text[0];
	else
		*s = (struct seal) { { who[0], who[1] }, text[0] };
}

void __real_aead_seal(const struct aead *a, const struct nonce *nonce, struct span aad,
		      const uint8_t *in, size_t n, uint8_t *out, uint8_t *tag);
void __wrap_aead_seal(const struct aead *a, const struct nonce *nonce, struct span aad,
		      const uint8_t *in, size_t n, uint8_t *out, uint8_t *tag);

void __wrap_aead_seal(const struct aead *a, const struct nonce *nonce, struct span aad,
		      const uint8_t *in, size_t n, uint8_t *out, uint8_t *tag)
{
	if (!unwatched)
		note_seal(a, nonce, aad, in, n);
	__real_aead_seal(a, nonce, aad, in, n, out, tag);
}

/* --- signatures: each pair of keys is made, each good signature checked, once --- */

int __real_crypto_sign_seed_keypair(uint8_t *pk, uint8_t *sk, const uint8_t *seed);
int __wrap_crypto_sign_seed_keypair(uint8_t *pk, uint8_t *sk, const uint8_t *seed);

int __wrap_crypto_sign_seed_keypair(uint8_t *pk, uint8_t *sk, const uint8_t *seed)
{
	static uint8_t last[crypto_sign_SEEDBYTES], pair[crypto_sign_PUBLICKEYBYTES],
		secret[crypto_sign_SECRETKEYBYTES];
	static bool made;

	if (!made || memcmp(last, seed, sizeof(last))) {
		__real_crypto_sign_seed_keypair(pair, secret, seed);
		memcpy(last, seed, sizeof(last));
		made = true;
	}
	memcpy(pk, pair, sizeof(pair));
	memcpy(sk, secret, sizeof(secret));
	return 0;
}

int __real_crypto_sign_verify_detached(const uint8_t *sig, const uint8_t *m,
				       unsigned long long n, const uint8_t *pk);
int __wrap_crypto_sign_verify_detached(const uint8_t *sig, const uint8_t *m,
				       unsigned long long n, const uint8_t *pk);

int __wrap_crypto_sign_verify_detached(const uint8_t *sig, const uint8_t *m,
				       unsigned long long n, const uint8_t *pk)
{
	static struct {
		uint64_t who[2];
	} good[4096];
	uint8_t all[64 + 32];
	uint64_t who[2], slot;

	memcpy(all, sig, 64);
	memcpy(all + 64, pk, 32);
	hash128(who, span_of(all, sizeof(all)), span_of(m, (size_t)n));
	slot = who[0] % ARRAY_LEN(good);
	if (!memcmp(good[slot].who, who, sizeof(who)))
		return 0;
	if (__real_crypto_sign_verify_detached(sig, m, n, pk) != 0)
		return -1;
	memcpy(good[slot].who, who, sizeof(who));
	return 0;
}
