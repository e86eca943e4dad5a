#include "core/op.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/base/err.h"
#include "core/base/le.h"
#include "core/base/time_text.h"

/* Fields in the order they are written. Integers are varints, times le64, names a length
 * and bytes; data is the rest of the record. */
enum field {
	F_FLAGS = 1 << 0,
	F_INO = 1 << 1,
	F_AT = 1 << 2,
	F_N = 1 << 3,
	F_DIR = 1 << 4,
	F_SRC = 1 << 5,
	F_SRC_AT = 1 << 6,
	F_SRC_N = 1 << 7,
	F_TIME = 1 << 8,
	F_MODE = 1 << 9,
	F_OWNER = 1 << 10, /* uid and gid */
	F_SET = 1 << 11,
	F_RDEV = 1 << 12,
	F_ATIMES = 1 << 13, /* atime and mtime */
	F_NAME = 1 << 14,
	F_NAME2 = 1 << 15,
	F_DATA = 1 << 16,
};

static const struct {
	const char *word;
	uint32_t fields;
} kinds[OP_TYPE_MAX] = {
	[OP_WRITE] = { "write", F_INO | F_AT | F_TIME | F_DATA },
	[OP_INSERT] = { "insert", F_INO | F_AT | F_TIME | F_DATA },
	[OP_CUT] = { "cut", F_INO | F_AT | F_N | F_TIME },
	[OP_TRUNCATE] = { "truncate", F_INO | F_N | F_TIME },
	[OP_PUNCH] = { "punch", F_FLAGS | F_INO | F_AT | F_N | F_TIME },
	[OP_REPLACE] = { "replace",
			 F_INO | F_AT | F_N | F_SRC | F_SRC_AT | F_SRC_N | F_TIME },
	[OP_CLONE] = { "clone", F_INO | F_SRC | F_TIME },
	[OP_CREATE] = { "create", F_INO | F_DIR | F_TIME | F_MODE | F_OWNER | F_RDEV |
					  F_NAME | F_DATA },
	[OP_LINK] = { "link", F_INO | F_DIR | F_TIME | F_NAME },
	[OP_UNLINK] = { "unlink", F_FLAGS | F_DIR | F_TIME | F_NAME },
	[OP_RMDIR] = { "rmdir", F_FLAGS | F_DIR | F_TIME | F_NAME },
	[OP_RENAME] = { "rename",
			F_FLAGS | F_DIR | F_SRC | F_TIME | F_MODE | F_NAME | F_NAME2 },
	[OP_SETATTR] = { "setattr",
			 F_INO | F_TIME | F_MODE | F_OWNER | F_SET | F_ATIMES },
	[OP_SETXATTR] = { "setxattr", F_INO | F_TIME | F_NAME | F_DATA },
	[OP_RMXATTR] = { "rmxattr", F_INO | F_TIME | F_NAME },
	[OP_WHITEOUT] = { "whiteout", F_FLAGS | F_INO | F_DIR | F_SRC | F_TIME | F_MODE |
					      F_OWNER | F_NAME | F_NAME2 },
	[OP_REAP] = { "reap", F_INO },
	[OP_SNAPSHOT] = { "snapshot", F_N | F_DIR | F_TIME | F_NAME },
	[OP_SNAPSHOT_DROP] = { "snapshot drop", F_N },
	[OP_APPEND] = { "append", F_FLAGS | F_INO | F_AT | F_N | F_TIME | F_DATA },
	[OP_MARK] = { "mark", F_FLAGS | F_INO | F_SRC | F_TIME | F_ATIMES | F_NAME },
	[OP_TRIM] = { "trim", F_INO | F_N | F_TIME },
	[OP_CURSOR_SET] = { "set cursor", F_INO | F_AT | F_TIME | F_NAME },
	[OP_CURSOR_DEL] = { "drop cursor", F_INO | F_TIME | F_NAME },
	[OP_TXN] = { "txn", F_TIME | F_DATA },
	[OP_PUT] = { "put", F_INO | F_TIME | F_DATA },
	[OP_SWAP] = { "swap", F_INO | F_SRC | F_TIME },
};

static void put_number(struct op_head *h, uint64_t v)
{
	while (v >= 0x80) {
		h->b[h->n++] = (uint8_t)(v | 0x80);
		v >>= 7;
	}
	h->b[h->n++] = (uint8_t)v;
}

static void put_time(struct op_head *h, int64_t ns)
{
	le64 v = le64_put((uint64_t)ns);

	memcpy(h->b + h->n, &v, sizeof(v));
	h->n += sizeof(v);
}

static void put_name(struct op_head *h, struct span s)
{
	assert(s.n <= 255);
	put_number(h, s.n);
	if (s.n)
		memcpy(h->b + h->n, s.p, s.n);
	h->n += s.n;
}

void op_encode(const struct op *op, struct op_head *h)
{
	uint32_t f = kinds[op->type].fields;

	assert(op->type < OP_TYPE_MAX && kinds[op->type].word);
	h->n = 0;
	if (f & F_FLAGS)
		put_number(h, op->flags);
	if (f & F_INO)
		put_number(h, op->ino);
	if (f & F_AT)
		put_number(h, op->at);
	if (f & F_N)
		put_number(h, op->n);
	if (f & F_DIR)
		put_number(h, op->dir);
	if (f & F_SRC)
		put_number(h, op->src);
	if (f & F_SRC_AT)
		put_number(h, op->src_at);
	if (f & F_SRC_N)
		put_number(h, op->src_n);
	if (f & F_TIME)
		put_time(h, op->time);
	if (f & F_MODE)
		put_number(h, op->mode);
	if (f & F_OWNER) {
		put_number(h, op->uid);
		put_number(h, op->gid);
	}
	if (f & F_SET)
		put_number(h, op->set);
	if (f & F_RDEV)
		put_number(h, op->rdev);
	if (f & F_ATIMES) {
		put_time(h, op->atime);
		put_time(h, op->mtime);
	}
	if (f & F_NAME)
		put_name(h, op->name);
	if (f & F_NAME2)
		put_name(h, op->name2);
	assert(h->n <= OP_HEAD_MAX);
}

/* What is left of a record; bad turns true when it ends too soon. */
struct reader {
	const uint8_t *p, *end;
	bool bad;
};

static uint64_t get_number(struct reader *rd)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 64; shift += 7) {
		if (rd->p == rd->end)
			break;
		v |= (uint64_t)(*rd->p & 0x7f) << shift;
		if (!(*rd->p++ & 0x80))
			return v;
	}
	rd->bad = true;
	return 0;
}

static uint32_t get_number32(struct reader *rd)
{
	uint64_t v = get_number(rd);

	if (v > UINT32_MAX)
		rd->bad = true;
	return (uint32_t)v;
}

static int64_t get_time(struct reader *rd)
{
	le64 v;

	if (rd->end - rd->p < 8) {
		rd->bad = true;
		return 0;
	}
	memcpy(&v, rd->p, sizeof(v));
	rd->p += sizeof(v);
	return (int64_t)le64_get(v);
}

static struct span get_name(struct reader *rd)
{
	uint64_t n = get_number(rd);
	struct span s;

	if (rd->bad || n > 255 || n > (uint64_t)(rd->end - rd->p)) {
		rd->bad = true;
		return (struct span) { 0 };
	}
	s = span_of(rd->p, n);
	rd->p += n;
	return s;
}

int op_decode(uint8_t type, struct span body, struct op *ret)
{
	struct reader rd = { body.p, body.p + body.n, false };
	struct op op = { .type = type };
	uint32_t f;

	if (type >= OP_TYPE_MAX || !kinds[type].word)
		return err_set(E_CORRUPT, "the log holds a record of unknown type %u",
			       type);
	f = kinds[type].fields;
	if (f & F_FLAGS)
		op.flags = get_number32(&rd);
	if (f & F_INO)
		op.ino = get_number(&rd);
	if (f & F_AT)
		op.at = get_number(&rd);
	if (f & F_N)
		op.n = get_number(&rd);
	if (f & F_DIR)
		op.dir = get_number(&rd);
	if (f & F_SRC)
		op.src = get_number(&rd);
	if (f & F_SRC_AT)
		op.src_at = get_number(&rd);
	if (f & F_SRC_N)
		op.src_n = get_number(&rd);
	if (f & F_TIME)
		op.time = get_time(&rd);
	if (f & F_MODE)
		op.mode = get_number32(&rd);
	if (f & F_OWNER) {
		op.uid = get_number32(&rd);
		op.gid = get_number32(&rd);
	}
	if (f & F_SET)
		op.set = get_number32(&rd);
	if (f & F_RDEV)
		op.rdev = get_number(&rd);
	if (f & F_ATIMES) {
		op.atime = get_time(&rd);
		op.mtime = get_time(&rd);
	}
	if (f & F_NAME)
		op.name = get_name(&rd);
	if (f & F_NAME2)
		op.name2 = get_name(&rd);
	if (f & F_DATA)
		op.data = span_of(rd.p, (size_t)(rd.end - rd.p));
	else if (rd.p != rd.end)
		rd.bad = true;
	if (rd.bad)
		return err_set(E_CORRUPT, "a %s record of the log is malformed",
			       kinds[type].word);
	*ret = op;
	return 0;
}

void op_to_text(const struct op *op, char *line, size_t n)
{
	uint32_t f = kinds[op->type].fields;
	size_t used = (size_t)snprintf(line, n, "%s", kinds[op->type].word);

#define ADD(field, ...)                                                                  \
	if ((f & (field)) && used < n)                                                   \
	used += (size_t)snprintf(line + used, n - used, __VA_ARGS__)
	ADD(F_INO, " ino %" PRIu64, op->ino);
	ADD(F_AT, " at %" PRIu64, op->at);
	ADD(F_N, " n %" PRIu64, op->n);
	ADD(F_DIR, " dir %" PRIu64, op->dir);
	ADD(F_NAME, " name \"%.*s\"", (int)op->name.n, (const char *)op->name.p);
	ADD(F_SRC, " src %" PRIu64, op->src);
	ADD(F_SRC_AT, " src_at %" PRIu64, op->src_at);
	ADD(F_SRC_N, " src_n %" PRIu64, op->src_n);
	ADD(F_NAME2, " to \"%.*s\"", (int)op->name2.n, (const char *)op->name2.p);
	ADD(F_MODE, " mode %o", op->mode);
	ADD(F_OWNER, " owner %" PRIu32 ":%" PRIu32, op->uid, op->gid);
	ADD(F_SET, " set %#" PRIx32, op->set);
	ADD(F_FLAGS, " flags %#" PRIx32, op->flags);
	ADD(F_DATA, " data %zu bytes", op->data.n);
	ADD(F_TIME, " time %s", time_text(op->time).s);
#undef ADD
}
