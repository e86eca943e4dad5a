/* bench_store_bulk.c - much at once: loading and scanning, recovery from a long log, and the
 * memory that a large store takes. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/bench/bench_store.h"

/* This thread and those it starts stay on one core, or not. */
static void one_core(bool one)
{
	static cpu_set_t all;
	cpu_set_t set;
	int cpu = sched_getcpu();

	if (!CPU_COUNT(&all))
		sched_getaffinity(0, sizeof(all), &all);
	CPU_ZERO(&set);
	CPU_SET(cpu < 0 ? 0 : cpu, &set);
	sched_setaffinity(0, sizeof(set), one ? &set : &all);
}

static double mb_per_s(uint64_t bytes, uint64_t since)
{
	return (double)bytes * 1e3 / (double)(bench_now_ns() - since);
}

/* --- the same on the disk's own filesystem --- */

static double plain_load(const char *path, uint64_t bytes)
{
	uint64_t began = bench_now_ns();
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0)
		bench_fail(path, strerror(errno));
	for (uint64_t at = 0; at < bytes; at += STORE_MIB)
		if (write(fd, bench_store_text() + at % BENCH_TEXT_BYTES, STORE_MIB) !=
		    (ssize_t)STORE_MIB)
			bench_fail(path, strerror(errno));
	if (fdatasync(fd) < 0)
		bench_fail(path, strerror(errno));
	close(fd);
	return mb_per_s(bytes, began);
}

static double plain_scan(const char *path, uint64_t bytes)
{
	char *buffer = malloc(STORE_MIB);
	uint64_t began;
	ssize_t n;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || !buffer)
		bench_fail(path, strerror(errno));
	memset(buffer, 0, STORE_MIB);
	began = bench_now_ns();
	do
		n = read(fd, buffer, STORE_MIB);
	while (n > 0);
	close(fd);
	free(buffer);
	return mb_per_s(bytes, began);
}

/* --- loading and scanning --- */

static double load(struct ropefs *fs, const char *name, uint64_t bytes, uint64_t *ret_ino)
{
	uint64_t began = bench_now_ns();

	*ret_ino = bench_file(fs, name);
	bench_fill(fs, *ret_ino, bytes);
	must(ropefs_checkpoint(fs), "checkpoint");
	return mb_per_s(bytes, began);
}

static double scan(struct ropefs *fs, uint64_t ino)
{
	char *buffer = malloc(STORE_MIB);
	uint64_t began, at = 0;
	long n;

	if (!buffer)
		bench_fail("scan", "out of memory");
	memset(buffer, 0, STORE_MIB);
	began = bench_now_ns();
	do {
		n = must(ropefs_read(fs, ino, at, buffer, STORE_MIB, 0), "read");
		at += (uint64_t)n;
	} while (n > 0);
	free(buffer);
	return mb_per_s(at, began);
}

struct bulk {
	const struct bench_env *env;
	struct ropefs *fs;
	char plain[4096];
	uint64_t bytes, ino;
	double shrunk; /* plain bytes to a sealed one */
	struct series disk_load, load, load_free, disk_scan, scan, edits, scan_edited;
};

static const struct ropefs_opts defaults;

/* Caches of the store are cold afterwards. */
static void reopen(struct bulk *b)
{
	if (b->fs)
		bench_store_close(b->fs);
	b->fs = bench_store_open(b->env, "bulk", &defaults);
}

static void bulk_round(struct bulk *b, unsigned round)
{
	struct ropefs_status st;
	uint64_t free_ino;
	char name[32];

	one_core(false);
	reopen(b);
	snprintf(name, sizeof(name), "free%u", round);
	series_add(&b->load_free, load(b->fs, name, b->bytes, &free_ino));
	must(ropefs_unlink(b->fs, ROPEFS_ROOT_INO, ropefs_name(name)), "unlink");
	must(ropefs_collect(b->fs), "collect");

	one_core(true);
	reopen(b);
	series_add(&b->disk_load, plain_load(b->plain, b->bytes));
	snprintf(name, sizeof(name), "load%u", round);
	series_add(&b->load, load(b->fs, name, b->bytes, &b->ino));
	ropefs_get_status(b->fs, &st);
	b->shrunk = (double)st.plain_bytes / (double)st.sealed_bytes;
	reopen(b);
	series_add(&b->disk_scan, plain_scan(b->plain, b->bytes));
	series_add(&b->scan, scan(b->fs, b->ino));
}

static void edited_rounds(struct bulk *b, unsigned edits)
{
	uint64_t size = b->bytes, seed = 7, began = bench_now_ns();

	for (unsigned i = 0; i < edits; i++)
		bench_insert(b->fs, b->ino, &size, &seed);
	must(ropefs_checkpoint(b->fs), "checkpoint");
	series_add(&b->edits, edits * 1e9 / (double)(bench_now_ns() - began));
	for (unsigned round = 0; round < b->env->rounds; round++) {
		reopen(b);
		series_add(&b->scan_edited, scan(b->fs, b->ino));
	}
}

void part_bulk(const struct bench_env *env)
{
	struct bulk b = { .env = env, .bytes = (env->quick ? 256 : 1024) * STORE_MIB };
	unsigned edits = env->quick ? 100000 : 1000000;
	char work[64];

	snprintf(b.plain, sizeof(b.plain), "%s/plain", env->folder);
	for (unsigned round = 0; round < env->rounds; round++)
		bulk_round(&b, round);
	edited_rounds(&b, edits);
	row_print(&(struct row) { .work = "bulk load, one core",
				  .unit = "MB/s",
				  .base_name = "ext4",
				  .base = &b.disk_load,
				  .own = &b.load,
				  .target = { TARGET_AT_LEAST, 200 } });
	row_print(&(struct row) { .work = "bulk load, all cores",
				  .unit = "MB/s",
				  .base_name = "ext4",
				  .base = &b.disk_load,
				  .own = &b.load_free });
	row_print(&(struct row) { .work = "sequential scan, one core",
				  .unit = "MB/s",
				  .base_name = "ext4",
				  .base = &b.disk_scan,
				  .own = &b.scan,
				  .target = { TARGET_AT_LEAST, 500 } });
	snprintf(work, sizeof(work), "scan after %g random inserts", (double)edits);
	row_print(&(struct row) { .work = work,
				  .unit = "MB/s",
				  .base_name = "unedited",
				  .base = &b.scan,
				  .own = &b.scan_edited,
				  .target = { TARGET_AT_LEAST, 300 } });
	row_print(&(struct row) { .work = "those inserts, packed, one core",
				  .unit = "/s",
				  .own = &b.edits });
	row_note("text of %.2f plain bytes to a sealed one, %llu MB at a time", b.shrunk,
		 (unsigned long long)(b.bytes / 1000000));
	bench_store_close(b.fs);
}

/* --- recovery --- */

/* In a process of its own: logs so many bytes, syncs, and is killed. n is the length of each
 * insert, or of each append when above 4 KiB. */
static void log_and_die(const struct bench_env *env, const char *name, size_t n,
			uint64_t log_bytes)
{
	const struct ropefs_opts opts = { .memory_bytes = 4096 * STORE_MIB,
					  .checkpoint_s = 3600 };
	struct ropefs *fs = bench_store_open(env, name, &opts);
	uint64_t ino = bench_file(fs, "logged"), size = 64 * STORE_MIB, seed = n;
	struct ropefs_status st;

	bench_fill(fs, ino, size);
	must(ropefs_checkpoint(fs), "checkpoint");
	do {
		for (size_t i = 0; i < STORE_MIB; i += n) {
			if (n <= 4096)
				bench_insert(fs, ino, &size, &seed);
			else
				bench_fill(fs, ino, n);
		}
		must(ropefs_sync(fs), "sync");
		ropefs_get_status(fs, &st);
	} while (st.log_bytes < log_bytes);
	kill(getpid(), SIGKILL);
}

static void run_and_wait(char *const argv[])
{
	int status = -1;
	pid_t child = fork();

	if (child == 0) {
		execvp(argv[0], argv);
		_exit(127);
	}
	if (child < 0 || waitpid(child, &status, 0) != child || status)
		bench_fail(argv[0], "failed");
}

/* The store `from` as it was left, under another name. */
static void copy_store(const struct bench_env *env, const char *from, const char *to)
{
	static const char *ending[] = { "", ".key" };
	char a[4096], b[4096];

	for (int i = 0; i < 2; i++) {
		snprintf(a, sizeof(a), "%s/%s%s", env->folder, from, ending[i]);
		snprintf(b, sizeof(b), "%s/%s%s", env->folder, to, ending[i]);
		bench_remove(b);
		run_and_wait((char *[]) { "cp", "-a", a, b, NULL });
	}
}

static void recover_rounds(const struct bench_env *env, const char *from,
			   uint64_t memory_bytes, const char *work)
{
	const struct ropefs_opts opts = { .memory_bytes = memory_bytes };
	struct series seconds = { 0 };
	struct ropefs_status st = { 0 };

	for (unsigned round = 0; round < env->rounds; round++) {
		struct ropefs *fs;
		uint64_t began;

		copy_store(env, from, "copy");
		began = bench_now_ns();
		fs = bench_store_open(env, "copy", &opts);
		series_add(&seconds, (double)(bench_now_ns() - began) / 1e9);
		ropefs_get_status(fs, &st);
		bench_store_close(fs);
	}
	row_print(&(struct row) { .work = work,
				  .unit = "s",
				  .own = &seconds,
				  .target = { TARGET_AT_MOST, 1.5 } });
	row_note("%llu records replayed", (unsigned long long)st.recovered_records);
}

void part_recovery(const struct bench_env *env)
{
	static const struct {
		const char *name, *what;
		size_t n;
	} logs[] = { { "inserts", "inserts of 100 B", 100 },
		     { "appends", "appends of 64 KiB", 65536 } };
	uint64_t bytes = (env->quick ? 64 : 256) * (uint64_t)1000000;
	char work[96];

	for (size_t i = 0; i < sizeof(logs) / sizeof(logs[0]); i++) {
		pid_t child = fork();
		int status = 0;

		if (child == 0) {
			log_and_die(env, logs[i].name, logs[i].n, bytes);
			_exit(EXIT_FAILURE);
		}
		if (child < 0 || waitpid(child, &status, 0) != child ||
		    !WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
			bench_fail("recovery", "the store could not be made");
		snprintf(work, sizeof(work), "recover %u MB: %s",
			 (unsigned)(bytes / 1000000), logs[i].what);
		recover_rounds(env, logs[i].name, 0, work);
		snprintf(work, sizeof(work), "recover %u MB: %s, memory=4G",
			 (unsigned)(bytes / 1000000), logs[i].what);
		recover_rounds(env, logs[i].name, 4096 * STORE_MIB, work);
	}
}

/* --- memory --- */

#define SPARSE_STEP  ((uint64_t)128 << 10)
#define SPARSE_BLOCK ((size_t)4096)

static void random_block(char *p, uint64_t *seed)
{
	for (size_t i = 0; i < SPARSE_BLOCK; i += sizeof(uint64_t)) {
		uint64_t v = bench_random(seed);

		memcpy(p + i, &v, sizeof(v));
	}
}

static double sparse_load(struct ropefs *fs, uint64_t ino, uint64_t bytes)
{
	uint64_t seed = 3, began = bench_now_ns();
	char block[SPARSE_BLOCK];

	for (uint64_t at = 0; at < bytes; at += SPARSE_STEP) {
		uint64_t in = bench_random(&seed) % (SPARSE_STEP - SPARSE_BLOCK + 1);

		random_block(block, &seed);
		must(ropefs_write(fs, ino, at + in, block, sizeof(block), 0, NULL),
		     "write");
	}
	must(ropefs_checkpoint(fs), "checkpoint");
	return (double)(bench_now_ns() - began) / 1e9;
}

static void sparse_use(struct ropefs *fs, uint64_t ino, unsigned times,
		       struct series *reads, struct series *edits)
{
	struct ropefs_attr attr;
	static char buffer[SPARSE_STEP];
	struct samples s;
	uint64_t seed = 5, size;

	samples_new(&s, times);
	must(ropefs_getattr(fs, ino, &attr), "getattr");
	for (unsigned i = 0; i < times; i++) {
		uint64_t at = bench_random(&seed) % (attr.size - SPARSE_STEP);
		uint64_t began = bench_now_ns();

		must(ropefs_read(fs, ino, at, buffer, sizeof(buffer), 0), "read");
		samples_add(&s, began);
	}
	series_add(reads, samples_us(&s, 0.5));
	samples_reset(&s);
	size = attr.size;
	for (unsigned i = 0; i < times; i++) {
		uint64_t began = bench_now_ns();

		bench_insert(fs, ino, &size, &seed);
		samples_add(&s, began);
	}
	series_add(edits, samples_us(&s, 0.5));
	samples_release(&s);
}

void part_memory(const struct bench_env *env)
{
	const struct ropefs_opts opts = { .memory_bytes = 64 * STORE_MIB };
	uint64_t gib = env->big ? 20 : env->quick ? 1 : 4;
	struct ropefs *fs = bench_store_open(env, "sparse", &opts);
	uint64_t ino = bench_file(fs, "sparse");
	struct series peak = { 0 }, reads = { 0 }, edits = { 0 };
	double seconds = sparse_load(fs, ino, gib << 30);
	char work[96];

	for (unsigned round = 0; round < env->rounds; round++)
		sparse_use(fs, ino, env->quick ? 2000 : 20000, &reads, &edits);
	series_add(&peak, bench_peak_mib());
	snprintf(work, sizeof(work), "%llu GiB sparse, memory=64M: VmHWM",
		 (unsigned long long)gib);
	row_print(&(struct row) { .work = work,
				  .unit = "MiB",
				  .own = &peak,
				  .target = { TARGET_AT_MOST, 128 } });
	row_print(&(struct row) { .work = "  random 128 KiB read of it, p50",
				  .unit = "us",
				  .own = &reads });
	row_print(&(struct row) { .work = "  random 100 B insert in it, p50",
				  .unit = "us",
				  .own = &edits });
	row_note("4 KiB of noise in each 128 KiB: %llu extents, loaded in %.1f s; 4 MiB "
		 "of "
		 "the peak are the bench's own text",
		 (unsigned long long)(2 * (gib << 30) / SPARSE_STEP), seconds);
	bench_store_close(fs);
}
