/* remote_look.c - objects that go missing from the bucket are noticed: a part of them is asked for
 * each day, one after another, so that all had their turn after a week.
 *
 * No LIST: a HEAD each, of at least LEAST objects a day and at most MOST, some with each upload.
 * How far it is stands in the file remote/looked, a line of the kind and the number of the last
 * object, when the day's part began (ns since 1970) and how many are left of it; without it, it
 * begins anew. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/base/err.h"
#include "core/remote_priv.h"

#define LOOKED_NAME REMOTE_FOLDER "/looked"
#define DAY_NS	    (UINT64_C(86400) * 1000000000)
#define ROUND_DAYS  7u
#define LEAST	    100u
#define MOST	    1000u
#define A_TURN	    100u /* with one upload */

/* One of the last manifest's objects that are to be there. */
struct object_at {
	char kind;
	uint64_t number, bytes;
	uint8_t id[HASH_ID_BYTES];
};

struct objects {
	struct object_at *at;
	size_t n;
};

/* In the order of the round: packs by number, then segments. */
static int objects_of(const struct manifest *m, struct objects *ret)
{
	struct objects o = { calloc(m->n_packs + m->n_segments + 1, sizeof(*o.at)), 0 };

	if (!o.at)
		return -ENOMEM;
	for (size_t i = 0; i < m->n_packs; i++) {
		const struct manifest_pack *p = &m->packs[i];
		struct object_at *to = &o.at[o.n];

		if (p->lost)
			continue;
		*to = (struct object_at) { 'p', p->pack, p->bytes, { 0 } };
		memcpy(to->id, p->id, sizeof(to->id));
		o.n++;
	}
	for (size_t i = 0; i < m->n_segments; i++) {
		const struct manifest_segment *s = &m->segments[i];
		struct object_at *to = &o.at[o.n++];

		*to = (struct object_at) {
			's', s->number, remote_segment_bytes(s), { 0 }
		};
		memcpy(to->id, s->hash, sizeof(to->id));
	}
	*ret = o;
	return 0;
}

static void read_looked(struct remote *rm, struct remote_looked *l)
{
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	struct remote_looked was = { .known = true };

	*l = (struct remote_looked) { .known = true, .kind = 'p' };
	if (remote_file_read(rm->fs->io, LOOKED_NAME, &text) < 0)
		return;
	text.p[text.n] = '\0'; /* room is left for it */
	if (sscanf((char *)text.p, "%c %" SCNu64 " %" SCNu64 " %" SCNu64, &was.kind,
		   &was.number, &was.began_ns, &was.left) == 4)
		*l = was;
}

static void write_looked(struct remote *rm, const struct remote_looked *l)
{
	char text[96];
	int n = snprintf(text, sizeof(text), "%c %" PRIu64 " %" PRIu64 " %" PRIu64 "\n",
			 l->kind, l->number, l->began_ns, l->left);

	io_publish(rm->fs->io, LOOKED_NAME, text,
		   (size_t)n); /* else some are asked twice */
}

/* The first that comes behind the last one of the turn before. */
static size_t first_after(const struct objects *o, const struct remote_looked *l)
{
	for (size_t i = 0; i < o->n; i++)
		if (o->at[i].kind > l->kind ||
		    (o->at[i].kind == l->kind && o->at[i].number > l->number))
			return i;
	return 0;
}

/* 1: it is gone, or has another length. */
static int is_gone(struct remote *rm, const struct object_at *at)
{
	struct object_key key = key_of(rm->instance, at->kind, at->number, at->id);
	uint64_t bytes;
	int r = object_head(rm->up.os, key.text, &bytes);

	return r == -ENOENT ? 1 : r < 0 ? r : bytes != at->bytes;
}

static int look_at_some(struct remote *rm, struct remote_looked *l,
			const struct objects *o, struct buf *harmed)
{
	size_t first = first_after(o, l), n = (size_t)MIN(l->left, (uint64_t)A_TURN);

	for (size_t i = 0; i < n; i++) {
		const struct object_at *at = &o->at[(first + i) % o->n];
		struct harmed h = { .kind = at->kind, .number = at->number };
		int r = remote_may_go_on(rm);

		if (r == 0)
			r = is_gone(rm, at);
		memcpy(h.id, at->id, sizeof(h.id));
		if (r > 0)
			r = buf_append(harmed, &h, sizeof(h));
		if (r < 0)
			return r;
		l->kind = at->kind;
		l->number = at->number;
		l->left--;
	}
	return 0;
}

/* What is left of the day's part; a mount begins with some, as bytes may go while it is away. */
static void begin_part(struct remote *rm, struct remote_looked *l, size_t n)
{
	uint64_t now = io_real_ns(rm->fs->io), part = MAX(n / ROUND_DAYS + 1, LEAST);

	if (!l->known) {
		read_looked(rm, l);
		l->left = MAX(l->left, LEAST);
	}
	if (now < l->began_ns || now - l->began_ns >= DAY_NS) {
		l->began_ns = now;
		l->left = MIN(part, MOST);
	}
	l->left = MIN(l->left, n);
}

int remote_look_at_objects(struct remote *rm)
{
	_cleanup_(buf_release) struct buf harmed = BUF_INIT;
	struct remote_looked *l = &rm->looked;
	struct objects o;
	int r;

	if (l->known && !l->left && io_real_ns(rm->fs->io) - l->began_ns < DAY_NS)
		return 0;
	r = objects_of(&rm->man, &o);
	if (r < 0)
		return r;
	begin_part(rm, l, o.n);
	if (l->left) {
		r = look_at_some(rm, l, &o, &harmed);
		write_looked(rm, l);
	}
	free(o.at);
	if (harmed.n && remote_tell_harmed(rm, buf_span(&harmed)) < 0)
		r = -ENOMEM;
	return r == -ECANCELED ? 0 : r;
}
