#include "fs/supervise.h"

#include "fs/background.h"
#include "fs/keep.h"
#include "fs/report.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SEAT_ENV    "ROPEFS_SEAT" /* SUPERVISOR,CONNECTION,LOCK,KEEP */
#define ASK_OPTION  "--takes-over"
#define OWN_PROGRAM "/proc/self/exe" /* also when another one is installed in its place */

enum {
	LOOK_MS = 250, /* how soon a worker that is stuck while it dies is noticed */
	FAILURES_MAX = 6, /* workers in a row that did not come up */
	FAILURE_MS = 250, /* before the next; doubled with each */
	KILLED_MS =
		30000, /* one killed while it comes up counts once none has for so long */
	SAY_READY = 'R',
	SAY_ENDING = 'E',
};

struct supervisor {
	const struct options *o;
	char **argv; /* of the next worker */
	char exe[4096];
	int ready_fd;
	int signals; /* a signalfd */
	int ours, theirs; /* ends of the workers' socket */
	int connection, lock, keep;
	pid_t worker;
	pid_t asked; /* whether the program can take over, before a restart; 0: nobody */
	bool ready; /* the worker serves */
	bool ending; /* it will end by itself, or has been asked to */
	unsigned failures;
	uint64_t beats; /* when they changed last */
	int64_t looked_ms, still_ms; /* since then, as far as the supervisor itself ran */
	int64_t ready_ms; /* when a worker came up last */
};

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* --- the worker's side --- */

static void say(int fd, char what, const int *fds, size_t n)
{
	union {
		char space[CMSG_SPACE(2 * sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec iov = { &what, 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *c;

	if (n) {
		m.msg_control = control.space;
		m.msg_controllen = CMSG_SPACE(n * sizeof(int));
		c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(n * sizeof(int));
		memcpy(CMSG_DATA(c), fds, n * sizeof(int));
	}
	if (sendmsg(fd, &m, MSG_NOSIGNAL) != 1)
		report("the supervisor is gone: if this daemon dies, nobody takes over");
}

void seat_ready(const struct seat *seat, int connection, int lock)
{
	const int fds[] = { connection, lock };

	say(seat->supervisor, SAY_READY, fds, connection < 0 ? 0 : 2);
}

void seat_ending(const struct seat *seat)
{
	say(seat->supervisor, SAY_ENDING, NULL, 0);
}

bool supervise_seat(struct seat *ret)
{
	const char *words = getenv(SEAT_ENV);
	struct seat s = { .took_over = true };

	if (!words || sscanf(words, "%d,%d,%d,%d", &s.supervisor, &s.connection, &s.lock,
			     &s.keep) != 4)
		return false;
	unsetenv(SEAT_ENV);
	fcntl(s.supervisor, F_SETFD, FD_CLOEXEC);
	fcntl(s.connection, F_SETFD, FD_CLOEXEC);
	fcntl(s.lock, F_SETFD, FD_CLOEXEC);
	fcntl(s.keep, F_SETFD, FD_CLOEXEC);
	*ret = s;
	return true;
}

/* --- starting workers --- */

static void worker_signals(void)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

bool supervise_asked(int argc, char **argv, int *ret)
{
	if (argc != 3 || strcmp(argv[1], ASK_OPTION) != 0)
		return false;
	*ret = strtoull(argv[2], NULL, 16) != keep_stamp();
	return true;
}

static void exec_question(struct supervisor *s)
{
	char stamp[32];
	char *const argv[] = { s->argv[0], (char *)(uintptr_t)ASK_OPTION, stamp, NULL };

	snprintf(stamp, sizeof(stamp), "%" PRIx64, keep_stamp());
	worker_signals();
	execv(s->exe, argv);
	_exit(1);
}

static void exec_worker(struct supervisor *s)
{
	const char *program = s->failures ? OWN_PROGRAM : s->exe;
	char words[64];

	snprintf(words, sizeof(words), "%d,%d,%d,%d", s->theirs, s->connection, s->lock,
		 s->keep);
	fcntl(s->theirs, F_SETFD, 0);
	fcntl(s->connection, F_SETFD, 0);
	fcntl(s->lock, F_SETFD, 0);
	fcntl(s->keep, F_SETFD, 0);
	setenv(SEAT_ENV, words, 1);
	worker_signals();
	execv(program, s->argv);
	report("%s: %s", program, strerror(errno));
	_exit(1);
}

static int start_next(struct supervisor *s)
{
	s->ready = false;
	s->worker = fork();
	if (s->worker == 0)
		exec_worker(s);
	return s->worker < 0 ? -errno : 0;
}

static int start_first(struct supervisor *s,
		       int (*first)(const struct options *o, const struct seat *seat))
{
	const struct seat seat = { s->theirs, -1, -1, s->keep, false };

	s->worker = fork();
	if (s->worker)
		return s->worker < 0 ? -errno : 0;
	close(s->ours);
	close(s->signals);
	if (s->ready_fd >= 0)
		close(s->ready_fd);
	worker_signals();
	exit(first(s->o, &seat));
}

/* The command line with what is relative to a folder made absolute: the supervisor leaves it. */
static char **argv_absolute(const struct options *o, char **argv, int first_word)
{
	char **to = calloc((size_t)first_word + 5, sizeof(*to));
	int n = 0;

	if (!to)
		return NULL;
	for (; n < first_word; n++)
		to[n] = argv[n];
	if (n && strcmp(to[n - 1], "--") == 0)
		n--;
	if (o->key_file) {
		to[n++] = (char *)(uintptr_t) "--key-file";
		to[n++] = o->key_file;
	}
	to[n++] = o->store;
	to[n] = o->mountpoint;
	return to;
}

/* --- what workers say --- */

static void take_fds(struct supervisor *s, struct msghdr *m)
{
	struct cmsghdr *c = CMSG_FIRSTHDR(m);
	int fds[2];

	if (!c || c->cmsg_type != SCM_RIGHTS || c->cmsg_len != CMSG_LEN(sizeof(fds)))
		return;
	memcpy(fds, CMSG_DATA(c), sizeof(fds));
	s->connection = fds[0];
	s->lock = fds[1];
}

static void hear(struct supervisor *s)
{
	union {
		char space[CMSG_SPACE(2 * sizeof(int))];
		struct cmsghdr align;
	} control;
	char what = 0;
	struct iovec iov = { &what, 1 };
	struct msghdr m = { .msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = control.space,
			    .msg_controllen = sizeof(control.space) };

	if (recvmsg(s->ours, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) != 1)
		return;
	if (what == SAY_ENDING)
		s->ending = true;
	if (what != SAY_READY)
		return;
	take_fds(s, &m);
	s->ready = true;
	s->failures = 0;
	s->ready_ms = now_ms();
	s->still_ms = 0;
	go_to_background(s->ready_fd);
	s->ready_fd = -1;
	notify_init("READY=1");
}

/* --- how workers end --- */

static bool is_dead(pid_t pid, pid_t tid)
{
	char path[64], state = 'X';
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", (int)pid, (int)tid);
	f = fopen(path, "re");
	if (!f)
		return true;
	if (fscanf(f, "%*d (%*[^)]) %c", &state) != 1)
		state = 'X';
	fclose(f);
	return state == 'Z' || state == 'X';
}

/* The threads of pid that are not dead yet, at most max. */
static int threads_left(pid_t pid, pid_t *ret_tids, int max)
{
	char path[300];
	struct dirent *e;
	int n = 0;
	DIR *tasks;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	tasks = opendir(path);
	if (!tasks)
		return -errno;
	while (n < max && (e = readdir(tasks))) {
		pid_t tid = (pid_t)strtol(e->d_name, NULL, 10);

		if (tid > 0 && !is_dead(pid, tid))
			ret_tids[n++] = tid;
	}
	closedir(tasks);
	return n;
}

/* Killed, but not dead: threads of it wait in the kernel for replies to requests of this mount,
 * which only the next worker can give. They touch nothing of the store. (One that lives, or is at
 * work, has other threads.) */
static bool is_stuck(pid_t pid)
{
	pid_t tids[KEEP_WAITS + 1];
	int n = threads_left(pid, tids, KEEP_WAITS + 1);

	if (n <= 0)
		return false;
	for (int i = 0; i < n; i++)
		if (!keep_waits(tids[i]))
			return false;
	return true;
}

/* The next one, because this one died by a signal or ended. */
static bool go_on(struct supervisor *s, bool killed)
{
	int r;

	if (!s->ready)
		s->failures += !killed || now_ms() - s->ready_ms > KILLED_MS;
	if (s->failures) {
		if (s->failures > FAILURES_MAX) {
			report("%s: no daemon comes up any more; whoever uses the mount "
			       "gets errors now, unmount it",
			       s->o->mountpoint);
			return false;
		}
		usleep(1000 * (FAILURE_MS << s->failures));
	}
	r = start_next(s);
	if (r < 0)
		report("cannot start another daemon: %s", strerror(-r));
	return r >= 0;
}

/* -1: another one goes on; else the supervisor's exit status. */
static int worker_ended(struct supervisor *s, int status)
{
	bool again = WIFEXITED(status) && WEXITSTATUS(status) == SUPERVISE_AGAIN;

	s->worker = 0;
	if (WIFEXITED(status) && !again && (s->ready || s->connection < 0 || s->ending))
		return WEXITSTATUS(status);
	if (s->connection < 0) {
		report("the daemon died while it started");
		return 1;
	}
	if (s->ending && !again)
		return 1;
	if (s->ready && !again)
		report("%s: the daemon died of signal %d; another takes over",
		       s->o->mountpoint, WTERMSIG(status));
	s->ending = false;
	return go_on(s, WIFSIGNALED(status)) ? -1 : 1;
}

static void refuse_restart(struct supervisor *s)
{
	report("%s: not restarted: %s can't take over from the version that runs; "
	       "unmount and mount again",
	       s->o->mountpoint, s->exe);
	keep_refuse_restart();
}

/* A new daemon is wanted: can it go on? Else this one had better stay. */
static void ask(struct supervisor *s)
{
	if (s->asked)
		return;
	s->asked = fork();
	if (s->asked == 0)
		exec_question(s);
	if (s->asked > 0)
		return;
	s->asked = 0;
	refuse_restart(s);
}

static void answered(struct supervisor *s, int status)
{
	s->asked = 0;
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		refuse_restart(s);
	else if (s->worker)
		kill(s->worker, SIGUSR1);
}

static int reap(struct supervisor *s)
{
	int status, r = -1;
	pid_t pid;

	while (r < 0 && (pid = waitpid(-1, &status, WNOHANG)) > 0)
		if (pid == s->worker)
			r = worker_ended(s, status);
		else if (pid == s->asked)
			answered(s, status);
	if (r < 0 && s->worker && is_stuck(s->worker)) {
		report("%s: the daemon was killed; another takes over", s->o->mountpoint);
		r = go_on(s, true) ? -1 : 1;
	}
	return r;
}

/* Where the whole machine stood still, the supervisor did, too: that is not the daemon's fault. */
static void watch(struct supervisor *s)
{
	uint64_t beats = keep_beats();
	int64_t now = now_ms(), since = now - s->looked_ms;

	s->looked_ms = now;
	if (beats != s->beats || !s->ready || s->ending) {
		s->beats = beats;
		s->still_ms = 0;
		return;
	}
	s->still_ms += since < 2 * LOOK_MS ? since : 2 * LOOK_MS;
	if (!s->o->watchdog_s || s->still_ms < (int64_t)s->o->watchdog_s * 1000)
		return;
	report("%s: the daemon has not moved for %u s and is killed", s->o->mountpoint,
	       s->o->watchdog_s);
	kill(s->worker, SIGKILL);
	s->still_ms = 0;
}

static void take_signals(struct supervisor *s)
{
	struct signalfd_siginfo got;

	while (read(s->signals, &got, sizeof(got)) == sizeof(got)) {
		if (got.ssi_signo == SIGCHLD || !s->worker)
			continue;
		if (got.ssi_signo == SIGUSR1) {
			ask(s);
			continue;
		}
		s->ending = true;
		kill(s->worker, SIGTERM);
	}
}

static int look_after(struct supervisor *s)
{
	struct pollfd fds[] = { { s->signals, POLLIN, 0 }, { s->ours, POLLIN, 0 } };
	int status;

	for (;;) {
		poll(fds, 2, LOOK_MS);
		hear(s);
		take_signals(s);
		status = reap(s);
		if (status >= 0)
			return status;
		watch(s);
	}
}

static int set_up(struct supervisor *s)
{
	sigset_t mine;
	ssize_t n = readlink("/proc/self/exe", s->exe, sizeof(s->exe) - 1);
	int pair[2];

	if (n <= 0 || !s->argv)
		return -ENOENT;
	sigemptyset(&mine);
	sigaddset(&mine, SIGCHLD);
	sigaddset(&mine, SIGTERM);
	sigaddset(&mine, SIGINT);
	sigaddset(&mine, SIGHUP);
	sigaddset(&mine, SIGUSR1);
	sigprocmask(SIG_BLOCK, &mine, NULL);
	s->signals = signalfd(-1, &mine, SFD_CLOEXEC | SFD_NONBLOCK);
	if (s->signals < 0 ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	s->ours = pair[0];
	s->theirs = pair[1];
	s->keep = keep_new();
	return s->keep < 0 ? s->keep : keep_open(s->keep, false);
}

int supervise(const struct options *o, char **argv, int first_word, int ready_fd,
	      int (*first)(const struct options *o, const struct seat *seat))
{
	struct supervisor s = {
		.o = o,
		.argv = argv_absolute(o, argv, first_word),
		.ready_fd = ready_fd,
		.connection = -1,
		.lock = -1,
	};
	int r = set_up(&s);

	if (r >= 0)
		r = start_first(&s, first);
	if (r < 0) {
		report("cannot supervise: %s", strerror(-r));
		return 1;
	}
	r = look_after(&s);
	notify_init("STOPPING=1");
	free(s.argv);
	return r;
}
