/* test_waits.c - reads that wait: who brings news waits for none of them. */
#include "fs/waits.h"

#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/daemon.h"
#include "fs/keep.h"
#include "fs/ops.h"
#include "fs/reply.h"
#include "tests/lib/suite.h"

/* --- what waits.c asks of others --- */

static atomic_int answers, bytes, refused, ended;
static unsigned polled; /* events of the last poll */
static int told; /* who polls, of news */
static sem_t answered;
static pthread_mutex_t tasks_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct task *tasks[4]; /* handed on to workers */
static unsigned n_tasks;

static void answer(ssize_t r)
{
	atomic_fetch_add(&answers, 1);
	atomic_fetch_add(&bytes, r > 0 ? (int)r : 0);
	atomic_fetch_add(&refused, r == -EAGAIN);
	atomic_fetch_add(&ended, r == -EINTR);
	sem_post(&answered);
}

void reply_read(fuse_req_t req, const void *p, ssize_t n)
{
	(void)req;
	(void)p;
	answer(n);
}

int fuse_reply_err(fuse_req_t req, int e)
{
	(void)req;
	answer(-e);
	return 0;
}

int fuse_reply_poll(fuse_req_t req, unsigned events)
{
	(void)req;
	polled = events;
	return 0;
}

static fuse_interrupt_func_t interrupt; /* of the last read */
static void *interrupt_arg;
static bool passes; /* what a signal does */
static enum signals_wait asked; /* of whom */
static struct signals_watch *watch;

void fuse_req_interrupt_func(fuse_req_t req, fuse_interrupt_func_t f, void *arg)
{
	(void)req;
	interrupt = f;
	interrupt_arg = arg;
}

const struct fuse_ctx *fuse_req_ctx(fuse_req_t req)
{
	static const struct fuse_ctx ctx;

	(void)req;
	return &ctx;
}

bool signals_pass(pid_t thread, enum signals_wait wait)
{
	(void)thread;
	asked = wait;
	return passes;
}

bool signals_watch_locked(struct signals_watch *w)
{
	watch = w;
	return w->on = true;
}

void signals_watch_stop(struct signals_watch *w)
{
	(void)w;
}

int fuse_req_interrupted(fuse_req_t req)
{
	(void)req;
	return 0;
}

int fuse_lowlevel_notify_poll(struct fuse_pollhandle *ph)
{
	(void)ph;
	told++;
	return 0;
}

void fuse_pollhandle_destroy(struct fuse_pollhandle *ph)
{
	(void)ph;
}

static _Thread_local uint64_t current = 1;

uint64_t keep_current(void)
{
	return current;
}

void keep_request(uint64_t unique)
{
	current = unique;
}

void *loop_buffer(void)
{
	static _Thread_local char p[4096];

	return p;
}

struct task *task_new(struct daemon *d, fuse_req_t req, const void *data, size_t n)
{
	struct task *t = calloc(1, sizeof(*t) + n);

	(void)data;
	t->d = d;
	t->req = req;
	return t;
}

void task_run(struct task *t, void (*step)(struct task *t))
{
	t->step = step;
	pthread_mutex_lock(&tasks_mutex);
	ck_assert_uint_lt(n_tasks, 4);
	tasks[n_tasks++] = t;
	pthread_mutex_unlock(&tasks_mutex);
}

void task_run_far(struct task *t, void (*step)(struct task *t))
{
	task_run(t, step);
}

/* One that was handed on; NULL: none. */
static struct task *take_task(void)
{
	struct task *t;

	pthread_mutex_lock(&tasks_mutex);
	t = n_tasks ? tasks[--n_tasks] : NULL;
	pthread_mutex_unlock(&tasks_mutex);
	return t;
}

void task_free(struct task *t)
{
	free(t);
}

/* --- a file: what was put into it is given once; `cold`: not without the disk --- */

struct file {
	struct source source; /* first */
	atomic_int put, given;
	atomic_int late; /* is put when there is nothing, just behind the question */
	int taken; /* by the last fill() */
	atomic_bool cold;
	sem_t at_disk, disk; /* a read has come there, and may go on */
};

static ssize_t fill(struct source *s, void *p, size_t n, bool nowait)
{
	struct file *f = (struct file *)s;
	int left = atomic_load(&f->put) - atomic_load(&f->given);

	if (!left) {
		left = atomic_exchange(&f->late, 0);
		if (left) {
			atomic_fetch_add(&f->put, left);
			source_wake(s);
		}
		return -EAGAIN;
	}
	if (atomic_load(&f->cold)) {
		if (nowait)
			return -EINPROGRESS;
		sem_post(&f->at_disk);
		sem_wait(&f->disk);
		atomic_store(&f->cold, false);
	}
	memset(p, 'x', n < (size_t)left ? n : (size_t)left);
	atomic_fetch_add(&f->given, left);
	f->taken = left;
	return left;
}

static void undo(struct source *s)
{
	struct file *f = (struct file *)s;

	atomic_fetch_sub(&f->given, f->taken);
}

static bool ready(struct source *s)
{
	struct file *f = (struct file *)s;

	return atomic_load(&f->put) > atomic_load(&f->given);
}

static void not_freed(struct source *s)
{
	(void)s;
}

static bool never_again(struct source *s)
{
	(void)s;
	return false;
}

/* The daemon before was about to give what is before `put` to the request. */
static bool resent(struct source *s)
{
	struct file *f = (struct file *)s;

	if (!(keep_current() & UNIQUE_RESENT))
		return false;
	atomic_store(&f->given, 0);
	return true;
}

static struct daemon d;
static struct file f;

static void setup(void)
{
	waits_init(&d.waits);
	sem_init(&answered, 0, 0);
	sem_init(&f.at_disk, 0, 0);
	sem_init(&f.disk, 0, 0);
	source_init(&f.source, &d);
	f.source.fill = fill;
	f.source.ready = ready;
	f.source.free = not_freed;
	f.source.undo = undo;
}

static void *run_task(void *arg)
{
	struct task *t = arg;

	t->step(t);
	return NULL;
}

static void put(int n, bool cold)
{
	if (cold)
		atomic_store(&f.cold, true);
	atomic_fetch_add(&f.put, n);
	source_wake(&f.source);
}

START_TEST(who_brings_news_does_not_wait_for_a_reader_at_the_disk)
{
	pthread_t worker;

	source_read(&f.source, NULL, 4096, 0);
	ck_assert_int_eq(atomic_load(&answers), 0);
	put(10, true);
	ck_assert_int_eq(pthread_create(&worker, NULL, run_task, take_task()), 0);
	sem_wait(&f.at_disk);
	/* It stays there, and these return. */
	put(5, false);
	put(5, false);
	ck_assert_int_eq(atomic_load(&answers), 0);
	sem_post(&f.disk);
	pthread_join(worker, NULL);
	ck_assert_int_eq(atomic_load(&answers), 1);
	source_read(&f.source, NULL, 4096, O_NONBLOCK);
	ck_assert_int_eq(atomic_load(&bytes), 20);
}
END_TEST

/* A loop that waited here would take no more requests. */
START_TEST(who_asks_does_not_wait_for_a_reader_at_the_disk)
{
	struct fuse_pollhandle *poll = (struct fuse_pollhandle *)&f;
	pthread_t worker;

	f.source.again = never_again;
	source_read(&f.source, NULL, 4096, 0);
	put(10, true);
	ck_assert_int_eq(pthread_create(&worker, NULL, run_task, take_task()), 0);
	sem_wait(&f.at_disk);
	source_poll(&f.source, NULL, poll);
	ck_assert_uint_eq(polled, 0);
	source_read(&f.source, NULL, 4096, O_NONBLOCK);
	ck_assert_int_eq(atomic_load(&refused), 1);
	source_read(&f.source, NULL, 4096, 0); /* waits for its turn */
	ck_assert_int_eq(atomic_load(&answers), 1);
	ck_assert_int_eq(told, 0);
	sem_post(&f.disk);
	pthread_join(worker, NULL);
	ck_assert_int_eq(atomic_load(&bytes), 10);
	put(5, false);
	ck_assert_int_eq(atomic_load(&bytes), 15);
	put(1, false);
	ck_assert_int_eq(told, 1);
	source_poll(&f.source, NULL, NULL);
	ck_assert_uint_ne(polled, 0);
}
END_TEST

START_TEST(a_read_that_comes_again_gets_its_bytes_from_behind_a_reader_at_the_disk)
{
	pthread_t worker;

	f.source.again = resent;
	f.put = f.given = 10; /* by the daemon before */
	source_read(&f.source, NULL, 4096, 0);
	put(5, true);
	ck_assert_int_eq(pthread_create(&worker, NULL, run_task, take_task()), 0);
	sem_wait(&f.at_disk);
	keep_request(UNIQUE_RESENT | 2);
	source_read(&f.source, NULL, 4096, _i ? O_NONBLOCK : 0);
	keep_request(1);
	ck_assert_int_eq(atomic_load(&refused), 0);
	sem_post(&f.disk);
	pthread_join(worker, NULL);
	/* All of it once: to one of the two, as this file gives what it has. */
	ck_assert_int_eq(atomic_load(&bytes), 15);
	ck_assert_int_eq(atomic_load(&refused), _i);
	ck_assert_int_eq(atomic_load(&f.source.refs), 1);
}
END_TEST

/* Whoever reads at the disk answers those for whom there was news meanwhile. */
START_TEST(no_news_is_lost_meanwhile)
{
	pthread_t worker;

	source_read(&f.source, NULL, 4096, 0);
	source_read(&f.source, NULL, 4096, 0); /* two wait */
	put(10, true);
	ck_assert_int_eq(pthread_create(&worker, NULL, run_task, take_task()), 0);
	sem_wait(&f.at_disk);
	atomic_store(&f.late, 7);
	sem_post(&f.disk);
	pthread_join(worker, NULL);
	ck_assert_int_eq(atomic_load(&answers), 2);
	ck_assert_int_eq(atomic_load(&bytes), 17);
}
END_TEST

START_TEST(a_read_that_does_not_block_leaves_the_disk_to_a_worker)
{
	f.put = 3;
	f.cold = true;
	sem_post(&f.disk);
	source_read(&f.source, NULL, 4096, O_NONBLOCK);
	ck_assert_int_eq(atomic_load(&answers), 0);
	run_task(take_task());
	ck_assert_int_eq(atomic_load(&answers), 1);
	ck_assert_int_eq(atomic_load(&bytes), 3);
	ck_assert_int_eq(atomic_load(&f.source.refs), 1);
}
END_TEST

START_TEST(a_signal_ends_a_read_at_the_disk_whose_bytes_are_for_the_next)
{
	pthread_t worker;

	source_read(&f.source, NULL, 4096, 0);
	put(10, true);
	ck_assert_int_eq(pthread_create(&worker, NULL, run_task, take_task()), 0);
	sem_wait(&f.at_disk);
	interrupt(NULL, interrupt_arg);
	ck_assert_int_eq(asked, SIGNALS_NEWS);
	ck_assert_int_eq(atomic_load(&ended), 1);
	source_read(&f.source, NULL, 4096, 0); /* waits for its turn */
	ck_assert_int_eq(atomic_load(&answers), 1);
	sem_post(&f.disk);
	pthread_join(worker, NULL);
	ck_assert_int_eq(atomic_load(&answers), 2);
	ck_assert_int_eq(atomic_load(&bytes), 10);
}
END_TEST

START_TEST(a_signal_ends_a_read_that_does_not_block_too)
{
	pthread_t worker;

	f.put = 3;
	f.cold = true;
	source_read(&f.source, NULL, 4096, O_NONBLOCK);
	ck_assert_int_eq(pthread_create(&worker, NULL, run_task, take_task()), 0);
	sem_wait(&f.at_disk);
	interrupt(NULL, interrupt_arg);
	ck_assert_int_eq(asked, SIGNALS_ANSWER);
	ck_assert_int_eq(atomic_load(&ended), 1);
	sem_post(&f.disk);
	pthread_join(worker, NULL);
	source_read(&f.source, NULL, 4096, O_NONBLOCK);
	ck_assert_int_eq(atomic_load(&answers), 2);
	ck_assert_int_eq(atomic_load(&bytes), 3);
	ck_assert_int_eq(atomic_load(&f.source.refs), 1);
}
END_TEST

START_TEST(one_that_does_not_block_waits_for_no_news_behind_others)
{
	source_read(&f.source, NULL, 4096, 0);
	ck_assert_ptr_null(take_task());
	f.put = 3;
	f.cold = true;
	source_read(&f.source, NULL, 4096, O_NONBLOCK);
	f.given = 3; /* somebody else had it */
	f.cold = false;
	run_task(take_task());
	ck_assert_int_eq(atomic_load(&refused), 1);
	ck_assert_int_eq(atomic_load(&answers), 1);
	put(5, false);
	ck_assert_int_eq(atomic_load(&answers), 2);
	ck_assert_int_eq(atomic_load(&bytes), 5);
}
END_TEST

/* The kernel tells of no other: it is looked for. */
START_TEST(a_signal_that_passes_ends_no_read_but_one_that_comes_later_does)
{
	passes = true;
	source_read(&f.source, NULL, 4096, 0);
	source_read(&f.source, NULL, 4096, 0);
	interrupt(NULL, interrupt_arg);
	ck_assert_int_eq(atomic_load(&answers), 0);
	ck_assert(watch && watch->look(watch));
	ck_assert_int_eq(atomic_load(&answers), 0);
	passes = false;
	ck_assert(watch->look(watch));
	ck_assert_int_eq(atomic_load(&ended), 1);
	ck_assert(!watch->look(watch)); /* the other one had no signal */
	put(10, false);
	ck_assert_int_eq(atomic_load(&answers), 2);
	ck_assert_int_eq(atomic_load(&bytes), 10);
}
END_TEST

enum { RECORDS = 20000 };

static void *writer_main(void *arg)
{
	(void)arg;
	for (int i = 0; i < RECORDS; i++)
		put(1, i % 16 == 0);
	return NULL;
}

/* Reads and news at once, at times at the disk: each read that waits is answered. */
START_TEST(threads_lose_no_news)
{
	pthread_t writer;

	for (int i = 0; i < RECORDS; i++)
		sem_post(&f.disk);
	ck_assert_int_eq(pthread_create(&writer, NULL, writer_main, NULL), 0);
	while (atomic_load(&bytes) < RECORDS) {
		source_read(&f.source, NULL, 4096, 0);
		while (sem_trywait(&answered) < 0) {
			struct task *t = take_task();

			if (t)
				run_task(t);
			else
				usleep(1);
		}
	}
	pthread_join(writer, NULL);
	ck_assert_int_eq(atomic_load(&bytes), RECORDS);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("waits");
	TCase *tc = tcase_create("waits"), *threads = tcase_create("threads");

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_checked_fixture(threads, setup, NULL);
	tcase_set_timeout(tc, 100);
	tcase_set_timeout(threads, 100);
	tcase_add_test(tc, who_brings_news_does_not_wait_for_a_reader_at_the_disk);
	tcase_add_test(tc, who_asks_does_not_wait_for_a_reader_at_the_disk);
	tcase_add_loop_test(
		tc,
		a_read_that_comes_again_gets_its_bytes_from_behind_a_reader_at_the_disk,
		0, 2);
	tcase_add_test(tc, no_news_is_lost_meanwhile);
	tcase_add_test(tc, a_read_that_does_not_block_leaves_the_disk_to_a_worker);
	tcase_add_test(tc, a_signal_ends_a_read_at_the_disk_whose_bytes_are_for_the_next);
	tcase_add_test(tc, a_signal_ends_a_read_that_does_not_block_too);
	tcase_add_test(tc, one_that_does_not_block_waits_for_no_news_behind_others);
	tcase_add_test(tc,
		       a_signal_that_passes_ends_no_read_but_one_that_comes_later_does);
	tcase_add_test(threads, threads_lose_no_news);
	suite_add_tcase(s, tc);
	suite_add_tcase(s, threads);
	return suite_main(s);
}
