/* object.h - an object store as one narrow table: whole objects put, ranges of them got.
 *
 *	object_dir   a folder: a disk, NFS
 *	object_s3    a bucket, through libs3 (builds with S3 only)
 *	object_retry, object_meter, object_hedge, object_breaker   wrap another one
 *
 * Keys are words of [A-Za-z0-9._-] joined by '/', no word beginning with '.'; at most
 * OBJECT_KEY_MAX bytes. All functions may be called from many threads at once and block.
 * Errors, besides -ENOMEM:
 *	-E_REMOTE_AWAY    worth another try: network, time-out, overload, a body cut short
 *	-E_REMOTE_DENIED  the credentials are refused
 *	-E_REMOTE         another try will not help; the sentence says why
 *	-ECANCELED        *cancel became true */
#ifndef ROPEFS_TIER_OBJECT_H
#define ROPEFS_TIER_OBJECT_H

#include <stdatomic.h>

#include "core/base/buf.h"

#define OBJECT_KEY_MAX	 512
#define OBJECT_BYTES_MAX ((uint64_t)1 << 30) /* of one object */

/* What is put: read any number of times, in any order. read gives exactly n bytes. */
struct object_body {
	uint64_t bytes;
	int (*read)(void *arg, void *p, size_t n, uint64_t off);
	void *arg;
	/* Or NULL: called before each n bytes go out, n at most pace_bytes; it waits until they
	 * may. -ECANCELED ends the put. */
	int (*pace)(void *arg, size_t n);
	void *pace_arg;
	size_t pace_bytes;
};

/* Of n bytes at hand, so many now, once they may go out; or an error. */
ssize_t object_body_pace(const struct object_body *body, size_t n);

struct object_range {
	uint64_t off;
	uint64_t n; /* 0: all there is behind off */
};

/* Where a listing begins: keys that start with prefix and come after `after` ("": all). */
struct object_listing {
	const char *prefix;
	const char *after;
	/* A non-zero return stops and is returned. */
	int (*each)(void *arg, const char *key, uint64_t bytes);
	void *arg;
	/* Instead of keys the parts of them up to the first '/' behind the prefix, without it,
	 * each once. One may have no key any more. */
	bool folders;
};

enum object_put_flags {
	OBJECT_IF_ABSENT = 1, /* -EEXIST, and nothing changed, when the key is there */
};

enum object_capability {
	OBJECT_CREATES =
		1, /* OBJECT_IF_ABSENT is atomic, as far as the kind of store says */
	/* What is replaced or removed stays as an older version: seen in an answer. */
	OBJECT_KEEPS_VERSIONS = 2,
};

struct object_store;

struct object_ops {
	/* The object is there, whole and durable, when it returns 0; an object of that name
	 * is replaced. After an error it may be there or not, but never in part. */
	int (*put)(struct object_store *os, const char *key,
		   const struct object_body *body, unsigned flags);
	/* Appends the bytes of the range to ret. -ENOENT; -ENODATA when the object ends
	 * within the range. */
	int (*get)(struct object_store *os, const char *key, struct object_range range,
		   struct buf *ret);
	int (*head)(struct object_store *os, const char *key, uint64_t *ret_bytes);
	/* Keys in rising byte order, all of them, page by page as the store gives them. */
	int (*list)(struct object_store *os, const struct object_listing *what);
	int (*del)(struct object_store *os,
		   const char *key); /* 0 too when it is not there */
	unsigned (*capabilities)(struct object_store *os);
	/* Seconds since 1970 by the clock of whoever keeps the objects, as its last answer
	 * told; before one by this machine's. */
	int64_t (*now_s)(struct object_store *os);
	void (*free)(struct object_store *os);
};

struct object_store {
	const struct object_ops *ops;
	struct object_store *inner; /* of a wrapper: does what its ops leave out (NULL) */
};

/* Bytes in memory as a body. */
struct object_body object_body_of(const struct span *bytes);
bool object_key_ok(const char *key);

static inline int object_put(struct object_store *os, const char *key,
			     const struct object_body *body, unsigned flags)
{
	assert(object_key_ok(key));
	while (!os->ops->put)
		os = os->inner;
	return os->ops->put(os, key, body, flags);
}

static inline int object_get(struct object_store *os, const char *key,
			     struct object_range range, struct buf *ret)
{
	assert(object_key_ok(key));
	while (!os->ops->get)
		os = os->inner;
	return os->ops->get(os, key, range, ret);
}

static inline int object_head(struct object_store *os, const char *key,
			      uint64_t *ret_bytes)
{
	assert(object_key_ok(key));
	while (!os->ops->head)
		os = os->inner;
	return os->ops->head(os, key, ret_bytes);
}

static inline int object_list(struct object_store *os, const struct object_listing *what)
{
	while (!os->ops->list)
		os = os->inner;
	return os->ops->list(os, what);
}

static inline int object_del(struct object_store *os, const char *key)
{
	assert(object_key_ok(key));
	while (!os->ops->del)
		os = os->inner;
	return os->ops->del(os, key);
}

static inline unsigned object_capabilities(struct object_store *os)
{
	while (!os->ops->capabilities)
		os = os->inner;
	return os->ops->capabilities(os);
}

static inline int64_t object_now_s(struct object_store *os)
{
	while (!os->ops->now_s)
		os = os->inner;
	return os->ops->now_s(os);
}

static inline struct object_store *object_free(struct object_store *os)
{
	while (os) {
		struct object_store *inner = os->inner;

		os->ops->free(os);
		os = inner;
	}
	return NULL;
}

/* A clock that is not ours: by how much it is ahead of our monotonic one. */
struct object_clock {
	_Atomic int64_t ahead_s;
	atomic_bool known;
};
void object_clock_set(struct object_clock *c, int64_t now_s);
int64_t object_clock_now_s(const struct object_clock *c);

/* --- which store --- */

/* All strings may be NULL but url. */
struct object_opts {
	const char *url; /* file://DIR or s3://BUCKET[/PREFIX] */
	const char *endpoint; /* http[s]://HOST[:PORT] */
	const char *region; /* else us-east-1 */
	const char *access_key, *secret_key, *session_token;
	const char *ca_file; /* else the system's */
	bool virtual_host; /* BUCKET.HOST instead of HOST/BUCKET */
	bool signature_v2; /* for servers that know no other */
	/* A folder that is not there is no failure yet: requests fail until it is. */
	bool lazy;
	/* Looked at while waiting; NULL: nothing cancels. Outlives the store. */
	const atomic_bool *cancel;
	/* How far the server's clock is ahead of ours: learnt when it says that ours is wrong, and
	 * requests are signed by it then. Outlives the store, and may be that of several; NULL: its
	 * own. */
	_Atomic int64_t *skew_s;
};

/* Opens without a request. -E_REMOTE with a sentence for a URL that can't be meant. */
int object_open(const struct object_opts *opts, struct object_store **ret);
int object_dir_new(const char *dir, bool lazy, struct object_store **ret);
/* Only in builds with S3. bucket and prefix are the parts of the URL. */
struct object_place {
	const char *bucket, *prefix;
};
int object_s3_new(const struct object_opts *opts, const struct object_place *place,
		  struct object_store **ret);

/* --- wrappers: own inner, which is freed after them, and does what they don't change --- */

struct object_retry_opts {
	unsigned tries; /* of each request, at least 1 */
	unsigned
		base_ms; /* the first pause is random below it, the next below twice it */
	unsigned pause_max_ms;
	unsigned
		budget_ms; /* no try begins later than so long after the first; 0: any may */
	uint64_t seed;
	const atomic_bool *cancel;
};
/* Tries again what failed with -E_REMOTE_AWAY, after pauses with full jitter
 * (M. Brooker, "Exponential Backoff And Jitter"). */
int object_retry_new(const struct object_retry_opts *opts, struct object_store *inner,
		     struct object_store **ret);

struct object_counts {
	uint64_t puts, gets, heads, lists, dels, failed; /* requests */
	uint64_t put_bytes, got_bytes;
};
void object_counts_add(struct object_counts *to, const struct object_counts *more);
struct object_meter_opts {
	uint64_t bytes_per_s; /* of bodies put, 0: no limit */
	uint64_t got_per_s; /* of bodies got: who asks waits behind each */
	const atomic_bool *cancel;
};
/* Counts, and holds puts and gets back to a rate; only one of the two. */
int object_meter_new(const struct object_meter_opts *opts, struct object_store *inner,
		     struct object_store **ret);
void object_meter_read(struct object_store *meter, struct object_counts *ret);

struct object_hedge_opts {
	unsigned first_ms; /* until it is known how long gets take */
	unsigned least_ms; /* a second get never comes sooner, */
	unsigned delay_max_ms; /* nor later than that; 0: any time */
	unsigned
		most_ms; /* a get that has no answer for so long has failed; 0: it waits */
};
struct object_hedge_counts {
	uint64_t hedged; /* gets that were asked for a second time */
	uint64_t won; /* and those of which that answer came first */
	uint64_t
		answered_ns; /* when a get was answered last (CLOCK_MONOTONIC), 0: none was */
};
/* A get that takes longer than 19 of 20 of its size did is asked for a second time, and what
 * answers first counts; but no more than one get of ten. Gets run in threads of their own;
 * free waits for them. */
int object_hedge_new(const struct object_hedge_opts *opts, struct object_store *inner,
		     struct object_store **ret);
void object_hedge_read(struct object_store *hedge, struct object_hedge_counts *ret);
/* As object_get(), but -E_REMOTE_AWAY when no answer came for ms; what was asked then ends by
 * itself. */
int object_hedge_get_within(struct object_store *hedge, const char *key,
			    struct object_range range, unsigned ms, struct buf *ret);

/* Remembers which gets failed with -E_REMOTE_AWAY, after all their tries. What such an object, or
 * any while none was answered since, is asked for next begins with a small get that waits for
 * probe_ms at most: so who comes when the bucket is known to be away does not wait as long as the
 * first, and nobody is refused once it answers. hedge is within inner. */
int object_breaker_new(unsigned probe_ms, struct object_store *hedge,
		       struct object_store *inner, struct object_store **ret);
/* What this thread gets until the next call was asked for then (CLOCK_MONOTONIC; 0: with each get):
 * a failure since is taken for its own. */
void object_asked_at(uint64_t mono_ns);

/* Sleeps; -ECANCELED when *cancel (may be NULL) is or becomes true. */
int object_pause(unsigned ms, const atomic_bool *cancel);

#endif
