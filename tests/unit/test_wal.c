/* test_wal.c - the log on a simulated disk, against a list of what was appended. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "core/base/err.h"
#include "core/wal/wal_format.h"
#include "tests/unit/wal_fixture.h"

/* --- what was synced is there, what was pushed survives a kill --- */

START_TEST(synced_records_survive_a_power_cut_with_all_lengths)
{
	struct fixture f = fixture_new(suite_seed());
	static const uint32_t around[] = { 0,	    1,	     127,     128,
					   4000,    4096,    16383,   16384,
					   1048570, 1048576, 2097152, WAL_RECORD_MAX };

	for (size_t i = 0; i < ARRAY_LEN(around); i++)
		put(&f, around[i], false);
	for (uint32_t n = 0; n < 300; n++)
		put_synced(&f, n);
	fixture_cut(&f);
	ck_assert_uint_eq(f.stats.last_lsn, 312);
	ck_assert(!f.stats.rot);
	fixture_free(&f);
}
END_TEST

START_TEST(pushed_records_survive_a_kill_and_unpushed_ones_do_not)
{
	struct fixture f = fixture_new(suite_seed());

	for (int i = 0; i < 50; i++) {
		put(&f, 100, false);
		ck_ok(wal_push(f.w));
		ck_assert_uint_eq(wal_pending_bytes(f.w), 0);
	}
	put(&f, 100, false);
	ck_assert_uint_eq(wal_pending_bytes(f.w), 100);
	fixture_kill(&f);
	ck_assert_uint_eq(f.stats.last_lsn, 50);
	ck_assert(!f.stats.rot && !f.stats.torn_tail);
	fixture_free(&f);
}
END_TEST

START_TEST(what_was_recovered_is_durable_before_new_records_are_accepted)
{
	struct fixture f = fixture_new(suite_seed());

	put(&f, 100, false);
	ck_ok(wal_push(f.w));
	fixture_kill(&f);
	ck_ok(fixture_start(&f));
	fixture_cut(&f);
	ck_assert_uint_eq(f.stats.last_lsn, 1);
	fixture_free(&f);
}
END_TEST

START_TEST(what_a_failed_sync_left_in_the_cache_is_written_again_by_recovery)
{
	struct fixture f = fixture_new(suite_seed());

	put_synced(&f, 5000);
	for (uint32_t i = 0; i < 40; i++) {
		put(&f, i * 1000, false);
		ck_ok(wal_push(f.w));
	}
	io_sim_fail_at(f.io, IO_SIM_SYNC, 1, EIO, true);
	ck_assert_int_eq(wal_sync(f.w, f.n), -E_LOG_FAILED);
	io_sim_fail_at(f.io, IO_SIM_SYNC, 0, 0, false);
	/* They are still to be read, and a sync reports success. */
	fixture_kill(&f);
	ck_assert_uint_eq(f.stats.last_lsn, 41);
	ck_ok(fixture_start(&f));
	fixture_cut(&f);
	ck_assert_uint_eq(f.stats.last_lsn, 41);
	fixture_free(&f);
}
END_TEST

/* The last sync's records are durable, though no frame tells so: the disk may spoil whatever
 * sector recovery was writing when the power went. */
START_TEST(recovery_writes_over_nothing_that_may_be_durable)
{
	for (uint64_t n = 1; n < 80; n++) {
		struct fixture f = fixture_new(suite_seed() + n);

		io_sim_allow(f.io, IO_SIM_GARBAGE | IO_SIM_GARBAGE_SAME);
		put_synced(&f, 5000);
		put_synced(&f, 300);
		put(&f, 300, false);
		ck_ok(wal_sync(f.w, f.n));
		fixture_kill(&f);
		io_sim_stop_at(f.io, IO_SIM_ANY, n % 20 + 1);
		wal_start(f.w, f.n + 1);
		fixture_cut(&f);
		ck_assert_uint_eq(f.stats.last_lsn, 3);
		ck_assert(!f.stats.rot);
		fixture_free(&f);
	}
}
END_TEST

static uint64_t reads_of_recovery(struct fixture *f)
{
	uint64_t before = io_sim_calls(f->io, IO_SIM_PREAD);

	f->w = wal_close(f->w);
	ck_ok(fixture_recover(f));
	return io_sim_calls(f->io, IO_SIM_PREAD) - before;
}

/* The frame before the last is damaged: what comes behind still tells that it had been durable. */
START_TEST(a_mark_spares_reading_where_nothing_was_written_and_hides_no_rot)
{
	struct fixture f = fixture_new(suite_seed());
	struct wal_mark mark = { 0 };
	uint64_t with, without;

	f.opts.mark = &mark;
	fixture_kill(&f);
	ck_ok(fixture_start(&f));
	for (int i = 0; i < 5; i++)
		put_synced(&f, 5000);
	fixture_kill(&f);
	with = reads_of_recovery(&f);
	ck_assert_uint_eq(f.stats.last_lsn, 5);
	f.opts.mark = NULL;
	without = reads_of_recovery(&f);
	ck_assert_uint_eq(f.stats.last_lsn, 5);
	ck_assert_uint_ge(without, with + SEGMENT / MIB - 1);

	ck_ok(io_sim_flip(f.io, "wal/0000000000000002.wal", WAL_BLOCK + 3 * 8192 + 100,
			  3));
	f.opts.mark = &mark;
	reads_of_recovery(&f);
	ck_assert(f.stats.rot);
	/* Nor does a mark of another segment mislead. */
	atomic_store(&mark.end, WAL_BLOCK);
	atomic_fetch_add(&mark.segment, 1);
	reads_of_recovery(&f);
	ck_assert(f.stats.rot);
	fixture_free(&f);
}
END_TEST

/* A segment is synced before the next is begun: so recovery syncs the last one alone. */
START_TEST(recovery_does_few_syncs_however_many_segments_there_are)
{
	struct fixture f = fixture_new(suite_seed());
	uint64_t calls;

	for (int life = 0; life < 20; life++) {
		put_synced(&f, 100);
		put_synced(&f, 100);
		fixture_kill(&f);
		calls = io_sim_calls(f.io, IO_SIM_SYNC | IO_SIM_SYNC_DIR);
		ck_ok(fixture_start(&f));
		calls = io_sim_calls(f.io, IO_SIM_SYNC | IO_SIM_SYNC_DIR) - calls;
		ck_assert_uint_le(calls, 5);
	}
	fixture_cut(&f);
	ck_assert_uint_eq(f.stats.last_lsn, 40);
	ck_assert(!f.stats.rot);
	fixture_free(&f);
}
END_TEST

START_TEST(many_small_records_share_a_frame_at_under_8_bytes_each)
{
	struct fixture f = fixture_new(suite_seed());
	struct wal_stats stats;

	for (int i = 0; i < 20000; i++)
		put(&f, 100, false);
	ck_ok(wal_sync(f.w, f.n));
	wal_get_stats(f.w, &stats);
	ck_assert_uint_eq(stats.records, 20000);
	ck_assert_uint_eq(stats.body_bytes, 2000000);
	ck_assert_uint_le(stats.file_bytes, 2000000 + 20000 * 8);
	ck_assert_uint_eq(stats.syncs, 1);
	fixture_free(&f);
}
END_TEST

START_TEST(bytes_since_falls_to_nothing_at_the_last_lsn)
{
	struct fixture f = fixture_new(suite_seed());

	for (int i = 0; i < 30; i++)
		put_synced(&f, 1000000);
	ck_assert_uint_ge(wal_bytes_since(f.w, 0), 30000000);
	ck_assert_uint_le(wal_bytes_since(f.w, 0), 31000000);
	ck_assert_uint_ge(wal_bytes_since(f.w, 15), 14000000);
	ck_assert_uint_le(wal_bytes_since(f.w, 15), 16000000);
	ck_assert_uint_eq(wal_bytes_since(f.w, 30), 0);
	fixture_free(&f);
}
END_TEST

/* --- transactions --- */

START_TEST(a_transaction_without_its_end_is_dropped_whole_and_never_continued)
{
	struct fixture f = fixture_new(suite_seed());

	put(&f, 10, false);
	for (int i = 0; i < 12; i++)
		put(&f, 1000000, true); /* over a segment's end */
	ck_ok(wal_sync(f.w, f.n));
	fixture_cut(&f);
	ck_assert_uint_eq(f.stats.last_lsn, 1);
	ck_assert(!f.stats.rot);
	ck_ok(fixture_start(&f));
	put_synced(&f, 20);
	fixture_cut(&f);
	ck_assert_uint_eq(f.stats.last_lsn, 2);
	ck_assert(!f.stats.rot);
	fixture_free(&f);
}
END_TEST

START_TEST(a_transaction_over_many_frames_and_segments_comes_back_whole)
{
	struct fixture f = fixture_new(suite_seed());

	for (int i = 0; i < 25; i++)
		put(&f, 900000, i < 24);
	ck_ok(wal_sync(f.w, f.n));
	fixture_cut(&f);
	ck_assert_uint_eq(f.stats.last_lsn, 25);
	ck_assert_uint_ge(f.stats.segments, 3);
	fixture_free(&f);
}
END_TEST

/* --- segments --- */

START_TEST(trimmed_segments_are_reused_and_their_old_bytes_never_come_back)
{
	struct fixture f = fixture_new(suite_seed());
	struct wal_stats stats;

	for (int round = 0; round < 6; round++) {
		for (int i = 0; i < 20; i++)
			put_synced(&f, 900000);
		ck_ok(wal_trim(f.w, f.n));
		f.from_lsn = f.n;
		fixture_kill(&f);
		ck_assert(!f.stats.rot);
		ck_assert_uint_eq(f.stats.last_lsn, f.n);
		ck_ok(fixture_start(&f));
	}
	for (int i = 0; i < 60; i++) {
		put_synced(&f, 900000);
		ck_ok(wal_trim(f.w, f.n));
		f.from_lsn = f.n;
	}
	wal_get_stats(f.w, &stats);
	ck_assert_uint_ge(stats.recycled, 5);
	fixture_cut(&f);
	ck_assert(!f.stats.rot);
	ck_assert_uint_eq(f.stats.last_lsn, f.n);
	fixture_free(&f);
}
END_TEST

START_TEST(a_full_disk_is_told_by_reserve_and_the_log_goes_on_when_there_is_space)
{
	struct fixture f = fixture_new(suite_seed());
	struct rec rec = { .seed = 4, .bytes = 50000, .type = 3 };
	uint64_t full_at;
	int r;

	io_sim_set_free(f.io, 0);
	while ((r = try_put(&f, rec)) == 0)
		if (f.n % 7 == 0)
			ck_ok(wal_sync(f.w, f.n));
	ck_assert_int_eq(r, -ENOSPC);
	ck_assert_uint_ge(f.n, 140); /* most of the segment was of use */
	full_at = f.n;
	ck_assert_int_eq(try_put(&f, rec), -ENOSPC);
	ck_ok(wal_sync(f.w, f.n));
	ck_ok(wal_failed(f.w));
	io_sim_set_free(f.io, GIB);
	for (int i = 0; i < 300; i++)
		ck_ok(try_put(&f, rec));
	ck_ok(wal_sync(f.w, f.n));
	fixture_cut(&f);
	ck_assert_uint_eq(f.stats.last_lsn, full_at + 300);
	fixture_free(&f);
}
END_TEST

/* Nothing is pushed on the way: all that was promised must find its place in the end. */
START_TEST(what_reserve_promised_fits_even_when_nothing_was_written_before)
{
	struct fixture f = fixture_new(suite_seed());
	struct rng r = rng_seeded(suite_seed());
	struct rec rec = { .seed = 4, .type = 3 };

	io_sim_set_free(f.io, 4 * SEGMENT);
	do
		rec.bytes =
			(uint32_t)rng_below(&r, rng_below(&r, 4) ? 3000 : WAL_RECORD_MAX);
	while (try_put(&f, rec) == 0);
	ck_ok(wal_sync(f.w, f.n));
	fixture_cut(&f);
	ck_assert_uint_eq(f.stats.last_lsn, f.n);
	fixture_free(&f);
}
END_TEST

/* --- failures --- */

START_TEST(a_failed_sync_fails_its_waiters_and_a_new_segment_takes_over)
{
	struct fixture f = fixture_new(suite_seed());

	put_synced(&f, 100);
	put(&f, 100, true);
	ck_ok(wal_push(f.w));
	put(&f, 100, false);
	io_sim_fail_at(f.io, IO_SIM_SYNC, 1, EIO, false);
	ck_assert_int_eq(wal_sync(f.w, f.n), -E_LOG_FAILED);
	ck_assert_msg(strstr(err_detail(), FIRST_SEGMENT), "%s", err_detail());
	ck_ok(wal_failed(f.w));
	ck_ok(wal_sync(f.w, f.n));
	put_synced(&f, 100);
	fixture_cut(&f);
	ck_assert(!f.stats.rot);
	ck_assert_uint_eq(f.stats.last_lsn, 4);
	fixture_free(&f);
}
END_TEST

/* While the log is synced, others append and push: records of 100 bytes. */
static void push_beside(void *arg, unsigned call)
{
	struct fixture *f = arg;

	if (call != IO_SIM_SYNC)
		return;
	io_sim_watch(f->io, NULL, NULL);
	for (int i = 0; i < 3; i++) {
		put(f, 100, false);
		ck_ok(wal_push_now(f->w));
	}
}

START_TEST(pushes_go_beside_a_sync_which_is_not_for_them)
{
	for (int kill = 0; kill < 2; kill++) {
		struct fixture f = fixture_new(suite_seed());

		put_synced(&f, 100);
		put(&f, 100, false);
		io_sim_watch(f.io, push_beside, &f);
		ck_ok(wal_sync(f.w, f.n));
		ck_assert_uint_eq(f.n, 5);
		ck_assert_uint_eq(wal_durable_lsn(f.w), 2);
		ck_assert_uint_eq(wal_pending_bytes(f.w), 0);
		if (kill)
			fixture_kill(&f);
		else
			fixture_cut(&f);
		ck_assert(!f.stats.rot);
		ck_assert_uint_ge(f.stats.last_lsn, kill ? 5 : 2);
		fixture_free(&f);
	}
}
END_TEST

START_TEST(what_was_pushed_beside_a_sync_that_fails_is_in_the_new_segment_too)
{
	struct fixture f = fixture_new(suite_seed());

	put_synced(&f, 100);
	put(&f, 100, false);
	io_sim_watch(f.io, push_beside, &f);
	io_sim_fail_at(f.io, IO_SIM_SYNC, 1, EIO, false);
	ck_assert_int_eq(wal_sync(f.w, f.n), -E_LOG_FAILED);
	ck_ok(wal_failed(f.w));
	ck_assert_uint_eq(wal_durable_lsn(f.w), 5);
	put_synced(&f, 100);
	fixture_cut(&f);
	ck_assert(!f.stats.rot);
	ck_assert_uint_eq(f.stats.last_lsn, 6);
	fixture_free(&f);
}
END_TEST

START_TEST(a_failed_write_is_made_good_in_a_new_segment)
{
	struct fixture f = fixture_new(suite_seed());

	put_synced(&f, 100);
	put(&f, 100, false);
	io_sim_fail_at(f.io, IO_SIM_PWRITE, 1, EIO, false);
	ck_ok(wal_push(f.w));
	fixture_cut(&f);
	ck_assert(!f.stats.rot);
	ck_assert_uint_eq(f.stats.last_lsn, 2);
	fixture_free(&f);
}
END_TEST

START_TEST(a_disk_that_fails_for_good_fails_the_log_and_keeps_what_was_synced)
{
	struct fixture f = fixture_new(suite_seed());
	struct rec rec = { .bytes = 10 };

	put_synced(&f, 100);
	put(&f, 100, false);
	io_sim_fail_at(f.io, IO_SIM_SYNC, 1, EIO, true);
	ck_assert_int_eq(wal_sync(f.w, f.n), -E_LOG_FAILED);
	ck_assert_int_eq(wal_failed(f.w), -E_LOG_FAILED);
	ck_assert_int_eq(try_put(&f, rec), -E_LOG_FAILED);
	ck_assert_int_eq(wal_push(f.w), -E_LOG_FAILED);
	ck_ok(wal_sync(f.w, 1));
	io_sim_fail_at(f.io, IO_SIM_SYNC, 0, EIO, true);
	fixture_cut(&f);
	ck_assert(!f.stats.rot);
	ck_assert_uint_ge(f.stats.last_lsn, 1);
	fixture_free(&f);
}
END_TEST

/* --- many lives --- */

struct lives {
	struct fixture f;
	struct rng r;
	uint64_t acked; /* synced: must be there */
	bool in_txn;
	bool broken; /* the log failed for good, or the machine is off */
};

static uint32_t size_draw(struct rng *r)
{
	switch (rng_below(r, 12)) {
	case 0:
		return (uint32_t)rng_below(r, 1500000);
	case 1:
		return (uint32_t)rng_below(r, 20000);
	default:
		return (uint32_t)rng_below(r, 300);
	}
}

static void lives_put(struct lives *l)
{
	struct rec rec = { .seed = rng_next(&l->r),
			   .bytes = size_draw(&l->r),
			   .type = (uint8_t)rng_below(&l->r, 128) };
	int r;

	rec.more = rng_below(&l->r, 4) == 0;
	r = try_put(&l->f, rec);
	if (r == -E_LOG_FAILED)
		l->broken = true;
	else if (r == 0)
		l->in_txn = rec.more;
}

static void lives_sync(struct lives *l)
{
	int r = wal_sync(l->f.w, l->f.n);

	if (wal_failed(l->f.w) < 0) {
		ck_assert_int_eq(wal_failed(l->f.w), -E_LOG_FAILED);
		l->broken = true;
	} else {
		ck_assert(r == 0 || r == -E_LOG_FAILED);
		ck_assert_uint_eq(wal_durable_lsn(l->f.w), l->f.n);
	}
	l->acked = MAX(l->acked, wal_durable_lsn(l->f.w));
}

/* A checkpoint at a whole transaction that is durable. */
static void lives_trim(struct lives *l)
{
	uint64_t lsn = wal_durable_lsn(l->f.w);

	while (lsn > 0 && lsn >= l->f.from_lsn && l->f.recs[lsn].more)
		lsn--;
	if (lsn + 1 < l->f.from_lsn)
		return;
	l->f.from_lsn = lsn + 1;
	wal_trim(l->f.w, lsn + 1);
}

static void lives_step(struct lives *l)
{
	switch (rng_below(&l->r, 24)) {
	case 0:
	case 1:
	case 2:
		lives_sync(l);
		break;
	case 3:
	case 4:
		wal_push(l->f.w);
		break;
	case 5:
		lives_trim(l);
		break;
	case 6:
		if (rng_below(&l->r, 4) == 0)
			io_sim_fail_at(l->f.io, (unsigned)(1u << rng_below(&l->r, 8)),
				       1 + rng_below(&l->r, 3), EIO, false);
		break;
	default:
		lives_put(l);
		break;
	}
}

/* Boots until a recovery was not itself cut short. */
static void lives_boot(struct lives *l)
{
	for (;;) {
		int r;

		if (rng_below(&l->r, 3) == 0)
			io_sim_stop_at(l->f.io, IO_SIM_ANY, 1 + rng_below(&l->r, 40));
		r = fixture_recover(&l->f);
		if (r == 0) {
			ck_assert_msg(!l->f.stats.rot, "%s", err_detail());
			ck_assert_uint_ge(l->f.stats.last_lsn + 1, l->f.from_lsn);
			/* Only records of a transaction that never ended may be missing. */
			for (uint64_t lsn = l->f.stats.last_lsn + 1; lsn <= l->acked;
			     lsn++)
				ck_assert_msg(l->f.recs[lsn].more, "LSN %llu is lost",
					      (unsigned long long)lsn);
			r = fixture_start(&l->f);
			if (r == 0)
				break;
		}
		io_sim_power_cut(l->f.io);
		l->f.w = wal_close(l->f.w);
	}
	l->acked = l->f.n; /* what was recovered is durable */
	l->in_txn = l->broken = false;
}

static void lives_run(uint64_t seed, int lives)
{
	struct lives l = { .r = rng_seeded(seed) };

	fixture_init(&l.f, seed);
	for (int life = 0; life < lives; life++) {
		int steps = (int)rng_below(&l.r, 150);

		lives_boot(&l);
		if (rng_below(&l.r, 2))
			io_sim_stop_at(l.f.io, IO_SIM_ANY, 1 + rng_below(&l.r, 120));
		for (int i = 0; i < steps && !l.broken; i++)
			lives_step(&l);
		io_sim_fail_at(l.f.io, IO_SIM_ANY, 0, EIO, false);
		if (rng_below(&l.r, 3) == 0)
			io_sim_kill(l.f.io);
		else
			io_sim_power_cut(l.f.io);
		l.f.w = wal_close(l.f.w);
	}
	fixture_free(&l.f);
}

START_TEST(nothing_acknowledged_is_lost_over_many_lives)
{
	struct rng r = rng_seeded(suite_seed());
	time_t until = time(NULL) + suite_seconds(3);

	while (time(NULL) < until) {
		uint64_t seed = rng_next(&r);

		printf("# lives seed 0x%llx\n", (unsigned long long)seed);
		lives_run(seed, 5);
	}
}
END_TEST

/* --- threads --- */

#define THREADS 8
#define EACH	150

struct worker {
	struct fixture *f;
	uint64_t last;
	unsigned id;
};

static void *work(void *arg)
{
	struct worker *me = arg;
	struct wal *w = me->f->w;

	for (unsigned i = 0; i < EACH; i++) {
		uint8_t body[64] = { (uint8_t)me->id, (uint8_t)i };
		struct iovec iov = { body, 2 + (me->id * 7 + i) % 60 };

		if (wal_reserve(w, iov.iov_len) < 0 ||
		    wal_append(w, 1, 0, &iov, 1, &me->last) < 0 ||
		    wal_sync(w, me->last) < 0)
			return "failed";
		if (i % 16 == 0 && wal_push(w) < 0)
			return "failed";
		if (i % 32 == 0 && me->id == 0 && wal_bytes_since(w, 0) == 0)
			return "failed";
	}
	return NULL;
}

struct counts {
	unsigned next[THREADS];
};

static int count_record(void *arg, uint64_t lsn, uint8_t type, struct span body)
{
	struct counts *c = arg;

	ck_assert_uint_gt(lsn, 0);
	ck_assert_uint_eq(type, 1);
	ck_assert_uint_lt(body.p[0], THREADS);
	ck_assert_uint_eq(body.p[1], (uint8_t)c->next[body.p[0]]++);
	return 0;
}

START_TEST(threads_share_syncs_and_each_finds_its_records_in_order)
{
	struct fixture f = fixture_new(suite_seed());
	struct worker workers[THREADS];
	pthread_t threads[THREADS];
	struct counts counts = { 0 };
	struct wal_replay_stats stats;
	struct wal_stats ws;

	for (unsigned i = 0; i < THREADS; i++) {
		workers[i] = (struct worker) { .f = &f, .id = i };
		ck_ok(-pthread_create(&threads[i], NULL, work, &workers[i]));
	}
	for (unsigned i = 0; i < THREADS; i++) {
		void *said;

		pthread_join(threads[i], &said);
		ck_assert_ptr_null(said);
	}
	wal_get_stats(f.w, &ws);
	ck_assert_uint_le(ws.syncs, THREADS * EACH);
	io_sim_power_cut(f.io);
	f.w = wal_close(f.w);
	ck_ok(wal_open(&f.opts, &f.w));
	ck_ok(wal_replay(f.w, 1, count_record, &counts, &stats));
	for (unsigned i = 0; i < THREADS; i++)
		ck_assert_uint_eq(counts.next[i], EACH);
	fixture_free(&f);
}
END_TEST

/* Fresh memory costs a writer more than the copy of its bytes. */
START_TEST(the_largest_writes_use_frames_again_and_a_trim_gives_idle_ones_back)
{
	struct fixture f;
	struct wal_stats stats;
	uint64_t made;

	fixture_init(&f, suite_seed());
	f.opts.pool_bytes = 12 * MIB;
	ck_ok(fixture_recover(&f));
	ck_ok(fixture_start(&f));
	for (int round = 0; round < 4; round++) {
		for (int i = 0; i < 8; i++)
			put(&f, MIB + 700, false);
		ck_ok(wal_sync(f.w, f.n));
	}
	wal_get_stats(f.w, &stats);
	made = stats.frames;
	ck_assert_uint_le(made, 9);
	for (int i = 0; i < 2;
	     i++) /* the second is after a time in which none was used */
		ck_ok(wal_trim(f.w, f.n));
	for (int i = 0; i < 8; i++)
		put(&f, MIB + 700, false);
	wal_get_stats(f.w, &stats);
	ck_assert_uint_gt(stats.frames, made);
	fixture_free(&f);
}
END_TEST

/* --- the real disk --- */

START_TEST(a_log_in_a_real_folder_is_read_back)
{
	struct fixture f = { .from_lsn = 1 };

	ck_ok(io_posix_new(suite_tmpdir(), &f.io));
	ck_ok(keys_for_test(CIPHER_NONE, &f.keys));
	f.opts = (struct wal_opts) {
		.io = f.io, .keys = f.keys, .segment_bytes = SEGMENT, .spare_max = 1
	};
	for (int life = 0; life < 3; life++) {
		ck_ok(fixture_recover(&f));
		ck_assert_uint_eq(f.stats.last_lsn, 15u * (unsigned)life);
		ck_ok(fixture_start(&f));
		for (int i = 0; i < 15; i++)
			put(&f, 800000, false);
		ck_ok(wal_sync(f.w, f.n));
		f.w = wal_close(f.w);
	}
	fixture_free(&f);
}
END_TEST

static Suite *make_suite(void)
{
	Suite *s = suite_create("wal");
	TCase *t = tcase_create("records");
	TCase *segments = tcase_create("segments"), *lives = tcase_create("lives");
	TCase *threads = tcase_create("threads");

	tcase_add_test(t, synced_records_survive_a_power_cut_with_all_lengths);
	tcase_add_test(t, pushed_records_survive_a_kill_and_unpushed_ones_do_not);
	tcase_add_test(t, what_was_recovered_is_durable_before_new_records_are_accepted);
	tcase_add_test(t,
		       what_a_failed_sync_left_in_the_cache_is_written_again_by_recovery);
	tcase_add_test(t, recovery_writes_over_nothing_that_may_be_durable);
	tcase_add_test(t,
		       a_mark_spares_reading_where_nothing_was_written_and_hides_no_rot);
	tcase_add_test(t, recovery_does_few_syncs_however_many_segments_there_are);
	tcase_add_test(t, many_small_records_share_a_frame_at_under_8_bytes_each);
	tcase_add_test(t, bytes_since_falls_to_nothing_at_the_last_lsn);
	tcase_add_test(
		t, a_transaction_without_its_end_is_dropped_whole_and_never_continued);
	tcase_add_test(t, a_transaction_over_many_frames_and_segments_comes_back_whole);
	tcase_add_test(segments,
		       trimmed_segments_are_reused_and_their_old_bytes_never_come_back);
	tcase_add_test(
		segments,
		a_full_disk_is_told_by_reserve_and_the_log_goes_on_when_there_is_space);
	tcase_add_test(segments,
		       what_reserve_promised_fits_even_when_nothing_was_written_before);
	tcase_add_test(segments,
		       a_failed_sync_fails_its_waiters_and_a_new_segment_takes_over);
	tcase_add_test(segments, pushes_go_beside_a_sync_which_is_not_for_them);
	tcase_add_test(
		segments,
		what_was_pushed_beside_a_sync_that_fails_is_in_the_new_segment_too);
	tcase_add_test(segments, a_failed_write_is_made_good_in_a_new_segment);
	tcase_add_test(
		segments,
		a_disk_that_fails_for_good_fails_the_log_and_keeps_what_was_synced);
	tcase_add_test(
		segments,
		the_largest_writes_use_frames_again_and_a_trim_gives_idle_ones_back);
	tcase_add_test(segments, a_log_in_a_real_folder_is_read_back);
	tcase_add_test(lives, nothing_acknowledged_is_lost_over_many_lives);
	tcase_add_test(threads, threads_share_syncs_and_each_finds_its_records_in_order);
	tcase_set_timeout(t, 60);
	tcase_set_timeout(segments, 60);
	tcase_set_timeout(lives, 60);
	tcase_set_timeout(threads, 60);
	suite_add_tcase(s, t);
	suite_add_tcase(s, segments);
	suite_add_tcase(s, lives);
	suite_add_tcase(s, threads);
	return s;
}

int main(void)
{
	return suite_main(make_suite());
}
