/* compact.h - for a full disk: empties chunks of which little lives, so that a collection can
 * free them.
 *
 * A chunk stays as long as anything of it lives, and one of small files holds the bytes of many.
 * What lives of it is made hot again: read, and put in the place of the extents that named it. No
 * byte of a file changes, so nothing is logged; the next checkpoint packs it, and the collection
 * after that finds the chunk dead. A power cut before leaves all where it was.
 *
 * Only extents that lie in inodes' rows (files of up to four) are moved; a chunk that a leaf of a
 * larger file names stays. What is chosen is a guess: only the collection decides what is dead. */
#ifndef ROPEFS_COMPACT_H
#define ROPEFS_COMPACT_H

#include "core/base/htab.h"
#include "core/store_priv.h"

struct compaction {
	struct ropefs *fs;
	struct htab packs; /* pack number to what lives of its chunks */
	struct candidate *candidates;
	size_t n_candidates;
	uint64_t moved,
		left; /* bytes; left: that could be gained where there is more room */
	uint8_t bytes[HOT_BLOCK_MAX];
};

/* NULL: no memory. */
struct compaction *compaction_new(struct ropefs *fs);
struct compaction *compaction_free(struct compaction *c); /* NULL is fine; returns NULL */
/* An extent of the committed tree; in_row: it is one that can be moved. -ENOMEM. */
int compaction_count(struct compaction *c, const struct extent *e, bool in_row);
/* Once all are counted, and the collection has removed what it could; `checkpoint` is held, the
 * engine lock is not. Moves what gains the most, as long as the copies of it, and of what else
 * lives of its packs, fit in room bytes of the disk. */
int compaction_run(struct compaction *c, uint64_t room);

#endif
