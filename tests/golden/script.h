/* script.h - what the golden stores hold: a list of steps that make_golden.c once did on a
 * store and that test_golden.c does on a model in memory. A list that made an image which
 * is in use never changes; another format gets another list. */
#ifndef ROPEFS_TESTS_GOLDEN_SCRIPT_H
#define ROPEFS_TESTS_GOLDEN_SCRIPT_H

#include <stddef.h>
#include <stdint.h>

enum golden_kind {
	G_CREATE, /* path, mode, rdev: file, directory, fifo, socket, device */
	G_SYMLINK, /* path; its target is n bytes of text */
	G_LINK, /* path gets the name to */
	G_RENAME, /* path becomes to; with n they change places */
	G_REMOVE, /* path: a name or an empty directory */
	G_WRITE, /* path, at, n bytes */
	G_INSERT,
	G_INSERTS, /* `times` inserts of n bytes, `at` bytes apart from one another */
	G_CUT, /* path, [at, at + n) */
	G_TRUNCATE, /* path, to n bytes */
	G_PUNCH, /* path, [at, at + n) */
	G_REPLACE, /* path, [at, at + n), by [from_at, from_at + from_n) of to */
	G_CLONE, /* the empty file path becomes to */
	G_ATTR, /* path: mode, and mtime is n ns */
	G_XATTR, /* path, name: n bytes */
	G_RMXATTR,
	G_MANY, /* `times` files PATH00, PATH01 ... of n bytes each */
	G_ORPHAN, /* a file without a name, of n bytes, still in use at the end */
	G_REAPED, /* the same, given up at once */
	G_SYNC, /* what a store does and a model doesn't */
	G_CHECKPOINT,
	G_COLLECT,
	G_REOPEN,
	G_COPY, /* the store is closed, copied as "closed", and opened again */
};

struct golden_step {
	enum golden_kind kind;
	const char *path, *to, *name;
	uint32_t mode;
	uint64_t rdev, at, n, times, from_at, from_n;
	uint64_t noise; /* seed of random bytes; 0: text */
};

extern const struct golden_step golden_v1[];
extern const size_t golden_v1_n;

#define GOLDEN_UID	 1000u /* of all that is created */
#define GOLDEN_GID	 100u
#define GOLDEN_BYTES_MAX (1u << 20) /* of one step */

/* The n bytes of a step; k tells the rounds of one with `times` apart. */
void golden_bytes(const struct golden_step *s, uint64_t k, uint8_t *p);
/* The path of round k of G_MANY. */
#define GOLDEN_PATH_MAX 600
void golden_many_path(const struct golden_step *s, uint64_t k,
		      char path[GOLDEN_PATH_MAX]);

#endif
