#include "tools/bench/bench_many.h"

#include "tools/bench/bench.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FILE_BYTES = 200, FOLDER_FILES = 1000 };

static void check(bool good, const char *what)
{
	if (!good)
		bench_fail(what, strerror(errno));
}

static void folder_path(const char *top, unsigned i, char ret[PATH_MAX])
{
	snprintf(ret, PATH_MAX, "%s/many-%u", top, i / FOLDER_FILES);
}

static void file_path(const char *top, unsigned i, char ret[PATH_MAX])
{
	snprintf(ret, PATH_MAX, "%s/many-%u/file-%u", top, i / FOLDER_FILES, i);
}

static void create(const char *top, unsigned i)
{
	char path[PATH_MAX], text[FILE_BYTES];
	int fd;

	if (i % FOLDER_FILES == 0) {
		folder_path(top, i, path);
		check(mkdir(path, 0755) == 0, path);
	}
	bench_text(text, sizeof(text), i);
	file_path(top, i, path);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	check(fd >= 0, path);
	check(write(fd, text, sizeof(text)) == sizeof(text), path);
	close(fd);
}

static void list(const char *top, unsigned i)
{
	char path[PATH_MAX];
	DIR *dir;

	if (i % FOLDER_FILES != 0)
		return;
	folder_path(top, i, path);
	dir = opendir(path);
	check(dir, path);
	while (readdir(dir))
		continue;
	closedir(dir);
}

static void look(const char *top, unsigned i)
{
	char path[PATH_MAX];
	struct stat st;

	file_path(top, i, path);
	check(lstat(path, &st) == 0 && st.st_size == FILE_BYTES, path);
}

static void read_one(const char *top, unsigned i)
{
	char path[PATH_MAX], text[FILE_BYTES];
	int fd;

	file_path(top, i, path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	check(fd >= 0 && read(fd, text, sizeof(text)) == sizeof(text), path);
	close(fd);
}

static void remove_one(const char *top, unsigned i)
{
	char path[PATH_MAX];

	file_path(top, i, path);
	check(unlink(path) == 0, path);
	if (i % FOLDER_FILES != FOLDER_FILES - 1)
		return;
	folder_path(top, i, path);
	check(rmdir(path) == 0, path);
}

static double seconds_since(uint64_t begun)
{
	return (double)(bench_now_ns() - begun) / 1e9;
}

static int run(char *const words[])
{
	pid_t pid = fork();
	int status = -1;

	if (pid == 0) {
		int null = open("/dev/null", O_WRONLY);

		dup2(null, STDERR_FILENO);
		execvp(words[0], words);
		_exit(127);
	}
	if (pid > 0)
		waitpid(pid, &status, 0);
	return status;
}

static double clone_repository(const char *top)
{
	const char *from = getenv("BENCH_GIT");
	char to[PATH_MAX];
	uint64_t begun = bench_now_ns();
	double seconds;

	snprintf(to, sizeof(to), "%s/clone", top);
	if (!from || !*from ||
	    run((char *[]) { "git", "clone", "-q", "--no-local", (char *)from, to,
			     NULL }))
		return -1;
	seconds = seconds_since(begun);
	bench_remove(to);
	return seconds;
}

void many_run(const char *folder, unsigned n, double ret[MANY_WORKS])
{
	static void (*const works[])(const char *top, unsigned i) = {
		[MANY_CREATE] = create, [MANY_LIST] = list,
		[MANY_STAT] = look,	[MANY_STAT_AGAIN] = look,
		[MANY_READ] = read_one, [MANY_UNLINK] = remove_one,
	};

	n -= n % FOLDER_FILES; /* whole folders */
	for (int work = 0; work <= MANY_UNLINK; work++) {
		uint64_t begun = bench_now_ns();

		for (unsigned i = 0; i < n; i++)
			works[work](folder, i);
		ret[work] = n / seconds_since(begun);
	}
	ret[MANY_GIT] = clone_repository(folder);
}
