#include "core/header.h"

#include <errno.h>
#include <string.h>

#include "core/base/crc.h"
#include "core/base/err.h"
#include "core/base/le.h"

#define HEADER_NAME  "ropefs"
#define HEADER_BYTES 4096u

static const uint8_t magic[8] = { 'r', 'o', 'p', 'e', 'f', 's', '\r', '\n' };

struct header_disk {
	uint8_t magic[8];
	le32 version;
	le32 cipher;
	uint8_t store_id[STORE_ID_BYTES];
	le64 created_ns;
	uint8_t wrapped[WRAPPED_KEY_BYTES];
	uint8_t public_key[SIGN_PUBLIC_BYTES];
	uint8_t zeros[HEADER_BYTES - 144 - 4];
	le32 crc;
};
static_assert(sizeof(struct header_disk) == HEADER_BYTES, "the header is one block");
static_assert(WRAPPED_KEY_BYTES == 72, "a wrapped key is 72 bytes on disk");

void hex_put(const uint8_t *p, size_t n, char *ret)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < n; i++) {
		ret[2 * i] = digits[p[i] >> 4];
		ret[2 * i + 1] = digits[p[i] & 15];
	}
	ret[2 * n] = '\0';
}

void header_encode(const struct header *h, uint8_t ret[HEADER_FILE_BYTES])
{
	struct header_disk disk[2] = { 0 };

	memcpy(disk[0].magic, magic, sizeof(magic));
	disk[0].version = le32_put(h->version);
	disk[0].cipher = le32_put(h->cipher);
	memcpy(disk[0].store_id, h->store_id, STORE_ID_BYTES);
	disk[0].created_ns = le64_put(h->created_ns);
	memcpy(disk[0].wrapped, h->wrapped, WRAPPED_KEY_BYTES);
	memcpy(disk[0].public_key, h->public_key, SIGN_PUBLIC_BYTES);
	disk[0].crc = le32_put(crc32c(0, &disk[0], offsetof(struct header_disk, crc)));
	disk[1] = disk[0];
	static_assert(sizeof(disk) == HEADER_FILE_BYTES, "two copies");
	memcpy(ret, disk, sizeof(disk));
}

int header_write(struct io *io, const struct header *h)
{
	uint8_t bytes[HEADER_FILE_BYTES];

	header_encode(h, bytes);
	return io_publish(io, HEADER_NAME, bytes, sizeof(bytes));
}

static bool copy_good(const struct header_disk *d)
{
	return !memcmp(d->magic, magic, sizeof(magic)) &&
	       le32_get(d->crc) == crc32c(0, d, offsetof(struct header_disk, crc));
}

/* Without its header nothing of a store can be read: nobody is told to make a new one then. */
static int no_header(struct io *io)
{
	_cleanup_(io_closep) struct io_file *pages = NULL;

	if (io_open(io, "pages", IO_READ, &pages) >= 0)
		return err_set(
			E_NOT_STORE,
			"the store's header (file \"" HEADER_NAME
			"\") is gone; put the file back from any copy of the store, "
			"or from its bucket");
	return err_set(E_NOT_STORE, "there is no store here (no file \"" HEADER_NAME
				    "\"); make one with: ropectl init FOLDER");
}

int header_read(struct io *io, struct header *ret, bool *ret_damaged)
{
	_cleanup_(io_closep) struct io_file *f = NULL;
	struct header_disk disk[2] = { 0 };
	const struct header_disk *good;
	ssize_t n;
	int r;

	r = io_open(io, HEADER_NAME, IO_MEDIUM, &f);
	if (r == -ENOENT)
		return no_header(io);
	if (r < 0)
		return r;
	n = io_pread(f, disk, sizeof(disk), 0);
	if (n < 0)
		return (int)n;
	if (memcmp(disk[0].magic, magic, sizeof(magic)) &&
	    memcmp(disk[1].magic, magic, sizeof(magic)))
		return err_set(E_NOT_STORE, "the file \"" HEADER_NAME
					    "\" is not the header of a store");
	good = copy_good(&disk[0]) ? &disk[0] : copy_good(&disk[1]) ? &disk[1] : NULL;
	if (!good)
		return err_set(E_CORRUPT,
			       "both copies of the store's header (file \"" HEADER_NAME
			       "\") are damaged; put the file back from a backup");
	if (le32_get(good->version) > HEADER_VERSION)
		return err_set(E_NEWER,
			       "the store has format %u, this program knows up to %u; "
			       "use a newer ropefs",
			       le32_get(good->version), HEADER_VERSION);
	ret->version = le32_get(good->version);
	ret->cipher = (enum cipher)le32_get(good->cipher);
	memcpy(ret->store_id, good->store_id, STORE_ID_BYTES);
	ret->created_ns = le64_get(good->created_ns);
	memcpy(ret->wrapped, good->wrapped, WRAPPED_KEY_BYTES);
	memcpy(ret->public_key, good->public_key, SIGN_PUBLIC_BYTES);
	if (ret_damaged)
		*ret_damaged = !copy_good(&disk[0]) || !copy_good(&disk[1]);
	return 0;
}
