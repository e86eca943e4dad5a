#include "tests/fault/damage_store.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/err.h"

#define BIG_XATTR 4500

struct state states[STATES];
size_t n_states;
uint64_t durable_lsn;
struct rng rng;
char store[4200], key[4200];
struct stored files[64];
size_t n_files;
struct stored old_files[64];
struct version versions[1400];
size_t n_versions;

static struct state now;
static struct blob *blobs;

static struct blob *blob_new(size_t n)
{
	struct blob *b = malloc(sizeof(*b) + n + 1);

	ck_assert(b);
	b->n = n;
	b->next = blobs;
	blobs = b;
	return b;
}

static struct blob *blob_random(size_t n, bool text)
{
	struct blob *b = blob_new(n);

	rng_fill(&rng, b->p, n);
	for (size_t i = 0; text && i < n; i++)
		b->p[i] = (uint8_t)("etaoin shrdlu.\n"[b->p[i] % 15]);
	return b;
}

/* A copy of b with `del` bytes at `at` replaced by p. */
static struct blob *blob_splice(const struct blob *b, size_t at, size_t del,
				const uint8_t *p, size_t n)
{
	struct blob *to;

	ck_assert(at + del <= b->n);
	to = blob_new(b->n - del + n);
	memcpy(to->p, b->p, at);
	memcpy(to->p + at, p, n);
	memcpy(to->p + at + n, b->p + at + del, b->n - at - del);
	return to;
}

static void note_version(const struct item *it)
{
	ck_assert_uint_lt(n_versions, ARRAY_LEN(versions));
	versions[n_versions++] = (struct version) { it->ino, it->data };
}

/* --- making the store --- */

struct io *store_io(void)
{
	struct io *io;

	ck_ok(io_posix_new(store, &io));
	return io;
}

struct ropefs *store_open_plain(bool may_fail, int *ret_r)
{
	struct store_opts o = { .segment_bytes = 10 * MIB };
	struct key_file *kf;
	struct ropefs *fs = NULL;
	struct io *io;

	ck_ok(key_file_read(key, &kf));
	io = store_io();
	*ret_r = store_open(io, kf, &o, &fs);
	if (*ret_r < 0)
		io_free(io);
	key_file_free(kf);
	ck_assert_msg(may_fail || *ret_r == 0, "open: %d %s", *ret_r, err_detail());
	return fs;
}

static struct item *make(struct ropefs *fs, uint64_t dir, const char *name, uint32_t mode)
{
	struct ropefs_new new = { .mode = mode };
	struct ropefs_attr attr;
	struct item *it = &now.items[now.n++];

	ck_assert_uint_le(now.n, ITEMS);
	ck_ok(ropefs_create(fs, dir, ropefs_name(name), &new, &attr));
	*it = (struct item) { .ino = attr.ino, .dir = dir, .mode = mode, .nlink = 1 };
	snprintf(it->name, sizeof(it->name), "%s", name);
	if (S_ISDIR(mode)) {
		it->nlink = 2;
		for (size_t i = 0; i < now.n; i++)
			now.items[i].nlink += now.items[i].ino == dir;
	}
	return it;
}

static void fill(struct ropefs *fs, struct item *it, const struct blob *data)
{
	it->data = data;
	note_version(it);
	ck_ok(ropefs_write(fs, it->ino, 0, data->p, data->n, 0, NULL));
}

static struct item *make_file(struct ropefs *fs, uint64_t dir, const char *name, size_t n,
			      bool text)
{
	struct item *it = make(fs, dir, name, S_IFREG | 0640);

	fill(fs, it, blob_random(n, text));
	return it;
}

static void insert(struct ropefs *fs, struct item *it, size_t at, const struct blob *data)
{
	const struct blob *old = it->data;

	ck_ok(ropefs_insert(fs, it->ino, at, data->p, data->n, 0));
	it->data = blob_splice(old, at, 0, data->p, data->n);
	note_version(it);
}

static void set_xattr(struct ropefs *fs, struct item *it, size_t n)
{
	it->xattr = blob_random(n, false);
	ck_ok(ropefs_setxattr(fs, it->ino, "user.note", it->xattr->p, n, 0));
}

static void make_symlink(struct ropefs *fs, const char *name, size_t n)
{
	struct ropefs_new new = { 0 };
	struct ropefs_attr attr;
	struct item *it = &now.items[now.n++];
	struct blob *target = blob_random(n, true);

	ck_ok(ropefs_symlink(fs, ROPEFS_ROOT_INO, ropefs_name(name),
			     (struct ropefs_name) { (char *)target->p, n }, &new, &attr));
	*it = (struct item) { .ino = attr.ino,
			      .dir = ROPEFS_ROOT_INO,
			      .mode = attr.mode,
			      .nlink = 1,
			      .data = target };
	snprintf(it->name, sizeof(it->name), "%s", name);
}

static void make_names(struct ropefs *fs)
{
	uint64_t dirs[4] = { ROPEFS_ROOT_INO };
	char name[40];

	now.items[now.n++] = (struct item) { .ino = ROPEFS_ROOT_INO,
					     .mode = S_IFDIR | 0755,
					     .nlink = 2 };
	for (unsigned i = 1; i < 4; i++) {
		snprintf(name, sizeof(name), "dir%u", i);
		dirs[i] = make(fs, dirs[i - 1], name, S_IFDIR | 0750)->ino;
	}
	for (unsigned i = 0; i < 280; i++) {
		struct item *it;

		snprintf(name, sizeof(name), "file-%u-with-a-name", i);
		it = make_file(fs, dirs[i % 4], name, rng_below(&rng, 900), i % 2);
		if (i % 9 == 0)
			set_xattr(fs, it, i % 18 ? 30 : BIG_XATTR);
	}
	make_symlink(fs, "short link", 11);
	make_symlink(fs, "long link", 3000);
}

/* Cold bytes with small pieces between them, which a checkpoint can't join. */
static void make_fragmented(struct ropefs *fs, struct item *it)
{
	for (int i = 0; i < 560; i++)
		insert(fs, it, rng_below(&rng, it->data->n + 1), blob_random(280, true));
}

static struct item *named(const char *name)
{
	for (size_t i = 0; i < now.n; i++)
		if (now.items[i].ino && !strcmp(now.items[i].name, name))
			return &now.items[i];
	ck_abort_msg("no item %s", name);
	return NULL;
}

static void each_file(void (*fn)(const char *name));
static void keep_old_file(const char *name);

/* --- a queue and snapshots --- */

static bool is_full;
static uint64_t n_records;

struct span damage_store_record(uint64_t id)
{
	static char record[120];
	int n = snprintf(record, sizeof(record), "record %llu of %*d;",
			 (unsigned long long)id, 10 + (int)(id * 7 % 60), (int)id);

	return span_of(record, (size_t)n);
}

static void append_records(struct ropefs *fs, struct item *it, unsigned n)
{
	const struct blob *old = it->data;

	while (n--) {
		struct span rec = damage_store_record(n_records++);

		ck_ok(ropefs_append(fs, it->ino, rec.p, rec.n, 0, NULL));
		it->data = old ? blob_splice(old, old->n, 0, rec.p, rec.n)
			       : blob_splice(blob_new(0), 0, 0, rec.p, rec.n);
		old = it->data;
	}
	note_version(it);
}

static void make_queue(struct ropefs *fs)
{
	struct item *dir = make(fs, ROPEFS_ROOT_INO, "queues", S_IFDIR | 0755), *q;
	uint64_t ino = dir->ino;

	ck_ok(ropefs_setxattr(fs, ino, "user.ropefs.kind", "queue", 5, 0));
	ck_ok(ropefs_setxattr(fs, ino, "user.ropefs.framing", "write", 5, 0));
	q = make(fs, ino, "q", S_IFREG | 0640);
	for (int i = 0; i < 4; i++) {
		append_records(fs, q, 400);
		ck_ok(ropefs_checkpoint(fs));
	}
}

/* A file as the snapshot has it is one more item. */
static void note_in_snapshot(struct ropefs *fs, uint64_t root, const struct item *live)
{
	struct item *it = &now.items[now.n++];
	struct ropefs_attr attr;

	ck_assert_uint_le(now.n, ITEMS);
	ck_ok(ropefs_lookup(fs, root, ropefs_name(live->name), &attr));
	*it = *live;
	it->ino = attr.ino;
	it->dir = root;
	note_version(it);
}

static struct item *named(const char *name);

static void take_snapshot(struct ropefs *fs, uint64_t dir, const char *name,
			  const char *const *files_in_it)
{
	struct ropefs_attr root;

	ck_ok(ropefs_snapshot_create(fs, dir, ropefs_name(name), &root));
	for (; *files_in_it; files_in_it++)
		note_in_snapshot(fs, root.ino, named(*files_in_it));
}

static void make_cold(struct ropefs *fs)
{
	static const char *const early[] = { "random", "text", "pieces",
					     "file-0-with-a-name", NULL };
	static const char *const late[] = { "random", "pieces", "clone", "holes", NULL };
	static const char *const queues[] = { "q", NULL };
	struct item *a, *b, *copy, *holes;

	make_names(fs);
	make_file(fs, ROPEFS_ROOT_INO, "random", 300000, false);
	make_file(fs, ROPEFS_ROOT_INO, "text", 400000, true);
	a = make_file(fs, ROPEFS_ROOT_INO, "pieces", 200000, true);
	ck_ok(ropefs_checkpoint(fs));
	if (is_full)
		take_snapshot(fs, ROPEFS_ROOT_INO, "early", early);
	make_fragmented(fs, a);
	holes = make(fs, ROPEFS_ROOT_INO, "holes", S_IFREG | 0600);
	holes->data = blob_random(70000, true);
	memset((uint8_t *)(uintptr_t)holes->data->p + 10000, 0, 50000);
	ck_ok(ropefs_write(fs, holes->ino, 0, holes->data->p, 10000, 0, NULL));
	ck_ok(ropefs_write(fs, holes->ino, 60000, holes->data->p + 60000, 10000, 0,
			   NULL));
	note_version(holes);
	ck_ok(ropefs_checkpoint(fs));
	each_file(keep_old_file);
	copy = make(fs, ROPEFS_ROOT_INO, "clone", S_IFREG | 0600);
	copy->data = a->data;
	note_version(copy);
	ck_ok(ropefs_copy(fs, (struct ropefs_range) { copy->ino, 0, 0 },
			  (struct ropefs_range) { a->ino, 0, a->data->n }));
	b = make_file(fs, ROPEFS_ROOT_INO, "more", 150000, false);
	if (is_full) {
		make_queue(fs);
		take_snapshot(fs, ROPEFS_ROOT_INO, "late", late);
		take_snapshot(fs, named("queues")->ino, "of queues", queues);
	}
	ck_ok(ropefs_checkpoint(fs));
	insert(fs, b, 70000, blob_random(500, false));
	ck_ok(ropefs_checkpoint(fs));
}

static void remember(struct ropefs *fs)
{
	ck_assert_uint_lt(n_states, STATES);
	now.lsn = wal_last_lsn(fs->wal);
	states[n_states++] = now;
}

static void log_step(struct ropefs *fs, int i)
{
	struct item *it;
	char name[40];

	switch (i % 5) {
	case 0:
		snprintf(name, sizeof(name), "late-%d", i);
		make(fs, ROPEFS_ROOT_INO, name, S_IFREG | 0644);
		break;
	case 1:
		snprintf(name, sizeof(name), "late-%d", i - 1);
		fill(fs, named(name), blob_random(3000, true));
		break;
	case 2:
		if (is_full)
			append_records(fs, named("q"), 3);
		insert(fs, named("pieces"), rng_below(&rng, 1000),
		       blob_random(200, true));
		break;
	case 3:
		snprintf(name, sizeof(name), "file-%d-with-a-name", i);
		it = named(name);
		ck_ok(ropefs_unlink(fs, it->dir, ropefs_name(name)));
		it->ino = 0;
		break;
	default:
		snprintf(name, sizeof(name), "file-%d-with-a-name", 2 * i);
		set_xattr(fs, named(name), 100);
	}
}

/* Steps, each pushed by itself; syncs in between, but not at the end. */
static void make_log(struct ropefs *fs)
{
	remember(fs);
	for (int i = 0; i < 40; i++) {
		log_step(fs, i);
		remember(fs);
		if (i % 4 == 3 && i < 30) {
			ck_ok(ropefs_sync(fs));
			durable_lsn = now.lsn;
		} else {
			ck_ok(wal_push(fs->wal));
		}
	}
}

/* --- its files, kept to be put back --- */

void stored_path(const char *name, char *ret, size_t n)
{
	ck_assert_int_lt(snprintf(ret, n, "%s/%s", store, name), (int)n);
}

static void load_file(const char *name, struct stored *f)
{
	char path[4400];
	FILE *in;
	struct stat st;

	snprintf(f->name, sizeof(f->name), "%s", name);
	stored_path(name, path, sizeof(path));
	in = fopen(path, "re");
	ck_assert(in && fstat(fileno(in), &st) == 0);
	f->n = (size_t)st.st_size;
	f->p = malloc(f->n + 1);
	ck_assert(f->p);
	ck_assert_uint_eq(fread(f->p, 1, f->n, in), f->n);
	fclose(in);
}

static struct stored olds[64];
static size_t n_olds;

static void keep_old_file(const char *name)
{
	ck_assert_uint_lt(n_olds, ARRAY_LEN(olds));
	load_file(name, &olds[n_olds++]);
}

static void keep_file(const char *name)
{
	ck_assert_uint_lt(n_files, ARRAY_LEN(files));
	load_file(name, &files[n_files]);
	for (size_t i = 0; i < n_olds; i++)
		if (!strcmp(olds[i].name, name))
			old_files[n_files] = olds[i];
	n_files++;
}

static void each_name(const char *folder, void (*fn)(const char *name))
{
	char path[4400], name[600];
	struct dirent *e;
	DIR *d;

	stored_path(folder, path, sizeof(path));
	d = opendir(path);
	ck_assert(d);
	while ((e = readdir(d))) {
		if (e->d_type != DT_REG || !strcmp(e->d_name, "lock"))
			continue;
		snprintf(name, sizeof(name), "%s%s%s", folder, *folder ? "/" : "",
			 e->d_name);
		fn(name);
	}
	closedir(d);
}

static void drop_file(const char *name)
{
	char path[4400];

	stored_path(name, path, sizeof(path));
	ck_assert_int_eq(unlink(path), 0);
}

static void each_file(void (*fn)(const char *name))
{
	each_name("", fn);
	each_name("packs", fn);
	each_name("wal", fn);
}

void put_back(const struct stored *f)
{
	static const uint8_t zeros[4096];
	char path[4400];
	int fd;

	stored_path(f->name, path, sizeof(path));
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	ck_assert_int_ge(fd, 0);
	for (size_t at = 0; at < f->n; at += sizeof(zeros)) {
		size_t n = MIN(f->n - at, sizeof(zeros));

		if (memcmp(f->p + at, zeros, n))
			ck_assert_int_eq(pwrite(fd, f->p + at, n, (off_t)at), (ssize_t)n);
	}
	ck_assert_int_eq(ftruncate(fd, (off_t)f->n), 0);
	close(fd);
}

void put_all_back(void)
{
	each_file(drop_file);
	for (size_t i = 0; i < n_files; i++)
		put_back(&files[i]);
}

void poke(const struct stored *f, size_t at, uint8_t byte)
{
	char path[4400];
	int fd;

	stored_path(f->name, path, sizeof(path));
	fd = open(path, O_WRONLY | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pwrite(fd, &byte, 1, (off_t)at), 1);
	close(fd);
}

void damage_store_make(bool full)
{
	struct ropefs_init_opts opts = { .key_file = key };
	struct ropefs *fs;
	int r;

	is_full = full;
	rng = rng_seeded(suite_seed());
	snprintf(store, sizeof(store), "%s/store", suite_tmpdir());
	snprintf(key, sizeof(key), "%s/key", suite_tmpdir());
	ck_ok(ropefs_init(store, &opts, NULL));
	fs = store_open_plain(false, &r);
	make_cold(fs);
	make_log(fs);
	store_abandon(fs, false);
	each_file(keep_file);
}

void damage_store_release(void)
{
	while (blobs) {
		struct blob *next = blobs->next;

		free(blobs);
		blobs = next;
	}
	for (size_t i = 0; i < n_files; i++)
		free(files[i].p);
	for (size_t i = 0; i < n_olds; i++)
		free(olds[i].p);
	n_files = n_olds = n_versions = 0;
	memset(old_files, 0, sizeof(old_files));
}
