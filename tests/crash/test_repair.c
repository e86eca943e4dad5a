/* test_repair.c - damage of every kind, and the repair of it: a bit flipped, a sector zeroed, there
 * twice, or swapped with another of the same store, a file put back from an older copy, gone, or
 * under another's name.
 *
 * What must hold for each: no read gives bytes that the file never had, before the repair and
 * after; what could be read before can be read after, and is the same; fsck is content then; and
 * a second repair finds nothing to do. The checker knows the bytes that each file ever had, and
 * nothing of how they are stored. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/base/err.h"
#include "tests/fault/damage_store.h"

#define PIECE 4096u

static char what[256]; /* the damage, for messages */

/* --- what can be read --- */

struct seen {
	bool attr, named;
	uint64_t size, good; /* bytes that could be read */
	uint8_t *read; /* a byte a piece */
	uint32_t *sums;
};
static struct seen before[ITEMS], after[ITEMS];
static bool
	log_stops; /* before what it changes and can't; a repair goes on behind that */

static uint32_t sum_of(const uint8_t *p, size_t n)
{
	uint32_t sum = 2166136261u;

	for (size_t i = 0; i < n; i++)
		sum = (sum ^ p[i]) * 16777619u;
	return sum;
}

static bool is_error(long r, const char *of, const char *name)
{
	if (r >= 0)
		return false;
	/* -ESTALE: its snapshot is lost. */
	ck_assert_msg(ropefs_error_errno((int)r) == EIO || r == -ENOENT || r == -ESTALE,
		      "%s: %s of %s gives %ld %s", what, of, name, r, err_detail());
	return true;
}

/* Which versions of a file still explain what was read of it. */
struct versions_left {
	bool out[ARRAY_LEN(versions)];
};

static bool explained(const struct item *it, struct versions_left *left, uint64_t size,
		      size_t at, const uint8_t *p, size_t n)
{
	bool any = false;

	for (size_t i = 0; i < n_versions; i++) {
		const struct version *v = &versions[i];

		if (v->ino != it->ino || left->out[i])
			continue;
		if (v->data->n != size || memcmp(v->data->p + at, p, n) != 0)
			left->out[i] = true;
		else
			any = true;
	}
	return any;
}

static void see_bytes(struct ropefs *fs, const struct item *it, struct seen *s)
{
	static struct versions_left left;
	uint8_t p[PIECE];

	memset(&left, 0, sizeof(left));
	s->read = calloc(s->size / PIECE + 1, 1);
	s->sums = calloc(s->size / PIECE + 1, sizeof(*s->sums));
	ck_assert(s->read && s->sums);
	for (uint64_t at = 0; at < s->size; at += PIECE) {
		size_t n = MIN(s->size - at, (uint64_t)PIECE);
		ssize_t r = ropefs_read(fs, it->ino, at, p, n, 0);

		if (is_error(r, "a read", it->name))
			continue;
		ck_assert_msg((size_t)r == n && explained(it, &left, s->size, at, p, n),
			      "%s: wrong bytes in %s at %llu of %llu", what, it->name,
			      (unsigned long long)at, (unsigned long long)s->size);
		s->read[at / PIECE] = 1;
		s->sums[at / PIECE] = sum_of(p, n);
		s->good += n;
	}
}

/* Each record that is given is the one with that id. */
static void see_records(struct ropefs *fs, const struct item *it)
{
	static uint8_t p[ROPEFS_WRITE_MAX];
	struct ropefs_record rec[64];
	struct ropefs_batch b = { .records = rec, .max = 64, .p = p, .n = sizeof(p) };
	struct ropefs_queue q;
	int r = ropefs_queue_info(fs, it->ino, &q);

	if (r < 0)
		return; /* a plain file, now */
	b.id = q.first;
	while ((r = ropefs_queue_read(fs, it->ino, &b, 0)) >= 0 && b.count) {
		size_t at = 0;

		for (unsigned i = 0; i < b.count; i++) {
			struct span want = damage_store_record(rec[i].id);

			ck_assert_msg(rec[i].n == want.n &&
					      !memcmp(p + at, want.p, want.n),
				      "%s: wrong record %llu", what,
				      (unsigned long long)rec[i].id);
			at += rec[i].n;
		}
	}
	is_error(r, "records", it->name);
}

static void see_item(struct ropefs *fs, const struct item *it, struct seen *s)
{
	struct ropefs_attr attr;

	free(s->read);
	free(s->sums);
	*s = (struct seen) { 0 };
	if (!it->ino)
		return;
	s->named = it->ino == ROPEFS_ROOT_INO ||
		   (!is_error(ropefs_lookup(fs, it->dir, ropefs_name(it->name), &attr),
			      "a lookup", it->name) &&
		    attr.ino == it->ino);
	if (is_error(ropefs_getattr(fs, it->ino, &attr), "getattr", it->name))
		return;
	s->attr = true;
	if (!S_ISREG(attr.mode))
		return;
	s->size = attr.size;
	see_bytes(fs, it, s);
	if (attr.is_queue)
		see_records(fs, it);
}

/* False: it can't be opened. */
static bool see_all(struct seen *to)
{
	struct ropefs_opts opts = { .read_only = true, .key_file = key };
	const struct state *last = &states[n_states - 1];
	struct ropefs *fs;
	int r = ropefs_open(store, &opts, &fs);

	if (r < 0)
		return false;
	for (size_t i = 0; i < last->n; i++)
		see_item(fs, &last->items[i], &to[i]);
	log_stops = strcmp(fs->read_only_why, ROPEFS_READ_ONLY_ASKED) != 0;
	store_abandon(fs, false);
	return true;
}

/* Nothing that could be read is worse. */
static void compare(bool stopped)
{
	const struct state *last = &states[n_states - 1];

	for (size_t i = 0; i < last->n; i++) {
		const struct item *it = &last->items[i];
		const struct seen *b = &before[i], *a = &after[i];

		if (S_ISLNK(it->mode))
			continue; /* goes with its target */
		ck_assert_msg(!b->named || !b->attr || a->named,
			      "%s: the name %s is gone", what, it->name);
		ck_assert_msg(!b->attr || a->attr, "%s: inode %llu (%s) is gone", what,
			      (unsigned long long)it->ino, it->name);
		if (!b->attr || stopped)
			continue; /* of another time, perhaps, but what it had then */
		ck_assert_msg(a->size == b->size, "%s: %s has another size", what,
			      it->name);
		for (uint64_t k = 0; k * PIECE < b->size; k++)
			ck_assert_msg(!b->read[k] ||
					      (a->read[k] && a->sums[k] == b->sums[k]),
				      "%s: piece %llu of %s is worse", what,
				      (unsigned long long)k, it->name);
	}
}

/* --- repair --- */

struct told {
	unsigned n;
	char first[300];
};

static void on_line(void *arg, const char *line)
{
	struct told *t = arg;

	if (!t->n++)
		snprintf(t->first, sizeof(t->first), "%s", line);
}

static int repair(bool apply, struct ropefs_repair *ret)
{
	*ret = (struct ropefs_repair) { .key_file = key, .apply = apply };
	return ropefs_repair(store, ret);
}

static void check_clean(void)
{
	struct told told = { 0 };
	struct ropefs_check c = { .key_file = key, .bad = on_line, .arg = &told };
	int r = ropefs_check(store, &c);

	ck_assert_msg(r == 0, "%s: after the repair: %d, %u problems: %s", what, r,
		      told.n, told.first);
}

static unsigned n_repaired, n_hopeless, n_harmless;
static uint64_t n_lost_bytes;

/* For each damage; whole: what is there may be too old to be told from what should be. */
static void endure(void)
{
	struct ropefs_repair plan, done, again;
	bool opens = see_all(before), stopped = log_stops;
	int r = repair(false, &plan);

	if (!opens) { /* and a repair says so */
		ck_assert_msg(r < 0, "%s: repaired, but can't be opened", what);
		n_hopeless++;
		return;
	}
	ck_assert_msg(r == 0, "%s: no plan: %d %s", what, r, err_detail());
	if (!plan.steps) {
		n_harmless++;
		check_clean();
		return;
	}
	r = repair(true, &done);
	ck_assert_msg(r == 0, "%s: no repair: %d %s", what, r, err_detail());
	/* Copies of superblocks and the header are mended by the opening itself. */
	ck_assert_msg(!done.steps || *done.kept, "%s: nothing was kept", what);
	ck_assert_uint_eq(done.lost_bytes, plan.lost_bytes);
	n_repaired++;
	n_lost_bytes += done.lost_bytes;
	check_clean();
	ck_assert_msg(see_all(after), "%s: can't be opened after the repair", what);
	compare(stopped);
	ck_ok(repair(false, &again));
	ck_assert_msg(!again.steps, "%s: a second repair has %llu steps", what,
		      (unsigned long long)again.steps);
}

/* --- damage --- */

static int open_stored(const struct stored *f)
{
	char path[4400];
	int fd;

	stored_path(f->name, path, sizeof(path));
	fd = open(path, O_WRONLY | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	return fd;
}

static void put_sector(const struct stored *f, size_t at, const uint8_t *p, size_t n)
{
	int fd = open_stored(f);

	n = MIN(n, f->n - at);
	ck_assert_int_eq(pwrite(fd, p, n, (off_t)at), (ssize_t)n);
	close(fd);
}

static bool is_kind(const struct stored *f, const char *prefix)
{
	return !strncmp(f->name, prefix, strlen(prefix));
}

static const char *kind_wanted; /* of any_file(); NULL: any */

/* A file: the small ones as often as the large ones. */
static size_t any_file(void)
{
	static const char *const kinds[] = { "pages",  "pages",	 "pages",
					     "packs/", "packs/", "packs/",
					     "wal/",   "wal/",	 "ropefs" };
	const char *kind =
		kind_wanted ? kind_wanted : kinds[rng_below(&rng, ARRAY_LEN(kinds))];

	for (;;) {
		size_t i = rng_below(&rng, n_files);

		if (is_kind(&files[i], kind))
			return i;
	}
}

/* In what was ever written. */
static size_t any_place(const struct stored *f)
{
	size_t n = f->n;

	while (n > 1 && f->p[n - 1] == 0)
		n--;
	return rng_below(&rng, n);
}

static void flip_bit(void)
{
	const struct stored *f = &files[any_file()];
	size_t at = any_place(f);
	unsigned bit = (unsigned)rng_below(&rng, 8);

	snprintf(what, sizeof(what), "bit %u of byte %zu of %s", bit, at, f->name);
	poke(f, at, (uint8_t)(f->p[at] ^ 1u << bit));
}

static void zero_sector(void)
{
	static const uint8_t zeros[4096];
	const struct stored *f = &files[any_file()];
	size_t n = rng_below(&rng, 2) ? 512 : 4096, at = any_place(f) / n * n;

	snprintf(what, sizeof(what), "%zu bytes at %zu of %s zeroed", n, at, f->name);
	put_sector(f, at, zeros, n);
}

static void repeat_sector(void)
{
	const struct stored *f = &files[any_file()];
	size_t n = rng_below(&rng, 2) ? 512 : 4096, at = any_place(f) / n * n;

	if (at + 2 * n > f->n)
		at = 0;
	snprintf(what, sizeof(what), "%zu bytes at %zu of %s there twice", n, at,
		 f->name);
	put_sector(f, at + n, f->p + at, n);
}

static void swap_sectors(void)
{
	const char *kind = kind_wanted;
	const struct stored *f = &files[any_file()], *g;
	size_t n = rng_below(&rng, 2) ? 512 : 4096;
	size_t at = any_place(f) / n * n, to;

	kind_wanted = NULL;
	g = &files[any_file()];
	kind_wanted = kind;
	to = any_place(g) / n * n;
	if (at + n > f->n || to + n > g->n)
		return;
	snprintf(what, sizeof(what),
		 "%zu bytes at %zu of %s swapped with those at %zu of %s", n, at, f->name,
		 to, g->name);
	put_sector(f, at, g->p + to, n);
	put_sector(g, to, f->p + at, n);
}

/* One that was there before, of another content if there is one. */
static size_t any_older_file(void)
{
	size_t i, tries = 0;

	do {
		i = any_file();
		if (++tries > 1000) /* there is none of that kind */
			kind_wanted = NULL;
	} while (!old_files[i].p || (tries < 300 && old_files[i].n == files[i].n &&
				     !memcmp(old_files[i].p, files[i].p, files[i].n)));
	return i;
}

/* Some bytes of the file as it was before, where those are others if there are such. */
static void older_sector(void)
{
	size_t i = any_older_file(), at, tries = 0;
	const struct stored *f = &files[i], *old = &old_files[i];
	size_t n = rng_below(&rng, 2) ? 512 : 4096;

	do
		at = any_place(f) / n * n;
	while (at + n > MIN(f->n, old->n)
		       ? ++tries < 1000
		       : !memcmp(f->p + at, old->p + at, n) && ++tries < 300);
	if (at + n > MIN(f->n, old->n))
		return;
	snprintf(what, sizeof(what), "%zu older bytes at %zu of %s", n, at, f->name);
	put_sector(f, at, old->p + at, n);
}

static void put_back_older(void)
{
	size_t i = any_older_file();

	snprintf(what, sizeof(what), "an older %s", files[i].name);
	put_back(&old_files[i]);
}

static void lose_file(void)
{
	char path[4400], other[4400];
	size_t i = any_file(), k = any_file();

	while (!is_kind(&files[i], "packs/") && !is_kind(&files[i], "wal/"))
		i = any_file();
	while (!is_kind(&files[k], "packs/"))
		k = any_file();
	stored_path(files[i].name, path, sizeof(path));
	stored_path(files[k].name, other, sizeof(other));
	snprintf(what, sizeof(what), "%s gone", files[i].name);
	if (rng_below(&rng, 2) && i != k && is_kind(&files[i], "packs/")) {
		snprintf(what, sizeof(what), "%s under the name of %s", files[i].name,
			 files[k].name);
		ck_assert_int_eq(rename(path, other), 0);
	} else {
		ck_assert_int_eq(unlink(path), 0);
	}
}

/* What repairs kept. */
static void wipe_kept(void)
{
	struct dirent *e, *k;
	char path[4500];
	DIR *d = opendir(store), *in;

	ck_assert(d);
	while ((e = readdir(d))) {
		if (strncmp(e->d_name, "damaged-", 8) != 0)
			continue;
		snprintf(path, sizeof(path), "%s/%s", store, e->d_name);
		in = opendir(path);
		ck_assert(in);
		while ((k = readdir(in)))
			if (k->d_name[0] != '.')
				ck_assert_int_eq(unlinkat(dirfd(in), k->d_name, 0), 0);
		closedir(in);
		ck_assert_int_eq(rmdir(path), 0);
	}
	closedir(d);
}

/* The page file once more, as every store that is mounted has it. */
static void put_copy(void)
{
	struct stored copy;

	for (size_t i = 0; i < n_files; i++)
		if (!strcmp(files[i].name, "pages"))
			copy = files[i];
	snprintf(copy.name, sizeof(copy.name), "pages.copy");
	put_back(&copy);
}

static bool only_pages_damaged(void)
{
	return strstr(what, "pages") && !strstr(what, "packs/") &&
	       !strstr(what, "wal/") && !strstr(what, "ropefs");
}

/* Each way on each kind of file first, then any on any. */
static struct {
	const char *name;
	void (*spoil)(void);
	unsigned made, noticed;
} ways[] = {
	{ "bit flipped", flip_bit, 0, 0 },
	{ "sector zeroed", zero_sector, 0, 0 },
	{ "sector there twice", repeat_sector, 0, 0 },
	{ "sectors swapped", swap_sectors, 0, 0 },
	{ "sector of an older copy", older_sector, 0, 0 },
	{ "older file put back", put_back_older, 0, 0 },
	{ "file gone or another's", lose_file, 0, 0 },
};

static void spoil_and_repair(unsigned n)
{
	static const char *const kinds[] = { "pages", "packs/", "wal/" };
	unsigned way = n / ARRAY_LEN(kinds) % ARRAY_LEN(ways), harmless = n_harmless;
	uint64_t lost = n_lost_bytes;
	bool twice = rng_below(&rng, 2);

	if (n >= ARRAY_LEN(kinds) * ARRAY_LEN(ways))
		way = (unsigned)rng_below(&rng, ARRAY_LEN(ways));
	else if (ways[way].spoil != lose_file)
		kind_wanted = kinds[n % ARRAY_LEN(kinds)];
	if (twice)
		put_copy();
	ways[way].spoil();
	kind_wanted = NULL;
	endure();
	ways[way].made++;
	ways[way].noticed += n_harmless == harmless;
	ck_assert_msg(!twice || !only_pages_damaged() || n_lost_bytes == lost,
		      "%s: %llu bytes lost, and there is a copy", what,
		      (unsigned long long)(n_lost_bytes - lost));
	wipe_kept();
	put_all_back();
}

START_TEST(damage_is_confined_and_repaired)
{
	unsigned seconds = suite_seconds(8), n = 0;
	time_t end;

	damage_store_make(true);
	end = time(NULL) + seconds;
	while (n < 24 || time(NULL) < end)
		spoil_and_repair(n++);
	for (size_t i = 0; i < ARRAY_LEN(ways); i++)
		printf("# %-24s %5u, %5u noticed\n", ways[i].name, ways[i].made,
		       ways[i].noticed);
	printf("# %u corruptions: %u repaired (%llu bytes given up), %u harmless, %u "
	       "that "
	       "can't be opened\n",
	       n, n_repaired, (unsigned long long)n_lost_bytes, n_harmless, n_hopeless);
	for (size_t i = 0; i < ITEMS; i++) {
		free(before[i].read);
		free(before[i].sums);
		free(after[i].read);
		free(after[i].sums);
	}
	damage_store_release();
}
END_TEST

/* --- a replay that fills memory --- */

#define BIG_FILE (40 * MIB)

static void big_log_make(const char *path, const char *with)
{
	const struct ropefs_new file = { .mode = S_IFREG | 0644 };
	struct rng bytes = rng_seeded(7);
	struct ropefs_attr a, b;
	struct ropefs *fs;
	uint8_t *p = malloc(MIB);

	ck_assert(p);
	ck_ok(ropefs_init(path, &(struct ropefs_init_opts) { .key_file = with }, NULL));
	ck_ok(ropefs_open(path, &(struct ropefs_opts) { .key_file = with }, &fs));
	ck_ok(ropefs_create(fs, ROPEFS_ROOT_INO, ropefs_name("a"), &file, &a));
	rng_fill(&bytes, p, MIB);
	ck_assert_int_eq(ropefs_write(fs, a.ino, 0, p, MIB, 0, NULL), MIB);
	ck_ok(ropefs_checkpoint(fs));
	ck_ok(ropefs_create(fs, ROPEFS_ROOT_INO, ropefs_name("b"), &file, &b));
	for (uint64_t at = 0; at < BIG_FILE; at += MIB)
		ck_assert_int_eq(ropefs_write(fs, b.ino, at, p, MIB, 0, NULL), MIB);
	ck_ok(ropefs_sync(fs));
	_exit(0); /* as by a kill */
}

static void flip_byte(const char *path, off_t at)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	uint8_t b;

	ck_assert(fd >= 0 && pread(fd, &b, 1, at) == 1);
	b ^= 32;
	ck_assert_int_eq(pwrite(fd, &b, 1, at), 1);
	close(fd);
}

/* Behind the superblocks, which an opening writes once more as they are. */
static uint32_t file_sum(const char *path)
{
	static uint8_t p[4 * MIB];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : pread(fd, p, sizeof(p), 8192);

	ck_assert_msg(n >= 0, "%s: %s", path, strerror(errno));
	close(fd);
	return sum_of(p, (size_t)n);
}

static void tell_nobody(void *arg, const char *line)
{
}

START_TEST(a_repair_whose_replay_fills_memory_keeps_what_goes_before_it_commits)
{
	char path[200], with[220], pages[220], pack[240], part[240], kept[340];
	struct ropefs_repair rp = { .apply = true,
				    .memory_bytes = 32 * MIB,
				    .step = tell_nobody };
	struct ropefs_attr b;
	struct ropefs *fs;
	uint32_t before_pages, before_pack;
	int how, fd;

	snprintf(path, sizeof(path), "%s/big", suite_tmpdir());
	snprintf(with, sizeof(with), "%s.key", path);
	snprintf(pages, sizeof(pages), "%s/pages", path);
	snprintf(pack, sizeof(pack), "%s/packs/0000000001.pack", path);
	snprintf(part, sizeof(part), "%s/damaged.part", path);
	rp.key_file = with;
	if (fork() == 0)
		big_log_make(path, with);
	wait(&how);
	ck_assert_int_eq(how, 0);
	flip_byte(pack, 200000);
	before_pages = file_sum(pages);
	before_pack = file_sum(pack);
	/* Nothing can be kept: nothing may change. */
	fd = open(part, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	ck_assert(fd >= 0);
	close(fd);
	ck_assert_int_lt(ropefs_repair(path, &rp), 0);
	ck_assert(before_pages == file_sum(pages) && before_pack == file_sum(pack));
	ck_assert_int_eq(unlink(part), 0);
	ck_ok(ropefs_repair(path, &rp));
	ck_assert(rp.lost_bytes && *rp.kept);
	snprintf(kept, sizeof(kept), "%s/%s/packs-0000000001.pack", path, rp.kept);
	ck_assert(file_sum(kept) == before_pack);
	ck_ok(ropefs_open(path, &(struct ropefs_opts) { .key_file = with }, &fs));
	ck_ok(ropefs_lookup(fs, ROPEFS_ROOT_INO, ropefs_name("b"), &b));
	ck_assert_uint_eq(b.size, BIG_FILE);
	ck_ok(ropefs_close(fs));
	rp.steps = 0;
	ck_ok(ropefs_repair(path, &rp));
	ck_assert_uint_eq(rp.steps, 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("repair");
	TCase *tc = tcase_create("damage");

	tcase_set_timeout(tc, 3600);
	tcase_add_test(tc, damage_is_confined_and_repaired);
	tcase_add_test(
		tc, a_repair_whose_replay_fills_memory_keeps_what_goes_before_it_commits);
	suite_add_tcase(s, tc);
	return suite_main(s);
}
