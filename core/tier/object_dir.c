/* object_dir.c - objects as files of a folder: a disk, a stick, NFS.
 *
 * An object is published by link(2) (if absent) or rename(2) of a synced temporary file whose
 * name begins with '.', and the folder is synced. What a crash leaves of a temporary file is
 * removed by the next put into that folder that is an hour younger.
 *
 * The folder is not kept open: its disk can be unmounted, and mounted again. So each request
 * looks which folder the path names by now:
 *
 *	the one of the opening          all is as ever
 *	none                            -E_REMOTE_AWAY
 *	another one that has the key    read; that one is the known one from then on
 *	another one that lacks the key  -E_REMOTE_AWAY: an empty folder on which nothing is mounted
 *	                                says nothing of what was there
 *
 * Nothing is put or removed in another one than that of the opening: whoever opens it anew looks
 * first whose it is. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/base/err.h"
#include "core/tier/object.h"

#define PIECE_BYTES    ((size_t)1 << 20)
#define STALE_S	       3600
#define PATH_BYTES     4096
#define TMP_NAME_BYTES 32

struct object_dir {
	struct object_store os;
	uint64_t first; /* the folder of the opening, as folder_id() */
	_Atomic uint64_t known; /* in which a key was found last */
	struct object_clock clock; /* of its disk: NFS has another one than we */
	char path[PATH_BYTES];
};

static struct object_dir *dir_of(struct object_store *os)
{
	return container_of(os, struct object_dir, os);
}

static void closep(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

/* What the disk said, as an object store says it. */
static int failed(const struct object_dir *d, int e, const char *what, const char *key)
{
	int code = E_REMOTE;

	if (e == ENOMEM || e == ENOENT)
		return -e;
	if (e == EACCES || e == EPERM || e == EROFS)
		code = E_REMOTE_DENIED;
	else if (e == ENOSPC || e == EDQUOT)
		code = E_REMOTE_FULL;
	else if (e == EIO || e == ESTALE || e == ETIMEDOUT || e == EINTR || e == ENODEV ||
		 e == ENFILE || e == EMFILE)
		code = E_REMOTE_AWAY;
	return err_set(code, "%s%s%s can't be %s: %s", d->path, *key ? "/" : "", key,
		       what, strerror(e));
}

/* --- the folder --- */

static uint64_t folder_id(const struct stat *st)
{
	return (uint64_t)st->st_dev * 0x9e3779b97f4a7c15u ^ (uint64_t)st->st_ino;
}

/* A descriptor of the folder that the path names, or an error. */
static int enter(const struct object_dir *d, uint64_t *ret_id)
{
	int fd = open(d->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat st;

	if (fd >= 0 && fstat(fd, &st) == 0) {
		*ret_id = folder_id(&st);
		return fd;
	}
	if (fd >= 0)
		close(fd);
	return err_set(errno == EACCES || errno == EPERM ? E_REMOTE_DENIED
							 : E_REMOTE_AWAY,
		       "the folder %s can't be opened: %s; make it, or mount what "
		       "belongs there",
		       d->path, strerror(errno));
}

static int another_folder(const struct object_dir *d, const char *key)
{
	return err_set(
		E_REMOTE_AWAY,
		"the folder %s is another one than it was, and %s is not in it: is "
		"what belongs there mounted?",
		d->path, key);
}

/* To put or remove there. */
static int enter_own(const struct object_dir *d)
{
	uint64_t id;
	int fd = enter(d, &id);

	if (fd < 0 || id == d->first)
		return fd;
	close(fd);
	return err_set(E_REMOTE_AWAY,
		       "the folder %s is another one than it was: nothing is put there "
		       "before it is known whose it is",
		       d->path);
}

/* --- put --- */

/* Opens the folder that holds key, making what is missing of the way there. Returns a
 * descriptor or a negative errno; *ret_name is key's last word. */
static int folder_open(const struct object_dir *d, const char *key, bool make,
		       const char **ret_name)
{
	char part[OBJECT_KEY_MAX + 1];
	const char *slash;
	int fd = enter_own(d);

	if (fd < 0)
		return fd;
	while (fd >= 0 && (slash = strchr(key, '/'))) {
		_cleanup_(closep) int parent = fd;

		memcpy(part, key, (size_t)(slash - key));
		part[slash - key] = '\0';
		if (make && mkdirat(parent, part, 0700) == 0)
			fsync(parent); /* a failure shows when the file is synced */
		fd = openat(parent, part,
			    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		key = slash + 1;
	}
	*ret_name = key;
	return fd < 0 ? -errno : fd;
}

static void remove_stale(int folder)
{
	_cleanup_(closep) int fd =
		openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;
	struct stat st;

	if (!dir)
		return;
	fd = -1;
	while ((e = readdir(dir)))
		if (!strncmp(e->d_name, ".put-", 5) &&
		    fstatat(folder, e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		    st.st_mtime < time(NULL) - STALE_S)
			unlinkat(folder, e->d_name, 0);
	closedir(dir);
}

static int write_all(int fd, const uint8_t *p, size_t n)
{
	while (n > 0) {
		ssize_t done = write(fd, p, n);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return -errno;
		p += done;
		n -= (size_t)done;
	}
	return 0;
}

static int write_body(int fd, const struct object_body *body)
{
	_cleanup_free_ uint8_t *piece = malloc(PIECE_BYTES);
	int r = piece ? 0 : -ENOMEM;

	for (uint64_t at = 0; r == 0 && at < body->bytes;) {
		ssize_t n = object_body_pace(body,
					     (size_t)MIN(PIECE_BYTES, body->bytes - at));

		if (n < 0)
			return (int)n;
		r = body->read(body->arg, piece, (size_t)n, at);
		if (r == 0)
			r = write_all(fd, piece, (size_t)n);
		at += (size_t)n;
	}
	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	return r;
}

/* Gives the synced file tmp its name. */
static int publish(int folder, const char *tmp, const char *name, unsigned flags)
{
	if (!(flags & OBJECT_IF_ABSENT))
		return renameat(folder, tmp, folder, name) < 0 ? -errno : 0;
	if (linkat(folder, tmp, folder, name, 0) < 0)
		return -errno;
	unlinkat(folder, tmp, 0);
	return 0;
}

static void note_time(struct object_dir *d, int fd)
{
	struct stat st;

	if (fstat(fd, &st) == 0)
		object_clock_set(&d->clock, st.st_mtime);
}

static int dir_put(struct object_store *os, const char *key,
		   const struct object_body *body, unsigned flags)
{
	struct object_dir *d = dir_of(os);
	const char *name;
	_cleanup_(closep) int folder = folder_open(d, key, true, &name);
	_cleanup_(closep) int fd = -1;
	char tmp[TMP_NAME_BYTES];
	uint64_t id;
	int r;

	if (folder == -E_REMOTE_AWAY || folder == -E_REMOTE_DENIED)
		return folder;
	if (folder < 0)
		return failed(d, -folder, "written", key);
	if (getrandom(&id, sizeof(id), 0) != sizeof(id))
		return -EIO;
	snprintf(tmp, sizeof(tmp), ".put-%016llx", (unsigned long long)id);
	fd = openat(folder, tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return failed(d, errno, "written", key);
	r = write_body(fd, body);
	note_time(d, fd);
	if (r == 0)
		r = publish(folder, tmp, name, flags);
	if (r < 0)
		unlinkat(folder, tmp, 0);
	else if (fsync(folder) < 0)
		r = -errno;
	if (r == -EEXIST)
		return r;
	if (r < 0 && *err_detail() && r < -10000) /* the body's own words */
		return r;
	remove_stale(folder);
	return r < 0 ? failed(d, -r, "written", key) : 0;
}

/* --- get, head, del --- */

static int file_open(struct object_dir *d, const char *key, struct stat *ret)
{
	uint64_t id;
	_cleanup_(closep) int folder = enter(d, &id);
	int fd, e;

	if (folder < 0)
		return folder;
	fd = openat(folder, key, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0 && fstat(fd, ret) == 0) {
		atomic_store(&d->known, id);
		return fd;
	}
	e = errno == ENOTDIR ? ENOENT : errno;
	if (fd >= 0)
		close(fd);
	if (e == ENOENT && id != atomic_load(&d->known))
		return another_folder(d, key);
	return failed(d, e, "read", key);
}

static int dir_get(struct object_store *os, const char *key, struct object_range range,
		   struct buf *ret)
{
	struct object_dir *d = dir_of(os);
	struct stat st;
	_cleanup_(closep) int fd = file_open(d, key, &st);
	uint64_t size, n;
	size_t before = ret->n;
	int r;

	if (fd < 0)
		return fd;
	size = (uint64_t)st.st_size;
	if (range.off > size || range.n > size - range.off)
		return -ENODATA;
	n = range.n ? range.n : size - range.off;
	if (n > OBJECT_BYTES_MAX)
		return failed(d, EFBIG, "read", key);
	r = buf_reserve(ret, n);
	while (r == 0 && ret->n - before < n) {
		uint64_t done = ret->n - before;
		ssize_t got =
			pread(fd, ret->p + ret->n, n - done, (off_t)(range.off + done));

		if (got > 0)
			ret->n += (size_t)got;
		else if (got == 0)
			r = -ENODATA;
		else if (errno != EINTR)
			r = failed(d, errno, "read", key);
	}
	if (r < 0)
		ret->n = before;
	return r;
}

static int dir_head(struct object_store *os, const char *key, uint64_t *ret_bytes)
{
	struct stat st;
	int fd = file_open(dir_of(os), key, &st);

	if (fd < 0)
		return fd;
	close(fd);
	*ret_bytes = (uint64_t)st.st_size;
	return 0;
}

static int dir_del(struct object_store *os, const char *key)
{
	struct object_dir *d = dir_of(os);
	_cleanup_(closep) int folder = enter_own(d);

	if (folder < 0)
		return folder;
	if (unlinkat(folder, key, 0) == 0 || errno == ENOENT || errno == ENOTDIR)
		return 0;
	return failed(d, errno, "removed", key);
}

/* --- list --- */

struct found {
	char *key;
	uint64_t bytes;
};

struct walk {
	const struct object_listing *what;
	struct found *found;
	size_t n, cap;
};

static int found_compare(const void *a, const void *b)
{
	return strcmp(((const struct found *)a)->key, ((const struct found *)b)->key);
}

static int walk_add(struct walk *w, const char *key, uint64_t bytes)
{
	if (w->n == w->cap) {
		size_t cap = w->cap ? 2 * w->cap : 64;
		struct found *more = reallocarray(w->found, cap, sizeof(*more));

		if (!more)
			return -ENOMEM;
		w->found = more;
		w->cap = cap;
	}
	w->found[w->n].key = strdup(key);
	if (!w->found[w->n].key)
		return -ENOMEM;
	w->found[w->n++].bytes = bytes;
	return 0;
}

static void walk_release(struct walk *w)
{
	for (size_t i = 0; i < w->n; i++)
		free(w->found[i].key);
	free(w->found);
}

/* Whether keys below the folder `at` ("" or "a/b/") can have the prefix. */
static bool may_hold(const char *at, const char *prefix)
{
	size_t n = MIN(strlen(at), strlen(prefix));

	return !memcmp(at, prefix, n);
}

static int walk_folder(struct walk *w, int folder, const char *at);

static int walk_entry(struct walk *w, int folder, const char *at, const char *name)
{
	char key[OBJECT_KEY_MAX + 2];
	_cleanup_(closep) int below = -1;
	struct stat st;

	if (snprintf(key, sizeof(key), "%s%s", at, name) > OBJECT_KEY_MAX ||
	    !object_key_ok(key))
		return 0;
	if (fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno; /* removed meanwhile */
	if (S_ISREG(st.st_mode) && !w->what->folders &&
	    !strncmp(key, w->what->prefix, strlen(w->what->prefix)) &&
	    strcmp(key, w->what->after) > 0)
		return walk_add(w, key, (uint64_t)st.st_size);
	if (!S_ISDIR(st.st_mode))
		return 0;
	if (w->what->folders && strlen(key) >= strlen(w->what->prefix) &&
	    may_hold(key, w->what->prefix))
		return strcmp(key, w->what->after) > 0 ? walk_add(w, key, 0) : 0;
	strcat(key, "/");
	if (!may_hold(key, w->what->prefix))
		return 0;
	below = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return below < 0 ? -errno : walk_folder(w, below, key);
}

static int walk_folder(struct walk *w, int folder, const char *at)
{
	int fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;
	int r = 0;

	if (!dir) {
		r = -errno;
		if (fd >= 0)
			close(fd);
		return r;
	}
	while (r == 0 && (e = readdir(dir)))
		if (e->d_name[0] != '.')
			r = walk_entry(w, folder, at, e->d_name);
	closedir(dir);
	return r;
}

static int dir_list(struct object_store *os, const struct object_listing *what)
{
	struct walk w = { .what = what };
	uint64_t id;
	_cleanup_(closep) int folder = enter(dir_of(os), &id);
	int r;

	if (folder < 0)
		return folder;
	r = walk_folder(&w, folder, "");

	if (r < 0 && r != -ENOMEM)
		r = failed(dir_of(os), -r, "listed", what->prefix);
	if (r == 0 && w.n)
		qsort(w.found, w.n, sizeof(*w.found), found_compare);
	for (size_t i = 0; r == 0 && i < w.n; i++)
		r = what->each(what->arg, w.found[i].key, w.found[i].bytes);
	walk_release(&w);
	return r;
}

static unsigned dir_capabilities(struct object_store *os)
{
	return OBJECT_CREATES;
}

static int64_t dir_now_s(struct object_store *os)
{
	return object_clock_now_s(&dir_of(os)->clock);
}

static void dir_free(struct object_store *os)
{
	free(dir_of(os));
}

static const struct object_ops dir_ops = {
	.put = dir_put,
	.get = dir_get,
	.head = dir_head,
	.list = dir_list,
	.del = dir_del,
	.capabilities = dir_capabilities,
	.now_s = dir_now_s,
	.free = dir_free,
};

int object_dir_new(const char *path, bool lazy, struct object_store **ret)
{
	struct object_dir *d = calloc(1, sizeof(*d));
	int fd;

	if (!d)
		return -ENOMEM;
	d->os.ops = &dir_ops;
	snprintf(d->path, sizeof(d->path), "%s", path);
	fd = enter(d, &d->first);
	if (fd == -ENOMEM || (fd < 0 && !lazy)) {
		free(d);
		return fd;
	}
	closep(&fd);
	d->known = d->first;
	*ret = &d->os;
	return 0;
}
