/* remote_follow.c - a store that is read from its bucket while somebody else writes it.
 *
 * All pages of the newest state are copied once into a page file that has no name any more
 * (a temporary folder, or memory); bytes of files come by requests, as in any store with packs in
 * a bucket. Then one thread looks for manifest n + 1:
 *
 *	manifests n + 1, n + 2 ... ─▶ the segments they add, beside the page file ("stage")
 *	    ─▶ engine lock: pages to their places, nodes and inodes forgotten, the new root
 *	    ─▶ whoever holds something that is another one now is told
 *
 * Nodes are read under the engine lock only, so nobody sees half of a state.
 *
 * Where the chain of hashes does not go on from what is shown (another writer took over from an
 * older state; the bucket was put back and written anew), or was not followed (a gap), the numbers
 * of packs, pages and inodes say nothing: all is got anew, while no read is under way. It must be
 * newer than what is shown, by its writer's epoch or its time: an older state, which whoever can
 * write to the bucket may put there, is told and not shown.
 *
 * A look that finds
 * nothing is one request; there is no LIST but after a gap: when the manifest that is shown was
 * removed, too, as newer ones are older than the writer keeps. */
#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/base/err.h"
#include "core/keys/key_file.h"
#include "core/page/superblock.h"
#include "core/remote_priv.h"

#define SECOND_NS      1000000000u
#define FOLLOW_S       2u /* between looks while somebody reads */
#define FOLLOW_MOST_S  30u /* and while nobody does */
#define LOOKS_OWN      8u /* looks without news, then one for the manifest that is shown */
#define MEMORY_FOLDER  "/dev/shm"
#define FALLBACK       "/tmp"
#define COPY_BYTES     (64 * PAGE_BYTES)
#define FOLDER_PATTERN "ropefs-XXXXXX"

struct follow {
	struct remote *rm;
	struct io_file *pages, *stage;
	struct buf staged; /* u64: page numbers, in the order of the stage */
	unsigned looks; /* without news */
	unsigned broken; /* looks at a chain that does not go on */
	bool asked; /* somebody waits for this look */
	/* The state under way is not known to follow the one that is shown; known not to. */
	bool whole, other;
};

/* --- what is new --- */

/* Manifest `number` in *m, empty or the one before it. -ENOENT; -EBADMSG: it is damaged; -ESTALE:
 * it does not follow that one. */
static int step(struct remote *rm, uint64_t number, struct manifest *m, uint8_t hash[32])
{
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	struct manifest next = { 0 };
	int r = -E_CORRUPT;

	for (unsigned tries = 0; tries < 1 + WRONG_TRIES && r == -E_CORRUPT; tries++)
		r = remote_get_manifest(rm->up.os, rm->instance, number, rm->fs->keys,
					&bytes, &next);
	if (r < 0)
		return r == -E_CORRUPT ? -EBADMSG : r;
	if (memcmp(next.prev_hash, hash, sizeof(next.prev_hash)) != 0) {
		manifest_release(&next);
		return -ESTALE;
	}
	manifest_release(m);
	*m = next;
	hash256(buf_span(&bytes), hash);
	return 0;
}

static bool is_newer(const struct manifest *shown, const struct manifest *m)
{
	bool same_writer = !memcmp(m->writer, shown->writer, sizeof(m->writer));

	return m->epoch > shown->epoch || m->time_ns > shown->time_ns ||
	       (same_writer && m->number > shown->number);
}

/* The last manifest, without those between. -ENOENT: there is none behind number `after`, or
 * (-ESTALE) it is no newer than what is shown. */
static int jump(struct follow *f, uint64_t after, struct manifest *m, uint8_t hash[32])
{
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	const struct remote *rm = f->rm;
	struct manifest last = { 0 };
	uint64_t number;
	int r = remote_find_last(rm->up.os, rm->instance, after, &number);

	if (r == 0)
		r = remote_get_manifest(rm->up.os, rm->instance, number, rm->fs->keys,
					&bytes, &last);
	if (r == 0 && !is_newer(&rm->man, &last))
		r = -ESTALE;
	if (r < 0) {
		manifest_release(&last);
		return r;
	}
	manifest_release(m);
	*m = last;
	hash256(buf_span(&bytes), hash);
	f->whole = true;
	return 0;
}

/* What is there does not go on from what is shown; why says how that is known. 1: *m is newer all
 * the same. */
static int look_at_other(struct follow *f, const char *why, struct manifest *m,
			 uint8_t hash[32])
{
	const struct remote *rm = f->rm;
	int r = -ENOENT;

	if (f->broken++ % LOOKS_OWN == 0 || f->asked)
		r = jump(f, 0, m, hash);
	f->other = r == 0;
	if (r != -ENOENT && r != -ESTALE)
		return r < 0 ? r : 1;
	return err_set(E_CORRUPT,
		       "%s: %s, and nothing newer than manifest %" PRIu64
		       ", which is shown, is there: the bucket was put back to an older "
		       "state, or is another one; what was read of it stays",
		       rm->cfg.url, why, rm->man.number);
}

/* The manifest that is shown may be gone, and those after it. 1: *m is a newer one. */
static int look_beyond_gap(struct follow *f, struct manifest *m, uint8_t hash[32])
{
	struct remote *rm = f->rm;
	uint64_t last;
	int r;

	if (++f->looks % LOOKS_OWN)
		return 0;
	r = object_head(rm->up.os, key_manifest(rm->instance, rm->man.number).text,
			&last);
	if (r != -ENOENT)
		return r;
	return look_at_other(f, "the manifest that is shown is gone", m, hash);
}

/* Manifest `number` does not verify. 1: *m is a newer one than is shown. */
static int look_beyond_damage(struct follow *f, uint64_t number, struct manifest *m,
			      uint8_t hash[32])
{
	struct remote *rm = f->rm;
	int r = jump(f, number, m, hash);

	if (r == 0 || (r == -ENOENT && m->number))
		return 1;
	return r == -ENOENT || r == -ESTALE
		       ? err_set(E_CORRUPT,
				 "manifest %" PRIu64 " in %s is damaged, and no "
				 "newer one is there: ropectl verify --repair puts "
				 "it again, where the store is",
				 number, rm->cfg.url)
		       : r;
}

/* 1: *m is the newest, and not the one that is shown. */
static int look_for_news(struct follow *f, struct manifest *m, uint8_t hash[32])
{
	struct remote *rm = f->rm;
	uint64_t number = rm->man.number;
	int r;

	f->whole = f->other = false;
	memcpy(hash, rm->man_hash, sizeof(rm->man_hash));
	do
		r = step(rm, ++number, m, hash);
	while (r == 0);
	if (r == -EBADMSG)
		return look_beyond_damage(f, number, m, hash);
	if (r == -ESTALE && !m->number)
		return look_at_other(f, "the next manifest does not follow", m, hash);
	if (r != -ENOENT && r != -ESTALE)
		return r;
	if (!m->number)
		return look_beyond_gap(f, m, hash);
	return 1;
}

/* --- its pages --- */

static int stage_page(void *arg, uint64_t page, const uint8_t *sealed)
{
	struct follow *f = arg;
	uint64_t at = f->staged.n / sizeof(page);
	int r = io_pwrite(f->stage, sealed, PAGE_BYTES, at * PAGE_BYTES);

	return r < 0 ? r : buf_append(&f->staged, &page, sizeof(page));
}

/* Segments come in rising order, the manifest's own pages last: the newest bytes of a page too. */
static int stage_segments(struct follow *f, const struct manifest *m)
{
	const struct segment_pages to = { stage_page, f };
	_cleanup_(buf_release) struct buf b = BUF_INIT;
	int r = 0;

	f->staged.n = 0;
	for (size_t i = 0; r == 0 && i < m->n_segments; i++)
		if (f->whole || m->segments[i].number >= f->rm->man.next_segment)
			r = remote_get_segment(f->rm, &m->segments[i], &to, &b);
	return r < 0 ? r : remote_each_page(m, &to);
}

/* Room for all of them is there. */
static int unstage(void *arg)
{
	struct follow *f = arg;
	uint8_t page[PAGE_BYTES];
	uint64_t n = f->staged.n / sizeof(uint64_t), at;
	int r = 0;

	for (uint64_t i = 0; r == 0 && i < n; i++) {
		memcpy(&at, f->staged.p + i * sizeof(at), sizeof(at));
		r = io_pread_all(f->stage, page, sizeof(page), i * PAGE_BYTES);
		if (r == 0)
			r = io_pwrite(f->pages, page, sizeof(page), at * PAGE_BYTES);
	}
	return r;
}

/* --- going on with it --- */

static int renew_packs(struct ropefs *fs, const struct manifest *m)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < m->n_packs; i++) {
		struct pack_info info = remote_pack_info(&m->packs[i]);

		r = packs_renew_remote(fs->packs, &info);
	}
	return r;
}

/* Those that now (NULL: nothing) does not have. */
static void forget_packs(struct ropefs *fs, const struct manifest *old,
			 const struct manifest *now)
{
	for (size_t i = 0; i < old->n_packs; i++)
		if (!now || !manifest_find_pack(now, old->packs[i].pack))
			packs_forget_remote(fs->packs, old->packs[i].pack);
}

static void tell(struct ropefs *fs, const struct buf *changed)
{
	uint64_t ino;

	for (size_t at = 0; fs->opts.refreshed && at < changed->n; at += sizeof(ino)) {
		memcpy(&ino, changed->p + at, sizeof(ino));
		fs->opts.refreshed(fs->opts.event_arg, ino);
	}
	if (fs->opts.changed)
		fs->opts.changed(fs->opts.event_arg, 0);
}

static void adopt(struct remote *rm, struct manifest *m, const uint8_t hash[32])
{
	manifest_release(&rm->man);
	rm->man = *m;
	*m = (struct manifest) { 0 };
	memcpy(rm->man_hash, hash, sizeof(rm->man_hash));
	lock_take(&rm->lock);
	rm->shown++;
	rm->number = rm->man.number;
	rm->committed_ns = rm->man.time_ns;
	rm->cfg.epoch = rm->man.epoch;
	lock_drop(&rm->lock);
}

/* Until no read is under way; new ones wait. -ECANCELED: it is the end. */
static int begin_change(struct remote *rm)
{
	int r;

	lock_take(&rm->lock);
	rm->changing = true;
	while (rm->reading && !rm->stopping)
		lock_wait(&rm->lock, &rm->done_cond, 0);
	r = rm->stopping ? -ECANCELED : 0;
	lock_drop(&rm->lock);
	return r;
}

static void end_change(struct remote *rm)
{
	lock_take(&rm->lock);
	rm->changing = false;
	pthread_cond_broadcast(&rm->done_cond);
	lock_drop(&rm->lock);
}

static void tell_history(struct follow *f, const struct manifest *old)
{
	struct remote *rm = f->rm;
	const struct manifest *now = &rm->man;

	if (!f->other)
		return;
	event_raise(rm->fs, "remote-history", 0,
		    "%s has another history than was shown: manifest %" PRIu64
		    " of writer %" PRIu64 " took the place of manifest %" PRIu64
		    " of writer %" PRIu64 ", and is shown from now on",
		    rm->cfg.url, now->number, now->epoch, old->number, old->epoch);
}

static int renew_locked(struct follow *f, const struct manifest *m, struct buf *changed)
{
	const struct store_renewal renewal = { m->super, unstage, f, f->whole };
	struct ropefs *fs = f->rm->fs;
	int r;

	if (f->whole)
		forget_packs(fs, &f->rm->man, NULL);
	r = renew_packs(fs, m);
	if (r == 0)
		r = store_renew_locked(fs, &renewal, changed);
	if (r == 0 && !f->whole)
		forget_packs(fs, &f->rm->man, m);
	return r;
}

static int show(struct follow *f, struct manifest *m, const uint8_t hash[32])
{
	_cleanup_(buf_release) struct buf changed = BUF_INIT;
	struct manifest old = f->rm->man; /* its numbers */
	struct ropefs *fs = f->rm->fs;
	struct super_state s;
	int r;

	superblock_body_get(m->super, &s);
	r = f->pages->ops->allocate(f->pages, s.pages * PAGE_BYTES);
	if (r < 0)
		return r;
	r = f->whole ? begin_change(f->rm) : 0;
	if (r == 0) {
		lock_take(&fs->engine);
		r = renew_locked(f, m, &changed);
		lock_drop(&fs->engine);
	}
	if (f->whole)
		end_change(f->rm);
	if (r < 0)
		return r;
	adopt(f->rm, m, hash);
	tell_history(f, &old);
	tell(fs, &changed);
	return f->stage->ops->truncate(f->stage, 0);
}

static int look(struct follow *f)
{
	struct manifest m = { 0 };
	uint8_t hash[32];
	int r;

	err_clear();
	r = look_for_news(f, &m, hash);
	if (r > 0)
		r = stage_segments(f, &m);
	if (r == 0 && m.number)
		r = show(f, &m, hash);
	manifest_release(&m);
	/* Whoever was away for long may have missed more than the writer keeps. */
	f->looks = r < 0 ? LOOKS_OWN - 1 : f->looks;
	f->broken = r < 0 ? f->broken : 0;
	return r;
}

static uint64_t next_look(struct remote *rm)
{
	uint64_t s = rm->cfg.interval_s;

	if (!remote_is_used(rm))
		s = MAX(s, rm->cfg.interval_most_s);
	return io_mono_ns(rm->fs->io) + s * SECOND_NS;
}

static void *follow_main(void *arg)
{
	struct follow *f = arg;
	struct remote *rm = f->rm;
	uint64_t next;
	int r;

	pthread_setname_np(pthread_self(), "ropefs-follow");
	next = next_look(rm);
	lock_take(&rm->lock);
	while (!rm->stopping) {
		if (io_mono_ns(rm->fs->io) < next && !rm->kicked) {
			lock_wait(&rm->lock, &rm->wake, next);
			continue;
		}
		/* Who reads misses something: it may be time to look beyond a gap. */
		f->asked = rm->kicked;
		f->looks = f->asked ? LOOKS_OWN - 1 : f->looks;
		rm->kicked = false;
		rm->looking = true;
		lock_drop(&rm->lock);
		r = look(f);
		if (r != -ECANCELED)
			remote_note_cycle(rm, r);
		if (r == 0)
			remote_announce(rm);
		next = next_look(rm);
		lock_take(&rm->lock);
		rm->looking = false;
		pthread_cond_broadcast(&rm->done_cond);
	}
	pthread_cond_broadcast(&rm->done_cond);
	lock_drop(&rm->lock);
	return NULL;
}

/* --- who reads --- */

int remote_read_begin(struct ropefs *fs, bool nowait)
{
	struct remote *rm = fs->remote;
	int r = 0;

	if (!rm || !rm->follow)
		return 0;
	lock_take(&rm->lock);
	while (rm->changing && !nowait)
		lock_wait(&rm->lock, &rm->done_cond, 0);
	if (rm->changing)
		r = -EAGAIN;
	else
		rm->reading++;
	lock_drop(&rm->lock);
	return r;
}

void remote_read_end(struct ropefs *fs)
{
	struct remote *rm = fs->remote;

	if (!rm || !rm->follow)
		return;
	lock_take(&rm->lock);
	if (!--rm->reading && rm->changing)
		pthread_cond_broadcast(&rm->done_cond);
	lock_drop(&rm->lock);
}

uint64_t remote_shown(struct ropefs *fs)
{
	struct remote *rm = fs->remote;
	uint64_t shown;

	if (!rm || !rm->follow)
		return 0;
	lock_take(&rm->lock);
	shown = rm->shown;
	lock_drop(&rm->lock);
	return shown;
}

bool remote_renewed(struct ropefs *fs, uint64_t shown)
{
	struct remote *rm = fs->remote;
	uint64_t enough;
	bool renewed;

	if (!shown)
		return false;
	lock_take(&rm->lock);
	/* A look under way may have begun too early. */
	enough = rm->cycles + 1 + rm->looking;
	while (rm->shown == shown && rm->cycles < enough && rm->started &&
	       !rm->stopping) {
		rm->kicked |= !rm->looking;
		pthread_cond_broadcast(&rm->wake);
		lock_wait(&rm->lock, &rm->done_cond, 0);
	}
	renewed = rm->shown != shown;
	lock_drop(&rm->lock);
	return renewed;
}

/* --- opening --- */

struct follow *follow_free(struct follow *f)
{
	if (!f)
		return NULL;
	io_closep(&f->pages);
	io_closep(&f->stage);
	buf_release(&f->staged);
	free(f);
	return NULL;
}

static int follow_start(struct ropefs *fs)
{
	struct remote *rm = fs->remote;
	struct follow *f = calloc(1, sizeof(*f));
	struct remote_way way;
	sigset_t all, old;
	int r;

	if (!f)
		return -ENOMEM;
	f->rm = rm;
	rm->follow = f;
	rm->shown = 1;
	rm->committed_ns = rm->man.time_ns;
	r = io_open(fs->io, "pages", IO_WRITE, &f->pages);
	if (r == 0)
		r = io_open(fs->io, "stage", IO_CREATE, &f->stage);
	if (r == 0)
		r = remote_way_open(rm, WAY_UP, &way);
	if (r < 0)
		return r;
	rm->up = way;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&rm->thread, NULL, follow_main, f);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	rm->started = r == 0;
	return -r;
}

static int make_folder(const char *where, char **ret)
{
	char *path;

	if (!where)
		where = access(MEMORY_FOLDER, W_OK) == 0 ? MEMORY_FOLDER : FALLBACK;
	if (asprintf(&path, "%s/" FOLDER_PATTERN, where) < 0)
		return -ENOMEM;
	if (!mkdtemp(path)) {
		free(path);
		return err_set(errno, "no temporary folder can be made in %s: %s", where,
			       strerror(errno));
	}
	*ret = path;
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	return remove(path);
}

static int open_copy(const char *folder, const struct ropefs_opts *opts,
		     struct ropefs **ret)
{
	struct store_opts so = { .threads = true, .pub = *opts };
	struct key_file *kf = NULL;
	struct ropefs *fs = NULL;
	struct io *io = NULL;
	int r;

	so.pub.read_only = true;
	r = store_open_dir(folder, &io);
	if (r >= 0)
		r = key_file_read(opts->key_file, &kf);
	if (r >= 0)
		r = store_open(io, kf, &so, &fs);
	key_file_free(kf);
	if (r < 0) {
		io_free(io);
		return r;
	}
	r = follow_start(fs);
	if (r < 0)
		store_abandon(fs, false);
	else
		*ret = fs;
	return r;
}

int ropefs_open_bucket(const struct ropefs_bucket *bucket, const struct ropefs_opts *opts,
		       struct ropefs **ret)
{
	struct ropefs_clone c = { .key_file = opts->key_file,
				  .instance = bucket->instance,
				  .remote = bucket->remote };
	_cleanup_free_ char *folder = NULL;
	int r;

	err_clear();
	if (!c.key_file)
		return err_set(EINVAL, "a bucket is read with the store's key file");
	c.remote.take_over = false;
	c.remote.interval_most_s = c.remote.interval_s ? 0 : FOLLOW_MOST_S;
	c.remote.interval_s = c.remote.interval_s ? c.remote.interval_s : FOLLOW_S;
	r = keys_init_library();
	if (r >= 0)
		r = make_folder(bucket->cache, &folder);
	if (r < 0)
		return r;
	r = remote_clone_to(folder, &c);
	if (r >= 0)
		r = open_copy(folder, opts, ret);
	if (r >= 0 && bucket->cache) /* elsewhere it would be in memory */
		remote_cache_open((*ret)->remote);
	/* What is open stays; nothing is left behind however this process ends. */
	nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	if (r == -ENOSPC)
		err_set(ENOSPC,
			"the names of that store don't fit where %s was: give a "
			"larger folder for the cache",
			folder);
	return r;
}

void ropefs_follow_stop(struct ropefs *fs)
{
	if (fs->remote && fs->remote->follow)
		remote_stop(fs);
}
