#include "tests/crash/history.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/ropefs_ioctl.h"

enum {
	NAME_LEN = 64,
	PAGE = 4096,
	GROW_MAX = 2 << 20, /* a file this long is cut, not made longer */
};

struct body {
	unsigned links;
	ino_t ino; /* while reading */
	size_t n;
	char *p;
};

static struct body *body_new(void)
{
	struct body *b = calloc(1, sizeof(*b));

	if (!b)
		abort();
	b->links = 1;
	return b;
}

static void body_put(struct body *b)
{
	if (b && --b->links == 0) {
		free(b->p);
		free(b);
	}
}

static void body_splice(struct body *b, uint64_t at, uint64_t cut, const char *p,
			uint64_t n)
{
	size_t tail = b->n - at - cut;

	assert(at + cut <= b->n);
	if (n > cut) {
		b->p = realloc(b->p, b->n + n - cut);
		if (!b->p)
			abort();
	}
	if (tail)
		memmove(b->p + at + n, b->p + at + cut, tail);
	if (n)
		memcpy(b->p + at, p, n);
	b->n = at + n + tail;
}

static const char *slot_name(unsigned slot, char name[NAME_LEN])
{
	snprintf(name, NAME_LEN, "%c/f%02u", slot % 2 ? 'b' : 'a', slot);
	return name;
}

/* --- folders --- */

int folder_make(int dir)
{
	if (mkdirat(dir, "a", 0755) < 0 || mkdirat(dir, "b", 0755) < 0)
		return -errno;
	return fsync(dir) < 0 ? -errno : 0;
}

void folder_release(struct folder *f)
{
	for (unsigned i = 0; i < HISTORY_SLOTS; i++)
		body_put(f->slot[i]);
	*f = (struct folder) { 0 };
}

static struct body *body_of_ino(const struct folder *f, ino_t ino)
{
	for (unsigned i = 0; i < HISTORY_SLOTS; i++)
		if (f->slot[i] && f->slot[i]->ino == ino)
			return f->slot[i];
	return NULL;
}

static int body_read(int fd, struct body *b)
{
	size_t done = 0;
	ssize_t r;

	b->p = malloc(b->n + 1);
	if (!b->p)
		abort();
	/* One byte more is asked for: there must be none. */
	do {
		r = read(fd, b->p + done, b->n + 1 - done);
		if (r < 0)
			return -errno;
		done += (size_t)r;
	} while (r > 0 && done <= b->n);
	return done == b->n ? 0 : -EUCLEAN;
}

static int slot_read(int dir, unsigned slot, struct folder *f)
{
	char name[NAME_LEN];
	struct body *b;
	struct stat st;
	int fd, r = 0;

	fd = openat(dir, slot_name(slot, name), O_RDONLY);
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	if (fstat(fd, &st) < 0) {
		r = -errno;
		close(fd);
		return r;
	}
	b = body_of_ino(f, st.st_ino);
	if (b) {
		b->links++;
	} else {
		b = body_new();
		b->ino = st.st_ino;
		b->n = (size_t)st.st_size;
		r = body_read(fd, b);
	}
	f->slot[slot] = b;
	close(fd);
	return r;
}

/* The names of one directory are among those that were just read. */
static int names_check(int dir, const char *which, unsigned odd, const struct folder *f)
{
	int fd = openat(dir, which, O_RDONLY | O_DIRECTORY), r = 0;
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	unsigned listed = 0, read = 0;
	struct dirent *e;

	if (!d)
		return -errno;
	while ((e = readdir(d)))
		listed += e->d_name[0] != '.';
	closedir(d);
	for (unsigned i = odd; i < HISTORY_SLOTS; i += 2)
		read += f->slot[i] != NULL;
	if (listed != read)
		r = -EUCLEAN;
	return r;
}

static int links_check(int dir, const struct folder *f)
{
	char name[NAME_LEN];
	struct stat st;

	for (unsigned i = 0; i < HISTORY_SLOTS; i++) {
		if (!f->slot[i])
			continue;
		if (fstatat(dir, slot_name(i, name), &st, AT_SYMLINK_NOFOLLOW) < 0)
			return -errno;
		if (st.st_nlink != f->slot[i]->links)
			return -EUCLEAN;
	}
	return 0;
}

int folder_read(int dir, struct folder *ret)
{
	struct folder f = { 0 };
	int r = 0;

	for (unsigned i = 0; i < HISTORY_SLOTS && r >= 0; i++)
		r = slot_read(dir, i, &f);
	if (r >= 0)
		r = names_check(dir, "a", 0, &f);
	if (r >= 0)
		r = names_check(dir, "b", 1, &f);
	if (r >= 0)
		r = links_check(dir, &f);
	if (r < 0) {
		folder_release(&f);
		return r;
	}
	*ret = f;
	return 0;
}

static bool sizes_equal(const struct folder *a, const struct folder *b, char *why,
			size_t n)
{
	for (unsigned i = 0; i < HISTORY_SLOTS; i++) {
		const struct body *x = a->slot[i], *y = b->slot[i];

		if (!x != !y) {
			snprintf(why, n, "file %u is in only one of them", i);
			return false;
		}
		if (x && x->n != y->n) {
			snprintf(why, n, "file %u has %zu and %zu bytes", i, x->n, y->n);
			return false;
		}
		for (unsigned k = 0; x && k < i; k++)
			if ((x == a->slot[k]) != (y == b->slot[k])) {
				snprintf(why, n,
					 "files %u and %u are links of one only in one",
					 k, i);
				return false;
			}
	}
	return true;
}

bool folder_equal(const struct folder *a, const struct folder *b, char *why, size_t n)
{
	if (!sizes_equal(a, b, why, n))
		return false;
	for (unsigned i = 0; i < HISTORY_SLOTS; i++) {
		const struct body *x = a->slot[i], *y = b->slot[i];
		size_t at = 0;

		if (!x || !x->n || memcmp(x->p, y->p, x->n) == 0)
			continue;
		while (x->p[at] == y->p[at])
			at++;
		snprintf(why, n, "file %u of %zu bytes differs at %zu", i, x->n, at);
		return false;
	}
	return true;
}

/* --- drawing --- */

static const struct {
	unsigned slots;
	unsigned weight[STEP_KINDS];
} roles[HISTORY_ROLES] = {
	[HISTORY_LOG] = { 2,
			  { [STEP_CREATE] = 20,
			    [STEP_APPEND] = 400,
			    [STEP_RENAME] = 1 } },
	[HISTORY_TEXT] = { 2,
			   { [STEP_CREATE] = 1,
			     [STEP_APPEND] = 2,
			     [STEP_OVERWRITE] = 10,
			     [STEP_SPLICE] = 100,
			     [STEP_TRUNCATE] = 1 } },
	[HISTORY_NAMES] = { HISTORY_SLOTS,
			    { [STEP_CREATE] = 20,
			      [STEP_APPEND] = 20,
			      [STEP_TRUNCATE] = 2,
			      [STEP_RENAME] = 20,
			      [STEP_EXCHANGE] = 5,
			      [STEP_LINK] = 10,
			      [STEP_UNLINK] = 20 } },
	[HISTORY_MIXED] = { 8,
			    { [STEP_CREATE] = 10,
			      [STEP_APPEND] = 30,
			      [STEP_OVERWRITE] = 10,
			      [STEP_SPLICE] = 30,
			      [STEP_TRUNCATE] = 3,
			      [STEP_RENAME] = 5,
			      [STEP_EXCHANGE] = 5,
			      [STEP_LINK] = 5,
			      [STEP_UNLINK] = 5 } },
};

static enum step_kind draw_kind(struct rng *rng, const unsigned weight[STEP_KINDS])
{
	uint64_t sum = 0, x;
	unsigned kind = 0;

	for (unsigned i = 0; i < STEP_KINDS; i++)
		sum += weight[i];
	for (x = rng_below(rng, sum); x >= weight[kind]; kind++)
		x -= weight[kind];
	return kind;
}

/* Mostly a line or so, sometimes many pages. */
static uint64_t draw_length(struct rng *rng)
{
	return 1 + rng_below(rng, rng_below(rng, 8) ? 200 : 40000);
}

/* Whether the names and their links allow it, and it changes something. */
static bool step_fits(const struct step *s, const struct folder *f)
{
	const struct body *from = f->slot[s->from], *to = f->slot[s->to];

	switch (s->kind) {
	case STEP_CREATE:
		return !to;
	case STEP_LINK:
		return from && !to;
	case STEP_RENAME:
		return from && from != to;
	case STEP_EXCHANGE:
		return from && to && from != to;
	default:
		return to;
	}
}

static void draw_place(struct rng *rng, uint64_t size, struct step *s)
{
	s->seed = rng_next(rng);
	s->by_view = rng_below(rng, 2);
	s->at = rng_below(rng, size + 1);
	s->n = draw_length(rng);
	switch (s->kind) {
	case STEP_APPEND:
		s->at = size;
		break;
	case STEP_SPLICE:
		if (rng_below(rng, 2))
			s->cut = rng_below(rng, s->n * 2);
		if (s->cut > size - s->at)
			s->cut = size - s->at;
		if (s->cut && rng_below(rng, 3) == 0)
			s->n = 0;
		if (!s->by_view && s->n > ROPEFS_IOC_DATA_MAX)
			s->n = ROPEFS_IOC_DATA_MAX;
		break;
	case STEP_TRUNCATE:
		s->n = size > GROW_MAX ? s->at / 4 : s->at + (s->n & 1 ? s->n : 0);
		if (s->n == size)
			s->n++;
		break;
	default:
		break;
	}
}

struct step step_next(struct rng *rng, enum history_role role, const struct folder *f)
{
	struct step s;

	do {
		s = (struct step) { .kind = draw_kind(rng, roles[role].weight) };
		s.from = (unsigned)rng_below(rng, roles[role].slots);
		s.to = (unsigned)rng_below(rng, roles[role].slots);
	} while (!step_fits(&s, f));
	if (s.kind > STEP_TRUNCATE || s.kind == STEP_CREATE)
		return s;
	if (f->slot[s.to]->n > GROW_MAX)
		s.kind = STEP_TRUNCATE;
	draw_place(rng, f->slot[s.to]->n, &s);
	return s;
}

const char *step_text(const struct step *s)
{
	static const char *const names[STEP_KINDS] = {
		"create", "append",   "overwrite", "splice", "truncate",
		"rename", "exchange", "link",	   "unlink"
	};
	static _Thread_local char text[160];

	snprintf(text, sizeof(text), "%s %u %u at %llu cut %llu n %llu%s", names[s->kind],
		 s->from, s->to, (unsigned long long)s->at, (unsigned long long)s->cut,
		 (unsigned long long)s->n, s->by_view ? " by view" : "");
	return text;
}

static char *step_bytes(const struct step *s)
{
	struct rng rng = rng_seeded(s->seed);
	char *p = malloc(s->n + 1);

	if (!p)
		abort();
	rng_fill(&rng, p, s->n);
	return p;
}

/* --- the model --- */

/* How many of a write's bytes its first parts have. */
static uint64_t parts_end(const struct step *s, unsigned parts)
{
	uint64_t end = (s->at / PAGE + parts) * PAGE;

	return parts == 0 ? 0 : end < s->at + s->n ? end - s->at : s->n;
}

unsigned step_parts(const struct step *s)
{
	if (s->kind != STEP_APPEND && s->kind != STEP_OVERWRITE)
		return 1;
	return (unsigned)((s->at + s->n - 1) / PAGE - s->at / PAGE) + 1;
}

static void apply_write(const struct step *s, unsigned part, struct body *b)
{
	uint64_t from = parts_end(s, part), to = parts_end(s, part + 1),
		 at = s->at + from;
	uint64_t cut = to - from < b->n - at ? to - from : b->n - at;
	char *p = step_bytes(s);

	body_splice(b, at, cut, p + from, to - from);
	free(p);
}

static void apply_truncate(uint64_t n, struct body *b)
{
	char *zeros;

	if (n <= b->n) {
		body_splice(b, n, b->n - n, NULL, 0);
		return;
	}
	zeros = calloc(1, n - b->n);
	if (!zeros)
		abort();
	body_splice(b, b->n, 0, zeros, n - b->n);
	free(zeros);
}

static void apply_bytes(const struct step *s, struct body *b)
{
	char *p = step_bytes(s);

	body_splice(b, s->at, s->cut, p, s->n);
	free(p);
}

void step_apply(const struct step *s, unsigned part, struct folder *f)
{
	struct body **from = &f->slot[s->from], **to = &f->slot[s->to], *b;

	assert(step_fits(s, f));
	switch (s->kind) {
	case STEP_CREATE:
		*to = body_new();
		break;
	case STEP_APPEND:
	case STEP_OVERWRITE:
		apply_write(s, part, *to);
		break;
	case STEP_SPLICE:
		apply_bytes(s, *to);
		break;
	case STEP_TRUNCATE:
		apply_truncate(s->n, *to);
		break;
	case STEP_RENAME:
		body_put(*to);
		*to = *from;
		*from = NULL;
		break;
	case STEP_EXCHANGE:
		b = *to;
		*to = *from;
		*from = b;
		break;
	case STEP_LINK:
		*to = *from;
		(*to)->links++;
		break;
	default:
		body_put(*to);
		*to = NULL;
		break;
	}
}

/* --- system calls --- */

static int close_after(int fd, int r, bool sync)
{
	if (r >= 0 && sync && fsync(fd) < 0)
		r = -errno;
	if (close(fd) < 0 && r >= 0)
		r = -errno;
	return r;
}

static int do_write(int dir, const struct step *s, bool sync)
{
	int flags = s->kind == STEP_APPEND ? O_WRONLY | O_APPEND : O_WRONLY, fd;
	char name[NAME_LEN], *p;
	ssize_t n;

	fd = openat(dir, slot_name(s->to, name), flags);
	if (fd < 0)
		return -errno;
	p = step_bytes(s);
	n = s->kind == STEP_APPEND ? write(fd, p, s->n)
				   : pwrite(fd, p, s->n, (off_t)s->at);
	free(p);
	return close_after(fd, n < 0 ? -errno : n != (ssize_t)s->n ? -EIO : 0, sync);
}

static int do_view(int dir, const struct step *s, bool sync)
{
	char file[NAME_LEN], name[NAME_LEN * 2], *p;
	uint64_t half = s->n / 2;
	int fd, r = 0;

	snprintf(name, sizeof(name), "%s@bytes=%llu..%llu", slot_name(s->to, file),
		 (unsigned long long)s->at, (unsigned long long)(s->at + s->cut));
	if (!s->n) {
		if (unlinkat(dir, name, 0) < 0)
			return -errno;
		return sync && fsync(dir) < 0 ? -errno : 0;
	}
	fd = openat(dir, name, O_WRONLY | O_TRUNC);
	if (fd < 0)
		return -errno;
	p = step_bytes(s);
	errno = 0;
	/* Two writes: what is staged must take effect as one. */
	if ((half && write(fd, p, half) != (ssize_t)half) ||
	    write(fd, p + half, s->n - half) != (ssize_t)(s->n - half))
		r = errno ? -errno : -EIO;
	free(p);
	return close_after(fd, r, sync);
}

static int do_ioctl(int dir, const struct step *s, bool sync)
{
	unsigned long nr = !s->n    ? ROPEFS_IOC_CUT
			   : s->cut ? ROPEFS_IOC_REPLACE(s->n)
				    : ROPEFS_IOC_INSERT(s->n);
	struct ropefs_ioc_edit *e = calloc(1, sizeof(*e) + s->n);
	char name[NAME_LEN], *p;
	int fd, r;

	if (!e)
		abort();
	p = step_bytes(s);
	*e = (struct ropefs_ioc_edit) { .at = s->at, .cut = s->cut, .n = (uint32_t)s->n };
	memcpy(e->data, p, s->n);
	free(p);
	fd = openat(dir, slot_name(s->to, name), O_WRONLY);
	r = fd < 0 || ioctl(fd, nr, e) < 0 ? -errno : 0;
	free(e);
	return fd < 0 ? r : close_after(fd, r, sync);
}

static int do_open(int dir, const struct step *s, bool sync)
{
	int flags = s->kind == STEP_CREATE ? O_WRONLY | O_CREAT | O_EXCL : O_WRONLY;
	char name[NAME_LEN];
	int fd = openat(dir, slot_name(s->to, name), flags, 0644), r = 0;

	if (fd < 0)
		return -errno;
	if (s->kind == STEP_TRUNCATE && ftruncate(fd, (off_t)s->n) < 0)
		r = -errno;
	return close_after(fd, r, sync);
}

static int do_names(int dir, const struct step *s, bool sync)
{
	char from[NAME_LEN], to[NAME_LEN];
	int r;

	slot_name(s->from, from);
	slot_name(s->to, to);
	if (s->kind == STEP_RENAME)
		r = renameat(dir, from, dir, to);
	else if (s->kind == STEP_EXCHANGE)
		r = renameat2(dir, from, dir, to, RENAME_EXCHANGE);
	else if (s->kind == STEP_LINK)
		r = linkat(dir, from, dir, to, 0);
	else
		r = unlinkat(dir, to, 0);
	if (r < 0)
		return -errno;
	return sync && fsync(dir) < 0 ? -errno : 0;
}

int step_do(int dir, const struct step *s, bool sync)
{
	switch (s->kind) {
	case STEP_CREATE:
	case STEP_TRUNCATE:
		return do_open(dir, s, sync);
	case STEP_APPEND:
	case STEP_OVERWRITE:
		return do_write(dir, s, sync);
	case STEP_SPLICE:
		return s->by_view ? do_view(dir, s, sync) : do_ioctl(dir, s, sync);
	default:
		return do_names(dir, s, sync);
	}
}

/* --- which of the states --- */

static void found_state(struct found *f, uint64_t there, uint64_t first_lost)
{
	if (!f->any)
		f->there = there;
	f->first_lost = first_lost;
	f->any = true;
}

struct found history_find(struct rng rng, enum history_role role, struct folder *f,
			  uint64_t durable, uint64_t begun, const struct folder *now)
{
	struct found found = { 0 };
	char why[160], why_first[160] = "";

	for (uint64_t i = 0; i <= begun; i++) {
		struct step s;

		if (i >= durable && folder_equal(now, f, why, sizeof(why)))
			found_state(&found, i, i);
		if (i == durable)
			memcpy(why_first, why, sizeof(why));
		if (i == begun)
			break;
		s = step_next(&rng, role, f);
		for (unsigned part = 0; part < step_parts(&s); part++) {
			step_apply(&s, part, f);
			if (i >= durable && part + 1 < step_parts(&s) &&
			    folder_equal(now, f, why, sizeof(why)))
				found_state(&found, i + 1, i);
		}
	}
	if (!found.any)
		printf("no state of the history from step %llu (durable) to %llu "
		       "(begun):\n"
		       "  to the first: %s\n  to the last: %s\n",
		       (unsigned long long)durable, (unsigned long long)begun, why_first,
		       why);
	return found;
}
