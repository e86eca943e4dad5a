/* remote_orphans.c - objects that an upload left when it was broken off for good: packs, segments
 * and probes that nothing names.
 *
 *	the first good upload after a life that did not end well, or after a failure that may have
 *	left something (once in the time that manifests are kept)
 *	    ─▶ one LIST; what nothing names is noted, with the time: remote/orphans
 *	    ─▶ what the last manifest names and is not listed is asked for, and put again
 *	    (remote_mend.c)
 *	noted twice as long as manifests are kept, a manifest of ours came since, and it is still
 *	named by nothing ─▶ nobody else has written; removed
 *
 * A life that ends with nothing left says so: the file remote/clean, with the number of its last
 * manifest. So there is no LIST in steady state.
 *
 * Most of what is noted was dropped by a manifest and goes with an older one before that.
 * Why that is safe from another device that thinks it is the writer: what it puts counts with a
 * manifest only, and after ours it can't create one any more. What older manifests need was
 * named by the one that was the last when it was noted, or by one that is no longer kept. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/base/err.h"
#include "core/base/json.h"
#include "core/remote_priv.h"

#define ORPHANS_NAME REMOTE_FOLDER "/orphans"
#define SECOND_NS    UINT64_C(1000000000)
#define CLEAN_NAME   REMOTE_FOLDER "/clean"

struct orphan {
	char key[sizeof(((struct object_key *)0)->text)];
	uint64_t seen_ns, manifest; /* when it was noted first */
};

/* Keys that something names; by a hash, so one too many may pass for named. */
struct named {
	struct htab keys;
};

static uint64_t key_hash(const char *key)
{
	uint8_t hash[32];
	uint64_t h;

	hash256(span_of(key, strlen(key)), hash);
	memcpy(&h, hash, sizeof(h));
	return h;
}

static int name_key(struct named *n, const struct object_key *key)
{
	uint64_t h = key_hash(key->text);

	return htab_get(&n->keys, h) ? 0 : htab_put(&n->keys, h, n);
}

static bool is_named(const struct named *n, const char *key)
{
	return htab_get(&n->keys, key_hash(key)) != NULL;
}

/* By the last manifest, or as a pack that is here or was put already. */
static int name_all(struct remote *rm, struct named *n)
{
	const struct manifest *m = &rm->man;
	struct pack_list l = { 0 };
	struct object_key key;
	int r = packs_each(rm->fs->packs, pack_list_add, &l);

	for (size_t i = 0; r == 0 && i < l.n; i++) {
		key = key_of(rm->instance, 'p', l.p[i].pack, l.p[i].id);
		r = name_key(n, &key);
	}
	for (size_t i = 0; r == 0 && i < m->n_packs; i++) {
		key = key_of(rm->instance, 'p', m->packs[i].pack, m->packs[i].id);
		r = name_key(n, &key);
	}
	for (size_t i = 0; r == 0 && i < m->n_segments; i++) {
		key = key_of(rm->instance, 's', m->segments[i].number,
			     m->segments[i].hash);
		r = name_key(n, &key);
	}
	free(l.p);
	return r;
}

/* --- the file --- */

static bool line_get(const char *line, struct orphan *ret)
{
	struct orphan o = { 0 };

	if (sscanf(line, "%127s %" SCNu64 " %" SCNu64, o.key, &o.seen_ns, &o.manifest) !=
		    3 ||
	    !object_key_ok(o.key))
		return false;
	*ret = o;
	return true;
}

/* b gets them one after another. */
static int notes_read(struct io *io, struct buf *b)
{
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	char *save, *line;
	struct orphan o;
	int r = remote_file_read(io, ORPHANS_NAME, &text);

	if (r < 0)
		return r == -ENOENT || r == -ENOTDIR ? 0 : r;
	text.p[text.n] = '\0'; /* room is left for it */
	for (line = strtok_r((char *)text.p, "\n", &save); line && r == 0;
	     line = strtok_r(NULL, "\n", &save))
		if (line_get(line, &o))
			r = buf_append(b, &o, sizeof(o));
	return r;
}

static int notes_write(struct io *io, const struct buf *notes)
{
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	struct orphan o;
	int r = 0;

	for (size_t at = 0; r == 0 && at < notes->n; at += sizeof(o)) {
		memcpy(&o, notes->p + at, sizeof(o));
		r = buf_printf(&text, "%s %" PRIu64 " %" PRIu64 "\n", o.key, o.seen_ns,
			       o.manifest);
	}
	if (r < 0)
		return r;
	if (text.n)
		return io_publish(io, ORPHANS_NAME, text.p, text.n);
	r = io->ops->unlink(io, ORPHANS_NAME);
	return r == -ENOENT ? 0 : r;
}

/* --- looking --- */

struct looking {
	struct remote *rm;
	struct named named;
	struct htab seen; /* bytes + 1 of each named key that is there */
	struct buf old, notes;
};

static const struct orphan *note_find(const struct buf *notes, const char *key)
{
	for (size_t at = 0; at < notes->n; at += sizeof(struct orphan)) {
		const struct orphan *o = (const void *)(notes->p + at);

		if (!strcmp(o->key, key))
			return o;
	}
	return NULL;
}

static int note_seen(struct looking *k, const char *key, uint64_t bytes)
{
	return htab_put(&k->seen, key_hash(key), (void *)(uintptr_t)(bytes + 1));
}

static int look_at_key(void *arg, const char *key, uint64_t bytes)
{
	struct looking *k = arg;
	const char *name = key + INSTANCE_BYTES; /* behind the instance and its slash */
	struct orphan o = { .seen_ns = io_real_ns(k->rm->fs->io),
			    .manifest = k->rm->man.number };
	const struct orphan *known = note_find(&k->old, key);

	if (strncmp(name, "p/", 2) != 0 && strncmp(name, "s/", 2) != 0 &&
	    strncmp(name, "probe-", 6) != 0)
		return 0;
	if (is_named(&k->named, key))
		return note_seen(k, key, bytes);
	if (strlen(key) >= sizeof(o.key))
		return 0;
	if (known)
		o = *known;
	strcpy(o.key, key);
	return buf_append(&k->notes, &o, sizeof(o));
}

static int look(struct looking *k)
{
	struct object_listing what = { .after = "", .each = look_at_key, .arg = k };
	char prefix[INSTANCE_BYTES + 2];

	snprintf(prefix, sizeof(prefix), "%s/", k->rm->instance);
	what.prefix = prefix;
	return object_list(k->rm->up.os, &what);
}

/* --- what is not there --- */

/* 1: it is neither listed nor found. */
static int is_missing(struct looking *k, const char *key, uint64_t bytes)
{
	if ((uintptr_t)htab_get(&k->seen, key_hash(key)) == bytes + 1)
		return 0;
	return remote_is_gone(k->rm, key, bytes);
}

int remote_tell_harmed(struct remote *rm, struct span harmed)
{
	event_raise(rm->fs, "remote-harmed", 0,
		    "%zu objects are gone from the bucket or have another length: what "
		    "is still here is put again; ropectl verify names the rest",
		    harmed.n / sizeof(struct harmed));
	return remote_note_harmed(rm, harmed);
}

static int tell_missing(struct looking *k)
{
	_cleanup_(buf_release) struct buf harmed = BUF_INIT;
	_cleanup_free_ struct wanted_object *all = NULL;
	size_t n = 0;
	int r = remote_wanted_objects(k->rm, &all, &n);

	for (size_t i = 0; r >= 0 && i < n; i++) {
		const struct wanted_object *o = &all[i];

		r = is_missing(k, remote_wanted_key(k->rm, o).text, o->bytes);
		if (r > 0)
			r = buf_append(&harmed, &o->is, sizeof(o->is));
	}
	return r < 0 || !harmed.n ? MIN(r, 0)
				  : remote_tell_harmed(k->rm, buf_span(&harmed));
}

/* --- removing --- */

static bool is_due(const struct remote *rm, const struct orphan *o, uint64_t now)
{
	return o->seen_ns + 2 * rm->cfg.keep_s * SECOND_NS <= now &&
	       o->manifest < rm->man.number;
}

/* Removes what is due and still named by nothing; k->notes keeps the rest. */
static int remove_due(struct looking *k)
{
	uint64_t now = io_real_ns(k->rm->fs->io);
	struct buf rest = BUF_INIT;
	struct orphan o;
	int r = 0;

	for (size_t at = 0; r == 0 && at < k->notes.n; at += sizeof(o)) {
		memcpy(&o, k->notes.p + at, sizeof(o));
		if (is_named(&k->named, o.key))
			continue;
		if (!is_due(k->rm, &o, now))
			r = buf_append(&rest, &o, sizeof(o));
		else
			r = object_del(k->rm->up.os, o.key);
	}
	if (r == 0)
		buf_swap(&k->notes, &rest);
	buf_release(&rest);
	return r;
}

static uint64_t next_due(const struct remote *rm, const struct buf *notes)
{
	uint64_t first = UINT64_MAX;
	struct orphan o;

	for (size_t at = 0; at < notes->n; at += sizeof(o)) {
		memcpy(&o, notes->p + at, sizeof(o));
		first = MIN(first, o.seen_ns + 2 * rm->cfg.keep_s * SECOND_NS);
	}
	return first;
}

/* What is there by a LIST; without one what is known of it. */
static int gather(struct looking *k, bool wanted)
{
	int r = notes_read(k->rm->fs->io, &k->old);

	if (r == 0)
		r = name_all(k->rm, &k->named);
	if (r == 0 && !wanted)
		return buf_append(&k->notes, k->old.p, k->old.n);
	if (r == 0)
		r = look(k);
	return r < 0 ? r : tell_missing(k);
}

static void note_turn(struct remote *rm, const struct buf *notes, bool wanted)
{
	rm->orphans_due_ns = next_due(rm, notes);
	rm->orphans_wanted &= !wanted;
	if (wanted)
		rm->orphans_look_ns = io_real_ns(rm->fs->io) + rm->cfg.keep_s * SECOND_NS;
}

int remote_orphans(struct remote *rm)
{
	uint64_t now = io_real_ns(rm->fs->io), newer;
	bool wanted = rm->orphans_wanted && now >= rm->orphans_look_ns;
	struct looking k = { .rm = rm };
	int r;

	if (!wanted && now < rm->orphans_due_ns)
		return 0;
	r = gather(&k, wanted);
	/* Whoever was superseded removes nothing. */
	if (r == 0 && k.notes.n) {
		r = remote_find_newer(rm, &newer);
		r = r == -ENOENT ? remove_due(&k) : r == 0 ? -E_FENCED : r;
	}
	if (r == 0 && (k.old.n || k.notes.n))
		r = notes_write(rm->fs->io, &k.notes);
	if (r == 0)
		note_turn(rm, &k.notes, wanted);
	htab_release(&k.named.keys);
	htab_release(&k.seen);
	buf_release(&k.old);
	buf_release(&k.notes);
	/* The next cycle finds out who has taken over, and says so. */
	return r == -E_FENCED ? 0 : r;
}

/* --- from one life to the next --- */

void remote_orphans_begin(struct remote *rm)
{
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	struct io *io = rm->fs->io;
	int r = remote_file_read(io, CLEAN_NAME, &text);

	if (r < 0)
		return;
	text.p[text.n] = '\0'; /* room is left for it */
	/* Nothing is put before the word is gone for good. */
	r = io->ops->unlink(io, CLEAN_NAME);
	if (r == 0)
		r = io->ops->sync_dir(io, REMOTE_FOLDER);
	if (r == 0 && strtoull((char *)text.p, NULL, 10) == rm->man.number)
		rm->orphans_wanted = false;
}

void remote_orphans_end(struct remote *rm)
{
	char text[32];
	int n = snprintf(text, sizeof(text), "%" PRIu64 "\n", rm->man.number);

	if (rm->man.number && !rm->orphans_wanted && !rm->strays && !rm->unanswered &&
	    !rm->fails && !rm->ended && !remote_has_strays(rm))
		io_publish(rm->fs->io, CLEAN_NAME, text, (size_t)n);
}
