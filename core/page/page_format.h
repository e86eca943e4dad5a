/* page_format.h - the page file on disk, version 2.
 *
 * The file "pages" is a row of pages of 4096 bytes. Pages 0 and 1 are the superblock slots,
 * the others hold nodes and the bitmap. All sealing is with the key KEY_PAGE.
 *
 * A page:
 *	   0  nonce   24 B	random
 *	  24  sealed  4072 B	a node's image (nodes.h) or a struct bitmap_page
 * Its tag is kept where it is pointed at (noderef.h). AAD: struct page_aad.
 *
 * A superblock slot holds the same struct superblock twice, at bytes 0 and 2048, so that a
 * rotten sector does not cost the newest state; each lies within one sector of 512 bytes.
 * The rest is zeros. Generation g is in slot g % 2. */
#ifndef ROPEFS_PAGE_PAGE_FORMAT_H
#define ROPEFS_PAGE_PAGE_FORMAT_H

#include "core/page/noderef.h"
#include "core/page/pagefile.h"

#define PAGEFILE_NAME	   "pages"
#define PAGEFILE_COPY_NAME "pages.copy" /* the same once more */

/*	 0  store   16 B	store id
 *	16  page    le64	number of the page sealed
 */
struct page_aad {
	uint8_t store[STORE_ID_BYTES];
	le64 page;
};
static_assert(sizeof(struct page_aad) == 24, "page_aad is 24 bytes");

#define SUPER_SLOTS	 2u /* pages 0 and 1 */
#define SUPER_COPIES	 2u
#define SUPER_COPY_BYTES 2048u
#define SUPER_MAGIC	 "ropefsPF"
#define SUPER_VERSION	 2u

/*	 0  magic    8 B
 *	 8  version  le32
 *	12  pad      4 B	zeros
 */
struct super_head {
	uint8_t magic[8];
	le32 version;
	uint8_t pad[4];
};
static_assert(sizeof(struct super_head) == 16, "super_head is 16 bytes on disk");

#define SUPER_FLAG_CLEAN  1u /* written by a clean shutdown */
#define SUPER_FLAG_SWEEP  2u /* the bitmap may hold unreachable pages as used */
#define SUPER_FLAG_REPLAY 4u /* written by a recovery: the log may end before lsn */
#define SUPER_FLAG_REBUILD                                                               \
	8u /* an empty file that a repair is about to fill from packs */

/*	  0  generation  le64
 *	  8  lsn         le64
 *	 16  epoch       le64
 *	 24  snap_epoch  le64
 *	 32  next_ino    le64
 *	 40  next_pack   le64
 *	 48  inodes      le64
 *	 56  live_bytes  le64
 *	 64  catalog     noderef	root of the catalog
 *	 96  bitmap      noderef	first page of the bitmap
 *	128  pages       le64	pages the bitmap speaks of
 *	136  flags       le32
 *	140  dead_bytes  le64
 *	148  snap_copied le64
 *	156  next_snap   le32
 *	160  snap_held   le32	in units of 4096 bytes
 *	164  pad         92 B	zeros
 */
struct super_body {
	le64 generation;
	le64 lsn;
	le64 epoch;
	le64 snap_epoch;
	le64 next_ino;
	le64 next_pack;
	le64 inodes;
	le64 live_bytes;
	struct noderef catalog;
	struct noderef bitmap;
	le64 pages;
	le32 flags;
	le64 dead_bytes;
	le64 snap_copied;
	le32 next_snap;
	le32 snap_held;
	uint8_t pad[92];
};
static_assert(sizeof(struct super_body) == 256, "super_body is 256 bytes on disk");

/* AAD: struct page_aad with the slot's number, then the head.
 *	  0  head    16 B
 *	 16  nonce   24 B	random
 *	 40  tag     16 B
 *	 56  sealed  256 B	struct super_body
 */
struct superblock {
	struct super_head head;
	struct nonce nonce;
	uint8_t tag[AEAD_TAG_BYTES];
	uint8_t sealed[sizeof(struct super_body)];
};
static_assert(sizeof(struct superblock) == 312, "superblock is 312 bytes on disk");

#define BITMAP_WORDS 503u

/* A set bit is a page in use; bit b of word w is page (first_word + w) * 64 + b. Bits past
 * the last page are set.
 *	 0  next        noderef		the next page of the bitmap; none: this is the last
 *	32  first_word  le64
 *	40  n_words     le32
 *	44  pad         4 B		zeros
 *	48  words       le64[503]
 */
struct bitmap_page {
	struct noderef next;
	le64 first_word;
	le32 n_words;
	uint8_t pad[4];
	le64 words[BITMAP_WORDS];
};
static_assert(sizeof(struct bitmap_page) == PAGE_PAYLOAD, "bitmap_page fills a page");

#endif
