/* coherent.c - does the kernel's cache follow edits made below it? Each command plays programs
 * that write, edit and read one file at once or in turn, checks what the reads give against
 * what was written, and prints "ok" or what was wrong.
 *
 *   tail FILE MS           a reader follows a logger
 *   tail-late FILE MS      so does one that opens it after him
 *   tail-map FILE MS       so does one by a map
 *   rotate FILE MS         another cuts the log's older half all the time
 *   cut-append FILE N      cuts, appends, reads across the end, by one program
 *   map FILE view|ioctl    inserts before a page that a map has changed
 *   map-cut FILE           cuts before such a page, and a page
 *   list DIR               a listing that is old when it ends, beside one that began since */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fs/ropefs_ioctl.h"

enum {
	LINE = 14, /* "line 00000000\n" */
	LINES_MIN = 100,
	LAST_LINES = 8,
	SETTLING_TRIES = 3000
};

static int wrong(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
	fflush(stdout);
	return 1;
}

static long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void line_of(unsigned i, char *ret)
{
	char text[LINE + 1];

	snprintf(text, sizeof(text), "line %08u\n", i % 100000000);
	memcpy(ret, text, LINE);
}

static pid_t start_logger(const char *file, long until)
{
	pid_t pid = fork();
	char line[LINE];
	int fd;

	if (pid)
		return pid;
	fd = open(file, O_WRONLY | O_APPEND | O_CREAT, 0644);
	/* However long the machine stood still meanwhile. */
	for (unsigned i = 0; i < LINES_MIN || now_ms() < until; i++) {
		line_of(i, line);
		if (write(fd, line, LINE) != LINE)
			_exit(wrong("write: %s", strerror(errno)));
	}
	_exit(0);
}

static pid_t start_cutter(const char *file, long until)
{
	pid_t pid = fork();
	char view[512];
	struct stat st;

	if (pid)
		return pid;
	while (now_ms() < until) {
		if (stat(file, &st) < 0)
			_exit(wrong("stat: %s", strerror(errno)));
		snprintf(view, sizeof(view), "%s@bytes=0..%lld", file,
			 (long long)st.st_size / 2 / LINE * LINE);
		if (st.st_size > 100000 && unlink(view) < 0)
			_exit(wrong("%s: %s", view, strerror(errno)));
		usleep(5000);
	}
	_exit(0);
}

static int wait_all(void)
{
	int status, bad = 0;

	while (wait(&status) > 0)
		bad |= status != 0;
	return bad;
}

/* Opens what a logger has begun. */
static int open_late(const char *file)
{
	struct stat st;

	while (stat(file, &st) < 0 || !st.st_size)
		usleep(1000);
	return open(file, O_RDONLY);
}

static int tail(const char *file, long ms, bool late)
{
	int fd = late ? -1 : open(file, O_RDWR | O_CREAT | O_TRUNC, 0644), status = 0;
	static char buf[65536], line[LINE];
	pid_t logger = start_logger(file, now_ms() + ms);
	unsigned long long at = 0;
	ssize_t n;

	fd = late ? open_late(file) : fd;

	/* Once more after the end, for what came last. */
	for (bool last = false; !last;) {
		last = waitpid(logger, &status, WNOHANG) == logger;
		while ((n = read(fd, buf, sizeof(buf))) > 0)
			for (ssize_t i = 0; i < n; i++, at++) {
				line_of((unsigned)(at / LINE), line);
				if (buf[i] != line[at % LINE])
					return wrong("byte %llu is 0x%02x", at,
						     (unsigned char)buf[i]);
			}
		if (n < 0)
			return wrong("read: %s", strerror(errno));
	}
	if (status || at < LINES_MIN * LINE)
		return wrong("only %llu bytes", at);
	puts("ok");
	return 0;
}

static int cmd_tail(char **a)
{
	return tail(a[0], atol(a[1]), false);
}

static int cmd_tail_late(char **a)
{
	return tail(a[0], atol(a[1]), true);
}

static int cmd_tail_map(char **a)
{
	enum { MAP_BYTES = 256 << 20 };
	long until = now_ms() + atol(a[1]);
	int fd, status = 0;
	pid_t logger = start_logger(a[0], until);
	unsigned long long at = 0;
	char *map, line[LINE];
	off_t size;

	fd = open_late(a[0]);
	map = mmap(NULL, MAP_BYTES, PROT_READ, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return wrong("mmap: %s", strerror(errno));
	for (bool last = false; !last;) {
		last = waitpid(logger, &status, WNOHANG) == logger;
		/* Not fstat(2): on any FUSE that tells a size which a map does not have yet. */
		size = lseek(fd, 0, SEEK_END);
		if (size < 0 || size > MAP_BYTES)
			return wrong("size %lld", (long long)size);
		for (; at < (unsigned long long)size; at++) {
			line_of((unsigned)(at / LINE), line);
			if (map[at] != line[at % LINE])
				return wrong("byte %llu is 0x%02x", at,
					     (unsigned char)map[at]);
		}
	}
	if (status || at < LINES_MIN * LINE)
		return wrong("only %llu bytes", at);
	puts("ok");
	return 0;
}

/* Are these bytes, from any place of a line, lines that count up? Else the first bad offset. */
static ssize_t first_gap(const char *p, ssize_t n)
{
	const char *first = memchr(p, '\n', (size_t)n);
	char line[LINE];
	unsigned number;

	if (!first || n - (first - p) < 1 + LINE)
		return -1;
	number = (unsigned)strtoul(first + 1 + 5, NULL, 10);
	for (ssize_t i = first + 1 - p; i + LINE <= n; i += LINE) {
		line_of(number++, line);
		if (memcmp(p + i, line, LINE) != 0)
			return i;
	}
	return -1;
}

/* The kernel takes a greater size before it drops the page in which the file ended so far
 * (fuse_do_setattr()): for that moment, however long the machine makes it, what came last reads as
 * zeros. Nothing else may. */
static bool is_settling(int fd, const char *p, ssize_t n, off_t at)
{
	ssize_t whole = (const char *)memchr(p, 0, (size_t)n) - p;
	char tail[LAST_LINES * LINE];
	size_t gone = (size_t)(n - whole);

	if (gone % LINE || gone > sizeof(tail))
		return false;
	for (unsigned tries = 0; tries < SETTLING_TRIES; tries++) {
		usleep(20000);
		if (pread(fd, tail, gone, at + whole) < (ssize_t)gone ||
		    !memchr(tail, 0, gone))
			return true;
	}
	return false;
}

static int cmd_rotate(char **a)
{
	long until = now_ms() + atol(a[1]);
	int fd = open(a[0], O_RDWR | O_CREAT | O_TRUNC, 0644);
	static char buf[65536];
	char *whole;
	struct stat st;
	ssize_t n, gap;
	int reads = 0;

	start_logger(a[0], until);
	start_cutter(a[0], until);
	for (; now_ms() < until; reads++) {
		off_t at;

		fstat(fd, &st);
		at = st.st_size > 20000 ? st.st_size - 20000 : 0;
		n = pread(fd, buf, sizeof(buf), at);
		if (n > 0 && memchr(buf, 0, (size_t)n) && !is_settling(fd, buf, n, at))
			return wrong("read %d has zeros at %td of %zd", reads,
				     (char *)memchr(buf, 0, (size_t)n) - buf, n);
	}
	if (wait_all())
		return 1;
	fstat(fd, &st);
	whole = malloc((size_t)st.st_size + 1);
	n = pread(fd, whole, (size_t)st.st_size + 1, 0);
	gap = first_gap(whole, n);
	free(whole);
	if (n != st.st_size || gap >= 0)
		return wrong("at last: size %lld, read %zd, gap at %zd",
			     (long long)st.st_size, n, gap);
	puts("ok");
	return 0;
}

static int cmd_cut_append(char **a)
{
	enum { CUT = 60000, GROW = 200000, MIN = 250000 };
	int fd = open(a[0], O_RDWR | O_CREAT | O_TRUNC, 0644), rounds = atoi(a[1]);
	static char grow[GROW], buf[20000];
	char view[512];
	long long size = 0;
	ssize_t n;

	memset(grow, 'A', sizeof(grow));
	srand48(1);
	for (int i = 0; i < rounds; i++) {
		long long from;

		if (size < MIN)
			size += pwrite(fd, grow, GROW, size);
		from = lrand48() % (size - CUT);
		snprintf(view, sizeof(view), "%s@bytes=%lld..%lld", a[0], from,
			 from + CUT);
		if (unlink(view) < 0)
			return wrong("%s: %s", view, strerror(errno));
		size -= CUT;
		size += pwrite(fd, "B", 1, size);
		n = pread(fd, buf, sizeof(buf), size - 3000);
		if (n != 3000)
			return wrong("round %d: %zd bytes before the end are %d", i, n,
				     3000);
		if (memchr(buf, 0, 3000) || buf[2999] != 'B')
			return wrong("round %d: the end is wrong", i);
	}
	puts("ok");
	return 0;
}

static int insert(const char *file, int fd, bool by_view)
{
	struct ropefs_ioc_edit *e = calloc(1, sizeof(*e) + 3);
	char view[512];
	int r;

	e->at = 10;
	e->n = 3;
	memcpy(e->data, "INS", 3);
	snprintf(view, sizeof(view), "%s@bytes=10..10", file);
	if (!by_view) {
		r = ioctl(fd, ROPEFS_IOC_INSERT(3), e);
	} else {
		r = open(view, O_WRONLY | O_TRUNC);
		r = r < 0 || write(r, "INS", 3) != 3 ? -1 : close(r);
	}
	free(e);
	return r;
}

enum { MAPPED = 100000 };

/* A file of lines with a map of it, "DIRTY" written at `at` through the map. */
static char *dirty_map(const char *file, off_t at, char *want, int *ret_fd)
{
	int fd = open(file, O_RDWR | O_CREAT | O_TRUNC, 0644);
	char *map;

	for (unsigned i = 0; i < MAPPED; i += LINE) {
		char line[LINE];

		line_of(i, line);
		memcpy(want + i, line, MAPPED - i < LINE ? MAPPED - i : LINE);
	}
	if (write(fd, want, MAPPED) != MAPPED)
		return NULL;
	fsync(fd);
	map = mmap(NULL, MAPPED, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return NULL;
	memcpy(map + at, "DIRTY", 5);
	memcpy(want + at, "DIRTY", 5);
	*ret_fd = fd;
	return map;
}

static int check_file(const char *file, char *map, const char *want, size_t n)
{
	static char got[2 * MAPPED];
	int fd;
	ssize_t r;

	if (msync(map, MAPPED, MS_SYNC) < 0)
		return wrong("msync: %s", strerror(errno));
	if (memcmp(map, want, n < MAPPED ? n : MAPPED) != 0)
		return wrong("the map is wrong");
	fd = open(file, O_RDONLY);
	r = read(fd, got, sizeof(got));
	if (r != (ssize_t)n)
		return wrong("%zd bytes instead of %zu", r, n);
	for (size_t i = 0; i < n; i++)
		if (got[i] != want[i])
			return wrong("byte %zu is 0x%02x", i, (unsigned char)got[i]);
	puts("ok");
	return 0;
}

static int cmd_map(char **a)
{
	static char want[2 * MAPPED];
	int fd;
	char *map = dirty_map(a[0], 50000, want, &fd);

	if (!map || insert(a[0], fd, a[1][0] == 'v') < 0)
		return wrong("%s", strerror(errno));
	memmove(want + 13, want + 10, MAPPED - 10);
	memcpy(want + 10, "INS", 3);
	return check_file(a[0], map, want, MAPPED + 3);
}

static int cmd_map_cut(char **a)
{
	static char want[2 * MAPPED];
	char view[512];
	int fd;
	char *map = dirty_map(a[0], MAPPED - 1000, want, &fd);

	snprintf(view, sizeof(view), "%s@bytes=0..15000", a[0]);
	if (!map || unlink(view) < 0)
		return wrong("%s", strerror(errno));
	memmove(want, want + 15000, MAPPED - 15000);
	return check_file(a[0], map, want, MAPPED - 15000);
}

enum { LISTED = 600, LIST_BYTES = 4096 };

/* The next names of a listing, about a hundred, in p; their number, 0 at the end. Counts those
 * called name. */
static int list_some(int fd, struct dirent64 *p, const char *name, int *named)
{
	ssize_t n = getdents64(fd, p, LIST_BYTES);
	int entries = 0;

	for (ssize_t at = 0; at < n; entries++) {
		struct dirent64 *e = (struct dirent64 *)((char *)p + at);

		*named += strcmp(e->d_name, name) == 0;
		at += e->d_reclen;
	}
	return n < 0 ? -1 : entries;
}

static int list_rest(int fd, const char *name, int *named)
{
	static char p[LIST_BYTES] __attribute__((aligned(8)));
	int n, entries = 0;

	while ((n = list_some(fd, (struct dirent64 *)p, name, named)) > 0)
		entries += n;
	return n < 0 ? -1 : entries;
}

static int cmd_list(char **a)
{
	static char p[LIST_BYTES] __attribute__((aligned(8)));
	struct dirent64 *some = (struct dirent64 *)p;
	char gone[sizeof(some->d_name)];
	int old, new, named = 0, n;

	if (mkdir(a[0], 0755) < 0 || chdir(a[0]) < 0)
		return wrong("%s: %s", a[0], strerror(errno));
	for (int i = 0; i < LISTED; i++) {
		snprintf(gone, sizeof(gone), "file %d", i);
		if (mknod(gone, S_IFREG | 0644, 0) < 0)
			return wrong("%s: %s", gone, strerror(errno));
	}
	old = open(".", O_RDONLY | O_DIRECTORY);
	if (list_some(old, some, "", &named) <= 0 ||
	    list_some(old, some, "", &named) <= 0)
		return wrong("no listing");
	memcpy(gone, some->d_name, sizeof(gone));
	if (unlink(gone) < 0)
		return wrong("%s: %s", gone, strerror(errno));
	new = open(".", O_RDONLY | O_DIRECTORY);
	n = list_some(new, some, gone, &named);
	list_rest(old, "", &(int) { 0 });
	n += list_rest(new, gone, &named);
	if (n != LISTED + 1 || named)
		return wrong("%d entries, %d of them removed", n, named);
	puts("ok");
	return 0;
}

static const struct {
	const char *name;
	int args;
	int (*run)(char **a);
} commands[] = {
	{ "tail", 2, cmd_tail },
	{ "tail-late", 2, cmd_tail_late },
	{ "tail-map", 2, cmd_tail_map },
	{ "rotate", 2, cmd_rotate },
	{ "cut-append", 2, cmd_cut_append },
	{ "map", 2, cmd_map },
	{ "map-cut", 1, cmd_map_cut },
	{ "list", 1, cmd_list },
};

int main(int argc, char **argv)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (argc >= 2 && strcmp(argv[1], commands[i].name) == 0 &&
		    argc - 2 >= commands[i].args)
			return commands[i].run(argv + 2);
	fprintf(stderr, "coherent: unknown command or too few arguments\n");
	return 2;
}
