/* fuzz_page.c - nodes, superblock and bitmap of the page file (core/page, core/rope,
 * core/catalog), sealed as they are, in a store that opens with them. An input is pieces:
 *
 *	0  a node's image, zeros behind it; the first is the root of the catalog
 *	1  what a superblock seals
 *	2  a page of the bitmap
 */
#include "tests/fuzz/pages.h"

#include <sys/stat.h>

#include "core/catalog/btree_node.h"
#include "core/catalog/row.h"
#include "core/rope/rope_node.h"
#include "tests/fuzz/pieces.h"

struct input {
	uint8_t images[FUZZ_PAGES_MAX][PAGE_PAYLOAD];
	uint8_t super[SUPER_BODY_BYTES], bitmap[PAGE_PAYLOAD];
};

static void take(struct input *in, struct fuzz_pages *pages,
		 const struct fuzz_piece *piece)
{
	if (piece->kind == 0 && pages->n < FUZZ_PAGES_MAX)
		memcpy(in->images[pages->n++], piece->p,
		       MIN(piece->n, (size_t)PAGE_PAYLOAD));
	if (piece->kind == 1) {
		memcpy(in->super, piece->p, MIN(piece->n, sizeof(in->super)));
		pages->super = in->super;
	}
	if (piece->kind == 2) {
		memcpy(in->bitmap, piece->p, MIN(piece->n, sizeof(in->bitmap)));
		pages->bitmap = in->bitmap;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct input *in = calloc(1, sizeof(*in));
	uint8_t *copy = malloc(n ? n : 1);
	struct fuzz_pages pages;
	struct io *io = fuzz_disk();
	struct fuzz_piece piece;
	size_t at = 0;

	FUZZ_MUST(in && copy ? 0 : -1);
	pages = (struct fuzz_pages) { .images = in->images };
	memcpy(copy, p, n);
	while (fuzz_next_piece(copy, n, &at, &piece))
		take(in, &pages, &piece);
	fuzz_put_pages(io, &pages);
	fuzz_use(io);
	free(copy);
	free(in);
	return 0;
}

/* --- mending: what a node says of its cells --- */

static void mend_cells(uint8_t *image)
{
	struct btree_node *node = (struct btree_node *)image;
	unsigned n = MIN(le16_get(node->head.n), BTREE_CELLS_MAX), used = 0,
		 low = PAGE_PAYLOAD;

	node->head.kind = node->head.level ? NODE_BTREE_INNER : NODE_BTREE_LEAF;
	node->head.n = le16_put((uint16_t)n);
	node->prefix = le16_put(0);
	for (unsigned i = 0; i < n; i++) {
		unsigned off = le16_get(node->slots[i].off);
		const struct btree_cell *c = (const struct btree_cell *)(image + off);
		uint8_t hint[4] = { 0 };

		if (off + sizeof(*c) > PAGE_PAYLOAD ||
		    off + sizeof(*c) + le16_get(c->key_n) > PAGE_PAYLOAD)
			continue;
		memcpy(hint, c->bytes, MIN(le16_get(c->key_n), sizeof(hint)));
		node->slots[i].hint =
			le32_put((uint32_t)hint[0] << 24 | (uint32_t)hint[1] << 16 |
				 (uint32_t)hint[2] << 8 | hint[3]);
		used += bcell_bytes(le16_get(c->key_n), le16_get(c->value_n));
		low = MIN(low, off);
	}
	node->head.used = le32_put(used);
	node->low = le16_put((uint16_t)low);
}

void fuzz_mend(uint8_t *p, size_t n)
{
	struct fuzz_piece piece;
	size_t at = 0;

	while (fuzz_next_piece(p, n, &at, &piece)) {
		uint8_t image[PAGE_PAYLOAD] = { 0 };
		const struct node_head *head = (const struct node_head *)image;

		if (piece.kind != 0 || piece.n < sizeof(struct btree_node))
			continue;
		memcpy(image, piece.p, MIN(piece.n, sizeof(image)));
		if (head->kind != NODE_ROPE_LEAF && head->kind != NODE_ROPE_INNER)
			mend_cells(image);
		memcpy(piece.p, image, MIN(piece.n, sizeof(image)));
	}
}

/* --- seeds --- */

struct making {
	struct buf input;
	uint8_t image[PAGE_PAYLOAD];
};

static void begin(struct making *m, enum node_kind kind, unsigned level)
{
	struct node_head *head = (struct node_head *)m->image;

	memset(m->image, 0, sizeof(m->image));
	head->birth = le64_put(1);
	head->kind = kind;
	head->level = (uint8_t)level;
	if (kind == NODE_BTREE_LEAF || kind == NODE_BTREE_INNER)
		bnode_init(m->image);
}

static void end(struct making *m)
{
	fuzz_put_piece(&m->input, 0, m->image, sizeof(m->image));
}

static void give_input(struct making *m, fuzz_give_fn give, void *arg, const char *name)
{
	give(arg, name, m->input.p, m->input.n);
	buf_release(&m->input);
	*m = (struct making) { 0 };
}

static struct noderef child(unsigned i)
{
	return (struct noderef) { .at = le64_put(FUZZ_PAGE_FIRST + i),
				  .birth = le64_put(1) };
}

static struct inode_row inode(uint32_t mode, uint64_t bytes)
{
	return (struct inode_row) { .version = le32_put(INODE_ROW_VERSION),
				    .mode = le32_put(mode),
				    .nlink = le32_put(1),
				    .parent = le64_put(1),
				    .rope = { .bytes = le64_put(bytes) } };
}

static void add_inode(struct making *m, unsigned i, uint64_t ino,
		      const struct inode_row *row)
{
	struct row_key key = row_key(ROW_INODE, ino);

	bnode_insert(m->image, i, row_span(&key), span_of(row, sizeof(*row)));
}

/* A directory with files: extents in the row, and below it a rope of two levels. */
static void give_tree(fuzz_give_fn give, void *arg)
{
	struct inode_row dir = inode(S_IFDIR | 0755, 0),
			 small = inode(S_IFREG | 0644, 100);
	struct inode_row big = inode(S_IFREG | 0644, 3000);
	struct making m = { 0 };
	struct noderef ref;

	begin(&m, NODE_BTREE_INNER, 1);
	ref = child(1);
	bnode_insert(m.image, 0, span_of("", 0), span_of(&ref, sizeof(ref)));
	end(&m);
	begin(&m, NODE_BTREE_LEAF, 0);
	small.rope.n_inline = 1;
	small.rope.u.ext[0] = extent_hole(100);
	big.rope.levels = 2;
	big.rope.u.root = child(2);
	add_inode(&m, 0, 1, &dir);
	add_inode(&m, 1, 3, &small);
	add_inode(&m, 2, 5, &big);
	end(&m);
	begin(&m, NODE_ROPE_INNER, 1);
	node_set_n(m.image, 2);
	for (unsigned i = 0; i < 2; i++)
		edit_inner(m.image)->entry[i] =
			(struct rope_entry) { .child = child(3 + i),
					      .bytes = le64_put(1500) };
	end(&m);
	for (unsigned i = 0; i < 2; i++) {
		begin(&m, NODE_ROPE_LEAF, 0);
		node_set_n(m.image, 2);
		edit_leaf(m.image)->ext[0] = extent_hole(500);
		edit_leaf(m.image)->ext[1] = extent_hole(1000);
		end(&m);
	}
	give_input(&m, give, arg, "tree");
}

/* A root whose child is said to be in memory, as only nodes that were never written have it. */
static void give_memory(fuzz_give_fn give, void *arg)
{
	struct noderef ref = { .at = le64_put(NODEREF_MEMORY | 1001),
			       .birth = le64_put(1) };
	struct making m = { 0 };

	begin(&m, NODE_BTREE_INNER, 1);
	bnode_insert(m.image, 0, span_of("", 0), span_of(&ref, sizeof(ref)));
	end(&m);
	give_input(&m, give, arg, "tree_memory");
}

/* A file with that extent. */
static void give_extent(fuzz_give_fn give, void *arg, const char *name, struct extent e)
{
	struct inode_row small = inode(S_IFREG | 0644, 100);
	struct inode_row dir = inode(S_IFDIR | 0755, 0);
	struct making m = { 0 };

	begin(&m, NODE_BTREE_LEAF, 0);
	small.rope.n_inline = 1;
	small.rope.u.ext[0] = e;
	add_inode(&m, 0, 1, &dir);
	add_inode(&m, 1, 3, &small);
	end(&m);
	give_input(&m, give, arg, name);
}

/* A superblock, but for one byte. */
static void give_super(fuzz_give_fn give, void *arg, const char *name, unsigned at,
		       uint8_t byte)
{
	uint8_t super[SUPER_BODY_BYTES] = { 8 };
	struct making m = { 0 };

	super[offsetof(struct super_body, lsn)] = 100;
	super[offsetof(struct super_body, epoch)] = 50;
	super[offsetof(struct super_body, next_ino)] = 30;
	super[offsetof(struct super_body, next_pack)] = 7;
	super[offsetof(struct super_body, pages)] = 40;
	super[at] = byte;
	fuzz_put_piece(&m.input, 1, super, sizeof(super));
	give_input(&m, give, arg, name);
}

static void give_bitmap(fuzz_give_fn give, void *arg, const char *name, uint64_t used)
{
	struct bitmap_page bitmap = { .n_words = le32_put(1),
				      .words[0] = le64_put(used) };
	struct making m = { 0 };

	fuzz_put_piece(&m.input, 2, &bitmap, sizeof(bitmap));
	give_input(&m, give, arg, name);
}

/* Behind the first of each, what once broke an assertion. */
void fuzz_seeds(fuzz_give_fn give, void *arg)
{
	give_tree(give, arg);
	give_memory(give, arg);
	give_extent(give, arg, "tree_hot", extent_hot(1, 0, 100));
	give_extent(give, arg, "tree_nothing", (struct extent) { 0 });
	give_super(give, arg, "super", 0, 8);
	give_super(give, arg, "super_epochs", offsetof(struct super_body, snap_epoch),
		   51);
	give_super(give, arg, "super_ino", offsetof(struct super_body, next_ino), 0);
	give_super(give, arg, "super_snap", offsetof(struct super_body, next_snap) + 3,
		   1);
	give_bitmap(give, arg, "bitmap", 0x1fff);
	give_bitmap(give, arg, "bitmap_itself", 3);
}
