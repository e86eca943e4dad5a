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

int remote_wanted_objects(const struct remote *rm, struct wanted_object **ret,
			  size_t *ret_n)
{
	const struct manifest *m = &rm->man;
	struct wanted_object *all = calloc(m->n_packs + m->n_segments + 1, sizeof(*all));
	struct wanted_object *to = all;

	if (!all)
		return -ENOMEM;
	for (size_t i = 0; i < m->n_packs; i++) {
		const struct manifest_pack *p = &m->packs[i];

		if (p->lost)
			continue;
		*to = (struct wanted_object) { { 'p', p->pack, { 0 } }, p->bytes };
		memcpy(to++->is.id, p->id, sizeof(to->is.id));
	}
	for (size_t i = 0; i < m->n_segments; i++) {
		const struct manifest_segment *s = &m->segments[i];

		*to = (struct wanted_object) { { 's', s->number, { 0 } },
					       remote_segment_bytes(s) };
		memcpy(to++->is.id, s->hash, sizeof(to->is.id));
	}
	*ret = all;
	*ret_n = (size_t)(to - all);
	return 0;
}

struct object_key remote_wanted_key(const struct remote *rm,
				    const struct wanted_object *o)
{
	return key_of(rm->instance, o->is.kind, o->is.number, o->is.id);
}

int remote_is_gone(struct remote *rm, const char *key, uint64_t bytes)
{
	uint64_t there;
	int r = object_head(rm->up.os, key, &there);

	return r == -ENOENT ? 1 : r < 0 ? r : there != bytes;
}

struct round {
	struct wanted_object *at;
	size_t n;
};

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
static size_t first_after(const struct round *all, const struct remote_looked *l)
{
	for (size_t i = 0; i < all->n; i++) {
		const struct harmed *h = &all->at[i].is;

		if (h->kind > l->kind || (h->kind == l->kind && h->number > l->number))
			return i;
	}
	return 0;
}

static int look_at_some(struct remote *rm, struct remote_looked *l,
			const struct round *all, struct buf *harmed)
{
	size_t first = first_after(all, l), n = (size_t)MIN(l->left, (uint64_t)A_TURN);

	for (size_t i = 0; i < n; i++) {
		const struct wanted_object *o = &all->at[(first + i) % all->n];
		int r = remote_may_go_on(rm);

		if (r == 0)
			r = remote_is_gone(rm, remote_wanted_key(rm, o).text, o->bytes);
		if (r > 0)
			r = buf_append(harmed, &o->is, sizeof(o->is));
		if (r < 0)
			return r;
		l->kind = o->is.kind;
		l->number = o->is.number;
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
	struct round all;
	int r;

	if (l->known && !l->left && io_real_ns(rm->fs->io) - l->began_ns < DAY_NS)
		return 0;
	r = remote_wanted_objects(rm, &all.at, &all.n);
	if (r < 0)
		return r;
	begin_part(rm, l, all.n);
	if (l->left) {
		r = look_at_some(rm, l, &all, &harmed);
		write_looked(rm, l);
	}
	free(all.at);
	if (harmed.n && remote_tell_harmed(rm, buf_span(&harmed)) < 0)
		r = -ENOMEM;
	return r == -ECANCELED ? 0 : r;
}
