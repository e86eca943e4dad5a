#include "fs/keep.h"

#include "core/ropefs.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct slot {
	atomic_ullong unique; /* 0: free */
	uint64_t lsn; /* 0: nothing changed yet */
};

struct shared {
	atomic_ullong takeovers;
	uint64_t dev;
	uint32_t init_n;
	uint8_t init[256];
	atomic_ullong beats;
	atomic_int waits[KEEP_WAITS]; /* thread ids */
	struct slot slots[KEEP_SLOTS];
};

static struct shared *shared;
static struct shared before; /* as the last worker left it */
static bool has_before;

static _Thread_local uint64_t request;
static _Thread_local atomic_int *waiting;

int keep_new(void)
{
	int fd = memfd_create("ropefs-keep", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, sizeof(struct shared)) < 0) {
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
	has_before = took_over;
	if (took_over) {
		memcpy(&before, shared, sizeof(before));
		memset(shared->slots, 0, sizeof(shared->slots));
		memset(shared->waits, 0, sizeof(shared->waits));
		atomic_fetch_add(&shared->takeovers, 1);
	}
	return 0;
}

void keep_close(void)
{
	if (shared)
		munmap(shared, sizeof(*shared));
	shared = NULL;
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
		s->lsn = 0;
		atomic_store(&s->unique, 0);
		return;
	}
}

bool keep_was_done(uint64_t lsn)
{
	if (!has_before || !(request & UNIQUE_RESENT))
		return false;
	for (unsigned i = 0; i < KEEP_SLOTS; i++) {
		const struct slot *s = &before.slots[i];

		if (atomic_load(&s->unique) == (request & ~UNIQUE_RESENT))
			return s->lsn && s->lsn <= lsn;
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

void keep_beat(void)
{
	if (shared)
		atomic_fetch_add(&shared->beats, 1);
}

uint64_t keep_beats(void)
{
	return shared ? atomic_load(&shared->beats) : 0;
}
