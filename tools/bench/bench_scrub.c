/* bench_scrub.c - a logger appends 4 KiB each millisecond, in turn for a while with a scrub at a
 * given rate and without one. */
#include "tools/bench/bench_scrub.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "fs/ropefs_ioctl.h"
#include "tools/bench/bench.h"

enum {
	PIECE = 1 << 20,
	STORED_MIB = 256, /* random, so that they are so many on the disk, too */
	APPEND = 4096,
	APPENDS = 500, /* in a turn */
	TURNS = 20, /* of each kind */
	QUICK_TURNS = 8,
	PAUSE_US = 1000,
};

static void check(bool good, const char *what)
{
	if (!good)
		bench_fail(what, strerror(errno));
}

static int open_in(const char *mount, const char *name, int flags)
{
	char path[4300];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", mount, name);
	fd = open(path, flags | O_CLOEXEC, 0644);
	check(fd >= 0, path);
	return fd;
}

static void store_random(const char *mount, unsigned mib)
{
	int fd = open_in(mount, "scrubbed", O_WRONLY | O_CREAT | O_TRUNC);
	uint64_t *p = malloc(PIECE), state = 1;

	check(p, "memory");
	for (unsigned i = 0; i < mib; i++) {
		for (size_t k = 0; k < PIECE / sizeof(*p); k++)
			p[k] = bench_random(&state);
		check(write(fd, p, PIECE) == PIECE, "write");
	}
	check(fsync(fd) == 0, "fsync");
	close(fd);
	free(p);
}

static void start_scrub(int scrub, uint64_t rate)
{
	struct ropefs_ioc_scrub arg = { .bytes_per_s = rate };

	check(ioctl(scrub, ROPEFS_IOC_SCRUB_START, &arg) == 0, "scrub");
}

/* One turn's median and 99th percentile. */
static void turn(int fd, unsigned appends, struct series *p50, struct series *p99)
{
	const struct timespec pause = { .tv_nsec = PAUSE_US * 1000L };
	char record[APPEND];
	struct samples s;

	bench_text(record, sizeof(record), 1);
	samples_new(&s, appends);
	for (unsigned i = 0; i < appends; i++) {
		uint64_t began = bench_now_ns();

		check(write(fd, record, APPEND) == APPEND, "append");
		samples_add(&s, began);
		nanosleep(&pause, NULL);
	}
	series_add(p50, samples_us(&s, 0.5));
	series_add(p99, samples_us(&s, 0.99));
	samples_release(&s);
}

static void print(const char *rate, const char *what, const struct series *without,
		  const struct series *with)
{
	char work[64];

	snprintf(work, sizeof(work), "append during a scrub, %sB/s, %s", rate, what);
	row_print(&(struct row) { .work = work,
				  .unit = "us",
				  .base_name = "without",
				  .base = without,
				  .own = with });
}

static void measure(const struct scrub_bench *b, int scrub, const char *word,
		    uint64_t rate)
{
	int turns = b->smoke ? 1 : b->quick ? QUICK_TURNS : TURNS;
	int fd = open_in(b->mount, "appended", O_WRONLY | O_CREAT | O_APPEND);
	struct series p50[2] = { 0 }, p99[2] = { 0 };

	for (int i = 0; i < 2 * turns; i++) {
		bool with = i % 2;

		if (with)
			start_scrub(scrub, rate);
		turn(fd, b->smoke ? 20 : APPENDS, &p50[with], &p99[with]);
		check(!with || ioctl(scrub, ROPEFS_IOC_SCRUB_STOP) == 0, "scrub's end");
	}
	print(word, "p50", &p50[0], &p50[1]);
	print(word, "p99", &p99[0], &p99[1]);
	close(fd);
}

void scrub_bench_run(const struct scrub_bench *b, const char *only)
{
	static const struct {
		const char *word;
		uint64_t rate;
	} rates[] = { { "20 M", 20000000 }, { "200 M", 200000000 } };
	int scrub;

	if (!b->mount || !strstr("append during a scrub", only))
		return;
	scrub = open_in(b->mount, ".ropefs/scrub", O_RDONLY);
	store_random(b->mount, b->smoke ? 4 : STORED_MIB);
	for (int i = 0; i < 2; i++)
		measure(b, scrub, rates[i].word, rates[i].rate);
	close(scrub);
}
