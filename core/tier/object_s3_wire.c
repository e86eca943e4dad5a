/* object_s3_wire.c - what happens on the wire in the place of what libs3 would do.
 *
 * The linker puts __wrap_curl_easy_perform() in the place of libcurl's (-Wl,--wrap): TLS
 * verified, our own signature, our own body and condition, and the status and length of the
 * answer checked by ourselves. */
#include <curl/curl.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/base/err.h"
#include "core/base/json.h"
#include "core/base/undumped.h"
#include "core/tier/object_s3_priv.h"
#include "core/tier/sigv4.h"

#define CONNECT_S     10L
#define STALL_S	      20L /* below STALL_BYTES_S for so long: given up */
#define STALL_BYTES_S 256L
#define ERROR_BYTES   4096u /* of an error's body that are looked at */
#define PIECE_BYTES   65536u
#define SKEW_MAX_S    604800
#define SKEW_LEAST_S  240 /* servers refuse from 15 minutes on, some from 5 */
#define RENEW	      ": ropectl remote set DIR --new-credentials"
#define EMPTY_SHA256  "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static _Thread_local struct call *now;

CURLcode __real_curl_easy_setopt(CURL *curl, CURLoption option, ...);
CURLcode __real_curl_easy_perform(CURL *curl);
CURLcode __wrap_curl_easy_setopt(CURL *curl, CURLoption option, void *value);
CURLcode __wrap_curl_easy_perform(CURL *curl);

void s3_call_begin(struct call *c)
{
	now = c;
}

void s3_call_end(void)
{
	now = NULL;
}

/* All of libs3's values are pointers or longs: one register, either way. */
CURLcode __wrap_curl_easy_setopt(CURL *curl, CURLoption option, void *value)
{
	if (now && option == CURLOPT_URL)
		snprintf(now->url, sizeof(now->url), "%s", (const char *)value);
	else if (now && option == CURLOPT_HTTPHEADER)
		now->headers = value;
	else if (now && option == CURLOPT_WRITEFUNCTION)
		now->write = (curl_write_callback)(uintptr_t)value;
	else if (now && option == CURLOPT_WRITEDATA)
		now->write_data = value;
	return __real_curl_easy_setopt(curl, option, value);
}

static size_t send_body(char *p, size_t size, size_t n, void *arg)
{
	struct call *c = arg;
	ssize_t may;

	n = (size_t)MIN((uint64_t)(size * n), c->body->bytes - c->sent);
	if (!n)
		return 0;
	may = object_body_pace(c->body, n);
	if (may < 0) {
		c->body_failed = (int)may;
		return CURL_READFUNC_ABORT;
	}
	n = (size_t)may;
	c->body_failed = c->body->read(c->body->arg, p, n, c->sent);
	if (c->body_failed < 0)
		return CURL_READFUNC_ABORT;
	c->sent += n;
	return n;
}

static int rewind_body(void *arg, curl_off_t off, int origin)
{
	struct call *c = arg;

	if (origin != SEEK_SET || (uint64_t)off > c->body->bytes)
		return CURL_SEEKFUNC_FAIL;
	c->sent = (uint64_t)off;
	return CURL_SEEKFUNC_OK;
}

static size_t take_bytes(char *p, size_t size, size_t n, void *arg)
{
	struct call *c = arg;
	bool good = c->status / 100 == 2;
	struct buf *to = good ? c->got : &c->error;

	n *= size;
	if (good && !c->got)
		return c->write(p, 1, n, c->write_data); /* a listing: libs3 reads it */
	if (!good && to->n + n > ERROR_BYTES)
		return n;
	if (good && to->n - c->got_before + n > OBJECT_BYTES_MAX)
		c->too_big = true;
	return c->too_big || buf_append(to, p, n) < 0 ? 0 : n;
}

static size_t take_header(char *p, size_t size, size_t n, void *arg)
{
	struct call *c = arg;
	char line[512];

	n *= size;
	snprintf(line, sizeof(line), "%.*s", (int)MIN(n, sizeof(line) - 1), p);
	if (!strncmp(line, "HTTP/", 5)) {
		const char *at = strchr(line, ' ');

		c->status = at ? strtol(at, NULL, 10) : 0;
		c->has_length = false;
	} else if (!strncasecmp(line, "Content-Length:", 15)) {
		c->length = strtoull(line + 15, NULL, 10);
		c->has_length = true;
	} else if (!strncasecmp(line, "x-amz-version-id:", 17)) {
		if (c->body && !strstr(line + 17, "null")) /* null: versioning is off */
			atomic_store(&c->s3->keeps_versions, true);
	} else if (!strncasecmp(line, "Date:", 5)) {
		c->date = curl_getdate(line + 5, NULL);
	}
	return n;
}

static int ask_cancel(void *arg, curl_off_t a, curl_off_t b, curl_off_t up,
		      curl_off_t down)
{
	struct call *c = arg;

	return c->s3->cancel && atomic_load(c->s3->cancel);
}

/* --- our own request --- */

struct request {
	struct curl_slist *headers;
	char *url, *query;
	char host[300];
};

static void request_release(struct request *q)
{
	curl_slist_free_all(q->headers);
	free(q->url);
	free(q->query);
}

static int add_header(struct request *q, const char *fmt, ...) _printf_(2, 3);
static int add_header(struct request *q, const char *fmt, ...)
{
	_cleanup_(undumped_freep) char *line = NULL;
	struct curl_slist *more = NULL;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	line = n < 0 ? NULL : undumped_malloc((size_t)n + 1);
	if (line) {
		va_start(ap, fmt);
		vsnprintf(line, (size_t)n + 1, fmt, ap);
		va_end(ap);
		more = curl_slist_append(q->headers, line);
	}
	if (!more)
		return -ENOMEM;
	q->headers = more;
	return 0;
}

static int body_hash(const struct object_body *body, char ret[SHA256_HEX])
{
	_cleanup_free_ uint8_t *piece = malloc(PIECE_BYTES);
	struct sha256 *h;
	int r = piece ? sha256_new(&h) : -ENOMEM;

	if (r < 0)
		return r;
	for (uint64_t at = 0; r == 0 && at < body->bytes;) {
		size_t n = (size_t)MIN((uint64_t)PIECE_BYTES, body->bytes - at);

		r = body->read(body->arg, piece, n, at);
		if (r == 0)
			sha256_add(h, span_of(piece, n));
		at += n;
	}
	sha256_end(h, ret);
	return r;
}

/* Splits libs3's URL; the path is made anew by our own encoding, the query too. */
static int take_url(struct call *c, struct request *q, char **ret_path)
{
	const char *host = strstr(c->url, "://"), *path, *query;

	if (!host)
		return -EINVAL;
	host += 3;
	path = strchr(host, '/');
	query = strchr(host, '?');
	if (!path || (query && query < path))
		path = query ? query : host + strlen(host);
	snprintf(q->host, sizeof(q->host), "%.*s", (int)(path - host), host);
	*ret_path = strndup(path, query ? (size_t)(query - path) : strlen(path));
	if (!*ret_path)
		return -ENOMEM;
	if (!**ret_path) {
		free(*ret_path);
		*ret_path = strdup("/");
	}
	return *ret_path ? sigv4_query(query ? query + 1 : NULL, &q->query) : -ENOMEM;
}

static int sign(struct call *c, struct request *q, const char *path)
{
	const struct sigv4_keys keys = { c->s3->access_key, c->s3->secret_key,
					 c->s3->region, "s3" };
	const char *token = c->s3->session_token;
	struct sigv4_request v4 = { .method = c->method,
				    .path = path,
				    .query = q->query };
	size_t room = sizeof(q->host) + SHA256_HEX + 200 + (token ? strlen(token) : 0);
	_cleanup_(undumped_freep) char *lines = undumped_malloc(room);
	_cleanup_free_ char *authorization = NULL;
	int r = lines ? 0 : -ENOMEM;

	snprintf(v4.payload, sizeof(v4.payload), "%s", EMPTY_SHA256);
	if (r >= 0 && c->body)
		r = c->body_failed = body_hash(c->body, v4.payload);
	if (r < 0)
		return r;
	sigv4_time(atomic_load(c->s3->skew_s), v4.time);
	snprintf(lines, room, "host:%s\nx-amz-content-sha256:%s\nx-amz-date:%s\n%s%s%s",
		 q->host, v4.payload, v4.time, token ? "x-amz-security-token:" : "",
		 token ? token : "", token ? "\n" : "");
	v4.headers = lines;
	v4.signed_headers =
		token ? "host;x-amz-content-sha256;x-amz-date;x-amz-security-token"
		      : "host;x-amz-content-sha256;x-amz-date";
	r = sigv4_authorization(&v4, &keys, &authorization);
	if (r >= 0)
		r = add_header(q, "Authorization: %s", authorization);
	if (r >= 0)
		r = add_header(q, "x-amz-content-sha256: %s", v4.payload);
	if (r >= 0)
		r = add_header(q, "x-amz-date: %s", v4.time);
	if (r >= 0 && token)
		r = add_header(q, "x-amz-security-token: %s", token);
	return r;
}

/* V2 is libs3's own work: its Authorization and Date go on. */
static int keep_v2(struct call *c, struct request *q)
{
	int r = 0;

	for (const struct curl_slist *h = c->headers; h && r == 0; h = h->next)
		if (!strncasecmp(h->data, "Authorization:", 14) ||
		    !strncasecmp(h->data, "Date:", 5) ||
		    !strncasecmp(h->data, "x-amz-", 6))
			r = add_header(q, "%s", h->data);
	return r;
}

static int make_request(struct call *c, struct request *q)
{
	_cleanup_free_ char *path = NULL;
	int r = take_url(c, q, &path);

	if (r >= 0)
		r = c->s3->v2 ? keep_v2(c, q) : sign(c, q, path);
	/* No waiting for 100 Continue, which some servers send too late. */
	if (r >= 0)
		r = add_header(q, "Expect:");
	if (r >= 0 && c->if_absent)
		r = add_header(q, "If-None-Match: *");
	if (r >= 0 && c->body && !c->s3->v2) /* V2 signs it */
		r = add_header(q, "Content-Type: application/octet-stream");
	if (r >= 0 && c->range && c->range->n)
		r = add_header(q, "Range: bytes=%llu-%llu",
			       (unsigned long long)c->range->off,
			       (unsigned long long)(c->range->off + c->range->n - 1));
	else if (r >= 0 && c->range && c->range->off)
		r = add_header(q, "Range: bytes=%llu-",
			       (unsigned long long)c->range->off);
	if (r >= 0 &&
	    asprintf(&q->url, "%.*s://%s%s%s%s", (int)(strstr(c->url, "://") - c->url),
		     c->url, q->host, path, *q->query ? "?" : "", q->query) < 0)
		r = -ENOMEM;
	return r;
}

static void set_options(struct call *c, CURL *curl, const struct request *q)
{
	__real_curl_easy_setopt(curl, CURLOPT_URL, q->url);
	__real_curl_easy_setopt(curl, CURLOPT_HTTPHEADER, q->headers);
	__real_curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 1L);
	__real_curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 2L);
	if (c->s3->ca_file)
		__real_curl_easy_setopt(curl, CURLOPT_CAINFO, c->s3->ca_file);
	__real_curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
	__real_curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	__real_curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, CONNECT_S);
	__real_curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, STALL_BYTES_S);
	__real_curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, STALL_S);
	__real_curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, c->why);
	__real_curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, take_header);
	__real_curl_easy_setopt(curl, CURLOPT_HEADERDATA, c);
	__real_curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_bytes);
	__real_curl_easy_setopt(curl, CURLOPT_WRITEDATA, c);
	__real_curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, ask_cancel);
	__real_curl_easy_setopt(curl, CURLOPT_XFERINFODATA, c);
	__real_curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
	if (!c->body)
		return;
	__real_curl_easy_setopt(curl, CURLOPT_READFUNCTION, send_body);
	__real_curl_easy_setopt(curl, CURLOPT_READDATA, c);
	__real_curl_easy_setopt(curl, CURLOPT_SEEKFUNCTION, rewind_body);
	__real_curl_easy_setopt(curl, CURLOPT_SEEKDATA, c);
	__real_curl_easy_setopt(curl, CURLOPT_INFILESIZE_LARGE,
				(curl_off_t)c->body->bytes);
}

CURLcode __wrap_curl_easy_perform(CURL *curl)
{
	struct call *c = now;
	struct request q = { 0 };
	int r;

	if (!c)
		return __real_curl_easy_perform(curl);
	c->performed = true;
	r = make_request(c, &q);
	if (r == 0) {
		set_options(c, curl, &q);
		c->curl = __real_curl_easy_perform(curl);
		/* libs3 may keep the handle; what it points at is about to go. */
		__real_curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, NULL);
		__real_curl_easy_setopt(curl, CURLOPT_HTTPHEADER, NULL);
	} else {
		c->curl = r == -ENOMEM ? CURLE_OUT_OF_MEMORY : CURLE_READ_ERROR;
	}
	request_release(&q);
	return c->curl;
}

/* --- what the answer means --- */

/* <Code>X</Code> of an error's body, or "". */
static void error_code(const struct call *c, char *ret, size_t n)
{
	const char *from =
		c->error.n ? memmem(c->error.p, c->error.n, "<Code>", 6) : NULL;
	const char *end = (const char *)c->error.p + c->error.n, *to;

	*ret = '\0';
	if (!from)
		return;
	from += 6;
	to = memchr(from, '<', (size_t)(end - from));
	if (to)
		snprintf(ret, n, "%.*s", (int)(to - from), from);
}

static bool is_denied(long status, const char *code)
{
	return status == 401 || status == 403 || !strcmp(code, "ExpiredToken") ||
	       !strcmp(code, "InvalidToken") || !strcmp(code, "TokenRefreshRequired") ||
	       !strcmp(code, "AuthorizationHeaderMalformed");
}

/* 507 is Insufficient Storage (RFC 4918); QuotaExceeded is Ceph's, with 403. */
static bool is_full(long status, const char *code)
{
	return status == 507 || !strcmp(code, "QuotaExceeded");
}

/* Errors of TLS and of the URL: another try gives the same. */
static bool is_final(CURLcode e)
{
	return e == CURLE_PEER_FAILED_VERIFICATION || e == CURLE_SSL_CACERT_BADFILE ||
	       e == CURLE_URL_MALFORMAT || e == CURLE_UNSUPPORTED_PROTOCOL;
}

static int wire_failed(const struct call *c, const char *key)
{
	const char *why = *c->why ? c->why : curl_easy_strerror(c->curl);

	if (c->curl == CURLE_ABORTED_BY_CALLBACK && !c->body_failed)
		return -ECANCELED;
	if (c->curl == CURLE_OUT_OF_MEMORY)
		return -ENOMEM;
	if (c->body_failed)
		return c->body_failed;
	if (c->too_big)
		return err_set(E_REMOTE, "%s: the object is far too large", key);
	return err_set(is_final(c->curl) ? E_REMOTE : E_REMOTE_AWAY, "%s %s at %s: %s",
		       c->method, key, c->s3->host, why);
}

/* How far the server's clock is ahead of ours, by its answer. */
static int64_t skew_of(const struct call *c)
{
	return c->date ? (int64_t)c->date - (int64_t)time(NULL) : 0;
}

/* A clock that was found wrong may be set right, or go on being wrong otherwise. */
static void follow_skew(const struct call *c)
{
	int64_t skew = skew_of(c);

	if (c->date && atomic_load(c->s3->skew_s) && llabs((long long)skew) <= SKEW_MAX_S)
		atomic_store(c->s3->skew_s, skew);
}

static int skew_failed(const struct call *c)
{
	int64_t skew = skew_of(c);
	bool can_sign_by_it = !c->s3->v2 && llabs((long long)skew) <= SKEW_MAX_S;

	if (llabs((long long)skew) <= SKEW_LEAST_S)
		return err_set(E_REMOTE_AWAY,
			       "%s says that the request is too old or too new, though "
			       "its clock "
			       "and that of this machine agree: it came late, or what is "
			       "between "
			       "changes it",
			       c->s3->host);
	if (can_sign_by_it)
		atomic_store(c->s3->skew_s, skew);
	return err_set(
		can_sign_by_it ? E_REMOTE_AWAY : E_REMOTE_DENIED,
		"the clock of this machine is %lld s %s that of %s, which refuses its "
		"requests: set it (timedatectl set-ntp true, or date -s)",
		llabs((long long)skew), skew > 0 ? "behind" : "ahead of", c->s3->host);
}

/* What somebody can do about a refusal. */
static const char *advice(const char *code)
{
	static const struct {
		const char *code, *advice;
	} known[] = {
		{ "ExpiredToken", "the credentials have expired" RENEW },
		{ "InvalidToken", "the credentials' session token is not valid" RENEW },
		{ "TokenRefreshRequired", "the credentials' session token is to be "
					  "renewed" RENEW },
		{ "InvalidAccessKeyId", "the access key of the credentials is not known "
					"there" RENEW },
		{ "SignatureDoesNotMatch",
		  "the credentials' secret key is another one" RENEW },
		{ "AuthorizationHeaderMalformed", "is the region right (--region)?" },
	};

	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (!strcmp(code, known[i].code))
			return known[i].advice;
	return "are the credentials right, and may they do that?";
}

static int kind_of(long status, const char *code)
{
	if (is_full(status, code))
		return E_REMOTE_FULL;
	if (is_denied(status, code))
		return E_REMOTE_DENIED;
	if (!strcmp(code, "RequestTimeout") || !strcmp(code, "SlowDown") ||
	    !strcmp(code, "XAmzContentSHA256Mismatch") || !strcmp(code, "BadDigest") ||
	    !strcmp(code, "IncompleteBody"))
		return E_REMOTE_AWAY;
	return (status >= 500 && status != 501) || status == 429 || status == 408 ||
			       status < 100
		       ? E_REMOTE_AWAY
		       : E_REMOTE;
}

static int status_failed(struct call *c, const char *key)
{
	char code[64];
	int kind;

	error_code(c, code, sizeof(code));
	if (c->status == 404 && strcmp(code, "NoSuchBucket") != 0)
		return -ENOENT;
	if (c->status == 404)
		return err_set(E_REMOTE, "there is no bucket '%s' at %s; make it first",
			       c->s3->bucket, c->s3->host);
	if (c->if_absent && c->status == 412)
		return -EEXIST;
	if (c->if_absent && c->status == 409)
		return err_set(E_REMOTE_AWAY, "%s %s at %s: two writers at once",
			       c->method, key, c->s3->host);
	if (c->status == 416)
		return -ENODATA;
	if (!strcmp(code, "RequestTimeTooSkewed"))
		return skew_failed(c);
	kind = kind_of(c->status, code);
	return err_set(kind, "%s %s at %s: answer %ld%s%s%s%s%s", c->method, key,
		       c->s3->host, c->status, *code ? " (" : "", code, *code ? ")" : "",
		       kind == E_REMOTE_DENIED ? ": " : "",
		       kind == E_REMOTE_DENIED ? advice(code) : "");
}

/* The bytes that came are the bytes asked for. */
static int check_length(const struct call *c, const char *key)
{
	uint64_t n = c->got->n - c->got_before;

	if (c->has_length && n != c->length)
		return err_set(E_REMOTE_AWAY, "GET %s at %s: the answer was cut short",
			       key, c->s3->host);
	if (c->range->n && c->status == 206 && n != c->range->n)
		return -ENODATA;
	if ((c->range->n || c->range->off) && c->status != 206)
		return err_set(E_REMOTE, "GET %s at %s: the server ignores ranges", key,
			       c->s3->host);
	return 0;
}

int s3_call_judge(struct call *c, const char *key)
{
	int r = 0;

	if (c->date > 0)
		object_clock_set(&c->s3->clock, c->date);
	if (!c->performed)
		r = err_set(E_REMOTE, "libs3 makes no request for %s in bucket '%s'", key,
			    c->s3->bucket);
	else if (c->curl != CURLE_OK)
		r = wire_failed(c, key);
	else if (c->status / 100 != 2)
		r = status_failed(c, key);
	else if (c->got)
		r = check_length(c, key);
	if (r == 0)
		follow_skew(c);
	if (r < 0 && c->got)
		c->got->n = c->got_before;
	buf_release(&c->error);
	return r;
}
