/* bench_mount.c - what programs get from the mount: the same calls in turn on a folder of
 * the disk's own filesystem, on libfuse's passthrough_ll over it, and on ropefs. Started by
 * the script `mount`, which makes the three folders; `-` stands for one that is not there.
 *
 * usage: bench_mount [--quick | --smoke] [--files=N] [--only=WORDS] PLAIN PASSTHROUGH
 *	ROPEFS
 * $BENCH_COLD is a command that starts the daemon anew and drops the kernel's caches;
 * $BENCH_GIT is a repository to clone. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tools/bench/bench.h"
#include "tools/bench/bench_many.h"
#include "tools/bench/bench_queue.h"
#include "tools/bench/bench_scrub.h"

#define KIB_1	     ((size_t)1 << 10)
#define MIB_1	     ((size_t)1 << 20)
#define TEXT_BYTES   (4 * MIB_1)
#define INSERT_BYTES 100
#define MANY_NS	     ((uint64_t)300 * 1000000000)

enum place { PLAIN, PASSTHROUGH, ROPEFS, PLACES };

static const char *place_name[PLACES] = { "ext4", "pll", "ropefs" };

struct bench {
	const char *folder[PLACES]; /* NULL: not there */
	const char *cold;
	bool quick;
	unsigned rounds;
	size_t big_bytes;
	unsigned many_files;
	char *text, *buffer; /* TEXT_BYTES, MIB_1 */
};

/* A row of the table. round() gives the figure of one round in one place, or a negative
 * number where the work makes no sense. */
struct work {
	const char *name, *unit;
	double (*round)(struct bench *b, enum place place, size_t n);
	size_t n;
	enum place base;
	struct target target;
};

static void check(bool good, const char *what)
{
	if (!good)
		bench_fail(what, strerror(errno));
}

static void path_in(const struct bench *b, enum place place, const char *name, char to[])
{
	snprintf(to, 4096, "%s/%s", b->folder[place], name);
}

static int open_in(const struct bench *b, enum place place, const char *name, int flags)
{
	char path[4096];
	int fd;

	path_in(b, place, name, path);
	fd = open(path, flags | O_CLOEXEC, 0644);
	check(fd >= 0, path);
	return fd;
}

static void remove_in(const struct bench *b, enum place place, const char *name)
{
	char path[4096];

	path_in(b, place, name, path);
	check(unlink(path) == 0, path);
}

static double per_second(double count, uint64_t since)
{
	return count * 1e9 / (double)(bench_now_ns() - since);
}

/* --- appends --- */

static double append(struct bench *b, enum place place, size_t n)
{
	size_t times = MIB_1 * (b->quick ? 16 : 64) / n;
	int fd = open_in(b, place, "append", O_WRONLY | O_CREAT | O_TRUNC | O_APPEND);
	struct samples s;
	double us;

	times = times > 5000 ? 5000 : times;
	samples_new(&s, times);
	for (size_t i = 0; i < times; i++) {
		const char *p = b->text + i * n % (TEXT_BYTES - n + 1);
		uint64_t began = bench_now_ns();

		check(write(fd, p, n) == (ssize_t)n, "append");
		samples_add(&s, began);
	}
	us = samples_us(&s, 0.5);
	samples_release(&s);
	close(fd);
	remove_in(b, place, "append");
	return us;
}

struct appender {
	pthread_t thread;
	const struct bench *b;
	int fd;
	uint64_t until_ns, count;
};

static void *appender_main(void *arg)
{
	struct appender *a = arg;

	while (bench_now_ns() < a->until_ns) {
		check(write(a->fd, a->b->text, 128) == 128, "append");
		check(fdatasync(a->fd) == 0, "fdatasync");
		a->count++;
	}
	return NULL;
}

/* Durable appends a second of `writers` threads, each to a file of its own. */
static double append_durable(struct bench *b, enum place place, size_t writers)
{
	uint64_t began = bench_now_ns(), count = 0;
	struct appender of[16] = { 0 };
	char name[32];
	double rate;

	for (size_t i = 0; i < writers; i++) {
		snprintf(name, sizeof(name), "durable%zu", i);
		of[i].b = b;
		of[i].fd =
			open_in(b, place, name, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND);
		check(fsync(of[i].fd) == 0, name);
	}
	began = bench_now_ns();
	for (size_t i = 0; i < writers; i++) {
		of[i].until_ns = began + (b->quick ? 300 : 1000) * (uint64_t)1000000;
		check(pthread_create(&of[i].thread, NULL, appender_main, &of[i]) == 0,
		      "thread");
	}
	for (size_t i = 0; i < writers; i++) {
		pthread_join(of[i].thread, NULL);
		count += of[i].count;
	}
	rate = per_second((double)count, began);
	for (size_t i = 0; i < writers; i++) {
		snprintf(name, sizeof(name), "durable%zu", i);
		close(of[i].fd);
		remove_in(b, place, name);
	}
	return rate;
}

/* --- a big file --- */

/* Returns MB/s. */
static double write_big(struct bench *b, enum place place, size_t n)
{
	int fd = open_in(b, place, "big", O_WRONLY | O_CREAT | O_TRUNC);
	uint64_t began = bench_now_ns();
	double rate;

	for (size_t at = 0; at < b->big_bytes; at += n)
		check(write(fd, b->text + at % TEXT_BYTES, n) == (ssize_t)n, "write");
	check(fdatasync(fd) == 0, "fdatasync");
	rate = per_second((double)b->big_bytes / 1e6, began);
	close(fd);
	return rate;
}

/* The file is there with all its bytes, whatever was run before. */
static int open_big(struct bench *b, enum place place, int flags)
{
	char path[4096];
	struct stat st;

	path_in(b, place, "big", path);
	if (stat(path, &st) < 0 || (size_t)st.st_size < b->big_bytes)
		write_big(b, place, MIB_1);
	return open_in(b, place, "big", flags);
}

static double read_all(struct bench *b, int fd, size_t n)
{
	uint64_t began = bench_now_ns();
	size_t at = 0;
	ssize_t r;

	do {
		r = pread(fd, b->buffer, n, (off_t)at);
		check(r >= 0, "read");
		at += (size_t)r;
	} while (r > 0);
	return per_second((double)at / 1e6, began);
}

static double read_warm(struct bench *b, enum place place, size_t n)
{
	int fd = open_big(b, place, O_RDONLY);
	double rate;

	read_all(b, fd, n);
	rate = read_all(b, fd, n);
	close(fd);
	return rate;
}

static double read_cold(struct bench *b, enum place place, size_t n)
{
	double rate;
	int fd = open_big(b, place, O_RDONLY);

	close(fd);
	if (!b->cold)
		return -1;
	if (system(b->cold) != 0)
		bench_fail(b->cold, "failed");
	fd = open_in(b, place, "big", O_RDONLY);
	rate = read_all(b, fd, n);
	close(fd);
	return rate;
}

static double read_random(struct bench *b, enum place place, size_t n)
{
	size_t times = b->quick ? 5000 : 50000;
	int fd = open_big(b, place, O_RDONLY);
	uint64_t seed = 1;
	struct samples s;
	double us;

	read_all(b, fd, MIB_1);
	samples_new(&s, times);
	for (size_t i = 0; i < times; i++) {
		size_t at = bench_random(&seed) % (b->big_bytes / n) * n;
		uint64_t began = bench_now_ns();

		check(pread(fd, b->buffer, n, (off_t)at) == (ssize_t)n, "pread");
		samples_add(&s, began);
	}
	us = samples_us(&s, 0.5);
	samples_release(&s);
	close(fd);
	return us;
}

/* --- inserts --- */

/* What a program does without an insert: moves the tail from its end on, then syncs. */
static void shift(struct bench *b, int fd, size_t at)
{
	off_t size = lseek(fd, 0, SEEK_END);

	for (size_t end = (size_t)size; end > at;) {
		size_t n = end - at < MIB_1 ? end - at : MIB_1;

		end -= n;
		check(pread(fd, b->buffer, n, (off_t)end) == (ssize_t)n, "pread");
		check(pwrite(fd, b->buffer, n, (off_t)(end + INSERT_BYTES)) == (ssize_t)n,
		      "pwrite");
	}
	check(pwrite(fd, b->text, INSERT_BYTES, (off_t)at) == INSERT_BYTES, "pwrite");
	check(fdatasync(fd) == 0, "fdatasync");
}

static void insert_by_view(struct bench *b, int fd, size_t at)
{
	char name[64];
	int view;

	snprintf(name, sizeof(name), "big@bytes=%zu..%zu", at, at);
	view = open_in(b, ROPEFS, name, O_WRONLY);
	check(write(view, b->text, INSERT_BYTES) == INSERT_BYTES, "write to a view");
	check(close(view) == 0, "close of a view");
	check(fdatasync(fd) == 0, "fdatasync");
}

/* Microseconds, at random places. */
static double insert(struct bench *b, enum place place, size_t n)
{
	size_t times = place == ROPEFS ? 50 : 2;
	uint64_t seed = bench_now_ns();
	struct samples s;
	double us;
	int fd;

	if (place == PASSTHROUGH)
		return -1;
	fd = open_big(b, place, O_RDWR);
	check(fsync(fd) == 0, "fsync");
	samples_new(&s, times);
	for (size_t i = 0; i < times; i++) {
		size_t at = bench_random(&seed) % b->big_bytes;
		uint64_t began = bench_now_ns();

		if (place == PLAIN)
			shift(b, fd, at);
		else
			insert_by_view(b, fd, at);
		samples_add(&s, began);
	}
	us = samples_us(&s, 0.5);
	samples_release(&s);
	close(fd);
	return us;
}

/* --- names --- */

static void make_names(struct bench *b, enum place place, size_t n, bool make)
{
	char name[32];

	for (size_t i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "name%zu", i);
		if (make)
			close(open_in(b, place, name, O_WRONLY | O_CREAT | O_EXCL));
		else
			remove_in(b, place, name);
	}
}

static double create(struct bench *b, enum place place, size_t n)
{
	uint64_t began = bench_now_ns();
	double rate;

	make_names(b, place, n, true);
	rate = per_second((double)n, began);
	make_names(b, place, n, false);
	return rate;
}

static double remove_names(struct bench *b, enum place place, size_t n)
{
	uint64_t began;

	make_names(b, place, n, true);
	began = bench_now_ns();
	make_names(b, place, n, false);
	return per_second((double)n, began);
}

/* flags: AT_STATX_FORCE_SYNC asks the daemon each time. */
static double stat_names(struct bench *b, enum place place, size_t flags)
{
	const size_t names = 100, times = b->quick ? 20 : 200;
	char(*path)[4096] = malloc(names * sizeof(*path));
	struct statx st;
	char name[32];
	uint64_t began;
	double rate;

	check(path, "stat");
	make_names(b, place, names, true);
	for (size_t i = 0; i < names; i++) {
		snprintf(name, sizeof(name), "name%zu", i);
		path_in(b, place, name, path[i]);
	}
	began = bench_now_ns();
	for (size_t k = 0; k < times; k++)
		for (size_t i = 0; i < names; i++)
			check(statx(AT_FDCWD, path[i], (int)flags, STATX_BASIC_STATS,
				    &st) == 0,
			      path[i]);
	rate = per_second((double)(names * times), began);
	make_names(b, place, names, false);
	free(path);
	return rate;
}

/* --- the table --- */

static const struct work works[] = {
	{ "append 128 B, p50",
	  "us",
	  append,
	  128,
	  PASSTHROUGH,
	  { TARGET_RATIO_AT_MOST, 0.8 } },
	{ "append 1 KiB, p50",
	  "us",
	  append,
	  KIB_1,
	  PASSTHROUGH,
	  { TARGET_RATIO_AT_MOST, 0.8 } },
	{ "append 4 KiB, p50",
	  "us",
	  append,
	  4 * KIB_1,
	  PASSTHROUGH,
	  { TARGET_RATIO_AT_MOST, 0.8 } },
	{ "append 64 KiB, p50",
	  "us",
	  append,
	  64 * KIB_1,
	  PASSTHROUGH,
	  { TARGET_RATIO_AT_MOST, 0.8 } },
	{ "append 1 MiB, p50",
	  "us",
	  append,
	  MIB_1,
	  PASSTHROUGH,
	  { TARGET_RATIO_AT_MOST, 0.8 } },
	{ "append 128 B + fdatasync, one writer",
	  "/s",
	  append_durable,
	  1,
	  PLAIN,
	  { TARGET_RATIO_AT_LEAST, 0.9 } },
	{ "append 128 B + fdatasync, 8 writers",
	  "/s",
	  append_durable,
	  8,
	  PLAIN,
	  { TARGET_RATIO_AT_LEAST, 3 } },
	{ "sequential write, 1 MiB calls, durable",
	  "MB/s",
	  write_big,
	  MIB_1,
	  PLAIN,
	  { TARGET_NONE, 0 } },
	{ "sequential read, warm",
	  "MB/s",
	  read_warm,
	  128 * KIB_1,
	  PLAIN,
	  { TARGET_RATIO_AT_LEAST, 0.45 } },
	{ "sequential read, cold",
	  "MB/s",
	  read_cold,
	  128 * KIB_1,
	  PLAIN,
	  { TARGET_RATIO_AT_LEAST, 0.5 } },
	{ "random read of 4 KiB, warm, p50",
	  "us",
	  read_random,
	  4 * KIB_1,
	  PLAIN,
	  { TARGET_RATIO_AT_MOST, 1.2 } },
	{ "create", "/s", create, 2000, PLAIN, { TARGET_RATIO_AT_LEAST, 1 } },
	{ "unlink", "/s", remove_names, 2000, PLAIN, { TARGET_RATIO_AT_LEAST, 0.35 } },
	{ "stat, cached", "/s", stat_names, 0, PLAIN, { TARGET_RATIO_AT_LEAST, 0.9 } },
	{ "stat, asking the daemon",
	  "/s",
	  stat_names,
	  AT_STATX_FORCE_SYNC,
	  PLAIN,
	  { TARGET_RATIO_AT_LEAST, 0.15 } },
	{ "insert 100 B in the big file, by a view",
	  "us",
	  insert,
	  false,
	  PLAIN,
	  { TARGET_RATIO_AT_MOST, 0.001 } },
};

static void measure(struct bench *b, const struct work *w)
{
	struct series of[PLACES] = { 0 };
	enum place other = w->base == PLAIN ? PASSTHROUGH : PLAIN;

	for (unsigned round = 0; round < b->rounds; round++) {
		for (int place = 0; place < PLACES; place++) {
			double v = b->folder[place] ? w->round(b, place, w->n) : -1;

			if (v >= 0)
				series_add(&of[place], v);
		}
	}
	if (!of[ROPEFS].n)
		return;
	row_print(&(struct row) { .work = w->name,
				  .unit = w->unit,
				  .base_name = place_name[w->base],
				  .base = &of[w->base],
				  .base2_name = place_name[other],
				  .base2 = &of[other],
				  .own = &of[ROPEFS],
				  .target = w->target });
}

/* Targets are those of the single calls above: what many files change is to be seen. */
static const struct {
	const char *name, *unit;
	struct target target;
} many[MANY_WORKS] = {
	[MANY_CREATE] = { "many files: create, write 200 B",
			  "/s",
			  { TARGET_RATIO_AT_LEAST, 1 } },
	[MANY_LIST] = { "many files: readdir", "/s", { TARGET_NONE, 0 } },
	[MANY_STAT] = { "many files: first stat", "/s", { TARGET_RATIO_AT_LEAST, 0.15 } },
	[MANY_STAT_AGAIN] = { "many files: stat again",
			      "/s",
			      { TARGET_RATIO_AT_LEAST, 0.9 } },
	[MANY_READ] = { "many files: open, read", "/s", { TARGET_NONE, 0 } },
	[MANY_UNLINK] = { "many files: unlink", "/s", { TARGET_RATIO_AT_LEAST, 0.35 } },
	[MANY_GIT] = { "many files: git clone", "s", { TARGET_NONE, 0 } },
};

/* passthrough_ll has a descriptor for each file that the kernel knows. */
static bool may_have(const struct bench *b, enum place place)
{
	const char *most = getenv("BENCH_PASSTHROUGH_FILES");

	return b->folder[place] && (place != PASSTHROUGH || !most ||
				    strtoul(most, NULL, 10) >= b->many_files);
}

/* A round of 100,000 files takes a minute or several: another one is begun only while it is
 * likely to end within MANY_NS. */
static void measure_many(struct bench *b)
{
	struct series of[MANY_WORKS][PLACES] = { 0 };
	unsigned most = b->quick ? 1 : 3;
	uint64_t began = bench_now_ns();
	double v[MANY_WORKS];

	row_note("%u files of 200 bytes", b->many_files);
	for (unsigned round = 0; round < most; round++) {
		if (round && (bench_now_ns() - began) / round * (round + 1) > MANY_NS)
			break;
		for (int place = 0; place < PLACES; place++) {
			if (!may_have(b, place))
				continue;
			many_run(b->folder[place], b->many_files, v);
			for (int i = 0; i < MANY_WORKS; i++)
				if (v[i] >= 0)
					series_add(&of[i][place], v[i]);
		}
	}
	for (int i = 0; i < MANY_WORKS; i++)
		if (of[i][ROPEFS].n)
			row_print(&(struct row) { .work = many[i].name,
						  .unit = many[i].unit,
						  .base_name = place_name[PLAIN],
						  .base = &of[i][PLAIN],
						  .base2_name = place_name[PASSTHROUGH],
						  .base2 = &of[i][PASSTHROUGH],
						  .own = &of[i][ROPEFS],
						  .target = many[i].target });
}

static int usage(void)
{
	fprintf(stderr,
		"usage: bench_mount [--quick | --smoke] [--files=N] [--only=WORDS] "
		"PLAIN PASSTHROUGH ROPEFS\n");
	return 2;
}

int main(int argc, char **argv)
{
	static const struct option longs[] = { { "quick", no_argument, NULL, 'q' },
					       { "only", required_argument, NULL, 'o' },
					       { "smoke", no_argument, NULL, 's' },
					       { "files", required_argument, NULL, 'f' },
					       { 0 } };
	struct bench b = { .rounds = 5, .cold = getenv("BENCH_COLD") };
	const char *only = "";
	bool smoke = false;
	int c;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		b.quick |= c == 'q';
		smoke |= c == 's';
		if (c == 'o')
			only = optarg;
		if (c == 'f')
			b.many_files = (unsigned)strtoul(optarg, NULL, 10);
		if (c == '?')
			return usage();
	}
	if (argc - optind != PLACES)
		return usage();
	for (int i = 0; i < PLACES; i++)
		if (strcmp(argv[optind + i], "-") != 0)
			b.folder[i] = argv[optind + i];
	b.quick |= smoke;
	if (b.quick)
		b.rounds = smoke ? 1 : 3;
	if (!b.many_files)
		b.many_files = smoke ? 1000 : b.quick ? 5000 : 100000;
	b.big_bytes = (b.quick ? 128 : 1024) * MIB_1;
	b.text = malloc(TEXT_BYTES);
	b.buffer = malloc(MIB_1);
	check(b.text && b.buffer, "memory");
	bench_text(b.text, TEXT_BYTES, 1);
	row_head();
	row_note("the big file has %zu MiB", b.big_bytes / MIB_1);
	for (size_t i = 0; i < sizeof(works) / sizeof(works[0]); i++)
		if (strstr(works[i].name, only))
			measure(&b, &works[i]);
	if (strstr("many files", only))
		measure_many(&b);
	queue_bench_run(&(struct queue_bench) { .plain = b.folder[PLAIN],
						.mount = b.folder[ROPEFS],
						.quick = b.quick,
						.smoke = smoke,
						.rounds = b.rounds },
			only);
	scrub_bench_run(&(struct scrub_bench) { .mount = b.folder[ROPEFS],
						.quick = b.quick,
						.smoke = smoke },
			only);
	free(b.text);
	free(b.buffer);
	return EXIT_SUCCESS;
}
