/* snap.h - DIR/.snap: the snapshots of a directory as folders (docs/SNAPSHOTS.md).
 *
 * The folder .snap of a directory has node ids of its own: the directory's number with
 * ROPEFS_SNAPSHOT_BIT, as if it were in a snapshot 0, which there is not. What is in a snapshot
 * has the number that libropefs gives it and is served as any file; nothing has to be kept of
 * it, as it never changes. Only files that are open are held, so that their snapshot can't be
 * dropped. */
#ifndef ROPEFS_FS_SNAP_H
#define ROPEFS_FS_SNAP_H

#include "fs/daemon.h"

#define SNAP_NAME ".snap"

extern const struct fuse_lowlevel_ops snap_ops; /* of .snap itself */

static inline bool snap_is_folder(fuse_ino_t ino)
{
	return ino >> 40 == ROPEFS_SNAPSHOT_BIT >> 40;
}

/* The entry .snap of a directory. -ENOENT: it has none; -EROFS: it is in a snapshot itself. */
int snap_entry(struct daemon *d, fuse_ino_t dir, struct fuse_entry_param *ret);
uint64_t snap_dir_of(fuse_ino_t folder);
/* As ropefs_readdir(), of a folder .snap. */
int snap_entries(struct daemon *d, fuse_ino_t folder, uint64_t after,
		 struct ropefs_entry *ret, struct ropefs_attr *attrs, unsigned max);
/* Of a file that is being opened: holds its snapshot, if it is in one, until snap_released().
 * -EROFS: for writing; -ESTALE: it was dropped. */
int snap_opened(struct daemon *d, fuse_ino_t ino, struct fuse_file_info *fi);
void snap_released(struct daemon *d, fuse_ino_t ino, const struct fuse_file_info *fi);

#endif
