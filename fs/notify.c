#include "fs/notify.h"

static const int64_t PAGE_MASK = ~(int64_t)4095;

static void drop(struct job *job)
{
	struct task *t = (struct task *)job;
	int64_t from = t->drop_from < 0 ? -1 : t->drop_from & PAGE_MASK;

	/* -ENOENT: the kernel doesn't know the file, so it has nothing to drop. */
	fuse_lowlevel_notify_inval_inode(t->d->session, t->drop_ino, from, 0);
	count(&t->d->counters.invalidations, 1);
	t->step(t);
}

void task_notify(struct task *t, fuse_ino_t ino, int64_t from,
		 void (*step)(struct task *t))
{
	t->drop_ino = ino;
	t->drop_from = from;
	t->step = step;
	t->job.run = drop;
	pool_push(&t->d->notify, &t->job);
}

void notify_drop(struct daemon *d, fuse_ino_t ino, int64_t from)
{
	struct task *t = task_new(d, NULL, NULL, 0);

	if (t)
		task_notify(t, ino, from, task_free);
}
