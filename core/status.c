/* status.c - what a store says of itself, as a struct and as JSON. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "core/base/err.h"
#include "core/base/json.h"
#include "core/scrub.h"
#include "core/store_priv.h"

/* Free is what changes may bring before one is refused (more, if it compresses). */
int ropefs_statfs(struct ropefs *fs, struct ropefs_statfs *ret)
{
	uint64_t reserved = 0;
	struct io_space space;
	int r = fs->io->ops->space(fs->io, &space);

	if (r < 0)
		return r;
	lock_take(&fs->engine);
	if (fs->wal)
		reserved = space_reserved_locked(fs);
	*ret = (struct ropefs_statfs) {
		.total_bytes = space.total_bytes,
		.free_bytes = space.free_bytes - MIN(reserved, space.free_bytes),
		.inodes = fs->n_inodes,
		.reserved_bytes = space.reserved_bytes,
	};
	lock_drop(&fs->engine);
	return 0;
}

static void status_layers(struct ropefs *fs, struct ropefs_status *st)
{
	struct pagefile_stats pages;
	struct packs_stats packs;
	struct nodes_stats nodes;
	struct wal_stats wal = { 0 };

	pagefile_get_stats(fs->pf, &pages);
	packs_get_stats(fs->packs, &packs);
	nodes_get_stats(fs->nodes, &nodes);
	if (fs->wal) {
		wal_get_stats(fs->wal, &wal);
		st->lsn = wal_last_lsn(fs->wal);
		st->durable_lsn = wal_durable_lsn(fs->wal);
		st->log_bytes = wal_bytes_since(fs->wal, fs->checkpoint_lsn);
	}
	st->log_records = wal.records;
	st->log_syncs = wal.syncs;
	st->log_body_bytes = wal.body_bytes;
	st->log_file_bytes = wal.file_bytes;
	st->packs = packs.packs;
	st->pack_bytes = packs.file_bytes;
	st->plain_bytes = packs.plain_bytes;
	st->sealed_bytes = packs.sealed_bytes;
	st->pages = pages.pages;
	st->pages_used = pages.used;
	st->pages_leaked = nodes.leaked_pages;
	st->chunk_hits = packs.hits;
	st->chunk_misses = packs.misses;
	st->node_hits = nodes.hits;
	st->node_misses = nodes.misses;
	st->cache_bytes = packs.cache_bytes + nodes.clean * PAGE_BYTES;
}

static void status_scrub(const struct scrub *s, struct ropefs_status *st)
{
	const struct scrub_report *rep;

	if (!s)
		return;
	rep = s->under_way ? &s->now : &s->last;
	st->scrub_running = s->under_way;
	st->scrub_bytes = rep->bytes;
	st->scrub_total_bytes =
		s->under_way ? MAX(s->total_bytes, rep->bytes) : rep->bytes;
	st->scrub_mended = rep->mended;
	st->scrub_problems = rep->problems;
	st->scrub_files = rep->files;
	st->scrub_ended_s = (double)s->last.ended_ns / 1e9;
	st->scrub_passes = s->passes;
}

void ropefs_get_status(struct ropefs *fs, struct ropefs_status *ret)
{
	struct ropefs_status st = { 0 };

	hex_put(fs->header.store_id, STORE_ID_BYTES, st.store_id);
	st.cipher = cipher_name(fs->header.cipher);
	st.memory_budget = fs->opts.memory_bytes;
	lock_take(&fs->engine);
	status_layers(fs, &st);
	st.read_only = fs->read_only;
	st.failed = fs->failed;
	if (fs->read_only)
		memcpy(st.read_only_why, fs->read_only_why, sizeof(st.read_only_why));
	st.was_clean = fs->was_clean;
	st.recovery_s = (double)fs->recovery_ns / 1e9;
	st.recovered_records = fs->recovered_records;
	st.hot_bytes = hot_total(fs->hot);
	st.dirty_node_bytes = nodes_dirty_bytes(fs->nodes);
	st.inodes = fs->n_inodes;
	st.expired_files = fs->expired_files;
	st.txn_commits = fs->txn_commits;
	st.txn_conflicts = fs->txn_conflicts;
	st.file_bytes = fs->data_bytes;
	st.checkpoint_lsn = fs->checkpoint_lsn;
	st.checkpoints = fs->checkpoints;
	st.checkpoint_errors = fs->checkpoint_errors;
	st.checkpoint_last_s = (double)fs->checkpoint_last_ns / 1e9;
	st.freeze_max_us = (double)fs->freeze_max_ns / 1e3;
	st.dead_bytes = fs->dead_bytes;
	st.collections = fs->collections;
	st.packs_removed = fs->packs_removed;
	st.packs_rewritten = fs->packs_rewritten;
	st.leaves_defragmented = fs->leaves_defragmented;
	st.queue_appends = fs->queue_appends;
	st.queue_seeks = fs->queue_seeks;
	st.queue_blocks_read = fs->queue_blocks_read;
	st.queue_trimmed_records = fs->queue_trimmed_records;
	st.queue_trimmed_bytes = fs->queue_trimmed_bytes;
	st.queue_refused = fs->queue_refused;
	st.snapshots = fs->n_snaps;
	st.snapshot_bytes = fs->snap_held;
	status_scrub(fs->scrub, &st);
	if (*fs->last_error)
		memcpy(st.last_error, fs->last_error, sizeof(st.last_error));
	else if (*fs->damage)
		snprintf(st.last_error, sizeof(st.last_error),
			 "inode %llu can't be read whole: %.200s",
			 (unsigned long long)fs->damage_ino, fs->damage);
	lock_drop(&fs->engine);
	*ret = st;
}

/* An empty object without a bucket; NULL without memory. */
static cJSON *remote_to_json(struct ropefs *fs)
{
	struct ropefs_remote_status st;
	cJSON *o = cJSON_CreateObject();

	if (!o || ropefs_remote_status(fs, &st) < 0)
		return o;
	cJSON_AddStringToObject(o, "url", st.url);
	cJSON_AddStringToObject(o, "instance", st.instance);
	cJSON_AddStringToObject(o, "last_error", st.last_error);
	cJSON_AddStringToObject(o, "read_error", st.read_error);
	cJSON_AddBoolToObject(o, "reader", st.reader);
	cJSON_AddBoolToObject(o, "follows", st.follows);
	cJSON_AddBoolToObject(o, "creates", st.creates);
	cJSON_AddBoolToObject(o, "versions", st.versions);
	cJSON_AddBoolToObject(o, "fenced", st.fenced);
	cJSON_AddBoolToObject(o, "ended", st.ended);
	cJSON_AddBoolToObject(o, "full", st.full);
	cJSON_AddBoolToObject(o, "resting", st.resting);
	cJSON_AddBoolToObject(o, "watched", st.watched);
	cJSON_AddBoolToObject(o, "announced", st.announced);
	cJSON_AddStringToObject(o, "announce_error", st.announce_error);
	cJSON_AddStringToObject(o, "refused_why", st.refused_why);
#define NUMBER(field) cJSON_AddNumberToObject(o, #field, (double)st.field)
	NUMBER(interval_s);
	NUMBER(interval_most_s);
	NUMBER(live_s);
	NUMBER(epoch);
	NUMBER(manifest);
	NUMBER(wanted_lsn);
	NUMBER(committed_lsn);
	NUMBER(committed_ns);
	NUMBER(packs_left);
	NUMBER(bytes_left);
	NUMBER(evicted);
	NUMBER(skew_s);
	NUMBER(refused);
	NUMBER(dropped);
	NUMBER(dropped_bytes);
	NUMBER(local_bytes);
	NUMBER(remote_packs);
	NUMBER(remote_bytes);
	NUMBER(cycles);
	NUMBER(cycle_errors);
	NUMBER(puts);
	NUMBER(gets);
	NUMBER(heads);
	NUMBER(lists);
	NUMBER(dels);
	NUMBER(failed);
	NUMBER(put_bytes);
	NUMBER(got_bytes);
	NUMBER(hedged);
	NUMBER(cache_bytes);
	NUMBER(cache_hits);
	NUMBER(verify_done);
	NUMBER(verify_total);
#undef NUMBER
	return o;
}

int ropefs_remote_status_json(struct ropefs *fs, char **ret)
{
	cJSON *o = remote_to_json(fs);
	char *text = o ? cJSON_Print(o) : NULL;

	cJSON_Delete(o);
	if (!text)
		return -ENOMEM;
	*ret = text;
	return 0;
}

void status_add_text(cJSON *o, const char *name, const char *text)
{
	_cleanup_(buf_release) struct buf b = BUF_INIT;

	if (json_add_string(&b, SPAN_STR(text)) >= 0 && buf_append(&b, "", 1) >= 0)
		cJSON_AddRawToObject(o, name, (const char *)b.p);
}

/* What the public struct says, but with the path of a damaged file for those who may know it. */
static void add_last_error(struct ropefs *fs, cJSON *o, const char *last, bool names)
{
	char text[sizeof(fs->damage) + sizeof(fs->damage_path) + 40];

	lock_take(&fs->engine);
	if (names && !*fs->last_error && *fs->damage)
		snprintf(text, sizeof(text), "%s can't be read whole: %s",
			 fs->damage_path, fs->damage);
	else
		snprintf(text, sizeof(text), "%s", last);
	lock_drop(&fs->engine);
	status_add_text(o, "last_error", text);
}

static void add_scrub(struct ropefs *fs, cJSON *o, bool names)
{
	lock_take(&fs->engine);
	cJSON_AddItemToObject(o, "scrub", scrub_to_json(fs, names));
	lock_drop(&fs->engine);
}

int ropefs_scrub_json(struct ropefs *fs, bool names, char **ret)
{
	cJSON *o;
	char *text;

	lock_take(&fs->engine);
	o = scrub_to_json(fs, names);
	lock_drop(&fs->engine);
	text = cJSON_Print(o);
	cJSON_Delete(o);
	if (!text)
		return -ENOMEM;
	*ret = text;
	return 0;
}

#define NUMBER(field) cJSON_AddNumberToObject(o, #field, (double)st->field)
/* Memory, files, the log, checkpoints. */
static void add_life(cJSON *o, const struct ropefs_status *st)
{
	NUMBER(recovery_s);
	NUMBER(recovered_records);
	NUMBER(memory_budget);
	NUMBER(hot_bytes);
	NUMBER(dirty_node_bytes);
	NUMBER(cache_bytes);
	NUMBER(inodes);
	NUMBER(expired_files);
	NUMBER(txn_commits);
	NUMBER(txn_conflicts);
	NUMBER(file_bytes);
	NUMBER(log_bytes);
	NUMBER(log_records);
	NUMBER(log_syncs);
	NUMBER(log_body_bytes);
	NUMBER(log_file_bytes);
	NUMBER(lsn);
	NUMBER(durable_lsn);
	NUMBER(checkpoint_lsn);
	NUMBER(checkpoints);
	NUMBER(checkpoint_errors);
	NUMBER(checkpoint_last_s);
	NUMBER(freeze_max_us);
}

/* What is on the disk, and the work on it; queues and snapshots. */
static void add_disk(cJSON *o, const struct ropefs_status *st)
{
	NUMBER(packs);
	NUMBER(pack_bytes);
	NUMBER(plain_bytes);
	NUMBER(sealed_bytes);
	NUMBER(dead_bytes);
	NUMBER(pages);
	NUMBER(pages_used);
	NUMBER(pages_leaked);
	NUMBER(chunk_hits);
	NUMBER(chunk_misses);
	NUMBER(node_hits);
	NUMBER(node_misses);
	NUMBER(collections);
	NUMBER(packs_removed);
	NUMBER(packs_rewritten);
	NUMBER(leaves_defragmented);
	NUMBER(queue_appends);
	NUMBER(queue_seeks);
	NUMBER(queue_blocks_read);
	NUMBER(queue_trimmed_records);
	NUMBER(queue_trimmed_bytes);
	NUMBER(queue_refused);
	NUMBER(snapshots);
	NUMBER(snapshot_bytes);
}
#undef NUMBER

int ropefs_status_json(struct ropefs *fs, bool names, char **ret)
{
	struct ropefs_status st;
	cJSON *o = cJSON_CreateObject();
	char *text;

	if (!o)
		return -ENOMEM;
	ropefs_get_status(fs, &st);
	cJSON_AddStringToObject(o, "version", ROPEFS_VERSION);
	cJSON_AddStringToObject(o, "store_id", st.store_id);
	cJSON_AddStringToObject(o, "cipher", st.cipher);
	cJSON_AddBoolToObject(o, "read_only", st.read_only);
	cJSON_AddBoolToObject(o, "failed", st.failed);
	cJSON_AddStringToObject(o, "read_only_why", st.read_only_why);
	cJSON_AddBoolToObject(o, "was_clean", st.was_clean);
	add_last_error(fs, o, st.last_error, names);
	add_scrub(fs, o, names);
	if (fs->remote && names)
		cJSON_AddItemToObject(o, "remote", remote_to_json(fs));
	add_life(o, &st);
	add_disk(o, &st);
	text = cJSON_Print(o);
	cJSON_Delete(o);
	if (!text)
		return -ENOMEM;
	*ret = text;
	return 0;
}
