#include "core/tier/manifest.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/base/err.h"
#include "core/base/lane.h"

#define CHUNKS_MASK 0xffffffu
#define LANE_SHIFT  24
#define LOST_SHIFT  27
#define LOST_MASK   3u

void manifest_release(struct manifest *m)
{
	free(m->packs);
	free(m->segments);
	free(m->drops);
	free(m->pages);
	*m = (struct manifest) { 0 };
}

const struct manifest_pack *manifest_find_pack(const struct manifest *m, uint64_t pack)
{
	size_t low = 0, high = m->n_packs;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (m->packs[mid].pack < pack)
			low = mid + 1;
		else
			high = mid;
	}
	return low < m->n_packs && m->packs[low].pack == pack ? &m->packs[low] : NULL;
}

/* --- encode --- */

static int put_rows(const struct manifest *m, struct buf *b)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < m->n_packs; i++) {
		const struct manifest_pack *p = &m->packs[i];
		struct manifest_pack_row row = {
			.pack = le64_put(p->pack),
			.bytes = le64_put(p->bytes),
			.stored = le64_put(p->stored),
			.chunks = le32_put(p->chunks | (uint32_t)p->lane << LANE_SHIFT |
					   (uint32_t)p->lost << LOST_SHIFT),
			.rewrites = le32_put(p->rewrites),
		};

		assert(i == 0 || p[-1].pack < p->pack);
		assert(p->chunks <= CHUNKS_MASK && p->lane < LANES &&
		       p->lost <= LOST_MASK);
		memcpy(row.id, p->id, sizeof(row.id));
		r = buf_append(b, &row, sizeof(row));
	}
	for (size_t i = 0; r == 0 && i < m->n_segments; i++) {
		struct manifest_segment_row row = {
			.number = le64_put(m->segments[i].number),
			.pages = le32_put(m->segments[i].pages),
		};

		memcpy(row.hash, m->segments[i].hash, sizeof(row.hash));
		r = buf_append(b, &row, sizeof(row));
	}
	for (size_t i = 0; r == 0 && i < m->n_drops; i++) {
		struct manifest_drop_row row = {
			.number = le64_put(m->drops[i].number),
			.kind = (uint8_t)m->drops[i].kind,
		};

		memcpy(row.id, m->drops[i].id, sizeof(row.id));
		r = buf_append(b, &row, sizeof(row));
	}
	if (r == 0)
		r = buf_append(b, m->pages, m->n_pages * sizeof(*m->pages));
	return r;
}

static int put_body(const struct manifest *m, struct buf *b)
{
	struct manifest_body body = {
		.epoch = le64_put(m->epoch),
		.oldest = le64_put(m->oldest),
		.time = le64_put(m->time_ns),
		.packs = le32_put((uint32_t)m->n_packs),
		.segments = le32_put((uint32_t)m->n_segments),
		.drops = le32_put((uint32_t)m->n_drops),
		.pages = le32_put((uint32_t)m->n_pages),
		.next_segment = le64_put(m->next_segment),
	};
	int r;

	memcpy(body.writer, m->writer, sizeof(body.writer));
	memcpy(body.prev_hash, m->prev_hash, sizeof(body.prev_hash));
	memcpy(body.state, m->state, sizeof(body.state));
	memcpy(body.super, m->super, sizeof(body.super));
	r = buf_append(b, &body, sizeof(body));
	return r < 0 ? r : put_rows(m, b);
}

int manifest_encode(const struct manifest *m, struct io *io, const struct keys *keys,
		    struct buf *ret)
{
	_cleanup_(buf_release) struct buf body = BUF_INIT;
	struct manifest_head head = {
		.magic = MANIFEST_MAGIC,
		.version =
			le32_put(m->n_pages ? MANIFEST_VERSION : MANIFEST_VERSION_PLAIN),
		.number = le64_put(m->number)
	};
	struct nonce nonce = nonce_counter(0);
	struct aead *aead = NULL;
	int r;

	assert(m->number > 0 && m->oldest <= m->number);
	r = put_body(m, &body);
	if (r < 0)
		return r;
	memcpy(head.store_id, keys_store_id(keys), STORE_ID_BYTES);
	io_random(io, head.salt, sizeof(head.salt));
	head.bytes = le64_put(body.n);
	r = keys_aead(keys, KEY_MANIFEST, head.salt, &aead);
	if (r == 0)
		r = buf_reserve(ret, sizeof(head) + body.n + AEAD_TAG_BYTES);
	if (r == 0) {
		uint8_t *p = ret->p + ret->n;

		memcpy(p, &head, sizeof(head));
		aead_seal(aead, &nonce, span_of(&head, sizeof(head)), body.p, body.n,
			  p + sizeof(head), p + sizeof(head) + body.n);
		ret->n += sizeof(head) + body.n + AEAD_TAG_BYTES;
	}
	aead_free(aead);
	return r;
}

/* --- decode --- */

static int unusable(const char *what)
{
	return err_set(E_CORRUPT, "a manifest %s", what);
}

static int get_rows(struct manifest *m, const uint8_t *at)
{
	m->packs = calloc(m->n_packs + 1, sizeof(*m->packs));
	m->segments = calloc(m->n_segments + 1, sizeof(*m->segments));
	m->drops = calloc(m->n_drops + 1, sizeof(*m->drops));
	m->pages = calloc(m->n_pages + 1, sizeof(*m->pages));
	if (!m->packs || !m->segments || !m->drops || !m->pages)
		return -ENOMEM;
	for (size_t i = 0; i < m->n_packs; i++) {
		const struct manifest_pack_row *row = (const void *)at;
		struct manifest_pack *p = &m->packs[i];

		uint32_t chunks = le32_get(row->chunks);

		*p = (struct manifest_pack) {
			.pack = le64_get(row->pack),
			.bytes = le64_get(row->bytes),
			.stored = le64_get(row->stored),
			.chunks = chunks & CHUNKS_MASK,
			.rewrites = le32_get(row->rewrites),
			.lane = (uint8_t)(chunks >> LANE_SHIFT & (LANES - 1)),
			.lost = (uint8_t)(chunks >> LOST_SHIFT & LOST_MASK),
		};
		memcpy(p->id, row->id, sizeof(p->id));
		if (i && p[-1].pack >= p->pack)
			return unusable("lists packs out of order");
		at += sizeof(*row);
	}
	for (size_t i = 0; i < m->n_segments; i++) {
		const struct manifest_segment_row *row = (const void *)at;

		m->segments[i].number = le64_get(row->number);
		m->segments[i].pages = le32_get(row->pages);
		memcpy(m->segments[i].hash, row->hash, sizeof(row->hash));
		at += sizeof(*row);
	}
	for (size_t i = 0; i < m->n_drops; i++) {
		const struct manifest_drop_row *row = (const void *)at;

		m->drops[i].number = le64_get(row->number);
		m->drops[i].kind = (char)row->kind;
		memcpy(m->drops[i].id, row->id, sizeof(row->id));
		at += sizeof(*row);
	}
	memcpy(m->pages, at, m->n_pages * sizeof(*m->pages));
	return 0;
}

static int get_body(struct span bytes, struct manifest *m)
{
	struct manifest_body body;

	if (bytes.n < sizeof(body))
		return unusable("is cut short");
	memcpy(&body, bytes.p, sizeof(body));
	m->epoch = le64_get(body.epoch);
	m->oldest = le64_get(body.oldest);
	m->time_ns = le64_get(body.time);
	m->next_segment = le64_get(body.next_segment);
	memcpy(m->writer, body.writer, sizeof(m->writer));
	memcpy(m->prev_hash, body.prev_hash, sizeof(m->prev_hash));
	memcpy(m->state, body.state, sizeof(m->state));
	memcpy(m->super, body.super, sizeof(m->super));
	m->n_packs = le32_get(body.packs);
	m->n_segments = le32_get(body.segments);
	m->n_drops = le32_get(body.drops);
	m->n_pages = le32_get(body.pages);
	if (bytes.n - sizeof(body) !=
	    m->n_packs * sizeof(struct manifest_pack_row) +
		    m->n_segments * sizeof(struct manifest_segment_row) +
		    m->n_drops * sizeof(struct manifest_drop_row) +
		    m->n_pages * sizeof(struct manifest_page_row))
		return unusable("has another length than it says");
	return get_rows(m, bytes.p + sizeof(body));
}

static int open_sealed(struct span bytes, const struct keys *keys,
		       struct manifest_head *head, struct buf *body)
{
	struct nonce nonce = nonce_counter(0);
	struct aead *aead;
	size_t n;
	int r;

	if (bytes.n < sizeof(*head) + AEAD_TAG_BYTES)
		return unusable("is cut short");
	memcpy(head, bytes.p, sizeof(*head));
	n = bytes.n - sizeof(*head) - AEAD_TAG_BYTES;
	if (memcmp(head->magic, MANIFEST_MAGIC, sizeof(head->magic)) ||
	    memcmp(head->store_id, keys_store_id(keys), STORE_ID_BYTES))
		return unusable("is none of this store");
	if (le32_get(head->version) > MANIFEST_VERSION)
		return err_set(
			E_NEWER,
			"the bucket's manifest has version %u, this ropefs knows %u: "
			"use a newer one",
			le32_get(head->version), MANIFEST_VERSION);
	if (le64_get(head->bytes) != n)
		return unusable("has another length than it says");
	r = buf_reserve(body, n + 1);
	if (r == 0)
		r = keys_aead(keys, KEY_MANIFEST, head->salt, &aead);
	if (r < 0)
		return r;
	r = aead_open(aead, &nonce, span_of(head, sizeof(*head)), bytes.p + sizeof(*head),
		      n, bytes.p + sizeof(*head) + n, body->p);
	aead_free(aead);
	body->n = n;
	return r < 0 ? unusable("does not verify") : 0;
}

int manifest_decode(struct span bytes, const struct keys *keys, struct manifest *ret)
{
	_cleanup_(buf_release) struct buf body = BUF_INIT;
	struct manifest m = { 0 };
	struct manifest_head head;
	int r;

	r = open_sealed(bytes, keys, &head, &body);
	if (r == 0)
		r = get_body(buf_span(&body), &m);
	if (r < 0) {
		manifest_release(&m);
		return r;
	}
	m.number = le64_get(head.number);
	*ret = m;
	return 0;
}

/* --- keys of objects --- */

static void hex(const uint8_t *p, size_t n, char *ret)
{
	for (size_t i = 0; i < n; i++)
		sprintf(ret + 2 * i, "%02x", p[i]);
}

void instance_id(const uint8_t public_key[SIGN_PUBLIC_BYTES], char ret[INSTANCE_BYTES])
{
	uint8_t hash[32];

	hash256(span_of(public_key, SIGN_PUBLIC_BYTES), hash);
	hex(hash, INSTANCE_BYTES / 2, ret);
}

struct object_key key_header(const char *instance)
{
	struct object_key k;

	snprintf(k.text, sizeof(k.text), "%.32s/header", instance);
	return k;
}

struct object_key key_watch(const char *instance)
{
	struct object_key k;

	snprintf(k.text, sizeof(k.text), "%.32s/w", instance);
	return k;
}

struct object_key key_manifest(const char *instance, uint64_t number)
{
	struct object_key k;

	snprintf(k.text, sizeof(k.text), "%.32s/m/%010" PRIu64, instance, number);
	return k;
}

struct object_key key_of(const char *instance, char kind, uint64_t number,
			 const uint8_t id[HASH_ID_BYTES])
{
	char text[2 * HASH_ID_BYTES + 1];
	struct object_key k;

	hex(id, HASH_ID_BYTES, text);
	snprintf(k.text, sizeof(k.text), "%.32s/%c/%010" PRIu64 "-%s", instance, kind,
		 number, text);
	return k;
}
