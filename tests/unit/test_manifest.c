/* test_manifest.c - manifests, byte for byte: tests/golden/manifest-vN is what version N wrote with
 * the keys of tests. It is never made again; MAKE_GOLDEN=PREFIX writes what this program makes. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/base/err.h"
#include "core/pack/pack.h"
#include "core/tier/manifest.h"
#include "tests/lib/suite.h"

static const uint8_t salt[KEY_SALT_BYTES] = "golden manifest";

static void fixed_salt(struct io *io, void *p, size_t n)
{
	ck_assert_uint_eq(n, sizeof(salt));
	memcpy(p, salt, n);
}

static const struct io_ops salt_ops = { .random = fixed_salt };

static struct keys *keys_new(void)
{
	struct keys *keys;

	ck_ok(keys_init_library());
	ck_ok(keys_for_test(CIPHER_XCHACHA20, &keys));
	return keys;
}

/* Something in every field; pages from version 2 on. */
static void golden_fill(unsigned version, struct manifest *m)
{
	static struct manifest_page_row pages[2];

	static struct manifest_pack packs[] = {
		{ 7, 33554432, 33500000, 256, 0, 2, PACK_THERE, { 1, 2, 3 } },
		{ 9, 1000, 700, 3, 4, 1, PACK_DROPPED, { 4, 5, 6 } },
	};
	static struct manifest_segment segments[] = { { 3, 1024, { 7, 8 } },
						      { 5, 12, { 9 } } };
	static struct manifest_drop drops[] = { { 'p', 6, { 10 } }, { 's', 4, { 11 } } };

	*m = (struct manifest) { .number = 42,
				 .epoch = 3,
				 .oldest = 40,
				 .time_ns = 1700000000123456789u,
				 .next_segment = 6,
				 .writer = "the writer's id",
				 .prev_hash = "the hash of the one before it",
				 .state = "the state of the page file",
				 .super = "the superblock's body",
				 .packs = packs,
				 .segments = segments,
				 .drops = drops,
				 .n_packs = 2,
				 .n_segments = 2,
				 .n_drops = 2 };
	if (version < 2)
		return;
	for (size_t i = 0; i < 2; i++) {
		pages[i].page = le64_put(100 + i);
		memset(pages[i].sealed, (int)(i + 1), sizeof(pages[i].sealed));
	}
	m->pages = pages;
	m->n_pages = 2;
}

static const char *golden_name(const char *folder, unsigned version)
{
	static char name[4200];

	snprintf(name, sizeof(name), "%smanifest-v%u", folder, version);
	return name;
}

static void golden_read(unsigned version, struct buf *b)
{
	FILE *f = fopen(golden_name(GOLDEN_DIR "/", version), "rb");

	ck_assert_ptr_nonnull(f);
	ck_ok(buf_reserve(b, 65536));
	b->n = fread(b->p, 1, 65536, f);
	fclose(f);
}

START_TEST(a_manifest_is_read_as_it_was_written)
{
	struct keys *keys = keys_new();
	struct buf b = BUF_INIT;
	struct manifest m = { 0 }, want;

	golden_fill((unsigned)_i, &want);
	golden_read((unsigned)_i, &b);
	ck_ok(manifest_decode(buf_span(&b), keys, &m));
	ck_assert_uint_eq(m.number, want.number);
	ck_assert_uint_eq(m.epoch, want.epoch);
	ck_assert_uint_eq(m.oldest, want.oldest);
	ck_assert_uint_eq(m.time_ns, want.time_ns);
	ck_assert_uint_eq(m.next_segment, want.next_segment);
	ck_assert_mem_eq(m.writer, want.writer, sizeof(m.writer));
	ck_assert_mem_eq(m.prev_hash, want.prev_hash, sizeof(m.prev_hash));
	ck_assert_mem_eq(m.state, want.state, sizeof(m.state));
	ck_assert_mem_eq(m.super, want.super, sizeof(m.super));
	ck_assert_uint_eq(m.n_packs, want.n_packs);
	ck_assert_uint_eq(m.n_segments, want.n_segments);
	ck_assert_uint_eq(m.n_drops, want.n_drops);
	for (size_t i = 0; i < 2; i++) {
		const struct manifest_pack *p = &m.packs[i], *q = &want.packs[i];

		ck_assert_uint_eq(p->pack, q->pack);
		ck_assert_uint_eq(p->bytes, q->bytes);
		ck_assert_uint_eq(p->stored, q->stored);
		ck_assert_uint_eq(p->chunks, q->chunks);
		ck_assert_uint_eq(p->rewrites, q->rewrites);
		ck_assert_uint_eq(p->lane, q->lane);
		ck_assert_uint_eq(p->lost, q->lost);
		ck_assert_mem_eq(p->id, q->id, sizeof(p->id));
		ck_assert_uint_eq(m.segments[i].number, want.segments[i].number);
		ck_assert_uint_eq(m.segments[i].pages, want.segments[i].pages);
		ck_assert_mem_eq(m.segments[i].hash, want.segments[i].hash, 32);
		ck_assert_int_eq(m.drops[i].kind, want.drops[i].kind);
		ck_assert_uint_eq(m.drops[i].number, want.drops[i].number);
		ck_assert_mem_eq(m.drops[i].id, want.drops[i].id, HASH_ID_BYTES);
	}
	ck_assert_uint_eq(m.n_pages, want.n_pages);
	for (size_t i = 0; i < want.n_pages; i++)
		ck_assert_mem_eq(&m.pages[i], &want.pages[i], sizeof(m.pages[i]));
	manifest_release(&m);
	buf_release(&b);
	keys_free(keys);
}
END_TEST

START_TEST(a_manifest_is_still_written_byte_for_byte_as_ever)
{
	struct io io = { &salt_ops };
	struct keys *keys = keys_new();
	struct buf b = BUF_INIT, golden = BUF_INIT;
	struct manifest m;
	FILE *f;

	golden_fill((unsigned)_i, &m);
	ck_ok(manifest_encode(&m, &io, keys, &b));
	if (getenv("MAKE_GOLDEN")) {
		f = fopen(golden_name(getenv("MAKE_GOLDEN"), (unsigned)_i), "wb");
		ck_assert_uint_eq(fwrite(b.p, 1, b.n, f), b.n);
		fclose(f);
	}
	golden_read((unsigned)_i, &golden);
	ck_assert_uint_eq(b.n, golden.n);
	ck_assert_mem_eq(b.p, golden.p, b.n);
	buf_release(&b);
	buf_release(&golden);
	keys_free(keys);
}
END_TEST

START_TEST(a_manifest_with_one_other_byte_is_none)
{
	struct keys *keys = keys_new();
	struct manifest m = { 0 };
	struct buf b = BUF_INIT;

	golden_read((unsigned)_i, &b);
	for (size_t i = 0; i < b.n; i++) {
		b.p[i] ^= 0x10;
		ck_assert_int_lt(manifest_decode(buf_span(&b), keys, &m), 0);
		b.p[i] ^= 0x10;
		ck_assert_int_lt(manifest_decode(span_of(b.p, i), keys, &m), 0);
	}
	buf_release(&b);
	keys_free(keys);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("manifest");
	TCase *t = tcase_create("manifest");

	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, a_manifest_is_read_as_it_was_written, 1, 3);
	tcase_add_loop_test(t, a_manifest_is_still_written_byte_for_byte_as_ever, 1, 3);
	tcase_add_loop_test(t, a_manifest_with_one_other_byte_is_none, 1, 3);
	suite_add_tcase(s, t);
	return suite_main(s);
}
