/* scrub_report.c - what a scrub found, as JSON for people and programs and in the file "scrub",
 * which has where the pass is besides. Paths are told only to those who may know all names. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/err.h"
#include "core/keys/sealed_file.h"
#include "core/scrub.h"

static const struct sealed_kind kind = { "scrub", "ROPESCRU", KEY_SCRUB, 4 << 20 };

/* --- findings --- */

void scrub_report_release(struct scrub_report *rep)
{
	for (size_t i = 0; i < rep->n_found; i++) {
		free(rep->found[i].path);
		free(rep->found[i].what);
	}
	free(rep->found);
	htab_release(&rep->others);
	*rep = (struct scrub_report) { 0 };
}

/* A file is one finding, whatever is found of it; all else is another for each other sentence. */
static struct finding *among(const struct scrub_report *rep, const char *path,
			     const char *what)
{
	for (size_t i = 0; i < rep->n_found; i++) {
		struct finding *f = &rep->found[i];

		if (path ? f->path && !strcmp(path, f->path)
			 : !f->path && !strcmp(what, f->what))
			return f;
	}
	return NULL;
}

static void keep(struct scrub_report *rep, const char *path, const char *what)
{
	struct finding f = { path ? strdup(path) : NULL, strdup(what) };
	struct finding *more = NULL;

	if (f.what && (f.path || !path))
		more = realloc(rep->found, (rep->n_found + 1) * sizeof(*more));
	if (!more) { /* it is counted all the same */
		free(f.path);
		free(f.what);
		return;
	}
	rep->found = more;
	rep->found[rep->n_found++] = f;
}

/* The newer sentence tells of more. */
static void renew(struct finding *f, const char *what)
{
	char *copy = strcmp(f->what, what) ? strdup(what) : NULL;

	if (!copy)
		return;
	free(f->what);
	f->what = copy;
}

static uint64_t hash_of(const char *path, const char *what)
{
	return htab_hash_text(path ? path : what) ^ !path;
}

/* Of those that are counted and not kept; from now on it is one. */
static bool among_others(struct scrub_report *rep, const char *path, const char *what)
{
	uint64_t h = hash_of(path, what);

	if (rep->n_found < FINDINGS_MAX)
		return false;
	if (htab_get(&rep->others, h))
		return true;
	if (rep->others.n < OTHERS_MAX)
		htab_put(&rep->others, h, rep); /* without memory it may count twice */
	return false;
}

void scrub_found_locked(struct scrub *s, const char *path, const char *what)
{
	struct scrub_report *rep = &s->now;
	struct finding *f = among(rep, path, what);

	assert(lock_held(&s->fs->engine));
	if (s->turn != s->my_turn)
		return;
	if (f) {
		renew(f, what);
		return;
	}
	if (among_others(rep, path, what))
		return;
	if (path)
		rep->files++;
	else
		rep->problems++;
	if (rep->n_found < FINDINGS_MAX)
		keep(rep, path, what);
	if (path)
		event_raise_named(s->fs, "damage", 0, path, what);
	else
		event_raise(s->fs, "damage", 0, "%s", what);
}

void scrub_found(struct scrub *s, const char *path, const char *what)
{
	lock_take(&s->fs->engine);
	scrub_found_locked(s, path, what);
	lock_drop(&s->fs->engine);
}

/* --- JSON --- */

static void add_found(cJSON *to, const struct scrub_report *rep, bool names, bool exact)
{
	cJSON *list = cJSON_AddArrayToObject(to, "found");

	for (size_t i = 0; i < rep->n_found; i++) {
		const struct finding *f = &rep->found[i];
		cJSON *o;

		if (f->path && !names)
			continue;
		o = cJSON_CreateObject();
		if (f->path && exact)
			cJSON_AddStringToObject(o, "path", f->path);
		else if (f->path)
			status_add_text(o, "path", f->path);
		cJSON_AddStringToObject(o, "what", f->what);
		cJSON_AddItemToArray(list, o);
	}
}

/* exact: for ourselves, with each byte of a path. */
static cJSON *report_json(const struct scrub_report *rep, bool names, bool exact)
{
	cJSON *o = cJSON_CreateObject();

	cJSON_AddNumberToObject(o, "began", (double)rep->began_ns / 1e9);
	cJSON_AddNumberToObject(o, "ended", (double)rep->ended_ns / 1e9);
	cJSON_AddNumberToObject(o, "bytes", (double)rep->bytes);
	cJSON_AddNumberToObject(o, "mended", (double)rep->mended);
	cJSON_AddNumberToObject(o, "problems", (double)rep->problems);
	cJSON_AddNumberToObject(o, "files", (double)rep->files);
	cJSON_AddNumberToObject(o, "remote_packs", (double)rep->remote_packs);
	cJSON_AddNumberToObject(o, "remote_bytes", (double)rep->remote_bytes);
	if (rep->keep_mounted)
		cJSON_AddTrueToObject(o, "keep_mounted");
	cJSON_AddNumberToObject(o, "more",
				(double)(rep->problems + rep->files - rep->n_found));
	add_found(o, rep, names, exact);
	return o;
}

cJSON *scrub_to_json(const struct ropefs *fs, bool names)
{
	const struct scrub *s = fs->scrub;
	cJSON *o = cJSON_CreateObject();

	assert(lock_held(&fs->engine));
	cJSON_AddNumberToObject(o, "period_s", fs->opts.scrub_s);
	cJSON_AddBoolToObject(o, "running", s && s->under_way);
	if (!s)
		return o;
	cJSON_AddBoolToObject(o, "asked", s->asked);
	cJSON_AddNumberToObject(o, "bytes_per_s", (double)s->bytes_per_s);
	cJSON_AddNumberToObject(o, "passes", (double)s->passes);
	cJSON_AddNumberToObject(o, "total_bytes",
				(double)MAX(s->total_bytes, s->now.bytes));
	if (s->under_way)
		cJSON_AddItemToObject(o, "now", report_json(&s->now, names, false));
	if (s->last.ended_ns)
		cJSON_AddItemToObject(o, "last", report_json(&s->last, names, false));
	return o;
}

/* --- the file --- */

static cJSON *bad_json(const struct buf *bad)
{
	cJSON *list = cJSON_CreateArray();

	for (size_t at = 0; at < bad->n; at += sizeof(struct bad_chunk)) {
		struct bad_chunk b;
		double pair[2];

		memcpy(&b, bad->p + at, sizeof(b));
		pair[0] = (double)b.pack;
		pair[1] = b.index;
		cJSON_AddItemToArray(list, cJSON_CreateDoubleArray(pair, 2));
	}
	return list;
}

enum { HASH_DIGITS = 16 };

/* What is counted and not kept, so that a pass that goes on after an opening counts it once. */
static void add_others(cJSON *to, const struct htab *others)
{
	static const char digits[] = "0123456789abcdef";
	char *text = malloc(others->n * HASH_DIGITS + 1), *p = text;
	const struct htab_slot *slot;

	for (size_t at = 0; text && (slot = htab_next(others, &at)) != NULL;)
		for (unsigned i = 0; i < HASH_DIGITS; i++)
			*p++ = digits[slot->key >> (60 - 4 * i) & 15];
	if (text) {
		*p = '\0';
		cJSON_AddStringToObject(to, "others", text);
	}
	free(text);
}

static char *state_text(const struct scrub *s)
{
	cJSON *o = cJSON_CreateObject();
	char *text;

	cJSON_AddNumberToObject(o, "version", 1);
	cJSON_AddBoolToObject(o, "under_way", s->under_way);
	cJSON_AddBoolToObject(o, "asked", s->asked);
	cJSON_AddNumberToObject(o, "bytes_per_s", (double)s->bytes_per_s);
	cJSON_AddNumberToObject(o, "next_pack", (double)s->next_pack);
	cJSON_AddBoolToObject(o, "packs_done", s->packs_done);
	cJSON_AddItemToObject(o, "bad", bad_json(&s->bad));
	cJSON_AddItemToObject(o, "now", report_json(&s->now, true, true));
	cJSON_AddItemToObject(o, "last", report_json(&s->last, true, true));
	add_others(o, &s->now.others);
	text = cJSON_PrintUnformatted(o);
	cJSON_Delete(o);
	return text;
}

void scrub_save(struct scrub *s)
{
	struct ropefs *fs = s->fs;
	char *text;

	s->saved_ns = io_mono_ns(fs->io);
	lock_take(&fs->engine);
	text = fs->read_only ? NULL : state_text(s);
	lock_drop(&fs->engine);
	if (text)
		sealed_file_write(fs->io, fs->keys, &kind, SPAN_STR(text));
	free(text);
}

static double number(const cJSON *o, const char *name)
{
	const cJSON *n = cJSON_GetObjectItemCaseSensitive(o, name);
	double v = cJSON_IsNumber(n) ? n->valuedouble : 0;

	return v > 0 ? v : 0;
}

static const char *string(const cJSON *o, const char *name)
{
	return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o, name));
}

static bool is_true(const cJSON *o, const char *name)
{
	return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(o, name));
}

static void load_report(const cJSON *o, struct scrub_report *ret)
{
	const cJSON *one;

	ret->began_ns = (int64_t)(number(o, "began") * 1e9);
	ret->ended_ns = (int64_t)(number(o, "ended") * 1e9);
	ret->bytes = (uint64_t)number(o, "bytes");
	ret->mended = (uint64_t)number(o, "mended");
	ret->problems = (uint64_t)number(o, "problems");
	ret->files = (uint64_t)number(o, "files");
	ret->remote_packs = (uint64_t)number(o, "remote_packs");
	ret->remote_bytes = (uint64_t)number(o, "remote_bytes");
	ret->keep_mounted = is_true(o, "keep_mounted");
	cJSON_ArrayForEach(one, cJSON_GetObjectItemCaseSensitive(o, "found"))
	{
		const char *what = string(one, "what");

		if (what && ret->n_found < FINDINGS_MAX)
			keep(ret, string(one, "path"), what);
	}
}

static int load_bad(const cJSON *list, struct buf *ret)
{
	const cJSON *one;
	int r = 0;

	cJSON_ArrayForEach(one, list)
	{
		const cJSON *pack = cJSON_GetArrayItem(one, 0);
		const cJSON *index = cJSON_GetArrayItem(one, 1);
		struct bad_chunk b;

		if (!cJSON_IsNumber(pack) || !cJSON_IsNumber(index))
			continue;
		memset(&b, 0, sizeof(b));
		b.pack = (uint64_t)pack->valuedouble;
		b.index = (uint32_t)index->valuedouble;
		r = buf_append(ret, &b, sizeof(b));
		if (r < 0)
			break;
	}
	return r;
}

/* Without memory some may count twice. */
static void load_others(const char *text, struct scrub_report *ret)
{
	char one[HASH_DIGITS + 1] = "";

	for (; text && strnlen(text, HASH_DIGITS) == HASH_DIGITS &&
	       ret->others.n < OTHERS_MAX;
	     text += HASH_DIGITS) {
		uint64_t h;

		memcpy(one, text, HASH_DIGITS);
		h = strtoull(one, NULL, 16);
		if (!htab_get(&ret->others, h))
			htab_put(&ret->others, h, ret);
	}
}

int scrub_load(struct scrub *s)
{
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	int r = sealed_file_read(s->fs->io, s->fs->keys, &kind, &text);
	cJSON *o;

	if (r < 0)
		return r == -ENOMEM ? r : 0;
	o = cJSON_Parse((const char *)text.p);
	s->under_way = is_true(o, "under_way");
	s->asked = is_true(o, "asked");
	s->bytes_per_s = (uint64_t)number(o, "bytes_per_s");
	s->next_pack = (uint64_t)number(o, "next_pack");
	s->packs_done = is_true(o, "packs_done");
	load_report(cJSON_GetObjectItemCaseSensitive(o, "now"), &s->now);
	load_report(cJSON_GetObjectItemCaseSensitive(o, "last"), &s->last);
	load_others(string(o, "others"), &s->now);
	r = load_bad(cJSON_GetObjectItemCaseSensitive(o, "bad"), &s->bad);
	s->unnamed = s->bad.n > 0;
	cJSON_Delete(o);
	return r;
}
