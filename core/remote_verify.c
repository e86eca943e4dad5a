/* remote_verify.c - is the bucket what was put there? The chain of manifests, and each object that
 * the last one names; and what the store still has of it put again.
 *
 *	look ─▶ found ─▶ the last manifest and the header are put again right here
 *	              └▶ packs and segments: told to the uploader (remote_mend.c) ─▶ looked at again
 *
 * What is looked at is what the store's folder knows, not what the bucket says. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/base/err.h"
#include "core/remote_priv.h"

#define MANIFEST_NAME REMOTE_FOLDER "/manifest"
#define SECOND_NS     UINT64_C(1000000000)
#define KIND_MANIFEST 'm'
#define KIND_HEADER   'h'

struct verifying {
	struct ropefs *fs;
	struct remote *rm;
	struct remote_way way;
	struct ropefs_verify *v;
	struct manifest man; /* the last, as the folder knows it */
	struct buf bytes; /* its own */
	uint64_t last; /* its number, and hash, before anything was put again */
	uint8_t last_hash[32];
	struct buf found; /* struct harmed: what is wrong */
	struct buf passed; /* struct passed: what a repair has passed before */
	struct buf lost; /* and what this one may pass: older manifests */
	unsigned left; /* of those passed before, still there or gone */
	uint64_t done_bytes, total_bytes; /* of segments and packs */
};

struct why {
	char text[300];
};

static void tell(struct verifying *k, const char *fmt, ...) _printf_(2, 3);
static void tell(struct verifying *k, const char *fmt, ...)
{
	char *line;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&line, fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	if (k->v->line)
		k->v->line(k->v->arg, line);
	free(line);
}

static int found(struct verifying *k, const struct harmed *what, const char *key,
		 const struct why *why)
{
	k->v->problems++;
	tell(k, "%s: %s", key, why->text);
	return buf_append(&k->found, what, sizeof(*what));
}

static bool is_away(int r)
{
	return r == -E_REMOTE_AWAY || r == -E_REMOTE_DENIED || r == -ENOMEM ||
	       r == -ECANCELED || r == -E_REMOTE;
}

/* --- how far it is --- */

static uint64_t weight(const struct verifying *k, const struct manifest_pack *p)
{
	return k->v->data ? p->bytes : PAGE_BYTES; /* else its length is asked for */
}

static void begin_progress(struct verifying *k)
{
	for (size_t i = 0; i < k->man.n_segments; i++)
		k->total_bytes += (uint64_t)k->man.segments[i].pages * PAGE_BYTES;
	for (size_t i = 0; i < k->man.n_packs; i++)
		k->total_bytes += k->man.packs[i].lost ? 0 : weight(k, &k->man.packs[i]);
}

static void tell_progress(struct verifying *k, uint64_t total)
{
	lock_take(&k->rm->lock);
	k->rm->verify_done = k->done_bytes;
	k->rm->verify_total = total;
	lock_drop(&k->rm->lock);
}

static int may_go_on(const struct verifying *k)
{
	return atomic_load(&k->rm->verify_cancel)
		       ? err_set(ECANCELED, "it was ended before all was looked at")
		       : 0;
}

/* -ECANCELED: it is to end. */
static int progress(struct verifying *k, uint64_t bytes)
{
	k->done_bytes += bytes;
	tell_progress(k, k->total_bytes);
	if (k->v->progress)
		k->v->progress(k->v->arg, k->done_bytes, k->total_bytes);
	return may_go_on(k);
}

/* --- one object: 0 it is whole, 1 it is not, or an error --- */

static int look_at_length(struct verifying *k, const char *key, uint64_t bytes,
			  struct why *why)
{
	uint64_t there;
	int r = object_head(k->way.os, key, &there);

	if (r == -ENOENT)
		snprintf(why->text, sizeof(why->text), "it is gone");
	else if (r < 0)
		return r;
	else if (there == bytes)
		return 0;
	else
		snprintf(why->text, sizeof(why->text),
			 "it has %" PRIu64 " bytes instead of %" PRIu64, there, bytes);
	return 1;
}

static int look_into_pack(struct verifying *k, const struct manifest_pack *p,
			  const char *key, struct why *why)
{
	const struct pack_info info = remote_pack_info(p);
	const struct object_file_opts fo = {
		.os = k->way.os, .key = key, .bytes = p->bytes, .room = &k->rm->room
	};
	struct io_file *file;
	int r = object_file_new(&fo, &file);

	if (r == 0)
		r = packs_verify_object(k->fs->packs, &info, file);
	if (r != -E_CORRUPT)
		return r;
	snprintf(why->text, sizeof(why->text), "it is damaged: %s", err_detail());
	return 1;
}

static int look_at_pack(struct verifying *k, const struct manifest_pack *p,
			struct object_key key, struct why *why)
{
	int r = look_at_length(k, key.text, p->bytes, why);

	return r == 0 && k->v->data ? look_into_pack(k, p, key.text, why) : r;
}

/* The object's bytes; got again when they are not those with the hash: a bad line, perhaps. */
static int look_at_hash(struct verifying *k, const char *key, const uint8_t want[32],
			struct why *why)
{
	_cleanup_(buf_release) struct buf b = BUF_INIT;
	uint8_t hash[32];
	int r;

	for (unsigned tries = 0; tries < 1 + WRONG_TRIES; tries++) {
		b.n = 0;
		r = object_get(k->way.os, key, (struct object_range) { 0, 0 }, &b);
		if (r == -ENOENT) {
			snprintf(why->text, sizeof(why->text), "it is gone");
			return 1;
		}
		if (r < 0)
			return r;
		hash256(buf_span(&b), hash);
		if (!memcmp(hash, want, sizeof(hash)))
			return 0;
	}
	snprintf(why->text, sizeof(why->text), "it has other bytes than were put there");
	return 1;
}

/* --- all that the last manifest needs --- */

static struct harmed harmed_of(char kind, uint64_t number, const uint8_t *id)
{
	struct harmed h = { .kind = kind, .number = number };

	memcpy(h.id, id, sizeof(h.id));
	return h;
}

static int verify_packs(struct verifying *k)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < k->man.n_packs; i++) {
		const struct manifest_pack *p = &k->man.packs[i];
		const struct harmed what = harmed_of('p', p->pack, p->id);
		struct object_key key = key_of(k->rm->instance, 'p', p->pack, p->id);
		struct why why;

		if (p->lost)
			continue;
		r = look_at_pack(k, p, key, &why);
		k->v->objects += r >= 0;
		if (r > 0)
			r = found(k, &what, key.text, &why);
		if (r == 0)
			r = progress(k, weight(k, p));
	}
	return r;
}

static int verify_segments(struct verifying *k)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < k->man.n_segments; i++) {
		const struct manifest_segment *s = &k->man.segments[i];
		const struct harmed what = harmed_of('s', s->number, s->hash);
		struct object_key key = key_of(k->rm->instance, 's', s->number, s->hash);
		struct why why;

		r = look_at_hash(k, key.text, s->hash, &why);
		k->v->objects += r >= 0;
		if (r > 0)
			r = found(k, &what, key.text, &why);
		if (r == 0)
			r = progress(k, (uint64_t)s->pages * PAGE_BYTES);
	}
	return r;
}

static int verify_header(struct verifying *k)
{
	const struct harmed what = { .kind = KIND_HEADER };
	struct object_key key = key_header(k->rm->instance);
	uint8_t header[HEADER_FILE_BYTES], hash[32];
	struct why why;
	int r;

	header_encode(&k->fs->header, header);
	hash256(span_of(header, sizeof(header)), hash);
	r = look_at_hash(k, key.text, hash, &why);
	k->v->objects += r >= 0;
	return r > 0 ? found(k, &what, key.text, &why) : r;
}

/* --- the chain --- */

static int get_manifest(struct verifying *k, uint64_t number, struct buf *bytes,
			struct manifest *ret)
{
	int r = -E_CORRUPT;

	for (unsigned tries = 0; tries < 1 + WRONG_TRIES && r == -E_CORRUPT; tries++)
		r = remote_get_manifest(k->way.os, k->rm->instance, number, k->fs->keys,
					bytes, ret);
	return r;
}

/* Of an older one a repair may have passed it as it is. bytes: what is there, or none. */
static bool is_passed(struct verifying *k, uint64_t number, struct span bytes)
{
	struct passed p = { .number = le64_put(number) };

	if (number == k->man.number)
		return false;
	if (bytes.n)
		hash256(bytes, p.hash);
	if (!remote_passed_has(&k->passed, &p)) {
		(void)buf_append(&k->lost, &p, sizeof(p));
		return false;
	}
	k->left++;
	return true;
}

static int manifest_found(struct verifying *k, uint64_t number, struct span bytes,
			  const char *text)
{
	const struct harmed what = { .kind = KIND_MANIFEST, .number = number };
	struct object_key key = key_manifest(k->rm->instance, number);
	struct why why;

	if (is_passed(k, number, bytes))
		return 0;
	snprintf(why.text, sizeof(why.text), "%s", text);
	return found(k, &what, key.text, &why);
}

/* Goes back along the chain to the oldest that was there when the last one was put. Behind one
 * that is gone or damaged no hash is known for the next. */
static int verify_chain(struct verifying *k)
{
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	uint64_t oldest = MAX(k->man.oldest, 1u), newer_ns = 0;
	uint8_t want[32], hash[32];
	bool known = true;
	int r = 0;

	memcpy(want, k->last_hash, sizeof(want));
	for (uint64_t n = k->man.number; r == 0 && n >= oldest; n--) {
		struct manifest m = { 0 };
		bool last = n == k->man.number;

		r = may_go_on(k);
		if (r == 0)
			r = get_manifest(k, n, &bytes, &m);
		if (is_away(r))
			return r;
		/* It may have been removed since, once the one after it was old. */
		if (r == -ENOENT && !last &&
		    newer_ns + k->rm->cfg.keep_s * SECOND_NS <= io_real_ns(k->fs->io))
			return 0;
		if (r < 0) {
			known = last; /* that one is here */
			memcpy(want, k->man.prev_hash, sizeof(want));
			newer_ns = last ? k->man.time_ns : newer_ns;
			r = manifest_found(k, n,
					   r == -ENOENT ? SPAN_STR("") : buf_span(&bytes),
					   r == -ENOENT ? "it is gone: the bucket was "
							  "put back, or somebody "
							  "removes from it"
							: err_detail());
			continue;
		}
		k->v->manifests++;
		hash256(buf_span(&bytes), hash);
		if (known && memcmp(hash, want, sizeof(hash)) != 0)
			r = manifest_found(k, n, buf_span(&bytes),
					   "it is another one than was put there");
		known = r == 0;
		memcpy(want, m.prev_hash, sizeof(want));
		newer_ns = m.time_ns;
		manifest_release(&m);
	}
	return r;
}

static int verify_all(struct verifying *k)
{
	int r = verify_header(k);

	if (r == 0)
		r = verify_chain(k);
	if (r == 0)
		r = verify_segments(k);
	return r < 0 ? r : verify_packs(k);
}

/* --- putting again --- */

static bool is_found(const struct verifying *k, char kind, uint64_t number)
{
	for (size_t at = 0; at < k->found.n; at += sizeof(struct harmed)) {
		const struct harmed *h = (const void *)(k->found.p + at);

		if (h->kind == kind && h->number == number)
			return true;
	}
	return false;
}

/* The bucket has something of this store: it is no empty folder in its place. */
static int check_ours(struct verifying *k)
{
	uint64_t number;
	int r = remote_find_last(k->way.os, k->rm->instance, 0, &number);

	if (r == -ENOENT)
		r = object_head(k->way.os, key_header(k->rm->instance).text, &number);
	if (r != -ENOENT)
		return r;
	return err_set(E_REMOTE,
		       "%s has nothing of this store: is what belongs there mounted?",
		       k->rm->cfg.url);
}

/* The last manifest, with the bytes that it had. Not in the place of another writer's. */
static int put_manifest(struct verifying *k)
{
	_cleanup_(buf_release) struct buf there = BUF_INIT;
	struct object_key key = key_manifest(k->rm->instance, k->man.number);
	struct manifest m = { 0 };
	int r = get_manifest(k, k->man.number, &there, &m);

	manifest_release(&m);
	if (r == 0 || r == -E_NEWER)
		return err_set(E_FENCED,
			       "manifest %" PRIu64
			       " in %s is another writer's: nothing was put again",
			       k->man.number, k->rm->cfg.url);
	if (r != -ENOENT && r != -E_CORRUPT)
		return r;
	r = remote_put_bytes(k->way.os, key.text, buf_span(&k->bytes),
			     r == -ENOENT && k->rm->cfg.creates ? OBJECT_IF_ABSENT : 0);
	return r == -EEXIST ? err_set(E_REMOTE_AWAY,
				      "somebody puts manifests there right now: try "
				      "again")
			    : r;
}

static int put_what_is_here(struct verifying *k)
{
	int r = check_ours(k);

	if (r == 0 && is_found(k, KIND_MANIFEST, k->man.number))
		r = put_manifest(k);
	if (r == 0 && is_found(k, KIND_HEADER, 0))
		r = remote_put_header(k->rm, k->way.os);
	return r == 0 ? remote_mend(k->rm, buf_span(&k->found)) : r;
}

/* 0: it is whole, or not needed any more. 1: it is not there for good. */
static int look_again(struct verifying *k, const struct harmed *h, struct object_key *ret)
{
	const struct manifest *m = &k->man;
	const struct manifest_pack *p;
	struct why why;

	switch (h->kind) {
	case 'p':
		*ret = key_of(k->rm->instance, 'p', h->number, h->id);
		p = manifest_find_pack(m, h->number);
		if (!p || memcmp(p->id, h->id, sizeof(p->id)) != 0)
			return 0;
		return p->lost ? 1 : look_at_pack(k, p, *ret, &why);
	case 's':
		*ret = key_of(k->rm->instance, 's', h->number, h->id);
		for (size_t i = 0; i < m->n_segments; i++)
			if (m->segments[i].number == h->number)
				return look_at_hash(k, ret->text, m->segments[i].hash,
						    &why);
		return 0;
	case KIND_MANIFEST:
		*ret = key_manifest(k->rm->instance, h->number);
		return h->number == k->last
			       ? look_at_hash(k, ret->text, k->last_hash, &why)
			       : 1;
	}
	*ret = key_header(k->rm->instance);
	return 0; /* it was just put */
}

static void tell_files(void *arg, uint64_t pack, uint64_t files, const char *names)
{
	tell(arg,
	     "pack %010" PRIx64 " was only there: bytes of %" PRIu64
	     " files are lost: %s",
	     pack, files, names);
}

static int tell_left(struct verifying *k)
{
	_cleanup_(buf_release) struct buf lost = BUF_INIT;
	int r = 0;

	for (size_t at = 0; r >= 0 && at < k->found.n; at += sizeof(struct harmed)) {
		const struct harmed *h = (const void *)(k->found.p + at);
		struct object_key key;

		r = look_again(k, h, &key);
		if (r == 0) {
			k->v->mended++;
			tell(k, "%s: mended", key.text);
		} else if (r > 0 && h->kind == 'p') {
			r = buf_append(&lost, &h->number, sizeof(h->number));
		} else if (r > 0 && h->number != k->last) {
			k->v->mended++;
			k->left++;
			tell(k,
			     "%s: noted; it can't be made again, nobody needs it, and it "
			     "goes when it is older than --keep",
			     key.text);
		}
	}
	if (r >= 0 && k->lost.n)
		r = buf_append(&k->passed, k->lost.p, k->lost.n);
	if (r >= 0 && k->lost.n)
		r = remote_passed_write(k->rm, &k->passed, k->man.oldest);
	if (r >= 0 && lost.n)
		r = remote_files_in(k->fs, buf_span(&lost), tell_files, k);
	return MIN(r, 0);
}

static int repair(struct verifying *k)
{
	int r;

	if (!remote_uploads(k->rm))
		return err_set(E_REMOTE,
			       "nothing goes up from here: a repair is the writer's");
	r = put_what_is_here(k);
	if (r < 0)
		return r;
	manifest_release(&k->man);
	k->bytes.n = 0;
	r = remote_file_read(k->fs->io, MANIFEST_NAME, &k->bytes);
	if (r == 0)
		r = manifest_decode(buf_span(&k->bytes), k->fs->keys, &k->man);
	return r < 0 ? r : tell_left(k);
}

static void tell_sum(struct verifying *k)
{
	const struct ropefs_verify *v = k->v;

	if (v->problems > v->mended)
		tell(k,
		     "The bucket has %" PRIu64 " of its objects not, or not as they "
		     "were put there%s.",
		     v->problems - v->mended,
		     v->repair ? "" : "; --repair puts again what is still here");
	else
		tell(k,
		     "The bucket has all that was put there: %" PRIu64
		     " manifests, %" PRIu64 " objects%s.",
		     v->manifests, v->objects,
		     v->data ? "" : " (of packs their length; --data reads them)");
	if (k->left)
		tell(k,
		     "%u older manifests are gone or damaged, as a repair has noted: "
		     "nobody "
		     "needs them.",
		     k->left);
}

/* Outside of all others, so that to wait for the rate makes no get look slow. */
static int open_way(struct verifying *k)
{
	const struct object_meter_opts rate = { .got_per_s = k->v->bytes_per_s,
						.cancel = &k->rm->verify_cancel };
	struct object_store *os;
	int r = remote_way_open(k->rm, WAY_VERIFY, &k->way);

	if (r < 0 || !k->v->bytes_per_s)
		return r;
	r = object_meter_new(&rate, k->way.os, &os);
	if (r == 0)
		k->way.os = os;
	return r;
}

int ropefs_remote_verify(struct ropefs *fs, struct ropefs_verify *v)
{
	struct verifying k = { .fs = fs, .rm = fs->remote, .v = v };
	int r;

	err_clear();
	if (!k.rm)
		return remote_none();
	if (k.rm->follow)
		return err_set(
			E_REMOTE,
			"this mount follows a bucket and has nothing to compare it "
			"with: verify it where the store is, or a clone of it");
	atomic_store(&k.rm->verify_cancel, atomic_load(&k.rm->cancel));
	r = remote_file_read(fs->io, MANIFEST_NAME, &k.bytes);
	if (r == -ENOENT)
		return err_set(E_REMOTE, "nothing was uploaded yet");
	remote_passed_read(k.rm, &k.passed);
	err_clear();
	if (r == 0)
		r = manifest_decode(buf_span(&k.bytes), fs->keys, &k.man);
	k.last = k.man.number;
	hash256(buf_span(&k.bytes), k.last_hash);
	if (r == 0)
		r = open_way(&k);
	begin_progress(&k);
	tell_progress(&k, MAX(k.total_bytes, (uint64_t)1));
	if (r == 0)
		r = verify_all(&k);
	if (r == 0 && v->problems && v->repair)
		r = repair(&k);
	if (r == 0)
		tell_sum(&k);
	tell_progress(&k, 0);
	remote_way_close(&k.way);
	manifest_release(&k.man);
	buf_release(&k.bytes);
	buf_release(&k.found);
	buf_release(&k.passed);
	buf_release(&k.lost);
	if (r == 0 && v->problems > v->mended)
		return err_set(E_CORRUPT, "the bucket is not what was put there");
	return r;
}

void ropefs_remote_verify_end(struct ropefs *fs)
{
	struct remote *rm = fs->remote;

	if (!rm)
		return;
	lock_take(&rm->lock);
	atomic_store(&rm->verify_cancel, true);
	pthread_cond_broadcast(&rm->done_cond);
	lock_drop(&rm->lock);
}
