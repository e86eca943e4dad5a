/* bench_queue.h - the part of bench_mount about queues: appends of records, and how long it takes
 * until the last of N followers has a record. */
#ifndef ROPEFS_BENCH_QUEUE_H
#define ROPEFS_BENCH_QUEUE_H

#include <stdbool.h>

/* plain: a folder of the disk's own filesystem; mount: one of ropefs. */
struct queue_bench {
	const char *plain, *mount;
	bool quick, smoke;
	unsigned rounds;
};

/* Prints a row for each of its works whose name has `only` in it. */
void queue_bench_run(const struct queue_bench *b, const char *only);

#endif
