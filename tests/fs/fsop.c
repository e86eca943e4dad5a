/* fsop.c - what a shell can't say: one system call or a short dance of them, as a command.
 * Prints what came of it; errors by strerror's name, so that two filesystems compare. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fs/ropefs_ioctl.h"

static int say(int r)
{
	puts(r < 0 ? strerrorname_np(errno) : "ok");
	return r < 0;
}

static int do_rename(char **a, unsigned flags)
{
	return say(renameat2(AT_FDCWD, a[0], AT_FDCWD, a[1], flags));
}

static int cmd_exchange(char **a)
{
	return do_rename(a, RENAME_EXCHANGE);
}

static int cmd_noreplace(char **a)
{
	return do_rename(a, RENAME_NOREPLACE);
}

/* FILE AT CUT DATA [FLAGS]: flags "r" opens for reading only, "n" for neither. */
static int cmd_edit(char **a)
{
	size_t n = strlen(a[3]);
	struct ropefs_ioc_edit *e = calloc(1, sizeof(*e) + n);
	unsigned long nr;
	int fd = open(a[0], !a[4] ? O_RDWR : *a[4] == 'n' ? O_ACCMODE : O_RDONLY);

	*e = (struct ropefs_ioc_edit) { strtoull(a[1], NULL, 0), strtoull(a[2], NULL, 0),
					(uint32_t)n, 0 };
	memcpy(e->data, a[3], n);
	nr = !n ? ROPEFS_IOC_CUT : e->cut ? ROPEFS_IOC_REPLACE(n) : ROPEFS_IOC_INSERT(n);
	n = (size_t)say(fd < 0 ? fd : ioctl(fd, nr, e));
	free(e);
	return (int)n;
}

static const char *outcome(int r)
{
	return r < 0 ? strerrorname_np(errno) : "0";
}

static int txn_edit(int fd, struct ropefs_ioc_txn_edit *e, const char *data)
{
	e->n = (uint32_t)strlen(data);
	memcpy(e->data, data, e->n);
	return ioctl(fd, ROPEFS_IOC_TXN_EDIT(e->n), e);
}

/* A B: puts "aZ" before A, moves two bytes of B behind that, and says what is refused. */
static int cmd_txn(char **a)
{
	struct ropefs_ioc_txn_use one = { 0 }, two = { 0 };
	struct ropefs_ioc_txn_edit *e = calloc(1, sizeof(*e) + 16);
	int fd = open(a[0], O_RDWR), from = open(a[1], O_RDWR);
	int only = open(a[0], O_RDONLY), txn = open(".ropefs/txn", O_RDONLY);

	ioctl(txn, ROPEFS_IOC_TXN_ID, &one.txn);
	two.txn = e->txn = one.txn;
	if (ioctl(fd, ROPEFS_IOC_TXN_USE, &one) < 0 ||
	    ioctl(from, ROPEFS_IOC_TXN_USE, &two) < 0)
		return say(-1);
	printf("use %d %d\n", (int)one.size, (int)two.size);
	printf("read-only: %s\n", outcome(txn_edit(only, e, "x")));
	e->txn++;
	printf("no such txn: %s\n", outcome(txn_edit(fd, e, "x")));
	e->txn--;
	e->at = 11;
	printf("beyond: %s\n", outcome(txn_edit(fd, e, "x")));
	e->at = 0;
	if (txn_edit(fd, e, "aZ") < 0)
		return say(-1);
	*e = (struct ropefs_ioc_txn_edit) { .txn = one.txn,
					    .at = 2,
					    .src = two.file,
					    .src_at = 0,
					    .src_n = 3,
					    .flags = ROPEFS_IOC_TXN_MOVE };
	if (txn_edit(fd, e, "") < 0)
		return say(-1);
	printf("commit: %s\n", outcome(ioctl(txn, ROPEFS_IOC_TXN_COMMIT)));
	printf("again: %s\n", outcome(ioctl(txn, ROPEFS_IOC_TXN_COMMIT)));
	free(e);
	return 0;
}

/* FILE AT DATA: maps FILE, inserts, and prints what the map and a read of it then show. */
static int cmd_map_edit(char **a)
{
	size_t n = strlen(a[2]);
	struct ropefs_ioc_edit *e = calloc(1, sizeof(*e) + n);
	int fd = open(a[0], O_RDWR);
	struct stat st;
	char *map;

	fstat(fd, &st);
	map = mmap(NULL, 8192, PROT_READ, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return say(-1);
	printf("%.*s\n", (int)st.st_size, map);
	*e = (struct ropefs_ioc_edit) { .at = strtoull(a[1], NULL, 0), .n = (uint32_t)n };
	memcpy(e->data, a[2], n);
	if (ioctl(fd, ROPEFS_IOC_INSERT(n), e) < 0)
		return say(-1);
	fstat(fd, &st);
	printf("%.*s\n", (int)st.st_size, map);
	free(e);
	return 0;
}

/* FILE: changes the first byte through a shared map, and reads it back by pread. */
static int cmd_map_write(char **a)
{
	int fd = open(a[0], O_RDWR);
	char *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), c;

	if (map == MAP_FAILED)
		return say(-1);
	map[0] = 'M';
	msync(map, 4096, MS_SYNC);
	if (pread(fd, &c, 1, 0) != 1)
		return say(-1);
	printf("%c\n", c);
	return 0;
}

static int cmd_copy_range(char **a) /* FROM OFF TO OFF N */
{
	int from = open(a[0], O_RDONLY), to = open(a[2], O_RDWR | O_CREAT, 0644);
	off_t at = atoll(a[1]), to_at = atoll(a[3]);
	ssize_t n = copy_file_range(from, &at, to, &to_at, (size_t)atoll(a[4]), 0);

	if (n < 0)
		return say(-1);
	printf("%zd\n", n);
	return 0;
}

static int cmd_fallocate(char **a) /* FILE MODE OFF N */
{
	int fd = open(a[0], O_RDWR);

	return say(fallocate(fd, atoi(a[1]), atoll(a[2]), atoll(a[3])));
}

static int cmd_seek(char **a) /* FILE data|hole|end OFF */
{
	int fd = open(a[0], O_RDONLY);
	int whence = a[1][0] == 'd' ? SEEK_DATA : a[1][0] == 'h' ? SEEK_HOLE : SEEK_END;
	off_t at = lseek(fd, atoll(a[2]), whence);

	if (at < 0)
		return say(-1);
	printf("%lld\n", (long long)at);
	return 0;
}

/* FILE WRITERS COUNT: each appends COUNT lines of its own; all at once. */
static int cmd_appenders(char **a)
{
	int writers = atoi(a[1]), count = atoi(a[2]), bad = 0, status;

	for (int w = 0; w < writers; w++) {
		if (fork())
			continue;
		int fd = open(a[0], O_WRONLY | O_APPEND | O_CREAT, 0644);
		char line[64];

		for (int i = 0; i < count; i++) {
			int n = snprintf(line, sizeof(line), "writer %d line %06d\n", w,
					 i);

			if (write(fd, line, (size_t)n) != n)
				_exit(1);
		}
		_exit(0);
	}
	while (wait(&status) > 0)
		bad |= status;
	return bad != 0;
}

/* DIR: lists it in small steps and removes each second entry as it goes; prints how many
 * different names came, and how many came twice. */
static int cmd_list_delete(char **a)
{
	enum { MAX = 100000 };
	char *seen = calloc(MAX, 1);
	int names = 0, twice = 0, odd = 0;
	DIR *dir = opendir(a[0]);
	struct dirent *e;

	while ((e = readdir(dir))) {
		int i = e->d_name[0] == 'f' ? atoi(e->d_name + 1) : -1;

		if (i < 0 || i >= MAX)
			continue;
		twice += seen[i];
		names += !seen[i];
		seen[i] = 1;
		if (odd++ % 2)
			unlinkat(dirfd(dir), e->d_name, 0);
	}
	printf("%d names, %d twice\n", names, twice);
	closedir(dir);
	free(seen);
	return 0;
}

/* FILE: opens it for reading only, and truncates it thereby; prints what it has then. */
static int cmd_open_trunc(char **a)
{
	char buf[64];
	int fd = open(a[0], O_RDONLY | O_TRUNC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return say(-1);
	printf("%lld bytes, reads %zd\n", (long long)st.st_size,
	       read(fd, buf, sizeof(buf)));
	return say(close(fd));
}

/* FILE: what an unlinked open file still does. */
static int cmd_unlinked(char **a)
{
	int fd = open(a[0], O_RDWR | O_CREAT | O_TRUNC, 0644);
	char buf[32] = "";
	struct stat st;

	if (write(fd, "before ", 7) != 7 || unlink(a[0]) < 0 ||
	    write(fd, "after", 5) != 5)
		return say(-1);
	fsync(fd);
	fstat(fd, &st);
	printf("nlink %d size %lld ", (int)st.st_nlink, (long long)st.st_size);
	printf("read %zd ", pread(fd, buf, sizeof(buf) - 1, 0));
	printf("%s again %s\n", buf, access(a[0], F_OK) < 0 ? "gone" : "there");
	return 0;
}

/* VIEW: as a shell does it: open, dup, close the first, write by the dup in two parts with a
 * flush between. Then prints close's result. */
static int cmd_dup_write(char **a)
{
	int first = open(a[0], O_WRONLY | O_TRUNC), second, third;

	if (first < 0)
		return say(first);
	second = dup(first);
	close(first);
	if (write(second, "one", 3) != 3)
		return say(-1);
	third = dup(second);
	close(second);
	if (write(third, "two", 3) != 3)
		return say(-1);
	return say(close(third));
}

/* VIEW FILE: opens the view for writing, writes, inserts into FILE at 0, writes again, closes:
 * the place is no longer where it was. Prints what the second write says, and the close. */
static int cmd_view_conflict(char **a)
{
	struct ropefs_ioc_edit *e = calloc(1, sizeof(*e) + 1);
	int view = open(a[0], O_WRONLY | O_TRUNC), fd = open(a[1], O_RDWR), r;

	e->n = 1;
	e->data[0] = '!';
	r = view < 0 || write(view, "x", 1) != 1 ? -1
						 : ioctl(fd, ROPEFS_IOC_INSERT(1), e);
	free(e);
	if (r < 0)
		return say(-1);
	say((int)write(view, "x", 1));
	return say(close(view));
}

/* VIEW PROGRAM: writes into the view, starts PROGRAM with 100 as argument, and prints what the
 * close of the view says then. */
static int cmd_view_run(char **a)
{
	int view = open(a[0], O_WRONLY | O_CLOEXEC), ends[2], r;
	pid_t pid;
	char c;

	if (view < 0 || write(view, "x", 1) != 1 || pipe2(ends, O_CLOEXEC) < 0)
		return say(-1);
	pid = fork();
	if (pid == 0) {
		execl(a[1], a[1], "100", NULL);
		_exit(1);
	}
	close(ends[1]);
	r = (int)read(ends[0], &c, 1); /* ends when the program has begun */
	r = say(r < 0 ? r : close(view));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return r;
}

/* VIEW FILE: writes into the view, fsyncs, and says what FILE has before the close. */
static int cmd_view_fsync(char **a)
{
	int view = open(a[0], O_WRONLY | O_TRUNC), fd = open(a[1], O_RDONLY);
	char buf[64] = "";

	if (view < 0 || write(view, "sync", 4) != 4 || fsync(view) < 0 ||
	    pread(fd, buf, sizeof(buf) - 1, 0) < 0)
		return say(-1);
	puts(buf);
	return 0;
}

/* FILE OFF: keeps FILE open (cached) while the shell edits it: waits for a line on stdin, then
 * prints what a read from the same descriptor shows. Twice. */
static int cmd_reader(char **a)
{
	int fd = open(a[0], O_RDONLY);
	char buf[256];
	ssize_t n;

	for (int i = 0; i < 2; i++) {
		if (getchar() == EOF)
			return 1;
		n = pread(fd, buf, sizeof(buf), atoll(a[1]));
		printf("%.*s\n", (int)n, buf);
		fflush(stdout);
	}
	return 0;
}

/* DIR NAME: makes a file without a name in DIR, writes, and links it as NAME there. */
static int cmd_tmpfile(char **a)
{
	int dir = open(a[0], O_PATH), fd = openat(dir, ".", O_TMPFILE | O_RDWR, 0666);
	char path[64];
	struct stat st;

	if (fd < 0 || write(fd, "unnamed\n", 8) != 8 || fstat(fd, &st) < 0)
		return say(-1);
	printf("nlink %d mode %o\n", (int)st.st_nlink, (unsigned)st.st_mode);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return say(linkat(AT_FDCWD, path, dir, a[1], AT_SYMLINK_FOLLOW));
}

/* FILE: appends after an edit that the kernel's idea of the end may not have followed. */
static int cmd_append_after_edit(char **a)
{
	struct ropefs_ioc_edit *e = calloc(1, sizeof(*e) + 50);
	int fd = open(a[0], O_RDWR | O_APPEND | O_CREAT | O_TRUNC, 0644), n;
	char buf[512];

	memset(buf, '.', 100);
	e->n = 50;
	memset(e->data, '+', 50);
	if (write(fd, buf, 100) != 100 || pread(fd, buf, 10, 0) != 10 ||
	    ioctl(fd, ROPEFS_IOC_INSERT(50), e) < 0 || pread(fd, buf, 10, 0) != 10 ||
	    write(fd, "end", 3) != 3)
		return say(-1);
	usleep(100000);
	n = (int)pread(fd, buf, sizeof(buf), 0);
	printf("%.*s\n", n, buf);
	free(e);
	return 0;
}

static const struct {
	const char *name;
	int args;
	int (*run)(char **a);
} commands[] = {
	{ "exchange", 2, cmd_exchange },
	{ "noreplace", 2, cmd_noreplace },
	{ "edit", 4, cmd_edit },
	{ "txn", 2, cmd_txn },
	{ "map-edit", 3, cmd_map_edit },
	{ "map-write", 1, cmd_map_write },
	{ "copy-range", 5, cmd_copy_range },
	{ "fallocate", 4, cmd_fallocate },
	{ "seek", 3, cmd_seek },
	{ "appenders", 3, cmd_appenders },
	{ "list-delete", 1, cmd_list_delete },
	{ "open-trunc", 1, cmd_open_trunc },
	{ "unlinked", 1, cmd_unlinked },
	{ "dup-write", 1, cmd_dup_write },
	{ "view-conflict", 2, cmd_view_conflict },
	{ "view-run", 2, cmd_view_run },
	{ "view-fsync", 2, cmd_view_fsync },
	{ "reader", 2, cmd_reader },
	{ "tmpfile", 2, cmd_tmpfile },
	{ "append-after-edit", 1, cmd_append_after_edit },
};

int main(int argc, char **argv)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (argc >= 2 && strcmp(argv[1], commands[i].name) == 0 &&
		    argc - 2 >= commands[i].args)
			return commands[i].run(argv + 2);
	fprintf(stderr, "fsop: unknown command or too few arguments\n");
	return 2;
}
