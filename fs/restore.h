/* restore.h - after a takeover: the open files of the daemon before are made anew (kept.h). */
#ifndef ROPEFS_FS_RESTORE_H
#define ROPEFS_FS_RESTORE_H

struct daemon;

/* Before any request is taken, and before inodes without a name are inherited. */
void restore_files(struct daemon *d);
/* The connection answers: whoever polls one of them asks again, and is woken. */
void restore_polls(struct daemon *d, int connection);

#endif
