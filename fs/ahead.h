/* ahead.h - syncs that begin before they are asked for.
 *
 * A program that makes each record durable writes and syncs in turns, and between the two is the
 * way of a request: the kernel wakes the program for the answer of the write, and a loop for the
 * sync. Once a program has gone on so for a while the sync begins as soon as the write is answered.
 * Guessing wrong costs one sync that nobody needed, when that ends. Where many write and sync, each
 * sync is for several of them, and must not begin for the first: they don't go in turns. */
#ifndef ROPEFS_FS_AHEAD_H
#define ROPEFS_FS_AHEAD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* All zero at first. Any thread may call; calls at the same time may spoil the guess. */
struct ahead {
	atomic_uint_least64_t
		written; /* the file of the last write, not synced since; 0: none */
	atomic_uint turns; /* how often a sync of the same file followed the only write */
};

/* A write to the file was done. True: a sync of it will come next, most likely. */
bool ahead_wrote(struct ahead *a, uint64_t ino);
void ahead_synced(struct ahead *a, uint64_t ino);

#endif
