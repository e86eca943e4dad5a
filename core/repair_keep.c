/* repair_keep.c - a repair removes nothing that it has not copied aside: packs and log segments
 * whole, pages one by one, each under its name with '-' for '/'. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "core/base/err.h"
#include "core/pack/pack_image.h"
#include "core/page/page_format.h"
#include "core/repair.h"

#define COPY_BYTES ((size_t)1 << 20)
#define EPOCH_NAME REPAIR_PART "/epoch"

/* The commit before the repair's: once there is a later one, what was kept is needed. */
static int write_epoch(struct ropefs *fs)
{
	le64 epoch = le64_put(fs->super.epoch);

	return io_publish(fs->io, EPOCH_NAME, &epoch, sizeof(epoch));
}

static bool was_committed(struct ropefs *fs)
{
	_cleanup_(buf_release) struct buf b = BUF_INIT;
	le64 epoch;

	if (io_read_file(fs->io, EPOCH_NAME, sizeof(epoch), &b) < 0 ||
	    b.n != sizeof(epoch))
		return false;
	memcpy(&epoch, b.p, sizeof(epoch));
	return le64_get(epoch) != fs->super.epoch;
}

static int forget_file(void *arg, const char *name)
{
	struct ropefs *fs = arg;
	char path[300];

	snprintf(path, sizeof(path), "%s/%s", REPAIR_PART, name);
	return fs->io->ops->unlink(fs->io, path);
}

void repair_keep_undo(struct ropefs *fs)
{
	fs->io->ops->list(fs->io, REPAIR_PART, forget_file, fs); /* best effort */
	fs->repair->folder[0] = '\0';
}

int repair_keep_done(struct ropefs *fs)
{
	struct repair *rp = fs->repair;
	time_t now = (time_t)(io_real_ns(fs->io) / 1000000000);
	char stamp[24], name[REPAIR_FOLDER_MAX];
	struct tm tm;
	int r;

	gmtime_r(&now, &tm);
	strftime(stamp, sizeof(stamp), "%Y%m%dT%H%M%SZ", &tm);
	snprintf(name, sizeof(name), "damaged-%s", stamp);
	if (rp->odd_copy) /* if it stays, the next fsck says so again */
		fs->io->ops->rename(fs->io, PAGEFILE_COPY_NAME,
				    REPAIR_PART "/" PAGEFILE_COPY_NAME);
	fs->io->ops->unlink(fs->io, EPOCH_NAME);
	r = fs->io->ops->rename(fs->io, REPAIR_PART, name);
	for (unsigned i = 2; (r == -EEXIST || r == -ENOTEMPTY) && i < 1000; i++) {
		snprintf(name, sizeof(name), "damaged-%s-%u", stamp, i);
		r = fs->io->ops->rename(fs->io, REPAIR_PART, name);
	}
	if (r >= 0)
		snprintf(rp->folder, sizeof(rp->folder), "%s", name);
	return r < 0 ? r : fs->io->ops->sync_dir(fs->io, "");
}

/* One that is there is of a repair that was broken off: kept where that got as far as its commit,
 * else begun again. */
static int make_folder(struct ropefs *fs)
{
	int r = fs->io->ops->mkdir(fs->io, REPAIR_PART);

	if (r == -EEXIST && was_committed(fs)) {
		r = repair_keep_done(fs);
		if (r >= 0)
			r = fs->io->ops->mkdir(fs->io, REPAIR_PART);
	}
	if (r == -EEXIST)
		r = fs->io->ops->list(fs->io, REPAIR_PART, forget_file, fs);
	snprintf(fs->repair->folder, sizeof(fs->repair->folder), "%s",
		 r < 0 ? "" : REPAIR_PART);
	return r;
}

static int kept_file(struct ropefs *fs, const char *name, struct io_file **ret)
{
	char path[300];
	char *slash;

	snprintf(path, sizeof(path), "%s/%s", fs->repair->folder, name);
	slash = strchr(path + strlen(fs->repair->folder) + 1, '/');
	if (slash)
		*slash = '-';
	return io_open(fs->io, path, IO_CREATE | IO_EXCL, ret);
}

static bool all_zero(const uint8_t *p, size_t n)
{
	return n == 0 || (p[0] == 0 && !memcmp(p, p + 1, n - 1));
}

/* What the disk refuses to give is left out of the copy, as a hole. */
static int copy_bytes(struct io_file *from, struct io_file *to)
{
	_cleanup_free_ uint8_t *p = malloc(COPY_BYTES);
	uint64_t bytes;
	int r = p ? io_size(from, &bytes) : -ENOMEM;

	if (r >= 0)
		r = to->ops->truncate(to, bytes);
	for (uint64_t at = 0; r >= 0 && at < bytes; at += COPY_BYTES) {
		size_t n = (size_t)MIN(bytes - at, (uint64_t)COPY_BYTES);

		if (io_pread_all(from, p, n, at) >= 0 && !all_zero(p, n))
			r = io_pwrite(to, p, n, at);
	}
	return r < 0 ? r : io_sync(to);
}

static int keep_file(struct ropefs *fs, const char *name)
{
	_cleanup_(io_closep) struct io_file *from = NULL;
	_cleanup_(io_closep) struct io_file *to = NULL;
	int r = io_open(fs->io, name, IO_READ, &from);

	if (r == -ENOENT)
		return 0;
	if (r >= 0)
		r = kept_file(fs, name, &to);
	return r < 0 ? r : copy_bytes(from, to);
}

static int keep_pack(void *arg, uint64_t pack, const uint8_t *live, uint32_t n)
{
	char name[PACK_NAME_BYTES];

	pack_name(name, pack, "pack");
	return keep_file(arg, name);
}

static int keep_segment(void *arg, const char *name)
{
	const char *dot = strrchr(name, '.');
	char path[300];

	if (!dot || strcmp(dot, ".wal") != 0)
		return 0;
	snprintf(path, sizeof(path), "wal/%s", name);
	return keep_file(arg, path);
}

static int keep_page(struct ropefs *fs, uint64_t page)
{
	_cleanup_(io_closep) struct io_file *to = NULL;
	uint8_t sealed[PAGE_BYTES];
	char name[40];
	int r;

	if (pagefile_read_sealed(fs->pf, page, sealed) < 0)
		return 0; /* the disk has nothing to keep */
	snprintf(name, sizeof(name), "pages-%llu", (unsigned long long)page);
	r = kept_file(fs, name, &to);
	if (r >= 0)
		r = io_pwrite(to, sealed, sizeof(sealed), 0);
	return r < 0 ? r : io_sync(to);
}

static int keep_report(struct ropefs *fs)
{
	_cleanup_(io_closep) struct io_file *to = NULL;
	int r = kept_file(fs, "report", &to);

	if (r >= 0)
		r = io_pwrite(to, fs->repair->report.p, fs->repair->report.n, 0);
	return r < 0 ? r : io_sync(to);
}

static int keep_log(struct ropefs *fs)
{
	int r = 0;

	if (fs->repair->log_rot && !fs->repair->log_kept)
		r = fs->io->ops->list(fs->io, "wal", keep_segment, fs);
	fs->repair->log_kept |= fs->repair->log_rot && r >= 0;
	return r;
}

/* Pages and packs are what they were when they were found bad; the log may have been read on. */
static int keep_rest(struct ropefs *fs)
{
	int r = keep_log(fs);

	if (r >= 0)
		r = fs->io->ops->unlink(fs->io, REPAIR_PART "/report");
	if (r >= 0)
		r = keep_report(fs);
	return r < 0 ? r : fs->io->ops->sync_dir(fs->io, REPAIR_PART);
}

int repair_keep(struct ropefs *fs)
{
	struct repair *rp = fs->repair;
	int r;

	if (rp->committed)
		return keep_rest(fs);
	r = make_folder(fs);

	for (size_t at = 0; r >= 0 && at < rp->bad_pages.n; at += sizeof(uint64_t)) {
		uint64_t page;

		memcpy(&page, rp->bad_pages.p + at, sizeof(page));
		r = keep_page(fs, page);
	}
	if (r >= 0)
		r = damage_each_flawed(&rp->damage, keep_pack, fs);
	if (r >= 0)
		r = keep_log(fs);
	if (r >= 0)
		r = keep_report(fs);
	if (r >= 0)
		r = write_epoch(fs);
	if (r >= 0)
		r = fs->io->ops->sync_dir(fs->io, rp->folder);
	if (r >= 0)
		r = fs->io->ops->sync_dir(fs->io, "");
	if (r < 0)
		repair_keep_undo(fs);
	return r;
}
