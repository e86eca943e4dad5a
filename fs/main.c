/* main.c - ropefs: mounts a store, and ends well.
 *
 *	main() ── fork ──▶ serve(): open the store ▶ mount ▶ loops ▶ stat the mount ▶ ready
 *	   │ waits for "ready" or the exit status          │
 *	   ▼                                               ▼  SIGTERM, SIGINT, SIGHUP, unmount
 *	exits with it                       shut_down(): unmount ▶ drain ▶ close the store
 */
#include "fs/mount.h"
#include "fs/options.h"
#include "fs/report.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef HAVE_SYSTEMD
#include <systemd/sd-daemon.h>
#else
static int sd_notify(int unset, const char *state)
{
	(void)unset;
	(void)state;
	return 0;
}
#endif

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

/* Tells the waiting parent, and lets go of its terminal. */
static void go_to_background(int ready_fd)
{
	const char ready = 0;
	int null;

	if (ready_fd < 0)
		return;
	report_to_syslog();
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null >= 0) {
		dup2(null, STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
		dup2(null, STDERR_FILENO);
		close(null);
	}
	if (chdir("/") < 0)
		report("/: %s", strerror(errno));
	if (write(ready_fd, &ready, 1) != 1)
		report("the program that started me has ended");
	close(ready_fd);
}

static int serve(const struct options *o, int ready_fd)
{
	struct mounted *m;
	sigset_t ends;
	int status, got;

	harden(&ends);
	status = mount_start(o, &m);
	if (status)
		return status;
	go_to_background(ready_fd);
	report_fuse_live();
	sd_notify(0, "READY=1");
	sigwait(&ends, &got);
	sd_notify(0, "STOPPING=1");
	return mount_end(m);
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

static int serve_in_background(const struct options *o)
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
		return serve(o, fds[1]);
	}
	close(fds[1]);
	status = wait_ready(fds[0], child);
	close(fds[0]);
	return status;
}

int main(int argc, char **argv)
{
	struct options o;
	int status = options_parse(argc, argv, &o);

	if (status != OPTIONS_RUN)
		return status;
	report_fuse();
	status = o.foreground ? serve(&o, -1) : serve_in_background(&o);
	options_release(&o);
	return status;
}
