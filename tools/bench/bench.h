/* bench.h - what the benchmarks of the whole share: a clock, samples, one table, text to
 * write, a scratch folder.
 *
 * The figure of a row is the median of several rounds, interleaved with the rounds of its
 * baseline in the same run; the least and the greatest round say how far to trust it. */
#ifndef ROPEFS_BENCH_H
#define ROPEFS_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BENCH_ROUNDS_MAX 64

/* Splitmix64. */
uint64_t bench_random(uint64_t *state);
uint64_t bench_now_ns(void);

/* One figure a round. */
struct series {
	double v[BENCH_ROUNDS_MAX];
	unsigned n;
};
void series_add(struct series *s, double v);

/* Durations of single calls within a round. */
struct samples {
	uint64_t *ns;
	size_t n, cap;
};
void samples_new(struct samples *s, size_t cap);
void samples_release(struct samples *s);
void samples_reset(struct samples *s);
/* since is of bench_now_ns(). Drops what exceeds cap. */
void samples_add(struct samples *s, uint64_t since);
/* In microseconds; quantile is 0.5 for the median. Sorts. */
double samples_us(struct samples *s, double quantile);

enum target_kind {
	TARGET_NONE,
	TARGET_AT_MOST, /* of the figure */
	TARGET_AT_LEAST,
	TARGET_RATIO_AT_MOST, /* of figure / baseline */
	TARGET_RATIO_AT_LEAST,
};
struct target {
	enum target_kind kind;
	double limit;
};

/* Prints one line of the table. base and base2 may be NULL or empty; the ratio and its
 * target are to base, round by round. */
struct row {
	const char *work;
	const char *unit;
	const char *base_name, *base2_name;
	const struct series *base, *base2;
	const struct series *own;
	struct target target;
};
void row_head(void);
void row_print(const struct row *row);
__attribute__((format(printf, 1, 2))) void row_note(const char *format, ...);

/* Log lines with a clock, a level and numbers that wander. The same seed gives the same. */
void bench_text(char *p, size_t n, uint64_t seed);

/* Prints what failed and ends the process. */
_Noreturn void bench_fail(const char *what, const char *why);
/* Makes a folder below $TMPDIR or /tmp; the caller frees the name. */
char *bench_scratch(const char *name);
void bench_remove(const char *path);
/* A file written before, whose blocks are overwritten and fdatasynced one by one: what the
 * disk needs to make 4 KiB durable. */
struct raw_disk;
struct raw_disk *raw_disk_new(const char *folder);
struct raw_disk *raw_disk_free(struct raw_disk *d);
void raw_disk_sync(struct raw_disk *d);

#endif
