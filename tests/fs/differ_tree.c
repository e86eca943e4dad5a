/* differ_tree.c - see differ.h. */
#include "tests/fs/differ.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define BIG (1ll << 40)
enum { MAX = 4096, BLOCK = 65536 };

uint32_t differ_hash(const void *p, size_t n)
{
	const uint8_t *b = p;
	uint32_t h = 2166136261u;

	for (size_t i = 0; i < n; i++)
		h = (h ^ b[i]) * 16777619u;
	return h;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Sorted "NAME/TYPE" of an open folder, which it closes. */
static size_t names_of(int dir, char ***ret)
{
	char **list = calloc(MAX, sizeof(*list));
	DIR *d = fdopendir(dir);
	struct dirent *e;
	size_t n = 0;

	while (d && (e = readdir(d)) && n < MAX)
		if (asprintf(&list[n++], "%s/%d", e->d_name, e->d_type) < 0)
			abort();
	if (d)
		closedir(d);
	else
		close(dir);
	qsort(list, n, sizeof(*list), by_name);
	*ret = list;
	return n;
}

static void names_free(char **list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(list[i]);
	free(list);
}

void differ_list(int dir, differ_note_fn *note)
{
	char **list;
	size_t n = names_of(dir, &list);

	for (size_t i = 0; i < n; i++)
		note(" %.20s", list[i]);
	names_free(list, n);
}

/* --- holes --- */

static bool zeros(int fd, off_t from, off_t to)
{
	static char buf[BLOCK], none[BLOCK];
	off_t end = to - from > 4 * BLOCK ? from + 4 * BLOCK : to;

	for (ssize_t n; from < end; from += n) {
		n = pread(fd, buf, (size_t)(end - from < BLOCK ? end - from : BLOCK),
			  from);
		if (n <= 0 || memcmp(buf, none, (size_t)n) != 0)
			return false;
	}
	return true;
}

int differ_holes(int fd, off_t from)
{
	int copy, flags = fcntl(fd, F_GETFL);
	struct stat st;
	off_t here = lseek(fd, 0, SEEK_CUR), data, hole;
	int r = 0;

	if (here < 0 || fstat(fd, &st) < 0)
		return errno;
	if (!S_ISREG(st.st_mode) || (flags & O_ACCMODE) == O_WRONLY || flags & O_DIRECT)
		return 0;
	copy = fd;
	if (from < 0 || from >= st.st_size) {
		r = lseek(copy, from, SEEK_DATA) < 0 ? errno : EBADMSG;
		if (lseek(copy, from, SEEK_HOLE) >= 0)
			r = EBADMSG;
	}
	while (!r && from < st.st_size) {
		data = lseek(copy, from, SEEK_DATA);
		if (data < 0 && errno != ENXIO)
			r = errno;
		if (data < 0)
			data = st.st_size;
		if (data < from || data > st.st_size || !zeros(copy, from, data))
			r = EBADMSG;
		if (r || data == st.st_size)
			break;
		hole = lseek(copy, data, SEEK_HOLE);
		if (hole <= data || hole > st.st_size)
			r = EBADMSG;
		from = hole;
	}
	lseek(copy, here, SEEK_SET);
	return r;
}

/* --- the tree --- */

static struct {
	ino_t ino;
	char path[1024];
} seen[MAX];
static size_t nseen;

static const char *first_name(const struct stat *st, const char *path)
{
	for (size_t i = 0; i < nseen; i++)
		if (seen[i].ino == st->st_ino)
			return seen[i].path;
	if (nseen < MAX) {
		seen[nseen].ino = st->st_ino;
		snprintf(seen[nseen++].path, sizeof(seen[0].path), "%s", path);
	}
	return "";
}

static uint32_t hash_part(int fd, off_t at, uint32_t h)
{
	static char buf[BLOCK];
	off_t end = at + (1 << 20);

	for (ssize_t n; at < end && (n = pread(fd, buf, sizeof(buf), at)) > 0; at += n)
		h = h * 31 + differ_hash(buf, (size_t)n);
	return h;
}

static void show_bytes(const char *path, const struct stat *st)
{
	char target[4096];
	ssize_t n;
	int fd;

	if (S_ISLNK(st->st_mode)) {
		n = readlink(path, target, sizeof(target));
		printf(" -> %08x", differ_hash(target, n > 0 ? (size_t)n : 0));
	}
	if (!S_ISREG(st->st_mode))
		return;
	fd = open(path, O_RDONLY | O_NOATIME);
	printf(" #%08x", hash_part(fd, 0, 0));
	if (st->st_size > BIG)
		printf(" #%08x", hash_part(fd, BIG, 0));
	if (st->st_size && differ_holes(fd, 0))
		printf(" HOLES");
	close(fd);
}

static void show_xattrs(const char *path)
{
	char list[4096], value[4096], *sorted[64];
	ssize_t n = llistxattr(path, list, sizeof(list)), r;
	size_t k = 0;

	for (char *p = list; n > 0 && p < list + n && k < 64; p += strlen(p) + 1)
		sorted[k++] = p;
	qsort(sorted, k, sizeof(*sorted), by_name);
	for (size_t i = 0; i < k; i++) {
		r = lgetxattr(path, sorted[i], value, sizeof(value));
		printf(" %s=%zd#%08x", sorted[i], r,
		       differ_hash(value, r > 0 ? (size_t)r : 0));
	}
}

typedef void visit_fn(const char *path, const struct stat *st, void *arg);

static void walk(const char *path, visit_fn *visit, void *arg)
{
	char **list, child[4096];
	struct stat st;
	size_t n;
	int dir;

	if (strlen(path) > 900 || lstat(*path ? path : "/", &st) < 0)
		return;
	visit(*path ? path : "/", &st, arg);
	if (!S_ISDIR(st.st_mode))
		return;
	dir = open(*path ? path : "/", O_RDONLY | O_DIRECTORY);
	if (dir < 0)
		return;
	n = names_of(dir, &list);
	for (size_t i = 0; i < n; i++) {
		*strrchr(list[i], '/') = 0;
		if (strcmp(list[i], ".") == 0 || strcmp(list[i], "..") == 0)
			continue;
		snprintf(child, sizeof(child), "%s/%s", path, list[i]);
		walk(child, visit, arg);
	}
	names_free(list, n);
}

static void show_entry(const char *path, const struct stat *st, void *arg)
{
	(void)arg;
	printf("  %.60s %o %d:%d %d %lld %llx %s", path, st->st_mode, (int)st->st_uid,
	       S_ISCHR(st->st_mode) && !st->st_rdev ? 0 : (int)st->st_gid,
	       (int)st->st_nlink, S_ISDIR(st->st_mode) ? 0 : (long long)st->st_size,
	       (unsigned long long)st->st_rdev, first_name(st, path));
	show_bytes(path, st);
	show_xattrs(path);
	printf("\n");
}

void differ_tree(void)
{
	nseen = 0;
	walk("", show_entry, NULL);
}

/* --- times --- */

struct differ_times {
	size_t n;
	struct {
		ino_t ino;
		struct timespec m, c;
	} of[MAX];
};

static void add_times(const char *path, const struct stat *st, void *arg)
{
	struct differ_times *t = arg;

	(void)path;
	if (t->n == MAX)
		return;
	t->of[t->n].ino = st->st_ino;
	t->of[t->n].m = st->st_mtim;
	t->of[t->n++].c = st->st_ctim;
}

struct differ_times *differ_times_new(void)
{
	struct differ_times *t = calloc(1, sizeof(*t));

	walk("", add_times, t);
	return t;
}

struct compare {
	struct differ_times *before;
	differ_note_fn *note;
};

static bool same(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static void compare_times(const char *path, const struct stat *st, void *arg)
{
	struct compare *c = arg;

	for (size_t i = 0; i < c->before->n; i++) {
		if (c->before->of[i].ino != st->st_ino)
			continue;
		bool m = !same(c->before->of[i].m, st->st_mtim);
		bool ch = !same(c->before->of[i].c, st->st_ctim);

		if (m || ch)
			c->note("\n   times: %.60s%s%s", path, m ? " mtime" : "",
				ch ? " ctime" : "");
		return;
	}
}

struct differ_times *differ_times_changed(struct differ_times *t, differ_note_fn *note)
{
	struct compare c = { t, note };

	walk("", compare_times, &c);
	free(t);
	return NULL;
}
