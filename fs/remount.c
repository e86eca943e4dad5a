#include "fs/remount.h"

#include "fs/options.h"
#include "fs/report.h"

#include <errno.h>
#include <mntent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/statvfs.h>

static const struct {
	const char *on, *off; /* words of mount(8) */
	unsigned long flag, shown; /* for mount(2), from statvfs(3) */
} words[] = {
	{ "nosuid", "suid", MS_NOSUID, ST_NOSUID },
	{ "nodev", "dev", MS_NODEV, ST_NODEV },
	{ "noexec", "exec", MS_NOEXEC, ST_NOEXEC },
	{ "noatime", "atime", MS_NOATIME, ST_NOATIME },
	{ "dirsync", "", MS_DIRSYNC, 0 },
};

/* What is not named stays as it is. */
static unsigned long flags_of(const struct options *o, unsigned long shown)
{
	unsigned long flags = o->opts.read_only ? MS_RDONLY : 0;
	char *copy = strdup(o->mount), *rest = copy, *word;

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (shown & words[i].shown)
			flags |= words[i].flag;
	while ((word = strsep(&rest, ",")))
		for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
			if (strcmp(word, words[i].on) == 0)
				flags |= words[i].flag;
			if (strcmp(word, words[i].off) == 0)
				flags &= ~words[i].flag;
		}
	free(copy);
	return flags;
}

static bool is_mounted(const struct options *o)
{
	FILE *mounts = setmntent("/proc/self/mounts", "r");
	struct mntent *e;
	bool found = false;

	while (!found && mounts && (e = getmntent(mounts)))
		found = strcmp(e->mnt_type, "fuse.ropefs") == 0 &&
			strcmp(e->mnt_fsname, o->store) == 0 &&
			strcmp(e->mnt_dir, o->mountpoint) == 0;
	if (mounts)
		endmntent(mounts);
	return found;
}

int remount(const struct options *o)
{
	struct statvfs v;

	if (!is_mounted(o)) {
		report("%s: %s is not mounted there; mount it without remount",
		       o->mountpoint, o->store);
		return 1;
	}
	if (statvfs(o->mountpoint, &v) < 0) {
		report("%s: %s", o->mountpoint, strerror(errno));
		return 1;
	}
	if (mount(o->store, o->mountpoint, NULL, MS_REMOUNT | flags_of(o, v.f_flag),
		  NULL) == 0)
		return 0;
	report("%s: cannot remount: %s%s", o->mountpoint, strerror(errno),
	       errno == EPERM	? "; only root may"
	       : errno == EBUSY ? "; files are open for writing"
				: "");
	return 1;
}
