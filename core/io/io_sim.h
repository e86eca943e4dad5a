/* io_sim.h - a disk in memory that loses power, for tests: one seed decides everything.
 * Each file keeps what was written and what was synced apart, and each folder its entries
 * likewise. Time is virtual: it advances 1 us a call and by io_sim_advance(). */
#ifndef ROPEFS_IO_IO_SIM_H
#define ROPEFS_IO_IO_SIM_H

#include "core/io/io.h"

/* For faults and counters; a bit each. */
enum io_sim_call {
	IO_SIM_PREAD = 1 << 0,
	IO_SIM_PWRITE = 1 << 1,
	IO_SIM_SYNC = 1 << 2,
	IO_SIM_OPEN = 1 << 3, /* and mkdir */
	IO_SIM_RENAME = 1 << 4,
	IO_SIM_UNLINK = 1 << 5,
	IO_SIM_TRUNCATE = 1 << 6, /* and allocate */
	IO_SIM_SYNC_DIR = 1 << 7,
	IO_SIM_ANY = (1 << 8) - 1,
};

int io_sim_new(uint64_t seed, struct io **ret);
/* Another disk like this one as it is now, unsynced changes too; without its handles, faults
 * and watch, and with a seed of its own. */
int io_sim_branch(struct io *io, uint64_t seed, struct io **ret);

enum io_sim_lies { /* what the disk may do beyond what it does by itself; a bit each */
		   IO_SIM_NAMES_ANY =
			   1, /* names survive as any subset, not just a prefix */
		   IO_SIM_GARBAGE =
			   2, /* a sector that is being written may hold anything */
		   IO_SIM_SPOIL_SOME = 4, /* a failed sync loses some, not all */
		   IO_SIM_GARBAGE_SAME = 8, /* the same of one whose bytes don't change */
};
void io_sim_allow(struct io *io, unsigned lies);

/* The power goes. Every unsynced write is, independently, kept, lost, or torn at 512 bytes
 * or 4 KiB; unsynced directory operations of a folder survive as a random prefix. Open files
 * die: further calls on them give -EIO. Locks are gone. The io then serves what is left. */
void io_sim_power_cut(struct io *io);
/* The same with every fate given. A unit is a write, a truncation, an allocation or a change of
 * a folder that is not durable; fates are enum io_sim_fate, one a unit. */
enum io_sim_fate { IO_SIM_KEPT, IO_SIM_LOST, IO_SIM_TORN };
size_t io_sim_units(struct io *io);
void io_sim_power_cut_as(struct io *io, const uint8_t *fates, size_t n);
/* kill -9: open files die and locks are gone, all that was written stays. */
void io_sim_kill(struct io *io);
/* From the n-th next call of the mask on (1 is the next), every call fails with -EIO as if
 * the machine were off, until io_sim_power_cut() or io_sim_kill(). The n-th call itself may
 * have been done, or, a write, done in part. 0 disarms. */
void io_sim_stop_at(struct io *io, unsigned mask, uint64_t n);
/* The n-th next call of the mask fails with -err, once, or for ever from then on. A sync
 * that fails drops the durability of what it should have synced; a write that fails may
 * have written some. Stays armed over cuts. 0 disarms. */
void io_sim_fail_at(struct io *io, unsigned mask, uint64_t n, int err, bool forever);
/* Before each call of the disk (but those that only look) watch(arg, bit of the call) is called,
 * without a lock. NULL: no more. Set it while nobody uses the io. */
void io_sim_watch(struct io *io, void (*watch)(void *arg, unsigned call), void *arg);
/* How many calls of the mask were made so far. */
uint64_t io_sim_calls(struct io *io, unsigned mask);
/* Space left for new bytes; allocate and growing writes beyond it give -ENOSPC. */
void io_sim_set_free(struct io *io, uint64_t bytes);
void io_sim_advance(struct io *io, uint64_t ns);
/* Flips bit (0..7) of a byte, in the written and the durable copy. -ENOENT, -EINVAL. */
int io_sim_flip(struct io *io, const char *name, uint64_t off, unsigned bit);

#endif
