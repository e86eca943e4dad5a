/* ropefs_dump.c - ropefs-dump: prints what the files of a store hold, in words. For people
 * who look for the cause of something; it changes nothing and works on damaged stores. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/ropefs.h"
#include "mountctl/term.h"

static void print_help(void)
{
	fputs("Usage: ropefs-dump [OPTION]... STORE [FILE]\n"
	      "Prints FILE of a store in words, or all its files. FILE is a name inside\n"
	      "of the store: ropefs (its header), pages, wal/... or packs/... What is\n"
	      "sealed is shown when the key is given. Nothing is changed.\n"
	      "\n"
	      "  -k, --key-file FILE  the store's key\n"
	      "  -h, --help           this text\n"
	      "  -V, --version        the version\n"
	      "\n"
	      "Example: ropefs-dump /data/store\n"
	      "\n" TERM_STATUS_HELP,
	      stdout);
}

static const struct option long_options[] = {
	{ "key-file", required_argument, NULL, 'k' },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },
	{ 0 },
};

static void print_line(void *arg, const char *line)
{
	char *text = term_name(stdout, line);

	puts(text);
	free(text);
}

static int run(int argc, char **argv)
{
	const char *key_file = NULL;
	int c, r;

	while ((c = getopt_long(argc, argv, "k:hV", long_options, NULL)) != -1) {
		switch (c) {
		case 'k':
			key_file = optarg;
			break;
		case 'h':
			print_help();
			return EXIT_DONE;
		case 'V':
			puts("ropefs-dump " ROPEFS_VERSION);
			return EXIT_DONE;
		default:
			fprintf(stderr, "Try 'ropefs-dump --help'.\n");
			return EXIT_USAGE;
		}
	}
	if (argc - optind < 1 || argc - optind > 2)
		return term_usage(NULL, "a STORE is wanted, and at most one FILE");
	r = ropefs_dump(argv[optind], argc - optind == 2 ? argv[optind + 1] : NULL,
			key_file, print_line, NULL);
	if (r < 0)
		return term_fail(r, argv[optind]);
	return EXIT_DONE;
}

int main(int argc, char **argv)
{
	return term_end(run(argc, argv));
}
