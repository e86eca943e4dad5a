#include "core/keys/sealed_file.h"

#include <errno.h>
#include <string.h>

#include "core/base/err.h"
#include "core/keys/secret.h"

struct sealed_head {
	uint8_t magic[8];
	uint8_t salt[KEY_SALT_BYTES];
};
static_assert(sizeof(struct sealed_head) == 24, "the head is 24 bytes on disk");

int sealed_make(struct io *io, const struct keys *keys, const struct sealed_kind *kind,
		struct span text, struct buf *ret)
{
	struct nonce nonce = nonce_counter(0);
	struct aead *aead = NULL;
	struct sealed_head head;
	uint8_t *p;
	int r;

	memcpy(head.magic, kind->magic, sizeof(head.magic));
	io_random(io, head.salt, sizeof(head.salt));
	r = keys_aead(keys, kind->purpose, head.salt, &aead);
	if (r >= 0)
		r = buf_reserve(ret, sizeof(head) + text.n + AEAD_TAG_BYTES);
	if (r >= 0) {
		p = ret->p + ret->n;
		memcpy(p, &head, sizeof(head));
		ret->n += sizeof(head) + text.n + AEAD_TAG_BYTES;
		aead_seal(aead, &nonce, span_of(&head, sizeof(head)), text.p, text.n,
			  p + sizeof(head), p + sizeof(head) + text.n);
	}
	aead_free(aead);
	secret_forget();
	return r;
}

int sealed_file_write(struct io *io, const struct keys *keys,
		      const struct sealed_kind *kind, struct span text)
{
	_cleanup_(buf_release) struct buf file = BUF_INIT;
	int r = sealed_make(io, keys, kind, text, &file);

	return r < 0 ? r : io_publish(io, kind->name, file.p, file.n);
}

int sealed_open(const struct keys *keys, const struct sealed_kind *kind, struct buf *file)
{
	struct nonce nonce = nonce_counter(0);
	struct sealed_head head;
	struct aead *aead;
	size_t n;
	int r;

	if (file->n < sizeof(head) + AEAD_TAG_BYTES)
		return -EBADMSG;
	memcpy(&head, file->p, sizeof(head));
	n = file->n - sizeof(head) - AEAD_TAG_BYTES;
	r = keys_aead(keys, kind->purpose, head.salt, &aead);
	if (r < 0)
		return r;
	r = aead_open(aead, &nonce, span_of(&head, sizeof(head)), file->p + sizeof(head),
		      n, file->p + sizeof(head) + n, file->p + sizeof(head));
	aead_free(aead);
	secret_forget();
	if (r < 0)
		return -EBADMSG;
	memmove(file->p, file->p + sizeof(head), n);
	explicit_bzero(file->p + n, file->n - n); /* the text may hold secrets */
	file->n = n;
	return memcmp(head.magic, kind->magic, sizeof(head.magic)) ? -EBADMSG : 0;
}

int sealed_file_read(struct io *io, const struct keys *keys,
		     const struct sealed_kind *kind, struct buf *ret)
{
	_cleanup_(buf_release) struct buf file = BUF_INIT;
	int r = io_read_file(
		io, kind->name,
		kind->bytes_max + sizeof(struct sealed_head) + AEAD_TAG_BYTES, &file);

	if (r == 0)
		r = sealed_open(keys, kind, &file);
	if (r == -EBADMSG || r == -EFBIG)
		return err_set(E_CORRUPT, "the store's file %s does not verify",
			       kind->name);
	if (r == 0)
		buf_swap(ret, &file);
	return r;
}
