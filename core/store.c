/* store.c - making, opening and closing: puts the layers together and takes them apart. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/err.h"
#include "core/page/superblock.h"
#include "core/queue/block_cache.h"
#include "core/remote_priv.h"
#include "core/repair.h"
#include "core/scrub.h"
#include "core/store_priv.h"

#define MEMORY_DEFAULT	    (256 * MIB)
#define MEMORY_MIN	    (32 * MIB)
#define EPOCH_END	    ((uint64_t)1 << 62) /* no store lives as long */
#define SEGMENT_BYTES	    (64 * MIB)
#define SEGMENT_BYTES_SMALL (12 * MIB)
#define CHECKPOINT_S	    30u

/* --- errors --- */

const char *ropefs_error(void)
{
	return err_detail();
}

const char *ropefs_error_text(int r)
{
	return err_text(r);
}

int ropefs_error_errno(int r)
{
	return err_errno(r);
}

int ropefs_error_exit_status(int r)
{
	return err_exit_status(r);
}

void store_fail_locked(struct ropefs *fs, int r, const char *what)
{
	if (fs->read_only)
		return;
	fs->read_only = true;
	fs->failed = r != -E_FENCED;
	snprintf(fs->read_only_why, sizeof(fs->read_only_why), "%s (%s)", what,
		 err_text(r));
	pthread_cond_broadcast(&fs->room);
}

int store_writable(struct ropefs *fs)
{
	int r = 0;

	lock_take(&fs->engine);
	if (fs->read_only)
		r = err_set(E_READ_ONLY, "the store is read-only: %s", fs->read_only_why);
	lock_drop(&fs->engine);
	return r;
}

/* --- the folder --- */

/* What others could put there would be taken for ours, and what is sealed for good be lost. */
static int guard(const char *path, struct io *io, bool close_it)
{
	int r = io_posix_guard(io, close_it);

	if (r == -EPERM)
		return err_set(EPERM,
			       "the folder %s belongs to another user: run as its owner, "
			       "or chown "
			       "-R it to the user who mounts",
			       path);
	if (r == -EACCES)
		return err_set(
			EACCES,
			"the folder %s can be written by other users: chmod 700 it, once "
			"what is in it is known to be yours",
			path);
	return r;
}

/* --- making --- */

/* The root directory is there from the first checkpoint on. */
static int make_tree(struct io *io, struct keys *keys)
{
	struct super first = { .generation = 1,
			       .epoch = 1,
			       .next_ino = ROPEFS_ROOT_INO + 1,
			       .next_pack = 1,
			       .clean = true };

	return pagefile_create(io, keys, &first);
}

int store_init(struct io *io, const struct key_file *kf, enum cipher cipher,
	       const uint8_t store_id[STORE_ID_BYTES])
{
	struct header h = { .version = HEADER_VERSION, .cipher = cipher };
	struct keys *keys = NULL;
	int r;

	memcpy(h.store_id, store_id, STORE_ID_BYTES);
	h.created_ns = io_real_ns(io);
	r = keys_create(kf, cipher, store_id, h.wrapped, &keys);
	if (r < 0)
		return r;
	keys_public(keys, h.public_key);
	r = io->ops->mkdir(io, "wal");
	if (r >= 0)
		r = io->ops->mkdir(io, "packs");
	if (r >= 0)
		r = make_tree(io, keys);
	if (r >= 0) /* last: a folder without a header is no store */
		r = header_write(io, &h);
	keys_free(keys);
	return r;
}

static int folder_is_empty(void *arg, const char *name)
{
	return err_set(ENOTEMPTY,
		       "the folder is not empty (there is \"%s\"); a new store needs "
		       "an empty folder",
		       name);
}

/* The key file may not be inside the store: whoever copies the store would have it. */
static int key_outside(const char *store, const char *key)
{
	_cleanup_free_ char *inside = realpath(store, NULL);
	_cleanup_free_ char *folder = strdup(key);
	_cleanup_free_ char *real = NULL;
	char *slash;
	size_t n;

	if (!inside || !folder)
		return -errno;
	slash = strrchr(folder, '/');
	if (slash)
		slash[slash == folder] = '\0';
	real = realpath(slash ? folder : ".", NULL);
	if (!real) /* not there yet, so not inside either */
		return 0;
	n = strlen(inside);
	if (!strncmp(real, inside, n) && (real[n] == '/' || real[n] == '\0'))
		return err_set(EINVAL,
			       "the key file %s would lie inside the store; keep it "
			       "elsewhere",
			       key);
	return 0;
}

static int make_key(const char *path, const uint8_t store_id[STORE_ID_BYTES])
{
	int r = key_file_create(path, store_id);

	if (r == -EEXIST)
		return err_set(
			EEXIST,
			"the key file %s is there already, perhaps the only key of "
			"another store; choose another place",
			path);
	if (r < 0 && !*err_detail())
		return err_set(-r, "the key file %s can't be made: %s", path,
			       err_text(r));
	return r;
}

/* What a failed store_init() left, so that it can be tried again. */
static void unmake(struct io *io, const char *path)
{
	static const char *const folders[] = { "wal", "packs" };

	io->ops->unlink(io, "pages");
	io->ops->unlink(io, "ropefs");
	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
		char *folder;

		if (asprintf(&folder, "%s/%s", path, folders[i]) < 0)
			return;
		rmdir(folder);
		free(folder);
	}
}

static int init_in(const char *path, struct io *io, const struct ropefs_init_opts *opts,
		   char **ret_key_path)
{
	_cleanup_free_ char *key_path = NULL;
	uint8_t store_id[STORE_ID_BYTES];
	enum cipher cipher = CIPHER_XCHACHA20;
	struct key_file *kf = NULL;
	int r;

	if (opts && opts->cipher) {
		r = cipher_parse(opts->cipher, &cipher);
		if (r < 0)
			return err_set(EINVAL,
				       "unknown cipher \"%s\"; there are "
				       "xchacha20-poly1305, aes256-gcm, none",
				       opts->cipher);
	}
	if (!cipher_available(cipher))
		return err_set(E_CIPHER, "this CPU has no AES instructions; use "
					 "xchacha20-poly1305");
	r = io->ops->list(io, "", folder_is_empty, NULL);
	if (r < 0)
		return r;
	io_random(io, store_id, sizeof(store_id));
	if (opts && opts->key_file) {
		key_path = strdup(opts->key_file);
		r = key_path ? 0 : -ENOMEM;
	} else {
		r = key_file_default_path(store_id, &key_path);
	}
	if (r >= 0)
		r = key_outside(path, key_path);
	if (r >= 0)
		r = make_key(key_path, store_id);
	if (r >= 0)
		r = key_file_read(key_path, &kf);
	if (r >= 0)
		r = store_init(io, kf, cipher, store_id);
	if (r < 0 &&
	    kf) { /* the key of no store; -EEXIST: somebody else makes one here */
		if (r != -EEXIST)
			unmake(io, path);
		unlink(key_path);
	}
	key_file_free(kf);
	if (r >= 0 && ret_key_path) {
		*ret_key_path = key_path;
		key_path = NULL;
	}
	return r;
}

int ropefs_init(const char *path, const struct ropefs_init_opts *opts,
		char **ret_key_path)
{
	struct io *io = NULL;
	bool made;
	int r;

	err_clear();
	r = keys_init_library();
	if (r < 0)
		return r;
	made = mkdir(path, 0700) == 0;
	if (!made && errno != EEXIST)
		return err_set(errno, "%s can't be made: %s%s", path, strerror(errno),
			       errno == ENOENT ? "; make the folder above it first" : "");
	r = io_posix_new(path, &io);
	if (r >= 0)
		r = guard(path, io, true);
	if (r >= 0)
		r = init_in(path, io, opts, ret_key_path);
	if (r < 0 && made)
		rmdir(path);
	io_free(io);
	return r;
}

/* --- opening --- */

static void defaults(struct store_opts *o, struct io *io)
{
	struct io_space space;

	if (!o->pub.memory_bytes)
		o->pub.memory_bytes = MEMORY_DEFAULT;
	o->pub.memory_bytes = MAX(o->pub.memory_bytes, MEMORY_MIN);
	if (!o->pub.window_ms)
		o->pub.window_ms = 100;
	if (!o->pub.zstd_level)
		o->pub.zstd_level = 1;
	if (!o->pub.checkpoint_s)
		o->pub.checkpoint_s = CHECKPOINT_S;
	if (o->segment_bytes)
		return;
	o->segment_bytes = SEGMENT_BYTES;
	if (o->pub.memory_bytes < MEMORY_DEFAULT ||
	    (io->ops->space(io, &space) >= 0 && space.total_bytes < 64 * SEGMENT_BYTES))
		o->segment_bytes = SEGMENT_BYTES_SMALL;
}

static void dropped_extent(void *arg, const struct extent *e)
{
	struct ropefs *fs = arg;

	if (extent_kind(e) == EXTENT_HOLE)
		return;
	fs->told_bytes += le32_get(e->len);
	if (extent_kind(e) == EXTENT_CHUNK && !extent_is_lost(e))
		fs->dead_bytes += le32_get(e->len);
	else
		fs->told_hot_bytes += le32_get(e->len);
}

/* What is verified was written by this program, so this is no attack; but numbers that can't be
 * would be carried into the store. */
static int super_check(const struct super *s)
{
	bool numbers = s->next_snap <= SNAPSHOT_ID_MAX && s->next_ino > ROPEFS_ROOT_INO &&
		       s->next_ino < ROPEFS_SNAPSHOT_BIT && s->next_pack > 0 &&
		       s->next_pack <= EXTENT_PACK_MAX;

	if (numbers && s->epoch < EPOCH_END && s->snap_epoch <= s->epoch)
		return 0;
	return err_set(E_CORRUPT,
		       "the superblock speaks of numbers that can't be: restore the "
		       "store from a copy");
}

static int open_nodes(struct ropefs *fs, const struct super *s, struct nodes **ret)
{
	const struct nodes_opts no = {
		.pf = fs->pf,
		.cache_bytes = fs->opts.memory_bytes / 8,
		.epoch = s->epoch,
		.snap_epoch = s->snap_epoch,
	};
	int r = super_check(s);

	if (r == 0)
		r = nodes_new_cache(&no, ret);
	if (r < 0)
		return r;
	rope_register(*ret);
	catalog_register(*ret);
	return 0;
}

/* The state that fs->super leads to, read through fs->nodes, is what there is. */
static void take_super(struct ropefs *fs)
{
	fs->catalog = (struct catalog) {
		.bt = { .nodes = fs->nodes, .root = fs->super.catalog },
		.keys = fs->keys,
	};
	fs->env = (struct rope_env) {
		.nodes = fs->nodes,
		.hot_floor = hot_floor(fs->hot),
		.dropped = dropped_extent,
		.arg = fs,
	};
	fs->next_ino = fs->super.next_ino;
	fs->n_inodes = fs->super.inodes;
	fs->data_bytes = fs->super.live_bytes;
	fs->dead_bytes = fs->super.dead_bytes;
	fs->checkpoint_lsn = fs->super.lsn;
	fs->snap_copied = fs->super.snap_copied;
	fs->snap_held = fs->super.snap_held;
	fs->next_snap = fs->super.next_snap;
}

static unsigned pagefile_flags(const struct store_opts *opts)
{
	return (opts->pub.read_only ? PAGEFILE_READ_ONLY : 0) |
	       (opts->page_copy ? PAGEFILE_TWIN : 0) |
	       (opts->pub.read_only && opts->repair && opts->repair->pub->rebuild
			? PAGEFILE_FROM_COPY
			: 0);
}

/* A repair that makes the page file from packs takes the log from where that begins. */
static int begin_rebuild(struct ropefs *fs)
{
	uint64_t first = wal_first_lsn(fs->wal);

	if (!fs->repair)
		return err_set(E_CORRUPT,
			       "the making of a new page file was broken off: go on with "
			       "ropefs-fsck --rebuild");
	fs->repair->from_packs = true;
	fs->checkpoint_lsn = fs->super.lsn = first ? first - 1 : 0;
	fs->super.next_pack = packs_next(fs->packs);
	return 0;
}

static int open_trees(struct ropefs *fs, const struct store_opts *opts)
{
	int r = 0;

	if (opts->repair && opts->repair->from_packs)
		r = repair_begin_from_packs(fs);
	if (r == 0)
		r = pagefile_open(fs->io, fs->keys, pagefile_flags(opts), &fs->super,
				  &fs->pf);
	if (r == 0)
		r = open_nodes(fs, &fs->super, &fs->nodes);
	if (r == 0)
		r = hot_new(fs->opts.memory_bytes / 4, &fs->hot);
	if (r == 0)
		take_super(fs);
	return r;
}

int store_renew_locked(struct ropefs *fs, const struct store_renewal *n,
		       struct buf *changed)
{
	struct super_state s;
	struct nodes *nodes;
	int r;

	assert(lock_held(&fs->engine) && fs->read_only && !fs->wal);
	superblock_body_get(n->super, &s);
	r = open_nodes(fs, &s.super, &nodes);
	if (r < 0)
		return r;
	r = n->write_pages(n->arg);
	if (r < 0) {
		nodes_free_cache(nodes);
		return r;
	}
	pagefile_restate(fs->pf, n->super, &fs->super);
	nodes_free_cache(fs->nodes);
	fs->nodes = nodes;
	take_super(fs);
	memory_lend_locked(fs);
	block_cache_drop(fs->blocks, 0);
	r = snapshots_open(fs);
	inode_reload_all(fs, n->other, changed);
	pthread_cond_broadcast(&fs->appended);
	return r;
}

/* A pack whose checkpoint was cut short: nobody points into it. */
static int note_stray(void *arg, const struct pack_info *info)
{
	struct ropefs *fs = arg;

	if (info->pack >= fs->super.next_pack)
		fs->dead_bytes += info->file_bytes;
	return 0;
}

/* An older format becomes this program's before anything of it is written: older programs must
 * not open what they would take for damage. One rename, and the key is known to fit. */
static int upgrade(struct ropefs *fs, bool read_only)
{
	struct header h = fs->header;
	int r;

	if (read_only || h.version == HEADER_VERSION)
		return 0;
	assert(h.version < HEADER_VERSION);
	h.version = HEADER_VERSION;
	r = header_write(fs->io, &h);
	if (r >= 0)
		fs->header = h;
	return r;
}

/* A copy whose original is written elsewhere: its next state would come to nothing. */
static void serve_copy(struct ropefs *fs, struct store_opts *opts)
{
	if (fs->read_only)
		return;
	opts->pub.read_only = fs->opts.read_only = fs->read_only = true;
	snprintf(fs->read_only_why, sizeof(fs->read_only_why),
		 "it is a copy of a store that another folder writes; for one to "
		 "write in: ropectl clone --take-over");
}

static int open_layers(struct ropefs *fs, const struct key_file *kf,
		       struct store_opts *opts)
{
	struct packs_opts po;
	struct wal_opts wo;
	int r;

	r = keys_open(kf, fs->header.cipher, fs->header.store_id, fs->header.wrapped,
		      &fs->keys);
	if (r >= 0)
		r = upgrade(fs, opts->pub.read_only);
	if (r >= 0)
		r = remote_load(fs);
	if (r < 0)
		return r;
	if (fs->remote && remote_is_reader(fs->remote))
		serve_copy(fs, opts);
	r = open_trees(fs, opts);
	if (r < 0)
		return r;
	po = (struct packs_opts) {
		.io = fs->io,
		.keys = fs->keys,
		.zstd_level = opts->pub.zstd_level,
		.cache_bytes = opts->pub.memory_bytes / 4,
		.next_pack = fs->super.next_pack,
		.open_remote = remote_open_pack,
		.remote = fs,
		.read_only = opts->pub.read_only,
	};
	r = packs_open(&po, &fs->packs);
	if (r < 0)
		return r;
	r = remote_note_packs(fs);
	if (r < 0)
		return r;
	r = packs_each(fs->packs, note_stray, fs);
	if (r < 0)
		return r;
	wo = (struct wal_opts) {
		.io = fs->io,
		.keys = fs->keys,
		.segment_bytes = opts->segment_bytes,
		.frame_bytes = opts->frame_bytes,
		.pool_bytes = opts->pub.memory_bytes / 12,
		.spare_max = 2,
		.short_end = fs->super.replay,
		.mark = (struct wal_mark *)opts->pub.log_mark,
	};
	r = wal_open(&wo, &fs->wal);
	return r == 0 && fs->super.rebuild ? begin_rebuild(fs) : r;
}

/* The first opening of a new store makes the root directory. */
static int make_root(struct ropefs *fs)
{
	struct inode_row row = {
		.version = le32_put(1),
		.mode = le32_put(S_IFDIR | 0755),
		.uid = le32_put(getuid()),
		.gid = le32_put(getgid()),
		.nlink = le32_put(2),
		.parent = le64_put(ROPEFS_ROOT_INO),
	};
	struct inode_row there;
	int r;

	lock_take(&fs->engine);
	r = noderef_is_none(&fs->catalog.bt.root)
		    ? -ENOENT
		    : catalog_get_inode(&fs->catalog, ROPEFS_ROOT_INO, &there);
	if (r == -ENOENT && noderef_is_none(&fs->catalog.bt.root)) {
		row.atime = row.mtime = row.ctime = row.btime =
			le64_put(fs->header.created_ns);
		r = catalog_put_inode(&fs->catalog, ROPEFS_ROOT_INO, &row);
		fs->n_inodes = 1;
	} else if (r == -E_CORRUPT || r == -ENOENT) {
		r = 0; /* the rest may still be of use: reads of the root give the error */
	}
	lock_drop(&fs->engine);
	return r;
}

/* A quarter of the memory; of little memory more, up to what fills a pack. */
static uint64_t hot_soft(uint64_t memory)
{
	return MAX(memory / 4, MIN(memory / 8 * 3, (uint64_t)PACK_BYTES));
}

/* A store of which nothing is read yet. */
static struct ropefs *store_new(struct io *io, const struct store_opts *o)
{
	struct ropefs *fs = calloc(1, sizeof(*fs));

	if (!fs)
		return NULL;
	fs->blocks = block_cache_new();
	if (!fs->blocks) {
		free(fs);
		return NULL;
	}
	fs->io = io;
	fs->opts = o->pub;
	fs->threads = o->threads;
	fs->lane_turn = 1;
	fs->repair = o->repair;
	fs->hot_soft = hot_soft(o->pub.memory_bytes);
	fs->hot_hard = o->hot_hard ? o->hot_hard : o->pub.memory_bytes / 2;
	fs->log_soft = MIN(256 * MIB, 2 * fs->hot_hard);
	fs->segment_bytes = o->segment_bytes;
	lock_init(&fs->checkpoint, RANK_CHECKPOINT);
	lock_init(&fs->engine, RANK_ENGINE);
	lock_cond_init(&fs->flusher_wake);
	lock_cond_init(&fs->gathered);
	lock_cond_init(&fs->checkpointer_wake);
	lock_cond_init(&fs->room);
	lock_cond_init(&fs->appended);
	io->ops->boot_id(io, fs->boot_id);
	io_random(io, &fs->life, sizeof(fs->life));
	TAILQ_INIT(&fs->lru);
	TAILQ_INIT(&fs->dirty);
	STAILQ_INIT(&fs->waiters);
	if (o->pub.read_only) {
		fs->read_only = true;
		snprintf(fs->read_only_why, sizeof(fs->read_only_why),
			 ROPEFS_READ_ONLY_ASKED);
	}
	return fs;
}

/* What the folder holds, up to the last checkpoint. */
static int load_state(struct ropefs *fs, const struct key_file *kf, struct store_opts *o)
{
	bool damaged = false;
	int r = header_read(fs->io, &fs->header, &damaged);

	if (r >= 0)
		r = open_layers(fs, kf, o);
	if (r >= 0 && damaged && !fs->read_only)
		header_write(fs->io, &fs->header); /* if not now, then the next time */
	if (r >= 0)
		r = make_root(fs);
	if (r < 0)
		return r;
	lock_take(&fs->engine);
	r = snapshots_open(fs);
	lock_drop(&fs->engine);
	return r;
}

static int start_threads(struct ropefs *fs)
{
	int r = fs->threads && !fs->read_only ? background_start(fs) : 0;

	if (r >= 0 && fs->remote && fs->threads && !fs->repair)
		remote_cache_resume(fs->remote);
	if (r >= 0 && !fs->repair)
		r = remote_start(fs);
	if (r >= 0 && fs->threads && !fs->repair)
		r = scrub_open(fs);
	return r;
}

int store_open(struct io *io, const struct key_file *kf, const struct store_opts *opts,
	       struct ropefs **ret)
{
	struct store_opts o = *opts;
	struct ropefs *fs;
	int r;

	defaults(&o, io);
	fs = store_new(io, &o);
	if (!fs)
		return -ENOMEM;
	fs->paced = !opts->pub.checkpoint_s;
	r = load_state(fs, kf, &o);
	if (r >= 0 && fs->repair)
		r = repair_trees(fs);
	if (r >= 0)
		r = recover(fs);
	if (r >= 0) {
		lock_take(&fs->engine);
		memory_lend_locked(fs);
		lock_drop(&fs->engine);
		r = start_threads(fs);
	}
	if (r < 0) {
		store_abandon(fs, true);
		return r;
	}
	*ret = fs;
	return 0;
}

/* Whether the store may be ours to open at all. */
static int take_lock(struct io *io, const char *path, bool read_only)
{
	pid_t pid = 0;
	int r = io->ops->lock(io, "lock", &pid);

	/* A folder that can't be written: nobody else writes there either. */
	if ((r == -EROFS || r == -EACCES || r == -ENOENT) && read_only)
		return 0;
	if (r == -EWOULDBLOCK && pid)
		return err_set(E_IN_USE, "%s is in use by process %d; unmount it first",
			       path, (int)pid);
	if (r == -EWOULDBLOCK)
		return err_set(E_IN_USE,
			       "%s is in use by another process; unmount it first", path);
	return r;
}

int store_open_dir(const char *path, struct io **ret)
{
	struct io *io;
	int r = io_posix_new(path, &io);

	if (r == -ENOENT || r == -ENOTDIR)
		return err_set(E_NOT_STORE,
			       "%s is not there or not a folder; make a store with: "
			       "ropectl init %s",
			       path, path);
	if (r < 0)
		return err_set(-r, "%s can't be opened: %s", path, err_text(r));
	*ret = io;
	return 0;
}

int store_open_path(const char *path, const struct store_opts *opts, struct ropefs **ret)
{
	const struct ropefs_opts *pub = &opts->pub;
	_cleanup_free_ char *key_path = NULL;
	struct key_file *kf = NULL;
	struct io *io = NULL;
	struct header h;
	int r;

	r = keys_init_library();
	if (r >= 0)
		r = store_open_dir(path, &io);
	if (r >= 0)
		r = header_read(io, &h, NULL);
	if (r >= 0)
		r = guard(path, io, !pub->read_only);
	if (r >= 0 && !pub->key_file)
		r = key_file_default_path(h.store_id, &key_path);
	if (r >= 0)
		r = key_file_read(pub->key_file ? pub->key_file : key_path, &kf);
	if (r >= 0 && pub->lock_fd > 0)
		io_posix_adopt_lock(io, pub->lock_fd);
	if (r >= 0)
		r = take_lock(io, path, pub->read_only);
	if (r >= 0)
		r = store_open(io, kf, opts, ret);
	if ((r == -EACCES || r == -EROFS) && !*err_detail())
		r = err_set(-r,
			    "a file of the store %s can't be %s: %s; run as its owner%s",
			    path, pub->read_only ? "read" : "written", err_text(r),
			    pub->read_only ? "" : ", or mount it read-only (-o ro)");
	if (r == -ENOSPC && !err_has_words(r))
		err_set(ENOSPC,
			"the disk below the store is full, and opening it takes some; "
			"nothing is harmed: free a few MiB and try again%s",
			opts->repair ? "" : ", or mount it read-only (-o ro)");
	if (r < 0)
		io_free(io);
	key_file_free(kf);
	err_settle(r);
	return r;
}

int ropefs_open(const char *path, const struct ropefs_opts *opts, struct ropefs **ret)
{
	struct store_opts so = { .threads = true, .page_copy = true };

	err_clear();
	if (opts)
		so.pub = *opts;
	return store_open_path(path, &so, ret);
}

int ropefs_dup_lock(struct ropefs *fs)
{
	return io_posix_dup_lock(fs->io);
}

/* --- closing --- */

struct io *store_abandon(struct ropefs *fs, bool keep_io)
{
	struct io *io = fs->io;

	fs->scrub = scrub_close(fs->scrub);
	background_stop(fs);
	remote_stop(fs);
	inode_free_all(fs);
	fs->blocks = block_cache_free(fs->blocks);
	htab_release(&fs->watched);
	buf_release(&fs->txn_gone);
	fs->wal = wal_close(fs->wal);
	fs->packs = packs_close(fs->packs);
	fs->remote = remote_free(fs->remote);
	fs->remote_gone = remote_free(fs->remote_gone);
	fs->nodes = nodes_free_cache(fs->nodes);
	fs->pf = pagefile_close(fs->pf);
	fs->hot = hot_free(fs->hot);
	fs->keys = keys_free(fs->keys);
	lock_release(&fs->engine);
	lock_release(&fs->checkpoint);
	free(fs);
	return keep_io ? io : io_free(io);
}

int ropefs_close(struct ropefs *fs)
{
	bool changed;
	int r = 0;

	err_clear();
	fs->scrub = scrub_close(fs->scrub);
	background_stop(fs);
	remote_stop(fs);
	if (!fs->read_only) {
		changed = wal_last_lsn(fs->wal) > fs->checkpoint_lsn || !fs->super.clean;
		if (changed)
			r = checkpoint_run(fs, true);
	}
	if (fs->remote)
		remote_cache_save(fs->remote);
	store_abandon(fs, false);
	return r;
}

/* --- facts that need no key --- */

int ropefs_key_path(const char *store_id, char **ret_path)
{
	uint8_t id[STORE_ID_BYTES];

	for (size_t i = 0; i < STORE_ID_BYTES; i++) {
		char pair[3] = { store_id[2 * i],
				 store_id[2 * i] ? store_id[2 * i + 1] : '\0', 0 };
		char *end;

		id[i] = (uint8_t)strtoul(pair, &end, 16);
		if (end != pair + 2)
			return -EINVAL;
	}
	return key_file_default_path(id, ret_path);
}

int ropefs_store_info(const char *path, struct ropefs_store_info *ret)
{
	struct io *io = NULL;
	struct header h;
	pid_t pid = 0;
	int r;

	err_clear();
	r = store_open_dir(path, &io);
	if (r < 0)
		return r;
	r = header_read(io, &h, NULL);
	if (r >= 0) {
		if (io->ops->lock(io, "lock", &pid) != -EWOULDBLOCK)
			pid = 0;
		*ret = (struct ropefs_store_info) {
			.cipher = cipher_name(h.cipher),
			.format = h.version,
			.pid = pid,
		};
		hex_put(h.store_id, STORE_ID_BYTES, ret->store_id);
	}
	io_free(io);
	return r;
}
