#include "fs/kept.h"

#include "core/ropefs.h"
#include "fs/keep.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum {
	OPEN_DIRECT = 1, /* of fuse_file_info */
	OPEN_KEEP_CACHE = 2,
	OPEN_NONSEEKABLE = 4,
	OPEN_NOFLUSH = 8,
	MOVING = 1,
	MOVED = 2,
	AREA_UNIT = 1 << 16,
};

#define DIE_ENV                                                                          \
	"ROPEFS_TEST_DIE_CHANGED" /* for tests: so many die at a change, one after another */
enum { DIE_BEFORE, DIE_MADE, DIE_NOTED, DIE_PLACES };
enum { DIE_WAIT_US = 30000 }; /* for others to see the change, and act */

struct step {
	uint64_t unique; /* of the request; without UNIQUE_RESENT */
	uint64_t lsn; /* of its change */
	bool is_change, done;
	uint32_t n; /* bytes of state; 0: none yet */
	_Alignas(8) uint8_t before[KEPT_STATE], after[KEPT_STATE];
};

struct kept_row {
	atomic_uint kind; /* set last */
	uint32_t open_bits;
	atomic_ullong fh, polled; /* 0: not open; nobody polls */
	uint64_t opened_by; /* the request */
	uint64_t node;
	atomic_ullong lookups; /* of a KEPT_NODE */
	atomic_ullong area_n; /* mapped by some worker */
	atomic_uint moved;
	_Alignas(8) uint8_t fixed[KEPT_FIXED];
	atomic_uint now; /* which step counts */
	struct step steps[2];
};
KEPT_SIZE(struct kept_row, 1528);

struct shared {
	atomic_uint high; /* rows from here on were never in use, and take no memory */
	struct kept_row rows[KEPT_ROWS];
};

static struct shared *shared; /* NULL: nobody supervises */
static int memory = -1;
static off_t areas; /* where they begin in it */

static uint64_t dying; /* DIE_ENV */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* a leaf */
static unsigned free_rows[KEPT_ROWS]; /* below `high`; guarded by mutex, as is n_free */
static unsigned n_free;

static size_t rows_bytes(void)
{
	return (sizeof(struct shared) + AREA_UNIT - 1) / AREA_UNIT * AREA_UNIT;
}

static unsigned n_rows(void)
{
	return shared ? atomic_load(&shared->high) : 0;
}

size_t kept_bytes(void)
{
	return rows_bytes() + (size_t)KEPT_ROWS * KEPT_AREA_MAX;
}

static size_t index_of(const struct kept_row *row)
{
	return (size_t)(row - shared->rows);
}

static off_t area_of(const struct kept_row *row)
{
	return areas + (off_t)index_of(row) * KEPT_AREA_MAX;
}

static void give_up(struct kept_row *row)
{
	size_t n = atomic_load(&row->area_n);

	if (n)
		fallocate(memory, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			  area_of(row), (off_t)n);
	atomic_store(&row->area_n, 0);
	atomic_store(&row->fh, 0);
	atomic_store(&row->kind, KEPT_NONE);
	pthread_mutex_lock(&mutex);
	free_rows[n_free++] = (unsigned)index_of(row);
	pthread_mutex_unlock(&mutex);
}

int kept_open(int fd, size_t at)
{
	void *p = mmap(NULL, rows_bytes(), PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		       (off_t)at);

	if (p == MAP_FAILED)
		return -errno;
	shared = p;
	memory = fd;
	dying = getenv(DIE_ENV) ? strtoull(getenv(DIE_ENV), NULL, 10) : 0;
	areas = (off_t)(at + rows_bytes());
	for (unsigned i = n_rows(); i-- > 0;)
		if (atomic_load(&shared->rows[i].kind) <= KEPT_TAKEN)
			give_up(&shared->rows[i]);
	return 0;
}

/* --- steps --- */

static struct step *step_now(const struct kept_row *row)
{
	return (struct step *)(uintptr_t)&row->steps[atomic_load(&row->now)];
}

static struct step *step_other(struct kept_row *row)
{
	return &row->steps[1 - atomic_load(&row->now)];
}

static void flip(struct kept_row *row)
{
	atomic_store(&row->now, 1 - atomic_load(&row->now));
}

static struct step *put_step(struct kept_row *row, uint64_t unique, const void *before,
			     const void *after, size_t n)
{
	struct step *s = step_other(row);

	assert(n && n <= KEPT_STATE);
	s->unique = unique & ~UNIQUE_RESENT;
	s->lsn = 0;
	s->is_change = s->done = false;
	s->n = (uint32_t)n;
	memcpy(s->before, before, n);
	memcpy(s->after, after, n);
	return s;
}

void kept_step(struct kept *k, uint64_t unique, const void *before, const void *after,
	       size_t n)
{
	if (!k->row)
		return;
	put_step(k->row, unique, before, after, n);
	flip(k->row);
}

static void die_for_test(unsigned place)
{
	if (dying > keep_takeovers() && keep_takeovers() % DIE_PLACES == place &&
	    !(keep_current() & UNIQUE_RESENT)) {
		if (place == DIE_MADE)
			usleep(DIE_WAIT_US);
		raise(SIGKILL);
	}
}

void *kept_change(struct kept *k, const void *before, const void *after, size_t n)
{
	struct step *s;

	if (!k->row)
		return NULL;
	s = put_step(k->row, keep_current(), before, after, n);
	s->is_change = true;
	flip(k->row);
	ropefs_note_lsn(&s->lsn);
	die_for_test(DIE_BEFORE);
	return s->after;
}

void kept_changed(struct kept *k, bool made)
{
	struct step *s;

	if (!k->row)
		return;
	ropefs_note_lsn(NULL);
	s = step_now(k->row);
	assert(s->is_change);
	if (made) {
		die_for_test(DIE_MADE);
		s->done = true;
		die_for_test(DIE_NOTED);
		return;
	}
	put_step(k->row, s->unique, s->before, s->before, s->n);
	flip(k->row);
}

bool kept_resent(const struct kept *k, bool *ret_done, void *ret_before, size_t n)
{
	const struct step *s;

	if (!k->row || !(keep_current() & UNIQUE_RESENT))
		return false;
	s = step_now(k->row);
	if (!s->n || s->unique != (keep_current() & ~UNIQUE_RESENT))
		return false;
	*ret_done = s->done;
	if (ret_before) {
		assert(s->n == n);
		memcpy(ret_before, s->before, n);
	}
	return true;
}

bool kept_has_changed(uint64_t unique)
{
	for (unsigned i = 0; unique && i < n_rows(); i++) {
		const struct step *s = step_now(&shared->rows[i]);
		unsigned kind = atomic_load(&shared->rows[i].kind);

		if (kind > KEPT_TAKEN && s->n && s->unique == unique &&
		    (!s->is_change || s->lsn))
			return true;
	}
	return false;
}

/* What was under way when the worker died. */
static void settle(struct kept_row *row, uint64_t lsn)
{
	struct step *s = step_now(row);

	if (!s->is_change || s->done)
		return;
	if (s->lsn && s->lsn <= lsn) {
		s->done = true;
		return;
	}
	put_step(row, s->unique, s->before, s->before, s->n);
	flip(row);
}

void kept_settle(uint64_t lsn)
{
	for (unsigned i = 0; i < n_rows(); i++)
		if (atomic_load(&shared->rows[i].kind) != KEPT_NONE)
			settle(&shared->rows[i], lsn);
}

/* --- one file --- */

static struct kept_row *take_row(void)
{
	struct kept_row *row = NULL;

	pthread_mutex_lock(&mutex);
	if (n_free)
		row = &shared->rows[free_rows[--n_free]];
	else if (n_rows() < KEPT_ROWS)
		row = &shared->rows[atomic_fetch_add(&shared->high, 1)];
	if (row)
		atomic_store(&row->kind, KEPT_TAKEN);
	pthread_mutex_unlock(&mutex);
	return row;
}

static unsigned n_used(void)
{
	unsigned n;

	pthread_mutex_lock(&mutex);
	n = n_rows() - n_free;
	pthread_mutex_unlock(&mutex);
	return n;
}

void kept_new(struct kept *k, const void *fixed, size_t n)
{
	struct kept_row *row = shared ? take_row() : NULL;

	assert(n <= KEPT_FIXED);
	*k = (struct kept) { .row = row };
	if (!row)
		return;
	atomic_store(&row->fh, 0);
	atomic_store(&row->polled, 0);
	atomic_store(&row->now, 0);
	atomic_store(&row->moved, 0);
	row->steps[0] = row->steps[1] = (struct step) { 0 };
	if (n)
		memcpy(row->fixed, fixed, n);
}

static uint32_t open_bits(const struct fuse_file_info *fi)
{
	return (fi->direct_io ? OPEN_DIRECT : 0u) |
	       (fi->keep_cache ? OPEN_KEEP_CACHE : 0u) |
	       (fi->nonseekable ? OPEN_NONSEEKABLE : 0u) |
	       (fi->noflush ? OPEN_NOFLUSH : 0u);
}

void kept_opened(struct kept *k, enum kept_kind kind, uint64_t node,
		 const struct fuse_file_info *fi)
{
	struct kept_row *row = k->row;

	if (!row)
		return;
	row->node = node;
	row->open_bits = open_bits(fi);
	row->opened_by = keep_current() & ~UNIQUE_RESENT;
	atomic_store(&row->fh, fi->fh);
	atomic_store(&row->kind, kind);
}

void kept_node(struct kept *k, const void *fixed, size_t n, uint64_t node)
{
	*k = (struct kept) { 0 };
	if (n_used() >= KEPT_ROWS / 2)
		return;
	kept_new(k, fixed, n);
	if (!k->row)
		return;
	k->row->node = node;
	k->row->opened_by = 0;
	atomic_store(&k->row->lookups, 0);
	atomic_store(&k->row->kind, KEPT_NODE);
}

void kept_lookups(struct kept *k, uint64_t lookups)
{
	if (k->row)
		atomic_store(&k->row->lookups, lookups);
}

static void unmap(struct kept *k)
{
	if (!k->row)
		free(k->area);
	else if (k->area)
		munmap(k->area, k->area_n);
	k->area = NULL;
	k->area_n = 0;
}

void kept_drop(struct kept *k)
{
	unmap(k);
	k->row = NULL;
}

void kept_free(struct kept *k)
{
	struct kept_row *row = k->row;

	kept_drop(k);
	if (row)
		give_up(row);
}

static void *plain_area(struct kept *k, size_t n)
{
	uint8_t *p = k->area ? realloc(k->area, n) : calloc(1, n);

	if (!p)
		return NULL;
	if (k->area)
		memset(p + k->area_n, 0, n - k->area_n);
	k->area = p;
	k->area_n = n;
	return p;
}

static void *map_area(struct kept *k, size_t n)
{
	void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED, memory,
		       area_of(k->row));

	if (p == MAP_FAILED)
		return NULL;
	unmap(k);
	k->area = p;
	k->area_n = n;
	return p;
}

void *kept_area(struct kept *k, size_t n)
{
	size_t cap = k->area_n ? k->area_n : AREA_UNIT;

	if (n > KEPT_AREA_MAX)
		return NULL;
	if (n <= k->area_n)
		return k->area;
	while (cap < n)
		cap *= 2;
	if (!k->row)
		return plain_area(k, cap);
	if (atomic_load(&k->row->area_n) < cap)
		atomic_store(&k->row->area_n, cap);
	return map_area(k, cap);
}

uint64_t kept_number(const struct kept *k)
{
	return k->row ? index_of(k->row) + 1 : 0;
}

struct kept kept_numbered(uint64_t number, uint64_t fh)
{
	struct kept k = { 0 };

	if (number && number <= n_rows() &&
	    atomic_load(&shared->rows[number - 1].fh) == fh)
		k.row = &shared->rows[number - 1];
	return k;
}

void kept_moving(struct kept *k)
{
	if (k->row)
		atomic_fetch_or(&k->row->moved, MOVING);
}

void kept_moved(struct kept *k, bool made)
{
	if (!k->row)
		return;
	if (made)
		atomic_fetch_or(&k->row->moved, MOVED);
	atomic_fetch_and(&k->row->moved, ~(unsigned)MOVING);
}

bool kept_was_moved(const struct kept *k)
{
	return k->row && atomic_load(&k->row->moved);
}

/* --- after a takeover --- */

bool kept_next(unsigned *at, struct kept_file *ret)
{
	while (*at < n_rows()) {
		struct kept_row *row = &shared->rows[(*at)++];
		const struct step *s = step_now(row);
		unsigned kind = atomic_load(&row->kind);
		size_t n = atomic_load(&row->area_n);

		if (kind <= KEPT_TAKEN)
			continue;
		*ret = (struct kept_file) { .k.row = row,
					    .kind = kind,
					    .node = row->node,
					    .fh = atomic_load(&row->fh),
					    .lookups = atomic_load(&row->lookups),
					    .fixed = row->fixed,
					    .state = s->n ? s->after : NULL };
		if (!n || map_area(&ret->k, n))
			return true;
	}
	return false;
}

bool kept_was_opened(struct fuse_file_info *fi)
{
	uint64_t mine = keep_current() & ~UNIQUE_RESENT;

	if (!(keep_current() & UNIQUE_RESENT))
		return false;
	for (unsigned i = 0; i < n_rows(); i++) {
		const struct kept_row *row = &shared->rows[i];

		if (atomic_load(&row->kind) <= KEPT_TAKEN || row->opened_by != mine)
			continue;
		fi->fh = atomic_load(&row->fh);
		fi->direct_io = !!(row->open_bits & OPEN_DIRECT);
		fi->keep_cache = !!(row->open_bits & OPEN_KEEP_CACHE);
		fi->nonseekable = !!(row->open_bits & OPEN_NONSEEKABLE);
		fi->noflush = !!(row->open_bits & OPEN_NOFLUSH);
		return true;
	}
	return false;
}

void kept_polled(uint64_t fh, uint64_t kh)
{
	for (unsigned i = 0; i < n_rows(); i++)
		if (atomic_load(&shared->rows[i].fh) == fh)
			atomic_store(&shared->rows[i].polled, kh);
}

uint64_t kept_next_poll(unsigned *at)
{
	while (*at < n_rows()) {
		const struct kept_row *row = &shared->rows[(*at)++];
		uint64_t polled = atomic_load(&row->polled);

		if (polled && atomic_load(&row->kind) > KEPT_TAKEN)
			return polled;
	}
	return 0;
}
