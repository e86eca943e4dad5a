/* world.h - one simulated world: a disk, the store on it, and what it should hold.
 *
 * A world lives: it makes steps (ops.c). Before calls that its store makes of the disk, the
 * disk may be branched: a moment. At each moment the power is cut in many ways, and each way
 * is a world that opens the store, must find a state of the history no older than the floor,
 * and may live on, with moments of its own (explore.c). */
#ifndef ROPEFS_TESTS_SIM_WORLD_H
#define ROPEFS_TESTS_SIM_WORLD_H

#include "core/io/io_sim.h"
#include "core/store_priv.h"
#include "tests/sim/bucket.h"
#include "tests/sim/model.h"

#define SIM_SEGMENT_BYTES (96 * KIB)
#define SIM_FRAME_BYTES	  (8 * KIB)
#define SIM_CURSOR	  "reader"
#define SIM_BUCKET_URL	  "s3://bucket" /* a folder is looked at anew after each failure */

struct moment {
	struct io *io;
	struct bucket *bucket;
	size_t floor; /* the state that is durable, at least */
	size_t top; /* the newest that can be, or the one being made */
	unsigned call; /* about to be made; 0: none */
};

struct budget { /* how many ways are tried, and how deep */
	uint64_t states; /* left */
	unsigned cuts; /* of a moment */
	unsigned steps; /* of the first life */
	bool exhaustive; /* all ways of a moment with up to SIM_UNITS_MAX changes */
	bool faults; /* calls of the disk fail, too */
	/* Instead of calls of the disk, what this makes fail: the n-th from now on; 0: none. */
	void (*fail_at)(uint64_t n, bool forever);
};
#define SIM_UNITS_MAX 12

struct world {
	struct io *io;
	struct bucket *bucket; /* NULL: it has none */
	struct ropefs *fs; /* NULL: not open */
	struct rng rng;
	uint64_t seed; /* of the first life */
	unsigned template; /* which disk it began with */
	bool twin; /* its page file is kept twice */
	unsigned life; /* 1 is the first */
	struct history past;
	size_t floor; /* last state that was acknowledged as durable */
	size_t pushed; /* last one that a killed process leaves */
	struct budget *budget;
	bool changing; /* a change is being made */
	bool uploading; /* by a task, while others change things */
	bool dead; /* the machine is off: this life is over */
	bool faulty; /* a fault is armed, or has struck and the store is not mended */
	struct moment moments[64];
	unsigned n_moments;
	const char *doing; /* for messages */
};

/* The same for all worlds of a process; idempotent. Draws all that is not the io's randomness
 * (master keys) from fixed numbers, so that seeds replay. */
void world_prepare(void);
/* A fresh store that is open; or one with a file of some hundred extents and its clone. */
struct world world_new(uint64_t seed, struct budget *budget);
void world_release(struct world *w);
/* Opens the store of w->io. Says no more than what store_open() does. */
int world_open(struct world *w);
/* The process dies; the disk's cache stays. */
void world_kill(struct world *w);
/* What can be seen through the store now. Fails the test when that gives an error. */
struct state world_look(struct world *w);
/* The store must hold the last state of the past. */
void world_compare(struct world *w);
/* A violation: says what and how to replay it, and ends the process. */
_Noreturn void _printf_(2, 3) world_fail(const struct world *w, const char *fmt, ...);
#define world_check(w, ok, ...)                                                          \
	do {                                                                             \
		if (!(ok))                                                               \
			world_fail((w), __VA_ARGS__);                                    \
	} while (0)

/* ops.c, acts.c: one step of a life: a change, a sync, a checkpoint, ... */
void world_step(struct world *w);
/* Opens the store after a kill or cut, sometimes losing power meanwhile; what it finds must be
 * a state of the past no older than floor, and is the last of the past from now on. */
void world_recover(struct world *w, size_t floor);
void world_reopen(struct world *w, size_t floor); /* the same, without losing power */
/* Makes all durable; the store may have to be opened anew for it. */
void world_settle(struct world *w);

/* The store dies as it is, by a kill or a power cut, and is opened for its next life. */
void world_end_life(struct world *w);

/* explore.c: lives one life through, trying cuts at its moments, until the budget ends. */
void world_explore(struct world *w);
void moments_watch(struct world *w, bool on);
void moments_drop(struct world *w);

/* image.c: the bytes on the disk, read by no code of the engine but its keys and formats:
 * trees, extents, packs, free space, and the log behind the superblock. */
void image_check(struct world *w, struct io *io);

/* Whether a superblock verifies in a page file of that name. */
bool image_has_super(struct world *w, struct io *io, const char *name);

/* twin.c: the copy of the page file alone leads to a state of the past, or to none at all. */
void world_check_copy(struct world *w);

/* harm.c: changes a bit or a sector of the disk and opens the store: each file reads as it was at
 * some point of the past, or gives EIO. */
void world_harm(struct world *w, const struct history *past);
/* Each file and record reads as it was at some point of the past, or gives EIO. */
void world_read(struct world *w, const struct history *past);

/* restore.c: from the bucket alone, without the disk, comes a state that was committed. */
void world_restore(struct world *w);
/* A copy of the disk as the world found it. */
struct io *world_beginning(const struct world *w);

/* seals.c: no key and nonce ever seals two texts. */
void seals_watch(bool on); /* on from the start */
void seals_forget(void); /* a world of other keys begins */
uint64_t seals_repeated(void); /* violations so far */

struct sim_totals {
	uint64_t states, lives[5], images, fscks, twice, harms, faults, reopened;
	uint64_t switches; /* between tasks */
	uint64_t uploads, restored;
	uint64_t copies, copies_refused; /* of page files, opened alone */
	uint64_t steps[48];
};
extern struct sim_totals sim_totals;
extern struct key_file *sim_key;
const char *sim_key_path(void); /* of its file */
extern uint64_t sim_queue_ino; /* of the queue that each world has */

#endif
