#include "fs/metrics.h"

#include "fs/keep.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const op_names[OP_COUNT] = {
#define X(name) #name,
	OPS(X)
#undef X
};

static uint64_t requests(const struct daemon *d)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < OP_COUNT; i++)
		n += counted(&d->counters.ops[i]);
	return n;
}

static void put_json_string(FILE *out, const char *s)
{
	fputc('"', out);
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			fprintf(out, "\\%c", *s);
		else if ((unsigned char)*s < 0x20)
			fprintf(out, "\\u%04x", (unsigned)(unsigned char)*s);
		else
			fputc(*s, out);
	}
	fputc('"', out);
}

static void put_mount(FILE *out, const struct daemon *d)
{
	fprintf(out,
		"\"mount\": {\"pid\": %d, \"uptime_s\": %lld, \"supervisor\": %d, "
		"\"takeovers\": %" PRIu64 ", \"restarts_refused\": %" PRIu64
		", \"mountpoint\": ",
		(int)getpid(), (long long)(time(NULL) - d->started),
		keep_is_open() ? (int)getppid() : 0, keep_takeovers(),
		keep_restarts_refused());
	put_json_string(out, d->mountpoint);
	fprintf(out,
		", \"requests\": %" PRIu64 ", \"deferred\": %" PRIu64
		", \"invalidations\": %" PRIu64 ", \"sizes_told\": %" PRIu64
		", \"read_bytes\": %" PRIu64 ", \"written_bytes\": %" PRIu64
		", \"views\": %s, \"killpriv_v2\": %s}",
		requests(d), counted(&d->counters.deferred),
		counted(&d->counters.invalidations), counted(&d->counters.sizes_told),
		counted(&d->counters.read_bytes), counted(&d->counters.written_bytes),
		d->views_on ? "true" : "false",
		atomic_load(&d->killpriv) ? "true" : "false");
}

static int text_end(FILE *out, char **text, size_t *n, char **ret_text, size_t *ret_n)
{
	if (fclose(out) != 0) {
		free(*text);
		return -ENOMEM;
	}
	*ret_text = *text;
	*ret_n = *n;
	return 0;
}

int status_text(struct daemon *d, bool names, char **ret_text, size_t *ret_n)
{
	char *store, *end, *text = NULL;
	size_t n = 0;
	FILE *out;
	int r;

	r = ropefs_status_json(d->fs, names, &store);
	if (r < 0)
		return r;
	end = strrchr(store, '}');
	out = end ? open_memstream(&text, &n) : NULL;
	if (!out) {
		free(store);
		return end ? -ENOMEM : -EIO;
	}
	/* The mount is one member more of the store's object. */
	while (end > store && strchr(" \t\n", end[-1]))
		end--;
	fprintf(out, "%.*s,\n", (int)(end - store), store);
	put_mount(out, d);
	fputs("\n}\n", out);
	free(store);
	return text_end(out, &text, &n, ret_text, ret_n);
}

struct metric {
	const char *name, *type, *help;
	double value;
};

static void put_metric(FILE *out, const struct metric *m)
{
	fprintf(out, "# HELP ropefs_%s %s\n# TYPE ropefs_%s %s\nropefs_%s %.17g\n",
		m->name, m->help, m->name, m->type, m->name, m->value);
}

static void put_requests(FILE *out, struct daemon *d)
{
	fputs("# HELP ropefs_requests_total requests of the kernel\n"
	      "# TYPE ropefs_requests_total counter\n",
	      out);
	for (unsigned i = 0; i < OP_COUNT; i++)
		fprintf(out, "ropefs_requests_total{op=\"%s\"} %" PRIu64 "\n",
			op_names[i], counted(&d->counters.ops[i]));
}

static void put_mount_metrics(FILE *out, struct daemon *d)
{
	const struct metric list[] = {
		{ "uptime_seconds", "gauge", "since the mount",
		  difftime(time(NULL), d->started) },
		{ "read_bytes_total", "counter", "given to the kernel",
		  (double)counted(&d->counters.read_bytes) },
		{ "written_bytes_total", "counter", "taken from the kernel",
		  (double)counted(&d->counters.written_bytes) },
		{ "deferred_total", "counter", "requests that a worker answered",
		  (double)counted(&d->counters.deferred) },
		{ "invalidations_total", "counter",
		  "times the kernel's cache was dropped",
		  (double)counted(&d->counters.invalidations) },
		{ "shared_bytes_total", "counter",
		  "of those written, found in the file they were copied from",
		  (double)counted(&d->counters.shared_bytes) },
		{ "awake_seconds_total", "counter",
		  "for which cores were kept from sleeping (awake=)",
		  awake_seconds(&d->awake) },
		{ "looked_seconds_total", "counter",
		  "for which loops looked for a next request that did not come (awake=)",
		  spin_seconds(&d->spin) },
		{ "sizes_told_total", "counter",
		  "times the kernel was told a file's size after an edit",
		  (double)counted(&d->counters.sizes_told) },
	};

	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++)
		put_metric(out, &list[i]);
}

/* X(member of struct ropefs_status, name, type, help) */
#define STORE_METRICS(X)                                                                 \
	X(read_only, "read_only", "gauge", "1 when the store takes no writes")           \
	X(memory_budget, "memory_budget_bytes", "gauge", "memory= of the mount")         \
	X(hot_bytes, "hot_bytes", "gauge", "not yet in packs")                           \
	X(dirty_node_bytes, "dirty_node_bytes", "gauge", "tree nodes not yet in pages")  \
	X(cache_bytes, "cache_bytes", "gauge", "chunks and nodes kept")                  \
	X(inodes, "inodes", "gauge", "files and directories")                            \
	X(file_bytes, "file_bytes", "gauge", "sizes of files less holes")                \
	X(log_bytes, "log_bytes", "gauge", "in the log now")                             \
	X(expired_files, "expired_files_total", "counter", "files whose ttl was over")   \
	X(txn_commits, "transactions_total", "counter", "transactions committed")        \
	X(txn_conflicts, "transaction_conflicts_total", "counter",                       \
	  "transactions refused: somebody else changed a file")                          \
	X(snapshots, "snapshots", "gauge", "that there are")                             \
	X(snapshot_bytes, "snapshot_bytes", "gauge",                                     \
	  "that only snapshots held at the last collection")                             \
	X(log_file_bytes, "log_file_bytes", "gauge", "taken by the log's files")         \
	X(log_records, "log_records_total", "counter", "records logged")                 \
	X(log_syncs, "log_syncs_total", "counter", "group commits")                      \
	X(log_body_bytes, "log_body_bytes_total", "counter", "bytes of records logged")  \
	X(lsn, "lsn", "gauge", "last record")                                            \
	X(durable_lsn, "durable_lsn", "gauge", "last record known on disk")              \
	X(checkpoint_lsn, "checkpoint_lsn", "gauge", "last record in the trees")         \
	X(checkpoints, "checkpoints_total", "counter", "checkpoints written")            \
	X(checkpoint_errors, "checkpoint_errors_total", "counter", "checkpoints failed") \
	X(checkpoint_last_s, "checkpoint_last_seconds", "gauge", "time of the last one") \
	X(freeze_max_us, "freeze_max_microseconds", "gauge", "longest stop of writers")  \
	X(packs, "packs", "gauge", "pack files")                                         \
	X(pack_bytes, "pack_bytes", "gauge", "taken by packs")                           \
	X(plain_bytes, "plain_bytes", "gauge", "in packs, as files see them")            \
	X(sealed_bytes, "sealed_bytes", "gauge", "the same, compressed and sealed")      \
	X(dead_bytes, "dead_bytes", "gauge", "in packs, of no file")                     \
	X(pages, "pages", "gauge", "of the page file")                                   \
	X(pages_used, "pages_used", "gauge", "of them in use")                           \
	X(chunk_hits, "chunk_hits_total", "counter", "chunks found in memory")           \
	X(chunk_misses, "chunk_misses_total", "counter", "chunks read from packs")       \
	X(node_hits, "node_hits_total", "counter", "tree nodes found in memory")         \
	X(node_misses, "node_misses_total", "counter", "tree nodes read from pages")     \
	X(collections, "collections_total", "counter", "garbage collections")            \
	X(packs_removed, "packs_removed_total", "counter", "dead packs removed")         \
	X(queue_appends, "queue_appends_total", "counter", "appends to queues")          \
	X(queue_seeks, "queue_seeks_total", "counter", "places sought in queues")        \
	X(queue_blocks_read, "queue_blocks_read_total", "counter",                       \
	  "blocks of tables of queues looked at for that")                               \
	X(queue_trimmed_records, "queue_trimmed_records_total", "counter",               \
	  "records trimmed by rm or retain")                                             \
	X(queue_trimmed_bytes, "queue_trimmed_bytes_total", "counter", "their bytes")    \
	X(queue_refused, "queue_refused_total", "counter",                               \
	  "records refused for want of space")                                           \
	X(packs_rewritten, "packs_rewritten_total", "counter",                           \
	  "packs copied for their living")                                               \
	X(scrub_running, "scrub_running", "gauge", "1 while a scrub is under way")       \
	X(scrub_bytes, "scrub_bytes", "gauge", "read by it, or by the last one")         \
	X(scrub_total_bytes, "scrub_total_bytes", "gauge", "that it is to read, about")  \
	X(scrub_mended, "scrub_mended", "gauge", "written anew from a whole copy")       \
	X(scrub_problems, "scrub_problems", "gauge", "things found that don't verify")   \
	X(scrub_files, "scrub_damaged_files", "gauge", "files they belong to")           \
	X(scrub_ended_s, "scrub_last_end_seconds", "gauge",                              \
	  "when the last scrub ended, since 1970; 0: never")                             \
	X(scrub_passes, "scrub_passes_total", "counter", "scrubs that ended")

static void put_store_metrics(FILE *out, struct daemon *d)
{
	struct ropefs_status s;

	ropefs_get_status(d->fs, &s);
	const struct metric list[] = {
#define X(member, name, type, help) { name, type, help, (double)s.member },
		STORE_METRICS(X)
#undef X
	};
	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++)
		put_metric(out, &list[i]);
}

#define REMOTE_METRICS(X)                                                                \
	X(puts, "remote_put_total", "counter", "objects put into the bucket")            \
	X(gets, "remote_get_total", "counter", "ranges of objects got from it")          \
	X(heads, "remote_head_total", "counter", "objects looked at")                    \
	X(lists, "remote_list_total", "counter", "listings")                             \
	X(dels, "remote_delete_total", "counter", "objects removed from it")             \
	X(failed, "remote_failed_total", "counter", "requests that failed")              \
	X(put_bytes, "remote_put_bytes_total", "counter", "bytes put")                   \
	X(got_bytes, "remote_got_bytes_total", "counter", "bytes got")                   \
	X(hedged, "remote_hedged_total", "counter", "gets asked for twice, being slow")  \
	X(cache_bytes, "remote_cache_bytes", "gauge", "got bytes kept on the disk")      \
	X(cache_hits, "remote_cache_hits_total", "counter", "reads that those served")   \
	X(manifest, "remote_manifest", "gauge", "number of the last manifest")           \
	X(watched, "remote_watched", "gauge", "somebody looks on: uploads come often")   \
	X(packs_left, "remote_packs_left", "gauge", "packs to upload")                   \
	X(bytes_left, "remote_bytes_left", "gauge", "their bytes")                       \
	X(evicted, "remote_evicted_total", "counter", "packs that left the disk")        \
	X(refused, "remote_refused_packs", "gauge", "packs that the bucket refuses")     \
	X(dropped, "remote_dropped_total", "counter", "packs dropped for want of room")  \
	X(dropped_bytes, "remote_dropped_bytes_total", "counter", "their bytes")         \
	X(remote_packs, "remote_only_packs", "gauge", "packs only in the bucket")        \
	X(remote_bytes, "remote_only_bytes", "gauge", "their bytes")                     \
	X(local_bytes, "remote_local_bytes", "gauge", "bytes of packs on the disk")      \
	X(cycle_errors, "remote_cycle_errors_total", "counter", "uploads that failed")

static void put_remote_metrics(FILE *out, struct daemon *d)
{
	struct ropefs_remote_status s;

	if (ropefs_remote_status(d->fs, &s) < 0)
		return;
	const struct metric list[] = {
#define X(member, name, type, help) { name, type, help, (double)s.member },
		REMOTE_METRICS(X)
#undef X
	};
	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++)
		put_metric(out, &list[i]);
}

int metrics_text(struct daemon *d, bool names, char **ret_text, size_t *ret_n)
{
	char *text = NULL;
	size_t n = 0;
	FILE *out = open_memstream(&text, &n);

	if (!out)
		return -ENOMEM;
	put_mount_metrics(out, d);
	put_requests(out, d);
	put_store_metrics(out, d);
	put_remote_metrics(out, d);
	return text_end(out, &text, &n, ret_text, ret_n);
}
