#include "fs/notify.h"

#include "fs/keep.h"
#include "fs/sizes.h"

#include <errno.h>
#include <linux/fuse.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const uint64_t PAGE_MASK = ~(uint64_t)4095;

#define DIE_ENV "ROPEFS_TEST_DIE_UNTOLD" /* for tests */

enum { RESUME_S = 1, DIE_WAIT_US = 100000 };

/* Whether the store may give the threads of edits work: it does until it is closed. */
static pthread_mutex_t blocks_mutex = PTHREAD_MUTEX_INITIALIZER;
static bool blocks_told;

int edits_start(struct daemon *d)
{
	int r = 0;

	for (unsigned i = 0; r >= 0 && i < EDIT_THREADS; i++)
		r = pool_start(&d->edits[i], "ropefs-edit", 1);
	pthread_mutex_lock(&blocks_mutex);
	blocks_told = r >= 0;
	pthread_mutex_unlock(&blocks_mutex);
	return r;
}

/* An edit of the worker before, of which it may not have told the kernel. */
struct untold {
	struct job job;
	struct daemon *d;
	int connection;
	uint64_t ino, from;
};

static sem_t told; /* once for each */

/* libfuse has not begun yet. */
static void tell(struct job *job)
{
	struct untold *u = (struct untold *)job;
	struct {
		struct fuse_out_header head;
		struct fuse_notify_inval_inode_out inval;
	} all = { .head = { .len = sizeof(all), .error = FUSE_NOTIFY_INVAL_INODE },
		  .inval = { .ino = u->ino, .off = (int64_t)(u->from & PAGE_MASK) } };

	keep_wait_begin();
	if (write(u->connection, &all, sizeof(all)) >= 0 || errno == ENOENT)
		keep_edit_end(u->ino, u->from);
	keep_wait_end();
	count(&u->d->counters.invalidations, 1);
	sem_post(&told);
	free(u);
}

void edits_resume(struct daemon *d, int connection)
{
	struct timespec until;
	unsigned at = 0, n = 0;
	uint64_t ino, from;

	sem_init(&told, 0, 0);
	while (keep_next_edit(&at, &ino, &from)) {
		struct untold *u = calloc(1, sizeof(*u));

		if (!u)
			return;
		*u = (struct untold) { .job.run = tell,
				       .d = d,
				       .connection = connection,
				       .ino = ino,
				       .from = from };
		pool_push(&d->edits[ino % EDIT_THREADS], &u->job);
		n++;
	}
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += RESUME_S;
	while (n && (sem_timedwait(&told, &until) == 0 || errno == EINTR))
		n--;
}

void edits_stop(struct daemon *d)
{
	pthread_mutex_lock(&blocks_mutex);
	blocks_told = false;
	pthread_mutex_unlock(&blocks_mutex);
	for (unsigned i = 0; i < EDIT_THREADS; i++)
		pool_stop(&d->edits[i]);
}

void task_edit(struct task *t, fuse_ino_t ino, void (*step)(struct task *t))
{
	task_run_in(t, &t->d->edits[ino % EDIT_THREADS], step);
}

static pthread_mutex_t park_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t park_cond = PTHREAD_COND_INITIALIZER;

static void park(struct job *job)
{
	struct parked *p = (struct parked *)job;

	pthread_mutex_lock(&park_mutex);
	p->there = true;
	pthread_cond_broadcast(&park_cond);
	while (!p->go)
		pthread_cond_wait(&park_cond, &park_mutex);
	p->gone = true;
	pthread_cond_broadcast(&park_cond);
	pthread_mutex_unlock(&park_mutex);
}

void edits_park(struct daemon *d, unsigned mask, struct parked *others)
{
	for (unsigned i = 0; i < EDIT_THREADS; i++) {
		if (!(mask & 1u << i))
			continue;
		others[i] = (struct parked) { .job.run = park };
		pool_push(&d->edits[i], &others[i].job);
		pthread_mutex_lock(&park_mutex);
		while (!others[i].there)
			pthread_cond_wait(&park_cond, &park_mutex);
		pthread_mutex_unlock(&park_mutex);
	}
}

void edits_unpark(unsigned mask, struct parked *others)
{
	pthread_mutex_lock(&park_mutex);
	for (unsigned i = 0; i < EDIT_THREADS; i++)
		if (mask & 1u << i)
			others[i].go = true;
	pthread_cond_broadcast(&park_cond);
	for (unsigned i = 0; i < EDIT_THREADS; i++)
		while (mask & 1u << i && !others[i].gone)
			pthread_cond_wait(&park_cond, &park_mutex);
	pthread_mutex_unlock(&park_mutex);
}

/* The kernel writes dirty pages back before it drops them. n 0: to the end.
 * -ENOENT: it doesn't know the file, so it has nothing to drop. */
static void drop_part(struct daemon *d, uint64_t ino, int64_t from, int64_t n)
{
	keep_wait_begin();
	fuse_lowlevel_notify_inval_inode(d->session, ino, from, n);
	keep_wait_end();
	count(&d->counters.invalidations, 1);
}

/* from -1: attributes only. */
static void drop(struct daemon *d, uint64_t ino, int64_t from)
{
	drop_part(d, ino, from, 0);
}

/* The first worker gives others time to read what it is about to change, and dies then. */
static bool dies_for_test(void)
{
	return getenv(DIE_ENV) && keep_is_open() && !keep_takeovers();
}

void edit_begin(struct daemon *d, const struct moved *m)
{
	keep_edit_begin(m->ino, m->from);
	drop(d, m->ino, (int64_t)(m->from & PAGE_MASK));
	if (dies_for_test())
		usleep(DIE_WAIT_US);
	if (m->gone <= m->come)
		return;
	inodes_set_less(&d->inodes, m->ino, m->gone - m->come);
	sizes_tell(d, m->ino);
}

void edit_dies_for_test(void)
{
	if (dies_for_test())
		raise(SIGKILL);
}

void edit_end(struct daemon *d, const struct moved *m)
{
	edit_dies_for_test();
	inodes_set_less(&d->inodes, m->ino, 0);
	drop(d, m->ino, (int64_t)(m->from & PAGE_MASK));
	if (m->gone != m->come)
		sizes_tell(d, m->ino);
	keep_edit_end(m->ino, m->from);
}

bool kernel_knows(void *arg, uint64_t ino)
{
	struct daemon *d = arg;

	return fuse_lowlevel_notify_inval_inode(d->session, ino, -1, 0) != -ENOENT;
}

void attrs_drop(struct daemon *d, fuse_ino_t ino)
{
	drop(d, ino, -1);
}

void inode_drop(struct daemon *d, fuse_ino_t ino)
{
	drop(d, ino, 0);
}

void range_drop(struct daemon *d, fuse_ino_t ino, uint64_t from, uint64_t n)
{
	drop_part(d, ino, (int64_t)from, (int64_t)n);
}

/* Inodes whose attributes are to be dropped. */
struct dropping {
	struct job job;
	struct daemon *d;
	size_t n;
	uint64_t inos[];
};

static void drop_attrs(struct job *job)
{
	struct dropping *p = (struct dropping *)job;

	for (size_t i = 0; i < p->n; i++)
		drop(p->d, p->inos[i], -1);
	free(p);
}

/* Not here: the kernel may be writing back one of them that it is about to forget, and that may
 * wait for the checkpoint that calls this. */
void blocks_changed(void *arg, const uint64_t *inos, size_t n)
{
	struct dropping *p = malloc(sizeof(*p) + n * sizeof(*inos));
	struct daemon *d = arg;

	if (!p)
		return;
	p->job.run = drop_attrs;
	p->d = d;
	p->n = n;
	memcpy(p->inos, inos, n * sizeof(*inos));
	pthread_mutex_lock(&blocks_mutex);
	if (blocks_told)
		pool_push(&d->edits[inos[0] % EDIT_THREADS], &p->job);
	else
		free(p);
	pthread_mutex_unlock(&blocks_mutex);
}

static void drop_pages(struct task *t)
{
	drop(t->d, t->ino, (int64_t)(t->off & PAGE_MASK));
	sizes_tell(t->d, t->ino);
	task_free(t);
}

void pages_drop(struct daemon *d, fuse_ino_t ino, uint64_t from)
{
	struct task *t = task_new(d, NULL, NULL, 0);

	if (!t)
		return;
	t->ino = ino;
	t->off = from;
	task_edit(t, ino, drop_pages);
}
