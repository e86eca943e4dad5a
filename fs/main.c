/* main.c - ropefs: mounts a store, and ends well.
 *
 *	main() ── fork ──▶ serve(): open the store ▶ mount ▶ loops ▶ stat the mount ▶ ready
 *	   │ waits for "ready" or the exit status          │
 *	   ▼                                               ▼  SIGTERM, SIGINT, SIGHUP, unmount
 *	exits with it                       shut_down(): unmount ▶ drain ▶ close the store
 */
#include "fs/background.h"
#include "fs/bucket.h"
#include "fs/fleet.h"
#include "fs/keep.h"
#include "fs/mount.h"
#include "fs/options.h"
#include "fs/remount.h"
#include "fs/report.h"
#include "fs/supervise.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* Keys are in memory: no core, no ptrace by others. Signals are taken by sigwait(). */
static void harden(sigset_t *ret_ends)
{
	const struct rlimit none = { 0 };

	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	setrlimit(RLIMIT_CORE, &none);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	sigemptyset(ret_ends);
	sigaddset(ret_ends, SIGTERM);
	sigaddset(ret_ends, SIGINT);
	sigaddset(ret_ends, SIGHUP);
	pthread_sigmask(SIG_BLOCK, ret_ends, NULL);
}

/* 0, or SIGUSR1 when another daemon is to take over. */
static int wait_end(const sigset_t *ends)
{
	int got = 0;

	sigwait(ends, &got);
	return got == SIGUSR1 ? SIGUSR1 : 0;
}

static int serve(const struct options *o, int ready_fd)
{
	struct mounted *m;
	sigset_t ends;
	int status;

	harden(&ends);
	status = mount_start(o, NULL, &m);
	if (status)
		return status;
	go_to_background(ready_fd);
	report_fuse_live();
	notify_init("READY=1");
	wait_end(&ends);
	notify_init("STOPPING=1");
	return mount_end(m);
}

static int serve_seat(const struct options *o, const struct seat *seat)
{
	struct mounted *m;
	sigset_t ends;
	int status = 1, r;

	harden(&ends);
	sigaddset(&ends, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &ends, NULL);
	if (seat->took_over && !o->foreground)
		leave_terminal();
	r = keep_open(seat->keep, seat->took_over);
	if (r >= 0)
		r = keep_open_files(seat->keep);
	if (r == -EPROTO)
		report("%s: this program, " ROPEFS_VERSION
		       ", can't take over from the version "
		       "that the mount was made with; to use it, unmount and mount again",
		       o->mountpoint);
	else if (r < 0)
		report("the supervisor's memory: %s", strerror(-r));
	else
		status = mount_start(o, seat, &m);
	if (status)
		return status;
	if (!seat->took_over && !o->foreground)
		leave_terminal();
	report_fuse_live();
	if (wait_end(&ends) == SIGUSR1) {
		mount_leave(m);
		_exit(SUPERVISE_AGAIN);
	}
	seat_ending(seat);
	return mount_end(m);
}

/* Keys of a bucket don't stay where /proc shows them, whether or not this one needs any. 0, or 1
 * having reported that it does, and can't have them. */
static int take_credentials(const struct options *o)
{
	int r = ropefs_credentials_take();

	if (r == 0 || !(o->fleet || bucket_is(o->store)))
		return 0;
	report("%s", *ropefs_error() ? ropefs_error() : ropefs_error_text(r));
	return 1;
}

/* Serves, or looks after who does. */
static int run(const struct options *o, char **argv, int ready_fd)
{
	sigset_t ends;

	if (take_credentials(o))
		return 1;
	if (o->fleet) {
		harden(&ends);
		pthread_sigmask(SIG_UNBLOCK, &ends, NULL);
		return fleet_serve(o, ready_fd);
	}
	if (!o->supervise)
		return serve(o, ready_fd);
	harden(&ends);
	return supervise(o, argv, o->first_word, ready_fd, serve_seat);
}

/* The child's exit status, or 0 once it is ready. */
static int wait_ready(int fd, pid_t child)
{
	ssize_t n;
	char ready;
	int status;

	do
		n = read(fd, &ready, 1);
	while (n < 0 && errno == EINTR);
	if (n == 1)
		return 0;
	if (waitpid(child, &status, 0) == child && WIFEXITED(status) &&
	    WEXITSTATUS(status))
		return WEXITSTATUS(status);
	report("the daemon died while it started");
	return 1;
}

static int run_in_background(const struct options *o, char **argv)
{
	int fds[2], status;
	pid_t child;

	if (pipe2(fds, O_CLOEXEC) < 0 || (child = fork()) < 0) {
		report("cannot go to the background: %s", strerror(errno));
		return 1;
	}
	if (child == 0) {
		close(fds[0]);
		setsid();
		return run(o, argv, fds[1]);
	}
	close(fds[1]);
	ropefs_credentials_take(); /* the child has its own */
	status = wait_ready(fds[0], child);
	close(fds[0]);
	return status;
}

/* glibc gives each thread a heap of its own, up to eight times as many as there are cores, and what
 * is freed in one is not there for the others. Writes go through many threads while memory is
 * short: with memory=64M the peak of a stream of writes was 150 MB, and is 95. */
static void share_heaps(void)
{
	mallopt(M_ARENA_MAX, 2);
}

int main(int argc, char **argv)
{
	struct options o;
	struct seat seat;
	bool seated = supervise_seat(&seat);
	int status;

	if (supervise_asked(argc, argv, &status))
		return status;
	status = options_parse(argc, argv, seated, &o);
	if (status != OPTIONS_RUN)
		return status;
	report_fuse();
	share_heaps();
	if (o.remount)
		status = remount(&o);
	else if (seated)
		status = take_credentials(&o) ? 1 : serve_seat(&o, &seat);
	else
		status = o.foreground ? run(&o, argv, -1) : run_in_background(&o, argv);
	options_release(&o);
	return status;
}
