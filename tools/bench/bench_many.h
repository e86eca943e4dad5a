/* bench_many.h - the part of bench_mount about metadata: many small files, and a git clone. */
#ifndef ROPEFS_BENCH_MANY_H
#define ROPEFS_BENCH_MANY_H

#include <stdbool.h>

enum many_work {
	MANY_CREATE, /* files of 200 bytes, in folders of 1,000 */
	MANY_LIST, /* opendir, readdir: names a second */
	MANY_STAT, /* each by its path */
	MANY_STAT_AGAIN,
	MANY_READ, /* open, read, close */
	MANY_UNLINK,
	MANY_GIT, /* seconds of a clone of $BENCH_GIT; -1: no git, or no repository */
	MANY_WORKS
};

/* Does all of them in folder with n files, and leaves nothing there. */
void many_run(const char *folder, unsigned n, double ret[MANY_WORKS]);

#endif
