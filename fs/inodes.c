#include "fs/inodes.h"

#include "fs/daemon.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

enum { SETTLE_NS = 2000000 };

struct known {
	uint64_t ino;
	uint64_t lookups;
	uint64_t uses; /* of ours: views that are open */
	uint64_t edits;
	uint64_t less;
	uint64_t aside;
	unsigned views; /* open for writing */
	unsigned pending;
	unsigned runs;
	int writers, mappers;
	bool plain;
	bool inherited; /* the kernel knows it from before */
};

void inodes_init(struct inodes *t, struct ropefs *fs)
{
	*t = (struct inodes) { .fs = fs };
	pthread_mutex_init(&t->mutex, NULL);
	pthread_cond_init(&t->settled, NULL);
	for (unsigned i = 0; i < EDIT_LOCKS; i++)
		pthread_mutex_init(&t->edit[i], NULL);
}

void inodes_release(struct inodes *t)
{
	for (size_t i = 0; i < t->known.cap; i++)
		if (t->known.slots[i].value)
			ropefs_release(t->fs, t->known.slots[i].key, 1);
	map_release(&t->known, free);
	pthread_mutex_destroy(&t->mutex);
	pthread_cond_destroy(&t->settled);
	for (unsigned i = 0; i < EDIT_LOCKS; i++)
		pthread_mutex_destroy(&t->edit[i]);
}

static int add_locked(struct inodes *t, uint64_t ino, uint64_t lookups)
{
	struct known *k = calloc(1, sizeof(*k));
	int r;

	if (!k)
		return -ENOMEM;
	*k = (struct known) { .ino = ino, .lookups = lookups };
	r = map_put(&t->known, ino, k);
	if (r < 0) {
		free(k);
		return r;
	}
	r = ropefs_hold(t->fs, ino);
	if (r < 0)
		free(map_del(&t->known, ino));
	return r;
}

/* What never goes as long as it can be found. */
static bool is_uncounted(uint64_t ino)
{
	return ino == ROPEFS_ROOT_INO || ropefs_in_snapshot(ino);
}

int inodes_get(struct inodes *t, uint64_t ino)
{
	struct known *k;
	int r = 0;

	if (is_uncounted(ino))
		return 0;
	pthread_mutex_lock(&t->mutex);
	k = map_get(&t->known, ino);
	if (k)
		k->lookups++;
	else
		r = add_locked(t, ino, 1);
	pthread_mutex_unlock(&t->mutex);
	return r;
}

/* Its entry, made where there is none. */
static int entry_locked(struct inodes *t, uint64_t ino, struct known **ret)
{
	int r = map_get(&t->known, ino) ? 0 : add_locked(t, ino, 0);

	if (r >= 0)
		*ret = map_get(&t->known, ino);
	return r;
}

/* The kernel may have found it before a takeover, and uses it now. */
static void found_before(const struct inodes *t, struct known *k)
{
	k->inherited |= t->took_over && !k->lookups;
}

/* One use more of the inode, or inherited; its entry is made where there is none. */
static int count_in(struct inodes *t, uint64_t ino, bool inherited)
{
	struct known *k;
	int r;

	if (is_uncounted(ino))
		return 0;
	pthread_mutex_lock(&t->mutex);
	r = entry_locked(t, ino, &k);
	if (r >= 0 && inherited)
		k->inherited = true;
	else if (r >= 0)
		k->uses++;
	pthread_mutex_unlock(&t->mutex);
	return r;
}

int inodes_inherit(struct inodes *t, uint64_t ino)
{
	return count_in(t, ino, true);
}

int inodes_use(struct inodes *t, uint64_t ino)
{
	return count_in(t, ino, false);
}

/* The inode's entry, if it is to go now; out of the table. */
static struct known *unknown_locked(struct inodes *t, struct known *k)
{
	if (k->lookups || k->uses || k->inherited)
		return NULL;
	return map_del(&t->known, k->ino);
}

/* Without the mutex, as it may have to take a big file apart. Whoever finds the file by a name
 * meanwhile takes a hold of his own. */
static void let_go(struct inodes *t, struct known *gone)
{
	if (gone)
		ropefs_release(t->fs, gone->ino, 1);
	free(gone);
}

static void count_out(struct inodes *t, uint64_t ino, uint64_t uses, uint64_t lookups)
{
	struct known *k, *gone = NULL;

	if (is_uncounted(ino))
		return;
	pthread_mutex_lock(&t->mutex);
	k = map_get(&t->known, ino);
	if (k) {
		assert(k->uses >= uses);
		assert(t->took_over || k->lookups >= lookups);
		k->uses -= uses;
		/* Those of before are among them: the kernel forgets all of them at once. */
		if (k->lookups < lookups)
			k->inherited = false;
		k->lookups -= k->lookups < lookups ? k->lookups : lookups;
		gone = unknown_locked(t, k);
	}
	pthread_mutex_unlock(&t->mutex);
	let_go(t, gone);
}

static bool is_left(const struct known *k)
{
	return k && k->inherited && !k->lookups;
}

/* Those that the kernel may have forgotten; the caller frees *ret. */
static size_t list_left(struct inodes *t, uint64_t **ret)
{
	size_t n = 0;

	pthread_mutex_lock(&t->mutex);
	*ret = calloc(t->known.n + 1, sizeof(**ret));
	for (size_t i = 0; *ret && i < t->known.cap; i++)
		if (is_left(t->known.slots[i].value))
			(*ret)[n++] = t->known.slots[i].key;
	pthread_mutex_unlock(&t->mutex);
	return n;
}

static void disinherit(struct inodes *t, uint64_t ino)
{
	struct known *k, *gone = NULL;

	pthread_mutex_lock(&t->mutex);
	k = map_get(&t->known, ino);
	if (is_left(k)) {
		k->inherited = false;
		gone = unknown_locked(t, k);
	}
	pthread_mutex_unlock(&t->mutex);
	let_go(t, gone);
}

void inodes_sweep(struct inodes *t, bool (*knows)(void *arg, uint64_t ino), void *arg)
{
	uint64_t *inos;
	size_t n = list_left(t, &inos);

	for (size_t i = 0; i < n; i++)
		if (!knows(arg, inos[i]))
			disinherit(t, inos[i]);
	free(inos);
}

void inodes_unuse(struct inodes *t, uint64_t ino)
{
	count_out(t, ino, 1, 0);
}

void inodes_put(struct inodes *t, uint64_t ino, uint64_t times)
{
	count_out(t, ino, 0, times);
}

bool inodes_edit_try(struct inodes *t, uint64_t ino)
{
	return !pthread_mutex_trylock(&t->edit[ino % EDIT_LOCKS]);
}

void inodes_edit_lock(struct inodes *t, uint64_t ino)
{
	pthread_mutex_lock(&t->edit[ino % EDIT_LOCKS]);
}

void inodes_edit_unlock(struct inodes *t, uint64_t ino)
{
	pthread_mutex_unlock(&t->edit[ino % EDIT_LOCKS]);
}

/* What is said of an inode that the kernel forgot meanwhile goes nowhere. */
static struct known *find_locked(struct inodes *t, uint64_t ino, struct known *nowhere)
{
	struct known *k = map_get(&t->known, ino);

	return k ? k : nowhere;
}

#define WITH_KNOWN(t, ino, k, what)                                                      \
	do {                                                                             \
		struct known nowhere_ = { 0 }, *k;                                       \
		pthread_mutex_lock(&(t)->mutex);                                         \
		k = find_locked((t), (ino), &nowhere_);                                  \
		what;                                                                    \
		pthread_mutex_unlock(&(t)->mutex);                                       \
	} while (0)

uint64_t inodes_edits(struct inodes *t, uint64_t ino)
{
	uint64_t edits;

	WITH_KNOWN(t, ino, k, edits = k->edits);
	return edits;
}

void inodes_edited(struct inodes *t, uint64_t ino)
{
	WITH_KNOWN(t, ino, k, k->edits++);
}

int inodes_run(struct inodes *t, uint64_t ino)
{
	struct known *k;
	int r;

	if (is_uncounted(ino))
		return 0;
	pthread_mutex_lock(&t->mutex);
	r = entry_locked(t, ino, &k);
	if (r >= 0) {
		k->runs++;
		found_before(t, k);
	}
	pthread_mutex_unlock(&t->mutex);
	return r;
}

void inodes_ran(struct inodes *t, uint64_t ino)
{
	/* Below 0 it can only get by what a worker before had counted. */
	WITH_KNOWN(t, ino, k, k->runs -= k->runs > 0);
}

bool inodes_runs(struct inodes *t, uint64_t ino)
{
	bool runs;

	WITH_KNOWN(t, ino, k, runs = k->runs > 0);
	return runs;
}

void inodes_set_aside(struct inodes *t, uint64_t ino, uint64_t n)
{
	WITH_KNOWN(t, ino, k, k->aside = n > k->aside || !n ? n : k->aside);
}

bool inodes_writers(struct inodes *t, uint64_t ino, int change, bool reads)
{
	bool ends;

	WITH_KNOWN(t, ino, k, {
		k->writers += k->writers || change > 0 ? change : 0;
		if (reads)
			k->mappers += k->mappers || change > 0 ? change : 0;
		ends = !k->writers && k->aside;
		k->aside = k->writers ? k->aside : 0;
	});
	return ends;
}

bool inodes_may_be_written(struct inodes *t, uint64_t ino)
{
	int writers;

	WITH_KNOWN(t, ino, k, writers = k->writers);
	return writers || t->took_over;
}

bool inodes_may_be_mapped(struct inodes *t, uint64_t ino)
{
	int mappers;

	WITH_KNOWN(t, ino, k, mappers = k->mappers);
	return mappers || t->took_over;
}

bool inodes_plain(struct inodes *t, uint64_t ino)
{
	bool plain;

	WITH_KNOWN(t, ino, k, plain = k->plain);
	return plain;
}

void inodes_set_plain(struct inodes *t, uint64_t ino, bool plain)
{
	WITH_KNOWN(t, ino, k, k->plain = plain);
}

void inodes_view_opened(struct inodes *t, uint64_t ino)
{
	WITH_KNOWN(t, ino, k, k->views++);
}

void inodes_view_closed(struct inodes *t, uint64_t ino)
{
	WITH_KNOWN(t, ino, k, k->views--);
}

double inodes_timeout(struct inodes *t, uint64_t ino, uint64_t *ret_aside)
{
	bool busy;

	WITH_KNOWN(t, ino, k, {
		busy = k->views || k->pending || k->less;
		*ret_aside = k->aside;
	});
	return busy ? 0 : t->cache_s;
}

void inodes_set_less(struct inodes *t, uint64_t ino, uint64_t less)
{
	struct known *k;

	if (is_uncounted(ino))
		return;
	pthread_mutex_lock(&t->mutex);
	if (entry_locked(t, ino, &k) >= 0) {
		found_before(t, k);
		k->less = less;
	}
	pthread_mutex_unlock(&t->mutex);
}

uint64_t inodes_less(struct inodes *t, uint64_t ino)
{
	uint64_t less;

	WITH_KNOWN(t, ino, k, less = k->less);
	return less;
}

void inodes_pending(struct inodes *t, uint64_t ino, int change)
{
	WITH_KNOWN(t, ino, k, k->pending += (unsigned)change;
		   if (!k->pending) pthread_cond_broadcast(&t->settled));
}

bool inodes_is_pending(struct inodes *t, uint64_t ino)
{
	bool pending;

	WITH_KNOWN(t, ino, k, pending = k->pending > 0);
	return pending;
}

bool inodes_wait_settled(struct inodes *t, uint64_t ino)
{
	struct timespec until;
	struct known *k;
	int e = 0;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += SETTLE_NS;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	pthread_mutex_lock(&t->mutex);
	while ((k = map_get(&t->known, ino)) && k->pending && !e)
		e = pthread_cond_timedwait(&t->settled, &t->mutex, &until);
	k = map_get(&t->known, ino);
	e = k && k->pending;
	pthread_mutex_unlock(&t->mutex);
	return !e;
}
