/* lane.c - which lane the bytes written to a file go to, by its policies upload and pin. */
#include "core/base/lane.h"

#include <errno.h>
#include <string.h>

#include "core/policy.h"
#include "core/store_priv.h"

static bool is_word(const struct buf *value, const char *word)
{
	return value->n == strlen(word) && !memcmp(value->p, word, value->n);
}

static unsigned look_up(struct ropefs *fs, struct inode *in)
{
	_cleanup_(buf_release) struct buf upload = BUF_INIT, pin = BUF_INIT;
	unsigned lane = LANE_NORMAL;
	uint64_t from;

	/* What can't be read is as good as not set: a place is no reason to refuse bytes. */
	if (policy_get(fs, in, "upload", &upload, &from) >= 0)
		lane = is_word(&upload, "first")   ? LANE_FIRST
		       : is_word(&upload, "last")  ? LANE_LAST
		       : is_word(&upload, "never") ? LANE_NEVER
						   : LANE_NORMAL;
	if (policy_get(fs, in, "pin", &pin, &from) >= 0 && is_word(&pin, "on"))
		lane |= LANE_PINNED;
	return lane;
}

unsigned inode_lane(struct ropefs *fs, struct inode *in)
{
	struct inode *as = in;

	if (in->lane_turn == fs->lane_turn)
		return in->lane;
	if (in->lane_like && inode_get(fs, in->lane_like, &as) < 0)
		as = in;
	in->lane = (uint8_t)look_up(fs, as);
	in->lane_turn = fs->lane_turn;
	return in->lane;
}

void ropefs_place_like(struct ropefs *fs, uint64_t ino, uint64_t like)
{
	struct inode *in;

	lock_take(&fs->engine);
	if (inode_get(fs, ino, &in) >= 0) {
		in->lane_like = like;
		in->lane_turn = 0;
	}
	lock_drop(&fs->engine);
}
