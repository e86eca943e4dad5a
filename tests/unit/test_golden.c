/* test_golden.c - stores made by earlier versions of the program (tests/golden/) open, check
 * clean, hold what the script of their making says, and go on living. What they must hold is
 * worked out on a model: names that point at flat arrays. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/keys/keys.h"
#include "core/ropefs.h"
#include "tests/golden/script.h"
#include "tests/lib/suite.h"

#define PATH_BYTES  4400
#define NAMES_MAX   128
#define XATTRS_MAX  8
#define XATTR_BYTES 4096

static const struct image {
	const char *archive;
	enum cipher cipher;
} images[] = {
	{ "v1.tar.xz", CIPHER_XCHACHA20 },
	{ "v1-aes256-gcm.tar.xz", CIPHER_AES256GCM },
	{ "v1-none.tar.xz", CIPHER_NONE },
};

/* --- the model --- */

struct xattr {
	const char *name; /* NULL: free */
	size_t n;
	uint8_t p[XATTR_BYTES];
};

struct node { /* bytes: of a file, or a symlink's target */
	struct node *next; /* of all that there ever were */
	uint32_t mode;
	uint64_t rdev;
	int64_t mtime; /* 0: not known */
	size_t n;
	uint8_t *p;
	struct xattr xattrs[XATTRS_MAX];
};

struct name {
	char path[GOLDEN_PATH_MAX];
	struct node *node; /* NULL: free */
};

struct model {
	struct name names[NAMES_MAX];
	size_t next; /* step */
};

static struct name *name_find(struct model *m, const char *path)
{
	for (int i = 0; i < NAMES_MAX; i++)
		if (m->names[i].node && !strcmp(m->names[i].path, path))
			return &m->names[i];
	return NULL;
}

static struct node *node_of(struct model *m, const char *path)
{
	struct name *name = name_find(m, path);

	ck_assert_msg(name != NULL, "the script names %s, which is not there", path);
	return name->node;
}

/* The folder of path has another entry, or one less. */
static void touch_parent(struct model *m, const char *path)
{
	char folder[GOLDEN_PATH_MAX];
	struct name *name;

	snprintf(folder, sizeof(folder), "%.*s", (int)(strrchr(path, '/') - path), path);
	name = name_find(m, folder);
	if (name)
		name->node->mtime = 0;
}

static void name_add(struct model *m, const char *path, struct node *node)
{
	for (int i = 0; i < NAMES_MAX; i++) {
		if (m->names[i].node)
			continue;
		snprintf(m->names[i].path, GOLDEN_PATH_MAX, "%s", path);
		m->names[i].node = node;
		touch_parent(m, path);
		return;
	}
	ck_abort_msg("the model is too small");
}

static void name_del(struct model *m, const char *path)
{
	touch_parent(m, path);
	name_find(m, path)->node = NULL; /* other names may have its node */
}

static struct node *node_new(uint32_t mode)
{
	static struct node *all;
	struct node *node = calloc(1, sizeof(*node));

	ck_assert(node);
	node->mode = mode;
	node->next = all;
	all = node;
	return node;
}

/* [at, at + del) becomes n bytes; a gap before at becomes zeros. */
static void splice(struct node *f, uint64_t at, uint64_t del, const void *p, uint64_t n)
{
	uint64_t old = f->n > at ? f->n : at;
	uint8_t *to = calloc(1, old + n + 1);

	ck_assert(to && at + del <= old);
	if (f->n)
		memcpy(to, f->p, f->n < at ? f->n : at);
	if (n)
		memcpy(to + at, p, n);
	if (f->n > at + del)
		memcpy(to + at + n, f->p + at + del, f->n - at - del);
	free(f->p);
	f->p = to;
	f->n = old - del + n;
	f->mtime = 0;
}

static void model_rename(struct model *m, const struct golden_step *s)
{
	struct name *from = name_find(m, s->path), *to = name_find(m, s->to);
	size_t n = strlen(s->path);

	ck_assert(from && (to || !s->n));
	touch_parent(m, s->path);
	touch_parent(m, s->to);
	if (s->n) {
		struct node *node = from->node;

		from->node = to->node;
		to->node = node;
		return;
	}
	if (to)
		to->node = NULL;
	for (int i = 0; i < NAMES_MAX; i++) { /* it and what is below it */
		char *path = m->names[i].path, tail[GOLDEN_PATH_MAX];

		if (!m->names[i].node || strncmp(path, s->path, n) ||
		    (path[n] && path[n] != '/'))
			continue;
		snprintf(tail, sizeof(tail), "%s", path + n);
		ck_assert_uint_lt(strlen(s->to) + strlen(tail), GOLDEN_PATH_MAX);
		strcpy(path, s->to);
		strcat(path, tail);
	}
}

static void model_xattr(struct node *node, const char *name, const uint8_t *p, size_t n)
{
	struct xattr *free_one = NULL;

	for (int i = 0; i < XATTRS_MAX; i++) {
		struct xattr *x = &node->xattrs[i];

		if (x->name && !strcmp(x->name, name))
			x->name = NULL;
		if (!x->name)
			free_one = x;
	}
	if (!p)
		return;
	ck_assert(free_one && n <= XATTR_BYTES);
	free_one->name = name;
	free_one->n = n;
	memcpy(free_one->p, p, n);
}

static void model_names(struct model *m, const struct golden_step *s, const uint8_t *p)
{
	struct node *node;

	switch (s->kind) {
	case G_CREATE:
		node = node_new(s->mode);
		node->rdev = s->rdev;
		name_add(m, s->path, node);
		break;
	case G_SYMLINK:
		node = node_new(S_IFLNK | 0777);
		splice(node, 0, 0, p, s->n);
		name_add(m, s->path, node);
		break;
	case G_LINK:
		name_add(m, s->to, node_of(m, s->path));
		break;
	case G_RENAME:
		model_rename(m, s);
		break;
	case G_REMOVE:
		name_del(m, s->path);
		break;
	case G_ATTR:
		node = node_of(m, s->path);
		node->mode = (node->mode & S_IFMT) | s->mode;
		node->mtime = (int64_t)s->n;
		break;
	case G_XATTR:
		model_xattr(node_of(m, s->path), s->name, p, s->n);
		break;
	case G_RMXATTR:
		model_xattr(node_of(m, s->path), s->name, NULL, 0);
		break;
	default:
		ck_abort_msg("a step of unknown kind %d", s->kind);
	}
}

static void model_many(struct model *m, const struct golden_step *s, uint8_t *p)
{
	for (uint64_t k = 0; k < s->times; k++) {
		struct node *node = node_new(S_IFREG | 0600);
		char path[GOLDEN_PATH_MAX];

		golden_bytes(s, k, p);
		splice(node, 0, 0, p, s->n);
		golden_many_path(s, k, path);
		name_add(m, path, node);
	}
}

static void model_step(struct model *m, const struct golden_step *s)
{
	static uint8_t p[GOLDEN_BYTES_MAX];
	static const uint8_t zeros[GOLDEN_BYTES_MAX];
	struct node *f, *from;

	switch (s->kind) {
	case G_WRITE:
		golden_bytes(s, 0, p);
		f = node_of(m, s->path);
		splice(f, s->at,
		       f->n <= s->at	     ? 0
		       : s->n < f->n - s->at ? s->n
					     : f->n - s->at,
		       p, s->n);
		break;
	case G_INSERT:
		golden_bytes(s, 0, p);
		splice(node_of(m, s->path), s->at, 0, p, s->n);
		break;
	case G_INSERTS:
		for (uint64_t k = 0; k < s->times; k++) {
			golden_bytes(s, k, p);
			splice(node_of(m, s->path), k * s->at, 0, p, s->n);
		}
		break;
	case G_CUT:
		splice(node_of(m, s->path), s->at, s->n, NULL, 0);
		break;
	case G_TRUNCATE:
		f = node_of(m, s->path);
		splice(f, s->n, f->n > s->n ? f->n - s->n : 0, NULL, 0);
		break;
	case G_PUNCH:
		splice(node_of(m, s->path), s->at, s->n, zeros, s->n);
		break;
	case G_REPLACE:
		from = node_of(m, s->to);
		splice(node_of(m, s->path), s->at, s->n, from->p + s->from_at, s->from_n);
		break;
	case G_CLONE:
		from = node_of(m, s->to);
		splice(node_of(m, s->path), 0, 0, from->p, from->n);
		break;
	case G_MANY:
		model_many(m, s, p);
		break;
	case G_ORPHAN:
	case G_REAPED:
	case G_SYNC:
	case G_CHECKPOINT:
	case G_COLLECT:
	case G_REOPEN:
	case G_COPY:
		break;
	default:
		if (s->kind == G_SYMLINK || s->kind == G_XATTR)
			golden_bytes(s, 0, p);
		model_names(m, s, p);
	}
}

/* Goes on up to what the store "closed" holds, or to the end. */
static void model_run(struct model *m, bool to_end)
{
	while (m->next < golden_v1_n) {
		const struct golden_step *s = &golden_v1[m->next++];

		model_step(m, s);
		if (s->kind == G_COPY && !to_end)
			return;
	}
}

/* --- the store against it --- */

static uint32_t links_of(struct model *m, const char *path, const struct node *node)
{
	size_t n = strlen(path);
	uint32_t links = S_ISDIR(node->mode) ? 2 : 0;

	for (int i = 0; i < NAMES_MAX; i++) {
		const struct name *name = &m->names[i];

		if (!name->node)
			continue;
		if (!S_ISDIR(node->mode))
			links += name->node == node;
		else
			links += S_ISDIR(name->node->mode) &&
				 !strncmp(name->path, path, n) && name->path[n] == '/' &&
				 !strchr(name->path + n + 1, '/');
	}
	return links;
}

static void compare_bytes(struct ropefs *fs, const char *path, uint64_t ino,
			  const struct node *node)
{
	uint8_t *p = malloc(node->n + 1);
	size_t at = 0;

	ck_assert(p);
	ck_assert_int_eq(ropefs_read(fs, ino, 0, p, node->n + 1, 0), (ssize_t)node->n);
	while (at < node->n && p[at] == node->p[at])
		at++;
	ck_assert_msg(at == node->n, "%s: byte %zu differs", path, at);
	free(p);
}

static void compare_target(struct ropefs *fs, const char *path, uint64_t ino,
			   const struct node *node)
{
	char *target = NULL;

	ck_ok(ropefs_readlink(fs, ino, &target));
	ck_assert_msg(strlen(target) == node->n && !memcmp(target, node->p, node->n),
		      "%s: another target", path);
	free(target);
}

static void compare_xattrs(struct ropefs *fs, const char *path, uint64_t ino,
			   const struct node *node)
{
	uint8_t p[XATTR_BYTES + 1];
	size_t listed = 0;

	for (int i = 0; i < XATTRS_MAX; i++) {
		const struct xattr *x = &node->xattrs[i];

		if (!x->name)
			continue;
		listed += strlen(x->name) + 1;
		ck_assert_msg(ropefs_getxattr(fs, ino, x->name, p, sizeof(p)) ==
					      (ssize_t)x->n &&
				      !memcmp(p, x->p, x->n),
			      "%s: %s differs", path, x->name);
	}
	ck_assert_int_eq(ropefs_listxattr(fs, ino, NULL, 0), (ssize_t)listed);
}

static void compare_node(struct ropefs *fs, struct model *m, const char *path,
			 const struct ropefs_attr *a)
{
	const struct node *node = node_of(m, path);

	ck_assert_msg(a->mode == node->mode, "%s: mode %o, not %o", path, a->mode,
		      node->mode);
	ck_assert_msg(a->nlink == links_of(m, path, node), "%s: %u links", path,
		      a->nlink);
	ck_assert_uint_eq(a->uid, GOLDEN_UID);
	ck_assert_uint_eq(a->gid, GOLDEN_GID);
	ck_assert_uint_eq(a->rdev, node->rdev);
	ck_assert_msg(!node->mtime || a->mtime.ns == node->mtime, "%s: another mtime",
		      path);
	if (S_ISREG(a->mode)) {
		ck_assert_uint_eq(a->size, node->n);
		compare_bytes(fs, path, a->ino, node);
	} else if (S_ISLNK(a->mode)) {
		ck_assert_uint_eq(a->size, node->n);
		compare_target(fs, path, a->ino, node);
	}
	compare_xattrs(fs, path, a->ino, node);
}

/* Returns how many names are below dir. */
static size_t compare_folder(struct ropefs *fs, struct model *m, uint64_t dir,
			     const char *path)
{
	uint64_t after = 0;
	size_t names = 0;

	for (;;) {
		char below[GOLDEN_PATH_MAX];
		struct ropefs_entry e;
		struct ropefs_attr a, b;
		int r = ropefs_readdir(fs, dir, after, &e, &a, 1);

		ck_ok(r);
		if (r == 0)
			return names;
		after = e.cookie;
		ck_assert_int_lt(snprintf(below, sizeof(below), "%s/%s", path, e.name),
				 (int)sizeof(below));
		ck_assert_msg(name_find(m, below) != NULL, "%s should not be there",
			      below);
		ck_ok(ropefs_lookup(fs, dir, (struct ropefs_name) { e.name, e.name_len },
				    &b));
		ck_assert_uint_eq(b.ino, e.ino);
		ck_assert_uint_eq(a.mode >> 12, e.type);
		compare_node(fs, m, below, &a);
		names++;
		if (S_ISDIR(a.mode))
			names += compare_folder(fs, m, e.ino, below);
	}
}

static void compare(struct ropefs *fs, struct model *m)
{
	size_t names = 0;

	for (int i = 0; i < NAMES_MAX; i++)
		names += m->names[i].node != NULL;
	ck_assert_uint_eq(compare_folder(fs, m, ROPEFS_ROOT_INO, ""), names);
}

/* --- the images --- */

struct place {
	char store[PATH_BYTES], key[PATH_BYTES];
};

static bool image_usable(const struct image *image)
{
	ck_ok(keys_init_library());
	if (cipher_available(image->cipher))
		return true;
	printf("# %s: this CPU lacks the cipher\n", image->archive);
	return false;
}

static struct place unpack(const struct image *image, const char *store)
{
	char command[3 * PATH_BYTES];
	struct place at;

	snprintf(command, sizeof(command), "tar -xJf '%s/%s' --no-same-owner -C '%s'",
		 GOLDEN_DIR, image->archive, suite_tmpdir());
	ck_assert_msg(system(command) == 0, "%s (needs tar and xz)", command);
	snprintf(at.store, sizeof(at.store), "%s/%s", suite_tmpdir(), store);
	snprintf(at.key, sizeof(at.key), "%s/key", suite_tmpdir());
	return at;
}

static struct ropefs *open_at(struct place *at, bool read_only)
{
	struct ropefs_opts opts = { .key_file = at->key,
				    .read_only = read_only,
				    .memory_bytes = 32u << 20 };
	struct ropefs *fs = NULL;
	int r = ropefs_open(at->store, &opts, &fs);

	ck_assert_msg(r == 0, "open: %s", ropefs_error());
	return fs;
}

static void print_bad(void *arg, const char *line)
{
	(void)arg;
	printf("# %s\n", line);
}

static void check_clean(struct place *at)
{
	struct ropefs_check check = { .key_file = at->key, .bad = print_bad };

	ck_assert_msg(ropefs_check(at->store, &check) == 0, "%s", ropefs_error());
	ck_assert_uint_eq(check.problems, 0);
	ck_assert_uint_gt(check.pages, 0);
	ck_assert_uint_gt(check.chunks, 0);
}

/* A file more, and everything goes through a checkpoint of this version. */
static void live_on(struct ropefs *fs, struct model *m)
{
	static const struct golden_step more = { G_WRITE, "/edited", .at = 90000,
						 .n = 3000 };
	static uint8_t p[3000];
	struct ropefs_attr a;

	golden_bytes(&more, 0, p);
	ck_ok(ropefs_resolve(fs, more.path, &a));
	ck_assert_int_eq(ropefs_write(fs, a.ino, more.at, p, more.n, 0, NULL), 3000);
	model_step(m, &more);
	ck_ok(ropefs_collect(fs));
}

static void image_lives(struct place *at, struct model *m, bool killed)
{
	struct ropefs_store_info info;
	struct ropefs_status status;
	struct ropefs *fs;

	check_clean(at);
	ck_ok(ropefs_store_info(at->store, &info));
	ck_assert_uint_eq(info.format, 1); /* that only looked */
	for (int read_only = 1; read_only >= 0; read_only--) {
		fs = open_at(at, read_only);
		ropefs_get_status(fs, &status);
		ck_assert_int_eq(status.was_clean, !killed);
		ck_assert_int_eq(status.recovered_records > 0, killed);
		compare(fs, m);
		if (!read_only)
			live_on(fs, m);
		ck_ok(ropefs_close(fs));
	}
	check_clean(at);
	ck_ok(ropefs_store_info(at->store, &info));
	ck_assert_uint_eq(info.format, 2); /* upgraded */
	fs = open_at(at, false);
	compare(fs, m);
	ck_ok(ropefs_close(fs));
}

START_TEST(a_closed_store_reads_as_it_was_left_and_lives_on)
{
	static struct model m;
	struct place at;

	if (!image_usable(&images[_i]))
		return;
	at = unpack(&images[_i], "closed");
	model_run(&m, false);
	image_lives(&at, &m, false);
}
END_TEST

START_TEST(a_killed_store_comes_back_whole_from_its_log_and_lives_on)
{
	static struct model m;
	struct place at;

	if (!image_usable(&images[_i]))
		return;
	at = unpack(&images[_i], "killed");
	model_run(&m, true);
	image_lives(&at, &m, true);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("golden");
	TCase *tc = tcase_create("version 1");
	int n = (int)(sizeof(images) / sizeof(images[0]));

	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, a_closed_store_reads_as_it_was_left_and_lives_on, 0, n);
	tcase_add_loop_test(tc, a_killed_store_comes_back_whole_from_its_log_and_lives_on,
			    0, n);
	suite_add_tcase(s, tc);
	return suite_main(s);
}
