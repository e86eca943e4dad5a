#include "tests/fuzz/store.h"

#include <sys/stat.h>

#include "core/keys/key_file.h"
#include "tests/lib/fixed_random.h"
#include "tests/lib/suite.h"

static const uint8_t store_id[STORE_ID_BYTES] = "ropefs fuzz disk";
static struct key_file key_file = { .key = "the key of a store that is made" };
static struct io *template;
static struct keys *keys;
static uint64_t lsn;

static uint64_t make(struct ropefs *fs, uint64_t dir, const char *name, mode_t mode)
{
	struct ropefs_new what = { .mode = mode };
	struct ropefs_attr attr;

	FUZZ_MUST(ropefs_create(fs, dir, ropefs_name(name), &what, &attr));
	return attr.ino;
}

/* A bit of everything a record of the log can be about. */
static void furnish(struct ropefs *fs)
{
	uint64_t dir = make(fs, ROPEFS_ROOT_INO, "dir", S_IFDIR | 0755);
	uint64_t file = make(fs, ROPEFS_ROOT_INO, "file", S_IFREG | 0644);
	uint64_t queue;

	FUZZ_MUST(ropefs_write(fs, file, 0, "0123456789abcdef", 16, 0, NULL));
	FUZZ_MUST(ropefs_write(fs, file, 5000, "far behind", 10, 0, NULL));
	FUZZ_MUST(ropefs_setxattr(fs, file, "user.a", "value", 5, 0));
	FUZZ_MUST(ropefs_setxattr(fs, dir, "user.ropefs.kind", "queue", 5, 0));
	queue = make(fs, dir, "queue", S_IFREG | 0644);
	FUZZ_MUST(ropefs_append(fs, queue, "one\ntwo\n", 8, 0, NULL));
	FUZZ_MUST(ropefs_cursor_commit(fs, queue, "reader", 1));
	make(fs, dir, "other", S_IFDIR | 0700);
}

static void prepare(void)
{
	struct ropefs *fs;
	struct header h;

	if (template)
		return;
	fixed_random_use(1);
	FUZZ_MUST(keys_init_library());
	memcpy(key_file.store_id, store_id, sizeof(store_id));
	FUZZ_MUST(io_sim_new(1, &template));
	FUZZ_MUST(store_init(template, &key_file, CIPHER_NONE, store_id));
	FUZZ_MUST(header_read(template, &h, NULL));
	FUZZ_MUST(keys_open(&key_file, h.cipher, h.store_id, h.wrapped, &keys));
	fs = fuzz_open(template, false);
	FUZZ_MUST(fs ? 0 : -1);
	furnish(fs);
	FUZZ_MUST(ropefs_checkpoint(fs));
	lsn = fs->checkpoint_lsn;
	store_abandon(fs, true);
	io_sim_kill(template);
}

const struct keys *fuzz_keys(void)
{
	prepare();
	return keys;
}

uint64_t fuzz_lsn(void)
{
	prepare();
	return lsn;
}

struct io *fuzz_disk(void)
{
	struct io *io;

	prepare();
	FUZZ_MUST(io_sim_branch(template, 2, &io));
	return io;
}

struct ropefs *fuzz_open(struct io *io, bool read_only)
{
	struct store_opts o = { .segment_bytes = 10 * MIB, .frame_bytes = 64 * KIB };
	struct ropefs *fs;

	o.pub.read_only = read_only;
	o.pub.memory_bytes = 32 * MIB;
	o.pub.checkpoint_s = 3600;
	return store_open(io, &key_file, &o, &fs) < 0 ? NULL : fs;
}

void fuzz_put_file(struct io *io, const char *name, const void *p, size_t n)
{
	_cleanup_(io_closep) struct io_file *f = NULL;

	FUZZ_MUST(io_open(io, name, IO_CREATE, &f));
	FUZZ_MUST(f->ops->truncate(f, 0));
	FUZZ_MUST(io_pwrite(f, p, n, 0));
}

/* --- use --- */

#define INODES 24u /* looked at by number; and those that directories lead to */

static void read_names(struct ropefs *fs, uint64_t ino)
{
	struct ropefs_entry entries[16];
	struct ropefs_attr attrs[16], attr;
	struct ropefs_snapshot snaps[4];
	char list[256];
	int n = ropefs_readdir(fs, ino, 0, entries, attrs, 16);

	for (int i = 0; i < n; i++)
		ropefs_lookup(
			fs, ino,
			(struct ropefs_name) { entries[i].name, entries[i].name_len },
			&attr);
	ropefs_snapshot_list(fs, ino, 0, snaps, 4);
	if (ropefs_listxattr(fs, ino, list, sizeof(list)) > 0) {
		char value[128];

		ropefs_getxattr(fs, ino, list, value, sizeof(value));
	}
	ropefs_getxattr(fs, ino, "user.ropefs.policy", list, sizeof(list));
}

static void read_queue(struct ropefs *fs, uint64_t ino)
{
	struct ropefs_record records[8];
	char bytes[512];
	struct ropefs_batch b = {
		.records = records, .max = 8, .p = bytes, .n = sizeof(bytes)
	};
	struct ropefs_cursor cursor;
	struct ropefs_queue q;
	uint64_t at;

	if (ropefs_queue_info(fs, ino, &q) < 0)
		return;
	b.id = q.first;
	ropefs_queue_read(fs, ino, &b, 0);
	ropefs_queue_find_time(fs, ino, q.last_time, &at);
	ropefs_queue_offset(fs, ino, q.next, &at);
	if (b.count)
		ropefs_queue_true_time(fs, ino, &records[0], &q.first_time);
	ropefs_cursor_next(fs, ino, "", &cursor);
}

static void read_bytes(struct ropefs *fs, uint64_t ino, const struct ropefs_attr *attr)
{
	char bytes[256], *target;
	uint64_t at;

	ropefs_read(fs, ino, attr->size / 2, bytes, sizeof(bytes), 0);
	ropefs_read(fs, ino, 0, bytes, sizeof(bytes), 0);
	ropefs_seek(fs, ino, attr->size / 3, SEEK_DATA, &at);
	if (ropefs_readlink(fs, ino, &target) >= 0)
		free(target);
	read_queue(fs, ino);
}

static void change(struct ropefs *fs, uint64_t ino, uint64_t size)
{
	struct ropefs_attr made;

	ropefs_create(fs, ino, ropefs_name("fuzz"),
		      &(struct ropefs_new) { .mode = S_IFREG }, &made);
	ropefs_write(fs, ino, size / 2, "fuzz", 4, 0, NULL);
	ropefs_cut(fs, ino, size / 3, 1);
	ropefs_append(fs, ino, "fuzz\n", 5, 0, NULL);
	ropefs_queue_trim(fs, ino, 1);
	ropefs_cursor_commit(fs, ino, "fuzz", 1);
	ropefs_setxattr(fs, ino, "user.fuzz", "fuzz", 4, 0);
	ropefs_unlink(fs, ino, ropefs_name("name"));
	ropefs_truncate(fs, ino, 2);
}

static void say_nothing(void *arg, const char *line)
{
	(void)arg;
	(void)strlen(line);
}

void fuzz_use(struct io *io)
{
	struct ropefs_check check = { .bad = say_nothing };
	struct ropefs *fs = fuzz_open(io, true);
	struct ropefs_attr attr;

	if (fs) {
		store_check(fs, &check);
		for (uint64_t ino = 1; ino < INODES; ino++) {
			if (ropefs_getattr(fs, ino, &attr) < 0)
				continue;
			read_names(fs, ino);
			read_bytes(fs, ino, &attr);
		}
		store_abandon(fs, true);
	}
	fs = fuzz_open(io, false);
	if (fs) {
		for (uint64_t ino = 1; ino < INODES; ino++)
			if (ropefs_getattr(fs, ino, &attr) >= 0)
				change(fs, ino, attr.size);
		ropefs_snapshot_create(fs, ROPEFS_ROOT_INO, ropefs_name("now"), NULL);
		ropefs_checkpoint(fs);
		ropefs_collect(fs);
		store_abandon(fs, true);
	}
	io_sim_kill(io);
	io_free(io);
}
