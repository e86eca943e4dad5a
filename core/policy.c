#include "core/policy.h"

#include <errno.h>
#include <string.h>

#include "core/base/err.h"
#include "core/base/json.h"
#include "core/store_priv.h"

#define SECOND_NS 1000000000u
#define KEY_MAX	  32

static bool is_word(struct span value, const char *word)
{
	return value.n == strlen(word) && !memcmp(value.p, word, value.n);
}

static int check_kind(struct span value)
{
	if (is_word(value, "queue") || is_word(value, "rope"))
		return 0;
	return err_set(EINVAL, "kind is queue or rope, not \"%.*s\"",
		       (int)MIN(value.n, (size_t)64), (const char *)value.p);
}

static int check_gap(struct span value)
{
	if (is_word(value, "count") || is_word(value, "record"))
		return 0;
	return err_set(EINVAL, "gap is count or record, not \"%.*s\"",
		       (int)MIN(value.n, (size_t)64), (const char *)value.p);
}

/* Digits at the beginning of *s, which moves behind them. */
static bool take_digits(struct span *s, uint64_t *ret)
{
	uint64_t v = 0;
	size_t i = 0;

	for (; i < s->n && s->p[i] >= '0' && s->p[i] <= '9'; i++) {
		uint64_t digit = (uint64_t)(s->p[i] - '0');

		if (v > (INT64_MAX - digit) / 10)
			return false;
		v = v * 10 + digit;
	}
	*s = span_of(s->p + i, s->n - i);
	*ret = v;
	return i > 0;
}

int framing_parse(struct span value, struct framing *ret)
{
	static const char length[] = "length:";
	struct span rest = value;
	uint64_t n = 0;

	if (is_word(value, "line")) {
		*ret = (struct framing) { .mode = FRAMING_LINE };
		return 0;
	}
	if (is_word(value, "write")) {
		*ret = (struct framing) { .mode = FRAMING_WRITE };
		return 0;
	}
	if (value.n > 7 && !memcmp(value.p, length, 7)) {
		rest = span_of(value.p + 7, value.n - 7);
		if (take_digits(&rest, &n) && !rest.n && n && n <= ROPEFS_WRITE_MAX) {
			*ret = (struct framing) { FRAMING_LENGTH, (uint32_t)n };
			return 0;
		}
	}
	return err_set(EINVAL,
		       "framing is line, write or length:N with N from 1 to %u, not "
		       "\"%.*s\"",
		       ROPEFS_WRITE_MAX, (int)MIN(value.n, (size_t)64),
		       (const char *)value.p);
}

static int check_framing(struct span value)
{
	struct framing framing;

	return framing_parse(value, &framing);
}

static bool scale(uint64_t n, uint64_t unit, uint64_t *ret)
{
	if (!n || *ret || n > INT64_MAX / unit)
		return false;
	*ret = n * unit;
	return true;
}

/* One limit: NUMBER and a unit. */
static bool take_limit(struct span item, struct retain *ret)
{
	static const struct {
		const char *unit;
		uint64_t n;
	} ages[] = { { "s", 1 },
		     { "m", 60 },
		     { "h", 3600 },
		     { "d", 86400 },
		     { "w", 604800 } },
	  sizes[] = { { "K", KIB }, { "M", MIB }, { "G", GIB }, { "T", KIB * GIB } },
	  counts[] = { { " records", 1 },
		       { "K records", 1000 },
		       { "M records", 1000000 },
		       { "G records", 1000000000 } };
	uint64_t n;

	if (!take_digits(&item, &n))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(ages); i++)
		if (is_word(item, ages[i].unit))
			return scale(n, ages[i].n * SECOND_NS, &ret->age_ns);
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
		if (is_word(item, sizes[i].unit))
			return scale(n, sizes[i].n, &ret->bytes);
	for (size_t i = 0; i < ARRAY_LEN(counts); i++)
		if (is_word(item, counts[i].unit))
			return scale(n, counts[i].n, &ret->records);
	return false;
}

int retain_parse(struct span value, struct retain *ret)
{
	struct retain retain = { 0 };
	struct span rest = value;

	for (;;) {
		const uint8_t *comma = rest.n ? memchr(rest.p, ',', rest.n) : NULL;
		size_t n = comma ? (size_t)(comma - rest.p) : rest.n;

		if (!take_limit(span_of(rest.p, n), &retain))
			return err_set(
				EINVAL,
				"retain is an age (7d; s, m, h, d, w), a size (10G; "
				"K, M, G, T) or a count (1M records), or several "
				"of them with commas, not \"%.*s\"",
				(int)MIN(value.n, (size_t)64), (const char *)value.p);
		if (!comma)
			break;
		rest = span_of(comma + 1, rest.n - n - 1);
	}
	*ret = retain;
	return 0;
}

static int check_retain(struct span value)
{
	struct retain retain;

	return retain_parse(value, &retain);
}

int ttl_parse(struct span value, uint64_t *ret_ns)
{
	struct retain age = { 0 };

	if (!take_limit(value, &age) || !age.age_ns)
		return err_set(EINVAL,
			       "ttl is an age (30s, 15m, 12h, 7d, 4w), not \"%.*s\"",
			       (int)MIN(value.n, (size_t)64), (const char *)value.p);
	*ret_ns = age.age_ns;
	return 0;
}

static int check_ttl(struct span value)
{
	uint64_t ns;

	return ttl_parse(value, &ns);
}

static int check_upload(struct span value)
{
	if (is_word(value, "first") || is_word(value, "normal") ||
	    is_word(value, "last") || is_word(value, "never"))
		return 0;
	return err_set(EINVAL, "upload is first, normal, last or never, not \"%.*s\"",
		       (int)MIN(value.n, (size_t)64), (const char *)value.p);
}

static int check_pin(struct span value)
{
	if (is_word(value, "on") || is_word(value, "off"))
		return 0;
	return err_set(EINVAL, "pin is on or off, not \"%.*s\"",
		       (int)MIN(value.n, (size_t)64), (const char *)value.p);
}

static const struct policy policies[] = {
	{ "kind", "queue or rope: what new files are", check_kind },
	{ "framing", "line, write or length:N: what a record of a new queue is",
	  check_framing },
	{ "retain", "7d, 10G, 1M records: what of a queue is kept", check_retain },
	{ "gap", "count or record: whether a gap is a record, too", check_gap },
	{ "ttl", "30s, 12h, 7d: how long a file stays that nobody changes", check_ttl },
	{ "upload", "first, normal, last or never: when new bytes go to the bucket",
	  check_upload },
	{ "pin", "on or off: whether new bytes stay on the disk", check_pin },
};

bool policy_is_ours(struct span name)
{
	return name.n >= sizeof(POLICY_PREFIX) - 1 &&
	       !memcmp(name.p, POLICY_PREFIX, sizeof(POLICY_PREFIX) - 1);
}

const struct policy *policy_find(struct span name)
{
	struct span key = name;

	if (!policy_is_ours(name))
		return NULL;
	key = span_of(name.p + sizeof(POLICY_PREFIX) - 1,
		      name.n - (sizeof(POLICY_PREFIX) - 1));
	for (size_t i = 0; i < ARRAY_LEN(policies); i++)
		if (is_word(key, policies[i].key))
			return &policies[i];
	return NULL;
}

static int unknown(struct span name)
{
	_cleanup_(buf_release) struct buf keys = BUF_INIT;

	for (size_t i = 0; i < ARRAY_LEN(policies); i++)
		if (buf_printf(&keys, "%s%s", i ? ", " : "", policies[i].key) < 0)
			return -ENOMEM;
	return err_set(EINVAL, "there is no policy \"%.*s\"; there are %s",
		       (int)MIN(name.n - sizeof(POLICY_PREFIX) + 1, (size_t)64),
		       (const char *)name.p + sizeof(POLICY_PREFIX) - 1,
		       (const char *)keys.p);
}

int policy_check(struct span name, struct span value)
{
	const struct policy *p = policy_find(name);

	return p ? p->check(value) : unknown(name);
}

int ropefs_policy_check(const char *key, const char *value)
{
	char name[sizeof(POLICY_PREFIX) + ROPEFS_NAME_MAX];

	err_clear();
	if (strlen(key) > ROPEFS_NAME_MAX)
		return -EINVAL;
	strcpy(stpcpy(name, POLICY_PREFIX), key);
	return policy_check(SPAN_STR(name), SPAN_STR(value));
}

const char *ropefs_policy_key(unsigned i, const char **ret_values)
{
	if (i >= ARRAY_LEN(policies))
		return NULL;
	*ret_values = policies[i].values;
	return policies[i].key;
}

/* Where an inode's policies come from when it has none itself; NULL: from nowhere. */
static int next_up(struct ropefs *fs, struct inode **in)
{
	uint64_t parent = le64_get((*in)->row.parent);
	int r;

	if (ino_base((*in)->ino) == ROPEFS_ROOT_INO || !parent) {
		*in = NULL;
		return 0;
	}
	r = ino_beside((*in)->ino, parent, &parent);
	if (r >= 0)
		r = inode_get(fs, parent, in);
	if (r == -ENOENT) { /* of a file: the folder it was made in is gone */
		*in = NULL;
		r = 0;
	}
	return r;
}

int policy_get(struct ropefs *fs, struct inode *in, const char *key, struct buf *ret,
	       uint64_t *ret_from)
{
	char name[sizeof(POLICY_PREFIX) + KEY_MAX];
	int r;

	strcpy(stpcpy(name, POLICY_PREFIX), key);
	while (in) {
		if (le32_get(in->row.flags) & INODE_POLICY) {
			r = inode_get_xattr(fs, in, SPAN_STR(name), ret);
			if (r >= 0)
				*ret_from = in->ino;
			if (r != -ENODATA)
				return r;
		}
		r = next_up(fs, &in);
		if (r < 0)
			return r;
	}
	return -ENODATA;
}

int policy_list(struct ropefs *fs, struct inode *in, struct buf *ret)
{
	_cleanup_(buf_release) struct buf lines = BUF_INIT;
	uint64_t from;
	int r = 0;

	for (size_t i = 0; r >= 0 && i < ARRAY_LEN(policies); i++) {
		_cleanup_(buf_release) struct buf value = BUF_INIT;

		r = policy_get(fs, in, policies[i].key, &value, &from);
		if (r == -ENODATA) {
			r = 0;
			continue;
		}
		if (r >= 0)
			r = buf_printf(&lines, "%s\t%.*s\t%llu\n", policies[i].key,
				       (int)value.n, (const char *)value.p,
				       (unsigned long long)from);
	}
	if (r >= 0)
		buf_swap(ret, &lines);
	return r;
}
