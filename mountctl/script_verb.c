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

/* A file or folder of the mount that the script names. */
struct file {
	char *name;
	int fd; /* -1: the script makes it */
	int mode; /* of open(2) */
	uint32_t number; /* fd -1: in the transaction */
	uint64_t size; /* then: as the lines so far leave it */
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

/* A sentence of its own and a status of its own: run again it may well do. */
static int conflict(const struct script *s)
{
	term_say("%s: somebody else changed one of the files meanwhile, or the daemon "
		 "was replaced: nothing was done; run it again",
		 s->name);
	return EXIT_CONFLICT;
}

static int complain(const struct script *s, const char *what, const char *why)
{
	if (!s->line)
		return term_say("%s: %s: %s", s->name, what, why);
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
static int check_file(struct script *s, const char *name, int fd, int mode)
{
	struct stat st;
	int r;

	if (fstat(fd, &st) < 0)
		return complain(s, name, strerror(errno));
	if (S_ISDIR(st.st_mode) != !!(mode & O_DIRECTORY) ||
	    (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode)))
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

static struct file *add_file(struct script *s, struct file what)
{
	struct file *bigger = realloc(s->files, (s->n_files + 1) * sizeof(*bigger));

	what.name = strdup(what.name);
	if (!bigger || !what.name)
		abort();
	s->files = bigger;
	s->files[s->n_files] = what;
	return &s->files[s->n_files++];
}

static int open_file(struct script *s, const char *name, int mode, struct file **ret)
{
	int fd, status;

	for (size_t i = 0; i < s->n_files; i++) {
		struct file *f = &s->files[i];

		if (!strcmp(f->name, name) && (f->mode == mode || f->fd < 0)) {
			*ret = f;
			return EXIT_DONE;
		}
	}
	fd = open(name, mode | O_CLOEXEC);
	if (fd < 0 && errno == ENOTCONN)
		return mount_fail(errno, name);
	if (fd < 0)
		return complain(s, name, strerror(errno));
	status = check_file(s, name, fd, mode);
	if (status) {
		close(fd);
		return status;
	}
	*ret = add_file(s,
			(struct file) { .name = (char *)name, .fd = fd, .mode = mode });
	return EXIT_DONE;
}

/* Its number in the transaction, and its size there. */
static int join(struct script *s, struct file *f, struct ropefs_ioc_txn_use *ret)
{
	*ret = (struct ropefs_ioc_txn_use) { .txn = s->id };
	if (f->fd < 0) {
		ret->file = f->number;
		ret->size = f->size;
		return EXIT_DONE;
	}
	return ioctl(f->fd, ROPEFS_IOC_TXN_USE, ret) < 0
		       ? complain(s, f->name, strerror(errno))
		       : EXIT_DONE;
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
	struct ropefs_ioc_txn_use use;
	struct ropefs_view view;
	char *what;
	int status;

	if (!parse_range(words->p, &view) && !parse_place(words->p, &view))
		return complain(s, words->p, "this is no range FROM..TO and no place");
	status = open_file(s, name->p, mode, &ret->file);
	if (status)
		return status;
	status = join(s, ret->file, &use);
	if (status)
		return status;
	ret->number = use.file;
	if (asprintf(&what, "%s:%u: %s", s->name, s->line, name->p) < 0)
		abort();
	status = resolve_range(what, words->p, &view, use.size, &ret->range);
	free(what);
	return status;
}

/* --- edits --- */

/* Of a step of the transaction that did not succeed, by errno and the sentence that the mount has
 * for it. */
static int refused(const struct script *s, const char *what)
{
	struct ropefs_ioc_txn_why w;
	int err = errno;

	if (err == EBUSY)
		return conflict(s);
	if (err == ENOTCONN)
		return term_say("%s: nothing was done: the daemon of the mount has ended",
				s->name);
	if (ioctl(s->txn, ROPEFS_IOC_TXN_WHY, &w) < 0 || !*w.text)
		return complain(s, what, strerror(err));
	return complain(s, what, w.text);
}

static int edit(struct script *s, struct file *f, struct ropefs_ioc_txn_edit *e)
{
	e->txn = s->id;
	e->dst = f->fd < 0 ? f->number : 0;
	f->size += e->n + e->src_n - e->cut;
	if (ioctl(f->fd < 0 ? s->txn : f->fd, ROPEFS_IOC_TXN_EDIT(e->n), e) < 0)
		return refused(s, f->name);
	s->bytes_out += e->cut;
	s->bytes_in += e->n + e->src_n;
	return EXIT_DONE;
}

/* Data in pieces, the first of which replaces the range; or one append of all of them. */
static int edit_data(struct script *s, const struct where *w, bool append, const char *p,
		     size_t n, int from)
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
		if (append)
			e->flags = ROPEFS_IOC_TXN_APPEND |
				   (got == ROPEFS_IOC_DATA_MAX ? ROPEFS_IOC_TXN_MORE : 0);
		if (!status && (e->n || e->cut || append))
			status = edit(s, w->file, e);
		e->at += append ? 0 : e->n;
		e->cut = 0;
	} while (!status && got == ROPEFS_IOC_DATA_MAX);
	free(e);
	return status;
}

/* DATA, or < PATH */
static int put_data(struct script *s, const struct where *w, bool append,
		    const struct word *data, bool path)
{
	int from = -1, status;

	if (path) {
		from = open(data[1].p, O_RDONLY | O_CLOEXEC);
		if (from < 0)
			return complain(s, data[1].p, strerror(errno));
	}
	status = edit_data(s, w, append, data->p, data->n, from);
	if (from >= 0)
		close(from);
	return status;
}

static bool is_path(const struct word *data, int n)
{
	return n == 2 && !data->quoted && !strcmp(data->p, "<");
}

/* append FILE DATA */
static int run_append(struct script *s, struct word *w, int n)
{
	struct where where = { 0 };
	struct ropefs_ioc_txn_use use;
	int status;

	if (n != 3 && !is_path(&w[2], n - 2))
		return complain(s, w[0].p, "it takes: FILE, and DATA or < PATH");
	status = open_file(s, w[1].p, O_WRONLY | O_APPEND, &where.file);
	if (!status)
		status = join(s, where.file, &use);
	return status ? status : put_data(s, &where, true, &w[2], n == 4);
}

/* A name, and its folder's number. The name is the end of the word. */
static int find_name(struct script *s, struct word *w, const char **ret_name,
		     uint32_t *ret_dir)
{
	char *slash = strrchr(w->p, '/');
	struct ropefs_ioc_txn_use use;
	struct file *f;
	char *dir;
	int status;

	if (asprintf(&dir, "%.*s", slash ? (int)(slash - w->p) + 1 : 1,
		     slash ? w->p : ".") < 0)
		abort();
	*ret_name = slash ? slash + 1 : w->p;
	status = open_file(s, dir, O_RDONLY | O_DIRECTORY, &f);
	free(dir);
	if (!status)
		status = join(s, f, &use);
	if (status)
		return status;
	*ret_dir = use.file;
	return strlen(*ret_name) > ROPEFS_NAME_MAX || !**ret_name
		       ? complain(s, w->p, "this is no name of a file")
		       : EXIT_DONE;
}

static int change_name(struct script *s, const char *what, struct ropefs_ioc_txn_name *n)
{
	return ioctl(s->txn, ROPEFS_IOC_TXN_NAME, n) < 0 ? refused(s, what) : EXIT_DONE;
}

/* create FILE, unlink FILE, rename FILE FILE2 */
static int run_name(struct script *s, struct word *w, int n)
{
	bool rename = !strcmp(w[0].p, "rename"), create = !strcmp(w[0].p, "create");
	struct ropefs_ioc_txn_name change = { .what = create   ? ROPEFS_IOC_TXN_CREATE
						      : rename ? ROPEFS_IOC_TXN_RENAME
							       : ROPEFS_IOC_TXN_UNLINK };
	const char *name, *to = "";
	mode_t mask;
	int status;

	if (n != (rename ? 3 : 2))
		return complain(s, w[0].p,
				rename ? "it takes: FILE FILE2" : "it takes: FILE");
	status = find_name(s, &w[1], &name, &change.dir);
	if (!status && rename)
		status = find_name(s, &w[2], &to, &change.to_dir);
	if (status)
		return status;
	memcpy(change.name, name, strlen(name));
	memcpy(change.to_name, to, strlen(to));
	if (create) {
		mask = umask(0);
		umask(mask);
		change.mode = 0666 & ~mask;
	}
	status = change_name(s, w[1].p, &change);
	if (!status && create)
		add_file(s, (struct file) {
				    .name = w[1].p, .fd = -1, .number = change.file });
	return status;
}

/* cursor QUEUE NAME ID */
static int run_cursor(struct script *s, struct word *w, int n)
{
	struct ropefs_ioc_txn_name change = { .what = ROPEFS_IOC_TXN_CURSOR };
	struct ropefs_ioc_txn_use use;
	struct file *f;
	int status;
	char *end;

	if (n != 4 || w[2].n >= sizeof(change.name))
		return complain(s, w[0].p, "it takes: QUEUE NAME ID");
	errno = 0;
	change.id = strtoull(w[3].p, &end, 10);
	if (errno || *end || end == w[3].p || *w[3].p == '-')
		return complain(s, w[3].p, "this is no id of a record");
	status = open_file(s, w[1].p, O_RDONLY, &f);
	if (!status)
		status = join(s, f, &use);
	if (status)
		return status;
	change.dir = use.file;
	memcpy(change.name, w[2].p, w[2].n);
	return change_name(s, w[1].p, &change);
}

/* insert FILE AT DATA, replace FILE FROM..TO DATA, cut FILE FROM..TO */
static int run_data(struct script *s, struct word *w, int n)
{
	bool cut = !strcmp(w[0].p, "cut");
	bool path = is_path(&w[3], n - 3);
	bool range = n > 2 && strstr(w[2].p, "..") != NULL;
	struct where where;
	int status;

	if (n != (cut ? 3 : 4) && !(path && !cut))
		return complain(s, w[0].p,
				cut ? "it takes: FILE FROM..TO"
				    : "it takes: FILE, a place, and DATA or < PATH");
	if (range == !strcmp(w[0].p, "insert"))
		return complain(s, w[2].p,
				range ? "insert takes a place" : "this is no range");
	status = find_where(s, &w[1], &w[2], O_WRONLY, &where);
	if (status || !cut)
		return status ? status : put_data(s, &where, false, &w[3], path);
	return edit_data(s, &where, false, "", 0, -1);
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
	if (!strcmp(w[0].p, "append"))
		return run_append(s, w, n);
	if (!strcmp(w[0].p, "create") || !strcmp(w[0].p, "unlink") ||
	    !strcmp(w[0].p, "rename"))
		return run_name(s, w, n);
	if (!strcmp(w[0].p, "cursor"))
		return run_cursor(s, w, n);
	return complain(s, w[0].p,
			"there are insert, cut, replace, copy, move, append, create, "
			"unlink, rename and cursor");
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
	if (s->txn < 0 || ioctl(s->txn, ROPEFS_IOC_TXN_COMMIT) == 0)
		return EXIT_DONE;
	s->line = 0; /* it may be any of them */
	return refused(s, "nothing was done");
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
		if (s.files[i].fd >= 0)
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
