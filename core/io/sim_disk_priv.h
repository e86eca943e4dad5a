/* sim_disk_priv.h - the simulated disk as its own two files see it: sim_disk.c changes it,
 * sim_cut.c cuts the power and copies it. */
#ifndef ROPEFS_IO_SIM_DISK_PRIV_H
#define ROPEFS_IO_SIM_DISK_PRIV_H

#include "core/io/sim_disk.h"

enum file_change_kind { CHANGE_WRITE, CHANGE_TRUNCATE, CHANGE_ALLOCATE };

struct file_change {
	enum file_change_kind kind;
	uint64_t off; /* truncate, allocate: the size */
	size_t n;
	uint8_t *bytes; /* n of them; owned */
};

struct entry {
	char *name;
	struct sim_node *node;
};

struct entries {
	struct entry *at;
	size_t n, cap;
};

/* First del goes, then set appears; either may be NULL. */
struct folder_change {
	uint64_t seq;
	char *del;
	char *set;
	struct sim_node *node; /* what set names */
	struct sim_node *peer; /* the other folder of a rename across folders */
	bool kept; /* only while a cut is on */
};

struct sim_node {
	struct sim_node *next, *prev;
	unsigned refs;
	unsigned n_names; /* entries of the folders as they read now */
	unsigned n_open;
	bool folder;
	bool spoilt; /* a sync failed: invariant 1 is off until the cut */

	struct sim_pages now, durable; /* files */
	struct file_change *changes;
	size_t n_changes, cap_changes;

	struct entries names, durable_names; /* folders */
	struct folder_change *moves;
	size_t n_moves, cap_moves;
	bool prefix; /* only while a cut is on: what is kept of moves is a prefix */
	struct sim_node *copy; /* only while the disk is copied */
};

char *sim_name_copy(const char *name);
/* With one count, the caller's; first of the disk's nodes. */
struct sim_node *sim_node_new(struct sim_disk *d, bool folder);
struct sim_node *sim_node_ref(struct sim_node *node);
void sim_node_unref(struct sim_disk *d, struct sim_node *node);

/* The name leads to node from now on, which gets a count. */
void sim_entries_set(struct sim_disk *d, struct entries *e, const char *name,
		     struct sim_node *node);
void sim_entries_clear(struct sim_disk *d, struct entries *e);

void sim_moves_add(struct sim_node *folder, struct folder_change m); /* takes m's parts */
void sim_moves_clear(struct sim_disk *d, struct sim_node *folder);
void sim_move_apply(struct sim_disk *d, struct entries *e, const struct folder_change *m);
struct folder_change *sim_move_find(struct sim_node *folder, uint64_t seq);

void sim_changes_clear(struct sim_node *file);
void sim_change_apply(struct sim_pages *m, const struct file_change *c);

#endif
