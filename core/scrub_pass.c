/* scrub_pass.c - one reading of all that is stored, and the names of what is damaged.
 *
 * Pages hang below pages, and a checkpoint may move any of them. So each slice walks from the
 * root, past what this pass has seen: two bytes a page tell which version of it that was
 * (15 bits of its tag), and whether something below it is damaged. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/err.h"
#include "core/scrub.h"

#define PAGES_SLICE  16u
#define INODES_SLICE 256u
#define HAS_DAMAGE   0x8000u
#define DEPTH_MAX    80u /* more than walk_tree() goes */

static void count_mended(struct scrub *s, const char *what)
{
	lock_take(&s->fs->engine);
	s->now.mended++;
	lock_drop(&s->fs->engine);
	event_raise(s->fs, "mended", 0, "%s", what);
}

static bool may_write(const struct scrub *s)
{
	return !s->fs->opts.read_only && store_writable(s->fs) == 0;
}

/* --- header and superblock --- */

/* The store was opened with a whole header: what is in memory outlives the file. */
static int look_at_header(struct scrub *s)
{
	struct ropefs *fs = s->fs;
	bool damaged = false;
	struct header h;
	int r = header_read(fs->io, &h, &damaged);

	if (r != -E_CORRUPT && r != -E_NOT_STORE && (r < 0 || !damaged))
		return r;
	if (may_write(s) && header_write(fs->io, &fs->header) >= 0)
		count_mended(s,
			     r < 0 ? "the header was damaged or gone and is written anew"
				   : "a copy of the header was damaged and is written "
				     "anew");
	else if (r < 0)
		scrub_found(s, NULL,
			    "ropefs: the header is damaged or gone, put the file back "
			    "from a copy: without it the store can't be mounted again");
	else
		scrub_found(s, NULL,
			    "ropefs: one of the two copies of the header is "
			    "damaged");
	return 0;
}

static int look_at_super(struct scrub *s)
{
	struct ropefs *fs = s->fs;
	unsigned copies = 0;
	int r, mended = -EROFS;

	lock_take(&fs->checkpoint);
	r = pagefile_check_super(fs->pf, &copies);
	if (r >= 0 && copies && may_write(s))
		mended = checkpoint_run_held(fs, false);
	lock_drop(&fs->checkpoint);
	if (r < 0 || !copies)
		return r;
	if (mended >= 0)
		count_mended(s,
			     "a copy of the superblock was damaged and is written anew");
	else
		scrub_found(s, NULL, "pages: a copy of the superblock is damaged");
	return 0;
}

/* What was found in the log or a pack, until it is known what it means. */
struct look {
	struct scrub *s;
	struct buf lines; /* each with a NUL */
	struct buf bad; /* of a pack: struct bad_chunk */
};

static void look_line(void *arg, const char *line)
{
	struct look *look = arg;

	buf_append(&look->lines, line, strlen(line) + 1); /* without memory one less */
}

static int look_pace(void *arg, uint64_t bytes)
{
	struct look *look = arg;

	return scrub_pace(look->s, bytes);
}

static void each_line(const struct look *look,
		      void (*fn)(struct scrub *s, const char *line))
{
	for (size_t at = 0; at < look->lines.n;) {
		const char *line = (const char *)look->lines.p + at;

		fn(look->s, line);
		at += strlen(line) + 1;
	}
}

static void line_found(struct scrub *s, const char *line)
{
	scrub_found(s, NULL, line);
}

/* --- the log --- */

static void line_mended(struct scrub *s, const char *line)
{
	char words[300];

	snprintf(words, sizeof(words),
		 "%s; all that it holds is in memory, too, and was written to packs and "
		 "pages",
		 line);
	count_mended(s, words);
}

/* All that the log holds is in memory: a checkpoint, and nobody needs these segments any more. */
static int replace_log(struct ropefs *fs)
{
	int r;

	lock_take(&fs->checkpoint);
	r = wal_renew(fs->wal);
	if (r >= 0)
		r = checkpoint_run_held(fs, false);
	lock_drop(&fs->checkpoint);
	return r;
}

/* A repair would end the log there. */
static void line_in_memory(struct scrub *s, const char *line)
{
	char words[400];

	snprintf(words, sizeof(words),
		 "%s; what it holds is in memory, too, but no checkpoint of it can be "
		 "written: keep the store mounted, make room on the disk below it, and "
		 "scrub again",
		 line);
	lock_take(&s->fs->engine);
	s->now.keep_mounted = true;
	lock_drop(&s->fs->engine);
	scrub_found(s, NULL, words);
}

static int look_at_log(struct scrub *s)
{
	struct ropefs *fs = s->fs;
	struct look look = { .s = s };
	const struct wal_judge judge = { look_line, look_pace, &look };
	uint64_t from_lsn;
	int r = 0;

	lock_take(&fs->engine);
	from_lsn = fs->checkpoint_lsn + 1;
	lock_drop(&fs->engine);
	if (fs->wal)
		r = wal_verify(fs->wal, from_lsn, &judge);
	if (r >= 0 && look.lines.n && !may_write(s))
		each_line(&look, line_found);
	else if (r >= 0 && look.lines.n)
		each_line(&look, replace_log(fs) >= 0 ? line_mended : line_in_memory);
	buf_release(&look.lines);
	return r;
}

/* --- packs --- */

static void pack_chunk(void *arg, uint64_t pack, uint32_t index)
{
	struct look *look = arg;
	struct bad_chunk b;

	memset(&b, 0, sizeof(b));
	b.pack = pack;
	b.index = look->bad.n / sizeof(b) < SCRUB_BAD_MAX ? index : PACK_ALL_CHUNKS;
	buf_append(&look->bad, &b, sizeof(b));
}

/* One that was removed or went to the bucket meanwhile can't be opened, and nobody misses it. */
static bool is_still_here(struct packs *ps, uint64_t pack)
{
	if (packs_is_remote(ps, pack) || packs_pin(ps, pack) < 0)
		return false;
	packs_unpin(ps, pack);
	return true;
}

static int take_over(struct scrub *s, const struct look *look)
{
	int r;

	each_line(look, line_found);
	lock_take(&s->fs->engine);
	r = s->turn == s->my_turn ? buf_append(&s->bad, look->bad.p, look->bad.n) : 0;
	s->unnamed |= look->bad.n > 0;
	lock_drop(&s->fs->engine);
	return r;
}

static int scrub_pack(void *arg, const struct pack_info *info)
{
	struct scrub *s = arg;
	struct look look = { .s = s };
	const struct pack_judge judge = {
		.bad = look_line, .bad_chunk = pack_chunk, .pace = look_pace, .arg = &look
	};
	int r;

	if (info->pack < s->next_pack || info->remote)
		return 0;
	r = packs_verify(s->fs->packs, info->pack, &judge);
	if (r == -E_CORRUPT && is_still_here(s->fs->packs, info->pack))
		r = take_over(s, &look);
	else if (r == -E_CORRUPT || r == -ENOENT)
		r = 0;
	buf_release(&look.lines);
	buf_release(&look.bad);
	if (r < 0)
		return r;
	lock_take(&s->fs->engine);
	if (s->turn == s->my_turn)
		s->next_pack = info->pack + 1;
	lock_drop(&s->fs->engine);
	return scrub_pace(s, 0);
}

/* --- pages --- */

struct paging {
	struct scrub *s;
	struct damage damage;
	bool verify; /* both copies of each page; else only what hangs where */
	uint16_t *seen;
	uint64_t n_seen;
	unsigned left; /* pages of this slice */
	unsigned depth;
	bool bad[DEPTH_MAX]; /* below the page of each depth something is damaged */
	uint64_t bytes; /* read in this slice */
	uint64_t mended;
};

static uint16_t version_of(const struct noderef *ref)
{
	uint16_t v = (uint16_t)((ref->tag[0] | ref->tag[1] << 8) & ~HAS_DAMAGE);

	return v ? v : 1;
}

/* Seen in this pass, as it is now. */
static bool was_seen(const struct paging *pg, const struct noderef *ref)
{
	uint64_t page = le64_get(ref->at);

	return page < pg->n_seen && (pg->seen[page] & ~HAS_DAMAGE) == version_of(ref);
}

static bool is_seen_whole(const struct paging *pg, const struct noderef *ref)
{
	return was_seen(pg, ref) && !(pg->seen[le64_get(ref->at)] & HAS_DAMAGE);
}

static int check_copies(struct paging *pg, const struct noderef *ref)
{
	unsigned bad = 0;
	int r = pagefile_check_page(pg->s->fs->pf, ref, may_write(pg->s), &bad);
	char line[200];

	if (r == -E_CORRUPT) /* broken() hears of it */
		return 0;
	if (r >= 0 && bad && may_write(pg->s)) {
		pg->mended++;
	} else if (bad) {
		snprintf(line, sizeof(line),
			 "page %llu does not verify in %s; its other copy is whole%s%s",
			 (unsigned long long)le64_get(ref->at),
			 bad & PAGE_BAD_FIRST ? "pages" : "pages.copy",
			 r < 0 ? ", and writing it anew failed: " : "",
			 r < 0 ? err_text(r) : "");
		scrub_found(pg->s, NULL, line);
		r = 0;
	}
	return r;
}

static int look_at_page(struct walk *w, const struct noderef *ref)
{
	struct paging *pg = w->arg;
	uint64_t page = le64_get(ref->at);
	int r = 0;

	if (page >= pg->n_seen) {
		scrub_found(pg->s, NULL, "pages: a reference beyond the file's end");
		pg->bad[pg->depth] = true;
		return 1;
	}
	if (was_seen(pg, ref)) {
		pg->bad[pg->depth] |= (pg->seen[page] & HAS_DAMAGE) != 0;
		return 1;
	}
	if (pg->left == 0)
		return -EAGAIN;
	pg->left--;
	if (pg->verify)
		r = check_copies(pg, ref);
	pg->bytes += PAGE_BYTES;
	pg->bad[++pg->depth] = false;
	return r;
}

static void left_page(struct walk *w, const struct noderef *ref)
{
	struct paging *pg = w->arg;
	bool bad = pg->bad[pg->depth--];

	pg->seen[le64_get(ref->at)] =
		(uint16_t)(version_of(ref) | (bad ? HAS_DAMAGE : 0));
	pg->bad[pg->depth] |= bad;
}

static int look_at_extent(struct walk *w, const struct extent *e)
{
	struct paging *pg = w->arg;

	pg->bad[pg->depth] |= !extent_is_lost(e) && damage_has(&pg->damage, e);
	return 0;
}

static int broken_page(struct walk *w, const struct noderef *ref, int r)
{
	struct paging *pg = w->arg;
	char line[400];

	if (r == -ENOMEM)
		return r;
	snprintf(line, sizeof(line), "pages: %s; what is below page %llu can't be read",
		 err_words(r), (unsigned long long)le64_get(ref->at));
	scrub_found(pg->s, NULL, line);
	pg->bad[pg->depth] = true;
	return 0;
}

static int see_pages(struct paging *pg)
{
	struct pagefile_stats st;
	uint16_t *seen;

	pagefile_get_stats(pg->s->fs->pf, &st);
	if (st.pages <= pg->n_seen)
		return 0;
	seen = realloc(pg->seen, st.pages * sizeof(*seen));
	if (!seen)
		return -ENOMEM;
	memset(seen + pg->n_seen, 0, (st.pages - pg->n_seen) * sizeof(*seen));
	pg->seen = seen;
	pg->n_seen = st.pages;
	return 0;
}

/* 0: all was seen; -EAGAIN: there is more. */
static int page_slice(struct paging *pg)
{
	struct ropefs *fs = pg->s->fs;
	struct walk w = { .fs = fs,
			  .arg = pg,
			  .page = look_at_page,
			  .extent = look_at_extent,
			  .broken = broken_page,
			  .left = left_page };
	int r;

	pg->left = PAGES_SLICE;
	pg->depth = 0;
	pg->bad[0] = false;
	lock_take(&fs->checkpoint);
	r = see_pages(pg);
	if (r >= 0)
		r = walk_tree(&w, &fs->super.catalog);
	lock_drop(&fs->checkpoint);
	return r;
}

static void tell_mended(struct paging *pg)
{
	char line[100];

	if (!pg->mended)
		return;
	lock_take(&pg->s->fs->engine);
	pg->s->now.mended += pg->mended - 1;
	lock_drop(&pg->s->fs->engine);
	snprintf(line, sizeof(line),
		 "%llu pages of the page file were written anew from their other copy",
		 (unsigned long long)pg->mended);
	count_mended(pg->s, line);
	pg->mended = 0;
}

static int walk_pages(struct paging *pg)
{
	int r, paced;

	do {
		r = page_slice(pg);
		paced = scrub_pace(pg->s, pg->verify ? pg->bytes : 0);
		pg->bytes = 0;
		if (r == -EAGAIN && paced < 0)
			r = paced;
	} while (r == -EAGAIN);
	tell_mended(pg);
	return r;
}

/* --- which files --- */

struct naming {
	uint64_t bytes, ranges;
	struct damaged_range first;
};

static int name_range(void *arg, const struct damaged_range *range)
{
	struct naming *n = arg;

	if (range->why == DAMAGED_BEFORE)
		return 0;
	if (!n->ranges++)
		n->first = *range;
	n->bytes += range->bytes;
	return 0;
}

static int name_inode_locked(struct paging *pg, uint64_t ino, const struct rope *rope)
{
	struct ropefs *fs = pg->s->fs;
	char path[INODE_PATH_MAX], first[200], line[300];
	struct naming n = { 0 };
	int r;

	if (rope->levels && is_seen_whole(pg, &rope->u.root))
		return 0;
	r = damage_each_range(&pg->damage, &fs->env, rope, name_range, &n);
	if (r < 0 || !n.ranges)
		return r;
	if (!inode_shown_path(fs, ino, path))
		return 0;
	damage_to_text(&n.first, first, sizeof(first));
	if (n.ranges == 1)
		snprintf(line, sizeof(line), "%s", first);
	else
		snprintf(line, sizeof(line),
			 "%llu bytes in %llu places can't be read, the first: %s",
			 (unsigned long long)n.bytes, (unsigned long long)n.ranges,
			 first);
	scrub_found_locked(pg->s, path, line);
	return 0;
}

/* Some inodes of a catalog after *ino. 0: these were the last. */
static int name_some_locked(struct paging *pg, struct catalog *cat, uint64_t snapshot,
			    uint64_t *ino)
{
	struct inode_row row;
	int r = 1;

	nodes_trim(pg->s->fs->nodes);
	for (unsigned i = 0; i < INODES_SLICE && r > 0; i++) {
		r = catalog_next_inode(cat, *ino, ino, &row);
		if (r > 0 && S_ISREG(le32_get(row.mode))) {
			int named = name_inode_locked(
				pg, snapshot ? snapshot_ino(snapshot, *ino) : *ino,
				&row.rope);

			r = named < 0 ? named : r;
		}
	}
	/* What names are damaged the walk over the pages has told. */
	return r == -E_CORRUPT || r == -EIO ? 0 : r;
}

/* snapshot 0: what lives. */
static int name_catalog(struct paging *pg, uint64_t snapshot)
{
	struct ropefs *fs = pg->s->fs;
	uint64_t ino = 0;
	int r;

	do {
		struct catalog cat = fs->catalog;
		struct snapshot sn;

		lock_take(&fs->engine);
		r = snapshot ? snapshots_get(&fs->snaps, snapshot, &sn) : 0;
		cat.bt.root = r >= 0 && snapshot ? sn.catalog : fs->catalog.bt.root;
		if (r >= 0 && snapshot && is_seen_whole(pg, &sn.catalog))
			r = 0;
		else if (r >= 0)
			r = name_some_locked(pg, &cat, snapshot, &ino);
		lock_drop(&fs->engine);
		if (r == -ENOENT) /* it was dropped */
			r = 0;
		if (r > 0 && scrub_pace(pg->s, 0) < 0)
			r = -ECANCELED;
	} while (r > 0);
	return r;
}

static int name_all(struct paging *pg)
{
	struct ropefs *fs = pg->s->fs;
	struct snapshot sn = { 0 };
	int r = name_catalog(pg, 0), more = 1;

	while (r >= 0) {
		lock_take(&fs->engine);
		more = fs->snaps_lost ? 0 : snapshots_next(&fs->snaps, sn.id, &sn);
		lock_drop(&fs->engine);
		if (more <= 0)
			break;
		r = name_catalog(pg, sn.id);
	}
	return r;
}

/* --- all of it --- */

static int add_pack(void *arg, const struct pack_info *info)
{
	return damage_add_pack(arg, info);
}

static int learn_damage(struct scrub *s, struct damage *d)
{
	_cleanup_(buf_release) struct buf bad = BUF_INIT;
	int r;

	d->newer = packs_next(s->fs->packs);
	r = packs_each(s->fs->packs, add_pack, d);
	lock_take(&s->fs->engine);
	if (r >= 0)
		r = buf_append(&bad, s->bad.p, s->bad.n);
	lock_drop(&s->fs->engine);
	for (size_t at = 0; r >= 0 && at < bad.n; at += sizeof(struct bad_chunk)) {
		struct bad_chunk b;

		memcpy(&b, bad.p + at, sizeof(b));
		if (htab_get(&d->packs, b.pack)) /* it was not removed meanwhile */
			damage_add_chunk(d, b.pack, b.index);
	}
	return r;
}

static int look_at_trees(struct scrub *s, bool verify)
{
	struct paging *pg = calloc(1, sizeof(*pg));
	int r = pg ? 0 : -ENOMEM;

	if (r < 0)
		return r;
	pg->s = s;
	pg->verify = verify;
	lock_take(&s->fs->engine);
	s->unnamed = false;
	lock_drop(&s->fs->engine);
	r = learn_damage(s, &pg->damage);
	if (r >= 0)
		r = walk_pages(pg);
	if (r >= 0 && pg->bad[0])
		r = name_all(pg);
	damage_release(&pg->damage);
	free(pg->seen);
	free(pg);
	return r;
}

int scrub_name(struct scrub *s)
{
	return look_at_trees(s, false);
}

int scrub_pass(struct scrub *s)
{
	int r = look_at_header(s);

	if (r >= 0)
		r = look_at_super(s);
	if (r >= 0)
		r = look_at_log(s);
	if (r >= 0 && !s->packs_done)
		r = packs_each(s->fs->packs, scrub_pack, s);
	if (r < 0)
		return r;
	lock_take(&s->fs->engine);
	if (s->turn == s->my_turn)
		s->packs_done = true;
	lock_drop(&s->fs->engine);
	return look_at_trees(s, true);
}
