/* txn_priv.h - a transaction, for txn.c and txn_names.c only. */
#ifndef ROPEFS_TXN_PRIV_H
#define ROPEFS_TXN_PRIV_H

#include "core/base/buf.h"
#include "core/base/htab.h"
#include "core/store_priv.h"
#include "core/txn.h"
#include "core/txn_format.h"

#define TXN_DATA_MAX (WAL_RECORD_MAX - 4096u)

struct txn_file {
	uint64_t ino;
	uint64_t version;
	uint64_t copy; /* the inode that is edited; 0: only read so far */
	bool created; /* by the transaction: copy is ino */
};
static_assert(sizeof(struct txn_file) == 32,
	      "a process leaves it to the next: raise KEEP_VERSION (fs/keep.h)");

struct ropefs_txn {
	struct ropefs *fs;
	struct htab files; /* by ino */
	/* Of struct txn_file, each as it was added and as it got its copy: for who may be
	 * followed by another process (opts.push). */
	struct buf log;
	struct buf staged; /* of struct txn_item */
	struct buf places; /* size_t: where each begins */
	size_t n_swaps;
};

/* Copies *what. -ENOMEM. */
int txn_add_file(struct ropefs_txn *t, const struct txn_file *what,
		 struct txn_file **ret);
/* An inode without a name, held once. */
int txn_new_unnamed(struct ropefs *fs, const struct ropefs_new *what, uint64_t *ret);
/* Adds the op as a struct txn_item. */
int txn_put_item(struct buf *b, const struct op *op);

#endif
