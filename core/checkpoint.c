/* checkpoint.c - turns what is hot and dirty into packs and pages, so that the log may be
 * emptied.
 *
 *   flush rows    ─▶ freeze ─▶ log durable ─▶ write out
 *   (in slices)      (lock)    to L           trees; hot bytes into packs
 *                                                 │
 *   trim log ◀─ settle              ◀─ superblock ◀─ packs, pages durable
 *               (lock, in slices)      says L
 *
 * Only `freeze` and `settle` hold the engine lock; edits go on meanwhile, on copies of what
 * is frozen. A power cut before the superblock leaves the old tree and the whole log; after it
 * the new tree and the log behind L. A failure before it is undone in memory: frozen nodes and
 * hot bytes stay, and the next checkpoint takes them along. */
#include <errno.h>
#include <stdio.h>

#include "core/base/err.h"
#include "core/base/mutant.h"
#include "core/gather.h"
#include "core/remote_priv.h"
#include "core/store_priv.h"
#include "core/stored.h"

#define SETTLE_SLICE 512

/* A leaf whose extents are smaller on average is packed anew. Scans keep their speed down to
 * this; a larger figure rewrites a file of random edits several times as often. */
#define DEFRAG_MEAN_BYTES  128
#define DEFRAG_EXTENTS_MIN 32

#define GATHER_MOST                                                                      \
	(64 * MIB) /* bytes that one checkpoint moves so; and of the disk's room */
#define GATHER_PART 8
#define GATHER_SIM  4u /* packs: so that simulations come to it */

struct packing {
	struct ropefs *fs;
	struct pack_writer *writer;
	bool defrag; /* the leaf under way: its cold bytes are packed too */
	struct gather gather; /* of the leaf under way */
	uint64_t gathered, may_gather; /* bytes */
	uint64_t leaves_defragmented, moved_bytes, may_move; /* moved: cold ones */
	struct stored *stored;
	uint8_t cold[HOT_BLOCK_MAX];
};

bool memory_due_locked(struct ropefs *fs)
{
	return hot_live(fs->hot) + nodes_live_bytes(fs->nodes) +
		       fs->n_dirty * sizeof(struct inode) >
	       fs->hot_soft;
}

static uint64_t memory_unpacked(const struct ropefs *fs)
{
	return hot_total(fs->hot) + nodes_dirty_bytes(fs->nodes) +
	       fs->n_dirty * sizeof(struct inode);
}

bool memory_full_locked(struct ropefs *fs)
{
	return memory_unpacked(fs) > fs->hot_hard;
}

/* Each opening begins a segment: one that is killed again and again leaves many with little in
 * them. */
bool log_crowds(struct ropefs *fs, unsigned times)
{
	return wal_disk_bytes(fs->wal) > times * (fs->log_soft + 2 * fs->segment_bytes);
}

bool replay_full_locked(struct ropefs *fs)
{
	return memory_unpacked(fs) > fs->hot_hard + fs->hot_hard / 2;
}

/* Of little memory next to nothing is lent: what is lent comes back a little late. */
#define LEND_NOT (24u << 20)

void memory_lend_locked(struct ropefs *fs)
{
	uint64_t used = memory_unpacked(fs) + hot_spare(fs->hot) + LEND_NOT;

	nodes_lend(fs->nodes, fs->hot_hard - MIN(used, fs->hot_hard));
}

bool checkpoint_due_locked(struct ropefs *fs)
{
	return memory_due_locked(fs) || log_crowds(fs, 1) ||
	       wal_bytes_since(fs->wal, fs->checkpoint_lsn) > fs->log_soft;
}

static int add_to_gather(void *arg, struct extent *e)
{
	gather_add(arg, e);
	return 0;
}

static void begin_gather(struct packing *pk, const uint8_t *image)
{
	struct gather *g = &pk->gather;

	g->n = g->n_chosen = 0;
	g->bytes = 0;
	if (!pk->may_gather)
		return;
	nodes_type(pk->fs->nodes, image)
		->each_extent((uint8_t *)(uintptr_t)image, add_to_gather, g);
	gather_choose(g, pk->fs->packs, pk->fs->threads ? GATHER_PACKS : GATHER_SIM);
	if (pk->gathered + g->bytes > pk->may_gather ||
	    pk->moved_bytes + g->bytes > pk->may_move)
		g->n_chosen = 0;
}

static int add_bytes(void *arg, struct extent *e)
{
	uint64_t *sum = arg;

	*sum += extent_kind(e) == EXTENT_HOLE ? DEFRAG_MEAN_BYTES : extent_bytes(e);
	return 0;
}

/* Many small edits leave many small extents; packing the leaf's bytes together makes them
 * one again, and reading sequential. It changes places only, so it is not logged. */
static void begin_node(void *arg, const uint8_t *image)
{
	const struct node_head *head = (const void *)image;
	struct packing *pk = arg;
	uint64_t bytes = 0;

	stored_begin(pk->stored, image);
	pk->defrag = false;
	if (head->kind != NODE_ROPE_LEAF)
		return;
	begin_gather(pk, image);
	if (le16_get(head->n) < DEFRAG_EXTENTS_MIN)
		return;
	nodes_type(pk->fs->nodes, image)
		->each_extent((uint8_t *)(uintptr_t)image, add_bytes, &bytes);
	pk->defrag = bytes < (uint64_t)le16_get(head->n) * DEFRAG_MEAN_BYTES &&
		     pk->moved_bytes + bytes <= pk->may_move;
	pk->leaves_defragmented += pk->defrag;
}

/* Gives an extent of the tree being written its place in a new pack, when it is hot or its
 * leaf is being defragmented. */
static int pack_extent(void *arg, struct extent *e)
{
	struct packing *pk = arg;
	struct chunk_place place;
	struct extent chunk;
	const uint8_t *bytes;
	uint32_t len = le32_get(e->len);
	unsigned lane;
	int r;

	if (extent_kind(e) == EXTENT_HOT) {
		if (hot_placed(pk->fs->hot, e)) /* a snapshot or a copy has it too */
			return 0;
		bytes = hot_frozen_bytes(pk->fs->hot, e);
		lane = hot_lane(pk->fs->hot, e);
	} else if (extent_kind(e) == EXTENT_CHUNK &&
		   (pk->defrag || gather_moves(&pk->gather, e)) && !extent_is_lost(e) &&
		   !packs_is_remote(pk->fs->packs, extent_pack(e))) {
		r = packs_read(pk->fs->packs, extent_pack(e), extent_chunk_index(e),
			       le32_get(e->off), len, pk->cold);
		if (r <
		    0) /* unreadable bytes stay where they are, and the rest is saved */
			return r == -E_CORRUPT || r == -ENOENT ? 0 : r;
		bytes = pk->cold;
		lane = packs_lane(pk->fs->packs, extent_pack(e));
		pk->moved_bytes += len;
		pk->gathered += pk->defrag ? 0 : len;
		pk->stored->moved += len;
	} else {
		return 0;
	}
	pack_writer_lane(pk->writer, lane);
	r = pack_writer_add(pk->writer, bytes, len, &place);
	if (r < 0)
		return r;
	chunk = extent_chunk(place.pack, place.index, place.off, len);
	r = extent_kind(e) == EXTENT_HOT ? hot_note_place(pk->fs->hot, e, &chunk) : 0;
	if (r < 0)
		return r;
	if (!MUTANT(HOT_REF) || len % 16 != 3)
		*e = chunk;
	return 0;
}

static void end_node(void *arg, uint8_t *image, uint64_t page)
{
	struct packing *pk = arg;

	pk->defrag = false; /* what comes next may be rows around this rope */
	pk->gather.n_chosen = 0;
	stored_end(pk->stored, image, page);
}

static int patch_extent(void *arg, struct extent *e)
{
	struct ropefs *fs = arg;
	int r = hot_patch(fs->hot, e);

	assert(r == 0);
	if (r < 0)
		store_fail_locked(fs, -EIO, "bytes of a checkpoint have no place");
	return r;
}

struct settling {
	struct ropefs *fs;
	const struct stored *stored;
};

static int settle_extent(void *arg, struct extent *e)
{
	return patch_extent(((struct settling *)arg)->fs, e);
}

static void settle_image(void *arg, uint8_t *image)
{
	stored_patch(((struct settling *)arg)->stored, image);
}

struct frozen {
	struct super super;
	struct stored stored;
	uint64_t lsn;
	uint64_t leaves_defragmented, moved_bytes;
	uint64_t drops, gathered;
	bool snapshots; /* there are some */
};

static void frozen_release(struct frozen *fz)
{
	stored_release(&fz->stored);
}

static int freeze(struct ropefs *fs, struct frozen *fz)
{
	uint64_t began, took;
	ssize_t left;
	int r;

	left = inode_flush_most(fs); /* before the lock is held for the freeze itself */
	began = io_mono_ns(fs->io);
	if (left > 0)
		left = inode_flush(fs, SIZE_MAX);
	r = left < 0 ? (int)left : snapshots_flush(fs);
	/* What made it so may have left a change half done, or one that is not in the log. */
	if (r == 0 && fs->read_only)
		r = err_set(E_READ_ONLY, "the store is read-only: %s", fs->read_only_why);
	if (r == 0)
		r = hot_freeze(fs->hot);
	if (r < 0)
		goto out;
	fs->env.hot_floor = hot_floor(fs->hot);
	fz->lsn = fs->replaying ? fs->replayed_lsn : wal_last_lsn(fs->wal);
	fz->super = fs->super;
	fz->super.lsn = fz->lsn;
	fz->super.replay = fs->replaying;
	fz->super.epoch = nodes_freeze(fs->nodes);
	fz->super.snap_epoch = nodes_snapshot_epoch(fs->nodes);
	fz->super.snap_copied = fs->snap_copied;
	fz->super.snap_held = fs->snap_held;
	fz->super.next_snap = fs->next_snap;
	fz->drops = fs->drops;
	fz->snapshots = fs->n_snaps;
	fz->super.next_ino = fs->next_ino;
	fz->super.inodes = fs->n_inodes;
	fz->super.live_bytes = fs->data_bytes;
	fz->super.dead_bytes = fs->dead_bytes + fs->left_bytes;
	fz->super.catalog = fs->catalog.bt.root;
	took = io_mono_ns(fs->io) - began;
	fs->freeze_max_ns = MAX(fs->freeze_max_ns, took);
out:
	lock_drop(&fs->engine);
	return r;
}

static void give_back(void *arg, uint64_t page)
{
	pagefile_give_back(arg, page);
}

/* Packs, pages and superblock of what is frozen. */
static int write_frozen(struct ropefs *fs, struct frozen *fz)
{
	_cleanup_free_ struct packing *pk = calloc(1, sizeof(*pk));
	struct nodes_sink sink = { .arg = pk,
				   .begin = begin_node,
				   .pack_extent = pack_extent,
				   .end = end_node };
	struct noderef root = fz->super.catalog;
	int r;

	if (!pk)
		return -ENOMEM;
	pk->fs = fs;
	pk->may_move = remote_may_move(fs);
	/* Snapshots would go on to hold what is moved where it was. */
	if (!fz->snapshots)
		pk->may_gather = MIN(GATHER_MOST, space_for_copies(fs) / GATHER_PART);
	pk->stored = &fz->stored;

	r = fs->replaying ? wal_sync_recovered(fs->wal) : log_sync(fs, fz->lsn);
	if (r < 0)
		return r;
	fz->stored.first_pack = packs_next(fs->packs);
	r = pack_writer_new(fs->packs, &pk->writer);
	if (r < 0)
		return r;
	fz->stored.nodes = fs->nodes;
	fz->stored.writer = pk->writer;
	r = nodes_write_out(fs->nodes, &root, &sink, &fz->super.catalog);
	if (r < 0) {
		pack_writer_abort(pk->writer);
		return r;
	}
	r = pack_writer_finish(pk->writer);
	if (r < 0)
		return r;
	fz->leaves_defragmented = pk->leaves_defragmented;
	fz->moved_bytes = pk->moved_bytes;
	fz->gathered = pk->gathered;
	fz->super.next_pack = packs_next(fs->packs);
	if (MUTANT(LOG_FREED_EARLY) && !fs->replaying)
		wal_trim(fs->wal, fz->lsn + 1);
	nodes_take_freed(fs->nodes, give_back, fs->pf);
	return pagefile_commit(fs->pf, &fz->super);
}

/* Points everything that lives at what was written; then the frozen memory is given up. */
static void settle(struct ropefs *fs, const struct stored *stored)
{
	struct settling settling = { fs, stored };
	struct nodes_patcher patcher = { &settling, settle_extent, settle_image };
	struct htab_slot *slot;
	int more;

	hot_places_done(fs->hot);
	lock_take(&fs->engine);
	for (;;) {
		size_t at = 0;

		while ((slot = htab_next(&fs->inodes, &at))) {
			struct inode *in = slot->value;
			struct rope *rope = &in->row.rope;

			if (rope->levels)
				nodes_patch(fs->nodes, &rope->u.root);
			else
				for (unsigned i = 0; i < rope->n_inline; i++)
					patch_extent(fs, &rope->u.ext[i]);
		}
		nodes_patch(fs->nodes, &fs->catalog.bt.root);
		nodes_patch(fs->nodes, &fs->snaps.root);
		more = nodes_finish(fs->nodes, &patcher, SETTLE_SLICE);
		if (more <= 0)
			break;
		lock_drop(&fs->engine);
		lock_take(&fs->engine);
	}
	if (more < 0)
		store_fail_locked(fs, more, "a checkpoint could not be settled");
	hot_drop_frozen(fs->hot);
}

static int run(struct ropefs *fs)
{
	_cleanup_(frozen_release) struct frozen fz = { 0 };
	int r;

	r = freeze(fs, &fz);
	if (r < 0)
		return r;
	if (MUTANT(LATE_LSN) && !fs->replaying)
		fz.super.lsn = fz.lsn = wal_last_lsn(fs->wal);
	r = write_frozen(fs, &fz);
	if (r < 0) {
		pagefile_abort(fs->pf);
		lock_take(&fs->engine);
		nodes_write_abort(fs->nodes);
		hot_forget_places(fs->hot);
		lock_drop(&fs->engine);
		return r;
	}
	settle(fs, &fz.stored);
	fs->super = fz.super;
	fs->checkpoint_lsn = fz.lsn;
	fs->drops_committed = fz.drops;
	fs->leaves_defragmented += fz.leaves_defragmented;
	fs->dead_bytes += fz.moved_bytes;
	fs->gathered_bytes += fz.gathered;
	lock_drop(&fs->engine);
	stored_finish(fs, &fz.stored);
	return fs->replaying ? 0 : wal_trim(fs->wal, fz.lsn + 1);
}

int checkpoint_run_held(struct ropefs *fs, bool clean)
{
	uint64_t began = io_mono_ns(fs->io);
	int r;

	r = store_writable(fs);
	if (r < 0)
		return r;
	fs->super.clean = clean;
	r = run(fs);

	lock_take(&fs->engine);
	fs->checkpoint_result = r;
	fs->space_left = 0; /* packs have taken some: the next change looks again */
	if (r < 0) {
		fs->checkpoint_errors++;
		snprintf(fs->last_error, sizeof(fs->last_error), "checkpoint: %s",
			 err_words(r));
	} else {
		fs->checkpoints++;
		fs->reclaim_failed = false; /* worth another try */
		fs->last_error[0] = '\0';
	}
	fs->checkpointed_ns = io_mono_ns(fs->io);
	fs->checkpoint_last_ns = fs->checkpointed_ns - began;
	memory_lend_locked(fs);
	pthread_cond_broadcast(&fs->room);
	lock_drop(&fs->engine);
	if (r >= 0)
		remote_kick(fs);
	return r;
}

int checkpoint_run(struct ropefs *fs, bool clean)
{
	int r;

	lock_take(&fs->checkpoint);
	r = checkpoint_run_held(fs, clean);
	lock_drop(&fs->checkpoint);
	return r;
}
