/* bench_rope.c - what an edit of a rope costs in memory, in ns: random 100-byte
 * inserts into ropes of more and more extents, seeks, appends that join and appends
 * that don't. Prints figures; judges nothing. usage: bench_rope [EXTENTS_MAX] */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "core/rope/rope.h"

struct bench {
	struct nodes *ns;
	struct rope_env env;
	struct rope rope;
	uint64_t random;
	uint64_t block;
};

static uint64_t next_random(struct bench *b)
{
	b->random ^= b->random << 13;
	b->random ^= b->random >> 7;
	b->random ^= b->random << 17;
	return b->random;
}

static double now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static void must(int r)
{
	if (r >= 0)
		return;
	fprintf(stderr, "bench_rope: error %d\n", r);
	exit(EXIT_FAILURE);
}

static void random_insert(struct bench *b)
{
	struct extent e = extent_hot(b->block++, 0, 100);

	must(rope_insert(&b->env, &b->rope, next_random(b) % (rope_bytes(&b->rope) + 1),
			 &e, 1));
}

static void append_apart(struct bench *b)
{
	struct extent e = extent_hot(b->block++, 0, 100);

	must(rope_insert(&b->env, &b->rope, rope_bytes(&b->rope), &e, 1));
}

static void append_joining(struct bench *b)
{
	static uint32_t off;
	struct extent e;

	if (off + 100 > 131072) {
		off = 0;
		b->block++;
	}
	e = extent_hot(b->block, off, 100);
	off += 100;
	must(rope_insert(&b->env, &b->rope, rope_bytes(&b->rope), &e, 1));
}

static void random_seek(struct bench *b)
{
	struct rope_cursor c;
	struct extent e;
	uint64_t at;

	must(rope_seek(&b->env, &b->rope, next_random(b) % rope_bytes(&b->rope), &c));
	must(rope_next(&c, &e, &at));
}

static void random_overwrite(struct bench *b)
{
	struct extent e = extent_hot(b->block++, 0, 100);

	must(rope_replace(&b->env, &b->rope, next_random(b) % rope_bytes(&b->rope), &e,
			  1));
}

static void random_removal(struct bench *b)
{
	must(rope_remove(&b->env, &b->rope, next_random(b) % (rope_bytes(&b->rope) - 100),
			 100));
}

static void measure(struct bench *b, const char *what, void (*op)(struct bench *b),
		    uint64_t times)
{
	double start = now_ns();

	for (uint64_t i = 0; i < times; i++)
		op(b);
	printf("  %-28s %8.1f ns\n", what, (now_ns() - start) / (double)times);
}

static void bench_size(uint64_t extents)
{
	struct bench b = { .random = 88172645463325252u, .block = 1 };

	must(nodes_new_cache(&(struct nodes_opts) { .cache_bytes = 1 << 20 }, &b.ns));
	rope_register(b.ns);
	b.env = (struct rope_env) { .nodes = b.ns };

	printf("%llu extents\n", (unsigned long long)extents);
	measure(&b, "growing by random inserts", random_insert, extents / 2);
	measure(&b, "random insert of 100 B", random_insert, 100000);
	measure(&b, "random seek", random_seek, 100000);
	measure(&b, "random overwrite of 100 B", random_overwrite, 100000);
	measure(&b, "random removal of 100 B", random_removal, 100000);
	measure(&b, "append that joins", append_joining, 1000000);
	measure(&b, "append that doesn't", append_apart, 100000);
	b.ns = nodes_free_cache(b.ns);
}

int main(int argc, char **argv)
{
	uint64_t most = argc > 1 ? strtoull(argv[1], NULL, 10) : 10000000;

	for (uint64_t n = 10000; n <= most; n *= n == 10000 ? 100 : 10)
		bench_size(n);
	return EXIT_SUCCESS;
}
