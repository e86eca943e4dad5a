/* object_file.h - an object as an io_file that is only read: what the pack layer opens when a
 * pack is in the bucket. */
#ifndef ROPEFS_TIER_OBJECT_FILE_H
#define ROPEFS_TIER_OBJECT_FILE_H

#include <sys/queue.h>

#include "core/base/lock.h"
#include "core/io/io.h"
#include "core/tier/object.h"
#include "core/tier/range_cache.h"

struct object_file;
struct object_window;

/* The memory that files of one store may fill with bytes fetched ahead. When there is none left
 * those go that were read longest ago. Outlives the files. */
struct object_room {
	struct lock lock; /* RANK_OBJECT; guards what follows, and the files' windows */
	size_t bytes, bytes_max;
	TAILQ_HEAD(object_windows, object_window) windows; /* the last read first */
};

void object_room_init(struct object_room *room, size_t bytes_max);
void object_room_release(struct object_room *room);

struct object_file_opts {
	struct object_store *os; /* outlives the file, as all that is pointed at */
	const char *key;
	uint64_t bytes; /* of the whole object */
	uint8_t id[RANGE_ID_BYTES]; /* another one for other bytes */
	struct object_room *room;
	struct range_cache *cache; /* or NULL */
};

/* Asks for nothing yet. Reads that follow one another fetch ahead, each time twice as far; any
 * other one is a ranged get. Its forget() makes the next read of those bytes ask again. */
int object_file_new(const struct object_file_opts *opts, struct io_file **ret);

#endif
