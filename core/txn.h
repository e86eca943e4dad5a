/* txn.h - transactions inside of core: ops that join one. */
#ifndef ROPEFS_TXN_H
#define ROPEFS_TXN_H

#include "core/op.h"

struct ropefs;
struct ropefs_txn;

/* The next op of a txn record's data: 1; 0 at the end; -E_CORRUPT. Borrows from *rest. */
int txn_next_op(struct span *rest, struct op *ret);
struct ropefs *txn_store(struct ropefs_txn *t);
/* Adds an op, which is applied at the commit, after the edits of files, in the order of
 * adding. What undoes it must be known to plan() in apply_txn.c. Copies op. -ENOMEM, -EFBIG. */
int txn_stage(struct ropefs_txn *t, const struct op *op);

/* A short transaction, begun again while others keep it from happening. Of its changes only the
 * commit is the one that ropefs_note_lsn() is about. */
typedef int (*txn_steps_fn)(struct ropefs_txn *t, const void *arg);
int txn_do(struct ropefs *fs, txn_steps_fn steps, const void *arg);

/* The time that records of a queue get which are added now; first writes a mark if the clocks
 * ask for one (api_queue.c). */
int queue_time(struct ropefs *fs, uint64_t ino, int64_t *ret_ns);

#endif
