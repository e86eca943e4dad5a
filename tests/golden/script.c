#include "tests/golden/script.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/lib/suite.h"

#define FILE_MODE (S_IFREG | 0640)
#define KIB	  1024u

/* A name of 255 bytes, of which none but '/' and NUL is forbidden. */
#define TEN	  "\x01\xff \n\\\"'*@~"
#define FIFTY	  TEN TEN TEN TEN TEN
#define LONG_NAME "/" FIFTY FIFTY FIFTY FIFTY FIFTY "12345"

/* Until G_COPY it becomes pages and packs: ropes of one and of several levels, shared ones,
 * holes, extents in the row itself; chunks compressed and stored; a pack written anew. What
 * comes after it is in the log alone, and has every type of record. */
const struct golden_step golden_v1[] = {
	{ G_CREATE, "/doomed", .mode = FILE_MODE },
	{ G_WRITE, "/doomed", .n = 128 * KIB, .noise = 1 },
	{ G_CREATE, "/edited", .mode = FILE_MODE },
	{ G_WRITE, "/edited", .n = 160 * KIB },
	{ G_CREATE, "/noise", .mode = FILE_MODE },
	{ G_WRITE, "/noise", .n = 5000, .noise = 2 },
	{ G_CREATE, "/dir", .mode = S_IFDIR | 0750 },
	{ G_CREATE, "/dir/inner", .mode = S_IFDIR | S_ISVTX | 0777 },
	{ G_CREATE, "/dir/inner/empty", .mode = S_IFREG | S_ISUID | 0755 },
	{ G_MANY, "/dir/many", .times = 24, .n = 20 },
	{ G_CREATE, "/sparse", .mode = FILE_MODE },
	{ G_WRITE, "/sparse", .at = 300000, .n = 100 },
	{ G_CREATE, LONG_NAME, .mode = FILE_MODE },
	{ G_WRITE, LONG_NAME, .n = 1 },
	{ G_CREATE, "/fifo", .mode = S_IFIFO | 0600 },
	{ G_CREATE, "/socket", .mode = S_IFSOCK | 0600 },
	{ G_CREATE, "/device", .mode = S_IFCHR | 0600, .rdev = 0x11112c70 },
	{ G_SYMLINK, "/short", .n = 7 },
	{ G_SYMLINK, "/dir/long", .n = 4000 },
	{ G_LINK, "/noise", "/dir/noise too" },
	{ G_XATTR, "/edited", .name = "user.empty", .n = 0 },
	{ G_XATTR, "/edited", .name = "user.part", .n = 1000 },
	{ G_XATTR, "/edited", .name = "user.gone", .n = 10 },
	{ G_XATTR, "/dir", .name = "trusted.large", .n = 2500, .noise = 3 },
	{ G_CHECKPOINT },
	{ G_INSERTS, "/edited", .times = 280, .at = 300, .n = 8 },
	{ G_CUT, "/edited", .at = 100001, .n = 3000 },
	{ G_CREATE, "/clone", .mode = FILE_MODE },
	{ G_CLONE, "/clone", "/edited" },
	{ G_PUNCH, "/sparse", .at = 300010, .n = 50 },
	{ G_ATTR, "/noise", .mode = 0444, .n = 1700000000123456789u },
	{ G_CHECKPOINT },
	{ G_REOPEN },
	{ G_WRITE, "/clone", .at = 50000, .n = 700 },
	{ G_REMOVE, "/doomed" },
	{ G_COLLECT },
	{ G_COPY },

	{ G_WRITE, "/edited", .at = 150 * KIB, .n = 4 * KIB },
	{ G_INSERT, "/edited", .at = 77, .n = 33 },
	{ G_SYNC },
	{ G_CUT, "/clone", .at = 0, .n = 12345 },
	{ G_TRUNCATE, "/noise", .n = 4000 },
	{ G_TRUNCATE, "/dir/many07", .n = 9000 },
	{ G_PUNCH, "/edited", .at = 1000, .n = 5000 },
	{ G_REPLACE, "/dir/many08", "/edited", .at = 5, .n = 10, .from_at = 900,
	  .from_n = 8000 },
	{ G_CREATE, "/again", .mode = FILE_MODE },
	{ G_CLONE, "/again", "/clone" },
	{ G_CREATE, "/new", .mode = S_IFDIR | 0700 },
	{ G_SYMLINK, "/new/link", .n = 1500 },
	{ G_LINK, "/again", "/new/again" },
	{ G_REMOVE, "/dir/many01" },
	{ G_REMOVE, "/dir/noise too" },
	{ G_SYNC },
	{ G_CREATE, "/new/short-lived", .mode = S_IFDIR | 0700 },
	{ G_REMOVE, "/new/short-lived" },
	{ G_RENAME, "/dir/inner", "/new/inner" },
	{ G_RENAME, "/dir/many02", "/dir/many03" },
	{ G_RENAME, "/clone", "/again", .n = 1 },
	{ G_ATTR, "/dir", .mode = 0711, .n = 1600000000000000001u },
	{ G_XATTR, "/clone", .name = "user.late", .n = 3000 },
	{ G_XATTR, "/edited", .name = "user.part", .n = 999, .noise = 4 },
	{ G_RMXATTR, "/edited", .name = "user.gone" },
	{ G_ORPHAN, .n = 500 },
	{ G_REAPED, .n = 600 },
	{ G_SYNC },
};
const size_t golden_v1_n = sizeof(golden_v1) / sizeof(golden_v1[0]);

void golden_bytes(const struct golden_step *s, uint64_t k, uint8_t *p)
{
	struct rng rng = rng_seeded(s->noise);
	char line[64];

	if (s->noise) {
		rng_fill(&rng, p, s->n);
		return;
	}
	for (uint64_t i = 0; i < s->n; i++) {
		size_t at = i % 32;

		if (at == 0) /* 32 bytes */
			snprintf(line, sizeof(line), "%05u-%06u-%018u\n",
				 (unsigned)(k % 100000), (unsigned)(i / 32 % 1000000),
				 (unsigned)(s->at % 1000000000));
		assert(strlen(line) == 32);
		p[i] = (uint8_t)line[at];
	}
}

void golden_many_path(const struct golden_step *s, uint64_t k, char path[GOLDEN_PATH_MAX])
{
	snprintf(path, GOLDEN_PATH_MAX, "%s%02u", s->path, (unsigned)k);
}
