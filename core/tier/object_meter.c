#include <errno.h>
#include <pthread.h>
#include <time.h>

#include "core/tier/object.h"

#define SECOND_NS	1000000000u
#define PIECES_A_SECOND 8u /* so that the rate holds within a second, too */
#define CREDIT_NS	100000000u /* of which a pause that was too long is made up for */
#define PIECE_MIN	UINT64_C(1024)
#define PIECE_MAX	UINT64_C(65536)

struct object_meter {
	struct object_store os;
	struct object_meter_opts opts;
	pthread_mutex_t mutex; /* guards what follows */
	uint64_t
		free_at_ns; /* when what was let through has passed at the allowed rate */
	struct object_counts counts;
};

static struct object_meter *meter_of(struct object_store *os)
{
	return container_of(os, struct object_meter, os);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * SECOND_NS + (uint64_t)t.tv_nsec;
}

/* Waits for its turn on a line of so many bytes a second. */
static int hold_back(struct object_meter *m, uint64_t bytes_per_s, uint64_t bytes)
{
	uint64_t now = now_ns(), at;

	if (!bytes_per_s)
		return 0;
	pthread_mutex_lock(&m->mutex);
	at = MAX(now - CREDIT_NS, m->free_at_ns);
	m->free_at_ns = at + bytes * SECOND_NS / bytes_per_s;
	at = MAX(at, now);
	pthread_mutex_unlock(&m->mutex);
	return object_pause((unsigned)((at - now) / 1000000), m->opts.cancel);
}

static int pace(void *arg, size_t n)
{
	struct object_meter *m = arg;

	return hold_back(m, m->opts.bytes_per_s, n);
}

static int note(struct object_meter *m, uint64_t *counter, uint64_t *sum, uint64_t bytes,
		int r)
{
	pthread_mutex_lock(&m->mutex);
	(*counter)++;
	if (r < 0 && r != -ENOENT && r != -EEXIST)
		m->counts.failed++;
	else if (sum)
		*sum += bytes;
	pthread_mutex_unlock(&m->mutex);
	return r;
}

static int meter_put(struct object_store *os, const char *key,
		     const struct object_body *body, unsigned flags)
{
	struct object_meter *m = meter_of(os);
	struct object_body paced = *body;
	uint64_t rate = m->opts.bytes_per_s;
	int r;

	if (rate) {
		paced.pace = pace;
		paced.pace_arg = m;
		paced.pace_bytes =
			(size_t)MIN(MAX(rate / PIECES_A_SECOND, PIECE_MIN), PIECE_MAX);
	}
	r = object_put(m->os.inner, key, &paced, flags);
	return note(m, &m->counts.puts, &m->counts.put_bytes, body->bytes, r);
}

static int meter_get(struct object_store *os, const char *key, struct object_range range,
		     struct buf *ret)
{
	struct object_meter *m = meter_of(os);
	size_t before = ret->n;
	int r = object_get(m->os.inner, key, range, ret), paced;

	if (r == 0) {
		paced = hold_back(m, m->opts.got_per_s, ret->n - before);
		r = paced < 0 ? paced : 0;
	}
	return note(m, &m->counts.gets, &m->counts.got_bytes, ret->n - before, r);
}

static int meter_head(struct object_store *os, const char *key, uint64_t *ret_bytes)
{
	struct object_meter *m = meter_of(os);
	int r = object_head(m->os.inner, key, ret_bytes);

	return note(m, &m->counts.heads, NULL, 0, r);
}

static int meter_list(struct object_store *os, const struct object_listing *what)
{
	struct object_meter *m = meter_of(os);

	return note(m, &m->counts.lists, NULL, 0, object_list(m->os.inner, what));
}

static int meter_del(struct object_store *os, const char *key)
{
	struct object_meter *m = meter_of(os);

	return note(m, &m->counts.dels, NULL, 0, object_del(m->os.inner, key));
}

static void meter_free(struct object_store *os)
{
	struct object_meter *m = meter_of(os);

	pthread_mutex_destroy(&m->mutex);
	free(m);
}

static const struct object_ops meter_ops = {
	.put = meter_put,
	.get = meter_get,
	.head = meter_head,
	.list = meter_list,
	.del = meter_del,
	.free = meter_free,
};

int object_meter_new(const struct object_meter_opts *opts, struct object_store *inner,
		     struct object_store **ret)
{
	struct object_meter *m = calloc(1, sizeof(*m));

	if (!m)
		return -ENOMEM;
	m->os.ops = &meter_ops;
	m->os.inner = inner;
	m->opts = *opts;
	pthread_mutex_init(&m->mutex, NULL);
	*ret = &m->os;
	return 0;
}

void object_meter_read(struct object_store *meter, struct object_counts *ret)
{
	struct object_meter *m = meter_of(meter);

	pthread_mutex_lock(&m->mutex);
	*ret = m->counts;
	pthread_mutex_unlock(&m->mutex);
}

void object_counts_add(struct object_counts *to, const struct object_counts *more)
{
	to->puts += more->puts;
	to->gets += more->gets;
	to->heads += more->heads;
	to->lists += more->lists;
	to->dels += more->dels;
	to->failed += more->failed;
	to->put_bytes += more->put_bytes;
	to->got_bytes += more->got_bytes;
}
