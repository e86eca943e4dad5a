/* ACLs as bytes: which are taken, what mode they make, what a mode makes of them. */
#include "core/acl.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/le.h"
#include "tests/lib/suite.h"

struct entry {
	uint16_t tag, rwx;
	uint32_t id;
};

static struct buf acl_of(const struct entry *e, size_t n)
{
	struct buf b = BUF_INIT;
	const le32 version = le32_put(2);

	ck_assert_int_eq(buf_append(&b, &version, sizeof(version)), 0);
	for (size_t i = 0; i < n; i++) {
		le16 small[2] = { le16_put(e[i].tag), le16_put(e[i].rwx) };
		le32 id = le32_put(e[i].id);

		ck_assert_int_eq(buf_append(&b, small, sizeof(small)), 0);
		ck_assert_int_eq(buf_append(&b, &id, sizeof(id)), 0);
	}
	return b;
}

#define ACL(...)                                                                         \
	acl_of((const struct entry[]) { __VA_ARGS__ },                                   \
	       sizeof((const struct entry[]) { __VA_ARGS__ }) / sizeof(struct entry))

static int check_and_free(struct buf b)
{
	int r = acl_check(buf_span(&b));

	buf_release(&b);
	return r;
}

START_TEST(only_acls_that_make_sense_are_taken)
{
	ck_assert_int_eq(check_and_free(ACL({ 1, 7 }, { 4, 5 }, { 32, 0 })), 0);
	ck_assert_int_eq(check_and_free(ACL({ 1, 7 }, { 2, 6, 5 }, { 2, 6, 9 }, { 4, 5 },
					    { 8, 1, 3 }, { 16, 7 }, { 32, 0 })),
			 0);
	/* without owner, group or others; a named one without a mask */
	ck_assert_int_eq(check_and_free(ACL({ 4, 5 }, { 32, 0 })), -EINVAL);
	ck_assert_int_eq(check_and_free(ACL({ 1, 7 }, { 32, 0 })), -EINVAL);
	ck_assert_int_eq(check_and_free(ACL({ 1, 7 }, { 4, 5 })), -EINVAL);
	ck_assert_int_eq(check_and_free(ACL({ 1, 7 }, { 2, 6, 5 }, { 4, 5 }, { 32, 0 })),
			 -EINVAL);
	/* out of order, twice, unknown, too many bits, nobody's */
	ck_assert_int_eq(check_and_free(ACL({ 4, 5 }, { 1, 7 }, { 32, 0 })), -EINVAL);
	ck_assert_int_eq(check_and_free(ACL({ 1, 7 }, { 1, 7 }, { 4, 5 }, { 32, 0 })),
			 -EINVAL);
	ck_assert_int_eq(check_and_free(ACL({ 1, 7 }, { 4, 5 }, { 32, 0 }, { 64, 0 })),
			 -EINVAL);
	ck_assert_int_eq(check_and_free(ACL({ 1, 8 }, { 4, 5 }, { 32, 0 })), -EINVAL);
	ck_assert_int_eq(check_and_free(ACL({ 1, 7 }, { 2, 6, UINT32_MAX }, { 4, 5 },
					    { 16, 7 }, { 32, 0 })),
			 -EINVAL);
}
END_TEST

START_TEST(bytes_of_any_other_kind_are_refused)
{
	struct buf good = ACL({ 1, 7 }, { 4, 5 }, { 32, 0 });

	for (size_t n = 0; n < good.n; n++)
		ck_assert_int_eq(acl_check(span_of(good.p, n)), -EINVAL);
	for (size_t bit = 0; bit < 32; bit++) {
		good.p[bit / 8] ^= (uint8_t)(1 << bit % 8);
		ck_assert_int_eq(acl_check(buf_span(&good)), -EINVAL);
		good.p[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	ck_assert_int_eq(acl_check(span_of("", 0)), -EINVAL);
	buf_release(&good);
}
END_TEST

START_TEST(mode_and_acl_have_the_same_bits)
{
	struct buf named = ACL({ 1, 6 }, { 2, 7, 5 }, { 4, 4 }, { 16, 5 }, { 32, 1 });
	struct buf plain = BUF_INIT;

	ck_assert_uint_eq(acl_mode(buf_span(&named)), 0651);
	ck_assert(!acl_is_minimal(buf_span(&named)));
	acl_set_mode(&named, 0123);
	ck_assert_uint_eq(acl_mode(buf_span(&named)), 0123);
	ck_assert_int_eq(acl_check(buf_span(&named)), 0);
	for (uint32_t mode = 0; mode <= 0777; mode++) {
		plain.n = 0;
		ck_assert_int_eq(acl_of_mode(mode, &plain), 0);
		ck_assert_int_eq(acl_check(buf_span(&plain)), 0);
		ck_assert(acl_is_minimal(buf_span(&plain)));
		ck_assert_uint_eq(acl_mode(buf_span(&plain)), mode);
	}
	buf_release(&named);
	buf_release(&plain);
}
END_TEST

START_TEST(inheriting_twice_is_inheriting_once)
{
	for (uint32_t mode = 0; mode <= 07777; mode += 5) {
		struct buf a = ACL({ 1, 7 }, { 2, 7, 5 }, { 4, 5 }, { 16, 6 }, { 32, 4 });
		uint32_t once = acl_inherit(&a, mode);
		struct buf b = BUF_INIT;

		ck_assert_uint_eq(once, mode & (07000 | 0764));
		ck_assert_int_eq(buf_append(&b, a.p, a.n), 0);
		ck_assert_uint_eq(acl_inherit(&b, once), once);
		ck_assert_mem_eq(a.p, b.p, a.n);
		buf_release(&a);
		buf_release(&b);
	}
}
END_TEST

START_TEST(who_is_named_decides)
{
	struct buf a =
		ACL({ 1, 4 }, { 2, 7, 5 }, { 4, 1 }, { 8, 6, 30 }, { 16, 6 }, { 32, 2 });
	const uint32_t both[] = { 20, 30 };
	const struct ropefs_who owner = { 1, 9, NULL, 0 }, named = { 5, 9, NULL, 0 };
	const struct ropefs_who group = { 7, 20, NULL, 0 }, groups = { 7, 9, both, 2 };
	const struct ropefs_who other = { 7, 9, NULL, 0 };

#define MAY(who, want) acl_allows(buf_span(&a), &(who), 1, 20, want)
	ck_assert(MAY(owner, 4) && !MAY(owner, 2));
	ck_assert(MAY(named, 6) && !MAY(named, 1)); /* the mask */
	ck_assert(!MAY(group, 4) && !MAY(group, 2) && !MAY(group, 1));
	ck_assert(MAY(groups, 6) && !MAY(groups, 7));
	ck_assert(MAY(other, 2) && !MAY(other, 4) && MAY(other, 0));
#undef MAY
	buf_release(&a);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("acl");
	TCase *tc = tcase_create("acl");

	tcase_add_test(tc, only_acls_that_make_sense_are_taken);
	tcase_add_test(tc, bytes_of_any_other_kind_are_refused);
	tcase_add_test(tc, mode_and_acl_have_the_same_bits);
	tcase_add_test(tc, inheriting_twice_is_inheriting_once);
	tcase_add_test(tc, who_is_named_decides);
	suite_add_tcase(s, tc);
	return suite_main(s);
}
