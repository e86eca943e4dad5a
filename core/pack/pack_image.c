/* pack_image.c - opens a pack file and finds its chunks.
 *
 *	footer verifies ── directory verifies ─────────────────────▶ whole
 *	       │                  └─ not: salt and count of the footer ─▶ walk over the frames
 *	       └─ not: salt of the header, which has its own checksum ──▶ walk over the frames
 *
 * Invariants:
 *  1. Nothing that a walk finds is believed: a frame's head only says where to look, the
 *     chunk's tag says whether it is the one asked for.
 *  2. A file that says, verified, to be another pack or of another store is never used. */
#include "core/pack/pack_image.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/base/crc.h"
#include "core/base/err.h"

#define SCAN_BYTES   ((size_t)65536)
#define SECTOR_BYTES 4096u

void pack_name(char name[PACK_NAME_BYTES], uint64_t pack, const char *suffix)
{
	snprintf(name, PACK_NAME_BYTES, "packs/%010llx.%s", (unsigned long long)pack,
		 suffix);
}

static void complain(const struct pack_image_source *src, const char *what)
{
	char line[300];

	if (!src->bad)
		return;
	snprintf(line, sizeof(line), "pack %010llx: %s", (unsigned long long)src->pack,
		 what);
	src->bad(src->arg, line);
}

/* The one place that finds a pack as a whole unusable. */
static int pack_unusable(const struct pack_image_source *src, const char *what)
{
	complain(src, what);
	return err_set(E_CORRUPT, "pack %010llx: %s; none of its chunks can be read",
		       (unsigned long long)src->pack, what);
}

int chunk_unusable(uint64_t pack, uint32_t index, const char *what)
{
	return err_set(E_CORRUPT, "pack %010llx, chunk %u: %s", (unsigned long long)pack,
		       index, what);
}

bool pack_header_sane(const struct pack_header *h)
{
	return !memcmp(h->magic, PACK_HEADER_MAGIC, sizeof(h->magic)) &&
	       le32_get(h->crc) == crc32c(0, h, offsetof(struct pack_header, crc));
}

bool pack_footer_sane(const struct pack_footer *f, uint64_t file_bytes)
{
	uint64_t chunks = le32_get(f->chunks), directory = le64_get(f->directory);

	return !memcmp(f->magic, PACK_FOOTER_MAGIC, sizeof(f->magic)) &&
	       le32_get(f->version) == PACK_VERSION && chunks <= PACK_CHUNKS_MAX &&
	       le64_get(f->file_bytes) == file_bytes &&
	       directory >= sizeof(struct pack_header) && directory < file_bytes &&
	       file_bytes - directory == chunks * sizeof(struct pack_entry) + sizeof(*f);
}

bool pack_footer_signed(const struct pack_footer *f, const struct keys *keys)
{
	uint8_t public_key[SIGN_PUBLIC_BYTES];

	keys_public(keys, public_key);
	return sign_verify(public_key, span_of(f, PACK_SIGNED_BYTES), f->signature) == 0;
}

struct chunk_entry pack_entry_get(const struct pack_entry *e)
{
	return (struct chunk_entry) { le64_get(e->off), le32_get(e->sealed),
				      le32_get(e->plain), e->algorithm };
}

struct pack_entry pack_entry_put(const struct chunk_entry *e)
{
	return (struct pack_entry) { .off = le64_put(e->off),
				     .sealed = le32_put(e->sealed),
				     .plain = le32_put(e->plain),
				     .algorithm = e->algorithm };
}

/* As io_pread_all, but notes errors of the disk: they are damage like any other, only
 * perhaps not for ever. */
static int image_pread(struct pack_image *img, void *p, size_t n, uint64_t off)
{
	int r = io_pread_all(img->file, p, n, off);

	if (r < 0 && r != -ENODATA)
		img->io_failed = true;
	return r;
}

/* --- the directory --- */

static bool entry_fits(const struct chunk_entry *e, uint64_t end)
{
	if (e->sealed == 0)
		return e->off == 0 && e->plain == 0;
	return chunk_entry_sane(e) && e->off >= sizeof(struct pack_header) &&
	       e->off < end && frame_bytes(e) <= end - e->off;
}

/* Reads the directory the footer tells of. 0, -EBADMSG or an error. */
static int directory_read(struct pack_image *img)
{
	uint64_t at = le64_get(img->footer.directory);
	size_t bytes = img->n * sizeof(struct pack_entry);
	_cleanup_free_ struct pack_entry *dir = malloc(bytes + 1);
	uint8_t hash[32];
	int r;

	assert(img->footer_ok);
	if (!dir)
		return -ENOMEM;
	r = image_pread(img, dir, bytes, at);
	if (r < 0)
		return r;
	hash256(span_of(dir, bytes), hash);
	if (memcmp(hash, img->footer.hash, sizeof(hash)))
		return -EBADMSG;
	for (uint32_t i = 0; i < img->n; i++) {
		img->chunks[i] = pack_entry_get(&dir[i]);
		if (!entry_fits(&img->chunks[i], at))
			return -EBADMSG;
	}
	img->directory_ok = true;
	return 0;
}

static int chunks_resize(struct pack_image *img, uint32_t n)
{
	struct chunk_entry *more;

	assert(n <= PACK_CHUNKS_MAX);
	more = realloc(img->chunks, MAX(n, 1u) * sizeof(*more));
	if (!more)
		return -ENOMEM;
	img->chunks = more;
	if (n > img->n)
		memset(more + img->n, 0, (n - img->n) * sizeof(*more));
	img->n = n;
	return 0;
}

/* --- the walk --- */

/* The first place at or after off where a frame's head of this pack is, or file_bytes. */
static uint64_t frame_find(struct pack_image *img, uint8_t *window, uint64_t off)
{
	static const le32 magic = { { 0xa3, 0xf7, 0x1e, 0xc4 } };
	const size_t head = sizeof(struct frame_head);
	struct chunk_entry e;
	uint32_t index;

	assert(le32_get(magic) == FRAME_MAGIC);
	while (off + FRAME_BYTES_MIN <= img->file_bytes) {
		size_t n = (size_t)MIN(SCAN_BYTES, img->file_bytes - off);
		uint8_t *p = window;

		if (image_pread(img, window, n, off) < 0) {
			off = align_up(off + 1, SECTOR_BYTES);
			continue;
		}
		while ((p = memmem(p, n - (size_t)(p - window), &magic, sizeof(magic)))) {
			if ((size_t)(p - window) + head > n)
				break;
			if (frame_head_get(&img->home, p, &index, &e))
				return off + (uint64_t)(p - window);
			p++;
		}
		if (n < SCAN_BYTES)
			break;
		off += n - head + 1;
	}
	return img->file_bytes;
}

/* Fills img->chunks from the frames themselves. count is what the footer promises, or 0. */
static int frames_walk(struct pack_image *img, uint32_t count)
{
	_cleanup_free_ uint8_t *window = malloc(SCAN_BYTES);
	uint64_t off = sizeof(struct pack_header);
	uint8_t head[sizeof(struct frame_head)];
	int r;

	if (!window)
		return -ENOMEM;
	img->n = 0;
	r = chunks_resize(img, count);
	while (r == 0 && off + FRAME_BYTES_MIN <= img->file_bytes) {
		struct chunk_entry e;
		uint32_t index;

		if (image_pread(img, head, sizeof(head), off) < 0 ||
		    !frame_head_get(&img->home, head, &index, &e)) {
			off = frame_find(img, window, off + 1);
			continue;
		}
		e.off = off;
		off += frame_bytes(&e);
		if (off > img->file_bytes)
			break;
		if (index >= img->n && !count)
			r = chunks_resize(img, index + 1);
		if (r == 0 && index < img->n && !img->chunks[index].sealed)
			img->chunks[index] = e;
	}
	return r;
}

/* --- open --- */

static int identity_check(const struct pack_image_source *src, const uint8_t *store_id,
			  le64 pack)
{
	if (memcmp(store_id, keys_store_id(src->keys), STORE_ID_BYTES))
		return pack_unusable(src, "the file belongs to another store");
	if (le64_get(pack) != src->pack)
		return pack_unusable(src, "the file holds another pack");
	return 0;
}

/* Reads header and footer and settles on a salt. */
static int ends_read(const struct pack_image_source *src, struct pack_image *img)
{
	struct pack_header h = { 0 };
	bool header_ok;
	int r;

	/* In the bucket the footer is enough, and has come with the directory. */
	header_ok = !img->remote && image_pread(img, &h, sizeof(h), 0) == 0 &&
		    pack_header_sane(&h);
	if (header_ok && le32_get(h.version) > PACK_VERSION)
		return err_set(E_NEWER,
			       "pack %010llx has format version %u, this ropefs "
			       "reads %u; use a newer one",
			       (unsigned long long)src->pack, le32_get(h.version),
			       PACK_VERSION);
	if (img->file_bytes >= sizeof(h) + sizeof(img->footer) &&
	    image_pread(img, &img->footer, sizeof(img->footer),
			img->file_bytes - sizeof(img->footer)) == 0)
		img->footer_ok = pack_footer_sane(&img->footer, img->file_bytes) &&
				 pack_footer_signed(&img->footer, src->keys);

	if (img->io_failed && (img->remote || (!img->footer_ok && !header_ok)))
		return img->remote ? -E_REMOTE_AWAY : -EIO;
	if (!img->footer_ok && !header_ok)
		return pack_unusable(src, "neither header nor footer verifies");
	if (img->footer_ok)
		r = identity_check(src, img->footer.store_id, img->footer.pack);
	else
		r = identity_check(src, h.store_id, h.pack);
	if (r < 0)
		return r;
	memcpy(img->home.salt, img->footer_ok ? img->footer.salt : h.salt,
	       KEY_SALT_BYTES);
	memcpy(img->home.store_id, keys_store_id(src->keys), STORE_ID_BYTES);
	img->home.pack = src->pack;
	if (!img->remote &&
	    (!header_ok || memcmp(h.salt, img->home.salt, KEY_SALT_BYTES)))
		complain(src, "the header does not verify (the footer stands in for it)");
	if (!img->footer_ok)
		complain(src, "the footer does not verify (chunks are found without it)");
	return 0;
}

static int chunks_find(const struct pack_image_source *src, struct pack_image *img)
{
	uint32_t count = 0;
	int r;

	if (img->footer_ok) {
		count = le32_get(img->footer.chunks);
		r = chunks_resize(img, count);
		if (r == 0)
			r = directory_read(img);
		if (r == 0 || r == -ENOMEM || img->remote)
			return r;
		complain(src, "the directory does not verify (frames stand in for it)");
	}
	return frames_walk(img, count);
}

static int image_read(const struct pack_image_source *src, struct pack_image *img)
{
	int r = ends_read(src, img);

	if (r == 0)
		r = keys_aead(src->keys, KEY_PACK, img->home.salt, &img->home.aead);
	if (r == 0)
		r = chunks_find(src, img);
	if (r == 0 && img->remote && pack_image_damaged(img))
		r = pack_unusable(src, "what the bucket gave does not verify");
	return r;
}

/* What a bad line gave may be kept somewhere near: not the next time. */
static void ends_forget(struct pack_image *img)
{
	void (*forget)(struct io_file * f, uint64_t off) = img->file->ops->forget;

	forget(img->file, img->file_bytes - sizeof(img->footer));
	if (img->footer_ok)
		forget(img->file, le64_get(img->footer.directory));
	aead_free(img->home.aead);
	img->home.aead = NULL;
	img->footer_ok = false;
}

int pack_image_open(const struct pack_image_source *src, struct pack_image **ret)
{
	_cleanup_(pack_image_closep) struct pack_image *img = calloc(1, sizeof(*img));
	char name[PACK_NAME_BYTES];
	int r = 0;

	assert(src->io && src->keys);
	if (!img)
		return -ENOMEM;
	img->remote = src->remote != NULL;
	img->file = src->remote;
	pack_name(name, src->pack, "pack");
	if (!img->remote)
		r = io_open(src->io, name, src->medium ? IO_MEDIUM : IO_READ, &img->file);
	if (!img->remote && io_is_no_file(r))
		return pack_unusable(src, err_detail());
	if (r == 0)
		r = io_size(img->file, &img->file_bytes);
	if (r == 0)
		r = image_read(src, img);
	if ((r == -E_CORRUPT || r == -EBADMSG) && img->file->ops->forget &&
	    img->file_bytes >= sizeof(img->footer)) {
		ends_forget(img);
		r = image_read(src, img);
	}
	if (r < 0)
		return r;
	*ret = img;
	img = NULL;
	return 0;
}

struct pack_image *pack_image_close(struct pack_image *img)
{
	if (!img)
		return NULL;
	io_closep(&img->file);
	aead_free(img->home.aead);
	free(img->chunks);
	free(img);
	return NULL;
}

uint64_t pack_image_stored_bytes(const struct pack_image *img)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < img->n; i++)
		sum += img->chunks[i].sealed;
	return sum;
}

/* --- chunks --- */

int chunk_scratch_new(struct chunk_scratch **ret)
{
	struct chunk_scratch *s = malloc(sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->next = NULL;
	s->zstd = ZSTD_createDCtx();
	if (!s->zstd) {
		free(s);
		return -ENOMEM;
	}
	*ret = s;
	return 0;
}

struct chunk_scratch *chunk_scratch_free(struct chunk_scratch *s)
{
	if (s)
		ZSTD_freeDCtx(s->zstd);
	free(s);
	return NULL;
}

int pack_image_has(const struct pack_image *img, uint32_t index)
{
	if (index < img->n && img->chunks[index].sealed)
		return 0;
	if (img->io_failed)
		return -EIO;
	return chunk_unusable(img->home.pack, index,
			      pack_image_damaged(img) ? "lost in a damaged pack"
						      : "not in this pack");
}

int pack_image_frame(const struct pack_image *img, uint32_t index, uint8_t *frame)
{
	const struct chunk_entry *e = &img->chunks[index];
	const size_t head = sizeof(struct frame_head);
	int r;

	assert(index < img->n && e->sealed);
	r = io_pread_all(img->file, frame + head, frame_bytes(e) - head, e->off + head);
	if (r == -ENODATA)
		return chunk_unusable(img->home.pack, index,
				      "the file is cut off before its end");
	if (r < 0)
		return r;
	frame_head_put(&img->home, index, e, frame);
	return 0;
}

int pack_image_chunk(const struct pack_image *img, uint32_t index,
		     struct chunk_scratch *s, uint8_t *out)
{
	int r = pack_image_frame(img, index, s->frame);

	if (r < 0)
		return r;
	r = chunk_open(s->zstd, &img->home, index, &img->chunks[index],
		       s->frame + sizeof(struct frame_head), out);
	if (r == -EBADMSG && img->file->ops->forget) { /* a bad line, perhaps */
		img->file->ops->forget(img->file, img->chunks[index].off +
							  sizeof(struct frame_head));
		r = pack_image_frame(img, index, s->frame);
		if (r < 0)
			return r;
		r = chunk_open(s->zstd, &img->home, index, &img->chunks[index],
			       s->frame + sizeof(struct frame_head), out);
	}
	if (r == -EBADMSG)
		return chunk_unusable(img->home.pack, index,
				      img->remote ? "what the bucket gave does not verify"
						  : "its bytes on disk do not verify");
	return r;
}
