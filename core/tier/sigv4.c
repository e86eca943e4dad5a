#include "core/tier/sigv4.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "core/base/json.h"
#include "core/keys/secret.h"

#define ALGORITHM  "AWS4-HMAC-SHA256"
#define QUERY_MAX  16
#define DATE_CHARS 8

static_assert(crypto_hash_sha256_BYTES == SHA256_BYTES, "sha256");
static_assert(crypto_auth_hmacsha256_BYTES == SHA256_BYTES, "hmac");

static void hex(const uint8_t *p, char ret[SHA256_HEX])
{
	sodium_bin2hex(ret, SHA256_HEX, p, SHA256_BYTES);
}

void sha256_hex(struct span bytes, char ret[SHA256_HEX])
{
	uint8_t hash[SHA256_BYTES];

	crypto_hash_sha256(hash, bytes.p, bytes.n);
	hex(hash, ret);
}

struct sha256 {
	crypto_hash_sha256_state state;
};

int sha256_new(struct sha256 **ret)
{
	struct sha256 *h = malloc(sizeof(*h));

	if (!h)
		return -ENOMEM;
	crypto_hash_sha256_init(&h->state);
	*ret = h;
	return 0;
}

void sha256_add(struct sha256 *h, struct span bytes)
{
	crypto_hash_sha256_update(&h->state, bytes.p, bytes.n);
}

void sha256_end(struct sha256 *h, char ret[SHA256_HEX])
{
	uint8_t hash[SHA256_BYTES];

	crypto_hash_sha256_final(&h->state, hash);
	hex(hash, ret);
	free(h);
}

static void hmac(struct span key, struct span text, uint8_t ret[SHA256_BYTES])
{
	crypto_auth_hmacsha256_state s;

	crypto_auth_hmacsha256_init(&s, key.p, key.n);
	crypto_auth_hmacsha256_update(&s, text.p, text.n);
	crypto_auth_hmacsha256_final(&s, ret);
	sodium_memzero(&s, sizeof(s));
}

/* The key of a day, region and service. */
static int signing_key(const struct sigv4_keys *k, const char *date,
		       uint8_t ret[SHA256_BYTES])
{
	static const char head[] = "AWS4";
	size_t n = strlen(head) + strlen(k->secret_key);
	char *first = malloc(n); /* asprintf() would leave another copy behind */

	if (!first)
		return -ENOMEM;
	memcpy(first, head, strlen(head));
	memcpy(first + strlen(head), k->secret_key, n - strlen(head));
	hmac(span_of(first, n), span_of(date, DATE_CHARS), ret);
	sodium_memzero(first, n);
	free(first);
	secret_forget();
	hmac(span_of(ret, SHA256_BYTES), SPAN_STR(k->region), ret);
	hmac(span_of(ret, SHA256_BYTES), SPAN_STR(k->service), ret);
	hmac(span_of(ret, SHA256_BYTES), SPAN_STR("aws4_request"), ret);
	return 0;
}

static int canonical_hash(const struct sigv4_request *q, char ret[SHA256_HEX])
{
	const char *const lines[] = { q->method,  q->path,	     q->query,
				      q->headers, q->signed_headers, q->payload };
	struct sha256 *h;
	int r = sha256_new(&h);

	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
		if (i)
			sha256_add(h, SPAN_STR("\n"));
		sha256_add(h, SPAN_STR(lines[i]));
	}
	sha256_end(h, ret);
	return 0;
}

int sigv4_authorization(const struct sigv4_request *q, const struct sigv4_keys *k,
			char **ret)
{
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	uint8_t key[SHA256_BYTES], signature[SHA256_BYTES];
	char request[SHA256_HEX], signed_hex[SHA256_HEX];
	int r = canonical_hash(q, request);

	if (r >= 0)
		r = buf_printf(&text, ALGORITHM "\n%s\n%.8s/%s/%s/aws4_request\n%s",
			       q->time, q->time, k->region, k->service, request);
	if (r >= 0)
		r = signing_key(k, q->time, key);
	if (r < 0)
		return r;
	hmac(span_of(key, sizeof(key)), buf_span(&text), signature);
	sodium_memzero(key, sizeof(key));
	hex(signature, signed_hex);
	if (asprintf(ret,
		     ALGORITHM " Credential=%s/%.8s/%s/%s/aws4_request,SignedHeaders=%s,"
			       "Signature=%s",
		     k->access_key, q->time, k->region, k->service, q->signed_headers,
		     signed_hex) < 0)
		return -ENOMEM;
	return 0;
}

void sigv4_time(int64_t skew_s, char ret[17])
{
	time_t now = time(NULL) + (time_t)skew_s;
	struct tm tm;

	gmtime_r(&now, &tm);
	strftime(ret, 17, "%Y%m%dT%H%M%SZ", &tm);
}

/* --- encoding --- */

static bool unreserved(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.' || c == '~';
}

int uri_encode(const char *s, bool slash, struct buf *ret)
{
	int r = 0;

	for (; *s && r >= 0; s++)
		r = unreserved(*s) || (slash && *s == '/')
			    ? buf_append(ret, s, 1)
			    : buf_printf(ret, "%%%02X", (unsigned char)*s);
	return r;
}

static void decode(char *s)
{
	char *to = s;
	unsigned c;

	for (; *s; s++) {
		if (*s == '%' && sscanf(s + 1, "%2x", &c) == 1) {
			*to++ = (char)c;
			s += 2;
		} else {
			*to++ = *s == '+' ? ' ' : *s;
		}
	}
	*to = '\0';
}

static int word_compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* "name=value" encoded anew. */
static int encode_word(char *word, char **ret)
{
	struct buf b = BUF_INIT;
	char *value = strchr(word, '=');
	int r;

	if (value)
		*value++ = '\0';
	decode(word);
	if (value)
		decode(value);
	r = uri_encode(word, false, &b);
	if (r >= 0)
		r = buf_append(&b, "=", 1);
	if (r >= 0)
		r = uri_encode(value ? value : "", false, &b);
	if (r >= 0)
		r = buf_append(&b, "", 1);
	if (r < 0) {
		buf_release(&b);
		return r;
	}
	*ret = (char *)b.p;
	return 0;
}

int sigv4_query(const char *query, char **ret)
{
	_cleanup_free_ char *copy = strdup(query ? query : "");
	struct buf b = BUF_INIT;
	char *words[QUERY_MAX], *save, *word;
	size_t n = 0;
	int r = copy ? 0 : -ENOMEM;

	for (word = r ? NULL : strtok_r(copy, "&", &save); word && r == 0;
	     word = strtok_r(NULL, "&", &save)) {
		r = n < QUERY_MAX ? encode_word(word, &words[n]) : -E2BIG;
		n += r == 0;
	}
	if (n)
		qsort(words, n, sizeof(*words), word_compare);
	for (size_t i = 0; i < n; i++) {
		if (r >= 0 && i)
			r = buf_append(&b, "&", 1);
		if (r >= 0)
			r = buf_append(&b, words[i], strlen(words[i]));
		free(words[i]);
	}
	if (r >= 0)
		r = buf_append(&b, "", 1);
	if (r < 0) {
		buf_release(&b);
		return r;
	}
	*ret = (char *)b.p;
	return 0;
}
