/* chunk.c - the codec of chunks.
 *
 * Invariants:
 *  1. A chunk is sealed under its pack's own key with its index as nonce, and an index is
 *     sealed once: a rewrite copies sealed bytes, it never seals again.
 *  2. Nothing is decompressed that was not authenticated, and never into more room than
 *     the authenticated plain size, itself at most CHUNK_BYTES_MAX. */
#include "core/pack/chunk.h"

#include <errno.h>
#include <zstd_errors.h>

#include "core/base/crc.h"

static struct chunk_aad aad_of(const struct chunk_home *home, uint32_t index,
			       const struct chunk_entry *e)
{
	struct chunk_aad aad = {
		.pack = le64_put(home->pack),
		.index = le32_put(index),
		.plain = le32_put(e->plain),
		.sealed = le32_put(e->sealed),
		.algorithm = le32_put(e->algorithm),
	};

	memcpy(aad.store_id, home->store_id, sizeof(aad.store_id));
	return aad;
}

bool chunk_entry_sane(const struct chunk_entry *e)
{
	if (e->sealed == 0 || e->plain > CHUNK_BYTES_MAX)
		return false;
	if (e->algorithm == CHUNK_STORED)
		return e->sealed == e->plain;
	return e->algorithm == CHUNK_ZSTD && e->sealed < e->plain;
}

static uint32_t head_crc(const struct chunk_home *home, const struct frame_head *h)
{
	uint32_t crc = crc32c(0, home->salt, sizeof(home->salt));

	return crc32c(crc, h, offsetof(struct frame_head, crc));
}

void frame_head_put(const struct chunk_home *home, uint32_t index,
		    const struct chunk_entry *e, uint8_t *p)
{
	struct frame_head h = {
		.magic = le32_put(FRAME_MAGIC),
		.index = le32_put(index),
		.sealed = le32_put(e->sealed),
		.plain = le32_put(e->plain),
		.algorithm = e->algorithm,
	};

	assert(index < PACK_CHUNKS_MAX);
	assert(chunk_entry_sane(e));
	h.crc = le32_put(head_crc(home, &h));
	memcpy(p, &h, sizeof(h));
}

bool frame_head_get(const struct chunk_home *home, const uint8_t *p, uint32_t *ret_index,
		    struct chunk_entry *ret_entry)
{
	struct chunk_entry e;
	struct frame_head h;

	memcpy(&h, p, sizeof(h));
	if (le32_get(h.magic) != FRAME_MAGIC || le32_get(h.crc) != head_crc(home, &h))
		return false;
	e = (struct chunk_entry) { 0, le32_get(h.sealed), le32_get(h.plain),
				   h.algorithm };
	if (!chunk_entry_sane(&e) || le32_get(h.index) >= PACK_CHUNKS_MAX)
		return false;
	*ret_index = le32_get(h.index);
	*ret_entry = e;
	return true;
}

void chunk_seal(ZSTD_CCtx *z, const struct chunk_home *home, uint32_t index,
		const uint8_t *plain, size_t n, uint8_t *frame, struct chunk_entry *ret)
{
	uint8_t *sealed = frame + sizeof(struct frame_head);
	struct chunk_entry e = { .plain = (uint32_t)n, .algorithm = CHUNK_ZSTD };
	struct nonce nonce = nonce_counter(index);
	const uint8_t *in = sealed;
	struct chunk_aad aad;
	size_t got;

	assert(n > 0 && n <= CHUNK_BYTES_MAX);
	got = ZSTD_compress2(z, sealed, n - 1, plain, n);
	if (ZSTD_isError(got) || got == 0) {
		got = n;
		in = plain;
		e.algorithm = CHUNK_STORED;
	}
	e.sealed = (uint32_t)got;
	assert(chunk_entry_sane(&e));
	aad = aad_of(home, index, &e);
	aead_seal(home->aead, &nonce, span_of(&aad, sizeof(aad)), in, got, sealed,
		  sealed + got);
	frame_head_put(home, index, &e, frame);
	*ret = e;
}

int chunk_open(ZSTD_DCtx *z, const struct chunk_home *home, uint32_t index,
	       const struct chunk_entry *e, uint8_t *sealed, uint8_t *out)
{
	struct chunk_aad aad = aad_of(home, index, e);
	struct nonce nonce = nonce_counter(index);
	bool stored = e->algorithm == CHUNK_STORED;
	size_t got;
	int r;

	assert(chunk_entry_sane(e));
	r = aead_open(home->aead, &nonce, span_of(&aad, sizeof(aad)), sealed, e->sealed,
		      sealed + e->sealed, stored ? out : sealed);
	if (r < 0 || stored)
		return r;
	got = ZSTD_decompressDCtx(z, out, e->plain, sealed, e->sealed);
	if (ZSTD_getErrorCode(got) == ZSTD_error_memory_allocation)
		return -ENOMEM;
	return got == e->plain ? 0 : -EBADMSG;
}
