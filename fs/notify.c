#include "fs/notify.h"

#include "fs/keep.h"
#include "fs/sizes.h"

static const uint64_t PAGE_MASK = ~(uint64_t)4095;

int edits_start(struct daemon *d)
{
	int r = 0;

	for (unsigned i = 0; r >= 0 && i < EDIT_THREADS; i++)
		r = pool_start(&d->edits[i], 1);
	return r;
}

void edits_stop(struct daemon *d)
{
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
