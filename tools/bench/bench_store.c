/* bench_store.c - what libropefs does in a second, and how much the disk below would have
 * done. Prints a table; judges nothing by its exit status. Each part is a process of its
 * own with a time limit, so that one that fails or hangs leaves the others their turn.
 *
 * usage: bench_store [--quick | --smoke] [--big] [PART...] */
#include "tools/bench/bench_store.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PART_SECONDS 1800
#define INSERT_BYTES 100

static const struct part {
	const char *name;
	void (*run)(const struct bench_env *env);
} parts[] = {
	{ "edits", part_edits },
	{ "durable", part_durable },
	{ "checkpoint", part_checkpoint },
	{ "txn", part_txn },
	{ "queue", part_queue },
	{ "find", part_find },
	{ "scan", part_scan },
	{ "clone", part_clone },
	{ "bulk", part_bulk },
	{ "recovery", part_recovery },
	{ "memory", part_memory },
};
#define PARTS (sizeof(parts) / sizeof(parts[0]))

/* --- what the parts share --- */

long must(long r, const char *what)
{
	if (r >= 0)
		return r;
	bench_fail(what, *ropefs_error() ? ropefs_error() : ropefs_error_text((int)r));
}

struct ropefs *bench_store_open(const struct bench_env *env, const char *name,
				const struct ropefs_opts *opts)
{
	struct ropefs_opts o = *opts;
	char *path = NULL, *key = NULL;
	struct ropefs *fs;

	if (asprintf(&path, "%s/%s", env->folder, name) < 0 ||
	    asprintf(&key, "%s/%s.key", env->folder, name) < 0)
		bench_fail(name, "out of memory");
	if (access(path, F_OK) < 0)
		must(ropefs_init(path, &(struct ropefs_init_opts) { .key_file = key },
				 NULL),
		     "init");
	o.key_file = key;
	must(ropefs_open(path, &o, &fs), "open");
	free(path);
	free(key);
	return fs;
}

void bench_store_close(struct ropefs *fs)
{
	must(ropefs_close(fs), "close");
}

uint64_t bench_file(struct ropefs *fs, const char *name)
{
	const struct ropefs_new what = { .mode = S_IFREG | 0644 };
	struct ropefs_attr attr;

	must(ropefs_create(fs, ROPEFS_ROOT_INO, ropefs_name(name), &what, &attr), name);
	return attr.ino;
}

const char *bench_store_text(void)
{
	static char *text;

	if (!text) {
		text = malloc(BENCH_TEXT_BYTES);
		if (!text)
			bench_fail("text", "out of memory");
		bench_text(text, BENCH_TEXT_BYTES, 1);
	}
	return text;
}

void bench_fill(struct ropefs *fs, uint64_t ino, uint64_t bytes)
{
	const char *text = bench_store_text();

	for (uint64_t at = 0; at < bytes;) {
		size_t n = bytes - at < STORE_MIB ? (size_t)(bytes - at) : STORE_MIB;

		must(ropefs_write(fs, ino, 0, text + at % BENCH_TEXT_BYTES, n,
				  ROPEFS_APPEND, NULL),
		     "write");
		at += n;
	}
}

void bench_insert(struct ropefs *fs, uint64_t ino, uint64_t *size, uint64_t *seed)
{
	uint64_t at = bench_random(seed) % (*size + 1);
	const char *text = bench_store_text() + at % (BENCH_TEXT_BYTES - INSERT_BYTES);

	must(ropefs_insert(fs, ino, at, text, INSERT_BYTES, 0), "insert");
	*size += INSERT_BYTES;
}

double bench_peak_mib(void)
{
	FILE *f = fopen("/proc/self/status", "re");
	unsigned long kib = 0;
	char line[256];

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "VmHWM: %lu", &kib) == 1)
			break;
	if (f)
		fclose(f);
	return (double)kib / 1024;
}

/* --- running them --- */

static bool chosen(const struct part *part, char **names, int n)
{
	for (int i = 0; i < n; i++)
		if (strcmp(names[i], part->name) == 0)
			return true;
	return n == 0;
}

static int run_part(const struct part *part, const struct bench_env *all)
{
	struct bench_env env = *all;
	char *folder = bench_scratch("bench_store");
	int status = 0;
	pid_t child;

	env.folder = folder;
	child = fork();
	if (child == 0) {
		alarm(PART_SECONDS);
		part->run(&env);
		exit(EXIT_SUCCESS);
	}
	if (child < 0 || waitpid(child, &status, 0) != child)
		bench_fail("fork", strerror(errno));
	bench_remove(folder);
	free(folder);
	if (status)
		row_note("%s did not finish (%s %d)", part->name,
			 WIFSIGNALED(status) ? "signal" : "status",
			 WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	return status;
}

static int usage(void)
{
	fprintf(stderr,
		"usage: bench_store [--quick | --smoke] [--big] [PART...]\nparts:");
	for (size_t i = 0; i < PARTS; i++)
		fprintf(stderr, " %s", parts[i].name);
	fprintf(stderr, "\n");
	return 2;
}

int main(int argc, char **argv)
{
	static const struct option longs[] = { { "quick", no_argument, NULL, 'q' },
					       { "big", no_argument, NULL, 'b' },
					       { "smoke", no_argument, NULL, 's' },
					       { 0 } };
	struct bench_env env = { .rounds = 5 };
	int c, failed = 0;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		env.quick |= c == 'q';
		env.big |= c == 'b';
		env.smoke |= c == 's';
		if (c == '?')
			return usage();
	}
	env.quick |= env.smoke;
	if (env.quick)
		env.rounds = env.smoke ? 1 : 3;
	row_head();
	for (size_t i = 0; i < PARTS; i++)
		if (chosen(&parts[i], argv + optind, argc - optind))
			failed |= run_part(&parts[i], &env);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
