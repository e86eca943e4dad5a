#include "core/tier/object.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "core/base/err.h"

#define PAUSE_STEP_MS 20u

static int span_read(void *arg, void *p, size_t n, uint64_t off)
{
	const struct span *s = arg;

	assert(off <= s->n && n <= s->n - off);
	memcpy(p, s->p + off, n);
	return 0;
}

struct object_body object_body_of(const struct span *bytes)
{
	return (struct object_body) { .bytes = bytes->n,
				      .read = span_read,
				      .arg = (void *)(uintptr_t)bytes };
}

ssize_t object_body_pace(const struct object_body *body, size_t n)
{
	int r = 0;

	if (body->pace) {
		n = MIN(n, body->pace_bytes);
		r = body->pace(body->pace_arg, n);
	}
	return r < 0 ? r : (ssize_t)n;
}

static bool key_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-' || c == '/';
}

bool object_key_ok(const char *key)
{
	size_t n = strlen(key);

	if (n == 0 || n > OBJECT_KEY_MAX || key[n - 1] == '/')
		return false;
	for (size_t i = 0; i < n; i++) {
		bool begins = i == 0 || key[i - 1] == '/';

		if (!key_char(key[i]) || (begins && (key[i] == '/' || key[i] == '.')))
			return false;
	}
	return true;
}

int object_pause(unsigned ms, const atomic_bool *cancel)
{
	for (unsigned done = 0; done < ms; done += PAUSE_STEP_MS) {
		const struct timespec step = { .tv_nsec = MIN(ms - done, PAUSE_STEP_MS) *
							  1000000L };

		if (cancel && atomic_load(cancel))
			return -ECANCELED;
		nanosleep(&step, NULL);
	}
	return cancel && atomic_load(cancel) ? -ECANCELED : 0;
}

static int64_t mono_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec;
}

void object_clock_set(struct object_clock *c, int64_t now_s)
{
	atomic_store(&c->ahead_s, now_s - mono_s());
	atomic_store(&c->known, true);
}

int64_t object_clock_now_s(const struct object_clock *c)
{
	return atomic_load(&c->known) ? mono_s() + atomic_load(&c->ahead_s) : time(NULL);
}

static int bad_url(const char *url, const char *why)
{
	return err_set(E_REMOTE,
		       "'%s' is no place for objects: %s; give s3://BUCKET/PREFIX or "
		       "file:///FOLDER",
		       url, why);
}

static int open_s3(const struct object_opts *opts, struct object_store **ret)
{
	_cleanup_free_ char *bucket = strdup(opts->url + strlen("s3://"));
	struct object_place place = { .prefix = "" };
	char *slash;

	if (!bucket)
		return -ENOMEM;
	slash = strchr(bucket, '/');
	if (slash) {
		*slash = '\0';
		place.prefix = slash + 1;
		for (size_t n; (n = strlen(slash + 1)) && slash[n] == '/';)
			slash[n] = '\0';
	}
	place.bucket = bucket;
	if (!*bucket || !object_key_ok(bucket))
		return bad_url(opts->url, "the bucket's name is missing or odd");
	if (*place.prefix && !object_key_ok(place.prefix))
		return bad_url(opts->url, "the prefix may have letters, digits and ._-/ "
					  "only");
#ifdef HAVE_S3
	return object_s3_new(opts, &place, ret);
#else
	return err_set(E_REMOTE,
		       "this ropefs was built without S3 (meson option s3): only "
		       "file:// is known");
#endif
}

int object_open(const struct object_opts *opts, struct object_store **ret)
{
	if (!strncmp(opts->url, "file://", 7)) {
		if (opts->url[7] != '/')
			return bad_url(opts->url, "the folder must be an absolute path");
		return object_dir_new(opts->url + 7, opts->lazy, ret);
	}
	if (!strncmp(opts->url, "s3://", 5))
		return open_s3(opts, ret);
	return bad_url(opts->url, "it begins with neither s3:// nor file://");
}
