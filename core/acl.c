#include "core/acl.h"

#include <errno.h>
#include <string.h>

#include "core/base/le.h"

/* Tags, in the order they come in. */
enum {
	OWNER = 0x01,
	USER = 0x02,
	GROUP = 0x04,
	NAMED_GROUP = 0x08,
	MASK = 0x10,
	OTHER = 0x20,
};

#define VERSION	   2u
#define NO_ID	   UINT32_MAX
#define HEAD_BYTES sizeof(le32)

struct acl_entry {
	le16 tag;
	le16 rwx;
	le32 id;
};
static_assert(sizeof(struct acl_entry) == 8, "as in the kernel");

static size_t count(struct span acl)
{
	return (acl.n - HEAD_BYTES) / sizeof(struct acl_entry);
}

static struct acl_entry entry_at(struct span acl, size_t i)
{
	struct acl_entry e;

	memcpy(&e, acl.p + HEAD_BYTES + i * sizeof(e), sizeof(e));
	return e;
}

static unsigned tag_of(struct acl_entry e)
{
	return le16_get(e.tag);
}

static unsigned rwx_of(struct acl_entry e)
{
	return le16_get(e.rwx);
}

static void put_rwx(struct buf *acl, size_t i, unsigned rwx)
{
	struct acl_entry e = entry_at(buf_span(acl), i);

	e.rwx = le16_put((uint16_t)(rwx & 7));
	memcpy(acl->p + HEAD_BYTES + i * sizeof(e), &e, sizeof(e));
}

/* Where the entry is whose bits the mode has as those of the group. */
static size_t group_class(struct span acl)
{
	size_t at = 0;

	for (size_t i = 0; i < count(acl); i++) {
		unsigned tag = tag_of(entry_at(acl, i));

		if (tag == GROUP || tag == MASK)
			at = i;
	}
	return at;
}

static bool is_called(struct span name, const char *s)
{
	return name.n == strlen(s) && memcmp(name.p, s, name.n) == 0;
}

bool acl_is_access(struct span name)
{
	return is_called(name, ACL_ACCESS);
}

bool acl_is_default(struct span name)
{
	return is_called(name, ACL_DEFAULT);
}

int acl_check(struct span acl)
{
	unsigned seen = 0, last = 0;
	le32 version;

	if (acl.n < HEAD_BYTES || (acl.n - HEAD_BYTES) % sizeof(struct acl_entry))
		return -EINVAL;
	memcpy(&version, acl.p, sizeof(version));
	if (le32_get(version) != VERSION)
		return -EINVAL;
	for (size_t i = 0; i < count(acl); i++) {
		struct acl_entry e = entry_at(acl, i);
		unsigned tag = tag_of(e);
		bool named = tag == USER || tag == NAMED_GROUP;

		/* One bit of those known, never less than the last, and each but users and groups
		 * once. */
		if (!tag || tag & (tag - 1) || tag > OTHER || tag < last ||
		    (!named && tag == last))
			return -EINVAL;
		if (rwx_of(e) > 7 || (named && le32_get(e.id) == NO_ID))
			return -EINVAL;
		seen |= tag;
		last = tag;
	}
	if ((seen & (OWNER | GROUP | OTHER)) != (OWNER | GROUP | OTHER))
		return -EINVAL;
	return seen & (USER | NAMED_GROUP) && !(seen & MASK) ? -EINVAL : 0;
}

bool acl_is_minimal(struct span acl)
{
	return count(acl) == 3;
}

uint32_t acl_mode(struct span acl)
{
	size_t n = count(acl);

	return rwx_of(entry_at(acl, 0)) << 6 |
	       rwx_of(entry_at(acl, group_class(acl))) << 3 |
	       rwx_of(entry_at(acl, n - 1));
}

int acl_of_mode(uint32_t mode, struct buf *ret)
{
	const struct {
		le32 version;
		struct acl_entry entries[3];
	} acl = {
		le32_put(VERSION),
		{ { le16_put(OWNER), le16_put(0), le32_put(NO_ID) },
		  { le16_put(GROUP), le16_put(0), le32_put(NO_ID) },
		  { le16_put(OTHER), le16_put(0), le32_put(NO_ID) } },
	};
	int r = buf_append(ret, &acl, sizeof(acl));

	if (r >= 0)
		acl_set_mode(ret, mode);
	return r;
}

void acl_set_mode(struct buf *acl, uint32_t mode)
{
	struct span s = buf_span(acl);

	put_rwx(acl, 0, mode >> 6);
	put_rwx(acl, group_class(s), mode >> 3);
	put_rwx(acl, count(s) - 1, mode);
}

uint32_t acl_inherit(struct buf *acl, uint32_t mode)
{
	uint32_t narrowed = mode & acl_mode(buf_span(acl));

	acl_set_mode(acl, narrowed);
	return (mode & ~0777u) | narrowed;
}

static bool is_in(const struct ropefs_who *who, uint32_t gid)
{
	if (who->gid == gid)
		return true;
	for (size_t i = 0; i < who->n_groups; i++)
		if (who->groups[i] == gid)
			return true;
	return false;
}

bool acl_allows(struct span acl, const struct ropefs_who *who, uint32_t uid, uint32_t gid,
		unsigned want)
{
	unsigned mask = 7;
	bool in_some = false;

	for (size_t i = 0; i < count(acl); i++)
		if (tag_of(entry_at(acl, i)) == MASK)
			mask = rwx_of(entry_at(acl, i));
	for (size_t i = 0; i < count(acl); i++) {
		struct acl_entry e = entry_at(acl, i);
		unsigned tag = tag_of(e), rwx = rwx_of(e);
		uint32_t id = tag == GROUP ? gid : le32_get(e.id);

		if (tag == OWNER && who->uid == uid)
			return (rwx & want) == want;
		if (tag == USER && who->uid == id)
			return (rwx & mask & want) == want;
		if ((tag == GROUP || tag == NAMED_GROUP) && is_in(who, id)) {
			if ((rwx & mask & want) == want)
				return true;
			in_some = true;
		}
		if (tag == OTHER)
			return !in_some && (rwx & want) == want;
	}
	return false;
}
