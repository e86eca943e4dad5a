/* stress.c - one of the workers of stress.sh: does the operations of stress_model.h on a folder
 * of its own, and compares what it reads with the model.
 *
 *   run DIR SEED SECONDS NOTES    does them; NOTES keeps how far it is
 *   killed DIR SEED SECONDS NOTES  the same, until the daemon is killed: maps are synced at once,
 *                                 so that operations reach the store in their order
 *   check DIR SEED NOTES          after `run`: does the folder hold what all operations made?
 *   check-killed DIR SEED NOTES   what some first of them made, with all that were synced? */
#include "tests/fs/stress_model.h"

#include "fs/ropefs_ioctl.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

/* In a file that outlives worker and mount. */
struct notes {
	uint64_t begun, done; /* operations */
	uint64_t synced; /* that many first ones are durable */
};

struct worker {
	struct model m;
	struct rng how; /* for what makes no difference to the result */
	struct notes *notes;
	bool killed; /* the mount may go */
	int held;
	uint64_t i; /* operation */
	struct op op;
	uint8_t *bytes, *buf; /* SIZE_LIMIT each; buf is aligned */
};

/* --- saying what is wrong --- */

/* A daemon that is dead says so to the next request, too. */
static bool mount_is_gone(void)
{
	struct statfs st;

	return statfs(".", &st) < 0 && (errno == ENOTCONN || errno == ECONNABORTED);
}

static void on_bus_error(int signal)
{
	(void)signal;
	_exit(mount_is_gone() ? 0 : 1);
}

/* Says what, and ends the worker; well when that is only because the daemon was killed. */
__attribute__((format(printf, 2, 3), noreturn)) static void bad(struct worker *w,
								const char *format, ...)
{
	va_list args;

	if (w->killed && mount_is_gone())
		_exit(0);
	printf("operation %llu, %s of %u (%u), at %zu (%zu), %zu bytes for %zu: ",
	       (unsigned long long)w->i, op_name(w->op.kind), w->op.a, w->op.b, w->op.at,
	       w->op.to, w->op.n, w->op.cut);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
	fflush(stdout);
	_exit(1);
}

static long must(struct worker *w, long r, const char *what)
{
	if (r < 0)
		bad(w, "%s: %s", what, strerror(errno));
	return r;
}

static void must_be(struct worker *w, uint64_t got, uint64_t wanted, const char *what)
{
	if (got != wanted)
		bad(w, "%s is %llu, should be %llu", what, (unsigned long long)got,
		    (unsigned long long)wanted);
}

/* --- operations --- */

static int open_name(struct worker *w, unsigned name, int flags)
{
	char path[32];

	name_path(name, path);
	return (int)must(w, open(path, flags | O_CLOEXEC, 0644), "open");
}

static void write_all(struct worker *w, int fd, const uint8_t *p, size_t n)
{
	while (n) {
		ssize_t got = must(w, write(fd, p, n), "write");

		p += got;
		n -= (size_t)got;
	}
}

static void do_write(struct worker *w, int fd)
{
	size_t done = 0;

	op_bytes(&w->op, w->bytes);
	while (done < w->op.n)
		done += (size_t)must(w,
				     pwrite(fd, w->bytes + done, w->op.n - done,
					    (off_t)(w->op.at + done)),
				     "pwrite");
}

static void do_append(struct worker *w)
{
	int fd = open_name(w, w->op.a, O_WRONLY | O_APPEND);

	op_bytes(&w->op, w->bytes);
	write_all(w, fd, w->bytes, w->op.n);
	close(fd);
}

static void do_direct(struct worker *w)
{
	int fd = open_name(w, w->op.a, O_WRONLY | O_DIRECT);

	op_bytes(&w->op, w->buf);
	must_be(w,
		(uint64_t)must(w, pwrite(fd, w->buf, w->op.n, (off_t)w->op.at), "pwrite"),
		w->op.n, "what a direct write wrote");
	close(fd);
}

static void do_map(struct worker *w)
{
	int fd = open_name(w, w->op.a, O_RDWR);
	size_t from = w->op.at & ~(size_t)4095, n = w->op.at + w->op.n - from;
	uint8_t *map = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)from);

	if (map == MAP_FAILED)
		must(w, -1, "mmap");
	op_bytes(&w->op, map + (w->op.at - from));
	if (w->killed || rng_below(&w->how, 2))
		must(w, msync(map, n, MS_SYNC), "msync");
	munmap(map, n);
	close(fd);
}

static void do_ioctl(struct worker *w)
{
	struct ropefs_ioc_edit *e = calloc(1, sizeof(*e) + w->op.n);
	int fd = open_name(w, w->op.a, O_RDWR);
	unsigned long nr = w->op.kind == OP_CUT	     ? ROPEFS_IOC_CUT
			   : w->op.kind == OP_INSERT ? ROPEFS_IOC_INSERT(w->op.n)
						     : ROPEFS_IOC_REPLACE(w->op.n);

	assert(e);
	*e = (struct ropefs_ioc_edit) { w->op.at, w->op.cut, (uint32_t)w->op.n, 0 };
	op_bytes(&w->op, e->data);
	must(w, ioctl(fd, nr, e), "ioctl");
	free(e);
	close(fd);
}

static void view_path(struct worker *w, size_t from, size_t to, char *ret, size_t size)
{
	char path[32];

	name_path(w->op.a, path);
	snprintf(ret, size, "%s@bytes=%zu..%zu", path, from, to);
}

static void do_view(struct worker *w)
{
	char path[96];
	int fd;

	view_path(w, w->op.at, w->op.at + w->op.cut, path, sizeof(path));
	if (w->op.kind == OP_VIEW_CUT) {
		must(w, unlink(path), "unlink of a view");
		return;
	}
	fd = (int)must(w, open(path, O_WRONLY | O_TRUNC | O_CLOEXEC), "open of a view");
	op_bytes(&w->op, w->bytes);
	write_all(w, fd, w->bytes, w->op.n);
	must(w, close(fd), "close of a view");
}

static void do_fallocate(struct worker *w, int mode)
{
	int fd = open_name(w, w->op.a, O_RDWR);

	must(w, fallocate(fd, mode, (off_t)w->op.at, (off_t)w->op.n), "fallocate");
	close(fd);
}

static void do_copy(struct worker *w)
{
	int from = open_name(w, w->op.a, O_RDONLY), to = open_name(w, w->op.b, O_WRONLY);
	off_t at = (off_t)w->op.at, to_at = (off_t)w->op.to;
	size_t left = w->op.n;

	while (left) {
		ssize_t n = must(w, copy_file_range(from, &at, to, &to_at, left, 0),
				 "copy_file_range");

		if (!n)
			must_be(w, left, 0, "what copy_file_range left");
		left -= (size_t)n;
	}
	close(from);
	close(to);
}

static void do_names(struct worker *w)
{
	char a[32], b[32];
	uint64_t value = w->op.n;
	int flags = w->op.kind == OP_EXCHANGE ? RENAME_EXCHANGE : 0;

	name_path(w->op.a, a);
	name_path(w->op.b, b);
	if (w->op.kind == OP_RENAME && !w->m.names[w->op.b] && rng_below(&w->how, 2))
		flags = RENAME_NOREPLACE;
	if (w->op.kind == OP_CREATE)
		close(open_name(w, w->op.a, O_RDWR | O_CREAT | O_EXCL));
	else if (w->op.kind == OP_LINK)
		must(w, link(a, b), "link");
	else if (w->op.kind == OP_UNLINK)
		must(w, unlink(a), "unlink");
	else if (w->op.kind == OP_XATTR)
		must(w, setxattr(a, "user.value", &value, sizeof(value), 0), "setxattr");
	else
		must(w, renameat2(AT_FDCWD, a, AT_FDCWD, b, flags), "rename");
}

static void do_hold(struct worker *w)
{
	int fd = open_name(w, w->op.a, O_RDWR);

	if (w->held >= 0)
		close(w->held);
	w->held = fd;
}

/* All that was done before is durable, whatever file is synced. */
static void do_sync(struct worker *w)
{
	unsigned name = 0;
	int fd;

	while (name < NAMES && !w->m.names[name])
		name++;
	fd = name < NAMES && rng_below(&w->how, 2)
		     ? open_name(w, name, O_RDONLY)
		     : (int)must(w, open(".", O_RDONLY | O_DIRECTORY), "open");
	must(w, rng_below(&w->how, 2) ? fsync(fd) : fdatasync(fd), "fsync");
	close(fd);
}

/* --- comparing --- */

static void read_whole(struct worker *w, int fd, size_t size)
{
	size_t n = 0, step;
	ssize_t got;

	do {
		step = 1 + rng_below(&w->how, SIZE_LIMIT);
		if (step > SIZE_LIMIT - n)
			step = SIZE_LIMIT - n;
		got = must(w, pread(fd, w->buf + n, step, (off_t)n), "pread");
		n += (size_t)got;
	} while (got > 0 && n < SIZE_LIMIT);
	must_be(w, n, size, "what was read");
}

static void map_whole(struct worker *w, int fd, size_t size)
{
	void *map;

	if (!size)
		return;
	map = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		must(w, -1, "mmap");
	memcpy(w->buf, map, size);
	munmap(map, size);
}

static void same_bytes(struct worker *w, const uint8_t *got, const struct file *f,
		       size_t at, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (got[i] != f->p[at + i])
			bad(w, "byte %zu of %zu is %02x, should be %02x", at + i, f->n,
			    got[i], f->p[at + i]);
}

static void check_holes(struct worker *w, int fd, const struct file *f)
{
	off_t at = 0, data;

	while ((data = lseek(fd, at, SEEK_DATA)) >= 0) {
		for (off_t i = at; i < data; i++)
			if (f->p[i])
				must_be(w, f->p[i], 0, "a byte in a hole");
		at = must(w, lseek(fd, data, SEEK_HOLE), "SEEK_HOLE");
		if (at <= data || (size_t)at > f->n)
			must_be(w, (uint64_t)at, f->n, "the end of data");
	}
	if (errno != ENXIO)
		must(w, -1, "SEEK_DATA");
}

static void check_view(struct worker *w, const struct file *f)
{
	size_t from = rng_below(&w->how, f->n + 1),
	       n = rng_below(&w->how, f->n - from + 1);
	char path[96];
	ssize_t got = 0;
	size_t done = 0;
	int fd;

	view_path(w, from, from + n, path, sizeof(path));
	fd = (int)must(w, open(path, O_RDONLY | O_CLOEXEC), "open of a view");
	do
		got = must(w, read(fd, w->buf + done, SIZE_LIMIT - done), "read");
	while (got && (done += (size_t)got) < SIZE_LIMIT);
	must_be(w, done, n, "what a view gives");
	same_bytes(w, w->buf, f, from, n);
	close(fd);
}

static void check_file(struct worker *w, unsigned name)
{
	const struct file *f = w->m.names[name];
	bool direct = rng_below(&w->how, 4) == 0, map = rng_below(&w->how, 3) == 0;
	int fd = open_name(w, name, direct ? O_RDONLY | O_DIRECT : O_RDONLY);
	uint64_t value = 0;
	struct stat st;

	must(w, fstat(fd, &st), "fstat");
	must_be(w, (uint64_t)st.st_size, f->n, "the size");
	must_be(w, st.st_nlink, file_links(&w->m, f), "the links");
	if (map)
		map_whole(w, fd, f->n);
	else
		read_whole(w, fd, f->n);
	same_bytes(w, w->buf, f, 0, f->n);
	if (fgetxattr(fd, "user.value", &value, sizeof(value)) < 0 && errno != ENODATA)
		must(w, -1, "getxattr");
	must_be(w, value, f->xattr, "the attribute");
	check_holes(w, fd, f);
	close(fd);
	w->op.a = name;
	check_view(w, f);
}

static void check_list(struct worker *w)
{
	unsigned found = 0, there = 0;

	for (unsigned d = 0; d < FOLDERS; d++) {
		char path[16];
		struct dirent *e;
		DIR *dir;

		snprintf(path, sizeof(path), "d%u", d);
		dir = opendir(path);
		if (!dir)
			must(w, -1, "opendir");
		while ((e = readdir(dir)))
			if (e->d_name[0] == 'f') {
				unsigned name = (unsigned)atoi(e->d_name + 1);

				must_be(w, name < NAMES && w->m.names[name], 1,
					e->d_name);
				found++;
			}
		closedir(dir);
	}
	for (unsigned i = 0; i < NAMES; i++)
		there += w->m.names[i] != NULL;
	must_be(w, found, there, "the number of names listed");
}

static void check_all(struct worker *w)
{
	for (unsigned i = 0; i < NAMES; i++)
		if (w->m.names[i])
			check_file(w, i);
	check_list(w);
}

static void check_held(struct worker *w)
{
	if (w->held < 0)
		return;
	read_whole(w, w->held, w->m.held->n);
	same_bytes(w, w->buf, w->m.held, 0, w->m.held->n);
}

/* --- running --- */

static void do_op(struct worker *w)
{
	int fd;

	switch (w->op.kind) {
	case OP_WRITE:
		fd = open_name(w, w->op.a, O_WRONLY);
		do_write(w, fd);
		close(fd);
		break;
	case OP_APPEND:
		do_append(w);
		break;
	case OP_DIRECT:
		do_direct(w);
		break;
	case OP_MAP:
		do_map(w);
		break;
	case OP_INSERT:
	case OP_CUT:
	case OP_REPLACE:
		do_ioctl(w);
		break;
	case OP_VIEW:
	case OP_VIEW_CUT:
		do_view(w);
		break;
	case OP_TRUNCATE:
		fd = open_name(w, w->op.a, O_WRONLY);
		must(w, ftruncate(fd, (off_t)w->op.at), "ftruncate");
		close(fd);
		break;
	case OP_PUNCH:
		do_fallocate(w, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
		break;
	case OP_ZERO:
		do_fallocate(w, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE);
		break;
	case OP_ALLOCATE:
		do_fallocate(w, 0);
		break;
	case OP_COPY:
		do_copy(w);
		break;
	case OP_HOLD:
		do_hold(w);
		break;
	case OP_HELD_WRITE:
		check_held(w);
		do_write(w, w->held);
		break;
	case OP_SYNC:
		do_sync(w);
		w->notes->synced = w->i;
		break;
	case OP_VERIFY:
		check_file(w, w->op.a);
		break;
	case OP_LIST:
		check_list(w);
		break;
	default:
		do_names(w);
	}
}

static int run(struct worker *w, unsigned seconds)
{
	time_t until = time(NULL) + seconds;
	char folder[16];

	for (unsigned d = 0; d < FOLDERS; d++) {
		snprintf(folder, sizeof(folder), "d%u", d);
		must(w, mkdir(folder, 0755), "mkdir");
	}
	do_sync(w);
	w->notes->synced = 0;
	for (; time(NULL) < until; w->i++) {
		w->op = model_next(&w->m);
		w->notes->begun = w->i + 1;
		do_op(w);
		model_apply(&w->m, &w->op);
		w->notes->done = w->i + 1;
	}
	check_all(w);
	return 0;
}

/* --- after the fact --- */

static int check(struct worker *w)
{
	for (; w->i < w->notes->done; w->i++) {
		w->op = model_next(&w->m);
		model_apply(&w->m, &w->op);
	}
	check_all(w);
	return 0;
}

/* What is there, as a model; files of several names are one. */
static void load(struct worker *w, struct model *ret)
{
	ino_t inodes[NAMES] = { 0 };

	*ret = (struct model) { 0 };
	for (unsigned i = 0; i < NAMES; i++) {
		char path[32];
		struct stat st;
		unsigned same = 0;
		int fd;

		name_path(i, path);
		fd = open(path, O_RDONLY);
		if (fd < 0)
			continue;
		must(w, fstat(fd, &st), "fstat");
		inodes[i] = st.st_ino;
		while (inodes[same] != st.st_ino)
			same++;
		if (same < i) {
			ret->names[i] = ret->names[same];
		} else {
			struct file *f = ret->names[i] = calloc(1, sizeof(*f));

			assert(f);
			f->p = calloc(1, SIZE_LIMIT);
			f->n = (size_t)st.st_size;
			must_be(w, f->n <= SIZE_LIMIT, 1, "a size in its limits");
			read_whole(w, fd, f->n);
			memcpy(f->p, w->buf, f->n);
			(void)fgetxattr(fd, "user.value", &f->xattr, sizeof(f->xattr));
		}
		ret->names[i]->names++;
		close(fd);
	}
}

/* Each byte from before the operation or after it, zero where it has grown. */
static bool torn_bytes(const struct file *old, const struct file *new,
		       const struct file *got)
{
	size_t least = old->n < new->n ? old->n : new->n;
	size_t most = old->n < new->n ? new->n : old->n;

	if (got->n < least || got->n > most || got->xattr != old->xattr)
		return false;
	for (size_t i = 0; i < got->n; i++)
		if (!(i < old->n && got->p[i] == old->p[i]) &&
		    !(i < new->n && got->p[i] == new->p[i]) &&
		    !(got->p[i] == 0 && i >= old->n))
			return false;
	return true;
}

/* The file that is there in f's place when all but its bytes is as the model says; else NULL. */
static const struct file *all_but(const struct model *m, const struct model *there,
				  const struct file *f)
{
	const struct file *got = NULL;

	for (unsigned i = 0; i < NAMES; i++) {
		const struct file *a = m->names[i], *b = there->names[i];

		if (!a != !b || (a && file_links(m, a) != file_links(there, b)))
			return NULL;
		if (a == f)
			got = b;
		else if (a && file_hash(a) != file_hash(b))
			return NULL;
	}
	return got;
}

/* The next operation. True: what is there is what it leaves when it ends in its midst. */
static bool step(struct worker *w, const struct model *there)
{
	const struct file *f = NULL, *got = NULL;
	struct file old = { 0 };
	bool torn;

	w->op = model_next(&w->m);
	if (w->i >= w->notes->synced)
		f = model_torn(&w->m, &w->op);
	if (f)
		got = all_but(&w->m, there, f);
	if (got) {
		old = *f;
		old.p = malloc(SIZE_LIMIT);
		assert(old.p);
		memcpy(old.p, f->p, SIZE_LIMIT);
	}
	model_apply(&w->m, &w->op);
	torn = got && torn_bytes(&old, f, got);
	free(old.p);
	return torn;
}

static int check_killed(struct worker *w)
{
	struct model there;
	uint64_t wanted;
	bool found = false;

	load(w, &there);
	wanted = model_hash(&there);
	for (;; w->i++) {
		found = w->i >= w->notes->synced && model_hash(&w->m) == wanted;
		if (found || w->i >= w->notes->begun)
			break;
		found = step(w, &there);
		if (found)
			break;
	}
	model_release(&there);
	printf("%s %llu operations of %llu, %llu synced\n",
	       found ? "holds" : "holds what can't be of", (unsigned long long)w->i,
	       (unsigned long long)w->notes->begun, (unsigned long long)w->notes->synced);
	return found ? 0 : 1;
}

static struct notes *map_notes(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT, 0644);
	struct notes *notes;

	if (fd < 0 || ftruncate(fd, sizeof(*notes)) < 0)
		return NULL;
	notes = mmap(NULL, sizeof(*notes), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	return notes == MAP_FAILED ? NULL : notes;
}

static int usage(void)
{
	fputs("usage: stress run|killed DIR SEED SECONDS NOTES, check|check-killed DIR "
	      "SEED "
	      "NOTES\n",
	      stderr);
	return 2;
}

int main(int argc, char **argv)
{
	struct worker w = { .held = -1 };
	uint64_t seed;
	int r;

	if (argc < 5)
		return usage();
	seed = strtoull(argv[3], NULL, 0);
	model_init(&w.m, seed);
	w.how = rng_seeded(~seed);
	w.notes = map_notes(argv[argc - 1]);
	w.bytes = malloc(SIZE_LIMIT);
	w.buf = aligned_alloc(4096, SIZE_LIMIT + 4096);
	if (!w.notes || !w.bytes || !w.buf || chdir(argv[2]) < 0)
		return usage();
	w.killed = strcmp(argv[1], "killed") == 0;
	if (w.killed)
		signal(SIGBUS, on_bus_error); /* a map of a dead mount */
	if (strcmp(argv[1], "check") == 0)
		r = check(&w);
	else if (strcmp(argv[1], "check-killed") == 0)
		r = check_killed(&w);
	else if (argc == 6)
		r = run(&w, (unsigned)atoi(argv[4]));
	else
		return usage();
	model_release(&w.m);
	free(w.bytes);
	free(w.buf);
	return r;
}
