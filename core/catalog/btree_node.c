/* btree_node.c - the cells of one node.
 *
 * Slots carry four bytes of their key behind what all keys of the node share, so that a
 * binary search reads the slots alone (the "poor man's normalized keys" of Graefe,
 * "Modern B-tree techniques", 2011). Keys that arrive at an end of the node may shorten
 * the shared part; then all hints are made anew. Removing never lengthens it: that waits
 * until the node is filled again. */
#include "core/catalog/btree_node.h"

#include <string.h>

#include "core/base/err.h"
#include "core/catalog/btree.h"

static struct btree_node *edit_of(uint8_t *image)
{
	return (struct btree_node *)image;
}

/* The first slot whose key counts for searching. */
static unsigned first_slot(const uint8_t *image)
{
	return bnode_level(image) ? 1 : 0;
}

int span_cmp(struct span a, struct span b)
{
	size_t n = MIN(a.n, b.n);
	int c = n ? memcmp(a.p, b.p, n) : 0;

	if (c)
		return c;
	return (a.n > b.n) - (a.n < b.n);
}

static unsigned span_shared(struct span a, struct span b)
{
	unsigned n = (unsigned)MIN(a.n, b.n);
	unsigned i = 0;

	while (i < n && a.p[i] == b.p[i])
		i++;
	return i;
}

static uint32_t hint_of(struct span key, unsigned prefix)
{
	size_t n = key.n - prefix;
	uint32_t v = 0;

	assert(prefix <= key.n);
	if (n >= sizeof(v)) {
		memcpy(&v, key.p + prefix, sizeof(v));
		return be32toh(v);
	}
	for (size_t i = 0; i < n; i++)
		v |= (uint32_t)key.p[prefix + i] << (24 - 8 * i);
	return v;
}

/* How key compares with what all keys of the node share; i is any of them. */
static int compare_prefix(const uint8_t *image, struct span key, unsigned i)
{
	unsigned prefix = le16_get(bnode_of(image)->prefix);

	return span_cmp(span_of(key.p, MIN(prefix, key.n)),
			span_of(bnode_key(image, i).p, prefix));
}

/* Searches as if key had the shared prefix, and then looks whether it has, at a key
 * beside the place found: the caller will want that cell anyway, so it costs no memory
 * access. */
unsigned bnode_find(const uint8_t *image, struct span key, bool *ret_found)
{
	const struct btree_node *nd = bnode_of(image);
	const unsigned first = first_slot(image), n = bnode_n(image);
	unsigned lo = first, hi = n, prefix = le16_get(nd->prefix);
	uint32_t hint;
	int c;

	*ret_found = false;
	if (first >= n)
		return n;
	hint = hint_of(key, (unsigned)MIN(prefix, key.n));
	while (lo < hi) {
		unsigned mid = (lo + hi) / 2;
		uint32_t h = le32_get(nd->slots[mid].hint);

		c = (h > hint) - (h < hint);
		if (c == 0)
			c = span_cmp(bnode_key(image, mid), key);
		if (c == 0) {
			*ret_found = true;
			return mid;
		}
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	c = compare_prefix(image, key, lo > first ? lo - 1 : lo);
	if (c)
		return c < 0 ? first : n;
	return lo;
}

unsigned bnode_find_child(const uint8_t *image, struct span key)
{
	bool found;
	unsigned i = bnode_find(image, key, &found);

	assert(bnode_level(image) > 0);
	assert(i > 0);
	return found ? i : i - 1;
}

void bnode_init(uint8_t *image)
{
	struct btree_node *nd = edit_of(image);

	nd->head.n = le16_put(0);
	nd->head.used = le32_put(0);
	nd->low = le16_put(PAGE_PAYLOAD);
	nd->prefix = le16_put(0);
	nd->last = le16_put(0);
}

/* Finds out what all keys share and makes all hints. */
static void set_hints(uint8_t *image)
{
	struct btree_node *nd = edit_of(image);
	unsigned first = first_slot(image), n = bnode_n(image);
	unsigned prefix = 0;

	if (first < n)
		prefix = span_shared(bnode_key(image, first), bnode_key(image, n - 1));
	nd->prefix = le16_put((uint16_t)prefix);
	for (unsigned i = first; i < n; i++)
		nd->slots[i].hint = le32_put(hint_of(bnode_key(image, i), prefix));
}

/* Makes the hint of the cell just inserted at i, and all others when it shares less. */
static void set_hint(uint8_t *image, unsigned i)
{
	struct btree_node *nd = edit_of(image);
	unsigned first = first_slot(image), n = bnode_n(image);
	unsigned prefix = le16_get(nd->prefix);

	if (i < first)
		return;
	if (n - first == 1 ||
	    ((i == first || i == n - 1) &&
	     span_shared(bnode_key(image, first), bnode_key(image, n - 1)) < prefix)) {
		set_hints(image);
		return;
	}
	nd->slots[i].hint = le32_put(hint_of(bnode_key(image, i), prefix));
}

/* Puts a cell below the others; there is a gap for it. */
static void write_cell(uint8_t *image, unsigned i, struct span key, struct span value)
{
	struct btree_node *nd = edit_of(image);
	unsigned bytes = bcell_bytes(key.n, value.n);
	unsigned off = le16_get(nd->low) - bytes;
	struct btree_cell *c = (struct btree_cell *)(image + off);

	assert(key.n <= BTREE_KEY_MAX && value.n <= BTREE_VALUE_MAX);
	assert(off >= sizeof(*nd) + (i + 1) * sizeof(nd->slots[0]));
	c->key_n = le16_put((uint16_t)key.n);
	c->value_n = le16_put((uint16_t)value.n);
	if (key.n)
		memcpy(c->bytes, key.p, key.n);
	if (value.n)
		memcpy(c->bytes + key.n, value.p, value.n);
	nd->low = le16_put((uint16_t)off);
	nd->head.used = le32_put(le32_get(nd->head.used) + bytes);
	nd->slots[i].off = le16_put((uint16_t)off);
	nd->slots[i].hint = le32_put(0);
}

unsigned bnode_gather(const uint8_t *image, struct bcell *ret_cells)
{
	unsigned n = bnode_n(image);

	assert(n <= BTREE_CELLS_MAX);
	for (unsigned i = 0; i < n; i++)
		ret_cells[i] =
			(struct bcell) { bnode_key(image, i), bnode_value(image, i) };
	return n;
}

void bnode_fill(uint8_t *image, const struct bcell *cells, unsigned n)
{
	bool inner = bnode_level(image) > 0;

	assert(n > 0 && n <= BTREE_CELLS_MAX);
	bnode_init(image);
	edit_of(image)->head.n = le16_put((uint16_t)n);
	for (unsigned i = n; i-- > 0;)
		write_cell(image, i, i || !inner ? cells[i].key : span_of(NULL, 0),
			   cells[i].value);
	set_hints(image);
	assert(bnode_full(image) <= BTREE_ROOM);
}

/* Closes the gaps between cells. */
static void bnode_compact(uint8_t *image)
{
	struct bcell cells[BTREE_CELLS_MAX];
	uint8_t old[PAGE_PAYLOAD];
	le16 last = bnode_of(image)->last;
	unsigned n;

	memcpy(old, image, sizeof(old));
	n = bnode_gather(old, cells);
	bnode_fill(image, cells, n);
	edit_of(image)->last = last;
}

void bnode_insert(uint8_t *image, unsigned i, struct span key, struct span value)
{
	struct btree_node *nd = edit_of(image);
	unsigned n = bnode_n(image);
	size_t slots_end = sizeof(*nd) + n * sizeof(nd->slots[0]);

	assert(i <= n);
	assert(bnode_full(image) + bcell_room(key.n, value.n) <= BTREE_ROOM);
	if (le16_get(nd->low) < slots_end + bcell_room(key.n, value.n))
		bnode_compact(image);
	memmove(&nd->slots[i + 1], &nd->slots[i], (n - i) * sizeof(nd->slots[0]));
	nd->head.n = le16_put((uint16_t)(n + 1));
	nd->last = le16_put((uint16_t)(i + 1));
	write_cell(image, i, key, value);
	set_hint(image, i);
}

void bnode_set_value(uint8_t *image, unsigned i, struct span value)
{
	struct span old = bnode_value(image, i);

	assert(i < bnode_n(image));
	assert(old.n == value.n);
	if (value.n)
		memcpy(image + (old.p - image), value.p, value.n);
}

void bnode_set_last(uint8_t *image, unsigned last)
{
	assert(last <= bnode_n(image));
	edit_of(image)->last = le16_put((uint16_t)last);
}

/* The first cell of an inner node loses its key, which stands for everything below. */
static void empty_first_key(uint8_t *image)
{
	struct btree_node *nd = edit_of(image);
	struct btree_cell *c = (struct btree_cell *)(image + le16_get(nd->slots[0].off));
	unsigned key_n = le16_get(c->key_n);

	memmove(c->bytes, c->bytes + key_n, le16_get(c->value_n));
	c->key_n = le16_put(0);
	nd->head.used = le32_put(le32_get(nd->head.used) - key_n);
	nd->slots[0].hint = le32_put(0);
}

void bnode_remove(uint8_t *image, unsigned i)
{
	struct btree_node *nd = edit_of(image);
	unsigned n = bnode_n(image);
	unsigned bytes = bnode_cell_room(image, i) - (unsigned)sizeof(nd->slots[0]);

	assert(i < n);
	assert(bytes <= le32_get(nd->head.used));
	if (le16_get(nd->slots[i].off) == le16_get(nd->low))
		nd->low = le16_put((uint16_t)(le16_get(nd->low) + bytes));
	nd->head.used = le32_put(le32_get(nd->head.used) - bytes);
	memmove(&nd->slots[i], &nd->slots[i + 1], (n - i - 1) * sizeof(nd->slots[0]));
	nd->head.n = le16_put((uint16_t)(n - 1));
	if (n == 1)
		bnode_init(image);
	else if (i == 0 && bnode_level(image) > 0)
		empty_first_key(image);
}

/* --- checking --- */

/* Cells lie where they may and don't overlap. */
static int check_cells(const uint8_t *image)
{
	const struct btree_node *nd = bnode_of(image);
	unsigned n = bnode_n(image), low = le16_get(nd->low);
	uint8_t taken[PAGE_PAYLOAD] = { 0 };
	uint64_t sum = 0;

	if (n == 0 || n > BTREE_CELLS_MAX || low > PAGE_PAYLOAD ||
	    low < sizeof(*nd) + n * sizeof(nd->slots[0]))
		return err_set(E_CORRUPT, "catalog: a node of %u cells from byte %u on",
			       n, low);
	for (unsigned i = 0; i < n; i++) {
		unsigned off = le16_get(nd->slots[i].off), bytes, key_n, value_n;

		if (off < low || off + sizeof(struct btree_cell) > PAGE_PAYLOAD)
			return err_set(E_CORRUPT,
				       "catalog: cell %u of a node lies at byte %u", i,
				       off);
		key_n = le16_get(bnode_cell(image, i)->key_n);
		value_n = le16_get(bnode_cell(image, i)->value_n);
		bytes = bcell_bytes(key_n, value_n);
		if (key_n > BTREE_KEY_MAX || value_n > BTREE_VALUE_MAX ||
		    off + bytes > PAGE_PAYLOAD || memchr(taken + off, 1, bytes))
			return err_set(E_CORRUPT,
				       "catalog: cell %u of a node has %u bytes of key, "
				       "%u of value, at byte %u",
				       i, key_n, value_n, off);
		memset(taken + off, 1, bytes);
		sum += bytes;
	}
	if (sum != le32_get(nd->head.used))
		return err_set(E_CORRUPT,
			       "catalog: a node counts %u bytes of cells and has %u",
			       le32_get(nd->head.used), (unsigned)sum);
	return 0;
}

/* Keys rise, share what they should, and fit their hints. Cells were checked. */
static int check_keys(const uint8_t *image)
{
	const struct btree_node *nd = bnode_of(image);
	unsigned first = first_slot(image), n = bnode_n(image);
	unsigned prefix = le16_get(nd->prefix);

	for (unsigned i = first; i < n; i++) {
		struct span key = bnode_key(image, i);

		if (i > 0 && span_cmp(bnode_key(image, i - 1), key) >= 0)
			return err_set(E_CORRUPT,
				       "catalog: cells %u and %u of a node are out of "
				       "order",
				       i - 1, i);
		if (key.n < prefix ||
		    (prefix && memcmp(key.p, bnode_key(image, first).p, prefix)) ||
		    le32_get(nd->slots[i].hint) != hint_of(key, prefix))
			return err_set(E_CORRUPT,
				       "catalog: cell %u of a node does not fit its "
				       "hint",
				       i);
	}
	return 0;
}

static int check_children(const uint8_t *image)
{
	if (bnode_key(image, 0).n != 0)
		return err_set(E_CORRUPT, "catalog: an inner node begins with a key");
	for (unsigned i = 0; i < bnode_n(image); i++) {
		struct span v = bnode_value(image, i);

		if (v.n != sizeof(struct noderef) ||
		    noderef_is_none((const struct noderef *)v.p))
			return err_set(E_CORRUPT,
				       "catalog: cell %u of an inner node is no "
				       "reference",
				       i);
	}
	return 0;
}

int btree_check_image(const uint8_t *image)
{
	const struct node_head *h = &bnode_of(image)->head;
	int r;

	if (h->kind != (h->level ? NODE_BTREE_INNER : NODE_BTREE_LEAF))
		return err_set(E_CORRUPT, "catalog: a node of kind %u at level %u",
			       h->kind, h->level);
	r = check_cells(image);
	if (r < 0)
		return r;
	if (h->level) {
		r = check_children(image);
		if (r < 0)
			return r;
	}
	return check_keys(image);
}
