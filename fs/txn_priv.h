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

/* A name that the commit changes: the kernel forgets what it knows of it then. */
struct txn_name {
	uint64_t dir, ino; /* ino: of what has, or had it; 0: nothing */
	char name[ROPEFS_NAME_MAX + 1];
};

/* They lie where the next daemon finds them (kept_area()): it tells the kernel, where this one
 * died having committed. */
struct txn_names {
	atomic_ullong n;
	struct txn_name name[];
};

struct txn {
	uint64_t id;
	unsigned refs; /* the handle, and requests under way; guarded by txns.mutex */
	pthread_mutex_t mutex; /* of what follows: one request at a time */
	struct ropefs_txn *core; /* NULL: it is over */
	struct kept kept;
	bool lost; /* with a daemon before this one */
	struct member *members;
	size_t n, cap;
	struct ropefs_ioc_txn_why why;
	struct txn_names *names; /* NULL: none */
	/* Of an append that goes on. */
	uint8_t *part;
	size_t part_n, part_cap;
	uint64_t part_ino;
};

/* The number of the member, from 1, added where it is not there yet. -ENOMEM. */
int txn_join(struct txn *x, const struct member *m, uint32_t *ret);
/* TXN_NAME, in a worker; the caller has x->mutex. n's result is filled in. */
int txn_name_change(struct task *t, struct txn *x, struct ropefs_ioc_txn_name *n);
/* After the commit, in a thread that may wait for the kernel. */
void txn_names_forget(struct daemon *d, const struct txn *x);
/* What they take of what staged.h counts. */
size_t txn_names_bytes(const struct txn *x);

#endif
