/* mount_verbs.c - mount, umount and sync. The daemon is a program of its own: mount becomes
 * it, umount waits for its end. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/ropefs.h"
#include "mountctl/mounts.h"
#include "mountctl/term.h"
#include "mountctl/verbs.h"

enum { RESTART_TRIES = 1200 }; /* of 50 ms */

#define DAEMON_NAME "ropefs"
/* From ropectl's folder: installed beside it, or in the build tree. */
static const char *const daemon_places[] = { DAEMON_NAME, "../fs/" DAEMON_NAME };

/* Becomes the daemon; returns only with an errno. One of our own version is preferred to
 * whatever PATH has. */
static int exec_daemon(char **argv)
{
	char self[4096];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash, *path;

	self[n < 0 ? 0 : n] = '\0';
	slash = strrchr(self, '/');
	for (size_t i = 0; slash && i < sizeof(daemon_places) / sizeof(*daemon_places);
	     i++) {
		if (asprintf(&path, "%.*s/%s", (int)(slash - self), self,
			     daemon_places[i]) < 0)
			abort();
		if (access(path, X_OK) == 0)
			execv(path, argv);
		free(path);
	}
	execvp(DAEMON_NAME, argv);
	return errno;
}

/* Such a mount answers everything with ENOTCONN, and can't be mounted over. */
static int refuse_dead_mount(const char *dir)
{
	struct mount m;
	char *real = mount_realpath(dir);
	int status = EXIT_DONE;

	if (real && mount_find(dir, &m) == 0) {
		if (!strcmp(m.dir, real) && !mount_is_alive(&m) && errno == ENOTCONN)
			status = mount_say_dead(&m);
		mount_release(&m);
	}
	free(real);
	return status;
}

int verb_mount(const struct verb *verb, int argc, char **argv)
{
	const char *mount_options = NULL, *key_file = NULL, *in_front = NULL;
	const struct verb_option options[] = {
		{ "options", 'o', true, &mount_options },
		{ "key-file", 'k', true, &key_file },
		{ "foreground", 'f', false, &in_front },
		{ 0 },
	};
	const char *words[10];
	int first, n = 0, err, status;

	if (verb_options(verb, argc, argv, options, 2, 2, &first) < 0)
		return first;
	status = refuse_dead_mount(argv[first + 1]);
	if (status)
		return status;
	words[n++] = DAEMON_NAME;
	if (in_front)
		words[n++] = "-f";
	if (key_file) {
		words[n++] = "--key-file";
		words[n++] = key_file;
	}
	if (mount_options) {
		words[n++] = "-o";
		words[n++] = mount_options;
	}
	words[n++] = "--";
	words[n++] = argv[first];
	words[n++] = argv[first + 1];
	words[n] = NULL;
	err = exec_daemon((char **)words);
	return term_say("the daemon " DAEMON_NAME
			" can't be started: %s; it belongs beside "
			"ropectl or into PATH",
			strerror(err));
}

/* Runs fusermount3, the way out for those who are not root; its own words on failure go
 * to stderr. */
static int run_fusermount(const char *dir, bool lazy)
{
	pid_t pid = fork();
	int status;

	if (pid < 0)
		return -errno;
	if (pid == 0) {
		execlp("fusermount3", "fusermount3", lazy ? "-uzq" : "-uq", "--", dir,
		       (char *)NULL);
		_exit(127);
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	return WIFEXITED(status) && WEXITSTATUS(status) == 127 ? -ENOENT : -EBUSY;
}

static bool is_ours(const struct mount *m)
{
	return getuid() == 0 || getuid() == m->user;
}

static int unmount(const struct mount *m, bool lazy)
{
	int flags = UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0);

	if (umount2(m->dir, flags) == 0)
		return 0;
	if (errno != EPERM || !is_ours(m))
		return -errno;
	return run_fusermount(m->dir, lazy);
}

/* What looks at the open files of all programs (fuser, lsof, a monitor) makes a mount busy for that
 * moment, also just after a program has ended. */
static int unmount_patiently(const struct mount *m, bool lazy)
{
	const struct timespec pause = { .tv_nsec = 100000000 };
	int r = unmount(m, lazy);

	for (int i = 0; r == -EBUSY && i < 10; i++) {
		nanosleep(&pause, NULL);
		r = unmount(m, lazy);
	}
	return r;
}

/* Of a fleet, whose folders have mounts of their own. */
static int unmount_all(const struct mount *m, bool lazy)
{
	struct mount below;
	int r;

	while (!lazy && mount_find_below(m, &below) == 0) {
		r = unmount_patiently(&below, false);
		mount_release(&below);
		if (r < 0)
			return r;
	}
	return unmount_patiently(m, lazy);
}

/* Returns once the process is gone; says so when that takes a while. */
static int wait_for_end(int pidfd, pid_t pid)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };
	bool said = false;

	for (;;) {
		int r = poll(&p, 1, said ? -1 : 2000);

		if (r > 0)
			return EXIT_DONE;
		if (r < 0 && errno != EINTR)
			return term_fail_errno(errno, "waiting for the daemon");
		if (r == 0)
			fprintf(stderr,
				"Unmounted; waiting for the daemon (pid %ld) to write "
				"what is left and close the store ...\n",
				(long)pid);
		said = true;
	}
}

static int say_umount_error(int err, const struct mount *m)
{
	const char *dir = m->dir;

	if (err == EPERM && !is_ours(m))
		return term_say(
			"%s is not yours to unmount: only the user who mounted it "
			"(uid %lu) and root may",
			dir, (unsigned long)m->user);
	if (err == EBUSY)
		return term_say(
			"%s is busy: a program has a file or its working folder there; "
			"'fuser -vm %s' or 'lsof %s' names it; end it and try again, "
			"or use --lazy",
			dir, dir, dir);
	if (err == ENOENT)
		return term_say(
			"%s: only root may unmount without the program fusermount3 "
			"(Debian package fuse3)",
			dir);
	return term_fail_errno(err, dir);
}

int verb_umount(const struct verb *verb, int argc, char **argv)
{
	const char *lazy = NULL;
	const struct verb_option options[] = { { "lazy", 'l', false, &lazy }, { 0 } };
	struct mount m;
	int first, r, pidfd = -1, status = EXIT_DONE;
	char *real;
	pid_t pid = 0;

	if (verb_options(verb, argc, argv, options, 1, 1, &first) < 0)
		return first;
	real = mount_realpath(argv[first]);
	if (!real)
		return term_fail_errno(errno, argv[first]);
	r = mount_find(argv[first], &m);
	if (r < 0 || strcmp(m.dir, real) != 0) {
		if (r == 0)
			mount_release(&m);
		free(real);
		return term_say(
			"%s is not a ropefs mount; 'findmnt -t fuse.ropefs' lists them",
			argv[first]);
	}
	free(real);
	/* Opened before the unmount, so that it can't mean a later process of that number. A daemon
	 * that is to be left behind is not asked: perhaps it hangs. */
	if (!lazy && (mount_is_alive(&m) || errno != ENOTCONN))
		pid = mount_pid(&m);
	if (pid > 0)
		pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	r = unmount_all(&m, lazy != NULL);
	if (r < 0)
		status = say_umount_error(-r, &m);
	else if (pidfd >= 0 && !lazy)
		status = wait_for_end(pidfd, pid);
	if (pidfd >= 0)
		close(pidfd);
	mount_release(&m);
	return status;
}

/* Until another daemon answers. */
static int wait_for_next(const struct mount *m, const struct mount_processes *before)
{
	const struct timespec pause = { 0, 50000000 };

	for (unsigned i = 0; i < RESTART_TRIES; i++) {
		struct mount_processes now = mount_processes(m);

		if (now.daemon > 0 && now.daemon != before->daemon) {
			printf("%s: daemon %ld took over from %ld\n", m->dir,
			       (long)now.daemon, (long)before->daemon);
			return EXIT_DONE;
		}
		if (now.refused > before->refused)
			return term_say(
				"%s: the ropefs that is installed now can't take "
				"over this mount from the version that runs, which "
				"goes on; unmount and mount again",
				m->dir);
		nanosleep(&pause, NULL);
	}
	return term_say("%s: no other daemon came up; the system's log may say why",
			m->dir);
}

int verb_restart(const struct verb *verb, int argc, char **argv)
{
	struct mount_processes p;
	struct mount m;
	int first, status;

	if (verb_options(verb, argc, argv, NULL, 1, 1, &first) < 0)
		return first;
	if (mount_find(argv[first], &m) < 0)
		return term_say("%s is not in a ropefs mount", argv[first]);
	p = mount_processes(&m);
	if (p.supervisor <= 0 && !mount_is_alive(&m) && errno == ENOTCONN)
		status = mount_say_dead(&m);
	else if (p.supervisor <= 0)
		status = term_say("%s has no supervisor; mount it with -o supervise=on",
				  m.dir);
	else if (kill(p.supervisor, SIGUSR1) < 0)
		status = term_fail_errno(errno, "telling the supervisor");
	else
		status = wait_for_next(&m, &p);
	mount_release(&m);
	return status;
}

int verb_sync(const struct verb *verb, int argc, char **argv)
{
	const char *remote = NULL;
	const struct verb_option options[] = { { "remote", 'r', false, &remote }, { 0 } };
	struct mount m;
	int first, fd, status = EXIT_DONE;

	if (verb_options(verb, argc, argv, options, 1, 1, &first) < 0)
		return first;
	if (mount_find(argv[first], &m) < 0)
		return term_say("%s is not in a ropefs mount", argv[first]);
	fd = open(m.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	/* syncfs() writes what was changed through mmap; an fsync of any file or folder
	 * then waits for the log, which is one for the whole store. */
	if (fd < 0 || syncfs(fd) < 0 || fsync(fd) < 0)
		status = mount_fail(errno, m.dir);
	if (fd >= 0)
		close(fd);
	if (remote && status == EXIT_DONE)
		status = sync_remote(&m);
	mount_release(&m);
	return status;
}
