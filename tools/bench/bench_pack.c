/* bench_pack.c - how fast packs are written and read: bench_pack [FOLDER [MIB]]. Writes MIB
 * (256) of text below a folder of its own in FOLDER (.), scans it, reads at random, and
 * removes it. Prints MB/s of plaintext; judges nothing. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/base/err.h"
#include "core/pack/pack.h"

struct bench {
	struct io *io;
	struct keys *keys;
	struct packs *ps;
	struct chunk_place *places;
	size_t n;
	uint64_t seed;
};

static uint64_t next_random(struct bench *b)
{
	uint64_t z = b->seed += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

/* Log lines: a clock, a level, numbers that wander; zstd 1 makes about a fifth of it. */
static void text_make(struct bench *b, char *p, size_t n)
{
	static const char *level[] = { "INFO", "DEBUG", "WARN" };
	unsigned long long ms = 0;
	char line[160];

	for (size_t at = 0; at < n;) {
		uint64_t r = next_random(b);
		int k = snprintf(line, sizeof(line),
				 "2025-06-01T12:%02llu:%02llu.%03llu %s imu/raw seq=%llu "
				 "ax=%.6f ay=%.6f temp=%llu\n",
				 ms / 60000 % 60, ms / 1000 % 60, ms % 1000, level[r % 3],
				 ms / 5, (double)(r >> 8 & 0xfffff) / 65536,
				 (double)(r >> 30 & 0xfffff) / 131072,
				 30 + (unsigned long long)(r >> 60));
		size_t m = MIN((size_t)k, n - at);

		memcpy(p + at, line, m);
		at += m;
		ms += 5;
	}
}

static void report(struct bench *b, const char *what, uint64_t since, uint64_t bytes)
{
	double s = (double)(io_mono_ns(b->io) - since) / 1e9;

	printf("%-28s %8.0f MB/s  (%.2f s)\n", what, (double)bytes / 1e6 / s, s);
}

static int load(struct bench *b, const uint8_t *text, size_t text_bytes)
{
	uint64_t since = io_mono_ns(b->io), synced;
	struct pack_writer *w;
	int r;

	r = pack_writer_new(b->ps, &w);
	if (r < 0)
		return r;
	for (size_t i = 0; i < b->n; i++) {
		size_t at = i * CHUNK_BYTES % text_bytes;

		r = pack_writer_add(w, text + at, CHUNK_BYTES, &b->places[i]);
		if (r < 0) {
			pack_writer_abort(w);
			return r;
		}
	}
	synced = io_mono_ns(b->io);
	r = pack_writer_finish(w);
	printf("%-28s %8.2f s\n", "last sync",
	       (double)(io_mono_ns(b->io) - synced) / 1e9);
	report(b, "load, durable", since, (uint64_t)b->n * CHUNK_BYTES);
	return r;
}

static int scan(struct bench *b, const char *what)
{
	static uint8_t out[CHUNK_BYTES];
	uint64_t since = io_mono_ns(b->io);
	int r = 0;

	for (size_t i = 0; i < b->n && r == 0; i++)
		r = packs_read(b->ps, b->places[i].pack, b->places[i].index, 0,
			       CHUNK_BYTES, out);
	report(b, what, since, (uint64_t)b->n * CHUNK_BYTES);
	return r;
}

static int reads_at_random(struct bench *b, const char *what, size_t chunks)
{
	const size_t reads = 100000;
	uint64_t since = io_mono_ns(b->io), took;
	uint8_t out[4096];
	int r = 0;

	for (size_t i = 0; i < reads && r == 0; i++) {
		const struct chunk_place *at = &b->places[next_random(b) % chunks];

		r = packs_read(b->ps, at->pack, at->index,
			       (uint32_t)(next_random(b) % (CHUNK_BYTES - 4095)), 4096,
			       out);
	}
	took = io_mono_ns(b->io) - since;
	printf("%-28s %8.2f us each\n", what, (double)took / 1e3 / (double)reads);
	return r;
}

static int remove_one(void *arg, const struct pack_info *info)
{
	struct bench *b = arg;

	return packs_remove(b->ps, info->pack);
}

static int run(struct bench *b, size_t mib)
{
	const size_t text_bytes = 64 * MIB;
	_cleanup_free_ uint8_t *text = malloc(text_bytes);
	struct packs_opts opts = {
		.io = b->io, .keys = b->keys, .zstd_level = 1, .cache_bytes = 16 * MIB
	};
	struct packs_stats stats;
	int r;

	b->n = mib * MIB / CHUNK_BYTES;
	b->places = calloc(b->n, sizeof(*b->places));
	if (!text || !b->places)
		return -ENOMEM;
	text_make(b, (char *)text, text_bytes);
	r = packs_open(&opts, &b->ps);
	if (r == 0)
		r = load(b, text, text_bytes);
	if (r < 0)
		return r;
	packs_get_stats(b->ps, &stats);
	printf("%-28s %8.2f\n", "plain / sealed",
	       (double)stats.plain_bytes / (double)stats.sealed_bytes);
	r = scan(b, "scan, decoding");
	if (r == 0)
		r = reads_at_random(b, "4 KiB reads, cached", 64);
	b->n = MIN(b->n, (size_t)64);
	if (r == 0)
		r = scan(b, "scan, cached");
	if (r == 0)
		r = packs_each(b->ps, remove_one, b);
	return r;
}

int main(int argc, char **argv)
{
	const char *folder = argc > 1 ? argv[1] : ".";
	size_t mib = argc > 2 ? strtoul(argv[2], NULL, 10) : 256;
	char path[4096], packs[4110];
	struct bench b = { .seed = 1 };
	int r;

	snprintf(path, sizeof(path), "%s/bench_pack.XXXXXX", folder);
	if (!mkdtemp(path)) {
		perror(path);
		return EXIT_FAILURE;
	}
	r = keys_init_library();
	if (r == 0)
		r = keys_for_test(CIPHER_XCHACHA20, &b.keys);
	if (r == 0)
		r = io_posix_new(path, &b.io);
	if (r == 0)
		r = run(&b, MAX(mib, (size_t)8));
	packs_close(b.ps);
	io_free(b.io);
	keys_free(b.keys);
	free(b.places);
	snprintf(packs, sizeof(packs), "%s/packs", path);
	rmdir(packs);
	rmdir(path);
	if (r < 0)
		fprintf(stderr, "bench_pack: %s %s\n", err_text(r), err_detail());
	return err_exit_status(r);
}
