/* remote_dropped.c - what was dropped when the disk was full and the bucket away: the file
 * remote/dropped of the store's folder, a line a pack:
 *
 *	PACK ID TIME-NS BYTES STORED CHUNKS REWRITES LANE
 *
 * PACK and ID in hex. The line is durable before the pack goes; one whose pack is still there
 * says nothing. It stays when the bucket is forgotten, as files still refer to the bytes. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/base/err.h"
#include "core/base/json.h"
#include "core/base/time_text.h"
#include "core/remote_priv.h"

#define DROPPED_NAME REMOTE_FOLDER "/dropped"

struct dropped {
	struct pack_info info;
	uint64_t time_ns;
};

static bool line_get(const char *line, struct dropped *ret)
{
	struct dropped d = { 0 };
	char id[2 * PACK_ID_BYTES + 1];
	unsigned lane;

	if (sscanf(line,
		   "%" SCNx64 " %32[0-9a-f] %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu32
		   " %" SCNu32 " %u",
		   &d.info.pack, id, &d.time_ns, &d.info.file_bytes, &d.info.stored_bytes,
		   &d.info.chunks, &d.info.rewrites, &lane) != 8 ||
	    strlen(id) != 2 * PACK_ID_BYTES)
		return false;
	for (size_t i = 0; i < PACK_ID_BYTES; i++)
		sscanf(id + 2 * i, "%2hhx", &d.info.id[i]);
	d.info.lane = lane % LANES;
	d.info.lost = PACK_DROPPED;
	*ret = d;
	return true;
}

/* Each line that makes sense. */
static int each(struct io *io, int (*fn)(void *arg, const struct dropped *d), void *arg)
{
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	char *save, *line;
	struct dropped d;
	int r = remote_file_read(io, DROPPED_NAME, &text);

	if (r < 0)
		return r == -ENOENT || r == -ENOTDIR ? 0 : r;
	text.p[text.n] = '\0'; /* room is left for it */
	for (line = strtok_r((char *)text.p, "\n", &save); line && r == 0;
	     line = strtok_r(NULL, "\n", &save))
		if (line_get(line, &d))
			r = fn(arg, &d);
	return r;
}

int remote_dropped_add(struct ropefs *fs, const struct pack_info *info)
{
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	char id[2 * PACK_ID_BYTES + 1];
	int r = remote_file_read(fs->io, DROPPED_NAME, &text);

	if (r == -ENOENT)
		r = 0;
	hex_put(info->id, PACK_ID_BYTES, id);
	if (r == 0)
		r = buf_printf(&text,
			       "%" PRIx64 " %s %" PRIu64 " %" PRIu64 " %" PRIu64
			       " %" PRIu32 " %" PRIu32 " %u\n",
			       info->pack, id, io_real_ns(fs->io), info->file_bytes,
			       info->stored_bytes, info->chunks, info->rewrites,
			       info->lane);
	return r < 0 ? r : io_publish(fs->io, DROPPED_NAME, text.p, text.n);
}

static int note(void *arg, const struct dropped *d)
{
	struct ropefs *fs = arg;

	return packs_note_remote(fs->packs, &d->info);
}

int remote_dropped_note(struct ropefs *fs)
{
	return each(fs->io, note, fs);
}

/* --- telling --- */

struct telling {
	struct ropefs *fs;
	struct buf text;
};

static int tell(void *arg, const struct dropped *d)
{
	struct telling *t = arg;

	if (!packs_is_remote(t->fs->packs, d->info.pack))
		return 0; /* it is still here, or nothing of it lives any more */
	return buf_printf(&t->text,
			  "{\"time\": \"%s\", \"pack\": \"%010" PRIx64
			  "\", \"bytes\": %" PRIu64 ", \"upload\": \"%s\"}\n",
			  time_text((int64_t)d->time_ns).s, d->info.pack,
			  d->info.file_bytes, lane_upload(d->info.lane));
}

int ropefs_remote_dropped(struct ropefs *fs, char **ret)
{
	struct telling t = { .fs = fs, .text = BUF_INIT };
	int r;

	err_clear();
	r = each(fs->io, tell, &t);
	if (r >= 0)
		r = buf_append(&t.text, "", 1);
	if (r >= 0)
		*ret = (char *)t.text.p;
	else
		buf_release(&t.text);
	return MIN(r, 0);
}
