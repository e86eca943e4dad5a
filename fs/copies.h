/* copies.h - which open file is perhaps a copy of which other one.
 *
 * cp --reflink=auto asks for FICLONE, which Linux doesn't hand to FUSE, and copies by reading and
 * writing when it takes the source for sparse. So a process that opens one file for reading and
 * then another for writing is taken for a copier: what it writes is compared with the source's
 * bytes at the same place, and shared when they are the same (ropefs_write_like()). It is a
 * guess only; a few writes of other bytes end it. */
#ifndef ROPEFS_FS_COPIES_H
#define ROPEFS_FS_COPIES_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum {
	COPIES = 64, /* remembered at a time; the oldest go */
	COPY_BYTES_MIN = 4096, /* of a write: less is not worth a look */
};

struct copies {
	pthread_mutex_t mutex; /* a leaf */
	struct reading {
		pid_t pid;
		uint64_t ino;
	} reading[COPIES];
	struct copying {
		uint64_t ino, src; /* ino 0: free */
		unsigned misses;
	} copying[COPIES];
	unsigned next_reading, next_copying;
};

void copies_init(struct copies *c);
void copies_release(struct copies *c);
/* pid has opened a file for reading. */
void copies_reads(struct copies *c, pid_t pid, uint64_t ino);
/* pid has opened a file for writing; true: it may be a copy. */
bool copies_writes(struct copies *c, pid_t pid, uint64_t ino);
/* The source of what is being written to ino; 0: none. */
uint64_t copies_source(struct copies *c, uint64_t ino);
/* What a write of its bytes was found to be. */
void copies_found(struct copies *c, uint64_t ino, bool same);

#endif
