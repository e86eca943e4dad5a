/* options.h - the command line: ropefs [options] STORE MOUNTPOINT. */
#ifndef ROPEFS_FS_OPTIONS_H
#define ROPEFS_FS_OPTIONS_H

#include "core/ropefs.h"

struct options {
	char *store, *mountpoint; /* absolute; or the store is a bucket's URL */
	char *key_file; /* NULL: the default place */
	char *mount; /* for the kernel, comma-separated */
	/* Of a bucket in the place of a store's folder (bucket.h). */
	char *endpoint, *region, *credentials, *ca_file, *cache, *instance;
	bool fleet; /* all of its stores (fleet.h) */
	char *key_dir;
	unsigned interval_s; /* 0: the default */
	bool quiet; /* its writer is not told that somebody reads */
	bool virtual_host, signature_v2;
	struct ropefs_opts opts; /* key_file is filled in by the reader */
	bool foreground, allow_other, no_views, remount;
	bool asleep; /* cores may sleep between the calls of a program (awake.h) */
	bool supervise; /* supervise.h */
	unsigned
		watchdog_s; /* a daemon that stands still for so long is replaced; 0: never */
	int first_word; /* the place of STORE in argv */
};

enum {
	OPTIONS_RUN = -1,
	OPTIONS_DONE = 0, /* --help, --version: exit with 0 */
	OPTIONS_USAGE = 2, /* said what is wrong: exit with 2 */
	OPTIONS_FAILED = 1,
};

/* on_mount: the mount is there already, so that its path must not be looked at.
 * Returns one of these. *ret is filled only for OPTIONS_RUN. */
int options_parse(int argc, char **argv, bool on_mount, struct options *ret);
void options_release(struct options *o);

#endif
