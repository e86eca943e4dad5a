/* stored.h - what files take after compression: st_blocks.
 *
 * A row says how many of its data bytes compression saved (saved_bytes). That is an estimate: it
 * changes where a checkpoint packs bytes, by what their chunks shrank to, and where bytes go, by
 * the part of the packed ones that went. Bytes not packed yet (hot_bytes of the inode in memory)
 * save nothing. What files and snapshots share counts in each of them in full. Nothing of it is
 * logged: a replay packs anew.
 *
 * In a checkpoint, per row: stored_end() knows what was saved when the row's page is written, and
 * enters it there. The image in memory is given the same by stored_patch(), and the inode, which
 * is newer, by stored_finish(). INODE_UNPACKED in a row makes that happen once: a row has it from
 * a write until it is entered.
 *
 * Invariants: saved_bytes <= data_bytes, and less where there are any; hot_bytes <= data_bytes. */
#ifndef ROPEFS_STORED_H
#define ROPEFS_STORED_H

#include "core/base/buf.h"
#include "core/base/htab.h"
#include "core/store_priv.h"

static inline uint64_t stored_bytes(const struct inode_row *row)
{
	uint64_t data = le64_get(row->data_bytes);

	return data - MIN(data, le64_get(row->saved_bytes)); /* a row may say anything */
}

/* data_bytes may have become fewer than saved_bytes allows. */
void stored_limit(struct inode_row *row);

/* --- by edits; the engine lock is held --- */

/* n bytes came that nothing has packed; data_bytes has them. */
void stored_came(struct inode *in, uint64_t n);
/* went bytes go, about `hot` of them (if not more) not packed; data_bytes still has them. */
void stored_went(struct inode *in, uint64_t went, uint64_t hot);
/* data bytes of src, `hot` of them not packed, as they were when they were shared. */
struct stored_share {
	uint64_t hot, saved;
};
struct stored_share stored_share(const struct inode *src, uint64_t data, uint64_t hot);
void stored_shared(struct inode *in, const struct stored_share *share);
/* in, which was empty, has become a copy of src. */
void stored_copied(struct inode *in, const struct inode *src);
/* in and src have changed places; their data_bytes have. */
void stored_swapped(struct inode *in, struct inode *src);

/* --- by a checkpoint --- */

/* Zeros: nothing was packed. Want of memory makes estimates worse, and no errors. */
struct stored {
	struct nodes *nodes;
	struct pack_writer *writer;
	uint64_t first_pack; /* of those it writes */
	struct htab ropes; /* page of a rope's node to the place of its sum */
	struct htab inodes; /* the same of live inodes */
	struct buf sums;
	unsigned
		leaves; /* B+tree leaves around the node at hand: in the first are live rows */
	uint64_t moved; /* of the rope leaf at hand: bytes that had been packed before */
};

void stored_release(struct stored *s);
/* Of nodes_sink, without the engine lock: begin, and end. */
void stored_begin(struct stored *s, const uint8_t *image);
void stored_end(struct stored *s, uint8_t *image, uint64_t page);
/* Of nodes_patcher, with it. */
void stored_patch(const struct stored *s, uint8_t *image);
/* Once the checkpoint is settled: inodes in memory. Takes the engine lock in slices, and tells
 * opts.blocks of those that are held and changed. */
void stored_finish(struct ropefs *fs, const struct stored *s);

#endif
