/* test_io.c - both ios against one another, and the posix one against whoever wants to lead
 * it astray. */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/err.h"
#include "core/io/io.h"
#include "core/io/io_sim.h"
#include "tests/lib/io_fixture.h"
#include "tests/lib/suite.h"

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

/* ---- one io against the other ---- */

#define NAMES 7
static const char *const names[NAMES] = { "a", "b", "d", "d/a", "d/b", "e", "e/c" };

struct listing {
	uint64_t sum; /* of the names, in any order */
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

	ck_assert_int_eq(a->ops->list(a, dir, list_one, &la),
			 b->ops->list(b, dir, list_one, &lb));
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
			ck_assert_int_eq(a->ops->truncate(a, off),
					 b->ops->truncate(b, off));
			break;
		case 1:
			ck_assert_int_eq(a->ops->allocate(a, off),
					 b->ops->allocate(b, off));
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
	static const unsigned flags[] = { IO_READ, IO_WRITE, IO_CREATE,
					  IO_CREATE | IO_EXCL };
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
			if (ra == -EXDEV) /* simulated folders stay where they are */
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
#define hold(what)                                                                       \
	do {                                                                             \
		if (!(what))                                                             \
			return __LINE__;                                                 \
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
	hold(io_is_no_file(-EINVAL) && strstr(err_detail(), "\"fifo\"") != NULL);
	hold(io_open(io, "folder", IO_READ, &f) == -ELOOP);
	hold(strstr(err_detail(), "symbolic link") != NULL);
	hold(io_open(io, "folder/x", IO_CREATE, &f) < 0);
	hold(io_open(io, "folder", IO_READ, &f) < 0);
	hold(io->ops->mkdir(io, "folder/x") < 0);
	hold(io->ops->rename(io, "good", "folder/x") < 0);
	hold(io->ops->list(io, "folder", list_stop, NULL) < 0);
	hold(io->ops->sync_dir(io, "folder") < 0);
	hold(io->ops->list(io, "..", list_stop, NULL) < 0);
	hold(rmdir(outside) == 0); /* still empty */
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
	ck_assert_int_eq(ours, 3); /* root, file, lock */
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
	ck_assert_uint_le(io_tick_ns(io), io_mono_ns(io));
	io_random(io, a, sizeof(a));
	io_random(io, b, sizeof(b));
	ck_assert(memcmp(a, b, sizeof(a)) != 0);
	io_free(io);
}
END_TEST

#define MEDIUM_BYTES 700001u

/* The same bytes at any place and of any length, to the end of the file and past it. */
static void read_medium(struct io *io, struct rng *r)
{
	_cleanup_free_ uint8_t *all = malloc(MEDIUM_BYTES), *got = malloc(400000);
	struct io_file *f = NULL, *medium = NULL;
	uint64_t bytes = 0;

	rng_fill(r, all, MEDIUM_BYTES);
	ck_ok(io_open(io, "medium", IO_CREATE, &f));
	ck_ok(io_pwrite(f, all, MEDIUM_BYTES, 0));
	ck_ok(io_open(io, "medium", IO_MEDIUM, &medium));
	ck_ok(io_size(medium, &bytes));
	ck_assert_uint_eq(bytes, MEDIUM_BYTES);
	for (int i = 0; i < 2000; i++) {
		uint64_t off = rng_below(r, MEDIUM_BYTES + 5000);
		size_t n = rng_below(r, rng_below(r, 3) ? 9000 : 400000);
		size_t want = off < MEDIUM_BYTES ? MIN(n, MEDIUM_BYTES - off) : 0;

		if (i % 2) { /* a page, which is written anew meanwhile */
			n = want = 4096;
			off = rng_below(r, MEDIUM_BYTES / 4096) * 4096;
			rng_fill(r, all + off, n);
			ck_ok(io_pwrite(f, all + off, n, off));
		} else {
			io_closep(&medium);
			ck_ok(io_open(io, "medium", IO_MEDIUM, &medium));
		}
		ck_assert_int_eq(io_pread(medium, got, n, off), (ssize_t)want);
		ck_assert(want == 0 || !memcmp(got, all + off, want));
	}
	ck_assert_int_lt(io_pwrite(medium, "x", 1, 0), 0);
	io_closep(&medium);
	io_closep(&f);
}

START_TEST(what_is_read_from_the_medium_is_what_was_written)
{
	struct rng r = rng_seeded(suite_seed());
	char path[256];
	struct io *io = posix_new(path), *memory = NULL;

	read_medium(io, &r);
	io_free(io);
	snprintf(path, sizeof(path), "/dev/shm/ropefs-io-%u", (unsigned)getpid());
	if (mkdir(path, 0700) < 0)
		return;
	ck_ok(io_posix_new(path, &memory));
	read_medium(memory, &r);
	ck_ok(memory->ops->unlink(memory, "medium"));
	io_free(memory);
	rmdir(path);
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
	tcase_add_test(t, what_is_read_from_the_medium_is_what_was_written);
	tcase_add_test(t, space_time_and_randomness_are_the_machines);
	suite_add_tcase(suite, t);
	return suite;
}

int main(void)
{
	return suite_main(make_suite());
}
