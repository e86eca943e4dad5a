/* sync_notes.c - a library to preload: notes what a program made durable. After every fsync or
 * fdatasync of a file that succeeded it adds a line "BYTES PATH" to the file that the
 * environment's SYNC_NOTES names: as long was the file when the call began. */
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

int fsync(int fd);
int fdatasync(int fd);

static void note(int fd, const struct stat *st)
{
	const char *name = getenv("SYNC_NOTES");
	char link[64], path[PATH_MAX] = "";
	int out = name ? open(name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644) : -1;

	if (out < 0)
		return;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	if (readlink(link, path, sizeof(path) - 1) > 0)
		dprintf(out, "%lld %s\n", (long long)st->st_size, path);
	close(out);
}

static int sync_by(const char *name, int fd)
{
	int (*real)(int fd) = (int (*)(int))dlsym(RTLD_NEXT, name);
	struct stat st;
	int known = fstat(fd, &st) == 0 && S_ISREG(st.st_mode), r = real(fd);

	if (r == 0 && known)
		note(fd, &st);
	return r;
}

int fsync(int fd)
{
	return sync_by("fsync", fd);
}

int fdatasync(int fd)
{
	return sync_by("fdatasync", fd);
}
