#include "fs/keep.h"

#include "core/ropefs.h"
#include "fs/daemon.h"
#include "fs/kept.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* A reply may be out although its slot was not freed, by a kill in between. After so many workers
 * the request would have come again. */
#define LIVES_MAX 32u

#define VERSION_ENV                                                                      \
	"ROPEFS_TEST_KEEP_VERSION" /* for tests: this program is another one */

struct slot {
	atomic_ullong unique; /* 0: free */
	uint64_t lsn; /* 0: nothing changed yet */
	atomic_uint
		lives; /* it was done so many workers ago, and is only to be answered */
};

struct edit {
	atomic_ullong ino; /* 0: free */
	atomic_ullong from; /* UINT64_MAX: not yet known, so 0 */
};

struct shared {
	uint64_t stamp; /* first, in all versions */
	atomic_ullong takeovers, restarts_refused;
	uint64_t dev;
	uint32_t init_n;
	uint8_t init[256];
	atomic_ullong beats;
	struct ropefs_log_mark log_mark;
	atomic_int waits[KEEP_WAITS]; /* thread ids */
	struct edit edits[KEEP_EDITS];
	struct slot slots[KEEP_SLOTS];
};

static struct shared *shared;

static _Thread_local uint64_t request;
static _Thread_local atomic_int *waiting;

static void slot_free(struct slot *s)
{
	s->lsn = 0;
	atomic_store(&s->lives, 0);
	atomic_store(&s->unique, 0);
}

/* kept.h's part begins at a page. */
static size_t keep_bytes(void)
{
	return (sizeof(struct shared) + 4095) / 4096 * 4096;
}

uint64_t keep_stamp(void)
{
	const char *other = getenv(VERSION_ENV);
	const uint64_t parts[] = {
		other ? strtoull(other, NULL, 10) : KEEP_VERSION,
		sizeof(struct shared),
		kept_bytes(),
		FH_BITS,
	};
	uint64_t stamp = 0;

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		stamp = (stamp ^ parts[i]) * 0x9e3779b97f4a7c15u;
	return stamp;
}

int keep_new(void)
{
	int fd = memfd_create("ropefs-keep", MFD_CLOEXEC);
	const uint64_t stamp = keep_stamp();

	if (fd < 0 || ftruncate(fd, (off_t)(keep_bytes() + kept_bytes())) < 0 ||
	    pwrite(fd, &stamp, sizeof(stamp), 0) != sizeof(stamp)) {
		int r = -errno;

		if (fd >= 0)
			close(fd);
		return r;
	}
	return fd;
}

int keep_open(int fd, bool took_over)
{
	void *p = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		return -errno;
	shared = p;
	if (shared->stamp != keep_stamp())
		return -EPROTO;
	if (took_over) {
		memset(shared->waits, 0, sizeof(shared->waits));
		atomic_fetch_add(&shared->takeovers, 1);
	}
	return 0;
}

int keep_open_files(int fd)
{
	return kept_open(fd, keep_bytes());
}

void keep_settle(uint64_t lsn)
{
	for (unsigned i = 0; shared && i < KEEP_SLOTS; i++) {
		struct slot *s = &shared->slots[i];

		unsigned lives = atomic_load(&s->lives);

		if (lives < LIVES_MAX && (lives || (s->lsn && s->lsn <= lsn)))
			atomic_store(&s->lives, lives + 1);
		else
			slot_free(s);
	}
}

void keep_save_init(const void *init, size_t n)
{
	if (!shared || n > sizeof(shared->init))
		return;
	memcpy(shared->init, init, n);
	shared->init_n = (uint32_t)n;
}

size_t keep_init(void *p, size_t n)
{
	if (!shared || shared->init_n > n)
		return 0;
	memcpy(p, shared->init, shared->init_n);
	return shared->init_n;
}

void keep_save_dev(dev_t dev)
{
	if (shared)
		shared->dev = dev;
}

dev_t keep_dev(void)
{
	return shared ? (dev_t)shared->dev : 0;
}

struct ropefs_log_mark *keep_log_mark(void)
{
	return shared ? &shared->log_mark : NULL;
}

bool keep_is_open(void)
{
	return shared;
}

uint64_t keep_takeovers(void)
{
	return shared ? atomic_load(&shared->takeovers) : 0;
}

void keep_request(uint64_t unique)
{
	request = unique;
	if (shared)
		ropefs_note_lsn(NULL);
}

uint64_t keep_current(void)
{
	return request;
}

static unsigned place_of(uint64_t unique)
{
	return (unsigned)(unique * 0x9e3779b97f4a7c15u >> 32) % KEEP_SLOTS;
}

void keep_arm(void)
{
	uint64_t mine = request & ~UNIQUE_RESENT;

	if (!shared || !mine)
		return;
	for (unsigned i = 0; i < KEEP_PROBE; i++) {
		struct slot *s = &shared->slots[(place_of(mine) + i) % KEEP_SLOTS];
		unsigned long long none = 0;

		if (!atomic_compare_exchange_strong(&s->unique, &none, mine) &&
		    none != mine)
			continue;
		ropefs_note_lsn(&s->lsn);
		return;
	}
}

void keep_replied(uint64_t unique)
{
	uint64_t done = unique & ~UNIQUE_RESENT;

	if (!shared || !done)
		return;
	if (done == (request & ~UNIQUE_RESENT))
		ropefs_note_lsn(NULL); /* the change was not made */
	for (unsigned i = 0; i < KEEP_PROBE; i++) {
		struct slot *s = &shared->slots[(place_of(done) + i) % KEEP_SLOTS];

		if (atomic_load_explicit(&s->unique, memory_order_relaxed) != done)
			continue;
		slot_free(s);
		return;
	}
}

bool keep_has_changed(uint64_t unique)
{
	for (unsigned i = 0; shared && i < KEEP_PROBE; i++) {
		const struct slot *s =
			&shared->slots[(place_of(unique) + i) % KEEP_SLOTS];

		if (atomic_load(&s->unique) == unique)
			return s->lsn;
	}
	return false;
}

bool keep_was_done(void)
{
	uint64_t mine = request & ~UNIQUE_RESENT;

	if (!shared || !(request & UNIQUE_RESENT))
		return false;
	for (unsigned i = 0; i < KEEP_PROBE; i++) {
		const struct slot *s = &shared->slots[(place_of(mine) + i) % KEEP_SLOTS];

		if (atomic_load(&s->unique) == mine)
			return atomic_load(&s->lives) > 0;
	}
	return false;
}

void keep_wait_begin(void)
{
	int tid = (int)gettid();

	for (unsigned i = 0; shared && !waiting && i < KEEP_WAITS; i++) {
		int none = 0;

		if (atomic_compare_exchange_strong(&shared->waits[i], &none, tid))
			waiting = &shared->waits[i];
	}
}

void keep_wait_end(void)
{
	if (waiting)
		atomic_store(waiting, 0);
	waiting = NULL;
}

bool keep_waits(pid_t tid)
{
	for (unsigned i = 0; shared && i < KEEP_WAITS; i++)
		if (atomic_load(&shared->waits[i]) == (int)tid)
			return true;
	return false;
}

void keep_edit_begin(uint64_t ino, uint64_t from)
{
	for (unsigned i = 0; shared && i < KEEP_EDITS; i++) {
		struct edit *e = &shared->edits[i];
		unsigned long long none = 0;

		if (!atomic_compare_exchange_strong(&e->ino, &none, ino))
			continue;
		atomic_store(&e->from, from);
		return;
	}
}

void keep_edit_end(uint64_t ino, uint64_t from)
{
	for (unsigned i = 0; shared && i < KEEP_EDITS; i++) {
		struct edit *e = &shared->edits[i];

		if (atomic_load(&e->ino) != ino || atomic_load(&e->from) != from)
			continue;
		atomic_store(&e->from, UINT64_MAX);
		atomic_store(&e->ino, 0);
		return;
	}
}

bool keep_next_edit(unsigned *at, uint64_t *ret_ino, uint64_t *ret_from)
{
	while (shared && *at < KEEP_EDITS) {
		struct edit *e = &shared->edits[(*at)++];
		uint64_t from = atomic_load(&e->from);

		*ret_ino = atomic_load(&e->ino);
		*ret_from = from == UINT64_MAX ? 0 : from;
		if (*ret_ino)
			return true;
	}
	return false;
}

void keep_refuse_restart(void)
{
	if (shared)
		atomic_fetch_add(&shared->restarts_refused, 1);
}

uint64_t keep_restarts_refused(void)
{
	return shared ? atomic_load(&shared->restarts_refused) : 0;
}

void keep_beat(void)
{
	if (shared)
		atomic_fetch_add(&shared->beats, 1);
}

uint64_t keep_beats(void)
{
	return shared ? atomic_load(&shared->beats) : 0;
}
