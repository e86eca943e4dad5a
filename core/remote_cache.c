/* remote_cache.c - bytes fetched from the bucket, kept on the store's disk (range_cache.h): how
 * much of it they may take. They count against the local limit: packs make room for them. */
#include "core/remote_priv.h"

#define CACHE_NAME  REMOTE_FOLDER "/cache"
#define DISK_PART   16u /* without a local limit: of what is free on the disk, */
#define DISK_MOST   GIB /* and no more */
#define MEMORY_PART 16u /* of the memory: for bytes fetched ahead */

static uint64_t bytes_most(struct remote *rm)
{
	uint64_t local = rm->cfg.local_bytes, here = packs_local_bytes(rm->fs->packs);
	struct io_space space = { 0 };

	if (local)
		return MIN(local / LOCAL_CACHE_PART, local - MIN(local, here));
	if (rm->fs->io->ops->space(rm->fs->io, &space) < 0 ||
	    space.free_bytes < rm->cfg.min_free_bytes)
		return 0;
	return MIN((space.free_bytes - rm->cfg.min_free_bytes) / DISK_PART, DISK_MOST);
}

void remote_room_open(struct remote *rm)
{
	object_room_init(&rm->room, rm->fs->opts.memory_bytes / MEMORY_PART);
}

void remote_cache_open(struct remote *rm)
{
	struct range_cache *c;

	if (rm->fs->threads && !atomic_exchange(&rm->cache_tried, true) &&
	    range_cache_open(rm->fs->io, CACHE_NAME, bytes_most(rm), &c) == 0)
		rm->cache = c;
}

void remote_cache_resume(struct remote *rm)
{
	struct io *io = rm->fs->io;

	if (range_cache_was_saved(io, CACHE_NAME))
		remote_cache_open(rm);
	if (rm->cache)
		return;
	/* Of a life that ended otherwise: they would take room beside the limit. */
	io->ops->unlink(io, CACHE_NAME ".0");
	io->ops->unlink(io, CACHE_NAME ".1");
}

void remote_cache_save(struct remote *rm)
{
	if (rm->cache && !rm->follow)
		range_cache_save(rm->cache); /* else it begins empty */
}

struct range_cache_stats remote_cache_stats(struct remote *rm)
{
	struct range_cache_stats st = { 0 };

	if (rm->cache)
		range_cache_read(rm->cache, &st);
	return st;
}

void remote_cache_fit(struct remote *rm)
{
	if (rm->cache)
		range_cache_limit(rm->cache, bytes_most(rm));
}
