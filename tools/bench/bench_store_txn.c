/* bench_store_txn.c - 100,000 random inserts of 100 bytes: one by one, in one transaction, and in
 * 100 transactions that are each made durable. */
#include <stdio.h>

#include "tools/bench/bench_store.h"

#define INSERTS	     100000u
#define TRANSACTIONS 100u
#define FILE_BYTES   (16 * STORE_MIB)

enum { ALONE, ONE, MANY, WAYS };

static const char *way_name[WAYS] = { "100 B inserts, no transaction",
				      "the same, in one transaction",
				      "the same, in 100, each durable" };

struct file {
	uint64_t ino, size, seed;
};

static const char *some_bytes(unsigned i)
{
	return bench_store_text() + i * 100ul % (BENCH_TEXT_BYTES - 100);
}

static void insert_alone(struct ropefs *fs, struct file *f, unsigned times)
{
	for (unsigned i = 0; i < times; i++)
		bench_insert(fs, f->ino, &f->size, &f->seed);
}

static void insert_in_txn(struct ropefs *fs, struct file *f, unsigned times)
{
	struct ropefs_txn *t;

	must(ropefs_txn_begin(fs, &t), "begin");
	for (unsigned i = 0; i < times; i++) {
		uint64_t at = bench_random(&f->seed) % (f->size + 1);

		must(ropefs_txn_insert(t, f->ino, at, some_bytes(i), 100), "insert");
		f->size += 100;
	}
	must(ropefs_txn_commit(t), "commit");
}

static void run(struct ropefs *fs, struct file *f, int way, unsigned times)
{
	if (way == ALONE)
		insert_alone(fs, f, times);
	if (way == ONE)
		insert_in_txn(fs, f, times);
	for (unsigned i = 0; way == MANY && i < TRANSACTIONS; i++) {
		insert_in_txn(fs, f, times / TRANSACTIONS);
		must(ropefs_sync(fs), "sync");
	}
}

void part_txn(const struct bench_env *env)
{
	struct ropefs *fs = bench_store_open(env, "txn", &(struct ropefs_opts) { 0 });
	unsigned times = env->smoke ? 1000 : env->quick ? INSERTS / 10 : INSERTS;
	struct series us[WAYS] = { 0 };

	for (unsigned round = 0; round < env->rounds; round++) {
		for (int way = 0; way < WAYS; way++) {
			struct file f = { .size = FILE_BYTES, .seed = round * 7u + 1 };
			char name[32];
			uint64_t began;

			snprintf(name, sizeof(name), "%u.%d", round, way);
			f.ino = bench_file(fs, name);
			bench_fill(fs, f.ino, FILE_BYTES);
			must(ropefs_checkpoint(fs), "checkpoint");
			began = bench_now_ns();
			run(fs, &f, way, times);
			series_add(&us[way],
				   (double)(bench_now_ns() - began) / 1000 / times);
		}
	}
	for (int way = 0; way < WAYS; way++)
		row_print(&(struct row) {
			.work = way_name[way],
			.unit = "us",
			.base_name = way == ALONE ? NULL : "alone",
			.base = way == ALONE ? NULL : &us[ALONE],
			.own = &us[way],
			.target = { way == ONE ? TARGET_RATIO_AT_MOST : TARGET_NONE,
				    2 } });
	bench_store_close(fs);
}
