#include "tests/fs/stress_model.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 4096, EDIT_LIMIT = 16000, SMALL = 60 };

static const struct {
	const char *name;
	unsigned weight;
} kinds[OP_KINDS] = {
	[OP_CREATE] = { "create", 60 },
	[OP_WRITE] = { "write", 120 },
	[OP_APPEND] = { "append", 120 },
	[OP_DIRECT] = { "direct write", 40 },
	[OP_MAP] = { "map", 40 },
	[OP_INSERT] = { "insert", 120 },
	[OP_CUT] = { "cut", 60 },
	[OP_REPLACE] = { "replace", 40 },
	[OP_VIEW] = { "write of a view", 40 },
	[OP_VIEW_CUT] = { "removal of a view", 20 },
	[OP_TRUNCATE] = { "truncate", 30 },
	[OP_PUNCH] = { "punch", 20 },
	[OP_ZERO] = { "zero", 20 },
	[OP_ALLOCATE] = { "allocate", 10 },
	[OP_COPY] = { "copy", 50 },
	[OP_RENAME] = { "rename", 30 },
	[OP_EXCHANGE] = { "exchange", 15 },
	[OP_LINK] = { "link", 20 },
	[OP_UNLINK] = { "unlink", 50 },
	[OP_XATTR] = { "setxattr", 20 },
	[OP_HOLD] = { "hold", 5 },
	[OP_HELD_WRITE] = { "write of what is held", 20 },
	[OP_SYNC] = { "fsync", 20 },
	[OP_VERIFY] = { "verify", 120 },
	[OP_LIST] = { "list", 5 },
};

const char *op_name(enum op_kind kind)
{
	return kinds[kind].name;
}

void name_path(unsigned name, char *ret)
{
	snprintf(ret, 32, "d%u/f%02u", name % FOLDERS, name);
}

/* --- hashes --- */

static uint64_t mix(uint64_t h, uint64_t word)
{
	h = (h ^ word) * 0x9fb21c651e98df25u;
	return h ^ h >> 32;
}

uint64_t file_hash(const struct file *f)
{
	uint64_t h = mix(mix(1, f->n), f->xattr), word;
	size_t i = 0;

	for (; i + 8 <= f->n; i += 8) {
		memcpy(&word, f->p + i, 8);
		h = mix(h, word);
	}
	for (; i < f->n; i++)
		h = mix(h, f->p[i]);
	return h ? h : 1;
}

unsigned file_links(const struct model *m, const struct file *f)
{
	unsigned n = 0;

	for (unsigned i = 0; i < NAMES; i++)
		n += m->names[i] == f;
	return n;
}

uint64_t model_hash(struct model *m)
{
	uint64_t all = 0;

	for (unsigned i = 0; i < NAMES; i++) {
		struct file *f = m->names[i];

		if (!f)
			continue;
		if (!f->hash)
			f->hash = file_hash(f);
		all += mix(mix(i + 1, f->hash), file_links(m, f));
	}
	return all;
}

/* --- files --- */

static struct file *file_new(void)
{
	struct file *f = calloc(1, sizeof(*f));

	assert(f);
	f->p = calloc(1, SIZE_LIMIT);
	assert(f->p);
	return f;
}

static void file_put(struct file *f)
{
	if (!f || --f->names)
		return;
	free(f->p);
	free(f);
}

static struct file *file_get(struct file *f)
{
	f->names++;
	return f;
}

void model_init(struct model *m, uint64_t seed)
{
	*m = (struct model) { .rng = rng_seeded(seed) };
}

void model_release(struct model *m)
{
	for (unsigned i = 0; i < NAMES; i++)
		file_put(m->names[i]);
	file_put(m->held);
	*m = (struct model) { 0 };
}

/* --- which operation --- */

static size_t below(struct model *m, size_t n)
{
	return (size_t)rng_below(&m->rng, n);
}

/* Mostly few, at times many. */
static size_t some(struct model *m, size_t limit)
{
	size_t bits = 1 + below(m, 17), n = 1 + below(m, (size_t)1 << bits);

	return n < limit ? n : limit;
}

/* A name that is there or free; NAMES: none. The first few are taken as often as all others:
 * theirs become the files of many small extents. */
static unsigned pick(struct model *m, bool there)
{
	unsigned from = (unsigned)below(m, below(m, 2) ? NAMES : 4);

	for (unsigned i = 0; i < NAMES; i++) {
		unsigned name = (from + i) % NAMES;

		if (!!m->names[name] == there)
			return name;
	}
	return NAMES;
}

static enum op_kind pick_kind(struct model *m)
{
	unsigned all = 0, at;

	for (unsigned i = 0; i < OP_KINDS; i++)
		all += kinds[i].weight;
	at = (unsigned)below(m, all);
	for (unsigned i = 0;; i++) {
		if (at < kinds[i].weight)
			return (enum op_kind)i;
		at -= kinds[i].weight;
	}
}

static size_t min(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* A range within the file; false where there is none. */
static bool range(struct model *m, const struct file *f, size_t *ret_at, size_t *ret_n)
{
	if (!f->n)
		return false;
	*ret_at = below(m, f->n);
	*ret_n = min(some(m, WRITE_LIMIT), f->n - *ret_at);
	return true;
}

/* A range that begins in the file or a bit behind its end, and may end beyond. */
static bool range_over(struct model *m, const struct file *f, size_t *ret_at,
		       size_t *ret_n)
{
	size_t end = min(f->n + (below(m, 8) ? 0 : below(m, 20000)), SIZE_LIMIT - 1);

	*ret_at = below(m, end + 1);
	*ret_n = min(some(m, WRITE_LIMIT), SIZE_LIMIT - *ret_at);
	return true;
}

static bool edit(struct model *m, const struct file *f, struct op *op, size_t limit)
{
	size_t room;

	op->at = below(m, f->n + 1);
	if (op->kind != OP_INSERT)
		op->cut = min(some(m, 20000), f->n - op->at);
	room = SIZE_LIMIT - f->n + op->cut;
	if (op->kind != OP_CUT && op->kind != OP_VIEW_CUT)
		/* Small ones, often: many extents are what defragmentation is for. */
		op->n = min(below(m, 2) ? 1 + below(m, 100) : some(m, limit), room);
	return op->n || op->cut;
}

static bool copy(struct model *m, const struct file *from, struct op *op)
{
	const struct file *to;

	op->b = pick(m, true);
	to = m->names[op->b];
	if (from == to || !range(m, from, &op->at, &op->n))
		return false;
	if (!to->n && below(m, 4)) { /* a clone of all of it */
		op->at = 0;
		op->n = from->n;
	}
	op->to = below(m, to->n + 1);
	op->n = min(op->n, SIZE_LIMIT - op->to);
	return op->n > 0;
}

/* What the names that it takes are; false: not now. */
static bool choose_names(struct model *m, struct op *op)
{
	switch (op->kind) {
	case OP_CREATE:
		op->a = pick(m, false);
		break;
	case OP_LINK:
		op->b = pick(m, false);
		op->a = op->b < NAMES ? pick(m, true) : NAMES;
		break;
	case OP_RENAME:
		op->b = (unsigned)below(m, NAMES);
		op->a = pick(m, true);
		break;
	case OP_HELD_WRITE:
		return m->held && range_over(m, m->held, &op->at, &op->n);
	case OP_SYNC:
	case OP_LIST:
		return true;
	default:
		op->a = pick(m, true);
	}
	return op->a < NAMES;
}

static bool choose(struct model *m, struct op *op)
{
	const struct file *f;

	op->kind = pick_kind(m);
	if (!choose_names(m, op))
		return false;
	op->bytes = rng_next(&m->rng);
	f = m->names[op->a];
	switch (op->kind) {
	case OP_WRITE:
	case OP_PUNCH:
	case OP_ZERO:
	case OP_ALLOCATE:
		return range_over(m, f, &op->at, &op->n);
	case OP_DIRECT:
		op->at = below(m, f->n / BLOCK + 1) * BLOCK;
		op->n = min(1 + below(m, 8), (SIZE_LIMIT - op->at) / BLOCK) * BLOCK;
		return op->n > 0;
	case OP_APPEND:
		op->n = min(some(m, WRITE_LIMIT), SIZE_LIMIT - f->n);
		return op->n > 0;
	case OP_MAP:
		return range(m, f, &op->at, &op->n);
	case OP_INSERT:
	case OP_CUT:
	case OP_REPLACE:
		return edit(m, f, op, EDIT_LIMIT);
	case OP_VIEW:
	case OP_VIEW_CUT:
		return edit(m, f, op, WRITE_LIMIT);
	case OP_TRUNCATE:
		op->at = below(m, min(f->n + 30000, SIZE_LIMIT));
		return true;
	case OP_COPY:
		return copy(m, f, op);
	case OP_EXCHANGE:
		op->b = pick(m, true);
		return true;
	case OP_XATTR:
		op->n = 1 + below(m, 1000000);
		return true;
	default:
		return true;
	}
}

/* Name 0 is mostly for small edits: a file of many short extents, which is what
 * defragmentation looks for. */
static bool suits_name(struct model *m, struct op *op)
{
	switch (op->kind) {
	case OP_COPY:
	case OP_RENAME:
	case OP_EXCHANGE:
		return (op->a && op->b) || below(m, 16) == 0;
	case OP_DIRECT:
	case OP_TRUNCATE:
	case OP_ALLOCATE:
	case OP_UNLINK:
		return op->a || below(m, 16) == 0;
	case OP_WRITE:
	case OP_APPEND:
	case OP_INSERT:
	case OP_CUT:
	case OP_REPLACE:
	case OP_VIEW:
	case OP_VIEW_CUT:
		if (!op->a) {
			op->n = min(op->n, SMALL);
			op->cut = min(op->cut, SMALL);
		}
		return true;
	default:
		return true;
	}
}

struct op model_next(struct model *m)
{
	struct op op;

	do
		op = (struct op) { 0 };
	while (!choose(m, &op) || !suits_name(m, &op));
	return op;
}

/* --- what it does --- */

/* Half of them text, which packs well. */
void op_bytes(const struct op *op, uint8_t *ret)
{
	struct rng r = rng_seeded(op->bytes);
	bool text = rng_below(&r, 2);

	rng_fill(&r, ret, op->n);
	for (size_t i = 0; text && i < op->n; i++)
		ret[i] = (uint8_t)('a' + ret[i] % 4);
}

static void overwrite(struct file *f, size_t at, const uint8_t *bytes, size_t n)
{
	if (at > f->n)
		memset(f->p + f->n, 0, at - f->n);
	memcpy(f->p + at, bytes, n);
	if (at + n > f->n)
		f->n = at + n;
}

static void resize(struct file *f, size_t n)
{
	if (n > f->n)
		memset(f->p + f->n, 0, n - f->n);
	f->n = n;
}

static void splice(struct file *f, const struct op *op, const uint8_t *bytes)
{
	size_t tail = op->at + op->cut;

	memmove(f->p + op->at + op->n, f->p + tail, f->n - tail);
	memcpy(f->p + op->at, bytes, op->n);
	f->n = f->n - op->cut + op->n;
}

static void rename_names(struct model *m, const struct op *op)
{
	struct file *from = m->names[op->a];

	if (from == m->names[op->b])
		return; /* two names of one file: rename(2) does nothing */
	file_put(m->names[op->b]);
	m->names[op->b] = from;
	m->names[op->a] = NULL;
}

static void apply_names(struct model *m, const struct op *op)
{
	struct file *f = m->names[op->a];

	switch (op->kind) {
	case OP_CREATE:
		m->names[op->a] = file_get(file_new());
		break;
	case OP_RENAME:
		rename_names(m, op);
		break;
	case OP_EXCHANGE:
		m->names[op->a] = m->names[op->b];
		m->names[op->b] = f;
		break;
	case OP_LINK:
		m->names[op->b] = file_get(f);
		break;
	case OP_UNLINK:
		file_put(f);
		m->names[op->a] = NULL;
		break;
	case OP_HOLD:
		file_get(f);
		file_put(m->held);
		m->held = f;
		break;
	default:
		break;
	}
}

static void apply_bytes(struct model *m, const struct op *op, struct file *f)
{
	static uint8_t bytes[SIZE_LIMIT];

	switch (op->kind) {
	case OP_WRITE:
	case OP_DIRECT:
	case OP_MAP:
	case OP_HELD_WRITE:
		op_bytes(op, bytes);
		overwrite(f, op->at, bytes, op->n);
		break;
	case OP_APPEND:
		op_bytes(op, bytes);
		overwrite(f, f->n, bytes, op->n);
		break;
	case OP_INSERT:
	case OP_CUT:
	case OP_REPLACE:
	case OP_VIEW:
	case OP_VIEW_CUT:
		op_bytes(op, bytes);
		splice(f, op, bytes);
		break;
	case OP_TRUNCATE:
		resize(f, op->at);
		break;
	case OP_PUNCH:
	case OP_ZERO:
		if (op->at < f->n)
			memset(f->p + op->at, 0, min(op->n, f->n - op->at));
		break;
	case OP_ALLOCATE:
		if (op->at + op->n > f->n)
			resize(f, op->at + op->n);
		break;
	case OP_COPY:
		overwrite(f, op->to, m->names[op->a]->p + op->at, op->n);
		break;
	default:
		break;
	}
}

static struct file *target(const struct model *m, const struct op *op)
{
	if (op->kind == OP_HELD_WRITE)
		return m->held;
	return m->names[op->kind == OP_COPY ? op->b : op->a];
}

void model_apply(struct model *m, const struct op *op)
{
	struct file *f = target(m, op);

	if (op->kind >= OP_SYNC)
		return;
	if (f)
		f->hash = 0;
	if (op->kind == OP_XATTR)
		f->xattr = op->n;
	else if ((op->kind >= OP_WRITE && op->kind <= OP_COPY) ||
		 op->kind == OP_HELD_WRITE)
		apply_bytes(m, op, f);
	else
		apply_names(m, op);
}

struct file *model_torn(const struct model *m, const struct op *op)
{
	switch (op->kind) {
	case OP_WRITE:
	case OP_APPEND:
	case OP_DIRECT:
	case OP_MAP:
	case OP_COPY:
	case OP_HELD_WRITE:
		return target(m, op);
	default:
		return NULL;
	}
}
