/* remote_pages.c - the page file in the bucket: segments, each of up to 1024 pages, and where
 * each page's newest bytes are.
 *
 * A state's changed pages make new segments. Older ones whose pages are mostly elsewhere by
 * now, or that are no larger than what is new, are taken along and dropped. So the segments
 * hold at most about twice what is alive, and a page is put again about once each time their
 * number doubles: the bytes of a cycle are bounded by what changed.
 *
 * Up to remote.tail_pages go with the manifest itself, which saves a request. The map has no
 * place for these: so they go with the next one, too, until they are enough for a segment. */
#include <errno.h>
#include <string.h>

#include "core/base/err.h"
#include "core/remote_priv.h"

#define MAP_NAME  REMOTE_FOLDER "/pages"
#define MAP_MAGIC "ROPEPMAP"

static_assert(MANIFEST_PAGE_BYTES == PAGE_BYTES, "pages lie in manifests as they are");

/* The file remote/pages: this head, `pages` times {segment le64, version le64}, and the
 * BLAKE2b-256 of all before. Not needed: without it all pages are put again. */
struct map_head {
	uint8_t magic[8];
	le64 manifest;
	le64 pages;
};
static_assert(sizeof(struct map_head) == 24, "map head is 24 bytes on disk");

struct map_row {
	le64 segment, version;
};
static_assert(sizeof(struct map_row) == 16, "map row is 16 bytes on disk");

void remote_map_release(struct page_map *map)
{
	free(map->at);
	*map = (struct page_map) { 0 };
}

int page_map_grow(struct page_map *map, uint64_t pages)
{
	struct page_at *more;

	if (pages <= map->n)
		return 0;
	more = reallocarray(map->at, pages, sizeof(*more));
	if (!more)
		return -ENOMEM;
	memset(more + map->n, 0, (pages - map->n) * sizeof(*more));
	map->at = more;
	map->n = pages;
	return 0;
}

/* --- which pages to put --- */

/* The segment's place in the manifest, or -1. */
static ssize_t segment_find(const struct manifest *m, uint64_t number)
{
	size_t low = 0, high = m->n_segments;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (m->segments[mid].number < number)
			low = mid + 1;
		else
			high = mid;
	}
	return low < m->n_segments && m->segments[low].number == number ? (ssize_t)low
									: -1;
}

static uint64_t version_of(const uint8_t *sealed)
{
	uint64_t v;

	memcpy(&v, sealed,
	       sizeof(v)); /* the nonce is random: another one for each write */
	return v;
}

void remote_note_changed(struct remote *rm, const struct page_state *st)
{
	rm->map_trusted =
		rm->map_trusted && st->changed && page_map_grow(&rm->map, st->pages) == 0;
	for (uint64_t p = 0; rm->map_trusted && p < st->pages; p++)
		if (st->changed[p / 64] >> p % 64 & 1)
			rm->map.at[p].segment = 0;
}

static int page_unchanged(struct remote *rm, uint64_t page, uint8_t *scratch)
{
	int r;

	if (rm->map_trusted)
		return 1;
	r = pagefile_read_sealed(rm->fs->pf, page, scratch);
	return r < 0 ? r : version_of(scratch) == rm->map.at[page].version;
}

/* Forgets the place of what changed, counts what is alive of each segment (live) and what
 * is nowhere (returned). */
static int map_refresh(struct remote *rm, const struct page_state *st, uint32_t *live,
		       uint64_t *ret_new)
{
	uint8_t scratch[PAGE_BYTES];
	uint64_t fresh = 0;

	for (uint64_t p = 0; p < rm->map.n; p++) {
		struct page_at *at = &rm->map.at[p];
		ssize_t s = at->segment ? segment_find(&rm->man, at->segment) : -1;
		int same = 1;

		if (s >= 0 && page_state_uses(st, p))
			same = page_unchanged(rm, p, scratch);
		if (same < 0)
			return same;
		if (s < 0 || !same || !page_state_uses(st, p))
			at->segment = 0;
		if (at->segment)
			live[s]++;
		else
			fresh += page_state_uses(st, p);
	}
	*ret_new = fresh;
	return 0;
}

/* Which segments are taken along: from the newest back. Returns how many pages are to be put. */
static uint64_t choose(const struct manifest *m, const uint32_t *live, uint64_t fresh,
		       bool *drop)
{
	for (size_t i = m->n_segments; i-- > 0;) {
		uint32_t pages = m->segments[i].pages;

		drop[i] = m->segments[i].harmed || 2 * live[i] <= pages ||
			  (pages < SEGMENT_PAGES && live[i] <= fresh);
		if (drop[i])
			fresh += live[i];
	}
	return fresh;
}

static int keep_or_drop(struct remote *rm, const bool *drop, struct manifest *next)
{
	const struct manifest *m = &rm->man;

	for (size_t i = 0; i < m->n_segments; i++) {
		struct manifest_drop *d = &next->drops[next->n_drops];

		if (!drop[i]) {
			next->segments[next->n_segments++] = m->segments[i];
			continue;
		}
		*d = (struct manifest_drop) { 's', m->segments[i].number, { 0 } };
		memcpy(d->id, m->segments[i].hash, sizeof(d->id));
		next->n_drops++;
	}
	for (uint64_t p = 0; p < rm->map.n; p++) {
		ssize_t s = segment_find(m, rm->map.at[p].segment);

		if (s >= 0 && drop[s])
			rm->map.at[p].segment = 0;
	}
	return 0;
}

/* --- putting them --- */

/* Builds a segment of the next pages that are nowhere, from *at on. */
static int segment_build(struct remote *rm, const struct page_state *st, uint64_t *at,
			 struct manifest_segment *seg, struct buf *b)
{
	struct segment_head head = { .magic = SEGMENT_MAGIC,
				     .version = le32_put(SEGMENT_VERSION),
				     .number = le64_put(seg->number) };
	le64 numbers[SEGMENT_PAGES];
	uint32_t n = 0;
	int r;

	for (; *at < st->pages && n < SEGMENT_PAGES; ++*at)
		if (page_state_uses(st, *at) && !rm->map.at[*at].segment)
			numbers[n++] = le64_put(*at);
	if (!n)
		return 0;
	seg->pages = n;
	head.pages = le32_put(n);
	memcpy(head.store_id, rm->fs->header.store_id, STORE_ID_BYTES);
	b->n = 0;
	r = buf_append(b, &head, sizeof(head));
	if (r == 0)
		r = buf_append(b, numbers, n * sizeof(le64));
	if (r == 0)
		r = buf_reserve(b, (size_t)n * PAGE_BYTES);
	for (uint32_t i = 0; r == 0 && i < n; i++) {
		uint64_t p = le64_get(numbers[i]);

		r = pagefile_read_sealed(rm->fs->pf, p, b->p + b->n);
		rm->map.at[p].version = version_of(b->p + b->n);
		rm->map.at[p].segment = seg->number;
		b->n += PAGE_BYTES;
	}
	return r < 0 ? r : 1;
}

/* The pages that are nowhere, into the manifest. */
static int put_tail(struct remote *rm, const struct page_state *st, struct manifest *next)
{
	int r = 0;

	next->pages = calloc(rm->tail_pages + 1, sizeof(*next->pages));
	if (!next->pages)
		return -ENOMEM;
	for (uint64_t p = 0; r == 0 && p < st->pages; p++) {
		struct manifest_page_row *row = &next->pages[next->n_pages];

		if (!page_state_uses(st, p) || rm->map.at[p].segment)
			continue;
		assert(next->n_pages < rm->tail_pages);
		row->page = le64_put(p);
		r = pagefile_read_sealed(rm->fs->pf, p, row->sealed);
		next->n_pages++;
	}
	return r;
}

static int put_new(struct remote *rm, const struct page_state *st, struct manifest *next)
{
	_cleanup_(buf_release) struct buf b = BUF_INIT;
	uint64_t at = 0;
	int r;

	for (;;) {
		struct manifest_segment seg = { .number = next->next_segment };

		r = segment_build(rm, st, &at, &seg, &b);
		if (r <= 0)
			return r;
		hash256(buf_span(&b), seg.hash);
		rm->strays = true;
		r = remote_put_bytes(rm->up.os,
				     key_of(rm->instance, 's', seg.number, seg.hash).text,
				     buf_span(&b), 0);
		if (r < 0)
			return r;
		next->segments[next->n_segments++] = seg;
		next->next_segment++;
	}
}

int remote_put_pages(struct remote *rm, const struct page_state *st,
		     struct manifest *next)
{
	size_t n = rm->man.n_segments + 1;
	_cleanup_free_ uint32_t *live = calloc(n, sizeof(*live));
	_cleanup_free_ bool *drop = calloc(n, sizeof(*drop));
	uint64_t fresh;
	int r = live && drop ? page_map_grow(&rm->map, st->pages) : -ENOMEM;

	if (r == 0)
		r = map_refresh(rm, st, live, &fresh);
	if (r < 0)
		return r;
	/* From now on what changed is known without reading it. */
	rm->map_trusted = true;
	fresh = choose(&rm->man, live, fresh, drop);
	next->segments =
		calloc(n + st->pages / SEGMENT_PAGES + 1, sizeof(*next->segments));
	if (!next->segments)
		return -ENOMEM;
	r = keep_or_drop(rm, drop, next);
	if (r < 0)
		return r;
	return fresh <= rm->tail_pages ? put_tail(rm, st, next) : put_new(rm, st, next);
}

/* --- reading a segment --- */

uint64_t remote_segment_bytes(const struct manifest_segment *s)
{
	return sizeof(struct segment_head) +
	       (uint64_t)s->pages * (sizeof(le64) + PAGE_BYTES);
}

static int segment_each(struct span bytes, const struct manifest_segment *s,
			const struct keys *keys, const struct segment_pages *to)
{
	struct segment_head head;
	const le64 *numbers;
	uint8_t hash[32];
	int r = 0;

	hash256(bytes, hash);
	if (bytes.n < sizeof(head) || memcmp(hash, s->hash, sizeof(hash)))
		return err_set(
			E_CORRUPT,
			"segment %llu of the bucket is not the one that the manifest "
			"names",
			(unsigned long long)s->number);
	memcpy(&head, bytes.p, sizeof(head));
	if (memcmp(head.magic, SEGMENT_MAGIC, sizeof(head.magic)) ||
	    memcmp(head.store_id, keys_store_id(keys), STORE_ID_BYTES) ||
	    le32_get(head.pages) != s->pages || bytes.n != remote_segment_bytes(s))
		return err_set(E_CORRUPT,
			       "segment %llu of the bucket is none of this store",
			       (unsigned long long)s->number);
	numbers = (const void *)(bytes.p + sizeof(head));
	for (uint32_t i = 0; r == 0 && i < s->pages; i++)
		r = to->each(to->arg, le64_get(numbers[i]),
			     bytes.p + sizeof(head) + s->pages * sizeof(le64) +
				     (size_t)i * PAGE_BYTES);
	return r;
}

static int get_segment(struct remote *rm, const struct manifest_segment *s,
		       const struct segment_pages *to, struct buf *scratch)
{
	struct object_key key = key_of(rm->instance, 's', s->number, s->hash);
	int r;

	scratch->n = 0;
	r = object_get(rm->up.os, key.text, (struct object_range) { 0, 0 }, scratch);
	if (r == -ENOENT)
		return err_set(E_CORRUPT, "segment %llu is gone from the bucket",
			       (unsigned long long)s->number);
	return r < 0 ? r : segment_each(buf_span(scratch), s, rm->fs->keys, to);
}

int remote_get_segment(struct remote *rm, const struct manifest_segment *s,
		       const struct segment_pages *to, struct buf *scratch)
{
	int r = -E_CORRUPT;

	for (unsigned tries = 0; tries < 1 + WRONG_TRIES && r == -E_CORRUPT; tries++)
		r = get_segment(rm, s, to, scratch); /* a bad line, perhaps */
	return r;
}

int remote_each_page(const struct manifest *m, const struct segment_pages *to)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < m->n_pages; i++)
		r = to->each(to->arg, le64_get(m->pages[i].page), m->pages[i].sealed);
	return r;
}

/* --- the map as a file --- */

void remote_map_save(struct remote *rm)
{
	_cleanup_(buf_release) struct buf b = BUF_INIT;
	struct map_head head = { .magic = MAP_MAGIC,
				 .manifest = le64_put(rm->man.number),
				 .pages = le64_put(rm->map.n) };
	uint8_t hash[32];
	int r = buf_append(&b, &head, sizeof(head));

	for (uint64_t p = 0; r == 0 && p < rm->map.n; p++) {
		struct map_row row = { le64_put(rm->map.at[p].segment),
				       le64_put(rm->map.at[p].version) };

		r = buf_append(&b, &row, sizeof(row));
	}
	if (r == 0) {
		hash256(buf_span(&b), hash);
		r = buf_append(&b, hash, sizeof(hash));
	}
	if (r == 0)
		io_publish(rm->fs->io, MAP_NAME, b.p, b.n);
}

void remote_map_load(struct remote *rm)
{
	_cleanup_(buf_release) struct buf b = BUF_INIT;
	struct map_head head;
	uint8_t hash[32];
	uint64_t n;

	if (remote_file_read(rm->fs->io, MAP_NAME, &b) < 0 ||
	    b.n < sizeof(head) + sizeof(hash))
		return;
	memcpy(&head, b.p, sizeof(head));
	hash256(span_of(b.p, b.n - sizeof(hash)), hash);
	n = le64_get(head.pages);
	if (memcmp(hash, b.p + b.n - sizeof(hash), sizeof(hash)) ||
	    memcmp(head.magic, MAP_MAGIC, sizeof(head.magic)) ||
	    le64_get(head.manifest) != rm->man.number ||
	    b.n != sizeof(head) + n * sizeof(struct map_row) + sizeof(hash) ||
	    page_map_grow(&rm->map, n) < 0)
		return;
	for (uint64_t p = 0; p < n; p++) {
		struct map_row row;

		memcpy(&row, b.p + sizeof(head) + p * sizeof(row), sizeof(row));
		rm->map.at[p] =
			(struct page_at) { le64_get(row.segment), le64_get(row.version) };
	}
}
