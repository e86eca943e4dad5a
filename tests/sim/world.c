/* world.c - making, opening and looking at simulated worlds. */
#include "tests/sim/world.h"

#include <errno.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/err.h"
#include "core/remote_priv.h"
#include "tests/lib/fixed_random.h"

struct sim_totals sim_totals;
struct key_file *sim_key;
uint64_t sim_queue_ino;

/* --- what all worlds share --- */

#define LIES (IO_SIM_NAMES_ANY | IO_SIM_GARBAGE | IO_SIM_GARBAGE_SAME | IO_SIM_SPOIL_SOME)

static const uint8_t store_id[STORE_ID_BYTES] = "ropefs sim disk";
/* Disks of closed stores: fresh, furnished, furnished and with a bucket, and with its page file
 * kept twice. */
enum { FRESH, FURNISHED, WITH_BUCKET, TWIN, TEMPLATES };
static struct io *templates[TEMPLATES];
static struct bucket *template_bucket;
static char key_path[4200];

static void key_prepare(void)
{
	snprintf(key_path, sizeof(key_path), "%s/sim-%d.key", suite_tmpdir(),
		 (int)getpid());
	if (key_file_create(key_path, store_id) < 0 ||
	    key_file_read(key_path, &sim_key) < 0)
		abort();
}

const char *sim_key_path(void)
{
	return key_path;
}

static void put_bytes(struct ropefs *fs, uint64_t ino, size_t at, size_t n)
{
	uint8_t bytes[512];
	struct rng rng = rng_seeded(at);

	assert(n <= sizeof(bytes));
	rng_fill(&rng, bytes, n);
	if (ropefs_write(fs, ino, at, bytes, n, 0, NULL) != (ssize_t)n)
		abort();
}

/* A file whose tree has two levels, and its clone: 140 runs of 130 bytes between holes (less
 * would be packed together). */
static void furnish(struct ropefs *fs)
{
	static const char *const names[] = { "f0", "f1" };
	struct ropefs_new what = { .mode = S_IFREG | 0644 };
	struct ropefs_attr attr[2];

	for (int i = 0; i < 2; i++)
		if (ropefs_create(fs, ROPEFS_ROOT_INO, ropefs_name(names[i]), &what,
				  &attr[i]) < 0)
			abort();
	for (size_t i = 0; i < 140; i++)
		put_bytes(fs, attr[0].ino, 140 * i, 130);
	if (ropefs_checkpoint(fs) < 0 ||
	    ropefs_copy(fs, (struct ropefs_range) { attr[1].ino, 0, 0 },
			(struct ropefs_range) { attr[0].ino, 0, SIM_FILE_MAX }) < 0)
		abort();
}

static void make_queue(struct ropefs *fs)
{
	struct ropefs_new what = { .mode = S_IFREG | 0644 };
	struct ropefs_attr attr;

	if (ropefs_setxattr(fs, ROPEFS_ROOT_INO, "user.ropefs.kind", "queue", 5, 0) < 0 ||
	    ropefs_setxattr(fs, ROPEFS_ROOT_INO, "user.ropefs.framing", "write", 5, 0) <
		    0 ||
	    ropefs_create(fs, ROPEFS_ROOT_INO, ropefs_name("q"), &what, &attr) < 0 ||
	    ropefs_removexattr(fs, ROPEFS_ROOT_INO, "user.ropefs.kind") < 0 ||
	    ropefs_cursor_commit(fs, attr.ino, SIM_CURSOR, 0) < 0)
		abort();
	sim_queue_ino = attr.ino;
}

static void add_bucket(struct ropefs *fs)
{
	const struct ropefs_remote_opts opts = { .url = SIM_BUCKET_URL,
						 .keep_s = 1,
						 .local_bytes = 8 * KIB };

	if (ropefs_remote_add(fs, &opts) < 0)
		abort();
}

/* Opens the store on io, changes it, and closes it for good. */
static void template_finish(struct io *io, bool twin, void (*change)(struct ropefs *fs))
{
	struct world w = { .io = io, .twin = twin };

	if (world_open(&w) < 0)
		abort();
	change(w.fs);
	if (checkpoint_run(w.fs, true) < 0)
		abort();
	store_abandon(w.fs, true);
	io_sim_power_cut(io);
}

static void templates_make(void)
{
	struct io *io;

	if (io_sim_new(1, &io) < 0 ||
	    store_init(io, sim_key, CIPHER_XCHACHA20, store_id) < 0)
		abort();
	template_finish(io, false, make_queue);
	io_sim_allow(io, LIES);
	templates[FRESH] = io;
	if (io_sim_branch(io, 2, &templates[FURNISHED]) < 0 ||
	    io_sim_branch(io, 4, &templates[TWIN]) < 0)
		abort();
	template_finish(templates[FURNISHED], false, furnish);
	template_finish(templates[TWIN], true, furnish);
	if (io_sim_branch(templates[FURNISHED], 3, &templates[WITH_BUCKET]) < 0)
		abort();
	template_bucket = bucket_new(1);
	bucket_use(template_bucket);
	template_finish(templates[WITH_BUCKET], false, add_bucket);
}

void world_prepare(void)
{
	if (sim_key)
		return;
	mallopt(M_MMAP_THRESHOLD,
		1 << 30); /* opening a store should not fault pages in */
	mallopt(M_TRIM_THRESHOLD, 1 << 30);
	fixed_random_use(0);
	if (keys_init_library() < 0)
		abort();
	key_prepare();
	templates_make();
}

/* --- one world --- */

int world_open(struct world *w)
{
	struct store_opts o = { .segment_bytes = SIM_SEGMENT_BYTES,
				.frame_bytes = SIM_FRAME_BYTES,
				.page_copy = w->twin };
	int r;

	o.pub.memory_bytes = 32 * MIB;
	/* Some replays write checkpoints on their way. */
	o.hot_hard = rng_below(&w->rng, 4) ? 0 : 24 * KIB;
	w->fs = NULL;
	r = store_open(w->io, sim_key, &o, &w->fs);
	if (r < 0)
		return r;
	w->fs->hot_soft = 96 * KIB;
	w->fs->hot_hard = MIB;
	nodes_set_budget(w->fs->nodes, 24 * KIB);
	packs_set_budget(w->fs->packs, 256 * KIB);
	if (w->fs->remote) /* states are small: segments must be used, too */
		w->fs->remote->tail_pages = rng_below(&w->rng, 2) ? 6 : 0;
	return 0;
}

void world_kill(struct world *w)
{
	if (w->fs)
		store_abandon(w->fs, true);
	w->fs = NULL;
}

struct world world_new(uint64_t seed, struct budget *budget)
{
	struct world w = { .seed = seed,
			   .rng = rng_seeded(seed),
			   .life = 1,
			   .budget = budget,
			   .doing = "beginning" };
	int r;

	world_prepare();
	w.template = (unsigned)rng_below(&w.rng, TWIN);
	if (w.template == FURNISHED && seed % 2 == 0)
		w.template = TWIN;
	w.twin = w.template == TWIN;
	if (io_sim_branch(templates[w.template], rng_next(&w.rng), &w.io) < 0)
		abort();
	if (w.template == WITH_BUCKET)
		w.bucket = bucket_copy(template_bucket, rng_next(&w.rng));
	bucket_use(w.bucket);
	r = world_open(&w);
	world_check(&w, r == 0, "opening gives %d", r);
	history_add(&w.past, world_look(&w));
	r = ropefs_sync(w.fs);
	world_check(&w, r == 0, "sync gives %d", r);
	return w;
}

struct io *world_beginning(const struct world *w)
{
	struct io *io;

	if (io_sim_branch(templates[w->template], 1, &io) < 0)
		abort();
	return io;
}

void world_release(struct world *w)
{
	moments_drop(w);
	world_kill(w);
	history_release(&w->past);
	io_free(w->io);
	bucket_free(w->bucket);
}

void world_fail(const struct world *w, const char *fmt, ...)
{
	va_list ap;

	printf("# violation: SEED=0x%llx, life %u, %s: ", (unsigned long long)w->seed,
	       w->life, w->doing);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf(" (%s)\n# after %llu states\n", *err_detail() ? err_detail() : "-",
	       (unsigned long long)sim_totals.states);
	fflush(stdout);
	exit(1);
}

/* --- what is seen --- */

/* The folder d within root; no inode: it is not there. */
static struct ropefs_attr look_at_folder(struct world *w, uint64_t root)
{
	struct ropefs_attr attr = { 0 };
	int r = ropefs_lookup(w->fs, root, ropefs_name("d"), &attr);

	world_check(w, r == 0 || r == -ENOENT, "looking d up gives %d", r);
	return r == 0 ? attr : (struct ropefs_attr) { 0 };
}

static struct blob *look_at_file(struct world *w, uint64_t dir, unsigned i)
{
	static uint8_t bytes[SIM_FILE_MAX + 1];
	char name[8];
	struct ropefs_attr attr;
	struct blob *b;
	ssize_t n;
	int r;

	snprintf(name, sizeof(name), "f%u", i);
	r = ropefs_lookup(w->fs, dir, ropefs_name(name), &attr);
	if (r == -ENOENT)
		return NULL;
	world_check(w, r == 0, "looking %s up gives %d", name, r);
	n = ropefs_read(w->fs, attr.ino, 0, bytes, sizeof(bytes), 0);
	world_check(w, n >= 0, "reading %s gives %d", name, (int)n);
	b = blob_new((size_t)n);
	memcpy(b->p, bytes, (size_t)n);
	b->attr = attr;
	n = ropefs_getxattr(w->fs, attr.ino, SIM_XATTR_NAME, b->xattr, SIM_XATTR_MAX);
	world_check(w, n >= 0 || n == -ENODATA, "the xattr of %s gives %d", name, (int)n);
	b->n_xattr = n > 0 ? (size_t)n : 0;
	blob_seal(b);
	return b;
}

/* Bytes of some records that follow another, as a blob has them. */
static struct blob *take_records(struct blob *b, const struct ropefs_batch *batch)
{
	const uint8_t *p = batch->p;
	struct blob *longer;

	for (unsigned i = 0; i < batch->count; i++) {
		uint32_t n = (uint32_t)batch->records[i].n;

		longer = blob_splice(b, b->n, 0, NULL, sizeof(n) + n);
		memcpy(longer->p + b->n, &n, sizeof(n));
		memcpy(longer->p + b->n + sizeof(n), p, n);
		p += n;
		blob_put(b);
		b = longer;
	}
	return b;
}

static struct queue_state look_at_queue(struct world *w, uint64_t ino)
{
	static uint8_t bytes[SIM_QUEUE_MAX + SIM_RECORD_MAX];
	struct ropefs_record records[32];
	struct ropefs_batch batch = {
		.records = records, .max = 32, .p = bytes, .n = sizeof(bytes)
	};
	struct queue_state seen = { 0 };
	struct blob *b = blob_new(0);
	struct ropefs_cursor c;
	struct ropefs_queue q;
	int r = ropefs_queue_info(w->fs, ino, &q);

	world_check(w, r == 0, "the queue's state gives %d", r);
	r = ropefs_cursor_get(w->fs, ino, SIM_CURSOR, &c);
	world_check(w, r == 0, "the cursor gives %d", r);
	for (batch.id = q.first; batch.id < q.next;) {
		r = ropefs_queue_read(w->fs, ino, &batch, 0);
		world_check(w, r == 0 && batch.count, "record %llu gives %d",
			    (unsigned long long)batch.id, r);
		b = take_records(b, &batch);
	}
	seen.first = q.first;
	seen.next = q.next;
	seen.resets = q.resets;
	seen.cursor = c.id;
	queue_set(&seen, b->n ? b : NULL);
	if (!seen.records)
		blob_put(b);
	return seen;
}

static void look_at_files(struct world *w, uint64_t root, uint64_t folder,
			  struct blob **ret)
{
	for (unsigned i = 0; i < SIM_FILES; i++)
		if (i < SIM_FOLDER || folder)
			ret[i] = look_at_file(w, i < SIM_FOLDER ? root : folder, i);
}

static void look_at_snapshot(struct world *w, unsigned k, struct snap *ret)
{
	char name[8];
	struct ropefs_attr attr;
	int r;

	snprintf(name, sizeof(name), "s%u", k);
	r = ropefs_snapshot_lookup(w->fs, ROPEFS_ROOT_INO, ropefs_name(name), &attr);
	if (r == -ENOENT)
		return;
	world_check(w, r == 0, "looking snapshot %s up gives %d", name, r);
	ret->there = true;
	look_at_files(w, attr.ino, look_at_folder(w, attr.ino).ino, ret->file);
	r = ropefs_lookup(w->fs, attr.ino, ropefs_name("q"), &attr);
	world_check(w, r == 0, "the queue of snapshot %s gives %d", name, r);
	ret->queue = look_at_queue(w, attr.ino);
}

struct state world_look(struct world *w)
{
	struct state s = { 0 };
	int r;

	s.folder = look_at_folder(w, ROPEFS_ROOT_INO);
	look_at_files(w, ROPEFS_ROOT_INO, s.folder.ino, s.file);
	for (unsigned k = 0; k < SIM_SNAPS; k++)
		look_at_snapshot(w, k, &s.snap[k]);
	s.queue = look_at_queue(w, sim_queue_ino);
	r = ropefs_getattr(w->fs, ROPEFS_ROOT_INO, &s.root);
	world_check(w, r == 0, "attributes of the root give %d", r);
	return s;
}

static void compare_queue(struct world *w, const char *what,
			  const struct queue_state *seen, const struct queue_state *want)
{
	world_check(w, seen->first == want->first && seen->next == want->next,
		    "%s has records %llu..%llu, not %llu..%llu", what,
		    (unsigned long long)seen->first, (unsigned long long)seen->next,
		    (unsigned long long)want->first, (unsigned long long)want->next);
	world_check(w, seen->cursor == want->cursor,
		    "%s has its cursor at %llu, not %llu", what,
		    (unsigned long long)seen->cursor, (unsigned long long)want->cursor);
	world_check(w, queue_equal(seen, want), "%s differs", what);
}

static void compare_snapshot(struct world *w, unsigned k, const struct snap *seen,
			     const struct snap *want)
{
	world_check(w, seen->there == want->there, "snapshot %u is %s", k,
		    seen->there ? "there" : "gone");
	for (unsigned i = 0; i < SIM_FILES; i++) {
		const struct blob *a = seen->file[i], *b = want->file[i];

		world_check(w, !a == !b && (!a || a->content == b->content),
			    "f%u of snapshot %u differs", i, k);
	}
	compare_queue(w, "a snapshot's queue", &seen->queue, &want->queue);
}

void world_compare(struct world *w)
{
	struct state seen = world_look(w), *want = history_last(&w->past);

	for (unsigned i = 0; i < SIM_FILES; i++) {
		const struct blob *a = seen.file[i], *b = want->file[i];

		world_check(w, !a == !b, "f%u is %s", i, a ? "there" : "gone");
		world_check(w, !a || a->digest == b->digest, "f%u differs: %s", i,
			    a->n != b->n || memcmp(a->p, b->p, a->n) ? "bytes"
			    : attr_equal(&a->attr, &b->attr)	     ? "xattr"
								     : "attributes");
	}
	for (unsigned k = 0; k < SIM_SNAPS; k++)
		compare_snapshot(w, k, &seen.snap[k], &want->snap[k]);
	compare_queue(w, "the queue", &seen.queue, &want->queue);
	world_check(w, attr_equal(&seen.root, &want->root), "the root differs");
	world_check(w, attr_equal(&seen.folder, &want->folder), "the folder differs");
	state_release(&seen);
}
