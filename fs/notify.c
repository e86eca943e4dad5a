#include "fs/notify.h"

#include "fs/keep.h"
#include "fs/sizes.h"

#include <stdlib.h>
#include <string.h>

static const uint64_t PAGE_MASK = ~(uint64_t)4095;

/* Whether the store may give the threads of edits work: it does until it is closed. */
static pthread_mutex_t blocks_mutex = PTHREAD_MUTEX_INITIALIZER;
static bool blocks_told;

int edits_start(struct daemon *d)
{
	int r = 0;

	for (unsigned i = 0; r >= 0 && i < EDIT_THREADS; i++)
		r = pool_start(&d->edits[i], 1);
	pthread_mutex_lock(&blocks_mutex);
	blocks_told = r >= 0;
	pthread_mutex_unlock(&blocks_mutex);
	return r;
}

void edits_stop(struct daemon *d)
{
	pthread_mutex_lock(&blocks_mutex);
	blocks_told = false;
	pthread_mutex_unlock(&blocks_mutex);
	for (unsigned i = 0; i < EDIT_THREADS; i++)
		pool_stop(&d->edits[i]);
}

static void run(struct job *job)
{
	struct task *t = (struct task *)job;

	keep_request(t->unique);
	t->step(t);
}

void task_edit(struct task *t, fuse_ino_t ino, void (*step)(struct task *t))
{
	t->step = step;
	t->job.run = run;
	count(&t->d->counters.deferred, 1);
	pool_push(&t->d->edits[ino % EDIT_THREADS], &t->job);
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

/* from -1: attributes only. The kernel writes dirty pages back before it drops them.
 * -ENOENT: it doesn't know the file, so it has nothing to drop. */
static void drop(struct daemon *d, uint64_t ino, int64_t from)
{
	keep_wait_begin();
	fuse_lowlevel_notify_inval_inode(d->session, ino, from, 0);
	keep_wait_end();
	count(&d->counters.invalidations, 1);
}

void edit_begin(struct daemon *d, const struct moved *m)
{
	drop(d, m->ino, (int64_t)(m->from & PAGE_MASK));
	if (m->gone <= m->come)
		return;
	inodes_set_less(&d->inodes, m->ino, m->gone - m->come);
	sizes_tell(d, m->ino);
}

void edit_end(struct daemon *d, const struct moved *m)
{
	inodes_set_less(&d->inodes, m->ino, 0);
	drop(d, m->ino, (int64_t)(m->from & PAGE_MASK));
	if (m->gone != m->come)
		sizes_tell(d, m->ino);
}

void attrs_drop(struct daemon *d, fuse_ino_t ino)
{
	drop(d, ino, -1);
}

void inode_drop(struct daemon *d, fuse_ino_t ino)
{
	drop(d, ino, 0);
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
