#include "core/repair.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/err.h"
#include "core/catalog/salvage.h"
#include "core/page/page_format.h"

void repair_say(struct repair *rp, const char *fmt, ...)
{
	char line[1000];
	va_list ap;

	va_start(ap, fmt);
	snapshot_line(rp->snapshot, line, sizeof(line), fmt, ap);
	va_end(ap);
	rp->pub->steps++;
	if (buf_append(&rp->report, line, strlen(line)) >= 0)
		buf_append(&rp->report, "\n",
			   1); /* best effort: it is told all the same */
	if (rp->pub->step)
		rp->pub->step(rp->pub->arg, line);
}

/* --- what is bad --- */

static void ignore_line(void *arg, const char *line)
{
}

static void bad_chunk(void *arg, uint64_t pack, uint32_t index)
{
	struct repair *rp = arg;

	damage_add_chunk(&rp->damage, pack, index);
}

static int look_at_pack(void *arg, const struct pack_info *info)
{
	struct ropefs *fs = arg;
	struct repair *rp = fs->repair;
	struct pack_judge judge = { .bad = ignore_line,
				    .bad_chunk = bad_chunk,
				    .arg = rp };
	struct packs_stats st;
	int r = damage_add_pack(&rp->damage, info);

	if (r >= 0 && !info->remote)
		r = packs_verify(fs->packs, info->pack, &judge);
	if (r == -E_CORRUPT) {
		damage_add_flaw(&rp->damage, info->pack);
		r = 0;
	}
	packs_get_stats(fs->packs, &st);
	rp->done += info->remote ? 0 : info->file_bytes;
	if (rp->pub->progress)
		rp->pub->progress(rp->pub->arg, rp->done, st.file_bytes);
	return r;
}

static int say_pack(void *arg, uint64_t pack, const uint8_t *live, uint32_t n)
{
	if (n)
		repair_say(arg,
			   "pack %010llx: write it anew with the %u chunks that "
			   "can be read",
			   (unsigned long long)pack, n);
	else
		repair_say(arg, "pack %010llx: remove it, no chunk of it can be read",
			   (unsigned long long)pack);
	return 0;
}

static int look_at_page(struct walk *w, const struct noderef *ref)
{
	uint8_t *seen = w->arg;
	uint64_t page = le64_get(ref->at);
	struct repair *rp = w->fs->repair;
	struct pagefile_stats st;
	unsigned bad;
	int r;

	pagefile_get_stats(w->fs->pf, &st);
	if (page >= st.pages || seen[page / 8] >> page % 8 & 1)
		return 1;
	seen[page / 8] |= (uint8_t)(1u << page % 8);
	r = pagefile_check_page(w->fs->pf, ref, !w->fs->opts.read_only, &bad);
	if (r >= 0 && bad && !rp->copied++)
		rp->first_copied = page;
	return r == -E_CORRUPT ? 0 : r;
}

static int bad_page(struct walk *w, const struct noderef *ref, int r)
{
	uint64_t page = le64_get(ref->at);

	return r == -ENOMEM ? r
			    : buf_append(&w->fs->repair->bad_pages, &page, sizeof(page));
}

static int look_at_pages(struct ropefs *fs)
{
	struct walk w = { .fs = fs, .page = look_at_page, .broken = bad_page };
	struct pagefile_stats st;
	unsigned copies = 0;
	int r;

	pagefile_get_stats(fs->pf, &st);
	w.arg = calloc(1, st.pages / 8 + 1);
	r = w.arg ? walk_tree(&w, &fs->super.catalog) : -ENOMEM;
	free(w.arg);
	if (r >= 0 && fs->repair->copied)
		repair_say(
			fs->repair,
			"write %llu pages of the page file anew from their other copy, "
			"the first is page %llu",
			(unsigned long long)fs->repair->copied,
			(unsigned long long)fs->repair->first_copied);
	if (r >= 0)
		r = pagefile_check_super(fs->pf, &copies);
	if (r >= 0 && copies && fs->opts.read_only)
		repair_say(fs->repair, "write the damaged copy of the superblock anew");
	if (pagefile_needs_sweep(fs->pf))
		repair_say(fs->repair, "make the map of free pages anew");
	return r;
}

/* --- snapshots --- */

/* What a snapshot shows hangs below a folder that lives. *made: it had to be made. */
static int need_dir(struct ropefs *fs, const struct snapshot *s, bool *made)
{
	struct inode_row row;
	int r = catalog_get_inode(&fs->catalog, s->dir, &row);

	if (r == -ENOENT) {
		*made = true;
		row = (struct inode_row) {
			.version = le32_put(1),
			.mode = le32_put(S_IFDIR | 0700),
			.nlink = le32_put(2),
			.parent = le64_put(ROPEFS_ROOT_INO),
		};
		r = 0;
	}
	if (r < 0 || le32_get(row.flags) & INODE_SNAPSHOTS)
		return r;
	row.flags = le32_put(le32_get(row.flags) | INODE_SNAPSHOTS);
	return catalog_put_inode(&fs->catalog, s->dir, &row);
}

static int repair_snapshot(struct ropefs *fs, struct snapshot *s)
{
	struct repair *rp = fs->repair;
	struct salvage salvage = { 0 };
	struct catalog cat = fs->catalog;
	uint64_t steps = rp->pub->steps;
	int r;

	rp->snapshot = s;
	cat.bt.root = s->catalog;
	r = repair_catalog(fs, &cat, &salvage);
	rp->snapshot = NULL;
	if (r < 0 || steps == rp->pub->steps)
		return r;
	s->catalog = cat.bt.root;
	if (salvage.inodes)
		s->inodes = salvage.inodes;
	fs->next_ino = MAX(fs->next_ino, salvage.last_ino + 1);
	r = snapshots_put(&fs->snaps, s);
	if (r < 0 || !salvage.inodes)
		return r;
	rp->snapshot = s;
	r = repair_queues(fs, &cat); /* where catalog_of() finds them now */
	rp->snapshot = NULL;
	s->catalog = cat.bt.root;
	return r < 0 ? r : snapshots_put(&fs->snaps, s);
}

static int repair_snapshots(struct ropefs *fs)
{
	struct snapshot s;
	uint64_t id = 0;
	int r = 0;

	while (r >= 0 && (r = snapshots_next(&fs->snaps, id, &s)) > 0) {
		id = s.id;
		r = repair_snapshot(fs, &s);
	}
	return r;
}

/* The list of snapshots, from what of it can be read. */
static int salvage_list(struct ropefs *fs)
{
	struct btree whole = { .nodes = fs->nodes };
	uint64_t broken, id = 0, n = 0;
	struct snapshot s;
	int r;

	if (!fs->snaps_lost)
		return 0;
	r = btree_salvage(&fs->snaps, &whole, &broken);
	if (r < 0)
		return r;
	fs->snaps = whole;
	while ((r = snapshots_next(&fs->snaps, id, &s)) > 0) {
		id = s.id;
		n++;
	}
	repair_say(fs->repair, "the list of snapshots is damaged: %llu of them are left",
		   (unsigned long long)n);
	fs->n_snaps = n;
	fs->snaps_lost = false;
	nodes_set_snapshots(fs->nodes, nodes_snapshot_epoch(fs->nodes), n > 0);
	return r;
}

/* Called only where rows were lost. */
static int need_dirs(struct ropefs *fs, struct salvage *salvage)
{
	bool made = false;
	struct snapshot s;
	uint64_t id = 0;
	int r = 0;

	while (r >= 0 && (r = snapshots_next(&fs->snaps, id, &s)) > 0) {
		id = s.id;
		r = need_dir(fs, &s, &made);
	}
	return r >= 0 && made ? repair_names(fs, &fs->catalog, salvage) : r;
}

/* --- what lives --- */

static int add_data(struct ropefs *fs)
{
	struct inode_row row;
	uint64_t ino = 0, n = 0, data = 0;
	int r;

	while ((r = catalog_next_inode(&fs->catalog, ino, &ino, &row)) > 0) {
		n++;
		data += le64_get(row.data_bytes);
	}
	fs->n_inodes = n;
	fs->data_bytes = data;
	return r;
}

static int repair_live(struct ropefs *fs)
{
	struct salvage salvage = { 0 };
	int r = salvage_list(fs);

	if (r >= 0 && fs->repair->from_packs)
		r = repair_from_packs(fs, &salvage);
	if (r >= 0)
		r = repair_catalog(fs, &fs->catalog, &salvage);
	if (r >= 0 && salvage.inodes)
		r = need_dirs(fs, &salvage);
	fs->next_ino = MAX(fs->next_ino, salvage.last_ino + 1);
	if (r >= 0)
		r = add_data(fs);
	return r;
}

int repair_trees(struct ropefs *fs)
{
	struct repair *rp = fs->repair;
	int r = packs_each(fs->packs, look_at_pack, fs);

	if (r >= 0)
		r = look_at_pages(fs);
	if (r >= 0)
		r = damage_each_flawed(&rp->damage, say_pack, rp);
	if (r < 0)
		return r;
	lock_take(&fs->engine);
	r = repair_live(fs);
	if (r >= 0)
		r = repair_snapshots(fs);
	lock_drop(&fs->engine);
	return r < 0 ? r : 0;
}

/* --- the log --- */

int repair_record(struct ropefs *fs, uint64_t lsn, const struct op *op)
{
	struct op plain = *op;
	char words[400], why[300];
	struct inode *in;

	snprintf(why, sizeof(why), "%s",
		 *err_detail() ? err_detail() : "what it changes is gone");
	if (op->type == OP_APPEND && inode_get(fs, op->ino, &in) >= 0 &&
	    S_ISREG(le32_get(in->row.mode)) && fs->repair->has_plain) {
		plain.type = OP_WRITE;
		plain.at = rope_bytes(&in->row.rope);
		if (op_apply(fs, &plain) >= 0)
			return 0;
	}
	op_to_text(op, words, sizeof(words));
	repair_say(fs->repair, "leave out record %llu of the log (%s): %s",
		   (unsigned long long)lsn, words, why);
	return 0;
}

int repair_log(struct ropefs *fs)
{
	fs->repair->log_rot = true;
	repair_say(fs->repair, "end the log at record %llu: %s",
		   (unsigned long long)fs->replayed_lsn, err_detail());
	return 0;
}

int repair_old_log(struct ropefs *fs)
{
	int r = fs->repair->log_rot
			? 0
			: wal_inspect(fs->io, fs->keys, ignore_line, NULL, NULL);

	if (r != -E_CORRUPT)
		return r < 0 ? r : 0;
	fs->repair->log_rot = true;
	repair_say(fs->repair,
		   "begin a new log: what is damaged in this one is not needed (%s)",
		   err_detail());
	return 0;
}

int repair_commit(struct ropefs *fs)
{
	bool midway = fs->replaying, first = !fs->repair->committed;
	int r;

	if (!fs->repair->pub->steps)
		return midway ? checkpoint_run(fs, false) : 0;
	r = repair_keep(fs);
	if (r >= 0) {
		fs->replaying = true; /* the log is not open, and stays as it is */
		r = checkpoint_run(fs, false);
		fs->replaying = midway;
		if (r < 0 && first && !pagefile_in_doubt(fs->pf))
			repair_keep_undo(fs);
		fs->repair->committed |= r >= 0;
	}
	if (r == -ENOSPC && first)
		return err_set(ENOSPC,
			       "the disk below the store is full: a repair first "
			       "keeps what it removes, and then needs room for a "
			       "checkpoint; nothing was changed: free some, or move "
			       "the store to a larger disk");
	return r < 0 || midway ? r : repair_keep_done(fs);
}

/* --- the end --- */

static int mend_pack(void *arg, uint64_t pack, const uint8_t *live, uint32_t n)
{
	struct ropefs *fs = arg;

	return n ? packs_salvage(fs->packs, pack, live) : packs_remove(fs->packs, pack);
}

static int finish(struct ropefs *fs)
{
	int r = 0, closed;

	if (fs->read_only) {
		store_abandon(fs, false);
		return 0;
	}
	lock_take(&fs->checkpoint);
	if (fs->repair->pub->steps) {
		r = checkpoint_run_held(fs, false);
		if (r >= 0)
			r = damage_each_flawed(&fs->repair->damage, mend_pack, fs);
		if (r >= 0)
			r = collect_run_held(fs);
	}
	lock_drop(&fs->checkpoint);
	closed = ropefs_close(fs);
	return r < 0 ? r : closed;
}

/* The page file, when it is gone: from its copy, or else from packs and log. */
static int rebuild_pages(struct io *io, struct repair *rp)
{
	_cleanup_(io_closep) struct io_file *f = NULL;
	int r = io_open(io, PAGEFILE_NAME, IO_READ, &f);

	if (r != -ENOENT)
		return r < 0 ? r : 0;
	r = io_open(io, PAGEFILE_COPY_NAME, IO_READ, &f);
	if (r == -ENOENT)
		return repair_plan_from_packs(io, rp);
	if (r < 0)
		return r;
	repair_say(rp, "make the page file anew from its copy");
	return rp->pub->apply ? pagefile_begin_from_copy(io) : 0;
}

/* Damage that an opening mends by itself is a step of the plan, too. */
static int look_at_files(const char *path, struct repair *rp)
{
	bool damaged = false;
	struct io *io = NULL;
	struct header h;
	int r = store_open_dir(path, &io);

	if (r >= 0)
		r = header_read(io, &h, &damaged);
	if (r >= 0 && damaged)
		repair_say(rp, "write the damaged copy of the header anew");
	if (r >= 0 && pagefile_copy_is_odd(io)) {
		rp->odd_copy = true;
		repair_say(
			rp,
			"move what is in place of \"pages.copy\", and is no file, away: "
			"the next mount makes the copy anew");
	}
	if (r >= 0 && rp->pub->rebuild)
		r = rebuild_pages(io, rp);
	io_free(io);
	return r;
}

/* What a repair that changed nothing leaves, when it is empty. */
static void forget_folder(const char *path)
{
	char *folder;

	if (asprintf(&folder, "%s/" REPAIR_PART, path) < 0)
		return;
	rmdir(folder);
	free(folder);
}

int ropefs_repair(const char *path, struct ropefs_repair *pub)
{
	struct repair rp = { .pub = pub };
	struct store_opts so = { .repair = &rp, .page_copy = true };
	struct ropefs *fs = NULL;
	int r;

	err_clear();
	so.pub.key_file = pub->key_file;
	so.pub.read_only = !pub->apply;
	so.pub.memory_bytes = pub->memory_bytes;
	r = look_at_files(path, &rp);
	if (r >= 0 && !(rp.from_packs && !pub->apply)) /* there is nothing to open yet */
		r = store_open_path(path, &so, &fs);
	if (fs)
		r = finish(fs);
	if (r == -ENOSPC && !err_has_words(r))
		err_set(ENOSPC, "the disk below the store is full; what was done so far "
				"holds, and nothing else was changed: free some, and "
				"repair again");
	err_settle(r);
	forget_folder(path);
	if (*rp.folder)
		snprintf(pub->kept, sizeof(pub->kept), "%s", rp.folder);
	damage_release(&rp.damage);
	buf_release(&rp.bad_pages);
	buf_release(&rp.report);
	return r;
}
