#include "core/catalog/salvage.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/err.h"
#include "core/catalog/btree_node.h"
#include "core/catalog/row.h"

#define LOST_FOUND "lost+found"

/* --- nodes --- */

struct gathering {
	struct nodes *nodes;
	struct btree *to;
	uint64_t broken;
};

static int gather_node(struct gathering *g, const struct noderef *ref, unsigned levels)
{
	const uint8_t *image;
	int r = nodes_get(g->nodes, ref, &image);

	if (r == -ENOMEM)
		return r;
	if (r < 0 || bnode_level(image) >= levels ||
	    (bnode_of(image)->head.kind != NODE_BTREE_LEAF &&
	     bnode_of(image)->head.kind != NODE_BTREE_INNER)) {
		g->broken++;
		return 0;
	}
	levels = bnode_level(image);
	r = 0;
	for (unsigned i = 0; i < bnode_n(image) && r >= 0; i++) {
		if (levels)
			r = gather_node(g, bnode_child(image, i), levels);
		else if (g->to)
			r = btree_put(g->to, bnode_key(image, i), bnode_value(image, i));
	}
	return r;
}

int btree_salvage(const struct btree *from, struct btree *to, uint64_t *ret_broken)
{
	struct gathering g = { from->nodes, to, 0 };
	int r = 0;

	if (!noderef_is_none(&from->root))
		r = gather_node(&g, &from->root, 16);
	*ret_broken = g.broken;
	return r;
}

/* --- what is there --- */

struct known {
	uint32_t mode; /* 0: no row */
	uint8_t named_type; /* by an entry; 0: by none */
	bool holds_names; /* entries of its own were found */
	bool orphan;
	uint64_t links, subdirs, entries; /* found to stay */
	uint64_t parent;
};

static int known_of(struct salvage *s, uint64_t ino, struct known **ret)
{
	struct known *k = htab_get(&s->known, ino);
	int r;

	if (!k) {
		k = calloc(1, sizeof(*k));
		r = k ? htab_put(&s->known, ino, k) : -ENOMEM;
		if (r < 0) {
			free(k);
			return r;
		}
	}
	*ret = k;
	return 0;
}

static bool is_there(const struct salvage *s, uint64_t ino)
{
	const struct known *k = htab_get(&s->known, ino);

	return k && k->mode;
}

static const struct entry_row *entry_of(struct span value)
{
	return (const struct entry_row *)value.p;
}

static int look_at_row(struct salvage *s, struct span key, struct span value)
{
	uint64_t ino = row_ino(key);
	struct known *k;
	int r;

	if (key.p[0] == ROW_SNAPSHOT)
		return 0;
	r = known_of(s, ino, &k);
	if (r < 0)
		return r;
	s->last_ino = MAX(s->last_ino, ino);
	if (key.p[0] == ROW_INODE)
		k->mode =
			le32_get(((const struct inode_row *)(const void *)value.p)->mode);
	else if (key.p[0] == ROW_ORPHAN)
		k->orphan = true;
	if (key.p[0] != ROW_ENTRY)
		return 0;
	k->holds_names = true;
	ino = le64_get(entry_of(value)->ino);
	s->last_ino = MAX(s->last_ino, ino);
	r = known_of(s, ino, &k);
	if (r >= 0)
		k->named_type = entry_of(value)->type;
	return r;
}

/* Calls fn for each row, which changes none. */
static int each_row(struct salvage *s,
		    int (*fn)(struct salvage *s, struct span key, struct span value))
{
	struct btree_cursor cur;
	struct span key, value;
	int r = btree_seek(&s->cat->bt, span_of("", 0), &cur);

	while (r >= 0 && (r = btree_next(&cur, &key, &value)) > 0)
		r = fn(s, key, value);
	return r;
}

static void tell(struct salvage *s, enum salvage_event event, uint64_t ino, uint64_t dir,
		 const char *name)
{
	struct salvage_note note = { event, ino, dir, name };

	s->told(s->arg, &note);
}

/* --- inodes that must be, and those that can't --- */

static int make_dir(struct salvage *s, uint64_t ino, struct known *k)
{
	le64 now = le64_put((uint64_t)s->now_ns);
	struct inode_row row = {
		.version = le32_put(INODE_ROW_VERSION),
		.mode = le32_put(S_IFDIR | 0700),
		.nlink = le32_put(2),
		.parent = le64_put(s->root),
		.atime = now,
		.mtime = now,
		.ctime = now,
		.btime = now,
	};

	k->mode = le32_get(row.mode);
	return catalog_put_inode(s->cat, ino, &row);
}

static int make_needed(struct salvage *s)
{
	struct htab_slot *slot;
	struct known *k;
	size_t at = 0;
	int r = known_of(s, s->root, &k);

	if (r >= 0)
		k->holds_names = true;
	while (r >= 0 && (slot = htab_next(&s->known, &at))) {
		k = slot->value;
		if (k->mode || !(k->holds_names || k->named_type == DT_DIR))
			continue;
		r = make_dir(s, slot->key, k);
		tell(s, SALVAGE_DIR_MADE, slot->key, 0, NULL);
	}
	return r;
}

static int drop_links_without_target(struct salvage *s)
{
	struct inode_row row;
	uint64_t ino = 0;
	int r = 0;

	while (r >= 0 && (r = catalog_next_inode(s->cat, ino, &ino, &row)) > 0) {
		_cleanup_(buf_release) struct buf target = BUF_INIT;
		struct known *k = htab_get(&s->known, ino);

		if (!S_ISLNK(le32_get(row.mode)))
			continue;
		r = catalog_get_target(s->cat, ino, &target);
		if (r >= 0 || r == -ENOMEM)
			continue;
		tell(s, SALVAGE_LINK_GONE, ino, 0, NULL);
		k->mode = 0;
		r = catalog_del_inode(s->cat, ino);
	}
	return r;
}

/* --- rows that belong to nothing --- */

static int note_gone(struct salvage *s, struct span key)
{
	uint16_t n = (uint16_t)key.n;
	int r = buf_append(&s->gone, &n, sizeof(n));

	return r < 0 ? r : buf_append(&s->gone, key.p, key.n);
}

static int delete_gone(struct salvage *s)
{
	int r = 0;

	for (size_t at = 0; r >= 0 && at < s->gone.n;) {
		uint16_t n;

		memcpy(&n, s->gone.p + at, sizeof(n));
		at += sizeof(n);
		r = btree_del(&s->cat->bt, span_of(s->gone.p + at, n));
		at += n;
	}
	s->gone.n = 0;
	return r;
}

static int judge_entry(struct salvage *s, struct span key, struct span value)
{
	uint64_t dir = row_ino(key), ino = le64_get(entry_of(value)->ino);
	struct known *of = htab_get(&s->known, dir), *k = htab_get(&s->known, ino);
	char name[CATALOG_NAME_MAX + 1];
	size_t n = value.n - sizeof(struct entry_row);

	if (!k->mode || !of->mode || !S_ISDIR(of->mode) ||
	    k->mode >> 12 != entry_of(value)->type) {
		memcpy(name, entry_of(value)->name, n);
		name[n] = '\0';
		tell(s, SALVAGE_ENTRY_GONE, ino, dir, name);
		return note_gone(s, key);
	}
	of->entries++;
	k->links++;
	if (S_ISDIR(k->mode)) {
		of->subdirs++;
		k->parent = dir;
	}
	return 0;
}

static int judge_row(struct salvage *s, struct span key, struct span value)
{
	if (key.p[0] == ROW_SNAPSHOT || key.p[0] == ROW_INODE)
		return 0;
	if (key.p[0] == ROW_ENTRY)
		return judge_entry(s, key, value);
	return is_there(s, row_ino(key)) ? 0 : note_gone(s, key);
}

/* An orphan is one without names. */
static int judge_orphan(struct salvage *s, struct span key, struct span value)
{
	const struct known *k;

	if (key.p[0] != ROW_ORPHAN)
		return 0;
	k = htab_get(&s->known, row_ino(key));
	return k->links ? note_gone(s, key) : 0;
}

/* --- xattrs of which a part is missing --- */

struct xattr_group {
	struct buf keys; /* as in salvage.gone */
	struct buf prefix; /* what the keys share */
	unsigned parts;
	bool broken;
	size_t last_n;
};

static int group_end(struct salvage *s, struct xattr_group *g)
{
	char name[CATALOG_NAME_MAX + 1] = "";
	size_t n = g->prefix.n - ROW_KEY_INO - 1;
	int r = 0;

	if (g->parts && (g->broken || g->last_n == CATALOG_PART)) {
		memcpy(name, g->prefix.p + ROW_KEY_INO, n);
		tell(s, SALVAGE_XATTR_GONE, row_ino(buf_span(&g->prefix)), 0, name);
		r = buf_append(&s->gone, g->keys.p, g->keys.n);
	}
	g->keys.n = g->prefix.n = 0;
	g->parts = 0;
	g->broken = false;
	return r;
}

static int group_add(struct xattr_group *g, struct span key, struct span value)
{
	uint16_t n = (uint16_t)key.n;
	int r = 0;

	if (!g->parts)
		r = buf_append(&g->prefix, key.p, key.n - 1);
	else
		g->broken |= g->last_n != CATALOG_PART;
	g->broken |= key.p[key.n - 1] != g->parts;
	g->parts++;
	g->last_n = value.n;
	if (r >= 0)
		r = buf_append(&g->keys, &n, sizeof(n));
	return r < 0 ? r : buf_append(&g->keys, key.p, key.n);
}

static int judge_xattrs(struct salvage *s)
{
	struct xattr_group g = { 0 };
	struct btree_cursor cur;
	struct span key, value;
	int r = btree_seek(&s->cat->bt, span_of("X", 1), &cur);

	while (r >= 0 && (r = btree_next(&cur, &key, &value)) > 0) {
		if (key.p[0] != ROW_XATTR)
			break;
		if (g.parts && (key.n != g.prefix.n + 1 ||
				memcmp(key.p, g.prefix.p, g.prefix.n) != 0))
			r = group_end(s, &g);
		if (r >= 0)
			r = group_add(&g, key, value);
	}
	if (r >= 0)
		r = group_end(s, &g);
	buf_release(&g.keys);
	buf_release(&g.prefix);
	return r;
}

/* --- names for those without --- */

static int lost_found_make(struct salvage *s)
{
	char name[32] = LOST_FOUND;
	struct entry e;
	struct known *k;
	int r;

	if (s->lost_found)
		return 0;
	for (unsigned i = 2;; i++) {
		r = catalog_lookup(s->cat, s->root, SPAN_STR(name), &e);
		if (r == 0 && e.type == DT_DIR) {
			s->lost_found = e.ino;
			return 0;
		}
		if (r < 0)
			break;
		snprintf(name, sizeof(name), LOST_FOUND ".%u", i);
	}
	if (r != -ENOENT)
		return r;
	s->lost_found = s->new_ino;
	s->last_ino = MAX(s->last_ino, s->new_ino);
	r = known_of(s, s->lost_found, &k);
	if (r >= 0)
		r = make_dir(s, s->lost_found, k);
	if (r >= 0)
		r = catalog_add_entry(s->cat, s->root, SPAN_STR(name), s->lost_found,
				      DT_DIR);
	if (r < 0)
		return r;
	k->links = 1;
	k->parent = s->root;
	k = htab_get(&s->known, s->root);
	k->entries++;
	k->subdirs++;
	return 0;
}

static int name_lost(struct salvage *s, uint64_t ino, struct known *k)
{
	struct known *of;
	char name[40];
	int r = lost_found_make(s);

	snprintf(name, sizeof(name), "inode-%llu", (unsigned long long)ino);
	if (r >= 0)
		r = catalog_add_entry(s->cat, s->lost_found, SPAN_STR(name), ino,
				      (uint8_t)(k->mode >> 12));
	if (r < 0)
		return r;
	of = htab_get(&s->known, s->lost_found);
	of->entries++;
	k->links = 1;
	if (S_ISDIR(k->mode)) {
		of->subdirs++;
		k->parent = s->lost_found;
	}
	tell(s, SALVAGE_NAMED, ino, s->lost_found, name);
	return 0;
}

static int name_all_lost(struct salvage *s)
{
	struct inode_row row;
	uint64_t ino = 0;
	int r;

	while ((r = catalog_next_inode(s->cat, ino, &ino, &row)) > 0) {
		struct known *k = htab_get(&s->known, ino);

		if (ino == s->root || ino == s->lost_found || k->links || k->orphan)
			continue;
		r = name_lost(s, ino, k);
		if (r < 0)
			return r;
	}
	return r;
}

/* --- counts --- */

static bool set_counts(struct salvage *s, uint64_t ino, const struct known *k,
		       struct inode_row *row)
{
	struct inode_row was = *row;

	row->nlink = le32_put((uint32_t)k->links);
	if (S_ISDIR(k->mode)) {
		row->nlink = le32_put(
			(uint32_t)(ino == s->root || k->links ? 2 + k->subdirs : 0));
		row->entries = le64_put(k->entries);
		row->parent = le64_put(ino == s->root ? ino : k->parent);
	}
	return memcmp(&was, row, sizeof(was)) != 0;
}

static int count_again(struct salvage *s)
{
	struct inode_row row;
	uint64_t ino = 0;
	int r;

	s->inodes = 0;
	while ((r = catalog_next_inode(s->cat, ino, &ino, &row)) > 0) {
		s->inodes++;
		if (set_counts(s, ino, htab_get(&s->known, ino), &row))
			r = catalog_put_inode(s->cat, ino, &row);
		if (r < 0)
			return r;
	}
	return r;
}

static void forget_known(struct salvage *s)
{
	struct htab_slot *slot;
	size_t at = 0;

	while ((slot = htab_next(&s->known, &at)))
		free(slot->value);
	htab_release(&s->known);
	buf_release(&s->gone);
}

int catalog_salvage(struct salvage *s)
{
	int r = each_row(s, look_at_row);

	if (r >= 0)
		r = make_needed(s);
	if (r >= 0)
		r = drop_links_without_target(s);
	if (r >= 0)
		r = each_row(s, judge_row);
	if (r >= 0)
		r = delete_gone(s);
	if (r >= 0)
		r = judge_xattrs(s);
	if (r >= 0)
		r = delete_gone(s);
	if (r >= 0)
		r = each_row(s, judge_orphan);
	if (r >= 0)
		r = delete_gone(s);
	if (r >= 0)
		r = name_all_lost(s);
	if (r >= 0)
		r = count_again(s);
	forget_known(s);
	return r < 0 ? r : 0;
}
