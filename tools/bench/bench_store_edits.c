/* bench_store_edits.c - small changes: appends and inserts, left to the log or awaited, by
 * one thread and by many, and while a checkpoint runs; and clones. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "tools/bench/bench_store.h"

#define APPEND_BYTES 128
#define WRITERS	     16
#define CLONES	     32
#define TURN	     10 /* awaited calls in a row */

enum { MIB_1, MIB_64, GIB_1, SIZES };

static const char *size_name[SIZES] = { "1 MB", "64 MB", "1 GB" };

struct sized {
	uint64_t ino, bytes, size;
};

/* A file for each size; with --quick the largest is a quarter of it. */
static void make_sizes(const struct bench_env *env, struct ropefs *fs, struct sized *ret)
{
	const uint64_t mib[SIZES] = { 1, 64, env->quick ? 256 : 1024 };

	for (int i = 0; i < SIZES; i++) {
		ret[i].bytes = ret[i].size = mib[i] * STORE_MIB;
		ret[i].ino = bench_file(fs, size_name[i]);
		bench_fill(fs, ret[i].ino, ret[i].bytes);
	}
	if (env->quick)
		row_note("--quick: 1 GB stands for 256 MiB");
	must(ropefs_checkpoint(fs), "checkpoint");
}

/* --- not awaited --- */

enum { P50, P99, P999, QUANTILES };

static const double quantile[QUANTILES] = { 0.5, 0.99, 0.999 };
static const char *quantile_name[QUANTILES] = { "p50", "p99", "p99.9" };

static void add_quantiles(struct series *to, struct samples *s)
{
	for (int q = 0; q < QUANTILES; q++)
		series_add(&to[q], samples_us(s, quantile[q]));
}

static void append_round(struct ropefs *fs, uint64_t ino, unsigned times,
			 struct samples *s, struct series *to)
{
	samples_reset(s);
	for (unsigned i = 0; i < times; i++) {
		const char *p = bench_store_text() +
				i * APPEND_BYTES % (BENCH_TEXT_BYTES - APPEND_BYTES);
		uint64_t began = bench_now_ns();

		must(ropefs_write(fs, ino, 0, p, APPEND_BYTES, ROPEFS_APPEND, NULL),
		     "append");
		samples_add(s, began);
	}
	add_quantiles(to, s);
}

static void insert_round(struct ropefs *fs, struct sized *file, unsigned times,
			 struct samples *s, struct series *to)
{
	uint64_t seed = file->size;

	samples_reset(s);
	for (unsigned i = 0; i < times; i++) {
		uint64_t began = bench_now_ns();

		bench_insert(fs, file->ino, &file->size, &seed);
		samples_add(s, began);
	}
	add_quantiles(to, s);
}

static void print_edits(const struct series *append, struct series insert[][QUANTILES])
{
	static const struct target append_target[] = { { TARGET_AT_MOST, 0.2 } };
	static const struct target insert_target[] = { { TARGET_AT_MOST, 3 },
						       { TARGET_AT_MOST, 20 } };
	char work[64];

	for (int q = P50; q <= P99; q++) {
		struct row row = { .unit = "us", .own = &append[q] };

		snprintf(work, sizeof(work), "append 128 B, %s", quantile_name[q]);
		row.work = work;
		if (q == P50)
			row.target = append_target[q];
		row_print(&row);
	}
	for (int i = 0; i < SIZES; i++) {
		for (int q = 0; q < QUANTILES; q++) {
			struct row row = { .unit = "us", .own = &insert[i][q] };

			snprintf(work, sizeof(work), "insert 100 B, %s file, %s",
				 size_name[i], quantile_name[q]);
			row.work = work;
			if (q <= P99)
				row.target = insert_target[q];
			row_print(&row);
		}
	}
	row_print(&(struct row) { .work = "insert 100 B, 1 GB against 1 MB, p50",
				  .unit = "us",
				  .base_name = "1 MB",
				  .base = &insert[MIB_1][P50],
				  .own = &insert[GIB_1][P50],
				  .target = { TARGET_RATIO_AT_MOST, 2 } });
}

/* Bytes that came to the log's files for each insert, with one sync for each thousand. */
static double log_bytes(struct ropefs *fs, struct sized *file, unsigned times)
{
	uint64_t seed = file->size + 1;
	struct ropefs_status before, after;

	must(ropefs_sync(fs), "sync");
	ropefs_get_status(fs, &before);
	for (unsigned i = 1; i <= times; i++) {
		bench_insert(fs, file->ino, &file->size, &seed);
		if (i % 1000 == 0)
			must(ropefs_sync(fs), "sync");
	}
	ropefs_get_status(fs, &after);
	return (double)(after.log_file_bytes - before.log_file_bytes) / times;
}

void part_edits(const struct bench_env *env)
{
	struct ropefs *fs = bench_store_open(env, "edits", &(struct ropefs_opts) { 0 });
	unsigned times = env->quick ? 10000 : 50000;
	struct series append[QUANTILES] = { 0 }, insert[SIZES][QUANTILES] = { 0 };
	struct series log = { 0 };
	struct sized files[SIZES];
	struct samples s;
	uint64_t tail;

	samples_new(&s, times);
	make_sizes(env, fs, files);
	tail = bench_file(fs, "tail");
	for (unsigned round = 0; round < env->rounds; round++) {
		must(ropefs_truncate(fs, files[MIB_1].ino, files[MIB_1].bytes), "cut");
		files[MIB_1].size = files[MIB_1].bytes;
		append_round(fs, tail, times, &s, append);
		for (int i = 0; i < SIZES; i++)
			insert_round(fs, &files[i], times, &s, insert[i]);
		series_add(&log, log_bytes(fs, &files[MIB_64], times));
		must(ropefs_checkpoint(fs), "checkpoint");
	}
	print_edits(append, insert);
	row_print(&(struct row) { .work = "log bytes for an insert of 100 B",
				  .unit = "B",
				  .own = &log,
				  .target = { TARGET_AT_MOST, 160 } });
	samples_release(&s);
	bench_store_close(fs);
}

/* --- awaited --- */

/* What one writer waits for, in turns of few calls each: a shared disk changes its speed
 * from one second to the next. */
struct waits {
	struct ropefs *fs;
	struct raw_disk *raw;
	struct sized files[SIZES];
	struct samples disk, of[SIZES];
};

static void durable_turn(struct waits *w, uint64_t *seed)
{
	for (unsigned i = 0; i < TURN; i++) {
		uint64_t began = bench_now_ns();

		raw_disk_sync(w->raw);
		samples_add(&w->disk, began);
	}
	for (int k = 0; k < SIZES; k++) {
		for (unsigned i = 0; i < TURN; i++) {
			uint64_t began = bench_now_ns();

			bench_insert(w->fs, w->files[k].ino, &w->files[k].size, seed);
			must(ropefs_sync(w->fs), "sync");
			samples_add(&w->of[k], began);
		}
	}
}

static void durable_round(struct waits *w, unsigned turns, struct series *disk,
			  struct series *of)
{
	uint64_t seed = w->files[0].size;

	samples_reset(&w->disk);
	for (int k = 0; k < SIZES; k++)
		samples_reset(&w->of[k]);
	for (unsigned i = 0; i < turns; i++)
		durable_turn(w, &seed);
	series_add(disk, samples_us(&w->disk, 0.5));
	for (int k = 0; k < SIZES; k++)
		series_add(&of[k], samples_us(&w->of[k], 0.5));
}

struct writer {
	pthread_t thread;
	struct ropefs *fs;
	struct sized file;
	const atomic_bool *stop;
	uint64_t commits;
};

static void *writer_main(void *arg)
{
	struct writer *w = arg;
	uint64_t seed = w->file.ino;

	while (!atomic_load_explicit(w->stop, memory_order_relaxed)) {
		bench_insert(w->fs, w->file.ino, &w->file.size, &seed);
		must(ropefs_sync(w->fs), "sync");
		w->commits++;
	}
	return NULL;
}

/* Commits a second of all writers. */
static double writers_round(struct writer *writers, unsigned ms)
{
	atomic_bool stop = false;
	uint64_t began = bench_now_ns(), commits = 0;

	for (int i = 0; i < WRITERS; i++) {
		writers[i].stop = &stop;
		writers[i].commits = 0;
		if (pthread_create(&writers[i].thread, NULL, writer_main, &writers[i]))
			bench_fail("writers", "no thread");
	}
	while (bench_now_ns() - began < ms * (uint64_t)1000000)
		nanosleep(&(struct timespec) { .tv_nsec = 1000000 }, NULL);
	atomic_store(&stop, true);
	for (int i = 0; i < WRITERS; i++) {
		pthread_join(writers[i].thread, NULL);
		commits += writers[i].commits;
	}
	return (double)commits * 1e9 / (double)(bench_now_ns() - began);
}

static void make_writers(struct ropefs *fs, struct writer *writers)
{
	char name[32];

	for (int i = 0; i < WRITERS; i++) {
		snprintf(name, sizeof(name), "writer%d", i);
		writers[i].fs = fs;
		writers[i].file.ino = bench_file(fs, name);
		writers[i].file.size = STORE_MIB;
		bench_fill(fs, writers[i].file.ino, STORE_MIB);
	}
}

static void print_durable(const struct series *disk, const struct series *of,
			  const struct series *many)
{
	struct series disk_rate = { 0 };
	char work[64];

	for (int i = 0; i < SIZES; i++) {
		snprintf(work, sizeof(work), "insert 100 B durable, %s file, p50",
			 size_name[i]);
		row_print(&(struct row) { .work = work,
					  .unit = "us",
					  .base_name = "fdatasync",
					  .base = disk,
					  .own = &of[i],
					  .target = { TARGET_RATIO_AT_MOST, 1.3 } });
	}
	for (unsigned i = 0; i < disk->n; i++)
		series_add(&disk_rate, 1e6 / disk->v[i]);
	row_print(&(struct row) { .work = "16 writers, insert 100 B durable",
				  .unit = "/s",
				  .base_name = "fdatasync",
				  .base = &disk_rate,
				  .own = many,
				  .target = { TARGET_AT_LEAST, 20000 } });
}

void part_durable(const struct bench_env *env)
{
	struct ropefs *fs = bench_store_open(env, "durable", &(struct ropefs_opts) { 0 });
	struct waits w = { .fs = fs, .raw = raw_disk_new(env->folder) };
	unsigned turns = env->quick ? 20 : 60;
	struct series disk = { 0 }, of[SIZES] = { 0 }, many = { 0 };
	struct writer writers[WRITERS] = { 0 };

	samples_new(&w.disk, turns * TURN);
	for (int k = 0; k < SIZES; k++)
		samples_new(&w.of[k], turns * TURN);
	make_sizes(env, fs, w.files);
	make_writers(fs, writers);
	must(ropefs_checkpoint(fs), "checkpoint");
	for (unsigned round = 0; round < env->rounds; round++) {
		durable_round(&w, turns, &disk, of);
		series_add(&many, writers_round(writers, env->quick ? 500 : 2000));
	}
	print_durable(&disk, of, &many);
	samples_release(&w.disk);
	for (int k = 0; k < SIZES; k++)
		samples_release(&w.of[k]);
	raw_disk_free(w.raw);
	bench_store_close(fs);
}

/* --- while checkpoints run --- */

struct inserter {
	struct ropefs *fs;
	struct sized file;
	struct samples samples;
	atomic_bool stop;
};

static void *inserter_main(void *arg)
{
	struct inserter *in = arg;
	uint64_t seed = in->file.size;

	while (!atomic_load_explicit(&in->stop, memory_order_relaxed)) {
		uint64_t began = bench_now_ns();

		bench_insert(in->fs, in->file.ino, &in->file.size, &seed);
		samples_add(&in->samples, began);
	}
	return NULL;
}

/* p99.9 of inserts within some time, checkpoints being made one after another or not. */
static double inserts_meanwhile(struct inserter *in, unsigned ms, bool checkpoints)
{
	uint64_t began = bench_now_ns();
	pthread_t thread;

	samples_reset(&in->samples);
	atomic_store(&in->stop, false);
	if (pthread_create(&thread, NULL, inserter_main, in))
		bench_fail("inserter", "no thread");
	while (bench_now_ns() - began < ms * (uint64_t)1000000) {
		if (checkpoints)
			must(ropefs_checkpoint(in->fs), "checkpoint");
		else
			nanosleep(&(struct timespec) { .tv_nsec = 1000000 }, NULL);
	}
	atomic_store(&in->stop, true);
	pthread_join(thread, NULL);
	return samples_us(&in->samples, 0.999);
}

void part_checkpoint(const struct bench_env *env)
{
	/* No checkpoint in the quiet rounds: they come before the memory is used up. */
	const struct ropefs_opts opts = { .memory_bytes = 2048 * STORE_MIB,
					  .checkpoint_s = 3600 };
	unsigned ms = env->quick ? 500 : 1500;
	struct inserter in = { .fs = bench_store_open(env, "checkpoint", &opts) };
	struct series quiet = { 0 }, busy = { 0 }, freeze = { 0 };
	struct ropefs_status st;

	samples_new(&in.samples, 8000000);
	in.file.size = (env->quick ? 64 : 256) * STORE_MIB;
	in.file.ino = bench_file(in.fs, "edited");
	bench_fill(in.fs, in.file.ino, in.file.size);
	must(ropefs_checkpoint(in.fs), "checkpoint");
	for (unsigned round = 0; round < env->rounds; round++) {
		series_add(&quiet, inserts_meanwhile(&in, ms, false));
		must(ropefs_checkpoint(in.fs), "checkpoint");
		series_add(&busy, inserts_meanwhile(&in, ms, true));
	}
	ropefs_get_status(in.fs, &st);
	series_add(&freeze, st.freeze_max_us);
	row_print(&(struct row) { .work = "freeze of a checkpoint, longest",
				  .unit = "us",
				  .own = &freeze,
				  .target = { TARGET_AT_MOST, 50 } });
	row_print(&(struct row) { .work = "insert 100 B during checkpoints, p99.9",
				  .unit = "us",
				  .base_name = "without",
				  .base = &quiet,
				  .own = &busy,
				  .target = { TARGET_AT_MOST, 1000 } });
	row_note("%llu checkpoints, the last took %.2f s",
		 (unsigned long long)st.checkpoints, st.checkpoint_last_s);
	samples_release(&in.samples);
	bench_store_close(in.fs);
}

/* --- clones --- */

/* Clones a file of so many bytes: until it is there, until it is durable. */
static void clone_once(struct ropefs *fs, uint64_t source, uint64_t bytes,
		       const char *name, struct samples *fast, struct samples *synced)
{
	struct ropefs_range to = { .ino = bench_file(fs, name) };
	struct ropefs_range from = { .ino = source, .n = bytes };
	uint64_t began;

	must(ropefs_sync(fs), "sync");
	began = bench_now_ns();
	must(ropefs_copy(fs, to, from), "clone");
	samples_add(fast, began);
	must(ropefs_sync(fs), "sync");
	samples_add(synced, began);
}

static void clone_round(const struct bench_env *env, struct ropefs *fs, uint64_t source,
			unsigned round, struct series *to)
{
	const uint64_t bytes = (env->quick ? 256 : 1024) * STORE_MIB;
	struct samples disk, fast, synced;
	struct raw_disk *raw = raw_disk_new(env->folder);
	char name[32];

	samples_new(&disk, CLONES);
	samples_new(&fast, CLONES);
	samples_new(&synced, CLONES);
	for (int i = 0; i < CLONES; i++) {
		uint64_t began = bench_now_ns();

		raw_disk_sync(raw);
		samples_add(&disk, began);
		snprintf(name, sizeof(name), "clone%u.%d", round, i);
		clone_once(fs, source, bytes, name, &fast, &synced);
	}
	series_add(&to[0], samples_us(&disk, 0.5));
	series_add(&to[1], samples_us(&fast, 0.5));
	series_add(&to[2], samples_us(&synced, 0.5));
	samples_release(&disk);
	samples_release(&fast);
	samples_release(&synced);
	raw_disk_free(raw);
}

void part_clone(const struct bench_env *env)
{
	struct ropefs *fs = bench_store_open(env, "clone", &(struct ropefs_opts) { 0 });
	uint64_t source = bench_file(fs, "source");
	struct series of[3] = { 0 };

	bench_fill(fs, source, (env->quick ? 256 : 1024) * STORE_MIB);
	must(ropefs_checkpoint(fs), "checkpoint");
	for (unsigned round = 0; round < env->rounds; round++)
		clone_round(env, fs, source, round, of);
	row_print(&(struct row) { .work = "clone of a 1 GB file, p50",
				  .unit = "us",
				  .own = &of[1],
				  .target = { TARGET_AT_MOST, 1000 } });
	row_print(&(struct row) { .work = "clone of a 1 GB file, durable, p50",
				  .unit = "us",
				  .base_name = "fdatasync",
				  .base = &of[0],
				  .own = &of[2] });
	bench_store_close(fs);
}
