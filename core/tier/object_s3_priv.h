/* object_s3_priv.h - what is shared by object_s3.c, which asks libs3 to make a request, and
 * object_s3_wire.c, which sends it. */
#ifndef ROPEFS_TIER_OBJECT_S3_PRIV_H
#define ROPEFS_TIER_OBJECT_S3_PRIV_H

#include <curl/curl.h>
#include <libs3.h>
#include <stdatomic.h>
#include <time.h>

#include "core/tier/object.h"

struct object_s3 {
	struct object_store os;
	char *bucket, *prefix, *host, *region, *access_key, *secret_key, *session_token,
		*ca_file;
	S3BucketContext context;
	bool v2;
	const atomic_bool *cancel;
	/* A server that says our clock is wrong tells its own (object_opts). */
	_Atomic int64_t *skew_s, own_skew_s;
	atomic_bool keeps_versions;
	struct object_clock clock;
};

/* One request, from the call of libs3 to its end. */
struct call {
	struct object_s3 *s3;
	const char *method;
	/* put */
	const struct object_body *body;
	uint64_t sent;
	int body_failed;
	bool if_absent;
	/* get */
	const struct object_range *range;
	struct buf *got;
	size_t got_before;
	bool too_big;
	/* What libs3 set. */
	char url[4096];
	struct curl_slist *headers;
	curl_write_callback write;
	void *write_data;
	/* The answer. */
	bool performed; /* libs3 came as far as asking */
	long status;
	CURLcode curl;
	uint64_t length; /* Content-Length */
	bool has_length;
	time_t date;
	struct buf error;
	char why[CURL_ERROR_SIZE];
};

/* From here to its end what libs3 asks for in this thread is c's request. */
void s3_call_begin(struct call *c);
void s3_call_end(void);
/* What the request for key came to, which libs3 does not know. Once, after its end. */
int s3_call_judge(struct call *c, const char *key);

#endif
