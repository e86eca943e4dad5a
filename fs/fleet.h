/* fleet.h - ropefs --fleet: a folder for each store of a bucket, that store mounted on it, read
 * only, once somebody looks into it. */
#ifndef ROPEFS_FS_FLEET_H
#define ROPEFS_FS_FLEET_H

#include "fs/options.h"

#define FLEET_SOURCE "fleet:" /* before the bucket's URL, in the table of mounts */

/* Mounts and serves until the end; an exit status. Signals end it. ready_fd: of
 * go_to_background(). */
int fleet_serve(const struct options *o, int ready_fd);

#endif
