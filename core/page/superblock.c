#include "core/page/superblock.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/base/err.h"

struct super_aad {
	struct page_aad page;
	struct super_head head;
};
static_assert(sizeof(struct super_aad) == 40, "super_aad has no holes");

static struct super_aad super_aad(const struct super_env *env, unsigned slot,
				  const struct super_head *head)
{
	struct super_aad aad = { .page.page = le64_put(slot), .head = *head };

	memcpy(aad.page.store, env->store_id, sizeof(aad.page.store));
	return aad;
}

static void super_encode(const struct super_state *s, struct super_body *ret)
{
	*ret = (struct super_body) {
		.generation = le64_put(s->super.generation),
		.lsn = le64_put(s->super.lsn),
		.epoch = le64_put(s->super.epoch),
		.snap_epoch = le64_put(s->super.snap_epoch),
		.next_ino = le64_put(s->super.next_ino),
		.next_pack = le64_put(s->super.next_pack),
		.inodes = le64_put(s->super.inodes),
		.live_bytes = le64_put(s->super.live_bytes),
		.dead_bytes = le64_put(s->super.dead_bytes),
		.snap_copied = le64_put(s->super.snap_copied),
		.next_snap = le32_put(s->super.next_snap),
		.snap_held = le32_put((uint32_t)MIN(s->super.snap_held / PAGE_BYTES,
						    (uint64_t)UINT32_MAX)),
		.catalog = s->super.catalog,
		.bitmap = s->bitmap,
		.pages = le64_put(s->pages),
		.flags = le32_put((s->super.clean ? SUPER_FLAG_CLEAN : 0) |
				  (s->sweep ? SUPER_FLAG_SWEEP : 0) |
				  (s->super.replay ? SUPER_FLAG_REPLAY : 0) |
				  (s->super.rebuild ? SUPER_FLAG_REBUILD : 0)),
	};
}

static void super_decode(const struct super_body *b, struct super_state *ret)
{
	uint32_t flags = le32_get(b->flags);

	*ret = (struct super_state){
		.super = {
			.generation = le64_get(b->generation),
			.lsn = le64_get(b->lsn),
			.epoch = le64_get(b->epoch),
			.snap_epoch = le64_get(b->snap_epoch),
			.next_ino = le64_get(b->next_ino),
			.next_pack = le64_get(b->next_pack),
			.inodes = le64_get(b->inodes),
			.live_bytes = le64_get(b->live_bytes),
			.dead_bytes = le64_get(b->dead_bytes),
			.snap_copied = le64_get(b->snap_copied),
			.next_snap = le32_get(b->next_snap),
			.snap_held = (uint64_t)le32_get(b->snap_held) * PAGE_BYTES,
			.catalog = b->catalog,
			.clean = (flags & SUPER_FLAG_CLEAN) != 0,
			.replay = (flags & SUPER_FLAG_REPLAY) != 0,
			.rebuild = (flags & SUPER_FLAG_REBUILD) != 0,
		},
		.bitmap = b->bitmap,
		.pages = le64_get(b->pages),
		.sweep = (flags & SUPER_FLAG_SWEEP) != 0,
	};
}

static_assert(sizeof(struct super_body) == SUPER_BODY_BYTES, "a body is copied whole");

void superblock_body_put(const struct super_state *s, uint8_t ret[SUPER_BODY_BYTES])
{
	struct super_body body;

	super_encode(s, &body);
	memcpy(ret, &body, sizeof(body));
}

void superblock_body_get(const uint8_t bytes[SUPER_BODY_BYTES], struct super_state *ret)
{
	struct super_body body;

	memcpy(&body, bytes, sizeof(body));
	super_decode(&body, ret);
}

int superblock_write(const struct super_env *env, const struct super_state *s)
{
	unsigned slot = (unsigned)(s->super.generation % SUPER_SLOTS);
	struct superblock sb = { .head = { .magic = SUPER_MAGIC,
					   .version = le32_put(SUPER_VERSION) } };
	struct super_aad aad = super_aad(env, slot, &sb.head);
	uint8_t page[PAGE_BYTES] = { 0 };
	struct super_body body;

	assert(!noderef_in_memory(&s->super.catalog));
	assert(!noderef_is_none(&s->bitmap));
	super_encode(s, &body);
	io_random(env->io, &sb.nonce, sizeof(sb.nonce));
	aead_seal(env->aead, &sb.nonce, span_of(&aad, sizeof(aad)),
		  (const uint8_t *)&body, sizeof(body), sb.sealed, sb.tag);
	for (unsigned i = 0; i < SUPER_COPIES; i++)
		memcpy(page + i * SUPER_COPY_BYTES, &sb, sizeof(sb));
	return io_pwrite(env->file, page, sizeof(page), (uint64_t)slot * PAGE_BYTES);
}

static int copy_open(const struct super_env *env, unsigned slot,
		     const struct superblock *sb, struct super_state *ret)
{
	struct super_aad aad = super_aad(env, slot, &sb->head);
	struct super_body body;

	if (memcmp(sb->head.magic, SUPER_MAGIC, sizeof(sb->head.magic)))
		return -EBADMSG;
	if (le32_get(sb->head.version) > SUPER_VERSION)
		return -EPROTONOSUPPORT;
	if (aead_open(env->aead, &sb->nonce, span_of(&aad, sizeof(aad)), sb->sealed,
		      sizeof(sb->sealed), sb->tag, (uint8_t *)&body) < 0)
		return -EBADMSG;
	if (le64_get(body.generation) % SUPER_SLOTS != slot ||
	    noderef_in_memory(&body.catalog) || noderef_in_memory(&body.bitmap))
		return -EBADMSG;
	super_decode(&body, ret);
	return 0;
}

int superblock_read(const struct super_env *env, unsigned slot, struct super_state *ret)
{
	uint8_t page[PAGE_BYTES];
	struct superblock sb;
	uint32_t newer = 0;
	int r;

	assert(slot < SUPER_SLOTS);
	r = io_pread_all(env->file, page, sizeof(page), (uint64_t)slot * PAGE_BYTES);
	if (r < 0 && r != -ENODATA)
		return r;
	for (unsigned i = 0; r == 0 && i < SUPER_COPIES; i++) {
		int opened;

		memcpy(&sb, page + i * SUPER_COPY_BYTES, sizeof(sb));
		opened = copy_open(env, slot, &sb, ret);
		if (opened == 0)
			return 0;
		if (opened == -EPROTONOSUPPORT)
			newer = le32_get(sb.head.version);
	}
	if (newer)
		return err_set(E_NEWER,
			       "superblock %u of the page file has version %u, this "
			       "ropefs knows "
			       "%u: use a newer ropefs",
			       slot, newer, SUPER_VERSION);
	return err_set(E_CORRUPT, "superblock %u of the page file does not verify", slot);
}

int superblock_damage(const struct super_env *env, unsigned slot, unsigned *ret_copies)
{
	uint8_t page[PAGE_BYTES];
	struct super_state s;
	struct superblock sb;
	unsigned bad = 0;
	int r;

	assert(slot < SUPER_SLOTS);
	r = io_pread_all(env->file, page, sizeof(page), (uint64_t)slot * PAGE_BYTES);
	if (r < 0 && r != -ENODATA)
		return r;
	for (unsigned i = 0; i < SUPER_COPIES; i++) {
		memcpy(&sb, page + i * SUPER_COPY_BYTES, sizeof(sb));
		bad += r < 0 || copy_open(env, slot, &sb, &s) < 0;
	}
	*ret_copies = bad;
	return 0;
}

int superblock_newest(const struct super_env *env, struct super_state *ret)
{
	struct super_state s[SUPER_SLOTS];
	int r0 = superblock_read(env, 0, &s[0]);
	int r1 = superblock_read(env, 1, &s[1]);

	/* Beside a newer version's superblock an older one is history, not a choice. */
	if (r0 == -E_NEWER || r1 == -E_NEWER)
		return -E_NEWER;
	if (r0 < 0 && r1 < 0) {
		if (r0 != -E_CORRUPT)
			return r0;
		if (r1 != -E_CORRUPT)
			return r1;
		return err_set(E_CORRUPT, "neither superblock of the page file verifies: "
					  "restore the store from a copy");
	}
	if (r0 < 0 || (r1 == 0 && s[1].super.generation > s[0].super.generation))
		*ret = s[1];
	else
		*ret = s[0];
	return 0;
}

void super_state_to_text(const struct super_state *s, char *line, size_t n)
{
	snprintf(line, n,
		 "generation %" PRIu64 ", log after LSN %" PRIu64 ", epoch %" PRIu64
		 ", snapshots to %" PRIu64 ", next inode %" PRIu64 ", next pack %" PRIu64
		 ", inodes %" PRIu64 ", bytes %" PRIu64 ", catalog page %" PRIu64
		 ", bitmap page %" PRIu64 ", pages %" PRIu64 "%s%s",
		 s->super.generation, s->super.lsn, s->super.epoch, s->super.snap_epoch,
		 s->super.next_ino, s->super.next_pack, s->super.inodes,
		 s->super.live_bytes, le64_get(s->super.catalog.at),
		 le64_get(s->bitmap.at), s->pages, s->super.clean ? ", clean" : "",
		 s->sweep ? ", needs sweep" : "");
}
