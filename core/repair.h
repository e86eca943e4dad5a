/* repair.h - ropefs-fsck --repair: what is damaged is given up, and the rest made a whole store.
 *
 * A repair is an opening with more steps, all of them in memory until the commit:
 *
 *	open ─▶ repair_trees() ─▶ replay ─▶ repair_commit() ─▶ finish()
 *	        rows and bytes    what can   what goes is kept   flawed packs written
 *	        that are gone     be applied aside; checkpoint   anew; collection
 *
 * A plan is the same on a store opened read-only: it ends before the commit. A power cut before
 * the commit's superblock leaves the store as it was; after it another repair does the rest. */
#ifndef ROPEFS_REPAIR_H
#define ROPEFS_REPAIR_H

#include "core/catalog/salvage.h"
#include "core/damage.h"
#include "core/store_priv.h"

#define REPAIR_FOLDER_MAX 40

struct repair {
	struct ropefs_repair *pub;
	struct damage damage;
	uint64_t copied, first_copied; /* pages that are whole in their other copy only */
	struct buf bad_pages; /* u64: numbers of pages that can't be read */
	struct buf report; /* the steps as lines */
	uint64_t done; /* bytes of packs looked at */
	bool log_rot; /* the log ends before its time */
	bool log_kept; /* its segments are copied aside */
	bool committed; /* a first time: the replay filled memory */
	bool from_packs; /* both copies of the page file are gone */
	bool has_plain; /* files that were queues */
	bool odd_copy; /* something else is where the page file's copy belongs */
	char folder[REPAIR_FOLDER_MAX]; /* of what is kept, "": nothing yet */
	const struct snapshot *snapshot; /* being repaired; NULL: what lives */
};

/* One step, told and written down. */
void repair_say(struct repair *rp, const char *fmt, ...) _printf_(2, 3);

/* Hooks of the opening. Before the replay: rows and extents; nothing of them is bad then. */
int repair_trees(struct ropefs *fs);
/* A record that could not be applied (err_detail() says why). 0: go on. */
int repair_record(struct ropefs *fs, uint64_t lsn, const struct op *op);
/* The log can't be read to its end. 0: what was replayed is what there is. */
int repair_log(struct ropefs *fs);
/* After the replay: damage in the log that did it no harm. */
int repair_old_log(struct ropefs *fs);
/* Keeps what goes and writes a checkpoint, when there were steps: after the replay, and before that
 * where it has filled memory. */
int repair_commit(struct ropefs *fs);

/* --- repair_trees.c --- */
/* All rows of a catalog, and the bytes they tell of. salvage->inodes stays 0 when none of its
 * pages is lost. The engine lock is held, here and below. */
int repair_catalog(struct ropefs *fs, struct catalog *cat, struct salvage *salvage);
/* Names, links and counts of a catalog whose nodes are whole and some of whose rows are lost. */
int repair_names(struct ropefs *fs, struct catalog *cat, struct salvage *salvage);
/* Queues whose table is not whole become plain files. cat is what catalog_of() finds. */
int repair_queues(struct ropefs *fs, struct catalog *cat);

/* --- repair_packs.c --- */
/* Both copies of the page file are gone: says what will be done. */
int repair_plan_from_packs(struct io *io, struct repair *rp);
/* Makes an empty one, which no opening but a repair takes. */
int repair_begin_from_packs(struct ropefs *fs);
/* Fills its empty catalog; as repair_names(). */
int repair_from_packs(struct ropefs *fs, struct salvage *salvage);

/* --- repair_keep.c --- */
#define REPAIR_PART "damaged.part"
/* Copies what the repair is about to remove into the folder REPAIR_PART, and the report; durable.
 * On failure nothing of it is left but the folder. Again after a commit: what was found since. */
int repair_keep(struct ropefs *fs);
/* The commit was made: the folder becomes damaged-TIME, rp->folder. */
int repair_keep_done(struct ropefs *fs);
/* It was not: the copies are of no use. */
void repair_keep_undo(struct ropefs *fs);

#endif
