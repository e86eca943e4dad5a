#include <errno.h>
#include <string.h>
#include <time.h>

#include "core/base/err.h"
#include "core/tier/object.h"

struct object_retry {
	struct object_store os;
	struct object_retry_opts opts;
	_Atomic uint64_t state; /* of the jitter */
};

static struct object_retry *retry_of(struct object_store *os)
{
	return container_of(os, struct object_retry, os);
}

/* splitmix64 */
static uint64_t next_random(struct object_retry *o)
{
	uint64_t z =
		atomic_fetch_add(&o->state, 0x9e3779b97f4a7c15u) + 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* Of one request. */
struct tries {
	unsigned n;
	uint64_t began_ms;
};

static struct tries tries_begin(void)
{
	return (struct tries) { .began_ms = now_ms() };
}

/* Whether the request that gave r is worth one more try, after the pause that comes before. */
static bool again(struct object_retry *o, int *r, struct tries *t)
{
	uint64_t most = (uint64_t)o->opts.base_ms << MIN(t->n, 20u);
	unsigned pause;

	t->n++;
	if (*r != -E_REMOTE_AWAY || t->n >= o->opts.tries)
		return false;
	pause = (unsigned)(next_random(o) % (MIN(most, o->opts.pause_max_ms) + 1));
	if (o->opts.budget_ms && now_ms() + pause - t->began_ms > o->opts.budget_ms)
		return false;
	if (object_pause(pause, o->opts.cancel) < 0) {
		*r = -ECANCELED;
		return false;
	}
	return true;
}

static int retry_put(struct object_store *os, const char *key,
		     const struct object_body *body, unsigned flags)
{
	struct object_retry *o = retry_of(os);
	struct tries t = tries_begin();
	int r;

	do
		r = object_put(o->os.inner, key, body, flags);
	while (again(o, &r, &t));
	return r;
}

static int retry_get(struct object_store *os, const char *key, struct object_range range,
		     struct buf *ret)
{
	struct object_retry *o = retry_of(os);
	struct tries t = tries_begin();
	int r;

	do
		r = object_get(o->os.inner, key, range, ret);
	while (again(o, &r, &t));
	return r;
}

static int retry_head(struct object_store *os, const char *key, uint64_t *ret_bytes)
{
	struct object_retry *o = retry_of(os);
	struct tries t = tries_begin();
	int r;

	do
		r = object_head(o->os.inner, key, ret_bytes);
	while (again(o, &r, &t));
	return r;
}

/* A listing that broke off has told some keys already; the next try goes on behind them. */
struct retry_listing {
	const struct object_listing *what;
	char last[OBJECT_KEY_MAX + 1];
};

static int retry_each(void *arg, const char *key, uint64_t bytes)
{
	struct retry_listing *l = arg;

	assert(object_key_ok(key));
	strcpy(l->last, key);
	return l->what->each(l->what->arg, key, bytes);
}

static int retry_list(struct object_store *os, const struct object_listing *what)
{
	struct object_retry *o = retry_of(os);
	struct retry_listing l = { .what = what };
	struct tries t = tries_begin();
	int r;

	do {
		struct object_listing rest = { what->prefix,
					       *l.last ? l.last : what->after, retry_each,
					       &l, what->folders };

		r = object_list(o->os.inner, &rest);
	} while (again(o, &r, &t));
	return r;
}

static int retry_del(struct object_store *os, const char *key)
{
	struct object_retry *o = retry_of(os);
	struct tries t = tries_begin();
	int r;

	do
		r = object_del(o->os.inner, key);
	while (again(o, &r, &t));
	return r;
}

static void retry_free(struct object_store *os)
{
	free(retry_of(os));
}

static const struct object_ops retry_ops = {
	.put = retry_put,
	.get = retry_get,
	.head = retry_head,
	.list = retry_list,
	.del = retry_del,
	.free = retry_free,
};

int object_retry_new(const struct object_retry_opts *opts, struct object_store *inner,
		     struct object_store **ret)
{
	struct object_retry *o = calloc(1, sizeof(*o));

	if (!o)
		return -ENOMEM;
	assert(opts->tries > 0);
	o->os.ops = &retry_ops;
	o->os.inner = inner;
	o->opts = *opts;
	o->state = opts->seed;
	*ret = &o->os;
	return 0;
}
