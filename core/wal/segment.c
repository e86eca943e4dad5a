/* segment.c - names and headers of segment files. Invariant: a file called *.wal had a
 * header with its number, durable, before it got the name; one that has none is rotten. */
#include "core/wal/segment.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/base/crc.h"
#include "core/base/err.h"
#include "core/base/mutant.h"

void segment_name(uint64_t number, char ret[WAL_NAME_BYTES])
{
	snprintf(ret, WAL_NAME_BYTES, WAL_DIR "/%016llx.wal", (unsigned long long)number);
}

void spare_name(uint64_t id, char ret[WAL_NAME_BYTES])
{
	snprintf(ret, WAL_NAME_BYTES, WAL_DIR "/%016llx.spare", (unsigned long long)id);
}

static bool name_parse(const char *name, const char *tail, uint64_t *ret)
{
	uint64_t v = 0;

	for (int i = 0; i < 16; i++) {
		char c = name[i];

		if (c >= '0' && c <= '9')
			v = v << 4 | (uint64_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			v = v << 4 | (uint64_t)(c - 'a' + 10);
		else
			return false;
	}
	if (strcmp(name + 16, tail))
		return false;
	*ret = v;
	return true;
}

struct lister {
	struct buf segments, spares; /* of u64 */
};

static int list_one(void *arg, const char *name)
{
	struct lister *l = arg;
	uint64_t number;

	if (name_parse(name, ".wal", &number))
		return buf_append(&l->segments, &number, sizeof(number));
	if (name_parse(name, ".spare", &number))
		return buf_append(&l->spares, &number, sizeof(number));
	return 0;
}

static int number_cmp(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static void numbers_publish(struct buf *b, uint64_t **ret, size_t *ret_n)
{
	*ret_n = b->n / sizeof(uint64_t);
	*ret = (uint64_t *)(void *)b->p;
	if (*ret_n > 0)
		qsort(*ret, *ret_n, sizeof(uint64_t), number_cmp);
}

int wal_list(struct io *io, struct wal_listing *ret)
{
	struct lister l = { 0 };
	int r;

	r = io->ops->list(io, WAL_DIR, list_one, &l);
	if (r < 0 && r != -ENOENT) {
		buf_release(&l.segments);
		buf_release(&l.spares);
		return r;
	}
	numbers_publish(&l.segments, &ret->segments, &ret->n_segments);
	numbers_publish(&l.spares, &ret->spares, &ret->n_spares);
	return 0;
}

void listing_release(struct wal_listing *l)
{
	free(l->segments);
	free(l->spares);
	*l = (struct wal_listing) { 0 };
}

void segment_release(struct segment *s)
{
	io_closep(&s->file);
	aead_free(s->aead);
	*s = SEGMENT_NONE;
}

static uint32_t head_crc(const struct segment_head *h)
{
	struct segment_head copy = *h;

	copy.crc = le32_put(0);
	return crc32c(0, &copy, sizeof(copy));
}

static struct span head_aad(const struct segment_head *h, struct segment_head *copy)
{
	*copy = *h;
	copy->crc = le32_put(0);
	return span_of(copy, offsetof(struct segment_head, tag));
}

static void head_fill(struct io *io, const struct segment *s, struct segment_head *h)
{
	uint8_t epoch[8];

	*h = (struct segment_head) {
		.magic = WAL_MAGIC,
		.version = le32_put(WAL_VERSION),
		.number = le64_put(s->number),
		.first_lsn = le64_put(s->first_lsn),
		.bytes = le64_put(s->bytes),
	};
	memcpy(h->store_id, s->store_id, STORE_ID_BYTES);
	io_random(io, epoch, sizeof(epoch));
	memcpy(h->epoch.b, epoch, sizeof(epoch));
	io_random(io, h->salt, sizeof(h->salt));
	if (MUTANT(CRC_BARE)) {
		h->epoch = le64_put(1);
		memset(h->salt, 1, sizeof(h->salt));
	}
}

static void head_seal(const struct aead *a, struct segment_head *h)
{
	struct nonce nonce = nonce_counter(0);
	struct segment_head copy;

	aead_seal(a, &nonce, head_aad(h, &copy), NULL, 0, NULL, h->tag);
	h->crc = le32_put(head_crc(h));
}

/* The header is durable before the name is: a named file always has one. */
static int write_and_name(struct io *io, const char *spare, const struct segment *s,
			  const struct segment_head *h,
			  const struct segment_filler *filler, bool *ret_named)
{
	uint8_t block[WAL_BLOCK] = { 0 };
	char name[WAL_NAME_BYTES];
	int r;

	memcpy(block, h, sizeof(*h));
	r = io_pwrite(s->file, block, sizeof(block), 0);
	if (r == 0 && filler->fill)
		r = filler->fill(filler->arg, s);
	if (r < 0)
		return r;
	r = io_sync(s->file);
	if (r < 0)
		return r;
	segment_name(s->number, name);
	r = io->ops->rename(io, spare, name);
	if (r < 0)
		return r;
	*ret_named = true;
	return MUTANT(NO_DIR_SYNC) ? 0 : io->ops->sync_dir(io, WAL_DIR);
}

int segment_create(struct io *io, const struct keys *keys, uint64_t spare,
		   const struct segment *want, const struct segment_filler *filler,
		   struct segment *ret, bool *ret_named)
{
	_cleanup_(segment_release) struct segment s = SEGMENT_NONE;
	struct segment_head h;
	char name[WAL_NAME_BYTES];
	int r;

	assert(want->number > 0 && want->first_lsn > 0);
	assert(want->bytes > WAL_BLOCK && want->bytes % WAL_BLOCK == 0);
	s.number = want->number;
	s.first_lsn = want->first_lsn;
	s.bytes = want->bytes;
	memcpy(s.store_id, keys_store_id(keys), STORE_ID_BYTES);
	head_fill(io, &s, &h);
	s.epoch = le64_get(h.epoch);
	r = keys_aead(keys, KEY_WAL, h.salt, &s.aead);
	if (r < 0)
		return r;
	head_seal(s.aead, &h);
	spare_name(spare, name);
	r = io_open(io, name, IO_WRITE, &s.file);
	if (r < 0)
		return r;
	r = write_and_name(io, name, &s, &h, filler, ret_named);
	if (r < 0)
		return r;
	*ret = s;
	s = SEGMENT_NONE;
	return 0;
}

int segment_is_cut(const struct segment *s, bool *ret)
{
	uint64_t bytes;
	int r;

	assert(s->file);
	r = io_size(s->file, &bytes);
	if (r < 0)
		return r;
	*ret = bytes < s->bytes;
	return 0;
}

static int head_check(const struct segment_head *h, uint64_t number)
{
	if (memcmp(h->magic, WAL_MAGIC, sizeof(h->magic)) ||
	    le32_get(h->crc) != head_crc(h))
		return -EBADMSG;
	if (le32_get(h->version) > WAL_VERSION)
		return err_set(E_NEWER,
			       "log segment %llu has version %u, this ropefs knows %u: "
			       "use a newer ropefs",
			       (unsigned long long)number, le32_get(h->version),
			       WAL_VERSION);
	if (le32_get(h->version) != WAL_VERSION || le64_get(h->number) != number)
		return -EBADMSG;
	if (le64_get(h->first_lsn) == 0 || le64_get(h->bytes) <= WAL_BLOCK)
		return -EBADMSG;
	return 0;
}

static int head_unseal(const struct keys *keys, const struct segment_head *h,
		       struct aead **ret)
{
	struct nonce nonce = nonce_counter(0);
	struct segment_head copy;
	struct aead *a;
	int r;

	if (memcmp(h->store_id, keys_store_id(keys), STORE_ID_BYTES))
		return -EBADMSG;
	r = keys_aead(keys, KEY_WAL, h->salt, &a);
	if (r < 0)
		return r;
	r = aead_open(a, &nonce, head_aad(h, &copy), NULL, 0, h->tag, NULL);
	if (r < 0) {
		aead_free(a);
		return r;
	}
	*ret = a;
	return 0;
}

int segment_open(struct io *io, const struct keys *keys, uint64_t number, unsigned how,
		 struct segment *ret)
{
	_cleanup_(segment_release) struct segment s = SEGMENT_NONE;
	struct segment_head h;
	char name[WAL_NAME_BYTES];
	int r;

	segment_name(number, name);
	r = io_open(io, name, how, &s.file);
	if (r < 0)
		return io_is_no_file(r) ? -EBADMSG : r;
	r = io_pread_all(s.file, &h, sizeof(h), 0);
	if (r < 0)
		return r == -ENODATA ? -EBADMSG : r;
	r = head_check(&h, number);
	if (r < 0)
		return r;
	if (keys)
		r = head_unseal(keys, &h, &s.aead);
	if (r < 0)
		return r;
	memcpy(s.store_id, h.store_id, STORE_ID_BYTES);
	s.number = number;
	s.epoch = le64_get(h.epoch);
	s.first_lsn = le64_get(h.first_lsn);
	s.bytes = le64_get(h.bytes);
	*ret = s;
	s = SEGMENT_NONE;
	return 0;
}
