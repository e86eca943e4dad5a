#include "tools/bench/bench.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define RAW_BYTES ((size_t)16 << 20)
#define RAW_BLOCK ((size_t)4096)

struct raw_disk {
	int fd;
	off_t at;
};

uint64_t bench_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

uint64_t bench_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* What reading the clock twice costs; taken off each sample. */
static uint64_t clock_ns(void)
{
	static uint64_t cost;
	uint64_t began = bench_now_ns();

	if (cost)
		return cost;
	for (int i = 0; i < 100000; i++)
		bench_now_ns();
	cost = (bench_now_ns() - began) / 100000;
	return cost;
}

/* --- figures --- */

void series_add(struct series *s, double v)
{
	if (s->n < BENCH_ROUNDS_MAX)
		s->v[s->n++] = v;
}

static int double_cmp(const void *pa, const void *pb)
{
	const double *a = pa, *b = pb;

	return *a < *b ? -1 : *a > *b;
}

static double series_median(const struct series *s)
{
	struct series sorted = *s;

	if (!s->n)
		return 0;
	qsort(sorted.v, sorted.n, sizeof(sorted.v[0]), double_cmp);
	return sorted.n % 2 ? sorted.v[sorted.n / 2]
			    : (sorted.v[sorted.n / 2 - 1] + sorted.v[sorted.n / 2]) / 2;
}

void samples_new(struct samples *s, size_t cap)
{
	*s = (struct samples) { .ns = malloc(cap * sizeof(*s->ns)), .cap = cap };
	if (!s->ns)
		bench_fail("samples", "out of memory");
	memset(s->ns, 0, cap * sizeof(*s->ns)); /* no page faults while measuring */
}

void samples_release(struct samples *s)
{
	free(s->ns);
	*s = (struct samples) { 0 };
}

void samples_reset(struct samples *s)
{
	s->n = 0;
}

void samples_add(struct samples *s, uint64_t since)
{
	uint64_t took = bench_now_ns() - since, clock = clock_ns();

	if (s->n < s->cap)
		s->ns[s->n++] = took > clock ? took - clock : 0;
}

static int ns_cmp(const void *pa, const void *pb)
{
	const uint64_t *a = pa, *b = pb;

	return *a < *b ? -1 : *a > *b;
}

double samples_us(struct samples *s, double quantile)
{
	size_t at = (size_t)((double)s->n * quantile);

	if (!s->n)
		return 0;
	qsort(s->ns, s->n, sizeof(*s->ns), ns_cmp);
	return (double)s->ns[at < s->n ? at : s->n - 1] / 1e3;
}

/* --- the table --- */

#define ROW_FORMAT "%-42s %-30s %-30s %-22s %-10s %s\n"

static void figure_text(double v, char *to, size_t n)
{
	double a = v < 0 ? -v : v;
	int digits = a >= 100 ? 0 : a >= 10 ? 1 : a >= 1 ? 2 : a >= 0.01 ? 3 : 5;

	snprintf(to, n, "%.*f", digits, v);
}

static void series_text(const struct series *s, const char *unit, char *to, size_t n)
{
	char mid[32], lo[32], hi[32];
	double least = s->v[0], most = s->v[0];

	for (unsigned i = 1; i < s->n; i++) {
		least = s->v[i] < least ? s->v[i] : least;
		most = s->v[i] > most ? s->v[i] : most;
	}
	figure_text(series_median(s), mid, sizeof(mid));
	figure_text(least, lo, sizeof(lo));
	figure_text(most, hi, sizeof(hi));
	if (s->n > 1)
		snprintf(to, n, "%s%s%s (%s..%s)", mid, *unit ? " " : "", unit, lo, hi);
	else
		snprintf(to, n, "%s%s%s", mid, *unit ? " " : "", unit);
}

static bool has(const struct series *s)
{
	return s && s->n;
}

static void base_text(const struct row *row, char *to, size_t n)
{
	char figure[32];
	size_t used = 0;

	snprintf(to, n, "-");
	if (has(row->base)) {
		figure_text(series_median(row->base), figure, sizeof(figure));
		used = (size_t)snprintf(to, n, "%s %s", row->base_name, figure);
	}
	if (has(row->base2) && used < n) {
		figure_text(series_median(row->base2), figure, sizeof(figure));
		snprintf(to + used, n - used, "%s%s %s", used ? ", " : "",
			 row->base2_name, figure);
	}
}

static bool reached(const struct target *t, double figure, double ratio)
{
	switch (t->kind) {
	case TARGET_NONE:
		break;
	case TARGET_AT_MOST:
		return figure <= t->limit;
	case TARGET_AT_LEAST:
		return figure >= t->limit;
	case TARGET_RATIO_AT_MOST:
		return ratio <= t->limit;
	case TARGET_RATIO_AT_LEAST:
		return ratio >= t->limit;
	}
	return true;
}

static void target_text(const struct target *t, char *to, size_t n)
{
	bool most = t->kind == TARGET_AT_MOST || t->kind == TARGET_RATIO_AT_MOST;
	bool ratio = t->kind == TARGET_RATIO_AT_MOST || t->kind == TARGET_RATIO_AT_LEAST;

	if (t->kind == TARGET_NONE)
		snprintf(to, n, "-");
	else
		snprintf(to, n, "%s %g%s", most ? "<=" : ">=", t->limit,
			 ratio ? "x" : "");
}

void row_head(void)
{
	printf(ROW_FORMAT, "work", "baseline", "ropefs (rounds)", "ratio (rounds)",
	       "target", "reached");
	fflush(stdout);
}

void row_print(const struct row *row)
{
	char base[128], own[128], ratio[128] = "-", target[32];
	struct series ratios = { 0 };
	bool compared, judged;

	if (has(row->base))
		for (unsigned i = 0; i < row->own->n && i < row->base->n; i++)
			if (row->base->v[i] > 0)
				series_add(&ratios, row->own->v[i] / row->base->v[i]);
	compared = ratios.n > 0;
	judged = row->target.kind != TARGET_NONE &&
		 (compared || row->target.kind == TARGET_AT_MOST ||
		  row->target.kind == TARGET_AT_LEAST);
	base_text(row, base, sizeof(base));
	series_text(row->own, row->unit, own, sizeof(own));
	if (compared)
		series_text(&ratios, "", ratio, sizeof(ratio));
	target_text(&row->target, target, sizeof(target));
	printf(ROW_FORMAT, row->work, base, own, ratio, target,
	       !judged ? "-"
	       : reached(&row->target, series_median(row->own), series_median(&ratios))
		       ? "yes"
		       : "NO");
	fflush(stdout);
}

void row_note(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	fputs("  # ", stdout);
	vprintf(format, ap);
	putchar('\n');
	va_end(ap);
	fflush(stdout);
}

/* --- text, folders --- */

void bench_text(char *p, size_t n, uint64_t seed)
{
	static const char *level[] = { "INFO", "DEBUG", "WARN" };
	unsigned long long ms = seed % 86400000;
	char line[160];

	for (size_t at = 0; at < n;) {
		uint64_t r = bench_random(&seed);
		int k = snprintf(line, sizeof(line),
				 "2025-06-01T12:%02llu:%02llu.%03llu %s imu/raw seq=%llu "
				 "ax=%.6f ay=%.6f temp=%llu\n",
				 ms / 60000 % 60, ms / 1000 % 60, ms % 1000, level[r % 3],
				 ms / 5, (double)(r >> 8 & 0xfffff) / 65536,
				 (double)(r >> 30 & 0xfffff) / 131072,
				 30 + (unsigned long long)(r >> 60));
		size_t m = (size_t)k < n - at ? (size_t)k : n - at;

		memcpy(p + at, line, m);
		at += m;
		ms += 5;
	}
}

_Noreturn void bench_fail(const char *what, const char *why)
{
	fflush(stdout);
	fprintf(stderr, "bench: %s: %s\n", what, why);
	exit(EXIT_FAILURE);
}

char *bench_scratch(const char *name)
{
	const char *tmp = getenv("TMPDIR");
	char *path;

	if (asprintf(&path, "%s/%s.XXXXXX", tmp && *tmp ? tmp : "/tmp", name) < 0)
		bench_fail(name, "out of memory");
	if (!mkdtemp(path))
		bench_fail(path, strerror(errno));
	return path;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

void bench_remove(const char *path)
{
	nftw(path, remove_one, 32, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

/* --- what the disk takes --- */

struct raw_disk *raw_disk_new(const char *folder)
{
	struct raw_disk *d = calloc(1, sizeof(*d));
	char *block = calloc(1, RAW_BYTES), *path = NULL;

	if (!d || !block || asprintf(&path, "%s/raw", folder) < 0)
		bench_fail("raw disk", "out of memory");
	d->fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (d->fd < 0 || pwrite(d->fd, block, RAW_BYTES, 0) != (ssize_t)RAW_BYTES ||
	    fsync(d->fd) < 0)
		bench_fail(path, strerror(errno));
	unlink(path);
	free(block);
	free(path);
	return d;
}

struct raw_disk *raw_disk_free(struct raw_disk *d)
{
	close(d->fd);
	free(d);
	return NULL;
}

void raw_disk_sync(struct raw_disk *d)
{
	char block[RAW_BLOCK];

	memset(block, 'x', sizeof(block));
	if (pwrite(d->fd, block, sizeof(block), d->at) != (ssize_t)sizeof(block) ||
	    fdatasync(d->fd) < 0)
		bench_fail("raw disk", strerror(errno));
	d->at = (d->at + (off_t)RAW_BLOCK) % (off_t)RAW_BYTES;
}
