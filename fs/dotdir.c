#include "fs/dotdir.h"

#include "fs/events.h"
#include "fs/handles.h"
#include "fs/kept.h"
#include "fs/metrics.h"
#include "fs/ops.h"
#include "fs/remote.h"
#include "fs/reply.h"
#include "fs/scrub.h"
#include "fs/txn.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <unistd.h>

/* DOT_FIRST is the directory, DOT_SIZES that of sizes.h; the files follow in the table's
 * order. */
static const struct {
	const char *name;
	/* names: the reader may know all names of files. */
	int (*text)(struct daemon *d, bool names, char **ret_text, size_t *ret_n);
	const struct fuse_lowlevel_ops *ops; /* in the place of a text */
	/* Of a text. */
	void (*ioctl)(fuse_req_t req, unsigned cmd, const void *in, size_t n_in);
} files[] = {
	{ .name = "status", .text = status_text },
	{ .name = "metrics", .text = metrics_text },
	{ .name = "events", .ops = &events_ops },
	{ .name = "txn", .ops = &txn_ops },
	{ .name = "remote", .text = remote_text, .ioctl = remote_ioctl },
	{ .name = "upload", .text = upload_text },
	{ .name = "dropped", .text = dropped_text },
	{ .name = "scrub", .text = scrub_text, .ioctl = scrub_ioctl },
};
enum { FILES = sizeof(files) / sizeof(files[0]) };
#define FILES_FIRST (DOT_SIZES + 1)

/* What an open file shows. On a list, as the last RELEASE may not come before the end. */
struct text {
	LIST_ENTRY(text) link;
	struct kept kept;
	uint64_t n; /* bytes, in its area */
};

static pthread_mutex_t texts_mutex = PTHREAD_MUTEX_INITIALIZER;
static LIST_HEAD(, text) texts = LIST_HEAD_INITIALIZER(texts);

static void text_add(struct text *t)
{
	pthread_mutex_lock(&texts_mutex);
	LIST_INSERT_HEAD(&texts, t, link);
	pthread_mutex_unlock(&texts_mutex);
}

static void text_free(struct text *t)
{
	pthread_mutex_lock(&texts_mutex);
	LIST_REMOVE(t, link);
	pthread_mutex_unlock(&texts_mutex);
	kept_free(&t->kept);
	free(t);
}

void dot_end(void)
{
	while (!LIST_EMPTY(&texts))
		text_free(LIST_FIRST(&texts));
}

static void dot_stat(struct daemon *d, uint64_t ino, struct stat *ret)
{
	bool is_dir = ino <= DOT_SIZES;

	*ret = (struct stat) {
		.st_ino = ino,
		.st_mode = is_dir ? S_IFDIR | 0555 : S_IFREG | 0444,
		.st_nlink = is_dir ? 2 : 1,
		.st_blksize = 4096,
		.st_atim.tv_sec = d->started,
		.st_mtim.tv_sec = d->started,
		.st_ctim.tv_sec = d->started,
	};
	if (ino == DOT_SIZES) {
		ret->st_mode = S_IFDIR | 0700;
		ret->st_uid = geteuid();
	}
}

static void entry_of(struct daemon *d, uint64_t ino, struct fuse_entry_param *ret)
{
	*ret = (struct fuse_entry_param) { .ino = ino };
	dot_stat(d, ino, &ret->attr);
	/* sizes.c must not have to wait for the root's lock to find its directory. */
	if (ino <= DOT_SIZES)
		ret->entry_timeout = ret->attr_timeout = CACHE_S;
}

void dot_entry(struct daemon *d, struct fuse_entry_param *ret)
{
	entry_of(d, DOT_FIRST, ret);
}

static void dot_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param e;

	for (unsigned i = 0; parent == DOT_FIRST && i < FILES; i++) {
		if (strcmp(name, files[i].name) != 0)
			continue;
		entry_of(daemon_of(req), FILES_FIRST + i, &e);
		fuse_reply_entry(req, &e);
		return;
	}
	if (parent == DOT_FIRST && strcmp(name, SIZES_NAME) == 0) {
		entry_of(daemon_of(req), DOT_SIZES, &e);
		fuse_reply_entry(req, &e);
		return;
	}
	if (parent == DOT_SIZES)
		sizes_lookup(req, name);
	else
		fuse_reply_err(req, parent == DOT_FIRST ? ENOENT : ENOTDIR);
}

static void dot_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat st;

	(void)fi;
	dot_stat(daemon_of(req), ino, &st);
	fuse_reply_attr(req, &st, 0);
}

/* Of a file that is no text; else NULL. */
static const struct fuse_lowlevel_ops *ops_of(fuse_ino_t ino)
{
	return ino - FILES_FIRST < FILES ? files[ino - FILES_FIRST].ops : NULL;
}

/* Its text, where the next daemon finds it. */
static int text_make(struct daemon *d, uint64_t i, bool names, struct text *t)
{
	char *text;
	size_t n;
	void *p;
	int r = files[i].text(d, names, &text, &n);

	if (r < 0)
		return r;
	t->n = n;
	kept_new(&t->kept, &t->n, sizeof(t->n));
	p = kept_area(&t->kept, n + 1);
	if (p)
		memcpy(p, text, n);
	else
		kept_free(&t->kept);
	free(text);
	return p ? 0 : -ENOMEM;
}

int dot_text_restore(struct daemon *d, const struct kept_file *k)
{
	struct text *t = calloc(1, sizeof(*t));
	int r;

	(void)d;
	if (!t)
		return -ENOMEM;
	t->kept = k->k;
	memcpy(&t->n, k->fixed, sizeof(t->n));
	text_add(t);
	r = handle_put(k->fh, t);
	if (r < 0)
		text_free(t);
	return r;
}

static void dot_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	uid_t uid = fuse_req_ctx(req)->uid;
	uint64_t i = ino - FILES_FIRST;
	struct text *t;
	int r;

	if (i >= FILES || (fi->flags & O_ACCMODE) != O_RDONLY) {
		fuse_reply_err(req, i >= FILES ? EISDIR : EACCES);
		return;
	}
	if (files[i].ops) {
		files[i].ops->open(req, ino, fi);
		return;
	}
	t = calloc(1, sizeof(*t));
	r = t ? text_make(daemon_of(req), i, uid == 0 || uid == geteuid(), t) : -ENOMEM;
	if (r < 0) {
		free(t);
		reply_err(req, r);
		return;
	}
	text_add(t);
	fi->direct_io = 1;
	fi->noflush = 1;
	if (reply_open_file(req, fi, &(struct opened) { t, &t->kept, KEPT_TEXT, ino }) <
	    0)
		text_free(t);
}

static void dot_read(fuse_req_t req, fuse_ino_t ino, size_t n, off_t off,
		     struct fuse_file_info *fi)
{
	const struct text *t = (const struct text *)(uintptr_t)fi->fh;
	size_t at;
	char *copy;

	if (ops_of(ino)) {
		ops_of(ino)->read(req, ino, n, off, fi);
		return;
	}
	at = (uint64_t)off < t->n ? (size_t)off : t->n;
	n = n < t->n - at ? n : t->n - at;
	/* The other loop may get the RELEASE, and free the text, while the reply of this one is
	 * still on its way into the kernel. */
	copy = malloc(n + 1);
	if (!copy) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	memcpy(copy, (const char *)t->kept.area + at, n);
	fuse_reply_buf(req, copy, n);
	free(copy);
}

static void dot_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	if (ops_of(ino)) {
		ops_of(ino)->release(req, ino, fi);
		return;
	}
	text_free((struct text *)(uintptr_t)fi->fh);
	fuse_reply_err(req, 0);
}

static void dot_poll(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi,
		     struct fuse_pollhandle *ph)
{
	const struct fuse_lowlevel_ops *ops = ops_of(ino);

	if (ops && ops->poll)
		ops->poll(req, ino, fi, ph);
	else
		poll_always(req, ph);
}

static void dot_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned cmd, void *arg,
		      struct fuse_file_info *fi, unsigned flags, const void *in,
		      size_t n_in, size_t n_out)
{
	const struct fuse_lowlevel_ops *ops = ops_of(ino);

	if (ops && ops->ioctl)
		ops->ioctl(req, ino, cmd, arg, fi, flags, in, n_in, n_out);
	else if (ino - FILES_FIRST < FILES && files[ino - FILES_FIRST].ioctl)
		files[ino - FILES_FIRST].ioctl(req, cmd, in, n_in);
	else
		fuse_reply_err(req, ENOTTY);
}

static void list(fuse_req_t req, fuse_ino_t ino, size_t n, off_t off, bool plus)
{
	static const char *const dots[] = { ".", ".." };
	struct fuse_entry_param e;
	char p[2048];
	uint64_t end = 2 + (ino == DOT_FIRST ? FILES : 0);
	size_t at = 0;

	n = n < sizeof(p) ? n : sizeof(p);
	for (uint64_t i = (uint64_t)off; i < end; i++) {
		const char *name = i < 2 ? dots[i] : files[i - 2].name;
		off_t next = (off_t)i + 1;
		size_t need;

		entry_of(daemon_of(req), i < 2 ? ino : FILES_FIRST + i - 2, &e);
		need = plus ? fuse_add_direntry_plus(req, p + at, n - at, name, &e, next)
			    : fuse_add_direntry(req, p + at, n - at, name, &e.attr, next);
		if (need > n - at)
			break;
		at += need;
	}
	fuse_reply_buf(req, p, at);
}

static void dot_readdir(fuse_req_t req, fuse_ino_t ino, size_t n, off_t off,
			struct fuse_file_info *fi)
{
	(void)fi;
	list(req, ino, n, off, false);
}

static void dot_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t n, off_t off,
			    struct fuse_file_info *fi)
{
	(void)fi;
	list(req, ino, n, off, true);
}

const struct fuse_lowlevel_ops dot_ops = {
	.lookup = dot_lookup,
	.getattr = dot_getattr,
	.open = dot_open,
	.read = dot_read,
	.release = dot_release,
	.poll = dot_poll,
	.ioctl = dot_ioctl,
	.readdir = dot_readdir,
	.readdirplus = dot_readdirplus,
};
