/* remount.h - `mount -o remount`: what the kernel keeps of a mount is changed; the daemon and what
 * it was started with stay. */
#ifndef ROPEFS_FS_REMOUNT_H
#define ROPEFS_FS_REMOUNT_H

struct options;

/* Returns an exit status, having said what is wrong. */
int remount(const struct options *o);

#endif
