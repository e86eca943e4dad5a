/* rope.h - the R+Tree: a file's bytes as a B+tree of extents whose inner entries carry byte
 * counts, so that insert, delete, seek cost O(log n) at any offset. The idea is the rope
 * (Boehm, Atkinson, Plass 1995) kept in a B+tree with counts, as NumStore's R+Tree.
 *
 * A rope of at most ROPE_INLINE extents keeps them in its root record and has no node.
 * Nodes come from nodes.h (kinds NODE_ROPE_LEAF, NODE_ROPE_INNER); bytes are not seen here.
 *
 * Invariants (rope_check):
 *  1. bytes is the sum of the lengths of all extents; each inner entry's bytes is that of
 *     its subtree; no extent is empty; bytes <= EXTENT_BYTES_MAX.
 *  2. All leaves have the same level 0; no node is empty. An edit that takes entries from a
 *     node and leaves it less than a third full merges or levels it with a neighbour; nodes
 *     may be emptier than that where a checkpoint joined extents or a series of insertions
 *     ended.
 *  3. A hot extent lies within one hot block, so at most HOT_BLOCK_MAX bytes.
 *  4. Neighbours in one block or chunk that continue each other are one extent, unless both
 *     are hot and their block's number is below hot_floor (a checkpoint may give those two
 *     different places). (Kept by insert and remove at the edges they touch; a best effort,
 *     never relied upon.)
 * Every edit either succeeds or leaves the rope as it was: it first brings in and reserves
 * all it needs. */
#ifndef ROPEFS_ROPE_ROPE_H
#define ROPEFS_ROPE_ROPE_H

#include "core/page/nodes.h"
#include "core/rope/extent.h"

#define ROPE_INLINE	4
#define ROPE_LEVELS_MAX 12

/* The root record; the same in memory, in a catalog row and on disk.
 *	 0  bytes    le64
 *	 8  shared   le64	clone epoch: nodes with birth <= shared may be shared
 *	16  levels   u8		0: inline; 1: the root is a leaf; ...
 *	17  n_inline u8		extents in use when inline
 *	18  pad      6 B
 *	24  ext[4] or root	64 B
 */
struct rope {
	le64 bytes;
	le64 shared;
	uint8_t levels;
	uint8_t n_inline;
	uint8_t pad[6];
	union {
		struct extent ext[ROPE_INLINE];
		struct noderef root;
	} u;
};
static_assert(sizeof(struct rope) == 88, "rope root is 88 bytes on disk");

#define ROPE_EMPTY ((struct rope) { 0 })

/* What edits need besides the rope. */
struct rope_env {
	struct nodes *nodes;
	uint64_t hot_floor; /* hot blocks below this number are never joined */
	/* Told of each extent that leaves a rope (removed or cut off), for the accounting of
	 * dead bytes; may be NULL. Not told of what is under a node discarded whole. */
	void (*dropped)(void *arg, const struct extent *e);
	void *arg;
};

/* Registers the two kinds with nodes. */
void rope_register(struct nodes *ns);

static inline uint64_t rope_bytes(const struct rope *r)
{
	return le64_get(r->bytes);
}

/* Puts n extents, one after another, before byte `at` (at <= bytes). -EFBIG past
 * EXTENT_BYTES_MAX; -EIO, -E_CORRUPT, -ENOMEM: unchanged. O(n log size). */
int rope_insert(struct rope_env *env, struct rope *r, uint64_t at, const struct extent *e,
		size_t n);
/* Takes [at, at + bytes) out; the range lies within the rope. O(log n) plus the nodes that
 * go whole: those below a dropped inner node are visited (their pages freed) but leaves are
 * freed from their parents' references, without reading them. */
int rope_remove(struct rope_env *env, struct rope *r, uint64_t at, uint64_t bytes);
/* Puts n extents in the place of [at, at + their sum), growing the rope past its end when
 * they reach beyond it; at <= bytes. One step: both or neither. */
int rope_replace(struct rope_env *env, struct rope *r, uint64_t at,
		 const struct extent *e, size_t n);
/* Puts n extents in the place of [at, at + del), which lies within the rope; their sum may be
 * any. One step, and errors as rope_insert(). */
int rope_splice(struct rope_env *env, struct rope *r, uint64_t at, uint64_t del,
		const struct extent *e, size_t n);
/* Drops all nodes and leaves the rope empty. Same cost as rope_remove of all. */
int rope_clear(struct rope_env *env, struct rope *r);
/* dst (which must be empty) becomes the same bytes as src, sharing every node. O(1).
 * Both get a new shared epoch. */
void rope_clone(struct rope_env *env, struct rope *src, struct rope *dst);

/* Walking. A cursor borrows from the rope and the node cache: it ends with the next edit
 * or nodes_trim(). */
struct rope_cursor {
	struct rope_env *env;
	const struct rope *rope;
	uint64_t at; /* byte offset of the next extent's first byte */
	uint64_t skip; /* bytes of it that lie before the place sought */
	struct {
		const uint8_t *image;
		unsigned i;
	} path[ROPE_LEVELS_MAX];
	unsigned i_inline;
};
/* Stands on the extent that holds byte `at`; at == bytes stands at the end. */
int rope_seek(struct rope_env *env, const struct rope *r, uint64_t at,
	      struct rope_cursor *ret);
/* 1 with the next extent (the first one cut to begin at the place sought) and the offset
 * of its first byte; 0 at the end; or an error. */
int rope_next(struct rope_cursor *c, struct extent *ret, uint64_t *ret_at);

/* Calls fn for every extent in [at, at+bytes), trimmed to it, in order. */
int rope_each(struct rope_env *env, const struct rope *r, uint64_t at, uint64_t bytes,
	      int (*fn)(void *arg, const struct extent *e, uint64_t at), void *arg);

/* Checks the invariants of the whole rope, reading every node. 0, or -E_CORRUPT with what
 * and where in err_detail(). */
int rope_check(struct rope_env *env, const struct rope *r);
/* The same of what a row that was read from a page holds itself. */
int rope_check_root(const struct rope *r);
/* As rope_each() over all of it, past what is damaged: e is NULL for `bytes` bytes at `at` of
 * which the tree no longer says where they are. The rope's row has been checked. */
typedef int (*rope_survey_fn)(void *arg, const struct extent *e, uint64_t at,
			      uint64_t bytes);
int rope_survey(struct rope_env *env, const struct rope *r, rope_survey_fn fn, void *arg);
/* One line a node, then its extents, through print. */
int rope_to_text(struct rope_env *env, const struct rope *r,
		 void (*print)(void *arg, const char *line), void *arg);

#endif
