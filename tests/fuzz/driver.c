/* driver.c - runs a fuzz target without libFuzzer.
 *
 *	fuzz_TARGET [--mutations=N] [--seed=N] FOLDER|FILE...
 *	fuzz_TARGET --make FOLDER	writes the inputs that the target's corpus begins with
 *
 * Each input runs, then N mutations, spread over all inputs; the seed decides them, so that a
 * crash comes again. What was running when the program dies is in the file "crash-TARGET". */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"
#include "tests/lib/suite.h"

#define INPUT_MAX ((size_t)64 * 1024)

struct input {
	uint8_t *p;
	size_t n;
};

static struct input *inputs;
static size_t n_inputs;
static struct input running;
static char crash_name[256];

static void keep_running(int sig)
{
	int fd = open(crash_name, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	if (fd >= 0)
		(void)!write(fd, running.p, running.n);
	signal(sig, SIG_DFL);
	raise(sig);
}

static void run(const uint8_t *p, size_t n)
{
	/* Of exactly that size, so that a checker of memory sees what is read behind it. */
	uint8_t *copy = malloc(n ? n : 1);

	memcpy(copy, p, n);
	running = (struct input) { copy, n };
	LLVMFuzzerTestOneInput(copy, n);
	running = (struct input) { NULL, 0 };
	free(copy);
}

static void read_input(const char *path)
{
	FILE *f = fopen(path, "rb");
	struct input in = { malloc(INPUT_MAX), 0 };

	if (!f || !in.p) {
		perror(path);
		exit(2);
	}
	in.n = fread(in.p, 1, INPUT_MAX, f);
	fclose(f);
	inputs = realloc(inputs, (n_inputs + 1) * sizeof(*inputs));
	inputs[n_inputs++] = in;
}

static void read_inputs(const char *path)
{
	struct dirent **entries;
	struct stat st;
	int n;

	if (stat(path, &st) == 0 && !S_ISDIR(st.st_mode)) {
		read_input(path);
		return;
	}
	n = scandir(path, &entries, NULL, alphasort); /* the same order everywhere */
	for (int i = 0; i < n; i++) {
		char *whole;

		if (entries[i]->d_name[0] != '.' &&
		    asprintf(&whole, "%s/%s", path, entries[i]->d_name) >= 0) {
			read_input(whole);
			free(whole);
		}
		free(entries[i]);
	}
	if (n >= 0)
		free(entries);
}

/* --- mutations, as libFuzzer's, but few and known --- */

static size_t some_place(struct rng *r, size_t n)
{
	return n ? rng_below(r, n) : 0;
}

static void set_number(struct rng *r, uint8_t *p, size_t n)
{
	static const uint64_t odd[] = { 0,	    1,
					0x7f,	    0x80,
					0xff,	    0xffff,
					0x7fffffff, 0x80000000,
					0xffffffff, (uint64_t)1 << 62,
					INT64_MAX,  (uint64_t)1 << 63,
					UINT64_MAX };
	uint64_t v = odd[rng_below(r, ARRAY_LEN(odd))];
	size_t bytes = (size_t)1 << rng_below(r, 4), at = some_place(r, n);

	if (rng_below(r, 2))
		v += rng_below(r, 16);
	for (size_t i = 0; i < bytes && at + i < n; i++)
		p[at + i] = (uint8_t)(v >> 8 * i);
}

static size_t move_bytes(struct rng *r, uint8_t *p, size_t n)
{
	size_t from = some_place(r, n), to = some_place(r, n), bytes = some_place(r, 64);

	bytes = MIN(bytes, n - MAX(from, to));
	memmove(p + to, p + from, bytes);
	return n;
}

static size_t cut_bytes(struct rng *r, uint8_t *p, size_t n)
{
	size_t at = some_place(r, n), bytes = some_place(r, 32);

	bytes = MIN(bytes, n - at);
	memmove(p + at, p + at + bytes, n - at - bytes);
	return n - bytes;
}

static size_t add_bytes(struct rng *r, uint8_t *p, size_t n)
{
	size_t at = some_place(r, n), bytes = some_place(r, 32);

	bytes = MIN(bytes, INPUT_MAX - n);
	memmove(p + at + bytes, p + at, n - at);
	rng_fill(r, p + at, bytes);
	return n + bytes;
}

static size_t mutate_once(struct rng *r, uint8_t *p, size_t n)
{
	if (!n)
		return add_bytes(r, p, n);
	switch (rng_below(r, 6)) {
	case 0:
		p[some_place(r, n)] ^= (uint8_t)(1u << rng_below(r, 8));
		return n;
	case 1:
		p[some_place(r, n)] = (uint8_t)rng_next(r);
		return n;
	case 2:
		return move_bytes(r, p, n);
	case 3:
		return cut_bytes(r, p, n);
	case 4:
		return add_bytes(r, p, n);
	default:
		set_number(r, p, n);
		return n;
	}
}

static void mutate(uint64_t seed, uint64_t mutations)
{
	static uint8_t p[INPUT_MAX];
	struct rng r = rng_seeded(seed);

	for (uint64_t i = 0; n_inputs && i < mutations; i++) {
		const struct input *in = &inputs[rng_below(&r, n_inputs)];
		size_t n = in->n;

		memcpy(p, in->p, n);
		for (uint64_t more = rng_below(&r, 4) + 1; more; more--)
			n = mutate_once(&r, p, n);
		if (rng_below(&r, 8))
			fuzz_mend(p, n);
		run(p, n);
	}
}

static void write_seed(void *arg, const char *name, const void *p, size_t n)
{
	char *path;
	FILE *f;

	FUZZ_MUST(asprintf(&path, "%s/%s", (const char *)arg, name));
	f = fopen(path, "wb");
	if (!f || fwrite(p, 1, n, f) != n || fclose(f)) {
		perror(path);
		exit(2);
	}
	free(path);
}

int main(int argc, char **argv)
{
	uint64_t mutations = 0, seed = 1;

	snprintf(crash_name, sizeof(crash_name), "crash-%s",
		 strrchr(argv[0], '/') ? strrchr(argv[0], '/') + 1 : argv[0]);
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--make") && i + 1 < argc) {
			fuzz_seeds(write_seed, argv[i + 1]);
			return 0;
		}
		if (!strncmp(argv[i], "--mutations=", 12))
			mutations = strtoull(argv[i] + 12, NULL, 10);
		else if (!strncmp(argv[i], "--seed=", 7))
			seed = strtoull(argv[i] + 7, NULL, 10);
		else
			read_inputs(argv[i]);
	}
	signal(SIGABRT, keep_running);
	signal(SIGSEGV, keep_running);
	for (size_t i = 0; i < n_inputs; i++)
		run(inputs[i].p, inputs[i].n);
	mutate(seed, mutations);
	printf("1..1\nok 1 - %zu inputs and %llu mutations of them, seed %llu\n",
	       n_inputs, (unsigned long long)mutations, (unsigned long long)seed);
	return n_inputs ? 0 : 1;
}
