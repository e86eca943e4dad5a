#include "fs/txn.h"

#include "fs/handles.h"
#include "fs/notify.h"
#include "fs/ops.h"
#include "fs/reply.h"
#include "fs/ropefs_ioctl.h"
#include "fs/staged.h"
#include "fs/txn_priv.h"
#include "fs/view_range.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PUT_OFF_US = 1000 };

static void txn_free(struct txn *x)
{
	ropefs_txn_abort(x->core);
	pthread_mutex_destroy(&x->mutex);
	staged_let(x->part_cap);
	txn_kept_free(x);
	free(x->members);
	free(x->part);
	free(x);
}

static int over(struct txn *x)
{
	if (!x->lost)
		return -EINVAL;
	snprintf(x->why.text, sizeof(x->why.text),
		 "the daemon was replaced, and the transaction could not be taken over; "
		 "begin again");
	return -EBUSY;
}

int txn_restore(struct daemon *d, const struct kept_file *k)
{
	struct txn *x = calloc(1, sizeof(*x));
	int r;

	if (!x)
		return -ENOMEM;
	x->refs = 1;
	x->kept = k->k;
	pthread_mutex_init(&x->mutex, NULL);
	txn_restore_state(d, x, k->state ? k->state : k->fixed);
	pthread_mutex_lock(&d->txns.mutex);
	r = map_put(&d->txns.by_id, x->id, x);
	pthread_mutex_unlock(&d->txns.mutex);
	if (r < 0)
		txn_free(x);
	else
		r = handle_put(k->fh, x);
	return r;
}

void txns_init(struct txns *t)
{
	*t = (struct txns) { 0 };
	pthread_mutex_init(&t->mutex, NULL);
}

static void drop(void *value)
{
	txn_free(value);
}

void txns_release(struct txns *t)
{
	map_release(&t->by_id, drop);
	pthread_mutex_destroy(&t->mutex);
}

static struct txn *get(struct txns *t, uint64_t id)
{
	struct txn *x;

	pthread_mutex_lock(&t->mutex);
	x = map_get(&t->by_id, id);
	if (x)
		x->refs++;
	pthread_mutex_unlock(&t->mutex);
	return x;
}

/* The last one to let go takes it out of the map: until then its id is not given again. */
static void put(struct txns *t, struct txn *x)
{
	bool last;

	pthread_mutex_lock(&t->mutex);
	last = !--x->refs;
	if (last)
		map_del(&t->by_id, x->id);
	pthread_mutex_unlock(&t->mutex);
	if (last)
		txn_free(x);
}

static int add(struct txns *t, struct txn *x)
{
	int r;

	pthread_mutex_lock(&t->mutex);
	do {
		r = getrandom(&x->id, sizeof(x->id), 0) == sizeof(x->id) ? 0 : -EIO;
	} while (r >= 0 && (!x->id || map_get(&t->by_id, x->id)));
	if (r >= 0)
		r = map_put(&t->by_id, x->id, x);
	pthread_mutex_unlock(&t->mutex);
	return r;
}

static int begin(struct daemon *d, struct txn **ret)
{
	struct txn *x = calloc(1, sizeof(*x));
	int r;

	if (!x)
		return -ENOMEM;
	x->refs = 1;
	pthread_mutex_init(&x->mutex, NULL);
	r = ropefs_txn_begin(d->fs, &x->core);
	if (r >= 0)
		r = add(&d->txns, x);
	if (r < 0)
		txn_free(x);
	else
		*ret = x;
	return r;
}

static void txn_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct daemon *d = daemon_of(req);
	struct txn *x;
	int r = begin(d, &x);

	if (r < 0) {
		reply_err(req, r);
		return;
	}
	x->now.id = x->id;
	kept_new(&x->kept, &x->now, sizeof(x->now));
	fi->direct_io = 1;
	fi->noflush = 1;
	if (reply_open_file(req, fi, &(struct opened) { x, &x->kept, KEPT_TXN, ino }) < 0)
		put(&d->txns, x);
}

static void txn_read(fuse_req_t req, fuse_ino_t ino, size_t n, off_t off,
		     struct fuse_file_info *fi)
{
	(void)ino;
	(void)n;
	(void)off;
	(void)fi;
	fuse_reply_err(req, EINVAL); /* a transaction is no text: see ropefs_ioctl.h */
}

static void release_waiting(struct task *t)
{
	put(&t->d->txns, (struct txn *)(uintptr_t)t->fi.fh);
	t->r = 0;
	task_reply_err(t);
}

static void txn_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct task *t = task_new(daemon_of(req), req, NULL, 0);

	(void)ino;
	if (!t)
		return;
	t->fi = *fi;
	task_run(t, release_waiting);
}

/* --- requests --- */

/* What to tell of the last error, to who asks. With x->mutex held. */
static void note_why(struct txn *x, int64_t r)
{
	snprintf(x->why.text, sizeof(x->why.text), "%s", r < 0 ? ropefs_error() : "");
}

/* How many bytes a request brings that records may have to hold. */
static size_t brings(const struct task *t)
{
	const struct ropefs_ioc_txn_edit *e = (const void *)t->data;

	return t->n == ROPEFS_IOC_NR_TXN_EDIT ? e->n : 0;
}

static int64_t ask(struct task *t, struct txn *x, struct ropefs_ioc_txn_use *u)
{
	int r = txn_request_begin(x, brings(t), t->n == ROPEFS_IOC_NR_TXN_NAME);

	if (r < 0)
		return r;
	if (t->n == ROPEFS_IOC_NR_TXN_USE)
		return txn_use(t, x, u);
	if (t->n == ROPEFS_IOC_NR_TXN_NAME)
		return txn_name_change(t, x, (void *)t->data);
	return txn_edit(t, x, (const void *)t->data);
}

/* What the request asks of the transaction, while nobody else uses it; u is told what a
 * file's use is told. Negative: it is answered, and x dropped. */
static int step(struct task *t, struct txn *x, struct ropefs_ioc_txn_use *u)
{
	struct ropefs_ioc_txn_name *name =
		t->n == ROPEFS_IOC_NR_TXN_NAME ? (void *)t->data : NULL;
	uint32_t file = 0;

	pthread_mutex_lock(&x->mutex);
	if (t->n != ROPEFS_IOC_NR_TXN_USE && txn_was_answered(x, &file)) {
		if (name)
			name->file = file;
		t->r = 0;
	} else if (!x->core) {
		t->r = over(x);
	} else {
		t->r = ask(t, x, u);
		note_why(x, t->r);
		txn_request_end(x, t->r, name ? name->file : 0);
	}
	pthread_mutex_unlock(&x->mutex);
	if (t->r >= 0)
		return 0;
	put(&t->d->txns, x);
	task_reply_err(t);
	return -1;
}

/* True: it will be tried again a little later. */
static bool put_off(struct task *t, struct txn *x, void (*again)(struct task *t))
{
	bool waits;

	pthread_mutex_lock(&x->mutex);
	waits = txn_waits_for_other(x);
	pthread_mutex_unlock(&x->mutex);
	if (!waits)
		return false;
	usleep(PUT_OFF_US);
	task_run_held(t, again);
	return true;
}

/* After the reply to a step. */
static void step_end(struct task *t, struct txn *x)
{
	pthread_mutex_lock(&x->mutex);
	txn_replied(x);
	pthread_mutex_unlock(&x->mutex);
	put(&t->d->txns, x);
	task_free(t);
}

static void file_waiting(struct task *t);

static void file_written_back(struct task *t)
{
	range_drop(t->d, t->ino, 0, INT64_MAX);
	task_run_held(t, file_waiting);
}

/* True: the file is about to join, and a map may have changed bytes of it that only the kernel has.
 * They are written back first: the transaction would go on from the old ones, and then find
 * that somebody changed the file meanwhile. */
static bool write_back(struct task *t, struct txn *x)
{
	bool joined;

	if (t->written_back || !inodes_may_be_mapped(&t->d->inodes, t->ino))
		return false;
	t->written_back = true;
	pthread_mutex_lock(&x->mutex);
	joined = txn_has(x, t->ino);
	pthread_mutex_unlock(&x->mutex);
	if (!joined)
		task_edit(t, t->ino, file_written_back);
	return !joined;
}

static void file_waiting(struct task *t)
{
	struct ropefs_ioc_txn_use u = { 0 };
	uint64_t id = *(const uint64_t *)(const void *)t->data; /* both begin with it */
	struct daemon *d = t->d;
	struct txn *x = get(&d->txns, id);

	if (!x) {
		t->r = -EINVAL;
		task_reply_err(t);
		return;
	}
	if (put_off(t, x, file_waiting) || write_back(t, x)) {
		put(&d->txns, x);
		return;
	}
	if (step(t, x, &u) < 0)
		return;
	u.txn = id;
	fuse_reply_ioctl(t->req, 0, t->n == ROPEFS_IOC_NR_TXN_USE ? &u : NULL,
			 t->n == ROPEFS_IOC_NR_TXN_USE ? sizeof(u) : 0);
	step_end(t, x);
}

bool txn_takes(unsigned cmd)
{
	return _IOC_TYPE(cmd) == ROPEFS_IOC_TYPE &&
	       (cmd == ROPEFS_IOC_TXN_USE ||
		(_IOC_NR(cmd) == ROPEFS_IOC_NR_TXN_EDIT && _IOC_DIR(cmd) == _IOC_WRITE));
}

static int edit_check(const struct ropefs_ioc_txn_edit *e, size_t n)
{
	if (n < sizeof(*e) || e->n != n - sizeof(*e) || e->n > ROPEFS_IOC_DATA_MAX)
		return -EINVAL;
	if (e->flags & ROPEFS_IOC_TXN_APPEND)
		return e->flags & ROPEFS_IOC_TXN_MOVE || e->src || e->src_at ||
				       e->src_n || e->at || e->cut
			       ? -EINVAL
			       : 0;
	if (e->flags & ~ROPEFS_IOC_TXN_MOVE || (e->src && e->n) ||
	    (!e->src && (e->flags || e->src_at || e->src_n)))
		return -EINVAL;
	return 0;
}

void txn_file_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned cmd,
		    struct fuse_file_info *fi, bool dir, const void *in, size_t n_in)
{
	bool is_use = cmd == ROPEFS_IOC_TXN_USE;
	struct task *t;
	int r = 0;

	if (is_use && n_in != sizeof(struct ropefs_ioc_txn_use))
		r = -EINVAL;
	else if (!is_use)
		r = edit_check(in, n_in);
	if (r >= 0 && !is_use && ((const struct ropefs_ioc_txn_edit *)in)->dst)
		r = -EINVAL;
	if (r >= 0 && !dir && !(fi->fh & (is_use ? FH_READ | FH_WRITE : FH_WRITE)))
		r = -EBADF;
	if (r >= 0 && dir && !is_use)
		r = -EISDIR;
	if (r < 0) {
		reply_err(req, r);
		return;
	}
	t = task_new(daemon_of(req), req, in, n_in);
	if (!t)
		return;
	t->ino = ino;
	t->fi = *fi;
	t->n = _IOC_NR(cmd);
	t->flags = fuse_req_ctx(req)->uid;
	task_run_held(t, file_waiting);
}

/* --- names, and files without a descriptor: by the handle of the transaction --- */

static void handle_waiting(struct task *t)
{
	struct txn *x = (struct txn *)(uintptr_t)t->fi.fh;
	struct ropefs_ioc_txn_name *name = (void *)t->data;
	bool names = t->n == ROPEFS_IOC_NR_TXN_NAME;

	if (put_off(t, x, handle_waiting) || step(t, x, NULL) < 0)
		return;
	fuse_reply_ioctl(t->req, 0, names ? name : NULL, names ? sizeof(*name) : 0);
	step_end(t, x);
}

static void change_by_handle(fuse_req_t req, struct txn *x, unsigned cmd, const void *in,
			     size_t n_in)
{
	bool names = cmd == ROPEFS_IOC_TXN_NAME;
	struct task *t;
	int r = -ENOTTY;

	if (names)
		r = n_in == sizeof(struct ropefs_ioc_txn_name) ? 0 : -EINVAL;
	else if (txn_takes(cmd) && cmd != ROPEFS_IOC_TXN_USE)
		r = edit_check(in, n_in);
	if (r < 0) {
		reply_err(req, r);
		return;
	}
	t = task_new(daemon_of(req), req, in, n_in);
	if (!t)
		return;
	t->fi.fh = (uintptr_t)x;
	t->n = _IOC_NR(cmd);
	t->flags = fuse_req_ctx(req)->uid;
	get(&t->d->txns, x->id);
	task_run_held(t, handle_waiting);
}

/* --- the commit --- */

/* What a commit does to the kernel's caches: all files as if they changed from their beginning. */
struct committing {
	struct daemon *d;
	struct txn *x;
	struct ropefs_txn *core;
	struct moved *moved;
	size_t n;
	unsigned threads; /* a bit for each thread of edits that it needs */
};

static void add_moved(void *arg, uint64_t ino)
{
	struct committing *c = arg;

	if (c->moved)
		c->moved[c->n] = (struct moved) { .ino = ino };
	c->n++;
	c->threads |= 1u << ino % EDIT_THREADS;
}

static int measure(struct committing *c)
{
	struct ropefs_attr is, will;
	int r = 0;

	for (size_t i = 0; r >= 0 && i < c->n; i++) {
		r = ropefs_getattr(c->d->fs, c->moved[i].ino, &is);
		if (r >= 0)
			r = ropefs_txn_getattr(c->core, c->moved[i].ino, &will);
		if (r < 0)
			break;
		c->moved[i].gone = is.size;
		c->moved[i].come = will.size;
	}
	return r;
}

static int drop_privs(struct committing *c)
{
	int r = 0;

	for (size_t i = 0; r >= 0 && i < c->x->n; i++)
		if (c->x->members[i].edited)
			r = privs_drop(c->d, c->x->members[i].ino, c->x->members[i].uid);
	return r < 0 ? r : 0;
}

static int commit_core(struct committing *c)
{
	int r;

	pthread_mutex_lock(&c->x->mutex);
	txn_commit_begin(c->x);
	pthread_mutex_unlock(&c->x->mutex);
	r = ropefs_txn_commit(c->core);
	pthread_mutex_lock(&c->x->mutex);
	txn_commit_end(c->x, r);
	pthread_mutex_unlock(&c->x->mutex);
	return r;
}

static int commit(struct committing *c)
{
	int r = measure(c);

	if (r >= 0)
		r = drop_privs(c);
	if (r < 0) {
		ropefs_txn_abort(c->core);
		pthread_mutex_lock(&c->x->mutex);
		txn_refused(c->x, r);
		pthread_mutex_unlock(&c->x->mutex);
		return r;
	}
	for (size_t i = 0; i < c->n; i++) {
		edit_begin(c->d, &c->moved[i]);
		view_edit_lock(c->d, c->moved[i].ino, NULL);
		inodes_edit_unlock(&c->d->inodes, c->moved[i].ino);
	}
	r = commit_core(c);
	if (r >= 0)
		txn_names_forget(c->d, c->x);
	for (size_t i = 0; i < c->n; i++) {
		inodes_edit_lock(&c->d->inodes, c->moved[i].ino);
		view_edit_unlock(c->d, c->moved[i].ino, NULL, r >= 0);
		edit_end(c->d, &c->moved[i]);
	}
	return r;
}

static void committed(struct task *t, struct committing *c)
{
	pthread_mutex_lock(&c->x->mutex);
	if (c->core)
		note_why(c->x, t->r);
	pthread_mutex_unlock(&c->x->mutex);
	put(&t->d->txns, c->x);
	free(c->moved);
	free(c);
	if (t->r < 0) {
		task_reply_err(t);
		return;
	}
	fuse_reply_ioctl(t->req, 0, NULL, 0);
	task_free(t);
}

/* In the first of the threads it needs; the others stop meanwhile. */
static void commit_in_thread(struct task *t)
{
	struct committing *c = (struct committing *)(uintptr_t)t->to_fh;
	struct parked parked[EDIT_THREADS];
	unsigned others = c->threads & (c->threads - 1);

	edits_park(t->d, others, parked);
	t->r = commit(c);
	edits_unpark(others, parked);
	committed(t, c);
}

/* Takes the transaction out of x, so that requests which come now find it over, and don't wait. */
static struct committing *committing_new(struct daemon *d, struct txn *x)
{
	struct committing *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	*c = (struct committing) { .d = d, .x = x };
	pthread_mutex_lock(&x->mutex);
	if (x->core)
		ropefs_txn_each(x->core, add_moved, c);
	c->moved = calloc(c->n + 1, sizeof(*c->moved));
	c->n = 0;
	if (x->has_names) /* the kernel is told of them by a thread that may wait for it */
		c->threads |= 1;
	if (c->moved && x->core) {
		ropefs_txn_each(x->core, add_moved, c);
		c->core = x->core;
		x->core = NULL;
	}
	pthread_mutex_unlock(&x->mutex);
	return c;
}

/* By the daemon before, which may not have told the kernel. */
static void committed_before(struct task *t)
{
	struct txn *x = (struct txn *)(uintptr_t)t->fi.fh;

	if (t->r >= 0)
		txn_names_forget(t->d, x);
	put(&t->d->txns, x);
	if (t->r < 0) {
		task_reply_err(t);
		return;
	}
	fuse_reply_ioctl(t->req, 0, NULL, 0);
	task_free(t);
}

static bool was_ended(struct txn *x, int64_t *ret)
{
	int result;
	bool ended;

	pthread_mutex_lock(&x->mutex);
	ended = txn_was_ended(x, &result);
	pthread_mutex_unlock(&x->mutex);
	*ret = result;
	return ended;
}

static void commit_waiting(struct task *t)
{
	struct txn *x = (struct txn *)(uintptr_t)t->fi.fh;
	struct committing *c;

	if (was_ended(x, &t->r)) {
		task_edit(t, 0, committed_before);
		return;
	}
	c = committing_new(t->d, x);
	if (!c) {
		put(&t->d->txns, x);
		t->r = -ENOMEM;
		task_reply_err(t);
		return;
	}
	if (!c->core || !c->threads) {
		t->r = c->core ? commit_core(c) : over(x);
		committed(t, c);
		return;
	}
	t->to_fh = (uintptr_t)c;
	task_edit(t, (fuse_ino_t)__builtin_ctz(c->threads), commit_in_thread);
}

static void why_waiting(struct task *t)
{
	struct txn *x = (struct txn *)(uintptr_t)t->fi.fh;
	struct ropefs_ioc_txn_why why;

	pthread_mutex_lock(&x->mutex);
	why = x->why;
	pthread_mutex_unlock(&x->mutex);
	put(&t->d->txns, x);
	fuse_reply_ioctl(t->req, 0, &why, sizeof(why));
	task_free(t);
}

static void txn_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned cmd, void *arg,
		      struct fuse_file_info *fi, unsigned flags, const void *in,
		      size_t n_in, size_t n_out)
{
	struct txn *x = (struct txn *)(uintptr_t)fi->fh;
	struct task *t;

	(void)ino;
	(void)arg;
	(void)flags;
	(void)n_out;
	if (cmd == ROPEFS_IOC_TXN_ID) {
		fuse_reply_ioctl(req, 0, &x->id, sizeof(x->id));
		return;
	}
	if (cmd != ROPEFS_IOC_TXN_WHY && cmd != ROPEFS_IOC_TXN_COMMIT) {
		change_by_handle(req, x, cmd, in, n_in);
		return;
	}
	/* Not here: an edit that is under way may wait, with the mutex. */
	t = task_new(daemon_of(req), req, NULL, 0);
	if (!t)
		return;
	t->fi = *fi;
	get(&t->d->txns, x->id); /* its handle may be closed by another thread */
	task_run_held(t, cmd == ROPEFS_IOC_TXN_WHY ? why_waiting : commit_waiting);
}

const struct fuse_lowlevel_ops txn_ops = {
	.open = txn_open,
	.read = txn_read,
	.release = txn_release,
	.ioctl = txn_ioctl,
};
