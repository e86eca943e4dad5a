/* test_io.c - both ios against one another, the posix one against whoever wants to lead it
 * astray, and the simulated one against models of what a power cut may leave. */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/io/io_sim.h"
#include "tests/lib/suite.h"

static struct io *sim_new(uint64_t seed)
{
	struct io *io;

	ck_ok(io_sim_new(seed, &io));
	return io;
}

/* An io of its own on a fresh folder below the suite's. */
static struct io *posix_new(char path[256])
{
	static unsigned serial;
	struct io *io;

	snprintf(path, 256, "%s/%u-%u", suite_tmpdir(), (unsigned)getpid(), serial++);
	ck_ok(mkdir(path, 0700));
	ck_ok(io_posix_new(path, &io));
	return io;
}

static struct io_file *file_new(struct io *io, const char *name, unsigned flags)
{
	struct io_file *f = NULL;

	ck_ok(io_open(io, name, flags, &f));
	return f;
}

static void file_put(struct io *io, const char *name, const char *text)
{
	struct io_file *f = file_new(io, name, IO_CREATE);

	ck_ok(f->ops->truncate(f, 0));
	ck_ok(io_pwrite(f, text, strlen(text), 0));
	ck_ok(io_sync(f));
	io_closep(&f);
}

/* The file's text, or NULL. */
static const char *file_text(struct io *io, const char *name)
{
	static char text[64];
	struct io_file *f = NULL;
	ssize_t n;

	if (io_open(io, name, IO_READ, &f) < 0)
		return NULL;
	n = io_pread(f, text, sizeof(text) - 1, 0);
	io_closep(&f);
	if (n < 0)
		return NULL;
	text[n] = '\0';
	return text;
}

static bool exists(struct io *io, const char *name)
{
	return file_text(io, name) != NULL;
}

#define ck_text(io, name, want) ck_assert_pstr_eq(file_text(io, name), want)

/* ---- one io against the other ---- */

#define NAMES 7
static const char *const names[NAMES] = { "a", "b", "d", "d/a", "d/b", "e", "e/c" };

struct listing {
	uint64_t sum;	/* of the names, in any order */
	unsigned n;
};

static int list_one(void *arg, const char *name)
{
	struct listing *l = arg;
	uint64_t h = 14695981039346656037u;

	while (*name)
		h = (h ^ (uint8_t)*name++) * 1099511628211u;
	l->sum += h;
	l->n++;
	return 0;
}

static int list_stop(void *arg, const char *name)
{
	return 42;
}

static void compare_lists(struct io *a, struct io *b, const char *dir)
{
	struct listing la = { 0 }, lb = { 0 };

	ck_assert_int_eq(a->ops->list(a, dir, list_one, &la), b->ops->list(b, dir, list_one, &lb));
	ck_assert_uint_eq(la.n, lb.n);
	ck_assert_uint_eq(la.sum, lb.sum);
}

#define BYTES_MAX 40000
static uint8_t bytes_a[BYTES_MAX], bytes_b[BYTES_MAX];

static void compare_files(struct io_file *a, struct io_file *b)
{
	uint64_t na = 1, nb = 2;
	ssize_t got;

	ck_ok(io_size(a, &na));
	ck_ok(io_size(b, &nb));
	ck_assert_uint_eq(na, nb);
	got = io_pread(a, bytes_a, sizeof(bytes_a), 0);
	ck_assert_int_eq(got, (ssize_t)na);
	ck_assert_int_eq(io_pread(b, bytes_b, sizeof(bytes_b), 0), got);
	ck_assert(memcmp(bytes_a, bytes_b, na) == 0);
}

/* A few random changes of one file that is open in both. */
static void change_both(struct rng *rng, struct io_file *a, struct io_file *b)
{
	static uint8_t piece[9000];
	uint64_t off, n;

	for (uint64_t k = rng_below(rng, 4); k > 0; k--) {
		off = rng_below(rng, 30000);
		n = rng_below(rng, sizeof(piece));
		switch (rng_below(rng, 5)) {
		case 0:
			ck_assert_int_eq(a->ops->truncate(a, off), b->ops->truncate(b, off));
			break;
		case 1:
			ck_assert_int_eq(a->ops->allocate(a, off), b->ops->allocate(b, off));
			break;
		case 2:
			ck_assert_int_eq(io_pread(a, bytes_a, n, off),
					 io_pread(b, bytes_b, n, off));
			break;
		default:
			rng_fill(rng, piece, n);
			ck_assert_int_eq(io_pwrite(a, piece, n, off),
					 io_pwrite(b, piece, n, off));
		}
	}
	compare_files(a, b);
}

static void open_both(struct rng *rng, struct io *a, struct io *b, const char *name)
{
	static const unsigned flags[] = { IO_READ, IO_WRITE, IO_CREATE, IO_CREATE | IO_EXCL };
	struct io_file *fa = NULL, *fb = NULL;
	unsigned how = flags[rng_below(rng, ARRAY_LEN(flags))];
	int ra = io_open(a, name, how, &fa), rb = io_open(b, name, how, &fb);

	ck_assert_msg(ra == rb, "open %s %u: %d, %d", name, how, ra, rb);
	if (ra < 0)
		return;
	if (how == IO_READ)
		ck_assert_int_eq(io_pwrite(fa, "x", 1, 0), io_pwrite(fb, "x", 1, 0));
	else
		change_both(rng, fa, fb);
	compare_files(fa, fb);
	io_closep(&fa);
	io_closep(&fb);
}

START_TEST(simulated_and_real_files_behave_alike)
{
	struct rng rng = rng_seeded(suite_seed());
	char path[256];
	struct io *a = sim_new(1), *b = posix_new(path);

	for (int step = 0; step < 3000; step++) {
		const char *from = names[rng_below(&rng, NAMES)];
		const char *to = names[rng_below(&rng, NAMES)];
		int ra = 0, rb = 0;

		switch (rng_below(&rng, 8)) {
		case 0:
			ra = a->ops->rename(a, from, to);
			if (ra == -EXDEV)	/* simulated folders stay where they are */
				rb = ra;
			else
				rb = b->ops->rename(b, from, to);
			break;
		case 1:
			ra = a->ops->unlink(a, from);
			rb = b->ops->unlink(b, from);
			break;
		case 2:
			if (*from == 'a' || *from == 'b' || strlen(from) > 1)
				break;
			ra = a->ops->mkdir(a, from);
			rb = b->ops->mkdir(b, from);
			break;
		case 3:
			compare_lists(a, b, strlen(from) > 1 ? "" : from);
			break;
		default:
			open_both(&rng, a, b, from);
		}
		ck_assert_msg(ra == rb, "step %d %s %s: %d, %d", step, from, to, ra, rb);
	}
	io_free(a);
	io_free(b);
}
END_TEST

static const char *const bad_names[] = {
	"", ".", "..", "/", "/etc", "../x", "d/..", "d/.", "d/", "d/e/f", "./a", "d//a",
};

static void refuse_bad_names(struct io *io)
{
	struct io_file *f = NULL;

	file_put(io, "good", "1");
	for (size_t i = 0; i < ARRAY_LEN(bad_names); i++) {
		const char *bad = bad_names[i];

		ck_assert_int_eq(io_open(io, bad, IO_CREATE, &f), -EINVAL);
		ck_assert_int_eq(io_open(io, bad, IO_READ, &f), -EINVAL);
		ck_assert_int_eq(io->ops->mkdir(io, bad), -EINVAL);
		ck_assert_int_eq(io->ops->unlink(io, bad), -EINVAL);
		ck_assert_int_eq(io->ops->rename(io, bad, "x"), -EINVAL);
		ck_assert_int_eq(io->ops->rename(io, "good", bad), -EINVAL);
		ck_assert_int_eq(io_publish(io, bad, "x", 1), -EINVAL);
		ck_assert_ptr_null(f);
	}
}

START_TEST(names_that_could_lead_elsewhere_are_refused)
{
	char path[256];
	struct io *sim = sim_new(1), *posix = posix_new(path);

	refuse_bad_names(sim);
	refuse_bad_names(posix);
	io_free(sim);
	io_free(posix);
}
END_TEST

static void read_whole(struct io *io)
{
	struct io_file *f = file_new(io, "f", IO_CREATE);
	char text[8] = "";

	ck_ok(io_pwrite(f, "abcdef", 6, 0));
	ck_ok(io_pread_all(f, text, 4, 2));
	ck_assert_str_eq(text, "cdef");
	ck_assert_int_eq(io_pread_all(f, text, 5, 2), -ENODATA);
	ck_assert_int_eq(io_pread_all(f, text, 1, 100), -ENODATA);
	ck_ok(io_pread_all(f, text, 0, 100));
	io_closep(&f);

	ck_ok(io_publish(io, "f", "new", 3));
	ck_text(io, "f", "new");
	file_put(io, "g.tmp", "a longer leftover");
	ck_ok(io_publish(io, "g", "x", 1));
	ck_text(io, "g", "x");
	ck_assert(!exists(io, "g.tmp"));
	ck_assert_int_eq(io_publish(io, "no/g", "x", 1), -ENOENT);
	ck_assert_int_eq(io->ops->list(io, "", list_stop, NULL), 42);
	ck_assert_int_eq(io->ops->list(io, "no", list_stop, NULL), -ENOENT);
	ck_assert_int_eq(io->ops->sync_dir(io, "no"), -ENOENT);
}

START_TEST(whole_reads_and_published_files_on_both)
{
	char path[256];
	struct io *sim = sim_new(1), *posix = posix_new(path);

	read_whole(sim);
	read_whole(posix);
	io_free(sim);
	io_free(posix);
}
END_TEST

/* ---- the real one ---- */

/* Returns 0, or the line of what did not hold; also run where system calls are missing. */
#define hold(what)                \
	do {                      \
		if (!(what))      \
			return __LINE__; \
	} while (0)

static int links_are_not_followed(struct io *io, const char *path)
{
	char outside[300], link[300];
	struct io_file *f = NULL;

	snprintf(outside, sizeof(outside), "%s-outside", path);
	hold(mkdir(outside, 0700) == 0);
	snprintf(link, sizeof(link), "%s/folder", path);
	hold(symlink(outside, link) == 0);
	snprintf(link, sizeof(link), "%s/file", path);
	hold(symlink("good", link) == 0);
	snprintf(link, sizeof(link), "%s/dangling", path);
	hold(symlink("nothing", link) == 0);
	snprintf(link, sizeof(link), "%s/fifo", path);
	hold(mkfifo(link, 0600) == 0);

	hold(io_open(io, "good", IO_CREATE, &f) == 0);
	io_closep(&f);
	hold(io_open(io, "file", IO_READ, &f) == -ELOOP);
	hold(io_open(io, "dangling", IO_CREATE, &f) == -ELOOP);
	hold(io_open(io, "fifo", IO_READ, &f) == -EINVAL);
	hold(io_open(io, "fifo", IO_WRITE, &f) == -EINVAL);
	hold(io_open(io, "folder/x", IO_CREATE, &f) < 0);
	hold(io_open(io, "folder", IO_READ, &f) < 0);
	hold(io->ops->mkdir(io, "folder/x") < 0);
	hold(io->ops->rename(io, "good", "folder/x") < 0);
	hold(io->ops->list(io, "folder", list_stop, NULL) < 0);
	hold(io->ops->sync_dir(io, "folder") < 0);
	hold(io->ops->list(io, "..", list_stop, NULL) < 0);
	hold(rmdir(outside) == 0);	/* still empty */
	hold(io->ops->unlink(io, "file") == 0);
	hold(io_open(io, "good", IO_READ, &f) == 0);
	io_closep(&f);
	return 0;
}

static int io_is_useful(struct io *io)
{
	struct io_file *f = NULL;
	uint64_t n = 0;
	char c = 'x';

	hold(io->ops->mkdir(io, "sub") == 0);
	hold(io->ops->mkdir(io, "sub") == -EEXIST);
	hold(io_open(io, "sub/f", IO_CREATE | IO_EXCL, &f) == 0);
	hold(io_pwrite(f, "abc", 3, 0) == 0);
	hold(f->ops->allocate(f, 10000) == 0);
	hold(f->ops->allocate(f, 5000) == 0);
	hold(io_size(f, &n) == 0 && n == 10000);
	hold(io_pread_all(f, &c, 1, 9999) == 0 && c == 0);
	hold(io_pread_all(f, &c, 1, 2) == 0 && c == 'c');
	hold(io_sync(f) == 0);
	io_closep(&f);
	hold(io->ops->sync_dir(io, "sub") == 0);
	hold(io->ops->sync_dir(io, "") == 0);
	hold(io_publish(io, "sub/p", "abc", 3) == 0);
	return 0;
}

START_TEST(links_and_fifos_are_refused)
{
	char path[256], link[300];
	struct io *io = posix_new(path), *other = NULL;

	ck_assert_int_eq(links_are_not_followed(io, path), 0);
	ck_assert_int_eq(io_is_useful(io), 0);
	io_free(io);
	snprintf(link, sizeof(link), "%s-link", path);
	ck_ok(symlink(path, link));
	ck_assert_int_lt(io_posix_new(link, &other), 0);
	ck_assert_int_eq(io_posix_new("/no/such/folder", &other), -ENOENT);
	ck_assert_ptr_null(other);
}
END_TEST

/* From now on openat2 is unknown and fallocate not supported. */
static int calls_take_away(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat2, 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fallocate, 2, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EOPNOTSUPP),
	};
	struct sock_fprog program = { ARRAY_LEN(code), code };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0 ? -errno : 0;
}

static int old_kernel(const char *path)
{
	struct io *io = NULL;
	int line;

	hold(calls_take_away() == 0);
	hold(syscall(SYS_openat2, 0, 0, 0, 0) == -1 && errno == ENOSYS);
	hold(io_posix_new(path, &io) == 0);
	line = links_are_not_followed(io, path);
	if (line == 0)
		line = io_is_useful(io);
	io_free(io);
	return line;
}

START_TEST(old_kernels_are_as_safe)
{
	char path[256];
	struct io *io = posix_new(path);
	int status = 0, said[2], line = 0;
	pid_t pid;

	io_free(io);
	ck_ok(pipe(said));
	pid = fork();
	ck_ok(pid);
	if (pid == 0) {
		line = old_kernel(path);
		_exit(write(said[1], &line, sizeof(line)) == sizeof(line) ? 0 : 1);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	ck_assert_int_eq(read(said[0], &line, sizeof(line)), sizeof(line));
	ck_assert_msg(line == 0, "line %d", line);
	close(said[0]);
	close(said[1]);
}
END_TEST

START_TEST(files_are_private_and_close_on_exec)
{
	char path[256], name[300], target[300];
	struct io *io = posix_new(path);
	struct io_file *f = file_new(io, "f", IO_CREATE);
	pid_t pid = 0;
	struct stat st;
	int ours = 0;

	ck_ok(io->ops->mkdir(io, "d"));
	ck_ok(io->ops->lock(io, "lock", &pid));
	snprintf(name, sizeof(name), "%s/f", path);
	ck_ok(stat(name, &st));
	ck_assert_uint_eq(st.st_mode & 07777, 0600);
	snprintf(name, sizeof(name), "%s/d", path);
	ck_ok(stat(name, &st));
	ck_assert_uint_eq(st.st_mode & 07777, 0700);
	for (int fd = 3; fd < 256; fd++) {
		ssize_t n;

		snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
		n = readlink(name, target, sizeof(target) - 1);
		if (n < 0)
			continue;
		target[n] = '\0';
		if (strncmp(target, path, strlen(path)))
			continue;
		ours++;
		ck_assert_int_eq(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	}
	ck_assert_int_eq(ours, 3);	/* root, file, lock */
	io_closep(&f);
	io_free(io);
}
END_TEST

START_TEST(lock_excludes_and_dies_with_its_holder)
{
	char path[256], c;
	struct io *io = posix_new(path), *other = NULL;
	int ready[2], status;
	pid_t holder, pid = 7;

	ck_ok(io_posix_new(path, &other));
	ck_ok(pipe(ready));
	holder = fork();
	ck_ok(holder);
	if (holder == 0) {
		struct io *own = NULL;

		if (io_posix_new(path, &own) < 0 || own->ops->lock(own, "lock", &pid) < 0)
			_exit(1);
		if (write(ready[1], "x", 1) != 1)
			_exit(1);
		pause();
		_exit(0);
	}
	ck_assert_int_eq(read(ready[0], &c, 1), 1);
	ck_assert_int_eq(io->ops->lock(io, "lock", &pid), -EWOULDBLOCK);
	ck_assert_int_eq(pid, holder);
	kill(holder, SIGKILL);
	ck_assert_int_eq(waitpid(holder, &status, 0), holder);

	pid = 7;
	ck_ok(io->ops->lock(io, "lock", &pid));
	ck_assert_int_eq(pid, 7);
	ck_ok(io->ops->lock(io, "lock2", &pid));
	ck_assert_int_eq(io->ops->lock(io, "lock", &pid), -EWOULDBLOCK);
	ck_assert_int_eq(pid, getpid());
	pid = 7;
	ck_assert_int_eq(other->ops->lock(other, "lock", &pid), -EWOULDBLOCK);
	ck_assert_int_eq(pid, getpid());
	io_free(io);
	ck_ok(other->ops->lock(other, "lock", &pid));
	ck_ok(other->ops->lock(other, "lock2", &pid));
	io_free(other);
	close(ready[0]);
	close(ready[1]);
}
END_TEST

START_TEST(space_time_and_randomness_are_the_machines)
{
	char path[256];
	struct io *io = posix_new(path);
	struct io_space space = { 0 };
	uint64_t before = io_mono_ns(io);
	uint8_t a[300] = { 0 }, b[300] = { 0 };

	ck_ok(io->ops->space(io, &space));
	ck_assert_uint_gt(space.total_bytes, 0);
	ck_assert_uint_le(space.free_bytes, space.total_bytes);
	ck_assert_uint_ge(io_mono_ns(io), before);
	ck_assert_uint_gt(io_real_ns(io), 1700000000ull * 1000000000);
	io_random(io, a, sizeof(a));
	io_random(io, b, sizeof(b));
	ck_assert(memcmp(a, b, sizeof(a)) != 0);
	io_free(io);
}
END_TEST

/* ---- what a cut leaves of a file ---- */

#define PEN_BYTES 24576u
#define PEN_CHANGES 4

struct change {
	enum { WRITE, TRUNCATE, ALLOCATE } kind;
	size_t off, n;		/* truncate, allocate: off is the size */
	uint8_t fill;
};

struct image {
	size_t n;
	uint8_t bytes[PEN_BYTES];	/* zeros from n on */
};

static void image_change(struct image *im, const struct change *c)
{
	switch (c->kind) {
	case WRITE:
		memset(im->bytes + c->off, c->fill, c->n);
		im->n = MAX(im->n, c->off + c->n);
		break;
	case TRUNCATE:
		if (c->off < im->n)
			memset(im->bytes + c->off, 0, im->n - c->off);
		im->n = c->off;
		break;
	case ALLOCATE:
		im->n = MAX(im->n, c->off);
	}
}

static void file_change(struct io_file *f, const struct change *c)
{
	static uint8_t piece[PEN_BYTES];

	switch (c->kind) {
	case WRITE:
		memset(piece, c->fill, c->n);
		ck_ok(io_pwrite(f, piece, c->n, c->off));
		break;
	case TRUNCATE:
		ck_ok(f->ops->truncate(f, c->off));
		break;
	case ALLOCATE:
		ck_ok(f->ops->allocate(f, c->off));
	}
}

static void image_read(struct io *io, const char *name, struct image *ret)
{
	struct io_file *f = file_new(io, name, IO_READ);
	ssize_t n;

	memset(ret, 0, sizeof(*ret));
	n = io_pread(f, ret->bytes, sizeof(ret->bytes), 0);
	ck_ok(n);
	ret->n = (size_t)n;
	io_closep(&f);
}

/* Each sector must be as some subset of the changes makes it, each its own subset; the size
 * as some subset's, or a sector's end between the least and the greatest. */
static void image_allowed(const struct image *got, const struct image *base,
			  const struct change *changes, unsigned n_changes)
{
	static struct image each[1 << PEN_CHANGES];
	size_t least = SIZE_MAX, most = 0;
	bool size_found = got->n % 512 == 0;

	for (unsigned subset = 0; subset < 1u << n_changes; subset++) {
		struct image *im = &each[subset];

		*im = *base;
		for (unsigned i = 0; i < n_changes; i++)
			if (subset & (1u << i))
				image_change(im, &changes[i]);
		least = MIN(least, im->n);
		most = MAX(most, im->n);
		size_found |= im->n == got->n;
	}
	ck_assert_msg(size_found && got->n >= least && got->n <= most,
		      "size %zu, not in %zu..%zu", got->n, least, most);
	for (size_t at = 0; at < got->n; at += 512) {
		size_t n = MIN((size_t)512, got->n - at);
		unsigned subset = 0;

		while (subset < 1u << n_changes &&
		       memcmp(got->bytes + at, each[subset].bytes + at, n))
			subset++;
		ck_assert_msg(subset < 1u << n_changes, "sector at %zu", at);
	}
}

static struct change change_draw(struct rng *rng, uint8_t fill)
{
	struct change c = { .fill = fill };
	uint64_t kind = rng_below(rng, 8);

	c.kind = kind == 0 ? TRUNCATE : kind == 1 ? ALLOCATE : WRITE;
	c.off = (size_t)rng_below(rng, PEN_BYTES / 2);
	if (rng_below(rng, 2))
		c.off &= ~(size_t)511;
	c.n = 1 + (size_t)rng_below(rng, rng_below(rng, 2) ? 1500 : PEN_BYTES / 2);
	return c;
}

/* One life of a file up to a cut: synced changes, perhaps a failed sync, unsynced ones. */
static void live_and_cut(struct rng *rng)
{
	struct io *io = sim_new(rng_next(rng));
	struct io_file *f = file_new(io, "f", IO_CREATE);
	struct image base = { 0 }, got;
	struct change changes[PEN_CHANGES];
	unsigned n = (unsigned)rng_below(rng, PEN_CHANGES + 1);
	uint8_t fill = 1;

	ck_ok(io->ops->sync_dir(io, ""));
	for (int round = (int)rng_below(rng, 3); round >= 0; round--) {
		for (uint64_t k = rng_below(rng, 3); k > 0; k--) {
			struct change c = change_draw(rng, fill++);

			file_change(f, &c);
			image_change(&base, &c);
		}
		ck_ok(io_sync(f));
	}
	if (rng_below(rng, 4) == 0) {
		struct change c = change_draw(rng, fill++);

		file_change(f, &c);
		io_sim_fail_at(io, IO_SIM_SYNC, 1, EIO, false);
		ck_assert_int_eq(io_sync(f), -EIO);
		if (rng_below(rng, 2)) {	/* a later good sync does not save it */
			c = change_draw(rng, fill++);
			file_change(f, &c);
			image_change(&base, &c);
			ck_ok(io_sync(f));
		}
	}
	for (unsigned i = 0; i < n; i++) {
		changes[i] = change_draw(rng, fill++);
		file_change(f, &changes[i]);
	}
	io_closep(&f);
	for (int cuts = 0; cuts < 2; cuts++) {
		io_sim_power_cut(io);
		image_read(io, "f", &got);
		if (cuts == 0)
			image_allowed(&got, &base, changes, n);
		else
			ck_assert(memcmp(&got, &base, sizeof(got)) == 0);
		base = got;	/* a second cut changes nothing */
	}
	io_free(io);
}

START_TEST(cut_leaves_of_a_file_what_the_contract_allows)
{
	struct rng rng = rng_seeded(suite_seed());

	for (int i = 0; i < 1500; i++)
		live_and_cut(&rng);
}
END_TEST

enum { KEPT, LOST, TORN_512, TORN_4K, ZEROS, N_CLASSES };

/* What became of a write of 2s, at 0, over 1s (or over nothing). */
static unsigned class_of(const struct image *got, size_t written)
{
	size_t twos = 0;
	bool by_4k = true;

	for (size_t at = 0; at < written; at += 512) {
		twos += got->bytes[at] == 2;
		by_4k &= got->bytes[at] == got->bytes[at & ~(size_t)4095];
	}
	if (twos == written / 512)
		return KEPT;
	if (twos == 0)
		return got->n && got->bytes[0] == 0 ? ZEROS : LOST;
	return by_4k ? TORN_4K : TORN_512;
}

static void classes_occur(bool over_old, unsigned found[N_CLASSES])
{
	const struct change old = { WRITE, 0, 12288, 1 }, new = { WRITE, 0, 12288, 2 };
	struct image got;

	for (uint64_t seed = 0; seed < 3000; seed++) {
		struct io *io = sim_new(suite_seed() + seed);
		struct io_file *f = file_new(io, "f", IO_CREATE);

		if (over_old)
			file_change(f, &old);
		ck_ok(io_sync(f));
		ck_ok(io->ops->sync_dir(io, ""));
		file_change(f, &new);
		io_closep(&f);
		io_sim_power_cut(io);
		image_read(io, "f", &got);
		found[class_of(&got, 12288)]++;
		io_free(io);
	}
}

START_TEST(each_fate_of_a_write_occurs)
{
	unsigned over[N_CLASSES] = { 0 }, append[N_CLASSES] = { 0 };

	classes_occur(true, over);
	for (int i = 0; i < ZEROS; i++)
		ck_assert_msg(over[i] >= 10, "class %d: %u of 3000", i, over[i]);
	ck_assert_uint_eq(over[ZEROS], 0);
	classes_occur(false, append);
	for (int i = 0; i < N_CLASSES; i++)
		ck_assert_msg(append[i] >= 5, "class %d: %u of 3000", i, append[i]);
}
END_TEST

/* ---- what a cut leaves of folders ---- */

START_TEST(folder_changes_survive_as_a_prefix)
{
	unsigned found[4] = { 0 };

	for (uint64_t seed = 0; seed < 300; seed++) {
		struct io *io = sim_new(suite_seed() + seed);
		unsigned a, b, c, prefix;

		file_put(io, "a", "1");
		ck_ok(io->ops->sync_dir(io, ""));
		ck_ok(io->ops->rename(io, "a", "b"));
		file_put(io, "c", "2");
		ck_ok(io->ops->unlink(io, "b"));
		io_sim_power_cut(io);
		a = exists(io, "a");
		b = exists(io, "b");
		c = exists(io, "c");
		prefix = a ? 0 : b && !c ? 1 : b ? 2 : 3;
		ck_assert_uint_eq(a, prefix == 0);
		ck_assert_uint_eq(b, prefix == 1 || prefix == 2);
		ck_assert_uint_eq(c, prefix >= 2);
		if (c)
			ck_text(io, "c", "2");
		if (a || b)
			ck_text(io, a ? "a" : "b", "1");
		found[prefix]++;
		io_free(io);
	}
	for (int i = 0; i < 4; i++)
		ck_assert_msg(found[i] >= 20, "prefix %d: %u of 300", i, found[i]);
}
END_TEST

START_TEST(rename_across_folders_is_never_in_neither)
{
	unsigned found[3][4] = { 0 };

	for (uint64_t seed = 0; seed < 600; seed++) {
		struct io *io = sim_new(suite_seed() + seed);
		unsigned synced = (unsigned)(seed % 3);

		ck_ok(io->ops->mkdir(io, "x"));
		ck_ok(io->ops->mkdir(io, "y"));
		ck_ok(io->ops->sync_dir(io, ""));
		file_put(io, "x/f", "1");
		ck_ok(io->ops->sync_dir(io, "x"));
		ck_ok(io->ops->rename(io, "x/f", "y/f"));
		ck_assert(!exists(io, "x/f"));
		if (synced)
			ck_ok(io->ops->sync_dir(io, synced == 1 ? "y" : "x"));
		io_sim_power_cut(io);
		found[synced][exists(io, "x/f") + 2 * exists(io, "y/f")]++;
		io_free(io);
	}
	ck_assert_uint_eq(found[0][0], 0);
	for (int i = 1; i < 4; i++)
		ck_assert_uint_ge(found[0][i], 10);
	/* The new name is synced: the old one may linger. */
	ck_assert_uint_eq(found[1][2] + found[1][3], 200);
	ck_assert_uint_ge(found[1][2], 10);
	ck_assert_uint_ge(found[1][3], 10);
	/* The old name's going is synced: the new one is there. */
	ck_assert_uint_eq(found[2][2], 200);
}
END_TEST

/* Files wander through three folders and are never removed: after any cut each is under one
 * name at least, and under the names of its past only. */
START_TEST(wandering_files_are_never_lost)
{
	static const char *const folders[] = { "x", "y", "z" };
	struct rng rng = rng_seeded(suite_seed());

	for (int life = 0; life < 400; life++) {
		struct io *io = sim_new(rng_next(&rng));
		unsigned home[3] = { 0 }, been[3] = { 1, 1, 1 };
		char from[16], to[16];

		for (int i = 0; i < 3; i++)
			ck_ok(io->ops->mkdir(io, folders[i]));
		ck_ok(io->ops->sync_dir(io, ""));
		for (int i = 0; i < 3; i++) {
			snprintf(to, sizeof(to), "x/%d", i);
			file_put(io, to, to + 2);
		}
		ck_ok(io->ops->sync_dir(io, "x"));
		for (int step = (int)rng_below(&rng, 12); step > 0; step--) {
			unsigned i = (unsigned)rng_below(&rng, 3);
			unsigned where = (unsigned)rng_below(&rng, 3);

			snprintf(from, sizeof(from), "%s/%u", folders[home[i]], i);
			snprintf(to, sizeof(to), "%s/%u", folders[where], i);
			ck_ok(io->ops->rename(io, from, to));
			home[i] = where;
			been[i] |= 1u << where;
			where = (unsigned)rng_below(&rng, 9);
			if (where < 3 && rng_below(&rng, 6) == 0) {
				io_sim_fail_at(io, IO_SIM_SYNC_DIR, 1, EIO, false);
				ck_assert_int_eq(io->ops->sync_dir(io, folders[where]), -EIO);
			} else if (where < 3) {
				ck_ok(io->ops->sync_dir(io, folders[where]));
			}
		}
		io_sim_power_cut(io);
		for (unsigned i = 0; i < 3; i++) {
			unsigned there = 0;

			for (unsigned k = 0; k < 3; k++) {
				snprintf(from, sizeof(from), "%s/%u", folders[k], i);
				if (!exists(io, from))
					continue;
				ck_text(io, from, from + 2);
				there |= 1u << k;
			}
			ck_assert_msg(there && !(there & ~been[i]), "life %d file %u: %x of %x",
				      life, i, there, been[i]);
		}
		io_free(io);
	}
}
END_TEST

START_TEST(file_of_an_unsynced_folder_may_vanish_though_synced)
{
	unsigned there = 0;

	for (uint64_t seed = 0; seed < 100; seed++) {
		struct io *io = sim_new(suite_seed() + seed);

		file_put(io, "f", "1");
		io_sim_power_cut(io);
		if (exists(io, "f")) {
			ck_text(io, "f", "1");
			there++;
		}
		io_free(io);
	}
	ck_assert_uint_ge(there, 10);
	ck_assert_uint_le(there, 90);
}
END_TEST

START_TEST(folder_sync_that_failed_saves_nothing)
{
	for (uint64_t seed = 0; seed < 50; seed++) {
		struct io *io = sim_new(seed);

		file_put(io, "f", "1");
		io_sim_fail_at(io, IO_SIM_SYNC_DIR, 1, EIO, false);
		ck_assert_int_eq(io->ops->sync_dir(io, ""), -EIO);
		ck_text(io, "f", "1");
		file_put(io, "g", "2");
		ck_ok(io->ops->sync_dir(io, ""));
		io_sim_power_cut(io);
		ck_assert(!exists(io, "f"));
		ck_text(io, "g", "2");
		io_free(io);
	}
}
END_TEST

START_TEST(published_file_is_the_old_or_the_new_one)
{
	unsigned old = 0, new = 0;

	for (uint64_t seed = 0; seed < 2000; seed++) {
		struct io *io = sim_new(suite_seed() + seed);
		const char *text;
		int r;

		ck_ok(io_publish(io, "f", "the old", 7));
		io_sim_stop_at(io, IO_SIM_ANY, 1 + seed % 8);
		r = io_publish(io, "f", "the new one", 11);
		io_sim_power_cut(io);
		text = file_text(io, "f");
		ck_assert_ptr_nonnull(text);
		if (!strcmp(text, "the new one"))
			new++;
		else
			old++;
		if (r < 0 && strcmp(text, "the new one"))
			ck_assert_str_eq(text, "the old");
		if (r == 0)
			ck_assert_str_eq(text, "the new one");
		ck_ok(io_publish(io, "f", "again", 5));
		ck_text(io, "f", "again");
		io_free(io);
	}
	ck_assert_uint_ge(old, 100);
	ck_assert_uint_ge(new, 100);
}
END_TEST

/* ---- faults, stops, space ---- */

START_TEST(failed_sync_is_for_ever_though_it_still_reads)
{
	for (uint64_t seed = 0; seed < 50; seed++) {
		struct io *io = sim_new(seed);
		struct io_file *f;

		file_put(io, "f", "old old old");
		ck_ok(io->ops->sync_dir(io, ""));
		f = file_new(io, "f", IO_WRITE);
		ck_ok(io_pwrite(f, "NEW", 3, 0));
		io_sim_fail_at(io, IO_SIM_SYNC, 1, ENOSPC, false);
		ck_assert_int_eq(io_sync(f), -ENOSPC);
		ck_text(io, "f", "NEW old old");
		ck_ok(io_pwrite(f, "NEW", 3, 8));
		ck_ok(io_sync(f));
		ck_text(io, "f", "NEW old NEW");
		io_closep(&f);
		io_sim_power_cut(io);
		ck_text(io, "f", "old old NEW");
		io_free(io);
	}
}
END_TEST

START_TEST(faults_strike_when_they_should)
{
	struct io *io = sim_new(1);
	struct io_file *f = file_new(io, "f", IO_CREATE);
	uint64_t before = io_sim_calls(io, IO_SIM_PWRITE);
	char c;

	io_sim_fail_at(io, IO_SIM_PWRITE | IO_SIM_PREAD, 3, EIO, false);
	ck_ok(io_pwrite(f, "a", 1, 0));
	ck_ok(io_sync(f));
	ck_ok(io_pread(f, &c, 1, 0));
	ck_assert_int_eq(io_pwrite(f, "b", 1, 1), -EIO);
	ck_ok(io_pwrite(f, "b", 1, 1));
	ck_assert_uint_eq(io_sim_calls(io, IO_SIM_PWRITE), before + 3);

	io_sim_fail_at(io, IO_SIM_OPEN | IO_SIM_UNLINK, 1, EACCES, true);
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(io->ops->unlink(io, "f"), -EACCES);
		ck_assert_int_eq(io->ops->mkdir(io, "d"), -EACCES);
		ck_ok(io->ops->rename(io, "f", "f"));
	}
	io_sim_fail_at(io, IO_SIM_TRUNCATE | IO_SIM_RENAME, 1, EIO, true);
	ck_ok(io->ops->mkdir(io, "d"));
	ck_assert_int_eq(f->ops->truncate(f, 0), -EIO);
	ck_assert_int_eq(f->ops->allocate(f, 100), -EIO);
	ck_assert_int_eq(io->ops->rename(io, "f", "g"), -EIO);
	ck_text(io, "f", "ab");
	io_sim_fail_at(io, 0, 0, 0, false);
	ck_ok(io->ops->rename(io, "f", "g"));
	io_closep(&f);
	io_free(io);
}
END_TEST

START_TEST(stopped_machine_does_nothing_until_it_restarts)
{
	unsigned effect = 0, none = 0;

	for (uint64_t seed = 0; seed < 200; seed++) {
		struct io *io = sim_new(suite_seed() + seed);
		struct io_file *f, *g = NULL;
		struct io_space space;
		pid_t pid = 0;
		uint64_t n;
		char c;

		file_put(io, "f", "1");
		ck_ok(io->ops->sync_dir(io, ""));
		f = file_new(io, "f", IO_WRITE);
		ck_ok(io->ops->lock(io, "lock", &pid));
		ck_assert_int_eq(io->ops->lock(io, "lock", &pid), -EWOULDBLOCK);
		io_sim_stop_at(io, IO_SIM_RENAME, 2);
		ck_ok(io->ops->rename(io, "f", "g"));
		ck_assert_int_eq(io->ops->rename(io, "g", "h"), -EIO);
		ck_assert_int_eq(io->ops->rename(io, "g", "h"), -EIO);
		ck_assert_int_eq(io->ops->mkdir(io, "d"), -EIO);
		ck_assert_int_eq(io_open(io, "g", IO_READ, &g), -EIO);
		ck_assert_int_eq(io_pread(f, &c, 1, 0), -EIO);
		ck_assert_int_eq(io_pwrite(f, "2", 1, 0), -EIO);
		ck_assert_int_eq(io_sync(f), -EIO);
		ck_assert_int_eq(io_size(f, &n), -EIO);
		ck_assert_int_eq(io->ops->space(io, &space), -EIO);
		ck_assert_int_eq(io->ops->list(io, "", list_stop, NULL), -EIO);
		ck_assert_int_eq(io->ops->sync_dir(io, ""), -EIO);
		if (seed % 2)
			io_sim_kill(io);
		else
			io_sim_power_cut(io);
		ck_assert_int_eq(io_pread(f, &c, 1, 0), -EIO);	/* of the former boot */
		ck_assert_int_eq(io_pwrite(f, "2", 1, 0), -EIO);
		io_closep(&f);
		if (seed % 2) {
			effect += exists(io, "h");
			none += exists(io, "g");
			ck_text(io, exists(io, "h") ? "h" : "g", "1");
		}
		ck_ok(io->ops->lock(io, "lock", &pid));
		io_free(io);
	}
	ck_assert_uint_eq(effect + none, 100);
	ck_assert_uint_ge(effect, 10);
	ck_assert_uint_ge(none, 10);
}
END_TEST

START_TEST(kill_keeps_all_that_was_written)
{
	struct io *io = sim_new(suite_seed());
	struct io_file *f;

	ck_ok(io->ops->mkdir(io, "d"));
	f = file_new(io, "d/f", IO_CREATE);
	ck_ok(io_pwrite(f, "abc", 3, 0));
	io_sim_kill(io);
	ck_assert_int_eq(io_sync(f), -EIO);
	ck_text(io, "d/f", "abc");
	io_sim_kill(io);
	ck_text(io, "d/f", "abc");
	io_closep(&f);
	io_free(io);
}
END_TEST

START_TEST(full_disk_refuses_new_bytes_only)
{
	struct io *io = sim_new(1);
	struct io_file *f = file_new(io, "f", IO_CREATE);
	struct io_space space;
	uint64_t n;
	char bytes[1000] = { 0 };

	ck_ok(io_pwrite(f, bytes, 1000, 0));
	io_sim_set_free(io, 1500);
	ck_ok(io->ops->space(io, &space));
	ck_assert_uint_eq(space.free_bytes, 1500);
	ck_assert_uint_eq(space.total_bytes, 2500);
	ck_assert_int_eq(f->ops->allocate(f, 2501), -ENOSPC);
	ck_assert_int_eq(f->ops->truncate(f, 2501), -ENOSPC);
	ck_ok(io_pwrite(f, bytes, 1000, 1000));
	ck_assert_int_eq(io_pwrite(f, bytes, 1000, 2000), -ENOSPC);
	ck_ok(io_size(f, &n));
	ck_assert_uint_eq(n, 2500);		/* what fitted is there */
	ck_ok(io_pwrite(f, bytes, 1000, 1500));	/* no growth */
	ck_ok(f->ops->truncate(f, 100));
	ck_ok(io->ops->space(io, &space));
	ck_assert_uint_eq(space.free_bytes, 2400);
	ck_ok(io->ops->unlink(io, "f"));
	ck_ok(io_pwrite(f, bytes, 1000, 0));	/* unlinked, but open: still takes space */
	ck_ok(io->ops->space(io, &space));
	ck_assert_uint_eq(space.free_bytes, 1500);
	io_closep(&f);
	ck_ok(io->ops->space(io, &space));
	ck_assert_uint_eq(space.free_bytes, 2500);
	io_free(io);
}
END_TEST

START_TEST(flipped_bit_is_in_both_copies)
{
	for (uint64_t seed = 0; seed < 40; seed++) {
		struct io *io = sim_new(seed);
		struct io_file *f;

		file_put(io, "f", "aaaa");
		ck_ok(io->ops->sync_dir(io, ""));
		f = file_new(io, "f", IO_WRITE);
		ck_ok(io_pwrite(f, "aaaa", 4, 0));	/* kept or not, the flip stays */
		ck_ok(io_sim_flip(io, "f", 2, 1));
		ck_text(io, "f", "aaca");
		io_closep(&f);
		io_sim_power_cut(io);
		ck_text(io, "f", "aaca");
		ck_ok(io_sim_flip(io, "f", 2, 1));
		ck_text(io, "f", "aaaa");
		ck_assert_int_eq(io_sim_flip(io, "f", 4, 1), -EINVAL);
		ck_assert_int_eq(io_sim_flip(io, "f", 0, 8), -EINVAL);
		ck_assert_int_eq(io_sim_flip(io, "g", 0, 1), -ENOENT);
		io_free(io);
	}
}
END_TEST

/* ---- one seed decides, quickly, and from any thread ---- */

static uint64_t run_to_hash(uint64_t seed)
{
	struct io *io = sim_new(seed);
	struct rng rng = rng_seeded(7);
	static struct image got;
	struct io_file *f[3];
	uint64_t hash = 0;
	char name[8];

	for (int round = 0; round < 5; round++) {
		for (int i = 0; i < 3; i++) {
			snprintf(name, sizeof(name), "%d", i);
			f[i] = file_new(io, name, IO_CREATE);
		}
		for (int step = 0; step < 20; step++) {
			struct change c = change_draw(&rng, (uint8_t)step);

			file_change(f[step % 3], &c);
			if (step % 7 == 6)
				ck_ok(io_sync(f[step % 3]));
		}
		ck_ok(io->ops->rename(io, "0", "1"));
		for (int i = 0; i < 3; i++)
			io_closep(&f[i]);
		io_sim_power_cut(io);
		for (int i = 0; i < 3; i++) {
			snprintf(name, sizeof(name), "%d", i);
			if (!exists(io, name))
				continue;
			image_read(io, name, &got);
			for (size_t k = 0; k < got.n; k++)
				hash = (hash ^ got.bytes[k] ^ (uint64_t)i) * 1099511628211u;
		}
	}
	io_random(io, &seed, sizeof(seed));
	hash ^= seed + io_mono_ns(io);
	io_free(io);
	return hash;
}

START_TEST(same_seed_same_outcome)
{
	unsigned different = 0;

	for (uint64_t i = 0; i < 20; i++) {
		uint64_t seed = suite_seed() + i;

		ck_assert_uint_eq(run_to_hash(seed), run_to_hash(seed));
		different += run_to_hash(seed) != run_to_hash(seed + 1);
	}
	ck_assert_uint_ge(different, 18);
}
END_TEST

START_TEST(time_is_virtual)
{
	struct io *io = sim_new(1);
	uint64_t real = io_real_ns(io), mono = io_mono_ns(io);

	ck_assert_uint_eq(io_mono_ns(io), mono + 1000);
	io_sim_advance(io, 5000000000u);
	ck_assert_uint_eq(io_mono_ns(io), mono + 5000002000u);
	ck_assert_uint_eq(io_real_ns(io), real + 5000004000u);
	io_free(io);
}
END_TEST

/* 64 MiB that are written, synced, patched and cut cost little. */
START_TEST(large_files_are_shared_not_copied)
{
	struct io *io = sim_new(suite_seed());
	struct io_file *f = file_new(io, "f", IO_CREATE);
	static uint8_t mib[1 << 20];
	uint8_t c;

	ck_ok(io->ops->sync_dir(io, ""));
	memset(mib, 7, sizeof(mib));
	ck_ok(f->ops->allocate(f, 1024 * GIB / 2));
	for (uint64_t i = 0; i < 64; i++)
		ck_ok(io_pwrite(f, mib, sizeof(mib), i * sizeof(mib)));
	ck_ok(io_sync(f));
	for (uint64_t i = 0; i < 2000; i++) {
		io_closep(&f);
		f = file_new(io, "f", IO_WRITE);
		ck_ok(io_pwrite(f, "x", 1, i * 33331));
		if (i % 2)
			ck_ok(io_sync(f));
		io_sim_power_cut(io);
	}
	io_closep(&f);
	f = file_new(io, "f", IO_WRITE);
	for (uint64_t i = 1; i < 2000; i += 2) {
		ck_ok(io_pread_all(f, &c, 1, i * 33331));
		ck_assert_uint_eq(c, 'x');
		ck_ok(io_pread_all(f, &c, 1, i * 33331 + 1));
		ck_assert_uint_eq(c, 7);
	}
	io_closep(&f);
	io_free(io);
}
END_TEST

struct worker {
	struct io *io;
	unsigned id;
	int failures;
};

static void *work(void *arg)
{
	struct worker *w = arg;
	struct io_file *f = NULL;
	char name[16], c;

	for (unsigned i = 0; i < 300; i++) {
		snprintf(name, sizeof(name), "%u-%u", w->id, i % 5);
		w->failures += io_open(w->io, name, IO_CREATE, &f) < 0;
		w->failures += io_pwrite(f, name, strlen(name), i * 100) < 0;
		w->failures += io_sync(f) < 0;
		w->failures += io_pread(f, &c, 1, i * 100) != 1 || c != name[0];
		io_closep(&f);
		w->failures += io_publish(w->io, name, name, strlen(name)) < 0;
		io_mono_ns(w->io);
	}
	return NULL;
}

START_TEST(threads_may_share_it)
{
	struct io *io = sim_new(suite_seed());
	struct worker workers[4];
	pthread_t threads[4];

	for (unsigned i = 0; i < 4; i++) {
		workers[i] = (struct worker){ io, i, 0 };
		ck_assert_int_eq(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
	}
	for (unsigned i = 0; i < 4; i++) {
		pthread_join(threads[i], NULL);
		ck_assert_int_eq(workers[i].failures, 0);
	}
	io_sim_power_cut(io);
	ck_text(io, "3-4", "3-4");
	io_free(io);
}
END_TEST

static Suite *make_suite(void)
{
	Suite *suite = suite_create("io");
	TCase *t = tcase_create("io");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, simulated_and_real_files_behave_alike);
	tcase_add_test(t, names_that_could_lead_elsewhere_are_refused);
	tcase_add_test(t, whole_reads_and_published_files_on_both);
	tcase_add_test(t, links_and_fifos_are_refused);
	tcase_add_test(t, old_kernels_are_as_safe);
	tcase_add_test(t, files_are_private_and_close_on_exec);
	tcase_add_test(t, lock_excludes_and_dies_with_its_holder);
	tcase_add_test(t, space_time_and_randomness_are_the_machines);
	tcase_add_test(t, cut_leaves_of_a_file_what_the_contract_allows);
	tcase_add_test(t, each_fate_of_a_write_occurs);
	tcase_add_test(t, folder_changes_survive_as_a_prefix);
	tcase_add_test(t, rename_across_folders_is_never_in_neither);
	tcase_add_test(t, wandering_files_are_never_lost);
	tcase_add_test(t, file_of_an_unsynced_folder_may_vanish_though_synced);
	tcase_add_test(t, folder_sync_that_failed_saves_nothing);
	tcase_add_test(t, published_file_is_the_old_or_the_new_one);
	tcase_add_test(t, failed_sync_is_for_ever_though_it_still_reads);
	tcase_add_test(t, faults_strike_when_they_should);
	tcase_add_test(t, stopped_machine_does_nothing_until_it_restarts);
	tcase_add_test(t, kill_keeps_all_that_was_written);
	tcase_add_test(t, full_disk_refuses_new_bytes_only);
	tcase_add_test(t, flipped_bit_is_in_both_copies);
	tcase_add_test(t, same_seed_same_outcome);
	tcase_add_test(t, time_is_virtual);
	tcase_add_test(t, large_files_are_shared_not_copied);
	tcase_add_test(t, threads_may_share_it);
	suite_add_tcase(suite, t);
	return suite;
}

int main(void)
{
	return suite_main(make_suite());
}
