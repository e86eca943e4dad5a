/* collect.c - garbage: packs nobody points into, packs mostly dead, pages that sharing made
 * nobody's. All is found by marking from the committed tree, which can't change while
 * `checkpoint` is held.
 *
 * Live extents come from the committed tree, from the log (those are hot), or from a leaf that
 * was copied before a checkpoint defragmented it: so what dirty nodes and inodes point at is
 * marked too. Nothing else can come to point at a chunk later.
 *
 * Snapshots hang below the same root; they are marked last, so that what only they hold is
 * known.
 *
 * Rewriting a pack takes room for what lives of it before it gives some back. So a collection
 * for a full disk begins with the packs of which least lives, in what is kept free for that,
 * and goes on in what it has gained. Where that is too little it moves what lives of chunks that
 * are mostly dead (compact.h), and the next round frees them. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/base/err.h"
#include "core/base/mutant.h"
#include "core/compact.h"
#include "core/remote_priv.h"

#define COLLECT_BYTES_MIN (16 * MIB)
#define COLLECT_PAGES_MIN 1024u
#define COLLECT_PACKS_MIN 64u /* new ones, if small ones may be empty */

#define FULL_GAIN_MIN  (64 * MIB) /* of a collection for a full disk, and of the disk: */
#define FULL_GAIN_PART 64
#define FULL_DEAD_PART 16 /* a pack of which less is dead is never worth rewriting */
#define FULL_ROUNDS    32

/* A pack of which a part is dead. */
struct partly {
	uint64_t pack, live, stored; /* bytes */
};

struct pack_marks {
	bool remote;
	bool damaged; /* its directory is not whole: left alone */
	uint32_t chunks;
	uint8_t bits[];
};

struct marking {
	struct ropefs *fs;
	uint8_t *pages; /* a bit a page */
	uint64_t n_pages;
	struct htab packs; /* pack number to struct pack_marks */
	bool live; /* marking what is in memory: some of it may be stale */
	uint64_t
		snapshots; /* page of the root of their tree, while that is left out; or 0 */
	uint64_t n_marked; /* pages */
	struct partly *partly;
	size_t n_partly;
	uint64_t removed, rewritten;
	uint64_t gained, left; /* bytes: freed, and dead in packs that stay */
	struct compaction *compaction; /* NULL: none */
};

bool collect_due_locked(struct ropefs *fs)
{
	struct nodes_stats ns;
	struct packs_stats ps;

	nodes_get_stats(fs->nodes, &ns);
	packs_get_stats(fs->packs, &ps);
	return (fs->dead_bytes > COLLECT_BYTES_MIN &&
		fs->dead_bytes > fs->data_bytes / 4) ||
	       ns.leaked_pages > COLLECT_PAGES_MIN || fs->drops_collected < fs->drops ||
	       (fs->gathered_bytes &&
		packs_next(fs->packs) >= fs->collected_pack + COLLECT_PACKS_MIN);
}

static int mark_page(struct walk *w, const struct noderef *ref)
{
	struct marking *m = w->arg;
	uint64_t page = le64_get(ref->at);

	if (page >= m->n_pages)
		return err_set(E_CORRUPT, "page %llu is beyond the page file's end",
			       (unsigned long long)page);
	if (page == m->snapshots)
		return 1;
	if (m->pages[page / 8] & 1u << page % 8)
		return 1; /* shared by clones: marked already */
	m->pages[page / 8] |= (uint8_t)(1u << page % 8);
	m->n_marked++;
	return 0;
}

static int mark_extent(void *arg, struct extent *e)
{
	struct marking *m = arg;
	uint32_t index = extent_chunk_index(e);
	struct pack_marks *pm;

	if (extent_kind(e) != EXTENT_CHUNK || extent_is_lost(e))
		return 0;
	pm = htab_get(&m->packs, extent_pack(e));
	if (pm ? pm->damaged || (index >= pm->chunks && m->live) : m->live)
		return 0;
	if (!pm || index >= pm->chunks)
		return err_set(E_CORRUPT,
			       "a file's bytes are in chunk %u of pack %llu, which is "
			       "not there",
			       index, (unsigned long long)extent_pack(e));
	pm->bits[index / 8] |= (uint8_t)(1u << index % 8);
	return 0;
}

static int mark_committed_extent(struct walk *w, const struct extent *e)
{
	struct marking *m = w->arg;
	struct extent copy = *e;
	int r = mark_extent(m, &copy);

	if (r >= 0 && m->compaction)
		r = compaction_count(m->compaction, e, w->in_row);
	return r;
}

static int mark_live(struct marking *m)
{
	struct ropefs *fs = m->fs;
	struct htab_slot *slot;
	size_t at = 0;
	int r;

	m->live = true;
	lock_take(&fs->engine);
	r = nodes_each_dirty_extent(fs->nodes, mark_extent, m);
	while (r >= 0 && (slot = htab_next(&fs->inodes, &at))) {
		struct rope *rope = &((struct inode *)slot->value)->row.rope;

		for (unsigned i = 0; !rope->levels && i < rope->n_inline && r >= 0; i++)
			r = mark_extent(m, &rope->u.ext[i]);
	}
	lock_drop(&fs->engine);
	m->live = false;
	return r;
}

static int note_pack(void *arg, const struct pack_info *info)
{
	struct marking *m = arg;
	struct pack_marks *pm = calloc(1, sizeof(*pm) + info->chunks / 8 + 1);
	int r;

	if (!pm)
		return -ENOMEM;
	pm->chunks = info->chunks;
	pm->damaged = info->damaged;
	pm->remote = info->remote;
	r = htab_put(&m->packs, info->pack, pm);
	if (r < 0)
		free(pm);
	return r;
}

/* What of a pack's stored bytes is alive. */
static int live_bytes(struct ropefs *fs, uint64_t pack, const struct pack_marks *pm,
		      uint64_t *ret)
{
	_cleanup_free_ uint32_t *sizes = calloc(pm->chunks + 1u, sizeof(*sizes));
	uint64_t live = 0;
	int r;

	if (!sizes)
		return -ENOMEM;
	if (pm->remote) { /* its sizes are in the bucket; here it takes nothing */
		*ret = 0;
		return 0;
	}
	r = packs_chunk_sizes(fs->packs, pack, sizes);
	if (r < 0)
		return r;
	for (uint32_t i = 0; i < pm->chunks; i++)
		if (pm->bits[i / 8] & 1u << i % 8)
			live += sizes[i];
	*ret = live;
	return 0;
}

/* Of all packs, and the marked pages. */
static int marked_bytes(struct marking *m, uint64_t *ret)
{
	uint64_t sum = m->n_marked * PAGE_BYTES;
	struct htab_slot *slot;
	size_t at = 0;

	while ((slot = htab_next(&m->packs, &at))) {
		const struct pack_marks *pm = slot->value;
		uint64_t live = 0;
		int r = pm->damaged ? 0 : live_bytes(m->fs, slot->key, pm, &live);

		if (r < 0)
			return r;
		sum += live;
	}
	*ret = sum;
	return 0;
}

/* The root of the committed tree of snapshots; none: there is none. */
static int snapshots_root(struct ropefs *fs, struct noderef *ret)
{
	struct catalog committed = { .bt = { fs->nodes, fs->super.catalog } };
	int r;

	*ret = NODEREF_NONE;
	if (noderef_is_none(&committed.bt.root))
		return 0;
	lock_take(&fs->engine);
	r = catalog_get_snapshots(&committed, ret);
	lock_drop(&fs->engine);
	return r == -ENOENT ? 0 : r;
}

/* What lives first, then what snapshots hold besides: its bytes in *ret_held. */
static int mark_all(struct marking *m, uint64_t *ret_held)
{
	struct walk w = {
		.fs = m->fs, .arg = m, .page = mark_page, .extent = mark_committed_extent
	};
	uint64_t without = 0, with = 0;
	struct noderef root;
	int r;

	r = snapshots_root(m->fs, &root);
	m->snapshots = le64_get(root.at);
	if (r >= 0)
		r = walk_tree(&w, &m->fs->super.catalog);
	if (r >= 0)
		r = mark_live(m);
	if (r >= 0 && m->snapshots && !MUTANT(GC_SNAPSHOT)) {
		m->snapshots = 0;
		r = marked_bytes(m, &without);
		if (r >= 0)
			r = walk_tree(&w, &root);
		if (r >= 0)
			r = marked_bytes(m, &with);
	}
	*ret_held = with - without;
	return r;
}

static bool marked_any(const struct pack_marks *pm)
{
	for (uint32_t i = 0; i < pm->chunks / 8 + 1; i++)
		if (pm->bits[i])
			return true;
	return false;
}

static int sweep_pack(void *arg, const struct pack_info *info)
{
	struct marking *m = arg;
	struct ropefs *fs = m->fs;
	const struct pack_marks *pm = htab_get(&m->packs, info->pack);
	uint64_t live = 0;
	int r;

	if (!pm || pm->damaged)
		return 0;
	if (info->remote && marked_any(pm))
		return fs->remote ? remote_thin_note(fs->remote, info, pm->bits) : 0;
	r = live_bytes(fs, info->pack, pm, &live);
	if (r == -E_CORRUPT) /* since it was noted: left alone, too */
		return 0;
	if (r < 0)
		return r;
	if (live) {
		m->partly[m->n_partly++] =
			(struct partly) { info->pack, live, info->stored_bytes };
		return 0;
	}
	r = packs_remove(fs->packs, info->pack);
	if (r < 0)
		return r;
	m->removed++;
	m->gained += info->file_bytes;
	return 0;
}

static int by_live(const void *a, const void *b)
{
	const struct partly *x = a, *y = b;

	return (x->live > y->live) - (x->live < y->live);
}

/* want: for a full disk, how much is to be gained. */
static bool worth_rewriting(const struct marking *m, const struct partly *p,
			    uint64_t want)
{
	uint64_t dead = p->stored - MIN(p->live, p->stored);

	return want ? m->gained < want && dead > p->stored / FULL_DEAD_PART
		    : p->live < p->stored / 2;
}

/* Packs are removed first: that may make the room to rewrite others. */
static int sweep(struct marking *m, uint64_t want)
{
	struct ropefs *fs = m->fs;
	int r;

	if (fs->remote)
		remote_thin_forget(fs->remote);
	m->partly = calloc(m->packs.n + 1, sizeof(*m->partly));
	r = m->partly ? packs_each(fs->packs, sweep_pack, m) : -ENOMEM;
	if (r < 0)
		return r;
	qsort(m->partly, m->n_partly, sizeof(*m->partly), by_live);
	for (size_t i = 0; i < m->n_partly; i++) {
		const struct partly *p = &m->partly[i];
		const struct pack_marks *pm = htab_get(&m->packs, p->pack);
		uint64_t dead = p->stored - MIN(p->live, p->stored);

		r = worth_rewriting(m, p, want) && remote_may_write(fs, p->live)
			    ? packs_rewrite(fs->packs, p->pack, pm->bits)
			    : -ENOSPC;
		if (r < 0 && r != -ENOSPC)
			return r;
		if (r < 0) {
			m->left += dead;
		} else {
			m->rewritten++;
			m->gained += dead;
		}
	}
	return 0;
}

static void marking_release(struct marking *m)
{
	struct htab_slot *slot;
	size_t at = 0;

	while ((slot = htab_next(&m->packs, &at)))
		free(slot->value);
	htab_release(&m->packs);
	compaction_free(m->compaction);
	free(m->partly);
	free(m->pages);
}

uint64_t space_for_copies(struct ropefs *fs)
{
	struct io_space space;
	uint64_t others;

	if (fs->io->ops->space(fs->io, &space) < 0)
		return 0;
	lock_take(&fs->engine);
	others = space_reserved_locked(fs) - fs->space_rewrite;
	lock_drop(&fs->engine);
	return space.free_bytes - MIN(others, space.free_bytes);
}

/* Moving is in vain where others hold the bytes too: snapshots. */
static bool may_compact(struct ropefs *fs)
{
	bool may;

	lock_take(&fs->engine);
	may = !fs->n_snaps;
	lock_drop(&fs->engine);
	return may;
}

/* For a full disk, to gain `want` bytes. */
struct gaining {
	uint64_t want, gained;
	uint64_t moved; /* so that the next round gains more */
	unsigned round;
};

/* Until the least is gained, for each round marks all of the store again; and not after a round in
 * vain, which took more room than it has given. */
static int compact(struct marking *m, struct gaining *g)
{
	int r;

	if (!m->compaction || g->gained >= FULL_GAIN_MIN || (g->round && !m->gained))
		return 0;
	r = compaction_run(m->compaction, space_for_copies(m->fs));
	g->moved = m->compaction->moved;
	m->left += m->compaction->left;
	return r;
}

/* g: NULL, or for a full disk. */
static int collect(struct ropefs *fs, struct gaining *g)
{
	struct marking m = { .fs = fs };
	struct pagefile_stats pages;
	uint64_t dead, held = 0;
	int r;

	r = store_writable(fs);
	if (r < 0)
		return r;
	lock_take(&fs->engine);
	dead = fs->dead_bytes;
	lock_drop(&fs->engine);
	pagefile_get_stats(fs->pf, &pages);
	m.n_pages = pages.pages;
	m.pages = calloc(1, m.n_pages / 8 + 1);
	if (g && may_compact(fs))
		m.compaction = compaction_new(fs); /* without memory, none */
	r = m.pages ? packs_each(fs->packs, note_pack, &m) : -ENOMEM;
	if (r >= 0)
		r = mark_all(&m, &held);
	if (r >= 0)
		r = sweep(&m, g ? g->want - g->gained : 0);
	if (r >= 0)
		r = pagefile_adopt(fs->pf, m.pages, m.n_pages);
	if (r >= 0 && g) {
		g->gained += m.gained;
		r = compact(&m, g);
	}
	marking_release(&m);

	lock_take(&fs->engine);
	fs->packs_removed += m.removed;
	fs->packs_rewritten += m.rewritten;
	if (r >= 0) {
		fs->dead_bytes -= MIN(dead, fs->dead_bytes);
		fs->left_bytes = m.left;
		nodes_reset_leaked(fs->nodes);
		fs->snap_held = held;
		fs->drops_collected = fs->drops_committed;
		fs->gathered_bytes = 0;
		fs->collected_pack = packs_next(fs->packs);
		fs->collections++;
	} else {
		snprintf(fs->last_error, sizeof(fs->last_error), "collection: %s",
			 err_words(r));
	}
	lock_drop(&fs->engine);
	return r;
}

int collect_run_held(struct ropefs *fs)
{
	return collect(fs, NULL);
}

int collect_for_space_held(struct ropefs *fs)
{
	struct gaining g = { .want = FULL_GAIN_MIN };
	struct io_space space;
	bool garbage;
	int r;

	lock_take(&fs->engine);
	garbage = fs->dead_bytes + fs->left_bytes > 0;
	lock_drop(&fs->engine);
	if (!garbage)
		return 0;
	if (fs->io->ops->space(fs->io, &space) >= 0)
		g.want = MAX(g.want, space.total_bytes / FULL_GAIN_PART);
	wal_drop_spares(fs->wal, 1);
	do {
		g.moved = 0;
		r = collect(fs, &g);
		if (r >= 0) /* pages that it freed may be used after a checkpoint only */
			r = checkpoint_run_held(fs, false);
		g.round++;
	} while (r >= 0 && g.moved && g.gained < g.want && g.round < FULL_ROUNDS);
	return r >= 0 && !g.gained ? -ENOSPC : r;
}

int ropefs_collect(struct ropefs *fs)
{
	int r;

	err_clear();
	lock_take(&fs->checkpoint);
	r = checkpoint_run_held(fs, false);
	if (r >= 0)
		r = collect_run_held(fs);
	if (r >= 0) /* what the sweep freed becomes durable */
		r = checkpoint_run_held(fs, false);
	lock_drop(&fs->checkpoint);
	return r;
}
