/* txn_priv.h - a transaction of a program on the mount, for txn.c and txn_name.c only. */
#ifndef ROPEFS_FS_TXN_PRIV_H
#define ROPEFS_FS_TXN_PRIV_H

#include "core/ropefs.h"
#include "fs/kept.h"
#include "fs/ropefs_ioctl.h"
#include "fs/worker.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct daemon;
struct task;

/* A file that joined, with the rights of one descriptor. */
struct member {
	uint64_t ino;
	uint32_t uid; /* who edits; set-id bits go as by his write(2) */
	unsigned rights; /* FH_READ, FH_WRITE */
	bool edited;
	bool is_dir;
};
KEPT_SIZE(struct member, 24);

/* A name that the commit changes: the kernel forgets what it knows of it then. */
struct txn_name {
	uint64_t dir, ino; /* ino: of what has, or had it; 0: nothing */
	char name[ROPEFS_NAME_MAX + 1];
};
KEPT_SIZE(struct txn_name, 272);

/* What the row of a transaction says (kept.h). */
struct txn_state {
	uint64_t id;
	uint64_t used; /* bytes of records */
	uint64_t answers; /* ever given */
	uint64_t request; /* the last one that changed bytes, or ended the transaction */
	uint32_t steps; /* changes that it has made */
	int32_t result; /* of the commit */
	bool over;
};
KEPT_SIZE(struct txn_state, 48);

struct txn {
	uint64_t id;
	unsigned refs; /* the handle, and requests under way; guarded by txns.mutex */
	pthread_mutex_t mutex; /* of what follows: one request at a time */
	struct ropefs_txn *core; /* NULL: it is over */
	bool lost; /* with a daemon before this one */
	struct member *members;
	size_t n, cap;
	struct ropefs_ioc_txn_why why;
	bool has_names;
	/* Of an append that goes on. */
	uint8_t *part;
	size_t part_n, part_cap;
	uint64_t part_ino;
	/* Of txn_kept.c. */
	struct kept kept;
	struct txn_state now;
	bool redoing; /* what records say */
	unsigned skip; /* changes of the request at hand that a daemon before made */
	uint64_t
		half; /* the request that one died in the middle of; 0: none, or it has come */
	int64_t half_until_s; /* it is waited for */
	size_t held; /* of what staged.h counts, for records */
	size_t files_n, staged_n; /* of the core's state, that records have */
	uint64_t part_at, part_end; /* records of the append: from, to */
};

/* TXN_USE and TXN_EDIT, in a worker; the caller has x->mutex. */
int txn_use(struct task *t, struct txn *x, struct ropefs_ioc_txn_use *u);
int txn_edit(struct task *t, struct txn *x, const struct ropefs_ioc_txn_edit *e);
/* The number of the member, from 1, added where it is not there yet. -ENOMEM. */
int txn_join(struct txn *x, const struct member *m, uint32_t *ret);
/* Is the file a member? */
bool txn_has(const struct txn *x, uint64_t ino);
void txn_mark_edited(struct txn *x, size_t member);
/* What an append has so far, with n bytes more. */
int txn_part(struct txn *x, uint64_t ino, const void *p, size_t n);
/* TXN_NAME, in a worker; the caller has x->mutex. n's result is filled in. */
int txn_name_change(struct task *t, struct txn *x, struct ropefs_ioc_txn_name *n);
/* After the commit, in a thread that may wait for the kernel. */
void txn_names_forget(struct daemon *d, const struct txn *x);

/* --- txn_kept.c: what the next daemon goes on from. With x->mutex held. --- */

enum txn_record_what {
	TXN_MEMBER = 1, /* struct member */
	TXN_EDITED, /* arg: which member */
	TXN_FILES, /* of ropefs_txn_state() */
	TXN_STAGED,
	TXN_NAME, /* struct txn_name */
	TXN_PART, /* arg: the file; bytes of an append that goes on */
	TXN_PART_END,
};
/* Bytes of records that a request makes beside those it brings. */
#define TXN_ROOM 2048u

/* Whether the request at hand has been answered by a daemon before this one. *ret: as it was. */
bool txn_was_answered(const struct txn *x, uint32_t *ret);
/* A daemon before died between changes of another request than the one at hand: which changes that
 * one has made is known only as long as none else begins. It comes again at once. */
bool txn_waits_for_other(struct txn *x);
/* The reply to the request at hand is out. */
void txn_replied(const struct txn *x);
/* The request at hand begins, which brings n bytes, or names. -ENOMEM. */
int txn_request_begin(struct txn *x, size_t n, bool names);
/* It has ended, well if r is not negative. */
void txn_request_end(struct txn *x, int64_t r, uint32_t answer);
/* Into the room that txn_request_begin() made; what it says counts with the next change, or when
 * the request ends. */
void txn_record(struct txn *x, enum txn_record_what what, uint64_t arg, const void *p,
		size_t n);
/* Around each change of a copy's bytes. false: a daemon before made it. */
bool txn_change_begin(struct txn *x);
void txn_change_end(struct txn *x, int64_t r);
/* Around the commit. */
void txn_commit_begin(struct txn *x);
void txn_commit_end(struct txn *x, int r);
/* It did not come so far. */
void txn_refused(struct txn *x, int r);
/* The request at hand is a commit that a daemon before made, or refused. */
bool txn_was_ended(const struct txn *x, int *ret);
/* The next name from *at on; NULL: no more. */
const struct txn_name *txn_next_name(const struct txn *x, size_t *at);
/* x is new, and has the row of one before; its records are done again. What can't be gone on with
 * is lost. */
void txn_restore_state(struct daemon *d, struct txn *x, const struct txn_state *is);
void txn_kept_free(struct txn *x);

#endif
