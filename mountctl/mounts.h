/* mounts.h - which ropefs mounts there are, by /proc/self/mountinfo: it answers without
 * asking the filesystem, so also for a mount whose daemon has died. */
#ifndef ROPEFS_MOUNTCTL_MOUNTS_H
#define ROPEFS_MOUNTCTL_MOUNTS_H

#include <stdbool.h>
#include <sys/types.h>

struct mount {
	char *store; /* the folder mounted, as the daemon named it */
	char *dir; /* where */
	dev_t dev;
	uid_t user; /* who mounted it */
};

#define MOUNT_INIT ((struct mount) { 0 })
void mount_release(struct mount *m);

/* The ropefs mount that path lies in, or is: 0, -ENOENT when it lies in none, or an error. */
int mount_find(const char *path, struct mount *ret);
/* The mount whose files have this st_dev: 0 or -ENOENT. */
int mount_find_dev(dev_t dev, struct mount *ret);
/* A mount of this store: 0 or -ENOENT. */
int mount_find_store(const char *store, struct mount *ret);
/* A mount below that of a fleet (ropefs --fleet): 0 or -ENOENT. */
int mount_find_below(const struct mount *fleet, struct mount *ret);
/* False, with errno, when the daemon behind the mount has died (ENOTCONN) or does not let
 * us in. */
bool mount_is_alive(const struct mount *m);

/* Prints that the mount's daemon has died, and what to do; returns EXIT_FAILED. */
int mount_say_dead(const struct mount *m);
/* term_fail_errno() for a path that may be in such a mount. */
int mount_fail(int err, const char *path);

/* realpath(), but one that also works for a dead mount and what is in it. NULL with errno. */
char *mount_realpath(const char *path);
/* The whole of a file below the mount's .ropefs folder; NULL with errno. The caller frees. */
char *mount_read_file(const struct mount *m, const char *name);
/* Who serves a mount; pids are 0 when unknown (or in another pid namespace). */
struct mount_processes {
	pid_t daemon;
	pid_t supervisor; /* 0: none */
	int64_t refused; /* restarts, as the program installed now can't take over */
};
struct mount_processes mount_processes(const struct mount *m);
/* The process that ends when the store has been closed. */
pid_t mount_pid(const struct mount *m);

#endif
