/* check.c - fsck: opens a store read-only, replays its log in memory, and checks every page,
 * every extent, every chunk, every row and every count against each other. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "core/acl.h"
#include "core/base/err.h"
#include "core/damage.h"
#include "core/queue.h"
#include "core/store_priv.h"

struct checking {
	struct ropefs *fs;
	struct ropefs_check *c;
	uint8_t *pages;
	uint64_t n_pages;
	uint64_t done, total;
	struct damage damage;
	struct bad_copies {
		uint64_t n, first;
	} bad_first, bad_copy; /* pages of which another copy is whole */
	char path[INODE_PATH_MAX + 32]; /* of who() */
	/* The rows being checked: the live ones, or a snapshot's. */
	struct catalog cat;
	const struct snapshot *snapshot; /* NULL: live */
};

static void tell(const struct checking *k, void (*to)(void *arg, const char *line),
		 const char *fmt, va_list ap)
{
	char line[900];

	snapshot_line(k->snapshot, line, sizeof(line), fmt, ap);
	if (to)
		to(k->c->arg, line);
}

static void _printf_(2, 3) bad(struct checking *k, const char *fmt, ...)
{
	va_list ap;

	k->c->problems++;
	va_start(ap, fmt);
	tell(k, k->c->bad, fmt, ap);
	va_end(ap);
}

/* What a repair gave up before is no problem. */
static void _printf_(2, 3) lost(const struct checking *k, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	tell(k, k->c->lost, fmt, ap);
	va_end(ap);
}

/* Damage that the next mounting puts right. */
static void bad_but_mended(struct checking *k, const char *what)
{
	k->c->mended++;
	bad(k, "%s", what);
}

/* An inode as people know it; valid until the next call. */
static const char *who(struct checking *k, uint64_t ino)
{
	char path[INODE_PATH_MAX];
	size_t n;

	inode_path(&k->cat, ino, path);
	n = (size_t)snprintf(k->path, sizeof(k->path), "%s", path);
	if (path[0] == '/')
		snprintf(k->path + n, sizeof(k->path) - n, " (inode %llu)",
			 (unsigned long long)ino);
	return k->path;
}

static void progress(struct checking *k, uint64_t bytes)
{
	k->done += bytes;
	if (k->c->progress)
		k->c->progress(k->c->arg, MIN(k->done, k->total), k->total);
}

/* --- the committed tree, page by page --- */

static void note_copy(struct bad_copies *bad, uint64_t page)
{
	if (!bad->n++)
		bad->first = page;
}

static int check_page(struct walk *w, const struct noderef *ref)
{
	struct checking *k = w->arg;
	uint64_t page = le64_get(ref->at);
	unsigned copies;
	int r;

	if (page >= k->n_pages) {
		bad(k, "pages: a reference to page %llu, beyond the file's end",
		    (unsigned long long)page);
		return 1;
	}
	if (k->pages[page / 8] & 1u << page % 8)
		return 1;
	k->pages[page / 8] |= (uint8_t)(1u << page % 8);
	k->c->pages++;
	r = pagefile_check_page(k->fs->pf, ref, false, &copies);
	if (r >= 0 && copies & PAGE_BAD_FIRST)
		note_copy(&k->bad_first, page);
	if (r >= 0 && copies & PAGE_BAD_COPY)
		note_copy(&k->bad_copy, page);
	progress(k, PAGE_BYTES);
	return 0;
}

static int check_broken(struct walk *w, const struct noderef *ref, int r)
{
	bad(w->arg, "pages: %s; what is below page %llu can't be read", err_words(r),
	    (unsigned long long)le64_get(ref->at));
	return 0;
}

static int check_extent(struct walk *w, const struct extent *e)
{
	struct checking *k = w->arg;
	uint64_t end = (uint64_t)le32_get(e->off) + le32_get(e->len);
	uint32_t plain;
	int r;

	if (extent_kind(e) == EXTENT_HOLE)
		return 0;
	if (extent_kind(e) != EXTENT_CHUNK) {
		bad(k, "pages: an extent that points into memory");
		return 0;
	}
	if (extent_is_lost(e))
		return 0;
	if (packs_is_remote(k->fs->packs, extent_pack(e)))
		return 0; /* ropectl verify asks the bucket */
	r = packs_chunk_plain(k->fs->packs, extent_pack(e), extent_chunk_index(e),
			      &plain);
	if (r < 0)
		bad(k,
		    "packs: a file's bytes are in chunk %u of pack %llu, which can't be "
		    "had: %s",
		    extent_chunk_index(e), (unsigned long long)extent_pack(e),
		    err_words(r));
	else if (end > plain)
		bad(k, "packs: bytes %u..%llu of chunk %u of pack %llu, which has %u",
		    le32_get(e->off), (unsigned long long)end, extent_chunk_index(e),
		    (unsigned long long)extent_pack(e), plain);
	return 0;
}

static void tell_copies(struct checking *k, const char *file, const char *other,
			const struct bad_copies *b)
{
	if (!b->n)
		return;
	k->c->copied++;
	bad(k,
	    "%s: %llu pages do not verify, the first is page %llu; they are whole in %s",
	    file, (unsigned long long)b->n, (unsigned long long)b->first, other);
}

static int check_tree(struct checking *k)
{
	struct walk w = { .fs = k->fs,
			  .arg = k,
			  .page = check_page,
			  .extent = check_extent,
			  .broken = check_broken };
	int r = walk_tree(&w, &k->fs->super.catalog);

	if (r < 0)
		return r;
	tell_copies(k, "pages", "pages.copy", &k->bad_first);
	tell_copies(k, "pages.copy", "pages", &k->bad_copy);
	r = pagefile_check_bitmap(k->fs->pf, k->pages, k->n_pages, &k->c->leaked_pages);
	if (r == -E_CORRUPT) {
		bad(k, "pages: %s", err_words(r));
		r = 0;
	}
	return r;
}

/* --- packs --- */

static void bad_line(void *arg, const char *line)
{
	bad(arg, "%s", line);
}

static void bad_chunk(void *arg, uint64_t pack, uint32_t index)
{
	struct checking *k = arg;

	damage_add_chunk(&k->damage, pack, index);
}

static int check_pack(void *arg, const struct pack_info *info)
{
	struct checking *k = arg;
	struct pack_judge judge = { .bad = bad_line, .bad_chunk = bad_chunk, .arg = k };
	int r = damage_add_pack(&k->damage, info);

	if (r >= 0 && !info->remote)
		r = packs_verify(k->fs->packs, info->pack, &judge);
	k->c->packs++;
	k->c->chunks += info->chunks;
	progress(k, info->file_bytes);
	return r == -E_CORRUPT ? 0 : r;
}

/* --- rows: after the replay of the log --- */

struct links {
	uint64_t entries; /* names that point here */
	uint64_t subdirs;
};

static int links_of(struct htab *all, uint64_t ino, struct links **ret)
{
	struct links *l = htab_get(all, ino);
	int r;

	if (!l) {
		l = calloc(1, sizeof(*l));
		if (!l)
			return -ENOMEM;
		r = htab_put(all, ino, l);
		if (r < 0) {
			free(l);
			return r;
		}
	}
	*ret = l;
	return 0;
}

/* Every entry of a directory leads to an inode of its type. */
static int check_entries(struct checking *k, struct htab *all, uint64_t dir,
			 const struct inode_row *row)
{
	struct catalog *cat = &k->cat;
	uint64_t after = 0, n = 0;
	struct links *l;
	struct entry e;
	int r;

	while ((r = catalog_next_entry(cat, dir, after, &e)) > 0) {
		struct inode_row to;

		after = e.cookie;
		n++;
		r = catalog_get_inode(cat, e.ino, &to);
		if (r == -ENOENT || r == -E_CORRUPT) {
			bad(k,
			    "%s: its entry \"%s\" names inode %llu, which can't be had",
			    who(k, dir), e.name, (unsigned long long)e.ino);
			continue;
		}
		if (r >= 0)
			r = links_of(all, e.ino, &l);
		if (r < 0)
			return r;
		l->entries++;
		if (le32_get(to.mode) >> 12 != e.type)
			bad(k, "%s: its entry \"%s\" has another type than inode %llu",
			    who(k, dir), e.name, (unsigned long long)e.ino);
		if (!S_ISDIR(le32_get(to.mode)))
			continue;
		if (le64_get(to.parent) != dir)
			bad(k, "directory %llu says it is in %llu, but is in %llu",
			    (unsigned long long)e.ino,
			    (unsigned long long)le64_get(to.parent),
			    (unsigned long long)dir);
		r = links_of(all, dir, &l);
		if (r < 0)
			return r;
		l->subdirs++;
	}
	if (r == -E_CORRUPT) {
		const char *wrong = err_words(r);

		bad(k, "%s: %s", who(k, dir), wrong);
		return 0;
	}
	if (r == 0 && n != le64_get(row->entries))
		bad(k, "%s counts %llu entries and has %llu", who(k, dir),
		    (unsigned long long)le64_get(row->entries), (unsigned long long)n);
	return r;
}

static int count_data(void *arg, const struct extent *e, uint64_t at)
{
	if (extent_kind(e) != EXTENT_HOLE)
		*(uint64_t *)arg += extent_bytes(e);
	return 0;
}

struct ranges_of {
	struct checking *k;
	uint64_t ino;
	bool tree; /* some are below a damaged node */
};

static int check_range(void *arg, const struct damaged_range *range)
{
	struct ranges_of *of = arg;
	struct checking *k = of->k;
	char words[200];

	damage_to_text(range, words, sizeof(words));
	of->tree |= range->why == DAMAGED_TREE;
	if (range->why != DAMAGED_BEFORE) {
		bad(k, "%s: %s", who(k, of->ino), words);
		return 0;
	}
	if (!k->snapshot)
		k->c->lost_bytes += range->bytes;
	lost(k, "%s: %s", who(k, of->ino), words);
	return 0;
}

static int check_bytes(struct checking *k, uint64_t ino, const struct inode_row *row)
{
	struct ranges_of of = { k, ino, false };
	uint64_t data = 0;
	int r = damage_each_range(&k->damage, &k->fs->env, &row->rope, check_range, &of);

	if (r >= 0)
		r = rope_check(&k->fs->env, &row->rope);
	if (r >= 0)
		r = rope_each(&k->fs->env, &row->rope, 0, rope_bytes(&row->rope),
			      count_data, &data);
	nodes_trim(k->fs->nodes);
	if (r == -E_CORRUPT) {
		if (!of.tree) /* else it was told where */
			bad(k, "inode %llu: %s", (unsigned long long)ino, err_words(r));
		return 0;
	}
	if (r >= 0 && data != le64_get(row->data_bytes))
		bad(k, "%s counts %llu bytes of data and has %llu", who(k, ino),
		    (unsigned long long)le64_get(row->data_bytes),
		    (unsigned long long)data);
	if (r >= 0 && le64_get(row->saved_bytes) > data)
		bad(k, "inode %llu says that compression saved more bytes than it has",
		    (unsigned long long)ino);
	if (!k->snapshot)
		k->c->bytes += data;
	return r;
}

/* Every ACL makes sense, and the row knows of them (apply_xattr.c). */
static int check_acls(struct checking *k, uint64_t ino, const struct inode_row *row)
{
	static const char *const names[] = { ACL_ACCESS, ACL_DEFAULT };
	bool told = le32_get(row->flags) & INODE_ACL;
	unsigned n = 0;

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		_cleanup_(buf_release) struct buf acl = BUF_INIT;
		int r = catalog_get_xattr(&k->cat, ino, SPAN_STR(names[i]), &acl);

		if (r == -ENODATA)
			continue;
		if (r == -E_CORRUPT) {
			bad(k, "inode %llu: %s", (unsigned long long)ino, err_words(r));
			continue;
		}
		if (r < 0)
			return r;
		n++;
		if (acl_check(buf_span(&acl)) < 0)
			bad(k, "%s: its %s makes no sense", who(k, ino), names[i]);
		else if (i == 0 &&
			 acl_mode(buf_span(&acl)) != (le32_get(row->mode) & 0777))
			bad(k, "%s: its ACL and its mode differ", who(k, ino));
	}
	if (told != (n > 0))
		bad(k, "%s has %u ACLs and says otherwise", who(k, ino), n);
	return 0;
}

static int check_queue(struct checking *k, uint64_t ino, const struct inode_row *row)
{
	struct inode *in;
	int r;

	if (!(le32_get(row->flags) & INODE_QUEUE))
		return 0;
	if (k->snapshot)
		ino = snapshot_ino(k->snapshot->id, ino);
	r = inode_get(k->fs, ino, &in);
	if (r >= 0)
		r = queue_check(k->fs, in);
	if (r == -E_CORRUPT) {
		bad(k, "%s", err_words(r));
		r = 0;
	}
	return r;
}

static int check_inode(struct checking *k, struct htab *all, uint64_t ino,
		       const struct inode_row *row)
{
	uint32_t mode = le32_get(row->mode);
	struct links *l;
	int r = links_of(all, ino, &l);

	if (r < 0)
		return r;
	k->c->files += ino != ROPEFS_ROOT_INO && !k->snapshot;
	if (ino >= k->fs->next_ino)
		bad(k, "inode %llu is beyond the next free number %llu",
		    (unsigned long long)ino, (unsigned long long)k->fs->next_ino);
	r = check_acls(k, ino, row);
	if (r < 0)
		return r;
	if (S_ISDIR(mode))
		return check_entries(k, all, ino, row);
	if (!S_ISREG(mode))
		return 0;
	r = check_bytes(k, ino, row);
	return r < 0 ? r : check_queue(k, ino, row);
}

static int check_links(struct checking *k, struct htab *all)
{
	uint64_t ino = 0, n = 0, count;
	struct inode_row row;
	int r;

	while ((r = catalog_next_inode(&k->cat, ino, &ino, &row)) > 0) {
		struct links *l = htab_get(all, ino);
		uint64_t want;

		n++;
		nodes_trim(k->fs->nodes);
		if (!l)
			continue;
		want = l->entries;
		if (S_ISDIR(le32_get(row.mode)))
			want = ino == ROPEFS_ROOT_INO || l->entries ? 2 + l->subdirs : 0;
		if (want != le32_get(row.nlink))
			bad(k, "%s counts %u links and has %llu", who(k, ino),
			    le32_get(row.nlink), (unsigned long long)want);
	}
	count = k->snapshot ? k->snapshot->inodes : k->fs->n_inodes;
	if (r >= 0 && n != count)
		bad(k, "the store counts %llu inodes and has %llu",
		    (unsigned long long)count, (unsigned long long)n);
	return r;
}

/* All rows of k->cat. */
static int check_catalog(struct checking *k)
{
	struct htab all = HTAB_INIT;
	struct htab_slot *slot;
	struct inode_row row;
	uint64_t ino = 0;
	size_t at = 0;
	int r = 0;

	while (r >= 0 && (r = catalog_next_inode(&k->cat, ino, &ino, &row)) > 0)
		r = check_inode(k, &all, ino, &row);
	if (r >= 0)
		r = check_links(k, &all);
	if (r == -E_CORRUPT || r == -ENOENT) {
		bad(k, "catalog: %s", err_words(r));
		r = 0;
	}
	while ((slot = htab_next(&all, &at)))
		free(slot->value);
	htab_release(&all);
	return r;
}

/* A snapshot is shown by its directory, which says that it has some. */
static int check_snapshot(struct checking *k, const struct snapshot *s)
{
	struct inode_row row;
	int r = catalog_get_inode(&k->fs->catalog, s->dir, &row);

	k->snapshot = s;
	if (r == -ENOENT)
		bad(k, "its directory %llu is not there", (unsigned long long)s->dir);
	else if (r >= 0 && !(le32_get(row.flags) & INODE_SNAPSHOTS))
		bad(k, "its directory %llu does not say that it has snapshots",
		    (unsigned long long)s->dir);
	k->cat = k->fs->catalog;
	k->cat.bt.root = s->catalog;
	r = check_catalog(k);
	k->snapshot = NULL;
	return r;
}

static int check_rows(struct checking *k)
{
	struct snapshot s;
	uint64_t id = 0;
	int r;

	lock_take(&k->fs->engine);
	r = (int)MIN(inode_flush(k->fs, SIZE_MAX), (ssize_t)0);
	k->cat = k->fs->catalog;
	if (r >= 0)
		r = check_catalog(k);
	if (r >= 0 && k->fs->snaps_lost)
		bad(k, "the list of snapshots can't be read");
	while (r >= 0 && !k->fs->snaps_lost &&
	       (r = snapshots_next(&k->fs->snaps, id, &s)) > 0) {
		id = s.id;
		r = check_snapshot(k, &s);
	}
	lock_drop(&k->fs->engine);
	return r;
}

/* --- all of it --- */

static int check_open(struct checking *k)
{
	struct pagefile_stats pages;
	struct packs_stats packs;
	unsigned copies = 0;
	int r;

	pagefile_get_stats(k->fs->pf, &pages);
	packs_get_stats(k->fs->packs, &packs);
	k->total = pages.used * PAGE_BYTES + packs.file_bytes;
	k->n_pages = pages.pages;
	k->pages = calloc(1, k->n_pages / 8 + 1);
	if (!k->pages)
		return -ENOMEM;
	if (k->fs->failed)
		bad(k, "log: %s", k->fs->read_only_why);
	r = pagefile_check_super(k->fs->pf, &copies);
	if (r < 0)
		return r;
	if (copies)
		bad_but_mended(
			k,
			"pages: a copy of the superblock is damaged; mounting mends it");
	if (pagefile_needs_sweep(k->fs->pf))
		bad(k, "pages: the map of free pages does not verify");
	r = check_tree(k);
	if (r >= 0)
		r = packs_each(k->fs->packs, check_pack, k);
	if (r >= 0)
		r = check_rows(k);
	return r;
}

static void ignore_line(void *arg, const char *line)
{
}

/* What can be seen of the files before the store is opened. */
static int check_files(struct checking *k, const char *path)
{
	struct io *io = NULL;
	struct header h;
	bool damaged = false;
	int r;

	r = io_posix_new(path, &io);
	if (r < 0)
		return r;
	r = header_read(io, &h, &damaged);
	if (r >= 0 && damaged)
		bad_but_mended(k, "ropefs: one of the two copies of the header is "
				  "damaged; mounting mends it");
	if (r >= 0 && pagefile_copy_is_odd(io))
		bad(k, "pages is kept once only: %s", err_detail());
	if (r >= 0) {
		int wal = wal_inspect(io, k->fs->keys, ignore_line, NULL, NULL);

		if (wal == -E_CORRUPT && !k->fs->failed)
			bad(k, "log: %s", err_words(wal));
	}
	io_free(io);
	return r;
}

int store_check(struct ropefs *fs, struct ropefs_check *check)
{
	struct checking k = { .fs = fs, .c = check };
	int r = check_open(&k);

	damage_release(&k.damage);
	free(k.pages);
	return r;
}

int ropefs_check(const char *path, struct ropefs_check *check)
{
	struct ropefs_opts opts = { .read_only = true, .key_file = check->key_file };
	struct checking k = { .c = check };
	int r;

	r = ropefs_open(path, &opts, &k.fs);
	if (r == -E_CORRUPT) {
		bad(&k, "%s", err_words(r));
		return r;
	}
	if (r < 0)
		return r;
	check->opened = true;
	r = check_files(&k, path);
	if (r >= 0)
		r = store_check(k.fs, check);
	store_abandon(k.fs, false);
	if (r >= 0 && check->problems)
		r = err_set(E_CORRUPT, "%llu things are wrong with %s",
			    (unsigned long long)check->problems, path);
	return r;
}
