/* queue_file.h - queues opened as files: writes become records (docs/QUEUES.md).
 *
 * A queue is opened direct, so that the kernel hands on each write(2) as it was made and keeps no
 * pages that grow stale. A handle for writing keeps what is not a whole record yet. */
#ifndef ROPEFS_FS_QUEUE_FILE_H
#define ROPEFS_FS_QUEUE_FILE_H

#include "fs/map.h"

#include <fuse_lowlevel.h>
#include <pthread.h>
#include <stdbool.h>

struct daemon;

struct queue_files {
	pthread_mutex_t mutex;
	struct map open; /* by number; of those open for writing */
	uint64_t next;
};

void queue_files_init(struct queue_files *q);
void queue_files_release(struct queue_files *q);

/* One that a daemon before wrote to. */
struct kept_file;
int queue_file_restore(struct daemon *d, const struct kept_file *k);
/* Fills in the handle of a queue that is being opened. */
void queue_file_opened(fuse_req_t req, struct fuse_file_info *fi);
/* fi is one of a queue open for writing. */
void queue_file_write(fuse_req_t req, fuse_ino_t ino, const char *p, size_t n, off_t off,
		      struct fuse_file_info *fi);
/* A line without its end becomes a record as the descriptor is closed. */
void queue_file_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
/* A part of a line that was kept becomes a record as it is, and durable. false: none was kept, and
 * nothing has been answered. */
bool queue_file_fsync(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void queue_file_release(fuse_req_t req, struct fuse_file_info *fi);

#endif
