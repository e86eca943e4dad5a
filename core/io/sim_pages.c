/* sim_pages.c - see sim_pages.h. Two levels: an array of leaves, each of 64 pages; leaves
 * and pages carry counts of the leaves and maps that point at them. */
#include "core/io/sim_pages.h"

#include <string.h>

#define PAGE_BYTES 4096u
#define LEAF_PAGES 64u

struct sim_page {
	unsigned refs;
	uint8_t bytes[PAGE_BYTES];
};

struct sim_leaf {
	unsigned refs;
	struct sim_page *pages[LEAF_PAGES]; /* NULL: zeros */
};

void *sim_realloc(void *p, size_t n, size_t each)
{
	p = reallocarray(p, n, each);
	if (!p)
		abort();
	return p;
}

static void page_put(struct sim_page *page)
{
	if (!page)
		return;
	assert(page->refs > 0);
	if (--page->refs == 0)
		free(page);
}

static void leaf_put(struct sim_leaf *leaf)
{
	if (!leaf)
		return;
	assert(leaf->refs > 0);
	if (--leaf->refs > 0)
		return;
	for (unsigned i = 0; i < LEAF_PAGES; i++)
		page_put(leaf->pages[i]);
	free(leaf);
}

void sim_pages_release(struct sim_pages *m)
{
	for (size_t i = 0; i < m->n_leaves; i++)
		leaf_put(m->leaves[i]);
	free(m->leaves);
	*m = (struct sim_pages) { 0 };
}

void sim_pages_copy(struct sim_pages *to, const struct sim_pages *from)
{
	struct sim_pages copy = { .n_leaves = from->n_leaves, .bytes = from->bytes };

	if (from->n_leaves)
		copy.leaves = sim_realloc(NULL, from->n_leaves, sizeof(*copy.leaves));
	for (size_t i = 0; i < from->n_leaves; i++) {
		copy.leaves[i] = from->leaves[i];
		if (copy.leaves[i])
			copy.leaves[i]->refs++;
	}
	sim_pages_release(to);
	*to = copy;
}

static const struct sim_page *page_of(const struct sim_pages *m, uint64_t index)
{
	uint64_t i = index / LEAF_PAGES;

	if (i >= m->n_leaves || !m->leaves[i])
		return NULL;
	return m->leaves[i]->pages[index % LEAF_PAGES];
}

/* The leaf, grown into being if needed and ours alone. */
static struct sim_leaf *leaf_own(struct sim_pages *m, uint64_t i)
{
	struct sim_leaf *old, *own;

	if (i >= m->n_leaves) {
		size_t n = (size_t)i + 1;

		m->leaves = sim_realloc(m->leaves, n, sizeof(*m->leaves));
		memset(m->leaves + m->n_leaves, 0,
		       (n - m->n_leaves) * sizeof(*m->leaves));
		m->n_leaves = n;
	}
	old = m->leaves[i];
	if (old && old->refs == 1)
		return old;
	own = sim_realloc(NULL, 1, sizeof(*own));
	*own = old ? *old : (struct sim_leaf) { 0 };
	own->refs = 1;
	for (unsigned k = 0; k < LEAF_PAGES; k++)
		if (own->pages[k])
			own->pages[k]->refs++;
	leaf_put(old);
	m->leaves[i] = own;
	return own;
}

static struct sim_page *page_own(struct sim_pages *m, uint64_t index)
{
	struct sim_leaf *leaf = leaf_own(m, index / LEAF_PAGES);
	struct sim_page **slot = &leaf->pages[index % LEAF_PAGES];
	struct sim_page *own;

	if (*slot && (*slot)->refs == 1)
		return *slot;
	own = sim_realloc(NULL, 1, sizeof(*own));
	if (*slot)
		memcpy(own->bytes, (*slot)->bytes, PAGE_BYTES);
	else
		memset(own->bytes, 0, PAGE_BYTES);
	own->refs = 1;
	page_put(*slot);
	*slot = own;
	return own;
}

size_t sim_pages_read(const struct sim_pages *m, void *p, size_t n, uint64_t off)
{
	uint8_t *to = p;
	size_t done = 0;

	if (off >= m->bytes)
		return 0;
	n = (size_t)MIN((uint64_t)n, m->bytes - off);
	while (done < n) {
		size_t in = (size_t)((off + done) % PAGE_BYTES);
		size_t len = MIN(n - done, PAGE_BYTES - in);
		const struct sim_page *page = page_of(m, (off + done) / PAGE_BYTES);

		if (page)
			memcpy(to + done, page->bytes + in, len);
		else
			memset(to + done, 0, len);
		done += len;
	}
	return n;
}

void sim_pages_write(struct sim_pages *m, const void *p, size_t n, uint64_t off)
{
	const uint8_t *from = p;
	size_t done = 0;

	assert(off + n >= off);
	while (done < n) {
		size_t in = (size_t)((off + done) % PAGE_BYTES);
		size_t len = MIN(n - done, PAGE_BYTES - in);
		struct sim_page *page = page_own(m, (off + done) / PAGE_BYTES);

		memcpy(page->bytes + in, from + done, len);
		done += len;
	}
	if (n)
		m->bytes = MAX(m->bytes, off + n);
}

void sim_pages_resize(struct sim_pages *m, uint64_t bytes)
{
	uint64_t first = align_up(bytes, PAGE_BYTES) / PAGE_BYTES; /* to be dropped */

	if (bytes >= m->bytes) {
		m->bytes = bytes;
		return;
	}
	if (bytes % PAGE_BYTES && page_of(m, bytes / PAGE_BYTES)) {
		struct sim_page *page = page_own(m, bytes / PAGE_BYTES);
		size_t in = (size_t)(bytes % PAGE_BYTES);

		memset(page->bytes + in, 0, PAGE_BYTES - in);
	}
	for (uint64_t i = first / LEAF_PAGES; i < m->n_leaves; i++) {
		struct sim_leaf *leaf;

		if (!m->leaves[i])
			continue;
		if (i * LEAF_PAGES >= first) {
			leaf_put(m->leaves[i]);
			m->leaves[i] = NULL;
			continue;
		}
		leaf = leaf_own(m, i);
		for (unsigned k = (unsigned)(first % LEAF_PAGES); k < LEAF_PAGES; k++) {
			page_put(leaf->pages[k]);
			leaf->pages[k] = NULL;
		}
	}
	m->bytes = bytes;
}

uint8_t *sim_pages_byte(struct sim_pages *m, uint64_t off)
{
	assert(off < m->bytes);
	return &page_own(m, off / PAGE_BYTES)->bytes[off % PAGE_BYTES];
}
