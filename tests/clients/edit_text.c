/* edit_text.c - makes a text and a script of random edits, and does the edits on a mount.
 *
 *	edit_text text SEED BYTES >FILE		lines of words
 *	edit_text script SEED EDITS BYTES >SCRIPT	edits of a text of so many bytes
 *	edit_text apply SCRIPT FILE ACKS [EVERY]	by ioctl, each tenth through a view
 *
 * A script is, for each edit, a line "AT CUT N" and N bytes: CUT bytes are taken out at AT and
 * the N bytes put there. apply fsyncs after every EVERY edits (1000) and at the end, and then
 * adds a line with the count of edits done to ACKS. */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "fs/ropefs_ioctl.h"
#include "tests/lib/suite.h"

enum {
	LINES = 4096, /* that a text is drawn from */
	LINE_MAX_BYTES = 120,
	EDIT_BYTES_MAX = 300,
};

static int failed(const char *what)
{
	fprintf(stderr, "edit_text: %s: %s\n", what, strerror(errno));
	return 1;
}

static size_t make_line(struct rng *rng, char *p)
{
	size_t n = 0, want = rng_below(rng, LINE_MAX_BYTES - 20);

	while (n < want) {
		for (uint64_t k = rng_below(rng, 9) + 1; k; k--)
			p[n++] = (char)('a' + rng_below(rng, 26));
		p[n++] = ' ';
	}
	p[n++] = '\n';
	return n;
}

static int make_text(uint64_t seed, uint64_t bytes)
{
	static char line[LINES][LINE_MAX_BYTES];
	static size_t length[LINES];
	struct rng rng = rng_seeded(seed);

	for (unsigned i = 0; i < LINES; i++)
		length[i] = make_line(&rng, line[i]);
	for (uint64_t done = 0; done < bytes;) {
		uint64_t i = rng_below(&rng, LINES);
		size_t n = length[i] < bytes - done ? length[i] : bytes - done;

		if (fwrite(line[i], 1, n, stdout) != n)
			return failed("text");
		done += n;
	}
	return fflush(stdout) ? failed("text") : 0;
}

static int make_script(uint64_t seed, uint64_t edits, uint64_t size)
{
	struct rng rng = rng_seeded(seed);
	char p[EDIT_BYTES_MAX];

	for (uint64_t i = 0; i < edits; i++) {
		uint64_t kind = rng_below(&rng, 3), at = rng_below(&rng, size + 1);
		uint64_t cut = kind == 0 ? 0 : rng_below(&rng, EDIT_BYTES_MAX) + 1;
		uint64_t n = kind == 1 ? 0 : rng_below(&rng, EDIT_BYTES_MAX) + 1;

		if (cut > size - at)
			cut = size - at;
		for (uint64_t k = 0; k < n; k++)
			p[k] = (char)('A' + rng_below(&rng, 26));
		printf("%llu %llu %llu\n", (unsigned long long)at,
		       (unsigned long long)cut, (unsigned long long)n);
		fwrite(p, 1, n, stdout);
		size += n - cut;
	}
	return fflush(stdout) ? failed("script") : 0;
}

struct edit {
	uint64_t at, cut, n;
	char p[EDIT_BYTES_MAX];
};

/* 1, or 0 at the end. */
static int edit_read(FILE *script, struct edit *ret)
{
	unsigned long long at, cut, n;

	if (fscanf(script, "%llu %llu %llu", &at, &cut, &n) != 3 || n > EDIT_BYTES_MAX)
		return 0;
	*ret = (struct edit) { at, cut, n };
	return getc(script) == '\n' && fread(ret->p, 1, n, script) == n;
}

static int edit_by_view(const char *file, const struct edit *e)
{
	char name[4096];
	ssize_t n;
	int fd;

	snprintf(name, sizeof(name), "%s@bytes=%llu..%llu", file,
		 (unsigned long long)e->at, (unsigned long long)(e->at + e->cut));
	if (!e->n)
		return unlink(name);
	fd = open(name, O_WRONLY | O_TRUNC);
	if (fd < 0)
		return -1;
	n = write(fd, e->p, e->n);
	return close(fd) < 0 || n != (ssize_t)e->n ? -1 : 0;
}

static int edit_by_ioctl(int fd, const struct edit *e)
{
	unsigned long nr = !e->n    ? ROPEFS_IOC_CUT
			   : e->cut ? ROPEFS_IOC_REPLACE(e->n)
				    : ROPEFS_IOC_INSERT(e->n);
	struct ropefs_ioc_edit *ioc = calloc(1, sizeof(*ioc) + e->n);
	int r;

	*ioc = (struct ropefs_ioc_edit) { .at = e->at,
					  .cut = e->cut,
					  .n = (uint32_t)e->n };
	memcpy(ioc->data, e->p, e->n);
	r = !e->n && !e->cut ? 0 : ioctl(fd, nr, ioc);
	free(ioc);
	return r;
}

static int apply(char **a, uint64_t every)
{
	FILE *script = fopen(a[0], "r"), *acks = fopen(a[2], "a");
	int fd = open(a[1], O_RDWR), more;
	struct edit e = { 0 };
	uint64_t done = 0;

	if (!script || !acks || fd < 0)
		return failed("apply");
	do {
		more = edit_read(script, &e);
		if (more && done % 10 == 0 && e.n + e.cut
			    ? edit_by_view(a[1], &e) < 0
			    : more && edit_by_ioctl(fd, &e) < 0)
			return failed("an edit");
		done += (uint64_t)more;
		if (!more || done % every == 0) {
			if (fsync(fd) < 0)
				return failed("fsync");
			fprintf(acks, "%llu\n", (unsigned long long)done);
			fflush(acks);
		}
	} while (more);
	return 0;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	if (argc == 4 && !strcmp(what, "text"))
		return make_text(strtoull(argv[2], NULL, 0), strtoull(argv[3], NULL, 0));
	if (argc == 5 && !strcmp(what, "script"))
		return make_script(strtoull(argv[2], NULL, 0), strtoull(argv[3], NULL, 0),
				   strtoull(argv[4], NULL, 0));
	if ((argc == 5 || argc == 6) && !strcmp(what, "apply"))
		return apply(argv + 2, argc == 6 ? strtoull(argv[5], NULL, 0) : 1000);
	fprintf(stderr, "usage: edit_text text|script|apply ...\n");
	return 2;
}
