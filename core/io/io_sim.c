/* io_sim.c - the io of a simulated disk: sim_disk.h behind one lock, with virtual time,
 * faults, and the moment at which the machine stops.
 *
 * Every call goes through call_begin(), which takes the lock, advances time, counts, and
 * says whether the call fails, and whether it takes effect all the same: a machine that
 * stops during a call may have done it without anyone hearing of it. */
#include "core/io/io_sim.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/base/lock.h"
#include "core/io/sim_disk.h"

#define CALL_KINDS 8
#define OFF_MAX	   ((uint64_t)INT64_MAX)

struct trap {
	unsigned mask;
	uint64_t left; /* calls to go; 0: disarmed */
};

struct sim {
	struct io io;
	struct lock lock; /* guards all below */
	struct sim_disk disk;
	struct sim_rng bytes; /* of io_random(); fates are the disk's */
	uint64_t now_ns;
	uint64_t boot; /* counts cuts and kills; handles of another boot are dead */
	uint64_t calls[CALL_KINDS];
	struct trap stop, fail;
	int fail_err;
	bool fail_forever;
	bool off; /* stopped: nothing works until the cut or kill */
	void (*watch)(void *arg, unsigned call); /* not guarded: set before all starts */
	void *watch_arg;
	char **locks; /* names held */
	size_t n_locks;
	size_t n_handles;
};

struct sim_file {
	struct io_file file;
	struct sim *sim;
	struct sim_node *node;
	uint64_t boot;
	bool writable;
};

struct verdict {
	int err; /* 0 or negative: what the caller hears */
	bool effect; /* the call takes effect */
	bool fault; /* io_sim_fail_at() struck */
};

static const uint64_t tick_ns = 4000000u;
static const uint64_t real_offset_ns = 1700000000u * 1000000000ull;

static struct sim *sim_of(struct io *io)
{
	return container_of(io, struct sim, io);
}

static struct sim_file *file_of(struct io_file *f)
{
	return container_of(f, struct sim_file, file);
}

static void call_count(struct sim *s, unsigned call)
{
	for (unsigned i = 0; i < CALL_KINDS; i++)
		if (call & (1u << i))
			s->calls[i]++;
}

/* True when this call is the one the trap waits for. */
static bool trap_springs(struct trap *t, unsigned call)
{
	return t->left && (t->mask & call) && --t->left == 0;
}

/* call is one bit of enum io_sim_call, or 0 for calls that have none. Takes the lock. */
static struct verdict call_begin(struct sim *s, unsigned call)
{
	if (s->watch && call && !s->off)
		s->watch(s->watch_arg, call);
	lock_take(&s->lock);
	s->now_ns += 1000;
	if (s->off)
		return (struct verdict) { .err = -EIO };
	call_count(s, call);
	if (trap_springs(&s->stop, call)) {
		s->off = true;
		return (struct verdict) { .err = -EIO,
					  .effect = sim_rng_below(&s->disk.fates, 2) };
	}
	if (trap_springs(&s->fail, call)) {
		s->fail.left = s->fail_forever ? 1 : 0;
		return (struct verdict) { .err = s->fail_err, .fault = true };
	}
	return (struct verdict) { .effect = true };
}

static int call_end(struct sim *s, struct verdict v, int r)
{
	lock_drop(&s->lock);
	return v.err < 0 ? v.err : r;
}

/* ---- files ---- */

/* As call_begin(); the handle must be of this boot. */
static struct verdict file_begin(struct sim_file *f, unsigned call)
{
	struct verdict v = call_begin(f->sim, call);

	if (f->boot != f->sim->boot)
		return (struct verdict) { .err = -EIO };
	return v;
}

static ssize_t sim_pread(struct io_file *file, void *p, size_t n, uint64_t off)
{
	struct sim_file *f = file_of(file);
	struct verdict v = file_begin(f, IO_SIM_PREAD);
	size_t got = 0;
	int r;

	if (v.err == 0)
		got = sim_file_read(f->node, p, n, off);
	r = call_end(f->sim, v, 0);
	return r < 0 ? r : (ssize_t)got;
}

/* A write that fails may have written some: nothing, all, or a first part. */
static size_t partial_draw(struct sim *s, size_t n)
{
	switch (sim_rng_below(&s->disk.fates, 3)) {
	case 0:
		return 0;
	case 1:
		return n;
	default:
		return (size_t)sim_rng_below(&s->disk.fates, n + 1);
	}
}

static int sim_pwrite(struct io_file *file, const void *p, size_t n, uint64_t off)
{
	struct sim_file *f = file_of(file);
	struct sim *s = f->sim;
	struct verdict v = file_begin(f, IO_SIM_PWRITE);
	int r = 0;

	if (!f->writable)
		r = -EBADF;
	else if (off > OFF_MAX || n > OFF_MAX - off)
		r = -EFBIG;
	else if (v.effect || v.fault)
		r = sim_file_write(&s->disk, f->node, p, v.err ? partial_draw(s, n) : n,
				   off);
	return call_end(s, v, r);
}

static int sim_sync(struct io_file *file)
{
	struct sim_file *f = file_of(file);
	struct verdict v;
	size_t n;

	/* Not what others write while it is under way: watch() may let them. */
	lock_take(&f->sim->lock);
	n = sim_file_pending(f->node);
	lock_drop(&f->sim->lock);
	v = file_begin(f, IO_SIM_SYNC);
	if (v.effect)
		sim_file_sync(f->node, n);
	else if (v.fault)
		sim_file_spoil(&f->sim->disk, f->node, n);
	return call_end(f->sim, v, 0);
}

static int sim_resize(struct io_file *file, uint64_t len,
		      int (*resize)(struct sim_disk *, struct sim_node *, uint64_t))
{
	struct sim_file *f = file_of(file);
	struct verdict v = file_begin(f, IO_SIM_TRUNCATE);
	int r = 0;

	if (!f->writable)
		r = -EBADF;
	else if (len > OFF_MAX)
		r = -EFBIG;
	else if (v.effect)
		r = resize(&f->sim->disk, f->node, len);
	return call_end(f->sim, v, r);
}

static int sim_allocate(struct io_file *file, uint64_t len)
{
	return sim_resize(file, len, sim_file_allocate);
}

static int sim_truncate(struct io_file *file, uint64_t len)
{
	return sim_resize(file, len, sim_file_truncate);
}

static int sim_size(struct io_file *file, uint64_t *ret_bytes)
{
	struct sim_file *f = file_of(file);
	struct verdict v = file_begin(f, 0);

	if (v.err == 0)
		*ret_bytes = sim_file_size(f->node);
	return call_end(f->sim, v, 0);
}

static void sim_close(struct io_file *file)
{
	struct sim_file *f = file_of(file);
	struct sim *s = f->sim;

	lock_take(&s->lock);
	assert(s->n_handles > 0);
	s->n_handles--;
	sim_node_close(&s->disk, f->node, f->boot == s->boot);
	lock_drop(&s->lock);
	free(f);
}

static const struct io_file_ops sim_file_ops = {
	.pread = sim_pread,
	.pwrite = sim_pwrite,
	.sync = sim_sync,
	.allocate = sim_allocate,
	.truncate = sim_truncate,
	.size = sim_size,
	.close = sim_close,
};

/* ---- the io ---- */

static int node_open_locked(struct sim *s, const char *name, unsigned flags,
			    struct sim_node **ret)
{
	int r = *name ? sim_disk_find(&s->disk, name, ret) : -EINVAL;

	if (r == -ENOENT && (flags & IO_CREATE))
		return sim_disk_create(&s->disk, name, false, ret);
	if (r < 0)
		return r;
	if ((flags & IO_CREATE) && (flags & IO_EXCL))
		return -EEXIST;
	return sim_node_is_folder(*ret) ? -EISDIR : 0;
}

static struct io_file *handle_new_locked(struct sim *s, struct sim_node *node,
					 unsigned flags)
{
	struct sim_file *f = sim_realloc(NULL, 1, sizeof(*f));

	*f = (struct sim_file) {
		.file.ops = &sim_file_ops,
		.sim = s,
		.node = node,
		.boot = s->boot,
		.writable = flags & (IO_WRITE | IO_CREATE),
	};
	sim_node_open(node);
	s->n_handles++;
	return &f->file;
}

static int sim_open(struct io *io, const char *name, unsigned flags, struct io_file **ret)
{
	struct sim *s = sim_of(io);
	struct verdict v = call_begin(s, IO_SIM_OPEN);
	struct sim_node *node;
	int r = 0;

	if (v.effect)
		r = node_open_locked(s, name, flags, &node);
	if (v.err == 0 && r == 0)
		*ret = handle_new_locked(s, node, flags);
	return call_end(s, v, r);
}

static int sim_rename(struct io *io, const char *from, const char *to)
{
	struct sim *s = sim_of(io);
	struct verdict v = call_begin(s, IO_SIM_RENAME);

	return call_end(s, v, v.effect ? sim_disk_rename(&s->disk, from, to) : 0);
}

static int sim_unlink(struct io *io, const char *name)
{
	struct sim *s = sim_of(io);
	struct verdict v = call_begin(s, IO_SIM_UNLINK);

	return call_end(s, v, v.effect ? sim_disk_unlink(&s->disk, name) : 0);
}

static int sim_mkdir(struct io *io, const char *name)
{
	struct sim *s = sim_of(io);
	struct verdict v = call_begin(s, IO_SIM_OPEN);
	struct sim_node *node;

	return call_end(s, v,
			v.effect ? sim_disk_create(&s->disk, name, true, &node) : 0);
}

static int folder_find(struct sim *s, const char *dir, struct sim_node **ret)
{
	int r = sim_disk_find(&s->disk, dir, ret);

	if (r < 0)
		return r;
	return sim_node_is_folder(*ret) ? 0 : -ENOTDIR;
}

static int sim_list(struct io *io, const char *dir,
		    int (*each)(void *arg, const char *name), void *arg)
{
	struct sim *s = sim_of(io);
	struct verdict v = call_begin(s, 0);
	struct sim_node *folder;
	char **names = NULL;
	int r = 0;

	if (v.effect)
		r = folder_find(s, dir, &folder);
	if (v.effect && r == 0)
		names = sim_folder_names(folder);
	r = call_end(s, v, r);

	/* The lock is off: each may call us. */
	for (char **name = names; name && *name; name++) {
		if (r == 0)
			r = each(arg, *name);
		free(*name);
	}
	free(names);
	return r;
}

static int sim_sync_dir(struct io *io, const char *dir)
{
	struct sim *s = sim_of(io);
	struct verdict v = call_begin(s, IO_SIM_SYNC_DIR);
	struct sim_node *folder;
	int r;

	r = folder_find(s, dir, &folder);
	if (r == 0 && v.effect)
		sim_folder_sync(&s->disk, folder);
	else if (r == 0 && v.fault)
		sim_folder_spoil(&s->disk, folder);
	return call_end(s, v, r);
}

static int sim_space(struct io *io, struct io_space *ret)
{
	struct sim *s = sim_of(io);
	struct verdict v = call_begin(s, 0);

	if (v.err == 0)
		*ret = (struct io_space) {
			.total_bytes = s->disk.total_bytes,
			.free_bytes = sim_disk_free_bytes(&s->disk),
		};
	return call_end(s, v, 0);
}

static int lock_file_locked(struct sim *s, const char *name, pid_t *ret_pid)
{
	struct sim_node *node;
	char pid[32];
	int n, r;

	for (size_t i = 0; i < s->n_locks; i++)
		if (!strcmp(s->locks[i], name)) {
			*ret_pid = getpid();
			return -EWOULDBLOCK;
		}
	r = node_open_locked(s, name, IO_CREATE, &node);
	if (r < 0)
		return r;
	n = snprintf(pid, sizeof(pid), "%d\n", (int)getpid());
	r = sim_file_truncate(&s->disk, node, 0);
	if (r == 0)
		r = sim_file_write(&s->disk, node, pid, (size_t)n, 0);
	if (r < 0 && r != -ENOSPC) /* the pid is a courtesy: a full disk opens too */
		return r;
	s->locks = sim_realloc(s->locks, s->n_locks + 1, sizeof(*s->locks));
	s->locks[s->n_locks] = sim_realloc(NULL, strlen(name) + 1, 1);
	strcpy(s->locks[s->n_locks++], name);
	return 0;
}

static int sim_lock(struct io *io, const char *name, pid_t *ret_pid)
{
	struct sim *s = sim_of(io);
	struct verdict v = call_begin(s, 0);

	return call_end(s, v, v.effect ? lock_file_locked(s, name, ret_pid) : 0);
}

static void locks_drop_locked(struct sim *s)
{
	for (size_t i = 0; i < s->n_locks; i++)
		free(s->locks[i]);
	free(s->locks);
	s->locks = NULL;
	s->n_locks = 0;
}

static uint64_t sim_mono_ns(struct io *io)
{
	struct sim *s = sim_of(io);
	uint64_t now;

	lock_take(&s->lock);
	now = s->now_ns += 1000;
	lock_drop(&s->lock);
	return now;
}

static uint64_t sim_real_ns(struct io *io)
{
	return sim_mono_ns(io) + real_offset_ns;
}

static uint64_t sim_tick_ns(struct io *io)
{
	uint64_t now = sim_mono_ns(io);

	return now - now % tick_ns;
}

static void sim_boot_id(struct io *io, uint8_t ret_id[16])
{
	struct sim *s = sim_of(io);

	lock_take(&s->lock);
	memset(ret_id, 0, 16);
	memcpy(ret_id, &s->boot, sizeof(s->boot));
	lock_drop(&s->lock);
}

static void sim_random(struct io *io, void *p, size_t n)
{
	struct sim *s = sim_of(io);
	unsigned char *at = p;

	lock_take(&s->lock);
	s->now_ns += 1000;
	while (n > 0) {
		uint64_t v = sim_rng_next(&s->bytes);
		size_t part = MIN(n, sizeof(v));

		memcpy(at, &v, part);
		at += part;
		n -= part;
	}
	lock_drop(&s->lock);
}

static void sim_free(struct io *io)
{
	struct sim *s = sim_of(io);

	assert(s->n_handles == 0);
	locks_drop_locked(s);
	sim_disk_release(&s->disk);
	lock_release(&s->lock);
	free(s);
}

static const struct io_ops sim_ops = {
	.open = sim_open,
	.rename = sim_rename,
	.unlink = sim_unlink,
	.mkdir = sim_mkdir,
	.list = sim_list,
	.sync_dir = sim_sync_dir,
	.space = sim_space,
	.lock = sim_lock,
	.real_ns = sim_real_ns,
	.mono_ns = sim_mono_ns,
	.tick_ns = sim_tick_ns,
	.boot_id = sim_boot_id,
	.random = sim_random,
	.free = sim_free,
};

static int sim_new(uint64_t seed, struct sim **ret)
{
	struct sim *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->io.ops = &sim_ops;
	s->bytes.state = ~seed;
	s->now_ns = 1000000000u;
	s->boot = 1;
	lock_init(&s->lock, RANK_IO);
	*ret = s;
	return 0;
}

int io_sim_new(uint64_t seed, struct io **ret)
{
	struct sim *s;
	int r = sim_new(seed, &s);

	if (r < 0)
		return r;
	sim_disk_init(&s->disk, seed, 1024 * GIB);
	*ret = &s->io;
	return 0;
}

int io_sim_branch(struct io *io, uint64_t seed, struct io **ret)
{
	struct sim *from = sim_of(io), *s;
	int r = sim_new(seed, &s);

	if (r < 0)
		return r;
	lock_take(&from->lock);
	s->now_ns = from->now_ns;
	sim_disk_copy(&s->disk, &from->disk, seed);
	lock_drop(&from->lock);
	*ret = &s->io;
	return 0;
}

/* ---- what tests do to it ---- */

static void restart_locked(struct sim *s)
{
	s->boot++;
	s->off = false;
	s->stop = (struct trap) { 0 };
	locks_drop_locked(s);
}

void io_sim_power_cut(struct io *io)
{
	struct sim *s = sim_of(io);

	lock_take(&s->lock);
	sim_disk_cut(&s->disk);
	restart_locked(s);
	lock_drop(&s->lock);
}

void io_sim_power_cut_as(struct io *io, const uint8_t *fates, size_t n)
{
	struct sim *s = sim_of(io);

	lock_take(&s->lock);
	sim_disk_cut_as(&s->disk, fates, n);
	restart_locked(s);
	lock_drop(&s->lock);
}

size_t io_sim_units(struct io *io)
{
	struct sim *s = sim_of(io);
	size_t n;

	lock_take(&s->lock);
	n = sim_disk_units(&s->disk);
	lock_drop(&s->lock);
	return n;
}

void io_sim_allow(struct io *io, unsigned lies)
{
	struct sim *s = sim_of(io);

	lock_take(&s->lock);
	s->disk.lies = lies;
	lock_drop(&s->lock);
}

void io_sim_watch(struct io *io, void (*watch)(void *arg, unsigned call), void *arg)
{
	struct sim *s = sim_of(io);

	s->watch = watch;
	s->watch_arg = arg;
}

void io_sim_kill(struct io *io)
{
	struct sim *s = sim_of(io);

	lock_take(&s->lock);
	sim_disk_kill(&s->disk);
	restart_locked(s);
	lock_drop(&s->lock);
}

void io_sim_stop_at(struct io *io, unsigned mask, uint64_t n)
{
	struct sim *s = sim_of(io);

	lock_take(&s->lock);
	s->stop = (struct trap) { mask, n };
	lock_drop(&s->lock);
}

void io_sim_fail_at(struct io *io, unsigned mask, uint64_t n, int err, bool forever)
{
	struct sim *s = sim_of(io);

	assert(n == 0 || err > 0);
	lock_take(&s->lock);
	s->fail = (struct trap) { mask, n };
	s->fail_err = -err;
	s->fail_forever = forever;
	lock_drop(&s->lock);
}

uint64_t io_sim_calls(struct io *io, unsigned mask)
{
	struct sim *s = sim_of(io);
	uint64_t sum = 0;

	lock_take(&s->lock);
	for (unsigned i = 0; i < CALL_KINDS; i++)
		if (mask & (1u << i))
			sum += s->calls[i];
	lock_drop(&s->lock);
	return sum;
}

void io_sim_set_free(struct io *io, uint64_t bytes)
{
	struct sim *s = sim_of(io);

	lock_take(&s->lock);
	s->disk.total_bytes = s->disk.used_bytes + MIN(bytes, OFF_MAX / 2);
	lock_drop(&s->lock);
}

void io_sim_advance(struct io *io, uint64_t ns)
{
	struct sim *s = sim_of(io);

	lock_take(&s->lock);
	s->now_ns += ns;
	lock_drop(&s->lock);
}

int io_sim_flip(struct io *io, const char *name, uint64_t off, unsigned bit)
{
	struct sim *s = sim_of(io);
	struct sim_node *node;
	int r;

	lock_take(&s->lock);
	r = sim_disk_find(&s->disk, name, &node);
	if (r == 0)
		r = sim_node_is_folder(node) ? -EINVAL : sim_file_flip(node, off, bit);
	lock_drop(&s->lock);
	return r;
}
