/* verbs.h - the verbs of ropectl: each gets its own argv (argv[0] is the verb's name) and
 * returns an exit status. */
#ifndef ROPEFS_MOUNTCTL_VERBS_H
#define ROPEFS_MOUNTCTL_VERBS_H

#include <stdbool.h>

struct verb {
	const char *name;
	const char *synopsis; /* what follows the name */
	const char *summary; /* one line for the list of verbs */
	const char *help; /* options and an example, lines ended by \n */
	int (*run)(const struct verb *verb, int argc, char **argv);
};

/* What verb_options() does with an option: *value gets its argument, or "" without one. */
struct verb_option {
	const char *name;
	char letter; /* 0: only the long form */
	bool has_value;
	const char **value;
};

/* Takes the options out of argv and leaves the operands: returns how many, with *ret_first
 * the index of the first. On --help or a mistake it prints and returns -1, with the exit
 * status in *ret_first. least and most bound the operands. */
int verb_options(const struct verb *verb, int argc, char **argv,
		 const struct verb_option *options, int least, int most, int *ret_first);

int verb_init(const struct verb *verb, int argc, char **argv);
int verb_mount(const struct verb *verb, int argc, char **argv);
int verb_umount(const struct verb *verb, int argc, char **argv);
int verb_restart(const struct verb *verb, int argc, char **argv);
int verb_scrub(const struct verb *verb, int argc, char **argv);
/* What to do about the damage that a scrub's report tells of. */
struct cJSON;
const char *scrub_advice(const struct cJSON *report);
int verb_status(const struct verb *verb, int argc, char **argv);
int verb_insert(const struct verb *verb, int argc, char **argv);
int verb_cut(const struct verb *verb, int argc, char **argv);
int verb_cursor(const struct verb *verb, int argc, char **argv);
int verb_policy(const struct verb *verb, int argc, char **argv);
int verb_edit(const struct verb *verb, int argc, char **argv);
int verb_sync(const struct verb *verb, int argc, char **argv);
int verb_remote(const struct verb *verb, int argc, char **argv);
int verb_clone(const struct verb *verb, int argc, char **argv);
int verb_verify(const struct verb *verb, int argc, char **argv);
struct mount;
/* Waits until the bucket has all that was written to the mount before. */
int sync_remote(const struct mount *m);
int verb_version(const struct verb *verb, int argc, char **argv);

#endif
