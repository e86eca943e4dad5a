/* bench_store_queue.c - queues in-process: appends of records by one thread and by many, left to
 * the log or awaited; and finding records, by id and by time, in a queue of 100 million. */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/bench/bench_store.h"

#define WRITERS_MAX 16
#define BULK	    250u /* records an append while the long queue is made */

/* A file that is a queue, its records what one append brings, or lines. */
static uint64_t make_queue(struct ropefs *fs, const char *name, const char *framing)
{
	must(ropefs_setxattr(fs, ROPEFS_ROOT_INO, "user.ropefs.kind", "queue", 5, 0),
	     "policy");
	must(ropefs_setxattr(fs, ROPEFS_ROOT_INO, "user.ropefs.framing", framing,
			     strlen(framing), 0),
	     "policy");
	return bench_file(fs, name);
}

/* --- appends --- */

struct writer {
	pthread_t thread;
	struct ropefs *fs;
	uint64_t ino;
	size_t bytes;
	bool sync;
	const atomic_bool *stop;
	uint64_t count;
};

static void append(struct ropefs *fs, uint64_t ino, size_t n, uint64_t i)
{
	const char *p = bench_store_text() + i * n % (BENCH_TEXT_BYTES - n);

	must(ropefs_append(fs, ino, p, n, 0, NULL), "append");
}

static void *writer_main(void *arg)
{
	struct writer *w = arg;

	while (!atomic_load_explicit(w->stop, memory_order_relaxed)) {
		append(w->fs, w->ino, w->bytes, w->count++);
		if (w->sync)
			must(ropefs_sync(w->fs), "sync");
	}
	return NULL;
}

/* Records a second of all writers, to one queue. */
static double writers_round(struct writer like, unsigned n, unsigned ms)
{
	struct writer of[WRITERS_MAX];
	atomic_bool stop = false;
	uint64_t began = bench_now_ns(), count = 0;

	like.stop = &stop;
	for (unsigned i = 0; i < n; i++) {
		of[i] = like;
		if (pthread_create(&of[i].thread, NULL, writer_main, &of[i]))
			bench_fail("writers", "no thread");
	}
	usleep(ms * 1000);
	atomic_store(&stop, true);
	for (unsigned i = 0; i < n; i++) {
		pthread_join(of[i].thread, NULL);
		count += of[i].count;
	}
	return (double)count * 1e9 / (double)(bench_now_ns() - began);
}

static void one_writer(const struct bench_env *env, struct ropefs *fs, uint64_t ino,
		       size_t bytes)
{
	struct series p50 = { 0 }, p99 = { 0 }, disk = { 0 }, synced = { 0 };
	struct raw_disk *raw = raw_disk_new(env->folder);
	unsigned times = env->quick ? 10000 : 50000, syncs = env->smoke ? 10 : 200;
	struct samples s;
	char work[64];

	samples_new(&s, times);
	for (unsigned round = 0; round < env->rounds; round++) {
		samples_reset(&s);
		for (unsigned i = 0; i < times; i++) {
			uint64_t began = bench_now_ns();

			append(fs, ino, bytes, i);
			samples_add(&s, began);
		}
		series_add(&p50, samples_us(&s, 0.5));
		series_add(&p99, samples_us(&s, 0.99));
		samples_reset(&s);
		for (unsigned i = 0; i < syncs; i++) {
			uint64_t began = bench_now_ns();

			raw_disk_sync(raw);
			samples_add(&s, began);
		}
		series_add(&disk, samples_us(&s, 0.5));
		samples_reset(&s);
		for (unsigned i = 0; i < syncs; i++) {
			uint64_t began = bench_now_ns();

			append(fs, ino, bytes, i);
			must(ropefs_sync(fs), "sync");
			samples_add(&s, began);
		}
		series_add(&synced, samples_us(&s, 0.5));
	}
	snprintf(work, sizeof(work), "queue: append %zu B, p50", bytes);
	row_print(&(struct row) {
		.work = work,
		.unit = "us",
		.own = &p50,
		.target = { bytes == 128 ? TARGET_AT_MOST : TARGET_NONE, 0.2 } });
	snprintf(work, sizeof(work), "queue: append %zu B, p99", bytes);
	row_print(&(struct row) { .work = work, .unit = "us", .own = &p99 });
	snprintf(work, sizeof(work), "queue: append %zu B durable, p50", bytes);
	row_print(&(struct row) { .work = work,
				  .unit = "us",
				  .base_name = "fdatasync",
				  .base = &disk,
				  .own = &synced,
				  .target = { TARGET_RATIO_AT_MOST, 1.3 } });
	samples_release(&s);
	raw_disk_free(raw);
}

static void many_writers(const struct bench_env *env, struct writer like)
{
	static const unsigned counts[] = { 1, 4, 16 };
	char work[64];

	for (int i = 0; i < 3; i++) {
		struct series rate = { 0 };
		struct target target = { TARGET_NONE, 0 };

		for (unsigned round = 0; round < env->rounds; round++)
			series_add(&rate, writers_round(like, counts[i],
							env->smoke   ? 20
							: env->quick ? 200
								     : 1000));
		if (like.sync && counts[i] == 16)
			target = (struct target) { TARGET_AT_LEAST, 20000 };
		snprintf(work, sizeof(work), "queue: %zu B%s, %u writer%s", like.bytes,
			 like.sync ? " durable" : "", counts[i],
			 counts[i] > 1 ? "s" : "");
		row_print(&(struct row) {
			.work = work, .unit = "/s", .own = &rate, .target = target });
	}
}

void part_queue(const struct bench_env *env)
{
	struct ropefs *fs = bench_store_open(env, "queue", &(struct ropefs_opts) { 0 });
	static const size_t sizes[] = { 128, 1024 };

	for (int i = 0; i < 2; i++) {
		char name[8];
		uint64_t ino;

		snprintf(name, sizeof(name), "q%d", i);
		ino = make_queue(fs, name, "write");
		one_writer(env, fs, ino, sizes[i]);
		for (int sync = 0; sync < 2; sync++)
			many_writers(env, (struct writer) { .fs = fs,
							    .ino = ino,
							    .bytes = sizes[i],
							    .sync = sync });
	}
	bench_store_close(fs);
}

/* --- finding --- */

struct finding {
	const struct bench_env *env;
	struct ropefs *fs;
	uint64_t ino, records, seed;
	struct ropefs_time first, last;
	struct samples s;
};

static size_t put_line(char *p, uint64_t id)
{
	return (size_t)sprintf(p, "%llu ax=%llu\n", (unsigned long long)id,
			       (unsigned long long)(id * 2654435761u % 1000));
}

static void make_records(struct finding *f)
{
	char *p = malloc(BULK * 48);
	uint64_t began = bench_now_ns();

	if (!p)
		bench_fail("records", "out of memory");
	for (uint64_t id = 0; id < f->records;) {
		size_t n = 0;

		for (unsigned i = 0; i < BULK; i++)
			n += put_line(p + n, id++);
		must(ropefs_append(f->fs, f->ino, p, n, 0, NULL), "append");
	}
	free(p);
	row_note("%.1f million records of lines were appended at %.1f million a second",
		 (double)f->records / 1e6,
		 (double)f->records * 1e3 / (double)(bench_now_ns() - began));
}

/* memory 0: as much as a store takes by default. */
static void reopen(struct finding *f, uint64_t memory)
{
	struct ropefs_opts opts = { .memory_bytes = memory };
	struct ropefs_record last;
	struct ropefs_batch b = { .id = f->records - 1, .records = &last, .max = 1 };
	struct ropefs_queue q;
	struct ropefs_attr a;

	bench_store_close(f->fs);
	f->fs = bench_store_open(f->env, "finding", &opts);
	must(ropefs_resolve(f->fs, "/q", &a), "resolve");
	f->ino = a.ino;
	must(ropefs_queue_info(f->fs, f->ino, &q), "info");
	must(ropefs_queue_read(f->fs, f->ino, &b, 0), "read");
	f->first = q.first_time;
	f->last = last.time; /* follow_round() added others behind it */
}

/* The kernel keeps nothing of it in memory (if we may say so). */
static void drop_caches(void)
{
	int fd;

	sync();
	fd = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);
	if (fd >= 0) {
		if (write(fd, "1", 1) < 0)
			row_note("the kernel's caches stay");
		close(fd);
	}
}

static void check_line(const char *p, size_t n, uint64_t id)
{
	char want[48];

	if (n != put_line(want, id) || memcmp(p, want, n) != 0)
		bench_fail("find", "another record than the one that was sought");
}

/* One record by its id, bytes and all. */
static void read_one(struct finding *f)
{
	struct ropefs_record rec;
	char p[64];
	struct ropefs_batch b = { .id = bench_random(&f->seed) % f->records,
				  .records = &rec,
				  .max = 1,
				  .p = p,
				  .n = sizeof(p) };
	uint64_t began = bench_now_ns();

	must(ropefs_queue_read(f->fs, f->ino, &b, 0), "read");
	samples_add(&f->s, began);
	check_line(p, b.bytes, rec.id);
}

static void find_place(struct finding *f)
{
	uint64_t id = bench_random(&f->seed) % f->records, at;
	uint64_t began = bench_now_ns();

	must(ropefs_queue_offset(f->fs, f->ino, id, &at), "offset");
	samples_add(&f->s, began);
}

/* From all that the queue has. */
static struct ropefs_time random_time(struct finding *f)
{
	uint64_t span = (uint64_t)(f->last.ns - f->first.ns);

	return (struct ropefs_time) { f->first.ns +
				      (int64_t)(bench_random(&f->seed) % span) };
}

static void find_time(struct finding *f)
{
	struct ropefs_time t = random_time(f);
	uint64_t began = bench_now_ns(), id;

	must(ropefs_queue_find_time(f->fs, f->ino, t, &id), "time");
	samples_add(&f->s, began);
}

/* The first record that is not older than some time, bytes and all. */
static void read_by_time(struct finding *f)
{
	struct ropefs_time t = random_time(f);
	struct ropefs_record rec;
	char p[64];
	struct ropefs_batch b = { .records = &rec, .max = 1, .p = p, .n = sizeof(p) };
	uint64_t began = bench_now_ns();

	must(ropefs_queue_find_time(f->fs, f->ino, t, &b.id), "time");
	must(ropefs_queue_read(f->fs, f->ino, &b, 0), "read");
	samples_add(&f->s, began);
	check_line(p, b.bytes, rec.id);
	if (rec.time.ns < t.ns)
		bench_fail("find", "a record that is older than what was sought");
}

static void find_round(struct finding *f, void (*one)(struct finding *f), unsigned times,
		       struct series *to)
{
	samples_reset(&f->s);
	for (unsigned i = 0; i < times; i++)
		one(f);
	series_add(to, samples_us(&f->s, 0.5));
}

/* What `cat q@last=1000` needs. */
static double last_1000(struct finding *f)
{
	struct ropefs_view v;
	struct ropefs_selected sel;
	static char p[ROPEFS_WRITE_MAX];
	struct ropefs_batch b = { .max = UINT32_MAX, .p = p, .n = sizeof(p) };
	uint64_t began = bench_now_ns();

	must(ropefs_view_parse("q@last=1000", 11, &v), "view");
	must(ropefs_view_records(f->fs, f->ino, &v, &sel), "view");
	b.id = sel.from;
	must(ropefs_queue_read(f->fs, f->ino, &b, 0), "read");
	if (b.count != 1000)
		bench_fail("last", "another number of records");
	return (double)(bench_now_ns() - began) / 1e3;
}

/* What q@as=raw gives, in MB a second. */
static double scan(struct ropefs *fs, uint64_t ino, uint64_t records)
{
	static char p[ROPEFS_WRITE_MAX];
	struct ropefs_batch b = { .max = UINT32_MAX, .p = p, .n = sizeof(p) };
	uint64_t began = bench_now_ns(), bytes = 0;

	do {
		must(ropefs_queue_read(fs, ino, &b, 0), "read");
		bytes += b.bytes;
	} while (b.count);
	if (b.id != records)
		bench_fail("scan", "another number of records");
	return (double)bytes * 1e3 / (double)(bench_now_ns() - began);
}

static double blocks_a_seek(struct finding *f)
{
	struct ropefs_status before, after;

	ropefs_get_status(f->fs, &before);
	for (unsigned i = 0; i < 1000; i++)
		find_place(f);
	ropefs_get_status(f->fs, &after);
	return (double)(after.queue_blocks_read - before.queue_blocks_read) / 1000;
}

/* All of the table is read once, so that it is in memory, ours or the kernel's: by ids, and by
 * times, which have a tree of their own. */
static void warm_table(struct finding *f)
{
	uint64_t steps = f->records / 100, at;
	int64_t span = f->last.ns - f->first.ns;

	for (uint64_t i = 0; i < steps; i++) {
		struct ropefs_time t = {
			f->first.ns + (int64_t)((double)span * (double)i / (double)steps)
		};

		must(ropefs_queue_offset(f->fs, f->ino, i * 100, &at), "offset");
		must(ropefs_queue_find_time(f->fs, f->ino, t, &at), "time");
	}
}

/* A thread that waits for each next record, and reads it. */
struct following {
	pthread_t thread;
	struct finding *f;
	unsigned times;
	uint64_t next;
	atomic_uint_least64_t got; /* records */
	struct samples s;
	atomic_uint_least64_t began; /* the append of the record */
};

static void *following_main(void *arg)
{
	struct following *fo = arg;
	char p[64];

	for (unsigned i = 0; i < fo->times; i++) {
		struct ropefs_batch b = {
			.id = fo->next + i, .max = 1, .p = p, .n = sizeof(p)
		};

		must(ropefs_queue_wait(fo->f->fs, fo->f->ino, b.id, -1), "wait");
		must(ropefs_queue_read(fo->f->fs, fo->f->ino, &b, 0), "read");
		samples_add(&fo->s, atomic_load(&fo->began));
		atomic_fetch_add(&fo->got, 1);
	}
	return NULL;
}

static void follow_round(struct finding *f, unsigned times, struct series *to)
{
	struct following fo = { .f = f, .times = times };
	struct ropefs_queue q;

	samples_new(&fo.s, times);
	must(ropefs_queue_info(f->fs, f->ino, &q), "info");
	fo.next = q.next;
	if (pthread_create(&fo.thread, NULL, following_main, &fo))
		bench_fail("follower", "no thread");
	for (unsigned i = 0; i < times; i++) {
		usleep(200); /* until it waits again */
		atomic_store(&fo.began, bench_now_ns());
		must(ropefs_append(f->fs, f->ino, "one more\n", 9, 0, NULL), "append");
		while (atomic_load(&fo.got) <= i)
			sched_yield();
	}
	pthread_join(fo.thread, NULL);
	series_add(to, samples_us(&fo.s, 0.5));
	samples_release(&fo.s);
}

struct found {
	struct series all_cold, cold, place, time, last, blocks, follow, resident;
	struct series cold_time;
	struct series own_place, own_time; /* with memory for all of the table */
	struct series disk,
		disk_time; /* then: only the chunk has to come from the disk */
};

static void find_rounds(struct finding *f, struct found *r)
{
	unsigned times = f->env->quick ? 200 : 1000;

	for (unsigned round = 0; round < f->env->rounds; round++) {
		reopen(f, 4096 * STORE_MIB);
		warm_table(f);
		find_round(f, find_place, 20000, &r->own_place);
		find_round(f, find_time, 20000, &r->own_time);
		drop_caches();
		find_round(f, read_one, times, &r->disk);
		find_round(f, read_by_time, times, &r->disk_time);
		reopen(f, 0);
		drop_caches();
		series_add(&r->last, last_1000(f));
		find_round(f, read_one, times, &r->all_cold);
		warm_table(f);
		find_round(f, find_place, 20000, &r->place);
		find_round(f, find_time, 20000, &r->time);
		find_round(f, read_one, times, &r->cold);
		find_round(f, read_by_time, times, &r->cold_time);
		series_add(&r->blocks, blocks_a_seek(f));
		follow_round(f, times, &r->follow);
	}
}

static void print_found(const struct found *r)
{
	const struct row rows[] = {
		{ .work = "queue: a record by id, all cold, p50",
		  .unit = "us",
		  .own = &r->all_cold },
		{ .work = "queue: a record by id, its chunk cold, p50",
		  .unit = "us",
		  .own = &r->cold,
		  .target = { TARGET_AT_MOST, 300 } },
		{ .work = "queue: a record by time, its chunk cold, p50",
		  .unit = "us",
		  .own = &r->cold_time,
		  .target = { TARGET_AT_MOST, 300 } },
		{ .work = "queue: a record by id, its chunk on the disk, p50",
		  .unit = "us",
		  .own = &r->disk,
		  .target = { TARGET_AT_MOST, 300 } },
		{ .work = "queue: a record by time, its chunk on the disk, p50",
		  .unit = "us",
		  .own = &r->disk_time,
		  .target = { TARGET_AT_MOST, 300 } },
		{ .work = "queue: the place of an id, p50",
		  .unit = "us",
		  .own = &r->place },
		{ .work = "queue: the place of an id, memory=4G, p50",
		  .unit = "us",
		  .own = &r->own_place,
		  .target = { TARGET_AT_MOST, 5 } },
		{ .work = "queue: the place of a time, p50",
		  .unit = "us",
		  .own = &r->time },
		{ .work = "queue: the place of a time, memory=4G, p50",
		  .unit = "us",
		  .own = &r->own_time,
		  .target = { TARGET_AT_MOST, 5 } },
		{ .work = "queue: blocks of the table a seek",
		  .unit = "",
		  .own = &r->blocks },
		{ .work = "queue: last=1000, cold", .unit = "us", .own = &r->last },
		{ .work = "queue: append to a follower's return, p50",
		  .unit = "us",
		  .own = &r->follow },
		{ .work = "queue: appending them, memory=256M: VmHWM",
		  .unit = "MiB",
		  .own = &r->resident },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		row_print(&rows[i]);
}

void part_find(const struct bench_env *env)
{
	struct finding f = { .env = env,
			     .records = env->smoke   ? 100000
					: env->quick ? 10000000
						     : 100000000 };
	struct found found = { 0 };

	samples_new(&f.s, 100000);
	f.fs = bench_store_open(env, "finding", &(struct ropefs_opts) { 0 });
	f.ino = make_queue(f.fs, "q", "line");
	make_records(&f);
	series_add(&found.resident, bench_peak_mib());
	find_rounds(&f, &found);
	print_found(&found);
	samples_release(&f.s);
	bench_store_close(f.fs);
}

static double scan_file(struct ropefs *fs, uint64_t ino)
{
	static char p[ROPEFS_WRITE_MAX];
	uint64_t began = bench_now_ns(), at = 0;
	long n;

	while ((n = must(ropefs_read(fs, ino, at, p, sizeof(p), 0), "read")) > 0)
		at += (uint64_t)n;
	return (double)at * 1e3 / (double)(bench_now_ns() - began);
}

/* Records of 128 bytes, out of packs that the kernel has in memory; beside it the same bytes read
 * as those of a file. */
void part_scan(const struct bench_env *env)
{
	struct ropefs *fs = bench_store_open(
		env, "scan", &(struct ropefs_opts) { .memory_bytes = 64 * STORE_MIB });
	uint64_t records = env->smoke ? 20000 : env->quick ? 500000 : 4000000;
	uint64_t ino = make_queue(fs, "q", "write");
	struct series rate = { 0 }, file = { 0 };

	for (uint64_t i = 0; i < records; i++)
		append(fs, ino, 128, i);
	must(ropefs_checkpoint(fs), "checkpoint");
	for (unsigned round = 0; round < env->rounds; round++) {
		series_add(&file, scan_file(fs, ino));
		series_add(&rate, scan(fs, ino, records));
	}
	row_print(&(struct row) { .work = "queue: scan, as=raw, records of 128 B",
				  .unit = "MB/s",
				  .base_name = "as a file",
				  .base = &file,
				  .own = &rate,
				  .target = { TARGET_AT_LEAST, 500 } });
	bench_store_close(fs);
}
