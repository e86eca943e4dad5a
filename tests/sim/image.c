/* image.c - checks the bytes on a simulated disk as they lie there: the newest superblock,
 * every page it reaches, every extent and where it points, each pack's directory, the map of
 * free pages, and that the log begins no later than the superblock says. It shares the
 * formats, the keys and their derivation with the engine, and nothing else. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/catalog/btree_format.h"
#include "core/catalog/row_format.h"
#include "core/pack/pack_format.h"
#include "core/page/page_format.h"
#include "core/rope/rope_format.h"
#include "tests/sim/world.h"

#define IMAGE_PAGES_MAX 4096u

struct image {
	struct world *w;
	struct io *io;
	struct io_file *pages;
	const struct keys *keys;
	struct aead *aead;
	struct super_body super;
	uint64_t n_pages;
	uint8_t seen[IMAGE_PAGES_MAX];
	uint64_t inodes;
};

#define need(im, ok, ...) world_check((im)->w, ok, "on the disk: " __VA_ARGS__)

static size_t read_file(struct image *im, const char *name, void *p, size_t n,
			uint64_t at)
{
	struct io_file *f;
	ssize_t got;

	if (io_open(im->io, name, IO_READ, &f) < 0)
		return 0;
	got = io_pread(f, p, n, at);
	io_closep(&f);
	return got > 0 ? (size_t)got : 0;
}

/* --- superblock --- */

static bool super_open(struct image *im, unsigned slot, const struct superblock *sb,
		       struct super_body *ret)
{
	struct {
		struct page_aad page;
		struct super_head head;
	} aad = { .page.page = le64_put(slot), .head = sb->head };

	memcpy(aad.page.store, keys_store_id(im->keys), STORE_ID_BYTES);
	return aead_open(im->aead, &sb->nonce, span_of(&aad, sizeof(aad)), sb->sealed,
			 sizeof(sb->sealed), sb->tag, (uint8_t *)ret) == 0;
}

static bool super_search(struct image *im)
{
	bool found = false;

	for (unsigned i = 0; i < SUPER_SLOTS * SUPER_COPIES; i++) {
		unsigned slot = i / SUPER_COPIES;
		struct superblock sb;
		struct super_body body;
		uint64_t at = slot * PAGE_BYTES + i % SUPER_COPIES * SUPER_COPY_BYTES;

		if (io_pread(im->pages, &sb, sizeof(sb), at) != sizeof(sb) ||
		    !super_open(im, slot, &sb, &body))
			continue;
		if (!found || le64_get(body.generation) > le64_get(im->super.generation))
			im->super = body;
		found = true;
	}
	return found;
}

static void super_find(struct image *im)
{
	need(im, super_search(im), "no superblock verifies");
	im->n_pages = le64_get(im->super.pages);
	need(im, im->n_pages <= IMAGE_PAGES_MAX, "%llu pages",
	     (unsigned long long)im->n_pages);
}

/* --- pages --- */

/* Reads the page; false when it was seen before, under another clone. */
static bool page_open(struct image *im, const struct noderef *ref, uint8_t *image)
{
	uint64_t page = le64_get(ref->at);
	struct page_aad aad = { .page = le64_put(page) };
	uint8_t sealed[PAGE_BYTES];

	need(im, !noderef_in_memory(ref), "a page points into memory");
	need(im, page >= SUPER_SLOTS && page < im->n_pages, "a reference to page %llu",
	     (unsigned long long)page);
	memcpy(aad.store, keys_store_id(im->keys), sizeof(aad.store));
	need(im,
	     io_pread(im->pages, sealed, sizeof(sealed), page * PAGE_BYTES) == PAGE_BYTES,
	     "page %llu is behind the end", (unsigned long long)page);
	need(im,
	     aead_open(im->aead, (const struct nonce *)(const void *)sealed,
		       span_of(&aad, sizeof(aad)), sealed + AEAD_NONCE_BYTES,
		       PAGE_PAYLOAD, ref->tag, image) == 0,
	     "page %llu does not verify", (unsigned long long)page);
	im->seen[page]++;
	return im->seen[page] == 1;
}

/* --- extents --- */

static void chunk_check(struct image *im, const struct extent *e)
{
	struct pack_footer f;
	struct pack_entry entry;
	struct io_file *file;
	uint64_t bytes = 0, end = (uint64_t)le32_get(e->off) + le32_get(e->len);
	uint32_t index = extent_chunk_index(e);
	char name[64];

	snprintf(name, sizeof(name), "packs/%010llx.pack",
		 (unsigned long long)extent_pack(e));
	if (io_open(im->io, name, IO_READ, &file) < 0) {
		need(im, im->w->bucket, "%s is not there", name);
		return; /* it was evicted: the reading of all files looks */
	}
	if (io_size(file, &bytes) < 0 || bytes < sizeof(f) ||
	    io_pread(file, &f, sizeof(f), bytes - sizeof(f)) != sizeof(f))
		bytes = 0;
	need(im,
	     bytes && le64_get(f.file_bytes) == bytes &&
		     le64_get(f.pack) == extent_pack(e),
	     "%s has no footer of its own", name);
	need(im, index < le32_get(f.chunks), "%s has no chunk %u", name, index);
	need(im,
	     io_pread(file, &entry, sizeof(entry),
		      le64_get(f.directory) + index * sizeof(entry)) == sizeof(entry),
	     "%s has no directory", name);
	io_closep(&file);
	need(im, le32_get(entry.sealed) > 0, "chunk %u of %s was dropped", index, name);
	need(im, end <= le32_get(entry.plain), "chunk %u of %s has fewer bytes", index,
	     name);
}

static uint64_t extents_check(struct image *im, const struct extent *e, size_t n)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < n; i++, e++) {
		need(im, extent_kind(e) != EXTENT_HOT, "an extent points into memory");
		need(im, extent_bytes(e) > 0, "an extent without bytes");
		if (extent_kind(e) == EXTENT_CHUNK)
			chunk_check(im, e);
		bytes += extent_bytes(e);
	}
	return bytes;
}

/* --- trees --- */

/* Returns the bytes below, or UINT64_MAX when the page was counted before. */
static uint64_t rope_check_page(struct image *im, const struct noderef *ref,
				unsigned level)
{
	uint8_t image[PAGE_PAYLOAD] __attribute__((aligned(8)));
	const struct rope_inner *in = (const void *)image;
	const struct rope_leaf *leaf = (const void *)image;
	uint64_t bytes = 0;

	if (!page_open(im, ref, image))
		return UINT64_MAX;
	need(im, in->head.level == level, "a rope's node of another level");
	if (level == 0) {
		need(im, in->head.kind == NODE_ROPE_LEAF, "no leaf of a rope");
		return extents_check(im, leaf->ext, le16_get(leaf->head.n));
	}
	need(im, in->head.kind == NODE_ROPE_INNER, "no inner node of a rope");
	for (unsigned i = 0; i < le16_get(in->head.n); i++) {
		uint64_t below = rope_check_page(im, &in->entry[i].child, level - 1);

		need(im, below == UINT64_MAX || below == le64_get(in->entry[i].bytes),
		     "an inner node of a rope counts wrongly");
		bytes += le64_get(in->entry[i].bytes);
	}
	return bytes;
}

static void inode_check(struct image *im, const struct inode_row *row)
{
	const struct rope *rope = &row->rope;
	uint64_t bytes;

	im->inodes++;
	bytes = rope->levels ? rope_check_page(im, &rope->u.root, rope->levels - 1u)
			     : extents_check(im, rope->u.ext, rope->n_inline);
	need(im, bytes == UINT64_MAX || bytes == rope_bytes(rope),
	     "a file of %llu bytes has %llu", (unsigned long long)rope_bytes(rope),
	     (unsigned long long)bytes);
}

static void catalog_check(struct image *im, const struct noderef *ref)
{
	uint8_t image[PAGE_PAYLOAD] __attribute__((aligned(8)));
	const struct btree_node *node = (const void *)image;

	need(im, page_open(im, ref, image), "a page of the catalog is in it twice");
	for (unsigned i = 0; i < le16_get(node->head.n); i++) {
		unsigned off = le16_get(node->slots[i].off);
		const struct btree_cell *cell = (const void *)(image + off);
		const uint8_t *value = cell->bytes + le16_get(cell->key_n);
		union {
			struct noderef child;
			struct inode_row row;
		} v;

		need(im,
		     off + sizeof(*cell) + le16_get(cell->key_n) +
				     le16_get(cell->value_n) <=
			     PAGE_PAYLOAD,
		     "a cell beyond its page");
		memcpy(&v, value, MIN(sizeof(v), (size_t)le16_get(cell->value_n)));
		if (node->head.kind == NODE_BTREE_INNER)
			catalog_check(im, &v.child);
		else if (cell->bytes[0] == ROW_INODE)
			inode_check(im, &v.row);
	}
}

/* --- free space, and the log --- */

/* What is reached is marked as used, by pages that are reached by nothing else. */
static void bitmap_check(struct image *im)
{
	struct noderef at = im->super.bitmap;
	uint64_t *words = calloc(IMAGE_PAGES_MAX / 64 + BITMAP_WORDS, sizeof(*words));

	for (uint64_t first = 0; first * 64 < im->n_pages;) {
		struct bitmap_page bp;

		need(im, page_open(im, &at, (uint8_t *)&bp),
		     "the bitmap is in a page in use");
		need(im, le64_get(bp.first_word) == first, "the bitmap has a hole");
		for (uint32_t i = 0; i < le32_get(bp.n_words); i++)
			words[first + i] = le64_get(bp.words[i]);
		first += le32_get(bp.n_words);
		at = bp.next;
	}
	for (uint64_t page = 0; page < im->n_pages; page++)
		need(im, !im->seen[page] || words[page / 64] >> page % 64 & 1,
		     "page %llu is in use and marked as free", (unsigned long long)page);
	free(words);
}

struct log_begin {
	struct image *im;
	uint64_t first_lsn;
};

static int segment_look(void *arg, const char *name)
{
	struct log_begin *b = arg;
	char path[300];
	le64 first;

	if (!strstr(name, ".wal"))
		return 0;
	snprintf(path, sizeof(path), "wal/%s", name);
	if (read_file(b->im, path, &first, sizeof(first), 64) == sizeof(first))
		b->first_lsn = MIN(b->first_lsn, le64_get(first));
	return 0;
}

static void log_check(struct image *im)
{
	struct log_begin b = { im, UINT64_MAX };
	uint64_t lsn = le64_get(im->super.lsn);

	im->io->ops->list(im->io, "wal", segment_look, &b);
	need(im, b.first_lsn <= lsn + 1,
	     "the log begins with LSN %llu, the trees end with %llu",
	     (unsigned long long)b.first_lsn, (unsigned long long)lsn);
}

/* Of all worlds: they descend from one store. */
static const struct keys *keys_of(struct io *io)
{
	static struct keys *keys;
	struct header h;

	if (!keys && (header_read(io, &h, NULL) < 0 ||
		      keys_open(sim_key, h.cipher, h.store_id, h.wrapped, &keys) < 0))
		abort();
	return keys;
}

void image_check(struct world *w, struct io *io)
{
	struct image im = { .w = w, .io = io, .keys = keys_of(io) };

	sim_totals.images++;
	if (keys_aead(im.keys, KEY_PAGE, NULL, &im.aead) < 0 ||
	    io_open(io, PAGEFILE_NAME, IO_READ, &im.pages) < 0)
		abort();
	super_find(&im);
	catalog_check(&im, &im.super.catalog);
	bitmap_check(&im);
	log_check(&im);
	need(&im, im.inodes == le64_get(im.super.inodes),
	     "%llu inodes, the superblock counts %llu", (unsigned long long)im.inodes,
	     (unsigned long long)le64_get(im.super.inodes));
	io_closep(&im.pages);
	aead_free(im.aead);
}

bool image_has_super(struct world *w, struct io *io, const char *name)
{
	struct image im = { .w = w, .io = io, .keys = keys_of(io) };
	bool found;

	if (io_open(io, name, IO_READ, &im.pages) < 0)
		return false;
	if (keys_aead(im.keys, KEY_PAGE, NULL, &im.aead) < 0)
		abort();
	found = super_search(&im);
	io_closep(&im.pages);
	aead_free(im.aead);
	return found;
}
