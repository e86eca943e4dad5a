/* test_remote_watch.c - what a reader tells the writer through the bucket: whatever the clocks of
 * the two say; nobody without the key, and nobody twice. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/err.h"
#include "core/remote_priv.h"
#include "tests/lib/suite.h"
#include "tests/unit/remote_fixture.h"

#define SECOND_NS  UINT64_C(1000000000)
#define YEARS_S	   100000000 /* the bucket's clock is away from ours */
#define BELIEVED_S 180

/* A bucket whose clock is what a test says. */
struct shifted {
	struct object_store os;
	int64_t ahead_s;
	unsigned puts, gets;
};

static struct shifted *shifted_of(struct object_store *os)
{
	return container_of(os, struct shifted, os);
}

static int shifted_put(struct object_store *os, const char *key,
		       const struct object_body *body, unsigned flags)
{
	shifted_of(os)->puts++;
	return object_put(os->inner, key, body, flags);
}

static int shifted_get(struct object_store *os, const char *key,
		       struct object_range range, struct buf *ret)
{
	shifted_of(os)->gets++;
	return object_get(os->inner, key, range, ret);
}

static int64_t shifted_now_s(struct object_store *os)
{
	return time(NULL) + shifted_of(os)->ahead_s;
}

static const struct object_ops shifted_ops = { .put = shifted_put,
					       .get = shifted_get,
					       .now_s = shifted_now_s };

/* A writer with something in its bucket, and a reader; both threads have nothing to do. */
struct looked_at {
	struct place p;
	struct ropefs *writer, *reader;
	struct shifted clock; /* of both */
};

static struct ropefs *open_reader(const struct place *p)
{
	const struct ropefs_opts opts = { .key_file = p->key, .memory_bytes = 32 << 20 };
	const struct ropefs_bucket bucket = { .remote = bucket_of(p) };
	struct ropefs *fs;

	ck_ok(ropefs_open_bucket(&bucket, &opts, &fs));
	return fs;
}

static void begin(struct looked_at *l)
{
	struct ropefs_remote_opts remote;

	*l = (struct looked_at) { .p = place_new() };
	remote = bucket_of(&l->p);
	remote.look_s = 3600;
	l->writer = open_at(&l->p, l->p.store);
	ck_ok(ropefs_remote_add(l->writer, &remote));
	put_file(l->writer, "a", 1, 1000);
	ck_ok(ropefs_remote_sync(l->writer));
	l->reader = open_reader(&l->p);
	l->clock = (struct shifted) { .os = { .ops = &shifted_ops,
					      .inner = l->writer->remote->up.meter },
				      .ahead_s = YEARS_S };
}

/* With that clock. */
static bool look(struct looked_at *l)
{
	struct remote_way *up = &l->writer->remote->up;
	struct object_store *meter = up->meter;
	bool begins;

	up->meter = &l->clock.os;
	begins = remote_look_for_watch(l->writer->remote);
	up->meter = meter;
	return begins;
}

static void announce(struct looked_at *l)
{
	struct remote_way *up = &l->reader->remote->up;
	struct object_store *meter = up->meter;

	l->reader->remote->look_ns = 0;
	up->meter = &l->clock.os;
	remote_announce(l->reader->remote);
	up->meter = meter;
}

static void end(struct looked_at *l)
{
	ck_ok(ropefs_close(l->reader));
	ck_ok(ropefs_close(l->writer));
}

/* Its thread is not woken by that, as somebody was there just now: else it would say so, too. */
static void read_it(struct looked_at *l)
{
	atomic_store(&l->reader->remote->used_ns, io_mono_ns(l->reader->io));
	ck_ok(read_file(l->reader, "a", 1, 1000));
}

/* The reader is read, and says so. */
static void read_and_say(struct looked_at *l)
{
	read_it(l);
	announce(l);
	ck_assert_str_eq(status_of(l->reader).announce_error, "");
	ck_assert(status_of(l->reader).announced);
}

START_TEST(who_reads_is_noticed_by_the_clock_of_the_bucket)
{
	struct remote *rm;
	struct looked_at l;

	begin(&l);
	rm = l.writer->remote;
	announce(&l);
	ck_assert_uint_eq(l.clock.puts, 0); /* a mount that nobody reads */
	read_and_say(&l);
	ck_assert_uint_eq(l.clock.puts, 1);
	l.clock.gets = 0;
	ck_assert(!look(&l));
	ck_assert_uint_eq(l.clock.gets, 0); /* nothing waits: nothing is asked */
	put_file(l.writer, "b", 2, 1000);
	ck_assert(look(&l));
	ck_assert(status_of(l.writer).watched);
	ck_assert_uint_eq(remote_interval_ns(rm, 60), 3 * SECOND_NS);
	ck_assert(!look(&l)); /* it began before */
	l.clock.ahead_s += BELIEVED_S; /* it has said nothing since */
	ck_assert(!look(&l));
	ck_assert(!status_of(l.writer).watched);
	ck_assert_uint_eq(remote_interval_ns(rm, 60), 60 * SECOND_NS);
	end(&l);
}
END_TEST

START_TEST(what_is_said_is_believed_for_minutes_only_and_of_key_holders)
{
	struct looked_at l;
	struct object_key key;
	struct remote *rm;
	uint64_t bytes;

	begin(&l);
	rm = l.writer->remote;
	key = key_watch(rm->instance);
	put_file(l.writer, "b", 2, 1000);
	l.clock.ahead_s = 10 * YEARS_S;
	read_and_say(&l);
	ck_ok(object_head(l.clock.os.inner, key.text, &bytes));
	ck_assert_uint_eq(bytes, 48); /* a time, sealed */
	l.clock.ahead_s = YEARS_S;
	ck_assert(look(&l));
	ck_assert_uint_le(atomic_load(&rm->watched_ns),
			  io_mono_ns(l.writer->io) + BELIEVED_S * SECOND_NS);
	ck_ok(remote_put_bytes(l.clock.os.inner, key.text,
			       SPAN_STR("somebody without the key"), 0));
	ck_assert(!look(&l));
	ck_assert(!status_of(l.writer).watched);
	ck_ok(object_del(l.clock.os.inner, key.text));
	ck_assert(!look(&l));
	ck_assert(!status_of(l.writer).watched);
	end(&l);
}
END_TEST

START_TEST(of_many_readers_one_says_it)
{
	struct looked_at l;

	begin(&l);
	for (unsigned i = 0; i < 5; i++)
		read_and_say(&l);
	ck_assert_uint_eq(l.clock.puts, 1);
	l.clock.ahead_s += 60;
	read_and_say(&l);
	ck_assert_uint_eq(l.clock.puts, 2);
	end(&l);
}
END_TEST

START_TEST(it_is_turned_off_on_either_side)
{
	char off[] = "live_s=0\n", on[] = "live_s=5\nlook_s=3600\n",
	     often[] = "interval_s=4\ninterval_most_s=0\n";
	struct looked_at l;
	struct remote *rm;

	begin(&l);
	rm = l.writer->remote;
	put_file(l.writer, "b", 2, 1000);
	l.reader->remote->cfg.live_s = 0;
	read_it(&l);
	announce(&l);
	ck_assert_uint_eq(l.clock.puts, 0);
	ck_assert(!status_of(l.reader).announced);
	ck_ok(ropefs_remote_set(l.writer, off));
	ck_assert_uint_eq(remote_next_look(rm), UINT64_MAX);
	ck_ok(ropefs_remote_set(l.writer, on));
	ck_assert_uint_ne(remote_next_look(rm), UINT64_MAX);
	ck_ok(ropefs_remote_set(l.writer, often));
	ck_assert_uint_eq(remote_next_look(rm), UINT64_MAX); /* it is as often anyway */
	end(&l);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("remote_watch");
	TCase *t = remote_tcase("remote_watch");

	tcase_add_test(t, who_reads_is_noticed_by_the_clock_of_the_bucket);
	tcase_add_test(t, what_is_said_is_believed_for_minutes_only_and_of_key_holders);
	tcase_add_test(t, of_many_readers_one_says_it);
	tcase_add_test(t, it_is_turned_off_on_either_side);
	suite_add_tcase(s, t);
	return suite_main(s);
}
