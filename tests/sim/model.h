/* model.h - what a simulated store should hold: a few files as flat bytes, after each step of
 * its history, and one number for all that can be seen of it.
 *
 * A blob is a file at one moment and never changes; states share blobs. */
#ifndef ROPEFS_TESTS_SIM_MODEL_H
#define ROPEFS_TESTS_SIM_MODEL_H

#include "core/ropefs.h"
#include "tests/lib/suite.h"

#define SIM_FILES 5
#define SIM_FOLDER                                                                       \
	3 /* files from this one on are in the folder d, the others in the root */
#define SIM_SNAPS      2
#define SIM_FILE_MAX   (24 * 1024)
#define SIM_QUEUE_MAX  (16 * 1024)
#define SIM_RECORD_MAX 2000
#define SIM_XATTR_MAX  64
#define SIM_XATTR_NAME "user.note"

struct blob {
	unsigned refs;
	uint64_t digest; /* of all below */
	uint64_t content; /* of bytes and xattr */
	struct ropefs_attr attr;
	size_t n, n_xattr; /* n_xattr 0: it has none */
	uint8_t xattr[SIM_XATTR_MAX];
	uint8_t p[];
};

/* A queue: the blob's bytes are its records, one after another, each behind its length (4 bytes).
 * NULL: not one record. */
struct queue_state {
	struct blob *records;
	uint64_t first, next, resets, cursor;
};

struct snap {
	bool there;
	struct blob *file[SIM_FILES];
	struct queue_state queue;
};

struct state {
	struct blob *file[SIM_FILES]; /* NULL: no such name */
	struct snap
		snap[SIM_SNAPS]; /* of the root folder; contents count, not attributes */
	struct queue_state queue;
	struct ropefs_attr root; /* of the root folder */
	struct ropefs_attr folder; /* of d; no inode: it is not there */
};

struct history { /* states after each step; 0 is how it began */
	struct state *at;
	size_t n, cap;
};

struct blob *blob_new(size_t n); /* bytes are zeros; no attributes */
struct blob *blob_get(struct blob *b); /* counts; NULL is fine */
void blob_put(struct blob *b); /* NULL is fine */
/* A copy with del bytes at `at` replaced by n bytes of p (NULL: zeros). */
struct blob *blob_splice(const struct blob *b, size_t at, size_t del, const uint8_t *p,
			 size_t n);
/* Its attributes and bytes are what they will be. */
void blob_seal(struct blob *b);
void snap_set(struct state *s, unsigned k, bool there); /* of s as it is, or none */
/* Drops the name's blob and takes b instead. */
void state_set(struct state *s, unsigned i, struct blob *b);
/* The records of q are b from now on (sealed by this; NULL is fine); drops the old ones. */
void queue_set(struct queue_state *q, struct blob *b);
bool queue_equal(const struct queue_state *a, const struct queue_state *b);
/* The record's bytes, or NULL when q has no such id. */
const uint8_t *queue_record(const struct queue_state *q, uint64_t id, size_t *ret_n);
struct state state_copy(const struct state *s);
void state_release(struct state *s);
uint64_t state_digest(const struct state *s);
bool attr_equal(const struct ropefs_attr *a, const struct ropefs_attr *b);

void history_add(struct history *h, struct state s); /* takes s */
void history_cut(struct history *h, size_t n); /* the first n stay */
void history_release(struct history *h);
static inline struct state *history_last(const struct history *h)
{
	return &h->at[h->n - 1];
}

#endif
