#include "tests/sim/bucket.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/err.h"
#include "tests/sim/model.h"

struct object {
	char key[OBJECT_KEY_MAX + 1];
	struct blob *bytes;
};

struct bucket {
	struct object **at; /* in the order of keys */
	size_t n, cap;
	uint64_t *expected;
	size_t n_expected;
	bool committed; /* a state is in it for certain */
	bool any; /* or one that is not among them */
	struct rng rng;
	unsigned one_in;
	void (*watch)(void *arg);
	void *watch_arg;
};

static struct bucket *in_use;

static void *must(void *p)
{
	if (!p)
		abort();
	return p;
}

struct bucket *bucket_new(uint64_t seed)
{
	struct bucket *b = must(calloc(1, sizeof(*b)));

	b->rng = rng_seeded(seed);
	return b;
}

static void insert(struct bucket *b, size_t at, const char *key, struct blob *bytes)
{
	if (b->n == b->cap) {
		b->cap = b->cap ? 2 * b->cap : 32;
		b->at = must(realloc(b->at, b->cap * sizeof(*b->at)));
	}
	memmove(b->at + at + 1, b->at + at, (b->n - at) * sizeof(*b->at));
	b->at[at] = must(calloc(1, sizeof(**b->at)));
	snprintf(b->at[at]->key, sizeof(b->at[at]->key), "%s", key);
	b->at[at]->bytes = bytes;
	b->n++;
}

struct bucket *bucket_copy(const struct bucket *b, uint64_t seed)
{
	struct bucket *copy;

	if (!b)
		return NULL;
	copy = bucket_new(seed);
	for (size_t i = 0; i < b->n; i++)
		insert(copy, i, b->at[i]->key, blob_get(b->at[i]->bytes));
	for (size_t i = 0; i < b->n_expected; i++)
		bucket_expect(copy, b->expected[i]);
	copy->committed = b->committed;
	copy->any = b->any;
	return copy;
}

static void erase(struct bucket *b, size_t at)
{
	blob_put(b->at[at]->bytes);
	free(b->at[at]);
	b->n--;
	memmove(b->at + at, b->at + at + 1, (b->n - at) * sizeof(*b->at));
}

struct bucket *bucket_free(struct bucket *b)
{
	if (!b)
		return NULL;
	while (b->n)
		erase(b, b->n - 1);
	free(b->at);
	free(b->expected);
	free(b);
	return NULL;
}

void bucket_use(struct bucket *b)
{
	in_use = b;
}

void bucket_weather(struct bucket *b, unsigned one_in)
{
	b->one_in = one_in;
}

void bucket_watch(struct bucket *b, void (*watch)(void *arg), void *arg)
{
	b->watch = watch;
	b->watch_arg = arg;
}

void bucket_expect(struct bucket *b, uint64_t digest)
{
	if (bucket_expects(b, digest))
		return;
	b->expected =
		must(realloc(b->expected, (b->n_expected + 1) * sizeof(*b->expected)));
	b->expected[b->n_expected++] = digest;
}

void bucket_expect_any(struct bucket *b)
{
	b->any = true;
}

void bucket_committed(struct bucket *b, uint64_t digest)
{
	b->committed = true;
	b->any = false;
	b->n_expected = 0;
	bucket_expect(b, digest);
}

bool bucket_expects(const struct bucket *b, uint64_t digest)
{
	for (size_t i = 0; i < b->n_expected; i++)
		if (b->expected[i] == digest)
			return true;
	return b->any;
}

bool bucket_has_state(const struct bucket *b)
{
	return b->committed;
}

/* --- requests --- */

enum fate { ANSWERED, UNANSWERED, NOT_DONE };

static enum fate fate_draw(struct bucket *b)
{
	if (b->watch)
		b->watch(b->watch_arg);
	if (!b->one_in || rng_below(&b->rng, b->one_in))
		return ANSWERED;
	return rng_below(&b->rng, 2) ? UNANSWERED : NOT_DONE;
}

static int answer(enum fate fate, int r)
{
	if (fate != ANSWERED)
		return err_set(E_REMOTE_AWAY, "the simulated network lost a request");
	return r;
}

/* Where the key is, or belongs. */
static bool find(const struct bucket *b, const char *key, size_t *ret_at)
{
	size_t i = 0;

	while (i < b->n && strcmp(b->at[i]->key, key) < 0)
		i++;
	*ret_at = i;
	return i < b->n && !strcmp(b->at[i]->key, key);
}

static int put(struct bucket *b, const char *key, const struct object_body *body,
	       unsigned flags)
{
	struct blob *bytes = blob_new(body->bytes);
	size_t at;
	int r = body->read(body->arg, bytes->p, body->bytes, 0);

	if (r == 0 && find(b, key, &at) && (flags & OBJECT_IF_ABSENT))
		r = -EEXIST;
	if (r < 0) {
		blob_put(bytes);
		return r;
	}
	if (find(b, key, &at))
		erase(b, at);
	insert(b, at, key, bytes);
	if (b->watch)
		b->watch(b->watch_arg);
	return 0;
}

static int sim_put(struct object_store *os, const char *key,
		   const struct object_body *body, unsigned flags)
{
	enum fate fate = fate_draw(in_use);

	return answer(fate, fate == NOT_DONE ? 0 : put(in_use, key, body, flags));
}

static int sim_get(struct object_store *os, const char *key, struct object_range range,
		   struct buf *ret)
{
	enum fate fate = fate_draw(in_use);
	const struct blob *bytes;
	size_t at;

	if (fate != ANSWERED)
		return answer(fate, 0);
	if (!find(in_use, key, &at))
		return -ENOENT;
	bytes = in_use->at[at]->bytes;
	if (range.off > bytes->n || range.n > bytes->n - range.off)
		return -ENODATA;
	return buf_append(ret, bytes->p + range.off,
			  range.n ? range.n : bytes->n - range.off);
}

static int sim_head(struct object_store *os, const char *key, uint64_t *ret_bytes)
{
	enum fate fate = fate_draw(in_use);
	size_t at;

	if (fate != ANSWERED)
		return answer(fate, 0);
	if (!find(in_use, key, &at))
		return -ENOENT;
	*ret_bytes = in_use->at[at]->bytes->n;
	return 0;
}

/* The key's first part behind the prefix, unless that is what `last` has. */
static int list_folder(const struct object_listing *what, const char *key,
		       char last[OBJECT_KEY_MAX + 1])
{
	const char *part = key + strlen(what->prefix);
	size_t n = strcspn(part, "/");

	if (!part[n] || (!strncmp(last, part, n) && !last[n]))
		return 0;
	memcpy(last, part, n);
	last[n] = 0;
	return what->each(what->arg, last, 0);
}

static int sim_list(struct object_store *os, const struct object_listing *what)
{
	enum fate fate = fate_draw(in_use);
	char last[OBJECT_KEY_MAX + 1] = "";
	int r = 0;

	if (fate != ANSWERED)
		return answer(fate, 0);
	for (size_t i = 0; r == 0 && i < in_use->n; i++) {
		const struct object *o = in_use->at[i];

		if (strncmp(o->key, what->prefix, strlen(what->prefix)) != 0 ||
		    strcmp(o->key, what->after) <= 0)
			continue;
		r = what->folders ? list_folder(what, o->key, last)
				  : what->each(what->arg, o->key, o->bytes->n);
	}
	return r;
}

static int sim_del(struct object_store *os, const char *key)
{
	enum fate fate = fate_draw(in_use);
	size_t at;

	if (fate != NOT_DONE && find(in_use, key, &at)) {
		erase(in_use, at);
		if (in_use->watch)
			in_use->watch(in_use->watch_arg);
	}
	return answer(fate, 0);
}

static unsigned sim_capabilities(struct object_store *os)
{
	return OBJECT_CREATES;
}

static void sim_free(struct object_store *os)
{
}

static struct object_store sim_store = {
	.ops =
		&(const struct object_ops) {
			.put = sim_put,
			.get = sim_get,
			.head = sim_head,
			.list = sim_list,
			.del = sim_del,
			.capabilities = sim_capabilities,
			.free = sim_free,
		},
};

/* --- instead of the engine's (linker option --wrap) --- */

int __wrap_object_open(const struct object_opts *opts, struct object_store **ret);
int __wrap_object_retry_new(const struct object_retry_opts *opts,
			    struct object_store *inner, struct object_store **ret);

int __wrap_object_open(const struct object_opts *opts, struct object_store **ret)
{
	if (!in_use)
		return err_set(E_REMOTE_AWAY, "this world has no bucket");
	*ret = &sim_store;
	return 0;
}

/* Trying again takes real time: the simulation does so by itself. */
int __wrap_object_retry_new(const struct object_retry_opts *opts,
			    struct object_store *inner, struct object_store **ret)
{
	*ret = inner;
	return 0;
}
