/* remote_passed.c - the file remote/passed (sealed_file.h): which older manifests a repair of the
 * bucket has found gone or damaged. They can't be made again, and but for the chain of hashes
 * nobody needs them: verify tells of them, but they are no fault any more. One whose bytes change
 * after that is. */
#include <string.h>

#include "core/keys/sealed_file.h"
#include "core/remote_priv.h"

#define PASSED_NAME REMOTE_FOLDER "/passed"
#define PASSED_MAX  (1u << 20)

static_assert(sizeof(struct passed) == 40, "rows lie in the file as they are");

static const struct sealed_kind kind = { PASSED_NAME, "ROPEPASS", KEY_REMOTE,
					 PASSED_MAX };

void remote_passed_read(struct remote *rm, struct buf *ret)
{
	ret->n = 0;
	if (sealed_file_read(rm->fs->io, rm->fs->keys, &kind, ret) < 0)
		ret->n = 0;
}

bool remote_passed_has(const struct buf *rows, const struct passed *p)
{
	for (size_t at = 0; at + sizeof(*p) <= rows->n; at += sizeof(*p))
		if (!memcmp(rows->p + at, p, sizeof(*p)))
			return true;
	return false;
}

int remote_passed_write(struct remote *rm, const struct buf *rows, uint64_t oldest)
{
	_cleanup_(buf_release) struct buf kept = BUF_INIT;
	int r = 0;

	for (size_t at = 0; r == 0 && at + sizeof(struct passed) <= rows->n;
	     at += sizeof(struct passed)) {
		struct passed p;

		memcpy(&p, rows->p + at, sizeof(p));
		if (le64_get(p.number) >= oldest && !remote_passed_has(&kept, &p) &&
		    kept.n + sizeof(p) <= PASSED_MAX)
			r = buf_append(&kept, &p, sizeof(p));
	}
	return r < 0 ? r
		     : sealed_file_write(rm->fs->io, rm->fs->keys, &kind,
					 buf_span(&kept));
}
