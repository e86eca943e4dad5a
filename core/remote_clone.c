/* remote_clone.c - a store made anew from a bucket: header, page file, an empty log. Packs stay
 * in the bucket until their bytes are read. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/err.h"
#include "core/keys/key_file.h"
#include "core/page/superblock.h"
#include "core/remote_priv.h"

#define LOG_SEGMENT_BYTES (12 * MIB)

/* A store in the making. fs holds what the remote functions look at, nothing is opened. */
struct cloning {
	struct ropefs_clone *c;
	struct ropefs fs;
	struct remote *rm;
	struct key_file *kf;
	struct pagefile *pf;
	struct manifest man;
	struct buf man_bytes;
	uint64_t done_bytes, total_bytes;
	uint64_t segment; /* under way */
};

/* --- which instance --- */

static bool is_instance(const char *word)
{
	return strlen(word) == INSTANCE_BYTES - 1 &&
	       strspn(word, "0123456789abcdef") == INSTANCE_BYTES - 1;
}

int remote_get_header(struct object_store *os, const char *instance, struct buf *ret)
{
	int r;

	ret->n = 0;
	r = object_get(os, key_header(instance).text, (struct object_range) { 0, 0 },
		       ret);
	return r == 0 && ret->n != HEADER_FILE_BYTES ? -ENOENT : r;
}

static int note_word(void *arg, const char *word, uint64_t bytes)
{
	return is_instance(word) ? buf_append(arg, word, INSTANCE_BYTES) : 0;
}

int remote_list_instances(struct object_store *os, struct buf *ret)
{
	const struct object_listing all = {
		.prefix = "", .after = "", .each = note_word, .arg = ret, .folders = true
	};

	return object_list(os, &all);
}

/* The instance whose header has the key file's store id. */
static int find_instance(struct cloning *k, struct buf *header)
{
	_cleanup_(buf_release) struct buf words = BUF_INIT;
	int r = remote_list_instances(k->rm->up.os, &words);

	for (size_t at = 0; r == 0 && at < words.n; at += INSTANCE_BYTES) {
		const char *word = (const char *)words.p + at;

		r = remote_get_header(k->rm->up.os, word, header);
		if (r == 0 && !memcmp(header->p + 16, k->kf->store_id, STORE_ID_BYTES)) {
			memcpy(k->rm->instance, word, INSTANCE_BYTES);
			return 0;
		}
		if (r == -ENOENT)
			r = 0;
	}
	if (r < 0)
		return r;
	return err_set(E_NOT_STORE,
		       "%s has no store that the key file belongs to; is the prefix "
		       "right?",
		       k->rm->cfg.url);
}

static int take_instance(struct cloning *k, struct buf *header)
{
	const char *given = k->c->instance;
	int r;

	if (!given)
		return find_instance(k, header);
	if (!is_instance(given))
		return err_set(EINVAL, "'%s' is no instance: those are 32 hex digits",
			       given);
	memcpy(k->rm->instance, given, INSTANCE_BYTES);
	r = remote_get_header(k->rm->up.os, given, header);
	return r == -ENOENT ? err_set(E_NOT_STORE, "%s has no instance %s",
				      k->rm->cfg.url, given)
			    : r;
}

/* --- steps --- */

static int write_header(struct cloning *k, const struct buf *header)
{
	struct io *io = k->fs.io;
	struct header h;
	char instance[INSTANCE_BYTES];
	int r;

	r = io_publish(io, "ropefs", header->p, header->n);
	if (r == 0)
		r = header_read(io, &h, NULL);
	if (r == 0)
		r = keys_open(k->kf, h.cipher, h.store_id, h.wrapped, &k->fs.keys);
	/* Until all is there it is no store. */
	io->ops->unlink(io, "ropefs");
	if (r < 0)
		return r;
	k->fs.header = h;
	instance_id(h.public_key, instance);
	if (strcmp(instance, k->rm->instance) != 0)
		return err_set(E_CORRUPT, "the header in the bucket is another store's");
	return 0;
}

static int get_last_manifest(struct cloning *k)
{
	uint64_t last;
	int r;

	r = remote_find_last(k->rm->up.os, k->rm->instance, 0, &last);
	if (r == -ENOENT)
		return err_set(E_NOT_STORE, "%s has no whole state of this store yet",
			       k->rm->cfg.url);
	if (r < 0)
		return r;
	for (unsigned tries = 0; tries < 1 + WRONG_TRIES; tries++) {
		r = remote_get_manifest(k->rm->up.os, k->rm->instance, last, k->fs.keys,
					&k->man_bytes, &k->man);
		if (r != -E_CORRUPT)
			break;
	}
	return r;
}

static int restore_page(void *arg, uint64_t page, const uint8_t *sealed)
{
	struct cloning *k = arg;
	struct page_at *at;
	int r = pagefile_restore_page(k->pf, page, sealed);

	/* Segments come in rising order, the manifest's own pages last: the newest win. */
	if (r == 0)
		r = page_map_grow(&k->rm->map, page + 1);
	if (r < 0)
		return r;
	at = &k->rm->map.at[page];
	at->segment = k->segment;
	memcpy(&at->version, sealed, sizeof(at->version));
	return 0;
}

static int get_pages(struct cloning *k)
{
	const struct segment_pages to = { restore_page, k };
	_cleanup_(buf_release) struct buf b = BUF_INIT;
	int r = 0;

	for (size_t i = 0; i < k->man.n_segments; i++)
		k->total_bytes += (uint64_t)k->man.segments[i].pages * PAGE_BYTES;
	for (size_t i = 0; r == 0 && i < k->man.n_segments; i++) {
		const struct manifest_segment *s = &k->man.segments[i];

		k->segment = s->number;
		r = remote_get_segment(k->rm, s, &to, &b);
		k->done_bytes += (uint64_t)s->pages * PAGE_BYTES;
		if (r == 0 && k->c->progress)
			k->c->progress(k->c->arg, k->done_bytes, k->total_bytes);
	}
	k->segment = 0;
	return r < 0 ? r : remote_each_page(&k->man, &to);
}

/* With the next manifest, which says the same, the bucket is ours. */
static int take_over(struct cloning *k)
{
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	struct manifest next = k->man;
	int r = remote_probe_creates(k->rm, &k->rm->cfg.creates);

	if (r < 0)
		return r;
	if (!k->rm->cfg.creates)
		return err_set(
			E_REMOTE,
			"this kind of bucket can't tell two writers apart (no atomic "
			"conditional put), so taking over is refused");
	next.number++;
	next.epoch++;
	next.n_drops = 0;
	next.time_ns = io_real_ns(k->fs.io);
	memcpy(next.writer, k->rm->cfg.writer, sizeof(next.writer));
	hash256(buf_span(&k->man_bytes), next.prev_hash);
	r = manifest_encode(&next, k->fs.io, k->fs.keys, &bytes);
	if (r == 0)
		r = remote_put_bytes(k->rm->up.os,
				     key_manifest(k->rm->instance, next.number).text,
				     buf_span(&bytes), OBJECT_IF_ABSENT);
	if (r == -EEXIST)
		return err_set(E_FENCED,
			       "the store's writer is at work: it has just put "
			       "manifest %" PRIu64 "; try again",
			       next.number);
	if (r < 0)
		return r;
	k->man.number = next.number;
	k->man.epoch = next.epoch;
	k->rm->cfg.epoch = next.epoch;
	k->rm->cfg.reader = false;
	buf_swap(&k->man_bytes, &bytes);
	return 0;
}

static int write_remote(struct cloning *k)
{
	struct io *io = k->fs.io;
	int r;

	r = io->ops->mkdir(io, REMOTE_FOLDER);
	if (r == 0)
		r = io_publish(io, REMOTE_FOLDER "/manifest", k->man_bytes.p,
			       k->man_bytes.n);
	if (r == 0)
		r = remote_config_write(io, k->fs.keys, &k->rm->cfg);
	if (r < 0)
		return r;
	k->rm->man.number = k->man.number;
	remote_map_save(k->rm);
	return 0;
}

/* A log that ends where the state does. */
static int begin_log(struct cloning *k)
{
	struct wal_opts wo = { .io = k->fs.io,
			       .keys = k->fs.keys,
			       .segment_bytes = LOG_SEGMENT_BYTES };
	struct super_state s;
	struct wal *wal;
	int r;

	superblock_body_get(k->man.super, &s);
	r = wal_open(&wo, &wal);
	if (r < 0)
		return r;
	r = wal_start(wal, s.super.lsn + 1);
	wal_close(wal);
	return r;
}

static int build(struct cloning *k)
{
	_cleanup_(buf_release) struct buf header = BUF_INIT;
	struct io *io = k->fs.io;
	int r;

	r = take_instance(k, &header);
	if (r == 0)
		r = write_header(k, &header);
	if (r == 0)
		r = get_last_manifest(k);
	if (r == 0)
		r = io->ops->mkdir(io, "wal");
	if (r == 0)
		r = io->ops->mkdir(io, "packs");
	if (r == 0)
		r = pagefile_restore_begin(io, k->fs.keys, k->man.super, &k->pf);
	if (r == 0)
		r = get_pages(k);
	if (r == 0)
		r = pagefile_restore_end(k->pf);
	if (r == 0)
		r = begin_log(k);
	if (r == 0 && k->c->remote.take_over)
		r = take_over(k);
	if (r == 0)
		r = write_remote(k);
	if (r == 0)
		r = io_publish(io, "ropefs", header.p, header.n);
	return r;
}

static int not_empty(void *arg, const char *name)
{
	return -ENOTEMPTY;
}

static int open_folder(const char *store, struct io **ret)
{
	int r;

	if (mkdir(store, 0700) < 0 && errno != EEXIST)
		return err_set(errno, "%s can't be made: %s", store, strerror(errno));
	r = store_open_dir(store, ret);
	if (r == 0)
		r = (*ret)->ops->list(*ret, "", not_empty, NULL);
	if (r == -ENOTEMPTY)
		return err_set(
			EEXIST,
			"the folder %s is not empty: a store is made from a bucket "
			"in a new folder",
			store);
	return r;
}

static void results(struct cloning *k)
{
	struct super_state s;

	superblock_body_get(k->man.super, &s);
	k->c->manifest = k->man.number;
	k->c->files = s.super.inodes ? s.super.inodes - 1 : 0;
	k->c->bytes = s.super.live_bytes;
}

static void cloning_release(struct cloning *k)
{
	if (k->rm)
		k->rm->man.packs = NULL; /* only its number was used */
	k->rm = remote_free(k->rm);
	k->pf = pagefile_close(k->pf);
	keys_free(k->fs.keys);
	io_free(k->fs.io);
	key_file_free(k->kf);
	manifest_release(&k->man);
	buf_release(&k->man_bytes);
}

int remote_clone_to(const char *folder, struct ropefs_clone *c)
{
	struct cloning k = { .c = c, .fs.threads = true };
	int r;

	r = key_file_read(c->key_file, &k.kf);
	if (r >= 0)
		r = open_folder(folder, &k.fs.io);
	if (r >= 0)
		r = remote_new(&k.fs, &k.rm);
	if (r >= 0)
		r = remote_config_fill(&k.rm->cfg, &c->remote);
	if (r >= 0) {
		k.rm->cfg.reader = true;
		io_random(k.fs.io, k.rm->cfg.writer, sizeof(k.rm->cfg.writer));
		r = remote_way_open(k.rm, WAY_UP, &k.rm->up);
	}
	if (r >= 0) {
		k.rm->cfg.creates = object_capabilities(k.rm->up.os) & OBJECT_CREATES;
		r = build(&k);
	}
	if (r >= 0)
		results(&k);
	cloning_release(&k);
	return r;
}

int ropefs_clone(const char *store, struct ropefs_clone *c)
{
	int r;

	err_clear();
	r = keys_init_library();
	return r < 0 ? r : remote_clone_to(store, c);
}
