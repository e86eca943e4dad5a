/* editor.c - numbers the lines of a file by insertions, in-process: editor STORE KEYFILE NAME.
 * However long the file is, each insertion costs the same. A file that is not there is made of
 * the input first. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <ropefs.h>

/* Where the line begins that follows the byte `at`; 0: there is none. */
static uint64_t next_line(struct ropefs *fs, uint64_t ino, uint64_t at)
{
	char bytes[4096];
	ssize_t n;

	while ((n = ropefs_read(fs, ino, at, bytes, sizeof(bytes), 0)) > 0) {
		const char *newline = memchr(bytes, '\n', (size_t)n);

		if (newline)
			return at + (uint64_t)(newline - bytes) + 1;
		at += (uint64_t)n;
	}
	return 0;
}

static int number_lines(struct ropefs *fs, uint64_t ino)
{
	struct ropefs_attr file;
	uint64_t at = 0;
	char number[32];
	int r = 0;

	for (unsigned line = 1; r >= 0; line++) {
		int n = snprintf(number, sizeof(number), "%u: ", line);

		r = ropefs_getattr(fs, ino, &file);
		if (r < 0 || at >= file.size)
			break;
		r = (int)ropefs_insert(fs, ino, at, number, (size_t)n, 0);
		if (r < 0)
			break;
		at = next_line(fs, ino, at);
		if (!at)
			break;
	}
	return r;
}

static int make_file(struct ropefs *fs, const char *name, struct ropefs_attr *ret)
{
	const struct ropefs_new file = { .mode = S_IFREG | 0644 };
	char bytes[4096];
	ssize_t r = ropefs_create(fs, ROPEFS_ROOT_INO, ropefs_name(name), &file, ret);
	size_t n;

	while (r >= 0 && (n = fread(bytes, 1, sizeof(bytes), stdin)) > 0)
		r = ropefs_write(fs, ret->ino, 0, bytes, n, ROPEFS_APPEND, NULL);
	return r < 0 ? (int)r : 0;
}

int main(int argc, char **argv)
{
	struct ropefs_opts opts = { 0 };
	struct ropefs_attr file;
	struct ropefs *fs;
	int r;

	if (argc != 4)
		return 2;
	opts.key_file = argv[2];
	r = ropefs_open(argv[1], &opts, &fs);
	if (r < 0) {
		fprintf(stderr, "editor: %s\n", ropefs_error());
		return 1;
	}
	r = ropefs_lookup(fs, ROPEFS_ROOT_INO, ropefs_name(argv[3]), &file);
	if (r == -ENOENT)
		r = make_file(fs, argv[3], &file);
	if (r >= 0)
		r = number_lines(fs, file.ino);
	if (r < 0)
		fprintf(stderr, "editor: %s\n", ropefs_error_text(r));
	return ropefs_close(fs) < 0 || r < 0;
}
