/* ropefs_fsck.c - ropefs-fsck: checks an unmounted store, and repairs it when told to. The work
 * itself is ropefs_check() and ropefs_repair(); this shows how far they are and what they found,
 * and asks before anything is changed. */
#include <cjson/cJSON.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/ropefs.h"
#include "mountctl/term.h"

struct run {
	struct term_bar bar;
	bool quiet;
	cJSON *problems; /* with --json: an array of lines; else NULL */
	cJSON *lost; /* likewise: ranges that a repair gave up */
	cJSON *steps; /* likewise: of a repair */
	const char *key_file;
	enum { CHECK, REPAIR } job;
	bool yes, dry_run, rebuild;
	bool applies; /* the repair does what it says */
};

static void on_progress(void *arg, uint64_t done, uint64_t total)
{
	struct run *run = arg;

	term_bar_show(&run->bar, done, total);
}

static void on_problem(void *arg, const char *line)
{
	struct run *run = arg;
	char *text;

	if (run->problems) {
		text = term_escape(line);
		cJSON_AddItemToArray(run->problems, cJSON_CreateString(text));
	} else {
		term_bar_erase(&run->bar);
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
		term_bar_erase(&run->bar);
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
	if (check->problems == check->mended + check->copied)
		return "nothing is lost: ropefs-fsck --repair writes it anew";
	return "ropefs-fsck --repair --dry-run says what can be done; until then it can "
	       "be mounted read-only (-o ro)";
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
	cJSON_AddNumberToObject(json, "whole_elsewhere", (double)check->copied);
	cJSON_AddItemToObject(json, "problems", run->problems);
	cJSON_AddNumberToObject(json, "lost_bytes", (double)check->lost_bytes);
	cJSON_AddItemToObject(json, "lost", run->lost);
	cJSON_AddNumberToObject(json, "seconds", seconds);
	term_json(json);
	free(name);
	cJSON_Delete(json);
}

/* --- repair --- */

static void on_step(void *arg, const char *line)
{
	struct run *run = arg;
	char *text;

	if (run->steps) {
		text = term_escape(line);
		cJSON_AddItemToArray(run->steps, cJSON_CreateString(text));
	} else {
		term_bar_erase(&run->bar);
		text = term_name(stdout, line);
		printf("would  %s\n", text);
	}
	free(text);
}

static bool confirmed(const struct run *run)
{
	char answer[16] = "";

	if (run->yes)
		return true;
	if (!isatty(STDIN_FILENO)) {
		fprintf(stderr,
			"ropefs-fsck: nothing was changed; with --yes the repair is "
			"done without asking\n");
		return false;
	}
	fprintf(stderr, "Do it? What is removed is kept in the store's folder. [y/N] ");
	if (!fgets(answer, sizeof(answer), stdin))
		return false;
	return answer[0] == 'y' || answer[0] == 'Y';
}

static void print_repair_json(const struct ropefs_repair *repair, const char *store,
			      struct run *run, int r)
{
	cJSON *json = cJSON_CreateObject();
	char *name = term_escape(store);

	cJSON_AddStringToObject(json, "store", name);
	cJSON_AddBoolToObject(json, "applied", run->applies && r >= 0);
	cJSON_AddNumberToObject(json, "exit_status", ropefs_error_exit_status(r));
	if (r < 0)
		cJSON_AddStringToObject(json, "error",
					*ropefs_error() ? ropefs_error()
							: ropefs_error_text(r));
	cJSON_AddNumberToObject(json, "lost_bytes", (double)repair->lost_bytes);
	cJSON_AddNumberToObject(json, "lost_files", (double)repair->lost_files);
	cJSON_AddStringToObject(json, "kept", repair->kept);
	cJSON_AddItemToObject(json, "steps", run->steps);
	term_json(json);
	free(name);
	cJSON_Delete(json);
}

static void print_repair(const struct ropefs_repair *repair, const char *store,
			 const struct run *run)
{
	char *name = term_name(stdout, store);

	if (!repair->steps)
		printf("%s: there is nothing to repair\n", name);
	else if (run->applies && !*repair->kept)
		printf("%s: repaired; nothing had to be removed\n", name);
	else if (!run->applies)
		printf("%s: %s steps; %s of %s files would be given up. Nothing was "
		       "changed\n",
		       name, term_count(repair->steps).s,
		       term_bytes((double)repair->lost_bytes).s,
		       term_count(repair->lost_files).s);
	else
		printf("%s: repaired; %s of %s files were given up. What was removed, "
		       "and "
		       "this list, is in %s/%s\n",
		       name, term_bytes((double)repair->lost_bytes).s,
		       term_count(repair->lost_files).s, name, repair->kept);
	free(name);
}

static int repair_once(const char *store, struct run *run, struct ropefs_repair *ret)
{
	*ret = (struct ropefs_repair) {
		.key_file = run->key_file,
		.apply = run->applies,
		.rebuild = run->rebuild,
		/* In words the plan has told them. */
		.step = run->quiet || (run->applies && !run->steps) ? NULL : on_step,
		.progress = on_progress,
		.arg = run,
	};
	run->bar = term_bar_begin(!run->quiet);
	return ropefs_repair(store, ret);
}

/* Says what it would do; then does it. 5: there is something to do, and it was not done. */
static int repair_store(const char *store, struct run *run)
{
	struct ropefs_repair repair;
	bool json = run->steps != NULL;
	int r = repair_once(store, run, &repair);
	uint64_t steps = repair.steps;

	term_bar_erase(&run->bar);
	if (r >= 0 && repair.steps && !run->dry_run && confirmed(run)) {
		run->applies = true;
		if (json) {
			cJSON_Delete(run->steps);
			run->steps = cJSON_CreateArray();
		}
		r = repair_once(store, run, &repair);
		repair.steps = steps; /* some are done by the opening itself */
		term_bar_erase(&run->bar);
	}
	if (json)
		print_repair_json(&repair, store, run, r);
	else if (r < 0)
		return term_fail(r, store);
	else
		print_repair(&repair, store, run);
	if (r < 0)
		return ropefs_error_exit_status(r);
	if (!repair.steps)
		return 0;
	return run->applies ? 0 : 5;
}

static void print_help(void)
{
	fputs("Usage: ropefs-fsck [OPTION]... STORE\n"
	      "Reads every byte of an unmounted store and checks that it is whole.\n"
	      "Changes nothing without --repair: what a crash left a store puts right "
	      "by\n"
	      "itself when it is mounted.\n"
	      "\n"
	      "  -r, --repair         gives up what is damaged and makes the rest "
	      "whole:\n"
	      "                       says what it would do, asks, does it; what it "
	      "removes\n"
	      "                       is kept in the folder damaged-TIME of the store\n"
	      "  -R, --rebuild        the same, and makes the page file anew when it is "
	      "gone\n"
	      "  -y, --yes            doesn't ask\n"
	      "  -n, --dry-run        only says what it would do\n"
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
	{ "key-file", required_argument, NULL, 'k' },
	{ "json", no_argument, NULL, 'j' },
	{ "quiet", no_argument, NULL, 'q' },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },
	{ "repair", no_argument, NULL, 'r' },
	{ "rebuild", no_argument, NULL, 'R' },
	{ "yes", no_argument, NULL, 'y' },
	{ "dry-run", no_argument, NULL, 'n' },
	{ 0 },
};

static int check_store(const char *store, struct run *run)
{
	struct ropefs_check check = {
		.key_file = run->key_file,
		.bad = on_problem,
		.lost = on_lost,
		.progress = on_progress,
		.arg = run,
	};
	double seconds;
	int r;

	run->bar = term_bar_begin(!run->quiet);
	r = ropefs_check(store, &check);
	seconds = term_seconds_since(run->bar.start);
	term_bar_erase(&run->bar);
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
	bool json = false;
	int c;

	while ((c = getopt_long(argc, argv, "k:jqhVrRyn", long_options, NULL)) != -1) {
		switch (c) {
		case 'k':
			run.key_file = optarg;
			break;
		case 'j':
			json = true;
			break;
		case 'q':
			run.quiet = true;
			break;
		case 'r':
			run.job = REPAIR;
			break;
		case 'R':
			run.job = REPAIR;
			run.rebuild = true;
			break;
		case 'y':
			run.yes = true;
			break;
		case 'n':
			run.dry_run = true;
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
	if (json && run.job == CHECK) {
		run.problems = cJSON_CreateArray();
		run.lost = cJSON_CreateArray();
	} else if (json) {
		run.steps = cJSON_CreateArray();
	}
	if (run.job == CHECK && (run.yes || run.dry_run))
		return term_usage(NULL,
				  "--yes and --dry-run belong to --repair and --rebuild");
	return term_end(run.job == REPAIR ? repair_store(argv[optind], &run)
					  : check_store(argv[optind], &run));
}
