/* test_names.c - random operations on names, done to a store and to a folder of the system's
 * filesystem: both must say the same (success or errno) and show the same tree. The store is
 * closed, or dropped and recovered from its log, in between. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/store_priv.h"
#include "tests/lib/suite.h"

#define PATH_DEPTH 3
#define NAMES	   3
#define OPS_MIN	   1000

static char store[4200], key[4200], shadow[4200];

struct path {
	char parts[PATH_DEPTH][8];
	unsigned n;
};

struct world {
	struct ropefs *fs;
	struct rng rng;
	int root; /* of the shadow folder */
	uint64_t ops, agreed_errors, reopened;
};

static struct path random_path(struct world *w)
{
	struct path p = { .n = (unsigned)rng_below(&w->rng, PATH_DEPTH) + 1 };

	for (unsigned i = 0; i < p.n; i++)
		snprintf(p.parts[i], sizeof(p.parts[i]), "%c",
			 (char)('a' + (int)rng_below(&w->rng, NAMES)));
	return p;
}

static void path_text(const struct path *p, char *out, size_t n)
{
	size_t used = 0;

	for (unsigned i = 0; i < p->n; i++)
		used += (size_t)snprintf(out + used, n - used, "%s%s", i ? "/" : "",
					 p->parts[i]);
}

/* The directory a path's last part is in: 0, or the errno of the walk. Symlinks are not
 * followed by the store, so the shadow's must not lead anywhere: they dangle. */
static int parent_of(struct world *w, const struct path *p, uint64_t *ret)
{
	struct ropefs_attr at = { .ino = ROPEFS_ROOT_INO, .mode = S_IFDIR };

	for (unsigned i = 0; i + 1 < p->n; i++) {
		int r;

		if (!S_ISDIR(at.mode))
			return -ENOTDIR;
		r = ropefs_lookup(w->fs, at.ino, ropefs_name(p->parts[i]), &at);
		if (r < 0)
			return r;
		if (S_ISLNK(at.mode)) /* dangles */
			return -ENOENT;
	}
	if (!S_ISDIR(at.mode))
		return -ENOTDIR;
	*ret = at.ino;
	return 0;
}

static struct ropefs_name last_of(const struct path *p)
{
	return ropefs_name(p->parts[p->n - 1]);
}

static int result(int r)
{
	return r < 0 ? -errno : 0;
}

enum what {
	MAKE_FILE,
	MAKE_DIR,
	MAKE_LINK,
	HARD_LINK,
	UNLINK,
	RMDIR,
	RENAME,
	NOREPLACE,
	EXCHANGE,
	WHATS
};

static int do_shadow(struct world *w, enum what what, const char *a, const char *b)
{
	int fd;

	switch (what) {
	case MAKE_FILE:
		fd = openat(w->root, a, O_CREAT | O_EXCL | O_WRONLY, 0644);
		if (fd < 0)
			return -errno;
		close(fd);
		return 0;
	case MAKE_DIR:
		return result(mkdirat(w->root, a, 0755));
	case MAKE_LINK:
		return result(symlinkat("nowhere/at/all", w->root, a));
	case HARD_LINK:
		return result(linkat(w->root, a, w->root, b, 0));
	case UNLINK:
		return result(unlinkat(w->root, a, 0));
	case RMDIR:
		return result(unlinkat(w->root, a, AT_REMOVEDIR));
	case RENAME:
		return result(renameat2(w->root, a, w->root, b, 0));
	case NOREPLACE:
		return result(renameat2(w->root, a, w->root, b, RENAME_NOREPLACE));
	case EXCHANGE:
		return result(renameat2(w->root, a, w->root, b, RENAME_EXCHANGE));
	case WHATS:
		break;
	}
	return -EINVAL;
}

static int do_store(struct world *w, enum what what, const struct path *a,
		    const struct path *b)
{
	struct ropefs_new file = { .mode = S_IFREG | 0644 },
			  dir = { .mode = S_IFDIR | 0755 };
	struct ropefs_attr attr;
	uint64_t pa, pb;
	int r = parent_of(w, a, &pa);

	if (r < 0)
		return r;
	switch (what) {
	case MAKE_FILE:
		return ropefs_create(w->fs, pa, last_of(a), &file, NULL);
	case MAKE_DIR:
		return ropefs_create(w->fs, pa, last_of(a), &dir, NULL);
	case MAKE_LINK:
		return ropefs_symlink(w->fs, pa, last_of(a),
				      ropefs_name("nowhere/at/all"), &file, NULL);
	case UNLINK:
		return ropefs_unlink(w->fs, pa, last_of(a));
	case RMDIR:
		return ropefs_rmdir(w->fs, pa, last_of(a));
	default:
		break;
	}
	r = parent_of(w, b, &pb);
	if (what == HARD_LINK) { /* the kernel looks the old name up first */
		int old = ropefs_lookup(w->fs, pa, last_of(a), &attr);

		if (old < 0 || r < 0)
			return old < 0 ? old : r;
		return ropefs_link(w->fs, attr.ino, pb, last_of(b), NULL);
	}
	if (r < 0)
		return r;
	return ropefs_rename(w->fs, pa, last_of(a), pb, last_of(b),
			     what == RENAME	 ? 0
			     : what == NOREPLACE ? RENAME_NOREPLACE
						 : RENAME_EXCHANGE);
}

/* The kernel checks some things of a rename or link before the filesystem is asked, in an
 * order of its own, so two refusals may differ in kind. */
static bool agree(enum what what, int shadow_r, int store_r)
{
	if (shadow_r == store_r)
		return true;
	return what >= HARD_LINK && shadow_r < 0 && store_r < 0;
}

static void compare_dir(struct world *w, int dirfd, uint64_t ino)
{
	struct ropefs_entry e[NAMES + 1];
	struct ropefs_attr attrs[NAMES + 1];
	struct stat st;
	int n = ropefs_readdir(w->fs, ino, 0, e, attrs, NAMES + 1);
	unsigned shadow_n = 0;
	struct dirent *de;
	DIR *d;

	ck_assert_int_ge(n, 0);
	d = fdopendir(dup(dirfd));
	ck_assert(d);
	rewinddir(d);
	while ((de = readdir(d)))
		shadow_n += strcmp(de->d_name, ".") && strcmp(de->d_name, "..");
	closedir(d);
	ck_assert_uint_eq((unsigned)n, shadow_n);
	for (int i = 0; i < n; i++) {
		ck_assert_msg(fstatat(dirfd, e[i].name, &st, AT_SYMLINK_NOFOLLOW) == 0,
			      "%s is not in the shadow", e[i].name);
		ck_assert_uint_eq(st.st_mode & S_IFMT, attrs[i].mode & S_IFMT);
		ck_assert_uint_eq((st.st_mode & S_IFMT) >> 12, e[i].type);
		ck_assert_msg(st.st_nlink == attrs[i].nlink, "%s: %lu links, not %u",
			      e[i].name, (unsigned long)st.st_nlink, attrs[i].nlink);
		if (S_ISLNK(st.st_mode))
			ck_assert_uint_eq((uint64_t)st.st_size, attrs[i].size);
		if (S_ISDIR(st.st_mode)) {
			int fd = openat(dirfd, e[i].name, O_RDONLY | O_DIRECTORY);

			ck_assert_int_ge(fd, 0);
			compare_dir(w, fd, e[i].ino);
			close(fd);
		}
	}
}

static void world_open(struct world *w)
{
	struct ropefs_opts opts = { .key_file = key, .memory_bytes = 32u << 20 };
	int r = ropefs_open(store, &opts, &w->fs);

	ck_assert_msg(r == 0, "open: %d %s", r, ropefs_error());
}

static void world_reopen(struct world *w)
{
	w->reopened++;
	ck_ok(ropefs_sync(w->fs));
	if (rng_below(&w->rng, 2))
		ck_ok(ropefs_close(w->fs));
	else
		store_abandon(w->fs, false);
	world_open(w);
}

static void step(struct world *w)
{
	struct path a = random_path(w), b = random_path(w);
	enum what what = (enum what)rng_below(&w->rng, WHATS);
	char ta[64], tb[64];
	int rs, rf;

	path_text(&a, ta, sizeof(ta));
	path_text(&b, tb, sizeof(tb));
	rf = do_shadow(w, what, ta, tb);
	rs = do_store(w, what, &a, &b);
	ck_assert_msg(agree(what, rf, rs),
		      "op %d %s %s: the system says %d, the store %d %s", what, ta, tb,
		      rf, rs, ropefs_error());
	w->ops++;
	w->agreed_errors += rf < 0;
}

START_TEST(names_behave_as_on_the_systems_filesystem)
{
	struct world w = { .rng = rng_seeded(suite_seed()) };
	struct ropefs_init_opts init = { .key_file = key };
	struct ropefs_check check = { .key_file = key };
	time_t until = time(NULL) + suite_seconds(8);

	snprintf(store, sizeof(store), "%s/store", suite_tmpdir());
	snprintf(key, sizeof(key), "%s/key", suite_tmpdir());
	snprintf(shadow, sizeof(shadow), "%s/shadow", suite_tmpdir());
	ck_assert_msg(ropefs_init(store, &init, NULL) == 0, "%s", ropefs_error());
	ck_assert_int_eq(mkdir(shadow, 0755), 0);
	w.root = open(shadow, O_RDONLY | O_DIRECTORY);
	ck_assert_int_ge(w.root, 0);
	world_open(&w);
	while (time(NULL) < until || w.ops <= OPS_MIN) {
		for (int i = 0; i < 200; i++)
			step(&w);
		compare_dir(&w, w.root, ROPEFS_ROOT_INO);
		if (rng_below(&w.rng, 20) == 0) {
			world_reopen(&w);
			compare_dir(&w, w.root, ROPEFS_ROOT_INO);
		}
		if (rng_below(&w.rng, 20) == 0)
			ck_ok(ropefs_checkpoint(w.fs));
	}
	ck_ok(ropefs_close(w.fs));
	ck_assert_msg(ropefs_check(store, &check) == 0, "fsck: %s", ropefs_error());
	close(w.root);
	printf("# %llu operations, %llu refused by both, %llu reopenings\n",
	       (unsigned long long)w.ops, (unsigned long long)w.agreed_errors,
	       (unsigned long long)w.reopened);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("names");
	TCase *tc = tcase_create("names");

	tcase_set_timeout(tc, 1200);
	tcase_add_test(tc, names_behave_as_on_the_systems_filesystem);
	suite_add_tcase(s, tc);
	return suite_main(s);
}
