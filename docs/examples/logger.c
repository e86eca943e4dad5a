/* logger.c - appends each line of its input to a queue, in-process: logger STORE KEYFILE NAME.
 * Makes the queue when it is not there. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <ropefs.h>

static int open_queue(struct ropefs *fs, const char *name, struct ropefs_attr *ret)
{
	const struct ropefs_new file = { .mode = S_IFREG | 0644 };
	int r = ropefs_lookup(fs, ROPEFS_ROOT_INO, ropefs_name(name), ret);

	if (r >= 0)
		return 0;
	/* What is made in a folder with this policy is a queue. */
	r = ropefs_setxattr(fs, ROPEFS_ROOT_INO, "user.ropefs.kind", "queue", 5, 0);
	if (r >= 0)
		r = ropefs_create(fs, ROPEFS_ROOT_INO, ropefs_name(name), &file, ret);
	return r;
}

int main(int argc, char **argv)
{
	struct ropefs_opts opts = { 0 };
	struct ropefs_attr queue;
	struct ropefs *fs;
	char line[4096];
	ssize_t r;

	if (argc != 4)
		return 2;
	opts.key_file = argv[2];
	r = ropefs_open(argv[1], &opts, &fs);
	if (r < 0) {
		fprintf(stderr, "logger: %s\n", ropefs_error());
		return 1;
	}
	r = open_queue(fs, argv[3], &queue);
	while (r >= 0 && fgets(line, sizeof(line), stdin))
		r = ropefs_append(fs, queue.ino, line, strlen(line), 0, NULL);
	if (r >= 0)
		r = ropefs_sync(fs); /* now it survives a power cut */
	if (r < 0)
		fprintf(stderr, "logger: %s\n", ropefs_error_text((int)r));
	return ropefs_close(fs) < 0 || r < 0;
}
