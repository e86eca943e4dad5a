/* pack_fixture.h - packs on a simulated disk beside a plain array of what was added to them. */
#ifndef ROPEFS_TESTS_UNIT_PACK_FIXTURE_H
#define ROPEFS_TESTS_UNIT_PACK_FIXTURE_H

#include "core/io/io_sim.h"
#include "core/pack/pack_priv.h"
#include "tests/lib/suite.h"

#define PIECES_MAX 4096

/* One run of bytes given to a writer, and where it was put. */
struct piece {
	struct chunk_place at;
	size_t off; /* in model.bytes */
	uint32_t n;
};

struct model {
	struct buf bytes;
	struct piece pieces[PIECES_MAX];
	size_t n;
};

struct fixture {
	struct io *io;
	struct keys *keys;
	struct packs *ps;
	struct rng rng;
	size_t cache_bytes;
	struct model model;
};

int packs_try_open(struct fixture *f);
struct fixture *fixture_with(uint64_t salt, enum cipher cipher);
struct fixture *fixture_new(uint64_t salt);
void fixture_reopen(struct fixture *f);
void fixture_free(struct fixture *f);
/* Random bytes, or words that compress. */
void bytes_make(struct rng *rng, uint8_t *p, size_t n);
/* Adds n made-up bytes to writer and model. */
int model_add(struct fixture *f, struct pack_writer *w, uint32_t n);
/* A pack of chunks pieces, each a chunk of its own, of up to bytes_max bytes. */
int model_pack(struct fixture *f, unsigned chunks, uint32_t bytes_max);
/* Reads a piece: 1 it is exact, 0 the pack said that it is corrupt or missing. Any other
 * answer, above all other bytes, is a failure. */
int piece_read(struct fixture *f, const struct piece *p);
size_t pieces_readable(struct fixture *f);
#define ck_all_readable(f) ck_assert_uint_eq(pieces_readable(f), (f)->model.n)
unsigned files_count(struct fixture *f);
void bad_count(void *arg, const char *line);
int verify(struct fixture *f, uint64_t pack);
void file_load(struct fixture *f, uint64_t pack, struct buf *ret);
void file_store(struct fixture *f, uint64_t pack, const uint8_t *p, size_t n);

struct seen {
	struct pack_info info[200];
	unsigned n;
};
int seen_add(void *arg, const struct pack_info *info); /* for packs_each() */

#endif
