/* txn_format.h - the data of a `txn` record of the log: ops that happen together, one after
 * another, in the form they have as records of their own.
 *
 *	 0  type   u8		enum op_type
 *	 1  pad    3 B		0
 *	 4  bytes  le32		of the body
 *	 8  body		as op_encode() and the op's data make it; its time is not used,
 *				the record's is (but for an append) */
#ifndef ROPEFS_TXN_FORMAT_H
#define ROPEFS_TXN_FORMAT_H

#include "core/base/le.h"

struct txn_item {
	uint8_t type;
	uint8_t pad[3];
	le32 bytes;
	uint8_t body[];
};
static_assert(sizeof(struct txn_item) == 8, "an item's head is 8 bytes on disk");

#endif
