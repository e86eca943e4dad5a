/* bench_store.h - the parts of bench_store, and the stores they measure. Each part runs in a
 * process and a folder of its own. */
#ifndef ROPEFS_BENCH_STORE_H
#define ROPEFS_BENCH_STORE_H

#include "core/ropefs.h"
#include "tools/bench/bench.h"

#define STORE_MIB ((uint64_t)1 << 20)

struct bench_env {
	const char *folder;
	bool quick, big;
	bool smoke; /* with quick: so little that only its running can be judged */
	unsigned rounds;
};

/* Ends the process when r is an error. Returns r. */
long must(long r, const char *what);
/* Makes the store folder/name when it is not there, and opens it. */
struct ropefs *bench_store_open(const struct bench_env *env, const char *name,
				const struct ropefs_opts *opts);
void bench_store_close(struct ropefs *fs);
uint64_t bench_file(struct ropefs *fs, const char *name);
/* Appends bytes of text, 1 MiB a write. */
void bench_fill(struct ropefs *fs, uint64_t ino, uint64_t bytes);
/* The text bench_fill() writes, BENCH_TEXT_BYTES of it. */
#define BENCH_TEXT_BYTES ((size_t)4 << 20)
const char *bench_store_text(void);

/* Inserts 100 bytes at a random place of a file of *size bytes, which grows. */
void bench_insert(struct ropefs *fs, uint64_t ino, uint64_t *size, uint64_t *seed);

/* The most memory this process has had. */
double bench_peak_mib(void);

void part_edits(const struct bench_env *env);
void part_durable(const struct bench_env *env);
void part_checkpoint(const struct bench_env *env);
void part_txn(const struct bench_env *env);
void part_queue(const struct bench_env *env);
void part_find(const struct bench_env *env);
void part_scan(const struct bench_env *env);
void part_clone(const struct bench_env *env);
void part_bulk(const struct bench_env *env);
void part_recovery(const struct bench_env *env);
void part_memory(const struct bench_env *env);

#endif
