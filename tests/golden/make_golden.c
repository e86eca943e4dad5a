/* make_golden.c - made the stores in v1.tar; run by hand, once, by the program that a
 * format belongs to:
 *
 *	make_golden FOLDER CIPHER	FOLDER, which is there and empty, gets "key", and
 *					the stores "closed" and "killed"
 *
 * Names, bytes and attributes are those of script.c; keys, nonces and the times that no step
 * sets differ from run to run. Both stores have one key. tests/golden/README says how the
 * archive is packed. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/err.h"
#include "core/store_priv.h"
#include "tests/golden/script.h"

/* The least that a log takes. Segments of another size are not kept for reuse, which leaves
 * the archive small. */
#define SEGMENT_BYTES	    (9 * MIB)
#define SEGMENT_BYTES_LATER (9 * MIB + 4096)
#define PATH_BYTES	    4096

static char store[PATH_BYTES], closed[PATH_BYTES], key[PATH_BYTES];
static struct ropefs *fs;

static int64_t must(int64_t r, const char *what)
{
	if (r >= 0)
		return r;
	fprintf(stderr, "make_golden: %s: %s (%s)\n", what, err_text((int)r),
		err_detail());
	exit(1);
}

#define MUST(call) must(call, #call)

/* The folder a path is in, and its last name. */
static uint64_t split(const char *path, struct ropefs_name *ret_name)
{
	char folder[GOLDEN_PATH_MAX];
	struct ropefs_attr attr;
	const char *slash = strrchr(path, '/');

	snprintf(folder, sizeof(folder), "%.*s", (int)(slash - path), path);
	MUST(ropefs_resolve(fs, folder, &attr));
	*ret_name = ropefs_name(slash + 1);
	return attr.ino;
}

static uint64_t ino_of(const char *path)
{
	struct ropefs_attr attr;

	MUST(ropefs_resolve(fs, path, &attr));
	return attr.ino;
}

static void create(const struct golden_step *s, const char *path)
{
	struct ropefs_new what = { s->mode, GOLDEN_UID, GOLDEN_GID, s->rdev };
	struct ropefs_name name, target;
	struct ropefs_attr attr;
	uint8_t p[4096];
	uint64_t dir = split(path, &name);

	if (s->kind != G_SYMLINK) {
		MUST(ropefs_create(fs, dir, name, &what, &attr));
		return;
	}
	golden_bytes(s, 0, p);
	target = (struct ropefs_name) { (char *)p, s->n };
	MUST(ropefs_symlink(fs, dir, name, target, &what, &attr));
}

static void many(const struct golden_step *s, uint8_t *p)
{
	struct golden_step file = { G_CREATE, .mode = S_IFREG | 0600 };

	for (uint64_t k = 0; k < s->times; k++) {
		char path[GOLDEN_PATH_MAX];

		golden_many_path(s, k, path);
		create(&file, path);
		golden_bytes(s, k, p);
		MUST(ropefs_write(fs, ino_of(path), 0, p, s->n, 0, NULL));
	}
}

static void unnamed(const struct golden_step *s, uint8_t *p)
{
	struct ropefs_new what = { S_IFREG | 0600, GOLDEN_UID, GOLDEN_GID, 0 };
	struct ropefs_attr attr;

	golden_bytes(s, 0, p);
	MUST(ropefs_create_unnamed(fs, &what, &attr));
	MUST(ropefs_write(fs, attr.ino, 0, p, s->n, 0, NULL));
	if (s->kind == G_REAPED)
		ropefs_release(fs, attr.ino, 1);
}

/* Steps on names; false: s is of another kind. */
static bool step_of_names(const struct golden_step *s)
{
	struct ropefs_name name, to_name;
	struct ropefs_attr attr;
	uint64_t dir, to_dir;

	switch (s->kind) {
	case G_CREATE:
	case G_SYMLINK:
		create(s, s->path);
		return true;
	case G_LINK:
		to_dir = split(s->to, &to_name);
		MUST(ropefs_link(fs, ino_of(s->path), to_dir, to_name, &attr));
		return true;
	case G_RENAME:
		dir = split(s->path, &name);
		to_dir = split(s->to, &to_name);
		MUST(ropefs_rename(fs, dir, name, to_dir, to_name,
				   s->n ? RENAME_EXCHANGE : 0));
		return true;
	case G_REMOVE:
		MUST(ropefs_resolve(fs, s->path, &attr));
		dir = split(s->path, &name);
		MUST(S_ISDIR(attr.mode) ? ropefs_rmdir(fs, dir, name)
					: ropefs_unlink(fs, dir, name));
		return true;
	default:
		return false;
	}
}

static bool step_of_attributes(const struct golden_step *s, uint8_t *p)
{
	struct ropefs_attr attr = { .mode = s->mode, .mtime.ns = (int64_t)s->n };

	switch (s->kind) {
	case G_ATTR:
		MUST(ropefs_setattr(fs, ino_of(s->path), &attr,
				    ROPEFS_SET_MODE | ROPEFS_SET_MTIME, &attr));
		return true;
	case G_XATTR:
		golden_bytes(s, 0, p);
		MUST(ropefs_setxattr(fs, ino_of(s->path), s->name, p, s->n, 0));
		return true;
	case G_RMXATTR:
		MUST(ropefs_removexattr(fs, ino_of(s->path), s->name));
		return true;
	default:
		return false;
	}
}

static bool step_of_bytes(const struct golden_step *s, uint8_t *p)
{
	uint64_t ino = s->path ? ino_of(s->path) : 0;

	switch (s->kind) {
	case G_WRITE:
		golden_bytes(s, 0, p);
		MUST(ropefs_write(fs, ino, s->at, p, s->n, 0, NULL));
		return true;
	case G_INSERT:
	case G_INSERTS:
		for (uint64_t k = 0; k < MAX(s->times, (uint64_t)1); k++) {
			golden_bytes(s, k, p);
			MUST(ropefs_insert(fs, ino, s->times ? k * s->at : s->at, p, s->n,
					   0));
		}
		return true;
	case G_CUT:
		MUST(ropefs_cut(fs, ino, s->at, s->n));
		return true;
	case G_TRUNCATE:
		MUST(ropefs_truncate(fs, ino, s->n));
		return true;
	case G_PUNCH:
		MUST(ropefs_punch(fs, ino, s->at, s->n, true));
		return true;
	case G_REPLACE:
		MUST(ropefs_replace(
			fs, (struct ropefs_range) { ino, s->at, s->n },
			(struct ropefs_range) { ino_of(s->to), s->from_at, s->from_n }));
		return true;
	case G_CLONE:
		MUST(ropefs_copy(fs, (struct ropefs_range) { ino, 0, 0 },
				 (struct ropefs_range) { ino_of(s->to), 0, UINT64_MAX }));
		return true;
	default:
		return false;
	}
}

static void store_begin(uint64_t segment_bytes)
{
	struct store_opts o = { .threads = false, .segment_bytes = segment_bytes };
	struct key_file *kf;
	struct io *io;

	MUST(key_file_read(key, &kf));
	MUST(io_posix_new(store, &io));
	MUST(store_open(io, kf, &o, &fs));
	key_file_free(kf);
}

static void copy_closed(void)
{
	char command[3 * PATH_BYTES];

	snprintf(command, sizeof(command), "cp -a --sparse=always '%s' '%s'", store,
		 closed);
	MUST(system(command) == 0 ? 0 : -EIO);
}

static void step(const struct golden_step *s)
{
	static uint8_t p[GOLDEN_BYTES_MAX];

	switch (s->kind) {
	case G_MANY:
		many(s, p);
		break;
	case G_ORPHAN:
	case G_REAPED:
		unnamed(s, p);
		break;
	case G_SYNC:
		MUST(ropefs_sync(fs));
		break;
	case G_CHECKPOINT:
		MUST(ropefs_checkpoint(fs));
		break;
	case G_COLLECT:
		MUST(ropefs_collect(fs));
		break;
	case G_REOPEN:
		MUST(ropefs_close(fs));
		store_begin(SEGMENT_BYTES_LATER);
		break;
	case G_COPY:
		MUST(ropefs_close(fs));
		copy_closed();
		store_begin(SEGMENT_BYTES_LATER);
		break;
	default:
		if (!step_of_names(s) && !step_of_attributes(s, p) &&
		    !step_of_bytes(s, p))
			abort();
	}
}

int main(int argc, char **argv)
{
	struct ropefs_init_opts init = { .key_file = key };

	if (argc != 3) {
		fprintf(stderr, "usage: make_golden FOLDER CIPHER\n");
		return 2;
	}
	snprintf(key, sizeof(key), "%s/key", argv[1]);
	snprintf(store, sizeof(store), "%s/killed", argv[1]);
	snprintf(closed, sizeof(closed), "%s/closed", argv[1]);
	init.cipher = argv[2];
	MUST(ropefs_init(store, &init, NULL));
	store_begin(SEGMENT_BYTES);
	for (size_t i = 0; i < golden_v1_n; i++)
		step(&golden_v1[i]);
	store_abandon(fs, false); /* as kill -9 would */
	return 0;
}
