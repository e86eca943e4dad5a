/* pack_image.h - one pack file opened for reading: its directory in memory, its file, its
 * key. Not locked: once opened an image does not change. */
#ifndef ROPEFS_PACK_PACK_IMAGE_H
#define ROPEFS_PACK_PACK_IMAGE_H

#include "core/pack/chunk.h"

#define PACK_NAME_BYTES 40
void pack_name(char name[PACK_NAME_BYTES], uint64_t pack, const char *suffix);

struct pack_image {
	struct io_file *file;
	struct chunk_home home;
	uint64_t file_bytes;
	struct chunk_entry *chunks;
	uint32_t n;
	bool footer_ok; /* the signature verifies: footer is the truth */
	bool directory_ok; /* else chunks are what a walk over the frames found */
	bool remote; /* the file is in a bucket */
	bool io_failed; /* reading met errors of the disk: another try may do better */
	struct pack_footer footer;
	struct pack_image *next_closing;
};

struct pack_image_source {
	struct io *io;
	const struct keys *keys;
	uint64_t pack;
	bool medium; /* what the disk has, not the system's cache; by one thread */
	struct io_file
		*remote; /* this file instead of the folder's; the image's to close */
	/* Told of each thing wrong, even if the image opens all the same; or NULL. */
	void (*bad)(void *arg, const char *line);
	void *arg;
};

/* Opens pack's file. Damage to footer, directory or frame heads does not stop it as long as
 * the salt is known: then the chunks whose frames are found can be read.
 * -ENOENT, -E_CORRUPT, -E_NEWER, -ENOMEM, other errors of the io. */
int pack_image_open(const struct pack_image_source *src, struct pack_image **ret);
struct pack_image *pack_image_close(struct pack_image *img); /* NULL is fine */
static inline void pack_image_closep(struct pack_image **img)
{
	*img = pack_image_close(*img);
}

static inline bool pack_image_damaged(const struct pack_image *img)
{
	return !img->footer_ok || !img->directory_ok;
}

/* Sealed bytes of the chunks in it. */
uint64_t pack_image_stored_bytes(const struct pack_image *img);

/* What reading a chunk needs besides the image. */
struct chunk_scratch {
	ZSTD_DCtx *zstd;
	struct chunk_scratch *next;
	uint8_t frame[FRAME_BYTES_MAX];
};
int chunk_scratch_new(struct chunk_scratch **ret);
struct chunk_scratch *chunk_scratch_free(struct chunk_scratch *s); /* NULL is fine */
static inline void chunk_scratch_freep(struct chunk_scratch **s)
{
	*s = chunk_scratch_free(*s);
}

/* The one place that finds a chunk unusable: -E_CORRUPT with a sentence. */
int chunk_unusable(uint64_t pack, uint32_t index, const char *what);
/* 0 when the chunk is in the image, else -E_CORRUPT, or -EIO when the disk hid it. */
int pack_image_has(const struct pack_image *img, uint32_t index);
/* Reads the whole frame of a chunk that is there into frame, its head made from the entry.
 * -E_CORRUPT when the file ends before it does. */
int pack_image_frame(const struct pack_image *img, uint32_t index, uint8_t *frame);
/* Reads and opens a chunk that is there into out (entry->plain bytes). */
int pack_image_chunk(const struct pack_image *img, uint32_t index,
		     struct chunk_scratch *s, uint8_t *out);

/* --- raw structures, shared with inspect --- */
bool pack_header_sane(const struct pack_header *h);
bool pack_footer_sane(const struct pack_footer *f, uint64_t file_bytes);
bool pack_footer_signed(const struct pack_footer *f, const struct keys *keys);
struct chunk_entry pack_entry_get(const struct pack_entry *e);
struct pack_entry pack_entry_put(const struct chunk_entry *e);

#endif
