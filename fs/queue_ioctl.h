/* queue_ioctl.h - cursors through ioctl(2) (ropefs_ioctl.h), on a queue and on views of one. */
#ifndef ROPEFS_FS_QUEUE_IOCTL_H
#define ROPEFS_FS_QUEUE_IOCTL_H

#include <fuse_lowlevel.h>
#include <stdbool.h>

struct queue_ioctl {
	unsigned cmd;
	const void *in;
	size_t n_in, n_out;
	fuse_ino_t ino;
	uint64_t
		read_to; /* before this record the descriptor has read all; UINT64_MAX: unknown */
};

/* Answers it and returns true; false: it is none of these. */
bool queue_ioctl(fuse_req_t req, const struct queue_ioctl *q);

#endif
