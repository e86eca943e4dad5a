#include "tests/sim/model.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/util.h"

static uint64_t mix(uint64_t h, uint64_t v)
{
	h = (h ^ v) * 0x9fb21c651e98df25u;
	return h ^ h >> 32;
}

static uint64_t mix_bytes(uint64_t h, const uint8_t *p, size_t n)
{
	uint64_t v;

	h = mix(h, n);
	for (; n >= sizeof(v); n -= sizeof(v), p += sizeof(v)) {
		memcpy(&v, p, sizeof(v));
		h = mix(h, v);
	}
	v = 0;
	if (n)
		memcpy(&v, p, n);
	return mix(h, v);
}

static uint64_t mix_attr(uint64_t h, const struct ropefs_attr *a)
{
	h = mix(h, a->ino);
	h = mix(h, (uint64_t)a->mode << 32 | a->nlink);
	h = mix(h, a->size);
	h = mix(h, (uint64_t)a->mtime.ns);
	return mix(h, (uint64_t)a->ctime.ns);
}

bool attr_equal(const struct ropefs_attr *a, const struct ropefs_attr *b)
{
	return mix_attr(1, a) == mix_attr(1, b);
}

static void *must(void *p)
{
	if (!p)
		abort();
	return p;
}

struct blob *blob_new(size_t n)
{
	struct blob *b = must(calloc(1, sizeof(*b) + n));

	b->refs = 1;
	b->n = n;
	return b;
}

struct blob *blob_get(struct blob *b)
{
	if (b)
		b->refs++;
	return b;
}

void blob_put(struct blob *b)
{
	if (b && --b->refs == 0)
		free(b);
}

struct blob *blob_splice(const struct blob *b, size_t at, size_t del, const uint8_t *p,
			 size_t n)
{
	struct blob *to = blob_new(b->n - del + n);

	assert(at + del <= b->n);
	to->attr = b->attr;
	to->n_xattr = b->n_xattr;
	memcpy(to->xattr, b->xattr, sizeof(to->xattr));
	memcpy(to->p, b->p, at);
	if (p)
		memcpy(to->p + at, p, n);
	memcpy(to->p + at + n, b->p + at + del, b->n - at - del);
	return to;
}

void blob_seal(struct blob *b)
{
	b->content = mix_bytes(mix_bytes(2, b->p, b->n), b->xattr, b->n_xattr);
	b->digest = mix_attr(b->content, &b->attr);
}

void state_set(struct state *s, unsigned i, struct blob *b)
{
	blob_put(s->file[i]);
	s->file[i] = b;
}

/* --- the queue --- */

void queue_set(struct queue_state *q, struct blob *b)
{
	if (b)
		blob_seal(b);
	blob_put(q->records);
	q->records = b;
}

static uint64_t queue_digest(const struct queue_state *q)
{
	uint64_t h = mix(mix(5, q->first), q->next);

	h = mix(mix(h, q->resets), q->cursor);
	return mix(h, q->records ? q->records->content : 0);
}

bool queue_equal(const struct queue_state *a, const struct queue_state *b)
{
	return queue_digest(a) == queue_digest(b);
}

const uint8_t *queue_record(const struct queue_state *q, uint64_t id, size_t *ret_n)
{
	const uint8_t *p = q->records ? q->records->p : NULL;
	uint32_t n;

	if (id < q->first || id >= q->next)
		return NULL;
	for (uint64_t at = q->first;; at++, p += sizeof(n) + n) {
		memcpy(&n, p, sizeof(n));
		if (at == id)
			break;
	}
	*ret_n = n;
	return p + sizeof(n);
}

/* --- states --- */

void snap_set(struct state *s, unsigned k, bool there)
{
	struct snap *snap = &s->snap[k];

	for (unsigned i = 0; i < SIM_FILES; i++) {
		blob_put(snap->file[i]);
		snap->file[i] = there ? blob_get(s->file[i]) : NULL;
	}
	blob_put(snap->queue.records);
	snap->queue = there ? s->queue : (struct queue_state) { 0 };
	blob_get(snap->queue.records);
	snap->there = there;
}

struct state state_copy(const struct state *s)
{
	struct state copy = *s;

	for (unsigned i = 0; i < SIM_FILES; i++) {
		blob_get(copy.file[i]);
		for (unsigned k = 0; k < SIM_SNAPS; k++)
			blob_get(copy.snap[k].file[i]);
	}
	for (unsigned k = 0; k < SIM_SNAPS; k++)
		blob_get(copy.snap[k].queue.records);
	blob_get(copy.queue.records);
	return copy;
}

void state_release(struct state *s)
{
	for (unsigned k = 0; k < SIM_SNAPS; k++)
		snap_set(s, k, false);
	for (unsigned i = 0; i < SIM_FILES; i++)
		state_set(s, i, NULL);
	queue_set(&s->queue, NULL);
}

static uint64_t snap_digest(const struct snap *snap)
{
	uint64_t h = snap->there;

	for (unsigned i = 0; snap->there && i < SIM_FILES; i++)
		h = mix(h, snap->file[i] ? snap->file[i]->content : i);
	return mix(h, queue_digest(&snap->queue));
}

uint64_t state_digest(const struct state *s)
{
	uint64_t h = mix_attr(mix_attr(3, &s->root), &s->folder);

	for (unsigned i = 0; i < SIM_FILES; i++)
		h = mix(h, s->file[i] ? s->file[i]->digest : i);
	for (unsigned k = 0; k < SIM_SNAPS; k++)
		h = mix(h, snap_digest(&s->snap[k]));
	return mix(h, queue_digest(&s->queue));
}

void history_add(struct history *h, struct state s)
{
	if (h->n == h->cap) {
		h->cap = h->cap ? 2 * h->cap : 32;
		h->at = must(realloc(h->at, h->cap * sizeof(*h->at)));
	}
	h->at[h->n++] = s;
}

void history_cut(struct history *h, size_t n)
{
	while (h->n > n)
		state_release(&h->at[--h->n]);
}

void history_release(struct history *h)
{
	history_cut(h, 0);
	free(h->at);
	*h = (struct history) { 0 };
}
