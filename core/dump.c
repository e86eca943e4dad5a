/* dump.c - any file of a store in words. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/base/err.h"
#include "core/base/time_text.h"
#include "core/remote_priv.h"
#include "core/txn.h"

struct dumping {
	void (*print)(void *arg, const char *line);
	void *arg;
};

static void _printf_(2, 3) say(struct dumping *d, const char *fmt, ...)
{
	char line[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	d->print(d->arg, line);
}

static void dump_header(struct dumping *d, const struct header *h, bool damaged)
{
	char id[2 * STORE_ID_BYTES + 1], public[2 * SIGN_PUBLIC_BYTES + 1];

	hex_put(h->store_id, STORE_ID_BYTES, id);
	hex_put(h->public_key, SIGN_PUBLIC_BYTES, public);
	say(d, "header: format %u, store %s, cipher %s, made %s", h->version, id,
	    cipher_name(h->cipher), time_text((int64_t)h->created_ns).s);
	say(d, "header: public key %s", public);
	say(d, "header: %s",
	    damaged ? "ONE OF TWO COPIES IS DAMAGED" : "both copies verify");
}

/* What happens together, a line each. */
static void dump_txn(struct dumping *d, struct span data)
{
	char line[400];
	struct op op;

	while (txn_next_op(&data, &op) > 0) {
		op_to_text(&op, line, sizeof(line));
		say(d, "    %s", line);
	}
}

static int dump_record(void *arg, uint64_t lsn, uint8_t type, struct span body)
{
	char line[400];
	struct op op = { 0 };

	if (op_decode(type, body, &op) < 0)
		snprintf(line, sizeof(line), "MALFORMED: %s", err_detail());
	else
		op_to_text(&op, line, sizeof(line));
	say(arg, "  record %" PRIu64 ": %s", lsn, line);
	if (type == OP_TXN)
		dump_txn(arg, op.data);
	return 0;
}

static int dump_snapshots(struct dumping *d, struct ropefs *fs)
{
	struct btree_cursor c;
	struct span key, value;
	int r;

	r = btree_seek(&fs->snaps, span_of("", 0), &c);
	while (r >= 0 && (r = btree_next(&c, &key, &value)) > 0)
		catalog_row_to_text(key, value, d->print, d->arg);
	return r;
}

/* The rows of the catalog and the nodes of every rope, the log replayed; of snapshots which
 * there are. */
static int dump_trees(struct dumping *d, struct ropefs *fs)
{
	struct btree_cursor c;
	struct span key, value;
	int r;

	lock_take(&fs->engine);
	r = (int)MIN(inode_flush(fs, SIZE_MAX), (ssize_t)0);
	if (r >= 0)
		r = btree_seek(&fs->catalog.bt, span_of("", 0), &c);
	while (r >= 0 && (r = btree_next(&c, &key, &value)) > 0) {
		struct inode_row row;

		catalog_row_to_text(key, value, d->print, d->arg);
		if (key.n != 9 || key.p[0] != 'I' || value.n != sizeof(row))
			continue;
		memcpy(&row, value.p, sizeof(row));
		if (rope_bytes(&row.rope))
			r = rope_to_text(&fs->env, &row.rope, d->print, d->arg);
	}
	if (r >= 0)
		r = dump_snapshots(d, fs);
	lock_drop(&fs->engine);
	return r;
}

static int dump_pages(struct dumping *d, const char *store, struct io *io,
		      const struct keys *keys, const char *key_file)
{
	struct ropefs_opts opts = { .read_only = true, .key_file = key_file };
	struct ropefs *fs;
	int r;

	if (!keys) {
		say(d, "pages: sealed; name the key file (--key-file) to see them");
		return 0;
	}
	r = pagefile_inspect(io, keys, d->print, d->arg);
	if (r < 0)
		return r;
	r = ropefs_open(store, &opts, &fs);
	if (r < 0)
		return r;
	r = dump_trees(d, fs);
	store_abandon(fs, false);
	return r;
}

struct pack_dump {
	struct dumping *d;
	struct io *io;
	const struct keys *keys;
};

static int dump_pack(void *arg, const char *name)
{
	struct pack_dump *pd = arg;
	char path[300];

	snprintf(path, sizeof(path), "packs/%s", name);
	return pack_inspect(pd->io, pd->keys, path, pd->d->print, pd->d->arg);
}

/* What lies in the bucket, as the store's folder remembers it. */
static int dump_manifest(struct dumping *d, const char *file, struct io *io,
			 const struct keys *keys)
{
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	int r = remote_file_read(io, file, &bytes);

	say(d, "%s:", file);
	return r < 0 ? r : manifest_inspect(buf_span(&bytes), keys, d->print, d->arg);
}

static bool is_manifest(const char *file)
{
	return !strcmp(file, REMOTE_FOLDER "/manifest") ||
	       !strcmp(file, REMOTE_FOLDER "/next");
}

static int dump_some(struct dumping *d, const char *store, const char *file,
		     struct io *io, const struct keys *keys, const char *key_file,
		     const struct header *h, bool damaged)
{
	struct pack_dump pd = { d, io, keys };
	int r = 0;

	if (!file || !strcmp(file, "ropefs"))
		dump_header(d, h, damaged);
	if (!file || !strcmp(file, "pages"))
		r = dump_pages(d, store, io, keys, key_file);
	if (r >= 0 && (!file || !strncmp(file, "wal", 3)))
		r = wal_inspect(io, keys, d->print, keys ? dump_record : NULL, d);
	if (r >= 0 && !file)
		return io->ops->list(io, "packs", dump_pack, &pd);
	if (r >= 0 && !strncmp(file, "packs/", 6))
		return pack_inspect(io, keys, file, d->print, d->arg);
	if (r >= 0 && is_manifest(file))
		return dump_manifest(d, file, io, keys);
	return r;
}

static bool known_file(const char *file)
{
	return !file || !strcmp(file, "ropefs") || !strcmp(file, "pages") ||
	       !strncmp(file, "wal", 3) || !strncmp(file, "packs/", 6) ||
	       is_manifest(file);
}

static int file_there(struct io *io, const char *store, const char *name)
{
	_cleanup_(io_closep) struct io_file *f = NULL;
	int r;

	if (!name || !strchr(name, '/'))
		return 0;
	r = io_open(io, name, IO_READ, &f);
	if (r == -ENOENT || r == -EINVAL)
		r = err_set(ENOENT,
			    "there is no file %s/%s; ls -R %s shows those there are",
			    store, name, store);
	return r;
}

int ropefs_dump(const char *store, const char *file, const char *key_file,
		void (*print)(void *arg, const char *line), void *arg)
{
	struct dumping d = { print, arg };
	struct key_file *kf = NULL;
	struct keys *keys = NULL;
	struct io *io = NULL;
	struct header h;
	bool damaged = false;
	int r;

	err_clear();
	if (!known_file(file))
		return err_set(
			EINVAL,
			"a store has the files ropefs, pages, wal/... and packs/..., "
			"with a bucket remote/manifest and remote/next");
	r = keys_init_library();
	if (r >= 0)
		r = store_open_dir(store, &io);
	if (r >= 0)
		r = header_read(io, &h, &damaged);
	if (r >= 0)
		r = file_there(io, store, file);
	if (r >= 0 && key_file) {
		r = key_file_read(key_file, &kf);
		if (r >= 0)
			r = keys_open(kf, h.cipher, h.store_id, h.wrapped, &keys);
	}
	if (r >= 0)
		r = dump_some(&d, store, file, io, keys, key_file, &h, damaged);
	keys_free(keys);
	key_file_free(kf);
	io_free(io);
	return r;
}
