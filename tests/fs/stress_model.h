/* stress_model.h - what the files of one stress worker must be: flat arrays in memory, and a
 * sequence of operations on them that a seed says whole. The same seed gives the same operations
 * to the worker that does them and to the check that asks how far the store got. */
#ifndef ROPEFS_TESTS_STRESS_MODEL_H
#define ROPEFS_TESTS_STRESS_MODEL_H

#include "tests/lib/suite.h"

#include <stdbool.h>
#include <stddef.h>

enum {
	NAMES = 24,
	FOLDERS = 3,
	SIZE_LIMIT = 400 << 10,
	WRITE_LIMIT = 64 << 10,
};

enum op_kind {
	OP_CREATE, /* a: a name that is free */
	OP_WRITE, /* a, at, n: may leave a hole before it */
	OP_APPEND, /* a, n */
	OP_DIRECT, /* a, at, n: whole blocks, through O_DIRECT */
	OP_MAP, /* a, at, n: within the file, through a shared map */
	OP_INSERT, /* a, at, n: by ioctl, as the next two */
	OP_CUT, /* a, at, cut */
	OP_REPLACE, /* a, at, cut, n */
	OP_VIEW, /* a, at, cut, n: by a view */
	OP_VIEW_CUT, /* a, at, cut: by removing a view */
	OP_TRUNCATE, /* a, at: the new size */
	OP_PUNCH, /* a, at, n: keeps the size, as the next */
	OP_ZERO,
	OP_ALLOCATE, /* a, at, n: grows */
	OP_COPY, /* from a, at, n to b, to */
	OP_RENAME, /* a to b, which may be there */
	OP_EXCHANGE, /* a, b */
	OP_LINK, /* a to b, which is free */
	OP_UNLINK, /* a */
	OP_XATTR, /* a, n: its value */
	OP_HOLD, /* a: is kept open, whatever becomes of its name */
	OP_HELD_WRITE, /* at, n: to what is held */
	/* These change nothing. */
	OP_SYNC,
	OP_VERIFY, /* a */
	OP_LIST,
	OP_KINDS
};

struct op {
	enum op_kind kind;
	unsigned a, b;
	size_t at, to, n, cut;
	uint64_t bytes; /* seed of the bytes that are put */
};

struct file {
	unsigned names; /* that it has; one more while it is held */
	uint8_t *p; /* of SIZE_LIMIT bytes */
	size_t n;
	uint64_t xattr; /* 0: none */
	uint64_t hash; /* of all that; 0: to be made */
};

struct model {
	struct rng rng;
	struct file *names[NAMES];
	struct file *held;
};

void model_init(struct model *m, uint64_t seed);
void model_release(struct model *m);
/* The next operation, which can be done now. Follow it by model_apply(). */
struct op model_next(struct model *m);
void model_apply(struct model *m, const struct op *op);
/* The file that the operation changes in steps that a crash may come between; NULL: whole. */
struct file *model_torn(const struct model *m, const struct op *op);

/* Of all names and what they name. */
uint64_t model_hash(struct model *m);
void op_bytes(const struct op *op, uint8_t *ret);
/* "d1/f07": ret has room for 32 bytes. */
void name_path(unsigned name, char *ret);
uint64_t file_hash(const struct file *f);
unsigned file_links(const struct model *m, const struct file *f);
const char *op_name(enum op_kind kind);

#endif
