/* damage_store.h - a store that has everything, on a real disk, what it should say, and its
 * files in memory, to be damaged and put back. */
#ifndef ROPEFS_TESTS_DAMAGE_STORE_H
#define ROPEFS_TESTS_DAMAGE_STORE_H

#include "core/store_priv.h"
#include "tests/lib/suite.h"

#define ITEMS  440
#define STATES 48

struct blob {
	struct blob *next; /* of all there are */
	size_t n;
	uint8_t p[];
};

struct item {
	uint64_t ino, dir; /* ino 0: not there */
	char name[40];
	uint32_t mode;
	uint32_t nlink;
	const struct blob *data; /* or a symlink's target */
	const struct blob *xattr; /* of "user.note" */
};

struct state {
	uint64_t lsn;
	size_t n;
	struct item items[ITEMS];
};

extern struct state states[STATES]; /* of the log, oldest first */
extern size_t n_states;
extern uint64_t durable_lsn;
extern struct rng rng;
extern char store[4200], key[4200];

struct stored {
	char name[80];
	size_t n;
	uint8_t *p;
};

extern struct stored files[64];
extern size_t n_files;
/* What some of them were some changes and checkpoints before, in the same order; p NULL: not
 * there then. */
extern struct stored old_files[64];

/* All bytes that a file ever had. */
struct version {
	uint64_t ino;
	const struct blob *data;
};
extern struct version versions[1400];
extern size_t n_versions;

/* Makes it: deep trees, packs of several chunks, and a log whose end was not synced; full: a queue
 * and snapshots as well. */
void damage_store_make(bool full);
/* The queue's record number id. */
struct span damage_store_record(uint64_t id);
void damage_store_release(void);

struct io *store_io(void);
/* For writing; NULL, and why in *ret_r, only when it may fail. */
struct ropefs *store_open_plain(bool may_fail, int *ret_r);

void stored_path(const char *name, char *ret, size_t n);
void put_back(const struct stored *f);
void put_all_back(void);
void poke(const struct stored *f, size_t at, uint8_t byte);

#endif
