/* sim_disk.c - see sim_disk.h for the model.
 *
 *            write, truncate, allocate            create, rename, unlink
 *  file:    pages + list of file_change          folder: now + list of folder_change
 *              | sim_file_sync   (first n)                   | sim_folder_sync (all, in order)
 *              | sim_file_spoil  (dropped)                 | sim_folder_spoil (dropped)
 *              | sim_disk_cut    (any subset, torn)        | sim_disk_cut (a prefix; any subset)
 *              v                                           v
 *           durable pages                                durable entries */
#include "core/io/sim_disk.h"

#include <errno.h>
#include <string.h>

#include "core/io/io_name.h"
#include "core/io/sim_disk_priv.h"

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

char *sim_name_copy(const char *name)
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

struct sim_node *sim_node_new(struct sim_disk *d, bool folder)
{
	struct sim_node *node = sim_realloc(NULL, 1, sizeof(*node));

	*node = (struct sim_node) { .refs = 1, .folder = folder, .next = d->nodes };
	if (d->nodes)
		d->nodes->prev = node;
	d->nodes = node;
	return node;
}

struct sim_node *sim_node_ref(struct sim_node *node)
{
	assert(node->refs > 0);
	node->refs++;
	return node;
}

void sim_node_unref(struct sim_disk *d, struct sim_node *node)
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
	sim_changes_clear(node);
	free(node->changes);
	sim_pages_release(&node->now);
	sim_pages_release(&node->durable);
	sim_moves_clear(d, node);
	free(node->moves);
	sim_entries_clear(d, &node->names);
	sim_entries_clear(d, &node->durable_names);
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
	sim_node_unref(d, node);
}

void sim_entries_set(struct sim_disk *d, struct entries *e, const char *name,
		     struct sim_node *node)
{
	struct entry *found = entries_find(e, name);

	sim_node_ref(node);
	if (found) {
		struct sim_node *old = found->node;

		found->node = node;
		sim_node_unref(d, old);
		return;
	}
	e->at = room_for_one(e->at, e->n, &e->cap, sizeof(*e->at));
	e->at[e->n++] = (struct entry) { sim_name_copy(name), node };
}

void sim_entries_clear(struct sim_disk *d, struct entries *e)
{
	for (size_t i = 0; i < e->n; i++) {
		free(e->at[i].name);
		sim_node_unref(d, e->at[i].node);
	}
	free(e->at);
	*e = (struct entries) { 0 };
}

/* ---- the changes of a folder ---- */

static void move_release(struct sim_disk *d, struct folder_change *m)
{
	free(m->del);
	free(m->set);
	if (m->node)
		sim_node_unref(d, m->node);
	if (m->peer)
		sim_node_unref(d, m->peer);
}

void sim_moves_clear(struct sim_disk *d, struct sim_node *folder)
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

void sim_move_apply(struct sim_disk *d, struct entries *e, const struct folder_change *m)
{
	if (m->del)
		entries_del(d, e, m->del);
	if (m->set)
		sim_entries_set(d, e, m->set, m->node);
}

struct folder_change *sim_move_find(struct sim_node *folder, uint64_t seq)
{
	for (size_t i = 0; i < folder->n_moves; i++)
		if (folder->moves[i].seq == seq)
			return &folder->moves[i];
	return NULL;
}

void sim_moves_add(struct sim_node *folder, struct folder_change m)
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
		sim_move_apply(d, &folder->durable_names, &m);
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
	struct sim_node *node = sim_node_ref(entries_find(&folder->names, name)->node);

	entries_del(d, &folder->names, name);
	node->n_names--;
	node_forsaken(d, node);
	sim_node_unref(d, node);
}

static void name_give(struct sim_disk *d, struct sim_node *folder, const char *name,
		      struct sim_node *node)
{
	if (entries_find(&folder->names, name))
		name_drop(d, folder, name);
	node->n_names++;
	sim_entries_set(d, &folder->names, name, node);
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
	node = sim_node_new(d, folder);
	name_give(d, parent, at.base, node);
	/* The first count becomes the change's. */
	sim_moves_add(parent, (struct folder_change) { .seq = ++d->seq,
						       .set = sim_name_copy(at.base),
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
	sim_moves_add(folder, (struct folder_change) { .seq = ++d->seq,
						       .del = sim_name_copy(at.base) });
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
		sim_moves_add(to_folder,
			      (struct folder_change) { .seq = seq,
						       .del = sim_name_copy(from_at.base),
						       .set = sim_name_copy(to_at.base),
						       .node = sim_node_ref(node) });
		return 0;
	}
	sim_moves_add(to_folder,
		      (struct folder_change) { .seq = seq,
					       .set = sim_name_copy(to_at.base),
					       .node = sim_node_ref(node),
					       .peer = sim_node_ref(from_folder) });
	sim_moves_add(from_folder,
		      (struct folder_change) { .seq = seq,
					       .del = sim_name_copy(from_at.base),
					       .peer = sim_node_ref(to_folder) });
	return 0;
}

bool sim_node_is_folder(const struct sim_node *node)
{
	return node->folder;
}

void sim_node_open(struct sim_node *node)
{
	sim_node_ref(node)->n_open++;
}

void sim_node_close(struct sim_disk *d, struct sim_node *node, bool alive)
{
	if (alive) {
		assert(node->n_open > 0);
		node->n_open--;
		node_forsaken(d, node);
	}
	sim_node_unref(d, node);
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
		half = sim_move_find(m->peer, m->seq);
		if (!half)
			continue;
		gone = move_take(m->peer, (size_t)(half - m->peer->moves));
		m->peer->spoilt = true;
		move_release(d, &gone);
	}
	folder->spoilt = true;
	sim_moves_clear(d, folder);
}

char **sim_folder_names(const struct sim_node *folder)
{
	char **names = sim_realloc(NULL, folder->names.n + 1, sizeof(*names));

	for (size_t i = 0; i < folder->names.n; i++)
		names[i] = sim_name_copy(folder->names.at[i].name);
	names[folder->names.n] = NULL;
	return names;
}

/* ---- the changes of a file ---- */

void sim_changes_clear(struct sim_node *file)
{
	for (size_t i = 0; i < file->n_changes; i++)
		free(file->changes[i].bytes);
	file->n_changes = 0;
}

void sim_change_apply(struct sim_pages *m, const struct file_change *c)
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
	sim_change_apply(&file->now, &c);
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

size_t sim_file_pending(const struct sim_node *file)
{
	assert(!file->folder);
	return file->n_changes;
}

/* Of the first n changes only `kept` are left, which have been moved to the front. */
static void changes_close(struct sim_node *file, size_t kept, size_t n)
{
	memmove(file->changes + kept, file->changes + n,
		(file->n_changes - n) * sizeof(*file->changes));
	file->n_changes -= n - kept;
}

void sim_file_sync(struct sim_node *file, size_t n)
{
	n = MIN(n, sim_file_pending(file));
	if (!n)
		return;
	if (!file->spoilt && n == file->n_changes)
		sim_pages_copy(&file->durable, &file->now);
	else
		for (size_t i = 0; i < n; i++)
			sim_change_apply(&file->durable, &file->changes[i]);
	for (size_t i = 0; i < n; i++)
		free(file->changes[i].bytes);
	changes_close(file, 0, n);
}

void sim_file_spoil(struct sim_disk *d, struct sim_node *file, size_t n)
{
	size_t kept = 0;

	n = MIN(n, sim_file_pending(file));
	if (!n)
		return;
	file->spoilt = true;
	for (size_t i = 0; i < n; i++)
		if ((d->lies & SIM_SPOIL_SOME) && sim_rng_below(&d->fates, 2))
			file->changes[kept++] = file->changes[i];
		else
			free(file->changes[i].bytes);
	changes_close(file, kept, n);
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

void sim_disk_init(struct sim_disk *d, uint64_t seed, uint64_t total_bytes)
{
	*d = (struct sim_disk) { .fates = { seed }, .total_bytes = total_bytes };
	d->root = sim_node_new(d, true);
}

void sim_disk_release(struct sim_disk *d)
{
	sim_disk_cut(d); /* changes of two folders may hold each other */
	sim_node_unref(d, d->root);
	assert(!d->nodes);
}

uint64_t sim_disk_free_bytes(const struct sim_disk *d)
{
	return d->total_bytes > d->used_bytes ? d->total_bytes - d->used_bytes : 0;
}
