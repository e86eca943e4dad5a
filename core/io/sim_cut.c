/* sim_cut.c - what a power cut makes of the simulated disk, and copies of it, on which many
 * cuts of one moment can be tried. See sim_disk.h for the model. */
#include <string.h>

#include "core/io/sim_disk_priv.h"

#define SECTOR_BYTES 512u

/* In sixteenths. A cut that treats all alike hardly ever leaves one single change out of
 * many, which is what finds bugs; so each file's cut draws how it leans. */
struct lean {
	unsigned kept, lost;
};

static const struct lean leans[] = {
	{ 6, 5 },  { 6, 5 },  { 6, 5 },	 { 14, 1 },
	{ 1, 14 }, { 15, 0 }, { 16, 0 }, { 0, 16 },
};

static enum sim_fate fate_draw(struct sim_rng *rng, struct lean lean)
{
	unsigned v = (unsigned)sim_rng_below(rng, 16);

	if (v < lean.kept)
		return SIM_KEPT;
	return v < lean.kept + lean.lost ? SIM_LOST : SIM_TORN;
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

/* True when what m holds of the sector at `at` is what c writes there. */
static bool sector_same(const struct sim_pages *m, const struct file_change *c,
			uint64_t at)
{
	uint64_t from = MAX(at, c->off), to = MIN(at + SECTOR_BYTES, c->off + c->n);
	uint8_t bytes[SECTOR_BYTES];

	return sim_pages_read(m, bytes, (size_t)(to - from), from) == to - from &&
	       !memcmp(bytes, c->bytes + (from - c->off), (size_t)(to - from));
}

/* The sector that is being written when the power goes: UINT64_MAX for none that is harmed. */
static uint64_t sector_draw(struct sim_disk *d, const struct sim_pages *m,
			    const struct file_change *c)
{
	uint64_t at;

	if (!(d->lies & SIM_GARBAGE) || sim_rng_below(&d->fates, 3))
		return UINT64_MAX;
	at = (c->off + sim_rng_below(&d->fates, c->n)) / SECTOR_BYTES * SECTOR_BYTES;
	if (!(d->lies & SIM_GARBAGE_SAME) && sector_same(m, c, at))
		return UINT64_MAX;
	return at;
}

static void sector_spoil(struct sim_rng *rng, struct sim_pages *m, uint64_t at)
{
	uint64_t garbage[SECTOR_BYTES / sizeof(uint64_t)];

	if (at >= m->bytes)
		return;
	for (size_t i = 0; i < ARRAY_LEN(garbage); i++)
		garbage[i] = sim_rng_next(rng);
	sim_pages_write(m, garbage, (size_t)MIN(SECTOR_BYTES, m->bytes - at), at);
}

static void write_survive(struct sim_disk *d, struct sim_pages *m,
			  const struct file_change *c, enum sim_fate fate)
{
	uint64_t end = c->off + c->n;
	struct sim_rng *rng = &d->fates;
	uint64_t spoilt;

	if (fate == SIM_KEPT) {
		sim_change_apply(m, c);
		return;
	}
	/* The size may be kept without the data: then zeros. */
	if (end > m->bytes && (fate == SIM_TORN || sim_rng_below(rng, 4) == 0)) {
		bool whole = sim_rng_below(rng, 2);

		sim_pages_resize(m, whole ? end : end_draw(rng, m->bytes, end));
	}
	if (fate != SIM_TORN)
		return;
	spoilt = sector_draw(d, m, c);
	write_tear(rng, m, c);
	sector_spoil(rng, m, spoilt);
}

/* The fates of a cut: given one by one, or drawn. */
struct fates {
	const uint8_t *given;
	size_t n, next;
};

static enum sim_fate fate_next(struct sim_disk *d, struct fates *f, struct lean lean)
{
	if (!f->given)
		return fate_draw(&d->fates, lean);
	assert(f->next < f->n);
	return (enum sim_fate)f->given[f->next++];
}

static void file_cut(struct sim_disk *d, struct sim_node *file, struct fates *f)
{
	struct lean lean = leans[sim_rng_below(&d->fates, ARRAY_LEN(leans))];

	if (!file->n_changes && !file->spoilt)
		return;
	for (size_t i = 0; i < file->n_changes; i++) {
		const struct file_change *c = &file->changes[i];
		enum sim_fate fate = fate_next(d, f, lean);

		if (c->kind == CHANGE_WRITE)
			write_survive(d, &file->durable, c, fate);
		else if (fate == SIM_KEPT ||
			 (fate == SIM_TORN && sim_rng_below(&d->fates, 2)))
			sim_change_apply(&file->durable, c);
	}
	sim_changes_clear(file);
	sim_pages_copy(&file->now, &file->durable);
	file->spoilt = false;
}

static void moves_draw(struct sim_disk *d, struct sim_node *folder, struct fates *f)
{
	bool any = f->given || ((d->lies & SIM_NAMES_ANY) && sim_rng_below(&d->fates, 2));
	size_t n = any ? 0 : (size_t)sim_rng_below(&d->fates, folder->n_moves + 1);

	folder->prefix = !any;
	for (size_t i = 0; i < folder->n_moves; i++)
		folder->moves[i].kept =
			any ? fate_next(d, f, leans[0]) == SIM_KEPT : i < n;
}

/* Takes back that a name leaves whose arrival elsewhere is lost. True when one did. */
static bool moves_mend(struct sim_node *folder)
{
	for (size_t i = 0; i < folder->n_moves; i++) {
		struct folder_change *m = &folder->moves[i];
		const struct folder_change *half;

		if (!m->kept || !m->peer || !m->del)
			continue;
		half = sim_move_find(m->peer, m->seq);
		if (!half || half->kept)
			continue;
		for (size_t k = i; k < (folder->prefix ? folder->n_moves : i + 1); k++)
			folder->moves[k].kept = false;
		return true;
	}
	return false;
}

static void entries_copy(struct sim_disk *d, struct entries *to,
			 const struct entries *from)
{
	struct entries copy = { 0 };

	for (size_t i = 0; i < from->n; i++)
		sim_entries_set(d, &copy, from->at[i].name, from->at[i].node);
	sim_entries_clear(d, to);
	*to = copy;
}

static void folders_cut(struct sim_disk *d, struct fates *f)
{
	bool mended = true;

	for (struct sim_node *node = d->nodes; node; node = node->next)
		moves_draw(d, node, f);
	while (mended) {
		mended = false;
		for (struct sim_node *node = d->nodes; node; node = node->next)
			mended |= moves_mend(node);
	}
	for (struct sim_node *node = d->nodes; node; node = node->next) {
		if (!node->folder || (!node->n_moves && !node->spoilt))
			continue;
		for (size_t i = 0; i < node->n_moves; i++)
			if (node->moves[i].kept)
				sim_move_apply(d, &node->durable_names, &node->moves[i]);
		sim_moves_clear(d, node);
		entries_copy(d, &node->names, &node->durable_names);
		node->spoilt = false;
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

static void disk_cut(struct sim_disk *d, struct fates *f)
{
	struct sim_node *node, *next;

	for (node = d->nodes; node; node = node->next) {
		sim_node_ref(node); /* none goes while we walk */
		node->n_open = 0;
	}
	for (node = d->nodes; node; node = node->next)
		if (!node->folder)
			file_cut(d, node, f);
	folders_cut(d, f);
	for (node = d->nodes; node; node = next) {
		next = node->next; /* still holds its count of ours */
		sim_node_unref(d, node);
	}
	space_count(d);
}

void sim_disk_cut(struct sim_disk *d)
{
	struct fates drawn = { 0 };

	disk_cut(d, &drawn);
}

void sim_disk_cut_as(struct sim_disk *d, const uint8_t *fates, size_t n)
{
	struct fates given = { fates, n, 0 };

	assert(n == sim_disk_units(d) && (n == 0 || fates));
	disk_cut(d, &given);
}

size_t sim_disk_units(const struct sim_disk *d)
{
	size_t n = 0;

	for (const struct sim_node *node = d->nodes; node; node = node->next)
		n += node->n_changes + node->n_moves;
	return n;
}

void sim_disk_kill(struct sim_disk *d)
{
	space_count(d);
}

/* ---- copies ---- */

static void file_copy(struct sim_node *to, const struct sim_node *from)
{
	sim_pages_copy(&to->now, &from->now);
	sim_pages_copy(&to->durable, &from->durable);
	if (!from->n_changes)
		return;
	to->changes = sim_realloc(NULL, from->n_changes, sizeof(*to->changes));
	to->n_changes = to->cap_changes = from->n_changes;
	for (size_t i = 0; i < from->n_changes; i++) {
		struct file_change *c = &to->changes[i];

		*c = from->changes[i];
		if (c->bytes)
			c->bytes = memcpy(sim_realloc(NULL, c->n, 1), c->bytes, c->n);
	}
}

static void names_copy(struct sim_disk *to, struct entries *e, const struct entries *from)
{
	for (size_t i = 0; i < from->n; i++)
		sim_entries_set(to, e, from->at[i].name, from->at[i].node->copy);
}

static void folder_copy(struct sim_disk *to, struct sim_node *folder,
			const struct sim_node *from)
{
	names_copy(to, &folder->names, &from->names);
	names_copy(to, &folder->durable_names, &from->durable_names);
	for (size_t i = 0; i < from->n_moves; i++) {
		struct folder_change m = from->moves[i];

		m.del = m.del ? sim_name_copy(m.del) : NULL;
		m.set = m.set ? sim_name_copy(m.set) : NULL;
		m.node = m.node ? sim_node_ref(m.node->copy) : NULL;
		m.peer = m.peer ? sim_node_ref(m.peer->copy) : NULL;
		sim_moves_add(folder, m);
	}
}

void sim_disk_copy(struct sim_disk *to, const struct sim_disk *from, uint64_t seed)
{
	struct sim_node *node = from->nodes, *next;

	*to = *from;
	to->nodes = NULL;
	to->fates.state = seed;
	while (node && node->next)
		node = node->next;
	for (; node; node = node->prev) { /* oldest first: units keep their order */
		node->copy = sim_node_new(to, node->folder);
		node->copy->spoilt = node->spoilt;
	}
	for (node = from->nodes; node; node = node->next)
		if (node->folder)
			folder_copy(to, node->copy, node);
		else
			file_copy(node->copy, node);
	to->root = from->root->copy;
	space_count(to);
	/* What only a handle kept goes; the root's count is the disk's. */
	for (node = to->nodes; node; node = next) {
		next = node->next;
		if (node != to->root)
			sim_node_unref(to, node);
	}
}
