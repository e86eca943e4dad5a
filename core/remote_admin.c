/* remote_admin.c - giving a store its bucket, and taking it away. */
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "core/base/err.h"
#include "core/remote_priv.h"

#define PROBERS	    4u
#define PROBE_RACES 3u

static const char *const remote_files[] = { "config",  "manifest",    "next",
					    "pages",   "orphans",     "cache.0",
					    "cache.1", "cache.index", "passed",
					    "clean",   "looked" };

/* --- probe --- */

static int probe_failed(int r, const char *what)
{
	return err_set(-r, "the bucket can't be used: %s: %s", what,
		       *err_detail() ? err_detail() : err_text(r));
}

struct probe_key {
	char text[128];
};

static struct probe_key probe_key(struct remote *rm)
{
	struct probe_key key;
	uint64_t id;

	io_random(rm->fs->io, &id, sizeof(id));
	snprintf(key.text, sizeof(key.text), "%s/probe-%016" PRIx64, rm->instance, id);
	return key;
}

/* Whether a second put of a new object is refused at all. */
static int probe_twice(struct object_store *os, const char *key, bool *ret)
{
	int r = remote_put_bytes(os, key, SPAN_STR("one"), OBJECT_IF_ABSENT);

	if (r == -E_REMOTE)
		return 0; /* it does not know the condition */
	if (r < 0 && r != -EEXIST)
		return r;
	r = remote_put_bytes(os, key, SPAN_STR("two"), OBJECT_IF_ABSENT);
	*ret = r == -EEXIST;
	return r == -EEXIST || r == -E_REMOTE ? 0 : r;
}

struct prober {
	pthread_t thread;
	const atomic_bool *go;
	struct object_store *os;
	const char *key;
	char text[8];
	int r;
};

static void *probe_main(void *arg)
{
	struct prober *p = arg;

	while (!atomic_load(p->go))
		sched_yield();
	p->r = remote_put_bytes(p->os, p->key, SPAN_STR(p->text), OBJECT_IF_ABSENT);
	return NULL;
}

/* Of some that put the same new object at once one may succeed, or none when an answer was lost. */
static int probe_race(struct object_store *os, const char *key, bool *ret)
{
	struct prober p[PROBERS];
	atomic_bool go = false;
	unsigned n, won = 0;

	for (n = 0; n < PROBERS; n++) {
		p[n] = (struct prober) { .go = &go, .os = os, .key = key };
		snprintf(p[n].text, sizeof(p[n].text), "%u", n);
		if (pthread_create(&p[n].thread, NULL, probe_main, &p[n]) != 0)
			break;
	}
	atomic_store(&go, true);
	for (unsigned i = 0; i < n; i++) {
		pthread_join(p[i].thread, NULL);
		won += p[i].r == 0;
	}
	*ret = won <= 1;
	return n < PROBERS ? -ENOMEM : 0;
}

int remote_probe_creates(struct remote *rm, bool *ret)
{
	struct object_store *os = rm->up.os;
	struct probe_key key = probe_key(rm);
	int r;

	*ret = false;
	if (!(object_capabilities(os) & OBJECT_CREATES))
		return 0;
	r = probe_twice(os, key.text, ret);
	if (r == 0)
		r = object_del(os, key.text);
	for (unsigned i = 0; r == 0 && *ret && rm->fs->threads && i < PROBE_RACES; i++) {
		key = probe_key(rm);
		r = probe_race(os, key.text, ret);
		if (r == 0)
			r = object_del(os, key.text);
	}
	return r;
}

/* Puts, reads back and removes a small object. */
static int probe(struct remote *rm)
{
	_cleanup_(buf_release) struct buf got = BUF_INIT;
	struct object_store *os = rm->up.os;
	struct probe_key key = probe_key(rm);
	int r;

	r = remote_put_bytes(os, key.text, SPAN_STR("probe"), 0);
	if (r < 0)
		return probe_failed(r, "an object can't be put");
	r = object_get(os, key.text, (struct object_range) { 1, 3 }, &got);
	if (r == 0 && (got.n != 3 || memcmp(got.p, "rob", 3) != 0))
		r = err_set(E_REMOTE, "it gave other bytes than were put");
	if (r < 0)
		return probe_failed(r, "a range of an object can't be got");
	r = object_del(os, key.text);
	if (r == 0)
		r = remote_probe_creates(rm, &rm->cfg.creates);
	rm->cfg.versions = object_capabilities(os) & OBJECT_KEEPS_VERSIONS;
	return r < 0 ? probe_failed(r, "an object can't be created or removed") : 0;
}

/* --- add --- */

static int save_manifest(struct io *io, struct span bytes)
{
	return io_publish(io, REMOTE_FOLDER "/manifest", bytes.p, bytes.n);
}

/* What is in the bucket of this store already. */
static int look_for_writers(struct remote *rm, bool take_over)
{
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	uint64_t last;
	int r;

	rm->cfg.epoch = 1;
	rm->oldest = 1;
	r = remote_find_last(rm->up.os, rm->instance, 0, &last);
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	if (!take_over)
		return err_set(
			E_FENCED,
			"the bucket has this store already, up to manifest %" PRIu64
			": if no other device writes it, give --take-over; that one "
			"would turn read-only",
			last);
	if (!rm->cfg.creates)
		return err_set(
			E_REMOTE,
			"this kind of bucket can't tell two writers apart (no atomic "
			"conditional put), so taking over is refused; choose another "
			"prefix");
	r = remote_get_manifest(rm->up.os, rm->instance, last, rm->fs->keys, &bytes,
				&rm->man);
	if (r < 0)
		return r;
	hash256(buf_span(&bytes), rm->man_hash);
	rm->cfg.epoch = rm->man.epoch + 1;
	rm->oldest = MAX(rm->man.oldest, 1u);
	rm->number = last;
	return save_manifest(rm->fs->io, buf_span(&bytes));
}

static void forget_files(struct io *io)
{
	for (size_t i = 0; i < ARRAY_LEN(remote_files); i++) {
		char name[64];

		snprintf(name, sizeof(name), REMOTE_FOLDER "/%s", remote_files[i]);
		io->ops->unlink(io, name);
	}
	io->ops->sync_dir(io, REMOTE_FOLDER);
}

static int make_folder(struct io *io)
{
	int r = io->ops->mkdir(io, REMOTE_FOLDER);

	if (r == 0)
		r = io->ops->sync_dir(io, "");
	return r == -EEXIST ? 0 : r;
}

static int prepare(struct remote *rm, const struct ropefs_remote_opts *opts)
{
	struct io *io = rm->fs->io;
	int r;

	r = remote_config_fill(&rm->cfg, opts);
	if (r == 0)
		r = remote_way_open(rm, WAY_UP, &rm->up);
	if (r == 0)
		r = probe(rm);
	if (r == 0)
		r = make_folder(io);
	if (r < 0)
		return r;
	forget_files(io);
	io_random(io, rm->cfg.writer, sizeof(rm->cfg.writer));
	r = look_for_writers(rm, opts->take_over);
	return r < 0 ? r : remote_config_write(io, rm->fs->keys, &rm->cfg);
}

int ropefs_remote_add(struct ropefs *fs, const struct ropefs_remote_opts *opts)
{
	struct remote *rm;
	int r;

	err_clear();
	r = store_writable(fs);
	if (r < 0)
		return r;
	if (fs->remote)
		return err_set(
			EEXIST,
			"the store has a bucket already: ropectl remote show tells "
			"which; remote rm first");
	r = remote_new(fs, &rm);
	if (r < 0)
		return r;
	r = prepare(rm, opts);
	if (r < 0) {
		remote_free(rm);
		return r;
	}
	fs->remote = rm;
	return remote_start(fs);
}

/* Open packs go on with the way they have. */
static void renew_ways(struct remote *rm)
{
	remote_way_close(&rm->up);
	lock_take(&rm->lock);
	if (rm->down.os) {
		struct remote_way *before = calloc(1, sizeof(*before));

		if (before) {
			*before = rm->down;
			rm->down = (struct remote_way) { .before = before };
		}
	}
	rm->fails = 0;
	/* They were reckoned with other times. */
	rm->oldest_due_ns = rm->orphans_due_ns = rm->orphans_look_ns = 0;
	lock_drop(&rm->lock);
	atomic_store(&rm->up_cancel, false);
}

int ropefs_remote_set(struct ropefs *fs, char *lines)
{
	struct remote_config next = { 0 };
	struct remote *rm = fs->remote;
	int r, started;

	err_clear();
	if (!rm)
		return remote_none();
	r = store_writable(fs);
	if (r < 0)
		return r;
	remote_stop_uploader(rm);
	r = remote_config_read(fs->io, fs->keys, &next);
	if (r == 0)
		r = remote_config_change(&next, lines);
	if (r == 0)
		r = remote_config_write(fs->io, fs->keys, &next);
	if (r == 0) {
		struct remote_config old = rm->cfg;

		lock_take(&rm->lock);
		rm->cfg = next;
		lock_drop(&rm->lock);
		next = old;
	}
	remote_config_release(&next);
	renew_ways(rm);
	started = remote_start(fs);
	return r < 0 ? r : started;
}

int ropefs_remote_rm(struct ropefs *fs)
{
	struct remote *rm = fs->remote;
	struct packs_stats ps;

	err_clear();
	if (!rm)
		return remote_none();
	packs_get_stats(fs->packs, &ps);
	if (ps.remote_packs)
		return err_set(EBUSY,
			       "%" PRIu64
			       " packs of the store are in the bucket only: without "
			       "it their bytes are lost",
			       ps.remote_packs);
	remote_stop(fs);
	forget_files(fs->io);
	rm->gone = fs->remote_gone;
	fs->remote_gone = rm;
	fs->remote = NULL;
	return 0;
}
