#include "fs/queue_ioctl.h"

#include "fs/daemon.h"
#include "fs/keep.h"
#include "fs/reply.h"
#include "fs/ropefs_ioctl.h"

#include <errno.h>
#include <string.h>

/* Cursors are changed through descriptors that read, but by who may change the file. */
static int may_change(fuse_req_t req, uint64_t ino)
{
	return ropefs_in_snapshot(ino) ? -EROFS : caller_may_now(req, ino, 2);
}

static int commit(struct daemon *d, const struct queue_ioctl *q,
		  const struct ropefs_ioc_cursor *c)
{
	uint64_t id = c->id == ROPEFS_IOC_CURSOR_READ ? q->read_to : c->id;

	if (id == UINT64_MAX)
		return -EINVAL;
	keep_arm();
	return ropefs_cursor_commit(d->fs, q->ino, c->name, id);
}

static int next(struct daemon *d, const struct queue_ioctl *q,
		struct ropefs_ioc_cursor *c)
{
	struct ropefs_cursor found;
	int r = ropefs_cursor_next(d->fs, q->ino, c->name, &found);

	if (r <= 0)
		return r < 0 ? r : -ENOENT;
	*c = (struct ropefs_ioc_cursor) { .id = found.id,
					  .lag = found.lag,
					  .time_ns = found.time.ns };
	memcpy(c->name, found.name, sizeof(found.name));
	return 0;
}

bool queue_ioctl(fuse_req_t req, const struct queue_ioctl *q)
{
	struct daemon *d = daemon_of(req);
	struct ropefs_ioc_cursor c;
	bool gives = q->cmd == ROPEFS_IOC_CURSOR_NEXT;
	int r;

	if (!gives && q->cmd != ROPEFS_IOC_CURSOR_COMMIT &&
	    q->cmd != ROPEFS_IOC_CURSOR_REMOVE)
		return false;
	r = q->n_in == sizeof(c) ? 0 : -EINVAL;
	if (r >= 0 && !gives)
		r = may_change(req, q->ino);
	if (r >= 0) {
		memcpy(&c, q->in, sizeof(c));
		c.name[sizeof(c.name) - 1] = '\0';
		if (gives) {
			r = next(d, q, &c);
		} else if (q->cmd == ROPEFS_IOC_CURSOR_COMMIT) {
			r = commit(d, q, &c);
		} else {
			keep_arm();
			r = ropefs_cursor_remove(d->fs, q->ino, c.name);
		}
	}
	if (r < 0)
		reply_err(req, r);
	else
		fuse_reply_ioctl(req, 0, gives ? &c : NULL, gives ? sizeof(c) : 0);
	return true;
}
