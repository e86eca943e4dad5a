/* handles.c - files by handle, as an NFS server and backup programs open them, and direct writes
 * that are not waited for.
 *
 *   save FILE SAVED      keeps the handle of FILE
 *   open FOLDER SAVED    prints the beginning of what the handle opens, or the error
 *   stale FILE SECONDS   does the page cache keep what direct writes have replaced? */
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { HANDLE_BYTES = 128, DEPTH = 16, BLOCK = 16384 };

struct saved {
	struct file_handle head;
	unsigned char bytes[HANDLE_BYTES];
};

static int complain(void)
{
	puts(strerrorname_np(errno));
	return 1;
}

static int cmd_save(const char *file, const char *path)
{
	struct saved s = { .head.handle_bytes = HANDLE_BYTES };
	FILE *f = fopen(path, "we");
	int mount_id, bad;

	if (!f || name_to_handle_at(AT_FDCWD, file, &s.head, &mount_id, 0) < 0)
		return complain();
	bad = fwrite(&s, sizeof(s), 1, f) != 1;
	return fclose(f) || bad;
}

static int cmd_open(const char *folder, const char *path)
{
	int at = open(folder, O_RDONLY | O_DIRECTORY), fd;
	FILE *f = fopen(path, "re");
	char text[64] = "";
	struct saved s;

	if (at < 0 || !f || fread(&s, sizeof(s), 1, f) != 1)
		return complain();
	fclose(f);
	fd = open_by_handle_at(at, &s.head, O_RDONLY);
	if (fd < 0 || read(fd, text, sizeof(text) - 1) < 0)
		return complain();
	fputs(text, stdout);
	return 0;
}

/* Writes all of the file again and again, DEPTH blocks at once, each full of the round's number. */
static int write_rounds(int fd, time_t until)
{
	char *buf = aligned_alloc(4096, BLOCK);
	struct iocb cbs[DEPTH], *list[DEPTH];
	struct io_event events[DEPTH];
	aio_context_t aio = 0;
	long n;

	if (!buf || syscall(SYS_io_setup, DEPTH, &aio) < 0)
		return complain();
	for (int round = 1; time(NULL) < until; round++) {
		memset(buf, round, BLOCK);
		for (int i = 0; i < DEPTH; i++) {
			cbs[i] = (struct iocb) { .aio_lio_opcode = IOCB_CMD_PWRITE,
						 .aio_fildes = (unsigned)fd,
						 .aio_buf = (size_t)buf,
						 .aio_nbytes = BLOCK,
						 .aio_offset = (long long)i * BLOCK };
			list[i] = &cbs[i];
		}
		n = syscall(SYS_io_submit, aio, DEPTH, list);
		if (n != DEPTH ||
		    syscall(SYS_io_getevents, aio, DEPTH, DEPTH, events, NULL) != DEPTH)
			return complain();
	}
	free(buf);
	return 0;
}

static int cmd_stale(const char *file, int seconds)
{
	int fd = open(file, O_RDWR | O_CREAT, 0644),
	    direct = open(file, O_RDWR | O_DIRECT);
	time_t until = time(NULL) + seconds;
	char *cached = malloc(BLOCK), *there = aligned_alloc(4096, BLOCK);
	pid_t reader;
	int bad = 0;

	if (fd < 0 || direct < 0 || ftruncate(fd, (off_t)DEPTH * BLOCK) < 0)
		return complain();
	reader = fork();
	while (reader == 0)
		for (int i = 0; i < DEPTH; i++)
			if (pread(fd, cached, BLOCK, (off_t)i * BLOCK) < 0)
				_exit(1);
	bad = write_rounds(direct, until);
	kill(reader, 9);
	waitpid(reader, NULL, 0);
	for (int i = 0; i < DEPTH; i++) {
		off_t at = (off_t)i * BLOCK;

		if (pread(fd, cached, BLOCK, at) != BLOCK ||
		    pread(direct, there, BLOCK, at) != BLOCK)
			return complain();
		bad += memcmp(cached, there, BLOCK) != 0;
	}
	puts(bad ? "stale" : "fresh");
	free(cached);
	free(there);
	return bad != 0;
}

int main(int argc, char **argv)
{
	if (argc == 4 && strcmp(argv[1], "save") == 0)
		return cmd_save(argv[2], argv[3]);
	if (argc == 4 && strcmp(argv[1], "open") == 0)
		return cmd_open(argv[2], argv[3]);
	if (argc == 4 && strcmp(argv[1], "stale") == 0)
		return cmd_stale(argv[2], atoi(argv[3]));
	fputs("usage: handles save FILE SAVED | open FOLDER SAVED | stale FILE SECONDS\n",
	      stderr);
	return 2;
}
