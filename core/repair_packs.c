/* repair_packs.c - a page file when both of its copies are gone, from packs and log alone.
 *
 * Packs hold bytes, and not whose: trees alone know that, and they change without a byte of a
 * pack being written (an insert moves all that follows). So each pack becomes a file in
 * lost+found, its chunks in their order, and the log is replayed on top, but for what needs
 * something that is lost. Until the commit the superblock says that this is under way, and no
 * other opening takes the file for a store that is empty. */
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/err.h"
#include "core/catalog/row_format.h"
#include "core/repair.h"

/* Beyond all inodes that the log may speak of. */
#define PACK_INO_FIRST ((uint64_t)1 << 38)

static int count_pack(void *arg, const char *name)
{
	const char *dot = strrchr(name, '.');

	*(uint64_t *)arg += dot && !strcmp(dot, ".pack");
	return 0;
}

int repair_plan_from_packs(struct io *io, struct repair *rp)
{
	uint64_t packs = 0;
	int r = io->ops->list(io, "packs", count_pack, &packs);

	if (r < 0)
		return r;
	rp->from_packs = true;
	repair_say(rp, "begin an empty page file: it is gone, and so is its copy");
	repair_say(
		rp,
		"make a file in /lost+found of each of the %llu packs: names, and which "
		"bytes are whose, are lost",
		(unsigned long long)packs);
	repair_say(rp, "do again what the log has, but for what needs what is lost");
	return 0;
}

int repair_begin_from_packs(struct ropefs *fs)
{
	const struct super empty = { .generation = 1,
				     .epoch = 1,
				     .next_ino = ROPEFS_ROOT_INO + 1,
				     .next_pack = 1,
				     .rebuild = true };

	return pagefile_create(fs->io, fs->keys, &empty);
}

static int add_chunks(struct ropefs *fs, const struct pack_info *info, struct rope *rope)
{
	int r = 0;

	for (uint32_t i = 0; r >= 0 && i < info->chunks; i++) {
		uint32_t plain = 0;
		struct extent e;

		r = packs_chunk_plain(fs->packs, info->pack, i, &plain);
		e = extent_chunk(info->pack, i, 0, plain);
		if (r == -E_CORRUPT || (r >= 0 && damage_has(&fs->repair->damage, &e)))
			r = 0; /* removed, or it can't be had */
		else if (r >= 0)
			r = rope_insert(&fs->env, rope, rope_bytes(rope), &e, 1);
	}
	return r;
}

static int add_file(void *arg, const struct pack_info *info)
{
	struct ropefs *fs = arg;
	uint64_t ino = PACK_INO_FIRST + info->pack;
	le64 now = le64_put(io_real_ns(fs->io));
	struct inode_row row = {
		.version = le32_put(INODE_ROW_VERSION),
		.mode = le32_put(S_IFREG | 0600),
		.uid = le32_put(getuid()),
		.gid = le32_put(getgid()),
		.nlink = le32_put(1),
		.atime = now,
		.mtime = now,
		.ctime = now,
		.btime = now,
		.entries = now,
	};
	int r = info->remote ? 0 : add_chunks(fs, info, &row.rope);

	if (r < 0 || rope_bytes(&row.rope) == 0)
		return r;
	row.data_bytes = row.rope.bytes;
	fs->next_ino = MAX(fs->next_ino, ino + 1);
	return catalog_put_inode(&fs->catalog, ino, &row);
}

int repair_from_packs(struct ropefs *fs, struct salvage *salvage)
{
	int r = packs_each(fs->packs, add_file, fs);

	fs->super.rebuild = false; /* with the next commit */
	return r < 0 ? r : repair_names(fs, &fs->catalog, salvage);
}
