/* test_pack.c - packs against a plain array: what was added must be read back exactly or
 * not at all, whatever happens to the file. test_pack_upkeep.c goes on. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/base/crc.h"
#include "core/base/err.h"
#include "tests/unit/pack_fixture.h"

/* --- round trips --- */

START_TEST(what_was_added_is_read_back)
{
	struct fixture *f = fixture_new(1);
	struct pack_writer *w;

	for (int round = 0; round < 4; round++) {
		ck_ok(pack_writer_new(f->ps, &w));
		for (int i = 0; i < 100; i++) {
			uint64_t max = rng_below(&f->rng, 8) ? 3000 : CHUNK_BYTES;

			ck_ok(model_add(f, w, 1 + (uint32_t)rng_below(&f->rng, max)));
			if (!rng_below(&f->rng, 5))
				ck_ok(pack_writer_break(w, rng_below(&f->rng, 4096)));
		}
		ck_ok(model_add(f, w, CHUNK_BYTES));
		ck_ok(pack_writer_finish(w));
		ck_all_readable(f);
	}
	fixture_reopen(f);
	ck_all_readable(f);
	for (uint64_t pack = 1; pack < packs_next(f->ps); pack++)
		ck_assert_int_eq(verify(f, pack), 0);
	fixture_free(f);
}
END_TEST

START_TEST(any_part_of_a_chunk_can_be_read)
{
	struct fixture *f = fixture_new(2);
	struct piece part;

	ck_ok(model_pack(f, 4, CHUNK_BYTES));
	for (int i = 0; i < 2000; i++) {
		part = f->model.pieces[rng_below(&f->rng, 4)];
		uint32_t from = (uint32_t)rng_below(&f->rng, part.n);

		part.off += from;
		part.at.off += from;
		part.n = (uint32_t)rng_below(&f->rng, part.n - from + 1);
		ck_assert(piece_read(f, &part));
	}
	fixture_free(f);
}
END_TEST

START_TEST(every_cipher_reads_back_and_notices_damage)
{
	static const enum cipher ciphers[] = { CIPHER_XCHACHA20, CIPHER_AES256GCM,
					       CIPHER_NONE };
	struct fixture *f;

	for (size_t i = 0; i < ARRAY_LEN(ciphers); i++) {
		if (!cipher_available(ciphers[i]))
			continue;
		f = fixture_with(30 + i, ciphers[i]);
		ck_ok(model_pack(f, 5, CHUNK_BYTES));
		fixture_reopen(f);
		ck_all_readable(f);
		ck_ok(io_sim_flip(f->io, "packs/0000000001.pack",
				  sizeof(struct pack_header) + sizeof(struct frame_head),
				  0));
		fixture_reopen(f);
		ck_assert_uint_eq(pieces_readable(f), 4);
		fixture_free(f);
	}
}
END_TEST

START_TEST(a_chunk_opens_only_as_what_it_was_sealed)
{
	struct fixture *f = fixture_new(34);
	struct chunk_home home = { .pack = 7 }, other;
	uint8_t plain[3000], out[4000], frame[4000], copy[4000];
	struct chunk_entry e, as;
	ZSTD_CCtx *c = ZSTD_createCCtx();
	ZSTD_DCtx *d = ZSTD_createDCtx();

	ck_ok(keys_aead(f->keys, KEY_PACK, home.salt, &home.aead));
	memset(plain, 'x', sizeof(plain));
	chunk_seal(c, &home, 3, plain, sizeof(plain), frame, &e);
	for (int change = 0; change < 7; change++) {
		uint32_t index = change == 1 ? 4 : 3;

		other = home;
		as = e;
		other.pack += change == 2;
		other.store_id[5] ^= change == 3;
		as.plain += change == 4;
		if (change == 5)
			as = (struct chunk_entry) { 0, e.sealed, e.sealed, CHUNK_STORED };
		as.sealed -= change == 6;
		memcpy(copy, frame + sizeof(struct frame_head), sizeof(copy) - 24);
		ck_assert_int_eq(chunk_open(d, &other, index, &as, copy, out),
				 change ? -EBADMSG : 0);
		if (!change)
			ck_assert_mem_eq(out, plain, sizeof(plain));
	}
	aead_free(home.aead);
	ZSTD_freeCCtx(c);
	ZSTD_freeDCtx(d);
	fixture_free(f);
}
END_TEST

START_TEST(a_piece_is_never_split_and_break_ends_only_full_enough_chunks)
{
	struct fixture *f = fixture_new(3);
	struct piece *p = f->model.pieces;
	struct pack_writer *w;

	ck_ok(pack_writer_new(f->ps, &w));
	ck_ok(model_add(f, w, 100));
	ck_ok(pack_writer_break(w, 101));
	ck_ok(model_add(f, w, 100));
	ck_ok(pack_writer_break(w, 200));
	ck_ok(model_add(f, w, 1));
	ck_ok(model_add(f, w, CHUNK_BYTES));
	ck_ok(pack_writer_finish(w));
	ck_assert_uint_eq(p[0].at.index, 0);
	ck_assert_uint_eq(p[1].at.index, 0);
	ck_assert_uint_eq(p[1].at.off, 100);
	ck_assert_uint_eq(p[2].at.index, 1);
	ck_assert_uint_eq(p[3].at.index, 2);
	ck_assert_uint_eq(p[3].at.off, 0);
	ck_all_readable(f);
	fixture_free(f);
}
END_TEST

START_TEST(a_full_pack_is_followed_by_another)
{
	struct fixture *f = fixture_new(4);
	struct seen before = { .n = 0 }, after = { .n = 0 };
	struct packs_stats stats;
	struct pack_writer *w;

	ck_ok(pack_writer_new(f->ps, &w));
	while (f->model.bytes.n < PACK_BYTES * 5 / 2)
		ck_ok(model_add(f, w, CHUNK_BYTES));
	ck_ok(packs_each(f->ps, seen_add, &before));
	ck_assert_uint_eq(before.n, 0);
	ck_ok(pack_writer_finish(w));
	ck_ok(packs_each(f->ps, seen_add, &before));
	packs_get_stats(f->ps, &stats);
	ck_assert_uint_eq(stats.packs, before.n);
	ck_assert_uint_eq(stats.plain_bytes, f->model.bytes.n);
	fixture_reopen(f);
	ck_ok(packs_each(f->ps, seen_add, &after));
	ck_assert_uint_eq(before.n, after.n);
	for (unsigned i = 0; i < before.n; i++) {
		ck_assert_uint_eq(before.info[i].stored_bytes,
				  after.info[i].stored_bytes);
		ck_assert_uint_eq(before.info[i].chunks, after.info[i].chunks);
		ck_assert_uint_eq(before.info[i].file_bytes, after.info[i].file_bytes);
		ck_assert(!before.info[i].damaged && !after.info[i].damaged);
		ck_assert_uint_le(before.info[i].file_bytes, PACK_BYTES + 262144);
		if (i + 1 < before.n)
			ck_assert_uint_ge(before.info[i].file_bytes, PACK_BYTES);
	}
	for (size_t i = 0; i < f->model.n; i += 7)
		ck_assert(piece_read(f, &f->model.pieces[i]));
	fixture_free(f);
}
END_TEST

START_TEST(a_writer_that_got_nothing_makes_no_pack)
{
	struct fixture *f = fixture_new(5);
	struct pack_writer *w;

	ck_ok(pack_writer_new(f->ps, &w));
	ck_ok(pack_writer_finish(w));
	ck_assert_uint_eq(files_count(f), 0);
	ck_ok(pack_writer_new(f->ps, &w));
	ck_ok(model_add(f, w, 5000));
	ck_assert_ptr_null(pack_writer_abort(w));
	ck_assert_ptr_null(pack_writer_abort(NULL));
	ck_assert_uint_eq(files_count(f), 0);
	ck_assert_uint_eq(pieces_readable(f), 0);
	fixture_free(f);
}
END_TEST

START_TEST(reading_beyond_a_chunk_or_what_is_not_there_is_refused)
{
	struct fixture *f = fixture_new(6);
	uint8_t out[16];
	uint32_t n;

	ck_ok(model_pack(f, 1, 1000));
	n = f->model.pieces[0].n;
	ck_assert_int_eq(packs_read(f->ps, 1, 0, n, 0, out), 0);
	ck_assert_int_eq(packs_read(f->ps, 1, 0, n, 1, out), -E_CORRUPT);
	ck_assert_int_eq(packs_read(f->ps, 1, 0, UINT32_MAX, 2, out), -E_CORRUPT);
	ck_assert_int_eq(packs_read_cached(f->ps, 1, 0, n - 1, 2, out), -E_CORRUPT);
	ck_assert_int_eq(packs_read(f->ps, 1, 1, 0, 1, out), -E_CORRUPT);
	ck_assert_int_eq(packs_read(f->ps, 1, 1u << 24, 0, 1, out), -E_CORRUPT);
	ck_assert_int_eq(packs_read(f->ps, 1, UINT32_MAX, 0, 1, out), -E_CORRUPT);
	ck_assert_int_eq(packs_read(f->ps, 2, 0, 0, 1, out), -ENOENT);
	ck_assert_int_eq(packs_pin(f->ps, 2), -ENOENT);
	fixture_free(f);
}
END_TEST

/* --- cache and open files --- */

START_TEST(the_cache_keeps_to_its_budget_and_serves_what_it_has)
{
	struct fixture *f = fixture_new(7);
	struct piece *p = f->model.pieces;
	struct packs_stats stats;
	uint8_t *out = malloc(CHUNK_BYTES);

	ck_ok(model_pack(f, 30, CHUNK_BYTES));
	packs_set_budget(f->ps, 500000);
	ck_assert_int_eq(packs_read_cached(f->ps, 1, 0, 0, p->n, out), -EAGAIN);
	for (int i = 0; i < 300; i++) {
		ck_assert(piece_read(f, &p[rng_below(&f->rng, 30)]));
		packs_get_stats(f->ps, &stats);
		ck_assert_uint_le(stats.cache_bytes, 500000);
	}
	ck_assert(piece_read(f, &p[3]));
	ck_ok(packs_read_cached(f->ps, 1, 3, 0, p[3].n, out));
	ck_assert_mem_eq(out, f->model.bytes.p + p[3].off, p[3].n);
	ck_assert_uint_gt(stats.hits, 0);
	packs_set_budget(f->ps, 0);
	packs_get_stats(f->ps, &stats);
	ck_assert_uint_eq(stats.cache_bytes, 0);
	ck_assert_int_eq(packs_read_cached(f->ps, 1, 3, 0, 1, out), -EAGAIN);
	ck_all_readable(f);
	free(out);
	fixture_free(f);
}
END_TEST

START_TEST(the_least_recently_used_chunk_goes_first)
{
	struct fixture *f = fixture_new(8);
	struct pack_writer *w;
	uint8_t out;

	ck_ok(pack_writer_new(f->ps, &w));
	for (int i = 0; i < 3; i++) {
		ck_ok(model_add(f, w, 1000));
		ck_ok(pack_writer_break(w, 1));
	}
	ck_ok(pack_writer_finish(w));
	packs_set_budget(f->ps, 2 * (1000 + sizeof(struct cached_chunk)));
	ck_assert(piece_read(f, &f->model.pieces[0]));
	ck_assert(piece_read(f, &f->model.pieces[1]));
	ck_assert(piece_read(f, &f->model.pieces[0]));
	ck_assert(piece_read(f, &f->model.pieces[2]));
	ck_assert_int_eq(packs_read_cached(f->ps, 1, 0, 0, 1, &out), 0);
	ck_assert_int_eq(packs_read_cached(f->ps, 1, 1, 0, 1, &out), -EAGAIN);
	ck_assert_int_eq(packs_read_cached(f->ps, 1, 2, 0, 1, &out), 0);
	fixture_free(f);
}
END_TEST

START_TEST(few_packs_are_open_at_once)
{
	struct fixture *f = fixture_new(9);

	for (int i = 0; i < 100; i++)
		ck_ok(model_pack(f, 2, 300));
	packs_set_budget(f->ps, 0);
	for (uint64_t pack = 1; pack <= 10; pack++)
		ck_ok(packs_pin(f->ps, pack));
	for (int i = 0; i < 3; i++) {
		ck_all_readable(f);
		ck_assert_uint_le(f->ps->n_opened, PACKS_OPEN_MAX);
	}
	for (uint64_t pack = 1; pack <= 10; pack++)
		packs_unpin(f->ps, pack);
	fixture_free(f);
}
END_TEST

START_TEST(a_chunk_that_is_read_whole_leaves_the_cache_alone)
{
	struct fixture *f = fixture_new(8);
	struct piece *p = f->model.pieces;
	uint8_t *out = malloc(CHUNK_BYTES);

	ck_ok(model_pack(f, 3, CHUNK_BYTES));
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(packs_read_whole(f->ps, 1, i, p[i].n, out), 1);
		ck_assert_mem_eq(out, f->model.bytes.p + p[i].off, p[i].n);
		ck_assert_int_eq(packs_read_cached(f->ps, 1, i, 0, 1, out), -EAGAIN);
		ck_assert_int_eq(packs_read_whole(f->ps, 1, i, p[i].n - 1, out), 0);
	}
	ck_assert(piece_read(f, &p[1]));
	ck_assert_int_eq(packs_read_whole(f->ps, 1, 1, p[1].n, out), 0);
	ck_assert_int_eq(packs_read_whole(f->ps, 1, 3, 1, out), -E_CORRUPT);
	ck_assert_int_eq(packs_read_whole(f->ps, 1, UINT32_MAX, 1, out), -E_CORRUPT);
	ck_assert_int_eq(packs_read_whole(f->ps, 2, 0, 1, out), -ENOENT);

	ck_ok(io_sim_flip(f->io, "packs/0000000001.pack",
			  sizeof(struct pack_header) + sizeof(struct frame_head), 2));
	ck_assert_int_eq(packs_read_whole(f->ps, 1, 0, p[0].n, out), -E_CORRUPT);
	ck_assert_int_eq(packs_read_whole(f->ps, 1, 2, p[2].n, out), 1);
	free(out);
	fixture_free(f);
}
END_TEST

/* --- damage --- */

START_TEST(any_flipped_byte_costs_at_most_one_chunk)
{
	struct fixture *f = fixture_new(10);
	struct buf file = BUF_INIT;
	char name[PACK_NAME_BYTES];
	unsigned chunks = 5;
	size_t lost = 0;

	ck_ok(model_pack(f, chunks, 400));
	file_load(f, 1, &file);
	pack_name(name, 1, "pack");
	for (size_t i = 0; i < file.n; i++) {
		unsigned bit = (unsigned)rng_below(&f->rng, 8);
		size_t readable;

		ck_ok(io_sim_flip(f->io, name, i, bit));
		fixture_reopen(f);
		readable = pieces_readable(f);
		ck_assert_msg(readable + 1 >= chunks, "byte %zu bit %u: %zu of %u left",
			      i, bit, readable, chunks);
		lost += chunks - readable;
		ck_assert_msg(verify(f, 1) == -E_CORRUPT, "byte %zu not noticed", i);
		ck_ok(io_sim_flip(f->io, name, i, bit));
	}
	ck_assert_uint_gt(lost, 0);
	fixture_reopen(f);
	ck_all_readable(f);
	ck_assert_int_eq(verify(f, 1), 0);
	buf_release(&file);
	fixture_free(f);
}
END_TEST

START_TEST(frames_are_found_behind_a_broken_one_without_a_directory)
{
	struct fixture *f = fixture_new(35);
	char name[PACK_NAME_BYTES];
	struct chunk_entry third;

	ck_ok(model_pack(f, 6, CHUNK_BYTES));
	ck_all_readable(f);
	third = ((struct pack *)htab_get(&f->ps->table, 1))->image->chunks[2];
	pack_name(name, 1, "pack");
	ck_ok(io_sim_flip(f->io, name, third.off + 9, 3));
	ck_ok(io_sim_flip(f->io, name, f->ps->stats.file_bytes - 20, 3));
	fixture_reopen(f);
	ck_assert_uint_eq(pieces_readable(f), 5);
	ck_assert(!piece_read(f, &f->model.pieces[2]));
	fixture_free(f);
}
END_TEST

START_TEST(a_file_cut_anywhere_keeps_the_chunks_before_the_cut)
{
	struct fixture *f = fixture_new(11);
	struct chunk_entry ends[4];
	struct buf file = BUF_INIT;

	ck_ok(model_pack(f, 4, 300));
	ck_all_readable(f);
	memcpy(ends, ((struct pack *)htab_get(&f->ps->table, 1))->image->chunks,
	       sizeof(ends));
	file_load(f, 1, &file);
	for (size_t n = 0; n < file.n; n++) {
		file_store(f, 1, file.p, n);
		fixture_reopen(f);
		for (int i = 0; i < 4; i++)
			ck_assert_msg(piece_read(f, &f->model.pieces[i]) ==
					      (ends[i].off + frame_bytes(&ends[i]) <= n),
				      "chunk %d of a file cut at %zu", i, n);
		ck_assert_int_eq(verify(f, 1), -E_CORRUPT);
	}
	buf_release(&file);
	fixture_free(f);
}
END_TEST

START_TEST(random_damage_never_gives_other_bytes)
{
	struct fixture *f = fixture_new(12);
	struct buf file = BUF_INIT, hurt = BUF_INIT;

	ck_ok(model_pack(f, 12, 3000));
	file_load(f, 1, &file);
	for (int i = 0; i < 300; i++) {
		int wounds = 1 + (int)rng_below(&f->rng, 6);

		hurt.n = 0;
		ck_ok(buf_append(&hurt, file.p, file.n));
		while (wounds--) {
			size_t at = rng_below(&f->rng, hurt.n);
			size_t n = 1 + rng_below(&f->rng, MIN(hurt.n - at, (size_t)200));

			switch (rng_below(&f->rng, 3)) {
			case 0:
				memset(hurt.p + at, 0, n);
				break;
			case 1:
				rng_fill(&f->rng, hurt.p + at, n);
				break;
			default:
				memmove(hurt.p + at, hurt.p + at + n, hurt.n - at - n);
				hurt.n -= n;
			}
		}
		file_store(f, 1, hurt.p, hurt.n);
		fixture_reopen(f);
		pieces_readable(f);
		verify(f, 1);
	}
	buf_release(&file);
	buf_release(&hurt);
	fixture_free(f);
}
END_TEST

START_TEST(packs_under_each_others_names_are_not_read)
{
	struct fixture *f = fixture_new(13);
	struct buf one = BUF_INIT, two = BUF_INIT;

	ck_ok(model_pack(f, 3, 1000));
	ck_ok(model_pack(f, 3, 1000));
	file_load(f, 1, &one);
	file_load(f, 2, &two);
	file_store(f, 1, two.p, two.n);
	file_store(f, 2, one.p, one.n);
	fixture_reopen(f);
	ck_assert_uint_eq(pieces_readable(f), 0);
	ck_assert_ptr_nonnull(strstr(err_detail(), "holds another pack"));
	ck_assert_int_eq(verify(f, 1), -E_CORRUPT);
	ck_assert_int_eq(verify(f, 2), -E_CORRUPT);
	buf_release(&one);
	buf_release(&two);
	fixture_free(f);
}
END_TEST

START_TEST(a_pack_written_after_another_than_the_one_there_is_noticed)
{
	struct fixture *f = fixture_new(14);
	struct buf other = BUF_INIT;

	ck_ok(model_pack(f, 3, 1000));
	file_load(f, 1, &other);
	ck_ok(packs_remove(f->ps, 1));
	fixture_reopen(f);
	ck_ok(model_pack(f, 3, 1000)); /* pack 1 again, of other bytes */
	ck_ok(model_pack(f, 3, 1000));
	ck_assert_int_eq(verify(f, 2), 0);
	file_store(f, 1, other.p, other.n);
	fixture_reopen(f);
	ck_assert_int_eq(verify(f, 1), 0);
	ck_assert_int_eq(verify(f, 2), -E_CORRUPT);
	buf_release(&other);
	fixture_free(f);
}
END_TEST

START_TEST(another_key_reads_nothing)
{
	struct fixture *f = fixture_new(15);
	uint8_t wrapped[WRAPPED_KEY_BYTES];
	struct keys *right = f->keys, *wrong;
	struct key_file *kf;
	char path[4200];

	ck_ok(model_pack(f, 3, 1000));
	snprintf(path, sizeof(path), "%s/key", suite_tmpdir());
	ck_ok(key_file_create(path, keys_store_id(right)));
	ck_ok(key_file_read(path, &kf));
	ck_ok(keys_create(kf, CIPHER_XCHACHA20, keys_store_id(right), wrapped, &wrong));
	key_file_free(kf);
	f->keys = wrong;
	fixture_reopen(f);
	ck_assert_uint_eq(pieces_readable(f), 0);
	ck_assert_int_eq(verify(f, 1), -E_CORRUPT);
	f->keys = right;
	fixture_reopen(f);
	ck_all_readable(f);
	keys_free(wrong);
	fixture_free(f);
}
END_TEST

START_TEST(a_newer_format_is_named_as_such)
{
	struct fixture *f = fixture_new(16);
	struct buf file = BUF_INIT;
	struct pack_header h;
	uint8_t out;

	ck_ok(model_pack(f, 1, 100));
	file_load(f, 1, &file);
	memcpy(&h, file.p, sizeof(h));
	h.version = le32_put(PACK_VERSION + 1);
	h.crc = le32_put(crc32c(0, &h, offsetof(struct pack_header, crc)));
	memcpy(file.p, &h, sizeof(h));
	file_store(f, 1, file.p, file.n);
	fixture_reopen(f);
	ck_assert_int_eq(packs_read(f->ps, 1, 0, 0, 1, &out), -E_NEWER);
	buf_release(&file);
	fixture_free(f);
}
END_TEST

static Suite *make_suite(void)
{
	Suite *s = suite_create("pack");
	TCase *t = tcase_create("pack");

	tcase_set_timeout(t, 100);
	tcase_add_test(t, what_was_added_is_read_back);
	tcase_add_test(t, any_part_of_a_chunk_can_be_read);
	tcase_add_test(t, every_cipher_reads_back_and_notices_damage);
	tcase_add_test(t, a_chunk_opens_only_as_what_it_was_sealed);
	tcase_add_test(t, a_piece_is_never_split_and_break_ends_only_full_enough_chunks);
	tcase_add_test(t, a_full_pack_is_followed_by_another);
	tcase_add_test(t, a_writer_that_got_nothing_makes_no_pack);
	tcase_add_test(t, reading_beyond_a_chunk_or_what_is_not_there_is_refused);
	tcase_add_test(t, the_cache_keeps_to_its_budget_and_serves_what_it_has);
	tcase_add_test(t, a_chunk_that_is_read_whole_leaves_the_cache_alone);
	tcase_add_test(t, the_least_recently_used_chunk_goes_first);
	tcase_add_test(t, few_packs_are_open_at_once);
	tcase_add_test(t, any_flipped_byte_costs_at_most_one_chunk);
	tcase_add_test(t, frames_are_found_behind_a_broken_one_without_a_directory);
	tcase_add_test(t, a_file_cut_anywhere_keeps_the_chunks_before_the_cut);
	tcase_add_test(t, random_damage_never_gives_other_bytes);
	tcase_add_test(t, packs_under_each_others_names_are_not_read);
	tcase_add_test(t, a_pack_written_after_another_than_the_one_there_is_noticed);
	tcase_add_test(t, another_key_reads_nothing);
	tcase_add_test(t, a_newer_format_is_named_as_such);
	suite_add_tcase(s, t);
	return s;
}

int main(void)
{
	return suite_main(make_suite());
}
