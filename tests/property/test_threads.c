/* test_threads.c - several threads edit files of their own, and clone one another's, while
 * others make checkpoints, collect garbage and sync: edits that fall between a checkpoint's
 * freeze and its end are what this is about. Each thread keeps a flat array of its file. At the
 * end the store is closed, opened again, and compared once more. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "core/ropefs.h"
#include "tests/lib/suite.h"

#define WRITERS	  4
#define FILE_MAX  (512 * 1024)
#define WRITE_MAX 9000
#define STEPS_MIN 30 /* of each writer, however slow the machine is */

struct writer {
	struct ropefs *fs;
	struct rng rng;
	uint64_t ino, copy_ino; /* copy_ino: a clone, 0 when none */
	uint8_t *model, *copy, *bytes;
	size_t n, copy_n;
	uint64_t steps;
	char error[256];
};

static atomic_bool stopping;
static char store[4200], key[4200];

static void complain(struct writer *w, const char *what, long r)
{
	if (!*w->error)
		snprintf(w->error, sizeof(w->error), "%s: %ld %s", what, r,
			 ropefs_error());
}

static void splice(struct writer *w, size_t at, size_t del, size_t n)
{
	memmove(w->model + at + n, w->model + at + del, w->n - at - del);
	memcpy(w->model + at, w->bytes, n);
	w->n = w->n - del + n;
}

static void edit(struct writer *w)
{
	size_t at = rng_below(&w->rng, w->n + 1);
	size_t n = rng_below(&w->rng, rng_below(&w->rng, 5) ? 120 : WRITE_MAX) + 1;
	long r = 0;

	rng_fill(&w->rng, w->bytes, n);
	switch (rng_below(&w->rng, 5)) {
	case 0: /* append */
		if (w->n + n > FILE_MAX)
			return;
		r = ropefs_write(w->fs, w->ino, 0, w->bytes, n, ROPEFS_APPEND, NULL);
		splice(w, w->n, 0, n);
		break;
	case 1: /* overwrite */
		if (at + n > w->n)
			return;
		r = ropefs_write(w->fs, w->ino, at, w->bytes, n, 0, NULL);
		splice(w, at, n, n);
		break;
	case 2:
	case 3:
		if (w->n + n > FILE_MAX)
			return;
		r = ropefs_insert(w->fs, w->ino, at, w->bytes, n, 0);
		splice(w, at, 0, n);
		break;
	case 4:
		n = rng_below(&w->rng, 8) ? n : n * 16;
		n = n > w->n - at ? w->n - at : n;
		r = ropefs_cut(w->fs, w->ino, at, n);
		splice(w, at, n, 0);
		break;
	}
	if (r < 0)
		complain(w, "edit", r);
}

static void compare(struct writer *w, uint64_t ino, const uint8_t *model, size_t size)
{
	size_t at = rng_below(&w->rng, size + 1);
	size_t n = rng_below(&w->rng, 40000) + 1;
	ssize_t got;

	n = n > size - at ? size - at : n;
	got = ropefs_read(w->fs, ino, at, w->bytes, n, 0);
	if (got != (ssize_t)n)
		complain(w, "read", got);
	else if (memcmp(w->bytes, model + at, n))
		complain(w, "bytes differ", (long)at);
}

static void clone_or_drop(struct writer *w)
{
	struct ropefs_new what = { .mode = S_IFREG | 0600 };
	struct ropefs_attr attr;
	int r;

	if (w->copy_ino) {
		ropefs_release(w->fs, w->copy_ino, 1);
		w->copy_ino = 0;
		return;
	}
	r = ropefs_create_unnamed(w->fs, &what, &attr);
	if (r < 0) {
		complain(w, "create", r);
		return;
	}
	w->copy_ino = attr.ino;
	w->copy_n = w->n;
	memcpy(w->copy, w->model, w->n);
	if (w->n) {
		ssize_t n = ropefs_copy(w->fs, (struct ropefs_range) { attr.ino, 0, 0 },
					(struct ropefs_range) { w->ino, 0, w->n });

		if (n != (ssize_t)w->n)
			complain(w, "clone", n);
	}
}

static void *writer_main(void *arg)
{
	struct writer *w = arg;

	while ((!atomic_load(&stopping) || w->steps < STEPS_MIN) && !*w->error) {
		edit(w);
		w->steps++;
		if (rng_below(&w->rng, 8) == 0)
			compare(w, w->ino, w->model, w->n);
		if (w->copy_ino && rng_below(&w->rng, 50) == 0)
			compare(w, w->copy_ino, w->copy, w->copy_n);
		if (rng_below(&w->rng, 2000) == 0)
			clone_or_drop(w);
		if (rng_below(&w->rng, 500) == 0) {
			int r = ropefs_sync(w->fs);

			if (r < 0)
				complain(w, "sync", r);
		}
	}
	return NULL;
}

static void *keeper_main(void *arg)
{
	struct writer *w = arg; /* its fs and error only */

	for (unsigned i = 0; !atomic_load(&stopping) && !*w->error; i++) {
		struct timespec nap = { .tv_nsec = 3000000 };
		int r = i % 5 == 4 ? ropefs_collect(w->fs) : ropefs_checkpoint(w->fs);

		if (r < 0)
			complain(w, "checkpoint", r);
		w->steps++;
		nanosleep(&nap, NULL);
	}
	return NULL;
}

static struct ropefs *open_store(void)
{
	struct ropefs_opts opts = { .key_file = key, .memory_bytes = 32u << 20 };
	struct ropefs *fs;
	int r = ropefs_open(store, &opts, &fs);

	ck_assert_msg(r == 0, "open: %d %s", r, ropefs_error());
	return fs;
}

static void writer_init(struct writer *w, struct ropefs *fs, int i)
{
	struct ropefs_new what = { .mode = S_IFREG | 0644 };
	struct ropefs_attr attr;
	char name[16];

	snprintf(name, sizeof(name), "file%d", i);
	ck_ok(ropefs_create(fs, ROPEFS_ROOT_INO, ropefs_name(name), &what, &attr));
	*w = (struct writer) { .fs = fs,
			       .rng = rng_seeded(suite_seed() + (uint64_t)i),
			       .ino = attr.ino,
			       .model = malloc(2 * FILE_MAX),
			       .copy = malloc(2 * FILE_MAX),
			       .bytes = malloc(2 * FILE_MAX) };
	ck_assert(w->model && w->copy && w->bytes);
}

START_TEST(threads_edit_while_checkpoints_run)
{
	struct ropefs_init_opts init = { .key_file = key };
	struct ropefs_check check = { .key_file = key };
	struct writer w[WRITERS], keeper = { 0 };
	pthread_t threads[WRITERS + 1];
	uint64_t steps = 0;
	struct timespec run = { .tv_sec = (time_t)suite_seconds(8) };
	struct ropefs *fs;

	snprintf(store, sizeof(store), "%s/store", suite_tmpdir());
	snprintf(key, sizeof(key), "%s/key", suite_tmpdir());
	ck_assert_msg(ropefs_init(store, &init, NULL) == 0, "init: %s", ropefs_error());
	fs = open_store();
	keeper.fs = fs;
	for (int i = 0; i < WRITERS; i++)
		writer_init(&w[i], fs, i);
	for (int i = 0; i < WRITERS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, writer_main, &w[i]),
				 0);
	ck_assert_int_eq(pthread_create(&threads[WRITERS], NULL, keeper_main, &keeper),
			 0);
	nanosleep(&run, NULL);
	atomic_store(&stopping, true);
	for (int i = 0; i <= WRITERS; i++)
		pthread_join(threads[i], NULL);
	ck_assert_msg(!*keeper.error, "%s", keeper.error);
	for (int i = 0; i < WRITERS; i++) {
		ck_assert_msg(!*w[i].error, "writer %d: %s", i, w[i].error);
		if (w[i].copy_ino)
			ropefs_release(fs, w[i].copy_ino, 1);
		steps += w[i].steps;
	}
	ck_assert_msg(ropefs_close(fs) == 0, "close: %s", ropefs_error());
	ck_assert_msg(ropefs_check(store, &check) == 0, "fsck: %s", ropefs_error());

	fs = open_store();
	for (int i = 0; i < WRITERS; i++) {
		ck_assert_int_eq(
			ropefs_read(fs, w[i].ino, 0, w[i].bytes, 2 * FILE_MAX, 0),
			(ssize_t)w[i].n);
		ck_assert_msg(!memcmp(w[i].bytes, w[i].model, w[i].n), "file %d differs",
			      i);
		free(w[i].model);
		free(w[i].copy);
		free(w[i].bytes);
	}
	ck_ok(ropefs_close(fs));
	printf("# %llu steps, %llu checkpoints and collections\n",
	       (unsigned long long)steps, (unsigned long long)keeper.steps);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("threads");
	TCase *tc = tcase_create("threads");

	tcase_set_timeout(tc, 1200);
	tcase_add_test(tc, threads_edit_while_checkpoints_run);
	suite_add_tcase(s, tc);
	return suite_main(s);
}
