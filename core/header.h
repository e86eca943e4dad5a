/* header.h - the file "ropefs" of a store: what it is, before any key. Two equal copies,
 * 4 KiB apart, so that rot in one costs nothing.
 *
 *	  0  magic     8 B	"ropefs\r\n"
 *	  8  version   le32	HEADER_VERSION
 *	 12  cipher    le32	enum cipher
 *	 16  store id  16 B	random
 *	 32  created   le64	ns since 1970
 *	 40  wrapped   72 B	master key, sealed with the key file's key
 *	112  public    32 B	Ed25519 key that signs packs
 *	144  zeros
 *	4092 crc       le32	CRC32C of all before */
#ifndef ROPEFS_HEADER_H
#define ROPEFS_HEADER_H

#include "core/keys/keys.h"

#define HEADER_VERSION	  2u
#define HEADER_FILE_BYTES 8192u

struct header {
	uint32_t version;
	enum cipher cipher;
	uint8_t store_id[STORE_ID_BYTES];
	uint64_t created_ns;
	uint8_t wrapped[WRAPPED_KEY_BYTES];
	uint8_t public_key[SIGN_PUBLIC_BYTES];
};

/* The bytes of the file. */
void header_encode(const struct header *h, uint8_t ret[HEADER_FILE_BYTES]);
int header_write(struct io *io, const struct header *h);
/* -E_NOT_STORE, -E_NEWER, -E_CORRUPT (neither copy verifies). *ret_damaged (may be NULL):
 * one of the copies does not. */
int header_read(struct io *io, struct header *ret, bool *ret_damaged);
void hex_put(const uint8_t *p, size_t n, char *ret); /* 2n + 1 chars */

#endif
