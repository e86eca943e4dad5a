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
#include <sys/stat.h>

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

#define FILES_TOLD 1000u /* of a pack */

/* A pack that was dropped, and the files that had bytes in it. */
struct lost_pack {
	uint64_t files;
	bool hit; /* by the file under way */
	struct buf names; /* as JSON strings, a comma before each but the first */
};

struct telling {
	struct ropefs *fs;
	bool names;
	struct htab packs; /* struct lost_pack by number */
	struct buf text;
};

static int add_pack(struct telling *t, uint64_t pack)
{
	struct lost_pack *p;
	int r;

	if (htab_get(&t->packs, pack))
		return 0;
	p = calloc(1, sizeof(*p));
	r = p ? htab_put(&t->packs, pack, p) : -ENOMEM;
	if (r < 0)
		free(p);
	return r;
}

static int note_lost(void *arg, const struct dropped *d)
{
	struct telling *t = arg;

	/* Is it still here, or does nothing of it live any more? */
	return packs_is_remote(t->fs->packs, d->info.pack) ? add_pack(t, d->info.pack)
							   : 0;
}

static int hit_extent(void *arg, const struct extent *e, uint64_t at)
{
	struct telling *t = arg;
	struct lost_pack *p;

	if (extent_kind(e) != EXTENT_CHUNK || extent_is_lost(e))
		return 0;
	p = htab_get(&t->packs, extent_pack(e));
	if (p)
		p->hit = true;
	return 0;
}

static int add_name(struct lost_pack *p, const char *path)
{
	int r = 0;

	if (p->files++ >= FILES_TOLD)
		return 0;
	if (p->names.n)
		r = buf_append(&p->names, ", ", 2);
	return r < 0 ? r : json_add_string(&p->names, SPAN_STR(path));
}

static int name_file_locked(struct telling *t, uint64_t ino)
{
	char path[INODE_PATH_MAX] = "";
	struct htab_slot *slot;
	struct inode *in;
	size_t at = 0;
	int r = inode_get(t->fs, ino, &in);

	if (r < 0 || !S_ISREG(le32_get(in->row.mode)))
		return r == -ENOENT || r == -E_CORRUPT ? 0 : r;
	r = rope_each(&t->fs->env, &in->row.rope, 0, rope_bytes(&in->row.rope),
		      hit_extent, t);
	while (r == 0 && (slot = htab_next(&t->packs, &at))) {
		struct lost_pack *p = slot->value;

		if (!p->hit)
			continue;
		p->hit = false;
		if (!*path)
			inode_path(&t->fs->catalog, ino, path);
		r = add_name(p, path);
	}
	return r == -E_CORRUPT ? 0 : r;
}

/* One inode at a time, so that others come between. */
static int name_files(struct telling *t)
{
	struct ropefs *fs = t->fs;
	struct inode_row row;
	uint64_t ino = 0;
	int r = 1;

	while (r > 0) {
		lock_take(&fs->engine);
		nodes_trim(fs->nodes);
		inode_trim(fs);
		r = catalog_next_inode(&fs->catalog, ino, &ino, &row);
		if (r > 0) {
			int named = name_file_locked(t, ino);

			r = named < 0 ? named : r;
		}
		lock_drop(&fs->engine);
	}
	return r;
}

static int tell(void *arg, const struct dropped *d)
{
	struct telling *t = arg;
	struct lost_pack *p = htab_del(&t->packs, d->info.pack);
	int r;

	if (!p)
		return 0;
	r = buf_printf(&t->text,
		       "{\"time\": \"%s\", \"pack\": \"%010" PRIx64
		       "\", \"bytes\": %" PRIu64
		       ", \"upload\": \"%s\", \"files\": %" PRIu64 ", \"names\": [",
		       time_text((int64_t)d->time_ns).s, d->info.pack, d->info.file_bytes,
		       lane_upload(d->info.lane), p->files);
	if (r >= 0 && t->names && p->names.n)
		r = buf_append(&t->text, p->names.p, p->names.n);
	if (r >= 0)
		r = buf_append(&t->text, "]}\n", 3);
	buf_release(&p->names);
	free(p);
	return MIN(r, 0);
}

static void packs_release(struct htab *packs)
{
	struct htab_slot *slot;
	size_t at = 0;

	while ((slot = htab_next(packs, &at))) {
		struct lost_pack *p = slot->value;

		buf_release(&p->names);
		free(p);
	}
	htab_release(packs);
}

int remote_files_in(struct ropefs *fs, struct span packs,
		    void (*each_pack)(void *arg, uint64_t pack, uint64_t files,
				      const char *names),
		    void *arg)
{
	struct telling t = { .fs = fs, .names = true };
	struct htab_slot *slot;
	size_t at = 0;
	uint64_t pack;
	int r = 0;

	for (size_t i = 0; r == 0 && i < packs.n; i += sizeof(pack)) {
		memcpy(&pack, packs.p + i, sizeof(pack));
		r = add_pack(&t, pack);
	}
	if (r == 0)
		r = name_files(&t);
	while (r >= 0 && (slot = htab_next(&t.packs, &at))) {
		struct lost_pack *p = slot->value;

		r = buf_append(&p->names, "", 1);
		if (r == 0)
			each_pack(arg, slot->key, p->files, (const char *)p->names.p);
	}
	packs_release(&t.packs);
	return r;
}

int ropefs_remote_dropped(struct ropefs *fs, bool names, char **ret)
{
	struct telling t = { .fs = fs, .names = names, .text = BUF_INIT };
	int r;

	err_clear();
	r = each(fs->io, note_lost, &t);
	if (r >= 0 && t.packs.n)
		r = name_files(&t);
	if (r >= 0)
		r = each(fs->io, tell, &t);
	if (r >= 0)
		r = buf_append(&t.text, "", 1);
	packs_release(&t.packs);
	if (r >= 0)
		*ret = (char *)t.text.p;
	else
		buf_release(&t.text);
	return MIN(r, 0);
}
