/* ropefs_fsck.c - ropefs-fsck: checks an unmounted store, and changes nothing in it. The
 * checking itself is ropefs_check(); this shows how far it is and what it found. */
#include <cjson/cJSON.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "core/ropefs.h"
#include "mountctl/term.h"

#define BAR_CELLS   24
#define BAR_AFTER_S 1.0 /* shorter checks show no bar */
#define BAR_EVERY_S 0.1

struct run {
	struct timespec start;
	double drawn_s; /* when the bar was drawn last; 0: it is not there */
	bool has_bar;
	bool quiet;
	cJSON *problems; /* with --json: an array of lines; else NULL */
	cJSON *lost; /* likewise: ranges that a repair gave up */
};

static double seconds_since(struct timespec then)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)(now.tv_sec - then.tv_sec) +
	       (double)(now.tv_nsec - then.tv_nsec) / 1e9;
}

static void erase_bar(struct run *run)
{
	if (run->drawn_s > 0)
		fputs("\r\033[K", stderr);
	run->drawn_s = 0;
}

static void on_progress(void *arg, uint64_t done, uint64_t total)
{
	struct run *run = arg;
	double now = seconds_since(run->start);
	double part = total ? (double)done / (double)total : 0;
	char bar[BAR_CELLS + 1];

	if (!run->has_bar || now < BAR_AFTER_S || now - run->drawn_s < BAR_EVERY_S)
		return;
	if (part > 1)
		part = 1;
	for (int i = 0; i < BAR_CELLS; i++)
		bar[i] = i < part * BAR_CELLS ? '#' : '.';
	bar[BAR_CELLS] = '\0';
	fprintf(stderr, "\r\033[K[%s] %3.0f %%  %s of %s", bar, part * 100,
		term_bytes((double)done).s, term_bytes((double)total).s);
	if (part > 0.01)
		fprintf(stderr, ", %s left", term_seconds(now / part - now).s);
	fflush(stderr);
	run->drawn_s = now;
}

static void on_problem(void *arg, const char *line)
{
	struct run *run = arg;
	char *text;

	if (run->problems) {
		text = term_escape(line);
		cJSON_AddItemToArray(run->problems, cJSON_CreateString(text));
	} else {
		erase_bar(run);
		text = term_name(stdout, line);
		printf("%sbad%s  %s\n", term_paint(stdout, TERM_BAD),
		       term_paint(stdout, TERM_PLAIN), text);
	}
	free(text);
}

static void on_lost(void *arg, const char *line)
{
	struct run *run = arg;
	char *text;

	if (run->lost) {
		text = term_escape(line);
		cJSON_AddItemToArray(run->lost, cJSON_CreateString(text));
	} else {
		erase_bar(run);
		text = term_name(stdout, line);
		printf("lost %s\n", text);
	}
	free(text);
}

/* What to do about what was found. */
static const char *advice(const struct ropefs_check *check)
{
	if (!check->opened)
		return "it can't be opened; put what is damaged back from a backup";
	if (check->problems == check->mended)
		return "nothing is lost, and mounting the store mends it";
	return "mount it read-only (-o ro) and copy out what is readable";
}

static void print_words(const struct ropefs_check *check, const char *store, int r,
			double seconds)
{
	char *name = term_name(stdout, store);

	if (check->opened)
		printf("%s: %s files and folders with %s in %s packs (%s chunks) and %s "
		       "pages, checked in %s\n",
		       name, term_count(check->files).s,
		       term_bytes((double)check->bytes).s, term_count(check->packs).s,
		       term_count(check->chunks).s, term_count(check->pages).s,
		       term_seconds(seconds).s);
	if (check->leaked_pages)
		printf("%s pages are in use by nothing; the next collection frees them\n",
		       term_count(check->leaked_pages).s);
	if (check->lost_bytes)
		printf("%s of files were given up by repairs: reading them is an error\n",
		       term_bytes((double)check->lost_bytes).s);
	if (r == 0)
		printf("%sclean%s\n", term_paint(stdout, TERM_GOOD),
		       term_paint(stdout, TERM_PLAIN));
	else
		printf("%sdamaged%s in %s place%s: %s\n", term_paint(stdout, TERM_BAD),
		       term_paint(stdout, TERM_PLAIN), term_count(check->problems).s,
		       check->problems == 1 ? "" : "s", advice(check));
	free(name);
}

static void print_json(const struct ropefs_check *check, const char *store, int r,
		       double seconds, struct run *run)
{
	cJSON *json = cJSON_CreateObject();
	char *name = term_escape(store);
	char *text;

	cJSON_AddStringToObject(json, "store", name);
	cJSON_AddBoolToObject(json, "clean", r == 0);
	cJSON_AddNumberToObject(json, "exit_status", ropefs_error_exit_status(r));
	if (r < 0)
		cJSON_AddStringToObject(json, "error",
					*ropefs_error() ? ropefs_error()
							: ropefs_error_text(r));
	cJSON_AddNumberToObject(json, "files", (double)check->files);
	cJSON_AddNumberToObject(json, "bytes", (double)check->bytes);
	cJSON_AddNumberToObject(json, "pages", (double)check->pages);
	cJSON_AddNumberToObject(json, "leaked_pages", (double)check->leaked_pages);
	cJSON_AddNumberToObject(json, "packs", (double)check->packs);
	cJSON_AddNumberToObject(json, "chunks", (double)check->chunks);
	cJSON_AddNumberToObject(json, "problem_count", (double)check->problems);
	cJSON_AddNumberToObject(json, "mended_by_mounting", (double)check->mended);
	cJSON_AddItemToObject(json, "problems", run->problems);
	cJSON_AddNumberToObject(json, "lost_bytes", (double)check->lost_bytes);
	cJSON_AddItemToObject(json, "lost", run->lost);
	cJSON_AddNumberToObject(json, "seconds", seconds);
	text = cJSON_Print(json);
	puts(text);
	free(text);
	free(name);
	cJSON_Delete(json);
}

static void print_help(void)
{
	fputs("Usage: ropefs-fsck [OPTION]... STORE\n"
	      "Reads every byte of an unmounted store and checks that it is whole.\n"
	      "Changes nothing: a store repairs what a crash left by itself when it is\n"
	      "mounted.\n"
	      "\n"
	      "  -k, --key-file FILE  the store's key (else its default place)\n"
	      "  -j, --json           the result as one JSON object\n"
	      "  -q, --quiet          only the problems, no progress and no summary\n"
	      "  -h, --help           this text\n"
	      "  -V, --version        the version\n"
	      "\n"
	      "Example: ropefs-fsck /data/store\n"
	      "\n"
	      "Exit status: 0 clean, 1 could not run, 2 wrong usage, 3 wrong key,\n"
	      "4 store in use, 5 corrupt, 6 not a store, 7 written by a newer version.\n",
	      stdout);
}

static const struct option long_options[] = {
	{ "key-file", required_argument, NULL, 'k' }, { "json", no_argument, NULL, 'j' },
	{ "quiet", no_argument, NULL, 'q' },	      { "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },	      { 0 },
};

static int check_store(const char *store, const char *key_file, struct run *run)
{
	struct ropefs_check check = {
		.key_file = key_file,
		.bad = on_problem,
		.lost = on_lost,
		.progress = on_progress,
		.arg = run,
	};
	double seconds;
	int r;

	clock_gettime(CLOCK_MONOTONIC, &run->start);
	r = ropefs_check(store, &check);
	seconds = seconds_since(run->start);
	erase_bar(run);
	if (run->problems)
		print_json(&check, store, r, seconds, run);
	else if (r < 0 && check.problems == 0)
		return term_fail(r, store);
	else if (!run->quiet)
		print_words(&check, store, r, seconds);
	return ropefs_error_exit_status(r);
}

int main(int argc, char **argv)
{
	struct run run = { 0 };
	const char *key_file = NULL;
	int c;

	while ((c = getopt_long(argc, argv, "k:jqhV", long_options, NULL)) != -1) {
		switch (c) {
		case 'k':
			key_file = optarg;
			break;
		case 'j':
			run.problems = cJSON_CreateArray();
			run.lost = cJSON_CreateArray();
			break;
		case 'q':
			run.quiet = true;
			break;
		case 'h':
			print_help();
			return term_end(EXIT_DONE);
		case 'V':
			puts("ropefs-fsck " ROPEFS_VERSION);
			return term_end(EXIT_DONE);
		default:
			fprintf(stderr, "Try 'ropefs-fsck --help'.\n");
			return EXIT_USAGE;
		}
	}
	if (argc - optind != 1)
		return term_usage(NULL, "one STORE is wanted");
	run.has_bar = !run.quiet && isatty(STDERR_FILENO);
	return term_end(check_store(argv[optind], key_file, &run));
}
