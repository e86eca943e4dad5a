/* mount.h - one mount from open store to closed store. */
#ifndef ROPEFS_FS_MOUNT_H
#define ROPEFS_FS_MOUNT_H

#include "fs/options.h"

struct mounted;

/* Opens the store, mounts it, and returns once the mount answers. 0, or an exit status after
 * having reported why. o must outlive the mount. */
struct seat;
/* seat: of a worker (supervise.h), or NULL. One that takes over mounts nothing. */
int mount_start(const struct options *o, const struct seat *seat, struct mounted **ret);
/* Unmounts unless that has happened, answers what is under way, closes the store. Returns an
 * exit status. */
int mount_end(struct mounted *m);
/* Answers what is under way, as far as that takes no time, and leaves the mount to another worker.
 * Threads may still run: the process has to end. */
void mount_leave(struct mounted *m);

#endif
