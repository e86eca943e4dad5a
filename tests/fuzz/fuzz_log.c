/* fuzz_log.c - segments, frames and records of the log (core/wal), read back by themselves and by
 * a store that opens with them and applies their records. An input is pieces:
 *
 *	0  a segment begins: its header
 *	1  a frame right behind what is there, 2 at the next block
 *	3  bytes as they are
 */
#include <stdio.h>
#include <sys/stat.h>

#include "core/base/crc.h"
#include "core/op.h"
#include "core/txn.h"
#include "core/wal/segment.h"
#include "tests/fuzz/pieces.h"
#include "tests/fuzz/store.h"

#define SEGMENTS_MAX 3u
#define SEGMENT_MAX  ((size_t)1 << 20)

/* --- the files --- */

struct files {
	struct io *io;
	uint64_t number; /* of the segment under way, 0: none */
	struct buf bytes;
};

static void file_end(struct files *f)
{
	char name[WAL_NAME_BYTES];

	if (!f->number)
		return;
	segment_name(f->number, name);
	fuzz_put_file(f->io, name, f->bytes.p, f->bytes.n);
	f->bytes.n = 0;
}

static void pad(struct buf *b, size_t to)
{
	static const uint8_t zeros[WAL_BLOCK];

	while (b->n < to)
		FUZZ_MUST(buf_append(b, zeros, MIN(to - b->n, sizeof(zeros))));
}

static void file_piece(struct files *f, const struct fuzz_piece *piece)
{
	struct buf *b = &f->bytes;

	if (piece->kind == 0 && f->number < SEGMENTS_MAX) {
		file_end(f);
		f->number++;
		FUZZ_MUST(buf_append(b, piece->p, MIN(piece->n, (size_t)WAL_BLOCK)));
		pad(b, WAL_BLOCK);
		return;
	}
	if (!f->number || b->n > SEGMENT_MAX)
		return;
	if (piece->kind < 3)
		pad(b, align_up(b->n, piece->kind == 2 ? WAL_BLOCK : FRAME_ALIGN));
	FUZZ_MUST(buf_append(b, piece->p, piece->n));
}

static void make_files(struct io *io, const uint8_t *p, size_t n)
{
	struct files f = { .io = io };
	uint8_t *copy = malloc(n ? n : 1);
	struct fuzz_piece piece;
	size_t at = 0;

	FUZZ_MUST(copy ? 0 : -1);
	memcpy(copy, p, n);
	while (fuzz_next_piece(copy, n, &at, &piece))
		file_piece(&f, &piece);
	file_end(&f);
	free(copy);
	buf_release(&f.bytes);
}

/* --- reading them --- */

static int read_record(void *arg, uint64_t lsn, uint8_t type, struct span body)
{
	char line[2048];
	struct span rest;
	struct op op;

	(void)arg;
	(void)lsn;
	if (op_decode(type, body, &op) < 0)
		return 0;
	op_to_text(&op, line, sizeof(line));
	rest = op.data;
	while (op.type == OP_TXN && txn_next_op(&rest, &op) > 0)
		op_to_text(&op, line, sizeof(line));
	return 0;
}

static void say_nothing(void *arg, const char *line)
{
	(void)arg;
	(void)strlen(line);
}

static void read_log(struct io *io)
{
	struct wal_opts wo = {
		.io = io, .keys = fuzz_keys(), .segment_bytes = 10 * MIB, .spare_max = 1
	};
	struct wal_replay_stats stats;
	struct wal *w;

	if (wal_open(&wo, &w) == 0) {
		wal_replay(w, 1, read_record, NULL, &stats);
		wal_close(w);
	}
	wal_inspect(io, fuzz_keys(), say_nothing, read_record, NULL);
	wal_inspect(io, NULL, say_nothing, read_record, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct io *io = fuzz_disk();

	make_files(io, p, n);
	read_log(io);
	fuzz_use(io);
	return 0;
}

/* --- mending --- */

struct mend {
	struct segment s;
	uint64_t at; /* in the file */
	uint64_t lsn; /* of the next record */
};

static void mend_header(struct mend *m, const struct fuzz_piece *piece)
{
	struct nonce nonce = nonce_counter(0);
	struct segment_head h;

	if (piece->n < sizeof(h))
		return;
	memcpy(&h, piece->p, sizeof(h));
	memcpy(h.magic, WAL_MAGIC, sizeof(h.magic));
	h.version = le32_put(WAL_VERSION);
	memcpy(h.store_id, keys_store_id(fuzz_keys()), STORE_ID_BYTES);
	h.number = le64_put(m->s.number + 1);
	h.first_lsn = le64_put(m->lsn);
	if (le64_get(h.bytes) <= WAL_BLOCK)
		h.bytes = le64_put(MIB);
	h.crc = le32_put(0);
	aead_free(m->s.aead);
	FUZZ_MUST(keys_aead(fuzz_keys(), KEY_WAL, h.salt, &m->s.aead));
	aead_seal(m->s.aead, &nonce, span_of(&h, offsetof(struct segment_head, tag)),
		  NULL, 0, NULL, h.tag);
	h.crc = le32_put(crc32c(0, &h, sizeof(h)));
	memcpy(piece->p, &h, sizeof(h));
	memcpy(m->s.store_id, h.store_id, STORE_ID_BYTES);
	m->s.number++;
	m->s.epoch = le64_get(h.epoch);
	m->s.bytes = le64_get(h.bytes);
	m->at = WAL_BLOCK;
}

/* How many records there are; the length of one that reaches too far becomes what is left. */
static uint32_t mend_records(uint8_t *p, size_t n)
{
	struct span rest = { p, n };
	struct record rec;
	uint32_t records = 0;
	size_t left;

	while (rest.n) {
		left = rest.n;
		if (record_take(&rest, &rec) > 0) {
			records++;
			continue;
		}
		p[n - left] = (uint8_t)MIN(left >= 2 ? left - 2 : 0, (size_t)0x7f);
		if (left < 2 || record_take(&rest, &rec) <= 0)
			break;
		records++;
	}
	return records;
}

static void mend_frame(struct mend *m, const struct fuzz_piece *piece)
{
	struct frame_info info = { .first_lsn = m->lsn };
	struct frame_head h;

	m->at = align_up(m->at, piece->kind == 2 ? WAL_BLOCK : FRAME_ALIGN);
	if (piece->n > sizeof(h) && m->s.aead) {
		memcpy(&h, piece->p, sizeof(h));
		info.body_bytes = (uint32_t)(piece->n - sizeof(h));
		info.records = mend_records(piece->p + sizeof(h), info.body_bytes);
		info.durable_lsn = MIN(le64_get(h.durable_lsn), m->lsn - 1);
		info.records += !info.records;
		frame_seal(&m->s, m->at, &info, piece->p);
		m->lsn += info.records;
	}
	m->at += piece->n;
}

void fuzz_mend(uint8_t *p, size_t n)
{
	struct mend m = { .lsn = fuzz_lsn() + 1 };
	struct fuzz_piece piece;
	size_t at = 0;

	while (fuzz_next_piece(p, n, &at, &piece)) {
		if (piece.kind == 0 && m.s.number < SEGMENTS_MAX)
			mend_header(&m, &piece);
		else if (piece.kind == 1 || piece.kind == 2)
			mend_frame(&m, &piece);
		else if (m.s.number)
			m.at += piece.n;
	}
	aead_free(m.s.aead);
}

/* --- seeds --- */

static void add_op(struct buf *body, const struct op *op, bool more)
{
	uint8_t head[RECORD_HEAD_MAX];
	struct op_head h;

	op_encode(op, &h);
	FUZZ_MUST(buf_append(body, head,
			     record_head_put(head, h.n + op->data.n, op->type, more)));
	FUZZ_MUST(buf_append(body, h.b, h.n));
	if (op->data.n)
		FUZZ_MUST(buf_append(body, op->data.p, op->data.n));
}

static void give_ops(fuzz_give_fn give, void *arg, const char *name, const struct op *ops,
		     size_t n_ops, size_t a_frame)
{
	static const uint8_t header[sizeof(struct segment_head)];
	struct buf input = BUF_INIT;

	fuzz_put_piece(&input, 0, header, sizeof(header));
	for (size_t i = 0; i < n_ops; i += a_frame) {
		struct buf frame = BUF_INIT;

		pad(&frame, sizeof(struct frame_head));
		for (size_t j = i; j < n_ops && j < i + a_frame; j++)
			add_op(&frame, &ops[j], false);
		fuzz_put_piece(&input, i % 2 ? 2 : 1, frame.p, frame.n);
		buf_release(&frame);
	}
	fuzz_mend(input.p, input.n);
	give(arg, name, input.p, input.n);
	buf_release(&input);
}

/* Some of them fit the store, some do not. */
static const struct op some_ops[] = {
	{ .type = OP_WRITE, .ino = 3, .at = 4, .data = { (const uint8_t *)"data", 4 } },
	{ .type = OP_INSERT, .ino = 3, .at = 2, .data = { (const uint8_t *)"in", 2 } },
	{ .type = OP_CUT, .ino = 3, .at = 1, .n = 2 },
	{ .type = OP_TRUNCATE, .ino = 3, .n = 9000 },
	{ .type = OP_PUNCH, .ino = 3, .at = 5, .n = 4096, .flags = OP_FLAG_KEEP_SIZE },
	{ .type = OP_CREATE,
	  .ino = 20,
	  .dir = 1,
	  .mode = S_IFREG | 0644,
	  .name = { (const uint8_t *)"new", 3 } },
	{ .type = OP_CLONE, .ino = 20, .src = 3 },
	{ .type = OP_SWAP, .ino = 20, .src = 3 },
	{ .type = OP_PUT, .ino = 20, .data = { (const uint8_t *)"whole", 5 } },
	{ .type = OP_REPLACE, .ino = 3, .at = 2, .n = 3, .src = 20, .src_n = 4 },
	{ .type = OP_LINK, .ino = 3, .dir = 2, .name = { (const uint8_t *)"hard", 4 } },
	{ .type = OP_RENAME,
	  .dir = 1,
	  .src = 2,
	  .name = { (const uint8_t *)"file", 4 },
	  .name2 = { (const uint8_t *)"moved", 5 } },
	{ .type = OP_WHITEOUT,
	  .ino = 21,
	  .dir = 2,
	  .src = 1,
	  .mode = S_IFCHR,
	  .name = { (const uint8_t *)"moved", 5 },
	  .name2 = { (const uint8_t *)"w", 1 } },
	{ .type = OP_UNLINK,
	  .dir = 1,
	  .flags = OP_FLAG_REAP,
	  .name = { (const uint8_t *)"new", 3 } },
	{ .type = OP_RMDIR,
	  .dir = 2,
	  .flags = OP_FLAG_REAP,
	  .name = { (const uint8_t *)"other", 5 } },
	{ .type = OP_SETATTR, .ino = 3, .set = 0xff, .mode = 0600, .uid = 5 },
	{ .type = OP_SETXATTR,
	  .ino = 3,
	  .name = { (const uint8_t *)"user.b", 6 },
	  .data = { (const uint8_t *)"xattr", 5 } },
	{ .type = OP_RMXATTR, .ino = 3, .name = { (const uint8_t *)"user.a", 6 } },
	{ .type = OP_SNAPSHOT, .n = 1, .dir = 1, .name = { (const uint8_t *)"snap", 4 } },
	{ .type = OP_SNAPSHOT_DROP, .n = 1 },
	{ .type = OP_APPEND,
	  .ino = 4,
	  .flags = 1,
	  .data = { (const uint8_t *)"three\n", 6 } },
	{ .type = OP_MARK,
	  .ino = 4,
	  .flags = 1,
	  .src = 77,
	  .name = { (const uint8_t *)"0123456789abcdef", 16 } },
	{ .type = OP_TRIM, .ino = 4, .n = 1 },
	{ .type = OP_CURSOR_SET,
	  .ino = 4,
	  .at = 2,
	  .name = { (const uint8_t *)"reader", 6 } },
	{ .type = OP_CURSOR_DEL, .ino = 4, .name = { (const uint8_t *)"reader", 6 } },
	{ .type = OP_TXN,
	  .data = { (const uint8_t *)"\x21\0\0\0\x0a\0\0\0\x14\x03\0\0\0\0\0\0\0\0",
		    18 } },
	{ .type = OP_REAP, .ino = 20 },
	{ .type = OP_CREATE,
	  .ino = 0,
	  .dir = 1,
	  .mode = S_IFREG | 0644,
	  .name = { (const uint8_t *)"none", 4 } },
};

void fuzz_seeds(fuzz_give_fn give, void *arg)
{
	char name[16];

	give_ops(give, arg, "all", some_ops, ARRAY_LEN(some_ops), 4);
	for (size_t i = 0; i < ARRAY_LEN(some_ops); i++) {
		snprintf(name, sizeof(name), "op%02zu", i);
		give_ops(give, arg, name, &some_ops[i], 1, 1);
	}
}
