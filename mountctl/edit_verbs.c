/* edit_verbs.c - insert and cut on a mounted file. What fits goes through one ioctl, more
 * bytes through a view (NAME@bytes=A..A), which takes effect whole when it is closed. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/ropefs.h"
#include "fs/ropefs_ioctl.h"
#include "mountctl/edit_words.h"
#include "mountctl/mounts.h"
#include "mountctl/term.h"
#include "mountctl/verbs.h"

#define COPY_BYTES (1u << 20)
/* Inode numbers of views begin here; files of the store have lower ones. */
#define VIEW_INO_FIRST ((uint64_t)1 << 62)

/* The target of an edit, open for writing. */
struct target {
	const char *name; /* as the user wrote it */
	int fd;
	struct range range;
};

bool parse_range(const char *words, struct ropefs_view *ret)
{
	char *selector;
	int n, r;

	n = asprintf(&selector, "f@bytes=%s", words);
	if (n < 0)
		abort();
	r = strpbrk(words, ",@") ? -EINVAL : ropefs_view_parse(selector, (size_t)n, ret);
	free(selector);
	return r == 0;
}

bool parse_place(const char *words, struct ropefs_view *ret)
{
	char *range;
	bool good;

	if (!*words || strstr(words, ".."))
		return false;
	if (asprintf(&range, "%s..%s", words, words) < 0)
		abort();
	good = parse_range(range, ret);
	free(range);
	return good;
}

int resolve_range(const char *name, const char *words, const struct ropefs_view *view,
		  uint64_t size, struct range *ret)
{
	int r = ropefs_view_range(view, size, &ret->from, &ret->to);

	if (r < 0)
		return term_say("%s: %s: %s", name, words, ropefs_error());
	return EXIT_DONE;
}

/* Opens the file and resolves the range; prints what is wrong. */
static int target_open(const char *name, const char *words,
		       const struct ropefs_view *view, struct target *ret)
{
	struct target t = { .name = name };
	struct mount m;
	struct stat st;
	int status = EXIT_DONE;

	t.fd = open(name, O_WRONLY | O_CLOEXEC);
	if (t.fd < 0)
		return mount_fail(errno, name);
	if (fstat(t.fd, &st) < 0)
		status = mount_fail(errno, name);
	else if (!S_ISREG(st.st_mode))
		status = term_say("%s is not a regular file", name);
	else if (mount_find_dev(st.st_dev, &m) < 0)
		status = term_say("%s is not in a ropefs mount", name);
	else
		mount_release(&m);
	if (!status)
		status = resolve_range(name, words, view, (uint64_t)st.st_size, &t.range);
	if (status)
		close(t.fd);
	else
		*ret = t;
	return status;
}

int verb_cut(const struct verb *verb, int argc, char **argv)
{
	struct ropefs_ioc_edit cut = { 0 };
	struct ropefs_view view;
	struct target t;
	int first, status;

	if (verb_options(verb, argc, argv, NULL, 2, 2, &first) < 0)
		return first;
	if (!parse_range(argv[first + 1], &view))
		return term_usage(verb->name,
				  "'%s' is no range: write FROM..TO, such as 100..140, "
				  "4K.., ..1M or -10..",
				  argv[first + 1]);
	status = target_open(argv[first], argv[first + 1], &view, &t);
	if (status)
		return status;
	cut.at = t.range.from;
	cut.cut = t.range.to - t.range.from;
	if (ioctl(t.fd, ROPEFS_IOC_CUT, &cut) < 0)
		status = mount_fail(errno, t.name);
	close(t.fd);
	return status;
}

ssize_t read_full(int fd, uint8_t *p, size_t n)
{
	size_t done = 0;

	while (done < n) {
		ssize_t r = read(fd, p + done, n - done);

		if (r < 0)
			return -errno;
		if (r == 0)
			break;
		done += (size_t)r;
	}
	return (ssize_t)done;
}

static int write_full(int fd, const uint8_t *p, size_t n)
{
	while (n > 0) {
		ssize_t r = write(fd, p, n);

		if (r < 0)
			return -errno;
		p += r;
		n -= (size_t)r;
	}
	return 0;
}

static void stop(int sig)
{
	/* Only interrupts read(): the kernel closes files of a killed process, and a closed
	 * view takes effect, with whatever was written so far. */
}

static void catch_signals(void)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction act = { .sa_handler = stop };

	for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++)
		sigaction(signals[i], &act, NULL);
}

/* Opens the view that stands for the place `at` in the file. */
static int view_open(const char *name, uint64_t at)
{
	char *real = realpath(name, NULL), *path;
	struct stat st;
	int fd;

	if (!real)
		return -errno;
	if (asprintf(&path, "%s@bytes=%llu..%llu", real, (unsigned long long)at,
		     (unsigned long long)at) < 0)
		abort();
	free(real);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	free(path);
	if (fd < 0)
		return -errno;
	/* A real file of exactly that name wins over the view, and is not meant. */
	if (fstat(fd, &st) < 0 || st.st_ino < VIEW_INO_FIRST) {
		close(fd);
		return -EEXIST;
	}
	return fd;
}

/* Copies what was read already and the rest of the input into the view. */
static int insert_through_view(const struct target *t, int from, uint8_t *bytes, size_t n)
{
	ssize_t got = (ssize_t)n;
	int fd, r;

	fd = view_open(t->name, t->range.from);
	if (fd < 0)
		return fd;
	do {
		r = write_full(fd, bytes, (size_t)got);
		if (r == 0)
			got = read_full(from, bytes, COPY_BYTES);
	} while (r == 0 && got > 0);
	if (r == 0 && got < 0)
		r = (int)got;
	/* An emptied view replaces nothing by nothing. */
	if (r < 0 && ftruncate(fd, 0) < 0)
		r = -errno;
	if (close(fd) < 0 && r == 0)
		r = -errno;
	return r;
}

static int insert_small(const struct target *t, const uint8_t *bytes, size_t n)
{
	struct ropefs_ioc_edit *edit = malloc(sizeof(*edit) + n);
	int r;

	if (!edit)
		return -ENOMEM;
	*edit = (struct ropefs_ioc_edit) { .at = t->range.from, .n = (uint32_t)n };
	memcpy(edit->data, bytes, n);
	r = ioctl(t->fd, ROPEFS_IOC_INSERT(n), edit) < 0 ? -errno : 0;
	free(edit);
	return r;
}

static int insert(const struct target *t, int from)
{
	uint8_t *bytes = malloc(COPY_BYTES);
	ssize_t n;
	int r = 0;

	if (!bytes)
		return -ENOMEM;
	n = read_full(from, bytes, COPY_BYTES);
	if (n < 0)
		r = (int)n;
	else if (n > ROPEFS_IOC_DATA_MAX)
		r = insert_through_view(t, from, bytes, (size_t)n);
	else if (n > 0)
		r = insert_small(t, bytes, (size_t)n);
	free(bytes);
	return r;
}

int verb_insert(const struct verb *verb, int argc, char **argv)
{
	const char *from_name = "-";
	const struct verb_option options[] = { { "from", 'f', true, &from_name }, { 0 } };
	struct ropefs_view view;
	struct target t;
	int first, r, status, from = STDIN_FILENO;

	if (verb_options(verb, argc, argv, options, 2, 2, &first) < 0)
		return first;
	if (!parse_place(argv[first + 1], &view))
		return term_usage(
			verb->name,
			"'%s' is no place: write one number, such as 100, 4K or "
			"-10",
			argv[first + 1]);
	if (strcmp(from_name, "-") != 0)
		from = open(from_name, O_RDONLY | O_CLOEXEC);
	if (from < 0)
		return mount_fail(errno, from_name);
	status = target_open(argv[first], argv[first + 1], &view, &t);
	if (status)
		return status;
	catch_signals();
	r = insert(&t, from);
	if (r == -ENOENT || r == -EEXIST)
		status = term_say(
			"%s: views are off on this mount, or a file is named like one; "
			"no more than %u bytes can be inserted",
			t.name, (unsigned)ROPEFS_IOC_DATA_MAX);
	else if (r == -EINTR)
		status = term_say("%s: interrupted, nothing was inserted", t.name);
	else if (r < 0)
		status = mount_fail(-r, t.name);
	close(t.fd);
	if (from != STDIN_FILENO)
		close(from);
	return status;
}
