/* test_keys.c - ciphers, derivation, wrapping, signatures and key files. */
#include "core/keys/keys.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/err.h"
#include "tests/lib/suite.h"

static const uint8_t ID[STORE_ID_BYTES] = { 1, 2, 3, 0xff };
/* AES last: a machine may lack it. */
static const enum cipher ciphers[] = { CIPHER_XCHACHA20, CIPHER_NONE, CIPHER_AES256GCM };

static struct aead *aead_fixed(enum cipher cipher, uint8_t fill)
{
	uint8_t key[AEAD_KEY_BYTES];
	struct aead *a;

	memset(key, fill, sizeof(key));
	ck_ok(keys_init_library());
	ck_ok(aead_new(cipher, key, &a));
	return a;
}

static void path_in_tmp(char *out, const char *name)
{
	snprintf(out, PATH_MAX, "%s/%s", suite_tmpdir(), name);
}

START_TEST(every_length_opens_to_what_was_sealed_also_in_place)
{
	struct rng r = rng_seeded(suite_seed());
	struct aead *a = aead_fixed(ciphers[_i], 7);

	for (size_t n = 0; n < 300; n++) {
		uint8_t plain[300], sealed[300], back[300], tag[16];
		struct nonce nonce = nonce_counter(n);
		struct span aad = span_of("aad", n % 4);

		if (n % 2)
			rng_fill(&r, nonce.b, sizeof(nonce.b));
		rng_fill(&r, plain, n);
		aead_seal(a, &nonce, aad, plain, n, sealed, tag);
		memset(back, 0xee, sizeof(back));
		ck_ok(aead_open(a, &nonce, aad, sealed, n, tag, back));
		ck_assert_mem_eq(back, plain, n);
		memcpy(back, plain, n);
		aead_seal(a, &nonce, aad, back, n, back, tag);
		ck_assert_mem_eq(back, sealed, n);
		ck_ok(aead_open(a, &nonce, aad, back, n, tag, back));
		ck_assert_mem_eq(back, plain, n);
		if (n >= 16 && ciphers[_i] != CIPHER_NONE)
			ck_assert_mem_ne(sealed, plain, n);
	}
	aead_free(a);
}
END_TEST

/* Fails at a flip of any bit of bytes, tag, nonce, aad; or of the key; and zeroes. */
START_TEST(any_flipped_bit_is_refused_and_nothing_is_given_out)
{
	struct aead *a = aead_fixed(ciphers[_i], 7), *other = aead_fixed(ciphers[_i], 8);
	uint8_t all[40 + 16 + AEAD_NONCE_BYTES + 9] = { 0 };
	uint8_t *sealed = all, *tag = all + 40, *aad = tag + 16 + AEAD_NONCE_BYTES;
	uint8_t out[40], zeros[40] = { 0 };
	struct nonce nonce;

	memset(sealed, 3, 40);
	memset(tag + 16, 5, AEAD_NONCE_BYTES);
	memcpy(nonce.b, tag + 16, AEAD_NONCE_BYTES);
	aead_seal(a, &nonce, span_of(aad, 9), sealed, 40, sealed, tag);
	for (size_t bit = 0; bit < sizeof(all) * 8; bit++) {
		all[bit / 8] ^= (uint8_t)(1 << bit % 8);
		memcpy(nonce.b, tag + 16, AEAD_NONCE_BYTES);
		memset(out, 1, sizeof(out));
		ck_assert_int_eq(
			aead_open(a, &nonce, span_of(aad, 9), sealed, 40, tag, out),
			-EBADMSG);
		ck_assert_mem_eq(out, zeros, sizeof(out));
		all[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	memcpy(nonce.b, tag + 16, AEAD_NONCE_BYTES);
	ck_assert_int_eq(aead_open(other, &nonce, span_of(aad, 9), sealed, 40, tag, out),
			 -EBADMSG);
	ck_assert_int_eq(aead_open(a, &nonce, span_of(aad, 8), sealed, 40, tag, out),
			 -EBADMSG);
	ck_ok(aead_open(a, &nonce, span_of(aad, 9), sealed, 40, tag, out));
	aead_free(a);
	aead_free(other);
}
END_TEST

START_TEST(bytes_cannot_move_between_aad_and_text)
{
	struct aead *a = aead_fixed(ciphers[_i], 7);
	struct nonce nonce = nonce_counter(1);
	uint8_t one[16], two[16], out[4];

	aead_seal(a, &nonce, span_of("ab", 2), (const uint8_t *)"cd", 2, out, one);
	aead_seal(a, &nonce, span_of("abc", 3), (const uint8_t *)"d", 1, out, two);
	ck_assert_mem_ne(one, two, 16);
	aead_free(a);
}
END_TEST

/* Against libsodium's plain AES-256-GCM: counters use the key itself, others never do. */
START_TEST(aes_uses_the_key_itself_for_counters_only)
{
	struct aead *a = aead_fixed(CIPHER_AES256GCM, 7);
	struct nonce nonce = nonce_counter(0x0102030405);
	uint8_t key[32], plain[20] = "nineteen characters", mine[20], theirs[20], t1[16],
			 t2[16];

	memset(key, 7, sizeof(key));
	aead_seal(a, &nonce, span_of("x", 1), plain, 20, mine, t1);
	crypto_aead_aes256gcm_encrypt_detached(theirs, t2, NULL, plain, 20,
					       (const uint8_t *)"x", 1, NULL,
					       nonce.b + 12, key);
	ck_assert_mem_eq(mine, theirs, 20);
	ck_assert_mem_eq(t1, t2, 16);
	for (int i = 0; i < 12; i++) {
		nonce.b[i] = 1;
		aead_seal(a, &nonce, span_of("x", 1), plain, 20, mine, t1);
		ck_assert_mem_ne(mine, theirs, 20);
		ck_assert_mem_ne(t1, t2, 16);
		nonce.b[i] = 0;
	}
	aead_free(a);
}
END_TEST

/* Long ones are done by libcrypto: it must be the same cipher, on every machine, for ever. */
START_TEST(long_ones_are_what_libsodium_makes_of_them)
{
	static const size_t lengths[] = { 2047, 2048, 2049, 4096, 65535, 300001 };
	struct rng r = rng_seeded(suite_seed());
	struct aead *a = aead_fixed(CIPHER_XCHACHA20, 7);
	uint8_t key[AEAD_KEY_BYTES], tag[16], wanted[16];
	uint8_t *plain = malloc(300001), *mine = malloc(300001), *theirs = malloc(300001);
	struct nonce nonce;

	memset(key, 7, sizeof(key));
	for (size_t i = 0; i < ARRAY_LEN(lengths) * 2; i++) {
		size_t n = lengths[i / 2], aad = i % 2 * 9;

		rng_fill(&r, nonce.b, sizeof(nonce.b));
		rng_fill(&r, plain, n);
		aead_seal(a, &nonce, span_of("more text", aad), plain, n, mine, tag);
		crypto_aead_xchacha20poly1305_ietf_encrypt_detached(
			theirs, wanted, NULL, plain, n, (const uint8_t *)"more text", aad,
			NULL, nonce.b, key);
		ck_assert_mem_eq(mine, theirs, n);
		ck_assert_mem_eq(tag, wanted, 16);
		memcpy(theirs, plain, n);
		aead_seal(a, &nonce, span_of("more text", aad), theirs, n, theirs, tag);
		ck_assert_mem_eq(theirs, mine, n);
		ck_ok(aead_open(a, &nonce, span_of("more text", aad), theirs, n, tag,
				theirs));
		ck_assert_mem_eq(theirs, plain, n);
	}
	free(plain);
	free(mine);
	free(theirs);
	aead_free(a);
}
END_TEST

/* A flip of one bit in each of bytes, tag, nonce and aad. */
START_TEST(a_long_one_that_was_changed_is_refused_and_zeroed)
{
	enum { N = 5000 };
	struct rng r = rng_seeded(suite_seed());
	struct aead *a = aead_fixed(CIPHER_XCHACHA20, 7);
	struct {
		uint8_t sealed[N], tag[16], aad[9];
		struct nonce nonce;
	} all = { 0 };
	uint8_t out[N], zeros[N] = { 0 };

	aead_seal(a, &all.nonce, span_of(all.aad, 9), zeros, N, all.sealed, all.tag);
	for (int i = 0; i < 500; i++) {
		/* Each of the short parts at times, each bit of them. */
		size_t bit = i < 392 ? N * 8 + (size_t)i : rng_below(&r, N * 8);
		uint8_t *p = (uint8_t *)&all + bit / 8;

		*p ^= (uint8_t)(1 << bit % 8);
		memset(out, 1, sizeof(out));
		ck_assert_int_eq(aead_open(a, &all.nonce, span_of(all.aad, 9), all.sealed,
					   N, all.tag, out),
				 -EBADMSG);
		ck_assert_mem_eq(out, zeros, N);
		*p ^= (uint8_t)(1 << bit % 8);
	}
	ck_ok(aead_open(a, &all.nonce, span_of(all.aad, 9), all.sealed, N, all.tag, out));
	ck_assert_mem_eq(out, zeros, N);
	aead_free(a);
}
END_TEST

START_TEST(cipher_words_go_both_ways_and_unknown_ones_are_refused)
{
	uint8_t key[AEAD_KEY_BYTES] = { 0 };
	enum cipher c = CIPHER_NONE;
	struct aead *a = NULL;

	for (size_t i = 0; i < ARRAY_LEN(ciphers); i++) {
		ck_ok(cipher_parse(cipher_name(ciphers[i]), &c));
		ck_assert_int_eq(c, ciphers[i]);
	}
	ck_assert_int_eq(cipher_parse("rot13", &c), -EINVAL);
	ck_assert_int_eq(c, ciphers[ARRAY_LEN(ciphers) - 1]);
	ck_assert_int_eq(aead_new((enum cipher)77, key, &a), -E_CIPHER);
	ck_assert_ptr_null(a);
	ck_assert(strstr(err_detail(), "77"));
}
END_TEST

/* The tag of fixed bytes under each (purpose, salt) tells the keys apart. */
START_TEST(each_purpose_and_salt_has_a_key_of_its_own)
{
	static const uint8_t salts[2][KEY_SALT_BYTES] = { { 1 }, { 2 } };
	struct keys *k;
	uint8_t tags[5][16];
	struct nonce nonce = nonce_counter(1);
	int n = 0;

	ck_ok(keys_for_test(CIPHER_XCHACHA20, &k));
	for (int i = 0; i < 5; i++) {
		enum key_purpose purpose = i == 4 ? KEY_PAGE : i < 2 ? KEY_WAL : KEY_PACK;
		struct aead *a;

		ck_ok(keys_aead(k, purpose, i == 4 ? NULL : salts[i % 2], &a));
		aead_seal(a, &nonce, span_of("m", 1), NULL, 0, NULL, tags[n++]);
		aead_free(a);
	}
	for (int i = 0; i < n; i++)
		for (int j = 0; j < i; j++)
			ck_assert_mem_ne(tags[i], tags[j], 16);
	keys_free(k);
}
END_TEST

START_TEST(name_hashes_are_stable_and_signatures_verify_only_their_message)
{
	struct keys *k;
	uint8_t sig[SIGN_BYTES], pub[SIGN_PUBLIC_BYTES];

	ck_ok(keys_for_test(CIPHER_NONE, &k));
	ck_assert_uint_eq(keys_name_hash(k, SPAN_STR("a")),
			  keys_name_hash(k, SPAN_STR("a")));
	ck_assert_uint_ne(keys_name_hash(k, SPAN_STR("a")),
			  keys_name_hash(k, SPAN_STR("b")));
	keys_sign(k, SPAN_STR("footer"), sig);
	keys_public(k, pub);
	ck_ok(sign_verify(pub, SPAN_STR("footer"), sig));
	ck_assert_int_eq(sign_verify(pub, SPAN_STR("Footer"), sig), -EBADMSG);
	sig[5] ^= 1;
	ck_assert_int_eq(sign_verify(pub, SPAN_STR("footer"), sig), -EBADMSG);
	keys_free(k);
}
END_TEST

static struct key_file *key_file_fresh(const char *name, const uint8_t *id)
{
	char path[PATH_MAX];
	struct key_file *kf;

	ck_ok(keys_init_library());
	path_in_tmp(path, name);
	ck_ok(key_file_create(path, id));
	ck_ok(key_file_read(path, &kf));
	return kf;
}

START_TEST(a_store_opens_with_its_key_file_only)
{
	static const uint8_t other_id[STORE_ID_BYTES] = { 9 };
	struct key_file *mine = key_file_fresh("open/mine", ID);
	struct key_file *stranger = key_file_fresh("open/stranger", ID);
	uint8_t wrapped[WRAPPED_KEY_BYTES], before[SIGN_PUBLIC_BYTES],
		after[SIGN_PUBLIC_BYTES];
	struct keys *k = NULL;

	ck_ok(keys_create(mine, CIPHER_XCHACHA20, ID, wrapped, &k));
	keys_public(k, before);
	k = keys_free(k);
	ck_ok(keys_open(mine, CIPHER_XCHACHA20, ID, wrapped, &k));
	keys_public(k, after);
	ck_assert_mem_eq(before, after, sizeof(before));
	ck_assert_mem_eq(keys_store_id(k), ID, STORE_ID_BYTES);
	k = keys_free(k);

	ck_assert_int_eq(keys_open(stranger, CIPHER_XCHACHA20, ID, wrapped, &k),
			 -E_WRONG_KEY);
	ck_assert_int_eq(keys_open(mine, CIPHER_NONE, ID, wrapped, &k), -E_WRONG_KEY);
	ck_assert_int_eq(keys_open(mine, CIPHER_XCHACHA20, other_id, wrapped, &k),
			 -E_WRONG_KEY);
	ck_assert(strstr(err_detail(), "09000000"));
	ck_assert_int_eq(keys_open(mine, (enum cipher)9, ID, wrapped, &k), -E_CIPHER);
	for (size_t i = 0; i < sizeof(wrapped); i++) {
		wrapped[i] ^= 0x10;
		ck_assert_int_eq(keys_open(mine, CIPHER_XCHACHA20, ID, wrapped, &k),
				 -E_WRONG_KEY);
		wrapped[i] ^= 0x10;
	}
	ck_assert_ptr_null(k);
	key_file_free(mine);
	key_file_free(stranger);
}
END_TEST

START_TEST(two_stores_get_two_masters)
{
	struct key_file *kf = key_file_fresh("two/key", ID);
	uint8_t wrapped[2][WRAPPED_KEY_BYTES], pub[2][SIGN_PUBLIC_BYTES];

	for (int i = 0; i < 2; i++) {
		struct keys *k;

		ck_ok(keys_create(kf, CIPHER_NONE, ID, wrapped[i], &k));
		keys_public(k, pub[i]);
		keys_free(k);
	}
	ck_assert_mem_ne(pub[0], pub[1], SIGN_PUBLIC_BYTES);
	ck_assert_mem_ne(wrapped[0], wrapped[1], WRAPPED_KEY_BYTES);
	key_file_free(kf);
}
END_TEST

START_TEST(a_key_file_is_private_and_never_replaced)
{
	char path[PATH_MAX], folder[PATH_MAX];
	struct stat st;

	ck_ok(keys_init_library());
	path_in_tmp(path, "private/deep/k.key");
	path_in_tmp(folder, "private/deep");
	ck_ok(key_file_create(path, ID));
	ck_ok(stat(path, &st));
	ck_assert_uint_eq(st.st_mode & 07777, 0600);
	ck_ok(stat(folder, &st));
	ck_assert_uint_eq(st.st_mode & 07777, 0700);
	ck_assert_int_eq(key_file_create(path, ID), -EEXIST);
}
END_TEST

static void write_text(const char *path, const char *text, size_t n, mode_t mode)
{
	int fd;

	unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	ck_ok(fd);
	ck_assert_int_eq(write(fd, text, n), (ssize_t)n);
	ck_ok(fchmod(fd, mode));
	close(fd);
}

static void ck_refused(const char *path, const char *because)
{
	struct key_file *kf = NULL;

	ck_assert_int_eq(key_file_read(path, &kf), -E_KEY_FILE);
	ck_assert_ptr_null(kf);
	ck_assert_msg(strstr(err_detail(), path), "%s", err_detail());
	ck_assert_msg(strstr(err_detail(), because), "%s", err_detail());
}

START_TEST(unsafe_or_damaged_key_files_are_refused_by_name)
{
	static const char text[] =
		"ropefs-key 1\nstore 0102030400000000000000000000000f\n"
		"key AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n";
	char path[PATH_MAX], broken[sizeof(text)];
	struct key_file *kf;

	ck_ok(keys_init_library());
	path_in_tmp(path, "file.key");
	ck_refused(path, "does not exist");
	write_text(path, text, sizeof(text) - 1, 0644);
	ck_refused(path, "chmod 600");
	write_text(path, text, sizeof(text) - 1, 0620);
	ck_refused(path, "chmod 600");
	ck_refused(suite_tmpdir(), "not a regular file");
	for (size_t n = 0; n < sizeof(text) - 2; n++) {
		write_text(path, text, n, 0600);
		ck_refused(path, "damaged");
	}
	for (size_t i = 0; i < sizeof(text) - 1; i++) {
		memcpy(broken, text, sizeof(text));
		broken[i] = '\x7f';
		write_text(path, broken, sizeof(text) - 1, 0600);
		ck_refused(path, "damaged");
	}
	write_text(path, text, sizeof(text), 0600);
	ck_refused(path, "damaged");
	write_text(path, text, sizeof(text) - 2, 0400);
	ck_ok(key_file_read(path, &kf));
	key_file_free(kf);
	write_text(path, text, sizeof(text) - 1, 0600);
	ck_ok(key_file_read(path, &kf));
	key_file_free(kf);
}
END_TEST

START_TEST(the_default_place_names_the_store)
{
	char *path;

	ck_ok(key_file_default_path(ID, &path));
	ck_assert_int_eq(path[0], '/');
	ck_assert(strstr(path, "/ropefs/010203ff000000000000000000000000.key"));
	free(path);
}
END_TEST

static Suite *make_suite(void)
{
	Suite *s = suite_create("keys");
	TCase *aead = tcase_create("aead"), *keys = tcase_create("keys");
	TCase *files = tcase_create("key files");
	int n;

	keys_init_library();
	n = (int)ARRAY_LEN(ciphers) - !cipher_available(CIPHER_AES256GCM);
	tcase_add_loop_test(aead, every_length_opens_to_what_was_sealed_also_in_place, 0,
			    n);
	tcase_add_loop_test(aead, any_flipped_bit_is_refused_and_nothing_is_given_out, 0,
			    n);
	tcase_add_loop_test(aead, bytes_cannot_move_between_aad_and_text, 0, n);
	if (cipher_available(CIPHER_AES256GCM))
		tcase_add_test(aead, aes_uses_the_key_itself_for_counters_only);
	tcase_add_test(aead, long_ones_are_what_libsodium_makes_of_them);
	tcase_add_test(aead, a_long_one_that_was_changed_is_refused_and_zeroed);
	tcase_add_test(aead, cipher_words_go_both_ways_and_unknown_ones_are_refused);
	tcase_add_test(keys, each_purpose_and_salt_has_a_key_of_its_own);
	tcase_add_test(keys,
		       name_hashes_are_stable_and_signatures_verify_only_their_message);
	tcase_add_test(keys, a_store_opens_with_its_key_file_only);
	tcase_add_test(keys, two_stores_get_two_masters);
	tcase_add_test(files, a_key_file_is_private_and_never_replaced);
	tcase_add_test(files, unsafe_or_damaged_key_files_are_refused_by_name);
	tcase_add_test(files, the_default_place_names_the_store);
	suite_add_tcase(s, aead);
	suite_add_tcase(s, keys);
	suite_add_tcase(s, files);
	return s;
}

int main(void)
{
	return suite_main(make_suite());
}
