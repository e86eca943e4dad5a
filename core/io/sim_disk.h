/* sim_disk.h - the disk inside io_sim: files and folders, each as they read now and as they
 * are known to be durable, with the changes between the two in order, and what a power cut
 * makes of them. No locks, no faults, no time: io_sim adds those.
 *
 * Invariants
 *  1. A node nobody spoilt reads as: its durable state with its pending changes applied.
 *  2. After a cut or a flush of everything, nothing is pending and both states are equal.
 *  3. A folder's changes survive as a prefix (with SIM_NAMES_ANY also as any subset), each
 *     file's independently of one another.
 *  4. A rename across folders is two changes of one seq; the old name never goes durably
 *     before the new one is durable.
 *
 * Source of the model: what ALICE (Pillai et al., OSDI 2014) found filesystems to allow. */
#ifndef ROPEFS_IO_SIM_DISK_H
#define ROPEFS_IO_SIM_DISK_H

#include "core/io/sim_pages.h"

struct sim_rng {
	uint64_t state;
};

struct sim_node; /* a file or a folder; counted */

enum sim_lies { /* what a disk may do beyond; a bit each, as enum io_sim_lies */
		SIM_NAMES_ANY = 1, /* a folder's changes survive as any subset, too */
		SIM_GARBAGE = 2, /* a sector of a torn write may hold anything */
		SIM_SPOIL_SOME = 4, /* a failed sync loses some of what was pending */
		SIM_GARBAGE_SAME = 8, /* so may one that is written as it was */
};

/* Of a unit, which is a change not yet durable. A change of a folder is never torn. */
enum sim_fate { SIM_KEPT, SIM_LOST, SIM_TORN };

struct sim_disk {
	struct sim_node *root;
	struct sim_node *nodes; /* every one, newest first */
	struct sim_rng fates;
	uint64_t seq; /* of the last change of a folder */
	unsigned lies;
	uint64_t total_bytes;
	uint64_t used_bytes; /* sizes of files with a name or a handle */
};

uint64_t sim_rng_next(struct sim_rng *r);
uint64_t sim_rng_below(struct sim_rng *r, uint64_t n); /* n > 0 */

void sim_disk_init(struct sim_disk *d, uint64_t seed, uint64_t total_bytes);
void sim_disk_release(struct sim_disk *d);
uint64_t sim_disk_free_bytes(const struct sim_disk *d);
void sim_disk_cut(struct sim_disk *d);
/* The same with the fate of each unit given: files' changes first, newest file first, then
 * those of the folders. */
void sim_disk_cut_as(struct sim_disk *d, const uint8_t *fates, size_t n);
size_t sim_disk_units(const struct sim_disk *d);
void sim_disk_kill(struct sim_disk *d); /* all handles are gone, no more */
/* *to becomes what from is, without handles, sharing its bytes. Release it as any. */
void sim_disk_copy(struct sim_disk *to, const struct sim_disk *from, uint64_t seed);

/* Names are as in io.h, "" is the root; errors are those of the system's calls. */
int sim_disk_find(struct sim_disk *d, const char *name, struct sim_node **ret);
int sim_disk_create(struct sim_disk *d, const char *name, bool folder,
		    struct sim_node **ret);
int sim_disk_rename(struct sim_disk *d, const char *from, const char *to);
int sim_disk_unlink(struct sim_disk *d, const char *name);

bool sim_node_is_folder(const struct sim_node *node);
/* A handle: keeps the node, and its bytes while unlinked. alive: no cut or kill since. */
void sim_node_open(struct sim_node *node);
void sim_node_close(struct sim_disk *d, struct sim_node *node, bool alive);

uint64_t sim_file_size(const struct sim_node *file);
size_t sim_file_read(const struct sim_node *file, void *p, size_t n, uint64_t off);
/* Writes what there is space for; -ENOSPC when that was not all. */
int sim_file_write(struct sim_disk *d, struct sim_node *file, const void *p, size_t n,
		   uint64_t off);
int sim_file_truncate(struct sim_disk *d, struct sim_node *file, uint64_t bytes);
int sim_file_allocate(struct sim_disk *d, struct sim_node *file, uint64_t bytes);
size_t sim_file_pending(const struct sim_node *file); /* changes that are not durable */
/* Of the first n of them. */
void sim_file_sync(struct sim_node *file, size_t n);
/* A sync of the first n that failed: they still read, but never become durable; with
 * SIM_SPOIL_SOME a part of them may yet. */
void sim_file_spoil(struct sim_disk *d, struct sim_node *file, size_t n);
int sim_file_flip(struct sim_node *file, uint64_t off, unsigned bit);

void sim_folder_sync(struct sim_disk *d, struct sim_node *folder);
void sim_folder_spoil(struct sim_disk *d, struct sim_node *folder);
/* The names in it, as a NULL-terminated array to be freed with its strings. */
char **sim_folder_names(const struct sim_node *folder);

#endif
