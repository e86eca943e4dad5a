#include "fs/wire.h"

#include "fs/adapt.h"
#include "fs/daemon.h"
#include "fs/keep.h"
#include "fs/kept.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#define NO_RESEND_ENV "ROPEFS_TEST_NO_RESEND" /* for tests: as on Linux before 6.9 */
/* For tests: each of the first so many workers dies when it has made a change, and not said so. */
#define DIE_ENV "ROPEFS_TEST_DIE_UNANSWERED"

/* Of 64 bits of INIT flags; newer than this machine's header may be. */
#define WIRE_KILLPRIV_V2       ((uint64_t)1 << 28)
#define WIRE_SETXATTR_EXT      ((uint64_t)1 << 29)
#define WIRE_INIT_EXT	       ((uint64_t)1 << 30)
#define WIRE_DIRECT_ALLOW_MMAP ((uint64_t)1 << 36)
#define WIRE_HAS_RESEND	       ((uint64_t)1 << 39)
#define WIRE_NOTIFY_RESEND     7

enum {
	BACKGROUND = 64,
	STOP_POLL_US = 2000,
	RECEIVE_PAGES = 256, /* that libfuse takes, and a head */
	RECEIVE_HEAD = 64 << 10,
	STILL_S = 30, /* a loop waits for a sync of the log at most */
	READ_TRIES = 100, /* in a row */
	READ_WAIT_US = 10000,
};

void wire_init(void *userdata, struct fuse_conn_info *conn)
{
	static const unsigned wanted =
		FUSE_CAP_ASYNC_READ | FUSE_CAP_ATOMIC_O_TRUNC | FUSE_CAP_PARALLEL_DIROPS |
		FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO |
		FUSE_CAP_CACHE_SYMLINKS | FUSE_CAP_POSIX_ACL | FUSE_CAP_EXPORT_SUPPORT |
		FUSE_CAP_DONT_MASK | FUSE_CAP_EXPLICIT_INVAL_DATA | FUSE_CAP_IOCTL_DIR;

	struct daemon *d = userdata;

	/* Pages are dropped only where we say so (notify.h), not with each change of mtime:
	 * that would cost the whole file's pages at each read after a write. Not wanted, among
	 * others: the writeback cache (the kernel would own the size), the first killpriv (it
	 * would not tell us who may keep set-id bits), asynchronous direct I/O (the kernel would
	 * keep a page that is read while such a write is under way), splice (slower for bytes
	 * that are made in memory). */
	conn->want = conn->capable & wanted;
	/* But a file that grows elsewhere must not be read with zeros behind its old end. */
	if (d->of_bucket) {
		conn->want &=
			~(unsigned)FUSE_CAP_EXPLICIT_INVAL_DATA | FUSE_CAP_IOCTL_DIR;
		conn->want |= conn->capable & FUSE_CAP_AUTO_INVAL_DATA;
	}
	d->acl = conn->want & FUSE_CAP_POSIX_ACL;
	conn->max_background = BACKGROUND;
	conn->congestion_threshold = BACKGROUND * 3 / 4;
}

static void note_init(struct daemon *d, const struct fuse_in_header *in, const void *p,
		      size_t n)
{
	struct fuse_init_in init = { 0 };

	memcpy(&init, p, n < sizeof(init) ? n : sizeof(init));
	d->init_offered = init.flags;
	if (init.flags & WIRE_INIT_EXT)
		d->init_offered |= (uint64_t)init.flags2 << 32;
	if (getenv(NO_RESEND_ENV))
		d->init_offered &= ~WIRE_HAS_RESEND;
	atomic_store(&d->init_unique, in->unique);
}

/* A kernel that can't send requests again ends those of a queue that closes: each worker has
 * a queue of its own there, and dies with it. */
static void own_queue(struct daemon *d, int fd)
{
	uint32_t first = (uint32_t)fd;
	int queue;

	if (!keep_is_open() || d->init_offered & WIRE_HAS_RESEND)
		return;
	queue = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (queue >= 0 && ioctl(queue, FUSE_DEV_IOC_CLONE, &first) < 0) {
		close(queue);
		queue = -1;
	}
	d->queue = queue;
}

/* In the place of the kernel, which said it to the first worker. */
static ssize_t read_init_again(struct daemon *d, int fd, void *p, size_t n)
{
	struct fuse_in_header in;
	size_t got = keep_init(p, n);

	if (got < sizeof(in)) {
		errno = EIO;
		return -1;
	}
	memcpy(&in, p, sizeof(in));
	note_init(d, &in, (char *)p + sizeof(in), got - sizeof(in));
	own_queue(d, fd);
	return (ssize_t)got;
}

/* Who polls waits in the kernel to be told; the next daemon must know. */
static void note_poll(const void *p, size_t n)
{
	struct fuse_poll_in poll;

	if (n < sizeof(poll))
		return;
	memcpy(&poll, p, sizeof(poll));
	if (poll.flags & FUSE_POLL_SCHEDULE_NOTIFY)
		kept_polled(poll.fh, poll.kh);
}

static ssize_t wire_read(int fd, void *p, size_t n, void *userdata)
{
	struct daemon *d = userdata;
	struct fuse_in_header in;
	ssize_t got;

	if (d->took_over && !atomic_exchange(&d->init_read, true))
		return read_init_again(d, fd, p, n);
	got = spin_read(&d->spin, d->queue >= 0 ? d->queue : fd, p, n);
	if (got < (ssize_t)sizeof(in))
		return got;
	memcpy(&in, p, sizeof(in));
	keep_request(in.unique);
	if (in.opcode == FUSE_INIT) {
		note_init(d, &in, (char *)p + sizeof(in), (size_t)got - sizeof(in));
		keep_save_init(p, (size_t)got);
		return got;
	}
	if (in.opcode == FUSE_POLL)
		note_poll((char *)p + sizeof(in), (size_t)got - sizeof(in));
	return (ssize_t)adapt_request(d, p, (size_t)got);
}

/* The kernel has its answer to INIT already. What the worker before had taken and not answered
 * comes again. */
static ssize_t ask_again(const struct daemon *d, int fd, ssize_t done)
{
	const struct fuse_out_header resend = { .len = sizeof(resend),
						.error = WIRE_NOTIFY_RESEND };

	if (!(d->init_offered & WIRE_HAS_RESEND))
		return done;
	return write(fd, &resend, sizeof(resend)) < 0 ? -1 : done;
}

/* The reply to INIT with what libfuse doesn't know of. */
static ssize_t write_init(int fd, const struct iovec *iov, struct daemon *d)
{
	uint64_t add = d->init_offered &
		       (WIRE_KILLPRIV_V2 | WIRE_SETXATTR_EXT | WIRE_DIRECT_ALLOW_MMAP);
	struct fuse_init_out out;
	struct iovec patched[2] = { iov[0], { &out, sizeof(out) } };

	if (!(d->init_offered & WIRE_INIT_EXT))
		add &= WIRE_KILLPRIV_V2 | WIRE_SETXATTR_EXT;
	memcpy(&out, iov[1].iov_base, sizeof(out));
	out.flags |= (uint32_t)add;
	out.flags2 |= (uint32_t)(add >> 32);
	if (out.flags2)
		out.flags |= (uint32_t)WIRE_INIT_EXT;
	atomic_store(&d->killpriv, add & WIRE_KILLPRIV_V2);
	d->setxattr_ext = add & WIRE_SETXATTR_EXT;
	if (d->took_over)
		return ask_again(d, fd, (ssize_t)(iov[0].iov_len + iov[1].iov_len));
	own_queue(d, fd);
	return writev(fd, patched, 2);
}

static uint64_t dying; /* DIE_ENV */

static void die_for_test(uint64_t unique)
{
	if (keep_takeovers() < dying && !(unique & UNIQUE_RESENT) &&
	    (keep_has_changed(unique) || kept_has_changed(unique)))
		raise(SIGKILL);
}

static ssize_t wire_writev(int fd, struct iovec *iov, int count, void *userdata)
{
	const struct fuse_out_header *head = iov[0].iov_base;
	struct daemon *d = userdata;
	uint64_t init = atomic_load_explicit(&d->init_unique, memory_order_relaxed);
	uint64_t unique = head->unique;
	ssize_t written;

	if (init && count == 2 && head->unique == init && head->error == 0 &&
	    iov[1].iov_len == sizeof(struct fuse_init_out)) {
		atomic_store(&d->init_unique, 0);
		return write_init(fd, iov, d);
	}
	if (dying)
		die_for_test(unique);
	written = adapt_reply(d, d->queue >= 0 ? d->queue : fd, iov, count);
	awake_replied(&d->awake);
	keep_replied(unique);
	return written;
}

int wire_attach(struct daemon *d, int fd)
{
	static const struct fuse_custom_io io = { .read = wire_read,
						  .writev = wire_writev };
	const char *die = getenv(DIE_ENV);
	int r = fuse_session_custom_io(d->session, &io, fd);

	spin_start(&d->spin, fd, !d->asleep && !d->sync);
	dying = die && keep_is_open() ? strtoull(die, NULL, 10) : 0;

	return r < 0 ? -EIO : 0;
}

static _Thread_local struct loops *has_turn; /* NULL: this thread may not take requests */

void loop_hand_over(void)
{
	struct loops *l = has_turn;

	has_turn = NULL;
	if (l)
		sem_post(&l->turns);
}

static _Thread_local atomic_llong *has_been_busy; /* busy_since of this thread */

void loop_waits(void)
{
	loop_hand_over();
	if (has_been_busy)
		atomic_store_explicit(has_been_busy, 0, memory_order_relaxed);
}

static int64_t now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
	return (int64_t)t.tv_sec + 1;
}

bool loops_stand_still(struct loops *l)
{
	bool still = false;

	for (unsigned i = 0; i < l->n; i++) {
		int64_t since =
			atomic_load_explicit(&l->busy_since[i], memory_order_relaxed);

		still |= since && now_s() - since > STILL_S;
	}
	return still;
}

/* With a supervisor a kill may come while the kernel copies a request to us. It then fails that
 * request (EIO) if it has to find memory for it: so the memory is there. Else libfuse allocates. */
static void *receive_buffer(void)
{
	size_t n = (size_t)RECEIVE_PAGES * (size_t)getpagesize() + RECEIVE_HEAD;
	void *p = keep_is_open() ? malloc(n) : NULL;

	if (p)
		memset(p, 1, n);
	return p;
}

/* The kernel could not hand a request over, and has ended that one with an error, at worst: no
 * reason to end the mount. *tries: of those in a row. */
static bool goes_on(int r, unsigned *tries)
{
	if (r == -EINTR || r == -EAGAIN)
		return true;
	if ((r != -EIO && r != -ENOMEM) || ++*tries > READ_TRIES)
		return false;
	usleep(READ_WAIT_US);
	return true;
}

static void *loop(void *arg)
{
	struct loops *l = arg;
	struct fuse_session *session = l->d->session;
	atomic_llong *busy_since = &l->busy_since[atomic_fetch_add(&l->begun, 1)];
	struct fuse_buf buf = { .mem = receive_buffer() };
	unsigned tries = 0;

	pthread_setname_np(pthread_self(), "ropefs-loop");
	has_been_busy = busy_since;
	while (!fuse_session_exited(session)) {
		int r;

		if (!has_turn && sem_wait(&l->turns) < 0)
			continue;
		has_turn = l;
		r = fuse_session_receive_buf(session, &buf);
		if (r < 0 && goes_on(r, &tries))
			continue;
		if (r <= 0)
			break;
		tries = 0;
		atomic_store_explicit(busy_since, now_s(), memory_order_relaxed);
		awake_request(&l->d->awake);
		if (!held_takes(l->d, &buf))
			fuse_session_process_buf(session, &buf);
		atomic_store_explicit(busy_since, 0, memory_order_relaxed);
	}
	loop_hand_over();
	free(buf.mem);
	pthread_kill(l->told, SIGTERM);
	return NULL;
}

static void interrupt(int signal)
{
	(void)signal;
}

int loops_start(struct loops *l, struct daemon *d, unsigned n, unsigned at_once)
{
	const struct sigaction wake = { .sa_handler = interrupt };

	assert(at_once > 0 && n >= at_once && n <= LOOPS_MAX);
	*l = (struct loops) { .d = d, .told = pthread_self() };
	sem_init(&l->turns, 0, at_once);
	sigaction(SIGUSR2, &wake, NULL);
	while (l->n < n) {
		int e = pthread_create(&l->threads[l->n], NULL, loop, l);

		if (e) {
			loops_stop(l);
			return -e;
		}
		l->n++;
	}
	return 0;
}

void loops_stop(struct loops *l)
{
	if (!l->n)
		return;
	fuse_session_exit(l->d->session);
	for (unsigned i = 0; i < l->n; i++)
		/* Again and again: a signal just before the read would not wake it. */
		while (pthread_tryjoin_np(l->threads[i], NULL) == EBUSY) {
			pthread_kill(l->threads[i], SIGUSR2);
			usleep(STOP_POLL_US);
		}
	sem_destroy(&l->turns);
	spin_stop(&l->d->spin, fuse_session_fd(l->d->session));
	l->n = 0;
}
