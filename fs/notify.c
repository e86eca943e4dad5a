#include "fs/notify.h"

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

	t->step(t);
}

void task_edit(struct task *t, fuse_ino_t ino, void (*step)(struct task *t))
{
	t->step = step;
	t->job.run = run;
	count(&t->d->counters.deferred, 1);
	pool_push(&t->d->edits[ino % EDIT_THREADS], &t->job);
}

/* from -1: attributes only. The kernel writes dirty pages back before it drops them.
 * -ENOENT: it doesn't know the file, so it has nothing to drop. */
static void drop(struct daemon *d, uint64_t ino, int64_t from)
{
	fuse_lowlevel_notify_inval_inode(d->session, ino, from, 0);
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
