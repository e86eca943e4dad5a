/* status_verb.c - how a mount or a store is, for a tired person: the state and what to do
 * about it first, then the sizes. Both kinds give the same JSON object, so that one
 * function prints them. */
#include <cjson/cJSON.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <time.h>

#include "core/ropefs.h"
#include "mountctl/mounts.h"
#include "mountctl/term.h"
#include "mountctl/verbs.h"

static double number(const cJSON *json, const char *name)
{
	const cJSON *value = cJSON_GetObjectItemCaseSensitive(json, name);

	return cJSON_IsNumber(value) ? value->valuedouble : 0;
}

static const char *string(const cJSON *json, const char *name)
{
	const cJSON *value = cJSON_GetObjectItemCaseSensitive(json, name);

	return cJSON_IsString(value) ? value->valuestring : "";
}

static bool is_true(const cJSON *json, const char *name)
{
	return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(json, name));
}

static struct term_text count_of(const cJSON *json, const char *name)
{
	return term_count((uint64_t)number(json, name));
}

static struct term_text bytes_of(const cJSON *json, const char *name)
{
	return term_bytes(number(json, name));
}

static void line(const char *label, enum term_paint paint, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static void line(const char *label, enum term_paint paint, const char *fmt, ...)
{
	char *text = NULL, *shown;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		abort();
	va_end(ap);
	shown = term_name(stdout, text);
	printf("%-11s %s%s%s\n", label, paint ? term_paint(stdout, paint) : "", shown,
	       paint ? term_paint(stdout, TERM_PLAIN) : "");
	free(shown);
	free(text);
}

/* A disk with less left is full, or will be before somebody comes. */
#define LOW_BYTES ((uint64_t)64 << 20)

static bool is_damaged(const cJSON *json)
{
	return is_true(json, "failed");
}

/* Another store writes in its place. */
static bool is_copy(const cJSON *json)
{
	return is_true(json, "read_only") && !is_damaged(json) &&
	       strcmp(string(json, "read_only_why"), ROPEFS_READ_ONLY_ASKED) != 0;
}

/* Whether the disk below the store is full or nearly, by its free bytes or by what failed. A
 * mount that writes nothing doesn't mind. */
static bool is_full(const cJSON *json, const char *store, const struct mount *m,
		    uint64_t *ret_free)
{
	const char *last = string(json, "last_error");
	struct statvfs disk;

	if ((m && is_true(json, "read_only")) || statvfs(store, &disk) < 0)
		return false;
	*ret_free = (uint64_t)disk.f_bavail * disk.f_frsize;
	return *ret_free < LOW_BYTES || strstr(last, strerror(ENOSPC)) ||
	       strstr(last, "store is full");
}

/* What the scrub under way, or else the last one, found. */
static double scrub_found(const cJSON *json)
{
	const cJSON *scrub = cJSON_GetObjectItemCaseSensitive(json, "scrub");
	const cJSON *now = cJSON_GetObjectItemCaseSensitive(scrub, "now");
	const cJSON *last = cJSON_GetObjectItemCaseSensitive(scrub, "last");
	double found = number(now, "files") + number(now, "problems");

	return found > 0 ? found : number(last, "files") + number(last, "problems");
}

static const cJSON *bucket_of(const cJSON *json)
{
	return cJSON_GetObjectItemCaseSensitive(json, "remote");
}

/* Something keeps what is written from the bucket, and somebody has to look. */
static bool bucket_fails(const cJSON *json)
{
	const cJSON *remote = bucket_of(json);

	return *string(remote, "last_error") || *string(remote, "read_error") ||
	       is_true(remote, "fenced") || is_true(remote, "full") ||
	       number(remote, "refused") > 0;
}

static void print_health(const cJSON *json, const char *store, const struct mount *m)
{
	uint64_t left;

	if (is_damaged(json))
		line("state", TERM_BAD,
		     "READ-ONLY: %s; copy out what matters, then run "
		     "ropefs-fsck on the unmounted store",
		     string(json, "read_only_why"));
	else if (is_full(json, store, m, &left))
		line("state", TERM_BAD,
		     "DISK FULL: %s left on the disk below the store, and changes are "
		     "refused or will be soon; make room there, or remove files",
		     term_bytes((double)left).s);
	else if (*string(json, "last_error"))
		line("state", TERM_BAD,
		     "FAILING: see the last error; what was synced is safe in the log");
	else if (scrub_found(json) > 0)
		line("state", TERM_BAD, "DAMAGED: see the scrub below");
	else if (is_copy(json))
		line("state", TERM_WARN, "read-only: %s", string(json, "read_only_why"));
	else if (bucket_fails(json))
		line("state", TERM_WARN, "%s; its BUCKET needs a look: see below",
		     m ? "mounted" : "not mounted");
	else if (m && is_true(json, "read_only"))
		line("state", TERM_GOOD, "mounted read-only, as asked");
	else
		line("state", TERM_GOOD, "%s, all is well",
		     m ? "mounted" : "not mounted");
}

static void print_state(const cJSON *json, const char *store, const struct mount *m)
{
	print_health(json, store, m);
	if (is_true(json, "was_clean") && number(json, "recovered_records") == 0)
		return;
	line("", TERM_PLAIN,
	     m ? "not shut down cleanly before; changes that came back from the "
		 "log: %s, in %s"
	       : "not shut down cleanly; changes that come back from the log "
		 "when it is mounted: %s (%s)",
	     count_of(json, "recovered_records").s,
	     term_seconds(number(json, "recovery_s")).s);
}

/* "change", "5 changes": behind "the last". */
static struct term_text changes(uint64_t n)
{
	struct term_text t = { "change" };

	if (n > 1)
		snprintf(t.s, sizeof(t.s), "%.30s changes", term_count(n).s);
	return t;
}

static void print_durable(const cJSON *json)
{
	double lsn = number(json, "lsn");
	double behind = lsn - number(json, "durable_lsn");

	/* A log that is damaged is not open. */
	if (is_damaged(json) && lsn == 0)
		line("durable", TERM_BAD,
		     "NO: what was written after the damage is not readable");
	else if (behind > 0 && is_damaged(json))
		line("durable", TERM_BAD, "NO: the last %s never reached the disk",
		     changes((uint64_t)behind).s);
	else if (behind > 0)
		line("durable", TERM_WARN,
		     "not yet: the last %s %s on %s way to the disk",
		     changes((uint64_t)behind).s, behind > 1 ? "are" : "is",
		     behind > 1 ? "their" : "its");
	else
		line("durable", TERM_GOOD, "yes: all that was written is on the disk");
}

static void print_errors(const cJSON *json)
{
	const char *last = string(json, "last_error");

	if (*last)
		line("last error", TERM_BAD, "%s", last);
	else
		line("last error", TERM_PLAIN, "none");
}

/* --- scrub --- */

/* "3 h ago". */
static struct term_text ago(double since_1970)
{
	struct timespec now;
	struct term_text t;

	clock_gettime(CLOCK_REALTIME, &now);
	if ((double)now.tv_sec < since_1970 + 1)
		snprintf(t.s, sizeof(t.s), "just now");
	else
		snprintf(t.s, sizeof(t.s), "%.40s ago",
			 term_seconds((double)now.tv_sec - since_1970).s);
	return t;
}

static void print_findings(const cJSON *report)
{
	const cJSON *one;

	cJSON_ArrayForEach(one, cJSON_GetObjectItemCaseSensitive(report, "found"))
	{
		const char *path = string(one, "path");

		line("", TERM_BAD, "%s%s%s", path, *path ? ": " : "",
		     string(one, "what"));
	}
	if (number(report, "more") > 0)
		line("", TERM_BAD, "and %s more, which are counted and not listed",
		     count_of(report, "more").s);
}

/* Of the scrub under way, or of the last one; found: how many things. */
static void print_scrub_result(const cJSON *report, double found, const char *when)
{
	if (found > 0)
		line("scrub", TERM_BAD, "%s: DAMAGED (places: %s, files: %s); %s", when,
		     count_of(report, "problems").s, count_of(report, "files").s,
		     scrub_advice(report));
	else
		line("scrub", TERM_PLAIN, "%s: all is whole", when);
	if (number(report, "remote_packs") > 0)
		line("", TERM_PLAIN, "%s packs were in the bucket only and not read",
		     count_of(report, "remote_packs").s);
	print_findings(report);
}

static void print_scrub(const cJSON *json)
{
	const cJSON *scrub = cJSON_GetObjectItemCaseSensitive(json, "scrub");
	const cJSON *now = cJSON_GetObjectItemCaseSensitive(scrub, "now");
	const cJSON *last = cJSON_GetObjectItemCaseSensitive(scrub, "last");
	double found = number(now, "files") + number(now, "problems");
	char when[100];

	if (now)
		line("scrub", TERM_PLAIN, "%s of %s read, began %s",
		     bytes_of(now, "bytes").s, bytes_of(scrub, "total_bytes").s,
		     ago(number(now, "began")).s);
	if (found > 0) {
		print_scrub_result(now, found, "so far");
	} else if (last) {
		snprintf(when, sizeof(when), "the last ended %s",
			 ago(number(last, "ended")).s);
		print_scrub_result(last, scrub_found(json), when);
	} else if (!now) {
		line("scrub", TERM_PLAIN, "never; to read and verify all: ropectl scrub");
	}
}

/* Of what packs take; the engine counts it as files see it, before compression. */
static double dead_bytes(const cJSON *json)
{
	double plain = number(json, "plain_bytes"), packs = number(json, "pack_bytes");
	double dead = number(json, "dead_bytes");

	if (plain > 0)
		dead *= number(json, "sealed_bytes") / plain;
	return dead < packs ? dead : packs;
}

static void print_sizes(const cJSON *json)
{
	double inodes = number(json, "inodes"); /* one is the root folder */

	line("files", TERM_PLAIN, "%s files and folders, with %s",
	     term_count(inodes > 0 ? (uint64_t)inodes - 1 : 0).s,
	     bytes_of(json, "file_bytes").s);
	line("on disk", TERM_PLAIN, "%s in packs (%s), about %s of it no longer needed",
	     bytes_of(json, "pack_bytes").s, count_of(json, "packs").s,
	     term_bytes(dead_bytes(json)).s);
	if (number(json, "snapshots") > 0)
		line("snapshots", TERM_PLAIN,
		     "%s; when last collected, %s were in them only",
		     count_of(json, "snapshots").s, bytes_of(json, "snapshot_bytes").s);
	if (is_true(json, "read_only") && number(json, "lsn") == 0)
		line("log", TERM_PLAIN, "left as it is");
	else
		line("log", TERM_PLAIN, "%s to replay after a crash",
		     bytes_of(json, "log_bytes").s);
}

static void print_daemon(const cJSON *json)
{
	const cJSON *mount = cJSON_GetObjectItemCaseSensitive(json, "mount");

	line("memory", TERM_PLAIN, "%s of %s: %s unpacked, %s of trees, %s of cache",
	     term_bytes(number(json, "hot_bytes") + number(json, "dirty_node_bytes") +
			number(json, "cache_bytes"))
		     .s,
	     bytes_of(json, "memory_budget").s, bytes_of(json, "hot_bytes").s,
	     bytes_of(json, "dirty_node_bytes").s, bytes_of(json, "cache_bytes").s);
	line("checkpoints", number(json, "checkpoint_errors") > 0 ? TERM_BAD : TERM_PLAIN,
	     "%s done, %s failed, the last took %s", count_of(json, "checkpoints").s,
	     count_of(json, "checkpoint_errors").s,
	     term_seconds(number(json, "checkpoint_last_s")).s);
	line("daemon", TERM_PLAIN, "pid %.0f, up %s, %s requests", number(mount, "pid"),
	     term_seconds(number(mount, "uptime_s")).s, count_of(mount, "requests").s);
	if (number(mount, "supervisor") > 0)
		line("supervisor", TERM_PLAIN,
		     "pid %.0f, has replaced the daemon %.0f times",
		     number(mount, "supervisor"), number(mount, "takeovers"));
}

/* --- bucket --- */

/* What of it waits for the bucket. */
static void print_waiting(const cJSON *json)
{
	const cJSON *remote = bucket_of(json);

	if (number(remote, "packs_left") > 0)
		line("", TERM_PLAIN, "%s packs (%s) are still to go there",
		     count_of(remote, "packs_left").s, bytes_of(remote, "bytes_left").s);
	if (number(remote, "skew_s") != 0)
		line("", TERM_BAD,
		     "this machine's clock is %.0f s %s the bucket's: set it "
		     "(timedatectl "
		     "set-ntp true, or date -s)",
		     fabs(number(remote, "skew_s")),
		     number(remote, "skew_s") > 0 ? "behind" : "ahead of");
	if (number(remote, "dropped") > 0)
		line("", TERM_BAD, "%s packs were dropped; which: ropectl remote dropped",
		     count_of(remote, "dropped").s);
}

static void print_bucket(const cJSON *json)
{
	const cJSON *remote = bucket_of(json);
	const char *url = string(remote, "url"), *last = string(remote, "last_error");

	if (!*url)
		return;
	if (is_true(remote, "fenced"))
		line("bucket", TERM_BAD,
		     "%s: another writer has taken it over; nothing goes up from here",
		     url);
	else if (*last)
		line("bucket", TERM_BAD, "%s: %s", url, last);
	else if (*string(remote, "read_error"))
		line("bucket", TERM_BAD, "%s: the last read of it failed: %s", url,
		     string(remote, "read_error"));
	else if (bucket_fails(json))
		line("bucket", TERM_BAD, "%s: see ropectl remote show", url);
	else if (is_true(remote, "reader"))
		line("bucket", TERM_PLAIN, "%s: read from there, and not written", url);
	else if (number(remote, "committed_lsn") >= number(json, "lsn"))
		line("bucket", TERM_GOOD, "%s: all that was written is there", url);
	else
		line("bucket", TERM_PLAIN,
		     "%s: what is new is on its way; the last manifest came %s", url,
		     number(remote, "committed_ns") > 0
			     ? ago(number(remote, "committed_ns") / 1e9).s
			     : "before this mount");
	print_waiting(json);
}

/* m is NULL for an unmounted store. */
static void print_words(const cJSON *json, const char *store, const struct mount *m)
{
	if (m)
		line("mount", TERM_BOLD, "%s", m->dir);
	line("store", m ? TERM_PLAIN : TERM_BOLD, "%s", store);
	print_state(json, store, m);
	print_durable(json);
	print_errors(json);
	print_sizes(json);
	print_bucket(json);
	print_scrub(json);
	if (m)
		print_daemon(json);
	line("cipher", TERM_PLAIN, "%s", string(json, "cipher"));
}

static void set_name(cJSON *json, const char *field, const char *name)
{
	char *text = term_escape(name);

	cJSON_DeleteItemFromObjectCaseSensitive(json, field);
	cJSON_AddStringToObject(json, field, text);
	free(text);
}

/* Adds what the engine can't know; names may hold any byte, JSON may not. */
static void add_place(cJSON *json, const char *store, const struct mount *m,
		      const char *state)
{
	cJSON *mount = cJSON_GetObjectItemCaseSensitive(json, "mount");

	set_name(json, "store", store);
	cJSON_AddStringToObject(json, "state", state);
	if (m && !mount)
		mount = cJSON_AddObjectToObject(json, "mount");
	if (m)
		set_name(mount, "mountpoint", m->dir);
}

static int print(const char *text, const char *store, const struct mount *m, bool as_json)
{
	cJSON *json = cJSON_Parse(text);

	if (!cJSON_IsObject(json)) {
		cJSON_Delete(json);
		return term_say(
			"%s: the status is no JSON object: is it of another version?",
			store);
	}
	add_place(json, store, m, m ? "mounted" : "unmounted");
	if (as_json)
		term_json(json);
	else
		print_words(json, store, m);
	cJSON_Delete(json);
	return EXIT_DONE;
}

static int dead_mount(const struct mount *m, bool as_json)
{
	cJSON *json;

	if (as_json) {
		json = cJSON_CreateObject();
		add_place(json, m->store, m, "dead");
		term_json(json);
		cJSON_Delete(json);
		return EXIT_FAILED;
	}
	line("mount", TERM_BOLD, "%s", m->dir);
	line("store", TERM_PLAIN, "%s", m->store);
	line("state", TERM_BAD,
	     "DEAD: its daemon has ended; all that was synced is in the store");
	line("", TERM_PLAIN,
	     "to have it back: ropectl umount --lazy %s && ropectl mount %s %s", m->dir,
	     m->store, m->dir);
	return EXIT_FAILED;
}

static int mount_status(const struct mount *m, bool as_json)
{
	char *text;
	int status;

	if (!mount_is_alive(m) && errno == ENOTCONN)
		return dead_mount(m, as_json);
	text = mount_read_file(m, "status");
	if (!text)
		return term_fail_errno(errno, m->dir);
	status = print(text, m->store, m, as_json);
	free(text);
	return status;
}

static int store_status(const char *store, const char *key_file, bool as_json)
{
	struct ropefs_opts opts = { .key_file = key_file, .read_only = true };
	struct ropefs *fs;
	char *text = NULL;
	int r, status;

	r = ropefs_open(store, &opts, &fs);
	if (r < 0)
		return term_fail(r, store);
	r = ropefs_status_json(fs, true, &text);
	status = r < 0 ? term_fail(r, store) : print(text, store, NULL, as_json);
	free(text);
	ropefs_close(fs);
	return status;
}

/* A path can be a mount, a store (mounted somewhere or not) or a file in a mount. */
static int status_of(const char *path, const char *key_file, bool as_json)
{
	struct ropefs_store_info info;
	struct mount m = MOUNT_INIT;
	char *real = mount_realpath(path);
	int status, r;

	if (!real) {
		r = errno == ENOENT ? ropefs_store_info(path, &info) : -errno;
		return term_fail(r, path);
	}
	r = mount_find(path, &m);
	if (r == 0 && !strcmp(m.dir, real)) {
		status = mount_status(&m, as_json);
	} else {
		int is_store = ropefs_store_info(path, &info);

		if (is_store == 0) {
			mount_release(&m);
			r = mount_find_store(path, &m);
		}
		if (r == 0)
			status = mount_status(&m, as_json);
		else if (is_store == 0)
			status = store_status(path, key_file, as_json);
		else
			status = term_fail(is_store, path);
	}
	mount_release(&m);
	free(real);
	return status;
}

int verb_status(const struct verb *verb, int argc, char **argv)
{
	const char *as_json = NULL, *key_file = NULL;
	const struct verb_option options[] = {
		{ "json", 'j', false, &as_json },
		{ "key-file", 'k', true, &key_file },
		{ 0 },
	};
	int first;

	if (verb_options(verb, argc, argv, options, 1, 1, &first) < 0)
		return first;
	return status_of(argv[first], key_file, as_json != NULL);
}
