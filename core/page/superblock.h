/* superblock.h - the two superblock slots of the page file. */
#ifndef ROPEFS_PAGE_SUPERBLOCK_H
#define ROPEFS_PAGE_SUPERBLOCK_H

#include "core/page/page_format.h"

/* A superblock in words of the machine. */
struct super_state {
	struct super super;
	struct noderef bitmap;
	uint64_t pages;
	bool sweep;
};

struct super_env {
	struct io *io;
	struct io_file *file;
	const struct aead *aead;
	const uint8_t *store_id;
};

/* The bytes that a superblock seals, and back. */
void superblock_body_put(const struct super_state *s, uint8_t ret[SUPER_BODY_BYTES]);
void superblock_body_get(const uint8_t body[SUPER_BODY_BYTES], struct super_state *ret);
/* Seals s into the slot of its generation; does not sync. */
int superblock_write(const struct super_env *env, const struct super_state *s);
/* One slot. -E_CORRUPT when no copy verifies, -E_NEWER, or what the disk said. */
int superblock_read(const struct super_env *env, unsigned slot, struct super_state *ret);
/* The newest that verifies; when neither does, the worse news of the two. */
int superblock_newest(const struct super_env *env, struct super_state *ret);
/* Copies in the slot that do not verify. A power cut leaves none: each is in one sector. */
int superblock_damage(const struct super_env *env, unsigned slot, unsigned *ret_copies);
/* One line that describes s. */
void super_state_to_text(const struct super_state *s, char *line, size_t n);

#endif
