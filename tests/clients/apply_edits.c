/* apply_edits.c - what a script of edits (edit_text.c) makes of a text, by a list of pieces;
 * shares no code with what it is compared to.
 *
 *	apply_edits BASE SCRIPT >OUT		writes the result in one pass
 *	apply_edits BASE SCRIPT FILE FROM	prints after how many edits, FROM or more, the
 *						text is what FILE has; fails when never */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct piece {
	const char *p;
	size_t n;
};

struct mapped {
	const char *p;
	size_t n;
};

static struct piece *pieces;
static size_t count, room, total;

static void die(const char *what)
{
	fprintf(stderr, "apply_edits: %s: %s\n", what, strerror(errno));
	exit(2);
}

static struct mapped map_file(const char *name)
{
	int fd = open(name, O_RDONLY);
	struct stat st;
	void *p;

	if (fd < 0 || fstat(fd, &st) < 0)
		die(name);
	if (st.st_size == 0)
		return (struct mapped) { "", 0 };
	p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	if (p == MAP_FAILED)
		die(name);
	return (struct mapped) { p, (size_t)st.st_size };
}

static void put(size_t at, struct piece piece)
{
	if (count == room) {
		room = room ? room * 2 : 1024;
		pieces = realloc(pieces, room * sizeof(*pieces));
		if (!pieces)
			die("memory");
	}
	memmove(pieces + at + 1, pieces + at, (count - at) * sizeof(*pieces));
	pieces[at] = piece;
	count++;
}

/* Splits the piece that byte `at` is in; returns the index of the piece that begins there. */
static size_t split(size_t at)
{
	size_t i = 0;

	while (i < count && at >= pieces[i].n)
		at -= pieces[i++].n;
	if (at == 0)
		return i;
	if (i == count) {
		errno = ERANGE;
		die("an edit");
	}
	put(i + 1, (struct piece) { pieces[i].p + at, pieces[i].n - at });
	pieces[i].n = at;
	return i + 1;
}

/* One edit of the script; the rest of it is returned, or NULL at its end. */
static const char *edit(const char *script, const char *end)
{
	char *next;
	size_t at, cut, n, from, to;

	if (script == end)
		return NULL;
	at = strtoull(script, &next, 10);
	cut = strtoull(next, &next, 10);
	n = strtoull(next, &next, 10);
	script = next + 1;
	from = split(at);
	to = split(at + cut);
	memmove(pieces + from, pieces + to, (count - to) * sizeof(*pieces));
	count -= to - from;
	if (n)
		put(from, (struct piece) { script, n });
	total = total + n - cut;
	return script + n;
}

static bool is_now(struct mapped file)
{
	size_t at = 0;

	if (file.n != total)
		return false;
	for (size_t i = 0; i < count; at += pieces[i++].n)
		if (memcmp(file.p + at, pieces[i].p, pieces[i].n) != 0)
			return false;
	return true;
}

int main(int argc, char **argv)
{
	struct mapped base, script, file = { 0 };
	unsigned long done = 0, from = 0;
	const char *next;

	if (argc != 3 && argc != 5) {
		fprintf(stderr, "usage: apply_edits BASE SCRIPT [FILE FROM]\n");
		return 2;
	}
	base = map_file(argv[1]);
	script = map_file(argv[2]);
	if (argc == 5) {
		file = map_file(argv[3]);
		from = strtoul(argv[4], NULL, 10);
	}
	if (base.n)
		put(0, (struct piece) { base.p, base.n });
	total = base.n;
	next = script.p;
	do {
		if (argc == 5 && done >= from && is_now(file)) {
			printf("%lu\n", done);
			return 0;
		}
		next = edit(next, script.p + script.n);
		done++;
	} while (next);
	if (argc == 5)
		return 1;
	for (size_t i = 0; i < count; i++)
		if (fwrite(pieces[i].p, 1, pieces[i].n, stdout) != pieces[i].n)
			die("writing");
	return fflush(stdout) ? 1 : 0;
}
