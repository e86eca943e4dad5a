/* script_verb.c - ropectl edit: a script of edits, made by one transaction of the mount (see
 * ropefs_ioctl.h). Files are opened as any program opens them, so rights are the user's. */
#include <errno.h>
#include <fcntl.h>
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

#define WORDS_MAX 8

/* A file of the mount that the script names. */
struct file {
	char *name;
	int fd;
	int mode; /* of open(2) */
};

struct script {
	const char *name; /* for messages */
	unsigned line;
	struct file *files;
	size_t n_files;
	dev_t dev; /* of the mount; 0: no file was named yet */
	int txn; /* .ropefs/txn; -1 until then */
	uint64_t id;
	unsigned edits;
	uint64_t bytes_in, bytes_out;
};

static int complain(const struct script *s, const char *what, const char *why)
{
	return term_say("%s:%u: %s%s%s", s->name, s->line, what, *what ? ": " : "", why);
}

/* --- words of a line --- */

static int hex(char c)
{
	const char *digits = "0123456789abcdef",
		   *at = c ? strchr(digits, c | 0x20) : NULL;

	return at ? (int)(at - digits) : -1;
}

/* What stands behind a backslash; 0: nothing that is known. Moves *p to its last byte. */
static bool unescape(const char **p, char *ret)
{
	static const char from[] = "nrt0\\\"", to[] = "\n\r\t\0\\\"";
	const char *at = **p ? strchr(from, **p) : NULL;

	if (at) {
		*ret = to[at - from];
		return true;
	}
	if (**p != 'x' || hex((*p)[1]) < 0 || hex((*p)[2]) < 0)
		return false;
	*ret = (char)(hex((*p)[1]) << 4 | hex((*p)[2]));
	*p += 2;
	return true;
}

struct word {
	char *p; /* within the line, NUL-ended; may hold NULs when quoted */
	size_t n;
	bool quoted;
};

/* Takes a word off the line, in place. 0: there is none; -1: a quote that does not end, or an
 * unknown escape. */
static int take_word(char **line, struct word *ret)
{
	const char *p = *line + strspn(*line, " \t");
	char *to = *line + (p - *line), quote = 0;
	struct word w = { .p = to };

	if (!*p)
		return 0;
	if (*p == '\'' || *p == '"') {
		quote = *p++;
		w.quoted = true;
	}
	for (; *p && (quote ? *p != quote : !strchr(" \t", *p)); p++) {
		char c = *p;

		if (quote == '"' && c == '\\') {
			p++;
			if (!unescape(&p, &c))
				return -1;
		}
		*to++ = c;
	}
	if (quote && *p++ != quote)
		return -1;
	if (*p && !strchr(" \t", *p))
		return -1;
	w.n = (size_t)(to - w.p);
	*line = (char *)p + (*p != '\0');
	*to = '\0';
	*ret = w;
	return 1;
}

/* --- files --- */

static int open_txn(struct script *s, dev_t dev)
{
	struct mount m;
	char *path;

	if (mount_find_dev(dev, &m) < 0)
		return -ENODEV;
	if (asprintf(&path, "%s/.ropefs/txn", m.dir) < 0)
		abort();
	mount_release(&m);
	s->txn = open(path, O_RDONLY | O_CLOEXEC);
	free(path);
	if (s->txn < 0 || ioctl(s->txn, ROPEFS_IOC_TXN_ID, &s->id) < 0)
		return -errno;
	s->dev = dev;
	return 0;
}

/* Prints what is wrong. */
static int check_file(struct script *s, const char *name, int fd)
{
	struct stat st;
	int r;

	if (fstat(fd, &st) < 0)
		return complain(s, name, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return complain(s, name, "it is not a regular file");
	if (s->dev && st.st_dev != s->dev)
		return complain(s, name, "it is in another mount than the files before");
	r = s->dev ? 0 : open_txn(s, st.st_dev);
	if (r == -ENODEV)
		return complain(s, name, "it is not in a ropefs mount");
	if (r < 0)
		return complain(s, name, strerror(-r));
	return EXIT_DONE;
}

static int open_file(struct script *s, const char *name, int mode, struct file **ret)
{
	struct file *bigger, *f;
	int fd, status;

	for (size_t i = 0; i < s->n_files; i++) {
		f = &s->files[i];
		if (!strcmp(f->name, name) && f->mode == mode) {
			*ret = f;
			return EXIT_DONE;
		}
	}
	fd = open(name, mode | O_CLOEXEC);
	if (fd < 0)
		return complain(s, name, strerror(errno));
	status = check_file(s, name, fd);
	bigger = status ? NULL : realloc(s->files, (s->n_files + 1) * sizeof(*bigger));
	if (!bigger) {
		close(fd);
		return status ? status : term_fail_errno(ENOMEM, NULL);
	}
	s->files = bigger;
	f = &s->files[s->n_files++];
	*f = (struct file) { strdup(name), fd, mode };
	if (!f->name)
		abort();
	*ret = f;
	return EXIT_DONE;
}

/* A place or a range in a file of the script, and the file's number in the transaction. */
struct where {
	struct file *file;
	struct range range;
	uint32_t number;
};

static int find_where(struct script *s, const struct word *name, const struct word *words,
		      int mode, struct where *ret)
{
	struct ropefs_ioc_txn_use use = { 0 };
	struct ropefs_view view;
	char *what;
	int status;

	if (!parse_range(words->p, &view) && !parse_place(words->p, &view))
		return complain(s, words->p, "this is no range FROM..TO and no place");
	status = open_file(s, name->p, mode, &ret->file);
	if (status)
		return status;
	use.txn = s->id;
	if (ioctl(ret->file->fd, ROPEFS_IOC_TXN_USE, &use) < 0)
		return complain(s, name->p, strerror(errno));
	ret->number = use.file;
	if (asprintf(&what, "%s:%u: %s", s->name, s->line, name->p) < 0)
		abort();
	status = resolve_range(what, words->p, &view, use.size, &ret->range);
	free(what);
	return status;
}

/* --- edits --- */

/* The sentence that the mount has for the last error of the transaction, or the errno's. */
static const char *why(const struct script *s, int err, struct ropefs_ioc_txn_why *w)
{
	if (ioctl(s->txn, ROPEFS_IOC_TXN_WHY, w) < 0 || !*w->text)
		return strerror(err);
	return w->text;
}

static int edit(struct script *s, const struct file *f, struct ropefs_ioc_txn_edit *e)
{
	struct ropefs_ioc_txn_why w;

	e->txn = s->id;
	if (ioctl(f->fd, ROPEFS_IOC_TXN_EDIT(e->n), e) < 0)
		return complain(s, f->name, why(s, errno, &w));
	s->bytes_out += e->cut;
	s->bytes_in += e->n + e->src_n;
	return EXIT_DONE;
}

/* Data in pieces, the first of which replaces the range. */
static int edit_data(struct script *s, const struct where *w, const char *p, size_t n,
		     int from)
{
	struct ropefs_ioc_txn_edit *e = calloc(1, sizeof(*e) + ROPEFS_IOC_DATA_MAX);
	int status = EXIT_DONE;
	ssize_t got;

	if (!e)
		return term_fail_errno(ENOMEM, NULL);
	e->at = w->range.from;
	e->cut = w->range.to - w->range.from;
	do {
		if (from >= 0) {
			got = read_full(from, e->data, ROPEFS_IOC_DATA_MAX);
		} else {
			got = (ssize_t)(n < ROPEFS_IOC_DATA_MAX ? n
								: ROPEFS_IOC_DATA_MAX);
			memcpy(e->data, p, (size_t)got);
			p += got;
			n -= (size_t)got;
		}
		if (got < 0)
			status = complain(s, "<", strerror((int)-got));
		e->n = got < 0 ? 0 : (uint32_t)got;
		if (!status && (e->n || e->cut))
			status = edit(s, w->file, e);
		e->at += e->n;
		e->cut = 0;
	} while (!status && got == ROPEFS_IOC_DATA_MAX);
	free(e);
	return status;
}

/* insert FILE AT DATA, replace FILE FROM..TO DATA, cut FILE FROM..TO */
static int run_data(struct script *s, struct word *w, int n)
{
	bool cut = !strcmp(w[0].p, "cut");
	bool path = n == 5 && !w[3].quoted && !strcmp(w[3].p, "<");
	bool range = n > 2 && strstr(w[2].p, "..") != NULL;
	struct where where;
	int from = -1, status;

	if (n != (cut ? 3 : 4) && !(path && !cut))
		return complain(s, w[0].p,
				cut ? "it takes: FILE FROM..TO"
				    : "it takes: FILE, a place, and DATA or < PATH");
	if (range == !strcmp(w[0].p, "insert"))
		return complain(s, w[2].p,
				range ? "insert takes a place" : "this is no range");
	status = find_where(s, &w[1], &w[2], O_WRONLY, &where);
	if (status)
		return status;
	if (path) {
		from = open(w[4].p, O_RDONLY | O_CLOEXEC);
		if (from < 0)
			return complain(s, w[4].p, strerror(errno));
	}
	status = edit_data(s, &where, cut ? "" : w[3].p, cut ? 0 : w[3].n, from);
	if (from >= 0)
		close(from);
	return status;
}

/* copy FILE FROM..TO to FILE2 AT, move ... */
static int run_range(struct script *s, struct word *w, int n)
{
	bool move = !strcmp(w[0].p, "move");
	struct ropefs_ioc_txn_edit e = { .flags = move ? ROPEFS_IOC_TXN_MOVE : 0 };
	struct where src, dst;
	int status;

	if (n != 6 || strcmp(w[3].p, "to") != 0 || !strstr(w[2].p, ".."))
		return complain(s, w[0].p, "it takes: FILE FROM..TO to FILE2 AT");
	status = find_where(s, &w[1], &w[2], move ? O_RDWR : O_RDONLY, &src);
	if (!status)
		status = find_where(s, &w[4], &w[5], O_WRONLY, &dst);
	if (status)
		return status;
	e.at = dst.range.from;
	e.cut = dst.range.to - dst.range.from;
	e.src = src.number;
	e.src_at = src.range.from;
	e.src_n = src.range.to - src.range.from;
	return edit(s, dst.file, &e);
}

static int run_line(struct script *s, char *line)
{
	struct word w[WORDS_MAX];
	int n = 0, r;

	while ((r = n < WORDS_MAX ? take_word(&line, &w[n]) : 0) > 0)
		n++;
	if (r < 0)
		return complain(s, "", "a quote does not end, or an escape is not known");
	if (!n || *w[0].p == '#')
		return EXIT_DONE;
	s->edits++;
	if (!strcmp(w[0].p, "insert") || !strcmp(w[0].p, "replace") ||
	    !strcmp(w[0].p, "cut"))
		return run_data(s, w, n);
	if (!strcmp(w[0].p, "copy") || !strcmp(w[0].p, "move"))
		return run_range(s, w, n);
	return complain(s, w[0].p, "there are insert, cut, replace, copy and move");
}

static int run_lines(struct script *s, FILE *from)
{
	char *line = NULL;
	int status = EXIT_DONE;
	size_t cap = 0;
	ssize_t n;

	while (!status && (n = getline(&line, &cap, from)) >= 0) {
		s->line++;
		if (n && line[n - 1] == '\n')
			line[n - 1] = '\0';
		status = run_line(s, line);
	}
	if (!status && ferror(from))
		status = term_fail_errno(errno, s->name);
	free(line);
	return status;
}

static int commit(struct script *s)
{
	struct ropefs_ioc_txn_why w;

	if (s->txn < 0 || ioctl(s->txn, ROPEFS_IOC_TXN_COMMIT) == 0)
		return EXIT_DONE;
	if (errno == EBUSY)
		return term_say("%s: somebody else changed one of the files meanwhile: "
				"nothing was done; run it again",
				s->name);
	return term_say("%s: nothing was done: %s", s->name, why(s, errno, &w));
}

static void print_done(const struct script *s, bool json, bool dry)
{
	if (json)
		printf("{\"edits\": %u, \"bytes_in\": %llu, \"bytes_out\": %llu, "
		       "\"committed\": %s}\n",
		       s->edits, (unsigned long long)s->bytes_in,
		       (unsigned long long)s->bytes_out, dry ? "false" : "true");
	else if (dry)
		printf("%u edits would be made: %s in, %s out\n", s->edits,
		       term_bytes((double)s->bytes_in).s,
		       term_bytes((double)s->bytes_out).s);
}

int verb_edit(const struct verb *verb, int argc, char **argv)
{
	const char *json = NULL, *dry = NULL;
	const struct verb_option options[] = { { "json", 'j', false, &json },
					       { "dry-run", 'n', false, &dry },
					       { 0 } };
	struct script s = { .name = "-", .txn = -1 };
	FILE *from = stdin;
	int first, status;
	int n = verb_options(verb, argc, argv, options, 0, 1, &first);

	if (n < 0)
		return first;
	if (n > 0 && strcmp(argv[first], "-") != 0) {
		s.name = argv[first];
		from = fopen(s.name, "re");
	}
	if (!from)
		return term_fail_errno(errno, s.name);
	status = run_lines(&s, from);
	if (!status && !dry)
		status = commit(&s);
	if (!status)
		print_done(&s, json, dry);
	for (size_t i = 0; i < s.n_files; i++) {
		close(s.files[i].fd);
		free(s.files[i].name);
	}
	free(s.files);
	if (s.txn >= 0)
		close(s.txn);
	if (from != stdin)
		fclose(from);
	return status;
}
