/* sim_disk.c - see sim_disk.h for the model.
 *
 *            write, truncate, allocate            create, rename, unlink
 *  file:    pages + list of file_change          folder: now + list of folder_change
 *              | sim_file_sync   (all)                     | sim_folder_sync (all, in order)
 *              | sim_file_spoil  (dropped)                 | sim_folder_spoil (dropped)
 *              | sim_disk_cut    (any subset, torn)        | sim_disk_cut (a prefix)
 *              v                                           v
 *           durable pages                                durable entries */
#include "core/io/sim_disk.h"

#include <errno.h>
#include <string.h>

#include "core/io/io_name.h"

#define SECTOR_BYTES 512u

enum file_change_kind { CHANGE_WRITE, CHANGE_TRUNCATE, CHANGE_ALLOCATE };

struct file_change {
	enum file_change_kind kind;
	uint64_t off; /* truncate, allocate: the size */
	size_t n;
	uint8_t *bytes; /* n of them; owned */
};

struct entry {
	char *name;
	struct sim_node *node;
};

struct entries {
	struct entry *at;
	size_t n, cap;
};

/* First del goes, then set appears; either may be NULL. */
struct folder_change {
	uint64_t seq;
	char *del;
	char *set;
	struct sim_node *node; /* what set names */
	struct sim_node *peer; /* the other folder of a rename across folders */
};

struct sim_node {
	struct sim_node *next, *prev;
	unsigned refs;
	unsigned n_names; /* entries of the folders as they read now */
	unsigned n_open;
	bool folder;
	bool spoilt; /* a sync failed: invariant 1 is off until the cut */

	struct sim_pages now, durable; /* files */
	struct file_change *changes;
	size_t n_changes, cap_changes;

	struct entries names, durable_names; /* folders */
	struct folder_change *moves;
	size_t n_moves, cap_moves;
	size_t n_survive; /* only while a cut is on: the prefix of moves */
};

uint64_t sim_rng_next(struct sim_rng *r)
{
	/* splitmix64 (Steele et al., 2014) */
	uint64_t z = r->state += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

uint64_t sim_rng_below(struct sim_rng *r, uint64_t n)
{
	assert(n > 0);
	return sim_rng_next(r) % n;
}

static char *name_copy(const char *name)
{
	size_t n = strlen(name) + 1;

	return memcpy(sim_realloc(NULL, n, 1), name, n);
}

/* Makes room for one more of each bytes in the array p of n. */
static void *room_for_one(void *p, size_t n, size_t *cap, size_t each)
{
	if (n < *cap)
		return p;
	*cap = *cap ? *cap * 2 : 8;
	return sim_realloc(p, *cap, each);
}

/* ---- nodes and entries ---- */

static struct sim_node *node_new(struct sim_disk *d, bool folder)
{
	struct sim_node *node = sim_realloc(NULL, 1, sizeof(*node));

	*node = (struct sim_node) { .refs = 1, .folder = folder, .next = d->nodes };
	if (d->nodes)
		d->nodes->prev = node;
	d->nodes = node;
	return node;
}

static struct sim_node *node_ref(struct sim_node *node)
{
	assert(node->refs > 0);
	node->refs++;
	return node;
}

static void entries_clear(struct sim_disk *d, struct entries *e);
static void changes_clear(struct sim_node *file);
static void moves_clear(struct sim_disk *d, struct sim_node *folder);

static void node_unref(struct sim_disk *d, struct sim_node *node)
{
	assert(node->refs > 0);
	if (--node->refs > 0)
		return;
	assert(node->n_open == 0);
	if (node->prev)
		node->prev->next = node->next;
	else
		d->nodes = node->next;
	if (node->next)
		node->next->prev = node->prev;
	changes_clear(node);
	free(node->changes);
	sim_pages_release(&node->now);
	sim_pages_release(&node->durable);
	moves_clear(d, node);
	free(node->moves);
	entries_clear(d, &node->names);
	entries_clear(d, &node->durable_names);
	free(node);
}

static struct entry *entries_find(const struct entries *e, const char *name)
{
	for (size_t i = 0; i < e->n; i++)
		if (!strcmp(e->at[i].name, name))
			return &e->at[i];
	return NULL;
}

static void entries_del(struct sim_disk *d, struct entries *e, const char *name)
{
	struct entry *found = entries_find(e, name);
	struct sim_node *node;

	if (!found)
		return;
	node = found->node;
	free(found->name);
	*found = e->at[--e->n];
	node_unref(d, node);
}

static void entries_set(struct sim_disk *d, struct entries *e, const char *name,
			struct sim_node *node)
{
	struct entry *found = entries_find(e, name);

	node_ref(node);
	if (found) {
		struct sim_node *old = found->node;

		found->node = node;
		node_unref(d, old);
		return;
	}
	e->at = room_for_one(e->at, e->n, &e->cap, sizeof(*e->at));
	e->at[e->n++] = (struct entry) { name_copy(name), node };
}

static void entries_clear(struct sim_disk *d, struct entries *e)
{
	for (size_t i = 0; i < e->n; i++) {
		free(e->at[i].name);
		node_unref(d, e->at[i].node);
	}
	free(e->at);
	*e = (struct entries) { 0 };
}

static void entries_copy(struct sim_disk *d, struct entries *to,
			 const struct entries *from)
{
	struct entries copy = { 0 };

	for (size_t i = 0; i < from->n; i++)
		entries_set(d, &copy, from->at[i].name, from->at[i].node);
	entries_clear(d, to);
	*to = copy;
}

/* ---- the changes of a folder ---- */

static void move_release(struct sim_disk *d, struct folder_change *m)
{
	free(m->del);
	free(m->set);
	if (m->node)
		node_unref(d, m->node);
	if (m->peer)
		node_unref(d, m->peer);
}

static void moves_clear(struct sim_disk *d, struct sim_node *folder)
{
	for (size_t i = 0; i < folder->n_moves; i++)
		move_release(d, &folder->moves[i]);
	folder->n_moves = 0;
}

static struct folder_change move_take(struct sim_node *folder, size_t i)
{
	struct folder_change m = folder->moves[i];

	assert(i < folder->n_moves);
	folder->n_moves--;
	memmove(&folder->moves[i], &folder->moves[i + 1],
		(folder->n_moves - i) * sizeof(*folder->moves));
	return m;
}

static void move_apply(struct sim_disk *d, struct entries *e,
		       const struct folder_change *m)
{
	if (m->del)
		entries_del(d, e, m->del);
	if (m->set)
		entries_set(d, e, m->set, m->node);
}

static struct folder_change *move_find(struct sim_node *folder, uint64_t seq)
{
	for (size_t i = 0; i < folder->n_moves; i++)
		if (folder->moves[i].seq == seq)
			return &folder->moves[i];
	return NULL;
}

static void moves_add(struct sim_node *folder, struct folder_change m)
{
	folder->moves = room_for_one(folder->moves, folder->n_moves, &folder->cap_moves,
				     sizeof(*folder->moves));
	folder->moves[folder->n_moves++] = m;
}

/* Makes the changes up to seq durable. A name that leaves for another folder takes that
 * folder's changes with it, so that it is never in neither; their seqs are lower each time. */
static void moves_flush(struct sim_disk *d, struct sim_node *folder, uint64_t seq)
{
	while (folder->n_moves && folder->moves[0].seq <= seq) {
		struct folder_change m = move_take(folder, 0);

		if (m.peer && m.del)
			moves_flush(d, m.peer, m.seq);
		move_apply(d, &folder->durable_names, &m);
		move_release(d, &m);
	}
}

/* A file with neither name nor handle gives its space back. */
static void node_forsaken(struct sim_disk *d, struct sim_node *node)
{
	if (node->n_names > 0 || node->n_open > 0)
		return;
	assert(d->used_bytes >= node->now.bytes);
	d->used_bytes -= node->now.bytes;
}

static void name_drop(struct sim_disk *d, struct sim_node *folder, const char *name)
{
	struct sim_node *node = node_ref(entries_find(&folder->names, name)->node);

	entries_del(d, &folder->names, name);
	node->n_names--;
	node_forsaken(d, node);
	node_unref(d, node);
}

static void name_give(struct sim_disk *d, struct sim_node *folder, const char *name,
		      struct sim_node *node)
{
	if (entries_find(&folder->names, name))
		name_drop(d, folder, name);
	node->n_names++;
	entries_set(d, &folder->names, name, node);
}

/* ---- names ---- */

static int folder_find(struct sim_disk *d, const char *name, struct sim_node **ret)
{
	struct entry *found;

	if (!*name) {
		*ret = d->root;
		return 0;
	}
	found = entries_find(&d->root->names, name);
	if (!found)
		return -ENOENT;
	if (!found->node->folder)
		return -ENOTDIR;
	*ret = found->node;
	return 0;
}

static int place_find(struct sim_disk *d, const char *name, struct io_name *ret_at,
		      struct sim_node **ret_folder)
{
	int r = io_name_parse(name, ret_at);

	return r < 0 ? r : folder_find(d, ret_at->dir, ret_folder);
}

int sim_disk_find(struct sim_disk *d, const char *name, struct sim_node **ret)
{
	struct sim_node *folder;
	struct entry *found;
	struct io_name at;
	int r;

	if (!*name) {
		*ret = d->root;
		return 0;
	}
	r = place_find(d, name, &at, &folder);
	if (r < 0)
		return r;
	found = entries_find(&folder->names, at.base);
	if (!found)
		return -ENOENT;
	*ret = found->node;
	return 0;
}

int sim_disk_create(struct sim_disk *d, const char *name, bool folder,
		    struct sim_node **ret)
{
	struct sim_node *parent, *node;
	struct io_name at;
	int r;

	r = place_find(d, name, &at, &parent);
	if (r < 0)
		return r;
	if (entries_find(&parent->names, at.base))
		return -EEXIST;
	node = node_new(d, folder);
	name_give(d, parent, at.base, node);
	/* The first count becomes the change's. */
	moves_add(parent, (struct folder_change) { .seq = ++d->seq,
						   .set = name_copy(at.base),
						   .node = node });
	*ret = node;
	return 0;
}

int sim_disk_unlink(struct sim_disk *d, const char *name)
{
	struct sim_node *folder;
	struct entry *found;
	struct io_name at;
	int r;

	r = place_find(d, name, &at, &folder);
	if (r < 0)
		return r;
	found = entries_find(&folder->names, at.base);
	if (!found)
		return -ENOENT;
	if (found->node->folder)
		return -EISDIR;
	name_drop(d, folder, at.base);
	moves_add(folder,
		  (struct folder_change) { .seq = ++d->seq, .del = name_copy(at.base) });
	return 0;
}

/* May node take the place of old (NULL: a free one)? */
static int may_replace(const struct sim_node *old, const struct sim_node *node)
{
	if (!old)
		return 0;
	if (old->folder && !node->folder)
		return -EISDIR;
	if (!old->folder && node->folder)
		return -ENOTDIR;
	return old->folder && old->names.n ? -ENOTEMPTY : 0;
}

int sim_disk_rename(struct sim_disk *d, const char *from, const char *to)
{
	struct sim_node *from_folder, *to_folder, *node;
	struct io_name from_at, to_at;
	struct entry *found, *old;
	uint64_t seq;
	int r;

	r = place_find(d, from, &from_at, &from_folder);
	if (r < 0)
		return r;
	r = place_find(d, to, &to_at, &to_folder);
	if (r < 0)
		return r;
	found = entries_find(&from_folder->names, from_at.base);
	if (!found)
		return -ENOENT;
	node = found->node;
	if (node->folder && from_folder != to_folder)
		return -EXDEV; /* nobody needs it, and it could make cycles */
	old = entries_find(&to_folder->names, to_at.base);
	if (old && old->node == from_folder)
		return -ENOTEMPTY;
	if (old && old->node == node)
		return 0; /* as POSIX has it: two names of one file both stay */
	r = may_replace(old ? old->node : NULL, node);
	if (r < 0)
		return r;

	name_give(d, to_folder, to_at.base, node);
	name_drop(d, from_folder, from_at.base);
	seq = ++d->seq;
	if (from_folder == to_folder) {
		moves_add(to_folder,
			  (struct folder_change) { .seq = seq,
						   .del = name_copy(from_at.base),
						   .set = name_copy(to_at.base),
						   .node = node_ref(node) });
		return 0;
	}
	moves_add(to_folder, (struct folder_change) { .seq = seq,
						      .set = name_copy(to_at.base),
						      .node = node_ref(node),
						      .peer = node_ref(from_folder) });
	moves_add(from_folder, (struct folder_change) { .seq = seq,
							.del = name_copy(from_at.base),
							.peer = node_ref(to_folder) });
	return 0;
}

bool sim_node_is_folder(const struct sim_node *node)
{
	return node->folder;
}

void sim_node_open(struct sim_node *node)
{
	node_ref(node)->n_open++;
}

void sim_node_close(struct sim_disk *d, struct sim_node *node, bool alive)
{
	if (alive) {
		assert(node->n_open > 0);
		node->n_open--;
		node_forsaken(d, node);
	}
	node_unref(d, node);
}

void sim_folder_sync(struct sim_disk *d, struct sim_node *folder)
{
	assert(folder->folder);
	moves_flush(d, folder, d->seq);
}

/* A name dropped here that arrived from another folder never leaves that one durably. */
void sim_folder_spoil(struct sim_disk *d, struct sim_node *folder)
{
	assert(folder->folder);
	for (size_t i = 0; i < folder->n_moves; i++) {
		struct folder_change *m = &folder->moves[i], *half, gone;

		if (!m->peer || !m->set)
			continue;
		half = move_find(m->peer, m->seq);
		if (!half)
			continue;
		gone = move_take(m->peer, (size_t)(half - m->peer->moves));
		m->peer->spoilt = true;
		move_release(d, &gone);
	}
	folder->spoilt = true;
	moves_clear(d, folder);
}

char **sim_folder_names(const struct sim_node *folder)
{
	char **names = sim_realloc(NULL, folder->names.n + 1, sizeof(*names));

	for (size_t i = 0; i < folder->names.n; i++)
		names[i] = name_copy(folder->names.at[i].name);
	names[folder->names.n] = NULL;
	return names;
}

/* ---- the changes of a file ---- */

static void changes_clear(struct sim_node *file)
{
	for (size_t i = 0; i < file->n_changes; i++)
		free(file->changes[i].bytes);
	file->n_changes = 0;
}

static void change_apply(struct sim_pages *m, const struct file_change *c)
{
	switch (c->kind) {
	case CHANGE_WRITE:
		sim_pages_write(m, c->bytes, c->n, c->off);
		break;
	case CHANGE_TRUNCATE:
		sim_pages_resize(m, c->off);
		break;
	case CHANGE_ALLOCATE:
		sim_pages_resize(m, MAX(m->bytes, c->off));
		break;
	}
}

/* Takes c.bytes. */
static void change_make(struct sim_disk *d, struct sim_node *file, struct file_change c)
{
	uint64_t before = file->now.bytes;

	assert(!file->folder);
	file->changes = room_for_one(file->changes, file->n_changes, &file->cap_changes,
				     sizeof(*file->changes));
	file->changes[file->n_changes++] = c;
	change_apply(&file->now, &c);
	assert(d->used_bytes >= before);
	d->used_bytes += file->now.bytes - before;
}

uint64_t sim_file_size(const struct sim_node *file)
{
	return file->now.bytes;
}

size_t sim_file_read(const struct sim_node *file, void *p, size_t n, uint64_t off)
{
	return sim_pages_read(&file->now, p, n, off);
}

int sim_file_write(struct sim_disk *d, struct sim_node *file, const void *p, size_t n,
		   uint64_t off)
{
	uint64_t end_max = file->now.bytes + sim_disk_free_bytes(d);
	size_t fits = n;
	uint8_t *bytes;

	if (off + n > end_max)
		fits = off < end_max ? (size_t)(end_max - off) : 0;
	if (fits) {
		bytes = memcpy(sim_realloc(NULL, fits, 1), p, fits);
		change_make(d, file,
			    (struct file_change) { CHANGE_WRITE, off, fits, bytes });
	}
	return fits == n ? 0 : -ENOSPC;
}

int sim_file_truncate(struct sim_disk *d, struct sim_node *file, uint64_t bytes)
{
	if (bytes > file->now.bytes && bytes - file->now.bytes > sim_disk_free_bytes(d))
		return -ENOSPC;
	change_make(d, file, (struct file_change) { CHANGE_TRUNCATE, bytes });
	return 0;
}

int sim_file_allocate(struct sim_disk *d, struct sim_node *file, uint64_t bytes)
{
	if (bytes > file->now.bytes && bytes - file->now.bytes > sim_disk_free_bytes(d))
		return -ENOSPC;
	/* Also where the file is long enough now: it may durably be shorter. */
	change_make(d, file, (struct file_change) { CHANGE_ALLOCATE, bytes });
	return 0;
}

void sim_file_sync(struct sim_node *file)
{
	assert(!file->folder);
	if (!file->n_changes)
		return;
	if (!file->spoilt)
		sim_pages_copy(&file->durable, &file->now);
	else
		for (size_t i = 0; i < file->n_changes; i++)
			change_apply(&file->durable, &file->changes[i]);
	changes_clear(file);
}

void sim_file_spoil(struct sim_node *file)
{
	assert(!file->folder);
	if (!file->n_changes)
		return;
	file->spoilt = true;
	changes_clear(file);
}

int sim_file_flip(struct sim_node *file, uint64_t off, unsigned bit)
{
	uint8_t mask = (uint8_t)(1u << (bit & 7));

	if (bit > 7 || off >= file->now.bytes)
		return -EINVAL;
	*sim_pages_byte(&file->now, off) ^= mask;
	if (off < file->durable.bytes)
		*sim_pages_byte(&file->durable, off) ^= mask;
	for (size_t i = 0; i < file->n_changes; i++) {
		struct file_change *c = &file->changes[i];

		if (c->kind == CHANGE_WRITE && off >= c->off && off - c->off < c->n)
			c->bytes[off - c->off] ^= mask;
	}
	return 0;
}

/* ---- the power cut ---- */

enum fate { FATE_KEPT, FATE_LOST, FATE_TORN };

/* In sixteenths. A cut that treats all alike hardly ever leaves one single change out of
 * many, which is what finds bugs; so each file's cut draws how it leans. */
struct lean {
	unsigned kept, lost;
};

static const struct lean leans[] = {
	{ 6, 5 },  { 6, 5 },  { 6, 5 },	 { 14, 1 },
	{ 1, 14 }, { 15, 0 }, { 16, 0 }, { 0, 16 },
};

static enum fate fate_draw(struct sim_rng *rng, struct lean lean)
{
	unsigned v = (unsigned)sim_rng_below(rng, 16);

	if (v < lean.kept)
		return FATE_KEPT;
	return v < lean.kept + lean.lost ? FATE_LOST : FATE_TORN;
}

/* How far a write that was not wholly kept has moved the end of the file: anything from
 * not at all to its end, at sectors. */
static uint64_t end_draw(struct sim_rng *rng, uint64_t before, uint64_t end)
{
	uint64_t first = before / SECTOR_BYTES;
	uint64_t last = align_up(end, SECTOR_BYTES) / SECTOR_BYTES;
	uint64_t at = first + sim_rng_below(rng, last - first + 1);

	return MAX(before, MIN(end, at * SECTOR_BYTES));
}

/* Any subset of the write's sectors (of 512 bytes, or 4 KiB) reaches m, as far as the file
 * goes; the caller has moved its end. No piece of 512 bytes is ever cut. */
static void write_tear(struct sim_rng *rng, struct sim_pages *m,
		       const struct file_change *c)
{
	static const unsigned odds[] = { 2, 8, 14 };
	unsigned kept = odds[sim_rng_below(rng, ARRAY_LEN(odds))];
	uint64_t sector = sim_rng_below(rng, 2) ? SECTOR_BYTES : 4096;
	uint64_t end = c->off + c->n;

	if (end > m->bytes)
		end = m->bytes / SECTOR_BYTES * SECTOR_BYTES;
	for (uint64_t at = c->off; at < end;) {
		uint64_t next = MIN(end, (at / sector + 1) * sector);

		if (sim_rng_below(rng, 16) < kept)
			sim_pages_write(m, c->bytes + (at - c->off), (size_t)(next - at),
					at);
		at = next;
	}
}

static void write_survive(struct sim_rng *rng, struct sim_pages *m,
			  const struct file_change *c, enum fate fate)
{
	uint64_t end = c->off + c->n;

	if (fate == FATE_KEPT) {
		change_apply(m, c);
		return;
	}
	/* The size may be kept without the data: then zeros. */
	if (end > m->bytes && (fate == FATE_TORN || sim_rng_below(rng, 4) == 0)) {
		bool whole = sim_rng_below(rng, 2);

		sim_pages_resize(m, whole ? end : end_draw(rng, m->bytes, end));
	}
	if (fate == FATE_TORN)
		write_tear(rng, m, c);
}

static void file_cut(struct sim_disk *d, struct sim_node *file)
{
	struct lean lean = leans[sim_rng_below(&d->fates, ARRAY_LEN(leans))];

	if (!file->n_changes && !file->spoilt)
		return;
	for (size_t i = 0; i < file->n_changes; i++) {
		const struct file_change *c = &file->changes[i];
		enum fate fate = fate_draw(&d->fates, lean);

		if (c->kind == CHANGE_WRITE)
			write_survive(&d->fates, &file->durable, c, fate);
		else if (fate == FATE_KEPT ||
			 (fate == FATE_TORN && sim_rng_below(&d->fates, 2)))
			change_apply(&file->durable, c);
	}
	changes_clear(file);
	sim_pages_copy(&file->now, &file->durable);
	file->spoilt = false;
}

/* Shortens the prefix so that no name leaves it whose arrival elsewhere is cut off.
 * True when it did. */
static bool prefix_shorten(struct sim_node *folder)
{
	for (size_t i = 0; i < folder->n_survive; i++) {
		const struct folder_change *m = &folder->moves[i];
		const struct folder_change *half;

		if (!m->peer || !m->del)
			continue;
		half = move_find(m->peer, m->seq);
		if (half && (size_t)(half - m->peer->moves) >= m->peer->n_survive) {
			folder->n_survive = i;
			return true;
		}
	}
	return false;
}

static void folders_cut(struct sim_disk *d)
{
	bool shortened = true;

	for (struct sim_node *f = d->nodes; f; f = f->next)
		f->n_survive = (size_t)sim_rng_below(&d->fates, f->n_moves + 1);
	while (shortened) {
		shortened = false;
		for (struct sim_node *f = d->nodes; f; f = f->next)
			shortened |= prefix_shorten(f);
	}
	for (struct sim_node *f = d->nodes; f; f = f->next) {
		if (!f->folder || (!f->n_moves && !f->spoilt))
			continue;
		for (size_t i = 0; i < f->n_survive; i++)
			move_apply(d, &f->durable_names, &f->moves[i]);
		moves_clear(d, f);
		entries_copy(d, &f->names, &f->durable_names);
		f->spoilt = false;
	}
}

/* Handles are gone: counts names and space again. */
static void space_count(struct sim_disk *d)
{
	d->used_bytes = 0;
	for (struct sim_node *node = d->nodes; node; node = node->next)
		node->n_open = node->n_names = 0;
	for (struct sim_node *f = d->nodes; f; f = f->next)
		for (size_t i = 0; i < f->names.n; i++)
			f->names.at[i].node->n_names++;
	for (struct sim_node *node = d->nodes; node; node = node->next)
		if (node->n_names)
			d->used_bytes += node->now.bytes;
}

void sim_disk_cut(struct sim_disk *d)
{
	struct sim_node *node, *next;

	for (node = d->nodes; node; node = node->next) {
		node_ref(node); /* none goes while we walk */
		node->n_open = 0;
	}
	for (node = d->nodes; node; node = node->next)
		if (!node->folder)
			file_cut(d, node);
	folders_cut(d);
	for (node = d->nodes; node; node = next) {
		next = node->next; /* still holds its count of ours */
		node_unref(d, node);
	}
	space_count(d);
}

void sim_disk_kill(struct sim_disk *d)
{
	space_count(d);
}

void sim_disk_init(struct sim_disk *d, uint64_t seed, uint64_t total_bytes)
{
	*d = (struct sim_disk) { .fates = { seed }, .total_bytes = total_bytes };
	d->root = node_new(d, true);
}

void sim_disk_release(struct sim_disk *d)
{
	sim_disk_cut(d); /* changes of two folders may hold each other */
	node_unref(d, d->root);
	assert(!d->nodes);
}

uint64_t sim_disk_free_bytes(const struct sim_disk *d)
{
	return d->total_bytes > d->used_bytes ? d->total_bytes - d->used_bytes : 0;
}
