/* test_sigv4.c - the examples of "Signature Calculations for the Authorization Header" in the
 * Amazon S3 reference, with their keys, times and results. */
#include <stdio.h>
#include <string.h>

#include "core/keys/keys.h"
#include "core/tier/sigv4.h"
#include "tests/lib/suite.h"

#define EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define HOST  "host:examplebucket.s3.amazonaws.com\n"
#define TIME  "x-amz-date:20130524T000000Z\n"

static void ck_signature(struct sigv4_request q, const char *payload, const char *want)
{
	const struct sigv4_keys keys = { "AKIAIOSFODNN7EXAMPLE",
					 "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
					 "us-east-1", "s3" };
	char *got;

	snprintf(q.payload, sizeof(q.payload), "%s", payload);
	snprintf(q.time, sizeof(q.time), "20130524T000000Z");
	ck_ok(sigv4_authorization(&q, &keys, &got));
	ck_assert_pstr_eq(strstr(got, "Signature=") + 10, want);
	ck_assert_ptr_nonnull(strstr(got,
				     "Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/"
				     "s3/aws4_request,"));
	free(got);
}

START_TEST(a_get_of_a_range_is_signed_as_published)
{
	ck_signature(
		(struct sigv4_request) {
			.method = "GET",
			.path = "/test.txt",
			.query = "",
			.headers = HOST "range:bytes=0-9\nx-amz-content-sha256:" EMPTY
					"\n" TIME,
			.signed_headers = "host;range;x-amz-content-sha256;x-amz-date" },
		EMPTY,
		"f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
}
END_TEST

START_TEST(a_put_is_signed_as_published)
{
	char payload[SHA256_HEX];
	struct buf path = BUF_INIT;

	sha256_hex(SPAN_STR("Welcome to Amazon S3."), payload);
	ck_assert_str_eq(
		payload,
		"44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072");
	ck_ok(uri_encode("/test$file.text", true, &path));
	ck_ok(buf_append(&path, "", 1));
	ck_signature(
		(struct sigv4_request) {
			.method = "PUT",
			.path = (const char *)path.p,
			.query = "",
			.headers =
				"date:Fri, 24 May 2013 00:00:00 GMT\n" HOST
				"x-amz-content-sha256:44ce7dd67c959e0d3524ffac1771dfbba"
				"87d2b6b4b4e99e42034a8b803f8b072\n" TIME
				"x-amz-storage-class:REDUCED_REDUNDANCY\n",
			.signed_headers = "date;host;x-amz-content-sha256;x-amz-date;"
					  "x-amz-storage-class" },
		payload,
		"98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
	buf_release(&path);
}
END_TEST

static void ck_query(const char *given, const char *encoded, const char *want)
{
	char *query;

	ck_ok(sigv4_query(given, &query));
	ck_assert_str_eq(query, encoded);
	ck_signature(
		(struct sigv4_request) {
			.method = "GET",
			.path = "/",
			.query = query,
			.headers = HOST "x-amz-content-sha256:" EMPTY "\n" TIME,
			.signed_headers = "host;x-amz-content-sha256;x-amz-date" },
		EMPTY, want);
	free(query);
}

START_TEST(queries_are_sorted_and_signed_as_published)
{
	ck_query("lifecycle", "lifecycle=",
		 "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
	ck_query("prefix=J&max-keys=2", "max-keys=2&prefix=J",
		 "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
}
END_TEST

START_TEST(queries_are_encoded_the_same_way_whoever_encoded_them)
{
	static const char *const given[] = { "prefix=a/b&marker=c%20d",
					     "marker=c+d&prefix=a%2Fb",
					     "marker=c%20d&prefix=a%2fb" };
	char *query;

	for (size_t i = 0; i < ARRAY_LEN(given); i++) {
		ck_ok(sigv4_query(given[i], &query));
		ck_assert_str_eq(query, "marker=c%20d&prefix=a%2Fb");
		free(query);
	}
	ck_ok(sigv4_query(NULL, &query));
	ck_assert_str_eq(query, "");
	free(query);
}
END_TEST

START_TEST(a_hash_in_pieces_is_the_hash_of_the_whole)
{
	char whole[SHA256_HEX], pieces[SHA256_HEX];
	struct sha256 *h;

	sha256_hex(SPAN_STR("abcdef"), whole);
	ck_ok(sha256_new(&h));
	sha256_add(h, SPAN_STR("abc"));
	sha256_add(h, SPAN_STR("def"));
	sha256_end(h, pieces);
	ck_assert_str_eq(whole, pieces);
	sha256_hex(SPAN_STR(""), whole);
	ck_assert_str_eq(whole, EMPTY);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("sigv4");
	TCase *t = tcase_create("sigv4");

	if (keys_init_library() < 0)
		return 1;
	tcase_add_test(t, a_get_of_a_range_is_signed_as_published);
	tcase_add_test(t, a_put_is_signed_as_published);
	tcase_add_test(t, queries_are_sorted_and_signed_as_published);
	tcase_add_test(t, queries_are_encoded_the_same_way_whoever_encoded_them);
	tcase_add_test(t, a_hash_in_pieces_is_the_hash_of_the_whole);
	suite_add_tcase(s, t);
	return suite_main(s);
}
