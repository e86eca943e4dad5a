/* notify.h - drops what the kernel has cached of a file after an edit.
 *
 * The kernel waits for pages that are being read or written when it drops them, and those
 * wait for our replies: dropping from a request loop or a worker could wait for itself. So
 * one thread does only this. An edit is answered after its drop, therefore whoever was told
 * that an edit is done finds it in every read. */
#ifndef ROPEFS_FS_NOTIFY_H
#define ROPEFS_FS_NOTIFY_H

#include "fs/daemon.h"

/* Drops ino's attributes and its pages from the byte `from` on (-1: no pages), then runs
 * step(t) in the notify thread. */
void task_notify(struct task *t, fuse_ino_t ino, int64_t from,
		 void (*step)(struct task *t));
/* The same without a request to answer. */
void notify_drop(struct daemon *d, fuse_ino_t ino, int64_t from);

#endif
