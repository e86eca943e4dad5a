#include "core/tier/range_cache.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "core/base/crc.h"
#include "core/base/htab.h"
#include "core/base/le.h"
#include "core/base/util.h"

#define NAME_BYTES	64
#define INDEX_MAGIC	"ROPERNGE"
#define INDEX_BYTES_MAX (64 * MIB)

/* The file `name`.index: this head, rows of the one file's ranges and of the other's, then the
 * le32 CRC32C of all before. */
struct index_head {
	uint8_t magic[8];
	le64 young;
	le64 end[2], ranges[2];
};
static_assert(sizeof(struct index_head) == 48, "index head is 48 bytes on disk");

struct index_row {
	uint8_t id[RANGE_ID_BYTES];
	le64 off, at;
	le32 n, crc;
};
static_assert(sizeof(struct index_row) == 40, "index row is 40 bytes on disk");

struct range {
	struct range_key key;
	uint64_t at; /* in the file */
	uint32_t crc;
};

struct generation {
	struct io_file *file;
	struct htab ranges; /* struct range by range_hash() */
	uint64_t end;
	uint64_t emptied; /* how often */
};

struct range_cache {
	struct io *io;
	char name[NAME_BYTES];
	pthread_mutex_t mutex; /* guards all below but the files' bytes */
	struct generation gen[2];
	unsigned young;
	struct range_cache_stats stats; /* without bytes */
};

static uint64_t range_hash(const uint8_t id[RANGE_ID_BYTES], uint64_t off)
{
	uint64_t h;

	memcpy(&h, id, sizeof(h)); /* of a hash: random already */
	return h ^ off * 0x9e3779b97f4a7c15u;
}

static struct range *find(const struct generation *g, const uint8_t id[RANGE_ID_BYTES],
			  uint64_t off)
{
	struct range *e = htab_get(&g->ranges, range_hash(id, off));

	return e && e->key.off == off && !memcmp(e->key.id, id, RANGE_ID_BYTES) ? e
										: NULL;
}

static void forget_all_locked(struct generation *g)
{
	struct htab_slot *slot;
	size_t at = 0;

	while ((slot = htab_next(&g->ranges, &at)))
		free(slot->value);
	htab_release(&g->ranges);
	g->ranges = HTAB_INIT;
}

static void empty_locked(struct generation *g)
{
	forget_all_locked(g);
	g->end = 0;
	g->emptied++;
	g->file->ops->truncate(g->file, 0);
}

static void remove_locked(struct generation *g, const uint8_t id[RANGE_ID_BYTES],
			  uint64_t off)
{
	if (find(g, id, off))
		free(htab_del(&g->ranges, range_hash(id, off)));
}

/* --- the index on disk --- */

struct index_name {
	char text[NAME_BYTES + 8];
};

static struct index_name index_name(const char *name)
{
	struct index_name n;

	snprintf(n.text, sizeof(n.text), "%s.index", name);
	return n;
}

static int put_row(struct buf *b, const struct range *e)
{
	struct index_row row = { .off = le64_put(e->key.off),
				 .at = le64_put(e->at),
				 .n = le32_put((uint32_t)e->key.n),
				 .crc = le32_put(e->crc) };

	memcpy(row.id, e->key.id, sizeof(row.id));
	return buf_append(b, &row, sizeof(row));
}

int range_cache_save(struct range_cache *c)
{
	_cleanup_(buf_release) struct buf b = BUF_INIT;
	struct index_head head = { .magic = INDEX_MAGIC, .young = le64_put(c->young) };
	le32 crc;
	int r;

	for (unsigned i = 0; i < 2; i++) {
		head.end[i] = le64_put(c->gen[i].end);
		head.ranges[i] = le64_put(c->gen[i].ranges.n);
	}
	r = buf_append(&b, &head, sizeof(head));
	for (unsigned i = 0; i < 2; i++) {
		struct htab_slot *slot;
		size_t at = 0;

		while (r == 0 && (slot = htab_next(&c->gen[i].ranges, &at)))
			r = put_row(&b, slot->value);
	}
	crc = le32_put(crc32c(0, b.p, b.n));
	if (r == 0)
		r = buf_append(&b, &crc, sizeof(crc));
	return r < 0 ? r : io_publish(c->io, index_name(c->name).text, b.p, b.n);
}

static int take_row(struct generation *g, const struct index_row *row)
{
	struct range *e = malloc(sizeof(*e));
	uint64_t hash;
	int r;

	if (!e)
		return -ENOMEM;
	*e = (struct range) { .key = { .off = le64_get(row->off), .n = le32_get(row->n) },
			      .at = le64_get(row->at),
			      .crc = le32_get(row->crc) };
	memcpy(e->key.id, row->id, sizeof(e->key.id));
	hash = range_hash(e->key.id, e->key.off);
	r = htab_get(&g->ranges, hash) ? -EEXIST : htab_put(&g->ranges, hash, e);
	if (r < 0)
		free(e);
	return r;
}

/* Whether b is whole, and the files can be those it tells of. */
static bool index_fits(const struct range_cache *c, const struct buf *b)
{
	struct index_head head;
	uint64_t rows, bytes;
	le32 crc;

	if (b->n < sizeof(head) + sizeof(crc))
		return false;
	memcpy(&head, b->p, sizeof(head));
	memcpy(&crc, b->p + b->n - sizeof(crc), sizeof(crc));
	rows = (b->n - sizeof(head) - sizeof(crc)) / sizeof(struct index_row);
	for (unsigned i = 0; i < 2; i++)
		if (io_size(c->gen[i].file, &bytes) < 0 || bytes < le64_get(head.end[i]))
			return false;
	return !memcmp(head.magic, INDEX_MAGIC, sizeof(head.magic)) &&
	       le32_get(crc) == crc32c(0, b->p, b->n - sizeof(crc)) &&
	       le64_get(head.young) < 2 && le64_get(head.ranges[0]) <= rows &&
	       le64_get(head.ranges[1]) == rows - le64_get(head.ranges[0]);
}

static int remove_durably(struct io *io, struct index_name name)
{
	char *slash = strrchr(name.text, '/');
	int r = io->ops->unlink(io, name.text);

	*(slash ? slash : name.text) = '\0';
	return r < 0 ? r : io->ops->sync_dir(io, name.text);
}

/* Goes on with what was saved. Else, and where memory is short, with less than that. */
static void take_index(struct range_cache *c)
{
	struct index_name name = index_name(c->name);
	_cleanup_(buf_release) struct buf b = BUF_INIT;
	const struct index_row *row;
	struct index_head head;

	if (io_read_file(c->io, name.text, INDEX_BYTES_MAX, &b) < 0)
		return;
	/* While the files change nothing on the disk says what is in them. */
	if (remove_durably(c->io, name) < 0 || !index_fits(c, &b))
		return;
	memcpy(&head, b.p, sizeof(head));
	row = (const void *)(b.p + sizeof(head));
	c->young = (unsigned)le64_get(head.young);
	for (unsigned i = 0; i < 2; i++) {
		c->gen[i].end = le64_get(head.end[i]);
		for (uint64_t k = 0; k < le64_get(head.ranges[i]); k++)
			take_row(&c->gen[i], row++);
	}
}

bool range_cache_was_saved(struct io *io, const char *name)
{
	struct index_name index = index_name(name);
	struct io_file *file;

	if (io_open(io, index.text, IO_READ, &file) < 0)
		return false;
	io_closep(&file);
	return true;
}

/* --- open, close --- */

int range_cache_open(struct io *io, const char *name, uint64_t bytes_max,
		     struct range_cache **ret)
{
	struct range_cache *c = calloc(1, sizeof(*c));
	int r = 0;

	if (!c)
		return -ENOMEM;
	assert(strlen(name) < sizeof(c->name));
	strcpy(c->name, name);
	c->io = io;
	pthread_mutex_init(&c->mutex, NULL);
	for (unsigned i = 0; r == 0 && i < 2; i++) {
		char path[NAME_BYTES + 8];

		snprintf(path, sizeof(path), "%s.%u", name, i);
		r = io_open(io, path, IO_CREATE, &c->gen[i].file);
	}
	if (r == 0)
		take_index(c);
	for (unsigned i = 0; r == 0 && i < 2; i++)
		r = c->gen[i].file->ops->truncate(c->gen[i].file, c->gen[i].end);
	if (r < 0) {
		range_cache_close(c);
		return r;
	}
	range_cache_limit(c, bytes_max);
	*ret = c;
	return 0;
}

struct range_cache *range_cache_close(struct range_cache *c)
{
	if (!c)
		return NULL;
	for (unsigned i = 0; i < 2; i++)
		if (c->gen[i].file) {
			forget_all_locked(&c->gen[i]);
			io_closep(&c->gen[i].file);
		}
	pthread_mutex_destroy(&c->mutex);
	free(c);
	return NULL;
}

static int read_range(struct generation *g, const struct range *e, void *p)
{
	int r = io_pread_all(g->file, p, e->key.n, e->at);

	/* Emptied and written anew meanwhile, perhaps. */
	return r == 0 && crc32c(0, p, e->key.n) != e->crc ? -EBADMSG : r;
}

bool range_cache_get(struct range_cache *c, const struct range_key *key, void *p)
{
	struct generation *g = NULL;
	bool old, hit;
	struct range e;

	pthread_mutex_lock(&c->mutex);
	for (unsigned i = 0; i < 2 && !g; i++) {
		struct generation *one = &c->gen[(c->young + i) % 2];
		const struct range *found = find(one, key->id, key->off);

		if (!found || found->key.n != key->n)
			continue;
		g = one;
		e = *found;
		old = i > 0;
	}
	pthread_mutex_unlock(&c->mutex);
	hit = g && read_range(g, &e, p) == 0;
	pthread_mutex_lock(&c->mutex);
	*(hit ? &c->stats.hits : &c->stats.misses) += 1;
	if (g && !hit) /* so that it is kept anew */
		remove_locked(g, key->id, key->off);
	pthread_mutex_unlock(&c->mutex);
	if (hit && old)
		range_cache_put(c, key, p);
	return hit;
}

/* A place for n bytes in the younger file, or NULL. */
static struct generation *place_locked(struct range_cache *c, size_t n, uint64_t *ret_at)
{
	struct generation *g = &c->gen[c->young];
	uint64_t half = c->stats.bytes_max / 2;

	if (n > half)
		return NULL;
	if (g->end + n > half) {
		c->young ^= 1;
		g = &c->gen[c->young];
		empty_locked(g);
	}
	*ret_at = g->end;
	g->end += n;
	return g;
}

void range_cache_put(struct range_cache *c, const struct range_key *key, const void *p)
{
	struct range *e = malloc(sizeof(*e));
	struct generation *g;
	uint64_t emptied = 0;
	int r = -EEXIST;

	if (!e)
		return;
	*e = (struct range) { .key = *key, .crc = crc32c(0, p, key->n) };
	pthread_mutex_lock(&c->mutex);
	g = find(&c->gen[c->young], key->id, key->off) ? NULL
						       : place_locked(c, key->n, &e->at);
	if (g)
		emptied = g->emptied;
	pthread_mutex_unlock(&c->mutex);
	if (g)
		r = io_pwrite(g->file, p, key->n, e->at);
	pthread_mutex_lock(&c->mutex);
	if (r == 0 && g->emptied == emptied)
		r = htab_get(&g->ranges, range_hash(key->id, key->off))
			    ? -EEXIST
			    : htab_put(&g->ranges, range_hash(key->id, key->off), e);
	else if (r == 0)
		r = -ESTALE;
	pthread_mutex_unlock(&c->mutex);
	if (r < 0)
		free(e);
}

void range_cache_forget(struct range_cache *c, const uint8_t id[RANGE_ID_BYTES],
			uint64_t off)
{
	pthread_mutex_lock(&c->mutex);
	for (unsigned i = 0; i < 2; i++)
		remove_locked(&c->gen[i], id, off);
	pthread_mutex_unlock(&c->mutex);
}

void range_cache_limit(struct range_cache *c, uint64_t bytes_max)
{
	pthread_mutex_lock(&c->mutex);
	c->stats.bytes_max = bytes_max;
	for (unsigned i = 0; i < 2; i++)
		if (c->gen[i].end > bytes_max / 2)
			empty_locked(&c->gen[i]);
	pthread_mutex_unlock(&c->mutex);
}

void range_cache_read(struct range_cache *c, struct range_cache_stats *ret)
{
	pthread_mutex_lock(&c->mutex);
	*ret = c->stats;
	ret->bytes = c->gen[0].end + c->gen[1].end;
	pthread_mutex_unlock(&c->mutex);
}
