/* fuzz_pack.c - a pack file (core/pack): its ends, directory, frames and chunks. An input is the
 * file. */
#include "core/base/crc.h"
#include "core/pack/pack_image.h"
#include "tests/fuzz/store.h"

#define PACK 5u

static void say_nothing(void *arg, const char *line)
{
	(void)arg;
	(void)strlen(line);
}

static void read_chunks(const struct pack_image *img)
{
	static uint8_t out[CHUNK_BYTES_MAX];
	_cleanup_(chunk_scratch_freep) struct chunk_scratch *s = NULL;

	FUZZ_MUST(chunk_scratch_new(&s));
	for (uint32_t i = 0; i < MIN(img->n, 64u); i++)
		if (pack_image_has(img, i) == 0)
			pack_image_chunk(img, i, s, out);
	pack_image_stored_bytes(img);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct pack_image_source src = { .keys = fuzz_keys(),
					 .pack = PACK,
					 .bad = say_nothing };
	struct pack_image *img = NULL;
	char name[PACK_NAME_BYTES];

	FUZZ_MUST(io_sim_new(1, &src.io));
	FUZZ_MUST(src.io->ops->mkdir(src.io, "packs"));
	pack_name(name, PACK, "pack");
	fuzz_put_file(src.io, name, p, n);
	if (pack_image_open(&src, &img) == 0)
		read_chunks(img);
	pack_image_close(img);
	pack_inspect(src.io, fuzz_keys(), name, say_nothing, NULL);
	pack_inspect(src.io, NULL, name, say_nothing, NULL);
	io_free(src.io);
	return 0;
}

/* --- mending --- */

static void mend_header(struct pack_header *h)
{
	memcpy(h->magic, PACK_HEADER_MAGIC, sizeof(h->magic));
	h->version = le32_put(PACK_VERSION);
	memcpy(h->store_id, keys_store_id(fuzz_keys()), STORE_ID_BYTES);
	h->pack = le64_put(PACK);
	h->crc = le32_put(crc32c(0, h, offsetof(struct pack_header, crc)));
}

/* The tag and the head's sum of a frame at p, if it is one; returns its length, 0: none. */
static size_t mend_frame(const struct chunk_home *home, uint8_t *p, size_t n)
{
	struct chunk_aad aad = { .pack = le64_put(home->pack) };
	uint8_t *sealed = p + sizeof(struct frame_head);
	struct frame_head h;
	struct chunk_entry e;
	struct nonce nonce;

	if (n < sizeof(h))
		return 0;
	memcpy(&h, p, sizeof(h));
	e = (struct chunk_entry) { 0, le32_get(h.sealed), le32_get(h.plain),
				   h.algorithm };
	if (le32_get(h.magic) != FRAME_MAGIC || !chunk_entry_sane(&e) ||
	    frame_bytes(&e) > n || le32_get(h.index) >= PACK_CHUNKS_MAX)
		return 0;
	memcpy(aad.store_id, home->store_id, sizeof(aad.store_id));
	aad.index = h.index;
	aad.plain = h.plain;
	aad.sealed = h.sealed;
	aad.algorithm = le32_put(h.algorithm);
	nonce = nonce_counter(le32_get(h.index));
	aead_seal(home->aead, &nonce, span_of(&aad, sizeof(aad)), sealed, e.sealed,
		  sealed, sealed + e.sealed);
	frame_head_put(home, le32_get(h.index), &e, p);
	return frame_bytes(&e);
}

static void mend_footer(uint8_t *p, size_t n, const struct pack_header *h)
{
	struct pack_footer *f = (struct pack_footer *)(p + n - sizeof(*f));
	size_t room = n - sizeof(*h) - sizeof(*f);
	size_t chunks =
		MIN((size_t)le32_get(f->chunks), room / sizeof(struct pack_entry));

	memcpy(f->magic, PACK_FOOTER_MAGIC, sizeof(f->magic));
	f->version = le32_put(PACK_VERSION);
	f->chunks = le32_put((uint32_t)chunks);
	memcpy(f->store_id, h->store_id, sizeof(f->store_id));
	f->pack = h->pack;
	memcpy(f->salt, h->salt, sizeof(f->salt));
	f->file_bytes = le64_put(n);
	f->directory = le64_put(n - sizeof(*f) - chunks * sizeof(struct pack_entry));
	hash256(span_of(p + le64_get(f->directory), chunks * sizeof(struct pack_entry)),
		f->hash);
	keys_sign(fuzz_keys(), span_of(f, PACK_SIGNED_BYTES), f->signature);
}

void fuzz_mend(uint8_t *p, size_t n)
{
	struct chunk_home home = { .pack = PACK };
	struct pack_header *h = (struct pack_header *)p;
	size_t at = sizeof(*h), frame;

	if (n < sizeof(*h) + sizeof(struct pack_footer))
		return;
	mend_header(h);
	memcpy(home.store_id, h->store_id, sizeof(home.store_id));
	memcpy(home.salt, h->salt, sizeof(home.salt));
	FUZZ_MUST(keys_aead(fuzz_keys(), KEY_PACK, home.salt, &home.aead));
	while ((frame = mend_frame(&home, p + at, n - at)) > 0)
		at += frame;
	aead_free(home.aead);
	mend_footer(p, n, h);
}

/* --- seeds --- */

static void add_chunk(struct buf *file, struct buf *directory,
		      const struct chunk_home *home, struct span plain)
{
	static uint8_t frame[FRAME_BYTES_MAX];
	ZSTD_CCtx *z = ZSTD_createCCtx();
	struct chunk_entry e;
	struct pack_entry entry;

	chunk_seal(z, home, (uint32_t)(directory->n / sizeof(entry)), plain.p, plain.n,
		   frame, &e);
	e.off = file->n;
	entry = pack_entry_put(&e);
	FUZZ_MUST(buf_append(file, frame, frame_bytes(&e)));
	FUZZ_MUST(buf_append(directory, &entry, sizeof(entry)));
	ZSTD_freeCCtx(z);
}

static void give_pack(fuzz_give_fn give, void *arg, const char *name, unsigned chunks)
{
	struct buf file = BUF_INIT, directory = BUF_INIT;
	struct chunk_home home = { .pack = PACK };
	struct pack_footer f = { .chunks = le32_put(chunks) };
	struct pack_header h = { .salt = "a pack's salt..." };
	uint8_t text[600];

	mend_header(&h);
	memcpy(home.store_id, h.store_id, sizeof(home.store_id));
	memcpy(home.salt, h.salt, sizeof(home.salt));
	FUZZ_MUST(keys_aead(fuzz_keys(), KEY_PACK, home.salt, &home.aead));
	FUZZ_MUST(buf_append(&file, &h, sizeof(h)));
	for (unsigned i = 0; i < chunks; i++) {
		memset(text, 'a' + (int)i, sizeof(text));
		add_chunk(&file, &directory, &home,
			  span_of(text, i % 2 ? 7 : sizeof(text)));
	}
	FUZZ_MUST(buf_append(&file, directory.p, directory.n));
	FUZZ_MUST(buf_append(&file, &f, sizeof(f)));
	fuzz_mend(file.p, file.n);
	give(arg, name, file.p, file.n);
	aead_free(home.aead);
	buf_release(&file);
	buf_release(&directory);
}

void fuzz_seeds(fuzz_give_fn give, void *arg)
{
	give_pack(give, arg, "one", 1);
	give_pack(give, arg, "two", 2);
	give_pack(give, arg, "five", 5);
}
