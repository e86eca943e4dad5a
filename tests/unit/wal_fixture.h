/* wal_fixture.h - the log on a simulated disk, beside a list of what was appended. */
#ifndef ROPEFS_TESTS_UNIT_WAL_FIXTURE_H
#define ROPEFS_TESTS_UNIT_WAL_FIXTURE_H

#include "core/io/io_sim.h"
#include "core/wal/wal.h"
#include "tests/lib/suite.h"

#define SEGMENT	      (9 * MIB)
#define FIRST_SEGMENT "wal/0000000000000001.wal"

/* What was appended under an LSN: enough to make the body again. */
struct rec {
	uint64_t seed;
	uint32_t bytes;
	uint8_t type;
	bool more;
};

struct fixture {
	struct io *io;
	struct keys *keys;
	struct wal *w;
	struct wal_opts opts;
	struct rec *recs; /* by LSN; 0 is not used */
	uint64_t n; /* last LSN appended */
	uint64_t cap;
	uint64_t from_lsn; /* of the next replay */
	uint64_t replayed; /* last LSN given by it */
	struct wal_replay_stats stats;
	int replay_result;
};

/* fixture_init: the log is not open yet. fixture_new: it is opened, replayed and started. */
void fixture_init(struct fixture *f, uint64_t seed);
struct fixture fixture_new(uint64_t seed);
void fixture_free(struct fixture *f);
/* Opens and replays, and compares with the list. Returns the first error. */
int fixture_recover(struct fixture *f);
/* The list forgets what was lost. */
int fixture_start(struct fixture *f);
/* The machine goes off and on; what the log then says is in f->stats. */
void fixture_cut(struct fixture *f);
/* The same, but only the process goes. */
void fixture_kill(struct fixture *f);
/* Appends a record. try_put: what wal_reserve() says. */
int try_put(struct fixture *f, struct rec rec);
void put(struct fixture *f, uint32_t bytes, bool more);
void put_synced(struct fixture *f, uint32_t bytes);

#endif
