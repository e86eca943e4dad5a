/* pack_inspect.c - looks at packs with suspicion: verify reads everything there is and
 * tells each thing wrong, inspect puts one file into words. Both open the file anew: what
 * is cached proves nothing about the disk. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/base/err.h"
#include "core/pack/pack_priv.h"

#define LINE_BYTES 256

/* Counts what it passes on. */
struct judge {
	const struct pack_judge *to;
	unsigned n;
};

static void judge_line(void *arg, const char *line)
{
	struct judge *j = arg;

	j->n++;
	j->to->bad(j->to->arg, line);
}

static void judge_chunk(struct judge *j, uint64_t pack, uint32_t index)
{
	if (j->to->bad_chunk)
		j->to->bad_chunk(j->to->arg, pack, index);
}

static _printf_(2, 3) void judge_say(struct judge *j, const char *fmt, ...)
{
	char line[LINE_BYTES];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	judge_line(j, line);
}

/* --- verify --- */

static bool frame_head_agrees(const struct pack_image *img, uint32_t index)
{
	const struct chunk_entry *e = &img->chunks[index];
	uint8_t p[sizeof(struct frame_head)];
	struct chunk_entry found;
	uint32_t i;

	return io_pread_all(img->file, p, sizeof(p), e->off) == 0 &&
	       frame_head_get(&img->home, p, &i, &found) && i == index &&
	       found.sealed == e->sealed && found.plain == e->plain &&
	       found.algorithm == e->algorithm;
}

/* Opens one chunk. Only -ENOMEM is returned. */
static int chunk_verify(const struct pack_image *img, uint32_t index,
			struct chunk_scratch *s, uint8_t *plain, struct judge *j)
{
	unsigned long long pack = img->home.pack;
	int r;

	if (!img->chunks[index].sealed) {
		if (!img->directory_ok)
			judge_say(j, "pack %010llx, chunk %u: lost, or removed before",
				  pack, index);
		judge_chunk(j, pack, index);
		return 0;
	}
	if (!frame_head_agrees(img, index))
		judge_say(j, "pack %010llx, chunk %u: its frame head does not verify",
			  pack, index);
	r = pack_image_chunk(img, index, s, plain);
	if (r == -ENOMEM)
		return r;
	if (r == -E_CORRUPT)
		judge_line(j, err_detail());
	else if (r < 0)
		judge_say(j, "pack %010llx, chunk %u: reading failed: %s", pack, index,
			  err_text(r));
	if (r < 0)
		judge_chunk(j, pack, index);
	return 0;
}

static int chunks_verify(const struct pack_image *img, struct judge *j)
{
	_cleanup_(chunk_scratch_freep) struct chunk_scratch *s = NULL;
	_cleanup_free_ uint8_t *plain = malloc(CHUNK_BYTES_MAX);
	int r;

	r = plain ? chunk_scratch_new(&s) : -ENOMEM;
	for (uint32_t i = 0; r == 0 && i < img->n; i++) {
		r = chunk_verify(img, i, s, plain, j);
		if (r == 0 && j->to->pace)
			r = j->to->pace(j->to->arg, img->chunks[i].sealed);
	}
	return r;
}

/* A pack names the one before it by the hash of its footer. One that is gone, or was
 * rewritten since, proves nothing; one that is there as first written must match. */
static void prev_verify(const struct pack_image_source *src, const struct pack_image *img,
			struct judge *j)
{
	_cleanup_(pack_image_closep) struct pack_image *before = NULL;
	struct pack_image_source at = *src;
	uint8_t hash[32];

	at.pack = le64_get(img->footer.prev);
	at.bad = NULL;
	if (!img->footer_ok || at.pack == 0 || pack_image_open(&at, &before) < 0)
		return;
	if (!before->footer_ok || le32_get(before->footer.rewrites) > 0)
		return;
	hash256(span_of(&before->footer, sizeof(before->footer)), hash);
	if (memcmp(hash, img->footer.prev_hash, sizeof(hash)))
		judge_say(j,
			  "pack %010llx: pack %010llx before it is not the one it was "
			  "written after",
			  (unsigned long long)src->pack, (unsigned long long)at.pack);
}

int packs_verify(struct packs *ps, uint64_t pack, const struct pack_judge *judge)
{
	_cleanup_(pack_image_closep) struct pack_image *img = NULL;
	struct judge j = { judge, 0 };
	struct pack_image_source src = { .io = ps->io,
					 .keys = ps->keys,
					 .pack = pack,
					 .medium = true,
					 .bad = judge_line,
					 .arg = &j };
	int r;

	r = packs_pin(ps, pack);
	if (r < 0)
		return r;
	r = pack_image_open(&src, &img);
	packs_unpin(ps, pack);
	if (r < 0) {
		judge_chunk(&j, pack, PACK_ALL_CHUNKS);
		if (r != -E_CORRUPT)
			judge_say(&j, "pack %010llx: cannot be opened: %s",
				  (unsigned long long)pack, err_text(r));
		return r == -ENOMEM ? r : -E_CORRUPT;
	}
	r = chunks_verify(img, &j);
	if (r < 0)
		return r;
	prev_verify(&src, img, &j);
	return j.n ? -E_CORRUPT : 0;
}

/* Its ends and frames say what they should: reading does without, a rescue does not. */
static int object_heads_verify(const struct pack_image *img)
{
	struct pack_header h;
	int r = io_pread_all(img->file, &h, sizeof(h), 0);

	if (r < 0)
		return r;
	if (!pack_header_sane(&h) || memcmp(h.salt, img->home.salt, sizeof(h.salt)) != 0)
		return err_set(E_CORRUPT, "its header does not verify");
	for (uint32_t i = 0; i < img->n; i++) {
		const struct chunk_entry *e = &img->chunks[i];
		uint8_t p[sizeof(struct frame_head)];
		struct chunk_entry found;
		uint32_t index;

		r = e->sealed ? io_pread_all(img->file, p, sizeof(p), e->off) : 0;
		if (r < 0)
			return r;
		if (e->sealed && (!frame_head_get(&img->home, p, &index, &found) ||
				  index != i || found.sealed != e->sealed))
			return err_set(E_CORRUPT, "the head of chunk %u does not verify",
				       i);
	}
	return 0;
}

int packs_verify_object(struct packs *ps, const struct pack_info *info,
			struct io_file *file)
{
	_cleanup_(pack_image_closep) struct pack_image *img = NULL;
	_cleanup_(chunk_scratch_freep) struct chunk_scratch *s = NULL;
	_cleanup_free_ uint8_t *plain = malloc(CHUNK_BYTES_MAX);
	const struct pack_image_source src = {
		.io = ps->io, .keys = ps->keys, .pack = info->pack, .remote = file
	};
	uint8_t hash[32];
	int r = pack_image_open(&src, &img);

	if (r == 0 && !plain)
		r = -ENOMEM;
	if (r == 0)
		r = chunk_scratch_new(&s);
	if (r == 0) {
		hash256(span_of(&img->footer, sizeof(img->footer)), hash);
		if (memcmp(hash, info->id, sizeof(info->id)) != 0)
			r = err_set(E_CORRUPT, "it is another pack");
	}
	for (uint32_t i = 0; r == 0 && i < img->n; i++)
		if (img->chunks[i].sealed)
			r = pack_image_chunk(img, i, s, plain);
	if (r == 0)
		r = object_heads_verify(img);
	return r == -EBADMSG ? -E_CORRUPT : r;
}

/* --- inspect --- */

struct printer {
	void (*print)(void *arg, const char *line);
	void *arg;
};

static _printf_(2, 3) void say(const struct printer *p, const char *fmt, ...)
{
	char line[LINE_BYTES];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	p->print(p->arg, line);
}

static const char *hex(const uint8_t *p, size_t n, char out[65])
{
	assert(n <= 32);
	for (size_t i = 0; i < n; i++)
		snprintf(out + 2 * i, 3, "%02x", p[i]);
	return out;
}

static bool header_print(const struct printer *p, const struct pack_header *h)
{
	char word[65];

	if (!pack_header_sane(h)) {
		say(p, "header: does not verify");
		return false;
	}
	say(p, "header: version %u, pack %010llx", le32_get(h->version),
	    (unsigned long long)le64_get(h->pack));
	say(p, "  store %s", hex(h->store_id, sizeof(h->store_id), word));
	say(p, "  salt %s", hex(h->salt, sizeof(h->salt), word));
	return true;
}

static bool footer_print(const struct printer *p, const struct pack_footer *f,
			 uint64_t file_bytes, const struct keys *keys)
{
	bool good = pack_footer_sane(f, file_bytes);
	const char *verdict = "not checked without the key";
	char word[65];

	if (!good) {
		say(p, "footer: does not verify");
		return false;
	}
	if (keys) {
		good = pack_footer_signed(f, keys);
		verdict = good ? "good" : "BAD";
	}
	say(p, "footer: version %u, pack %010llx, %u chunks, rewritten %u times, lane %u",
	    le32_get(f->version), (unsigned long long)le64_get(f->pack),
	    le32_get(f->chunks), le32_get(f->rewrites), le32_get(f->lane));
	say(p, "  file %llu bytes, directory at %llu",
	    (unsigned long long)le64_get(f->file_bytes),
	    (unsigned long long)le64_get(f->directory));
	say(p, "  directory hash %s", hex(f->hash, sizeof(f->hash), word));
	say(p, "  after pack %010llx with footer hash %s",
	    (unsigned long long)le64_get(f->prev), hex(f->prev_hash, 32, word));
	say(p, "  signature: %s", verdict);
	return good;
}

static const char *algorithm_name(uint8_t algorithm)
{
	if (algorithm == CHUNK_ZSTD)
		return "zstd";
	return algorithm == CHUNK_STORED ? "stored" : "unknown";
}

/* 0, -EBADMSG when the hash is another, or an error. */
static int directory_print(const struct printer *p, struct io_file *file,
			   const struct pack_footer *f)
{
	size_t bytes = le32_get(f->chunks) * sizeof(struct pack_entry);
	_cleanup_free_ struct pack_entry *dir = malloc(bytes + 1);
	uint8_t hash[32];
	int r;

	if (!dir)
		return -ENOMEM;
	r = io_pread_all(file, dir, bytes, le64_get(f->directory));
	if (r < 0)
		return r;
	hash256(span_of(dir, bytes), hash);
	if (memcmp(hash, f->hash, sizeof(hash))) {
		say(p, "directory: does not verify");
		return -EBADMSG;
	}
	for (uint32_t i = 0; i < le32_get(f->chunks); i++) {
		struct chunk_entry e = pack_entry_get(&dir[i]);

		if (!e.sealed)
			say(p, "chunk %u: removed", i);
		else
			say(p, "chunk %u: at %llu, %u bytes sealed, %u plain, %s", i,
			    (unsigned long long)e.off, e.sealed, e.plain,
			    algorithm_name(e.algorithm));
	}
	return 0;
}

int pack_inspect(struct io *io, const struct keys *keys, const char *name,
		 void (*print)(void *arg, const char *line), void *arg)
{
	_cleanup_(io_closep) struct io_file *file = NULL;
	const struct printer p = { print, arg };
	struct pack_header h = { 0 };
	struct pack_footer f = { 0 };
	uint64_t file_bytes;
	bool whole;
	int r;

	r = io_open(io, name, IO_READ, &file);
	if (r == 0)
		r = io_size(file, &file_bytes);
	if (r == 0)
		r = io_pread_all(file, &h, sizeof(h), 0);
	if (r == 0 && file_bytes >= sizeof(h) + sizeof(f))
		r = io_pread_all(file, &f, sizeof(f), file_bytes - sizeof(f));
	if (r < 0 && r != -ENODATA)
		return r;
	whole = header_print(&p, &h);
	r = -EBADMSG;
	if (footer_print(&p, &f, file_bytes, keys))
		r = directory_print(&p, file, &f);
	if (r < 0 && r != -EBADMSG && r != -ENODATA)
		return r;
	if (whole && r == 0)
		return 0;
	return err_set(E_CORRUPT,
		       "%s is damaged; ropefs-fsck tells which files it belongs to",
		       name);
}
