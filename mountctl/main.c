/* main.c - ropectl: finds the verb and runs it. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/ropefs.h"
#include "mountctl/term.h"
#include "mountctl/verbs.h"

static const struct verb verbs[] = {
	{ "init", "STORE [--key-file FILE] [--cipher NAME]", "make a new store",
	  "Makes an empty store in the folder STORE (made when absent) and a key\n"
	  "file outside of it. Whoever loses the key file loses the data: copy it\n"
	  "to a safe place.\n"
	  "\n"
	  "  -k, --key-file FILE  where the key goes (else ~/.config/ropefs/ID.key,\n"
	  "                       or /etc/ropefs/ID.key for root)\n"
	  "  -c, --cipher NAME    xchacha20-poly1305 (else), aes256-gcm or none\n"
	  "\n"
	  "Example: ropectl init /data/store\n",
	  verb_init },
	{ "mount", "STORE DIR [-o OPTIONS]", "show a store's files in a folder",
	  "Starts the daemon ropefs and returns once the files are there.\n"
	  "\n"
	  "  -o OPTIONS           as ropefs(8): ro, allow_other, memory=128M, ...\n"
	  "  -k, --key-file FILE  the store's key (else its default place)\n"
	  "  -f, --foreground     stay in front until unmounted\n"
	  "\n"
	  "Example: ropectl mount /data/store /mnt/data -o memory=128M\n",
	  verb_mount },
	{ "umount", "DIR [--lazy]", "unmount, and wait until the store is closed",
	  "Unmounts DIR and returns once the daemon has written everything and has\n"
	  "ended, so that the store can be copied or mounted elsewhere.\n"
	  "\n"
	  "  -l, --lazy           take the mount away now, even when programs use it;\n"
	  "                       they keep what they have open, and the store stays\n"
	  "                       open until they end\n"
	  "\n"
	  "Example: ropectl umount /mnt/data\n",
	  verb_umount },
	{ "restart", "MOUNT", "replace the daemon of a supervised mount",
	  "A new daemon, of the program as it is installed now, takes the mount over.\n"
	  "Programs that use it see a pause. The mount must have been made with\n"
	  "-o supervise=on. A version that can't take over from the one that runs is\n"
	  "refused, and nothing changes: then unmount and mount again.\n"
	  "\n"
	  "Example: ropectl restart /mnt/data\n",
	  verb_restart },
	{ "status", "MOUNT|STORE [--json]", "say how a mount or a store is",
	  "Of a mount it asks the daemon; of an unmounted store it opens the store\n"
	  "read-only, which needs its key and changes nothing.\n"
	  "\n"
	  "  -j, --json           everything known, as one JSON object\n"
	  "  -k, --key-file FILE  the key of an unmounted store (else its default\n"
	  "                       place)\n"
	  "\n"
	  "Example: ropectl status /mnt/data\n",
	  verb_status },
	{ "insert", "FILE AT [--from FILE]", "insert bytes into a mounted file",
	  "Reads bytes from standard input and inserts them before byte AT of FILE,\n"
	  "as one atomic step that costs the same in a small and a huge file. AT\n"
	  "counts from 0, takes K, M and G, and counts back from the end when\n"
	  "negative.\n"
	  "\n"
	  "  -f, --from FILE      insert this file's bytes ('-': standard input)\n"
	  "\n"
	  "Example: echo 'new line' | ropectl insert /mnt/data/notes 100\n",
	  verb_insert },
	{ "cut", "FILE FROM..TO", "cut bytes out of a mounted file",
	  "Takes out the bytes from FROM up to and without TO, as one atomic step.\n"
	  "Both count from 0, take K, M and G, and count back from the end when\n"
	  "negative; 'FROM..' goes to the end and '..TO' begins at the start.\n"
	  "\n"
	  "Example: ropectl cut /mnt/data/notes 100..140\n",
	  verb_cut },
	{ "cursor", "commit QUEUE NAME ID | ls QUEUE | rm QUEUE NAME",
	  "where readers of a queue go on",
	  "A cursor is a name that stands before a record of a queue. QUEUE@cursor=NAME\n"
	  "reads on from there; commit, once what was read is done with, moves it to "
	  "the\n"
	  "record with this id, the next to read. Cursors are kept in the store.\n"
	  "\n"
	  "  -j, --json           ls as a JSON array\n"
	  "\n"
	  "Example: ropectl cursor commit /mnt/data/logs/robot uploader 1042\n",
	  verb_cursor },
	{ "policy", "set|get|ls|unset PATH [KEY=VALUE|KEY]...",
	  "settings of files and folders",
	  "Sets, gets, lists or removes settings of PATH, a file or folder of a mount.\n"
	  "A folder's hold for all below it that has none of its own.\n"
	  "\n"
	  "  kind=queue           new files here are queues (or rope: ordinary files)\n"
	  "  framing=line         what a record of a new queue is: line, write or\n"
	  "                       length:N\n"
	  "  retain=7d,10G        what of a queue is kept: an age, bytes, or\n"
	  "                       '1M records'\n"
	  "  gap=record           a gap in a queue is a record, too (or count)\n"
	  "  ttl=7d               how long a file stays that nobody changes\n"
	  "  upload=first         when new bytes go to the bucket: first, normal, last\n"
	  "                       or never\n"
	  "  pin=on               new bytes stay on the disk though the bucket has them\n"
	  "\n"
	  "  -j, --json           ls as a JSON array\n"
	  "\n"
	  "Example: ropectl policy set /mnt/data/logs kind=queue framing=line\n",
	  verb_policy },
	{ "edit", "[SCRIPT] [--dry-run] [--json]",
	  "make many edits of many files at once",
	  "Reads a script (SCRIPT, or standard input) of edits of mounted files, a line\n"
	  "each, and makes all of them as one atomic step: all or nothing, also when it\n"
	  "is killed. Nobody sees it half done.\n"
	  "\n"
	  "  insert FILE AT DATA            DATA is 'text', \"text\" with \\n, \\t, "
	  "\\xNN,\n"
	  "  cut FILE FROM..TO              \\\\ and \\\", or < PATH: that file's bytes\n"
	  "  replace FILE FROM..TO DATA\n"
	  "  copy FILE FROM..TO to FILE2 AT       AT or FROM..TO, which is replaced\n"
	  "  move FILE FROM..TO to FILE2 AT\n"
	  "  append FILE DATA               records, where FILE is a queue\n"
	  "  create FILE, unlink FILE, rename FILE FILE2\n"
	  "  cursor QUEUE NAME ID\n"
	  "\n"
	  "Offsets are as with insert and cut, in the file as the lines before left it.\n"
	  "Names mean what they meant before the script, or what it has created.\n"
	  "Empty lines and those that begin with # are skipped.\n"
	  "\n"
	  "  -n, --dry-run        check everything, change nothing\n"
	  "  -j, --json           say what was done as a JSON object\n"
	  "\n"
	  "Example: echo \"insert /mnt/data/notes 0 'first line '\" | ropectl edit\n",
	  verb_edit },
	{ "remote", "add|set|show|retry|dropped|rm STORE|MOUNT [URL] [OPTIONS]",
	  "give a store a bucket to upload to",
	  "add probes the bucket and keeps it in the store, mounted or not, with the\n"
	  "credentials sealed; its mounts upload from then on. URL is\n"
	  "s3://BUCKET/PREFIX or file:///FOLDER. Credentials come from the\n"
	  "variables AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN,\n"
	  "from ~/.aws/credentials or another file, or are asked for. show says how\n"
	  "far the upload is; rm forgets the bucket and leaves what is in it.\n"
	  "set changes options, a limit of 0 is none; retry tries again what the\n"
	  "bucket refused; dropped lists what was given up for want of room.\n"
	  "\n"
	  "  -e, --endpoint URL          http[s]://HOST[:PORT] (else Amazon's)\n"
	  "  -r, --region NAME           (else $AWS_REGION, us-east-1)\n"
	  "  -c, --credentials-file FILE as of the AWS tools\n"
	  "      --profile NAME          its section (else $AWS_PROFILE, default)\n"
	  "      --ca-file FILE          certificates to trust instead of the system's\n"
	  "      --virtual-host          BUCKET.HOST instead of HOST/BUCKET\n"
	  "      --signature-v2          for old servers\n"
	  "  -l, --local SIZE            packs over it leave the disk once they are in\n"
	  "                              the bucket\n"
	  "      --min-free SIZE         likewise when the disk has less free\n"
	  "  -i, --interval TIME         between uploads; 1m..5m: 5m at most, while "
	  "less\n"
	  "                              than a pack waits (1m..5m)\n"
	  "      --live TIME|off         between uploads while somebody looks on (3s)\n"
	  "      --look TIME             between looks for that, while something waits\n"
	  "                              to go up (20s)\n"
	  "      --keep TIME             what newer states don't need stays so long "
	  "(1d)\n"
	  "      --rate SIZE             bytes a second to upload at most\n"
	  "      --hours HH:MM-HH:MM     when uploads may run, local time (always)\n"
	  "      --when-full refuse|drop when over the limits and nothing goes up: "
	  "refuse\n"
	  "                              new bytes, or drop the oldest (refuse)\n"
	  "      --new-credentials       with set: look for them again\n"
	  "      --take-over             the bucket has this store from another writer,\n"
	  "                              which is to stop\n"
	  "  -j, --json                  with show: a JSON object; with dropped: one a\n"
	  "                              line\n"
	  "  -k, --key-file FILE         the store's key\n"
	  "\n"
	  "Example: ropectl remote add /data/store s3://robots/fleet1 \\\n"
	  "             --endpoint https://s3.example.com --local 50G\n",
	  verb_remote },
	{ "clone", "URL STORE --key-file FILE [OPTIONS]",
	  "make a store anew from a bucket",
	  "Needs the bucket and the key file only. All names and sizes are there at\n"
	  "once; bytes are fetched as they are read. Without --take-over the store\n"
	  "can only be read; with it, its writer so far turns read-only.\n"
	  "\n"
	  "  -k, --key-file FILE  the store's key\n"
	  "      --take-over      go on writing in the new store\n"
	  "  -e, --endpoint, -r, --region, -c, --credentials-file, -l, --local,\n"
	  "      --profile, --ca-file, --virtual-host, --signature-v2\n"
	  "                       as for remote\n"
	  "\n"
	  "Example: ropectl clone s3://robots/fleet1 /data/store -k robot7.key \\\n"
	  "             --endpoint https://s3.example.com --take-over\n",
	  verb_clone },
	{ "verify", "MOUNT|STORE [--data] [--repair] [--rate SIZE]",
	  "check that the bucket has what was put there",
	  "Asks the bucket for each object that the store knows to be there, and "
	  "follows\n"
	  "the chain of manifests: objects that are gone or damaged, and a bucket put "
	  "back\n"
	  "to an older state, are told, one a line.\n"
	  "\n"
	  "  -d, --data           get and verify the packs, too: else only their length\n"
	  "  -r, --repair         put again what the store still has; name the files of\n"
	  "                       which bytes are lost\n"
	  "      --rate SIZE      get so many bytes a second at most, with K, M or G\n"
	  "  -j, --json           the result as a JSON object: whole, and lines\n"
	  "  -k, --key-file FILE  the key of an unmounted store\n"
	  "\n"
	  "Exit status 5: something is wrong, and was not mended.\n"
	  "\n"
	  "Example: ropectl verify /data/store\n",
	  verb_verify },
	{ "scrub", "MOUNT|STORE [--rate SIZE]", "read and verify all that is stored",
	  "Reads each pack and page of a store, mounted or not, and names the files of\n"
	  "which something does not verify. In a mount its daemon does it, at low\n"
	  "priority; it goes on there when this is interrupted, and after a restart.\n"
	  "What another copy is whole of is written anew; nothing else is changed.\n"
	  "\n"
	  "  -r, --rate SIZE      bytes a second at most, with K, M or G (no limit)\n"
	  "  -b, --background     don't wait for the end: ropectl status tells it\n"
	  "  -s, --stop           end one that is under way\n"
	  "  -j, --json           the result as a JSON object\n"
	  "  -k, --key-file FILE  the key of an unmounted store\n"
	  "\n"
	  "Exit status 5: something does not verify. The mount option scrub=7d does the\n"
	  "same by itself, once in 7 days.\n"
	  "\n"
	  "Example: ropectl scrub /mnt/data --rate 20M\n",
	  verb_scrub },
	{ "sync", "MOUNT [--remote]", "wait until all that was written is on the disk",
	  "MOUNT is a mount, or any file in it. What was written before is durable\n"
	  "when this returns: it survives a power cut.\n"
	  "\n"
	  "  -r, --remote         wait until the bucket has it too\n"
	  "\n"
	  "Example: ropectl sync /mnt/data\n",
	  verb_sync },
	{ "version", "[--json]", "print the version",
	  "  -j, --json           as a JSON object\n"
	  "\n"
	  "Example: ropectl version\n",
	  verb_version },
};

#define N_VERBS (sizeof(verbs) / sizeof(verbs[0]))

static void print_help(void)
{
	printf("Usage: ropectl VERB ...\n"
	       "Makes, mounts and looks after ropefs stores, and edits files in "
	       "them.\n\n");
	for (size_t i = 0; i < N_VERBS; i++)
		printf("  %-8s  %s\n", verbs[i].name, verbs[i].summary);
	printf("\n'ropectl VERB --help' says what it takes, and shows an example.\n"
	       "Example: ropectl init /data/store && ropectl mount /data/store "
	       "/mnt/data\n\n" TERM_STATUS_HELP);
}

static void print_verb_help(const struct verb *verb)
{
	printf("Usage: ropectl %s %s\n%s\n" TERM_STATUS_HELP, verb->name, verb->synopsis,
	       verb->help);
}

#define MAX_OPTIONS 24

/* getopt_long()'s own tables of the verb's options, and --help. */
static void fill_tables(const struct verb_option *options, struct option *ret_long,
			char *ret_short)
{
	size_t n = 0;

	*ret_short++ = ':';
	for (; options && options[n].name; n++) {
		if (n == MAX_OPTIONS)
			abort();
		ret_long[n] = (struct option) { options[n].name, options[n].has_value,
						NULL, 256 + (int)n };
		if (!options[n].letter)
			continue;
		*ret_short++ = options[n].letter;
		if (options[n].has_value)
			*ret_short++ = ':';
	}
	*ret_short++ = 'h';
	*ret_short = '\0';
	ret_long[n] = (struct option) { "help", 0, NULL, 'h' };
	ret_long[n + 1] = (struct option) { 0 };
}

/* "-5" and "-10..": counts back from the end, so an operand and no option. */
static bool is_negative_number(const char *word)
{
	return word && word[0] == '-' && word[1] >= '0' && word[1] <= '9';
}

/* getopt_long() would take a negative number for an option: moves them behind all other
 * words, in their order, and returns where they begin. */
static int hide_negative_numbers(int argc, char **argv)
{
	int end = argc;

	for (int i = 1; i < end && strcmp(argv[i], "--") != 0; i++) {
		char *word = argv[i];

		if (!is_negative_number(word))
			continue;
		memmove(&argv[i], &argv[i + 1], (size_t)(argc - i - 1) * sizeof(*argv));
		argv[argc - 1] = word;
		end--;
		i--;
	}
	return end;
}

int verb_options(const struct verb *verb, int argc, char **argv,
		 const struct verb_option *options, int least, int most, int *ret_first)
{
	struct option long_options[MAX_OPTIONS + 2];
	char short_options[2 * MAX_OPTIONS + 3];
	int operands, c;
	int end = hide_negative_numbers(argc, argv);

	fill_tables(options, long_options, short_options);
	opterr = 0;
	while ((c = getopt_long(end, argv, short_options, long_options, NULL)) != -1) {
		size_t i = 0;

		if (c == 'h') {
			print_verb_help(verb);
			*ret_first = EXIT_DONE;
			return -1;
		}
		if (c == '?' || c == ':') {
			*ret_first = term_usage(verb->name,
						c == '?' ? "%s: there is no option '%s'"
							 : "%s: '%s' needs a value",
						verb->name, argv[optind - 1]);
			return -1;
		}
		if (c >= 256)
			i = (size_t)(c - 256);
		else
			while (options[i].letter != c)
				i++;
		*options[i].value = optarg ? optarg : "";
	}
	*ret_first = optind;
	operands = argc - optind;
	if (operands < least || operands > most) {
		*ret_first = term_usage(verb->name, "%s: %s; it takes: %s", verb->name,
					operands < least ? "something is missing"
							 : "that is too much",
					verb->synopsis);
		return -1;
	}
	return operands;
}

static int run(int argc, char **argv)
{
	if (argc < 2)
		return term_usage(NULL, "a verb is missing");
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") ||
	    !strcmp(argv[1], "help")) {
		print_help();
		return EXIT_DONE;
	}
	if (!strcmp(argv[1], "--version"))
		argv[1] = (char *)"version";
	for (size_t i = 0; i < N_VERBS; i++)
		if (!strcmp(argv[1], verbs[i].name))
			return verbs[i].run(&verbs[i], argc - 1, argv + 1);
	return term_usage(NULL, "there is no verb '%s'", argv[1]);
}

int main(int argc, char **argv)
{
	return term_end(run(argc, argv));
}
