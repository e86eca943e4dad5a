#include "fs/held.h"

#include "fs/daemon.h"
#include "fs/keep.h"
#include "fs/ropefs_ioctl.h"
#include "fs/wire.h"

#include <fcntl.h>
#include <linux/fuse.h>
#include <string.h>

enum { HELD_THREADS = 8 };

int held_start(struct held *h, int few)
{
	int r = pool_start(&h->frees, "ropefs-frees", 1);

	h->few = few;
	return r < 0 ? r : pool_start(&h->needs, "ropefs-held", HELD_THREADS);
}

void held_stop(struct held *h)
{
	pool_stop(&h->frees);
	pool_stop(&h->needs);
}

void held_waits(void *arg, enum ropefs_waits what, bool begins)
{
	struct daemon *d = arg;

	atomic_fetch_add(&d->held.waiting[what], begins ? 1 : -1);
	if (begins)
		loop_waits();
}

/* What a request may have to wait for. */
enum may { MAY_NOTHING, MAY_FREE, MAY_NEED };

static enum may opening(const void *body, size_t n)
{
	struct fuse_open_in in = { 0 };

	memcpy(&in, body, n < sizeof(in) ? n : sizeof(in));
	return in.flags & O_TRUNC ? MAY_FREE : MAY_NOTHING;
}

/* All others go on in a worker, or change nothing. */
static enum may controlling(const void *body, size_t n)
{
	struct fuse_ioctl_in in = { 0 };

	memcpy(&in, body, n < sizeof(in) ? n : sizeof(in));
	return in.cmd == ROPEFS_IOC_CURSOR_COMMIT || in.cmd == ROPEFS_IOC_CURSOR_REMOVE
		       ? MAY_FREE
		       : MAY_NOTHING;
}

/* The last two free a file without a name. Not RELEASE: the kernel does not wait for it, but who
 * opens the file next must find it done. */
static enum may what_may(uint32_t opcode, const void *body, size_t n)
{
	switch (opcode) {
	case FUSE_SETATTR:
	case FUSE_UNLINK:
	case FUSE_RMDIR:
	case FUSE_RENAME:
	case FUSE_RENAME2:
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
		return MAY_FREE;
	case FUSE_SYMLINK:
	case FUSE_MKNOD:
	case FUSE_MKDIR:
	case FUSE_LINK:
	case FUSE_CREATE:
	case FUSE_WRITE:
	case FUSE_SETXATTR:
	case FUSE_REMOVEXATTR:
		return MAY_NEED;
	case FUSE_OPEN:
		return opening(body, n);
	case FUSE_IOCTL:
		return controlling(body, n);
	default:
		return MAY_NOTHING;
	}
}

static int waiting(struct held *h, enum ropefs_waits what)
{
	return atomic_load_explicit(&h->waiting[what], memory_order_relaxed);
}

static bool all_wait(struct held *h)
{
	return waiting(h, ROPEFS_WAITS_MEMORY) || waiting(h, ROPEFS_WAITS_LOG) >= h->few;
}

static void process(struct task *t)
{
	struct fuse_buf buf = { .mem = t->data, .size = t->n };

	fuse_session_process_buf(t->d->session, &buf);
	task_free(t);
}

bool held_takes(struct daemon *d, const struct fuse_buf *buf)
{
	struct held *h = &d->held;
	bool all = all_wait(h), some = all || waiting(h, ROPEFS_WAITS_SPACE);
	struct fuse_in_header in;
	struct task *t;
	enum may may;

	if (!some || buf->size < sizeof(in))
		return false;
	memcpy(&in, buf->mem, sizeof(in));
	may = what_may(in.opcode, (const char *)buf->mem + sizeof(in),
		       buf->size - sizeof(in));
	if (may == MAY_NOTHING || (may == MAY_FREE && !all))
		return false;
	t = task_new(d, NULL, buf->mem, buf->size);
	if (!t)
		return false;
	t->unique = keep_current();
	t->n = buf->size;
	task_run_in(t, may == MAY_FREE ? &h->frees : &h->needs, process);
	return true;
}

void task_run_held(struct task *t, void (*step)(struct task *t))
{
	task_run_in(t, &t->d->held.needs, step);
}
