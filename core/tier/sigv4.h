/* sigv4.h - AWS Signature Version 4 for one request ("Signature Version 4 signing process" of the
 * S3 reference), and the hashes it is made of. */
#ifndef ROPEFS_TIER_SIGV4_H
#define ROPEFS_TIER_SIGV4_H

#include "core/base/buf.h"

#define SHA256_BYTES 32
#define SHA256_HEX   65

struct sigv4_request {
	const char *method;
	const char *path; /* as in the request line, encoded */
	const char *query; /* without '?', encoded, sorted; "" */
	/* Lines "name:value\n", names in lower case, sorted; and their names joined by ';'. */
	const char *headers, *signed_headers;
	char payload[SHA256_HEX]; /* hex of the body's hash */
	char time[17]; /* 20130524T000000Z */
};

struct sigv4_keys {
	const char *access_key, *secret_key, *region, *service;
};

/* The value of the header Authorization; the caller frees it. -ENOMEM. */
int sigv4_authorization(const struct sigv4_request *q, const struct sigv4_keys *k,
			char **ret);
/* The time now, or that of a clock `skew_s` ahead of ours. */
void sigv4_time(int64_t skew_s, char ret[17]);
void sha256_hex(struct span bytes, char ret[SHA256_HEX]);

struct sha256;
int sha256_new(struct sha256 **ret);
void sha256_add(struct sha256 *h, struct span bytes);
void sha256_end(struct sha256 *h, char ret[SHA256_HEX]); /* frees h */

/* Percent-encodes all but unreserved characters, and '/' unless slash. Appends. */
int uri_encode(const char *s, bool slash, struct buf *ret);
/* The query of a URL (may be NULL) decoded, encoded as V4 wants it, and sorted. */
int sigv4_query(const char *query, char **ret);

#endif
