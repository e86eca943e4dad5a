/* test_flip.c - damage: one bit flipped, a file cut short, a file gone, anywhere in a store
 * that has everything: deep trees, packs of several chunks, a log whose end was not synced.
 *
 * What must hold: the store opens, every byte read is right or an error that is EIO outside,
 * damage reaches no further than what it hit, and fsck names the place. After damage in the
 * log the store is what it was at an earlier point, read-only if anything durable is missing.
 *
 * Positions are drawn by strata (a header, the leaves of a rope, the footer of a pack ...), in
 * turn, until the time is over. Padding that nothing covers may go unnoticed: it is counted. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/base/err.h"
#include "core/page/page_format.h"
#include "core/wal/wal_format.h"
#include "tests/fault/damage_store.h"

#define FINE_BYTES 1024u /* how closely damage is measured */

/* Of a pack; pack_format.h can't be had beside that of the log. */
#define PACK_HEADER_BYTES 64u
#define PACK_FOOTER_BYTES 216u
#define PACK_DIRECTORY_AT 64u /* in the footer */

static char what[256]; /* the damage, for messages */

/* --- reading everything --- */

struct damage {
	size_t items; /* that gave an error */
	size_t names; /* that could not be looked up */
	uint64_t bytes; /* of files that can't be read, in steps of FINE_BYTES */
};

/* False: as good as an answer that is right. */
static bool is_error(long r, const char *of, const char *name)
{
	if (r >= 0)
		return false;
	ck_assert_msg(ropefs_error_errno((int)r) == EIO,
		      "%s: %s of %s gives errno %d (%ld %s)", what, of, name,
		      ropefs_error_errno((int)r), r, err_detail());
	return true;
}

static bool read_piece(struct ropefs *fs, const struct item *it, size_t at, size_t n)
{
	static uint8_t bytes[65536];
	ssize_t got = ropefs_read(fs, it->ino, at, bytes, n, 0);

	if (is_error(got, "a read", it->name))
		return false;
	ck_assert_msg((size_t)got == n && !memcmp(bytes, it->data->p + at, n),
		      "%s: wrong bytes in %s at %zu", what, it->name, at);
	return true;
}

static uint64_t read_bytes(struct ropefs *fs, const struct item *it)
{
	uint64_t bad = 0;

	for (size_t at = 0; it->data && at < it->data->n; at += 65536) {
		size_t n = MIN(it->data->n - at, (size_t)65536);

		if (read_piece(fs, it, at, n))
			continue;
		for (size_t f = 0; f < n; f += FINE_BYTES)
			if (!read_piece(fs, it, at + f, MIN(n - f, (size_t)FINE_BYTES)))
				bad += FINE_BYTES;
	}
	return bad;
}

static bool read_target(struct ropefs *fs, const struct item *it)
{
	char *target = NULL;
	int r = ropefs_readlink(fs, it->ino, &target);

	if (is_error(r, "readlink", it->name))
		return false;
	ck_assert_msg(strlen(target) == it->data->n &&
			      !memcmp(target, it->data->p, it->data->n),
		      "%s: wrong target of %s", what, it->name);
	free(target);
	return true;
}

static bool read_xattr(struct ropefs *fs, const struct item *it)
{
	static uint8_t value[65536];
	ssize_t r = ropefs_listxattr(fs, it->ino, (char *)value, sizeof(value));

	if (is_error(r, "listxattr", it->name))
		return false;
	ck_assert_msg(r == (it->xattr ? (ssize_t)sizeof("user.note") : 0),
		      "%s: wrong names of xattrs of %s", what, it->name);
	if (!it->xattr)
		return true;
	r = ropefs_getxattr(fs, it->ino, "user.note", value, sizeof(value));
	if (is_error(r, "getxattr", it->name))
		return false;
	ck_assert_msg((size_t)r == it->xattr->n &&
			      !memcmp(value, it->xattr->p, it->xattr->n),
		      "%s: wrong xattr of %s", what, it->name);
	return true;
}

/* Every name in it and no other. */
static bool read_folder(struct ropefs *fs, const struct state *st, const struct item *dir)
{
	static struct ropefs_entry e[64];
	uint64_t after = 0;
	size_t found = 0, listed = 0, want = 0;
	int n;

	for (size_t i = 0; i < st->n; i++)
		want += st->items[i].ino && st->items[i].dir == dir->ino;
	while ((n = ropefs_readdir(fs, dir->ino, after, e, NULL, 64)) > 0) {
		for (int k = 0; k < n; k++)
			for (size_t i = 0; i < st->n; i++)
				found += st->items[i].ino == e[k].ino &&
					 st->items[i].dir == dir->ino &&
					 !strcmp(st->items[i].name, e[k].name);
		ck_assert_msg(e[n - 1].cookie > after, "%s: readdir goes in circles",
			      what);
		after = e[n - 1].cookie;
		listed += (size_t)n;
	}
	if (is_error(n, "readdir", dir->name))
		return false;
	ck_assert_msg(found == want && listed == want, "%s: wrong names in %s", what,
		      dir->name);
	return true;
}

static bool read_name(struct ropefs *fs, const struct item *it)
{
	struct ropefs_attr attr;
	int r = ropefs_lookup(fs, it->dir, ropefs_name(it->name), &attr);

	if (!it->ino && r == -ENOENT)
		return true;
	if (is_error(r, "a lookup", it->name))
		return false;
	ck_assert_msg(attr.ino == it->ino, "%s: wrong inode of %s", what, it->name);
	return true;
}

static bool read_attr(struct ropefs *fs, const struct item *it)
{
	struct ropefs_attr attr;
	int r = ropefs_getattr(fs, it->ino, &attr);

	if (is_error(r, "getattr", it->name))
		return false;
	ck_assert_msg(attr.mode == it->mode && attr.nlink == it->nlink,
		      "%s: wrong attributes of %s: mode %o, %u links (%u)", what,
		      it->name, attr.mode, attr.nlink, it->nlink);
	if (S_ISREG(it->mode))
		ck_assert_msg(attr.size == (it->data ? it->data->n : 0),
			      "%s: wrong size of %s", what, it->name);
	return true;
}

static void read_all(struct ropefs *fs, const struct state *st, struct damage *ret)
{
	*ret = (struct damage) { 0 };
	for (size_t i = 0; i < st->n; i++) {
		const struct item *it = &st->items[i];
		bool named = it->ino == ROPEFS_ROOT_INO || read_name(fs, it);
		bool good = true;
		uint64_t bad = 0;

		if (it->ino) {
			good &= read_attr(fs, it);
			good &= read_xattr(fs, it);
			if (S_ISDIR(it->mode))
				good &= read_folder(fs, st, it);
			else if (S_ISLNK(it->mode))
				good &= read_target(fs, it);
			else
				bad = read_bytes(fs, it);
		}
		ret->names += !named;
		ret->items += !good || bad;
		ret->bytes += bad;
	}
}

/* --- fsck --- */

struct told {
	unsigned lines;
	bool named; /* one of them names the file */
	const char *name;
	char first[200];
};

static const char *words_for(const char *file)
{
	if (!strncmp(file, "packs/", 6))
		return "pack";
	if (!strncmp(file, "wal/", 4))
		return "log";
	return file;
}

static void on_bad(void *arg, const char *line)
{
	struct told *t = arg;
	const char *base = strrchr(t->name, '/');

	if (!t->lines++)
		snprintf(t->first, sizeof(t->first), "%s", line);
	/* "pack 0000000003" for packs/0000000003.pack */
	if (base && !strncmp(t->name, "packs/", 6)) {
		char stem[32];

		snprintf(stem, sizeof(stem), "%.10s", base + 1);
		t->named |= strstr(line, stem) != NULL;
	} else {
		t->named |= strstr(line, words_for(t->name)) != NULL;
	}
}

static int check(const char *file, struct told *ret)
{
	struct ropefs_check c = { .key_file = key, .bad = on_bad, .arg = ret };
	int r;

	*ret = (struct told) { .name = file };
	r = ropefs_check(store, &c);
	ck_assert_msg((r < 0) == (ret->lines > 0) || ropefs_error_exit_status(r) != 5,
		      "%s: fsck gives %d with %u lines", what, r, ret->lines);
	return r;
}

/* --- strata: parts of files, and how far damage in them may reach --- */

enum reach {
	NOTHING, /* there is a copy, or nothing covers it */
	SOME_ROWS, /* of one page of the catalog; a directory's has the way to its names */
	EVERYTHING, /* an inner page of the catalog */
	ONE_FILE, /* and its clone */
	ONE_CHUNK,
	THE_LOG, /* an earlier state */
};

struct stratum {
	const char *name;
	const struct stored *file;
	enum reach reach;
	bool covered; /* fsck must notice every flip */
	size_t n_parts, cap;
	struct part {
		size_t at, n;
	} * parts;
	uint64_t bytes; /* sum */
	uint64_t flips, unnoticed;
};

static struct stratum strata[96];
static size_t n_strata;

static struct stratum *stratum(const char *name, const struct stored *f, enum reach reach,
			       bool covered)
{
	struct stratum *s;

	for (size_t i = 0; i < n_strata; i++)
		if (strata[i].file == f && !strcmp(strata[i].name, name))
			return &strata[i];
	s = &strata[n_strata++];
	ck_assert_uint_le(n_strata, sizeof(strata) / sizeof(strata[0]));
	*s = (struct stratum) {
		.name = name, .file = f, .reach = reach, .covered = covered
	};
	return s;
}

static void part_add(struct stratum *s, size_t at, size_t n)
{
	if (s->n_parts == s->cap) {
		s->cap = s->cap ? 2 * s->cap : 8;
		s->parts = realloc(s->parts, s->cap * sizeof(*s->parts));
		ck_assert(s->parts);
	}
	ck_assert(at + n <= s->file->n);
	s->parts[s->n_parts++] = (struct part) { at, n };
	s->bytes += n;
}

static size_t position(const struct stratum *s)
{
	uint64_t at = rng_below(&rng, s->bytes);
	size_t i = 0;

	for (; at >= s->parts[i].n; i++)
		at -= s->parts[i].n;
	return s->parts[i].at + (size_t)at;
}

static const struct stored *pages_file;

static int stratum_of_page(struct walk *w, const struct noderef *ref)
{
	static const struct {
		const char *name;
		enum reach reach;
	} kinds[NODE_KIND_MAX] = {
		[NODE_ROPE_LEAF] = { "leaves of ropes", ONE_FILE },
		[NODE_ROPE_INNER] = { "inner nodes of ropes", ONE_FILE },
		[NODE_BTREE_LEAF] = { "leaves of the catalog", SOME_ROWS },
		[NODE_BTREE_INNER] = { "inner nodes of the catalog", EVERYTHING },
	};
	static uint8_t image[PAGE_PAYLOAD];
	const struct node_head *head = (const void *)image;
	uint8_t *seen = w->arg;
	uint64_t page = le64_get(ref->at);

	if (seen[page])
		return 1;
	seen[page] = 1;
	ck_ok(pagefile_read(w->fs->pf, ref, image));
	part_add(stratum(kinds[head->kind].name, pages_file, kinds[head->kind].reach,
			 true),
		 page * PAGE_BYTES, PAGE_BYTES);
	return 0;
}

static void strata_of_pages(struct ropefs *fs, const struct stored *f)
{
	struct walk w = { .fs = fs, .page = stratum_of_page };
	uint8_t *seen = calloc(f->n / PAGE_BYTES + 1, 1);

	ck_assert(seen);
	pages_file = f;
	w.arg = seen;
	seen[0] = seen[1] = 1;
	for (size_t slot = 0; slot < SUPER_SLOTS; slot++) {
		bool used = slot == fs->super.generation % SUPER_SLOTS;

		for (size_t i = 0; i < SUPER_COPIES; i++)
			part_add(stratum(used ? "superblock" : "superblock before it", f,
					 NOTHING, used),
				 slot * PAGE_BYTES + i * SUPER_COPY_BYTES,
				 sizeof(struct superblock));
	}
	ck_ok(walk_tree(&w, &fs->super.catalog));
	for (size_t p = 0; p < f->n / PAGE_BYTES; p++)
		if (!seen[p])
			part_add(stratum("other pages", f, NOTHING, false),
				 p * PAGE_BYTES, PAGE_BYTES);
	free(seen);
	ck_assert_uint_gt(stratum("leaves of ropes", f, ONE_FILE, true)->n_parts, 4);
	ck_assert_uint_gt(stratum("inner nodes of ropes", f, ONE_FILE, true)->n_parts, 0);
	ck_assert_uint_gt(stratum("leaves of the catalog", f, SOME_ROWS, true)->n_parts,
			  20);
	ck_assert_uint_gt(
		stratum("inner nodes of the catalog", f, EVERYTHING, true)->n_parts, 0);
}

static void strata_of_pack(const struct stored *f)
{
	size_t footer = f->n - PACK_FOOTER_BYTES, directory;
	le64 at;

	ck_assert_uint_gt(f->n, PACK_HEADER_BYTES + PACK_FOOTER_BYTES);
	memcpy(&at, f->p + footer + PACK_DIRECTORY_AT, sizeof(at));
	directory = le64_get(at);
	part_add(stratum("header of a pack", f, NOTHING, true), 0, PACK_HEADER_BYTES);
	part_add(stratum("chunks", f, ONE_CHUNK, true), PACK_HEADER_BYTES,
		 directory - PACK_HEADER_BYTES);
	part_add(stratum("directory of a pack", f, NOTHING, true), directory,
		 footer - directory);
	part_add(stratum("footer of a pack", f, NOTHING, true), footer,
		 PACK_FOOTER_BYTES);
}

/* The frame at *at or, after a sync, at the next block. */
static bool frame_at(const struct stored *f, size_t *at, struct frame_head *ret)
{
	for (int i = 0; i < 2 && *at + sizeof(*ret) <= f->n; i++) {
		memcpy(ret, f->p + *at, sizeof(*ret));
		if (le32_get(ret->magic) == FRAME_MAGIC)
			return true;
		*at = align_up(*at, WAL_BLOCK);
	}
	return false;
}

static void strata_of_log(const struct stored *f)
{
	uint64_t from = states[0].lsn + 1;
	struct frame_head head;
	size_t at = WAL_BLOCK;

	if (!frame_at(f, &at, &head))
		return; /* a spare one */
	part_add(stratum("header of the log", f, THE_LOG, true), 0,
		 sizeof(struct segment_head));
	while (frame_at(f, &at, &head)) {
		size_t n = sizeof(head) + le32_get(head.body_bytes);
		uint64_t first = le64_get(head.first_lsn);

		if (first + le32_get(head.records) <= from)
			part_add(stratum("log in the checkpoint", f, NOTHING, false), at,
				 n);
		else if (first <= durable_lsn)
			part_add(stratum("log, synced", f, THE_LOG, true), at, n);
		else
			part_add(stratum("log, not synced", f, THE_LOG, false), at, n);
		at = align_up(at + n, FRAME_ALIGN);
	}
	part_add(stratum("log, not used", f, NOTHING, false), at, f->n - at);
	ck_assert_uint_gt(stratum("log, synced", f, THE_LOG, true)->n_parts, 5);
	ck_assert_uint_gt(stratum("log, not synced", f, THE_LOG, false)->n_parts, 5);
}

static void strata_make(struct ropefs *fs)
{
	for (size_t i = 0; i < n_files; i++) {
		const struct stored *f = &files[i];

		if (!strcmp(f->name, "pages"))
			strata_of_pages(fs, f);
		else if (!strncmp(f->name, "packs/", 6))
			strata_of_pack(f);
		else if (!strncmp(f->name, "wal/", 4))
			strata_of_log(f);
		else
			part_add(stratum("header of the store", f, NOTHING, true), 0,
				 f->n);
	}
}

/* --- one damage --- */

static const struct state *state_at(uint64_t lsn)
{
	for (size_t i = n_states; i-- > 0;)
		if (states[i].lsn <= lsn)
			return &states[i];
	ck_abort_msg("%s: the store is at LSN %llu, before its checkpoint", what,
		     (unsigned long long)lsn);
	return NULL;
}

/* What is read of the damaged store, opened as people open it to save what they can. */
static void look(enum reach reach, const struct told *told)
{
	struct ropefs_opts opts = { .read_only = true, .key_file = key };
	uint64_t last = states[n_states - 1].lsn;
	struct ropefs *fs = NULL;
	struct damage d;
	bool rot;
	int r;

	r = ropefs_open(store, &opts, &fs);
	ck_assert_msg(r == 0, "%s: can't be opened: %d %s", what, r, err_detail());
	/* Opened read-only, it says why else only when there is a reason. */
	rot = strcmp(fs->read_only_why, "opened so") != 0 || told->lines > 0;
	if (reach != THE_LOG && reach != EVERYTHING && reach != SOME_ROWS &&
	    reach != ONE_FILE)
		ck_assert_msg(fs->replayed_lsn == last, "%s: the log ends early", what);
	if (fs->replayed_lsn < durable_lsn)
		ck_assert_msg(rot, "%s: what was durable is missing and nobody says so",
			      what);
	read_all(fs, state_at(fs->replayed_lsn), &d);
	store_abandon(fs, false);
	if (reach != SOME_ROWS && reach != EVERYTHING)
		ck_assert_msg(d.names == 0, "%s: %zu names suffer", what, d.names);
	if (reach == NOTHING || reach == THE_LOG)
		ck_assert_msg(d.items == 0, "%s: %zu files suffer", what, d.items);
	else if (reach == ONE_FILE)
		ck_assert_msg(d.items <= 2, "%s: %zu files suffer", what, d.items);
	else if (reach == SOME_ROWS)
		ck_assert_msg(d.items <= 90, "%s: %zu files suffer", what, d.items);
	else if (reach == ONE_CHUNK)
		ck_assert_msg(d.bytes <= 6 * CHUNK_BYTES, "%s: %llu bytes suffer", what,
			      (unsigned long long)d.bytes);
	if (d.items || d.names)
		ck_assert_msg(told->lines > 0, "%s: reads fail and fsck says nothing",
			      what);
}

/* The same with everything a mounted store does besides; it may refuse, but not be wrong. */
static void live(void)
{
	const struct state *st;
	struct ropefs *fs;
	struct damage d;
	int r;

	fs = store_open_plain(true, &r);
	ck_assert_msg(fs, "%s: can't be opened for writing: %d %s", what, r,
		      err_detail());
	st = state_at(fs->replayed_lsn);
	nodes_set_budget(fs->nodes, 64 * KIB);
	r = ropefs_checkpoint(fs);
	if (r != -E_READ_ONLY)
		is_error(r, "a checkpoint", "the store");
	r = ropefs_collect(fs);
	if (r != -E_READ_ONLY)
		is_error(r, "a collection", "the store");
	read_all(fs, st, &d);
	store_abandon(fs, false);
	put_all_back();
}

static void flip(struct stratum *s, size_t at, bool whole)
{
	uint8_t old = s->file->p[at];
	unsigned bit = (unsigned)rng_below(&rng, 8);
	struct told told;

	snprintf(what, sizeof(what), "bit %u of byte %zu of %s (%s)", bit, at,
		 s->file->name, s->name);
	poke(s->file, at, (uint8_t)(old ^ 1u << bit));
	check(s->file->name, &told);
	s->flips++;
	s->unnoticed += told.lines == 0;
	ck_assert_msg(told.lines || !s->covered, "%s: fsck says nothing", what);
	ck_assert_msg(told.named || !told.lines, "%s: fsck doesn't name the file: %s",
		      what, told.first);
	look(s->reach, &told);
	if (whole)
		live();
	else
		poke(s->file, at, old);
}

/* Every byte of the store's header: the other copy serves, and the damage is known. */
static void flip_header(void)
{
	const struct stored *f = NULL;
	struct io *io = store_io();
	struct header before, h;
	bool damaged = true;

	for (size_t i = 0; i < n_files; i++)
		if (!strcmp(files[i].name, "ropefs"))
			f = &files[i];
	ck_ok(header_read(io, &before, &damaged));
	ck_assert(f && !damaged);
	for (size_t at = 0; at < f->n; at++) {
		snprintf(what, sizeof(what), "byte %zu of the header", at);
		poke(f, at, (uint8_t)(f->p[at] ^ 1u << at % 8));
		memset(&h, 0, sizeof(h));
		damaged = false;
		ck_assert_msg(header_read(io, &h, &damaged) == 0, "%s: %s", what,
			      err_detail());
		ck_assert_msg(damaged, "%s: not noticed", what);
		ck_assert_msg(
			h.version == before.version && h.cipher == before.cipher &&
				!memcmp(h.store_id, before.store_id,
					sizeof(h.store_id)) &&
				!memcmp(h.wrapped, before.wrapped, sizeof(h.wrapped)),
			"%s: it is another", what);
		poke(f, at, f->p[at]);
	}
	io_free(io);
}

/* --- the tests --- */

static void on_abort(int sig)
{
	fprintf(stderr, "# at %s\n", what);
	signal(sig, SIG_DFL);
	raise(sig);
}

static void setup(void)
{
	struct ropefs *fs;
	struct told told;
	struct damage d;
	int r;

	signal(SIGABRT, on_abort);
	damage_store_make(false);
	snprintf(what, sizeof(what), "no damage");
	r = check("", &told);
	ck_assert_msg(r == 0, "the store is not whole to begin with: %s", told.first);
	look(NOTHING, &told);
	fs = store_open_plain(false, &r);
	ck_assert_uint_eq(fs->replayed_lsn, states[n_states - 1].lsn);
	read_all(fs, &states[n_states - 1], &d);
	ck_assert_uint_eq(d.items, 0);
	store_abandon(fs, false);
	put_all_back();
}

static void strata_setup(void)
{
	struct ropefs_opts opts = { .read_only = true, .key_file = key };
	struct ropefs *fs = NULL;

	ck_ok(ropefs_open(store, &opts, &fs));
	strata_make(fs);
	store_abandon(fs, false);
}

START_TEST(a_flipped_bit_gives_no_wrong_byte_and_is_named)
{
	time_t until = time(NULL) + suite_seconds(40);
	uint64_t n = 0;

	setup();
	strata_setup();
	flip_header();
	while (time(NULL) < until) {
		struct stratum *s = &strata[n % n_strata];

		flip(s, position(s), n % 16 == 0);
		n++;
	}
	for (size_t i = 0; i < n_strata; i++) {
		struct stratum *s = &strata[i];

		if (s->flips)
			printf("# %-28s of %-26s %5llu flips, %3llu %% unnoticed by "
			       "fsck\n",
			       s->name, s->file->name, (unsigned long long)s->flips,
			       (unsigned long long)(100 * s->unnoticed / s->flips));
		free(s->parts);
	}
	printf("# %llu flips\n", (unsigned long long)n);
	fflush(stdout);
	damage_store_release();
}
END_TEST

/* Cut to n bytes, or removed. Only without the header or the pages there is no store. */
static void cut_off(const struct stored *f, size_t n, bool removed)
{
	bool vital = !strcmp(f->name, "ropefs") || !strcmp(f->name, "pages");
	struct ropefs_opts opts = { .read_only = true, .key_file = key };
	struct ropefs *fs = NULL;
	struct told told;
	char path[4400];
	int r;

	stored_path(f->name, path, sizeof(path));
	ck_assert_int_eq(removed ? unlink(path) : truncate(path, (off_t)n), 0);
	snprintf(what, sizeof(what), "%s %s %zu bytes", f->name,
		 removed ? "removed, had" : "cut to", n);
	r = check(f->name, &told);
	ck_assert_msg(r >= 0 || told.lines || *ropefs_error(), "%s: fsck has no words",
		      what);
	r = ropefs_open(store, &opts, &fs);
	if (r < 0) {
		ck_assert_msg(vital, "%s: can't be opened: %d %s", what, r, err_detail());
		ck_assert_msg(r == -E_CORRUPT || r == -E_NOT_STORE, "%s: %d %s", what, r,
			      err_detail());
		ck_assert_msg(*ropefs_error(), "%s: no words", what);
	} else if (vital && fs->replayed_lsn < states[0].lsn) {
		/* What is left is a superblock of the checkpoint before. */
		ck_assert_msg(told.lines, "%s: fsck is content", what);
		store_abandon(fs, false);
	} else {
		struct damage d;

		read_all(fs, state_at(fs->replayed_lsn), &d);
		ck_assert_msg(!d.items || told.lines,
			      "%s: %zu files suffer, fsck is content", what, d.items);
		ck_assert_msg(fs->replayed_lsn >= durable_lsn || told.lines,
			      "%s: what was durable is missing, fsck is content", what);
		store_abandon(fs, false);
		live();
	}
	put_back(f);
}

START_TEST(a_file_cut_short_or_gone_gives_no_wrong_byte)
{
	setup();
	for (size_t i = 0; i < n_files; i++) {
		const struct stored *f = &files[i];

		cut_off(f, 0, false);
		cut_off(f, 1, false);
		cut_off(f, f->n - 1, false);
		for (int k = 0; k < 6; k++)
			cut_off(f, rng_below(&rng, f->n), false);
		cut_off(f, f->n, true);
	}
	damage_store_release();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("flip");
	TCase *tc = tcase_create("damage");

	tcase_set_timeout(tc, 3600);
	tcase_add_test(tc, a_flipped_bit_gives_no_wrong_byte_and_is_named);
	tcase_add_test(tc, a_file_cut_short_or_gone_gives_no_wrong_byte);
	suite_add_tcase(s, tc);
	return suite_main(s);
}
