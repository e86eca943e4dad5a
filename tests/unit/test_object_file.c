/* test_object_file.c - objects read as files: what is fetched ahead, what is kept in memory and
 * on the disk, and what wrong bytes come to. The store is a function: a byte is the hash of its
 * place. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/base/err.h"
#include "core/io/io.h"
#include "core/tier/object_file.h"
#include "tests/lib/suite.h"

#define FRAME                                                                            \
	((size_t)131072 + 16) /* as packs have them: behind a head that nobody reads */
#define HEAD ((uint64_t)24)
#define PACK ((uint64_t)32 << 20)

struct counting {
	struct object_store os;
	atomic_uint gets;
	_Atomic uint64_t bytes;
	atomic_int wrong; /* so many answers have another first byte */
	unsigned takes_us; /* each get */
};

static uint8_t byte_at(uint64_t off)
{
	return (uint8_t)((off * 0x9e3779b97f4a7c15u) >> 56);
}

static int counting_get(struct object_store *os, const char *key,
			struct object_range range, struct buf *ret)
{
	struct counting *c = container_of(os, struct counting, os);

	c->gets++;
	c->bytes += range.n;
	usleep(c->takes_us);
	ck_ok(buf_reserve(ret, range.n));
	for (uint64_t i = 0; i < range.n; i++)
		ret->p[ret->n + i] = byte_at(range.off + i);
	if (c->wrong > 0) {
		c->wrong--;
		ret->p[ret->n] ^= 1;
	}
	ret->n += range.n;
	return 0;
}

static const struct object_ops counting_ops = { .get = counting_get };

struct fixture {
	struct counting c;
	struct object_room room;
	struct range_cache *cache;
	struct io *io;
};

static void fixture_init(struct fixture *f, size_t room, uint64_t cache)
{
	*f = (struct fixture) { .c = { .os = { &counting_ops } } };
	object_room_init(&f->room, room);
	ck_ok(io_posix_new(suite_tmpdir(), &f->io));
	if (cache)
		ck_ok(range_cache_open(f->io, "cache", cache, &f->cache));
}

static void fixture_release(struct fixture *f)
{
	object_room_release(&f->room);
	range_cache_close(f->cache);
	io_free(f->io);
}

static struct io_file *open_pack(struct fixture *f, uint8_t id)
{
	const struct object_file_opts opts = { .os = &f->c.os,
					       .key = "p",
					       .bytes = PACK,
					       .id = { id },
					       .room = &f->room,
					       .cache = f->cache };
	struct io_file *file;

	ck_ok(object_file_new(&opts, &file));
	return file;
}

static bool reads_right(struct io_file *file, uint64_t off, size_t n)
{
	_cleanup_free_ uint8_t *p = malloc(n);
	bool right = true;

	ck_assert_int_eq(io_pread(file, p, n, off), (ssize_t)n);
	for (size_t i = 0; i < n && right; i++)
		right = p[i] == byte_at(off + i);
	return right;
}

static uint64_t frame_off(unsigned i)
{
	return 64 + i * (HEAD + FRAME) + HEAD;
}

static unsigned frames(void)
{
	return (unsigned)((PACK - 64 - 8192) / (HEAD + FRAME));
}

START_TEST(a_pack_read_in_order_takes_few_requests)
{
	struct fixture f;
	struct io_file *file;

	fixture_init(&f, 16 << 20, 0);
	file = open_pack(&f, 1);
	ck_assert(reads_right(file, PACK - 216, 216));
	ck_assert(reads_right(file, PACK - 6000, 5784));
	ck_assert_uint_eq(f.c.gets, 1); /* the directory came with the footer */
	for (unsigned i = 0; i < frames(); i++)
		ck_assert(reads_right(file, frame_off(i), FRAME));
	ck_assert_uint_le(f.c.gets, 14);
	ck_assert_uint_le(f.c.bytes, PACK + PACK / 32);
	io_closep(&file);
	ck_assert_uint_eq(f.room.bytes, 0);
	fixture_release(&f);
}
END_TEST

START_TEST(reads_here_and_there_fetch_their_own_bytes_only)
{
	struct fixture f;
	struct io_file *file;
	unsigned n = 0;

	fixture_init(&f, 16 << 20, 0);
	file = open_pack(&f, 1);
	for (unsigned i = frames() - 9; i > 9; i -= 9, n++)
		ck_assert(reads_right(file, frame_off(i), FRAME));
	ck_assert_uint_eq(f.c.gets, n);
	ck_assert_uint_eq(f.c.bytes, n * FRAME);
	io_closep(&file);
	fixture_release(&f);
}
END_TEST

#define SMALL ((size_t)5000) /* a frame of what compresses well */

START_TEST(small_frames_read_in_order_take_no_more_than_large_ones)
{
	struct fixture f;
	struct io_file *file;

	fixture_init(&f, 16 << 20, 0);
	file = open_pack(&f, 1);
	for (uint64_t off = 64 + HEAD; off + SMALL < PACK; off += SMALL + HEAD)
		ck_assert(reads_right(file, off, SMALL));
	ck_assert_uint_le(f.c.gets, 12);
	ck_assert_uint_le(f.c.bytes, PACK + 32 * 1024);
	io_closep(&file);
	ck_assert_uint_eq(f.room.bytes, 0);
	fixture_release(&f);
}
END_TEST

struct reader {
	pthread_t thread;
	struct io_file *file;
	atomic_uint *next;
	bool right;
};

#define RUN 4u /* frames of a request, as the kernel asks for some hundred KiB */

static void *reader_main(void *arg)
{
	struct reader *r = arg;
	unsigned from;

	r->right = true;
	while ((from = atomic_fetch_add(r->next, RUN)) < frames())
		for (unsigned i = from; i < MIN(from + RUN, frames()); i++)
			r->right &= reads_right(r->file, frame_off(i), FRAME);
	return NULL;
}

/* A pack read by four threads, in order as far as they are. */
static void read_by_many(struct fixture *f)
{
	struct io_file *file = open_pack(f, 1);
	struct reader r[4];
	atomic_uint next = 0;

	f->c.takes_us = 5000;
	for (unsigned i = 0; i < ARRAY_LEN(r); i++) {
		r[i] = (struct reader) { .file = file, .next = &next };
		ck_assert_int_eq(pthread_create(&r[i].thread, NULL, reader_main, &r[i]),
				 0);
	}
	for (unsigned i = 0; i < ARRAY_LEN(r); i++) {
		pthread_join(r[i].thread, NULL);
		ck_assert(r[i].right);
	}
	io_closep(&file);
	ck_assert_uint_eq(f->room.bytes, 0);
}

/* Some are asked for by themselves, where a thread begins far ahead of the others. */
START_TEST(many_threads_that_read_in_order_share_what_is_fetched)
{
	struct fixture f;

	fixture_init(&f, 16 << 20, 0);
	read_by_many(&f);
	ck_assert_uint_le(f.c.gets, 40); /* 11; two hundred without sharing */
	ck_assert_uint_le(f.c.bytes, PACK + PACK / 8);
	fixture_release(&f);
}
END_TEST

START_TEST(in_little_room_they_do_it_in_smaller_steps)
{
	struct fixture f;

	fixture_init(&f, 4 << 20, 0); /* memory=64M */
	read_by_many(&f);
	ck_assert_uint_le(f.c.gets, 60);
	ck_assert_uint_le(f.c.bytes, PACK + PACK / 4);
	fixture_release(&f);
}
END_TEST

static int failing_get(struct object_store *os, const char *key,
		       struct object_range range, struct buf *ret)
{
	struct counting *c = container_of(os, struct counting, os);

	c->gets++;
	usleep(c->takes_us);
	return -E_REMOTE_AWAY;
}

static void *failing_main(void *arg)
{
	struct reader *r = arg;
	uint8_t byte;

	r->right = io_pread(r->file, &byte, 1, 64 + (*r->next)++) == -E_REMOTE_AWAY;
	return NULL;
}

START_TEST(who_waited_for_a_get_that_failed_waits_for_no_other_one_but_his_own)
{
	static const struct object_ops ops = { .get = failing_get };
	struct reader r[6];
	atomic_uint next = 0;
	struct timespec from, to;
	struct fixture f;
	struct io_file *file;

	fixture_init(&f, 16 << 20, 0);
	f.c.os.ops = &ops;
	f.c.takes_us = 300000;
	file = open_pack(&f, 1);
	clock_gettime(CLOCK_MONOTONIC, &from);
	for (unsigned i = 0; i < ARRAY_LEN(r); i++) {
		r[i] = (struct reader) { .file = file, .next = &next };
		ck_assert_int_eq(pthread_create(&r[i].thread, NULL, failing_main, &r[i]),
				 0);
	}
	for (unsigned i = 0; i < ARRAY_LEN(r); i++) {
		pthread_join(r[i].thread, NULL);
		ck_assert(r[i].right);
	}
	clock_gettime(CLOCK_MONOTONIC, &to);
	/* Not one after the other, which took six times as long as one. */
	ck_assert_int_lt((to.tv_sec - from.tv_sec) * 10 +
				 (to.tv_nsec - from.tv_nsec) / 100000000,
			 12);
	io_closep(&file);
	ck_assert_uint_eq(f.room.bytes, 0);
	fixture_release(&f);
}
END_TEST

START_TEST(what_is_fetched_ahead_never_takes_more_than_its_room)
{
	struct io_file *file[12];
	struct fixture f;

	fixture_init(&f, 3 << 20, 0);
	for (unsigned i = 0; i < ARRAY_LEN(file); i++)
		file[i] = open_pack(&f, (uint8_t)i);
	for (unsigned i = 0; i < 40; i++)
		for (unsigned k = 0; k < ARRAY_LEN(file); k++) {
			ck_assert(reads_right(file[k], frame_off(i), FRAME));
			ck_assert_uint_le(f.room.bytes, f.room.bytes_max);
		}
	for (unsigned i = 0; i < ARRAY_LEN(file); i++)
		io_closep(&file[i]);
	ck_assert_uint_eq(f.room.bytes, 0);
	fixture_release(&f);
}
END_TEST

START_TEST(wrong_bytes_are_asked_for_again_wherever_they_are_kept)
{
	struct fixture f;
	struct io_file *file;

	fixture_init(&f, 16 << 20, 8 << 20);
	file = open_pack(&f, 1);
	f.c.wrong = 1;
	ck_assert(!reads_right(file, frame_off(90), FRAME));
	ck_assert(!reads_right(file, frame_off(90), FRAME)); /* of the cache */
	file->ops->forget(file, frame_off(90));
	ck_assert(reads_right(file, frame_off(90), FRAME));
	ck_assert(reads_right(file, frame_off(90), FRAME));
	ck_assert_uint_eq(f.c.gets, 2);
	io_closep(&file);
	fixture_release(&f);
}
END_TEST

START_TEST(what_was_read_once_comes_from_the_disk)
{
	struct fixture f;
	struct io_file *file;

	fixture_init(&f, 16 << 20, 64 << 20);
	for (unsigned turn = 0; turn < 3; turn++) {
		unsigned before = f.c.gets;

		file = open_pack(&f, 1); /* each time another file of the same bytes */
		for (unsigned i = 0; i < 100; i++)
			ck_assert(reads_right(file, frame_off(i), FRAME));
		io_closep(&file);
		ck_assert(turn == 0 || f.c.gets == before);
	}
	file = open_pack(&f, 2); /* an object of that name with other bytes */
	f.c.gets = 0;
	ck_assert(reads_right(file, frame_off(3), FRAME));
	ck_assert_uint_eq(f.c.gets, 1);
	io_closep(&file);
	fixture_release(&f);
}
END_TEST

static uint64_t file_bytes(struct io *io, const char *name)
{
	_cleanup_(io_closep) struct io_file *file = NULL;
	uint64_t bytes;

	ck_ok(io_open(io, name, IO_READ, &file));
	ck_ok(io_size(file, &bytes));
	return bytes;
}

START_TEST(the_disk_cache_keeps_to_its_limit_and_keeps_what_is_used)
{
	const uint64_t most = 6 << 20;
	struct range_cache_stats st;
	struct fixture f;
	struct io_file *file;
	unsigned before;

	fixture_init(&f, 0, most);
	file = open_pack(&f, 1);
	for (unsigned i = 0; i < frames(); i++) {
		ck_assert(reads_right(file, frame_off(i), FRAME));
		ck_assert(reads_right(file, frame_off(0), FRAME));
		ck_assert_uint_le(
			file_bytes(f.io, "cache.0") + file_bytes(f.io, "cache.1"), most);
	}
	before = f.c.gets;
	ck_assert(reads_right(file, frame_off(0), FRAME));
	ck_assert_uint_eq(f.c.gets, before);
	ck_assert_uint_eq(before, frames()); /* frame 0 was asked for once */
	range_cache_limit(f.cache, 0);
	range_cache_read(f.cache, &st);
	ck_assert_uint_eq(st.bytes, 0);
	ck_assert_uint_eq(file_bytes(f.io, "cache.0") + file_bytes(f.io, "cache.1"), 0);
	ck_assert(reads_right(file, frame_off(0), FRAME));
	ck_assert_uint_eq(f.c.gets, before + 1);
	io_closep(&file);
	fixture_release(&f);
}
END_TEST

START_TEST(a_cache_that_rots_is_a_cache_without_it)
{
	static const uint8_t rot[4096];
	_cleanup_(io_closep) struct io_file *file = NULL, *cache = NULL;
	struct fixture f;

	fixture_init(&f, 16 << 20, 8 << 20);
	file = open_pack(&f, 1);
	ck_assert(reads_right(file, frame_off(50), FRAME));
	ck_ok(io_open(f.io, "cache.0", IO_WRITE, &cache));
	ck_ok(io_pwrite(cache, rot, sizeof(rot), 60000));
	ck_assert(reads_right(file, frame_off(50), FRAME));
	ck_assert_uint_eq(f.c.gets, 2);
	ck_ok(cache->ops->truncate(cache, 0));
	ck_assert(reads_right(file, frame_off(50), FRAME));
	io_closep(&file);
	io_closep(&cache);
	fixture_release(&f);
}
END_TEST

/* Frames 0..9, which go to the cache or come from it. Returns how many were asked for. */
static unsigned read_ten(struct fixture *f)
{
	_cleanup_(io_closep) struct io_file *file = open_pack(f, 1);
	unsigned before = f->c.gets;

	for (unsigned i = 0; i < 10; i++)
		ck_assert(reads_right(file, frame_off(3 * i), FRAME));
	return f->c.gets - before;
}

static void reopen_cache(struct fixture *f, uint64_t most)
{
	range_cache_close(f->cache);
	ck_ok(range_cache_open(f->io, "cache", most, &f->cache));
}

START_TEST(a_cache_that_was_saved_goes_on_and_one_that_was_not_begins_empty)
{
	const uint64_t most = 8 << 20;
	struct fixture f;

	fixture_init(&f, 0, most);
	ck_assert_uint_eq(read_ten(&f), 10);
	ck_ok(range_cache_save(f.cache));
	reopen_cache(&f, most);
	ck_assert_uint_eq(read_ten(&f), 0);
	ck_assert(!range_cache_was_saved(f.io, "cache")); /* it tells of one closing */
	reopen_cache(&f, most); /* a crash */
	ck_assert_uint_eq(file_bytes(f.io, "cache.0") + file_bytes(f.io, "cache.1"), 0);
	ck_assert_uint_eq(read_ten(&f), 10);
	ck_ok(range_cache_save(f.cache));
	reopen_cache(&f, MIB); /* the limit is another one now */
	ck_assert_uint_le(file_bytes(f.io, "cache.0") + file_bytes(f.io, "cache.1"), MIB);
	ck_assert_uint_eq(read_ten(&f), 10);
	fixture_release(&f);
}
END_TEST

START_TEST(a_saved_cache_of_which_something_is_wrong_gives_no_wrong_bytes)
{
	_cleanup_(buf_release) struct buf index = BUF_INIT;
	const uint64_t most = 4 << 20;
	struct io_file *cache;
	struct fixture f;

	fixture_init(&f, 0, most);
	read_ten(&f);
	ck_ok(range_cache_save(f.cache));
	ck_ok(io_read_file(f.io, "cache.index", MIB, &index));
	for (size_t i = 0; i < index.n; i += 13) { /* a byte of the index */
		index.p[i] ^= 0x40;
		ck_ok(io_publish(f.io, "cache.index", index.p, index.n));
		index.p[i] ^= 0x40;
		reopen_cache(&f, most);
		ck_assert_uint_eq(file_bytes(f.io, "cache.0"), 0);
	}
	for (unsigned cut = 0; cut < 2; cut++) { /* the bytes: others, or gone */
		unsigned asked;

		read_ten(&f);
		ck_ok(range_cache_save(f.cache));
		ck_ok(io_open(f.io, "cache.0", IO_WRITE, &cache));
		if (cut)
			ck_ok(cache->ops->truncate(cache, 5));
		else
			ck_ok(io_pwrite(cache, "other", 5, FRAME + 10));
		io_closep(&cache);
		reopen_cache(&f, most);
		asked = read_ten(&f);
		ck_assert_uint_eq(asked, cut ? 10 : 1);
		ck_assert_uint_eq(read_ten(&f), 0);
	}
	fixture_release(&f);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("object_file");
	TCase *t = tcase_create("object_file");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, a_pack_read_in_order_takes_few_requests);
	tcase_add_test(t, reads_here_and_there_fetch_their_own_bytes_only);
	tcase_add_test(t, small_frames_read_in_order_take_no_more_than_large_ones);
	tcase_add_test(t, many_threads_that_read_in_order_share_what_is_fetched);
	tcase_add_test(t, in_little_room_they_do_it_in_smaller_steps);
	tcase_add_test(
		t, who_waited_for_a_get_that_failed_waits_for_no_other_one_but_his_own);
	tcase_add_test(t, what_is_fetched_ahead_never_takes_more_than_its_room);
	tcase_add_test(t, wrong_bytes_are_asked_for_again_wherever_they_are_kept);
	tcase_add_test(t, what_was_read_once_comes_from_the_disk);
	tcase_add_test(t, the_disk_cache_keeps_to_its_limit_and_keeps_what_is_used);
	tcase_add_test(t, a_cache_that_rots_is_a_cache_without_it);
	tcase_add_test(t,
		       a_cache_that_was_saved_goes_on_and_one_that_was_not_begins_empty);
	tcase_add_test(t, a_saved_cache_of_which_something_is_wrong_gives_no_wrong_bytes);
	suite_add_tcase(s, t);
	return suite_main(s);
}
