/* pack.h - packs: files of compressed, sealed chunks, written once, then never changed; and
 * the cache of decoded chunks.
 *
 * Layout (pack_format.h): header (magic, version, store id, pack number, salt), framed
 * chunks, a directory (offset, sizes, algorithm of each chunk), a footer signed with
 * Ed25519 over store id, pack number, chunk count, length, hash of the directory and hash
 * of the previous footer. A pack's key comes from its salt; a chunk's nonce is its index;
 * its AAD: store id, pack number, index, sizes, algorithm. A chunk is authenticated before
 * it is decompressed, and its output is bounded by CHUNK_BYTES_MAX.
 *
 * One thread writes (the checkpointer); any thread reads. */
#ifndef ROPEFS_PACK_PACK_H
#define ROPEFS_PACK_PACK_H

#include "core/base/buf.h"
#include "core/base/lane.h"
#include "core/io/io.h"
#include "core/keys/keys.h"

#define CHUNK_BYTES	131072u /* plaintext a chunk is filled up to */
#define CHUNK_BYTES_MAX CHUNK_BYTES
#define PACK_BYTES	(32u << 20) /* a pack is ended when it has reached this */

#define PACK_ID_BYTES 16

struct packs;
struct pack_info;

struct packs_opts {
	struct io *io;
	const struct keys *keys;
	int zstd_level; /* 1 by default */
	size_t cache_bytes; /* decoded chunks */
	/* Opens a pack that is in the bucket only (packs_note_remote()); NULL: it can't be. */
	int (*open_remote)(void *arg, const struct pack_info *info, struct io_file **ret);
	void *remote;
	/* super.next_pack; the greater of it and what is there wins */
	uint64_t next_pack;
	bool read_only;
};

int packs_open(const struct packs_opts *opts, struct packs **ret); /* folder "packs" */
struct packs *packs_close(struct packs *ps);
void packs_set_budget(struct packs *ps, size_t cache_bytes);
uint64_t packs_next(struct packs *ps);

/* --- writing --- */
struct chunk_place {
	uint64_t pack;
	uint32_t index;
	uint32_t off; /* within the chunk's plaintext */
};
struct pack_writer;
int pack_writer_new(struct packs *ps, struct pack_writer **ret);
/* Adds n (1..CHUNK_BYTES) bytes, never split: a chunk that they don't fit is ended first.
 * Their place is known at once; the bytes may be read once finish returned 0. */
int pack_writer_add(struct pack_writer *w, const uint8_t *p, size_t n,
		    struct chunk_place *ret);
/* What is added from now on goes to packs of that lane; 0 at first. */
void pack_writer_lane(struct pack_writer *w, unsigned lane);
/* What len bytes at off of a chunk take on disk, about; of a chunk under way by compressing a
 * part of it. len when this writer did not write it. */
uint64_t pack_writer_stored(struct pack_writer *w, const struct chunk_place *at,
			    uint32_t len);
/* Ends the chunk under way, of the lane, if it holds at least `min` bytes (a file ends here). */
int pack_writer_break(struct pack_writer *w, size_t min);
/* Ends chunks and packs, makes all packs of this writer durable (fdatasync, rename to their
 * names, sync of the folder) and readable, frees w. On failure: as abort. */
int pack_writer_finish(struct pack_writer *w);
/* Removes what was written, frees w. NULL is fine; returns NULL. */
struct pack_writer *pack_writer_abort(struct pack_writer *w);

/* --- reading --- */
/* Copies len bytes at off of a chunk's plaintext. -E_CORRUPT (names pack and chunk), -EIO,
 * -ENOENT (no such pack), -ENOMEM. */
int packs_read(struct packs *ps, uint64_t pack, uint32_t index, uint32_t off,
	       uint32_t len, uint8_t *out);
/* The same, but only when it takes no I/O: -EAGAIN when the chunk is not in the cache. */
int packs_read_cached(struct packs *ps, uint64_t pack, uint32_t index, uint32_t off,
		      uint32_t len, uint8_t *out);

/* A chunk of which all len bytes are wanted, decoded where they are: past the cache, which a long
 * read would fill with what nobody asks for again. 0: in the cache, or of another length: it is
 * to be read the other way; 1: done. Else the errors of packs_read(). */
int packs_read_whole(struct packs *ps, uint64_t pack, uint32_t index, uint32_t len,
		     uint8_t *out);

/* A decoded chunk that stays in memory until packs_unhold(): for reading many pieces of it
 * without a look-up each. */
struct chunk_hold {
	const uint8_t *bytes;
	uint32_t n;
	uint64_t pack;
	uint32_t index;
	struct cached_chunk *chunk; /* NULL: holds nothing */
};
/* nowait: -EAGAIN when the chunk is not in the cache. Else the errors of packs_read(). */
int packs_hold(struct packs *ps, uint64_t pack, uint32_t index, bool nowait,
	       struct chunk_hold *ret);
void packs_unhold(struct packs *ps, struct chunk_hold *h);
/* Copies from a held chunk. -E_CORRUPT: it is shorter. */
int chunk_hold_copy(const struct chunk_hold *h, uint32_t off, uint32_t len, uint8_t *out);
/* While pinned (counted), a pack that packs_remove() is told to remove stays readable, and
 * one that is rewritten keeps its old chunks. For reads planned under the engine lock and
 * done after it. -ENOENT. */
int packs_pin(struct packs *ps, uint64_t pack);
void packs_unpin(struct packs *ps, uint64_t pack);

/* --- upkeep (checkpointer thread) --- */
/* Why the bytes of a pack can't be had. */
enum pack_lost {
	PACK_THERE,
	PACK_NOT_UPLOADED, /* another device had them */
	PACK_DROPPED, /* the disk was full and the bucket away */
};
struct pack_info {
	uint64_t pack;
	uint64_t file_bytes;
	uint32_t chunks; /* in the directory, removed ones included */
	uint64_t stored_bytes; /* sealed bytes of the chunks still in it */
	/* Footer or directory does not verify, or nothing could be read at all: chunks and
	 * stored_bytes tell what was found, extents may name more. Leave it to fsck: it is
	 * never rewritten, and to remove it may lose what another tool could still save. */
	bool damaged;
	bool remote; /* only in the bucket */
	enum pack_lost lost; /* not even there */
	uint8_t lane;
	uint32_t rewrites;
	/* Hash of the footer: names exactly these bytes. Zeros when damaged. */
	uint8_t id[PACK_ID_BYTES];
};
/* Each published pack in rising order; a non-zero return of fn stops and is returned. */
int packs_each(struct packs *ps, int (*fn)(void *arg, const struct pack_info *info),
	       void *arg);
/* Sealed size of each chunk: ret[index], 0 for a removed one; ret has info.chunks places.
 * -E_CORRUPT when the pack is damaged, -EIO when that can't be told. */
int packs_chunk_sizes(struct packs *ps, uint64_t pack, uint32_t *ret);
/* Plaintext bytes of one chunk. -E_CORRUPT: there is no such chunk. */
int packs_chunk_plain(struct packs *ps, uint64_t pack, uint32_t index, uint32_t *ret);
int packs_remove(struct packs *ps, uint64_t pack);
/* Writes the pack anew with only the chunks whose bit is set in live, sealed bytes copied as
 * they are under the same number and salt, so that extents stay true; replaces the file
 * by rename. live has a bit (index & 7 of byte index / 8) for each of info.chunks.
 * -E_CORRUPT, and nothing changed, when the pack is damaged or lacks a live chunk. */
int packs_rewrite(struct packs *ps, uint64_t pack, const uint8_t *live);
/* The same of a damaged pack, which becomes whole by that: live are the chunks that can be read,
 * at least one. */
int packs_salvage(struct packs *ps, uint64_t pack, const uint8_t *live);

/* --- packs in a bucket --- */
/* A pack that is not here but there; nothing when it is here. */
int packs_note_remote(struct packs *ps, const struct pack_info *info);
/* In a set that is only read: what a newer state says of one, known or not. Whoever has the one
 * before pinned may go on with that. */
int packs_renew_remote(struct packs *ps, const struct pack_info *info);
/* The newer state has it no more. */
void packs_forget_remote(struct packs *ps, uint64_t pack);
/* Removes the file of a pack whose very bytes (id) are in the bucket, or are given up (lost).
 * Whoever has it pinned goes on with the file. -ESTALE: it is another one by now. */
int packs_evict(struct packs *ps, uint64_t pack, const uint8_t id[PACK_ID_BYTES],
		enum pack_lost lost);
/* A pack that is only in the bucket comes here again, rewritten as by packs_rewrite(). begin
 * fetches what is live of it, with no lock of the store held, and changes nothing else;
 * end (checkpointer's) makes it the pack if keep and it still is the same one: else -ESTALE. */
struct pack_fetch;
int packs_fetch_begin(struct packs *ps, uint64_t pack, const uint8_t id[PACK_ID_BYTES],
		      const uint8_t *live, struct pack_fetch **ret);
int packs_fetch_end(struct pack_fetch *f, bool keep);
/* The file of a pack that is here. -ENOENT. */
int packs_open_file(struct packs *ps, uint64_t pack, struct io_file **ret);
/* Reading the pack asks the network. */
bool packs_is_remote(struct packs *ps, uint64_t pack);
/* It is here, and its file has fewer than `bytes`. */
bool packs_is_small(struct packs *ps, uint64_t pack, uint64_t bytes);
/* LANE_NORMAL for one that was not opened yet. */
unsigned packs_lane(struct packs *ps, uint64_t pack);

struct packs_stats {
	uint64_t remote_packs, remote_bytes; /* of those only in the bucket */
	uint64_t packs, file_bytes, chunks_written, plain_bytes, sealed_bytes, hits,
		misses, cache_bytes;
};
uint64_t packs_local_bytes(struct packs *ps); /* .file_bytes */
void packs_get_stats(struct packs *ps, struct packs_stats *ret);

/* For fsck: signature, directory, and every chunk opened and unpacked. Calls bad for each
 * thing wrong with a sentence; returns 0 or -E_CORRUPT. bad_chunk, which may be NULL, is told of
 * each chunk that can't be had; PACK_ALL_CHUNKS: none of them. */
#define PACK_ALL_CHUNKS UINT32_MAX
struct pack_judge {
	void (*bad)(void *arg, const char *line);
	void (*bad_chunk)(void *arg, uint64_t pack, uint32_t index);
	/* NULL, or called after each chunk with the bytes it takes, without locks; a negative
	 * return stops and is returned. */
	int (*pace)(void *arg, uint64_t bytes);
	void *arg;
};
int packs_verify(struct packs *ps, uint64_t pack, const struct pack_judge *judge);
/* Reads all of an object that should be the very pack (info->pack, info->id); file is closed. 0;
 * -E_CORRUPT with a sentence; what reading said. */
int packs_verify_object(struct packs *ps, const struct pack_info *info,
			struct io_file *file);
/* For dump: one pack file (name is "packs/...") in words. keys may be NULL: then signature
 * and store are not checked. -E_CORRUPT after printing what can be when it is damaged. */
int pack_inspect(struct io *io, const struct keys *keys, const char *name,
		 void (*print)(void *arg, const char *line), void *arg);

#endif
