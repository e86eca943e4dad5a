/* bench_queue.c - queues through the mount, beside the same on the disk's own filesystem.
 *
 * Fan-out is measured as NormFS does: one writer, records of 1 KiB, one in flight, N followers
 * that are blocked in read(2); from the beginning of the write to the moment the last follower
 * has read it. Followers are processes. On ext4 they wait with inotify and then read, or behind a
 * `tail -f` each; the floor is N pipes with one writer. */
#include "tools/bench/bench_queue.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "tools/bench/bench.h"

#define RECORD_BYTES  1024
#define FOLLOWERS_MAX 256
#define WRITERS_MAX   16
#define USERS_FROM    60000u
#define FAN_NAME      "fan"

static void check(bool good, const char *what)
{
	if (!good)
		bench_fail(what, strerror(errno));
}

/* A folder below the mount in which files are queues; removed by remove_folder(). */
static void make_folder(const char *mount, char to[4096])
{
	snprintf(to, 4096, "%s/queues", mount);
	check(mkdir(to, 0755) == 0 || errno == EEXIST, to);
	check(setxattr(to, "user.ropefs.kind", "queue", 5, 0) == 0, to);
	check(setxattr(to, "user.ropefs.framing", "write", 5, 0) == 0, to);
}

/* --- appends --- */

static int open_log(const char *folder)
{
	char path[4200];
	int fd;

	snprintf(path, sizeof(path), "%s/log", folder);
	unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	check(fd >= 0, path);
	return fd;
}

enum sync { NO_SYNC, SYNC, SYNC_OWN /* a file of the writer's own */ };

struct writer {
	pthread_t thread;
	const char *folder;
	unsigned number;
	size_t bytes;
	enum sync sync;
	uint64_t until_ns, count;
};

static int open_own(const struct writer *w)
{
	char path[4200];
	int fd;

	snprintf(path, sizeof(path), "%s/own.%u", w->folder, w->number);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	check(fd >= 0 && unlink(path) == 0, path);
	return fd;
}

static void *writer_main(void *arg)
{
	char path[4200], record[RECORD_BYTES];
	struct writer *w = arg;
	int fd, synced;

	snprintf(path, sizeof(path), "%s/log", w->folder);
	fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
	check(fd >= 0, path);
	synced = w->sync == SYNC_OWN ? open_own(w) : fd;
	bench_text(record, sizeof(record), 1);
	while (bench_now_ns() < w->until_ns) {
		check(write(fd, record, w->bytes) == (ssize_t)w->bytes, "append");
		if (w->sync)
			check(fdatasync(synced) == 0, "fdatasync");
		w->count++;
	}
	if (synced != fd)
		close(synced);
	close(fd);
	return NULL;
}

/* Records a second of so many writers to one file. */
static double append_rate(const char *folder, unsigned writers, size_t bytes,
			  enum sync sync, uint64_t ns)
{
	struct writer of[WRITERS_MAX] = { 0 };
	uint64_t began = bench_now_ns(), count = 0;

	close(open_log(folder));
	for (unsigned i = 0; i < writers; i++) {
		of[i] = (struct writer) { .folder = folder,
					  .number = i,
					  .bytes = bytes,
					  .sync = sync,
					  .until_ns = began + ns };
		check(pthread_create(&of[i].thread, NULL, writer_main, &of[i]) == 0,
		      "thread");
	}
	for (unsigned i = 0; i < writers; i++) {
		pthread_join(of[i].thread, NULL);
		count += of[i].count;
	}
	return (double)count * 1e9 / (double)(bench_now_ns() - began);
}

static double append_us(const char *folder, size_t bytes, unsigned times)
{
	char record[RECORD_BYTES];
	int fd = open_log(folder);
	struct samples s;
	double us;

	bench_text(record, sizeof(record), 1);
	samples_new(&s, times);
	for (unsigned i = 0; i < times; i++) {
		uint64_t began = bench_now_ns();

		check(write(fd, record, bytes) == (ssize_t)bytes, "append");
		samples_add(&s, began);
	}
	us = samples_us(&s, 0.5);
	samples_release(&s);
	close(fd);
	return us;
}

static void row_beside_ext4(const char *work, const char *unit, const struct series *base,
			    const struct series *own)
{
	if (own->n)
		row_print(&(struct row) {
			work, unit, "ext4", NULL, base, NULL, own, { TARGET_NONE, 0 } });
}

static void measure_appends(const struct queue_bench *b, const char *queues,
			    const char *only)
{
	static const size_t sizes[] = { 128, 1024 };
	static const unsigned writers[] = { 1, 4, 16 };
	const uint64_t ns = b->smoke ? 10000000 : b->quick ? 200000000 : 1000000000;
	unsigned times = b->smoke ? 200 : 5000;
	char work[64];

	for (int i = 0; i < 2; i++) {
		struct series base = { 0 }, own = { 0 };

		snprintf(work, sizeof(work), "queue: append %zu B, p50", sizes[i]);
		for (unsigned r = 0; r < b->rounds && strstr(work, only); r++) {
			series_add(&base, append_us(b->plain, sizes[i], times));
			series_add(&own, append_us(queues, sizes[i], times));
		}
		row_beside_ext4(work, "us", &base, &own);
	}
	for (int i = 0; i < 18; i++) {
		static const char *const how[] = { "", ", fdatasync",
						   ", fdatasync of own files" };
		struct series base = { 0 }, own = { 0 };
		unsigned n = writers[i / 6];
		size_t bytes = sizes[i / 3 % 2];
		enum sync sync = (enum sync)(i % 3);

		snprintf(work, sizeof(work), "queue: %zu B%s, %u writers", bytes,
			 how[sync], n);
		if (sync == SYNC_OWN && n == 1)
			continue;
		/* There it would sync the file that it is asked for only. */
		for (unsigned r = 0; r < b->rounds && strstr(work, only); r++) {
			series_add(&base, append_rate(b->plain, n, bytes,
						      sync ? SYNC : NO_SYNC, ns));
			series_add(&own, append_rate(queues, n, bytes, sync, ns));
		}
		row_beside_ext4(work, "/s", &base, &own);
	}
}

/* --- fan-out --- */

enum how { BY_VIEW, BY_INOTIFY, BY_PIPE, BY_TAIL, HOWS };

struct shared {
	sem_t all; /* the last one has it */
	atomic_uint waiting, done;
	_Atomic uint64_t last_ns;
};

struct fan {
	enum how how;
	unsigned n;
	const char *folder;
	char path[4200]; /* of FAN_NAME in it */
	struct shared *shared;
	pid_t pids[FOLLOWERS_MAX], tails[FOLLOWERS_MAX];
	int pipes[FOLLOWERS_MAX][2];
	int fd; /* the writer's */
};

/* A record has been read whole. */
static void got_one(struct fan *f)
{
	uint64_t now = bench_now_ns(), last = atomic_load(&f->shared->last_ns);

	while (last < now &&
	       !atomic_compare_exchange_weak(&f->shared->last_ns, &last, now))
		;
	if (atomic_fetch_add(&f->shared->done, 1) + 1 == f->n)
		sem_post(&f->shared->all);
}

static void read_records(struct fan *f, int fd, int watch)
{
	char p[RECORD_BYTES], event[4096];
	size_t got = 0;

	atomic_fetch_add(&f->shared->waiting, 1);
	for (;;) {
		ssize_t r;

		if (watch >= 0)
			check(read(watch, event, sizeof(event)) > 0, "inotify");
		while ((r = read(fd, p + got, sizeof(p) - got)) > 0) {
			got += (size_t)r;
			if (got < RECORD_BYTES)
				continue;
			got = 0;
			got_one(f);
		}
		check(r == 0 && watch >= 0, "follow");
	}
}

/* A child that does not outlive the bench. */
static pid_t begin_child(void)
{
	pid_t pid = fork();

	check(pid >= 0, "fork");
	if (pid == 0)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	return pid;
}

/* The kernel counts them for each user, and gives one 128: as root, each follower takes one of
 * another user. */
static int inotify_of_another(unsigned i)
{
	bool root = geteuid() == 0;
	int watch;

	check(!root || seteuid(USERS_FROM + i) == 0, "seteuid");
	watch = inotify_init1(IN_CLOEXEC);
	check(!root || seteuid(0) == 0, "seteuid");
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* which another user has taken away */
	return watch;
}

_Noreturn static void follower_main(struct fan *f, unsigned i)
{
	int fd = f->pipes[i][0], watch = -1;
	char path[4300];

	if (f->how == BY_VIEW || f->how == BY_INOTIFY) {
		snprintf(path, sizeof(path), "%s%s", f->path,
			 f->how == BY_VIEW ? "@follow" : "");
		fd = open(path, O_RDONLY | O_CLOEXEC);
		check(fd >= 0, path);
	}
	if (f->how == BY_INOTIFY) {
		watch = inotify_of_another(i);
		check(watch >= 0 && inotify_add_watch(watch, f->path, IN_MODIFY) >= 0,
		      "inotify");
	}
	read_records(f, fd, watch);
	exit(EXIT_FAILURE);
}

/* As root it belongs to another user (see above), who may not come to the folder by its path. */
_Noreturn static void tail_main(struct fan *f, unsigned i)
{
	dup2(f->pipes[i][1], STDOUT_FILENO);
	if (chdir(f->folder) < 0 || (geteuid() == 0 && setuid(USERS_FROM + i) < 0))
		_exit(127);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	execlp("tail", "tail", "-c", "+1", "-f", FAN_NAME, (char *)NULL);
	_exit(127);
}

static void start_follower(struct fan *f, unsigned i)
{
	if (f->how == BY_PIPE || f->how == BY_TAIL)
		check(pipe2(f->pipes[i], O_CLOEXEC) == 0, "pipe");
	if (f->how == BY_TAIL) {
		f->tails[i] = begin_child();
		if (f->tails[i] == 0)
			tail_main(f, i);
		close(f->pipes[i][1]);
	}
	f->pids[i] = begin_child();
	if (f->pids[i] == 0)
		follower_main(f, i);
	if (f->how == BY_PIPE || f->how == BY_TAIL)
		close(f->pipes[i][0]);
}

static void end(pid_t pid)
{
	if (pid <= 0)
		return;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void fan_stop(struct fan *f)
{
	for (unsigned i = 0; i < f->n; i++) {
		end(f->pids[i]);
		end(f->tails[i]);
		if (f->how == BY_PIPE)
			close(f->pipes[i][1]);
	}
	close(f->fd);
	unlink(f->path);
	munmap(f->shared, sizeof(*f->shared));
}

static void sleep_us(unsigned us)
{
	struct timespec t = { us / 1000000, us % 1000000 * 1000 };

	nanosleep(&t, NULL);
}

static void fan_start(struct fan *f)
{
	f->shared = mmap(NULL, sizeof(*f->shared), PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	check(f->shared != MAP_FAILED && sem_init(&f->shared->all, 1, 0) == 0, "memory");
	unlink(f->path);
	f->fd = open(f->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	check(f->fd >= 0, f->path);
	if (f->how == BY_TAIL) /* whatever the umask is: they are other users */
		check(chmod(f->folder, 0755) == 0 && fchmod(f->fd, 0644) == 0, f->folder);
	for (unsigned i = 0; i < f->n; i++)
		start_follower(f, i);
	while (atomic_load(&f->shared->waiting) < f->n)
		sleep_us(1000);
	sleep_us(f->how == BY_TAIL ? 500000 : 20000);
}

static void write_one(struct fan *f, const char *record)
{
	for (unsigned i = 0; i < (f->how == BY_PIPE ? f->n : 1); i++)
		check(write(f->how == BY_PIPE ? f->pipes[i][1] : f->fd, record,
			    RECORD_BYTES) == RECORD_BYTES,
		      "write");
}

/* Until the last follower has it, in ns. */
static uint64_t one_record(struct fan *f, const char *record)
{
	struct timespec until;
	uint64_t began;

	atomic_store(&f->shared->done, 0);
	atomic_store(&f->shared->last_ns, 0);
	began = bench_now_ns();
	write_one(f, record);
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 60;
	while (sem_timedwait(&f->shared->all, &until) < 0)
		check(errno == EINTR, "a follower that does not get a record");
	sleep_us(500 + f->n * 20); /* until they wait again */
	return atomic_load(&f->shared->last_ns) - began;
}

enum { P50, P95, P99, QUANTILES };

static void fan_round(const char *folder, enum how how, unsigned n, unsigned times,
		      double ret[QUANTILES])
{
	static const double quantile[QUANTILES] = { 0.5, 0.95, 0.99 };
	char record[RECORD_BYTES];
	struct fan f = { .how = how, .n = n, .folder = folder };
	struct samples s;

	bench_text(record, sizeof(record), 1);
	snprintf(f.path, sizeof(f.path), "%s/" FAN_NAME, folder);
	fan_start(&f);
	samples_new(&s, times);
	for (unsigned i = 0; i < times + 10; i++) {
		uint64_t took = one_record(&f, record);

		if (i >= 10)
			s.ns[s.n++] = took;
	}
	for (int q = 0; q < QUANTILES; q++)
		ret[q] = samples_us(&s, quantile[q]);
	samples_release(&s);
	fan_stop(&f);
}

static void print_fan(unsigned n, struct series of[HOWS][QUANTILES])
{
	static const char *name[QUANTILES] = { "p50", "p95", "p99" };
	char work[64];

	for (int q = 0; q < QUANTILES; q++) {
		struct target most = { TARGET_RATIO_AT_MOST, n == 1 ? 2.3 : 1.7 };

		snprintf(work, sizeof(work), "wake of %u followers, %s", n, name[q]);
		row_print(&(struct row) { work, "us", "inotify", "pipes",
					  &of[BY_INOTIFY][q], &of[BY_PIPE][q],
					  &of[BY_VIEW][q],
					  q == P50 && (n == 1 || n == 64)
						  ? most
						  : (struct target) { TARGET_NONE, 0 } });
	}
	for (int q = 0; q < QUANTILES && of[BY_TAIL][q].n; q++) {
		snprintf(work, sizeof(work), "wake of %u followers, %s", n, name[q]);
		row_print(&(struct row) { work,
					  "us",
					  "tail -f",
					  NULL,
					  &of[BY_TAIL][q],
					  NULL,
					  &of[BY_VIEW][q],
					  { TARGET_NONE, 0 } });
	}
}

/* Each waiter with inotify, and each tail, takes one of those a user may have; as root each is of
 * another user. */
static unsigned inotify_max(void)
{
	FILE *f = fopen("/proc/sys/fs/inotify/max_user_instances", "re");
	unsigned n = 0;

	if (f && fscanf(f, "%u", &n) != 1)
		n = 0;
	if (f)
		fclose(f);
	return n;
}

static void measure_fan(const struct queue_bench *b, const char *queues, const char *only)
{
	static const unsigned counts[] = { 1, 8, 64, 256 };
	unsigned limit = geteuid() ? inotify_max() : UINT_MAX;

	for (int i = 0; i < 4; i++) {
		unsigned n = counts[i],
			 times = (b->quick ? 400 : 2000) / (n < 8 ? 1 : n / 4);
		struct series of[HOWS][QUANTILES] = { 0 };
		char work[64];
		double us[QUANTILES];

		snprintf(work, sizeof(work), "wake of %u followers", n);
		if (!strstr(work, only))
			continue;
		times = b->smoke ? 5 : times < 40 ? 40 : times;
		for (unsigned r = 0; r < b->rounds; r++)
			for (int how = 0; how < HOWS; how++) {
				if (n >= limit && (how == BY_TAIL || how == BY_INOTIFY))
					continue;
				fan_round(how == BY_VIEW ? queues : b->plain, how, n,
					  times, us);
				for (int q = 0; q < QUANTILES; q++)
					series_add(&of[how][q], us[q]);
			}
		print_fan(n, of);
		if (n >= limit)
			row_note("fs.inotify.max_user_instances is %u: no rows of "
				 "inotify and tail -f",
				 limit);
	}
}

void queue_bench_run(const struct queue_bench *b, const char *only)
{
	char queues[4096], path[4200];

	if (!b->mount)
		return;
	make_folder(b->mount, queues);
	measure_appends(b, queues, only);
	measure_fan(b, queues, only);
	snprintf(path, sizeof(path), "%s/log", queues);
	unlink(path);
	snprintf(path, sizeof(path), "%s/log", b->plain);
	unlink(path);
	check(rmdir(queues) == 0, queues);
}
