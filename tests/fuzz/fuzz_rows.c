/* fuzz_rows.c - rows of the catalog (core/catalog, core/queue), in a leaf that is put in order and
 * sealed, of a store that opens with them. An input is pieces: kind is the length of the key that
 * the bytes begin with, the rest is the value. */
#include "tests/fuzz/pages.h"

#include <sys/stat.h>

#include "core/catalog/btree_node.h"
#include "core/catalog/row.h"
#include "core/queue/block.h"
#include "core/queue/queue_format.h"
#include "tests/fuzz/pieces.h"

static void say_nothing(void *arg, const char *line)
{
	(void)arg;
	(void)strlen(line);
}

static void look_at(struct span key, struct span value)
{
	struct block b;
	struct record rec;

	row_check(key, value);
	catalog_row_to_text(key, value, say_nothing, NULL);
	block_get(value, &b);
	block_seek(value, UINT64_MAX, INT64_MAX, &rec);
}

/* A leaf takes it, in its order; what is there twice or has no room is left out. */
static void put_row(uint8_t *image, struct span key, struct span value)
{
	bool found;
	unsigned i = bnode_find(image, key, &found);

	if (!found && key.n <= BTREE_KEY_MAX && value.n <= BTREE_VALUE_MAX &&
	    bnode_full(image) + bcell_room(key.n, value.n) <= BTREE_ROOM)
		bnode_insert(image, i, key, value);
}

static void put_rows(uint8_t *image, uint8_t *p, size_t n)
{
	struct node_head *head = (struct node_head *)image;
	struct fuzz_piece piece;
	size_t at = 0;

	head->birth = le64_put(1);
	head->kind = NODE_BTREE_LEAF;
	bnode_init(image);
	while (fuzz_next_piece(p, n, &at, &piece)) {
		size_t key_n = MIN((size_t)piece.kind, piece.n);
		struct span key = span_of(piece.p, key_n);
		struct span value = span_of(piece.p + key_n, piece.n - key_n);

		look_at(key, value);
		put_row(image, key, value);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	uint8_t images[1][PAGE_PAYLOAD] = { 0 };
	struct fuzz_pages pages = { .images = images, .n = 1 };
	uint8_t *copy = malloc(n ? n : 1);
	struct io *io = fuzz_disk();

	FUZZ_MUST(copy ? 0 : -1);
	memcpy(copy, p, n);
	put_rows(images[0], copy, n);
	if (bnode_n(images[0]) > 0)
		fuzz_put_pages(io, &pages);
	fuzz_use(io);
	free(copy);
	return 0;
}

/* Keys begin with a kind that there is, and a small inode; an inode's row has its version, and few
 * levels. */
void fuzz_mend(uint8_t *p, size_t n)
{
	static const char kinds[] = "CDEILOQSTX";
	struct fuzz_piece piece;
	size_t at = 0;

	while (fuzz_next_piece(p, n, &at, &piece)) {
		size_t key_n = MIN((size_t)piece.kind, piece.n);

		if (key_n < ROW_KEY_INO)
			continue;
		if (!memchr(kinds, piece.p[0], sizeof(kinds) - 1))
			piece.p[0] = (uint8_t)kinds[piece.p[0] % (sizeof(kinds) - 1)];
		memset(piece.p + 1, 0, 7);
		piece.p[8] %= 24;
		if (piece.p[0] == ROW_INODE && piece.n - key_n >= sizeof(le32))
			memcpy(piece.p + key_n, &(le32) { { INODE_ROW_VERSION } },
			       sizeof(le32));
	}
}

/* --- seeds --- */

static void add(struct buf *input, const struct row_key *key, const void *value, size_t n)
{
	struct buf row = BUF_INIT;

	FUZZ_MUST(buf_append(&row, key->b, key->n));
	if (n)
		FUZZ_MUST(buf_append(&row, value, n));
	fuzz_put_piece(input, key->n, row.p, row.n);
	buf_release(&row);
}

static struct inode_row inode(uint32_t mode)
{
	return (struct inode_row) { .version = le32_put(INODE_ROW_VERSION),
				    .mode = le32_put(mode),
				    .nlink = le32_put(1),
				    .parent = le64_put(1) };
}

static void add_entry(struct buf *input, uint64_t cookie, uint64_t ino, const char *name)
{
	uint8_t value[64] = { 0 };
	struct entry_row *row = (struct entry_row *)value;
	struct row_key key = row_key_entry(1, cookie);

	row->ino = le64_put(ino);
	row->type = 8;
	memcpy(row->name, name, strlen(name));
	add(input, &key, value, sizeof(*row) + strlen(name));
}

static void add_file(struct buf *input, uint64_t ino, uint32_t mode, unsigned extents)
{
	struct inode_row row = inode(mode);
	struct row_key key = row_key(ROW_INODE, ino);

	row.rope.n_inline = (uint8_t)extents;
	for (unsigned i = 0; i < extents; i++)
		row.rope.u.ext[i] = extent_hole(10);
	row.rope.bytes = le64_put(10 * extents);
	add(input, &key, &row, sizeof(row));
}

static void add_queue(struct buf *input, uint64_t ino)
{
	struct queue_row q = { .version = le32_put(QUEUE_ROW_VERSION),
			       .framing = le32_put(1),
			       .next = le64_put(2) };
	struct row_key key = row_key(ROW_QUEUE, ino);
	struct cursor_row cursor = { .id = le64_put(1) };
	uint8_t value[BLOCK_ROW_MAX];
	struct block b;

	add(input, &key, &q, sizeof(q));
	block_begin(&b, 0, 0);
	block_add(&b, 10, false, 1000);
	block_add(&b, 10, false, 2000);
	key.b[key.n++] = ROW_PART_TAIL;
	add(input, &key, value, block_put(&b, value));
	key = row_key(ROW_CURSOR, ino);
	key.b[key.n++] = 'c';
	add(input, &key, &cursor, sizeof(cursor));
}

static void add_others(struct buf *input)
{
	struct row_key key = row_key(ROW_XATTR, 3);

	memcpy(key.b + key.n, "user.a\0", 8);
	key.n += 8;
	add(input, &key, "value", 5);
	key = row_key(ROW_TARGET, 5);
	key.b[key.n++] = 0;
	add(input, &key, "../target", 9);
	key = row_key(ROW_ORPHAN, 6);
	add(input, &key, NULL, 0);
	key = row_key(ROW_TTL, 3);
	add(input, &key, NULL, 0);
}

void fuzz_seeds(fuzz_give_fn give, void *arg)
{
	struct buf input = BUF_INIT;
	struct inode_row row;
	struct row_key key;

	add_file(&input, 1, S_IFDIR | 0755, 0);
	add_entry(&input, 0x1000, 3, "file");
	add_entry(&input, 0x2000, 4, "queue");
	add_file(&input, 3, S_IFREG | 0644, 3);
	add_file(&input, 4, S_IFREG | 0644, 2);
	add_queue(&input, 4);
	add_file(&input, 5, S_IFLNK | 0777, 0);
	add_file(&input, 6, S_IFREG | 0600, 0);
	add_others(&input);
	give(arg, "rows", input.p, input.n);
	buf_release(&input);
	/* Its bytes count for none in the row. */
	add_file(&input, 1, S_IFDIR | 0755, 0);
	row = inode(S_IFREG | 0644);
	row.rope.n_inline = 1;
	row.rope.bytes = le64_put(10);
	row.rope.u.ext[0] =
		(struct extent) { .ref = le64_put((uint64_t)EXTENT_CHUNK << 62),
				  .len = le32_put(10) };
	key = row_key(ROW_INODE, 3);
	add(&input, &key, &row, sizeof(row));
	give(arg, "uncounted", input.p, input.n);
	buf_release(&input);
	add_file(&input, 1, S_IFDIR | 0755, 0);
	give(arg, "root", input.p, input.n);
	buf_release(&input);
}
