/* object_s3.c - a bucket, through libs3.
 *
 * libs3 2.0 (Debian 12) knows neither signature V4 nor conditional puts, never verifies a
 * certificate, and calls a put refused without an XML body, or a get cut short, a success. So
 * it builds the request and reads the XML; what happens on the wire is decided in
 * object_s3_wire.c. What libs3 makes of the answer counts for listings only. Its blocking calls are
 * safe in many threads. */
#include <errno.h>
#include <libs3.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/err.h"
#include "core/base/undumped.h"
#include "core/keys/secret.h"
#include "core/tier/object.h"
#include "core/tier/object_s3_priv.h"

static struct object_s3 *s3_of(struct object_store *os)
{
	return container_of(os, struct object_s3, os);
}

/* --- the table's functions --- */

static S3Status ignore_properties(const S3ResponseProperties *p, void *arg)
{
	return S3StatusOK;
}

static void ignore_end(S3Status status, const S3ErrorDetails *e, void *arg)
{
}

static const S3ResponseHandler no_handler = { ignore_properties, ignore_end };

static int no_data(int n, char *p, void *arg)
{
	return 0;
}

static S3Status no_bytes(int n, const char *p, void *arg)
{
	return S3StatusOK;
}

static void full_key(const struct object_s3 *s3, const char *key, char *ret, size_t n)
{
	snprintf(ret, n, "%s%s%s", s3->prefix, *s3->prefix ? "/" : "", key);
}

#define KEY_BYTES (2 * OBJECT_KEY_MAX + 2)

static int s3_put(struct object_store *os, const char *key,
		  const struct object_body *body, unsigned flags)
{
	const S3PutObjectHandler handler = { no_handler, no_data };
	struct call c = { .s3 = s3_of(os),
			  .method = "PUT",
			  .body = body,
			  .if_absent = (flags & OBJECT_IF_ABSENT) != 0 };
	char full[KEY_BYTES];

	full_key(c.s3, key, full, sizeof(full));
	s3_call_begin(&c);
	S3_put_object(&c.s3->context, full, body->bytes, NULL, NULL, &handler, &c);
	s3_call_end();
	return s3_call_judge(&c, full);
}

static int s3_get(struct object_store *os, const char *key, struct object_range range,
		  struct buf *ret)
{
	const S3GetObjectHandler handler = { no_handler, no_bytes };
	struct call c = { .s3 = s3_of(os),
			  .method = "GET",
			  .range = &range,
			  .got = ret,
			  .got_before = ret->n };
	char full[KEY_BYTES];

	full_key(c.s3, key, full, sizeof(full));
	s3_call_begin(&c);
	S3_get_object(&c.s3->context, full, NULL, 0, 0, NULL, &handler, &c);
	s3_call_end();
	return s3_call_judge(&c, full);
}

static int s3_head(struct object_store *os, const char *key, uint64_t *ret_bytes)
{
	struct call c = { .s3 = s3_of(os), .method = "HEAD" };
	char full[KEY_BYTES];
	int r;

	full_key(c.s3, key, full, sizeof(full));
	s3_call_begin(&c);
	S3_head_object(&c.s3->context, full, NULL, &no_handler, &c);
	s3_call_end();
	r = s3_call_judge(&c, full);
	if (r == 0 && !c.has_length)
		r = err_set(E_REMOTE, "HEAD %s at %s: the answer has no length", full,
			    c.s3->host);
	if (r == 0)
		*ret_bytes = c.length;
	return r;
}

static int s3_del(struct object_store *os, const char *key)
{
	struct call c = { .s3 = s3_of(os), .method = "DELETE" };
	char full[KEY_BYTES];
	int r;

	full_key(c.s3, key, full, sizeof(full));
	s3_call_begin(&c);
	S3_delete_object(&c.s3->context, full, NULL, &no_handler, &c);
	s3_call_end();
	r = s3_call_judge(&c, full);
	return r == -ENOENT ? 0 : r;
}

/* --- listing --- */

struct page {
	struct call c;
	const struct object_listing *what;
	size_t prefix_n; /* of the store's own prefix, with its slash */
	char last[KEY_BYTES];
	char folder[KEY_BYTES]; /* the last that was told */
	bool truncated;
	S3Status status;
	int r; /* what each() said */
};

/* The end of the page before, and a try anew, may have told it already. */
static void page_folder(struct page *p, const char *full)
{
	char *word = p->folder;
	size_t n = strlen(full);

	if (n <= p->prefix_n + 1 || n >= sizeof(p->folder) || full[n - 1] != '/')
		return;
	full += p->prefix_n;
	n -= p->prefix_n + 1;
	if (strncmp(full, word, n) == 0 && !word[n])
		return;
	memcpy(word, full, n);
	word[n] = '\0';
	if (object_key_ok(word) && strcmp(word, p->what->after) > 0)
		p->r = p->what->each(p->what->arg, word, 0);
}

static S3Status page_keys(int truncated, const char *next, int n,
			  const S3ListBucketContent *contents, int n_prefixes,
			  const char **prefixes, void *arg)
{
	struct page *p = arg;

	p->truncated = truncated;
	for (int i = 0; p->what->folders && i < n_prefixes && p->r == 0; i++)
		page_folder(p, prefixes[i]);
	if (p->what->folders) {
		if (next && *next && strlen(next) < sizeof(p->last))
			strcpy(p->last, next);
		return p->r ? S3StatusAbortedByCallback : S3StatusOK;
	}
	for (int i = 0; i < n && p->r == 0; i++) {
		const char *key = contents[i].key;

		if (strlen(key) >= sizeof(p->last) || strlen(key) <= p->prefix_n)
			continue;
		strcpy(p->last, key);
		if (object_key_ok(key + p->prefix_n))
			p->r = p->what->each(p->what->arg, key + p->prefix_n,
					     contents[i].size);
	}
	return p->r ? S3StatusAbortedByCallback : S3StatusOK;
}

static void page_end(S3Status status, const S3ErrorDetails *e, void *arg)
{
	struct page *p = arg;

	p->status = status;
}

static int list_page(struct page *p, const char *prefix)
{
	const S3ListBucketHandler handler = { { ignore_properties, page_end },
					      page_keys };
	int r;

	p->c = (struct call) { .s3 = p->c.s3, .method = "GET" };
	p->truncated = false;
	s3_call_begin(&p->c);
	S3_list_bucket(&p->c.s3->context, prefix, *p->last ? p->last : NULL,
		       p->what->folders ? "/" : NULL, 1000, NULL, &handler, p);
	s3_call_end();
	if (p->r)
		return p->r;
	r = s3_call_judge(&p->c, prefix);
	if (r == 0 && p->status != S3StatusOK)
		r = err_set(E_REMOTE_AWAY, "the listing that %s gave can't be read: %s",
			    p->c.s3->host, S3_get_status_name(p->status));
	return r == -ENOENT ? 0 : r;
}

static int s3_list(struct object_store *os, const struct object_listing *what)
{
	struct page p = { .c.s3 = s3_of(os), .what = what };
	char prefix[KEY_BYTES];
	int r;

	full_key(p.c.s3, what->prefix, prefix, sizeof(prefix));
	p.prefix_n = strlen(prefix) - strlen(what->prefix);
	if (*what->after)
		full_key(p.c.s3, what->after, p.last, sizeof(p.last));
	do {
		char before[KEY_BYTES];

		strcpy(before, p.last);
		r = list_page(&p, prefix);
		if (r == 0 && p.truncated && !strcmp(before, p.last))
			r = err_set(E_REMOTE, "the listing that %s gives does not end",
				    p.c.s3->host);
	} while (r == 0 && p.truncated);
	return r;
}

static unsigned s3_capabilities(struct object_store *os)
{
	unsigned keeps =
		atomic_load(&s3_of(os)->keeps_versions) ? OBJECT_KEEPS_VERSIONS : 0;

	/* A probe says whether the first is true (remote_admin.c). */
	return OBJECT_CREATES | keeps;
}

static int64_t s3_now_s(struct object_store *os)
{
	return object_clock_now_s(&s3_of(os)->clock);
}

/* --- new, free --- */

static void s3_free(struct object_store *os)
{
	struct object_s3 *s3 = s3_of(os);

	free(s3->bucket);
	free(s3->prefix);
	free(s3->host);
	free(s3->region);
	free(s3->access_key);
	free(s3->ca_file);
	secret_free(s3->secret_key);
	secret_free(s3->session_token);
	free(s3);
}

static const struct object_ops s3_ops = {
	.put = s3_put,
	.get = s3_get,
	.head = s3_head,
	.list = s3_list,
	.del = s3_del,
	.capabilities = s3_capabilities,
	.now_s = s3_now_s,
	.free = s3_free,
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static S3Status initialized;

/* What libcurl sends it copies, a session token too. */
static void initialize(void)
{
	curl_global_init_mem(CURL_GLOBAL_ALL, undumped_malloc, undumped_free,
			     undumped_realloc, undumped_strdup, undumped_calloc);
	initialized = S3_initialize("ropefs", S3_INIT_ALL, NULL);
}

static int copy(char **to, const char *from)
{
	if (from) {
		*to = strdup(from);
		return *to ? 0 : -ENOMEM;
	}
	return 0;
}

/* http[s]://HOST[:PORT][/] */
static int take_endpoint(struct object_s3 *s3, const char *endpoint)
{
	const char *host = strstr(endpoint, "://");
	size_t n;

	if (!strncmp(endpoint, "http://", 7))
		s3->context.protocol = S3ProtocolHTTP;
	else if (!strncmp(endpoint, "https://", 8))
		s3->context.protocol = S3ProtocolHTTPS;
	else
		return err_set(
			E_REMOTE,
			"the endpoint '%s' begins with neither https:// nor http://",
			endpoint);
	n = strcspn(host + 3, "/");
	if (n == 0 || n > S3_MAX_HOSTNAME_SIZE || strcspn(host + 3 + n, "/") ||
	    (host[3 + n] && host[4 + n]))
		return err_set(E_REMOTE, "the endpoint '%s' is no https://HOST[:PORT]",
			       endpoint);
	s3->host = strndup(host + 3, n);
	return s3->host ? 0 : -ENOMEM;
}

static int fill(struct object_s3 *s3, const struct object_opts *o,
		const struct object_place *place)
{
	int r = take_endpoint(s3, o->endpoint ? o->endpoint : "https://s3.amazonaws.com");

	if (r == 0)
		r = copy(&s3->bucket, place->bucket);
	if (r == 0)
		r = copy(&s3->prefix, place->prefix);
	if (r == 0)
		r = copy(&s3->region, o->region ? o->region : "us-east-1");
	if (r == 0)
		r = copy(&s3->access_key, o->access_key);
	if (r == 0)
		r = secret_text(o->secret_key, &s3->secret_key);
	if (r == 0)
		r = secret_text(o->session_token, &s3->session_token);
	if (r == 0)
		r = copy(&s3->ca_file, o->ca_file);
	s3->context.hostName = s3->host;
	s3->context.bucketName = s3->bucket;
	s3->context.uriStyle = o->virtual_host ? S3UriStyleVirtualHost : S3UriStylePath;
	s3->context.accessKeyId = s3->access_key;
	s3->v2 = o->signature_v2;
	/* Its signature is of use in V2 only. */
	s3->context.secretAccessKey = s3->v2 ? s3->secret_key : "-";
	s3->cancel = o->cancel;
	s3->skew_s = o->skew_s ? o->skew_s : &s3->own_skew_s;
	return r;
}

int object_s3_new(const struct object_opts *opts, const struct object_place *place,
		  struct object_store **ret)
{
	struct object_s3 *s3;
	int r;

	if (!opts->access_key || !opts->secret_key)
		return err_set(E_REMOTE_DENIED,
			       "the bucket needs credentials: set AWS_ACCESS_KEY_ID and "
			       "AWS_SECRET_ACCESS_KEY, or give --credentials-file");
	pthread_once(&once, initialize);
	if (initialized != S3StatusOK)
		return err_set(E_REMOTE, "libs3 can't start: %s",
			       S3_get_status_name(initialized));
	s3 = calloc(1, sizeof(*s3));
	if (!s3)
		return -ENOMEM;
	s3->os.ops = &s3_ops;
	r = fill(s3, opts, place);
	if (r < 0) {
		s3_free(&s3->os);
		return r;
	}
	*ret = &s3->os;
	return 0;
}
