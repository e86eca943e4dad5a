/* sealed_file.h - a small file of the store's folder that is sealed as a whole:
 *
 *	 0  magic   8
 *	 8  salt    16
 *	24  sealed  text
 *	    tag     16
 *
 * Key: of its purpose, with the salt; nonce 0; AAD: magic and salt. Each writing has a salt of
 * its own. */
#ifndef ROPEFS_KEYS_SEALED_FILE_H
#define ROPEFS_KEYS_SEALED_FILE_H

#include "core/base/buf.h"
#include "core/io/io.h"
#include "core/keys/keys.h"

struct sealed_kind {
	const char *name; /* of the file */
	const char *magic; /* 8 letters */
	enum key_purpose purpose;
	size_t bytes_max; /* of its text */
};

/* The same bytes in memory, for what is no file of the folder: appended to ret; opened in place,
 * -EBADMSG. */
int sealed_make(struct io *io, const struct keys *keys, const struct sealed_kind *kind,
		struct span text, struct buf *ret);
int sealed_open(const struct keys *keys, const struct sealed_kind *kind, struct buf *b);

/* The old file or the new one is there after a power cut. */
int sealed_file_write(struct io *io, const struct keys *keys,
		      const struct sealed_kind *kind, struct span text);
/* The text with a NUL behind it, which n does not count. -ENOENT; -E_CORRUPT names the file. */
int sealed_file_read(struct io *io, const struct keys *keys,
		     const struct sealed_kind *kind, struct buf *ret);

#endif
