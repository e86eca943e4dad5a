/* value.c - small files as values: replaced as a whole if nobody changed them meanwhile, and
 * counted up. Reading, deciding and writing are apart; the write happens only if the version is
 * still the one that was read, else all is done again. Who comes in between has made progress,
 * so somebody always does. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/err.h"
#include "core/store_priv.h"

#define NUMBER_TEXT_MAX 64 /* bytes of a file that is a number */

static void etag_put(uint64_t ino, uint64_t version, char ret[ROPEFS_ETAG_MAX])
{
	snprintf(ret, ROPEFS_ETAG_MAX, ETAG_FORMAT, ino, version);
}

int ropefs_etag(struct ropefs *fs, uint64_t ino, char ret[ROPEFS_ETAG_MAX])
{
	struct ropefs_attr a;
	int r = ropefs_getattr(fs, ino, &a);

	if (r < 0)
		return r;
	if (!S_ISREG(a.mode))
		return S_ISDIR(a.mode) ? -EISDIR : -EINVAL;
	etag_put(ino, a.version, ret);
	return 0;
}

static int file_locked(struct ropefs *fs, uint64_t ino, struct inode **ret)
{
	struct inode *in;
	int r = inode_get(fs, ino, &in);

	if (r < 0)
		return r;
	if (!S_ISREG(le32_get(in->row.mode)))
		return S_ISDIR(le32_get(in->row.mode)) ? -EISDIR : -EINVAL;
	*ret = in;
	return 0;
}

static int etag_check(const struct inode *in, const char *want)
{
	char is[ROPEFS_ETAG_MAX];

	etag_put(in->ino, inode_version(in), is);
	if (!want || !strcmp(want, is))
		return 0;
	return err_set(E_CONFLICT,
		       "the file was changed meanwhile: its etag is %s, not %.64s", is,
		       want);
}

/* The end of a change of all bytes of a file. The etag that it leaves is told first: a process that
 * finds the change made, by its LSN, is not to ask for what others may have changed since. */
static int change_end_etag(struct ropefs *fs, const struct op *op, const struct inode *in,
			   char ret_etag[ROPEFS_ETAG_MAX])
{
	if (ret_etag)
		etag_put(op->ino, inode_next_version(in, op->time), ret_etag);
	return change_end(fs, op, 0, NULL);
}

int ropefs_put(struct ropefs *fs, uint64_t ino, const char *if_etag, const void *p,
	       size_t n, char *ret_etag)
{
	struct op op = { .type = OP_PUT, .ino = ino, .data = span_of(p, n) };
	struct inode *in;
	int r;

	if (n > ROPEFS_WRITE_MAX)
		return err_set(EFBIG,
			       "a value takes at most %u bytes; use "
			       "ropefs_replace_if() with a file of any size",
			       ROPEFS_WRITE_MAX);
	r = change_begin(fs, &op, 0, false);
	if (r < 0)
		return r;
	r = file_locked(fs, ino, &in);
	if (r >= 0)
		r = etag_check(in, if_etag);
	return r < 0 ? change_abort(fs, r) : change_end_etag(fs, &op, in, ret_etag);
}

int ropefs_replace_if(struct ropefs *fs, uint64_t ino, const char *if_etag, uint64_t from,
		      char *ret_etag)
{
	struct op op = { .type = OP_REPLACE, .ino = ino, .src = from };
	struct inode *in, *src;
	int r = change_begin(fs, &op, 0, false);

	if (r < 0)
		return r;
	r = file_locked(fs, ino, &in);
	if (r >= 0)
		r = file_locked(fs, from, &src);
	if (r >= 0)
		r = etag_check(in, if_etag);
	if (r >= 0 && in == src)
		r = -EINVAL;
	if (r < 0)
		return change_abort(fs, r);
	op.n = rope_bytes(&in->row.rope);
	op.src_n = rope_bytes(&src->row.rope);
	return change_end_etag(fs, &op, in, ret_etag);
}

static int value_read(struct ropefs *fs, uint64_t ino, struct buf *ret,
		      char ret_etag[ROPEFS_ETAG_MAX])
{
	_cleanup_(buf_release) struct buf b = BUF_INIT;
	struct ropefs_attr a;
	ssize_t n;
	int r = ropefs_getattr(fs, ino, &a);

	if (r >= 0 && a.size > ROPEFS_WRITE_MAX)
		r = err_set(EFBIG,
			    "a value takes at most %u bytes, and the file has %llu",
			    ROPEFS_WRITE_MAX, (unsigned long long)a.size);
	if (r >= 0)
		r = buf_reserve(&b, a.size + 1);
	if (r < 0)
		return r;
	/* What changes from here on changes the etag too. */
	n = ropefs_read(fs, ino, 0, b.p, a.size, 0);
	if (n < 0)
		return (int)n;
	b.n = (size_t)n;
	etag_put(ino, a.version, ret_etag);
	b.p[b.n] = '\0';
	buf_swap(ret, &b);
	return 0;
}

int ropefs_value(struct ropefs *fs, uint64_t ino, char **ret, size_t *ret_n,
		 char ret_etag[ROPEFS_ETAG_MAX])
{
	_cleanup_(buf_release) struct buf b = BUF_INIT;
	int r;

	err_clear();
	r = value_read(fs, ino, &b, ret_etag);
	if (r < 0)
		return r;
	*ret = (char *)b.p;
	*ret_n = b.n;
	b = BUF_INIT;
	return 0;
}

/* --- numbers --- */

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

int ropefs_number_parse(const char *p, size_t n, int64_t *ret)
{
	bool minus;
	int64_t v = 0;

	while (n && is_blank(*p))
		p++, n--;
	while (n && is_blank(p[n - 1]))
		n--;
	minus = n && *p == '-';
	if (n && (*p == '-' || *p == '+'))
		p++, n--;
	if (!n)
		return err_set(EINVAL, "there is no number");
	/* Counted downwards: there is one more negative number. */
	for (; n; p++, n--) {
		if (*p < '0' || *p > '9')
			return err_set(EINVAL, "this is no whole number");
		if (__builtin_mul_overflow(v, 10, &v) ||
		    __builtin_sub_overflow(v, *p - '0', &v))
			return err_set(ERANGE, "the number takes more than 64 bits");
	}
	if (!minus && __builtin_sub_overflow((int64_t)0, v, &v))
		return err_set(ERANGE, "the number takes more than 64 bits");
	*ret = v;
	return 0;
}

/* What a file holds as a number; an empty one is 0. */
static int number_of(const char *p, size_t n, int64_t *ret)
{
	if (!n) {
		*ret = 0;
		return 0;
	}
	if (n > NUMBER_TEXT_MAX || ropefs_number_parse(p, n, ret) < 0)
		return err_set(EINVAL, "the file holds no whole number of 64 bits");
	return 0;
}

int ropefs_number(struct ropefs *fs, uint64_t ino, int64_t *ret)
{
	_cleanup_free_ char *p = NULL;
	char etag[ROPEFS_ETAG_MAX];
	size_t n;
	int r = ropefs_value(fs, ino, &p, &n, etag);

	return r < 0 ? r : number_of(p, n, ret);
}

int ropefs_value_add(const char *p, size_t n, int64_t add, char **ret, size_t *ret_n)
{
	int64_t was, is;
	char *text;
	int r;

	err_clear();
	r = number_of(p, n, &was);
	if (r < 0)
		return r;
	if (__builtin_add_overflow(was, add, &is))
		return err_set(ERANGE,
			       "%" PRId64 " and %" PRId64
			       " make a number of more than 64 bits",
			       was, add);
	r = asprintf(&text, "%" PRId64 "\n", is);
	if (r < 0)
		return -ENOMEM;
	*ret = text;
	*ret_n = (size_t)r;
	return 0;
}

/* --- read, decide, and write if it is still the same --- */

typedef int (*decide_fn)(const void *arg, const char *p, size_t n, char **ret,
			 size_t *ret_n);

static int update(struct ropefs *fs, uint64_t ino, decide_fn decide, const void *arg,
		  char **ret, size_t *ret_n)
{
	for (;;) {
		_cleanup_free_ char *old = NULL, *new = NULL;
		char etag[ROPEFS_ETAG_MAX];
		size_t n, new_n;
		int r = ropefs_value(fs, ino, &old, &n, etag);

		if (r >= 0)
			r = decide(arg, old, n, &new, &new_n);
		if (r >= 0)
			r = ropefs_put(fs, ino, etag, new, new_n, NULL);
		if (r >= 0 && ret) {
			*ret = new;
			*ret_n = new_n;
			new = NULL;
		}
		if (r != -E_CONFLICT)
			return r;
	}
}

static int decide_add(const void *arg, const char *p, size_t n, char **ret, size_t *ret_n)
{
	return ropefs_value_add(p, n, *(const int64_t *)arg, ret, ret_n);
}

int ropefs_add(struct ropefs *fs, uint64_t ino, int64_t n, int64_t *ret)
{
	_cleanup_free_ char *text = NULL;
	size_t text_n;
	int r = update(fs, ino, decide_add, &n, &text, &text_n);

	return r < 0 || !ret ? r : ropefs_number_parse(text, text_n, ret);
}

struct patch {
	const char *p;
	size_t n;
};

static int decide_patch(const void *arg, const char *p, size_t n, char **ret,
			size_t *ret_n)
{
	const struct patch *patch = arg;

	return ropefs_value_patch(p, n, patch->p, patch->n, ret, ret_n);
}

int ropefs_patch(struct ropefs *fs, uint64_t ino, const char *p, size_t n)
{
	const struct patch patch = { p, n };

	return update(fs, ino, decide_patch, &patch, NULL, NULL);
}
