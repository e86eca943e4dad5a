#include "fs/wire.h"

#include "fs/adapt.h"
#include "fs/daemon.h"

#include <assert.h>
#include <errno.h>
#include <linux/fuse.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

/* Of 64 bits of INIT flags; newer than this machine's header may be. */
#define WIRE_KILLPRIV_V2       ((uint64_t)1 << 28)
#define WIRE_SETXATTR_EXT      ((uint64_t)1 << 29)
#define WIRE_INIT_EXT	       ((uint64_t)1 << 30)
#define WIRE_DIRECT_ALLOW_MMAP ((uint64_t)1 << 36)

enum {
	BACKGROUND = 64,
	STOP_POLL_US = 2000,
};

void wire_init(void *userdata, struct fuse_conn_info *conn)
{
	static const unsigned wanted = FUSE_CAP_ASYNC_READ | FUSE_CAP_ATOMIC_O_TRUNC |
				       FUSE_CAP_ASYNC_DIO | FUSE_CAP_PARALLEL_DIROPS |
				       FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO |
				       FUSE_CAP_CACHE_SYMLINKS | FUSE_CAP_POSIX_ACL |
				       FUSE_CAP_DONT_MASK | FUSE_CAP_EXPLICIT_INVAL_DATA;

	struct daemon *d = userdata;

	/* Pages are dropped only where we say so (notify.h), not with each change of mtime:
	 * that would cost the whole file's pages at each read after a write. Not wanted, among
	 * others: the writeback cache (the kernel would own the size), the first killpriv (it
	 * would not tell us who may keep set-id bits), splice (slower for bytes that are made in
	 * memory). */
	conn->want = conn->capable & wanted;
	d->acl = conn->want & FUSE_CAP_POSIX_ACL;
	conn->max_background = BACKGROUND;
	conn->congestion_threshold = BACKGROUND * 3 / 4;
}

static ssize_t wire_read(int fd, void *p, size_t n, void *userdata)
{
	struct daemon *d = userdata;
	struct fuse_in_header in;
	struct fuse_init_in init = { 0 };
	ssize_t got = read(fd, p, n);

	if (got < (ssize_t)sizeof(in))
		return got;
	memcpy(&in, p, sizeof(in));
	if (in.opcode == FUSE_INIT) {
		size_t body = (size_t)got - sizeof(in);

		memcpy(&init, (char *)p + sizeof(in),
		       body < sizeof(init) ? body : sizeof(init));
		d->init_offered = init.flags;
		if (init.flags & WIRE_INIT_EXT)
			d->init_offered |= (uint64_t)init.flags2 << 32;
		atomic_store(&d->init_unique, in.unique);
		return got;
	}
	return (ssize_t)adapt_request(d, p, (size_t)got);
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
	return writev(fd, patched, 2);
}

static ssize_t wire_writev(int fd, struct iovec *iov, int count, void *userdata)
{
	const struct fuse_out_header *head = iov[0].iov_base;
	struct daemon *d = userdata;
	uint64_t init = atomic_load_explicit(&d->init_unique, memory_order_relaxed);

	if (init && count == 2 && head->unique == init && head->error == 0 &&
	    iov[1].iov_len == sizeof(struct fuse_init_out)) {
		atomic_store(&d->init_unique, 0);
		return write_init(fd, iov, d);
	}
	return adapt_reply(d, fd, iov, count);
}

int wire_attach(struct daemon *d)
{
	static const struct fuse_custom_io io = { .read = wire_read,
						  .writev = wire_writev };
	int r = fuse_session_custom_io(d->session, &io, fuse_session_fd(d->session));

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

static void *loop(void *arg)
{
	struct loops *l = arg;
	struct fuse_session *session = l->d->session;
	struct fuse_buf buf = { 0 };

	while (!fuse_session_exited(session)) {
		int r;

		if (!has_turn && sem_wait(&l->turns) < 0)
			continue;
		has_turn = l;
		r = fuse_session_receive_buf(session, &buf);
		if (r == -EINTR || r == -EAGAIN)
			continue;
		if (r <= 0)
			break;
		fuse_session_process_buf(session, &buf);
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
	l->n = 0;
}
